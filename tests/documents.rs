//! The life of a document over HTTP.

use serde_json::{Value, json};

use crate::support::{delete, get, ingest, post, post_raw, shared, task};

async fn neighbours(collection: &str, text: &str) -> Vec<Value> {
    let found = post(shared(), "/v1/retrieve", json!({"text": text, "collection": collection, "neighbours": 16})).await.ok();
    found["chunks"].as_array().unwrap().iter().flat_map(|chunk| chunk["neighbours"].as_array().unwrap().clone()).collect()
}

#[tokio::test]
async fn a_document_is_taken_in_found_shown_and_deleted() {
    let text = "Kestrels hover over open fields. ".repeat(40) + "Grüße, 字😀!\r\n";
    let document = json!({
        "id": "life-1", "text": text, "title": "Kestrels", "source": "https://example.org/k", "metadata": {"year": 2026, "tags": ["bird"]},
        "collection": "life"});
    let accepted = post(shared(), "/v1/documents", document).await;
    assert_eq!(accepted.status, 202);
    let id = accepted.body["task"]["id"].as_str().unwrap();
    assert_eq!(accepted.header("location"), format!("/v1/tasks/{id}"));
    assert_eq!(accepted.body["document_ids"], json!(["life-1"]));
    assert_eq!(accepted.body["task"]["documents"]["total"], 1);
    let ended = task(shared(), id).await;
    assert_eq!(ended["status"], "succeeded");
    assert_eq!(ended["documents"], json!({"total": 1, "ready": 1, "failed": 0}));
    assert!(ended["finished_at"].is_string());

    let shown = get(shared(), "/v1/documents/life-1").await.ok();
    assert_eq!(shown["status"], "ready");
    assert_eq!((&shown["title"], &shown["metadata"]["year"]), (&json!("Kestrels"), &json!(2026)));
    assert_eq!(shown["bytes"], text.len());
    assert!(shown["chunks"].as_u64().unwrap() > 1 && shown.get("text").is_none());
    assert_eq!(get(shared(), "/v1/documents/life-1?text=true").await.ok()["text"], text, "byte for byte");

    let found = neighbours("life", "Kestrels hover over open fields.").await;
    assert_eq!(found.len() as u64, shown["chunks"].as_u64().unwrap().min(16));
    assert_eq!(found[0]["document_id"], "life-1");
    assert_eq!(found[0]["metadata"]["tags"], json!(["bird"]));
    assert!(found[0]["distance"].as_f64().unwrap() >= 0.0);

    let gone = delete(shared(), "/v1/documents/life-1").await;
    assert_eq!((gone.status, &gone.body), (204, &Value::Null));
    assert_eq!(get(shared(), "/v1/documents/life-1").await.code(), "document_not_found");
    assert_eq!(delete(shared(), "/v1/documents/life-1").await.code(), "document_not_found");
    assert_eq!(neighbours("life", "Kestrels hover over open fields.").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_document_that_is_sent_again_replaces_the_old_one() {
    ingest(
        shared(),
        json!([{"id": "again", "collection": "again", "text": "The old text speaks of walruses on the ice. ".repeat(30)}]),
    )
    .await;
    let answer =
        ingest(shared(), json!([{"id": "again", "collection": "again", "text": "The new text speaks of camels."}])).await;
    assert_eq!(answer["task"]["documents"]["ready"], 1);
    let found = neighbours("again", "walruses on the ice").await;
    assert_eq!(found.len(), 1, "no chunk of the old text is left: {found:?}");
    assert_eq!(found[0]["neighbour"], "The new text speaks of camels.");
    let shown = get(shared(), "/v1/documents/again?text=true").await.ok();
    assert_eq!((shown["revision"].as_u64(), &shown["text"]), (Some(2), &json!("The new text speaks of camels.")));
    let listed = get(shared(), "/v1/documents?collection=again").await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let documents: Vec<_> =
        (0..7).map(|n| json!({"id": format!("page-{n}"), "collection": "pages", "text": format!("Page {n}")})).collect();
    ingest(shared(), Value::from(documents)).await;
    let (mut ids, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let from = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = get(shared(), &format!("/v1/documents?collection=pages&limit=3{from}")).await.ok();
        let data = page["data"].as_array().unwrap();
        assert!((1..=3).contains(&data.len()));
        ids.extend(data.iter().map(|document| document["id"].as_str().unwrap().to_owned()));
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    ids.sort();
    assert_eq!(ids, (0..7).map(|n| format!("page-{n}")).collect::<Vec<_>>(), "each once");
    let none = get(shared(), "/v1/documents?collection=no-documents").await.ok();
    assert_eq!(none, json!({"data": [], "next_cursor": null}));
}

#[tokio::test]
async fn lines_of_json_are_documents() {
    let body =
        "{\"id\": \"line-1\", \"text\": \"one\", \"collection\": \"lines\"}\r\n\n{\"text\": \"two\", \"collection\": \"lines\"}";
    let answer = post_raw(shared(), "/v1/documents?wait=true", "application/x-ndjson", body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["task"]["status"], "succeeded");
    let ids = answer.body["document_ids"].as_array().unwrap();
    assert_eq!((ids.len(), &ids[0]), (2, &json!("line-1")));
    let made_up = ids[1].as_str().unwrap();
    assert_eq!(get(shared(), &format!("/v1/documents/{made_up}?text=true")).await.ok()["text"], "two");
}

#[tokio::test]
async fn retrieval_is_cut_off_at_a_distance_and_a_number() {
    let documents: Vec<_> = (0..4)
        .map(|n| json!({"id": format!("far-{n}"), "collection": "far", "text": format!("Volcano number {n} erupts.")}))
        .collect();
    ingest(shared(), Value::from(documents)).await;
    let asked = |more: Value| {
        let mut body = json!({"text": "Volcano number 2 erupts.", "collection": "far"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(shared(), "/v1/retrieve", body)
    };
    let default = asked(json!({})).await.ok();
    assert!(default["database_version"].as_u64().unwrap() > 0);
    let found = default["chunks"][0]["neighbours"].as_array().unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["document_id"], "far-2");
    assert!(found[0]["distance"].as_f64() <= found[1]["distance"].as_f64());
    assert!(default["chunks"][0].get("choice").is_none());
    assert_eq!(asked(json!({"neighbours": 0})).await.ok()["chunks"][0]["neighbours"], json!([]));
    let near = asked(json!({"neighbours": 4, "max_distance": 0.001})).await.ok();
    assert_eq!(near["chunks"][0]["neighbours"].as_array().unwrap().len(), 1);
    let start = asked(json!({"alignment": "prompt_start"})).await.ok();
    assert_eq!(start["chunks"], json!([]), "the paper's grid has no complete chunk in a short text");
}
