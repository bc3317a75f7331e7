//! Leave to write that can be lost: a process may be stopped for longer than its lease lasts, and go on in the midst of a write.
//!
//! A write is put on top of a version that was the newest before the leave was asked for. Who takes the leave over from a process that let
//! it run out first commits what conflicts with all writes on top of the version before. So a write of the earlier holder is either there by
//! then, or fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lance::Dataset;
use lancedb::{Connection, Table};

use super::collection::dataset;
use super::database::{collection_names, connect, store};
use super::{Database, DatabaseError, Memory};
use crate::names::CollectionName;

/// Attempts at one collection.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);

/// Leave to write that can be lost.
#[async_trait]
pub trait Leave: Send + Sync {
    /// # Errors
    /// It is lost, or nobody can say whether it is: the text says which.
    async fn check(&self) -> Result<(), String>;
}

impl Database {
    /// The same database, written to only as long as there is `leave` to.
    pub fn under(&self, leave: Option<Arc<dyn Leave>>) -> Self {
        Self { inner: Arc::clone(&self.inner), leave }
    }

    /// Shuts out what earlier holders of the leave to write may have on its way to any collection: after the return it is there, or it fails.
    /// A collection has the same rows before and after.
    ///
    /// # Arguments
    /// * `gone` - collections that may be removed in part, and are left alone.
    ///
    /// # Errors
    /// There is no leave any more, or a store cannot be read or written.
    pub async fn fence(&self, gone: &[CollectionName]) -> Result<(), DatabaseError> {
        fence(&self.inner.connection, self.leave.as_ref(), gone).await
    }

    /// As [`fence`](Self::fence), of the database at `uri`, whatever it was made with.
    ///
    /// # Errors
    /// As [`fence`](Self::fence).
    pub async fn fence_at(uri: &str, leave: Arc<dyn Leave>, gone: &[CollectionName]) -> Result<(), DatabaseError> {
        fence(&connect(uri, Memory::default()).await?, Some(&leave), gone).await
    }

    pub(super) async fn check_leave(&self) -> Result<(), DatabaseError> {
        check(self.leave.as_ref()).await
    }

    /// The newest version of a collection, if it may be written to.
    pub(super) async fn newest(&self, collection: &CollectionName, table: &Table) -> Result<Arc<Dataset>, DatabaseError> {
        let newest = dataset(collection, table).await?;
        self.check_leave().await?;
        Ok(newest)
    }
}

async fn check(leave: Option<&Arc<dyn Leave>>) -> Result<(), DatabaseError> {
    match leave {
        Some(leave) => leave.check().await.map_err(|reason| DatabaseError::NoLeave { reason }),
        None => Ok(()),
    }
}

async fn fence(connection: &Connection, leave: Option<&Arc<dyn Leave>>, gone: &[CollectionName]) -> Result<(), DatabaseError> {
    for collection in collection_names(connection).await?.into_iter().filter(|collection| !gone.contains(collection)) {
        let mut attempt = 1;
        while let Err(error) = fence_one(connection, &collection, leave).await {
            check(leave).await?;
            if attempt == ATTEMPTS {
                // The store answers, so it is this collection that is damaged: nobody else can write to it either, and it must hold up no other.
                collection_names(connection).await?;
                tracing::error!(%collection, %error, "the collection cannot be written, so earlier writers are not shut out of it");
                break;
            }
            tokio::time::sleep(PAUSE).await;
            attempt += 1;
        }
    }
    Ok(())
}

async fn fence_one(
    connection: &Connection,
    collection: &CollectionName,
    leave: Option<&Arc<dyn Leave>>,
) -> Result<(), DatabaseError> {
    let doing = |error: lancedb::Error| store(format!("shut earlier writers out of collection {collection}"), error);
    let table = match connection.open_table(collection.as_str()).execute().await {
        Ok(table) => table,
        Err(lancedb::Error::TableNotFound { .. }) => return Ok(()),
        Err(error) => return Err(doing(error)),
    };
    let mut dataset = Dataset::clone(&*dataset(collection, &table).await?);
    let mut newest = dataset.version().version;
    loop {
        check(leave).await?;
        dataset.restore().await.map_err(|error| doing(error.into()))?;
        let restored = dataset.version().version;
        if restored == newest + 1 {
            return Ok(());
        }
        // What came between is not in what was restored, so it is restored in turn.
        newest = restored;
        dataset = dataset.checkout_version(restored - 1).await.map_err(|error| doing(error.into()))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbours::schema::to_batch;
    use crate::neighbours::tests::{collection, database, document, id};
    use crate::neighbours::write::{append, delete, is_conflict, replace};

    struct Lost;

    #[async_trait]
    impl Leave for Lost {
        async fn check(&self) -> Result<(), String> {
            Err("it went to another".to_owned())
        }
    }

    const X: [f32; 4] = [1.0, 0.0, 0.0, 0.0];

    async fn chunks(database: &Database) -> u64 {
        database.stats(&collection()).await.unwrap().chunks
    }

    #[tokio::test]
    async fn whoever_has_lost_the_leave_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder).await;
        database.replace_documents(&collection(), vec![document("a", &[X])], true).await.unwrap();
        let version = database.version(&collection()).await.unwrap();
        let lost = database.under(Some(Arc::new(Lost)));
        let is_refused = |written: Result<(), DatabaseError>| matches!(written, Err(DatabaseError::NoLeave { .. }));
        for fresh in [true, false] {
            assert!(is_refused(lost.replace_documents(&collection(), vec![document("b", &[X])], fresh).await));
        }
        assert!(is_refused(lost.delete_documents(&collection(), &[id("a")]).await));
        assert!(is_refused(lost.remove(&collection()).await));
        assert!(is_refused(lost.fence(&[]).await));
        assert!(is_refused(lost.create(&CollectionName::parse("collection", "new").unwrap()).await));
        assert!(!lost.maintain(&collection()).await);
        assert_eq!(database.version(&collection()).await.unwrap(), version);
        assert_eq!(database.collections().await.unwrap(), [collection()]);
    }

    #[tokio::test]
    async fn a_write_on_its_way_when_the_fence_comes_fails_whatever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder).await;
        let documents = ["a", "b", "c"].map(|name| document(name, &[X])).to_vec();
        database.replace_documents(&collection(), documents, true).await.unwrap();
        let (table, _) = database.current(&collection()).await.unwrap().unwrap();
        let batch = |name: &str| {
            let (_, entries) = document(name, &[X, X]);
            to_batch(&database.inner.schema, database.inner.identity.dimension, &entries).unwrap()
        };
        // The leave was asked for, and then nothing happened for long.
        let before = database.newest(&collection(), &table).await.unwrap();
        database.fence(&[]).await.unwrap();
        assert_eq!(chunks(&database).await, 3, "the fence itself changes no row");
        let (appended, replaced, deleted) = (
            append(before.clone(), batch("d")).await,
            replace(before.clone(), &[id("a")], batch("a")).await,
            delete(before.clone(), &[id("a")]).await,
        );
        for written in [appended, replaced, deleted] {
            assert!(is_conflict(&written.unwrap_err()));
        }
        assert_eq!(chunks(&database).await, 3);

        // What was there before the fence is there after it, and writing goes on.
        let newest = database.newest(&collection(), &table).await.unwrap();
        append(newest, batch("d")).await.unwrap();
        database.fence(&[]).await.unwrap();
        database.delete_documents(&collection(), &[id("a")]).await.unwrap();
        assert_eq!(chunks(&database).await, 4);
    }
}
