//! Bodies, query strings and path parameters: read whole, parsed once, and refused with the field and the reason.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::aside::aside_if_long;
use super::problem::{ApiError, Code};
use crate::app::App;

/// Most values of a JSON text, for what a value takes in memory: up to thirty times its two or three bytes of text.
const MOST_VALUES: usize = 1 << 20;

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<App>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::new(Code::UnsupportedMediaType, "send content-type: application/json"));
        }
        let body = read(request, app).await?;
        aside_if_long(body.len(), move || parse(&body)).await?.map(Self)
    }
}

/// A query string; unknown parameters are refused.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Self(query)).map_err(|rejection| {
            let text = rejection.body_text();
            ApiError::new(Code::InvalidQuery, text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text))
        })
    }
}

/// The `id` in a path, or what stands in its place: the last part of a path that is a route of its own.
pub struct IdPath(pub String);

/// The `name` in a path.
pub struct NamePath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        path_parameter(parts, state, "id").await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        path_parameter(parts, state, "name").await.map(Self)
    }
}

/// The one parameter of a path; `field` names it in errors.
async fn path_parameter<S: Send + Sync>(parts: &mut Parts, state: &S, field: &str) -> Result<String, ApiError> {
    let last = parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    match RawPathParams::from_request_parts(parts, state).await {
        Ok(parameters) => Ok(parameters.iter().next().map_or(last, |(_, value)| value.to_owned())),
        Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => {
            Err(ApiError::new(Code::InvalidUtf8, format!("the {field} in the path is not UTF-8")).with_field(field))
        }
        Err(rejection) => Err(ApiError::server(Code::Internal, rejection)),
    }
}

/// Whether the request says that its body is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers)
        .is_some_and(|kind| kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")))
}

/// The content type without its parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The whole body, within the setting `max_body_bytes`.
///
/// # Errors
/// The body is too large or does not arrive whole.
pub async fn read(request: Request, app: &Arc<App>) -> Result<Bytes, ApiError> {
    let most = app.settings.max_body_bytes;
    let mut body = request.into_body();
    // Joined as it comes: a list of frames of a byte each would be forty times as large.
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|error| ApiError::unread(&error))?.into_data() else { continue };
        if piece.len() > most - whole.len() {
            let detail = format!("the body has more than {most} bytes (setting max_body_bytes)");
            return Err(ApiError::new(Code::BodyTooLarge, detail));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Bytes::from(whole))
}

/// A value from JSON text.
///
/// # Errors
/// The text is not UTF-8, not JSON, has too many values, or is not of this type; the error names the place or the field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(body).map_err(|e| {
        ApiError::new(Code::InvalidUtf8, format!("the body is not UTF-8: the byte at {} begins no character", e.valid_up_to()))
    })?;
    if has_too_many_values(text) {
        return Err(ApiError::new(Code::BodyTooLarge, format!("the JSON text has more than {MOST_VALUES} values")));
    }
    // serde would take a list for the fields in their order.
    let is_list = text.trim_start().starts_with('[');
    let list = || ApiError::new(Code::InvalidType, "a list stands where an object is expected");
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| match error.inner().classify() {
        // A broken text is told as that, whatever else is wrong in it.
        Category::Data => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) if is_list => list(),
            Ok(_) => wrong_data(&error.path().to_string(), error.inner()),
            Err(broken) => syntax(&broken),
        },
        _ => syntax(error.inner()),
    })?;
    deserializer.end().map_err(|e| syntax(&e))?;
    if is_list { Err(list()) } else { Ok(value) }
}

/// A container has a value more than commas, unless it is empty.
fn has_too_many_values(text: &str) -> bool {
    let (mut values, mut bytes, mut opened) = (1, text.bytes(), false);
    while let Some(byte) = bytes.next() {
        let begins = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b',' => true,
            b']' | b'}' => false,
            _ => opened,
        };
        values += usize::from(begins);
        if values > MOST_VALUES {
            return true;
        }
        opened = matches!(byte, b'[' | b'{');
        if byte == b'"' {
            skip_string(&mut bytes);
        }
    }
    false
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    // Whatever is escaped ends no string.
    while let Some(byte) = bytes.next().filter(|&byte| byte != b'"') {
        if byte == b'\\' {
            bytes.next();
        }
    }
}

fn syntax(error: &serde_json::Error) -> ApiError {
    ApiError::new(Code::InvalidJson, error.to_string())
}

