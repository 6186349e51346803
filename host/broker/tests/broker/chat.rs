//! Chats.

use std::sync::{Arc, Mutex};

use foreshore_broker::{BackendConfig, BackendKind, Broker, BrokerConfig, Caller, Priority};
use foreshore_domain::inference::{ChatRequest, Delta, DeltaSink, Message, Role, Step};

use crate::stub::{Stub, chunk, chunked, end, ollama};

#[derive(Default)]
struct Pieces(Mutex<Vec<String>>);

impl DeltaSink for Pieces {
    fn delta(&self, delta: Delta<'_>) {
        self.0.lock().expect("not poisoned").push(format!("{delta:?}"));
    }
}

#[tokio::test]
async fn an_answer_comes_in_pieces_and_as_a_whole() {
    let stub = Stub::start(|seen| match seen.line.contains("/api/chat") {
        true => vec![
            chunked(),
            chunk("{\"message\":{\"role\":\"assistant\",\"content\":\"Hel\"},\"done\":false}\n{\"mess"),
            chunk("age\":{\"role\":\"assistant\",\"content\":\"lo\"},\"done\":false}\n"),
            chunk("{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":5000000,\"prompt_eval_count\":7,\"eval_count\":2}\n"),
            end(),
        ],
        false => ollama(seen),
    })
    .await;
    let backends = vec![BackendConfig::new("near", BackendKind::Ollama, stub.url())];
    let broker = Broker::new(BrokerConfig { backends, ..BrokerConfig::default() }).expect("good");
    let request = ChatRequest::new(Some("small".into()), vec![Message::text(Role::User, "hi")]);
    let caller = Caller::new("a", "tester", Priority::Interactive);
    let pieces = Arc::new(Pieces::default());
    let sink: Arc<dyn DeltaSink> = pieces.clone();
    let answer = broker.chat(request, caller, Some(sink)).await.expect("it answers");
    assert_eq!(answer.message.plain_text(), "Hello");
    assert_eq!((answer.usage.input_tokens, answer.usage.output_tokens), (7, 2));
    assert_eq!(answer.usage.duration_ms, 5);
    assert_eq!((answer.served_by.backend.as_str(), answer.served_by.step), ("near", Step::Primary));
    assert_eq!(*pieces.0.lock().expect("not poisoned"), ["Text(\"Hel\")", "Text(\"lo\")"]);
    let asked = stub.seen("/api/chat").pop().expect("it was asked");
    assert_eq!(asked.body["truncate"], false);
    assert_eq!(asked.body["shift"], false);
    assert_eq!(asked.body["options"]["num_ctx"], 8192);
}
