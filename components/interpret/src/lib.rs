//! `interpret`: run a program in a language that a model writes well.
//!
//! The program runs inside of this component, which runs in the host's sandbox: it reaches no
//! file, no network and no other call, and the call's own limits stop it. The invariant: what
//! the program does cannot change how its result is made into JSON.

mod console;
mod evaluation;
mod failure;
mod jobs;
mod value;

use foreshore_sdk::{Error, tool};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::evaluation::Evaluation;
use crate::failure::Failure;

/// Arguments of `javascript`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Program {
    /// JavaScript (ECMAScript 2024, sloppy mode unless it says "use strict"). The value of the
    /// last expression is the result; `return` and `await` may be used at the top, and then
    /// `return` gives the result.
    #[schemars(length(min = 1, max = 262144))]
    code: String,
    /// Any JSON value; the program sees it as the global variable `input`.
    #[serde(default)]
    input: serde_json::Value,
}

/// Run JavaScript and give the value of its last expression as JSON. Use it to compute, convert,
/// check or summarize data exactly. The program sees "input" as a global variable, can use
/// console.log, and has the language's own library (Math, JSON, Date, RegExp, Map, Promise,
/// typed arrays); there is no network, no file system, no timers, no modules, no Intl. Each call
/// starts afresh.
///
/// The result is made as JSON.stringify would make it: functions and undefined are left out, a
/// Map is {}; return plain objects, arrays, strings and numbers. An exception is a failure with
/// its message, the line and column, and what was logged before it.
///
/// Example: {"code": "input.map(x => x.price * x.count).reduce((a, b) => a + b, 0)",
/// "input": [{"price": 2.5, "count": 4}]} gives {"value": 10, "kind": "number", "console": []}
#[tool(title = "Run JavaScript", read_only, idempotent)]
fn javascript(program: Program) -> Result<Evaluation, Error> {
    Ok(evaluation::evaluate(&program.code, &program.input)?)
}

foreshore_sdk::export!(javascript);

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::failed(failure.to_string())
    }
}
