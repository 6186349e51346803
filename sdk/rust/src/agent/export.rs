//! `export_agent!`: the agent of a component.
//!
//! As `export!` it writes the component's exports and the section by which it says what it is
//! called; outside wasm it checks the name alone.

/// Makes a function marked `#[agent]` the export of this component. Once in a crate, in its root.
///
/// The component's name and version are those of the author's package.
#[macro_export]
macro_rules! export_agent {
    ($agent:path) => {
        $crate::identify_component!();

        const _: () = {
            const NAMES: &[&str] = &[<$agent as $crate::agent::Agent>::NAME];
            const _: () = $crate::internal::distinct(env!("CARGO_PKG_NAME"), NAMES);

            struct Component;

            impl $crate::agent::bindings::exports::foreshore::agent::agent::Guest for Component {
                fn describe() -> $crate::agent::Definition {
                    <$agent as $crate::agent::Agent>::definition()
                }

                fn run(
                    turn: $crate::agent::Turn,
                ) -> ::std::result::Result<
                    $crate::agent::Reply,
                    $crate::bindings::foreshore::types::types::Error,
                > {
                    $crate::internal::report_panics();
                    <$agent as $crate::agent::Agent>::run(turn).map_err(::std::convert::Into::into)
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::agent::bindings::export_agent_component!(
                Component with_types_in $crate::agent::bindings
            );
        };
    };
}
