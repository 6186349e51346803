//! What two runs of a turn could differ in: clocks, chance, sleep, surroundings.

use std::time::Duration;

use serde_json::json;

use crate::bench::{Bench, seen, turn};
use crate::door::{BEGAN, Does, STEP_MS};

#[tokio::test]
async fn clocks_show_the_last_effect_and_stand_still_in_between() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "clocks"})).await;
    let after = json!([BEGAN + STEP_MS, STEP_MS]);
    assert_eq!(seen(&report), json!([[BEGAN, 0], [BEGAN, 0], after]));
}

#[tokio::test]
async fn random_numbers_follow_from_the_seed_and_from_nothing_else() {
    let bench = Bench::new(Does::Give).await;
    let wall = Duration::from_secs(60);
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let report = bench.run(json!({"do": "random"}), &[], &turn([seed; 32], wall)).await;
        runs.push(seen(&report));
    }
    assert_eq!(runs[0], runs[1], "of one seed");
    let drawn = |run: usize| runs[run].as_array().expect("numbers").clone();
    for (one, other) in drawn(0).into_iter().zip(drawn(2)) {
        assert_ne!(one, other, "of another seed");
    }
}

#[tokio::test]
async fn a_sleep_is_over_at_once_and_shows_on_no_clock() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "sleep"})).await;
    assert_eq!(seen(&report), json!({"slept_ms": 0}));
    assert!(report.usage.wall_us < 3_600_000_000);
}

#[tokio::test]
async fn an_agent_has_no_files_no_environment_and_no_input() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "surroundings"})).await;
    assert_eq!(
        seen(&report),
        json!({
            "environment": 0, "arguments": 0, "mounts": 0,
            "opened": false, "written": false, "stdin": "",
        })
    );
    assert!(bench.kinds().is_empty());
}
