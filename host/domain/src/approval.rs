//! Approvals by rule: which calls run, which do not, and which a person decides.
//!
//! > a call is held to the **rules** in their order; *ask* makes a record with the **terms** of the
//! > rule and a **binding**; people vote; the call that was approved runs once
//!
//! Deliberately absent: clocks, the record's place and who carries it out (`control`). The
//! invariants: the first rule that matches decides; what was approved is one call of one component
//! with one set of arguments under one policy, and a binding differs if any of these does.

mod binding;
mod record;
mod rule;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use self::binding::{Binding, Nonce, canonical, shape};
pub use self::record::{
    ARGUMENTS_MAX_BYTES, ApprovalClosed, ApprovalRequested, ApprovalRevoked, ApprovalState,
    ApprovalUsed, ApprovalVoted, Edited, Origin, Scope, Standing, Vote, kind,
};
pub use self::rule::{
    Annotation, ArgumentPattern, Asking, HostGlob, Hours, PatternError, Rule, Verdict,
};

use crate::id::Digest;
use crate::identity::{BuiltIn, Principal, RoleName};

/// What a rule says of how much is at stake, for whoever decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Little.
    Low,
    /// Some.
    #[default]
    Medium,
    /// Much.
    High,
    /// What cannot be made good.
    Critical,
}

impl Risk {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Who decides, how many of them, and until when: what a rule says and a record keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How much is at stake.
    pub risk: Risk,
    /// Why a person is asked, in the operator's words.
    pub reason: String,
    /// Roles of which an approver has one; whoever may decide approvals at all where it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<RoleName>,
    /// How many of them must agree. One *no* is enough for a no.
    pub quorum: NonZeroU32,
    /// How long it can be decided, in milliseconds; then it is denied.
    pub ttl_ms: u64,
    /// Who may decide as well after a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
    /// Whether one who asked may say yes alone, where one yes is enough.
    #[serde(default)]
    pub own: bool,
    /// JSON Pointers to the arguments that a lasting approval pins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinned: Vec<String>,
}

/// Who may decide as well after a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    /// After how long, in milliseconds.
    pub after_ms: u64,
    /// Roles of which one has one.
    pub to: Vec<RoleName>,
}

/// How long something waits for a decision where no rule says: a day, in milliseconds.
pub const TTL_MS: u64 = 24 * 60 * 60 * 1_000;

impl Terms {
    /// One person of those who may decide at all, within a day.
    pub fn usual(reason: impl Into<String>) -> Self {
        Self {
            risk: Risk::default(),
            reason: reason.into(),
            approvers: Vec::new(),
            quorum: NonZeroU32::MIN,
            ttl_ms: TTL_MS,
            escalation: None,
            own: false,
            pinned: Vec::new(),
        }
    }

    /// Whether somebody is one of those who decide, this long after it was asked. That they may
    /// decide approvals at all is another question, and asked besides.
    pub fn admits(&self, who: &Principal, waited_ms: u64) -> bool {
        let has = |roles: &[RoleName]| roles.iter().any(|role| who.has_role(role));
        self.approvers.is_empty()
            || has(&self.approvers)
            || self
                .escalation
                .as_ref()
                .is_some_and(|later| waited_ms >= later.after_ms && has(&later.to))
    }
}

/// What becomes of calls of destructive tools that no rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destructive {
    /// They run.
    #[default]
    Allow,
    /// Those of agents wait for a person; those of people run.
    AskAgents,
    /// They wait for a person.
    Ask,
}

/// The rules of a host.
#[derive(Clone, Debug)]
pub struct ApprovalPolicy {
    rules: Vec<Rule>,
    destructive: Destructive,
    digest: Digest,
}

impl Default for ApprovalPolicy {
    fn default() -> Self {
        Self::new(Vec::new(), Destructive::default())
    }
}

/// What the rules say of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It runs.
    Allow,
    /// It does not.
    Deny {
        /// Which rule, from 0.
        rule: usize,
        /// Why, in the operator's words.
        reason: String,
    },
    /// A person decides.
    Ask(Terms),
}

impl ApprovalPolicy {
    /// Rules in the order that they are looked at.
    pub fn new(rules: Vec<Rule>, destructive: Destructive) -> Self {
        // As they are written out in memory. Another version of the host may write them otherwise:
        // what then waits is stale, and asked for again.
        let digest = Digest::of(format!("{destructive:?} {rules:?}").as_bytes());
        Self { rules, destructive, digest }
    }

    /// Names these rules and no others.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether it could keep any call from running at once.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty() && self.destructive == Destructive::Allow
    }

    /// What the rules say of a call. The first that matches decides.
    pub fn ruling(&self, asking: &Asking<'_>) -> Ruling {
        let found = self.rules.iter().enumerate().find(|(_, rule)| rule.matches(asking));
        if let Some((index, rule)) = found {
            return match rule.verdict {
                Verdict::Allow => Ruling::Allow,
                Verdict::Deny => Ruling::Deny { rule: index, reason: rule.terms.reason.clone() },
                Verdict::Ask => Ruling::Ask(rule.terms.clone()),
            };
        }
        let asks = match self.destructive {
            Destructive::Allow => false,
            Destructive::AskAgents => asking.agent.is_some(),
            Destructive::Ask => true,
        };
        if asks && asking.hints.destructive && !asking.hints.read_only {
            let mut terms = Terms::usual("the tool may overwrite or destroy");
            terms.risk = Risk::High;
            // Whoever administers this host and calls a tool by hand may also say yes to it.
            terms.own = asking.agent.is_none() && asking.principal.has_role(&BuiltIn::Admin.name());
            return Ruling::Ask(terms);
        }
        Ruling::Allow
    }
}

#[cfg(test)]
mod tests;
