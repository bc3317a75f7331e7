//! API keys: how they are made, what they allow, and what is said of them.

mod limits;

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Process, ask, eventually, get, ingest, retro};

/// What each operation of the description needs. A route that is added has to be added here: nothing else says twice what it is to need.
const NEEDS: &[(&str, &str)] = &[
    ("GET /livez", "open"),
    ("GET /openapi.json", "open"),
    ("GET /readyz", "open"),
    ("GET /metrics", "metrics"),
    ("POST /v1/complete", "complete"),
    ("POST /v1/completions", "complete"),
    ("POST /v1/embeddings", "complete"),
    ("GET /v1/info", "complete"),
    ("GET /v1/models", "complete"),
    ("GET /v1/models/{id}", "complete"),
    ("POST /v1/retrieve", "complete"),
    ("POST /v1/score", "complete"),
    ("GET /v1/collections", "ingest"),
    ("GET /v1/collections/{name}", "ingest"),
    ("GET /v1/documents", "ingest"),
    ("POST /v1/documents", "ingest"),
    ("POST /v1/documents/delete", "ingest"),
    ("DELETE /v1/documents/{id}", "ingest"),
    ("GET /v1/documents/{id}", "ingest"),
    ("PUT /v1/documents/{id}", "ingest"),
    ("GET /v1/documents/{id}/chunks", "ingest"),
    ("GET /v1/tasks", "ingest"),
    ("GET /v1/tasks/{id}", "ingest"),
    ("POST /v1/tasks/{id}/cancel", "ingest"),
    ("GET /v1/tasks/{id}/events", "ingest"),
    ("POST /v1/collections", "admin"),
    ("DELETE /v1/collections/{name}", "admin"),
    ("PATCH /v1/collections/{name}", "admin"),
    ("POST /v1/collections/{name}/index", "admin"),
];

/// Runs `retro keys`, which must succeed, and gives its output.
fn keys(data: &Path, arguments: &[&str]) -> String {
    let output = retro("keys", data, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A new key.
fn create(data: &Path, name: &str, scopes: &[&str]) -> String {
    let scopes = scopes.iter().map(|scope| format!("--scope={scope}"));
    let arguments: Vec<_> = ["create".to_owned(), name.to_owned()].into_iter().chain(scopes).collect();
    keys(data, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).trim().to_owned()
}

fn listed(data: &Path) -> Vec<Value> {
    serde_json::from_str(&keys(data, &["list", "--json"])).unwrap()
}

/// The id of the key that begins as this one does.
fn id_of(data: &Path, key: &str) -> String {
    let all = listed(data);
    let found = all.iter().find(|listed| key.starts_with(listed["prefix"].as_str().unwrap())).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

async fn asked(method: &str, url: &str, path: &str, key: Option<&str>) -> Answer {
    let request = reqwest::Client::new().request(method.parse::<Method>().unwrap(), format!("{url}{path}"));
    ask(match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    })
    .await
}

fn check_unauthorized(answer: &Answer) {
    let code = if answer.is_for_openai() { "invalid_api_key" } else { "unauthorized" };
    assert_eq!((answer.status, answer.code()), (401, code));
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn a_server_is_open_until_the_first_key_and_never_again() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Process::serve(data, &[]);
    let url = server.url.as_str();
    assert_eq!(get(url, "/v1/info").await.status, 200);
    assert_eq!(asked("GET", url, "/v1/info", Some("sk-anything")).await.status, 200, "an open server takes whatever it is sent");

    let key = create(data, "web", &["complete"]);
    check_unauthorized(&get(url, "/v1/info").await);
    assert_eq!(asked("GET", url, "/v1/info", Some(&key)).await.status, 200);
    for path in ["/livez", "/readyz", "/", "/playground/main.js", "/docs", "/docs/", "/docs/swagger-ui.css", "/openapi.json"] {
        assert_eq!(get(url, path).await.status, 200, "{path} is open");
    }
    eventually("the use of the key", || async { listed(data)[0]["last_used_at"].is_string().then_some(()) }).await;

    keys(data, &["revoke", &id_of(data, &key)]);
    check_unauthorized(&asked("GET", url, "/v1/info", Some(&key)).await);
    check_unauthorized(&get(url, "/v1/info").await);
    assert_eq!(listed(data)[0]["state"], "revoked");
}

/// The keys are gone with the catalogue: a server that began another would let everybody in.
#[tokio::test]
async fn a_server_whose_catalogue_is_lost_does_not_start() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    ingest(&server.url, json!([{"id": "a", "collection": "kept", "text": "Only for those who have a key."}])).await;
    server.signal(libc::SIGTERM);
    server.wait();
    create(data.path(), "web", &["admin"]);
    let (file, aside) = (data.path().join("catalogue.sqlite"), data.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    for empty in [None, Some("")] {
        if let Some(nothing) = empty {
            std::fs::write(&file, nothing).unwrap();
        }
        let refused = retro("serve", data.path(), &["--listen=127.0.0.1:0"]);
        let reason = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(1), b"".as_slice()), "{reason}");
        assert!(reason.contains("collections (kept)") && reason.contains("restore a backup"), "{reason}");
        assert_eq!(std::fs::metadata(&file).map_or(0, |file| file.len()), 0, "nothing is in its place");
        assert!(!data.path().join("catalogue.sqlite-wal").exists());
    }
    std::fs::rename(&aside, &file).unwrap();
    let server = Process::serve(data.path(), &[]);
    assert_eq!(get(&server.url, "/v1/documents/a").await.status, 401);
}

