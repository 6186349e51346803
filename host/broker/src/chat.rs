//! A chat, from the request to the answer: kept answers, equal requests, budgets, repairs, and
//! what is said when no model answers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use foreshore_domain::inference::{
    ChatRequest, Completion, Delta, DeltaSink, FinishReason, InferenceError, Message, Role,
    ServedBy, Step, TimedOut,
};

use crate::answers::{Age, RequestKey};
use crate::attempt::{self, Answered, Ask};
use crate::broker::{Broker, Inner};
use crate::caller::Caller;
use crate::chain::{ChainError, FREE, Question, Served};
use crate::estimate::{self, Held};
use crate::expected::Expected;
use crate::failure::Failure;
use crate::flight::{Flights, Part};
use crate::lane::Lane;
use crate::plan::{Candidate, Plan, Purpose};
use crate::spending::{Came, Spending};

/// Equal requests that are being answered.
pub(crate) type Flying = Flights<RequestKey, Result<Completion, InferenceError>>;

/// The name of whoever gives the operator's answer.
const LOCAL: &str = "local";

impl Broker {
    /// Asks a model, and gives its answer as a whole; its pieces go to `sink` as they come,
    /// unless the answer has to be checked first ([`ChatRequest::format`], a required tool), in
    /// which case they come at once when it is whole.
    ///
    /// Dropping the future cancels the request; nobody else's is harmed.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub async fn chat(
        &self,
        request: ChatRequest,
        caller: Caller,
        sink: Option<Arc<dyn DeltaSink>>,
    ) -> Result<Completion, InferenceError> {
        let counters = &self.inner.counters;
        counters.chats.add(1);
        let result = self.chatted(request, caller, sink).await;
        let counter = match &result {
            Ok(completion) => match completion.served_by.step {
                Step::Primary => &counters.primary,
                Step::Fallback => &counters.fallback,
                Step::Cache => &counters.cache,
                Step::Local => &counters.local,
            },
            Err(_) => &counters.errors,
        };
        counter.add(1);
        result
    }

    async fn chatted(
        &self,
        request: ChatRequest,
        caller: Caller,
        sink: Option<Arc<dyn DeltaSink>>,
    ) -> Result<Completion, InferenceError> {
        let chat = Chat::new(&self.inner, request, caller)?;
        let limit = chat.limit;
        let late = chat.late();
        let answer = async {
            match chat.key {
                Some(key) => self.equal(key, chat, sink).await,
                None => chat.answer(&self.inner, sink.as_deref()).await.map(|said| said.completion),
            }
        };
        tokio::time::timeout(limit, answer).await.unwrap_or(Err(late))
    }

    /// Answers a request that is answered alike each time: from what is kept, or together with
    /// whoever asks the same now.
    async fn equal(
        &self,
        key: RequestKey,
        chat: Chat,
        sink: Option<Arc<dyn DeltaSink>>,
    ) -> Result<Completion, InferenceError> {
        if chat.is_kept
            && let Some(kept) = self.inner.answers().find(&key, Age::Fresh)
        {
            let kept = as_kept(kept);
            tell_all(sink.as_deref(), &kept.message);
            return Ok(kept);
        }
        let (inner, chat) = (Arc::clone(&self.inner), Arc::new(chat));
        let leading = Arc::clone(&chat);
        // Once the first one has gone away, its sink hears nothing more.
        let weak = sink.as_ref().map(Arc::downgrade);
        let joined = self.inner.flying.join(key, || async move {
            let chat = leading;
            let sink = weak.map(WeakSink);
            let sink = sink.as_ref().map(|sink| -> &dyn DeltaSink { sink });
            let said = chat.answer(&inner, sink).await?;
            if chat.is_kept && !said.is_cut && said.completion.served_by.step == Step::Primary {
                inner.answers().keep(key, &said.completion);
            }
            Ok(said.completion)
        });
        let part = joined.part;
        let result = joined.wait().await.unwrap_or_else(|| {
            let (backend, message) = (LOCAL.to_owned(), "answering ended abruptly".to_owned());
            Err(InferenceError::Failed { backend, message })
        });
        if part == Part::Leader {
            return result;
        }
        if matches!(result, Err(InferenceError::BudgetExhausted(_))) {
            // That was somebody else's budget.
            return chat.answer(&self.inner, sink.as_deref()).await.map(|said| said.completion);
        }
        self.inner.counters.joined.add(1);
        let shared = as_kept(result?);
        tell_all(sink.as_deref(), &shared.message);
        Ok(shared)
    }
}

/// A sink of somebody who may have gone away.
struct WeakSink(Weak<dyn DeltaSink>);

