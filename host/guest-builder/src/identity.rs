//! What a component says of itself: the custom section `foreshore:component` that the SDK writes.
//!
//! Not a parser of WebAssembly: it finds the section by its name, which is enough for components
//! that this build or its operator made. The loader reads strangers' components, properly.

use serde_json::Value;

const SECTION: &[u8] = b"foreshore:component{";

/// The version that a component states.
pub(crate) fn stated_version(component: &[u8]) -> Option<String> {
    let start = component.windows(SECTION.len()).position(|window| window == SECTION)?;
    // The section's name is followed by its content, a flat JSON object.
    let content = &component[start + SECTION.len() - 1..];
    let end = content.iter().position(|byte| *byte == b'}')? + 1;
    let identity: Value = serde_json::from_slice(&content[..end]).ok()?;
    identity["version"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_amid_other_bytes() {
        let bytes = b"\0asm\x13foreshore:component{\"name\":\"x\",\"version\":\"0.1.0\"}\0\xff";
        assert_eq!(stated_version(bytes).as_deref(), Some("0.1.0"));
        assert_eq!(stated_version(b"\0asm"), None);
        assert_eq!(stated_version(b"foreshore:component{\"version\":"), None);
    }
}
