-- Keys of clients. A key itself is stored nowhere: `prefix` is how it begins, to know it by, and `hash` the sha256 of the whole.
-- No row is ever deleted: that a key was made once is what closes the server to those who have none.
CREATE TABLE keys (
    id           TEXT COLLATE "C" PRIMARY KEY,
    name         TEXT NOT NULL,
    prefix       TEXT COLLATE "C" NOT NULL,
    hash         BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes       TEXT NOT NULL,
    created_at   TEXT COLLATE "C" NOT NULL,
    last_used_at TEXT,
    expires_at   TEXT,
    revoked_at   TEXT
);

CREATE INDEX keys_by_prefix ON keys (prefix);
