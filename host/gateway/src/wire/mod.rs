//! What goes over the wire, apart from the domain's types: a change of either is a decision.
//!
//! The types borrow from the domain's and are written straight into the response's buffer; a
//! JSON text that a guest wrote passes through as it is. `/openapi.json` is made from them.

mod budgets;
mod call;
mod component;
mod content;
mod conversation;
mod files;
mod host;
mod identity;
mod journal;
mod memory;
mod problem;
mod replay;
mod secrets;
mod store;
mod tool;
mod turn;

use std::fmt::Display;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};

pub(crate) use budgets::{BudgetSchema, BudgetsSchema};
pub(crate) use call::{CallResult, LogSchema, ProgressSchema};
pub(crate) use component::{ComponentSchema, ComponentsSchema};
pub(crate) use conversation::{
    AgentSchema, AgentsSchema, ApprovalsSchema, ConversationHitSchema, ConversationMadeSchema,
    ConversationPatchSchema, ConversationQuerySchema, ConversationSchema, ConversationsFoundSchema,
    ConversationsSchema, DecisionSchema, ForkSchema, NewConversationSchema, TurnsSchema,
    VariableSchema, VariableValueSchema, VariablesSchema,
};
pub(crate) use files::{
    FileChangesSchema, FileDiffSchema, FileNameSchema, FileRootSchema, FileRootsSchema,
    FileVersionSchema, FileVersionsSchema, FilesApprovedSchema, FilesRestoredSchema,
    FilesScannedSchema, RestoredSchema, UndoSchema,
};
pub(crate) use host::{
    ConcurrencyPatchSchema, ConcurrencySchema, HealthSchema, LimitSchema, LimitsSchema,
    ReadinessSchema,
};
pub(crate) use identity::{
    CredentialKindSchema, CredentialSchema, CredentialsSchema, IssuedSchema, NewCredentialSchema,
    PrincipalSchema, RefreshSchema, TokensSchema,
};
pub(crate) use journal::{EventSchema, EventsSchema};
pub(crate) use memory::{
    EmbeddingSchema, MemoryEmbeddingSchema, MemoryFoundSchema, MemoryHitSchema, MemoryKeysSchema,
    MemoryNamespaceSchema, MemoryNamespacesSchema, MemoryPutSchema, MemoryQuerySchema,
    MemoryRecordSchema, MemoryVersionsSchema, MemoryWrittenSchema, PathsSchema, RelatedSchema,
    RelationChangedSchema, RelationSchema, RelationsSchema, method,
};
pub(crate) use problem::ProblemSchema;
pub(crate) use replay::{ReplayRequestSchema, ReplaySchema};
pub(crate) use secrets::{SecretSchema, SecretValueSchema, SecretsRekeyedSchema, SecretsSchema};
pub(crate) use store::{
    StoreBackupSchema, StoreCheckedSchema, StoreRebuiltSchema, StoreStatsSchema,
    StoreVerdictSchema, StoreVerifySchema,
};
pub(crate) use tool::{ToolSchema, ToolsSchema};
pub(crate) use turn::{
    ApprovalSchema, MessageSchema, NewTurnSchema, PartSchema, TakenTurnSchema, TurnSchema, text_of,
    turn_budget, update,
};

/// A JSON text of `value` in a buffer that has `room` bytes to begin with.
pub(crate) fn json(value: &impl Serialize, room: usize) -> Bytes {
    let mut text = Vec::with_capacity(room);
    // Writing to memory cannot fail, and no wire type has a map with keys that are no text.
    serde_json::to_writer(&mut text, value).expect("invariant: wire types are JSON");
    text.into()
}

/// An event of a stream: a name and a JSON text (WHATWG HTML, section 9.2.5).
pub(crate) fn event(name: &str, value: &impl Serialize) -> Bytes {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\ndata: ");
    // JSON text from serde holds no line break, so one `data` line carries it.
    serde_json::to_writer(&mut text, value).expect("invariant: wire types are JSON");
    text.extend_from_slice(b"\n\n");
    text.into()
}

/// An event of a stream that a client can go on behind: it has a number.
pub(crate) fn numbered_event(number: u64, name: &str, value: &impl Serialize) -> Bytes {
    let mut text = format!("id: {number}\n").into_bytes();
    text.extend_from_slice(&event(name, value));
    text.into()
}

/// Serializes as a JSON object under one name: `{"tools": [...]}`.
pub(crate) struct Named<'a, T>(pub(crate) &'static str, pub(crate) &'a [T]);

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1)?;
        map.end()
    }
}

fn display<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
