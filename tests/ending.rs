//! How a server stops.

use std::net::TcpListener;
use std::process::Stdio;

use serde_json::json;

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
