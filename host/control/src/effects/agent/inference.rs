//! Asking models: which ones policy lets an agent name, and how many tokens are left for it.
//!
//! A request is reserved for before it goes out, by an estimate of its tokens and a limit on
//! those of its answer, and reconciled when its outcome is recorded. It has no intent: asked
//! again after a crash, a model changes nothing but its bill.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{AgentError, AgentOutcome, BudgetKind};
use foreshore_domain::inference::{ChatRequest, Delta, DeltaSink, EmbedRequest, InferenceError};
use tokio::task::JoinSet;

use super::{denied, invalid};
use crate::turns::live::Live;
use crate::turns::models::Asker;
use crate::turns::step::Done;
use crate::turns::update::TurnEvent;

/// The most requests at once.
const REQUESTS_MAX: usize = 8;
/// An answer is only limited where the budget is below what a model would ever say.
const ANSWER_MAX_TOKENS: u64 = 1 << 16;
/// Bytes of a text that make a token, about.
const TOKEN_BYTES: usize = 4;

impl Live {
    pub(super) async fn infer(self: &Arc<Self>, request: &ChatRequest, streams: bool) -> Done {
        let request = match self.reserved(request.clone(), 1) {
            Ok(request) => request,
            Err(error) => return Done::read(Err(error)),
        };
        let sink: Option<Arc<dyn DeltaSink>> =
            if streams { Some(Arc::new(ToReply(Arc::clone(self)))) } else { None };
        let asker = self.asker();
        let answered = self.turns.models().chat(request, &asker, sink).await;
        Done::durable(self.noted(answered).map(AgentOutcome::Inferred))
    }

    pub(super) async fn infer_all(self: &Arc<Self>, requests: &[ChatRequest]) -> Done {
        if requests.len() > REQUESTS_MAX {
            let message =
                format!("{} requests at once; at most {REQUESTS_MAX} are asked", requests.len());
            return Done::read(Err(invalid("", message)));
        }
        let share = u64::try_from(requests.len().max(1)).unwrap_or(u64::MAX);
        let mut answers: Vec<_> =
            requests.iter().map(|_| Err(AgentError::Unavailable(None))).collect();
        let mut asked = JoinSet::new();
        for (index, request) in requests.iter().enumerate() {
            match self.reserved(request.clone(), share) {
                Err(error) => answers[index] = Err(error),
                Ok(request) => {
                    let live = Arc::clone(self);
                    asked.spawn(async move {
                        let asker = live.asker();
                        (index, live.turns.models().chat(request, &asker, None).await)
                    });
                }
            }
        }
        let cost = !asked.is_empty();
        while let Some(answered) = asked.join_next().await {
            if let Ok((index, answer)) = answered {
                answers[index] = self.noted(answer);
            }
        }
        let outcome = Ok(AgentOutcome::InferredAll(answers));
        if cost { Done::durable(outcome) } else { Done::read(outcome) }
    }

    pub(super) async fn embed(self: &Arc<Self>, request: &EmbedRequest) -> Done {
        let bytes: usize = request.texts.iter().map(String::len).sum();
        let model = match self.model(request.model.as_deref()) {
            Ok(model) => model,
            Err(error) => return Done::read(Err(error)),
        };
        if let Err(kind) = self.with_meter(|meter, wall| meter.reserve_tokens(tokens(bytes), wall))
        {
            return Done::read(Err(AgentError::Exhausted(kind)));
        }
        // The agent's model for chats gives no vectors: none named is the host's own for that.
        let model = request.model.as_ref().and(model);
        let request = EmbedRequest { model, ..request.clone() };
        let asker = self.asker();
        let answered = self.turns.models().embed(request, &asker).await;
        Done::durable(self.noted(answered).map(AgentOutcome::Embedded))
    }

    /// The models that it may name, the one that answers where it names none first.
    pub(super) async fn models(self: &Arc<Self>) -> Done {
        let asker = self.asker();
        let all = match self.turns.models().models(&asker).await {
            Ok(all) => all,
            Err(error) => return Done::read(Err(told(error))),
        };
        let own = self.policy.model.as_deref().or(all.first().map(|model| model.name.as_str()));
        let own = own.map(str::to_owned);
        let (mut first, rest): (Vec<_>, Vec<_>) = all
            .into_iter()
            .filter(|model| {
                Some(&model.name) == own.as_ref() || self.policy.models.contains(&model.name)
            })
            .partition(|model| Some(&model.name) == own.as_ref());
        first.extend(rest);
        Done::read(Ok(AgentOutcome::Models(first)))
    }

    /// What a model answered, in an agent's words; why it was not asked is kept for people.
    fn noted<T>(&self, answered: Result<T, InferenceError>) -> Result<T, AgentError> {
        let used_up = match &answered {
            Err(InferenceError::BudgetExhausted(budget)) => Some(budget.clone()),
            _ => None,
        };
        self.note_budget(used_up);
        answered.map_err(told)
    }

