//! Texts that mean something to a language somewhere are data here, as values, as names and as ids.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

const PIECES: [&str; 40] = [
    "'",
    "''",
    "\"",
    "`",
    "\\",
    "\\'",
    "\\\\",
    "%",
    "_",
    "a_b",
    "a%b",
    ".*",
    "^$",
    "[a-z]+",
    "(?i)x",
    "*",
    "?",
    "--",
    "/*",
    "*/",
    ";",
    "' OR '1'='1",
    "'; DROP TABLE default; --",
    "x' UNION SELECT 1 --",
    "1 OR true",
    "NULL",
    "null",
    "true",
    "metadata",
    "$.a",
    "$[0]",
    "@>",
    "a.b",
    "{}",
    "\u{0}",
    "a\u{0}b",
    "\n\r\t",
    "\u{202e}\u{feff}",
    "e\u{301}\u{e9}",
    "\u{1F600}\u{10FFFF}",
];

/// Some hundred texts, all different.
fn texts() -> Vec<String> {
    let alone = PIECES.iter().map(|piece| (*piece).to_owned());
    let doubled = PIECES.iter().map(|piece| format!("{piece}{piece}"));
    let around =
        PIECES.iter().flat_map(|piece| [format!("x{piece}"), format!("{piece}x"), format!("'{piece}'"), format!("%{piece}%")]);
    let paired = PIECES.iter().zip(PIECES.iter().cycle().skip(7)).map(|(one, other)| format!("{one} {other}"));
    let long =
        [format!("{}'", "y".repeat(4000)), "\u{fc}".repeat(2000), "'".repeat(4000), "%_".repeat(1000), "\u{0}".repeat(500)];
    let all: BTreeSet<String> = alone.chain(doubled).chain(around).chain(paired).chain(long).collect();
    all.into_iter().collect()
}

fn rows(texts: &[String]) -> Vec<Row> {
    let row = |(place, text): (usize, &String)| Row {
        title: text.clone(),
        source: format!("s{text}"),
        ..Row::new(
            format!("h{place:03}"),
            json!({"value": text, "list": [1, text], (format!("k{text}")): "key", "in": {text: 7}}),
        )
    };
    texts.iter().enumerate().map(row).collect()
}

#[tokio::test]
async fn a_hostile_text_finds_the_row_that_holds_it_and_no_other() {
    let texts = texts();
    assert!(texts.len() >= 270, "{}", texts.len());
    let folder = tempfile::tempdir().unwrap();
    let database = table(&folder, &rows(&texts)).await;
    let before = database.stats(&collection()).await.unwrap();
    let key = |keys: &[&str]| json!({"path": keys, "op": "exists"});
    for (place, text) in texts.iter().enumerate() {
        let own = [format!("h{place:03}")];
        for filter in [
            json!({"field": "title", "op": "eq", "value": text}),
            json!({"field": "source", "op": "range", "gte": format!("s{text}"), "lte": format!("s{text}")}),
            json!({"field": "value", "op": "eq", "value": text}),
            json!({"field": "list", "op": "in", "values": ["other", text]}),
            key(&["metadata", &format!("k{text}")]),
            json!({"path": ["metadata", "in", text], "op": "eq", "value": 7}),
            json!({"and": [{"field": "title", "op": "in", "values": [text]}, {"field": "value", "op": "le", "value": text},
                {"not": {"field": "value", "op": "lt", "value": text}}]}),
        ] {
            assert_eq!(accepted(&database, &filter).await, own, "{filter}");
        }
        let many: Vec<String> = (0..20).map(|number| format!("{text}{number}")).chain([format!("s{text}")]).collect();
        let many = json!({"field": "source", "op": "in", "values": many});
        assert_eq!(accepted(&database, &many).await, own, "{many}");
        assert_eq!(accepted(&database, &json!({"field": "document_id", "op": "eq", "value": text})).await, [""; 0], "{text:?}");
        let begins: Vec<String> =
            (0..texts.len()).filter(|&at| texts[at].starts_with(text)).map(|at| format!("h{at:03}")).collect();
        for field in ["title", "value"] {
            let found = accepted(&database, &json!({"field": field, "op": "prefix", "value": text})).await;
            assert_eq!(found, begins, "{field} {text:?}");
        }
    }
    assert_eq!(database.stats(&collection()).await.unwrap(), before);
    let documents = database.documents(&collection()).await.unwrap();
    assert_eq!(documents.len(), texts.len(), "every document is there still");
}

#[tokio::test]
async fn ids_with_signs_of_patterns_mean_themselves() {
    let ids = ["a_b", "axb", "a.b", "a-b", "a:b", "a", "a_", "ab", "A_b", "a.b.", "a--b"];
    let folder = tempfile::tempdir().unwrap();
    let database = table(&folder, &ids.map(|id| Row::new(id, json!({})))).await;
    for id in ids {
        assert_eq!(accepted(&database, &json!({"field": "document_id", "op": "eq", "value": id})).await, [id]);
        let excluded = SearchOptions { exclude_documents: vec![DocumentId::parse("id", id).unwrap()], ..nearest(100) };
        let found = database.search(vec![vec![1.0, 0.0, 0.0, 0.0]], &excluded).await.unwrap();
        let found: BTreeSet<&str> = found.neighbours[0].iter().map(|row| row.document_id.as_str()).collect();
        assert_eq!(found, ids.into_iter().filter(|&other| other != id).collect());
    }
}
