//! Mounts that somebody watches: each change is announced once, with its path and its author,
//! and one that is refused there is not made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foreshore_domain::integrity::{Author, EntryPath};
use foreshore_domain::ports::{
    ChangeNotRecorded, FileEdit, FileWriting, NameChange, Perform, WatchedMount,
};

use super::*;

/// Watches every mount, writes down what is announced, and takes its time.
#[derive(Clone, Default)]
struct Books(Arc<Pages>);

#[derive(Default)]
struct Pages {
    lines: Mutex<Vec<(String, Author)>>,
    refuses: AtomicBool,
    delay: Duration,
}

impl Books {
    fn slow() -> Self {
        Self(Arc::new(Pages { delay: Duration::from_millis(100), ..Pages::default() }))
    }

    fn note(
        &self,
        line: String,
        author: &Author,
        perform: Perform<'_>,
    ) -> Result<std::io::Result<()>, ChangeNotRecorded> {
        std::thread::sleep(self.0.delay);
        if self.0.refuses.load(Ordering::Acquire) {
            return Err(ChangeNotRecorded { message: "the disk is full".to_owned() });
        }
        let done = perform();
        if done.is_ok() {
            self.0.lines.lock().expect("lock").push((line, author.clone()));
        }
        Ok(done)
    }

    /// What was announced until now. All of it must be the call's.
    #[track_caller]
    fn lines(&self, call_id: CallId) -> Vec<String> {
        let call = Author::Component { component: "guest@1.0.0".into(), call_id };
        let lines = std::mem::take(&mut *self.0.lines.lock().expect("lock"));
        assert!(lines.iter().all(|(_, author)| *author == call), "{lines:?}");
        lines.into_iter().map(|(line, _)| line).collect()
    }
}

impl FileChanges for Books {
    fn of(&self, _: &Mount) -> Option<Arc<dyn WatchedMount>> {
        Some(Arc::new(self.clone()))
    }
}

impl WatchedMount for Books {
    fn change(
        &self,
        author: &Author,
        change: &NameChange,
        perform: Perform<'_>,
    ) -> Result<std::io::Result<()>, ChangeNotRecorded> {
        let line = match change {
            NameChange::CreateDirectory { path } => format!("make {path}"),
            NameChange::CreateSymlink { path, target } => {
                format!("symlink {path} -> {}", String::from_utf8_lossy(target))
            }
            NameChange::CreateLink { of, path } => format!("link {of} as {path}"),
            NameChange::Remove { path } => format!("remove {path}"),
            NameChange::Rename { from, to } => format!("rename {from} to {to}"),
        };
        self.note(line, author, perform)
    }

    fn open_for_writing(
        &self,
        author: &Author,
        path: &EntryPath,
        truncate: bool,
        open: Perform<'_>,
    ) -> Result<std::io::Result<Box<dyn FileWriting>>, ChangeNotRecorded> {
        let line = format!("open {path}{}", if truncate { " emptied" } else { "" });
        let opened = self.note(line, author, open)?;
        Ok(opened.map(|()| -> Box<dyn FileWriting> {
            let (books, path) = (self.clone(), path.clone());
            Box::new(Page { books, path, author: author.clone() })
        }))
    }
}

struct Page {
    books: Books,
    path: EntryPath,
    author: Author,
}

impl FileWriting for Page {
    fn edit(
        &self,
        edit: &FileEdit<'_>,
        perform: Perform<'_>,
    ) -> Result<std::io::Result<()>, ChangeNotRecorded> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = match edit {
            FileEdit::Write { offset, bytes } => format!("{offset}: {}", text(bytes)),
            FileEdit::Append { bytes } => format!("end: {}", text(bytes)),
            FileEdit::Resize { size_bytes } => format!("size {size_bytes}"),
        };
        self.books.note(format!("write {} {line}", self.path), &self.author, perform)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        std::thread::sleep(self.books.0.delay);
        let line = (format!("close {}", self.path), self.author.clone());
        self.books.0.lines.lock().expect("lock").push(line);
    }
}

fn watched() -> (Mounted, Books) {
    let books = Books::default();
    (Mounted::watched_by(Access::ReadWrite, &[], Some(&books)), books)
}

