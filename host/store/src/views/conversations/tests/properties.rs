//! Whatever happens to conversations: the views follow from the events, and each blob is needed
//! as often as what is there needs it.

use std::collections::BTreeMap;

use foreshore_domain::conversation::{
    BudgetScope, BudgetSpent, BudgetWindow, Decision, MessageText, QuestionAnswered, QuestionAsked,
    QuestionKind,
};
use foreshore_domain::id::QuestionId;
use proptest::prelude::*;

use super::*;
use crate::views::blob_references;

/// One thing that may happen. Conversations are named by a small number.
#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Fork(u8, u8, u64),
    Rename(u8, bool),
    Summarize(u8),
    Delete(u8),
    Queue(u8, bool),
    Start(prop::sample::Index),
    Wait(prop::sample::Index),
    Effect(prop::sample::Index),
    End(prop::sample::Index, bool),
    Set(u8, bool),
    Ask(u8),
    Answer(u8),
    Spend(u8, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = || any::<prop::sample::Index>();
    let c = || 0..4_u8;
    prop_oneof![
        3 => c().prop_map(Step::Create),
        3 => (c(), c(), 0..3_u64).prop_map(|(to, from, turn)| Step::Fork(to, from, turn)),
        1 => (c(), any::<bool>()).prop_map(|(c, archived)| Step::Rename(c, archived)),
        1 => c().prop_map(Step::Summarize),
        2 => c().prop_map(Step::Delete),
        6 => (c(), any::<bool>()).prop_map(|(c, large)| Step::Queue(c, large)),
        2 => index().prop_map(Step::Start),
        1 => index().prop_map(Step::Wait),
        4 => index().prop_map(Step::Effect),
        7 => (index(), any::<bool>()).prop_map(|(turn, large)| Step::End(turn, large)),
        4 => (c(), any::<bool>()).prop_map(|(c, large)| Step::Set(c, large)),
        1 => c().prop_map(Step::Ask),
        1 => c().prop_map(Step::Answer),
        1 => (0..2_u8, 0..200_u64).prop_map(|(key, at)| Step::Spend(key, at)),
    ]
}

/// The blobs that each conversation needs: by turn, once for each event that names them.
type Needed = BTreeMap<String, Vec<(u64, Vec<BlobDigest>)>>;

struct History {
    fixture: Fixture,
    needed: Needed,
    questions: BTreeMap<u8, QuestionId>,
    n: u64,
}

impl History {
    fn open(&self, index: &prop::sample::Index) -> Option<OpenTurn> {
        let open = self.fixture.journal.open_turns().expect("readable");
        (!open.is_empty()).then(|| index.get(&open).1.clone())
    }

    fn text(&mut self, large: bool) -> String {
        self.n += 1;
        // Few different ones, so that conversations share blobs.
        format!("{}text {}", if large { "#" } else { "" }, self.n % 5)
    }

    fn need(&mut self, conversation: &str, number: u64, payload: &Payload) {
        if let Some(digest) = payload.digest() {
            let needed = self.needed.entry(conversation.to_owned()).or_default();
            needed.push((number, vec![digest]));
        }
    }

