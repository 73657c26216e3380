-- One moment in a statement over shards, and in a transaction.

SELECT stddev(total), now() = statement_timestamp() AS same, now() = current_timestamp AND now()::date = current_date FROM orders

SELECT count(DISTINCT status) FROM orders WHERE placed < now() AND shipped < current_date AND placed::timestamp < localtimestamp AND placed < transaction_timestamp() - interval '1 day'

SELECT count(*) FROM orders WHERE placed < statement_timestamp() AND NOT placed > CURRENT_TIMESTAMP

SELECT count(*), bool_and(pg_catalog.now() > placed) FROM orders WHERE age(placed) > interval '1 day' AND extract(year FROM current_date) > 2000

SELECT sum(total) FROM orders o WHERE placed BETWEEN now() - interval '100 years' AND now() + interval '1 day'

SELECT status, count(*) FROM orders WHERE placed > now() GROUP BY status

-- Columns are called by the functions.
SELECT now() IS NULL, date_trunc('century', now()) < CURRENT_DATE, pg_typeof(localtime), pg_typeof(current_time(2)), pg_typeof(current_timestamp(0)), pg_typeof(localtimestamp(3)), min(id) OVER () FROM orders LIMIT 1

-- params: '2024-02-01'
SELECT count(DISTINCT note) FROM orders WHERE placed < now() AND placed < $1::timestamptz AND shipped < current_date

-- script
BEGIN;
SELECT count(DISTINCT status), count(*) FILTER (WHERE now() = transaction_timestamp() AND now() = current_timestamp AND now() <= statement_timestamp()) FROM orders WHERE placed < now();
SELECT count(*), count(*) FILTER (WHERE age(placed) = age(current_date, placed)) FROM orders WHERE shipped < current_date AND localtimestamp = now()::timestamp;
SELECT min(current_time) = max(now()::timetz), min(localtime(3)) = min(now()::time(3)), min(localtimestamp(0)) = min(now()::timestamp(0)), min(current_timestamp(1)) = min(now()::timestamptz(1)) FROM orders WHERE placed <= current_timestamp;
SELECT a.at = b.at AS same FROM (SELECT now() AS at, stddev(total) FROM orders) a, (SELECT now() AS at FROM customers c JOIN orders o ON o.id = c.id + 1 UNION SELECT now()) b LIMIT 1;
SELECT now() IS NOT NULL, current_date > '2020-01-01', CASE WHEN stddev(total) > 0 THEN 'x'::text ELSE now()::text END FROM orders;
SET LOCAL TimeZone = 'Pacific/Kiritimati';
SELECT count(DISTINCT status) FROM orders WHERE shipped < current_date AND current_date = (now() AT TIME ZONE 'Pacific/Kiritimati')::date;
COMMIT;

-- script
BEGIN;
SELECT pg_typeof(now()), pg_typeof(current_date), pg_typeof(current_time), pg_typeof(localtime), pg_typeof(localtimestamp), stddev(total) FROM orders;
ROLLBACK;

-- script
BEGIN;
UPDATE accounts SET note = now()::text WHERE tenant_id = 2;
SELECT count(DISTINCT a.note), bool_and(a.note::timestamptz = now()) FROM accounts a JOIN accounts b ON b.id = a.id + 0 WHERE a.tenant_id = 2 AND b.tenant_id < 50 AND a.note = now()::text;
ROLLBACK;

-- script
SET DateStyle = 'SQL, DMY';
BEGIN;
SELECT count(DISTINCT status) FROM orders WHERE placed < now() AND placed > now() - interval '200 years';
ROLLBACK;
SELECT count(DISTINCT status) FROM orders WHERE placed < now() AND placed > now() - interval '200 years';
RESET DateStyle;

-- Texts that are read as a time are the clock, too.
SELECT count(DISTINCT x), min(x) = max(x) FROM (SELECT 'now'::timestamptz AS x FROM orders) q

SELECT count(DISTINCT x), min(x) = max(x) FROM (SELECT timestamp ' Now ' AS x FROM orders) q

-- A statement that was prepared before keeps the time of then.
-- forms: simple, text, binary
SELECT DISTINCT CAST('NOW' AS timestamptz) = now(), 'today'::date = current_date, date 'tomorrow' - date 'yesterday' FROM orders

SELECT count(*), min('now'::timestamp) = max('now'::timestamp) FROM orders WHERE placed < 'today'::date AND shipped < date 'tomorrow'

SELECT count(*) FROM orders WHERE note = 'now' OR status <> 'today' OR note = E'tomorrow'

SELECT id, 'today' AS day, 'now' || note FROM orders WHERE id < 20 ORDER BY id

-- script
BEGIN;
SELECT count(DISTINCT x) FROM (SELECT '2024-01-01'::timestamptz AS x FROM orders) q;
SELECT count(DISTINCT x) FROM (SELECT 'now'::timestamptz AS x FROM orders) q;
ROLLBACK;

SELECT current_schemas(true), rank() OVER (ORDER BY id) FROM orders ORDER BY id LIMIT 3

SELECT current_schemas(false), rank() OVER (ORDER BY id) FROM orders ORDER BY id LIMIT 3

-- One time in a transaction that goes from shard to shard, whoever runs its statements.
-- script
BEGIN;
SELECT id FROM accounts WHERE tenant_id = 1 ORDER BY id LIMIT 1;
UPDATE accounts SET note = now()::text WHERE tenant_id = 2;
UPDATE accounts SET note = CURRENT_TIMESTAMP::text WHERE tenant_id = 3;
UPDATE accounts SET note = (transaction_timestamp())::text WHERE tenant_id = 4;
UPDATE accounts SET note = 'now'::timestamptz::text WHERE tenant_id = 5;
SELECT count(DISTINCT note), bool_and(note::timestamptz = now()) FROM accounts WHERE tenant_id IN (2, 3, 4, 5);
SELECT now() = current_timestamp, count(*) FILTER (WHERE note = now()::text) AS told FROM accounts WHERE tenant_id = 3;
ROLLBACK;

SELECT count(*) FROM orders WHERE placed < 'now' AND shipped <= 'tomorrow' AND status <> 'now'

SELECT status, count(*) FROM orders WHERE placed BETWEEN '2000-01-01' AND 'now' OR note IN ('now', 'today') GROUP BY status ORDER BY status

-- params: 'now', 'today', 'now'
SELECT count(*), count(*) FILTER (WHERE note = $3) FROM orders WHERE placed < $1 AND shipped <= $2
