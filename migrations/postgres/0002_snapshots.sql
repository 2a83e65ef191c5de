-- Folded states to begin from; disposable.
CREATE TABLE snapshots (
    seq           int8 NOT NULL,
    state_version int8 NOT NULL,
    program       text COLLATE "C" NOT NULL,
    digest        text COLLATE "C" NOT NULL,
    state         bytea NOT NULL,
    PRIMARY KEY (seq, state_version)
);
ALTER TABLE snapshots ALTER COLUMN state SET STORAGE EXTERNAL;
