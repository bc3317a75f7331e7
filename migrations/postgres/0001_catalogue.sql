-- Texts are compared byte by byte, as SQLite does: the order of times, ids and names is that of their bytes.
CREATE TABLE tasks (
    id            TEXT COLLATE "C" PRIMARY KEY,
    status        TEXT COLLATE "C" NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled')),
    total         BIGINT NOT NULL,
    ready         BIGINT NOT NULL DEFAULT 0,
    failed        BIGINT NOT NULL DEFAULT 0,
    first_failure TEXT,
    error         TEXT,
    created_at    TEXT COLLATE "C" NOT NULL,
    started_at    TEXT,
    finished_at   TEXT
);

CREATE INDEX tasks_by_age ON tasks (created_at, id);

-- `deleting` is a promise to remove the document's chunks; to readers the document is gone already.
CREATE TABLE documents (
    id         TEXT COLLATE "C" PRIMARY KEY,
    collection TEXT COLLATE "C" NOT NULL,
    title      TEXT NOT NULL,
    source     TEXT NOT NULL,
    metadata   TEXT NOT NULL,
    status     TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'ready', 'failed', 'deleting')),
    error      TEXT,
    chunks     BIGINT NOT NULL DEFAULT 0,
    tokens     BIGINT NOT NULL DEFAULT 0,
    bytes      BIGINT NOT NULL,
    sha256     TEXT NOT NULL,
    revision   BIGINT NOT NULL DEFAULT 1,
    task_id    TEXT COLLATE "C" NOT NULL REFERENCES tasks (id),
    created_at TEXT COLLATE "C" NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE INDEX documents_by_age ON documents (created_at, id);
CREATE INDEX documents_by_collection ON documents (collection, created_at, id);
CREATE INDEX documents_deleting ON documents (id) WHERE status = 'deleting';

-- Texts that are not, or could not be, chunked. `seq` is never used twice, so it names one submission of one document for ever.
CREATE TABLE outbox (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES documents (id) ON DELETE CASCADE,
    text        TEXT NOT NULL
);

-- Tasks that wait for what becomes of a document.
CREATE TABLE waiting (
    document_id TEXT COLLATE "C" NOT NULL,
    task_id     TEXT COLLATE "C" NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    PRIMARY KEY (document_id, task_id)
);

CREATE INDEX waiting_by_task ON waiting (task_id);

-- Collections that may hold chunks of a document. Committed before the first chunk is written, removed after the last one is.
CREATE TABLE placements (
    document_id TEXT COLLATE "C" NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    collection  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (document_id, collection)
);

-- The values of a list that is one JSON text, as SQLite's function of this name gives them: statements are the same for both.
CREATE FUNCTION json_each(list TEXT) RETURNS TABLE (value TEXT) LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT jsonb_array_elements_text(list::jsonb)';
