use super::output;

/// Prints the description that `/openapi.json` serves.
pub fn run() -> anyhow::Result<()> {
    let text = crate::http::document().to_pretty_json()?;
    Ok(output::line(text)?)
}
