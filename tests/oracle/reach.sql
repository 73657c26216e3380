-- How far a condition on the key reaches: over outer joins, out of queries in FROM, into rows, windows and DISTINCT ON.

SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id WHERE o.tenant_id = 8 ORDER BY 1, 2

SELECT c.id, o.id FROM orders o RIGHT JOIN customers c ON o.tenant_id = c.tenant_id AND o.customer_id = c.id WHERE o.tenant_id = 8 AND o.total > 100 ORDER BY 1, 2

SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id AND o.tenant_id = 8 WHERE c.id < 3 ORDER BY c.tenant_id, 1, 2

SELECT c.tenant_id, c.id FROM customers c LEFT JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id AND o.tenant_id = 8 WHERE o.id IS NULL ORDER BY 1, 2 LIMIT 20

SELECT c.tenant_id, c.id, o.id FROM customers c LEFT JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id WHERE o.tenant_id = 8 OR o.tenant_id IS NULL ORDER BY 1, 2, 3

SELECT c.tenant_id, c.id FROM customers c LEFT JOIN sparse s ON s.tenant_id = c.tenant_id AND s.id = c.id WHERE coalesce(s.v, 0) = 0 ORDER BY 1, 2 LIMIT 20

SELECT c.tenant_id, c.id, s.id FROM customers c LEFT JOIN sparse s ON s.tenant_id = c.tenant_id AND s.id = c.id WHERE (s.id, c.id) < (3, 5) ORDER BY 1, 2, 3

SELECT c.tenant_id, c.id FROM customers c LEFT JOIN sparse s ON s.tenant_id = c.tenant_id AND s.id = c.id AND s.tenant_id = 8 WHERE NOT (s.id = 3) ORDER BY 1, 2

SELECT c.tenant_id, c.id FROM customers c LEFT JOIN sparse s ON s.tenant_id = c.tenant_id AND s.id = c.id WHERE NOT (s.id = 3 AND c.id = 4) ORDER BY 1, 2 LIMIT 12

SELECT c.tenant_id, s.id, o.id FROM customers c LEFT JOIN sparse s ON s.tenant_id = c.tenant_id AND s.id = c.id LEFT JOIN orders o ON o.tenant_id = s.tenant_id AND o.id = s.id WHERE o.tenant_id = 3 ORDER BY 1, 2, 3

SELECT tenant_id, s.id, o.id FROM sparse s FULL JOIN orders o USING (tenant_id, id) WHERE tenant_id = 3 ORDER BY 1, 2, 3

SELECT tenant_id, id, s.v, o.total FROM sparse s FULL JOIN orders o USING (tenant_id, id) ORDER BY 1, 2

SELECT tenant_id, count(*), count(s.v), count(o.id) FROM sparse s FULL JOIN orders o USING (tenant_id) GROUP BY tenant_id ORDER BY 1

SELECT s.tenant_id, o.tenant_id, s.id, o.id FROM sparse s FULL JOIN orders o ON o.tenant_id = s.tenant_id AND o.id = s.id AND s.tenant_id = 3 ORDER BY 1, 2, 3, 4 LIMIT 50

SELECT s.id, o.id FROM sparse s FULL JOIN orders o ON o.tenant_id = s.tenant_id AND o.id = s.id WHERE s.tenant_id = 3 ORDER BY 1, 2

SELECT s.id, o.id FROM sparse s FULL JOIN orders o ON o.tenant_id = s.tenant_id AND o.id = s.id WHERE s.tenant_id = 3 OR o.tenant_id = 8 ORDER BY 1, 2

SELECT count(*), count(s.id), count(o.id) FROM sparse s FULL JOIN orders o ON o.tenant_id = s.tenant_id AND o.id = s.id

SELECT count(*), count(s.id), count(o.id) FROM sparse s FULL JOIN orders o ON o.id = s.id

