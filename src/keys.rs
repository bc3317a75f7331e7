//! API keys by themselves: what a key looks like, how it is hashed, and what it may allow.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use rand::TryRng;
use rand::rngs::SysRng;
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::files::hex;
use crate::invalid::Invalid;

/// By this a key is known for one, by people and by tools that look for keys in source code.
const MARK: &str = "retro_";
const RANDOM_BYTES: usize = 32;
/// Hexadecimal digits that are stored and shown; the other 56, 224 bits, remain secret.
const SHOWN_DIGITS: usize = 8;

/// A whole key: `retro_` and 64 lower-case hexadecimal digits. It goes into no log: its `Debug` shows the prefix only, and it has no `Display`.
#[derive(Clone)]
pub struct Secret(String);

/// The sha256 of a key. A slow hash, with salt, is for what people think up; 256 random bits are not guessed, however fast each try is.
///
/// It has no `==`, which would end at the first difference and so tell by its time how much of a guess was right.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To use the model and its database.
    Complete,
    /// To change documents, and to see what becomes of them.
    Ingest,
    /// To read the metrics.
    Metrics,
    /// Everything.
    Admin,
}

/// At least one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Secret {
    /// A new key.
    ///
    /// # Panics
    /// The operating system gives no random numbers.
    pub fn random() -> Self {
        let mut bytes = [0; RANDOM_BYTES];
        SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random numbers");
        Self(format!("{MARK}{}", hex(&bytes)))
    }

    /// Reads a key; none where the text cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(MARK)?;
        let good = digits.len() == 2 * RANDOM_BYTES && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| Self(text.to_owned()))
    }

    /// How it begins.
    pub fn prefix(&self) -> &str {
        &self.0[..MARK.len() + SHOWN_DIGITS]
    }

    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The whole key, for whoever made it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}...", self.prefix())
    }
}

impl KeyHash {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are of the same key, in a time that does not depend on the answer.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Scope {
    pub const ALL: [Self; 4] = [Self::Complete, Self::Ingest, Self::Metrics, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Ingest => "ingest",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| Invalid::new("scope", format!("is `complete`, `ingest`, `metrics` or `admin`, not {text:?}")))
    }
}

impl Scopes {
    /// # Errors
    /// There is none.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, Invalid> {
        let scopes: BTreeSet<_> = scopes.into_iter().collect();
        if scopes.is_empty() {
            return Err(Invalid::new("scope", "must be given: `complete`, `ingest`, `metrics` or `admin`, or several of them"));
        }
        Ok(Self(scopes))
    }

    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }
}

/// As it is stored: the scopes with spaces between them.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&scopes.join(" "))
    }
}

impl FromStr for Scopes {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(text.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_shows_little_of_itself() {
        let (one, other) = (Secret::random(), Secret::random());
        let again = Secret::parse(one.reveal()).unwrap();
        assert!(one.hash().matches(&again.hash()) && !one.hash().matches(&other.hash()));
        assert_eq!(one.prefix().len(), 14);
        assert_eq!(format!("{one:?}"), format!("{}...", one.prefix()));
    }

    #[test]
    fn what_cannot_be_a_key_is_not_read() {
        let good = format!("retro_{}", "0a".repeat(32));
        assert!(Secret::parse(&good).is_some());
        for bad in ["", "retro_", &good[1..], &good[..69], &format!("{good}0"), &good.to_uppercase(), &good.replace('a', "g")] {
            assert!(Secret::parse(bad).is_none(), "{bad}");
        }
        // As many bytes as a key, ending inside a character where the prefix would.
        assert!(Secret::parse(&format!("retro_{}", "é".repeat(32))).is_none());
    }

    #[test]
    fn admin_allows_everything_and_the_others_themselves() {
        let scopes: Scopes = "ingest complete ingest".parse().unwrap();
        assert_eq!(scopes.to_string(), "complete ingest");
        assert!(scopes.allow(Scope::Ingest) && !scopes.allow(Scope::Admin));
        let admin = Scopes::new([Scope::Admin]).unwrap();
        assert!(Scope::ALL.into_iter().all(|scope| admin.allow(scope)));
        for bad in ["", " ", "complete,ingest", "Admin"] {
            assert_eq!(bad.parse::<Scopes>().unwrap_err().field, "scope", "{bad:?}");
        }
    }
}
