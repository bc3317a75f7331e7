//! A single condition, from JSON.

use std::ops::Bound;

use serde_json::{Map, Value};

use super::number::Number;
use super::{Bounds, Column, Condition, Filter, Subject, Test, Tree, Values};
use crate::invalid::Invalid;

type Object = Map<String, Value>;

const BOUNDS: [&str; 4] = ["gt", "gte", "lt", "lte"];
/// Stands before a name that would mean a column without it.
const METADATA: &str = "metadata";

pub(super) fn condition(at: &str, object: &Object) -> Result<Tree<Condition>, Invalid> {
    let subject = subject(at, object)?;
    let operator = operator(at, object)?;
    let takes: &[&str] = match operator {
        "in" | "not_in" => &["values"],
        "range" => &BOUNDS,
        _ => &["value"],
    };
    if let Some(key) =
        object.keys().find(|key| !["field", "path", "op"].contains(&key.as_str()) && !takes.contains(&key.as_str()))
    {
        let takes: Vec<String> = takes.iter().map(|key| format!("`{key}`")).collect();
        return Err(Invalid::new(at, format!("has {}, but `{operator}` takes {}", shown(key), takes.join(", "))));
    }
    let value_at = format!("{at}.value");
    let value = || object.get("value").ok_or_else(|| Invalid::new(&value_at, format!("is missing; `{operator}` needs it")));
    let side = |bound| Side { at: value_at.clone(), bound };
    let bounds = |low, high| bounds(at, &side(low), &side(high));
    let (test, holds) = match operator {
        "eq" | "ne" => {
            let mut values = Values::default();
            values.add(&value_at, value()?)?;
            (Test::OneOf(values), operator == "eq")
        }
        "lt" => (bounds(Bound::Unbounded, Bound::Excluded(value()?))?, true),
        "le" => (bounds(Bound::Unbounded, Bound::Included(value()?))?, true),
        "gt" => (bounds(Bound::Excluded(value()?), Bound::Unbounded)?, true),
        "ge" => (bounds(Bound::Included(value()?), Bound::Unbounded)?, true),
        "in" | "not_in" => (values(&format!("{at}.values"), object.get("values"))?, operator == "in"),
        "range" => (range(at, object)?, true),
        "prefix" => (Test::Texts(Bounds::prefix(text(&value_at, value()?)?)), true),
        _ => (Test::Exists, object.get("value").map_or(Ok(true), |value| boolean(&value_at, value))?),
    };
    let leaf = Tree::Leaf(Condition { subject, test });
    Ok(if holds { leaf } else { Tree::Not(Box::new(leaf)) })
}

fn subject(at: &str, object: &Object) -> Result<Subject, Invalid> {
    let (at, keys) = match (object.get("field"), object.get("path")) {
        (Some(_), Some(_)) => return Err(Invalid::new(at, "has both `field` and `path`; one of them names what to look at")),
        (None, None) => {
            return Err(Invalid::new(at, "has none of `and`, `or`, `not`, `field` and `path`, one of which must be there"));
        }
        (Some(field), None) => {
            let at = format!("{at}.field");
            let keys: Vec<&str> = text(&at, field)?.split('.').collect();
            if keys.iter().any(|key| key.is_empty()) {
                return Err(Invalid::new(at, "has an empty name before or after a dot; `path` can name such a key"));
            }
            (at, keys)
        }
        (None, Some(path)) => {
            let at = format!("{at}.path");
            let keys = list(&at, path)?.iter().enumerate().map(|(place, key)| text(&format!("{at}[{place}]"), key));
            (at.clone(), keys.collect::<Result<Vec<_>, _>>()?)
        }
    };
    let column = match keys[..] {
        ["document_id"] => Some(Column::DocumentId),
        ["title"] => Some(Column::Title),
        ["source"] => Some(Column::Source),
        _ => None,
    };
    if let Some(column) = column {
        return Ok(Subject::Column(column));
    }
    let keys = match keys.split_first() {
        Some((&METADATA, keys)) => keys,
        // The short form is for names alone: a path says where it begins.
        _ if object.contains_key("field") => &keys[..],
        _ => return Err(Invalid::new(at, "must begin with \"metadata\", or be [\"document_id\"], [\"title\"] or [\"source\"]")),
    };
    if !(1..=Filter::MAX_PATH).contains(&keys.len()) {
        let message = format!("must have 1 to {} names of metadata, has {}", Filter::MAX_PATH, keys.len());
        return Err(Invalid::new(at, message));
    }
    Ok(Subject::Metadata(keys.iter().map(|&key| key.to_owned()).collect()))
}

fn operator<'a>(at: &str, object: &'a Object) -> Result<&'a str, Invalid> {
    let at = format!("{at}.op");
    let one_of = || Filter::OPERATORS.join(", ");
    match object.get("op") {
        None => Err(Invalid::new(at, format!("is missing; it is one of {}", one_of()))),
        Some(Value::String(operator)) if Filter::OPERATORS.contains(&operator.as_str()) => Ok(operator),
        Some(Value::String(other)) => Err(Invalid::new(at, format!("must be one of {}, is {}", one_of(), shown(other)))),
        Some(other) => Err(wrong_type(&at, "a string", other)),
    }
}

