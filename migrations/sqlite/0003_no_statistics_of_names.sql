-- Nothing to do: statistics are made by ANALYZE only, which nobody runs here. The number belongs to PostgreSQL's step.
SELECT 1;
