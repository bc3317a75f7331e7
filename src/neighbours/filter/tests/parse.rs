use serde_json::{Value, json};

use super::*;

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!({"field": "a", "op": "exists"}), |inner, _| json!({"not": inner}))
}

fn and(parts: usize) -> Value {
    json!({"and": vec![json!({"field": "a", "op": "exists"}); parts - 1]})
}

#[test]
fn what_is_at_a_limit_is_taken() {
    for filter in [
        json!({"field": "a", "op": "eq", "value": ""}),
        json!({"field": "a", "op": "eq", "value": "x".repeat(4096)}),
        json!({"field": "a", "op": "in", "values": []}),
        json!({"field": "a", "op": "in", "values": (0..1000).collect::<Vec<_>>()}),
        json!({"field": "a", "op": "not_in", "values": ["a", 1, 1.5, true]}),
        json!({"field": "a", "op": "range", "gte": 2, "lt": 1}),
        json!({"field": "a", "op": "exists"}),
        json!({"field": vec!["a"; 16].join("."), "op": "exists"}),
        json!({"path": ["metadata", ""], "op": "exists"}),
        json!({"path": ["title"], "op": "prefix", "value": ""}),
        json!({"field": "metadata.metadata", "op": "exists"}),
        nested(16),
        and(256),
    ] {
        Filter::parse("filter", &filter).unwrap_or_else(|error| panic!("{error}: {filter}"));
    }
}

#[test]
fn what_breaks_a_rule_is_named_with_the_limit() {
    let long = "x".repeat(4097);
    let leaf = json!({"field": "a", "op": "exists"});
    let deepest = format!("filter{}", ".not".repeat(16));
    for (filter, field, words) in [
        (json!(null), "filter", "an object, is null"),
        (json!("lang = 'en'"), "filter", "an object, is a string"),
        (json!([leaf]), "filter", "an object, is a list"),
        (json!({}), "filter", "none of `and`"),
        (json!({"op": "eq", "value": 1}), "filter", "none of `and`"),
        (json!({"lang": "en"}), "filter", "none of `and`"),
        (json!({"and": []}), "filter.and", "at least 1"),
        (json!({"or": leaf}), "filter.or", "a list, is an object"),
        (json!({"not": [leaf]}), "filter.not", "an object, is a list"),
        (json!({"and": [leaf], "or": [leaf]}), "filter", "\"or\" beside `and`"),
        (json!({"not": leaf, "field": "a"}), "filter", "\"field\" beside `not`"),
        (json!({"and": [leaf, {"field": "a", "op": "equals"}]}), "filter.and[1].op", "eq, ne"),
        (json!({"or": [leaf, {"not": {"field": "a"}}]}), "filter.or[1].not.op", "missing"),
        (json!({"field": "a", "op": 1}), "filter.op", "a string, is a number"),
        (json!({"field": "a", "op": "eq"}), "filter.value", "missing"),
        (json!({"field": "a", "op": "eq", "value": null}), "filter.value", "`exists`"),
        (json!({"field": "a", "op": "eq", "value": [1]}), "filter.value", "is a list"),
        (json!({"field": "a", "op": "eq", "value": 1, "values": [1]}), "filter", "\"values\", but `eq` takes `value`"),
        (json!({"field": "a", "op": "eq", "value": 1, "case": "no"}), "filter", "\"case\""),
        (json!({"field": "a", "op": "eq", "value": long}), "filter.value", "at most 4096 bytes, has 4097"),
        (json!({"field": "a", "op": "lt", "value": true}), "filter.value", "a number or a string, is a boolean"),
        (json!({"field": "a", "op": "in", "value": 1}), "filter", "`in` takes `values`"),
        (json!({"field": "a", "op": "in"}), "filter.values", "missing"),
        (json!({"field": "a", "op": "in", "values": "x"}), "filter.values", "a list, is a string"),
        (json!({"field": "a", "op": "in", "values": ["x", null]}), "filter.values[1]", "`exists`"),
        (json!({"field": "a", "op": "in", "values": ["x", {}]}), "filter.values[1]", "is an object"),
        (json!({"field": "a", "op": "in", "values": vec![0; 1001]}), "filter.values", "at most 1000 values, has 1001"),
        (json!({"field": "a", "op": "range"}), "filter", "no bound"),
        (json!({"field": "a", "op": "range", "gt": 1, "gte": 1}), "filter", "both `gte` and `gt`"),
        (json!({"field": "a", "op": "range", "gt": 1, "lt": "x"}), "filter.lt", "a number, is a string"),
        (json!({"field": "a", "op": "range", "gte": "a", "lte": 1}), "filter.lte", "a string, is a number"),
        (json!({"field": "a", "op": "range", "gte": null}), "filter.gte", "is null"),
        (json!({"field": "a", "op": "prefix", "value": 1}), "filter.value", "a string, is a number"),
        (json!({"field": "a", "op": "exists", "value": 1}), "filter.value", "true or false, is a number"),
        (json!({"field": "", "op": "exists"}), "filter.field", "empty name"),
        (json!({"field": "a..b", "op": "exists"}), "filter.field", "`path`"),
        (json!({"field": "metadata", "op": "exists"}), "filter.field", "has 0"),
        (json!({"field": "title", "path": ["title"], "op": "exists"}), "filter", "both `field` and `path`"),
        (json!({"field": ["title"], "op": "exists"}), "filter.field", "a string, is a list"),
        (json!({"field": long, "op": "exists"}), "filter.field", "at most 4096 bytes"),
        (json!({"field": vec!["a"; 17].join("."), "op": "exists"}), "filter.field", "1 to 16 names of metadata, has 17"),
        (json!({"path": [], "op": "exists"}), "filter.path", "must begin with"),
        (json!({"path": ["lang"], "op": "exists"}), "filter.path", "must begin with"),
        (json!({"path": ["metadata"], "op": "exists"}), "filter.path", "has 0"),
        (json!({"path": ["metadata", 1], "op": "exists"}), "filter.path[1]", "a string, is a number"),
        (json!({"path": "metadata.a", "op": "exists"}), "filter.path", "a list, is a string"),
        (nested(17), &deepest, "17 deep, may be at most 16"),
        (nested(100), &deepest, "17 deep"),
        (and(257), "filter.and[255]", "at most 256"),
        (and(100_000), "filter.and[255]", "at most 256"),
    ] {
        let error = Filter::parse("filter", &filter).unwrap_err();
        let shown = filter.to_string();
        let shown = &shown[..shown.len().min(200)];
        assert_eq!(error.field, field, "{shown}: {error}");
        assert!(error.message.contains(words), "{shown}: {error}");
        assert!(error.to_string().len() < 400, "{shown}: {error}");
    }
}

