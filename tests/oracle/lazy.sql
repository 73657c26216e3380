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
