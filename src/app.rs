//! Builds the parts from the settings, starts them in order, and stops them in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalogue::Catalogue;
use crate::embedder::{Embedder, Precision};
use crate::generate::{CompletionRequest, Generator, OnError, RetrievalRequest, Retriever, fold};
use crate::ingest::files::Uploads;
use crate::ingest::{Ingest, IngestLimits};
use crate::metrics;
use crate::model::{Checked, Encoder, Manifest, Model, ModelFolder, ModelOptions};
use crate::names::CollectionName;
use crate::neighbours::{Database, Identity, Memory, Warmed};
use crate::onnx::{Device, Runtime};
use crate::settings::{EmbedderPrecision, Settings, shown_place};
use crate::text::Tokenizer;

/// Key/value caches of the completions that run at a time, where `slots` leaves their number open, in bytes.
const CACHE_BUDGET: usize = 512 << 20;
const MOST_SLOTS: usize = 64;
/// How often a server looks for indices that were made or extended since, by whichever process.
const WARM_EVERY: Duration = Duration::from_secs(30);

/// What makes a database this server's own: the model's tokenizer and the embedder.
pub struct Models {
    pub runtime: Runtime,
    /// Where the graphs run.
    pub device: Device,
    pub model: ModelFolder,
    pub tokenizer: Arc<Tokenizer>,
    pub embedder: Embedder,
}

impl Models {
    /// Loads ONNX Runtime and the embedder, and reads the model's manifest and tokenizer.
    ///
    /// # Errors
    /// One of them is missing or altered; the error says which and what to do.
    pub async fn load(settings: &Settings) -> anyhow::Result<Self> {
        let runtime = Runtime::load(settings.onnxruntime.as_deref())?;
        let device = runtime.device(settings.device)?;
        let model = ModelFolder::open(&settings.model, &settings.precision, device, Checked::Chosen)?;
        let tokenizer = Arc::new(Tokenizer::load(&model.tokenizer())?);
        let embedder = load_embedder(&runtime, settings, device).await?;
        let trained_with = &model.manifest().embedder.name;
        if embedder.name() != trained_with {
            tracing::warn!(
                "the model was trained with the neighbours of {trained_with}, the embedder is {}: its neighbours may help it less",
                embedder.name()
            );
        }
        Ok(Self { runtime, device, model, tokenizer, embedder })
    }

    pub fn identity(&self) -> Identity {
        identity(self.model.manifest(), &self.tokenizer, &self.embedder)
    }
}

/// Every part but the model's thread: what the command line needs too.
#[derive(Clone)]
pub struct Parts {
    pub runtime: Runtime,
    /// Where the graphs run.
    pub device: Device,
    pub model: ModelFolder,
    pub tokenizer: Arc<Tokenizer>,
    pub embedder: Embedder,
    pub database: Database,
    pub retriever: Retriever,
    pub catalogue: Catalogue,
    pub ingest: Ingest,
}

impl Parts {
    /// Loads ONNX Runtime and the embedder, reads the model's manifest and tokenizer, and opens the stores.
    ///
    /// # Errors
    /// One of them is missing, altered or made for another model; the error says which and what to do.
    pub async fn load(settings: &Settings) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&settings.data_dir)
            .with_context(|| format!("the data folder {} cannot be made", settings.data_dir.display()))?;
        let models = Models::load(settings).await?;
        let identity = models.identity();
        let Models { runtime, device, model, tokenizer, embedder } = models;
        let memory = Memory { vectors: settings.vector_bytes(), indices: settings.index_bytes() };
        let database = Database::open(&settings.lance_uri(), identity, memory).await?;
        let retriever = Retriever::new(Arc::clone(&tokenizer), embedder.clone(), database.clone(), settings.vector_cache_bytes());
        let catalogue = open_catalogue(&database, settings).await?;
        let ingest =
            Ingest::new(catalogue.clone(), database.clone(), Arc::clone(&tokenizer), embedder.clone(), settings.writer_lock());
        Ok(Self { runtime, device, model, tokenizer, embedder, database, retriever, catalogue, ingest })
    }

    /// Puts into the metrics what runs.
    fn tell_build(&self) {
        let (model, embedder) = (self.model.manifest().name.as_str(), self.embedder.name());
        let labels = [env!("CARGO_PKG_VERSION"), model, self.model.variant().0, embedder, self.device.provider()];
        metrics::get().build_info.with_label_values(&labels).set(1);
    }

    /// Loads the model and starts its thread.
    ///
    /// # Errors
    /// ONNX Runtime refuses a graph.
    pub fn generator(&self, settings: &Settings) -> anyhow::Result<Generator> {
        let (threads, device) = (settings.graph_threads(), self.device);
        let slots = if settings.slots == 0 { self.model.slots_within(CACHE_BUDGET).clamp(1, MOST_SLOTS) } else { settings.slots };
        let model = Model::load(&self.runtime, &self.model, ModelOptions { slots, threads, device })?;
        let encoder = Encoder::load(&self.runtime, &self.model, threads, device, settings.encoded_cache_bytes())?;
        Ok(Generator::start(model, encoder, Arc::clone(&self.tokenizer), self.retriever.clone(), settings.max_queue)?)
    }
}

