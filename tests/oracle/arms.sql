-- Queries that a set operation puts together, of which the shards make partial groups, rows that differ and first rows.

SELECT 'orders' AS what, count(*), max(id), sum(quantity) FROM orders UNION ALL SELECT 'items', count(*), max(order_id), avg(price) FROM order_items ORDER BY 1

SELECT status, count(*) FROM orders GROUP BY status UNION ALL SELECT country, count(*) FROM customers GROUP BY country HAVING count(*) > 2 ORDER BY 1, 2

SELECT status AS s, count(*) AS n FROM orders GROUP BY status UNION ALL SELECT country, count(*) FROM customers GROUP BY country ORDER BY n, s

-- One Postgres says what it is: no order of an expression.
-- error: 0A000
SELECT status FROM orders UNION SELECT country FROM customers ORDER BY lower(status)

SELECT note FROM orders UNION SELECT name FROM customers ORDER BY 1

SELECT note FROM orders UNION SELECT name FROM customers ORDER BY note DESC NULLS LAST LIMIT 5 OFFSET 1

SELECT note, quantity FROM orders UNION ALL SELECT name, level FROM customers ORDER BY 1, 2 LIMIT 9

SELECT note, tenant_id FROM orders UNION ALL SELECT name, tenant_id FROM customers ORDER BY note DESC, tenant_id LIMIT 6 OFFSET 3
-- ties

SELECT quantity FROM orders UNION SELECT quantity FROM order_items ORDER BY 1 LIMIT 3

SELECT quantity FROM orders INTERSECT SELECT level FROM customers ORDER BY 1

SELECT quantity FROM order_items EXCEPT SELECT level FROM customers ORDER BY 1 LIMIT 4

SELECT quantity FROM order_items EXCEPT ALL SELECT quantity FROM orders ORDER BY 1

SELECT quantity FROM order_items INTERSECT ALL SELECT quantity FROM orders ORDER BY 1

SELECT quantity FROM orders UNION ALL (SELECT quantity FROM order_items EXCEPT SELECT level FROM customers) ORDER BY 1 LIMIT 12

(SELECT quantity FROM orders UNION ALL SELECT level FROM customers) EXCEPT ALL SELECT quantity FROM order_items ORDER BY 1

(SELECT quantity FROM orders UNION ALL SELECT level FROM customers) UNION SELECT quantity FROM order_items ORDER BY 1 LIMIT 5

(SELECT quantity FROM orders EXCEPT ALL SELECT level FROM customers) UNION SELECT 77 ORDER BY 1

-- Other types meet in a third one: numbers that differ as one are one as another.
SELECT id FROM orders UNION SELECT quantity FROM order_items ORDER BY 1 LIMIT 4

SELECT total FROM orders UNION SELECT quantity FROM order_items ORDER BY 1 LIMIT 7

SELECT 9007199254740992 + id FROM orders UNION SELECT score FROM customers WHERE score < 3 ORDER BY 1 LIMIT 5

SELECT country FROM customers UNION SELECT status FROM orders ORDER BY 1 LIMIT 8

SELECT day FROM metrics UNION SELECT placed FROM orders ORDER BY 1 LIMIT 5

SELECT total FROM orders UNION SELECT price FROM order_items ORDER BY 1 LIMIT 20

SELECT count(*) FROM (SELECT ci FROM odd UNION SELECT note FROM odd) q

-- What has no type of its own has that of the others.
SELECT NULL, note, 1 FROM orders UNION SELECT level, 'x', 2 FROM customers ORDER BY 1, 2, 3

SELECT NULL AS a, count(*) FROM orders UNION ALL SELECT DISTINCT born, level FROM customers ORDER BY 1, 2 LIMIT 9

-- A text is one where it is grouped by.
-- error: 42804
SELECT '7', status FROM orders GROUP BY 1, 2 UNION ALL SELECT quantity, status FROM orders GROUP BY 1, 2 ORDER BY 1, 2

(SELECT '2', note FROM orders ORDER BY id, tenant_id LIMIT 4) UNION ALL SELECT level, name FROM customers WHERE level > 2 ORDER BY 1, 2

-- params: 3, 'zz'
SELECT $1, note FROM orders WHERE quantity > 3 UNION SELECT level, $2 FROM customers ORDER BY 1, 2

-- params: 3, 2
(SELECT id FROM orders ORDER BY total DESC NULLS LAST, id, tenant_id LIMIT $1) UNION ALL (SELECT id FROM customers ORDER BY balance NULLS FIRST, id, tenant_id LIMIT $2 OFFSET $1) ORDER BY 1

-- params: 4, 1
SELECT name FROM customers UNION SELECT note FROM orders ORDER BY name LIMIT $1 OFFSET $2

-- params: NULL
SELECT name FROM customers UNION SELECT note FROM orders ORDER BY name LIMIT $1

-- error: 2201W
SELECT name FROM customers UNION SELECT note FROM orders ORDER BY name LIMIT -1

SELECT name FROM customers UNION SELECT note FROM orders ORDER BY name LIMIT 0

SELECT name FROM customers UNION SELECT note FROM orders ORDER BY 1 FETCH FIRST 2 ROWS WITH TIES

