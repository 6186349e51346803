//! The worker and the queries, over a journal in memory and a model that does as it is told.

mod world;

use std::sync::atomic::Ordering;

use foreshore_domain::inference::Step;
use foreshore_domain::memory::{Key, Origin};
use foreshore_store::JournalConfig;
use foreshore_store::memory::{FoundBy, Method};

use super::*;
use world::{Fake, Mood, PATIENCE, TENANT, World, is_waiting, keys, notes, reason};

#[tokio::test]
async fn what_was_there_and_what_comes_is_embedded_and_found_by_what_it_means() {
    let world = World::new();
    world.put("a", "hound").await;
    world.put("b", "boat").await;
    let world = world.run();
    assert_eq!(world.embedded().await.kept.done, 2);
    world.put("c", "vessel").await;
    world.until(|status| status.kept.done == 3).await;
    let found = world.find("dog").await;
    assert_eq!((keys(&found), found.method), (vec!["a"], Method::Hybrid));
    assert_eq!((found.hits[0].found_by, &found.degraded), (FoundBy::Meaning, &None));
    assert_eq!(keys(&world.find("boat").await), ["b", "c"]);
    assert_eq!(world.find("boat").await.hits[0].found_by, FoundBy::Both);
    // A query that was asked before is not asked again.
    assert_eq!(world.fake.asked(Urgency::Waited), ["dog", "boat"]);
    assert_eq!(world.fake.asked(Urgency::Background), ["hound", "boat", "vessel"]);
    world.end().await;
}

#[tokio::test]
async fn equal_texts_are_asked_for_once_also_by_the_next_host() {
    let world = World::new().run();
    for key in ["a", "b", "c"] {
        world.put(key, "hound").await;
    }
    world.embedded().await;
    world.put("a", "hound").await;
    world.put("d", "  hound\n").await;
    world.until(|status| status.kept.done == 4).await;
    let (journal, fake) = world.end().await;
    let world = World::over(journal, fake, "m", PATIENCE).run();
    world.put("e", "hound").await;
    world.until(|status| status.kept.done == 5).await;
    assert_eq!(world.fake.asked(Urgency::Background), ["hound"]);
    world.end().await;
}

#[tokio::test]
async fn a_model_that_is_away_delays_no_write_and_no_search_and_is_asked_again_when_it_is_back() {
    let world = World::new().run();
    world.put("a", "hound").await;
    world.embedded().await;
    world.fake.is(Mood::Away);
    assert_eq!(world.put("b", "vessel").await, 1);
    let status = world.until(is_waiting).await;
    assert!(reason(&status).contains("its server is gone"), "{status:?}");
    assert_eq!((status.kept.done, status.kept.records), (1, 2));
    assert!(
        world.memory.meaning_line().contains("1 of 2 records"),
        "{}",
        world.memory.meaning_line()
    );

    let found = world.find("hound dog").await;
    assert_eq!((keys(&found), found.method), (vec!["a"], Method::Lexical));
    assert_eq!(found.hits[0].found_by, FoundBy::Words);
    assert!(found.degraded.expect("it says so").contains("its server is gone"));

    world.fake.is(Mood::Answers);
    world.embedded().await;
    let found = world.find("boat").await;
    assert_eq!((keys(&found), &found.degraded), (vec!["b"], &None));
    world.end().await;
}

#[tokio::test]
async fn a_query_waits_so_long_and_its_answer_is_kept_for_the_next() {
    let journal = Journal::in_memory(&JournalConfig::default()).expect("opens");
    let world = World::over(journal, Fake::new(), "m", Duration::from_millis(20)).run();
    world.put("a", "hound").await;
    world.embedded().await;
    world.fake.is(Mood::Stalls);
    let found = world.find("dog").await;
    assert_eq!((found.hits.len(), found.method), (0, Method::Lexical));
    let said = found.degraded.expect("it says so");
    assert_eq!(said, "m took longer than 20 ms for the query");
    // What stalls for ever holds up neither the end of the host nor, past a bound, other searches.
    for n in 0..15 {
        world.find(&format!("dog {n}")).await;
    }
    let said = world.find("dog and dog").await.degraded.expect("it says so");
    assert_eq!(said, "16 searches wait for m already");
    world.end().await;
}

