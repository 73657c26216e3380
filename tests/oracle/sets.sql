-- Set operations and recursion along the sharding key, and those that only look so.

SELECT tenant_id, id FROM orders UNION SELECT tenant_id, order_id FROM order_items ORDER BY 1, 2 LIMIT 40 OFFSET 3

SELECT tenant_id, id FROM customers EXCEPT SELECT tenant_id, customer_id FROM orders ORDER BY tenant_id, id

SELECT tenant_id, customer_id FROM orders INTERSECT ALL SELECT tenant_id, id FROM customers ORDER BY 2 DESC, 1

SELECT tenant_id, status FROM orders EXCEPT ALL SELECT tenant_id, status FROM orders WHERE total > 300 ORDER BY 1, 2

SELECT tenant_id, quantity FROM orders UNION ALL SELECT tenant_id, quantity FROM order_items

SELECT id FROM orders UNION ALL SELECT order_id FROM order_items ORDER BY id DESC LIMIT 7

-- params: 3, 2
SELECT tenant_id, id FROM orders UNION ALL SELECT tenant_id, id FROM customers ORDER BY 1 DESC, 2 LIMIT $1 OFFSET $2

SELECT tenant_id, count(*) FROM orders GROUP BY tenant_id UNION SELECT tenant_id, count(*) FROM order_items GROUP BY tenant_id ORDER BY 1, 2

SELECT id FROM tenants EXCEPT SELECT tenant_id FROM orders ORDER BY 1

SELECT tenant_id, id::int FROM orders INTERSECT SELECT 1, id FROM products ORDER BY 1, 2

SELECT tenant_id, customer_id FROM orders EXCEPT SELECT t.n, p.id FROM products p, generate_series(1, 4) t(n) ORDER BY 1, 2

SELECT tenant_id, id FROM orders UNION ALL SELECT id, 0 FROM products

SELECT tenant_id FROM orders UNION SELECT id FROM products ORDER BY 1

SELECT id FROM products EXCEPT SELECT tenant_id FROM orders ORDER BY 1

SELECT id FROM orders UNION SELECT order_id FROM order_items ORDER BY 1

SELECT count(*), sum(id) FROM (SELECT id FROM orders UNION ALL SELECT order_id FROM order_items) u

SELECT tenant_id, count(*) AS n, max(id) FROM (SELECT tenant_id, id FROM orders UNION SELECT tenant_id, id FROM customers) u GROUP BY tenant_id ORDER BY 1

SELECT id FROM (SELECT tenant_id, id FROM orders UNION ALL SELECT tenant_id, id FROM customers) u WHERE tenant_id = 8 ORDER BY 1

SELECT * FROM (SELECT tenant_id, id FROM orders UNION ALL SELECT 8, id FROM products) u WHERE tenant_id = 8 ORDER BY 1, 2

SELECT * FROM (SELECT tenant_id, id FROM orders UNION ALL SELECT 2.5, 1) u WHERE tenant_id = '8.0' ORDER BY 2

SELECT tenant_id, id FROM orders WHERE tenant_id = 1 EXCEPT SELECT tenant_id, order_id FROM order_items ORDER BY 2

SELECT tenant_id FROM orders WHERE tenant_id = 1 UNION SELECT tenant_id FROM customers ORDER BY 1

SELECT u.id, c.name FROM (SELECT tenant_id, customer_id AS id FROM orders EXCEPT SELECT tenant_id, id FROM customers WHERE active) u JOIN customers c ON c.tenant_id = u.tenant_id AND c.id = u.id ORDER BY c.tenant_id, u.id

SELECT u.a, u.b, t.name FROM (SELECT tenant_id AS a, quantity AS b FROM orders UNION ALL SELECT tenant_id, tenant_id FROM order_items) u JOIN tenants t ON t.id = u.b WHERE u.b < 6 ORDER BY 1, 2 LIMIT 30

SELECT t.id, x.id FROM tenants t, LATERAL (SELECT id FROM orders o WHERE o.tenant_id = t.id UNION SELECT id FROM customers c WHERE c.tenant_id = t.id) x ORDER BY 1, 2 LIMIT 30

