//! `GET /v1/budgets`: what may be spent on models, and what was.

use foreshore_control::Budgets;
use http::request::Parts;

use crate::negotiation;
use crate::problem::Problem;
use crate::query::Query;
use crate::request::{Answer, Edge, json};
use crate::wire::{self, BudgetSchema, BudgetsSchema, ProblemSchema};

const SCOPES: [&str; 3] = ["tenant", "agent", "conversation"];

/// Show budgets and what was spent of them today.
///
/// Tenants and agents are listed once they have a limit or have spent something, conversations
/// where they have a limit (`[budgets.conversation]`) and have spent something today.
#[utoipa::path(
    get,
    path = "/v1/budgets",
    operation_id = "listBudgets",
    tag = "host",
    params(("scope" = Option<String>, Query, description = "`tenant`, `agent` or `conversation` alone")),
    responses(
        (status = 200, description = "The budgets, by scope and name", body = BudgetsSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list(edge: &Edge, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["scope"])?;
    let scope = query.get("scope");
    if scope.is_some_and(|scope| !SCOPES.contains(&scope)) {
        let takes = SCOPES.join(", ");
        return Err(Problem::invalid_query(&format!("\"scope\" is one of {takes}")));
    }
    let mut states = edge.control.budgets().map(Budgets::states).unwrap_or_default();
    states.retain(|state| scope.is_none_or(|scope| state.key.scope.as_str() == scope));
    let budgets: Vec<_> = states.iter().map(BudgetSchema::from).collect();
    let about_bytes = 512 * (budgets.len() + 1);
    Ok(json(wire::json(&BudgetsSchema { budgets }, about_bytes)))
}
