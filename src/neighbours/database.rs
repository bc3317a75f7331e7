use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_schema::SchemaRef;
use lancedb::{Connection, ObjectStoreRegistry, Session, Table};

use super::objects::{self, Objects};
use super::resident::Resident;
use super::schema::table_schema;
use super::snapshot::{guarded, schema_of};
use super::{Identity, KeptVersions, Leave, durable};
use crate::names::CollectionName;
use crate::settings::{INDEX_MB, shown_place};

/// Bytes of manifests, file footers and the like that are kept in memory, for all collections together.
const METADATA_CACHE: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error(
        "collection {collection:?} was made with another {what} (it says {found}, this server has {expected}); `retro reindex` makes it \
         anew from its own text, and another `data_dir` leaves it as it is meanwhile"
    )]
    OtherIdentity { collection: String, what: &'static str, found: String, expected: String },
    #[error("collection {collection:?} was made anew with another {what} while this program ran; it has to be started again")]
    MadeAnew { collection: String, what: &'static str },
    #[error("a vector has {found} numbers, the database has vectors of {expected}")]
    Dimension { found: usize, expected: usize },
    #[error("a vector holds a number that is not finite")]
    NotFinite,
    #[error("collection {collection:?} cannot be understood: {reason}")]
    Corrupt { collection: String, reason: String },
    #[error("collection {collection:?} does not keep version {version}; it keeps {kept}")]
    VersionNotKept { collection: String, version: u64, kept: KeptVersions },
    #[error(
        "the object store at {uri} cannot be used: {reason}; its address and the credentials come from the environment \
         (AWS_ENDPOINT_URL, AWS_ALLOW_HTTP, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: docs/scale.md)"
    )]
    Objects { uri: String, reason: String },
    #[error("the database cannot {doing}: {source}")]
    Store { doing: String, source: lancedb::Error },
    #[error("rows cannot be laid out: {0}")]
    Layout(#[from] arrow_schema::ArrowError),
    #[error("what was written cannot be brought to the disk: {0}")]
    Sync(std::io::Error),
    #[error("a collection's files cannot be removed: {0}")]
    Remove(std::io::Error),
    #[error("a collection's files cannot be measured: {0}")]
    Measure(std::io::Error),
    #[error("nothing may be written for now: {reason}")]
    NoLeave { reason: String },
}

/// Bytes of memory for all collections together.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// For the embeddings of collections that fit it: they are searched there.
    pub vectors: u64,
    /// For the indices of larger ones: what does not fit is read from the files by each search.
    pub indices: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { vectors: 0, indices: INDEX_MB << 20 }
    }
}

/// Size and state of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Stats {
    /// Chunks that a search sees.
    pub chunks: u64,
    /// Grows with every change; 0 before the first.
    pub version: u64,
}

/// A handle to the database: cheap to clone, usable from many tasks at once. Every read sees what other processes have written.
#[derive(Clone)]
pub struct Database {
    pub(super) inner: Arc<Inner>,
    /// Asked before each write; none where whoever writes holds a lock that cannot be lost.
    pub(super) leave: Option<Arc<dyn Leave>>,
}

pub(super) struct Inner {
    pub connection: Connection,
    pub identity: Identity,
    pub schema: SchemaRef,
    /// Where tables lie, if that is a folder of this machine and what is written there is to outlive the machine's end.
    pub folder: Option<PathBuf>,
    tables: Mutex<HashMap<CollectionName, Table>>,
    pub resident: Resident,
    /// Bytes of memory for indices.
    pub index_bytes: u64,
}

impl DatabaseError {
    /// Whether a collection has another identity than the database was opened with: no fault of what was to be read or written.
    pub fn is_of_identity(&self) -> bool {
        matches!(self, Self::OtherIdentity { .. } | Self::MadeAnew { .. })
    }

    /// Whether what was to be written can be written nowhere: no fault of the store.
    pub fn is_of_content(&self) -> bool {
        matches!(self, Self::Dimension { .. } | Self::NotFinite | Self::Layout(_))
    }

