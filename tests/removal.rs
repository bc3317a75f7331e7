//! `POST /v1/documents/delete`: documents go by what they say of themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Process, Server, eventually, get, ingest, post, shared, task};

async fn ids(url: &str, collection: &str) -> BTreeSet<String> {
    let (mut ids, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = get(url, &format!("/v1/documents?collection={collection}&limit=1000{cursor}")).await.ok();
        ids.extend(page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

/// Documents whose chunks a search finds.
async fn found(url: &str, collection: &str) -> BTreeSet<String> {
    let body = json!({"text": "A bird sings.", "collection": collection, "neighbours": 16, "distinct": false});
    let found = post(url, "/v1/retrieve", body).await.ok();
    let neighbours = found["chunks"][0]["neighbours"].as_array().unwrap();
    neighbours.iter().map(|one| one["document_id"].as_str().unwrap().to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test]
async fn what_a_filter_accepts_is_gone_when_the_answer_is_there() {
    let collection = "removal";
    let document = |name: &str, source: &str, metadata: Value| {
        json!({"id": format!("rm-{name}"), "text": format!("The bird {name} sings. ").repeat(30), "title": name, "source": source,
            "metadata": metadata, "collection": collection})
    };
    let documents = json!([
        document("wren", "https://a.org/1", json!({"year": 1990, "tags": ["small"]})),
        document("robin", "https://a.org/2", json!({"year": 2001, "tags": ["small", "red"]})),
        document("swan", "https://b.org/1", json!({"year": 2002})),
        document("crane", "https://b.org/2", json!({"author": {"name": "Ann"}})),
    ]);
    ingest(shared(), documents).await;
    ingest(
        shared(),
        json!([{"id": "rm-elsewhere", "text": "The bird sings elsewhere.", "title": "wren", "collection": "removal-2"}]),
    )
    .await;
    let delete = async |filter: Value, dry_run: bool| {
        let body = json!({"collection": collection, "filter": filter, "dry_run": dry_run});
        post(shared(), "/v1/documents/delete", body).await.ok()
    };
    let all = set(&["rm-wren", "rm-robin", "rm-swan", "rm-crane"]);

    let red = json!({"field": "tags", "op": "eq", "value": "red"});
    let tried = delete(red.clone(), true).await;
    assert_eq!(tried, json!({"deleted": 1, "document_ids": ["rm-robin"], "more": false}));
    assert_eq!((ids(shared(), collection).await, found(shared(), collection).await), (all.clone(), all), "it was only tried");
    assert_eq!(delete(red.clone(), false).await, tried);
    let left = set(&["rm-wren", "rm-swan", "rm-crane"]);
    assert_eq!((ids(shared(), collection).await, found(shared(), collection).await), (left.clone(), left));
    assert_eq!(delete(red, false).await, json!({"deleted": 0, "document_ids": [], "more": false}));
    assert_eq!(get(shared(), "/v1/documents/rm-robin").await.code(), "document_not_found");

    let filter = json!({"or": [{"field": "title", "op": "eq", "value": "wren"}, {"field": "year", "op": "gt", "value": 2001},
        {"field": "document_id", "op": "eq", "value": "' OR 1=1 --"}]});
    assert_eq!(delete(filter, false).await["document_ids"], json!(["rm-swan", "rm-wren"]));
    assert_eq!(found(shared(), collection).await, set(&["rm-crane"]));
    assert_eq!(ids(shared(), "removal-2").await, set(&["rm-elsewhere"]), "other collections are left alone");
    let filter =
        json!({"and": [{"field": "source", "op": "prefix", "value": "https://"}, {"field": "author.name", "op": "exists"}]});
    assert_eq!(delete(filter, false).await["deleted"], 1);
    assert_eq!(found(shared(), collection).await, set(&[]));
    let again = ingest(shared(), json!([document("wren", "", json!({}))])).await;
    assert_eq!(again["task"]["documents"]["ready"], 1);
    assert_eq!(found(shared(), collection).await, set(&["rm-wren"]), "an id may be used again");
}

#[tokio::test]
async fn what_still_waits_is_deleted_too() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    ingest(url, json!([{"id": "first", "text": "A bird sings."}])).await;
    // Texts that take the embedder a while.
    let documents: Vec<_> = (0..40)
        .map(|n| json!({"id": format!("wait-{n:02}"), "title": "late", "text": format!("Bird {n} sings. ").repeat(400)}))
        .collect();
    let accepted = post(url, "/v1/documents", json!({"documents": documents})).await.ok();
    let filter = json!({"field": "title", "op": "eq", "value": "late"});
    let answer = post(url, "/v1/documents/delete", json!({"filter": filter})).await.ok();
    assert_eq!(answer["deleted"], 40);
    let ended = task(url, accepted["task"]["id"].as_str().unwrap()).await;
    assert_ne!(ended["status"], "failed", "{ended}");
    ingest(url, json!([{"id": "last", "text": "A bird is silent."}])).await;
    assert_eq!(found(url, "default").await, set(&["first", "last"]), "nothing of it comes after");
    assert_eq!(ids(url, "default").await, set(&["first", "last"]));
}

#[tokio::test]
async fn many_documents_go_at_once_and_the_answer_names_the_first_thousand() {
    let server = Server::start(&[]).await;
    let url = server.url.as_str();
    let document = |n: usize| json!({"id": format!("many-{n:04}"), "text": format!("Bird {n}"), "metadata": {"n": n}});
    for part in 0..2 {
        ingest(url, (part * 520..(part + 1) * 520).map(document).collect()).await;
    }
    let filter = json!({"field": "n", "op": "lt", "value": 1030});
    let answer = post(url, "/v1/documents/delete", json!({"filter": filter})).await.ok();
    assert_eq!((&answer["deleted"], &answer["more"]), (&json!(1030), &json!(true)));
    let named: Vec<String> = (0..1000).map(|n| format!("many-{n:04}")).collect();
    assert_eq!(answer["document_ids"], json!(named));
    let left: BTreeSet<String> = (1030..1040).map(|n| format!("many-{n:04}")).collect();
    assert_eq!((ids(url, "default").await, found(url, "default").await), (left.clone(), left));
    assert_eq!(get(url, "/v1/info").await.ok()["collections"][0]["chunks"], 10);
}

#[tokio::test]
async fn what_is_wrong_with_a_deletion_is_named() {
    let filter = json!({"field": "title", "op": "exists"});
    for (body, status, code, field, words) in [
        (json!({"filter": {}}), 422, "invalid_value", "filter", "delete the collection"),
        (json!({"filter": null}), 422, "invalid_value", "filter", "delete the collection"),
        (json!({}), 422, "missing_field", "filter", "missing"),
        (json!({"filter": {"and": []}}), 422, "invalid_value", "filter.and", "at least 1"),
        (json!({"filter": {"field": "x", "op": "like"}}), 422, "invalid_value", "filter.op", "one of eq"),
        (json!({"filter": filter, "collection": "a.b"}), 422, "invalid_value", "collection", "may hold"),
        (json!({"filter": filter, "collection": "nowhere"}), 404, "collection_not_found", "collection", "nowhere"),
        (json!({"filter": filter, "ids": ["a"]}), 422, "unknown_field", "ids", "dry_run"),
        (json!({"filter": filter, "dry_run": "yes"}), 422, "invalid_type", "dry_run", "boolean"),
    ] {
        let answer = post(shared(), "/v1/documents/delete", body.clone()).await;
        assert_eq!((answer.status, answer.code(), answer.field()), (status, code, field), "{body}: {answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains(words), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_crash_in_a_deletion_leaves_catalogue_and_database_at_one() {
    let data = tempfile::tempdir().unwrap();
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for round in 0..6_u64 {
        let server = Process::serve(data.path(), &[]);
        let url = server.url.clone();
        let documents: Vec<_> = (0..60)
            .map(|n| json!({"id": format!("r{round}-{n:02}"), "text": format!("Bird {n} of {round} sings."), "metadata": {"round": round, "n": n}}))
            .collect();
        ingest(&url, Value::from(documents)).await;
        let filter = json!({"and": [{"field": "round", "op": "eq", "value": round}, {"field": "n", "op": "ge", "value": 5}]});
        let request = reqwest::Client::new().post(format!("{url}/v1/documents/delete")).json(&json!({"filter": filter})).send();
        let killing = async {
            tokio::time::sleep(Duration::from_millis(round * 4)).await;
            server.signal(libc::SIGKILL);
        };
        let (answer, ()) = tokio::join!(request, killing);
        server.wait();
        let (kept, gone): (BTreeSet<_>, BTreeSet<_>) =
            ((0..5).map(|n| format!("r{round}-{n:02}")).collect(), (5..60).map(|n| format!("r{round}-{n:02}")).collect());
        let server = Process::serve(data.path(), &[]);
        let now: BTreeSet<String> = ids(&server.url, "default").await.difference(&expected).cloned().collect();
        // All or none, and all where the answer had arrived.
        assert!(now == kept || (answer.is_err() && now == kept.union(&gone).cloned().collect()), "round {round}: {now:?}");
        expected.extend(now);
        let chunks = expected.len() as u64;
        eventually("the removal is completed", || async {
            (get(&server.url, "/v1/info").await.ok()["collections"][0]["chunks"] == chunks).then_some(())
        })
        .await;
    }
}
