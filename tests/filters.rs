//! What narrows a search: `filter`, `exclude_documents`, `distinct`, wherever there is retrieval.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Process, ingest, post, retro, shared};

const TEXT: &str = "The lighthouse of Brandoria was lit";

/// Documents in a collection of their own.
async fn lighthouses(url: &str, collection: &str) {
    let document = |name: &str, text: &str, metadata: Value| {
        let id = format!("{collection}-{name}");
        json!({"id": id, "text": text, "title": name, "metadata": metadata, "collection": collection})
    };
    let documents = json!([
        document(
            "en",
            "The lighthouse of Brandoria was lit in 1911.",
            json!({"lang": "en", "year": 1911, "tags": ["sea", "light"]})
        ),
        document("twin", "The lighthouse of Brandoria was lit in 1911.", json!({"lang": "en", "year": 1912, "tags": ["sea"]})),
        document("de", "Der Leuchtturm von Brandoria leuchtet seit 1913.", json!({"lang": "de", "year": 1913})),
        document("odd", "Brandoria's lighthouse keeper drank tea.", json!({"it's": "' OR 1=1 --", "author": {"name": "Ann"}})),
        document("bees", "Honey bees live in colonies with one queen.", json!({"year": "1911", "a.b": null}))
    ]);
    ingest(url, documents).await;
}

/// Names of the documents whose chunks were found, the nearest first.
fn names(chunk: &Value, collection: &str) -> Vec<String> {
    let name = |neighbour: &Value| {
        let id = neighbour["document_id"].as_str().unwrap();
        id.strip_prefix(&format!("{collection}-")).unwrap().to_owned()
    };
    chunk["neighbours"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn a_search_finds_what_its_filter_accepts() {
    let collection = "filters-retrieve";
    lighthouses(shared(), collection).await;
    let found = async |more: Value| {
        let mut body = json!({"text": TEXT, "neighbours": 5, "collection": collection});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        names(&post(shared(), "/v1/retrieve", body).await.ok()["chunks"][0], collection)
    };
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    for (filter, expected) in [
        (json!(null), &["en", "de", "odd", "bees"][..]),
        (json!({"field": "lang", "op": "eq", "value": "de"}), &["de"]),
        (json!({"field": "metadata.year", "op": "range", "gte": 1912, "lt": 2000}), &["twin", "de"]),
        (json!({"field": "tags", "op": "eq", "value": "light"}), &["en"]),
        (json!({"field": "author.name", "op": "in", "values": ["Ann", 7]}), &["odd"]),
        (json!({"field": "year", "op": "exists", "value": false}), &["odd"]),
        (json!({"field": "title", "op": "prefix", "value": "b"}), &["bees"]),
        (json!({"not": {"field": "lang", "op": "exists"}}), &["odd", "bees"]),
        (json!({"field": "it's", "op": "eq", "value": "' OR 1=1 --"}), &["odd"]),
        (json!({"field": "document_id", "op": "eq", "value": format!("{collection}-bees' OR '1'='1")}), &[]),
        (
            json!({"and": [{"field": "document_id", "op": "ne", "value": format!("{collection}-en")}, {"or": [
            {"field": "lang", "op": "eq", "value": "en"}, {"field": "year", "op": "eq", "value": "1911"}]}]}),
            &["twin", "bees"],
        ),
    ] {
        let found = found(json!({"filter": filter})).await;
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), set(expected), "{filter}");
        assert_eq!(found.len(), expected.len(), "{filter}");
    }

    let (en, de) = (format!("{collection}-en"), format!("{collection}-de"));
    let without = found(json!({"exclude_documents": [en, de, "no-such-document"]})).await;
    assert_eq!(without[0], "twin", "it has the text of what was left out");
    assert_eq!(without.iter().cloned().collect::<BTreeSet<_>>(), set(&["twin", "odd", "bees"]));
    let one = found(json!({"neighbours": 1, "filter": {"field": "title", "op": "eq", "value": "bees"}})).await;
    assert_eq!(one, ["bees"], "it is found behind all that are nearer");

    assert_eq!(found(json!({"neighbours": 2})).await[0], "en");
    assert!(!found(json!({})).await.contains(&"twin".to_owned()));
    assert_eq!(found(json!({"distinct": false, "neighbours": 2})).await, ["en", "twin"]);
    assert_eq!(found(json!({"distinct": false})).await.len(), 5);
}

