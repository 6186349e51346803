//! Credentials from the first to the last day.

use foreshore_domain::identity::BuiltIn;
use foreshore_store::JournalConfig;

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn identities() -> Identities {
    let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
    Identities::open(journal, Roles::default()).expect("readable")
}

fn new(role: BuiltIn) -> NewCredential {
    NewCredential {
        name: Name::parse("a robot").expect("a name"),
        tenant: Tenant::DEFAULT,
        roles: vec![role.name()],
        reach: Reach::ALL,
        expires_at_unix_ms: None,
    }
}

fn for_an_hour(role: BuiltIn) -> NewCredential {
    let end = clock::now_unix_ms() + HOUR_MS;
    NewCredential { expires_at_unix_ms: Some(end), ..new(role) }
}

#[tokio::test]
async fn a_key_is_its_holder_until_it_is_revoked_and_over_a_restart() {
    let identities = identities();
    let host = Principal::host();
    let (entry, text) = identities.issue(new(BuiltIn::Caller), &host).await.expect("issued");
    let who = identities.authenticate(text.reveal()).expect("it counts");
    assert_eq!(who.subject, Subject::Key(entry.issued.key));
    assert!(who.may(Permission::CallTools) && !who.may(Permission::ManageTokens));

    let again = Identities::open(identities.0.journal.clone(), Roles::default()).expect("readable");
    assert_eq!(again.authenticate(text.reveal()).expect("it counts"), who);

    identities.revoke(entry.issued.key, &host).await.expect("revoked");
    assert_eq!(identities.authenticate(text.reveal()), Err(AuthFault::Revoked));
    let again = Identities::open(identities.0.journal.clone(), Roles::default()).expect("readable");
    assert_eq!(again.authenticate(text.reveal()), Err(AuthFault::Revoked));
}

#[tokio::test]
async fn no_other_text_is_anybody() {
    let identities = identities();
    let (_, text) =
        identities.issue(new(BuiltIn::Admin), &Principal::host()).await.expect("issued");
    let (text, other) = (text.reveal().to_owned(), KeyId::new(5).to_string());
    let flipped = |at: usize| {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
        String::from_utf8(bytes).expect("ASCII")
    };
    for at in 0..text.len() {
        assert!(identities.authenticate(&flipped(at)).is_err(), "character {at}");
    }
    let (_, secret) = text[4..].split_once('_').expect("an underscore");
    let of_another = format!("fsk_{}_{secret}", &other[4..]);
    assert_eq!(identities.authenticate(&of_another), Err(AuthFault::Unknown));
    assert_eq!(identities.authenticate(""), Err(AuthFault::Malformed));
}

