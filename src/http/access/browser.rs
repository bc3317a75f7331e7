//! Pages of other origins, in the browser of somebody who may use a server without keys: what they send is that person's for all the server
//! can see, but for two headers that a page cannot change.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header};

use crate::http::problem::{ApiError, Code};
use crate::settings::Settings;

/// Whether a request to a server without keys may be answered. One with an `Origin` comes from a page, which has to be the server's own or of
/// an origin in `cors_origins`. A server on a loopback address has to be asked for by such an address or as `localhost`: a name that
/// is made to point there (DNS rebinding) makes a stranger's page one of the same origin.
///
/// # Errors
/// The request is refused.
pub fn check(headers: &HeaderMap, settings: &Settings) -> Result<(), ApiError> {
    let allowed = |origin: &str| settings.cors_origins.iter().any(|known| known == "*" || known == origin);
    let host = text(headers, header::HOST);
    if settings.listens_on_loopback()
        && let Some(host) = host
        && !is_here(host)
        && !settings.cors_origins.iter().any(|known| known == "*" || authority(known) == Some(host))
    {
        return Err(refused("host", host));
    }
    match text(headers, header::ORIGIN) {
        Some(origin) if !allowed(origin) && (host.is_none() || authority(origin) != host) => Err(refused("origin", origin)),
        _ => Ok(()),
    }
}

fn refused(header: &str, value: &str) -> ApiError {
    // It may be of any length.
    let shown: String = value.chars().take(64).collect();
    let detail = format!(
        "a server without keys does not answer the {header} `{}`; the setting cors_origins names origins whose pages may ask, and a key \
         serves whoever has it",
        shown.escape_default()
    );
    ApiError::new(Code::Forbidden, detail)
}

/// A header that is no text is none of a browser.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Host and port of an origin.
fn authority(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, authority)| authority)
}

/// Whether a host, with its port or without, is this machine whatever a name server says.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn answers(flags: &[&str], host: &str, origin: Option<&str>) -> bool {
        let settings = Line::parse_from(["retro"].iter().chain(flags)).settings;
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(&headers, &settings).is_ok()
    }

    #[test]
    fn a_loopback_server_is_asked_for_by_its_address_or_as_localhost() {
        for host in
            ["127.0.0.1:8080", "localhost:8080", "localhost", "LOCALHOST.", "retro.localhost:1", "[::1]:8080", "127.0.0.2"]
        {
            assert!(answers(&[], host, None), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example:8080", "", ":8080"] {
            assert!(!answers(&[], host, None), "{host}");
        }
        assert!(answers(&["--cors-origins=https://retro.example"], "retro.example", None), "a proxy passes the name on");
        let open = ["--listen=0.0.0.0:8080", "--allow-anonymous=true"];
        assert!(answers(&open, "retro.example", None), "such a server has whatever names it is given");
    }

    #[test]
    fn pages_of_other_origins_are_refused_unless_a_setting_names_them() {
        let host = "127.0.0.1:8080";
        for origin in ["http://127.0.0.1:8080", "https://127.0.0.1:8080"] {
            assert!(answers(&[], host, Some(origin)), "{origin}");
        }
        for origin in ["http://evil.example", "http://127.0.0.1:3000", "null", "http://localhost:8080", ""] {
            assert!(!answers(&[], host, Some(origin)), "{origin}");
            assert!(answers(&["--cors-origins=*"], host, Some(origin)), "{origin}");
        }
        assert!(answers(&["--cors-origins=http://a.example"], host, Some("http://a.example")));
        assert!(!answers(&["--cors-origins=http://a.example"], host, Some("http://b.example")));
        let open = ["--listen=0.0.0.0:8080", "--allow-anonymous=true"];
        assert!(answers(&open, "retro.example", Some("https://retro.example")));
        assert!(!answers(&open, "retro.example", Some("https://evil.example")));
    }
}
