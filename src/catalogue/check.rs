//! What a check of the stores reads: rows as they are, whether they can be understood or not.

use sqlx::AssertSqlSafe;

use super::sql::{Row, query};
use super::{Catalogue, CatalogueError};

/// A document as the catalogue holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldDocument {
    pub id: String,
    pub collection: String,
    pub status: String,
    pub title: String,
    pub source: String,
    pub metadata: String,
    pub chunks: i64,
    pub tokens: i64,
    pub bytes: i64,
    pub sha256: String,
    pub content_hash: Option<String>,
    pub revision: i64,
    pub created_at: String,
    pub updated_at: String,
    /// Number of the text that waits for it.
    pub waiting: Option<i64>,
    /// Collections that may hold chunks of it, in the order of their names.
    pub places: Vec<String>,
}

/// A text that waits, with what its document says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldText {
    pub seq: i64,
    pub document_id: String,
    pub text: String,
    /// Of the document; none if there is no such document.
    pub status: Option<String>,
    pub collection: Option<String>,
    pub sha256: Option<String>,
}

/// Something that does not go together in the catalogue alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discord {
    /// Of a document or of a task.
    pub id: String,
    /// Of the task that waits, or the state of the one that `id` names.
    pub about: String,
}

/// Things that can be wrong in the catalogue alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A task waits for a document that is not there or waits for nothing.
    AwaitedInVain,
    /// A document is pending and its task does not wait for it.
    NotAwaited,
    /// A document is pending and no text waits for it.
    NoText,
    /// A task's state does not go with its counts or with what it waits for.
    TaskState,
}

impl Rule {
    pub const ALL: [Self; 4] = [Self::AwaitedInVain, Self::NotAwaited, Self::NoText, Self::TaskState];

    fn query(self) -> &'static str {
        match self {
            Self::AwaitedInVain => {
                "SELECT w.document_id AS id, w.task_id AS about FROM waiting w LEFT JOIN documents d ON d.id = w.document_id \
                 WHERE d.id IS NULL OR d.status <> 'pending'"
            }
            Self::NotAwaited => {
                "SELECT d.id AS id, d.task_id AS about FROM documents d WHERE d.status = 'pending' AND NOT EXISTS \
                 (SELECT 1 FROM waiting w WHERE w.document_id = d.id AND w.task_id = d.task_id)"
            }
            Self::NoText => {
                "SELECT d.id AS id, d.collection AS about FROM documents d WHERE d.status = 'pending' AND NOT EXISTS \
                 (SELECT 1 FROM outbox o WHERE o.document_id = d.id)"
            }
            Self::TaskState => {
                "SELECT id, status AS about FROM (SELECT t.id, t.status, t.total, t.ready, t.failed, t.finished_at, \
                 (SELECT count(*) FROM waiting w WHERE w.task_id = t.id) AS awaited FROM tasks t) s \
                 WHERE ready < 0 OR failed < 0 OR ready + failed + awaited > total \
                 OR (status IN ('queued', 'running') AND awaited = 0) OR (status NOT IN ('queued', 'running') AND awaited > 0) \
                 OR (status IN ('queued', 'running') AND finished_at IS NOT NULL) \
                 OR (status NOT IN ('queued', 'running') AND finished_at IS NULL) \
                 OR (status = 'failed' AND failed = 0) OR (status = 'succeeded' AND (failed > 0 OR ready = 0) AND total > 0)"
            }
        }
    }
}

const HELD: &str = "SELECT d.id, d.collection, d.status, d.title, d.source, d.metadata, d.chunks, d.tokens, d.bytes, d.sha256, \
     d.content_hash, d.revision, d.created_at, d.updated_at, (SELECT o.seq FROM outbox o WHERE o.document_id = d.id) AS waiting, \
     (SELECT string_agg(p.collection, ' ') FROM placements p WHERE p.document_id = d.id) AS places FROM documents d";

impl Catalogue {
    /// What the database system itself finds wrong with its files, at most some lines; none where all is well.
    ///
    /// # Errors
    /// The catalogue cannot be read at all.
    pub async fn damage(&self) -> Result<Vec<String>, CatalogueError> {
        if self.is_shared() {
            // PostgreSQL looks at its files itself, at each read.
            return Ok(Vec::new());
        }
        let mut damage: Vec<String> = query("PRAGMA integrity_check(20)").scalars(self.reader()).await?;
        damage.retain(|line| line != "ok");
        for row in query("PRAGMA foreign_key_check").fetch_all(self.reader()).await?.iter().take(20) {
            let (table, parent): (String, String) = (row.try_get("table")?, row.try_get("parent")?);
            damage.push(format!("a row of {table} refers to a row of {parent} that is not there"));
        }
        Ok(damage)
    }

