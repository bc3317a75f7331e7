//! The playground: a page for people, embedded in the program with all that it needs.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::problem::{ApiError, Code};
use crate::app::App;
use crate::files::hex;

#[derive(RustEmbed)]
#[folder = "src/http/pages/playground"]
struct Files;

/// Whatever text the page shows, it loads and runs nothing that is not from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| file("index.html", &headers)))
        .route("/playground/{name}", get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers)))
}

fn file(name: &str, asked: &HeaderMap) -> Response {
    let (Some(file), Some(kind)) = (Files::get(name), kind(name)) else {
        return ApiError::new(Code::NotFound, "there is nothing at this path").into_response();
    };
    // Weak, since it is of the file and not of the bytes that are sent, which may be compressed.
    let tag = format!("W/\"{}\"", hex(&file.metadata.sha256_hash()[..16]));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        // The names stay the same when the program is another.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    if is_known(&tag, asked) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, file.data).into_response()
}

/// Whether a client has what this tag is of (RFC 9110, section 13.1.2): whether its own tags are weak makes no difference.
fn is_known(tag: &str, asked: &HeaderMap) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let values = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|known| known == "*" || opaque(known) == opaque(tag))
}

fn kind(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
