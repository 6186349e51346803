//! Questions to people: those that are open, by when they expire, and those that were answered.
//!
//! ```text
//! q tenant question              -> QuestionEntry, as JSON
//! x expires_at q tenant question -> nothing: it is open
//! ```
//!
//! Deliberately absent: what an answer does, and clocks: a question is open until an event
//! says that it is not.

use foreshore_domain::conversation::{Decision, Name, QuestionAnswered, QuestionAsked, kind};
use foreshore_domain::id::QuestionId;
use serde::{Deserialize, Serialize};

use super::codec::{self, Definition, ReadRows, Readable, after, put_part};
use super::{EventRef, Receipt, ViewError, payload, storage};

const TABLE: Definition = Definition::new("questions_v1");
const MALFORMED: ViewError = ViewError::Malformed { what: "questions" };

/// A question, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionEntry {
    /// Whose.
    pub tenant: String,
    /// What was asked.
    pub asked: QuestionAsked,
    /// When, in milliseconds since 1970.
    pub asked_at_unix_ms: u64,
    /// What became of it; `None` while it is open.
    pub answer: Option<AnswerEntry>,
}

/// How a question was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerEntry {
    /// What was decided.
    pub decision: Decision,
    /// By whom.
    pub by: Name,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// Follows `question.asked` and `question.answered`. A question is asked once, and answered
/// once.
pub(crate) fn apply(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
) -> Result<Receipt, ViewError> {
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let refused = |message: &str| Err(ViewError::payload(event, &message));
    let entry = match event.kind {
        kind::ASKED => {
            let asked: QuestionAsked = payload(event)?;
            if read(&rows, event.tenant, asked.question)?.is_some() {
                return refused("it was asked before");
            }
            let open = open_key(event.tenant, &asked);
            rows.insert(&*open, &[][..]).map_err(storage)?;
            let (tenant, asked_at_unix_ms) = (event.tenant.to_owned(), event.at_unix_ms);
            QuestionEntry { tenant, asked, asked_at_unix_ms, answer: None }
        }
        kind::ANSWERED => {
            let answered: QuestionAnswered = payload(event)?;
            let Some(mut entry) = read(&rows, event.tenant, answered.question)? else {
                return refused("there is no such question");
            };
            if entry.answer.is_some() {
                return refused("it was answered before");
            }
            rows.remove(&*open_key(event.tenant, &entry.asked)).map_err(storage)?;
            let QuestionAnswered { decision, by, .. } = answered;
            entry.answer = Some(AnswerEntry { decision, by, at_unix_ms: event.at_unix_ms });
            entry
        }
        _ => return Err(ViewError::Kind { seq: event.seq, kind: event.kind.to_owned() }),
    };
    let row = serde_json::to_vec(&entry).map_err(|_| MALFORMED)?;
    rows.insert(&*key(event.tenant, entry.asked.question), &*row).map_err(storage)?;
    Ok(Receipt::NONE)
}

/// Takes every row away.
pub(crate) fn clear(transaction: &redb::WriteTransaction) -> Result<(), ViewError> {
    transaction.delete_table(TABLE).map(drop).map_err(storage)
}

/// Every row, in order.
pub(crate) fn dump(transaction: &redb::ReadTransaction) -> Result<Vec<u8>, ViewError> {
    codec::dump(transaction, TABLE, None)
}

/// Reads questions as they stood at one moment. Every function can fail with
/// [`ViewError::Storage`] and [`ViewError::Malformed`].
pub struct QuestionsReader {
    rows: Option<ReadRows>,
}

impl QuestionsReader {
    /// The questions of all tenants.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn open(transaction: &redb::ReadTransaction) -> Result<Self, ViewError> {
        Ok(Self { rows: codec::open(transaction, TABLE)? })
    }

    /// A question of a tenant.
    ///
    /// # Errors
    /// See [`QuestionsReader`].
    pub fn get(
        &self,
        tenant: &str,
        question: QuestionId,
    ) -> Result<Option<QuestionEntry>, ViewError> {
        self.rows.as_ref().map_or(Ok(None), |rows| read(rows, tenant, question))
    }

    /// At most `limit` questions of a tenant, the newest first, answered ones too.
    ///
    /// # Errors
    /// See [`QuestionsReader`].
    pub fn newest(&self, tenant: &str, limit: usize) -> Result<Vec<QuestionEntry>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let start = tenant_key(tenant);
        let range = rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)?;
        range.rev().take(limit).map(|row| parse(row.map_err(storage)?.1.value())).collect()
    }

    /// At most `limit` open questions of all tenants, those first that expire first.
    ///
    /// # Errors
    /// See [`QuestionsReader`].
    pub fn open_by_expiry(&self, limit: usize) -> Result<Vec<QuestionEntry>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let range = rows.range::<&[u8]>(&b"x"[..]..&b"y"[..]).map_err(storage)?;
        range
            .take(limit)
            .map(|row| {
                let row = row.map_err(storage)?;
                // The letter and the time come before what names the question's own row.
                let named = row.0.value().get(9..).ok_or(MALFORMED)?;
                let entry = rows.get(named).map_err(storage)?.ok_or(MALFORMED)?;
                parse(entry.value())
            })
            .collect()
    }
}

