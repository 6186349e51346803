//! What memory and variables do not take, and the way on.

/// Something that memory or a variable cannot hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A name is not of its form.
    #[error("{what} {text:?} is refused: it is {rule}")]
    Name {
        /// `namespace`, `key`, `tag`.
        what: &'static str,
        /// What was given, cut to 64 characters.
        text: String,
        /// What it must be.
        rule: &'static str,
    },
    /// More tags than a record takes.
    #[error("{count} tags are refused: a record takes at most {max}; put the rest in its value")]
    TooManyTags {
        /// How many different ones.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// Not a number from 0 to 1.
    #[error("importance {value} is refused: it is a number from 0 to 1")]
    Importance {
        /// What was given.
        value: f32,
    },
    /// Not a time to live.
    #[error(
        "a time to live of {seconds} s is refused: it is 1 to {max} s; leave it out to keep the record"
    )]
    Ttl {
        /// What was given.
        seconds: u64,
        /// The longest.
        max: u64,
    },
    /// The value is not JSON.
    #[error("the value is not JSON: {message}")]
    NotJson {
        /// What the parser said.
        message: String,
    },
    /// The value nests too deep.
    #[error(
        "the value is refused: it nests deeper than {max} levels; flatten it, or keep it as a string"
    )]
    TooDeep {
        /// How deep it may nest.
        max: usize,
    },
    /// The value is too large to be kept inline.
    #[error(
        "a value of {bytes} bytes is refused: here it may have {max_bytes}; keep its parts under several keys"
    )]
    ValueTooLarge {
        /// Its size.
        bytes: usize,
        /// How large it may be.
        max_bytes: usize,
    },
    /// The text of a blob is too large.
    #[error("a blob's text of {bytes} bytes is refused: search takes at most {max_bytes}; cut it")]
    TextTooLarge {
        /// Its size.
        bytes: usize,
        /// How large it may be.
        max_bytes: usize,
    },
    /// Not a label of origin.
    #[error(
        "origin {text:?} is refused: it is \"person\", \"agent:NAME\", \"tool:NAME\" or \"url:HOST\""
    )]
    Origin {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// Not a vector of a model.
    #[error("an embedding of {dimension} numbers is refused: it has 1 to {max}")]
    Dimension {
        /// How many numbers.
        dimension: usize,
        /// How many there may be.
        max: usize,
    },
    /// A vector that has no direction.
    #[error("an embedding is refused: {reason}; embed the text again, or leave the embedding out")]
    Vector {
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What an error shows of a text that was refused: others wrote it, and it may be long.
pub(super) fn shown(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
