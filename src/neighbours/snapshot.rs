use std::fs::File;
use std::panic::AssertUnwindSafe;

use arrow_schema::SchemaRef;
use futures::FutureExt;
use lancedb::Table;

use super::database::{collection_names, connect_existing, store};
use super::{DatabaseError, Identity, durable};
use crate::names::CollectionName;
use crate::panics;

/// The newest version of a collection at one moment, whatever identity it was made with.
pub struct Snapshot {
    pub collection: CollectionName,
    pub table: Table,
    pub identity: Identity,
    /// Keeps housekeeping from removing the version, where the database is a folder that can be written to.
    _reads: Option<File>,
}

impl Snapshot {
    /// That of a collection of the database at `uri`; none if there is no such collection.
    ///
    /// # Errors
    /// The collection cannot be opened, or does not say what it was made with.
    pub async fn open(uri: &str, collection: &CollectionName) -> Result<Option<Self>, DatabaseError> {
        let Some(connection) = connect_existing(uri).await? else { return Ok(None) };
        let doing = |error| store(format!("open collection {collection}"), error);
        let reads = durable::local_folder(uri).and_then(|folder| durable::read_for_long(&folder).ok());
        let opened = guarded(collection, async {
            match connection.open_table(collection.as_str()).execute().await {
                Ok(table) => table.query_snapshot().await.map(Some),
                Err(lancedb::Error::TableNotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let Some(table) = opened.await?.map_err(doing)? else { return Ok(None) };
        let schema = schema_of(collection, &table).await?;
        let identity = Identity::of(schema.metadata())
            .ok_or_else(|| corrupt(collection, "it does not say which tokenizer and embedder it was made with".to_owned()))?;
        Ok(Some(Self { collection: collection.clone(), table, identity, _reads: reads }))
    }
}

/// Collections of the database at `uri`, in the order of their names.
///
/// # Errors
/// The place cannot be used.
pub async fn collections_at(uri: &str) -> Result<Vec<CollectionName>, DatabaseError> {
    match connect_existing(uri).await? {
        Some(connection) => collection_names(&connection).await,
        None => Ok(Vec::new()),
    }
}

/// What comes of reading files that may be damaged: a decoder may panic at what is no file of its own.
pub async fn guarded<T>(collection: &CollectionName, reading: impl Future<Output = T>) -> Result<T, DatabaseError> {
    let read = AssertUnwindSafe(reading).catch_unwind().await;
    read.map_err(|panic| corrupt(collection, format!("its reader ended: {}", panics::message(&*panic))))
}

/// What a table says of itself.
///
/// # Errors
/// Its newest version cannot be read.
pub(super) async fn schema_of(collection: &CollectionName, table: &Table) -> Result<SchemaRef, DatabaseError> {
    guarded(collection, table.schema()).await?.map_err(|error| store(format!("read collection {collection}"), error))
}

pub fn corrupt(collection: &CollectionName, reason: String) -> DatabaseError {
    DatabaseError::Corrupt { collection: collection.to_string(), reason }
}
