use super::*;

/// LanceDB panics at a column's type that it does not know.
#[tokio::test]
async fn a_manifest_with_a_changed_bit_is_damage_of_its_collection_alone() {
    let folder = tempfile::tempdir().unwrap();
    let other = CollectionName::parse("collection", "other").unwrap();
    let written = database(&folder).await;
    for collection in [&collection(), &other] {
        written.replace_documents(collection, vec![document("a", &[[1.0, 0.0, 0.0, 0.0]])], true).await.unwrap();
    }
    drop(written);
    let manifests = std::fs::read_dir(folder.path().join("default.lance/_versions")).unwrap();
    for manifest in manifests.map(|entry| entry.unwrap().path()) {
        let mut bytes = std::fs::read(&manifest).unwrap();
        if let Some(at) = bytes.windows(6).position(|word| word == b"string") {
            bytes[at] ^= 1;
            std::fs::write(&manifest, bytes).unwrap();
        }
    }

    let uri = folder.path().to_str().unwrap();
    assert_eq!(Database::embedder_at(uri).await.unwrap().as_deref(), Some("bert-1"), "the other one says it");
    let database = database(&folder).await;
    let query = || vec![vec![1.0, 0.0, 0.0, 0.0]];
    for error in [
        database.search(query(), &nearest(1)).await.unwrap_err(),
        database.exists(&collection()).await.unwrap_err(),
        database.stats(&collection()).await.map(drop).err().unwrap_or_else(|| panic!("counted")),
        database.replace_documents(&collection(), vec![document("b", &[[1.0, 0.0, 0.0, 0.0]])], true).await.unwrap_err(),
        Audit::open(uri, &collection()).await.map(drop).unwrap_err(),
    ] {
        assert!(error.is_damage() && error.to_string().contains("default"), "{error}");
    }
    assert_eq!(places(&database.search(query(), &SearchOptions::new(other.clone(), 1)).await.unwrap().neighbours[0]), [("a", 0)]);
    database.warm(&mut Warmed::default()).await.unwrap();
    database.replace_documents(&other, vec![document("b", &[[1.0, 0.0, 0.0, 0.0]])], true).await.unwrap();
}
