//! The header `Idempotency-Key`: a client that does not know whether its request arrived sends it again, and nothing is done twice
//! (draft-ietf-httpapi-idempotency-key-header).

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::access::Owner;
use super::problem::{ApiError, Code};
use crate::catalogue::Once;
use crate::names::IdempotencyKey;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says of an answer that it is one to a request that had been answered before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
pub const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What the client calls its request by, and whose that name is.
#[derive(Clone, Debug)]
pub struct RequestKey {
    owner: String,
    key: IdempotencyKey,
}

impl RequestKey {
    /// None where the client gave no key.
    ///
    /// # Errors
    /// The key breaks a rule.
    pub fn of(request: &Request) -> Result<Option<Self>, ApiError> {
        let invalid = |rule: &str| ApiError::new(Code::InvalidIdempotencyKey, format!("the header idempotency-key {rule}"));
        let mut values = request.headers().get_all(KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(invalid("may be there once"));
        }
        let text = value.to_str().map_err(|_| invalid("may hold visible ASCII characters only"))?.trim();
        // The draft has a string of structured fields, most clients send the bare text.
        let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let key = IdempotencyKey::parse(text).map_err(|rule| invalid(&rule))?;
        let owner = request.extensions().get::<Owner>().map(Owner::as_str).unwrap_or_default().to_owned();
        Ok(Some(Self { owner, key }))
    }

    pub fn once(self, fingerprint: [u8; 32]) -> Once {
        Once { owner: self.owner, key: self.key, fingerprint }
    }
}

/// Tells a body from others: a hash of its parts, in their order.
#[derive(Clone)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// # Arguments
    /// * `form` - how the body is written: the same bytes may mean something else in another form.
    pub fn new(form: &str) -> Self {
        let mut this = Self(Sha256::new());
        this.part(form.as_bytes());
        this
    }

    pub fn part(&mut self, bytes: &[u8]) {
        // The length keeps parts apart.
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn key(values: &[&[u8]]) -> Result<Option<String>, String> {
        let mut request = Request::new(Body::empty());
        for value in values {
            request.headers_mut().append(KEY, HeaderValue::from_bytes(value).unwrap());
        }
        RequestKey::of(&request).map(|key| key.map(|key| key.key.as_str().to_owned())).map_err(|error| error.detail)
    }

    #[test]
    fn a_key_is_a_short_visible_text_with_or_without_quotes() {
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&[b"8e03978e-40d5"]), Ok(Some("8e03978e-40d5".to_owned())));
        assert_eq!(key(&[b"\"8e03978e-40d5\""]), Ok(Some("8e03978e-40d5".to_owned())));
        assert!(key(&["x".repeat(255).as_bytes()]).unwrap().is_some());
        for (bad, expected) in [
            (&["x".repeat(256).as_bytes()][..], "1 to 255 characters, has 256"),
            (&[b""], "has 0"),
            (&[b"\"\""], "has 0"),
            (&[b"a b"], "visible ASCII"),
            (&["schlüssel".as_bytes()], "visible ASCII"),
            (&[b"a", b"a"], "once"),
        ] {
            let error = key(bad).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn parts_are_kept_apart() {
        let print = |form: &str, parts: &[&str]| {
            let mut print = Fingerprint::new(form);
            parts.iter().for_each(|part| print.part(part.as_bytes()));
            print.finish()
        };
        assert_eq!(print("json", &["ab", "c"]), print("json", &["ab", "c"]));
        assert_ne!(print("json", &["ab", "c"]), print("json", &["a", "bc"]));
        assert_ne!(print("json", &["ab", "c"]), print("lines", &["ab", "c"]));
    }
}
