//! One turn: ask, do, look, until there is an answer.

use std::collections::BTreeSet;

use foreshore_sdk::agent::inference::{self, Completion, FinishReason};
use foreshore_sdk::agent::variables;
use foreshore_sdk::agent::{
    Chat, Finish, Message, Reply, ToolCall, Turn, budget, conversation, reply,
};
use foreshore_sdk::{Error, memory};

use crate::context::{Context, Shares};
use crate::message::Asked;
use crate::model::Chosen;
use crate::parameters::Parameters;
use crate::protocol::{self, Parsed};
use crate::repetition::{Repetition, Verdict};
use crate::steps::{Step, Steps};
use crate::text::{tokens, tool_tokens};
use crate::toolbox::Toolbox;
use crate::{clock, recollections, summary};

/// How often a model may answer with nothing, or with a block that is no JSON, one after another.
const FUMBLES: u32 = 3;
/// How often a prompt is made smaller for a model whose context is shorter than it was said to be.
const SHRINKS: u32 = 2;

const CLOSE: &str = "The budget of this turn is nearly used up: answer the person now with what you \
                     have, and say what is missing. There are no more tools.";
const REPEATED: &str = "You have made the same calls three times with the same results. Do something \
                        else, or answer with what you have.";
const EMPTY: &str = "Your last answer was empty. Answer the person.";

/// Takes a turn.
pub(crate) fn take(turn: &Turn, parameters: Parameters) -> Result<Reply, Error> {
    let parameters = parameters.checked()?;
    let mut work = Work::begin(turn, &parameters)?;
    let reply = work.run()?;
    let shares = Shares::of(work.model.prompt_tokens);
    let Context { summary, recent, .. } = &work.context;
    summary::roll(parameters.model.as_deref(), &shares, summary.as_ref(), recent);
    Ok(reply)
}

/// A turn under way.
struct Work<'a> {
    parameters: &'a Parameters,
    model: Chosen,
    toolbox: Toolbox,
    context: Context,
    steps: Steps,
    repetition: Repetition,
    /// What the model is told with the next prompt.
    note: Option<String>,
    fumbles: u32,
    shrinks: u32,
}

impl<'a> Work<'a> {
    fn begin(turn: &Turn, parameters: &'a Parameters) -> Result<Self, Error> {
        let model = Chosen::find(parameters);
        let shares = Shares::of(model.prompt_tokens);
        let system = parameters.instructions().to_owned();
        if tokens(&system) > shares.instructions {
            return Err(Error::invalid(
                "/parameters/instructions",
                format!(
                    "some {} tokens, and this model's context has room for {}",
                    tokens(&system),
                    shares.instructions
                ),
            ));
        }
        let asked = Asked::read(turn, model.sees_pictures, shares.message);
        let granted = memory::namespaces();
        // A tenth of the prompt, between one and sixteen KiB.
        let result_max_bytes = (model.prompt_tokens * 4 / 10).clamp(1 << 10, 16 << 10);
        let toolbox = Toolbox::open(turn.number, shares.tools, result_max_bytes, &granted);
        let searched = recollections::namespaces(parameters.namespaces.as_deref(), &granted);
        let recollections = recollections::find(&asked.text, &searched, shares.memory);
        let summary = conversation::summary();
        let recent = summary::outside(summary.as_ref());
        let variables = variables::index();
        let now = clock::now();
        let context = Context { system, asked, now, summary, recent, recollections, variables };
        Ok(Self {
            parameters,
            model,
            toolbox,
            context,
            steps: Steps::default(),
            repetition: Repetition::default(),
            note: None,
            fumbles: 0,
            shrinks: 0,
        })
    }

