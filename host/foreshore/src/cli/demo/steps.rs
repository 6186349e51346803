//! What the demonstration shows: each step a call, and what has to come of it.
//!
//! Nothing is staged. A step names a tool, arguments and limits; its check looks at what the
//! host gave back.

use foreshore_domain::call::CallError;
use foreshore_domain::limits::LimitsPatch;
use foreshore_domain::outcome::{CallFailure, Outcome};
use serde_json::{Value as Json, json};

/// A call and what has to come of it.
pub(super) struct Step {
    /// The name in `--json`.
    pub(super) name: &'static str,
    /// What it shows, for people.
    pub(super) shows: &'static str,
    pub(super) tool: &'static str,
    pub(super) arguments: Json,
    pub(super) limits: LimitsPatch,
    pub(super) expects: Expects,
}

/// What has to come of a step.
pub(super) enum Expects {
    /// A structured result of which this makes lines for people, or says what is wrong with it.
    Result(fn(&Json) -> Result<String, String>),
    /// A refusal with this code.
    Refusal(&'static str),
}

/// Where the guests see the sources that are searched, and the table.
pub(super) const SOURCES: &str = "/source";
pub(super) const TABLES: &str = "/tables";

/// The one place that requests may go to; nothing is sent there.
pub(super) const HTTP_RULE: &str = "GET https://api.example.org/v2/*";

/// All steps, in order.
pub(super) fn all() -> Vec<Step> {
    let unlimited = LimitsPatch::default();
    let planets = format!("{TABLES}/planets.csv");
    vec![
        Step {
            name: "search",
            shows: "Search this repository's own sources: where is the one door out of a sandbox?",
            tool: "files.search",
            arguments: json!({
                "path": SOURCES,
                "pattern": r"^impl Effects for \w+",
                "include": ["*.rs"],
                "exclude": ["target"],
            }),
            limits: unlimited,
            expects: Expects::Result(found_door),
        },
        Step {
            name: "query",
            shows: "Query a CSV file with jq: which planets are less dense than water?",
            tool: "query.jq",
            arguments: json!({
                "path": planets,
                "filter": "select(.density_kg_m3 < 1000) | {planet, density_kg_m3}",
            }),
            limits: unlimited,
            expects: Expects::Result(found_saturn),
        },
        Step {
            name: "javascript",
            shows: "Run JavaScript: does Kepler's third law hold for these years and distances?",
            tool: "interpret.javascript",
            arguments: json!({ "code": KEPLER, "input": kepler_input() }),
            limits: unlimited,
            expects: Expects::Result(kepler_holds),
        },
        Step {
            name: "refused-file",
            shows: "Refused: a file outside of what was granted",
            tool: "files.read",
            arguments: json!({ "path": "/etc/passwd" }),
            limits: unlimited,
            expects: Expects::Refusal("mount_not_granted"),
        },
        Step {
            name: "refused-host",
            shows: "Refused: a host that no rule allows",
            tool: "fetch.request",
            arguments: json!({ "url": "https://example.com/upload" }),
            limits: unlimited,
            expects: Expects::Refusal("http_not_granted"),
        },
        Step {
            name: "out-of-fuel",
            shows: "Stopped: a loop without end, by its fuel",
            tool: "interpret.javascript",
            arguments: json!({ "code": "for (;;) {}" }),
            limits: LimitsPatch { fuel: Some(200_000_000), ..unlimited },
            expects: Expects::Refusal("fuel_exhausted"),
        },
        Step {
            name: "out-of-memory",
            shows: "Stopped: a program that hoards memory, by its memory limit",
            tool: "interpret.javascript",
            arguments: json!({
                "code": "const hoard = []; for (;;) hoard.push(new Uint8Array(1 << 20))",
            }),
            limits: LimitsPatch { memory_max_bytes: Some(16 << 20), ..unlimited },
            expects: Expects::Refusal("memory_exhausted"),
        },
    ]
}

/// The square of a year over the cube of the distance, with the Earth's as unit; 1 for all.
const KEPLER: &str = "\
input.map(({ planet, year_days, distance }) => ({
  planet, ratio: Number(((year_days / 365.2) ** 2 / (distance / 149.6) ** 3).toFixed(3)),
}))";

