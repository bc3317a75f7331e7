//! How a server stops.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Process, Server, command, eventually, get, long_stream, post, send, sse};

#[tokio::test]
async fn what_has_begun_is_finished_and_new_work_is_refused() {
    let mut server = Server::start(&["--shutdown-seconds=100"]).await;
    let mut stream = sse(&server.url, long_stream().await).await;
    stream.next().await.expect("the completion has begun");
    server.stop();
    let draining = eventually("the refusal of new work", || async {
        let answer = get(&server.url, "/readyz").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((draining.status, draining.code()), (503, "shutting_down"));
    let refused = post(&server.url, "/v1/complete", json!({"prompt": "a"})).await;
    assert_eq!((refused.status, refused.code()), (503, "shutting_down"));
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    assert_eq!(get(&server.url, "/livez").await.status, 200);
    let events = stream.all().await;
    assert_eq!(events.last().unwrap().0, "done");
    let url = server.url.clone();
    server.ended().await;
    assert!(reqwest::get(format!("{url}/livez")).await.is_err(), "nobody listens any more");
}

/// An answer that is whole counts as given, and may take its client longer to read than idle connections have to close.
#[tokio::test]
async fn an_answer_that_is_on_its_way_arrives() {
    let mut server = Server::start(&["--shutdown-seconds=100"]).await;
    let text = "Nothing of it is lost on the way. ".repeat(9 << 20 >> 5);
    assert_eq!(post(&server.url, "/v1/documents", json!({"id": "large", "text": text})).await.status, 202);
    let address: SocketAddr = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let reader = TcpSocket::new_v4().unwrap();
    // The system's buffers do not hold it.
    reader.set_recv_buffer_size(64 << 10).unwrap();
    let mut reader = reader.connect(address).await.unwrap();
    reader.write_all(b"GET /v1/documents/large?text=true HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut whole = vec![0];
    reader.read_exact(&mut whole).await.unwrap();
    server.stop();
    eventually("the end of listening", || async { TcpStream::connect(address).await.is_err().then_some(()) }).await;
    // Twice as long as what is idle may take.
    tokio::time::sleep(Duration::from_secs(4)).await;
    reader.read_to_end(&mut whole).await.unwrap();
    let whole = String::from_utf8(whole).unwrap();
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{} bytes, {head}", body.len());
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["text"], text);
    server.ended().await;
}

#[tokio::test]
async fn what_is_not_done_at_the_deadline_is_cut_with_an_error() {
    let mut server = Server::start(&["--shutdown-seconds=0"]).await;
    let mut running = sse(&server.url, long_stream().await).await;
    running.next().await.expect("the completion has begun");
    let queued = sse(&server.url, long_stream().await).await;
    server.stop();
    for stream in [running, queued] {
        let events = stream.all().await;
        let (name, problem) = events.last().unwrap();
        assert_eq!((name.as_str(), &problem["code"], &problem["status"]), ("error", &json!("shutting_down"), &json!(503)));
        assert!(problem["request_id"].is_string());
    }
    server.ended().await;
}

#[tokio::test]
async fn a_signal_ends_the_process_in_order() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let data = tempfile::tempdir().unwrap();
        let server = Process::serve(data.path(), &[]);
        let accepted =
            post(&server.url, "/v1/documents", json!({"id": "kept", "text": "Kept over the end of the process."})).await;
        assert_eq!(accepted.status, 202);
        let mut stream = sse(&server.url, json!({"prompt": "Once", "max_tokens": 60, "stream": true})).await;
        stream.next().await.expect("the completion has begun");
        server.signal(signal);
        assert_eq!(stream.all().await.last().unwrap().0, "done");
        assert_eq!(server.wait().code(), Some(0));

        let again = Process::serve(data.path(), &[]);
        let text = get(&again.url, "/v1/documents/kept?text=true").await.ok();
        assert_eq!(text["text"], "Kept over the end of the process.");
    }
}

#[test]
fn a_server_that_loads_ends_at_the_first_signal() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let data = tempfile::tempdir().unwrap();
        // A catalogue that never answers: the server waits for it as long as the test needs.
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://retro@{}/retro", mute.local_addr().unwrap());
        let server = command("serve", data.path())
            .args(["--listen=127.0.0.1:0", "--log-level=info", "--database-url", &url])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _waits = mute.accept().unwrap();
        send(&server, signal);
        let ended = server.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(0), b"".as_slice()), "{log}");
        assert!(log.contains("stopped before it was ready"), "{log}");
    }
}
