-- What the shards make of a query before a Postgres puts it together: partial groups, rows of the result, whole queries in FROM and
-- WITH; and what must not be made in parts.

SELECT status, sum(quantity) * 2 AS status2, -sum(quantity) AS "select" FROM orders GROUP BY status ORDER BY "select", status

SELECT lower(status) AS status, count(*) + 0 FROM orders GROUP BY status ORDER BY 1, 2

-- An output name that is a column too: GROUP BY takes the column, ORDER BY the output.
SELECT upper(name) AS name, count(*) + 0 FROM customers GROUP BY name ORDER BY name, 2

SELECT quantity % 3 AS status, count(*) + 0 FROM orders GROUP BY orders.status, quantity % 3 ORDER BY status, 2

SELECT count(*) FILTER (WHERE quantity > 3) * 10, avg(quantity) FILTER (WHERE status = 'paid') + 1, sum(total) FILTER (WHERE false) FROM orders

SELECT level, avg(DISTINCT balance), sum(DISTINCT level) + 1, count(DISTINCT (country)) FROM customers GROUP BY level ORDER BY level

SELECT country, max(gap) - min(gap), max(slot), min(created), max(updated) IS NULL FROM customers GROUP BY country ORDER BY 1, 2

SELECT bool_and(active) AND count(*) > 1, every(active), bit_or(level) | 8, bit_and(level), bit_xor(level) + 0 FROM customers

SELECT array_agg(DISTINCT status ORDER BY status), string_agg(DISTINCT nick, ',' ORDER BY nick) FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id

SELECT string_agg(DISTINCT country, '-' ORDER BY country DESC) FROM customers

SELECT jsonb_agg(DISTINCT meta) FROM customers

SELECT country || '|', count(*) FROM customers GROUP BY country ORDER BY country NULLS FIRST

SELECT feel, count(*) + 0 FROM odd GROUP BY feel ORDER BY feel

SELECT part, span, count(*) + 0 FROM odd GROUP BY part, span ORDER BY 1, 2

SELECT cash, mask, max(twice) + 0 FROM odd GROUP BY cash, mask ORDER BY 1, 2

-- The numbers of types that users made are each server's own.
-- forms: simple, text, portal
SELECT feels, count(*) + 0 FROM odd GROUP BY feels ORDER BY 1

SELECT tags, count(*) + 0 FROM customers GROUP BY tags ORDER BY 1

SELECT meta, count(*) + 0 FROM customers GROUP BY meta ORDER BY 1

SELECT raw, guid, ip, count(*) + 0 FROM customers GROUP BY raw, guid, ip ORDER BY 1, 2, 3 LIMIT 20

SELECT score, count(*) + 0 FROM customers GROUP BY score ORDER BY score LIMIT 20

SELECT rating, max(score) + 0 FROM customers GROUP BY rating ORDER BY rating NULLS FIRST LIMIT 20

SELECT discount, count(*) + 0, sum(discount) / 3 FROM orders GROUP BY discount ORDER BY 1

SELECT avg(total) * 3, avg(quantity) / 7, sum(total) / nullif(count(*), 0), avg(total) - min(total) FROM orders

SELECT avg(v) + 1, sum(v) + 1, count(*) + 1, max(v) + 1, count(v) || 'x', bool_or(b) IS NULL FROM void

SELECT tenant_id, avg(v) + 1, count(*) + 1 FROM void GROUP BY tenant_id

SELECT count(*) + 1, sum(id) + 1 FROM orders WHERE tenant_id = 1 AND tenant_id = 2

SELECT count(DISTINCT status), count(*) FROM orders WHERE tenant_id = 1 AND tenant_id = 2

-- error: 22003
SELECT (sum(value) * 1000)::smallint FROM metrics

-- error: 22012
SELECT status, sum(quantity) / (count(*) - count(*)) FROM orders GROUP BY status

-- Grouping sets: of tuples, ordinals, expressions; the same expression twice.
SELECT status, quantity, count(*), grouping(status, quantity), grouping(quantity) FROM orders GROUP BY GROUPING SETS ((status, quantity), (status), ()) ORDER BY 1, 2, 4

SELECT status, quantity, tenant_id % 2, sum(id) FROM orders GROUP BY ROLLUP ((status, quantity), tenant_id % 2) ORDER BY 1, 2, 3, 4

SELECT status, quantity > 3, count(*) FROM orders GROUP BY CUBE (1, 2) ORDER BY 1, 2, 3

SELECT status AS a, status AS b, count(*) FROM orders GROUP BY ROLLUP (1, 2) ORDER BY 1, 2, 3

SELECT status, count(*) FROM orders GROUP BY status, ROLLUP (status) ORDER BY 1, 2

