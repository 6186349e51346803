//! One turn: what is said, what is shown of it, what people are asked on the way.
//!
//! A turn that was taken is the host's: a chat that leaves does not end it, only a cancel does.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::Session;
use super::lines::Heard;
use super::spoken::Spoken;
use crate::cli::activity;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Paint, printable};
use crate::client::{ServerEvent, path};

/// How a turn ended for whoever sits at the keyboard.
#[derive(Clone, Copy)]
pub(super) enum TurnEnd {
    Answered,
    Failed,
    /// Ctrl-C twice.
    Left,
}

impl TurnEnd {
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Answered => Exit::Success,
            Self::Failed | Self::Left => Exit::Failed,
        }
    }
}

impl Session<'_> {
    /// Says something, and shows what comes of it.
    ///
    /// # Errors
    /// The turn was not taken, or the server went away.
    pub(super) async fn say(&mut self, message: &str) -> Result<TurnEnd, Failure> {
        let mut body = json!({ "message": message });
        if let Some(conversation) = &self.conversation {
            body["conversation"] = conversation.as_str().into();
        }
        if let Some(parameters) = &self.parameters {
            body["parameters"] = parameters.clone();
        }
        let ask = path(&["agents", &self.agent, "turns"]);
        let mut events = self.client.events("POST", &ask, Some(&body)).await?;
        let (mut spoken, mut was_cancelled) = (Spoken::new(), false);
        self.last_turn = None;
        loop {
            let next = tokio::select! {
                next = events.next() => Some(next?),
                () = self.lines.interrupt() => None,
            };
            match next {
                Some(Some(event)) => match self.heard(&event, &mut spoken).await? {
                    None => {}
                    Some(end) => return Ok(end),
                },
                Some(None) => {
                    spoken.close();
                    let turn = self.last_turn.as_deref().unwrap_or("the turn");
                    return Err(Failure::Other(anyhow!(
                        "the events ended before {turn} did; it goes on where the host does"
                    )));
                }
                None if was_cancelled => {
                    spoken.close();
                    return Ok(TurnEnd::Left);
                }
                None => {
                    was_cancelled = true;
                    self.cancel(&mut spoken).await;
                }
            }
        }
    }

    async fn cancel(&self, spoken: &mut Spoken) {
        let Some(turn) = &self.last_turn else { return };
        let cancelled = self.client.send("POST", &path(&["turns", turn, "cancel"]), None).await;
        match cancelled {
            Ok(_) => spoken.line("- cancelling; Ctrl-C again leaves"),
            Err(failure) => {
                spoken.close();
                failure.report();
            }
        }
    }

    /// Shows an event; the end, if it is that.
    async fn heard(
        &mut self,
        event: &ServerEvent,
        spoken: &mut Spoken,
    ) -> Result<Option<TurnEnd>, Failure> {
        let data = &event.data;
        let paint = Paint::stderr();
        match event.name.as_str() {
            "turn.queued" => {
                self.last_turn = data["turn_id"].as_str().map(str::to_owned);
                if let Some(conversation) = data["conversation"].as_str() {
                    self.conversation = Some(conversation.to_owned());
                }
            }
            "message.delta" => spoken.answer(data["text"].as_str().unwrap_or_default()),
            "thinking.delta" if self.asked.thinking => {
                spoken.thought(data["text"].as_str().unwrap_or_default());
            }
            "approval.required" | "question.asked" => {
                return self.question(data, spoken).await;
            }
            "tool.call" => spoken.catch_up(),
            "turn.completed" | "error" => return Ok(Some(self.ended(data, spoken, &paint))),
            _ => {
                if let Some(line) = activity::line(event, &paint) {
                    if event.name == "turn.phase" {
                        spoken.phase(line);
                    } else {
                        spoken.done(line);
                    }
                }
            }
        }
        Ok(None)
    }

    fn ended(&self, turn: &Value, spoken: &mut Spoken, paint: &Paint) -> TurnEnd {
        if let Some(reply) = turn["reply"]["text"].as_str() {
            spoken.whole(reply);
        }
        spoken.close();
        if let Some(error) = activity::error(turn) {
            spoken.line(&paint.red(&error));
        }
        if self.asked.usage {
            spoken.line(&paint.dim(&activity::usage(turn)));
        }
        if turn["state"] == "completed" { TurnEnd::Answered } else { TurnEnd::Failed }
    }

    /// Asks the person what the agent asks, or says how else it is answered.
    async fn question(
        &mut self,
        asked: &Value,
        spoken: &mut Spoken,
    ) -> Result<Option<TurnEnd>, Failure> {
        let paint = Paint::stderr();
        let id = asked["id"].as_str().unwrap_or_default();
        let message = printable(asked["message"].as_str().unwrap_or_default());
        spoken.line(&format!("{} {message}", paint.yellow("?")));
        if !asked["details"].is_null() {
            spoken.line(&paint.dim(&activity::short(&asked["details"].to_string(), 400)));
        }
        let approve = asked["kind"] != "ask";
        if !self.lines.is_terminal() {
            let body = if approve {
                r#"{"decision": "approve"}"#
            } else {
                r#"{"decision": "answer", "answer": ...}"#
            };
            spoken.line(&format!(
                "- it waits for an answer: POST {body} to {}{}",
                self.client.url(),
                path(&["approvals", id])
            ));
            return Ok(None);
        }
        loop {
            let prompt = if approve { "y/n> " } else { "answer (empty declines)> " };
            let line = match self.lines.ask(&paint.yellow(prompt)).await {
                Heard::Line(line) => line,
                Heard::End => return Ok(Some(TurnEnd::Left)),
                Heard::Interrupt => {
                    self.cancel(spoken).await;
                    return Ok(None);
                }
            };
            let Some(decision) = decision(approve, line.trim(), &asked["schema"]) else { continue };
            let answer = path(&["approvals", id]);
            match self.client.send("POST", &answer, Some(&decision)).await {
                // An answer that is not what the schema wants can be given again.
                Err(Failure::Api(problem)) if matches!(problem.status, 400 | 422) => {
                    Failure::Api(problem).report();
                }
                // Somebody else was first, or its time is over: the turn goes on.
                Err(failure) => {
                    failure.report();
                    return Ok(None);
                }
                Ok(_) => return Ok(None),
            }
        }
    }
}

