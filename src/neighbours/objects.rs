//! Tables in an object store, S3 or what speaks its protocol, instead of a folder. What is written there outlives every machine as soon as the
//! store has answered, so there is nothing to sync; and LanceDB commits a version by a put that the store refuses where the object is there
//! already (`If-None-Match: *`), so that of two writers one is first, and the other sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use lance::Dataset;
use lance::io::{ObjectStore, ObjectStoreParams, ObjectStoreRegistry, StorageOptionsAccessor};
use object_store::path::Path;
use object_store::{Error, PutPayload};
use uuid::Uuid;

use super::DatabaseError;
use crate::settings::shown_place;

/// How long the store may take to answer when a database is opened.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// Begins the names of objects whose only purpose is that they cannot be put twice.
const PROBE: &str = "retro.put-once-";
const PROBE_BYTES: usize = 4096;
const PUTS_AT_ONCE: usize = 8;
/// How long one request may take, and until when it is sent again, where the environment does not say: LanceDB's own limits, of minutes, are
/// too long for those who wait for an answer.
const LIMITS: [(&str, &str, &str); 2] =
    [("timeout", "AWS_TIMEOUT", "15s"), ("client_retry_timeout", "OBJECT_STORE_CLIENT_RETRY_TIMEOUT", "15")];

/// What LanceDB is told beyond what it reads from the environment itself.
pub(super) fn options() -> HashMap<String, String> {
    let open = LIMITS.into_iter().filter(|(_, variable, _)| std::env::var_os(variable).is_none());
    open.map(|(option, _, value)| (option.to_owned(), value.to_owned())).collect()
}

/// The part of an object store that a database lies in.
pub(super) struct Objects {
    uri: String,
    store: Arc<ObjectStore>,
    base: Path,
}

impl Objects {
    /// # Errors
    /// There is no such bucket, the store refuses the credentials, or it does not answer in time.
    pub async fn open(uri: &str) -> Result<Self, DatabaseError> {
        let opened = async {
            let options = StorageOptionsAccessor::with_static_options(options());
            let params = ObjectStoreParams { storage_options_accessor: Some(Arc::new(options)), ..ObjectStoreParams::default() };
            let registry = Arc::new(ObjectStoreRegistry::default());
            let told = |error: lance::Error| reason(&error.to_string());
            let (store, base) = ObjectStore::from_uri_and_params(registry, uri, &params).await.map_err(told)?;
            store.list_with_delimiter(Some(&base)).await.map_err(told)?;
            Ok(Self { uri: uri.to_owned(), store, base })
        };
        in_time(uri, opened).await
    }

    /// Finds out whether of several puts of one object at the same time the store lets one through, on which all commits rely. Some stores
    /// that know `If-None-Match: *` look first and write then, and let several through.
    ///
    /// # Errors
    /// It does not, nothing may be written, or it does not answer in time.
    pub async fn check_commits(&self) -> Result<(), DatabaseError> {
        // Nobody else has it, and no earlier start.
        let probe = self.base.clone().join(format!("{PROBE}{}", Uuid::now_v7()));
        let checked = async {
            let put = || self.store.put_if_absent(&probe, PutPayload::from_static(&[0; PROBE_BYTES]));
            let mut stored = 0;
            for done in futures::future::join_all((0..PUTS_AT_ONCE).map(|_| put())).await {
                match done {
                    Ok(()) => stored += 1,
                    Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
                    Err(error) => return Err(reason(&error.to_string())),
                }
            }
            self.store.delete(&probe).await.map_err(|error| reason(&error.to_string()))?;
            match stored {
                1 => Ok(()),
                stored => Err(format!(
                    "of {PUTS_AT_ONCE} puts of one object with `If-None-Match: *` it let {stored} through instead of one, so servers \
                     would lose each other's writes"
                )),
            }
        };
        in_time(&self.uri, checked).await
    }
}

async fn in_time<T>(uri: &str, work: impl Future<Output = Result<T, String>>) -> Result<T, DatabaseError> {
    let done = tokio::time::timeout(ANSWERS_WITHIN, work).await;
    let done = done.unwrap_or_else(|_| Err(format!("it has not answered within {} seconds", ANSWERS_WITHIN.as_secs())));
    done.map_err(|reason| DatabaseError::Objects { uri: shown_place(uri), reason })
}

