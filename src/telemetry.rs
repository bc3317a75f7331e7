//! The log: tracing on standard error, as text or as JSON lines; and traces, sent to a collector by OTLP where the settings name one.

use std::io::{self, Stderr, Write, stderr};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest::header::HeaderMap;
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::settings::{LogFormat, Settings};

const SERVICE: &str = "retro-server";
/// How long the collector may take over an export.
const EXPORT_DEADLINE: Duration = Duration::from_secs(10);
/// How long the last export may hold up the end of the process.
const LAST_EXPORT: Duration = Duration::from_secs(5);

/// What has to be ended with the process.
#[must_use]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts the log, and traces where the settings say so. `usual` is the level where the settings name none. A plain level holds for this
/// server; libraries then say warnings only. Call it inside a tokio runtime.
///
/// # Errors
/// Traces cannot be sent as the settings want it.
pub fn init(settings: &Settings, usual: &str) -> anyhow::Result<Telemetry> {
    let level = settings.log_level.as_deref().unwrap_or(usual);
    // On a terminal, unless NO_COLOR is set.
    let colours = AutoStream::choice(&stderr()) != ColorChoice::Never;
    let log = tracing_subscriber::fmt::layer().with_writer(|| OneLine(stderr())).with_ansi(colours);
    let log = match settings.log_format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let traces = settings.otlp_endpoint.as_deref().map(tracer_provider).transpose()?;
    let traced = traces.as_ref().map(|traces| {
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer(SERVICE)).with_threads(false).with_location(false);
        layer.with_filter(EnvFilter::new(traced_filter(level)))
    });
    tracing_subscriber::registry().with(log.with_filter(EnvFilter::new(log_filter(level)))).with(traced).init();
    Ok(Telemetry { traces })
}

/// Writes each event as one line, whatever is in it: plans that the database's libraries tell have lines of their own, and clients' texts.
struct OneLine(Stderr);

impl Write for OneLine {
    /// `event` is a whole one: the layer writes each at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        let mut written = String::with_capacity(text.len());
        for character in line.chars() {
            match character {
                '\n' => written.push_str("\\n"),
                '\r' => written.push_str("\\r"),
                // The escape character begins the layer's colours; of texts it is escaped there.
                '\t' | '\x1b' => written.push(character),
                // As JSON has it, which may have those beyond ASCII as they are.
                _ if character.is_control() => written.push_str(&format!("\\u{:04x}", u32::from(character))),
                _ => written.push(character),
            }
        }
        written.push_str(end);
        self.0.write_all(written.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Telemetry {
    /// Sends what is left.
    pub async fn end(self) {
        let Some(traces) = self.traces else { return };
        // It blocks on a thread that waits for this runtime.
        let sent = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(LAST_EXPORT)).await;
        if let Ok(Err(error)) = sent {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Puts the span of a request into the trace that its client began (W3C's `traceparent`), where traces are sent and the client began one.
/// Call it before anything else is done with the span.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    if !headers.contains_key("traceparent") {
        return;
    }
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if context.span().span_context().is_valid() {
        // Without traces there is nothing to put it into.
        let _ = span.set_parent(context);
    }
}

/// The span of what is done for several at once: a child of the first one's, with links to the others'.
pub fn linked<'a>(span: Span, others: impl Iterator<Item = &'a Span>) -> Span {
    if !span.is_disabled() {
        others.for_each(|other| {
            span.follows_from(other);
        });
    }
    span
}

fn is_plain(level: &str) -> bool {
    level.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn log_filter(level: &str) -> String {
    if is_plain(level) { format!("warn,retro_server={level}") } else { level.to_owned() }
}

/// What traces hold: what the log does, and this server's spans of a completion and its look-ups, whatever the log's level. At `trace` they
/// hold each run of a graph.
fn traced_filter(level: &str) -> String {
    match level.to_ascii_lowercase().as_str() {
        "trace" => "off,retro_server=trace".to_owned(),
        plain if is_plain(plain) => "off,retro_server=debug".to_owned(),
        _ => format!("off,retro_server=debug,{level}"),
    }
}

fn tracer_provider(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let client = reqwest::Client::builder().timeout(EXPORT_DEADLINE).build();
    let client = client.context("traces cannot be sent: no HTTP client can be made")?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client { client, runtime: Handle::current() })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(EXPORT_DEADLINE)
        .build()
        .with_context(|| format!("traces cannot be sent to {endpoint}"))?;
    let about = Resource::builder()
        .with_service_name(SERVICE)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(about).build())
}

/// Sends exports on the runtime: the exporter's own thread has none, and the client needs one.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let status = answer.status();
            let mut response = Response::new(answer.bytes().await?);
            *response.status_mut() = status;
            Ok(response)
        });
        sent.await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_hold_a_completions_spans_whatever_the_log_says() {
        assert_eq!(
            (log_filter("error"), traced_filter("error")),
            ("warn,retro_server=error".into(), "off,retro_server=debug".into())
        );
        assert_eq!(traced_filter("TRACE"), "off,retro_server=trace");
        let own = "info,retro_server::http=trace";
        assert_eq!((log_filter(own), traced_filter(own)), (own.into(), format!("off,retro_server=debug,{own}")));
    }
}
