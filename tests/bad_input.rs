//! What clients get wrong: each mistake has its own code, names its field, and leaves the server as it was.

use serde_json::{Value, json};

use crate::support::{Answer, delete, get, post, post_raw, shared};

async fn refused(answer: Answer, status: u16, code: &str, field: Option<&str>) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    assert_eq!(answer.body["field"].as_str(), field, "{answer:?}");
    assert_eq!(get(shared(), "/livez").await.status, 200, "the server is alive after {answer:?}");
}

#[tokio::test]
async fn completions_that_break_a_rule() {
    let context = get(shared(), "/v1/info").await.ok()["limits"]["context"].as_u64().unwrap() as usize;
    let long = "word ".repeat(context);
    for (body, status, code, field) in [
        (json!({"prompt": ""}), 422, "invalid_value", Some("prompt")),
        (json!({"prompt": long}), 422, "invalid_value", Some("prompt")),
        (json!({"prompt": "x".repeat(4_000_000)}), 422, "invalid_value", Some("prompt")),
        (json!({"prompt": "a", "max_tokens": 0}), 422, "invalid_value", Some("max_tokens")),
        (json!({"prompt": "a", "max_tokens": context}), 422, "invalid_value", Some("max_tokens")),
        (json!({"prompt": "a", "max_tokens": -1}), 422, "invalid_value", Some("max_tokens")),
        (json!({"prompt": "a", "max_tokens": 1.5}), 422, "invalid_type", Some("max_tokens")),
        (json!({"prompt": "a", "temperature": -0.1}), 422, "invalid_value", Some("temperature")),
        (json!({"prompt": "a", "temperature": "hot"}), 422, "invalid_type", Some("temperature")),
        (json!({"prompt": "a", "top_p": 0}), 422, "invalid_value", Some("top_p")),
        (json!({"prompt": "a", "min_p": 2}), 422, "invalid_value", Some("min_p")),
        (json!({"prompt": "a", "repetition_penalty": 0}), 422, "invalid_value", Some("repetition_penalty")),
        (json!({"prompt": "a", "frequency_penalty": 2.5}), 422, "invalid_value", Some("frequency_penalty")),
        (json!({"prompt": "a", "presence_penalty": -2.5}), 422, "invalid_value", Some("presence_penalty")),
        (json!({"prompt": "a", "default_max_tokens": 5}), 422, "unknown_field", Some("default_max_tokens")),
        (json!({"prompt": "a", "logprobs": 21}), 422, "invalid_value", Some("logprobs")),
        (json!({"prompt": "a", "stop": ["", "b"]}), 422, "invalid_value", Some("stop[0]")),
        (json!({"prompt": "a", "stop": 3}), 422, "invalid_type", Some("stop")),
        (json!({"prompt": ["a"]}), 422, "invalid_type", Some("prompt")),
        (json!({"prompt": null}), 422, "invalid_type", Some("prompt")),
        (json!({"max_tokens": 4}), 422, "missing_field", Some("prompt")),
        (json!({"prompt": "a", "max_token": 4}), 422, "unknown_field", Some("max_token")),
        (json!({"prompt": "a", "retrieval": {"neighbors": 2}}), 422, "unknown_field", Some("retrieval.neighbors")),
        (json!({"prompt": "a", "retrieval": {"neighbours": 17}}), 422, "invalid_value", Some("retrieval.neighbours")),
        (json!({"prompt": "a", "retrieval": {"neighbours": "two"}}), 422, "invalid_type", Some("retrieval.neighbours")),
        (json!({"prompt": "a", "retrieval": {"max_distance": 9}}), 422, "invalid_value", Some("retrieval.max_distance")),
        (json!({"prompt": "a", "retrieval": {"alignment": "middle"}}), 422, "invalid_value", Some("retrieval.alignment")),
        (json!({"prompt": "a", "retrieval": {"collection": "../x"}}), 422, "invalid_value", Some("retrieval.collection")),
        (
            json!({"prompt": "a", "retrieval": {"collection": "nowhere"}}),
            404,
            "collection_not_found",
            Some("retrieval.collection"),
        ),
        (
            json!({"prompt": "a", "retrieval": {"provided": [{"neighbour": ""}]}}),
            422,
            "invalid_value",
            Some("retrieval.provided[0].neighbour"),
        ),
        (
            json!({"prompt": "a", "retrieval": {"provided": [{"neighbour": "b"}, {"neighbour": "c".repeat(16_385)}]}}),
            422,
            "invalid_value",
            Some("retrieval.provided[1].neighbour"),
        ),
        (
            json!({"prompt": "a", "retrieval": {"provided": [{"neighbour": "b", "continuation": "é".repeat(8_193)}]}}),
            422,
            "invalid_value",
            Some("retrieval.provided[0].continuation"),
        ),
        (json!({"prompt": "a", "stop": vec![""; 1 << 20]}), 413, "body_too_large", None),
        (json!(["a"]), 422, "invalid_type", None),
        (json!("a"), 422, "invalid_type", None),
    ] {
        refused(post(shared(), "/v1/complete", body).await, status, code, field).await;
    }
}

