//! Collections as wholes: made, measured and removed.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use futures::StreamExt;
use jiff::Timestamp;
use lance::Dataset;
use lance::dataset::VersionRef;
use lancedb::Table;
use serde::Serialize;

use super::database::{store, twice};
use super::effort::Effort;
use super::index::{IndexStats, index_stats};
use super::{Database, DatabaseError, SearchOptions, durable, objects};
use crate::names::CollectionName;

/// Versions that are read at a time.
const READ_TOGETHER: usize = 8;

/// Size and state of a collection in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Figures {
    /// Chunks that a search sees.
    #[schema(example = 412)]
    pub chunks: u64,
    /// Rows of deleted and replaced chunks that the files of the newest version still hold.
    #[schema(example = 3)]
    pub deleted_chunks: u64,
    /// Parts of the newest version, each with files of its own.
    #[schema(example = 4)]
    pub fragments: u64,
    /// Bytes of all files, those of earlier versions too.
    #[schema(example = 1_048_576)]
    pub bytes: u64,
    /// Grows with every change; 0 before the first.
    #[schema(example = 7)]
    pub version: u64,
    pub kept_versions: KeptVersions,
    /// null where every search is exact.
    pub index: Option<IndexStats>,
    /// What searches do that do not say so themselves.
    pub search: Effort,
}

/// The versions of a collection that `as_of` can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeptVersions {
    #[schema(example = 5)]
    pub count: u64,
    /// null where there is none.
    #[schema(example = 3)]
    pub oldest: Option<u64>,
    /// null where there is none.
    #[schema(example = 7)]
    pub newest: Option<u64>,
}

/// A version of a collection that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeptVersion {
    #[schema(example = 7)]
    pub version: u64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl KeptVersions {
    /// Of versions in order.
    fn of(versions: &[VersionRef]) -> Self {
        Self {
            count: versions.len() as u64,
            oldest: versions.first().map(|kept| kept.version),
            newest: versions.last().map(|kept| kept.version),
        }
    }
}

impl fmt::Display for KeptVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.oldest, self.newest) {
            (Some(oldest), Some(newest)) if oldest < newest => write!(f, "versions {oldest} to {newest}"),
            (Some(only), _) => write!(f, "version {only}"),
            (None, _) => f.write_str("none, since nothing was written to it yet"),
        }
    }
}

