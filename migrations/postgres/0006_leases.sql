-- What one process at a time may do, until a time of this database's clock; `-infinity` is given back. `token` grows with every holder, and
-- `settled` is that of the last one of whom nothing can be under way any more.
CREATE TABLE leases (
    name    TEXT COLLATE "C" PRIMARY KEY,
    holder  TEXT NOT NULL,
    token   BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    until   TIMESTAMPTZ NOT NULL
);

-- The lease of the worker that chunks the text: when it ends, another takes the text.
ALTER TABLE outbox ADD COLUMN claimed_by TEXT COLLATE "C";
