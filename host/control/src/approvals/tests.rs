use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use foreshore_domain::approval::{
    ApprovalPolicy, ApprovalState, Destructive, Rule, Scope, Terms, Verdict, Vote,
};
use foreshore_domain::call::CallError;
use foreshore_domain::component::{ComponentRef, ToolHints};
use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::grant::{Clock, Grant};
use foreshore_domain::id::{ApprovalId, CallId, Digest, KeyId};
use foreshore_domain::identity::{BuiltIn, Permissions, Principal, RoleName, Subject};
use foreshore_store::{AppendError, Commit, Journal, JournalConfig};
use serde_json::json;

use super::{ApprovalFault, Approvals, Asks, Candidate, NewVote, Outbox, Ticket, Weighed, Woken};
use crate::clock;

/// A host without guests. What it holds is not read, and not dropped either.
struct Host {
    journal: Journal,
    approvals: Approvals,
    _held: (Woken, Outbox),
}

fn host(terms: Terms) -> Host {
    let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
    on(journal, terms)
}

fn on(journal: Journal, terms: Terms) -> Host {
    let policy = ApprovalPolicy::new(vec![Rule::of_all(Verdict::Ask, terms)], Destructive::Allow);
    let (approvals, woken, outbox) = Approvals::new(journal.clone(), policy, Asks::People);
    Host { journal, approvals, _held: (woken, outbox) }
}

fn somebody(id: u128, role: BuiltIn) -> Arc<Principal> {
    let key = KeyId::parse(&format!("key_{id:032x}")).expect("an id");
    Arc::new(Principal {
        subject: Subject::Key(key),
        tenant: Tenant::DEFAULT,
        roles: vec![role.name()],
        permissions: role.permissions(),
        reach: foreshore_domain::identity::Reach::ALL,
    })
}

fn caller() -> Arc<Principal> {
    somebody(1, BuiltIn::Caller)
}

fn approver(id: u128) -> Arc<Principal> {
    somebody(id, BuiltIn::Approver)
}

fn call() -> Candidate {
    Candidate {
        component: ComponentRef::new("files", "1.0.0".parse().expect("a version")).expect("a name"),
        digest: Digest::of(b"files"),
        tool: "write".into(),
        hints: ToolHints::default(),
        grant: Arc::default(),
        arguments: json!({"path": "/a", "text": "b"}),
        principal: caller(),
        agent: None,
    }
}

fn terms() -> Terms {
    Terms::usual("a test")
}

impl Host {
    /// Asks for a call, as the door does.
    async fn asked(&self, call: &Candidate) -> ApprovalId {
        let weighed = self.approvals.weigh(call).expect("readable");
        let Weighed::Asks(terms) = weighed else { panic!("nobody is asked: {weighed:?}") };
        match self.approvals.ask(call, terms).await {
            Ok(CallError::ApprovalRequired { approval, .. }) => approval,
            other => panic!("{other:?}"),
        }
    }

    async fn approved(&self, call: &Candidate) -> ApprovalId {
        let approval = self.asked(call).await;
        let yes = NewVote::of(Vote::Approve);
        self.approvals.vote(approval, yes, &approver(2)).await.expect("approved");
        approval
    }

