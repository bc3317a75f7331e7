//! `POST /v1/documents` with files. They go to the disk as they arrive, and are read from there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use futures::{Stream, StreamExt};
use multer::{Field, Multipart};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::take_in::{answer_again, take_in};
use crate::app::App;
use crate::http::idempotency::{Fingerprint, RequestKey};
use crate::http::problem::{ApiError, Code};
use crate::ingest::files::{FileLabels, Found, TooMuch, Upload, UploadLimits, Uploads};
use crate::ingest::{IngestLimits, SkippedFiles};
use crate::invalid::Invalid;
use crate::names::CollectionName;

pub const MULTIPART: &str = "multipart/form-data";

/// Most bytes of a field that is no file: metadata may have 16 KiB.
const MAX_FIELD: usize = 64 << 10;
/// Most bytes before a part's content, about.
const MAX_HEAD: usize = 16 << 10;
/// Skipped files that an error names.
const NAMED: usize = 5;

/// Takes the files of a request in.
pub async fn submit(app: &App, request: Request, key: Option<RequestKey>, wait: bool) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let limits = UploadLimits {
        ingest: IngestLimits::from(&app.settings),
        documents: app.settings.max_documents,
        text_bytes: app.settings.max_upload_bytes,
    };
    let form = Form::receive(&app.uploads, &limits, &parts.headers, body).await?;
    let once = key.map(|key| key.once(form.fingerprint.clone().finish()));
    if let Some(answer) = answer_again(app, once.as_ref(), wait).await? {
        return Ok(answer);
    }
    let Found { documents, skipped } = form.read(&app.uploads, limits).await?;
    if documents.is_empty() {
        return Err(ApiError::new(Code::UnreadableFiles, why_none(&skipped)).with_field("files"));
    }
    take_in(app, documents, Some(skipped), once.as_ref(), wait).await
}

/// A form that has arrived.
pub(super) struct Form {
    upload: Upload,
    fields: Fields,
    pub(super) fingerprint: Fingerprint,
}

/// What is said of all files. Pages send fields that were left empty, so those count as left out.
#[derive(Default)]
struct Fields {
    collection: Option<String>,
    title: Option<String>,
    source: Option<String>,
    metadata: Option<String>,
}

impl Fields {
    fn named(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "collection" => Some(&mut self.collection),
            "title" => Some(&mut self.title),
            "source" => Some(&mut self.source),
            "metadata" => Some(&mut self.metadata),
            _ => None,
        }
    }
}

impl Form {
    /// The body may have as many bytes as `limits` allow text.
    pub(super) async fn receive(
        uploads: &Uploads,
        limits: &UploadLimits,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, ApiError> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(kind)
            .map_err(|_| ApiError::new(Code::InvalidMultipart, "the content type names no boundary of the form's parts"))?;
        let meter = Meter { most: limits.text_bytes, read: Arc::default(), head: Arc::default() };
        let mut form = Multipart::new(meter.clone().measured(body), boundary);
        let upload = uploads.begin().map_err(|e| ApiError::unwritten("an upload", &e))?;
        let mut this = Self { upload, fields: Fields::default(), fingerprint: Fingerprint::new(MULTIPART) };
        loop {
            meter.begin();
            let Some(mut field) = form.next_field().await.map_err(refused)? else { break };
            // Its head is read, with what came in the same chunk.
            meter.begin();
            this.take(limits.documents, &meter, &mut field).await?;
        }
        if this.upload.files() == 0 {
            return Err(ApiError::new(Code::MissingField, "`files` is missing: send at least one file").with_field("files"));
        }
        Ok(this)
    }

    /// `most` is the number of files that there may be.
    async fn take(&mut self, most: usize, meter: &Meter, field: &mut Field<'_>) -> Result<(), ApiError> {
        let name = field.name().unwrap_or_default().to_owned();
        if let Some(place) = self.fields.named(&name) {
            let text = text(&name, meter, field).await?;
            self.fingerprint.part(name.as_bytes());
            self.fingerprint.part(text.as_bytes());
            if place.is_some() {
                return Err(Invalid::new(name, "may be there once").into());
            }
            *place = Some(text).filter(|text| !text.is_empty());
            return Ok(());
        }
        if name != "files" && name != "file" {
            let shown = shown(&name);
            let detail = format!("`{shown}` is unknown, expected one of `files`, `collection`, `title`, `source`, `metadata`");
            return Err(ApiError::new(Code::UnknownField, detail).with_field(shown));
        }
        let Some(file_name) = field.file_name().map(str::to_owned) else {
            return Err(Invalid::new(name, "must be a file, with a name").into());
        };
        if file_name.is_empty() {
            // What a page sends for a choice of files that was left empty.
            return match text(&name, meter, field).await?.is_empty() {
                true => Ok(()),
                false => Err(Invalid::new(name, "must be a file, with a name").into()),
            };
        }
        if self.upload.files() == most {
            return Err(Invalid::new("files", format!("may be {most} in one request")).into());
        }
        let digest = store(meter, field, self.upload.begin_file(&file_name)).await?;
        self.fingerprint.part(b"files");
        self.fingerprint.part(file_name.as_bytes());
        self.fingerprint.part(&digest);
        Ok(())
    }

