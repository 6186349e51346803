//! A new project builds, on its own, with what travels in it.

use std::fs;
use std::path::Path;

use foreshore_guest_builder::BuiltComponent;
use foreshore_shipped::project::{self, ProjectFile};

#[test]
fn a_new_tool_builds_to_a_component_of_its_name() {
    let component = built(project::tool("word-size").expect("a name"));
    let states = |text: &str| states(&component, text);
    assert_eq!((component.name.as_str(), component.version.as_str()), ("word-size", "0.1.0"));
    assert!(states(r#"foreshore:component{"name":"word-size","version":"0.1.0"}"#));
    assert!(states("foreshore:tool/tool@0.1.0"));
    assert!(component.bytes.len() <= 200_000, "{} bytes", component.bytes.len());
}

#[test]
fn a_new_agent_builds_to_a_component_that_reaches_for_nothing_but_what_agents_have() {
    let component = built(project::agent("pilot").expect("a name"));
    let states = |text: &str| states(&component, text);
    assert!(states(r#"foreshore:component{"name":"pilot","version":"0.1.0"}"#));
    assert!(states("foreshore:agent/agent@0.1.0") && states("foreshore:inference/inference@0.1.0"));
    for outside in ["foreshore:tool/tool@", "wasi:filesystem/", "wasi:sockets/", "wasi:http/"] {
        assert!(!states(outside), "{outside}");
    }
    assert!(component.bytes.len() <= 300_000, "{} bytes", component.bytes.len());
}

fn built(files: Vec<ProjectFile>) -> BuiltComponent {
    let folder = tempfile::tempdir().expect("a folder");
    for file in files {
        let path = folder.path().join(file.path);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("made");
        fs::write(path, file.text).expect("written");
    }

    // Where the shipped components were built, so that the crates they share are not built again.
    let components = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../components");
    let out = Path::new(env!("OUT_DIR"));
    let target = foreshore_guest_builder::guest_target_directory(out, &components);
    let built = foreshore_guest_builder::build(folder.path(), &target);
    let mut built = built.unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(built.len(), 1, "one component: {built:?}");
    let component = built.remove(0);
    assert_eq!(component.bytes[..8], *b"\0asm\x0d\0\x01\0", "a component, not a module");
    component
}

/// Whether the component has this text in it, such as the name of an import.
fn states(component: &BuiltComponent, text: &str) -> bool {
    component.bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
