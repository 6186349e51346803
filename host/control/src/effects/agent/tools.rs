//! Calling tools for a turn: policy, budget, an intent with the id of every call, the calls, and
//! what a crash left of them.
//!
//! A call that may change something records its result **together with its own end**, in one
//! commit. So after a crash each call of an intent is one of four: it has a result, which is
//! taken; it never began (no `call.started` has its id) and is made now; it only reads, or is
//! idempotent, and is made again; or it began and left no end, and then nobody knows, and the
//! agent is told `unknown-outcome`. The intent of calls that only read need not be on disk
//! first: making them again changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use foreshore_domain::approval::{ApprovalRequested, ApprovalState};
use foreshore_domain::call::{CallError, FiredLimit, Interruption};
use foreshore_domain::component::{ToolHints, ToolName};
use foreshore_domain::conversation::{Fact, IntendedCall, Payload, TurnIntended, TurnToolResult};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{AgentError, AgentOutcome, BudgetKind, ToolRequest};
use foreshore_domain::event::EventKind;
use foreshore_domain::id::{ApprovalId, CallId};
use foreshore_domain::outcome::ToolResult;
use foreshore_store::approvals::ApprovalEntry;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::approval::Gate;
use super::{denied, invalid};
use crate::approvals;
use crate::clock;
use crate::invoke::Caller;
use crate::turns::Turns;
use crate::turns::live::Live;
use crate::turns::payload::{self, Entry};
use crate::turns::request::name;
use crate::turns::step::{Done, Step};
use crate::turns::tools::{Beside, ToolCall, ToolFacts};

/// The most calls of one effect.
const CALLS_MAX: usize = 32;
/// The most that run at once.
const PARALLEL_MAX: usize = 8;
/// How many events are looked at at once for the beginnings of calls.
const CHUNK: usize = 1_000;

/// What a call gave, in an agent's words.
pub(super) type Given = Result<ToolResult, AgentError>;

/// What becomes of one call.
pub(super) enum Plan {
    /// It was answered before, or is not made.
    Given(Given),
    Make {
        call_id: CallId,
        tool: ToolName,
        hints: ToolHints,
        /// What people agreed to, with the arguments that they did it for.
        approved: Option<(ApprovalId, String)>,
    },
    /// People decide first.
    Ask(Box<ApprovalRequested>),
}

impl Live {
    pub(super) fn list_tools(&self) -> Done {
        let tools = self.turns.tools().list().into_iter();
        let granted = tools.filter(|(name, _)| self.policy.allows_tool(name));
        let granted = granted.map(|(name, mut tool)| {
            tool.needs_approval = self.asks_for(&name);
            tool
        });
        Done::read(Ok(AgentOutcome::Tools(granted.collect())))
    }

    pub(super) async fn call_tools(
        self: &Arc<Self>,
        step: &Step,
        requests: &[ToolRequest],
    ) -> Result<Done, Interruption> {
        if requests.len() > CALLS_MAX {
            let message = format!("{} calls at once; at most {CALLS_MAX} are made", requests.len());
            return Ok(Done::read(Err(invalid("", message))));
        }
        self.still_waits(step).await?;
        let (ids, plans) = match self.left_by_a_crash(step, requests)? {
            Some(plans) => (Vec::new(), plans),
            None => {
                let (ids, plans) = self.plan(step, requests)?;
                if plans.iter().any(|plan| matches!(plan, Plan::Ask(_))) {
                    return self.ask_people(step, requests, (&ids, plans)).await;
                }
                (ids, plans)
            }
        };
        let changes =
            plans.iter().any(|plan| matches!(plan, Plan::Make { hints, .. } if !hints.read_only));
        if !ids.is_empty() {
            let intended = self.intended(step, requests, &ids, &[]);
            if changes {
                let mut entry = Entry::default();
                entry.push(intended);
                self.commit(entry, Vec::new()).await?;
            } else {
                self.soon(intended);
            }
        }
        let given = self.make(step, requests, plans).await?;
        // Each result that matters is on disk with its call's end, and the intent before it: the
        // effect follows from them, and need not be waited for.
        Ok(Done::soon(Ok(AgentOutcome::Called(given))))
    }

