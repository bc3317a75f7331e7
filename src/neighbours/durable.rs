//! LanceDB leaves what it wrote in the page cache, which outlives the process and not the machine; these functions bring it to the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::names::CollectionName;

/// The folder that `uri` means, unless it means something that is no folder of this machine.
pub fn local_folder(uri: &str) -> Option<PathBuf> {
    match uri.split_once("://") {
        None => Some(PathBuf::from(uri)),
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => None,
    }
}

/// Brings what was written to a collection after `since` to the disk, where its tables lie in a folder.
pub(super) async fn sync_table(folder: Option<PathBuf>, collection: &CollectionName, since: SystemTime) -> io::Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    let table = folder.join(format!("{collection}.lance"));
    off_the_runtime(move || sync_since(&table, since)).await
}

/// Work with files that would hold up other tasks.
pub(super) async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Says, until it is dropped, that somebody reads one version of a collection in `folder` for long; housekeeping in any process heeds it.
pub(super) fn read_for_long(folder: &Path) -> io::Result<File> {
    let file = readers(folder)?;
    file.lock_shared()?;
    Ok(file)
}

/// Whether a process reads one version of a collection in `folder` for long.
pub(super) fn is_read_for_long(folder: &Path) -> bool {
    readers(folder).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn readers(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("readers.lock"))
}

/// Brings all files below `folder` that were written after `since`, and the folders that name them, to the disk.
fn sync_since(folder: &Path, since: SystemTime) -> io::Result<()> {
    // Clocks of file systems are coarser than the system's.
    let since = since - Duration::from_secs(2);
    for entry in walkdir::WalkDir::new(folder).contents_first(true) {
        let sync = |entry: walkdir::Result<walkdir::DirEntry>| {
            let entry = entry?;
            if entry.metadata()?.modified()? >= since { File::open(entry.path())?.sync_all() } else { Ok(()) }
        };
        match sync(entry) {
            // Housekeeping may remove files meanwhile; those needed no longer need no sync.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    match folder.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes a folder with all that is in it. It is moved `aside` first, so that a crash leaves it whole or gone; what a crash left there goes
/// too. No folder may be there.
pub(super) fn remove_folder(folder: &Path, aside: &Path) -> io::Result<()> {
    let or_gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    or_gone(fs::remove_dir_all(aside))?;
    match fs::rename(folder, aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved?,
    }
    if let Some(parent) = folder.parent() {
        File::open(parent)?.sync_all()?;
    }
    or_gone(fs::remove_dir_all(aside))
}
