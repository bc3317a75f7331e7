//! Leave to do something alone, across machines, for a time. Only the database's clock counts.

use std::time::Duration;

use super::sql::query;
use super::{Catalogue, CatalogueError};

/// How long a lease holds unless it is renewed.
pub const LEASE_LIFE: Duration = Duration::from_secs(15);

/// One holder's leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    /// One more than the holder's before.
    pub token: i64,
    /// Nothing of an earlier holder can be under way: each gave the lease back, or was shut out since.
    pub settled: bool,
}

/// Only where the catalogue is shared.
impl Catalogue {
    /// Takes a lease that nobody has, or whose time is over; none where somebody has it.
    ///
    /// # Arguments
    /// * `holder` - who asks, for those who look into the table.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn take_lease(&self, name: &str, holder: &str) -> Result<Option<Lease>, CatalogueError> {
        let row = query(
            "INSERT INTO leases (name, holder, token, settled, until) VALUES ($1, $2, 1, 0, clock_timestamp() + $3 * INTERVAL '1 second') \
             ON CONFLICT (name) DO UPDATE SET holder = $2, token = leases.token + 1, until = excluded.until \
             WHERE leases.until <= clock_timestamp() RETURNING token, settled",
        )
        .bind(name)
        .bind(holder)
        .bind(LEASE_LIFE.as_secs() as i64)
        .fetch_optional(self.leases())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let (token, settled): (i64, i64) = (row.try_get("token")?, row.try_get("settled")?);
        Ok(Some(Lease { name: name.to_owned(), token, settled: settled == token - 1 }))
    }

    /// Prolongs a lease; gives whether it is still this holder's. One whose time was over, and that nobody has taken, is.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn renew_lease(&self, lease: &Lease) -> Result<bool, CatalogueError> {
        let renewed = query(
            "UPDATE leases SET until = clock_timestamp() + $3 * INTERVAL '1 second' \
             WHERE name = $1 AND token = $2 AND until > '-infinity'",
        )
        .bind(&lease.name)
        .bind(lease.token)
        .bind(LEASE_LIFE.as_secs() as i64)
        .execute(self.leases())
        .await?;
        Ok(renewed == 1)
    }

    /// Whether a lease is this holder's, and its time is not over.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn holds_lease(&self, lease: &Lease) -> Result<bool, CatalogueError> {
        Ok(query("SELECT EXISTS (SELECT 1 FROM leases WHERE name = $1 AND token = $2 AND until > clock_timestamp())")
            .bind(&lease.name)
            .bind(lease.token)
            .scalar(self.leases())
            .await?)
    }

    /// Gives a lease back; one that has gone to another is left alone.
    ///
    /// # Arguments
    /// * `settled` - nothing that was done under it, or under those before it, is under way any more.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn release_lease(&self, lease: &Lease, settled: bool) -> Result<(), CatalogueError> {
        query(
            "UPDATE leases SET until = '-infinity', settled = CASE WHEN $3 = 1 THEN token ELSE settled END \
             WHERE name = $1 AND token = $2",
        )
        .bind(&lease.name)
        .bind(lease.token)
        .bind(i64::from(settled))
        .execute(self.leases())
        .await?;
        Ok(())
    }

    /// Who holds a lease whose name begins with `prefix`; none where nobody does.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn lease_holder(&self, prefix: &str) -> Result<Option<String>, CatalogueError> {
        Ok(query("SELECT holder FROM leases WHERE starts_with(name, $1) AND until > clock_timestamp() LIMIT 1")
            .bind(prefix)
            .optional_scalar(self.leases())
            .await?)
    }

    /// Forgets leases whose names begin with `prefix` and that were over a day ago.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn forget_leases(&self, prefix: &str) -> Result<(), CatalogueError> {
        query("DELETE FROM leases WHERE starts_with(name, $1) AND until < clock_timestamp() - INTERVAL '1 day'")
            .bind(prefix)
            .execute(self.leases())
            .await?;
        Ok(())
    }

    /// Lets all leases run out that were not given back, as those of holders that were stopped do.
    #[cfg(test)]
    pub(crate) async fn end_leases(&self) {
        query("UPDATE leases SET until = clock_timestamp() WHERE until > '-infinity'").execute(self.leases()).await.unwrap();
    }
}

#[cfg(test)]
mod tests {
    use crate::catalogue::testing::Place;

    #[tokio::test]
    async fn a_lease_has_one_holder_until_it_is_given_back_or_runs_out() {
        let Some(place) = Place::postgres() else { return };
        let (a, b) = (place.catalogue().await, place.catalogue().await);
        assert!(a.is_shared() && !Place::sqlite().catalogue().await.is_shared());
        let first = a.take_lease("x", "a").await.unwrap().unwrap();
        assert!(first.settled, "there was nobody before");
        assert_eq!(b.take_lease("x", "b").await.unwrap(), None);
        assert!(b.take_lease("y", "b").await.unwrap().is_some(), "another lease");
        assert!(a.holds_lease(&first).await.unwrap() && a.renew_lease(&first).await.unwrap());

        b.end_leases().await;
        assert!(!a.holds_lease(&first).await.unwrap());
        assert!(a.renew_lease(&first).await.unwrap(), "nobody has taken it");
        assert!(a.holds_lease(&first).await.unwrap());
        b.end_leases().await;
        let second = b.take_lease("x", "b").await.unwrap().unwrap();
        assert_eq!((second.token, second.settled), (first.token + 1, false));
        assert!(!a.holds_lease(&first).await.unwrap() && !a.renew_lease(&first).await.unwrap());
        a.release_lease(&first, true).await.unwrap();
        assert!(b.holds_lease(&second).await.unwrap(), "it is not the first one's to give back");

        b.release_lease(&second, false).await.unwrap();
        assert!(!b.renew_lease(&second).await.unwrap(), "it was given back");
        let third = a.take_lease("x", "a").await.unwrap().unwrap();
        assert!(!third.settled, "nobody was shut out");
        a.release_lease(&third, true).await.unwrap();
        assert!(b.take_lease("x", "b").await.unwrap().unwrap().settled);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_who_ask_at_once_one_gets_it() {
        let Some(place) = Place::postgres() else { return };
        let catalogue = place.catalogue().await;
        for round in 0..5 {
            let name = format!("x{round}");
            let asked = futures::future::join_all((0..8).map(|_| catalogue.take_lease(&name, "?"))).await;
            assert_eq!(asked.into_iter().filter(|taken| taken.as_ref().unwrap().is_some()).count(), 1);
        }
    }
}
