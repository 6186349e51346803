//! Names, and what is pinned.

use serde_json::json;

use super::*;
use crate::config::RunnerOptions;

#[test]
fn one_model_has_several_names() {
    assert!(is_same_model("llama3", "llama3:latest"));
    assert!(is_same_model(
        "registry.example.org:5000/me/llama3",
        "registry.example.org:5000/me/LLAMA3:latest"
    ));
    assert!(!is_same_model("llama3:8b", "llama3"));
    assert!(!is_same_model("llama3", "llama3.2"));
}

#[test]
fn names_of_models_that_run_in_a_cloud_are_known() {
    for name in ["gpt-oss:cloud", "gpt-oss:120b-cloud", "X:CLOUD"] {
        assert!(is_cloud_name(name), "{name}");
    }
    for name in ["cloud", "cloudy:8b", "cloud:8b"] {
        assert!(!is_cloud_name(name), "{name}");
    }
}

#[test]
fn what_is_pinned_is_sent_with_every_request() {
    let options = RunnerOptions {
        num_batch: Some(256),
        num_gpu: Some(-1),
        keep_alive: Some("-1".to_owned()),
        ..RunnerOptions::default()
    };
    let runner = Runner { num_ctx: Some(4_096), options, allow_remote: false };
    let mut body = json!({});
    with_runner(&mut body, &runner, json!({ "temperature": 0.5 }));
    let expected = json!({
        "options": { "temperature": 0.5, "num_ctx": 4096, "num_batch": 256, "num_gpu": -1 },
        "keep_alive": -1,
    });
    assert_eq!(body, expected);
}
