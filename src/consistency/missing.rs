//! A store that is away, or another one than the other store belongs to. To a comparison it looks as if everything were lost, and what is
//! there as if it belonged to nobody: it is told as what it is, and left alone.

use std::collections::HashMap;

use super::check::Checker;
use super::document::Seen;
use super::{ConsistencyError, Finding, Kind};
use crate::names::CollectionName;
use crate::neighbours::{Audit, collections_at};
use crate::settings::shown_place;

/// Documents of which one has to be in the catalogue: no collection has so many orphans and nothing else.
const SAMPLE: usize = 1000;
/// Documents of the catalogue that are read at a time.
const PAGE: u32 = 100;

impl Checker<'_> {
    /// Tells of a store that is away as a whole; gives whether all is to be left as it is.
    pub(super) async fn lacks_a_store(&mut self, stored: &[CollectionName]) -> Result<bool, ConsistencyError> {
        let text = match (self.report.documents, stored) {
            (0, []) => None,
            (0, _) => self.without_catalogue(stored).await?,
            (_, []) => self.without_database().await?,
            _ => None,
        };
        Ok(text.is_some_and(|text| self.leave(Finding::new(Kind::MissingStore, text))))
    }

    /// Adds a finding of what is missing; gives whether what it is about is to be left as it is.
    fn leave(&mut self, finding: Finding) -> bool {
        let mended = self.accepts_loss.then(|| "it was taken as lost, as `--accept-loss` says".to_owned());
        self.report.add(Finding { mended, ..finding });
        !self.accepts_loss
    }

    fn leave_collection(&mut self, collection: &CollectionName, text: String) -> bool {
        let leaves = self.leave(Finding::new(Kind::MissingStore, text).of(collection.as_str(), None));
        if leaves {
            self.left.insert(collection.clone());
        }
        leaves
    }

    async fn without_catalogue(&self, stored: &[CollectionName]) -> Result<Option<String>, ConsistencyError> {
        let _guard = self.guard().await?;
        let mut rows = Vec::new();
        for name in stored {
            // One that cannot be opened is told with the others where there is a catalogue.
            if let Ok(Some(audit)) = self.open(name).await {
                rows.push((name, audit.rows()));
            }
        }
        // In this order: what removes documents from the catalogue has removed their chunks, or has promised to.
        if self.stores.catalogue.count_held().await? > 0 {
            return Ok(None);
        }
        let promised = self.stores.catalogue.promised_collection_removals().await?;
        let (mut chunks, mut collections) = (0, 0);
        for (_, rows) in rows.iter().filter(|(name, rows)| *rows > 0 && !promised.contains(name)) {
            chunks += rows;
            collections += 1;
        }
        Ok((chunks > 0).then(|| {
            let (catalogue, database) = self.places();
            format!(
                "the catalogue at {catalogue} lists no document, and the database at {database} has {chunks} chunks in {collections} \
                 collections: put the catalogue back, from a backup if it is lost, or name the two places that belong together \
                 (`data_dir`, `database_url`, `lance_uri`); if the documents are meant to be gone, `--repair --accept-loss` removes the chunks"
            )
        }))
    }

    async fn without_database(&self) -> Result<Option<String>, ConsistencyError> {
        let _guard = self.guard().await?;
        for name in self.stores.catalogue.held_collections().await? {
            if self.has_ready(&name).await? && collections_at(&self.stores.uri).await?.is_empty() {
                let (catalogue, database) = self.places();
                return Ok(Some(format!(
                    "the catalogue at {catalogue} has documents that are ready, and the database at {database} has no collection: put its \
                     folder back, mount its volume, or name the two places that belong together (`data_dir`, `database_url`, `lance_uri`); \
                     if the chunks are meant to be gone, `--repair --accept-loss` sets the documents to failed"
                )));
            }
        }
        Ok(None)
    }

    /// Tells of a collection that is away, though documents are ready in it; gives whether it is to be left.
    pub(super) async fn lacks_its_table(&mut self, name: &CollectionName) -> Result<bool, ConsistencyError> {
        let _guard = self.guard().await?;
        if !self.has_ready(name.as_str()).await? || self.open(name).await?.is_some() {
            return Ok(false);
        }
        let (catalogue, database) = self.places();
        let text = format!(
            "the catalogue at {catalogue} has documents that are ready in it, and the database at {database} has no folder \
             {name}.lance that is a collection: put it back, or make it readable; if its chunks are meant to be gone, \
             `--repair --accept-loss` sets the documents to failed"
        );
        Ok(self.leave_collection(name, text))
    }

    /// Tells of a collection whose documents the catalogue does not know at all; gives whether it is to be left.
    pub(super) async fn lacks_its_documents(
        &mut self,
        audit: &Audit,
        seen: &HashMap<String, Seen>,
    ) -> Result<bool, ConsistencyError> {
        if seen.is_empty() || self.knows_any(seen).await? {
            return Ok(false);
        }
        let name = audit.collection();
        let _guard = self.guard().await?;
        // Documents may have been removed since they were seen; their chunks are removed first.
        let unchanged = self.open(name).await?.is_some_and(|now| now.version() == audit.version());
        if !unchanged || self.knows_any(seen).await? {
            return Ok(false);
        }
        let ((catalogue, database), chunks) = (self.places(), audit.rows());
        let text = format!(
            "the database at {database} has {chunks} chunks in it, and the catalogue at {catalogue} has none of their documents: name the \
             two places that belong together (`data_dir`, `database_url`, `lance_uri`), or put the catalogue back; if the documents are \
             meant to be gone, `--repair --accept-loss` removes the chunks"
        );
        Ok(self.leave_collection(name, text))
    }

    /// Whether the catalogue has one of some documents, in whatever collection.
    async fn knows_any(&self, seen: &HashMap<String, Seen>) -> Result<bool, ConsistencyError> {
        for id in seen.keys().take(SAMPLE) {
            if self.stores.catalogue.held_document(id).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_ready(&self, collection: &str) -> Result<bool, ConsistencyError> {
        let mut after = (String::new(), String::new());
        loop {
            let page = self.stores.catalogue.held_documents(collection, (&after.0, &after.1), PAGE).await?;
            let Some(last) = page.last() else { return Ok(false) };
            if page.iter().any(|held| held.status == "ready") {
                return Ok(true);
            }
            after = (last.created_at.clone(), last.id.clone());
        }
    }

    /// Of the catalogue and of the database, as they may be shown.
    fn places(&self) -> (&str, String) {
        (self.stores.catalogue_place.as_str(), shown_place(&self.stores.uri))
    }
}
