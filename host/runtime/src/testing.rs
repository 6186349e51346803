//! What the tests of this crate share: a sandbox whose door is shut, and a loader that compiles
//! in this process.

use std::path::Path;
use std::sync::Arc;

use foreshore_domain::call::CallContext;
use foreshore_domain::effect::{Effect, EffectError, EffectOutcome};
use foreshore_domain::policy::Policies;
use foreshore_domain::ports::{BoxFuture, Effects};

use crate::engine::EngineConfig;
use crate::fixture::Fixture;
use crate::{Compiler, Component, LoadError, Loader, LoaderConfig, Origin, Sandbox, Source};

/// A door that nobody is expected to come to.
pub(crate) struct ShutDoor;

impl Effects for ShutDoor {
    fn perform<'a>(
        &'a self,
        _call: &'a Arc<CallContext>,
        _effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>> {
        Box::pin(async { panic!("an effect where none is expected") })
    }

    fn note(&self, _call: &CallContext, _effect: Effect) {}
}

pub(crate) fn sandbox() -> Sandbox {
    let config = EngineConfig { slots: 8, ..EngineConfig::default() };
    Sandbox::new(&config, Arc::new(ShutDoor), None).expect("a sandbox")
}

pub(crate) fn loader(place: &Path) -> Loader {
    let config = LoaderConfig::new(place.join("cache"), Compiler::InProcess);
    Loader::new(sandbox(), config).expect("a loader")
}

pub(crate) fn source(bytes: Vec<u8>) -> Source {
    Source { bytes: bytes.into(), file_stem: None, origin: Origin::Api }
}

pub(crate) async fn load(loader: &Loader, fixture: &Fixture) -> Result<Component, LoadError> {
    let loaded = loader.load(source(fixture.encode()), &Policies::default()).await;
    loaded.map_err(|failure| failure.error)
}
