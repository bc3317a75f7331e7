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
    /// As metadata of a table's schema.
    pub(super) fn to_metadata(&self) -> HashMap<String, String> {
        self.parts().into_iter().map(|(what, value)| (metadata_key(what), value)).collect()
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
            ("tokenizer", self.tokenizer.clone()),
            (EMBEDDER, self.embedder.clone()),
            ("dimension", self.dimension.to_string()),
            ("neighbour length", self.neighbour_length.to_string()),
            ("continuation length", self.continuation_length.to_string()),
        ]
    }
}

const EMBEDDER: &str = "embedder";

fn metadata_key(what: &str) -> String {
    format!("retro.{}", what.replace(' ', "_"))
}
