//! `stream`: how much later a piece of a model's answer comes when it goes through the host.
//!
//! A relay before the scripted server notes when each piece leaves; the same bare client notes
//! when it comes: straight from the relay, from the host as OpenAI's clients ask it, and from a
//! turn of `assistant` as events. The host is a process of its own, as it is for a user.

mod relay;
mod ticks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use self::relay::Relay;
use self::ticks::{Ticks, tick};
use super::bare::Bare;
use super::figures::percentile_us;
use super::http::Server;
use super::{Effort, Row, Target, agents};
use crate::token_file;

/// Pieces of an answer.
const PIECES: usize = 200;
/// How far they are apart: a fast model, and long enough that one is through before the next.
const APART_MS: u64 = 3;
/// What the host may add to a piece.
const ADDED_MAX_US: f64 = 1_000.0;

/// One way to ask.
struct Way {
    name: &'static str,
    address: SocketAddr,
    path: &'static str,
    accept: &'static str,
    /// What the host is shown; the model's server takes no notice.
    authorization: String,
    body: String,
    times: Vec<Duration>,
}

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pieces: Vec<String> = (0..PIECES).map(tick).collect();
    let rules =
        format!("[[rules]]\nanswer = {{ chunk_list = {pieces:?}, chunk_delay_ms = {APART_MS} }}\n");
    let model = agents::model(&rules)?;
    let relay = Relay::start(model.address())?;
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let url = format!("http://{}", relay.address);
    let file = agents::write(directory.path(), &agents::configuration(&url, &[]))?;
    let host = Server::announced(
        Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--config"])
            .arg(file)
            .arg("--data")
            .arg(&data)
            .arg("--components")
            .arg(directory.path().join("components"))
            .current_dir(directory.path()),
    )?;

    let token = token_file::read(&token_file::path(&data))?;
    let messages = json!([{ "role": "user", "content": "Count." }]);
    let chat = json!({ "model": "bench", "stream": true, "messages": messages }).to_string();
    let turn = json!({ "message": "Count." }).to_string();
    let way = |name, address, path, accept, body| {
        let (times, authorization) = (Vec::new(), format!("Bearer {token}"));
        Way { name, address, path, accept, authorization, body, times }
    };
    let events = "text/event-stream";
    let mut ways = [
        way("straight", relay.address, "/api/chat", "*/*", chat.clone()),
        way("stream", host.address, "/v1/chat/completions", events, chat),
        way("stream/turn", host.address, "/v1/agents/assistant/turns", events, turn),
    ];
    // A first request of each finds caches and connections cold, and is not counted.
    for way in &mut ways {
        runtime.block_on(way.ask(&relay))?;
        way.times.clear();
    }
    for _ in 0..effort.rounds {
        for way in &mut ways {
            runtime.block_on(way.ask(&relay))?;
        }
    }
    let [straight, through @ ..] = &mut ways;
    let floor = (straight.percentile(0.5), straight.percentile(0.99));
    Ok(through.iter_mut().map(|way| way.row(floor)).collect())
}

impl Way {
    /// Asks once, and notes how long each piece took.
    async fn ask(&mut self, relay: &Relay) -> anyhow::Result<()> {
        relay.forget();
        let (mut ticks, mut came) = (Ticks::default(), BTreeMap::new());
        let mut bare = Bare::connect(self.address).await?;
        let read = |bytes: &[u8]| {
            let now = Instant::now();
            for tick in ticks.read(bytes) {
                // The whole answer comes again at the end of a turn.
                came.entry(tick).or_insert(now);
            }
        };
        let headers = [("accept", self.accept), ("authorization", &self.authorization)];
        bare.post_reading(self.path, &headers, &self.body, read).await?;
        let left = relay.left();
        ensure!(came.len() == PIECES, "{} of {PIECES} pieces came by {}", came.len(), self.path);
        for (tick, came) in came {
            let left = left.get(&tick).copied();
            let left = left.ok_or_else(|| anyhow::anyhow!("piece {tick} came from nowhere"))?;
            self.times.push(came.saturating_duration_since(left));
        }
        Ok(())
    }

    fn percentile(&mut self, share: f64) -> f64 {
        self.times.sort_unstable();
        percentile_us(&self.times, share)
    }

    fn row(&mut self, (floor, floor_p99): (f64, f64)) -> Row {
        let (p50, p99) = (self.percentile(0.5), self.percentile(0.99));
        let (path, pieces) = (self.path, self.times.len());
        Row {
            name: self.name.to_owned(),
            unit: "us p50 a piece",
            floor: Some(floor),
            ours: p50,
            target: Target::AddedAtMost(ADDED_MAX_US),
            note: format!(
                "from the model's server to the client of {path}, p99 {p99:.0} us; floor: straight, p99 {floor_p99:.0} us; {pieces} pieces, {APART_MS} ms apart"
            ),
        }
    }
}
