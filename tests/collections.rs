//! Collections as wholes: listed, made, deleted.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Process, Server, delete, eventually, get, ingest, post, put, shared, task};

async fn neighbours(url: &str, collection: &str) -> Vec<Value> {
    let body = json!({"text": "The moor lies in fog.", "collection": collection, "neighbours": 16});
    post(url, "/v1/retrieve", body).await.ok()["chunks"][0]["neighbours"].as_array().unwrap().clone()
}

/// Names of the collections of a server, page by page.
async fn names(url: &str, limit: usize) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(url, &format!("/v1/collections?limit={limit}{cursor}")).await.ok();
        let data = page["data"].as_array().unwrap();
        assert!((1..=limit).contains(&data.len()));
        names.extend(data.iter().map(|one| one["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return names,
        }
    }
}

#[tokio::test]
async fn a_collection_is_made_filled_measured_and_deleted() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    assert_eq!(names(url, 10).await, ["default"]);
    let made = post(url, "/v1/collections", json!({"name": "moor"})).await;
    assert_eq!((made.status, made.header("location")), (201, "/v1/collections/moor"));
    assert_eq!(made.body["documents"], json!({"pending": 0, "ready": 0, "failed": 0}));
    assert_eq!((&made.body["chunks"], &made.body["version"]), (&json!(0), &json!(1)));
    assert_eq!(made.body, get(url, "/v1/collections/moor").await.ok());
    assert_eq!(neighbours(url, "moor").await, Vec::<Value>::new());
    for name in ["moor", "default"] {
        let again = post(url, "/v1/collections", json!({"name": name})).await;
        assert_eq!((again.status, again.code(), again.field()), (409, "collection_exists", "name"), "{again:?}");
    }

    let text = "The moor lies in fog, and nobody is about. ".repeat(30);
    ingest(
        url,
        json!([{"id": "a", "collection": "moor", "text": text}, {"id": "b", "collection": "moor", "text": "A hare."},
        {"id": "c", "collection": "fen", "text": "The fen lies in fog."}]),
    )
    .await;
    let shown = get(url, "/v1/collections/moor").await.ok();
    let (a, b) = (get(url, "/v1/documents/a").await.ok(), get(url, "/v1/documents/b").await.ok());
    let chunks = a["chunks"].as_u64().unwrap() + b["chunks"].as_u64().unwrap();
    assert_eq!((&shown["chunks"], &shown["deleted_chunks"]), (&json!(chunks), &json!(0)));
    assert_eq!(shown["documents"], json!({"pending": 0, "ready": 2, "failed": 0}));
    assert_eq!(shown["text_bytes"], text.len() + "A hare.".len());
    assert_eq!(shown["tokens"].as_u64(), Some(a["tokens"].as_u64().unwrap() + b["tokens"].as_u64().unwrap()));
    assert_eq!(shown["created_at"], made.body["created_at"]);
    assert!(shown["bytes"].as_u64() > made.body["bytes"].as_u64(), "{shown}");
    assert_eq!(shown["fragments"], 1);
    let info = get(url, "/v1/info").await.ok();
    assert_eq!((&shown["dimension"], &shown["embedder"]), (&info["embedder"]["dimension"], &info["embedder"]["identity"]));
    let versions = shown["versions"].as_array().unwrap();
    assert_eq!(versions.len() as u64, shown["kept_versions"]["count"].as_u64().unwrap());
    assert_eq!(versions[0]["version"], shown["version"]);
    assert_eq!((&shown["kept_versions"]["oldest"], &shown["kept_versions"]["newest"]), (&json!(1), &shown["version"]));

    assert_eq!(delete(url, "/v1/documents/b").await.status, 204);
    let after = get(url, "/v1/collections/moor").await.ok();
    assert_eq!((&after["chunks"], &after["deleted_chunks"]), (&a["chunks"], &b["chunks"]));
    assert!(after["version"].as_u64() > shown["version"].as_u64());

    assert_eq!(names(url, 2).await, ["default", "fen", "moor"]);
    assert_eq!(names(url, 1).await, ["default", "fen", "moor"]);
    let listed = get(url, "/v1/collections").await.ok()["data"][2].clone();
    for (field, value) in listed.as_object().unwrap() {
        assert_eq!(value, &after[field], "{field}");
    }

    let gone = delete(url, "/v1/collections/moor").await;
    assert_eq!((gone.status, &gone.body), (204, &Value::Null));
    for path in ["/v1/collections/moor", "/v1/documents/a"] {
        assert_eq!(get(url, path).await.status, 404, "{path}");
    }
    for answer in [
        delete(url, "/v1/collections/moor").await,
        post(url, "/v1/retrieve", json!({"text": "fog", "collection": "moor"})).await,
        post(url, "/v1/complete", json!({"prompt": "fog", "retrieval": {"collection": "moor"}})).await,
        post(url, "/v1/score", json!({"prompt": "fog", "text": " lifts", "retrieval": {"collection": "moor"}})).await,
    ] {
        assert_eq!((answer.status, answer.code()), (404, "collection_not_found"), "{answer:?}");
    }
    assert_eq!(names(url, 10).await, ["default", "fen"]);
    assert_eq!(neighbours(url, "fen").await.len(), 1);

    // A new one of the name has nothing of the old one.
    ingest(url, json!([{"id": "b", "collection": "moor", "text": "A heron."}])).await;
    let found = neighbours(url, "moor").await;
    assert_eq!((found.len(), &found[0]["neighbour"]), (1, &json!("A heron.")));
    assert_eq!(get(url, "/v1/collections/moor").await.ok()["documents"]["ready"], 1);
    assert_eq!(get(url, "/v1/documents/b").await.ok()["revision"], 1);
}

