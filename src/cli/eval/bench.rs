use std::time::Duration;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::app::{Parts, Worker};
use crate::generate::Generator;
use crate::ingest::{DocumentInput, IngestLimits, NewDocument};
use crate::names::CollectionName;
use crate::neighbours::{Database, Memory};
use crate::settings::Settings;

/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A server's parts on stores of their own, which are gone afterwards: what the user keeps in `data_dir` must not answer here, and an
/// evaluation must not write there.
pub struct Bench {
    pub parts: Parts,
    pub generator: Generator,
    pub related: Option<Related>,
    limits: IngestLimits,
    worker: Worker,
    _folder: TempDir,
}

/// A collection of the user's own database, which is only read.
pub struct Related {
    pub database: Database,
    pub collection: CollectionName,
}

impl Bench {
    /// # Errors
    /// The model, the stores or the collection cannot be used.
    pub async fn start(settings: &Settings, related: Option<CollectionName>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let own = Settings { data_dir: folder.path().to_owned(), lance_uri: None, database_url: None, ..settings.clone() };
        let parts = Parts::load(&own).await?;
        let related = match related {
            None => None,
            Some(collection) => Some(Related::open(settings, &parts, collection).await?),
        };
        let generator = parts.generator(&own)?;
        let worker = Worker::start(&parts.ingest);
        Ok(Self { parts, generator, related, limits: IngestLimits::from(settings), worker, _folder: folder })
    }

    /// Takes documents, given as id and text, into a collection as a server would: in the place of those that have their ids.
    ///
    /// # Errors
    /// A text is no document, or its ingestion fails.
    pub async fn ingest<'a>(
        &self,
        what: &'static str,
        collection: &CollectionName,
        documents: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> anyhow::Result<()> {
        let documents = documents
            .map(|(id, text)| {
                let input = DocumentInput {
                    id: Some(id.to_owned()),
                    text: text.to_owned(),
                    collection: Some(collection.to_string()),
                    ..DocumentInput::default()
                };
                NewDocument::validate("", input, &self.limits)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let ingest = &self.parts.ingest;
        let bar = progress(what, documents.len());
        let task = ingest.submit(documents).await?.task.id;
        let done = loop {
            if let Ok(ended) = timeout(LOOK, ingest.wait(task)).await {
                break ended?.context("the task has vanished from the catalogue")?;
            }
            if let Some(task) = ingest.task(task).await? {
                bar.set_position(task.documents.ready);
            }
        };
        bar.finish_and_clear();
        ensure!(done.documents.failed == 0, "ingestion failed: {}", done.error.unwrap_or_default());
        Ok(())
    }

    pub async fn stop(self) {
        self.generator.shut_down().await;
        self.worker.stop().await;
        self.parts.catalogue.close().await;
    }
}

impl Related {
    async fn open(settings: &Settings, parts: &Parts, collection: CollectionName) -> anyhow::Result<Self> {
        let uri = settings.lance_uri();
        let missing = || format!("there is no collection `{collection}` in {uri}");
        let database =
            Database::open_existing(&uri, parts.database.identity().clone(), Memory::default()).await?.with_context(missing)?;
        ensure!(database.exists(&collection).await?, missing());
        Ok(Self { database, collection })
    }
}

pub fn progress(what: &'static str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}").expect("a fixed template");
    ProgressBar::new(length as u64).with_style(style).with_message(what)
}
