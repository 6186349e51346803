//! `jq`: a query, from its arguments to its answer.
//!
//! Results are written as they come, and the query stops as soon as it has enough of them: of a
//! large file no more is read than was asked for. The invariant: an answer says whether it is all
//! there is, and how many inputs it took.

use std::cell::Cell;
use std::collections::BTreeMap;

use jaq_json::Val;
use jaq_std::input::RcIter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::filter::{Filter, Step};
use crate::inputs::{self, CsvOptions, Format, Inputs};
use crate::json;
use crate::rows::{Fields, Header};

/// The host's default limit for a result is 1 MiB, and a result is carried twice.
const RESULTS_MAX_BYTES: usize = 400 << 10;
const MESSAGE_MAX_BYTES: usize = 1 << 10;

/// Arguments of `jq`: a filter, and data from one of `path`, `text` and `json`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// A filter in jq's language, such as `.items[] | select(.price > 10) | .name`.
    #[schemars(length(min = 1, max = 65536))]
    filter: String,
    /// Absolute path of a file in a granted mount, such as `/data/users.json`.
    #[serde(default)]
    path: Option<String>,
    /// The data as text: JSON, NDJSON or CSV, as `format` says.
    #[serde(default)]
    text: Option<String>,
    /// The data as one JSON value.
    #[serde(default)]
    json: Option<serde_json::Value>,
    /// The form of the data.
    #[serde(default)]
    format: Format,
    /// How the inputs meet the filter.
    #[serde(default)]
    mode: Mode,
    /// CSV: the character between fields; the default is a comma, and a tab for .tsv.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1))]
    delimiter: Option<String>,
    /// CSV: the first row names the columns and each row is an object. If false, each row is an
    /// array.
    #[serde(default = "yes")]
    header: bool,
    /// CSV: numbers, true and false become values and empty fields null; 007 stays a text. If
    /// false, all fields are texts.
    #[serde(default = "yes")]
    typed: bool,
    /// Values for the filter: {"min": 10} makes $min.
    #[serde(default)]
    variables: BTreeMap<String, serde_json::Value>,
    /// Give the results as lines of `output` instead of `results`, texts without quotes: for
    /// @csv, @tsv and texts.
    #[serde(default)]
    raw: bool,
    /// The most results to give; the query stops there.
    #[serde(default = "results_default")]
    #[schemars(range(min = 1, max = 10000))]
    limit: u32,
}

/// How the inputs meet the filter.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// The filter runs once for each input.
    #[default]
    Each,
    /// The filter runs once, with one array of all inputs.
    Slurp,
    /// The filter runs once, with null, and reads with `input` and `inputs`.
    Null,
}

/// The results of a query.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Answer {
    /// The results in order; empty with `raw`.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub(crate) results: Vec<Box<RawValue>>,
    /// With `raw`: the results as lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
    /// How many results there are here.
    pub(crate) count: u32,
    /// How many inputs were read.
    pub(crate) inputs_read: u64,
    /// There may be more results than these.
    pub(crate) truncated: bool,
    /// Why the query stopped early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stopped_by: Option<StoppedBy>,
}

/// Why a query stopped early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoppedBy {
    /// `limit` was reached.
    Limit,
    /// The results fill what an answer can carry: select less.
    ResultSize,
    /// The filter called `halt`.
    Halt,
}

pub(crate) fn answer(query: &Query) -> Result<Answer, Failure> {
    let filter = Filter::compile(&query.filter, query.variables()?)
        .map_err(|message| Failure::invalid("/filter", message))?;
    let read = Cell::new(0_u64);
    // The inputs' own failure, which the filter would only see as a text.
    let broken = Cell::new(None);
    let inputs = query.inputs()?.map_while(|input| match input {
        Ok(input) => {
            read.set(read.get() + 1);
            Some(Ok(input))
        }
        Err(failure) => {
            let message = failure.to_string();
            // The iterator is not asked again after this.
            broken.set(Some(failure));
            Some(Err(message))
        }
    });
    let inputs: RcIter<_> = RcIter::new(inputs);
    let mut results = Results::new(query);
    run(query, &filter, &inputs, &mut results).map_err(|message| match broken.take() {
        Some(failure) => failure,
        None => Failure::Run { input: read.get(), message: cut(message) },
    })?;
    Ok(results.into_answer(read.get()))
}

/// Runs the filter over the inputs as the mode says, until they end or there is enough.
fn run<'a>(
    query: &Query,
    filter: &'a Filter,
    inputs: &'a RcIter<impl Iterator<Item = Result<Val, String>> + 'a>,
    results: &mut Results,
) -> Result<(), String> {
    let shared = filter.shared(inputs);
    let mut source = inputs;
    let one = |input: Val, results: &mut Results| -> Result<(), String> {
        for step in filter.run(&shared, input) {
            match step {
                Step::Value(value) => results.push(&value)?,
                Step::Failed(message) => return Err(message),
                Step::Halted => results.stopped_by = Some(StoppedBy::Halt),
            }
            if results.stopped_by.is_some() {
                break;
            }
        }
        Ok(())
    };
    match query.mode {
        Mode::Null => one(Val::Null, results),
        Mode::Slurp => one(source.collect::<Result<Val, String>>()?, results),
        Mode::Each => {
            for input in source.by_ref() {
                one(input?, results)?;
                if results.stopped_by.is_some() {
                    break;
                }
            }
            Ok(())
        }
    }
}

