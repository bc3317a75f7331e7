use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, Sqlite, Transaction};

/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts to open a catalogue that another process is just beginning.
const OPEN_ATTEMPTS: u32 = 20;
const OPEN_RETRY: Duration = Duration::from_millis(100);
/// Result codes of SQLite; those of a call that reads or writes a file have the call in their second byte.
const SQLITE_BUSY: u32 = 5;
const SQLITE_FULL: u32 = 13;
const SQLITE_IOERR_WRITE: u32 = 10 | 3 << 8;
const SQLITE_IOERR_SHMSIZE: u32 = 10 | 19 << 8;
/// Reads at the same time.
const READERS: u32 = 4;
const BEGIN: &str = "BEGIN IMMEDIATE";

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("`database_url` names a kind of database that this build has no driver for: {scheme}; it takes sqlite://PATH")]
    Driver { scheme: String },
    #[error("the catalogue {place} cannot be opened: {reason}")]
    Open { place: String, reason: String },
    #[error("the catalogue failed: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("the catalogue holds a {what} that cannot be understood: {reason}")]
    Corrupt { what: &'static str, reason: String },
}

impl CatalogueError {
    /// Whether the catalogue's disk took no more: it is full, or this process may write no more to it.
    pub fn is_of_room(&self) -> bool {
        match self {
            Self::Sql(error) => {
                sqlite_code(error).is_some_and(|code| matches!(code, SQLITE_FULL | SQLITE_IOERR_WRITE | SQLITE_IOERR_SHMSIZE))
            }
            _ => false,
        }
    }

    /// Whether another process held the catalogue for longer than a statement waits for it.
    pub fn is_of_company(&self) -> bool {
        match self {
            Self::Sql(error) => is_busy(error) || matches!(error, sqlx::Error::PoolTimedOut),
            _ => false,
        }
    }
}

/// A handle to the catalogue: cheap to clone, usable from many tasks and processes at once.
#[derive(Clone)]
pub struct Catalogue {
    /// One connection, so that writes of this process queue up in order and not at the file's lock.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Catalogue {
    /// Opens, or begins, the catalogue: `catalogue.sqlite` in `data_dir`, or what `database_url` names.
    ///
    /// # Errors
    /// The database cannot be opened, or is newer than this program.
    pub async fn open(data_dir: &Path, database_url: Option<&str>) -> Result<Self, CatalogueError> {
        let (place, options) = match database_url {
            None => {
                let file = data_dir.join("catalogue.sqlite");
                (file.display().to_string(), SqliteConnectOptions::new().filename(file))
            }
            Some(url) => {
                let scheme = url.split(':').next().unwrap_or_default();
                if scheme != "sqlite" {
                    return Err(CatalogueError::Driver { scheme: scheme.to_owned() });
                }
                (url.to_owned(), SqliteConnectOptions::from_str(url)?)
            }
        };
        let failed = |reason: String| CatalogueError::Open { place: place.clone(), reason };
        if let Some(folder) = options.get_filename().parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(e.to_string()))?;
        }
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A 202 is a promise: what is committed survives the machine, not only the process.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let mut attempt = 1;
        loop {
            match connect(&options).await {
                Ok((writer, readers)) => return Ok(Self { writer, readers }),
                Err(error) if attempt < OPEN_ATTEMPTS && may_pass(&error) => tokio::time::sleep(OPEN_RETRY).await,
                Err(error) => return Err(failed(error.to_string())),
            }
            attempt += 1;
        }
    }

    /// Whether the catalogue answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), CatalogueError> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    /// Ends all connections; open transactions are undone.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(super) fn reader(&self) -> &SqlitePool {
        &self.readers
    }

    /// A transaction that holds the write lock from its beginning, so that what it reads stays true until it commits.
    pub(super) async fn write(&self) -> Result<Transaction<'static, Sqlite>, CatalogueError> {
        match self.writer.begin_with(BEGIN).await {
            // SQLite ends a transaction by itself where the disk is full or fails. sqlx, which is told to end it as well, goes on counting
            // it, and would begin none on this connection ever again.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await?.close().await?;
                Ok(self.writer.begin_with(BEGIN).await?)
            }
            begun => Ok(begun?),
        }
    }
}

async fn connect(options: &SqliteConnectOptions) -> Result<(SqlitePool, SqlitePool), MigrateError> {
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    sqlx::migrate!().run(&writer).await?;
    let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.clone()).await?;
    Ok((writer, readers))
}

/// Whether the error may come from another process that begins the same catalogue just now: SQLite does not wait while the journal's kind
/// is changed, and a migration that the other has done meanwhile cannot be done again.
fn may_pass(error: &MigrateError) -> bool {
    match error {
        MigrateError::ExecuteMigration(..) => true,
        MigrateError::Execute(error) => is_busy(error),
        _ => false,
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    // The low byte of an extended code is the code.
    sqlite_code(error).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// The time as it is stored: always the same width, so that the order of texts is the order of times.
pub(super) fn now() -> String {
    stored_time(Timestamp::now())
}

pub(super) fn stored_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// A column that is a text of a certain form.
pub(super) fn parsed<T>(row: &SqliteRow, column: &'static str) -> Result<T, CatalogueError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: String = row.try_get(column)?;
    text.parse().map_err(|e: T::Err| CatalogueError::Corrupt { what: column, reason: format!("{text:?}: {e}") })
}

pub(super) fn parsed_option<T>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, CatalogueError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|e: T::Err| CatalogueError::Corrupt { what: column, reason: e.to_string() })).transpose()
}

pub(super) fn count(row: &SqliteRow, column: &'static str) -> Result<u64, CatalogueError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|e| CatalogueError::Corrupt { what: column, reason: e.to_string() })
}
