//! The log: tracing on standard error, as text or as JSON lines.

use std::io::stderr;

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Settings};

/// Starts the log. `usual` is the level where the settings name none. A plain level holds for this server; libraries then say warnings only.
pub fn init(settings: &Settings, usual: &str) {
    let level = settings.log_level.as_deref().unwrap_or(usual);
    let filter = if level.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        format!("warn,retro_server={level}")
    } else {
        level.to_owned()
    };
    // On a terminal, unless NO_COLOR is set.
    let colours = AutoStream::choice(&stderr()) != ColorChoice::Never;
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(stderr).with_ansi(colours);
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
}
