-- Subqueries that one Postgres never comes to: what would fail in them does not.

SELECT id, CASE WHEN id < 0 THEN (SELECT count(*) FROM orders WHERE 1 / (quantity - quantity) > 0) ELSE 7 END FROM tenants ORDER BY id LIMIT 3

SELECT id, CASE WHEN id < 0 THEN (SELECT sum(total / (quantity - quantity)) FROM orders) ELSE 7 END FROM tenants ORDER BY id LIMIT 3

SELECT count(*) FROM void v WHERE EXISTS (SELECT FROM orders o WHERE o.status::int > v.id)

SELECT count(*) FROM void v WHERE v.v > (SELECT avg(1 / (quantity - quantity)) FROM orders)

SELECT v.id FROM void v WHERE v.id = (SELECT o.id FROM orders o WHERE o.note IS NULL OR o.note::int > 5 ORDER BY o.status::int LIMIT 1)

SELECT v.id FROM void v WHERE v.id IN (SELECT n FROM (SELECT status, count(*) AS n, sum(1 / (quantity - quantity)) AS s FROM orders GROUP BY status) q WHERE s > 1)

SELECT v.id FROM void v WHERE v.id IN (SELECT n FROM (SELECT tenant_id, count(*) AS n, sum(1 / (quantity - quantity)) AS s FROM orders GROUP BY tenant_id) q WHERE s > 1)

SELECT t.id, (SELECT max(o.id) FROM orders o WHERE o.status = 'new' AND o.quantity = t.id AND o.total * o.discount > 3 AND o.placed < now()) FROM tenants t ORDER BY 1

SELECT t.id, (SELECT sum(o.total * o.discount) FROM orders o) FROM tenants t ORDER BY 1

-- What names no column is computed while the statement is planned.
-- error: 22012
SELECT count(*) FROM void v WHERE EXISTS (SELECT FROM orders o WHERE o.id > 1 / 0)

SELECT count(*) FROM orders WHERE status <> 'new' AND id > (SELECT min(id) FROM order_items i JOIN orders USING (tenant_id) WHERE lower(note) LIKE '%a%' AND i.quantity::text = '3')

-- A query of a WITH that nothing reads
WITH x AS (SELECT id FROM orders WHERE 1 / (quantity - quantity) > 0) SELECT id, avg(id) OVER () FROM tenants ORDER BY id LIMIT 3

WITH x AS (SELECT status, sum(1 / (quantity - quantity)) FROM orders GROUP BY status), y AS (SELECT * FROM x) SELECT id, avg(id) OVER () FROM tenants ORDER BY id LIMIT 3

-- LIMIT 0, and conditions that are false before anything is read
SELECT id, avg(id) OVER () FROM tenants WHERE false AND 1 / (id - id) > 0

SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE 1 / (id - id) > 0 LIMIT 0

SELECT t.id, rank() OVER (ORDER BY t.id) FROM tenants t LEFT JOIN (SELECT id FROM orders WHERE 1 / (quantity - quantity) > 0) o ON false ORDER BY 1 LIMIT 2

SELECT * FROM (SELECT status, sum(1 / (quantity - quantity)) FROM orders GROUP BY status LIMIT 0) q

SELECT v.id, q.n FROM void v JOIN LATERAL (SELECT count(*) AS n FROM orders o WHERE 1 / (o.quantity - o.quantity) > v.id) q ON true

SELECT coalesce((SELECT max(id) FROM tenants), (SELECT sum(1 / (quantity - quantity)) FROM orders)), count(*) FROM tenants

SELECT id FROM tenants WHERE id = 1 OR id IN (SELECT 1 / (quantity - quantity) FROM orders WHERE status = 'nowhere') ORDER BY id

-- LIMIT 0 that the shards do not have as it stands
SELECT sum(1 / (id - id)) FROM orders LIMIT 0

SELECT sum(1 / (id - id)) FROM orders LIMIT 0 OFFSET 3