#[tokio::test]
async fn a_stream_is_refused_before_it_begins() {
    refused(post(shared(), "/v1/complete", json!({"prompt": "", "stream": true})).await, 422, "invalid_value", Some("prompt"))
        .await;
    let nowhere = json!({"prompt": "a", "stream": true, "retrieval": {"collection": "nowhere"}});
    refused(post(shared(), "/v1/complete", nowhere).await, 404, "collection_not_found", Some("retrieval.collection")).await;
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    for path in ["/v1/complete", "/v1/score", "/v1/retrieve", "/v1/documents"] {
        let answer = post_raw(shared(), path, "application/json", "{\n\"prompt\": \"a\",\n}").await;
        assert!(answer.body["detail"].as_str().unwrap().contains("line 3 column 1"), "{answer:?}");
        refused(answer, 400, "invalid_json", None).await;
        refused(post_raw(shared(), path, "application/json", "").await, 400, "invalid_json", None).await;
        refused(post_raw(shared(), path, "application/json", "{} {}").await, 400, "invalid_json", None).await;
        refused(
            post_raw(shared(), path, "application/json", b"{\"prompt\": \"\xff\xfe\"}".to_vec()).await,
            400,
            "invalid_utf8",
            None,
        )
        .await;
        refused(post_raw(shared(), path, "application/json", "[".repeat(100_000)).await, 400, "invalid_json", None).await;
        refused(post_raw(shared(), path, "text/plain", "{}").await, 415, "unsupported_media_type", None).await;
        refused(post_raw(shared(), path, "application/x-www-form-urlencoded", "a=b").await, 415, "unsupported_media_type", None)
            .await;
    }
    let charset =
        post_raw(shared(), "/v1/complete", "application/json; charset=utf-8", "{\"prompt\": \"a\", \"max_tokens\": 1}").await;
    assert_eq!(charset.status, 200);
}

#[tokio::test]
async fn texts_to_retrieve_that_break_a_rule() {
    for (body, status, code, field) in [
        (json!({"text": ""}), 422, "invalid_value", "text"),
        (json!({"text": "x".repeat(100_000)}), 422, "invalid_value", "text"),
        (json!({"text": 1}), 422, "invalid_type", "text"),
        (json!({}), 422, "missing_field", "text"),
        (json!({"text": "a", "k": 2}), 422, "unknown_field", "k"),
        (json!({"text": "a", "neighbours": 99}), 422, "invalid_value", "neighbours"),
        (json!({"text": "a", "collection": "a b"}), 422, "invalid_value", "collection"),
        (json!({"text": "a", "collection": "nowhere"}), 404, "collection_not_found", "collection"),
    ] {
        refused(post(shared(), "/v1/retrieve", body).await, status, code, Some(field)).await;
    }
}

