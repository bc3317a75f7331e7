//! What `retro doctor --check` and `--repair` say.

use std::io::Write;
use std::sync::Arc;

use anstyle::AnsiColor;

use super::progress::Progress;
use crate::catalogue::Catalogue;
use crate::consistency::{Finding, Repair, Report, Stores, check};
use crate::embedder::Embedder;
use crate::ingest::Embed;
use crate::settings::Settings;
use crate::text::Tokenizer;

/// Compares the stores, and mends them if that is asked for.
///
/// # Arguments
/// * `embedder` - embeds all chunks again.
///
/// # Errors
/// They cannot be opened, or others work on them and they are to be mended.
pub async fn stores(
    settings: &Settings,
    tokenizer: Option<Tokenizer>,
    embedder: Option<Embedder>,
    repair: Option<Repair>,
) -> anyhow::Result<Report> {
    let embedder = embedder.map(|embedder| {
        let identity = embedder.identity().to_owned();
        (Arc::new(embedder) as Arc<dyn Embed>, identity)
    });
    let catalogue = Catalogue::open(&settings.data_dir, settings.database_url.as_deref()).await?;
    let stores = Stores {
        catalogue: catalogue.clone(),
        catalogue_place: settings.shown_places().0,
        uri: settings.lance_uri(),
        worker_lock: settings.writer_lock(),
        tokenizer: tokenizer.map(Arc::new),
        embedder,
    };
    let bar = Progress::new(0);
    let report = check(&stores, repair, &|done, total| {
        bar.count("checking", done, total, "chunks");
    })
    .await;
    bar.end();
    catalogue.close().await;
    Ok(report?)
}

/// The whole in a sentence.
pub fn summary(report: &Report) -> String {
    let chunks: u64 = report.collections.iter().map(|collection| collection.chunks).sum();
    let collections = report.collections.len();
    let read = format!("{} documents and {chunks} chunks in {collections} collections were read", report.documents);
    if report.found.is_empty() {
        return format!("{read}: the catalogue and the database agree");
    }
    let found: Vec<String> = report
        .found
        .iter()
        .map(|(kind, found)| match report.mended.get(kind) {
            Some(mended) => format!("{} {found} ({mended} mended)", kind.as_str()),
            None => format!("{} {found}", kind.as_str()),
        })
        .collect();
    format!("{read}: {}", found.join(", "))
}

/// One line for each finding that is named.
pub fn print(report: &Report) {
    let mut out = anstream::stdout();
    for Finding { kind, collection, document, text, mended } in &report.findings {
        let style = if kind.is_wrong() { AnsiColor::Red.on_default() } else { AnsiColor::Yellow.on_default() };
        let place = [collection, document].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("/");
        let done = mended.as_ref().map(|done| format!("; mended: {done}")).unwrap_or_default();
        let colon = if place.is_empty() { "" } else { ": " };
        // Texts come from files that may be broken.
        let line = format!("{place}{colon}{text}{done}").replace(char::is_control, " ");
        // Nobody needs to read it.
        let _ = writeln!(out, "{style}{:<22}{style:#} {line}", kind.as_str());
    }
    for (kind, found) in &report.found {
        let named = report.findings.iter().filter(|finding| finding.kind == *kind).count() as u64;
        if *found > named {
            let _ = writeln!(out, "{:<22} and {} more", kind.as_str(), found - named);
        }
    }
}
