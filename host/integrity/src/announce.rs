//! How the changes that calls make get their author.
//!
//! The host makes each change of a component itself, so it announces it here: the path, the
//! author, and a closure that does it. Before, the path is looked at, so that what somebody else
//! did until then is recorded as theirs, and its bytes are kept; after, what is there is compared
//! with what the change must have left. What is as it must be is the author's; anything else is
//! the author's change and then one from outside, so that neither hides the other.
//!
//! A path may lead through links of the root, as the kernel follows them for the call: the change
//! is announced under the name that they lead to.
//!
//! Deliberately absent: times of files, which are not watched, and reading.

use std::io;
use std::sync::Arc;

use foreshore_domain::integrity::{
    Author, Change, ChangeKind, EntryKind, EntryPath, EntryState, escape,
};

use crate::batch::Batch;
use crate::error::ChangeError;
use crate::held::Held;
use crate::judge::{Patience, Turn, WatchedRoot};
use crate::look::hash_of;
use crate::writing::Writing;

/// What a change leaves at its path.
enum Leaves {
    Nothing,
    Directory,
    Symlink(Vec<u8>),
    /// The file that another name has.
    Same(Option<EntryState>),
}

impl WatchedRoot {
    /// Opens a file for writing on behalf of `author`, by what `open` does; `truncate` says that
    /// this empties it. What is then written must go through [`Writing`].
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was opened. Within it, the error of `open`.
    pub fn open_for_writing<R>(
        self: &Arc<Self>,
        author: Author,
        path: &EntryPath,
        truncate: bool,
        open: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<(Writing, R)>, ChangeError> {
        let mut turn = self.turn();
        let path = &self.root.resolved(path, true);
        self.catch_up(&mut turn, &[path])?;
        let before = self.look_at(path)?;
        let opened = match open() {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let existed = before.is_some();
        let held = turn.held.entry(path.clone()).or_insert_with(|| {
            Arc::new(Held::new(path.clone(), before.and_then(|look| look.bytes)))
        });
        let held = Arc::clone(held);
        let inode = self.look_at(path)?.map(|look| look.state.identity.inode);
        {
            let mut draft = held.lock();
            draft.holders += 1;
            draft.inode = inode;
            if truncate || !existed {
                draft.emptied(&author);
            }
        }
        let watched = Arc::clone(self);
        Ok(Ok((Writing::new(watched, held, author), opened)))
    }

    /// Makes a directory on behalf of `author`, by what `make` does.
    ///
    /// # Errors
    /// [`ChangeError`]. If it comes after `make`, the next look finds the change, as one from
    /// outside. Within it, the error of `make`. This holds for the operations below too.
    pub fn create_directory<R>(
        &self,
        author: &Author,
        path: &EntryPath,
        make: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        self.announce(author, path, |_, _| Ok(Leaves::Directory), make)
    }

    /// Makes a symbolic link with these bytes as its target.
    ///
    /// # Errors
    /// As above.
    pub fn create_symlink<R>(
        &self,
        author: &Author,
        path: &EntryPath,
        target: &[u8],
        make: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        self.announce(author, path, |_, _| Ok(Leaves::Symlink(target.to_vec())), make)
    }

    /// Makes `path` another name of the file `of`.
    ///
    /// # Errors
    /// As above.
    pub fn create_link<R>(
        &self,
        author: &Author,
        of: &EntryPath,
        path: &EntryPath,
        make: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        let leaves = |turn: &mut Turn, _: &EntryPath| {
            let of = &self.root.resolved(of, false);
            self.catch_up(turn, &[of])?;
            Ok(Leaves::Same(self.ledger.known(self.name(), of)?))
        };
        self.announce(author, path, leaves, make)
    }

    /// Removes a file, a link or an empty directory.
    ///
    /// # Errors
    /// As above.
    pub fn remove<R>(
        &self,
        author: &Author,
        path: &EntryPath,
        remove: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        let leaves = |turn: &mut Turn, path: &EntryPath| {
            // What is in a directory that can be removed was removed before, by somebody.
            let below = self.known_below(path)?;
            self.catch_up(turn, &below.iter().rev().collect::<Vec<_>>())?;
            Ok(Leaves::Nothing)
        };
        self.announce(author, path, leaves, remove)
    }

    /// Moves an entry, and what is below it, to another name in this root.
    ///
    /// # Errors
    /// As above.
    pub fn rename<R>(
        &self,
        author: &Author,
        from: &EntryPath,
        to: &EntryPath,
        rename: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        let mut turn = self.turn();
        let (from, to) = (&self.root.resolved(from, false), &self.root.resolved(to, false));
        self.catch_up(&mut turn, &[from, to])?;
        let file = |path| -> Result<_, ChangeError> {
            let known = self.ledger.known(self.name(), path)?;
            Ok(known.map(|state| (state.identity.device, state.identity.inode)))
        };
        if from == to || file(from)?.is_some_and(|moved| file(to).is_ok_and(|to| to == Some(moved)))
        {
            // Two names of one file: by POSIX this does nothing.
            return Ok(rename());
        }
        let mut pairs = vec![(from.clone(), to.clone())];
        for path in self.known_below(from)? {
            pairs.extend(path.moved(from, to).map(|moved| (path, moved)));
        }
        let done = rename();
        if done.is_ok() {
            let mut batch = Batch::default();
            for (from, to) in &pairs {
                self.renamed(&mut turn, &mut batch, author, from, to)?;
            }
            self.commit(&mut turn, batch)?;
        }
        Ok(done)
    }

    /// Records what others did to these paths until now.
    fn catch_up(&self, turn: &mut Turn, paths: &[&EntryPath]) -> Result<(), ChangeError> {
        let mut batch = Batch::default();
        for path in paths {
            self.judge(turn, &mut batch, path, Patience::None)?;
        }
        self.commit(turn, batch)?;
        Ok(())
    }

    fn announce<R>(
        &self,
        author: &Author,
        path: &EntryPath,
        leaves: impl FnOnce(&mut Turn, &EntryPath) -> Result<Leaves, ChangeError>,
        perform: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        let mut turn = self.turn();
        let path = &self.root.resolved(path, false);
        self.catch_up(&mut turn, &[path])?;
        let leaves = leaves(&mut turn, path)?;
        let done = perform();
        if done.is_err() {
            return Ok(done);
        }
        if matches!(leaves, Leaves::Nothing)
            && let Some(held) = turn.held.remove(path)
        {
            held.lock().detached = true;
        }
        let mut batch = Batch::default();
        let look = self.look_at(path)?;
        let seen = look.as_ref().map(|look| &look.state);
        let before = self.known(&batch, path)?;
        if let Some(look) = &look {
            self.keep(look)?;
            turn.names.note(path, &look.state);
        }
        let left = left(&leaves, before.as_ref(), seen);
        self.differ_state(&mut batch, path, left.as_ref(), author)?;
        self.differ(&mut batch, path, look.as_ref(), &Author::Outside)?;
        self.commit(&mut turn, batch)?;
        Ok(done)
    }

    fn renamed(
        &self,
        turn: &mut Turn,
        batch: &mut Batch,
        author: &Author,
        from: &EntryPath,
        to: &EntryPath,
    ) -> Result<(), ChangeError> {
        if let Some(replaced) = turn.held.remove(to) {
            replaced.lock().detached = true;
        }
        if let Some(held) = turn.held.remove(from) {
            held.lock().path = to.clone();
            turn.held.insert(to.clone(), held);
        }
        let Some(before) = self.known(batch, from)? else { return Ok(()) };
        let replaced = self.known(batch, to)?;
        let look = self.look_at(to)?;
        if let Some(look) = &look {
            turn.names.note(to, &look.state);
        }
        let mut after = before.clone();
        if let Some(seen) = look.as_ref().map(|look| &look.state)
            && seen.identity.inode == before.identity.inode
        {
            (after.identity, after.stamp) = (seen.identity, seen.stamp);
        }
        if replaced.is_none() {
            batch.push(Change {
                root: self.name().clone(),
                path: to.clone(),
                kind: ChangeKind::Renamed { from: from.clone() },
                before: Some(before),
                after: Some(after),
                author: author.clone(),
            });
        } else {
            self.differ_state(batch, to, Some(&after), author)?;
            // Not by `differ_state`: what is below is moved, not deleted.
            batch.push(Change {
                root: self.name().clone(),
                path: from.clone(),
                kind: ChangeKind::Deleted,
                before: Some(before),
                after: None,
                author: author.clone(),
            });
        }
        self.differ(batch, to, look.as_ref(), &Author::Outside)?;
        self.differ(batch, from, self.look_at(from)?.as_ref(), &Author::Outside)
    }
}

/// The state that a change must have left. What a component cannot set is as it was found.
fn left(
    leaves: &Leaves,
    before: Option<&EntryState>,
    seen: Option<&EntryState>,
) -> Option<EntryState> {
    let kind = match leaves {
        Leaves::Nothing => return None,
        Leaves::Directory => EntryKind::Directory,
        Leaves::Symlink(target) => {
            EntryKind::Symlink { target: escape(target), hash: hash_of(target) }
        }
        Leaves::Same(state) => state.as_ref()?.kind.clone(),
    };
    if let Some(seen) = seen.filter(|seen| seen.kind == kind) {
        return Some(seen.clone());
    }
    let mut state = match leaves {
        Leaves::Same(state) => state.clone()?,
        _ => seen.or(before)?.clone(),
    };
    (state.kind, state.size_bytes, state.xattrs) = (kind, state.size_bytes, None);
    Some(state)
}
