use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::columns::Row;
use super::format::*;
use crate::catalogue::NewRecord;
use crate::ingest::input::{DocumentInput, IngestLimits, NewDocument};
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Entry, Identity};
use crate::text::Tokenizer;

/// How far the length of an embedding may be from 1: rounding, in whatever program.
const LENGTH_TOLERANCE: f64 = 1e-2;

/// What is taken over of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Chunks and embeddings.
    All,
    /// Chunks; they are embedded here.
    Chunks,
    /// The text; it is chunked and embedded here.
    Text,
}

/// What rows are checked against.
#[derive(Clone)]
pub struct Rules {
    pub taken: Taken,
    pub collection: CollectionName,
    /// Of this server.
    pub identity: Identity,
    pub limits: IngestLimits,
    pub tokenizer: Arc<Tokenizer>,
}

/// A document that keeps all rules.
pub struct FileDocument {
    pub record: NewRecord,
    /// Its chunks, unless only the text is taken over; without embeddings unless they are.
    pub entries: Vec<Entry>,
    /// Rows of the file that it stood in.
    pub rows: u64,
}

/// Documents of all files of one import so far: hashes of their ids.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<HashSet<u128>>>);

impl Seen {
    /// Whether the document is new.
    fn insert(&self, id: &DocumentId) -> bool {
        let hash = Sha256::digest(id.as_str()).first_chunk().copied().expect("a sha256 has 32 bytes");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(u128::from_le_bytes(hash))
    }
}

/// The documents of the rows of one file, each of which stands in rows next to each other.
pub struct FileDocuments<R> {
    rows: R,
    rules: Rules,
    seen: Seen,
    pending: Option<Pending>,
    /// Nothing more can be read.
    ended: bool,
}

/// A document whose rows are being read.
struct Pending {
    id: DocumentId,
    /// First and last row so far.
    first: u64,
    last: u64,
    title: String,
    source: String,
    metadata: String,
    text: String,
    entries: Vec<Entry>,
    chunks: i64,
    /// What has to follow: the last row's continuation.
    follows: (String, Vec<u32>),
}

impl<R: Iterator<Item = Result<Row, String>>> FileDocuments<R> {
    pub fn new(rows: R, rules: Rules, seen: Seen) -> Self {
        Self { rows, rules, seen, pending: None, ended: false }
    }

    fn advance(&mut self) -> Result<Option<FileDocument>, String> {
        for row in self.rows.by_ref() {
            let row = row?;
            let number = row.number;
            let at_row = |reason: String| format!("row {number}: {reason}");
            if let Some(pending) = &mut self.pending
                && pending.id.as_str() == row.document_id
            {
                pending.take(row, &self.rules).map_err(at_row)?;
                continue;
            }
            let mut next = Pending::new(&row, &self.seen).map_err(at_row)?;
            let whole = self.pending.take().map(|pending| pending.finish(&self.rules)).transpose()?;
            next.take(row, &self.rules).map_err(at_row)?;
            self.pending = Some(next);
            if whole.is_some() {
                return Ok(whole);
            }
        }
        self.ended = true;
        self.pending.take().map(|pending| pending.finish(&self.rules)).transpose()
    }
}

impl<R: Iterator<Item = Result<Row, String>>> Iterator for FileDocuments<R> {
    type Item = Result<FileDocument, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let document = self.advance().transpose();
        self.ended |= matches!(document, Some(Err(_)));
        document
    }
}

impl Pending {
    fn new(row: &Row, seen: &Seen) -> Result<Self, String> {
        let id = DocumentId::parse(DOCUMENT_ID, &row.document_id).map_err(|e| e.to_string())?;
        if !seen.insert(&id) {
            return Err(format!(
                "document {id} was there before: the rows of a document stand next to each other, in the order of their chunks, \
                 in one file"
            ));
        }
        Ok(Self {
            id,
            first: row.number,
            last: row.number,
            title: row.title.clone(),
            source: row.source.clone(),
            metadata: row.metadata.clone(),
            text: String::new(),
            entries: Vec::new(),
            chunks: 0,
            follows: (row.neighbour.clone(), row.neighbour_tokens.clone()),
        })
    }

