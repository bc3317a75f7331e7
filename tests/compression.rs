//! Bodies that are compressed, either way.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::{Process, Server, ask, get, ingest, long_stream, shared};

/// One that says and unpacks nothing by itself.
fn client() -> Client {
    Client::builder().no_gzip().build().unwrap()
}

async fn fetch(method: Method, path: &str, accepted: &str) -> (u16, HeaderMap, Vec<u8>) {
    let request = client().request(method, format!("{}{path}", shared())).header("accept-encoding", accepted);
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.bytes().await.unwrap().to_vec())
}

fn unpacked(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut whole = Vec::new();
            GzDecoder::new(bytes).read_to_end(&mut whole).unwrap();
            whole
        }
        "zstd" => zstd::decode_all(bytes).unwrap(),
        other => panic!("{other}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_take_it() {
    let text = "The moor lies between two rivers and is crossed by one road. ".repeat(3000);
    ingest(shared(), json!([{"id": "compressed", "collection": "compressed", "text": text}])).await;
    for path in ["/openapi.json", "/", "/playground/main.js", "/docs/swagger-ui.css", "/v1/documents/compressed?text=true"] {
        let (status, plain, whole) = fetch(Method::GET, path, "identity").await;
        assert_eq!((status, plain.get("content-encoding")), (200, None), "{path}");
        assert!(plain["vary"].to_str().unwrap().contains("accept-encoding"), "{path}");
        for (accepted, encoding) in [("gzip", "gzip"), ("gzip, deflate, br", "gzip"), ("gzip, deflate, br, zstd", "zstd")] {
            let (status, headers, bytes) = fetch(Method::GET, path, accepted).await;
            assert_eq!((status, headers["content-encoding"].to_str().unwrap()), (200, encoding), "{path}");
            assert_eq!(headers["content-length"].to_str().unwrap(), bytes.len().to_string(), "{path}");
            assert_eq!(headers["content-type"], plain["content-type"]);
            assert!(headers["vary"].to_str().unwrap().contains("accept-encoding"), "{path}");
            assert!(bytes.len() < whole.len(), "{path}");
            assert!(unpacked(encoding, &bytes) == whole, "{path}");
        }
        assert_eq!(fetch(Method::GET, path, "br").await.1.get("content-encoding"), None);
    }
}

#[tokio::test]
async fn small_answers_streams_and_pictures_go_out_as_they_are() {
    // The last is a file by another name, of which there are too many to pack it for each.
    for path in ["/livez", "/v1/nothing", "/v1/documents/nowhere", "/docs/favicon-32x32.png", "/docs/swagger%2Dui.css"] {
        let (_, headers, _) = fetch(Method::GET, path, "gzip, zstd").await;
        assert_eq!(headers.get("content-encoding"), None, "{path}");
    }
    let (status, headers, body) = fetch(Method::HEAD, "/openapi.json", "gzip").await;
    assert_eq!((status, headers["content-encoding"].to_str().unwrap(), body.len()), (200, "gzip", 0), "as GET would answer");
    let stream = client()
        .post(format!("{}/v1/complete", shared()))
        .header("accept-encoding", "gzip, zstd")
        .json(&long_stream().await)
        .send()
        .await
        .unwrap();
    assert_eq!(stream.headers()["content-type"].to_str().unwrap(), "text/event-stream");
    assert_eq!((stream.headers().get("content-encoding"), stream.headers().get("content-length")), (None, None));
    let text = stream.text().await.unwrap();
    assert!(text.contains("event: done"));
}

