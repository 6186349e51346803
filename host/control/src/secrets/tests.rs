//! Setting, keeping and opening secrets, and what the disk holds of them.

use std::path::Path;

use foreshore_secrets::Scanner;
use foreshore_store::JournalConfig;

use super::*;

const KEY: &str = "sk-live-9fQ2xLr7TzVb4Wc8NmKe";

fn name(text: &str) -> SecretName {
    SecretName::parse(text).expect("a name")
}

fn value(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.as_bytes().to_vec())
}

async fn set(secrets: &Secrets, called: &str, text: &str) -> Result<bool, SecretFault> {
    secrets.set(name(called), value(text), &Principal::host()).await
}

fn journal(directory: &Path) -> Journal {
    Journal::open(&directory.join("journal.redb"), &JournalConfig::default()).expect("opens")
}

fn own(directory: &Path) -> KeyPlace {
    KeyPlace::Own(directory.join("secrets.key"))
}

fn held(secrets: &Secrets, called: &str) -> Option<Vec<u8>> {
    let held = secrets.custody().held()?;
    held.value(&name(called)).map(<[u8]>::to_vec)
}

#[tokio::test]
async fn a_secret_outlives_the_host_and_is_on_no_disk_in_any_spelling() {
    let directory = tempfile::tempdir().expect("made");
    let first = journal(directory.path());
    let secrets = Secrets::open(first.clone(), own(directory.path())).expect("opens");
    assert!(secrets.custody().held().is_none() && secrets.key_id().is_none());
    assert!(!directory.path().join("secrets.key").exists(), "no key before it is needed");
    assert!(!set(&secrets, "api-key", "first-value-of-it").await.expect("set"));
    assert!(set(&secrets, "api-key", KEY).await.expect("set again"));
    assert!(held(&secrets, "api-key").is_some() && held(&secrets, "other").is_none());
    let listed = secrets.list().expect("listed");
    assert_eq!((listed.len(), listed[0].set_by.as_str()), (1, Principal::host().name().as_str()));
    first.close().await;

    let scanner = Scanner::new([("api-key", KEY.as_bytes())]).expect("built").expect("a value");
    let mut files = 0;
    for entry in std::fs::read_dir(directory.path()).expect("a directory") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("readable");
        assert!(scanner.find(&bytes).is_none());
        files += 1;
    }
    assert!(files >= 2, "the journal and the key");

    let secrets = Secrets::open(journal(directory.path()), own(directory.path())).expect("opens");
    assert_eq!(held(&secrets, "api-key").as_deref(), Some(KEY.as_bytes()));
    secrets.remove(&name("api-key"), &Principal::host()).await.expect("removed");
    assert!(secrets.custody().held().is_none() && secrets.list().expect("listed").is_empty());
    let again = secrets.remove(&name("api-key"), &Principal::host()).await;
    assert!(matches!(again, Err(SecretFault::NotFound { .. })));
}

#[tokio::test]
async fn a_host_that_cannot_open_its_secrets_does_not_open() {
    let directory = tempfile::tempdir().expect("made");
    let kept = journal(directory.path());
    let secrets = Secrets::open(kept.clone(), own(directory.path())).expect("opens");
    set(&secrets, "api-key", KEY).await.expect("set");
    let key = directory.path().join("secrets.key");
    let before = std::fs::read(&key).expect("a key");
    std::fs::remove_file(&key).expect("removed");
    let opened = Secrets::open(kept.clone(), own(directory.path())).map(|_| ());
    assert!(matches!(opened, Err(SecretFault::NoKey { secrets: 1 })));
    let text = Zeroizing::new("ab".repeat(32));
    let other = KeyPlace::Given { variable: "FORESHORE_SECRETS_KEY", text };
    let opened = Secrets::open(kept.clone(), other).map(|_| ()).expect_err("another key");
    assert!(opened.to_string().contains("\"api-key\" cannot be opened"), "{opened}");
    let text = Zeroizing::new(String::from_utf8(before).expect("hex"));
    let given = KeyPlace::Given { variable: "FORESHORE_SECRETS_KEY", text };
    assert!(Secrets::open(kept, given).is_ok(), "the same key, from elsewhere");
}

