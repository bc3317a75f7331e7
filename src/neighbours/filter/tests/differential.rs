//! Random filters on random rows: LanceDB finds what a plain reading of the JSON says, which shares no code with the filter.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::*;

const KEYS: [&str; 5] = ["a", "b", "a.b", "", "title"];
const TEXTS: [&str; 10] = ["", "a", "ab", "abc", "b", "B", "\u{e4}", "a'b", "a%", "\u{10FFFF}z"];

fn number(random: &mut impl Rng) -> Value {
    match random.random_range(0..8) {
        0..=2 => json!(random.random_range(-3..=3)),
        3 => json!(f64::from(random.random_range(-12..=12)) / 4.0),
        4 => json!((1_i64 << 53) + random.random_range(-1..=1)),
        5 => json!((1_u64 << 53) as f64),
        6 => json!(u64::MAX - u64::from(random.random_bool(0.5))),
        _ => json!([i64::MIN as f64, u64::MAX as f64, 1e30, -1e300][random.random_range(0..4)]),
    }
}

fn text(random: &mut impl Rng) -> Value {
    json!(TEXTS[random.random_range(0..TEXTS.len())])
}

fn scalar(random: &mut impl Rng) -> Value {
    match random.random_range(0..7) {
        0..=2 => number(random),
        3..=5 => text(random),
        _ => json!(random.random_bool(0.5)),
    }
}

fn object(random: &mut impl Rng, depth: usize) -> Value {
    let mut map = Map::new();
    for key in KEYS {
        if random.random_bool(0.6) {
            map.insert(key.to_owned(), value(random, depth));
        }
    }
    map.into()
}

fn value(random: &mut impl Rng, depth: usize) -> Value {
    match random.random_range(0..10) {
        0 => Value::Null,
        1 | 2 if depth > 0 => object(random, depth - 1),
        3 | 4 if depth > 0 => (0..random.random_range(0..4)).map(|_| value(random, depth - 1)).collect(),
        _ => scalar(random),
    }
}

fn filter(random: &mut impl Rng, depth: usize) -> Value {
    if depth > 0 && random.random_bool(0.6) {
        let group = ["and", "or", "not"][random.random_range(0..3)];
        if group == "not" {
            return json!({"not": filter(random, depth - 1)});
        }
        let parts: Vec<Value> = (0..random.random_range(1..4)).map(|_| filter(random, depth - 1)).collect();
        return json!({group: parts});
    }
    let mut condition = match random.random_range(0..12) {
        0 => json!({"field": "document_id"}),
        1 => json!({"field": "title"}),
        2 => json!({"path": ["source"]}),
        3 => json!({"field": "metadata.title"}),
        4 => json!({"field": "a.b"}),
        _ => {
            let keys: Vec<&str> = (0..random.random_range(1..3)).map(|_| KEYS[random.random_range(0..KEYS.len())]).collect();
            json!({"path": std::iter::once("metadata").chain(keys).collect::<Vec<_>>()})
        }
    };
    let operator = Filter::OPERATORS[random.random_range(0..Filter::OPERATORS.len())];
    condition["op"] = json!(operator);
    match operator {
        "eq" | "ne" => condition["value"] = scalar(random),
        "in" | "not_in" => condition["values"] = (0..random.random_range(0..5)).map(|_| scalar(random)).collect(),
        "prefix" => condition["value"] = text(random),
        "exists" if random.random_bool(0.5) => condition["value"] = json!(random.random_bool(0.5)),
        "exists" => {}
        "range" => {
            let of_one_type: fn(&mut ChaCha8Rng) -> Value = if random.random_bool(0.5) { number } else { text };
            let mut own = ChaCha8Rng::seed_from_u64(random.random());
            let (low, high) = (["gt", "gte"][random.random_range(0..2)], ["lt", "lte"][random.random_range(0..2)]);
            let which = random.random_range(0..3);
            if which != 0 {
                condition[low] = of_one_type(&mut own);
            }
            if which != 1 {
                condition[high] = of_one_type(&mut own);
            }
        }
        _ => condition["value"] = if random.random_bool(0.5) { number(random) } else { text(random) },
    }
    condition
}

/// What the description of the language says, value by value.
fn holds(filter: &Value, row: &Row) -> bool {
    if let Some(parts) = filter["and"].as_array() {
        return parts.iter().all(|part| holds(part, row));
    }
    if let Some(parts) = filter["or"].as_array() {
        return parts.iter().any(|part| holds(part, row));
    }
    if !filter["not"].is_null() {
        return !holds(&filter["not"], row);
    }
    let path: Vec<&str> = match filter["field"].as_str() {
        Some(field) => field.split('.').collect(),
        None => filter["path"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect(),
    };
    let reached: Vec<Value> = match path[..] {
        ["document_id"] => vec![json!(row.id)],
        // An empty title is one that was not given.
        ["title"] | ["source"] if filter["op"] == "exists" => {
            let text = if path[0] == "title" { &row.title } else { &row.source };
            if text.is_empty() { vec![] } else { vec![json!(text)] }
        }
        ["title"] => vec![json!(row.title)],
        ["source"] => vec![json!(row.source)],
        ["metadata", ref keys @ ..] => reach(vec![row.metadata.clone()], keys),
        ref keys => reach(vec![row.metadata.clone()], keys),
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
        (Value::Number(_), Value::Number(_)) => !less(one, other) && !less(other, one),
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => one == other,
        _ => false,
    }
}

fn less(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.as_bytes() < other.as_bytes(),
        (Value::Number(one), Value::Number(other)) => match (quarters(one), quarters(other)) {
            (Some(one), Some(other)) => one < other,
            // One at least is beyond all integers, where a float is near enough to the other.
            _ => one.as_f64().unwrap() < other.as_f64().unwrap(),
        },
        _ => false,
    }
}

/// All numbers of this test are quarters, or very large.
fn quarters(number: &serde_json::Number) -> Option<i128> {
    match number.as_i128() {
        Some(integer) => Some(integer * 4),
        None => number.as_f64().filter(|float| float.abs() < 1e25).map(|float| (float * 4.0) as i128),
    }
}

#[tokio::test]
async fn lancedb_and_a_filter_by_itself_find_what_a_plain_reading_of_the_filter_says() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut rows: Vec<Row> = (0..120).map(|place| Row::new(format!("d{place:03}"), object(&mut random, 3))).collect();
    for row in &mut rows {
        // As the database holds it: a float may be another one after it was written and read.
        row.metadata = serde_json::from_str(&row.metadata.to_string()).unwrap();
        row.title = TEXTS[random.random_range(0..TEXTS.len())].to_owned();
        row.source = TEXTS[random.random_range(0..TEXTS.len())].to_owned();
    }
    let folder = tempfile::tempdir().unwrap();
    let database = table(&folder, &rows).await;
    let (mut some, mut conditions) = (0, 0);
    for case in 0..4000 {
        let filter = filter(&mut random, 4);
        let expected: Vec<&str> = rows.iter().filter(|row| holds(&filter, row)).map(|row| row.id.as_str()).collect();
        assert_eq!(accepted(&database, &filter).await, expected, "case {case}: {filter}");
        assert_eq!(accepted_as_documents(&rows, &filter), expected, "case {case}: {filter}");
        some += usize::from(!expected.is_empty() && expected.len() < rows.len());
        conditions += filter.to_string().matches("\"op\"").count();
    }
    assert!(some > 1500, "only {some} filters tell rows apart");
    assert!(conditions > 8000, "only {conditions} conditions");
}
