-- Partial groups wherever they are exact: in statements that read the clock, below other queries, beside functions of an extension.

-- The clock, and groups that the router folds.
SELECT status, count(*), sum(total) FROM orders WHERE placed > now() - interval '100 years' GROUP BY status ORDER BY status

SELECT count(*), min(placed), max(shipped) FROM orders WHERE placed < now() AND shipped < current_date AND placed::timestamp < localtimestamp

SELECT id, status FROM orders WHERE placed < CURRENT_TIMESTAMP AND id < 200 ORDER BY id OFFSET 3 LIMIT 20

-- ties
SELECT id FROM orders WHERE placed > transaction_timestamp() - '200 years'::interval AND quantity = 3

SELECT count(*) FILTER (WHERE placed > now()), count(*) FILTER (WHERE shipped <= current_date), bool_and(pg_catalog.now() > placed) FROM orders

SELECT now() IS NULL AS n, count(*) FROM orders

-- forms: simple, text
SELECT pg_typeof(now()), pg_typeof(current_date), pg_typeof(localtime), pg_typeof(current_time), pg_typeof(localtimestamp), count(*) FROM orders

SELECT now() - now(), current_date - current_date, count(*) FROM orders GROUP BY 1, 2

SELECT DISTINCT status, current_date > '2020-01-01' FROM orders WHERE placed < now() ORDER BY status

SELECT count(*) FROM orders WHERE placed < now() AND placed < statement_timestamp() AND age(placed) > '1 day' AND age(now(), placed) > '1 day'

SELECT date_part('year', now()) > 2020, CASE WHEN now() > '2020-01-01' THEN 'late' ELSE 'early' END, count(*) FROM void

SELECT status, count(*) FROM orders WHERE placed < now() GROUP BY status HAVING count(*) > 3 AND now() > '2001-01-01' ORDER BY 2 DESC, 1 LIMIT 3

SELECT now()::date = current_date AS same, localtime = now()::time AS also, max(id) FROM orders

-- Some is finished, and what it is made of is folded.
SELECT note, avg(quantity), stddev(quantity) FROM orders WHERE placed < now() GROUP BY note ORDER BY note

SELECT date_trunc('year', placed) AS y, count(*) FROM orders WHERE placed < now() GROUP BY 1 HAVING count(*) > 1 ORDER BY 1

WITH m AS (SELECT status, count(*) AS c FROM orders WHERE placed < now() AND shipped < current_date GROUP BY status) SELECT max(c), min(c), now() IS NOT NULL FROM m

-- An error in it is where the client wrote it.
-- error: 42703
SELECT nosuch, count(*) FROM orders WHERE placed < now() GROUP BY 1

-- error: 42883
SELECT count(*) FROM orders WHERE placed < now() AND nosuch(id)

-- error: 22012
SELECT count(*) FROM orders WHERE placed < now() AND 1 / (quantity - quantity) > 0

-- params: '2024-02-01', 3
SELECT status, count(*) FROM orders WHERE placed < now() AND placed > $1 AND quantity > $2 GROUP BY status ORDER BY status

-- params: 3, '2024-02-01'
SELECT status, sum(quantity) FROM orders WHERE quantity > $1 AND placed < now() - interval '1 day' AND placed > $2::timestamptz GROUP BY status ORDER BY sum(quantity), status LIMIT $1

-- script
BEGIN;
SELECT count(*) FILTER (WHERE now() = transaction_timestamp()), bool_and(now() <= statement_timestamp()) FROM orders WHERE placed < now();
UPDATE accounts SET note = now()::text WHERE tenant_id IN (2, 3, 4, 5, 6, 7);
SELECT count(*), count(*) FILTER (WHERE note = now()::text) AS told FROM accounts WHERE tenant_id < 9;
SELECT count(DISTINCT note), min(note) = now()::text AS same FROM accounts WHERE note = now()::text;
SELECT min(a.at) = max(a.at) AS one FROM (SELECT DISTINCT now() AS at FROM orders) a;
SET LOCAL TimeZone = 'Pacific/Kiritimati';
SELECT count(*) FROM orders WHERE shipped < current_date AND current_date = (now() AT TIME ZONE 'Pacific/Kiritimati')::date;
ROLLBACK;

-- script
SET DateStyle = 'SQL, DMY';
SELECT count(*) FROM orders WHERE placed < now() AND placed > now() - interval '200 years';
SELECT status, count(*), max(shipped) FROM orders WHERE shipped < current_date GROUP BY status ORDER BY status;
RESET DateStyle;

-- Groups, distinct values and first rows below another step.
SELECT count(*) FROM (SELECT DISTINCT status FROM orders) q

SELECT count(*), count(note), min(note COLLATE "C") FROM (SELECT DISTINCT note, quantity FROM orders) q

SELECT max(t), min(t), count(*), sum(n) FROM (SELECT quantity, sum(total) AS t, count(*) AS n FROM orders GROUP BY quantity) q

