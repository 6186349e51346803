//! `wasi:keyvalue`: one bucket for each component.
//!
//! Granted by `Grant::keyvalue`; linked only for components that have it. The bucket is a
//! namespace of memory that the door finds by the component's name; a guest cannot name it.
//! Text is kept as a JSON string, other bytes as `{"base64": ...}`. Deliberately absent:
//! `batch` and `watch`. The invariant: **an increment that was answered happened once.**

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foreshore_domain::effect::{
    EffectError, MemoryEntry, MemoryReadKind, MemoryRecord, MemoryRefusal, MemoryWriteKind,
    Recalled, Remembered, Space,
};
use foreshore_domain::memory::{Importance, JsonText, Key, Tags};
use serde_json::{Value, json};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};

use crate::bindings::wasi::keyvalue::{atomics, store};
use crate::limiter::size;
use crate::state::{CallScope, State};

/// The keys of one answer.
const PAGE: u32 = 1_000;
/// The pages of keys that one open bucket remembers the ends of.
const PAGES_MAX: usize = 1_000;
/// How often an increment is tried while others write the same key.
const TRIES_MAX: u32 = 100;

/// An open bucket.
#[derive(Default)]
#[allow(unreachable_pub, reason = "the generated bindings name it, and cannot name less")]
pub struct Bucket {
    /// The last key of each page that was given: a cursor is an index into them.
    page_ends: Vec<String>,
}

type Answer<T> = std::result::Result<T, store::Error>;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    store::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    atomics::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl CallScope {
    async fn value_of(&self, key: Key) -> Answer<Option<MemoryEntry>> {
        match self.recall(Space::Bucket, MemoryReadKind::Get { key }).await {
            Ok(Recalled::Entry(entry)) => Ok(entry),
            Ok(_) => Err(told(MemoryRefusal::Store.into())),
            Err(error) => Err(told(error)),
        }
    }

    async fn set_value(
        &self,
        key: Key,
        bytes: &[u8],
        expected_version: Option<u64>,
    ) -> std::result::Result<(), EffectError> {
        let value = JsonText::parse(encoded(bytes).to_string())
            .map_err(|error| MemoryRefusal::Invalid(error.to_string()))?;
        let record = MemoryRecord {
            key,
            value,
            tags: Tags::default(),
            importance: Importance::default(),
            ttl: None,
            expected_version,
        };
        self.remember(Space::Bucket, MemoryWriteKind::Put(record)).await.map(|_| ())
    }

    /// Adds to a number, unless another has written it in between.
    async fn try_increment(&self, key: &Key, delta: u64) -> Answer<Option<u64>> {
        let entry = self.value_of(key.clone()).await?;
        let version = entry.as_ref().map_or(0, |entry| entry.version);
        let number = entry.map_or(Ok(0), |entry| {
            let bytes = decoded(&entry.value)?;
            let text = std::str::from_utf8(&bytes).ok();
            text.and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| store::Error::Other(format!("\"{key}\" holds no number")))
        })?;
        let sum = number.checked_add(delta).ok_or_else(|| {
            store::Error::Other(format!(
                "\"{key}\" is {number}: {delta} more do not fit in 64 bits"
            ))
        })?;
        match self.set_value(key.clone(), sum.to_string().as_bytes(), Some(version)).await {
            Ok(()) => Ok(Some(sum)),
            Err(EffectError::Memory(MemoryRefusal::Conflict { .. })) => Ok(None),
            Err(error) => Err(told(error)),
        }
    }
}

impl store::Host for State {
    async fn open(&mut self, identifier: String) -> Result<Answer<Resource<Bucket>>> {
        self.scope.asks_memory(1, identifier.len()).await?;
        if !matches!(identifier.as_str(), "" | "default") {
            return Ok(Err(store::Error::NoSuchStore));
        }
        Ok(Ok(self.table.push(Bucket::default())?))
    }
}

