use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::lines;
use crate::invalid::Invalid;
use crate::names::DocumentId;

/// Whether the prompt has the words of its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wording {
    Same,
    Other,
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    kind: String,
    entity: String,
    wording: Wording,
    document: String,
    prompt: String,
    value: String,
    /// How the sentence goes on after the value: of use for training only.
    #[serde(rename = "rest")]
    _rest: String,
    edited_document: String,
    edited_value: String,
}

/// A prompt whose right continuation stands in a document.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    pub id: String,
    pub kind: String,
    pub entity: String,
    pub wording: Wording,
    pub prompt: String,
    pub value: String,
    pub edited_value: String,
    /// Id of the document, which another fact may share.
    #[serde(skip)]
    pub document: String,
    /// How errors name the fact.
    #[serde(skip)]
    pub place: String,
}

/// A text that holds a value, and the text that takes its place.
#[derive(Debug)]
pub struct FactDocument {
    pub id: String,
    pub text: String,
    pub edited: String,
}

#[derive(Debug)]
pub struct Facts {
    pub facts: Vec<Fact>,
    pub documents: Vec<FactDocument>,
}

impl Facts {
    /// # Errors
    /// The file cannot be read, has no line, or a line breaks a rule; the error names line and field.
    pub fn read(path: &Path) -> Result<Self> {
        let mut facts = Self { facts: Vec::new(), documents: Vec::new() };
        let (mut by_id, mut by_text) = (HashMap::new(), HashMap::new());
        for (at, line) in lines::read::<Line>(path, 0, usize::MAX)?.into_iter().enumerate() {
            let place = lines::place(path, at + 1);
            // The file is wrong, not the command line.
            line.check().map_err(|error| anyhow!("{place}: {error}"))?;
            let texts = (line.document, line.edited_document);
            if let Some(earlier) = by_id.insert(line.id.clone(), texts.clone()) {
                let same = "must be the same as that of the earlier line with this `id`";
                ensure!(earlier.0 == texts.0, "{place}: `document` {same}");
                ensure!(earlier.1 == texts.1, "{place}: `edited_document` {same}");
            }
            // Twice the same text would be two neighbours that say one thing.
            let document = by_text.entry(texts).or_insert_with_key(|(text, edited): &(String, String)| {
                facts.documents.push(FactDocument { id: line.id.clone(), text: text.clone(), edited: edited.clone() });
                line.id.clone()
            });
            facts.facts.push(Fact {
                id: line.id,
                kind: line.kind,
                entity: line.entity,
                wording: line.wording,
                prompt: line.prompt,
                value: line.value,
                edited_value: line.edited_value,
                document: document.clone(),
                place,
            });
        }
        ensure!(!facts.facts.is_empty(), "{} has no facts", path.display());
        Ok(facts)
    }
}

impl Line {
    fn check(&self) -> Result<(), Invalid> {
        DocumentId::parse("id", &self.id)?;
        let texts = [("document", &self.document), ("prompt", &self.prompt), ("edited_document", &self.edited_document)];
        if let Some((field, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
            return Err(Invalid::new(*field, "must hold more than white space"));
        }
        for (field, value) in [("value", &self.value), ("edited_value", &self.edited_value)] {
            if value.is_empty() || value.trim() != value {
                return Err(Invalid::new(field, format!("must be a text without white space around it, is {value:?}")));
            }
        }
        if self.value == self.edited_value {
            return Err(Invalid::new("edited_value", "must differ from `value`"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, document: &str, change: (&str, serde_json::Value)) -> String {
        let mut line = serde_json::json!({
            "id": id, "kind": "year", "entity": "Brandoria", "wording": "same", "document": document, "prompt": "Brandoria was founded in",
            "value": "1911", "rest": ".", "edited_document": document.replace("1911", "1912"), "edited_value": "1912",
        });
        line[change.0] = change.1;
        line.to_string() + "\n"
    }

    fn read(lines: &[String]) -> Result<Facts> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.jsonl");
        std::fs::write(&path, lines.concat()).unwrap();
        Facts::read(&path)
    }

    #[test]
    fn facts_of_one_text_share_its_document() {
        let same = ("kind", "year".into());
        let facts = read(&[
            line("a", "Founded in 1911.", same.clone()),
            line("b", "Founded in 1911.", same.clone()),
            line("c", "Lit in 1911.", same),
        ]);
        let facts = facts.unwrap();
        assert_eq!(facts.documents.iter().map(|document| document.id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(facts.facts.iter().map(|fact| fact.document.as_str()).collect::<Vec<_>>(), ["a", "a", "c"]);
    }

    #[test]
    fn a_broken_rule_is_named_with_its_line_and_field() {
        let good = line("a", "Founded in 1911.", ("kind", "year".into()));
        for (bad, field) in [
            (line("b", "Founded in 1911.", ("wording", "third".into())), "`wording`"),
            (line("b", "Founded in 1911.", ("more", 1.into())), "`more`"),
            (line("b", "Founded in 1911.", ("value", " 1911".into())), "`value`"),
            (line("b", "Founded in 1911.", ("value", 1911.into())), "`value`"),
            (line("b", "Founded in 1911.", ("edited_value", "1911".into())), "`edited_value`"),
            (line("b/c", "Founded in 1911.", ("kind", "year".into())), "`id`"),
            (line("b", " ", ("kind", "year".into())), "`document`"),
            (line("a", "Lit in 1911.", ("kind", "year".into())), "`document`"),
        ] {
            let error = format!("{:#}", read(&[good.clone(), bad.clone()]).unwrap_err());
            assert!(error.contains("line 2 of") && error.contains(field), "{bad}: {error}");
        }
    }
}
