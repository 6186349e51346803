//! Files: the host functions that a guest would call, called directly, on real directories.
//! Granted and denied stand side by side, and a denial is asserted by its code.

mod watched;

use std::os::unix::fs::symlink;
use std::path::Path;

use foreshore_domain::denial::DenialCode;
use foreshore_domain::grant::{Access, GuestPath, Mount};
use foreshore_domain::limits::Limit;
use foreshore_domain::ports::FileChanges;
use tempfile::TempDir;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, HostDescriptor, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{FsError, FsResult};
use wasmtime_wasi_io::streams::StreamError;

use super::*;
use crate::bindings::asynchronous::streams;
use crate::capability::filesystem::{Files, MountTable, Mounts};
use crate::limiter::LimitFired;
use crate::state::{CallScope, State};

/// A directory mounted at `/data`, and the state of a call that has it.
struct Mounted {
    directory: TempDir,
    door: Arc<OpenDoor>,
    context: Arc<CallContext>,
    state: State,
    root: Resource<Descriptor>,
}

fn mount(directory: &Path, guest: &str, access: Access) -> Mount {
    Mount {
        host: directory.to_owned(),
        guest: guest.parse::<GuestPath>().expect("a path"),
        access,
        bytes_max: Limit::new(1_000).expect("not zero"),
        entries_max: Limit::new(8).expect("not zero"),
    }
}

fn state(
    grant: Grant,
    limits: &[(&str, u64)],
    table: &MountTable,
    changes: Option<&dyn FileChanges>,
) -> (State, Arc<CallContext>, Arc<OpenDoor>) {
    let grant = Arc::new(grant);
    let context = context(&grant, limits);
    let door = Arc::new(OpenDoor::default());
    let effects: Arc<dyn Effects> = door.clone();
    let scope = Arc::new(CallScope::new(Arc::clone(&context), effects));
    let mounts = Mounts::open(&grant, table, changes).expect("opens");
    (State::new(scope, Files::new(mounts)), context, door)
}

impl Mounted {
    fn new(access: Access) -> Self {
        Self::with(access, &[])
    }

    fn with(access: Access, limits: &[(&str, u64)]) -> Self {
        Self::watched_by(access, limits, None)
    }

    fn watched_by(
        access: Access,
        limits: &[(&str, u64)],
        changes: Option<&dyn FileChanges>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("old"), "0123456789").expect("write");
        let grant =
            Grant { mounts: vec![mount(directory.path(), "/data", access)], ..Grant::default() };
        let (mut state, context, door) = state(grant, limits, &MountTable::default(), changes);
        let mut roots = preopens::Host::get_directories(&mut state).expect("directories");
        let (root, path) = roots.pop().expect("one");
        assert_eq!(path, "/data");
        Self { directory, door, context, state, root }
    }

    fn root(&self) -> Resource<Descriptor> {
        Resource::new_borrow(self.root.rep())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    async fn open(
        &mut self,
        path: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let root = self.root();
        self.state.open_at(root, PathFlags::SYMLINK_FOLLOW, path.to_owned(), open, flags).await
    }

    async fn read(&mut self, path: &str) -> FsResult<Vec<u8>> {
        let file = self.open(path, OpenFlags::empty(), DescriptorFlags::READ).await?;
        Ok(self.state.read(file, 1 << 20, 0).await?.0)
    }

    async fn write(&mut self, path: &str, bytes: &[u8]) -> FsResult<u64> {
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let file = self.open(path, flags, DescriptorFlags::WRITE).await?;
        self.state.write(file, bytes.to_vec(), 0).await
    }

    fn denials(&self) -> Vec<DenialCode> {
        self.context.denials.take().into_iter().map(|denial| denial.code).collect()
    }
}

#[track_caller]
fn refused<T>(result: FsResult<T>) -> ErrorCode {
    match result {
        Ok(_) => panic!("it was allowed"),
        Err(error) => error.downcast().expect("an error code, not a trap"),
    }
}

