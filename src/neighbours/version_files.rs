use std::path::PathBuf;

use lance::index::DatasetIndexExt;

use super::database::store;
use super::{Audit, DatabaseError};

impl Audit {
    /// The folder of the collection; none where the database is no folder of this machine.
    pub fn folder(&self) -> Option<PathBuf> {
        let folder = self.database().inner.folder.as_ref()?;
        Some(folder.join(format!("{}.lance", self.collection())))
    }

    /// All files that make up this version, as places below the collection's folder. No file is ever written again, so a copy of them is the
    /// version.
    ///
    /// # Errors
    /// The collection cannot be read, or lies in no folder of this machine.
    pub async fn files(&self) -> Result<Vec<String>, DatabaseError> {
        let doing = |error: lance::Error| store(format!("list the files of collection {}", self.collection()), error.into());
        let unusual =
            |reason: &str| DatabaseError::Corrupt { collection: self.collection().to_string(), reason: reason.to_owned() };
        let folder = self.folder().ok_or_else(|| unusual("it lies in no folder of this machine"))?;
        let manifest = self.dataset().manifest_location().path.filename().map(str::to_owned);
        let mut files = vec![format!("_versions/{}", manifest.ok_or_else(|| unusual("its manifest has no name"))?)];
        // What is only there to tell later writers of conflicts is taken along where it is there.
        if let Some(transaction) = &self.dataset().manifest().transaction_file {
            let file = format!("_transactions/{transaction}");
            if folder.join(&file).exists() {
                files.push(file);
            }
        }
        for part in self.parts() {
            files.extend(self.part(part).1);
        }
        for index in self.dataset().load_indices().await.map_err(doing)?.iter() {
            let place = format!("_indices/{}", index.uuid);
            for entry in walkdir::WalkDir::new(folder.join(&place)).sort_by_file_name() {
                let entry = entry.map_err(|error| DatabaseError::Measure(error.into()))?;
                if entry.file_type().is_file()
                    && let Some(name) = entry.path().strip_prefix(&folder).ok().and_then(|name| name.to_str())
                {
                    files.push(name.to_owned());
                }
            }
        }
        Ok(files)
    }
}
