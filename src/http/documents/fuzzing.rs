//! Documents on their way in, from bytes.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use futures::stream;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::remove::DeleteRequest;
use super::submit::{documents, with_id};
use super::upload::Form;
use crate::http::fuzzing::{parsed, refused};
use crate::http::problem::ApiError;
use crate::ingest::files::fuzzing::LIMITS;
use crate::ingest::files::{UploadLimits, Uploads};
use crate::names::DocumentId;

const MOST: usize = 8;
const UPLOAD: UploadLimits = UploadLimits { ingest: LIMITS, documents: MOST, text_bytes: 1 << 20 };
const BOUNDARY: &str = "multipart/form-data; boundary=X";

pub(crate) fn json(body: &[u8]) {
    taken(body, false);
    if let Some(input) = parsed(body) {
        let id = DocumentId::parse("id", "a").expect("it is an id");
        if let Err(error) = with_id(input, id, &LIMITS) {
            refused(error, body.len());
        }
    }
}

pub(crate) fn ndjson(body: &[u8]) {
    taken(body, true);
}

fn taken(body: &[u8], as_lines: bool) {
    match documents(&Bytes::copy_from_slice(body), as_lines, &LIMITS, MOST) {
        Ok(documents) => {
            assert!((1..=MOST).contains(&documents.len()));
            for document in documents {
                assert!((1..=LIMITS.max_document_bytes).contains(&document.text().len()));
            }
        }
        Err(error) => refused(error, body.len()),
    }
}

pub(crate) fn delete(body: &[u8]) {
    if let Some(request) = parsed::<DeleteRequest>(body)
        && let Err(invalid) = request.validate()
    {
        refused(invalid, body.len());
    }
}

/// A form in pieces: the first byte says how long they are.
pub(crate) fn multipart(bytes: &[u8]) {
    let Some((&length, body)) = bytes.split_first() else { return };
    let whole = upload(body, body.len());
    let pieces = upload(body, usize::from(length));
    assert_eq!(pieces, whole, "the form is another one in pieces of {length}");
}

/// What a form in pieces of this length is taken for: its fingerprint and documents, if it is one. What is wrong with it may be told in
/// another way: a body without any boundary is a form without files where it comes at once.
fn upload(body: &[u8], length: usize) -> Option<(String, usize)> {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("there is room for it"));
    static UPLOADS: LazyLock<(TempDir, Uploads)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("there is room for it");
        // No process is started for a file that would be read in one.
        let uploads = Uploads::open(folder.path().join("uploads"), "/nothing".into(), 1).expect("there is room for it");
        (folder, uploads)
    });
    let pieces: Vec<_> = body.chunks(length.max(1)).map(|piece| Ok::<_, axum::Error>(Bytes::copy_from_slice(piece))).collect();
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(BOUNDARY))]);
    let taken: Result<_, ApiError> = RUNTIME.block_on(async {
        let form = Form::receive(&UPLOADS.1, &UPLOAD, &headers, Body::from_stream(stream::iter(pieces))).await?;
        let fingerprint = crate::files::hex(&form.fingerprint.clone().finish());
        let found = form.read(&UPLOADS.1, UPLOAD).await?;
        assert!(found.documents.len() <= MOST);
        Ok((fingerprint, found.documents.len()))
    });
    let left = std::fs::read_dir(UPLOADS.0.path().join("uploads")).expect("it is there").count();
    assert_eq!(left, 0, "files of the upload are left");
    taken.map_err(|error| refused(error, body.len())).ok()
}