SELECT status, sum(1 / (id - id)) FROM orders GROUP BY status LIMIT 0

SELECT status, count(*) FROM orders GROUP BY status HAVING sum(1 / (id - id)) > 1 LIMIT 0

SELECT count(DISTINCT 1 / (id - id)) FROM orders LIMIT 0

SELECT status, count(DISTINCT 1 / (id - id)) FROM orders GROUP BY status ORDER BY status LIMIT 0

SELECT DISTINCT 1 / (id - id) FROM orders LIMIT 0

SELECT DISTINCT status, 1 / (id - id) FROM orders ORDER BY 1 FETCH FIRST 0 ROWS ONLY

-- params: 0
SELECT status, sum(1 / (id - id)) FROM orders GROUP BY status LIMIT $1

-- params: 0
SELECT DISTINCT 1 / (id - id) FROM orders LIMIT $1 OFFSET 2

-- error: 22012
SELECT status, sum(1 / (id - id)) FROM orders GROUP BY status LIMIT 1

-- Conditions that are looked at once, before any row
SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE now() < '2000-01-01' AND 1 / (id - id) > 0

SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE 1 = 0 AND 1 / (id - id) > 0

SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE NULL AND 1 / (id - id) > 0

SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE NOT true AND 1 / (id - id) > 0

SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE EXISTS (SELECT FROM void) AND 1 / (id - id) > 0

SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE (SELECT count(*) FROM void) > 0 AND 1 / (id - id) > 0

SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE EXISTS (SELECT FROM void tenants WHERE tenants.id > 1) AND 1 / (id - id) > 0

SELECT t.id, rank() OVER (ORDER BY t.id) FROM tenants t LEFT JOIN (SELECT id FROM orders WHERE 1 / (quantity - quantity) > 0) o ON 1 = 2 ORDER BY 1 LIMIT 2

SELECT o.id, rank() OVER (ORDER BY o.id) FROM orders o JOIN (SELECT id FROM tenants WHERE now() < '2000-01-01') t ON t.id = o.tenant_id WHERE 1 / (o.quantity - o.quantity) > 0

-- error: 22012
SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE 1 = 1 AND 1 / (id - id) > 0

-- error: 22012
SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE EXISTS (SELECT FROM tenants) AND 1 / (id - id) > 0

-- LATERAL
SELECT v.id, q.n FROM void v CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT id FROM orders WHERE 1 / (quantity - quantity) > 0) o WHERE o.id > v.id) q

SELECT v.id, q.id FROM void v LEFT JOIN LATERAL (SELECT o.id FROM orders o WHERE 1 / (o.quantity - o.quantity) > 0 AND o.id > v.id ORDER BY o.id LIMIT 1) q ON true

-- Conditions of subqueries that cannot fail
SELECT t.id, (SELECT count(*) FROM orders o WHERE o.placed::date > '2024-01-01' AND date_trunc('month', o.placed) < now() AND extract(year FROM o.placed) > 2000 AND o.quantity::bigint = t.id) FROM tenants t ORDER BY 1

SELECT t.id, (SELECT avg(o.quantity) FROM orders o WHERE (o.status || 'x') LIKE '%x' AND o.note ILIKE '%a%') FROM tenants t ORDER BY 1

SELECT count(*) FROM void v WHERE EXISTS (SELECT FROM orders o WHERE date_trunc('nonsense', o.placed) < now() AND o.id > v.id)

SELECT count(*) FROM void v WHERE v.id > (SELECT avg(o.quantity::float8 * 1e308) FROM orders o)

