//! What the rows of one document come to, and whether that is what the catalogue says.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use sha2::{Digest, Sha256};

use super::Kind;
use crate::catalogue::HeldDocument;
use crate::files::hex;
use crate::neighbours::StoredRow;
use crate::text::{TokenId, Tokenizer};

/// How far the length of an embedding may be from 1, which is what an import takes.
const LENGTH_TOLERANCE: f64 = 1e-2;

/// What was read of a document in one collection so far. Rows come in any order, mostly in their own.
pub struct Seen {
    pub rows: u64,
    /// Chunks from the first on that were read in order.
    next: u32,
    bytes: u64,
    tokens: u64,
    hasher: Sha256,
    /// What the continuation of the last of those is.
    continuation: Option<u64>,
    /// Chunks whose predecessors are not read yet.
    ahead: BTreeMap<u32, Ahead>,
    doubled: bool,
    labels: Option<u64>,
    damage: Option<String>,
    /// Rows were let go of, since too many came ahead of others: nothing can be said.
    pub scattered: bool,
}

struct Ahead {
    text: String,
    tokens: u64,
    byte_start: u64,
    own: u64,
    continuation: Option<u64>,
}

/// Memory for texts that wait for those before them.
pub struct Room(pub usize);

/// What is wrong with a document, and how to say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub kind: Kind,
    pub text: String,
}

impl Seen {
    pub fn new() -> Self {
        Self {
            rows: 0,
            next: 0,
            bytes: 0,
            tokens: 0,
            hasher: Sha256::new(),
            continuation: None,
            ahead: BTreeMap::new(),
            doubled: false,
            labels: None,
            damage: None,
            scattered: false,
        }
    }

    pub fn take(&mut self, row: &StoredRow<'_>, tokenizer: Option<&Tokenizer>, room: &mut Room) {
        self.rows += 1;
        if let Some(damage) = damage(row, tokenizer) {
            self.note(format!("chunk {}: {damage}", row.chunk_index));
        }
        let labels = labels_of(row.title, row.source, row.metadata);
        if *self.labels.get_or_insert(labels) != labels {
            // No document has them.
            self.labels = Some(labels ^ 1);
        }
        if row.chunk_index < self.next || self.ahead.contains_key(&row.chunk_index) {
            self.doubled = true;
            return;
        }
        if self.scattered {
            return;
        }
        let continuation = row.rest.as_ref().map(|rest| fingerprint(rest.continuation, &rest.continuation_tokens));
        let ahead = Ahead {
            text: row.text.to_owned(),
            tokens: row.tokens.len() as u64,
            byte_start: row.byte_start,
            own: fingerprint(row.text, &row.tokens),
            continuation,
        };
        if row.chunk_index == self.next {
            self.append(ahead);
            while let Some(ahead) = self.ahead.remove(&self.next) {
                room.0 += ahead.text.len();
                self.append(ahead);
            }
        } else if room.0 < row.text.len() {
            self.scattered = true;
            room.0 += std::mem::take(&mut self.ahead).into_values().map(|ahead| ahead.text.len()).sum::<usize>();
        } else {
            room.0 -= row.text.len();
            self.ahead.insert(row.chunk_index, ahead);
        }
    }

    fn append(&mut self, chunk: Ahead) {
        if chunk.byte_start != self.bytes {
            self.note(format!("chunk {}: it does not begin where the one before it ends", self.next));
        }
        if self.next > 0 && self.continuation.is_some_and(|continuation| continuation != chunk.own) {
            self.note(format!("chunk {}: its continuation is not the chunk after it", self.next - 1));
        }
        self.hasher.update(chunk.text.as_bytes());
        self.bytes += chunk.text.len() as u64;
        self.tokens += chunk.tokens;
        self.continuation = chunk.continuation;
        self.next += 1;
    }

    fn note(&mut self, damage: String) {
        self.damage.get_or_insert(damage);
    }

    fn sha256(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }

    /// Chunks and tokens.
    pub fn counts(&self) -> (u64, u64) {
        (self.rows, self.tokens)
    }

    /// What is wrong with the rows, whatever document they are of.
    fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        if self.doubled {
            troubles.push(Trouble { kind: Kind::DoubledChunks, text: "chunks are there more than once".to_owned() });
        }
        if !self.ahead.is_empty() {
            let text = format!("chunk {} is missing, and there are later ones", self.next);
            troubles.push(Trouble { kind: Kind::MissingChunks, text });
        }
        if let Some(damage) = &self.damage {
            troubles.push(Trouble { kind: Kind::DamagedChunks, text: damage.clone() });
        }
        let after_the_last = self.continuation.is_some_and(|continuation| continuation != fingerprint("", &[]));
        if troubles.is_empty() && after_the_last {
            let text = format!("chunk {} has a continuation, and there is none after it", self.next.saturating_sub(1));
            troubles.push(Trouble { kind: Kind::MissingChunks, text });
        }
        troubles
    }
}

