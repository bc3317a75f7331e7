//! The API's description: it is the file in the repository, it lists what there is, and its examples run.

use std::collections::BTreeSet;

use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::support::{Answer, Server, ask, get, root, shared};

fn document() -> Value {
    serde_json::to_value(retro_server::http::document()).unwrap()
}

/// Path, method and description of each operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(|(method, operation)| (path.clone(), method.clone(), operation.clone()))
    });
    all.collect()
}

#[tokio::test]
async fn the_file_in_the_repository_is_what_the_code_says() {
    let file = std::fs::read_to_string(root().join("openapi/openapi.json")).unwrap();
    let printed = retro_server::http::document().to_pretty_json().unwrap();
    assert!(file.trim_end() == printed, "openapi/openapi.json is old: write it anew with `retro openapi > openapi/openapi.json`");
    assert_eq!(get(shared(), "/openapi.json").await.ok(), document());
}

#[test]
fn every_route_is_described() {
    let listed: BTreeSet<String> =
        operations(&document()).into_iter().map(|(path, method, _)| format!("{method} {path}")).collect();
    let expected = [
        "post /v1/complete",
        "post /v1/completions",
        "post /v1/embeddings",
        "get /v1/models",
        "get /v1/models/{id}",
        "post /v1/score",
        "post /v1/retrieve",
        "post /v1/documents",
        "get /v1/documents",
        "get /v1/documents/{id}",
        "put /v1/documents/{id}",
        "delete /v1/documents/{id}",
        "post /v1/documents/delete",
        "get /v1/collections",
        "post /v1/collections",
        "get /v1/collections/{name}",
        "delete /v1/collections/{name}",
        "patch /v1/collections/{name}",
        "post /v1/collections/{name}/index",
        "get /v1/documents/{id}/chunks",
        "get /v1/tasks",
        "get /v1/tasks/{id}",
        "get /v1/tasks/{id}/events",
        "post /v1/tasks/{id}/cancel",
        "get /v1/info",
        "get /livez",
        "get /readyz",
        "get /metrics",
        "get /openapi.json",
    ];
    assert_eq!(listed, expected.into_iter().map(str::to_owned).collect());
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let all = operations(&document());
    let names: BTreeSet<_> = all.iter().map(|(_, _, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.len(), all.len(), "{names:?}");
}

#[test]
fn every_operation_has_words_examples_and_errors() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].clone()).collect();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{name} has no summary");
        assert!(
            operation["tags"].as_array().is_some_and(|own| own.len() == 1 && tags.contains(&own[0])),
            "{name}: {}",
            operation["tags"]
        );
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} {status}");
            let Some(content) = response["content"].as_object() else { continue };
            for (kind, media) in content {
                let has_example =
                    !media["example"].is_null() || media["examples"].as_object().is_some_and(|examples| !examples.is_empty());
                assert!(has_example, "{name} {status} {kind} has no example");
                if status.starts_with(['4', '5']) {
                    let (expected, schema) = match operation["tags"][0].as_str() {
                        Some("OpenAI") => ("application/json", "#/components/schemas/OpenAiError"),
                        _ => ("application/problem+json", "#/components/schemas/Problem"),
                    };
                    assert_eq!((kind.as_str(), &media["schema"]["$ref"]), (expected, &Value::from(schema)), "{name} {status}");
                }
            }
        }
        if let Some(body) = operation["requestBody"]["content"].as_object() {
            assert!(
                body.values().all(|media| !media["example"].is_null() || media["examples"].is_object()),
                "{name} has no example of a body"
            );
            assert!(operation["responses"].as_object().unwrap().keys().any(|status| status == "400"), "{name}");
        }
    }
}

