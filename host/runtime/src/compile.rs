//! Compiling, in a process of its own.
//!
//! The compiler's time and memory grow faster than its input, and a component is input that
//! nobody has to trust. So the host starts its own binary again, with an empty environment; the
//! child sets its own limits ([`crate::compile_child`]) and the parent holds the clock. The
//! child answers with an artifact or one line of text.
//!
//! Invariant: a compilation ends within its wall limit in an artifact or in an error that names
//! the limit that fired, and no child outlives the future that waits for it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use wasmtime::Engine;

use crate::compile_child::{Answer, ChildLimits};
use crate::engine_hash::EngineHash;

/// What a child may write to say why it died.
const STDERR_MAX_BYTES: u64 = 4 << 10;

/// Where components are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// In a child process that runs [`crate::compile_child_main`].
    Child {
        /// The host's own binary.
        program: PathBuf,
        /// What makes it compile: `["__compile"]`.
        arguments: Vec<OsString>,
    },
    /// In this process, without any limit. For tests.
    InProcess,
}

/// What one compilation may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompileLimits {
    pub(crate) cpu_s: u64,
    pub(crate) wall_s: u64,
    pub(crate) memory_max_bytes: u64,
    pub(crate) artifact_max_bytes: u64,
}

/// A component that did not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The compiler says that it is not valid.
    #[error("the component does not compile: {message}")]
    Invalid {
        /// What the compiler says.
        message: String,
    },
    /// `compile_cpu_s` fired.
    #[error(
        "compiling used all of its {cpu_s} s of CPU time; split its largest functions, or raise compile_cpu_s"
    )]
    CpuExhausted {
        /// The limit.
        cpu_s: u64,
    },
    /// `compile_memory_max_bytes` fired.
    #[error(
        "compiling used all of its {max_bytes} bytes of memory; split its largest functions, or raise compile_memory_max_bytes"
    )]
    MemoryExhausted {
        /// The limit.
        max_bytes: u64,
    },
    /// `compile_wall_s` fired.
    #[error("compiling took more than {wall_s} s; raise compile_wall_s if this machine is slow")]
    WallExceeded {
        /// The limit.
        wall_s: u64,
    },
    /// What it compiles to is out of proportion.
    #[error("the component compiles to more than {max_bytes} bytes of machine code and data")]
    ArtifactTooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// The compiler crashed on it.
    #[error("the compiler crashed on the component ({ending}): {message}")]
    Crashed {
        /// `signal 11`, `exit status 101`.
        ending: String,
        /// The last of what it wrote.
        message: String,
    },
    /// The child process could not do its work at all.
    #[error("the compile process failed: {message}")]
    Child {
        /// Why.
        message: String,
    },
}

impl CompileError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "component_invalid",
            Self::CpuExhausted { .. } => "compile_cpu_exhausted",
            Self::MemoryExhausted { .. } => "compile_memory_exhausted",
            Self::WallExceeded { .. } => "compile_wall_exceeded",
            Self::ArtifactTooLarge { .. } => "compile_artifact_too_large",
            Self::Crashed { .. } => "compile_crashed",
            Self::Child { .. } => "compile_process_failed",
        }
    }

    fn child(what: &str, error: &std::io::Error) -> Self {
        Self::Child { message: format!("{what}: {error}") }
    }
}

/// An artifact that this process, or a child of it, has just made. That is why it may be loaded
/// as it is: nobody else can make a value of this type.
pub(crate) struct CompiledArtifact(Vec<u8>);

impl CompiledArtifact {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Compiles components, one at a time: the rest of the machine is for calls.
pub(crate) struct Compilation {
    compiler: Compiler,
    limits: CompileLimits,
    turn: Semaphore,
}

impl Compilation {
    pub(crate) fn new(compiler: Compiler, limits: CompileLimits) -> Self {
        Self { compiler, limits, turn: Semaphore::new(1) }
    }

    /// Waits until no other component is being compiled.
    pub(crate) async fn turn(&self) -> CompilationTurn<'_> {
        let permit = self.turn.acquire().await.expect("invariant: the semaphore is never closed");
        CompilationTurn { compilation: self, _permit: permit }
    }
}

/// The right to compile now.
pub(crate) struct CompilationTurn<'a> {
    compilation: &'a Compilation,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl CompilationTurn<'_> {
    /// Compiles a component for `engine`. Dropping the future kills the child.
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        hash: &EngineHash,
        wasm: Bytes,
    ) -> Result<CompiledArtifact, CompileError> {
        let limits = &self.compilation.limits;
        match &self.compilation.compiler {
            Compiler::InProcess => in_process(engine.clone(), wasm).await,
            Compiler::Child { program, arguments } => {
                let mut command = Command::new(program);
                command.args(arguments);
                in_child(command, limits, hash, &wasm).await
            }
        }
    }
}

