//! What the database is worth for predicting text.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, ensure};

use super::bench::{Bench, progress};
use super::shares::{Nearest, Share, merged};
use super::text_report::{CollectionReport, Measure, NeighboursReport, ShareReport, TextReport};
use crate::generate::GivenText;
use crate::model::NeighbourTokens;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::Neighbour;
use crate::text::TokenId;

const NEIGHBOURS: [usize; 4] = [1, 2, 4, 8];

/// Texts, each with the id of its document.
pub type Texts = Vec<(String, String)>;

/// Where neighbours are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Nothing,
    /// The evaluated documents.
    Own,
    Others,
    /// The evaluated documents and the others as one database.
    Both,
    /// The user's collection.
    Related,
}

/// One way to predict the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Variant {
    source: Source,
    share: Share,
    neighbours: usize,
    continuation: bool,
}

const OFF: Variant = Variant { source: Source::Nothing, share: Share::WHOLE, neighbours: 0, continuation: true };

/// Measures the prediction of `own` from each database: all tokens but each document's first, in windows of the model's context.
pub async fn evaluate(bench: &Bench, own: &Texts, others: &Texts) -> Result<TextReport> {
    let collections = Collections { own: collection("own"), others: collection("others") };
    bench.ingest("ingesting the documents", &collections.own, pairs(own)).await?;
    bench.ingest("ingesting the others", &collections.others, pairs(others)).await?;

    let neighbours = bench.generator.limits().neighbours;
    let mut scores = Scores { neighbours, tokens: 0, bytes: 0, log_probs: HashMap::new() };
    let variants = variants(neighbours, !others.is_empty(), bench.related.is_some());
    let bar = progress("scoring", own.len());
    for (_, text) in own {
        let tokens = bench.parts.tokenizer.encode(text);
        let context = bench.generator.limits().context;
        // Each window begins with the last token of the one before, so that every token but the first is predicted once.
        for start in (0..tokens.len().saturating_sub(1)).step_by(context) {
            let window = &tokens[start..tokens.len().min(start + context + 1)];
            scores.tokens += window.len() - 1;
            scores.bytes += bench.parts.tokenizer.decode_bytes(&window[1..]).len();
            for (variant, log_prob) in score(bench, &collections, window, &variants).await? {
                *scores.log_probs.entry(variant).or_insert(0.0) += log_prob;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    ensure!(scores.tokens > 0, "the documents have no tokens to predict");
    report(bench, &collections, own.len(), others.len(), &scores).await
}

struct Collections {
    own: CollectionName,
    others: CollectionName,
}

fn collection(name: &str) -> CollectionName {
    CollectionName::parse("collection", name).expect("a fixed name")
}

fn pairs(texts: &Texts) -> impl Iterator<Item = (&str, &str)> {
    texts.iter().map(|(id, text)| (id.as_str(), text.as_str()))
}

fn whole(source: Source, neighbours: usize) -> Variant {
    Variant { source, share: Share::WHOLE, neighbours, continuation: true }
}

/// All ways that the report tells of, each once.
fn variants(neighbours: usize, others: bool, related: bool) -> Vec<Variant> {
    let mut variants = vec![OFF, whole(Source::Own, neighbours)];
    variants.extend(others.then_some(whole(Source::Others, neighbours)));
    let sources = [Some((Source::Own, Source::Both)), related.then_some((Source::Related, Source::Related))];
    for (source, shared) in sources.into_iter().flatten() {
        variants.extend(NEIGHBOURS.map(|neighbours| whole(source, neighbours)));
        variants.extend(Share::ALL.map(|share| Variant { share, ..whole(shared, neighbours) }));
        variants.push(whole(source, neighbours));
        variants.push(Variant { continuation: false, ..whole(source, neighbours) });
    }
    let mut seen = std::collections::HashSet::new();
    variants.retain(|&variant| seen.insert(variant));
    variants
}

/// Log-probability of a window's tokens, all but the first, under each variant. Each chunk is embedded once and looked up once in each
/// collection, and where variants give the same neighbours the model runs once.
async fn score(
    bench: &Bench,
    collections: &Collections,
    window: &[TokenId],
    variants: &[Variant],
) -> Result<Vec<(Variant, f64)>> {
    let parts = &bench.parts;
    let queries = GivenText::chunks(window).map(|chunk| parts.tokenizer.decode(chunk)).collect();
    let queries = parts.embedder.embed(queries).await?;
    let mut own = Nearest::search(&parts.database, &collections.own, &queries).await?;
    let mut others = Nearest::search(&parts.database, &collections.others, &queries).await?;
    let mut related = match &bench.related {
        Some(related) => Some(Nearest::search(&related.database, &related.collection, &queries).await?),
        None => None,
    };
    let mut known: Vec<(Vec<Vec<NeighbourTokens>>, f64)> = Vec::new();
    let mut scores = Vec::with_capacity(variants.len());
    for &variant in variants {
        let Variant { source, share, neighbours: k, continuation } = variant;
        let found = match (source, &mut related) {
            (Source::Own, _) => own.of(share, k).await?,
            (Source::Others, _) => others.of(share, k).await?,
            (Source::Both, _) => merged(own.of(share, k).await?, others.of(share, k).await?, k),
            (Source::Related, Some(related)) => related.of(share, k).await?,
            (Source::Nothing, _) | (Source::Related, None) => vec![Vec::new(); queries.len()],
        };
        let neighbours: Vec<Vec<NeighbourTokens>> =
            found.iter().map(|found| found.iter().map(|found| read(found, continuation)).collect()).collect();
        let log_prob = match known.iter().find(|(same, _)| *same == neighbours) {
            Some((_, log_prob)) => *log_prob,
            None => {
                let text = GivenText { tokens: window.to_vec(), neighbours: neighbours.clone() };
                let log_prob = bench.generator.score_given(text).await?.into_iter().map(f64::from).sum();
                known.push((neighbours, log_prob));
                log_prob
            }
        };
        scores.push((variant, log_prob));
    }
    Ok(scores)
}

fn read(found: &Neighbour, continuation: bool) -> NeighbourTokens {
    let tokens = NeighbourTokens::from(found);
    if continuation { tokens } else { NeighbourTokens { continuation: Vec::new(), ..tokens } }
}

struct Scores {
    /// Neighbours of a chunk where a report line does not say.
    neighbours: usize,
    tokens: usize,
    bytes: usize,
    log_probs: HashMap<Variant, f64>,
}

impl Scores {
    fn measure(&self, variant: Variant) -> Measure {
        let (log_prob, off) = (self.log_probs[&variant], self.log_probs[&OFF]);
        let perplexity = |log_prob: f64| (-log_prob / self.tokens as f64).exp();
        Measure {
            perplexity: perplexity(log_prob),
            bits_per_byte: -log_prob / std::f64::consts::LN_2 / self.bytes as f64,
            times_lower: perplexity(off) / perplexity(log_prob),
        }
    }

    fn by_neighbours(&self, source: Source) -> Vec<NeighboursReport> {
        let line = |neighbours| NeighboursReport { neighbours, measure: self.measure(whole(source, neighbours)) };
        NEIGHBOURS.map(line).into()
    }

    fn by_share(&self, source: Source, documents: &BTreeMap<DocumentId, usize>) -> Vec<ShareReport> {
        let line = |share: Share| {
            let held = documents.iter().filter(|(id, _)| share.holds(id)).map(|(_, chunks)| chunks);
            ShareReport {
                name: share.to_string(),
                share: share.fraction(),
                documents: held.clone().count(),
                chunks: held.sum(),
                measure: self.measure(Variant { share, ..whole(source, self.neighbours) }),
            }
        };
        Share::ALL.map(line).into()
    }

    fn without_continuation(&self, source: Source) -> Measure {
        self.measure(Variant { continuation: false, ..whole(source, self.neighbours) })
    }
}

async fn report(bench: &Bench, collections: &Collections, own: usize, others: usize, scores: &Scores) -> Result<TextReport> {
    let off = scores.measure(OFF);
    let with_own = scores.measure(whole(Source::Own, scores.neighbours));
    let with_others = (others > 0).then(|| scores.measure(whole(Source::Others, scores.neighbours)));
    let mut both = bench.parts.database.documents(&collections.own).await?;
    both.extend(bench.parts.database.documents(&collections.others).await?);
    let collection = match &bench.related {
        None => None,
        Some(related) => {
            let documents = related.database.documents(&related.collection).await?;
            let measure = scores.measure(whole(Source::Related, scores.neighbours));
            Some(CollectionReport {
                name: related.collection.to_string(),
                documents: documents.len(),
                chunks: documents.values().sum(),
                perplexity_ratio: measure.perplexity / off.perplexity,
                bits_per_byte_ratio: measure.bits_per_byte / off.bits_per_byte,
                measure,
                by_neighbours: scores.by_neighbours(Source::Related),
                without_continuation: scores.without_continuation(Source::Related),
                by_share: scores.by_share(Source::Related, &documents),
            })
        }
    };
    Ok(TextReport {
        documents: own,
        other_documents: others,
        tokens: scores.tokens,
        bytes: scores.bytes,
        neighbours: scores.neighbours,
        without_retrieval: off.perplexity,
        with_the_documents: with_own.perplexity,
        with_other_documents: with_others.map(|measure| measure.perplexity),
        times_lower: with_own.times_lower,
        others_higher: with_others.map(|measure| measure.perplexity / off.perplexity - 1.0),
        bits_per_byte_without_retrieval: off.bits_per_byte,
        bits_per_byte_with_the_documents: with_own.bits_per_byte,
        bits_per_byte_with_other_documents: with_others.map(|measure| measure.bits_per_byte),
        by_neighbours: scores.by_neighbours(Source::Own),
        without_continuation: scores.without_continuation(Source::Own),
        by_share: scores.by_share(Source::Both, &both),
        collection,
    })
}
