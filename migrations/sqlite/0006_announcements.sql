-- What is said on a bus about events; a row is added in the commit of its event. state: 0 waits, 1 the broker has confirmed it, 2 it cannot be
-- sent, for a reason. What stands in topic, headers and body is what is sent, each time. Times are microseconds since 1970 UTC.
CREATE TABLE announcements (
    number  INTEGER NOT NULL PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    seq     INTEGER NOT NULL,
    subject TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    topic   TEXT NOT NULL,
    headers TEXT NOT NULL,
    body    TEXT NOT NULL,
    state   INTEGER NOT NULL DEFAULT 0,
    reason  TEXT
) STRICT;
-- Those of one subject leave in their order, so the first of each is looked for.
CREATE INDEX announcements_waiting ON announcements (subject, number) WHERE state = 0;
CREATE INDEX announcements_unsendable ON announcements (number) WHERE state = 2;
