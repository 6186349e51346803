//! A file that calls have open for writing, and what it must hold if they alone write it.
//!
//! The host sees every write of a component, so it can say what the file holds after it without
//! asking the file: that is the *draft*. A file that holds its draft was changed by the calls; one
//! that holds anything else was changed by somebody else too, and each gets a change of their own.
//!
//! The invariant: a draft and its file change together, under one lock, which a look holds too.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::integrity::{Author, EntryKind, EntryPath, EntryState};

use crate::batch::Batch;
use crate::error::ChangeError;
use crate::judge::{Turn, WatchedRoot};
use crate::look::{Look, hash_of};

pub(crate) struct Held(Mutex<Draft>);

/// What a file held when another began to write it: by whom, its hash and its size.
pub(crate) type Written = (Author, BlobDigest, u64);

pub(crate) struct Draft {
    pub(crate) path: EntryPath,
    /// What the file must hold; none if that is not known, because it is too large or a write
    /// failed in the middle. Then what it is found to hold is taken for the call's.
    content: Option<Vec<u8>>,
    /// The last writer, if what he wrote is not recorded yet, and since when.
    unsettled: Option<(Author, Instant)>,
    /// What writers before him left.
    pub(crate) left: Vec<Written>,
    /// How many have it open.
    pub(crate) holders: usize,
    /// Which file is open.
    pub(crate) inode: Option<u64>,
    /// The name is gone, or another file's: nothing more is known of this one.
    pub(crate) detached: bool,
}

