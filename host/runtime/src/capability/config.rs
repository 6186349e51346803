//! `wasi:config/store`: values that the operator set for the component.
//!
//! Granted by `Grant::config`; linked only for components that have it.

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

use crate::state::State;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    wasmtime_wasi_config::add_to_linker(linker, |state| WasiConfig::from(state.config_values()))
}

impl State {
    /// Copied out of the grant when they are first asked for.
    fn config_values(&mut self) -> &WasiConfigVariables {
        let grant = &self.scope.context.grant;
        self.config.get_or_insert_with(|| {
            grant.config.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
        })
    }
}
