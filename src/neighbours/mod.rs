//! The retrieval database: a LanceDB table for each collection, whose rows are chunks of documents. A row's key is the embedding of a
//! chunk, its value that chunk (the neighbour) and the one after it (the continuation), so a search needs no second look-up.

mod check;
mod collection;
mod copy;
mod database;
mod durable;
mod effort;
mod entry;
mod fence;
mod filter;
mod identity;
mod index;
mod maintain;
mod objects;
mod options;
mod read;
mod replace;
mod resident;
mod schema;
mod search;
mod snapshot;
mod source;
mod stored;
mod version_files;
mod warm;
mod write;

#[cfg(test)]
mod tests;

pub use check::{Audit, StoredEmbedding};
pub use collection::{Figures, KeptVersion, KeptVersions};
pub use database::{Database, DatabaseError, Memory, Stats, is_of_room};
pub use durable::local_folder;
pub use effort::Effort;
pub use entry::{Entry, Neighbour, StoredChunk};
pub use fence::Leave;
#[cfg(any(test, fuzzing))]
pub(crate) use filter::fuzzing;
pub use filter::{Fields, Filter};
pub use identity::Identity;
pub use index::IndexStats;
pub use options::SearchOptions;
pub use search::Found;
pub use snapshot::collections_at;
pub use source::{DocumentSize, Source, SourceDocument, SourceText};
pub use stored::{Columns, StoredRow};
pub use warm::Warmed;
