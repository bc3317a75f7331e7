use std::collections::HashMap;

use super::DatabaseError;

/// What a database was made with. Vectors of two embedders cannot be compared, and token ids of two tokenizers are not the same words,
/// so a table says what made it and is refused to anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// sha256 of the tokenizer's file.
    pub tokenizer: String,
    /// What tells the embedder's weights from all others.
    pub embedder: String,
    /// Numbers in an embedding.
    pub dimension: usize,
    /// Most tokens of a neighbour.
    pub neighbour_length: usize,
    /// Most tokens of a continuation.
    pub continuation_length: usize,
}

impl Identity {
    /// As metadata of a table's schema, or of a file.
    pub fn to_metadata(&self) -> HashMap<String, String> {
        self.parts().into_iter().map(|(what, value)| (metadata_key(what), value)).collect()
    }

    /// What the metadata of a table says, or what a file says that came from one; none if a part of it is missing.
    pub fn of(metadata: &HashMap<String, String>) -> Option<Self> {
        let part = |what| metadata.get(&metadata_key(what));
        let number = |what| part(what)?.parse().ok();
        Some(Self {
            tokenizer: part(TOKENIZER)?.clone(),
            embedder: part(EMBEDDER)?.clone(),
            dimension: number(DIMENSION)?,
            neighbour_length: number(NEIGHBOUR_LENGTH)?,
            continuation_length: number(CONTINUATION_LENGTH)?,
        })
    }

    /// Each part that is another one in `other`: its name, what it is here, and there.
    pub fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let pairs = self.parts().into_iter().zip(other.parts());
        pairs.filter(|(here, there)| here != there).map(|((what, here), (_, there))| (what, here, there)).collect()
    }

    /// Whether chunks of a database of one identity are chunks of the other: whether token ids mean the same, in lists of the same lengths.
    pub fn has_chunks_of(&self, other: &Self) -> bool {
        let chunks = |identity: &Self| (identity.tokenizer.clone(), identity.neighbour_length, identity.continuation_length);
        chunks(self) == chunks(other)
    }

    /// What stands for the embedder in the metadata of a table.
    pub(super) fn embedder_of(metadata: &HashMap<String, String>) -> Option<&str> {
        metadata.get(&metadata_key(EMBEDDER)).map(String::as_str)
    }

    /// Compares with the metadata of an existing table.
    pub(super) fn check(&self, collection: &str, metadata: &HashMap<String, String>) -> Result<(), DatabaseError> {
        for (what, expected) in self.parts() {
            let found = metadata.get(&metadata_key(what)).map_or("none", String::as_str);
            if found != expected {
                return Err(DatabaseError::OtherIdentity {
                    collection: collection.to_owned(),
                    what,
                    found: found.to_owned(),
                    expected,
                });
            }
        }
        Ok(())
    }

    fn parts(&self) -> [(&'static str, String); 5] {
        [
            (TOKENIZER, self.tokenizer.clone()),
            (EMBEDDER, self.embedder.clone()),
            (DIMENSION, self.dimension.to_string()),
            (NEIGHBOUR_LENGTH, self.neighbour_length.to_string()),
            (CONTINUATION_LENGTH, self.continuation_length.to_string()),
        ]
    }
}

const TOKENIZER: &str = "tokenizer";
const EMBEDDER: &str = "embedder";
const DIMENSION: &str = "dimension";
const NEIGHBOUR_LENGTH: &str = "neighbour length";
const CONTINUATION_LENGTH: &str = "continuation length";

fn metadata_key(what: &str) -> String {
    format!("retro.{}", what.replace(' ', "_"))
}
