//! Heads of requests that two readers may read differently, or that are too much.

use super::{raw, statuses};
use crate::support::{Process, get, shared};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const LIVE: &str = "GET /livez HTTP/1.1\r\nhost: localhost\r\n";

#[tokio::test]
async fn heads_that_are_too_much_are_431() {
    let many: String = (0..150).map(|n| format!("x-{n}: y\r\n")).collect();
    // The bound is looked at after a read, which may bring as much again.
    let long = format!("x-long: {}\r\n", "y".repeat(1 << 20));
    let name = format!("{}: y\r\n", "x".repeat(70_000));
    let answer = raw(shared(), format!("{LIVE}{many}\r\n")).await;
    assert_eq!(statuses(&answer), [431], "{answer}");
    // What is not read to its end may end the connection before its answer is read.
    let endless = format!("x: {}", "y".repeat(2 << 20));
    for headers in [long, name, endless] {
        let answer = raw(shared(), format!("{LIVE}{headers}\r\n")).await;
        assert!(matches!(statuses(&answer)[..], [] | [431 | 400]), "{answer}");
    }
    let path = raw(shared(), format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(100_000))).await;
    assert_eq!(statuses(&path), [414], "{path}");
    assert_eq!(get(shared(), "/livez").await.status, 200);
}

#[tokio::test]
async fn heads_with_two_meanings_are_refused() {
    let post = "POST /v1/retrieve HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for bad in [
        "content-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
        "content-length: 2, 3\r\n\r\n{}",
        "content-length: +2\r\n\r\n{}",
        "content-length: -2\r\n\r\n{}",
        "content-length: 0x2\r\n\r\n{}",
        "content-length: 99999999999999999999999\r\n\r\n{}",
        "content-length : 2\r\n\r\n{}",
        "transfer-encoding: identity\r\n\r\n{}",
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "x: a\r\n b: c\r\ncontent-length: 2\r\n\r\n{}",
        "x\0y: z\r\n\r\n",
        "x: a\rb\r\n\r\n",
        ": nothing\r\n\r\n",
    ] {
        let answer = raw(shared(), format!("{post}{bad}{LIVE}connection: close\r\n\r\n")).await;
        assert_eq!(statuses(&answer), [400], "{bad:?}: nothing after it is read: {answer}");
    }
    for bad in [
        "POST /v1/retrieve HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /livez\r\n\r\n",
        "GET /livez HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /li vez HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}",
    ] {
        let answer = raw(shared(), format!("{bad}\r\n\r\n")).await;
        assert!(matches!(statuses(&answer)[..], [] | [400 | 505]), "{bad:?}: {answer}");
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    for (hosts, expected) in [
        ("host: localhost\r\n", 200),
        ("Host: 127.0.0.1:8080\r\n", 200),
        ("host: [::1]:8080\r\n", 200),
        ("", 400),
        ("host: localhost\r\nhost: localhost\r\n", 400),
        ("host: localhost\r\nhost: evil.example\r\n", 400),
        ("host: a b\r\n", 400),
        ("host: a/b\r\n", 400),
        ("host: somebody@localhost\r\n", 400),
    ] {
        let answer = raw(shared(), format!("GET /livez HTTP/1.1\r\n{hosts}connection: close\r\n\r\n")).await;
        assert_eq!(statuses(&answer), [expected], "{hosts:?}: {answer}");
    }
    // HTTP/1.0 needs none.
    for (hosts, expected) in [("", "200 OK"), ("host: a\r\nhost: b\r\n", "400 Bad Request")] {
        let answer = raw(shared(), format!("GET /livez HTTP/1.0\r\n{hosts}\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.0 {expected}")), "{hosts:?}: {answer}");
    }
}

