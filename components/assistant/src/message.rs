//! The person's message, as a model takes it.

use foreshore_sdk::agent::inference::ContentPart;
use foreshore_sdk::agent::{Turn, variables};
use foreshore_sdk::{Content, ContentBody, Media};

use crate::text::{head, tokens};

/// A message in the words of the model, with what is no text.
pub(crate) struct Asked {
    pub(crate) text: String,
    pub(crate) pictures: Vec<Media>,
}

impl Asked {
    /// Reads the turn's message. A text of more than `max_tokens` goes to a variable, and the model
    /// sees its start and the variable's name.
    pub(crate) fn read(turn: &Turn, sees_pictures: bool, max_tokens: usize) -> Self {
        let mut pictures = Vec::new();
        let mut texts = Vec::new();
        for part in &turn.message {
            match &part.body {
                ContentBody::Image(image) if sees_pictures => pictures.push(image.clone()),
                _ => texts.push(Content::to_text(part)),
            }
        }
        let text = texts.join("\n");
        let text = if tokens(&text) > max_tokens {
            shortened(turn.number, &text, max_tokens * 2)
        } else {
            text
        };
        Self { text, pictures }
    }

    pub(crate) fn parts(&self) -> Vec<ContentPart> {
        self.pictures.iter().cloned().map(ContentPart::Image).collect()
    }
}

fn shortened(turn: u64, text: &str, max_bytes: usize) -> String {
    let name = format!("message-{turn}");
    let shown = head(text, max_bytes);
    let bytes = text.len();
    match variables::set(&name, text) {
        Ok(_) => format!(
            "{shown}\n[cut: {bytes} bytes in all; the whole message is in the variable \"{name}\"]"
        ),
        Err(error) => format!("{shown}\n[cut: {bytes} bytes in all; the rest is lost: {error}]"),
    }
}
