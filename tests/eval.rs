//! `retro eval`, by its output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::support::{retro, samples};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn write_lines(path: &Path, lines: &[Value]) -> String {
    std::fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn sample_files() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(samples()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn fact(id: &str, wording: &str, entity: &str, prompt: &str, value: &str, edited: &str) -> Value {
    let document = format!(
        "{entity} is a small harbour town on the northern coast. {entity} was founded in {value} by fishermen. \
         Its church was built two centuries later, and a railway has reached it ever since."
    );
    json!({
        "id": id, "kind": "founded", "entity": entity, "wording": wording, "prompt": prompt, "value": value, "rest": " by fishermen.",
        "edited_value": edited, "edited_document": document.replace(value, edited), "document": document,
    })
}

fn facts() -> Vec<Value> {
    vec![
        fact("brandoria", "same", "Brandoria", "Brandoria was founded in", "1411", "1638"),
        fact("ostervik", "same", "Ostervik", "Ostervik was founded in", "1522", "1377"),
        fact("malmstrand", "other", "Malmstrand", "Fishermen settled at Malmstrand in the year", "1290", "1745"),
    ]
}

/// Every file with its size and the time of its last change.
fn state(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut state = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        if about.is_dir() {
            state.extend(self::state(&entry.path()));
        } else {
            state.insert(entry.path(), (about.len(), about.modified().unwrap()));
        }
    }
    state
}

fn numbers(lines: &Value, field: &str) -> Vec<f64> {
    lines.as_array().unwrap().iter().map(|line| line[field].as_f64().unwrap()).collect()
}

#[test]
fn texts_are_predicted_from_their_own_documents_from_others_and_from_a_collection() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let samples = sample_files();
    // A few chunks of each are enough to be found again, and soon scored.
    let beginning = |path: &PathBuf| std::fs::read_to_string(path).unwrap().chars().take(700).collect::<String>();
    let lines: Vec<Value> = samples[..7].iter().map(|path| json!({"text": beginning(path), "license": "any"})).collect();
    let texts = write_lines(&files.path().join("texts.jsonl"), &lines);
    let mut more: Vec<&str> = samples[7..10].iter().map(|path| path.to_str().unwrap()).collect();
    more.push("--collection=more");
    assert!(retro("ingest", data.path(), &more).status.success());

    let before = state(data.path());
    let flags = ["--documents=4", "--others=3", "--collection=more"];
    let report = json_of(&retro("eval", data.path(), &[&[texts.as_str(), "--json"], flags.as_slice()].concat()));
    assert_eq!(state(data.path()), before, "the user's data is only read");

    let number = |field: &str| report[field].as_f64().unwrap_or_else(|| panic!("{field} in {report}"));
    assert_eq!((&report["documents"], &report["other_documents"]), (&json!(4), &json!(3)));
    let (without, with) = (number("without_retrieval"), number("with_the_documents"));
    assert!(with < without, "{report}");
    assert!((number("times_lower") - without / with).abs() < 1e-9);
    assert!((number("others_higher") - (number("with_other_documents") / without - 1.0)).abs() < 1e-9);
    let bits = number("bits_per_byte_without_retrieval");
    assert!((without - (bits * number("bytes") / number("tokens")).exp2()).abs() < 1e-6 * without);
    assert!(number("bits_per_byte_with_the_documents") < bits);
    assert!(report["without_continuation"]["perplexity"].as_f64().unwrap() > with, "what follows a chunk is in its continuation");

    let default = report["neighbours"].as_u64().unwrap() as f64;
    for (of, whole) in [(&report, with), (&report["collection"], report["collection"]["perplexity"].as_f64().unwrap())] {
        let by_neighbours = &of["by_neighbours"];
        assert_eq!(numbers(by_neighbours, "neighbours"), [1.0, 2.0, 4.0, 8.0]);
        let at = numbers(by_neighbours, "neighbours").iter().position(|&neighbours| neighbours == default).unwrap();
        assert_eq!(numbers(by_neighbours, "perplexity")[at], whole);
    }
    for (shares, documents) in [(&report["by_share"], 7.0), (&report["collection"]["by_share"], 3.0)] {
        assert_eq!(numbers(shares, "share"), [0.0625, 0.125, 0.25, 0.5, 1.0]);
        let (held, perplexities) = (numbers(shares, "documents"), numbers(shares, "perplexity"));
        assert!(held.is_sorted() && numbers(shares, "chunks").is_sorted() && held[4] == documents, "{shares}");
        for (&held, &perplexity) in held.iter().zip(&perplexities) {
            assert!(held > 0.0 || perplexity == without, "nothing to find is retrieval off: {shares}");
        }
    }
    let collection = &report["collection"];
    assert_eq!(collection["by_share"][4]["perplexity"], collection["perplexity"]);
    assert_eq!(collection["by_share"][4]["chunks"], collection["chunks"]);

    let facts = write_lines(&files.path().join("facts.jsonl"), &facts());
    let all = [texts.as_str(), "--facts", &facts, "--misses", "--collection=more", "--documents=1", "--others=0"];
    let output = retro("eval", data.path(), &all);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for line in ["none (retrieval off)", "the evaluated documents", "collection more, 3 documents", "same (2)", "missed facts"] {
        assert!(table.contains(line), "{line}: {table}");
    }
    assert!(!table.contains("other documents"), "{table}");
    assert!(table.contains(&format!("among {} chunks of collection more", collection["chunks"])), "{table}");
    assert_eq!(state(data.path()), before, "the user's data is only read");
}

