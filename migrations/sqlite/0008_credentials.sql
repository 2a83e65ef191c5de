-- Sessions and API tokens of people. Of a secret, only a hash is here. Nothing of this is ever in an event, an export or a message. kind: 0 a
-- session, 1 a token. teams and scopes are JSON lists. Times are microseconds since 1970 UTC.
CREATE TABLE credentials (
    id         TEXT NOT NULL PRIMARY KEY,
    kind       INTEGER NOT NULL,
    secret     TEXT NOT NULL UNIQUE,
    person     TEXT NOT NULL,
    label      TEXT NOT NULL,
    teams      TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    made_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_of_person ON credentials (person, made_at);