/// The task that takes documents in.
pub struct Worker {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Worker {
    /// Starts it; where a worker of another process runs on the same stores, it waits for that one to end.
    pub fn start(ingest: &Ingest) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn({
            let (ingest, stop) = (ingest.clone(), stop.clone());
            async move {
                if let Err(error) = ingest.run_worker(stop).await {
                    tracing::error!(%error, "documents are not taken in");
                }
            }
        });
        tasks.close();
        Self { tasks, stop }
    }

    /// Lets it complete the write at hand and ends it; what is queued stays queued on the disk.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl From<&Settings> for IngestLimits {
    fn from(settings: &Settings) -> Self {
        Self { max_document_bytes: settings.max_document_bytes }
    }
}

/// The embedder that the settings name, in a precision in which it reads the database.
///
/// # Errors
/// It cannot be loaded, or the database cannot be opened.
pub async fn load_embedder(runtime: &Runtime, settings: &Settings, device: Device) -> anyhow::Result<Embedder> {
    let precision = match settings.embedder_precision {
        EmbedderPrecision::Fp32 => Precision::Fp32,
        EmbedderPrecision::Int16 => Precision::Int16,
        EmbedderPrecision::Auto => {
            Precision::for_database(Database::embedder_at(&settings.lance_uri()).await?.as_deref(), device)
        }
    };
    Ok(Embedder::load(runtime, &settings.embedder, settings.graph_threads(), device, precision)?)
}

/// Opens the catalogue that goes with the database. An empty one beside a database that is not was lost, with the keys that keep strangers
/// out; and one that is only elsewhere must not find another in its place when it is put back.
async fn open_catalogue(database: &Database, settings: &Settings) -> anyhow::Result<Catalogue> {
    let (folder, url) = (settings.data_dir.as_path(), settings.database_url.as_deref());
    let collections = database.collections().await?;
    if collections.is_empty() {
        return Ok(Catalogue::open(folder, url).await?);
    }
    if Catalogue::is_begun(folder, url) {
        let catalogue = Catalogue::open(folder, url).await?;
        if !catalogue.is_blank().await? {
            return Ok(catalogue);
        }
        catalogue.close().await;
    }
    anyhow::bail!(
        "there is no catalogue, or an empty one, but {} has collections ({}): the catalogue with their documents, and the keys, is lost or \
         elsewhere. Put it back (catalogue.sqlite in the data folder, or what `database_url` names), or restore a backup. If it is lost for \
         good, `retro export` writes each collection to a file without it, and `retro import` brings them into a new data folder",
        shown_place(&settings.lance_uri()),
        collections.iter().map(CollectionName::as_str).collect::<Vec<_>>().join(", ")
    )
}

/// What makes a database this server's own.
pub fn identity(manifest: &Manifest, tokenizer: &Tokenizer, embedder: &Embedder) -> Identity {
    Identity {
        tokenizer: tokenizer.identity().to_owned(),
        embedder: embedder.identity().to_owned(),
        dimension: embedder.dimension(),
        neighbour_length: manifest.neighbour_length,
        continuation_length: manifest.continuation_length,
    }
}

