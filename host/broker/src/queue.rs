//! Who is next: a bounded queue, fair among tenants, with priorities.
//!
//! Pure: no clock and no I/O. The next is the oldest of the tenant whose turn it is, in the
//! highest priority anybody waits with; each eighth turn goes to the lowest instead, so that
//! nobody waits for ever. Invariants: it never holds more than its bounds; tenants of equal
//! priority take turns, however many requests each has.

use std::collections::{HashMap, VecDeque};

use crate::caller::Priority;
use crate::config::QueueConfig;

/// Turns after which the lowest priority has one.
const LOWEST_EVERY: u32 = 8;

/// What can be taken out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(u64);

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Of everybody's.
    All,
    /// Of this tenant's.
    Tenant,
}

/// A queue of `T`.
pub(crate) struct FairQueue<T> {
    config: QueueConfig,
    classes: [Class<T>; Priority::ALL.len()],
    of_tenant: HashMap<String, usize>,
    len: usize,
    tickets: u64,
    turns: u32,
}

/// Those of one priority: tenants in the order of their turns.
struct Class<T> {
    turns: VecDeque<String>,
    waiting: HashMap<String, VecDeque<(Ticket, T)>>,
}

impl<T> Default for Class<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), waiting: HashMap::new() }
    }
}

impl<T> FairQueue<T> {
    pub(crate) fn new(config: QueueConfig) -> Self {
        let classes = std::array::from_fn(|_| Class::default());
        Self { config, classes, of_tenant: HashMap::new(), len: 0, tickets: 0, turns: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts somebody at the end of the tenant's line.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn push(
        &mut self,
        tenant: &str,
        priority: Priority,
        item: T,
    ) -> Result<Ticket, Full> {
        if self.len >= self.config.max {
            return Err(Full::All);
        }
        let mine = self.of_tenant.get(tenant).copied().unwrap_or_default();
        if mine >= self.config.max_per_tenant {
            return Err(Full::Tenant);
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.classes[priority.index()].push(tenant, ticket, item);
        self.of_tenant.insert(tenant.to_owned(), mine + 1);
        self.len += 1;
        Ok(ticket)
    }

    /// Takes the next one out.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        self.turns = (self.turns + 1) % LOWEST_EVERY;
        let waits = |class: &&mut Class<T>| !class.turns.is_empty();
        let class = if self.turns == 0 {
            self.classes.iter_mut().rev().find(waits)
        } else {
            self.classes.iter_mut().find(waits)
        };
        let (tenant, item) = class?.pop()?;
        self.left(&tenant);
        Some(item)
    }

    /// Takes out somebody who went away; false if they were out already.
    pub(crate) fn remove(&mut self, tenant: &str, priority: Priority, ticket: Ticket) -> bool {
        let found = self.classes[priority.index()].remove(tenant, ticket);
        if found {
            self.left(tenant);
        }
        found
    }

    fn left(&mut self, tenant: &str) {
        self.len -= 1;
        if let Some(mine) = self.of_tenant.get_mut(tenant) {
            *mine -= 1;
            if *mine == 0 {
                self.of_tenant.remove(tenant);
            }
        }
    }
}

impl<T> Class<T> {
    fn push(&mut self, tenant: &str, ticket: Ticket, item: T) {
        if let Some(waiting) = self.waiting.get_mut(tenant) {
            waiting.push_back((ticket, item));
            return;
        }
        self.turns.push_back(tenant.to_owned());
        self.waiting.insert(tenant.to_owned(), VecDeque::from([(ticket, item)]));
    }

    fn pop(&mut self) -> Option<(String, T)> {
        let tenant = self.turns.pop_front()?;
        let waiting = self.waiting.get_mut(&tenant)?;
        let (_, item) = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&tenant);
        } else {
            self.turns.push_back(tenant.clone());
        }
        Some((tenant, item))
    }

    fn remove(&mut self, tenant: &str, ticket: Ticket) -> bool {
        let Some(waiting) = self.waiting.get_mut(tenant) else { return false };
        let Some(at) = waiting.iter().position(|(held, _)| *held == ticket) else { return false };
        waiting.remove(at);
        if waiting.is_empty() {
            self.waiting.remove(tenant);
            self.turns.retain(|other| other != tenant);
        }
        true
    }
}

#[cfg(test)]
mod tests;