/// The four ways in which JSON can miss a type, told apart by serde's own words.
fn wrong_data(path: &str, error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let inside = |name: &str| match path {
        "." => name.to_owned(),
        _ if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        _ => format!("{path}.{name}"),
    };
    if let Some((name, rest)) = text.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        let field = inside(name);
        return ApiError::new(Code::UnknownField, format!("`{field}` is unknown{rest}")).with_field(field);
    }
    if let Some((name, _)) = text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        let field = inside(name);
        return ApiError::new(Code::MissingField, format!("`{field}` is missing")).with_field(field);
    }
    let code = if text.starts_with("invalid type") || text.starts_with("data did not match") {
        Code::InvalidType
    } else {
        Code::InvalidValue
    };
    let text = if text.starts_with("data did not match") { "has the wrong type" } else { text };
    match path {
        "." => ApiError::new(code, text),
        _ => ApiError::new(code, format!("`{path}`: {text}")).with_field(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::CompletionRequest;

    #[test]
    fn what_is_wrong_is_named() {
        for (body, code, field, detail) in [
            (r#"{"prompt": "a", }"#, Code::InvalidJson, None, "line 1 column 17"),
            ("", Code::InvalidJson, None, "EOF"),
            ("{\"prompt\": \"a\"} x", Code::InvalidJson, None, "trailing characters"),
            ("[\"a\"]", Code::InvalidType, None, "list"),
            ("[1]", Code::InvalidType, None, ""),
            ("{} {}", Code::InvalidJson, None, "trailing characters"),
            ("{\"prompt\": 1, \"x\"", Code::InvalidJson, None, "EOF"),
            ("[\"a\"", Code::InvalidJson, None, "EOF"),
            ("7", Code::InvalidType, None, "integer `7`"),
            (r#"{"prompt": 3}"#, Code::InvalidType, Some("prompt"), "expected a string"),
            (
                r#"{"prompt": "a", "retrieval": {"neighbours": "two"}}"#,
                Code::InvalidType,
                Some("retrieval.neighbours"),
                "string \"two\"",
            ),
            (
                r#"{"prompt": "a", "retrieval": {"neighbors": 2}}"#,
                Code::UnknownField,
                Some("retrieval.neighbors"),
                "`neighbours`",
            ),
            (r#"{"prompt": "a", "max_token": 2}"#, Code::UnknownField, Some("max_token"), "`max_tokens`"),
            (r#"{"max_tokens": 2}"#, Code::MissingField, Some("prompt"), "missing"),
            (
                r#"{"prompt": "a", "retrieval": {"provided": [{"continuation": "b"}]}}"#,
                Code::MissingField,
                Some("retrieval.provided[0].neighbour"),
                "missing",
            ),
            (r#"{"prompt": "a", "seed": -1}"#, Code::InvalidValue, Some("seed"), "`-1`"),
            (r#"{"prompt": "a", "stop": 5}"#, Code::InvalidType, Some("stop"), "wrong type"),
            (
                r#"{"prompt": "a", "retrieval": {"alignment": "x"}}"#,
                Code::InvalidValue,
                Some("retrieval.alignment"),
                "prompt_end",
            ),
        ] {
            let error = parse::<CompletionRequest>(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, code, "{body}: {}", error.detail);
            assert_eq!(error.field.as_deref(), field, "{body}: {}", error.detail);
            assert!(error.detail.contains(detail), "{body}: {}", error.detail);
        }
        assert_eq!(parse::<CompletionRequest>(b"{\"prompt\": \"\xff\"}").unwrap_err().code, Code::InvalidUtf8);
    }

    #[test]
    fn values_are_counted_outside_of_strings() {
        let list = |value: &str, times: usize| format!("[{}]", vec![value; times].join(","));
        // With the list and the whole there are two more.
        for (body, is_refused) in [
            (list("0", MOST_VALUES - 2), false),
            (list("0", MOST_VALUES - 1), true),
            (list("[ ]", MOST_VALUES - 2), false),
            (list("[]", MOST_VALUES - 1), true),
            (list(r#" {"a":{}}"#, MOST_VALUES / 2 - 1), false),
            (list(r#"{"a":{}}"#, MOST_VALUES / 2), true),
            (list(r#"",[{\\""#, 1000), false),
            (format!(r#""{}""#, ",[{".repeat(MOST_VALUES)), false),
            (format!(r#"["\\"{}]"#, ",0".repeat(MOST_VALUES)), true),
            (format!(r#"["\"{}"]"#, ",0".repeat(MOST_VALUES)), false),
        ] {
            let read = parse::<serde_json::Value>(format!(r#"{{"a":{body}}}"#).as_bytes());
            let code = read.err().map(|error| error.code);
            assert_eq!(code, is_refused.then_some(Code::BodyTooLarge), "{}...", &body[..20]);
        }
    }
}
