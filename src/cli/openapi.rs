use std::io::Write;

/// Prints the description that `/openapi.json` serves.
pub fn run() -> anyhow::Result<()> {
    let text = crate::http::document().to_pretty_json()?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
