//! What the operator decided for each agent.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::component::{ToolName, check_name};
use crate::grant::MemoryGrant;

/// One agent: a component under a name of its own, with what it may reach and use.
#[derive(Clone, Debug)]
pub struct AgentPolicy {
    /// The component that is run.
    pub component: String,
    /// The model it asks where it names none; none for the default of all.
    pub model: Option<String>,
    /// The models it may name. Empty means only [`Self::model`].
    pub models: Vec<String>,
    /// The tools it may call.
    pub tools: Vec<ToolPattern>,
    /// The agents it may delegate to.
    pub agents: Vec<String>,
    /// The namespaces of memory it may reach.
    pub memory: Option<MemoryGrant>,
    /// What each turn may use.
    pub budget: TurnBudget,
    /// A turn's parameters where the caller gives none of that name: a JSON object.
    pub parameters: BTreeMap<String, Box<RawValue>>,
}

impl AgentPolicy {
    /// A component with no reach at all, and the default budget.
    pub fn of_component(component: impl Into<String>) -> Self {
        Self {
            component: component.into(),
            model: None,
            models: Vec::new(),
            tools: Vec::new(),
            agents: Vec::new(),
            memory: None,
            budget: TurnBudget::default(),
            parameters: BTreeMap::new(),
        }
    }

    /// Whether it may call a tool.
    pub fn allows_tool(&self, tool: &ToolName) -> bool {
        self.tools.iter().any(|pattern| pattern.covers(tool))
    }

    /// Keeps of its tools those that are also among these.
    pub fn keep_tools(&mut self, others: &[ToolPattern]) {
        let both = self.tools.iter().flat_map(|own| others.iter().filter_map(|o| own.and(o)));
        let mut kept: Vec<ToolPattern> = Vec::new();
        for pattern in both {
            if !kept.contains(&pattern) {
                kept.push(pattern);
            }
        }
        self.tools = kept;
    }

    /// Keeps of its namespaces what another grant lets do too.
    pub fn keep_memory(&mut self, other: Option<&MemoryGrant>) {
        self.memory = match (&self.memory, other) {
            (Some(own), Some(other)) => Some(own.and(other)),
            _ => None,
        };
    }
}

/// What a turn may use. None of it is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TurnBudget {
    /// Tokens, in and out, of all models together.
    pub tokens: NonZeroU64,
    /// In millionths of the operator's currency, by the prices in the configuration.
    pub cost_micros: NonZeroU64,
    /// Calls of tools.
    pub tool_calls: NonZeroU64,
    /// Rounds of the agent's loop.
    pub iterations: NonZeroU64,
    /// Milliseconds from the start to the end, waiting for people left out.
    pub wall_ms: NonZeroU64,
}

impl Default for TurnBudget {
    fn default() -> Self {
        const fn of(value: u64) -> NonZeroU64 {
            match NonZeroU64::new(value) {
                Some(value) => value,
                None => panic!("a default budget is zero"),
            }
        }
        Self {
            tokens: const { of(200_000) },
            cost_micros: const { of(1_000_000) },
            tool_calls: const { of(64) },
            iterations: const { of(32) },
            wall_ms: const { of(30 * 60 * 1_000) },
        }
    }
}

impl TurnBudget {
    /// This budget, lowered to the other's values where those are lower.
    pub fn lowered(self, other: &Self) -> Self {
        Self {
            tokens: self.tokens.min(other.tokens),
            cost_micros: self.cost_micros.min(other.cost_micros),
            tool_calls: self.tool_calls.min(other.tool_calls),
            iterations: self.iterations.min(other.iterations),
            wall_ms: self.wall_ms.min(other.wall_ms),
        }
    }
}

/// Tools by name: `files.read`, `files.*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolPattern {
    /// `None` for all.
    component: Option<String>,
    /// `None` for all.
    tool: Option<String>,
}

impl ToolPattern {
    /// Every tool.
    pub fn any() -> Self {
        Self { component: None, tool: None }
    }

    /// Whether it means this tool, in whichever version.
    pub fn covers(&self, tool: &ToolName) -> bool {
        self.component.as_ref().is_none_or(|component| *component == tool.component)
            && self.tool.as_ref().is_none_or(|name| *name == tool.tool)
    }

