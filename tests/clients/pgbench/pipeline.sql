\set aid random(1, 100000)
\set other random(1, 100000)
\startpipeline
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
UPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = :other;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
COMMIT;
SELECT count(*) FROM pgbench_accounts WHERE aid < 100;
\endpipeline