#[tokio::test]
async fn a_read_only_mount_reads_and_changes_nothing() {
    let mut mounted = Mounted::new(Access::ReadOnly);
    assert_eq!(mounted.read("old").await.expect("reads"), b"0123456789");
    let write = DescriptorFlags::WRITE;
    for (open, flags) in [
        (OpenFlags::empty(), write),
        (OpenFlags::TRUNCATE, DescriptorFlags::READ),
        (OpenFlags::CREATE, DescriptorFlags::READ),
        (OpenFlags::CREATE | OpenFlags::EXCLUSIVE, write),
    ] {
        let result = mounted.open("old", open, flags).await;
        assert!(matches!(refused(result), ErrorCode::NotPermitted));
    }
    let (root, again) = (mounted.root(), mounted.root());
    let state = &mut mounted.state;
    let name = || "old".to_owned();
    let new = || "new".to_owned();
    for result in [
        state.create_directory_at(Resource::new_borrow(root.rep()), new()).await,
        state.unlink_file_at(Resource::new_borrow(root.rep()), name()).await,
        state.remove_directory_at(Resource::new_borrow(root.rep()), name()).await,
        state.symlink_at(Resource::new_borrow(root.rep()), name(), new()).await,
        state
            .link_at(
                Resource::new_borrow(root.rep()),
                PathFlags::empty(),
                name(),
                Resource::new_borrow(root.rep()),
                new(),
            )
            .await,
        state
            .rename_at(
                Resource::new_borrow(root.rep()),
                name(),
                Resource::new_borrow(root.rep()),
                new(),
            )
            .await,
        state
            .set_times_at(
                Resource::new_borrow(root.rep()),
                PathFlags::empty(),
                name(),
                NewTimestamp::Now,
                NewTimestamp::Now,
            )
            .await,
        state.set_times(again, NewTimestamp::Now, NewTimestamp::Now).await,
    ] {
        assert!(matches!(refused(result), ErrorCode::NotPermitted));
    }
    let file = mounted.open("old", OpenFlags::empty(), DescriptorFlags::READ).await.expect("opens");
    let borrow = || Resource::new_borrow(file.rep());
    assert!(mounted.state.set_size(borrow(), 0).await.is_err());
    assert!(mounted.state.write(borrow(), vec![1], 0).await.is_err());
    assert!(mounted.state.write_via_stream(borrow(), 0).is_err());
    assert!(mounted.state.append_via_stream(borrow()).is_err());
    let denials = mounted.denials();
    assert_eq!(denials.len(), 16);
    assert!(denials.iter().all(|code| *code == DenialCode::MountReadOnly), "{denials:?}");
    assert!(mounted.door.changes.lock().expect("lock").is_empty(), "the door was not troubled");
    assert_eq!(std::fs::read(mounted.path("old")).expect("there"), b"0123456789");
}

#[tokio::test]
async fn a_read_write_mount_changes_what_the_door_lets_through() {
    let mut mounted = Mounted::new(Access::ReadWrite);
    mounted.write("new", b"hello").await.expect("writes");
    assert_eq!(std::fs::read(mounted.path("new")).expect("there"), b"hello");
    let root = mounted.root();
    mounted.state.create_directory_at(root, "below".to_owned()).await.expect("makes");
    let (root, again) = (mounted.root(), mounted.root());
    mounted
        .state
        .rename_at(root, "new".to_owned(), again, "below/new".to_owned())
        .await
        .expect("renames");
    let root = mounted.root();
    mounted.state.unlink_file_at(root, "below/new".to_owned()).await.expect("removes");
    assert_eq!(
        *mounted.door.changes.lock().expect("lock"),
        [
            FileChangeKind::Write { create: true, truncate: true },
            FileChangeKind::CreateDirectory,
            FileChangeKind::Rename { to: "/data/below/new".to_owned() },
            FileChangeKind::RemoveFile,
        ]
    );
    assert_eq!(mounted.denials(), []);
}

#[tokio::test]
async fn no_path_leads_out_of_a_mount() {
    let mut mounted = Mounted::new(Access::ReadWrite);
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("secret"), "secret").expect("write");
    symlink(outside.path().join("secret"), mounted.path("absolute")).expect("link");
    symlink(outside.path(), mounted.path("directory")).expect("link");
    symlink("absolute", mounted.path("chain")).expect("link");
    symlink("/proc/self/root", mounted.path("proc")).expect("link");
    let up = format!("../{}/secret", outside.path().file_name().expect("a name").display());
    for path in [
        "absolute",
        "directory/secret",
        "chain",
        "proc/etc/passwd",
        "../data",
        "..",
        "/etc/passwd",
        "//etc/passwd",
        "old/../../x",
        &up,
    ] {
        let code = refused(mounted.read(path).await);
        assert!(
            matches!(code, ErrorCode::NotPermitted | ErrorCode::NotDirectory),
            "{path}: {code:?}"
        );
        let denied = mounted.denials();
        assert!(
            denied == [DenialCode::MountNotGranted] || path == "old/../../x",
            "{path}: {denied:?}"
        );
        let root = mounted.root();
        let stat = mounted.state.stat_at(root, PathFlags::SYMLINK_FOLLOW, path.to_owned()).await;
        assert!(stat.is_err(), "{path}");
        assert!(mounted.write(path, b"x").await.is_err(), "{path}");
        mounted.denials();
    }
    assert_eq!(std::fs::read(outside.path().join("secret")).expect("there"), b"secret");
}

