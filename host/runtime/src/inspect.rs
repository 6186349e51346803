//! What can be said of a component without compiling or running it, and the caps it must keep
//! before either.
//!
//! It walks the bytes once, through nested modules and components, and never into function
//! bodies. It does not validate: the compiler does that, in a process of its own.
//!
//! Invariant: any bytes end in an [`Inspection`] or an [`InspectError`], never in a panic, in
//! time linear in their length.

use foreshore_domain::component::{ComponentKind, Import, ImportVerdict, Inspection};
use foreshore_domain::grant::Grant;
use foreshore_domain::id::Digest;
use serde::Deserialize;
use wasmparser::{
    ComponentExportSectionReader, ComponentExternalKind, ComponentImportSectionReader, Encoding,
    Parser, Payload,
};

use crate::imports::{self, RunsAs};

/// The section in which the SDK states name and version.
const IDENTITY_SECTION: &str = "foreshore:component";
const IDENTITY_MAX_BYTES: usize = 4 << 10;
/// Imports and exports of a component, together; real ones have some dozens.
const NAMES_MAX: usize = 1_000;

/// What a component may be before anything compiles it. The compiler's time grows faster than
/// linearly in the size of one function, so that has a cap of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) component_max_bytes: u64,
    pub(crate) functions_max: u64,
    pub(crate) function_max_bytes: u64,
}

/// Why bytes are not a component this host would look at further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// Above `component_max_bytes`.
    #[error(
        "the component is {size_bytes} bytes, above component_max_bytes = {max_bytes}; build it with opt-level = \"s\", lto and strip, or raise the setting"
    )]
    TooLarge {
        /// Its size.
        size_bytes: u64,
        /// The cap.
        max_bytes: u64,
    },
    /// Above `functions_max`.
    #[error(
        "the component has {functions} functions or more, above functions_max = {max}; build it with lto, or raise the setting"
    )]
    TooManyFunctions {
        /// How many were announced when counting stopped.
        functions: u64,
        /// The cap.
        max: u64,
    },
    /// Above `function_max_bytes`.
    #[error(
        "a function at offset {offset} has a body of {size_bytes} bytes, above function_max_bytes = {max_bytes}; build with opt-level = \"s\", or raise the setting"
    )]
    FunctionTooLarge {
        /// Where its body starts.
        offset: usize,
        /// The size of its body.
        size_bytes: u64,
        /// The cap.
        max_bytes: u64,
    },
    /// More imports and exports than a report can show.
    #[error("the component has more than {NAMES_MAX} imports and exports")]
    TooManyNames,
    /// A core module.
    #[error(
        "this is a core module, not a component; build it with `cargo build --target wasm32-wasip2`"
    )]
    CoreModule,
    /// Something else.
    #[error("this is not WebAssembly: it does not start with \\0asm")]
    NotWasm,
    /// WebAssembly that cannot be read.
    #[error("malformed component at offset {offset}: {message}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What.
        message: String,
    },
    /// The section with name and version cannot be read.
    #[error("the section \"{IDENTITY_SECTION}\" is malformed: {message}")]
    Identity {
        /// What is wrong with it.
        message: String,
    },
}

impl InspectError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "component_too_large",
            Self::TooManyFunctions { .. } => "component_functions_exceeded",
            Self::FunctionTooLarge { .. } => "component_function_too_large",
            Self::TooManyNames => "component_names_exceeded",
            Self::CoreModule | Self::NotWasm | Self::Malformed { .. } | Self::Identity { .. } => {
                "component_malformed"
            }
        }
    }
}

impl From<wasmparser::BinaryReaderError> for InspectError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed { offset: error.offset(), message: error.message().to_owned() }
    }
}

/// Name and version as the SDK states them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    name: String,
    version: semver::Version,
}

/// Looks at a component. The verdicts of its imports are those of a component without grants;
/// see [`judge`].
pub(crate) fn inspect(
    bytes: &[u8],
    digest: Digest,
    caps: &Caps,
) -> Result<Inspection, InspectError> {
    let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size_bytes > caps.component_max_bytes {
        let max_bytes = caps.component_max_bytes;
        return Err(InspectError::TooLarge { size_bytes, max_bytes });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(InspectError::NotWasm);
    }
    if Parser::is_core_wasm(bytes) {
        return Err(InspectError::CoreModule);
    }
    let mut walk = Walk::new(caps);
    for payload in Parser::new(0).parse_all(bytes) {
        walk.payload(payload?)?;
    }
    let kinds = kinds(&walk.exports);
    let (name, version) = walk.identity.map(|identity| (identity.name, identity.version)).unzip();
    let imports = walk
        .imports
        .into_iter()
        .map(|name| Import { name, verdict: ImportVerdict::NotLinked })
        .collect();
    let mut inspection = Inspection {
        digest,
        size_bytes,
        name,
        version,
        kinds,
        exports: walk.exports,
        imports,
        functions: walk.functions,
        largest_function_bytes: walk.largest_function_bytes,
    };
    let called = inspection.name.clone().unwrap_or_else(|| "NAME".to_owned());
    judge(&mut inspection, &called, &Grant::default());
    Ok(inspection)
}

