//! The catalogue: documents, tasks, the texts that wait to be chunked, and API keys, in SQL. Everything that was answered for is on the disk here
//! first; the retrieval database follows.

mod check;
mod collection;
mod document;
mod idempotency;
mod key;
mod lease;
mod open;
mod page;
mod queue;
mod recount;
mod removal;
mod repair;
mod snapshot;
mod sql;
mod store;
mod submit;
mod task;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use check::{HeldDocument, HeldText, Rule};
pub use collection::{CollectionRecord, Totals};
pub use document::{Document, DocumentCounts, DocumentStatus};
pub use idempotency::{Earlier, Once};
pub use key::{ApiKey, KeyState};
pub use lease::{LEASE_LIFE, Lease};
pub use page::{Cursor, Page};
pub use queue::{Outcome, QueuedDocument, WriteTicket};
pub use removal::{Labels, Submitted};
pub use store::{Catalogue, CatalogueError};
pub use submit::NewRecord;
pub use task::{Task, TaskDocuments, TaskStatus};
