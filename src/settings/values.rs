//! Rules for the values of settings. A rule that is broken is told with its limit, in words that fit after "max_queue: ".

use std::borrow::Cow;
use std::net::SocketAddr;

use tracing::level_filters::LevelFilter;
use url::Url;

use super::DeviceChoice;

/// Ten years: instants that lie that far ahead can still be told.
const MOST_SECONDS: u64 = 315_360_000;
/// Documents, connections and places in a queue: each costs memory long before, and semaphores have not many more permits.
const MOST_THINGS: u64 = 1 << 20;
/// Memory of each is taken when the server starts.
const MOST_SLOTS: u64 = 4096;
const MOST_THREADS: u64 = 1024;
/// A tebibyte: a body or a text is held in memory.
const MOST_BYTES: u64 = 1 << 40;
/// An exabyte: beyond it, bytes do not fit their type.
const MOST_MB: u64 = 1 << 40;
/// What stands in the place of a secret where settings are printed.
pub(super) const MASK: &str = "***";

pub(super) fn threads(given: &str) -> Result<usize, String> {
    within(0, MOST_THREADS, given)
}

pub(super) fn slots(given: &str) -> Result<usize, String> {
    within(0, MOST_SLOTS, given)
}

/// A number of things of which there has to be one.
pub(super) fn things(given: &str) -> Result<usize, String> {
    within(1, MOST_THINGS, given)
}

/// A number of things; 0 has a meaning of its own.
pub(super) fn things_or_none(given: &str) -> Result<usize, String> {
    within(0, MOST_THINGS, given)
}

pub(super) fn bytes(given: &str) -> Result<usize, String> {
    within(1, MOST_BYTES, given)
}

pub(super) fn seconds(given: &str) -> Result<u64, String> {
    within(1, MOST_SECONDS, given)
}

/// Seconds; 0 has a meaning of its own.
pub(super) fn seconds_or_none(given: &str) -> Result<u64, String> {
    within(0, MOST_SECONDS, given)
}

pub(super) fn rate(given: &str) -> Result<u32, String> {
    within(0, u32::MAX.into(), given)
}

pub(super) fn megabytes(given: &str) -> Result<u64, String> {
    within(0, MOST_MB, given)
}

fn within<T: TryFrom<u64>>(least: u64, most: u64, given: &str) -> Result<T, String> {
    let number = given.parse().ok().filter(|number| (least..=most).contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| format!("it must be a whole number, {least} to {most}"))
}

pub(super) fn address(given: &str) -> Result<SocketAddr, String> {
    let rule = "it must be an IP address with a port, 0 to 65535, like 127.0.0.1:8080, or [::]:8080 for IPv6";
    given.parse().map_err(|_| rule.to_owned())
}

pub(super) fn origin(given: &str) -> Result<String, String> {
    let good = given == "*"
        || given.split_once("://").is_some_and(|(scheme, host)| {
            matches!(scheme, "http" | "https")
                && !host.is_empty()
                && !host.contains('/')
                && host.bytes().all(|byte| byte.is_ascii_graphic())
        });
    if good { Ok(given.to_owned()) } else { Err("an origin is `*` or like `https://example.org`, without a path".to_owned()) }
}

pub(super) fn endpoint(given: &str) -> Result<String, String> {
    let Some(url) = Url::parse(given).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) else {
        return Err("an endpoint is like `http://127.0.0.1:4318`".to_owned());
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        // They would not be sent, and be shown by whoever logs addresses.
        return Err(
            "an endpoint has no user, password or query; OTEL_EXPORTER_OTLP_HEADERS takes what a collector asks for".to_owned()
        );
    }
    Ok(given.to_owned())
}

