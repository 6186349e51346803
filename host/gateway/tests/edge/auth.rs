//! Who is let in: every route, method and role, and everything that is no credential.

use foreshore_control::identities::NewCredential;
use foreshore_control::store::{Journal, JournalConfig};
use foreshore_domain::conversation::Name;
use foreshore_domain::event::Tenant;
use foreshore_domain::identity::{BuiltIn, Principal, Reach};
use foreshore_gateway::{Access, rules};

use crate::harness::{Host, Response, Setup};

const VERBS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

fn new(role: BuiltIn, reach: Reach) -> NewCredential {
    NewCredential {
        name: Name::parse("a test").expect("a name"),
        tenant: Tenant::DEFAULT,
        roles: vec![role.name()],
        reach,
        expires_at_unix_ms: None,
    }
}

async fn key(host: &Host, role: BuiltIn, reach: Reach) -> String {
    let identities = host.control.identities();
    let (_, text) = identities.issue(new(role, reach), &Principal::host()).await.expect("issued");
    text.reveal().to_owned()
}

/// A request that shows what is given as the `authorization` fields.
async fn ask(host: &Host, method: &str, path: &str, shown: &[&str]) -> Response {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for field in shown {
        text += &format!("authorization: {field}\r\n");
    }
    text += "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    host.request(&text).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_is_let_in_to_each_method_of_each_route_by_its_permissions_alone() {
    let host = Host::start(Setup::asking()).await;
    let (mut asked, mut let_in) = (0, 0);
    for role in BuiltIn::ALL {
        let shown = format!("Bearer {}", key(&host, role, Reach::ALL).await);
        for (path, of_path) in rules() {
            let filled = path
                .split('/')
                .map(|part| if part.starts_with('{') { "x" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            for verb in VERBS {
                let response = ask(&host, verb, &filled, &[&shown]).await;
                let denied = response.text().contains("this takes the permission");
                let access = of_path.iter().find(|(known, _)| *known == verb).map(|(_, one)| *one);
                let may = match access {
                    None => {
                        // A path may be a name in another: a record may be called "search".
                        assert!(response.status() >= 400, "{role:?} {verb} {path}");
                        continue;
                    }
                    Some(Access::Public | Access::Known) => true,
                    Some(Access::Needs(permission)) => role.permissions().has(permission),
                    Some(Access::Either(one, other)) => {
                        role.permissions().has(one) || role.permissions().has(other)
                    }
                };
                assert_eq!(denied, !may, "{role:?} {verb} {path}: {}", response.text());
                assert_eq!(denied, response.status() == 403 && denied, "{role:?} {verb} {path}");
                asked += 1;
                let_in += usize::from(may);
            }
        }
    }
    assert!(asked > 350 && let_in > 100 && let_in < asked, "{let_in} of {asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_is_asked_for_a_credential_everywhere_but_at_the_probes() {
    let host = Host::start(Setup::asking()).await;
    for (path, of_path) in rules() {
        for (verb, access) in of_path {
            let response = ask(&host, verb, path, &[]).await;
            if access == Access::Public {
                assert_ne!(response.status(), 401, "{verb} {path}");
                continue;
            }
            assert_eq!(response.status(), 401, "{verb} {path}: {}", response.text());
            let challenge = response.header("www-authenticate").expect("a challenge");
            assert_eq!(challenge, "Bearer realm=\"foreshore\"", "{verb} {path}");
        }
    }
    for nowhere in ["/", "/nowhere", "/v1/admin", "/v1/tools/a/b/c"] {
        assert_eq!(
            ask(&host, "GET", nowhere, &[]).await.status(),
            401,
            "a stranger learns nothing"
        );
    }
    assert_eq!(ask(&host, "GET", "/readyz?verbose", &[]).await.status(), 401);
    let viewer = format!("Bearer {}", key(&host, BuiltIn::Viewer, Reach::ALL).await);
    assert_eq!(ask(&host, "GET", "/readyz?verbose", &[&viewer]).await.status(), 200);
    let caller = format!("Bearer {}", key(&host, BuiltIn::Caller, Reach::ALL).await);
    assert_eq!(ask(&host, "GET", "/readyz?verbose", &[&caller]).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_no_credential_lets_anybody_in() {
    let host = Host::start(Setup::asking()).await;
    let good = key(&host, BuiltIn::Admin, Reach::ALL).await;
    assert_eq!(ask(&host, "GET", "/v1/whoami", &[&format!("Bearer {good}")]).await.status(), 200);

    let mut forged: Vec<Vec<String>> = Vec::new();
    for at in 0..good.len() {
        // Each character once changed, left out, doubled, and everything cut off there.
        let (head, tail) = good.split_at(at);
        let other = if tail.starts_with('A') { 'B' } else { 'A' };
        forged.push(vec![format!("Bearer {head}{other}{}", &tail[1..])]);
        forged.push(vec![format!("Bearer {head}{}", &tail[1..])]);
        forged.push(vec![format!("Bearer {head}{}{tail}", &tail[..1])]);
        forged.push(vec![format!("Bearer {head}")]);
    }
    let of_another = Journal::in_memory(&JournalConfig::default()).expect("a journal");
    let elsewhere = foreshore_control::Identities::open(of_another, Default::default());
    let elsewhere = elsewhere.expect("readable");
    let (_, of_elsewhere) =
        elsewhere.issue(new(BuiltIn::Admin, Reach::ALL), &Principal::host()).await.expect("ok");
    let own = elsewhere.own_key().expect("random bytes");
    for text in [of_elsewhere.reveal(), own.reveal(), "", "null", "undefined", "admin", "*", "fsk_"]
    {
        forged.push(vec![format!("Bearer {text}")]);
    }
    for scheme in ["", "Basic", "Token", "Bearer:", "bearerx", "Bearer,Bearer", "\"Bearer\""] {
        forged.push(vec![format!("{scheme} {good}")]);
    }
    forged.push(vec![good.clone()]);
    forged.push(vec![format!("Bearer {good}"), format!("Bearer {good}")]);
    forged.push(vec![format!("Bearer {good}"), "Basic YTpi".to_owned()]);
    forged.push(vec![format!("Bearer {good}, Bearer {good}")]);
    forged.push(vec![format!("Bearer {good} {good}")]);
    forged.push(vec![format!("Bearer {}", good.to_ascii_uppercase())]);
    forged.push(vec![format!("Bearer {}", good.replacen("fsk_", "fsr_", 1))]);
    forged.push(vec![format!("Bearer {}", "A".repeat(8 << 10))]);
    for algorithm in ["none", "None", "HS256", "RS256"] {
        let header = format!("{{\"alg\":\"{algorithm}\",\"typ\":\"JWT\"}}");
        let claims = "{\"sub\":\"admin\",\"role\":\"admin\",\"exp\":9999999999}";
        for signature in ["", "AAAA"] {
            let parts = [base64_url(&header), base64_url(claims), signature.to_owned()];
            forged.push(vec![format!("Bearer {}", parts.join("."))]);
        }
    }
    assert!(forged.len() >= 300, "{}", forged.len());
    for fields in &forged {
        let shown: Vec<&str> = fields.iter().map(String::as_str).collect();
        let response = ask(&host, "GET", "/v1/whoami", &shown).await;
        assert_eq!(response.status(), 401, "{shown:?}: {}", response.text());
        assert!(!response.text().contains(&good[5..]), "the credential is not said back");
    }
}

fn base64_url(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_was_revoked_counts_for_no_later_request() {
    let host = Host::start(Setup::asking()).await;
    let identities = host.control.identities();
    let principal = Principal::host();
    let (entry, text) =
        identities.issue(new(BuiltIn::Caller, Reach::ALL), &principal).await.expect("issued");
    let shown = format!("Bearer {}", text.reveal());
    assert_eq!(ask(&host, "GET", "/v1/whoami", &[&shown]).await.status(), 200);
    let admin = format!("Bearer {}", key(&host, BuiltIn::Admin, Reach::ALL).await);
    let path = format!("/v1/tokens/{}", entry.issued.key);
    assert_eq!(ask(&host, "DELETE", &path, &[&shown]).await.status(), 403, "not by itself");
    assert_eq!(ask(&host, "DELETE", &path, &[&admin]).await.status(), 204);
    let after = ask(&host, "GET", "/v1/whoami", &[&shown]).await;
    assert_eq!(after.status(), 401);
    assert!(after.text().contains("was revoked"), "{}", after.text());
    assert_eq!(
        after.header("www-authenticate").as_deref(),
        Some("Bearer realm=\"foreshore\", error=\"invalid_token\"")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_authentication_says_who_it_takes_everybody_for() {
    let host = Host::start(Setup::default()).await;
    let response = ask(&host, "GET", "/v1/whoami", &["Bearer nonsense"]).await;
    assert_eq!(response.status(), 200);
    assert!(response.text().contains("\"subject\":\"anybody\""), "{}", response.text());
}
