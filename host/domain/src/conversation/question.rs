//! The payloads of questions to people.

use serde::{Deserialize, Serialize};

use super::{MessageText, Name};
use crate::id::{QuestionId, TurnId};
use crate::memory::{Conversation, JsonText};

/// `question.asked`: a person is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionAsked {
    /// Which question.
    pub question: QuestionId,
    /// The turn that waits for the answer.
    pub turn: TurnId,
    /// In which conversation.
    pub conversation: Conversation,
    /// The number of the effect that asks.
    pub number: u64,
    /// What is asked.
    pub kind: QuestionKind,
    /// The action or the question, for people.
    pub message: MessageText,
    /// Until when it can be answered, in milliseconds since 1970; then it is refused.
    pub expires_at_unix_ms: u64,
}

/// What is asked of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuestionKind {
    /// To allow something.
    Approve {
        /// What a person needs to decide: any JSON.
        details: JsonText,
    },
    /// To answer something.
    Ask {
        /// JSON Schema of the answer: a flat object.
        schema: JsonText,
    },
}

/// `question.answered`: it is closed, by a person or by time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionAnswered {
    /// Which question.
    pub question: QuestionId,
    /// What was decided.
    pub decision: Decision,
    /// Who did; `host` where nobody answered in time.
    pub by: Name,
}

/// What a person did with a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It may be done.
    Approved,
    /// It may not.
    Denied,
    /// The answer: a JSON object that matches the schema.
    Accepted(JsonText),
    /// They said no to the question.
    Declined,
    /// They, or the turn, went away.
    Cancelled,
    /// Nobody answered in time: as good as a no.
    Expired,
}
