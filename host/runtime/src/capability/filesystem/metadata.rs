//! What the system says of a file, in the words of `wasi:filesystem`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime};

use cap_primitives::fs::{Metadata, MetadataExt, SystemTimeSpec};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorStat, DescriptorType, ErrorCode, MetadataHashValue, NewTimestamp,
};

pub(super) fn stat_of(metadata: &Metadata) -> DescriptorStat {
    DescriptorStat {
        type_: type_of(metadata),
        link_count: metadata.nlink(),
        size: metadata.len(),
        data_access_timestamp: datetime(metadata.atime(), metadata.atime_nsec()),
        data_modification_timestamp: datetime(metadata.mtime(), metadata.mtime_nsec()),
        status_change_timestamp: datetime(metadata.ctime(), metadata.ctime_nsec()),
    }
}

fn type_of(metadata: &Metadata) -> DescriptorType {
    use cap_primitives::fs::FileTypeExt;

    let kind = metadata.file_type();
    if kind.is_file() {
        DescriptorType::RegularFile
    } else if kind.is_dir() {
        DescriptorType::Directory
    } else if kind.is_symlink() {
        DescriptorType::SymbolicLink
    } else if kind.is_fifo() {
        DescriptorType::Fifo
    } else if kind.is_socket() {
        DescriptorType::Socket
    } else if kind.is_block_device() {
        DescriptorType::BlockDevice
    } else if kind.is_char_device() {
        DescriptorType::CharacterDevice
    } else {
        DescriptorType::Unknown
    }
}

/// Times before 1970 cannot be said in `wasi:clocks`.
fn datetime(seconds: i64, nanoseconds: i64) -> Option<Datetime> {
    Some(Datetime {
        seconds: u64::try_from(seconds).ok()?,
        nanoseconds: u32::try_from(nanoseconds).ok()?,
    })
}

/// Tells two files apart without telling the guest their device or inode.
pub(super) fn identity_hash(metadata: &Metadata) -> MetadataHashValue {
    let hash = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        (seed, metadata.dev(), metadata.ino()).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue { lower: hash(0), upper: hash(1) }
}

pub(super) fn inode(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// What a name counts for: the length of a regular file, nothing for others.
pub(super) fn counted_bytes(metadata: &Metadata) -> u64 {
    if metadata.is_file() { metadata.len() } else { 0 }
}

/// The time that a guest wants a file to have; `None` leaves it as it is.
#[allow(clippy::disallowed_methods, reason = "the time of a file that a guest touches is now")]
pub(super) fn system_time(time: NewTimestamp) -> Result<Option<SystemTime>, ErrorCode> {
    match time {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(SystemTime::now())),
        NewTimestamp::Timestamp(time) => {
            let whole = u64::from(time.nanoseconds / 1_000_000_000);
            let seconds = time.seconds.checked_add(whole).ok_or(ErrorCode::Overflow)?;
            SystemTime::UNIX_EPOCH
                .checked_add(Duration::new(seconds, time.nanoseconds % 1_000_000_000))
                .map(Some)
                .ok_or(ErrorCode::Overflow)
        }
    }
}

/// The same, as cap-std wants it.
pub(super) fn time_spec(time: NewTimestamp) -> Result<Option<SystemTimeSpec>, ErrorCode> {
    let from_std =
        |time| SystemTimeSpec::Absolute(cap_primitives::time::SystemTime::from_std(time));
    Ok(system_time(time)?.map(from_std))
}