#[tokio::test]
async fn a_completion_and_a_score_read_what_their_filter_accepts() {
    let collection = "filters-complete";
    lighthouses(shared(), collection).await;
    let filter = |lang: &str| json!({"field": "lang", "op": "eq", "value": lang});
    // The same prompt again and again: nothing that is kept from one answer may show in another.
    for (lang, expected) in [("en", &["en"][..]), ("de", &["de"]), ("en", &["en"]), ("fr", &[]), ("de", &["de"])] {
        let retrieval = json!({"collection": collection, "filter": filter(lang), "alignment": "prompt_end"});
        let body = json!({"prompt": TEXT, "max_tokens": 4, "retrieval": retrieval});
        let answer = post(shared(), "/v1/complete", body).await.ok();
        assert_eq!(names(&answer["retrieval"]["chunks"][0], collection), expected, "{answer}");
        let answer = post(shared(), "/v1/score", json!({"prompt": TEXT, "text": " in 1911.", "retrieval": retrieval})).await.ok();
        assert_eq!(names(&answer["retrieval"]["chunks"][0], collection), expected, "{answer}");
    }
    let alone = |exclude: &[&str], distinct: bool| {
        let ids: Vec<String> = exclude.iter().map(|name| format!("{collection}-{name}")).collect();
        json!({"prompt": TEXT, "max_tokens": 1, "retrieval": {
            "collection": collection, "filter": filter("en"), "exclude_documents": ids, "distinct": distinct}})
    };
    for (body, expected) in [
        (alone(&["en"], true), &["twin"][..]),
        (alone(&[], true), &["en"]),
        (alone(&[], false), &["en", "twin"]),
        (alone(&["en", "twin"], true), &[]),
    ] {
        let answer = post(shared(), "/v1/complete", body).await.ok();
        assert_eq!(names(&answer["retrieval"]["chunks"][0], collection), expected, "{answer}");
    }

    // Side by side they are looked up at the same time, each for itself.
    let ask = async |lang: &'static str| {
        let retrieval = json!({"collection": collection, "filter": filter(lang), "interval": 8});
        let body = json!({"prompt": TEXT, "max_tokens": 24, "retrieval": retrieval});
        (lang, post(shared(), "/v1/complete", body).await.ok())
    };
    let (a, b, c, d) = tokio::join!(ask("en"), ask("de"), ask("fr"), ask("en"));
    for (lang, answer) in [a, b, c, d] {
        let chunks = answer["retrieval"]["chunks"].as_array().unwrap();
        assert!(!chunks.is_empty());
        for chunk in chunks {
            assert!(
                names(chunk, collection).iter().all(|name| name == lang || (lang == "en" && name == "twin")),
                "{lang}: {answer}"
            );
            assert_eq!(names(chunk, collection).is_empty(), lang == "fr", "{lang}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_filter_is_named() {
    let leaf = json!({"field": "lang", "op": "exists"});
    let deep = (0..16).fold(leaf.clone(), |inner, _| json!({"not": inner}));
    for (options, field, words) in [
        (json!({"filter": "lang = 'en'"}), "filter", "an object, is a string"),
        (json!({"filter": {}}), "filter", "none of `and`"),
        (json!({"filter": {"field": "lang", "op": "like", "value": "e%"}}), "filter.op", "must be one of eq, ne"),
        (json!({"filter": {"and": [leaf, {"field": "lang", "op": "equals", "value": "en"}]}}), "filter.and[1].op", "\"equals\""),
        (json!({"filter": {"field": "lang", "op": "eq", "value": null}}), "filter.value", "`exists`"),
        (json!({"filter": {"field": "lang", "op": "in", "values": vec!["x"; 1001]}}), "filter.values", "at most 1000"),
        (json!({"filter": {"field": "lang", "op": "eq", "value": "x".repeat(5000)}}), "filter.value", "at most 4096 bytes"),
        (json!({"filter": {"or": vec![&leaf; 256]}}), "filter.or[255]", "at most 256"),
        (json!({"filter": deep}), &format!("filter{}", ".not".repeat(16)), "at most 16"),
        (json!({"exclude_documents": ["a", "b' OR '1'='1"]}), "exclude_documents[1]", "may hold"),
        (json!({"exclude_documents": vec!["a"; 1001]}), "exclude_documents", "at most 1000 ids, has 1001"),
    ] {
        for (path, mut body, prefix) in [
            ("/v1/complete", json!({"prompt": "a", "retrieval": options}), "retrieval."),
            ("/v1/complete", json!({"prompt": "a", "stream": true, "retrieval": options}), "retrieval."),
            ("/v1/score", json!({"text": "a b c", "retrieval": options}), "retrieval."),
            ("/v1/retrieve", options.clone(), ""),
        ] {
            if path == "/v1/retrieve" {
                body["text"] = json!("a");
            }
            let answer = post(shared(), path, body).await;
            assert_eq!((answer.status, answer.code()), (422, "invalid_value"), "{answer:?}");
            assert_eq!(answer.field(), format!("{prefix}{field}"), "{answer:?}");
            assert!(answer.body["detail"].as_str().unwrap().contains(words), "{answer:?}");
        }
    }
    let answer = post(shared(), "/v1/retrieve", json!({"text": "a", "distinct": "yes"})).await;
    assert_eq!((answer.status, answer.code(), answer.field()), (422, "invalid_type", "distinct"));
    let answer = post(shared(), "/v1/retrieve", json!({"text": "a", "exclude_documents": [7]})).await;
    assert_eq!((answer.status, answer.code(), answer.field()), (422, "invalid_type", "exclude_documents[0]"));
}

#[tokio::test]
async fn the_command_line_has_the_same_options() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    lighthouses(&server.url, "lights").await;
    let said = |subcommand: &str, more: &[&str]| {
        let output = retro(subcommand, data.path(), &[&[TEXT, "--collection=lights", "--neighbours=5"], more].concat());
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let german = r#"--filter={"field": "lang", "op": "eq", "value": "de"}"#;
    let (ok, text) = said("retrieve", &[german]);
    assert!(ok && text.contains("lights-de") && !text.contains("lights-en"), "{text}");
    let (ok, text) = said("complete", &[german, "--max-tokens=2", "--show-neighbours"]);
    assert!(ok && text.contains("lights-de") && !text.contains("lights-en"), "{text}");
    let (ok, text) = said("retrieve", &["--exclude-document=lights-de", "--exclude-document=lights-bees", "--no-distinct"]);
    assert!(ok && text.contains("lights-en") && text.contains("lights-twin"), "{text}");
    assert!(!text.contains("lights-de") && !text.contains("lights-bees"), "{text}");
    for (more, words) in [
        (r#"--filter={"field": "lang", "op": "is"}"#, "`filter.op` must be one of eq"),
        ("--filter=lang = 'en'", "expected value at line 1 column 1"),
        ("--exclude-document=a b", "`exclude_documents[0]`"),
    ] {
        let (ok, text) = said("retrieve", &[more]);
        assert!(!ok && text.contains(words) && !text.contains("panicked"), "{more}: {text}");
    }
}
