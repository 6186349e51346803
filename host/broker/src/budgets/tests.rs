//! The ledger: what is reserved, what is spent, and that the sums hold whatever happens.

use foreshore_domain::effect::BudgetKind;
use proptest::prelude::*;

use super::*;

fn key(name: &str) -> BudgetKey {
    BudgetKey::new(BudgetScope::Agent, name)
}

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, ..Amount::default() }
}

fn limited(tokens: u64, window: Window) -> Budgets {
    let budgets = Budgets::default();
    let limit = BudgetLimit { tokens: Some(tokens), window, ..BudgetLimit::default() };
    budgets.set_limit(key("a"), limit);
    budgets
}

fn state(budgets: &Budgets) -> (u64, u64) {
    let state = budgets.state(&key("a"), 0).expect("it is there");
    (state.spent.tokens, state.reserved.tokens)
}

#[test]
fn what_is_reserved_cannot_be_reserved_again() {
    let budgets = limited(100, Window::Total);
    let first = budgets.reserve(&[key("a")], tokens(60), 0).expect("there is room");
    let error = budgets.reserve(&[key("a")], tokens(41), 0).expect_err("there is not");
    assert_eq!(
        error,
        BudgetExhausted {
            budget: "agent a".to_owned(),
            what: BudgetKind::Tokens,
            limit: 100,
            spent: 0,
            held: 60,
            needed: 41,
            resets_at_unix_ms: None,
            retry_after_ms: Some(1_000),
            setting: "budgets.agents.a.tokens".to_owned(),
        }
    );
    first.reconcile(tokens(10), 0);
    assert_eq!(state(&budgets), (10, 0));
    let second = budgets.reserve(&[key("a")], tokens(90), 0).expect("there is room again");
    drop(second);
    assert_eq!(state(&budgets), (10, 0), "what was not used is released");
}

#[test]
fn all_budgets_are_held_or_none() {
    let budgets = limited(100, Window::Total);
    let limit = BudgetLimit { cost_micros: Some(5), ..BudgetLimit::default() };
    budgets.set_limit(key("poor"), limit);
    let asked = Amount { tokens: 10, cost_micros: 6, wall_ms: 0 };
    let error = budgets.reserve(&[key("a"), key("poor")], asked, 0).expect_err("too dear");
    assert_eq!((error.budget.as_str(), error.what), ("agent poor", BudgetKind::Cost));
    assert_eq!((error.limit, error.spent, error.needed), (5, 0, 6));
    assert_eq!(error.retry_after_ms, None, "nothing will give it back");
    assert_eq!(state(&budgets), (0, 0));
}

#[test]
fn a_key_that_is_named_twice_is_held_once_and_one_without_a_limit_bounds_nothing() {
    let budgets = limited(100, Window::Total);
    let keys = [key("a"), key("a"), key("nobody")];
    let held = budgets.reserve(&keys, tokens(60), 0).expect("there is room");
    assert_eq!(state(&budgets), (0, 60));
    held.reconcile(tokens(70), 0);
    assert_eq!(state(&budgets), (70, 0));
    assert!(budgets.state(&key("nobody"), 0).is_none());
}

#[test]
fn a_day_forgets_what_the_day_before_spent() {
    let budgets = limited(100, Window::Day);
    let noon = DAY_MS / 2;
    budgets.reserve(&[key("a")], tokens(100), noon).expect("room").reconcile(tokens(100), noon);
    assert!(budgets.reserve(&[key("a")], tokens(1), DAY_MS - 1).is_err());
    let next = budgets.reserve(&[key("a")], tokens(50), DAY_MS).expect("a new day");
    let error = budgets.reserve(&[key("a")], tokens(51), noon);
    assert!(error.is_err(), "a clock that goes back gives nothing back");
    next.reconcile(tokens(50), DAY_MS);
}

