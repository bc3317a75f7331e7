//! `as_of`: what a collection held at an earlier version.

use serde_json::{Value, json};

use crate::support::{Process, Server, delete, get, ingest, post, put, retro, shared};

const TEXT: &str = "The ferry to Ellmouth leaves";

/// The retrieval's answer for `as_of`, which may be null.
async fn retrieved(url: &str, collection: &str, as_of: Value) -> Value {
    let body = json!({"text": TEXT, "collection": collection, "neighbours": 8, "as_of": as_of});
    post(url, "/v1/retrieve", body).await.ok()
}

fn texts(chunk: &Value) -> Vec<&str> {
    let mut texts: Vec<_> =
        chunk["neighbours"].as_array().unwrap().iter().map(|one| one["neighbour"].as_str().unwrap()).collect();
    texts.sort_unstable();
    texts
}

#[tokio::test]
async fn an_earlier_version_is_searched_as_it_was_wherever_there_is_retrieval() {
    let collection = "as-of";
    ingest(
        shared(),
        json!([{"id": "ferry", "collection": collection, "text": "The ferry to Ellmouth leaves at six."},
        {"id": "bus", "collection": collection, "text": "The bus to Ellmouth leaves at nine."}]),
    )
    .await;
    let first = retrieved(shared(), collection, json!(null)).await;
    let body = json!({"collection": collection, "text": "The ferry to Ellmouth leaves at noon."});
    assert_eq!(put(shared(), "/v1/documents/ferry?wait=true", body).await.status, 200);
    let second = retrieved(shared(), collection, json!(null)).await;
    assert_eq!(delete(shared(), "/v1/documents/bus").await.status, 204);
    let third = retrieved(shared(), collection, json!(null)).await;

    let versions: Vec<u64> = [&first, &second, &third].map(|found| found["database_version"].as_u64().unwrap()).to_vec();
    assert!(versions.is_sorted_by(|earlier, later| earlier < later), "{versions:?}");
    let (bus, six, noon) =
        ("The bus to Ellmouth leaves at nine.", "The ferry to Ellmouth leaves at six.", "The ferry to Ellmouth leaves at noon.");
    let expected = [vec![bus, six], vec![bus, noon], vec![noon]];
    for _ in 0..2 {
        for ((version, then), expected) in versions.iter().zip([&first, &second, &third]).zip(&expected) {
            let now = retrieved(shared(), collection, json!(version)).await;
            assert_eq!(&now, then, "as it was, to the last bit of a distance");
            assert_eq!(&texts(&now["chunks"][0]), expected);
        }
        assert_eq!(retrieved(shared(), collection, json!(null)).await, third, "an ordinary search sees the newest");
    }
    let filtered = json!({"text": TEXT, "collection": collection, "as_of": versions[0],
        "filter": {"field": "document_id", "op": "eq", "value": "bus"}});
    assert_eq!(texts(&post(shared(), "/v1/retrieve", filtered).await.ok()["chunks"][0]), [bus]);

    for (version, expected) in versions.iter().zip(&expected) {
        let retrieval = json!({"collection": collection, "as_of": version, "alignment": "prompt_end", "neighbours": 2});
        let completed =
            post(shared(), "/v1/complete", json!({"prompt": TEXT, "max_tokens": 2, "retrieval": retrieval})).await.ok();
        assert_eq!(completed["retrieval"]["database_version"], *version);
        assert_eq!(&texts(&completed["retrieval"]["chunks"][0]), expected);
        let scored = post(shared(), "/v1/score", json!({"prompt": TEXT, "text": " at six.", "retrieval": retrieval})).await.ok();
        assert_eq!(scored["retrieval"]["database_version"], *version);
        assert_eq!(&texts(&scored["retrieval"]["chunks"][0]), expected);
    }
    // Side by side each sees its own version.
    let ask = async |version: u64| {
        let body =
            json!({"prompt": TEXT, "max_tokens": 8, "retrieval": {"collection": collection, "as_of": version, "interval": 8}});
        post(shared(), "/v1/complete", body).await.ok()["retrieval"]["database_version"].as_u64().unwrap()
    };
    let (a, b, c) = tokio::join!(ask(versions[0]), ask(versions[1]), ask(versions[2]));
    assert_eq!([a, b, c].to_vec(), versions);
}

#[tokio::test]
async fn a_version_that_is_not_kept_is_refused_with_those_that_are() {
    let collection = "as-of-bad";
    ingest(shared(), json!([{"id": "as-of-bad", "collection": collection, "text": "The ferry waits."}])).await;
    let shown = get(shared(), &format!("/v1/collections/{collection}")).await.ok();
    let (oldest, newest) = (&shown["kept_versions"]["oldest"], &shown["kept_versions"]["newest"]);
    for (version, code) in [
        (json!(0), "version_not_kept"),
        (json!(newest.as_u64().unwrap() + 1), "version_not_kept"),
        (json!(u64::MAX), "version_not_kept"),
        (json!(-1), "invalid_value"),
        (json!("1"), "invalid_type"),
    ] {
        for (path, prefix, body) in [
            ("/v1/retrieve", "", json!({"text": TEXT, "collection": collection, "as_of": version})),
            ("/v1/complete", "retrieval.", json!({"prompt": TEXT, "retrieval": {"collection": collection, "as_of": version}})),
            (
                "/v1/complete",
                "retrieval.",
                json!({"prompt": TEXT, "stream": true, "retrieval": {"collection": collection, "as_of": version}}),
            ),
            (
                "/v1/score",
                "retrieval.",
                json!({"prompt": TEXT, "text": "x", "retrieval": {"collection": collection, "as_of": version}}),
            ),
        ] {
            let answer = post(shared(), path, body).await;
            assert_eq!((answer.status, answer.code()), (422, code), "{version}: {answer:?}");
            assert_eq!(answer.field(), format!("{prefix}as_of"), "{answer:?}");
            if code == "version_not_kept" {
                let detail = answer.body["detail"].as_str().unwrap();
                assert!(
                    detail.contains(&format!("versions {oldest} to {newest}")) && detail.contains(&version.to_string()),
                    "{detail}"
                );
            }
        }
    }
    let none = post(shared(), "/v1/complete", json!({"prompt": TEXT, "retrieval": {"enabled": false, "as_of": 99}})).await;
    assert_eq!(none.status, 200, "nothing is searched");
    let server = Server::start(&[]).await;
    let empty = post(&server.url, "/v1/retrieve", json!({"text": TEXT, "as_of": 1})).await;
    assert_eq!((empty.status, empty.code()), (422, "version_not_kept"));
    assert!(empty.body["detail"].as_str().unwrap().contains("none"), "{empty:?}");
}

#[tokio::test]
async fn the_command_line_searches_an_earlier_version() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    ingest(&server.url, json!([{"id": "ferry", "text": "The ferry to Ellmouth leaves at six."}])).await;
    let version = get(&server.url, "/v1/collections/default").await.ok()["version"].to_string();
    assert_eq!(delete(&server.url, "/v1/documents/ferry").await.status, 204);
    drop(server);
    let output = |arguments: &[&str]| {
        let output = retro("retrieve", data.path(), arguments);
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(!output(&[TEXT]).1.contains("at six"));
    let (good, out, error) = output(&[TEXT, "--as-of", &version]);
    assert!(good && out.contains("at six"), "{out}{error}");
    let (good, _, error) = output(&[TEXT, "--as-of", "999"]);
    assert!(!good && error.contains("does not keep version 999; it keeps versions 1 to"), "{error}");
}
