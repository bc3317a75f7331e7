-- Collections that were made by themselves, or that documents were submitted to. When those from before this table came to be is not known.
-- `deleting` is a promise to remove the collection's chunks; its documents were promised to go in the same transaction.
CREATE TABLE collections (
    name       TEXT PRIMARY KEY NOT NULL,
    created_at TEXT,
    deleting   INTEGER NOT NULL DEFAULT 0 CHECK (deleting IN (0, 1))
) STRICT, WITHOUT ROWID;

INSERT INTO collections (name) SELECT DISTINCT collection FROM documents WHERE status <> 'deleting';

CREATE INDEX placements_by_collection ON placements (collection);
