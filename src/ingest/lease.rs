//! Leases of the catalogue, held: renewed as long as the holder lives, given back when it lets go.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::catalogue::{Catalogue, CatalogueError, LEASE_LIFE, Lease};
use crate::neighbours::Leave;

/// How long one who waits for a lease waits before it asks again.
const RETRY: Duration = Duration::from_millis(100);
/// Pause after a renewal that the database did not answer.
const RENEW_RETRY: Duration = Duration::from_secs(1);

/// Who this process is, for those who look into the table of leases.
static HOLDER: LazyLock<String> = LazyLock::new(|| {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {}", host.trim(), std::process::id())
});

/// Leases of one kind.
#[derive(Clone)]
pub(super) struct Leases {
    pub catalogue: Catalogue,
    /// Leases that are being given back.
    releases: TaskTracker,
}

/// A lease, given back when this is dropped.
pub struct HeldLease {
    leases: Leases,
    lease: Lease,
    settled: AtomicBool,
    /// Keeps others of this process from asking as long as it is not given back.
    local: Option<OwnedMutexGuard<()>>,
    /// It has gone to another, or may have.
    lost: CancellationToken,
    _renewing: DropGuard,
}

impl Leases {
    /// None where the catalogue belongs to one machine.
    pub fn of(catalogue: &Catalogue) -> Option<Self> {
        catalogue.is_shared().then(|| Self { catalogue: catalogue.clone(), releases: TaskTracker::new() })
    }

    /// None where somebody has it.
    ///
    /// # Arguments
    /// * `local` - let go of when the lease is given back.
    pub async fn try_take(&self, name: &str, local: Option<OwnedMutexGuard<()>>) -> Result<Option<HeldLease>, CatalogueError> {
        let began = Instant::now();
        let Some(lease) = self.catalogue.take_lease(name, &HOLDER).await? else { return Ok(None) };
        let (lost, renewing) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn({
            let (catalogue, lease, lost, renewing) = (self.catalogue.clone(), lease.clone(), lost.clone(), renewing.clone());
            async move { renewing.run_until_cancelled(renew(&catalogue, &lease, began, &lost)).await }
        });
        let settled = AtomicBool::new(lease.settled);
        Ok(Some(HeldLease { leases: self.clone(), lease, settled, local, lost, _renewing: renewing.drop_guard() }))
    }

    pub async fn take(&self, name: &str, local: Option<OwnedMutexGuard<()>>) -> Result<HeldLease, CatalogueError> {
        loop {
            if let Some(mut held) = self.try_take(name, None).await? {
                held.local = local;
                return Ok(held);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Waits until all that was let go is given back.
    pub async fn given_back(&self) {
        self.releases.close();
        self.releases.wait().await;
    }
}

impl HeldLease {
    pub fn name(&self) -> &str {
        &self.lease.name
    }

    /// Whether nothing of an earlier holder can be under way.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    pub fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Returns when it has gone to another, or may have.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        let (catalogue, lease, settled) = (self.leases.catalogue.clone(), self.lease.clone(), self.is_settled());
        let local = self.local.take();
        // Without a runtime it ends by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        self.leases.releases.spawn_on(
            async move {
                if let Err(error) = catalogue.release_lease(&lease, settled).await {
                    tracing::warn!(lease = lease.name, %error, "a lease cannot be given back; it ends by itself");
                }
                drop(local);
            },
            &runtime,
        );
    }
}

#[async_trait]
impl Leave for HeldLease {
    async fn check(&self) -> Result<(), String> {
        match self.leases.catalogue.holds_lease(&self.lease).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.lost.cancel();
                Err("another process has taken the lease over".to_owned())
            }
            Err(error) => Err(format!("the catalogue does not say whether the lease is held: {error}")),
        }
    }
}

async fn renew(catalogue: &Catalogue, lease: &Lease, mut renewed: Instant, lost: &CancellationToken) {
    loop {
        tokio::time::sleep_until((renewed + LEASE_LIFE / 3).max(Instant::now()).into()).await;
        let asked = Instant::now();
        match catalogue.renew_lease(lease).await {
            Ok(true) => renewed = asked,
            Ok(false) => {
                tracing::warn!(lease = lease.name, "a lease has gone to another process");
                return lost.cancel();
            }
            Err(error) => {
                tracing::warn!(lease = lease.name, %error, "a lease cannot be renewed");
                if renewed.elapsed() >= LEASE_LIFE {
                    return lost.cancel();
                }
                tokio::time::sleep(RENEW_RETRY).await;
            }
        }
    }
}
