use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::catalogue::Catalogue;
use crate::http;
use crate::settings::Settings;

/// Serves until SIGTERM or Ctrl-C; a second signal cuts what has not finished.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    ensure_guarded(&settings).await?;
    let address = settings.listen;
    // Taken before the models load: a port that is in use should not cost that wait.
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let loading = http::Loading::begin(listener, &settings)?;
    let address = loading.address();
    tracing::debug!(%address, "loading");
    let app = Arc::new(App::start(settings).await?);
    let mut signals = Signals::new()?;
    // Before it says so: whoever waits for the first line may ask at once.
    let server = loading.serve(Arc::clone(&app));
    announce(&app, address).await?;
    let lifecycle = app.lifecycle.clone();
    let stop = async move {
        signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            lifecycle.cut().cancel();
        });
    };
    server.until(stop).await?;
    Ok(())
}

/// # Errors
/// Strangers could use the server: it is to listen where other machines reach it, has no keys, and nobody said that this is meant.
async fn ensure_guarded(settings: &Settings) -> anyhow::Result<()> {
    if settings.open_without_keys() {
        return Ok(());
    }
    let catalogue = Catalogue::open(&settings.data_dir, settings.database_url.as_deref()).await?;
    let has_keys = catalogue.has_keys().await?;
    catalogue.close().await;
    ensure!(
        has_keys,
        "other machines may reach {}, and there are no API keys: make one with `retro keys create NAME --scope admin`, listen on \
         127.0.0.1, or serve everyone with `--allow-anonymous`",
        settings.listen
    );
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The start-up lines. Who started the server with port 0 reads the first one.
async fn announce(app: &App, address: SocketAddr) -> anyhow::Result<()> {
    let (model, runtime) = (&app.parts.model, &app.parts.runtime);
    let (manifest, (variant, _)) = (model.manifest(), model.variant());
    let mut lines = vec![
        format!("retro-server listening on http://{address}"),
        format!("  model       {} ({:.1} million parameters, {variant})", manifest.name, manifest.parameters as f64 / 1e6),
        format!("  provider    {} ({})", app.parts.device.provider(), runtime.library().display()),
        format!(
            "  embedder    {} ({} dimensions, {})",
            app.parts.embedder.name(),
            app.parts.embedder.dimension(),
            app.parts.embedder.precision()
        ),
    ];
    let access = match (app.parts.catalogue.has_keys().await?, app.settings.listens_on_loopback()) {
        (true, _) => "with a key; `retro keys list` lists them",
        (false, true) => "everyone on this machine, since there are no keys; `retro keys create` makes one",
        (false, false) => "everyone (allow_anonymous), since there are no keys; `retro keys create` makes one",
    };
    lines.push(format!("  access      {access}"));
    let collections = app.parts.database.collections().await?;
    for name in &collections {
        lines.push(format!("  collection  {name} ({} chunks)", app.parts.database.stats(name).await?.chunks));
    }
    if collections.is_empty() {
        lines.push("  collections none yet; `retro ingest samples` puts the sample documents in".to_owned());
    }
    // Nobody needs to read them.
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
    Ok(())
}