    pub(super) fn intended(
        &self,
        step: &Step,
        requests: &[ToolRequest],
        ids: &[CallId],
        approvals: &[Option<ApprovalId>],
    ) -> foreshore_domain::event::NewEvent {
        let calls = requests.iter().zip(ids).enumerate();
        let intended = TurnIntended {
            turn: self.id,
            number: step.number,
            effect: step.request.name(),
            digest: step.request.digest,
            calls: calls
                .map(|(index, (request, call_id))| IntendedCall {
                    call_id: *call_id,
                    tool: name(&request.name),
                    approval: approvals.get(index).copied().flatten(),
                })
                .collect(),
            delegated_to: None,
        };
        intended.event(clock::now_unix_ms(), self.turns.tenant())
    }

    /// Plans calls that are made for the first time. There are no ids where none is made.
    fn plan(
        &self,
        step: &Step,
        requests: &[ToolRequest],
    ) -> Result<(Vec<CallId>, Vec<Plan>), Interruption> {
        let covered = self.with_meter(|meter, wall| meter.reserve_calls(requests.len(), wall));
        let mut left = covered;
        let now = clock::now_unix_ms();
        let ids: Vec<CallId> = requests.iter().map(|_| CallId::new(now)).collect();
        let mut plans: Vec<Plan> = Vec::with_capacity(requests.len());
        for (request, call_id) in requests.iter().zip(&ids) {
            plans.push(match self.allowed(request) {
                Err(error) => Plan::Given(Err(error)),
                Ok(_) if left == 0 => Plan::Given(Err(AgentError::Exhausted(BudgetKind::Calls))),
                Ok((tool, facts)) => match self.weighed(request, &facts)? {
                    Gate::Open => {
                        left -= 1;
                        let hints = facts.hints;
                        Plan::Make { call_id: *call_id, tool, hints, approved: None }
                    }
                    Gate::Closed(error) => Plan::Given(Err(error)),
                    Gate::Asks(call, terms) => {
                        left -= 1;
                        match self.request(step, &call, terms) {
                            Ok(requested) => Plan::Ask(Box::new(requested)),
                            Err(error) => Plan::Given(Err(told(&request.name, error))),
                        }
                    }
                },
            });
        }
        let makes = plans.iter().any(|plan| matches!(plan, Plan::Make { .. } | Plan::Ask(_)));
        Ok((if makes { ids } else { Vec::new() }, plans))
    }

    /// Plans what is left to do of calls that a crash cut short; `None` if none did.
    fn left_by_a_crash(
        &self,
        step: &Step,
        requests: &[ToolRequest],
    ) -> Result<Option<Vec<Plan>>, Interruption> {
        let Some(open) = &step.open else { return Ok(None) };
        let calls = &open.intended.calls;
        let ids: HashSet<String> =
            calls.iter().map(|call| format!("call/{}", call.call_id)).collect();
        // No call began before the last of them was decided.
        let decided = self.decided(calls)?;
        let after = decided.values().filter_map(|entry| entry.closed_seq).max();
        let begun = begun(&self.turns, after.unwrap_or(0).max(open.seq), &ids)?;
        let mut plans = Vec::with_capacity(requests.len());
        for (index, (request, call)) in (0..).zip(requests.iter().zip(calls)) {
            let entry = call.approval.and_then(|approval| decided.get(&approval));
            plans.push(match entry {
                Some(entry) => self.left_of_decided(request, call, open.results.get(&index), entry),
                None => self.left_of(request, call, open.results.get(&index), &begun),
            }?);
        }
        if !decided.is_empty() {
            // Time went by, and the budget may have run out meanwhile.
            let mut left = self.with_meter(|meter, wall| meter.reserve_calls(requests.len(), wall));
            for plan in &mut plans {
                if matches!(plan, Plan::Make { .. }) && left == 0 {
                    *plan = Plan::Given(Err(AgentError::Exhausted(BudgetKind::Calls)));
                } else if matches!(plan, Plan::Make { .. }) {
                    left -= 1;
                }
            }
        }
        Ok(Some(plans))
    }

    /// What is left of a call that people decided. One that was let begin has used that up, and is
    /// not made again, whatever the tool says of itself.
    fn left_of_decided(
        &self,
        request: &ToolRequest,
        call: &IntendedCall,
        result: Option<&Payload>,
        entry: &ApprovalEntry,
    ) -> Result<Plan, Interruption> {
        if let Some(result) = result {
            return Ok(Plan::Given(self.kept(result)?));
        }
        let approval = entry.requested.approval;
        Ok(match (entry.state, self.allowed(request)) {
            (ApprovalState::Used, _) => {
                Plan::Given(Err(AgentError::UnknownOutcome(request.name.clone())))
            }
            (_, Err(error)) => Plan::Given(Err(error)),
            (ApprovalState::Approved, Ok((tool, facts))) => {
                let arguments = entry.arguments().as_str().to_owned();
                let (call_id, hints) = (call.call_id, facts.hints);
                Plan::Make { call_id, tool, hints, approved: Some((approval, arguments)) }
            }
            _ => Plan::Given(Err(AgentError::Refused(approvals::no(entry)))),
        })
    }

