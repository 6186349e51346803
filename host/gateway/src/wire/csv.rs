//! Events as CSV (RFC 4180), for spreadsheets.
//!
//! A cell that a spreadsheet would take for a formula is given a quote in front, so that no text
//! which somebody else chose is ever computed (OWASP, "CSV injection").

use foreshore_control::store::Event;
use foreshore_domain::moment::rfc3339;
use serde_json::Value;

/// The first line.
const HEAD: &str = "seq,at,stream,kind,component,principal,code,payload\r\n";

/// A page of events.
pub(crate) fn events(events: &[Event]) -> String {
    let mut text = HEAD.to_owned();
    for event in events {
        let payload: Value = serde_json::from_slice(&event.payload).unwrap_or_default();
        let named = |names: &[&str]| {
            let found = names.iter().find_map(|name| payload[*name].as_str());
            found.unwrap_or_default().to_owned()
        };
        let cells = [
            event.seq.to_string(),
            rfc3339(event.at_unix_ms),
            event.stream.clone(),
            event.kind.clone(),
            named(&["component"]),
            named(&["principal", "by", "subject"]),
            named(&["code", "outcome"]),
            String::from_utf8_lossy(&event.payload).into_owned(),
        ];
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            push(&mut text, cell);
        }
        text.push_str("\r\n");
    }
    text
}

fn push(text: &mut String, cell: &str) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_plain = !is_formula && !cell.contains([',', '"', '\r', '\n']);
    if is_plain {
        text.push_str(cell);
        return;
    }
    text.push('"');
    if is_formula {
        text.push('\'');
    }
    text.push_str(&cell.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> String {
        let mut cell = String::new();
        push(&mut cell, text);
        cell
    }

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_never_computed() {
        assert_eq!(cell("plain text"), "plain text");
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("say \"x\"\nnow"), "\"say \"\"x\"\"\nnow\"");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert!(cell(formula).starts_with("\"'"), "{formula:?}");
        }
    }

    #[test]
    fn an_event_is_a_line_with_what_is_asked_for_most() {
        let payload = br#"{"code":"permission_denied","principal":"key_1","path":"/v1/x"}"#;
        let event = Event {
            seq: 7,
            at_unix_ms: 0,
            tenant: "default".to_owned(),
            stream: "host".to_owned(),
            kind: "request.refused".to_owned(),
            payload: payload.to_vec(),
            previous_hash: [0; 32],
            hash: [0; 32],
        };
        let text = events(&[event]);
        let line = text.lines().nth(1).expect("a line");
        let start = "7,1970-01-01T00:00:00.000Z,host,request.refused,,key_1,permission_denied,\"{";
        assert!(line.starts_with(start), "{line}");
        assert_eq!(text.lines().next(), Some(HEAD.trim_end()));
    }
}
