//! `console`, kept for the caller.
//!
//! A line is bounded and so is their number: what is beyond is counted. The invariant: what is
//! kept fits a result whatever the program logs.

use std::cell::RefCell;
use std::rc::Rc;

use boa_engine::js_string;
use boa_engine::object::ObjectInitializer;
use boa_engine::property::Attribute;
use boa_engine::{Context, JsResult, JsValue, NativeFunction};
use schemars::JsonSchema;
use serde::Serialize;

const LINES_MAX: usize = 200;
const LINE_MAX_BYTES: usize = 2 << 10;
const TOTAL_MAX_BYTES: usize = 64 << 10;
/// How much of what was logged an error shows: its last lines.
const TAIL_LINES_MAX: usize = 20;

/// How a line was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Debug,
    Log,
    Info,
    Warn,
    Error,
}

/// One call of `console`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Line {
    pub(crate) level: Level,
    /// Cut at 2 KiB.
    pub(crate) text: String,
}

/// What a program logged.
#[derive(Debug, Default)]
pub(crate) struct Console {
    pub(crate) lines: Vec<Line>,
    pub(crate) dropped: u64,
    bytes: usize,
}

/// The console of a context: the program's functions and the tool share it.
#[derive(Clone, Debug, Default)]
struct Shared(Rc<RefCell<Console>>);

impl Console {
    /// Puts `console` into a context.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn install(context: &mut Context) -> JsResult<()> {
        context.insert_data(Shared::default());
        let console = ObjectInitializer::new(context)
            .function(NativeFunction::from_fn_ptr(debug), js_string!("debug"), 0)
            .function(NativeFunction::from_fn_ptr(log), js_string!("log"), 0)
            .function(NativeFunction::from_fn_ptr(info), js_string!("info"), 0)
            .function(NativeFunction::from_fn_ptr(warn), js_string!("warn"), 0)
            .function(NativeFunction::from_fn_ptr(error), js_string!("error"), 0)
            .build();
        context.register_global_property(
            js_string!("console"),
            console,
            Attribute::WRITABLE | Attribute::CONFIGURABLE,
        )
    }

    /// Takes what was logged in a context so far.
    pub(crate) fn take(context: &Context) -> Self {
        context.get_data::<Shared>().map_or_else(Self::default, |shared| shared.0.take())
    }

    /// The last lines, to follow the message of an error.
    pub(crate) fn tail(&self) -> String {
        let skipped = self.lines.len().saturating_sub(TAIL_LINES_MAX);
        let mut text = String::new();
        for line in &self.lines[skipped..] {
            let head = if text.is_empty() { "\nlogged before it:\n  " } else { "\n  " };
            text.push_str(head);
            text.push_str(&line.text);
        }
        text
    }

    fn push(&mut self, level: Level, mut text: String) {
        if text.len() > LINE_MAX_BYTES {
            text.truncate(text.floor_char_boundary(LINE_MAX_BYTES));
            text.push('…');
        }
        if self.lines.len() >= LINES_MAX || self.bytes + text.len() > TOTAL_MAX_BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes += text.len();
        self.lines.push(Line { level, text });
    }
}

fn debug(_: &JsValue, values: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    write(Level::Debug, values, context)
}

fn log(_: &JsValue, values: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    write(Level::Log, values, context)
}

fn info(_: &JsValue, values: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    write(Level::Info, values, context)
}

fn warn(_: &JsValue, values: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    write(Level::Warn, values, context)
}

fn error(_: &JsValue, values: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    write(Level::Error, values, context)
}

fn write(level: Level, values: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let parts: Vec<String> = values.iter().map(shown).collect();
    if let Some(shared) = context.get_data::<Shared>() {
        shared.0.borrow_mut().push(level, parts.join(" "));
    }
    Ok(JsValue::undefined())
}

/// Text as it is, anything else as an inspector shows it. Runs no code of the program.
fn shown(value: &JsValue) -> String {
    match value.as_string() {
        Some(text) => text.to_std_string_lossy(),
        None => value.display().to_string(),
    }
}
