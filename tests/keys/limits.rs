//! How much a client may ask for, and how long it may take over it.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Process, SOON, Server, ask, eventually, get, long_stream, post, retro, sse};

#[tokio::test]
async fn requests_a_minute_are_counted_for_each_key() {
    let data = tempfile::tempdir().unwrap();
    let create = |name: &str| {
        let output = retro("keys", data.path(), &["create", name, "--scope=admin"]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (one, other) = (create("one"), create("other"));
    let server = Process::serve(data.path(), &["--requests-per-minute=3"]);
    let url = server.url.as_str();
    let asked = |key: &str| ask(reqwest::Client::new().get(format!("{url}/v1/tasks")).bearer_auth(key));
    for _ in 0..3 {
        assert_eq!(asked(&one).await.status, 200);
    }
    let refused = asked(&one).await;
    assert_eq!((refused.status, refused.code()), (429, "rate_limited"));
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&seconds), "a third of a minute brings one back: {seconds}");
    assert_eq!(asked(&other).await.status, 200);
    // Whoever tries keys is counted by the address.
    let tried: Vec<_> =
        [asked("a").await, asked("b").await, asked("c").await, asked("d").await].map(|answer| answer.status).into();
    assert_eq!(tried, [401, 401, 401, 429]);
    assert_eq!(asked(&other).await.status, 200);
    assert_eq!(get(url, "/livez").await.status, 200);
}

#[tokio::test]
async fn a_stream_is_one_request_until_it_ends() {
    let server = Server::start(&["--concurrent-requests=1"]).await;
    let url = server.url.as_str();
    let mut stream = sse(url, long_stream().await).await;
    stream.next().await.expect("the completion has begun");
    let refused = get(url, "/v1/info").await;
    assert_eq!((refused.status, refused.code(), refused.header("retry-after")), (429, "rate_limited", "1"));
    assert_eq!(get(url, "/readyz").await.status, 200);
    assert_eq!(stream.all().await.last().unwrap().0, "done");
    eventually("room for another request", || async { (get(url, "/v1/info").await.status == 200).then_some(()) }).await;
    // One that its client gives up ends, too.
    let mut stream = sse(url, long_stream().await).await;
    stream.next().await.expect("the completion has begun");
    drop(stream);
    eventually("room for another request", || async { (get(url, "/v1/info").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_given_up() {
    let mut server = Server::start(&["--request-seconds=1"]).await;
    let url = server.url.clone();
    let text = "The moor lies between two rivers and is crossed by one road. ".repeat(60);
    let documents: Value = (0..400).map(|n| json!({"id": format!("moor-{n}"), "text": format!("{n}. {text}")})).collect();
    let answer = post(&url, "/v1/documents?wait=true", json!({"documents": documents})).await;
    assert_eq!((answer.status, answer.code()), (504, "timed_out"));
    let tasks = get(&url, "/v1/tasks").await.ok();
    let status = tasks["data"][0]["status"].as_str();
    assert!(matches!(status, Some("queued" | "running")), "what was stored is taken in all the same: {tasks}");
    server.stop();
    server.ended().await;
}

/// Sends text and reads up to what is awaited, or to the end of the connection.
async fn exchange(connection: &mut TcpStream, sent: &str, awaited: &str) -> String {
    connection.write_all(sent.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let reading = async {
        let mut buffer = [0; 1024];
        while !String::from_utf8_lossy(&read).contains(awaited) {
            // A connection that is reset has ended as well.
            match connection.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => read.extend_from_slice(&buffer[..count]),
            }
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("an answer or an end");
    String::from_utf8(read).unwrap()
}

const REQUEST: &str = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
const BODY: &str = "{\"status\":\"ok\"}";

#[tokio::test]
async fn a_head_that_does_not_arrive_ends_the_connection() {
    let server = Server::start(&["--header-seconds=1"]).await;
    let address = server.url.strip_prefix("http://").unwrap();
    for begun in ["", "GET /livez HTTP/1.1\r\nhost: loc"] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        assert_eq!(exchange(&mut connection, begun, "never").await, "", "{begun:?}");
    }
    // So does one that is idle after a request.
    let mut connection = TcpStream::connect(address).await.unwrap();
    assert!(exchange(&mut connection, REQUEST, BODY).await.starts_with("HTTP/1.1 200"));
    assert_eq!(exchange(&mut connection, "", "never").await, "");
}

#[tokio::test]
async fn a_connection_too_many_waits_for_another_to_end() {
    let server = Server::start(&["--max-connections=1"]).await;
    let address = server.url.strip_prefix("http://").unwrap();
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(exchange(&mut first, REQUEST, BODY).await.contains(BODY));
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(REQUEST.as_bytes()).await.unwrap();
    assert!(exchange(&mut first, REQUEST, BODY).await.contains(BODY));
    let early = second.try_read(&mut [0; 1]);
    assert!(early.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "{early:?}");
    drop(first);
    assert!(exchange(&mut second, "", BODY).await.contains(BODY));
}