fn range(at: &str, object: &Object) -> Result<Test, Invalid> {
    let side = |with: &'static str, without: &'static str| match (object.get(with), object.get(without)) {
        (Some(_), Some(_)) => Err(Invalid::new(at, format!("has both `{with}` and `{without}`, which bound the same side"))),
        (Some(value), None) => Ok(Side { at: format!("{at}.{with}"), bound: Bound::Included(value) }),
        (None, Some(value)) => Ok(Side { at: format!("{at}.{without}"), bound: Bound::Excluded(value) }),
        (None, None) => Ok(Side { at: String::new(), bound: Bound::Unbounded }),
    };
    bounds(at, &side("gte", "gt")?, &side("lte", "lt")?)
}

/// One end of what is wanted, and where it was written.
struct Side<'a> {
    at: String,
    bound: Bound<&'a Value>,
}

/// Bounds of one type: numbers or texts.
fn bounds(at: &str, low: &Side<'_>, high: &Side<'_>) -> Result<Test, Invalid> {
    let number = |at: &str, value: &Value| value.as_number().map(Number::from).ok_or_else(|| wrong_type(at, "a number", value));
    let owned = |at: &str, value: &Value| text(at, value).map(str::to_owned);
    let given = [low, high].into_iter().find_map(|side| match side.bound {
        Bound::Included(value) | Bound::Excluded(value) => Some((&side.at, value)),
        Bound::Unbounded => None,
    });
    match given {
        Some((_, Value::Number(_))) => Ok(Test::Numbers(Bounds { low: bound(low, number)?, high: bound(high, number)? })),
        Some((_, Value::String(_))) => Ok(Test::Texts(Bounds { low: bound(low, owned)?, high: bound(high, owned)? })),
        Some((at, other)) => Err(wrong_type(at, "a number or a string", other)),
        None => Err(Invalid::new(at, "has no bound; `range` takes `gt` or `gte`, `lt` or `lte`, or both")),
    }
}

fn bound<T>(side: &Side<'_>, read: impl Fn(&str, &Value) -> Result<T, Invalid>) -> Result<Bound<T>, Invalid> {
    Ok(match side.bound {
        Bound::Included(value) => Bound::Included(read(&side.at, value)?),
        Bound::Excluded(value) => Bound::Excluded(read(&side.at, value)?),
        Bound::Unbounded => Bound::Unbounded,
    })
}

fn values(at: &str, json: Option<&Value>) -> Result<Test, Invalid> {
    let list = list(at, json.ok_or_else(|| Invalid::new(at, "is missing"))?)?;
    if list.len() > Filter::MAX_VALUES {
        return Err(Invalid::new(at, format!("may have at most {} values, has {}", Filter::MAX_VALUES, list.len())));
    }
    let mut values = Values::default();
    for (place, value) in list.iter().enumerate() {
        values.add(&format!("{at}[{place}]"), value)?;
    }
    Ok(Test::OneOf(values))
}

impl Values {
    fn add(&mut self, at: &str, value: &Value) -> Result<(), Invalid> {
        match value {
            Value::String(_) => self.texts.insert(text(at, value)?.to_owned()),
            Value::Number(number) => self.numbers.insert(Number::from(number)),
            Value::Bool(boolean) => self.booleans.insert(*boolean),
            Value::Null => {
                return Err(Invalid::new(
                    at,
                    "must be a string, a number or a boolean, is null; `exists` finds what is null or missing",
                ));
            }
            Value::Array(_) | Value::Object(_) => return Err(wrong_type(at, "a string, a number or a boolean", value)),
        };
        Ok(())
    }
}

fn text<'a>(at: &str, value: &'a Value) -> Result<&'a str, Invalid> {
    let Value::String(text) = value else {
        return Err(wrong_type(at, "a string", value));
    };
    if text.len() > Filter::MAX_TEXT {
        return Err(Invalid::new(at, format!("may have at most {} bytes, has {}", Filter::MAX_TEXT, text.len())));
    }
    Ok(text)
}

fn boolean(at: &str, value: &Value) -> Result<bool, Invalid> {
    value.as_bool().ok_or_else(|| wrong_type(at, "true or false", value))
}

pub(super) fn list<'a>(at: &str, json: &'a Value) -> Result<&'a [Value], Invalid> {
    json.as_array().map(Vec::as_slice).ok_or_else(|| wrong_type(at, "a list", json))
}

pub(super) fn wrong_type(at: &str, expected: &str, found: &Value) -> Invalid {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Invalid::new(at, format!("must be {expected}, is {found}"))
}

/// A name that came from outside, in a message: quoted, and not at any length.
pub(super) fn shown(name: &str) -> String {
    const LONGEST: usize = 40;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &name[..end]),
        None => format!("{name:?}"),
    }
}
