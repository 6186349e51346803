//! Lists, details, pulls, copies, blobs, vectors.

use foreshore_scripted_model::{ScriptedServer, embed};
use serde_json::{Value, json};

use crate::client::{get, post, send, serve, user_at_once};

const MODELS: &str = r#"
[[rules]]
answer.text = "x"

[[models]]
name = "small"
family = "qwen3"
parameter_size = "4B"
quantization = "Q4_K_M"
size_bytes = 1000
context_length = 4096
capabilities = ["completion"]

[[models]]
name = "far:cloud"
remote_host = "https://far.example"

[[models]]
name = "vectors"
capabilities = ["embedding"]
embedding_dimensions = 32

[[models]]
name = "later"
pull = { steps = 3 }

[[models]]
name = "broken"
pull = { error = "no space left" }
"#;

fn names(server: &ScriptedServer) -> Vec<String> {
    let models = get(server, "/api/tags").json()["models"].clone();
    let models = models.as_array().expect("a list").iter();
    models.map(|it| it["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_list_says_what_each_model_is() {
    let server = serve(MODELS);
    assert_eq!(names(&server), ["far:cloud", "small:latest", "vectors:latest"]);
    let models = get(&server, "/api/tags").json()["models"].clone();
    assert_eq!(models[0]["remote_host"], "https://far.example");
    assert_eq!(models[1]["details"]["quantization_level"], "Q4_K_M");
    assert_eq!(models[1]["size"], 1000);
    assert_eq!(models[1]["digest"].as_str().map(str::len), Some(64));
    let shown = post(&server, "/api/show", &json!({ "model": "small" })).json();
    assert_eq!(shown["capabilities"], json!(["completion"]));
    assert_eq!(shown["model_info"]["qwen3.context_length"], 4096);
    assert_eq!(get(&server, "/api/version").json()["version"], "0.13.0");
    assert_eq!(get(&server, "/").text(), "Ollama is running");
}

#[test]
fn a_model_is_held_to_what_it_can_do() {
    let server = serve(MODELS);
    let mut request = user_at_once("hello");
    let mut error = |model: &str, field: &str, value: Value| {
        request["model"] = json!(model);
        request[field] = value;
        let seen = post(&server, "/api/chat", &request);
        request[field] = Value::Null;
        (seen.status, seen.json()["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(error("small", "x", Value::Null), (200, String::new()));
    let tool = json!([{ "type": "function", "function": { "name": "t" } }]);
    let (status, text) = error("small", "tools", tool);
    assert!(status == 400 && text.contains("does not support tools"), "{text}");
    let (status, text) = error("small", "think", json!("high"));
    assert!(status == 400 && text.contains("does not support thinking"), "{text}");
    let (status, text) = error("vectors", "x", Value::Null);
    assert!(status == 400 && text.contains("does not support chat"), "{text}");
    assert_eq!(error("none", "x", Value::Null), (404, "model 'none' not found".to_owned()));
    assert_eq!(error("later", "x", Value::Null).0, 404);
}

#[test]
fn a_pull_tells_its_progress_and_brings_the_model() {
    let server = serve(MODELS);
    let lines = post(&server, "/api/pull", &json!({ "model": "later" })).lines();
    assert_eq!(lines[0]["status"], "pulling manifest");
    let completed: Vec<_> = lines.iter().filter_map(|it| it["completed"].as_u64()).collect();
    assert_eq!(completed, [341, 682, 1024]);
    assert_eq!(lines.last(), Some(&json!({ "status": "success" })));
    assert!(names(&server).contains(&"later:latest".to_owned()));
    let lines = post(&server, "/api/pull", &json!({ "model": "broken" })).lines();
    assert_eq!(lines.last(), Some(&json!({ "error": "no space left" })));
    let at_once = json!({ "model": "nowhere", "stream": false });
    let seen = post(&server, "/api/pull", &at_once);
    assert_eq!(seen.status, 500);
    assert!(seen.text().contains("file does not exist"), "{}", seen.text());
}

#[test]
fn models_are_copied_created_and_deleted() {
    let server = serve(MODELS);
    let copy = json!({ "source": "small", "destination": "tiny" });
    assert_eq!(post(&server, "/api/copy", &copy).status, 200);
    let created = post(&server, "/api/create", &json!({ "model": "mine", "from": "small" }));
    assert_eq!(created.lines().last(), Some(&json!({ "status": "success" })));
    assert!(names(&server).contains(&"mine:latest".to_owned()));
    let shown = post(&server, "/api/show", &json!({ "model": "mine" })).json();
    assert_eq!(shown["details"]["family"], "qwen3");
    let delete = |name: &str| {
        let body = json!({ "model": name }).to_string();
        send(&server, "DELETE", "/api/delete", body.as_bytes()).seen().status
    };
    assert_eq!([delete("mine"), delete("mine")], [200, 404]);
    assert_eq!(post(&server, "/api/create", &json!({ "model": "x" })).status, 400);
    assert_eq!(post(&server, "/api/create", &json!({ "model": "x", "from": "y" })).status, 404);
}

#[test]
fn blobs_are_held_to_their_digest() {
    let server = serve(MODELS);
    // SHA-256 of "abc", of FIPS 180-4.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let path = format!("/api/blobs/sha256:{hash}");
    let status =
        |method: &str, path: &str, body: &[u8]| send(&server, method, path, body).seen().status;
    assert_eq!(status("HEAD", &path, b""), 404);
    assert_eq!(status("POST", &path, b"abd"), 400);
    assert_eq!(status("HEAD", &path, b""), 404);
    assert_eq!(status("POST", &path, b"abc"), 201);
    assert_eq!(status("HEAD", &path, b""), 200);
    assert_eq!(status("POST", "/api/blobs/sha256:abc", b"abc"), 400);
}

#[test]
fn vectors_are_those_of_the_library() {
    let server = serve(MODELS);
    let request = json!({ "model": "vectors", "input": ["low tide", "high tide"] });
    let answer = post(&server, "/api/embed", &request).json();
    let sent: Vec<Vec<f32>> =
        serde_json::from_value(answer["embeddings"].clone()).expect("vectors");
    assert_eq!(sent, [embed("low tide", 32), embed("high tide", 32)]);
    assert_eq!(answer["prompt_eval_count"], 5);
    let one = json!({ "model": "vectors", "prompt": "low tide" });
    let answer = post(&server, "/api/embeddings", &one).json();
    assert_eq!(answer["embedding"].as_array().map(Vec::len), Some(32));
    let small = json!({ "model": "vectors", "input": "x", "dimensions": 8 });
    let answer = post(&server, "/api/embed", &small).json();
    assert_eq!(answer["embeddings"][0].as_array().map(Vec::len), Some(8));
    let cannot = json!({ "model": "small", "input": "x" });
    assert_eq!(post(&server, "/api/embed", &cannot).status, 400);
}
