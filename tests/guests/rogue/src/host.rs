//! Attempts on the host side of the boundary: logs, random bytes, handles, polls, clocks, sockets.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::foreshore::log::log::{Level, log};
use crate::foreshore::progress::progress;
use crate::{Seen, number, text};

pub fn flood_log(arguments: &Value) -> Seen {
    let length = usize::try_from(number(arguments, "length", 10_000)).unwrap_or(0);
    let line = "l".repeat(length);
    for _ in 0..number(arguments, "lines", 10_000) {
        log(Level::Info, &line);
    }
    Ok(json!("logged"))
}

/// Many bytes on standard output without a line end.
pub fn flood_stdout(arguments: &Value) -> Seen {
    let piece = vec![b'o'; 64 << 10];
    let mut out = std::io::stdout().lock();
    let mut written = 0_u64;
    while written < number(arguments, "bytes", 1 << 30) {
        out.write_all(&piece).map_err(|error| error.to_string())?;
        written += 64 << 10;
    }
    out.flush().map_err(|error| error.to_string())?;
    Ok(json!({"written": written}))
}

pub fn flood_progress(arguments: &Value) -> Seen {
    let total = number(arguments, "reports", 100_000);
    for n in 0..=total {
        progress::report(n as f64, Some(total as f64), None);
    }
    Ok(json!("reported"))
}

/// One string of many bytes to a host function.
pub fn big_string(arguments: &Value) -> Seen {
    let bytes = usize::try_from(number(arguments, "bytes", 16 << 20)).unwrap_or(0);
    log(Level::Info, &"s".repeat(bytes));
    Ok(json!("taken"))
}

pub fn random(arguments: &Value) -> Seen {
    let bytes = wasip2::random::random::get_random_bytes(number(arguments, "bytes", u64::MAX));
    let different = bytes.windows(2).any(|pair| pair[0] != pair[1]);
    Ok(json!({"bytes": bytes.len(), "different": different}))
}

/// Pollables that are never given back.
pub fn leak_handles(arguments: &Value) -> Seen {
    let mut held = Vec::new();
    for _ in 0..number(arguments, "handles", 1_000_000) {
        held.push(wasip2::clocks::monotonic_clock::subscribe_duration(3_600_000_000_000));
    }
    let count = held.len();
    std::mem::forget(held);
    Ok(json!({"held": count}))
}

/// A poll on many pollables, or on none.
pub fn poll(arguments: &Value) -> Seen {
    let count = number(arguments, "count", 0);
    let one = wasip2::clocks::monotonic_clock::subscribe_duration(0);
    let list: Vec<_> = (0..count).map(|_| &one).collect();
    let ready = wasip2::io::poll::poll(&list);
    Ok(json!({"ready": ready.len()}))
}

/// Writes of nothing, which cost the guest little.
pub fn zero_length_writes(arguments: &Value) -> Seen {
    let out = wasip2::cli::stdout::get_stdout();
    let mut done = 0_u64;
    for _ in 0..number(arguments, "writes", 10_000_000) {
        out.write(&[]).map_err(|error| error.to_string())?;
        done += 1;
    }
    Ok(json!({"writes": done}))
}

/// The smallest step that each clock makes, in nanoseconds.
pub fn clock_steps(_: &Value) -> Seen {
    let smallest = |read: &dyn Fn() -> u64| {
        let (mut last, mut smallest) = (read(), u64::MAX);
        let mut steps = 0;
        while steps < 5 {
            let now = read();
            if now != last {
                smallest = smallest.min(now - last);
                steps += 1;
                last = now;
            }
        }
        smallest
    };
    let monotonic = smallest(&wasip2::clocks::monotonic_clock::now);
    let wall = smallest(&|| {
        let now = wasip2::clocks::wall_clock::now();
        now.seconds * 1_000_000_000 + u64::from(now.nanoseconds)
    });
    Ok(json!({"monotonic_ns": monotonic, "wall_ns": wall}))
}

pub fn environment(_: &Value) -> Seen {
    let variables: serde_json::Map<String, Value> =
        std::env::vars().map(|(name, value)| (name, json!(value))).collect();
    let arguments: Vec<String> = std::env::args().collect();
    Ok(json!({
        "variables": variables,
        "arguments": arguments,
        "directory": std::env::current_dir().map(|path| path.display().to_string()).ok(),
    }))
}

pub fn connect(arguments: &Value) -> Seen {
    match std::net::TcpStream::connect(text(arguments, "address")) {
        Ok(_) => Ok(json!("connected")),
        Err(error) => Err(format!("{:?}", error.kind())),
    }
}

pub fn resolve(arguments: &Value) -> Seen {
    use std::net::ToSocketAddrs as _;
    match (text(arguments, "name"), 80).to_socket_addrs() {
        Ok(found) => Ok(json!(found.map(|address| address.to_string()).collect::<Vec<_>>())),
        Err(error) => Err(format!("{:?}", error.kind())),
    }
}
