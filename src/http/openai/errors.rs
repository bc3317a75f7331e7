//! Errors in OpenAI's form, from the one table of codes.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Response as ApiResponse};

use crate::http::openapi::{ErrorForm, responses_in};
use crate::http::problem::{ApiError, Code, error_answer};

/// An error as OpenAI's clients read it.
#[derive(Serialize, ToSchema)]
pub struct OpenAiError {
    error: ErrorObject,
}

#[derive(Serialize, ToSchema)]
struct ErrorObject {
    /// What is wrong with this request.
    #[schema(example = "`max_tokens` must be at least 1, is 0")]
    message: String,
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "invalid_request_error")]
    kind: &'static str,
    /// The field that is wrong, as a path.
    #[schema(example = "max_tokens")]
    param: Option<String>,
    /// Stable name of the kind of error.
    #[schema(value_type = String, example = "invalid_value")]
    code: &'static str,
}

impl From<ApiError> for OpenAiError {
    fn from(error: ApiError) -> Self {
        let code = name(error.code);
        let kind = match status(error.code) {
            StatusCode::TOO_MANY_REQUESTS => code,
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        Self { error: ErrorObject { message: error.detail, kind, param: error.field, code } }
    }
}

pub const FORM: ErrorForm = ErrorForm {
    content_type: "application/json",
    schema: "OpenAiError",
    status,
    code: name,
    body: |error| serde_json::to_value(OpenAiError::from(error)).expect("an error is plain JSON"),
};

/// OpenAI answers 400 to a value that breaks a rule, and its clients have a class of errors for that status.
fn status(code: Code) -> StatusCode {
    match code.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Overloaded | Code::RateLimited => "rate_limit_exceeded",
        Code::Unauthorized => "invalid_api_key",
        code => code.as_str(),
    }
}

/// The whole answer.
pub fn render(error: ApiError) -> Response {
    let (status, retry_after) = (status(error.code), error.retry_after);
    error_answer(status, FORM.content_type, retry_after, &OpenAiError::from(error))
}

/// The responses for these codes, for the description.
pub fn responses(codes: &[&[Code]]) -> BTreeMap<String, RefOr<ApiResponse>> {
    responses_in(&FORM, codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_the_status_and_type_that_clients_sort_by() {
        for (code, expected_status, kind, expected_name) in [
            (Code::InvalidValue, 400, "invalid_request_error", "invalid_value"),
            (Code::InvalidJson, 400, "invalid_request_error", "invalid_json"),
            (Code::Unauthorized, 401, "invalid_request_error", "invalid_api_key"),
            (Code::Forbidden, 403, "invalid_request_error", "forbidden"),
            (Code::RateLimited, 429, "rate_limit_exceeded", "rate_limit_exceeded"),
            (Code::TimedOut, 504, "server_error", "timed_out"),
            (Code::ModelNotFound, 404, "invalid_request_error", "model_not_found"),
            (Code::MethodNotAllowed, 405, "invalid_request_error", "method_not_allowed"),
            (Code::Overloaded, 429, "rate_limit_exceeded", "rate_limit_exceeded"),
            (Code::GenerationFailed, 500, "server_error", "generation_failed"),
            (Code::ShuttingDown, 503, "server_error", "shutting_down"),
        ] {
            let error = OpenAiError::from(ApiError::new(code, "why").with_field("model")).error;
            assert_eq!((status(code).as_u16(), error.kind, error.code), (expected_status, kind, expected_name));
            assert_eq!((error.message.as_str(), error.param.as_deref()), ("why", Some("model")));
        }
        assert!(Code::ALL.iter().all(|&code| status(code) != StatusCode::UNPROCESSABLE_ENTITY));
    }
}
