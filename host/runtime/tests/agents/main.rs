//! An agent against the sandbox: the probe agent, the real engine, and a door that remembers
//! what it was asked and says what a test wants it to say.

mod bench;
mod door;
mod effects;
mod endings;
mod stillness;