-- Names and numbers of columns
SELECT a.name AS "Na""me", a.id AS limit FROM customers a JOIN orders o ON o.tenant_id = a.tenant_id AND o.customer_id = a.id UNION SELECT p.name, p.id FROM products p ORDER BY "Na""me", 2

SELECT a.name AS as, a.level AS union FROM customers a UNION SELECT note, quantity FROM orders ORDER BY 1, 2 LIMIT 5

SELECT * FROM sparse UNION SELECT tenant_id, id::int, quantity, status FROM orders ORDER BY 1, 2, 3, 4 LIMIT 10

SELECT c.* FROM countries c UNION SELECT country, max(name) FROM customers GROUP BY country ORDER BY 1, 2

-- Within others
SELECT id FROM customers WHERE level IN (SELECT quantity FROM orders UNION SELECT quantity FROM order_items WHERE price > 50) ORDER BY tenant_id, id

SELECT count(*), min(n) FROM (SELECT note AS n FROM orders UNION SELECT name FROM customers) u

SELECT n, count(*) FROM (SELECT note AS n FROM orders UNION ALL SELECT name FROM customers) u GROUP BY n ORDER BY n

WITH u AS (SELECT note AS n, quantity FROM orders UNION SELECT name, level FROM customers) SELECT a.n, count(*) FROM u a JOIN u b ON a.quantity = b.quantity GROUP BY a.n ORDER BY 1

SELECT t.id, (SELECT count(*) FROM (SELECT quantity FROM orders o UNION SELECT level FROM customers) q WHERE q.quantity > t.id) FROM tenants t ORDER BY 1

SELECT t.id, ARRAY(SELECT quantity FROM orders o WHERE o.id = t.id UNION SELECT level FROM customers c WHERE c.id = t.id ORDER BY 1) FROM tenants t ORDER BY 1

SELECT id FROM tenants t WHERE EXISTS (SELECT quantity FROM orders o WHERE o.id = t.id INTERSECT SELECT level FROM customers) ORDER BY 1

SELECT who FROM top_customers UNION SELECT note FROM orders UNION SELECT name FROM product_names ORDER BY 1

SELECT tenant_id, total FROM big_orders UNION ALL SELECT quantity, count(*) FROM order_items GROUP BY quantity ORDER BY 1, 2

-- What a LIMIT leaves out is not computed.
SELECT 1 FROM orders UNION ALL SELECT 1 / (level - level) FROM customers LIMIT 1

SELECT 1 FROM orders UNION ALL SELECT sum(1 / (level - level)) FROM customers LIMIT 1

SELECT count(*) FROM (SELECT 1 FROM orders UNION ALL SELECT DISTINCT 1 / (level - level) FROM customers LIMIT 2) q

-- error: 22012
SELECT 1 FROM orders UNION ALL SELECT sum(1 / (level - level)) FROM customers

-- The time is one.
SELECT now() > '2020-01-01', count(*) FROM orders WHERE placed < now() UNION SELECT true, count(*) FROM customers WHERE created < now() ORDER BY 1, 2

SELECT random() < 2, note FROM orders UNION SELECT true, name FROM customers ORDER BY 1, 2

COPY (SELECT note FROM orders UNION SELECT name FROM customers ORDER BY 1) TO STDOUT

-- A literal that a query sorts by is a text, whatever stands beside it.
SELECT count(DISTINCT a) FROM ((SELECT 'TIM' AS a, id FROM orders ORDER BY 1, 2 LIMIT 1) UNION ALL SELECT status::citext, id FROM orders UNION ALL SELECT upper(status)::citext, id FROM orders) q

SELECT count(DISTINCT a) FROM ((SELECT DISTINCT 'TIM' AS a, id FROM orders ORDER BY a, 2 LIMIT 1) UNION ALL SELECT status::citext, id FROM orders UNION ALL SELECT upper(status)::citext, id FROM orders) q

-- What another query calls by the same name is not read here.
SELECT count(*), count(c.level) FROM (SELECT id, sum(1 / (quantity - quantity)) AS level FROM orders GROUP BY id) q JOIN customers c ON c.id = q.id

-- A collation of its own in one of the queries sorts the rows of all.
SELECT name FROM customers UNION ALL SELECT nick FROM customers ORDER BY 1 DESC LIMIT 15

SELECT nick AS n FROM customers UNION SELECT name FROM customers ORDER BY n LIMIT 9

-- Rows that a function makes of one are no keys, and DISTINCT ON sorts by itself.
SELECT tenant_id, id, generate_series(1, 3) > 0 FROM orders UNION SELECT tenant_id, id, true FROM customers ORDER BY 1, 2 LIMIT 24

SELECT DISTINCT ON (quantity) quantity, quantity + 0 FROM orders UNION ALL SELECT level, level FROM customers ORDER BY 2, 1 LIMIT 3

SELECT substr(note, 1, 2), count(*) FROM orders GROUP BY substr(note, 1, 2) ORDER BY 1

SELECT substr(note, 1, 2) FROM orders UNION SELECT 'x' ORDER BY 1
