//! A ledger in memory, a root in a temporary directory, and waiting for conditions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foreshore_domain::blob::BlobDigest;
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{
    Author, Change, ChangeKind, EntryPath, EntryState, RootName, RootPolicy,
};
use foreshore_integrity::{
    Depth, Ledger, LedgerError, Observer, PlanOutcome, Report, RootConfig, ScanReport, UndoPlan,
    Watch, WatchConfig, WatchedRoot,
};

/// What waits for a condition gives up after this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

type Key = (RootName, EntryPath);

pub(crate) struct Memory {
    pub(crate) all: Mutex<All>,
    /// Every method fails while it is set.
    pub(crate) broken: AtomicBool,
    /// One method fails after so many that do not.
    pub(crate) fails_once_after: AtomicUsize,
}

impl Default for Memory {
    fn default() -> Self {
        let (all, broken) = (Mutex::default(), AtomicBool::new(false));
        Self { all, broken, fails_once_after: AtomicUsize::new(usize::MAX) }
    }
}

#[derive(Default)]
pub(crate) struct All {
    baselined: Vec<RootName>,
    pub(crate) known: BTreeMap<Key, EntryState>,
    pub(crate) approved: BTreeMap<Key, EntryState>,
    pub(crate) changes: Vec<(Instant, Change)>,
    pub(crate) blobs: HashMap<BlobDigest, Bytes>,
    pub(crate) plans: Vec<UndoPlan>,
    pub(crate) closed: Vec<(CallId, PlanOutcome)>,
}

impl Memory {
    pub(crate) fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().expect("no panic held it")
    }

    fn open(&self) -> Result<MutexGuard<'_, All>, LedgerError> {
        let left = self.fails_once_after.load(Ordering::Acquire);
        self.fails_once_after.store(left.wrapping_sub(1), Ordering::Release);
        if self.broken.load(Ordering::Acquire) || left == 0 {
            return Err(LedgerError { message: "broken".to_owned() });
        }
        Ok(self.lock())
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.lock().changes.iter().map(|(_, change)| change.clone()).collect()
    }

    /// Kind, path and author of each change since the `from`-th.
    pub(crate) fn told(&self, from: usize) -> Vec<(ChangeKind, String, Author)> {
        let told =
            |change: &Change| (change.kind.clone(), change.path.to_string(), change.author.clone());
        self.changes().iter().skip(from).map(told).collect()
    }
}

impl All {
    fn apply(&mut self, change: &Change) {
        let key = (change.root.clone(), change.path.clone());
        let known = self.known.get(&key);
        if let ChangeKind::Renamed { from } = &change.kind {
            let from = (change.root.clone(), from.clone());
            assert!(known.is_none(), "a rename came over a known path: {change:?}");
            assert_eq!(self.known.remove(&from), change.before, "a chain of records is broken");
            if change.author != Author::Outside {
                self.approved.remove(&from);
            }
        } else {
            assert_eq!(known.map(content), change.before.as_ref().map(content), "{change:?}");
        }
        let states = if change.author == Author::Outside {
            vec![&mut self.known]
        } else {
            vec![&mut self.known, &mut self.approved]
        };
        for states in states {
            match &change.after {
                Some(after) => states.insert(key.clone(), after.clone()),
                None => states.remove(&key),
            };
        }
        self.changes.push((Instant::now(), change.clone()));
    }
}

fn content(state: &EntryState) -> (&foreshore_domain::integrity::EntryKind, u32) {
    (&state.kind, state.mode)
}

impl Ledger for Memory {
    fn is_baselined(&self, root: &RootName) -> Result<bool, LedgerError> {
        Ok(self.open()?.baselined.contains(root))
    }

    fn baseline(
        &self,
        root: &RootName,
        entries: &[(EntryPath, EntryState)],
        complete: bool,
    ) -> Result<(), LedgerError> {
        let mut all = self.open()?;
        for (path, state) in entries {
            all.known.insert((root.clone(), path.clone()), state.clone());
            all.approved.insert((root.clone(), path.clone()), state.clone());
        }
        if complete {
            all.baselined.push(root.clone());
        }
        Ok(())
    }

    fn touched(
        &self,
        root: &RootName,
        entries: &[(EntryPath, EntryState)],
    ) -> Result<(), LedgerError> {
        let mut all = self.open()?;
        for (path, state) in entries {
            all.known.insert((root.clone(), path.clone()), state.clone());
        }
        Ok(())
    }

    fn known(&self, root: &RootName, path: &EntryPath) -> Result<Option<EntryState>, LedgerError> {
        Ok(self.open()?.known.get(&(root.clone(), path.clone())).cloned())
    }

    fn approved(
        &self,
        root: &RootName,
        path: &EntryPath,
    ) -> Result<Option<EntryState>, LedgerError> {
        Ok(self.open()?.approved.get(&(root.clone(), path.clone())).cloned())
    }

    fn unapproved(
        &self,
        root: &RootName,
        after: Option<&EntryPath>,
        count_max: usize,
    ) -> Result<Vec<EntryPath>, LedgerError> {
        let all = self.open()?;
        let paths: BTreeSet<&EntryPath> = all
            .known
            .keys()
            .chain(all.approved.keys())
            .filter(|key| key.0 == *root && all.known.get(*key) != all.approved.get(*key))
            .map(|(_, path)| path)
            .collect();
        let later = |path: &&EntryPath| after.is_none_or(|after| *path > after);
        Ok(paths.into_iter().filter(later).take(count_max).cloned().collect())
    }

