//! Whom a request goes to, what is shared, and what it may cost.

use std::time::Duration;

use foreshore_broker::budgets::{BudgetKey, BudgetLimit, BudgetScope};
use foreshore_broker::{Caller, ModelConfig, Priority};
use foreshore_domain::effect::BudgetKind;
use foreshore_domain::inference::{
    Format, InferenceError, Step, Thinking, TimedOut, ToolChoice, ToolSpec,
};

use crate::support::{Pieces, ask, asking, broker, caller, chats, config, saying, server, until};

const LOADED: &str = "[[models]]\nname = \"m\"\nloaded = true\n";
const SLOW: &str = "[[rules]]\nanswer = { text = \"slow\", delay_ms = 60000 }\n[[models]]\nname = \"m\"\nloaded = true\n";

#[tokio::test]
async fn the_backend_with_the_least_to_do_is_asked() {
    let (busy, idle) = (server(SLOW), saying("idle"));
    let broker = broker(config(&[("busy", &busy), ("idle", &idle)]));
    let held = tokio::spawn({
        let broker = broker.clone();
        async move { ask(&broker, "held").await }
    });
    until("the first one is busy", || chats(&busy) == 1).await;
    let answer = ask(&broker, "x").await.expect("the other one is free");
    assert_eq!(answer.served_by.backend, "idle");
    assert_eq!(answer.served_by.step, Step::Primary, "nothing had failed");
    held.abort();
    until("the first one is free again", || broker.health()[0].in_flight == 0).await;
    let again = tokio::spawn({
        let broker = broker.clone();
        async move { ask(&broker, "x").await }
    });
    until("the first one is asked again", || chats(&busy) == 2).await;
    again.abort();
}

#[tokio::test]
async fn a_model_that_cannot_answer_gives_way_to_its_fallback() {
    let server = server(
        "[[rules]]\nwhen.model = \"m*\"\nanswer = { status = 500, error = \"crashed\" }\n[[rules]]\nanswer.text = \"second\"\n\
         [[models]]\nname = \"m\"\nloaded = true\n[[models]]\nname = \"other\"\nloaded = true\n",
    );
    let mut config = config(&[("near", &server)]);
    let fallback = vec!["other".to_owned()];
    config.models.insert("m".to_owned(), ModelConfig { fallback, ..ModelConfig::default() });
    config.models.insert("other".to_owned(), ModelConfig::default());
    let broker = broker(config);
    let answer = ask(&broker, "x").await.expect("the second model answers");
    assert_eq!((answer.served_by.model.as_str(), answer.served_by.step), ("other", Step::Fallback));
    assert_eq!(broker.metrics().broker.retries, 2, "the first one had its chances");
}

#[tokio::test]
async fn equal_requests_at_the_same_time_are_one_and_kept_after() {
    let server = server(&format!(
        "[[rules]]\nanswer = {{ text = \"one and the same\", thinking = \"hm\", delay_ms = 300 }}\n{LOADED}capabilities = [\"completion\", \"thinking\"]\n"
    ));
    let broker = broker(config(&[("near", &server)]));
    let mut request = asking("x");
    request.sampling.temperature = Some(0.0);
    request.thinking = Some(Thinking::High);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (broker, request) = (broker.clone(), request.clone());
        callers.spawn(async move {
            let (pieces, sink) = Pieces::sink();
            let answer = broker.chat(request, caller(), sink).await.expect("it answers");
            assert_eq!(answer.message.plain_text(), "one and the same");
            assert_eq!(pieces.all().concat(), "(hm)one and the same");
            answer.served_by.step
        });
    }
    let steps = callers.join_all().await;
    assert_eq!(steps.iter().filter(|step| **step == Step::Primary).count(), 1);
    assert_eq!(chats(&server), 1);
    let kept = broker.chat(request.clone(), caller(), None).await.expect("it is kept");
    assert_eq!((kept.served_by.step, kept.usage.tokens()), (Step::Cache, 0));
    let other = Caller::new("other tenant", "x", Priority::Agent);
    broker.chat(request.clone(), other, None).await.expect("it answers");
    assert_eq!(chats(&server), 2, "nobody is given what another tenant asked");
    request.sampling.temperature = None;
    broker.chat(request, caller(), None).await.expect("it answers");
    assert_eq!(chats(&server), 3, "without temperature 0 it is asked");
}