#[test]
fn a_refusal_says_when_the_day_is_over() {
    let budgets = limited(100, Window::Day);
    let noon = DAY_MS / 2;
    budgets.reserve(&[key("a")], tokens(90), noon).expect("room").reconcile(tokens(95), noon);
    let error = budgets.reserve(&[key("a")], tokens(6), noon).expect_err("5 are left");
    assert_eq!((error.resets_at_unix_ms, error.retry_after_ms), (Some(DAY_MS), Some(noon)));
    assert_eq!((error.left(), error.setting.as_str()), (5, "budgets.agents.a.tokens_per_day"));
    budgets.check(&[key("a")], noon).expect("something is left");
    budgets.reserve(&[key("a")], tokens(5), noon).expect("room").reconcile(tokens(5), noon);
    assert!(budgets.check(&[key("a")], noon).is_err());
    budgets.check(&[key("a")], DAY_MS).expect("a new day");
}

#[test]
fn what_runs_over_midnight_is_spent_on_the_next_day() {
    let budgets = limited(100, Window::Day);
    let held = budgets.reserve(&[key("a")], tokens(80), DAY_MS - 1).expect("room");
    held.reconcile(tokens(70), DAY_MS + 1);
    let state = budgets.state(&key("a"), DAY_MS + 1).expect("there");
    assert_eq!((state.resets_at_unix_ms, state.spent.tokens), (Some(2 * DAY_MS), 70));
    let unrecorded = budgets.take_unrecorded();
    assert_eq!(unrecorded, [SpentOn { keys: vec![key("a")], day: 1, amount: tokens(70) }]);
}

#[test]
fn what_is_spent_is_handed_out_once_and_survives_a_restart_without_what_was_running() {
    let budgets = limited(100, Window::Day);
    for _ in 0..3 {
        budgets.reserve(&[key("a")], tokens(10), 0).expect("room").reconcile(tokens(10), 0);
    }
    let running = budgets.reserve(&[key("a")], tokens(50), 0).expect("room");
    let taken = budgets.take_unrecorded();
    assert_eq!(taken, [SpentOn { keys: vec![key("a")], day: 0, amount: tokens(30) }]);
    assert_eq!(budgets.take_unrecorded(), []);
    budgets.put_back(taken.clone());
    assert_eq!(budgets.take_unrecorded(), taken);
    drop(running);
    assert_eq!(budgets.take_unrecorded(), [], "nothing was spent");

    let restored = limited(100, Window::Day);
    for SpentOn { keys, day, amount } in taken {
        keys.iter().for_each(|key| restored.restore(key, day * DAY_MS, amount));
    }
    assert_eq!(state(&restored), (30, 0));
    assert!(restored.reserve(&[key("a")], tokens(71), 0).is_err());
    assert_eq!(restored.take_unrecorded(), [], "it is on record");
}

#[test]
fn each_of_a_scope_has_the_limit_of_the_scope_and_goes_when_its_day_is_over() {
    let budgets = Budgets::default();
    let of = |name: &str| BudgetKey::new(BudgetScope::Conversation, name);
    let limit = BudgetLimit { tokens: Some(100), window: Window::Day, ..BudgetLimit::default() };
    budgets.set_default(BudgetScope::Conversation, limit);
    budgets.reserve(&[of("a")], tokens(100), 0).expect("room").reconcile(tokens(100), 0);
    let error = budgets.reserve(&[of("a")], tokens(1), 0).expect_err("nothing is left");
    assert_eq!(error.setting, "budgets.conversation.tokens_per_day");
    budgets
        .reserve(&[of("b")], tokens(100), 0)
        .expect("another has its own")
        .reconcile(tokens(1), 0);
    let names = |at| -> Vec<String> {
        budgets.states(at).into_iter().map(|state| state.key.name).collect()
    };
    assert_eq!(names(0), ["a", "b"]);
    budgets.reserve(&[of("c")], tokens(1), DAY_MS).expect("room").reconcile(tokens(1), DAY_MS);
    assert_eq!(names(DAY_MS), ["c"]);
}

