//! What is done about what was found. The order of the steps is such that a crash between them leaves no document without its text.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::check::Checker;
use super::document::{Seen, Trouble};
use super::{ConsistencyError, Kind};
use crate::catalogue::{HeldDocument, NewRecord};
use crate::files::hex;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Audit, Columns, StoredRow};
use crate::text::Tokenizer;

/// What is wrong with documents, each with what was seen of it.
pub(super) type Wrong<'a> = BTreeMap<&'a str, (Option<&'a HeldDocument>, Option<Seen>, Vec<Trouble>)>;
/// Texts of rows of documents, those first that fit their token ids.
type Texts = HashMap<String, BTreeMap<u32, Vec<(bool, String)>>>;

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
            // It may be the embeddings that cannot be read.
            let read = audit.read(part, Columns::Text, |row| note(&mut texts, &row, tokenizer.as_deref()));
            if let Err(error) = read.await {
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
                    match waiting.filter(|text| is_of(held, text)).or_else(|| whole(held, texts.remove(id).unwrap_or_default())) {
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
            for (index, rows) in rescued.0.get(id).into_iter().flatten() {
                texts.entry(id.to_owned()).or_default().entry(*index).or_default().extend(rows.iter().cloned());
            }
        }
        Ok(texts)
    }
}

fn note(texts: &mut Texts, row: &StoredRow<'_>, tokenizer: Option<&Tokenizer>) {
    let fits =
        row.damage.is_none() && tokenizer.is_none_or(|tokenizer| tokenizer.decode_bytes(&row.tokens) == row.text.as_bytes());
    let rows = texts.entry(row.document_id.to_owned()).or_default().entry(row.chunk_index).or_default();
    rows.push((fits, row.text.to_owned()));
}

/// Whether the chunks are not as they have to be, and not only what is noted of them.
fn of_chunks(troubles: &[Trouble]) -> bool {
    use Kind::{DamagedChunks, DoubledChunks, MissingChunks, WrongLabels};
    troubles.iter().any(|trouble| matches!(trouble.kind, DamagedChunks | DoubledChunks | MissingChunks | WrongLabels))
}

/// The text that was taken in, if the rows have it.
fn whole(held: &HeldDocument, rows: BTreeMap<u32, Vec<(bool, String)>>) -> Option<String> {
    let mut text = String::new();
    for mut copies in rows.into_values() {
        copies.sort_by_key(|(fits, _)| !fits);
        text.push_str(&copies.first()?.1);
    }
    is_of(held, &text).then_some(text)
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
