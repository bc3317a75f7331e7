use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::sql::{Row, query};
use super::store::{now, parsed, parsed_option, stored_time};
use super::{Catalogue, CatalogueError};
use crate::keys::{KeyHash, Scopes, Secret};
use crate::names::KeyName;

/// What the catalogue knows of an API key, which is all but the key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ApiKey {
    pub id: Uuid,
    pub name: KeyName,
    /// How the key begins.
    pub prefix: String,
    pub scopes: Scopes,
    pub created_at: Timestamp,
    /// About: not every use is noted.
    pub last_used_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// Whether a key is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    Active,
    Expired,
    Revoked,
}

impl ApiKey {
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }
}

impl Catalogue {
    /// Notes a new key. Several may have the same name, so that one can take the place of another without a gap.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn add_key(
        &self,
        secret: &Secret,
        name: &KeyName,
        scopes: &Scopes,
        expires_at: Option<Timestamp>,
    ) -> Result<ApiKey, CatalogueError> {
        let mut transaction = self.write().await?;
        let row = query(
            "INSERT INTO keys (id, name, prefix, hash, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *",
        )
        .bind(Uuid::now_v7().to_string())
        .bind(name.as_str())
        .bind(secret.prefix())
        .bind(secret.hash().as_bytes().to_vec())
        .bind(scopes.to_string())
        .bind(now())
        .bind(expires_at.map(stored_time))
        .fetch_one(&mut transaction)
        .await?;
        let key = key(&row)?;
        transaction.commit().await?;
        Ok(key)
    }

    /// All keys, the oldest first, those that are not taken any more included.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, CatalogueError> {
        let rows = query("SELECT * FROM keys ORDER BY created_at, id").fetch_all(self.reader()).await?;
        rows.iter().map(key).collect()
    }

    /// Whether a key was ever made, be it revoked or expired since: the last one's end must not open the server to everyone.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn has_keys(&self) -> Result<bool, CatalogueError> {
        Ok(query("SELECT EXISTS (SELECT 1 FROM keys)").scalar(self.reader()).await?)
    }

    /// What is known of a key, in whatever state it is.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn find_key(&self, secret: &Secret) -> Result<Option<ApiKey>, CatalogueError> {
        // The index is asked for the part that is no secret. How long it takes to look for a hash would tell something of those it holds.
        let rows = query("SELECT * FROM keys WHERE prefix = $1").bind(secret.prefix()).fetch_all(self.reader()).await?;
        let asked = secret.hash();
        let mut found = None;
        for row in &rows {
            if hash(row)?.matches(&asked) {
                found = Some(key(row)?);
            }
        }
        Ok(found)
    }

    /// Ends a key, and gives what is known of it; none where there is no such key. One that was revoked before stays as it is.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn revoke_key(&self, id: Uuid) -> Result<Option<ApiKey>, CatalogueError> {
        let mut transaction = self.write().await?;
        let row = query("UPDATE keys SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 RETURNING *")
            .bind(now())
            .bind(id.to_string())
            .fetch_optional(&mut transaction)
            .await?;
        let key = row.as_ref().map(key).transpose()?;
        transaction.commit().await?;
        Ok(key)
    }

    /// Notes that a key was used now.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn note_key_use(&self, id: Uuid) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        query("UPDATE keys SET last_used_at = $1 WHERE id = $2")
            .bind(now())
            .bind(id.to_string())
            .execute(&mut transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

fn key(row: &Row) -> Result<ApiKey, CatalogueError> {
    let name = KeyName::parse("name", row.try_get("name")?);
    Ok(ApiKey {
        id: parsed(row, "id")?,
        name: name.map_err(|e| CatalogueError::Corrupt { what: "name of a key", reason: e.to_string() })?,
        prefix: row.try_get("prefix")?,
        scopes: parsed(row, "scopes")?,
        created_at: parsed(row, "created_at")?,
        last_used_at: parsed_option(row, "last_used_at")?,
        expires_at: parsed_option(row, "expires_at")?,
        revoked_at: parsed_option(row, "revoked_at")?,
    })
}

fn hash(row: &Row) -> Result<KeyHash, CatalogueError> {
    let bytes: Vec<u8> = row.try_get("hash")?;
    let bytes = bytes.try_into().map_err(|bytes: Vec<u8>| CatalogueError::Corrupt {
        what: "hash of a key",
        reason: format!("it has {} bytes", bytes.len()),
    })?;
    Ok(KeyHash::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;
    use crate::catalogue::testing::{Place, on_both};
    use crate::keys::Scope;

    on_both! {
        a_key_is_found_by_itself_alone,
        a_key_ends_at_its_time_or_before,
    }

    fn name(text: &str) -> KeyName {
        KeyName::parse("name", text).unwrap()
    }

    async fn a_key_is_found_by_itself_alone(place: &Place) {
        let catalogue = place.catalogue().await;
        assert!(!catalogue.has_keys().await.unwrap());
        let (one, other) = (Secret::random(), Secret::random());
        let scopes = Scopes::new([Scope::Complete, Scope::Ingest]).unwrap();
        let added = catalogue.add_key(&one, &name("web"), &scopes, None).await.unwrap();
        assert_eq!((added.name.as_str(), &added.scopes, added.prefix.as_str()), ("web", &scopes, one.prefix()));
        assert_eq!(added.state(Timestamp::MAX), KeyState::Active);
        assert!(catalogue.has_keys().await.unwrap());
        assert_eq!(catalogue.find_key(&one).await.unwrap(), Some(added));
        assert_eq!(catalogue.find_key(&other).await.unwrap(), None);
        // One that begins in the same way.
        let turned: String = one.reveal()[14..].chars().rev().collect();
        let like = Secret::parse(&format!("{}{turned}", one.prefix())).unwrap();
        assert_eq!(catalogue.find_key(&like).await.unwrap(), None);
        let second = catalogue.add_key(&like, &name("web"), &scopes, None).await.unwrap();
        assert_eq!(catalogue.find_key(&like).await.unwrap().unwrap().id, second.id);
    }

    #[tokio::test]
    async fn the_file_holds_no_key() {
        let place = &Place::sqlite();
        let catalogue = place.catalogue().await;
        let secret = Secret::random();
        catalogue.add_key(&secret, &name("web"), &Scopes::new([Scope::Admin]).unwrap(), None).await.unwrap();
        catalogue.close().await;
        for file in std::fs::read_dir(place.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let hidden = &secret.reveal().as_bytes()[14..];
            assert!(!bytes.windows(hidden.len()).any(|window| window == hidden));
        }
    }

    async fn a_key_ends_at_its_time_or_before(place: &Place) {
        let catalogue = place.catalogue().await;
        let scopes = Scopes::new([Scope::Admin]).unwrap();
        let end: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let secret = Secret::random();
        let key = catalogue.add_key(&secret, &name("guest"), &scopes, Some(end)).await.unwrap();
        assert_eq!(key.state(end - 1.second()), KeyState::Active);
        assert_eq!(key.state(end), KeyState::Expired);

        catalogue.note_key_use(key.id).await.unwrap();
        let revoked = catalogue.revoke_key(key.id).await.unwrap().unwrap();
        assert!(revoked.last_used_at.unwrap() <= revoked.revoked_at.unwrap());
        assert_eq!(revoked.state(end - 1.second()), KeyState::Revoked);
        assert_eq!(catalogue.revoke_key(key.id).await.unwrap(), Some(revoked.clone()), "twice changes nothing");
        assert_eq!(catalogue.find_key(&secret).await.unwrap(), Some(revoked.clone()));
        assert_eq!(catalogue.keys().await.unwrap(), [revoked]);
        assert!(catalogue.has_keys().await.unwrap(), "a server does not open again");
        assert_eq!(catalogue.revoke_key(Uuid::nil()).await.unwrap(), None);
    }
}