SELECT tenant_id, count(*) FROM orders GROUP BY ROLLUP (tenant_id) HAVING count(*) > 20 ORDER BY 1

SELECT count(*), sum(quantity) FROM orders GROUP BY () HAVING count(*) > 0

SELECT v, count(*) FROM void GROUP BY ROLLUP (v)

SELECT count(*) FROM void GROUP BY v

SELECT count(*) + 0 FROM void GROUP BY ()

-- Windows over groups.
SELECT status, sum(quantity), sum(sum(quantity)) OVER (ORDER BY status), lag(count(*)) OVER w FROM orders GROUP BY status WINDOW w AS (ORDER BY sum(quantity), status) ORDER BY 1

SELECT quantity, count(*), rank() OVER (PARTITION BY count(*) > 40 ORDER BY avg(total) DESC NULLS LAST) FROM orders GROUP BY quantity ORDER BY 1

SELECT tenant_id, count(*), rank() OVER (ORDER BY count(*) DESC, tenant_id) FROM orders GROUP BY tenant_id ORDER BY 3 LIMIT 5

SELECT DISTINCT count(*) > 20, max(quantity) OVER () FROM orders GROUP BY tenant_id, quantity ORDER BY 1, 2

SELECT DISTINCT ON (count(*)) count(*), status, quantity FROM orders GROUP BY status, quantity ORDER BY count(*), status, quantity

-- Rows of the result, in the order of a collation.
SELECT c.name, o.id FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id ORDER BY c.name DESC NULLS LAST, o.id LIMIT 12 OFFSET 5

SELECT name, id FROM (SELECT c.name, o.id FROM orders o LEFT JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id) x ORDER BY lower(name), id FETCH FIRST 9 ROWS ONLY

SELECT * FROM tenants t JOIN sparse s ON s.tenant_id = t.id ORDER BY t.name, s.id

SELECT s.*, t.name FROM tenants t JOIN sparse s ON s.tenant_id = t.id ORDER BY t.name, s.id LIMIT 3

SELECT tenant_id, max(name), count(*) FROM customers GROUP BY tenant_id ORDER BY max(name), 1 LIMIT 10

SELECT c.name, count(o.id) FROM customers c LEFT JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id GROUP BY c.tenant_id, c.id ORDER BY c.name, 2 DESC, c.tenant_id, c.id LIMIT 25

SELECT tenant_id, count(*) FROM orders JOIN customers USING (tenant_id) GROUP BY tenant_id HAVING count(*) > 300 ORDER BY min(customers.name), 1

SELECT tenant_id, max(name) FROM orders FULL JOIN customers USING (tenant_id) GROUP BY tenant_id ORDER BY 2, 1

SELECT DISTINCT name FROM customers ORDER BY name

SELECT DISTINCT name, active FROM customers ORDER BY name DESC, active LIMIT 7 OFFSET 2

SELECT DISTINCT lower(c.name), o.quantity FROM customers c JOIN orders o USING (tenant_id) WHERE o.customer_id = c.id ORDER BY 1, 2 LIMIT 30

SELECT DISTINCT ON (name) name, id FROM customers ORDER BY name, id DESC, tenant_id

SELECT DISTINCT ON (1) name AS n, tenant_id, id FROM customers ORDER BY n, 2, 3

SELECT DISTINCT ON (lower(name)) id, tenant_id FROM customers ORDER BY lower(name), id, tenant_id LIMIT 9

-- ties
SELECT tenant_id, max(name) AS m FROM customers GROUP BY tenant_id ORDER BY m FETCH FIRST 4 ROWS WITH TIES

SELECT name, c.id FROM customers c JOIN sparse s USING (tenant_id) ORDER BY name USING >, c.id, s.id

SELECT "Id", ci FROM odd ORDER BY ci, "Id"

SELECT DISTINCT ci COLLATE "C" FROM odd ORDER BY 1

SELECT (two).a, count(*) FROM odd GROUP BY (two).a ORDER BY 1

SELECT count(DISTINCT two), count(DISTINCT (feel, part)) FROM odd

-- forms: simple, text, portal
SELECT o, count(*) FROM tenants o GROUP BY o ORDER BY 2, o LIMIT 3

SELECT x, count(*) + 0 FROM (SELECT status, quantity FROM orders WHERE tenant_id IN (3, 4)) x GROUP BY x ORDER BY 1

SELECT row(status, quantity), count(*) + 0 FROM orders GROUP BY 1 ORDER BY 1 LIMIT 5

SELECT unnest(tags) AS t, count(*) + 0 FROM customers GROUP BY 1 ORDER BY 1

SELECT 'x', NULL, 1.50, status, count(*) + 0 FROM orders GROUP BY status ORDER BY status