/// What an error of the store means, which says itself mostly how often it was tried.
fn reason(error: &str) -> String {
    let says = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if says(&["NoSuchBucket"]) {
        "there is no such bucket".to_owned()
    } else if says(&["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403 Forbidden", "401 Unauthorized"]) {
        "it refuses these credentials".to_owned()
    } else if says(&["Failed to get AWS credentials"]) {
        "no credentials were found".to_owned()
    } else {
        // Lance adds where in its source it was.
        let line = error.lines().next().unwrap_or_default();
        line.rsplit_once(", ").filter(|(_, place)| place.contains(".rs:")).map_or(line, |(said, _)| said).to_owned()
    }
}

/// Bytes of all objects of a table, those of earlier versions too.
pub(super) async fn bytes(dataset: &Dataset) -> lance::Result<u64> {
    let store = dataset.object_store(None).await?;
    let objects = store.list(Some(dataset.branch_location().path));
    objects.try_fold(0, |bytes, object| std::future::ready(Ok(bytes + object.size))).await
}

/// The versions of a table in order, each with the milliseconds at which the store says that it was written. Not a version is read for it.
pub(super) async fn versions_written(dataset: &Dataset) -> lance::Result<Vec<(u64, i64)>> {
    let store = dataset.object_store(None).await?;
    let objects: Vec<_> = store.list(Some(dataset.versions_dir())).try_collect().await?;
    let written = objects.iter().filter_map(|object| {
        let version = object.location.filename().and_then(version_of)?;
        Some((version, object.last_modified.timestamp_millis()))
    });
    let mut written: Vec<_> = written.collect();
    written.sort_unstable();
    Ok(written)
}

/// Removes all versions of a table, the newest last: until then it is what it was, and from then on there is no table, only objects that
/// nothing refers to.
pub(super) async fn remove_versions(dataset: &Dataset) -> lance::Result<()> {
    let store = dataset.object_store(None).await?;
    let mut manifests: Vec<Path> =
        store.list(Some(dataset.versions_dir())).map_ok(|object| object.location).try_collect().await?;
    manifests.sort_unstable_by_key(|manifest| manifest.filename().and_then(version_of));
    let newest = manifests.pop();
    let others = futures::stream::iter(manifests).map(Ok).boxed();
    store.remove_stream(others).try_collect::<Vec<_>>().await?;
    match newest {
        Some(newest) => store.delete(&newest).await,
        None => Ok(()),
    }
}

/// The version that a manifest's name says: LanceDB counts down from the greatest number, so that lists begin with the newest.
fn version_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".manifest").filter(|number| number.len() == 20)?;
    number.parse::<u64>().ok().map(|number| u64::MAX - number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbours::collection::dataset;
    use crate::neighbours::tests::{collection, database, document};

    #[test]
    fn what_the_store_says_is_told_in_few_words() {
        let forbidden =
            "Generic S3 error: Client error with status 403 Forbidden: <Error><Code>InvalidAccessKeyId</Code></Error>";
        assert_eq!(reason(forbidden), "it refuses these credentials");
        assert_eq!(reason("Failed to get AWS credentials: ProviderError(...)"), "no credentials were found");
        assert_eq!(reason("404 Not Found: <Error><Code>NoSuchBucket</Code></Error>"), "there is no such bucket");
        assert_eq!(reason("connection refused\nand more"), "connection refused");
        assert_eq!(reason("no credentials, /src/lance-io/src/object_store.rs:1576:42"), "no credentials");
    }

    /// LanceDB lists the files of a folder as it lists the objects of a store.
    #[tokio::test]
    async fn a_table_is_measured_and_removed_by_what_a_list_says() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder).await;
        for name in ["a", "b", "c"] {
            database.replace_documents(&collection(), vec![document(name, &[[1.0, 0.0, 0.0, 0.0]])], true).await.unwrap();
        }
        let (_, snapshot) = database.unchecked(&collection()).await.unwrap().unwrap();
        let dataset = dataset(&collection(), &snapshot).await.unwrap();
        assert_eq!(bytes(&dataset).await.unwrap(), database.bytes(&collection()).await.unwrap());

        let listed = versions_written(&dataset).await.unwrap();
        let known: Vec<_> = dataset.versions().await.unwrap().iter().map(|version| version.version).collect();
        assert_eq!(listed.iter().map(|(version, _)| *version).collect::<Vec<_>>(), known);
        let now = jiff::Timestamp::now().as_millisecond();
        assert!(listed.iter().all(|(_, written)| (now - 60_000..=now + 1000).contains(written)), "{listed:?}");

        remove_versions(&dataset).await.unwrap();
        assert!(!database.exists(&collection()).await.unwrap());
    }
}
