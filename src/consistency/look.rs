//! The second look, at documents that looked wrong in the first: while nobody changes the database, so that what is wrong then is wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::check::Checker;
use super::document::{Room, Seen, Trouble, judge};
use super::embeddings::Strange;
use super::mend::Rescued;
use super::reach::may_be_whole;
use super::{ConsistencyError, Finding, Kind};
use crate::catalogue::HeldDocument;
use crate::ingest::ChangeGuard;
use crate::names::CollectionName;
use crate::neighbours::Audit;
use crate::text::Tokenizer;

/// Documents that are looked at together, and while they are mended, when their texts are in memory.
const TOGETHER: usize = 256;
const MENDED_TOGETHER: usize = 32;
/// Bytes of texts that wait for those before them, for the documents that are looked at together.
const AHEAD: usize = 256 << 20;
/// Looks at a document that is submitted again and again.
const LOOKS: usize = 5;

impl Checker<'_> {
    pub(super) async fn look_again(
        &mut self,
        collection: &CollectionName,
        suspects: Vec<String>,
        rescued: &Rescued,
    ) -> Result<(), ConsistencyError> {
        let together = if self.repairs { MENDED_TOGETHER } else { TOGETHER };
        for batch in suspects.chunks(together) {
            let mut left: Vec<&str> = batch.iter().map(String::as_str).collect();
            for _ in 0..LOOKS {
                let scattered = self.look(collection, &mut left, AHEAD, rescued).await?;
                for id in scattered {
                    let mut alone = vec![id];
                    self.look(collection, &mut alone, usize::MAX, rescued).await?;
                    left.extend(alone);
                }
                if left.is_empty() {
                    break;
                }
            }
            for id in left {
                let finding = Finding::new(Kind::Unsettled, "it was submitted again each time that it was looked at");
                self.report.add(finding.of(collection.as_str(), Some(id)));
            }
        }
        Ok(())
    }

    /// Looks at documents, tells what is wrong, and leaves in `ids` those that changed meanwhile. Gives those of which nothing can be said,
    /// since their rows lie too far from each other.
    async fn look<'a>(
        &mut self,
        collection: &CollectionName,
        ids: &mut Vec<&'a str>,
        room: usize,
        rescued: &Rescued,
    ) -> Result<Vec<&'a str>, ConsistencyError> {
        let _guard = self.guard().await?;
        let before = self.held(ids).await?;
        let audit = self.open(collection).await?;
        // It was there, or no document was ready in it.
        if self.repairs && !self.accepts_loss && audit.is_none() && self.lacks_its_table(collection).await? {
            ids.clear();
            return Ok(Vec::new());
        }
        let mut seen = self.seen(audit.as_ref(), ids, room).await?;
        let mut strange = match &audit {
            Some(audit) => self.strange(audit, &BTreeSet::new(), Some(ids.as_slice())).await?,
            None => Strange::new(),
        };
        let after = self.held(ids).await?;
        let (mut changed, mut scattered, mut wrong) = (Vec::new(), Vec::new(), BTreeMap::new());
        for &id in ids.iter() {
            let found = seen.remove(id);
            if before.get(id) != after.get(id) {
                changed.push(id);
            } else if found.as_ref().is_some_and(|found| found.scattered) && room < usize::MAX {
                scattered.push(id);
            } else {
                let mut troubles = judge(collection.as_str(), after.get(id), found.as_ref());
                if troubles.is_empty()
                    && let Some(text) = strange.remove(id)
                {
                    troubles.push(Trouble { kind: Kind::DamagedChunks, text });
                }
                if !troubles.is_empty() {
                    wrong.insert(id, (after.get(id), found, troubles));
                }
            }
        }
        let mended = match self.repairs {
            true => self.mend(collection, audit.as_ref(), &wrong, rescued).await?,
            false => HashMap::new(),
        };
        for (&id, (_, _, troubles)) in &wrong {
            for trouble in troubles {
                let finding = Finding::new(trouble.kind, &trouble.text).of(collection.as_str(), Some(id));
                self.report.add(Finding { mended: mended.get(id).cloned(), ..finding });
            }
        }
        *ids = changed;
        Ok(scattered)
    }

    /// Keeps others from changing the database. A repair has done so from its beginning.
    pub(super) async fn guard(&self) -> Result<Option<ChangeGuard>, ConsistencyError> {
        Ok(if self.repairs { None } else { Some(self.changes.hold().await?) })
    }

    /// Only a tokenizer that made the collection can compare its token ids with its texts.
    pub(super) fn tokenizer_of(&self, audit: &Audit) -> Option<Arc<Tokenizer>> {
        self.stores.tokenizer.clone().filter(|tokenizer| tokenizer.identity() == audit.identity().tokenizer)
    }

    async fn held(&self, ids: &[&str]) -> Result<HashMap<String, HeldDocument>, ConsistencyError> {
        let mut held = HashMap::new();
        for id in ids {
            if let Some(document) = self.stores.catalogue.held_document(id).await? {
                held.insert(document.id.clone(), document);
            }
        }
        Ok(held)
    }

    /// What the rows of documents come to. What is damaged is told elsewhere, and was taken out before a repair comes here.
    async fn seen(&self, audit: Option<&Audit>, ids: &[&str], room: usize) -> Result<HashMap<String, Seen>, ConsistencyError> {
        let mut seen: HashMap<String, Seen> = HashMap::new();
        let Some(audit) = audit else { return Ok(seen) };
        let (tokenizer, mut room) = (self.tokenizer_of(audit), Room(room));
        for part in audit.parts() {
            let read = audit.read_documents(part, ids, |row| {
                let document = seen.entry(row.document_id.to_owned()).or_insert_with(Seen::new);
                document.take(&row, tokenizer.as_deref(), &mut room);
            });
            if let Err(error) = read.await {
                if self.repairs || may_be_whole(&self.stores.uri, &error) {
                    return Err(error.into());
                }
                tracing::debug!(%error, part, "a part cannot be read");
            }
        }
        Ok(seen)
    }
}