#[tokio::test]
async fn a_stalled_worker_ends_with_its_host_and_the_next_goes_on_where_it_was() {
    let world = World::new().run();
    world.put("a", "hound").await;
    world.embedded().await;
    world.fake.is(Mood::Stalls);
    world.put("b", "vessel").await;
    let fake = world.fake.clone();
    let asked = async {
        while fake.asked(Urgency::Background).len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it is asked");
    let (journal, fake) = world.end().await;
    fake.is(Mood::Answers);
    let world = World::over(journal, fake, "m", PATIENCE).run();
    world.embedded().await;
    assert_eq!(world.fake.asked(Urgency::Background), ["hound", "vessel", "vessel"]);
    world.end().await;
}

#[tokio::test]
async fn another_model_embeds_everything_anew_and_no_model_drops_it() {
    let world = World::new().run();
    world.put("a", "hound").await;
    world.embedded().await;
    let (journal, fake) = world.end().await;
    let world = World::over(journal, fake, "other", PATIENCE).run();
    let status = world.embedded().await;
    assert_eq!(status.kept.model.expect("a model").as_str(), "other");
    assert_eq!(world.fake.asked(Urgency::Background), ["hound", "hound"]);
    let (journal, _) = world.end().await;
    Memory::new(journal.clone()).keep_meanings().await;
    let kept = journal.meanings().expect("readable");
    assert_eq!((kept.model, kept.done, kept.records), (None, 0, 1));
}

#[tokio::test]
async fn vectors_of_another_length_are_another_model_once_and_then_a_fault() {
    let world = World::new().run();
    world.put("a", "hound").await;
    assert_eq!(world.embedded().await.kept.columns, 4);
    world.fake.columns.store(6, Ordering::SeqCst);
    world.put("b", "vessel").await;
    assert_eq!(world.until(|status| status.kept.done == 2).await.kept.columns, 6);
    assert_eq!(keys(&world.find("dog").await), ["a"]);
    world.fake.columns.store(5, Ordering::SeqCst);
    world.put("c", "boat").await;
    let status = world.until(is_waiting).await;
    assert!(reason(&status).contains("must have one and the same model"), "{status:?}");
    assert_eq!((status.kept.done, status.kept.columns), (2, 6), "what is kept stays");
    world.end().await;
}

#[tokio::test]
async fn a_fallback_of_another_length_never_takes_the_place_of_what_is_kept() {
    let world = World::new().run();
    world.put("a", "hound").await;
    world.embedded().await;
    world.fake.columns.store(6, Ordering::SeqCst);
    *world.fake.step.lock().expect("whole") = Step::Fallback;
    world.put("b", "vessel").await;
    let status = world.until(is_waiting).await;
    assert_eq!((status.kept.done, status.kept.columns), (1, 4));
    let found = world.find("dog").await;
    assert_eq!(found.method, Method::Lexical, "its vector cannot be compared");
    world.end().await;
}

#[tokio::test]
async fn a_text_that_is_refused_is_left_alone_and_one_that_is_too_long_is_cut() {
    let world = World::new();
    world.put("a", "hound").await;
    world.put("b", "a poison").await;
    world.put("c", &format!("vessel {}", "x ".repeat(2_000))).await;
    world.put("d", "boat").await;
    let world = world.run();
    let status = world.embedded().await;
    assert_eq!((status.kept.done, status.kept.refused), (4, 1));
    assert!(keys(&world.find("boat").await).contains(&"c"));
    let asked = world.fake.asked(Urgency::Background).len();
    world.put("e", "dog").await;
    world.until(|status| status.kept.done == 5).await;
    assert_eq!(world.fake.asked(Urgency::Background).len(), asked + 1, "nothing is asked again");
    world.end().await;
}

#[tokio::test]
async fn a_text_that_its_server_fails_at_does_not_hold_up_the_others() {
    let world = World::new();
    for n in 0..30 {
        world.put(&format!("k{n}"), &format!("hound {n}")).await;
    }
    world.put("bad", "a crash").await;
    world.put("good", "vessel").await;
    let world = world.run();
    let status = world.embedded().await;
    assert_eq!((status.kept.done, status.kept.refused), (32, 1));
    assert_eq!(keys(&world.find("boat").await), ["good"]);
    world.end().await;
}

#[tokio::test]
async fn a_model_that_takes_too_long_for_many_texts_is_asked_about_fewer() {
    let world = World::new();
    world.fake.is(Mood::Slow);
    for n in 0..70 {
        world.put(&format!("k{n}"), &format!("hound {n}")).await;
    }
    let world = world.run();
    assert_eq!(world.embedded().await.kept.done, 70);
    world.end().await;
}

#[tokio::test]
async fn a_model_that_refuses_everything_marks_no_text_as_refused() {
    let world = World::new();
    world.fake.is(Mood::RefusesAll);
    world.put("a", "hound").await;
    let world = world.run();
    let status = world.until(is_waiting).await;
    assert!(reason(&status).contains("does not support embeddings"), "{status:?}");
    assert_eq!((status.kept.done, status.kept.refused), (0, 0));
    world.fake.is(Mood::Answers);
    world.embedded().await;
    world.end().await;
}

#[tokio::test]
async fn vectors_of_deleted_records_are_swept() {
    let world = World::new().run();
    for (key, text) in [("a", "hound"), ("b", "vessel")] {
        world.put(key, text).await;
    }
    world.embedded().await;
    let key = Key::parse("a").expect("a key");
    let deleted = world.memory.delete(&TENANT, notes(), key, Origin::Person, None).await;
    assert_eq!(deleted.expect("deleted"), Some(2));
    // When it is gone it is asked for again; before, it would not be.
    let mut asked = 0;
    for round in 0..10_000 {
        world.put("c", "hound").await;
        world
            .until(|status| status.kept.done == 2 || status.kept.done == status.kept.records)
            .await;
        asked = world.fake.asked(Urgency::Background).len();
        if asked > 2 {
            break;
        }
        let key = Key::parse("c").expect("a key");
        world.memory.delete(&TENANT, notes(), key, Origin::Person, None).await.expect("deleted");
        tokio::time::sleep(Duration::from_millis(round.min(50))).await;
    }
    assert_eq!(asked, 3);
    world.end().await;
}

#[tokio::test]
async fn the_views_are_rebuilt_without_asking_the_model_again() {
    let world = World::new().run();
    for n in 0..100 {
        world.put(&format!("k{n}"), &format!("hound {n}")).await;
    }
    world.embedded().await;
    let asked = world.fake.asked(Urgency::Background).len();
    assert_eq!(asked, 100);
    world.memory.journal.rebuild(|_| {}).await.expect("rebuilt");
    world.memory.journal.check().await.expect("passes its check");
    world.until(|status| status.kept.done == 100).await;
    assert_eq!(world.fake.asked(Urgency::Background).len(), asked);
    assert_eq!(world.find("dog").await.hits.len(), 10);
    world.end().await;
}