impl Mounted {
    /// Ends the call.
    async fn end(self) -> TempDir {
        let scope = Arc::clone(&self.state.scope);
        drop(self.state);
        scope.finished().await;
        self.directory
    }
}

#[tokio::test]
async fn every_kind_of_change_is_announced_once_and_reading_is_not() {
    let (mut mounted, books) = watched();
    let call_id = mounted.context.call_id;
    mounted.read("old").await.expect("reads");
    let (root, flags) = (mounted.root(), PathFlags::empty());
    mounted.state.stat_at(root, flags, "old".to_owned()).await.expect("looks");
    assert_eq!(books.lines(call_id), Vec::<String>::new());

    let at = |mounted: &Mounted| mounted.root();
    let root = at(&mounted);
    mounted.state.create_directory_at(root, "./d/".to_owned()).await.expect("makes");
    let root = at(&mounted);
    mounted.state.symlink_at(root, "d".to_owned(), "l".to_owned()).await.expect("links");
    let (root, again) = (at(&mounted), at(&mounted));
    let linked =
        mounted.state.link_at(root, flags, "old".to_owned(), again, "l/../hard".to_owned()).await;
    linked.expect("links");
    let (root, again) = (at(&mounted), at(&mounted));
    let renamed =
        mounted.state.rename_at(root, "hard".to_owned(), again, "d/soft".to_owned()).await;
    renamed.expect("renames");
    let root = at(&mounted);
    mounted.state.unlink_file_at(root, "d/soft".to_owned()).await.expect("removes");
    let root = at(&mounted);
    mounted.state.remove_directory_at(root, "d".to_owned()).await.expect("removes");
    assert_eq!(
        books.lines(call_id),
        [
            "make d",
            "symlink l -> d",
            "link old as hard",
            "rename hard to d/soft",
            "remove d/soft",
            "remove d"
        ]
    );

    let root = at(&mounted);
    let failed = mounted.state.create_directory_at(root, "old".to_owned()).await;
    assert!(matches!(refused(failed), ErrorCode::Exist));
    assert_eq!(books.lines(call_id), Vec::<String>::new(), "what failed is no change");
}

#[tokio::test]
async fn what_is_written_is_announced_however_it_is_and_closed_with_the_last_of_its_handles() {
    let (mut mounted, books) = watched();
    let call_id = mounted.context.call_id;
    let file = mounted
        .open("new", OpenFlags::CREATE | OpenFlags::TRUNCATE, DescriptorFlags::WRITE)
        .await
        .expect("opens");
    let borrow = || Resource::new_borrow(file.rep());
    assert_eq!(mounted.state.write(borrow(), b"one".to_vec(), 0).await.expect("writes"), 3);
    mounted.state.set_size(borrow(), 2).await.expect("cuts");
    let state = &mut mounted.state;
    let stream = state.write_via_stream(borrow(), 2).expect("a stream");
    let to = || Resource::new_borrow(stream.rep());
    streams::HostOutputStream::write(state, to(), b"tw".to_vec()).await.expect("writes");
    let written = streams::HostOutputStream::blocking_write_and_flush(state, to(), b"o".to_vec());
    written.await.expect("writes");
    streams::HostOutputStream::write_zeroes(state, to(), 1).await.expect("writes");
    let source = state.table.push(old_stream()).expect("a stream");
    let spliced = streams::HostOutputStream::splice(state, to(), source, 4).await;
    assert_eq!(spliced.expect("splices"), 4);
    let end = state.append_via_stream(borrow()).expect("a stream");
    streams::HostOutputStream::write(state, end, b"!".to_vec()).await.expect("writes");
    HostDescriptor::drop(state, Resource::new_own(file.rep())).expect("drops");
    assert_eq!(
        books.lines(call_id),
        [
            "open new emptied",
            "write new 0: one",
            "write new size 2",
            "write new 2: tw",
            "write new 4: o",
            "write new 5: \0",
            "write new 6: from",
            "write new end: !",
        ],
        "a stream still has it open"
    );
    let directory = mounted.end().await;
    assert_eq!(books.lines(call_id), ["close new"]);
    assert_eq!(std::fs::read(directory.path().join("new")).expect("there"), b"ontwo\0from!");
}

