//! Attempts on the sandbox itself: time, memory, stack, results, and what others left behind.

use std::hint::black_box;

use serde_json::{Value, json};

use crate::{Seen, number, text};

pub fn spin_forever(_: &Value) -> Seen {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

pub fn sleep_forever(_: &Value) -> Seen {
    std::thread::sleep(std::time::Duration::from_secs(3_600));
    Ok(json!("awake"))
}

pub fn eat_memory(arguments: &Value) -> Seen {
    let step = 1 << 20;
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..number(arguments, "mebibytes", u64::MAX) {
        held.push(black_box(vec![1_u8; step]));
    }
    Ok(json!({"mebibytes": held.len()}))
}

pub fn recurse(_: &Value) -> Seen {
    fn deeper(n: u64) -> u64 {
        let frame = black_box([n; 64]);
        if n == u64::MAX { 0 } else { deeper(black_box(n + 1)) + frame[7] }
    }
    Ok(json!(deeper(0)))
}

pub fn panic(arguments: &Value) -> Seen {
    panic!("the guest gives up: {}", text(arguments, "message"));
}

pub fn exit(_: &Value) -> Seen {
    std::process::exit(3);
}

pub fn huge_result(arguments: &Value) -> Seen {
    let bytes = usize::try_from(number(arguments, "bytes", 8 << 20)).unwrap_or(usize::MAX);
    Ok(Value::String("x".repeat(bytes)))
}

pub fn deep_result(arguments: &Value) -> Seen {
    let mut value = json!(0);
    for _ in 0..number(arguments, "depth", 1_000) {
        value = Value::Array(vec![value]);
    }
    Ok(value)
}

static mut KEPT: [u8; 64] = [0; 64];

/// Leaves a mark in static memory and on the heap, for a later call to look for.
pub fn remember(arguments: &Value) -> Seen {
    let mark = text(arguments, "mark").as_bytes();
    let length = mark.len().min(64);
    // SAFETY: a guest has one thread.
    unsafe {
        let kept = &raw mut KEPT;
        (&mut (*kept))[..length].copy_from_slice(&mark[..length]);
    }
    let heap: Vec<Vec<u8>> = (0..256).map(|_| mark.repeat(64)).collect();
    Ok(json!({"copies": black_box(heap).len()}))
}

/// Looks for a mark in all of this guest's linear memory, as far as it reaches and grown as far
/// as it goes. The mark comes in two halves so that the argument itself is not found.
pub fn find_in_memory(arguments: &Value) -> Seen {
    let (first, second) =
        (text(arguments, "first").as_bytes(), text(arguments, "second").as_bytes());
    let grown: Vec<u8> = Vec::with_capacity(8 << 20);
    let pages = core::arch::wasm32::memory_size(0);
    let end = pages * 65_536;
    let mut found = 0_u64;
    let mut at = 1_024_usize;
    while at + first.len() + second.len() <= end {
        // SAFETY: the range lies within linear memory, which a guest may read as bytes.
        let here =
            unsafe { std::slice::from_raw_parts(at as *const u8, first.len() + second.len()) };
        if here.starts_with(first) && here.ends_with(second) {
            found += 1;
        }
        at += 1;
    }
    black_box(grown);
    Ok(json!({"found": found, "searched_bytes": end}))
}

/// A text that a test overwrites in the built component to make another version of it.
static MARKER: &str = "version-marker-0000000000";

pub fn version_marker(_: &Value) -> Seen {
    Ok(json!(black_box(MARKER)))
}
