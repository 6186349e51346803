//! Answers of models: the way from a request to the last line, for all faces.
//!
//! The order is Ollama's: the request is understood, the model exists and can do what is asked,
//! the prompt fits, then comes the queue, the load, one's turn, and only then anything is sent.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::errors::{Failure, checked};
use super::speaker::{Face, Speaker, Times};
use super::{Answer, Asked, before_headers, breaks, ollama, pause, response};
use crate::body::{Gone, Writer, lines, whole};
use crate::playing::Choice;
use crate::prompt::Prompt;
use crate::record::{Outcome, Ticket};
use crate::reply::Reply;
use crate::script::answer::{Answer as Scripted, Break, BreakKind, Said};
use crate::script::settings::{Capability, ModelSettings};
use crate::shelf::Admitted;
use crate::shelf::keep_alive::KeepAlive;

/// Answers a request for text.
pub(crate) async fn answer(asked: &mut Asked) -> Answer {
    let began = Instant::now();
    let face = Face::of(&asked.path);
    let mut prompt = face.prompt(&asked.body).map_err(Failure::bad_request)?;
    let keep_alive = keep_alive(&prompt)?;
    let Some(listed) = asked.shared.shelf.find(&prompt.model) else {
        return Err(Failure::no_model(&prompt.model));
    };
    able(&prompt, &listed.settings)?;
    let fits = fit(&mut prompt, &listed.settings);
    let playing = asked.shared.playing();
    let empty = prompt.messages.is_empty();
    let choice = playing.choose(&asked.path, &prompt, !empty);
    if let Some(choice) = &choice {
        asked.rule(&choice.rule);
        before_headers(asked, choice).await?;
    }
    fits?;
    let shelf = &asked.shared.shelf;
    let admitted = shelf
        .admit(&prompt.model, &prompt.limits.runner, keep_alive)
        .await
        .map_err(|refused| Failure::refused(refused, &prompt.model))?;
    if empty {
        drop(admitted);
        return ollama::loaded(asked, face, &prompt, keep_alive);
    }
    let Some(choice) = choice else { return Err(no_rule(&prompt)) };
    let Said::Reply(template) = &choice.answer.said else { return Err(no_rule(&prompt)) };
    let reply = Reply::new(template, &choice.facts, asked.number);
    let load = admitted.load;
    let speaker = Speaker::new(face, &prompt, asked.number);
    let speech = Speech {
        speaker,
        reply,
        breaks: choice
            .answer
            .breaks
            .clone()
            .map(|it| (it.after.unwrap_or(0), message(&it, &choice), it.with)),
        times: Times {
            began,
            load,
            prompt: choice.answer.first_chunk_delay,
            spoke: Instant::now(),
        },
        admitted,
    };
    match prompt.stream {
        true => streamed(asked, choice.answer, speech),
        false => at_once(asked, choice.answer, speech).await,
    }
}

fn message(breaks: &Break, choice: &Choice<'_>) -> String {
    let message = breaks.message.as_ref().map(|it| it.render(&choice.facts));
    message.unwrap_or_else(|| "an error was encountered while running the model".to_owned())
}

fn keep_alive(prompt: &Prompt) -> Result<Option<KeepAlive>, Failure> {
    let keep_alive = prompt.keep_alive.as_ref().map(KeepAlive::parse).transpose();
    keep_alive.map_err(Failure::bad_request)
}

/// The words are Ollama's.
fn able(prompt: &Prompt, model: &ModelSettings) -> Result<(), Failure> {
    let name = &prompt.model;
    let lacks = |asked: bool, capability| asked && !model.can(capability);
    if lacks(true, Capability::Completion) {
        return Err(Failure::bad_request(format!("\"{name}\" does not support chat")));
    }
    if lacks(!prompt.tools.is_empty(), Capability::Tools) {
        let text = format!("registry.ollama.ai/library/{name} does not support tools");
        return Err(Failure::bad_request(text));
    }
    if lacks(prompt.think, Capability::Thinking) {
        return Err(Failure::bad_request(format!("\"{name}\" does not support thinking")));
    }
    if lacks(prompt.has_images(), Capability::Vision) {
        return Err(Failure::bad_request(format!("\"{name}\" does not support images")));
    }
    Ok(())
}

/// Cuts what is too long, or says so: which of the two is the request's choice.
fn fit(prompt: &mut Prompt, model: &ModelSettings) -> Result<(), Failure> {
    let length = u64::from(model.context_length.get());
    let length = prompt.limits.context_length.unwrap_or(length);
    if prompt.tokens() <= length {
        return Ok(());
    }
    if !prompt.truncate {
        return Err(Failure::bad_request("the input length exceeds the context length"));
    }
    prompt.cut_to(length);
    Ok(())
}

fn no_rule(prompt: &Prompt) -> Failure {
    let start: String = prompt.last_user().chars().take(80).collect();
    Failure::internal(format!(
        "no rule of the script answers this request of {:?} (the user said {start:?}): add one, \
         without a `when` and as the last, for all that is left",
        prompt.model
    ))
}

