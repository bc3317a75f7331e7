//! Answers are sent compressed to clients that take that.
//!
//! Only what is whole is: its length is known, so the log, the limits and `content-length` stay what they are. Streams go out event by event.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;

use super::aside::aside_if_long;
use super::problem::{ApiError, Code};

/// Fewest bytes that are worth the headers.
const SMALLEST: u64 = 1024;
const ZSTD_LEVEL: i32 = 3;

/// Files of the program, by path, as they were packed when they were first asked for: anybody may ask for them, as often as they like.
static PACKED: LazyLock<Mutex<HashMap<(String, Encoding), Bytes>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Encoding {
    Zstd,
    Gzip,
}

impl Encoding {
    /// The one that the client likes best of those that are here, the smaller and faster one where it likes both as much; none where it
    /// likes the text as it is better, or does not say.
    pub(super) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let (mut zstd, mut gzip, mut identity, mut any) = (None, None, None, None);
        let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for item in values.flat_map(|value| value.split(',')) {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            // What is no weight is none, so that nobody gets what they may not be able to read.
            let parsed = |weight: &str| weight.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight));
            let weight: f32 = weight.map_or(1.0, |weight| parsed(weight).unwrap_or(0.0));
            let place = match name.as_str() {
                "zstd" => &mut zstd,
                "gzip" | "x-gzip" => &mut gzip,
                "identity" => &mut identity,
                "*" => &mut any,
                _ => continue,
            };
            *place = Some(weight);
        }
        let weight = |named: Option<f32>| named.or(any).unwrap_or(0.0);
        let (zstd, gzip, least) = (weight(zstd), weight(gzip), identity.unwrap_or(0.0));
        match zstd >= gzip {
            true if zstd > 0.0 && zstd >= least => Some(Self::Zstd),
            false if gzip >= least => Some(Self::Gzip),
            _ => None,
        }
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        })
    }

    fn pack(self, whole: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::bulk::compress(whole, ZSTD_LEVEL),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(whole)?;
                encoder.finish()
            }
        }
    }
}

/// The layer around the routes.
pub async fn compress(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let file = is_of_the_program(path).then(|| path.to_owned());
    // A name has as many spellings with `%` as anybody likes; those are neither kept nor packed each time.
    let is_misspelt = file.as_ref().is_some_and(|path| path.contains('%'));
    let wanted = Encoding::wanted(request.headers()).filter(|_| !is_misspelt);
    let mut response = next.run(request).await;
    if !is_text(response.headers()) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    // True of the answer to anyone, so that a cache does not give one client what another asked for.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let is_worth_it = response.body().size_hint().exact().is_some_and(|bytes| bytes >= SMALLEST);
    let Some(encoding) = wanted.filter(|_| is_worth_it) else { return response };
    let file = file.filter(|_| response.status() == StatusCode::OK);
    packed(response, encoding, file).await.unwrap_or_else(IntoResponse::into_response)
}

async fn packed(response: Response, encoding: Encoding, file: Option<String>) -> Result<Response, ApiError> {
    let (mut parts, body) = response.into_parts();
    let known = || PACKED.lock().unwrap_or_else(PoisonError::into_inner);
    let file = file.map(|path| (path, encoding));
    let before = file.as_ref().and_then(|file| known().get(file).cloned());
    let packed = match before {
        Some(packed) => packed,
        None => {
            let whole = body.collect().await.map_err(|e| ApiError::server(Code::Internal, e))?.to_bytes();
            let packed = aside_if_long(whole.len(), move || encoding.pack(&whole)).await?;
            let packed = Bytes::from(packed.map_err(|e| ApiError::server(Code::Internal, e))?);
            if let Some(file) = file {
                known().insert(file, packed.clone());
            }
            packed
        }
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, encoding.name());
    Ok(Response::from_parts(parts, Body::from(packed)))
}

/// Whether only files that are built into the program are found at a path like this.
fn is_of_the_program(path: &str) -> bool {
    path == "/" || path == "/openapi.json" || path.starts_with("/docs/") || path.starts_with("/playground/")
}

/// Whether the answer is a text that came to its end: events of a stream are not.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match kind.split_once('/') {
        Some(("text", kind)) => kind != "event-stream",
        Some((_, kind)) => kind == "json" || kind == "javascript" || kind.ends_with("+json") || kind.ends_with("+xml"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses() {
        for (accepted, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], Some(Encoding::Gzip)),
            (&["GZIP, deflate, br"], Some(Encoding::Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Encoding::Zstd)),
            (&["gzip, zstd;q=0.9"], Some(Encoding::Gzip)),
            (&["gzip;q=0.2", "zstd; q=0.3"], Some(Encoding::Zstd)),
            (&["gzip;q=0, zstd;q=0"], None),
            (&["gzip;q=half"], None),
            (&["*"], Some(Encoding::Zstd)),
            (&["zstd;q=0, *;q=0.5"], Some(Encoding::Gzip)),
            (&["*;q=0"], None),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip"], Some(Encoding::Gzip)),
            (&["br, deflate"], None),
            (&["zstd;q=nan"], None),
            (&["zstd;q=inf, gzip"], Some(Encoding::Gzip)),
            (&["gzip;q=0, zstd;q=-1"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in accepted {
                headers.append(header::ACCEPT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(Encoding::wanted(&headers), expected, "{accepted:?}");
        }
    }

    #[test]
    fn texts_are_told_from_streams_and_pictures() {
        let is = |kind: &str| is_text(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]));
        for kind in
            ["application/json", "application/problem+json", "text/html; charset=utf-8", "text/javascript", "image/svg+xml"]
        {
            assert!(is(kind), "{kind}");
        }
        for kind in ["text/event-stream", "text/event-stream; charset=utf-8", "image/png", "application/octet-stream", ""] {
            assert!(!is(kind), "{kind}");
        }
    }
}
