use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;

/// Reads at most `count` JSON lines after the first `skip`; `.zst` is unpacked.
///
/// # Errors
/// The file cannot be read, or a line is not of the form; the error names line and field.
pub fn read<T: DeserializeOwned>(path: &Path, skip: usize, count: usize) -> anyhow::Result<Vec<T>> {
    let unreadable = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(unreadable)?;
    let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "zst") {
        Box::new(zstd::Decoder::new(file).with_context(unreadable)?)
    } else {
        Box::new(file)
    };
    let lines = BufReader::new(reader).lines().enumerate().skip(skip).take(count);
    lines.map(|(at, line)| parse(&line.with_context(unreadable)?).with_context(|| place(path, at + 1))).collect()
}

/// How errors name a line, counted from 1.
pub fn place(path: &Path, line: usize) -> String {
    format!("line {line} of {}", path.display())
}

fn parse<T: DeserializeOwned>(line: &str) -> anyhow::Result<T> {
    let mut json = serde_json::Deserializer::from_str(line);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        // serde counts the lines of what it was given, which is always the first.
        let reason = error.inner().to_string().replace(" at line 1 column ", " at column ");
        match error.path().to_string().as_str() {
            "." => anyhow!(reason),
            field => anyhow!("`{field}`: {reason}"),
        }
    })?;
    json.end()?;
    Ok(value)
}