WITH m AS (SELECT quantity, sum(total) AS t FROM orders GROUP BY quantity) SELECT * FROM m ORDER BY t DESC NULLS LAST, quantity LIMIT 1

WITH m AS (SELECT quantity, count(*) AS t FROM orders GROUP BY quantity) SELECT a.quantity, a.t FROM m a JOIN m b ON a.t = b.t AND a.quantity < b.quantity ORDER BY 1, 2

WITH m AS (SELECT status, quantity, count(*) AS t FROM orders GROUP BY GROUPING SETS ((status), (quantity), ())) SELECT count(*), sum(t) FROM m

WITH m (q, avg) AS (SELECT quantity, avg(total) FROM orders WHERE id > 7 GROUP BY quantity HAVING count(*) > 2) SELECT q, round(avg, 3) FROM m WHERE q > 2 ORDER BY q

SELECT (SELECT count(*) FROM orders), (SELECT max(total) FROM orders WHERE status = 'paid'), (SELECT count(*) FROM void)

SELECT id, total FROM orders WHERE total > (SELECT avg(total) FROM orders) ORDER BY id LIMIT 9

SELECT count(*) FROM orders WHERE total > (SELECT avg(total) * 1.5 FROM orders WHERE quantity > 2)

SELECT count(*) FROM customers WHERE level IN (SELECT quantity FROM orders GROUP BY quantity HAVING count(*) > 60)

-- What Postgres never comes to does not fail.
SELECT CASE WHEN count(*) < 0 THEN (SELECT sum(1 / (quantity - quantity)) FROM orders) END, count(*) FROM customers

-- error: 22012
SELECT (SELECT sum(1 / (quantity - quantity)) FROM orders)

-- Keys go along where the groups have them.
SELECT q.quantity, q.n FROM (SELECT quantity, count(*) AS n FROM orders GROUP BY quantity) q JOIN sparse s ON s.v = q.quantity WHERE s.tenant_id = 3 ORDER BY 1, 2

SELECT q.customer_id FROM (SELECT DISTINCT customer_id FROM orders) q JOIN transfers t ON t.account_id = q.customer_id ORDER BY 1

SELECT count(*) FROM customers c WHERE EXISTS (SELECT DISTINCT status FROM orders WHERE quantity > 7) AND c.level > 1

-- What names columns around it is none of its own.
SELECT count(*) FROM customers c WHERE c.level < (SELECT count(*) FROM orders o WHERE o.quantity = c.level)

SELECT c.id, (SELECT max(o.quantity + c.level) FROM orders o) AS m FROM customers c WHERE c.id < 30 ORDER BY c.id

SELECT c.id, (SELECT count(*) FROM orders WHERE quantity = level) AS m FROM customers c WHERE c.id < 30 ORDER BY c.id

SELECT q.* FROM (SELECT status, count(DISTINCT quantity) AS d, string_agg(DISTINCT note, ',') FROM orders GROUP BY status) q ORDER BY 1

SELECT count(DISTINCT (status, quantity)), count(DISTINCT (note, customer_id)) FILTER (WHERE quantity > 2) FROM orders

SELECT note, count(DISTINCT (status, quantity)) FROM orders GROUP BY note ORDER BY note

SELECT q.n, q.s FROM (SELECT note AS n, status AS s FROM orders ORDER BY total DESC NULLS LAST, id LIMIT 10) q ORDER BY 1, 2

SELECT count(*), sum(total) FROM (SELECT * FROM orders ORDER BY id DESC LIMIT 10 OFFSET 3) q

SELECT min(x), max(x), count(*) FROM (SELECT count(*) AS x FROM void) q

SELECT * FROM (SELECT sum(v) AS s, count(*) AS c, max(t) AS m FROM void HAVING count(*) = 0) q

SELECT * FROM (SELECT t, sum(v) FROM void GROUP BY t) q

SELECT x.status, y.n FROM (SELECT DISTINCT status FROM orders) x JOIN (SELECT status, count(*) AS n FROM orders GROUP BY status) y USING (status) ORDER BY 1

SELECT u.k, count(*) FROM (SELECT DISTINCT kind AS k FROM events UNION ALL SELECT DISTINCT status FROM orders) u GROUP BY u.k ORDER BY 1

-- params: 3
SELECT max(t) FROM (SELECT status, sum(total) AS t FROM orders WHERE quantity > $1 GROUP BY status) q

-- params: 2, 4
WITH m AS (SELECT quantity, count(*) AS n FROM orders WHERE quantity > $1 GROUP BY quantity) SELECT * FROM m WHERE quantity < $2 + 3 ORDER BY 1

-- params: 60
SELECT quantity FROM (SELECT quantity, count(*) AS n FROM orders GROUP BY quantity HAVING count(*) > $1) q ORDER BY 1 NULLS FIRST

-- script
BEGIN;
DELETE FROM transfers;
DELETE FROM accounts WHERE hits = 3;
SELECT count(*) FROM (SELECT DISTINCT hits FROM accounts) q;
SELECT id FROM accounts WHERE amount > (SELECT avg(amount) FROM accounts) ORDER BY id;
ROLLBACK;

