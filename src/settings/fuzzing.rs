//! `retro.toml` from bytes.

use std::path::Path;

use super::SettingsFile;

pub(crate) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = SettingsFile::parse(Path::new("retro.toml"), text) {
        let error = error.to_string();
        assert!(error.contains("line ") && error.len() <= 4 * bytes.len() + 4096, "{error}");
    }
}
