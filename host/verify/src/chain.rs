//! Holds exports to the chain, and the chain to checkpoints.

use std::io::Read;

use crate::checkpoint::Checkpoint;
use crate::export::{Export, Item};
use crate::{Failure, Finding};

const CONTEXT: &str = "foreshore journal event 1";

/// Whose signature counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// That of this public key, which was had from elsewhere.
    Key([u8; 32]),
    /// That of whatever key the first checkpoint names: finds changes by who cannot write the
    /// checkpoints as well.
    FirstSeen,
}

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first event's number.
    pub first_seq: u64,
    /// The last event's number; one less than the first if there is none.
    pub last_seq: u64,
    /// The chain's value there.
    pub tip_hash: [u8; 32],
    /// Checkpoints that match.
    pub checkpoints: u64,
    /// The last event that a checkpoint covers: what comes after is held to the chain alone.
    pub signed_to: u64,
    /// The public key of the checkpoints.
    pub key: [u8; 32],
}

impl Report {
    /// How many events.
    pub fn events(&self) -> u64 {
        self.last_seq + 1 - self.first_seq
    }
}

/// Verifies exports, in order, as one journal: archives first. The checkpoints of the newest
/// epoch count; each must match an event, or be of one before the first.
///
/// # Errors
/// [`Failure::Wrong`] names the first event that does not hold.
pub fn verify<R: Read>(
    exports: impl IntoIterator<Item = R>,
    checkpoints: &[Checkpoint],
    trust: Trust,
) -> Result<Report, Failure> {
    let Some(newest) = checkpoints.last() else {
        return Err(Finding::new(0, "there is no checkpoint to hold the journal to").into());
    };
    let key = match trust {
        Trust::Key(key) => key,
        Trust::FirstSeen => newest.key,
    };
    let mut counted: Vec<&Checkpoint> =
        checkpoints.iter().filter(|checkpoint| checkpoint.epoch == newest.epoch).collect();
    for checkpoint in checkpoints {
        let seq = checkpoint.seq;
        if checkpoint.epoch > newest.epoch {
            return Err(Finding::new(seq, "checkpoints of a later epoch come first").into());
        }
        if checkpoint.epoch == newest.epoch && !checkpoint.is_signed_by(&key) {
            return Err(Finding::new(seq, "its checkpoint is not signed with the key").into());
        }
    }
    counted.sort_by_key(|checkpoint| checkpoint.seq);
    let mut held = Held { left: &counted, journal_id: newest.journal_id, matched: 0 };
    let mut report: Option<Report> = None;
    for export in exports {
        report = Some(verify_one(Export::new(export)?, &mut held, report)?);
    }
    let Some(mut report) = report else {
        return Err(Finding::new(0, "there is no export").into());
    };
    if let Some(missing) = held.left.first() {
        let what = format!(
            "events are missing: the journal ends at {}, and was signed up to {}",
            report.last_seq, newest.seq
        );
        return Err(Finding::new(missing.seq.min(report.last_seq + 1), what).into());
    }
    report.checkpoints = held.matched;
    report.signed_to = newest.seq;
    report.key = key;
    Ok(report)
}

/// The checkpoints that are still to be matched, ascending.
struct Held<'a> {
    left: &'a [&'a Checkpoint],
    journal_id: [u8; 16],
    matched: u64,
}

impl Held<'_> {
    /// Holds the chain's value after event `seq` to the checkpoints of that event.
    fn hold(&mut self, seq: u64, hash: &[u8; 32]) -> Result<(), Finding> {
        while let Some((checkpoint, left)) = self.left.split_first()
            && checkpoint.seq == seq
        {
            if checkpoint.hash != *hash {
                return Err(Finding::new(
                    seq,
                    "it, or one before it, is not the one that was signed",
                ));
            }
            self.left = left;
            self.matched += 1;
        }
        Ok(())
    }
}

fn verify_one<R: Read>(
    mut export: Export<R>,
    held: &mut Held<'_>,
    before: Option<Report>,
) -> Result<Report, Failure> {
    let first_seq = export.first_seq;
    let mut hash = export.previous_hash;
    let mut last_seq = first_seq - 1;
    if export.journal_id != held.journal_id {
        return Err(Finding::new(first_seq, "the export is of another journal").into());
    }
    match &before {
        Some(before) if before.last_seq + 1 != first_seq => {
            let what = format!("it should be event {}", before.last_seq + 1);
            return Err(Finding::new(first_seq, what).into());
        }
        Some(before) if before.tip_hash != hash => {
            return Err(Finding::new(first_seq, "it does not continue the export before").into());
        }
        Some(_) => {}
        None if first_seq == 1 && hash != [0; 32] => {
            return Err(Finding::new(1, "the chain does not start where it must").into());
        }
        None => {
            // What was archived is verified with the archive.
            while let Some((checkpoint, left)) = held.left.split_first()
                && checkpoint.seq < last_seq
            {
                held.left = left;
            }
            let anchored = held.left.first().is_some_and(|anchor| anchor.seq == last_seq);
            if first_seq > 1 && !anchored {
                let what = "the export does not start at a checkpoint: name the archive before it";
                return Err(Finding::new(first_seq, what).into());
            }
            held.hold(last_seq, &hash)?;
        }
    }
    // Deriving the key costs as much as an event: once is enough.
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    loop {
        match export.next()? {
            Item::Event { seq, body, hash: said } => {
                hasher.reset();
                hasher.update(&hash).update(&seq.to_le_bytes()).update(body);
                hash = hasher.finalize().into();
                if said != hash {
                    return Err(Finding::new(seq, "it does not hash to what it says").into());
                }
                last_seq = seq;
                held.hold(seq, &hash)?;
            }
            Item::End { tip_hash } if tip_hash == hash => break,
            Item::End { .. } => {
                let what = "the chain does not end where the export says: an event was changed";
                return Err(Finding::new(last_seq, what).into());
            }
        }
    }
    let first_seq = before.map_or(first_seq, |before| before.first_seq);
    let (checkpoints, signed_to, key) = (0, 0, [0; 32]);
    Ok(Report { first_seq, last_seq, tip_hash: hash, checkpoints, signed_to, key })
}
