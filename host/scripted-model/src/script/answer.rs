//! What a rule answers: text, thought, tools, an error, and how the line behaves meanwhile.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::Deserialize;

use super::template::{JsonTemplate, Template};

/// One answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Answer {
    pub(crate) said: Said,
    /// Before anything is sent, headers included.
    pub(crate) delay: Duration,
    /// Between the headers and the first chunk.
    pub(crate) first_chunk_delay: Duration,
    /// Between chunks.
    pub(crate) chunk_delay: Duration,
    pub(crate) breaks: Option<Break>,
    /// Most bytes in one write to the socket.
    pub(crate) write_bytes: Option<NonZeroUsize>,
    pub(crate) headers: BTreeMap<String, String>,
}

/// What is said.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// A status and a body, and no model is asked.
    Refusal { status: u16, error: Option<Template>, body: Option<String> },
    /// An answer of a model.
    Reply(Box<Reply>),
}

/// What a model says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) thinking: Option<Template>,
    pub(crate) text: Text,
    pub(crate) tool_calls: Vec<CallTemplate>,
    pub(crate) chunks: Chunks,
    pub(crate) done_reason: Option<String>,
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) padding_bytes: usize,
}

/// Where the text of a reply comes from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Text {
    #[default]
    None,
    Template(Template),
    /// One chunk each.
    List(Vec<Template>),
    Json(JsonTemplate),
    /// The smallest document that the requested schema takes.
    FromSchema,
}

/// How a text is cut into chunks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Chunks {
    Whole,
    Words(NonZeroUsize),
    Characters(NonZeroUsize),
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Words(NonZeroUsize::MIN)
    }
}

/// A tool that the model asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallTemplate {
    pub(crate) name: Template,
    #[serde(default)]
    pub(crate) arguments: JsonTemplate,
}

/// How a reply fails.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Break {
    /// After how many chunks; not said: before the headers.
    pub(crate) after: Option<u32>,
    pub(crate) with: BreakKind,
    pub(crate) message: Option<Template>,
}

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BreakKind {
    /// Nothing more is sent, and the connection stays open.
    Stall,
    /// A line with an error, and the end of the body.
    Error,
    /// A line that is no JSON, and the end of the body.
    Garbage,
    /// The end of the body, as if that were all.
    Truncate,
    /// The connection is closed in the middle of the body.
    Cut,
    /// The connection is reset (RST).
    Reset,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    text: Option<Template>,
    chunk_list: Option<Vec<Template>>,
    json: Option<JsonTemplate>,
    #[serde(default)]
    from_schema: bool,
    thinking: Option<Template>,
    #[serde(default)]
    tool_calls: Vec<CallTemplate>,
    chunks: Option<Chunks>,
    done_reason: Option<String>,
    prompt_tokens: Option<u64>,
    output_tokens: Option<u64>,
    padding_bytes: Option<NonZeroU32>,
    status: Option<u16>,
    error: Option<Template>,
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    first_chunk_delay_ms: u64,
    #[serde(default)]
    chunk_delay_ms: u64,
    #[serde(rename = "break")]
    breaks: Option<Break>,
    write_bytes: Option<NonZeroUsize>,
}

/// The longest wait that a script may ask for.
const DELAY_MAX_MS: u64 = 24 * 60 * 60 * 1000;
const PADDING_MAX_BYTES: u32 = 16 * 1024 * 1024;

/// A wait that a script asks for.
pub(crate) fn wait(field: &str, milliseconds: u64) -> Result<Duration, String> {
    if milliseconds > DELAY_MAX_MS {
        return Err(format!("{field} = {milliseconds} is more than a day ({DELAY_MAX_MS})"));
    }
    Ok(Duration::from_millis(milliseconds))
}

impl TryFrom<Written> for Answer {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Self, String> {
        written.headers_are_sound()?;
        let breaks = written.breaks.take();
        if let Some(breaks) = &breaks {
            breaks.is_sound()?;
        }
        Ok(Self {
            delay: wait("delay_ms", written.delay_ms)?,
            first_chunk_delay: wait("first_chunk_delay_ms", written.first_chunk_delay_ms)?,
            chunk_delay: wait("chunk_delay_ms", written.chunk_delay_ms)?,
            breaks,
            write_bytes: written.write_bytes,
            headers: std::mem::take(&mut written.headers),
            said: written.said()?,
        })
    }
}

