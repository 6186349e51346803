//! Which model is asked, and what it can.

use foreshore_sdk::agent::inference::{self, Model};

use crate::parameters::{Parameters, ToolCalling};

/// The context where nobody says how long it is.
const CONTEXT_TOKENS: u32 = 8_192;
/// The longest answer where nobody says how long.
const ANSWER_TOKENS: u32 = 2_048;

/// The model of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Whether it calls tools by itself.
    pub(crate) calls_tools: bool,
    pub(crate) sees_pictures: bool,
    /// The most tokens of a prompt, tools included.
    pub(crate) prompt_tokens: usize,
    /// The most tokens of an answer.
    pub(crate) answer_tokens: u32,
}

impl Chosen {
    /// Finds the model among those there are. When the host cannot say, a model is taken to call
    /// tools: one that does not says so when it is asked.
    pub(crate) fn find(parameters: &Parameters) -> Self {
        let models = inference::models().unwrap_or_default();
        let found = match &parameters.model {
            Some(name) => models.into_iter().find(|model| model.name == *name),
            None => models.into_iter().next(),
        };
        Self::of(found.as_ref(), parameters)
    }

    fn of(model: Option<&Model>, parameters: &Parameters) -> Self {
        let known = model.and_then(|model| model.context_length).filter(|tokens| *tokens >= 1_024);
        let context = match (parameters.context_tokens, known) {
            (Some(wanted), Some(known)) => wanted.min(known),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => CONTEXT_TOKENS,
        };
        let answer = parameters.answer_tokens.unwrap_or(ANSWER_TOKENS).min(context / 4);
        let calls_tools = match parameters.tool_calling {
            ToolCalling::Auto => model.is_none_or(|model| model.tools),
            ToolCalling::Native => true,
            ToolCalling::Text => false,
        };
        Self {
            calls_tools,
            sees_pictures: model.is_some_and(|model| model.vision),
            prompt_tokens: usize::try_from(context - answer).unwrap_or(usize::MAX),
            answer_tokens: answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(context_length: Option<u32>, tools: bool) -> Model {
        let name = "m".to_owned();
        Model { name, context_length, tools, vision: false, thinking: false, embedding: false }
    }

    #[test]
    fn a_prompt_and_an_answer_share_the_context() {
        let chosen = Chosen::of(Some(&model(Some(4_096), true)), &Parameters::default());
        assert_eq!((chosen.prompt_tokens, chosen.answer_tokens), (3_072, 1_024));
        let wanted = Parameters { context_tokens: Some(100_000), ..Parameters::default() };
        let chosen = Chosen::of(Some(&model(Some(4_096), true)), &wanted);
        assert_eq!(chosen.prompt_tokens, 3_072);
        let chosen = Chosen::of(None, &Parameters::default());
        assert_eq!((chosen.prompt_tokens, chosen.answer_tokens), (6_144, 2_048));
    }

    #[test]
    fn a_parameter_outweighs_what_the_model_says_of_its_tools() {
        let deaf = model(None, false);
        assert!(!Chosen::of(Some(&deaf), &Parameters::default()).calls_tools);
        let native = Parameters { tool_calling: ToolCalling::Native, ..Parameters::default() };
        assert!(Chosen::of(Some(&deaf), &native).calls_tools);
        let text = Parameters { tool_calling: ToolCalling::Text, ..Parameters::default() };
        assert!(!Chosen::of(None, &text).calls_tools);
    }
}
