//! Collections that cannot be written for now: what is to be written to them waits, and nothing of the others waits for it.

use std::collections::HashMap;
use std::time::Instant;

use super::worker::pause_after;
use crate::names::CollectionName;
use crate::neighbours::DatabaseError;

#[derive(Default)]
pub(super) struct Stalled(HashMap<CollectionName, Stall>);

struct Stall {
    failures: u32,
    /// When it is tried again; none while it is.
    until: Option<Instant>,
}

impl Stalled {
    /// Notes that a collection could not be written.
    pub fn note(&mut self, collection: &CollectionName, error: &DatabaseError) {
        tracing::warn!(%collection, %error, "the collection cannot be written for now; its documents wait");
        let failures = self.0.get(collection).map_or(0, |stall| stall.failures) + 1;
        self.0.insert(collection.clone(), Stall { failures, until: Some(Instant::now() + pause_after(failures)) });
    }

    /// Notes that a collection was written.
    pub fn forget(&mut self, collection: &CollectionName) {
        self.0.remove(collection);
    }

    /// Whether a collection's time has not come.
    pub fn holds(&self, collection: &CollectionName) -> bool {
        self.0.get(collection).is_some_and(|stall| stall.until.is_some_and(|until| until > Instant::now()))
    }

    /// Those whose time has not come.
    pub fn waiting(&self) -> Vec<&CollectionName> {
        self.0.keys().filter(|collection| self.holds(collection)).collect()
    }

    /// Whether the time of one has come.
    pub fn is_due(&self) -> bool {
        self.0.values().any(|stall| stall.until.is_some_and(|until| until <= Instant::now()))
    }

    /// Notes that those are tried whose time has come. One of which nothing waits any more is not due for ever.
    pub fn try_again(&mut self) {
        for stall in self.0.values_mut() {
            stall.until = stall.until.filter(|until| *until > Instant::now());
        }
    }
}
