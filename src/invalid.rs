//! What is wrong with an input: the field, and the rule in words. The same type for HTTP, the command line and files.

use std::fmt;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the field as the user wrote it, for instance `retrieval.neighbours` or `documents[3].text`.
    pub field: String,
    /// The rule with its limit and what was given.
    pub message: String,
    pub kind: InvalidKind,
}

/// Whether a rule of form was broken or a size was exceeded: callers answer the two differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    Value,
    TooLarge,
}

impl Invalid {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), kind: InvalidKind::Value }
    }

    pub fn too_large(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: InvalidKind::TooLarge, ..Self::new(field, message) }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.message)
    }
}

impl std::error::Error for Invalid {}
