//! OpenAI's wire, vectors, and managing models.

use foreshore_broker::{ApiKey, BackendKind, Broker, BrokerConfig, ModelConfig};
use foreshore_domain::inference::{
    EmbedRequest, FinishReason, InferenceError, Message, Role, Step, ToolResultMessage, ToolSpec,
};
use foreshore_scripted_model::ScriptedServer;

use crate::support::{Pieces, asking, backend, broker, caller, config, saying, sent, server};

fn openai(server: &ScriptedServer, key: Option<&str>) -> Broker {
    let mut backend = backend("far", server);
    backend.kind = BackendKind::OpenAi;
    backend.url = format!("{}/v1", server.url()).parse().expect("a URL");
    backend.api_key = key.map(ApiKey::new);
    let mut config = BrokerConfig { backends: vec![backend], ..BrokerConfig::default() };
    config.models.insert("m".to_owned(), ModelConfig::default());
    config.retries.base_ms = 1;
    broker(config)
}

#[tokio::test]
async fn openai_streams_text_and_says_what_it_used() {
    let server = server(
        "server.api_key = \"sk-1\"\n[[rules]]\nanswer = { text = \"one two\", prompt_tokens = 5, output_tokens = 2 }\n[[models]]\nname = \"m\"\nloaded = true\n",
    );
    let broker = openai(&server, Some("sk-1"));
    let (pieces, sink) = Pieces::sink();
    let mut request = asking("x");
    request.sampling.max_tokens = Some(9);
    let answer = broker.chat(request, caller(), sink).await.expect("it answers");
    assert_eq!(answer.message.plain_text(), "one two");
    assert_eq!((answer.usage.input_tokens, answer.usage.output_tokens), (5, 2));
    assert_eq!(answer.finish, FinishReason::Stop);
    assert!(pieces.all().len() > 1, "it came in pieces: {:?}", pieces.all());
    let body = sent(&server, "/v1/chat/completions").pop().expect("it was asked");
    assert_eq!((&body["max_tokens"], &body["stream"]), (&9.into(), &true.into()));
    let refused = openai(&server, Some("sk-2")).chat(asking("x"), caller(), None).await;
    let error = refused.expect_err("the key is wrong");
    assert!(error.to_string().contains("is its api_key right?"), "{error}");
}

#[tokio::test]
async fn openai_asks_for_tools_and_is_told_what_they_gave() {
    let server = server(
        "[[rules]]\nwhen.tool_result = true\nanswer.text = \"it says {{tool_result}}\"\n\
         [[rules]]\nanswer.tool_calls = [{ name = \"read\", arguments = { path = \"/a\" } }, { name = \"read\", arguments = { path = \"/b\" } }]\n",
    );
    let broker = openai(&server, None);
    let mut request = asking("x");
    request.tools.push(ToolSpec {
        name: "read".to_owned(),
        description: None,
        parameters_schema: r#"{"type":"object"}"#.to_owned(),
    });
    let answer = broker.chat(request.clone(), caller(), None).await.expect("it answers");
    assert_eq!(answer.finish, FinishReason::ToolCalls);
    let calls = &answer.message.tool_calls;
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].arguments_json, r#"{"path":"/b"}"#);
    assert_ne!(calls[0].id, calls[1].id);
    let mut result = Message::text(Role::Tool, "");
    result.tool_result = Some(ToolResultMessage {
        id: calls[0].id.clone(),
        name: "read".to_owned(),
        content: "forty-two".to_owned(),
        is_error: false,
    });
    request.messages.extend([answer.message, result]);
    let answer = broker.chat(request, caller(), None).await.expect("it answers");
    assert_eq!(answer.message.plain_text(), "it says forty-two");
}

#[tokio::test]
async fn openai_that_breaks_off_is_a_marked_failure() {
    for with in ["\"error\", message = \"boom\"", "\"truncate\"", "\"cut\""] {
        let server = server(&format!(
            "[[rules]]\n[rules.answer]\ntext = \"one two three\"\nbreak = {{ after = 2, with = {with} }}\n"
        ));
        let answer = openai(&server, None).chat(asking("x"), caller(), None).await;
        match answer {
            Err(InferenceError::BrokeOff { partial, .. }) => assert_eq!(partial.trim(), "one two"),
            other => panic!("{with}: {other:?}"),
        }
    }
}

fn texts(texts: &[&str]) -> EmbedRequest {
    EmbedRequest {
        model: Some("m".to_owned()),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        dimensions: None,
    }
}

const EMBEDS: &str =
    "[[models]]\nname = \"m\"\ncapabilities = [\"embedding\"]\nembedding_dimensions = 32\n";