impl Written {
    fn headers_are_sound(&self) -> Result<(), String> {
        for (name, value) in &self.headers {
            http::HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("{name:?} is no name of a header"))?;
            http::HeaderValue::from_str(value)
                .map_err(|_| format!("the header {name:?} cannot have the value {value:?}"))?;
            if ["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
                return Err(format!("the header {name:?} is the server's own; leave it out"));
            }
        }
        Ok(())
    }

    fn said(self) -> Result<Said, String> {
        let texts =
            [self.text.is_some(), self.chunk_list.is_some(), self.json.is_some(), self.from_schema];
        let texts = texts.into_iter().filter(|said| *said).count();
        if texts > 1 {
            return Err("say one of `text`, `chunk_list`, `json` and `from_schema`".to_owned());
        }
        let Some(status) = self.status else { return self.reply() };
        if texts > 0 || self.thinking.is_some() || !self.tool_calls.is_empty() {
            return Err("`status` is the whole answer: a text, thought or tool call beside it is \
                 never sent; use `error` or `body`"
                .to_owned());
        }
        if !(200..=599).contains(&status) {
            return Err(format!("status = {status} is not between 200 and 599"));
        }
        if self.error.is_some() && self.body.is_some() {
            return Err("say `error` (a message) or `body` (all of it), not both".to_owned());
        }
        Ok(Said::Refusal { status, error: self.error, body: self.body })
    }

    fn reply(self) -> Result<Said, String> {
        if self.error.is_some() || self.body.is_some() {
            return Err("`error` and `body` need a `status`; for an error in mid-stream use \
                 break = { after = 1, with = \"error\", message = \"...\" }"
                .to_owned());
        }
        let padding = self.padding_bytes.map_or(0, NonZeroU32::get);
        if padding > PADDING_MAX_BYTES {
            return Err(format!("padding_bytes = {padding} is more than {PADDING_MAX_BYTES}"));
        }
        let text = match (self.text, self.chunk_list, self.json) {
            (Some(text), _, _) => Text::Template(text),
            (_, Some(list), _) => Text::List(list),
            (_, _, Some(json)) => Text::Json(json),
            _ if self.from_schema => Text::FromSchema,
            _ => Text::None,
        };
        Ok(Said::Reply(Box::new(Reply {
            thinking: self.thinking,
            text,
            tool_calls: self.tool_calls,
            chunks: self.chunks.unwrap_or_default(),
            done_reason: self.done_reason,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            padding_bytes: usize::try_from(padding).unwrap_or_default(),
        })))
    }
}

impl Break {
    fn is_sound(&self) -> Result<(), String> {
        use BreakKind::{Cut, Error, Garbage, Reset, Stall, Truncate};
        match (self.with, self.after) {
            (Error | Garbage | Truncate, None) => Err("this break comes after the headers: say \
                 after how many chunks, as in after = 0; an error before them is `status`"
                .to_owned()),
            (Stall | Cut | Reset | Truncate | Garbage, _) if self.message.is_some() => {
                Err("only a break with \"error\" has a message".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Answer {
    /// Calls `look` with each template in it.
    pub(crate) fn each_template<'a>(&'a self, look: &mut dyn FnMut(&'a Template)) {
        self.breaks.iter().filter_map(|it| it.message.as_ref()).for_each(&mut *look);
        let reply = match &self.said {
            Said::Refusal { error, .. } => return error.iter().for_each(look),
            Said::Reply(reply) => reply,
        };
        reply.thinking.iter().for_each(&mut *look);
        match &reply.text {
            Text::Template(text) => look(text),
            Text::List(list) => list.iter().for_each(&mut *look),
            Text::Json(json) => json.each(look),
            Text::None | Text::FromSchema => {}
        }
        for call in &reply.tool_calls {
            look(&call.name);
            call.arguments.each(look);
        }
    }
}
