//! A component of tools for the edge to call, written as text and put together here.
//!
//! `echo` gives its arguments back; `spins` never ends; `crashed8` crashes; `reports` reports
//! progress and logs before it echoes; `scribbles` is an `echo` that does not say it is read-only.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = "package test:guest;
    world guest {
        import foreshore:progress/progress@0.1.0;
        import foreshore:log/log@0.1.0;
        export foreshore:tool/tool@0.1.0;
    }";

/// Name and hints (bit 0: read-only). `call` tells them apart by the length of the name.
const TOOLS: [(&str, u8); 5] =
    [("echo", 1), ("spins", 1), ("reports", 1), ("crashed8", 1), ("scribbles", 0)];

const SCHEMA: &str = r#"{"type":"object","properties":{"text":{"type":"string"}}}"#;

/// Where the definitions lie in the guest's memory, and the size of one in the canonical ABI.
const DEFINITIONS: usize = 1_024;
const DEFINITION: usize = 52;

/// The component's bytes; `mark` makes them differ.
pub fn component(mark: u32) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
    resolve.push_path(contract).expect("the contract parses");
    let package = resolve.push_str("guest.wit", WIT).expect("the world parses");
    let world = resolve.select_world(&[package], Some("guest")).expect("a world");
    let mut module = wat::parse_str(module(mark)).expect("valid text");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embeds");
    let encoder = ComponentEncoder::default().module(&module).expect("a module of this world");
    encoder.validate(true).encode().expect("encodes")
}

/// The image of the definitions: records first, then the texts they point to.
fn definitions() -> Vec<u8> {
    let mut records = Vec::new();
    let mut texts = Vec::new();
    let texts_at = DEFINITIONS + TOOLS.len() * DEFINITION;
    let mut text = |text: &str| {
        let at = texts_at + texts.len();
        texts.extend_from_slice(text.as_bytes());
        [at, text.len()].map(|n| u32::try_from(n).expect("small").to_le_bytes()).concat()
    };
    for (name, hints) in TOOLS {
        records.extend(text(name));
        records.extend([0; 12]); // title: none
        records.extend(text("A tool of the tests."));
        records.extend(text(SCHEMA));
        records.extend([0; 12]); // output schema: none
        records.extend([hints, 0, 0, 0]);
    }
    records.extend(texts);
    records
}

fn module(mark: u32) -> String {
    let image: String = definitions().iter().map(|byte| format!("\\{byte:02x}")).collect();
    let count = TOOLS.len();
    format!(
        r#"(module
            (import "foreshore:progress/progress@0.1.0" "report"
                (func $report (param f64 i32 f64 i32 i32 i32)))
            (import "foreshore:log/log@0.1.0" "log" (func $log (param i32 i32 i32)))
            (memory (export "memory") 40)
            (global $free (mut i32) (i32.const 32768))
            (data (i32.const 8) "half way{mark:08}")
            (data (i32.const {DEFINITIONS}) "{image}")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (global.get $free))
                (global.set $free (i32.and
                    (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7))
                    (i32.const -8)))
                (local.get $at))
            (func (export "foreshore:tool/tool@0.1.0#definitions") (result i32)
                (i32.store (i32.const 0) (i32.const {DEFINITIONS}))
                (i32.store (i32.const 4) (i32.const {count}))
                (i32.const 0))
            (func (export "cabi_post_foreshore:tool/tool@0.1.0#definitions") (param i32))
            (func (export "foreshore:tool/tool@0.1.0#call")
                (param $name i32) (param $name_len i32)
                (param $arguments i32) (param $arguments_len i32) (result i32)
                (if (i32.eq (local.get $name_len) (i32.const 5)) (then (loop $on (br $on))))
                (if (i32.eq (local.get $name_len) (i32.const 8)) (then unreachable))
                (if (i32.eq (local.get $name_len) (i32.const 7))
                    (then
                        (call $report (f64.const 1) (i32.const 1) (f64.const 2)
                            (i32.const 1) (i32.const 8) (i32.const 8))
                        (call $log (i32.const 2) (i32.const 8) (i32.const 8))))
                ;; ok(outcome): one content, the arguments as structured, no error.
                (i32.store (i32.const 260) (i32.const 384))
                (i32.store (i32.const 264) (i32.const 1))
                (i32.store8 (i32.const 268) (i32.const 1))
                (i32.store (i32.const 272) (local.get $arguments))
                (i32.store (i32.const 276) (local.get $arguments_len))
                ;; content: text(arguments), no annotations.
                (i32.store (i32.const 388) (local.get $arguments))
                (i32.store (i32.const 392) (local.get $arguments_len))
                (i32.const 256))
            (func (export "cabi_post_foreshore:tool/tool@0.1.0#call") (param i32)))"#
    )
}
