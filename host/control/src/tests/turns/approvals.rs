//! Calls of turns that a rule asks people about: waiting, a yes, a no, other arguments, restarts,
//! and a crash at every moment.

use foreshore_domain::approval::{ApprovalState, Scope, Terms, Vote};
use foreshore_domain::conversation::{TurnEnd, Until};
use foreshore_domain::event::Tenant;
use foreshore_domain::id::ApprovalId;
use foreshore_domain::identity::Principal;
use foreshore_store::conversations::TurnState;

use super::world::until;
use super::*;
use crate::approvals::NewVote;

fn terms() -> Terms {
    Terms::usual("a test")
}

/// An agent that calls `t.add`, so many times.
fn adding(world: &World, times: usize) {
    world.asks_for("add", terms());
    world.agent(
        "agent",
        script(move |agent| async move {
            let mut said = Vec::new();
            for _ in 0..times {
                said.push(match agent.call(&["t.add"]).await {
                    Ok(results) => format!("{results:?}"),
                    Err(stopped) => return Err(stopped),
                });
            }
            text(said.join(" then "))
        }),
    );
}

/// What waits, once so much does.
async fn pending(host: &Host, count: usize) -> Vec<ApprovalId> {
    let ids = || -> Vec<ApprovalId> {
        let pending = host.approvals.pending(&Tenant::DEFAULT).expect("readable");
        pending.iter().map(|entry| entry.requested.approval).collect()
    };
    until("what waits", || ids().len() == count).await;
    ids()
}

async fn vote(host: &Host, approval: ApprovalId, vote: NewVote) {
    host.approvals.vote(approval, vote, &Principal::host()).await.expect("said");
}

#[tokio::test]
async fn a_call_waits_without_running_over_a_restart_and_is_made_once() {
    let world = World::new();
    adding(&world, 1);
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let [approval] = pending(&host, 1).await[..] else { panic!("one waits") };
    until("it is put aside", || host.turns.load().running == 0).await;
    host.stop().await;

    let host = Host::start(&world, "host");
    assert_eq!(pending(&host, 1).await, [approval]);
    let entry = host.conversations.turn(turn).expect("readable").expect("there");
    assert_eq!(entry.state, TurnState::Waiting(Until::Approval(approval)));
    assert_eq!(world.done("add"), 0);
    vote(&host, approval, NewVote::of(Vote::Approve)).await;
    host.reply(turn).await;
    assert_eq!(world.done("add"), 1);
    let entry = host.approvals.get(&Tenant::DEFAULT, approval).expect("there");
    assert_eq!(entry.state, ApprovalState::Used);
    host.stop().await;
}

#[tokio::test]
async fn a_no_holds_for_the_turn_and_the_same_call_is_not_asked_about_again() {
    let world = World::new();
    adding(&world, 2);
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let [approval] = pending(&host, 1).await[..] else { panic!("one waits") };
    let no = NewVote { reason: Some("not today".to_owned()), ..NewVote::of(Vote::Deny) };
    vote(&host, approval, no).await;
    let reply = host.reply(turn).await;
    assert_eq!(reply.matches("not today").count(), 2, "{reply}");
    assert_eq!(world.done("add"), 0);
    assert_eq!(host.approvals.newest(&Tenant::DEFAULT).expect("readable").len(), 1);
    // The next turn may ask anew.
    let turn = host.say("agent", "again").await.turn;
    pending(&host, 1).await;
    host.turns.cancel(turn, "a person").await.expect("cancelled");
    assert_eq!(host.end(turn).await.end, TurnEnd::Cancelled);
    pending(&host, 0).await;
    host.stop().await;
}

#[tokio::test]
async fn calls_of_one_effect_wait_for_the_last_of_their_decisions() {
    let world = World::new();
    world.asks_for("add", terms());
    world.agent(
        "agent",
        script(async |agent| {
            let results = agent.call(&["t.add", "t.set", "t.add"]).await?;
            text(format!("{results:?}"))
        }),
    );
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let both = pending(&host, 2).await;
    vote(&host, both[0], NewVote::of(Vote::Deny)).await;
    pending(&host, 1).await;
    assert_eq!((world.done("add"), world.done("set")), (0, 0), "none runs before all are decided");
    vote(&host, both[1], NewVote::of(Vote::Approve)).await;
    host.reply(turn).await;
    assert_eq!((world.done("add"), world.done("set")), (1, 1));
    host.stop().await;
}

#[tokio::test]
async fn what_is_approved_for_a_conversation_ends_with_it() {
    let world = World::new();
    adding(&world, 2);
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await;
    let [approval] = pending(&host, 1).await[..] else { panic!("one waits") };
    let yes = NewVote { scope: Scope::Conversation, ..NewVote::of(Vote::Approve) };
    vote(&host, approval, yes).await;
    host.reply(turn.turn).await;
    let more = host.say_in(&turn.conversation, "more").await.turn;
    host.reply(more).await;
    assert_eq!(world.done("add"), 4, "asked once for all of them");
    let elsewhere = host.say("agent", "elsewhere").await.turn;
    pending(&host, 1).await;
    host.turns.cancel(elsewhere, "a person").await.expect("cancelled");
    host.stop().await;
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

#[test]
fn a_crash_at_any_moment_between_decision_and_end_runs_the_call_at_most_once() {
    let world = World::new();
    adding(&world, 1);
    let (turn, approval) = runtime().block_on(async {
        let host = Host::start(&world, "origin");
        let turn = host.say("agent", "go").await.turn;
        let [approval] = pending(&host, 1).await[..] else { panic!("one waits") };
        until("it is put aside", || host.turns.load().running == 0).await;
        host.stop().await;
        (turn, approval)
    });
    let (mut moments, mut unknown, mut fine) = (0, 0, 0);
    loop {
        let (first, second) = (format!("first-{moments}"), format!("second-{moments}"));
        world::copy(&world.path("origin"), &world.path(&first));
        let before = world.done("add");
        let cut = runtime();
        let crashed = cut.block_on(async {
            let host = Host::start(&world, &first);
            world.crash_after(moments);
            let mut crashes = world.crashes();
            vote(&host, approval, NewVote::of(Vote::Approve)).await;
            let crashed = tokio::select! {
                crashed = crashes.wait_for(|crashed| *crashed) => crashed.is_ok(),
                _ = host.end(turn) => false,
            };
            if crashed {
                world::copy(&world.path(&first), &world.path(&second));
            }
            crashed
        });
        // Every task is dropped where it is.
        cut.shutdown_timeout(std::time::Duration::from_secs(10));
        world.go_on();
        if !crashed {
            break;
        }
        runtime().block_on(async {
            let host = Host::start(&world, &second);
            let reply = host.reply(turn).await;
            let done = world.done("add") - before;
            assert!(done <= 1, "moment {moments}: it ran {done} times");
            if reply.contains("UnknownOutcome") {
                unknown += 1;
            } else {
                assert_eq!(done, 1, "moment {moments}: {reply}");
                fine += 1;
            }
            let entry = host.approvals.get(&Tenant::DEFAULT, approval).expect("there");
            assert_eq!(entry.state, ApprovalState::Used, "moment {moments}");
            host.stop().await;
        });
        moments += 1;
    }
    assert!(unknown > 0 && fine > 0, "of {moments} moments {unknown} left a doubt");
}
