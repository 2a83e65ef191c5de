-- From here on, the payloads of consecutive events of one commit may share a block. encoding of an event: 0 is plain text; 1 to 16,384 is the number
-- of the dictionary of this one payload; 16,384 plus the number of a dictionary means that the row contains a block, which begins with its own
-- payload; -N means that the payload is the one of number N (from 0) in the block of the event N before. A program that knows no blocks cannot
-- read that.
UPDATE meta SET value = '2' WHERE key = 'min_reader';
