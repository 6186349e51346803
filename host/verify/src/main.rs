//! `foreshore-verify`: holds an exported journal to its chain and its signed checkpoints.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use foreshore_verify::{Checkpoint, Failure, Report, Trust, parse_key, verify};

const USAGE: &str = "\
Usage: foreshore-verify [--json] [--key HEX] --checkpoints FILE EXPORT...

Holds exported events to their hash chain, and the chain to signed checkpoints.
Exports are named in order: archives first, then the journal.

  --checkpoints FILE  checkpoints, one JSON object a line; best a copy kept on another machine
  --key HEX           the public key that must have signed them; without it, the key that the
                      newest checkpoint names is taken
  --json              the answer as one JSON object

Exit code: 0 verified, 1 something is wrong (the first event it is seen at is named),
2 usage, or a file that cannot be read.";

struct Arguments {
    json: bool,
    trust: Trust,
    checkpoints: PathBuf,
    exports: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(report) => {
            println!("{}", verified(&report, &arguments));
            ExitCode::SUCCESS
        }
        Err(Failure::Wrong(finding)) => {
            if arguments.json {
                let (seq, what) = (finding.seq, quoted(&finding.what));
                println!("{{\"verified\":false,\"first_bad_seq\":{seq},\"problem\":{what}}}");
            } else {
                println!("NOT verified: event {}: {}", finding.seq, finding.what);
            }
            ExitCode::from(1)
        }
        Err(Failure::Io(error)) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn arguments(given: impl Iterator<Item = std::ffi::OsString>) -> Result<Option<Arguments>, String> {
    let (mut json, mut trust, mut checkpoints) = (false, Trust::FirstSeen, None);
    let mut exports = Vec::new();
    let mut given = given;
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(None),
            Some("--json") => json = true,
            Some("--checkpoints") => {
                checkpoints = Some(given.next().ok_or("--checkpoints needs a file")?.into());
            }
            Some("--key") => {
                let key = given.next().ok_or("--key needs a key")?;
                let key = key.to_str().and_then(parse_key);
                trust = Trust::Key(key.ok_or("--key takes 64 hex digits")?);
            }
            Some(option) if option.starts_with("--") => {
                return Err(format!("there is no option {option}"));
            }
            _ => exports.push(argument.into()),
        }
    }
    let checkpoints = checkpoints.ok_or("--checkpoints is needed")?;
    if exports.is_empty() {
        return Err("name an export".to_owned());
    }
    Ok(Some(Arguments { json, trust, checkpoints, exports }))
}

fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let named = |path: &PathBuf, error: &std::io::Error| {
        Failure::Io(std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let text = std::fs::read_to_string(&arguments.checkpoints)
        .map_err(|error| named(&arguments.checkpoints, &error))?;
    let checkpoints = Checkpoint::parse_all(&text)?;
    let mut exports = Vec::new();
    for path in &arguments.exports {
        let file = File::open(path).map_err(|error| named(path, &error))?;
        exports.push(BufReader::with_capacity(1 << 20, file));
    }
    verify(exports, &checkpoints, arguments.trust)
}

fn verified(report: &Report, arguments: &Arguments) -> String {
    let Report { first_seq, last_seq, checkpoints, signed_to, .. } = report;
    let (events, tip, key) = (report.events(), hex(&report.tip_hash), hex(&report.key));
    let pinned = matches!(arguments.trust, Trust::Key(_));
    if arguments.json {
        return format!(
            "{{\"verified\":true,\"events\":{events},\"first_seq\":{first_seq},\"last_seq\":{last_seq},\"tip_hash\":\"{tip}\",\"checkpoints\":{checkpoints},\"signed_to\":{signed_to},\"key\":\"{key}\",\"key_pinned\":{pinned}}}"
        );
    }
    let whose = if pinned { "the key given" } else { "the key that they name" };
    format!(
        "verified: {events} events, {first_seq} to {last_seq}; {checkpoints} checkpoints, signed up to event {signed_to} with {whose}\nkey  {key}\ntip  {tip}"
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A JSON string. What is wrong is said in this program's own words: nothing of them needs more.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
