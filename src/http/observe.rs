//! Around every request: its id, its line in the log, its metrics, the rendering of errors, and the count of requests that are being answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tracing::{Instrument, Span, field};

use super::openai;
use super::problem::{ApiError, Code};
use crate::app::{InFlight, Lifecycle};
use crate::{metrics, telemetry};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 128;
/// The status that the metrics give to a request whose client left before it had an answer: none was sent.
const CLIENT_LEFT: u16 = 499;
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// The id of a request: the client's where it is sane, or a new one.
#[derive(Clone, Debug)]
pub struct RequestId(Arc<str>);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).map_or(&[][..], HeaderValue::as_bytes);
        match std::str::from_utf8(given) {
            Ok(id) if (1..=LONGEST_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Self(id.into())
            }
            _ => Self(uuid::Uuid::now_v7().simple().to_string().into()),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The outermost layer.
pub async fn observe(State(lifecycle): State<Lifecycle>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let (key, key_name) = (field::Empty, field::Empty);
    let span = tracing::info_span!("request", id = id.as_str(), method = %request.method(), route, key, key_name);
    let quiet = matches!(route.as_str(), "/livez" | "/readyz" | "/metrics" | "/playground/{name}") || route.starts_with("/docs");
    let is_work = route.starts_with("/v1/") && route != "/v1/info";
    let in_flight = is_work.then(|| lifecycle.begin());
    telemetry::continue_trace(&span, request.headers());
    metrics::get().http_requests_in_flight.inc();
    let mut trail = Trail {
        span,
        route: route.clone(),
        method: method_label(request.method()),
        started: Instant::now(),
        status: None,
        outcome: Outcome::Disconnected,
        stream: None,
        quiet,
        _in_flight: in_flight,
    };
    let response = if is_work && lifecycle.is_draining() {
        ApiError::shutting_down().into_response()
    } else {
        let span = trail.span.clone();
        next.run(request).instrument(span).await
    };
    let mut response = trail.span.in_scope(|| rendered(response, &route, &id));
    harden(response.headers_mut());
    response.headers_mut().insert(REQUEST_ID, HeaderValue::from_str(id.as_str()).expect("visible ASCII"));
    trail.status = Some(response.status());
    if response.body().size_hint().exact().is_some() {
        trail.outcome = Outcome::Completed;
        return response;
    }
    trail.stream = response.extensions_mut().remove::<StreamEnd>();
    keep(response, trail)
}

/// The response, which drops `guard` when its body has ended, however it ends; one that is whole already drops it at once.
pub fn keep<T: Send + 'static>(response: Response, guard: T) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| {
        // The closure owns the guard, so it ends when the stream does.
        Body::new(body.map_frame(move |frame| {
            let _ = &guard;
            frame
        }))
    })
}

/// For every answer: that it is taken for nothing but what it says it is, and that what is shown of it loads and runs nothing. Pages have
/// a policy of their own.
fn harden(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(NOTHING));
}

/// Says of a stream whether it came to its own end; a response carries one as an extension.
#[derive(Clone, Debug, Default)]
pub struct StreamEnd(Arc<AtomicBool>);

impl StreamEnd {
    pub fn reached(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An error in the form of the route's API, with the headers that its answer had (`Allow`, CORS).
fn rendered(mut response: Response, route: &str, id: &RequestId) -> Response {
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None => match response.status() {
            // The Swagger UI answers unknown files itself.
            StatusCode::NOT_FOUND => ApiError::new(Code::NotFound, "there is nothing at this path"),
            // So does it, and axum, what they cannot decode.
            StatusCode::BAD_REQUEST => ApiError::new(Code::InvalidUtf8, "the path is not UTF-8"),
            status if status.is_client_error() || status.is_server_error() => ApiError::server(Code::Internal, status),
            _ => return response,
        },
    };
    let mut problem = if openai::is_route(route) { openai::render(error) } else { error.render(id.as_str()) };
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            problem.headers_mut().append(name, value.clone());
        }
    }
    problem
}

/// What is logged and measured of a request when its answer has ended, however it ends.
struct Trail {
    span: Span,
    /// Its pattern, or `-`.
    route: String,
    method: &'static str,
    started: Instant,
    /// None while the handler has not answered.
    status: Option<StatusCode>,
    outcome: Outcome,
    stream: Option<StreamEnd>,
    quiet: bool,
    _in_flight: Option<InFlight>,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Completed,
    Disconnected,
}

/// The method as a label. Clients may make up methods; a label's values are few.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

impl Trail {
    fn measure(&self, took: Duration) {
        let (metrics, status) = (metrics::get(), self.status.map_or(CLIENT_LEFT, |status| status.as_u16()));
        // Paths that no route has are as many as clients like.
        let route = if self.route == "-" { "unmatched" } else { self.route.as_str() };
        metrics.http_requests.with_label_values(&[route, self.method, status.to_string().as_str()]).inc();
        metrics.http_request_duration.with_label_values(&[route, self.method]).observe(took.as_secs_f64());
        metrics.http_requests_in_flight.dec();
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        let (status, took) = (self.status.map_or(0, |status| status.as_u16()), self.started.elapsed());
        let milliseconds = took.as_secs_f64() * 1000.0;
        self.measure(took);
        let outcome = match &self.stream {
            Some(StreamEnd(reached)) if reached.load(Ordering::Relaxed) => Outcome::Completed,
            _ => self.outcome,
        };
        if self.quiet {
            tracing::debug!(status, milliseconds, ?outcome, "answered");
        } else {
            tracing::info!(status, milliseconds, ?outcome, "answered");
        }
    }
}
