//! Who holds connections, and heads and bodies that do not come.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{address, raw, rest, statuses};
use crate::support::{Exposition, Process, SOON, Server, eventually, get, post};

/// Sends a text byte by byte, as slowly as it may be without being idle, until all is sent or nobody reads it any more.
async fn drip(url: &str, text: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address(url)).await.unwrap();
    connection.set_nodelay(true).unwrap();
    for byte in text.bytes() {
        if connection.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    connection
}

#[tokio::test]
async fn heads_that_drip_in_are_given_up_and_others_are_served() {
    let server = Server::start(&["--header-seconds=1", "--max-connections=60"]).await;
    let url = server.url.as_str();
    let head = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx-drip: {}\r\n\r\n", "x".repeat(2_000));
    let dripping = join_all((0..50).map(|_| async { rest(drip(url, &head).await).await }));
    let others = async {
        for _ in 0..20 {
            assert_eq!(get(url, "/livez").await.status, 200);
        }
    };
    let began = Instant::now();
    let (answers, ()) = timeout(SOON, async { tokio::join!(dripping, others) }).await.expect("an end");
    assert!(answers.iter().all(|answer| !answer.contains("200")), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(60), "a whole head would have taken longer");
}

#[tokio::test]
async fn a_body_that_does_not_come_or_drips_in_is_408_and_the_end_of_its_connection() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &["--body-seconds=1"]);
    let url = server.url.as_str();
    let json = "content-type: application/json";
    let form = "content-type: multipart/form-data; boundary=B";
    let part = "--B\r\ncontent-disposition: form-data; name=\"files\"; filename=\"a.txt\"\r\n\r\nA beginning";
    for (path, headers, begin) in [
        ("/v1/complete", format!("{json}\r\ncontent-length: 1000"), ""),
        ("/v1/complete", format!("{json}\r\ncontent-length: 1000"), "{\"prompt\": \""),
        ("/v1/completions", format!("{json}\r\ntransfer-encoding: chunked"), "5\r\n{\"mod"),
        ("/v1/documents", format!("{json}\r\ncontent-length: 60000000"), "{\"text\": \""),
        ("/v1/documents", format!("{form}\r\ncontent-length: 60000000"), part),
        // Whatever it was packed with.
        ("/v1/retrieve", format!("{json}\r\ncontent-encoding: gzip\r\ncontent-length: 1000"), "\u{1f}"),
    ] {
        let answer = raw(url, format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n{begin}")).await;
        assert_eq!(statuses(&answer), [408], "{path}: {answer}");
        assert!(answer.contains("slow_body") && answer.contains("connection: close"), "{answer}");
    }
    let dripping =
        format!("POST /v1/retrieve HTTP/1.1\r\nhost: localhost\r\n{json}\r\ncontent-length: 2000\r\n\r\n{}", " ".repeat(2_000));
    let answer = rest(drip(url, &dripping).await).await;
    assert_eq!(statuses(&answer), [408], "a byte now and then is not enough: {answer}");
    assert_eq!(get(url, "/livez").await.status, 200);
    eventually("the end of what the upload left", || async {
        (std::fs::read_dir(data.path().join("uploads")).unwrap().count() == 0).then_some(())
    })
    .await;
}

/// Chunks of a byte each, with six bytes around it, are read for what they are.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_body_in_the_smallest_chunks_takes_its_own_bytes_of_memory() {
    const BYTES: usize = 4 << 20;
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    assert_eq!(get(&server.url, "/livez").await.status, 200);
    let before = status(server.id(), "VmHWM");
    let head =
        "POST /v1/documents HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = format!("{head}{}2\r\n{{}}\r\n0\r\n\r\n", "1\r\n \r\n".repeat(BYTES));
    let answer = raw(&server.url, body).await;
    assert!(statuses(&answer) == [422] && answer.contains("missing_field"), "{answer}");
    let grown = status(server.id(), "VmHWM") - before;
    assert!(grown < 10 * (BYTES >> 10) as u64, "{grown} kB more for {BYTES} bytes");
}

/// A number from `/proc/PID/status`, in its unit.
#[cfg(target_os = "linux")]
fn status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Raises the limit of open files as far as it goes, and gives it.
#[cfg(target_os = "linux")]
fn raise_open_files() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls on a struct of this function.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    limit.rlim_cur
}

