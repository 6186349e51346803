//! The variables of conversations.
//!
//! ```text
//! v tenant conversation name           -> latest:u64 | type:u8 | size:u64 | first line
//! w tenant conversation name version   -> at:u64 | seq:u64 | value
//! q tenant conversation                -> names:u64 | versions:u64 | bytes:u64
//! ```
//!
//! The last [`VERSIONS_KEPT`] versions of a variable are kept here; the journal has them all. The
//! invariant: a blob is needed once for each kept version whose value it is, so it goes with the
//! last of them, whether that is written over often enough or its conversation is deleted.

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::memory::{JsonType, ValueRef};
use foreshore_domain::variables::{KIND_SET, VariableSet};

use super::blob_references::BlobReferences;
use super::codec::{self, Definition, Fields, Readable, Rows, after, put_part};
use super::{EventRef, Receipt, ViewError, payload, storage};

/// How many versions of a variable can be read; older ones go.
pub const VERSIONS_KEPT: u64 = 100;
/// The most characters of [`VariableSummary::first_line`].
pub const FIRST_LINE_MAX: usize = 120;

const TABLE: Definition = Definition::new("variables_v1");
const MALFORMED: ViewError = ViewError::Malformed { what: "variables" };

/// A variable without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableSummary {
    /// Its name.
    pub name: String,
    /// The latest version, from 1.
    pub version: u64,
    /// What its value is.
    pub json_type: JsonType,
    /// How large its value is, as JSON.
    pub size_bytes: u64,
    /// The first line of a string, or of the JSON of anything else: at most
    /// [`FIRST_LINE_MAX`] characters.
    pub first_line: String,
}

/// One version of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Which version, from 1.
    pub version: u64,
    /// When it was set, in milliseconds since 1970.
    pub set_at_unix_ms: u64,
    /// Its value.
    pub value: ValueRef,
}

impl Variable {
    /// This version of the variable `name` without its value.
    pub fn summary(&self, name: &str) -> VariableSummary {
        VariableSummary {
            name: name.to_owned(),
            version: self.version,
            json_type: self.value.json_type(),
            size_bytes: self.value.size_bytes(),
            first_line: line_of(&self.value),
        }
    }
}

/// What a conversation's variables amount to, for quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VariableUsage {
    /// How many names.
    pub names: u64,
    /// How many versions are kept.
    pub versions: u64,
    /// The size of the kept versions' values.
    pub bytes: u64,
}

/// Follows `variable.set`.
pub(crate) fn apply(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
    references: &mut BlobReferences,
) -> Result<Receipt, ViewError> {
    if event.kind != KIND_SET {
        return Err(ViewError::Kind { seq: event.seq, kind: event.kind.to_owned() });
    }
    let set: VariableSet = payload(event)?;
    // What is counted with the event is what is released with the version.
    if !set.blobs.iter().eq(&blob_of(&set.value)) {
        return Err(ViewError::payload(event, &"its blobs are not that of its value"));
    }
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let scope = scope(event.tenant, set.conversation.as_str());
    let name = set.name.as_str();

    let mut usage = read_usage(&rows, &scope)?;
    let latest = latest(&rows, &key(b'v', &scope, name))?.unwrap_or_default();
    let version = latest + 1;
    if latest == 0 {
        usage.names += 1;
    }
    insert(&mut rows, &version_key(&scope, name, version), &encode(event, &set.value))?;
    usage.versions += 1;
    usage.bytes += set.value.size_bytes();
    if version > VERSIONS_KEPT {
        let oldest = version_key(&scope, name, version - VERSIONS_KEPT);
        if let Some(row) = rows.remove(&*oldest).map_err(storage)? {
            let value = decode(0, row.value())?.value;
            usage.versions = usage.versions.checked_sub(1).ok_or(MALFORMED)?;
            usage.bytes = usage.bytes.checked_sub(value.size_bytes()).ok_or(MALFORMED)?;
            if let Some(digest) = blob_of(&value) {
                references.release(transaction, event, &digest, 1)?;
            }
        }
    }
    insert(&mut rows, &key(b'v', &scope, name), &summarize(version, &set.value))?;
    write_usage(&mut rows, &scope, &usage)?;
    Ok(Receipt { version, changed: true, touched: None })
}

/// Gives a conversation that has none the variables of another, each as it stood at event
/// `through_seq` and as its first version. One whose kept versions are all newer is left out.
pub(crate) fn copy(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
    from: &str,
    to: &str,
    through_seq: u64,
    references: &mut BlobReferences,
) -> Result<(), ViewError> {
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let (from, to) = (scope(event.tenant, from), scope(event.tenant, to));
    let mut usage = read_usage(&rows, &to)?;
    for (name, latest) in names(&rows, &from)? {
        let Some(row) = row_at(&rows, &from, &name, latest, through_seq)? else { continue };
        let value = decode(1, &row)?.value;
        if let Some(digest) = blob_of(&value) {
            references.hold(transaction, &digest)?;
        }
        usage.names += 1;
        usage.versions += 1;
        usage.bytes += value.size_bytes();
        insert(&mut rows, &version_key(&to, &name, 1), &row)?;
        insert(&mut rows, &key(b'v', &to, &name), &summarize(1, &value))?;
    }
    if usage != VariableUsage::default() {
        write_usage(&mut rows, &to, &usage)?;
    }
    Ok(())
}

