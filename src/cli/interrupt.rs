use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// What a shell gives a program that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;
/// How long a command that may end anywhere may still be at something that lets nothing in between.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A token that Ctrl-C cancels, so that the command comes to an orderly end; a second one ends it at once.
///
/// # Errors
/// The signal cannot be listened for.
pub fn on_interrupt() -> std::io::Result<CancellationToken> {
    listen(None)
}

/// Runs a command that Ctrl-C may end anywhere.
///
/// # Errors
/// Those of the command, or the signal cannot be listened for.
pub async fn unless_interrupted(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let stop = listen(Some(PATIENCE))?;
    tokio::select! {
        done = command => done.map(|()| ExitCode::SUCCESS),
        () = stop.cancelled() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

fn listen(patience: Option<Duration>) -> std::io::Result<CancellationToken> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        interrupts.recv().await;
        token.cancel();
        let too_long = async {
            match patience {
                Some(patience) => sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupts.recv() => {}
            () = too_long => {}
        }
        std::process::exit(INTERRUPTED.into());
    });
    Ok(stop)
}
