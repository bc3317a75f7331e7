use std::path::Path;

use super::sql::query;
use super::{Catalogue, CatalogueError};

impl Catalogue {
    /// Writes the catalogue as it is at one moment to a new file; others read and write meanwhile.
    ///
    /// # Errors
    /// The catalogue cannot be read or the file cannot be written.
    pub async fn copy_to(&self, file: &Path) -> Result<(), CatalogueError> {
        query("VACUUM INTO $1").bind(file.to_string_lossy().into_owned()).execute(self.reader()).await?;
        Ok(())
    }
}
