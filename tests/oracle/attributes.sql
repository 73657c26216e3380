-- `row.function` and `(value).function`: calls, where nothing has a column of that name.
SELECT customers.count FROM customers

SELECT c.count FROM customers c

SELECT (c).count FROM customers c WHERE tenant_id = 1

SELECT (c).count FROM customers c

SELECT (c.level).count, (c.level).max FROM customers c

SELECT (level).sum FROM customers c WHERE tenant_id = 1

SELECT s.count FROM (SELECT level FROM customers) s

SELECT s.count FROM (SELECT level FROM customers WHERE tenant_id = 1) s

SELECT c.count FROM customers c JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id

SELECT x.count FROM (SELECT c.count FROM customers c) x

SELECT x.n FROM (SELECT c.count AS n FROM customers c) x

SELECT level, c.count FROM customers c GROUP BY level ORDER BY level

SELECT c.json_agg FROM sparse c

SELECT c.json_agg FROM sparse c WHERE tenant_id = 3

-- error: 42803
SELECT id, (SELECT c.count FROM orders o WHERE o.tenant_id = c.tenant_id LIMIT 1) FROM customers c WHERE tenant_id = 1

SELECT count(*) FROM customers c HAVING c.count > 1

SELECT c.row_to_json FROM sparse c ORDER BY id

-- error: 42703
SELECT (t).upper, s.length FROM sparse s

SELECT (t).upper FROM sparse s ORDER BY id

SELECT (c.tags).unnest FROM customers c ORDER BY c.name, c.id LIMIT 5

SELECT (c.created).age IS NULL FROM customers c WHERE tenant_id = 1 LIMIT 1

-- Columns and fields are what they are.
SELECT e.count, e.max FROM (SELECT level AS count, id AS max FROM customers) e ORDER BY 1, 2 LIMIT 4

SELECT o.two, (o.two).a, (o.two).b FROM odd o ORDER BY "Id" LIMIT 5

SELECT (o).two, (o).part FROM odd o ORDER BY "Id" LIMIT 5

SELECT x.count FROM customers c, LATERAL (SELECT count(*) FROM orders o WHERE o.tenant_id = c.tenant_id AND o.customer_id = c.id) x ORDER BY c.id LIMIT 5

SELECT u.count FROM sparse s, unnest(ARRAY[s.v, 1]) u(count) ORDER BY 1 LIMIT 5

SELECT g.g FROM sparse s, generate_series(1, 2) g ORDER BY 1 LIMIT 3

SELECT x.sum FROM customers c JOIN (VALUES (1, 5), (2, 6)) x (level, sum) ON x.level = c.level ORDER BY 1 LIMIT 3

-- Code of users, which may read the tables of other shards.
SELECT c.worth FROM customers c WHERE tenant_id = 1 ORDER BY id LIMIT 3

SELECT worth(c) FROM customers c WHERE tenant_id = 1 ORDER BY id LIMIT 3

SELECT c.id, c.worth FROM customers c ORDER BY id LIMIT 3

SELECT id FROM customers c WHERE tenant_id = 1 AND c.worth > 400 ORDER BY id

SELECT (c).worth FROM customers c ORDER BY id

SELECT (x.c).worth FROM (SELECT c FROM customers c WHERE tenant_id = 1) x

SELECT (x.c).worth FROM (SELECT c FROM customers c) x

SELECT c.worth FROM customers c JOIN countries n ON n.code = c.country

SELECT (c.level).twice FROM customers c WHERE tenant_id = 1 ORDER BY id

SELECT (c.level::int).twice FROM customers c ORDER BY id

SELECT public.customers.worth FROM public.customers WHERE tenant_id = 2

UPDATE accounts SET note = 'x' FROM customers c WHERE accounts.tenant_id = 1 AND c.tenant_id = 1 AND c.worth > 1e9

INSERT INTO accounts (tenant_id, id, owner) VALUES (1, 13, 'o') ON CONFLICT (tenant_id, id) DO UPDATE SET hits = excluded.rich

-- error: 42703
SELECT n.nowhere FROM customers n
