use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::BackupError;
use crate::files::{FileEntry, hex};

/// Copies a file, brings it to the disk, and says what was copied.
pub fn copy(from: &Path, to: &Path) -> Result<FileEntry, BackupError> {
    let of = |file: &Path, doing| {
        let file = file.to_owned();
        move |source| BackupError::File { file, doing, source }
    };
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(of(folder, "made"))?;
    }
    let mut source = File::open(from).map_err(of(from, "opened"))?;
    let mut target = File::create_new(to).map_err(of(to, "made"))?;
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match source.read(&mut buffer).map_err(of(from, "read"))? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                target.write_all(&buffer[..read]).map_err(of(to, "written"))?;
                bytes += read as u64;
            }
        }
    }
    target.sync_all().map_err(of(to, "brought to the disk"))?;
    Ok(FileEntry { sha256: hex(&hasher.finalize()), bytes })
}

/// What is said of a file that is there already.
pub fn measure(file: &Path) -> Result<FileEntry, BackupError> {
    let of = |doing| move |source| BackupError::File { file: file.to_owned(), doing, source };
    let mut source = File::open(file).map_err(of("opened"))?;
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match source.read(&mut buffer).map_err(of("read"))? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
    source.sync_all().map_err(of("brought to the disk"))?;
    Ok(FileEntry { sha256: hex(&hasher.finalize()), bytes })
}

/// Brings the names of files to the disk: all folders between `top` and them.
pub fn sync_folders<'a>(top: &Path, files: impl Iterator<Item = &'a String>) -> Result<(), BackupError> {
    let mut folders: BTreeSet<PathBuf> = BTreeSet::from([top.to_owned()]);
    for file in files {
        let mut folder = top.join(file);
        while folder.pop() && folder != *top {
            folders.insert(folder.clone());
        }
    }
    for folder in folders.iter().rev() {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| BackupError::File { file: folder.clone(), doing: "brought to the disk", source })?;
    }
    Ok(())
}

/// Whether nothing is in a folder but what `is_own` says is no matter, or there is no such folder.
pub fn holds_only(folder: &Path, is_own: impl Fn(&str) -> bool) -> Result<bool, BackupError> {
    let failed = |source| BackupError::File { file: folder.to_owned(), doing: "read", source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(source) => return Err(failed(source)),
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        // A file system of its own may have `lost+found`.
        if name != "lost+found" && !name.to_str().is_some_and(&is_own) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Locks what lies at `place`, and was opened as `file`; gives whether it is this process's until `file` is closed. Some network file systems
/// and disks have no locks; there it has to do without.
pub fn hold(file: &File, place: &Path) -> bool {
    let of = |metadata: io::Result<Metadata>| metadata.map(|metadata| (metadata.dev(), metadata.ino())).ok();
    // Whoever had it locked may have given it another name, or removed it; and a link leads to what is another's.
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && of(file.metadata()) == of(place.symlink_metadata())
}

/// Removes from a folder what has a name that is meant.
pub fn clear(folder: &Path, is_meant: impl Fn(&OsStr) -> bool) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !is_meant(&entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() { std::fs::remove_dir_all(entry.path())? } else { std::fs::remove_file(entry.path())? }
    }
    Ok(())
}