    /// Does it, and says whether it was taken.
    async fn take(&mut self, step: &Step) -> bool {
        let of = |n: u8| format!("c{n}");
        match step {
            Step::Create(c) => {
                self.fixture.record(created(&of(*c), "assistant"), None).await.is_ok()
            }
            Step::Fork(to, from, through_turn) => {
                let reader = self.fixture.reader();
                let turns = reader.turns(&id(&of(*from)), TurnOrder::From(0), 100);
                let turns = turns.expect("readable");
                let taken =
                    self.fixture.record(fork(&of(*to), &of(*from), *through_turn), None).await;
                if taken.is_ok() {
                    for turn in turns.iter().filter(|turn| turn.number <= *through_turn) {
                        let mut digests: Vec<_> =
                            turn.payloads().filter_map(Payload::digest).collect();
                        digests.sort_unstable();
                        digests.dedup();
                        self.needed.entry(of(*to)).or_default().push((turn.number, digests));
                    }
                }
                taken.is_ok()
            }
            Step::Rename(c, archived) => {
                let title = Title::cut(&self.text(false));
                let (conversation, archived) = (id(&of(*c)), Some(*archived));
                let changed = ConversationChanged { conversation, title, archived };
                self.fixture.record(changed, None).await.is_ok()
            }
            Step::Summarize(c) => {
                let (conversation, text) = (id(&of(*c)), SummaryText::cut(&self.text(false)));
                let summarized = ConversationSummarized { conversation, text, through_turn: 1 };
                self.fixture.record(summarized, None).await.is_ok()
            }
            Step::Delete(c) => {
                let taken = self.fixture.record(deleted(&of(*c)), None).await.is_ok();
                if taken {
                    self.needed.remove(&of(*c));
                    assert_eq!(self.fixture.variable(&of(*c), "v"), None);
                }
                taken
            }
            Step::Queue(c, large) => {
                let entry = self.fixture.reader().get(&id(&of(*c))).expect("readable");
                let number = entry.map_or(0, |entry| entry.turns);
                let text = self.text(*large);
                let (queued, blob) = queued(TurnId::new(self.n), &of(*c), number, &text);
                let message = queued.message.clone();
                let taken = self.fixture.record(queued, blob).await.is_ok();
                if taken {
                    self.need(&of(*c), number, &message);
                }
                taken
            }
            Step::Start(index) => {
                let Some(open) = self.open(index) else { return false };
                self.fixture.record(started(open.turn), None).await.is_ok()
            }
            Step::Wait(index) => {
                let Some(open) = self.open(index) else { return false };
                let until = Until::Turn(open.turn);
                let waiting = TurnWaiting { turn: open.turn, number: 1, until };
                self.fixture.record(waiting, None).await.is_ok()
            }
            Step::Effect(index) => {
                let Some(open) = self.open(index) else { return false };
                let text = self.text(true);
                let digest = self.fixture.effect(open.turn, &text).await.expect("recorded");
                let needed = self.needed.entry(open.conversation.to_string()).or_default();
                needed.push((open.number, vec![digest]));
                true
            }
            Step::End(index, large) => {
                let Some(open) = self.open(index) else { return false };
                let (text, conversation) = (self.text(*large), open.conversation.to_string());
                let (ended, blob) = ended(open.turn, &conversation, open.number, &text);
                let reply = ended.reply.clone().expect("a reply");
                self.fixture.record(ended, blob).await.expect("recorded");
                self.need(&conversation, open.number, &reply);
                true
            }
            // Only small ones outside of conversations: control sets none there, and a fork that
            // takes the name would not know of them.
            Step::Set(c, large) => {
                let text = self.text(true);
                let is_there = self.fixture.reader().get(&id(&of(*c))).expect("readable").is_some();
                if *large && is_there {
                    self.fixture.set_large(&of(*c), "v", &text).await;
                } else {
                    self.fixture.set(&of(*c), "v", self.n).await;
                }
                true
            }
            Step::Ask(q) => {
                let question = QuestionId::new(self.n);
                let asked = QuestionAsked {
                    question,
                    turn: TurnId::new(1),
                    conversation: id("c0"),
                    number: 0,
                    kind: QuestionKind::Ask { schema: JsonText::parse("{}").expect("JSON") },
                    message: MessageText::cut("?"),
                    expires_at_unix_ms: 1_000 - self.n,
                };
                self.questions.insert(*q, question);
                self.fixture.record(asked, None).await.is_ok()
            }
            Step::Answer(q) => {
                let question = self.questions.get(q).copied().unwrap_or(QuestionId::new(1));
                let (decision, by) = (Decision::Declined, name("ann"));
                let answered = QuestionAnswered { question, decision, by };
                self.fixture.record(answered, None).await.is_ok()
            }
            Step::Spend(key, at) => {
                let window = BudgetWindow::at(*at, 1).expect("a window");
                let scopes = vec![BudgetScope { key: name(&format!("k{key}")), window }];
                let spent = BudgetSpent { scopes, tokens: 1, cost_micros: 2, wall_ms: 3 };
                self.fixture.record(spent, None).await.is_ok()
            }
        }
    }

    fn counts(&self) -> BTreeMap<[u8; 32], u64> {
        let mut counts = BTreeMap::new();
        for digest in self.needed.values().flatten().flat_map(|(_, digests)| digests) {
            *counts.entry(*digest.as_bytes()).or_default() += 1;
        }
        for digest in (0..4_u8).flat_map(|c| self.fixture.blobs_of(&format!("c{c}"), "v")) {
            *counts.entry(*digest.as_bytes()).or_default() += 1;
        }
        counts
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn blobs_are_counted_and_views_made_again_as_they_were_whatever_happens(
        steps in proptest::collection::vec(step(), 1..70),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (needed, questions) = (Needed::new(), BTreeMap::new());
            let mut history = History { fixture: Fixture::new(), needed, questions, n: 0 };
            for step in &steps {
                let taken = history.take(step).await;
                let journal = &history.fixture.journal;
                let read = journal.db().expect("open").begin_read().expect("readable");
                let counts = blob_references::all(&read).expect("readable");
                assert_eq!(counts, history.counts(), "{step:?} taken: {taken}");
                let stored = crate::blobs::check(&read).expect("blobs hold");
                assert!(stored.iter().eq(counts.keys()), "{step:?}");
            }
            let journal = &history.fixture.journal;
            let live = crate::tests::views::dump(journal);
            journal.rebuild(|_| {}).await.expect("rebuilt");
            assert_eq!(crate::tests::views::dump(journal), live);
            journal.check().await.expect("passes its check");
        });
    }
}
