//! Components that come and go while the host runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::guest::{Body, guest};
use super::*;
use crate::{ComponentState, PutError, RemoveError, Selection};

fn answering(stem: &str, json: &str) -> Guest {
    guest(stem, Body::Answer(json)).build()
}

impl Place {
    fn components(&self) -> PathBuf {
        let directory = self.path("components");
        std::fs::create_dir_all(&directory).expect("made");
        directory
    }

    fn config_with_directory(&self, guests: &[&Guest]) -> ControlConfig {
        let mut config = self.config(guests);
        config.components_directory = Some(self.components());
        config
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: it never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_component_that_was_put_is_served_kept_and_removed_for_good() {
    let place = Place::new();
    let control = start(place.config_with_directory(&[])).await;
    let before = control.generation();
    let one = answering("hello@0.1.0", "1");
    let reference = control.put_component(one.bytes, Some("hello@0.1.0")).await.expect("put");
    assert_eq!(reference.to_string(), "hello@0.1.0");
    assert_eq!(value(&control, "hello.run").await, "1");
    assert!(control.generation() > before);
    control.drain(Duration::from_secs(5)).await;

    let control = start(place.config_with_directory(&[])).await;
    assert_eq!(value(&control, "hello@0.1.0.run").await, "1", "a restart serves the same");
    let removed = control.remove_component("hello", None).await.expect("removed");
    assert_eq!(removed, [reference]);
    assert!(call(&control, "hello.run", "{}").await.is_err());
    let again = control.remove_component("hello", None).await;
    assert!(matches!(again, Err(RemoveError::NotFound { .. })));
    control.drain(Duration::from_secs(5)).await;

    let control = start(place.config_with_directory(&[])).await;
    assert!(loaded(&control).is_empty(), "gone for good");
}

#[tokio::test]
async fn two_versions_stand_side_by_side_and_the_name_means_the_higher() {
    let place = Place::new();
    let control = start(place.config_with_directory(&[])).await;
    for (stem, json) in [("hello@0.2.0", "2"), ("hello@0.1.0", "1")] {
        let bytes = answering(stem, json).bytes;
        control.put_component(bytes, Some(stem)).await.expect("put");
    }
    assert_eq!(value(&control, "hello.run").await, "2");
    assert_eq!(value(&control, "hello@0.1.0.run").await, "1");
    let names: Vec<String> = control.tools().iter().map(|tool| tool.name.to_string()).collect();
    assert_eq!(names, ["hello@0.1.0.run", "hello.run"]);
    let higher = "0.2.0".parse().expect("a version");
    control.remove_component("hello", Some(&higher)).await.expect("removed");
    assert_eq!(value(&control, "hello.run").await, "1");
}

#[tokio::test]
async fn what_does_not_load_replaces_nothing_and_is_not_kept() {
    let place = Place::new();
    let control = start(place.config_with_directory(&[])).await;
    let stem = "hello@0.1.0";
    control.put_component(answering(stem, "1").bytes, Some(stem)).await.expect("put");
    let refused = control.put_component(Bytes::from_static(b"not wasm"), Some(stem)).await;
    assert!(matches!(refused, Err(PutError::Refused(_))), "{refused:?}");
    assert_eq!(value(&control, "hello.run").await, "1");
    let kept = std::fs::read(place.components().join("hello@0.1.0.wasm")).expect("there");
    assert_eq!(kept, answering(stem, "1").bytes);
}

#[tokio::test]
async fn a_host_without_a_directory_keeps_nothing() {
    let place = Place::new();
    let control = start(place.config(&[])).await;
    let put = control.put_component(answering("a@1.0.0", "1").bytes, Some("a@1.0.0")).await;
    assert!(matches!(put, Err(PutError::NoDirectory)));
}

#[tokio::test]
async fn a_file_goes_before_what_is_embedded_until_it_is_removed() {
    let place = Place::new();
    let embedded = answering("hello@0.1.0", "\"embedded\"");
    let control = start(place.config_with_directory(&[&embedded])).await;
    assert_eq!(value(&control, "hello.run").await, "\"embedded\"");
    let refused = control.remove_component("hello", None).await;
    assert!(matches!(refused, Err(RemoveError::Embedded { .. })));
    let stem = "hello@0.1.0";
    control.put_component(answering(stem, "\"file\"").bytes, Some(stem)).await.expect("put");
    assert_eq!(value(&control, "hello.run").await, "\"file\"");
    control.remove_component("hello", None).await.expect("removed");
    assert_eq!(value(&control, "hello.run").await, "\"embedded\"");
}

#[tokio::test]
async fn one_call_needs_only_its_own_component() {
    let place = Place::new();
    let (one, other) = (answering("one@1.0.0", "1"), answering("other@1.0.0", "2"));
    write(&place.components().join("third.wasm"), &answering("third", "3").bytes);
    let named = async |name: &str| {
        let mut config = place.config_with_directory(&[&one, &other]);
        config.selection = Selection::Named(name.to_owned());
        loaded(start(config).await.as_ref())
    };
    assert_eq!(named("one").await, ["one@1.0.0"]);
    assert_eq!(named("third").await, ["third@0.0.0"]);
    let all = ["one@1.0.0", "other@1.0.0", "third@0.0.0"];
    assert_eq!(named("unheard-of").await, all, "so that the answer can say what was meant");
}

#[tokio::test]
async fn a_file_that_is_no_component_is_shown_and_keeps_nobody_from_starting() {
    let place = Place::new();
    write(&place.components().join("bad.wasm"), b"not wasm");
    let control = start(place.config_with_directory(&[&answering("good@1.0.0", "1")])).await;
    assert_eq!(value(&control, "good.run").await, "1");
    let refused: Vec<_> = control
        .components()
        .into_iter()
        .filter_map(|component| match component.state {
            ComponentState::Refused { code, .. } => Some((component.origin, code)),
            ComponentState::Loaded { .. } => None,
        })
        .collect();
    let path = place.components().canonicalize().expect("there").join("bad.wasm");
    assert_eq!(refused, [(Origin::Directory(path), "component_malformed")]);
    assert!(control.readiness().is_ready());
}

#[tokio::test]
async fn files_that_come_change_and_go_are_noticed() {
    let place = Place::new();
    let mut config = place.config_with_directory(&[]);
    config.watch = true;
    let control = start(config).await;
    let file = place.components().join("hello@0.1.0.wasm");
    let (one, two) = (answering("hello", "1").bytes, answering("hello", "2").bytes);

    write(&file, &one);
    until("the new file", || loaded(&control) == ["hello@0.1.0"]).await;
    assert_eq!(value(&control, "hello.run").await, "1");

    // A version that does not load leaves the old one in place, and is shown.
    let generation = control.generation();
    write(&file, &two[..two.len() / 2]);
    until("the refusal", || control.generation() > generation).await;
    assert_eq!(value(&control, "hello.run").await, "1");
    assert_eq!(control.components().len(), 2, "the old one and the refusal");

    let renamed = place.components().join(".hello.part");
    write(&renamed, &two);
    std::fs::rename(&renamed, &file).expect("renamed");
    until("the other version", || control.components().len() == 1).await;
    assert_eq!(value(&control, "hello.run").await, "2");

    std::fs::remove_file(&file).expect("removed");
    until("the end of it", || control.components().is_empty()).await;
    control.drain(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_file_that_is_still_written_is_not_loaded() {
    use std::io::Write as _;
    let place = Place::new();
    let mut config = place.config_with_directory(&[]);
    config.watch = true;
    let control = start(config).await;
    let bytes = answering("slow", "1").bytes;
    let mut file = std::fs::File::create(place.components().join("slow@1.0.0.wasm")).expect("made");
    // Never the same at two looks, until it is whole.
    for part in bytes.chunks(bytes.len().div_ceil(12)) {
        file.write_all(part).expect("written");
        tokio::time::sleep(Duration::from_millis(40)).await;
        if file.metadata().expect("there").len() < u64::try_from(bytes.len()).expect("small") {
            assert!(control.components().is_empty(), "half a file was looked at");
        }
    }
    drop(file);
    until("the whole file", || loaded(&control) == ["slow@1.0.0"]).await;
    let refused = control.journal().read(1, 100).expect("readable");
    assert!(refused.iter().all(|event| event.kind != "component.refused"));
    control.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_swaps_fail_no_call_and_serve_no_old_version_after_the_acknowledgment() {
    let place = Place::new();
    let mut config = place.config_with_directory(&[]);
    config.watch = true;
    let control = start(config).await;
    let versions: Vec<Bytes> = (0..4).map(|n| answering("swap", &n.to_string()).bytes).collect();
    let put = async |n: usize| {
        let bytes = versions[n % versions.len()].clone();
        control.put_component(bytes, Some("swap@1.0.0")).await.expect("put");
    };
    put(0).await;

    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (control, stop, calls) =
                (Arc::clone(&control), Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    value(&control, "swap.run").await;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 1..=200_usize {
        put(n).await;
        assert_eq!(value(&control, "swap.run").await, (n % versions.len()).to_string());
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no call failed");
    }
    assert!(calls.load(Ordering::Relaxed) > 200, "there was no load");
    control.drain(Duration::from_secs(5)).await;
}
