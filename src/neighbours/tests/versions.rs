//! Earlier versions of a collection, and collections that go and come again.

use super::*;

fn as_of(version: u64) -> SearchOptions {
    SearchOptions { as_of: Some(version), ..nearest(16) }
}

#[tokio::test]
async fn an_earlier_version_gives_what_it_gave_in_memory_and_from_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let in_memory = database(&folder).await;
    let of_files = Database::open(folder.path().to_str().unwrap(), identity(), Memory::default()).await.unwrap();
    // Room for the newest version alone: earlier ones may not push it out.
    let small = Database::open(folder.path().to_str().unwrap(), identity(), Memory { vectors: 30 * 16, ..Memory::default() })
        .await
        .unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let query = vec![vec![0.4, 0.3, 0.2, 0.1]];
    let mut then = Vec::new();
    for step in 0..12 {
        let name = format!("d{}", random.random_range(0..4));
        let vectors: Vec<[f32; 4]> = (0..step % 5).map(|_| std::array::from_fn(|_| random.random_range(0..4) as f32)).collect();
        in_memory.replace_documents(&collection(), vec![document(&name, &vectors)], false).await.unwrap();
        let found = in_memory.search(query.clone(), &nearest(16)).await.unwrap();
        assert_eq!(small.search(query.clone(), &nearest(16)).await.unwrap(), found);
        then.push(found);
    }
    for found in then.iter().rev().chain(&then) {
        for database in [&in_memory, &of_files, &small] {
            assert_eq!(&database.search(query.clone(), &as_of(found.version)).await.unwrap(), found);
            let newest = database.search(query.clone(), &nearest(16)).await.unwrap();
            assert_eq!(Some(&newest), then.last(), "an ordinary search is of the newest version");
        }
    }
}

#[tokio::test]
async fn a_version_that_is_not_kept_is_told_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let x = [1.0, 0.0, 0.0, 0.0];
    let search = async |version| database.search(vec![x.to_vec()], &as_of(version)).await.unwrap_err();
    let none = search(1).await;
    assert!(matches!(none, DatabaseError::VersionNotKept { version: 1, .. }) && none.to_string().contains("none"), "{none}");
    for name in ["a", "b"] {
        database.replace_documents(&collection(), vec![document(name, &[x])], true).await.unwrap();
    }
    let figures = database.figures(&collection()).await.unwrap();
    assert_eq!(figures.kept_versions, KeptVersions { count: 3, oldest: Some(1), newest: Some(3) });
    let listed = database.kept_versions(&collection(), 2).await.unwrap();
    assert_eq!(listed.iter().map(|kept| kept.version).collect::<Vec<_>>(), [3, 2]);
    assert!(listed[0].created_at >= listed[1].created_at);
    for version in [0, 4, 1 << 63, u64::MAX] {
        let error = search(version).await.to_string();
        assert!(error.contains(&format!("version {version};")) && error.ends_with("versions 1 to 3"), "{error}");
        assert!(database.check_version(&as_of(version)).await.is_err());
    }
    database.check_version(&as_of(1)).await.unwrap();
    let removed = lancedb::table::OptimizeAction::Prune {
        older_than: Some(lancedb::table::Duration::zero()),
        delete_unverified: None,
        error_if_tagged_old_versions: None,
    };
    let table = database.table(&collection()).await.unwrap().unwrap();
    table.optimize(removed).await.unwrap();
    let error = search(2).await.to_string();
    assert!(error.ends_with("it keeps version 3"), "{error}");
}

#[tokio::test]
async fn a_removed_collection_is_gone_for_every_handle_and_a_new_one_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, reader) = (database(&folder).await, database(&folder).await);
    let of_files = Database::open(folder.path().to_str().unwrap(), identity(), Memory::default()).await.unwrap();
    let (x, y) = ([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]);
    writer.remove(&collection()).await.unwrap();
    for round in 0..3 {
        for name in ["a", "b", "c"] {
            writer.replace_documents(&collection(), vec![document(name, &[x; 2])], true).await.unwrap();
        }
        for database in [&writer, &reader, &of_files] {
            assert_eq!(database.search(vec![x.to_vec()], &nearest(16)).await.unwrap().neighbours[0].len(), 6, "{round}");
        }
        // A crash may have left a part of an earlier one aside.
        std::fs::create_dir_all(folder.path().join("default.removed/data")).unwrap();
        writer.remove(&collection()).await.unwrap();
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "no file is left");
        if round == 1 {
            // Fewer versions than the other handles have seen of the one before.
            writer.create(&collection()).await.unwrap();
            writer.create(&collection()).await.unwrap();
            reader.replace_documents(&collection(), vec![document("d", &[y])], true).await.unwrap();
            for database in [&of_files, &reader, &writer] {
                let found = database.search(vec![y.to_vec()], &nearest(16)).await.unwrap();
                assert_eq!((found.version, places(&found.neighbours[0])), (2, vec![("d", 0)]));
            }
            of_files.remove(&collection()).await.unwrap();
        }
        for database in [&writer, &reader, &of_files] {
            let found = database.search(vec![x.to_vec()], &nearest(16)).await.unwrap();
            assert_eq!(found, Found { version: 0, neighbours: vec![vec![]] }, "{round}");
            assert!(!database.exists(&collection()).await.unwrap());
            assert_eq!(database.figures(&collection()).await.unwrap(), Figures::default());
            assert!(database.kept_versions(&collection(), 9).await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn searches_beside_a_removal_see_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let of_files = Database::open(folder.path().to_str().unwrap(), identity(), Memory::default()).await.unwrap();
    for database in [database(&folder).await, of_files] {
        for _ in 0..5 {
            for name in ["a", "b", "c", "d"] {
                database.replace_documents(&collection(), vec![document(name, &[[1.0, 0.0, 0.0, 0.0]; 2])], true).await.unwrap();
            }
            let remover = database.clone();
            let removal = tokio::spawn(async move { remover.remove(&collection()).await.unwrap() });
            while !removal.is_finished() {
                let found = database.search(vec![vec![1.0, 0.0, 0.0, 0.0]], &nearest(16)).await.unwrap();
                assert!([0, 8].contains(&found.neighbours[0].len()), "{}", found.neighbours[0].len());
            }
            removal.await.unwrap();
        }
    }
}
