-- Statements on which routers that guess answer wrongly (the routing contract).

-- A key in an outer join's ON doesn't restrict the preserved side.
SELECT t.id, o.id FROM tenants t LEFT JOIN orders o ON o.tenant_id = t.id AND o.tenant_id = 8 ORDER BY 1, 2

SELECT t.id, o.id FROM tenants t LEFT JOIN orders o ON o.tenant_id = t.id AND t.id = 8 ORDER BY 1, 2 NULLS FIRST

SELECT count(*) FROM tenants t LEFT JOIN customers c ON c.tenant_id = t.id AND t.id = 5

SELECT count(*) FROM customers c RIGHT JOIN tenants t ON c.tenant_id = t.id AND c.tenant_id = 5

SELECT count(*) FROM tenants t FULL JOIN sparse s ON s.tenant_id = t.id AND t.id = 3 AND s.tenant_id = 3

-- but its WHERE does
SELECT t.id, o.id FROM tenants t LEFT JOIN orders o ON o.tenant_id = t.id WHERE t.id = 8 ORDER BY 2

SELECT t.id, o.id FROM tenants t LEFT JOIN orders o ON o.tenant_id = t.id WHERE o.tenant_id = 8 ORDER BY 2

SELECT p.id, i.tenant_id FROM products p LEFT JOIN order_items i ON i.product_id = p.id AND i.tenant_id = 8 WHERE p.id < 12 ORDER BY 1, i.order_id, i.line

SELECT p.id, s.id FROM products p LEFT JOIN sparse s ON s.tenant_id = 4 AND s.id = p.id WHERE p.id < 5 ORDER BY 1

-- Inside CASE, a select list, EXISTS, another level: nothing restricts.
SELECT id FROM tenants WHERE CASE WHEN id = 5 THEN true ELSE id > 38 END ORDER BY id

SELECT id, id = 5 FROM tenants WHERE id < 7 ORDER BY id

SELECT count(*) FILTER (WHERE id = 5) FROM tenants

SELECT id FROM tenants WHERE EXISTS (SELECT 1 FROM orders WHERE tenant_id = 8) ORDER BY id LIMIT 3

SELECT id FROM tenants WHERE EXISTS (SELECT 1 FROM orders WHERE tenant_id = 8 AND id = -1)

SELECT id FROM tenants WHERE id IN (SELECT tenant_id FROM orders WHERE tenant_id = 8 OR total > 1180) ORDER BY id

SELECT id FROM tenants t WHERE id = 5 AND EXISTS (SELECT 1 FROM orders WHERE total > 1190)

SELECT t.id FROM tenants t WHERE t.id = 5 AND (SELECT count(*) FROM orders) > 0

SELECT t.id FROM tenants t WHERE (SELECT t.id = 5)

-- Two tables, two keys.
SELECT count(*) FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.tenant_id = 1 AND c.tenant_id = 1

SELECT count(*) FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.tenant_id = 1

SELECT count(*) FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.tenant_id = 1 AND c.tenant_id = 2

SELECT count(*) FROM orders o JOIN kv ON kv.version = o.quantity WHERE o.tenant_id = 1 AND kv.key = 'key42'

SELECT count(*) FROM orders o JOIN events e ON e.seq = o.quantity

SELECT count(*) FROM orders o JOIN order_items i ON i.order_id = o.id

-- NOT IN and NULL: one shard's NULL decides over all.
SELECT count(*) FROM tenants WHERE id NOT IN (SELECT customer_id FROM orders)

SELECT count(*) FROM tenants WHERE id NOT IN (SELECT customer_id FROM orders WHERE customer_id IS NOT NULL)

SELECT count(*) FROM tenants t WHERE seats NOT IN (SELECT v FROM sparse)

SELECT count(*) FROM tenants t WHERE seats > ALL (SELECT v FROM sparse WHERE v IS NOT NULL)

-- OR across columns.
SELECT tenant_id, id FROM orders WHERE tenant_id = 8 OR id = 311 ORDER BY 1, 2

SELECT tenant_id, id FROM orders WHERE tenant_id = 8 OR (id = 311 AND tenant_id = 1) ORDER BY 1, 2

SELECT t.id, s.id FROM tenants t JOIN sparse s ON s.tenant_id = t.id OR s.id = t.id WHERE t.id < 5 ORDER BY 1, 2

-- LIMIT below a group, a distinct, a window; ORDER BY that the shards can't see.
SELECT count(*) FROM (SELECT id FROM tenants LIMIT 10) s

