//! The kernel's events of a tree of directories (inotify, Linux).
//!
//! Directly, not by a library for many systems, for three reasons. A directory is watched through
//! the handle that the walk opened, so no path is resolved twice and no link is followed. It is
//! watched *before* what is in it is listed, so that nothing made in between is missed. And
//! opening files for reading, which is what looking at them does, makes no events.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use foreshore_domain::integrity::EntryPath;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{
    CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch,
};
use rustix::io::Errno;

use crate::judge::WatchedRoot;
use crate::root::is_absence;

/// Room for events that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Why the kernel's events are not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwatched {
    #[error("the kernel watches no more directories: raise fs.inotify.max_user_watches")]
    Watches,
    #[error(
        "the kernel has no more queues of events: raise fs.inotify.max_user_instances, or the limit on open files"
    )]
    Queues,
    #[error("the root is not there any more")]
    RootGone,
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for Unwatched {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// The watches of one root.
pub(crate) struct Watches {
    queue: OwnedFd,
    paths: HashMap<i32, EntryPath>,
    ids: BTreeMap<EntryPath, i32>,
}

/// One event, as far as it matters.
struct Heard {
    id: i32,
    flags: ReadFlags,
    cookie: u32,
    name: Option<Vec<u8>>,
}

impl Watches {
    /// Watches a whole root.
    pub(crate) fn new(watched: &WatchedRoot) -> Result<Self, Unwatched> {
        let queue = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|errno| {
            if matches!(errno, Errno::MFILE | Errno::NFILE) {
                Unwatched::Queues
            } else {
                Unwatched::from(io::Error::from(errno))
            }
        })?;
        let mut watches = Self { queue, paths: HashMap::new(), ids: BTreeMap::new() };
        watches.add_tree(watched, EntryPath::root(), false)?;
        Ok(watches)
    }

    pub(crate) fn directories(&self) -> usize {
        self.ids.len()
    }

    /// Watches a directory and all below it; if `suspect`, has all of it looked at.
    fn add_tree(
        &mut self,
        watched: &WatchedRoot,
        top: EntryPath,
        suspect: bool,
    ) -> Result<(), Unwatched> {
        let mut directories = vec![top];
        while let Some(path) = directories.pop() {
            if path.names().count() >= watched.root.config.look.depth_max {
                continue;
            }
            let directory = match watched.root.directory(&path) {
                Ok(directory) => directory,
                Err(_) if path.is_root() => return Err(Unwatched::RootGone),
                // Gone again, or not ours to read: the look at it tells.
                Err(_) => continue,
            };
            self.add(&path, directory.open(".")?.as_fd())?;
            let entries = match directory.entries() {
                Ok(entries) => entries,
                Err(error) if is_absence(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            for entry in entries.flatten() {
                let Ok(below) = path.join(entry.file_name().as_bytes()) else { continue };
                if !watched.root.covers(&below) {
                    continue;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    directories.push(below.clone());
                }
                if suspect {
                    watched.suspects.add(below);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &EntryPath, directory: impl AsFd) -> Result<(), Unwatched> {
        let mut flags = WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        if path.is_root() {
            flags |= WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        }
        // The kernel's name of the handle: whatever became of the path, this is the directory.
        let handle = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
        let id = add_watch(&self.queue, handle, flags).map_err(|errno| match errno {
            Errno::NOSPC => Unwatched::Watches,
            errno => Unwatched::from(io::Error::from(errno)),
        })?;
        if let Some(before) = self.paths.insert(id, path.clone()) {
            self.ids.remove(&before);
        }
        self.ids.insert(path.clone(), id);
        Ok(())
    }

    fn remove_tree(&mut self, top: &EntryPath) {
        let gone: Vec<EntryPath> = self
            .ids
            .range(top.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.as_bytes().starts_with(top.as_bytes()))
            .filter(|path| *path == top || path.is_below(top))
            .cloned()
            .collect();
        for id in gone.iter().filter_map(|path| self.ids.remove(path)) {
            self.paths.remove(&id);
            // It may be gone already.
            let _ = remove_watch(&self.queue, id);
        }
    }

    /// Waits a while for events, and passes them on.
    pub(crate) fn listen(
        &mut self,
        watched: &WatchedRoot,
        timeout: Duration,
    ) -> Result<(), Unwatched> {
        let timeout = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput.into());
        let timeout = timeout.map_err(|error: io::Error| Unwatched::from(error))?;
        match poll(&mut [PollFd::new(&self.queue, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        let mut moved_from: Option<(u32, EntryPath)> = None;
        for heard in self.read()? {
            // The kernel puts the two halves of a rename next to each other, as a rule; where it
            // does not, it is a deletion and a creation.
            let half = self.moved(&heard);
            if heard.flags.contains(ReadFlags::MOVED_FROM) {
                moved_from = half;
            } else if let (Some((cookie, from)), Some((same, to))) = (moved_from.take(), half)
                && cookie == same
            {
                watched.suspects.add_rename(from, to);
            }
            self.hear(watched, heard)?;
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<Heard>, Unwatched> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        let mut all = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => all.push(Heard {
                    id: event.wd(),
                    flags: event.events(),
                    cookie: event.cookie(),
                    name: event.file_name().map(|name| name.to_bytes().to_vec()),
                }),
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
            // Pass on what there is now and then, also under a flood.
            if all.len() >= 4_096 && reader.is_buffer_empty() {
                break;
            }
        }
        Ok(all)
    }

    fn moved(&self, heard: &Heard) -> Option<(u32, EntryPath)> {
        let moves = ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
        let name = heard.name.as_ref().filter(|_| heard.flags.intersects(moves))?;
        Some((heard.cookie, self.paths.get(&heard.id)?.join(name).ok()?))
    }

    fn hear(&mut self, watched: &WatchedRoot, heard: Heard) -> Result<(), Unwatched> {
        let flags = heard.flags;
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Directories may have come that nobody told of.
            self.remove_tree(&EntryPath::root());
            self.add_tree(watched, EntryPath::root(), false)?;
            watched.suspects.want_scan();
            return Ok(());
        }
        let Some(directory) = self.paths.get(&heard.id).cloned() else { return Ok(()) };
        if flags.contains(ReadFlags::IGNORED) {
            self.paths.remove(&heard.id);
            if self.ids.get(&directory) == Some(&heard.id) {
                self.ids.remove(&directory);
            }
            return if directory.is_root() { Err(Unwatched::RootGone) } else { Ok(()) };
        }
        if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
            return if directory.is_root() { Err(Unwatched::RootGone) } else { Ok(()) };
        }
        let Some(name) = heard.name else {
            watched.suspects.add(directory);
            return Ok(());
        };
        let Ok(path) = directory.join(&name) else { return Ok(()) };
        if !watched.root.covers(&path) {
            return Ok(());
        }
        let is_directory = flags.contains(ReadFlags::ISDIR);
        if is_directory && flags.contains(ReadFlags::MOVED_FROM) {
            self.remove_tree(&path);
        }
        if is_directory && flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            self.add_tree(watched, path.clone(), true)?;
        }
        watched.suspects.add(path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::root::RootConfig;
    use crate::suspects::Wake;
    use crate::testing::{Nobody, Nothing};

    #[test]
    fn more_events_than_the_kernel_keeps_mean_a_scan_and_directories_made_meanwhile_are_watched() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = RootConfig::new("r".parse().expect("a name"), directory.path());
        let watched =
            WatchedRoot::open(config, Arc::new(Nothing), Arc::new(Nobody)).expect("opens");
        let mut watches = Watches::new(&watched).expect("watches");
        let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
        let kept: usize = queue.expect("reads").trim().parse().expect("a number");
        let path = |number: usize| directory.path().join(format!("{}", number % 2));
        std::fs::write(path(0), "x").expect("writes");
        std::fs::write(path(1), "x").expect("writes");
        for number in 0..kept + 100 {
            // Two names by turns: the kernel makes one of two equal events in a row.
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path(number), mode).expect("sets");
        }
        std::fs::create_dir(directory.path().join("late")).expect("makes");
        let heard_all = Instant::now() + Duration::from_secs(20);
        while watched.suspects.await_scan(Instant::now()) != Wake::Wanted {
            assert!(Instant::now() < heard_all, "the kernel's loss was not noticed");
            watches.listen(&watched, Duration::from_millis(10)).expect("listens");
        }
        assert_eq!(watches.directories(), 2);
    }

    #[test]
    fn a_root_that_is_moved_away_is_gone() {
        let temporary = tempfile::tempdir().expect("a directory");
        let path = temporary.path().join("root");
        std::fs::create_dir(&path).expect("makes");
        let config = RootConfig::new("r".parse().expect("a name"), &path);
        let watched =
            WatchedRoot::open(config, Arc::new(Nothing), Arc::new(Nobody)).expect("opens");
        let mut watches = Watches::new(&watched).expect("watches");
        std::fs::rename(&path, temporary.path().join("away")).expect("renames");
        let heard = watches.listen(&watched, Duration::from_secs(10));
        assert_eq!(heard, Err(Unwatched::RootGone));
    }
}
