-- Event log, attachments, inbox, outbox, persons.
-- The first five tables are the truth: rows are added and never changed; triggers refuse everything else.

-- About the log itself; not covered by the hash chain.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES
    ('log_id', lower(hex(randomblob(16)))),
    ('created_at', CAST(CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS TEXT)),
    ('min_reader', '1'),
    ('indexed_through', '0');

-- Kind names and sources, once each; events hold the number.
CREATE TABLE words (
    id   INTEGER NOT NULL PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

-- Subjects, once each.
CREATE TABLE subjects (
    id   INTEGER NOT NULL PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

-- What payloads are compressed against.
CREATE TABLE dictionaries (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id > 0),
    digest  BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    content BLOB NOT NULL
) STRICT;

-- Times are microseconds since 1970 UTC. encoding: 0 is plain text, else the dictionary's id.
-- No foreign keys: words and subjects cannot be deleted, and the check would cost a lookup per column and row.
CREATE TABLE events (
    seq         INTEGER NOT NULL PRIMARY KEY CHECK (seq > 0),
    recorded_at INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    source      INTEGER NOT NULL,
    fact        BLOB CHECK (length(fact) = 16),
    koji_event  INTEGER,
    subject     INTEGER NOT NULL,
    causation   INTEGER,
    correlation INTEGER,
    encoding    INTEGER NOT NULL,
    payload     BLOB NOT NULL,
    hash        BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- Where to find an event by its fact or subject, for events up to meta's `indexed_through`; those after it have to be looked through.
-- No indexes of `events`: their pages would be written in random order with every event, here it happens sorted and for many at once.
CREATE TABLE event_facts (
    fact BLOB NOT NULL PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE event_subjects (
    subject INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (subject, seq)
) STRICT, WITHOUT ROWID;

-- Compressed with zstd; digest is that of the plain content.
CREATE TABLE attachments (
    digest  BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    content BLOB NOT NULL
) STRICT;

CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only: UPDATE refused'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only: DELETE refused'); END;
-- Also stops INSERT OR REPLACE, which deletes without firing the trigger above.
CREATE TRIGGER events_contiguous BEFORE INSERT ON events
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
BEGIN SELECT RAISE(ABORT, 'events are append-only: a new row must follow the last one'); END;
CREATE TRIGGER attachments_no_update BEFORE UPDATE ON attachments
BEGIN SELECT RAISE(ABORT, 'attachments are insert-only: UPDATE refused'); END;
CREATE TRIGGER attachments_no_delete BEFORE DELETE ON attachments
BEGIN SELECT RAISE(ABORT, 'attachments are insert-only: DELETE refused'); END;
CREATE TRIGGER attachments_once BEFORE INSERT ON attachments
WHEN EXISTS (SELECT 1 FROM attachments WHERE digest = NEW.digest)
BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER words_no_update BEFORE UPDATE ON words
BEGIN SELECT RAISE(ABORT, 'words are insert-only: UPDATE refused'); END;
CREATE TRIGGER words_no_delete BEFORE DELETE ON words
BEGIN SELECT RAISE(ABORT, 'words are insert-only: DELETE refused'); END;
CREATE TRIGGER subjects_no_update BEFORE UPDATE ON subjects
BEGIN SELECT RAISE(ABORT, 'subjects are insert-only: UPDATE refused'); END;
CREATE TRIGGER subjects_no_delete BEFORE DELETE ON subjects
BEGIN SELECT RAISE(ABORT, 'subjects are insert-only: DELETE refused'); END;
CREATE TRIGGER dictionaries_no_update BEFORE UPDATE ON dictionaries
BEGIN SELECT RAISE(ABORT, 'dictionaries are insert-only: UPDATE refused'); END;
CREATE TRIGGER dictionaries_no_delete BEFORE DELETE ON dictionaries
BEGIN SELECT RAISE(ABORT, 'dictionaries are insert-only: DELETE refused'); END;

-- Every message ever received, so that a second one with the same id is known for ever.
-- state: 0 pending, 1 done, 2 ignored, 3 parked. digest: BLAKE3 of the body.
CREATE TABLE inbox (
    position    INTEGER NOT NULL PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    source      TEXT NOT NULL,
    topic       TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    digest      BLOB NOT NULL,
    state       INTEGER NOT NULL DEFAULT 0,
    reason      TEXT
) STRICT;
CREATE INDEX inbox_pending ON inbox (position) WHERE state = 0;
CREATE INDEX inbox_parked ON inbox (position) WHERE state = 3;

-- Bodies as received, compressed with zstd; may be pruned once the message is settled.
CREATE TABLE raw_bodies (
    position INTEGER NOT NULL PRIMARY KEY,
    body     BLOB NOT NULL
) STRICT;

-- Commands; sent: 0 waits, 1 sent.
CREATE TABLE outbox (
    number  INTEGER NOT NULL PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    seq     INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    payload TEXT NOT NULL,
    sent    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX outbox_waiting ON outbox (number) WHERE sent = 0;

-- Names of people; may be erased, events hold only the id.
CREATE TABLE persons (
    id   TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;
