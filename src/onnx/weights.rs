//! Weights in a file beside their graphs, mapped once for all sessions of a process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{Mmap, UncheckedAdvice};
use ort::session::builder::{PrepackedWeights, SessionBuilder};
use ort::value::DynValue;
use prost::Message;

use super::format::{Initializer, Model};
use super::graph::tensor_over;
use super::shared::Shared;

/// A mapped file, with what kernels made of its matrices.
pub(super) struct Weights {
    map: Mmap,
    packed: PrepackedWeights,
}

static MAPPED: Shared<PathBuf, Weights> = Shared::new();

impl Weights {
    /// The file, which the process maps once for as long as anything uses it.
    fn of(path: &Path) -> std::io::Result<Arc<Self>> {
        MAPPED.get_or_make(path.canonicalize()?, |path| {
            // SAFETY: a model folder is not written while it is used: its files are replaced as a whole, which leaves a mapping as it was.
            let map = unsafe { Mmap::map(&std::fs::File::open(path)?)? };
            Ok(Self { map, packed: PrepackedWeights::new() })
        })
    }

    /// Lets go of the pages that were only read to be packed; what is read again comes back from the file.
    pub fn release(&self) {
        // SAFETY: a mapping that is only read has nothing to lose but time.
        let released = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
        if let Err(error) = released {
            tracing::debug!(%error, "the weights' pages stay in memory");
        }
    }
}

/// Gives the session the weights that lie in a file beside the graph; none where the graph holds its own. The session must not outlive
/// what comes back.
///
/// # Errors
/// The file is missing or shorter than the graph says, or several files are named.
pub(super) fn share(
    mut builder: SessionBuilder,
    model: &Model,
    folder: &Path,
) -> ort::Result<(SessionBuilder, Option<Arc<Weights>>)> {
    let error = |reason: String| ort::Error::new(reason);
    let mut shared: Option<(String, Arc<Weights>)> = None;
    for bytes in model.graph.iter().flat_map(|graph| &graph.initializer) {
        let initializer = Initializer::decode(bytes.clone()).map_err(|e| error(e.to_string()))?;
        let entry = |key: &str| initializer.external.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
        let Some(location) = entry("location") else { continue };
        let number = |key: &str| {
            entry(key).map_or(Ok(0), str::parse::<usize>).map_err(|e| error(format!("{}: {key}: {e}", initializer.name)))
        };
        let (offset, length) = (number("offset")?, number("length")?);
        if shared.as_ref().is_some_and(|(name, _)| name != location) {
            return Err(error("its weights lie in several files".to_owned()));
        }
        if shared.is_none() {
            let weights = Weights::of(&folder.join(location)).map_err(|e| error(format!("{location}: {e}")))?;
            builder = builder.with_prepacked_weights(&weights.packed)?;
            shared = Some((location.to_owned(), weights));
        }
        let (_, weights) = shared.as_ref().expect("just made");
        let bytes = offset.checked_add(length).and_then(|end| weights.map.get(offset..end));
        let bytes = bytes.ok_or_else(|| error(format!("{location} ends before {} does", initializer.name)))?;
        // SAFETY: the map outlives the session, as the caller answers for, and a session does not write its initializers.
        let value: DynValue = unsafe { tensor_over(bytes, initializer.element, &initializer.shape)? };
        builder = builder.with_initializer(&initializer.name, value)?;
    }
    Ok((builder, shared.map(|(_, weights)| weights)))
}
