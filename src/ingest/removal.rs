use std::collections::BTreeSet;

use super::locks::ChangeGuard;
use super::stalled::Stalled;
use super::{Ingest, IngestError};
use crate::catalogue::{Labels, Submitted};
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Fields, Filter};

/// Documents whose chunks one commit removes.
const REMOVED_TOGETHER: usize = 500;

impl Ingest {
    /// Deletes a document; gives whether there was one. After the return no search sees a chunk of it, not even if a worker was writing it
    /// when the call came; a crash before the return leaves it deleted or as it was. The call goes on if its caller stops waiting.
    ///
    /// # Errors
    /// A store cannot be written. The deletion may have been promised by then; a worker then completes it.
    pub async fn delete(&self, id: &DocumentId) -> Result<bool, IngestError> {
        let (this, id) = (self.clone(), id.clone());
        tokio::spawn(async move {
            let guard = this.inner.changes.hold().await?;
            let existed = this.inner.catalogue.begin_removal(&id).await?;
            if existed {
                this.inner.progress.notify_waiters();
                this.remove_promised(&guard, std::slice::from_ref(&id)).await?;
            }
            Ok(existed)
        })
        .await?
    }

    /// The documents of a collection whose newest revision fulfils `filter`, whatever its status, in the order of their ids.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn matching(&self, collection: &CollectionName, filter: &Filter) -> Result<Vec<DocumentId>, IngestError> {
        Ok(self.submitted(collection, filter).await?.into_iter().map(|document| document.id).collect())
    }

    /// Deletes the documents of a collection whose newest revision fulfils `filter`, and gives their ids in order. What
    /// [`delete`](Self::delete) promises of one holds for all of them; a crash before the return leaves all deleted or all as they were.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn delete_matching(&self, collection: &CollectionName, filter: &Filter) -> Result<Vec<DocumentId>, IngestError> {
        let (this, collection, filter) = (self.clone(), collection.clone(), filter.clone());
        tokio::spawn(async move {
            let guard = this.inner.changes.hold().await?;
            let found = this.submitted(&collection, &filter).await?;
            // Documents may be submitted again meanwhile, and then say something else of themselves.
            let deleted = this.inner.catalogue.begin_removals(&found).await?;
            this.inner.progress.notify_waiters();
            this.remove_promised(&guard, &deleted).await?;
            Ok(deleted)
        })
        .await?
    }

    async fn submitted(&self, collection: &CollectionName, filter: &Filter) -> Result<Vec<Submitted>, IngestError> {
        let accepts = |Labels { id, title, source, metadata }: Labels<'_>| {
            filter.accepts(&Fields { document_id: id, title, source, metadata }).map_err(|error| format!("{id}: {error}"))
        };
        Ok(self.inner.catalogue.documents_where(collection, accepts).await?)
    }

    /// Completes promised removals that a crash or an error has left, but for those from collections that cannot be written for now.
    pub(super) async fn complete_removals(&self, stalled: &mut Stalled) -> Result<(), IngestError> {
        let catalogue = &self.inner.catalogue;
        if catalogue.promised_removals().await?.is_empty() && catalogue.promised_collection_removals().await?.is_empty() {
            return Ok(());
        }
        let guard = self.inner.changes.hold().await?;
        // Read again: what was promised before may be done, and the document or the collection be there again.
        for collection in catalogue.promised_collection_removals().await? {
            if stalled.holds(&collection) {
                continue;
            }
            match self.remove_collection(&guard, &collection).await {
                Err(IngestError::Database(error)) => stalled.note(&collection, &error),
                removed => {
                    removed?;
                    stalled.forget(&collection);
                }
            }
        }
        let database = guard.over(&self.inner.database);
        for part in catalogue.promised_removals().await?.chunks(REMOVED_TOGETHER) {
            let mut removed: BTreeSet<_> = part.iter().cloned().collect();
            for (collection, documents) in catalogue.placements_of(part).await? {
                if !stalled.holds(&collection) {
                    match database.delete_documents(&collection, &documents).await {
                        Err(error) => stalled.note(&collection, &error),
                        Ok(()) => {
                            stalled.forget(&collection);
                            continue;
                        }
                    }
                }
                removed.retain(|id| !documents.contains(id));
            }
            catalogue.finish_removals(&removed.into_iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_promised(&self, guard: &ChangeGuard, ids: &[DocumentId]) -> Result<(), IngestError> {
        let database = guard.over(&self.inner.database);
        for part in ids.chunks(REMOVED_TOGETHER) {
            for (collection, documents) in self.inner.catalogue.placements_of(part).await? {
                database.delete_documents(&collection, &documents).await?;
            }
            self.inner.catalogue.finish_removals(part).await?;
        }
        Ok(())
    }
}
