//! What the payloads of conversations and turns do not take, and the way on.

/// Something that a conversation or turn cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// A text is too long.
    #[error("a text of {bytes} bytes is refused: it may have {max_bytes}; cut it")]
    TextTooLong {
        /// Its size.
        bytes: usize,
        /// How large it may be.
        max_bytes: usize,
    },
    /// Not one line of text.
    #[error("{text:?} is refused: it is 1 to {max_bytes} bytes of text without control characters")]
    Line {
        /// What was given, cut to 64 characters.
        text: String,
        /// How large it may be.
        max_bytes: usize,
    },
    /// Too large to be kept in the event itself.
    #[error(
        "a payload of {bytes} bytes is refused: inline it may have {max_bytes}; keep it as a blob and give its digest"
    )]
    PayloadTooLarge {
        /// Its size.
        bytes: usize,
        /// How large it may be.
        max_bytes: usize,
    },
    /// Not 32 bytes in hex.
    #[error("{what} is refused: it is 64 hex digits in lower case")]
    Hex {
        /// `a seed`, `a digest`.
        what: &'static str,
    },
    /// Not a window of time.
    #[error("a budget's window of 0 ms is refused: it has a length")]
    Window,
    /// Too many scopes, or none.
    #[error("{count} scopes are refused: tokens are spent by 1 to {max}")]
    Scopes {
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}
