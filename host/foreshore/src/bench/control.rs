//! A host for the benchmarks: the real parts with their defaults, the benchmark's guest, and a
//! journal on disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use foreshore_control::{
    Compiler, Control, ControlConfig, Invocation, JournalPlace, LoaderConfig, Origin, Source,
};
use foreshore_domain::call::{CallError, FiredLimit};
use foreshore_domain::component::ToolName;
use foreshore_domain::limits::{Limits, LimitsPatch};
use foreshore_domain::policy::Policies;

/// The arguments of the small call.
pub(super) const ARGUMENTS: &str = r#"{"a":40,"b":2}"#;

/// A host, and where it keeps its things.
pub(super) struct BenchControl {
    pub(super) control: Arc<Control>,
    _data: Option<tempfile::TempDir>,
}

impl BenchControl {
    /// With the benchmark's guest, in a directory of its own.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let started = Self::empty(data.path()).await?;
        started.load().await?;
        Ok(Self { _data: Some(data), ..started })
    }

    /// With no component, over a directory that may hold compiled ones.
    pub(super) async fn empty(data: &Path) -> anyhow::Result<Self> {
        let compiler = Compiler::Child {
            program: std::env::current_exe()?,
            arguments: vec![crate::wire_up::COMPILE_COMMAND.into()],
        };
        let mut config = ControlConfig::new(LoaderConfig::new(data.join("cache"), compiler));
        let journal = data.join(format!("journal-{}.redb", std::process::id()));
        config.journal = JournalPlace::File(journal);
        let components = data.join(format!("components-{}", std::process::id()));
        config.components_directory = Some(components);
        // Spinning guests are to be stopped by their deadline, not by fuel.
        let patch = LimitsPatch {
            fuel: Some(1_000_000_000_000),
            deadline_ms: Some(60_000),
            ..LimitsPatch::default()
        };
        config.policies =
            Policies::new(std::collections::BTreeMap::new(), Limits::default().with(&patch)?);
        Ok(Self { control: Control::start(config).await?, _data: None })
    }

    /// Adds the benchmark's guest.
    pub(super) async fn load(&self) -> anyhow::Result<()> {
        self.put("bench", bench_guest()?.to_vec()).await
    }

    /// Loads the benchmark's guest as a start would, and serves it to nobody.
    pub(super) async fn try_load(&self) -> anyhow::Result<()> {
        let bytes = Bytes::from_static(bench_guest()?);
        let source =
            Source { bytes, file_stem: Some("bench".to_owned()), origin: Origin::Embedded };
        self.control
            .try_load(source)
            .await
            .map(drop)
            .map_err(|failure| anyhow::anyhow!("{}", failure.error))
    }

    /// Adds a component under a name.
    pub(super) async fn put(&self, name: &str, wasm: Vec<u8>) -> anyhow::Result<()> {
        self.control.put_component(Bytes::from(wasm), Some(name)).await?;
        Ok(())
    }

    pub(super) async fn stop(self) {
        self.control.drain(Duration::from_secs(10)).await;
    }
}

/// The component that the calls go to.
pub(super) fn bench_guest() -> anyhow::Result<&'static [u8]> {
    guest("bench")
}

/// The same work behind `wasi:http`.
pub(super) fn bench_http_guest() -> anyhow::Result<&'static [u8]> {
    guest("bench-http")
}

/// A guest of the benchmarks.
pub(super) fn guest(name: &str) -> anyhow::Result<&'static [u8]> {
    foreshore_shipped::benchmark_guest(name)
        .map(|shipped| shipped.bytes)
        .with_context(|| format!("this binary was built without the guest \"{name}\""))
}

/// The small call.
pub(super) async fn add(control: &Control) -> anyhow::Result<()> {
    invoke(control, "bench.add", ARGUMENTS).await
}

/// A call that has to succeed.
pub(super) async fn invoke(control: &Control, tool: &str, arguments: &str) -> anyhow::Result<()> {
    let tool: ToolName = tool.parse()?;
    let invocation = Invocation::new(tool, Bytes::copy_from_slice(arguments.as_bytes()));
    let outcome = control.invoke(invocation).await?;
    if outcome.result.is_error {
        bail!("the call failed: {:?}", outcome.result.content);
    }
    Ok(())
}

/// A guest that spins; it has to be stopped by its deadline.
pub(super) async fn spin(control: &Control, deadline: Duration) -> anyhow::Result<()> {
    let mut invocation = Invocation::new("bench.spin".parse()?, Bytes::new());
    invocation.limits.deadline_ms = Some(u64::try_from(deadline.as_millis())?);
    match control.invoke(invocation).await {
        Err(failure)
            if matches!(failure.error, CallError::Limit { limit: FiredLimit::Deadline, .. }) =>
        {
            Ok(())
        }
        Err(failure) => bail!("a spinning guest ended otherwise: {failure}"),
        Ok(_) => bail!("a spinning guest came to an end"),
    }
}
