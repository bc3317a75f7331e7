use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};

/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Reads at the same time.
const READERS: u32 = 4;

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
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await;
        let writer = writer.map_err(|e| failed(e.to_string()))?;
        migrate(&writer).await.map_err(|e| failed(e.to_string()))?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await;
        Ok(Self { writer, readers: readers.map_err(|e| failed(e.to_string()))? })
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
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Two processes that begin the same catalogue may both find it empty; the slower one then finds it done.
async fn migrate(pool: &SqlitePool) -> Result<(), sqlx::migrate::MigrateError> {
    let migrations = sqlx::migrate!();
    let mut attempts = 0;
    loop {
        match migrations.run(pool).await {
            Err(sqlx::migrate::MigrateError::Execute(_) | sqlx::migrate::MigrateError::ExecuteMigration(..))
                if attempts < 5 =>
            {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => return other,
        }
    }
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
    text.map(|text| text.parse().map_err(|e: T::Err| CatalogueError::Corrupt { what: column, reason: e.to_string() }))
        .transpose()
}

pub(super) fn count(row: &SqliteRow, column: &'static str) -> Result<u64, CatalogueError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|e| CatalogueError::Corrupt { what: column, reason: e.to_string() })
}
