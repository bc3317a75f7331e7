//! How much one client may ask for: requests a minute, and at a time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

const MINUTE: Duration = Duration::from_secs(60);
/// Clients that are remembered before the first look for those that need not be.
const FEW_CLIENTS: usize = 1024;

/// Who is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    Key(Uuid),
    Address(IpAddr),
}

impl Client {
    /// Who comes from an address without a key. An IPv6 host has a whole network of 64 bits to choose addresses from.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            address => address,
        })
    }
}

/// Why a request is refused, and when it is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    PerMinute { limit: u32, retry_after: Duration },
    AtATime { limit: usize },
}

/// Clones share it.
#[derive(Clone)]
pub struct Limits {
    per_minute: u32,
    at_a_time: usize,
    clients: Arc<Mutex<Clients>>,
}

struct Clients {
    usage: HashMap<Client, Usage>,
    /// At this number those that are at rest are forgotten.
    sweep_at: usize,
}

struct Usage {
    /// When the requests so far would all be over if they came evenly spread: no more than a minute ahead.
    spent_until: Instant,
    busy: usize,
}

impl Limits {
    /// 0 is no limit.
    pub fn new(per_minute: u32, at_a_time: usize) -> Self {
        Self { per_minute, at_a_time, clients: Arc::new(Mutex::new(Clients { usage: HashMap::new(), sweep_at: FEW_CLIENTS })) }
    }

    /// Counts a request, which is going on until the permit is dropped. A client may spend a minute's requests at once, and gets them back
    /// evenly over the minute.
    ///
    /// # Errors
    /// A limit is reached; a request that is refused does not count.
    pub fn admit(&self, client: Client, now: Instant) -> Result<Permit, Exceeded> {
        if self.per_minute == 0 && self.at_a_time == 0 {
            return Ok(Permit(None));
        }
        let mut clients = self.lock();
        clients.sweep(now);
        let usage = clients.usage.entry(client).or_insert(Usage { spent_until: now, busy: 0 });
        if self.at_a_time > 0 && usage.busy >= self.at_a_time {
            return Err(Exceeded::AtATime { limit: self.at_a_time });
        }
        if self.per_minute > 0 {
            let spent_until = usage.spent_until.max(now) + MINUTE / self.per_minute;
            let ahead = spent_until - now;
            if ahead > MINUTE {
                return Err(Exceeded::PerMinute { limit: self.per_minute, retry_after: ahead - MINUTE });
            }
            usage.spent_until = spent_until;
        }
        usage.busy += 1;
        Ok(Permit(Some((self.clone(), client))))
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        // Counters are whole at every step.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients {
    /// Forgets those who have nothing left to pay, when they may be many: what is remembered is bounded by the clients of the last minute.
    fn sweep(&mut self, now: Instant) {
        if self.usage.len() >= self.sweep_at {
            self.usage.retain(|_, usage| usage.busy > 0 || usage.spent_until > now);
            self.sweep_at = FEW_CLIENTS.max(2 * self.usage.len());
        }
    }
}

/// A request that is going on.
pub struct Permit(Option<(Limits, Client)>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((limits, client)) = self.0.take()
            && let Some(usage) = limits.lock().usage.get_mut(&client)
        {
            usage.busy -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u128) -> Client {
        Client::Key(Uuid::from_u128(number))
    }

    #[test]
    fn a_minutes_requests_come_back_evenly() {
        let (limits, start) = (Limits::new(6, 0), Instant::now());
        let admit = |number, seconds| limits.admit(client(number), start + Duration::from_secs(seconds)).map(drop);
        for _ in 0..6 {
            assert_eq!(admit(1, 0), Ok(()));
        }
        let refused = |seconds| Err(Exceeded::PerMinute { limit: 6, retry_after: Duration::from_secs(seconds) });
        assert_eq!(admit(1, 0), refused(10));
        assert_eq!(admit(1, 9), refused(1), "what was refused does not count");
        assert_eq!(admit(2, 9), Ok(()), "another client has its own");
        assert_eq!(admit(1, 10), Ok(()));
        assert_eq!(admit(1, 10), refused(10));
        for _ in 0..6 {
            assert_eq!(admit(1, 1000), Ok(()), "rest saves no more than a minute's");
        }
        assert_eq!(admit(1, 1000), refused(10));
    }

    #[test]
    fn requests_at_a_time_end_with_their_permit() {
        let (limits, now) = (Limits::new(0, 2), Instant::now());
        let first = limits.admit(client(1), now).ok().unwrap();
        let second = limits.admit(client(1), now).ok().unwrap();
        assert_eq!(limits.admit(client(1), now).err(), Some(Exceeded::AtATime { limit: 2 }));
        assert!(limits.admit(client(2), now).is_ok());
        drop(first);
        let third = limits.admit(client(1), now);
        assert!(third.is_ok() && limits.admit(client(1), now).is_err());
        drop((second, third));
    }

    #[test]
    fn those_at_rest_are_forgotten() {
        let (limits, now) = (Limits::new(1, 0), Instant::now());
        let busy = limits.admit(client(0), now).ok().unwrap();
        for number in 1..FEW_CLIENTS as u128 {
            drop(limits.admit(client(number), now));
        }
        assert_eq!(limits.lock().usage.len(), FEW_CLIENTS);
        drop(limits.admit(client(u128::MAX), now + MINUTE));
        assert_eq!(limits.lock().usage.len(), 2);
        drop(busy);
    }

    #[test]
    fn an_ipv6_host_is_one_client() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.2"), at("192.0.2.1"));
    }
}
