//! Conversations, their turns and variables.

use foreshore_control::store::conversations::{ConversationEntry, ConversationHit, FoundIn};
use foreshore_control::store::variables::VariableSummary;
use serde_json::value::RawValue;

/// A conversation.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Conversation)]
pub(crate) struct ConversationSchema<'a> {
    id: &'a str,
    /// The agent that it is with.
    agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    created_at_unix_ms: u64,
    updated_at_unix_ms: u64,
    /// How many turns it has.
    turns: u64,
    /// How many of them have not ended.
    open_turns: u64,
    archived: bool,
    /// Where its first turns come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    forked_from: Option<ForkedFromSchema<'a>>,
    /// The turn of an agent that began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    delegated_by: Option<String>,
    /// The start of what was said last.
    last: &'a str,
}

/// A place in another conversation.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ForkedFrom)]
pub(crate) struct ForkedFromSchema<'a> {
    conversation: &'a str,
    /// The last turn that was taken over.
    through_turn: u64,
}

impl<'a> From<&'a ConversationEntry> for ConversationSchema<'a> {
    fn from(entry: &'a ConversationEntry) -> Self {
        Self {
            id: entry.conversation.as_str(),
            agent: entry.agent.as_str(),
            title: entry.title.as_ref().map(|title| title.as_str()),
            created_at_unix_ms: entry.created_at_unix_ms,
            updated_at_unix_ms: entry.updated_at_unix_ms,
            turns: entry.turns,
            open_turns: entry.open_turns,
            archived: entry.archived,
            forked_from: entry.forked_from.as_ref().map(|from| ForkedFromSchema {
                conversation: from.conversation.as_str(),
                through_turn: from.through_turn,
            }),
            delegated_by: entry.delegated_by.map(|turn| turn.to_string()),
            last: entry.last_excerpt.as_str(),
        }
    }
}

/// A page of conversations, the one updated last first.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Conversations)]
pub(crate) struct ConversationsSchema<'a> {
    pub(crate) conversations: Vec<ConversationSchema<'a>>,
    /// What to ask for the next page with, as `before`; left out at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_before: Option<u64>,
}

/// A conversation to begin.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = NewConversation)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConversationSchema {
    pub(crate) agent: String,
    #[serde(default)]
    pub(crate) title: Option<String>,
}

/// A conversation that was begun.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ConversationMade)]
pub(crate) struct ConversationMadeSchema<'a> {
    pub(crate) id: &'a str,
}

/// What is to be changed; what is left out stays.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = ConversationPatch)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversationPatchSchema {
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) archived: Option<bool>,
}

/// Where to fork.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = Fork)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForkSchema {
    /// The last turn that is taken over, from 0.
    pub(crate) through_turn: u64,
    #[serde(default)]
    pub(crate) title: Option<String>,
}

/// Turns of a conversation.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Turns)]
pub(crate) struct TurnsSchema<'a> {
    pub(crate) turns: Vec<super::TurnSchema<'a>>,
}

/// What is searched for.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = ConversationQuery)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversationQuerySchema {
    /// Words, any of which a hit has.
    pub(crate) query: String,
    #[serde(default)]
    pub(crate) agent: Option<String>,
    /// 1 to 200; 20 if left out.
    #[serde(default)]
    pub(crate) limit: Option<usize>,
}

/// What was found, best first.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ConversationsFound)]
pub(crate) struct ConversationsFoundSchema<'a> {
    pub(crate) hits: Vec<ConversationHitSchema<'a>>,
}

/// Where words were said.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ConversationHit)]
pub(crate) struct ConversationHitSchema<'a> {
    conversation: &'a str,
    /// `title`, `message` or `reply`.
    found_in: &'static str,
    /// The turn, where it is a message or a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u64>,
    /// The text around the words.
    snippet: &'a str,
    /// Higher is better; comparable within one answer only.
    score: f32,
}

impl<'a> From<&'a ConversationHit> for ConversationHitSchema<'a> {
    fn from(hit: &'a ConversationHit) -> Self {
        let (found_in, turn) = match hit.found_in {
            FoundIn::Title => ("title", None),
            FoundIn::Message(turn) => ("message", Some(turn)),
            FoundIn::Reply(turn) => ("reply", Some(turn)),
        };
        Self {
            conversation: hit.conversation.as_str(),
            found_in,
            turn,
            snippet: &hit.snippet.text,
            score: hit.score,
        }
    }
}

/// The variables of a conversation.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Variables)]
pub(crate) struct VariablesSchema<'a> {
    pub(crate) variables: Vec<VariableSchema<'a>>,
}

/// A variable, without its value.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = VariableSummary)]
pub(crate) struct VariableSchema<'a> {
    name: &'a str,
    /// From 1.
    version: u64,
    /// `object`, `array`, `string`, `number`, `boolean` or `null`.
    #[serde(rename = "type")]
    json_type: &'static str,
    size_bytes: u64,
    /// At most 120 characters.
    first_line: &'a str,
    /// Its versions, the newest first, if they were asked for.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    history: Vec<VariableVersionSchema<'a>>,
}

/// One version of a variable, without its value.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = VariableVersion)]
pub(crate) struct VariableVersionSchema<'a> {
    version: u64,
    set_at_unix_ms: u64,
    #[serde(rename = "type")]
    json_type: &'static str,
    size_bytes: u64,
    first_line: &'a str,
}

impl<'a> VariableSchema<'a> {
    pub(crate) fn new(summary: &'a VariableSummary, history: &'a [(u64, VariableSummary)]) -> Self {
        let version = |(set_at_unix_ms, one): &'a (u64, VariableSummary)| VariableVersionSchema {
            version: one.version,
            set_at_unix_ms: *set_at_unix_ms,
            json_type: one.json_type.as_str(),
            size_bytes: one.size_bytes,
            first_line: &one.first_line,
        };
        Self {
            name: summary.name.as_str(),
            version: summary.version,
            json_type: summary.json_type.as_str(),
            size_bytes: summary.size_bytes,
            first_line: &summary.first_line,
            history: history.iter().map(version).collect(),
        }
    }
}

/// One version of a variable.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Variable)]
pub(crate) struct VariableValueSchema<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: u64,
    pub(crate) set_at_unix_ms: u64,
    #[schema(value_type = Object)]
    pub(crate) value: &'a RawValue,
}

/// An agent that can be asked.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Agent)]
pub(crate) struct AgentSchema<'a> {
    pub(crate) name: &'a str,
    pub(crate) component: &'a str,
    /// What it does; left out where it cannot be run now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<&'a str>,
    /// The model it asks where it names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<&'a str>,
    /// The tools it may call.
    pub(crate) tools: Vec<String>,
    /// The agents it may delegate to.
    pub(crate) agents: &'a [String],
    /// JSON Schema of the parameters that a turn takes; left out where it takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) parameters: Option<&'a serde_json::Value>,
    /// What each of its turns may use.
    #[schema(value_type = Object)]
    pub(crate) budget: foreshore_domain::agent::TurnBudget,
}

/// All agents.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Agents)]
pub(crate) struct AgentsSchema<'a> {
    pub(crate) agents: Vec<AgentSchema<'a>>,
}