impl DeltaSink for WeakSink {
    fn delta(&self, delta: Delta<'_>) {
        if let Some(sink) = self.0.upgrade() {
            sink.delta(delta);
        }
    }
}

/// One chat.
struct Chat {
    request: ChatRequest,
    caller: Caller,
    plan: Plan,
    expected: Expected,
    limit: Duration,
    /// Of a request that is answered alike each time.
    key: Option<RequestKey>,
    /// Its answer is kept.
    is_kept: bool,
}

impl Chat {
    fn new(inner: &Inner, request: ChatRequest, caller: Caller) -> Result<Self, InferenceError> {
        let invalid = |message: String| InferenceError::Invalid { message };
        if request.messages.is_empty() {
            return Err(invalid("there are no messages".to_owned()));
        }
        let plan = inner.plan(request.model.as_deref(), Purpose::Chat)?;
        let expected = Expected::of(&request).map_err(invalid)?;
        let total = Duration::from_millis(inner.config.timeouts.total_ms);
        let limit = caller.time_limit.map_or(total, |limit| limit.min(total));
        let first = plan.candidates.first().map(|candidate| candidate.request(&request));
        let sampling = first.as_ref().map(|request| &request.sampling);
        let is_kept = sampling.is_some_and(|sampling| sampling.temperature == Some(0.0));
        let is_seeded = sampling.is_some_and(|sampling| sampling.seed.is_some());
        let key = first
            .filter(|_| is_kept || is_seeded)
            .and_then(|request| RequestKey::of(&caller.tenant, &plan.name, &request));
        Ok(Self { request, caller, plan, expected, limit, key, is_kept })
    }

    fn late(&self) -> InferenceError {
        let limit_ms = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
        let backend = self.plan.name.clone();
        InferenceError::TimedOut { backend, what: TimedOut::Total, limit_ms }
    }

    /// Answers, within its budgets.
    async fn answer(
        &self,
        inner: &Inner,
        sink: Option<&dyn DeltaSink>,
    ) -> Result<Said, InferenceError> {
        let Held { reservation, answer_tokens } = self.hold(inner, &self.request)?;
        let time_left = Duration::from_millis(reservation.room().wall_ms);
        let mut request = self.request.clone();
        request.sampling.max_tokens = answer_tokens.or(request.sampling.max_tokens);
        let asked = estimate::asked_usage(&request, &self.plan);
        let at_unix_ms = self.caller.at_unix_ms;
        let mut spending = Spending::new(&self.plan, reservation, asked, at_unix_ms);
        let asking = self.asked(inner, &request, sink, &mut spending);
        let answered = match tokio::time::timeout(time_left, asking).await {
            Ok(answered) => answered,
            Err(_) => Err(AnswerError::Told(self.out_of_time(time_left))),
        };
        let error = match answered {
            Ok(completion) => {
                let is_cut = answer_tokens.is_some() && completion.finish == FinishReason::Length;
                return Ok(Said { completion, is_cut });
            }
            Err(error) => error,
        };
        let stand_in = match &error {
            AnswerError::Chain(chain) if chain.is_outage() => self.stand_in(inner),
            _ => None,
        };
        if let Some(completion) = stand_in {
            tell_all(sink, &completion.message);
            return Ok(Said { completion, is_cut: false });
        }
        Err(match error {
            AnswerError::Chain(chain) => chain.into_error(inner, &self.plan),
            AnswerError::Told(error) => error,
        })
    }

    fn hold(&self, inner: &Inner, request: &ChatRequest) -> Result<Held, InferenceError> {
        estimate::hold_for_chat(&inner.budgets, &self.caller, request, &self.plan)
            .map_err(InferenceError::BudgetExhausted)
    }

    /// A budget of time ran out in the middle.
    fn out_of_time(&self, limit: Duration) -> InferenceError {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let backend = format!("the budget of time for {}", self.plan.name);
        InferenceError::TimedOut { backend, what: TimedOut::Total, limit_ms }
    }

    /// Asks the chain; once more if the answer is not what it has to be.
    async fn asked(
        &self,
        inner: &Inner,
        request: &ChatRequest,
        sink: Option<&dyn DeltaSink>,
        spending: &mut Spending<'_>,
    ) -> Result<Completion, AnswerError> {
        let is_held = self.expected.is_checked();
        let live = if is_held { None } else { sink };
        let mut served = self.chain(inner, request, live, spending).await?;
        if let Err(problem) = self.expected.check(&mut served.value) {
            inner.counters.repairs.add(1);
            if served.value.finish == FinishReason::Length {
                let problem = format!("it was cut off by its limit of tokens; {problem}");
                return Err(self.bad_format(&served, problem));
            }
            let mut again = self.repair(&served.value, &problem);
            let Held { reservation, answer_tokens } =
                self.hold(inner, &again).map_err(AnswerError::Told)?;
            spending.hold(reservation);
            again.sampling.max_tokens = answer_tokens.or(again.sampling.max_tokens);
            served = self.chain(inner, &again, None, spending).await?;
            if let Err(problem) = self.expected.check(&mut served.value) {
                return Err(self.bad_format(&served, problem));
            }
        }
        let Answered { message, finish, .. } = served.value;
        if is_held {
            tell_all(sink, &message);
        }
        let (usage, served_by) = (spending.usage(), served.served_by);
        Ok(Completion { message, finish, usage, served_by })
    }

