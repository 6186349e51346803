//! The bytes of a frame: what one commit wrote, under the number of its first event.
//!
//! ```text
//! frame   = format:u8 | count:u32 | previous_hash:32 | events | tip_hash:32
//! event   = length:u32 | body            (integers are little-endian)
//! body    = at_unix_ms:u64 | tenant | stream | kind | payload     (each length:u32 | bytes)
//! hash(n) = BLAKE3-derive("foreshore journal event 1", hash(n-1) | seq:u64 | body)
//! ```
//!
//! Each part of a body carries its length, so no two events share canonical bytes. A frame
//! stores the chain's value before and after it and not between: the rest is computed by
//! whoever reads, so **no event is ever given out whose frame does not verify.**

use std::ops::Range;

use foreshore_domain::event::NewEvent;

use crate::error::CorruptError;
use crate::facts::Tip;
use crate::views::EventRef;

/// A value of the chain.
pub type Hash = [u8; 32];

/// What the chain starts from.
pub(crate) const GENESIS: Hash = [0; 32];

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + 4 + 32;
const CONTEXT: &str = "foreshore journal event 1";

/// A recorded fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the journal, from 1, without gaps.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Whose.
    pub tenant: String,
    /// One aggregate: `call/<id>`.
    pub stream: String,
    /// What happened: `call.completed`.
    pub kind: String,
    /// JSON.
    pub payload: Vec<u8>,
    /// The chain before this event.
    pub previous_hash: Hash,
    /// The chain with this event.
    pub hash: Hash,
}

/// Writes one frame.
pub(crate) struct FrameWriter {
    bytes: Vec<u8>,
    count: u32,
    next_seq: u64,
    hash: Hash,
    chain: Chain,
}

impl FrameWriter {
    /// A frame that starts with event `first_seq`, after the chain's value `previous`.
    pub(crate) fn new(first_seq: u64, previous: Hash) -> Self {
        let mut bytes = Vec::with_capacity(4 << 10);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&previous);
        Self { bytes, count: 0, next_seq: first_seq, hash: previous, chain: Chain::new() }
    }

    /// Adds an event and says which number it got, and where its body is.
    pub(crate) fn push(&mut self, event: &NewEvent) -> (u64, Range<usize>) {
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let body_at = self.bytes.len();
        self.bytes.extend_from_slice(&event.at_unix_ms.to_le_bytes());
        put(&mut self.bytes, event.tenant.as_str().as_bytes());
        put_display(&mut self.bytes, &event.stream);
        put(&mut self.bytes, event.kind.as_str().as_bytes());
        put(&mut self.bytes, &event.payload);
        let length = length(self.bytes.len() - body_at);
        self.bytes[length_at..body_at].copy_from_slice(&length);

        let seq = self.next_seq;
        self.hash = self.chain.next(&self.hash, seq, &self.bytes[body_at..]);
        self.next_seq += 1;
        self.count += 1;
        (seq, body_at..self.bytes.len())
    }

    /// An event that was added, where it lies.
    pub(crate) fn event(&self, seq: u64, body: Range<usize>) -> EventRef<'_> {
        parse_body(seq, &self.bytes[body]).expect("invariant: this frame wrote that body")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number that the next event gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The number of the event added last.
    pub(crate) fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// The frame's bytes and the chain's value after it.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Hash) {
        self.bytes[1..5].copy_from_slice(&self.count.to_le_bytes());
        self.bytes.extend_from_slice(&self.hash);
        (self.bytes, self.hash)
    }
}

/// A frame whose bytes verify, where they lie: nothing of it is copied.
pub(crate) struct FrameRef<'a> {
    first_seq: u64,
    last_seq: u64,
    pub(crate) previous_hash: Hash,
    pub(crate) tip_hash: Hash,
    bodies: &'a [u8],
}

impl<'a> FrameRef<'a> {
    /// Reads the frame that starts with event `first_seq`, and holds it to its own hashes.
    ///
    /// # Errors
    /// [`CorruptError::Malformed`], [`CorruptError::Changed`].
    pub(crate) fn parse(first_seq: u64, bytes: &'a [u8]) -> Result<Self, CorruptError> {
        Self::parse_with(first_seq, bytes, |_, _, _| {})
    }

    /// As [`Self::parse`], and shows each event with the chain before and after it. What was
    /// shown is void if this fails.
    fn parse_with(
        first_seq: u64,
        bytes: &'a [u8],
        mut show: impl FnMut(&EventRef<'a>, Hash, Hash),
    ) -> Result<Self, CorruptError> {
        let malformed = |message| CorruptError::Malformed { seq: first_seq, message };
        let (header, rest) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(malformed("it is cut short"))?;
        let (bodies, tip_hash) =
            rest.split_last_chunk::<32>().ok_or(malformed("it is cut short"))?;
        if header[0] != FORMAT {
            return Err(malformed("its format is not known"));
        }
        let mut header = Reader(&header[1..]);
        let count = header.u32().ok_or(malformed("it is cut short"))?;
        let previous_hash: Hash = *header.0.first_chunk().ok_or(malformed("it is cut short"))?;

        let mut reader = Reader(bodies);
        let mut chain = Chain::new();
        let mut hash = previous_hash;
        let end = first_seq.checked_add(u64::from(count)).ok_or(malformed("it never ends"))?;
        for seq in first_seq..end {
            let body = reader.part().ok_or(malformed("an event is cut short"))?;
            let next = chain.next(&hash, seq, body);
            let event =
                parse_body(seq, body).ok_or(malformed("an event is not of the form it has"))?;
            show(&event, hash, next);
            hash = next;
        }
        if !reader.0.is_empty() || count == 0 {
            return Err(malformed("its count is not that of its events"));
        }
        if hash != *tip_hash {
            return Err(CorruptError::Changed { seq: first_seq });
        }
        Ok(Self { first_seq, last_seq: end - 1, previous_hash, tip_hash: hash, bodies })
    }

    /// Its last event and the chain's value there.
    pub(crate) fn tip(&self) -> Tip {
        Tip { seq: self.last_seq, hash: self.tip_hash }
    }

    /// Its events.
    pub(crate) fn events(&self) -> impl Iterator<Item = EventRef<'a>> {
        let mut reader = Reader(self.bodies);
        (self.first_seq..=self.last_seq).map_while(move |seq| parse_body(seq, reader.part()?))
    }

