//! `query`: filter and reshape JSON, NDJSON and CSV with jq's language.
//!
//! The language is jaq's, without what reaches out of it: no environment, no clock, no time zone
//! of the machine, no modules. Data is read row by row where its form allows. The invariant: a
//! query reads what it is given and changes nothing.

mod answer;
mod failure;
mod filter;
mod inputs;
mod json;
mod rows;

use foreshore_sdk::{Error, tool};

use crate::answer::{Answer, Query};

/// Query JSON, NDJSON or CSV with a jq filter. Data comes from a file in a granted mount ("path"),
/// as text ("text") or as a JSON value ("json"). Each input value goes through the filter in turn:
/// each JSON value, each line of NDJSON, each row of CSV as an object with the header's names. To
/// look at all of them at once (count, sort, group, sum) set "mode": "slurp", which gives the
/// filter one array. For files too large for that, "mode": "null" runs the filter once, and it
/// reads the inputs one by one with inputs.
///
/// The language is jq 1.7's as implemented by jaq, with its library (select, map, group_by, sort_by,
/// test, sub, @csv, fromdateiso8601 and so on). Not there, since they reach out of the query: env,
/// $ENV, now, localtime, strflocaltime, import, include. debug and stderr pass on and show nothing.
///
/// Examples: {"path": "/data/users.json", "filter": ".users[] | select(.age > 30) | .name"};
/// {"path": "/data/sales.csv", "mode": "slurp", "filter":
/// "group_by(.region) | map({region: .[0].region, total: map(.amount) | add})"};
/// {"path": "/data/log.ndjson", "mode": "null", "filter":
/// "reduce inputs as $x (0; . + $x.bytes)"}
#[tool(name = "jq", title = "Query with jq", read_only, idempotent)]
fn jq(query: Query) -> Result<Answer, Error> {
    answer::answer(&query).map_err(Error::from)
}

foreshore_sdk::export!(jq);
