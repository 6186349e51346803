//! What a request may cost, before it is made: a rule that errs on the high side.

use foreshore_domain::inference::{ChatRequest, EmbedRequest, Message, Part, TokenUsage};

use crate::budgets::Amount;
use crate::plan::Candidate;

/// A token is about four bytes of English, and seldom less than three of anything.
const BYTES_PER_TOKEN: u64 = 4;
/// What a message takes beside its words.
const TOKENS_PER_MESSAGE: u64 = 4;
/// What a picture takes; models differ, few take more.
const TOKENS_PER_IMAGE: u64 = 1_024;
/// What an answer without a limit is taken to need.
const ANSWER_TOKENS: u64 = 1_024;
/// What any answer is taken to need of time.
const WALL_MS: u64 = 1_000;

/// What a chat may cost.
pub(crate) fn of_chat(request: &ChatRequest, candidate: &Candidate) -> Amount {
    let max_tokens = request.sampling.max_tokens.or(candidate.model.max_tokens);
    let usage = TokenUsage {
        input_tokens: input_tokens(request),
        output_tokens: max_tokens.map_or(ANSWER_TOKENS, u64::from),
        ..TokenUsage::default()
    };
    amount(&usage, candidate)
}

/// Tokens of a request, without its answer.
pub(crate) fn input_tokens(request: &ChatRequest) -> u64 {
    let tools = request.tools.iter().map(|tool| {
        let description = tool.description.as_ref().map_or(0, String::len);
        tool.name.len() + description + tool.parameters_schema.len()
    });
    let messages: u64 = request.messages.iter().map(of_message).sum();
    messages.saturating_add(tokens(tools.sum()))
}

/// What vectors may cost.
pub(crate) fn of_embed(request: &EmbedRequest, candidate: &Candidate) -> Amount {
    let input_tokens = request.texts.iter().map(|text| tokens(text.len())).sum();
    amount(&TokenUsage { input_tokens, ..TokenUsage::default() }, candidate)
}

fn amount(usage: &TokenUsage, candidate: &Candidate) -> Amount {
    let cost_micros = candidate.cost_micros(usage);
    Amount { tokens: usage.tokens(), cost_micros, wall_ms: WALL_MS }
}

fn of_message(message: &Message) -> u64 {
    let parts = message.content.iter().map(|part| match part {
        Part::Text(text) => tokens(text.len()),
        Part::Image(_) => TOKENS_PER_IMAGE,
    });
    let calls = message.tool_calls.iter().map(|call| call.name.len() + call.arguments_json.len());
    let result = message.tool_result.as_ref().map_or(0, |result| result.content.len());
    let thinking = message.thinking.as_ref().map_or(0, String::len);
    let others = calls.sum::<usize>() + result + thinking;
    parts.sum::<u64>() + tokens(others) + TOKENS_PER_MESSAGE
}

/// Tokens of so many bytes of text, rounded up.
pub(crate) fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN)
}