    /// The bodies of its events, each with its number and the chain's value after it.
    pub(crate) fn links(&self) -> impl Iterator<Item = (u64, &'a [u8], Hash)> {
        let mut reader = Reader(self.bodies);
        let mut chain = Chain::new();
        let mut hash = self.previous_hash;
        (self.first_seq..=self.last_seq).map_while(move |seq| {
            let body = reader.part()?;
            hash = chain.next(&hash, seq, body);
            Some((seq, body, hash))
        })
    }

    /// The chain's value after event `seq`, if it is one of this frame's.
    pub(crate) fn hash_at(&self, seq: u64) -> Option<Hash> {
        self.links().find(|(of, _, _)| *of == seq).map(|(_, _, hash)| hash)
    }
}

/// The events of the frame that starts with `first_seq`, once they are held to its hashes.
///
/// # Errors
/// As [`FrameRef::parse`].
pub(crate) fn owned_events(first_seq: u64, bytes: &[u8]) -> Result<Vec<Event>, CorruptError> {
    let mut events = Vec::new();
    FrameRef::parse_with(first_seq, bytes, |event, previous_hash, hash| {
        events.push(Event {
            seq: event.seq,
            at_unix_ms: event.at_unix_ms,
            tenant: event.tenant.to_owned(),
            stream: event.stream.to_owned(),
            kind: event.kind.to_owned(),
            payload: event.payload.to_vec(),
            previous_hash,
            hash,
        });
    })?;
    Ok(events)
}

pub(crate) fn parse_body(seq: u64, body: &[u8]) -> Option<EventRef<'_>> {
    let mut reader = Reader(body);
    let at_unix_ms = reader.u64()?;
    let tenant = reader.text()?;
    let stream = reader.text()?;
    let kind = reader.text()?;
    let payload = reader.part()?;
    reader.0.is_empty().then_some(EventRef { seq, at_unix_ms, tenant, stream, kind, payload })
}

/// The hash function, set up once a frame: deriving its key costs as much as hashing an event.
pub(crate) struct Chain(blake3::Hasher);

impl Chain {
    pub(crate) fn new() -> Self {
        Self(blake3::Hasher::new_derive_key(CONTEXT))
    }

    pub(crate) fn next(&mut self, previous: &Hash, seq: u64, body: &[u8]) -> Hash {
        self.0.reset();
        self.0.update(previous).update(&seq.to_le_bytes()).update(body);
        self.0.finalize().into()
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*head))
    }

    fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*head))
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.part()?).ok()
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&length(part.len()));
    bytes.extend_from_slice(part);
}

fn put_display(bytes: &mut Vec<u8>, part: &impl std::fmt::Display) {
    use std::io::Write as _;
    let length_at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    let part_at = bytes.len();
    write!(bytes, "{part}").expect("invariant: writing to a vector does not fail");
    let length = length(bytes.len() - part_at);
    bytes[length_at..part_at].copy_from_slice(&length);
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("invariant: the queue takes no event larger than a few megabytes")
        .to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use foreshore_domain::event::{EventKind, Stream, Tenant};

    fn event(payload: &str) -> NewEvent {
        NewEvent {
            at_unix_ms: 7,
            tenant: Tenant::DEFAULT,
            stream: Stream::Component("files".to_owned()),
            kind: EventKind::ComponentLoaded,
            payload: payload.as_bytes().to_vec(),
        }
    }

    fn frame() -> Vec<u8> {
        let mut writer = FrameWriter::new(5, [3; 32]);
        assert_eq!(writer.push(&event("{}")).0, 5);
        assert_eq!(writer.push(&event("{\"a\":1}")).0, 6);
        writer.finish().0
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let bytes = frame();
        let frame = FrameRef::parse(5, &bytes).expect("verifies");
        assert_eq!(frame.previous_hash, [3; 32]);
        let events = owned_events(5, &bytes).expect("verifies");
        let [first, second] = &events[..] else { panic!("two events") };
        assert_eq!(frame.hash_at(5), Some(first.hash));
        assert_eq!(frame.hash_at(7), None);
        assert_eq!((first.seq, second.seq), (5, 6));
        assert_eq!(first.stream, "component/files");
        assert_eq!(first.kind, "component.loaded");
        assert_eq!(first.tenant, "default");
        assert_eq!(second.payload, b"{\"a\":1}");
        assert_eq!(first.previous_hash, [3; 32]);
        assert_eq!(first.hash, second.previous_hash);
        assert_eq!(second.hash, frame.tip_hash);
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let good = frame();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(FrameRef::parse(5, &bad).is_err(), "bit {bit} of byte {at}");
            }
            assert!(FrameRef::parse(5, &good[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_frame_under_another_number_does_not_verify() {
        assert_eq!(FrameRef::parse(6, &frame()).err(), Some(CorruptError::Changed { seq: 6 }));
    }
}