/// What is wrong with a row by itself.
fn damage(row: &StoredRow<'_>, tokenizer: Option<&Tokenizer>) -> Option<String> {
    if let Some(column) = row.damage {
        return Some(format!("its {column} is no text"));
    }
    if row.byte_end.checked_sub(row.byte_start) != Some(row.text.len() as u64) {
        return Some("its text is not as long as its bytes say".to_owned());
    }
    if let Some(tokenizer) = tokenizer
        && tokenizer.decode_bytes(&row.tokens) != row.text.as_bytes()
    {
        return Some("its tokens are not those of its text".to_owned());
    }
    let rest = row.rest.as_ref()?;
    if rest.key.rsplit_once('#').is_none_or(|(id, index)| id != row.document_id || index != row.chunk_index.to_string()) {
        return Some(format!("its key is {:?}", rest.key));
    }
    if let Some(tokenizer) = tokenizer
        && tokenizer.decode_bytes(&rest.continuation_tokens) != rest.continuation.as_bytes()
    {
        return Some("the tokens of its continuation are not those of its text".to_owned());
    }
    if !rest.embedding.iter().all(|number| number.is_finite()) {
        return Some("its embedding holds what is no finite number".to_owned());
    }
    let length = rest.embedding.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
    ((length - 1.0).abs() > LENGTH_TOLERANCE).then(|| format!("its embedding has length {length:.4}, not 1"))
}

fn fingerprint(text: &str, tokens: &[TokenId]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (text, tokens).hash(&mut hasher);
    hasher.finish()
}

fn labels_of(title: &str, source: &str, metadata: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (title, source, metadata).hash(&mut hasher);
    hasher.finish()
}

/// What is wrong with a document in one collection; nothing where it is as the catalogue says.
pub fn judge(collection: &str, held: Option<&HeldDocument>, seen: Option<&Seen>) -> Vec<Trouble> {
    let rows = seen.map_or(0, |seen| seen.rows);
    let orphan = |why: String| vec![Trouble { kind: Kind::OrphanChunks, text: format!("{rows} chunks of {why}") }];
    let Some(held) = held else {
        return if rows > 0 { orphan("a document that is not there".to_owned()) } else { Vec::new() };
    };
    let placed = held.places.iter().any(|place| place == collection);
    let own = held.collection == collection;
    match held.status.as_str() {
        "ready" if own => ready(held, seen),
        "ready" if rows > 0 => orphan(format!("a document that is in collection {}", held.collection)),
        "ready" => Vec::new(),
        status if rows > 0 && !placed => orphan(format!("a document that is {status} and has no chunks here")),
        "pending" | "failed" => seen.map(Seen::troubles).unwrap_or_default(),
        // Its removal removes them.
        _ => Vec::new(),
    }
}

fn ready(held: &HeldDocument, seen: Option<&Seen>) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut trouble = |kind, text| troubles.push(Trouble { kind, text });
    if held.places != [held.collection.as_str()] {
        let noted = if held.places.is_empty() { "nowhere".to_owned() } else { format!("in {}", held.places.join(", ")) };
        trouble(Kind::WrongPlaces, format!("its chunks are noted to be {noted}"));
    }
    if let Some(seq) = held.waiting {
        trouble(Kind::LeftoverText, format!("text {seq} waits for it, and it is ready"));
    }
    let Some(seen) = seen else {
        trouble(Kind::MissingChunks, format!("it has none of its {} chunks", held.chunks));
        return troubles;
    };
    let own = seen.troubles();
    if own.is_empty() {
        let is_its_text = seen.sha256() == held.sha256;
        if !is_its_text && i64::from(seen.next) < held.chunks {
            trouble(Kind::MissingChunks, format!("it has {} of its {} chunks", seen.next, held.chunks));
        } else if !is_its_text {
            trouble(Kind::DamagedChunks, "its chunks do not make up the text that was taken in (sha256)".to_owned());
        } else if (seen.next.into(), i64::try_from(seen.tokens).ok()) != (held.chunks, Some(held.tokens)) {
            let (chunks, tokens) = (held.chunks, held.tokens);
            let text =
                format!("it has {} chunks and {} tokens, the catalogue counts {chunks} and {tokens}", seen.next, seen.tokens);
            trouble(Kind::WrongCounts, text);
        }
        if seen.labels != Some(labels_of(&held.title, &held.source, &held.metadata)) {
            trouble(Kind::WrongLabels, "its chunks say another title, source or metadata".to_owned());
        }
    }
    troubles.extend(own);
    troubles
}
