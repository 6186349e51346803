//! What the journal says about itself: schema version, identity, where it begins, and whether
//! its views are being made again.

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use crate::archive::Archive;
use crate::db::storage;
use crate::error::{CorruptError, ReadError};
use crate::facts::Tip;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("journal_meta_v1");

const SCHEMA: &str = "schema";
const REBUILT_TO: &str = "rebuilt_to";
const BASE: &str = "base";
const JOURNAL_ID: &str = "journal_id";
const PUBLIC_KEY: &str = "public_key";
const SEALED: &str = "sealed";
const ANCHOR: &str = "anchor";
const ARCHIVES: &str = "archives";

/// Which journal this is, and whose signature is on its checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) journal_id: [u8; 16],
    pub(crate) public_key: [u8; 32],
}

/// What is known of a journal before any event is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// `None` in a database of before there was this table, and in a new one.
    pub(crate) schema: Option<u32>,
    /// The views were cleared, and hold events up to this one again.
    pub(crate) rebuilt_to: Option<u64>,
    /// What the first frame continues: the anchor of the archive, or the genesis.
    pub(crate) base: Tip,
    /// `None` before the first checkpoint.
    pub(crate) identity: Option<Identity>,
    /// An event that is known here to have been signed; there may be later ones.
    pub(crate) sealed_seq: u64,
    /// The signature of `base`, if anything was archived.
    pub(crate) anchor: Option<Anchor>,
    /// Where the events before `base` are, oldest first.
    pub(crate) archives: Vec<Archive>,
}

/// When the base was signed, and the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) at_unix_ms: u64,
    pub(crate) signature: [u8; 64],
}

impl Meta {
    pub(crate) fn read(txn: &ReadTransaction) -> Result<Self, ReadError> {
        match txn.open_table(META) {
            Ok(table) => Self::of(&table),
            Err(TableError::TableDoesNotExist(_)) => Ok(Self::default()),
            Err(error) => Err(storage(error)),
        }
    }

    fn of(table: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Self, ReadError> {
        let schema = chunk(table, SCHEMA)?.map(u32::from_le_bytes);
        let rebuilt_to = chunk(table, REBUILT_TO)?.map(u64::from_le_bytes);
        let base = match chunk::<40>(table, BASE)? {
            Some(bytes) => tip_from(&bytes).ok_or(CorruptError::Meta { name: BASE })?,
            None => Tip::default(),
        };
        let identity = match (chunk(table, JOURNAL_ID)?, chunk(table, PUBLIC_KEY)?) {
            (Some(journal_id), Some(public_key)) => Some(Identity { journal_id, public_key }),
            _ => None,
        };
        let sealed_seq = chunk(table, SEALED)?.map_or(0, u64::from_le_bytes);
        let anchor = chunk::<72>(table, ANCHOR)?.and_then(|bytes| {
            let (at_unix_ms, signature) = bytes.split_first_chunk::<8>()?;
            let at_unix_ms = u64::from_le_bytes(*at_unix_ms);
            Some(Anchor { at_unix_ms, signature: signature.try_into().ok()? })
        });
        let archives = match table.get(ARCHIVES).map_err(storage)? {
            Some(json) => serde_json::from_slice(json.value())
                .map_err(|_| CorruptError::Meta { name: ARCHIVES })?,
            None => Vec::new(),
        };
        Ok(Self { schema, rebuilt_to, base, identity, sealed_seq, anchor, archives })
    }
}

fn chunk<const N: usize>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<Option<[u8; N]>, ReadError> {
    let Some(value) = table.get(name).map_err(storage)? else { return Ok(None) };
    let bytes = value.value().try_into().map_err(|_| CorruptError::Meta { name })?;
    Ok(Some(bytes))
}

fn tip_from(bytes: &[u8; 40]) -> Option<Tip> {
    let (seq, hash) = bytes.split_first_chunk::<8>()?;
    Some(Tip { seq: u64::from_le_bytes(*seq), hash: hash.try_into().ok()? })
}

pub(crate) fn set_schema(txn: &WriteTransaction, version: u32) -> Result<(), redb::Error> {
    txn.open_table(META)?.insert(SCHEMA, version.to_le_bytes().as_slice())?;
    Ok(())
}

pub(crate) fn set_identity(txn: &WriteTransaction, identity: &Identity) -> Result<(), redb::Error> {
    let mut table = txn.open_table(META)?;
    table.insert(JOURNAL_ID, identity.journal_id.as_slice())?;
    table.insert(PUBLIC_KEY, identity.public_key.as_slice())?;
    Ok(())
}

/// Notes that an event was signed.
pub(crate) fn set_sealed(txn: &WriteTransaction, seq: u64) -> Result<(), redb::Error> {
    txn.open_table(META)?.insert(SEALED, seq.to_le_bytes().as_slice())?;
    Ok(())
}

/// Sets what the first frame continues.
pub(crate) fn set_base(
    txn: &WriteTransaction,
    base: Tip,
    anchor: &Anchor,
) -> Result<(), redb::Error> {
    let mut table = txn.open_table(META)?;
    let bytes = [&base.seq.to_le_bytes(), base.hash.as_slice()].concat();
    table.insert(BASE, bytes.as_slice())?;
    let bytes = [&anchor.at_unix_ms.to_le_bytes(), anchor.signature.as_slice()].concat();
    table.insert(ANCHOR, bytes.as_slice())?;
    Ok(())
}

pub(crate) fn add_archive(txn: &WriteTransaction, archive: &Archive) -> Result<(), redb::Error> {
    let mut table = txn.open_table(META)?;
    let mut archives: Vec<Archive> = match table.get(ARCHIVES)? {
        Some(json) => serde_json::from_slice(json.value())
            .map_err(|error| redb::Error::Corrupted(error.to_string()))?,
        None => Vec::new(),
    };
    archives.push(archive.clone());
    let json = serde_json::to_vec(&archives)
        .map_err(|error| redb::Error::Io(std::io::Error::other(error)))?;
    table.insert(ARCHIVES, json.as_slice())?;
    Ok(())
}

/// Marks the views as made again up to an event, or as whole.
pub(crate) fn set_rebuilt_to(txn: &WriteTransaction, seq: Option<u64>) -> Result<(), redb::Error> {
    let mut table = txn.open_table(META)?;
    match seq {
        Some(seq) => table.insert(REBUILT_TO, seq.to_le_bytes().as_slice())?,
        None => table.remove(REBUILT_TO)?,
    };
    Ok(())
}

/// Copies all of it into another database.
pub(crate) fn copy(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), ReadError> {
    let mut target = to.open_table(META).map_err(storage)?;
    let table = match from.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(storage(error)),
    };
    for entry in table.iter().map_err(storage)? {
        let (name, value) = entry.map_err(storage)?;
        target.insert(name.value(), value.value()).map_err(storage)?;
    }
    Ok(())
}