/// Sets the verdict of each import for a component of this name with this grant.
pub(crate) fn judge(inspection: &mut Inspection, component: &str, grant: &Grant) {
    let runs_as = RunsAs::of(&inspection.kinds);
    for import in &mut inspection.imports {
        import.verdict = imports::verdict(&import.name, runs_as, component, grant);
    }
}

/// What has been seen so far.
struct Walk {
    caps: Caps,
    /// 1 while in the outermost component.
    depth: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    identity: Option<Identity>,
    functions: u64,
    largest_function_bytes: u64,
}

impl Walk {
    fn new(caps: &Caps) -> Self {
        Self {
            caps: *caps,
            depth: 0,
            imports: Vec::new(),
            exports: Vec::new(),
            identity: None,
            functions: 0,
            largest_function_bytes: 0,
        }
    }

    fn payload(&mut self, payload: Payload<'_>) -> Result<(), InspectError> {
        match payload {
            Payload::Version { encoding, range, .. } => {
                self.depth += 1;
                if self.depth == 1 && encoding != Encoding::Component {
                    let message = "the outermost encoding is not a component".to_owned();
                    return Err(InspectError::Malformed { offset: range.start, message });
                }
            }
            Payload::End(_) => self.depth -= 1,
            Payload::CodeSectionStart { count, .. } => self.count_functions(count.into())?,
            Payload::CodeSectionEntry(body) => self.measure_function(body.range())?,
            Payload::ComponentImportSection(section) if self.depth == 1 => self.imports(section)?,
            Payload::ComponentExportSection(section) if self.depth == 1 => self.exports(section)?,
            Payload::CustomSection(section) if section.name() == IDENTITY_SECTION => {
                self.identity(section.data())?;
            }
            _ => {}
        }
        Ok(())
    }

    fn count_functions(&mut self, count: u64) -> Result<(), InspectError> {
        self.functions = self.functions.saturating_add(count);
        if self.functions > self.caps.functions_max {
            let (functions, max) = (self.functions, self.caps.functions_max);
            return Err(InspectError::TooManyFunctions { functions, max });
        }
        Ok(())
    }

    fn measure_function(&mut self, body: std::ops::Range<usize>) -> Result<(), InspectError> {
        let size_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.largest_function_bytes = self.largest_function_bytes.max(size_bytes);
        if size_bytes > self.caps.function_max_bytes {
            let max_bytes = self.caps.function_max_bytes;
            return Err(InspectError::FunctionTooLarge {
                offset: body.start,
                size_bytes,
                max_bytes,
            });
        }
        Ok(())
    }

    fn imports(&mut self, section: ComponentImportSectionReader<'_>) -> Result<(), InspectError> {
        for import in section {
            self.imports.push(import?.name.name.to_owned());
            self.check_names()?;
        }
        Ok(())
    }

