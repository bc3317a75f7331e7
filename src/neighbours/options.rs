use std::collections::HashSet;
use std::ops::Not;

use lancedb::expr::DfExpr;

use super::filter::one_of;
use super::schema::DOCUMENT_ID;
use super::{Effort, Filter, Neighbour};
use crate::names::{CollectionName, DocumentId};

/// What a search looks for, and among which chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    pub collection: CollectionName,
    /// Most neighbours of a query.
    pub neighbours: usize,
    /// Squared Euclidean distance beyond which a chunk is no neighbour.
    pub max_distance: Option<f32>,
    /// Chunks that it does not accept are no neighbours.
    pub filter: Option<Filter>,
    /// Documents whose chunks are no neighbours.
    pub exclude_documents: Vec<DocumentId>,
    /// Of chunks with the same text only the first in a search's order is a neighbour.
    pub distinct: bool,
    pub effort: Effort,
    /// Version of the collection to search; the newest where none is named.
    pub as_of: Option<u64>,
}

/// The rows nearest to a query that were read, in a search's order.
pub(super) struct Nearest {
    pub rows: Vec<Neighbour>,
    pub others: Others,
}

/// The rows that were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// There are none.
    None,
    /// Each is farther than all that were read.
    Farther,
    /// None is nearer than any that was read; some may be as near as the last.
    NoNearer,
}

impl SearchOptions {
    /// The distinct chunks of a collection, without any other condition.
    pub fn new(collection: CollectionName, neighbours: usize) -> Self {
        Self {
            collection,
            neighbours,
            max_distance: None,
            filter: None,
            exclude_documents: Vec::new(),
            distinct: true,
            effort: Effort::default(),
            as_of: None,
        }
    }

    /// What a row must fulfil before its distance counts.
    pub(super) fn condition(&self) -> Option<DfExpr> {
        let excluded = (!self.exclude_documents.is_empty()).then(|| {
            let ids = self.exclude_documents.iter().map(ToString::to_string);
            one_of(DOCUMENT_ID, &ids.collect()).not()
        });
        excluded.into_iter().chain(self.filter.as_ref().map(Filter::to_expr)).reduce(DfExpr::and)
    }

    /// Places of the neighbours among rows in a search's order.
    pub(super) fn chosen(&self, rows: &[Neighbour]) -> Vec<usize> {
        let mut texts = HashSet::new();
        let is_near = |row: &Neighbour| self.max_distance.is_none_or(|most| row.distance <= most);
        let near = rows.iter().take_while(|row| is_near(row)).enumerate();
        let places = near.filter(|(_, row)| !self.distinct || texts.insert(row.neighbour.as_str()));
        places.map(|(place, _)| place).take(self.neighbours).collect()
    }

    /// Whether rows that were not read cannot change what is chosen of these.
    pub(super) fn is_decided(&self, nearest: &Nearest) -> bool {
        if self.has_all(nearest) {
            return true;
        }
        let Nearest { rows, others } = nearest;
        // Where all that were read beyond the last place are as near as the one in it, others outside may be as near again.
        let last = self.chosen(rows).get(self.neighbours - 1).map(|&place| rows[place].distance);
        last.is_some_and(|distance| *others == Others::Farther || rows.last().is_some_and(|row| row.distance > distance))
    }

    /// Whether no row that was not read can be a neighbour.
    pub(super) fn has_all(&self, Nearest { rows, others }: &Nearest) -> bool {
        *others == Others::None || self.max_distance.is_some_and(|most| rows.last().is_some_and(|row| row.distance > most))
    }
}
