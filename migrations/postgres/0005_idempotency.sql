-- Submissions that a client may send again by a key of its own: what it was sent with (`fingerprint`, a sha256), the task that it became, and
-- `answer`, what was answered beside the task. Written in the transaction that takes the documents in.
CREATE TABLE idempotency (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner       TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
    task_id     TEXT COLLATE "C" NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    answer      TEXT NOT NULL,
    created_at  TEXT COLLATE "C" NOT NULL,
    UNIQUE (owner, key)
);

CREATE INDEX idempotency_by_age ON idempotency (created_at);
CREATE INDEX idempotency_by_owner ON idempotency (owner, seq);
CREATE INDEX idempotency_by_task ON idempotency (task_id);
