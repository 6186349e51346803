//! What a request may cost, before it is made: a rule that errs on the high side; and holding it.
//!
//! An answer is held for in full: where a budget has a limit, the model is told to say no more
//! than is held. So what a chat can overspend is what its own words were underestimated by.

use foreshore_domain::inference::{
    BudgetExhausted, ChatRequest, EmbedRequest, Message, Part, TokenUsage,
};

use crate::budgets::{Amount, Budgets, Reservation};
use crate::caller::Caller;
use crate::plan::Plan;

/// A token is about four bytes of English, and seldom less than three of anything.
const BYTES_PER_TOKEN: u64 = 4;
/// What a message takes beside its words.
const TOKENS_PER_MESSAGE: u64 = 4;
/// What a picture takes; models differ, few take more.
const TOKENS_PER_IMAGE: u64 = 1_024;
/// The longest answer of a request that says nothing of it, where a budget is limited.
const ANSWER_TOKENS: u64 = 4_096;
/// What any answer is taken to need of time.
const WALL_MS: u64 = 1_000;

/// What is held for a chat.
pub(crate) struct Held {
    pub(crate) reservation: Reservation,
    /// The longest answer that is held for; `None` where no budget bounds it.
    pub(crate) answer_tokens: Option<u32>,
}

/// Holds what a chat may cost: all that it wants to say, or what is left for that.
///
/// # Errors
/// [`BudgetExhausted`]: not even the shortest answer is left.
pub(crate) fn hold_for_chat(
    budgets: &Budgets,
    caller: &Caller,
    request: &ChatRequest,
    plan: &Plan,
) -> Result<Held, BudgetExhausted> {
    let asked = request.sampling.max_tokens;
    let first = plan.candidates.first();
    let wanted = asked.or(first.and_then(|candidate| candidate.model.max_tokens));
    let wanted = wanted.map_or(ANSWER_TOKENS, u64::from);
    let input_tokens = input_tokens(request);
    let costs = |output_tokens: u64| {
        let usage = TokenUsage { input_tokens, output_tokens, ..TokenUsage::default() };
        (usage.tokens(), plan.cost_micros(&usage))
    };
    let (tokens, cost_micros) = costs(1);
    let least = Amount { tokens, cost_micros, wall_ms: 1 };
    let mut answer_tokens = wanted;
    let fit = |room: Amount| {
        answer_tokens = wanted
            .min(room.tokens.saturating_sub(input_tokens))
            .min(plan.answer_tokens_for(room.cost_micros, input_tokens));
        let (tokens, cost_micros) = costs(answer_tokens);
        Amount { tokens, cost_micros, wall_ms: WALL_MS }
    };
    let reservation = budgets.reserve_within(&caller.budgets, least, caller.at_unix_ms, fit)?;
    let room = reservation.room();
    let is_limited = room.tokens < u64::MAX || room.cost_micros < u64::MAX;
    let answer_tokens = is_limited.then(|| u32::try_from(answer_tokens).unwrap_or(u32::MAX));
    Ok(Held { reservation, answer_tokens })
}

/// Holds what vectors may cost.
///
/// # Errors
/// [`BudgetExhausted`].
pub(crate) fn hold_for_embed(
    budgets: &Budgets,
    caller: &Caller,
    request: &EmbedRequest,
    plan: &Plan,
) -> Result<Reservation, BudgetExhausted> {
    let usage = embed_usage(request, plan);
    let (tokens, cost_micros) = (usage.tokens(), usage.cost_micros);
    let least = Amount { tokens, cost_micros, wall_ms: 1 };
    let held = Amount { wall_ms: WALL_MS, ..least };
    budgets.reserve_within(&caller.budgets, least, caller.at_unix_ms, |_| held)
}

/// What a chat takes without its answer.
pub(crate) fn asked_usage(request: &ChatRequest, plan: &Plan) -> TokenUsage {
    priced(input_tokens(request), plan)
}

/// What vectors take.
pub(crate) fn embed_usage(request: &EmbedRequest, plan: &Plan) -> TokenUsage {
    priced(request.texts.iter().map(|text| tokens(text.len())).sum(), plan)
}

fn priced(input_tokens: u64, plan: &Plan) -> TokenUsage {
    let mut usage = TokenUsage { input_tokens, ..TokenUsage::default() };
    usage.cost_micros = plan.cost_micros(&usage);
    usage
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
