//! What a server says when it is ready.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use anstyle::Style;
use jiff::Timestamp;

use crate::app::App;
use crate::catalogue::KeyState;
use crate::cli::version;

const NAME: Style = Style::new().bold();
/// Collections that are named one by one.
const NAMED: usize = 20;

/// Prints it. Who started the server with port 0 reads the first line.
///
/// # Errors
/// A store cannot be read.
pub async fn print(app: &App, address: SocketAddr) -> anyhow::Result<()> {
    let mut lines = vec![format!("retro-server listening on http://{address}")];
    lines.extend(parts(app, address).await?.into_iter().map(|(name, text)| format!("  {NAME}{name:<11}{NAME:#} {text}")));
    // Nobody needs to read them.
    let _ = writeln!(anstream::stdout(), "{}", lines.join("\n"));
    Ok(())
}

async fn parts(app: &App, address: SocketAddr) -> anyhow::Result<Vec<(&'static str, String)>> {
    let (model, runtime, embedder) = (&app.parts.model, &app.parts.runtime, &app.parts.embedder);
    let (manifest, (variant, _)) = (model.manifest(), model.variant());
    let here = here(address);
    let (catalogue, database) = app.settings.shown_places();
    let mut parts = vec![
        ("version", version::own()),
        ("reachable", reachable(address)),
        ("playground", format!("{here}/")),
        ("docs", format!("{here}/docs")),
        ("model", format!("{} ({:.1} million parameters, {variant})", manifest.name, manifest.parameters as f64 / 1e6)),
        ("provider", format!("{} ({})", app.parts.device.provider(), runtime.library().display())),
        ("embedder", format!("{} ({} dimensions, {})", embedder.name(), embedder.dimension(), embedder.precision())),
        ("keys", keys(app).await?),
        ("data", format!("{} (catalogue {catalogue}, database {database})", app.settings.data_dir.display())),
    ];
    let collections = app.parts.database.collections().await?;
    for name in collections.iter().take(NAMED) {
        parts.push((
            "collection",
            match app.parts.database.stats(name).await {
                Ok(stats) => format!("{name} ({} chunks)", stats.chunks),
                // The others are served.
                Err(error) => format!("{name} cannot be read: {error}"),
            },
        ));
    }
    if collections.is_empty() {
        parts.push(("collections", "none yet; `retro ingest samples` puts the sample documents in".to_owned()));
    } else if collections.len() > NAMED {
        parts.push(("collections", format!("{} more", collections.len() - NAMED)));
    }
    Ok(parts)
}

async fn keys(app: &App) -> anyhow::Result<String> {
    let (keys, now) = (app.parts.catalogue.keys().await?, Timestamp::now());
    let active = keys.iter().filter(|key| key.state(now) == KeyState::Active).count();
    let create = "`retro keys create NAME --scope admin` makes one";
    Ok(match (keys.is_empty(), app.settings.listens_on_loopback()) {
        (false, _) if active == 0 => format!("all {} are revoked or expired, so nobody is served; {create}", keys.len()),
        (false, _) => format!("{active} active; `retro keys list` lists them"),
        (true, true) => format!("none: open to everyone on this machine; {create}"),
        (true, false) => format!("none: open to everyone (allow_anonymous); {create}"),
    })
}

/// Where this machine's browser finds the server.
fn here(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("http://localhost:{}", address.port()) } else { format!("http://{address}") }
}

fn reachable(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            format!("http://localhost:{port} on this machine; from others, port {port} of each of its IPv4 addresses")
        }
        IpAddr::V6(ip) if ip.is_unspecified() => format!(
            "http://localhost:{port} on this machine; from others, port {port} of each of its IPv6 addresses, and of its IPv4 \
             addresses where the system serves both"
        ),
        ip if ip.to_canonical().is_loopback() => format!("http://{address} on this machine only"),
        _ => format!("http://{address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_all_of_them_is_said_with_localhost() {
        for (address, url, said) in [
            (
                "0.0.0.0:80",
                "http://localhost:80",
                "http://localhost:80 on this machine; from others, port 80 of each of its IPv4",
            ),
            ("[::]:81", "http://localhost:81", "http://localhost:81 on this machine; from others, port 81 of each of its IPv6"),
            ("127.0.0.1:82", "http://127.0.0.1:82", "http://127.0.0.1:82 on this machine only"),
            ("[::1]:83", "http://[::1]:83", "http://[::1]:83 on this machine only"),
            ("192.0.2.1:84", "http://192.0.2.1:84", "http://192.0.2.1:84"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(here(address), url);
            assert!(reachable(address).starts_with(said), "{}", reachable(address));
        }
    }
}
