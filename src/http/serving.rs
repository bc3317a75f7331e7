//! Accepting connections, and the ordered end of it.

use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::router;
use crate::app::App;

/// How long answers that were cut, and connections that are idle, may take to close.
const GRACE: Duration = Duration::from_secs(2);

/// Serves `app` until `stop` completes, then ends in order: new work is refused with 503, what has begun may finish within the setting
/// `shutdown_seconds`, what is then left is cut with an error, the connections close, and the parts of `app` stop.
///
/// # Errors
/// The listener fails.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: impl Future<Output = ()>) -> std::io::Result<()> {
    let closing = CancellationToken::new();
    let listener = listener.tap_io(|connection| {
        // A token is a small packet that should not wait for the next one.
        let _ = connection.set_nodelay(true);
    });
    let server = axum::serve(listener, router(Arc::clone(&app))).with_graceful_shutdown(closing.clone().cancelled_owned());
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        () = stop => {}
        ended = &mut server => return ended.unwrap_or_else(|e| Err(std::io::Error::other(e))),
    }
    tracing::info!("stopping");
    app.lifecycle.drain();
    if timeout(app.settings.shutdown_deadline(), app.lifecycle.idle()).await.is_err() {
        tracing::warn!("the time to finish is over, what is left is cut");
        app.lifecycle.cut().cancel();
        let _ = timeout(GRACE, app.lifecycle.idle()).await;
    }
    closing.cancel();
    if timeout(GRACE, &mut server).await.is_err() {
        server.abort();
    }
    app.stop().await;
    tracing::info!("stopped");
    Ok(())
}