/// A gzip stream may go on for ever and hold nothing.
#[tokio::test]
async fn packed_bytes_are_bounded_too() {
    let server = Server::start(&["--max-body-bytes=100000", "--max-upload-bytes=200000"]).await;
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let empty_blocks = [&head[..], &[0, 0, 0, 255, 255].repeat(100_000)].concat();
    let endless_name = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255][..], &[b'a'; 500_000]].concat();
    for kind in ["application/json", "application/x-ndjson", "multipart/form-data; boundary=B"] {
        for body in [&empty_blocks, &endless_name] {
            let request = client().post(format!("{}/v1/documents", server.url)).header("content-type", kind);
            let refused = ask(request.header("content-encoding", "gzip").body(body.clone())).await;
            assert_eq!((refused.status, refused.code()), (413, "body_too_large"), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_page_that_is_known_is_not_sent_again_however_it_was_sent() {
    for accepted in ["identity", "gzip", "zstd"] {
        let (_, headers, _) = fetch(Method::GET, "/", accepted).await;
        let tag = headers["etag"].to_str().unwrap().to_owned();
        assert!(tag.starts_with("W/\""), "the same tag for different bytes: {tag}");
        let strong = tag.strip_prefix("W/").unwrap();
        for known in [tag.as_str(), strong, "*", &format!("\"other\", {tag}")] {
            let request = client().get(format!("{}/", shared())).header("accept-encoding", "gzip").header("if-none-match", known);
            let again = request.send().await.unwrap();
            assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, tag.as_str()), "{known}");
            assert_eq!(again.headers().get("content-encoding"), None);
            assert!(again.bytes().await.unwrap().is_empty());
        }
        let other = client().get(format!("{}/", shared())).header("if-none-match", "\"other\"").send().await.unwrap();
        assert_eq!(other.status(), 200);
    }
}

#[tokio::test]
async fn the_log_and_the_limits_take_a_compressed_answer_for_a_whole_one() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &["--concurrent-requests=1"]);
    for _ in 0..3 {
        let answer = client().get(format!("{}/v1/info", server.url)).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["content-encoding"].to_str().unwrap()), (200, "gzip"));
    }
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("/v1/info") && line.contains("answered")).collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines.iter().all(|line| line.contains("Completed")), "{log}");
}

#[tokio::test]
async fn bodies_may_come_with_gzip() {
    let post = |path: &str, encoding: &str, body: Vec<u8>| {
        let request = client().post(format!("{}{path}", shared())).header("content-type", "application/json");
        ask(request.header("content-encoding", encoding).body(body))
    };
    let text = "Sent with gzip. ".repeat(100);
    let document = json!({"id": "zipped", "collection": "zipped", "text": text}).to_string();
    for encoding in ["gzip", "GZIP", "x-gzip"] {
        assert_eq!(post("/v1/documents?wait=true", encoding, gzip(document.as_bytes())).await.status, 200, "{encoding}");
    }
    assert_eq!(post("/v1/documents", "identity", document.clone().into_bytes()).await.status, 202);
    assert_eq!(get(shared(), "/v1/documents/zipped?text=true").await.ok()["text"], text);

    for encoding in ["br", "zstd", "deflate", "gzip, gzip"] {
        let refused = post("/v1/documents", encoding, document.clone().into_bytes()).await;
        assert_eq!((refused.status, refused.code(), refused.header("accept-encoding")), (415, "unsupported_encoding", "gzip"));
    }
    let refused = post("/v1/completions", "br", Vec::new()).await;
    assert_eq!((refused.status, refused.code()), (415, "unsupported_encoding"));
    let plain = post("/v1/documents", "gzip", document.into_bytes()).await;
    assert_eq!((plain.status, plain.code()), (400, "incomplete_body"));
}

#[tokio::test]
async fn a_body_is_as_large_as_it_is_when_unpacked() {
    let server = Server::start(&["--max-body-bytes=100000", "--max-upload-bytes=200000"]).await;
    let post = |kind: &str, body: Vec<u8>| {
        let request = client().post(format!("{}/v1/documents", server.url)).header("content-type", kind);
        ask(request.header("content-encoding", "gzip").body(body))
    };
    // A thousandth of what it unpacks to.
    let bomb = gzip(&b" ".repeat(50 << 20));
    assert!(bomb.len() < 100_000);
    for (kind, limit) in
        [("application/json", "100000"), ("application/x-ndjson", "100000"), ("multipart/form-data; boundary=B", "200000")]
    {
        let head = "--B\r\ncontent-disposition: form-data; name=\"files\"; filename=\"a.txt\"\r\n\r\n";
        let form = || gzip(&[head.as_bytes(), &b" ".repeat(50 << 20)].concat());
        let body = if kind.starts_with("multipart") { form() } else { bomb.clone() };
        let refused = post(kind, body).await;
        assert_eq!((refused.status, refused.code()), (413, "body_too_large"), "{kind}");
        assert!(refused.body["detail"].as_str().unwrap().contains(limit), "{refused:?}");
    }
    let form = "--B\r\ncontent-disposition: form-data; name=\"files\"; filename=\"zipped.md\"\r\n\r\n# Zipped\r\n--B--\r\n";
    let taken: Value = post("multipart/form-data; boundary=B", gzip(form.as_bytes())).await.ok();
    assert_eq!(taken["document_ids"], json!(["zipped.md"]));
}
