//! Names that come from outside and go into paths, queries and URLs: parsed once, safe everywhere after.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::invalid::Invalid;
use crate::schemas;

/// Longest document id, in bytes.
pub const MAX_DOCUMENT_ID: usize = 128;
/// Longest collection name, in bytes.
pub const MAX_COLLECTION_NAME: usize = 64;
/// Longest name of an API key, in bytes.
pub const MAX_KEY_NAME: usize = 64;
/// Longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// A document's id: 1 to 128 of `A-Z a-z 0-9 . _ : -`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DocumentId(String);

/// A collection's name: 1 to 64 of `A-Z a-z 0-9 _ -`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CollectionName(String);

/// An API key's name, which people give it and the log shows: 1 to 64 of `A-Z a-z 0-9 . _ @ -`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct KeyName(String);

/// What a client calls one of its requests by, so that it can send it again: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl DocumentId {
    /// # Errors
    /// [`Invalid`] names `field` and the rule that `value` breaks.
    pub fn parse(field: &str, value: &str) -> Result<Self, Invalid> {
        check(field, value, MAX_DOCUMENT_ID, "._:-")?;
        Ok(Self(value.to_owned()))
    }

    /// A new id that no document has.
    pub fn random() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CollectionName {
    /// # Errors
    /// [`Invalid`] names `field` and the rule that `value` breaks.
    pub fn parse(field: &str, value: &str) -> Result<Self, Invalid> {
        check(field, value, MAX_COLLECTION_NAME, "_-")?;
        Ok(Self(value.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyName {
    /// # Errors
    /// [`Invalid`] names `field` and the rule that `value` breaks.
    pub fn parse(field: &str, value: &str) -> Result<Self, Invalid> {
        check(field, value, MAX_KEY_NAME, "._@-")?;
        Ok(Self(value.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IdempotencyKey {
    /// # Errors
    /// The rule that `value` breaks.
    pub fn parse(value: &str) -> Result<Self, String> {
        match value.len() {
            1..=MAX_IDEMPOTENCY_KEY if value.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(value.to_owned())),
            1..=MAX_IDEMPOTENCY_KEY => Err("may hold visible ASCII characters only".to_owned()),
            length => Err(format!("must have 1 to {MAX_IDEMPOTENCY_KEY} characters, has {length}")),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DocumentId {
    type Error = Invalid;

    fn try_from(value: String) -> Result<Self, Invalid> {
        Self::parse("id", &value)
    }
}

impl Default for CollectionName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialSchema for DocumentId {
    fn schema() -> RefOr<Schema> {
        schema(MAX_DOCUMENT_ID, "._:-", "1 to 128 of `A-Z a-z 0-9 . _ : -`, beginning with a letter or digit")
    }
}

impl ToSchema for DocumentId {}

impl PartialSchema for CollectionName {
    fn schema() -> RefOr<Schema> {
        schema(MAX_COLLECTION_NAME, "_-", "1 to 64 of `A-Z a-z 0-9 _ -`, beginning with a letter or digit")
    }
}

impl ToSchema for CollectionName {}

/// What [`check`] checks. `also` ends in `-`, which would be a range elsewhere.
fn schema(longest: usize, also: &str, description: &str) -> RefOr<Schema> {
    let pattern = format!("^[A-Za-z0-9][A-Za-z0-9{also}]*$");
    schemas::text(1..=longest).description(Some(description)).pattern(Some(pattern)).into()
}

fn check(field: &str, value: &str, longest: usize, also: &str) -> Result<(), Invalid> {
    if value.is_empty() || value.len() > longest {
        return Err(Invalid::new(field, format!("must have 1 to {longest} characters, has {}", value.chars().count())));
    }
    if !value.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(Invalid::new(field, "must begin with a letter or digit (A-Z, a-z, 0-9)"));
    }
    match value.chars().find(|&c| !c.is_ascii_alphanumeric() && !also.contains(c)) {
        None => Ok(()),
        Some(c) => Err(Invalid::new(field, format!("may hold A-Z, a-z, 0-9 and {also:?} only, holds {:?}", c.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_a_path_or_a_query_are_refused() {
        for bad in ["", "a/b", "a'b", "..", "a\u{0}b", "a\nb", "ü", &"x".repeat(10_000)] {
            let error = DocumentId::parse("id", bad).unwrap_err();
            assert_eq!(error.field, "id", "{bad:?}");
        }
        assert_eq!(DocumentId::parse("id", "wiki:Dune-2021_v1.md").unwrap().as_str(), "wiki:Dune-2021_v1.md");
    }

    #[test]
    fn collections_have_no_dots() {
        assert!(CollectionName::parse("collection", "a.lance").is_err());
        assert!(CollectionName::parse("collection", "wiki_en-1").is_ok());
    }
}
