//! The compile process: the hidden command of the host's binary that compiles one component.
//!
//! It bounds itself before it reads the component (CPU time, memory, no core dump, no files
//! written, few open), compiles on one thread, and writes one answer. It opens nothing and
//! knows nothing of the host that started it: what it needs comes on standard input. A host
//! that is killed leaves it behind for no longer than its CPU limit. (The kernel's signal on a
//! parent's death is not used: it is sent when the *thread* that started a child ends.)

use std::io::Read as _;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};
use wasmtime::Engine;

use crate::engine::{EngineConfig, Purpose, engine_config};
use crate::engine_hash::EngineHash;

const REQUEST_MAGIC: [u8; 8] = *b"fs-ask-1";
const ANSWER_MAGIC: [u8; 8] = *b"fs-ans-1";
/// Standard streams and what the runtime opens for itself.
const OPEN_FILES_MAX: u64 = 32;

/// What the parent asks for: the head of the child's standard input, before the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildLimits {
    pub(crate) cpu_s: u64,
    pub(crate) memory_max_bytes: u64,
    pub(crate) component_bytes: u64,
}

impl ChildLimits {
    const BYTES: usize = 32;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&REQUEST_MAGIC);
        bytes[8..16].copy_from_slice(&self.cpu_s.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.memory_max_bytes.to_le_bytes());
        bytes[24..].copy_from_slice(&self.component_bytes.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (cpu_s, rest) = rest.split_first_chunk()?;
        let (memory_max_bytes, rest) = rest.split_first_chunk()?;
        let component_bytes = rest.first_chunk()?;
        (*magic == REQUEST_MAGIC).then(|| Self {
            cpu_s: u64::from_le_bytes(*cpu_s),
            memory_max_bytes: u64::from_le_bytes(*memory_max_bytes),
            component_bytes: u64::from_le_bytes(*component_bytes),
        })
    }
}

/// What the child writes on its standard output: magic, kind, engine hash, then the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The component, compiled for the engine of this hash.
    Artifact { engine: EngineHash, bytes: Vec<u8> },
    /// The compiler refuses the component.
    Invalid { message: String },
    /// An allocation failed and the compiler noticed.
    OutOfMemory,
    /// The child could not begin.
    Failed { message: String },
}

impl Answer {
    pub(crate) const HEADER_BYTES: u64 = 8 + 1 + 32;

    fn write(&self, mut to: impl std::io::Write) -> std::io::Result<()> {
        let (kind, engine, rest): (u8, &[u8; 32], &[u8]) = match self {
            Self::Artifact { engine, bytes } => (0, engine.as_bytes(), bytes),
            Self::Invalid { message } => (1, &[0; 32], message.as_bytes()),
            Self::OutOfMemory => (2, &[0; 32], &[]),
            Self::Failed { message } => (3, &[0; 32], message.as_bytes()),
        };
        to.write_all(&ANSWER_MAGIC)?;
        to.write_all(&[kind])?;
        to.write_all(engine)?;
        to.write_all(rest)?;
        to.flush()
    }

    pub(crate) fn decode(mut bytes: Vec<u8>) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (kind, rest) = rest.split_first()?;
        let (engine, rest) = rest.split_first_chunk::<32>()?;
        let (kind, engine) = (*kind, EngineHash::from_bytes(*engine));
        if *magic != ANSWER_MAGIC {
            return None;
        }
        let message = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            0 => {
                let head = bytes.len() - rest.len();
                bytes.drain(..head);
                Some(Self::Artifact { engine, bytes })
            }
            1 => Some(Self::Invalid { message: message() }),
            2 => Some(Self::OutOfMemory),
            3 => Some(Self::Failed { message: message() }),
            _ => None,
        }
    }
}

