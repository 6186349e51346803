//! Records, hits and relations of memory.

use foreshore_control::memory::{BackfillState, MeaningStatus};
use foreshore_control::store::memory::{FoundBy, Hit, Method, Related, Usage, Version};
use foreshore_domain::memory::{JsonText, Relation, ValueRef};
use serde_json::value::RawValue;

/// A record to be written.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = MemoryPut)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemoryPutSchema {
    /// Any JSON, as large as a body may be; over 48 KiB, search reads the start of it.
    #[schema(value_type = Object)]
    pub(crate) value: Box<RawValue>,
    /// At most 16, of at most 64 bytes.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// From 0, worth little, to 1; weighs in searches.
    #[serde(default)]
    pub(crate) importance: f32,
    /// Forgotten after so many seconds.
    #[serde(default)]
    pub(crate) ttl_s: Option<u64>,
    /// The version that must stand there now; 0 for none. Left out, it writes over any.
    #[serde(default)]
    pub(crate) expected_version: Option<u64>,
    /// Its place in a model's space, for search by meaning.
    #[serde(default)]
    pub(crate) embedding: Option<EmbeddingSchema>,
}

/// A text's place in the space of a model that embeds texts.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = Embedding)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingSchema {
    /// Which model.
    pub(crate) model: String,
    /// 1 to 4,096 finite numbers.
    pub(crate) vector: Vec<f32>,
}

/// Where a write went.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = MemoryWritten)]
pub(crate) struct MemoryWrittenSchema {
    /// The version, which is on disk.
    pub(crate) version: u64,
}

/// One version of a record.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = MemoryRecord)]
pub(crate) struct MemoryRecordSchema<'a> {
    key: &'a str,
    /// From 1; goes on over deletions.
    version: u64,
    /// `written`, `deleted` or `expired`.
    state: &'static str,
    /// The value, if it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    value: Option<&'a RawValue>,
    /// In a list, the size of a value over 48 KiB, which is left out: read that version alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<&'a str>,
    importance: f32,
    /// Milliseconds since 1970.
    written_at: u64,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    /// Where its text came from: `person`, `agent:NAME`, `tool:NAME`, `url:HOST`.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

impl<'a> MemoryRecordSchema<'a> {
    pub(crate) fn new(key: &'a str, version: &'a Version) -> Self {
        use foreshore_control::store::memory::State;
        let mut record = Self {
            key,
            version: version.version,
            state: "expired",
            value: None,
            value_bytes: None,
            tags: Vec::new(),
            importance: 0.0,
            written_at: version.written_at_unix_ms,
            expires_at: None,
            origin: None,
        };
        match &version.state {
            State::Written(entry) => {
                record.state = "written";
                match &entry.value {
                    // It was parsed when it was written.
                    ValueRef::Inline(json) => {
                        record.value = serde_json::from_str(json.as_str()).ok();
                    }
                    ValueRef::Blob(blob) => record.value_bytes = Some(blob.size_bytes),
                }
                record.tags = entry.tags.as_slice().iter().map(|tag| tag.as_str()).collect();
                record.importance = entry.importance.get();
                record.expires_at = entry.expires_at_unix_ms;
                record.origin = Some(entry.origin.to_string());
            }
            State::Deleted { origin } => {
                record.state = "deleted";
                record.origin = Some(origin.to_string());
            }
            State::Expired => {}
        }
        record
    }

    /// Whether its value is left out for its size.
    pub(crate) fn is_abridged(&self) -> bool {
        self.value_bytes.is_some()
    }

    /// The same with the value that was left out.
    pub(crate) fn with_value(self, value: &'a JsonText) -> Self {
        let value = serde_json::from_str(value.as_str()).ok();
        Self { value, value_bytes: None, ..self }
    }
}

/// The versions of a record, newest first.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = MemoryVersions)]
pub(crate) struct MemoryVersionsSchema<'a> {
    pub(crate) versions: Vec<MemoryRecordSchema<'a>>,
}

