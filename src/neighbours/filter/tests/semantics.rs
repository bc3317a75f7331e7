//! The table of `docs/filters.md`, line by line.

use serde_json::json;

use super::*;

fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::new("text", json!({"x": "b"})),
        Row::new("integer", json!({"x": 2})),
        Row::new("float", json!({"x": 2.5})),
        Row::new("true", json!({"x": true})),
        Row::new("null", json!({"x": null})),
        Row::new("missing", json!({})),
        Row::new("list", json!({"x": ["a", 3, null, ["b"], {"x": "b"}]})),
        Row::new("empty-list", json!({"x": []})),
        Row::new("object", json!({"x": {"y": "b", "": "empty"}})),
        Row::new("objects", json!({"x": [{"y": 1}, {"y": ["b", 7]}, [{"y": 9}]]})),
        Row::new("dotted", json!({"x.y": "b", "title": "in metadata"})),
        Row::new("large", json!({"x": 9_007_199_254_740_993_u64})),
        Row::new("largest", json!({"x": u64::MAX})),
    ];
    rows[0].title = "Alpha".to_owned();
    rows[1].title = "Beta".to_owned();
    rows[1].source = "https://example.org/beta".to_owned();
    rows
}

#[tokio::test]
async fn each_operator_accepts_what_its_description_says() {
    let folder = tempfile::tempdir().unwrap();
    let database = table(&folder, &rows()).await;
    let all: Vec<String> = accepted(&database, &json!({"field": "document_id", "op": "exists"})).await;
    assert_eq!(all.len(), rows().len());
    let many: Vec<String> = (0..999).map(|number| number.to_string()).chain(["Beta".to_owned()]).collect();
    for (filter, expected) in [
        (json!({"field": "x", "op": "eq", "value": "b"}), "text"),
        (json!({"field": "x", "op": "eq", "value": "a"}), "list"),
        (json!({"field": "x", "op": "eq", "value": "B"}), ""),
        (json!({"field": "x", "op": "eq", "value": 2}), "integer"),
        (json!({"field": "x", "op": "eq", "value": 2.0}), "integer"),
        (json!({"field": "x", "op": "eq", "value": "2"}), ""),
        (json!({"field": "x", "op": "eq", "value": true}), "true"),
        (json!({"field": "x", "op": "eq", "value": 9_007_199_254_740_993_u64}), "large"),
        (json!({"field": "x", "op": "eq", "value": 9_007_199_254_740_992_u64}), ""),
        (json!({"field": "x", "op": "eq", "value": 9_007_199_254_740_992.0}), ""),
        (json!({"field": "x", "op": "gt", "value": 9_007_199_254_740_992_u64}), "large largest"),
        (json!({"field": "x", "op": "eq", "value": u64::MAX}), "largest"),
        (json!({"field": "x", "op": "in", "values": ["b", 3, 2.5, false]}), "float list text"),
        (json!({"field": "x", "op": "in", "values": []}), ""),
        (json!({"field": "x", "op": "lt", "value": 2.5}), "integer"),
        (json!({"field": "x", "op": "le", "value": 2.5}), "float integer"),
        (json!({"field": "x", "op": "gt", "value": 2}), "float large largest list"),
        (json!({"field": "x", "op": "ge", "value": "b"}), "text"),
        (json!({"field": "x", "op": "le", "value": "b"}), "list text"),
        (json!({"field": "x", "op": "range", "gte": 2, "lt": 3}), "float integer"),
        (json!({"field": "x", "op": "range", "gt": "a", "lte": "b"}), "text"),
        (json!({"field": "x", "op": "range", "gte": 3, "lt": 2}), ""),
        (json!({"field": "x", "op": "prefix", "value": ""}), "list text"),
        (json!({"field": "x", "op": "exists", "value": false}), "dotted missing null"),
        (json!({"field": "x.y", "op": "eq", "value": "b"}), "object objects"),
        (json!({"field": "x.y", "op": "exists"}), "object objects"),
        (json!({"field": "x.y", "op": "eq", "value": 9}), ""),
        (json!({"path": ["metadata", "x.y"], "op": "eq", "value": "b"}), "dotted"),
        (json!({"path": ["metadata", "x", ""], "op": "eq", "value": "empty"}), "object"),
        (json!({"field": "metadata.title", "op": "exists"}), "dotted"),
        (json!({"field": "title", "op": "exists"}), "integer text"),
        (json!({"field": "title", "op": "eq", "value": "Beta"}), "integer"),
        (json!({"path": ["title"], "op": "lt", "value": "B"}), {
            "dotted empty-list float large largest list missing null object objects text true"
        }),
        (json!({"field": "title", "op": "ge", "value": 1}), ""),
        (json!({"field": "title", "op": "in", "values": [1, true]}), ""),
        (json!({"field": "title", "op": "in", "values": ["Alpha", "Beta", 1]}), "integer text"),
        (json!({"field": "title", "op": "in", "values": many}), "integer"),
        (json!({"field": "source", "op": "prefix", "value": "https://"}), "integer"),
        (json!({"field": "source", "op": "prefix", "value": "https:__"}), ""),
        (json!({"field": "document_id", "op": "range", "gte": "l", "lt": "m"}), "large largest list"),
        (json!({"and": [{"field": "x", "op": "gt", "value": 0}, {"field": "title", "op": "exists"}]}), "integer"),
        (
            json!({"or": [{"field": "x", "op": "eq", "value": true}, {"field": "title", "op": "eq", "value": "Alpha"}]}),
            "text true",
        ),
    ] {
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(accepted(&database, &filter).await, expected, "{filter}");
        let complement: Vec<&String> = all.iter().filter(|id| !expected.contains(&id.as_str())).collect();
        let denied = accepted(&database, &json!({"not": filter})).await;
        assert_eq!(denied.iter().collect::<Vec<_>>(), complement, "not {filter}");
    }
    for (filter, same) in [
        (json!({"field": "x", "op": "ne", "value": "b"}), json!({"not": {"field": "x", "op": "eq", "value": "b"}})),
        (json!({"field": "title", "op": "ne", "value": "Beta"}), json!({"not": {"field": "title", "op": "eq", "value": "Beta"}})),
        (
            json!({"field": "x", "op": "not_in", "values": [2, "a"]}),
            json!({"not": {"field": "x", "op": "in", "values": [2, "a"]}}),
        ),
        (json!({"field": "x", "op": "exists", "value": true}), json!({"field": "x", "op": "exists"})),
        (json!({"field": "x", "op": "eq", "value": "b"}), json!({"field": "metadata.x", "op": "eq", "value": "b"})),
    ] {
        let accepted_by_one = accepted(&database, &filter).await;
        assert!(!accepted_by_one.is_empty() && accepted_by_one.len() < all.len(), "{filter}");
        assert_eq!(accepted_by_one, accepted(&database, &same).await, "{filter}");
    }
}

#[tokio::test]
async fn metadata_that_is_no_json_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let broken = Entry { metadata: "{".to_owned(), ..entry("a", 0, [1.0, 0.0, 0.0, 0.0]) };
    database.replace_documents(&collection(), vec![(DocumentId::parse("id", "a").unwrap(), vec![broken])], true).await.unwrap();
    let filter = Filter::parse("filter", &json!({"field": "x", "op": "exists"})).unwrap();
    let options = SearchOptions { filter: Some(filter), ..nearest(1) };
    let error = database.search(vec![vec![1.0, 0.0, 0.0, 0.0]], &options).await.unwrap_err();
    assert!(error.to_string().contains("is not JSON"), "{error}");
}
