//! The one path to a guest: whoever asks (HTTP, command line, a test), a call goes through here.
//!
//! > admit -> resolve -> lower limits -> check arguments -> approve -> record -> run -> record ->
//! > answer
//!
//! If the caller goes away, what is read-only is stopped where it is, and anything else runs on
//! to its end in a task that a drain waits for: a side effect is never cut in half because a
//! socket closed. Invariants: no guest runs without all limits, and every call of which a guest
//! has run leaves a `call.completed`, however it ended.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use foreshore_domain::call::{CallContext, CallError, Denials, Meter, Observer};
use foreshore_domain::component::ToolName;
use foreshore_domain::conversation::Conversation;
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::id::{ApprovalId, CallId, TurnId};
use foreshore_domain::identity::{Permission, Principal};
use foreshore_domain::limits::LimitsPatch;
use foreshore_domain::outcome::{CallFailure, Content, Logs, Outcome, ToolResult, Usage};
use foreshore_runtime::{CallReport, Found, LoadError, NotFound, Snapshot, Tool};
use foreshore_store::AppendError;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::admission::Permit;
use crate::approvals::{Approvals, Candidate, Ticket, Weighed};
use crate::arguments;
use crate::clock;
use crate::effects::Door;
use crate::record::{CallFacts, Recorder};
use crate::turns::tools::Beside;

/// A call to be made.
pub struct Invocation {
    /// Which tool.
    pub tool: ToolName,
    /// A JSON object in UTF-8; empty means `{}`.
    pub arguments: Bytes,
    /// Limits to lower; a value above the operator's changes nothing.
    pub limits: LimitsPatch,
    /// On whose behalf it is made.
    pub principal: Arc<Principal>,
    /// Who watches, if anybody.
    pub observer: Option<Arc<dyn Observer>>,
    /// The approval that lets it run, where whoever asks has one.
    pub approval: Option<ApprovalId>,
}

impl Invocation {
    /// A call with the operator's limits that nobody watches, on behalf of the host itself.
    pub fn new(tool: ToolName, arguments: impl Into<Bytes>) -> Self {
        Self {
            tool,
            arguments: arguments.into(),
            limits: LimitsPatch::default(),
            principal: Principal::host(),
            observer: None,
            approval: None,
        }
    }

    /// The same call once more, that nobody watches.
    pub fn again(&self) -> Self {
        Self {
            tool: self.tool.clone(),
            arguments: self.arguments.clone(),
            limits: self.limits,
            principal: Arc::clone(&self.principal),
            observer: None,
            approval: self.approval,
        }
    }
}

/// Who makes a call, as its events name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A person or a program, from outside.
    Outside,
    /// An agent, in a turn.
    Turn {
        /// Its name in the configuration.
        agent: Arc<str>,
        /// The turn.
        turn: TurnId,
        /// Where it is.
        conversation: Conversation,
    },
}

/// What every call needs of the host.
pub(crate) struct Invoker {
    pub(crate) door: Arc<Door>,
    pub(crate) recorder: Recorder,
    pub(crate) approvals: Approvals,
    pub(crate) tasks: TaskTracker,
}

impl Invoker {
    pub(crate) async fn invoke(
        &self,
        permit: Permit,
        snapshot: &Snapshot,
        invocation: Invocation,
    ) -> Result<Outcome, Box<CallFailure>> {
        let call_id = CallId::new(clock::now_unix_ms());
        self.invoke_as(permit, snapshot, invocation, call_id, Caller::Outside, None).await
    }

    /// As [`Self::invoke`], under an id that was made before, and with what else is recorded in
    /// the commit of its end if it may have changed something.
    pub(crate) async fn invoke_as(
        &self,
        permit: Permit,
        snapshot: &Snapshot,
        invocation: Invocation,
        call_id: CallId,
        caller: Caller,
        beside: Option<Beside>,
    ) -> Result<Outcome, Box<CallFailure>> {
        let approval = invocation.approval;
        let (mut run, arguments) = self
            .prepare(call_id, snapshot, invocation, caller, beside)
            .map_err(|error| failure(call_id, error))?;
        self.approved(&mut run, arguments, approval)
            .await
            .map_err(|error| failure(call_id, error))?;
        if run.context.hints.read_only {
            let outcome = run.run().await;
            drop(permit);
            return outcome;
        }
        let task = self.tasks.spawn(async move {
            let outcome = run.run().await;
            drop(permit);
            outcome
        });
        task.await.unwrap_or_else(|error| {
            let message = format!("the task of the call ended early: {error}");
            Err(failure(call_id, CallError::Host { message }))
        })
    }