SELECT p.sku, x.n FROM products p, LATERAL (SELECT count(*) AS n FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id LIMIT 1) x ORDER BY 1 LIMIT 4

SELECT count(*) FROM products p, LATERAL (SELECT o.id FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id LIMIT 1) x

SELECT id FROM tenants t WHERE EXISTS (SELECT FROM (SELECT tenant_id FROM orders INTERSECT SELECT tenant_id FROM sparse) u WHERE u.tenant_id = t.id) ORDER BY 1

SELECT tenant_id, id FROM customers WHERE (tenant_id, id) IN (SELECT tenant_id, customer_id FROM orders UNION SELECT tenant_id, id FROM sparse) ORDER BY 1, 2 LIMIT 25

SELECT id FROM customers WHERE id IN (SELECT customer_id FROM orders EXCEPT SELECT id FROM sparse) ORDER BY 1 LIMIT 25

WITH u AS (SELECT tenant_id, id FROM orders UNION SELECT tenant_id, id FROM customers) SELECT a.tenant_id, count(*) FROM u a JOIN u b USING (tenant_id) WHERE a.id < 5 AND b.id < 5 GROUP BY 1 ORDER BY 1

SELECT * FROM ((SELECT tenant_id, id FROM orders ORDER BY id, tenant_id LIMIT 5) UNION ALL SELECT tenant_id, id FROM sparse) u ORDER BY 1, 2

(SELECT tenant_id, id FROM orders INTERSECT SELECT tenant_id, id FROM customers) UNION (SELECT tenant_id, id FROM sparse EXCEPT SELECT tenant_id, id FROM orders) ORDER BY 1, 2 LIMIT 30

SELECT tenant_id, name FROM customers UNION SELECT tenant_id, note FROM orders ORDER BY 2, 1 LIMIT 20

SELECT key, value FROM kv EXCEPT SELECT key, value FROM kv WHERE version > 2 ORDER BY key COLLATE "C"

SELECT day, series FROM metrics WHERE day < '2024-02-15' EXCEPT SELECT day, series FROM metrics WHERE value > 50 ORDER BY 1, 2

SELECT tenant_id, NULL::int AS n FROM orders UNION SELECT tenant_id, quantity FROM orders WHERE quantity IS NULL ORDER BY 1

SELECT tenant_id, id FROM big_orders UNION SELECT tenant_id, id FROM sparse ORDER BY 1, 2 LIMIT 20

-- ties
SELECT tenant_id, total FROM orders UNION SELECT tenant_id, price FROM order_items ORDER BY 1

-- Rows that a query makes of its own.
WITH RECURSIVE p AS (SELECT tenant_id, id, 1 AS depth FROM orders WHERE tenant_id = 1 AND id < 4 UNION ALL SELECT o.tenant_id, o.id, p.depth + 1 FROM p JOIN orders o ON o.tenant_id = p.tenant_id AND o.id = p.id * 2 WHERE p.depth < 6) SELECT * FROM p ORDER BY 1, 2, 3

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE id < 3 UNION SELECT p.t, o.id FROM orders o, p WHERE o.tenant_id = p.t AND o.id = p.i + 2) SELECT t, count(*), max(i) FROM p GROUP BY t ORDER BY t

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE id < 3 UNION SELECT p.t, o.id FROM orders o, p WHERE o.tenant_id = p.t AND o.id = p.i + 2) SELECT i FROM p WHERE t = 8 ORDER BY 1

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE id < 3 UNION ALL SELECT p.t, o.id FROM orders o, p WHERE o.tenant_id = p.t AND o.id = p.i * 2) SELECT p.t, p.i, c.name FROM p JOIN customers c ON c.tenant_id = p.t AND c.id = p.i ORDER BY 1, 2, 3 LIMIT 40

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE id = 1 UNION ALL SELECT p.t, p.i + 1 FROM p WHERE i < 5) SELECT * FROM p ORDER BY 1, 2

