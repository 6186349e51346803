//! A new project builds, on its own, with what travels in it.

use std::fs;
use std::path::Path;

use foreshore_shipped::project;

#[test]
fn a_new_project_builds_to_a_component_of_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in project::tool("word-size").expect("a name") {
        let path = folder.path().join(file.path);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("made");
        fs::write(path, file.text).expect("written");
    }

    // Where the shipped components were built, so that the crates they share are not built again.
    let components = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../components");
    let out = Path::new(env!("OUT_DIR"));
    let target = foreshore_guest_builder::guest_target_directory(out, &components);
    let built = foreshore_guest_builder::build(folder.path(), &target);
    let built = built.unwrap_or_else(|error| panic!("{error}"));

    let [component] = built.as_slice() else { panic!("one component: {built:?}") };
    assert_eq!((component.name.as_str(), component.version.as_str()), ("word-size", "0.1.0"));
    assert_eq!(component.bytes[..8], *b"\0asm\x0d\0\x01\0", "a component, not a module");
    let states = |text: &str| component.bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(states(r#"foreshore:component{"name":"word-size","version":"0.1.0"}"#));
    assert!(states("foreshore:tool/tool@0.1.0"));
    assert!(component.bytes.len() <= 200_000, "{} bytes", component.bytes.len());
}
