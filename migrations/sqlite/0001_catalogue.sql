CREATE TABLE tasks (
    id            TEXT PRIMARY KEY NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled')),
    total         INTEGER NOT NULL,
    ready         INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    first_failure TEXT,
    error         TEXT,
    created_at    TEXT NOT NULL,
    started_at    TEXT,
    finished_at   TEXT
) STRICT;

CREATE INDEX tasks_by_age ON tasks (created_at, id);

-- `deleting` is a promise to remove the document's chunks; to readers the document is gone already.
CREATE TABLE documents (
    id         TEXT PRIMARY KEY NOT NULL,
    collection TEXT NOT NULL,
    title      TEXT NOT NULL,
    source     TEXT NOT NULL,
    metadata   TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('pending', 'ready', 'failed', 'deleting')),
    error      TEXT,
    chunks     INTEGER NOT NULL DEFAULT 0,
    tokens     INTEGER NOT NULL DEFAULT 0,
    bytes      INTEGER NOT NULL,
    sha256     TEXT NOT NULL,
    revision   INTEGER NOT NULL DEFAULT 1,
    task_id    TEXT NOT NULL REFERENCES tasks (id),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE INDEX documents_by_age ON documents (created_at, id);
CREATE INDEX documents_by_collection ON documents (collection, created_at, id);
CREATE INDEX documents_deleting ON documents (id) WHERE status = 'deleting';

-- Texts that are not, or could not be, chunked. `seq` is never used twice, so it names one submission of one document for ever.
CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id TEXT NOT NULL UNIQUE REFERENCES documents (id) ON DELETE CASCADE,
    text        TEXT NOT NULL
) STRICT;

-- Tasks that wait for what becomes of a document.
CREATE TABLE waiting (
    document_id TEXT NOT NULL,
    task_id     TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    PRIMARY KEY (document_id, task_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX waiting_by_task ON waiting (task_id);

-- Collections that may hold chunks of a document. Committed before the first chunk is written, removed after the last one is.
CREATE TABLE placements (
    document_id TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    collection  TEXT NOT NULL,
    PRIMARY KEY (document_id, collection)
) STRICT, WITHOUT ROWID;