    fn take(&mut self, row: Row, rules: &Rules) -> Result<(), String> {
        self.check_place(&row)?;
        for (name, value, first) in
            [(TITLE, &row.title, &self.title), (SOURCE, &row.source, &self.source), (METADATA, &row.metadata, &self.metadata)]
        {
            if value != first {
                return Err(format!("`{name}` is not the same as in row {}, which is of the same document", self.first));
            }
        }
        check_tokens(&row, rules)?;
        if (&row.neighbour, &row.neighbour_tokens) != (&self.follows.0, &self.follows.1) {
            return Err(format!("`{NEIGHBOUR}` and its tokens are not the continuation that row {} has", self.last));
        }
        let (size, most) = (self.text.len() + row.neighbour.len(), rules.limits.max_document_bytes);
        if size > most {
            return Err(format!(
                "document {} has {size} bytes up to here, at most {most} are allowed (`max_document_bytes`)",
                self.id
            ));
        }
        let embedding = match rules.taken {
            Taken::All => check_embedding(row.embedding, rules.identity.dimension)?,
            Taken::Chunks | Taken::Text => Vec::new(),
        };
        self.text.push_str(&row.neighbour);
        self.chunks += 1;
        self.last = row.number;
        self.follows = (row.continuation.clone(), row.continuation_tokens.clone());
        if rules.taken != Taken::Text {
            self.entries.push(Entry {
                document_id: self.id.clone(),
                chunk_index: u32::try_from(row.chunk_index).map_err(|e| e.to_string())?,
                byte_start: row.byte_start.unsigned_abs(),
                byte_end: row.byte_end.unsigned_abs(),
                neighbour: row.neighbour,
                continuation: row.continuation,
                neighbour_tokens: row.neighbour_tokens,
                continuation_tokens: row.continuation_tokens,
                title: row.title,
                source: row.source,
                metadata: row.metadata,
                embedding,
            });
        }
        Ok(())
    }

    /// Chunks tile their document: numbered from 0, each beginning where the one before it ends.
    fn check_place(&self, row: &Row) -> Result<(), String> {
        let (id, next, at) = (&self.id, self.chunks, row.chunk_index);
        if at >= 0 && at < next {
            return Err(format!("`{CHUNK_INDEX}` is {at}, and chunk {at} of document {id} was there before"));
        }
        if at != next {
            return Err(format!("`{CHUNK_INDEX}` is {at}, the next chunk of document {id} is {next}"));
        }
        let (start, end) = (self.text.len() as i64, (self.text.len() + row.neighbour.len()) as i64);
        if row.byte_start != start {
            return Err(format!("`{BYTE_START}` is {}, chunk {at} of document {id} begins at {start}", row.byte_start));
        }
        if row.byte_end != end {
            return Err(format!("`{BYTE_END}` is {}, the text of chunk {at} of document {id} ends at {end}", row.byte_end));
        }
        if row.neighbour.is_empty() { Err(format!("`{NEIGHBOUR}` is empty")) } else { Ok(()) }
    }

    fn finish(self, rules: &Rules) -> Result<FileDocument, String> {
        if !self.follows.0.is_empty() || !self.follows.1.is_empty() {
            return Err(format!(
                "row {}: `{CONTINUATION}` is not empty, and no chunk of document {} follows",
                self.last, self.id
            ));
        }
        let range = format!("rows {} to {}, document {}", self.first, self.last, self.id);
        let metadata =
            serde_json::from_str(&self.metadata).map_err(|e| format!("{range}: `{METADATA}` is no JSON object: {e}"))?;
        let input = DocumentInput {
            id: Some(self.id.to_string()),
            text: self.text,
            title: Some(self.title),
            source: Some(self.source),
            metadata: Some(metadata),
            collection: Some(rules.collection.to_string()),
        };
        let document = NewDocument::validate("", input, &rules.limits);
        let record = document.map_err(|invalid| format!("{range}: {invalid}"))?.into_record();
        let mut entries = self.entries;
        // As this program writes it, whatever wrote the file.
        let metadata = serde_json::to_string(&record.metadata).map_err(|e| format!("{range}: {e}"))?;
        entries.iter_mut().for_each(|entry| entry.metadata.clone_from(&metadata));
        Ok(FileDocument { record, entries, rows: self.chunks.unsigned_abs() })
    }
}

fn check_tokens(row: &Row, rules: &Rules) -> Result<(), String> {
    // Another tokenizer's ids mean nothing here; they are not taken over.
    if rules.taken == Taken::Text {
        return Ok(());
    }
    for (name, of, text, tokens, most) in [
        (NEIGHBOUR_TOKENS, NEIGHBOUR, &row.neighbour, &row.neighbour_tokens, rules.identity.neighbour_length),
        (CONTINUATION_TOKENS, CONTINUATION, &row.continuation, &row.continuation_tokens, rules.identity.continuation_length),
    ] {
        if tokens.len() > most {
            return Err(format!("`{name}` has {} tokens, at most {most} are allowed", tokens.len()));
        }
        if rules.tokenizer.decode_bytes(tokens) != text.as_bytes() {
            return Err(format!("`{name}` are not the tokens of `{of}`: they stand for {:?}", rules.tokenizer.decode(tokens)));
        }
    }
    Ok(())
}

fn check_embedding(embedding: Option<Vec<f32>>, dimension: usize) -> Result<Vec<f32>, String> {
    let embedding = embedding.ok_or_else(|| format!("it has no `{EMBEDDING}`"))?;
    if embedding.len() != dimension {
        return Err(format!("`{EMBEDDING}` has {} numbers, must have {dimension}", embedding.len()));
    }
    if let Some(place) = embedding.iter().position(|number| !number.is_finite()) {
        return Err(format!("`{EMBEDDING}` holds {} at {place}, must be finite", embedding[place]));
    }
    let length = embedding.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
    if (length - 1.0).abs() > LENGTH_TOLERANCE {
        return Err(format!("`{EMBEDDING}` has the length {length:.3}, must have 1"));
    }
    Ok(embedding)
}
