//! Why a program gave no result.
//!
//! Each of these is the program's own failure: the author of the program reads the text and
//! repairs it, so it says what and where.

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It does not parse, or it threw.
    #[error("{message}{console}")]
    Exception {
        /// The exception, with the place it comes from.
        message: String,
        /// What was logged before it, ready to follow the message; may be empty.
        console: String,
    },
    /// Its promise is left without anything that could settle it.
    #[error(
        "the promise that the program gives never settles: nothing is left to run{console} \
         (there are no timers, and no requests to wait for)"
    )]
    NeverSettles {
        /// As above.
        console: String,
    },
    /// It keeps making new jobs.
    #[error("stopped after {max} promise jobs: the program keeps making new ones")]
    TooManyJobs {
        /// How many there may be.
        max: usize,
    },
    /// Its result cannot be carried.
    #[error("the result has {length} bytes of JSON, more than {max}: return less")]
    TooLarge {
        /// Its size.
        length: usize,
        /// How large it may be.
        max: usize,
    },
    /// Its result cannot be carried.
    #[error("the result is nested {depth} levels deep, more than {max}: return a flatter value")]
    TooDeep {
        /// Its depth.
        depth: usize,
        /// How deep it may be.
        max: usize,
    },
    /// The interpreter itself failed.
    #[error("the interpreter failed: {0}")]
    Engine(String),
}
