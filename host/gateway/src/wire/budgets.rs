//! Budgets: what may be spent on models, and what was.

use foreshore_control::budgets::BudgetState;
use foreshore_domain::moment::rfc3339;

/// The budgets.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Budgets)]
pub(crate) struct BudgetsSchema<'a> {
    /// By scope and name.
    pub(crate) budgets: Vec<BudgetSchema<'a>>,
}

/// What a tenant, an agent or a conversation may spend on models, and has spent.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Budget)]
pub(crate) struct BudgetSchema<'a> {
    /// `tenant`, `agent` or `conversation`.
    scope: &'static str,
    name: &'a str,
    /// When what was spent is forgotten: the next midnight, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<String>,
    /// In and out.
    tokens: SpendingSchema,
    /// In millionths of the operator's currency.
    cost_micros: SpendingSchema,
    /// Time spent waiting for models, in milliseconds.
    wall_ms: SpendingSchema,
}

/// One of the things that are spent.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Spending)]
pub(crate) struct SpendingSchema {
    /// The most that may be spent; absent where nothing bounds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// What was spent since the last reset.
    spent: u64,
    /// What requests hold that run now.
    held: u64,
}

impl<'a> From<&'a BudgetState> for BudgetSchema<'a> {
    fn from(state: &'a BudgetState) -> Self {
        let BudgetState { key, limit, spent, reserved, resets_at_unix_ms } = state;
        let spending = |limit, spent, held| SpendingSchema { limit, spent, held };
        Self {
            scope: key.scope.as_str(),
            name: &key.name,
            resets_at: resets_at_unix_ms.map(rfc3339),
            tokens: spending(limit.tokens, spent.tokens, reserved.tokens),
            cost_micros: spending(limit.cost_micros, spent.cost_micros, reserved.cost_micros),
            wall_ms: spending(limit.wall_ms, spent.wall_ms, reserved.wall_ms),
        }
    }
}
