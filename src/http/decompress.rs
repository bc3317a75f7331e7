//! Bodies that come compressed: gzip is unpacked as it is read, so that every limit is one of unpacked bytes. What else a client may have
//! done to a body is refused.

use axum::BoxError;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::problem::{ApiError, Code};

/// The layer before tower-http's, which knows one spelling and answers without a reason. `most` bounds the packed bytes as well: gzip can
/// go on for ever and hold nothing.
pub async fn check(State(most): State<usize>, mut request: Request, next: Next) -> Response {
    let named = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let named: Vec<_> = named.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase()).collect();
    match named.join(", ").as_str() {
        "" | "identity" => {
            request.headers_mut().remove(header::CONTENT_ENCODING);
        }
        "gzip" | "x-gzip" => {
            request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            request = request.map(|body| Body::new(Limited::new(body, most).map_err(move |error| too_large(error, most))));
        }
        other => {
            let shown: String = other.chars().take(64).collect();
            let detail =
                format!("the content-encoding `{}` is not read; send the body as it is, or with gzip", shown.escape_default());
            let refused = ApiError::new(Code::UnsupportedEncoding, detail);
            return ([(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))], refused).into_response();
        }
    }
    next.run(request).await
}

fn too_large(error: BoxError, most: usize) -> BoxError {
    match error.downcast::<LengthLimitError>() {
        Ok(_) => ApiError::new(Code::BodyTooLarge, format!("the packed body has more than {most} bytes")).into(),
        Err(error) => error,
    }
}
