//! Who may ask for what, and how much: keys, their scopes, and limits, before any route is reached.

mod browser;
mod describe;
mod limits;
mod routes;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tokio::time::timeout;
use tracing::{Span, field};
use uuid::Uuid;

pub use describe::describe;

pub use limits::Client;

use limits::{Exceeded, Limits, Permit};
use routes::{Need, need};

use super::observe::keep;
use super::problem::{ApiError, Code};
use super::serving::Peer;
use crate::app::App;
use crate::catalogue::{ApiKey, CatalogueError, KeyState};
use crate::keys::Secret;

/// How often the use of a key is noted: a write for every request would be dear.
const NOTE_USE_EVERY: Duration = Duration::from_secs(60);

/// What the layer knows from one request to the next. Keys are not among it: each request asks the catalogue, so that a key that another
/// process makes or revokes is one, or none, from the next request on.
pub struct Access {
    app: Arc<App>,
    limits: Limits,
    /// Whether there are keys: once there are, there always will be.
    has_keys: AtomicBool,
    noted: Mutex<HashMap<Uuid, Instant>>,
}

/// Whose a request is, for what is kept for one client and not for another: an extension of each request that is let in. Keys of one name
/// are one client's, since one takes the other's place; without keys there is only one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner(String);

impl Owner {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who asks.
enum Caller {
    Key(ApiKey),
    /// Anyone, on a server that is open.
    Anyone,
}

/// Why a request counts as one without a key. The client is told none of it: whether a key was good once is nobody else's to know.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Missing,
    Malformed,
    Unknown,
    Expired,
    Revoked,
}

impl Access {
    pub fn new(app: Arc<App>) -> Self {
        let limits = Limits::new(app.settings.requests_per_minute, app.settings.concurrent_requests);
        Self { app, limits, has_keys: AtomicBool::new(false), noted: Mutex::default() }
    }

    /// # Errors
    /// The answer, where the request is refused.
    async fn admit(&self, need: Need, headers: &HeaderMap, address: IpAddr) -> Result<(Permit, Owner), ApiError> {
        let caller = self.caller(headers).await?;
        let client = match &caller {
            Ok(Caller::Key(key)) => Client::Key(key.id),
            Ok(Caller::Anyone) | Err(_) => Client::at(address),
        };
        // First, since trying keys is asking, too.
        let permit = self.limits.admit(client, Instant::now())?;
        match caller {
            Ok(Caller::Anyone) => browser::check(headers, &self.app.settings).map(|()| (permit, Owner::default())),
            Ok(Caller::Key(key)) => {
                if let Need::Scope(scope) = need
                    && !key.scopes.allow(scope)
                {
                    return Err(ApiError::new(Code::Forbidden, format!("the key `{}` lacks the scope `{scope}`", key.name)));
                }
                self.note_use(key.id);
                Ok((permit, Owner(key.name.as_str().to_owned())))
            }
            Err(reason) => {
                tracing::info!(?reason, "refused");
                Err(ApiError::new(Code::Unauthorized, Code::Unauthorized.example()))
            }
        }
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Result<Caller, Refusal>, CatalogueError> {
        // Whatever an open server is sent: many clients cannot be told to send no key.
        if self.app.settings.open_without_keys() && !self.has_keys().await? {
            return Ok(Ok(Caller::Anyone));
        }
        let secret = match bearer(headers) {
            Ok(secret) => secret,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(key) = self.app.parts.catalogue.find_key(&secret).await? else { return Ok(Err(Refusal::Unknown)) };
        Span::current().record("key", field::display(key.id)).record("key_name", key.name.as_str());
        Ok(match key.state(Timestamp::now()) {
            KeyState::Active => Ok(Caller::Key(key)),
            KeyState::Expired => Err(Refusal::Expired),
            KeyState::Revoked => Err(Refusal::Revoked),
        })
    }

    async fn has_keys(&self) -> Result<bool, CatalogueError> {
        if self.has_keys.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let has_keys = self.app.parts.catalogue.has_keys().await?;
        self.has_keys.fetch_or(has_keys, Ordering::Relaxed);
        Ok(has_keys)
    }

    /// Notes now and then that a key is used. Nobody waits for it: a write may have to wait for documents that are taken in.
    fn note_use(&self, id: Uuid) {
        let now = Instant::now();
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.get(&id).is_some_and(|&last| now - last < NOTE_USE_EVERY) {
                return;
            }
            noted.insert(id, now);
        }
        let catalogue = self.app.parts.catalogue.clone();
        tokio::spawn(async move {
            if let Err(error) = catalogue.note_key_use(id).await {
                tracing::warn!(%error, key = %id, "the use of a key is not noted");
            }
        });
    }
}

/// The layer around the routes.
pub async fn guard(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let pattern = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let need = need(request.method(), pattern);
    if need == Need::Nothing {
        return next.run(request).await;
    }
    let address = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    let (permit, owner) = match access.admit(need, request.headers(), address).await {
        Ok(admitted) => admitted,
        Err(error) => return error.into_response(),
    };
    request.extensions_mut().insert(owner);
    // What no handler has, no handler can log.
    request.headers_mut().remove(header::AUTHORIZATION);
    let response = match access.app.settings.request_deadline() {
        None => next.run(request).await,
        Some(deadline) => timeout(deadline, next.run(request)).await.unwrap_or_else(|_| timed_out(deadline).into_response()),
    };
    keep(response, permit)
}

/// The key of the header `Authorization: Bearer KEY` (RFC 6750).
fn bearer(headers: &HeaderMap) -> Result<Secret, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let (scheme, key) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Refusal::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Malformed);
    }
    Secret::parse(key.trim_matches(' ')).ok_or(Refusal::Malformed)
}

/// 504 and not 408, which says that the request came too slowly, and after which browsers and proxies send it again by themselves.
fn timed_out(deadline: Duration) -> ApiError {
    let seconds = deadline.as_secs();
    ApiError::new(Code::TimedOut, format!("the answer did not begin within {seconds} seconds (setting request_seconds)"))
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> Self {
        let (detail, seconds) = match exceeded {
            Exceeded::PerMinute { limit, retry_after } => {
                let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
                (format!("{limit} requests a minute are allowed; try again in {seconds} seconds"), seconds)
            }
            // When one ends is not known.
            Exceeded::AtATime { limit } => (format!("{limit} requests at a time are allowed; try again when one has ended"), 1),
        };
        Self::new(Code::RateLimited, detail).with_retry_after(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_read_from_its_header_alone() {
        let key = Secret::random();
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers)
        };
        let whole = format!("Bearer {}", key.reveal());
        for good in [&whole, &whole.replace("Bearer", "bearer"), &whole.replace(' ', "  ")] {
            assert_eq!(read(&[good]).unwrap().reveal(), key.reveal(), "{good}");
        }
        assert!(matches!(read(&[]), Err(Refusal::Missing)));
        let bad = ["", "Bearer", "Bearer ", key.reveal(), &whole.replace("Bearer", "Basic"), &format!("{whole},"), &whole[..70]];
        assert!(bad.iter().all(|value| matches!(read(&[value]), Err(Refusal::Malformed))));
        assert!(matches!(read(&[&whole, &whole]), Err(Refusal::Malformed)));
    }
}
