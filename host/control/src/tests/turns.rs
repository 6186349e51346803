//! Turns without a sandbox: agents, tools and models in plain Rust, with a real door, a real
//! journal in a file, and crashes between any two things that happen.

mod approvals;
mod budgets;
mod conversations;
mod crash;
mod delegation;
mod lines;
mod measure;
mod record;
mod replay;
mod waiting;
mod watching;
mod world;

use self::world::{Host, World, script, text};
use super::*;