    /// The tools that both mean; `None` if there can be none.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let component = narrower(self.component.as_ref(), other.component.as_ref())?;
        let tool = narrower(self.tool.as_ref(), other.tool.as_ref())?;
        Some(Self { component: component.cloned(), tool: tool.cloned() })
    }
}

/// Of two names the one that is said, where `None` means any; nothing if they differ.
fn narrower<'a>(one: Option<&'a String>, other: Option<&'a String>) -> Option<Option<&'a String>> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => None,
        (Some(name), _) | (None, Some(name)) => Some(Some(name)),
        (None, None) => Some(None),
    }
}

/// A text that names no tools.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" names no tools: write component.tool, component.* or *")]
pub struct ToolPatternError {
    text: String,
}

impl FromStr for ToolPattern {
    type Err = ToolPatternError;

    fn from_str(text: &str) -> Result<Self, ToolPatternError> {
        let bad = || ToolPatternError { text: text.chars().take(130).collect() };
        if text == "*" {
            return Ok(Self::any());
        }
        let (component, tool) = text.split_once('.').ok_or_else(bad)?;
        check_name("component", component).map_err(|_| bad())?;
        let tool = match tool {
            "*" => None,
            tool => {
                check_name("tool", tool).map_err(|_| bad())?;
                Some(tool.to_owned())
            }
        };
        Ok(Self { component: Some(component.to_owned()), tool })
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.component, &self.tool) {
            (None, _) => f.write_str("*"),
            (Some(component), None) => write!(f, "{component}.*"),
            (Some(component), Some(tool)) => write!(f, "{component}.{tool}"),
        }
    }
}

impl TryFrom<String> for ToolPattern {
    type Error = ToolPatternError;

    fn try_from(text: String) -> Result<Self, ToolPatternError> {
        text.parse()
    }
}

impl From<ToolPattern> for String {
    fn from(pattern: ToolPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_names_and_nothing_else() {
        let tool = |text: &str| text.parse::<ToolName>().expect("a tool");
        for (pattern, covered, not) in [
            ("files.read", "files.read", "files.write"),
            ("files.read", "files@1.2.3.read", "query.read"),
            ("files.*", "files.write", "filesx.write"),
        ] {
            let pattern: ToolPattern = pattern.parse().expect("a pattern");
            assert!(pattern.covers(&tool(covered)), "{pattern} {covered}");
            assert!(!pattern.covers(&tool(not)), "{pattern} {not}");
        }
        assert!("*".parse::<ToolPattern>().expect("all").covers(&tool("a.b")));
        for bad in ["", "files", ".", "*.read", "files.", "Files.*", "files.re*d", "a.b.c"] {
            assert!(bad.parse::<ToolPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_two_patterns_mean_together_is_never_more_than_either() {
        let pattern = |text: &str| text.parse::<ToolPattern>().expect("a pattern");
        for (one, other, both) in [
            ("*", "files.read", Some("files.read")),
            ("files.*", "*", Some("files.*")),
            ("files.*", "files.read", Some("files.read")),
            ("files.read", "files.read", Some("files.read")),
            ("files.read", "files.write", None),
            ("files.*", "query.*", None),
        ] {
            let found = pattern(one).and(&pattern(other));
            assert_eq!(found.map(|found| found.to_string()).as_deref(), both, "{one} {other}");
        }
        let mut policy = AgentPolicy::of_component("assistant");
        policy.tools = vec![pattern("files.*"), pattern("query.count")];
        policy.keep_tools(&[pattern("*"), pattern("files.read")]);
        let kept: Vec<String> = policy.tools.iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["files.*", "files.read", "query.count"]);
        policy.keep_tools(&[pattern("files.read"), pattern("shell.*")]);
        assert_eq!(policy.tools, [pattern("files.read")]);
    }

    #[test]
    fn a_budget_is_never_raised() {
        let mine = TurnBudget::default();
        let mut asked = mine;
        asked.tokens = NonZeroU64::MIN;
        asked.tool_calls = NonZeroU64::MAX;
        let lowered = mine.lowered(&asked);
        assert_eq!((lowered.tokens, lowered.tool_calls), (NonZeroU64::MIN, mine.tool_calls));
    }
}
