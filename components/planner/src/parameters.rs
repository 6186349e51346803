//! What a caller may set.

use foreshore_sdk::Error;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The most steps of a plan, whoever asks for more.
const STEPS_MAX: usize = 50;

/// What a caller may set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Parameters {
    /// The model that plans; the operator's default if absent.
    pub(crate) model: Option<String>,
    /// The agent that does the steps.
    pub(crate) agent: String,
    /// What that agent is given as its parameters.
    pub(crate) agent_parameters: Option<Value>,
    /// The most steps of one plan.
    #[schemars(range(min = 1, max = 50))]
    pub(crate) steps_max: usize,
    /// How often a plan may be made anew after a failure.
    #[schemars(range(max = 10))]
    pub(crate) replans_max: u32,
    /// The namespaces of memory that steps may use; all of the planner's own if absent.
    pub(crate) namespaces: Option<Vec<String>>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            model: None,
            agent: "assistant".to_owned(),
            agent_parameters: None,
            steps_max: 10,
            replans_max: 2,
            namespaces: None,
        }
    }
}

impl Parameters {
    /// # Errors
    /// [`Error::Invalid`] for numbers out of range.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        if !(1..=STEPS_MAX).contains(&self.steps_max) {
            return Err(Error::invalid("/parameters/steps_max", format!("1 to {STEPS_MAX}")));
        }
        if self.replans_max > 10 {
            return Err(Error::invalid("/parameters/replans_max", "at most 10"));
        }
        Ok(self)
    }
}
