//! How many events need each blob. See `blobs`. An event that names none may hold or release
//! some by what it does in another view: a fork, and a conversation that is deleted.

use std::collections::BTreeMap;

use foreshore_domain::blob::BlobDigest;
use redb::{ReadTransaction, ReadableTable as _, TableDefinition, TableError, WriteTransaction};
use serde::Deserialize;

use super::{EventRef, ViewError};
use crate::blobs;

const REFERENCES: TableDefinition<'_, &[u8; 32], u64> =
    TableDefinition::new("view_blob_references_v1");
const RELEASED: &str = "blob.released";

/// The payload of `blob.released`. A digest that is listed twice is released twice.
#[derive(Deserialize)]
struct Released {
    blobs: Vec<BlobDigest>,
}

/// What a transaction made of the counts.
#[derive(Default)]
pub(crate) struct BlobReferences {
    counts: BTreeMap<[u8; 32], u64>,
}

pub(crate) fn concerns(kind: &str) -> bool {
    kind == RELEASED || blobs::may_name(kind)
}

impl BlobReferences {
    pub(crate) fn apply(
        &mut self,
        txn: &WriteTransaction,
        event: &EventRef<'_>,
    ) -> Result<(), ViewError> {
        if event.kind != RELEASED {
            for digest in blobs::named(event.kind, event.payload) {
                *self.count(txn, &digest)? += 1;
            }
            return Ok(());
        }
        let released: Released = super::payload(event)?;
        for digest in released.blobs {
            self.release(txn, event, &digest, 1)?;
        }
        Ok(())
    }

    /// Counts a blob once more: an event needs it without naming it, since another does.
    pub(crate) fn hold(
        &mut self,
        txn: &WriteTransaction,
        digest: &BlobDigest,
    ) -> Result<(), ViewError> {
        *self.count(txn, digest)? += 1;
        Ok(())
    }

    /// Takes so many references away: `blob.released` says so, or a view keeps what had them no
    /// longer.
    pub(crate) fn release(
        &mut self,
        txn: &WriteTransaction,
        event: &EventRef<'_>,
        digest: &BlobDigest,
        times: u64,
    ) -> Result<(), ViewError> {
        let count = self.count(txn, digest)?;
        *count = count
            .checked_sub(times)
            .ok_or_else(|| ViewError::payload(event, &format_args!("no event needs {digest}")))?;
        Ok(())
    }

    fn count(
        &mut self,
        txn: &WriteTransaction,
        digest: &BlobDigest,
    ) -> Result<&mut u64, redb::Error> {
        match self.counts.entry(*digest.as_bytes()) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let table = txn.open_table(REFERENCES)?;
                let count = table.get(digest.as_bytes())?.map_or(0, |count| count.value());
                Ok(entry.insert(count))
            }
        }
    }

    /// Writes the counts; gives back the blobs that nothing needs any more.
    pub(crate) fn finish(self, txn: &WriteTransaction) -> Result<Vec<[u8; 32]>, redb::Error> {
        let mut unneeded = Vec::new();
        if self.counts.is_empty() {
            return Ok(unneeded);
        }
        let mut table = txn.open_table(REFERENCES)?;
        for (digest, count) in self.counts {
            if count == 0 {
                table.remove(&digest)?;
                unneeded.push(digest);
            } else {
                table.insert(&digest, count)?;
            }
        }
        Ok(unneeded)
    }
}

pub(crate) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.delete_table(REFERENCES)?;
    Ok(())
}

/// Every blob with its count.
pub(crate) fn all(txn: &ReadTransaction) -> Result<BTreeMap<[u8; 32], u64>, redb::Error> {
    let table = match txn.open_table(REFERENCES) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    table
        .iter()?
        .map(|entry| {
            let (digest, count) = entry?;
            Ok((*digest.value(), count.value()))
        })
        .collect()
}

pub(crate) fn dump(txn: &ReadTransaction) -> Result<Vec<u8>, redb::Error> {
    let mut bytes = Vec::new();
    for (digest, count) in all(txn)? {
        let digest = BlobDigest::from_bytes(digest);
        bytes.extend_from_slice(format!("{digest} {count}\n").as_bytes());
    }
    Ok(bytes)
}
