//! An agent that does what its message says, and tells what it saw: each import once, what of
//! the standard library two runs could differ in, and what no agent should get away with.
//! It holds to no convention of the SDK.

mod asks;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "foreshore:worlds/agent",
    generate_all,
});

use std::hash::BuildHasher as _;
use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use exports::foreshore::agent::agent::{Definition, Guest, Turn};
use foreshore::types::types::{Content, ContentBody, Error, Finish, Reply};
use serde_json::{Value, json};

struct Probe;

impl Guest for Probe {
    fn describe() -> Definition {
        Definition {
            name: "probe".to_owned(),
            title: Some("Probe".to_owned()),
            description: "Does what it is told.".to_owned(),
            parameters_schema: Some(
                json!({"type": "object", "properties": {"depth": {"type": "integer"}}}).to_string(),
            ),
        }
    }

    fn run(turn: Turn) -> Result<Reply, Error> {
        let Some(Content { body: ContentBody::Text(text), .. }) = turn.message.first() else {
            return Err(Error::Failed("no text".to_owned()));
        };
        let told = told(text)?;
        let many = told["many"].as_u64().unwrap_or(1);
        let seen = match told["do"].as_str().unwrap_or_default() {
            "turn" => json!([turn.conversation_id, turn.number, turn.parameters]),
            "everything" => asks::everything(),
            "clocks" => clocks(),
            "random" => random(),
            "sleep" => sleep(),
            "surroundings" => surroundings(),
            "spin" => loop {
                black_box(0);
            },
            "eat-memory" => eat_memory(),
            "big-string" => asks::big_string(many),
            "iterate" => asks::iterate(many),
            "call" => asks::call(&told["calls"]),
            "work-and-ask" => work_and_ask(many),
            "huge-reply" => Value::String("x".repeat(usize::try_from(many).unwrap_or(0))),
            "fail" => return Err(Error::NotFound("what was asked for".to_owned())),
            other => return Err(Error::Failed(format!("nothing is called {other}"))),
        };
        let body = ContentBody::Text(seen.to_string());
        Ok(Reply { message: vec![Content { body, annotations: None }], finish: Finish::GaveUp })
    }
}

/// The first JSON object of a text: whoever delegates to the probe may write around it.
fn told(text: &str) -> Result<Value, Error> {
    let object = text.find('{').map_or(text, |start| &text[start..]);
    match serde_json::Deserializer::from_str(object).into_iter().next() {
        Some(Ok(told)) => Ok(told),
        Some(Err(error)) => Err(Error::Failed(error.to_string())),
        None => Err(Error::Failed("nothing was told".to_owned())),
    }
}

fn milliseconds() -> Value {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let monotonic = wasip2::clocks::monotonic_clock::now();
    json!([u64::try_from(wall.as_millis()).unwrap_or(0), monotonic / 1_000_000])
}

/// Before, after work, and after an effect.
fn clocks() -> Value {
    let first = milliseconds();
    black_box((0..1_000_000_u64).fold(0, |sum, n| black_box(sum + n)));
    let second = milliseconds();
    asks::iterate(1);
    json!([first, second, milliseconds()])
}

fn random() -> Value {
    json!([
        wasip2::random::random::get_random_bytes(24),
        wasip2::random::random::get_random_u64(),
        wasip2::random::insecure::get_insecure_random_u64(),
        format!("{:?}", wasip2::random::insecure_seed::insecure_seed()),
        std::hash::RandomState::new().hash_one("hash maps, too"),
    ])
}

fn sleep() -> Value {
    let before = Instant::now();
    std::thread::sleep(Duration::from_secs(3_600));
    let until = wasip2::clocks::monotonic_clock::now() + 3_600_000_000_000;
    wasip2::clocks::monotonic_clock::subscribe_instant(until).block();
    json!({"slept_ms": u64::try_from(before.elapsed().as_millis()).unwrap_or(0)})
}

fn surroundings() -> Value {
    json!({
        "environment": std::env::vars().count(),
        "arguments": std::env::args().count(),
        "mounts": wasip2::filesystem::preopens::get_directories().len(),
        "opened": std::fs::read("/etc/hostname").is_ok(),
        "written": std::fs::write("out.txt", "x").is_ok(),
        "stdin": std::io::read_to_string(std::io::stdin()).unwrap_or_default(),
    })
}

fn eat_memory() -> Value {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(black_box(vec![1; 1 << 20]));
    }
}

/// Computes past the first slice of a call, and then waits for the host.
fn work_and_ask(many: u64) -> Value {
    black_box((0..many).fold(0_u64, |sum, n| black_box(sum.wrapping_add(n))));
    asks::iterate(1)
}

export!(Probe);