-- LIMIT, and ties with the last row.
SELECT id, status FROM orders ORDER BY id LIMIT (SELECT 3)

SELECT id FROM orders ORDER BY id LIMIT (SELECT 4) OFFSET (SELECT 2)

-- ties
SELECT quantity, id FROM orders WHERE id < 900 ORDER BY quantity DESC NULLS LAST FETCH FIRST 3 ROWS WITH TIES

SELECT status FROM orders ORDER BY status OFFSET 2 FETCH FIRST 5 ROWS WITH TIES

SELECT quantity, count(*) FROM orders GROUP BY quantity ORDER BY count(*) DESC FETCH FIRST ROW WITH TIES

SELECT id FROM orders WHERE id < 0 ORDER BY id FETCH FIRST 2 ROWS WITH TIES

-- error: 42601
SELECT id FROM orders FETCH FIRST 2 ROWS WITH TIES

-- Aggregates whose parts are exact.
SELECT variance(quantity), var_pop(quantity), var_samp(id), stddev(quantity), stddev_pop(quantity), stddev_samp(id) FROM orders

SELECT quantity, variance(id), stddev(id), stddev_pop(customer_id), var_pop(customer_id) FROM orders GROUP BY quantity ORDER BY 1

SELECT note, stddev(total), variance(total), var_pop(total), stddev_pop(total) FROM orders GROUP BY note ORDER BY note

SELECT stddev(discount), variance(discount), var_pop(discount) FROM orders

SELECT stddev(quantity) FILTER (WHERE id > 500), variance(DISTINCT quantity), stddev(quantity * 1000000), stddev_pop(id * id) FROM orders

SELECT stddev(version), variance(version), stddev_pop(version) FROM kv WHERE key = 'key' OR key = 'nokey'

SELECT stddev(v), variance(v), var_pop(v), stddev_pop(v) FROM sparse

SELECT stddev(id), stddev_pop(id), variance(tenant_id), var_pop(tenant_id), stddev(tenant_id) FROM void

SELECT stddev(1), stddev_pop(7), variance(5), var_pop(5) FROM orders

SELECT stddev(flags), variance(flags), stddev_pop(flags), var_pop(seq), stddev(seq) FROM events

SELECT stddev(level), variance(level), stddev_pop(level) FILTER (WHERE active) FROM customers WHERE score > 3

SELECT active, sum(gap), avg(gap), count(gap) FROM customers GROUP BY active ORDER BY active

SELECT sum(gap), avg(gap) FROM customers WHERE id < 0

SELECT sum(cash), min(cash), max(cash), sum(cash) FILTER (WHERE "Id" > 30) FROM odd

SELECT feel, sum(cash), count(*) FROM odd GROUP BY feel ORDER BY feel

-- Domains by their types.
SELECT sum(part), avg(part), min(part), max(part), bit_and(part), bit_or(part), stddev(part), variance(part) FROM odd

SELECT share, count(*) FROM tickets GROUP BY share ORDER BY share

SELECT state, sum(share), avg(share), max(share) FROM tickets GROUP BY state ORDER BY state

SELECT max(m), sum(s) FROM (SELECT state, max(share) AS m, sum(share) AS s FROM tickets GROUP BY state) q

-- Functions of an extension that are called like Postgres's own, for a type of theirs.
SELECT max(id), min(total), max(status), min(placed) FROM orders

SELECT max(note), min(note), max(note::citext), min(status::citext) FROM orders

SELECT replace(status, 'a', 'b'), count(*) FROM orders GROUP BY 1 ORDER BY 1

SELECT strpos(status, 'a'), split_part(status, 'a', 1), count(*) FROM orders GROUP BY 1, 2 ORDER BY 1, 2

SELECT max(nick), min(country), max(name::text) FROM customers

SELECT min(replace(status::citext, 'A', 'b')), replace('Aa', 'a', 'b'), max(replace(status, 'a', 'b')) FROM orders

SELECT max('x'), min(NULL::text), count(*) FROM orders

-- Sets of groups over columns that can only be hashed, or only be sorted.
-- ties
SELECT x, b, count(*), sum(quantity) FROM (SELECT quantity, quantity::text::xid AS x, (quantity % 8)::bit(3) AS b FROM orders) q GROUP BY GROUPING SETS ((x), (b))

-- ties
SELECT quantity::text::xid, (quantity % 8)::bit(3), count(*) FROM orders GROUP BY GROUPING SETS ((quantity::text::xid), ((quantity % 8)::bit(3)))

-- ties
SELECT quantity::text::xid, count(DISTINCT (quantity % 8)::bit(3)) FROM orders GROUP BY quantity::text::xid

-- ties
SELECT mask, count(*), sum(cash) FROM odd GROUP BY ROLLUP (mask, cash)

-- error: 0A000
SELECT count(*) FROM orders GROUP BY quantity::text::xid, (quantity % 8)::bit(3)
