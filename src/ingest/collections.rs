use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::locks::ChangeGuard;
use super::{Ingest, IngestError};
use crate::catalogue::{DocumentCounts, Page};
use crate::names::CollectionName;
use crate::neighbours::{DatabaseError, Figures, KeptVersion};

/// Most versions that the details of a collection list.
const LISTED_VERSIONS: usize = 100;

/// A collection, with what both stores hold of it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Collection {
    #[schema(value_type = String, example = "default")]
    pub name: CollectionName,
    /// null for one from before this was noted, and for `default` before anything was submitted to it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    pub documents: DocumentCounts,
    #[serde(flatten)]
    pub figures: Figures,
    /// Numbers in an embedding.
    #[schema(example = 384)]
    pub dimension: usize,
    /// What tells the embedder that made the embeddings from all others.
    pub embedder: String,
}

/// A collection in detail.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CollectionDetails {
    #[serde(flatten)]
    pub collection: Collection,
    /// Of the documents that are ready.
    pub tokens: u64,
    /// Of the texts of the documents that are ready.
    pub text_bytes: u64,
    /// sha256 of the tokenizer's file.
    pub tokenizer: String,
    /// Most tokens of a neighbour.
    #[schema(example = 64)]
    pub neighbour_length: usize,
    /// Most tokens of a continuation.
    #[schema(example = 64)]
    pub continuation_length: usize,
    /// The newest versions that are kept, at most 100, the newest first.
    pub versions: Vec<KeptVersion>,
}

impl Ingest {
    /// Whether a collection is there; the default one always is, though it may be empty.
    ///
    /// # Errors
    /// A store cannot be read.
    pub async fn has_collection(&self, name: &CollectionName) -> Result<bool, IngestError> {
        Ok(*name == CollectionName::default()
            || self.inner.database.exists(name).await?
            || self.inner.catalogue.knows_collection(name).await?)
    }

    /// As [`has_collection`](Self::has_collection), for one that is to be searched.
    ///
    /// # Errors
    /// Its table is gone, or a store cannot be read.
    pub async fn can_search(&self, name: &CollectionName) -> Result<bool, IngestError> {
        Ok(self.has_table(name).await? || self.has_collection(name).await?)
    }

    /// Whether a collection was written to.
    ///
    /// # Errors
    /// Its table is gone though the catalogue has ready documents of it, as where a disk is not mounted; a store cannot be read.
    pub(super) async fn has_table(&self, name: &CollectionName) -> Result<bool, IngestError> {
        let (database, catalogue) = (&self.inner.database, &self.inner.catalogue);
        if database.exists(name).await? {
            return Ok(true);
        }
        let ready = catalogue.count_documents(Some(name)).await?.ready;
        // One that is made anew, or was just written to for the first time, is there now.
        if ready == 0 || database.exists(name).await? {
            return Ok(ready > 0);
        }
        let reason = format!("its table is gone, and the catalogue has {ready} documents of it");
        Err(DatabaseError::Corrupt { collection: name.to_string(), reason }.into())
    }

    /// Collections in the order of their names, at most `limit` after `after`. The page's cursor is the last one's name.
    ///
    /// # Errors
    /// A store cannot be read.
    pub async fn collections(&self, limit: usize, after: Option<&CollectionName>) -> Result<Page<Collection>, IngestError> {
        let mut names = self.collection_names().await?;
        if let Some(after) = after {
            names.retain(|name, _| name > after);
        }
        let more = names.len() > limit;
        let mut data = Vec::with_capacity(limit.min(names.len()));
        for (name, created_at) in names.into_iter().take(limit) {
            data.push(self.measured(name, created_at).await?);
        }
        let next_cursor = data.last().filter(|_| more).map(|last| last.name.to_string());
        Ok(Page { data, next_cursor })
    }

