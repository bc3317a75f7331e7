//! Checks of files against a manifest: a model that was altered or cut short is named, never run.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a manifest says of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileEntry {
    /// Lower-case hexadecimal.
    pub sha256: String,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{name} cannot be read: {source}")]
    Read { name: String, source: std::io::Error },
    #[error("{name} has {found} bytes, the manifest says {expected}")]
    Size { name: String, found: u64, expected: u64 },
    #[error("{name} was altered: its sha256 is {found}, the manifest says {expected}")]
    Altered { name: String, found: String, expected: String },
    #[error("the manifest names {name:?}, which is no place inside its folder")]
    Name { name: String },
}

/// Compares files of `folder` with their entries; a name may lead into a folder of it, by `/`.
///
/// # Errors
/// The first file that is missing, has another size or another sha256.
pub fn check_files<'a>(folder: &Path, files: impl IntoIterator<Item = (&'a String, &'a FileEntry)>) -> Result<(), FileError> {
    for (name, entry) in files {
        if name.contains('\\') || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(FileError::Name { name: name.clone() });
        }
        let read = |source| FileError::Read { name: name.clone(), source };
        let mut file = std::fs::File::open(folder.join(name)).map_err(read)?;
        let found = file.metadata().map_err(read)?.len();
        if found != entry.bytes {
            return Err(FileError::Size { name: name.clone(), found, expected: entry.bytes });
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).map_err(read)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        let found = hex(&hasher.finalize());
        if found != entry.sha256 {
            return Err(FileError::Altered { name: name.clone(), found, expected: entry.sha256.clone() });
        }
    }
    Ok(())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_missing_a_short_and_an_altered_file_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let entry = FileEntry { sha256: hex(&Sha256::digest(b"abc")), bytes: 3 };
        let files = BTreeMap::from([("a.bin".to_owned(), entry)]);
        assert!(matches!(check_files(folder.path(), &files), Err(FileError::Read { .. })));
        std::fs::write(folder.path().join("a.bin"), b"abc").unwrap();
        check_files(folder.path(), &files).unwrap();
        std::fs::write(folder.path().join("a.bin"), b"ab").unwrap();
        assert!(matches!(check_files(folder.path(), &files), Err(FileError::Size { found: 2, .. })));
        std::fs::write(folder.path().join("a.bin"), b"abd").unwrap();
        assert!(matches!(check_files(folder.path(), &files), Err(FileError::Altered { .. })));
    }

    #[test]
    fn a_manifest_cannot_reach_out_of_its_folder() {
        for name in ["../x", "/x", "a/../../x", "a//x", "..\\x", "."] {
            let files = BTreeMap::from([(name.to_owned(), FileEntry { sha256: String::new(), bytes: 0 })]);
            assert!(matches!(check_files(Path::new("."), &files), Err(FileError::Name { .. })), "{name}");
        }
    }
}
