//! Bodies that mean more than they say, and files that unpack to more than they are.

use std::io::Write;

use reqwest::multipart::{Form, Part};
use serde_json::json;

use crate::support::{Process, ask, get, ingest, post, post_raw, shared};

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused() {
    for (path, body) in [
        ("/v1/complete", r#"{"prompt": "a", "prompt": "b"}"#),
        ("/v1/complete", r#"{"prompt": "a", "retrieval": {"collection": "default", "collection": "secret"}}"#),
        ("/v1/complete", r#"{"prompt": "a", "retrieval": {"enabled": false}, "retrieval": {"enabled": true}}"#),
        ("/v1/completions", r#"{"model": "retro-nano", "prompt": "a", "model": "other"}"#),
        ("/v1/retrieve", r#"{"text": "a", "text": "b"}"#),
        ("/v1/documents", r#"{"id": "twice-a", "id": "twice-b", "text": "a"}"#),
        ("/v1/documents", r#"{"documents": [{"id": "twice-a", "text": "a", "text": "b"}]}"#),
        ("/v1/collections", r#"{"name": "twice-a", "name": "twice-b"}"#),
    ] {
        let answer = post_raw(shared(), path, "application/json", body).await;
        assert!([400, 422].contains(&answer.status) && answer.detail().contains("duplicate field"), "{path} {body}: {answer:?}");
    }
    for id in ["twice-a", "twice-b"] {
        assert_eq!(get(shared(), &format!("/v1/documents/{id}")).await.status, 404);
        assert_eq!(get(shared(), &format!("/v1/collections/{id}")).await.status, 404);
    }
}

#[tokio::test]
async fn numbers_of_any_size_are_compared_and_not_wrapped() {
    for (path, body) in [
        ("/v1/complete", r#"{"prompt": "a", "max_tokens": 1e400}"#),
        ("/v1/complete", r#"{"prompt": "a", "max_tokens": 18446744073709551616}"#),
        ("/v1/complete", r#"{"prompt": "a", "max_tokens": 18446744073709551615}"#),
        ("/v1/complete", r#"{"prompt": "a", "max_tokens": 4294967297}"#),
        ("/v1/complete", r#"{"prompt": "a", "temperature": 1e308}"#),
        ("/v1/complete", r#"{"prompt": "a", "temperature": -1e308}"#),
        ("/v1/complete", r#"{"prompt": "a", "temperature": NaN}"#),
        ("/v1/complete", r#"{"prompt": "a", "temperature": Infinity}"#),
        ("/v1/complete", r#"{"prompt": "a", "n": 18446744073709551615}"#),
        ("/v1/complete", r#"{"prompt": "a", "retrieval": {"neighbours": 18446744073709551615}}"#),
        ("/v1/complete", r#"{"prompt": "a", "retrieval": {"refine": 4294967296}}"#),
        ("/v1/completions", r#"{"model": "retro-nano", "prompt": [9223372036854775808]}"#),
        ("/v1/completions", r#"{"model": "retro-nano", "prompt": [4294967301]}"#),
        ("/v1/completions", r#"{"model": "retro-nano", "prompt": "a", "best_of": 18446744073709551615}"#),
        ("/v1/retrieve", r#"{"text": "a", "as_of": 18446744073709551616}"#),
        ("/v1/retrieve", r#"{"text": "a", "filter": {"field": "chunk_index", "op": "eq", "value": 1e400}}"#),
    ] {
        let answer = post_raw(shared(), path, "application/json", body).await;
        assert!([400, 422].contains(&answer.status), "{path} {body}: {answer:?}");
    }
    // A long way to write a small number.
    let zeros = format!(r#"{{"prompt": "a", "max_tokens": 1, "temperature": 0.{}1}}"#, "0".repeat(100_000));
    assert_eq!(post_raw(shared(), "/v1/complete", "application/json", zeros).await.status, 200);
    let digits = format!(r#"{{"prompt": "a", "max_tokens": {}}}"#, "9".repeat(1_000_000));
    assert!([400, 422].contains(&post_raw(shared(), "/v1/complete", "application/json", digits).await.status));
}

#[tokio::test]
async fn what_is_deep_is_refused_wherever_it_is() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let filters = |depth: usize| {
        format!("{}{{\"field\": \"title\", \"op\": \"exists\"}}{}", r#"{"not": "#.repeat(depth), "}".repeat(depth))
    };
    for (path, body) in [
        ("/v1/documents", format!(r#"{{"text": "a", "metadata": {{"a": {}}}}}"#, deep(200))),
        ("/v1/documents", format!(r#"{{"text": "a", "metadata": {}}}"#, objects(5_000))),
        ("/v1/documents", format!(r#"{{"text": "a", "metadata": {{"a": {}}}}}"#, deep(1_000_000))),
        ("/v1/retrieve", format!(r#"{{"text": "a", "filter": {}}}"#, filters(17))),
        ("/v1/retrieve", format!(r#"{{"text": "a", "filter": {}}}"#, filters(10_000))),
        ("/v1/complete", format!(r#"{{"prompt": {}}}"#, deep(100_000))),
        ("/v1/complete", format!(r#"{{"prompt": "a", "unknown": {}}}"#, objects(100_000))),
    ] {
        let answer = post_raw(shared(), path, "application/json", body).await;
        assert!([400, 422].contains(&answer.status), "{path}: {answer:?}");
    }
    assert_eq!(get(shared(), "/livez").await.status, 200);
}

/// Texts that are anything but ids and names, wherever an id or a name is taken.
#[tokio::test]
async fn ids_and_names_are_a_small_alphabet_everywhere() {
    for bad in
        ["../a", "..\\a", "/etc/passwd", "a/b", "a\0b", "a\nb", "' OR '1'='1", "a\u{202e}b", "．．／a", "%2e%2e", ".hidden"]
    {
        for (path, body) in [
            ("/v1/documents", json!({"id": bad, "text": "a"})),
            ("/v1/documents", json!({"text": "a", "collection": bad})),
            ("/v1/collections", json!({"name": bad})),
            ("/v1/retrieve", json!({"text": "a", "collection": bad})),
            ("/v1/retrieve", json!({"text": "a", "exclude_documents": [bad]})),
            ("/v1/complete", json!({"prompt": "a", "retrieval": {"collection": bad}})),
            ("/v1/complete", json!({"prompt": "a", "retrieval": {"exclude_documents": [bad]}})),
        ] {
            let answer = post(shared(), path, body.clone()).await;
            assert_eq!((answer.status, answer.code()), (422, "invalid_value"), "{path} {body}: {answer:?}");
        }
    }
}

/// Values of filters that mean something to whoever would paste them into a query.
#[tokio::test]
async fn a_filter_finds_what_its_value_names_and_nothing_else() {
    let documents = json!([
        {"id": "hostile-filter-a", "collection": "hostile-filter", "title": "plain", "text": "One harbour.", "metadata": {"k": "v"}},
        {"id": "hostile-filter-b", "collection": "hostile-filter", "title": "it's 100% \"x\"", "text": "Another harbour."},
    ]);
    ingest(shared(), documents).await;
    for value in [
        "' OR 1=1 --",
        "plain' OR 'a'='a",
        "\" OR \"\"=\"",
        "%",
        "_",
        "pl%n",
        "plain\0",
        "\\",
        "$(id)",
        "{{7*7}}",
        "'; DROP TABLE x; --",
    ] {
        for (field, op) in [("title", "eq"), ("title", "prefix"), ("document_id", "eq"), ("metadata.k", "eq")] {
            let search =
                json!({"text": "harbour", "collection": "hostile-filter", "filter": {"field": field, "op": op, "value": value}});
            let answer = post(shared(), "/v1/retrieve", search.clone()).await;
            if answer.status == 200 {
                assert_eq!(answer.body["chunks"][0]["neighbours"], json!([]), "{search}");
            } else {
                assert_eq!((answer.status, answer.code()), (422, "invalid_value"), "{search}: {answer:?}");
            }
        }
    }
    let found = json!({"text": "harbour", "collection": "hostile-filter",
        "filter": {"field": "title", "op": "eq", "value": "it's 100% \"x\""}});
    let found = post(shared(), "/v1/retrieve", found).await.ok();
    assert_eq!(found["chunks"][0]["neighbours"].as_array().unwrap().len(), 1);
}

/// An archive with one file, `word/document.xml`, which unpacks to so many megabytes, by the book.
fn docx(megabytes: usize) -> Vec<u8> {
    let paragraph = format!("<w:p><w:r><w:t>{}</w:t></w:r></w:p>", "a".repeat((1 << 20) - 37));
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let mut checksum = flate2::Crc::new();
    let begin = r#"<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>"#;
    let parts = std::iter::once(begin).chain(std::iter::repeat_n(paragraph.as_str(), megabytes));
    for part in parts.chain(["</w:body></w:document>"]) {
        checksum.update(part.as_bytes());
        deflate.write_all(part.as_bytes()).unwrap();
    }
    let packed = deflate.finish().unwrap();
    let name = b"word/document.xml";
    // From the version to the length of the extra field, which both heads have.
    let mut about = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
    for number in [checksum.sum(), packed.len() as u32, checksum.amount()] {
        about.extend(number.to_le_bytes());
    }
    about.extend([name.len() as u8, 0, 0, 0]);
    let local = [b"PK\x03\x04", &about[..], name, &packed].concat();
    let central = [b"PK\x01\x02\x14\0", &about[..], &[0; 14], name].concat();
    let mut end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
    end.extend((central.len() as u32).to_le_bytes());
    end.extend((local.len() as u32).to_le_bytes());
    end.extend([0, 0]);
    [local, central, end].concat()
}

#[tokio::test]
async fn files_that_unpack_to_gigabytes_cost_their_sender_an_error() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let url = server.url.as_str();
    let send = |name: &'static str, content: Vec<u8>| {
        let form = Form::new().part("files", Part::bytes(content).file_name(name));
        ask(reqwest::Client::new().post(format!("{url}/v1/documents")).multipart(form))
    };
    // The archive itself is read: a small one is a document.
    assert_eq!(send("small.docx", docx(1)).await.status, 202);
    let zeros = |megabytes: usize| {
        let mut packed = zstd::Encoder::new(Vec::new(), 3).unwrap();
        (0..megabytes).for_each(|_| packed.write_all(&[b' '; 1 << 20]).unwrap());
        packed.finish().unwrap()
    };
    for (name, content) in [("bomb.docx", docx(300)), ("bomb.jsonl.zst", zeros(1_000)), ("cut.docx", docx(1)[..400].to_vec())] {
        assert!(content.len() < 2 << 20, "{name} has {} bytes", content.len());
        let answer = send(name, content).await;
        assert!([413, 422].contains(&answer.status), "{name}: {answer:?}");
    }
    assert_eq!(get(url, "/v1/documents").await.ok()["data"].as_array().unwrap().len(), 1);
    let memory = std::fs::read_to_string(format!("/proc/{}/status", server.id()));
    if let Ok(status) = memory {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 2 << 20, "the server had {peak} kB at most");
    }
}
