-- Event log, attachments, inbox, outbox, persons.
-- The first five tables after meta are the truth: rows are added and never changed; triggers refuse everything else.
-- Numbers of rows are given by the one writer, never by a sequence. Text is compared byte by byte, as in SQLite.

-- About the log itself; not covered by the hash chain.
CREATE TABLE meta (
    key   text COLLATE "C" NOT NULL PRIMARY KEY,
    value text COLLATE "C" NOT NULL
);
INSERT INTO meta (key, value) VALUES
    ('log_id', replace(gen_random_uuid()::text, '-', '')),
    ('created_at', (extract(epoch FROM clock_timestamp()) * 1000000)::int8::text),
    ('min_reader', '1');

-- Kind names and sources, once each; events hold the number.
CREATE TABLE words (
    id   int4 NOT NULL PRIMARY KEY,
    text text COLLATE "C" NOT NULL UNIQUE
);

-- Subjects, once each.
CREATE TABLE subjects (
    id   int4 NOT NULL PRIMARY KEY,
    text text COLLATE "C" NOT NULL UNIQUE
);

-- What payloads are compressed against.
CREATE TABLE dictionaries (
    id      int2 NOT NULL PRIMARY KEY CHECK (id > 0),
    digest  bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    content bytea NOT NULL
);

-- Times are microseconds since 1970 UTC. encoding: 0 is plain text, else the dictionary's id.
-- Wide columns first, so that nothing is lost to alignment. No foreign keys: words and subjects cannot be deleted, and the
-- check would cost a lookup per column and row.
CREATE TABLE events (
    seq         int8 NOT NULL PRIMARY KEY CHECK (seq > 0),
    recorded_at int8 NOT NULL,
    occurred_at int8 NOT NULL,
    koji_event  int8,
    causation   int8,
    correlation int8,
    subject     int4 NOT NULL,
    kind        int2 NOT NULL,
    version     int2 NOT NULL,
    source      int2 NOT NULL,
    encoding    int2 NOT NULL,
    fact        bytea CHECK (length(fact) = 16),
    hash        bytea NOT NULL CHECK (length(hash) = 32),
    payload     bytea NOT NULL
);
CREATE UNIQUE INDEX events_fact ON events (fact) WHERE fact IS NOT NULL;
CREATE INDEX events_subject ON events (subject, seq);
-- Already compressed where that helps.
ALTER TABLE events ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Compressed with zstd; digest is that of the plain content.
CREATE TABLE attachments (
    digest  bytea NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    content bytea NOT NULL
);
ALTER TABLE attachments ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP;
END $$;
CREATE TRIGGER events_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER attachments_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON attachments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER words_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON words
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER subjects_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON subjects
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER dictionaries_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON dictionaries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Every message ever received, so that a second one with the same id is known for ever.
-- state: 0 pending, 1 done, 2 ignored, 3 parked. digest: BLAKE3 of the body.
CREATE TABLE inbox (
    position    int8 NOT NULL PRIMARY KEY,
    received_at int8 NOT NULL,
    state       int2 NOT NULL DEFAULT 0,
    id          text COLLATE "C" NOT NULL UNIQUE,
    source      text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    digest      bytea NOT NULL,
    reason      text COLLATE "C"
);
CREATE INDEX inbox_pending ON inbox (position) WHERE state = 0;
CREATE INDEX inbox_parked ON inbox (position) WHERE state = 3;

-- Bodies as received, compressed with zstd; may be pruned once the message is settled.
CREATE TABLE raw_bodies (
    position int8 NOT NULL PRIMARY KEY,
    body     bytea NOT NULL
);
ALTER TABLE raw_bodies ALTER COLUMN body SET STORAGE EXTERNAL;

-- Commands; sent: 0 waits, 1 sent.
CREATE TABLE outbox (
    number  int8 NOT NULL PRIMARY KEY,
    seq     int8 NOT NULL,
    sent    int2 NOT NULL DEFAULT 0,
    id      text COLLATE "C" NOT NULL UNIQUE,
    kind    text COLLATE "C" NOT NULL,
    payload text COLLATE "C" NOT NULL
);
CREATE INDEX outbox_waiting ON outbox (number) WHERE sent = 0;

-- Names of people; may be erased, events hold only the id.
CREATE TABLE persons (
    id   text COLLATE "C" NOT NULL PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);