    /// None if there is no such collection.
    ///
    /// # Errors
    /// A store cannot be read.
    pub async fn collection(&self, name: &CollectionName) -> Result<Option<CollectionDetails>, IngestError> {
        let Some((name, created_at)) = self.collection_names().await?.remove_entry(name) else {
            return Ok(None);
        };
        let totals = self.inner.catalogue.totals(&name).await?;
        let versions = self.inner.database.kept_versions(&name, LISTED_VERSIONS).await?;
        let identity = self.inner.database.identity().clone();
        Ok(Some(CollectionDetails {
            collection: self.measured(name, created_at).await?,
            tokens: totals.tokens,
            text_bytes: totals.bytes,
            tokenizer: identity.tokenizer,
            neighbour_length: identity.neighbour_length,
            continuation_length: identity.continuation_length,
            versions,
        }))
    }

    /// Makes an empty collection; gives whether there was none before. The call goes on if its caller stops waiting.
    ///
    /// # Errors
    /// A store cannot be read or written.
    pub async fn create_collection(&self, name: &CollectionName) -> Result<bool, IngestError> {
        let (this, name) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let guard = this.inner.changes.hold().await?;
            if this.inner.catalogue.promised_collection_removals().await?.contains(&name) {
                // An error has left it.
                this.remove_collection(&guard, &name).await?;
            }
            if this.is_there(&name).await? {
                return Ok(false);
            }
            guard.over(&this.inner.database).create(&name).await?;
            this.inner.catalogue.add_collection(&name).await?;
            Ok(true)
        })
        .await?
    }

    /// Deletes a collection with all of its documents; gives whether there was one. After the return no search sees a chunk of them, not
    /// even if a worker was writing them when the call came, and tasks no longer wait for them; a crash before the return leaves the
    /// collection deleted or as it was. The call goes on if its caller stops waiting.
    ///
    /// # Errors
    /// A store cannot be written. The deletion may have been promised by then; a worker then completes it.
    pub async fn delete_collection(&self, name: &CollectionName) -> Result<bool, IngestError> {
        let (this, name) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let guard = this.inner.changes.hold().await?;
            if !this.is_there(&name).await? {
                return Ok(false);
            }
            this.inner.catalogue.begin_collection_removal(&name).await?;
            this.inner.progress.notify_waiters();
            this.remove_collection(&guard, &name).await?;
            // Those of its documents that were moved to it, and have chunks where they were before.
            let moved = this.inner.catalogue.promised_removals().await?;
            this.remove_promised(&guard, &moved).await?;
            Ok(true)
        })
        .await?
    }

    /// Only after the promise.
    pub(super) async fn remove_collection(&self, guard: &ChangeGuard, name: &CollectionName) -> Result<(), IngestError> {
        guard.while_held(guard.over(&self.inner.database).remove(name)).await?;
        Ok(self.inner.catalogue.finish_collection_removal(name).await?)
    }

    /// As the stores are now, whatever another process has done to them.
    async fn is_there(&self, name: &CollectionName) -> Result<bool, IngestError> {
        Ok(*name == CollectionName::default()
            || self.inner.catalogue.knows_collection(name).await?
            || self.inner.database.collections().await?.contains(name))
    }

    /// With the time of their creation, where it is known.
    async fn collection_names(&self) -> Result<BTreeMap<CollectionName, Option<Timestamp>>, IngestError> {
        let mut names: BTreeMap<_, _> = self.inner.database.collections().await?.into_iter().map(|name| (name, None)).collect();
        for removed in self.inner.catalogue.promised_collection_removals().await? {
            names.remove(&removed);
        }
        names.entry(CollectionName::default()).or_insert(None);
        names.extend(self.inner.catalogue.collections().await?.into_iter().map(|record| (record.name, record.created_at)));
        Ok(names)
    }

    async fn measured(&self, name: CollectionName, created_at: Option<Timestamp>) -> Result<Collection, IngestError> {
        let identity = self.inner.database.identity();
        Ok(Collection {
            created_at,
            documents: self.inner.catalogue.count_documents(Some(&name)).await?,
            figures: self.inner.database.figures(&name).await?,
            dimension: identity.dimension,
            embedder: identity.embedder.clone(),
            name,
        })
    }
}
