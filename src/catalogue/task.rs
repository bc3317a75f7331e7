use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::page::{Cursor, Page};
use super::sql::{Row, Write, query};
use super::store::{count, now, parsed, parsed_option};
use super::{Catalogue, CatalogueError};

/// What became, or is becoming, of the documents of one submission.
///
/// A document that is submitted again before it was ready counts for both tasks when its newest revision is ready or has failed.
/// A document that is deleted before counts as neither; a task that is left with no document at all is canceled.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Task {
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    pub status: TaskStatus,
    pub documents: TaskDocuments,
    /// How many documents failed, and why the first of them did.
    pub error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

/// How many documents a task has, and how many of them came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TaskDocuments {
    #[schema(example = 1)]
    pub total: u64,
    pub ready: u64,
    pub failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    Queued,
    Running,
    Succeeded,
    /// At least one document failed; the others are ready.
    Failed,
    Canceled,
}

impl TaskStatus {
    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

impl FromStr for TaskStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "queued" => Ok(Self::Queued),
            "running" => Ok(Self::Running),
            "succeeded" => Ok(Self::Succeeded),
            "failed" => Ok(Self::Failed),
            "canceled" => Ok(Self::Canceled),
            other => Err(format!("{other} is no status of a task")),
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        })
    }
}

/// How the wait of tasks for one document ends.
pub(super) enum Settled<'a> {
    Ready,
    Failed(&'a str),
    Withdrawn,
}

impl Catalogue {
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn task(&self, id: Uuid) -> Result<Option<Task>, CatalogueError> {
        let row = query("SELECT * FROM tasks WHERE id = $1").bind(id.to_string()).fetch_optional(self.reader()).await?;
        row.as_ref().map(task).transpose()
    }

    /// Tasks, newest first, at most `limit` after `cursor`; with `status` those that have it.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn tasks(
        &self,
        status: Option<TaskStatus>,
        limit: u32,
        cursor: Option<&Cursor>,
    ) -> Result<Page<Task>, CatalogueError> {
        // Above every time: the digits of a year end before `~`.
        let (created_at, id) = cursor.map_or(("~", "~"), |cursor| (&cursor.created_at, &cursor.id));
        let rows = query(
            "SELECT * FROM tasks WHERE (created_at, id) < ($1, $2) AND ($3 IS NULL OR status = $3) \
             ORDER BY created_at DESC, id DESC LIMIT $4",
        )
        .bind(created_at)
        .bind(id)
        .bind(status.map(|status| status.to_string()))
        .bind(i64::from(limit) + 1)
        .fetch_all(self.reader())
        .await?;
        let tasks = rows.iter().map(task).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(tasks, limit, |last| Cursor::new(last.created_at, &last.id.to_string())))
    }

    /// How many tasks wait for documents.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn count_open_tasks(&self) -> Result<u64, CatalogueError> {
        let row = query("SELECT count(DISTINCT task_id) AS number FROM waiting").fetch_one(self.reader()).await?;
        count(&row, "number")
    }

    /// Cancels a task, unless it has ended; gives it as it is then. Its documents that still wait are not taken in: those that were never
    /// ready are gone, those that replace an earlier revision fail, whose chunks are found as before. What was ready stays.
    ///
    /// No document may be written meanwhile.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub async fn cancel(&self, id: Uuid) -> Result<Option<Task>, CatalogueError> {
        let id = id.to_string();
        let mut transaction = self.write().await?;
        let Some(row) = query("SELECT * FROM tasks WHERE id = $1").bind(&id).fetch_optional(&mut transaction).await? else {
            return Ok(None);
        };
        let found = task(&row)?;
        if found.status.is_final() {
            return Ok(Some(found));
        }
        // Documents that were submitted again since wait for another task's revision.
        query("DELETE FROM waiting WHERE task_id = $1").bind(&id).execute(&mut transaction).await?;
        let dropped: Vec<String> = query(
            "UPDATE documents SET status = 'failed', error = 'its task was canceled', updated_at = $1 \
             WHERE task_id = $2 AND status = 'pending' RETURNING id",
        )
        .bind(now())
        .bind(&id)
        .scalars(&mut transaction)
        .await?;
        for document in &dropped {
            settle(&mut transaction, document, Settled::Withdrawn).await?;
        }
        let dropped = serde_json::Value::from(dropped).to_string();
        for delete in [
            "DELETE FROM outbox WHERE document_id IN (SELECT value FROM json_each($1)) \
             AND document_id NOT IN (SELECT document_id FROM placements)",
            "DELETE FROM documents WHERE id IN (SELECT value FROM json_each($1)) AND id NOT IN (SELECT document_id FROM placements)",
        ] {
            query(delete).bind(&dropped).execute(&mut transaction).await?;
        }
        let row = query("UPDATE tasks SET status = 'canceled', error = NULL, finished_at = $1 WHERE id = $2 RETURNING *")
            .bind(now())
            .bind(&id)
            .fetch_one(&mut transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(task(&row)?))
    }
}

pub(super) fn task(row: &Row) -> Result<Task, CatalogueError> {
    Ok(Task {
        id: parsed(row, "id")?,
        status: parsed(row, "status")?,
        documents: TaskDocuments { total: count(row, "total")?, ready: count(row, "ready")?, failed: count(row, "failed")? },
        error: row.try_get("error")?,
        created_at: parsed(row, "created_at")?,
        started_at: parsed_option(row, "started_at")?,
        finished_at: parsed_option(row, "finished_at")?,
    })
}

/// Tells all tasks that wait for `document` what became of it, and ends those that wait for nothing more.
pub(super) async fn settle(transaction: &mut Write, document: &str, outcome: Settled<'_>) -> Result<(), CatalogueError> {
    let tasks: Vec<String> =
        query("DELETE FROM waiting WHERE document_id = $1 RETURNING task_id").bind(document).scalars(&mut *transaction).await?;
    let (ready, failure): (i64, _) = match outcome {
        Settled::Ready => (1, None),
        Settled::Failed(reason) => (0, Some(format!("{document}: {reason}"))),
        Settled::Withdrawn => (0, None),
    };
    for task in tasks {
        query(
            "UPDATE tasks SET ready = ready + $1, failed = failed + CASE WHEN $2 IS NULL THEN 0 ELSE 1 END, \
             first_failure = coalesce(first_failure, $2) WHERE id = $3",
        )
        .bind(ready)
        .bind(failure.clone())
        .bind(&task)
        .execute(&mut *transaction)
        .await?;
        query(
            "UPDATE tasks SET finished_at = $1, \
             status = CASE WHEN failed > 0 THEN 'failed' WHEN ready > 0 THEN 'succeeded' ELSE 'canceled' END, \
             error = CASE WHEN failed > 0 THEN failed || ' of ' || total || ' documents failed, the first being ' || first_failure END \
             WHERE id = $2 AND NOT EXISTS (SELECT 1 FROM waiting WHERE task_id = $2)",
        )
        .bind(now())
        .bind(&task)
        .execute(&mut *transaction)
        .await?;
    }
    Ok(())
}
