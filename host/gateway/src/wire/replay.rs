//! A past turn run again, beside the record of it.

use foreshore_control::turns::{ReplayReport, ReplaySide};

use super::turn::{ReplySchema, TurnErrorSchema, TurnUsageSchema, end_word, said};

/// How a past turn is run again; on its record, as it was, where nothing is said.
#[derive(Default, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = ReplayRequest)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplayRequestSchema {
    /// This agent's component instead, by its name.
    pub(crate) component: Option<String>,
    /// Every request goes to this model; means live inference.
    pub(crate) model: Option<String>,
    /// This message instead of the turn's.
    pub(crate) prompt: Option<String>,
    /// Models are asked anew; tools are answered from the record all the same.
    pub(crate) live_inference: bool,
}

/// A past turn and the same again, side by side.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Replay)]
pub(crate) struct ReplaySchema<'a> {
    recorded: ReplaySideSchema<'a>,
    replayed: ReplaySideSchema<'a>,
    /// The first step that is not the recorded one; left out where all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    divergence: Option<ReplayDivergenceSchema<'a>>,
    /// Calls that are not on record, and were not made.
    would_have_called: Vec<WouldHaveCalledSchema<'a>>,
}

/// One of the two.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ReplaySide)]
pub(crate) struct ReplaySideSchema<'a> {
    /// `name@version`.
    component: &'a str,
    steps: Vec<ReplayStepSchema<'a>>,
    /// The tools that were called, in order.
    tools: &'a [String],
    usage: TurnUsageSchema,
    /// `completed`, `failed` or `cancelled`; left out where it was stopped at the divergence, or
    /// has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'static str>,
    reply: ReplySchema<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TurnErrorSchema<'a>>,
}

/// One effect.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ReplayStep)]
pub(crate) struct ReplayStepSchema<'a> {
    kind: &'a str,
    /// In one line.
    summary: &'a str,
    /// Equal digests are equal effects.
    digest: &'a str,
}

/// Where two runs part.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ReplayDivergence)]
pub(crate) struct ReplayDivergenceSchema<'a> {
    /// The number of the step, from 0.
    number: u64,
    /// What is on record there; left out past its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<&'a str>,
    /// What is asked for now; left out where the turn ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<&'a str>,
}

/// A call that was not made.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = WouldHaveCalled)]
pub(crate) struct WouldHaveCalledSchema<'a> {
    tool: &'a str,
    /// A JSON object as text, as the agent wrote it.
    arguments: &'a str,
}

impl<'a> From<&'a ReplayReport> for ReplaySchema<'a> {
    fn from(report: &'a ReplayReport) -> Self {
        let ReplayReport { recorded, replayed, divergence, would_have_called } = report;
        Self {
            recorded: recorded.into(),
            replayed: replayed.into(),
            divergence: divergence.as_ref().map(|divergence| ReplayDivergenceSchema {
                number: divergence.number,
                recorded: divergence.recorded.as_deref(),
                found: divergence.found.as_deref(),
            }),
            would_have_called: would_have_called
                .iter()
                .map(|call| WouldHaveCalledSchema { tool: &call.name, arguments: &call.arguments })
                .collect(),
        }
    }
}

impl<'a> From<&'a ReplaySide> for ReplaySideSchema<'a> {
    fn from(side: &'a ReplaySide) -> Self {
        let ReplaySide { component, steps, tools, usage, end, reply, error } = side;
        let steps = steps.iter().map(|step| ReplayStepSchema {
            kind: &step.kind,
            summary: &step.summary,
            digest: &step.digest,
        });
        Self {
            component,
            steps: steps.collect(),
            tools,
            usage: (*usage).into(),
            end: end.map(end_word),
            reply: said(reply, None),
            error: error.as_ref().map(|(code, message)| TurnErrorSchema { code, message }),
        }
    }
}