impl Query {
    fn inputs(&self) -> Result<Inputs<'_>, Failure> {
        let options = CsvOptions {
            delimiter: self.delimiter()?,
            header: if self.header { Header::First } else { Header::None },
            fields: if self.typed { Fields::Typed } else { Fields::Texts },
        };
        match (&self.path, &self.text, &self.json) {
            (Some(path), None, None) => inputs::of_file(path, self.format, options),
            (None, Some(text), None) => inputs::of_text(text, self.format, options),
            (None, None, Some(value)) => {
                let value =
                    value_of(value).map_err(|message| Failure::invalid("/json", message))?;
                Ok(Box::new(std::iter::once(Ok(value))))
            }
            (None, None, None) if self.mode == Mode::Null => Ok(Box::new(std::iter::empty())),
            _ => Err(Failure::invalid("", "give exactly one of \"path\", \"text\" and \"json\"")),
        }
    }

    fn delimiter(&self) -> Result<Option<u8>, Failure> {
        match self.delimiter.as_deref().map(str::as_bytes) {
            None => Ok(None),
            Some([byte]) if byte.is_ascii() && !b"\"\r\n".contains(byte) => Ok(Some(*byte)),
            Some(_) => Err(Failure::invalid(
                "/delimiter",
                "a delimiter is one ASCII character, and neither a quote nor a line end",
            )),
        }
    }

    fn variables(&self) -> Result<Vec<(String, Val)>, Failure> {
        let variable = |(name, value): (&String, &serde_json::Value)| {
            let is_name = name
                .starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && name.chars().all(|each| each.is_ascii_alphanumeric() || each == '_');
            if !is_name {
                return Err(Failure::invalid(
                    "/variables",
                    format!("{name:?} is not a name: letters, digits and _, not first a digit"),
                ));
            }
            let value =
                value_of(value).map_err(|message| Failure::invalid("/variables", message))?;
            Ok((format!("${name}"), value))
        };
        self.variables.iter().map(variable).collect()
    }
}

fn value_of(value: &serde_json::Value) -> Result<Val, String> {
    jaq_json::read::parse_single(value.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// The results so far.
struct Results {
    raw: bool,
    limit: u32,
    results: Vec<Box<RawValue>>,
    output: String,
    count: u32,
    bytes: usize,
    stopped_by: Option<StoppedBy>,
}

impl Results {
    fn new(query: &Query) -> Self {
        Self {
            raw: query.raw,
            limit: query.limit.max(1),
            results: Vec::new(),
            output: String::new(),
            count: 0,
            bytes: 0,
            stopped_by: None,
        }
    }

    /// Adds a result, or says that there is no room for it.
    fn push(&mut self, value: &Val) -> Result<(), String> {
        if self.count == self.limit {
            self.stopped_by = Some(StoppedBy::Limit);
            return Ok(());
        }
        let mut json = String::new();
        json::write(value, &mut json)
            .map_err(|error| format!("result {} cannot be given: {error}", self.count + 1))?;
        self.bytes += json.len() + 1;
        if self.bytes > RESULTS_MAX_BYTES {
            self.stopped_by = Some(StoppedBy::ResultSize);
            if self.count == 0 {
                return Err(format!(
                    "the first result has {} bytes of JSON, more than {RESULTS_MAX_BYTES}: select less",
                    json.len()
                ));
            }
            return Ok(());
        }
        self.count += 1;
        if self.raw {
            self.push_line(value, &json);
            return Ok(());
        }
        self.results.push(RawValue::from_string(json).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn push_line(&mut self, value: &Val, json: &str) {
        match value {
            Val::TStr(bytes) | Val::BStr(bytes) => {
                self.output.push_str(&String::from_utf8_lossy(bytes));
            }
            _ => self.output.push_str(json),
        }
        self.output.push('\n');
    }

    fn into_answer(self, inputs_read: u64) -> Answer {
        Answer {
            results: self.results,
            output: self.raw.then_some(self.output),
            count: self.count,
            inputs_read,
            truncated: matches!(self.stopped_by, Some(StoppedBy::Limit | StoppedBy::ResultSize)),
            stopped_by: self.stopped_by,
        }
    }
}

/// A message that quotes a value may be as long as the value.
fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_MAX_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX_BYTES));
        message.push('…');
    }
    message
}

fn yes() -> bool {
    true
}

