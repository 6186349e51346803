//! From `[budgets]` to who may spend how much on models.
//!
//! Money is in the operator's currency, as the prices of `[inference.models.NAME]` are.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use foreshore_control::{BudgetsConfig, DailyLimit};
use serde::Deserialize;

use super::inference::micros;
use super::{Config, ConfigError};
use crate::nearest::nearest;

/// What may be spent on models. Nothing is bounded where nothing is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BudgetsSection {
    /// By all agents together, and by whoever asks models directly.
    pub(crate) tenant: DailySection,
    /// By each of these agents.
    pub(crate) agents: BTreeMap<String, DailySection>,
    /// In each conversation.
    pub(crate) conversation: DailySection,
}

/// What may be spent on a day, by UTC.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DailySection {
    /// In and out.
    pub(crate) tokens_per_day: Option<NonZeroU64>,
    pub(crate) cost_per_day: Option<f64>,
    /// Time spent waiting for models.
    pub(crate) wall_ms_per_day: Option<NonZeroU64>,
}

impl DailySection {
    fn limit(&self) -> Result<DailyLimit, String> {
        let cost_micros = self.cost_per_day.map(cost).transpose()?;
        Ok(DailyLimit {
            tokens: self.tokens_per_day.map(NonZeroU64::get),
            cost_micros,
            wall_ms: self.wall_ms_per_day.map(NonZeroU64::get),
        })
    }
}

/// Millionths of what may be spent.
fn cost(sum: f64) -> Result<u64, String> {
    match micros(sum) {
        Ok(0) => Err(format!("{sum} is less than a millionth: leave it out for no limit")),
        Ok(micros) => Ok(micros),
        Err(_) => Err(format!("{sum} is no sum of money: it is above 0, and at most 1000000000")),
    }
}

impl Config {
    /// Who may spend how much on models.
    ///
    /// # Errors
    /// A section that cannot be used, with its key and place.
    pub(crate) fn budgets(&self) -> Result<BudgetsConfig, ConfigError> {
        let section = &self.sections.budgets;
        let limit = |keys: &[&str], section: &DailySection| {
            let keys = [&["budgets"], keys, &["cost_per_day"]].concat();
            section.limit().map_err(|message| self.refused(&keys, &message))
        };
        let known = self.agents()?;
        let agents = section.agents.iter().map(|(name, section)| {
            if !known.contains_key(name) {
                let near = nearest(name, known.keys().map(String::as_str));
                let near = near.map(|name| format!("; did you mean \"{name}\"?"));
                let message = format!("no agent is called \"{name}\"{}", near.unwrap_or_default());
                return Err(self.refused(&["budgets", "agents", name], &message));
            }
            Ok((name.clone(), limit(&["agents", name], section)?))
        });
        Ok(BudgetsConfig {
            tenant: limit(&["tenant"], &section.tenant)?,
            agents: agents.collect::<Result<_, ConfigError>>()?,
            conversation: limit(&["conversation"], &section.conversation)?,
        })
    }
}
