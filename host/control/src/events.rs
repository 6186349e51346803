//! Reading the journal for people: by number, time, stream, kind, component and code.
//!
//! Events are read from the journal itself, each held to its hashes, so a filter costs the
//! reading of what it leaves out: one question looks at a bounded number of events and says how
//! far it came.

use foreshore_domain::event::Tenant;
use foreshore_store::{Event, Journal, ReadError};
use serde::Deserialize;

/// The most events that one question looks at.
const LOOKED_AT_MAX: usize = 50_000;
/// How many are read at once.
const CHUNK: usize = 1_000;

/// Which events are wanted; a default filter wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Whose.
    pub tenant: Tenant,
    /// One stream, or with a `*` at its end every stream that starts so.
    pub stream: Option<String>,
    /// Any of these kinds; with a `*` at its end every kind that starts so. None means all.
    pub kinds: Vec<String>,
    /// Of this time or later, in milliseconds since 1970.
    pub since_unix_ms: Option<u64>,
    /// Before this time.
    pub until_unix_ms: Option<u64>,
    /// About this component: `name` or `name@version`.
    pub component: Option<String>,
    /// With this code or outcome.
    pub code: Option<String>,
    /// By this principal, as records name it: a key's id, `ISSUER:SUBJECT`.
    pub principal: Option<String>,
}

/// Events that were wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub events: Vec<Event>,
    /// The last event that was looked at.
    pub next_after: u64,
    /// Whether every event there is was looked at.
    pub at_end: bool,
}

/// The parts of payloads that filters go by.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    #[serde(borrow)]
    component: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    code: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    outcome: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    principal: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    by: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    asked_by: Option<NamedAsker<'a>>,
}

/// On whose behalf a turn was taken.
#[derive(Deserialize)]
struct NamedAsker<'a> {
    #[serde(borrow)]
    subject: std::borrow::Cow<'a, str>,
}

impl EventFilter {
    /// Whether an event is wanted.
    fn takes(&self, event: &Event) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| is(kind, &event.kind));
        kind && self.stream.as_deref().is_none_or(|stream| is(stream, &event.stream))
            && self.since_unix_ms.is_none_or(|since| event.at_unix_ms >= since)
            && self.until_unix_ms.is_none_or(|until| event.at_unix_ms < until)
            && self.names(event)
    }

    fn names(&self, event: &Event) -> bool {
        if self.component.is_none() && self.code.is_none() && self.principal.is_none() {
            return true;
        }
        let named: Named<'_> = serde_json::from_slice(&event.payload).unwrap_or_default();
        let of_stream = event.stream.strip_prefix("component/");
        let component = named.component.as_deref().or(of_stream);
        let component_is = |wanted: &String| {
            component.is_some_and(|component| {
                component == wanted
                    || component.split_once('@').is_some_and(|(name, _)| name == wanted)
            })
        };
        let code_is = |wanted: &String| {
            [&named.code, &named.outcome].into_iter().flatten().any(|code| code == wanted)
        };
        let asker = named.asked_by.as_ref().map(|asker| &asker.subject);
        let by_whom = [named.principal.as_ref(), named.by.as_ref(), asker];
        let principal_is = |wanted: &String| by_whom.into_iter().flatten().any(|by| by == wanted);
        self.component.as_ref().is_none_or(component_is)
            && self.code.as_ref().is_none_or(code_is)
            && self.principal.as_ref().is_none_or(principal_is)
    }
}

/// `memory.*` is everything that starts with `memory.`.
fn is(wanted: &str, text: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => wanted == text,
    }
}

/// At most `max` events after number `after` that the filter wants.
pub(crate) fn read(
    journal: &Journal,
    tenant: &Tenant,
    after: u64,
    filter: &EventFilter,
    max: usize,
) -> Result<Page, ReadError> {
    let mut next = match filter.since_unix_ms {
        Some(since) => first_since(journal, after + 1, since)?,
        None => after.saturating_add(1),
    };
    let mut page = Page { next_after: next - 1, ..Page::default() };
    let mut looked_at = 0;
    while looked_at < LOOKED_AT_MAX {
        let events = journal.read(next, CHUNK)?;
        if events.is_empty() {
            page.at_end = true;
            return Ok(page);
        }
        for event in events {
            looked_at += 1;
            next = event.seq + 1;
            page.next_after = event.seq;
            if event.tenant == tenant.as_str() && filter.takes(&event) {
                page.events.push(event);
                if page.events.len() >= max {
                    page.at_end = journal.tip().seq < next;
                    return Ok(page);
                }
            }
        }
    }
    Ok(page)
}