    fn kept(&self, result: &Payload) -> Result<Given, Interruption> {
        payload::value::<Given>(self.turns.journal(), result)
            .map_err(|error| Interruption::NotRecorded { message: error.to_string() })
    }

    fn left_of(
        &self,
        request: &ToolRequest,
        call: &IntendedCall,
        result: Option<&Payload>,
        begun: &HashSet<String>,
    ) -> Result<Plan, Interruption> {
        if let Some(result) = result {
            return Ok(Plan::Given(self.kept(result)?));
        }
        let has_begun = begun.contains(&format!("call/{}", call.call_id));
        let made = |call_id, tool, facts: ToolFacts| Plan::Make {
            call_id,
            tool,
            hints: facts.hints,
            approved: None,
        };
        Ok(match self.allowed(request) {
            Ok((tool, facts)) if facts.hints.read_only || facts.hints.idempotent => {
                made(CallId::new(clock::now_unix_ms()), tool, facts)
            }
            _ if has_begun => Plan::Given(Err(AgentError::UnknownOutcome(request.name.clone()))),
            Ok((tool, facts)) => match self.weighed(request, &facts)? {
                Gate::Open => made(call.call_id, tool, facts),
                Gate::Closed(error) => Plan::Given(Err(error)),
                Gate::Asks(..) => {
                    let message = "a person has to approve it now; call it again to ask";
                    Plan::Given(Err(AgentError::Refused(message.to_owned())))
                }
            },
            Err(error) => Plan::Given(Err(error)),
        })
    }

    /// The tool that is meant, if it is there and policy lets this agent call it.
    pub(super) fn allowed(
        &self,
        request: &ToolRequest,
    ) -> Result<(ToolName, ToolFacts), AgentError> {
        let not_found = || AgentError::NotFound(format!("tool {}", short(&request.name)));
        let tool: ToolName = request.name.parse().map_err(|_| not_found())?;
        if !self.policy.allows_tool(&tool) {
            let subject = format!("tool {tool}");
            let grant =
                format!("[agents.{}] tools = [\"{}.{}\"]", self.agent, tool.component, tool.tool);
            return Err(denied(Denial { code: DenialCode::ToolNotGranted, subject, grant }));
        }
        match self.turns.tools().find(&tool) {
            Ok(facts) => Ok((tool, facts)),
            Err(error) => Err(told(&request.name, error)),
        }
    }

    /// Makes the calls, several at once, and gives what each gave in the order of the requests.
    async fn make(
        self: &Arc<Self>,
        step: &Step,
        requests: &[ToolRequest],
        plans: Vec<Plan>,
    ) -> Result<Vec<Given>, Interruption> {
        let mut given: BTreeMap<usize, Given> = BTreeMap::new();
        let mut made = JoinSet::new();
        let parallel = Arc::new(Semaphore::new(PARALLEL_MAX));
        for (index, (plan, request)) in plans.into_iter().zip(requests).enumerate() {
            let (call_id, tool, hints, approved) = match plan {
                Plan::Given(answer) => {
                    given.insert(index, answer);
                    continue;
                }
                Plan::Make { call_id, tool, hints, approved } => (call_id, tool, hints, approved),
                // The turn ended to wait before it came here.
                Plan::Ask(_) => return Err(Interruption::Waiting),
            };
            let (approval, arguments) = approved.unzip();
            let call = ToolCall {
                call_id,
                tool,
                arguments: arguments.unwrap_or_else(|| request.arguments.clone()),
                caller: Caller::Turn {
                    agent: Arc::clone(&self.agent),
                    turn: self.id,
                    conversation: self.conversation.clone(),
                },
                approval,
                principal: Arc::clone(&self.principal),
                beside: (!hints.read_only).then(|| self.beside(step, index, call_id, request)),
            };
            let (parallel, tools) = (Arc::clone(&parallel), Arc::clone(self.turns.tools()));
            made.spawn(async move {
                let _permit = parallel.acquire_owned().await;
                (index, tools.call(call).await)
            });
        }
        while let Some(ended) = made.join_next().await {
            let (index, result) = match ended {
                Ok(ended) => ended,
                // The host stops where it stands; what the call came to is not known here.
                Err(error) if error.is_cancelled() => return Err(Interruption::ShuttingDown),
                Err(_) => continue,
            };
            given.insert(index, self.answered(&requests[index].name, result)?);
        }
        let lost = || Err(AgentError::Failed("the host lost this call".to_owned()));
        Ok((0..requests.len()).map(|index| given.remove(&index).unwrap_or_else(lost)).collect())
    }

