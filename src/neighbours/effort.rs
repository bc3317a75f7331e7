use lance::Dataset;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::database::store;
use super::{Database, DatabaseError};
use crate::invalid::Invalid;
use crate::names::CollectionName;

/// How far a search goes where an index serves it; without an index every search is exact. What a request leaves open is what its
/// collection says, and else the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Effort {
    /// true: all embeddings are read, and no index is used (default false).
    #[serde(default)]
    #[schema(example = false)]
    pub exact: Option<bool>,
    /// Clusters of the index that are looked through, 1 to 4096 (default 40).
    #[serde(default)]
    #[schema(example = 40, minimum = 1, maximum = 4096)]
    pub nprobes: Option<usize>,
    /// Chunks whose exact distance is computed for each that is wanted, 1 to 256 (default 4).
    #[serde(default)]
    #[schema(example = 4, minimum = 1, maximum = 256)]
    pub refine: Option<u32>,
}

/// An effort with nothing left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    Exact,
    Index { nprobes: usize, refine: u32 },
}

/// Of 1,000,000 chunks in clusters of 1,024 (docs/database.md has what it finds and takes).
const NPROBES: usize = 40;
const REFINE: u32 = 4;
/// Key of a collection's own in LanceDB's configuration of its table.
const KEY: &str = "retro.search";

impl Effort {
    pub const MAX_NPROBES: usize = 4096;
    pub const MAX_REFINE: u32 = 256;

    /// All embeddings.
    pub fn exact() -> Self {
        Self { exact: Some(true), ..Self::default() }
    }

    /// `prefix` stands before the names of the fields in errors.
    ///
    /// # Errors
    /// [`Invalid`] names the field and its limit.
    pub fn validate(self, prefix: &str) -> Result<Self, Invalid> {
        let within = |name: &str, given: Option<usize>, most: usize| match given {
            Some(given) if !(1..=most).contains(&given) => {
                Err(Invalid::new(format!("{prefix}{name}"), format!("must be 1 to {most}, is {given}")))
            }
            _ => Ok(()),
        };
        within("nprobes", self.nprobes, Self::MAX_NPROBES)?;
        within("refine", self.refine.map(|refine| refine as usize), Self::MAX_REFINE as usize)?;
        Ok(self)
    }

    pub(super) fn resolve(self, of_collection: Self) -> Resolved {
        if self.exact.or(of_collection.exact) == Some(true) {
            return Resolved::Exact;
        }
        Resolved::Index {
            nprobes: self.nprobes.or(of_collection.nprobes).unwrap_or(NPROBES),
            refine: self.refine.or(of_collection.refine).unwrap_or(REFINE),
        }
    }

    /// What the searched collection says; nothing where it says what this version does not understand.
    pub(super) fn of(dataset: &Dataset) -> Self {
        dataset.config().get(KEY).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }
}

impl Database {
    /// Sets how far searches of a collection go that do not say so themselves; gives whether there is such a collection.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn set_effort(&self, collection: &CollectionName, effort: Effort) -> Result<bool, DatabaseError> {
        let Some((table, _)) = self.current(collection).await? else { return Ok(false) };
        let doing = |error| store(format!("set how collection {collection} is searched"), error);
        self.check_leave().await?;
        let begin = std::time::SystemTime::now();
        let json = serde_json::to_string(&effort).expect("numbers have a JSON");
        let native = table.as_native().expect("a table of this process");
        native.update_config([(KEY.to_owned(), json)]).await.map_err(doing)?;
        self.make_durable(collection, begin).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_before_its_collection_and_that_before_the_default() {
        let collection = Effort { exact: Some(true), nprobes: Some(7), refine: None };
        let index = |nprobes, refine| Resolved::Index { nprobes, refine };
        assert_eq!(Effort::default().resolve(Effort::default()), index(NPROBES, REFINE));
        assert_eq!(Effort::default().resolve(collection), Resolved::Exact);
        let request = Effort { exact: Some(false), nprobes: None, refine: Some(9) };
        assert_eq!(request.resolve(collection), index(7, 9));
        assert_eq!(Effort { nprobes: Some(3), ..request }.resolve(collection), index(3, 9));
    }

    #[test]
    fn numbers_out_of_range_are_named_with_their_limits() {
        for (effort, words) in [
            (Effort { nprobes: Some(0), ..Effort::default() }, "`retrieval.nprobes` must be 1 to 4096, is 0"),
            (Effort { refine: Some(257), ..Effort::default() }, "`retrieval.refine` must be 1 to 256, is 257"),
        ] {
            assert_eq!(effort.validate("retrieval.").unwrap_err().to_string(), words);
        }
    }
}
