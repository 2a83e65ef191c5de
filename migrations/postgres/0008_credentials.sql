-- Sessions and API tokens of people. Of a secret, only a hash is here. Nothing of this is ever in an event, an export or a message. kind: 0 a
-- session, 1 a token. teams and scopes are JSON lists. Times are microseconds since 1970 UTC.
CREATE TABLE credentials (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    kind       int2 NOT NULL,
    secret     text COLLATE "C" NOT NULL UNIQUE,
    person     text COLLATE "C" NOT NULL,
    label      text COLLATE "C" NOT NULL,
    teams      text COLLATE "C" NOT NULL,
    scopes     text COLLATE "C" NOT NULL,
    made_at    int8 NOT NULL,
    expires_at int8 NOT NULL
);
CREATE INDEX credentials_of_person ON credentials (person, made_at);
-- Names of people are not kept in statistics, see 0003.
ALTER TABLE credentials ALTER COLUMN person SET STATISTICS 0;
ALTER TABLE credentials ALTER COLUMN label SET STATISTICS 0;
