//! Limits of each scope, days that end, and what a restart keeps.

use foreshore_broker::budgets::Reservation;
use foreshore_store::JournalConfig;

use super::*;

/// A day of its own: noon of the 20,000th.
const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, ..Amount::default() }
}

fn daily(tokens: u64) -> DailyLimit {
    DailyLimit { tokens: Some(tokens), ..DailyLimit::default() }
}

fn journal() -> Journal {
    Journal::in_memory(&JournalConfig::default()).expect("a journal")
}

fn open(config: &BudgetsConfig, journal: &Journal, at: u64) -> Budgets {
    Budgets::open(Ledger::default(), config, journal.clone(), at).expect("readable")
}

fn conversation(id: &str) -> Conversation {
    Conversation::parse(id).expect("an id")
}

fn reserve(
    budgets: &Budgets,
    agent: &str,
    of: &str,
    amount: u64,
    at: u64,
) -> Result<Reservation, BudgetExhausted> {
    let keys = keys(&Tenant::DEFAULT, agent, Some(&conversation(of)));
    budgets.ledger.reserve(&keys, tokens(amount), at)
}

fn spend(budgets: &Budgets, agent: &str, of: &str, amount: u64, at: u64) {
    let held = reserve(budgets, agent, of, amount, at).expect("there is enough");
    held.reconcile(tokens(amount), at);
}

fn spent(budgets: &Budgets, at: u64) -> Vec<(String, u64)> {
    let states = budgets.ledger.states(at).into_iter();
    states.map(|state| (state.key.name, state.spent.tokens)).collect()
}

#[tokio::test]
async fn each_scope_has_its_own_limit() {
    let config = BudgetsConfig {
        tenant: daily(100),
        agents: [("careful".to_owned(), daily(50))].into(),
        conversation: daily(30),
    };
    let budgets = open(&config, &journal(), NOON);
    let refused = |agent, of, amount| {
        let error = reserve(&budgets, agent, of, amount, NOON).expect_err("there is too little");
        (error.budget, error.setting, error.resets_at_unix_ms)
    };
    let midnight = Some(20_001 * DAY_MS);
    spend(&budgets, "careful", "one", 25, NOON);
    let (whose, setting) =
        ("conversation one".to_owned(), "budgets.conversation.tokens_per_day".to_owned());
    assert_eq!(refused("careful", "one", 10), (whose, setting, midnight));
    spend(&budgets, "careful", "two", 25, NOON);
    let (whose, setting) =
        ("agent careful".to_owned(), "budgets.agents.careful.tokens_per_day".to_owned());
    assert_eq!(refused("careful", "three", 1), (whose, setting, midnight));
    spend(&budgets, "other", "four", 30, NOON);
    let (whose, setting) =
        ("tenant default".to_owned(), "budgets.tenant.tokens_per_day".to_owned());
    assert_eq!(refused("other", "five", 21), (whose, setting, midnight));
    spend(&budgets, "other", "five", 20, NOON);
}

#[tokio::test]
async fn a_restart_gives_nobody_a_fresh_budget_and_midnight_everybody() {
    let journal = journal();
    let config =
        BudgetsConfig { tenant: daily(100), conversation: daily(60), ..BudgetsConfig::default() };
    let first = open(&config, &journal, NOON);
    spend(&first, "a", "one", 40, NOON);
    spend(&first, "b", "two", 20, NOON);
    first.record().await.expect("recorded");
    // What is on record already is not recorded again, and what is not is lost.
    first.record().await.expect("nothing to record");
    spend(&first, "a", "one", 10, NOON);

    let second = open(&config, &journal, NOON + 1_000);
    let names = |at| spent(&second, at);
    let of = |name: &str, tokens| (name.to_owned(), tokens);
    let kept = [of("default", 60), of("a", 40), of("b", 20), of("one", 40), of("two", 20)];
    assert_eq!(names(NOON), kept);
    let error = reserve(&second, "a", "one", 21, NOON).expect_err("twenty are left");
    assert_eq!((error.spent, error.limit), (40, 60));
    spend(&second, "a", "one", 20, NOON);
    second.record().await.expect("recorded");

    let midnight = 20_001 * DAY_MS;
    spend(&second, "a", "one", 60, midnight);
    second.record().await.expect("recorded");
    let third = open(&config, &journal, midnight);
    assert_eq!(spent(&third, midnight), [of("default", 60), of("a", 60), of("one", 60)]);
    // Somebody set the clock back by a day: nothing is given back.
    let fourth = open(&config, &journal, NOON);
    assert!(reserve(&fourth, "a", "one", 1, NOON).is_err());
}

#[tokio::test]
async fn what_cannot_be_recorded_is_recorded_later() {
    let journal = journal();
    let budgets = open(&BudgetsConfig::default(), &journal, NOON);
    spend(&budgets, "a", "one", 40, NOON);
    let elsewhere = Budgets { journal: self::journal(), ..budgets.clone() };
    elsewhere.journal.clone().close().await;
    elsewhere.record().await.expect_err("it is closed");
    budgets.record().await.expect("recorded");
    let again = open(&BudgetsConfig::default(), &journal, NOON);
    let of = |name: &str, tokens| (name.to_owned(), tokens);
    assert_eq!(
        spent(&again, NOON),
        [of("default", 40), of("a", 40)],
        "no conversation has a limit"
    );
}
