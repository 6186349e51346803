//! What was said before in the turn's conversation, its rolling summary, and events that the
//! agent puts on the record.

use foreshore_domain::conversation::{ConversationSummarized, Fact, SummaryText, TurnNote};
use foreshore_domain::effect::{AgentError, AgentOutcome, BudgetKind, Said};
use foreshore_domain::inference::{Image, Message, Part, Role};
use foreshore_domain::outcome::{Content, ContentBody, ResourceBody};
use serde_json::value::RawValue;

use super::invalid;
use super::variables::told;
use crate::clock;
use crate::conversations::SaidTurn;
use crate::turns::live::Live;
use crate::turns::payload::Entry;
use crate::turns::request::name;
use crate::turns::step::Done;

/// The most messages of one answer.
const MESSAGES_MAX: u32 = 200;
/// The largest event that an agent puts on the record.
const NOTE_MAX_BYTES: usize = 64 << 10;

impl Live {
    /// The last messages before this turn: of each turn what the person wrote, and the reply;
    /// before them what the caller says was said before.
    pub(super) fn recent(&self, limit: u32) -> Done {
        let limit = usize::try_from(limit.min(MESSAGES_MAX)).unwrap_or_default();
        let turns = self.turns.conversations().said_before(&self.conversation, self.number, limit);
        let own = self.turns.conversations().said_turn(self.id);
        let said = turns.and_then(|turns| Ok((turns, own?))).map(|(turns, own)| {
            let mut said = Vec::new();
            let earlier = |turn: &SaidTurn| {
                let number = turn.number;
                let history = turn.history.clone().into_iter();
                history.map(move |message| Said { turn: number, message })
            };
            for turn in turns {
                said.extend(earlier(&turn));
                let mut add = |role, content: &[Content]| {
                    let message = message(role, content);
                    if !message.content.is_empty() {
                        said.push(Said { turn: turn.number, message });
                    }
                };
                add(Role::User, &turn.message);
                add(Role::Assistant, &turn.reply);
            }
            said.extend(own.iter().flat_map(earlier));
            let surplus = said.len().saturating_sub(limit);
            AgentOutcome::Messages(said.split_off(surplus))
        });
        Done::read(said.map_err(told))
    }

    pub(super) fn summary(&self) -> Done {
        let summary = self.turns.conversations().summary(&self.conversation);
        Done::read(summary.map(AgentOutcome::Summary).map_err(told))
    }

    pub(super) fn set_summary(&self, text: &str, through_turn: u64) -> Done {
        let covered = match self.turns.conversations().summary(&self.conversation) {
            Ok(summary) => summary.map(|(_, through)| through),
            Err(fault) => return Done::read(Err(told(fault))),
        };
        if through_turn > self.number || covered.is_some_and(|covered| through_turn < covered) {
            let message = format!(
                "a summary through turn {through_turn} is refused: the newest turn is {}, and turn {} is covered",
                self.number,
                covered.map_or_else(|| "none".to_owned(), |covered| covered.to_string()),
            );
            return Done::read(Err(invalid("", message)));
        }
        let text = match SummaryText::parse(text) {
            Ok(text) => text,
            Err(error) => return Done::read(Err(invalid("", error.to_string()))),
        };
        let conversation = self.conversation.clone();
        let summarized = ConversationSummarized { conversation, text, through_turn };
        let mut done = Done::durable(Ok(AgentOutcome::Done));
        done.entry.push(summarized.event(clock::now_unix_ms(), self.turns.tenant()));
        done
    }

    pub(super) fn emit(&self, kind: &str, payload: &RawValue) -> Done {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_kind = kind.len() <= 64
            && kind.bytes().next().is_some_and(plain)
            && kind.bytes().all(|byte| plain(byte) || b"._-".contains(&byte));
        if !is_kind {
            let message = "a kind of event is 1 to 64 of a-z, 0-9, \".\", \"_\" and \"-\", and starts with a letter or digit";
            return Done::read(Err(invalid("/kind", message)));
        }
        if payload.get().len() > NOTE_MAX_BYTES {
            return Done::read(Err(AgentError::Exhausted(BudgetKind::Bytes)));
        }
        let mut entry = Entry::default();
        let payload = entry.keep_json(payload.get().to_owned(), "");
        let note = TurnNote { turn: self.id, note: name(kind), payload, blobs: Vec::new() };
        entry.push(note.event(clock::now_unix_ms(), self.turns.tenant()));
        Done { entry, ..Done::durable(Ok(AgentOutcome::Done)) }
    }
}

/// What was said, as a model reads it.
pub(crate) fn message(role: Role, content: &[Content]) -> Message {
    let parts = content.iter().filter_map(part).collect();
    Message { content: parts, ..Message::text(role, "") }
}

fn part(content: &Content) -> Option<Part> {
    match &content.body {
        ContentBody::Text(text) => Some(Part::Text(text.clone())),
        ContentBody::Json(json) => Some(Part::Text(json.get().to_owned())),
        ContentBody::Image(media) => Some(Part::Image(Image {
            data: media.data.clone().into(),
            mime_type: media.mime_type.clone(),
        })),
        ContentBody::Resource(resource) => match &resource.body {
            ResourceBody::Text(text) => Some(Part::Text(text.clone())),
            ResourceBody::Link | ResourceBody::Blob(_) => Some(Part::Text(resource.uri.clone())),
        },
        // No model here listens.
        ContentBody::Audio(_) => None,
    }
}
