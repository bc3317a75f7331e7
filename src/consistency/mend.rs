//! What is done about what was found. The order of the steps is such that a crash between them leaves no document without its text.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::check::Checker;
use super::document::{Seen, Trouble};
use super::reach::may_be_whole;
use super::{ConsistencyError, Kind};
use crate::catalogue::{HeldDocument, NewRecord};
use crate::files::hex;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Audit, StoredRow};
use crate::text::Tokenizer;

/// What is wrong with documents, each with what was seen of it.
pub(super) type Wrong<'a> = BTreeMap<&'a str, (Option<&'a HeldDocument>, Option<Seen>, Vec<Trouble>)>;
/// Texts of rows of documents, in the order in which they were read.
type Texts = HashMap<String, Vec<Row>>;

struct Row {
    /// Rows of one revision were written one after the other: each begins another run than the one before it.
    run: u32,
    index: u32,
    /// Whether the text fits its token ids.
    fits: bool,
    text: String,
}

/// Texts of rows in parts that were taken out, as far as they could be read.
#[derive(Default)]
pub(super) struct Rescued(Texts);

/// What becomes of a document once its rows are removed.
enum Then {
    Nothing,
    Unplace,
    GiveUp(String),
}

impl Checker<'_> {
    /// Takes parts out of a collection that cannot be read, and gives the texts that can be read of them.
    pub(super) async fn take_out(&self, audit: &Audit, parts: &BTreeSet<u64>) -> Result<Rescued, ConsistencyError> {
        let (tokenizer, mut texts) = (self.tokenizer_of(audit), Texts::new());
        for &part in parts {
            // It may be the embeddings that cannot be read, or the file that says which rows were deleted.
            let read = audit.read_with_deleted(part, None, |row| note(&mut texts, &row, tokenizer.as_deref()));
            if let Err(error) = read.await {
                if may_be_whole(&self.stores.uri, &error) {
                    return Err(error.into());
                }
                tracing::warn!(%error, part, "texts of a part cannot be read either");
            }
        }
        audit.drop_parts(&parts.iter().copied().collect::<Vec<_>>()).await?;
        Ok(Rescued(texts))
    }

    /// Mends documents; gives what was done for each that was.
    pub(super) async fn mend(
        &self,
        collection: &CollectionName,
        audit: Option<&Audit>,
        wrong: &Wrong<'_>,
        rescued: &Rescued,
    ) -> Result<HashMap<String, String>, ConsistencyError> {
        let catalogue = &self.stores.catalogue;
        let ids: Vec<&str> = wrong.iter().filter(|(_, (_, _, troubles))| of_chunks(troubles)).map(|(id, _)| *id).collect();
        let mut texts = self.texts_of(audit, &ids, rescued).await?;
        let is_lost = |id: &&str| {
            let held = wrong.get(id).and_then(|(held, _, _)| *held).filter(|held| held.status == "ready");
            held.is_some_and(|held| whole(held, texts.get(*id)).is_none())
        };
        let lost: Vec<&str> = ids.iter().copied().filter(is_lost).collect();
        self.add_deleted(audit, &lost, &mut texts).await?;
        let (mut again, mut remove, mut mended) = (Vec::new(), Vec::new(), HashMap::new());
        for (&id, (held, seen, troubles)) in wrong {
            let has = |kind| troubles.iter().any(|trouble| trouble.kind == kind);
            let done = match held {
                _ if has(Kind::OrphanChunks) => {
                    remove.push((id, if held.is_some() { Then::Unplace } else { Then::Nothing }));
                    "they were removed"
                }
                Some(held) if held.status != "ready" => {
                    remove.push((id, Then::Unplace));
                    "the chunks of the earlier revision were removed"
                }
                Some(held) if of_chunks(troubles) => {
                    let waiting = match held.waiting {
                        Some(_) => catalogue.waiting_text(&document_id(id)?).await?,
                        None => None,
                    };
                    match waiting.filter(|text| is_of(held, text)).or_else(|| whole(held, texts.get(id))) {
                        Some(text) => {
                            again.push(record(held, text)?);
                            remove.push((id, Then::Nothing));
                            "its text is whole: the document waits in the queue, for a server to chunk it again"
                        }
                        None => {
                            let what = troubles.iter().map(|trouble| trouble.text.as_str()).collect::<Vec<_>>().join("; ");
                            remove.push((id, Then::GiveUp(format!("its chunks were damaged ({what}); send it again"))));
                            "its text is lost: the document has failed, and what was left of its chunks was removed"
                        }
                    }
                }
                Some(held) => {
                    self.mend_record(collection, held, seen.as_ref()).await?;
                    "the catalogue was corrected"
                }
                None => continue,
            };
            mended.insert(id.to_owned(), done.to_owned());
        }
        if !again.is_empty() {
            catalogue.submit(&again).await?;
        }
        if let Some(audit) = audit
            && !remove.is_empty()
        {
            audit.delete(&remove.iter().map(|(id, _)| *id).collect::<Vec<_>>()).await?;
        }
        for (id, then) in remove {
            match then {
                Then::Nothing => {}
                Then::Unplace => catalogue.place(id, collection.as_str(), false).await?,
                Then::GiveUp(reason) => catalogue.give_up(id, &reason, false).await?,
            }
        }
        Ok(mended)
    }

    /// Brings what the catalogue says of a document, whose chunks are whole, to what there is.
    async fn mend_record(
        &self,
        collection: &CollectionName,
        held: &HeldDocument,
        seen: Option<&Seen>,
    ) -> Result<(), ConsistencyError> {
        let catalogue = &self.stores.catalogue;
        for place in held.places.iter().filter(|place| place.as_str() != collection.as_str()) {
            if let Ok(other) = CollectionName::parse("collection", place)
                && let Some(audit) = self.open(&other).await?
            {
                audit.delete(&[held.id.as_str()]).await?;
            }
            catalogue.place(&held.id, place, false).await?;
        }
        catalogue.place(&held.id, collection.as_str(), true).await?;
        if let Some(seq) = held.waiting {
            catalogue.drop_text(seq).await?;
        }
        if let Some(seen) = seen {
            let (chunks, tokens) = seen.counts();
            catalogue.recount(collection, &[(&document_id(&held.id)?, chunks, tokens)]).await?;
        }
        Ok(())
    }

    async fn texts_of(&self, audit: Option<&Audit>, ids: &[&str], rescued: &Rescued) -> Result<Texts, ConsistencyError> {
        let mut texts: Texts = HashMap::new();
        if let Some(audit) = audit
            && !ids.is_empty()
        {
            let tokenizer = self.tokenizer_of(audit);
            for part in audit.parts() {
                audit.read_documents(part, ids, |row| note(&mut texts, &row, tokenizer.as_deref())).await?;
            }
        }
        for &id in ids {
            for row in rescued.0.get(id).into_iter().flatten() {
                add(&mut texts, id, row.index, row.fits, &row.text);
            }
        }
        Ok(texts)
    }

    /// Adds rows that were deleted and are still in the files: what says that they were may be what is damaged.
    async fn add_deleted(&self, audit: Option<&Audit>, ids: &[&str], texts: &mut Texts) -> Result<(), ConsistencyError> {
        if let Some(audit) = audit
            && !ids.is_empty()
        {
            let tokenizer = self.tokenizer_of(audit);
            for part in audit.parts() {
                audit.read_with_deleted(part, Some(ids), |row| note(texts, &row, tokenizer.as_deref())).await?;
            }
        }
        Ok(())
    }
}