#[test]
fn the_same_filter_is_equal_and_another_is_not() {
    let parse = |json: Value| Filter::parse("filter", &json).unwrap();
    let filter = parse(json!({"field": "a", "op": "in", "values": [1, 2, "x"]}));
    assert_eq!(filter, parse(json!({"path": ["metadata", "a"], "op": "in", "values": ["x", 2.0, 1, 1]})));
    assert_ne!(filter, parse(json!({"field": "a", "op": "in", "values": [1, 2]})));
    assert_ne!(filter, parse(json!({"field": "a", "op": "not_in", "values": [1, 2, "x"]})));
    assert_ne!(filter, parse(json!({"field": "b", "op": "in", "values": [1, 2, "x"]})));
}

#[test]
fn what_speaks_of_metadata_is_one_call_and_of_columns_a_plain_expression() {
    let expression = |json: Value| Filter::parse("filter", &json).unwrap().to_expr().to_string();
    let lang = json!({"field": "lang", "op": "eq", "value": "en"});
    let (year, title) =
        (json!({"field": "year", "op": "lt", "value": 1}), json!({"field": "title", "op": "prefix", "value": "A"}));
    assert_eq!(expression(json!({"or": [lang, {"and": [year, {"not": lang}]}]})), "metadata_matches(metadata)");
    assert_eq!(expression(title.clone()), r#"title >= Utf8("A") AND title < Utf8("B")"#);
    let mixed = expression(json!({"and": [lang, title, year]}));
    assert_eq!(mixed, r#"title >= Utf8("A") AND title < Utf8("B") AND metadata_matches(metadata)"#);
}
