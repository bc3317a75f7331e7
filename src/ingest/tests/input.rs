use serde_json::json;

use super::*;
use crate::invalid::InvalidKind;

fn refused(input: serde_json::Value) -> crate::invalid::Invalid {
    let input = serde_json::from_value(input).unwrap();
    NewDocument::validate("documents[2]", input, &IngestLimits { max_document_bytes: 100 }).unwrap_err()
}

#[test]
fn what_breaks_a_rule_is_named() {
    for (input, field) in [
        (json!({"text": ""}), "text"),
        (json!({"text": " \n\t\u{a0}"}), "text"),
        (json!({"text": "a\u{0}b"}), "text"),
        (json!({"text": "a", "id": "../x"}), "id"),
        (json!({"text": "a", "collection": "a.b"}), "collection"),
        (json!({"text": "a", "title": "x".repeat(1001)}), "title"),
        (json!({"text": "a", "source": "x".repeat(1001)}), "source"),
    ] {
        let error = refused(input);
        assert_eq!((error.field, error.kind), (format!("documents[2].{field}"), InvalidKind::Value));
    }
    for (input, field) in
        [(json!({"text": "é".repeat(51)}), "text"), (json!({"text": "a", "metadata": {"x": "y".repeat(17_000)}}), "metadata")]
    {
        let error = refused(input);
        assert_eq!((error.field, error.kind), (format!("documents[2].{field}"), InvalidKind::TooLarge));
    }
}

#[test]
fn a_document_needs_its_text_only() {
    let input = serde_json::from_value(json!({"text": "é".repeat(50)})).unwrap();
    let document = NewDocument::validate("", input, &IngestLimits { max_document_bytes: 100 }).unwrap();
    assert_eq!(document.collection().as_str(), "default");
    assert!(serde_json::from_value::<DocumentInput>(json!({"text": "a", "txt": "b"})).is_err());
    assert!(serde_json::from_value::<DocumentInput>(json!({"title": "a"})).is_err());
}

#[test]
fn two_documents_of_a_request_may_not_share_an_id() {
    let inputs = vec![input("a", "x"), input("b", "x"), input("a", "y")];
    let error = NewDocument::validate_all(inputs, &IngestLimits::default(), |i| format!("documents[{i}]")).unwrap_err();
    assert_eq!(error.to_string(), "`documents[2].id` is \"a\", and so is `documents[0].id`");
}

#[test]
fn the_hash_tells_contents_apart() {
    let hash = |input: serde_json::Value| {
        let input = serde_json::from_value(input).unwrap();
        NewDocument::validate("", input, &IngestLimits::default()).unwrap().content_hash().to_owned()
    };
    let first = hash(json!({"text": "a", "title": "b", "id": "x"}));
    assert_eq!(first, hash(json!({"text": "a", "title": "b", "id": "y", "source": "", "metadata": {}, "collection": "default"})));
    for other in [
        json!({"text": "b", "title": "b"}),
        json!({"text": "a", "title": "a"}),
        json!({"text": "a", "source": "b"}),
        json!({"text": "a", "title": "b", "metadata": {"c": 1}}),
        json!({"text": "a", "title": "b", "collection": "c"}),
    ] {
        assert_ne!(first, hash(other.clone()), "{other}");
    }
}
