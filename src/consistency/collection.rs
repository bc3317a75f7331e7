//! One collection: all of its rows, and all documents that the catalogue has in it.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use super::check::Checker;
use super::document::{Room, Seen, judge};
use super::mend::Rescued;
use super::reach::{Unread, closed, is_withheld, unread, withheld};
use super::{Checked, ConsistencyError, Finding, Kind};
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Audit, Columns, DatabaseError};

/// Documents whose rows are followed at a time, each with some hundred bytes: a collection of more rows is read more than once.
const FOLLOWED: u64 = 1 << 19;
/// Documents of the catalogue that are read at a time.
const PAGE: u32 = 1000;
/// Rows after which the progress is told.
const PROGRESS: u64 = 512;
/// Bytes of texts that wait for those before them, for all documents together.
const AHEAD: usize = 64 << 20;

/// Parts of a collection that cannot be read.
#[derive(Default)]
struct Broken {
    parts: BTreeSet<u64>,
    /// What is said of those that are damaged.
    texts: Vec<String>,
    /// Why others, which may be whole, cannot be looked at.
    withheld: Vec<String>,
}

impl Checker<'_> {
    /// Compares a collection. What keeps it from being read to its end is told, and no reason not to go on with the others.
    pub(super) async fn collection(&mut self, name: &CollectionName) -> Result<(), ConsistencyError> {
        let promised = self.stores.catalogue.promised_collection_removals().await?;
        if promised.contains(name) {
            return Ok(());
        }
        match self.compare(name).await {
            Err(ConsistencyError::Database(error)) => {
                self.report.add(closed(name.as_str(), &error));
                self.left.insert(name.clone());
                Ok(())
            }
            other => other,
        }
    }

    async fn compare(&mut self, name: &CollectionName) -> Result<(), ConsistencyError> {
        let mut audit = self.open(name).await?;
        if audit.is_none() && self.lacks_its_table(name).await? {
            return Ok(());
        }
        let rows = audit.as_ref().map_or(0, Audit::rows);
        let passes = rows.div_ceil(FOLLOWED).max(1);
        self.total += rows * passes;
        let (mut rescued, mut broken) = (Rescued::default(), Broken::default());
        for pass in 0..passes {
            let is_followed = |id: &str| passes == 1 || number_of(id) % passes == pass;
            let mut seen = self.rows(audit.as_ref(), &mut broken, is_followed).await?;
            if self.repairs
                && broken.withheld.is_empty()
                && !broken.parts.is_empty()
                && let Some(read) = &audit
            {
                rescued = self.take_out(read, &broken.parts).await?;
                self.tell(name, &mut broken, true);
                broken = Broken::default();
                audit = self.open(name).await?;
                seen = self.rows(audit.as_ref(), &mut broken, is_followed).await?;
            }
            self.tell(name, &mut broken, false);
            // Where rows may be that cannot be seen, no document can be said to lack them.
            if self.left.contains(name) || self.repairs && !broken.parts.is_empty() {
                break;
            }
            if let Some(audit) = &audit
                && self.lacks_its_documents(audit, &seen).await?
            {
                break;
            }
            let mut suspects = self.suspects(name, &mut seen, is_followed).await?;
            drop(seen);
            if pass == 0
                && let Some(audit) = &audit
            {
                suspects.extend(self.strange(audit, &broken.parts, None).await?.into_keys());
                suspects.sort();
                suspects.dedup();
            }
            self.look_again(name, suspects, &rescued).await?;
        }
        if let Some(audit) = &audit {
            let indexed = self.index(audit, broken.parts.is_empty() && !self.left.contains(name)).await?;
            let checked = Checked { name: name.to_string(), version: audit.version(), chunks: audit.rows(), indexed };
            self.report.collections.push(checked);
        }
        Ok(())
    }

    /// Tells of parts that cannot be read, each once.
    fn tell(&mut self, name: &CollectionName, broken: &mut Broken, taken_out: bool) {
        for text in broken.texts.drain(..) {
            let mended = taken_out.then(|| "they were taken out; each of their documents is told".to_owned());
            self.report.add(Finding { mended, ..Finding::new(Kind::UnreadableFile, text).of(name.as_str(), None) });
        }
        for reason in broken.withheld.drain(..) {
            let what = format!("{reason}. They may be whole, so its documents are not compared, and nothing of it is mended");
            self.report.add(withheld(name.as_str(), &what));
            self.left.insert(name.clone());
        }
    }

    pub(super) async fn open(&self, name: &CollectionName) -> Result<Option<Audit>, DatabaseError> {
        match Audit::open(&self.stores.uri, name).await {
            // It may just have been removed.
            Err(_) => Audit::open(&self.stores.uri, name).await,
            opened => opened,
        }
    }

    /// Reads the index; gives how many chunks it covers.
    async fn index(&mut self, audit: &Audit, readable: bool) -> Result<Option<u64>, ConsistencyError> {
        let name = audit.collection();
        let error = match audit.read_index().await {
            Ok(index) => return Ok(index.map(|index| index.indexed)),
            Err(error) => error,
        };
        let _guard = self.guard().await?;
        let Some(now) = self.open(name).await? else { return Ok(None) };
        // It may have been made anew, and its files be gone.
        if let Ok(index) = now.read_index().await {
            return Ok(index.map(|index| index.indexed));
        }
        if is_withheld(&error) {
            self.report.add(withheld(name.as_str(), &format!("its index cannot be looked at: {error}")));
            return Ok(None);
        }
        let mended = match self.repairs && readable {
            true => audit.database().build_index(name).await.map(|()| "it was made anew".to_owned()).ok(),
            false => None,
        };
        self.report.add(Finding { mended, ..Finding::new(Kind::UnreadableIndex, error.to_string()).of(name.as_str(), None) });
        Ok(None)
    }

    /// Why a part cannot be read, if it is the same while nobody else changes the database, where files may go.
    async fn still(&self, audit: &Audit, part: u64, error: DatabaseError) -> Result<Option<Unread>, ConsistencyError> {
        let guard = self.guard().await?;
        let name = audit.collection();
        let Some(now) = self.open(name).await? else { return Ok(None) };
        let (_, files) = audit.part(part);
        if now.part(part).1 != files {
            return Ok(None);
        }
        let Err(again) = now.read(part, Columns::All, |_| {}).await else { return Ok(None) };
        drop(guard);
        // What is damaged is so each time; what the machine says may come once.
        let error = if is_withheld(&again) { again } else { error };
        Ok(Some(unread(&self.stores.uri, name.as_str(), files, error).await))
    }

    /// Reads all rows and follows those of some documents. Adds parts that cannot be read to `broken`.
    async fn rows(
        &mut self,
        audit: Option<&Audit>,
        broken: &mut Broken,
        is_followed: impl Fn(&str) -> bool,
    ) -> Result<HashMap<String, Seen>, ConsistencyError> {
        let mut seen: HashMap<String, Seen> = HashMap::new();
        let Some(audit) = audit else { return Ok(seen) };
        let tokenizer = self.tokenizer_of(audit);
        let mut room = Room(AHEAD);
        let (progress, total, mut done) = (self.progress, self.total, self.done);
        for part in audit.parts() {
            if broken.parts.contains(&part) {
                continue;
            }
            let read = audit.read(part, Columns::All, |row| {
                done += 1;
                if done.is_multiple_of(PROGRESS) {
                    progress(done, total);
                }
                if !is_followed(row.document_id) {
                    return;
                }
                match seen.get_mut(row.document_id) {
                    Some(document) => document.take(&row, tokenizer.as_deref(), &mut room),
                    None => {
                        let mut document = Seen::new();
                        document.take(&row, tokenizer.as_deref(), &mut room);
                        seen.insert(row.document_id.to_owned(), document);
                    }
                }
            });
            if let Err(error) = read.await
                && let Some(unread) = self.still(audit, part, error).await?
            {
                let (rows, files) = audit.part(part);
                let place = format!("{}.lance/{}", audit.collection(), files.join(" and "));
                match unread {
                    Unread::Damaged(error) => broken.texts.push(format!("{rows} chunks cannot be read from {place}: {error}")),
                    Unread::Withheld(reason) => {
                        broken.withheld.push(format!("{rows} chunks cannot be looked at, in {place}: {reason}"))
                    }
                }
                broken.parts.insert(part);
            }
        }
        self.done = done;
        progress(done, total);
        Ok(seen)
    }

    /// Documents that are not as the catalogue says, as far as one look shows.
    async fn suspects(
        &mut self,
        name: &CollectionName,
        seen: &mut HashMap<String, Seen>,
        is_followed: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, ConsistencyError> {
        let mut suspects = Vec::new();
        let mut after = (String::new(), String::new());
        loop {
            let page = self.stores.catalogue.held_documents(name.as_str(), (&after.0, &after.1), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = (last.created_at.clone(), last.id.clone());
            for held in page.iter().filter(|held| is_followed(&held.id)) {
                if DocumentId::parse("id", &held.id).is_err()
                    || serde_json::from_str::<Map<String, Value>>(&held.metadata).is_err()
                {
                    let finding = Finding::new(Kind::CatalogueDamaged, "its id or its metadata cannot be understood");
                    self.report.add(finding.of(name.as_str(), Some(&held.id)));
                }
                let found = seen.remove(&held.id);
                if found.as_ref().is_some_and(|found| found.scattered)
                    || !judge(name.as_str(), Some(held), found.as_ref()).is_empty()
                {
                    suspects.push(held.id.clone());
                }
            }
        }
        suspects.extend(seen.drain().map(|(id, _)| id));
        suspects.sort();
        Ok(suspects)
    }
}

/// Cuts documents into sets of about the same size.
fn number_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
