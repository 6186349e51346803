//! Memory over HTTP: what a client writes, reads, finds and may not do.

use serde_json::{Value, json};

use crate::harness::{Host, Response, Setup};

async fn ask(host: &Host, method: &str, path: &str, body: Option<Value>) -> Response {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    host.request(&format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {length}\r\n\r\n{body}"
    ))
    .await
}

async fn put(host: &Host, path: &str, body: Value) -> Value {
    let answer = ask(host, "PUT", path, Some(body)).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_record_is_written_read_listed_and_deleted_and_its_versions_stay() {
    let host = Host::start(Setup::default()).await;
    let path = "/v1/memory/notes/shopping%2Flist";
    assert_eq!(put(&host, path, json!({"value": ["milk"]})).await, json!({"version": 1}));
    let second = json!({"value": ["milk", "tea"], "tags": ["food"], "importance": 0.5});
    assert_eq!(put(&host, path, second).await, json!({"version": 2}));

    let record = host.get(path).await.json();
    assert_eq!(record["key"], "shopping/list");
    assert_eq!((&record["version"], &record["value"]), (&json!(2), &json!(["milk", "tea"])));
    assert_eq!((&record["tags"], &record["origin"]), (&json!(["food"]), &json!("person")));
    assert_eq!(host.get(&format!("{path}?version=1")).await.json()["value"], json!(["milk"]));
    assert_eq!(host.get(&format!("{path}?version=9")).await.problem(), "no_such_record");

    put(&host, "/v1/memory/notes/search", json!({"value": "a record called search"})).await;
    let keys = host.get("/v1/memory/notes?prefix=s&limit=1").await.json();
    assert_eq!(keys, json!({"keys": ["search"], "next_cursor": "search"}));
    let rest = host.get("/v1/memory/notes?prefix=s&cursor=search").await.json();
    assert_eq!(rest, json!({"keys": ["shopping/list"]}));

    let deleted = ask(&host, "DELETE", path, None).await;
    assert_eq!((deleted.status(), deleted.json()), (200, json!({"version": 3})));
    assert_eq!(host.get(path).await.problem(), "no_such_record");
    assert_eq!(ask(&host, "DELETE", path, None).await.problem(), "no_such_record");
    let versions = host.get(&format!("{path}/versions")).await.json();
    let states: Vec<_> = versions["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|v| (v["version"].as_u64(), v["state"].as_str()))
        .collect();
    assert_eq!(
        states,
        [(Some(3), Some("deleted")), (Some(2), Some("written")), (Some(1), Some("written"))]
    );
    assert_eq!(put(&host, path, json!({"value": null})).await, json!({"version": 4}));

    let namespaces = host.get("/v1/memory").await.json();
    assert_eq!(namespaces["namespaces"][0]["name"], "notes");
    assert_eq!(namespaces["namespaces"][0]["records"], 2);
}

#[tokio::test]
async fn a_version_that_is_not_expected_is_a_conflict_that_says_which_stands_there() {
    let host = Host::start(Setup::default()).await;
    let path = "/v1/memory/notes/a";
    put(&host, path, json!({"value": 1, "expected_version": 0})).await;
    for (expected, actual) in [(0, 1), (2, 1)] {
        let body = json!({"value": 2, "expected_version": expected});
        let late = ask(&host, "PUT", path, Some(body)).await;
        assert_eq!((late.status(), late.problem().as_str()), (409, "version_conflict"));
        assert_eq!(late.json()["actual_version"], actual);
    }
    let late = ask(&host, "DELETE", &format!("{path}?expected_version=7"), None).await;
    assert_eq!(late.status(), 409);
    put(&host, path, json!({"value": 2, "expected_version": 1})).await;
    assert_eq!(host.get(path).await.json()["value"], 2);
}

#[tokio::test]
async fn of_many_writers_that_expect_the_same_version_one_wins() {
    let host = std::sync::Arc::new(Host::start(Setup::default()).await);
    let writers: Vec<_> = (0..32)
        .map(|n| {
            let host = std::sync::Arc::clone(&host);
            tokio::spawn(async move {
                let body = json!({"value": n, "expected_version": 0});
                ask(&host, "PUT", "/v1/memory/notes/contested", Some(body)).await.status()
            })
        })
        .collect();
    let mut won = 0;
    for writer in writers {
        match writer.await.expect("no panic") {
            200 => won += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_search_finds_by_words_filters_by_tags_and_says_how_it_searched() {
    let host = Host::start(Setup::default()).await;
    for (key, text, tag) in [
        ("tide", "The tide turns at noon on the foreshore", "sea"),
        ("boat", "The boat waits for the tide", "boat"),
        ("oak", "An oak in the wood", "land"),
    ] {
        put(&host, &format!("/v1/memory/notes/{key}"), json!({"value": text, "tags": [tag]})).await;
    }
    let search =
        async |body: Value| ask(&host, "POST", "/v1/memory/notes/search", Some(body)).await.json();
    let found = search(json!({"query": "Tide"})).await;
    assert_eq!(found["method"], "lexical");
    let keys: Vec<_> = found["hits"].as_array().expect("hits").iter().map(|h| &h["key"]).collect();
    assert_eq!(keys.len(), 2, "{found}");
    let hit = &found["hits"][0];
    assert!(hit["score"].as_f64().is_some_and(|score| score > 0.0), "{hit}");
    let text = hit["snippet"]["text"].as_str().expect("a text");
    let range = &hit["snippet"]["matches"][0];
    let at = |n: usize| usize::try_from(range[n].as_u64().expect("a number")).expect("small");
    assert_eq!(&text[at(0)..at(1)], "tide");
    let found = search(json!({"query": "tide", "tags": ["boat"]})).await;
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["hits"][0]["key"], "boat");
    assert_eq!(search(json!({"query": "nothing"})).await["hits"], json!([]));
}

#[tokio::test]
async fn vectors_of_one_model_are_searched_by_meaning() {
    let host = Host::start(Setup::default()).await;
    for (key, vector) in [("near", [1.0, 0.1, 0.0]), ("far", [0.0, 0.1, 1.0])] {
        let embedding = json!({"model": "m", "vector": vector});
        let body = json!({"value": "plain", "embedding": embedding});
        put(&host, &format!("/v1/memory/notes/{key}"), body).await;
    }
    let query = json!({"query": "unheard", "embedding": {"model": "m", "vector": [0.9, 0.0, 0.0]}});
    let found = ask(&host, "POST", "/v1/memory/notes/search", Some(query)).await.json();
    assert_eq!(found["method"], "hybrid", "{found}");
    assert_eq!(found["hits"][0]["key"], "near", "{found}");
}

#[tokio::test]
async fn keys_are_related_and_paths_found() {
    let host = Host::start(Setup::default()).await;
    let relations = "/v1/graph/notes/relations";
    for (subject, object) in [("a", "b"), ("b", "c")] {
        let body = json!({"subject": subject, "predicate": "next", "object": object});
        let answer = ask(&host, "POST", relations, Some(body.clone())).await;
        assert_eq!(answer.json(), json!({"changed": true}));
        let again = ask(&host, "POST", relations, Some(body)).await;
        assert_eq!(again.json(), json!({"changed": false}));
    }
    let near = host.get(&format!("{relations}?key=b")).await.json();
    assert_eq!(near["relations"].as_array().map(Vec::len), Some(2), "{near}");
    let paths = host.get("/v1/graph/notes/paths?from=a&to=c").await.json();
    assert_eq!(paths["paths"][0].as_array().map(Vec::len), Some(2), "{paths}");
    let gone = format!("{relations}?subject=a&predicate=next&object=b");
    assert_eq!(ask(&host, "DELETE", &gone, None).await.json(), json!({"changed": true}));
    let paths = host.get("/v1/graph/notes/paths?from=a&to=c").await.json();
    assert_eq!(paths["paths"], json!([]));
}

#[tokio::test]
async fn what_memory_does_not_take_is_refused_with_its_place() {
    let host = Host::start(Setup::default()).await;
    for (body, pointer, says) in [
        (json!({"value": 1, "tags": [""]}), "/tags", "tag"),
        (json!({"value": 1, "importance": 2}), "/importance", "0 to 1"),
        (json!({"value": 1, "ttl_s": 0}), "/ttl_s", "time to live"),
        (json!({"value": 1, "surprise": 1}), "", "surprise"),
        (json!({}), "", "value"),
        (json!({"value": 1, "embedding": {"model": "m", "vector": []}}), "/embedding/vector", "0"),
    ] {
        let answer = ask(&host, "PUT", "/v1/memory/notes/a", Some(body.clone())).await;
        assert_eq!((answer.status(), answer.problem().as_str()), (422, "invalid_body"), "{body}");
        assert_eq!(answer.json()["pointer"], pointer, "{body}");
        assert!(answer.json()["detail"].as_str().is_some_and(|text| text.contains(says)), "{body}");
    }
    for path in ["/v1/memory/Notes/a", "/v1/memory/-/a", "/v1/memory/notes/%00"] {
        let answer = ask(&host, "PUT", path, Some(json!({"value": 1}))).await;
        assert_eq!((answer.status(), answer.problem().as_str()), (422, "invalid_body"), "{path}");
    }
    let odd = host.get("/v1/memory/notes?prefx=a").await;
    assert_eq!((odd.status(), odd.problem().as_str()), (400, "invalid_query"));
    let limit = ask(&host, "POST", "/v1/memory/notes/search", Some(json!({"limit": 0}))).await;
    assert_eq!(limit.json()["pointer"], "/limit");
}

#[tokio::test]
async fn a_value_as_large_as_a_body_is_kept_whole_and_a_larger_one_says_how_large_it_may_be() {
    let host = Host::start(Setup::default()).await;
    let path = "/v1/memory/notes/report";
    let value = json!({"title": "the tides of the year", "with_rows": "x".repeat(1_000_000)});
    assert_eq!(put(&host, path, json!({"value": value})).await, json!({"version": 1}));
    put(&host, path, json!({"value": "small"})).await;
    let first = host.get(&format!("{path}?version=1")).await.json();
    assert_eq!((&first["value"], first.get("value_bytes")), (&value, None));
    // A list of them would have no bound: it says how large they are.
    let versions = host.get(&format!("{path}/versions")).await.json();
    assert_eq!(versions["versions"][0]["value"], "small");
    let listed = &versions["versions"][1];
    let bytes = value.to_string().len();
    assert_eq!((listed.get("value"), &listed["value_bytes"]), (None, &json!(bytes)), "{listed}");
    put(&host, path, json!({"value": value})).await;
    assert_eq!(host.get(path).await.json()["value"], value);
    let query = json!({"query": "tides"});
    let found = ask(&host, "POST", "/v1/memory/notes/search", Some(query)).await.json();
    assert_eq!(found["hits"][0]["key"], "report", "{found}");
    let checked = ask(&host, "POST", "/v1/store/check", None).await;
    assert_eq!(checked.status(), 200, "{}", checked.text());
    let over = ask(&host, "PUT", path, Some(json!({"value": "x".repeat(1 << 20)}))).await;
    assert_eq!(over.status(), 413, "{}", over.text());

    let raised = Setup::limits(|limits| limits.body_max_bytes = crate::harness::limit(32 << 20));
    let host = Host::start(raised).await;
    let over = ask(&host, "PUT", path, Some(json!({"value": "x".repeat(16 << 20)}))).await;
    assert_eq!((over.status(), over.problem().as_str()), (422, "memory_too_large"));
    assert!(over.text().contains("16777216"), "{}", over.text());
    assert_eq!(host.get(path).await.problem(), "no_such_record");
}

#[tokio::test]
async fn a_follower_is_told_what_happens_and_goes_on_where_it_was() {
    let host = Host::start(Setup::default()).await;
    let mut client = host.client().await;
    let follow = "GET /v1/events?kind=memory.* HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    client.send(follow.as_bytes()).await;
    client.until(": listening").await;
    put(&host, "/v1/memory/notes/a", json!({"value": "first"})).await;
    let seen = client.until("\"first\"").await;
    assert!(seen.contains("event: memory.put\n"), "{seen}");
    let id: u64 = seen
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .and_then(|id| id.trim().parse().ok())
        .expect("a number");
    drop(client);
    put(&host, "/v1/memory/notes/a", json!({"value": "second"})).await;
    put(&host, "/v1/memory/notes/b", json!({"value": "third"})).await;
    let mut client = host.client().await;
    let again = follow.replace("accept", &format!("last-event-id: {id}\r\naccept"));
    client.send(again.as_bytes()).await;
    let seen = client.until("\"third\"").await;
    assert!(seen.contains("\"second\"") && !seen.contains("\"first\""), "{seen}");

    let page = host.get("/v1/events?kind=memory.put&stream=memory/notes").await.json();
    assert_eq!(page["events"].as_array().map(Vec::len), Some(3), "{page}");
    assert_eq!(page["at_end"], true);
    assert_eq!(page["events"][0]["payload"]["key"], "a");
    let loaded = host.get("/v1/audit?component=probe").await.json();
    assert_eq!(loaded["events"][0]["kind"], "component.loaded", "{loaded}");
}