SELECT tenant_id, o.id, s.id, c.id FROM sparse s FULL JOIN orders o USING (tenant_id, id) FULL JOIN customers c USING (tenant_id, id) WHERE tenant_id = 8 ORDER BY 1, 2, 3, 4

SELECT * FROM (SELECT tenant_id, id, v FROM sparse NATURAL FULL JOIN void) x WHERE tenant_id = 3 ORDER BY 2

SELECT p.sku, o.id FROM products p LEFT JOIN orders o ON o.id = p.id WHERE o.quantity > 3 ORDER BY 1, o.tenant_id, 2 LIMIT 20

SELECT p.sku, o.id FROM products p LEFT JOIN orders o ON o.id = p.id AND o.total > 800 WHERE o.quantity IS NULL ORDER BY 1, 2 LIMIT 20

SELECT o.id, v.k FROM orders o JOIN (VALUES (8)) v(k) ON o.tenant_id = v.k ORDER BY 1

SELECT o.tenant_id, o.id, v.w FROM orders o JOIN (VALUES (8, 'a'), (3, 'b'), (99, 'c')) v(k, w) ON o.tenant_id = v.k ORDER BY 1, 2, 3

SELECT o.id FROM orders o JOIN (VALUES (8), (NULL)) v(k) ON o.tenant_id = v.k ORDER BY 1

SELECT o.tenant_id, o.id FROM orders o JOIN (VALUES (8), (3.0)) v(k) ON o.tenant_id = v.k ORDER BY 1, 2

SELECT o.tenant_id, count(v.k) FROM orders o LEFT JOIN (VALUES (8)) v(k) ON o.tenant_id = v.k GROUP BY 1 ORDER BY 1

WITH x AS (SELECT 8 AS k) SELECT o.id FROM orders o, x WHERE o.tenant_id = x.k ORDER BY 1

-- params: 8
-- types: int4
WITH x AS (SELECT $1::int AS k) SELECT o.id, c.id FROM orders o JOIN customers c USING (tenant_id), x WHERE o.tenant_id = x.k AND o.id < 4 AND c.id < 4 ORDER BY 1, 2

SELECT key, value FROM kv JOIN (VALUES ('k1'), ('k2')) v(k) ON kv.key = v.k ORDER BY key COLLATE "C"

SELECT m.series FROM metrics m JOIN (SELECT DATE '2024-02-03' AS d) x ON m.day = x.d ORDER BY 1

-- error: 42883
SELECT m.series FROM metrics m JOIN (VALUES ('2024-02-03')) x(d) ON m.day = x.d ORDER BY 1

SELECT id FROM orders WHERE tenant_id = (SELECT 8) ORDER BY 1

SELECT id FROM orders WHERE tenant_id = (SELECT 8 WHERE false) ORDER BY 1

SELECT tenant_id, id FROM orders WHERE tenant_id IN ((SELECT 8), 3) ORDER BY 1, 2

SELECT tenant_id, id FROM orders WHERE tenant_id NOT IN ((SELECT 8), 3, 1) ORDER BY 1, 2 LIMIT 9

SELECT tenant_id, id FROM orders WHERE tenant_id IN ((SELECT 2.5), '8.0') ORDER BY 1, 2

SELECT tenant_id, id FROM orders WHERE tenant_id IN ((SELECT max(id) FROM products WHERE id < 9), 3) ORDER BY 1, 2

SELECT id FROM orders WHERE ROW(tenant_id, id) = ROW(8, 3)

SELECT id FROM orders WHERE (tenant_id, id) = ROW(8, 3)

SELECT tenant_id, id FROM orders WHERE ROW(id, tenant_id) IN (ROW(1, 8), (2, 3)) ORDER BY 1, 2

SELECT o.id, i.line FROM orders o JOIN order_items i ON ROW(o.tenant_id, o.id) = ROW(i.tenant_id, i.order_id) WHERE i.tenant_id = 8 ORDER BY 1, 2

SELECT tenant_id, id FROM orders WHERE ROW(tenant_id, id) >= ROW(8, 3) ORDER BY 1, 2 LIMIT 9

