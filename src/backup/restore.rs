use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::BackupError;
use super::copy::{copy, is_empty, sync_folders};
use super::manifest::Manifest;
use crate::files::{FileError, check_files};

/// Places in a backup, and in a data folder.
pub const CATALOGUE: &str = "catalogue.sqlite";
pub const LANCE: &str = "lance";

/// Makes a data folder of a backup. All files are compared with the manifest first; the folder is complete when it has its name.
///
/// # Errors
/// The backup is not complete or was altered, the data folder is not empty, or it cannot be written. It is as it was then.
pub fn restore(backup: &Path, data: &Path, progress: impl Fn(u64, u64)) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(backup)?;
    let data = std::path::absolute(data).map_err(|source| BackupError::File { file: data.to_owned(), doing: "named", source })?;
    let target = Target::of(&data)?;
    check_files(backup, &manifest.files)?;
    target.clear()?;
    let total = manifest.files.len() as u64;
    for ((name, entry), done) in manifest.files.iter().zip(0..) {
        progress(done, total);
        let copied = copy(&backup.join(name), &target.staged.join(name))?;
        if copied != *entry {
            // Somebody writes to it.
            let altered = FileError::Altered { name: name.clone(), found: copied.sha256, expected: entry.sha256.clone() };
            return Err(altered.into());
        }
    }
    std::fs::create_dir_all(target.staged.join(LANCE)).map_err(|source| target.failed("made", source))?;
    sync_folders(&target.staged, manifest.files.keys())?;
    target.put_in_place()?;
    Ok(manifest)
}

/// Where the data folder comes to be.
struct Target {
    data: PathBuf,
    staged: PathBuf,
    /// The data folder is a file system of its own, which cannot be given a name.
    inside: bool,
}

impl Target {
    fn of(data: &Path) -> Result<Self, BackupError> {
        let parent = data.parent().unwrap_or(Path::new("/"));
        let name = data.file_name().unwrap_or_default().to_string_lossy();
        let device = |folder: &Path| folder.metadata().map(|metadata| metadata.dev()).ok();
        let inside = device(data).is_some() && device(data) != device(parent);
        let staged = if inside { data.join("restore.partial") } else { parent.join(format!(".{name}.restore.partial")) };
        let target = Self { data: data.to_owned(), staged, inside };
        // What a restore has left that was killed is no data.
        if inside && target.staged.exists() && !data.join(LANCE).exists() {
            target.clear()?;
        }
        if !is_empty(data)? {
            return Err(BackupError::NotEmpty(data.to_owned()));
        }
        Ok(target)
    }

    fn clear(&self) -> Result<(), BackupError> {
        match std::fs::remove_dir_all(&self.staged) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(self.failed("removed", source)),
            _ => std::fs::create_dir_all(&self.staged).map_err(|source| self.failed("made", source)),
        }
    }

    fn put_in_place(&self) -> Result<(), BackupError> {
        let rename = |from: &Path, to: &Path| {
            std::fs::rename(from, to).map_err(|source| BackupError::File { file: to.to_owned(), doing: "put in place", source })
        };
        if self.inside {
            for name in [LANCE, CATALOGUE] {
                rename(&self.staged.join(name), &self.data.join(name))?;
            }
            std::fs::remove_dir(&self.staged).map_err(|source| self.failed("removed", source))?;
            return File::open(&self.data).and_then(|folder| folder.sync_all()).map_err(|source| self.failed("synced", source));
        }
        rename(&self.staged, &self.data)?;
        let parent = self.data.parent().unwrap_or(Path::new("/"));
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(|source| self.failed("synced", source))
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> BackupError {
        BackupError::File { file: self.staged.clone(), doing, source }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Nothing is there where it was put in its place.
        let _ = std::fs::remove_dir_all(&self.staged);
    }
}