    /// Whether the disk took no more.
    pub fn is_of_room(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = match self {
            Self::Sync(error) | Self::Remove(error) | Self::Measure(error) => Some(error),
            other => Some(other),
        };
        while let Some(error) = cause {
            if error.downcast_ref::<std::io::Error>().is_some_and(is_of_room) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// Whether a disk took no more: it is full, or this process may write no more to it.
pub fn is_of_room(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    // One that another wraps is not found among its causes.
    let wrapped = error.get_ref().and_then(|inner| inner.downcast_ref::<std::io::Error>());
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) || wrapped.is_some_and(is_of_room)
}

impl Database {
    /// Opens, or begins, the database at `uri`: a folder, or a part of an object store, as in `s3://bucket/prefix`. A collection whose files
    /// are damaged is named in the log, and again by each call that needs it.
    ///
    /// # Errors
    /// The place cannot be used, or one of its collections was made with another identity.
    pub async fn open(uri: &str, identity: Identity, memory: Memory) -> Result<Self, DatabaseError> {
        let folder = durable::local_folder(uri);
        if folder.is_none() {
            Objects::open(uri).await?.check_commits().await?;
        }
        let database = Self::connected(connect(uri, memory).await?, identity, folder, memory);
        for collection in database.collections().await? {
            match database.table(&collection).await {
                Err(error) if error.is_of_identity() => return Err(error),
                // The others are none the worse for it; whoever asks for this one is told.
                Err(error) => tracing::error!(%collection, %error, "the collection cannot be opened"),
                Ok(_) => {}
            }
        }
        Ok(database)
    }

    /// Begins a database in `folder` that only its maker reads, and only while it runs: what is written is not brought to the disk.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub async fn open_scratch(folder: &Path, identity: Identity) -> Result<Self, DatabaseError> {
        let memory = Memory::default();
        Ok(Self::connected(connect(&folder.to_string_lossy(), memory).await?, identity, None, memory))
    }

    pub(super) fn connected(connection: Connection, identity: Identity, folder: Option<PathBuf>, memory: Memory) -> Self {
        let inner = Inner {
            connection,
            schema: table_schema(&identity),
            identity,
            folder,
            tables: Mutex::default(),
            resident: Resident::new(memory.vectors),
            index_bytes: memory.indices,
        };
        Self { inner: Arc::new(inner), leave: None }
    }

    /// Opens the database at `uri` to read what is there; None where a folder that `uri` means is not there, which is not made.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_existing(uri: &str, identity: Identity, memory: Memory) -> Result<Option<Self>, DatabaseError> {
        if is_missing(uri) { Ok(None) } else { Self::open(uri, identity, memory).await.map(Some) }
    }

    /// What tells the embedder that made the collections at `uri` from all others; none where there are no collections.
    ///
    /// # Errors
    /// The place cannot be used.
    pub async fn embedder_at(uri: &str) -> Result<Option<String>, DatabaseError> {
        let Some(connection) = connect_existing(uri).await? else { return Ok(None) };
        for name in collection_names(&connection).await? {
            // One that is damaged is named where it is opened to be read.
            let Ok(Ok(table)) = guarded(&name, connection.open_table(name.as_str()).execute()).await else { continue };
            let Ok(schema) = schema_of(&name, &table).await else { continue };
            if let Some(embedder) = Identity::embedder_of(schema.metadata()) {
                return Ok(Some(embedder.to_owned()));
            }
        }
        Ok(None)
    }

    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Collections that were made or written to, in the order of their names.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn collections(&self) -> Result<Vec<CollectionName>, DatabaseError> {
        collection_names(&self.inner.connection).await
    }

    /// Whether `collection` was made or written to.
    ///
    /// # Errors
    /// The store cannot be read, or the collection has another identity.
    pub async fn exists(&self, collection: &CollectionName) -> Result<bool, DatabaseError> {
        Ok(self.table(collection).await?.is_some())
    }

    /// # Errors
    /// The store cannot be read, or the collection has another identity.
    pub async fn stats(&self, collection: &CollectionName) -> Result<Stats, DatabaseError> {
        twice(|| self.stats_once(collection)).await
    }