/// The columns of the same table; figures of NASA's planetary fact sheet.
fn kepler_input() -> Json {
    let rows = super::PLANETS.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |column: usize| cells.get(column).and_then(|cell| cell.parse::<f64>().ok());
        json!({ "planet": cells.first(), "distance": number(6), "year_days": number(7) })
    });
    rows.collect()
}

fn found_door(result: &Json) -> Result<String, String> {
    let matches = result["matches"].as_array().map(Vec::as_slice).unwrap_or_default();
    let scanned = result["files_scanned"].as_u64().unwrap_or_default();
    if matches.is_empty() || scanned == 0 {
        return Err(format!("nothing found in {scanned} files"));
    }
    let mut lines: Vec<String> = matches
        .iter()
        .map(|found| {
            let path = found["path"].as_str().unwrap_or_default();
            format!("{path}:{}  {}", found["line"], found["text"].as_str().unwrap_or_default())
        })
        .collect();
    lines.push(format!("{} in {scanned} files", matches.len()));
    Ok(lines.join("\n"))
}

fn found_saturn(result: &Json) -> Result<String, String> {
    let results = &result["results"];
    if *results == json!([{ "planet": "Saturn", "density_kg_m3": 687 }]) {
        Ok(format!("{} of {} rows", results, result["inputs_read"]))
    } else {
        Err(format!("expected Saturn alone, found {results}"))
    }
}

fn kepler_holds(result: &Json) -> Result<String, String> {
    let rows = result["value"].as_array().map(Vec::as_slice).unwrap_or_default();
    let near_one = |row: &Json| row["ratio"].as_f64().is_some_and(|r| (r - 1.0).abs() < 0.03);
    if rows.len() != 8 || !rows.iter().all(near_one) {
        return Err(format!("expected eight ratios near 1, found {}", result["value"]));
    }
    let ratios: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row["planet"].as_str().unwrap_or_default(), row["ratio"]))
        .collect();
    Ok(ratios.join("  "))
}

/// What came of a step: lines for people and whether it was as expected.
pub(super) struct Verdict {
    pub(super) ok: bool,
    pub(super) text: String,
    pub(super) code: Option<&'static str>,
    pub(super) grant: Option<String>,
}

impl Step {
    /// Holds what came of the call against what had to.
    pub(super) fn judge(&self, result: &Result<Outcome, Box<CallFailure>>) -> Verdict {
        match (&self.expects, result) {
            (Expects::Result(check), Ok(outcome)) if !outcome.result.is_error => {
                let json = outcome.result.structured.as_ref().map_or("null", |json| json.get());
                let checked = check(&serde_json::from_str(json).unwrap_or_default());
                let ok = checked.is_ok();
                Verdict { ok, text: checked.unwrap_or_else(|why| why), code: None, grant: None }
            }
            (Expects::Refusal(code), Err(failure)) => {
                refusal(&failure.error, failure.error.code() == *code)
            }
            (_, Err(failure)) => refusal(&failure.error, false),
            (_, Ok(outcome)) => Verdict {
                ok: false,
                text: format!("came back with: {}", super::super::call::rendered(&outcome.result)),
                code: None,
                grant: None,
            },
        }
    }
}

fn refusal(error: &CallError, ok: bool) -> Verdict {
    let (text, grant) = match error {
        CallError::Denied(denial) => (denial.subject.clone(), Some(denial.grant.clone())),
        error => (error.to_string(), None),
    };
    Verdict { ok, text, code: Some(error.code()), grant }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_eight_planets_with_years_and_distances() {
        let input = kepler_input();
        let rows = input.as_array().expect("rows");
        assert_eq!(rows.len(), 8);
        assert!(rows.iter().all(|row| row["distance"].is_f64() && row["year_days"].is_f64()));
    }

    #[test]
    fn a_result_that_is_not_as_expected_is_told() {
        assert!(found_door(&json!({ "matches": [], "files_scanned": 100 })).is_err());
        assert!(found_saturn(&json!({ "results": [] })).is_err());
        let ratios: Vec<Json> = (0..8).map(|_| json!({ "planet": "x", "ratio": 1.5 })).collect();
        assert!(kepler_holds(&json!({ "value": ratios })).is_err());
    }
}
