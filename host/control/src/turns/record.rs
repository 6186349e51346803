//! The record of a turn, read from its events: what it asked for, what it was given, and what
//! was under way when it stopped.
//!
//! Pure: events in, record out. The invariant, which whoever writes keeps: **effects are on
//! record from 0 without a gap, and at most the one after the last has an intent.**

use std::collections::BTreeMap;

use foreshore_domain::conversation::{
    EffectDigest, Name, Payload, TurnEffect, TurnIntended, TurnResumed, TurnStarted,
    TurnToolResult, TurnWaiting, Until, kind,
};
use foreshore_domain::event::{Stream, Tenant};
use foreshore_domain::id::TurnId;
use foreshore_store::{Event, Journal};
use serde::de::DeserializeOwned;

use super::payload::KeptError;

/// How many events are read at once.
const CHUNK: usize = 512;

/// What is on record of a turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// How it began, if it did.
    pub(crate) started: Option<TurnStarted>,
    /// What was asked and given, by number.
    pub(crate) effects: Vec<Recorded>,
    /// What was under way.
    pub(crate) open: Option<Open>,
    /// Milliseconds that it ran, waiting left out.
    pub(crate) wall_ms: u64,
    /// The number of its last event in the journal.
    pub(crate) last_seq: u64,
    ran_since: Option<u64>,
    last_at: u64,
}

/// One effect with its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) effect: Name,
    pub(crate) digest: EffectDigest,
    /// JSON of the effect.
    pub(crate) request: Payload,
    /// JSON of the `Result<AgentOutcome, AgentError>`.
    pub(crate) outcome: Payload,
    /// What the guest's clocks show after it.
    pub(crate) at_unix_ms: u64,
    /// The turn it delegated to.
    pub(crate) delegated_to: Option<TurnId>,
}

/// An effect that was intended and has no outcome.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) intended: TurnIntended,
    /// Where the intent is in the journal: what came of it is after that.
    pub(crate) seq: u64,
    /// What calls of it gave, by their index.
    pub(crate) results: BTreeMap<u32, Payload>,
    /// What it waits for.
    pub(crate) until: Option<Until>,
}

impl Record {
    /// Reads the record of a turn.
    ///
    /// # Errors
    /// [`KeptError`].
    pub(crate) fn read(
        journal: &Journal,
        tenant: &Tenant,
        turn: TurnId,
    ) -> Result<Self, KeptError> {
        let mut record = Self::default();
        let stream = Stream::Turn(turn);
        loop {
            let from = record.last_seq + 1;
            let events = journal.read_stream(tenant, &stream, from, CHUNK)?;
            let count = events.len();
            for event in events {
                record.add(&event)?;
            }
            if count < CHUNK {
                break;
            }
        }
        record.wall_ms += record.ran();
        record.ran_since = None;
        Ok(record)
    }

    fn add(&mut self, event: &Event) -> Result<(), KeptError> {
        self.last_seq = event.seq;
        match event.kind.as_str() {
            kind::STARTED => {
                self.started = Some(read::<TurnStarted>(event)?);
                self.ran_since = Some(event.at_unix_ms);
            }
            kind::RESUMED => {
                read::<TurnResumed>(event)?;
                self.wall_ms += self.ran();
                self.ran_since = Some(event.at_unix_ms);
            }
            kind::INTENDED => {
                let intended = read::<TurnIntended>(event)?;
                let results = BTreeMap::new();
                self.open = Some(Open { intended, seq: event.seq, results, until: None });
            }
            kind::WAITING => {
                let waiting = read::<TurnWaiting>(event)?;
                if let Some(open) = &mut self.open {
                    open.until = Some(waiting.until);
                }
            }
            kind::TOOL_RESULT => {
                let result = read::<TurnToolResult>(event)?;
                if let Some(open) = &mut self.open
                    && open.intended.number == result.number
                {
                    open.results.insert(result.index, result.outcome);
                }
            }
            kind::EFFECT => self.effect(read::<TurnEffect>(event)?)?,
            _ => {}
        }
        self.last_at = self.last_at.max(event.at_unix_ms);
        Ok(())
    }

    fn effect(&mut self, effect: TurnEffect) -> Result<(), KeptError> {
        let next = u64::try_from(self.effects.len()).unwrap_or(u64::MAX);
        if effect.number != next {
            let message = format!("effect {} is on record where {next} belongs", effect.number);
            return Err(KeptError::Form(message));
        }
        let open = self.open.take().filter(|open| open.intended.number == effect.number);
        self.effects.push(Recorded {
            effect: effect.effect,
            digest: effect.digest,
            request: effect.request,
            outcome: effect.outcome,
            at_unix_ms: effect.at_unix_ms,
            delegated_to: open.and_then(|open| open.intended.delegated_to),
        });
        Ok(())
    }

    /// How long the run lasted that was going on.
    fn ran(&self) -> u64 {
        self.ran_since.map_or(0, |since| self.last_at.saturating_sub(since))
    }
}

fn read<T: DeserializeOwned>(event: &Event) -> Result<T, KeptError> {
    serde_json::from_slice(&event.payload)
        .map_err(|error| KeptError::Form(format!("event {}: {error}", event.seq)))
}
