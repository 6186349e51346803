//! The index of words for other views: texts in a table of theirs, found as records are.
//!
//! A text stands under a name that starts with [`HIDDEN`], which no key of a record does: it is
//! found by what it says and by its tag, not by its name. It has no versions and leaves no
//! tombstone.

use foreshore_domain::memory::{Importance, JsonText, Origin, Tags, ValueRef};

use super::super::codec::{Readable, Rows};
use super::super::{EventRef, ViewError};
use super::record::Entry;
use super::search::{self, Hit, Query, Vectors};
use super::space::Space;
use super::write;

/// What starts a name that is not searched.
pub(in super::super) const HIDDEN: char = '\u{1}';
/// All texts of a tenant are ranked together.
const NAMESPACE: &str = "";

/// A text to be found.
pub(in super::super) struct Text<'a> {
    pub(in super::super) name: &'a str,
    pub(in super::super) text: &'a str,
    pub(in super::super) tag: &'a str,
}

/// Adds a text whose name is not taken.
pub(in super::super) fn add(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    text: &Text<'_>,
) -> Result<(), ViewError> {
    let json = serde_json::Value::from(text.text).to_string();
    let entry = Entry {
        value: ValueRef::Inline(JsonText::from_checked(json)),
        tags: Tags::parse([tag(text.tag)]).map_err(|error| ViewError::payload(event, &error))?,
        importance: Importance::default(),
        origin: Origin::Person,
        expires_at_unix_ms: None,
    };
    write::add(rows, event, (NAMESPACE, text.name), entry)
}

/// Takes a text away, if it is there.
pub(in super::super) fn remove(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    name: &str,
) -> Result<(), ViewError> {
    write::erase(rows, event, (NAMESPACE, name))
}

/// The texts that have any of the words, and the tag if one is given, best first.
pub(in super::super) fn find(
    rows: &impl Readable,
    tenant: &str,
    (text, tagged): (&str, Option<&str>),
    limit: usize,
    now_unix_ms: u64,
) -> Result<Vec<Hit>, ViewError> {
    let Some(space) = Space::load(rows, tenant, NAMESPACE)? else { return Ok(Vec::new()) };
    let tags: Vec<&str> = tagged.map(tag).into_iter().collect();
    let query = Query { text, tags: &tags, limit, ..Query::default() };
    Ok(search::search(rows, &space, &query, now_unix_ms, Vectors::default())?.hits)
}

/// As much of a name as a tag may have.
fn tag(name: &str) -> &str {
    &name[..name.floor_char_boundary(64)]
}
