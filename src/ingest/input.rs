use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{SchemaType, Type};

use crate::catalogue::NewRecord;
use crate::files::hex;
use crate::invalid::Invalid;
use crate::names::{CollectionName, DocumentId};
use crate::schemas;

/// Most characters of a title or a source.
pub const MAX_LABEL: usize = 1000;
/// Most bytes of a document's metadata as JSON.
const MAX_METADATA: usize = 16 << 10;

/// Limits that a setting moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestLimits {
    /// Most bytes of one document's text.
    pub max_document_bytes: usize,
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self { max_document_bytes: 10 << 20 }
    }
}

/// A document as it is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentInput {
    /// 1 to 128 of `A-Z a-z 0-9 . _ : -`; made up if left out, unless the path names it. A document that has this id already is
    /// replaced.
    #[schema(value_type = Option<DocumentId>, example = "dune-2021")]
    pub id: Option<String>,
    /// More than white space, and no NUL; at most 10 MiB, unless the setting `max_document_bytes` says otherwise.
    #[schema(schema_with = text_schema)]
    pub text: String,
    /// At most 1000 characters, and no NUL.
    #[schema(schema_with = title_schema)]
    pub title: Option<String>,
    /// Where the text comes from, for instance a URL or a path; at most 1000 characters, and no NUL.
    #[schema(schema_with = source_schema)]
    pub source: Option<String>,
    /// A JSON object of at most 16 KiB, given back with every neighbour.
    #[schema(schema_with = metadata_schema)]
    pub metadata: Option<Map<String, Value>>,
    /// `default` if left out.
    #[schema(value_type = Option<CollectionName>, example = "default")]
    pub collection: Option<String>,
}

fn metadata_schema() -> Schema {
    let words = "A JSON object of at most 16 KiB, given back with every neighbour.";
    let object_or_null = SchemaType::from_iter([Type::Object, Type::Null]);
    schemas::any_object().schema_type(object_or_null).description(Some(words)).examples([json!({"year": 2021})]).into()
}

fn text_schema() -> Schema {
    let example = "Dune is a 2021 American epic science fiction film directed by Denis Villeneuve.";
    let words = "More than white space, and no NUL; at most 10 MiB, unless the setting `max_document_bytes` says otherwise.";
    schemas::some_text().description(Some(words)).pattern(Some(schemas::PROSE)).examples([example]).into()
}

fn title_schema() -> Schema {
    label_schema("At most 1000 characters, and no NUL.", "Dune (2021 film)")
}

fn source_schema() -> Schema {
    let words = "Where the text comes from, for instance a URL or a path; at most 1000 characters, and no NUL.";
    label_schema(words, "https://en.wikipedia.org/wiki/Dune_(2021_film)")
}

fn label_schema(words: &str, example: &str) -> Schema {
    let text_or_null = SchemaType::from_iter([Type::String, Type::Null]);
    schemas::text(0..=MAX_LABEL)
        .schema_type(text_or_null)
        .description(Some(words))
        .pattern(Some(schemas::NO_NUL))
        .examples([example])
        .into()
}

/// A document that keeps all rules.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDocument(NewRecord);

impl NewDocument {
    /// Checks a document.
    ///
    /// # Arguments
    /// * `prefix` - path of the document in what the user wrote, for instance `documents[3]`; empty if it is all that was written.
    ///
    /// # Errors
    /// [`Invalid`] names the field and the rule that it breaks.
    pub fn validate(prefix: &str, input: DocumentInput, limits: &IngestLimits) -> Result<Self, Invalid> {
        let field = |name: &str| field_of(prefix, name);
        let id = match &input.id {
            Some(id) => DocumentId::parse(&field("id"), id)?,
            None => DocumentId::random(),
        };
        let collection = match &input.collection {
            Some(name) => CollectionName::parse(&field("collection"), name)?,
            None => CollectionName::default(),
        };
        check_text(&field("text"), &input.text, limits.max_document_bytes)?;
        let title = input.title.unwrap_or_default();
        check_label(&field("title"), &title)?;
        let source = input.source.unwrap_or_default();
        check_label(&field("source"), &source)?;
        let metadata = input.metadata.unwrap_or_default();
        let json = check_metadata(&field("metadata"), &metadata)?;
        let sha256 = hex(&Sha256::digest(input.text.as_bytes()));
        let content_hash = hash_of(&[collection.as_str(), &title, &source, &json, &sha256]);
        Ok(Self(NewRecord { id, collection, title, source, metadata, text: input.text, sha256, content_hash }))
    }

