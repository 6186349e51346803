//! The payload of what was spent.

use serde::{Deserialize, Serialize};

use super::Name;
use super::error::ConversationError;

/// The most scopes that one spending counts for.
pub const SCOPES_MAX: usize = 16;

/// `budget.spent`: tokens and money were used, and count for each of the scopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpent {
    /// For what: 1 to [`SCOPES_MAX`].
    #[serde(deserialize_with = "scopes")]
    pub scopes: Vec<BudgetScope>,
    /// In and out.
    pub tokens: u64,
    /// In millionths of the operator's currency.
    pub cost_micros: u64,
    /// Time spent waiting for models, in milliseconds.
    #[serde(default)]
    pub wall_ms: u64,
}

/// A budget, and the window of it that something counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetScope {
    /// `tenant:default`, `agent:assistant`.
    pub key: Name,
    /// Which window.
    pub window: BudgetWindow,
}

/// A window of time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct BudgetWindow {
    length_ms: u64,
    starts_at_unix_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    length_ms: u64,
    starts_at_unix_ms: u64,
}

impl BudgetWindow {
    /// The window of a length that a time is in: windows of a length follow one another from
    /// 1970 on.
    ///
    /// # Errors
    /// [`ConversationError::Window`]: the length is 0.
    pub fn at(now_unix_ms: u64, length_ms: u64) -> Result<Self, ConversationError> {
        let into = now_unix_ms.checked_rem(length_ms).ok_or(ConversationError::Window)?;
        Ok(Self { length_ms, starts_at_unix_ms: now_unix_ms - into })
    }

    /// How long it is.
    pub fn length_ms(&self) -> u64 {
        self.length_ms
    }

    /// Its first millisecond, since 1970.
    pub fn starts_at_unix_ms(&self) -> u64 {
        self.starts_at_unix_ms
    }
}

impl TryFrom<Unchecked> for BudgetWindow {
    type Error = ConversationError;

    fn try_from(window: Unchecked) -> Result<Self, ConversationError> {
        Self::at(window.starts_at_unix_ms, window.length_ms)
    }
}

fn scopes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<BudgetScope>, D::Error> {
    let scopes = Vec::<BudgetScope>::deserialize(deserializer)?;
    let (count, max) = (scopes.len(), SCOPES_MAX);
    if !(1..=max).contains(&count) {
        return Err(serde::de::Error::custom(ConversationError::Scopes { count, max }));
    }
    Ok(scopes)
}