WITH RECURSIVE p(i) AS (SELECT id FROM orders WHERE id < 3 UNION ALL SELECT p.i + 1 FROM p WHERE i < 5) SELECT i, count(*) FROM p GROUP BY i ORDER BY i

WITH RECURSIVE p(i) AS (SELECT id FROM orders WHERE id < 3 UNION SELECT p.i + 1 FROM p WHERE i < 9) SELECT * FROM p ORDER BY i

-- Rows of other tenants come of them.
WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE tenant_id = 1 AND id < 3 UNION SELECT o.tenant_id, o.id FROM orders o, p WHERE o.id = p.i + 1 AND o.tenant_id < 6 AND p.i < 4) SELECT * FROM p ORDER BY 1, 2

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE tenant_id < 3 AND id < 3 UNION SELECT o.tenant_id, o.id FROM orders o, p WHERE o.id = p.i AND o.tenant_id = p.t + 1) SELECT i FROM p WHERE t = 5 ORDER BY 1

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id::int FROM orders WHERE id < 4 UNION SELECT p.i, p.t FROM p, orders o WHERE o.tenant_id = p.t) SELECT * FROM p ORDER BY 1, 2

WITH RECURSIVE p(t, d) AS (SELECT tenant_id, 0 FROM orders WHERE id = 1 UNION SELECT t.id, d + 1 FROM p JOIN tenants t ON t.id = p.t WHERE d < 3) SELECT * FROM p ORDER BY 1, 2

WITH RECURSIVE p(t, d) AS (SELECT tenant_id, 0 FROM orders WHERE id = 1 UNION ALL SELECT o.customer_id::int, d + 1 FROM p JOIN orders o ON o.tenant_id = p.t WHERE d < 2 AND o.id = 2) SELECT * FROM p WHERE t = 5 ORDER BY 1, 2

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE id < 3 UNION ALL SELECT p.t, o.id FROM p JOIN orders o ON o.tenant_id = p.t AND o.id = p.i * 2 WHERE NOT EXISTS (SELECT FROM sparse s WHERE s.tenant_id = p.t AND s.id = p.i)) SELECT t, sum(i) FROM p GROUP BY t ORDER BY t

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE id < 3 UNION ALL SELECT p.t, c.id FROM p LEFT JOIN customers c ON c.tenant_id = p.t AND c.id = p.i + 1 WHERE p.i < 6) SELECT t, count(*), count(i) FROM p GROUP BY t ORDER BY t

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE id < 3 UNION ALL SELECT p.t, o.id FROM orders o, p WHERE o.tenant_id = p.t AND o.id = p.i * 2) SEARCH DEPTH FIRST BY i SET ord SELECT t, i FROM p WHERE t < 4 ORDER BY t, ord

WITH RECURSIVE p(t, i) AS (SELECT tenant_id, id FROM orders WHERE id < 3 UNION ALL SELECT p.t, o.id % 3 FROM orders o, p WHERE o.tenant_id = p.t AND o.id = p.i + 1) CYCLE i SET again USING path SELECT t, i, again FROM p WHERE t = 8 ORDER BY 1, 2, 3

-- Recursion in parentheses is recursion.
WITH RECURSIVE p(t, i) AS ((SELECT id, id FROM tenants WHERE id = 1 UNION ALL SELECT o.id, o.id FROM tenants o JOIN p ON o.id = p.t + 1 WHERE o.id < 20)) SELECT count(*) FROM p

WITH RECURSIVE p(t, i) AS ((SELECT id, id FROM tenants WHERE id = 1 UNION ALL SELECT o.id, o.id FROM tenants o JOIN p ON o.id = p.t + 1 WHERE o.id < 20)) SELECT * FROM p WHERE t = 3

WITH RECURSIVE p(t, i) AS (((SELECT tenant_id, id FROM orders WHERE tenant_id = 3) UNION SELECT o.tenant_id, o.customer_id FROM orders o JOIN p ON o.tenant_id = p.t AND o.id = p.i)) SELECT t, count(*) FROM p GROUP BY t
