//! Blobs: bytes too large for an event, once each, under their digest, compressed.
//!
//! They are written in the transaction of the event that names them, and are counted: one
//! reference for each event that names a digest, one less for each `blob.released` that lists
//! it and for each version of a record or variable that is no longer kept; forks hold, and
//! deleted conversations release, what their turns and variables need. The count is a view
//! (`views/blob_references`), made from the events alone; at zero the
//! bytes go, in the same transaction. The invariant: **no event is recorded that names a blob
//! which is not stored**, and no bytes are given out that do not hash to the name asked for.

use std::collections::BTreeSet;

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::conversation::kind as conversation;
use redb::{ReadTransaction, ReadableTable as _, TableDefinition, TableError, WriteTransaction};

use crate::commit::Blob;
use crate::db::storage;
use crate::error::{CorruptError, ReadError};

/// The largest blob, before compression.
pub const BLOB_MAX_BYTES: usize = 16 << 20;

pub(crate) const BLOBS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("blobs_v1");

/// Fast, and close to the best that is had for text.
const LEVEL: i32 = 3;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// A blob as it is stored: one byte that says how, then the bytes.
pub(crate) struct StoredBlob {
    pub(crate) digest: BlobDigest,
    pub(crate) packed: Vec<u8>,
}

impl StoredBlob {
    pub(crate) fn new(blob: &Blob) -> Self {
        let digest = blob.digest();
        // What does not get smaller, or cannot be compressed at all, is kept as it is.
        let packed = match zstd::bulk::compress(blob.bytes(), LEVEL) {
            Ok(smaller) if smaller.len() < blob.bytes().len() => with_format(ZSTD, &smaller),
            Ok(_) | Err(_) => with_format(PLAIN, blob.bytes()),
        };
        Self { digest, packed }
    }
}

fn with_format(format: u8, bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(1 + bytes.len());
    packed.push(format);
    packed.extend_from_slice(bytes);
    packed
}

pub(crate) fn digest(bytes: &[u8]) -> BlobDigest {
    BlobDigest::from_bytes(blake3::hash(bytes).into())
}

/// The member of a payload that lists the blobs it names.
#[derive(serde::Deserialize)]
struct Names {
    #[serde(default)]
    blobs: BTreeSet<BlobDigest>,
}

/// The blobs that an event names, each once: the list `blobs` of its payload. Only kinds that
/// may name blobs are looked at, and no other part of the payload: a text that merely looks
/// like a blob's name is somebody's text.
pub(crate) fn named(kind: &str, payload: &[u8]) -> BTreeSet<BlobDigest> {
    if !may_name(kind) {
        return BTreeSet::new();
    }
    serde_json::from_slice(payload).map_or_else(|_| BTreeSet::new(), |names: Names| names.blobs)
}

/// Whether events of a kind may name blobs.
pub(crate) fn may_name(kind: &str) -> bool {
    kind.starts_with("file.")
        || matches!(kind, "memory.put" | "variable.set")
        || matches!(
            kind,
            conversation::QUEUED
                | conversation::ENDED
                | conversation::EFFECT
                | conversation::TOOL_RESULT
                | conversation::NOTE
        )
}

/// Stores a blob, unless it is there.
pub(crate) fn put(txn: &WriteTransaction, blob: &StoredBlob) -> Result<(), redb::Error> {
    let mut table = txn.open_table(BLOBS)?;
    if table.get(blob.digest.as_bytes())?.is_none() {
        table.insert(blob.digest.as_bytes(), blob.packed.as_slice())?;
    }
    Ok(())
}

pub(crate) fn is_stored(txn: &WriteTransaction, digest: &BlobDigest) -> Result<bool, redb::Error> {
    Ok(txn.open_table(BLOBS)?.get(digest.as_bytes())?.is_some())
}

pub(crate) fn is_there(txn: &ReadTransaction, digest: &BlobDigest) -> Result<bool, ReadError> {
    match txn.open_table(BLOBS) {
        Ok(table) => Ok(table.get(digest.as_bytes()).map_err(storage)?.is_some()),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(storage(error)),
    }
}

/// A blob's bytes, held to its digest; `None` if it is not stored.
pub(crate) fn get(
    txn: &ReadTransaction,
    digest: &BlobDigest,
) -> Result<Option<Vec<u8>>, ReadError> {
    let table = match txn.open_table(BLOBS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(storage(error)),
    };
    let Some(packed) = table.get(digest.as_bytes()).map_err(storage)? else { return Ok(None) };
    unpack(digest, packed.value()).map(Some)
}

/// Every blob that is stored, each held to its digest.
pub(crate) fn check(txn: &ReadTransaction) -> Result<BTreeSet<[u8; 32]>, ReadError> {
    let mut stored = BTreeSet::new();
    let table = match txn.open_table(BLOBS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(stored),
        Err(error) => return Err(storage(error)),
    };
    for entry in table.iter().map_err(storage)? {
        let (digest, packed) = entry.map_err(storage)?;
        unpack(&BlobDigest::from_bytes(*digest.value()), packed.value())?;
        stored.insert(*digest.value());
    }
    Ok(stored)
}

fn unpack(digest: &BlobDigest, packed: &[u8]) -> Result<Vec<u8>, ReadError> {
    let corrupt = || ReadError::Corrupt(CorruptError::Blob { digest: *digest });
    let bytes = match packed.split_first() {
        Some((&PLAIN, bytes)) => bytes.to_vec(),
        // The bound is what a blob may have: a changed length cannot make it allocate more.
        Some((&ZSTD, bytes)) => {
            zstd::bulk::decompress(bytes, BLOB_MAX_BYTES).map_err(|_| corrupt())?
        }
        Some(_) | None => return Err(corrupt()),
    };
    if self::digest(&bytes) == *digest { Ok(bytes) } else { Err(corrupt()) }
}
