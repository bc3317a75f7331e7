//! A filter on a document itself, where no chunk of it need be stored.

use super::json::Json;
use super::metadata::leads_to;
use super::{Column, Condition, Filter, Subject, Test, Tree};

/// What a filter looks at.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub document_id: &'a str,
    pub title: &'a str,
    pub source: &'a str,
    /// A JSON object.
    pub metadata: &'a str,
}

impl Filter {
    /// Whether a document fulfils the filter: a search with it finds the document's chunks if so.
    ///
    /// # Errors
    /// The metadata is not JSON.
    pub fn accepts(&self, document: &Fields<'_>) -> Result<bool, serde_json::Error> {
        let metadata = serde_json::from_str(document.metadata)?;
        Ok(holds(&self.0, document, &metadata))
    }
}

fn holds(tree: &Tree<Condition>, document: &Fields<'_>, metadata: &Json<'_>) -> bool {
    match tree {
        Tree::All(parts) => parts.iter().all(|part| holds(part, document, metadata)),
        Tree::Any(parts) => parts.iter().any(|part| holds(part, document, metadata)),
        Tree::Not(part) => !holds(part, document, metadata),
        Tree::Leaf(Condition { subject: Subject::Metadata(path), test }) => leads_to(metadata, path, test),
        Tree::Leaf(Condition { subject: Subject::Column(column), test }) => {
            let text = match column {
                Column::DocumentId => document.document_id,
                Column::Title => document.title,
                Column::Source => document.source,
            };
            match test {
                // A document that came without a title has the empty one.
                Test::Exists => !text.is_empty(),
                Test::OneOf(values) => values.texts.contains(text),
                Test::Texts(bounds) => bounds.contain(text),
                Test::Numbers(_) => false,
            }
        }
    }
}
