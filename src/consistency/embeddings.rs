//! Embeddings that are not those of their texts: found by embedding the texts again.

use std::collections::{BTreeMap, BTreeSet};

use super::ConsistencyError;
use super::check::Checker;
use crate::ingest::IngestError;
use crate::neighbours::{Audit, StoredEmbedding};

/// Squared distance between two embeddings of one text: what they are embedded together with may change the last digits.
const TOLERANCE: f32 = 1e-3;
/// Texts that are embedded in one call.
const TOGETHER: usize = 64;

/// Documents with such an embedding, each with what is wrong.
pub(super) type Strange = BTreeMap<String, String>;

impl Checker<'_> {
    /// Compares the embeddings of a collection, or of some documents in it, but for parts that cannot be read.
    pub(super) async fn strange(
        &self,
        audit: &Audit,
        broken: &BTreeSet<u64>,
        documents: Option<&[&str]>,
    ) -> Result<Strange, ConsistencyError> {
        let mut strange = Strange::new();
        let Some((embedder, _)) = self.stores.embedder.as_ref().filter(|(_, made)| *made == audit.identity().embedder) else {
            return Ok(strange);
        };
        let mut failed = None;
        for part in audit.parts().into_iter().filter(|part| !broken.contains(part)) {
            let read = audit.read_embeddings(part, documents, async |stored| {
                for some in stored.chunks(TOGETHER) {
                    match embedder.embed(some.iter().map(|stored| stored.text.clone()).collect()).await {
                        Ok(vectors) => {
                            strange.extend(some.iter().zip(vectors).filter_map(|(stored, vector)| differs(stored, &vector)))
                        }
                        Err(reason) => failed = Some(reason),
                    }
                }
            });
            // What cannot be read is told elsewhere.
            let _ = read.await;
            if let Some(reason) = failed {
                return Err(IngestError::Embedder { reason }.into());
            }
        }
        Ok(strange)
    }
}

fn differs(stored: &StoredEmbedding, again: &[f32]) -> Option<(String, String)> {
    let squared: f32 = stored.embedding.iter().zip(again).map(|(stored, again)| (stored - again).powi(2)).sum();
    // What is no number is no less either.
    let fits = stored.embedding.len() == again.len() && squared <= TOLERANCE;
    let what = || format!("chunk {}: its embedding is {squared:.4} from that of its text", stored.chunk_index);
    (!fits).then(|| (stored.document_id.clone(), what()))
}