    fn run(&mut self) -> Result<Reply, Error> {
        loop {
            let left = budget::iteration();
            if left.tokens == 0 || left.wall_ms == 0 {
                return Ok(self.out_of_budget("its budget"));
            }
            // The last question of the turn gets an answer, whatever was left to do.
            let closing = left.iterations == 0 || left.tool_calls == 0;
            reply::phase(if closing { "answering" } else { "thinking" }, None);
            let completion = match self.ask(closing) {
                Ok(completion) => completion,
                Err(Error::Exhausted(budget)) => {
                    let what = Error::Exhausted(budget).to_string();
                    return Ok(self.out_of_budget(&what));
                }
                Err(error) => return Err(error),
            };
            if let Some(reply) = self.act(&completion, closing) {
                return Ok(reply);
            }
        }
    }

    /// Asks the model. One that calls no tools, or has a shorter context than it was said to have,
    /// is asked again in another way.
    fn ask(&mut self, closing: bool) -> Result<Completion, Error> {
        loop {
            let error = match self.chat(closing).ask() {
                Ok(completion) => {
                    self.note = None;
                    return Ok(completion);
                }
                Err(error) => error,
            };
            if inference::takes_no_tools(&error) && self.model.calls_tools {
                self.model.calls_tools = false;
            } else if inference::is_too_long(&error) && self.shrinks < SHRINKS {
                self.shrinks += 1;
                self.model.prompt_tokens = self.model.prompt_tokens * 6 / 10;
            } else {
                return Err(error);
            }
        }
    }

    fn chat(&self, closing: bool) -> Chat {
        let tools = if closing { &[][..] } else { &self.toolbox.definitions };
        let is_native = self.model.calls_tools;
        let protocol = (!is_native && !tools.is_empty()).then(|| protocol::instructions(tools));
        let native_tokens: usize = if is_native { tools.iter().map(tool_tokens).sum() } else { 0 };
        let note = if closing { Some(CLOSE) } else { self.note.as_deref() };
        let messages = self.context.prompt(
            &self.steps,
            is_native,
            protocol.as_deref(),
            note,
            self.model.prompt_tokens.saturating_sub(native_tokens),
        );
        let mut chat = Chat::new()
            .model(self.parameters.model.clone())
            .messages(messages)
            .max_tokens(self.model.answer_tokens);
        if is_native {
            chat = chat.tools(tools.iter().cloned());
        }
        if let Some(temperature) = self.parameters.temperature {
            chat = chat.temperature(temperature);
        }
        if let Some(thinking) = self.parameters.thinking {
            chat = chat.thinking(thinking.into());
        }
        // An answer that may be a block for the assistant is shown once it is known to be none.
        if self.streams() { chat.stream_to_reply() } else { chat }
    }

    fn streams(&self) -> bool {
        self.model.calls_tools || self.toolbox.definitions.is_empty()
    }

    /// Does what the model wants; a reply ends the turn.
    fn act(&mut self, completion: &Completion, closing: bool) -> Option<Reply> {
        let message = &completion.message;
        let streamed = self.streams();
        if !streamed && let Some(thinking) = &message.thinking {
            reply::thinking(thinking);
        }
        let (text, calls) = match self.read(message) {
            Ok(read) => read,
            Err(malformed) => return self.malformed(message.text(), &malformed),
        };
        if !calls.is_empty() && !closing {
            self.fumbles = 0;
            return self.call(text, message.thinking.clone(), calls, streamed);
        }
        if completion.finish_reason == FinishReason::ContentFilter {
            return Some(self.give_up("the model's server withheld its answer"));
        }
        if text.trim().is_empty() {
            if closing {
                return Some(self.out_of_budget("its budget"));
            }
            return self.fumbled(EMPTY.to_owned(), "the model answered with nothing");
        }
        if !closing {
            reply::phase("answering", None);
        }
        if !streamed {
            reply::text(&text);
        }
        let is_cut = completion.finish_reason == FinishReason::Length;
        let finish = if closing || is_cut { Finish::Budget } else { Finish::Stop };
        Some(Reply::new(text).finished(finish))
    }

