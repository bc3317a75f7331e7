//! The playground comes from the server alone. `tests/pages` drives it in a browser.

use std::collections::BTreeSet;

use reqwest::Url;

use crate::support::{get, root, shared};

#[tokio::test]
async fn the_page_and_all_that_it_loads_is_served() {
    let client = reqwest::Client::new();
    let (mut waiting, mut seen) = (vec![Url::parse(&format!("{}/", shared())).unwrap()], BTreeSet::new());
    while let Some(url) = waiting.pop() {
        if !seen.insert(url.clone()) {
            continue;
        }
        assert!(url.as_str().starts_with(shared()), "the page loads {url}");
        let file = client.get(url.clone()).send().await.unwrap();
        assert_eq!(file.status(), 200, "{url}");
        let header = |name: &str| file.headers()[name].to_str().unwrap().to_owned();
        let kind = match url.path().rsplit_once('.').map(|(_, ending)| ending) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(header("content-type"), kind, "{url}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        let again = client.get(url.clone()).header("if-none-match", header("etag")).send().await.unwrap();
        assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, header("etag").as_str()));
        let text = file.text().await.unwrap();
        let references = text.split(['"', '\'']).filter(|part| [".js", ".css", ".svg"].iter().any(|end| part.ends_with(end)));
        waiting.extend(references.map(|reference| url.join(reference).unwrap()));
    }
    let folder = std::fs::read_dir(root().join("src/http/pages/playground")).unwrap().count();
    assert_eq!(seen.len(), folder, "every file is reached: {seen:?}");
    for path in ["/playground/", "/playground/x.js", "/playground/..%2F..%2Fmod.rs", "/playground/main.js/x"] {
        assert_eq!(get(shared(), path).await.code(), "not_found", "{path}");
    }
}