#[tokio::test]
async fn documents_that_break_a_rule() {
    let too_long = "x".repeat(10_000);
    for (body, status, code, field) in [
        (json!({"text": ""}), 422, "invalid_value", "text"),
        (json!({"text": " \n\t"}), 422, "invalid_value", "text"),
        (json!({"text": "a\u{0}b"}), 422, "invalid_value", "text"),
        (json!({"text": "x".repeat(20_000_000)}), 413, "document_too_large", "text"),
        (json!({"id": too_long, "text": "a"}), 422, "invalid_value", "id"),
        (json!({"id": "", "text": "a"}), 422, "invalid_value", "id"),
        (json!({"id": "a/b", "text": "a"}), 422, "invalid_value", "id"),
        (json!({"id": "../../etc/passwd", "text": "a"}), 422, "invalid_value", "id"),
        (json!({"id": "a'; DROP TABLE documents; --", "text": "a"}), 422, "invalid_value", "id"),
        (json!({"id": "a\u{7}", "text": "a"}), 422, "invalid_value", "id"),
        (json!({"id": "ünïcode", "text": "a"}), 422, "invalid_value", "id"),
        (json!({"id": 7, "text": "a"}), 422, "invalid_type", "id"),
        (json!({"text": ["a"]}), 422, "invalid_type", "text"),
        (json!({"title": "a"}), 422, "missing_field", "text"),
        (json!({"text": "a", "titel": "b"}), 422, "unknown_field", "titel"),
        (json!({"text": "a", "title": "x".repeat(1001)}), 422, "invalid_value", "title"),
        (json!({"text": "a", "metadata": [1]}), 422, "invalid_type", "metadata"),
        (json!({"text": "a", "metadata": {"k": "x".repeat(20_000)}}), 413, "document_too_large", "metadata"),
        (json!({"text": "a", "collection": "a/b"}), 422, "invalid_value", "collection"),
        (json!({"documents": []}), 422, "invalid_value", "documents"),
        (json!({"documents": 3}), 422, "invalid_type", "documents"),
        (json!({"documents": [{"text": "a"}], "text": "b"}), 422, "unknown_field", "text"),
        (json!({"documents": [{"text": "a"}, {"text": ""}]}), 422, "invalid_value", "documents[1].text"),
        (json!({"documents": [{"text": "a"}, {"txt": "b"}]}), 422, "unknown_field", "documents[1].txt"),
        (
            json!({"documents": [{"id": "bad-twin", "text": "a"}, {"id": "bad-twin", "text": "b"}]}),
            422,
            "invalid_value",
            "documents[1].id",
        ),
    ] {
        refused(post(shared(), "/v1/documents", body).await, status, code, Some(field)).await;
    }
    assert_eq!(get(shared(), "/v1/documents/bad-twin").await.status, 404, "nothing of a refused request is stored");
    let binary: Vec<u8> = (0..=255).cycle().take(4096).collect();
    refused(post_raw(shared(), "/v1/documents", "application/json", binary.clone()).await, 400, "invalid_utf8", None).await;
    refused(post_raw(shared(), "/v1/documents", "application/octet-stream", binary).await, 415, "unsupported_media_type", None)
        .await;
}