    /// Checks the documents of one request, which may not share an id.
    ///
    /// # Arguments
    /// * `prefix` - path of the document with the given place in what the user wrote.
    ///
    /// # Errors
    /// [`Invalid`] names the first field that breaks a rule.
    pub fn validate_all(
        inputs: Vec<DocumentInput>,
        limits: &IngestLimits,
        prefix: impl Fn(usize) -> String,
    ) -> Result<Vec<Self>, Invalid> {
        let mut documents = Vec::with_capacity(inputs.len());
        let mut places = HashMap::new();
        for (place, input) in inputs.into_iter().enumerate() {
            let document = Self::validate(&prefix(place), input, limits)?;
            if let Some(earlier) = places.insert(document.id().clone(), place) {
                let (this, other) = (field_of(&prefix(place), "id"), field_of(&prefix(earlier), "id"));
                return Err(Invalid::new(this, format!("is {:?}, and so is `{other}`", document.id().as_str())));
            }
            documents.push(document);
        }
        Ok(documents)
    }

    pub fn id(&self) -> &DocumentId {
        &self.0.id
    }

    pub fn collection(&self) -> &CollectionName {
        &self.0.collection
    }

    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The same for two documents whose text, title, source, metadata and collection are the same.
    pub fn content_hash(&self) -> &str {
        &self.0.content_hash
    }

    pub(super) fn into_record(self) -> NewRecord {
        self.0
    }
}

/// Lengths stand before the parts, so that no two lists of parts read the same.
fn hash_of(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize())
}

fn field_of(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn check_text(field: &str, text: &str, limit: usize) -> Result<(), Invalid> {
    if text.len() > limit {
        return Err(Invalid::too_large(field, format!("may have {limit} bytes, has {}", text.len())));
    }
    if text.trim().is_empty() {
        return Err(Invalid::new(field, "must hold more than white space"));
    }
    match text.find('\0') {
        None => Ok(()),
        Some(at) => Err(Invalid::new(field, format!("must be text, holds a NUL at byte {at}"))),
    }
}

/// Checks what is said of several documents together.
///
/// # Errors
/// [`Invalid`] names the field and the rule that it breaks.
pub(super) fn check_labels(title: Option<&str>, source: Option<&str>, metadata: &Map<String, Value>) -> Result<(), Invalid> {
    check_label("title", title.unwrap_or_default())?;
    check_label("source", source.unwrap_or_default())?;
    check_metadata("metadata", metadata).map(drop)
}

fn check_label(field: &str, value: &str) -> Result<(), Invalid> {
    let characters = value.chars().count();
    if characters > MAX_LABEL {
        return Err(Invalid::new(field, format!("may have {MAX_LABEL} characters, has {characters}")));
    }
    if value.contains('\0') {
        return Err(Invalid::new(field, "must be text, holds a NUL"));
    }
    Ok(())
}

/// The longest title or source that a document may have.
pub(super) fn cut_label(label: String) -> String {
    label.chars().take(MAX_LABEL).collect()
}

/// Gives it as JSON.
fn check_metadata(field: &str, metadata: &Map<String, Value>) -> Result<String, Invalid> {
    let json = serde_json::to_string(metadata).map_err(|e| Invalid::new(field, e.to_string()))?;
    if json.len() > MAX_METADATA {
        return Err(Invalid::too_large(field, format!("may have {MAX_METADATA} bytes as JSON, has {}", json.len())));
    }
    Ok(json)
}