#[tokio::test]
async fn the_first_of_equal_requests_may_leave() {
    let server =
        server(&format!("[[rules]]\nanswer = {{ text = \"shared\", delay_ms = 500 }}\n{LOADED}"));
    let broker = broker(config(&[("near", &server)]));
    let mut request = asking("x");
    request.sampling.seed = Some(7);
    let start = || {
        let (broker, request) = (broker.clone(), request.clone());
        tokio::spawn(async move { broker.chat(request, caller(), None).await })
    };
    let first = start();
    until("the first one is asked", || chats(&server) == 1).await;
    let second = start();
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    let answer = second.await.expect("no panic").expect("it answers");
    assert_eq!((answer.message.plain_text().as_str(), chats(&server)), ("shared", 1));
}

#[tokio::test]
async fn an_answer_in_the_wrong_form_is_repaired_once() {
    let schema = r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#;
    let server = server(&format!(
        "[[rules]]\nthen = \"repeat\"\nanswers = [{{ text = \"one\" }}, {{ text = '{{\"n\":1}}' }}, {{ text = \"two\" }}]\n{LOADED}"
    ));
    let broker = broker(config(&[("near", &server)]));
    let mut request = asking("x");
    request.format = Some(Format::Schema(schema.to_owned()));
    let (pieces, sink) = Pieces::sink();
    let answer = broker.chat(request.clone(), caller(), sink).await.expect("the second is right");
    assert_eq!(answer.message.plain_text(), r#"{"n":1}"#);
    assert_eq!(pieces.all(), [r#"{"n":1}"#], "nobody saw the first one");
    let asked = crate::support::sent(&server, "/api/chat");
    let repair = asked.last().expect("it was asked").to_string();
    assert!(repair.contains("has to be JSON"), "{repair}");
    assert!(answer.usage.output_tokens > 0);
    match broker.chat(request, caller(), None).await {
        Err(InferenceError::BadFormat { model, message }) => {
            assert_eq!(model, "m");
            assert!(message.contains("JSON"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(chats(&server), 4, "once each, and no more");
}

#[tokio::test]
async fn a_choice_of_tools_is_kept_where_the_server_has_none() {
    let server = server(&format!(
        "[[rules]]\nwhen.tools = true\nthen = \"repeat\"\nanswers = [{{ text = \"no\" }}, {{ tool_calls = [{{ name = \"g\" }}] }}]\n\
         [[rules]]\nanswer.text = \"plain\"\n{LOADED}"
    ));
    let broker = broker(config(&[("near", &server)]));
    let mut request = asking("x");
    for name in ["f", "g"] {
        request.tools.push(ToolSpec {
            name: name.to_owned(),
            description: None,
            parameters_schema: r#"{"type":"object"}"#.to_owned(),
        });
    }
    request.tool_choice = Some(ToolChoice::None);
    let answer = broker.chat(request.clone(), caller(), None).await.expect("it answers");
    assert_eq!(answer.message.plain_text(), "plain", "it was shown no tools");
    request.tool_choice = Some(ToolChoice::Named("g".to_owned()));
    let answer = broker.chat(request.clone(), caller(), None).await.expect("at the second try");
    assert_eq!(answer.message.tool_calls[0].name, "g");
    let offered = crate::support::sent(&server, "/api/chat");
    let offered = offered.last().and_then(|body| body["tools"].as_array()).expect("tools");
    assert_eq!(offered.len(), 1, "it was shown only that one");
}

#[tokio::test]
async fn budgets_are_held_before_and_settled_after() {
    let server = server(&format!(
        "[[rules]]\nanswer = {{ text = \"x\", prompt_tokens = 100, output_tokens = 50 }}\n{LOADED}"
    ));
    let mut config = config(&[("near", &server)]);
    let model = ModelConfig {
        price_input_micros_per_mtok: 2_000_000,
        price_output_micros_per_mtok: 4_000_000,
        max_tokens: Some(200),
        ..ModelConfig::default()
    };
    config.models.insert("m".to_owned(), model);
    let broker = broker(config);
    let key = BudgetKey::new(BudgetScope::Agent, "assistant");
    let limit = BudgetLimit { tokens: Some(400), ..BudgetLimit::default() };
    broker.budgets().set_limit(key.clone(), limit);
    let mut caller = caller();
    caller.budgets = vec![key.clone()];
    let answer = broker.chat(asking("x"), caller.clone(), None).await.expect("there is enough");
    assert_eq!((answer.usage.tokens(), answer.usage.cost_micros), (150, 400));
    let state = broker.budgets().state(&key, 0).expect("it is there");
    assert_eq!((state.spent.tokens, state.spent.cost_micros, state.reserved.tokens), (150, 400, 0));
    broker.chat(asking("x"), caller.clone(), None).await.expect("there is enough");
    // A hundred are left: the model is told to say no more than that.
    broker.chat(asking("x"), caller.clone(), None).await.expect("for a shorter answer");
    let told: Vec<u64> = crate::support::sent(&server, "/api/chat")
        .iter()
        .filter_map(|body| body["options"]["num_predict"].as_u64())
        .collect();
    assert_eq!((told[0], told[1]), (200, 200));
    assert!(told[2] < 100, "{told:?}");
    match broker.chat(asking("x"), caller, None).await {
        Err(InferenceError::BudgetExhausted(told)) => {
            assert_eq!((told.budget.as_str(), told.what), ("agent assistant", BudgetKind::Tokens));
            assert_eq!((told.limit, told.spent, told.held), (400, 450, 0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(chats(&server), 3, "nothing was asked");
}

#[tokio::test]
async fn an_answer_is_limited_where_a_budget_is() {
    let server = saying("x");
    let broker = broker(config(&[("near", &server)]));
    let key = BudgetKey::new(BudgetScope::Tenant, "tenant");
    let mut caller = caller();
    caller.budgets = vec![key.clone()];
    let limits = [
        BudgetLimit::default(),
        BudgetLimit { wall_ms: Some(60_000), ..BudgetLimit::default() },
        BudgetLimit { tokens: Some(1_000_000), ..BudgetLimit::default() },
        BudgetLimit { cost_micros: Some(1_000_000), ..BudgetLimit::default() },
    ];
    for limit in limits {
        broker.budgets().set_limit(key.clone(), limit);
        broker.chat(asking("x"), caller.clone(), None).await.expect("there is enough");
    }
    let told: Vec<Option<u64>> = crate::support::sent(&server, "/api/chat")
        .iter()
        .map(|body| body["options"]["num_predict"].as_u64())
        .collect();
    assert_eq!(told, [None, None, Some(4_096), Some(4_096)]);
}

/// Sixty-four at once, against a server that says all that it may: what they spend together is
/// what there was.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_do_not_overspend() {
    let text = "tide".repeat(100);
    let server = server(&format!(
        "[[rules]]\nanswer = {{ text = \"{text}\", prompt_tokens = 5, delay_ms = 20 }}\n{LOADED}"
    ));
    let mut config = config(&[("near", &server)]);
    config.backends[0].concurrency = Some(16);
    let model = ModelConfig { max_tokens: Some(100), ..ModelConfig::default() };
    config.models.insert("m".to_owned(), model);
    let broker = broker(config);
    let key = BudgetKey::new(BudgetScope::Tenant, "tenant");
    let limit = BudgetLimit { tokens: Some(1_000), ..BudgetLimit::default() };
    broker.budgets().set_limit(key.clone(), limit);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..64 {
        let broker = broker.clone();
        let mut caller = caller();
        caller.budgets = vec![key.clone()];
        let request = asking(&format!("number {number}"));
        all.spawn(async move { broker.chat(request, caller, None).await });
    }
    let answers = all.join_all().await;
    let refused = |answer: &&Result<_, InferenceError>| {
        matches!(answer, Err(InferenceError::BudgetExhausted(_)))
    };
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(answered + answers.iter().filter(refused).count(), 64, "{answers:?}");
    let state = broker.budgets().state(&key, 0).expect("it is there");
    assert_eq!(state.reserved, Default::default());
    let used: u64 = answers.iter().flatten().map(|answer| answer.usage.tokens()).sum();
    assert_eq!(state.spent.tokens, used);
    assert!((900..=1_000).contains(&used), "{state:?}");
}

/// Equal requests are one, and one who has nothing left does not stand for the others.
#[tokio::test]
async fn a_budget_that_is_used_up_is_nobody_elses() {
    let server = saying("x");
    let broker = broker(config(&[("near", &server)]));
    let limit = BudgetLimit { tokens: Some(1), ..BudgetLimit::default() };
    let poor = BudgetKey::new(BudgetScope::Agent, "poor");
    broker.budgets().set_limit(poor.clone(), limit);
    let mut request = asking("x");
    request.sampling.seed = Some(7);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (broker, request, mut caller) = (broker.clone(), request.clone(), caller());
        let is_poor = number % 2 == 0;
        caller.budgets = if is_poor { vec![poor.clone()] } else { Vec::new() };
        all.spawn(async move { (is_poor, broker.chat(request, caller, None).await) });
    }
    for (is_poor, answer) in all.join_all().await {
        match answer {
            Err(InferenceError::BudgetExhausted(_)) => assert!(is_poor),
            answer => assert!(answer.is_ok(), "{answer:?}"),
        }
    }
}

#[tokio::test]
async fn what_came_of_an_answer_is_paid_for_by_a_caller_who_goes_away() {
    let text = "tide ".repeat(200);
    let breaks = "break = { after = 100, with = \"stall\" }";
    let server =
        server(&format!("[[rules]]\nanswer = {{ text = \"{text}\", {breaks} }}\n{LOADED}"));
    let broker = broker(config(&[("near", &server)]));
    let key = BudgetKey::new(BudgetScope::Tenant, "tenant");
    broker.budgets().set_limit(key.clone(), BudgetLimit::default());
    let mut caller = caller();
    caller.budgets = vec![key.clone()];
    let (heard, sink) = Pieces::sink();
    let asked = tokio::spawn({
        let broker = broker.clone();
        async move { broker.chat(asking("x"), caller, sink).await }
    });
    until("half of it came", || heard.all().len() == 100).await;
    asked.abort();
    until("it is settled", || {
        broker.budgets().state(&key, 0).is_some_and(|state| state.reserved.tokens == 0)
    })
    .await;
    let spent = broker.budgets().state(&key, 0).expect("it is there").spent.tokens;
    assert!((100..150).contains(&spent), "{spent}: 500 bytes came");
    assert_eq!(broker.budgets().take_unrecorded().len(), 1);
}

#[tokio::test]
async fn a_caller_who_goes_away_gives_back_what_was_held() {
    let server = server(SLOW);
    let broker = broker(config(&[("near", &server)]));
    let key = BudgetKey::new(BudgetScope::Tenant, "t");
    let limit = BudgetLimit { tokens: Some(10_000), ..BudgetLimit::default() };
    broker.budgets().set_limit(key.clone(), limit);
    let mut caller = caller();
    caller.budgets = vec![key.clone()];
    let gone = tokio::spawn({
        let broker = broker.clone();
        async move { broker.chat(asking("x"), caller, None).await }
    });
    until("it is asked", || chats(&server) == 1).await;
    let held = broker.budgets().state(&key, 0).expect("it is there").reserved.tokens;
    assert!(held > 1_000, "{held}");
    gone.abort();
    until("it is given back", || {
        broker.budgets().state(&key, 0).is_some_and(|state| state.reserved.tokens == 0)
    })
    .await;
}

#[tokio::test]
async fn a_caller_has_a_limit_of_their_own() {
    let server = server(SLOW);
    let broker = broker(config(&[("near", &server)]));
    let mut caller = caller();
    caller.time_limit = Some(Duration::from_millis(100));
    match broker.chat(asking("x"), caller, None).await {
        Err(InferenceError::TimedOut { what: TimedOut::Total, limit_ms: 100, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(crate::support::failures(&broker, "near"), 0, "the caller was in a hurry");
}

#[tokio::test]
async fn a_default_model_needs_no_section() {
    let server = saying("it is there");
    let mut config = config(&[("near", &server)]);
    config.models.clear();
    config.default_model = Some("m".to_owned());
    let broker = broker(config);
    let mut request = asking("x");
    request.model = None;
    let answer = broker.chat(request.clone(), caller(), None).await.expect("a backend has it");
    assert_eq!((answer.served_by.backend.as_str(), answer.served_by.model.as_str()), ("near", "m"));
    let models = broker.models().await;
    assert_eq!(models.iter().filter(|model| model.name == "m").count(), 1, "{models:?}");
}

#[tokio::test]
async fn a_model_by_its_name_at_the_backend_costs_what_it_costs_under_another() {
    let server = server(&format!(
        "[[rules]]\nanswer = {{ text = \"x\", prompt_tokens = 100, output_tokens = 50 }}\n{LOADED}"
    ));
    let mut config = config(&[("near", &server)]);
    let dear = ModelConfig {
        model: Some("m".to_owned()),
        price_output_micros_per_mtok: 4_000_000,
        ..ModelConfig::default()
    };
    config.models = [("dear".to_owned(), dear)].into();
    let answer = ask(&broker(config), "x").await.expect("it answers");
    assert_eq!(answer.usage.cost_micros, 200);
}

/// A backend that is away may have a model that nobody named; one whose models the operator
/// names has not.
#[tokio::test]
async fn a_model_that_nobody_named_may_be_at_a_backend_that_is_away() {
    let here = saying("x");
    let mut config = config(&[("here", &here), ("away", &here)]);
    config.backends[1].url = "http://127.0.0.1:9".parse().expect("a URL");
    let asked = async |config: &foreshore_broker::BrokerConfig, model: &str| {
        let mut request = asking("x");
        request.model = Some(model.to_owned());
        broker(config.clone()).chat(request, caller(), None).await.expect_err("nobody has it")
    };
    let error = asked(&config, "n").await;
    assert!(matches!(error, InferenceError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("away"), "{error}");

    let there = ModelConfig { backends: vec!["away".to_owned()], ..ModelConfig::default() };
    config.models.insert("there".to_owned(), there);
    let error = asked(&config, "n").await;
    assert!(matches!(error, InferenceError::ModelNotFound { .. }), "{error:?}");
    let error = asked(&config, "there").await;
    assert!(matches!(error, InferenceError::Unavailable { .. }), "{error:?}");
    config.named_models.insert("n".to_owned());
    let error = asked(&config, "n").await;
    assert!(matches!(error, InferenceError::Unavailable { .. }), "an agent uses it: {error:?}");
}

#[tokio::test]
async fn a_model_that_calls_no_tools_says_so_in_its_own_way() {
    let server = server(
        "[[rules]]\nanswer.text = \"x\"\n[[models]]\nname = \"m\"\nloaded = true\ncapabilities = [\"completion\"]\n",
    );
    let broker = broker(config(&[("near", &server)]));
    let mut request = asking("x");
    let parameters_schema = "{\"type\":\"object\"}".to_owned();
    request.tools = vec![ToolSpec { name: "f".to_owned(), description: None, parameters_schema }];
    let error = broker.chat(request, caller(), None).await.expect_err("it takes none");
    let InferenceError::NoTools { model, message } = &error else { panic!("{error:?}") };
    assert_eq!(model, "m");
    assert!(message.contains("does not support tools"), "{message}");
    assert_eq!(crate::support::failures(&broker, "near"), 0);
}
