//! One program, from text to result.
//!
//! A program is parsed as a script, whose value is that of its last expression. One that does
//! not parse so, because it has `return` or `await` at its top, is parsed as the body of an async
//! function, whose value is what it returns. The invariant: every program gets a context of its
//! own, without module loader, timers or host objects other than `input` and `console`.

use std::path::Path;
use std::rc::Rc;

use boa_engine::builtins::promise::PromiseState;
use boa_engine::context::HostHooks;
use boa_engine::module::IdleModuleLoader;
use boa_engine::object::builtins::JsPromise;
use boa_engine::property::Attribute;
use boa_engine::{Context, JsError, JsResult, JsValue, Script, Source, js_string};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::console::{Console, Line};
use crate::failure::Failure;
use crate::jobs::{JOBS_MAX, Jobs};
use crate::value::{self, Json, Kind};

/// Calls within calls. The engine's own default; each may take some stack of the sandbox.
const RECURSION_MAX: usize = 512;
const ARRAY_BUFFER_MAX_BYTES: u64 = 16 << 20;
const MESSAGE_MAX_BYTES: usize = 8 << 10;
const WRAPPER_HEAD: &str = "(async () => {";
const WRAPPER_TAIL: &str = "\n})()";

/// What a program gave.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Evaluation {
    /// The result as JSON; null for undefined, a function or a symbol.
    #[schemars(with = "serde_json::Value")]
    pub(crate) value: Box<RawValue>,
    /// What the result was before it became JSON.
    pub(crate) kind: Kind,
    /// What the program logged, in order; at most 200 lines and 64 KiB.
    pub(crate) console: Vec<Line>,
    /// Lines logged beyond that.
    pub(crate) console_dropped: u64,
}

struct Hooks;

impl HostHooks for Hooks {
    fn max_buffer_size(&self, _: &mut Context) -> u64 {
        ARRAY_BUFFER_MAX_BYTES
    }
}

/// Runs a program.
///
/// # Errors
/// The program's own failure.
pub(crate) fn evaluate(code: &str, input: &serde_json::Value) -> Result<Evaluation, Failure> {
    evaluate_with(code, input, Jobs::new(JOBS_MAX))
}

fn evaluate_with(code: &str, input: &serde_json::Value, jobs: Jobs) -> Result<Evaluation, Failure> {
    let jobs = Rc::new(jobs);
    let mut context = context(Rc::clone(&jobs)).map_err(engine)?;
    let json = prepare(&mut context, input).map_err(engine)?;
    let outcome = run(code, &mut context);
    if jobs.is_stopped() {
        return Err(Failure::TooManyJobs { max: jobs.max() });
    }
    let text = outcome.and_then(|settled| match settled {
        Some(value) => Ok(Some((Kind::of(&value), json.text_of(&value, &mut context)?))),
        None => Ok(None),
    });
    let console = Console::take(&context);
    match text {
        Ok(Some((kind, json))) => finish(kind, json, console),
        Ok(None) => Err(Failure::NeverSettles { console: console.tail() }),
        Err(error) => Err(Failure::Exception { message: message(&error), console: console.tail() }),
    }
}

fn context(jobs: Rc<Jobs>) -> JsResult<Context> {
    let mut context = Context::builder()
        .job_executor(jobs)
        .module_loader(Rc::new(IdleModuleLoader))
        .host_hooks(Rc::new(Hooks))
        // Nobody else could wake a program that waits.
        .can_block(false)
        .build()?;
    context.runtime_limits_mut().set_recursion_limit(RECURSION_MAX);
    Ok(context)
}

fn prepare(context: &mut Context, input: &serde_json::Value) -> JsResult<Json> {
    Console::install(context)?;
    let json = Json::of(context)?;
    let input = json.parse(&input.to_string(), context)?;
    let attributes = Attribute::WRITABLE | Attribute::ENUMERABLE | Attribute::CONFIGURABLE;
    context.register_global_property(js_string!("input"), input, attributes)?;
    Ok(json)
}

