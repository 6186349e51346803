//! From `[approvals]` to which calls wait for a person.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use foreshore_control::WebhookUrl;
use foreshore_control::approvals::{ApprovalWebhook, WebhookKey};
use foreshore_domain::approval::{
    Annotation, ApprovalPolicy, ArgumentPattern, Destructive, Escalation, HostGlob, Hours, Risk,
    Rule, TTL_MS, Terms, Verdict,
};
use foreshore_domain::identity::{RoleName, Roles};
use regex::RegexBuilder;
use serde::Deserialize;

use super::sections::{Parsed, Written};
use super::{Config, ConfigError};

/// The most that a pattern may take when it is built.
const REGEX_MAX_BYTES: usize = 1 << 20;
/// The most that a key's file holds.
const KEY_MAX_BYTES: usize = 4 << 10;
/// The least, for which there is nothing to guess.
const KEY_MIN_BYTES: usize = 16;

/// Which calls wait for a person.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ApprovalsSection {
    /// What becomes of calls of destructive tools that no rule is about: `allow`, `ask-agents` or
    /// `ask`.
    pub(crate) destructive: Destructive,
    /// In this order; the first that matches decides.
    pub(crate) rules: Vec<RuleSection>,
    /// Who is told of what waits.
    pub(crate) webhook: Option<Parsed<WebhookUrl>>,
    /// The file with the key that notices are signed with.
    pub(crate) webhook_key_file: Option<PathBuf>,
}

/// One rule. What is left out matches everything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleSection {
    pub(crate) component: Option<String>,
    /// The tool's name within its component, or `component.tool`.
    pub(crate) tool: Option<String>,
    /// An agent by its name, or `*` for any.
    pub(crate) agent: Option<String>,
    /// On whose behalf, as records name them.
    pub(crate) principal: Option<String>,
    pub(crate) role: Option<String>,
    /// By JSON Pointer.
    #[serde(default)]
    pub(crate) arguments: BTreeMap<String, PatternSection>,
    #[serde(default)]
    pub(crate) annotations: Vec<Parsed<Annotation>>,
    /// The host of a URL among the arguments.
    pub(crate) destination: Option<Parsed<HostGlob>>,
    pub(crate) hours: Option<Parsed<Hours>>,
    pub(crate) decision: DecisionWord,
    #[serde(default)]
    pub(crate) risk: Risk,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) approvers: Vec<String>,
    pub(crate) quorum: Option<NonZeroU32>,
    pub(crate) ttl_s: Option<NonZeroU64>,
    pub(crate) escalate_after_s: Option<NonZeroU64>,
    #[serde(default)]
    pub(crate) escalate_to: Vec<String>,
    /// Whether whoever asks may say yes alone.
    #[serde(default, rename = "self")]
    pub(crate) own: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DecisionWord {
    Allow,
    Deny,
    Ask,
}

/// What an argument is like: one of `equals`, `matches`, or `min` and `max`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PatternSection {
    pub(crate) equals: Option<serde_json::Value>,
    pub(crate) matches: Option<String>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
}

impl Written for Annotation {
    const EXAMPLE: Option<&'static str> = None;
}

impl Written for HostGlob {
    const EXAMPLE: Option<&'static str> = None;
}

impl Written for Hours {
    const EXAMPLE: Option<&'static str> = None;
}

impl PatternSection {
    fn pattern(&self) -> Result<ArgumentPattern, String> {
        match self {
            Self { equals: Some(value), matches: None, min: None, max: None } => {
                Ok(ArgumentPattern::Equals(value.clone()))
            }
            Self { equals: None, matches: Some(text), min: None, max: None } => {
                let regex = RegexBuilder::new(text).size_limit(REGEX_MAX_BYTES).build();
                regex.map(ArgumentPattern::Matches).map_err(|error| error.to_string())
            }
            Self { equals: None, matches: None, min, max } if min.is_some() || max.is_some() => {
                Ok(ArgumentPattern::Within { min: *min, max: *max })
            }
            _ => Err("give equals, or matches, or min and max".to_owned()),
        }
    }
}