fn note(texts: &mut Texts, row: &StoredRow<'_>, tokenizer: Option<&Tokenizer>) {
    let fits =
        row.damage.is_none() && tokenizer.is_none_or(|tokenizer| tokenizer.decode_bytes(&row.tokens) == row.text.as_bytes());
    add(texts, row.document_id, row.chunk_index, fits, row.text);
}

fn add(texts: &mut Texts, id: &str, index: u32, fits: bool, text: &str) {
    let rows = texts.entry(id.to_owned()).or_default();
    let run = rows.last().map_or(0, |last| if last.index < index { last.run } else { last.run + 1 });
    rows.push(Row { run, index, fits, text: text.to_owned() });
}

/// Whether the chunks are not as they have to be, and not only what is noted of them.
fn of_chunks(troubles: &[Trouble]) -> bool {
    use Kind::{DamagedChunks, DoubledChunks, MissingChunks, WrongLabels};
    troubles.iter().any(|trouble| matches!(trouble.kind, DamagedChunks | DoubledChunks | MissingChunks | WrongLabels))
}

/// The text that was taken in, if the rows have it: all of them together, or one run where others are of another revision.
fn whole(held: &HeldDocument, rows: Option<&Vec<Row>>) -> Option<String> {
    let rows = rows?;
    let runs = rows.last().map_or(0, |last| last.run + 1);
    let of_all = std::iter::once_with(|| joined(rows.iter()));
    let of_each = (0..runs).map(|run| joined(rows.iter().filter(move |row| row.run == run)));
    of_all.chain(of_each).find(|text| is_of(held, text))
}

/// The text of each chunk after the other; of several that are one chunk, the first that fits its token ids.
fn joined<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut chunks: BTreeMap<u32, &Row> = BTreeMap::new();
    for row in rows {
        let chunk = chunks.entry(row.index).or_insert(row);
        if row.fits && !chunk.fits {
            *chunk = row;
        }
    }
    chunks.into_values().map(|row| row.text.as_str()).collect()
}

fn is_of(held: &HeldDocument, text: &str) -> bool {
    hex(&Sha256::digest(text.as_bytes())) == held.sha256
}

fn record(held: &HeldDocument, text: String) -> Result<NewRecord, ConsistencyError> {
    let metadata: Map<String, Value> = serde_json::from_str(&held.metadata).map_err(|e| corrupt("metadata", e))?;
    Ok(NewRecord {
        id: document_id(&held.id)?,
        collection: CollectionName::parse("collection", &held.collection).map_err(|e| corrupt("collection", e))?,
        title: held.title.clone(),
        source: held.source.clone(),
        metadata,
        text,
        sha256: held.sha256.clone(),
        content_hash: held.content_hash.clone().unwrap_or_default(),
    })
}

fn document_id(id: &str) -> Result<DocumentId, ConsistencyError> {
    DocumentId::parse("id", id).map_err(|e| corrupt("document id", e))
}

fn corrupt(what: &'static str, reason: impl ToString) -> ConsistencyError {
    crate::catalogue::CatalogueError::Corrupt { what, reason: reason.to_string() }.into()
}
