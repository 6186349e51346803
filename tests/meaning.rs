//! Search by meaning, from the outside: the real binary, and a model server beside it that can
//! be asked what it was asked.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness;
use crate::harness::server::Server;

/// How long what takes moments may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A model server with a model that embeds, and knows that a vessel is a boat.
struct ModelServer {
    child: Child,
    url: String,
    directory: tempfile::TempDir,
}

impl ModelServer {
    /// One whose every answer takes so long.
    fn start(delay_ms: u64) -> Self {
        let directory = tempfile::tempdir().expect("made");
        let script = format!(
            r#"
            [[models]]
            name = "embedder"
            capabilities = ["embedding"]
            embedding_dimensions = 1024
            synonyms = [["boat", "vessel"], ["drizzle", "rain"]]
            loaded = true
            [[rules]]
            when.path = "/api/embed"
            answer = {{ text = "", delay_ms = {delay_ms} }}
            "#
        );
        std::fs::write(directory.path().join("script.toml"), script).expect("written");
        let (child, url) = Self::launch(directory.path(), "127.0.0.1:0");
        Self { child, url, directory }
    }

    fn launch(directory: &Path, listen: &str) -> (Child, String) {
        let mut child = harness::command(directory)
            .args(["scripted-model", "--script", "script.toml", "--record", "record", "--listen"])
            .arg(listen)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the model server starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let line = BufReader::new(stdout).lines().next().and_then(Result::ok).unwrap_or_default();
        let url = line.strip_prefix("listening on ").expect("an address").to_owned();
        (child, url)
    }

