use std::io::{self, Write};

use serde::Serialize;

/// Perplexity over all tokens but each document's first, and what else is known of the texts' prediction.
#[derive(Debug, Serialize)]
pub struct TextReport {
    pub documents: usize,
    pub other_documents: usize,
    pub tokens: usize,
    /// Of the predicted tokens.
    pub bytes: usize,
    /// Of a chunk, where a line does not say.
    pub neighbours: usize,
    pub without_retrieval: f64,
    pub with_the_documents: f64,
    pub with_other_documents: Option<f64>,
    /// without / with the documents
    pub times_lower: f64,
    /// with others / without - 1
    pub others_higher: Option<f64>,
    pub bits_per_byte_without_retrieval: f64,
    pub bits_per_byte_with_the_documents: f64,
    pub bits_per_byte_with_other_documents: Option<f64>,
    /// In the database of the evaluated documents.
    pub by_neighbours: Vec<NeighboursReport>,
    /// In the database of the evaluated documents, the neighbours without their continuations.
    pub without_continuation: Measure,
    /// In shares of the database of the evaluated documents and the others together.
    pub by_share: Vec<ShareReport>,
    pub collection: Option<CollectionReport>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measure {
    pub perplexity: f64,
    pub bits_per_byte: f64,
    /// Perplexity without retrieval / this one.
    pub times_lower: f64,
}

#[derive(Debug, Serialize)]
pub struct NeighboursReport {
    pub neighbours: usize,
    #[serde(flatten)]
    pub measure: Measure,
}

#[derive(Debug, Serialize)]
pub struct ShareReport {
    #[serde(skip)]
    pub name: String,
    pub share: f64,
    pub documents: usize,
    pub chunks: usize,
    #[serde(flatten)]
    pub measure: Measure,
}

/// The user's collection as the database.
#[derive(Debug, Serialize)]
pub struct CollectionReport {
    pub name: String,
    pub documents: usize,
    pub chunks: usize,
    #[serde(flatten)]
    pub measure: Measure,
    /// with / without retrieval
    pub perplexity_ratio: f64,
    /// with / without retrieval
    pub bits_per_byte_ratio: f64,
    pub by_neighbours: Vec<NeighboursReport>,
    pub without_continuation: Measure,
    pub by_share: Vec<ShareReport>,
}

impl TextReport {
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let default = self.neighbours;
        writeln!(out, "{} documents, {} tokens ({} bytes) predicted", self.documents, self.tokens, self.bytes)?;
        writeln!(out, "{default} neighbours of a chunk where a line does not say\n")?;
        writeln!(out, "{:<48} {:>10} {:>14}", "database", "perplexity", "bits per byte")?;
        line(out, "none (retrieval off)", self.without_retrieval, self.bits_per_byte_without_retrieval, "")?;
        let lower = format!("{:.2} times lower than without", self.times_lower);
        line(out, "the evaluated documents", self.with_the_documents, self.bits_per_byte_with_the_documents, &lower)?;
        print_neighbours(out, &self.by_neighbours, &self.without_continuation)?;
        if let (Some(perplexity), Some(bits), Some(higher)) =
            (self.with_other_documents, self.bits_per_byte_with_other_documents, self.others_higher)
        {
            let name = format!("{} other documents", self.other_documents);
            line(out, &name, perplexity, bits, &format!("{:+.2} % against without", higher * 100.0))?;
        }
        if let Some(whole) = self.by_share.last() {
            measure(out, &format!("both together, {}", size(whole.documents, whole.chunks)), &whole.measure)?;
        }
        print_shares(out, &self.by_share)?;
        match &self.collection {
            Some(collection) => collection.print(out),
            None => Ok(()),
        }
    }
}

impl CollectionReport {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        measure(out, &format!("collection {}, {}", self.name, size(self.documents, self.chunks)), &self.measure)?;
        print_neighbours(out, &self.by_neighbours, &self.without_continuation)?;
        print_shares(out, &self.by_share)?;
        writeln!(
            out,
            "\nwith collection {} / without: perplexity {:.2}, bits per byte {:.2}",
            self.name, self.perplexity_ratio, self.bits_per_byte_ratio
        )
    }
}

fn print_neighbours(out: &mut impl Write, lines: &[NeighboursReport], without_continuation: &Measure) -> io::Result<()> {
    for NeighboursReport { neighbours, measure: found } in lines {
        measure(out, &format!("  {}", counted(*neighbours, "neighbour")), found)?;
    }
    measure(out, "  neighbours without their continuations", without_continuation)
}

fn print_shares(out: &mut impl Write, lines: &[ShareReport]) -> io::Result<()> {
    for share in lines {
        measure(out, &format!("  {:<4} of it, {}", share.name, size(share.documents, share.chunks)), &share.measure)?;
    }
    Ok(())
}

fn size(documents: usize, chunks: usize) -> String {
    format!("{}, {}", counted(documents, "document"), counted(chunks, "chunk"))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn measure(out: &mut impl Write, name: &str, measure: &Measure) -> io::Result<()> {
    line(out, name, measure.perplexity, measure.bits_per_byte, &format!("{:.2} times lower", measure.times_lower))
}

fn line(out: &mut impl Write, name: &str, perplexity: f64, bits_per_byte: f64, note: &str) -> io::Result<()> {
    writeln!(out, "{}", format!("{name:<48} {perplexity:>10.3} {bits_per_byte:>14.4}   {note}").trim_end())
}
