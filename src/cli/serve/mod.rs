mod banner;
mod ending;

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::interrupt::PATIENCE;
use crate::app::App;
use crate::catalogue::Catalogue;
use crate::http;
use crate::settings::{Settings, Sources};

pub const EXAMPLES: &str = "\
Examples:
  retro serve
  retro serve --listen 127.0.0.1:0 --data-dir /var/lib/retro --model models/retro-nano
  retro serve --print-config > settings.toml

Ctrl-C, SIGTERM or a terminal that closes lets it finish what it has begun; it then ends with code 0. A second Ctrl-C or SIGTERM cuts what
has not finished, a third ends the process as it is, with code 1.";

#[derive(Args)]
pub struct ServeArgs {
    /// Print the settings in force as a retro.toml, each with where it came from, and end; passwords are masked
    #[arg(long)]
    print_config: bool,
}

/// Serves until SIGTERM, Ctrl-C or SIGHUP; a second SIGTERM or Ctrl-C cuts what has not finished.
pub async fn run(args: &ServeArgs, settings: Settings, sources: &Sources) -> anyhow::Result<ExitCode> {
    if args.print_config {
        stdout().write_all(sources.print(&settings)?.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    // The first process of a container is not ended by a signal that it does not listen for.
    let mut signals = Signals::new(settings.shutdown_deadline())?;
    let Some((loading, app)) = signals.before(load(settings)).await? else { return Ok(ExitCode::SUCCESS) };
    let address = loading.address();
    // Before it says so: whoever waits for the first line may ask at once.
    let server = loading.serve(Arc::clone(&app));
    banner::print(&app, address).await?;
    let lifecycle = app.lifecycle.clone();
    let stop = async move {
        signals.next().await;
        tokio::spawn(async move {
            signals.again().await;
            lifecycle.cut().cancel();
        });
    };
    server.until(stop).await?;
    Ok(ExitCode::SUCCESS)
}

async fn load(settings: Settings) -> anyhow::Result<(http::Loading, Arc<App>)> {
    ensure_guarded(&settings).await?;
    let address = settings.listen;
    // Taken before the models load: a port that is in use should not cost that wait.
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let loading = http::Loading::begin(listener, &settings)?;
    tracing::debug!(address = %loading.address(), "loading");
    let app = App::start(settings).await?;
    Ok((loading, Arc::new(app)))
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
    /// None where the process is to outlive its terminal.
    hangup: Option<Signal>,
}

impl Signals {
    fn new(deadline: Duration) -> std::io::Result<Self> {
        let hears_hangup = ending::guard(deadline)?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: hears_hangup.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// A signal after the first. A terminal that closes gives more than one.
    async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hangup => {}
        }
    }

    /// What `work` gives; none where a signal comes first. Nothing is lost by leaving it anywhere, as after a kill.
    async fn before<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<Option<T>> {
        // Apart from this task: models load in calls that let nothing in between.
        let mut work = tokio::spawn(work);
        tokio::select! {
            done = &mut work => return done?.map(Some),
            () = self.next() => work.abort(),
        }
        tracing::info!("stopped before it was ready");
        if timeout(PATIENCE, work).await.is_err() {
            std::process::exit(0);
        }
        Ok(None)
    }
}