#[tokio::test]
async fn each_scope_opens_its_own_routes() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = Process::serve(data, &[]);
    let url = server.url.as_str();
    let holders = [vec!["complete"], vec!["ingest"], vec!["complete", "ingest"], vec!["metrics"], vec!["admin"]];
    let holders = holders.map(|scopes| (create(data, &scopes.join("-and-"), &scopes), scopes));

    let document = get(url, "/openapi.json").await.ok();
    let mut seen = BTreeSet::new();
    for (pattern, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let (method, path) = (method.to_uppercase(), pattern.replace("{id}", "nobody").replace("{name}", "nothing"));
            let name = format!("{method} {pattern}");
            let Some(scope) = operation["security"][0]["key"][0].as_str() else {
                assert_ne!(asked(&method, url, &path, None).await.status, 401, "{name}");
                seen.insert((name, "open"));
                continue;
            };
            check_unauthorized(&asked(&method, url, &path, None).await);
            for (key, scopes) in &holders {
                let answer = asked(&method, url, &path, Some(key)).await;
                if scopes.contains(&scope) || scopes.contains(&"admin") {
                    assert!(![401, 403].contains(&answer.status), "{name} with {scopes:?}: {answer:?}");
                } else {
                    assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{name} with {scopes:?}");
                    assert!(answer.detail().contains(&format!("the scope `{scope}`")), "{answer:?}");
                }
            }
            seen.insert((name, scope));
        }
    }
    let expected: BTreeSet<_> = NEEDS.iter().map(|&(name, scope)| (name.to_owned(), scope)).collect();
    assert_eq!(seen, expected, "each operation of the description has its row");

    let (complete, _) = &holders[0];
    let body = json!({"prompt": "Tea is", "max_tokens": 4});
    let answer = ask(reqwest::Client::new().post(format!("{url}/v1/complete")).bearer_auth(complete).json(&body)).await.ok();
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    // What is not a route tells nobody without a key, and everybody with one.
    check_unauthorized(&get(url, "/v1/nothing").await);
    assert_eq!(asked("GET", url, "/v1/nothing", Some(complete)).await.code(), "not_found");
    let head = reqwest::Client::new().head(format!("{url}/v1/info"));
    assert_eq!(head.try_clone().unwrap().send().await.unwrap().status(), 401);
    assert_eq!(head.bearer_auth(complete).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_logged_and_not_told() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let good = create(data, "good-one", &["complete"]);
    let revoked = create(data, "revoked-one", &["complete"]);
    let expired = keys(data, &["create", "expired-one", "--scope=complete", "--expires=1s"]).trim().to_owned();
    let unknown = format!("retro_{}", "0123456789abcdef".repeat(4));
    keys(data, &["revoke", &id_of(data, &revoked)]);
    let server =
        Process::serve(data, &["--log-level=info,retro_server=trace,hyper=trace,axum=trace,tower_http=trace,sqlx=trace"]);
    let url = server.url.as_str();
    let with = |values: Vec<String>| {
        let request = reqwest::Client::new().get(format!("{url}/v1/info"));
        ask(values.into_iter().fold(request, |request, value| request.header("authorization", value)))
    };
    assert_eq!(with(vec![format!("Bearer {good}")]).await.status, 200);
    assert_eq!(with(vec![format!("bearer {good}")]).await.status, 200);

    let expiry = || async {
        let answer = with(vec![format!("Bearer {expired}")]).await;
        (answer.status == 401).then_some(answer)
    };
    let mut answers = vec![eventually("the end of a key", expiry).await];
    for values in [
        vec![],
        vec![String::new()],
        vec!["Bearer".to_owned()],
        vec!["Bearer ".to_owned()],
        vec![good.clone()],
        vec![format!("Basic {good}")],
        vec![format!("Bearer {good}0")],
        vec![format!("Bearer {}", &good[..69])],
        vec![format!("Bearer {}", good.to_uppercase())],
        vec![format!("Bearer {good}"), format!("Bearer {good}")],
        vec![format!("Bearer {unknown}")],
        vec![format!("Bearer {revoked}")],
    ] {
        answers.push(with(values).await);
    }
    for answer in &mut answers {
        check_unauthorized(answer);
        answer.body["request_id"] = Value::Null;
    }
    assert!(answers.iter().all(|answer| answer.body == answers[0].body), "{answers:?}");

    let ids: Vec<_> = [&good, &revoked, &expired].map(|key| id_of(data, key)).into();
    let log = server.log();
    for reason in ["Missing", "Malformed", "Unknown", "Expired", "Revoked"] {
        assert!(log.contains(&format!("reason={reason}")), "{reason} is not in {log}");
    }
    for told in ids.iter().map(String::as_str).chain(["good-one", "revoked-one", "expired-one"]) {
        assert!(log.contains(told), "{told} is not in {log}");
    }
    for key in [good, revoked, expired, unknown] {
        assert!(!log.to_lowercase().contains(&key[14..]), "a key is in the log");
    }
}

