//! Collections that are searched by an index.

use serde_json::{Value, json};

use crate::support::{Server, delete, get, ingest, patch, post};

/// Sentences that are all different, and near some others.
fn text(number: usize) -> String {
    let subjects = ["A hare", "The old pilot", "Nobody", "My aunt", "A glass ship", "The moor"];
    let verbs = ["crosses", "forgets", "paints", "counts", "sells"];
    let objects = ["the river", "seven apples", "a map of the fen", "the night train", "every clock", "its own shadow", "salt"];
    let (subject, verb) = (subjects[number % subjects.len()], verbs[number / 6 % verbs.len()]);
    format!("{subject} {verb} {} for the {number}th time.", objects[number / 30 % objects.len()])
}

async fn found(url: &str, text: &str, how: Value) -> Vec<(String, f64)> {
    let mut body = json!({"text": text, "neighbours": 5});
    body.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
    let answer = post(url, "/v1/retrieve", body).await.ok();
    let neighbours = answer["chunks"][0]["neighbours"].as_array().unwrap().clone();
    neighbours.iter().map(|one| (one["document_id"].as_str().unwrap().to_owned(), one["distance"].as_f64().unwrap())).collect()
}

#[tokio::test]
async fn an_indexed_collection_gives_what_an_exact_search_gives_while_documents_come_and_go() {
    let server = Server::start(&["--vectors-mb", "0"]).await;
    let url = server.url.as_str();
    let documents: Vec<Value> = (0..300).map(|at| json!({"id": format!("d{at:03}"), "text": text(at)})).collect();
    ingest(url, Value::from(documents)).await;
    assert_eq!(get(url, "/v1/collections/default").await.ok()["index"], Value::Null);
    let indexed = post(url, "/v1/collections/default/index?wait=true", json!({})).await;
    assert_eq!((indexed.status, &indexed.body["index"]), (200, &json!({"indexed": 300, "unindexed": 0, "parts": 1})));

    let all = json!({"nprobes": 4096, "refine": 256});
    let exact = json!({"exact": true});
    for at in [0, 77, 150, 299] {
        let by_index = found(url, &text(at), all.clone()).await;
        assert_eq!(by_index, found(url, &text(at), exact.clone()).await);
        assert_eq!(by_index[0], (format!("d{at:03}"), 0.0), "a chunk finds itself");
    }

    ingest(url, json!([{"id": "new", "text": "A zebra parks a submarine."}, {"id": "d077", "text": "Replaced by a zebra."}]))
        .await;
    delete(url, "/v1/documents/d150").await;
    assert_eq!(found(url, "A zebra parks a submarine.", json!({})).await[0], ("new".to_owned(), 0.0));
    let index = get(url, "/v1/collections/default").await.ok()["index"].clone();
    assert_eq!(index["unindexed"], 2, "{index}");
    for number in [77, 150] {
        let by_index = found(url, &text(number), all.clone()).await;
        assert!(by_index[0].1 > 0.0, "it is gone: {by_index:?}");
        assert_eq!(by_index, found(url, &text(number), exact.clone()).await);
    }
    let filter = json!({"filter": {"field": "document_id", "op": "prefix", "value": "d2"}, "nprobes": 4096, "refine": 256});
    let filtered = found(url, &text(10), filter.clone()).await;
    assert!(filtered.len() == 5 && filtered.iter().all(|(id, _)| id.starts_with("d2")), "{filtered:?}");

    for query in ["?wait=true", "?wait=true&rebuild=true"] {
        let indexed = post(url, &format!("/v1/collections/default/index{query}"), json!({})).await;
        assert_eq!((indexed.status, &indexed.body["index"]["unindexed"]), (200, &json!(0)), "{indexed:?}");
        assert_eq!(found(url, &text(3), all.clone()).await, found(url, &text(3), exact.clone()).await);
    }
    assert_eq!(get(url, "/v1/collections/default").await.ok()["index"]["parts"], 1);
}

#[tokio::test]
async fn a_collection_says_how_it_is_searched_and_what_is_out_of_range_is_named() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    ingest(url, json!([{"id": "one", "text": "A hare."}])).await;
    let set = patch(url, "/v1/collections/default", json!({"search": {"nprobes": 80, "exact": true}})).await;
    assert_eq!((set.status, &set.body["search"]), (200, &json!({"exact": true, "nprobes": 80, "refine": null})));
    assert_eq!(get(url, "/v1/collections/default").await.ok()["search"]["nprobes"], 80);
    assert_eq!(found(url, "A hare.", json!({})).await, [("one".to_owned(), 0.0)]);
    let reset = patch(url, "/v1/collections/default", json!({"search": {}})).await;
    assert_eq!(reset.body["search"], json!({"exact": null, "nprobes": null, "refine": null}));

    for (search, field) in [(json!({"nprobes": 0}), "search.nprobes"), (json!({"refine": 257}), "search.refine")] {
        let refused = patch(url, "/v1/collections/default", json!({"search": search})).await;
        assert_eq!((refused.status, refused.field()), (422, field), "{refused:?}");
    }
    let refused = post(url, "/v1/retrieve", json!({"text": "A", "nprobes": 4097})).await;
    assert_eq!((refused.status, refused.field()), (422, "nprobes"), "{refused:?}");
    let refused = post(url, "/v1/complete", json!({"prompt": "A", "retrieval": {"refine": 0}})).await;
    assert_eq!((refused.status, refused.field()), (422, "retrieval.refine"), "{refused:?}");
    for refused in [
        patch(url, "/v1/collections/none", json!({"search": {}})).await,
        post(url, "/v1/collections/none/index", json!({})).await,
        post(url, "/v1/collections/none/index?wait=true", json!({})).await,
    ] {
        assert_eq!((refused.status, refused.code()), (404, "collection_not_found"), "{refused:?}");
    }
    // A collection of one chunk, or of none.
    for name in ["default", "empty"] {
        post(url, "/v1/collections", json!({"name": "empty"})).await;
        let indexed = post(url, &format!("/v1/collections/{name}/index?wait=true"), json!({})).await;
        assert_eq!(indexed.status, 200, "{indexed:?}");
    }
    assert_eq!(found(url, "A hare.", json!({})).await, [("one".to_owned(), 0.0)]);
}
