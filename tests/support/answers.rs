use serde_json::{Value, json};

use super::contract::{Sent, note_code};

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    async fn of(response: reqwest::Response, sent: &Sent) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let is_openai = is_openai(response.url().path());
        let text = response.text().await.unwrap();
        sent.check(status, headers.get("content-type").map(|kind| kind.to_str().unwrap()), &text);
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        let answer = Self { status, headers, body };
        match status {
            ..400 => return answer,
            _ if is_openai => answer.check_openai_error(),
            _ => answer.check_problem(),
        }
        note_code(&answer.body);
        answer
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name} in {self:?}")).to_str().unwrap()
    }

    pub fn code(&self) -> &str {
        let code = self.body["error"].get("code").unwrap_or(&self.body["code"]);
        code.as_str().unwrap_or_else(|| panic!("no code in {self:?}"))
    }

    /// Whether it is an error in the form of the routes for OpenAI's clients.
    pub fn is_for_openai(&self) -> bool {
        self.body["error"].is_object()
    }

    pub fn detail(&self) -> &str {
        let detail = self.body["error"].get("message").unwrap_or(&self.body["detail"]);
        detail.as_str().unwrap_or_else(|| panic!("no detail in {self:?}"))
    }

    pub fn field(&self) -> &str {
        let field = self.body["error"].get("param").unwrap_or(&self.body["field"]);
        field.as_str().unwrap_or_else(|| panic!("no field in {self:?}"))
    }

    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.body
    }

    /// Every error of the routes for OpenAI's clients has this form.
    fn check_openai_error(&self) {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        let error = self.body["error"].as_object().unwrap_or_else(|| panic!("no error in {self:?}"));
        assert_eq!(self.body.as_object().unwrap().len(), 1, "{self:?}");
        let mut keys: Vec<&str> = error.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["code", "message", "param", "type"], "{self:?}");
        let kind = match self.status {
            429 => "rate_limit_exceeded",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        assert_eq!(error["type"], kind, "{self:?}");
        assert!(error["param"].is_null() || error["param"].is_string(), "{self:?}");
        for text in ["message", "code"] {
            assert!(error[text].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        }
        assert_ne!(self.status, 422, "OpenAI has no such status: {self:?}");
        self.shows_no_inside();
    }

    /// Every other error has this form, whatever it is about.
    fn check_problem(&self) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status, "{self:?}");
        assert_eq!(self.body["request_id"], self.header("x-request-id"), "{self:?}");
        assert_eq!(self.body["type"], format!("urn:retro-server:error:{}", self.code()));
        for text in ["title", "detail"] {
            assert!(self.body[text].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        }
        self.shows_no_inside();
    }

    fn shows_no_inside(&self) {
        for text in [".cargo/", "panicked at", "Some(", "Error {"] {
            assert!(!self.body.to_string().contains(text), "an inside shows: {self:?}");
        }
    }
}

/// Whether a path is one of the routes for OpenAI's clients.
fn is_openai(path: &str) -> bool {
    path == "/v1/completions" || path == "/v1/embeddings" || path == "/v1/models" || path.starts_with("/v1/models/")
}

pub async fn ask(request: reqwest::RequestBuilder) -> Answer {
    let (response, sent) = send(request).await;
    Answer::of(response, &sent).await
}

async fn send(request: reqwest::RequestBuilder) -> (reqwest::Response, Sent) {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let sent = Sent::of(&request);
    (client.execute(request).await.unwrap(), sent)
}

pub async fn get(url: &str, path: &str) -> Answer {
    ask(reqwest::Client::new().get(format!("{url}{path}"))).await
}

pub async fn delete(url: &str, path: &str) -> Answer {
    ask(reqwest::Client::new().delete(format!("{url}{path}"))).await
}

pub async fn post(url: &str, path: &str, body: Value) -> Answer {
    ask(reqwest::Client::new().post(format!("{url}{path}")).json(&body)).await
}

pub async fn put(url: &str, path: &str, body: Value) -> Answer {
    ask(reqwest::Client::new().put(format!("{url}{path}")).json(&body)).await
}

pub async fn patch(url: &str, path: &str, body: Value) -> Answer {
    ask(reqwest::Client::new().patch(format!("{url}{path}")).json(&body)).await
}

pub async fn post_raw(url: &str, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
    ask(reqwest::Client::new().post(format!("{url}{path}")).header("content-type", kind).body(body)).await
}

/// Takes documents in and waits till they are ready.
pub async fn ingest(url: &str, documents: Value) -> Value {
    let answer = post(url, "/v1/documents?wait=true", json!({"documents": documents})).await.ok();
    assert_eq!(answer["task"]["status"], "succeeded", "{answer}");
    answer
}

/// A task at its end.
pub async fn task(url: &str, id: &str) -> Value {
    super::eventually("the end of a task", || async {
        let task = get(url, &format!("/v1/tasks/{id}")).await.ok();
        let ended = matches!(task["status"].as_str(), Some("succeeded" | "failed" | "canceled"));
        ended.then_some(task)
    })
    .await
}

/// Server-sent events as they come.
pub struct Events {
    response: reqwest::Response,
    sent: Sent,
    text: String,
}

/// Begins the stream of a completion.
pub async fn sse(url: &str, body: Value) -> Events {
    events_of(reqwest::Client::new().post(format!("{url}/v1/complete")).json(&body)).await
}

/// Begins a stream, which must be answered with 200.
pub async fn events_of(request: reqwest::RequestBuilder) -> Events {
    let (response, sent) = send(request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    sent.check(200, Some("text/event-stream"), "");
    Events { response, sent, text: String::new() }
}

impl Events {
    /// Name and data of the next event; none at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let event = self.next_text().await?;
            let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let (Some(name), Some(data)) = (line("event:"), line("data:")) {
                return Some((name.to_owned(), serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// The next event as it was sent.
    pub async fn next_text(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                self.sent.check_event(&event);
                return Some(event);
            }
            self.text.push_str(std::str::from_utf8(&self.response.chunk().await.ok().flatten()?).unwrap());
        }
    }

    pub async fn all(mut self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

/// A completion of so many tokens that it is still running when a test looks, whatever the model has learnt: not every text goes on
/// that long before the model ends it.
pub async fn long_completion() -> Value {
    static FOUND: tokio::sync::OnceCell<Value> = tokio::sync::OnceCell::const_new();
    let find = || async {
        for prompt in
            ["la la la la la la la la la la la la", "1 2 1 2 1 2 1 2 1 2 1 2 1 2", "Once", "The list of the", "a, b, c, d, e,"]
        {
            let body = json!({"prompt": prompt, "max_tokens": 450, "retrieval": {"enabled": false}});
            let answer = post(super::shared(), "/v1/complete", body.clone()).await.ok();
            if answer["choices"][0]["finish_reason"] == "length" {
                return body;
            }
        }
        panic!("the model ends every text early");
    };
    FOUND.get_or_init(find).await.clone()
}

/// The same as a stream.
pub async fn long_stream() -> Value {
    let mut body = long_completion().await;
    body["stream"] = json!(true);
    body
}
