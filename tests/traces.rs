//! What a collector of traces is sent of a completion.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use crate::support::{Process, ask};

/// A trace that a client began: its id, and that of the span that it asked in.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector on a free port, and what it is sent.
async fn collector() -> (String, Arc<Mutex<Vec<ExportTraceServiceRequest>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let take = {
        let received = Arc::clone(&received);
        move |body: Bytes| async move {
            received.lock().unwrap().push(ExportTraceServiceRequest::decode(body).expect("OTLP in protobuf"));
            ([("content-type", "application/x-protobuf")], ExportTraceServiceResponse::default().encode_to_vec())
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, received)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    let value = span.attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()?;
    match value {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_is_one_trace_from_its_request_to_the_runs_of_the_graphs() {
    let (endpoint, received) = collector().await;
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &["--otlp-endpoint", &endpoint, "--log-level=trace"]);
    let request = reqwest::Client::new()
        .post(format!("{}/v1/complete", server.url))
        .header("x-request-id", "trace-me-7")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .json(&json!({"prompt": "Tea is", "max_tokens": 4}));
    ask(request).await.ok();
    server.signal(libc::SIGTERM);
    let status = tokio::task::spawn_blocking(move || server.wait()).await.unwrap();
    assert!(status.success());

    let received = received.lock().unwrap();
    let resources = received.iter().flat_map(|request| &request.resource_spans);
    for resource in resources.clone() {
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        assert!(attributes.iter().any(|attribute| attribute.key == "service.name"), "{attributes:?}");
    }
    let spans: Vec<&Span> = resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans).collect();
    let requests: Vec<_> = spans.iter().filter(|span| text(span, "id") == Some("trace-me-7")).collect();
    assert_eq!(requests.len(), 1, "the end of the process sends what is left");
    let request = requests[0];
    assert_eq!((request.name.as_str(), text(request, "route")), ("request", Some("/v1/complete")));
    assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    let child = |name: &str, parent: &Span| -> Span {
        let found = spans.iter().find(|span| span.name == name && span.parent_span_id == parent.span_id);
        let found = found.unwrap_or_else(|| {
            let all: Vec<_> = spans.iter().map(|span| (&span.name, hex(&span.span_id), hex(&span.parent_span_id))).collect();
            panic!("no {name} below {}: {all:?}", parent.name)
        });
        assert_eq!(hex(&found.trace_id), TRACE);
        assert!(found.start_time_unix_nano <= found.end_time_unix_nano);
        (*found).clone()
    };
    let generation = child("generation", request);
    for run in ["lower", "upper", "step"] {
        child(run, &generation);
    }
    let look_up = child("look_up", &generation);
    child("embedder_run", &child("embed", &look_up));
    child("search", &look_up);
}

#[tokio::test]
async fn a_collector_that_is_not_there_harms_nobody() {
    let data = tempfile::tempdir().unwrap();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Process::serve(data.path(), &["--otlp-endpoint", &format!("http://{closed}")]);
    let answer =
        ask(reqwest::Client::new().post(format!("{}/v1/complete", server.url)).json(&json!({"prompt": "a", "max_tokens": 2})));
    assert_eq!(answer.await.status, 200);
    server.signal(libc::SIGTERM);
    assert!(server.wait().success());
}
