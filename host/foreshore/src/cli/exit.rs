//! Exit codes, and how a failure reads on standard error.
//!
//! The codes are part of the interface: [`HELP`] documents them, scripts branch on them.
//! Invariant: this is the one place that maps a failure to a code.

use std::process::ExitCode;

use foreshore_domain::call::CallError;
use foreshore_domain::denial::Denial;
use foreshore_domain::outcome::CallFailure;

use super::output::{Paint, printable};
use crate::client::ApiProblem;
use crate::config::ConfigError;

/// Shown below `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  it worked
  1  the tool failed, a test case failed, or something else did
  2  the command line makes no sense
  3  unknown tool or record, or arguments that are refused
  4  denied: standard error says what would grant it; or a conflict: not what was expected is there
  5  a limit ended the call, or what is to be kept is too much
  6  overloaded, shutting down, or nothing can be recorded now: try again
  7  the configuration is refused, or the host cannot start

Configuration: defaults < file < environment (FORESHORE_SECTION__KEY) < flags";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    Failed,
    Usage,
    BadCall,
    Denied,
    Limit,
    Unavailable,
    Start,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::BadCall => 3,
            Self::Denied => 4,
            Self::Limit => 5,
            Self::Unavailable => 6,
            Self::Start => 7,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<&CallError> for Exit {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::UnknownTool { .. } | CallError::InvalidArguments { .. } => Self::BadCall,
            CallError::Denied(_) | CallError::Refused { .. } => Self::Denied,
            CallError::Limit { .. } => Self::Limit,
            CallError::Overloaded { .. }
            | CallError::ShuttingDown
            | CallError::StoreReadOnly { .. } => Self::Unavailable,
            // A trap, a host fault, a caller that went away, and what later versions add.
            _ => Self::Failed,
        }
    }
}

/// Why a command did not work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line parses and still makes no sense.
    Usage(String),
    /// The configuration is refused.
    Config(ConfigError),
    /// The host does not start.
    Start(anyhow::Error),
    /// A call did not run to its end.
    Call(Box<CallFailure>),
    /// Denied outside of a call: a component that is refused.
    Denied(Denial),
    /// The API refused it.
    Api(Box<ApiProblem>),
    /// Anything else.
    Other(anyhow::Error),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<Box<CallFailure>> for Failure {
    fn from(failure: Box<CallFailure>) -> Self {
        Self::Call(failure)
    }
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Config(_) | Self::Start(_) => Exit::Start,
            Self::Call(failure) => Exit::from(&failure.error),
            Self::Denied(_) => Exit::Denied,
            Self::Api(problem) => of_problem(problem),
            Self::Other(_) => Exit::Failed,
        }
    }

    /// What went wrong, for whoever goes on from it.
    pub(crate) fn cause(self) -> anyhow::Error {
        match self {
            Self::Usage(message) => anyhow::Error::msg(message),
            Self::Config(cause) => cause.into(),
            Self::Start(cause) | Self::Other(cause) => cause,
            Self::Call(failure) => anyhow::Error::msg(failure.error.to_string()),
            Self::Denied(denial) => anyhow::anyhow!("{}: {}", denial.code.as_str(), denial.subject),
            Self::Api(problem) => anyhow::anyhow!("{}: {}", problem.code, problem.detail),
        }
    }

    /// Says on standard error what went wrong.
    pub(crate) fn report(&self) {
        let paint = Paint::stderr();
        let error = paint.red("error");
        match self {
            Self::Usage(message) => eprintln!("{error}: {message}"),
            Self::Config(cause) => eprintln!("{error}: {cause}"),
            Self::Start(cause) | Self::Other(cause) => eprintln!("{error}: {cause:#}"),
            Self::Denied(denial) => eprintln!("{}", denied(&paint, denial)),
            Self::Api(problem) => {
                let text = printable(&problem.detail);
                eprintln!("{}: {text}", paint.red(&printable(&problem.code)));
                if let Some(grant) = &problem.grant {
                    eprintln!("  to allow it: {}", printable(grant));
                }
            }
            Self::Call(failure) => eprintln!("{}", call_error(&paint, &failure.error)),
        }
    }
}

/// The status says whose turn it is; what names a limit is one.
fn of_problem(problem: &ApiProblem) -> Exit {
    match problem.status {
        429 | 503 => Exit::Unavailable,
        403 | 409 => Exit::Denied,
        413 => Exit::Limit,
        422 if problem.allowed.is_some() => Exit::Limit,
        400 | 404 | 422 => Exit::BadCall,
        _ => Exit::Failed,
    }
}