    fn known_below(
        &self,
        root: &RootName,
        directory: &EntryPath,
        after: Option<&EntryPath>,
        count_max: usize,
    ) -> Result<Vec<EntryPath>, LedgerError> {
        let all = self.open()?;
        let from = (root.clone(), after.unwrap_or(directory).clone());
        let paths = all.known.range(from..).map(|(key, _)| key);
        Ok(paths
            .take_while(|(of, _)| of == root)
            .filter(|(_, path)| path.is_below(directory) && Some(path) != after)
            .map(|(_, path)| path.clone())
            .take(count_max)
            .collect())
    }

    fn record(&self, changes: &[Change]) -> Result<(), LedgerError> {
        let mut all = self.open()?;
        changes.iter().for_each(|change| all.apply(change));
        Ok(())
    }

    fn keep(&self, bytes: &[u8]) -> Result<BlobDigest, LedgerError> {
        let digest = BlobDigest::from_bytes(blake3::hash(bytes).into());
        let mut all = self.open()?;
        all.blobs.entry(digest).or_insert_with(|| Bytes::copy_from_slice(bytes));
        Ok(digest)
    }

    fn version(&self, digest: BlobDigest) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.open()?.blobs.get(&digest).cloned())
    }

    fn plan_opened(&self, plan: &UndoPlan) -> Result<(), LedgerError> {
        self.open()?.plans.push(plan.clone());
        Ok(())
    }

    fn plan_closed(
        &self,
        call_id: CallId,
        outcome: PlanOutcome,
        changes: &[Change],
    ) -> Result<(), LedgerError> {
        let mut all = self.open()?;
        all.plans.retain(|plan| plan.call_id != call_id);
        all.closed.push((call_id, outcome));
        changes.iter().for_each(|change| all.apply(change));
        Ok(())
    }

    fn open_plans(&self) -> Result<Vec<UndoPlan>, LedgerError> {
        Ok(self.open()?.plans.clone())
    }
}

#[derive(Default)]
pub(crate) struct Reports(Mutex<Vec<Report>>);

impl Reports {
    pub(crate) fn count(&self, wanted: impl Fn(&Report) -> bool) -> usize {
        self.0.lock().expect("no panic held it").iter().filter(|report| wanted(report)).count()
    }
}

impl Observer for Reports {
    fn report(&self, _: &RootName, report: Report) {
        self.0.lock().expect("no panic held it").push(report);
    }
}

/// A root in a temporary directory.
pub(crate) struct Place {
    pub(crate) temporary: tempfile::TempDir,
    pub(crate) ledger: Arc<Memory>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) watched: Arc<WatchedRoot>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub(crate) fn with(configure: impl FnOnce(&mut RootConfig), fill: impl FnOnce(&Path)) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        let path = temporary.path().join("root");
        std::fs::create_dir(&path).expect("a directory");
        std::fs::create_dir(temporary.path().join("quarantine")).expect("a directory");
        fill(&path);
        let mut config = RootConfig::new("r".parse().expect("a name"), path);
        config.quarantine = Some(temporary.path().join("quarantine"));
        configure(&mut config);
        let (ledger, reports) = (Arc::new(Memory::default()), Arc::new(Reports::default()));
        let observer: Arc<dyn Observer> = reports.clone();
        let recorder: Arc<dyn Ledger> = ledger.clone();
        let watched = WatchedRoot::open(config, recorder, observer).expect("opens");
        Self { temporary, ledger, reports, watched }
    }

    pub(crate) fn policy(policy: RootPolicy, fill: impl FnOnce(&Path)) -> Self {
        Self::with(|config| config.policy = policy, fill)
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.temporary.path().join("root").join(relative)
    }

    pub(crate) fn write(&self, relative: &str, text: &str) {
        std::fs::write(self.path(relative), text).expect("writes");
    }

    pub(crate) fn read(&self, relative: &str) -> String {
        std::fs::read_to_string(self.path(relative)).expect("reads")
    }

    pub(crate) fn scan(&self, depth: Depth) -> ScanReport {
        self.watched.scan(depth, &|_| {}, &|| false).expect("scans")
    }

    /// Starts a watch, and waits for the baseline.
    pub(crate) fn watch(&self) -> Watch {
        let watch = self.watched.watch(WatchConfig::default());
        wait(|| watch.is_ready());
        watch
    }

    pub(crate) fn known(&self, path: &str) -> Option<EntryState> {
        let key = (self.watched.name().clone(), entry(path));
        self.ledger.lock().known.get(&key).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.ledger.lock().changes.len()
    }

    pub(crate) fn wait_for(&self, path: &str, kind: &ChangeKind) {
        wait(|| self.ledger.told(0).iter().any(|told| told.0 == *kind && told.1 == path));
    }
}

#[track_caller]
pub(crate) fn wait(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "it did not happen in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn entry(path: &str) -> EntryPath {
    EntryPath::from_bytes(path.as_bytes()).expect("a path")
}

pub(crate) fn entry_of(path: &Path) -> EntryPath {
    EntryPath::from_bytes(path.as_os_str().as_bytes()).expect("a path")
}

pub(crate) fn call(number: u64) -> (CallId, Author) {
    let id = CallId::new(1_700_000_000_000 + number);
    (id, Author::Component { component: "files@0.1.0".into(), call_id: id })
}
