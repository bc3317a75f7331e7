//! What the log, the metrics and the errors say: no line that a client made up, and nothing that is secret.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{address, raw, rest};
use crate::support::{Answer, Process, ask, command, get, post, post_raw, retro};

/// All that this server and its libraries say.
const EVERYTHING: &str =
    "--log-level=debug,retro_server=trace,hyper=trace,axum=trace,tower_http=trace,sqlx=trace,lance=trace,lancedb=trace";

/// Says what it can wherever a client can say anything.
async fn say(url: &str, words: &str) {
    let encoded: String = words.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for path in [
        format!("/{encoded}"),
        format!("/v1/documents/{encoded}"),
        format!("/v1/tasks/{encoded}"),
        format!("/v1/collections/{encoded}"),
        format!("/v1/documents?cursor={encoded}"),
        format!("/v1/documents?{encoded}=1"),
    ] {
        get(url, &path).await;
    }
    for (path, body) in [
        ("/v1/documents", json!({"id": words, "text": "a"})),
        ("/v1/documents", json!({"text": words.replace('\0', ""), "title": words, "source": words, "metadata": {words: words}})),
        ("/v1/retrieve", json!({"text": words, "collection": words})),
        ("/v1/retrieve", json!({"text": "a", "filter": {"field": "title", "op": "eq", "value": words}})),
        ("/v1/complete", json!({"prompt": words, "max_tokens": 1, "stop": [words]})),
        ("/v1/complete", json!({words: words})),
        ("/v1/completions", json!({"model": words, "prompt": words})),
    ] {
        post(url, path, body).await;
    }
    let form = reqwest::multipart::Form::new();
    let form = form.part("files", reqwest::multipart::Part::text("\0").file_name(words.to_owned()));
    ask(reqwest::Client::new().post(format!("{url}/v1/documents")).multipart(form)).await;
    // Bytes that no client library sends. The server has to end the connection itself, or to be told.
    let mut bytes = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nuser-agent: ".to_vec();
    let visible: Vec<u8> = words.bytes().map(|byte| if byte < b' ' && byte != b'\t' { 0x80 | byte } else { byte }).collect();
    for header in ["x-request-id", "traceparent", "referer", "x-forwarded-for", "authorization"] {
        bytes.extend(&visible);
        bytes.extend(format!("\r\n{header}: ").bytes());
    }
    bytes.extend(&visible);
    bytes.extend(b"\r\n\r\n");
    raw(url, bytes).await;
    let mut connection = TcpStream::connect(address(url)).await.unwrap();
    let _ = connection.write_all(format!("{words} / HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await;
    connection.shutdown().await.unwrap();
    rest(connection).await;
}

#[tokio::test]
async fn no_client_writes_a_line_of_the_log() {
    let words = "x\nFAKE line\r\n2026-01-01T00:00:00Z ERROR FAKE\u{1b}[31m\u{1b}]0;FAKE\u{7}\u{2028}FAKE\u{85}FAKE\u{9b}31m";
    for format in ["text", "json"] {
        let data = tempfile::tempdir().unwrap();
        let server = Process::serve(data.path(), &[EVERYTHING, &format!("--log-format={format}")]);
        say(&server.url, words).await;
        let log = server.log();
        assert!(log.lines().count() > 50, "it says what happens: {log}");
        for line in log.lines() {
            if format == "json" {
                let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
            } else {
                assert!(line.starts_with("20") && line.contains('Z'), "a line of somebody else's: {line}");
                assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line}");
            }
            let control = line.chars().find(|&c| c.is_control() && c != '\t');
            assert_eq!(control, None, "{line:?}");
        }
    }
}

/// Runs `retro keys create`.
fn key(data: &Path, name: &str, scope: &str) -> String {
    let output = retro("keys", data, &["create", name, &format!("--scope={scope}")]);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn what_is_secret_is_said_nowhere() {
    let data = tempfile::tempdir().unwrap();
    let (good, revoked) = (key(data.path(), "good", "admin"), key(data.path(), "revoked", "admin"));
    let listed: Value = serde_json::from_slice(&retro("keys", data.path(), &["list", "--json"]).stdout).unwrap();
    let id = listed.as_array().unwrap().iter().find(|key| key["name"] == "revoked").unwrap()["id"].as_str().unwrap().to_owned();
    assert!(retro("keys", data.path(), &["revoke", &id]).status.success());
    let unknown = format!("retro_{}", "fedcba9876543210".repeat(4));

    // A collector that there is not, which would be sent a secret.
    let endpoint = "--otlp-endpoint=http://127.0.0.1:9";
    let server = Process::of(
        command("serve", data.path())
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20headersecret3")
            .args([EVERYTHING, endpoint]),
    );
    let url = server.url.as_str();
    let (prompt, text, title) = ("The promptsecret4 is", "A text of textsecret5.", "titlesecret6");
    let client = reqwest::Client::new();
    let with = |method: reqwest::Method, path: &str, key: &str| client.request(method, format!("{url}{path}")).bearer_auth(key);
    let mut answers: Vec<Answer> = Vec::new();
    let body = json!({"prompt": prompt, "max_tokens": 4, "stop": ["stopsecret7"]});
    let completed = ask(with(reqwest::Method::POST, "/v1/complete", &good).json(&body)).await;
    assert_eq!(completed.status, 200);
    let document = json!({"id": "d", "text": text, "title": title, "metadata": {"k": "metasecret8"}});
    assert_eq!(ask(with(reqwest::Method::POST, "/v1/documents?wait=true", &good).json(&document)).await.status, 200);
    let search = json!({"text": "querysecret9", "filter": {"field": "title", "op": "eq", "value": "nothing"}});
    assert_eq!(ask(with(reqwest::Method::POST, "/v1/retrieve", &good).json(&search)).await.status, 200);
    for key in [&revoked, &unknown, &good[..69].to_owned()] {
        answers.push(ask(with(reqwest::Method::GET, "/v1/info", key)).await);
    }
    // Where keys do not belong; an answer may say it again to who sent it.
    answers.push(get(url, &format!("/v1/info?key={good}")).await);
    get(url, &format!("/v1/{good}")).await;
    ask(with(reqwest::Method::GET, &format!("/v1/{good}"), &good)).await;
    ask(with(reqwest::Method::GET, &format!("/v1/documents?limit={good}"), &good)).await;
    answers.push(ask(client.get(format!("{url}/v1/info")).basic_auth("me", Some(&good))).await);
    answers.push(post_raw(url, "/v1/complete", "application/json", format!("{{\"key\": \"{good}\"}}")).await);
    answers.push(ask(with(reqwest::Method::GET, "/v1/info", &good)).await);
    let metrics = ask(with(reqwest::Method::GET, "/metrics", &good)).await;
    let metrics = metrics.body.as_str().unwrap().to_owned();

    let log = server.log();
    assert!(log.contains("TRACE"), "all is said");
    let hidden = |key: &str| key[14..69].to_owned();
    let keys = [hidden(&good), hidden(&revoked), hidden(&unknown)];
    for secret in std::iter::once("headersecret3".to_owned()).chain(keys) {
        for (place, said) in [("the log", &log), ("the metrics", &metrics)] {
            assert!(!said.contains(&secret), "{secret} is in {place}: {}", around(said, &secret));
        }
        assert!(answers.iter().all(|answer| !answer.body.to_string().contains(&secret)), "{answers:?}");
    }
    for private in ["promptsecret4", "textsecret5", "titlesecret6", "stopsecret7", "metasecret8", "querysecret9"] {
        for (place, said) in [("the log", &log), ("the metrics", &metrics)] {
            assert!(!said.contains(private), "{private} is in {place}: {}", around(said, private));
        }
    }
}

fn around<'a>(said: &'a str, secret: &str) -> &'a str {
    said.lines().find(|line| line.contains(secret)).unwrap_or_default()
}

#[test]
fn a_place_that_cannot_be_opened_is_named_without_its_password() {
    let data = tempfile::tempdir().unwrap();
    for (variable, place) in [
        ("RETRO_DATABASE_URL", "postgres://retro:hunter2secret@127.0.0.1:9/db"),
        ("RETRO_DATABASE_URL", "postgres://retro:hunter2secret@127.0.0.1:port/db"),
        ("RETRO_DATABASE_URL", "sqlite://nowhere/at/all.sqlite?password=hunter2secret"),
        ("RETRO_LANCE_URI", "s3://bucket/db?secret_access_key=hunter2secret"),
        ("RETRO_LANCE_URI", "ftp://retro:hunter2secret@127.0.0.1:9/db"),
        ("RETRO_OTLP_ENDPOINT", "ftp://retro:hunter2secret@127.0.0.1:9"),
        ("RETRO_OTLP_ENDPOINT", "http://retro:hunter2secret@127.0.0.1:9"),
    ] {
        let mut command = command("serve", data.path());
        let output = command.env(variable, place).args(["--listen=127.0.0.1:0", "--log-level=trace"]).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!output.status.success(), "{variable} {place}: {said}");
        assert!(!said.contains("hunter2secret"), "{variable} {place}: {said}");
    }
}