/// The server has its places, the others wait in the system's queue or do not get that far, and nothing of them is in the server's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(target_os = "linux")]
async fn ten_thousand_idle_connections_cost_little_and_leave_nothing() {
    const MOST: usize = 200;
    let wanted = 10_000.min(raise_open_files() as usize - 1_000);
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[&format!("--max-connections={MOST}"), "--header-seconds=1000"]);
    let (url, pid) = (server.url.as_str(), server.id());
    assert_eq!(get(url, "/livez").await.status, 200);
    let files = || std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).unwrap().count();
    let (memory, before) = (status(pid, "VmRSS"), files());

    let connect = |_| async { timeout(Duration::from_secs(3), TcpStream::connect(address(url))).await.ok()?.ok() };
    let held: Vec<_> = join_all((0..wanted).map(connect)).await.into_iter().flatten().collect();
    assert!(held.len() > MOST, "{} connections of {wanted}", held.len());
    eventually("as many connections as the server takes", || async { (files() >= before + MOST - 1).then_some(()) }).await;
    assert!(files() <= before + MOST + 20, "{} files, {before} before", files());
    let grown = status(pid, "VmRSS").saturating_sub(memory);
    assert!(grown < 64 << 10, "{grown} kB more for {MOST} of {} connections", held.len());
    // Nobody else gets through: it is not answered, and not answered wrongly.
    let early = timeout(Duration::from_millis(500), reqwest::get(format!("{url}/livez"))).await;
    assert!(!matches!(early, Ok(Ok(_))), "{early:?}");

    drop(held);
    let began = Instant::now();
    eventually("an answer", || async {
        let answer = timeout(Duration::from_secs(2), reqwest::get(format!("{url}/livez"))).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status() == 200)).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    eventually("the end of all connections", || async { (files() <= before + 20).then_some(()) }).await;
    assert_eq!(get(url, "/v1/info").await.status, 200);
    let log = server.log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn one_client_may_be_kept_from_having_all_connections() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &["--connections-per-client=3"]);
    let url = server.url.as_str();
    let request = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let held = join_all((0..3).map(|_| TcpStream::connect(address(url)))).await;
    eventually("a connection that is closed at once", || async { raw(url, request).await.is_empty().then_some(()) }).await;
    drop(held);
    eventually("room", || async {
        let answer = raw(url, request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await;
        (statuses(&answer) == [200]).then_some(())
    })
    .await;
    let metrics = eventually("the metrics", || async {
        reqwest::get(format!("{url}/metrics")).await.is_ok().then_some(())?;
        Some(Exposition::of(url).await)
    })
    .await;
    assert!(metrics.value("retro_http_connections_refused_total") >= 1.0);
    assert!((1.0..=3.0).contains(&metrics.value("retro_http_connections")));
}

#[tokio::test]
async fn who_finds_all_places_taken_is_told_to_come_again() {
    let server = Server::start(&["--max-queue=1"]).await;
    let url = server.url.as_str();
    let long = |n: usize| format!("{n}. {}", "The harbour lies between two hills. ".repeat(1_000));
    let text = json!({"model": "all-MiniLM-L6-v2", "input": vec!["The harbour lies between two hills.".repeat(20); 200]});
    let lookups = join_all((0..30).map(|n| post(url, "/v1/retrieve", json!({"text": long(n)}))));
    let embeddings = join_all((0..30).map(|_| post(url, "/v1/embeddings", text.clone())));
    let documents = join_all((0..30).map(|n| post(url, "/v1/documents", json!({"id": format!("crowd-{n}"), "text": long(n)}))));
    // One kind after the other: look-ups and embeddings have the same places.
    let (lookups, embeddings, documents) = (lookups.await, embeddings.await, documents.await);
    for (good, code, answers) in
        [(200, "overloaded", &lookups), (200, "rate_limit_exceeded", &embeddings), (202, "overloaded", &documents)]
    {
        let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == good);
        for answer in refused {
            assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (429, code, "1"), "{answer:?}");
        }
        assert!(!served.is_empty(), "nobody is served");
    }
    assert!([&lookups, &embeddings].iter().all(|answers| answers.iter().any(|answer| answer.status == 429)), "all found a place");
    assert_eq!(post(url, "/v1/retrieve", json!({"text": "harbour"})).await.status, 200, "the places are free again");
    let kept = get(url, "/v1/documents?limit=100").await.ok()["data"].as_array().unwrap().len();
    assert_eq!(kept, documents.iter().filter(|answer| answer.status == 202).count(), "what was refused is not stored");
}
