//! How the catalogue is reached and begun.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::sql::Pool;
use super::store::is_sqlite_busy;
use super::{Catalogue, CatalogueError};
use crate::settings::CATALOGUE_FILE;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts to open a catalogue that another process is just beginning.
const OPEN_ATTEMPTS: u32 = 20;
const OPEN_RETRY: Duration = Duration::from_millis(100);
/// Reads at the same time.
const READERS: u32 = 4;

/// Attempts to reach PostgreSQL when the program starts, which may be started together with it.
const CONNECT_ATTEMPTS: u32 = 10;
const CONNECT_RETRY: Duration = Duration::from_secs(1);
/// How long one attempt may take, and how long a request waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections of one process to PostgreSQL: writes follow one another, leases take no time.
const SHARED_READERS: u32 = 6;
const SHARED_WRITERS: u32 = 2;
const SHARED_LEASES: u32 = 2;
/// A process that was paused in a transaction loses it, and with it its locks, and none waits for such a lock for ever.
const SESSION: [(&str, &str); 2] = [("idle_in_transaction_session_timeout", "10s"), ("lock_timeout", "10s")];

/// The file that is the catalogue; none where it is in no file of this machine.
pub(super) fn sqlite_file(data_dir: &Path, database_url: Option<&str>) -> Option<PathBuf> {
    match database_url {
        None => Some(data_dir.join(CATALOGUE_FILE)),
        Some(url) if url.starts_with("sqlite:") => Some(SqliteConnectOptions::from_str(url).ok()?.get_filename().to_owned()),
        Some(_) => None,
    }
}

pub(super) async fn sqlite_in(data_dir: &Path) -> Result<Catalogue, CatalogueError> {
    let file = data_dir.join(CATALOGUE_FILE);
    begin_sqlite(file.display().to_string(), SqliteConnectOptions::new().filename(file)).await
}

pub(super) async fn sqlite(url: &str) -> Result<Catalogue, CatalogueError> {
    begin_sqlite(url.to_owned(), SqliteConnectOptions::from_str(url)?).await
}

async fn begin_sqlite(place: String, options: SqliteConnectOptions) -> Result<Catalogue, CatalogueError> {
    let failed = |reason: String| CatalogueError::Open { place: place.clone(), reason };
    if let Some(folder) = options.get_filename().parent() {
        std::fs::create_dir_all(folder).map_err(|e| failed(e.to_string()))?;
    }
    let options = options
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // A 202 is a promise: what is committed survives the machine, not only the process.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    let mut attempt = 1;
    loop {
        match connect_sqlite(&options).await {
            Ok((writer, readers)) => return Ok(Catalogue::new(Pool::Sqlite(writer), Pool::Sqlite(readers), None)),
            Err(error) if attempt < OPEN_ATTEMPTS && may_pass(&error) => tokio::time::sleep(OPEN_RETRY).await,
            Err(error) => return Err(failed(error.to_string())),
        }
        attempt += 1;
    }
}

async fn connect_sqlite(options: &SqliteConnectOptions) -> Result<(SqlitePool, SqlitePool), MigrateError> {
    // Only now may the file be made: of one that is taken away later, a new connection of a pool would make an empty one.
    let first = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone().create_if_missing(true)).await?;
    SQLITE.run(&first).await?;
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.clone()).await?;
    first.close().await;
    Ok((writer, readers))
}

/// Whether the error may come from another process that begins the same catalogue just now: SQLite does not wait while the journal's kind
/// is changed, and a migration that the other has done meanwhile cannot be done again.
fn may_pass(error: &MigrateError) -> bool {
    match error {
        MigrateError::ExecuteMigration(..) => true,
        MigrateError::Execute(error) => is_sqlite_busy(error),
        _ => false,
    }
}

pub(super) async fn postgres(url: &str) -> Result<Catalogue, CatalogueError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|e| CatalogueError::Open { place: "of `database_url`".to_owned(), reason: e.to_string() })?
        .application_name("retro")
        .options(SESSION);
    // Without what tells who may come in.
    let place =
        format!("postgres://{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default());
    let pool = |most: u32| {
        PgPoolOptions::new().max_connections(most).acquire_timeout(CONNECT_TIMEOUT).connect_lazy_with(options.clone())
    };
    let (writers, readers, leases) = (pool(SHARED_WRITERS), pool(SHARED_READERS), pool(SHARED_LEASES));
    let mut attempt = 1;
    loop {
        let error = match begin_postgres(&options, &writers).await {
            Ok(()) => break,
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => CatalogueError::Sql(error),
            Err(error) => return Err(CatalogueError::Open { place, reason: error.to_string() }),
        };
        if !error.is_outage() || attempt == CONNECT_ATTEMPTS {
            let reason = match error {
                CatalogueError::Sql(sqlx::Error::PoolTimedOut) => {
                    format!("it did not answer in {} seconds", CONNECT_TIMEOUT.as_secs())
                }
                CatalogueError::Sql(error) => error.to_string(),
                other => other.to_string(),
            };
            return Err(CatalogueError::Open { place, reason: format!("{reason} (attempt {attempt})") });
        }
        tracing::warn!(%place, %error, attempt, "the catalogue cannot be reached yet");
        tokio::time::sleep(CONNECT_RETRY).await;
        attempt += 1;
    }
    Ok(Catalogue::new(Pool::Postgres(writers), Pool::Postgres(readers), Some(Pool::Postgres(leases))))
}

async fn begin_postgres(options: &PgConnectOptions, pool: &PgPool) -> Result<(), MigrateError> {
    // A pool would not say why there is no connection.
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let connection = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    // It has shown what it was to show.
    let _ = connection.close().await;
    POSTGRES.run(pool).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::record;

    #[tokio::test]
    async fn a_catalogue_that_is_taken_away_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("catalogue.sqlite");
        assert!(!Catalogue::is_begun(folder.path(), None));
        let catalogue = Catalogue::open(folder.path(), None).await.unwrap();
        assert!(Catalogue::is_begun(folder.path(), None) && catalogue.is_blank().await.unwrap());
        catalogue.submit(&[record("a", "one")]).await.unwrap();
        assert!(!catalogue.is_blank().await.unwrap());
        for name in ["catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm"] {
            std::fs::rename(folder.path().join(name), folder.path().join(format!("aside-{name}"))).unwrap();
        }
        // More at a time than there are connections yet.
        futures::future::join_all((0..8).map(|_| catalogue.ping())).await;
        assert!(!file.exists());
        std::fs::write(&file, "").unwrap();
        assert!(!Catalogue::is_begun(folder.path(), None), "an empty file is none");
        let url = format!("sqlite://{}", folder.path().join("aside-catalogue.sqlite").display());
        assert!(Catalogue::is_begun(folder.path(), Some(&url)) && Catalogue::is_begun(folder.path(), Some("postgres://x/y")));
    }
}
