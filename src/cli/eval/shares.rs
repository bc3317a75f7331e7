use anyhow::Result;
use sha2::{Digest, Sha256};

use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Database, Neighbour, SearchOptions};

/// Neighbours that are looked up at first for each chunk: enough for most shares, and one search serves them all.
const CANDIDATES: usize = 64;

/// A part of a database by documents, that holds every smaller share: the documents whose hash begins with so many zero bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    halvings: u32,
}

impl Share {
    pub const WHOLE: Self = Self { halvings: 0 };
    /// 1/16 to the whole.
    pub const ALL: [Self; 5] =
        [Self { halvings: 4 }, Self { halvings: 3 }, Self { halvings: 2 }, Self { halvings: 1 }, Self::WHOLE];

    pub fn fraction(self) -> f64 {
        0.5_f64.powi(self.halvings as i32)
    }

    pub fn holds(self, document: &DocumentId) -> bool {
        self == Self::WHOLE || {
            let hash = Sha256::digest(document.as_str().as_bytes());
            u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]).leading_zeros() >= self.halvings
        }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.halvings {
            0 => f.write_str("1"),
            halvings => write!(f, "1/{}", 1_u32 << halvings),
        }
    }
}

/// The rows of one collection that are nearest to each of some vectors, as far as they have been asked for.
pub struct Nearest<'a> {
    database: &'a Database,
    collection: &'a CollectionName,
    queries: &'a [Vec<f32>],
    lists: Vec<List>,
}

struct List {
    rows: Vec<Neighbour>,
    /// Rows that were asked for; fewer came where the collection has no more.
    limit: usize,
}

impl List {
    fn is_short_of(&self, share: Share, k: usize) -> bool {
        self.rows.len() == self.limit && self.rows.iter().filter(|row| share.holds(&row.document_id)).take(k).count() < k
    }
}

impl<'a> Nearest<'a> {
    pub async fn search(database: &'a Database, collection: &'a CollectionName, queries: &'a [Vec<f32>]) -> Result<Self> {
        let found = database.search(queries.to_vec(), &every(collection, CANDIDATES)).await?;
        let lists = found.neighbours.into_iter().map(|rows| List { rows, limit: CANDIDATES }).collect();
        Ok(Self { database, collection, queries, lists })
    }

    /// What a search of a share of the collection's documents alone would find for each vector.
    pub async fn of(&mut self, share: Share, k: usize) -> Result<Vec<Vec<Neighbour>>> {
        loop {
            let short: Vec<usize> = (0..self.lists.len()).filter(|&at| self.lists[at].is_short_of(share, k)).collect();
            let Some(limit) = short.iter().map(|&at| self.lists[at].limit * 4).max() else { break };
            let queries = short.iter().map(|&at| self.queries[at].clone()).collect();
            let found = self.database.search(queries, &every(self.collection, limit)).await?;
            for (at, rows) in short.into_iter().zip(found.neighbours) {
                self.lists[at] = List { rows, limit };
            }
        }
        let first = |list: &List| list.rows.iter().filter(|row| share.holds(&row.document_id)).take(k).cloned().collect();
        Ok(self.lists.iter().map(first).collect())
    }
}

/// All of the nearest rows: which of the same text is the first differs from share to share.
fn every(collection: &CollectionName, limit: usize) -> SearchOptions {
    SearchOptions { distinct: false, ..SearchOptions::new(collection.clone(), limit) }
}

/// What one search of two collections' rows would find, from what the same search of each found.
pub fn merged(one: Vec<Vec<Neighbour>>, other: Vec<Vec<Neighbour>>, k: usize) -> Vec<Vec<Neighbour>> {
    let merge = |(mut rows, other): (Vec<Neighbour>, Vec<Neighbour>)| {
        rows.extend(other);
        rows.sort_by(Neighbour::order);
        rows.truncate(k);
        rows
    };
    one.into_iter().zip(other).map(merge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbours::{Entry, Identity, Memory};

    fn id(number: usize) -> DocumentId {
        DocumentId::parse("id", &format!("d{number}")).unwrap()
    }

    #[test]
    fn a_share_holds_the_smaller_ones_and_about_its_part_of_the_documents() {
        let ids: Vec<DocumentId> = (0..4096).map(id).collect();
        let held = |share: Share| ids.iter().filter(|id| share.holds(id)).collect::<Vec<_>>();
        for pair in Share::ALL.windows(2) {
            let (smaller, larger) = (held(pair[0]), held(pair[1]));
            assert!(smaller.iter().all(|id| larger.contains(id)), "{} in {}", pair[0], pair[1]);
        }
        for share in Share::ALL {
            let expected = 4096.0 * share.fraction();
            let found = held(share).len() as f64;
            assert!((found - expected).abs() < 4.0 * expected.sqrt(), "{share}: {found}");
        }
        // The hash must stay what it is, or figures of two versions cannot be compared.
        assert_eq!(held(Share::ALL[0]).len(), 238);
    }

    fn entry(number: usize) -> Entry {
        let hash = Sha256::digest(number.to_string());
        Entry {
            document_id: id(number / 3),
            chunk_index: (number % 3) as u32,
            byte_start: 0,
            byte_end: 1,
            neighbour: String::new(),
            continuation: String::new(),
            neighbour_tokens: vec![number as u32],
            continuation_tokens: vec![],
            title: String::new(),
            source: String::new(),
            metadata: "{}".to_owned(),
            // Few different vectors, so that many are equally near.
            embedding: hash[..4].iter().map(|&byte| f32::from(byte >> 6)).collect(),
        }
    }

    async fn database(folder: &tempfile::TempDir, collection: &CollectionName, numbers: impl Iterator<Item = usize>) -> Database {
        let identity = Identity {
            tokenizer: "a".repeat(64),
            embedder: "bert".to_owned(),
            dimension: 4,
            neighbour_length: 64,
            continuation_length: 64,
        };
        let database = Database::open(folder.path().to_str().unwrap(), identity, Memory::default()).await.unwrap();
        let documents = numbers.map(|number| (id(number), (0..3).map(|part| entry(number * 3 + part)).collect())).collect();
        database.replace_documents(collection, documents, true).await.unwrap();
        database
    }

    #[tokio::test]
    async fn shares_and_halves_give_what_a_search_of_them_alone_would() {
        let collection = CollectionName::default();
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let low = database(&folders[0], &collection, 0..150).await;
        let high = database(&folders[1], &collection, 150..300).await;
        let queries = vec![vec![0.0, 1.0, 2.0, 3.0], vec![3.0, 3.0, 0.0, 0.0], vec![1.0, 1.0, 1.0, 1.0]];
        let mut nearest_low = Nearest::search(&low, &collection, &queries).await.unwrap();
        let mut nearest_high = Nearest::search(&high, &collection, &queries).await.unwrap();
        for share in Share::ALL {
            let folder = tempfile::tempdir().unwrap();
            let alone = database(&folder, &collection, (0..300).filter(|&number| share.holds(&id(number)))).await;
            for k in [1, 2, 8, 300] {
                let expected = alone.search(queries.clone(), &every(&collection, k)).await.unwrap().neighbours;
                let halves = (nearest_low.of(share, k).await.unwrap(), nearest_high.of(share, k).await.unwrap());
                assert_eq!(merged(halves.0, halves.1, k), expected, "{share}, {k}");
            }
        }
    }
}
