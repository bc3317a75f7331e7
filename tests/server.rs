//! What the server says of itself, and what holds for every route.

use serde_json::json;

use crate::support::{Server, ask, get, post, post_raw, shared};

#[tokio::test]
async fn a_started_server_is_alive_and_ready() {
    let url = shared();
    assert_eq!(get(url, "/livez").await.ok(), json!({"status": "ok"}));
    assert_eq!(get(url, "/readyz").await.ok(), json!({"status": "ready"}));
}

#[tokio::test]
async fn info_tells_what_runs() {
    let info = get(shared(), "/v1/info").await.ok();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["model"]["name"], "retro-nano");
    assert!(info["model"]["parameters"].as_u64().unwrap() > 1_000_000);
    assert_eq!(info["model"]["variant"], "int8");
    assert_eq!((&info["model"]["data_type"], &info["model"]["weights"]), (&json!("float32"), &json!("int8")));
    assert_eq!(info["model"]["files"].as_object().unwrap().len(), 5);
    assert_eq!(info["model"]["files"]["tokenizer.json"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(info["embedder"]["dimension"], 384);
    assert_eq!(info["runtime"]["provider"], "CPUExecutionProvider");
    assert_eq!(info["limits"]["max_documents"], 1000);
    assert!(info["collections"].is_array());
}

#[tokio::test]
async fn an_unknown_route_is_a_problem() {
    let answer = get(shared(), "/v1/nothing").await;
    assert_eq!((answer.status, answer.code()), (404, "not_found"));
    assert!(answer.body["detail"].as_str().unwrap().contains("/v1/nothing"));
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    for (path, allowed) in
        [("/v1/complete", "POST"), ("/v1/documents", "GET,HEAD,POST"), ("/livez", "GET,HEAD"), ("/docs/", "GET,HEAD")]
    {
        let answer = ask(reqwest::Client::new().patch(format!("{}{path}", shared()))).await;
        assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"), "{path}");
        let mut methods: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        methods.sort_unstable();
        assert_eq!(methods.join(","), allowed, "{path}");
    }
}

#[tokio::test]
async fn a_sane_request_id_is_returned_and_another_is_replaced() {
    let client = reqwest::Client::new();
    let asked = |id: &str| ask(client.get(format!("{}/nowhere", shared())).header("x-request-id", id));
    assert_eq!(asked("trace-7/b").await.header("x-request-id"), "trace-7/b");
    for insane in ["", "with space", &"x".repeat(129)] {
        let answer = asked(insane).await;
        assert_ne!(answer.header("x-request-id"), insane);
        assert_eq!(answer.header("x-request-id").len(), 32);
    }
    assert_eq!(get(shared(), "/livez").await.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn every_answer_says_how_little_a_browser_may_make_of_it() {
    let nothing = "default-src 'none'; frame-ancestors 'none'";
    for (path, begin) in [
        ("/livez", nothing),
        ("/v1/info", nothing),
        ("/v1/nothing", nothing),
        ("/openapi.json", nothing),
        ("/", "default-src 'none'; script-src 'self'; style-src 'self';"),
        ("/docs/", "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"),
    ] {
        let answer = get(shared(), path).await;
        assert!(answer.header("content-security-policy").starts_with(begin), "{path}: {answer:?}");
        assert_eq!(
            (answer.header("x-content-type-options"), answer.header("referrer-policy")),
            ("nosniff", "no-referrer"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_swagger_page_comes_from_the_server_alone() {
    let client = reqwest::Client::new();
    let page = client.get(format!("{}/docs/", shared())).send().await.unwrap().text().await.unwrap();
    for reference in
        page.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css") || part.ends_with(".png"))
    {
        let url = reqwest::Url::parse(&format!("{}/docs/", shared())).unwrap().join(reference).unwrap();
        assert!(url.as_str().starts_with(shared()), "the page loads {url}");
        let file = client.get(url.clone()).send().await.unwrap();
        assert_eq!(file.status(), 200, "{url}");
    }
    let start = client.get(format!("{}/docs/swagger-initializer.js", shared())).send().await.unwrap().text().await.unwrap();
    assert!(start.contains("/openapi.json"), "{start}");
    assert!(!start.contains("https://"), "{start}");
    let missing = get(shared(), "/docs/no-such-file.js").await;
    assert_eq!((missing.status, missing.code()), (404, "not_found"));
}

#[tokio::test]
async fn cors_is_off_by_default_and_answers_the_origins_of_the_setting() {
    let preflight = |url: String| {
        let client = reqwest::Client::new();
        client
            .request(reqwest::Method::OPTIONS, format!("{url}/v1/complete"))
            .header("origin", "https://example.org")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .send()
    };
    let off = preflight(shared().to_owned()).await.unwrap();
    assert!(!off.headers().contains_key("access-control-allow-origin"));

    let server = Server::start(&["--cors-origins=https://other.example,https://example.org"]).await;
    let on = preflight(server.url.clone()).await.unwrap();
    assert_eq!(on.status(), 200);
    assert_eq!(on.headers()["access-control-allow-origin"], "https://example.org");
    let allowed = on.headers()["access-control-allow-headers"].to_str().unwrap();
    assert!(["authorization", "content-type"].iter().all(|&name| allowed.split(',').any(|header| header == name)), "{allowed}");
    let error = ask(reqwest::Client::new()
        .post(format!("{}/v1/complete", server.url))
        .header("origin", "https://example.org")
        .json(&json!({"prompt": ""})))
    .await;
    assert_eq!(error.header("access-control-allow-origin"), "https://example.org", "an error can be read by the page too");
    let stranger =
        ask(reqwest::Client::new().get(format!("{}/livez", server.url)).header("origin", "https://stranger.example")).await;
    assert!(!stranger.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_limits_are_settings() {
    let server = Server::start(&["--max-body-bytes=2000", "--max-document-bytes=100", "--max-documents=2"]).await;
    let url = &server.url;
    let answer = post(url, "/v1/documents", json!({"text": "x".repeat(3000)})).await;
    assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
    let answer = post(url, "/v1/documents", json!({"text": "x".repeat(101)})).await;
    assert_eq!((answer.status, answer.code(), answer.field()), (413, "document_too_large", "text"));
    let three = json!({"documents": [{"text": "a"}, {"text": "b"}, {"text": "c"}]});
    let answer = post(url, "/v1/documents", three).await;
    assert_eq!((answer.status, answer.code(), answer.field()), (422, "invalid_value", "documents"));
    let lines = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n{\"text\": \"c\"}\n";
    let answer = post_raw(url, "/v1/documents", "application/x-ndjson", lines).await;
    assert_eq!((answer.status, answer.code()), (422, "invalid_value"));
    assert_eq!(get(url, "/v1/documents").await.ok()["data"], json!([]));
}
