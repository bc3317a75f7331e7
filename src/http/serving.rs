//! Accepting connections, and the ordered end of it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Client;
use super::connections::Shares;
use super::{loading_router, router};
use crate::app::App;
use crate::settings::Settings;

/// How long answers that were cut may take to close, and at least all others.
const GRACE: Duration = Duration::from_secs(2);

/// Where a request comes from: an extension of each.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// A port that answers. Dropping it closes the port.
struct Port {
    address: SocketAddr,
    routes: watch::Sender<Router>,
    closing: CancellationToken,
    accepting: JoinHandle<()>,
}

/// A server whose parts are not there yet.
pub struct Loading(Port);

/// A server that takes work.
pub struct Server {
    port: Port,
    app: Arc<App>,
}

impl Loading {
    /// Answers from now on: `/livez` with 200, all else with 503.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn begin(listener: TcpListener, settings: &Settings) -> std::io::Result<Self> {
        let (address, closing) = (listener.local_addr()?, CancellationToken::new());
        let (routes, current) = watch::channel(loading_router());
        let connections = Connections {
            routes: current,
            most: settings.max_connections,
            shares: Shares::new(settings.connections_per_client),
            header_deadline: settings.header_deadline(),
            closing: closing.clone(),
        };
        Ok(Self(Port { address, routes, closing, accepting: tokio::spawn(connections.accept(listener)) }))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// From the return on requests reach `app`, on connections that are open already, too.
    pub fn serve(self, app: Arc<App>) -> Server {
        self.0.routes.send_modify(|routes| *routes = router(Arc::clone(&app)));
        Server { port: self.0, app }
    }
}

impl Server {
    /// Serves until `stop` completes, then ends in order: new work is refused with 503, what has begun may finish within the setting
    /// `shutdown_seconds`, what is then left is cut with an error, the connections close, and the parts of `app` stop.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn until(self, stop: impl Future<Output = ()>) -> std::io::Result<()> {
        let Self { mut port, app } = self;
        tokio::select! {
            () = stop => {}
            ended = &mut port.accepting => return ended.map_err(std::io::Error::other),
        }
        tracing::info!("stopping");
        app.lifecycle.drain();
        let end = Instant::now() + app.settings.shutdown_deadline();
        if timeout_at(end, app.lifecycle.idle()).await.is_err() {
            tracing::warn!("the time to finish is over, what is left is cut");
            app.lifecycle.cut().cancel();
            let _ = timeout(GRACE, app.lifecycle.idle()).await;
        }
        // Answers that are whole count as given, and may be on their way.
        port.closing.cancel();
        if timeout_at(end.max(Instant::now() + GRACE), &mut port.accepting).await.is_err() {
            port.accepting.abort();
        }
        app.stop().await;
        tracing::info!("stopped");
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves `app`, which is there, as [`Server::until`] says.
///
/// # Errors
/// The listener fails.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: impl Future<Output = ()>) -> std::io::Result<()> {
    Loading::begin(listener, &app.settings)?.serve(app).until(stop).await
}

/// How connections are served. `axum::serve` would do, but it lets a client take as long as it likes over the head of a request, and as many
/// of them as there are file descriptors.
struct Connections {
    /// For each request those of its moment.
    routes: watch::Receiver<Router>,
    most: usize,
    shares: Shares,
    header_deadline: Duration,
    /// Once it is cancelled, none is accepted and each ends after the request that it is at.
    closing: CancellationToken,
}

impl Connections {
    /// Returns when all have ended.
    async fn accept(self, mut listener: TcpListener) {
        let (room, open) = (Arc::new(Semaphore::new(self.most.min(Semaphore::MAX_PERMITS))), TaskTracker::new());
        loop {
            let accepted = async {
                let place = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
                // Errors of single connections are passed over; where there are no file descriptors left, it waits for one.
                (place, Listener::accept(&mut listener).await)
            };
            let (place, (stream, address)) = tokio::select! {
                () = self.closing.cancelled() => break,
                accepted = accepted => accepted,
            };
            let Some(share) = self.shares.take(Client::at(address.ip())) else {
                tracing::debug!(address = %address.ip(), "a connection is closed: its client has its share");
                continue;
            };
            let connection = self.serve(stream, Peer(address.ip()));
            open.spawn(async move {
                connection.await;
                drop((share, place));
            });
        }
        drop(listener);
        open.close();
        open.wait().await;
    }

    fn serve(&self, stream: TcpStream, peer: Peer) -> impl Future<Output = ()> + Send + use<> {
        // A token is a small packet that should not wait for the next one.
        let _ = stream.set_nodelay(true);
        let routes = self.routes.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
            let names_host = names_host(request.version(), request.headers());
            let answer = names_host.then(|| TowerToHyperService::new(routes.borrow().clone()).call(request));
            async move {
                let mut answer = match answer {
                    Some(answer) => answer.await?,
                    None => malformed(),
                };
                if is_chunked {
                    // A proxy may have read another end of this body (RFC 9112, section 6.1): what follows it is nobody's request.
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        // The deadline runs between requests, too: a connection that is idle does not keep its place.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_deadline)
            .serve_connection(TokioIo::new(stream), service);
        let closing = self.closing.clone();
        async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
        }
    }
}

/// Whether a request names the host that it is for, once, as RFC 9112 (section 3.2) asks: of two, a proxy and the server may take one each.
/// The name may be empty, and HTTP/1.0 had none.
fn names_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'))
        }
        (None, _) => version < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// As hyper answers what is no HTTP.
fn malformed() -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