#[tokio::test]
async fn strange_names_are_errors_and_nothing_else() {
    let mut mounted = Mounted::new(Access::ReadWrite);
    for name in ["a\0b", "", &"x".repeat(4_096), &"x/".repeat(2_048), "old/", "old/."] {
        assert!(mounted.read(name).await.is_err(), "{name:?}");
        assert!(mounted.write(name, b"x").await.is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn links_that_would_lead_out_are_not_made() {
    let mut mounted = Mounted::new(Access::ReadWrite);
    for target in ["/etc/passwd", "../x", "below/../../x", ".."] {
        let root = mounted.root();
        let made = mounted.state.symlink_at(root, target.to_owned(), "link".to_owned()).await;
        assert!(matches!(refused(made), ErrorCode::NotPermitted), "{target}");
        assert_eq!(mounted.denials(), [DenialCode::MountNotGranted]);
    }
    let root = mounted.root();
    mounted.state.symlink_at(root, "old".to_owned(), "link".to_owned()).await.expect("stays");
    assert_eq!(mounted.read("link").await.expect("follows"), b"0123456789");
}

#[tokio::test]
async fn files_do_not_move_between_mounts_nor_out_of_a_read_only_one() {
    let (fixed, open) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    std::fs::write(fixed.path().join("file"), "fixed").expect("write");
    std::fs::write(open.path().join("file"), "open").expect("write");
    let other = tempfile::tempdir().expect("three");
    let grant = Grant {
        mounts: vec![
            mount(fixed.path(), "/fixed", Access::ReadOnly),
            mount(open.path(), "/open", Access::ReadWrite),
            mount(other.path(), "/other", Access::ReadWrite),
        ],
        ..Grant::default()
    };
    let (mut state, context, _) = state(grant, &[], &MountTable::default(), None);
    let roots = preopens::Host::get_directories(&mut state).expect("directories");
    let [fixed_root, open_root, other_root] = [0, 1, 2].map(|at| {
        move |roots: &[(Resource<Descriptor>, String)]| {
            Resource::<Descriptor>::new_borrow(roots[at].0.rep())
        }
    });
    let file = || "file".to_owned();
    let new = || "new".to_owned();
    let (from, to) = (fixed_root(&roots), open_root(&roots));
    let linked = state.link_at(from, PathFlags::empty(), file(), to, new()).await;
    assert!(matches!(refused(linked), ErrorCode::NotPermitted));
    let (from, to) = (fixed_root(&roots), open_root(&roots));
    assert!(matches!(
        refused(state.rename_at(from, file(), to, new()).await),
        ErrorCode::NotPermitted
    ));
    assert_eq!(context.denials.take().len(), 2);
    let (from, to) = (open_root(&roots), other_root(&roots));
    assert!(matches!(
        refused(state.rename_at(from, file(), to, new()).await),
        ErrorCode::CrossDevice
    ));
    let (from, to) = (open_root(&roots), other_root(&roots));
    let linked = state.link_at(from, PathFlags::empty(), file(), to, new()).await;
    assert!(matches!(refused(linked), ErrorCode::CrossDevice));
}

#[tokio::test]
async fn a_fifo_is_refused_and_nobody_waits_for_its_other_end() {
    let mut mounted = Mounted::new(Access::ReadWrite);
    let made = std::process::Command::new("mkfifo").arg(mounted.path("fifo")).status();
    assert!(made.expect("mkfifo runs").success());
    let _socket = std::os::unix::net::UnixListener::bind(mounted.path("socket")).expect("binds");
    symlink("fifo", mounted.path("to-fifo")).expect("link");
    for name in ["fifo", "socket", "to-fifo"] {
        for (open, flags) in [
            (OpenFlags::empty(), DescriptorFlags::READ),
            (OpenFlags::empty(), DescriptorFlags::WRITE),
            (OpenFlags::empty(), DescriptorFlags::READ | DescriptorFlags::WRITE),
            (OpenFlags::CREATE | OpenFlags::TRUNCATE, DescriptorFlags::WRITE),
        ] {
            let opening = mounted.open(name, open, flags);
            let opened = tokio::time::timeout(std::time::Duration::from_secs(5), opening).await;
            let code = refused(opened.expect("nobody waits"));
            assert!(matches!(code, ErrorCode::NotPermitted), "{name}: {code:?}");
            assert_eq!(mounted.denials(), [DenialCode::FileTypeNotAllowed], "{name}");
        }
    }
}

#[tokio::test]
async fn the_byte_quota_holds_however_a_file_grows() {
    let mut mounted = Mounted::new(Access::ReadWrite);
    // 10 bytes are there already, of 1,000.
    assert_eq!(mounted.write("new", &[7; 990]).await.expect("fits"), 990);
    let more =
        mounted.open("new", OpenFlags::empty(), DescriptorFlags::WRITE).await.expect("opens");
    let borrow = || Resource::new_borrow(more.rep());
    assert!(matches!(refused(mounted.state.write(borrow(), vec![1], 990).await), ErrorCode::Quota));
    assert!(matches!(
        refused(mounted.state.write(borrow(), vec![1], 1 << 40).await),
        ErrorCode::Quota
    ));
    assert!(matches!(refused(mounted.state.set_size(borrow(), 991).await), ErrorCode::Quota));
    assert!(mounted.denials().iter().all(|code| *code == DenialCode::MountBytesExhausted));
    mounted.state.write(borrow(), vec![8; 990], 0).await.expect("overwriting adds nothing");
    for stream in [
        mounted.state.append_via_stream(borrow()).expect("a stream"),
        mounted.state.write_via_stream(borrow(), 990).expect("a stream"),
    ] {
        let written = streams::HostOutputStream::write(&mut mounted.state, stream, vec![1]).await;
        assert!(matches!(written, Err(StreamError::LastOperationFailed(_))), "{written:?}");
        assert_eq!(mounted.denials(), [DenialCode::MountBytesExhausted]);
    }
    assert_eq!(std::fs::metadata(mounted.path("new")).expect("there").len(), 990);
    mounted.state.set_size(borrow(), 90).await.expect("shrinks");
    mounted.write("another", &[7; 900]).await.expect("what was given back is there to take");
    mounted.write("another", &[7; 900]).await.expect("truncating gives back");
    assert!(matches!(refused(mounted.write("third", &[1]).await), ErrorCode::Quota));
}

#[tokio::test]
async fn the_entry_quota_holds_for_every_kind_of_entry() {
    let mut mounted = Mounted::new(Access::ReadWrite);
    for name in 0..6 {
        mounted.write(&name.to_string(), b"").await.expect("fits");
    }
    let root = mounted.root();
    mounted.state.create_directory_at(root, "directory".to_owned()).await.expect("the eighth");
    let (root, again) = (mounted.root(), mounted.root());
    let old = || "old".to_owned();
    let new = || "new".to_owned();
    assert!(matches!(refused(mounted.write("new", b"").await), ErrorCode::Quota));
    let state = &mut mounted.state;
    let made = [
        state.create_directory_at(Resource::new_borrow(root.rep()), new()).await,
        state.symlink_at(Resource::new_borrow(root.rep()), old(), new()).await,
        state
            .link_at(Resource::new_borrow(root.rep()), PathFlags::empty(), old(), again, new())
            .await,
    ];
    for made in made {
        assert!(matches!(refused(made), ErrorCode::Quota));
    }
    assert_eq!(mounted.denials(), [DenialCode::MountEntriesExhausted; 4]);
    let root = mounted.root();
    mounted.state.remove_directory_at(root, "directory".to_owned()).await.expect("removes");
    mounted.write("new", b"").await.expect("what was given back is there to take");
    // Writing what is there adds no entry; replacing by a rename frees one.
    mounted.write("old", b"1").await.expect("no new entry");
    let (root, again) = (mounted.root(), mounted.root());
    mounted.state.rename_at(root, new(), again, old()).await.expect("replaces");
    mounted.write("last", b"").await.expect("one was freed");
}

#[tokio::test]
async fn two_components_share_the_quota_of_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let table = MountTable::default();
    let mut written = 0;
    for guest in ["/one", "/two"] {
        let grant = Grant {
            mounts: vec![mount(directory.path(), guest, Access::ReadWrite)],
            ..Grant::default()
        };
        let (mut state, _, _) = state(grant, &[], &table, None);
        let roots = preopens::Host::get_directories(&mut state).expect("directories");
        let file = state
            .open_at(
                Resource::new_borrow(roots[0].0.rep()),
                PathFlags::empty(),
                guest.trim_start_matches('/').to_owned(),
                OpenFlags::CREATE,
                DescriptorFlags::WRITE,
            )
            .await
            .expect("opens");
        for at in 0..10 {
            let file = Resource::new_borrow(file.rep());
            written += state.write(file, vec![0; 100], at * 100).await.unwrap_or(0);
        }
    }
    assert_eq!(written, 1_000);
}

#[tokio::test]
async fn a_door_that_says_no_stops_the_change() {
    struct ClosedDoor;
    impl Effects for ClosedDoor {
        fn perform<'a>(
            &'a self,
            _: &'a Arc<CallContext>,
            _: Effect,
        ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>> {
            Box::pin(async { Err(EffectError::NotRecorded("the disk is full".to_owned())) })
        }
        fn note(&self, _: &CallContext, _: Effect) {}
    }
    let directory = tempfile::tempdir().expect("a directory");
    let grant = Arc::new(Grant {
        mounts: vec![mount(directory.path(), "/data", Access::ReadWrite)],
        ..Grant::default()
    });
    let scope = Arc::new(CallScope::new(context(&grant, &[]), Arc::new(ClosedDoor)));
    let mounts = Mounts::open(&grant, &MountTable::default(), None).expect("opens");
    let mut state = State::new(scope, Files::new(mounts));
    let roots = preopens::Host::get_directories(&mut state).expect("directories");
    let made =
        state.create_directory_at(Resource::new_borrow(roots[0].0.rep()), "new".to_owned()).await;
    assert!(matches!(refused(made), ErrorCode::Io));
    assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 0);
}

#[tokio::test]
async fn every_file_operation_counts() {
    let mut mounted = Mounted::with(Access::ReadOnly, &[("host_operations_max", 20)]);
    for round in 0.. {
        let root = mounted.root();
        let flags = PathFlags::empty();
        match mounted.state.stat_at(root, flags, "old".to_owned()).await {
            Ok(_) => assert!(round < 20, "no end"),
            Err(error) => {
                let fired = FsError::downcast_ref(&error).copied().map(|_: ErrorCode| ());
                assert_eq!(fired, None, "a trap, not an error code");
                let error = error.downcast().expect_err("a trap");
                let fired = error.downcast_ref::<LimitFired>().expect("a limit");
                assert_eq!((fired.limit, fired.allowed), (FiredLimit::HostOperations, 20));
                assert_eq!(round, 19, "listing the directories was the first");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_directory_lists_and_a_stream_reads_to_its_end() {
    let mut mounted = Mounted::new(Access::ReadOnly);
    let root = mounted.root();
    let entries = mounted.state.read_directory(root).await.expect("lists");
    use wasmtime_wasi::p2::bindings::filesystem::types::HostDirectoryEntryStream as _;
    let entry = mounted.state.read_directory_entry(Resource::new_borrow(entries.rep())).await;
    assert_eq!(entry.expect("an entry").expect("one").name, "old");
    let file = mounted.open("old", OpenFlags::empty(), DescriptorFlags::READ).await.expect("opens");
    let stream = mounted.state.read_via_stream(file, 4).expect("a stream");
    let borrow = || Resource::new_borrow(stream.rep());
    let state = &mut mounted.state;
    let read = streams::HostInputStream::blocking_read(state, borrow(), 100).await;
    assert_eq!(read.expect("reads"), b"456789");
    let end = streams::HostInputStream::blocking_read(state, borrow(), 100).await;
    assert!(matches!(end, Err(StreamError::Closed)), "{end:?}");
}

#[test]
fn a_mount_that_does_not_open_is_named() {
    let host = Host::new();
    let component = component(host.sandbox.engine(), &[], &tool("(i32.const 0)"));
    let grant = Arc::new(Grant {
        mounts: vec![mount(Path::new("/no/such/directory"), "/data", Access::ReadOnly)],
        ..Grant::default()
    });
    let error = host.sandbox.link(&component, &grant).err().expect("refused");
    assert!(error.to_string().starts_with("mount /no/such/directory: "), "{error}");
}
