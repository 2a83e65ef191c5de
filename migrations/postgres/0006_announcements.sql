-- What is said on a bus about events; a row is added in the commit of its event. state: 0 waits, 1 the broker has confirmed it, 2 it cannot be
-- sent, for a reason. What stands in topic, headers and body is what is sent, each time. Times are microseconds since 1970 UTC.
CREATE TABLE announcements (
    number  int8 NOT NULL PRIMARY KEY,
    seq     int8 NOT NULL,
    made_at int8 NOT NULL,
    state   int2 NOT NULL DEFAULT 0,
    id      text COLLATE "C" NOT NULL UNIQUE,
    subject text COLLATE "C" NOT NULL,
    topic   text COLLATE "C" NOT NULL,
    headers text COLLATE "C" NOT NULL,
    body    text COLLATE "C" NOT NULL,
    reason  text COLLATE "C"
);
-- Those of one subject leave in their order, so the first of each is looked for.
CREATE INDEX announcements_waiting ON announcements (subject, number) WHERE state = 0;
CREATE INDEX announcements_unsendable ON announcements (number) WHERE state = 2;
