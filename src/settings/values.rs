//! Rules for the values of settings. A rule that is broken is told with its limit, in words that fit after "max_queue: ".

use std::borrow::Cow;
use std::net::SocketAddr;

use url::Url;

use super::DeviceChoice;

/// TOML has no larger whole number, so a settings file could not say it.
const MOST: u64 = i64::MAX as u64;
/// An exabyte: beyond it, bytes do not fit their type.
const MOST_MB: u64 = 1 << 40;
/// What stands in the place of a secret where settings are printed.
pub(super) const MASK: &str = "***";

pub(super) fn whole<T: TryFrom<u64>>(given: &str) -> Result<T, String> {
    within(0, MOST, given)
}

pub(super) fn at_least_one<T: TryFrom<u64>>(given: &str) -> Result<T, String> {
    within(1, MOST, given)
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
    let parsed = tracing_subscriber::EnvFilter::try_new(given).map(|_| given.to_owned());
    parsed.map_err(|e| format!("it must be error, warn, info, debug, trace, or a tracing filter: {e}"))
}

/// A URL whose password was masked would name another place, or the same one without the right to it.
pub(super) fn unmasked(given: &str) -> Result<String, String> {
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
        assert_eq!((whole::<usize>("0"), at_least_one::<u64>("1")), (Ok(0), Ok(1)));
        assert_eq!(rate("4294967295"), Ok(u32::MAX));
        assert!(rate("4294967296").unwrap_err().contains("0 to 4294967295"));
        assert!(at_least_one::<usize>("0").unwrap_err().contains("1 to 9223372036854775807"));
        assert!(megabytes("1099511627777").unwrap_err().contains("0 to 1099511627776"));
        for bad in ["", "-1", "1.5", "true", "9223372036854775808", "1 "] {
            assert!(whole::<u64>(bad).is_err(), "{bad}");
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
        assert!(unmasked("postgres://me:***@host/db").unwrap_err().contains("masked"));
        assert!(unmasked("s3://bucket?token=***").is_err());
        assert!(unmasked("postgres://me:secret@host/db").is_ok());
    }
}
