//! Every error of the API: one table of codes, one type, one form (RFC 9457).

use std::error::Error;
use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::invalid::{Invalid, InvalidKind};

/// The table: name, code, status, title, and a detail as an example.
macro_rules! codes {
    ($($name:ident $code:literal $status:ident $title:literal $example:literal;)*) => {
        /// A kind of error. Its text is stable: clients may match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($name,)* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            pub fn status(self) -> StatusCode {
                match self { $(Code::$name => StatusCode::$status,)* }
            }

            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// A detail as an answer may have it, for the documentation.
            pub fn example(self) -> &'static str {
                match self { $(Code::$name => $example,)* }
            }
        }
    };
}

codes! {
    InvalidJson "invalid_json" BAD_REQUEST "The body is not JSON" "expected `,` or `}` at line 1 column 20";
    InvalidUtf8 "invalid_utf8" BAD_REQUEST "The input is not UTF-8" "the body is not UTF-8: the byte at 12 begins no character";
    InvalidQuery "invalid_query" BAD_REQUEST "The query string is not understood" "limit: invalid digit found in string";
    IncompleteBody "incomplete_body" BAD_REQUEST "The body did not arrive whole" "the connection ended inside the body";
    InvalidMultipart "invalid_multipart" BAD_REQUEST "The body is no multipart form" "the form ends before its last boundary";
    InvalidIdempotencyKey "invalid_idempotency_key" BAD_REQUEST "The idempotency key breaks a rule" "the header idempotency-key must have 1 to 255 characters, has 300";
    Unauthorized "unauthorized" UNAUTHORIZED "A key is needed" "send a key that is in force, as `authorization: Bearer KEY`";
    Forbidden "forbidden" FORBIDDEN "The key does not allow this" "the key `web` lacks the scope `ingest`";
    NotFound "not_found" NOT_FOUND "No such route" "there is nothing at /v1/completely";
    DocumentNotFound "document_not_found" NOT_FOUND "No such document" "there is no document `dune`";
    ModelNotFound "model_not_found" NOT_FOUND "No such model" "there is no model `gpt-4`; this route has `retro-nano`";
    TaskNotFound "task_not_found" NOT_FOUND "No such task" "there is no task `0198c0f2a7e07d3c8f0d1c2b3a495867`";
    CollectionNotFound "collection_not_found" NOT_FOUND "No such collection" "there is no collection `wiki`";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "The route has no such method" "GET is not a method of this route; the header Allow names those that are";
    SlowBody "slow_body" REQUEST_TIMEOUT "The body came too slowly" "less than 16384 bytes of the body came within 30 seconds (setting body_seconds)";
    CollectionExists "collection_exists" CONFLICT "The collection is there already" "there is a collection `wiki` already";
    TaskEnded "task_ended" CONFLICT "The task has ended" "task `0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867` has succeeded";
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE "The body is too large" "the body has more than 67108864 bytes (setting max_body_bytes)";
    DocumentTooLarge "document_too_large" PAYLOAD_TOO_LARGE "A document is too large" "`text` has 20000000 bytes, at most 10485760 are allowed";
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The content type is not supported" "send content-type: application/json";
    UnsupportedEncoding "unsupported_encoding" UNSUPPORTED_MEDIA_TYPE "The content encoding is not supported" "the content-encoding `br` is not read; send the body as it is, or with gzip";
    InvalidType "invalid_type" UNPROCESSABLE_ENTITY "A field has the wrong type" "`max_tokens`: invalid type: string \"48\", expected usize";
    MissingField "missing_field" UNPROCESSABLE_ENTITY "A field is missing" "`prompt` is missing";
    UnknownField "unknown_field" UNPROCESSABLE_ENTITY "A field is unknown" "`max_token` is unknown, expected one of `prompt`, `max_tokens`";
    InvalidValue "invalid_value" UNPROCESSABLE_ENTITY "A field breaks a rule" "`max_tokens` must be at least 1, is 0";
    UnreadableFiles "unreadable_files" UNPROCESSABLE_ENTITY "None of the files can be read" "no file gave a document: `scan.pdf`: it has no text";
    IdempotencyKeyUsed "idempotency_key_used" UNPROCESSABLE_ENTITY "The idempotency key was used for another request" "the idempotency key was used for a request with another body; use a new one";
    VersionNotKept "version_not_kept" UNPROCESSABLE_ENTITY "The version of the collection is not kept" "collection \"wiki\" does not keep version 12; it keeps versions 3 to 9";
    Overloaded "overloaded" TOO_MANY_REQUESTS "Too many requests wait" "the queue is full; try again in 2 seconds";
    RateLimited "rate_limited" TOO_MANY_REQUESTS "The client asks for too much" "60 requests a minute are allowed; try again in 2 seconds";
    GenerationFailed "generation_failed" INTERNAL_SERVER_ERROR "The model failed" "the model failed; the server's log has the reason";
    RetrievalFailed "retrieval_failed" INTERNAL_SERVER_ERROR "The retrieval failed" "the neighbours could not be found; the server's log has the reason";
    EmbeddingFailed "embedding_failed" INTERNAL_SERVER_ERROR "The embedder failed" "the texts could not be embedded; the server's log has the reason";
    DataDamaged "data_damaged" INTERNAL_SERVER_ERROR "What is stored is damaged" "what is stored cannot be read as it was written; the server's log has the reason, and `retro doctor --check` says what else is damaged";
    CollectionMadeAnew "collection_made_anew" SERVICE_UNAVAILABLE "The collection was made anew" "collection \"wiki\" was made anew with another embedder while this program ran; it has to be started again";
    CatalogueUnavailable "catalogue_unavailable" SERVICE_UNAVAILABLE "The catalogue cannot be used now" "the catalogue does not answer, or another program holds it; try again in 5 seconds";
    InsufficientStorage "insufficient_storage" INSUFFICIENT_STORAGE "The disk has no room" "the server's disk is full; send it again when there is room";
    Internal "internal" INTERNAL_SERVER_ERROR "The server failed" "the server failed; its log has the reason";
    TimedOut "timed_out" GATEWAY_TIMEOUT "The answer took too long" "the answer did not begin within 60 seconds (setting request_seconds)";
    Loading "loading" SERVICE_UNAVAILABLE "The server is starting" "the model is being loaded; try again in 2 seconds";
    ShuttingDown "shutting_down" SERVICE_UNAVAILABLE "The server is stopping" "the server is stopping";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An error as clients see it (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// URI of the kind of error.
    #[serde(rename = "type")]
    #[schema(example = "urn:retro-server:error:invalid_value")]
    pub kind: String,
    /// The kind of error in words, always the same for a code.
    #[schema(example = "A field breaks a rule")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// What is wrong with this request.
    #[schema(example = "`max_tokens` must be at least 1, is 0")]
    pub detail: String,
    /// Stable name of the kind of error.
    #[schema(value_type = String, example = "invalid_value")]
    pub code: Code,
    /// The request's `x-request-id`, which the server's log has too.
    #[schema(example = "0198c0f2a7e07d3c8f0d1c2b3a495867")]
    pub request_id: String,
    /// The field that is wrong, as a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "retrieval.neighbours")]
    pub field: Option<String>,
    /// The line of an NDJSON body that is wrong, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// An error on its way to the client. The outermost layer renders it, since only that knows the request's id.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct ApiError {
    pub code: Code,
    pub detail: String,
    pub field: Option<String>,
    pub line: Option<usize>,
    pub retry_after: Option<u64>,
}

impl ApiError {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None, line: None, retry_after: None }
    }

    /// An error of the server: the reason goes to the log, the client hears only that there is one.
    pub fn server(code: Code, reason: impl fmt::Display) -> Self {
        tracing::error!(code = code.as_str(), %reason, "request failed");
        Self::new(code, code.example())
    }

    /// Why a body was not read to its end: a layer refused it, or it did not come.
    pub fn unread(error: &axum::Error) -> Self {
        Self::behind(error).unwrap_or_else(|| Self::new(Code::IncompleteBody, error.to_string()))
    }

    /// The error that a body was refused with, whatever has wrapped it since.
    pub fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref::<Self>() {
                return Some(refusal.clone());
            }
            cause = error.source();
        }
        None
    }

    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The error with the line of the body it is about.
    pub fn at_line(mut self, line: usize) -> Self {
        self.detail = format!("line {line}: {}", self.detail);
        self.line = Some(line);
        self
    }

    pub fn problem(self, request_id: &str) -> Problem {
        Problem {
            kind: format!("urn:retro-server:error:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail,
            code: self.code,
            request_id: request_id.to_owned(),
            field: self.field,
            line: self.line,
        }
    }

    /// The whole answer.
    pub fn render(self, request_id: &str) -> Response {
        let (status, retry_after) = (self.code.status(), self.retry_after);
        error_answer(status, "application/problem+json", retry_after, &self.problem(request_id))
    }
}

/// An answer that is an error, in whatever form.
///
/// # Panics
/// `body` is no plain JSON.
pub fn error_answer(status: StatusCode, content_type: &'static str, retry_after: Option<u64>, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("an error is plain JSON");
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        let code = match invalid.kind {
            InvalidKind::Value => Code::InvalidValue,
            InvalidKind::TooLarge => Code::DocumentTooLarge,
        };
        Self::new(code, invalid.to_string()).with_field(invalid.field)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_are_errors() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.status().is_client_error() || code.status().is_server_error()));
    }
}