#[tokio::test]
async fn the_default_collection_is_emptied_and_stays() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    ingest(url, json!([{"id": "a", "text": "The moor lies in fog."}])).await;
    assert_eq!(neighbours(url, "default").await.len(), 1);
    for _ in 0..2 {
        assert_eq!(delete(url, "/v1/collections/default").await.status, 204);
        assert_eq!(neighbours(url, "default").await, Vec::<Value>::new());
        let shown = get(url, "/v1/collections/default").await.ok();
        assert_eq!((&shown["chunks"], &shown["version"], &shown["created_at"]), (&json!(0), &json!(0), &Value::Null));
        assert_eq!((&shown["bytes"], &shown["versions"]), (&json!(0), &json!([])));
    }
    let completed = post(url, "/v1/complete", json!({"prompt": "The moor", "max_tokens": 2})).await.ok();
    assert_eq!(completed["retrieval"]["database_version"], 0);
}

#[tokio::test]
async fn nothing_of_a_deleted_collection_comes_back() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    // What was there, what waits, what was moved here from elsewhere, and what was moved away.
    ingest(url, json!([{"id": "old", "collection": "gone", "text": "The moor lies in fog."},
        {"id": "guest", "collection": "kept", "text": "A guest at the moor."}, {"id": "other", "collection": "kept", "text": "A moor."}]))
    .await;
    ingest(url, json!([{"id": "leaver", "collection": "gone", "text": "It leaves the moor."}])).await;
    let document =
        |n: usize| json!({"id": format!("wait-{n}"), "collection": "gone", "text": format!("Fog {n} on the moor. ").repeat(200)});
    let waiting = post(url, "/v1/documents", json!({"documents": (0..30).map(document).collect::<Vec<_>>()})).await.ok();
    let moved = put(url, "/v1/documents/guest", json!({"collection": "gone", "text": "The guest moved in."})).await.ok();
    let left = put(url, "/v1/documents/leaver", json!({"collection": "kept", "text": "It left the moor."})).await.ok();
    assert_eq!(delete(url, "/v1/collections/gone").await.status, 204);
    assert_eq!(get(url, "/v1/collections/gone").await.code(), "collection_not_found");
    assert_eq!(get(url, "/v1/documents?collection=gone").await.ok()["data"], json!([]));
    let found = neighbours(url, "kept").await;
    assert!(found.iter().all(|one| one["document_id"] != "guest"), "{found:?}");
    for (accepted, status) in [(waiting, "canceled"), (moved, "canceled"), (left, "succeeded")] {
        let ended = task(url, accepted["task"]["id"].as_str().unwrap()).await;
        // Some may have been ready before.
        assert!(ended["status"] == status || ended["documents"]["ready"] != 0, "{ended}");
    }
    ingest(url, json!([{"id": "last", "collection": "kept", "text": "The last one."}])).await;
    assert_eq!(names(url, 10).await, ["default", "kept"]);
    let mut kept: Vec<_> = neighbours(url, "kept").await.iter().map(|one| one["document_id"].clone()).collect();
    kept.sort_by_key(Value::to_string);
    assert_eq!(kept, ["last", "leaver", "other"]);
    assert_eq!(get(url, "/v1/info").await.ok()["collections"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn searches_while_a_collection_goes_see_all_of_it_or_nothing() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    for round in 0..4 {
        let documents: Vec<_> = (0..8)
            .map(|n| json!({"id": format!("{round}-{n}"), "collection": "busy", "text": format!("Round {round}, moor {n}.")}))
            .collect();
        for document in documents {
            ingest(url, json!([document])).await;
        }
        let search = async {
            let mut seen = Vec::new();
            for _ in 0..30 {
                let body = json!({"text": "The moor", "collection": "busy", "neighbours": 16});
                let answer = post(url, "/v1/retrieve", body).await;
                if answer.status == 404 {
                    assert_eq!(answer.code(), "collection_not_found");
                    seen.push(0);
                } else {
                    seen.push(answer.ok()["chunks"][0]["neighbours"].as_array().unwrap().len());
                }
            }
            seen
        };
        let (seen, gone) = tokio::join!(search, async { delete(url, "/v1/collections/busy").await });
        assert_eq!(gone.status, 204);
        assert!(seen.iter().all(|number| [0, 8].contains(number)), "{seen:?}");
        assert!(seen.is_sorted_by(|earlier, later| earlier >= later), "{seen:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_collection_is_named() {
    for (body, status, code, field) in [
        (json!({"name": ""}), 422, "invalid_value", Some("name")),
        (json!({"name": "a.lance"}), 422, "invalid_value", Some("name")),
        (json!({"name": "../x"}), 422, "invalid_value", Some("name")),
        (json!({"name": "x".repeat(65)}), 422, "invalid_value", Some("name")),
        (json!({"name": 7}), 422, "invalid_type", Some("name")),
        (json!({}), 422, "missing_field", Some("name")),
        (json!({"name": "x", "dimension": 3}), 422, "unknown_field", Some("dimension")),
    ] {
        let answer = post(shared(), "/v1/collections", body.clone()).await;
        assert_eq!((answer.status, answer.code(), answer.body["field"].as_str()), (status, code, field), "{body}: {answer:?}");
    }
    for (path, status, code, field) in [
        ("/v1/collections/nowhere", 404, "collection_not_found", Some("name")),
        ("/v1/collections/a.b", 422, "invalid_value", Some("name")),
        ("/v1/collections/a%2Fb", 422, "invalid_value", Some("name")),
        ("/v1/collections/%FF", 400, "invalid_utf8", Some("name")),
        ("/v1/collections/..%2F..%2Fcatalogue", 422, "invalid_value", Some("name")),
    ] {
        for answer in [get(shared(), path).await, delete(shared(), path).await] {
            assert_eq!(
                (answer.status, answer.code(), answer.body["field"].as_str()),
                (status, code, field),
                "{path}: {answer:?}"
            );
        }
    }
    for (query, code) in
        [("limit=0", "invalid_value"), ("limit=x", "invalid_query"), ("cursor=a.b", "invalid_value"), ("x=1", "invalid_query")]
    {
        assert_eq!(get(shared(), &format!("/v1/collections?{query}")).await.code(), code, "{query}");
    }
}

#[tokio::test]
async fn a_crash_while_a_collection_goes_leaves_it_whole_or_gone() {
    let data = tempfile::tempdir().unwrap();
    for round in 0..5_u64 {
        let server = Process::serve(data.path(), &[]);
        let url = server.url.clone();
        let documents = (0..20)
            .map(|n| json!({"id": format!("r{round}-{n}"), "collection": "goes", "text": format!("Moor {n} of {round}.")}));
        ingest(&url, documents.collect()).await;
        let request = reqwest::Client::new().delete(format!("{url}/v1/collections/goes")).send();
        let killing = async {
            tokio::time::sleep(Duration::from_millis(round * 3)).await;
            server.signal(libc::SIGKILL);
        };
        let (answer, ()) = tokio::join!(request, killing);
        server.wait();
        let server = Process::serve(data.path(), &[]);
        let listed = get(&server.url, "/v1/documents?collection=goes&limit=1000").await.ok()["data"].as_array().unwrap().len();
        if listed == 0 {
            eventually("the removal is completed", || async {
                let is_gone = get(&server.url, "/v1/collections/goes").await.status == 404;
                let info = get(&server.url, "/v1/info").await.ok();
                (is_gone && info["collections"] == json!([])).then_some(())
            })
            .await;
        } else {
            assert!(answer.is_err(), "round {round}: what was answered with is gone");
            let shown = get(&server.url, "/v1/collections/goes").await.ok();
            assert_eq!((&shown["chunks"], &shown["documents"]["ready"]), (&json!(listed), &json!(listed)), "{shown}");
            assert_eq!(delete(&server.url, "/v1/collections/goes").await.status, 204);
        }
        assert!(!data.path().join("lance/goes.removed").exists() || listed == 0);
    }
}
