//! The description as a contract: what it says of each operation is provoked here for all of them, one by one, and after all tests it is looked
//! whether anything was left out. That nothing else is sent, `support::contract` checks at every answer.

use std::collections::BTreeSet;
use std::convert::Infallible;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use glob::Pattern;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::contract::{DOCUMENT, described, note_code, seen};
use crate::support::{Answer, Server, ask, events_of, eventually, get, patch, post, post_raw, shared};

/// What no test can provoke, and why. A pattern that fits nothing, or only what was seen after all, fails.
const UNSEEN: &[(&str, &str)] = &[
    ("answer * 500", "the model, the embedder or a store would have to fail"),
    ("code internal", "the same"),
    ("code generation_failed", "the same"),
    ("code embedding_failed", "the same"),
    ("code retrieval_failed", "the same; files that are gone are damage"),
    ("answer * 507", "the disk would have to be full; tests/faults fills one"),
    ("code insufficient_storage", "the same"),
    ("code catalogue_unavailable", "it takes the ten seconds for which a statement waits; tests/faults takes them"),
    ("answer * 504", "every operation may be slow, but only a wait for many documents surely is"),
];

struct Operation {
    method: Method,
    path: &'static str,
    description: &'static Value,
}

fn operations() -> Vec<Operation> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, description)| Operation { method: method.to_uppercase().parse().unwrap(), path, description })
    });
    all.collect()
}

impl Operation {
    fn answers(&self, status: &str) -> bool {
        self.description["responses"][status].is_object()
    }

    /// Whether some error of this status has this code.
    fn has_code(&self, status: &str, code: &str) -> bool {
        let content = self.description["responses"][status]["content"].as_object();
        content.is_some_and(|content| content.values().any(|media| media["examples"][code].is_object()))
    }

    fn takes_json(&self) -> bool {
        self.description["requestBody"]["content"]["application/json"].is_object()
    }

    fn parameters(&self, place: &str) -> Vec<&str> {
        let parameters = self.description["parameters"].as_array().into_iter().flatten();
        parameters.filter(|parameter| parameter["in"] == place).map(|parameter| parameter["name"].as_str().unwrap()).collect()
    }

    /// A request to the path with this in the place of its parameter.
    fn request(&self, url: &str, parameter: &str, query: &str) -> RequestBuilder {
        let path = self.path.replace("{id}", parameter).replace("{name}", parameter);
        Client::new().request(self.method.clone(), format!("{url}{path}{query}"))
    }

    async fn body(&self, url: &str, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
        ask(self.request(url, "nobody", "").header("content-type", kind).body(body)).await
    }

    /// The status of a rule that is broken: OpenAI has no 422.
    fn broken_rule(&self) -> &'static str {
        if self.description["tags"][0] == "OpenAI" { "400" } else { "422" }
    }

    fn is(&self, answer: &Answer, status: &str, code: &str) {
        let name = format!("{} {}", self.method, self.path);
        assert_eq!((answer.status.to_string().as_str(), answer.code()), (status, code), "{name}: {answer:?}");
        assert!(self.has_code(status, code), "{name} is not described to answer {status} with {code}");
    }
}

