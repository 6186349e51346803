//! `auth`: what it costs to know who asks, to check what they may do, and to record it.
//!
//! Who asks: the server's CPU time of a call with a credential, over that of the same call to a
//! server that asks for none. What the door adds (policy, limits, schema, record) is taken from
//! `call`, where nothing but the door is measured; all of it is counted here, so the sum is more
//! than identity, policy and audit alone.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::call;
use super::figures::{float, median};
use super::http::{self, Server};
use super::load;
use super::{Effort, Row, Target};
use crate::client::Client;

const PATH: &str = "/v1/tools/bench.add/call";
const CONNECTIONS: usize = 8;
/// Calls of a round.
const CALLS: usize = 5_000;
/// Calls of a round in which each shows a token that was never seen before.
const FRESH_CALLS: usize = 400;
/// What knowing, permitting and recording a call may cost together, in microseconds of CPU.
const TOGETHER_MAX_US: f64 = 15.0;

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let directories = [tempfile::tempdir()?, tempfile::tempdir()?];
    let [open, asking] = directories.each_ref().map(tempfile::TempDir::path);
    let (open, _) = http::ours_with(open, &["--insecure-no-auth"])?;
    let (asking, key) = http::ours(asking)?;
    let token = tokens(&asking, &key, 1)?.pop().context("a token")?;
    let (mut none, mut keys, mut cached, mut fresh) = (vec![], vec![], vec![], vec![]);
    // The first round of each warms up and does not count.
    for round in 0..=effort.rounds {
        let of_none = cpu_us(&open, &[http::post_as(PATH, None)], CALLS)?;
        let of_key = cpu_us(&asking, &[http::post_as(PATH, Some(&key))], CALLS)?;
        let of_cached = cpu_us(&asking, &[http::post_as(PATH, Some(&token))], CALLS)?;
        let unseen: Vec<String> = tokens(&asking, &key, FRESH_CALLS)?
            .iter()
            .map(|token| http::post_as(PATH, Some(token)))
            .collect();
        let of_fresh = cpu_us(&asking, &unseen, FRESH_CALLS)?;
        if round > 0 {
            none.push(of_none);
            keys.push(of_key);
            cached.push(of_cached);
            fresh.push(of_fresh);
        }
    }
    drop((open, asking));
    let door = call::call(effort)?.pop().context("the figures of a call")?;
    let door_us = door.ours - door.floor.unwrap_or_default();
    let none = median(&mut none);
    let of = |name: &str, mut figures: Vec<f64>, note: &str| Row {
        name: format!("auth/{name}"),
        unit: "us CPU",
        floor: Some(none),
        ours: median(&mut figures),
        target: Target::Reported,
        note: note.to_owned(),
    };
    let key = of("key", keys, "a call with an API key; floor: to a server that asks for nothing");
    let together = Row {
        name: "auth/together".to_owned(),
        unit: "us CPU",
        floor: None,
        ours: (key.ours - none).max(0.0) + door_us,
        target: Target::AtMost(TOGETHER_MAX_US),
        note: format!(
            "what a key adds to a call ({:.1}) and what the door adds to bare wasmtime ({door_us:.1}): policy, limits, schema and record",
            key.ours - none
        ),
    };
    Ok(vec![
        key,
        of("token", cached, "with a signed token that was seen before"),
        of("token-fresh", fresh, "with a signed token that was never seen: an RSA signature each"),
        together,
    ])
}

/// The server's CPU time of a call, in microseconds. The requests are sent in turn.
fn cpu_us(server: &Server, requests: &[String], calls: usize) -> anyhow::Result<f64> {
    let requests: Vec<Vec<u8>> =
        requests.iter().cycle().take(calls).map(|text| text.clone().into_bytes()).collect();
    let before = server.cpu()?;
    let load = load::each(server.address, &requests, CONNECTIONS)?;
    let spent = server.cpu()?.checked_sub(before).unwrap_or(Duration::ZERO);
    ensure!(load.answers == calls, "{} of {calls} calls were answered", load.answers);
    Ok(spent.as_secs_f64() * 1e6 / float(calls))
}

/// So many access tokens.
fn tokens(server: &Server, key: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = json!({ "name": "a benchmark", "roles": ["caller"], "kind": "access" });
    runtime.block_on(async {
        let client = Client::at(server.address, key.to_owned());
        let mut tokens = Vec::with_capacity(count);
        for _ in 0..count {
            let issued = client.send("POST", "/v1/tokens", Some(&asked)).await;
            let issued = issued.map_err(|_| anyhow::anyhow!("no token was issued"))?;
            let text = issued.get("access_token").and_then(Value::as_str);
            tokens.push(text.context("an access token")?.to_owned());
        }
        Ok(tokens)
    })
}
