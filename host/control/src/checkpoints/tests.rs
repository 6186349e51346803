//! A webhook on a port of this machine, that answers as it is told.

use std::time::Duration;

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_store::{Journal, JournalConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::egress::TlsClient;

/// Nothing here takes longer, unless it hangs.
const HANG: Duration = Duration::from_secs(30);

/// Answers one request after another with these statuses, and then 200; gives back what came.
async fn receiver(statuses: &'static [u16]) -> (WebhookUrl, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for status in statuses.iter().chain(std::iter::repeat(&200)) {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"\"}") {
                let mut more = [0; 4_096];
                let read = stream.read(&mut more).await.expect("readable");
                bytes.extend_from_slice(&more[..read]);
            }
            let answer = format!("HTTP/1.1 {status} As Told\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("writable");
            let _ = sender.send(String::from_utf8(bytes).expect("text"));
        }
    });
    let url = format!("http://127.0.0.1:{port}/checkpoints?token=t");
    (url.parse().expect("a URL"), received)
}

async fn received(from: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::time::timeout(HANG, from.recv()).await.expect("it comes").expect("it goes on")
}

struct Sending {
    journal: Journal,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Sending {
    fn to(url: WebhookUrl, tries: u32, first_pause: Duration) -> Self {
        let directory = tempfile::tempdir().expect("made");
        let path = directory.path().join("journal.redb");
        let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
        let patience = Patience { tries, first_pause, timeout: HANG };
        let webhook = Webhook::new(url, TlsClient::new(Vec::new()), patience);
        let stop = CancellationToken::new();
        let newest = journal.checkpoints().expect("in a file");
        let task = tokio::spawn(send(newest, webhook, stop.clone()));
        Self { journal, stop, task, _directory: directory }
    }

    /// Records something and signs it; the line that says so.
    async fn sign(&self) -> String {
        let event = NewEvent {
            at_unix_ms: 1,
            tenant: Tenant::DEFAULT,
            stream: Stream::Host,
            kind: EventKind::HostStarted,
            payload: b"{}".to_vec(),
        };
        self.journal.append(event).await.expect("recorded");
        self.journal.seal().await.expect("sealed").expect("in a file").to_line()
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(HANG, self.task).await.expect("it ends").expect("no panic");
    }
}

#[tokio::test]
async fn a_checkpoint_is_posted_as_it_is_written_beside_the_journal() {
    let (url, mut requests) = receiver(&[]).await;
    let sending = Sending::to(url, 1, HANG);
    let first = received(&mut requests).await;
    assert!(first.starts_with("POST /checkpoints?token=t HTTP/1.1\r\n"), "{first}");
    assert!(first.contains("content-type: application/json\r\n"), "{first}");
    let line = sending.sign().await;
    let second = received(&mut requests).await;
    assert_eq!(second.split("\r\n\r\n").nth(1), Some(&*line));
    assert!(Checkpoint::parse(&line).expect("a checkpoint").is_signed());
    sending.end().await;
}

#[tokio::test]
async fn a_failure_is_tried_again_and_after_enough_of_them_the_next_checkpoint_is_sent() {
    let (url, mut requests) = receiver(&[500, 302, 200, 503, 503, 503]).await;
    let sending = Sending::to(url, 3, Duration::from_millis(1));
    let tries = [received(&mut requests).await, received(&mut requests).await];
    assert_eq!(received(&mut requests).await, tries[0]);
    assert_eq!(tries[0], tries[1]);
    let lost = sending.sign().await;
    for _ in 0..3 {
        assert!(received(&mut requests).await.ends_with(&lost), "three tries");
    }
    let next = sending.sign().await;
    assert!(received(&mut requests).await.ends_with(&next), "it was given up");
    sending.end().await;
}

#[tokio::test]
async fn a_newer_checkpoint_takes_the_place_of_one_that_waits_and_nobody_waits_for_either() {
    let (url, mut requests) = receiver(&[200, 500]).await;
    let sending = Sending::to(url, 9, Duration::from_secs(3_600));
    received(&mut requests).await;
    let older = sending.sign().await;
    assert!(received(&mut requests).await.ends_with(&older), "it fails");
    let newer = sending.sign().await;
    assert!(received(&mut requests).await.ends_with(&newer), "it does not wait an hour");
    sending.end().await;

    // Nobody listens there: the journal goes on, and the end is not held up.
    let sending = Sending::to("http://127.0.0.1:1/".parse().expect("a URL"), 9, HANG * 100);
    sending.sign().await;
    sending.end().await;
}

#[test]
fn a_webhook_is_https_or_on_this_machine() {
    let parse = |text: &str| text.parse::<WebhookUrl>();
    for good in ["https://audit.example.org/c?t=1", "http://127.0.0.1:9/", "http://[::1]:9/x"] {
        assert!(parse(good).is_ok(), "{good}");
    }
    assert_eq!(parse("http://example.org/"), Err(WebhookUrlError::Scheme));
    assert_eq!(parse("http://localhost.example.org/"), Err(WebhookUrlError::Scheme));
    assert_eq!(parse("file:///etc/passwd"), Err(WebhookUrlError::Scheme));
    assert_eq!(parse("https://me:secret@example.org/"), Err(WebhookUrlError::Credentials));
    assert!(matches!(parse("example"), Err(WebhookUrlError::NotAUrl(_))));
}
