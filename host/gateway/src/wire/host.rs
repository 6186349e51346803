//! The host itself: its limits, and whether it is well.

use foreshore_control::{Check, Readiness};
use foreshore_domain::limits::LimitRow;

use crate::config::EdgeLimitRow;

/// One limit in force.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Limit)]
pub(crate) struct LimitSchema {
    /// The name in configuration.
    #[schema(example = "fuel")]
    pub(crate) name: &'static str,
    /// `fuel`, `ms`, `bytes` or `count`.
    pub(crate) unit: &'static str,
    /// The value in force.
    pub(crate) value: u64,
    /// What it is where nobody says otherwise.
    pub(crate) default: u64,
    /// The most an operator may set.
    pub(crate) ceiling: u64,
    /// What it bounds.
    pub(crate) description: &'static str,
}

/// The limits in force.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Limits)]
pub(crate) struct LimitsSchema<'a> {
    /// Whose calls these are the limits of; absent for components without a policy of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<&'a str>,
    /// What each call may use; `components.NAME.limits` in configuration.
    pub(crate) limits: Vec<LimitSchema>,
    /// What a connection may use; `server.limits` in configuration.
    pub(crate) gateway: Vec<LimitSchema>,
}

/// Whether the host takes calls, and why or why not.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadinessSchema<'a> {
    /// `ok` or `unavailable`.
    pub(crate) status: &'static str,
    /// What was looked at; only with `?verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checks: Option<Vec<CheckSchema<'a>>>,
}

impl<'a> ReadinessSchema<'a> {
    pub(crate) fn new(readiness: &'a Readiness, is_draining: bool, verbose: bool) -> Self {
        let drain = CheckSchema {
            name: "gateway",
            ok: !is_draining,
            message: if is_draining { "draining" } else { "serving" },
        };
        let checks = || readiness.checks.iter().map(CheckSchema::from).chain([drain]).collect();
        let is_ready = readiness.is_ready() && !is_draining;
        Self { status: if is_ready { "ok" } else { "unavailable" }, checks: verbose.then(checks) }
    }
}

/// One thing that was looked at.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ReadinessCheck)]
pub(crate) struct CheckSchema<'a> {
    name: &'static str,
    /// Whether it stands in the way of calls.
    ok: bool,
    /// One line for a person.
    message: &'a str,
}

impl<'a> From<&'a Check> for CheckSchema<'a> {
    fn from(check: &'a Check) -> Self {
        Self { name: check.name, ok: check.is_ok, message: &check.message }
    }
}

/// Whether the host works.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthSchema {
    /// `ok`.
    pub(crate) status: &'static str,
}

impl From<LimitRow> for LimitSchema {
    fn from(row: LimitRow) -> Self {
        let LimitRow { name, unit, value, default, ceiling, description } = row;
        Self { name, unit, value, default, ceiling, description }
    }
}

impl From<EdgeLimitRow> for LimitSchema {
    fn from(row: EdgeLimitRow) -> Self {
        let EdgeLimitRow { name, unit, value, default, ceiling, description } = row;
        Self { name, unit, value, default, ceiling, description }
    }
}

/// How much goes on.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(crate) struct ConcurrencySchema {
    /// Agents that run.
    agents_running: usize,
    /// How many may.
    agents_max: usize,
    /// Turns that have not ended, those that wait included.
    turns_open: usize,
    /// Of them, those behind another turn of their conversation.
    turns_queued: usize,
}

impl From<foreshore_control::turns::TurnsLoad> for ConcurrencySchema {
    fn from(load: foreshore_control::turns::TurnsLoad) -> Self {
        Self {
            agents_running: load.running,
            agents_max: load.running_max,
            turns_open: load.open,
            turns_queued: load.queued,
        }
    }
}

/// What to change.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConcurrencyPatchSchema {
    /// 1 to 1,024.
    #[schema(value_type = u64)]
    pub(crate) agents_max: std::num::NonZeroUsize,
}
