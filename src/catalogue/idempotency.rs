//! Submissions that are sent again by a key of the client's own.

use std::time::Duration;

use jiff::Timestamp;

use super::sql::{Target, Write, query};
use super::store::{now, stored_time};
use super::task::task;
use super::{Catalogue, CatalogueError, NewRecord, Task};
use crate::names::IdempotencyKey;

/// How long a key is remembered.
const KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Most keys of one owner that are remembered: the newest.
const KEYS_OF_OWNER: i64 = 10_000;

/// What tells that a submission is one that was made before.
#[derive(Clone, Debug)]
pub struct Once {
    /// Whose the key is: another's key of the same text is another key.
    pub owner: String,
    pub key: IdempotencyKey,
    /// sha256 of what was sent.
    pub fingerprint: [u8; 32],
}

/// What was submitted before with a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Earlier {
    /// The same: its task as it is now, and what was answered beside it.
    Same {
        task: Task,
        answer: String,
    },
    Other,
}

impl Catalogue {
    /// What was submitted before with this key, if it is still remembered.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn submitted_before(&self, once: &Once) -> Result<Option<Earlier>, CatalogueError> {
        find(self.reader(), once).await
    }

    /// Takes documents in as [`submit`](Self::submit) does, unless something was submitted before with this key, which is then given back.
    /// Both happen in one transaction, so of two that come at the same time one is taken in.
    ///
    /// # Arguments
    /// * `answer` - what is to be answered beside the task, now and when the same comes again.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn submit_once(
        &self,
        documents: &[NewRecord],
        once: &Once,
        answer: &str,
    ) -> Result<Result<Task, Earlier>, CatalogueError> {
        Ok(self.submit_unless(documents, Some((once, answer)), None).await?.map(|(task, _)| task))
    }
}

/// Notes a submission, and forgets those that are old and the oldest of those that are too many.
pub(super) async fn remember(transaction: &mut Write, once: &Once, task_id: &str, answer: &str) -> Result<(), CatalogueError> {
    query("DELETE FROM idempotency WHERE created_at <= $1").bind(forgotten()).execute(&mut *transaction).await?;
    query("INSERT INTO idempotency (owner, key, fingerprint, task_id, answer, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(&once.owner)
        .bind(once.key.as_str())
        .bind(once.fingerprint.to_vec())
        .bind(task_id)
        .bind(answer)
        .bind(now())
        .execute(&mut *transaction)
        .await?;
    query(
        "DELETE FROM idempotency WHERE owner = $1 \
         AND seq <= (SELECT seq FROM idempotency WHERE owner = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2)",
    )
    .bind(&once.owner)
    .bind(KEYS_OF_OWNER)
    .execute(&mut *transaction)
    .await?;
    Ok(())
}

pub(super) async fn find<'t>(catalogue: impl Into<Target<'t>>, once: &Once) -> Result<Option<Earlier>, CatalogueError> {
    let row = query(
        "SELECT fingerprint, answer, tasks.* FROM idempotency JOIN tasks ON tasks.id = task_id \
         WHERE owner = $1 AND key = $2 AND idempotency.created_at > $3",
    )
    .bind(&once.owner)
    .bind(once.key.as_str())
    .bind(forgotten())
    .fetch_optional(catalogue)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let fingerprint: Vec<u8> = row.try_get("fingerprint")?;
    Ok(Some(if fingerprint == once.fingerprint {
        Earlier::Same { task: task(&row)?, answer: row.try_get("answer")? }
    } else {
        Earlier::Other
    }))
}

/// Keys up to this time are forgotten.
fn forgotten() -> String {
    stored_time(Timestamp::now() - KEY_LIFE)
}
