use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::BackupError;
use super::copy::{clear, copy, hold, holds_only, sync_folders};
use super::manifest::Manifest;
use crate::files::{FileError, check_files};
use crate::settings::CATALOGUE_FILE;

/// Places in a backup, and in a data folder.
pub const CATALOGUE: &str = CATALOGUE_FILE;
pub const LANCE: &str = "lance";
/// Where a data folder that is a file system of its own grows.
const INSIDE: &str = "restore.partial";

/// Makes a data folder of a backup. All files are compared with the manifest first; the folder is complete when it has its name.
///
/// # Errors
/// The backup is not complete or was altered, the data folder is not empty, or it cannot be written. It is as it was then.
pub fn restore(backup: &Path, data: &Path, progress: impl Fn(u64, u64)) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(backup)?;
    check_complete(backup, &manifest)?;
    let target = Target::of(&place_of(data)?)?;
    check_files(backup, &manifest.files)?;
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

/// # Errors
/// The manifest names no catalogue, or a collection of which it names no version: a store without them opens, and is empty.
fn check_complete(backup: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let versions = manifest.collections.iter().map(|collection| format!("{LANCE}/{}.lance/_versions/", collection.name));
    let lacking = std::iter::once(CATALOGUE.to_owned())
        .chain(versions)
        .find(|place| !manifest.files.keys().any(|file| file == place || (place.ends_with('/') && file.starts_with(place))));
    lacking.map_or(Ok(()), |name| Err(BackupError::Lacks { folder: backup.to_owned(), name }))
}

/// The folder itself, where a link leads to it: only a folder can be replaced by one.
fn place_of(data: &Path) -> Result<PathBuf, BackupError> {
    let failed = |source| BackupError::File { file: data.to_owned(), doing: "reached", source };
    match data.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound && !data.is_symlink() => std::path::absolute(data).map_err(failed),
        place => place.map_err(failed),
    }
}

/// Where the data folder comes to be.
struct Target {
    data: PathBuf,
    staged: PathBuf,
    /// The data folder is a file system of its own, which cannot be given a name.
    inside: bool,
    /// The staged folder, locked, as long as it is one; none afterwards.
    held: Option<File>,
}

impl Target {
    /// The data folder is empty, and so is the staged one, which no other process uses.
    fn of(data: &Path) -> Result<Self, BackupError> {
        let parent = data.parent().unwrap_or(Path::new("/"));
        let name = data.file_name().unwrap_or_default().to_string_lossy();
        let device = |folder: &Path| folder.metadata().map(|metadata| metadata.dev()).ok();
        let inside = device(data).is_some() && device(data) != device(parent);
        let staged = if inside { data.join(INSIDE) } else { parent.join(format!(".{name}.restore.partial")) };
        // What a restore has left that was killed is no data.
        if !holds_only(data, |name| inside && name == INSIDE)? {
            return Err(BackupError::NotEmpty(data.to_owned()));
        }
        let mut target = Self { data: data.to_owned(), staged, inside, held: None };
        target.held = Some(target.hold()?);
        // The folder itself stays: it is the lock.
        clear(&target.staged, |_| true).map_err(|source| target.failed("emptied", source))?;
        // Another restore may have ended meanwhile.
        if !holds_only(data, |name| inside && name == INSIDE)? {
            return Err(BackupError::NotEmpty(data.to_owned()));
        }
        Ok(target)
    }

    fn hold(&self) -> Result<File, BackupError> {
        std::fs::create_dir_all(&self.staged).map_err(|source| self.failed("made", source))?;
        let folder = File::open(&self.staged).map_err(|source| self.failed("opened", source))?;
        if hold(&folder, &self.staged) { Ok(folder) } else { Err(BackupError::Restores(self.data.clone())) }
    }

    fn put_in_place(mut self) -> Result<(), BackupError> {
        let rename = |from: &Path, to: &Path| {
            std::fs::rename(from, to).map_err(|source| BackupError::File { file: to.to_owned(), doing: "put in place", source })
        };
        if self.inside {
            for name in [LANCE, CATALOGUE] {
                rename(&self.staged.join(name), &self.data.join(name))?;
            }
            std::fs::remove_dir(&self.staged).map_err(|source| self.failed("removed", source))?;
        } else {
            rename(&self.staged, &self.data)?;
        }
        // Under its name there is nothing any more, or what another restore begins.
        self.held = None;
        let changed = if self.inside { &*self.data } else { self.data.parent().unwrap_or(Path::new("/")) };
        File::open(changed).and_then(|folder| folder.sync_all()).map_err(|source| self.failed("synced", source))
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> BackupError {
        BackupError::File { file: self.staged.clone(), doing, source }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.held.is_some() {
            // What cannot be removed is emptied by the next restore.
            let _ = std::fs::remove_dir_all(&self.staged);
        }
    }
}