#[tokio::test]
async fn strangers_are_not_served_by_accident() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    for listen in ["--listen=0.0.0.0:0", "--listen=[::]:0"] {
        let output = retro("serve", data, &[listen]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
        assert!(said.contains("retro keys create") && said.contains("--allow-anonymous"), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
    let open = Process::serve(data, &["--listen=0.0.0.0:0", "--allow-anonymous"]);
    assert_eq!(get(&open.url, "/v1/info").await.status, 200);
    let key = create(data, "first", &["admin"]);
    check_unauthorized(&get(&open.url, "/v1/info").await);
    drop(open);

    let guarded = Process::serve(data, &["--listen=0.0.0.0:0"]);
    check_unauthorized(&get(&guarded.url, "/v1/info").await);
    assert_eq!(asked("GET", &guarded.url, "/v1/info", Some(&key)).await.status, 200);
}

#[test]
fn keys_are_shown_once_and_listed_without_their_secret() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    assert!(keys(data, &["list"]).contains("retro keys create"));
    assert_eq!(listed(data), Vec::<Value>::new());
    let output = retro("keys", data, &["create", "web", "--scope=ingest", "--scope=complete", "--expires=90d"]);
    let (key, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let key = key.trim();
    assert!(key.len() == 70 && key.starts_with("retro_"), "{said}");
    assert!(said.contains("web") && said.contains("complete ingest") && !said.contains(&key[14..]), "{said}");

    let one = &listed(data)[0];
    assert_eq!((&one["name"], &one["scopes"], &one["state"]), (&json!("web"), &json!(["complete", "ingest"]), &json!("active")));
    assert_eq!((&one["prefix"], &one["last_used_at"], &one["revoked_at"]), (&json!(key[..14]), &Value::Null, &Value::Null));
    assert!(one["expires_at"].as_str() > one["created_at"].as_str(), "{one}");
    let table = keys(data, &["list"]);
    assert!(table.contains("web") && table.contains(&key[..14]) && !table.contains(&key[14..]), "{table}");
    let id = one["id"].as_str().unwrap();
    assert!(keys(data, &["revoke", id]).contains(id));
    assert!(keys(data, &["revoke", id]).contains(id), "twice is no error");
    assert!(keys(data, &["list"]).contains("revoked"));

    for (arguments, expected) in [
        (&["create", "web"][..], "--scope"),
        (&["create", "web", "--scope=all"], "`admin`"),
        (&["create", "a b", "--scope=admin"], "`name`"),
        (&["create", "web", "--scope=admin", "--expires=90"], "s, m, h, d or w"),
        (&["create", "web", "--scope=admin", "--expires=9999999999d"], "too long"),
        (&["revoke", "web"], "<ID>"),
        (&["revoke", "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867"], "retro keys list"),
    ] {
        let output = retro("keys", data, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty() && said.contains(expected), "{arguments:?}: {said}");
    }
    assert_eq!(listed(data).len(), 1);
}

#[tokio::test]
async fn a_server_without_keys_is_not_for_pages_of_others() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &["--cors-origins=http://friend.example"]);
    let url = server.url.as_str();
    let form = || reqwest::multipart::Form::new().part("files", reqwest::multipart::Part::text("Tea.").file_name("tea.txt"));
    let sent = |name: &'static str, value: String| {
        ask(reqwest::Client::new().post(format!("{url}/v1/documents")).header(name, value).multipart(form()))
    };
    for (name, value) in
        [("origin", "http://evil.example".to_owned()), ("origin", "null".to_owned()), ("host", "evil.example".to_owned())]
    {
        let answer = sent(name, value.clone()).await;
        assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{name}: {value}");
        assert!(answer.detail().contains(&value), "{answer:?}");
    }
    assert_eq!(get(url, "/v1/documents").await.ok()["data"], json!([]), "nothing was taken in");
    for origin in [url, "http://friend.example"] {
        assert_eq!(sent("origin", origin.to_owned()).await.status, 202, "{origin}");
    }
    let key = create(data.path(), "web", &["ingest"]);
    let request =
        reqwest::Client::new().get(format!("{url}/v1/documents")).bearer_auth(key).header("origin", "http://evil.example");
    assert_eq!(ask(request).await.status, 200, "a key is not lent to pages");
}