SELECT status, count(*) + 0 FROM orders GROUP BY status, 'x'::text ORDER BY 1

-- params: 2, 30, 5
SELECT quantity, sum(id) * $1, count(*) FILTER (WHERE id > $2) FROM orders WHERE id < 900 GROUP BY quantity ORDER BY sum(id) % $3, 1 LIMIT $3

-- params: 3
SELECT id % $1, count(*) + 0 FROM orders GROUP BY 1 ORDER BY 1

-- params: 'a', 4
SELECT c.name || $1, o.id FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id WHERE o.quantity = $2 ORDER BY c.name, o.id LIMIT $2 OFFSET 1

SELECT status, count(*) + 0 FROM orders GROUP BY status HAVING count(*) > (SELECT count(*) FROM tenants) ORDER BY 1

SELECT status, (SELECT max(name) FROM customers) FROM orders GROUP BY status ORDER BY 1

SELECT status, now() IS NOT NULL, count(*) + 0 FROM orders GROUP BY status ORDER BY 1

SELECT status, stddev(quantity), sum(quantity) + 0 FROM orders GROUP BY status ORDER BY 1

SELECT twice(quantity), count(*) + 0 FROM orders GROUP BY 1 ORDER BY 1

-- Whole queries in FROM and WITH.
SELECT s.name, x.n FROM (SELECT tenant_id, count(*) AS n FROM orders GROUP BY tenant_id) x JOIN settings s ON length(s.name) = x.tenant_id ORDER BY 1, 2

WITH x AS (SELECT tenant_id AS t, count(*) AS n, max(total) FROM orders GROUP BY 1) SELECT a.t, b.t, a.max FROM x a JOIN x b ON a.n = b.n AND a.t < b.t ORDER BY 1, 2

WITH x AS (SELECT tenant_id AS t, count(*) AS n FROM orders GROUP BY 1) SELECT t, n, (SELECT max(n) FROM x WHERE t < 5), EXISTS (SELECT FROM x y WHERE y.n = x.n AND y.t <> x.t) FROM x WHERE t IN (2, 3, 8, 22) ORDER BY 1

WITH x AS (SELECT tenant_id AS t, count(*) AS n FROM orders GROUP BY 1) SELECT s.name FROM settings s WHERE length(s.name) IN (SELECT t FROM x WHERE n > 3) ORDER BY 1

WITH orders AS (SELECT tenant_id, count(*) AS n FROM orders GROUP BY tenant_id) SELECT sum(n), stddev(n) FROM orders

WITH x AS (SELECT tenant_id, id FROM orders), y AS (SELECT x.tenant_id, count(*) AS n FROM x JOIN customers c ON c.tenant_id = x.tenant_id GROUP BY x.tenant_id) SELECT stddev(n) FROM y

WITH x AS MATERIALIZED (SELECT tenant_id, sum(quantity) AS q FROM orders GROUP BY tenant_id HAVING sum(quantity) > 20) SELECT count(*), t.plan FROM x RIGHT JOIN tenants t ON t.seats = x.q GROUP BY t.plan ORDER BY 2

WITH x (a, b) AS (SELECT tenant_id, sum(quantity) FROM orders GROUP BY tenant_id) SELECT x.a, k.version FROM x JOIN kv k ON k.version = x.b ORDER BY 1, 2, k.key COLLATE "C"

SELECT y.a FROM (SELECT tenant_id, max(name) FROM customers GROUP BY 1) y (a, b) FULL JOIN settings s ON s.name = y.b ORDER BY 1

SELECT x.status, count(*) FROM (SELECT DISTINCT tenant_id, status FROM orders WHERE note = 'it''s' OR quantity = 3) x JOIN settings s ON s.name > x.status GROUP BY 1 ORDER BY 1

SELECT x.id, s.name FROM (SELECT o.id, row_number() OVER (PARTITION BY o.tenant_id ORDER BY o.id) AS n FROM orders o) x JOIN settings s ON length(s.name) = x.n ORDER BY 1, 2 LIMIT 20

SELECT v.who, v.worth, s.name FROM customer_sums v, settings s WHERE v.tenant_id = length(s.name) ORDER BY 3, 2, 1

SELECT t.who, s.name FROM top_customers t LEFT JOIN settings s ON s.name = t.who ORDER BY 1, 2

SELECT count(*) FROM ( SELECT /* ( */ tenant_id, count(*) AS ")" FROM orders WHERE note <> ')' OR note IS NULL GROUP BY tenant_id ) x, settings

