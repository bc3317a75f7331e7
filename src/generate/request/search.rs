use super::Limits;
use super::filter::FilterRequest;
use crate::invalid::Invalid;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Effort, Filter, SearchOptions};

/// Most documents that a search may leave out.
const MAX_EXCLUDED: usize = 1000;

/// A search as clients ask for it, in whatever request that is.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    pub neighbours: Option<usize>,
    pub collection: Option<String>,
    pub max_distance: Option<f64>,
    pub filter: Option<FilterRequest>,
    pub exclude_documents: Option<Vec<String>>,
    pub distinct: Option<bool>,
    pub as_of: Option<u64>,
    pub effort: Effort,
}

impl SearchRequest {
    /// `prefix` stands before the names of the fields in errors.
    ///
    /// # Errors
    /// [`Invalid`] names the field and its limit.
    pub fn validate(self, prefix: &str, limits: &Limits) -> Result<SearchOptions, Invalid> {
        let field = |name: &str| format!("{prefix}{name}");
        let neighbours = self.neighbours.unwrap_or(limits.neighbours);
        if neighbours > limits.max_neighbours {
            let message = format!("must be 0 to {}, is {neighbours}", limits.max_neighbours);
            return Err(Invalid::new(field("neighbours"), message));
        }
        let collection = match self.collection {
            None => CollectionName::default(),
            Some(name) => CollectionName::parse(&field("collection"), &name)?,
        };
        if let Some(given) = self.max_distance.filter(|given| !(0.0..=4.0).contains(given)) {
            let message = format!("must be 0 to 4 (squared distance of normalised vectors), is {given}");
            return Err(Invalid::new(field("max_distance"), message));
        }
        let excluded = self.exclude_documents.unwrap_or_default();
        if excluded.len() > MAX_EXCLUDED {
            let message = format!("may have at most {MAX_EXCLUDED} ids, has {}", excluded.len());
            return Err(Invalid::new(field("exclude_documents"), message));
        }
        let ids = excluded.iter().enumerate();
        let ids = ids.map(|(at, id)| DocumentId::parse(&field(&format!("exclude_documents[{at}]")), id));
        Ok(SearchOptions {
            max_distance: self.max_distance.map(|given| given as f32),
            filter: self.filter.map(|FilterRequest(json)| Filter::parse(&field("filter"), &json)).transpose()?,
            exclude_documents: ids.collect::<Result<_, _>>()?,
            distinct: self.distinct.unwrap_or(true),
            as_of: self.as_of,
            effort: self.effort.validate(prefix)?,
            ..SearchOptions::new(collection, neighbours)
        })
    }
}