/// The first event from number `from` on that is not surely before a time. Times follow the
/// numbers but for what was handed over late: a minute is left for that.
fn first_since(journal: &Journal, from: u64, since_unix_ms: u64) -> Result<u64, ReadError> {
    const LATE_MS: u64 = 60_000;
    let (mut low, mut high) = (from, journal.tip().seq + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match journal.read(middle, 1)?.first() {
            Some(event) if event.at_unix_ms.saturating_add(LATE_MS) < since_unix_ms => {
                low = middle + 1;
            }
            _ => high = middle,
        }
    }
    Ok(low.max(from))
}

#[cfg(test)]
mod tests {
    use foreshore_domain::event::{EventKind, NewEvent, Stream};
    use foreshore_store::JournalConfig;

    use super::*;

    async fn journal() -> Journal {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("starts");
        for n in 1..=300_u64 {
            let (stream, kind, payload) = match n % 3 {
                0 => (Stream::Host, EventKind::HostStarted, "{}".to_owned()),
                1 => (
                    Stream::Component("files".to_owned()),
                    EventKind::ComponentLoaded,
                    r#"{"version":"1.0.0"}"#.to_owned(),
                ),
                _ => (
                    Stream::Call(foreshore_domain::id::CallId::new(n)),
                    EventKind::CallCompleted,
                    format!(r#"{{"component":"fetch@1.{n}.0","outcome":"fuel_exhausted"}}"#),
                ),
            };
            let event = NewEvent {
                at_unix_ms: n * 10_000,
                tenant: Tenant::DEFAULT,
                stream,
                kind,
                payload: payload.into_bytes(),
            };
            journal.append(event).await.expect("recorded");
        }
        journal
    }

    fn seqs(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.seq).collect()
    }

    #[tokio::test]
    async fn each_filter_lets_through_what_it_says_and_pages_follow_one_another() {
        let journal = journal().await;
        let read = |after, filter: &EventFilter, max| {
            super::read(&journal, &Tenant::DEFAULT, after, filter, max).expect("readable")
        };
        let all = EventFilter::default();
        let page = read(0, &all, 1_000);
        assert_eq!((page.events.len(), page.next_after, page.at_end), (300, 300, true));
        let first = read(0, &all, 7);
        assert_eq!((seqs(&first), first.at_end), ((1..=7).collect(), false));
        assert_eq!(seqs(&read(first.next_after, &all, 2)), [8, 9]);

        let kinds = EventFilter { kinds: vec!["component.*".to_owned()], ..all.clone() };
        assert!(read(0, &kinds, 1_000).events.iter().all(|e| e.kind == "component.loaded"));
        assert_eq!(read(0, &kinds, 1_000).events.len(), 100);
        let stream = EventFilter { stream: Some("component/files".to_owned()), ..all.clone() };
        assert_eq!(read(0, &stream, 1_000).events.len(), 100);
        let component = EventFilter { component: Some("fetch".to_owned()), ..all.clone() };
        assert_eq!(read(0, &component, 1_000).events.len(), 100);
        let component = EventFilter { component: Some("fetch@1.2.0".to_owned()), ..all.clone() };
        assert_eq!(seqs(&read(0, &component, 1_000)), [2]);
        let component = EventFilter { component: Some("files".to_owned()), ..all.clone() };
        assert_eq!(read(0, &component, 1_000).events.len(), 100);
        let code = EventFilter { code: Some("fuel_exhausted".to_owned()), ..all.clone() };
        assert_eq!(read(0, &code, 1_000).events.len(), 100);
        let none = EventFilter { code: Some("fuel".to_owned()), ..all.clone() };
        assert_eq!((read(0, &none, 10).events.len(), read(0, &none, 10).at_end), (0, true));

        let time = EventFilter {
            since_unix_ms: Some(1_000_000),
            until_unix_ms: Some(1_050_000),
            ..all.clone()
        };
        assert_eq!(seqs(&read(0, &time, 1_000)), [100, 101, 102, 103, 104]);
        let other = Tenant::parse("other").expect("a tenant");
        let page = super::read(&journal, &other, 0, &all, 10).expect("readable");
        assert_eq!((page.events.len(), page.at_end), (0, true));
    }
}