    /// Everything that can be said before a guest runs.
    fn prepare(
        &self,
        call_id: CallId,
        snapshot: &Snapshot,
        invocation: Invocation,
        caller: Caller,
        beside: Option<Beside>,
    ) -> Result<(Run, Value), CallError> {
        permitted(&invocation)?;
        let found = self.resolve(call_id, snapshot, &invocation)?;
        let (component, tool) = (found.component(), found.tool());
        let invalid = |pointer: String, message: String| CallError::InvalidArguments {
            tool: invocation.tool.to_string(),
            pointer,
            message,
        };
        let policy = component.policy();
        let limits = policy
            .limits
            .lowered(&invocation.limits)
            .map_err(|error| invalid(String::new(), error.to_string()))?;
        let (_, value) = arguments::parse(&tool.name, &invocation.arguments)?;
        tool.check_arguments(&value)
            .map_err(|violation| invalid(violation.pointer, violation.message))?;
        let context = Arc::new(CallContext {
            call_id,
            component: component.reference().clone(),
            digest: component.digest(),
            tool: Arc::clone(&tool.name),
            hints: tool.definition.hints,
            principal: invocation.principal,
            grant: Arc::clone(&policy.grant),
            limits,
            turn: None,
            observer: invocation.observer,
            meter: Meter::default(),
            denials: Denials::default(),
        });
        let ending = Ending {
            door: Arc::clone(&self.door),
            recorder: self.recorder.clone(),
            context: Arc::clone(&context),
            caller,
            beside,
            started: false,
        };
        let arguments = invocation.arguments;
        Ok((Run { found, context, arguments, ticket: None, ending }, value))
    }

    /// Sees to it that a call that a person has to approve has been: gives it what lets it begin,
    /// or puts the question on record and ends it here.
    async fn approved(
        &self,
        run: &mut Run,
        arguments: Value,
        shown: Option<ApprovalId>,
    ) -> Result<(), CallError> {
        let agent = match &run.ending.caller {
            Caller::Outside => None,
            Caller::Turn { agent, conversation, .. } => {
                Some((Arc::clone(agent), conversation.clone()))
            }
        };
        let is_of_a_turn = agent.is_some();
        let call = Candidate::of(&run.context, arguments, agent);
        run.ticket = match (self.approvals.weigh(&call)?, shown) {
            (Weighed::Denied(denial), _) => {
                run.ending.deny(denial.clone());
                return Err(denial.into());
            }
            // What is shown is held to its binding even where the rules ask no more: then they are
            // not those under which somebody agreed.
            (_, Some(approval)) => Some(self.approvals.show(&call, approval)?),
            (Weighed::Free, None) => None,
            (Weighed::Standing(ticket), None) => Some(ticket),
            (Weighed::Asks(terms), None) if !is_of_a_turn => {
                return Err(self.approvals.ask(&call, terms).await?);
            }
            (Weighed::Asks(_), None) => {
                let message = "the tool changed as it was called, and needs approval now";
                return Err(CallError::Refused { message: message.to_owned() });
            }
        };
        if let Some(ticket) = &run.ticket {
            // What was shown to whoever agreed, to the byte.
            run.arguments = Bytes::from(ticket.arguments.clone());
        }
        Ok(())
    }

    fn resolve(
        &self,
        call_id: CallId,
        snapshot: &Snapshot,
        invocation: &Invocation,
    ) -> Result<Found, CallError> {
        let name = &invocation.tool;
        snapshot.find(name).map_err(|not_found| {
            let refused = not_found.refused.clone();
            let error = Self::not_found(name, not_found);
            if let (CallError::Denied(denial), Some(refused)) = (&error, refused)
                && let Some(component) = &refused.reference
            {
                self.recorder.denied(call_id, component, denial.clone(), &invocation.principal);
            }
            error
        })
    }

    /// Why a name leads to no tool.
    pub(crate) fn not_found(name: &ToolName, not_found: NotFound) -> CallError {
        let Some(refused) = not_found.refused else {
            return CallError::UnknownTool {
                tool: name.to_string(),
                suggestion: not_found.suggestion,
            };
        };
        match &*refused.error {
            LoadError::Denied(denial) => denial.clone().into(),
            error => CallError::Refused {
                message: format!("component \"{}\" was not loaded: {error}", name.component),
            },
        }
    }
}

