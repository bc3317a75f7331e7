//! Every answer is held to the API's description: a route, a status, a content type or a field that it does not have is never sent. What was
//! seen is written down where `RETRO_SEEN` names a folder, so that after all tests `contract.rs` can look whether everything described was.

mod schema;
mod seen;

use std::sync::LazyLock;

use serde_json::Value;

pub use seen::{described, note_code, seen};

use schema::Schemas;
use seen::note;

/// The description as the code says it.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(retro_server::http::document()).unwrap());

/// What was asked, as far as the answer depends on it.
pub struct Sent {
    method: String,
    path: String,
    parameters: Vec<String>,
    /// Where it is JSON.
    body: Option<Value>,
}

impl Sent {
    pub fn of(request: &reqwest::Request) -> Self {
        let body = request.body().and_then(reqwest::Body::as_bytes).and_then(|body| serde_json::from_slice(body).ok());
        let parameters = request.url().query_pairs().map(|(name, _)| name.into_owned()).collect();
        Self { method: request.method().as_str().to_lowercase(), path: request.url().path().to_owned(), parameters, body }
    }

    /// Path and operation of the description; a path without braces comes first.
    fn operation(&self) -> Option<(&'static str, &'static Value)> {
        let method = if self.method == "head" { "get" } else { &self.method };
        let mut found: Vec<_> = self.paths().filter_map(|(path, item)| Some((path, item.get(method)?))).collect();
        found.sort_by_key(|(path, _)| path.matches('{').count());
        found.first().copied()
    }

    fn paths(&self) -> impl Iterator<Item = (&'static str, &'static Value)> {
        let all = DOCUMENT["paths"].as_object().unwrap().iter();
        all.filter(|(pattern, _)| fits(pattern, &self.path)).map(|(path, item)| (path.as_str(), item))
    }

    /// # Panics
    /// The description does not have this answer.
    pub fn check(&self, status: u16, kind: Option<&str>, text: &str) {
        let Some((path, operation)) = self.operation() else { return self.check_undescribed(status) };
        let name = format!("{} {path}", self.method);
        let response = &operation["responses"][status.to_string()];
        assert!(response.is_object(), "{name} is not described to answer {status}: {text}");
        note(format!("answer {name} {status}"));
        if status < 300 {
            self.note_request(&name, operation);
        }
        if self.method == "head" {
            return;
        }
        let Some(content) = response["content"].as_object() else {
            assert_eq!((kind, text), (None, ""), "{name} {status} is described to have no body");
            return;
        };
        let kind = kind.unwrap_or_else(|| panic!("{name} {status} has no content type"));
        let kind = kind.split(';').next().unwrap().trim();
        let media = content.get(kind).unwrap_or_else(|| panic!("{name} {status} is not described to be {kind}"));
        if kind.ends_with("json") {
            let body = serde_json::from_str(text).unwrap_or_else(|_| panic!("{name} {status} is no JSON: {text}"));
            accept(&format!("{name} {status}"), &media["schema"], &body);
        } else if kind == "text/event-stream" {
            text.split("\n\n").filter(|event| !event.trim().is_empty()).for_each(|event| self.check_event(event));
        }
    }

    /// An event of a stream, whole.
    ///
    /// # Panics
    /// The description does not have it.
    pub fn check_event(&self, event: &str) {
        let lines = |name: &str| event.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim).collect::<Vec<_>>();
        let data = lines("data:").concat();
        // Comments keep a connection open, and OpenAI's streams have an end that is no JSON.
        if data.is_empty() || data == "[DONE]" {
            return;
        }
        let (path, operation) = self.operation().expect("a stream of an operation");
        let name = lines("event:").first().copied().unwrap_or("message").to_owned();
        let schema = &operation["responses"]["200"]["content"]["text/event-stream"]["x-events"][&name];
        let place = format!("{} {path} event {name}", self.method);
        assert!(schema.is_object(), "{place} is not described: {event}");
        note(format!("event {} {path} {name}", self.method));
        accept(&place, schema, &serde_json::from_str(&data).expect("events are JSON"));
    }

    /// Pages are not described, nor is what is answered where there is nothing.
    fn check_undescribed(&self, status: u16) {
        let is_page = self.path == "/" || ["/docs", "/playground/"].iter().any(|start| self.path.starts_with(start));
        let is_preflight = self.method == "options" && status == 200;
        // Whoever is refused before a route is asked hears nothing of routes.
        let nothing = if self.paths().next().is_some() { 405 } else { 404 };
        let is_expected = [nothing, 401, 403, 429, 503].contains(&status);
        assert!(is_page || is_preflight || is_expected, "{} {} is not described, and answers {status}", self.method, self.path);
    }

    fn note_request(&self, name: &str, operation: &Value) {
        for parameter in &self.parameters {
            note(format!("parameter {name} {parameter}"));
        }
        if let Some(body) = &self.body {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            Schemas::of(&DOCUMENT).fields_in(name, schema, body, &mut |field| note(format!("sent {field}")));
        }
    }
}

/// Notes the fields of a value that the schema describes, whole.
fn accept(place: &str, schema: &Value, value: &Value) {
    let schemas = Schemas::of(&DOCUMENT);
    if let Err(wrong) = schemas.check(schema, value) {
        panic!("{place} is not as described: {wrong} in {value}");
    }
    schemas.fields_in(place, schema, value, &mut |field| note(format!("received {field}")));
}

fn fits(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(expected), Some(part)) if expected == part || expected.starts_with('{') && !part.is_empty() => {}
            _ => return false,
        }
    }
}
