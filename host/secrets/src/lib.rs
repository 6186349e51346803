//! Secrets: how they are sealed at rest ([`Keyring`]), where the key is ([`KeyPlace`]), and how
//! one is found wherever it shows up ([`Scanner`]), however it is spelled.
//!
//! Deliberately absent: which secrets there are, who may use them and where they go; those are
//! `control`'s. What is looked for are the exact values that are kept here, never what merely
//! looks like a secret.
#![forbid(unsafe_code)]

mod compressed;
mod place;
mod scan;
mod seal;
mod spellings;
mod stream;

pub use place::{KeyPlace, PlaceError};
pub use scan::{SECRETS_MAX_BYTES, ScanError, Scanner, VALUE_MIN_BYTES};
pub use seal::{Keyring, KeyringError, SealError};
pub use stream::{Leak, Stream, Tail};
pub use zeroize::{Zeroize, Zeroizing};
