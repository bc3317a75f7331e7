-- Collections that were made by themselves, or that documents were submitted to. `deleting` is a promise to remove the collection's chunks;
-- its documents were promised to go in the same transaction.
CREATE TABLE collections (
    name       TEXT COLLATE "C" PRIMARY KEY,
    created_at TEXT,
    deleting   BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE INDEX placements_by_collection ON placements (collection);
