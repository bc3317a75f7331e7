//! Submissions on their way: shown, waited for, watched and canceled.

use std::time::Duration;

use futures::{Stream, stream};
use uuid::Uuid;

use super::{Ingest, IngestError};
use crate::catalogue::{Cursor, Page, Task, TaskStatus};

/// How often a waiter looks for what the worker of another process has done.
const WAIT_POLL: Duration = Duration::from_millis(200);

impl Ingest {
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn task(&self, task: Uuid) -> Result<Option<Task>, IngestError> {
        Ok(self.inner.catalogue.task(task).await?)
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
    ) -> Result<Page<Task>, IngestError> {
        Ok(self.inner.catalogue.tasks(status, limit, cursor).await?)
    }

    /// Waits until a task has come to its end. None if there is no such task.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn wait(&self, task: Uuid) -> Result<Option<Task>, IngestError> {
        let mut seen = None;
        loop {
            match self.change(task, seen.as_ref()).await? {
                Some(task) if !task.status.is_final() => seen = Some(task),
                ended => return Ok(ended),
            }
        }
    }

    /// A task as it is now and whenever it has changed; the last item is the ended task. Changes that follow one another quickly may
    /// come as one.
    pub fn watch(&self, task: Task) -> impl Stream<Item = Result<Task, IngestError>> + use<> {
        let this = self.clone();
        stream::unfold((Some(task), None), move |(next, seen): (Option<Task>, Option<Task>)| {
            let this = this.clone();
            async move {
                let task = match (next, seen) {
                    (Some(first), _) => first,
                    (None, Some(seen)) if !seen.status.is_final() => match this.change(seen.id, Some(&seen)).await {
                        Ok(task) => task?,
                        Err(error) => return Some((Err(error), (None, None))),
                    },
                    _ => return None,
                };
                Some((Ok(task.clone()), (None, Some(task))))
            }
        })
    }

    /// Cancels a task, unless it has ended; gives it as it is then, and none if there is no such task. Its documents that still wait are
    /// not taken in: those that were never ready are gone, those that replace an earlier revision fail, whose chunks are found as before.
    /// What was ready stays. The call goes on if its caller stops waiting.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub async fn cancel(&self, task: Uuid) -> Result<Option<Task>, IngestError> {
        let this = self.clone();
        tokio::spawn(async move {
            let _guard = this.inner.changes.hold().await?;
            let canceled = this.inner.catalogue.cancel(task).await?;
            this.inner.progress.notify_waiters();
            Ok(canceled)
        })
        .await?
    }

    /// Waits until a task is another than it was when it was `seen`.
    async fn change(&self, task: Uuid, seen: Option<&Task>) -> Result<Option<Task>, IngestError> {
        loop {
            let mut progress = std::pin::pin!(self.inner.progress.notified());
            // From here on, so that what happens between the look and the wait is not missed.
            progress.as_mut().enable();
            let now = self.inner.catalogue.task(task).await?;
            if now.is_none() || now.as_ref() != seen {
                return Ok(now);
            }
            tokio::select! {
                () = progress => {}
                () = tokio::time::sleep(WAIT_POLL) => {}
            }
        }
    }
}
