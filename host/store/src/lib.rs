//! The journal, in redb.