/// The program's value, awaited where it is a promise; `None` for one that never settles.
fn run(code: &str, context: &mut Context) -> JsResult<Option<JsValue>> {
    let value = parse(code, context)?.evaluate(context)?;
    context.run_jobs()?;
    let promise = value.as_object().and_then(|object| JsPromise::from_object(object).ok());
    match promise.map(|promise| promise.state()) {
        None => Ok(Some(value)),
        Some(PromiseState::Fulfilled(value)) => Ok(Some(value)),
        Some(PromiseState::Rejected(reason)) => Err(JsError::from_opaque(reason)),
        Some(PromiseState::Pending) => Ok(None),
    }
}

fn parse(code: &str, context: &mut Context) -> JsResult<Script> {
    let path = Path::new("program");
    let as_script = Script::parse(Source::from_bytes(code).with_path(path), None, context);
    as_script.or_else(|error| {
        let wrapped = format!("{WRAPPER_HEAD}{code}{WRAPPER_TAIL}");
        // The first error is the one that is about the text the caller knows.
        Script::parse(Source::from_bytes(&wrapped).with_path(path), None, context)
            .map_err(|_| error)
    })
}

fn finish(kind: Kind, json: String, console: Console) -> Result<Evaluation, Failure> {
    value::check(&json)?;
    let value = RawValue::from_string(json).map_err(|error| Failure::Engine(error.to_string()))?;
    Ok(Evaluation { value, kind, console: console.lines, console_dropped: console.dropped })
}

/// The exception and where it comes from.
fn message(error: &JsError) -> String {
    let mut message = error.to_string();
    if message.len() > MESSAGE_MAX_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX_BYTES));
        message.push('…');
    }
    message
}