impl Held {
    pub(crate) fn new(path: EntryPath, content: Option<Vec<u8>>) -> Self {
        let (unsettled, left, holders) = (None, Vec::new(), 0);
        let (inode, detached) = (None, false);
        Self(Mutex::new(Draft { path, content, unsettled, left, holders, inode, detached }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Draft> {
        // A std mutex: nothing awaits while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody has it open, and nothing is left to record.
    pub(crate) fn is_spent(&self) -> bool {
        let draft = self.lock();
        draft.holders == 0 && draft.left.is_empty() && draft.unsettled.is_none()
    }

    /// Whether what was written has been kept from the record for long enough.
    pub(crate) fn is_due(&self, now: Instant, hold_max: Duration) -> bool {
        let draft = self.lock();
        draft.unsettled.as_ref().is_none_or(|(_, since)| now.duration_since(*since) >= hold_max)
    }
}

/// How a file is written.
pub(crate) enum Edit<'a> {
    Write { offset: u64, bytes: &'a [u8] },
    Append { bytes: &'a [u8] },
    Resize { size_bytes: u64 },
}

impl Draft {
    /// Writes the draft and the file.
    pub(crate) fn edit<R>(
        &mut self,
        root: &WatchedRoot,
        author: &Author,
        edit: &Edit<'_>,
        perform: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        if self.detached {
            return Ok(perform());
        }
        let since = match &self.unsettled {
            Some((last, since)) if last == author => *since,
            Some((last, _)) => {
                let last = last.clone();
                if let Some(content) = &self.content {
                    let hash = root.ledger.keep(content)?;
                    self.left.push((last, hash, length(content)));
                }
                Instant::now()
            }
            None => Instant::now(),
        };
        self.unsettled = Some((author.clone(), since));
        let done = perform();
        let keep_max = root.root.config.look.keep_max_bytes;
        let known = done.is_ok()
            && self.content.as_mut().is_some_and(|content| apply(content, edit, keep_max));
        if !known {
            self.content = None;
        }
        Ok(done)
    }

    /// The file was made or emptied as it was opened.
    pub(crate) fn emptied(&mut self, author: &Author) {
        self.content = Some(Vec::new());
        self.unsettled = Some((author.clone(), Instant::now()));
    }
}

/// Whether the content is known afterwards.
fn apply(content: &mut Vec<u8>, edit: &Edit<'_>, keep_max: u64) -> bool {
    let (offset, bytes) = match edit {
        Edit::Write { offset, bytes } => (*offset, *bytes),
        Edit::Append { bytes } => (length(content), *bytes),
        Edit::Resize { size_bytes } => {
            let fits = *size_bytes <= keep_max;
            if let (true, Ok(size)) = (fits, usize::try_from(*size_bytes)) {
                content.resize(size, 0);
            }
            return fits;
        }
    };
    if bytes.is_empty() {
        return true;
    }
    let end = offset.saturating_add(length(bytes));
    let (Ok(start), Ok(to), true) =
        (usize::try_from(offset), usize::try_from(end), end <= keep_max)
    else {
        return false;
    };
    if content.len() < to {
        content.resize(to, 0);
    }
    content[start..to].copy_from_slice(bytes);
    true
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl WatchedRoot {
    /// Records what calls wrote, and what others did to the same file meanwhile.
    pub(crate) fn settle(
        &self,
        turn: &mut Turn,
        batch: &mut Batch,
        held: &Arc<Held>,
    ) -> Result<(), ChangeError> {
        let mut draft = held.lock();
        let path = draft.path.clone();
        let look = self.look_at(&path)?;
        let seen = look.as_ref().map(|look| &look.state);
        for (author, hash, size_bytes) in &draft.left {
            let before = self.known(batch, &path)?;
            if let Some(state) = written(before.as_ref(), seen, *hash, *size_bytes) {
                self.differ_state(batch, &path, Some(&state), author)?;
            }
        }
        let expected = draft.content.as_ref().map(|content| (hash_of(content), length(content)));
        if let Some((author, _)) = &draft.unsettled {
            let before = self.known(batch, &path)?;
            let state = match expected {
                Some((hash, size_bytes)) => written(before.as_ref(), seen, hash, size_bytes),
                None => seen.cloned(),
            };
            if seen.and_then(EntryState::hash) != expected.map(|(hash, _)| hash)
                && let Some(content) = &draft.content
            {
                self.ledger.keep(content)?;
            }
            if let Some(state) = state {
                if let Some(look) = &look {
                    self.keep(look)?;
                }
                self.differ_state(batch, &path, Some(&state), author)?;
            }
        }
        self.differ(batch, &path, look.as_ref(), &Author::Outside)?;
        let mut written = std::mem::take(&mut draft.left);
        let author = draft.unsettled.take().map(|(author, _)| author);
        if let (Some(author), Some((hash, size_bytes))) = (&author, expected) {
            written.push((author.clone(), hash, size_bytes));
        }
        batch.settled.push((Arc::clone(held), written));
        if let Some(seen) = seen {
            let alone = expected.is_none_or(|(hash, _)| seen.hash() == Some(hash));
            let author = author.filter(|_| alone);
            self.settle_others(turn, batch, (&path, seen), &author.unwrap_or(Author::Outside))?;
        }
        draft.detached = seen.map(|state| state.identity.inode) != draft.inode;
        // From here on the draft starts from what the file was found to hold.
        draft.content = look.and_then(|look: Look| look.bytes);
        Ok(())
    }
}

impl WatchedRoot {
    /// What is written under one name of a file is there under its others too.
    fn settle_others(
        &self,
        turn: &mut Turn,
        batch: &mut Batch,
        (path, seen): (&EntryPath, &EntryState),
        author: &Author,
    ) -> Result<(), ChangeError> {
        turn.names.note(path, seen);
        for other in turn.names.others(path, seen).collect::<Vec<_>>() {
            let look = self.look_at(&other)?;
            let same = look.as_ref().is_some_and(|look| {
                look.state.identity.inode == seen.identity.inode && look.state.same_as(seen)
            });
            if same && !turn.held.contains_key(&other) {
                self.differ(batch, &other, look.as_ref(), author)?;
            }
        }
        Ok(())
    }
}

/// The file as writers left it: their content, and of all the rest what it was, because a
/// component has no way to change that; except that the kernel takes set-user-id bits away.
fn written(
    before: Option<&EntryState>,
    seen: Option<&EntryState>,
    hash: BlobDigest,
    size_bytes: u64,
) -> Option<EntryState> {
    let is_file = |state: &&EntryState| matches!(state.kind, EntryKind::File { .. });
    let (before, seen) = (before.filter(is_file), seen.filter(is_file));
    let mut state = before.or(seen)?.clone();
    state.kind = EntryKind::File { hash: Some(hash) };
    state.size_bytes = size_bytes;
    if let Some(seen) = seen {
        (state.identity, state.stamp) = (seen.identity, seen.stamp);
        if state.mode & 0o1777 == seen.mode {
            state.mode = seen.mode;
        }
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_holds_what_its_file_would() {
        let mut content = b"abc".to_vec();
        assert!(apply(&mut content, &Edit::Write { offset: 5, bytes: b"x" }, 100));
        assert_eq!(content, b"abc\0\0x");
        assert!(apply(&mut content, &Edit::Resize { size_bytes: 2 }, 100));
        assert!(apply(&mut content, &Edit::Append { bytes: b"!" }, 100));
        assert_eq!(content, b"ab!");
        assert!(apply(&mut content, &Edit::Write { offset: 90, bytes: b"" }, 100));
        assert_eq!(content, b"ab!", "writing nothing makes nothing longer");
        assert!(!apply(&mut content, &Edit::Write { offset: 100, bytes: b"x" }, 100));
        assert!(!apply(&mut content, &Edit::Write { offset: u64::MAX, bytes: b"x" }, 100));
    }
}