fn old_stream() -> wasmtime_wasi::p2::DynInputStream {
    Box::new(wasmtime_wasi::p2::pipe::MemoryInputPipe::new("from elsewhere"))
}

#[tokio::test]
async fn a_path_is_announced_as_it_is_by_now_and_not_as_it_was_opened() {
    let (mut mounted, books) = watched();
    let call_id = mounted.context.call_id;
    let root = mounted.root();
    mounted.state.create_directory_at(root, "a".to_owned()).await.expect("makes");
    let below =
        mounted.open("a", OpenFlags::DIRECTORY, DescriptorFlags::READ).await.expect("opens");
    let (root, again) = (mounted.root(), mounted.root());
    mounted.state.rename_at(root, "a".to_owned(), again, "b".to_owned()).await.expect("renames");
    let made = mounted.state.create_directory_at(below, "c".to_owned()).await;
    made.expect("makes");
    assert_eq!(books.lines(call_id), ["make a", "rename a to b", "make b/c"]);
}

#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_made_and_takes_no_room() {
    let (mut mounted, books) = watched();
    let file =
        mounted.open("old", OpenFlags::empty(), DescriptorFlags::WRITE).await.expect("opens");
    books.0.refuses.store(true, Ordering::Release);
    let borrow = || Resource::new_borrow(file.rep());
    // More often than there is room for entries.
    for _ in 0..9 {
        let root = mounted.root();
        let at = || Resource::new_borrow(root.rep());
        let (old, new) = (|| "old".to_owned(), || "new".to_owned());
        let state = &mut mounted.state;
        for result in [
            state.create_directory_at(at(), new()).await,
            state.symlink_at(at(), old(), new()).await,
            state.link_at(at(), PathFlags::empty(), old(), at(), new()).await,
            state.rename_at(at(), old(), at(), new()).await,
            state.unlink_file_at(at(), old()).await,
            state.set_size(borrow(), 0).await,
            state.write(borrow(), vec![7; 500], 10).await.map(|_| ()),
        ] {
            assert!(matches!(refused(result), ErrorCode::Io));
        }
        assert!(matches!(refused(mounted.write("new", b"x").await), ErrorCode::Io));
        assert!(matches!(refused(mounted.write("old", b"x").await), ErrorCode::Io));
    }
    let stream = mounted.state.append_via_stream(borrow()).expect("a stream");
    let written = streams::HostOutputStream::write(&mut mounted.state, stream, vec![1]).await;
    let Err(StreamError::LastOperationFailed(error)) = written else { panic!("{written:?}") };
    assert!(!error.to_string().contains("disk is full"), "the guest is told nothing of the host");
    assert_eq!(std::fs::read_dir(mounted.directory.path()).expect("there").count(), 1);
    assert_eq!(std::fs::read(mounted.path("old")).expect("there"), b"0123456789");
    assert_eq!(mounted.read("old").await.expect("reading goes on"), b"0123456789");
    books.0.refuses.store(false, Ordering::Release);
    for name in 0..7 {
        mounted.write(&name.to_string(), &[7; 140]).await.expect("there is room");
    }
}

#[tokio::test]
async fn whoever_waits_for_a_record_keeps_no_thread_of_the_guests() {
    let books = Books::slow();
    let mut mounted = Mounted::watched_by(Access::ReadWrite, &[], Some(&books));
    let call_id = mounted.context.call_id;
    let ticking = tokio::spawn(async {
        for tick in 0_u64.. {
            tokio::time::sleep(Duration::from_millis(5)).await;
            TICKS.store(tick, Ordering::Release);
        }
    });
    mounted.write("new", b"x").await.expect("writes");
    let root = mounted.root();
    mounted.state.create_directory_at(root, "d".to_owned()).await.expect("makes");
    ticking.abort();
    let ticks = TICKS.load(Ordering::Acquire);
    assert!(ticks >= 6, "{ticks} ticks of 5 ms in 300 ms");
    // This test has a thread of its own, and a drop that waited would keep it.
    let started = std::time::Instant::now();
    let scope = Arc::clone(&mounted.state.scope);
    drop(mounted.state);
    assert!(started.elapsed() < Duration::from_millis(90));
    scope.finished().await;
    assert_eq!(books.lines(call_id).last().map(String::as_str), Some("close new"));
}

