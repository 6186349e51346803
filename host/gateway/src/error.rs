//! The one mapping from failures of `control` to HTTP: status, code, title, and what the client
//! is told.
//!
//! The text of a fault of the host goes to the operator's log alone.

use std::time::Duration;

use foreshore_control::conversations::ConversationFault;
use foreshore_control::integrity::FilesFault;
use foreshore_control::memory::MemoryFault;
use foreshore_control::store::ReadError;
use foreshore_control::store::{BackupError, CheckError, RebuildError};
use foreshore_control::turns::{AnswerFault, CancelFault, ReplayFault, TurnFault};
use foreshore_control::{LoadError, PutError, RemoveError, UpkeepError};
use foreshore_domain::call::{Blame, CallError};
use foreshore_domain::component::ComponentRef;
use foreshore_domain::denial::Denial;
use foreshore_domain::outcome::{CallFailure, Usage};
use http::StatusCode;

use crate::problem::{Problem, Refusal};

/// The client closed its connection; nobody reads this status but the access log.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Problem {
    pub(crate) fn unknown_tool(detail: String, suggestion: Option<String>) -> Refusal {
        let mut problem =
            Self::new(StatusCode::NOT_FOUND, "unknown_tool", "No tool has this name", detail);
        problem.suggestion = suggestion;
        problem
    }

    pub(crate) fn store_read_only(text: String) -> Refusal {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_read_only",
            "Nothing can be recorded now",
            text,
        )
        .with_retry_after(Duration::from_secs(5))
    }

    fn denied(denial: Denial) -> Refusal {
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            denial.code.as_str(),
            "Policy does not allow it",
            denial.to_string(),
        );
        problem.grant = (!denial.grant.is_empty()).then_some(denial.grant);
        problem
    }

    /// A component that is not loaded, by the blame: what the operator could grant is denied,
    /// what the host cannot do is its fault, and all else is wrong with the component.
    pub(crate) fn load(error: LoadError) -> Refusal {
        let (code, text) = (error.code(), error.to_string());
        match error {
            LoadError::Denied(denial) => Self::denied(denial),
            error if error.blame() == Blame::Host => Self::host(&text),
            _ => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                code,
                "This host does not load the component",
                text,
            ),
        }
    }

    fn limit(error: &CallError, component: &ComponentRef, setting: &str, allowed: u64) -> Refusal {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            error.code(),
            "The call used all of a limit",
            error.to_string(),
        );
        problem.setting = (!setting.is_empty())
            .then(|| format!("components.{}.limits.{setting}", component.name));
        problem.allowed = Some(allowed);
        problem
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        match error {
            CallError::UnknownTool { suggestion, .. } => Problem::unknown_tool(text, suggestion),
            CallError::InvalidArguments { pointer, .. } => {
                let mut problem = Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    code,
                    "The arguments do not match the tool's schema",
                    text,
                );
                problem.pointer = Some(pointer);
                problem
            }
            CallError::Denied(denial) => Problem::denied(denial),
            CallError::Limit { ref component, limit, allowed } => {
                Problem::limit(&error, component, limit.setting(), allowed)
            }
            // A tool's crash is the tool's own failure and usually arrives as an outcome with
            // `is_error`; should it arrive here, it must not read like a fault of the host.
            CallError::Trap { .. } => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, "The tool crashed", text)
            }
            CallError::Refused { .. } => {
                Problem::new(StatusCode::FORBIDDEN, code, "A person said no", text)
            }
            CallError::ApprovalRequired { .. } => {
                Problem::new(StatusCode::FORBIDDEN, code, "A person has to approve this call", text)
            }
            CallError::ApprovalStale { .. } => {
                Problem::new(StatusCode::CONFLICT, code, "The approval is not for this call", text)
            }
            CallError::Overloaded { retry_after, .. } => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code,
                "The host has too much to do",
                text,
            )
            .with_retry_after(retry_after),
            CallError::ShuttingDown => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code,
                "The host is shutting down",
                text,
            )
            .with_retry_after(Duration::from_secs(5)),
            CallError::StoreReadOnly { .. } => Problem::store_read_only(text),
            CallError::Cancelled => {
                let status = StatusCode::from_u16(CLIENT_CLOSED_REQUEST)
                    .unwrap_or(StatusCode::REQUEST_TIMEOUT);
                Problem::new(status, code, "The caller went away", text)
            }
            CallError::Host { message } => Problem::host(&message),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<MemoryFault> for Refusal {
    fn from(fault: MemoryFault) -> Self {
        let (code, text) = (fault.code(), fault.to_string());
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        match fault {
            MemoryFault::Conflict { actual, .. } => {
                let title = "Another version stands there";
                let mut problem = Problem::new(StatusCode::CONFLICT, code, title, text);
                problem.actual_version = Some(actual);
                problem
            }
            MemoryFault::Exhausted { max, .. } => {
                let mut problem = Problem::new(unprocessable, code, "The namespace is full", text);
                problem.allowed = Some(max);
                problem
            }
            MemoryFault::Invalid(_) | MemoryFault::TooLarge { .. } => {
                Problem::new(unprocessable, code, "The record cannot be kept", text)
            }
            MemoryFault::ReadOnly { .. } => Problem::store_read_only(text),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<TurnFault> for Refusal {
    fn from(fault: TurnFault) -> Self {
        let (code, text) = (fault.code(), fault.to_string());
        match fault {
            TurnFault::UnknownAgent { .. } => {
                Problem::new(StatusCode::NOT_FOUND, code, "No agent has this name", text)
            }
            TurnFault::NotPermitted { .. } => Problem::new(
                StatusCode::FORBIDDEN,
                code,
                "The credential does not permit this",
                text,
            ),
            TurnFault::AgentUnavailable { .. } => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Problem::new(status, code, "The agent cannot run", text)
            }
            TurnFault::Invalid { pointer, .. } => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                let mut problem = Problem::new(status, code, "The turn cannot be taken", text);
                problem.pointer = Some(pointer);
                problem
            }
            TurnFault::UnknownConversation { .. } => {
                Problem::new(StatusCode::NOT_FOUND, code, "There is no such conversation", text)
            }
            TurnFault::OtherAgent { .. } => {
                let title = "The conversation is with another agent";
                Problem::new(StatusCode::CONFLICT, code, title, text)
            }
            TurnFault::Overloaded { retry_after, .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Problem::new(status, code, "Too many turns wait", text)
                    .with_retry_after(retry_after)
            }
            TurnFault::BudgetExhausted(budget) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let mut problem = Problem::new(status, code, "The budget is used up", text);
                if let Some(ms) = budget.retry_after_ms {
                    problem = problem.with_retry_after(Duration::from_millis(ms));
                }
                problem.setting = Some(budget.setting);
                problem.allowed = Some(budget.limit);
                problem
            }
            TurnFault::ShuttingDown => CallError::ShuttingDown.into(),
            TurnFault::ReadOnly { .. } => Problem::store_read_only(text),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<ConversationFault> for Refusal {
    fn from(fault: ConversationFault) -> Self {
        let (code, text) = (fault.code(), fault.to_string());
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        match fault {
            ConversationFault::Invalid { .. } => {
                Problem::new(unprocessable, code, "The conversation cannot do this", text)
            }
            ConversationFault::NotFound { .. } => {
                Problem::new(StatusCode::NOT_FOUND, code, "There is no such conversation", text)
            }
            ConversationFault::Busy { .. } => {
                Problem::new(StatusCode::CONFLICT, code, "The conversation has open turns", text)
            }
            ConversationFault::Exhausted { max, .. } => {
                let mut problem =
                    Problem::new(unprocessable, code, "The conversation is full", text);
                problem.allowed = Some(max);
                problem
            }
            ConversationFault::Contended => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Problem::new(status, code, "The conversation changes too fast", text)
                    .with_retry_after(Duration::from_secs(1))
            }
            ConversationFault::ReadOnly { .. } => Problem::store_read_only(text),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<AnswerFault> for Refusal {
    fn from(fault: AnswerFault) -> Self {
        let (code, text) = (fault.code(), fault.to_string());
        match fault {
            AnswerFault::NotFound { .. } => {
                Problem::new(StatusCode::NOT_FOUND, code, "There is no such question", text)
            }
            AnswerFault::Closed { .. } => {
                Problem::new(StatusCode::CONFLICT, code, "The question is closed", text)
            }
            AnswerFault::Invalid { .. } => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Problem::new(status, code, "The answer does not fit the question", text)
            }
            AnswerFault::Store { .. } => Problem::store_read_only(text),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<CancelFault> for Refusal {
    fn from(fault: CancelFault) -> Self {
        let (code, text) = (fault.code(), fault.to_string());
        match fault {
            CancelFault::NotFound { .. } => {
                Problem::new(StatusCode::NOT_FOUND, code, "There is no such turn", text)
            }
            CancelFault::Ended { .. } => {
                Problem::new(StatusCode::CONFLICT, code, "The turn has ended", text)
            }
            CancelFault::Store { .. } => Problem::store_read_only(text),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<ReplayFault> for Refusal {
    fn from(fault: ReplayFault) -> Self {
        let (code, text) = (fault.code(), fault.to_string());
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        match fault {
            ReplayFault::NotFound { .. } => {
                Problem::new(StatusCode::NOT_FOUND, code, "There is no such turn", text)
            }
            ReplayFault::Component { .. } => {
                Problem::new(unprocessable, code, "The component cannot run", text)
            }
            ReplayFault::Invalid { pointer, .. } => {
                let mut problem =
                    Problem::new(unprocessable, code, "The turn cannot be replayed", text);
                problem.pointer = Some(pointer);
                problem
            }
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<FilesFault> for Refusal {
    fn from(fault: FilesFault) -> Self {
        let (code, mut text) = (fault.code(), fault.to_string());
        match fault {
            FilesFault::UnknownRoot { .. } => {
                Problem::new(StatusCode::NOT_FOUND, code, "No root has this name", text)
            }
            FilesFault::NotFound { .. } => {
                Problem::new(StatusCode::NOT_FOUND, code, "Nothing is recorded of it", text)
            }
            FilesFault::Conflicts { conflicts } => {
                for conflict in conflicts.iter().take(100) {
                    text.push_str("; ");
                    text.push_str(&conflict.to_string());
                }
                Problem::new(StatusCode::CONFLICT, code, "Files changed since the call", text)
            }
            FilesFault::NotRestored { .. } => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Problem::new(status, code, "It could not be put back", text)
            }
            FilesFault::Record { .. } => Problem::store_read_only(text),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotOpen => Problem::store_read_only(error.to_string()),
            error => Problem::host(&error.to_string()),
        }
    }
}

impl From<UpkeepError> for Refusal {
    fn from(error: UpkeepError) -> Self {
        use UpkeepError as E;
        let text = error.to_string();
        let (conflict, unavailable) = (StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE);
        match error {
            E::Busy | E::Check(CheckError::Busy) => {
                Problem::new(unavailable, "store_busy", "The journal is being worked on", text)
                    .with_retry_after(Duration::from_secs(5))
            }
            E::InMemory => {
                Problem::new(conflict, "store_in_memory", "The journal is in memory", text)
            }
            E::Full { .. } => {
                Problem::new(conflict, "backups_full", "There are too many backups", text)
            }
            E::Read(ReadError::NotOpen)
            | E::Check(CheckError::Read(ReadError::NotOpen))
            | E::Backup(BackupError::Read(ReadError::NotOpen))
            | E::Rebuild(RebuildError::Read(ReadError::NotOpen)) => Problem::store_read_only(text),
            E::Check(_) | E::Rebuild(_) | E::Backup(BackupError::Read(_)) => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "store_damaged",
                "The journal is not as it should be",
                text,
            ),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<PutError> for Refusal {
    fn from(error: PutError) -> Self {
        let text = error.to_string();
        match error {
            PutError::NoDirectory => Problem::new(
                StatusCode::FORBIDDEN,
                "components_fixed",
                "This host takes no components",
                text,
            ),
            PutError::Refused(failure) => Problem::load(failure.error),
            PutError::ShuttingDown => CallError::ShuttingDown.into(),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<RemoveError> for Refusal {
    fn from(error: RemoveError) -> Self {
        let text = error.to_string();
        match error {
            RemoveError::NotFound { .. } => Problem::no_component(text),
            RemoveError::Embedded { .. } => Problem::new(
                StatusCode::CONFLICT,
                "component_built_in",
                "The component is part of the host",
                text,
            ),
            RemoveError::ShuttingDown => CallError::ShuttingDown.into(),
            unknown => Problem::host(&unknown.to_string()),
        }
    }
}

impl From<Box<CallFailure>> for Refusal {
    fn from(failure: Box<CallFailure>) -> Self {
        let CallFailure { call_id, error, usage, .. } = *failure;
        let mut problem = Self::from(error);
        problem.call_id = Some(call_id);
        problem.usage = (usage != Usage::default()).then_some(usage);
        problem
    }
}

#[cfg(test)]
mod tests {
    use foreshore_domain::call::FiredLimit;
    use foreshore_domain::denial::DenialCode;
    use http::HeaderValue;
    use http::header::RETRY_AFTER;

    use foreshore_domain::id::ApprovalId;

    use super::*;

    fn component() -> ComponentRef {
        "files@0.1.0.x"
            .parse::<foreshore_domain::component::ToolName>()
            .map(|name| ComponentRef::new(&name.component, name.version.expect("given")))
            .expect("a tool name")
            .expect("a component name")
    }

    #[test]
    fn each_failure_of_a_call_has_its_status() {
        let denial = Denial {
            code: DenialCode::MountNotGranted,
            subject: "/data".into(),
            grant: "[components.files] mounts = []".into(),
        };
        let retry_after = Duration::from_millis(1_001);
        let cases = [
            (CallError::UnknownTool { tool: "a.b".into(), suggestion: Some("a.c".into()) }, 404),
            (
                CallError::InvalidArguments {
                    tool: "a.b".into(),
                    pointer: "/x".into(),
                    message: "m".into(),
                },
                422,
            ),
            (CallError::Denied(denial), 403),
            (CallError::Limit { component: component(), limit: FiredLimit::Fuel, allowed: 5 }, 422),
            (CallError::Trap { component: component(), message: "unreachable".into() }, 422),
            (CallError::Refused { message: "no".into() }, 403),
            (
                CallError::ApprovalRequired { approval: ApprovalId::new(1), expires_at_unix_ms: 2 },
                403,
            ),
            (
                CallError::ApprovalStale { approval: ApprovalId::new(1), message: "used".into() },
                409,
            ),
            (CallError::Overloaded { reason: "all places are taken", retry_after }, 503),
            (CallError::ShuttingDown, 503),
            (CallError::Cancelled, 499),
            (CallError::Host { message: "disk gone".into() }, 500),
        ];
        for (error, status) in cases {
            let code = error.code();
            let problem = Refusal::from(error);
            assert_eq!((problem.status.as_u16(), problem.code), (status, code));
        }
    }

    #[test]
    fn a_problem_carries_what_its_reader_needs_to_go_on() {
        let limit =
            CallError::Limit { component: component(), limit: FiredLimit::Memory, allowed: 7 };
        let problem = Refusal::from(limit);
        assert_eq!(problem.setting.as_deref(), Some("components.files.limits.memory_max_bytes"));
        assert_eq!(problem.allowed, Some(7));
        let overloaded =
            CallError::Overloaded { reason: "full", retry_after: Duration::from_millis(1_001) };
        let problem = Refusal::from(overloaded);
        assert_eq!(problem.header, Some((RETRY_AFTER, HeaderValue::from_static("2"))));
    }

    #[test]
    fn the_text_of_a_fault_of_the_host_is_not_sent() {
        let problem = Refusal::from(CallError::Host { message: "/var/lib/secret".into() });
        assert!(!problem.detail.contains("secret"));
    }
}