fn results_default() -> u32 {
    1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answered(arguments: Value) -> Result<Answer, Failure> {
        answer(&serde_json::from_value(arguments).expect("arguments"))
    }

    fn results(arguments: Value) -> Value {
        let answer = answered(arguments).expect("an answer");
        serde_json::to_value(&answer.results).expect("json")
    }

    const CSV: &str = "region,amount\nnorth,10\nsouth,5\nnorth,2.5\n";

    #[test]
    fn a_value_goes_through_the_filter() {
        let data = json!({"users": [{"name": "Ada", "age": 36}, {"name": "Bob", "age": 20}]});
        assert_eq!(
            results(json!({"json": data, "filter": ".users[] | select(.age > 30) | .name"})),
            json!(["Ada"])
        );
    }

    #[test]
    fn each_row_is_an_input_and_slurp_gives_all_of_them() {
        let each = json!({"text": CSV, "format": "csv", "filter": "select(.amount > 4) | .region"});
        assert_eq!(results(each), json!(["north", "south"]));
        let slurped = json!({
            "text": CSV, "format": "csv", "mode": "slurp",
            "filter": "group_by(.region) | map({region: .[0].region, total: map(.amount) | add})",
        });
        assert_eq!(
            results(slurped),
            json!([[{"region": "north", "total": 12.5}, {"region": "south", "total": 5}]])
        );
    }

    #[test]
    fn a_filter_may_read_its_inputs_itself() {
        let query = json!({
            "text": CSV, "format": "csv", "mode": "null", "filter": "reduce inputs as $row (0; . + $row.amount)",
        });
        let answer = answered(query).expect("an answer");
        assert_eq!(answer.results[0].get(), "17.5");
        assert_eq!(answer.inputs_read, 3);
        assert_eq!(results(json!({"mode": "null", "filter": "[range(3)]"})), json!([[0, 1, 2]]));
    }

    #[test]
    fn the_query_stops_at_its_limit_and_reads_no_further() {
        let text = "1\n2\n3\n4\n";
        let answer = answered(json!({"text": text, "format": "ndjson", "filter": ".", "limit": 2}))
            .expect("an answer");
        assert_eq!((answer.count, answer.inputs_read), (2, 3));
        assert_eq!(answer.stopped_by, Some(StoppedBy::Limit));
        let answer = answered(json!({"text": text, "filter": ".", "limit": 4})).expect("an answer");
        assert!(!answer.truncated);
        let endless = answered(json!({"mode": "null", "filter": "repeat(1)", "limit": 5}));
        assert_eq!(endless.expect("an answer").count, 5);
    }

    #[test]
    fn an_answer_stays_within_what_can_be_carried() {
        let query = json!({"mode": "null", "filter": "range(1000) | [range(1000)]"});
        let answer = answered(query).expect("an answer");
        assert_eq!(answer.stopped_by, Some(StoppedBy::ResultSize));
        assert!(serde_json::to_string(&answer).expect("json").len() < RESULTS_MAX_BYTES + 1_000);
        let error =
            answered(json!({"mode": "null", "filter": "[range(500000)]"})).expect_err("too large");
        assert!(error.to_string().contains("select less"), "{error}");
    }

    #[test]
    fn raw_results_are_lines() {
        let query = json!({"text": CSV, "format": "csv", "raw": true, "filter": "[.amount, .region] | @csv"});
        let answer = answered(query).expect("an answer");
        assert_eq!(answer.output.as_deref(), Some("10,\"north\"\n5,\"south\"\n2.5,\"north\"\n"));
        assert!(answer.results.is_empty());
    }

    #[test]
    fn a_failure_says_which_input_it_was() {
        let error = answered(json!({"text": "1 2 [3]", "filter": ". + 1"})).expect_err("a failure");
        assert!(
            error.to_string().starts_with("the filter failed on input 3: cannot calculate"),
            "{error}"
        );
        let error = answered(json!({"text": "1\n{", "format": "ndjson", "filter": "."}))
            .expect_err("bad data");
        assert!(error.to_string().starts_with("text, line 2: "), "{error}");
        let error = answered(
            json!({"text": "1\n{", "format": "ndjson", "mode": "null", "filter": "[inputs]"}),
        );
        assert!(error.expect_err("bad data").to_string().starts_with("text, line 2: "));
    }

    #[test]
    fn variables_are_values_of_the_filter() {
        let query =
            json!({"json": [1, 20], "filter": "map(select(. > $min))", "variables": {"min": 10}});
        assert_eq!(results(query), json!([[20]]));
        let query = json!({"json": 1, "filter": ".", "variables": {"a b": 10}});
        assert!(matches!(answered(query), Err(Failure::Invalid { pointer: "/variables", .. })));
    }

    #[test]
    fn data_comes_from_exactly_one_place() {
        for query in [json!({"filter": "."}), json!({"filter": ".", "text": "1", "json": 1})] {
            assert!(matches!(answered(query), Err(Failure::Invalid { pointer: "", .. })));
        }
        let query = json!({"filter": ".", "text": "a", "format": "csv", "delimiter": "\""});
        assert!(matches!(answered(query), Err(Failure::Invalid { pointer: "/delimiter", .. })));
    }

    #[test]
    fn a_bad_filter_is_the_callers_fault() {
        let error = answered(json!({"json": 1, "filter": ".a |"})).expect_err("a bad filter");
        assert!(matches!(
            &error,
            Failure::Invalid { pointer: "/filter", message } if message.starts_with("line 1, column ")
        ));
    }
}
