-- Owners of the packages that an announcement names, as a JSON list of persons' ids.
ALTER TABLE announcements ADD COLUMN people TEXT NOT NULL DEFAULT '[]';
-- They are checked along the events.
CREATE INDEX announcements_by_event ON announcements (seq, number);
-- Changes that are announced once they have stood for a while: the event of the last change, and the word for the state before the first.
CREATE TABLE announcements_held (
    subject TEXT NOT NULL PRIMARY KEY,
    seq     INTEGER NOT NULL,
    old     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- The last one of each subject and topic is looked for, when the service starts and when old ones are deleted.
CREATE INDEX announcements_of_subject ON announcements (subject, topic, number);
