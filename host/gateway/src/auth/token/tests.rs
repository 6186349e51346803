//! Tokens that count, and every way we know of not to.

use std::num::NonZeroU64;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use foreshore_control::identities::NewCredential;
use foreshore_control::store::{Journal, JournalConfig};
use foreshore_domain::conversation::Name;
use foreshore_domain::identity::{BuiltIn, Permission, Roles};
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://login.example.org";

struct Signing(KeyPair);

impl Signing {
    fn new() -> Self {
        Self(KeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    fn public_pem(&self) -> String {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        use aws_lc_rs::signature::KeyPair as _;
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(self.0.public_key()).expect("DER");
        pem::encode(&pem::Pem::new("PUBLIC KEY", der.as_ref()))
    }

    fn jwk(&self, kid: &str) -> Value {
        use aws_lc_rs::signature::KeyPair as _;
        let public = self.0.public_key();
        let modulus = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let exponent = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": modulus, "e": exponent })
    }

    /// Signs texts as they are, valid JSON or not.
    fn sign(&self, head: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn head() -> Value {
    json!({ "alg": "RS256", "typ": "JWT", "kid": "one" })
}

/// The library reads the real clock, so this follows it.
fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn claims() -> Value {
    let now = now();
    json!({
        "iss": ISSUER, "aud": "foreshore", "sub": "ann", "iat": now, "nbf": now,
        "exp": now + 600, "roles": ["caller", "not-ours", "Not A Role"], "tenant": "red",
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> String {
    claims[name] = value;
    claims.to_string()
}

fn without(mut claims: Value, name: &str) -> String {
    claims.as_object_mut().expect("an object").remove(name);
    claims.to_string()
}

fn trusted(keys: String) -> TrustedIssuer {
    TrustedIssuer {
        name: "login".to_owned(),
        issuer: ISSUER.to_owned(),
        audiences: vec!["foreshore".to_owned()],
        leeway_s: 30,
        lifetime_max_s: 3_600,
        keys,
        tenant: Source::Claim("tenant".to_owned()),
        roles: Source::Claim("roles".to_owned()),
    }
}

fn identities() -> Identities {
    let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
    Identities::open(journal, Roles::default()).expect("readable")
}

fn own() -> OwnIssuer {
    OwnIssuer {
        key: OwnIssuer::generate().expect("a key"),
        audience: "foreshore".to_owned(),
        access_s: NonZeroU64::new(1_800).expect("not zero"),
        refresh_s: NonZeroU64::new(86_400).expect("not zero"),
    }
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_is_its_subject() {
    let (signing, identities) = (Signing::new(), identities());
    for keys in [signing.public_pem(), set(&[signing.jwk("one")])] {
        let tokens = Tokens::new(&[trusted(keys)], None).expect("keys");
        let token = signing.sign(&head().to_string(), &claims().to_string());
        assert!(Tokens::is_one(&token));
        let who = tokens.authenticate(&token, &identities, now()).expect("it counts");
        assert_eq!(who.subject.to_string(), "login:ann");
        assert_eq!(who.tenant.as_str(), "red");
        assert!(who.may(Permission::CallTools) && !who.may(Permission::ManageTokens));
        let late = tokens.authenticate(&token, &identities, now() + 631);
        assert_eq!(late.expect_err("it ended"), TokenFault::Expired, "also once it is known");
    }
}

#[tokio::test]
async fn nothing_that_was_forged_counts() {
    let (signing, other, identities) = (Signing::new(), Signing::new(), identities());
    let keys = set(&[signing.jwk("one"), Signing::new().jwk("two")]);
    let public = signing.public_pem();
    let tokens = Tokens::new(&[trusted(keys)], None).expect("keys");
    let good = signing.sign(&head().to_string(), &claims().to_string());
    assert!(tokens.authenticate(&good, &identities, now()).is_ok());

    let mut forged: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| forged.push((what.to_owned(), token));

    // The header: algorithms, keys that the token brings, keys elsewhere.
    let mut heads = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "RS384", "RS512"] {
        heads.push(json!({ "alg": alg, "kid": "one" }));
    }
    for alg in ["PS256", "ES256", "EdDSA", "rs256", "RS256 ", "RSA"] {
        heads.push(json!({ "alg": alg, "kid": "one" }));
    }
    for alg in [json!(null), json!(256), json!(["RS256"]), json!({ "RS256": true })] {
        heads.push(json!({ "alg": alg, "kid": "one" }));
    }
    for field in ["jku", "x5u"] {
        for url in ["http://127.0.0.1:1/keys", "https://evil.example/jwks.json", "file:///etc/x"] {
            heads.push(json!({ "alg": "RS256", "kid": "one", field: url }));
        }
    }
    heads.push(json!({ "alg": "RS256", "kid": "one", "jwk": other.jwk("one") }));
    heads.push(json!({ "alg": "RS256", "kid": "one", "x5c": ["MIIB"] }));
    heads.push(json!({ "alg": "RS256", "kid": "one", "crit": ["exp"] }));
    heads.push(json!({ "alg": "RS256", "kid": "one", "b64": false, "crit": ["b64"] }));
    for kid in ["", "two", "three", "../../one", "one\u{0}", "' OR 1=1", "/dev/null", "ONE"] {
        heads.push(json!({ "alg": "RS256", "kid": kid }));
    }
    heads.push(json!({ "alg": "RS256" }));
    heads.push(json!({ "kid": "one" }));
    heads.push(json!([]));
    heads.push(json!("RS256"));
    for head in &heads {
        add("a header, with our signature", signing.sign(&head.to_string(), &claims().to_string()));
        add("a header, with another's", other.sign(&head.to_string(), &claims().to_string()));
    }
    for head in [
        r#"{"alg":"none","alg":"RS256","kid":"one"}"#,
        r#"{"alg":"RS256","kid":"one","kid":"two"}"#,
        r#"{"alg":"RS256","kid":"one""#,
        "",
        "\u{feff}{}",
    ] {
        add("a broken header", signing.sign(head, &claims().to_string()));
    }

    // HS256 with the public key as the secret (RFC 8725, section 2.1).
    for secret in [public.as_bytes(), public.trim().as_bytes(), b"", b"secret"] {
        let head = json!({ "alg": "HS256", "kid": "one" }).to_string();
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(head),
            URL_SAFE_NO_PAD.encode(claims().to_string())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        add("HMAC with the public key", format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)));
    }

    // The claims.
    let now = now();
    for exp in [
        json!(0),
        json!(now - 31),
        json!(-1),
        json!(now + 3_700),
        json!(u64::MAX),
        json!(9.9e99),
        json!("9999999999"),
        json!(null),
        json!([now + 600]),
        json!(true),
    ] {
        add("exp", signing.sign(&head().to_string(), &with(claims(), "exp", exp)));
    }
    for nbf in [json!(now + 120), json!(u64::MAX), json!("0"), json!([]), json!(-5)] {
        add("nbf", signing.sign(&head().to_string(), &with(claims(), "nbf", nbf)));
    }
    for iss in [
        json!("https://login.example.org/"),
        json!("HTTPS://LOGIN.EXAMPLE.ORG"),
        json!("https://evil.example"),
        json!(""),
        json!(null),
        json!(7),
        json!([ISSUER]),
        json!("foreshore"),
    ] {
        add("iss", signing.sign(&head().to_string(), &with(claims(), "iss", iss)));
    }
    for aud in [
        json!("other"),
        json!(""),
        json!(null),
        json!([]),
        json!(["other"]),
        json!("Foreshore"),
        json!("foreshore "),
        json!(1),
        json!({ "foreshore": true }),
    ] {
        add("aud", signing.sign(&head().to_string(), &with(claims(), "aud", aud)));
    }
    for sub in [json!(null), json!(1), json!(["ann"]), json!({})] {
        add("sub", signing.sign(&head().to_string(), &with(claims(), "sub", sub)));
    }
    for tenant in [json!(null), json!("RED"), json!("../red"), json!(["red"]), json!("")] {
        add("tenant", signing.sign(&head().to_string(), &with(claims(), "tenant", tenant)));
    }
    for roles in [json!(null), json!(1), json!([["admin"]]), json!({ "admin": true })] {
        add("roles", signing.sign(&head().to_string(), &with(claims(), "roles", roles)));
    }
    for name in ["exp", "iss", "aud", "sub", "tenant", "roles"] {
        add("a missing claim", signing.sign(&head().to_string(), &without(claims(), name)));
    }
    for text in ["", "{}", "[]", "null", "{\"iss\":", &format!("{}x", claims())] {
        add("broken claims", signing.sign(&head().to_string(), text));
    }
    let twice = claims().to_string().replacen('{', "{\"sub\":\"root\",", 1);
    add("sub twice", signing.sign(&head().to_string(), &twice));

    // The text: each part cut, changed, swapped, padded.
    let parts: Vec<&str> = good.split('.').collect();
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        add("one character", String::from_utf8(bytes).expect("ASCII"));
    }
    for at in (0..good.len()).step_by(31) {
        add("cut off", good[..at].to_owned());
    }
    let elsewhere = other.sign(&head().to_string(), &claims().to_string());
    let tail = elsewhere.rsplit('.').next().expect("a signature");
    add("another's signature", format!("{}.{}.{tail}", parts[0], parts[1]));
    add("no signature", format!("{}.{}.", parts[0], parts[1]));
    add("no claims", format!("{}..{}", parts[0], parts[2]));
    add("swapped", format!("{}.{}.{}", parts[1], parts[0], parts[2]));
    add("padded", format!("{good}="));
    add("a space", format!("{good} "));
    add("four parts", format!("{good}.{}", parts[2]));
    add("five parts", format!("{good}.a.b"));
    add("another issuer's", elsewhere);

    assert!(forged.len() >= 200, "{}", forged.len());
    for (what, token) in &forged {
        let answer = tokens.authenticate(token, &identities, now);
        let counted = answer.is_ok() && Tokens::is_one(token);
        assert!(!counted, "{what}: {token}");
    }
}

#[test]
fn what_is_too_large_is_not_looked_at() {
    let token = format!("{}.{}.{}", "a".repeat(1 << 19), "b".repeat(1 << 19), "c");
    assert!(!Tokens::is_one(&token));
    assert!(!Tokens::is_one("a.b") && !Tokens::is_one("a.b.c.d") && Tokens::is_one("a.b.c"));
}

#[test]
fn keys_that_are_weak_wrong_or_ambiguous_are_refused_at_the_start() {
    let signing = Signing::new();
    let weak =
        json!({ "kty": "RSA", "kid": "w", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" });
    let padded = [vec![0; 128], vec![0xff; 128]].concat();
    let disguised = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(padded), "e": "AQAB" });
    let huge = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 2_048]), "e": "AQAB" });
    let symmetric = json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" });
    let mut unnamed = signing.jwk("x");
    unnamed.as_object_mut().expect("an object").remove("kid");
    let private = OwnIssuer::generate().expect("a key");
    for bad in [
        String::new(),
        "no key".to_owned(),
        "{}".to_owned(),
        set(&[]),
        set(&[weak]),
        set(&[disguised]),
        set(&[huge]),
        set(&[symmetric]),
        set(&[signing.jwk("a"), signing.jwk("a")]),
        set(&[unnamed.clone(), signing.jwk("b")]),
        private,
        signing.public_pem().replace("PUBLIC KEY", "RSA PUBLIC KEY"),
    ] {
        assert!(Tokens::new(&[trusted(bad.clone())], None).is_err(), "{bad}");
    }
    assert!(Tokens::new(&[trusted(set(&[unnamed]))], None).is_ok());
}