#[tokio::test]
async fn an_end_is_an_end() {
    let identities = identities();
    let end = clock::now_unix_ms() + 40;
    let short = NewCredential { expires_at_unix_ms: Some(end), ..new(BuiltIn::Caller) };
    let (_, text) = identities.issue(short, &Principal::host()).await.expect("issued");
    while clock::now_unix_ms() < end {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(identities.authenticate(text.reveal()), Err(AuthFault::Expired));
    let late = NewCredential { expires_at_unix_ms: Some(end), ..new(BuiltIn::Caller) };
    let fault = identities.issue(late, &Principal::host()).await.expect_err("it is over");
    assert_eq!(fault.code(), "invalid_credential");
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have() {
    let mut roles = Roles::default();
    let clerk = RoleName::parse("clerk").expect("a name");
    let reach = Reach { tools: Some(vec!["files.*".parse().expect("a pattern")]), agents: None };
    let permissions = Permissions::of(&[Permission::ManageTokens, Permission::CallTools]);
    let role = foreshore_domain::identity::Role { permissions, reach };
    assert!(roles.add(clerk.clone(), role));
    let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
    let identities = Identities::open(journal, roles).expect("readable");
    let clerks = NewCredential { roles: vec![clerk.clone()], ..new(BuiltIn::Caller) };
    let (_, text) = identities.issue(clerks, &Principal::host()).await.expect("issued");
    let by = identities.authenticate(text.reveal()).expect("it counts");

    for role in [BuiltIn::Admin, BuiltIn::Viewer] {
        let fault = identities.issue(new(role), &by).await.expect_err("it is more");
        assert_eq!(fault.code(), "credential_exceeds_issuer", "{role:?}");
    }
    let narrow =
        Reach { tools: Some(vec!["files.read".parse().expect("a pattern")]), agents: None };
    let less = NewCredential { roles: vec![clerk], reach: narrow, ..new(BuiltIn::Caller) };
    let (_, text) = identities.issue(less, &by).await.expect("it is less");
    let who = identities.authenticate(text.reveal()).expect("it counts");
    assert!(who.may_call(&"files.read".parse().expect("a tool")));
    assert!(!who.may_call(&"files.write".parse().expect("a tool")));
    assert!(!who.may_call(&"shell.run".parse().expect("a tool")));
}

#[tokio::test]
async fn a_tenant_sees_its_own_credentials_and_no_others() {
    let identities = identities();
    let host = Principal::host();
    let tenant = Tenant::parse("red").expect("a tenant");
    let reds = NewCredential { tenant: tenant.clone(), ..new(BuiltIn::Admin) };
    let (_, text) = identities.issue(reds.clone(), &host).await.expect("issued");
    let red = identities.authenticate(text.reveal()).expect("it counts");
    assert_eq!(red.tenant, tenant);
    let (blue, _) = identities.issue(new(BuiltIn::Caller), &host).await.expect("issued");

    assert_eq!(identities.list(&host).expect("readable").len(), 2);
    let seen = identities.list(&red).expect("readable");
    assert!(seen.len() == 1 && seen[0].tenant() == "red");
    let fault = identities.revoke(blue.issued.key, &red).await.expect_err("another's");
    assert_eq!(fault.code(), "unknown_credential");
    let fault = identities.issue(new(BuiltIn::Caller), &red).await.expect_err("another's");
    assert_eq!(fault.code(), "credential_exceeds_issuer");
    assert!(identities.issue(reds, &red).await.is_ok());
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_second_use_ends_the_line() {
    let identities = identities();
    let host = Principal::host();
    let started = identities.start_tokens(for_an_hour(BuiltIn::Caller), &host).await;
    let (grantee, first) = started.expect("started");
    let (_, second) = identities.rotate(first.reveal(), HOUR_MS).await.expect("the first use");
    let (same, third) = identities.rotate(second.reveal(), HOUR_MS).await.expect("the second one");
    assert_eq!((same.family, same.roles), (grantee.family, grantee.roles));
    assert!(identities.is_live(grantee.family));

    let guess = format!("{}{}", &third.reveal()[..third.reveal().len() - 4], "AAAA");
    let fault = identities.rotate(&guess, HOUR_MS).await.expect_err("a guess");
    assert_eq!(fault.code(), "credential_unknown");
    assert!(identities.is_live(grantee.family), "a guess ends nothing");

    let fault = identities.rotate(first.reveal(), HOUR_MS).await.expect_err("it was used");
    assert_eq!(fault.code(), "refresh_token_reused");
    assert!(!identities.is_live(grantee.family));
    let fault = identities.rotate(third.reveal(), HOUR_MS).await.expect_err("the line is over");
    assert_eq!(fault.code(), "credential_revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_use_a_refresh_token_at_once_one_gets_the_next() {
    let identities = identities();
    let started = identities.start_tokens(for_an_hour(BuiltIn::Caller), &Principal::host()).await;
    let (grantee, first) = started.expect("started");
    let uses: Vec<_> = (0..32)
        .map(|_| {
            let (identities, first) = (identities.clone(), first.clone());
            tokio::spawn(async move { identities.rotate(first.reveal(), HOUR_MS).await.is_ok() })
        })
        .collect();
    let mut taken = 0;
    for used in uses {
        taken += usize::from(used.await.expect("it ends"));
    }
    assert_eq!(taken, 1);
    assert!(!identities.is_live(grantee.family), "two had the same token");
}

#[tokio::test]
async fn a_host_knows_whether_anybody_can_administer_it() {
    let identities = identities();
    let host = Principal::host();
    assert!(!identities.has_administrator());
    identities.issue(new(BuiltIn::Operator), &host).await.expect("issued");
    let elsewhere =
        NewCredential { tenant: Tenant::parse("red").expect("ok"), ..new(BuiltIn::Admin) };
    identities.issue(elsewhere, &host).await.expect("issued");
    assert!(!identities.has_administrator());
    let (entry, _) = identities.issue(new(BuiltIn::Admin), &host).await.expect("issued");
    assert!(identities.has_administrator());
    identities.revoke(entry.issued.key, &host).await.expect("revoked");
    assert!(!identities.has_administrator());
}

#[test]
fn refusals_are_recorded_up_to_a_bound_and_counted_above_it() {
    let refusals = Refusals::default();
    let admitted = (0..1_000).filter(|_| refusals.admit(5_000).is_some()).count();
    assert_eq!(u64::try_from(admitted), Ok(REFUSED_MAX_PER_S));
    assert_eq!(refusals.admit(6_000), Some(1_000 - REFUSED_MAX_PER_S));
    assert_eq!(refusals.admit(6_001), Some(0));
}
