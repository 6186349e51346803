//! The members, and what they answer.

use foreshore_sdk::agent::inference::{Role, chat_all};
use foreshore_sdk::agent::text::cut;
use foreshore_sdk::agent::{Chat, Message, conversation, events, reply};
use foreshore_sdk::{Error, log};
use serde_json::json;

use crate::parameters::{Member, Parameters};

/// How many messages of the conversation a member is given.
const RECENT: u32 = 6;
/// The most of one of them, in bytes.
const TEXT: usize = 2_000;

/// An answer of a member.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    /// Which member, from 1.
    pub(crate) member: usize,
    pub(crate) model: String,
    pub(crate) text: String,
}

/// What came of asking.
pub(crate) struct Answers {
    pub(crate) answers: Vec<Answer>,
    /// Why the others did not, by their number.
    pub(crate) failures: Vec<(usize, Error)>,
}

/// Asks all members at once. Each answer and each failure is put on record.
pub(crate) fn ask(message: &str, parameters: &Parameters) -> Answers {
    let before = before();
    let chats: Vec<Chat> = parameters
        .members
        .iter()
        .map(|member| question(member, &before, message, parameters.answer_tokens))
        .collect();
    let mut answers = Vec::new();
    let mut failures = Vec::new();
    for (index, completion) in chat_all(&chats).into_iter().enumerate() {
        let member = index + 1;
        let completion = completion.and_then(|completion| {
            let text = completion.message.text().trim().to_owned();
            match text.is_empty() {
                true => Err(Error::failed("an empty answer")),
                false => Ok(Answer { member, model: completion.model, text }),
            }
        });
        match completion {
            Ok(answer) => {
                reply::phase("answered", Some(&format!("member {member} ({})", answer.model)));
                let event = json!({"member": member, "model": answer.model, "text": answer.text});
                tell("panel.answer", &event);
                answers.push(answer);
            }
            Err(error) => {
                reply::phase("left out", Some(&format!("member {member}: {error}")));
                tell("panel.failure", &json!({"member": member, "error": error.to_string()}));
                failures.push((member, error));
            }
        }
    }
    Answers { answers, failures }
}

pub(crate) fn tell(kind: &str, payload: &serde_json::Value) {
    if let Err(error) = events::emit(kind, payload) {
        log::warn(format!("the event {kind} was not recorded: {error}"));
    }
}

fn question(
    member: &Member,
    before: &[Message],
    message: &str,
    answer_tokens: Option<u32>,
) -> Chat {
    let instructions = member.instructions.as_deref().unwrap_or("Answer the person's message.");
    let mut chat = Chat::new()
        .model(member.model.clone())
        .system(instructions)
        .messages(before.iter().cloned())
        .user(message);
    if let Some(tokens) = answer_tokens {
        chat = chat.max_tokens(tokens);
    }
    match member.temperature {
        Some(temperature) => chat.temperature(temperature),
        None => chat,
    }
}

/// The last messages, one of each side in turns, the person's first.
fn before() -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for said in conversation::recent(RECENT) {
        let message = Message::new(said.message.role, cut(&said.message.text(), TEXT));
        let follows_its_like =
            messages.last().map_or(Role::Assistant, |last| last.role) == message.role;
        match (follows_its_like, message.role) {
            // A turn without a reply: only its last message counts.
            (true, Role::User) => {
                messages.pop();
                messages.push(message);
            }
            (true, _) => {}
            (false, _) => messages.push(message),
        }
    }
    if messages.last().is_some_and(|last| last.role == Role::User) {
        messages.pop();
    }
    messages
}
