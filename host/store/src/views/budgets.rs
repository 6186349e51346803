//! What was spent, by budget and window.
//!
//! ```text
//! b tenant key length starts_at -> tokens:u64 | cost_micros:u64 | wall_ms:u64
//! ```
//!
//! The last [`WINDOWS_KEPT`] windows of each length are kept; the journal has them all.
//! Deliberately absent: limits, which are the operator's, and reservations, which are nobody's
//! once the host is down.

use foreshore_domain::conversation::{BudgetScope, BudgetSpent, kind};
use redb::ReadableTable as _;

use super::codec::{self, Definition, Fields, ReadRows, after, put_part};
use super::{EventRef, Receipt, ViewError, payload, storage};

/// How many windows of a budget can be read; older ones go.
pub const WINDOWS_KEPT: usize = 62;

const TABLE: Definition = Definition::new("budgets_v1");
const MALFORMED: ViewError = ViewError::Malformed { what: "budgets" };

/// What was spent in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// In and out.
    pub tokens: u64,
    /// In millionths of the operator's currency.
    pub cost_micros: u64,
    /// Time spent waiting for models, in milliseconds.
    pub wall_ms: u64,
}

/// What was spent of a budget in one of its windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentIn {
    /// Which budget.
    pub key: String,
    /// How long the window is.
    pub length_ms: u64,
    /// Its first millisecond, since 1970.
    pub starts_at_unix_ms: u64,
    /// How much.
    pub spent: Spent,
}

/// Follows `budget.spent`.
pub(crate) fn apply(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
) -> Result<Receipt, ViewError> {
    if event.kind != kind::SPENT {
        return Err(ViewError::Kind { seq: event.seq, kind: event.kind.to_owned() });
    }
    let new: BudgetSpent = payload(event)?;
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    for scope in &new.scopes {
        let (windows, key) = keys(event.tenant, scope);
        let spent = match rows.get(&*key).map_err(storage)? {
            Some(row) => decode(row.value())?,
            None => Spent::default(),
        };
        let row = encode(Spent {
            tokens: spent.tokens.saturating_add(new.tokens),
            cost_micros: spent.cost_micros.saturating_add(new.cost_micros),
            wall_ms: spent.wall_ms.saturating_add(new.wall_ms),
        });
        let is_new = rows.insert(&*key, &*row).map_err(storage)?.is_none();
        if is_new {
            let range = rows.range::<&[u8]>(&*windows..&*after(&windows)).map_err(storage)?;
            let kept: Result<Vec<_>, _> =
                range.map(|row| row.map(|(key, _)| key.value().to_vec())).collect();
            let kept = kept.map_err(storage)?;
            for old in kept.iter().take(kept.len().saturating_sub(WINDOWS_KEPT)) {
                rows.remove(&**old).map_err(storage)?;
            }
        }
    }
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

/// Reads one tenant's budgets as they stood at one moment. Every function can fail with
/// [`ViewError::Storage`] and [`ViewError::Malformed`].
pub struct BudgetsReader {
    rows: Option<ReadRows>,
    tenant: String,
}

impl BudgetsReader {
    /// The budgets of a tenant.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn open(transaction: &redb::ReadTransaction, tenant: &str) -> Result<Self, ViewError> {
        Ok(Self { rows: codec::open(transaction, TABLE)?, tenant: tenant.to_owned() })
    }

    /// What was spent of a budget in a window.
    ///
    /// # Errors
    /// See [`BudgetsReader`].
    pub fn spent(&self, scope: &BudgetScope) -> Result<Spent, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Spent::default()) };
        let row = rows.get(&*keys(&self.tenant, scope).1).map_err(storage)?;
        row.map_or(Ok(Spent::default()), |row| decode(row.value()))
    }

    /// All budgets with all windows that are kept; those of one budget by length and time.
    ///
    /// # Errors
    /// See [`BudgetsReader`].
    pub fn all(&self) -> Result<Vec<SpentIn>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let start = tenant_key(&self.tenant);
        let range = rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)?;
        range
            .map(|row| {
                let (key, row) = row.map_err(storage)?;
                let mut fields = Fields(key.value().get(start.len()..).ok_or(MALFORMED)?);
                let key = fields.text().ok_or(MALFORMED)?.to_owned();
                let (length, starts) = fields.0.split_first_chunk::<8>().ok_or(MALFORMED)?;
                let starts: [u8; 8] = starts.try_into().map_err(|_| MALFORMED)?;
                Ok(SpentIn {
                    key,
                    length_ms: u64::from_be_bytes(*length),
                    starts_at_unix_ms: u64::from_be_bytes(starts),
                    spent: decode(row.value())?,
                })
            })
            .collect()
    }
}

