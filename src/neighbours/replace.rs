use std::time::SystemTime;

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use lancedb::arrow::{SendableRecordBatchStream, SimpleRecordBatchStream};
use lancedb::query::ExecutableQuery;
use lancedb::table::AddDataMode;

use super::database::{connect, store};
use super::{Database, DatabaseError, Memory, durable};
use crate::names::CollectionName;

impl Database {
    /// Puts what this database has of a collection, identity included, in the place of what the database at `uri` has of it, whatever that
    /// was made with. It is one commit: a reader sees the old collection or the new one, and the version that it has begun to read stays
    /// readable. Nobody else may write to the collection meanwhile.
    ///
    /// # Errors
    /// A store cannot be read or written; the collection is as it was then.
    pub async fn put_in_place(&self, uri: &str, collection: &CollectionName) -> Result<(), DatabaseError> {
        let doing = |error| store(format!("put collection {collection} in its place"), error);
        let table = self.table_or_new(collection).await?.query_snapshot().await.map_err(doing)?;
        let target = connect(uri, Memory::default()).await?.open_table(collection.as_str()).execute().await.map_err(doing)?;
        self.check_leave().await?;
        let begin = SystemTime::now();
        let schema = self.inner.schema.clone();
        let rows = table.query().execute().await.map_err(doing)?;
        let rows = rows.and_then({
            let schema = schema.clone();
            move |batch| std::future::ready(in_schema(&schema, &batch).map_err(lancedb::Error::from))
        });
        let rows: SendableRecordBatchStream = Box::pin(SimpleRecordBatchStream::new(rows, schema));
        // One stream keeps the rows of a document together.
        target.add(rows).mode(AddDataMode::Overwrite).write_parallelism(1).execute().await.map_err(doing)?;
        durable::sync_table(durable::local_folder(uri), collection, begin).await.map_err(DatabaseError::Sync)
    }
}

/// The columns in the order of the schema, whose metadata is the identity.
fn in_schema(schema: &arrow_schema::SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let places = schema.fields().iter().map(|field| batch.schema().index_of(field.name())).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), batch.project(&places)?.columns().to_vec())
}
