//! The contract of the file: names, types and metadata. A table of the database may change; a format that was written stays readable.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::names::CollectionName;
use crate::neighbours::Identity;

pub const DOCUMENT_ID: &str = "document_id";
pub const CHUNK_INDEX: &str = "chunk_index";
pub const BYTE_START: &str = "byte_start";
pub const BYTE_END: &str = "byte_end";
pub const NEIGHBOUR: &str = "neighbour";
pub const CONTINUATION: &str = "continuation";
pub const NEIGHBOUR_TOKENS: &str = "neighbour_tokens";
pub const CONTINUATION_TOKENS: &str = "continuation_tokens";
pub const TITLE: &str = "title";
pub const SOURCE: &str = "source";
pub const METADATA: &str = "metadata";
pub const EMBEDDING: &str = "embedding";

/// Key of the version of the format in the file's metadata, and its value.
pub const FORMAT: (&str, &str) = ("retro.format", "1");
/// Key of the collection that the file came from.
pub const COLLECTION: &str = "retro.collection";
/// Keys that say whether chunks of the file are chunks here.
pub const CHUNK_KEYS: [&str; 3] = ["retro.tokenizer", "retro.neighbour_length", "retro.continuation_length"];

/// Columns of the file, the embeddings' only where there are such.
pub fn schema(dimension: Option<usize>) -> SchemaRef {
    // Signed, since not every program that reads Parquet knows other integers.
    let text = |name| Field::new(name, DataType::Utf8, false);
    let tokens = |name| Field::new(name, DataType::List(Arc::new(Field::new("item", DataType::Int32, true))), false);
    let mut fields = vec![
        text(DOCUMENT_ID),
        Field::new(CHUNK_INDEX, DataType::Int32, false),
        Field::new(BYTE_START, DataType::Int64, false),
        Field::new(BYTE_END, DataType::Int64, false),
        text(NEIGHBOUR),
        text(CONTINUATION),
        tokens(NEIGHBOUR_TOKENS),
        tokens(CONTINUATION_TOKENS),
        text(TITLE),
        text(SOURCE),
        text(METADATA),
    ];
    if let Some(dimension) = dimension {
        let width = i32::try_from(dimension).expect("an embedding has fewer than 2^31 numbers");
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        fields.push(Field::new(EMBEDDING, DataType::FixedSizeList(item, width), false));
    }
    Arc::new(Schema::new(fields))
}

/// The file's metadata.
pub fn metadata(collection: &CollectionName, identity: &Identity) -> HashMap<String, String> {
    let mut metadata = identity.to_metadata();
    metadata.insert(FORMAT.0.to_owned(), FORMAT.1.to_owned());
    metadata.insert(COLLECTION.to_owned(), collection.to_string());
    metadata
}

/// What the file was made with, as far as it matters here. None where it does not say how its chunks were made.
///
/// # Errors
/// It is another version of the format, or embeddings are to be taken over and it does not say what made them.
pub fn identity(metadata: &HashMap<String, String>, ours: &Identity, takes_embeddings: bool) -> Result<Option<Identity>, String> {
    match metadata.get(FORMAT.0).map(String::as_str) {
        Some(version) if version == FORMAT.1 => {}
        Some(version) => {
            return Err(format!("`{}` in its metadata is {version:?}, this program reads {:?}", FORMAT.0, FORMAT.1));
        }
        None => return Err(format!("its metadata has no key `{}`; docs/interchange.md says what it has to have", FORMAT.0)),
    }
    if takes_embeddings {
        let missing: Vec<_> = ours.to_metadata().into_keys().filter(|key| !metadata.contains_key(key)).collect();
        return match Identity::of(metadata) {
            Some(identity) => Ok(Some(identity)),
            None if missing.is_empty() => Err("its metadata does not give its lengths as numbers".to_owned()),
            None => Err(format!(
                "its metadata does not say what made the embeddings: it has no key {}; `--embed-again` makes them anew",
                in_words(missing)
            )),
        };
    }
    let mut known = ours.to_metadata();
    for key in CHUNK_KEYS {
        match metadata.get(key) {
            Some(value) => known.insert(key.to_owned(), value.clone()),
            None => known.remove(key),
        };
    }
    Ok(Identity::of(&known))
}

fn in_words(mut keys: Vec<String>) -> String {
    keys.sort();
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}
