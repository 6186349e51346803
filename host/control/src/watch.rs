//! Watches the components directory and has what changes there taken up.
//!
//! Events of the file system only say when to look; what is there is found by looking, so a lost
//! event costs a delay and never a wrong answer, and a slow look comes round anyway. A file is
//! loaded once it is known to be whole: its writer closed it or renamed it into place, or two
//! looks found it the same.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::components::{Components, Look};
use crate::directory::{Directory, is_component_file};
use crate::error::StartError;

/// Between an event and the look that it causes, and between two looks at a file that grows.
const SETTLE: Duration = Duration::from_millis(100);
/// Between two looks that no event causes.
const RESCAN: Duration = Duration::from_secs(5);
/// Events that wait; what is lost beyond it, the next look finds.
const NOTICES_MAX: usize = 1_024;

/// Something happened in the directory.
enum Notice {
    /// Nobody writes this file any more.
    Complete(String),
    /// Anything else.
    Changed,
}

/// What watches; ends when it is dropped.
pub(crate) struct Watch {
    _watcher: RecommendedWatcher,
    notices: mpsc::Receiver<Notice>,
}

impl Watch {
    /// # Errors
    /// [`StartError::Watch`].
    pub(crate) fn new(directory: &Directory) -> Result<Self, StartError> {
        let (sender, notices) = mpsc::channel(NOTICES_MAX);
        let failed = |error: notify::Error| StartError::Watch {
            directory: directory.path().to_owned(),
            message: error.to_string(),
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            for notice in notices_of(event) {
                let _ = sender.try_send(notice);
            }
        })
        .map_err(failed)?;
        watcher.watch(directory.path(), RecursiveMode::NonRecursive).map_err(failed)?;
        Ok(Self { _watcher: watcher, notices })
    }

    /// Watches until `stop`.
    pub(crate) async fn run(mut self, components: Arc<Components>, stop: CancellationToken) {
        let watching = self.watch(&components);
        tokio::select! {
            () = watching => {}
            () = stop.cancelled() => {}
        }
    }

    async fn watch(&mut self, components: &Components) {
        let mut look = Look::default();
        loop {
            let mut complete = BTreeSet::new();
            match tokio::time::timeout(RESCAN, self.notices.recv()).await {
                Ok(Some(notice)) => {
                    collect(notice, &mut complete);
                    tokio::time::sleep(SETTLE).await;
                }
                // Without events there are still looks.
                Ok(None) => tokio::time::sleep(RESCAN).await,
                Err(_) => {}
            }
            loop {
                while let Ok(notice) = self.notices.try_recv() {
                    collect(notice, &mut complete);
                }
                match components.rescan(&mut look, |name| complete.contains(name)).await {
                    Ok(false) => break,
                    Ok(true) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the components directory cannot be read");
                        break;
                    }
                }
                complete.clear();
                tokio::time::sleep(SETTLE).await;
            }
        }
    }
}

fn collect(notice: Notice, complete: &mut BTreeSet<String>) {
    if let Notice::Complete(name) = notice {
        complete.insert(name);
    }
}

fn notices_of(event: notify::Result<Event>) -> Vec<Notice> {
    let Ok(event) = event else { return vec![Notice::Changed] };
    let names = || {
        let names = event.paths.iter().filter_map(|path| path.file_name().and_then(OsStr::to_str));
        names.filter(|name| is_component_file(name)).map(str::to_owned)
    };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            names().map(Notice::Complete).collect()
        }
        // Looking itself opens and closes files for reading: that is no news.
        EventKind::Access(_) => Vec::new(),
        _ => names().map(|_| Notice::Changed).collect(),
    }
}
