//! A guest's own word is never taken for a denial that the host did not make.

use serde_json::json;

use crate::harness::server::Server;

#[test]
fn a_guest_cannot_forge_a_denial_or_its_grant() {
    let root = tempfile::tempdir().expect("made");
    let configuration = format!(
        "[components.rogue]\nmounts = [{{ host = {:?}, guest = \"/data\", access = \"read-only\" }}]\n",
        root.path()
    );
    let server = Server::start(&configuration, &[("rogue", "rogue")]);
    let claim = |code: &str, subject: &str| {
        let answer = server.call("rogue.claim-denied", &json!({"code": code, "subject": subject}));
        let body = answer.json();
        assert_eq!(answer.status, 403, "{body}");
        body
    };
    // True, by the host's own look at the grants: then the host writes the grant.
    let body = claim("mount_not_granted", "/elsewhere/x");
    assert_eq!(body["code"], "mount_not_granted", "{body}");
    assert!(body["grant"].as_str().is_some_and(|text| text.contains("/elsewhere")), "{body}");
    // False: the path is granted. And codes that only the host can know.
    for (code, subject) in [
        ("mount_not_granted", "/data/x"),
        ("http_not_granted", "https://example.com/"),
        ("import_not_granted", "wasi:http"),
        ("made_up", "anything"),
    ] {
        let body = claim(code, subject);
        assert_eq!(body["code"], "denied_by_tool", "{code}: {body}");
        assert!(body["grant"].as_str().unwrap_or_default().is_empty(), "{code}: {body}");
    }
}
