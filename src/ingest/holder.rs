//! Who holds a lock file, for a person to know what to stop.

use std::path::Path;

use super::locks::{REINDEX, WORKERS};
use crate::catalogue::{Catalogue, CatalogueError};

/// The process that holds the lock of a file, in words; none where the system does not tell.
pub fn holder(lock: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(lock).ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // As `1: FLOCK  ADVISORY  WRITE 4242 fd:01:131090 0 EOF`; a line with an arrow is of one that waits.
    let process = locks.lines().filter(|line| !line.contains("->")).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of_file = words.get(5)?.rsplit(':').next()? == inode;
        of_file.then(|| words[4].to_owned())
    })?;
    let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let mut words = command.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    let program = words.next().and_then(|path| path.rsplit('/').next().map(str::to_owned)).unwrap_or_default();
    let subcommand = words.next().unwrap_or_default();
    Some(match program.is_empty() {
        true => format!("process {process}"),
        false => format!("`{} {subcommand}`, process {process},", program.trim()),
    })
}

/// Who takes documents in or makes collections anew on any machine that shares the catalogue, if anybody does.
///
/// # Errors
/// The catalogue cannot be read.
pub async fn lease_holder(catalogue: &Catalogue) -> Result<Option<String>, CatalogueError> {
    if !catalogue.is_shared() {
        return Ok(None);
    }
    for prefix in [WORKERS, REINDEX] {
        if let Some(holder) = catalogue.lease_holder(prefix).await? {
            return Ok(Some(format!("a process on another machine or this one ({holder})")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_holder_of_a_lock_is_known_until_it_lets_go() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(holder(file.path()), None);
        file.as_file().lock().unwrap();
        let found = holder(file.path());
        // Some containers hide the table of locks.
        assert!(found.is_none_or(|words| words.contains(&format!("process {}", std::process::id()))));
    }
}