#[test]
fn a_request_makes_do_with_what_there_is() {
    let budgets = limited(100, Window::Total);
    let held = budgets.reserve_within(&[key("a")], tokens(10), 0, |room| {
        assert_eq!((room.tokens, room.cost_micros), (100, u64::MAX));
        tokens(500)
    });
    let held = held.expect("there is enough for the least");
    assert_eq!((held.held().tokens, state(&budgets)), (100, (0, 100)));
    assert!(budgets.reserve(&[key("a")], tokens(1), 0).is_err());
    drop(held);
    let least = budgets.reserve_within(&[key("a")], tokens(101), 0, |_| tokens(101));
    assert_eq!(least.expect_err("too little").needed, 101);
}

#[test]
fn nothing_left_is_nothing_left() {
    let budgets = limited(10, Window::Total);
    budgets.reserve(&[key("a")], tokens(10), 0).expect("room").reconcile(tokens(15), 0);
    assert!(budgets.reserve(&[key("a")], tokens(0), 0).is_err());
}

#[derive(Clone, Debug)]
enum Event {
    Reserve { keys: u8, estimate: u16 },
    Reconcile { which: usize, actual: u16 },
    Drop { which: usize },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1..8_u8, 0..400_u16).prop_map(|(keys, estimate)| Event::Reserve { keys, estimate }),
        3 => (any::<usize>(), 0..600_u16)
            .prop_map(|(which, actual)| Event::Reconcile { which, actual }),
        1 => any::<usize>().prop_map(|which| Event::Drop { which }),
    ]
}

const LIMITS: [u64; 3] = [500, 1_000, 2_000];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn sums_add_up_and_only_overruns_overspend(events in prop::collection::vec(event(), 1..60)) {
        let budgets = Budgets::default();
        let names = ["a", "b", "c"];
        for (name, limit) in names.iter().zip(LIMITS) {
            let limit = BudgetLimit { tokens: Some(limit), ..BudgetLimit::default() };
            budgets.set_limit(key(name), limit);
        }
        let mut running: Vec<(u8, u64, Reservation)> = Vec::new();
        let (mut spent, mut overrun) = ([0_u64; 3], [0_u64; 3]);
        let has = |keys: u8, at: usize| keys & (1 << at) != 0;
        for event in events {
            match event {
                Event::Reserve { keys, estimate } => {
                    let named: Vec<_> =
                        (0..3).filter(|at| has(keys, *at)).map(|at| key(names[at])).collect();
                    let held = budgets.reserve(&named, tokens(estimate.into()), 0);
                    let is_room = (0..3).filter(|at| has(keys, *at)).all(|at| {
                        let held: u64 = running.iter().filter(|(of, ..)| has(*of, at)).map(|(_, n, _)| n).sum();
                        let left = LIMITS[at].saturating_sub(spent[at] + held);
                        left > 0 && u64::from(estimate) <= left
                    });
                    prop_assert_eq!(held.is_ok(), is_room);
                    if let Ok(held) = held {
                        running.push((keys, estimate.into(), held));
                    }
                }
                Event::Reconcile { which, actual } if !running.is_empty() => {
                    let (keys, estimate, held) = running.remove(which % running.len());
                    held.reconcile(tokens(actual.into()), 0);
                    for at in (0..3).filter(|at| has(keys, *at)) {
                        spent[at] += u64::from(actual);
                        overrun[at] += u64::from(actual).saturating_sub(estimate);
                    }
                }
                Event::Drop { which } if !running.is_empty() => {
                    drop(running.remove(which % running.len()));
                }
                Event::Reconcile { .. } | Event::Drop { .. } => {}
            }
            for at in 0..3 {
                let state = budgets.state(&key(names[at]), 0).expect("it is there");
                let held: u64 = running.iter().filter(|(of, ..)| has(*of, at)).map(|(_, n, _)| n).sum();
                prop_assert_eq!(state.spent.tokens, spent[at]);
                prop_assert_eq!(state.reserved.tokens, held);
                prop_assert!(spent[at] + held <= LIMITS[at] + overrun[at]);
            }
        }
    }
}
