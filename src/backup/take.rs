use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::begun::Begun;
use super::copy::{copy, measure, sync_folders};
use super::manifest::{BackedUp, Manifest};
use super::{BackupError, restore};
use crate::catalogue::Catalogue;
use crate::files::FileEntry;
use crate::ingest::{ChangeLock, sole_lock};
use crate::neighbours::{Audit, collections_at, local_folder};

/// The stores that a backup is of.
pub struct Places {
    pub catalogue: Catalogue,
    /// Place of the retrieval database.
    pub uri: String,
    /// The lock file of the one worker on these stores; what is to be copied is held fast next to it.
    pub worker_lock: PathBuf,
}

/// A file that is to be copied.
struct Pinned {
    /// Its place in the backup.
    name: String,
    from: PathBuf,
}

/// Copies both stores, as they are at one moment, into a new or empty folder. Documents may be taken in, replaced and deleted meanwhile: for
/// the moment in which the catalogue is copied and the files of the collections are held fast, no chunk is written.
///
/// # Arguments
/// * `progress` - is told how many files of how many are copied.
///
/// # Errors
/// The folder is not empty, a store cannot be read, or the backup cannot be written. Nothing of it is left then, nor where the future is
/// dropped.
pub async fn take(places: &Places, folder: &Path, progress: impl Fn(u64, u64)) -> Result<Manifest, BackupError> {
    if local_folder(&places.uri).is_none() {
        return Err(BackupError::Elsewhere(places.uri.clone()));
    }
    let _sole = sole_lock(&places.worker_lock.with_file_name("backup.lock"))?.ok_or(BackupError::Runs)?;
    let begun = Begun::new(folder)?;
    let pins = Pins::new(places.worker_lock.with_file_name("backup-pins"))?;
    let copied = folder.join(restore::CATALOGUE);
    let (mut pinned, mut collections, mut audits) = (Vec::new(), Vec::new(), Vec::new());

    let guard = ChangeLock::of_stores(&places.catalogue, places.uri.clone(), &places.worker_lock).hold().await?;
    for name in collections_at(&places.uri).await? {
        let Some(audit) = Audit::open(&places.uri, &name).await? else { continue };
        let source = audit.folder().ok_or_else(|| BackupError::Elsewhere(places.uri.clone()))?;
        for file in audit.files().await? {
            let name = format!("{}/{name}.lance/{file}", restore::LANCE);
            let from = pins.hold(&source.join(&file), &name);
            pinned.push(Pinned { name, from });
        }
        let identity = audit.identity();
        collections.push(BackedUp {
            name: name.to_string(),
            version: audit.version(),
            chunks: audit.rows(),
            tokenizer: identity.tokenizer.clone(),
            embedder: identity.embedder.clone(),
        });
        audits.push(audit);
    }
    places.catalogue.copy_to(&copied).await?;
    drop(guard);

    let total = pinned.len() as u64;
    let mut files: BTreeMap<String, FileEntry> = BTreeMap::new();
    for (Pinned { name, from }, done) in pinned.into_iter().zip(0..) {
        progress(done, total);
        let to = folder.join(&name);
        let entry = begun.work(move || copy(&from, &to)).await?;
        files.insert(name, entry);
    }
    drop(audits);
    let counted = Catalogue::open(folder, None).await?;
    let documents = counted.count_documents(None).await?;
    // Its journal goes into the file.
    counted.close().await;
    let folder = folder.to_owned();
    let write = move || {
        files.insert(restore::CATALOGUE.to_owned(), measure(&copied)?);
        sync_folders(&folder, files.keys())?;
        let manifest = Manifest::new(documents.into(), collections, files);
        manifest.write(&folder).map_err(|source| BackupError::File { file: folder, doing: "completed", source })?;
        Ok::<_, BackupError>(manifest)
    };
    let manifest = begun.work(write).await?;
    begun.complete()?;
    Ok(manifest)
}

/// Second names of files, under which they stay whatever becomes of their collection.
struct Pins(PathBuf);

impl Pins {
    fn new(folder: PathBuf) -> Result<Self, BackupError> {
        let pins = Self(folder);
        // What a crash has left.
        pins.clear();
        std::fs::create_dir_all(&pins.0).map_err(|source| BackupError::File { file: pins.0.clone(), doing: "made", source })?;
        Ok(pins)
    }

    /// Where to read the file. A file system without second names leaves it where it is, till housekeeping removes it, an hour from then.
    fn hold(&self, file: &Path, name: &str) -> PathBuf {
        let pin = self.0.join(name);
        let linked = pin.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::hard_link(file, &pin));
        match linked {
            Ok(()) => pin,
            Err(_) => file.to_owned(),
        }
    }

    fn clear(&self) {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, folder = %self.0.display(), "what a backup held fast cannot be let go of");
            }
            _ => {}
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.clear();
    }
}