#[test]
fn every_operation_but_the_open_ones_says_which_keys_it_takes() {
    let document = document();
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    let open = ["/livez", "/readyz", "/openapi.json"];
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let described = ["401", "403", "429", "504"].iter().filter(|&&status| operation["responses"][status].is_object()).count();
        if open.contains(&path.as_str()) {
            assert!(operation["security"].is_null() && described == 0, "{name}");
            continue;
        }
        let scope = operation["security"][0]["key"][0].as_str().unwrap_or_else(|| panic!("{name} names no scope"));
        assert!(["complete", "ingest", "metrics", "admin"].contains(&scope) && described == 4, "{name} {scope}");
        let is_for_openai = operation["tags"][0] == "OpenAI";
        let form = if is_for_openai { "application/json" } else { "application/problem+json" };
        let example = |status: &str, code: &str| {
            operation["responses"][status]["content"][form]["examples"][code].is_object()
                && operation["responses"][status]["description"].as_str().unwrap().contains(code)
        };
        let codes = if is_for_openai { ["invalid_api_key", "rate_limit_exceeded"] } else { ["unauthorized", "rate_limited"] };
        assert!(example("401", codes[0]) && example("403", "forbidden") && example("429", codes[1]), "{name}");
        assert!(path != "/v1/complete" || example("429", "overloaded"), "{name}");
    }
}

#[test]
fn no_reference_leads_nowhere() {
    fn check(value: &Value, document: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                map.values().for_each(|value| check(value, document));
            }
            Value::Array(list) => list.iter().for_each(|value| check(value, document)),
            _ => {}
        }
    }
    let document = document();
    check(&document, &document);
}

/// The path with the examples of its parameters.
fn with_examples(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "path");
    parameters.fold(path.to_owned(), |path, parameter| {
        path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), parameter["example"].as_str().unwrap())
    })
}

#[test]
fn a_form_lets_a_page_choose_files() {
    let document = document();
    let body = &document["paths"]["/v1/documents"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"];
    let schema = body["$ref"].as_str().map_or(body, |reference| document.pointer(&reference[1..]).unwrap());
    let files = &schema["properties"]["files"];
    assert_eq!(
        (&files["type"], &files["items"]["type"], &files["items"]["format"]),
        (&"array".into(), &"string".into(), &"binary".into())
    );
    for field in ["collection", "title", "source", "metadata"] {
        assert_eq!(schema["properties"][field]["type"], "string", "{field}");
    }
}

/// The fields of the example, with a file as a page would add it.
fn form(example: &Value) -> Form {
    let fields = example.as_object().unwrap().iter();
    let form = fields.fold(Form::new(), |form, (name, value)| form.text(name.clone(), value.as_str().unwrap().to_owned()));
    form.part("files", Part::text("# Lamps\n\nThe lamps of Verrin were lit with gas.").file_name("lamps.md"))
}

#[tokio::test]
async fn the_examples_of_requests_run_as_they_stand() {
    let server = Server::start(&[]).await;
    let client = reqwest::Client::new();
    let mut run = 0;
    for (path, method, operation) in operations(&document()) {
        let Some(content) = operation["requestBody"]["content"].as_object() else { continue };
        let path = with_examples(&path, &operation);
        for (kind, media) in content {
            let named =
                media["examples"].as_object().map(|examples| examples.values().map(|example| example["value"].clone()).collect());
            for example in named.unwrap_or_else(|| vec![media["example"].clone()]) {
                let body = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
                let request = client.request(method.to_uppercase().parse().unwrap(), format!("{}{path}", server.url));
                let request = match kind.as_str() {
                    "multipart/form-data" => request.multipart(form(&example)),
                    kind => request.header("content-type", kind).body(body.clone()),
                };
                let answer = ask(request).await;
                assert!((200..300).contains(&answer.status), "{path} {body}: {answer:?}");
                run += 1;
            }
        }
    }
    assert!(run >= 15, "{run} examples");
}

#[tokio::test]
async fn the_examples_of_paths_are_found_or_not_found() {
    for (path, method, operation) in operations(&document()) {
        let path = match with_examples(&path, &operation) {
            same if same == path => continue,
            path => path,
        };
        let request = reqwest::Client::new().request(method.to_uppercase().parse().unwrap(), format!("{}{path}", shared()));
        let answer: Answer = ask(request).await;
        let described = operation["responses"].as_object().unwrap().contains_key(&answer.status.to_string());
        assert!(described, "{method} {path}: {answer:?}");
    }
}
