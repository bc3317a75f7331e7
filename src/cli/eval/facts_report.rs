use std::io::{self, Write};

use serde::Serialize;

use super::facts::{Fact, Wording};

/// Most misses that are printed.
const MISSES: usize = 20;

#[derive(Debug, Serialize)]
pub struct FactsReport {
    pub facts: usize,
    pub documents: usize,
    /// The user's collection whose chunks lay among the documents.
    pub collection: Option<String>,
    pub other_chunks: usize,
    pub same: Tally,
    pub other: Tally,
    pub all: Tally,
    pub outcomes: Vec<Outcome>,
}

/// Of the facts of one wording.
#[derive(Debug, Serialize)]
pub struct Tally {
    pub facts: usize,
    pub without_retrieval: Count,
    pub with_the_documents: Count,
    pub new_after_edit: Count,
    pub old_after_edit: Count,
    pub after_deletion: Count,
    pub found_first: Count,
    pub retrieved: Count,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Count {
    pub count: usize,
    /// Null where there are no facts.
    pub percent: Option<f64>,
}

/// What came for one fact.
#[derive(Debug, Serialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub fact: Fact,
    pub texts: Texts,
    pub right: Right,
}

#[derive(Debug, Serialize)]
pub struct Texts {
    pub without_retrieval: String,
    pub with_the_documents: String,
    pub after_edit: String,
    pub after_deletion: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Right {
    pub without_retrieval: bool,
    pub with_the_documents: bool,
    pub new_after_edit: bool,
    pub old_after_edit: bool,
    /// The value or the edited one, though neither is there any more.
    pub after_deletion: bool,
    /// With the documents, the nearest neighbour is a chunk of the fact's.
    pub found_first: bool,
    /// With the documents, the value stands in what the model read.
    pub retrieved: bool,
}

impl FactsReport {
    pub fn new(documents: usize, collection: Option<String>, other_chunks: usize, outcomes: Vec<Outcome>) -> Self {
        let tally = |wording: Option<Wording>| {
            let of_wording = |outcome: &&Outcome| wording.is_none_or(|wording| outcome.fact.wording == wording);
            Tally::of(&outcomes.iter().filter(of_wording).map(|outcome| outcome.right).collect::<Vec<_>>())
        };
        let (same, other, all) = (tally(Some(Wording::Same)), tally(Some(Wording::Other)), tally(None));
        Self { facts: outcomes.len(), documents, collection, other_chunks, same, other, all, outcomes }
    }

    pub fn print(&self, out: &mut impl Write, misses: bool) -> io::Result<()> {
        write!(out, "{} facts in {} documents", self.facts, self.documents)?;
        match &self.collection {
            Some(collection) => writeln!(out, ", among {} chunks of collection {collection}\n", self.other_chunks)?,
            None => writeln!(out, "\n")?,
        }
        let tallies = [&self.same, &self.other, &self.all];
        let heads = ["same", "other", "all"].into_iter().zip(tallies).map(|(name, tally)| format!("{name} ({})", tally.facts));
        row(out, "wording of the document", heads)?;
        let lines = [
            ("value without retrieval", tallies.map(|tally| tally.without_retrieval)),
            ("value with the documents", tallies.map(|tally| tally.with_the_documents)),
            ("  nearest chunk is of the fact's document", tallies.map(|tally| tally.found_first)),
            ("  value is in what the model read", tallies.map(|tally| tally.retrieved)),
            ("new value after the edit", tallies.map(|tally| tally.new_after_edit)),
            ("old value after the edit", tallies.map(|tally| tally.old_after_edit)),
            ("either value after the deletion", tallies.map(|tally| tally.after_deletion)),
        ];
        for (name, counts) in lines {
            row(out, name, counts.iter().map(Count::to_string))?;
        }
        if misses { self.print_misses(out) } else { Ok(()) }
    }

    fn print_misses(&self, out: &mut impl Write) -> io::Result<()> {
        let missed: Vec<&Outcome> = self.outcomes.iter().filter(|outcome| !outcome.right.with_the_documents).collect();
        writeln!(out, "\n{} of {} missed facts with the documents:", missed.len().min(MISSES), missed.len())?;
        for outcome in missed.iter().take(MISSES) {
            let why = match (outcome.right.retrieved, outcome.right.found_first) {
                (true, _) => "the model read it",
                (false, true) => "the document was found, not the value",
                (false, false) => "not found",
            };
            writeln!(out, "{} ({why})", outcome.fact.id)?;
            writeln!(out, "  prompt  {:?}", outcome.fact.prompt)?;
            writeln!(out, "  value   {:?}", outcome.fact.value)?;
            writeln!(out, "  came    {:?}", outcome.texts.with_the_documents)?;
        }
        Ok(())
    }
}

impl Tally {
    fn of(facts: &[Right]) -> Self {
        let count = |is: fn(&Right) -> bool| {
            let count = facts.iter().filter(|right| is(right)).count();
            Count { count, percent: (!facts.is_empty()).then(|| 100.0 * count as f64 / facts.len() as f64) }
        };
        Self {
            facts: facts.len(),
            without_retrieval: count(|right| right.without_retrieval),
            with_the_documents: count(|right| right.with_the_documents),
            new_after_edit: count(|right| right.new_after_edit),
            old_after_edit: count(|right| right.old_after_edit),
            after_deletion: count(|right| right.after_deletion),
            found_first: count(|right| right.found_first),
            retrieved: count(|right| right.retrieved),
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.percent {
            Some(percent) => write!(f, "{} {percent:>6.2} %", self.count),
            None => f.write_str("-"),
        }
    }
}

fn row(out: &mut impl Write, name: &str, cells: impl Iterator<Item = String>) -> io::Result<()> {
    write!(out, "{name:<44}")?;
    for cell in cells {
        write!(out, " {cell:>14}")?;
    }
    writeln!(out)
}
