//! Files that clients send. They lie in a folder of their own for as long as they are read, under names of this program's: what the client
//! calls them is data, of which ids, titles and sources are made.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::find::{Kind, Source, unknown_kind};
use super::{Documents, Skipped};
use crate::ingest::{DocumentInput, IngestLimits, NewDocument, SkippedFiles, check_labels};
use crate::invalid::Invalid;
use crate::names::CollectionName;

/// Most parts of the files of one upload that give no document.
const MOST_SKIPPED: u64 = 10_000;

/// Where uploads are put.
pub struct Uploads {
    folder: PathBuf,
    /// Reads the formats that are read in a process of their own.
    program: PathBuf,
    readers: Arc<Semaphore>,
    /// Shared by all processes that have uploads here.
    _used: File,
}

/// Files of one request. They are removed with it.
pub struct Upload {
    folder: TempDir,
    program: PathBuf,
    sources: VecDeque<Result<Source, Skipped>>,
}

/// What is said of all files of an upload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileLabels {
    pub title: Option<String>,
    pub source: Option<String>,
    pub metadata: Map<String, Value>,
}

#[derive(Clone, Copy, Debug)]
pub struct UploadLimits {
    pub ingest: IngestLimits,
    pub documents: usize,
    /// Of all documents together.
    pub text_bytes: usize,
}

/// What an upload holds.
#[derive(Debug)]
pub struct Found {
    pub documents: Vec<NewDocument>,
    pub skipped: SkippedFiles,
}

/// Why an upload is not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMuch {
    Documents,
    TextBytes,
    /// Parts that give no document, more than this.
    Skipped(u64),
    /// Nobody waits for it any more.
    Stopped,
}

impl Uploads {
    /// # Arguments
    /// * `folder` - is made where there is none. What a process left there that was killed is removed, unless another process is at work.
    /// * `program` - its command `read-file` calls [`read_here`](super::read_here).
    /// * `readers` - uploads that are read at a time.
    ///
    /// # Errors
    /// The folder, or the lock file beside it, cannot be used.
    pub fn open(folder: PathBuf, program: PathBuf, readers: usize) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let used = OpenOptions::new().create(true).truncate(false).write(true).open(folder.with_extension("lock"))?;
        match used.try_lock() {
            Ok(()) => {
                empty(&folder)?;
                used.unlock()?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        used.lock_shared()?;
        Ok(Self { folder, program, readers: Arc::new(Semaphore::new(readers)), _used: used })
    }

    /// # Errors
    /// There is no room for its folder.
    pub fn begin(&self) -> io::Result<Upload> {
        Ok(Upload { folder: TempDir::new_in(&self.folder)?, program: self.program.clone(), sources: VecDeque::new() })
    }

    /// The leave to read an upload, until the permit is dropped.
    pub async fn reader(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.readers).acquire_owned().await.expect("it is never closed")
    }
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Upload {
    /// Begins a file that its sender calls `name`: where its bytes are to be written. None where no reader knows its kind; its bytes are
    /// wanted nowhere.
    pub fn begin_file(&mut self, name: &str) -> Option<PathBuf> {
        let name = PathBuf::from(name);
        let Some(kind) = Kind::of(&name) else {
            self.sources.push_back(Err(unknown_kind(&name)));
            return None;
        };
        let path = self.folder.path().join(format!("{}.{}", self.sources.len(), kind.extension()));
        self.sources.push_back(Ok(Source { path: path.clone(), relative: name.clone(), name, kind, bytes: 0 }));
        Some(path)
    }

    /// Files that were begun.
    pub fn files(&self) -> usize {
        self.sources.len()
    }

    /// Reads the documents of all files, in `collection` if that is given. What a document says of itself goes before `labels`.
    ///
    /// # Errors
    /// There is too much, or `stop` came.
    pub fn read(
        self,
        collection: Option<&CollectionName>,
        labels: FileLabels,
        limits: &UploadLimits,
        stop: &CancellationToken,
    ) -> Result<Found, TooMuch> {
        let Self { folder: _folder, program, sources } = self;
        let mut files = Documents::of(sources, limits.ingest).labelled(labels).reading_apart(program);
        let (mut documents, mut bytes, mut skipped) = (Vec::new(), 0_usize, SkippedFiles::default());
        while let Some(document) = files.next_valid(collection) {
            if stop.is_cancelled() {
                return Err(TooMuch::Stopped);
            }
            match document {
                Ok(document) => {
                    bytes = bytes.saturating_add(document.text().len());
                    documents.push(document);
                }
                Err(part) => skipped.push(part),
            }
            if documents.len() > limits.documents {
                return Err(TooMuch::Documents);
            }
            if bytes > limits.text_bytes {
                return Err(TooMuch::TextBytes);
            }
            if skipped.total > MOST_SKIPPED {
                return Err(TooMuch::Skipped(MOST_SKIPPED));
            }
        }
        Ok(Found { documents, skipped })
    }
}

impl FileLabels {
    /// # Errors
    /// [`Invalid`] names the field and the rule that it breaks.
    pub fn validate(title: Option<String>, source: Option<String>, metadata: Map<String, Value>) -> Result<Self, Invalid> {
        check_labels(title.as_deref(), source.as_deref(), &metadata)?;
        Ok(Self { title, source, metadata })
    }