/// A page of keys, in order.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = MemoryKeys)]
pub(crate) struct MemoryKeysSchema {
    pub(crate) keys: Vec<String>,
    /// What to ask for the next page with; left out at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// The namespaces there are.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = MemoryNamespaces)]
pub(crate) struct MemoryNamespacesSchema {
    pub(crate) namespaces: Vec<MemoryNamespaceSchema>,
    /// How far the records are embedded; absent where no model embeds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) embedding: Option<MemoryEmbeddingSchema>,
}

/// How far the records of all namespaces are embedded, for search by meaning.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = MemoryEmbedding)]
pub(crate) struct MemoryEmbeddingSchema {
    /// The model.
    model: String,
    /// How many numbers a vector has; 0 before the first.
    dimension: u32,
    /// Records that search goes over.
    records: u64,
    /// Those of them that are done: they have a vector, or no text, or were refused.
    done: u64,
    /// Those whose text the model refused.
    refused: u64,
    /// `working`, `waiting`, `up-to-date`, or `off` where no server does it.
    state: &'static str,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Records a second, when it last worked.
    per_second: f64,
}

impl From<MeaningStatus> for MemoryEmbeddingSchema {
    fn from(status: MeaningStatus) -> Self {
        let MeaningStatus { model, kept, state, per_second } = status;
        let (state, reason) = match state {
            BackfillState::Off => ("off", None),
            BackfillState::Working => ("working", None),
            BackfillState::Waiting { reason } => ("waiting", Some(reason)),
            BackfillState::UpToDate => ("up-to-date", None),
        };
        Self {
            model: model.as_str().to_owned(),
            dimension: kept.columns,
            records: kept.records,
            done: kept.done,
            refused: kept.refused,
            state,
            reason,
            per_second,
        }
    }
}

/// A namespace and what it amounts to.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = MemoryNamespace)]
pub(crate) struct MemoryNamespaceSchema {
    name: String,
    /// Records that are there.
    records: u64,
    /// Their keys, values and tags.
    bytes: u64,
    /// Versions that are kept.
    versions: u64,
    relations: u64,
}

impl From<(String, Usage)> for MemoryNamespaceSchema {
    fn from((name, usage): (String, Usage)) -> Self {
        Self {
            name,
            records: usage.entries,
            bytes: usage.bytes,
            versions: usage.versions,
            relations: usage.relations,
        }
    }
}

/// What to look for.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = MemoryQuery)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemoryQuerySchema {
    /// Words, any of which a hit has; what they mean finds records too, where a model embeds
    /// memory.
    #[serde(default)]
    pub(crate) query: String,
    /// At most so many hits: 1 to 100; 10 if left out.
    #[serde(default)]
    pub(crate) limit: Option<usize>,
    /// A hit has all of them.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// A hit was written then or later, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) since: Option<u64>,
    /// What the query means to a model that you asked; records with a vector of the same model
    /// are found by it. Left out, the model that embeds memory is asked.
    #[serde(default)]
    pub(crate) embedding: Option<EmbeddingSchema>,
}

/// What was found.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = MemoryFound)]
pub(crate) struct MemoryFoundSchema<'a> {
    /// `lexical` (words alone) or `hybrid` (words and vectors, fused by rank).
    pub(crate) method: &'static str,
    /// Why it was not searched by meaning, where it would have been: the model that embeds
    /// memory did not answer, or has not come to these records yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) degraded: Option<String>,
    /// Best first.
    pub(crate) hits: Vec<MemoryHitSchema<'a>>,
}

/// A record that was found.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = MemoryHit)]
pub(crate) struct MemoryHitSchema<'a> {
    /// Higher is better; comparable within one answer only.
    score: f32,
    /// `words`, `meaning` or `both`.
    found_by: &'static str,
    snippet: SnippetSchema<'a>,
    #[serde(flatten)]
    record: MemoryRecordSchema<'a>,
}

/// The part of a record that matches.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Snippet)]
pub(crate) struct SnippetSchema<'a> {
    text: &'a str,
    /// The matched words: from and to, in bytes of `text`.
    matches: Vec<[usize; 2]>,
}

impl<'a> From<&'a Hit> for MemoryHitSchema<'a> {
    fn from(hit: &'a Hit) -> Self {
        let matches = hit.snippet.matches.iter().map(|range| [range.start, range.end]).collect();
        Self {
            score: hit.score,
            found_by: match hit.found_by {
                FoundBy::Words => "words",
                FoundBy::Meaning => "meaning",
                FoundBy::Both => "both",
            },
            snippet: SnippetSchema { text: &hit.snippet.text, matches },
            record: MemoryRecordSchema::new(&hit.key, &hit.version),
        }
    }
}

pub(crate) fn method(method: Method) -> &'static str {
    match method {
        Method::Lexical => "lexical",
        Method::Hybrid => "hybrid",
    }
}

/// A directed, labelled edge between two keys.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = Relation)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelationSchema {
    pub(crate) subject: String,
    pub(crate) predicate: String,
    pub(crate) object: String,
}

impl From<&Relation> for RelationSchema {
    fn from(relation: &Relation) -> Self {
        Self {
            subject: relation.subject.as_str().to_owned(),
            predicate: relation.predicate.as_str().to_owned(),
            object: relation.object.as_str().to_owned(),
        }
    }
}

/// A relation, and who said so.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Related)]
pub(crate) struct RelatedSchema {
    #[serde(flatten)]
    relation: RelationSchema,
    /// Milliseconds since 1970.
    related_at: u64,
    /// `person`, `agent:NAME`, `tool:NAME`, `url:HOST`.
    origin: String,
}

impl From<&Related> for RelatedSchema {
    fn from(related: &Related) -> Self {
        Self {
            relation: (&related.relation).into(),
            related_at: related.related_at_unix_ms,
            origin: related.origin.to_string(),
        }
    }
}

/// Whether the graph changed.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = RelationChanged)]
pub(crate) struct RelationChangedSchema {
    /// `false` if it already was so.
    pub(crate) changed: bool,
}

/// Relations of a key, in either direction.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Relations)]
pub(crate) struct RelationsSchema {
    pub(crate) relations: Vec<RelatedSchema>,
}

/// The shortest paths between two keys.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Paths)]
pub(crate) struct PathsSchema {
    /// At most 10, of at most 4 relations each.
    pub(crate) paths: Vec<Vec<RelationSchema>>,
    /// Whether everything within reach was read.
    pub(crate) complete: bool,
}
