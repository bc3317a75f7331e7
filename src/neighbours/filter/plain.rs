//! What the description of the language (`docs/filters.md`) says, read value by value from the JSON. It shares no code with the filter, which
//! is compared with it.

use std::cmp::Ordering;

use serde_json::{Number, Value, json};

use super::Fields;

/// Whether `document` fulfils `filter`, which is one that [`Filter::parse`](super::Filter::parse) takes; `metadata` is the document's.
pub(super) fn holds(filter: &Value, document: &Fields<'_>, metadata: &Value) -> bool {
    let part = |part: &Value| holds(part, document, metadata);
    if let Some(parts) = filter["and"].as_array() {
        return parts.iter().all(part);
    }
    if let Some(parts) = filter["or"].as_array() {
        return parts.iter().any(part);
    }
    if !filter["not"].is_null() {
        return !part(&filter["not"]);
    }
    let path: Vec<&str> = match filter["field"].as_str() {
        Some(field) => field.split('.').collect(),
        None => filter["path"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect(),
    };
    let reached: Vec<Value> = match path[..] {
        ["document_id"] => vec![json!(document.document_id)],
        // An empty title is one that was not given.
        ["title"] | ["source"] if filter["op"] == "exists" => {
            let text = if path[0] == "title" { document.title } else { document.source };
            if text.is_empty() { vec![] } else { vec![json!(text)] }
        }
        ["title"] => vec![json!(document.title)],
        ["source"] => vec![json!(document.source)],
        ["metadata", ref keys @ ..] => reach(vec![metadata.clone()], keys),
        ref keys => reach(vec![metadata.clone()], keys),
    };
    let elements: Vec<Value> =
        reached.iter().flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])).collect();
    let any = |accepts: &dyn Fn(&Value) -> bool| elements.iter().any(accepts);
    let given = &filter["value"];
    match filter["op"].as_str().unwrap() {
        "eq" => any(&|value| equal(value, given)),
        "ne" => !any(&|value| equal(value, given)),
        "lt" => any(&|value| less(value, given)),
        "le" => any(&|value| less(value, given) || equal(value, given)),
        "gt" => any(&|value| less(given, value)),
        "ge" => any(&|value| less(given, value) || equal(value, given)),
        "in" => any(&|value| filter["values"].as_array().unwrap().iter().any(|given| equal(value, given))),
        "not_in" => !any(&|value| filter["values"].as_array().unwrap().iter().any(|given| equal(value, given))),
        "prefix" => any(&|value| value.as_str().is_some_and(|value| value.starts_with(given.as_str().unwrap()))),
        "exists" => given.as_bool().unwrap_or(true) == reached.iter().any(|value| !value.is_null()),
        "range" => any(&|value| {
            let bound = |key: &str, accepts: &dyn Fn(&Value) -> bool| filter.get(key).is_none_or(accepts);
            bound("gt", &|given| less(given, value))
                && bound("gte", &|given| less(given, value) || equal(given, value))
                && bound("lt", &|given| less(value, given))
                && bound("lte", &|given| less(value, given) || equal(given, value))
        }),
        other => panic!("{other}"),
    }
}

fn reach(from: Vec<Value>, keys: &[&str]) -> Vec<Value> {
    keys.iter().fold(from, |values, key| {
        let objects = values.into_iter().flat_map(|value| match value {
            Value::Array(list) => list,
            value => vec![value],
        });
        objects.filter_map(|value| value.as_object().and_then(|object| object.get(*key).cloned())).collect()
    })
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => order(one, other).is_eq(),
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => one == other,
        _ => false,
    }
}

fn less(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.as_bytes() < other.as_bytes(),
        (Value::Number(one), Value::Number(other)) => order(one, other).is_lt(),
        _ => false,
    }
}

/// Of the exact values.
fn order(one: &Number, other: &Number) -> Ordering {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(one), None) => with_float(one, other.as_f64().unwrap()),
        (None, Some(other)) => with_float(other, one.as_f64().unwrap()).reverse(),
        (None, None) => one.as_f64().unwrap().partial_cmp(&other.as_f64().unwrap()).unwrap(),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))
}

fn with_float(integer: i128, float: f64) -> Ordering {
    match float {
        // No integer of JSON has more than 64 bits.
        _ if float >= 1e30 => Ordering::Less,
        _ if float <= -1e30 => Ordering::Greater,
        _ => integer.cmp(&(float.trunc() as i128)).then(0.0_f64.partial_cmp(&float.fract()).unwrap()),
    }
}
