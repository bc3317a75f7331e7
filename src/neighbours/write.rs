use std::time::{Duration, SystemTime};

use std::sync::Arc;

use arrow_array::RecordBatch;
use lance::Dataset;
use lance::dataset::{
    DeleteBuilder, InsertBuilder, MergeInsertBuilder, WhenMatched, WhenNotMatched, WhenNotMatchedBySource, WriteMode, WriteParams,
};
use lancedb::expr::{DfExpr, col, is_in, lit};

use super::database::store;
use super::schema::{DOCUMENT_ID, KEY, to_batch};
use super::{Database, DatabaseError, Entry, durable};
use crate::names::{CollectionName, DocumentId};

/// Attempts at one write where others change the table at the same time.
const ATTEMPTS: u32 = 5;

impl Database {
    /// Puts `documents`, each with all of its chunks, in the place of what the collection held under their ids. A reader sees all of the
    /// old or all of the new, and after the return, whatever happens to the machine, the new.
    ///
    /// # Arguments
    /// * `fresh` - the collection surely holds no chunk of these documents, which spares the search for them.
    ///
    /// # Errors
    /// An embedding has another dimension or a number that is not finite; the store cannot be written.
    pub async fn replace_documents(
        &self,
        collection: &CollectionName,
        documents: Vec<(DocumentId, Vec<Entry>)>,
        fresh: bool,
    ) -> Result<(), DatabaseError> {
        let (ids, entries): (Vec<DocumentId>, Vec<Vec<Entry>>) = documents.into_iter().unzip();
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        for entry in &entries {
            self.check_vector(&entry.embedding)?;
        }
        if ids.is_empty() {
            return Ok(());
        }
        let begin = SystemTime::now();
        let batch = to_batch(&self.inner.schema, self.inner.identity.dimension, &entries)?;
        let table = self.table_or_new(collection).await?;
        let doing = |error| store(format!("write to collection {collection}"), error);
        let mut attempt = 1;
        loop {
            // An attempt that failed may have written after all, so only the first may rely on `fresh`.
            let newest = self.newest(collection, &table).await?;
            let written = match (fresh && attempt == 1, batch.num_rows()) {
                (_, 0) => delete(newest, &ids).await,
                (true, _) => append(newest, batch.clone()).await,
                (false, _) => replace(newest, &ids, batch.clone()).await,
            };
            match written {
                Ok(()) => break,
                Err(error) if attempt < ATTEMPTS && is_conflict(&error) => pause(attempt).await,
                Err(error) => return Err(doing(error.into())),
            }
            attempt += 1;
        }
        self.make_durable(collection, begin).await
    }

    /// Removes all chunks of documents, in one commit; none may be there. After the return no search sees one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn delete_documents(&self, collection: &CollectionName, documents: &[DocumentId]) -> Result<(), DatabaseError> {
        // What made the chunks does not matter to their removal.
        let Some((table, _)) = self.unchecked(collection).await? else {
            return Ok(());
        };
        let begin = SystemTime::now();
        let mut attempt = 1;
        loop {
            match delete(self.newest(collection, &table).await?, documents).await {
                Ok(()) => break,
                Err(error) if attempt < ATTEMPTS && is_conflict(&error) => pause(attempt).await,
                Err(error) => return Err(store(format!("delete from collection {collection}"), error.into())),
            }
            attempt += 1;
        }
        self.make_durable(collection, begin).await
    }

    pub(super) async fn make_durable(&self, collection: &CollectionName, since: SystemTime) -> Result<(), DatabaseError> {
        durable::sync_table(self.inner.folder.clone(), collection, since).await.map_err(DatabaseError::Sync)
    }
}

// Each of these writes on top of the version that it is given, or fails if something came since that it cannot be put on top of: it never
// goes on from a later version by itself, since the leave to write was asked for with this one.

pub(super) async fn append(newest: Arc<Dataset>, batch: RecordBatch) -> lance::Result<()> {
    let params = WriteParams { mode: WriteMode::Append, ..WriteParams::default() };
    InsertBuilder::new(newest).with_params(&params).execute(vec![batch]).await.map(drop)
}

pub(super) async fn replace(newest: Arc<Dataset>, ids: &[DocumentId], batch: RecordBatch) -> lance::Result<()> {
    let mut merge = MergeInsertBuilder::try_new(newest, vec![KEY.to_owned()])?;
    merge
        .when_matched(WhenMatched::UpdateAll)
        .when_not_matched(WhenNotMatched::InsertAll)
        .when_not_matched_by_source(WhenNotMatchedBySource::DeleteIf(with_keys_of(ids)))
        .conflict_retries(0);
    merge.try_build()?.execute_batches(vec![batch]).await.map(drop)
}

pub(super) async fn delete(newest: Arc<Dataset>, ids: &[DocumentId]) -> lance::Result<()> {
    DeleteBuilder::from_expr(newest, of_documents(ids)).conflict_retries(0).execute().await.map(drop)
}

fn of_documents(ids: &[DocumentId]) -> DfExpr {
    is_in(col(DOCUMENT_ID), ids.iter().map(|id| lit(id.as_str())).collect())
}

/// The same rows by the column that a merge reads anyway: `#` comes before `$`, and no document id holds either.
fn with_keys_of(ids: &[DocumentId]) -> DfExpr {
    let keys = |id: &DocumentId| col(KEY).gt_eq(lit(format!("{id}#"))).and(col(KEY).lt(lit(format!("{id}$"))));
    ids.iter().map(keys).reduce(DfExpr::or).unwrap_or_else(|| lit(false))
}

pub(super) fn is_conflict(error: &lance::Error) -> bool {
    use lance::Error::{CommitConflict, IncompatibleTransaction, RetryableCommitConflict, TooMuchWriteContention};
    matches!(
        error,
        CommitConflict { .. } | IncompatibleTransaction { .. } | RetryableCommitConflict { .. } | TooMuchWriteContention { .. }
    )
}

async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
}
