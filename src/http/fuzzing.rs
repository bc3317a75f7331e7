//! Requests from bytes. What is wrong with one is an answer of 4xx in few words.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use serde::de::DeserializeOwned;

use super::compress::Encoding;
use super::idempotency::RequestKey;
use super::json::{is_json, media_type, parse};
use super::openai::{EmbeddingRequest, TextCompletionRequest};
use super::problem::ApiError;
use super::{collections, retrieve};
use crate::catalogue::Cursor;
use crate::generate::{CompletionRequest, Limits, ScoreRequest};
use crate::keys::{Scopes, Secret};
use crate::names::{CollectionName, DocumentId, KeyName};
use crate::text::fuzzing::nano;

pub(crate) use super::documents::fuzzing as documents;

pub(super) const LIMITS: Limits = Limits { context: 128, neighbours: 2, max_neighbours: 16, max_n: 8 };

/// A body's value, if it has one.
pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    parse(body).map_err(|error| refused(error, body.len())).ok()
}

/// # Panics
/// The server would take the blame, or says far more than it was sent.
pub(super) fn refused(error: impl Into<ApiError>, sent: usize) {
    let error: ApiError = error.into();
    assert!(error.code.status().is_client_error(), "{error:?}");
    let said = error.detail.len() + error.field.as_ref().map_or(0, String::len);
    assert!(said <= 8 * sent + 4096, "{sent} bytes are answered by {said}: {error:?}");
}

pub(crate) fn complete(body: &[u8]) {
    let Some(request) = parsed::<CompletionRequest>(body) else { return };
    let prompt = request.prompt.clone();
    match request.validate(&LIMITS, nano()) {
        Ok(valid) => {
            valid.assert_within(&LIMITS);
            assert_eq!(nano().decode_bytes(valid.prompt()), prompt.as_bytes());
        }
        Err(invalid) => refused(invalid, body.len()),
    }
}

pub(crate) fn score(body: &[u8]) {
    let Some(request) = parsed::<ScoreRequest>(body) else { return };
    match request.validate(&LIMITS, nano()) {
        Ok(valid) => valid.assert_within(&LIMITS),
        Err(invalid) => refused(invalid, body.len()),
    }
}

pub(crate) fn retrieve(body: &[u8]) {
    let Some(request) = parsed::<retrieve::RetrieveRequest>(body) else { return };
    match request.validate(&LIMITS) {
        Ok((text, _, options)) => {
            assert!(!text.is_empty() && options.neighbours <= LIMITS.max_neighbours);
            assert!(options.max_distance.is_none_or(|distance| (0.0..=4.0).contains(&distance)));
        }
        Err(invalid) => refused(invalid, body.len()),
    }
}

pub(crate) fn collections(body: &[u8]) {
    if let Some(request) = parsed::<collections::CreateRequest>(body)
        && let Err(invalid) = CollectionName::parse("name", &request.name)
    {
        refused(invalid, body.len());
    }
    if let Some(request) = parsed::<collections::UpdateRequest>(body)
        && let Err(invalid) = request.search.validate("search.")
    {
        refused(invalid, body.len());
    }
}

pub(crate) fn completions(body: &[u8]) {
    let Some(request) = parsed::<TextCompletionRequest>(body) else { return };
    match request.validate(&LIMITS, 8, nano()) {
        Ok(plan) => {
            assert!((1..=8).contains(&plan.completions.len()));
            plan.completions.iter().for_each(|completion| completion.assert_within(&LIMITS));
        }
        Err(invalid) => refused(invalid, body.len()),
    }
}

pub(crate) fn embeddings(body: &[u8]) {
    let Some(request) = parsed::<EmbeddingRequest>(body) else { return };
    match request.texts() {
        Ok(texts) => assert!(!texts.is_empty()),
        Err(invalid) => refused(invalid, body.len()),
    }
}

/// Every line as the value of a header or a parameter, and all of them together.
pub(crate) fn headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    let mut request = Request::new(Body::empty());
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        headers.append(header::CONTENT_TYPE, value.clone());
        headers.append(header::ACCEPT_ENCODING, value.clone());
        request.headers_mut().append("idempotency-key", value);
        if let Ok(text) = std::str::from_utf8(line) {
            named(text);
        }
    }
    if is_json(&headers) {
        assert!(media_type(&headers).is_some());
    }
    let _ = Encoding::wanted(&headers);
    if let Err(error) = RequestKey::of(&request) {
        refused(error, bytes.len());
    }
}

fn named(text: &str) {
    let refusals = [
        Cursor::parse("cursor", text).err(),
        CollectionName::parse("collection", text).err(),
        DocumentId::parse("id", text).err(),
        KeyName::parse("name", text).err(),
        text.parse::<Scopes>().err(),
    ];
    refusals.into_iter().flatten().for_each(|invalid| refused(invalid, text.len()));
    if let Ok(scopes) = text.parse::<Scopes>() {
        assert_eq!(scopes.to_string().parse::<Scopes>().ok(), Some(scopes));
    }
    if let Some(secret) = Secret::parse(text) {
        assert!(secret.reveal() == text && text.starts_with(secret.prefix()));
    }
    let _ = multer::parse_boundary(text);
}