#[tokio::test]
async fn a_broken_line_of_ndjson_is_named_and_nothing_is_stored() {
    let line = |id: &str, text: &str| json!({"id": id, "text": text}).to_string();
    let (good, other) = (line("ndjson-good", "a"), line("ndjson-other", "b"));
    for (third, status, code, field) in [
        ("{\"id\": \"x\", \"text\": ".to_owned(), 400, "invalid_json", None),
        ("[]".to_owned(), 422, "invalid_type", None),
        (line("ndjson-x", ""), 422, "invalid_value", Some("text")),
        (line("a/b", "c"), 422, "invalid_value", Some("id")),
        (good.clone(), 422, "invalid_value", Some("id")),
        (json!({"text": "a", "more": 1}).to_string(), 422, "unknown_field", Some("more")),
    ] {
        // The empty line counts, since it is a line of the file that the user looks at.
        let body = format!("{good}\n\n{third}\n{other}\n");
        let answer = post_raw(shared(), "/v1/documents", "application/x-ndjson", body).await;
        assert_eq!(answer.body["line"], 3, "{answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().starts_with("line 3: "), "{answer:?}");
        refused(answer, status, code, field).await;
    }
    let mut bytes = format!("{good}\n").into_bytes();
    bytes.extend_from_slice(b"{\"text\": \"\xc3\x28\"}\n");
    let answer = post_raw(shared(), "/v1/documents", "application/x-ndjson", bytes).await;
    assert_eq!(answer.body["line"], 2, "{answer:?}");
    refused(answer, 400, "invalid_utf8", None).await;
    refused(post_raw(shared(), "/v1/documents", "application/x-ndjson", "\n\n").await, 422, "invalid_value", Some("documents"))
        .await;
    for id in ["ndjson-good", "ndjson-other", "ndjson-x"] {
        refused(get(shared(), &format!("/v1/documents/{id}")).await, 404, "document_not_found", Some("id")).await;
    }
}

#[tokio::test]
async fn ids_in_the_path_that_no_document_can_have() {
    for (id, status, code) in [
        ("no-such-document", 404, "document_not_found"),
        ("a%2Fb", 422, "invalid_value"),
        ("a%27b", 422, "invalid_value"),
        ("a%00b", 422, "invalid_value"),
        ("a%0Ab", 422, "invalid_value"),
        ("%FF", 400, "invalid_utf8"),
        (&"x".repeat(10_000), 422, "invalid_value"),
    ] {
        let path = format!("/v1/documents/{id}");
        refused(get(shared(), &path).await, status, code, Some("id")).await;
        refused(delete(shared(), &path).await, status, code, Some("id")).await;
    }
    refused(get(shared(), "/v1/documents/a/b").await, 404, "not_found", None).await;
    for id in ["7", "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", &"x".repeat(10_000)] {
        refused(get(shared(), &format!("/v1/tasks/{id}")).await, 404, "task_not_found", Some("id")).await;
    }
}

#[tokio::test]
async fn queries_that_are_not_understood() {
    for (path, status, code) in [
        ("/v1/documents?limit=many", 400, "invalid_query"),
        ("/v1/documents?offset=3", 400, "invalid_query"),
        ("/v1/documents?limit=0", 422, "invalid_value"),
        ("/v1/documents?limit=1001", 422, "invalid_value"),
        ("/v1/documents?cursor=%00", 422, "invalid_value"),
        ("/v1/documents?cursor=abc", 422, "invalid_value"),
        ("/v1/documents?collection=a%2Fb", 422, "invalid_value"),
    ] {
        let answer = get(shared(), path).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{path}");
    }
    let answer = post(shared(), "/v1/documents?wait=perhaps", Value::Null).await;
    assert_eq!((answer.status, answer.code()), (400, "invalid_query"));
}

#[tokio::test]
async fn numbers_are_compared_with_their_limits_before_they_are_rounded() {
    for (field, value) in [("temperature", 2.000_000_01), ("min_p", 1.000_000_01), ("frequency_penalty", -2.000_000_01)] {
        refused(post(shared(), "/v1/complete", json!({"prompt": "a", field: value})).await, 422, "invalid_value", Some(field))
            .await;
    }
    let tiny = json!({"prompt": "a", "max_tokens": 1, "temperature": 1, "top_p": 1e-50});
    assert_eq!(post(shared(), "/v1/complete", tiny).await.status, 200, "it is above 0");
    let far = json!({"text": "a", "max_distance": 4.000_000_01});
    refused(post(shared(), "/v1/retrieve", far).await, 422, "invalid_value", Some("max_distance")).await;
}

#[tokio::test]
async fn stop_texts_are_counted_in_characters() {
    let stop = |characters: usize| json!({"prompt": "a", "max_tokens": 1, "stop": ["字".repeat(characters)]});
    assert_eq!(post(shared(), "/v1/complete", stop(256)).await.status, 200);
    refused(post(shared(), "/v1/complete", stop(257)).await, 422, "invalid_value", Some("stop[0]")).await;
}

#[tokio::test]
async fn a_list_is_no_object() {
    for (path, body, field) in [
        ("/v1/complete", json!({"prompt": "a", "retrieval": [null, 2]}), "retrieval"),
        ("/v1/complete", json!({"prompt": "a", "retrieval": {"provided": [["a", "b"]]}}), "retrieval.provided[0]"),
        ("/v1/score", json!({"text": "a", "retrieval": []}), "retrieval"),
        ("/v1/documents", json!({"documents": [["an-id", "a"]]}), "documents[0]"),
    ] {
        refused(post(shared(), path, body).await, 422, "invalid_type", Some(field)).await;
    }
}