    async fn chain(
        &self,
        inner: &Inner,
        request: &ChatRequest,
        sink: Option<&dyn DeltaSink>,
        spending: &mut Spending<'_>,
    ) -> Result<Served<Answered>, AnswerError> {
        let came = spending.begin();
        let question = ChatQuestion {
            request,
            expected: &self.expected,
            caller: &self.caller,
            sink,
            came: &came,
            answer_max_bytes: inner.config.answer_max_bytes,
        };
        let served = inner.served(&self.plan, &question).await;
        let served = served.map_err(|error| {
            if error.has_begun() {
                spending.broke_off();
            } else {
                spending.failed();
            }
            AnswerError::Chain(error)
        })?;
        let mut usage = served.value.usage;
        if let Some(candidate) = self.plan.candidates.get(served.candidate) {
            usage.cost_micros = candidate.cost_micros(&usage);
        }
        spending.answered(usage);
        Ok(served)
    }

    /// The request again, with the answer and what is wrong with it.
    fn repair(&self, answered: &Answered, problem: &str) -> ChatRequest {
        let mut again = self.request.clone();
        let mut said = answered.message.clone();
        said.tool_calls.clear();
        said.thinking = None;
        if !said.content.is_empty() {
            again.messages.push(said);
        }
        let text = format!("That was not what was asked for: {problem}. Answer again.");
        again.messages.push(Message::text(Role::User, text));
        again
    }

    fn bad_format(&self, served: &Served<Answered>, message: String) -> AnswerError {
        let model = served.served_by.model.clone();
        AnswerError::Told(InferenceError::BadFormat { model, message })
    }

    /// What is said when no backend answers: an old answer to the same, or the operator's text,
    /// where a text will do.
    fn stand_in(&self, inner: &Inner) -> Option<Completion> {
        let kept = self.key.filter(|_| self.is_kept);
        if let Some(kept) = kept.and_then(|key| inner.answers().find(&key, Age::Any)) {
            return Some(as_kept(kept));
        }
        let text = inner.config.local_answer.as_ref().filter(|_| !self.expected.is_checked())?;
        let (backend, model) = (LOCAL.to_owned(), LOCAL.to_owned());
        Some(Completion {
            message: Message::text(Role::Assistant, text),
            finish: FinishReason::Stop,
            usage: FREE,
            served_by: ServedBy { backend, model, step: Step::Local },
        })
    }
}

/// What one model is asked of a chat.
struct ChatQuestion<'a> {
    request: &'a ChatRequest,
    expected: &'a Expected,
    caller: &'a Caller,
    sink: Option<&'a dyn DeltaSink>,
    came: &'a Came,
    answer_max_bytes: usize,
}

impl Question for ChatQuestion<'_> {
    type Answer = Answered;

    async fn ask(&self, candidate: &Candidate, lane: &Arc<Lane>) -> Result<Answered, Failure> {
        let request = candidate.request(self.request);
        let ask = Ask {
            request: &request,
            tools: &self.expected.tools,
            caller: self.caller,
            sink: self.sink,
            came: self.came,
            answer_max_bytes: self.answer_max_bytes,
        };
        attempt::chat(lane, &ask).await
    }
}

/// An answer, and whether a budget kept it short: nobody else need have it so.
struct Said {
    completion: Completion,
    is_cut: bool,
}

enum AnswerError {
    Chain(ChainError),
    Told(InferenceError),
}

/// An answer that costs nothing again.
fn as_kept(mut completion: Completion) -> Completion {
    completion.usage = FREE;
    if completion.served_by.step != Step::Local {
        completion.served_by.step = Step::Cache;
    }
    completion
}

/// All of an answer at once.
fn tell_all(sink: Option<&dyn DeltaSink>, message: &Message) {
    let Some(sink) = sink else { return };
    if let Some(thinking) = &message.thinking {
        sink.delta(Delta::Thinking(thinking));
    }
    let text = message.plain_text();
    if !text.is_empty() {
        sink.delta(Delta::Text(&text));
    }
    for call in &message.tool_calls {
        sink.delta(Delta::ToolCall(call));
    }
}
