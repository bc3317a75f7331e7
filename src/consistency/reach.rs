//! Files that cannot be read although they may be whole, told from those that are damaged: only what is damaged is mended.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind};
use std::iter::successors;
use std::path::Path;

use super::{Finding, Kind};
use crate::neighbours::{DatabaseError, local_folder};

/// Bytes of a file that are read at a time.
const BUFFER: usize = 1 << 20;

/// Why something cannot be read.
pub(super) enum Unread {
    /// It is not as it was written, or is gone.
    Damaged(DatabaseError),
    /// The machine, or the object store, keeps it from being read, and says why.
    Withheld(String),
}

/// Why some files below the folder of a collection cannot be read.
///
/// # Arguments
/// * `files` - places below the folder.
pub(super) async fn unread(uri: &str, collection: &str, files: Vec<String>, error: DatabaseError) -> Unread {
    if may_be_whole(uri, &error) {
        return Unread::Withheld(error.to_string());
    }
    let Some(folder) = local_folder(uri).map(|folder| folder.join(format!("{collection}.lance"))) else {
        return Unread::Damaged(error);
    };
    // On the way through the readers an error may have lost its cause. What this process cannot read to the end, they cannot either.
    match tokio::task::spawn_blocking(move || first_withheld(&folder, &files)).await {
        Ok(None) => Unread::Damaged(error),
        Ok(Some(reason)) => Unread::Withheld(reason),
        Err(ended) => Unread::Withheld(format!("{error}; its files could not be looked through: {ended}")),
    }
}

/// Of a collection that cannot be opened or gone on with. It is not mended, whatever the reason.
pub(super) fn closed(collection: &str, error: &DatabaseError) -> Finding {
    match is_withheld(error) {
        true => withheld(collection, &format!("{error}. It may be whole, and nothing of it is mended")),
        false => Finding::new(Kind::UnreadableCollection, error.to_string()).of(collection, None),
    }
}

/// Of something in a collection that the machine keeps from being read.
pub(super) fn withheld(collection: &str, what: &str) -> Finding {
    let text = format!(
        "{what}; give the files to the user of the server and run this as that user, see that the disk or the object store answers, and try \
         again"
    );
    Finding::new(Kind::Withheld, text).of(collection, None)
}

/// Whether an error leaves it open that the files are whole.
pub(super) fn may_be_whole(uri: &str, error: &DatabaseError) -> bool {
    // An object store has many words for that it does not answer now.
    is_withheld(error) || local_folder(uri).is_none() && !error.is_damage()
}

/// Whether it is the machine, or an object store, that says no, whatever the files hold.
pub(super) fn is_withheld(error: &(dyn Error + 'static)) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    let told = successors(Some(error), |error| (*error).source()).any(|error| match error.downcast_ref::<io::Error>() {
        Some(error) => withholds(error),
        None => {
            let error = error.downcast_ref::<object_store::Error>();
            matches!(error, Some(PermissionDenied { .. } | Unauthenticated { .. }))
        }
    });
    // Some readers keep no more of an error than its text.
    told || codes(&error.to_string()).any(|code| withholds(&io::Error::from_raw_os_error(code)))
}

/// Whether an error does not come from what a file holds, or from its being gone.
fn withholds(error: &io::Error) -> bool {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        // One that another wraps is not found among its causes.
        Some(wrapped) => withholds(wrapped),
        // Readers make errors of their own of what they cannot understand.
        None if error.raw_os_error().is_none() && error.kind() == ErrorKind::Other => false,
        // A place in a file that cannot be, which only the file names, is an input that is not valid.
        None => !matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
        ),
    }
}

/// The codes of the operating system in a text, as Rust writes them.
fn codes(text: &str) -> impl Iterator<Item = i32> {
    text.split("(os error ").skip(1).filter_map(|rest| rest.split_once(')')?.0.parse().ok())
}

fn first_withheld(folder: &Path, files: &[String]) -> Option<String> {
    files.iter().map(|file| folder.join(file)).find_map(|path| match read_through(&path) {
        Err(error) if withholds(&error) => Some(format!("{}: {error}", path.display())),
        _ => None,
    })
}

fn read_through(path: &Path) -> io::Result<u64> {
    io::copy(&mut BufReader::with_capacity(BUFFER, File::open(path)?), &mut io::sink())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("a reader ended")]
    struct Wrapped(#[source] Box<dyn Error + Send + Sync>);

    fn stored(source: impl Error + Send + Sync + 'static) -> object_store::Error {
        object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(source) }
    }

    #[test]
    fn what_the_machine_withholds_is_no_damage() {
        // EPERM, EIO, EACCES, ENFILE, EMFILE, ETIMEDOUT, ESTALE
        for code in [1, 5, 13, 23, 24, 110, 116] {
            let error = || io::Error::from_raw_os_error(code);
            assert!(is_withheld(&Wrapped(Box::new(stored(error())))), "{}", error());
            assert!(is_withheld(&io::Error::other(error())), "{}", error());
            assert!(is_withheld(&io::Error::other(format!("a plan ended: {}", error()))), "{}", error());
        }
        let denied = object_store::Error::PermissionDenied { path: "a".to_owned(), source: "403".into() };
        assert!(is_withheld(&Wrapped(Box::new(denied))));
    }

    #[test]
    fn what_a_file_holds_is_damage() {
        for kind in [ErrorKind::NotFound, ErrorKind::UnexpectedEof, ErrorKind::InvalidData, ErrorKind::InvalidInput] {
            assert!(!is_withheld(&Wrapped(Box::new(stored(io::Error::from(kind))))), "{kind}");
        }
        assert!(!is_withheld(&Wrapped("the file has no footer".into())));
        assert!(!is_withheld(&Wrapped(Box::new(io::Error::other("the file has no footer")))));
        assert!(!is_withheld(&Wrapped("No such file or directory (os error 2)".into())));
    }

    #[test]
    fn a_file_is_withheld_if_it_is_there_and_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("whole"), b"text").unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let files = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(first_withheld(folder.path(), &files(&["whole", "gone"])), None);
        let reason = first_withheld(folder.path(), &files(&["whole", "folder"])).unwrap();
        assert!(reason.contains("folder: ") && reason.contains("(os error "), "{reason}");
    }
}