#[tokio::test]
async fn rekeying_leaves_one_key_that_opens_all_there_is() {
    let directory = tempfile::tempdir().expect("made");
    let kept = journal(directory.path());
    let key = directory.path().join("secrets.key");
    let secrets = Secrets::open(kept.clone(), own(directory.path())).expect("opens");
    for number in 0..3 {
        set(&secrets, &format!("key-{number}"), &format!("{KEY}{number}")).await.expect("set");
    }
    let (before, old) = (secrets.list().expect("listed"), secrets.key_id());
    let old_file = std::fs::read(&key).expect("a key");
    let (id, sealed) = secrets.rekey(&Principal::host()).await.expect("sealed anew");
    assert_eq!((sealed, secrets.key_id()), (3, Some(id.clone())));
    assert_ne!(old, Some(id.clone()));
    let after = secrets.list().expect("listed");
    for (before, after) in before.iter().zip(&after) {
        assert_ne!(before.sealed, after.sealed);
        assert_eq!(Keyring::key_of(&after.sealed), id);
        assert_eq!(before.set_at_unix_ms, after.set_at_unix_ms);
    }
    assert_eq!(std::fs::read_to_string(&key).expect("a key").lines().count(), 1);
    let opened = Secrets::open(kept.clone(), own(directory.path())).expect("opens");
    assert_eq!(held(&opened, "key-2"), Some(format!("{KEY}2").into_bytes()));
    std::fs::write(&key, old_file).expect("written");
    assert!(Secrets::open(kept, own(directory.path())).is_err(), "the old key opens nothing");
}

#[tokio::test]
async fn a_crash_in_the_middle_of_rekeying_costs_nothing() {
    let directory = tempfile::tempdir().expect("made");
    let kept = journal(directory.path());
    let place = own(directory.path());
    let secrets = Secrets::open(kept.clone(), own(directory.path())).expect("opens");
    set(&secrets, "api-key", KEY).await.expect("set");
    // The new key is on disk before the old, and nothing is sealed with it yet.
    let both = place.read().expect("readable").expect("a key").renewed().expect("a key");
    place.keep(&both).expect("kept");
    let opened = Secrets::open(kept.clone(), own(directory.path())).expect("opens");
    assert_eq!(held(&opened, "api-key").as_deref(), Some(KEY.as_bytes()));
    // All is sealed with the new key, and the old one is not gone yet.
    opened.rekey(&Principal::host()).await.expect("sealed anew");
    let newest = place.read().expect("readable").expect("a key");
    place.keep(&newest.renewed().expect("a key")).expect("kept");
    assert!(Secrets::open(kept, place).is_ok());
}

#[tokio::test]
async fn what_cannot_be_a_secret_is_refused_and_changes_nothing() {
    let kept = Journal::in_memory(&JournalConfig::default()).expect("a journal");
    let secrets = Secrets::open(kept.clone(), KeyPlace::InMemory).expect("opens");
    for bad in ["", "1234567", "xxxxxxxxxxxx", &"xy".repeat(VALUE_MAX_BYTES / 2 + 1)] {
        let fault = set(&secrets, "a", bad).await.expect_err("no secret");
        assert!(matches!(fault, SecretFault::Invalid { .. }), "{fault}");
        assert!(bad.is_empty() || !fault.to_string().contains(bad));
    }
    assert!(secrets.custody().held().is_none() && secrets.list().expect("listed").is_empty());
    set(&secrets, "a", KEY).await.expect("set");
    kept.close().await;
    assert!(set(&secrets, "b", "another-value").await.is_err(), "what is not recorded is not held");
    assert!(held(&secrets, "b").is_none());
    assert!(!format!("{:?}", secrets.custody()).contains("sk-live"));
}