pub(super) fn log_level(given: &str) -> Result<String, String> {
    let rule = |reason: String| format!("it must be off, error, warn, info, debug, trace, or a tracing filter{reason}");
    // The filter would take any word for the name of a library, and the server would say nothing.
    if !given.contains(['=', ',', '[']) && (given.is_empty() || given.parse::<LevelFilter>().is_err()) {
        return Err(rule(" like `info,retro_server::http=trace`".to_owned()));
    }
    let parsed = tracing_subscriber::EnvFilter::try_new(given).map(|_| given.to_owned());
    parsed.map_err(|error| rule(format!(": {error}")))
}

pub(super) fn database_url(given: &str) -> Result<String, String> {
    let given = unmasked(given)?;
    if let Some(place) = given.strip_prefix("sqlite:") {
        let (file, options) = place.split_once('?').unwrap_or((place, ""));
        let file = file.strip_prefix("//").unwrap_or(file).replace("%3A", ":").replace("%3a", ":");
        let in_memory = url::form_urlencoded::parse(options.as_bytes()).any(|(name, value)| name == "mode" && value == "memory");
        // What was answered with 202 would end with the process.
        if file.trim().is_empty() || file == ":memory:" || in_memory {
            return Err("it names no file; a catalogue in SQLite is like sqlite://data/catalogue.sqlite".to_owned());
        }
    }
    Ok(given)
}

pub(super) fn lance_uri(given: &str) -> Result<String, String> {
    if given.trim().is_empty() {
        return Err("it is empty; it must be a folder, or like s3://bucket/prefix".to_owned());
    }
    unmasked(given)
}

/// A URL whose password was masked would name another place, or the same one without the right to it.
fn unmasked(given: &str) -> Result<String, String> {
    if Url::parse(given).is_ok_and(|url| secrets(&url).any(|secret| secret == MASK)) {
        return Err(format!("its password is masked ({MASK}); put the real one in its place"));
    }
    Ok(given.to_owned())
}

