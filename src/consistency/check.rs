use std::collections::BTreeSet;
use std::fs::File;

use sha2::{Digest, Sha256};

use super::reach::closed;
use super::{ConsistencyError, Finding, Kind, Report, Stores};
use crate::catalogue::Rule;
use crate::files::hex;
use crate::ingest::{ChangeGuard, ChangeLock, holder, lease_holder, sole_lock};
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Audit, collections_at};

/// Texts that wait, and are in memory at a time.
const TEXTS: u32 = 8;
/// Findings of a rule of the catalogue that are named.
const NAMED: u32 = 20;
/// Documents whose promised removal is completed together.
const REMOVED_TOGETHER: usize = 500;

/// Told how many of how many chunks were read.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// That what is found is mended.
#[derive(Clone, Copy, Debug)]
pub struct Repair {
    /// What a store holds that the other knows nothing of is taken as lost.
    pub accepts_loss: bool,
}

pub(super) struct Checker<'a> {
    pub stores: &'a Stores,
    pub changes: ChangeLock,
    /// Whether what is found is mended.
    pub repairs: bool,
    pub accepts_loss: bool,
    /// Collections of which nothing is compared or mended.
    pub left: BTreeSet<CollectionName>,
    pub report: Report,
    pub progress: Progress<'a>,
    /// Chunks that were read, of those that there are to read.
    pub done: u64,
    pub total: u64,
}

/// What keeps all others from writing while stores are mended.
struct Alone {
    _locks: [File; 2],
    _changes: ChangeGuard,
}

/// Compares the catalogue with the retrieval database and reads both to the last row; with `repair` mends what can be mended.
///
/// # Errors
/// A store cannot be used for a reason that is no finding; with `repair`, others work on them ([`ConsistencyError::InUse`]).
pub async fn check(stores: &Stores, repair: Option<Repair>, progress: Progress<'_>) -> Result<Report, ConsistencyError> {
    let (repairs, accepts_loss) = (repair.is_some(), repair.is_some_and(|repair| repair.accepts_loss));
    let changes = ChangeLock::of_stores(&stores.catalogue, stores.uri.clone(), &stores.worker_lock);
    let _alone = if repairs { Some(alone(stores, &changes).await?) } else { None };
    let (report, left) = (Report::default(), BTreeSet::new());
    let mut checker = Checker { stores, changes, repairs, accepts_loss, left, report, progress, done: 0, total: 0 };
    match checker.run().await {
        // The files of the catalogue may be such that it cannot be read.
        Err(ConsistencyError::Catalogue(error)) => {
            checker.report.add(Finding::new(Kind::CatalogueDamaged, format!("it cannot be read on: {error}")));
        }
        other => other?,
    }
    Ok(checker.report)
}

async fn alone(stores: &Stores, changes: &ChangeLock) -> Result<Alone, ConsistencyError> {
    let take = |path: &std::path::Path| match sole_lock(path)? {
        Some(file) => Ok(file),
        None => {
            let holder = holder(path).unwrap_or_else(|| "a server, `retro ingest` or `retro reindex`".to_owned());
            Err(ConsistencyError::InUse { holder })
        }
    };
    let worker = take(&stores.worker_lock)?;
    let reindex = take(&stores.worker_lock.with_file_name("reindex.lock"))?;
    // Whoever begins after this finds the lock of changes held.
    if let Some(holder) = lease_holder(&stores.catalogue).await? {
        return Err(ConsistencyError::InUse { holder });
    }
    Ok(Alone { _locks: [worker, reindex], _changes: changes.hold().await? })
}