async fn in_process(engine: Engine, wasm: Bytes) -> Result<CompiledArtifact, CompileError> {
    tokio::task::spawn_blocking(move || engine.precompile_component(&wasm))
        .await
        .map_err(|error| CompileError::Child { message: error.to_string() })?
        .map(CompiledArtifact)
        .map_err(|error| CompileError::Invalid { message: format!("{error:#}") })
}

async fn in_child(
    mut command: Command,
    limits: &CompileLimits,
    hash: &EngineHash,
    wasm: &[u8],
) -> Result<CompiledArtifact, CompileError> {
    command
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child =
        command.spawn().map_err(|error| CompileError::child("it does not start", &error))?;
    let wall = Duration::from_secs(limits.wall_s);
    let ended = tokio::time::timeout(wall, converse(&mut child, limits, wasm)).await;
    // Killed and reaped whatever happened: a child that has ended already does not mind.
    let _ = child.kill().await;
    let ended = ended.map_err(|_| CompileError::WallExceeded { wall_s: limits.wall_s })??;
    ended.verdict(limits, hash)
}

/// How a child ended and what it said.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
}

async fn converse(
    child: &mut Child,
    limits: &CompileLimits,
    wasm: &[u8],
) -> Result<Ended, CompileError> {
    let missing = || CompileError::Child { message: "it has no pipes".to_owned() };
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let request = ChildLimits {
        cpu_s: limits.cpu_s,
        memory_max_bytes: limits.memory_max_bytes,
        component_bytes: u64::try_from(wasm.len()).unwrap_or(u64::MAX),
    };
    let ask = async move {
        // A child that has died does not read; its ending says why.
        let _ = stdin.write_all(&request.encode()).await;
        let _ = stdin.write_all(wasm).await;
    };
    let answer_max_bytes = limits.artifact_max_bytes.saturating_add(Answer::HEADER_BYTES);
    let (_, stdout, stderr) = tokio::join!(
        ask,
        read_at_most(stdout, answer_max_bytes.saturating_add(1)),
        read_stderr(stderr)
    );
    let stdout = stdout.map_err(|error| CompileError::child("its answer is lost", &error))?;
    if u64::try_from(stdout.len()).is_ok_and(|len| len > answer_max_bytes) {
        return Err(CompileError::ArtifactTooLarge { max_bytes: limits.artifact_max_bytes });
    }
    let status =
        child.wait().await.map_err(|error| CompileError::child("its ending is lost", &error))?;
    Ok(Ended { status, stdout, stderr })
}

async fn read_at_most(from: impl AsyncRead + Unpin, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn read_stderr(mut from: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let _ = (&mut from).take(STDERR_MAX_BYTES).read_to_end(&mut bytes).await;
    // The rest is read and dropped, so that the child does not block on it.
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

impl Ended {
    fn verdict(
        self,
        limits: &CompileLimits,
        hash: &EngineHash,
    ) -> Result<CompiledArtifact, CompileError> {
        use std::os::unix::process::ExitStatusExt as _;

        const SIGKILL: i32 = 9;
        const SIGXCPU: i32 = 24;
        let out_of_memory = CompileError::MemoryExhausted { max_bytes: limits.memory_max_bytes };
        if let Some(signal) = self.status.signal() {
            if signal == SIGXCPU {
                return Err(CompileError::CpuExhausted { cpu_s: limits.cpu_s });
            }
            // Not by us, who return before this: by an operator, or by a kernel without memory.
            if signal == SIGKILL {
                let message = "it was killed; is the machine out of memory?".to_owned();
                return Err(CompileError::Child { message });
            }
            // Rust's allocation failure: this line and SIGABRT.
            if self.stderr.contains("memory allocation of") {
                return Err(out_of_memory);
            }
            let ending = format!("signal {signal}");
            return Err(CompileError::Crashed { ending, message: self.stderr });
        }
        match Answer::decode(self.stdout) {
            Some(Answer::Artifact { engine, bytes }) if engine == *hash => {
                Ok(CompiledArtifact(bytes))
            }
            Some(Answer::Artifact { .. }) => Err(CompileError::Child {
                message: "it is of another build than this host: restart the host".to_owned(),
            }),
            Some(Answer::Invalid { message }) => Err(CompileError::Invalid { message }),
            Some(Answer::OutOfMemory) => Err(out_of_memory),
            Some(Answer::Failed { message }) => Err(CompileError::Child { message }),
            None => {
                let ending = self.status.to_string();
                Err(CompileError::Crashed { ending, message: self.stderr })
            }
        }
    }
}
