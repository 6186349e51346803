//! Which events belong to a stream: what optimistic appends ask, and how a conversation is read
//! without the rest of the journal.
//!
//! Kept for the streams that [`Stream::is_guarded`] alone: calls are many and unique, and an
//! entry for each of their events would double what a call costs.

use std::collections::HashMap;

use foreshore_domain::event::Stream;
use redb::{ReadTransaction, ReadableTable as _, TableDefinition, TableError, WriteTransaction};

use super::EventRef;

type Key = (&'static str, &'static str, u64);

const STREAMS: TableDefinition<'_, Key, ()> = TableDefinition::new("view_streams_v1");

/// What a transaction added to streams.
#[derive(Default)]
pub(crate) struct Streams {
    /// By tenant and stream, ascending.
    added: HashMap<(String, String), Vec<u64>>,
}

impl Streams {
    pub(crate) fn apply(&mut self, event: &EventRef<'_>) {
        if Stream::is_guarded_text(event.stream) {
            let stream = (event.tenant.to_owned(), event.stream.to_owned());
            self.added.entry(stream).or_default().push(event.seq);
        }
    }

    pub(crate) fn head(
        &self,
        txn: &WriteTransaction,
        tenant: &str,
        stream: &str,
    ) -> Result<u64, redb::Error> {
        let added = self.added.get(&(tenant.to_owned(), stream.to_owned()));
        if let Some(last) = added.and_then(|seqs| seqs.last()) {
            return Ok(*last);
        }
        let table = txn.open_table(STREAMS)?;
        let mut range = table.range((tenant, stream, 0)..=(tenant, stream, u64::MAX))?;
        match range.next_back() {
            Some(entry) => Ok(entry?.0.value().2),
            None => Ok(0),
        }
    }

    pub(crate) fn finish(self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        if self.added.is_empty() {
            return Ok(());
        }
        let mut table = txn.open_table(STREAMS)?;
        for ((tenant, stream), seqs) in self.added {
            for seq in seqs {
                table.insert((tenant.as_str(), stream.as_str(), seq), ())?;
            }
        }
        Ok(())
    }
}

/// The numbers of at most `max` events of a stream, from `from_seq` on.
pub(crate) fn read(
    txn: &ReadTransaction,
    (tenant, stream): (&str, &str),
    from_seq: u64,
    max: usize,
) -> Result<Vec<u64>, redb::Error> {
    let table = match txn.open_table(STREAMS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let range = table.range((tenant, stream, from_seq)..=(tenant, stream, u64::MAX))?;
    range.take(max).map(|entry| Ok(entry?.0.value().2)).collect()
}

/// The number of a stream's last event; 0 for none.
pub(crate) fn last(
    txn: &ReadTransaction,
    (tenant, stream): (&str, &str),
) -> Result<u64, redb::Error> {
    let table = match txn.open_table(STREAMS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut range = table.range((tenant, stream, 0)..=(tenant, stream, u64::MAX))?;
    match range.next_back() {
        Some(entry) => Ok(entry?.0.value().2),
        None => Ok(0),
    }
}

pub(crate) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.delete_table(STREAMS)?;
    Ok(())
}

pub(crate) fn dump(txn: &ReadTransaction) -> Result<Vec<u8>, redb::Error> {
    let mut bytes = Vec::new();
    match txn.open_table(STREAMS) {
        Ok(table) => {
            for entry in table.iter()? {
                let key = entry?.0;
                let (tenant, stream, seq) = key.value();
                bytes.extend_from_slice(format!("{tenant:?} {stream:?} {seq}\n").as_bytes());
            }
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(bytes)
}
