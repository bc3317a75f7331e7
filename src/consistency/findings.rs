use std::collections::BTreeMap;

use serde::Serialize;

/// Findings of a kind that a report names one by one.
const NAMED: u64 = 20;

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The catalogue's own files are not as its database system wrote them.
    CatalogueDamaged,
    /// One store lists or holds what the other knows nothing of: it is away, or another one.
    MissingStore,
    /// Files cannot be looked at for a reason that is no damage.
    Withheld,
    /// A collection cannot be opened.
    UnreadableCollection,
    /// Rows of a collection cannot be read.
    UnreadableFile,
    /// The index of the embeddings cannot be read.
    UnreadableIndex,
    /// Chunks of a document that is not there, or not in this collection.
    OrphanChunks,
    MissingChunks,
    /// Chunks are there more than once.
    DoubledChunks,
    /// Chunks are not as they were written.
    DamagedChunks,
    /// Chunks say another title, source or metadata than the catalogue.
    WrongLabels,
    /// The catalogue counts other chunks or tokens than there are.
    WrongCounts,
    /// The catalogue does not note where a document's chunks are.
    WrongPlaces,
    /// A document waits without its text.
    MissingText,
    /// A text that waits is not the one that was taken in.
    DamagedText,
    /// A text waits that nothing waits for.
    LeftoverText,
    /// A task does not go with its documents.
    WrongTask,
    /// An empty collection is in the database and not in the catalogue's list.
    UnlistedCollection,
    /// A removal was promised and is not done.
    PromisedRemoval,
    /// It changed each time that it was looked at.
    Unsettled,
}

impl Kind {
    /// Whether it is a fault, and not what a server that was killed may leave for the next one.
    pub fn is_wrong(self) -> bool {
        !matches!(self, Self::UnlistedCollection | Self::PromisedRemoval | Self::Unsettled)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::CatalogueDamaged => "catalogue_damaged",
            Self::MissingStore => "missing_store",
            Self::Withheld => "withheld",
            Self::UnreadableCollection => "unreadable_collection",
            Self::UnreadableFile => "unreadable_file",
            Self::UnreadableIndex => "unreadable_index",
            Self::OrphanChunks => "orphan_chunks",
            Self::MissingChunks => "missing_chunks",
            Self::DoubledChunks => "doubled_chunks",
            Self::DamagedChunks => "damaged_chunks",
            Self::WrongLabels => "wrong_labels",
            Self::WrongCounts => "wrong_counts",
            Self::WrongPlaces => "wrong_places",
            Self::MissingText => "missing_text",
            Self::DamagedText => "damaged_text",
            Self::LeftoverText => "leftover_text",
            Self::WrongTask => "wrong_task",
            Self::UnlistedCollection => "unlisted_collection",
            Self::PromisedRemoval => "promised_removal",
            Self::Unsettled => "unsettled",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: Kind,
    pub collection: Option<String>,
    pub document: Option<String>,
    /// What was found.
    pub text: String,
    /// What was done about it; null where nothing was, or nothing can be.
    pub mended: Option<String>,
}

impl Finding {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, collection: None, document: None, text: text.into(), mended: None }
    }

    pub(super) fn of(mut self, collection: &str, document: Option<&str>) -> Self {
        self.collection = Some(collection.to_owned());
        self.document = document.map(str::to_owned);
        self
    }
}

/// A collection that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub name: String,
    pub version: u64,
    pub chunks: u64,
    /// Chunks that its index covers; null where it has none.
    pub indexed: Option<u64>,
}

/// All that a check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub documents: u64,
    pub collections: Vec<Checked>,
    /// How much was found of each kind.
    pub found: BTreeMap<Kind, u64>,
    /// How much of it was mended.
    pub mended: BTreeMap<Kind, u64>,
    /// The first of each kind.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong, or all that was is mended.
    pub fn is_clean(&self) -> bool {
        self.found.iter().all(|(kind, found)| !kind.is_wrong() || self.mended.get(kind) == Some(found))
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.count(finding.kind, 1, u64::from(finding.mended.is_some()));
        if self.found[&finding.kind] <= NAMED {
            self.findings.push(finding);
        }
    }

    /// As so many findings that are not named.
    pub(super) fn count(&mut self, kind: Kind, found: u64, mended: u64) {
        *self.found.entry(kind).or_default() += found;
        if mended > 0 {
            *self.mended.entry(kind).or_default() += mended;
        }
    }
}