    fn stop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it can be waited for");
    }

    /// Where it was before.
    fn start_again(&mut self) {
        let listen = self.url.strip_prefix("http://").expect("a URL").to_owned();
        (self.child, _) = Self::launch(self.directory.path(), &listen);
    }

    /// How often each text was asked for, in requests that were answered or given up.
    fn asked(&self) -> HashMap<String, usize> {
        let record = std::fs::read_to_string(self.directory.path().join("record"));
        let mut asked = HashMap::new();
        for line in record.unwrap_or_default().lines() {
            let request: Value = serde_json::from_str(line).expect("a line of JSON");
            for text in request["body"]["input"].as_array().into_iter().flatten() {
                *asked.entry(text.as_str().expect("a text").to_owned()).or_default() += 1;
            }
        }
        asked
    }

    fn configuration(&self) -> String {
        format!("[memory]\nembedding_model = \"embedder\"\n{}", self.models())
    }

    fn models(&self) -> String {
        let url = &self.url;
        format!(
            r#"
            [[inference.backends]]
            name = "script"
            kind = "ollama"
            url = "{url}"
            [inference.breaker]
            open_ms = 200
            [inference.models.embedder]
            embedding = true
            [components.memory.memory]
            namespaces = [{{ name = "notes" }}]
            "#
        )
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data directory that there is none of yet; it goes with the server that gets it.
fn data() -> PathBuf {
    harness::shared_data().join(format!("meaning-{}", std::process::id()))
}

fn put(server: &Server, key: &str, text: &str) {
    let path = format!("/v1/memory/notes/{key}");
    let written = server.send("PUT", &path, &json!({ "value": text }));
    assert_eq!(written.status, 200, "{}", written.json());
}

fn embedding(server: &Server) -> Value {
    server.get("/v1/memory").json()["embedding"].clone()
}

/// Waits until the embedding of memory is as wanted.
#[track_caller]
fn until(server: &Server, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let embedding = embedding(server);
        if wanted(&embedding) {
            return embedding;
        }
        assert!(Instant::now() < until, "it stays {embedding}\n{}", server.stderr());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn search(server: &Server, query: &str) -> Value {
    let body = json!({ "query": query, "limit": 5 });
    server.send("POST", "/v1/memory/notes/search", &body).json()
}

fn key_of(found: &Value) -> (&str, &str) {
    let hit = &found["hits"][0];
    (hit["key"].as_str().unwrap_or_default(), hit["found_by"].as_str().unwrap_or_default())
}

fn memory(data: &Path, arguments: &[&str]) -> harness::Ran {
    let data = data.display().to_string();
    let mut all = vec!["memory"];
    all.extend_from_slice(arguments);
    all.extend_from_slice(&["--data", &data]);
    let ran = harness::foreshore_in(Path::new("/"), &all);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn memory_is_searched_by_meaning_while_its_model_answers_and_by_words_while_it_does_not() {
    let mut model = ModelServer::start(0);
    let server = Server::start(&model.configuration(), &[]);
    for n in 0..198 {
        put(&server, &format!("filler{n}"), &format!("note number {n} of quite another thing"));
    }
    put(&server, "sea", "the old vessel leaves the harbor");
    put(&server, "sky", "drizzle from the west");
    let embedded = until(&server, |embedding| embedding["done"] == 200);
    assert_eq!((&embedded["records"], &embedded["dimension"]), (&json!(200), &json!(1024)));
    until(&server, |embedding| embedding["state"] == "up-to-date");

    // No word of the query is in the record.
    let found = search(&server, "boat");
    assert_eq!((key_of(&found), &found["method"]), (("sea", "meaning"), &json!("hybrid")));
    assert!(found["degraded"].is_null(), "{found}");
    assert_eq!(key_of(&search(&server, "vessel")), ("sea", "both"));

    // The same for tools, and on the command line.
    let recalled = server.call("memory.recall", &json!({ "namespace": "notes", "query": "rain" }));
    assert!(recalled.json().to_string().contains("drizzle from the west"), "{}", recalled.json());
    let said = memory(server.data(), &["search", "notes", "rain"]).stdout;
    assert!(said.contains("sky") && said.contains("by meaning"), "{said}");
    let status = memory(server.data(), &["status", "--json"]).json();
    assert_eq!((&status["done"], &status["state"]), (&json!(200), &json!("up-to-date")));
    let said = memory(server.data(), &["status"]).stdout;
    assert_eq!(said, "200 of 200 records (100 %) embedded by embedder\n");
    let ready = server.get("/readyz?verbose").json().to_string();
    assert!(ready.contains("200 of 200 records embedded by embedder"), "{ready}");

    // What was written again or copied costs nothing.
    put(&server, "sky", "drizzle from the west");
    put(&server, "copy", "drizzle  from the\nwest");
    until(&server, |embedding| embedding["done"] == 201);
    let asked = model.asked();
    assert_eq!(asked.get("drizzle from the west"), Some(&1), "{asked:?}");

    model.stop();
    put(&server, "late", "a vessel that is late");
    until(&server, |embedding| embedding["state"] == "waiting");
    let found = search(&server, "harbor tomorrow");
    assert_eq!((key_of(&found), &found["method"]), (("sea", "words"), &json!("lexical")));
    assert!(found["degraded"].is_string(), "{found}");
    let said = memory(server.data(), &["search", "notes", "harbor today"]).stdout;
    assert!(said.contains("lexical search; not by meaning: "), "{said}");
    assert_eq!(server.get("/readyz").status, 200, "tools and memory are served still");

    model.start_again();
    until(&server, |embedding| embedding["done"] == 202);
    let found = search(&server, "boat late");
    assert_eq!(key_of(&found), ("late", "both"), "{found}");
}

#[test]
fn a_back_fill_that_is_killed_goes_on_and_does_not_start_over() {
    const RECORDS: usize = 640;
    /// What the host asks for at once.
    const PORTION: usize = 64;
    let model = ModelServer::start(150);
    let data = data();
    {
        let mut server = Server::start(&model.models(), &[]);
        for n in 0..RECORDS {
            put(&server, &format!("k{n}"), &format!("note number {n}"));
        }
        assert!(embedding(&server).is_null(), "no model embeds memory yet");
        server.kill();
        // Its own directory goes with it.
        std::fs::create_dir(&data).expect("made");
        for file in std::fs::read_dir(server.data()).expect("there") {
            let file = file.expect("readable").path();
            if file.is_file() {
                let name = file.file_name().expect("a name");
                std::fs::copy(&file, data.join(name)).expect("copied");
            }
        }
    }
    let mut server = Server::start_at(&model.configuration(), &data);
    let mut kills = 0;
    let mut done = 0;
    while kills < 3 {
        let goal = done + 2 * PORTION;
        let status = until(&server, |embedding| {
            embedding["done"].as_u64() >= Some(u64::try_from(goal).expect("small"))
        });
        server.kill();
        kills += 1;
        let killed_at = status["done"].as_u64().expect("a number");
        server.restart();
        let status = embedding(&server);
        let after = status["done"].as_u64().expect("a number");
        assert!(after >= killed_at, "{after} records are done after {killed_at} were");
        done = usize::try_from(after).expect("a number");
    }
    until(&server, |embedding| embedding["done"] == RECORDS);
    let asked = model.asked();
    assert_eq!(asked.len(), RECORDS);
    // Each kill costs the portion that was on its way, and no more.
    let texts: usize = asked.values().sum();
    assert!(texts <= RECORDS + kills * PORTION, "{texts} texts were asked for");
    assert_eq!(key_of(&search(&server, "note number 17")).0, "k17");
}

#[test]
fn a_model_that_is_not_there_is_refused_where_it_is_named() {
    let directory = tempfile::tempdir().expect("made");
    let text = "[memory]\nembedding_model = \"embeder\"\n[inference.models.embedder]\n";
    std::fs::write(directory.path().join("foreshore.toml"), text).expect("written");
    let ran = harness::foreshore_in(directory.path(), &["config", "check"]);
    assert_ne!(ran.code, 0);
    let said = ran.stdout + &ran.stderr;
    assert!(said.contains("memory.embedding_model"), "{said}");
    assert!(said.contains("did you mean \"embedder\"?"), "{said}");
}