    /// Fills in what a document does not say.
    pub(super) fn apply(&self, document: &mut DocumentInput) {
        document.title = document.title.take().or_else(|| self.title.clone());
        document.source = document.source.take().or_else(|| self.source.clone());
        if !self.metadata.is_empty() {
            let own = document.metadata.take().unwrap_or_default();
            document.metadata = Some(self.metadata.clone().into_iter().chain(own).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: UploadLimits =
        UploadLimits { ingest: IngestLimits { max_document_bytes: 1000 }, documents: 3, text_bytes: 2000 };

    fn uploads(folder: &TempDir) -> Uploads {
        Uploads::open(folder.path().join("uploads"), "/bin/false".into(), 1).unwrap()
    }

    fn with(uploads: &Uploads, files: &[(&str, &str)]) -> Upload {
        let mut upload = uploads.begin().unwrap();
        for (name, content) in files {
            if let Some(path) = upload.begin_file(name) {
                assert!(path.starts_with(&uploads.folder), "{name}");
                std::fs::write(path, content).unwrap();
            }
        }
        upload
    }

    fn read(upload: Upload, labels: FileLabels) -> Result<Found, TooMuch> {
        upload.read(None, labels, &LIMITS, &CancellationToken::new())
    }

    fn left(uploads: &Uploads) -> usize {
        std::fs::read_dir(&uploads.folder).unwrap().count()
    }

    #[test]
    fn hostile_names_are_data() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(&folder);
        let names = ["../../etc/passwd.txt", "/etc/cron.d/x.md", "C:\\boot\\<b>\u{202e}.txt"];
        let upload = with(&uploads, &names.map(|name| (name, "text")));
        assert_eq!(std::fs::read_dir(upload.folder.path()).unwrap().count(), 3);
        let found = read(upload, FileLabels::default()).unwrap();
        assert_eq!((found.documents.len(), found.skipped.total), (3, 0));
        let mut ids: Vec<_> = found.documents.iter().map(|document| document.id().as_str().to_owned()).collect();
        ids.dedup();
        assert!(ids.len() == 3 && ids.iter().all(|id| !id.contains("..:..") || id.starts_with("file")), "{ids:?}");
        assert_eq!(left(&uploads), 0);
        assert!(!folder.path().join("etc").exists());
    }

    #[test]
    fn what_a_document_says_goes_before_what_is_said_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(&folder);
        let line = json!({"id": "l", "text": "line", "title": "Own", "metadata": {"year": 1}});
        let files = [("a/film.md", "# Heading\n\ntext"), ("lines.jsonl", &line.to_string()), ("plain.txt", "text")];
        let inputs = |labels: FileLabels| {
            let upload = with(&uploads, &files);
            let documents = Documents::of(upload.sources.clone(), LIMITS.ingest).labelled(labels);
            documents.map(|input| input.unwrap()).collect::<Vec<_>>()
        };
        let plain = inputs(FileLabels::default());
        let seen = |documents: &[DocumentInput]| {
            let part = |one: &DocumentInput| (one.title.clone().unwrap(), one.source.clone().unwrap());
            documents.iter().map(part).map(|(title, source)| format!("{title}|{source}")).collect::<Vec<_>>()
        };
        assert_eq!(seen(&plain), ["Heading|a/film.md", "Own|lines.jsonl", "plain|plain.txt"]);
        assert_eq!(plain[0].id.as_deref(), Some("a:film.md"), "as `retro ingest` makes it");
        let metadata = json!({"year": 2, "set": "s"}).as_object().unwrap().clone();
        let said = inputs(FileLabels { title: Some("T".to_owned()), source: Some("S".to_owned()), metadata });
        assert_eq!(seen(&said), ["T|S", "Own|S", "T|S"]);
        assert_eq!(Value::from(said[1].metadata.clone().unwrap()), json!({"set": "s", "year": 1}));
        assert_eq!(Value::from(said[2].metadata.clone().unwrap()), json!({"set": "s", "year": 2}));
    }

    #[test]
    fn an_upload_is_bounded_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(&folder);
        let lines = "{\"text\": \"a\"}\n".repeat(4);
        let text = "x".repeat(900);
        let broken = "?\n".repeat(10_001);
        for (files, expected) in [
            (vec![("a.jsonl", lines.as_str())], TooMuch::Documents),
            (["a.txt", "b.txt", "c.txt"].map(|name| (name, text.as_str())).to_vec(), TooMuch::TextBytes),
            (vec![("a.jsonl", broken.as_str())], TooMuch::Skipped(10_000)),
        ] {
            assert_eq!(read(with(&uploads, &files), FileLabels::default()).unwrap_err(), expected);
        }
        let stop = CancellationToken::new();
        stop.cancel();
        let stopped = with(&uploads, &[("a.txt", "a")]).read(None, FileLabels::default(), &LIMITS, &stop);
        assert_eq!(stopped.unwrap_err(), TooMuch::Stopped);
        let found = read(with(&uploads, &[("a.txt", "a"), ("a.png", "p"), ("b.txt", "")]), FileLabels::default()).unwrap();
        assert_eq!((found.documents.len(), found.skipped.total), (1, 2));
        assert!(found.skipped.first[0].reason.contains("its name ends in none of .txt"), "{:?}", found.skipped);
        drop(with(&uploads, &[("a.txt", "a")]));
        assert_eq!(left(&uploads), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next_that_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = uploads(&folder);
        let left_by_kill = first.folder.join("tmp");
        std::fs::create_dir(&left_by_kill).unwrap();
        std::fs::write(left_by_kill.join("0.txt"), "a").unwrap();
        let second = uploads(&folder);
        assert_eq!(left(&second), 1, "the first may be at it");
        drop((first, second));
        assert_eq!(left(&uploads(&folder)), 0);
    }
}