impl Database {
    /// Makes an empty collection; one that is there stays as it is.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn create(&self, collection: &CollectionName) -> Result<(), DatabaseError> {
        let begin = SystemTime::now();
        self.table_or_new(collection).await?;
        self.make_durable(collection, begin).await
    }

    /// Removes a collection with all of its versions; none may be there. After the return no search sees a chunk of it, and a collection of
    /// its name would begin anew. A crash leaves it whole or gone.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn remove(&self, collection: &CollectionName) -> Result<(), DatabaseError> {
        self.check_leave().await?;
        match &self.inner.folder {
            Some(folder) => {
                let table = folder.join(format!("{collection}.lance"));
                let aside = folder.join(format!("{collection}.removed"));
                durable::off_the_runtime(move || durable::remove_folder(&table, &aside)).await.map_err(DatabaseError::Remove)?;
            }
            None => {
                let doing = |error| store(format!("remove collection {collection}"), error);
                if let Some((_, snapshot)) = self.unchecked(collection).await? {
                    let dataset = dataset(collection, &snapshot).await?;
                    objects::remove_versions(&dataset).await.map_err(|error| doing(error.into()))?;
                }
                // What nothing refers to any more, and what a crash left of an earlier removal.
                match self.inner.connection.drop_table(collection.as_str(), &[]).await {
                    Ok(()) | Err(lancedb::Error::TableNotFound { .. }) => {}
                    Err(error) => return Err(doing(error)),
                }
            }
        }
        self.forget(collection);
        Ok(())
    }

    /// # Errors
    /// The store cannot be read.
    pub async fn figures(&self, collection: &CollectionName) -> Result<Figures, DatabaseError> {
        twice(|| self.figures_once(collection)).await
    }

    async fn figures_once(&self, collection: &CollectionName) -> Result<Figures, DatabaseError> {
        let bytes = self.bytes(collection).await?;
        let Some(snapshot) = self.snapshot(collection).await? else {
            return Ok(Figures { bytes, ..Figures::default() });
        };
        let doing = |error: lance::Error| store(format!("measure collection {collection}"), error.into());
        let dataset = dataset(collection, &snapshot).await?;
        let versions = dataset.version_refs().await.map_err(doing)?;
        Ok(Figures {
            chunks: dataset.count_rows(None).await.map_err(doing)? as u64,
            deleted_chunks: dataset.count_deleted_rows().await.map_err(doing)? as u64,
            fragments: dataset.count_fragments() as u64,
            bytes,
            version: dataset.version().version,
            kept_versions: KeptVersions::of(&versions),
            index: index_stats(&snapshot, collection).await?,
            search: Effort::of(&dataset),
        })
    }

    /// The newest versions of a collection that are kept, at most `most`, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn kept_versions(&self, collection: &CollectionName, most: usize) -> Result<Vec<KeptVersion>, DatabaseError> {
        let Some(snapshot) = self.snapshot(collection).await? else {
            return Ok(Vec::new());
        };
        let doing = |error: lance::Error| store(format!("read the versions of collection {collection}"), error.into());
        let dataset = &dataset(collection, &snapshot).await?;
        let versions = dataset.version_refs().await.map_err(doing)?;
        let newest = futures::stream::iter(versions.into_iter().rev().take(most));
        let read = newest.map(async |kept| dataset.checkout_version(kept.version).await.map(|dataset| dataset.version()));
        let read: Vec<_> = read.buffered(READ_TOGETHER).collect().await;
        // One that cannot be read was removed meanwhile, as old versions are.
        let kept = read.into_iter().flatten().filter_map(|read| {
            let created_at = Timestamp::from_microsecond(read.timestamp.timestamp_micros()).ok()?;
            Some(KeptVersion { version: read.version, created_at })
        });
        Ok(kept.collect())
    }

    /// Whether the version that a search names is kept, where it names one.
    ///
    /// # Errors
    /// It is not, and the error says which are; or the store cannot be read.
    pub async fn check_version(&self, options: &SearchOptions) -> Result<(), DatabaseError> {
        match options.as_of {
            None => Ok(()),
            Some(_) => self.searched(options).await.map(drop),
        }
    }

    /// The version of the collection that a search is to see, read-only.
    pub(super) async fn searched(&self, options: &SearchOptions) -> Result<Option<Table>, DatabaseError> {
        let collection = &options.collection;
        let snapshot = self.snapshot(collection).await?;
        let Some(version) = options.as_of else {
            return Ok(snapshot);
        };
        let not_kept = |kept| DatabaseError::VersionNotKept { collection: collection.to_string(), version, kept };
        let Some(snapshot) = snapshot else {
            return Err(not_kept(KeptVersions::default()));
        };
        let doing = |error| store(format!("read version {version} of collection {collection}"), error);
        let newest = dataset(collection, &snapshot).await?;
        let Err(error) = snapshot.checkout(version).await else {
            return Ok(Some(snapshot));
        };
        let versions = newest.version_refs().await.map_err(|error| doing(error.into()))?;
        if versions.iter().any(|kept| kept.version == version) {
            return Err(doing(error));
        }
        Err(not_kept(KeptVersions::of(&versions)))
    }

    /// Bytes of all files of a collection, those of earlier versions too.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn bytes(&self, collection: &CollectionName) -> Result<u64, DatabaseError> {
        if let Some(folder) = &self.inner.folder {
            let table = folder.join(format!("{collection}.lance"));
            return durable::off_the_runtime(move || bytes_below(&table)).await.map_err(DatabaseError::Measure);
        }
        let Some((_, snapshot)) = self.unchecked(collection).await? else { return Ok(0) };
        let dataset = dataset(collection, &snapshot).await?;
        objects::bytes(&dataset).await.map_err(|error| store(format!("measure collection {collection}"), error.into()))
    }
}

/// The files of a table.
pub(super) async fn dataset(collection: &CollectionName, table: &Table) -> Result<Arc<Dataset>, DatabaseError> {
    let Some(dataset) = table.dataset() else {
        return Err(DatabaseError::Corrupt { collection: collection.to_string(), reason: "it has no files".to_owned() });
    };
    dataset.get().await.map_err(|error| store(format!("read collection {collection}"), error))
}

/// Files come and go meanwhile.
fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in walkdir::WalkDir::new(folder) {
        let size = entry.and_then(|entry| entry.metadata()).map_err(io::Error::from).map(|file| match file.is_file() {
            true => file.len(),
            false => 0,
        });
        match size {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            size => bytes += size?,
        }
    }
    Ok(bytes)
}