impl RuleSection {
    fn rule(&self, roles: &Roles) -> Result<Rule, (&'static str, String)> {
        let role = |key: &'static str, text: &String| {
            let name = RoleName::parse(text).map_err(|error| (key, error.to_string()))?;
            match roles.get(&name) {
                Some(_) => Ok(name),
                None => Err((key, format!("there is no role \"{name}\""))),
            }
        };
        let all = |key: &'static str, names: &[String]| {
            names.iter().map(|name| role(key, name)).collect::<Result<Vec<_>, _>>()
        };
        let (component, tool) = match (&self.component, &self.tool) {
            (None, Some(tool)) if tool.contains('.') => {
                let (component, tool) = tool.split_once('.').unwrap_or_default();
                (Some(component.to_owned()), Some(tool.to_owned()))
            }
            (component, tool) => (component.clone(), tool.clone()),
        };
        if tool.as_ref().is_some_and(|tool| tool.contains('.')) {
            return Err(("tool", "a tool is its name, or component.tool alone".to_owned()));
        }
        let mut arguments = BTreeMap::new();
        for (pointer, section) in &self.arguments {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                let message = format!("\"{pointer}\" is no JSON Pointer: write /name");
                return Err(("arguments", message));
            }
            let pattern = section.pattern();
            let pattern =
                pattern.map_err(|error| ("arguments", format!("of \"{pointer}\": {error}")))?;
            arguments.insert(pointer.clone(), pattern);
        }
        if self.decision != DecisionWord::Ask {
            let asks = [
                ("approvers", !self.approvers.is_empty()),
                ("quorum", self.quorum.is_some()),
                ("ttl_s", self.ttl_s.is_some()),
                ("escalate_after_s", self.escalate_after_s.is_some()),
                ("escalate_to", !self.escalate_to.is_empty()),
                ("self", self.own),
            ];
            if let Some((key, _)) = asks.into_iter().find(|(_, is_given)| *is_given) {
                return Err((key, "it is for decision = \"ask\" alone".to_owned()));
            }
        }
        let escalation = match (self.escalate_after_s, &self.escalate_to) {
            (None, to) if to.is_empty() => None,
            (Some(after), to) if !to.is_empty() => {
                Some(Escalation { after_ms: ms(after), to: all("escalate_to", to)? })
            }
            _ => {
                let message = "escalate_after_s and escalate_to go together".to_owned();
                return Err(("escalate_to", message));
            }
        };
        let quorum = self.quorum.unwrap_or(NonZeroU32::MIN);
        if self.own && quorum.get() > 1 {
            return Err(("self", "whoever asks does not decide where several do".to_owned()));
        }
        let terms = Terms {
            risk: self.risk,
            reason: self.reason.clone(),
            approvers: all("approvers", &self.approvers)?,
            quorum,
            ttl_ms: self.ttl_s.map_or(TTL_MS, ms),
            escalation,
            own: self.own,
            pinned: arguments.keys().cloned().collect(),
        };
        Ok(Rule {
            component,
            tool,
            agent: self.agent.clone(),
            principal: self.principal.clone(),
            role: self.role.as_ref().map(|name| role("role", name)).transpose()?,
            arguments,
            annotations: self.annotations.iter().map(|annotation| annotation.0).collect(),
            destination: self.destination.clone().map(|glob| glob.0),
            hours: self.hours.map(|hours| hours.0),
            verdict: match self.decision {
                DecisionWord::Allow => Verdict::Allow,
                DecisionWord::Deny => Verdict::Deny,
                DecisionWord::Ask => Verdict::Ask,
            },
            terms,
        })
    }
}

fn ms(seconds: NonZeroU64) -> u64 {
    seconds.get().saturating_mul(1_000)
}

impl Config {
    /// Which calls wait for a person.
    ///
    /// # Errors
    /// A rule that cannot be used, with its key and place.
    pub(crate) fn approval_policy(&self) -> Result<ApprovalPolicy, ConfigError> {
        let (section, roles) = (&self.sections.approvals, self.roles()?);
        let mut rules = Vec::with_capacity(section.rules.len());
        for (index, rule) in section.rules.iter().enumerate() {
            rules.push(rule.rule(&roles).map_err(|(key, message)| {
                let message = format!("rule {}: {key}: {message}", index + 1);
                self.refused(&["approvals", "rules"], &message)
            })?);
        }
        Ok(ApprovalPolicy::new(rules, section.destructive))
    }

    /// Who is told of what waits. Reads the key's file.
    ///
    /// # Errors
    /// A webhook without a key, a key without a webhook, a file that cannot be used.
    pub(crate) fn approval_webhook(&self) -> Result<Option<ApprovalWebhook>, ConfigError> {
        let section = &self.sections.approvals;
        let refused = |key: &str, message: &dyn std::fmt::Display| {
            Err(self.refused(&["approvals", key], message))
        };
        let (url, file) = match (&section.webhook, &section.webhook_key_file) {
            (None, None) => return Ok(None),
            (Some(url), Some(file)) => (url.0.clone(), file),
            (Some(_), None) => {
                let message = "give webhook_key_file too: notices are signed";
                return refused("webhook", &message);
            }
            (None, Some(_)) => {
                return refused("webhook_key_file", &"there is no webhook that it would be for");
            }
        };
        let key = match std::fs::read(file) {
            Ok(key) => key.trim_ascii().to_vec(),
            Err(error) => {
                let message = format!("{}: {error}", file.display());
                return refused("webhook_key_file", &message);
            }
        };
        if !(KEY_MIN_BYTES..=KEY_MAX_BYTES).contains(&key.len()) {
            let bytes = key.len();
            let message = format!("a key of {bytes} bytes; {KEY_MIN_BYTES} to {KEY_MAX_BYTES}");
            return refused("webhook_key_file", &message);
        }
        Ok(Some(ApprovalWebhook { url, key: WebhookKey::new(key) }))
    }
}