    /// Begins a call, as the door does; whether it did.
    async fn begin(&self, ticket: &Ticket) -> bool {
        let (call, now) = (CallId::new(1), clock::now_unix_ms());
        let (used, condition) = ticket.used_by(call, now);
        let started = NewEvent {
            at_unix_ms: now,
            tenant: Tenant::DEFAULT,
            stream: Stream::Call(call),
            kind: EventKind::CallStarted,
            payload: b"{}".to_vec(),
        };
        let events = used.into_iter().chain([started]).collect();
        let commit = Commit { events, conditions: vec![condition], blobs: Vec::new() };
        match self.journal.commit(commit).await {
            Ok(_) => true,
            Err(AppendError::Conflict(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn state(&self, approval: ApprovalId) -> ApprovalState {
        self.approvals.get(&Tenant::DEFAULT, approval).expect("there").state
    }

    fn stale(&self, call: &Candidate, approval: ApprovalId) -> String {
        match self.approvals.show(call, approval) {
            Err(error @ CallError::ApprovalStale { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_approved_runs_once_and_nothing_else_does() {
    let host = host(terms());
    let call = call();
    let approval = host.asked(&call).await;
    assert_eq!(host.asked(&call).await, approval, "the same call is not asked for twice");
    let waits = host.approvals.show(&call, approval);
    assert!(matches!(waits, Err(CallError::ApprovalRequired { .. })), "{waits:?}");
    let yes = NewVote::of(Vote::Approve);
    host.approvals.vote(approval, yes.clone(), &approver(2)).await.expect("approved");
    let again = host.approvals.vote(approval, yes, &approver(3)).await;
    assert!(matches!(again, Err(ApprovalFault::Closed { .. })), "{again:?}");

    let says = |change: fn(&mut Candidate)| {
        let mut other = call.clone();
        change(&mut other);
        host.stale(&other, approval)
    };
    let changed = says(|call| call.arguments = json!({"path": "/etc", "text": "b"}));
    assert!(changed.contains("arguments"), "{changed}");
    let swapped = says(|call| call.digest = Digest::of(b"another"));
    assert!(swapped.contains("component was replaced"), "{swapped}");
    let granted = says(|call| {
        call.grant = Arc::new(Grant { clock: Clock::Fine, ..Grant::default() });
    });
    assert!(granted.contains("grant have changed"), "{granted}");
    assert!(says(|call| call.tool = "move".into()).contains("another tool"));
    assert!(says(|call| call.principal = approver(9)).contains("none of this id"));
    let mut terms = terms();
    terms.reason = "another".to_owned();
    let ruled = on(host.journal.clone(), terms);
    assert!(ruled.stale(&call, approval).contains("rules"), "other rules");

    let ticket = host.approvals.show(&call, approval).expect("it is for this call");
    let other = host.approvals.show(&call, approval).expect("not used yet");
    assert!(host.begin(&ticket).await);
    assert!(!host.begin(&other).await, "used at the same time");
    assert!(host.stale(&call, approval).contains("it was used"));
    assert_eq!(host.state(approval), ApprovalState::Used);
}

/// 64 who use one approval at once, again and again: `FORESHORE_RACES` times.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_who_use_an_approval_at_once_one_begins() {
    let races = std::env::var("FORESHORE_RACES").ok().and_then(|text| text.parse().ok());
    let races: u32 = races.unwrap_or(20);
    for race in 0..races {
        let host = Arc::new(host(terms()));
        let call = Arc::new(call());
        let approval = host.asked(&call).await;
        let (began, voted) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let barrier = Arc::new(tokio::sync::Barrier::new(64));
        let tasks = (0..64_u128).map(|index| {
            let (host, call, barrier) = (host.clone(), call.clone(), barrier.clone());
            let (began, voted) = (began.clone(), voted.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                let yes = NewVote::of(Vote::Approve);
                if host.approvals.vote(approval, yes, &approver(100 + index)).await.is_ok() {
                    voted.fetch_add(1, Ordering::Relaxed);
                }
                // Whoever comes after the one yes finds it approved, or used.
                if let Ok(ticket) = host.approvals.show(&call, approval)
                    && host.begin(&ticket).await
                {
                    began.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        for task in tasks {
            task.await.expect("it ends");
        }
        let (began, voted) = (began.load(Ordering::Relaxed), voted.load(Ordering::Relaxed));
        assert_eq!((began, voted), (1, 1), "race {race}");
    }
}

#[tokio::test]
async fn only_those_whom_the_rule_names_decide_and_nobody_for_themselves() {
    let mut named = terms();
    named.approvers = vec![RoleName::parse("approver").expect("a name")];
    let host = host(named);
    let approval = host.asked(&call()).await;
    let denied = |by: Principal| {
        let approvals = host.approvals.clone();
        async move {
            match approvals.vote(approval, NewVote::of(Vote::Approve), &by).await {
                Err(ApprovalFault::NotPermitted { message, .. }) => message,
                other => panic!("{other:?}"),
            }
        }
    };
    assert!(denied(Principal::clone(&caller())).await.contains("approvals.decide"));
    let admin = Principal::clone(&somebody(7, BuiltIn::Admin));
    assert!(denied(admin).await.contains("the roles approver"));
    // The same key, with the role as well: it asked.
    let own = Principal { subject: caller().subject.clone(), ..Principal::clone(&approver(1)) };
    assert!(denied(own).await.contains("yourself"));
    let elsewhere = Principal {
        tenant: Tenant::parse("other").expect("a tenant"),
        ..Principal::clone(&approver(2))
    };
    let unseen = host.approvals.vote(approval, NewVote::of(Vote::Approve), &elsewhere).await;
    assert!(matches!(unseen, Err(ApprovalFault::NotFound { .. })), "{unseen:?}");
    let nobody = Principal { permissions: Permissions::NONE, ..Principal::clone(&approver(2)) };
    assert!(denied(nobody).await.contains("approvals.decide"));
    assert_eq!(host.state(approval), ApprovalState::Pending);
}

#[tokio::test]
async fn whoever_asks_decides_alone_where_the_rule_says_so() {
    let mut own = terms();
    own.own = true;
    let host = host(own);
    let mut call = call();
    call.principal = approver(2);
    let approval = host.asked(&call).await;
    let yes = NewVote::of(Vote::Approve);
    let entry = host.approvals.vote(approval, yes, &approver(2)).await.expect("theirs to decide");
    assert_eq!(entry.state, ApprovalState::Approved);
}

#[tokio::test]
async fn several_must_agree_and_one_no_is_enough() {
    let mut two = terms();
    two.quorum = 2.try_into().expect("not zero");
    let host = host(two);
    let call = call();
    let approval = host.asked(&call).await;
    let yes = || NewVote::of(Vote::Approve);
    for _ in 0..2 {
        let entry = host.approvals.vote(approval, yes(), &approver(2)).await.expect("said");
        assert_eq!(entry.state, ApprovalState::Pending, "one who says it twice is one");
    }
    let entry = host.approvals.vote(approval, yes(), &approver(3)).await.expect("said");
    assert_eq!(entry.state, ApprovalState::Approved);
    let ticket = host.approvals.show(&call, approval).expect("approved");
    assert!(host.begin(&ticket).await);

    let approval = host.asked(&call).await;
    host.approvals.vote(approval, yes(), &approver(2)).await.expect("said");
    let mut no = NewVote::of(Vote::Deny);
    no.reason = Some("too late".to_owned());
    host.approvals.vote(approval, no, &approver(3)).await.expect("said");
    match host.approvals.show(&call, approval) {
        Err(CallError::Refused { message }) => assert!(message.contains("too late"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn edited_arguments_are_another_binding_and_shown_as_edited() {
    let mut two = terms();
    two.quorum = 2.try_into().expect("not zero");
    let host = host(two);
    let asked = call();
    let approval = host.asked(&asked).await;
    let before = host.approvals.get(&Tenant::DEFAULT, approval).expect("there");
    host.approvals.vote(approval, NewVote::of(Vote::Approve), &approver(2)).await.expect("said");
    let arguments = json!({"text": "b", "path": "/safe"});
    let edit = NewVote { arguments: Some(arguments.clone()), ..NewVote::of(Vote::Approve) };
    let entry = host.approvals.vote(approval, edit, &approver(3)).await.expect("said");
    assert_eq!(entry.state, ApprovalState::Pending, "what was said before was of something else");
    assert_ne!(entry.binding(), before.binding());
    let seen = NewVote { binding: before.binding(), ..NewVote::of(Vote::Approve) };
    let changed = host.approvals.vote(approval, seen, &approver(2)).await;
    assert!(matches!(changed, Err(ApprovalFault::Changed { .. })), "{changed:?}");
    let seen = NewVote { binding: entry.binding(), ..NewVote::of(Vote::Approve) };
    let entry = host.approvals.vote(approval, seen, &approver(2)).await.expect("said");
    assert_eq!(entry.state, ApprovalState::Approved);
    assert!(host.stale(&asked, approval).contains("arguments"));
    let edited = Candidate { arguments, ..asked };
    let ticket = host.approvals.show(&edited, approval).expect("as it was edited");
    assert_eq!(ticket.arguments, r#"{"path":"/safe","text":"b"}"#);
    assert!(host.begin(&ticket).await);
}

#[tokio::test]
async fn always_is_for_calls_of_one_shape_until_it_is_revoked() {
    let mut pinned = terms();
    pinned.pinned = vec!["/path".to_owned()];
    let host = host(pinned);
    let asked = call();
    let approval = host.asked(&asked).await;
    let of_none = NewVote { scope: Scope::Conversation, ..NewVote::of(Vote::Approve) };
    let of_none = host.approvals.vote(approval, of_none, &approver(2)).await;
    assert!(matches!(of_none, Err(ApprovalFault::Invalid { pointer: "/scope", .. })));
    let always = NewVote { scope: Scope::Always, ..NewVote::of(Vote::Approve) };
    host.approvals.vote(approval, always, &approver(2)).await.expect("approved");
    assert_eq!(host.approvals.standing(&Tenant::DEFAULT).expect("readable").len(), 1);

    let weigh = |change: fn(&mut Candidate)| {
        let mut call = asked.clone();
        change(&mut call);
        host.approvals.weigh(&call).expect("readable")
    };
    let same = weigh(|call| call.arguments = json!({"path": "/a", "text": "else"}));
    let Weighed::Standing(ticket) = same else { panic!("{same:?}") };
    assert!(host.begin(&ticket).await && host.begin(&ticket).await, "it lasts");
    for (what, other) in [
        ("what is pinned", weigh(|call| call.arguments = json!({"path": "/b", "text": "b"}))),
        ("the names", weigh(|call| call.arguments = json!({"path": "/a"}))),
        ("the component", weigh(|call| call.digest = Digest::of(b"another"))),
        ("the tool", weigh(|call| call.tool = "move".into())),
        ("who asks", weigh(|call| call.principal = approver(9))),
    ] {
        assert!(matches!(other, Weighed::Asks(_)), "{what}: {other:?}");
    }

    host.approvals.revoke(approval, &approver(3)).await.expect("revoked");
    assert!(!host.begin(&ticket).await, "a call that had not begun does not");
    assert!(matches!(weigh(|_| {}), Weighed::Asks(_)));
    assert!(host.approvals.standing(&Tenant::DEFAULT).expect("readable").is_empty());
    let again = host.approvals.revoke(approval, &approver(3)).await;
    assert!(matches!(again, Err(ApprovalFault::Closed { .. })), "{again:?}");
}

#[tokio::test]
async fn what_nobody_decided_in_time_is_denied_and_what_nobody_used_in_time_is_stale() {
    let mut short = terms();
    short.ttl_ms = 300;
    let host = host(short);
    let stop = tokio_util::sync::CancellationToken::new();
    let keeper = tokio::spawn(host.approvals.clone().keep_time(stop.clone()));
    let approval = host.asked(&call()).await;
    let mut other = call();
    other.arguments = json!({});
    let unused = host.approved(&other).await;
    let decided = host.approvals.decided(&Tenant::DEFAULT, approval);
    let decided = tokio::time::timeout(std::time::Duration::from_secs(30), decided).await;
    assert_eq!(decided.expect("in time").expect("readable").state, ApprovalState::Expired);
    let late = host.approvals.vote(approval, NewVote::of(Vote::Approve), &approver(2)).await;
    assert!(matches!(late, Err(ApprovalFault::Closed { .. })), "{late:?}");
    match host.approvals.show(&call(), approval) {
        Err(CallError::Refused { message }) => assert!(message.contains("in time"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert!(host.stale(&other, unused).contains("its time is over"));
    stop.cancel();
    keeper.await.expect("it ends");
}

#[tokio::test]
async fn a_restart_in_between_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("journal.redb");
    let open = || Journal::open(&file, &JournalConfig::default()).expect("opens");
    let call = call();
    let first = on(open(), terms());
    let approval = first.asked(&call).await;
    first.journal.clone().close().await;
    drop(first);

    let second = on(open(), terms());
    assert_eq!(second.approvals.pending(&Tenant::DEFAULT).expect("readable").len(), 1);
    let yes = NewVote::of(Vote::Approve);
    second.approvals.vote(approval, yes, &approver(2)).await.expect("approved");
    second.journal.clone().close().await;
    drop(second);

    let third = on(open(), terms());
    let ticket = third.approvals.show(&call, approval).expect("it counts still");
    assert!(third.begin(&ticket).await);
    third.journal.clone().close().await;
    drop(third);
    let fourth = on(open(), terms());
    assert!(fourth.stale(&call, approval).contains("it was used"));
    fourth.journal.clone().close().await;
}

#[tokio::test]
async fn more_arguments_than_anybody_reads_are_not_asked_about() {
    let host = host(terms());
    let mut call = call();
    call.arguments = json!({"text": "x".repeat(64 << 10)});
    let weighed = host.approvals.weigh(&call).expect("readable");
    let Weighed::Asks(terms) = weighed else { panic!("{weighed:?}") };
    let refused = host.approvals.ask(&call, terms).await;
    assert!(matches!(refused, Err(CallError::InvalidArguments { .. })), "{refused:?}");
}