-- A pattern that ends in the middle of an escape
SELECT v.id FROM void v WHERE v.id = (SELECT max(o.id) FROM orders o WHERE o.note LIKE 'a\')

SELECT v.id FROM void v WHERE v.id IN (SELECT o.id FROM orders o WHERE o.note LIKE 'a\' OR o.status LIKE o.note)

SELECT v.id FROM void v WHERE v.id IN (SELECT n FROM (SELECT status, count(*) AS n FROM orders WHERE note LIKE 'a\' GROUP BY status) q)

-- params: 'a\'
SELECT v.id FROM void v WHERE v.id = (SELECT max(o.id) FROM orders o WHERE o.note LIKE $1)

-- Conditions on groups that no aggregate has a part in are conditions on rows, also such as are false for all.
SELECT sum(1 / (id - id)) FROM orders HAVING false

SELECT sum(1 / (id - id)), count(*) FROM orders HAVING 1 = 2 AND count(*) > 1

SELECT status, sum(1 / (id - id)), rank() OVER (ORDER BY status) FROM orders GROUP BY 1 HAVING 1 = 2

SELECT status, quantity, sum(1 / (quantity - 3)), count(*) + 1 FROM orders GROUP BY 1, 2 HAVING quantity > 3 AND count(*) > 1 ORDER BY 1, 2

SELECT status, sum(1 / (id - id)) / 1 FROM orders GROUP BY status HAVING status = 'nowhere'

SELECT id FROM tenants WHERE id > (SELECT sum(1 / (quantity - quantity)) FROM orders HAVING false) ORDER BY id

SELECT q.n FROM (SELECT o.status, (SELECT sum(1 / (quantity - quantity)) FROM order_items) AS n FROM orders o GROUP BY o.status HAVING false) q

-- What a query in FROM gives and nothing reads is left out of it.
SELECT count(*) FROM (SELECT id, 1 / (id - id) AS x FROM orders OFFSET 0) s

SELECT count(*) FROM (SELECT status, sum(1 / (id - id)) AS x FROM orders GROUP BY 1) s

SELECT status FROM (SELECT status, sum(1 / (id - id)) AS x FROM orders GROUP BY 1) s ORDER BY 1

SELECT status FROM (SELECT status, sum(1 / (id - id)) AS x FROM orders GROUP BY 1 LIMIT 10) s ORDER BY 1

-- error: 22012
SELECT status, x + 1 FROM (SELECT status, sum(1 / (id - id)) AS x FROM orders GROUP BY 1) s ORDER BY 1

-- Texts whose collations do not go together
SELECT id, CASE WHEN id < 0 THEN (SELECT count(*) FROM odd WHERE ci > "select" COLLATE "C" OR ci LIKE 'a%' OR strpos(ci, 'a') > 0) ELSE 7 END FROM tenants ORDER BY id LIMIT 3

-- The same shape, and another literal: what leans on one is not kept for others.
-- error: 22012
SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE 1 = 1 AND 1 / (id - id) > 0

SELECT id, rank() OVER (ORDER BY id) FROM tenants WHERE 1 = 2 AND 1 / (id - id) > 0

SELECT id, CASE WHEN id < 0 THEN (SELECT count(*) FROM orders WHERE note LIKE 'a%') ELSE 7 END FROM tenants ORDER BY id LIMIT 3

SELECT id, CASE WHEN id < 0 THEN (SELECT count(*) FROM orders WHERE note LIKE 'a\') ELSE 7 END FROM tenants ORDER BY id LIMIT 3

SELECT id, CASE WHEN id < 0 THEN (SELECT count(*) FROM orders WHERE date_trunc('day', placed) > now()) ELSE 7 END FROM tenants ORDER BY id LIMIT 3

SELECT id, CASE WHEN id < 0 THEN (SELECT count(*) FROM orders WHERE date_trunc('xx', placed) > now()) ELSE 7 END FROM tenants ORDER BY id LIMIT 3

-- A condition on what a query is grouped by is looked at before its groups are made.
SELECT * FROM (SELECT quantity, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY quantity) q WHERE quantity <> 3 AND quantity IS NOT NULL ORDER BY 1

SELECT q.quantity, q.s FROM (SELECT quantity, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY quantity UNION ALL SELECT 1, 1) q WHERE quantity <> 3 ORDER BY 1, 2

SELECT * FROM (SELECT quantity, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY quantity UNION SELECT 1, 1) q WHERE quantity BETWEEN 4 AND 6 ORDER BY 1, 2

WITH q AS (SELECT quantity, count(1 / (quantity - 3)) AS s FROM orders GROUP BY quantity) SELECT * FROM q WHERE quantity > 3 ORDER BY 1

SELECT * FROM (SELECT a.quantity, a.s FROM (SELECT quantity, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY quantity) a) b WHERE quantity <> 3 ORDER BY 1

SELECT * FROM (SELECT DISTINCT quantity, 1 / (quantity - 3) AS s FROM orders) q WHERE quantity > 3 ORDER BY 1

SELECT quantity, sum(1 / (quantity - 3)) FROM orders GROUP BY quantity HAVING quantity <> 3 ORDER BY 1

-- On another one it is not.
-- error: 22012
SELECT * FROM (SELECT quantity, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY quantity) q WHERE s > 3

-- The shards look at it too, in their part of the query.
SELECT * FROM (SELECT tenant_id, quantity, sum(10 / (quantity - 3)) AS s FROM orders GROUP BY tenant_id, quantity) q WHERE quantity > 3 AND tenant_id < 9 ORDER BY 1, 2

-- params: 3
SELECT * FROM (SELECT quantity AS k, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) q WHERE k > $1 ORDER BY 1

SELECT q.k, q.s FROM (SELECT abs(quantity) AS k, sum(1 / (quantity - 3)) AS s FROM orders WHERE total > 100 OR quantity = 3 GROUP BY abs(quantity)) q WHERE k IN (4, 5) AND s IS NOT NULL ORDER BY 1

SELECT q.k, t.name FROM (SELECT quantity AS k, min(1 / (quantity - 3)) AS s FROM orders GROUP BY quantity) q JOIN tenants t ON t.id = q.k WHERE q.k BETWEEN 4 AND 8 ORDER BY 1

SELECT * FROM (SELECT quantity, id, rank() OVER (PARTITION BY quantity ORDER BY id, tenant_id) + 1 / (quantity - 3) AS r FROM orders) q WHERE quantity > 7 AND r < 4 ORDER BY 1, 2

SELECT tenant_id, id, r FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY id) + 0 * (1 / (tenant_id - 3)) AS r FROM orders) q WHERE tenant_id > 3 AND r = 1 ORDER BY 1

SELECT * FROM (SELECT DISTINCT quantity, 1 / (quantity - 3) AS s FROM orders) q WHERE quantity > 3 AND s IS NOT NULL ORDER BY 1

-- Not of grouping sets.
-- error: 22012
SELECT * FROM (SELECT quantity, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY ROLLUP (quantity)) q WHERE quantity <> 3

-- Nor where an outer join is between: what is looked at above it, or on its own side, is not the query's.
SELECT p.id, q.c, q.s FROM products p LEFT JOIN (SELECT quantity AS c, sum(1 / (quantity - 500)) AS s FROM orders GROUP BY 1) q ON q.c = p.id WHERE q.c IS NULL ORDER BY 1

SELECT p.id, q.c FROM products p LEFT JOIN (SELECT quantity AS c, sum(1 / (quantity - 500)) AS s FROM orders GROUP BY 1) q ON q.c = p.id WHERE coalesce(q.c, 3) = 3 ORDER BY 1

SELECT p.id, q.c FROM (SELECT quantity AS c, sum(1 / (quantity - 500)) AS s FROM orders GROUP BY 1) q LEFT JOIN products p ON q.c = p.id AND q.c < 5 ORDER BY 2, 1

SELECT p.id, q.c FROM products p FULL JOIN (SELECT quantity AS c, sum(1 / (quantity - 500)) AS s FROM orders GROUP BY 1) q ON q.c = p.id WHERE q.c IS NULL ORDER BY 1

SELECT p.id, a.s FROM (SELECT quantity AS id, sum(1 / (quantity - 500)) AS s FROM orders GROUP BY 1) a RIGHT JOIN products p USING (id) WHERE a.id IS NULL ORDER BY 1

SELECT p.id, q.c, q.s FROM products p LEFT JOIN (SELECT quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) q ON q.c = p.id AND q.c > 3 ORDER BY 1

-- What follows from conditions on others is looked at first as well.
SELECT q.c, q.s FROM (SELECT quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) q JOIN products p ON q.c = p.id WHERE p.id = 4

SELECT p.id, q.s FROM products p LEFT JOIN (SELECT quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) q ON q.c = p.id WHERE p.id = 4

SELECT q.c, q.s FROM (SELECT quantity AS id, quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) q JOIN products p USING (id) WHERE p.id = 4

SELECT * FROM (SELECT quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) q WHERE q.c = (SELECT max(id) - max(id) + 4 FROM products)

SELECT q.c, q.s, p.id FROM (SELECT quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) q, products p WHERE (q.c = 4 AND p.id = 1) OR (q.c = 5 AND p.id = 2) ORDER BY 1

SELECT q.c, q.s FROM (SELECT quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) q WHERE EXISTS (SELECT 1 FROM products p WHERE p.id = q.c AND p.id = 4)

SELECT b.c, b.s FROM (SELECT a.c, a.s FROM (SELECT quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) a) b JOIN (SELECT id AS k FROM products WHERE id = 4) p ON p.k = b.c

-- error: 22012
SELECT q.c, q.s FROM (SELECT quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) q JOIN products p ON q.c = p.id WHERE p.id > 4

-- Columns that give several rows, that have no type of their own, or that say which grouping a row is of.
SELECT * FROM (SELECT quantity AS c, generate_series(1, quantity) AS g, sum(1 / (quantity - 500)) AS s FROM orders GROUP BY 1) q WHERE g = 2 AND c < 4 ORDER BY 1

SELECT * FROM (SELECT 'a ' AS c, status, sum(1 / (quantity - 500)) AS s FROM orders GROUP BY 1, 2) q WHERE c <> 'a'::char(3) ORDER BY 2

SELECT * FROM (SELECT quantity AS c, grouping(quantity) AS g, sum(1 / (quantity - 500)) AS s FROM orders GROUP BY 1) q WHERE g = 0 AND c < 4 ORDER BY 1

-- error: 22012
WITH q AS MATERIALIZED (SELECT quantity AS c, sum(1 / (quantity - 3)) AS s FROM orders GROUP BY 1) SELECT * FROM q WHERE c > 3 ORDER BY 1

-- What Postgres takes apart goes below the groups as well.
SELECT q.c, p.id FROM (SELECT customer_id c, sum(1/(id-500)) s FROM orders GROUP BY 1) q, products p WHERE (q.c, p.id) = (-1, 6)

SELECT q.c, p.id FROM (SELECT customer_id c, sum(1/(id-500)) s FROM orders GROUP BY 1) q, products p WHERE q.c BETWEEN p.id AND -9

SELECT q.c FROM (SELECT customer_id c, count(*) n, sum(1/(id-500)) s FROM orders GROUP BY 1) q WHERE (q.c, q.n) = (-5, 3)

SELECT q.c, p.id FROM (SELECT customer_id c, sum(1/(id-500)) s FROM orders GROUP BY 1) q, products p WHERE NOT (q.c <> -5 OR p.id = 3)

SELECT k, s FROM (SELECT customer_id k, sum(1/(id+1)) s FROM orders GROUP BY 1) q JOIN (SELECT id::numeric AS k FROM products) p USING (k) WHERE k / 2 = 2.5
