//! What narrows a search: filters, documents left out, distinct texts.

use super::*;

const QUERY: [f32; 4] = [1.0, 0.0, 0.0, 0.0];

/// A row whose squared distance to [`QUERY`] is `distance`.
fn row(document: &str, index: u32, distance: f32, text: &str, metadata: serde_json::Value) -> Entry {
    let along = 1.0 - distance / 2.0;
    let embedding = [along, (1.0 - along * along).sqrt(), 0.0, 0.0];
    Entry { neighbour: text.to_owned(), metadata: metadata.to_string(), ..entry(document, index, embedding) }
}

async fn filled(folder: &tempfile::TempDir, entries: Vec<Entry>) -> Database {
    let database = database(folder).await;
    let mut documents: Vec<(DocumentId, Vec<Entry>)> = Vec::new();
    for entry in entries {
        match documents.iter_mut().find(|(id, _)| *id == entry.document_id) {
            Some((_, entries)) => entries.push(entry),
            None => documents.push((entry.document_id.clone(), vec![entry])),
        }
    }
    database.replace_documents(&collection(), documents, true).await.unwrap();
    database
}

async fn found(database: &Database, options: &SearchOptions) -> Vec<(String, u32)> {
    let found = database.search(vec![QUERY.to_vec()], options).await.unwrap();
    places(&found.neighbours[0]).into_iter().map(|(id, index)| (id.to_owned(), index)).collect()
}

fn filter(json: serde_json::Value) -> Option<Filter> {
    Some(Filter::parse("filter", &json).unwrap())
}

fn expected(places: &[(&str, u32)]) -> Vec<(String, u32)> {
    places.iter().map(|&(id, index)| (id.to_owned(), index)).collect()
}

#[tokio::test]
async fn the_nearest_that_a_filter_accepts_are_found_behind_many_that_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let near = (0..2000).map(|index| row("near", index, 0.01, &format!("near {index}"), json!({"lang": "de"})));
    let far = (0..3).map(|index| row("far", index, 1.0 + index as f32 / 10.0, &format!("far {index}"), json!({"lang": "en"})));
    let database = filled(&folder, near.chain(far).collect()).await;
    for condition in [
        json!({"field": "lang", "op": "eq", "value": "en"}),
        json!({"field": "document_id", "op": "eq", "value": "far"}),
        json!({"and": [{"field": "lang", "op": "eq", "value": "en"}, {"field": "document_id", "op": "prefix", "value": "f"}]}),
    ] {
        let options = SearchOptions { filter: filter(condition), ..nearest(2) };
        assert_eq!(found(&database, &options).await, expected(&[("far", 0), ("far", 1)]));
        let all = SearchOptions { neighbours: 16, ..options.clone() };
        assert_eq!(found(&database, &all).await, expected(&[("far", 0), ("far", 1), ("far", 2)]));
        let many = database.search(vec![QUERY.to_vec(), vec![0.0, 0.0, 1.0, 0.0]], &options).await.unwrap();
        assert_eq!(places(&many.neighbours[0]), [("far", 0), ("far", 1)]);
        assert_eq!(many.neighbours[1].len(), 2, "each query has its own");
        let near_only = SearchOptions { max_distance: Some(1.05), ..options };
        assert_eq!(found(&database, &near_only).await, expected(&[("far", 0)]));
    }
    let nothing = SearchOptions { filter: filter(json!({"field": "title", "op": "gt", "value": 1})), ..nearest(2) };
    assert_eq!(found(&database, &nothing).await, []);
    let excluded = SearchOptions { exclude_documents: vec![id("near"), id("nowhere")], ..nearest(2) };
    assert_eq!(found(&database, &excluded).await, expected(&[("far", 0), ("far", 1)]));
    let none = SearchOptions {
        exclude_documents: vec![id("near")],
        filter: filter(json!({"field": "lang", "op": "eq", "value": "de"})),
        ..nearest(2)
    };
    assert_eq!(found(&database, &none).await, []);
}

#[tokio::test]
async fn of_equal_texts_the_first_counts_and_the_next_nearest_take_the_places() {
    let folder = tempfile::tempdir().unwrap();
    let rows = vec![
        row("c", 0, 0.0, "same", json!({})),
        row("b", 1, 0.0, "same", json!({})),
        row("b", 0, 0.0, "other", json!({})),
        row("a", 5, 0.5, "same", json!({})),
        row("d", 0, 0.7, "third", json!({})),
    ];
    let database = filled(&folder, rows).await;
    assert_eq!(found(&database, &nearest(3)).await, expected(&[("b", 0), ("b", 1), ("d", 0)]));
    let every = SearchOptions { distinct: false, ..nearest(4) };
    assert_eq!(found(&database, &every).await, expected(&[("b", 0), ("b", 1), ("c", 0), ("a", 5)]));
    let near = SearchOptions { max_distance: Some(0.6), ..nearest(3) };
    assert_eq!(found(&database, &near).await, expected(&[("b", 0), ("b", 1)]));
    let without = SearchOptions { exclude_documents: vec![id("b")], ..nearest(3) };
    assert_eq!(found(&database, &without).await, expected(&[("c", 0), ("d", 0)]));
}

#[tokio::test]
async fn distinct_neighbours_are_found_behind_more_copies_than_a_search_reads_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let copies = |name: &'static str, distance: f32, text: &'static str| {
        (0..1500).map(move |index| row(name, index, distance + index as f32 * 1e-5, text, json!({})))
    };
    let few = [row("z", 0, 1.0, "third", json!({})), row("z", 1, 1.1, "fourth", json!({})), row("z", 2, 1.2, "first", json!({}))];
    let rows = copies("a", 0.1, "first").chain(copies("b", 0.2, "second")).chain(few).collect();
    let database = filled(&folder, rows).await;
    for k in 1..=6 {
        let all = [("a", 0), ("b", 0), ("z", 0), ("z", 1)];
        assert_eq!(found(&database, &nearest(k)).await, expected(&all[..k.min(4)]), "{k}");
    }
    let near = SearchOptions { max_distance: Some(1.05), ..nearest(6) };
    assert_eq!(found(&database, &near).await, expected(&[("a", 0), ("b", 0), ("z", 0)]));
    let queries = vec![QUERY.to_vec(), vec![0.0, 1.0, 0.0, 0.0]];
    let both = database.search(queries, &nearest(4)).await.unwrap();
    assert_eq!(places(&both.neighbours[0]), [("a", 0), ("b", 0), ("z", 0), ("z", 1)]);
    let texts: Vec<&str> = both.neighbours[1].iter().map(|row| row.neighbour.as_str()).collect();
    assert_eq!(texts, ["first", "fourth", "third", "second"], "nearest to the other query first");
}