/// A reply and what it takes to send it.
struct Speech {
    speaker: Speaker,
    reply: Reply,
    /// After how many chunks, with which message, in which way.
    breaks: Option<(u32, String, BreakKind)>,
    times: Times,
    admitted: Admitted,
}

/// All of the reply in one JSON document.
async fn at_once(asked: &mut Asked, scripted: &Scripted, speech: Speech) -> Answer {
    let count = u32::try_from(speech.reply.chunks.len()).unwrap_or(u32::MAX);
    let sent = speech.breaks.as_ref().map_or(count, |(after, _, _)| (*after).min(count));
    pause(scripted.first_chunk_delay + scripted.chunk_delay.saturating_mul(sent)).await;
    let document = speech.speaker.whole(&speech.reply, &speech.times);
    let text = Bytes::from(document.to_string());
    // Before the end is sent: whoever reads it finds the model free.
    drop(speech.admitted);
    let body = match speech.breaks {
        None => {
            asked.ends(Outcome::Answered(200));
            whole(text)
        }
        Some((_, message, BreakKind::Error)) => return Err(Failure::internal(message)),
        Some((_, _, with @ (BreakKind::Stall | BreakKind::Cut | BreakKind::Reset))) => {
            return Err(breaks(asked, with).await);
        }
        Some((_, _, BreakKind::Garbage)) => {
            asked.ends(Outcome::Broken);
            whole(GARBAGE)
        }
        Some((_, _, BreakKind::Truncate)) => {
            asked.ends(Outcome::Broken);
            whole(text.slice(..text.len() / 2))
        }
    };
    with_headers(scripted, response(StatusCode::OK, "application/json; charset=utf-8", body))
}

const GARBAGE: &str = "{\"this is\": no JSON\n";

/// The reply line by line, from a task of its own.
fn streamed(asked: &mut Asked, scripted: &Scripted, speech: Speech) -> Answer {
    let (writer, body) = lines(scripted.write_bytes);
    let kind = speech.speaker.content_type();
    let stream = Stream {
        writer,
        ticket: asked.ticket.take(),
        line: asked.line.clone(),
        first_chunk_delay: scripted.first_chunk_delay,
        chunk_delay: scripted.chunk_delay,
    };
    tokio::spawn(stream.run(speech));
    with_headers(scripted, response(StatusCode::OK, kind, body))
}

fn with_headers(scripted: &Scripted, answer: Answer) -> Answer {
    let mut response = answer?;
    response.headers_mut().extend(checked(&scripted.headers));
    Ok(response)
}

struct Stream {
    writer: Writer,
    ticket: Option<Ticket>,
    line: crate::server::Line,
    first_chunk_delay: Duration,
    chunk_delay: Duration,
}

impl Stream {
    /// Whoever goes away in the middle leaves the entry abandoned and the model free.
    async fn run(self, speech: Speech) {
        let _ = self.speak(speech).await;
    }

    async fn speak(mut self, speech: Speech) -> Result<(), Gone> {
        let Speech { speaker, reply, breaks, times, admitted } = speech;
        let most = breaks
            .as_ref()
            .map_or(usize::MAX, |(after, _, _)| usize::try_from(*after).unwrap_or(usize::MAX));
        self.wait(self.first_chunk_delay).await?;
        for (index, chunk) in reply.chunks.iter().take(most).enumerate() {
            if index > 0 {
                self.wait(self.chunk_delay).await?;
            }
            let padding = if index == 0 { reply.padding_bytes } else { 0 };
            for line in speaker.chunk(chunk, index == 0, padding) {
                self.writer.write(line).await?;
            }
        }
        if let Some((_, message, with)) = breaks {
            drop(admitted);
            return self.breaks(&speaker, &message, with).await;
        }
        self.wait(self.chunk_delay).await?;
        let last = speaker.closing(&reply, &times);
        // Before the end is sent: whoever reads it finds the entry closed and the model free.
        drop(admitted);
        self.ends(Outcome::Answered(200));
        for line in last {
            self.writer.write(line).await?;
        }
        Ok(())
    }

    async fn breaks(
        mut self,
        speaker: &Speaker,
        message: &str,
        with: BreakKind,
    ) -> Result<(), Gone> {
        if with != BreakKind::Stall {
            self.ends(Outcome::Broken);
        }
        match with {
            BreakKind::Stall => {
                self.writer.gone().await;
                self.ends(Outcome::Broken);
            }
            BreakKind::Error => self.writer.write(speaker.error(message)).await?,
            BreakKind::Garbage => self.writer.write(speaker.garbage(GARBAGE)).await?,
            BreakKind::Truncate => {}
            BreakKind::Cut => self.writer.cut().await,
            BreakKind::Reset => {
                self.line.reset();
                self.writer.cut().await;
            }
        }
        Ok(())
    }

    fn ends(&mut self, outcome: Outcome) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.ends(outcome);
        }
    }

    async fn wait(&self, time: Duration) -> Result<(), Gone> {
        tokio::select! {
            () = pause(time) => Ok(()),
            gone = self.writer.gone() => Err(gone),
        }
    }
}