    /// Documents of a collection, whatever their status, in the order of their creation, at most `limit` after (time, id).
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn held_documents(
        &self,
        collection: &str,
        after: (&str, &str),
        limit: u32,
    ) -> Result<Vec<HeldDocument>, CatalogueError> {
        let text =
            format!("{HELD} WHERE d.collection = $1 AND (d.created_at, d.id) > ($2, $3) ORDER BY d.created_at, d.id LIMIT $4");
        let rows = query(AssertSqlSafe(text))
            .bind(collection)
            .bind(after.0)
            .bind(after.1)
            .bind(i64::from(limit))
            .fetch_all(self.reader())
            .await?;
        rows.iter().map(held).collect()
    }

    /// # Errors
    /// The catalogue cannot be read.
    pub async fn held_document(&self, id: &str) -> Result<Option<HeldDocument>, CatalogueError> {
        let text = format!("{HELD} WHERE d.id = $1");
        let row = query(AssertSqlSafe(text)).bind(id).fetch_optional(self.reader()).await?;
        row.as_ref().map(held).transpose()
    }

    /// Names of all collections that documents, places or the list of collections name, in their order.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn held_collections(&self) -> Result<Vec<String>, CatalogueError> {
        let text = "SELECT name FROM collections UNION SELECT DISTINCT collection FROM documents \
                     UNION SELECT DISTINCT collection FROM placements ORDER BY 1";
        Ok(query(text).scalars(self.reader()).await?)
    }

    /// Whether the list of collections has a name, its removal promised or not.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn lists_collection(&self, name: &str) -> Result<bool, CatalogueError> {
        let found: i64 = query("SELECT count(*) FROM collections WHERE name = $1").bind(name).scalar(self.reader()).await?;
        Ok(found > 0)
    }

    /// Texts that wait, in the order of their numbers, at most `limit` with a number beyond `after`.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn held_texts(&self, after: i64, limit: u32) -> Result<Vec<HeldText>, CatalogueError> {
        let text = "SELECT o.seq, o.document_id, o.text, d.status, d.collection, d.sha256 FROM outbox o \
                     LEFT JOIN documents d ON d.id = o.document_id WHERE o.seq > $1 ORDER BY o.seq LIMIT $2";
        let rows = query(text).bind(after).bind(i64::from(limit)).fetch_all(self.reader()).await?;
        let text = |row: &Row| {
            Ok(HeldText {
                seq: row.try_get("seq")?,
                document_id: row.try_get("document_id")?,
                text: row.try_get("text")?,
                status: row.try_get("status")?,
                collection: row.try_get("collection")?,
                sha256: row.try_get("sha256")?,
            })
        };
        rows.iter().map(text).collect()
    }

    /// What breaks a rule, at most `limit`, and how many there are.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn discords(&self, rule: Rule, limit: u32) -> Result<(Vec<Discord>, u64), CatalogueError> {
        let text = rule.query();
        let count = format!("SELECT count(*) AS number FROM ({text}) broken");
        let number: i64 = query(AssertSqlSafe(count)).scalar(self.reader()).await?;
        let some = format!("{text} LIMIT $1");
        let rows = query(AssertSqlSafe(some)).bind(i64::from(limit)).fetch_all(self.reader()).await?;
        let discord = |row: &Row| Ok(Discord { id: row.try_get("id")?, about: row.try_get("about")? });
        let discords = rows.iter().map(discord).collect::<Result<Vec<_>, CatalogueError>>()?;
        Ok((discords, u64::try_from(number).unwrap_or(0)))
    }

    /// How many documents there are, those whose removal is promised included.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn count_held(&self) -> Result<u64, CatalogueError> {
        let number: i64 = query("SELECT count(*) FROM documents").scalar(self.reader()).await?;
        Ok(u64::try_from(number).unwrap_or(0))
    }
}

fn held(row: &Row) -> Result<HeldDocument, CatalogueError> {
    let places: Option<String> = row.try_get("places")?;
    let mut places: Vec<String> = places.iter().flat_map(|names| names.split(' ')).map(str::to_owned).collect();
    places.sort();
    Ok(HeldDocument {
        id: row.try_get("id")?,
        collection: row.try_get("collection")?,
        status: row.try_get("status")?,
        title: row.try_get("title")?,
        source: row.try_get("source")?,
        metadata: row.try_get("metadata")?,
        chunks: row.try_get("chunks")?,
        tokens: row.try_get("tokens")?,
        bytes: row.try_get("bytes")?,
        sha256: row.try_get("sha256")?,
        content_hash: row.try_get("content_hash")?,
        revision: row.try_get("revision")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        waiting: row.try_get("waiting")?,
        places,
    })
}
