//! The connections of each client: all of them together have `max_connections`, and one may be kept from having them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::access::Client;
use crate::metrics;

/// Clones share it.
#[derive(Clone)]
pub struct Shares {
    /// Of one client; 0 is no limit.
    most: usize,
    open: Arc<Mutex<HashMap<Client, usize>>>,
}

/// A connection that is open.
pub struct Share {
    shares: Shares,
    client: Client,
}

impl Shares {
    pub fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Counts a connection until the share is dropped; none where its client has as many as it may.
    pub fn take(&self, client: Client) -> Option<Share> {
        let mut open = self.lock();
        let count = open.entry(client).or_default();
        if self.most > 0 && *count >= self.most {
            metrics::get().http_connections_refused.inc();
            return None;
        }
        *count += 1;
        metrics::get().http_connections.inc();
        Some(Share { shares: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Client, usize>> {
        // Counters are whole at every step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        metrics::get().http_connections.dec();
        let mut open = self.shares.lock();
        // Only who has connections is remembered.
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Client {
        Client::at([192, 0, 2, last].into())
    }

    #[test]
    fn a_client_has_its_share_and_leaves_no_trace() {
        let shares = Shares::new(2);
        let first = shares.take(client(1));
        let second = shares.take(client(1));
        assert!(first.is_some() && second.is_some() && shares.take(client(1)).is_none());
        let other = shares.take(client(2));
        assert!(other.is_some());
        drop(first);
        let third = shares.take(client(1));
        assert!(third.is_some() && shares.take(client(1)).is_none());
        drop((second, third, other));
        assert!(shares.lock().is_empty());
    }

    #[test]
    fn without_a_limit_all_are_one_clients() {
        let shares = Shares::new(0);
        let all: Vec<_> = (0..1000).map(|_| shares.take(client(1)).expect("no limit")).collect();
        drop(all);
        assert!(shares.lock().is_empty());
    }
}
