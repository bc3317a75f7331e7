use std::sync::Arc;

use serde_json::Value;

use super::condition::{condition, list, shown, wrong_type};
use super::{Condition, Filter, Tree};
use crate::invalid::Invalid;

const GROUPS: [&str; 3] = ["and", "or", "not"];

impl Filter {
    /// # Arguments
    /// * `field` - path of the filter in what the user wrote, for instance `retrieval.filter`.
    ///
    /// # Errors
    /// [`Invalid`] names the part that breaks a rule, for instance `retrieval.filter.and[1].op`, and the limit.
    pub fn parse(field: &str, json: &Value) -> Result<Self, Invalid> {
        let mut parts = 0;
        tree(field, json, 1, &mut parts).map(|tree| Self(Arc::new(tree)))
    }
}

/// `parts` counts those of the whole filter so far.
fn tree(at: &str, json: &Value, depth: usize, parts: &mut usize) -> Result<Tree<Condition>, Invalid> {
    if depth > Filter::MAX_DEPTH {
        return Err(Invalid::new(at, format!("is nested {depth} deep, may be at most {}", Filter::MAX_DEPTH)));
    }
    *parts += 1;
    if *parts > Filter::MAX_PARTS {
        let most = Filter::MAX_PARTS;
        let message = format!("is part {parts}; a filter may have at most {most}, `and`, `or`, `not` and conditions together");
        return Err(Invalid::new(at, message));
    }
    let Value::Object(object) = json else {
        return Err(wrong_type(at, "an object", json));
    };
    let Some((group, of)) = GROUPS.iter().find_map(|&group| object.get(group).map(|of| (group, of))) else {
        return condition(at, object);
    };
    if let Some(other) = object.keys().find(|key| *key != group) {
        return Err(Invalid::new(at, format!("has {} beside `{group}`, which stands alone", shown(other))));
    }
    let at = format!("{at}.{group}");
    if group == "not" {
        return tree(&at, of, depth + 1, parts).map(|part| Tree::Not(Box::new(part)));
    }
    let list = list(&at, of)?;
    if list.is_empty() {
        return Err(Invalid::new(at, "must have at least 1 condition, has 0"));
    }
    let trees = list.iter().enumerate().map(|(place, json)| tree(&format!("{at}[{place}]"), json, depth + 1, parts));
    let trees = trees.collect::<Result<Vec<_>, _>>()?;
    Ok(if group == "and" { Tree::All(trees) } else { Tree::Any(trees) })
}