impl Checker<'_> {
    async fn run(&mut self) -> Result<(), ConsistencyError> {
        let damage = self.stores.catalogue.damage().await?;
        for line in &damage {
            self.report.add(Finding::new(Kind::CatalogueDamaged, line));
        }
        if self.repairs && !damage.is_empty() {
            // What is written to a broken file may break more.
            return Ok(());
        }
        self.report.documents = self.stores.catalogue.count_held().await?;
        let mut names = collections_at(&self.stores.uri).await?;
        let stored = names.clone();
        for name in self.stores.catalogue.held_collections().await? {
            match CollectionName::parse("collection", &name) {
                Ok(name) => names.push(name),
                Err(error) => self.report.add(Finding::new(Kind::CatalogueDamaged, format!("a collection is named so: {error}"))),
            }
        }
        names.sort();
        names.dedup();
        if self.lacks_a_store(&stored).await? {
            return Ok(());
        }
        self.texts().await?;
        for name in &names {
            self.collection(name).await?;
            if stored.contains(name)
                && !self.left.contains(name)
                && !self.stores.catalogue.lists_collection(name.as_str()).await?
            {
                let finding = Finding::new(Kind::UnlistedCollection, "the catalogue's list lacks it").of(name.as_str(), None);
                self.add(finding, "it was put on the list", self.stores.catalogue.add_collection(name)).await?;
            }
        }
        self.rules().await?;
        self.removals().await
    }

    /// Adds a finding; where things are mended, after `mend` has done `done`.
    async fn add<E>(
        &mut self,
        mut finding: Finding,
        done: &str,
        mend: impl Future<Output = Result<(), E>>,
    ) -> Result<(), ConsistencyError>
    where
        ConsistencyError: From<E>,
    {
        if self.repairs {
            mend.await?;
            finding.mended = Some(done.to_owned());
        }
        self.report.add(finding);
        Ok(())
    }

    /// Texts that wait.
    async fn texts(&mut self) -> Result<(), ConsistencyError> {
        let catalogue = self.stores.catalogue.clone();
        let mut after = i64::MIN;
        loop {
            let texts = catalogue.held_texts(after, TEXTS).await?;
            let Some(last) = texts.last() else { return Ok(()) };
            after = last.seq;
            for text in texts {
                let collection = text.collection.as_deref().unwrap_or_default();
                match text.status.as_deref() {
                    Some("pending" | "failed") if text.sha256 == Some(hex(&Sha256::digest(text.text.as_bytes()))) => {}
                    Some("pending" | "failed") => {
                        let what = "the text that waits is not the one that was taken in (sha256)";
                        let finding = Finding::new(Kind::DamagedText, what).of(collection, Some(&text.document_id));
                        let reason = "its text was damaged before it was chunked; send it again";
                        let mend = catalogue.give_up(&text.document_id, reason, true);
                        self.add(finding, "the document has failed: its text is lost", mend).await?;
                    }
                    // Told with its chunks.
                    Some("ready") => {}
                    _ => {
                        let what = format!("text {} waits, and its document does not", text.seq);
                        let finding = Finding::new(Kind::LeftoverText, what).of(collection, Some(&text.document_id));
                        self.add(finding, "it was removed", catalogue.drop_text(text.seq)).await?;
                    }
                }
            }
        }
    }

    /// What has to hold in the catalogue alone.
    async fn rules(&mut self) -> Result<(), ConsistencyError> {
        let catalogue = self.stores.catalogue.clone();
        for rule in [Rule::NoText, Rule::AwaitedInVain, Rule::NotAwaited, Rule::TaskState] {
            let limit = if self.repairs { u32::MAX >> 1 } else { NAMED };
            let (discords, number) = catalogue.discords(rule, limit).await?;
            let unnamed = number.saturating_sub(discords.len() as u64);
            let mut kind = Kind::WrongTask;
            for discord in discords {
                let (id, about) = (&discord.id, &discord.about);
                let finding = match rule {
                    Rule::NoText => {
                        kind = Kind::MissingText;
                        let finding = Finding::new(kind, "it is pending and no text waits for it").of(about, Some(id));
                        let reason = "its text was lost before it was chunked; send it again";
                        self.add(finding, "the document has failed", catalogue.give_up(id, reason, true)).await?;
                        continue;
                    }
                    Rule::AwaitedInVain => format!("task {about} waits for document {id}, which is not pending"),
                    Rule::NotAwaited => format!("document {id} is pending and its task {about} does not wait for it"),
                    Rule::TaskState => format!("task {id} is {about}, which does not go with its counts or what it waits for"),
                };
                self.add(Finding::new(kind, finding), "the tasks were counted again", catalogue.mend_tasks()).await?;
            }
            if unnamed > 0 {
                self.report.count(kind, unnamed, 0);
            }
        }
        Ok(())
    }

    /// Removals that were promised, which the worker of a server does.
    async fn removals(&mut self) -> Result<(), ConsistencyError> {
        let catalogue = self.stores.catalogue.clone();
        for name in catalogue.promised_collection_removals().await? {
            let finding = Finding::new(Kind::PromisedRemoval, "its removal was promised and is not done").of(name.as_str(), None);
            let mended = match self.repairs {
                true => self.remove_collection(&name).await?.then(|| "it was removed".to_owned()),
                false => None,
            };
            self.report.add(Finding { mended, ..finding });
        }
        let promised = catalogue.promised_removals().await?;
        for part in promised.chunks(REMOVED_TOGETHER) {
            let removed = self.repairs && self.remove(part).await?;
            for id in part {
                let finding = Finding::new(Kind::PromisedRemoval, "its removal was promised and is not done");
                let mended = removed.then(|| "it was removed".to_owned());
                self.report.add(Finding { document: Some(id.to_string()), mended, ..finding });
            }
        }
        Ok(())
    }

    /// Gives whether it is done; if not, the reason is told.
    async fn remove_collection(&mut self, name: &CollectionName) -> Result<bool, ConsistencyError> {
        let removed = match Audit::open(&self.stores.uri, name).await {
            Ok(Some(audit)) => audit.database().remove(name).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            self.report.add(closed(name.as_str(), &error));
            return Ok(false);
        }
        self.stores.catalogue.finish_collection_removal(name).await?;
        Ok(true)
    }

    /// As [`remove_collection`](Self::remove_collection), of documents. Where a collection is away they stay promised: when it is back, a
    /// search would find them.
    async fn remove(&mut self, documents: &[DocumentId]) -> Result<bool, ConsistencyError> {
        for (collection, documents) in self.stores.catalogue.placements_of(documents).await? {
            if self.left.contains(&collection) {
                return Ok(false);
            }
            let ids: Vec<&str> = documents.iter().map(DocumentId::as_str).collect();
            let removed = match Audit::open(&self.stores.uri, &collection).await {
                Ok(Some(audit)) => audit.delete(&ids).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                self.report.add(closed(collection.as_str(), &error));
                return Ok(false);
            }
        }
        self.stores.catalogue.finish_removals(documents).await?;
        Ok(true)
    }
}