    /// Reads the files, as one of those whose turn it is; gives up when nobody waits for it any more.
    pub(super) async fn read(self, uploads: &Uploads, limits: UploadLimits) -> Result<Found, ApiError> {
        let Self { upload, fields, .. } = self;
        let collection = fields.collection.map(|name| CollectionName::parse("collection", &name)).transpose()?;
        let metadata = fields.metadata.map(|json| metadata(&json)).transpose()?.unwrap_or_default();
        let labels = FileLabels::validate(fields.title, fields.source, metadata)?;
        let stop = CancellationToken::new();
        let _gone = stop.clone().drop_guard();
        let reader = uploads.reader().await;
        let found = tokio::task::spawn_blocking(move || {
            let _reader = reader;
            upload.read(collection.as_ref(), labels, &limits, &stop)
        });
        found.await.map_err(|e| ApiError::server(Code::Internal, e))?.map_err(|too_much| match too_much {
            TooMuch::Documents => Invalid::new("files", format!("may hold {} documents in one request", limits.documents)).into(),
            TooMuch::TextBytes => ApiError::new(
                Code::BodyTooLarge,
                format!("the files hold more than {} bytes of text (setting max_upload_bytes)", limits.text_bytes),
            ),
            TooMuch::Skipped(most) => {
                let detail = format!("more than {most} lines or rows of the files cannot be read");
                ApiError::new(Code::UnreadableFiles, detail).with_field("files")
            }
            TooMuch::Stopped => ApiError::server(Code::Internal, "nobody waits for this upload"),
        })
    }
}

fn metadata(json: &str) -> Result<Map<String, Value>, Invalid> {
    serde_json::from_str(json).map_err(|error| Invalid::new("metadata", format!("must be a JSON object: {error}")))
}

/// A field that is no file.
async fn text(name: &str, meter: &Meter, field: &mut Field<'_>) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(refused)? {
        meter.begin();
        if bytes.len() + chunk.len() > MAX_FIELD {
            return Err(Invalid::too_large(name, format!("may have {MAX_FIELD} bytes")).into());
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| ApiError::new(Code::InvalidUtf8, format!("`{name}` is not UTF-8")).with_field(name))
}

/// Writes a file's bytes to `path`, or nowhere, and gives their sha256.
async fn store(meter: &Meter, field: &mut Field<'_>, path: Option<PathBuf>) -> Result<[u8; 32], ApiError> {
    let failed = |error: std::io::Error| ApiError::unwritten("an upload", &error);
    let mut file = match path {
        Some(path) => Some(File::create_new(path).await.map_err(failed)?),
        None => None,
    };
    let mut hasher = Sha256::new();
    while let Some(chunk) = field.chunk().await.map_err(refused)? {
        meter.begin();
        hasher.update(&chunk);
        if let Some(file) = &mut file {
            file.write_all(&chunk).await.map_err(failed)?;
        }
    }
    if let Some(file) = &mut file {
        file.flush().await.map_err(failed)?;
    }
    Ok(hasher.finalize().into())
}

/// Counts a body's bytes as they are read: all of them, and those since a part's content was last given on.
#[derive(Clone)]
struct Meter {
    most: usize,
    read: Arc<AtomicUsize>,
    head: Arc<AtomicUsize>,
}

impl Meter {
    fn begin(&self) {
        self.head.store(0, Ordering::Relaxed);
    }

    fn count(&self, chunk: Result<Bytes, axum::Error>) -> Result<Bytes, ApiError> {
        let chunk = chunk.map_err(|error| ApiError::unread(&error))?;
        if self.read.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len() > self.most {
            let detail = format!("the body has more than {} bytes (setting max_upload_bytes)", self.most);
            return Err(ApiError::new(Code::BodyTooLarge, detail));
        }
        // A chunk may hold the head and what follows it, so those before it count.
        if self.head.fetch_add(chunk.len(), Ordering::Relaxed) > MAX_HEAD {
            return Err(ApiError::new(Code::InvalidMultipart, format!("the head of a part has more than {MAX_HEAD} bytes")));
        }
        Ok(chunk)
    }

    /// The reader of forms takes all that is there at once, and looks for the end of a head in all of it: so it gets a chunk at a time, each
    /// counted when it gets it. The first comes at once: while the reader looks for the first boundary it asks twice in a turn, and takes
    /// the end of the body for the end of the form if that comes with the second.
    fn measured(self, body: Body) -> impl Stream<Item = Result<Bytes, ApiError>> + Send {
        body.into_data_stream().enumerate().then(move |(place, chunk)| {
            let meter = self.clone();
            async move {
                if place > 0 {
                    tokio::task::yield_now().await;
                }
                meter.count(chunk)
            }
        })
    }
}

fn refused(error: multer::Error) -> ApiError {
    ApiError::behind(&error).unwrap_or_else(|| ApiError::new(Code::InvalidMultipart, error.to_string()))
}

/// Why no file gave a document.
fn why_none(skipped: &SkippedFiles) -> String {
    if skipped.total == 0 {
        return "no file holds a document".to_owned();
    }
    let named: Vec<_> = skipped
        .first
        .iter()
        .take(NAMED)
        .map(|part| {
            let place = match (part.line, part.row) {
                (Some(line), _) => format!(" line {line}"),
                (_, Some(row)) => format!(" row {row}"),
                (None, None) => String::new(),
            };
            format!("`{}`{place}: {}", shown(&part.file), part.reason)
        })
        .collect();
    let more = match skipped.total.saturating_sub(named.len() as u64) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("no file gave a document: {}{more}", named.join("; "))
}

/// A name that a client chose, which may be anything.
fn shown(name: &str) -> String {
    name.chars().take(200).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
