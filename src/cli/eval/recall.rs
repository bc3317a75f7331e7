//! Whether the model says what its database says: with a document there, changed and gone.

use anyhow::{Result, anyhow, ensure};

use super::bench::{Bench, progress};
use super::facts::{Fact, Facts};
use super::facts_report::{FactsReport, Outcome, Right, Texts};
use crate::generate::{Alignment, Completion, CompletionRequest, NeighbourView, RetrievalRequest, ValidCompletion, fold};
use crate::names::{CollectionName, DocumentId};
use crate::text::CHUNK_LENGTH;

/// Tokens after a value that may be made: the value may be written in more tokens, and it must be seen that it ends.
const SPARE_TOKENS: usize = 3;

/// Asks for each fact without retrieval, with the documents, with the edited ones in their place, and with all of them deleted. The rows of
/// the user's collection, where one was named, lie among the documents all the time.
pub async fn evaluate(bench: &Bench, facts: &Facts) -> Result<FactsReport> {
    let collection = CollectionName::parse("collection", "facts")?;
    let requests = |retrieval: bool| -> Result<Vec<ValidCompletion>> {
        facts.facts.iter().map(|fact| request(bench, fact, retrieval.then_some(&collection))).collect()
    };
    let (off, on) = (requests(false)?, requests(true)?);
    let other_chunks = copy_related(bench, facts, &collection).await?;

    let without_retrieval = ask(bench, "asking without retrieval", off).await?;
    let texts = facts.documents.iter().map(|document| (document.id.as_str(), document.text.as_str()));
    bench.ingest("ingesting the documents", &collection, texts).await?;
    let with_the_documents = ask(bench, "asking with the documents", on.clone()).await?;
    let edited = facts.documents.iter().map(|document| (document.id.as_str(), document.edited.as_str()));
    bench.ingest("replacing the documents", &collection, edited).await?;
    let after_edit = ask(bench, "asking after the edit", on.clone()).await?;
    delete(bench, facts).await?;
    let after_deletion = ask(bench, "asking after the deletion", on).await?;

    let outcomes = facts.facts.iter().enumerate().map(|(at, fact)| {
        let answers = [&without_retrieval[at], &with_the_documents[at], &after_edit[at], &after_deletion[at]];
        outcome(fact, answers)
    });
    Ok(FactsReport::new(
        facts.documents.len(),
        bench.related.as_ref().map(|related| related.collection.to_string()),
        other_chunks,
        outcomes.collect(),
    ))
}

fn request(bench: &Bench, fact: &Fact, collection: Option<&CollectionName>) -> Result<ValidCompletion> {
    let tokens = |value: &str| bench.parts.tokenizer.encode(&format!(" {value}")).len();
    let request = CompletionRequest {
        max_tokens: Some(tokens(&fact.value).max(tokens(&fact.edited_value)) + SPARE_TOKENS),
        temperature: Some(0.0),
        retrieval: RetrievalRequest {
            enabled: Some(collection.is_some()),
            collection: collection.map(ToString::to_string),
            alignment: Some(Alignment::PromptEnd),
            ..RetrievalRequest::default()
        },
        ..CompletionRequest::new(&fact.prompt)
    };
    request.validate(&bench.generator.limits(), &bench.parts.tokenizer).map_err(|error| anyhow!("{}: {error}", fact.place))
}

/// Puts the rows of the user's collection where the documents will be; gives their number.
async fn copy_related(bench: &Bench, facts: &Facts, into: &CollectionName) -> Result<usize> {
    let Some(related) = &bench.related else { return Ok(0) };
    let there = related.database.documents(&related.collection).await?;
    for document in &facts.documents {
        let id = DocumentId::parse("id", &document.id)?;
        ensure!(!there.contains_key(&id), "`id` {id} is that of a document of collection `{}` too", related.collection);
    }
    bench.parts.database.copy_from(&related.database, &related.collection, into).await?;
    Ok(there.values().sum())
}

async fn ask(bench: &Bench, what: &'static str, requests: Vec<ValidCompletion>) -> Result<Vec<Completion>> {
    let bar = progress(what, requests.len());
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.push(fold(bench.generator.submit(request)?).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(answers)
}

async fn delete(bench: &Bench, facts: &Facts) -> Result<()> {
    let bar = progress("deleting the documents", facts.documents.len());
    for document in &facts.documents {
        bench.parts.ingest.delete(&DocumentId::parse("id", &document.id)?).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn outcome(fact: &Fact, [without_retrieval, with_the_documents, after_edit, after_deletion]: [&Completion; 4]) -> Outcome {
    let says = |completion: &Completion, value: &str| begins_with(text(completion), value);
    let read = of_prompt(with_the_documents);
    let right = Right {
        without_retrieval: says(without_retrieval, &fact.value),
        with_the_documents: says(with_the_documents, &fact.value),
        new_after_edit: says(after_edit, &fact.edited_value),
        old_after_edit: says(after_edit, &fact.value),
        after_deletion: says(after_deletion, &fact.value) || says(after_deletion, &fact.edited_value),
        found_first: read.first().is_some_and(|first| first.document_id.as_ref() == Some(&fact.document)),
        retrieved: read.iter().any(|found| [&*found.neighbour, &*found.continuation].concat().contains(&fact.value)),
    };
    Outcome {
        fact: fact.clone(),
        texts: Texts {
            without_retrieval: text(without_retrieval).to_owned(),
            with_the_documents: text(with_the_documents).to_owned(),
            after_edit: text(after_edit).to_owned(),
            after_deletion: text(after_deletion).to_owned(),
        },
        right,
    }
}

fn text(completion: &Completion) -> &str {
    &completion.choices[0].text
}

/// The neighbours of the chunk that ends where the prompt ends: those that the first new token is predicted with.
fn of_prompt(completion: &Completion) -> &[NeighbourView] {
    let last = (completion.done.usage.prompt_tokens - 1) / CHUNK_LENGTH;
    let chunk = completion.chunks.iter().find(|chunk| chunk.chunk as usize == last);
    chunk.map_or(&[], |chunk| &chunk.neighbours)
}

/// Whether a completion begins with a value that is not the beginning of a longer word or number.
fn begins_with(completion: &str, value: &str) -> bool {
    completion.trim_start().strip_prefix(value).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_at_the_beginning_and_ends_where_it_ends() {
        for completion in ["1911", " 1911.", "\n 1911, when", "1911\u{fffd}", "1911-12"] {
            assert!(begins_with(completion, "1911"), "{completion:?}");
        }
        for completion in ["", "19", " 19112", "in 1911", "1911th", "1911é"] {
            assert!(!begins_with(completion, "1911"), "{completion:?}");
        }
        assert!(begins_with(" Anna of Orsk in", "Anna of Orsk") && !begins_with("Annabel", "Anna"));
    }
}