/// A call that did not run to its end, for programs: the members that the HTTP edge gives too.
pub(crate) fn call_failure_json(failure: &CallFailure) -> serde_json::Value {
    let usage = failure.usage;
    let mut json = serde_json::json!({
        "call_id": failure.call_id.to_string(),
        "code": failure.error.code(),
        "detail": failure.error.to_string(),
        "usage": {
            "fuel": usage.fuel,
            "peak_memory_bytes": usage.peak_memory_bytes,
            "wall_us": usage.wall_us,
            "host_us": usage.host_us,
            "egress_bytes": usage.egress_bytes,
        },
    });
    match &failure.error {
        CallError::Denied(denial) => json["grant"] = denial.grant.as_str().into(),
        CallError::InvalidArguments { pointer, .. } => json["pointer"] = pointer.as_str().into(),
        CallError::Limit { limit, .. } => json["setting"] = limit.setting().into(),
        _ => {}
    }
    json
}

/// An error of a call, with the way on where there is one.
pub(crate) fn call_error(paint: &Paint, error: &CallError) -> String {
    match error {
        CallError::Denied(denial) => denied(paint, denial),
        CallError::Limit { component, limit, .. } => {
            let mut text = format!("{}: {error}", paint.red(error.code()));
            if !limit.setting().is_empty() {
                let (name, setting) = (&component.name, limit.setting());
                text += &format!(
                    "\n  to allow more: [components.{name}.limits] {setting} = N (or, for one call: --limit {setting}=N)"
                );
            }
            text
        }
        error => format!("{}: {error}", paint.red(error.code())),
    }
}

/// A denial: code and subject, and on a line of its own what would grant it.
pub(crate) fn denied(paint: &Paint, denial: &Denial) -> String {
    let code = paint.red(denial.code.as_str());
    if denial.grant.is_empty() {
        format!("{code}: {}; no grant allows it", denial.subject)
    } else {
        format!("{code}: {}\n  to allow it: {}", denial.subject, denial.grant)
    }
}

#[cfg(test)]
mod tests {
    use foreshore_domain::call::FiredLimit;
    use foreshore_domain::component::ComponentRef;
    use foreshore_domain::denial::DenialCode;

    use super::*;

    fn denial() -> Denial {
        Denial {
            code: DenialCode::MountNotGranted,
            subject: "/data".to_owned(),
            grant: "[components.files] mounts = [...]".to_owned(),
        }
    }

    #[test]
    fn each_error_has_the_documented_code() {
        let component = ComponentRef::new("a", semver::Version::new(0, 1, 0)).expect("a name");
        let retry_after = std::time::Duration::from_millis(100);
        let rows = [
            (CallError::UnknownTool { tool: "a.b".into(), suggestion: None }, 3),
            (
                CallError::InvalidArguments {
                    tool: "a.b".into(),
                    pointer: "/x".into(),
                    message: "no".into(),
                },
                3,
            ),
            (CallError::Denied(denial()), 4),
            (CallError::Refused { message: "no".into() }, 4),
            (
                CallError::Limit {
                    component: component.clone(),
                    limit: FiredLimit::Fuel,
                    allowed: 1,
                },
                5,
            ),
            (CallError::Trap { component, message: "unreachable".into() }, 1),
            (CallError::Overloaded { reason: "the queue is full", retry_after }, 6),
            (CallError::ShuttingDown, 6),
            (CallError::Cancelled, 1),
            (CallError::Host { message: "disk".into() }, 1),
        ];
        for (error, code) in rows {
            assert_eq!(Exit::from(&error).code(), code, "{error}");
            assert!(HELP.contains(&format!("\n  {code}  ")), "code {code} is not documented");
        }
    }

    #[test]
    fn a_denial_and_a_limit_say_the_way_on() {
        let text = denied(&Paint::plain(), &denial());
        assert!(text.contains("mount_not_granted") && text.contains("to allow it: [components."));
        let component = ComponentRef::new("a", semver::Version::new(0, 1, 0)).expect("a name");
        let error = CallError::Limit { component, limit: FiredLimit::Fuel, allowed: 7 };
        let text = call_error(&Paint::plain(), &error);
        assert!(text.starts_with("fuel_exhausted: a@0.1.0 used all of its"), "{text}");
        assert!(text.contains("--limit fuel=N"), "{text}");
    }
}
