//! What a caller may set.

use foreshore_sdk::Error;
use schemars::JsonSchema;
use serde::Deserialize;

/// The most members: what the host asks at once.
const MEMBERS_MAX: usize = 8;

/// What a caller may set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Who answers; three with different instructions and the default model if absent.
    #[schemars(length(min = 1, max = 8))]
    pub(crate) members: Vec<Member>,
    /// Who decides.
    pub(crate) judge: Judge,
    /// The most tokens of each answer.
    #[schemars(range(min = 16))]
    pub(crate) answer_tokens: Option<u32>,
}

/// Who answers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Member {
    /// The model; the operator's default if absent.
    pub(crate) model: Option<String>,
    /// How to answer.
    pub(crate) instructions: Option<String>,
    /// 0 for the likeliest words, up to 2.
    #[schemars(range(min = 0, max = 2))]
    pub(crate) temperature: Option<f32>,
}

/// Who decides.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Judge {
    /// The model; the operator's default if absent.
    pub(crate) model: Option<String>,
    /// What makes an answer good, beside being right, complete and clear.
    pub(crate) instructions: Option<String>,
    /// Whether one answer is chosen, or one made of all.
    pub(crate) decision: Decision,
}

/// What a judge does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    /// Chooses the best answer.
    #[default]
    Choose,
    /// Makes one answer of all.
    Synthesize,
}

impl Default for Parameters {
    fn default() -> Self {
        let member = |instructions: &str| Member {
            instructions: Some(instructions.to_owned()),
            ..Member::default()
        };
        Self {
            members: vec![
                member("Answer directly and briefly."),
                member("Answer from first principles, and show the steps that matter."),
                member("Answer, then look for what is wrong with the answer and correct it."),
            ],
            judge: Judge::default(),
            answer_tokens: None,
        }
    }
}

impl Parameters {
    /// # Errors
    /// [`Error::Invalid`] for numbers out of range.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        if !(1..=MEMBERS_MAX).contains(&self.members.len()) {
            return Err(Error::invalid("/parameters/members", format!("1 to {MEMBERS_MAX}")));
        }
        if self.answer_tokens.is_some_and(|tokens| tokens < 16) {
            return Err(Error::invalid("/parameters/answer_tokens", "at least 16"));
        }
        Ok(self)
    }
}
