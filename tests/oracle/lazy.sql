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