/// The row of the newest kept version that there was at an event.
fn row_at(
    rows: &impl Readable,
    scope: &[u8],
    name: &str,
    latest: u64,
    through_seq: u64,
) -> Result<Option<Vec<u8>>, ViewError> {
    for version in kept(latest).rev() {
        let row = rows.get(&*version_key(scope, name, version)).map_err(storage)?;
        let row = row.ok_or(MALFORMED)?;
        if seq_of(row.value())? <= through_seq {
            return Ok(Some(row.value().to_vec()));
        }
    }
    Ok(None)
}

/// The versions of a variable that can be read.
fn kept(latest: u64) -> std::ops::RangeInclusive<u64> {
    latest.saturating_sub(VERSIONS_KEPT - 1).max(1)..=latest
}

/// Takes all variables of a conversation away, and gives back the blobs of what was kept of them.
pub(crate) fn forget(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
    conversation: &str,
    references: &mut BlobReferences,
) -> Result<(), ViewError> {
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let scope = scope(event.tenant, conversation);
    for (name, latest) in names(&rows, &scope)? {
        for version in kept(latest) {
            let row = rows.remove(&*version_key(&scope, &name, version)).map_err(storage)?;
            let value = decode(version, row.ok_or(MALFORMED)?.value())?.value;
            if let Some(digest) = blob_of(&value) {
                references.release(transaction, event, &digest, 1)?;
            }
        }
        rows.remove(&*key(b'v', &scope, &name)).map_err(storage)?;
    }
    rows.remove(&*key(b'q', &scope, "")).map(drop).map_err(storage)
}

/// The names of a conversation's variables, each with its latest version.
fn names(rows: &impl Readable, scope: &[u8]) -> Result<Vec<(String, u64)>, ViewError> {
    let prefix = key(b'v', scope, "");
    let range = rows.range::<&[u8]>(&*prefix..&*after(&prefix)).map_err(storage)?;
    range
        .map(|row| {
            let (key, row) = row.map_err(storage)?;
            let name = key.value().get(prefix.len()..).unwrap_or_default();
            let summary = read_summary(name, row.value()).ok_or(MALFORMED)?;
            Ok((summary.name, summary.version))
        })
        .collect()
}

/// Takes every row away.
pub(crate) fn clear(transaction: &redb::WriteTransaction) -> Result<(), ViewError> {
    transaction.delete_table(TABLE).map(drop).map_err(storage)
}

/// Every row, in order.
pub(crate) fn dump(transaction: &redb::ReadTransaction) -> Result<Vec<u8>, ViewError> {
    codec::dump(transaction, TABLE, None)
}

/// Reads the variables of one conversation, as they stood at one moment.
pub struct VariablesReader {
    rows: Option<codec::ReadRows>,
    scope: Vec<u8>,
}

impl VariablesReader {
    /// The variables of `conversation`, which is `tenant`'s.
    ///
    /// # Errors
    /// [`ViewError::Storage`]; so with every function here, and [`ViewError::Malformed`].
    pub fn open(
        transaction: &redb::ReadTransaction,
        tenant: &str,
        conversation: &str,
    ) -> Result<Self, ViewError> {
        Ok(Self { rows: codec::open(transaction, TABLE)?, scope: scope(tenant, conversation) })
    }

    /// What there is, by name. One name is one row, so this reads no values.
    ///
    /// # Errors
    /// See [`VariablesReader::open`].
    pub fn index(&self) -> Result<Vec<VariableSummary>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let prefix = key(b'v', &self.scope, "");
        let end = after(&prefix);
        let range = rows.range::<&[u8]>(&*prefix..&*end).map_err(storage)?;
        range
            .map(|row| {
                let (key, value) = row.map_err(storage)?;
                let name = key.value().get(prefix.len()..).unwrap_or_default();
                read_summary(name, value.value()).ok_or(MALFORMED)
            })
            .collect()
    }

    /// The latest version of a variable, or the given one. `None` where there is none, or none
    /// any more.
    ///
    /// # Errors
    /// See [`VariablesReader::open`].
    pub fn get(&self, name: &str, version: Option<u64>) -> Result<Option<Variable>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(None) };
        let version = match version {
            Some(version) => version,
            None => latest(rows, &key(b'v', &self.scope, name))?.unwrap_or_default(),
        };
        let row = rows.get(&*version_key(&self.scope, name, version)).map_err(storage)?;
        row.map(|row| decode(version, row.value())).transpose()
    }

    /// At most `limit` of the versions of a variable that are kept, newest first.
    ///
    /// # Errors
    /// See [`VariablesReader::open`].
    pub fn versions(&self, name: &str, limit: usize) -> Result<Vec<Variable>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let Some(latest) = latest(rows, &key(b'v', &self.scope, name))? else {
            return Ok(Vec::new());
        };
        let version = |version| self.get(name, Some(version))?.ok_or(MALFORMED);
        kept(latest).rev().take(limit).map(version).collect()
    }

    /// What the conversation's variables amount to.
    ///
    /// # Errors
    /// See [`VariablesReader::open`].
    pub fn usage(&self) -> Result<VariableUsage, ViewError> {
        self.rows.as_ref().map_or(Ok(VariableUsage::default()), |r| read_usage(r, &self.scope))
    }
}

