//! `export!`: the tools of a component.
//!
//! It writes the component's two exports, which look a tool up by name, and the custom section
//! `foreshore:component` by which a component says what it is called. Outside wasm it writes a
//! test-sized remnant that checks the same names, so that a crate of tools also builds for the
//! machine at hand.

use crate::Error;

/// Makes functions marked `#[tool]` the exports of this component. Once in a crate, in its root.
///
/// The component's name and version are those of the author's package.
#[macro_export]
macro_rules! export {
    ($($tool:path),+ $(,)?) => {
        $crate::identify_component!();

        const _: () = {
            const NAMES: &[&str] = &[$(<$tool as $crate::Tool>::NAME),+];
            const _: () = $crate::internal::distinct(env!("CARGO_PKG_NAME"), NAMES);

            struct Component;

            impl $crate::bindings::exports::foreshore::tool::tool::Guest for Component {
                fn definitions() -> ::std::vec::Vec<$crate::Definition> {
                    ::std::vec![$(<$tool as $crate::Tool>::definition()),+]
                }

                fn call(
                    name: ::std::string::String,
                    arguments: ::std::string::String,
                ) -> ::std::result::Result<
                    $crate::Outcome,
                    $crate::bindings::foreshore::types::types::Error,
                > {
                    $crate::internal::report_panics();
                    let name = name.as_str();
                    let result = match name {
                        $(_ if name == <$tool as $crate::Tool>::NAME => {
                            <$tool as $crate::Tool>::call(&arguments)
                        })+
                        _ => $crate::internal::call_unknown(name, NAMES),
                    };
                    result.map_err(::std::convert::Into::into)
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}

/// Writes the section `foreshore:component` with the name and version of the author's package.
#[doc(hidden)]
#[macro_export]
macro_rules! identify_component {
    () => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            const IDENTITY: &str = concat!(
                "{\"name\":\"",
                env!("CARGO_PKG_NAME"),
                "\",\"version\":\"",
                env!("CARGO_PKG_VERSION"),
                "\"}",
            );

            // `used`: no code refers to it, and link-time optimisation would drop it.
            #[used]
            #[unsafe(link_section = "foreshore:component")]
            static IDENTITY_SECTION: [u8; IDENTITY.len()] =
                *IDENTITY.as_bytes().first_chunk().expect("of its own length");
        };
    };
}

/// Checks, while the author compiles, that the component's and the tools' names can be names and
/// that no two tools share one.
///
/// # Panics
/// Where they do not; in a constant, so it is a compile error.
#[doc(hidden)]
pub const fn distinct(package: &str, names: &[&str]) {
    assert!(
        crate::export::is_name(package),
        "a component is called as its package: 1 to 64 of a-z, 0-9, \"-\" and \"_\", first a \
         letter or digit; rename the package in Cargo.toml"
    );
    let mut i = 0;
    while i < names.len() {
        let mut j = i + 1;
        while j < names.len() {
            assert!(!equal(names[i], names[j]), "two tools of this component have the same name");
            j += 1;
        }
        i += 1;
    }
}

const fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let letter = bytes[i].is_ascii_lowercase() || bytes[i].is_ascii_digit();
        if !(letter || i > 0 && (bytes[i] == b'-' || bytes[i] == b'_')) {
            return false;
        }
        i += 1;
    }
    !bytes.is_empty() && bytes.len() <= 64
}

const fn equal(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut i = 0;
    while i < left.len() {
        if left[i] != right[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Lets a panic say what happened on one line of standard error, which is the last thing that the
/// host reads of a crashed call. Rust's own report ends in advice on an environment variable that
/// no caller can set.
#[doc(hidden)]
pub fn report_panics() {
    // Costs a call some hundred instructions, and no formatting unless there is a panic.
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        match panic.location() {
            Some(place) => eprintln!("panic at {place}: {message}"),
            None => eprintln!("panic: {message}"),
        }
    }));
}

/// The answer to a name that is none of the component's.
#[doc(hidden)]
pub fn call_unknown<T>(name: &str, names: &[&str]) -> Result<T, Error> {
    let names = names.join(", ");
    Err(Error::not_found(format!("this component has no tool \"{name}\"; it has {names}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_the_host_takes() {
        for good in ["files", "word-count", "a", "7zip", "a_b"] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(65);
        for bad in ["", "Files", "-a", "_a", "a.b", "a b", long.as_str()] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    #[should_panic(expected = "the same name")]
    fn two_tools_of_one_name_are_refused() {
        distinct("files", &["read", "write", "read"]);
    }

    #[test]
    fn an_unknown_tool_is_answered_with_those_there_are() {
        let error = call_unknown::<()>("raed", &["read", "write"]).expect_err("unknown");
        assert_eq!(error.to_string(), "this component has no tool \"raed\"; it has read, write");
    }
}