/// Whatever a proxy took for the end of a body in chunks, nothing behind it is taken for a request.
#[tokio::test]
async fn nothing_that_follows_a_body_in_chunks_is_a_request() {
    let post = "POST /v1/retrieve HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let body = r#"{"text": "Tea"}"#;
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for headers in [
        "transfer-encoding: chunked\r\n",
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "content-length: 200\r\ntransfer-encoding: chunked\r\n",
    ] {
        let answer = raw(shared(), format!("{post}{headers}\r\n{chunked}{LIVE}\r\n")).await;
        assert!(matches!(statuses(&answer)[..], [200 | 400]), "{headers:?}: {answer}");
        assert!(!answer.contains("\"ok\""), "{answer}");
    }
    for chunks in
        ["fffffffffffffffff\r\n{}", "-1\r\n{}", "2;\n{}\r\n0\r\n\r\n", "2\r\n{}x\r\n0\r\n\r\n", "0x2\r\n{}\r\n0\r\n\r\n"]
    {
        let answer = raw(shared(), format!("{post}transfer-encoding: chunked\r\n\r\n{chunks}{LIVE}\r\n")).await;
        assert_eq!(statuses(&answer), [400], "{chunks:?}: {answer}");
    }
    // One after a body of a known length is one.
    let two = format!("{post}content-length: {}\r\n\r\n{body}{LIVE}connection: close\r\n\r\n", body.len());
    assert_eq!(statuses(&raw(shared(), two).await), [200, 200]);
}

#[tokio::test]
async fn what_a_client_sends_makes_no_header_of_an_answer() {
    for path in [
        "/v1/documents/a%0d%0aset-cookie:%20x=y",
        "/v1/tasks/a%0d%0aset-cookie:%20x=y",
        "/v1/collections/a%0d%0aset-cookie:%20x=y",
        "/docs%0d%0aset-cookie:%20x=y",
        "/docs/%0d%0aset-cookie:%20x=y",
        "/v1/documents?cursor=a%0d%0aset-cookie:%20x=y",
        "//evil.example/%0d%0aset-cookie:%20x=y",
    ] {
        let answer = raw(shared(), format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
        let (head, _) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
        assert!(!head.contains("set-cookie") && !head.contains("evil.example"), "{path}: {answer}");
    }
    let bell = raw(shared(), format!("{LIVE}x-request-id: a\u{7}b\r\nconnection: close\r\n\r\n")).await;
    assert!(!bell.contains('\u{7}'), "{bell}");
}

#[tokio::test]
async fn a_path_leads_to_no_file() {
    for path in [
        "/playground/../../../../etc/passwd",
        "/playground/..%2f..%2f..%2fetc%2fpasswd",
        "/playground/%2e%2e/main.js",
        "/playground/..\\..\\Cargo.toml",
        "/playground//etc/passwd",
        "/docs/../../../etc/passwd",
        "/docs/..%2f..%2f..%2fetc%2fpasswd",
        "/docs/%2fetc%2fpasswd",
        "//etc/passwd",
        "/v1/documents/..%2f..%2fetc%2fpasswd",
        "/v1/documents/..",
        "/v1/documents/.",
        "/v1/documents/%2fetc%2fpasswd",
        "/v1/documents/C:%5cwindows",
        "/v1/collections/..%2fdefault",
        "/v1/collections/..",
        "/v1/collections/default.lance",
        "/v1/collections/default%00",
        "/playground/%ff",
        "/docs/%ff",
        "/v1/documents/%ff",
    ] {
        let answer = raw(shared(), format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
        assert!(matches!(statuses(&answer)[..], [400 | 404 | 422]), "{path}: {answer}");
        assert!(!path.contains("%ff") || answer.contains("invalid_utf8"), "{path}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("[package]"), "{path}: {answer}");
    }
}

/// A client that sends requests and reads no answer holds its own connection and no other.
#[tokio::test]
async fn a_client_that_never_reads_holds_up_nobody() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let mut deaf = TcpStream::connect(super::address(&server.url)).await.unwrap();
    let request = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let flood = async { while deaf.write_all(request.as_bytes()).await.is_ok() {} };
    // It stops when both sides' buffers are full.
    assert!(tokio::time::timeout(std::time::Duration::from_secs(3), flood).await.is_err());
    for _ in 0..20 {
        assert_eq!(get(&server.url, "/livez").await.status, 200);
    }
}