fn read(
    rows: &impl Readable,
    tenant: &str,
    question: QuestionId,
) -> Result<Option<QuestionEntry>, ViewError> {
    let row = rows.get(&*key(tenant, question)).map_err(storage)?;
    row.map(|row| parse(row.value())).transpose()
}

fn parse(row: &[u8]) -> Result<QuestionEntry, ViewError> {
    serde_json::from_slice(row).map_err(|_| MALFORMED)
}

fn tenant_key(tenant: &str) -> Vec<u8> {
    let mut key = vec![b'q'];
    put_part(&mut key, tenant.as_bytes());
    key
}

fn key(tenant: &str, question: QuestionId) -> Vec<u8> {
    let mut key = tenant_key(tenant);
    key.extend_from_slice(question.to_string().as_bytes());
    key
}

fn open_key(tenant: &str, asked: &QuestionAsked) -> Vec<u8> {
    let expires_at = asked.expires_at_unix_ms.to_be_bytes();
    [b"x", &expires_at[..], &key(tenant, asked.question)].concat()
}

#[cfg(test)]
mod tests {
    use foreshore_domain::conversation::{Conversation, Fact, MessageText, QuestionKind};
    use foreshore_domain::event::Tenant;
    use foreshore_domain::id::TurnId;
    use foreshore_domain::memory::JsonText;

    use crate::facts::JournalConfig;
    use crate::journal::Journal;

    use super::*;

    fn asked(question: QuestionId, expires_at_unix_ms: u64) -> QuestionAsked {
        QuestionAsked {
            question,
            turn: TurnId::new(1),
            conversation: Conversation::parse("c").expect("a conversation"),
            number: 2,
            kind: QuestionKind::Approve { details: JsonText::parse("{}").expect("JSON") },
            message: MessageText::cut("may it?"),
            expires_at_unix_ms,
        }
    }

    #[tokio::test]
    async fn a_question_is_open_until_it_is_answered_once_and_is_kept() {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
        let other = Tenant::parse("other").expect("a tenant");
        let [late, soon, theirs] = [1, 2, 3].map(QuestionId::new);
        for (question, expires_at, tenant) in [
            (late, 900, Tenant::DEFAULT),
            (soon, 300, Tenant::DEFAULT),
            (theirs, 500, other.clone()),
        ] {
            let event = asked(question, expires_at).event(5, tenant);
            journal.append(event).await.expect("recorded");
        }
        let open = || -> Vec<QuestionId> {
            let reader = journal.questions().expect("readable");
            let open = reader.open_by_expiry(9).expect("readable");
            open.iter().map(|entry| entry.asked.question).collect()
        };
        assert_eq!(open(), [soon, theirs, late]);
        let (decision, by) = (Decision::Approved, Name::parse("ann").expect("a name"));
        let answer = QuestionAnswered { question: soon, decision, by };
        let answer = |tenant| answer.clone().event(7, tenant);
        // Nobody answers another tenant's questions.
        assert!(journal.append(answer(other.clone())).await.is_err());
        journal.append(answer(Tenant::DEFAULT)).await.expect("recorded");
        assert_eq!(open(), [theirs, late]);
        assert!(journal.append(answer(Tenant::DEFAULT)).await.is_err(), "it was answered before");
        assert!(journal.append(asked(soon, 9).event(8, Tenant::DEFAULT)).await.is_err());
        let reader = journal.questions().expect("readable");
        let entry = reader.get("default", soon).expect("readable").expect("there");
        assert_eq!(entry.answer.map(|a| (a.decision, a.at_unix_ms)), Some((Decision::Approved, 7)));
        assert_eq!(reader.get("other", soon).expect("readable"), None);
        let newest = reader.newest("default", 9).expect("readable");
        assert_eq!(newest.len(), 2, "answered ones too, and no other tenant's");
    }
}