/// Whether whoever asks may call the tool: the second of two walls for requests from outside, the
/// only one for whoever acts on somebody's behalf.
fn permitted(invocation: &Invocation) -> Result<(), CallError> {
    let Invocation { tool, principal, .. } = invocation;
    if principal.may_call(tool) {
        return Ok(());
    }
    let (code, subject) = (DenialCode::ToolNotPermitted, format!("tool {tool}"));
    let grant =
        format!("a role with {} for {}.{}", Permission::CallTools, tool.component, tool.tool);
    Err(CallError::Denied(Denial { code, subject, grant }))
}

/// One call that may run. Owns all that it needs, so that it can outlive whoever asked.
struct Run {
    found: Found,
    context: Arc<CallContext>,
    arguments: Bytes,
    /// What lets it begin, where that takes somebody's approval.
    ticket: Option<Ticket>,
    ending: Ending,
}

impl Run {
    async fn run(self) -> Result<Outcome, Box<CallFailure>> {
        let Self { found, context, arguments, ticket, mut ending } = self;
        let call_id = context.call_id;
        if !context.hints.read_only || ticket.is_some() {
            let started = ending.recorder.call_started(&ending.facts(), ticket.as_ref()).await;
            started.map_err(|error| match (&error, &ticket) {
                (AppendError::Conflict(_), Some(ticket)) => failure(call_id, ticket.moved()),
                _ => failure(call_id, not_recorded(&error)),
            })?;
        }
        ending.started = true;
        let text = arguments::text(&arguments).unwrap_or_default();
        let call = found.component().call(Arc::clone(&context), found.tool(), text);
        let report = caught(call).await.unwrap_or_else(panicked);
        let CallReport { mut result, usage, mut logs } = report;
        if let Some(held) = ending.door.custody().held() {
            result = result.map(|mut result| {
                held.scrub_result(&mut result);
                result
            });
            held.scrub_logs(&mut logs);
        }
        // What it is checked against are its own words without secrets, and so are the words of
        // what does not match.
        let mut result = checked(found.tool(), &context, result);
        if let (Err(error), Some(held)) = (&mut result, ending.door.custody().held()) {
            held.scrub_error(error);
        }
        let (code, result) = map(result);
        let denials = ending.finish(code, usage, &result).await.map_err(|error| {
            let message = format!("it ran, but that could not be recorded: {error}");
            Box::new(CallFailure {
                call_id,
                error: CallError::Host { message },
                usage,
                logs: Logs::default(),
            })
        })?;
        match result {
            Ok(result) => Ok(Outcome {
                call_id,
                component: context.component.clone(),
                result,
                usage,
                denials,
                logs,
            }),
            Err(error) => Err(Box::new(CallFailure { call_id, error, usage, logs })),
        }
    }
}

/// Sees to it that a call that began is recorded once, even if its future is dropped.
struct Ending {
    door: Arc<Door>,
    recorder: Recorder,
    context: Arc<CallContext>,
    caller: Caller,
    /// What is recorded in the commit of the end.
    beside: Option<Beside>,
    /// A guest may have run, and the end has not been recorded.
    started: bool,
}

impl Ending {
    /// Records the denials and the end of the call; gives back the denials.
    async fn finish(
        mut self,
        code: &'static str,
        usage: Usage,
        result: &Result<ToolResult, CallError>,
    ) -> Result<Vec<Denial>, foreshore_store::AppendError> {
        self.started = false;
        let denials = self.record_denials(result.as_ref().err());
        let facts = self.facts();
        if self.context.hints.read_only {
            self.recorder.call_completed_soon(facts, code, usage);
        } else {
            let beside = self.beside.take().map(|beside| beside(result)).unwrap_or_default();
            self.recorder.call_completed(&facts, code, usage, beside).await?;
        }
        Ok(denials)
    }

    fn deny(&self, denial: Denial) {
        let CallContext { call_id, component, principal, .. } = &*self.context;
        self.recorder.denied(*call_id, component, denial, principal);
    }

    fn facts(&self) -> CallFacts {
        CallFacts::of(&self.context, self.caller.clone())
    }

