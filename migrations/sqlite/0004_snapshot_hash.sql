-- The chain hash of a snapshot's event: a snapshot of another past is not begun from. Those without one are made again.
DELETE FROM snapshots;
ALTER TABLE snapshots ADD COLUMN hash BLOB NOT NULL DEFAULT x'';