    /// The text and the calls of an answer; or what is wrong with a block that was meant as one.
    fn read(&self, message: &Message) -> Result<(String, Vec<ToolCall>), String> {
        let text = message.text();
        if !message.tool_calls.is_empty() || self.toolbox.definitions.is_empty() {
            return Ok((text, message.tool_calls.clone()));
        }
        match protocol::parse(&text) {
            // A model that calls tools by itself may write a block all the same; or an answer that
            // looks like one, and names no tool there is.
            Parsed::Calls { before, calls }
                if !self.model.calls_tools
                    || before.is_empty()
                        && calls.iter().all(|call| self.toolbox.knows(&call.name)) =>
            {
                Ok((before, calls))
            }
            Parsed::Malformed(error) if !self.model.calls_tools => Err(error),
            _ => Ok((text, Vec::new())),
        }
    }

    fn call(
        &mut self,
        text: String,
        thinking: Option<String>,
        mut calls: Vec<ToolCall>,
        streamed: bool,
    ) -> Option<Reply> {
        self.identify(&mut calls);
        if !text.trim().is_empty() {
            // What comes next is another paragraph.
            reply::text(if streamed { "\n\n".to_owned() } else { format!("{}\n\n", text.trim()) });
        }
        let names: Vec<&str> = calls.iter().map(|call| self.toolbox.title(&call.name)).collect();
        reply::phase("calling tools", Some(&names.join(", ")));
        let writes_before = self.toolbox.writes();
        let results = self.toolbox.run(&calls);
        if self.toolbox.writes() > writes_before {
            self.context.variables = variables::index();
        }
        let verdict = self.repetition.note(&calls, &results);
        let note = (verdict == Verdict::Tell).then(|| REPEATED.to_owned());
        self.steps.push(Step { text, thinking, calls, results, note });
        (verdict == Verdict::GiveUp)
            .then(|| self.give_up("I made the same calls again and again, with the same results"))
    }

    /// Gives calls ids of their own where the model gave none, or one that was there before.
    fn identify(&self, calls: &mut [ToolCall]) {
        let mut known: BTreeSet<String> = self.steps.calls().map(|call| call.id.clone()).collect();
        for call in calls {
            let mut number = known.len();
            while call.id.is_empty() || known.contains(&call.id) {
                call.id = format!("call-{number}");
                number += 1;
            }
            known.insert(call.id.clone());
        }
    }

    fn malformed(&mut self, text: String, error: &str) -> Option<Reply> {
        let note = format!(
            "The block of your last answer is no JSON ({error}), so no tool was called. Write it \
             again, or answer without a block. You wrote: {}",
            crate::text::cut(&text, 400)
        );
        self.fumbled(note, "the model could not write a call that can be read")
    }

    fn fumbled(&mut self, note: String, reason: &str) -> Option<Reply> {
        self.fumbles += 1;
        if self.fumbles >= FUMBLES {
            return Some(self.give_up(reason));
        }
        self.note = Some(note);
        None
    }

    /// The reply of a turn that cannot go on.
    fn give_up(&self, reason: &str) -> Reply {
        self.end(&format!("I gave up: {reason}."), Finish::GaveUp)
    }

    /// The reply of a turn that may not go on.
    fn out_of_budget(&self, what: &str) -> Reply {
        self.end(&format!("I had to stop before I was done ({what})."), Finish::Budget)
    }

    fn end(&self, why: &str, finish: Finish) -> Reply {
        let mut names: Vec<&str> = Vec::new();
        for call in self.steps.calls() {
            let name = self.toolbox.title(&call.name);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut text = why.to_owned();
        if !names.is_empty() {
            text.push_str(&format!(" Until then I used {}.", names.join(", ")));
        }
        reply::text(&text);
        match self.steps.last_text() {
            Some(last) => Reply::new(format!("{last}\n\n{text}")),
            None => Reply::new(text),
        }
        .finished(finish)
    }
}
