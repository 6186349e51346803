//! From a recorded event to what those who watch are told of it. The same for events that were
//! recorded just now and for those that are read again from the journal.

use foreshore_domain::approval::{self, ApprovalClosed, ApprovalRequested};
use foreshore_domain::conversation::{
    Payload, QuestionAnswered, QuestionAsked, TurnEffect, TurnEnded, TurnIntended, TurnNote,
    TurnPhase, TurnQueued, TurnResumed, TurnStarted, TurnWaiting, kind,
};
use foreshore_domain::effect::{AgentEffect, AgentOutcome, ToolRequest};
use foreshore_domain::inference::Completion;
use foreshore_store::Journal;
use serde::de::DeserializeOwned;

use super::step::Outcome;
use super::update::TurnEvent;
use super::{ending, payload};

/// What there is to tell of an event; nothing where it cannot be read.
pub(crate) fn told(journal: &Journal, kind: &str, json: &[u8]) -> Vec<TurnEvent> {
    match kind {
        kind::QUEUED => one(json, |queued: TurnQueued| {
            let agent = queued.agent.as_str().to_owned();
            TurnEvent::Queued { conversation: queued.conversation, number: queued.number, agent }
        }),
        kind::STARTED => one(json, |started: TurnStarted| TurnEvent::Started {
            component: started.component.as_str().to_owned(),
        }),
        kind::RESUMED => {
            one(json, |resumed: TurnResumed| TurnEvent::Resumed { effects: resumed.effects })
        }
        kind::WAITING => {
            one(json, |waiting: TurnWaiting| TurnEvent::Waiting { until: waiting.until })
        }
        kind::PHASE => one(json, |phase: TurnPhase| TurnEvent::Phase {
            name: phase.phase.as_str().to_owned(),
            message: phase.message.map(|message| message.as_str().to_owned()),
        }),
        kind::NOTE => many(json, |note: TurnNote| {
            let payload = payload::text(journal, &note.payload).ok()?;
            Some(vec![TurnEvent::Note { kind: note.note.as_str().to_owned(), payload }])
        }),
        kind::ASKED => one(json, |asked: QuestionAsked| TurnEvent::Question(Box::new(asked))),
        kind::ANSWERED => one(json, |answered: QuestionAnswered| TurnEvent::Answered {
            question: answered.question,
            decision: answered.decision,
        }),
        approval::kind::REQUESTED => {
            one(json, |asked: ApprovalRequested| TurnEvent::ApprovalRequested(Box::new(asked)))
        }
        approval::kind::CLOSED => {
            one(json, |closed: ApprovalClosed| TurnEvent::ApprovalClosed(closed))
        }
        kind::INTENDED => many(json, |intended: TurnIntended| Some(intents(intended))),
        kind::EFFECT => many(json, |effect: TurnEffect| effect_told(journal, &effect)),
        kind::ENDED => many(json, |ended: TurnEnded| {
            let ended = ending::of_event(journal, ended).ok()?;
            Some(vec![TurnEvent::Ended(Box::new(ended))])
        }),
        _ => Vec::new(),
    }
}

fn intents(intended: TurnIntended) -> Vec<TurnEvent> {
    let number = intended.number;
    let calls = (0..).zip(intended.calls).map(|(index, call)| TurnEvent::ToolCall {
        number,
        index,
        call_id: call.call_id,
        tool: call.tool.as_str().to_owned(),
    });
    calls.chain(intended.delegated_to.map(|to| TurnEvent::Delegated { to })).collect()
}

fn effect_told(journal: &Journal, effect: &TurnEffect) -> Option<Vec<TurnEvent>> {
    if !matches!(effect.effect.as_str(), "infer" | "infer-all" | "call-tools") {
        return None;
    }
    let inferred = |completion: &Completion| TurnEvent::Inferred {
        served_by: completion.served_by.clone(),
        finish: completion.finish,
        usage: completion.usage,
        thinking: completion.message.thinking.clone(),
    };
    let outcome: Outcome = payload::value(journal, &effect.outcome).ok()?;
    Some(match outcome {
        Ok(AgentOutcome::Inferred(completion)) => vec![inferred(&completion)],
        Ok(AgentOutcome::InferredAll(all)) => all.iter().flatten().map(inferred).collect(),
        Ok(AgentOutcome::Called(results)) => {
            let requests = requests(journal, &effect.request);
            let number = effect.number;
            (0..)
                .zip(results)
                .map(|(index, result)| {
                    let request = usize::try_from(index).ok().and_then(|i| requests.get(i));
                    let (tool, arguments) = request
                        .map_or_else(Default::default, |r| (r.name.clone(), r.arguments.clone()));
                    TurnEvent::ToolResult { number, index, tool, arguments, result }
                })
                .collect()
        }
        _ => Vec::new(),
    })
}

fn requests(journal: &Journal, request: &Payload) -> Vec<ToolRequest> {
    match payload::value(journal, request) {
        Ok(AgentEffect::CallTools(requests)) => requests,
        _ => Vec::new(),
    }
}

fn one<T: DeserializeOwned>(json: &[u8], tell: impl FnOnce(T) -> TurnEvent) -> Vec<TurnEvent> {
    many(json, |value| Some(vec![tell(value)]))
}

fn many<T: DeserializeOwned>(
    json: &[u8],
    tell: impl FnOnce(T) -> Option<Vec<TurnEvent>>,
) -> Vec<TurnEvent> {
    serde_json::from_slice(json).ok().and_then(tell).unwrap_or_default()
}