fn engine(error: JsError) -> Failure {
    Failure::Engine(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Level;
    use serde_json::{Value, json};

    fn evaluated(code: &str) -> Evaluation {
        evaluate(code, &Value::Null).expect("a result")
    }

    fn value_of(code: &str, input: Value) -> Value {
        let evaluation = evaluate(code, &input).expect("a result");
        serde_json::from_str(evaluation.value.get()).expect("json")
    }

    fn failure(code: &str) -> String {
        evaluate(code, &Value::Null).expect_err("a failure").to_string()
    }

    #[test]
    fn the_value_is_that_of_the_last_expression() {
        assert_eq!(value_of("let a = 1; a + 2", Value::Null), json!(3));
        assert_eq!(
            value_of("({a: [1, 'x', null, true]})", Value::Null),
            json!({"a": [1, "x", null, true]})
        );
        assert_eq!(evaluated("let a = 1").kind, Kind::Undefined);
    }

    #[test]
    fn the_input_is_a_value_of_the_language() {
        let input = json!({"0": "zero", "list": [1, 2.5, 5_000_000_000_i64], "text": "grüße 🎉"});
        assert_eq!(
            value_of("[input[0], input.list[2] + 1, input.text.length]", input),
            json!(["zero", 5_000_000_001_i64, 8])
        );
        assert_eq!(value_of("const input = 2; input", json!(1)), json!(2), "it can be shadowed");
    }

    #[test]
    fn return_and_await_may_stand_at_the_top() {
        assert_eq!(value_of("if (input) { return 'yes' } return 'no'", json!(true)), json!("yes"));
        assert_eq!(
            value_of("const x = await Promise.resolve(4); return x * 2", Value::Null),
            json!(8)
        );
        assert_eq!(value_of("return 1 // done", Value::Null), json!(1));
    }

    #[test]
    fn a_promise_is_awaited() {
        assert_eq!(value_of("Promise.all([1, Promise.resolve(2)])", Value::Null), json!([1, 2]));
        let error = failure("Promise.reject(new TypeError('later'))");
        assert!(error.contains("TypeError: later"), "{error}");
        assert!(failure("new Promise(() => {})").contains("never settles"));
    }

    #[test]
    fn an_endless_chain_of_promises_is_stopped() {
        let code = "const next = () => Promise.resolve().then(next); next(); 1";
        let result = evaluate_with(code, &Value::Null, Jobs::new(100));
        assert!(matches!(result, Err(Failure::TooManyJobs { max: 100 })));
    }

    #[test]
    fn what_json_has_not_is_null_and_its_kind_says_what_it_was() {
        for (code, kind) in [
            ("undefined", Kind::Undefined),
            ("(() => 1)", Kind::Function),
            ("Symbol('x')", Kind::Symbol),
            ("null", Kind::Null),
            ("NaN", Kind::Number),
        ] {
            let evaluation = evaluated(code);
            assert_eq!((evaluation.value.get(), evaluation.kind), ("null", kind), "{code}");
        }
        let evaluation = evaluated("2n ** 70n");
        assert_eq!(
            (evaluation.value.get(), evaluation.kind),
            ("\"1180591620717411303424\"", Kind::Bigint)
        );
    }

    #[test]
    fn the_console_is_captured_with_levels() {
        let evaluation =
            evaluated("console.log('a', 1, [2]); console.warn('b'); console.error('c'); 0");
        let lines: Vec<_> =
            evaluation.console.iter().map(|line| (line.level, line.text.as_str())).collect();
        assert_eq!(lines, [(Level::Log, "a 1 [ 2 ]"), (Level::Warn, "b"), (Level::Error, "c")]);
    }

    #[test]
    fn a_flood_of_lines_is_counted_not_kept() {
        let evaluation = evaluated("for (let i = 0; i < 1000; i++) console.log('x'.repeat(1000))");
        assert_eq!(evaluation.console.len(), 65);
        assert_eq!(evaluation.console_dropped, 935);
        let evaluation = evaluated("console.log('é'.repeat(5000))");
        assert!(evaluation.console[0].text.len() <= (2 << 10) + 3);
    }

    #[test]
    fn an_exception_has_its_message_its_place_and_what_was_logged() {
        let error = failure("console.log('so far');\nfunction f() {\n  null.x;\n}\nf()");
        assert!(error.starts_with("TypeError: "), "{error}");
        assert!(error.contains(":3:"), "{error}");
        assert!(error.contains("logged before it:\n  so far"), "{error}");
        let error = failure("throw {code: 1}");
        assert!(error.contains("code"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_parse_says_where() {
        let error = failure("let a = 1;\nlet b = = 2;");
        assert!(error.contains("SyntaxError") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn endless_recursion_is_an_exception() {
        let error = failure("function f() { return f() + 1 }; f()");
        assert!(error.to_lowercase().contains("limit") || error.contains("recursion"), "{error}");
    }

    #[test]
    fn a_program_cannot_forge_its_result() {
        assert_eq!(value_of("JSON.stringify = () => '\"forged\"'; 1", Value::Null), json!(1));
        assert_eq!(value_of("delete globalThis.JSON; [1]", Value::Null), json!([1]));
    }

    #[test]
    fn nothing_of_the_host_is_in_reach() {
        for name in ["fetch", "require", "process", "setTimeout", "XMLHttpRequest", "Deno", "Intl"]
        {
            assert_eq!(
                value_of(&format!("typeof {name}"), Value::Null),
                json!("undefined"),
                "{name}"
            );
        }
        let error = failure("import('./other.js')");
        assert!(error.contains("module resolution is disabled"), "{error}");
    }

    #[test]
    fn a_result_that_cannot_be_carried_says_why() {
        assert!(failure("const a = {}; a.a = a; a").contains("TypeError"));
        assert!(failure("({n: 1n})").contains("TypeError"));
        assert!(failure("'x'.repeat(500000)").contains("return less"));
        assert!(
            failure("let a = 1; for (let i = 0; i < 40; i++) a = [a]; a").contains("40 levels")
        );
    }

    #[test]
    fn half_a_surrogate_pair_still_gives_json() {
        assert_eq!(value_of("'\\ud83c'", Value::Null), json!("\u{FFFD}"));
        assert_eq!(value_of("'\\ud83c\\udf89'", Value::Null), json!("🎉"));
    }

    #[test]
    fn buffers_are_bounded() {
        assert!(failure("new ArrayBuffer(32 * 1024 * 1024)").contains("RangeError"));
    }
}
