-- The planner's statistics would hold samples of what can be erased: names, and texts that may hold names.
ALTER TABLE persons ALTER COLUMN name SET STATISTICS 0;
ALTER TABLE raw_bodies ALTER COLUMN body SET STATISTICS 0;
ALTER TABLE inbox ALTER COLUMN reason SET STATISTICS 0;