#[tokio::test]
async fn every_operation_with_a_body_says_what_is_wrong_with_it() {
    for operation in operations().into_iter().filter(Operation::takes_json) {
        let (json, rule) = ("application/json", operation.broken_rule());
        for (kind, body, status, code) in [
            (json, "{", "400", "invalid_json"),
            (json, "", "400", "invalid_json"),
            (json, "[]", rule, "invalid_type"),
            (json, "null", rule, "invalid_type"),
            (json, "{}", rule, "missing_field"),
            (json, r#"{"no_such_field": 1}"#, rule, "unknown_field"),
            ("text/plain", "{}", "415", "unsupported_media_type"),
        ] {
            operation.is(&operation.body(shared(), kind, body).await, status, code);
        }
        operation.is(&operation.body(shared(), json, b"{\"\xff\": 1}".to_vec()).await, "400", "invalid_utf8");
        let untyped = ask(operation.request(shared(), "nobody", "").body("{}")).await;
        operation.is(&untyped, "415", "unsupported_media_type");
        operation.is(&without_its_end(&operation).await, "400", "incomplete_body");
    }
}

/// Sends a body that breaks off.
async fn without_its_end(operation: &Operation) -> Answer {
    let address = shared().strip_prefix("http://").unwrap();
    let path = operation.path.replace("{id}", "nobody").replace("{name}", "nobody");
    let headers = "host: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked";
    // No number of bytes begins like this, so nothing of it can follow.
    let request = format!("{} {path} HTTP/1.1\r\n{headers}\r\n\r\n1\r\n{{\r\nno number\r\n", operation.method);
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {text}"));
    note_code(&body);
    Answer { status, headers: reqwest::header::HeaderMap::new(), body }
}

#[tokio::test]
async fn every_operation_says_what_is_wrong_with_its_path_and_query() {
    for operation in operations() {
        let with = async |parameter: &str, query: &str| {
            let request = operation.request(shared(), parameter, query);
            // The body is good, or nothing would be heard of a query that is looked at after it.
            let example = operation.description["requestBody"]["content"]["application/json"]["examples"].as_object();
            ask(match example.and_then(|examples| examples.values().next()) {
                Some(example) => request.json(&example["value"]),
                None => request,
            })
            .await
        };
        if let Some(name) = operation.parameters("path").first() {
            operation.is(&with("%FF", "").await, "400", "invalid_utf8");
            if operation.answers("422") {
                operation.is(&with("a%20b", "").await, "422", "invalid_value");
            }
            let code = match (*name, operation.path) {
                ("name", _) => "collection_not_found",
                (_, path) if path.starts_with("/v1/tasks") => "task_not_found",
                (_, path) if path.starts_with("/v1/models") => "model_not_found",
                _ => "document_not_found",
            };
            if operation.answers("404") {
                operation.is(&with("nobody", "").await, "404", code);
            }
        }
        let parameters = operation.parameters("query");
        if !parameters.is_empty() {
            operation.is(&with("nobody", "?no_such_parameter=1").await, "400", "invalid_query");
        }
        if parameters.contains(&"limit") {
            operation.is(&with("nobody", "?limit=0").await, "422", "invalid_value");
        }
        if parameters.contains(&"cursor") {
            operation.is(&with("nobody", "?cursor=.").await, "422", "invalid_value");
        }
    }
}

#[tokio::test]
async fn every_operation_that_searches_knows_collections_from_others() {
    let nowhere = json!({"retrieval": {"collection": "nowhere"}});
    for (path, body) in [
        ("/v1/complete", json!({"prompt": "a"})),
        ("/v1/completions", json!({"prompt": "a", "model": "retro-nano"})),
        ("/v1/score", json!({"prompt": "a", "text": "b"})),
        ("/v1/retrieve", json!({"text": "a", "collection": "nowhere"})),
        ("/v1/documents/delete", json!({"filter": {"field": "title", "op": "exists"}, "collection": "nowhere"})),
    ] {
        let mut body = body;
        if body.get("collection").is_none() {
            body.as_object_mut().unwrap().extend(nowhere.as_object().unwrap().clone());
        }
        let answer = post(shared(), path, body).await;
        assert_eq!((answer.status, answer.code()), (404, "collection_not_found"), "{path}");
    }
}

/// A request that the server works on until this is dropped: its body has not arrived.
async fn request_without_end(url: &str) -> TcpStream {
    let mut connection = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let headers = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\nexpect: 100-continue";
    connection.write_all(format!("POST /v1/retrieve HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes()).await.unwrap();
    // The server asks for the body when it reads it.
    let mut begun = [0; 12];
    connection.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100");
    connection
}

#[tokio::test]
async fn every_operation_has_the_limits_of_its_client_and_of_its_body() {
    let server = Server::start(&["--concurrent-requests=1", "--max-body-bytes=2000"]).await;
    let url = server.url.as_str();
    let spaces = " ".repeat(2001);
    for operation in operations().into_iter().filter(Operation::takes_json) {
        operation.is(&operation.body(url, "application/json", spaces.clone()).await, "413", "body_too_large");
    }
    let held = request_without_end(url).await;
    for operation in operations().into_iter().filter(|operation| operation.answers("429")) {
        let code = if operation.description["tags"][0] == "OpenAI" { "rate_limit_exceeded" } else { "rate_limited" };
        operation.is(&ask(operation.request(url, "nobody", "")).await, "429", code);
    }
    drop(held);
}

#[tokio::test]
async fn every_operation_waits_for_its_body_for_a_while() {
    let server = Server::start(&["--body-seconds=1"]).await;
    let url = server.url.as_str();
    let waits = operations().into_iter().filter(Operation::takes_json).map(|operation| async move {
        let begin = stream::iter([Ok::<_, Infallible>("{")]).chain(stream::pending());
        let answer = operation.body(url, "application/json", reqwest::Body::wrap_stream(begin)).await;
        operation.is(&answer, "408", "slow_body");
        assert_eq!(answer.header("connection"), "close");
    });
    join_all(waits).await;
}

#[tokio::test]
async fn every_operation_that_takes_work_refuses_it_while_the_server_stops() {
    let mut server = Server::start(&["--shutdown-seconds=100"]).await;
    let url = server.url.clone();
    let held = request_without_end(&url).await;
    server.stop();
    eventually("the refusal of new work", || async { (get(&url, "/readyz").await.status == 503).then_some(()) }).await;
    for operation in operations().into_iter().filter(|operation| operation.has_code("503", "shutting_down")) {
        operation.is(&ask(operation.request(&url, "nobody", "")).await, "503", "shutting_down");
    }
    drop(held);
    server.ended().await;
}

#[tokio::test]
async fn an_index_is_made_while_the_client_waits_or_not() {
    let documents = json!([{"id": "contract-indexed", "collection": "contract-index", "text": "A text to index."}]);
    crate::support::ingest(shared(), documents).await;
    for (query, status) in [("", 202), ("?wait=true&rebuild=true", 200)] {
        let answer = post_raw(shared(), &format!("/v1/collections/contract-index/index{query}"), "application/json", "").await;
        assert_eq!((answer.status, &answer.body["name"]), (status, &json!("contract-index")), "{answer:?}");
    }
}

#[tokio::test]
async fn fields_that_say_how_to_search_and_to_sample_do_what_they_say() {
    let document = |n: u32| {
        json!({"id": format!("contract-fields-{n}"), "collection": "contract-fields", "text": format!("Buoy {n} is red."),
        "metadata": {"a.b": n}})
    };
    crate::support::ingest(shared(), json!([document(1), document(2), document(3)])).await;
    let effort = json!({"search": {"nprobes": 80, "refine": 8}});
    assert_eq!(patch(shared(), "/v1/collections/contract-fields", effort.clone()).await.ok()["search"]["refine"], 8);

    let filter = json!({"path": ["metadata", "a.b"], "op": "range", "gt": 1, "lte": 3});
    let search = json!({"collection": "contract-fields", "neighbours": 16, "filter": filter, "exact": true, "nprobes": 7, "refine": 3,
        "max_distance": 4});
    let body = json!({"prompt": "Buoy", "max_tokens": 4, "retrieval": search});
    let found = post(shared(), "/v1/complete", body).await.ok();
    let mut ids: Vec<_> =
        found["retrieval"]["chunks"][0]["neighbours"].as_array().unwrap().iter().map(|one| &one["document_id"]).collect();
    ids.sort_by_key(|id| id.to_string());
    assert_eq!(ids, ["contract-fields-2", "contract-fields-3"]);
    let near = json!({"prompt": "Buoy", "max_tokens": 4, "retrieval": {"collection": "contract-fields", "max_distance": 0}});
    assert_eq!(post(shared(), "/v1/complete", near).await.ok()["retrieval"]["chunks"][0]["neighbours"], json!([]));

    // Whatever the temperature, of one token the most probable is drawn.
    let greedy = json!({"prompt": "Tea is", "max_tokens": 8, "retrieval": {"enabled": false}, "repetition_penalty": 1.2});
    let text = async |more: Value| {
        let mut body = greedy.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(shared(), "/v1/complete", body).await.ok()["choices"][0]["text"].clone()
    };
    let expected = text(json!({})).await;
    assert_eq!(text(json!({"temperature": 1.5, "top_k": 1})).await, expected);
    assert_eq!(text(json!({"temperature": 1.5, "min_p": 1})).await, expected);

    let score = json!({"prompt": "Tea is", "text": " a drink", "retrieval": {"prefetch": false, "on_error": "fail"}});
    assert_eq!(post(shared(), "/v1/score", score).await.status, 200);
    let embedding = json!({"model": "all-MiniLM-L6-v2", "input": "a", "user": "somebody"});
    assert_eq!(post(shared(), "/v1/embeddings", embedding).await.status, 200);
    let stream = json!({"model": "retro-nano", "prompt": "a", "max_tokens": 1, "stream": true, "stream_options": {"include_obfuscation": false}});
    assert_eq!(post(shared(), "/v1/completions", stream).await.status, 200);
}

#[tokio::test]
async fn a_watched_task_that_is_cut_ends_in_an_error() {
    let mut server = Server::start(&["--shutdown-seconds=0"]).await;
    let text = "The moor lies between two rivers and is crossed by one road. ".repeat(60);
    let documents: Value = (0..200).map(|n| json!({"id": format!("moor-{n}"), "text": format!("{n}. {text}")})).collect();
    let submitted = post(&server.url, "/v1/documents", json!({"documents": documents})).await.ok();
    let task = submitted["task"]["id"].as_str().unwrap();
    let mut events = events_of(Client::new().get(format!("{}/v1/tasks/{task}/events", server.url))).await;
    events.next().await.expect("the task as it is");
    server.stop();
    let (name, problem) = events.all().await.pop().unwrap();
    assert_eq!((name.as_str(), &problem["code"]), ("error", &json!("shutting_down")));
    server.ended().await;
}

/// `make test` runs it after the others, which note what they see in the folder that `RETRO_SEEN` names.
#[test]
#[ignore = "needs what all the other tests saw"]
fn everything_in_the_description_was_seen() {
    let (described, seen) = (described(), seen());
    let unseen: BTreeSet<&String> = described.difference(&seen).collect();
    let excused = |line: &str| UNSEEN.iter().any(|(pattern, _)| Pattern::new(pattern).unwrap().matches(line));
    let left: Vec<_> = unseen.iter().filter(|line| !excused(line)).collect();
    assert!(left.is_empty(), "no test saw {left:#?}");
    for (pattern, reason) in UNSEEN {
        let parsed = Pattern::new(pattern).unwrap();
        assert!(unseen.iter().any(|line| parsed.matches(line)), "{pattern} is excused ({reason}), but was seen");
    }
    println!("{} of {} things in the description were seen", described.len() - unseen.len(), described.len());
}
