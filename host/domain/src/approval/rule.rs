//! One rule: which calls it is about, and what becomes of them.

use std::collections::BTreeMap;
use std::str::FromStr;

use regex::Regex;
use serde_json::Value;
use url::Url;

use super::Terms;
use crate::component::ToolHints;
use crate::identity::{Principal, RoleName};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Allow,
    /// It does not.
    Deny,
    /// A person decides.
    Ask,
}

/// A call that is held to the rules.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The component's name.
    pub component: &'a str,
    /// The tool's name within it.
    pub tool: &'a str,
    /// How the tool says it behaves.
    pub hints: ToolHints,
    /// The arguments.
    pub arguments: &'a Value,
    /// The agent that calls, if one does.
    pub agent: Option<&'a str>,
    /// On whose behalf.
    pub principal: &'a Principal,
    /// When, in milliseconds since 1970.
    pub now_unix_ms: u64,
}

/// A rule. What it leaves open matches everything.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The component's name.
    pub component: Option<String>,
    /// The tool's name within its component.
    pub tool: Option<String>,
    /// The agent that calls; `*` for any agent. A rule with one is not about people's calls.
    pub agent: Option<String>,
    /// On whose behalf, as records name them.
    pub principal: Option<String>,
    /// A role that whoever it is on behalf of has.
    pub role: Option<RoleName>,
    /// What the arguments are like, by JSON Pointer (RFC 6901). An argument that is not there
    /// matches nothing.
    pub arguments: BTreeMap<String, ArgumentPattern>,
    /// What the tool says of itself: all of these.
    pub annotations: Vec<Annotation>,
    /// The host of a URL that is, as a whole text, somewhere in the arguments.
    pub destination: Option<HostGlob>,
    /// At which hours of the day.
    pub hours: Option<Hours>,
    /// What becomes of the call.
    pub verdict: Verdict,
    /// Who decides, if somebody does.
    pub terms: Terms,
}

impl Rule {
    /// A rule that matches every call.
    pub fn of_all(verdict: Verdict, terms: Terms) -> Self {
        Self {
            component: None,
            tool: None,
            agent: None,
            principal: None,
            role: None,
            arguments: BTreeMap::new(),
            annotations: Vec::new(),
            destination: None,
            hours: None,
            verdict,
            terms,
        }
    }

    /// Whether it is about a call.
    pub fn matches(&self, asking: &Asking<'_>) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        let agent = match (self.agent.as_deref(), asking.agent) {
            (None, _) | (Some("*"), Some(_)) => true,
            (Some(wanted), Some(found)) => wanted == found,
            (Some(_), None) => false,
        };
        agent
            && is(&self.component, asking.component)
            && is(&self.tool, asking.tool)
            && self.principal.as_deref().is_none_or(|p| p == asking.principal.subject.to_string())
            && self.role.as_ref().is_none_or(|role| asking.principal.has_role(role))
            && self.annotations.iter().all(|annotation| annotation.is_of(asking.hints))
            && self.hours.is_none_or(|hours| hours.has(asking.now_unix_ms))
            && self.arguments.iter().all(|(pointer, pattern)| {
                asking.arguments.pointer(pointer).is_some_and(|value| pattern.matches(value))
            })
            && self.destination.as_ref().is_none_or(|glob| leads_to(asking.arguments, glob))
    }
}

/// What an argument is like.
#[derive(Clone, Debug)]
pub enum ArgumentPattern {
    /// This value.
    Equals(Value),
    /// A text in which this is found.
    Matches(Regex),
    /// A number within these bounds, both included.
    Within {
        /// The lowest.
        min: Option<f64>,
        /// The highest.
        max: Option<f64>,
    },
}

impl ArgumentPattern {
    fn matches(&self, value: &Value) -> bool {
        match self {
            Self::Equals(wanted) => wanted == value,
            Self::Matches(regex) => value.as_str().is_some_and(|text| regex.is_match(text)),
            Self::Within { min, max } => value.as_f64().is_some_and(|number| {
                min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)
            }),
        }
    }
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    message: String,
}

impl PatternError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// What a tool says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotation {
    /// It changes nothing.
    ReadOnly,
    /// It may overwrite or destroy.
    Destructive,
    /// Twice is as good as once.
    Idempotent,
    /// It reaches beyond this machine.
    OpenWorld,
}

impl Annotation {
    fn is_of(self, hints: ToolHints) -> bool {
        match self {
            Self::ReadOnly => hints.read_only,
            Self::Destructive => hints.destructive,
            Self::Idempotent => hints.idempotent,
            Self::OpenWorld => hints.open_world,
        }
    }
}

impl FromStr for Annotation {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        match text {
            "read_only" => Ok(Self::ReadOnly),
            "destructive" => Ok(Self::Destructive),
            "idempotent" => Ok(Self::Idempotent),
            "open_world" => Ok(Self::OpenWorld),
            _ => Err(PatternError::new(
                "it is read_only, destructive, idempotent or open_world".to_owned(),
            )),
        }
    }
}

/// Hosts by name: one, or with `*.` in front all below it, or `*` for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGlob(String);

impl HostGlob {
    fn matches(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match self.0.strip_prefix('*') {
            Some("") => true,
            Some(below) => host.ends_with(below) && host.len() > below.len(),
            None => host == self.0,
        }
    }
}

impl FromStr for HostGlob {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix("*.").unwrap_or(text);
        let fine = text == "*"
            || !rest.is_empty()
                && rest.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
        match fine {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(PatternError::new("a host is example.org, *.example.org or *")),
        }
    }
}

fn leads_to(value: &Value, glob: &HostGlob) -> bool {
    match value {
        Value::String(text) => {
            Url::parse(text).is_ok_and(|url| url.host_str().is_some_and(|host| glob.matches(host)))
        }
        Value::Array(values) => values.iter().any(|value| leads_to(value, glob)),
        Value::Object(members) => members.values().any(|value| leads_to(value, glob)),
        _ => false,
    }
}

/// Hours of each day, in UTC: `09:00-17:00`, the end left out. `22:00-06:00` goes over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    from_minute: u64,
    to_minute: u64,
}

impl Hours {
    fn has(self, now_unix_ms: u64) -> bool {
        let minute = now_unix_ms / 60_000 % (24 * 60);
        if self.from_minute <= self.to_minute {
            (self.from_minute..self.to_minute).contains(&minute)
        } else {
            minute >= self.from_minute || minute < self.to_minute
        }
    }
}

impl FromStr for Hours {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let plain = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            let (hours, minutes) = match plain(hours) && plain(minutes) {
                true => (hours.parse::<u64>().ok()?, minutes.parse::<u64>().ok()?),
                false => return None,
            };
            (hours < 24 && minutes < 60 || (hours, minutes) == (24, 0))
                .then_some(hours * 60 + minutes)
        };
        text.split_once('-')
            .and_then(|(from, to)| Some((minute(from)?, minute(to)?)))
            .filter(|(from, to)| from != to)
            .map(|(from_minute, to_minute)| Self { from_minute, to_minute })
            .ok_or_else(|| PatternError::new("hours are written 09:00-17:00, in UTC"))
    }
}
