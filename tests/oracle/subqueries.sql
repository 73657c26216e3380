-- CTEs, derived tables, EXISTS, scalar subqueries.

WITH x AS (SELECT * FROM orders WHERE tenant_id = 1) SELECT count(*), max(id) FROM x

WITH x AS (SELECT id, total FROM orders WHERE tenant_id = 1 AND total > 100) SELECT id FROM x ORDER BY total DESC, id LIMIT 3

WITH x AS (SELECT tenant_id, id FROM orders) SELECT id FROM x WHERE tenant_id = 8 ORDER BY id

WITH x AS (SELECT tenant_id, id FROM orders WHERE total > 900) SELECT count(*) FROM x

WITH x AS MATERIALIZED (SELECT tenant_id, id FROM orders WHERE tenant_id = 8) SELECT * FROM x ORDER BY id

WITH a AS (SELECT 5 AS id), b AS (SELECT t.name FROM tenants t JOIN a USING (id)) SELECT * FROM b

WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT sum(n) FROM r

WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT r.n, t.name FROM r JOIN tenants t ON t.id = r.n ORDER BY 1

SELECT * FROM (SELECT tenant_id, id, total FROM orders WHERE tenant_id = 8) s ORDER BY id

SELECT * FROM (SELECT tenant_id, id, total FROM orders) s WHERE s.tenant_id = 8 ORDER BY id

SELECT * FROM (SELECT tenant_id AS t, id FROM orders) s WHERE t = 8 ORDER BY id

SELECT tenant_id, n FROM (SELECT tenant_id, count(*) AS n FROM orders GROUP BY tenant_id) s WHERE n > 20 ORDER BY 1

SELECT max(n) FROM (SELECT tenant_id, count(*) AS n FROM orders GROUP BY tenant_id) s

SELECT max(n) FROM (SELECT status, count(*) AS n FROM orders GROUP BY status) s

SELECT count(*) FROM (SELECT DISTINCT status FROM orders) s

SELECT count(*) FROM (SELECT id FROM orders ORDER BY id LIMIT 10) s

SELECT id FROM (SELECT tenant_id, id FROM orders ORDER BY id LIMIT 10) s WHERE tenant_id = 1 ORDER BY id

SELECT id, name FROM tenants t WHERE EXISTS (SELECT 1 FROM orders o WHERE o.tenant_id = t.id AND o.total > 1150) ORDER BY id

SELECT id, name FROM tenants t WHERE NOT EXISTS (SELECT FROM orders o WHERE o.tenant_id = t.id) ORDER BY id

SELECT id FROM tenants t WHERE id IN (SELECT tenant_id FROM orders WHERE total > 1150) ORDER BY id

SELECT id FROM tenants t WHERE id NOT IN (SELECT tenant_id FROM orders WHERE total > 300) ORDER BY id

SELECT count(*) FROM tenants WHERE 100 < (SELECT count(*) FROM orders)

SELECT id, (SELECT count(*) FROM orders o WHERE o.tenant_id = t.id) FROM tenants t ORDER BY id LIMIT 12

SELECT id, (SELECT max(id) FROM orders) FROM tenants WHERE id = 5

SELECT (SELECT name FROM tenants WHERE id = 5), (SELECT name FROM tenants WHERE id = 6)

SELECT (SELECT name FROM tenants WHERE id = 5), (SELECT count(*) FROM orders WHERE tenant_id = 5)

SELECT id FROM orders WHERE tenant_id = (SELECT max(id) FROM products WHERE id < 9) ORDER BY id

SELECT id FROM orders o WHERE tenant_id = 1 AND total = (SELECT max(total) FROM orders WHERE tenant_id = 1) ORDER BY id

SELECT id FROM orders o WHERE tenant_id = 1 AND total > (SELECT avg(total) FROM orders) ORDER BY id LIMIT 5

SELECT id FROM orders o WHERE tenant_id = 1 AND customer_id IN (SELECT id FROM customers c WHERE c.tenant_id = o.tenant_id AND active) ORDER BY id

SELECT id FROM orders o WHERE tenant_id = 1 AND EXISTS (SELECT 1 FROM orders p WHERE p.tenant_id = 2 AND p.total > o.total) ORDER BY id LIMIT 5

SELECT ARRAY(SELECT id FROM orders WHERE tenant_id = 8 ORDER BY id)

SELECT sku FROM products WHERE id IN (SELECT product_id FROM order_items WHERE tenant_id = 8) ORDER BY sku

SELECT sku FROM products p WHERE NOT EXISTS (SELECT 1 FROM order_items i WHERE i.product_id = p.id) ORDER BY sku

SELECT name FROM settings WHERE value = (SELECT max(id)::text FROM notes)

SELECT t.id, x.total FROM tenants t JOIN (SELECT tenant_id, sum(total) AS total FROM orders GROUP BY tenant_id) x ON x.tenant_id = t.id ORDER BY 1

-- error: 21000
SELECT (SELECT id FROM orders WHERE tenant_id = 1)

SELECT * FROM big_orders WHERE tenant_id = 8 ORDER BY id

SELECT count(*) FROM big_orders

SELECT name FROM product_names WHERE id = 3

SELECT order_count()

SELECT twice(21)

-- Set operations that begin with a parenthesis, and VALUES as a value.
SELECT id FROM tenants WHERE id = ANY ((SELECT id FROM products) INTERSECT SELECT tenant_id FROM orders) ORDER BY id

SELECT id FROM tenants WHERE id < ALL ((SELECT tenant_id FROM orders WHERE total > 900) EXCEPT SELECT 3) ORDER BY id

SELECT count(*) FROM orders WHERE total >= SOME ((SELECT price FROM products) UNION ALL (SELECT budget FROM tenants))

SELECT name FROM tenants WHERE id = (VALUES (3))

SELECT count(*) FROM orders WHERE tenant_id = (VALUES (3)) AND total > (VALUES (2 + 3))

-- params: 5
SELECT id FROM tenants WHERE id >= (VALUES ($1::int)) ORDER BY id LIMIT 3

-- error: 21000
SELECT count(*) FROM orders WHERE total > (VALUES (3), (4))
