//! Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.

use std::time::Duration;

use foreshore_domain::inference::InferenceError;
use http::StatusCode;
use serde::Serialize;

use crate::problem::Refusal;

/// Clients that are told to come back later than this are told not to by themselves.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// An error as OpenAI's clients read it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OpenAiError {
    pub(crate) status: StatusCode,
    pub(crate) body: ErrorBody,
    /// Milliseconds.
    pub(crate) retry_after_ms: Option<u64>,
    /// Asking again is of no use: a turn of an agent has run and would run anew, or a budget is
    /// used up for the day.
    pub(crate) is_final: bool,
}

/// The object under `error`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ErrorBody {
    pub(crate) message: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) param: Option<String>,
    pub(crate) code: Option<String>,
}

impl OpenAiError {
    /// A request that cannot be honoured, and which field of it is at fault.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            body: ErrorBody {
                message: message.into(),
                kind: "invalid_request_error",
                param: Some(param.to_owned()),
                code: Some("invalid_value".to_owned()),
            },
            retry_after_ms: None,
            is_final: false,
        }
    }

    /// A budget that is used up. Clients are kept from asking again at once where that is of no
    /// use.
    fn quota(message: String, retry_after: Option<Duration>) -> Self {
        const QUOTA: &str = "insufficient_quota";
        let code = Some(QUOTA.to_owned());
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            body: ErrorBody { message, kind: QUOTA, param: None, code },
            retry_after_ms: retry_after.map(in_ms),
            is_final: retry_after.is_none_or(|wait| wait > RETRY_MAX),
        }
    }

    /// A turn of an agent that did not complete.
    pub(crate) fn turn(code: &str, message: String) -> Self {
        let status = match code {
            "model_not_found" => StatusCode::NOT_FOUND,
            "inference_overloaded" | "budget_exhausted" => StatusCode::TOO_MANY_REQUESTS,
            "inference_unavailable"
            | "model_unavailable"
            | "unavailable"
            | "store_read_only"
            | "shutting_down" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        };
        let body =
            ErrorBody { message, kind: kind(status), param: None, code: Some(code.to_owned()) };
        Self { status, body, retry_after_ms: None, is_final: true }
    }

    /// The JSON text of it.
    pub(crate) fn json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Whole<'a> {
            error: &'a ErrorBody,
        }
        serde_json::to_vec(&Whole { error: &self.body }).unwrap_or_default()
    }
}

/// OpenAI's name for a kind of failure.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

fn in_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

impl From<&InferenceError> for OpenAiError {
    fn from(error: &InferenceError) -> Self {
        use InferenceError as E;
        let (status, code, param) = match error {
            E::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid_value", None),
            E::ContextTooLong { .. } => {
                (StatusCode::BAD_REQUEST, "context_length_exceeded", Some("messages"))
            }
            E::ModelNotFound { .. } => (StatusCode::NOT_FOUND, "model_not_found", Some("model")),
            E::RemoteModel { .. } => (StatusCode::FORBIDDEN, "remote_model_denied", Some("model")),
            E::Overloaded { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", None),
            E::BudgetExhausted(budget) => {
                return Self::quota(budget.to_string(), error.retry_after());
            }
            E::NoTools { .. } => (StatusCode::BAD_REQUEST, "tools_unsupported", Some("tools")),
            E::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, error.code(), None),
            E::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, error.code(), None),
            _ => (StatusCode::BAD_GATEWAY, error.code(), None),
        };
        let retry = error.retry_after();
        Self {
            status,
            body: ErrorBody {
                message: error.to_string(),
                kind: kind(status),
                param: param.map(str::to_owned),
                code: Some(code.to_owned()),
            },
            retry_after_ms: retry.map(in_ms),
            is_final: false,
        }
    }
}

impl From<Refusal> for OpenAiError {
    fn from(problem: Refusal) -> Self {
        let retry = problem.header.as_ref().filter(|(name, _)| name == http::header::RETRY_AFTER);
        let seconds = retry.and_then(|(_, value)| value.to_str().ok()?.parse::<u64>().ok());
        if problem.code == "budget_exhausted" {
            return Self::quota(problem.detail, seconds.map(Duration::from_secs));
        }
        Self {
            status: problem.status,
            body: ErrorBody {
                kind: kind(problem.status),
                code: Some(problem.code.to_owned()),
                message: problem.detail,
                param: problem.pointer,
            },
            retry_after_ms: seconds.map(|seconds| seconds.saturating_mul(1_000)),
            is_final: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use foreshore_control::turns::TurnFault;
    use foreshore_domain::effect::BudgetKind;
    use foreshore_domain::inference::BudgetExhausted;

    use super::*;

    #[test]
    fn each_failure_has_the_status_that_clients_act_on() {
        let cases = [
            (InferenceError::Invalid { message: "m".into() }, 400, "invalid_request_error"),
            (
                InferenceError::ModelNotFound { model: "x".into(), known: vec!["y".into()] },
                404,
                "not_found_error",
            ),
            (
                InferenceError::Unavailable {
                    model: "x".into(),
                    reason: "r".into(),
                    retry_after_ms: Some(1_500),
                },
                503,
                "server_error",
            ),
            (
                InferenceError::Overloaded { reason: "full".into(), retry_after_ms: 10 },
                429,
                "rate_limit_error",
            ),
        ];
        for (error, status, kind) in cases {
            let said = OpenAiError::from(&error);
            assert_eq!((said.status.as_u16(), said.body.kind), (status, kind), "{error}");
            assert_eq!(said.body.message, error.to_string());
        }
    }

    #[test]
    fn a_budget_that_is_used_up_is_a_quota_and_is_not_asked_again() {
        let mut budget = BudgetExhausted {
            budget: "tenant default".into(),
            what: BudgetKind::Tokens,
            limit: 10,
            spent: 10,
            held: 0,
            needed: 1,
            resets_at_unix_ms: Some(86_400_000),
            retry_after_ms: Some(3_600_000),
            setting: "budgets.tenant.tokens_per_day".into(),
        };
        let said = OpenAiError::from(&InferenceError::BudgetExhausted(budget.clone()));
        assert_eq!((said.status.as_u16(), said.body.kind), (429, "insufficient_quota"));
        assert_eq!(said.body.code.as_deref(), Some("insufficient_quota"));
        assert_eq!((said.retry_after_ms, said.is_final), (Some(3_600_000), true));
        budget.retry_after_ms = Some(1_000);
        let said = OpenAiError::from(&InferenceError::BudgetExhausted(budget.clone()));
        assert!(!said.is_final, "what runs may give enough back");
        let refusal = Refusal::from(TurnFault::BudgetExhausted(budget));
        assert_eq!((refusal.status.as_u16(), refusal.code), (429, "budget_exhausted"));
        assert_eq!(refusal.setting.as_deref(), Some("budgets.tenant.tokens_per_day"));
        let said = OpenAiError::from(refusal);
        assert_eq!((said.body.kind, said.retry_after_ms), ("insufficient_quota", Some(1_000)));
    }

    #[test]
    fn an_error_is_an_object_under_error() {
        let text = OpenAiError::invalid("n", "one answer at a time").json();
        let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(value["error"]["param"], "n");
        assert_eq!(value["error"]["type"], "invalid_request_error");
    }
}