/// The URL with its passwords masked; none where it has none.
pub(super) fn masked(given: &str) -> Option<String> {
    let Ok(mut url) = Url::parse(given) else {
        // What is no URL may be one with a slip, beside the password perhaps.
        let (scheme, rest) = given.split_once("://")?;
        return rest.rsplit_once('@').map(|(_, host)| format!("{scheme}://{MASK}@{host}"));
    };
    secrets(&url).next()?;
    if url.password().is_some() {
        url.set_password(Some(MASK)).ok()?;
    }
    let pairs = url.query_pairs().map(|(name, value)| {
        let shown = if is_secret(&name) { Cow::Borrowed(MASK) } else { value };
        format!("{name}={shown}")
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    url.set_query((!query.is_empty()).then_some(&query));
    Some(url.into())
}

fn secrets(url: &Url) -> impl Iterator<Item = Cow<'_, str>> {
    let in_query = url.query_pairs().filter(|(name, _)| is_secret(name)).map(|(_, value)| value);
    url.password().map(Cow::Borrowed).into_iter().chain(in_query)
}

fn is_secret(parameter: &str) -> bool {
    ["password", "secret", "token"].iter().any(|word| parameter.to_lowercase().contains(word))
}

impl DeviceChoice {
    pub(super) fn parse(given: &str) -> Result<Self, String> {
        let index = |index: &str| index.parse().ok().filter(|_| index.bytes().all(|byte| byte.is_ascii_digit()));
        match given.split_once(':') {
            None if given == "auto" => Some(Self::Auto),
            None if given == "cpu" => Some(Self::Cpu),
            None if given == "cuda" => Some(Self::Cuda(0)),
            Some(("cuda", number)) => index(number).map(Self::Cuda),
            _ => None,
        }
        .ok_or_else(|| "it is `auto`, `cpu`, `cuda`, or `cuda:N` for the GPU of number N".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_limits() {
        assert_eq!((threads("0"), slots("4096"), things("1")), (Ok(0), Ok(4096), Ok(1)));
        assert_eq!((things_or_none("0"), bytes("1099511627776"), seconds("315360000")), (Ok(0), Ok(1 << 40), Ok(MOST_SECONDS)));
        assert_eq!(rate("4294967295"), Ok(u32::MAX));
        assert!(rate("4294967296").unwrap_err().contains("0 to 4294967295"));
        assert!(threads("1025").unwrap_err().contains("0 to 1024"));
        assert!(slots("4097").unwrap_err().contains("0 to 4096"));
        assert!(things("0").unwrap_err().contains("1 to 1048576"));
        assert!(things_or_none("1048577").unwrap_err().contains("0 to 1048576"));
        assert!(bytes("1099511627777").unwrap_err().contains("1 to 1099511627776"));
        assert!(seconds("9223372036854775807").unwrap_err().contains("1 to 315360000"));
        assert!(seconds_or_none("315360001").unwrap_err().contains("0 to 315360000"));
        assert!(megabytes("1099511627777").unwrap_err().contains("0 to 1099511627776"));
        for bad in ["", "-1", "1.5", "true", "9223372036854775808", "1 "] {
            assert!(seconds_or_none(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_log_level_is_one_or_a_filter() {
        for good in ["off", "error", "INFO", "trace", "warn,retro_server=debug", "retro_server::http=trace", "[complete]=debug"] {
            assert_eq!(log_level(good).as_deref(), Ok(good));
        }
        for bad in ["", "bogus", "retro_server", "warm", "retro_server=bogus", "info,,=", "info,retro_server=loud"] {
            assert!(log_level(bad).unwrap_err().contains("it must be off, error, warn, info"), "{bad}");
        }
    }

    #[test]
    fn stores_that_would_not_last_are_refused() {
        for good in [
            "sqlite://data/catalogue.sqlite",
            "sqlite:catalogue.sqlite?mode=rwc",
            "sqlite:///var/lib/retro/memory.sqlite",
            "postgres://host/retro",
        ] {
            assert_eq!(database_url(good).as_deref(), Ok(good));
        }
        for bad in [
            "sqlite:",
            "sqlite://",
            "sqlite://?mode=rwc",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://%3Amemory%3a",
            "sqlite://x.sqlite?mode=memory",
            "sqlite://x.sqlite?cache=shared&mode=%6Demory",
        ] {
            assert!(database_url(bad).unwrap_err().contains("it names no file"), "{bad}");
        }
        assert_eq!(lance_uri("data/lance").as_deref(), Ok("data/lance"));
        for bad in ["", " "] {
            assert!(lance_uri(bad).unwrap_err().contains("it is empty"), "{bad:?}");
        }
    }

    #[test]
    fn an_endpoint_holds_no_secret() {
        assert!(endpoint("http://127.0.0.1:4318").is_ok() && endpoint("https://collector.example/otlp").is_ok());
        for bad in ["http://me:secret@host:4318", "http://me@host", "https://host?token=abc", "ftp://host", "host:4318", ""] {
            let refused = endpoint(bad).unwrap_err();
            assert!(!refused.contains("secret") && !refused.contains("abc"), "{bad}: {refused}");
        }
    }

    #[test]
    fn a_password_is_masked_wherever_a_url_has_it() {
        assert_eq!(masked("postgres://me:secret@host/db").as_deref(), Some("postgres://me:***@host/db"));
        assert_eq!(masked("s3://bucket/db?region=x&secret_key=abc").as_deref(), Some("s3://bucket/db?region=x&secret_key=***"));
        assert_eq!(masked("postgres://me:secret@host:port/db").as_deref(), Some("postgres://***@host:port/db"));
        for open in ["sqlite://data/catalogue.sqlite?mode=rwc", "postgres://me@host/db", "data/lance", "/var/lib/retro", ""] {
            assert_eq!(masked(open), None, "{open}");
        }
        assert!(database_url("postgres://me:***@host/db").unwrap_err().contains("masked"));
        assert!(lance_uri("s3://bucket?token=***").is_err());
        assert!(database_url("postgres://me:secret@host/db").is_ok());
    }
}