SELECT id, n FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY id DESC) AS n FROM orders) x WHERE tenant_id = 8 AND n < 4 ORDER BY n

SELECT id, n, s FROM (SELECT tenant_id, id, rank() OVER w AS n, sum(quantity) OVER (PARTITION BY status, tenant_id) AS s FROM orders WINDOW w AS (PARTITION BY tenant_id ORDER BY id)) x WHERE tenant_id = 8 ORDER BY 1

SELECT id, n FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY id ORDER BY tenant_id) AS n FROM orders) x WHERE tenant_id = 8 ORDER BY 1

SELECT id, n FROM (SELECT tenant_id, id, row_number() OVER (PARTITION BY tenant_id ORDER BY id), rank() OVER (ORDER BY tenant_id, id) AS n FROM orders) x WHERE tenant_id = 8 ORDER BY 1

SELECT id FROM (SELECT DISTINCT ON (tenant_id) tenant_id, id FROM orders ORDER BY tenant_id, id DESC) x WHERE tenant_id = 8

SELECT id, tenant_id FROM (SELECT DISTINCT ON (id) tenant_id, id FROM orders ORDER BY id, tenant_id DESC) x WHERE tenant_id = 8 ORDER BY 1

SELECT * FROM (SELECT DISTINCT ON (tenant_id) id AS tenant_id, tenant_id AS t FROM orders ORDER BY tenant_id, t DESC) x WHERE t = 8 ORDER BY 1

SELECT x.tenant_id, x.id, c.name FROM (SELECT DISTINCT ON (o.tenant_id) o.tenant_id, o.customer_id, o.id FROM orders o ORDER BY o.tenant_id, o.id DESC) x LEFT JOIN customers c ON c.tenant_id = x.tenant_id AND c.id = x.customer_id ORDER BY 1

SELECT id FROM orders WHERE tenant_id = abs(-8) ORDER BY 1

SELECT id FROM orders WHERE tenant_id = greatest(3, 8, -9) AND id < 5 ORDER BY 1

SELECT id FROM orders WHERE tenant_id = coalesce(nullif(3, 3), 8) ORDER BY 1

SELECT count(*) FROM orders WHERE tenant_id = least(8, 9) + nullif(1, 1)

SELECT id FROM orders WHERE tenant_id = length('12345678') ORDER BY 1

SELECT count(*) FROM orders WHERE tenant_id = length('äöü')

-- error: 22003
SELECT count(*) FROM orders WHERE tenant_id = abs((-2147483648)::int)

-- params: 8
-- types: int4
SELECT id FROM orders WHERE tenant_id = coalesce($1, 3) ORDER BY 1

-- params: NULL
-- types: int4
SELECT id FROM orders WHERE tenant_id = coalesce($1, 3) ORDER BY 1

-- params: 8
SELECT id FROM orders WHERE tenant_id = coalesce($1, 3) ORDER BY 1

SELECT series FROM metrics WHERE day = DATE '2024-02-01' + 4 ORDER BY 1

SELECT series FROM metrics WHERE day = '2024-02-09'::date - 4 ORDER BY 1

SELECT series FROM metrics WHERE day = '2024-02-05 23:59:59.999999'::timestamp::date ORDER BY 1

SELECT series FROM metrics WHERE day = timestamp '2024-02-05 00:00'::date + 1 ORDER BY 1

SELECT count(*) FROM metrics WHERE day BETWEEN DATE '2024-01-31' + 1 AND DATE '2024-02-01' + 5

-- error: 22008
SELECT count(*) FROM metrics WHERE day = DATE '5874897-12-31' + 1

SELECT count(*) FROM metrics WHERE day = DATE 'infinity' + 1

SELECT count(*) FROM metrics WHERE day = DATE 'now' + 1

-- error: 42883
SELECT count(*) FROM kv WHERE key = 5

-- error: 22P02
SELECT count(*) FROM orders WHERE tenant_id = 'five'
