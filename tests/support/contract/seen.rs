//! What the tests saw of the API, and what there is to see.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use serde_json::Value;

use super::DOCUMENT;
use super::schema::Schemas;

fn folder() -> Option<PathBuf> {
    std::env::var_os("RETRO_SEEN").map(PathBuf::from)
}

/// Writes a line down, once.
pub fn note(line: String) {
    static NOTED: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);
    let Some(folder) = folder() else { return };
    // A test that failed while it noted left what was noted whole.
    let mut noted = NOTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if noted.contains(&line) {
        return;
    }
    let file = folder.join(std::process::id().to_string());
    let mut file = OpenOptions::new().create(true).append(true).open(file).expect("RETRO_SEEN names a folder");
    writeln!(file, "{line}").unwrap();
    noted.insert(line);
}

/// What was noted, by this process and others.
pub fn seen() -> BTreeSet<String> {
    let folder = folder().expect("RETRO_SEEN names the folder where the tests before noted what they saw");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    files.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// A line for everything in the description: each status and event of each operation, each parameter, each field that is sent or received, each
/// code.
pub fn described() -> BTreeSet<String> {
    let (mut all, schemas) = (BTreeSet::new(), Schemas::of(&DOCUMENT));
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
                all.insert(format!("parameter {name} {}", parameter["name"].as_str().unwrap()));
            }
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            schemas.fields(&name, body, &mut |field| insert(&mut all, "sent", &field));
            for (status, response) in operation["responses"].as_object().unwrap() {
                all.insert(format!("answer {name} {status}"));
                for (kind, media) in response["content"].as_object().into_iter().flatten() {
                    let place = format!("{name} {status}");
                    schemas.fields(&place, &media["schema"], &mut |field| insert(&mut all, "received", &field));
                    for (event, schema) in media["x-events"].as_object().into_iter().flatten() {
                        all.insert(format!("event {name} {event}"));
                        schemas.fields(&place, schema, &mut |field| insert(&mut all, "received", &field));
                    }
                    if kind.ends_with("json") && status.starts_with(['4', '5']) {
                        let codes = media["examples"].as_object().into_iter().flatten();
                        all.extend(codes.map(|(code, _)| format!("code {code}")));
                    }
                }
            }
        }
    }
    all
}

fn insert(all: &mut BTreeSet<String>, way: &str, field: &str) {
    all.insert(format!("{way} {field}"));
}

/// The code of an error, in whichever form.
pub fn note_code(body: &Value) {
    if let Some(code) = body["error"].get("code").unwrap_or(&body["code"]).as_str() {
        note(format!("code {code}"));
    }
}