SELECT a.n, b.n FROM (SELECT tenant_id, count(*) AS n FROM orders WHERE quantity > 2 GROUP BY tenant_id) a, (SELECT tenant_id, count(*) AS n FROM orders WHERE quantity > 4 GROUP BY tenant_id) b WHERE a.n = b.n * 2 ORDER BY 1, 2

-- params: 2, 'paid'
WITH x AS (SELECT tenant_id, count(*) AS n FROM orders WHERE quantity > $1 AND status = $2 GROUP BY tenant_id) SELECT stddev(n), $1::int FROM x

SELECT s.name, (SELECT stddev(x.n) FROM (SELECT tenant_id, count(*) AS n FROM orders WHERE status <> s.name GROUP BY tenant_id) x) FROM settings s ORDER BY 1

SELECT s.name, l.n FROM settings s, LATERAL (SELECT count(*) AS n FROM (SELECT tenant_id FROM orders WHERE note = s.value GROUP BY tenant_id) x) l ORDER BY 1

WITH RECURSIVE x AS (SELECT tenant_id, count(*) AS n FROM orders GROUP BY tenant_id), r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 4) SELECT r.i, sum(x.n) FROM r LEFT JOIN x ON x.tenant_id % 4 = r.i - 1 GROUP BY 1 ORDER BY 1

WITH RECURSIVE r AS (SELECT x.tenant_id FROM (SELECT tenant_id, count(*) FROM orders GROUP BY tenant_id) x WHERE x.count > 10 UNION SELECT y.tenant_id + 1 FROM (SELECT tenant_id, max(quantity) AS m FROM orders GROUP BY tenant_id) y JOIN r ON r.tenant_id = y.m) SELECT count(*), max(tenant_id) FROM r

-- script
BEGIN;
UPDATE accounts SET hits = 50 WHERE tenant_id = 8;
SELECT owner, sum(hits) + 0 FROM accounts GROUP BY owner ORDER BY 2 DESC NULLS LAST, 1 LIMIT 3;
SELECT x.s, l.title FROM (SELECT tenant_id, sum(hits) AS s FROM accounts GROUP BY tenant_id) x LEFT JOIN labels l ON l.rank = x.s ORDER BY 1 DESC NULLS LAST, 2 LIMIT 5;
DECLARE c CURSOR FOR SELECT owner, sum(hits) + 0 FROM accounts GROUP BY owner ORDER BY 2 DESC NULLS LAST, 1;
FETCH 2 FROM c;
ROLLBACK;

-- forms: simple
COPY (SELECT status, sum(quantity) * 2 FROM orders GROUP BY status ORDER BY status) TO STDOUT (FORMAT csv, HEADER)

-- What a filter leaves out is not evaluated: some of it would fail.
SELECT string_agg(DISTINCT (100 / quantity)::text, ',') FILTER (WHERE quantity <> 0) FROM orders

SELECT status, array_agg(DISTINCT id ORDER BY id) FILTER (WHERE quantity > 7 AND tenant_id < 9) FROM orders GROUP BY status ORDER BY status

-- Output names that are those of the router's own columns.
SELECT DISTINCT name AS c0, level AS c1, id AS c2 FROM customers ORDER BY 1, 2, 3 LIMIT 7

SELECT o.status AS c2, c.nick AS c1, o.id AS c3 FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id ORDER BY c.name, o.note, o.id LIMIT 9

SELECT o.total AS c2, c.score AS c1 FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id ORDER BY c.name DESC, c.rating, o.id DESC LIMIT 9

SELECT DISTINCT ON (name) name AS c2, level AS c1, id AS c3 FROM customers ORDER BY name, level DESC, id

SELECT DISTINCT ON (name) max(level) AS g1, count(*) FROM customers GROUP BY name, id ORDER BY name, id DESC

SELECT DISTINCT ON (name) max(level) AS g2, id AS g1, name AS a1 FROM customers GROUP BY name, id ORDER BY name, id DESC

SELECT max(level) AS g1, count(*) AS a1, name AS a2 FROM customers GROUP BY name ORDER BY name

SELECT max(level) AS a2, count(*) AS a1, name AS a3 FROM customers GROUP BY name HAVING count(*) > 1 ORDER BY max(level) DESC, count(*), name

SELECT count(*) AS g1, name AS g2 FROM customers GROUP BY GROUPING SETS ((name), ()) ORDER BY name

SELECT -level AS pgloom, count(*) + 0 AS g1 FROM customers GROUP BY level ORDER BY level

SELECT upper(name) AS name, count(*) + 0 AS pgloom FROM customers GROUP BY name ORDER BY name, 2

SELECT nick AS g1, level AS g2, rank() OVER g1 FROM customers GROUP BY nick, level WINDOW g1 AS (PARTITION BY nick ORDER BY level) ORDER BY nick, level
