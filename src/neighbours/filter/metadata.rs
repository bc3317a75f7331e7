//! Conditions on metadata, which is stored as JSON text.

use std::borrow::Borrow;
use std::ops::Bound;

use super::function::Predicate;
use super::json::Json;
use super::{Bounds, Test, Tree, Values};

/// A condition on what `path` leads to in the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MetadataCondition {
    pub path: Vec<String>,
    pub test: Test,
}

impl Predicate for Tree<MetadataCondition> {
    const NAME: &'static str = "metadata_matches";

    fn accepts(&self, text: &str) -> Result<bool, String> {
        let metadata = serde_json::from_str(text).map_err(|error| format!("its metadata is not JSON: {error}"))?;
        Ok(self.holds(&metadata))
    }
}

impl Tree<MetadataCondition> {
    fn holds(&self, metadata: &Json<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(metadata)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(metadata)),
            Self::Not(part) => !part.holds(metadata),
            Self::Leaf(condition) => leads_to(metadata, &condition.path, &condition.test),
        }
    }
}

/// Whether `path` leads from `value` to one that passes. It goes on from every object of a list that it meets.
pub(super) fn leads_to(value: &Json<'_>, path: &[String], test: &Test) -> bool {
    let Some((key, rest)) = path.split_first() else {
        return test.holds(value);
    };
    let from_object = |value: &Json<'_>| value.get(key).is_some_and(|value| leads_to(value, rest, test));
    match value {
        Json::List(list) => list.iter().any(from_object),
        value => from_object(value),
    }
}

impl Test {
    /// For a list: for one of its elements.
    fn holds(&self, value: &Json<'_>) -> bool {
        match (self, value) {
            (Self::Exists, value) => !matches!(value, Json::Null),
            (test, Json::List(list)) => list.iter().any(|element| test.holds_for_one(element)),
            (test, value) => test.holds_for_one(value),
        }
    }

    fn holds_for_one(&self, value: &Json<'_>) -> bool {
        match (self, value) {
            (Self::OneOf(values), value) => values.contain(value),
            (Self::Texts(bounds), Json::Text(text)) => bounds.contain(&**text),
            (Self::Numbers(bounds), Json::Number(number)) => bounds.contain(number),
            _ => false,
        }
    }
}

impl Values {
    fn contain(&self, value: &Json<'_>) -> bool {
        match value {
            Json::Text(text) => self.texts.contains(&**text),
            Json::Number(number) => self.numbers.contains(number),
            Json::Boolean(boolean) => self.booleans.contains(boolean),
            Json::Null | Json::List(_) | Json::Object(_) => false,
        }
    }
}

impl<T> Bounds<T> {
    pub(super) fn contain<U: Ord + ?Sized>(&self, value: &U) -> bool
    where
        T: Borrow<U>,
    {
        let is_above = match &self.low {
            Bound::Included(low) => value >= low.borrow(),
            Bound::Excluded(low) => value > low.borrow(),
            Bound::Unbounded => true,
        };
        let is_below = match &self.high {
            Bound::Included(high) => value <= high.borrow(),
            Bound::Excluded(high) => value < high.borrow(),
            Bound::Unbounded => true,
        };
        is_above && is_below
    }
}
