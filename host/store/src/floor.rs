//! The yardstick of the durable benchmark: what redb alone does with the same records, grouped
//! into commits by one thread at its default settings, and nothing of the journal around it: no
//! hash chain, no two-phase commit, no events.
//!
//! Nothing but a benchmark may use this.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use redb::{Database, TableDefinition};
use tokio::sync::oneshot;

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// The most records of one commit, as in the journal.
const GROUP_MAX: usize = 1_000;

/// Why the yardstick cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("bare redb failed: {0}")]
pub struct FloorError(String);

type Waiting = (Vec<u8>, oneshot::Sender<()>);

/// redb and a thread that groups commits.
pub struct Floor {
    queue: mpsc::Sender<Waiting>,
    _thread: JoinHandle<()>,
}

impl Floor {
    /// A new database at `path`.
    ///
    /// # Errors
    /// What redb or the machine says.
    pub fn new(path: &Path) -> Result<Self, FloorError> {
        let database = Database::create(path).map_err(|error| FloorError(error.to_string()))?;
        let (queue, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("floor".to_owned())
            .spawn(move || write(&database, &waiting))
            .map_err(|error| FloorError(error.to_string()))?;
        Ok(Self { queue, _thread: thread })
    }

    /// Puts a record on disk.
    ///
    /// # Errors
    /// The thread ended, since a commit failed.
    pub async fn append(&self, record: Vec<u8>) -> Result<(), FloorError> {
        let (done, answer) = oneshot::channel();
        let ended = |what: String| FloorError(what);
        self.queue.send((record, done)).map_err(|error| ended(error.to_string()))?;
        answer.await.map_err(|error| ended(error.to_string()))
    }
}

fn write(database: &Database, waiting: &mpsc::Receiver<Waiting>) {
    let mut next = 0_u64;
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        group.extend(waiting.try_iter().take(GROUP_MAX - 1));
        // A failed commit ends the thread, and with it every caller's wait.
        if commit(database, &group, &mut next).is_err() {
            return;
        }
        for (_, done) in group {
            let _ = done.send(());
        }
    }
}

fn commit(database: &Database, group: &[Waiting], next: &mut u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for (record, _) in group {
            table.insert(*next, record.as_slice())?;
            *next += 1;
        }
    }
    transaction.commit()?;
    Ok(())
}
