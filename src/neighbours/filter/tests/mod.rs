mod differential;
mod hostile;
mod parse;
mod semantics;

use serde_json::Value;

use super::{Fields, Filter};
use crate::names::DocumentId;
use crate::neighbours::tests::{collection, database, entry, nearest};
use crate::neighbours::{Database, Entry, SearchOptions};

/// A document of one chunk, by what filters look at.
#[derive(Clone, Debug)]
struct Row {
    id: String,
    title: String,
    source: String,
    metadata: Value,
}

impl Row {
    fn new(id: impl Into<String>, metadata: Value) -> Self {
        Self { id: id.into(), title: String::new(), source: String::new(), metadata }
    }
}

async fn table(folder: &tempfile::TempDir, rows: &[Row]) -> Database {
    let database = database(folder).await;
    let documents = rows.iter().map(|row| {
        let entry = Entry {
            title: row.title.clone(),
            source: row.source.clone(),
            metadata: row.metadata.to_string(),
            ..entry(&row.id, 0, [1.0, 0.0, 0.0, 0.0])
        };
        (DocumentId::parse("id", &row.id).unwrap(), vec![entry])
    });
    database.replace_documents(&collection(), documents.collect(), true).await.unwrap();
    database
}

/// Ids of the rows that a search with this filter finds, in their order.
async fn accepted(database: &Database, filter: &Value) -> Vec<String> {
    let filter = Filter::parse("filter", filter).unwrap_or_else(|error| panic!("{error}: {filter}"));
    let options = SearchOptions { filter: Some(filter), ..nearest(1000) };
    let found = database.search(vec![vec![1.0, 0.0, 0.0, 0.0]], &options).await.unwrap();
    found.neighbours[0].iter().map(|row| row.document_id.to_string()).collect()
}

/// Ids of the rows that the filter accepts without a database, in their order.
fn accepted_as_documents(rows: &[Row], filter: &Value) -> Vec<String> {
    let filter = Filter::parse("filter", filter).unwrap();
    let accepts = |row: &&Row| {
        let metadata = row.metadata.to_string();
        filter.accepts(&Fields { document_id: &row.id, title: &row.title, source: &row.source, metadata: &metadata }).unwrap()
    };
    rows.iter().filter(accepts).map(|row| row.id.clone()).collect()
}