static TICKS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// A guest that writes `guest` into the file `f` of its first directory, leaves it open, and
/// ends like this.
fn writer(ending: &str) -> String {
    tool_with(
        r#"(import "wasi:filesystem/preopens@0.2.6" "get-directories"
                (func $directories (param i32)))
            (import "wasi:filesystem/types@0.2.6" "[method]descriptor.open-at"
                (func $open (param i32 i32 i32 i32 i32 i32 i32)))
            (import "wasi:filesystem/types@0.2.6" "[method]descriptor.write"
                (func $write (param i32 i32 i32 i64 i32)))"#,
        r#"(memory (export "memory") 1)
            (data (i32.const 1024) "f")
            (data (i32.const 1032) "guest")"#,
        &format!(
            "(call $directories (i32.const 64))
            (call $open (i32.load (i32.load (i32.const 64))) (i32.const 0)
                (i32.const 1024) (i32.const 1) (i32.const 9) (i32.const 2) (i32.const 80))
            (if (i32.load8_u (i32.const 80)) (then (unreachable)))
            (call $write (i32.load (i32.const 84))
                (i32.const 1032) (i32.const 5) (i64.const 0) (i32.const 96))
            (if (i32.load8_u (i32.const 96)) (then (unreachable)))
            {ending}
            (i32.const 0)"
        ),
    )
}

struct WatchedHost {
    directory: TempDir,
    books: Books,
    linked: Linked,
    grant: Arc<Grant>,
}

impl WatchedHost {
    fn new(ending: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let books = Books::slow();
        let config = EngineConfig { slots: 8, ..EngineConfig::default() };
        let door = Arc::new(OpenDoor::default());
        let sandbox =
            Sandbox::new(&config, door, Some(Arc::new(books.clone()))).expect("a sandbox");
        let imports = ["wasi:filesystem/types@0.2.6", "wasi:filesystem/preopens@0.2.6"];
        let component = component(sandbox.engine(), &imports, &writer(ending));
        let mounts = vec![mount(directory.path(), "/data", Access::ReadWrite)];
        let grant = Arc::new(Grant { mounts, ..Grant::default() });
        let linked = sandbox.link(&component, &grant).expect("links");
        Self { directory, books, linked, grant }
    }
}

#[tokio::test]
async fn a_call_has_not_ended_before_what_it_left_open_is_recorded() {
    for (ending, code) in [
        ("", None),
        ("(unreachable)", Some("guest_trapped")),
        ("(loop $again (br $again))", Some("deadline_exceeded")),
    ] {
        let host = WatchedHost::new(ending);
        let context = context(&host.grant, &[("deadline_ms", 600), ("fuel", 1 << 39)]);
        let call_id = context.call_id;
        let report = host.linked.call(context, "test", "{}").await;
        assert_eq!(report.result.err().map(|error| error.code()), code);
        let lines = host.books.lines(call_id);
        assert_eq!(lines, ["open f emptied", "write f 0: guest", "close f"], "{ending}");
        let written = std::fs::read(host.directory.path().join("f"));
        assert_eq!(written.expect("there"), b"guest");
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_is_recorded_all_the_same() {
    // In the middle of the guest, and while it waits for a record.
    for patience_ms in [350, 150, 50] {
        let host = WatchedHost::new("(loop $again (br $again))");
        let context = context(&host.grant, &[("fuel", 1 << 39)]);
        let call_id = context.call_id;
        let call = host.linked.call(context, "test", "{}");
        let given_up = tokio::time::timeout(Duration::from_millis(patience_ms), call).await;
        assert!(given_up.is_err());
        let closed = async {
            while host.books.0.lines.lock().expect("lock").last().is_none_or(|l| l.0 != "close f") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), closed).await.expect("it is recorded");
        host.books.lines(call_id);
    }
}