impl store::HostBucket for State {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Answer<Option<Vec<u8>>>> {
        self.table.get(&bucket)?;
        self.scope.asks_memory(1, key.len()).await?;
        let key = match read_key(key) {
            Ok(key) => key,
            Err(error) => return Ok(Err(error)),
        };
        let entry = self.scope.value_of(key).await;
        Ok(entry.and_then(|entry| entry.map(|entry| decoded(&entry.value)).transpose()))
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Result<Answer<()>> {
        self.table.get(&bucket)?;
        self.scope.asks_memory(1, key.len() + value.len()).await?;
        Ok(match read_key(key) {
            Ok(key) => self.scope.set_value(key, &value, None).await.map_err(told),
            Err(error) => Err(error),
        })
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Answer<()>> {
        self.table.get(&bucket)?;
        self.scope.asks_memory(1, key.len()).await?;
        let key = match read_key(key) {
            Ok(key) => key,
            Err(error) => return Ok(Err(error)),
        };
        let deleted = self.scope.remember(Space::Bucket, MemoryWriteKind::Delete { key }).await;
        Ok(match deleted {
            Ok(Remembered::Deleted(_)) => Ok(()),
            Ok(_) => Err(told(MemoryRefusal::Store.into())),
            Err(error) => Err(told(error)),
        })
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Answer<bool>> {
        self.table.get(&bucket)?;
        self.scope.asks_memory(1, key.len()).await?;
        Ok(match read_key(key) {
            Ok(key) => self.scope.value_of(key).await.map(|entry| entry.is_some()),
            Err(error) => Err(error),
        })
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Result<Answer<store::KeyResponse>> {
        self.scope.asks_memory(1 + u64::from(PAGE), 0).await?;
        let ends = &self.table.get(&bucket)?.page_ends;
        let after = match cursor {
            None => None,
            Some(cursor) => match ends.get(size(cursor)) {
                Some(end) => Some(end.clone()),
                None => return Ok(Err(other("this bucket gave no such cursor"))),
            },
        };
        let limit = size(PAGE.into());
        let kind = MemoryReadKind::List { prefix: String::new(), after, limit };
        let keys = match self.scope.recall(Space::Bucket, kind).await {
            Ok(Recalled::Keys(keys)) => keys,
            Ok(_) => return Ok(Err(told(MemoryRefusal::Store.into()))),
            Err(error) => return Ok(Err(told(error))),
        };
        self.scope.copied(keys.iter().map(String::len).sum());
        let end = keys.last().filter(|_| keys.len() == limit).cloned();
        let cursor = match end {
            None => None,
            Some(end) => {
                let ends = &mut self.table.get_mut(&bucket)?.page_ends;
                let index = ends.iter().position(|known| *known == end).unwrap_or(ends.len());
                if index == PAGES_MAX {
                    return Ok(Err(other("open the bucket again to list more keys")));
                }
                if index == ends.len() {
                    ends.push(end);
                }
                u64::try_from(index).ok()
            }
        };
        Ok(Ok(store::KeyResponse { keys, cursor }))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for State {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Result<Answer<u64>> {
        self.table.get(&bucket)?;
        let length = key.len();
        let key = match read_key(key) {
            Ok(key) => key,
            Err(error) => return Ok(Err(error)),
        };
        for _ in 0..TRIES_MAX {
            self.scope.asks_memory(2, length).await?;
            match self.scope.try_increment(&key, delta).await {
                Ok(None) => {}
                Ok(Some(sum)) => return Ok(Ok(sum)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Err(other("others write the same key all the time; try again later")))
    }
}

fn read_key(key: String) -> Answer<Key> {
    Key::parse(key).map_err(|error| store::Error::Other(error.to_string()))
}

fn encoded(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({"base64": STANDARD.encode(bytes)}),
    }
}

/// What a person has put there in another form is given as the JSON that it is.
fn decoded(value: &str) -> Answer<Vec<u8>> {
    let parsed: Value = serde_json::from_str(value).map_err(|error| other(&error.to_string()))?;
    Ok(match &parsed {
        Value::String(text) => text.clone().into_bytes(),
        Value::Object(object) if object.len() == 1 => object
            .get("base64")
            .and_then(Value::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .unwrap_or_else(|| value.as_bytes().to_vec()),
        _ => value.as_bytes().to_vec(),
    })
}

fn other(message: &str) -> store::Error {
    store::Error::Other(message.to_owned())
}

fn told(error: EffectError) -> store::Error {
    match error {
        EffectError::Denied(_) => store::Error::AccessDenied,
        error => store::Error::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_went_and_text_is_kept_as_text() {
        for bytes in
            [&b""[..], b"plain", b"\0\n\"", &[0xff, 0x00, 0x80], "{\"base64\":1}".as_bytes()]
        {
            assert_eq!(decoded(&encoded(bytes).to_string()).ok().as_deref(), Some(bytes));
        }
        assert_eq!(encoded(b"plain"), json!("plain"));
        assert_eq!(decoded("{\"a\": 1}").ok().as_deref(), Some(&b"{\"a\": 1}"[..]));
    }
}