/// The body of the hidden command: compiles the component on standard input to standard output.
/// Call it first thing in `main`, before any thread is started.
pub fn compile_child_main() -> ExitCode {
    let answer = answer();
    match answer.write(std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // The parent is gone: there is nobody left to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer() -> Answer {
    let failed = |what: &str, error: String| Answer::Failed { message: format!("{what}: {error}") };
    let mut stdin = std::io::stdin().lock();
    let mut head = [0; ChildLimits::BYTES];
    if let Err(error) = stdin.read_exact(&mut head) {
        return failed("no request", error.to_string());
    }
    let Some(limits) = ChildLimits::decode(head) else {
        return failed("no request", "it is started by the host, not by hand".to_owned());
    };
    if let Err(error) = confine(&limits) {
        return failed("its limits cannot be set", error.to_string());
    }
    let mut wasm = Vec::new();
    if let Err(error) = stdin.take(limits.component_bytes).read_to_end(&mut wasm) {
        return failed("the component cannot be read", error.to_string());
    }
    if u64::try_from(wasm.len()) != Ok(limits.component_bytes) {
        return failed("the component cannot be read", "it is cut short".to_owned());
    }
    compile(&wasm)
}

/// From here on the kernel bounds this process. The hard CPU limit is a second later than the
/// soft one, whose signal tells the parent what happened.
fn confine(limits: &ChildLimits) -> rustix::io::Result<()> {
    let at = |soft: u64, hard: u64| Rlimit { current: Some(soft), maximum: Some(hard) };
    setrlimit(Resource::Core, at(0, 0))?;
    setrlimit(Resource::Fsize, at(0, 0))?;
    setrlimit(Resource::Nofile, at(OPEN_FILES_MAX, OPEN_FILES_MAX))?;
    setrlimit(Resource::Cpu, at(limits.cpu_s, limits.cpu_s.saturating_add(1)))?;
    setrlimit(Resource::As, at(limits.memory_max_bytes, limits.memory_max_bytes))
}

fn compile(wasm: &[u8]) -> Answer {
    let mut config = engine_config(&EngineConfig::default(), Purpose::Compile);
    // One thread: the CPU limit is then also a bound on how long it takes on a free machine,
    // and the host's calls keep the other cores.
    config.parallel_compilation(false);
    let engine = match Engine::new(&config) {
        Ok(engine) => engine,
        Err(error) => return Answer::Failed { message: format!("no engine: {error:#}") },
    };
    match engine.precompile_component(wasm) {
        Ok(bytes) => Answer::Artifact { engine: EngineHash::of(&engine), bytes },
        Err(error) if is_out_of_memory(&error) => Answer::OutOfMemory,
        Err(error) => Answer::Invalid { message: format!("{error:#}") },
    }
}

fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::error::OutOfMemory>()
        || error.chain().any(|cause| {
            cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|e| e.kind() == std::io::ErrorKind::OutOfMemory)
                || cause.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOMEM)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_and_answer_survive_the_pipe() {
        let limits = ChildLimits { cpu_s: 10, memory_max_bytes: 512 << 20, component_bytes: 42 };
        assert_eq!(ChildLimits::decode(limits.encode()), Some(limits));
        assert_eq!(ChildLimits::decode([0; ChildLimits::BYTES]), None);
        let engine = EngineHash::from_bytes([3; 32]);
        for answer in [
            Answer::Artifact { engine, bytes: vec![1, 2, 3] },
            Answer::Invalid { message: "no".to_owned() },
            Answer::OutOfMemory,
            Answer::Failed { message: String::new() },
        ] {
            let mut bytes = Vec::new();
            answer.write(&mut bytes).expect("a vector");
            assert_eq!(Answer::decode(bytes), Some(answer));
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_foreign_is_none() {
        let engine = EngineHash::from_bytes([3; 32]);
        let mut bytes = Vec::new();
        Answer::Artifact { engine, bytes: Vec::new() }.write(&mut bytes).expect("a vector");
        for end in 0..bytes.len() {
            assert_eq!(Answer::decode(bytes[..end].to_vec()), None);
        }
        bytes[8] = 9;
        assert_eq!(Answer::decode(bytes), None);
        let request = ChildLimits { cpu_s: 0, memory_max_bytes: 0, component_bytes: 0 }.encode();
        assert_eq!(Answer::decode([request, request].concat()), None, "an echo");
    }
}