    /// The request as it goes out, if policy and budget allow it; one of `share` at once.
    fn reserved(&self, mut request: ChatRequest, share: u64) -> Result<ChatRequest, AgentError> {
        request.model = self.model(request.model.as_deref())?;
        let asked = tokens(text_bytes(&request)).saturating_mul(share);
        let left = self
            .with_meter(|meter, wall| meter.reserve_tokens(asked, wall))
            .map_err(AgentError::Exhausted)?
            / share;
        if left == 0 {
            return Err(AgentError::Exhausted(BudgetKind::Tokens));
        }
        let most = request.sampling.max_tokens.map_or(ANSWER_MAX_TOKENS, u64::from);
        if left < most {
            request.sampling.max_tokens = u32::try_from(left).ok();
        }
        Ok(request)
    }

    /// The model that is meant, if policy lets it be named.
    fn model(&self, named: Option<&str>) -> Result<Option<String>, AgentError> {
        let own = self.policy.model.as_deref();
        let Some(named) = named.filter(|named| Some(*named) != own) else {
            return Ok(own.map(str::to_owned));
        };
        if self.policy.models.iter().any(|model| model == named) {
            return Ok(Some(named.to_owned()));
        }
        let subject = format!("model {named}");
        let grant = format!("[agents.{}] models = [\"{named}\"]", self.agent);
        Err(denied(Denial { code: DenialCode::ModelNotGranted, subject, grant }))
    }

    fn asker(&self) -> Asker {
        Asker {
            tenant: self.turns.tenant(),
            agent: Arc::clone(&self.agent),
            conversation: self.conversation.clone(),
            time_limit: Duration::from_millis(self.left().wall_ms),
        }
    }
}

/// Passes the pieces of an answer on to those who watch.
struct ToReply(Arc<Live>);

impl DeltaSink for ToReply {
    fn delta(&self, delta: Delta<'_>) {
        let event = match delta {
            Delta::Text(text) => TurnEvent::MessageDelta(text.to_owned()),
            Delta::Thinking(text) => TurnEvent::ThinkingDelta(text.to_owned()),
            // Which tools it asks for is the agent's business.
            Delta::ToolCall(_) => return,
        };
        self.0.show(event);
    }
}

fn text_bytes(request: &ChatRequest) -> usize {
    let messages: usize = request
        .messages
        .iter()
        .map(|message| {
            let calls = message.tool_calls.iter().map(|call| call.arguments_json.len());
            let result = message.tool_result.as_ref().map_or(0, |result| result.content.len());
            message.plain_text().len() + calls.sum::<usize>() + result
        })
        .sum();
    let tools: usize = request.tools.iter().map(|tool| tool.parameters_schema.len()).sum();
    messages + tools
}

fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u64::MAX)
}

/// Why a model did not answer, in an agent's words.
pub(crate) fn told(error: InferenceError) -> AgentError {
    let text = error.to_string();
    match error {
        InferenceError::Invalid { .. } => invalid("", text),
        InferenceError::ContextTooLong { .. } => invalid("/messages", text),
        // What an agent looks for that can ask without tools (`inference::takes_no_tools`).
        InferenceError::NoTools { .. } => invalid("/config/tools", text),
        InferenceError::ModelNotFound { model, .. } => {
            AgentError::NotFound(format!("model {model}"))
        }
        InferenceError::RemoteModel { model, .. } => AgentError::Denied {
            code: "remote_model".to_owned(),
            subject: format!("model {model}"),
            grant: "[inference] allow_remote_models = true".to_owned(),
        },
        InferenceError::Unavailable { retry_after_ms, .. } => {
            AgentError::Unavailable(retry_after_ms.and_then(|ms| u32::try_from(ms).ok()))
        }
        InferenceError::Overloaded { retry_after_ms, .. } => {
            AgentError::Unavailable(u32::try_from(retry_after_ms).ok())
        }
        InferenceError::BudgetExhausted(budget) => AgentError::Exhausted(budget.what),
        InferenceError::TimedOut { .. } | InferenceError::Cancelled => {
            AgentError::Unavailable(None)
        }
        _ => AgentError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use foreshore_domain::inference::BudgetExhausted;

    use super::*;

    #[test]
    fn an_agent_is_told_what_it_can_act_on() {
        let error = InferenceError::NoTools { model: "m".into(), message: "does not".into() };
        let AgentError::Invalid { pointer, .. } = told(error) else {
            panic!("the request is at fault")
        };
        assert_eq!(pointer, "/config/tools", "what the SDK's `takes_no_tools` looks for");
        for what in [BudgetKind::Tokens, BudgetKind::Cost, BudgetKind::Time] {
            let budget = BudgetExhausted {
                budget: "tenant default".into(),
                what,
                limit: 1,
                spent: 1,
                held: 0,
                needed: 1,
                resets_at_unix_ms: None,
                retry_after_ms: None,
                setting: "budgets.tenant.tokens".into(),
            };
            let told = told(InferenceError::BudgetExhausted(budget));
            assert_eq!(told, AgentError::Exhausted(what));
        }
    }
}
