//! One look at one entry: what it is, what it holds, and whether it held still meanwhile.
//!
//! Deliberately absent: what is known of it from before. A FIFO, socket or device is told from
//! its metadata and never opened; where one takes the place of a file between the two steps, it
//! is opened without waiting, and closed unread.

use std::ffi::OsStr;
use std::io::{self, Read};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, FileTypeExt, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use foreshore_domain::blob::BlobDigest;
use foreshore_domain::integrity::{EntryKind, EntryState, Identity, Stamp, escape};
use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};

use crate::root::{LookLimits, is_absence};
use crate::xattrs;

/// How often an entry is read that changes while it is read.
const READS_MAX: u32 = 4;
/// What is read at once.
const CHUNK_BYTES: usize = 128 << 10;
/// Two changes closer together than this may have one time. The clock of files ticks every
/// 10 ms at most (`CONFIG_HZ` of 100); the rest is room for file systems that keep whole seconds.
const SETTLE_NS: i64 = 2_000_000_000;

/// What was seen.
pub(crate) struct Look {
    pub(crate) state: EntryState,
    /// The bytes of a file that is small enough to be kept.
    pub(crate) bytes: Option<Vec<u8>>,
    /// The attributes in their one form; nothing for none.
    pub(crate) xattrs: Vec<u8>,
    /// Whether nothing changed while it was read.
    pub(crate) steady: bool,
}

/// Looks at the entry `name` of a directory; none if there is none.
pub(crate) fn look(dir: &Dir, name: &OsStr, limits: LookLimits) -> io::Result<Option<Look>> {
    let mut last = None;
    for _ in 0..READS_MAX {
        let metadata = match dir.symlink_metadata(name) {
            Ok(metadata) => metadata,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        match look_once(dir, name, &metadata, limits) {
            Ok(look) if look.steady => return Ok(Some(look)),
            Ok(look) => last = Some(look),
            // It went away or became something else in between.
            Err(error) if is_absence(&error) || is_other_type(&error) => {}
            Err(error) => return Err(error),
        }
    }
    match last {
        Some(look) => Ok(Some(look)),
        None => Err(io::Error::new(io::ErrorKind::ResourceBusy, "it changes at every look")),
    }
}

/// Looks at a directory itself.
pub(crate) fn look_at_directory(dir: &Dir) -> io::Result<Look> {
    let xattrs = match dir.open(".") {
        Ok(handle) => xattrs::read(&handle)?,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Vec::new(),
        Err(error) => return Err(error),
    };
    let metadata = dir.dir_metadata()?;
    Ok(Look {
        state: state_of(&metadata, EntryKind::Directory, &xattrs),
        bytes: None,
        xattrs,
        steady: true,
    })
}

/// Whether what was known can be what is there, by what the kernel keeps and a writer without
/// privileges cannot set back. Not proof: a page that was mapped and written before the last
/// look can be written again without a new time until the kernel has written it out.
pub(crate) fn seems_untouched(known: &EntryState, metadata: &Metadata) -> bool {
    let stamp = stamp_of(metadata);
    known.stamp.settled
        && (known.stamp.modified_ns, known.stamp.changed_ns)
            == (stamp.modified_ns, stamp.changed_ns)
        && known.identity == identity_of(metadata)
        && known.mode == mode_of(metadata)
        && known.owner == (metadata.uid(), metadata.gid())
        && (!metadata.is_file() || known.size_bytes == metadata.len())
}

fn look_once(dir: &Dir, name: &OsStr, metadata: &Metadata, limits: LookLimits) -> io::Result<Look> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return look_at_file(dir, name, metadata, limits);
    }
    if kind.is_dir() {
        return match dir.open_dir_nofollow(name) {
            Ok(directory) => look_at_directory(&directory),
            // Its mode and owner are all that this host may know.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let state = state_of(metadata, EntryKind::Directory, &[]);
                Ok(Look { state, bytes: None, xattrs: Vec::new(), steady: true })
            }
            Err(error) => Err(error),
        };
    }
    let (kind, steady) = if kind.is_symlink() {
        use std::os::unix::ffi::OsStrExt;
        let target = dir.read_link_contents(name)?;
        let bytes = target.as_os_str().as_bytes();
        let kind = EntryKind::Symlink { target: escape(bytes), hash: hash_of(bytes) };
        (kind, is_same(metadata, &dir.symlink_metadata(name)?))
    } else if kind.is_fifo() {
        (EntryKind::Fifo, true)
    } else if kind.is_socket() {
        (EntryKind::Socket, true)
    } else {
        (EntryKind::Device, true)
    };
    let state = state_of(metadata, kind, &[]);
    Ok(Look { state, bytes: None, xattrs: Vec::new(), steady })
}