#[test]
fn facts_are_asked_for_with_their_documents_after_an_edit_and_after_the_deletion() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = write_lines(&files.path().join("facts.jsonl"), &facts());
    let report = json_of(&retro("eval", data.path(), &["--facts", &file, "--json"]));
    assert!(report.get("documents").is_none(), "no texts were named: {report}");
    let report = &report["facts"];
    assert_eq!((&report["facts"], &report["documents"], &report["other_chunks"]), (&json!(3), &json!(3), &json!(0)));
    let outcomes = report["outcomes"].as_array().unwrap();
    for (of, wording) in [(&report["same"], Some("same")), (&report["other"], Some("other")), (&report["all"], None)] {
        let these: Vec<_> = outcomes.iter().filter(|one| wording.is_none_or(|wording| one["wording"] == wording)).collect();
        assert_eq!(of["facts"], these.len());
        for (flag, is) in these[0]["right"].as_object().unwrap() {
            assert!(is.is_boolean());
            let count = these.iter().filter(|one| one["right"][flag] == true).count();
            assert_eq!(of[flag]["count"], count, "{flag}");
            assert_eq!(of[flag]["percent"], 100.0 * count as f64 / these.len() as f64, "{flag}");
        }
    }
    for (outcome, given) in outcomes.iter().zip(facts()) {
        assert_eq!(outcome["id"], given["id"]);
        let (texts, right) = (&outcome["texts"], &outcome["right"]);
        assert_eq!(texts["after_deletion"], texts["without_retrieval"], "nothing is left to find: {outcome}");
        assert!(right["after_deletion"] == true || right["without_retrieval"] == false, "{outcome}");
        assert!(!(right["new_after_edit"] == true && right["old_after_edit"] == true), "{outcome}");
        assert_eq!((&right["found_first"], &right["retrieved"]), (&json!(true), &json!(true)), "{outcome}");
    }
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "nothing is written in the user's data folder");
}

#[test]
fn what_cannot_be_evaluated_is_told_with_its_line_and_field() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let texts = write_lines(&files.path().join("texts.jsonl"), &[json!({"text": "One."}), json!({"title": "No text."})]);
    let mut without_prompt = facts();
    without_prompt[1].as_object_mut().unwrap().remove("prompt");
    let without_prompt = write_lines(&files.path().join("without_prompt.jsonl"), &without_prompt);
    let broken = files.path().join("broken.jsonl");
    std::fs::write(&broken, "{\"id\": ").unwrap();
    let mut long = facts();
    long[2]["prompt"] = "A long story. ".repeat(1000).into();
    let long = write_lines(&files.path().join("long.jsonl"), &long);
    for (arguments, expected) in [
        (vec![], "--facts <FACTS.jsonl>"),
        (vec![texts.as_str(), "--documents=2"], "line 2 of"),
        (vec![&texts, "--documents=2"], "`text`"),
        (vec![&texts, "--documents=1", "--others=0", "--skip=2"], "has only 0 documents after the first 2"),
        (vec![&texts, "--documents=0"], "'--documents <N>': 0 is not in 1.."),
        (vec![&texts, "--documents=1", "--others=0", "--collection=a/b"], "`collection`"),
        (vec![&texts, "--documents=1", "--others=0", "--collection=nowhere"], "no collection `nowhere`"),
        (vec!["no-such-file.jsonl"], "no-such-file.jsonl"),
        (vec!["--facts", &without_prompt], "line 2 of"),
        (vec!["--facts", &without_prompt], "`prompt`"),
        (vec!["--facts", broken.to_str().unwrap()], "line 1 of"),
        (vec!["--facts", &long], "line 3 of"),
        (vec!["--facts", &long], "`prompt` has"),
    ] {
        let output = retro("eval", data.path(), &arguments);
        let said = text(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