SELECT status, count(*) FROM orders GROUP BY status ORDER BY count(*), status LIMIT 1

SELECT DISTINCT quantity FROM orders ORDER BY quantity LIMIT 3

SELECT quantity, sum(total) FROM orders GROUP BY quantity ORDER BY sum(total) DESC NULLS LAST LIMIT 2

SELECT max(total) - min(total) AS spread, quantity FROM orders GROUP BY quantity HAVING max(total) - min(total) > 1000 ORDER BY spread DESC, quantity LIMIT 3

SELECT id, row_number() OVER (ORDER BY id DESC) FROM tenants ORDER BY id LIMIT 3

-- An alias is not the column.
SELECT -id AS id FROM tenants ORDER BY id LIMIT 3

SELECT -id AS id FROM tenants ORDER BY id + 0 LIMIT 3

SELECT length(name) AS name, count(*) FROM tenants GROUP BY name ORDER BY count(*) DESC, 1 LIMIT 4

SELECT plan AS status, count(*) FROM tenants GROUP BY status ORDER BY 1

SELECT 8 AS tenant_id, id FROM orders WHERE tenant_id = 22 ORDER BY id

SELECT tenants.id FROM tenants, LATERAL (SELECT tenants.id + 1 AS id) x WHERE x.id = 6

WITH tenants AS (SELECT 5 AS id, 'shadow' AS name) SELECT * FROM tenants WHERE id = 5

WITH orders AS (SELECT id FROM products WHERE id < 3) SELECT id FROM orders ORDER BY id

SELECT o.id FROM (SELECT 8 AS tenant_id) x JOIN orders o USING (tenant_id) ORDER BY o.id

SELECT s.id FROM (SELECT tenant_id + 1 AS tenant_id, id FROM orders) s WHERE s.tenant_id = 8 ORDER BY 1 LIMIT 5

SELECT s.id FROM (SELECT id, customer_id AS tenant_id FROM orders) s WHERE s.tenant_id = 8 ORDER BY 1

-- Expressions that look like the key.
SELECT count(*) FROM tenants WHERE id = id

SELECT count(*) FROM tenants WHERE id = seats / 3

SELECT count(*) FROM orders WHERE tenant_id = quantity

SELECT count(*) FROM tenants WHERE id = (random() * 0)::int + 5

SELECT count(*) FROM tenants WHERE (id = 5) IS NOT TRUE

SELECT count(*) FROM tenants WHERE (id = 5) IS UNKNOWN

SELECT count(*) FROM tenants WHERE (id = 5) = false

SELECT count(*) FROM tenants WHERE id = 5 AND seats = 15 OR id = 6 AND seats = 18

SELECT count(*) FROM tenants WHERE NOT (id = 5 AND seats = 15)

SELECT count(*) FROM tenants WHERE (id = 5 AND NULL) IS NULL

SELECT count(*) FROM tenants WHERE id = 5 COLLATE "C"
-- error: 42804

-- Case and quoting of names.
-- error: 42703
SELECT "ID" FROM tenants WHERE id = 5

SELECT ID FROM TENANTS WHERE Id = 5

-- error: 42P01
SELECT id FROM "Tenants" WHERE id = 5

-- What several shards would each count.
SELECT count(*) FROM products

SELECT count(*) FROM settings

SELECT count(*) FROM products p, settings s

SELECT count(*) FROM products p LEFT JOIN tenants t ON t.id = p.id

SELECT sum(price) FROM products WHERE id IN (SELECT product_id FROM order_items)

SELECT count(*) FROM products p WHERE EXISTS (SELECT 1 FROM order_items i WHERE i.product_id = p.id AND i.quantity > 4)

SELECT p.id FROM products p WHERE p.id NOT IN (SELECT product_id FROM order_items WHERE product_id IS NOT NULL) ORDER BY 1

SELECT 1 WHERE EXISTS (SELECT 1 FROM sparse)

SELECT EXISTS (SELECT 1 FROM orders WHERE total > 1190), NOT EXISTS (SELECT 1 FROM void)

SELECT (SELECT count(*) FROM tenants), (SELECT max(total) FROM orders)

SELECT count(*) FROM (SELECT 1 FROM tenants UNION ALL SELECT 1 FROM products) s

SELECT nextval IS NULL FROM (SELECT NULL AS nextval) s

SELECT tableoid IS NOT NULL, id FROM tenants ORDER BY id LIMIT 2

