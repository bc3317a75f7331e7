use std::process::ExitCode;
use std::sync::Arc;

use rayon::prelude::*;
use tokio::sync::mpsc;

use super::report::{DryReport, Listing};
use super::{Batch, Read};
use crate::cli::output;
use crate::model::ModelFolder;
use crate::settings::Settings;
use crate::text::{Tokenizer, chunk_document};

/// Says what would be taken in. Of the model only the tokenizer is loaded, and no store is opened, so there is nothing that could be written.
pub async fn run(mut reads: mpsc::Receiver<Read>, settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let tokenizer = Arc::new(Tokenizer::load(&ModelFolder::tokenizer_in(&settings.model))?);
    let (mut documents, mut bytes, mut chunks) = (0, 0, 0);
    let mut skipped = Listing::new(json);
    let mut batch = Batch::default();
    loop {
        let read = reads.recv().await;
        let ended = read.is_none();
        match read.map(|read| read.document) {
            Some(Ok(document)) => batch.push(document),
            Some(Err(reason)) => skipped.push(reason.to_string()),
            None => {}
        }
        if ended || batch.is_full() {
            let full = std::mem::take(&mut batch);
            documents += full.documents.len();
            bytes += full.bytes;
            let tokenizer = Arc::clone(&tokenizer);
            let counted = tokio::task::spawn_blocking(move || {
                full.documents.par_iter().map(|document| chunk_document(&tokenizer, document.text()).len()).sum::<usize>()
            });
            chunks += counted.await?;
        }
        if ended {
            break;
        }
    }
    let report = DryReport { documents, bytes, chunks, skipped };
    report.print(json)?;
    if documents == 0 {
        output::note("no documents were found");
    }
    Ok(report.code())
}