    /// All that the caller is told was denied is recorded as denied: the list of the call, and
    /// the error it ends with if that is not in the list.
    fn record_denials(&self, error: Option<&CallError>) -> Vec<Denial> {
        let mut denials = self.context.denials.take();
        if let Some(held) = self.door.custody().held() {
            denials.iter_mut().for_each(|denial| held.scrub_denial(denial));
        }
        for denial in &denials {
            self.deny(denial.clone());
        }
        if let Some(CallError::Denied(denial)) = error
            && !denials.contains(denial)
        {
            self.deny(denial.clone());
        }
        denials
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.door.call_ended(self.context.call_id);
        if self.started {
            self.record_denials(None);
            let usage =
                Usage { egress_bytes: self.context.meter.egress_bytes(), ..Usage::default() };
            let facts = self.facts();
            self.recorder.call_completed_soon(facts, CallError::Cancelled.code(), usage);
        }
    }
}

/// Holds a result to the schema that its own tool gives; one that does not match is a fault of
/// the tool, as a crash is.
fn checked(
    tool: &Tool,
    context: &CallContext,
    result: Result<ToolResult, CallError>,
) -> Result<ToolResult, CallError> {
    let result = result?;
    let Some(structured) = &result.structured else { return Ok(result) };
    if result.is_error || tool.definition.output_schema.is_none() {
        return Ok(result);
    }
    let violation = match serde_json::from_str(structured.get()) {
        Ok(value) => tool.check_structured(&value).err().map(|violation| violation.to_string()),
        Err(error) => Some(error.to_string()),
    };
    match violation {
        None => Ok(result),
        Some(violation) => Err(CallError::Trap {
            component: context.component.clone(),
            message: format!("its result does not match its own output schema: {violation}"),
        }),
    }
}

/// The code that is recorded, and what the caller gets. A crash of the tool is the tool's own
/// failure, told in words that a model or a person can act on.
fn map(result: Result<ToolResult, CallError>) -> (&'static str, Result<ToolResult, CallError>) {
    match result {
        Ok(result) if result.is_error => ("tool_error", Ok(result)),
        Ok(result) => ("ok", Ok(result)),
        Err(error @ CallError::Trap { .. }) => {
            let text = format!("the tool crashed and was stopped: {error}");
            let result =
                ToolResult { is_error: true, content: vec![Content::text(text)], structured: None };
            (error.code(), Ok(result))
        }
        Err(error) => (error.code(), Err(error)),
    }
}

/// Runs a future; `Err` if it panicked, which ends this call and not the host.
async fn caught<F: Future>(future: F) -> Result<F::Output, ()> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // What the future held is dropped and never looked at again.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(())),
        }
    })
    .await
}

fn panicked((): ()) -> CallReport {
    CallReport {
        result: Err(CallError::Host { message: "the host panicked in this call".to_owned() }),
        usage: Usage::default(),
        logs: Logs::default(),
    }
}

/// Why a call with side effects was not run.
fn not_recorded(error: &AppendError) -> CallError {
    match error {
        AppendError::Failed { message } | AppendError::Write { message } => {
            CallError::StoreReadOnly { message: message.clone() }
        }
        error => {
            let message = format!("not run, because it could not be recorded: {error}");
            CallError::Host { message }
        }
    }
}

/// A call of which no guest has run.
pub(crate) fn failure(call_id: CallId, error: CallError) -> Box<CallFailure> {
    Box::new(CallFailure { call_id, error, usage: Usage::default(), logs: Logs::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_and_becomes_the_hosts_fault() {
        let report = caught(async {
            tokio::task::yield_now().await;
            panic!("in a poll");
        })
        .await
        .unwrap_or_else(panicked);
        assert!(matches!(report.result, Err(CallError::Host { .. })));
        assert_eq!(caught(async { 7 }).await, Ok(7));
    }

    #[test]
    fn a_crash_is_the_tools_failure_and_not_the_hosts() {
        let component = foreshore_domain::component::ComponentRef::new(
            "rogue",
            "1.0.0".parse().expect("a version"),
        )
        .expect("a name");
        let trap = CallError::Trap { component, message: "unreachable".to_owned() };
        let (code, result) = map(Err(trap));
        let result = result.expect("an outcome");
        assert_eq!(code, "guest_trapped");
        assert!(result.is_error);
        let foreshore_domain::outcome::ContentBody::Text(text) = &result.content[0].body else {
            panic!("a text");
        };
        assert!(text.contains("crashed") && text.contains("unreachable"), "{text}");
    }
}
