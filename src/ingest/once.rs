//! Documents that are taken in once, however often they are sent.

use serde::{Deserialize, Serialize};

use super::skipped::SkippedFiles;
use super::{Ingest, IngestError, NewDocument, Submission};
use crate::catalogue::{CatalogueError, Earlier, Once};
use crate::names::DocumentId;

/// What became of documents that were sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub submission: Submission,
    /// They were taken in before.
    pub again: bool,
}

/// What is answered beside the task.
#[derive(Serialize, Deserialize)]
struct Answer {
    document_ids: Vec<DocumentId>,
    skipped: Option<SkippedFiles>,
}

impl Ingest {
    /// What was taken in before with the key of `once`, its task as it is now; none if the key is new.
    ///
    /// # Errors
    /// The key was used for something else ([`IngestError::KeyUsed`]), or the catalogue cannot be read.
    pub async fn submitted_before(&self, once: &Once) -> Result<Option<Submission>, IngestError> {
        self.inner.catalogue.submitted_before(once).await?.map(submission).transpose()
    }

    /// Takes documents in as [`submit`](Self::submit) does, but none a second time with the key of `once`, whichever process asks.
    ///
    /// # Arguments
    /// * `skipped` - what of the files that they are from gave no document.
    ///
    /// # Errors
    /// The key was used for something else ([`IngestError::KeyUsed`]), or the catalogue cannot be written.
    pub async fn submit_once(
        &self,
        documents: Vec<NewDocument>,
        skipped: Option<SkippedFiles>,
        once: Option<&Once>,
    ) -> Result<Taken, IngestError> {
        let Some(once) = once else {
            let submission = self.submit(documents).await?;
            return Ok(Taken { submission: Submission { skipped, ..submission }, again: false });
        };
        let records: Vec<_> = documents.into_iter().map(NewDocument::into_record).collect();
        let answer = Answer { document_ids: records.iter().map(|record| record.id.clone()).collect(), skipped };
        let json = serde_json::to_string(&answer).expect("an answer is plain JSON");
        match self.inner.catalogue.submit_once(&records, once, &json).await? {
            Ok(task) => {
                self.note_submission(records.len());
                let Answer { document_ids, skipped } = answer;
                Ok(Taken { submission: Submission { task, document_ids, skipped }, again: false })
            }
            Err(earlier) => Ok(Taken { submission: submission(earlier)?, again: true }),
        }
    }
}

fn submission(earlier: Earlier) -> Result<Submission, IngestError> {
    let Earlier::Same { task, answer } = earlier else { return Err(IngestError::KeyUsed) };
    let Answer { document_ids, skipped } =
        serde_json::from_str(&answer).map_err(|e| CatalogueError::Corrupt { what: "answer to a key", reason: e.to_string() })?;
    Ok(Submission { task, document_ids, skipped })
}
