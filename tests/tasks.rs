//! Tasks: listed, watched and canceled.

use serde_json::{Value, json};

use crate::support::{Server, ask, events_of, get, ingest, post, shared, task};

const NO_TASK: &str = "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867";

fn client() -> reqwest::Client {
    reqwest::Client::new()
}

/// Documents that keep the worker busy for a while.
fn many(prefix: &str, number: usize) -> Value {
    let text = "The moor lies between two rivers and is crossed by one road. ".repeat(60);
    (0..number).map(|n| json!({"id": format!("{prefix}-{n}"), "text": format!("{prefix} {n}. {text}")})).collect()
}

#[tokio::test]
async fn tasks_are_listed_newest_first_page_by_page() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    let mut ids = Vec::new();
    for n in 0..5 {
        let answer = ingest(url, json!([{"id": format!("t{n}"), "text": format!("Task {n}.")}])).await;
        ids.push(answer["task"]["id"].clone());
    }
    ids.reverse();
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(url, &format!("/v1/tasks?limit=2{cursor}")).await.ok();
        let tasks = page["data"].as_array().unwrap();
        assert!(tasks.len() <= 2);
        listed.extend(tasks.iter().map(|task| task["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, ids);
    assert_eq!(get(url, "/v1/tasks?status=succeeded").await.ok()["data"].as_array().unwrap().len(), 5);
    assert_eq!(get(url, "/v1/tasks?status=failed").await.ok()["data"], json!([]));
    for (query, code) in [
        ("limit=0", "invalid_value"),
        ("limit=1001", "invalid_value"),
        ("cursor=x", "invalid_value"),
        ("status=late", "invalid_query"),
    ] {
        assert_eq!(get(url, &format!("/v1/tasks?{query}")).await.code(), code, "{query}");
    }
}

#[tokio::test]
async fn a_task_is_watched_to_its_end() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    let submitted = post(url, "/v1/documents", json!({"documents": many("watched", 6)})).await.ok();
    let id = submitted["task"]["id"].as_str().unwrap();
    let all = events_of(client().get(format!("{url}/v1/tasks/{id}/events"))).await.all().await;
    assert!(all.iter().all(|(name, task)| name == "task" && task["id"] == id), "{all:?}");
    let ready: Vec<_> = all.iter().map(|(_, task)| task["documents"]["ready"].as_u64().unwrap()).collect();
    assert!(ready.is_sorted(), "{ready:?}");
    let (_, last) = all.last().unwrap();
    assert_eq!((&last["status"], ready.last()), (&json!("succeeded"), Some(&6)));
    assert_eq!(*last, get(url, &format!("/v1/tasks/{id}")).await.ok());
    // One that has ended is told once.
    let again = events_of(client().get(format!("{url}/v1/tasks/{id}/events"))).await.all().await;
    assert_eq!(again, [("task".to_owned(), last.clone())]);
    for path in [format!("/v1/tasks/{NO_TASK}/events"), "/v1/tasks/x/events".to_owned()] {
        assert_eq!(get(url, &path).await.code(), "task_not_found");
    }
}

#[tokio::test]
async fn a_canceled_task_leaves_what_was_ready() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    let old = "The old lighthouse stands on the cape.";
    ingest(url, json!([{"id": "replaced", "text": old}])).await;
    // More than one batch, so that the last ones wait while the first are written.
    let mut documents = many("new", 200);
    documents.as_array_mut().unwrap().push(json!({"id": "replaced", "text": "The lighthouse has fallen."}));
    let submitted = post(url, "/v1/documents", json!({"documents": documents})).await.ok();
    let id = submitted["task"]["id"].as_str().unwrap();
    let cancel = || ask(client().post(format!("{url}/v1/tasks/{id}/cancel")));
    let canceled = cancel().await.ok();
    assert_eq!(canceled["status"], "canceled", "{canceled}");
    assert!(canceled["finished_at"].is_string() && canceled["error"].is_null());
    let ready = canceled["documents"]["ready"].as_u64().unwrap();
    assert!(ready < 201, "{canceled}");
    assert_eq!(cancel().await.ok(), canceled, "twice is no error");
    assert_eq!(task(url, id).await, canceled, "nothing changes afterwards");

    let listed = get(url, "/v1/documents?limit=1000").await.ok()["data"].as_array().unwrap().clone();
    let statuses = |status: &str| listed.iter().filter(|document| document["status"] == status).count() as u64;
    assert_eq!((statuses("ready"), statuses("failed"), statuses("pending")), (ready, 1, 0));
    let replaced = get(url, "/v1/documents/replaced").await.ok();
    assert_eq!((&replaced["status"], &replaced["error"]), (&json!("failed"), &json!("its task was canceled")));
    let body = json!({"text": old, "neighbours": 1});
    let found = post(url, "/v1/retrieve", body).await.ok();
    assert_eq!(found["chunks"][0]["neighbours"][0]["neighbour"], old);
    // What is left goes its usual way.
    ingest(url, json!([{"id": "replaced", "text": "A new lighthouse is built."}, {"id": "new-199", "text": "Again."}])).await;
    assert_eq!(get(url, "/v1/documents/replaced/chunks").await.ok()["data"][0]["text"], "A new lighthouse is built.");
}

#[tokio::test]
async fn a_task_that_has_ended_is_not_canceled() {
    let answer = ingest(shared(), json!([{"id": "ended", "text": "Done."}])).await;
    let id = answer["task"]["id"].as_str().unwrap();
    let refused = ask(client().post(format!("{}/v1/tasks/{id}/cancel", shared()))).await;
    assert_eq!((refused.status, refused.code(), refused.field()), (409, "task_ended", "id"));
    let unknown = ask(client().post(format!("{}/v1/tasks/{NO_TASK}/cancel", shared()))).await;
    assert_eq!((unknown.status, unknown.code()), (404, "task_not_found"));
}

#[tokio::test]
async fn the_chunks_of_a_document_make_up_its_text() {
    let text = "Between the two rivers lies a moor, crossed by one road. ".repeat(40);
    ingest(shared(), json!([{"id": "chunked", "text": text}])).await;
    let (mut chunks, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(shared(), &format!("/v1/documents/chunked/chunks?limit=3{cursor}")).await.ok();
        chunks.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let joined: String = chunks.iter().map(|chunk| chunk["text"].as_str().unwrap()).collect();
    assert_eq!(joined, text);
    for (place, chunk) in chunks.iter().enumerate() {
        let (from, to) = (chunk["byte_start"].as_u64().unwrap() as usize, chunk["byte_end"].as_u64().unwrap() as usize);
        assert_eq!((&chunk["chunk_index"], &text[from..to]), (&json!(place), chunk["text"].as_str().unwrap()));
        assert!(chunk["tokens"].as_array().unwrap().len() <= 64);
    }
    let whole = get(shared(), "/v1/documents/chunked").await.ok();
    assert_eq!(whole["chunks"], chunks.len());
    for (path, code) in [
        ("/v1/documents/nowhere/chunks", "document_not_found"),
        ("/v1/documents/chunked/chunks?limit=0", "invalid_value"),
        ("/v1/documents/chunked/chunks?cursor=-1", "invalid_value"),
        ("/v1/documents/chunked/chunks?first=1", "invalid_query"),
    ] {
        assert_eq!(get(shared(), path).await.code(), code, "{path}");
    }
}
