//! Random filters on random rows: LanceDB finds what a plain reading of the JSON says, which shares no code with the filter.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::*;
use crate::neighbours::filter::plain;

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
        let holds = |row: &&Row| {
            let fields = Fields { document_id: &row.id, title: &row.title, source: &row.source, metadata: "" };
            plain::holds(&filter, &fields, &row.metadata)
        };
        let expected: Vec<&str> = rows.iter().filter(holds).map(|row| row.id.as_str()).collect();
        assert_eq!(accepted(&database, &filter).await, expected, "case {case}: {filter}");
        assert_eq!(accepted_as_documents(&rows, &filter), expected, "case {case}: {filter}");
        some += usize::from(!expected.is_empty() && expected.len() < rows.len());
        conditions += filter.to_string().matches("\"op\"").count();
    }
    assert!(some > 1500, "only {some} filters tell rows apart");
    assert!(conditions > 8000, "only {conditions} conditions");
}