    /// Version of a collection; 0 before its first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn version(&self, collection: &CollectionName) -> Result<u64, DatabaseError> {
        let Some((_, snapshot)) = self.unchecked(collection).await? else { return Ok(0) };
        snapshot.version().await.map_err(|e| store(format!("read collection {collection}"), e))
    }

    async fn stats_once(&self, collection: &CollectionName) -> Result<Stats, DatabaseError> {
        // A collection that was made anew can still be counted.
        let Some((_, snapshot)) = self.unchecked(collection).await? else {
            return Ok(Stats::default());
        };
        let doing = || format!("count the chunks of {collection}");
        let chunks = guarded(collection, snapshot.count_rows(None)).await?.map_err(|e| store(doing(), e))? as u64;
        let version = snapshot.version().await.map_err(|e| store(doing(), e))?;
        Ok(Stats { chunks, version })
    }

    /// The collection as it is now, read-only: whatever is written meanwhile, all reads of it agree.
    pub(super) async fn snapshot(&self, collection: &CollectionName) -> Result<Option<Table>, DatabaseError> {
        Ok(self.current(collection).await?.map(|(_, snapshot)| snapshot))
    }

    /// The collection's table, which surely is there, and the same as it is now, read-only.
    pub(super) async fn current(&self, collection: &CollectionName) -> Result<Option<(Table, Table)>, DatabaseError> {
        let current = self.unchecked(collection).await?;
        if let Some((_, snapshot)) = &current {
            self.check(collection, snapshot).await?;
        }
        Ok(current)
    }

    /// As [`current`](Self::current), whatever the collection was made with since it was first opened.
    pub(super) async fn unchecked(&self, collection: &CollectionName) -> Result<Option<(Table, Table)>, DatabaseError> {
        let Some(table) = self.handle(collection).await? else {
            return Ok(None);
        };
        // A query's own snapshot may be of a table that was removed, where one of the same name with fewer versions is in its place.
        if let Ok(snapshot) = guarded(collection, table.checkout_current()).await? {
            return Ok(Some((table, snapshot)));
        }
        // The table may have been removed by another process since its handle was made.
        self.forget(collection);
        let Some(table) = self.handle(collection).await? else {
            return Ok(None);
        };
        let snapshot = guarded(collection, table.checkout_current()).await?;
        let snapshot = snapshot.map_err(|e| store(format!("read collection {collection}"), e))?;
        Ok(Some((table, snapshot)))
    }

    /// Lets go of what is held of a collection.
    pub(super) fn forget(&self, collection: &CollectionName) {
        self.tables().remove(collection);
        self.inner.resident.forget(collection);
    }

    /// The collection's table. Whoever holds the lock of those that change the database may write to it: nobody makes it anew meanwhile.
    pub(super) async fn table(&self, collection: &CollectionName) -> Result<Option<Table>, DatabaseError> {
        Ok(self.current(collection).await?.map(|(table, _)| table))
    }

    /// Another process may make the collection anew at any time, and vectors of two embedders must never meet.
    async fn check(&self, collection: &CollectionName, table: &Table) -> Result<(), DatabaseError> {
        let schema = schema_of(collection, table).await?;
        match self.inner.identity.check(collection.as_str(), schema.metadata()) {
            Err(DatabaseError::OtherIdentity { collection, what, .. }) => Err(DatabaseError::MadeAnew { collection, what }),
            other => other,
        }
    }

    /// The collection's table, checked against the identity when it is first opened.
    pub(super) async fn handle(&self, collection: &CollectionName) -> Result<Option<Table>, DatabaseError> {
        if let Some(table) = self.tables().get(collection) {
            return Ok(Some(table.clone()));
        }
        let doing = || format!("open collection {collection}");
        let opened = guarded(collection, self.inner.connection.open_table(collection.as_str()).execute());
        let table = match opened.await? {
            Ok(table) => table,
            Err(lancedb::Error::TableNotFound { .. }) => return Ok(None),
            Err(error) => return Err(store(doing(), error)),
        };
        let schema = schema_of(collection, &table).await?;
        self.inner.identity.check(collection.as_str(), schema.metadata())?;
        self.tables().insert(collection.clone(), table.clone());
        Ok(Some(table))
    }

    pub(super) async fn table_or_new(&self, collection: &CollectionName) -> Result<Table, DatabaseError> {
        if let Some(table) = self.table(collection).await? {
            return Ok(table);
        }
        self.check_leave().await?;
        let create = self.inner.connection.create_empty_table(collection.as_str(), self.inner.schema.clone());
        match create.execute().await {
            Ok(_) | Err(lancedb::Error::TableAlreadyExists { .. }) => {}
            Err(error) => return Err(store(format!("begin collection {collection}"), error)),
        }
        self.table(collection).await?.ok_or_else(|| DatabaseError::Corrupt {
            collection: collection.to_string(),
            reason: "its table vanished as soon as it was made".to_owned(),
        })
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, HashMap<CollectionName, Table>> {
        self.inner.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None where a folder that `uri` means is not there, which is not made.
pub(super) async fn connect_existing(uri: &str) -> Result<Option<Connection>, DatabaseError> {
    if is_missing(uri) { Ok(None) } else { connect(uri, Memory::default()).await.map(Some) }
}

fn is_missing(uri: &str) -> bool {
    durable::local_folder(uri).is_some_and(|folder| !folder.exists())
}

/// Names of the collections, in their order.
pub(super) async fn collection_names(connection: &Connection) -> Result<Vec<CollectionName>, DatabaseError> {
    let names = connection.table_names().execute().await.map_err(|e| store("list its collections", e))?;
    // A table that no collection name can reach was put there by something else.
    Ok(names.iter().filter_map(|name| CollectionName::parse("collection", name).ok()).collect())
}

pub(super) async fn connect(uri: &str, memory: Memory) -> Result<Connection, DatabaseError> {
    // LanceDB's own default may fill 7 GiB.
    let session = Session::new(
        usize::try_from(memory.indices).unwrap_or(usize::MAX),
        METADATA_CACHE,
        Arc::new(ObjectStoreRegistry::default()),
    );
    let mut connect = lancedb::connect(uri).read_consistency_interval(Duration::ZERO).session(Arc::new(session));
    if durable::local_folder(uri).is_none() {
        Objects::open(uri).await?;
        connect = connect.storage_options(objects::options());
    }
    connect.execute().await.map_err(|source| store(format!("open {}", shown_place(uri)), source))
}

/// A collection that is removed takes the files from under those that read it, as does a version that is no longer kept: they read again,
/// what is there then.
pub(super) async fn twice<T, F>(read: impl Fn() -> F) -> Result<T, DatabaseError>
where
    F: Future<Output = Result<T, DatabaseError>>,
{
    match read().await {
        Err(DatabaseError::Store { .. }) => read().await,
        other => other,
    }
}

pub(super) fn store(doing: impl Into<String>, source: lancedb::Error) -> DatabaseError {
    DatabaseError::Store { doing: doing.into(), source }
}