    fn exports(&mut self, section: ComponentExportSectionReader<'_>) -> Result<(), InspectError> {
        for export in section {
            let export = export?;
            if matches!(export.kind, ComponentExternalKind::Instance | ComponentExternalKind::Func)
            {
                self.exports.push(export.name.name.to_owned());
                self.check_names()?;
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), InspectError> {
        let names = self.imports.len() + self.exports.len();
        if names > NAMES_MAX { Err(InspectError::TooManyNames) } else { Ok(()) }
    }

    /// Two sections that differ are refused: which of them is shown to a person must not depend
    /// on the order in which a linker put them.
    fn identity(&mut self, data: &[u8]) -> Result<(), InspectError> {
        let malformed = |message: String| InspectError::Identity { message };
        if data.len() > IDENTITY_MAX_BYTES {
            return Err(malformed(format!("it is longer than {IDENTITY_MAX_BYTES} bytes")));
        }
        let identity: Identity =
            serde_json::from_slice(data).map_err(|error| malformed(error.to_string()))?;
        match &self.identity {
            Some(other) if *other != identity => Err(malformed(format!(
                "it is there twice, as {} and {}",
                other.name, identity.name
            ))),
            _ => {
                self.identity = Some(identity);
                Ok(())
            }
        }
    }
}

/// What a component can be used for, by its exports.
fn kinds(exports: &[String]) -> Vec<ComponentKind> {
    let kinds = [
        ("foreshore:tool/tool@0.1.", ComponentKind::Tool),
        ("foreshore:agent/agent@0.1.", ComponentKind::Agent),
        ("foreshore:resources/resources@0.1.", ComponentKind::Resources),
        ("foreshore:prompts/prompts@0.1.", ComponentKind::Prompts),
        ("wasi:cli/run@0.2.", ComponentKind::Command),
        ("wasi:http/incoming-handler@0.2.", ComponentKind::HttpHandler),
    ];
    kinds
        .into_iter()
        .filter(|(prefix, _)| exports.iter().any(|export| export.starts_with(prefix)))
        .map(|(_, kind)| kind)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{Fixture, FixtureImport};

    const CAPS: Caps =
        Caps { component_max_bytes: 8 << 20, functions_max: 20_000, function_max_bytes: 128 << 10 };

    fn look(bytes: &[u8], caps: &Caps) -> Result<Inspection, InspectError> {
        inspect(bytes, Digest::of(bytes), caps)
    }

    fn wat(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("valid WAT")
    }

    #[test]
    fn a_component_says_what_it_is() {
        let mut fixture = Fixture::named("words", "1.2.3");
        fixture.imports = vec![
            FixtureImport {
                interface: "foreshore:secrets/secrets@0.1.0",
                function: "exists",
                signature: "(param i32 i32) (result i32)",
            },
            FixtureImport {
                interface: "wasi:config/store@0.2.0-rc.1",
                function: "get",
                signature: "(param i32 i32 i32)",
            },
        ];
        let bytes = fixture.encode();
        let found = look(&bytes, &CAPS).expect("a component");
        assert_eq!(found.digest, Digest::of(&bytes));
        assert_eq!(found.name.as_deref(), Some("words"));
        assert_eq!(found.version, Some(semver::Version::new(1, 2, 3)));
        assert_eq!(found.kinds, [ComponentKind::Tool]);
        assert_eq!(found.exports, ["foreshore:tool/tool@0.1.0"]);
        assert!(found.functions >= 3, "{}", found.functions);
        let verdict = |name: &str| {
            let import = found.imports.iter().find(|import| import.name == name);
            import.unwrap_or_else(|| panic!("{name} in {:?}", found.imports)).verdict.clone()
        };
        assert_eq!(verdict("foreshore:types/types@0.1.0"), ImportVerdict::Linked);
        assert_eq!(verdict("foreshore:secrets/secrets@0.1.0"), ImportVerdict::NotLinked);
        let grant = "[components.words.config] KEY = \"VALUE\"".to_owned();
        assert_eq!(verdict("wasi:config/store@0.2.0-rc.1"), ImportVerdict::NotGranted { grant });
    }

    #[test]
    fn bytes_that_are_no_component_say_what_they_are() {
        assert_eq!(look(b"", &CAPS).expect_err("empty"), InspectError::NotWasm);
        assert_eq!(look(b"#!/bin/sh", &CAPS).expect_err("text"), InspectError::NotWasm);
        let module = wat("(module)");
        let error = look(&module, &CAPS).expect_err("a core module");
        assert_eq!(error, InspectError::CoreModule);
        assert!(error.to_string().contains("--target wasm32-wasip2"), "{error}");
        for head in [&b"\0asm"[..], b"\0asm\x63\0\0\0", b"\0asm\x0d\0\x01"] {
            let error = look(head, &CAPS).expect_err("cut");
            assert!(matches!(error, InspectError::Malformed { .. }), "{error:?}");
        }
    }

    #[test]
    fn each_cap_fires_at_its_value_and_not_below() {
        let bytes = wat("(component
                (core module (func) (func (drop (i32.const 1)) (drop (i32.const 2))))
                (component (core module (func) (func) (func))))");
        let found = look(&bytes, &CAPS).expect("a component");
        assert_eq!(found.functions, 5);
        assert_eq!(found.largest_function_bytes, 8);
        let size = u64::try_from(bytes.len()).expect("small");

        let exact = Caps { component_max_bytes: size, functions_max: 5, function_max_bytes: 8 };
        assert!(look(&bytes, &exact).is_ok());
        let smaller = Caps { component_max_bytes: size - 1, ..exact };
        let error = look(&bytes, &smaller).expect_err("too large");
        assert_eq!(error, InspectError::TooLarge { size_bytes: size, max_bytes: size - 1 });
        let fewer = Caps { functions_max: 4, ..exact };
        let error = look(&bytes, &fewer).expect_err("too many");
        assert_eq!(error, InspectError::TooManyFunctions { functions: 5, max: 4 });
        let shorter = Caps { function_max_bytes: 7, ..exact };
        let error = look(&bytes, &shorter).expect_err("too long");
        assert!(
            matches!(error, InspectError::FunctionTooLarge { size_bytes: 8, max_bytes: 7, .. }),
            "{error:?}"
        );
    }

    /// A section may announce four billion functions and hold none.
    #[test]
    fn functions_are_counted_by_what_is_announced() {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        let module = [&b"\0asm\x01\0\0\0"[..], &[10, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        bytes.extend([1, u8::try_from(module.len()).expect("short")]);
        bytes.extend(module);
        let error = look(&bytes, &CAPS).expect_err("too many, or malformed");
        assert!(
            matches!(error, InspectError::TooManyFunctions { .. } | InspectError::Malformed { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn imports_of_a_nested_component_are_its_own() {
        let bytes =
            wat("(component (component (import \"a:b/c\" (instance))) (import \"f\" (func)))");
        let found = look(&bytes, &CAPS).expect("a component");
        let names: Vec<&str> = found.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(names, ["f"]);
        assert_eq!(found.imports[0].verdict, ImportVerdict::NotLinked);
    }

    #[test]
    fn a_component_with_a_thousand_names_is_refused() {
        let imports = |count: usize| {
            let imports: String = (0..count).map(|n| format!("(import \"f{n}\" (func))")).collect();
            wat(&format!("(component {imports})"))
        };
        assert!(look(&imports(NAMES_MAX), &CAPS).is_ok());
        assert_eq!(
            look(&imports(NAMES_MAX + 1), &CAPS).expect_err("too many"),
            InspectError::TooManyNames
        );
    }

    #[test]
    fn an_identity_must_be_one_and_well_formed() {
        let with = |sections: &[&str]| {
            let sections: String = sections
                .iter()
                .map(|text| format!("(core module (@custom \"{IDENTITY_SECTION}\" {text:?}))"))
                .collect();
            look(&wat(&format!("(component {sections})")), &CAPS)
        };
        let (a, b) = (r#"{"name":"a","version":"1.0.0"}"#, r#"{"name":"b","version":"1.0.0"}"#);
        assert_eq!(with(&[]).expect("fine").name, None);
        assert_eq!(with(&[a, a]).expect("fine").name.as_deref(), Some("a"));
        let long = format!(r#"{{"name":"{}","version":"1.0.0"}}"#, "a".repeat(IDENTITY_MAX_BYTES));
        for bad in [
            &[a, b][..],
            &[""],
            &["{}"],
            &[r#"{"name":"a","version":"one"}"#],
            &[r#"{"name":"a","version":"1.0.0","grant":"all"}"#],
            &[r#"{"name":"a","version":"1.0.0"}{"name":"b","version":"1.0.0"}"#],
            &[&long],
        ] {
            let error = with(bad).expect_err("refused");
            assert!(matches!(error, InspectError::Identity { .. }), "{bad:?}: {error:?}");
        }
    }

    #[test]
    fn a_component_cut_anywhere_is_an_error_and_no_panic() {
        let bytes = Fixture::named("words", "1.2.3").encode();
        for end in 0..bytes.len() {
            // A cut between two top-level sections leaves a shorter component.
            let _ = look(&bytes[..end], &CAPS);
        }
        assert!(look(&bytes[..bytes.len() / 2], &CAPS).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_bytes_end_in_an_answer(mut bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = look(&bytes, &CAPS);
            bytes.splice(0..0, *b"\0asm\x0d\0\x01\0");
            let _ = look(&bytes, &CAPS);
        }

        #[test]
        fn a_component_with_bytes_changed_ends_in_an_answer(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
            repeat in any::<prop::sample::Index>(),
        ) {
            static BYTES: std::sync::LazyLock<Vec<u8>> =
                std::sync::LazyLock::new(|| Fixture::named("words", "1.2.3").encode());
            let mut bytes = BYTES.clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = look(&bytes, &CAPS);
            let (from, to) = (cut.index(bytes.len()), repeat.index(bytes.len()));
            bytes.extend_from_within(from.min(to)..from.max(to));
            let found = look(&bytes, &CAPS);
            if let Ok(found) = found {
                prop_assert!(found.imports.len() + found.exports.len() <= NAMES_MAX);
                prop_assert!(found.functions <= CAPS.functions_max);
                prop_assert!(found.largest_function_bytes <= CAPS.function_max_bytes);
            }
        }
    }
}