/// What a line decides; `None` where it is neither yes nor no. An answer is JSON where it can be
/// read as that and the schema does not want a text.
fn decision(approve: bool, line: &str, schema: &Value) -> Option<Value> {
    if approve {
        return match line.to_ascii_lowercase().as_str() {
            "y" | "yes" => Some(json!({ "decision": "approve" })),
            "n" | "no" => Some(json!({ "decision": "deny" })),
            _ => None,
        };
    }
    if line.is_empty() {
        return Some(json!({ "decision": "decline" }));
    }
    let as_text = || Value::String(line.to_owned());
    let answer = if schema["type"] == "string" {
        as_text()
    } else {
        serde_json::from_str(line).unwrap_or_else(|_| as_text())
    };
    Some(json!({ "decision": "answer", "answer": answer }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_takes_yes_or_no_and_nothing_else() {
        assert_eq!(decision(true, "Y", &Value::Null), Some(json!({"decision": "approve"})));
        assert_eq!(decision(true, "no", &Value::Null), Some(json!({"decision": "deny"})));
        assert_eq!(decision(true, "", &Value::Null), None);
        assert_eq!(decision(true, "yess", &Value::Null), None);
    }

    #[test]
    fn an_answer_is_what_the_schema_wants() {
        let text = json!({"type": "string"});
        let answered = |answer: Value| Some(json!({"decision": "answer", "answer": answer}));
        assert_eq!(decision(false, "7", &text), answered(json!("7")));
        assert_eq!(decision(false, "7", &json!({"type": "integer"})), answered(json!(7)));
        assert_eq!(decision(false, "blue", &Value::Null), answered(json!("blue")));
        assert_eq!(decision(false, "", &text), Some(json!({"decision": "decline"})));
    }
}
