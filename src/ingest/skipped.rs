use serde::{Deserialize, Serialize};

use super::files::{Place, Skipped};
use super::input::cut_label;

/// Most parts that are named.
const NAMED: usize = 100;

/// Files that were sent, and parts of them, that gave no document. The others went in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SkippedFiles {
    pub total: u64,
    /// The first 100 of them.
    pub first: Vec<SkippedFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SkippedFile {
    /// The file's name, as it was sent.
    #[schema(example = "scan.pdf")]
    pub file: String,
    /// Its line, from 1, where the others may have gone in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// As `line`, of a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
    #[schema(example = "it has no text")]
    pub reason: String,
}

impl SkippedFiles {
    pub(super) fn push(&mut self, skipped: Skipped) {
        self.total += 1;
        if self.first.len() < NAMED {
            let (line, row) = match skipped.place {
                Some(Place::Line(line)) => (Some(line), None),
                Some(Place::Row(row)) => (None, Some(row)),
                None => (None, None),
            };
            let file = cut_label(skipped.path.display().to_string());
            self.first.push(SkippedFile { file, line, row, reason: skipped.reason });
        }
    }
}