fn insert(rows: &mut Rows<'_>, key: &[u8], value: &[u8]) -> Result<(), ViewError> {
    rows.insert(key, value).map(drop).map_err(storage)
}

fn scope(tenant: &str, conversation: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_part(&mut bytes, tenant.as_bytes());
    put_part(&mut bytes, conversation.as_bytes());
    bytes
}

fn key(kind: u8, scope: &[u8], name: &str) -> Vec<u8> {
    [&[kind], scope, name.as_bytes()].concat()
}

fn version_key(scope: &[u8], name: &str, version: u64) -> Vec<u8> {
    [b"w", scope, name.as_bytes(), &[0], &version.to_be_bytes()].concat()
}

fn latest(rows: &impl Readable, key: &[u8]) -> Result<Option<u64>, ViewError> {
    let row = rows.get(key).map_err(storage)?;
    row.map(|row| Fields(row.value()).u64().ok_or(MALFORMED)).transpose()
}

fn read_usage(rows: &impl Readable, scope: &[u8]) -> Result<VariableUsage, ViewError> {
    let Some(row) = rows.get(&*key(b'q', scope, "")).map_err(storage)? else {
        return Ok(VariableUsage::default());
    };
    let mut fields = Fields(row.value());
    let mut next = || fields.u64().ok_or(MALFORMED);
    Ok(VariableUsage { names: next()?, versions: next()?, bytes: next()? })
}

fn write_usage(rows: &mut Rows<'_>, scope: &[u8], usage: &VariableUsage) -> Result<(), ViewError> {
    let mut row = Vec::with_capacity(24);
    for number in [usage.names, usage.versions, usage.bytes] {
        row.extend_from_slice(&number.to_le_bytes());
    }
    insert(rows, &key(b'q', scope, ""), &row)
}

/// The event that set a version.
fn seq_of(row: &[u8]) -> Result<u64, ViewError> {
    let mut fields = Fields(row);
    fields.u64().and_then(|_at| fields.u64()).ok_or(MALFORMED)
}

fn encode(event: &EventRef<'_>, value: &ValueRef) -> Vec<u8> {
    let mut row = event.at_unix_ms.to_le_bytes().to_vec();
    row.extend_from_slice(&event.seq.to_le_bytes());
    codec::put_value(&mut row, value);
    row
}

fn decode(version: u64, row: &[u8]) -> Result<Variable, ViewError> {
    let mut fields = Fields(row);
    let (set_at_unix_ms, _seq) = fields.u64().zip(fields.u64()).ok_or(MALFORMED)?;
    let value = codec::read_value(&mut fields).ok_or(MALFORMED)?;
    Ok(Variable { version, set_at_unix_ms, value })
}

/// The blob that holds a value, if one does.
fn blob_of(value: &ValueRef) -> Option<BlobDigest> {
    match value {
        ValueRef::Inline(_) => None,
        ValueRef::Blob(blob) => Some(blob.digest),
    }
}

/// The first line of a value.
fn line_of(value: &ValueRef) -> String {
    match value {
        // The text of a string, not its escapes.
        ValueRef::Inline(json) => match serde_json::from_str::<String>(json.as_str()) {
            Ok(text) => first_line(&text),
            Err(_) => first_line(json.as_str()),
        },
        ValueRef::Blob(blob) => first_line(&blob.text),
    }
}

fn summarize(version: u64, value: &ValueRef) -> Vec<u8> {
    let line = line_of(value);
    let mut row = version.to_le_bytes().to_vec();
    row.push(codec::json_type(value.json_type()));
    row.extend_from_slice(&value.size_bytes().to_le_bytes());
    put_part(&mut row, line.as_bytes());
    row
}

fn first_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    line.chars().take(FIRST_LINE_MAX).collect()
}

fn read_summary(name: &[u8], row: &[u8]) -> Option<VariableSummary> {
    let mut fields = Fields(row);
    Some(VariableSummary {
        name: std::str::from_utf8(name).ok()?.to_owned(),
        version: fields.u64()?,
        json_type: codec::read_json_type(&mut fields)?,
        size_bytes: fields.u64()?,
        first_line: fields.text()?.to_owned(),
    })
}

#[cfg(test)]
mod tests;
