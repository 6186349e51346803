//! What is refused, by name.

use crate::config::{ApiKey, BackendConfig, BackendKind, BrokerConfig, ModelConfig, RunnerOptions};

use super::ConfigError;

fn good() -> BrokerConfig {
    let url = "http://127.0.0.1:11434".parse().expect("a URL");
    let mut config = BrokerConfig {
        backends: vec![BackendConfig::new("near", BackendKind::Ollama, url)],
        default_model: Some("small".to_owned()),
        ..BrokerConfig::default()
    };
    config.models.insert("small".to_owned(), ModelConfig::default());
    config
}

fn wrong(change: impl FnOnce(&mut BrokerConfig)) -> String {
    let mut config = good();
    change(&mut config);
    config.check().expect_err("it is wrong").to_string()
}

#[test]
fn a_plain_configuration_and_none_at_all_are_good() {
    assert_eq!(good().check(), Ok(()));
    assert_eq!(BrokerConfig::default().check(), Ok(()));
}

#[test]
fn what_is_wrong_is_named() {
    let twice = wrong(|config| config.backends.push(config.backends[0].clone()));
    assert!(twice.contains("\"near\""), "{twice}");
    let ftp = wrong(|config| config.backends[0].url = "ftp://x/".parse().expect("a URL"));
    assert!(ftp.contains("ftp://x/"), "{ftp}");
    let fallback = wrong(|config| {
        let model = ModelConfig { fallback: vec!["big".into()], ..ModelConfig::default() };
        config.models.insert("small".into(), model);
    });
    assert!(fallback.contains("[inference.models.big]"), "{fallback}");
    let zero = wrong(|config| config.backends[0].concurrency = Some(0));
    assert!(zero.contains("concurrency of backend \"near\" is 0"), "{zero}");
    let zero = wrong(|config| config.timeouts.gap_ms = 0);
    assert!(zero.starts_with("gap_ms is 0"), "{zero}");
    let backend = wrong(|config| {
        let model = ModelConfig { backends: vec!["far".into()], ..ModelConfig::default() };
        config.models.insert("small".into(), model);
    });
    assert!(backend.contains("\"far\""), "{backend}");
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let url = "http://me:hunter2@127.0.0.1/";
    let said = wrong(|config| config.backends[0].url = url.parse().expect("a URL"));
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_key_is_never_printed() {
    let mut config = good();
    config.backends[0].api_key = Some(ApiKey::new("sk-secret"));
    assert!(!format!("{config:?}").contains("sk-secret"));
    config.backends[0].api_key = Some(ApiKey::new("sk-\n"));
    assert_eq!(config.check(), Err(ConfigError::ApiKey { backend: "near".to_owned() }));
}

#[test]
fn more_context_than_the_operator_allows_is_refused() {
    let said = wrong(|config| {
        let runner = RunnerOptions { num_ctx: Some(262_144), ..RunnerOptions::default() };
        config.models.insert("small".into(), ModelConfig { runner, ..ModelConfig::default() });
    });
    assert!(said.contains("262144") && said.contains("num_ctx_max (65536)"), "{said}");
}

#[test]
fn two_names_for_one_model_run_it_alike() {
    let said = wrong(|config| {
        let runner = RunnerOptions { num_ctx: Some(4_096), ..RunnerOptions::default() };
        let model = Some("small".to_owned());
        let alias = ModelConfig { runner, model, ..ModelConfig::default() };
        config.models.insert("alias".into(), alias);
    });
    assert!(said.contains("\"alias\"") && said.contains("load it again"), "{said}");
}
