//! Statements that are the same text for SQLite and PostgreSQL: `$1` is the first value, a list is one JSON text that `json_each` takes
//! apart, and what only one of the two understands is left out (docs/decisions.md).

use std::io::ErrorKind;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{
    ColumnIndex, Database, Decode, Encode, PgConnection, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection,
    Transaction, Type,
};

/// How long PostgreSQL may take: an answer over a network that is cut would else be waited for until the system gives the connection up.
const LONGEST_STATEMENT: Duration = Duration::from_secs(30);

/// The write lock is taken now, and not with the first statement that writes.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// A statement with its values.
pub(super) struct Query {
    text: SqlStr,
    values: Vec<Value>,
}

pub(super) enum Value {
    Text(Option<String>),
    Integer(i64),
    Bytes(Vec<u8>),
}

/// Where statements of their own are run, several at the same time.
#[derive(Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A transaction, which is undone unless it is committed.
pub(super) enum Write {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

pub(super) enum Target<'a> {
    SqlitePool(&'a SqlitePool),
    Sqlite(&'a mut SqliteConnection),
    PostgresPool(&'a PgPool),
    Postgres(&'a mut PgConnection),
}

/// What a column can be read as.
pub(super) trait Column<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

impl<'r, T> Column<'r> for T where T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

/// Where a column is: its name or its number.
pub(super) trait Place: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> {}

impl<T> Place for T where T: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> {}

pub(super) fn query(text: impl SqlSafeStr) -> Query {
    Query { text: text.into_sql_str(), values: Vec::new() }
}

/// Runs the same with whatever driver `$target` is of.
macro_rules! with_driver {
    ($self:ident, $target:ident, |$query:ident, $executor:ident| $run:expr) => {
        match $target {
            Target::SqlitePool($executor) => {
                let $query = $self.bound::<Sqlite>();
                $run
            }
            Target::Sqlite($executor) => {
                let $query = $self.bound::<Sqlite>();
                $run
            }
            Target::PostgresPool($executor) => {
                let $query = $self.bound::<Postgres>();
                $run
            }
            Target::Postgres($executor) => {
                let $query = $self.bound::<Postgres>();
                $run
            }
        }
    };
}

impl Query {
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Gives the number of rows that were changed.
    pub async fn execute<'t>(self, target: impl Into<Target<'t>>) -> sqlx::Result<u64> {
        let target = target.into();
        let limit = target.limit();
        within(limit, async { with_driver!(self, target, |query, executor| Ok(query.execute(executor).await?.rows_affected())) })
            .await
    }

    pub async fn fetch_all<'t>(self, target: impl Into<Target<'t>>) -> sqlx::Result<Vec<Row>> {
        let target = target.into();
        let limit = target.limit();
        let work = async {
            with_driver!(self, target, |query, executor| Ok(query
                .fetch_all(executor)
                .await?
                .into_iter()
                .map(Row::from)
                .collect()))
        };
        within(limit, work).await
    }

    pub async fn fetch_optional<'t>(self, target: impl Into<Target<'t>>) -> sqlx::Result<Option<Row>> {
        let target = target.into();
        let limit = target.limit();
        let work =
            async { with_driver!(self, target, |query, executor| Ok(query.fetch_optional(executor).await?.map(Row::from))) };
        within(limit, work).await
    }

    pub async fn fetch_one<'t>(self, target: impl Into<Target<'t>>) -> sqlx::Result<Row> {
        self.fetch_optional(target).await?.ok_or(sqlx::Error::RowNotFound)
    }

    pub fn fetch<'t>(self, target: impl Into<Target<'t>>) -> BoxStream<'t, sqlx::Result<Row>> {
        let target = target.into();
        with_driver!(self, target, |query, executor| query.fetch(executor).map(|row| row.map(Row::from)).boxed())
    }

    /// The first column of the one row.
    pub async fn scalar<'t, T: for<'r> Column<'r>>(self, target: impl Into<Target<'t>>) -> sqlx::Result<T> {
        self.fetch_one(target).await?.try_get(0)
    }

    /// The first column of the row, if there is one.
    pub async fn optional_scalar<'t, T: for<'r> Column<'r>>(self, target: impl Into<Target<'t>>) -> sqlx::Result<Option<T>> {
        self.fetch_optional(target).await?.map(|row| row.try_get(0)).transpose()
    }

    /// The first column of each row.
    pub async fn scalars<'t, T: for<'r> Column<'r>>(self, target: impl Into<Target<'t>>) -> sqlx::Result<Vec<T>> {
        self.fetch_all(target).await?.iter().map(|row| row.try_get(0)).collect()
    }

    fn bound<DB: Database>(self) -> sqlx::query::Query<'static, DB, DB::Arguments>
    where
        Option<String>: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        Vec<u8>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        self.values.into_iter().fold(sqlx::query(self.text), |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Integer(number) => query.bind(number),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    }
}

impl Target<'_> {
    fn limit(&self) -> Option<Duration> {
        match self {
            Self::SqlitePool(_) | Self::Sqlite(_) => None,
            Self::PostgresPool(_) | Self::Postgres(_) => Some(LONGEST_STATEMENT),
        }
    }
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match limit {
        None => work.await,
        Some(limit) => {
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(std::io::Error::from(ErrorKind::TimedOut).into()))
        }
    }
}

impl Pool {
    pub async fn begin(&self) -> sqlx::Result<Write> {
        match self {
            Self::Sqlite(pool) => match pool.begin_with(BEGIN).await {
                // SQLite ends a transaction by itself where the disk is full or fails. sqlx, which is told to end it as well, goes on
                // counting it, and would begin none on this connection ever again.
                Err(sqlx::Error::InvalidSavePointStatement) => {
                    pool.acquire().await?.close().await?;
                    pool.begin_with(BEGIN).await
                }
                begun => begun,
            }
            .map(Write::Sqlite),
            Self::Postgres(pool) => pool.begin().await.map(Write::Postgres),
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Write {
    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => within(Some(LONGEST_STATEMENT), transaction.commit()).await,
        }
    }
}

impl Row {
    pub fn try_get<'r, T: Column<'r>>(&'r self, column: impl Place) -> sqlx::Result<T> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Postgres(row)
    }
}

impl<'a> From<&'a Pool> for Target<'a> {
    fn from(pool: &'a Pool) -> Self {
        match pool {
            Pool::Sqlite(pool) => Self::SqlitePool(pool),
            Pool::Postgres(pool) => Self::PostgresPool(pool),
        }
    }
}

impl<'a> From<&'a mut Write> for Target<'a> {
    fn from(write: &'a mut Write) -> Self {
        match write {
            Write::Sqlite(transaction) => Self::Sqlite(transaction),
            Write::Postgres(transaction) => Self::Postgres(transaction),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}
