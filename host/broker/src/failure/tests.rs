//! What counts against a breaker, and what is tried again: all of it in one table.

use super::*;

fn of(status: u16, said: &str) -> Failure {
    Failure::of_status(StatusCode::from_u16(status).expect("a status"), said, None)
}

#[test]
fn callers_faults_overload_and_slowness_never_count() {
    let slow = |what, hangs| Failure::TimedOut { what, limit_ms: 1, hangs };
    let table = [
        (of(400, "bad request"), Verdict::Healthy, Next::Tell),
        (of(404, "model 'x' not found"), Verdict::Healthy, Next::Elsewhere),
        (of(400, "exceeds the context length"), Verdict::Healthy, Next::Tell),
        (of(503, "server busy"), Verdict::Unknown, Next::Again),
        (of(429, "slow down"), Verdict::Unknown, Next::Again),
        (of(500, "crashed"), Verdict::Broken, Next::Again),
        (of(502, ""), Verdict::Broken, Next::Again),
        (of(401, "no"), Verdict::Broken, Next::Elsewhere),
        (of(403, ""), Verdict::Broken, Next::Elsewhere),
        (slow(TimedOut::Load, false), Verdict::Unknown, Next::Elsewhere),
        (slow(TimedOut::FirstToken, false), Verdict::Unknown, Next::Elsewhere),
        (slow(TimedOut::FirstToken, true), Verdict::Broken, Next::Elsewhere),
        (slow(TimedOut::Queue, false), Verdict::Unknown, Next::Elsewhere),
        (slow(TimedOut::Gap, false), Verdict::Broken, Next::Tell),
        (Failure::Open { retry_in_ms: 1 }, Verdict::Unknown, Next::Elsewhere),
        (Failure::ConnectTimedOut { limit_ms: 1 }, Verdict::Broken, Next::Elsewhere),
        (Failure::Connection { message: String::new() }, Verdict::Broken, Next::Again),
        (Failure::Remote { host: String::new() }, Verdict::Unknown, Next::Elsewhere),
    ];
    for (failure, verdict, next) in table {
        assert_eq!((failure.verdict(), failure.next()), (verdict, next), "{failure:?}");
    }
}

#[test]
fn a_server_that_says_nothing_is_described_by_its_status() {
    let Failure::Denied { message } = of(403, "") else { panic!("403 is a denial") };
    assert!(message.starts_with("it answered 403"), "{message}");
}

#[test]
fn long_words_of_a_server_are_cut_at_a_character() {
    let text = "ä".repeat(2_000);
    assert_eq!(excerpt(&text).chars().count(), MESSAGE_MAX_CHARS + 1);
}
