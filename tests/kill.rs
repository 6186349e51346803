//! Kill -9 under load, over the public API: memory, file writes by a tool and the audit of calls.
//!
//! `FORESHORE_KILLS` says how often the server is killed. After each kill the journal is checked
//! and what was acknowledged since the last one is looked for; a data directory is left after
//! some dozens of kills, when everything in it was looked for once more, so that the cost of a
//! kill does not grow with their number.

mod ledger;
mod load;

use std::time::{Duration, Instant};

use self::ledger::{Ledger, Totals};
use self::load::Load;
use crate::harness::server::Server;

/// After so many kills the next data directory begins.
const KILLS_PER_DIRECTORY: u32 = 50;

#[test]
fn acknowledged_writes_outlive_a_server_that_is_killed_under_load() {
    let kills: u32 =
        std::env::var("FORESHORE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4);
    let begun = Instant::now();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut total = Totals::default();
    let mut left = kills;
    while left > 0 {
        let in_directory = left.min(KILLS_PER_DIRECTORY);
        total.add(&in_one_directory(in_directory, &mut random));
        left -= in_directory;
        eprintln!("{} s, {} kills to go: {total}", begun.elapsed().as_secs(), left);
    }
    assert!(total.memory > 0 && total.remembered > 0 && total.files > 0, "too little: {total}");
}

fn in_one_directory(kills: u32, random: &mut Random) -> Totals {
    let mount = tempfile::tempdir().expect("made");
    let configuration = format!(
        "[components.files]\nmounts = [{{ host = {:?}, guest = \"/kill\", access = \"read-write\" }}]\n\
         [components.memory.memory]\nnamespaces = [{{ name = \"tool\", access = \"read-write\" }}]\n",
        mount.path(),
    );
    let mut server = Server::start(&configuration, &[]);
    let mut ledger = Ledger::new(mount.path());
    for round in 0..kills {
        let load = Load::start(server.address, round);
        // A slow machine would see kills alone; every other one comes at any moment.
        if round % 2 == 0 {
            load.wait_for_one_of_each();
        }
        std::thread::sleep(Duration::from_millis(20 + random.below(260)));
        server.kill();
        ledger.take(load.end());
        // The opening after a kill may be cut short too, at any moment.
        if random.below(4) == 0 {
            server.restart_and_kill(Duration::from_millis(random.below(200)));
            ledger.totals.openings_killed += 1;
        }
        server.restart();
        ledger.totals.kills += 1;
        ledger.check_new(&server, |below| random.below(below));
    }
    ledger.check_all(&server);
    ledger.totals
}

/// xorshift64 (Marsaglia 2003): moments to kill at, and old acknowledgements to look for.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
