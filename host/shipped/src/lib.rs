//! The components that the binary carries.