fn decode(row: &[u8]) -> Result<Spent, ViewError> {
    let mut fields = Fields(row);
    let mut next = || fields.u64().ok_or(MALFORMED);
    Ok(Spent { tokens: next()?, cost_micros: next()?, wall_ms: next()? })
}

fn encode(spent: Spent) -> Vec<u8> {
    let Spent { tokens, cost_micros, wall_ms } = spent;
    [tokens, cost_micros, wall_ms].iter().flat_map(|field| field.to_le_bytes()).collect()
}

fn tenant_key(tenant: &str) -> Vec<u8> {
    let mut key = vec![b'b'];
    put_part(&mut key, tenant.as_bytes());
    key
}

/// Where the windows of a budget are, and where this one is.
fn keys(tenant: &str, scope: &BudgetScope) -> (Vec<u8>, Vec<u8>) {
    let mut windows = tenant_key(tenant);
    put_part(&mut windows, scope.key.as_str().as_bytes());
    windows.extend_from_slice(&scope.window.length_ms().to_be_bytes());
    let key = [&windows[..], &scope.window.starts_at_unix_ms().to_be_bytes()].concat();
    (windows, key)
}

#[cfg(test)]
mod tests {
    use foreshore_domain::conversation::{BudgetWindow, Fact, Name};
    use foreshore_domain::event::Tenant;

    use crate::facts::JournalConfig;
    use crate::journal::Journal;

    use super::*;

    fn scope(key: &str, at_unix_ms: u64, length_ms: u64) -> BudgetScope {
        let window = BudgetWindow::at(at_unix_ms, length_ms).expect("a window");
        BudgetScope { key: Name::parse(key).expect("a name"), window }
    }

    #[tokio::test]
    async fn what_is_spent_counts_in_each_scope_and_old_windows_go() {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
        let windows = codec::wide(WINDOWS_KEPT) + 3;
        for n in 0..windows {
            for _ in 0..2 {
                let scopes = vec![scope("host", n * 10 + 4, 10), scope("agent:a", n, 1_000)];
                let spent = BudgetSpent { scopes, tokens: 3, cost_micros: 5, wall_ms: 7 };
                journal.append(spent.event(1, Tenant::DEFAULT)).await.expect("recorded");
            }
        }
        let reader = journal.budgets(&Tenant::DEFAULT).expect("readable");
        let spent = |scope| reader.spent(&scope).expect("readable");
        assert_eq!(spent(scope("host", 2, 10)), Spent::default(), "too long ago");
        let twice = Spent { tokens: 6, cost_micros: 10, wall_ms: 14 };
        assert_eq!(spent(scope("host", windows * 10 - 1, 10)), twice);
        let all = Spent { tokens: 6 * windows, cost_micros: 10 * windows, wall_ms: 14 * windows };
        assert_eq!(spent(scope("agent:a", 0, 1_000)), all);
        let kept = reader.all().expect("readable");
        assert_eq!(kept.len(), WINDOWS_KEPT + 1);
        let oldest =
            SpentIn { key: "host".to_owned(), length_ms: 10, starts_at_unix_ms: 30, spent: twice };
        assert_eq!(kept[0], oldest);
        assert_eq!((kept[WINDOWS_KEPT].key.as_str(), kept[WINDOWS_KEPT].spent), ("agent:a", all));
        let other = Tenant::parse("other").expect("a tenant");
        let theirs = journal.budgets(&other).expect("readable");
        assert_eq!(theirs.all().expect("readable"), []);
    }
}
