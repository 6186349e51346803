//! The variables of a conversation: named JSON values with versions, under a quota.

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::conversation::Conversation;
use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::memory::{Blob as BlobValue, JsonText, JsonType, ValueRef, VariableName};
use foreshore_domain::variables::VariableSet;
use foreshore_store::variables::{Variable, VariableSummary};
use foreshore_store::{Blob, Commit};

use super::{ConversationFault, Conversations};
use crate::clock;
use crate::turns::payload::{Entry, KeptError};

/// The most names of variables of a conversation.
pub const VARIABLES_MAX: u64 = 1_000;
/// The most bytes of the kept versions of a conversation's variables.
pub const VARIABLES_BYTES_MAX: u64 = 64 << 20;
/// The largest variable, as JSON.
pub const VARIABLE_MAX_BYTES: usize = 4 << 20;
/// The largest variable that is kept in its event.
const VARIABLE_INLINE_MAX_BYTES: usize = 32 << 10;
/// Of a large variable, what is read for its first line.
const VARIABLE_TEXT_BYTES: usize = 1 << 10;
/// One version of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableRead {
    /// Which version, from 1.
    pub version: u64,
    /// When it was set, in milliseconds since 1970.
    pub set_at_unix_ms: u64,
    /// Its value.
    pub json: String,
}

impl Conversations {
    /// What variables a conversation has.
    ///
    /// # Errors
    /// [`ConversationFault::Store`].
    pub fn variables(
        &self,
        conversation: &Conversation,
    ) -> Result<Vec<VariableSummary>, ConversationFault> {
        Ok(self.journal.variables(&self.tenant, conversation)?.index()?)
    }

    /// At most `limit` of the kept versions of a variable, newest first, each with when it was
    /// set, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`ConversationFault::Store`].
    pub fn variable_versions(
        &self,
        conversation: &Conversation,
        name: &str,
        limit: usize,
    ) -> Result<Vec<(u64, VariableSummary)>, ConversationFault> {
        let versions = self.journal.variables(&self.tenant, conversation)?.versions(name, limit)?;
        let summary = |one: Variable| (one.set_at_unix_ms, one.summary(name));
        Ok(versions.into_iter().map(summary).collect())
    }

    /// A variable, in its latest version or the given one; `None` if there is none.
    ///
    /// # Errors
    /// [`ConversationFault::Store`].
    pub fn variable(
        &self,
        conversation: &Conversation,
        name: &VariableName,
        version: Option<u64>,
    ) -> Result<Option<VariableRead>, ConversationFault> {
        let reader = self.journal.variables(&self.tenant, conversation)?;
        let Some(found) = reader.get(name.as_str(), version)? else { return Ok(None) };
        let json = match &found.value {
            ValueRef::Inline(json) => json.as_str().to_owned(),
            ValueRef::Blob(blob) => {
                let bytes = self.journal.blob(&blob.digest)?;
                let bytes = bytes.ok_or(KeptError::Missing(blob.digest))?;
                String::from_utf8(bytes).map_err(|error| KeptError::Form(error.to_string()))?
            }
        };
        let (version, set_at_unix_ms) = (found.version, found.set_at_unix_ms);
        Ok(Some(VariableRead { version, set_at_unix_ms, json }))
    }

    /// Sets a variable; gives back its version, which is on disk.
    ///
    /// # Errors
    /// [`ConversationFault::Invalid`], [`ConversationFault::NotFound`],
    /// [`ConversationFault::Exhausted`].
    pub async fn set_variable(
        &self,
        conversation: &Conversation,
        name: &VariableName,
        json: &str,
    ) -> Result<u64, ConversationFault> {
        self.known(conversation)?;
        let (entry, _) = self.prepare_set(conversation, name, json)?;
        let Entry { events, blobs } = entry;
        let committed =
            self.journal.commit(Commit { events, conditions: Vec::new(), blobs }).await?;
        Ok(committed.receipts.first().map_or(0, |receipt| receipt.version))
    }

    /// The event that sets a variable, and the version it makes if the conversation's stream
    /// has not moved since before this was asked.
    pub(crate) fn prepare_set(
        &self,
        conversation: &Conversation,
        name: &VariableName,
        json: &str,
    ) -> Result<(Entry, u64), ConversationFault> {
        if json.len() > VARIABLE_MAX_BYTES {
            let message = format!(
                "a variable of {} bytes is refused: it has at most {VARIABLE_MAX_BYTES}",
                json.len()
            );
            return Err(ConversationFault::Invalid { message });
        }
        let reader = self.journal.variables(&self.tenant, conversation)?;
        let latest = reader.get(name.as_str(), None)?.map_or(0, |variable| variable.version);
        let usage = reader.usage()?;
        let full = |what, max| ConversationFault::Exhausted {
            conversation: conversation.clone(),
            what,
            max,
        };
        if latest == 0 && usage.names >= VARIABLES_MAX {
            return Err(full("variables", VARIABLES_MAX));
        }
        let adds = u64::try_from(json.len()).unwrap_or(u64::MAX);
        if usage.bytes.saturating_add(adds) > VARIABLES_BYTES_MAX {
            return Err(full("bytes of variables", VARIABLES_BYTES_MAX));
        }
        let mut entry = Entry::default();
        let (value, blobs) = value(json, &mut entry)?;
        let set =
            VariableSet { conversation: conversation.clone(), name: name.clone(), value, blobs };
        entry.push(variable_event(&set, self.tenant.clone())?);
        Ok((entry, latest + 1))
    }
}

/// What an event says of a variable: its value, or the blob that holds it.
fn value(json: &str, entry: &mut Entry) -> Result<(ValueRef, Vec<BlobDigest>), ConversationFault> {
    if json.len() <= VARIABLE_INLINE_MAX_BYTES {
        return Ok((ValueRef::Inline(JsonText::parse(json)?), Vec::new()));
    }
    serde_json::from_str::<serde::de::IgnoredAny>(json)
        .map_err(|error| ConversationFault::Invalid { message: error.to_string() })?;
    let text = &json[..json.floor_char_boundary(VARIABLE_TEXT_BYTES)];
    let json_type = match json.trim_start().bytes().next() {
        Some(b'{') => JsonType::Object,
        Some(b'[') => JsonType::Array,
        _ => JsonType::String,
    };
    let blob = Blob::new(json.to_owned().into_bytes());
    let (digest, size_bytes) = (blob.digest(), u64::try_from(json.len()).unwrap_or(u64::MAX));
    entry.blobs.push(blob);
    let value = BlobValue { digest, size_bytes, json_type, text: text.to_owned() };
    Ok((ValueRef::Blob(value), vec![digest]))
}

fn variable_event(set: &VariableSet, tenant: Tenant) -> Result<NewEvent, ConversationFault> {
    let payload = serde_json::to_vec(set)
        .map_err(|error| ConversationFault::Store { message: error.to_string() })?;
    Ok(NewEvent {
        at_unix_ms: clock::now_unix_ms(),
        tenant,
        stream: Stream::Conversation(set.conversation.as_str().to_owned()),
        kind: EventKind::VariableSet,
        payload,
    })
}
