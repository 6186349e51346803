//! The upward calls: the door that every effect goes through, and the books that every change
//! to a watched file goes into.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use crate::call::CallContext;
use crate::effect::{Effect, EffectError, EffectOutcome};
use crate::grant::Mount;
use crate::integrity::{Author, EntryPath};

/// A future that is sent about and not named.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The door: every effect of every guest goes through here (the field's term is *reference
/// monitor*). `runtime` calls it for each host import; `control` implements it.
pub trait Effects: Send + Sync + 'static {
    /// Decide on an effect, perform it, record it.
    ///
    /// # Errors
    /// [`EffectError`]; a denial has been added to `call.denials` by then.
    fn perform<'a>(
        &'a self,
        call: &'a Arc<CallContext>,
        effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>>;

    /// Effects that nobody waits for: [`Effect::Progress`] and [`Effect::Log`]. Never blocks.
    fn note(&self, call: &CallContext, effect: Effect);
}

/// Which mounts are watched. `runtime` asks once for each mount that may be changed; `control`
/// implements it.
pub trait FileChanges: Send + Sync + 'static {
    /// Where the changes to a mount are announced; `None` if nobody watches it. May block.
    fn of(&self, mount: &Mount) -> Option<Arc<dyn WatchedMount>>;
}

/// Makes a change that is announced. Called once, or not at all if the change cannot be recorded.
pub type Perform<'a> = &'a mut dyn FnMut() -> io::Result<()>;

/// A mount whose changes are recorded with their author. `runtime` makes each change itself,
/// within the announcement of it. Paths are those of the directory of the mount, free of `..`;
/// links in them are followed here as the kernel follows them. All methods block: until others
/// are done with the same directory, and until what they did is recorded.
pub trait WatchedMount: Send + Sync + 'static {
    /// Makes a change of names.
    ///
    /// # Errors
    /// [`ChangeNotRecorded`]; within, the error of `perform`.
    fn change(
        &self,
        author: &Author,
        change: &NameChange,
        perform: Perform<'_>,
    ) -> Result<io::Result<()>, ChangeNotRecorded>;

    /// Opens a file for writing; `truncate` says that this empties it.
    ///
    /// # Errors
    /// As above.
    fn open_for_writing(
        &self,
        author: &Author,
        path: &EntryPath,
        truncate: bool,
        open: Perform<'_>,
    ) -> Result<io::Result<Box<dyn FileWriting>>, ChangeNotRecorded>;
}

/// A file that a call has open for writing in a watched mount. Dropping it records what was
/// written, which blocks; if that fails, a later look records it, under the same author.
pub trait FileWriting: Send + Sync + 'static {
    /// Changes what the file holds. `perform` must make the whole edit, or fail.
    ///
    /// # Errors
    /// [`ChangeNotRecorded`]: nothing was written; within, the error of `perform`.
    fn edit(
        &self,
        edit: &FileEdit<'_>,
        perform: Perform<'_>,
    ) -> Result<io::Result<()>, ChangeNotRecorded>;
}

/// A change to the names of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameChange {
    /// Make a directory.
    CreateDirectory {
        /// Where.
        path: EntryPath,
    },
    /// Make a symbolic link.
    CreateSymlink {
        /// Where.
        path: EntryPath,
        /// What it points to.
        target: Vec<u8>,
    },
    /// Make another name for a file.
    CreateLink {
        /// Of which file.
        of: EntryPath,
        /// Where.
        path: EntryPath,
    },
    /// Remove a file, a link or an empty directory.
    Remove {
        /// Where.
        path: EntryPath,
    },
    /// Move an entry, with what is below it.
    Rename {
        /// From where.
        from: EntryPath,
        /// To where.
        to: EntryPath,
    },
}

/// A change to what a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileEdit<'a> {
    /// Write at a place.
    Write {
        /// From which byte on.
        offset: u64,
        /// What.
        bytes: &'a [u8],
    },
    /// Write at the end, wherever it is.
    Append {
        /// What.
        bytes: &'a [u8],
    },
    /// Cut it, or fill it up with zeros.
    Resize {
        /// New size in bytes.
        size_bytes: u64,
    },
}

/// A change to a watched mount could not be recorded. It was not made, unless the record failed
/// after it: then it is found later, as one from outside.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a change to a file could not be recorded: {message}")]
pub struct ChangeNotRecorded {
    /// Why not; for the operator's log.
    pub message: String,
}
