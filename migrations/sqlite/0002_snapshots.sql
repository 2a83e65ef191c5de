-- Folded states to begin from; disposable.
CREATE TABLE snapshots (
    seq           INTEGER NOT NULL,
    state_version INTEGER NOT NULL,
    program       TEXT NOT NULL,
    digest        TEXT NOT NULL,
    state         BLOB NOT NULL,
    PRIMARY KEY (seq, state_version)
) STRICT;