/// A running server without its routes.
pub struct App {
    pub settings: Settings,
    pub parts: Parts,
    pub generator: Generator,
    pub uploads: Uploads,
    pub places: Places,
    pub lifecycle: Lifecycle,
    worker: Worker,
    warming: JoinHandle<()>,
}

impl App {
    /// Opens the stores, loads the models, makes one completion, so that the first request finds all warm, starts the ingestion, and reads
    /// in the background what searches look through.
    ///
    /// # Errors
    /// What is wrong with the first part that cannot be built, in words that tell the mend.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let parts = Parts::load(&settings).await?;
        let folder = settings.uploads_folder();
        let uploads = Uploads::open(folder.clone(), std::env::current_exe()?, upload_readers())
            .with_context(|| format!("the folder of uploads {} cannot be used", folder.display()))?;
        let generator = parts.generator(&settings)?;
        parts.tell_build();
        warm(&generator, &parts.tokenizer).await.context("the model does not run")?;
        let worker = Worker::start(&parts.ingest);
        let warming = tokio::spawn(keep_warm(parts.database.clone()));
        let places = Places::new(settings.max_queue);
        Ok(Self { settings, parts, generator, uploads, places, lifecycle: Lifecycle::default(), worker, warming })
    }

    /// Ends the threads and tasks, the model first.
    pub async fn stop(&self) {
        self.warming.abort();
        self.generator.shut_down().await;
        self.worker.stop().await;
        self.parts.catalogue.close().await;
    }
}

/// Places of requests that are at work or wait for it, of the kinds that the generator's queue does not bound.
pub struct Places {
    /// Of those that embed texts for somebody, and search.
    pub lookups: Semaphore,
    /// Of those that write documents into the catalogue.
    pub documents: Semaphore,
}

impl Places {
    fn new(max_queue: usize) -> Self {
        let places = || Semaphore::new(max_queue.min(Semaphore::MAX_PERMITS));
        Self { lookups: places(), documents: places() }
    }
}

/// Uploads that are read at a time: completions need the other cores.
fn upload_readers() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, 8)
}

/// Searches are complete without, so nothing waits for it.
async fn keep_warm(database: Database) {
    let mut warmed = Warmed::default();
    let mut again = tokio::time::interval(WARM_EVERY);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        again.tick().await;
        match database.warm(&mut warmed).await {
            Ok(0) => {}
            Ok(bytes) => tracing::debug!(bytes, "indices were read"),
            Err(error) => {
                tracing::warn!(%error, "what searches look through was not read beforehand; the first ones take longer")
            }
        }
    }
}

async fn warm(generator: &Generator, tokenizer: &Tokenizer) -> anyhow::Result<()> {
    // A collection that cannot be searched is told to who searches it, and must not keep out the others.
    let retrieval = RetrievalRequest { on_error: Some(OnError::Continue), ..RetrievalRequest::default() };
    let request = CompletionRequest { max_tokens: Some(1), retrieval, ..CompletionRequest::new("Ready") };
    let valid = request.validate(&generator.limits(), tokenizer)?;
    fold(generator.submit(valid)?).await?;
    Ok(())
}

/// Where the server stands between its start and its end. Clones share it.
#[derive(Clone)]
pub struct Lifecycle {
    draining: CancellationToken,
    cut: CancellationToken,
    in_flight: Arc<watch::Sender<usize>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { draining: CancellationToken::new(), cut: CancellationToken::new(), in_flight: Arc::new(watch::channel(0).0) }
    }
}

impl Lifecycle {
    /// From now on new work is refused; what has begun goes on.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancelled when the time of what has begun is over.
    pub fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// Counts a request until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        self.in_flight.send_modify(|count| *count += 1);
        InFlight(Arc::clone(&self.in_flight))
    }

    /// Returns when no request is being answered.
    pub async fn idle(&self) {
        let mut count = self.in_flight.subscribe();
        // The sender lives as long as `self`.
        let _ = count.wait_for(|&count| count == 0).await;
    }
}

/// A request that is being answered.
pub struct InFlight(Arc<watch::Sender<usize>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