#[tokio::test]
async fn vectors_come_in_the_order_of_the_texts_over_both_wires() {
    let server = server(EMBEDS);
    let many: Vec<String> = (0..150).map(|n| format!("text number {n}")).collect();
    let request = EmbedRequest { model: Some("m".to_owned()), texts: many, dimensions: None };
    let native = broker(config(&[("near", &server)]));
    let over_native = native.embed(request.clone(), caller()).await.expect("it gives them");
    assert_eq!((over_native.vectors.len(), over_native.vectors[0].len()), (150, 32));
    assert_eq!(over_native.served_by.step, Step::Primary);
    assert_eq!(sent(&server, "/api/embed").len(), 3, "in batches");
    let last = native.embed(texts(&["text number 149"]), caller()).await.expect("it gives it");
    assert_eq!(last.vectors[0], over_native.vectors[149]);
    let over_openai = openai(&server, None).embed(request, caller()).await.expect("it gives them");
    assert_eq!(over_openai.vectors, over_native.vectors);
}

#[tokio::test]
async fn vectors_of_another_length_than_before_are_refused() {
    let server = server(EMBEDS);
    let broker = broker(config(&[("near", &server)]));
    broker.embed(texts(&["a"]), caller()).await.expect("it gives it");
    server.set_script(crate::support::parsed(&EMBEDS.replace("32", "64")));
    let error = broker.embed(texts(&["a"]), caller()).await.expect_err("it is another model");
    assert!(error.to_string().contains("64 numbers, and had 32 before"), "{error}");
    let none = broker.embed(texts(&[]), caller()).await;
    assert!(matches!(none, Err(InferenceError::Invalid { .. })), "{none:?}");
}

#[tokio::test]
async fn vectors_of_a_cold_model_are_waited_for() {
    let server = server(&format!("{EMBEDS}load_ms = 900\n"));
    let mut config = config(&[("near", &server)]);
    config.timeouts.first_token_ms = 150;
    let broker = broker(config);
    let given = broker.embed(texts(&["a"]), caller()).await.expect("it loads, and gives it");
    assert_eq!(given.vectors.len(), 1);
    assert_eq!(crate::support::failures(&broker, "near"), 0);
}

#[tokio::test]
async fn what_a_model_can_do_is_asked_where_no_list_says_it() {
    // A script without models has every model, and lists none.
    let rules = foreshore_scripted_model::Script::saying("x").expect("a script");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let server = foreshore_scripted_model::ScriptedServer::start(rules, address);
    let server = server.expect("it listens");
    let mut config = config(&[("near", &server)]);
    config.models.insert("small".to_owned(), Default::default());
    let models = broker(config).models().await;
    let small = models.iter().find(|model| model.name == "small").expect("it is configured");
    assert_eq!((small.backends.as_slice(), small.tools), (&["near".to_owned()][..], true));
}

#[tokio::test]
async fn models_are_listed_shown_and_managed() {
    let server = server(
        "[[models]]\nname = \"m\"\nloaded = true\ncontext_length = 4096\ncapabilities = [\"completion\", \"tools\"]\n\
         [[models]]\nname = \"new\"\npull = { steps = 3 }\n",
    );
    let dead = saying("x");
    dead.stop();
    let broker = broker(config(&[("near", &server), ("dead", &dead)]));
    let models = broker.models().await;
    let m = models.iter().find(|model| model.name == "m").expect("it is listed");
    assert_eq!(m.backends, ["near"], "the other one does not answer");
    let m = broker.show("m").await.expect("it is shown");
    assert_eq!((m.context_length, m.tools, m.vision), (Some(4_096), true, false));
    assert_eq!(broker.running().await.len(), 1);
    assert!(!broker.version(None).await.expect("it has one").is_empty());
    let mut steps = Vec::new();
    broker.pull(None, "new", |progress| steps.push(progress)).await.expect("it is got");
    assert_eq!(steps.last().map(|last| last.status.as_str()), Some("success"));
    assert!(steps.iter().any(|step| step.total_bytes.is_some()), "{steps:?}");
    assert!(broker.models().await.iter().any(|model| model.name.starts_with("new")));
    broker.copy(None, "new", "newer").await.expect("it is copied");
    broker.delete(None, "newer").await.expect("it is deleted");
    let gone = broker.delete(None, "newer").await;
    assert!(matches!(gone, Err(InferenceError::ModelNotFound { .. })), "{gone:?}");
    let cloud = broker.pull(None, "gpt-oss:120b-cloud", |_| {}).await;
    assert!(matches!(cloud, Err(InferenceError::RemoteModel { .. })), "{cloud:?}");
    let error = broker.show("nm").await.expect_err("there is none");
    assert!(
        matches!(
            error,
            InferenceError::ModelNotFound { .. }
                | InferenceError::Unavailable { .. }
                | InferenceError::Failed { .. }
        ),
        "{error:?}"
    );
}