SELECT count(*) FROM tenants TABLESAMPLE BERNOULLI (100)

SELECT count(*) FROM tenants WHERE ctid IS NOT NULL

-- A function that gives several rows, beside aggregates: once for each group, not for each shard's part of it.
SELECT generate_series(1, 3), count(*) FROM customers ORDER BY 1

SELECT level, generate_series(1, 3), count(*) FROM customers GROUP BY level ORDER BY level, 2

SELECT level, generate_series(1, level), count(*) FROM customers GROUP BY level

SELECT regexp_split_to_table('a,b', ','), sum(level) FROM customers

-- ties
SELECT level, count(*) FROM customers GROUP BY level ORDER BY generate_series(1, 2), level

SELECT json_array_elements('[1,2]'), count(*) FROM orders

-- error: 0A000
SELECT count(DISTINCT generate_series(1, 2)) FROM customers

-- error: 42P10
SELECT count(DISTINCT level ORDER BY id) FROM customers

-- An aggregate in a subquery that is one of the query around it.
SELECT (SELECT count(c.id)) FROM customers c

SELECT (SELECT p.name FROM products p WHERE p.id = max(c.level)) FROM customers c

SELECT EXISTS (SELECT count(c.level)) FROM customers c

SELECT * FROM (SELECT (SELECT count(c.level)) AS n FROM customers c) s

SELECT c.level, (SELECT sum(c.id)) FROM customers c GROUP BY c.level

SELECT s.n, p.id FROM (SELECT (SELECT count(c.level)) n FROM customers c JOIN orders o USING (tenant_id)) s JOIN products p ON p.id < 3 AND p.id <> s.n

SELECT count(*), (SELECT max(o.id) FROM orders o WHERE o.tenant_id = 1) FROM customers c

-- forms: simple, text
COPY (SELECT (SELECT count(c.id)) FROM customers c) TO STDOUT

-- Places and names in ORDER BY mean the same in parentheses.
SELECT id, tenant_id FROM customers ORDER BY (2) DESC, (1) LIMIT 5

SELECT level, count(*) FROM customers GROUP BY level ORDER BY (2), (1)

SELECT -level AS level, count(*) FROM customers c GROUP BY c.level ORDER BY (level)

SELECT -tenant_id AS tenant_id, id FROM customers ORDER BY (tenant_id), id

SELECT DISTINCT ON ((tenant_id)) tenant_id % 2 AS tenant_id, id, level FROM customers ORDER BY (tenant_id), id, level

SELECT DISTINCT ON ((1)) level, id FROM customers ORDER BY 1, id

-- The order of a subquery in FROM is that of the rows, as Postgres has it.
SELECT * FROM (SELECT tenant_id, count(*) AS n FROM customers GROUP BY tenant_id ORDER BY n DESC, tenant_id) s LIMIT 3

SELECT tenant_id FROM (SELECT tenant_id, id FROM customers ORDER BY id DESC) s LIMIT 4

WITH s AS (SELECT tenant_id, count(*) FROM orders GROUP BY tenant_id ORDER BY tenant_id) SELECT * FROM s LIMIT 3

SELECT * FROM (SELECT * FROM (SELECT id FROM orders ORDER BY id) a) b LIMIT 5

SELECT json_agg(s) FROM (SELECT level, count(*) AS n FROM customers GROUP BY level ORDER BY n DESC, level) s

SELECT string_agg(s.tenant_id::text, ',') FROM (SELECT tenant_id, sum(level) AS n FROM customers GROUP BY tenant_id ORDER BY 2 DESC NULLS LAST, 1) s

SELECT array_agg(x) FROM (SELECT DISTINCT level AS x FROM customers ORDER BY x DESC) s

SELECT count(*) FROM (SELECT level, count(*) FROM customers GROUP BY level ORDER BY 2) s

-- A column of a function in FROM goes before an output name.
SELECT 1 AS x, count(*) FROM customers, unnest(ARRAY[1, 2]) x GROUP BY x

SELECT count(*), sum(level) AS value FROM customers, jsonb_each_text('{"p":1,"q":2}') GROUP BY value

-- What the shards return beside the select list bears no name that means something.
SELECT -tenant_id AS tenant_id, id FROM customers c ORDER BY c.tenant_id, tenant_id, id

SELECT level % 2 AS count, avg(id) FROM customers GROUP BY count

SELECT level % 2 AS sum, count(*) FROM customers GROUP BY sum ORDER BY sum(id)
