//! `PUT /v1/documents/{id}`.

use serde_json::{Value, json};

use crate::support::{delete, get, ingest, post, post_raw, put, shared, task};

/// Texts of the neighbours of `text` in a collection.
async fn found(collection: &str, text: &str) -> Vec<String> {
    let body = json!({"text": text, "collection": collection, "neighbours": 16});
    let found = post(shared(), "/v1/retrieve", body).await.ok();
    let neighbours = found["chunks"].as_array().unwrap().iter().flat_map(|chunk| chunk["neighbours"].as_array().unwrap());
    neighbours.map(|neighbour| neighbour["neighbour"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_put_document_takes_the_place_of_the_whole_old_one() {
    let old = "Otters sleep on their backs and hold each other's paws. ".repeat(30);
    ingest(
        shared(),
        json!([{"id": "put-1", "collection": "put", "title": "Otters", "metadata": {"year": 1}, "text": old},
            {"id": "put-2", "collection": "put", "text": "Badgers dig setts."}]),
    )
    .await;
    let answer = put(shared(), "/v1/documents/put-1", json!({"collection": "put", "text": "Beavers build dams."})).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body["document_ids"], json!(["put-1"]));
    let id = answer.body["task"]["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/tasks/{id}"));
    assert_eq!(task(shared(), id).await["documents"], json!({"total": 1, "ready": 1, "failed": 0}));
    let mut texts = found("put", "Otters sleep on their backs").await;
    texts.sort();
    assert_eq!(texts, ["Badgers dig setts.", "Beavers build dams."], "no chunk of the old text is left");
    let shown = get(shared(), "/v1/documents/put-1?text=true").await.ok();
    assert_eq!((&shown["title"], &shown["metadata"], &shown["revision"]), (&json!(""), &json!({}), &json!(2)));
    assert_eq!(shown["text"], "Beavers build dams.");

    // In another collection it leaves nothing in the one where it was.
    let body = json!({"id": "put-1", "collection": "put-elsewhere", "text": "Beavers fell trees."});
    let answer = put(shared(), "/v1/documents/put-1?wait=true", body).await;
    assert_eq!((answer.status, &answer.body["task"]["status"]), (200, &json!("succeeded")));
    assert_eq!(found("put", "Beavers").await, ["Badgers dig setts."]);
    assert_eq!(found("put-elsewhere", "Beavers").await, ["Beavers fell trees."]);
}

#[tokio::test]
async fn a_put_document_that_is_new_is_added_and_no_search_ever_sees_half_of_a_replacement() {
    let collection = "put-rounds";
    let body = |round: usize| json!({"collection": collection, "text": format!("In round {round} the heron waits. ").repeat(40)});
    for round in 0..6 {
        let wait = put(shared(), "/v1/documents/put-heron?wait=true", body(round));
        let search = found(collection, "The heron waits.");
        if round == 0 {
            assert_eq!(wait.await.status, 200);
        } else {
            let (answer, texts) = tokio::join!(wait, search);
            assert_eq!(answer.status, 200);
            let rounds: Vec<bool> =
                (0..6).map(|round| texts.iter().any(|text| text.contains(&format!("round {round} ")))).collect();
            assert_eq!(rounds.iter().filter(|&&seen| seen).count(), 1, "{texts:?}");
        }
        let texts = found(collection, "The heron waits.").await;
        assert!(texts.iter().all(|text| !text.contains("round") || text.contains(&format!("round {round} "))), "{texts:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_put_is_named() {
    let text = json!({"text": "A text."});
    for (path, body, status, code, field) in [
        ("put-bad", json!({"id": "other", "text": "A text."}), 422, "invalid_value", Some("id")),
        ("put-bad", json!({"id": "a/b", "text": "A text."}), 422, "invalid_value", Some("id")),
        ("put-bad", json!({"id": 7, "text": "A text."}), 422, "invalid_type", Some("id")),
        ("put%2Fbad", text.clone(), 422, "invalid_value", Some("id")),
        ("put-bad%FF", text, 400, "invalid_utf8", Some("id")),
        ("put-bad", json!({"text": " "}), 422, "invalid_value", Some("text")),
        ("put-bad", json!({}), 422, "missing_field", Some("text")),
        ("put-bad", json!({"documents": [{"text": "A text."}]}), 422, "unknown_field", Some("documents")),
        ("put-bad", json!({"text": "A text.", "collection": "../x"}), 422, "invalid_value", Some("collection")),
    ] {
        let answer = put(shared(), &format!("/v1/documents/{path}"), body.clone()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{body}: {answer:?}");
        assert_eq!(answer.body["field"].as_str(), field, "{body}: {answer:?}");
    }
    let lines = reqwest::Client::new().put(format!("{}/v1/documents/put-bad", shared()));
    let lines = crate::support::ask(lines.header("content-type", "application/x-ndjson").body("{\"text\": \"a\"}")).await;
    assert_eq!((lines.status, lines.code()), (415, "unsupported_media_type"));
    assert_eq!(get(shared(), "/v1/documents/put-bad").await.status, 404, "nothing was taken in");
}

#[tokio::test]
async fn a_document_may_have_the_name_of_a_route() {
    let body = json!({"collection": "put-names", "text": "A document that is called delete."});
    assert_eq!(put(shared(), "/v1/documents/delete?wait=true", body).await.status, 200);
    assert_eq!(get(shared(), "/v1/documents/delete").await.ok()["collection"], "put-names");
    assert_eq!(delete(shared(), "/v1/documents/delete").await.status, 204);
    assert_eq!(get(shared(), "/v1/documents/delete").await.code(), "document_not_found");
    let answer = post_raw(shared(), "/v1/documents/put-names", "application/json", "{}").await;
    assert_eq!((answer.status, answer.code(), &answer.body["field"]), (405, "method_not_allowed", &Value::Null));
}