#[tokio::test]
async fn our_own_tokens_end_with_their_line_and_say_nothing_of_what_they_permit() {
    let (own, identities) = (own(), identities());
    let tokens = Tokens::new(&[], Some(&own)).expect("keys");
    let new = NewCredential {
        name: Name::parse("ann").expect("a name"),
        tenant: Tenant::DEFAULT,
        roles: vec![BuiltIn::Viewer.name()],
        reach: Reach::ALL,
        expires_at_unix_ms: Some(u64::MAX),
    };
    let started = identities.start_tokens(new, &Principal::host()).await;
    let (grantee, _) = started.expect("started");
    let signer = tokens.signer.as_ref().expect("ours");
    let token = signer.sign(&grantee, now()).expect("signed");
    let who = tokens.authenticate(&token, &identities, now()).expect("it counts");
    assert_eq!(who.subject.to_string(), "foreshore:ann");
    assert!(who.may(Permission::ReadTools) && !who.may(Permission::CallTools));
    assert!(!token.contains("viewer"));

    let twin = Tokens::new(&[], Some(&self::own())).expect("keys");
    let forged = twin.signer.as_ref().expect("theirs").sign(&grantee, now()).expect("signed");
    assert_eq!(
        tokens.authenticate(&forged, &identities, now()).expect_err("another host's"),
        TokenFault::Unknown
    );
    identities.revoke(grantee.family, &Principal::host()).await.expect("revoked");
    assert_eq!(
        tokens.authenticate(&token, &identities, now()).expect_err("its line is over"),
        TokenFault::Revoked,
        "though its signature was checked before"
    );
}
