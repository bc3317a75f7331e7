use std::fs::File;

use sha2::{Digest, Sha256};

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

/// Told how many of how many chunks were read.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

pub(super) struct Checker<'a> {
    pub stores: &'a Stores,
    pub changes: ChangeLock,
    /// Whether what is found is mended.
    pub repairs: bool,
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
pub async fn check(stores: &Stores, repair: bool, progress: Progress<'_>) -> Result<Report, ConsistencyError> {
    let changes = ChangeLock::of_stores(&stores.catalogue, stores.uri.clone(), &stores.worker_lock);
    let _alone = if repair { Some(alone(stores, &changes).await?) } else { None };
    let mut checker = Checker { stores, changes, repairs: repair, report: Report::default(), progress, done: 0, total: 0 };
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
        self.texts().await?;
        for name in &names {
            self.collection(name).await?;
            if stored.contains(name) && !self.stores.catalogue.lists_collection(name.as_str()).await? {
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
            if self.repairs {
                if let Some(audit) = Audit::open(&self.stores.uri, &name).await? {
                    audit.database().remove(&name).await?;
                }
                catalogue.finish_collection_removal(&name).await?;
            }
            let mended = self.repairs.then(|| "it was removed".to_owned());
            self.report.add(Finding { mended, ..finding });
        }
        let promised = catalogue.promised_removals().await?;
        if self.repairs {
            self.remove(&promised).await?;
        }
        for id in promised {
            let finding = Finding::new(Kind::PromisedRemoval, "its removal was promised and is not done");
            let mended = self.repairs.then(|| "it was removed".to_owned());
            self.report.add(Finding { document: Some(id.to_string()), mended, ..finding });
        }
        Ok(())
    }

    async fn remove(&self, documents: &[DocumentId]) -> Result<(), ConsistencyError> {
        let catalogue = &self.stores.catalogue;
        for part in documents.chunks(500) {
            for (collection, documents) in catalogue.placements_of(part).await? {
                if let Some(audit) = Audit::open(&self.stores.uri, &collection).await? {
                    let ids: Vec<&str> = documents.iter().map(DocumentId::as_str).collect();
                    audit.delete(&ids).await?;
                }
            }
            catalogue.finish_removals(part).await?;
        }
        Ok(())
    }
}
