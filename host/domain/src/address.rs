//! Which addresses are special.