    /// What a call gave; where the host itself cannot go on, the turn stops before anything of
    /// it is recorded, and takes it up again from there.
    fn answered(
        &self,
        tool: &str,
        result: Result<ToolResult, CallError>,
    ) -> Result<Given, Interruption> {
        match result {
            Err(CallError::ShuttingDown) => Err(Interruption::ShuttingDown),
            Err(CallError::StoreReadOnly { message }) => Err(Interruption::NotRecorded { message }),
            result => Ok(result.map_err(|error| told(tool, error))),
        }
    }

    /// The result of a call as it is recorded with the call's end.
    fn beside(&self, step: &Step, index: usize, call_id: CallId, request: &ToolRequest) -> Beside {
        let (turn, number, tool) = (self.id, step.number, request.name.clone());
        let tenant = self.turns.tenant();
        Box::new(move |result| {
            let given: Given = result.clone().map_err(|error| told(&tool, error));
            let mut entry = Entry::default();
            let outcome = entry.keep(&given, "");
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let result =
                TurnToolResult { turn, number, index, call_id, outcome, blobs: Vec::new() };
            entry.push(result.event(clock::now_unix_ms(), tenant));
            entry
        })
    }
}

/// Which of these streams of calls have a beginning on record after an intent. There is no list
/// of the events of a call, so this reads on from the intent; it is done once, after a crash,
/// which came soon after it.
fn begun(
    turns: &Turns,
    after: u64,
    ids: &HashSet<String>,
) -> Result<HashSet<String>, Interruption> {
    let unreadable = |error: foreshore_store::ReadError| Interruption::NotRecorded {
        message: error.to_string(),
    };
    let started = EventKind::CallStarted.as_str();
    let mut begun = HashSet::new();
    let mut from = after + 1;
    while begun.len() < ids.len() {
        let events = turns.journal().read(from, CHUNK).map_err(unreadable)?;
        let Some(last) = events.last() else { break };
        from = last.seq + 1;
        begun.extend(
            events
                .into_iter()
                .filter(|event| event.kind == started && ids.contains(&event.stream))
                .map(|event| event.stream),
        );
    }
    Ok(begun)
}

fn short(text: &str) -> String {
    crate::record::shortened(text, 128)
}

/// Why a call gave no result, in an agent's words.
fn told(tool: &str, error: CallError) -> AgentError {
    let text = error.to_string();
    match error {
        CallError::UnknownTool { tool, .. } => AgentError::NotFound(format!("tool {tool}")),
        CallError::InvalidArguments { pointer, message, .. } => {
            AgentError::Invalid { pointer, message }
        }
        CallError::Denied(denial) => denied(denial),
        CallError::Refused { message } => AgentError::Refused(message),
        CallError::ApprovalStale { .. } | CallError::ApprovalRequired { .. } => {
            AgentError::Refused(text)
        }
        CallError::Limit { limit, .. } => AgentError::Exhausted(used_up(limit)),
        CallError::Overloaded { retry_after, .. } => {
            AgentError::Unavailable(u32::try_from(retry_after.as_millis()).ok())
        }
        CallError::ShuttingDown | CallError::StoreReadOnly { .. } | CallError::Cancelled => {
            AgentError::Unavailable(None)
        }
        _ => AgentError::Failed(format!("{}: {text}", short(tool))),
    }
}

fn used_up(limit: FiredLimit) -> BudgetKind {
    match limit {
        FiredLimit::Fuel => BudgetKind::Fuel,
        FiredLimit::Deadline => BudgetKind::Time,
        FiredLimit::Result | FiredLimit::HostCall => BudgetKind::Bytes,
        FiredLimit::Memory
        | FiredLimit::Table
        | FiredLimit::Instances
        | FiredLimit::Handles
        | FiredLimit::HostOperations
        | FiredLimit::Stack => BudgetKind::Memory,
    }
}
