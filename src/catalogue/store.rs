use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use super::open;
use super::sql::{Pool, Row, Write, query};

/// Key of the lock that makes write transactions in PostgreSQL follow one another.
const WRITE_LOCK: i64 = 0x7265_7472_6f01;
/// Classes and codes of PostgreSQL's errors that say that it, or the connection, is away or overloaded for now.
const OUTAGES: &[&str] = &["08", "57P", "53300", "25P03", "55P03"];
/// PostgreSQL's code for a full disk.
const DISK_FULL: &str = "53100";
/// Result codes of SQLite; those of a call that reads or writes a file have the call in their second byte.
const SQLITE_BUSY: u32 = 5;
const SQLITE_FULL: u32 = 13;
const SQLITE_IOERR_WRITE: u32 = 10 | 3 << 8;
const SQLITE_IOERR_SHMSIZE: u32 = 10 | 19 << 8;

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error(
        "`database_url` names a kind of database that there is no driver for: {scheme}; it takes sqlite://PATH and postgres://HOST/DATABASE"
    )]
    Driver { scheme: String },
    #[error("the catalogue {place} cannot be opened: {reason}")]
    Open { place: String, reason: String },
    #[error("the catalogue failed: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("the catalogue holds a {what} that cannot be understood: {reason}")]
    Corrupt { what: &'static str, reason: String },
}

impl CatalogueError {
    /// Whether the database does not answer for now, or another process holds it for longer than a statement waits: no fault of what was
    /// asked, and what passes without a new start.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut) => true,
            Self::Sql(error) => {
                is_sqlite_busy(error)
                    || postgres_code(error).is_some_and(|code| OUTAGES.iter().any(|outage| code.starts_with(outage)))
            }
            _ => false,
        }
    }

    /// Whether the catalogue's disk took no more: it is full, or this process may write no more to it.
    pub fn is_of_room(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        sqlite_code(error).is_some_and(|code| matches!(code, SQLITE_FULL | SQLITE_IOERR_WRITE | SQLITE_IOERR_SHMSIZE))
            || postgres_code(error).is_some_and(|code| code == DISK_FULL)
    }
}

pub(super) fn is_sqlite_busy(error: &sqlx::Error) -> bool {
    // The low byte of an extended code is the code.
    sqlite_code(error).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.try_downcast_ref::<SqliteError>()?.code()?.parse().ok()
}

fn postgres_code(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// A handle to the catalogue: cheap to clone, usable from many tasks and processes at once.
#[derive(Clone)]
pub struct Catalogue {
    /// Of SQLite one connection, so that writes of this process queue up in order and not at the file's lock.
    writer: Pool,
    readers: Pool,
    /// For leases, whose renewal must wait for nothing else; none where processes of one machine share a file.
    leases: Option<Pool>,
}

impl Catalogue {
    /// Opens, or begins, the catalogue: `catalogue.sqlite` in `data_dir`, or what `database_url` names.
    ///
    /// # Errors
    /// The database cannot be opened, or is newer than this program.
    pub async fn open(data_dir: &Path, database_url: Option<&str>) -> Result<Self, CatalogueError> {
        match database_url.map(|url| (url, url.split(':').next().unwrap_or_default())) {
            None => open::sqlite_in(data_dir).await,
            Some((url, "sqlite")) => open::sqlite(url).await,
            Some((url, "postgres" | "postgresql")) => open::postgres(url).await,
            Some((_, scheme)) => Err(CatalogueError::Driver { scheme: scheme.to_owned() }),
        }
    }

    /// Whether there is something at the place that [`open`](Self::open) would open; always so of a server's database.
    pub fn is_begun(data_dir: &Path, database_url: Option<&str>) -> bool {
        let file = open::sqlite_file(data_dir, database_url);
        file.is_none_or(|file| std::fs::metadata(file).is_ok_and(|file| file.len() > 0))
    }

    pub(super) fn new(writer: Pool, readers: Pool, leases: Option<Pool>) -> Self {
        Self { writer, readers, leases }
    }

    /// Whether the catalogue answers, of what it holds.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), CatalogueError> {
        query("SELECT EXISTS (SELECT 1 FROM tasks)").execute(self.reader()).await?;
        Ok(())
    }

    /// Whether nothing was ever put into the catalogue.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn is_blank(&self) -> Result<bool, CatalogueError> {
        let anything = "SELECT EXISTS (SELECT 1 FROM documents) OR EXISTS (SELECT 1 FROM collections) \
                        OR EXISTS (SELECT 1 FROM tasks) OR EXISTS (SELECT 1 FROM keys)";
        let is_used: bool = query(anything).scalar(self.reader()).await?;
        Ok(!is_used)
    }

    /// Ends all connections; open transactions are undone.
    pub async fn close(&self) {
        for pool in [Some(&self.readers), Some(&self.writer), self.leases.as_ref()].into_iter().flatten() {
            pool.close().await;
        }
    }

    /// Whether processes on several machines may share the catalogue, and with it the stores that go with it.
    pub fn is_shared(&self) -> bool {
        self.leases.is_some()
    }

    pub(super) fn reader(&self) -> &Pool {
        &self.readers
    }

    /// # Panics
    /// The catalogue is not shared.
    pub(super) fn leases(&self) -> &Pool {
        self.leases.as_ref().expect("leases are asked for where the catalogue is shared")
    }

    /// A transaction that holds the write lock from its beginning, so that what it reads stays true until it commits, and what is numbered
    /// in it becomes visible in the order of the numbers.
    pub(super) async fn write(&self) -> Result<Write, CatalogueError> {
        let mut transaction = self.writer.begin().await?;
        if matches!(transaction, Write::Postgres(_)) {
            query("SELECT pg_advisory_xact_lock($1)").bind(WRITE_LOCK).execute(&mut transaction).await?;
        }
        Ok(transaction)
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
pub(super) fn parsed<T>(row: &Row, column: &'static str) -> Result<T, CatalogueError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: String = row.try_get(column)?;
    text.parse().map_err(|e: T::Err| CatalogueError::Corrupt { what: column, reason: format!("{text:?}: {e}") })
}

pub(super) fn parsed_option<T>(row: &Row, column: &'static str) -> Result<Option<T>, CatalogueError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|e: T::Err| CatalogueError::Corrupt { what: column, reason: e.to_string() })).transpose()
}

pub(super) fn count(row: &Row, column: &'static str) -> Result<u64, CatalogueError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|e| CatalogueError::Corrupt { what: column, reason: e.to_string() })
}
