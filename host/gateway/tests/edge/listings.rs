//! What a client can ask about the host.

use foreshore_gateway::GatewayConfig;
use serde_json::json;

use crate::guest;
use crate::harness::{Host, Setup, call};

#[tokio::test]
async fn the_tools_are_listed_and_a_client_that_has_the_list_is_told_so() {
    let host = Host::start(Setup::default()).await;
    let list = host.get("/v1/tools").await;
    assert_eq!(list.status(), 200);
    let tools = list.json();
    let names: Vec<_> =
        tools["tools"].as_array().expect("a list").iter().map(|t| &t["name"]).collect();
    assert_eq!(names.len(), 5);
    assert_eq!(names[0], "probe.echo");
    let echo = host.get("/v1/tools/probe.echo").await.json();
    assert_eq!(echo, tools["tools"][0]);
    assert_eq!(echo["component"], "probe@1.0.0");
    assert_eq!(echo["hints"]["read_only"], true);
    assert_eq!(echo["input_schema"]["properties"]["text"]["type"], "string");

    let etag = list.header("etag").expect("a tag");
    let conditional =
        format!("GET /v1/tools HTTP/1.1\r\nhost: localhost\r\nif-none-match: {etag}\r\n\r\n");
    let same = host.request(&conditional).await;
    assert_eq!((same.status(), same.body.len(), same.header("etag")), (304, 0, Some(etag)));
    host.control.put_component(guest::component(1).into(), Some("other@2.0.0")).await.expect("put");
    let changed = host.request(&conditional).await;
    assert_eq!(
        (changed.status(), changed.json()["tools"].as_array().map(Vec::len)),
        (200, Some(10))
    );
}

#[tokio::test]
async fn a_component_is_served_once_its_put_is_answered_and_gone_once_its_delete_is() {
    let host = Host::start(Setup::default()).await;
    let wasm = guest::component(7);
    let mut client = host.client().await;
    let put = format!(
        "PUT /v1/components/added@1.2.3 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/wasm\r\ncontent-length: {}\r\n\r\n",
        wasm.len()
    );
    client.send(put.as_bytes()).await;
    client.send(&wasm).await;
    let answer = client.response().await.expect("a response");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let component = answer.json();
    assert_eq!(
        (&component["name"], &component["version"], &component["status"]),
        (&json!("added"), &json!("1.2.3"), &json!("loaded"))
    );
    assert_eq!(component["tools"][0], "echo");
    assert_eq!(host.request(&call("added.echo", "{}")).await.status(), 200);
    assert_eq!(host.get("/v1/components/added").await.json(), component);

    let delete = "DELETE /v1/components/added HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(host.request(delete).await.status(), 204);
    assert_eq!(host.request(&call("added.echo", "{}")).await.status(), 404);
    let gone = host.request(delete).await;
    assert_eq!((gone.status(), gone.problem().as_str()), (404, "unknown_component"));
}

#[tokio::test]
async fn what_is_no_component_is_refused_and_what_was_served_stays() {
    let host = Host::start(Setup::default()).await;
    let put = |name: &str, fields: &str, body: &str| {
        format!(
            "PUT /v1/components/{name} HTTP/1.1\r\nhost: localhost\r\n{fields}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let junk = host.request(&put("probe", "", "this is not wasm")).await;
    assert_eq!(junk.status(), 422, "{}", junk.text());
    junk.problem();
    let typed = host.request(&put("probe", "content-type: text/html\r\n", "x")).await;
    assert_eq!((typed.status(), typed.problem().as_str()), (415, "unsupported_media_type"));
    let named = host.request(&put("..%2fevil", "", "x")).await;
    assert_eq!((named.status(), named.problem().as_str()), (404, "unknown_component"));
    let foreign = host.request(&put("probe", "origin: null\r\n", "x")).await;
    assert_eq!((foreign.status(), foreign.problem().as_str()), (403, "origin_not_allowed"));
    assert_eq!(host.request(&call("probe.echo", "{}")).await.status(), 200);
    let built_in =
        host.request("DELETE /v1/components/probe HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!((built_in.status(), built_in.problem().as_str()), (409, "component_built_in"));
}

#[tokio::test]
async fn the_limits_in_force_are_listed_for_calls_and_for_the_edge() {
    let host = Host::start(Setup::default()).await;
    let limits = host.get("/v1/limits").await.json();
    let row = |list: &str, name: &str| {
        let rows = limits[list].as_array().expect("rows");
        rows.iter().find(|row| row["name"] == name).cloned().expect("a row")
    };
    let fuel = row("limits", "fuel");
    assert_eq!((&fuel["unit"], &fuel["value"]), (&json!("fuel"), &json!(2_000_000_000_u64)));
    assert!(fuel["ceiling"].is_u64() && fuel["description"].is_string());
    assert_eq!(row("gateway", "body_max_bytes")["value"], 1 << 20);
    let of = host.get("/v1/limits?component=probe%401.0.0").await.json();
    assert_eq!((&of["component"], &of["limits"]), (&json!("probe@1.0.0"), &limits["limits"]));
    assert_eq!(host.get("/v1/limits?component=nobody").await.problem(), "unknown_component");
    assert_eq!(host.get("/v1/limits?x=1").await.problem(), "invalid_query");
}

#[tokio::test]
async fn the_host_says_whether_it_is_well_and_what_its_api_is() {
    let host = Host::start(Setup::default()).await;
    assert_eq!(host.get("/healthz").await.json(), json!({ "status": "ok" }));
    assert_eq!(host.get("/readyz").await.json(), json!({ "status": "ok" }));
    let verbose = host.get("/readyz?verbose").await.json();
    assert!(verbose["checks"].as_array().is_some_and(|checks| checks.len() > 1), "{verbose}");
    let document = host.get("/openapi.json").await;
    assert_eq!(document.text(), foreshore_gateway::openapi_document());
    let mut client = host.client().await;
    client.send(b"HEAD /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let head = client.rest().await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn only_a_name_of_this_server_is_answered() {
    let mut setup = Setup::default();
    setup.gateway = GatewayConfig { hosts: vec!["known.example".into()], ..setup.gateway };
    let host = Host::start(setup).await;
    let with = |name: &str| format!("GET /healthz HTTP/1.1\r\nhost: {name}\r\n\r\n");
    let port = host.address.port();
    for fine in ["localhost".to_owned(), format!("127.0.0.1:{port}"), "known.example".to_owned()] {
        assert_eq!(host.request(&with(&fine)).await.status(), 200, "{fine}");
    }
    let foreign = host.request(&with("rebound.example")).await;
    assert_eq!((foreign.status(), foreign.problem().as_str()), (421, "host_not_allowed"));
    assert_eq!(foreign.json()["grant"], "[server] hosts = [\"rebound.example\"]");
}
