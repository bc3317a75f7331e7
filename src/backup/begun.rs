use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::copy::{clear, hold, holds_only};
use super::{BackupError, manifest, restore};

/// Made first and removed last: a folder that has it and no manifest is that of a backup that was killed, and may be begun anew.
const MARK: &str = "backup.partial";

/// The folder of a backup that is being made. Dropped before it is complete, it takes what is in it along.
pub struct Begun {
    folder: PathBuf,
    /// It was not there before.
    made: bool,
    /// Locked, so that no other backup takes it for one that was killed; none when the backup is complete.
    mark: Option<File>,
    /// Locked by what writes into the folder on a thread of its own.
    wanted: Arc<Mutex<bool>>,
}

impl Begun {
    /// # Errors
    /// Something else is in the folder, another backup is made in it, or it cannot be written.
    pub fn new(folder: &Path) -> Result<Self, BackupError> {
        let failed = |doing| move |source| BackupError::File { file: folder.to_owned(), doing, source };
        let made = !folder.exists();
        let is_killed = folder.join(MARK).exists() && !folder.join(manifest::NAME).exists();
        if !holds_only(folder, |name| is_killed && is_own(name))? {
            return Err(BackupError::NotEmpty(folder.to_owned()));
        }
        // Texts and hashes of keys are nobody else's.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("made"))?;
        let mark = folder.join(MARK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&mark).map_err(failed("written"))?;
        if !hold(&file, &mark) {
            return Err(BackupError::Written(folder.to_owned()));
        }
        let begun = Self { folder: folder.to_owned(), made, mark: Some(file), wanted: Arc::new(Mutex::new(true)) };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("written"))?;
        begun.clear().map_err(failed("emptied"))?;
        Ok(begun)
    }

    /// Does what may take long, and nothing of it once the backup is dropped.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, BackupError> {
        let wanted = Arc::clone(&self.wanted);
        let done = tokio::task::spawn_blocking(move || {
            let wanted = lock(&wanted);
            wanted.then(work).transpose()
        });
        done.await??.ok_or_else(|| BackupError::Incomplete(self.folder.clone()))
    }

    /// The manifest is written, and all stays.
    ///
    /// # Errors
    /// The mark cannot be removed. The backup is whole for all that.
    pub fn complete(mut self) -> Result<(), BackupError> {
        // Locked till it is removed.
        let _mark = self.mark.take();
        let file = self.folder.join(MARK);
        let removed = std::fs::remove_file(&file).and_then(|()| File::open(&self.folder)?.sync_all());
        removed.map_err(|source| BackupError::File { file, doing: "removed", source })
    }

    /// Removes all but the mark, the manifest before what it tells of.
    fn clear(&self) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join(manifest::NAME)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        clear(&self.folder, |name| name.to_str().is_some_and(|name| name != MARK && is_own(name)))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.mark.is_none() {
            return;
        }
        // A file that is being copied would make its folder anew.
        *lock(&self.wanted) = false;
        if let Err(error) = self.clear().and_then(|()| std::fs::remove_file(self.folder.join(MARK))) {
            tracing::warn!(%error, folder = %self.folder.display(), "what was begun of the backup cannot be removed");
        } else if self.made {
            // Somebody may have put something in.
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

/// Whether a backup writes something of that name. SQLite's journals lie beside the catalogue.
fn is_own(name: &str) -> bool {
    [MARK, restore::LANCE].contains(&name) || name.starts_with(restore::CATALOGUE) || name.starts_with(manifest::NAME)
}

fn lock(wanted: &Mutex<bool>) -> MutexGuard<'_, bool> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What a backup has written when it ends early.
    fn fill(folder: &Path) {
        std::fs::create_dir_all(folder.join("lance/default.lance/data")).unwrap();
        for name in ["lance/default.lance/data/x.lance", "catalogue.sqlite", "catalogue.sqlite-wal", "backup.json.partial"] {
            std::fs::write(folder.join(name), "x").unwrap();
        }
    }

    #[test]
    fn what_ends_early_leaves_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let (new, empty) = (outer.path().join("new"), outer.path().join("empty"));
        std::fs::create_dir(&empty).unwrap();
        for folder in [&new, &empty] {
            let begun = Begun::new(folder).unwrap();
            fill(folder);
            drop(begun);
        }
        assert!(!new.exists());
        assert!(names(&empty).is_empty(), "{:?}", names(&empty));
    }

    #[test]
    fn what_was_killed_is_begun_anew_and_what_is_another_s_stays() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("backup");
        std::fs::create_dir(&folder).unwrap();
        fill(&folder);
        let is_not_empty = || matches!(Begun::new(&folder), Err(BackupError::NotEmpty(_)));
        assert!(is_not_empty(), "nothing says whose it is");
        std::fs::write(folder.join(MARK), "").unwrap();
        std::fs::write(folder.join("mine.txt"), "x").unwrap();
        assert!(is_not_empty(), "a file is another's");
        std::fs::remove_file(folder.join("mine.txt")).unwrap();

        let begun = Begun::new(&folder).unwrap();
        assert_eq!(names(&folder), [MARK]);
        assert!(matches!(Begun::new(&folder), Err(BackupError::Written(_))), "it is being written");
        fill(&folder);
        std::fs::rename(folder.join("backup.json.partial"), folder.join("backup.json")).unwrap();
        begun.complete().unwrap();
        assert_eq!(names(&folder), ["backup.json", "catalogue.sqlite", "catalogue.sqlite-wal", "lance"]);
        // Killed between its last two steps it is whole.
        std::fs::write(folder.join(MARK), "").unwrap();
        assert!(is_not_empty());
    }

    #[tokio::test]
    async fn what_is_being_written_is_removed_too() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("backup");
        let begun = Begun::new(&folder).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let to = folder.clone();
        let mut work = Box::pin(begun.work(move || {
            told.recv().unwrap();
            fill(&to);
            Ok(())
        }));
        assert!(futures::poll!(&mut work).is_pending());
        drop(work);
        tell.send(()).unwrap();
        drop(begun);
        assert!(!folder.exists());
    }
}