fn look_at_file(
    dir: &Dir,
    name: &OsStr,
    metadata: &Metadata,
    limits: LookLimits,
) -> io::Result<Look> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).custom_flags(nonblock);
    let mut file = match dir.open_with(name, &options) {
        Ok(file) => file,
        // Its size, times and inode are all that this host may know.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let kind = EntryKind::File { hash: None };
            let state = state_of(metadata, kind, &[]);
            return Ok(Look { state, bytes: None, xattrs: Vec::new(), steady: true });
        }
        Err(error) => return Err(error),
    };
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let content = read_content(&mut file, before.len(), limits)?;
    let xattrs = xattrs::read(&file)?;
    let after = file.metadata()?;
    let same_name = dir.symlink_metadata(name).is_ok_and(|named| named.ino() == after.ino());
    let steady = is_same(&before, &after)
        && content.hash.is_none_or(|_| content.length == after.len())
        && same_name;
    let mut state = state_of(&after, EntryKind::File { hash: content.hash }, &xattrs);
    if content.hash.is_some() {
        state.size_bytes = content.length;
    }
    Ok(Look { state, bytes: content.bytes, xattrs, steady })
}

struct Content {
    hash: Option<BlobDigest>,
    length: u64,
    bytes: Option<Vec<u8>>,
}

fn read_content(file: &mut File, size: u64, limits: LookLimits) -> io::Result<Content> {
    if size > limits.hash_max_bytes {
        return Ok(Content { hash: None, length: size, bytes: None });
    }
    if size <= limits.keep_max_bytes {
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.take(limits.keep_max_bytes).read_to_end(&mut bytes)?;
        let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        return Ok(Content { hash: Some(hash_of(&bytes)), length, bytes: Some(bytes) });
    }
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut length = 0_u64;
    // A file that grows faster than it is read ends at the bound; its size then says so.
    while length <= limits.hash_max_bytes {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&chunk[..read]);
                length = length.saturating_add(u64::try_from(read).map_err(io::Error::other)?);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Content {
        hash: Some(BlobDigest::from_bytes(hasher.finalize().into())),
        length,
        bytes: None,
    })
}

pub(crate) fn hash_of(bytes: &[u8]) -> BlobDigest {
    BlobDigest::from_bytes(blake3::hash(bytes).into())
}

fn state_of(metadata: &Metadata, kind: EntryKind, xattrs: &[u8]) -> EntryState {
    EntryState {
        size_bytes: if metadata.is_file() { metadata.len() } else { 0 },
        mode: mode_of(metadata),
        owner: (metadata.uid(), metadata.gid()),
        xattrs: (!xattrs.is_empty()).then(|| hash_of(xattrs)),
        identity: identity_of(metadata),
        stamp: stamp_of(metadata),
        kind,
    }
}

fn mode_of(metadata: &Metadata) -> u32 {
    if metadata.is_symlink() { 0 } else { metadata.mode() & 0o7777 }
}

fn identity_of(metadata: &Metadata) -> Identity {
    // The names of a directory are its own and those in its subdirectories.
    let links = if metadata.is_dir() { 1 } else { metadata.nlink() };
    Identity { device: metadata.dev(), inode: metadata.ino(), links }
}

fn stamp_of(metadata: &Metadata) -> Stamp {
    let ns = |seconds: i64, nanoseconds: i64| {
        seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
    };
    let changed_ns = ns(metadata.ctime(), metadata.ctime_nsec());
    // Not a time that is recorded: it only says how old another time is, by the same clock.
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let settled = ns(now.tv_sec, now.tv_nsec).saturating_sub(changed_ns) > SETTLE_NS;
    Stamp { modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()), changed_ns, settled }
}

fn is_same(before: &Metadata, after: &Metadata) -> bool {
    let key = |of: &Metadata| {
        let stamp = stamp_of(of);
        (of.dev(), of.ino(), of.len(), stamp.modified_ns, stamp.changed_ns)
    };
    key(before) == key(after)
}

/// What opening says of a link, a socket or a device without a driver.
fn is_other_type(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let other = [Errno::NXIO, Errno::NODEV, Errno::ISDIR];
    error.raw_os_error().is_some_and(|raw| other.iter().any(|errno| errno.raw_os_error() == raw))
}
