use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell gives a program that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// A token that Ctrl-C cancels, so that the command comes to an orderly end; a second one ends it at once.
///
/// # Errors
/// The signal cannot be listened for.
pub fn on_interrupt() -> std::io::Result<CancellationToken> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        interrupts.recv().await;
        token.cancel();
        interrupts.recv().await;
        std::process::exit(INTERRUPTED.into());
    });
    Ok(stop)
}
