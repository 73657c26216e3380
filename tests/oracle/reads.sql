-- Shapes of reads that reports, ORMs and psql use now and then, over shards.

-- Samples
SELECT count(*) >= 0 FROM customers TABLESAMPLE SYSTEM (10)

SELECT count(*) FROM customers TABLESAMPLE BERNOULLI (0)

SELECT count(*) FROM customers TABLESAMPLE SYSTEM (100) WHERE tenant_id = 5

SELECT count(*) FROM customers c TABLESAMPLE SYSTEM (100) REPEATABLE (1) JOIN orders o USING (tenant_id)

-- subset-of: SELECT id FROM customers
SELECT id FROM customers TABLESAMPLE BERNOULLI (100) REPEATABLE (7)

SELECT count(*) FROM customers TABLESAMPLE BERNOULLI (150)
-- error: 2202H

SELECT count(*) FROM products TABLESAMPLE BERNOULLI (100)

SELECT count(*) FROM products p TABLESAMPLE BERNOULLI (100) JOIN order_items i ON i.product_id = p.id

SELECT count(*) FROM settings TABLESAMPLE SYSTEM (100), tenants

-- Locks
-- script
BEGIN;
SELECT id FROM accounts a WHERE hits > 2 ORDER BY id LIMIT 3 FOR UPDATE OF a;
SELECT id FROM accounts WHERE hits > 2 ORDER BY id DESC LIMIT 2 OFFSET 1 FOR NO KEY UPDATE;
SELECT id FROM accounts WHERE hits > 2 ORDER BY id FETCH FIRST ROW ONLY FOR SHARE;
COMMIT;

SELECT id FROM accounts ORDER BY id LIMIT -1 FOR UPDATE
-- error: 2201W

SELECT id FROM accounts ORDER BY id LIMIT 1 OFFSET -1 FOR UPDATE
-- error: 2201X

SELECT id FROM accounts ORDER BY id OFFSET -1
-- error: 2201X

SELECT id FROM accounts ORDER BY id LIMIT -1
-- error: 2201W

-- params: -1
SELECT id FROM accounts ORDER BY id LIMIT $1::bigint
-- error: 2201W

-- params: -1
-- forms: text, binary, portal
SELECT id FROM accounts ORDER BY id LIMIT $1::bigint FOR UPDATE
-- error: 2201W

-- params: NULL
-- forms: simple, text, binary
SELECT id FROM accounts ORDER BY id LIMIT $1::bigint FOR UPDATE

SELECT DISTINCT id FROM accounts FOR UPDATE
-- error: 0A000

SELECT count(*) FROM accounts FOR UPDATE
-- error: 0A000

SELECT id FROM accounts FOR UPDATE OF nothing
-- error: 42P01

-- Code of users.
SELECT t.id, o.id FROM tenants t JOIN orders o ON o.tenant_id = t.id AND o.quantity <~> 8 WHERE t.id <~> 6 ORDER BY 1, 2

SELECT count(*) FROM tenants WHERE id <~> 7

SELECT a.id, b.id FROM tenants a JOIN tenants b ON a.seats <~> b.id WHERE a.id < 9 ORDER BY 1, 2

-- These could read rows of other shards.
SELECT count(*) FROM tenants WHERE id <~~> 3

SELECT id FROM tenants WHERE id = 5 AND id OPERATOR(public.<~~>) 3

SELECT product_of(seats) FROM tenants WHERE id < 4

SELECT plan, product_of(id) FROM tenants WHERE id < 12 GROUP BY plan ORDER BY plan

SELECT id, product_of(id) OVER (ORDER BY id) FROM tenants ORDER BY id LIMIT 5

SELECT next_orders(id) FROM tenants

SELECT next_orders(id) FROM tenants WHERE id = 5

-- IS DOCUMENT
SELECT id, xmlparse(content '<a>' || id || '</a>') IS DOCUMENT FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT count(*) FROM customers WHERE xmlparse(content '<a/>' || id) IS NOT DOCUMENT

SELECT xmlparse(content email) IS DOCUMENT AS doc, count(*) FROM customers GROUP BY 1

-- ONLY
SELECT count(*) FROM ONLY public.tenants

SELECT t.id FROM ONLY tenants t WHERE t.id = 5

SELECT count(*), max(t.id) FROM ONLY tenants AS t, ONLY notes n WHERE n.id = t.id

SELECT count(*) FROM notes n, ONLY tenants

SELECT count(*) FROM ONLY (public.tenants) t JOIN ONLY customers c ON c.tenant_id = t.id

SELECT count(*) FROM ONLY (tenants) AS t (a, b) WHERE a > 5

SELECT id, name FROM ONLY public.tenants ORDER BY id LIMIT 3

SELECT count(*) FROM ONLY public.parted p JOIN public.parted_old o ON o.v = p.v

SELECT max(id) FROM ONLY products, ONLY settings

SELECT id FROM tenants WHERE EXISTS (SELECT FROM ONLY orders o WHERE o.tenant_id = tenants.id AND total > 1100) ORDER BY id

COPY (SELECT id, name FROM ONLY public.tenants ORDER BY id LIMIT 4) TO STDOUT

-- forms: simple
-- script
BEGIN;
DECLARE _pg_dump_cursor CURSOR FOR SELECT tenant_id, id, owner FROM ONLY public.accounts;
MOVE FORWARD ALL IN _pg_dump_cursor;
CLOSE _pg_dump_cursor;
COMMIT;

-- Grouping sets with subqueries.
SELECT status, (SELECT count(*) FROM products) AS p, count(*) FROM orders GROUP BY ROLLUP (status) ORDER BY 1 NULLS LAST

SELECT status, grouping(status), count(*), (SELECT max(id) FROM tenants) FROM orders GROUP BY CUBE (status) ORDER BY 1 NULLS LAST

SELECT (SELECT name FROM tenants t WHERE t.id = o.tenant_id) AS n, count(*) FROM orders o GROUP BY ROLLUP (1) ORDER BY 1 NULLS LAST LIMIT 5

SELECT o.tenant_id, (SELECT count(*) FROM customers c WHERE c.tenant_id = o.tenant_id), count(*) FROM orders o GROUP BY ROLLUP (o.tenant_id) ORDER BY 1 NULLS LAST

SELECT status, quantity, sum(total) FROM orders WHERE quantity IN (SELECT level FROM customers) GROUP BY GROUPING SETS ((status, quantity), (quantity), ()) ORDER BY 1 NULLS LAST, 2 NULLS LAST

SELECT tenant_id, status, count(*) FROM orders GROUP BY tenant_id, ROLLUP (status) HAVING count(*) > (SELECT count(*) / 100 FROM orders) ORDER BY 1, 2 NULLS LAST LIMIT 10

SELECT * FROM (SELECT status, tenant_id, sum(quantity) AS q FROM orders GROUP BY CUBE (status, tenant_id)) s WHERE q > 50 ORDER BY 1 NULLS LAST, 2 NULLS LAST

SELECT status, sum(total), rank() OVER (ORDER BY sum(total) DESC) FROM orders GROUP BY ROLLUP (status) ORDER BY 3

SELECT GROUPING(status, quantity) AS g, count(DISTINCT tenant_id) FROM orders GROUP BY GROUPING SETS (ROLLUP (status, quantity), CUBE (quantity)) ORDER BY 1, 2

-- Whole rows in aggregates.
SELECT json_agg(t ORDER BY t.id) FROM tenants t WHERE id < 4

SELECT jsonb_agg(to_jsonb(t) - 'name' ORDER BY t.id) FROM tenants t WHERE id < 4

SELECT json_agg(row_to_json(t) ORDER BY t.id) FROM (SELECT id, name FROM tenants WHERE id < 6) t

SELECT coalesce(json_agg(t), '[]') FROM (SELECT id, name FROM tenants WHERE id < 6 ORDER BY id) t

SELECT json_build_object('rows', (SELECT json_agg(x) FROM (SELECT id, email FROM customers ORDER BY id LIMIT 3) x), 'n', (SELECT count(*) FROM customers))

SELECT t.id, (SELECT json_agg(c ORDER BY c.id) FROM (SELECT id, email FROM customers WHERE customers.tenant_id = t.id) c) FROM tenants t ORDER BY t.id LIMIT 4

SELECT t.id, coalesce(json_agg(json_build_object('id', c.id, 'email', c.email) ORDER BY c.id) FILTER (WHERE c.id IS NOT NULL), '[]') FROM tenants t LEFT JOIN customers c ON c.tenant_id = t.id GROUP BY t.id ORDER BY t.id LIMIT 4

SELECT jsonb_object_agg(id, name ORDER BY id) FROM tenants WHERE id < 5

SELECT string_agg(DISTINCT plan, ',' ORDER BY plan) FROM tenants

SELECT array_agg((id, name) ORDER BY id) FROM tenants WHERE id < 4

SELECT (array_agg(id ORDER BY total DESC NULLS LAST, id))[1:3] FROM orders

SELECT tenant_id, (array_agg(t ORDER BY id))[1] FROM sparse t GROUP BY tenant_id

SELECT count(t), count(DISTINCT t) FROM sparse t

SELECT max(array_length(tags, 1)), array_agg(DISTINCT tags[1] ORDER BY tags[1]) FROM customers

-- CTE words
WITH t AS NOT MATERIALIZED (SELECT id, name FROM tenants) SELECT * FROM t WHERE id = 5

WITH t AS NOT MATERIALIZED (SELECT id, name FROM tenants) SELECT a.id FROM t a JOIN t b ON a.id = b.id + 1 ORDER BY 1 LIMIT 4

WITH t AS MATERIALIZED (SELECT id, name FROM tenants WHERE id < 9), o AS NOT MATERIALIZED (SELECT * FROM orders) SELECT t.id, count(*) FROM t JOIN o ON o.tenant_id = t.id GROUP BY t.id ORDER BY 1

WITH RECURSIVE r (id, n) AS NOT MATERIALIZED (SELECT id, 1 FROM tenants WHERE id < 3 UNION ALL SELECT id, n + 1 FROM r WHERE n < 3) SELECT * FROM r ORDER BY 1, 2

-- Windows that build on each other.
SELECT id, sum(total) OVER w2, count(*) OVER w1 FROM orders WHERE id < 200 WINDOW w1 AS (PARTITION BY status), w2 AS (w1 ORDER BY id) ORDER BY id

SELECT tenant_id, id, sum(quantity) OVER w2 FROM orders WINDOW w1 AS (PARTITION BY tenant_id), w2 AS (w1 ORDER BY id) ORDER BY 1, 2 LIMIT 9

SELECT id, first_value(id) OVER (w ORDER BY id DESC), last_value(id) OVER (w ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM tenants WINDOW w AS (PARTITION BY plan) ORDER BY id LIMIT 9

SELECT id, count(*) FILTER (WHERE seats > 20) OVER w, nth_value(name, 2) OVER w, cume_dist() OVER w, percent_rank() OVER w FROM tenants WINDOW w AS (ORDER BY id) ORDER BY id LIMIT 9

SELECT status, count(*), sum(count(*)) OVER w, lag(count(*)) OVER w FROM orders GROUP BY status WINDOW w AS (ORDER BY status) ORDER BY 1

SELECT id, lead(id) OVER w FROM tenants WINDOW w AS (w2 ORDER BY id), w2 AS (PARTITION BY plan)
-- error: 42704

-- WITH TIES
SELECT quantity, id FROM orders ORDER BY quantity, id OFFSET 5 ROWS FETCH FIRST 4 ROWS WITH TIES

SELECT quantity, count(*) FROM orders GROUP BY quantity ORDER BY count(*) DESC, quantity OFFSET 1 FETCH NEXT 2 ROWS WITH TIES

-- ties
SELECT quantity FROM orders ORDER BY quantity OFFSET 1 ROW FETCH FIRST ROW WITH TIES

-- params: 3
-- types: int8
SELECT id FROM tenants ORDER BY id FETCH FIRST $1 ROWS WITH TIES

SELECT id FROM tenants FETCH FIRST 2 ROWS WITH TIES
-- error: 42601

-- VALUES, TABLE, no columns
VALUES (1, 'a'), (2, 'b') ORDER BY 1 DESC LIMIT 1

VALUES ((SELECT count(*) FROM tenants), 1), (2, (SELECT max(id) FROM orders)) ORDER BY 1

SELECT * FROM (VALUES (1), (5)) v (id) LEFT JOIN tenants t USING (id) ORDER BY 1

SELECT FROM tenants WHERE id < 5

SELECT FROM tenants WHERE id = 5

SELECT count(*) FROM (SELECT FROM tenants) x

SELECT EXISTS (SELECT FROM tenants), EXISTS (SELECT FROM void)

SELECT FROM tenants LIMIT 3

SELECT DISTINCT FROM tenants
-- error: 42601

-- Functions in FROM.
SELECT c.id, j.* FROM customers c, jsonb_path_query(c.meta, '$.tags[*]') WITH ORDINALITY AS j (tag, n) WHERE c.id < 40 ORDER BY 1, 3

SELECT c.id, jsonb_path_query(c.meta, '$.tags[*]') FROM customers c WHERE c.id < 40 ORDER BY 1, 2

SELECT count(*) FROM customers WHERE meta @? '$.tags[*] ? (@ == 1)'

SELECT count(*) FROM customers WHERE meta @@ '$.n > 100'

SELECT id, x.* FROM customers c CROSS JOIN LATERAL jsonb_to_record(c.meta) AS x (n int, tags jsonb) WHERE c.id < 30 ORDER BY id

SELECT id, x.* FROM customers c LEFT JOIN LATERAL jsonb_to_recordset(jsonb_build_array(coalesce(c.meta, '{}'))) AS x (n int) ON true WHERE c.id < 30 ORDER BY id

SELECT g.n, t.name FROM generate_series(1, 4) AS g (n) LEFT JOIN tenants t ON t.id = g.n ORDER BY 1

SELECT d::date, count(o.id) FROM generate_series(date '2024-01-01', date '2024-01-10', interval '1 day') d LEFT JOIN orders o ON o.shipped = d::date GROUP BY 1 ORDER BY 1

SELECT r.* FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY['a', 'b'])) WITH ORDINALITY AS r (n, s, o) JOIN tenants t ON t.id = r.n ORDER BY r.o

SELECT t.id, x.* FROM tenants t, xmltable('/r/v' PASSING xmlparse(content '<r><v>' || t.id || '</v></r>') COLUMNS v int PATH '.') x WHERE t.id < 5 ORDER BY 1

SELECT id, u FROM customers, unnest(tags) u WHERE u LIKE 'v%' ORDER BY id, u LIMIT 5

SELECT tag, count(*) FROM customers, unnest(tags) AS tag GROUP BY tag ORDER BY 2 DESC, 1 LIMIT 5

SELECT key, count(*) FROM customers, jsonb_object_keys(meta) AS key GROUP BY key ORDER BY key

SELECT k.key, k.value, count(*) FROM customers c, jsonb_each_text(c.meta) k WHERE k.key = 'a' GROUP BY 1, 2

SELECT unnest(ARRAY[1, 2]), id FROM tenants ORDER BY id, 1 LIMIT 6

SELECT id, generate_series(1, 2) AS n FROM tenants ORDER BY id DESC, n LIMIT 3

-- LATERAL to several levels.
SELECT t.id, a.n, b.m FROM tenants t, LATERAL (SELECT count(*) AS n FROM customers c WHERE c.tenant_id = t.id) a, LATERAL (SELECT count(*) AS m FROM orders o WHERE o.tenant_id = t.id AND o.quantity < a.n) b ORDER BY 1 LIMIT 9

SELECT t.id, x.id, y.total FROM tenants t CROSS JOIN LATERAL (SELECT * FROM customers c WHERE c.tenant_id = t.id ORDER BY c.id LIMIT 1) x LEFT JOIN LATERAL (SELECT o.total FROM orders o WHERE o.tenant_id = x.tenant_id AND o.customer_id = x.id ORDER BY o.id LIMIT 1) y ON true ORDER BY 1

SELECT t.id, z.* FROM tenants t, LATERAL (SELECT y.* FROM (SELECT t.id + 1 AS n) x, LATERAL (SELECT count(*) FROM orders o WHERE o.quantity = x.n AND o.tenant_id = t.id) y) z ORDER BY 1 LIMIT 9

SELECT t.id, x.q FROM tenants t LEFT JOIN LATERAL (SELECT o.quantity AS q, count(*) AS n FROM orders o WHERE o.customer_id = t.id GROUP BY o.quantity ORDER BY n DESC, q LIMIT 1) x ON true ORDER BY t.id LIMIT 9

-- DISTINCT ON
SELECT DISTINCT ON (date_trunc('month', placed)) date_trunc('month', placed) AS m, id FROM orders ORDER BY date_trunc('month', placed), id

SELECT DISTINCT ON (tenant_id) tenant_id, id, total FROM orders ORDER BY tenant_id, total DESC NULLS LAST, id

SELECT DISTINCT ON (lower(status), quantity) status, quantity, id FROM orders ORDER BY lower(status), quantity, id LIMIT 9

SELECT DISTINCT ON (1, 2) status, quantity, id FROM orders ORDER BY 1, 2, 3 LIMIT 9 OFFSET 2

SELECT * FROM (SELECT DISTINCT ON (tenant_id) tenant_id, id, placed FROM orders ORDER BY tenant_id, placed DESC, id) x WHERE x.tenant_id < 9 ORDER BY x.tenant_id

SELECT count(*) FROM (SELECT DISTINCT ON (status) status, id FROM orders ORDER BY status, id) x

SELECT DISTINCT ON (status) id FROM orders ORDER BY id
-- error: 42P10

-- Ordered-set and hypothetical-set aggregates.
SELECT rank(5) WITHIN GROUP (ORDER BY quantity), dense_rank(5) WITHIN GROUP (ORDER BY quantity), percent_rank(5) WITHIN GROUP (ORDER BY quantity), cume_dist(5) WITHIN GROUP (ORDER BY quantity DESC NULLS LAST) FROM orders

SELECT tenant_id, percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY total::float8) FROM orders GROUP BY tenant_id ORDER BY 1 LIMIT 5

SELECT status, percentile_disc(0.9) WITHIN GROUP (ORDER BY quantity) FILTER (WHERE total > 100) FROM orders GROUP BY status ORDER BY 1

SELECT rank(5, 'paid') WITHIN GROUP (ORDER BY quantity, status) FROM orders

SELECT mode() WITHIN GROUP (ORDER BY quantity) AS m, tenant_id FROM orders WHERE tenant_id < 9 GROUP BY tenant_id ORDER BY 2

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) FROM customers

-- Further aggregates.
SELECT range_agg(span) FROM odd

SELECT range_intersect_agg(span), count(*) FROM odd WHERE "Id" < 3

SELECT bit_xor(level), bit_and(level), bit_or(quantity) FROM customers JOIN orders USING (tenant_id)

SELECT bit_and(mask), bit_or(mask), bit_xor(mask) FROM odd

SELECT xmlagg(xmlelement(name t, id) ORDER BY id DESC) FROM tenants WHERE id < 4

SELECT sum(cash), max(cash), min(cash) FROM odd

SELECT sum(slot::interval), avg(gap), sum(gap) FROM customers

SELECT max(ip), min(ip), max(slot) FROM customers

SELECT regr_count(total, quantity), round(corr(total::float8, quantity)::numeric, 6) FROM orders

SELECT every(active), bool_or(active IS NULL) FROM customers

-- forms: simple, text, portal
SELECT max(feel), min(feel), max(feels) FROM odd

SELECT json_object_agg(id, plan ORDER BY id) FROM tenants WHERE id < 4

SELECT count(*) FILTER (WHERE status = 'paid') * 100.0 / count(*) AS share FROM orders

SELECT sum(total) FILTER (WHERE status IN (SELECT 'paid')) FROM orders

SELECT CASE WHEN total > 500 THEN 'big' ELSE 'small' END AS size, count(*), round(avg(total), 2) FROM orders GROUP BY 1 ORDER BY 1

SELECT sum(CASE WHEN status = 'paid' THEN 1 ELSE 0 END), sum((quantity > 3)::int) FROM orders

SELECT width_bucket(total, 0, 1200, 4) AS b, count(*), min(total), max(total) FROM orders GROUP BY b ORDER BY b

SELECT to_char(placed, 'YYYY-MM') AS m, count(*), sum(total) FROM orders GROUP BY to_char(placed, 'YYYY-MM') ORDER BY m

SELECT extract(dow FROM placed) AS d, count(*) FROM orders GROUP BY d ORDER BY d

-- Groups by a primary key.
SELECT c.*, count(o.id) FROM customers c LEFT JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id GROUP BY c.tenant_id, c.id ORDER BY c.id, c.tenant_id LIMIT 3

SELECT t.*, count(*) FROM tenants t JOIN orders o ON o.tenant_id = t.id GROUP BY t.id ORDER BY count(*) DESC, t.id LIMIT 3

SELECT p.id, p.name, p.price, sum(i.quantity) FROM products p LEFT JOIN order_items i ON i.product_id = p.id GROUP BY p.id ORDER BY p.id LIMIT 5

SELECT t.name, p.name, count(*) FROM tenants t JOIN order_items i ON i.tenant_id = t.id JOIN products p ON p.id = i.product_id GROUP BY t.id, p.id ORDER BY t.id, p.id LIMIT 6

SELECT k.value, k.version, count(*) FROM kv k GROUP BY k.key ORDER BY k.key LIMIT 4

-- ORDER BY
SELECT id, name FROM tenants ORDER BY seats IS NULL, seats DESC, id LIMIT 6

SELECT id FROM tenants ORDER BY CASE plan WHEN 'free' THEN 0 WHEN 'pro' THEN 1 ELSE 2 END, id DESC LIMIT 6

SELECT id FROM tenants ORDER BY array_position(ARRAY[7, 3, 5], id), id LIMIT 6

SELECT id FROM customers ORDER BY score USING <, id LIMIT 4

SELECT status, id FROM orders ORDER BY status COLLATE "en-x-icu" DESC, id LIMIT 5

SELECT id, 1 AS one FROM tenants ORDER BY one, 1 LIMIT 3

SELECT tenant_id AS t, count(*) AS n FROM orders GROUP BY t HAVING count(*) > 5 ORDER BY n DESC, t LIMIT 3

SELECT id FROM tenants ORDER BY random() * 0, id LIMIT 3

SELECT id, name FROM tenants ORDER BY (SELECT count(*) FROM customers c WHERE c.tenant_id = tenants.id) DESC, id LIMIT 4

SELECT id FROM tenants ORDER BY length(name) DESC, name COLLATE "C", id LIMIT 5

-- Keyset pagination
SELECT id, placed FROM orders WHERE (placed, id) > ('2024-02-01 00:00:00+00', 100) ORDER BY placed, id LIMIT 5

SELECT id, total FROM orders WHERE (total, id) < (500, 1000) ORDER BY total DESC, id DESC LIMIT 5

-- Comparisons, sets
SELECT id FROM tenants WHERE id = ANY (ARRAY[5, 9, 11]) ORDER BY id

SELECT id FROM tenants WHERE id = ANY (SELECT tenant_id FROM orders WHERE total > 1100) ORDER BY id

SELECT count(*) FROM orders WHERE (tenant_id, customer_id) IN (SELECT tenant_id, id FROM customers WHERE active)

SELECT count(*) FROM customers c WHERE (SELECT count(*) FROM orders o WHERE o.tenant_id = c.tenant_id AND o.customer_id = c.id) >= 2

SELECT id FROM tenants EXCEPT SELECT tenant_id FROM orders ORDER BY 1

(SELECT id FROM tenants ORDER BY id LIMIT 2) UNION ALL (SELECT id FROM products ORDER BY id DESC LIMIT 2) ORDER BY 1

SELECT 'tenants' AS t, count(*) FROM tenants UNION ALL SELECT 'orders', count(*) FROM orders UNION ALL SELECT 'products', count(*) FROM products ORDER BY 1

SELECT count(*) FROM (SELECT tenant_id FROM orders INTERSECT ALL SELECT id FROM tenants) x

SELECT * FROM (SELECT id FROM tenants UNION SELECT tenant_id FROM sparse) u WHERE id < 5 ORDER BY 1

-- A search box
SELECT id, name FROM customers WHERE to_tsvector('simple', coalesce(name, '')) @@ plainto_tsquery('simple', 'ann') ORDER BY id LIMIT 5

SELECT id, ts_rank(to_tsvector('simple', coalesce(name, '')), to_tsquery('simple', 'ann | bob')) AS r FROM customers WHERE name IS NOT NULL ORDER BY r DESC, id LIMIT 5

SELECT id FROM customers WHERE name ~* '^a' OR nick ~ '[0-9]$' ORDER BY id LIMIT 5

SELECT id FROM customers WHERE tags && ARRAY['vip'] AND NOT tags @> ARRAY['c d'] ORDER BY id LIMIT 5

SELECT id, meta -> 'deep' ->> 'k', meta #>> '{tags,0}', meta ? 'a', meta @> '{"a": 1}' FROM customers WHERE meta IS NOT NULL ORDER BY id LIMIT 6

SELECT meta ->> 'n' AS n, count(*) FROM customers GROUP BY meta ->> 'n' ORDER BY 2 DESC, 1 LIMIT 3

SELECT id, meta['deep']['k'], (meta).n IS NULL FROM customers ORDER BY id LIMIT 2
-- error: 42703|42809

SELECT id, meta['deep']['k'] FROM customers ORDER BY id LIMIT 5

-- Temporary tables that are filled with rows of several shards.
-- script
CREATE TEMP TABLE report (tenant_id int, n bigint, total numeric(20,2));
INSERT INTO report SELECT tenant_id, count(*), sum(total) FROM orders GROUP BY tenant_id;
INSERT INTO report (tenant_id, n) SELECT id, seats FROM tenants WHERE id = 5;
INSERT INTO report (n, total) SELECT 1000 + id, NULL FROM tenants ORDER BY name COLLATE "C", id LIMIT 3;
INSERT INTO report SELECT id, '17' FROM tenants WHERE id > 38;
INSERT INTO report VALUES ((SELECT max(id) FROM customers), 1, (SELECT avg(total) FROM orders));
INSERT INTO report TABLE sparse;
INSERT INTO report (tenant_id) SELECT id, name FROM tenants;
INSERT INTO report (tenant_id, n) SELECT id FROM tenants;
INSERT INTO report (nothing) SELECT id FROM tenants;
INSERT INTO report SELECT name FROM tenants;
INSERT INTO report SELECT nothing FROM tenants;
INSERT INTO report WITH big AS (SELECT tenant_id, total FROM orders WHERE total > 1100) SELECT tenant_id, 7, total FROM big;
WITH big AS (SELECT tenant_id, total FROM orders WHERE total > 1150) INSERT INTO report AS r (tenant_id, total) SELECT big.* FROM big;
INSERT INTO pg_temp.report (SELECT id FROM tenants WHERE id < 3 UNION SELECT tenant_id FROM sparse);
SELECT * FROM report ORDER BY 1, 2, 3;
SELECT count(*), sum(n), sum(total) FROM report;
DROP TABLE report;
INSERT INTO report SELECT id FROM tenants;

-- script
BEGIN;
CREATE TEMP TABLE report (id int PRIMARY KEY, name varchar(8) DEFAULT 'none', twice int GENERATED ALWAYS AS (id * 2) STORED) ON COMMIT DROP;
INSERT INTO report (id) SELECT id FROM tenants ORDER BY id DESC;
INSERT INTO report (id, name) SELECT id, left(name, 8) FROM tenants WHERE id < 5 OR id = 40 ON CONFLICT (id) DO UPDATE SET name = excluded.name || '!' WHERE report.id <> 3;
INSERT INTO report (id, name) SELECT id, 'not' FROM tenants ON CONFLICT DO NOTHING;
SELECT * FROM report ORDER BY id;
SAVEPOINT s;
INSERT INTO report (id) SELECT id FROM tenants;
ROLLBACK TO s;
INSERT INTO report (id, name) SELECT 1000 + id, name || ' is too long' FROM tenants;
ROLLBACK TO s;
UPDATE accounts SET note = 'told' WHERE tenant_id IN (1, 2, 3);
INSERT INTO report (id) SELECT 2000 + id FROM accounts WHERE note = 'told';
SELECT count(*), min(id), max(name), max(made) FROM report;
ROLLBACK;
SELECT count(*) FROM report;

-- script
CREATE TEMP TABLE mine AS SELECT id, name FROM tenants WHERE id < 20;
INSERT INTO mine SELECT id, name FROM tenants WHERE id >= 38;
SELECT count(*), max(name COLLATE "C") FROM mine;
PREPARE more (int) AS INSERT INTO mine SELECT id, $1::text FROM customers WHERE id > 390 + $1;
EXECUTE more (4);
EXECUTE more (5);
SELECT name, count(*) FROM mine WHERE id > 390 GROUP BY name ORDER BY name;
DEALLOCATE more;
DROP TABLE mine;

-- Unsharded tables beside sharded ones in a session that has temporary tables of other names.
-- script
CREATE TEMP TABLE mine AS SELECT id, name FROM tenants WHERE id < 20;
SELECT s.name, count(*) FROM settings s, tenants t WHERE t.plan = s.value OR t.id = 3 GROUP BY s.name ORDER BY s.name;
SELECT n.id, n.body, o.id FROM notes n JOIN orders o ON o.quantity = n.id WHERE o.id < 100 ORDER BY 1, 3;
BEGIN;
INSERT INTO notes SELECT 1000 + max(id), 'the last' FROM orders;
SELECT count(*), max(n.body) FROM notes n LEFT JOIN orders o ON o.quantity = n.id;
ROLLBACK;
CREATE TEMP TABLE audit AS SELECT 1 AS id;
SELECT count(*) FROM notes n JOIN orders o ON o.quantity = n.id;
SELECT count(*) FROM audit;
DROP TABLE mine, audit;

-- One that hides what is read.
-- script
CREATE TEMP TABLE notes (id int, body text);
INSERT INTO notes SELECT id, name FROM tenants WHERE id < 5;
SELECT n.body, count(o.id) FROM notes n JOIN orders o ON o.quantity = n.id GROUP BY n.body ORDER BY 1;
DROP TABLE notes;

-- Whole rows in aggregates.
-- forms: simple, text, portal
SELECT array_agg(s ORDER BY s.id, s.tenant_id) FROM sparse s

-- forms: simple, text, portal
SELECT c.country, array_agg(c ORDER BY c.id, c.tenant_id) FROM customers c WHERE c.id < 20 GROUP BY c.country ORDER BY 1

-- forms: simple, text, portal
SELECT unnest(array_agg(s ORDER BY s.id, s.tenant_id)) FROM sparse s

SELECT json_agg(s ORDER BY s.id, s.tenant_id), count(s), count(DISTINCT s) FROM sparse s

SELECT row_to_json(s), to_jsonb(s) FROM sparse s ORDER BY s.id, s.tenant_id

SELECT array_agg(c.tags[1] ORDER BY c.id, c.tenant_id) FROM customers c WHERE id < 15

SELECT (o.two).a, count(*) FROM odd o GROUP BY (o.two).a ORDER BY 1

-- Without columns
SELECT WHERE EXISTS (SELECT FROM sparse WHERE v > 0)

SELECT FROM sparse WHERE v > 0

-- Operators before ANY and ALL
SELECT id FROM customers WHERE ip << ANY (ARRAY['10.0.0.0/8'::inet, '192.168.0.0/16'::inet]) ORDER BY id, tenant_id LIMIT 5

SELECT count(*) FROM customers WHERE meta @> ANY (ARRAY['{"n":1}'::jsonb, '{}'])

SELECT count(*) FROM customers WHERE tags && ANY (SELECT tags FROM customers WHERE id = 3)

SELECT id FROM tenants WHERE id > ALL (VALUES (1),(30)) ORDER BY id

SELECT id FROM tenants WHERE id = ANY (VALUES (1),(2)) ORDER BY id

SELECT id FROM tenants WHERE id = SOME (VALUES (1),(NULL),(3)) AND id = ANY (ARRAY[1, 3]) ORDER BY id

-- params: 3
SELECT id FROM tenants WHERE id = ANY (VALUES (1),($1::int)) ORDER BY id

-- Groups by expressions that begin with a parenthesis
SELECT (quantity)::text, count(*) FROM orders GROUP BY ROLLUP ((quantity)::text) ORDER BY 1, 2

SELECT quantity + 1, status, grouping(status, quantity + 1) AS g, count(*) FROM orders GROUP BY CUBE ((quantity) + 1, (status)) ORDER BY 3, 1, 2

SELECT lower(status), tenant_id % 2, count(*) FROM orders GROUP BY GROUPING SETS ((lower(status)), ((tenant_id) % 2), ()) ORDER BY 1, 2

-- Long chains of OR
SELECT count(*), max(id) FROM orders WHERE tenant_id = 0 AND id = 0 OR tenant_id = 1 AND id = 1 OR tenant_id = 2 AND id = 2 OR tenant_id = 3 AND id = 3 OR tenant_id = 4 AND id = 4 OR tenant_id = 5 AND id = 5 OR tenant_id = 6 AND id = 6 OR tenant_id = 7 AND id = 7 OR tenant_id = 8 AND id = 8 OR tenant_id = 9 AND id = 9 OR tenant_id = 10 AND id = 10 OR tenant_id = 11 AND id = 11 OR tenant_id = 12 AND id = 12 OR tenant_id = 13 AND id = 13 OR tenant_id = 14 AND id = 14 OR tenant_id = 15 AND id = 15 OR tenant_id = 16 AND id = 16 OR tenant_id = 17 AND id = 17 OR tenant_id = 18 AND id = 18 OR tenant_id = 19 AND id = 19 OR tenant_id = 20 AND id = 20 OR tenant_id = 21 AND id = 21 OR tenant_id = 22 AND id = 22 OR tenant_id = 23 AND id = 23 OR tenant_id = 24 AND id = 24 OR tenant_id = 25 AND id = 25 OR tenant_id = 26 AND id = 26 OR tenant_id = 27 AND id = 27 OR tenant_id = 28 AND id = 28 OR tenant_id = 29 AND id = 29 OR tenant_id = 30 AND id = 30 OR tenant_id = 31 AND id = 31 OR tenant_id = 32 AND id = 32 OR tenant_id = 33 AND id = 33 OR tenant_id = 34 AND id = 34 OR tenant_id = 35 AND id = 35 OR tenant_id = 36 AND id = 36 OR tenant_id = 37 AND id = 37 OR tenant_id = 38 AND id = 38 OR tenant_id = 39 AND id = 39 OR tenant_id = 40 AND id = 40 OR tenant_id = 41 AND id = 41 OR tenant_id = 42 AND id = 42 OR tenant_id = 43 AND id = 43 OR tenant_id = 44 AND id = 44 OR tenant_id = 0 AND id = 45 OR tenant_id = 1 AND id = 46 OR tenant_id = 2 AND id = 47 OR tenant_id = 3 AND id = 48 OR tenant_id = 4 AND id = 49 OR tenant_id = 5 AND id = 50 OR tenant_id = 6 AND id = 51 OR tenant_id = 7 AND id = 52 OR tenant_id = 8 AND id = 53 OR tenant_id = 9 AND id = 54 OR tenant_id = 10 AND id = 55 OR tenant_id = 11 AND id = 56 OR tenant_id = 12 AND id = 57 OR tenant_id = 13 AND id = 58 OR tenant_id = 14 AND id = 59 OR tenant_id = 15 AND id = 60 OR tenant_id = 16 AND id = 61 OR tenant_id = 17 AND id = 62 OR tenant_id = 18 AND id = 63 OR tenant_id = 19 AND id = 64 OR tenant_id = 20 AND id = 65 OR tenant_id = 21 AND id = 66 OR tenant_id = 22 AND id = 67 OR tenant_id = 23 AND id = 68 OR tenant_id = 24 AND id = 69 OR tenant_id = 25 AND id = 70 OR tenant_id = 26 AND id = 71 OR tenant_id = 27 AND id = 72 OR tenant_id = 28 AND id = 73 OR tenant_id = 29 AND id = 74 OR tenant_id = 30 AND id = 75 OR tenant_id = 31 AND id = 76 OR tenant_id = 32 AND id = 77 OR tenant_id = 33 AND id = 78 OR tenant_id = 34 AND id = 79 OR tenant_id = 35 AND id = 80 OR tenant_id = 36 AND id = 81 OR tenant_id = 37 AND id = 82 OR tenant_id = 38 AND id = 83 OR tenant_id = 39 AND id = 84 OR tenant_id = 40 AND id = 85 OR tenant_id = 41 AND id = 86 OR tenant_id = 42 AND id = 87 OR tenant_id = 43 AND id = 88 OR tenant_id = 44 AND id = 89 OR tenant_id = 0 AND id = 90 OR tenant_id = 1 AND id = 91 OR tenant_id = 2 AND id = 92 OR tenant_id = 3 AND id = 93 OR tenant_id = 4 AND id = 94 OR tenant_id = 5 AND id = 95 OR tenant_id = 6 AND id = 96 OR tenant_id = 7 AND id = 97 OR tenant_id = 8 AND id = 98 OR tenant_id = 9 AND id = 99 OR tenant_id = 10 AND id = 100 OR tenant_id = 11 AND id = 101 OR tenant_id = 12 AND id = 102 OR tenant_id = 13 AND id = 103 OR tenant_id = 14 AND id = 104 OR tenant_id = 15 AND id = 105 OR tenant_id = 16 AND id = 106 OR tenant_id = 17 AND id = 107 OR tenant_id = 18 AND id = 108 OR tenant_id = 19 AND id = 109 OR tenant_id = 20 AND id = 110 OR tenant_id = 21 AND id = 111 OR tenant_id = 22 AND id = 112 OR tenant_id = 23 AND id = 113 OR tenant_id = 24 AND id = 114 OR tenant_id = 25 AND id = 115 OR tenant_id = 26 AND id = 116 OR tenant_id = 27 AND id = 117 OR tenant_id = 28 AND id = 118 OR tenant_id = 29 AND id = 119 OR tenant_id = 30 AND id = 120 OR tenant_id = 31 AND id = 121 OR tenant_id = 32 AND id = 122 OR tenant_id = 33 AND id = 123 OR tenant_id = 34 AND id = 124 OR tenant_id = 35 AND id = 125 OR tenant_id = 36 AND id = 126 OR tenant_id = 37 AND id = 127 OR tenant_id = 38 AND id = 128 OR tenant_id = 39 AND id = 129 OR tenant_id = 40 AND id = 130 OR tenant_id = 41 AND id = 131 OR tenant_id = 42 AND id = 132 OR tenant_id = 43 AND id = 133 OR tenant_id = 44 AND id = 134 OR tenant_id = 0 AND id = 135 OR tenant_id = 1 AND id = 136 OR tenant_id = 2 AND id = 137 OR tenant_id = 3 AND id = 138 OR tenant_id = 4 AND id = 139 OR tenant_id = 5 AND id = 140 OR tenant_id = 6 AND id = 141 OR tenant_id = 7 AND id = 142 OR tenant_id = 8 AND id = 143 OR tenant_id = 9 AND id = 144 OR tenant_id = 10 AND id = 145 OR tenant_id = 11 AND id = 146 OR tenant_id = 12 AND id = 147 OR tenant_id = 13 AND id = 148 OR tenant_id = 14 AND id = 149 OR tenant_id = 15 AND id = 150 OR tenant_id = 16 AND id = 151 OR tenant_id = 17 AND id = 152 OR tenant_id = 18 AND id = 153 OR tenant_id = 19 AND id = 154 OR tenant_id = 20 AND id = 155 OR tenant_id = 21 AND id = 156 OR tenant_id = 22 AND id = 157 OR tenant_id = 23 AND id = 158 OR tenant_id = 24 AND id = 159 OR tenant_id = 25 AND id = 160 OR tenant_id = 26 AND id = 161 OR tenant_id = 27 AND id = 162 OR tenant_id = 28 AND id = 163 OR tenant_id = 29 AND id = 164 OR tenant_id = 30 AND id = 165 OR tenant_id = 31 AND id = 166 OR tenant_id = 32 AND id = 167 OR tenant_id = 33 AND id = 168 OR tenant_id = 34 AND id = 169 OR tenant_id = 35 AND id = 170 OR tenant_id = 36 AND id = 171 OR tenant_id = 37 AND id = 172 OR tenant_id = 38 AND id = 173 OR tenant_id = 39 AND id = 174 OR tenant_id = 40 AND id = 175 OR tenant_id = 41 AND id = 176 OR tenant_id = 42 AND id = 177 OR tenant_id = 43 AND id = 178 OR tenant_id = 44 AND id = 179 OR tenant_id = 0 AND id = 180 OR tenant_id = 1 AND id = 181 OR tenant_id = 2 AND id = 182 OR tenant_id = 3 AND id = 183 OR tenant_id = 4 AND id = 184 OR tenant_id = 5 AND id = 185 OR tenant_id = 6 AND id = 186 OR tenant_id = 7 AND id = 187 OR tenant_id = 8 AND id = 188 OR tenant_id = 9 AND id = 189 OR tenant_id = 10 AND id = 190 OR tenant_id = 11 AND id = 191 OR tenant_id = 12 AND id = 192 OR tenant_id = 13 AND id = 193 OR tenant_id = 14 AND id = 194 OR tenant_id = 15 AND id = 195 OR tenant_id = 16 AND id = 196 OR tenant_id = 17 AND id = 197 OR tenant_id = 18 AND id = 198 OR tenant_id = 19 AND id = 199 OR tenant_id = 20 AND id = 200 OR tenant_id = 21 AND id = 201 OR tenant_id = 22 AND id = 202 OR tenant_id = 23 AND id = 203 OR tenant_id = 24 AND id = 204 OR tenant_id = 25 AND id = 205 OR tenant_id = 26 AND id = 206 OR tenant_id = 27 AND id = 207 OR tenant_id = 28 AND id = 208 OR tenant_id = 29 AND id = 209 OR tenant_id = 30 AND id = 210 OR tenant_id = 31 AND id = 211 OR tenant_id = 32 AND id = 212 OR tenant_id = 33 AND id = 213 OR tenant_id = 34 AND id = 214 OR tenant_id = 35 AND id = 215 OR tenant_id = 36 AND id = 216 OR tenant_id = 37 AND id = 217 OR tenant_id = 38 AND id = 218 OR tenant_id = 39 AND id = 219 OR tenant_id = 40 AND id = 220 OR tenant_id = 41 AND id = 221 OR tenant_id = 42 AND id = 222 OR tenant_id = 43 AND id = 223 OR tenant_id = 44 AND id = 224 OR tenant_id = 0 AND id = 225 OR tenant_id = 1 AND id = 226 OR tenant_id = 2 AND id = 227 OR tenant_id = 3 AND id = 228 OR tenant_id = 4 AND id = 229 OR tenant_id = 5 AND id = 230 OR tenant_id = 6 AND id = 231 OR tenant_id = 7 AND id = 232 OR tenant_id = 8 AND id = 233 OR tenant_id = 9 AND id = 234 OR tenant_id = 10 AND id = 235 OR tenant_id = 11 AND id = 236 OR tenant_id = 12 AND id = 237 OR tenant_id = 13 AND id = 238 OR tenant_id = 14 AND id = 239 OR tenant_id = 15 AND id = 240 OR tenant_id = 16 AND id = 241 OR tenant_id = 17 AND id = 242 OR tenant_id = 18 AND id = 243 OR tenant_id = 19 AND id = 244 OR tenant_id = 20 AND id = 245 OR tenant_id = 21 AND id = 246 OR tenant_id = 22 AND id = 247 OR tenant_id = 23 AND id = 248 OR tenant_id = 24 AND id = 249 OR tenant_id = 25 AND id = 250 OR tenant_id = 26 AND id = 251 OR tenant_id = 27 AND id = 252 OR tenant_id = 28 AND id = 253 OR tenant_id = 29 AND id = 254 OR tenant_id = 30 AND id = 255 OR tenant_id = 31 AND id = 256 OR tenant_id = 32 AND id = 257 OR tenant_id = 33 AND id = 258 OR tenant_id = 34 AND id = 259 OR tenant_id = 35 AND id = 260 OR tenant_id = 36 AND id = 261 OR tenant_id = 37 AND id = 262 OR tenant_id = 38 AND id = 263 OR tenant_id = 39 AND id = 264 OR tenant_id = 40 AND id = 265 OR tenant_id = 41 AND id = 266 OR tenant_id = 42 AND id = 267 OR tenant_id = 43 AND id = 268 OR tenant_id = 44 AND id = 269 OR tenant_id = 0 AND id = 270 OR tenant_id = 1 AND id = 271 OR tenant_id = 2 AND id = 272 OR tenant_id = 3 AND id = 273 OR tenant_id = 4 AND id = 274 OR tenant_id = 5 AND id = 275 OR tenant_id = 6 AND id = 276 OR tenant_id = 7 AND id = 277 OR tenant_id = 8 AND id = 278 OR tenant_id = 9 AND id = 279 OR tenant_id = 10 AND id = 280 OR tenant_id = 11 AND id = 281 OR tenant_id = 12 AND id = 282 OR tenant_id = 13 AND id = 283 OR tenant_id = 14 AND id = 284 OR tenant_id = 15 AND id = 285 OR tenant_id = 16 AND id = 286 OR tenant_id = 17 AND id = 287 OR tenant_id = 18 AND id = 288 OR tenant_id = 19 AND id = 289 OR tenant_id = 20 AND id = 290 OR tenant_id = 21 AND id = 291 OR tenant_id = 22 AND id = 292 OR tenant_id = 23 AND id = 293 OR tenant_id = 24 AND id = 294 OR tenant_id = 25 AND id = 295 OR tenant_id = 26 AND id = 296 OR tenant_id = 27 AND id = 297 OR tenant_id = 28 AND id = 298 OR tenant_id = 29 AND id = 299 OR tenant_id = 30 AND id = 300 OR tenant_id = 31 AND id = 301 OR tenant_id = 32 AND id = 302 OR tenant_id = 33 AND id = 303 OR tenant_id = 34 AND id = 304 OR tenant_id = 35 AND id = 305 OR tenant_id = 36 AND id = 306 OR tenant_id = 37 AND id = 307 OR tenant_id = 38 AND id = 308 OR tenant_id = 39 AND id = 309 OR tenant_id = 40 AND id = 310 OR tenant_id = 41 AND id = 311 OR tenant_id = 42 AND id = 312 OR tenant_id = 43 AND id = 313 OR tenant_id = 44 AND id = 314 OR tenant_id = 0 AND id = 315 OR tenant_id = 1 AND id = 316 OR tenant_id = 2 AND id = 317 OR tenant_id = 3 AND id = 318 OR tenant_id = 4 AND id = 319 OR tenant_id = 5 AND id = 320 OR tenant_id = 6 AND id = 321 OR tenant_id = 7 AND id = 322 OR tenant_id = 8 AND id = 323 OR tenant_id = 9 AND id = 324 OR tenant_id = 10 AND id = 325 OR tenant_id = 11 AND id = 326 OR tenant_id = 12 AND id = 327 OR tenant_id = 13 AND id = 328 OR tenant_id = 14 AND id = 329 OR tenant_id = 15 AND id = 330 OR tenant_id = 16 AND id = 331 OR tenant_id = 17 AND id = 332 OR tenant_id = 18 AND id = 333 OR tenant_id = 19 AND id = 334 OR tenant_id = 20 AND id = 335 OR tenant_id = 21 AND id = 336 OR tenant_id = 22 AND id = 337 OR tenant_id = 23 AND id = 338 OR tenant_id = 24 AND id = 339 OR tenant_id = 25 AND id = 340 OR tenant_id = 26 AND id = 341 OR tenant_id = 27 AND id = 342 OR tenant_id = 28 AND id = 343 OR tenant_id = 29 AND id = 344 OR tenant_id = 30 AND id = 345 OR tenant_id = 31 AND id = 346 OR tenant_id = 32 AND id = 347 OR tenant_id = 33 AND id = 348 OR tenant_id = 34 AND id = 349 OR tenant_id = 35 AND id = 350 OR tenant_id = 36 AND id = 351 OR tenant_id = 37 AND id = 352 OR tenant_id = 38 AND id = 353 OR tenant_id = 39 AND id = 354 OR tenant_id = 40 AND id = 355 OR tenant_id = 41 AND id = 356 OR tenant_id = 42 AND id = 357 OR tenant_id = 43 AND id = 358 OR tenant_id = 44 AND id = 359 OR tenant_id = 0 AND id = 360 OR tenant_id = 1 AND id = 361 OR tenant_id = 2 AND id = 362 OR tenant_id = 3 AND id = 363 OR tenant_id = 4 AND id = 364 OR tenant_id = 5 AND id = 365 OR tenant_id = 6 AND id = 366 OR tenant_id = 7 AND id = 367 OR tenant_id = 8 AND id = 368 OR tenant_id = 9 AND id = 369 OR tenant_id = 10 AND id = 370 OR tenant_id = 11 AND id = 371 OR tenant_id = 12 AND id = 372 OR tenant_id = 13 AND id = 373 OR tenant_id = 14 AND id = 374 OR tenant_id = 15 AND id = 375 OR tenant_id = 16 AND id = 376 OR tenant_id = 17 AND id = 377 OR tenant_id = 18 AND id = 378 OR tenant_id = 19 AND id = 379 OR tenant_id = 20 AND id = 380 OR tenant_id = 21 AND id = 381 OR tenant_id = 22 AND id = 382 OR tenant_id = 23 AND id = 383 OR tenant_id = 24 AND id = 384 OR tenant_id = 25 AND id = 385 OR tenant_id = 26 AND id = 386 OR tenant_id = 27 AND id = 387 OR tenant_id = 28 AND id = 388 OR tenant_id = 29 AND id = 389 OR tenant_id = 30 AND id = 390 OR tenant_id = 31 AND id = 391 OR tenant_id = 32 AND id = 392 OR tenant_id = 33 AND id = 393 OR tenant_id = 34 AND id = 394 OR tenant_id = 35 AND id = 395 OR tenant_id = 36 AND id = 396 OR tenant_id = 37 AND id = 397 OR tenant_id = 38 AND id = 398 OR tenant_id = 39 AND id = 399 OR tenant_id = 40 AND id = 400 OR tenant_id = 41 AND id = 401 OR tenant_id = 42 AND id = 402 OR tenant_id = 43 AND id = 403 OR tenant_id = 44 AND id = 404 OR tenant_id = 0 AND id = 405 OR tenant_id = 1 AND id = 406 OR tenant_id = 2 AND id = 407 OR tenant_id = 3 AND id = 408 OR tenant_id = 4 AND id = 409 OR tenant_id = 5 AND id = 410 OR tenant_id = 6 AND id = 411 OR tenant_id = 7 AND id = 412 OR tenant_id = 8 AND id = 413 OR tenant_id = 9 AND id = 414 OR tenant_id = 10 AND id = 415 OR tenant_id = 11 AND id = 416 OR tenant_id = 12 AND id = 417 OR tenant_id = 13 AND id = 418 OR tenant_id = 14 AND id = 419 OR tenant_id = 15 AND id = 420 OR tenant_id = 16 AND id = 421 OR tenant_id = 17 AND id = 422 OR tenant_id = 18 AND id = 423 OR tenant_id = 19 AND id = 424 OR tenant_id = 20 AND id = 425 OR tenant_id = 21 AND id = 426 OR tenant_id = 22 AND id = 427 OR tenant_id = 23 AND id = 428 OR tenant_id = 24 AND id = 429 OR tenant_id = 25 AND id = 430 OR tenant_id = 26 AND id = 431 OR tenant_id = 27 AND id = 432 OR tenant_id = 28 AND id = 433 OR tenant_id = 29 AND id = 434 OR tenant_id = 30 AND id = 435 OR tenant_id = 31 AND id = 436 OR tenant_id = 32 AND id = 437 OR tenant_id = 33 AND id = 438 OR tenant_id = 34 AND id = 439 OR tenant_id = 35 AND id = 440 OR tenant_id = 36 AND id = 441 OR tenant_id = 37 AND id = 442 OR tenant_id = 38 AND id = 443 OR tenant_id = 39 AND id = 444 OR tenant_id = 40 AND id = 445 OR tenant_id = 41 AND id = 446 OR tenant_id = 42 AND id = 447 OR tenant_id = 43 AND id = 448 OR tenant_id = 44 AND id = 449 OR tenant_id = 0 AND id = 450 OR tenant_id = 1 AND id = 451 OR tenant_id = 2 AND id = 452 OR tenant_id = 3 AND id = 453 OR tenant_id = 4 AND id = 454 OR tenant_id = 5 AND id = 455 OR tenant_id = 6 AND id = 456 OR tenant_id = 7 AND id = 457 OR tenant_id = 8 AND id = 458 OR tenant_id = 9 AND id = 459 OR tenant_id = 10 AND id = 460 OR tenant_id = 11 AND id = 461 OR tenant_id = 12 AND id = 462 OR tenant_id = 13 AND id = 463 OR tenant_id = 14 AND id = 464 OR tenant_id = 15 AND id = 465 OR tenant_id = 16 AND id = 466 OR tenant_id = 17 AND id = 467 OR tenant_id = 18 AND id = 468 OR tenant_id = 19 AND id = 469 OR tenant_id = 20 AND id = 470 OR tenant_id = 21 AND id = 471 OR tenant_id = 22 AND id = 472 OR tenant_id = 23 AND id = 473 OR tenant_id = 24 AND id = 474 OR tenant_id = 25 AND id = 475 OR tenant_id = 26 AND id = 476 OR tenant_id = 27 AND id = 477 OR tenant_id = 28 AND id = 478 OR tenant_id = 29 AND id = 479 OR tenant_id = 30 AND id = 480 OR tenant_id = 31 AND id = 481 OR tenant_id = 32 AND id = 482 OR tenant_id = 33 AND id = 483 OR tenant_id = 34 AND id = 484 OR tenant_id = 35 AND id = 485 OR tenant_id = 36 AND id = 486 OR tenant_id = 37 AND id = 487 OR tenant_id = 38 AND id = 488 OR tenant_id = 39 AND id = 489 OR tenant_id = 40 AND id = 490 OR tenant_id = 41 AND id = 491 OR tenant_id = 42 AND id = 492 OR tenant_id = 43 AND id = 493 OR tenant_id = 44 AND id = 494 OR tenant_id = 0 AND id = 495 OR tenant_id = 1 AND id = 496 OR tenant_id = 2 AND id = 497 OR tenant_id = 3 AND id = 498 OR tenant_id = 4 AND id = 499 OR tenant_id = 5 AND id = 500 OR tenant_id = 6 AND id = 501 OR tenant_id = 7 AND id = 502 OR tenant_id = 8 AND id = 503 OR tenant_id = 9 AND id = 504 OR tenant_id = 10 AND id = 505 OR tenant_id = 11 AND id = 506 OR tenant_id = 12 AND id = 507 OR tenant_id = 13 AND id = 508 OR tenant_id = 14 AND id = 509 OR tenant_id = 15 AND id = 510 OR tenant_id = 16 AND id = 511 OR tenant_id = 17 AND id = 512 OR tenant_id = 18 AND id = 513 OR tenant_id = 19 AND id = 514 OR tenant_id = 20 AND id = 515 OR tenant_id = 21 AND id = 516 OR tenant_id = 22 AND id = 517 OR tenant_id = 23 AND id = 518 OR tenant_id = 24 AND id = 519 OR tenant_id = 25 AND id = 520 OR tenant_id = 26 AND id = 521 OR tenant_id = 27 AND id = 522 OR tenant_id = 28 AND id = 523 OR tenant_id = 29 AND id = 524 OR tenant_id = 30 AND id = 525 OR tenant_id = 31 AND id = 526 OR tenant_id = 32 AND id = 527 OR tenant_id = 33 AND id = 528 OR tenant_id = 34 AND id = 529 OR tenant_id = 35 AND id = 530 OR tenant_id = 36 AND id = 531 OR tenant_id = 37 AND id = 532 OR tenant_id = 38 AND id = 533 OR tenant_id = 39 AND id = 534 OR tenant_id = 40 AND id = 535 OR tenant_id = 41 AND id = 536 OR tenant_id = 42 AND id = 537 OR tenant_id = 43 AND id = 538 OR tenant_id = 44 AND id = 539 OR tenant_id = 0 AND id = 540 OR tenant_id = 1 AND id = 541 OR tenant_id = 2 AND id = 542 OR tenant_id = 3 AND id = 543 OR tenant_id = 4 AND id = 544 OR tenant_id = 5 AND id = 545 OR tenant_id = 6 AND id = 546 OR tenant_id = 7 AND id = 547 OR tenant_id = 8 AND id = 548 OR tenant_id = 9 AND id = 549 OR tenant_id = 10 AND id = 550 OR tenant_id = 11 AND id = 551 OR tenant_id = 12 AND id = 552 OR tenant_id = 13 AND id = 553 OR tenant_id = 14 AND id = 554 OR tenant_id = 15 AND id = 555 OR tenant_id = 16 AND id = 556 OR tenant_id = 17 AND id = 557 OR tenant_id = 18 AND id = 558 OR tenant_id = 19 AND id = 559 OR tenant_id = 20 AND id = 560 OR tenant_id = 21 AND id = 561 OR tenant_id = 22 AND id = 562 OR tenant_id = 23 AND id = 563 OR tenant_id = 24 AND id = 564 OR tenant_id = 25 AND id = 565 OR tenant_id = 26 AND id = 566 OR tenant_id = 27 AND id = 567 OR tenant_id = 28 AND id = 568 OR tenant_id = 29 AND id = 569 OR tenant_id = 30 AND id = 570 OR tenant_id = 31 AND id = 571 OR tenant_id = 32 AND id = 572 OR tenant_id = 33 AND id = 573 OR tenant_id = 34 AND id = 574 OR tenant_id = 35 AND id = 575 OR tenant_id = 36 AND id = 576 OR tenant_id = 37 AND id = 577 OR tenant_id = 38 AND id = 578 OR tenant_id = 39 AND id = 579 OR tenant_id = 40 AND id = 580 OR tenant_id = 41 AND id = 581 OR tenant_id = 42 AND id = 582 OR tenant_id = 43 AND id = 583 OR tenant_id = 44 AND id = 584 OR tenant_id = 0 AND id = 585 OR tenant_id = 1 AND id = 586 OR tenant_id = 2 AND id = 587 OR tenant_id = 3 AND id = 588 OR tenant_id = 4 AND id = 589 OR tenant_id = 5 AND id = 590 OR tenant_id = 6 AND id = 591 OR tenant_id = 7 AND id = 592 OR tenant_id = 8 AND id = 593 OR tenant_id = 9 AND id = 594 OR tenant_id = 10 AND id = 595 OR tenant_id = 11 AND id = 596 OR tenant_id = 12 AND id = 597 OR tenant_id = 13 AND id = 598 OR tenant_id = 14 AND id = 599 OR tenant_id = 15 AND id = 600 OR tenant_id = 16 AND id = 601 OR tenant_id = 17 AND id = 602 OR tenant_id = 18 AND id = 603 OR tenant_id = 19 AND id = 604 OR tenant_id = 20 AND id = 605 OR tenant_id = 21 AND id = 606 OR tenant_id = 22 AND id = 607 OR tenant_id = 23 AND id = 608 OR tenant_id = 24 AND id = 609 OR tenant_id = 25 AND id = 610 OR tenant_id = 26 AND id = 611 OR tenant_id = 27 AND id = 612 OR tenant_id = 28 AND id = 613 OR tenant_id = 29 AND id = 614 OR tenant_id = 30 AND id = 615 OR tenant_id = 31 AND id = 616 OR tenant_id = 32 AND id = 617 OR tenant_id = 33 AND id = 618 OR tenant_id = 34 AND id = 619 OR tenant_id = 35 AND id = 620 OR tenant_id = 36 AND id = 621 OR tenant_id = 37 AND id = 622 OR tenant_id = 38 AND id = 623 OR tenant_id = 39 AND id = 624 OR tenant_id = 40 AND id = 625 OR tenant_id = 41 AND id = 626 OR tenant_id = 42 AND id = 627 OR tenant_id = 43 AND id = 628 OR tenant_id = 44 AND id = 629 OR tenant_id = 0 AND id = 630 OR tenant_id = 1 AND id = 631 OR tenant_id = 2 AND id = 632 OR tenant_id = 3 AND id = 633 OR tenant_id = 4 AND id = 634 OR tenant_id = 5 AND id = 635 OR tenant_id = 6 AND id = 636 OR tenant_id = 7 AND id = 637 OR tenant_id = 8 AND id = 638 OR tenant_id = 9 AND id = 639 OR tenant_id = 10 AND id = 640 OR tenant_id = 11 AND id = 641 OR tenant_id = 12 AND id = 642 OR tenant_id = 13 AND id = 643 OR tenant_id = 14 AND id = 644 OR tenant_id = 15 AND id = 645 OR tenant_id = 16 AND id = 646 OR tenant_id = 17 AND id = 647 OR tenant_id = 18 AND id = 648 OR tenant_id = 19 AND id = 649 OR tenant_id = 20 AND id = 650 OR tenant_id = 21 AND id = 651 OR tenant_id = 22 AND id = 652 OR tenant_id = 23 AND id = 653 OR tenant_id = 24 AND id = 654 OR tenant_id = 25 AND id = 655 OR tenant_id = 26 AND id = 656 OR tenant_id = 27 AND id = 657 OR tenant_id = 28 AND id = 658 OR tenant_id = 29 AND id = 659 OR tenant_id = 30 AND id = 660 OR tenant_id = 31 AND id = 661 OR tenant_id = 32 AND id = 662 OR tenant_id = 33 AND id = 663 OR tenant_id = 34 AND id = 664 OR tenant_id = 35 AND id = 665 OR tenant_id = 36 AND id = 666 OR tenant_id = 37 AND id = 667 OR tenant_id = 38 AND id = 668 OR tenant_id = 39 AND id = 669 OR tenant_id = 40 AND id = 670 OR tenant_id = 41 AND id = 671 OR tenant_id = 42 AND id = 672 OR tenant_id = 43 AND id = 673 OR tenant_id = 44 AND id = 674 OR tenant_id = 0 AND id = 675 OR tenant_id = 1 AND id = 676 OR tenant_id = 2 AND id = 677 OR tenant_id = 3 AND id = 678 OR tenant_id = 4 AND id = 679 OR tenant_id = 5 AND id = 680 OR tenant_id = 6 AND id = 681 OR tenant_id = 7 AND id = 682 OR tenant_id = 8 AND id = 683 OR tenant_id = 9 AND id = 684 OR tenant_id = 10 AND id = 685 OR tenant_id = 11 AND id = 686 OR tenant_id = 12 AND id = 687 OR tenant_id = 13 AND id = 688 OR tenant_id = 14 AND id = 689 OR tenant_id = 15 AND id = 690 OR tenant_id = 16 AND id = 691 OR tenant_id = 17 AND id = 692 OR tenant_id = 18 AND id = 693 OR tenant_id = 19 AND id = 694 OR tenant_id = 20 AND id = 695 OR tenant_id = 21 AND id = 696 OR tenant_id = 22 AND id = 697 OR tenant_id = 23 AND id = 698 OR tenant_id = 24 AND id = 699 OR tenant_id = 25 AND id = 700 OR tenant_id = 26 AND id = 701 OR tenant_id = 27 AND id = 702 OR tenant_id = 28 AND id = 703 OR tenant_id = 29 AND id = 704 OR tenant_id = 30 AND id = 705 OR tenant_id = 31 AND id = 706 OR tenant_id = 32 AND id = 707 OR tenant_id = 33 AND id = 708 OR tenant_id = 34 AND id = 709 OR tenant_id = 35 AND id = 710 OR tenant_id = 36 AND id = 711 OR tenant_id = 37 AND id = 712 OR tenant_id = 38 AND id = 713 OR tenant_id = 39 AND id = 714 OR tenant_id = 40 AND id = 715 OR tenant_id = 41 AND id = 716 OR tenant_id = 42 AND id = 717 OR tenant_id = 43 AND id = 718 OR tenant_id = 44 AND id = 719 OR tenant_id = 0 AND id = 720 OR tenant_id = 1 AND id = 721 OR tenant_id = 2 AND id = 722 OR tenant_id = 3 AND id = 723 OR tenant_id = 4 AND id = 724 OR tenant_id = 5 AND id = 725 OR tenant_id = 6 AND id = 726 OR tenant_id = 7 AND id = 727 OR tenant_id = 8 AND id = 728 OR tenant_id = 9 AND id = 729 OR tenant_id = 10 AND id = 730 OR tenant_id = 11 AND id = 731 OR tenant_id = 12 AND id = 732 OR tenant_id = 13 AND id = 733 OR tenant_id = 14 AND id = 734 OR tenant_id = 15 AND id = 735 OR tenant_id = 16 AND id = 736 OR tenant_id = 17 AND id = 737 OR tenant_id = 18 AND id = 738 OR tenant_id = 19 AND id = 739 OR tenant_id = 20 AND id = 740 OR tenant_id = 21 AND id = 741 OR tenant_id = 22 AND id = 742 OR tenant_id = 23 AND id = 743 OR tenant_id = 24 AND id = 744 OR tenant_id = 25 AND id = 745 OR tenant_id = 26 AND id = 746 OR tenant_id = 27 AND id = 747 OR tenant_id = 28 AND id = 748 OR tenant_id = 29 AND id = 749 OR tenant_id = 30 AND id = 750 OR tenant_id = 31 AND id = 751 OR tenant_id = 32 AND id = 752 OR tenant_id = 33 AND id = 753 OR tenant_id = 34 AND id = 754 OR tenant_id = 35 AND id = 755 OR tenant_id = 36 AND id = 756 OR tenant_id = 37 AND id = 757 OR tenant_id = 38 AND id = 758 OR tenant_id = 39 AND id = 759 OR tenant_id = 40 AND id = 760 OR tenant_id = 41 AND id = 761 OR tenant_id = 42 AND id = 762 OR tenant_id = 43 AND id = 763 OR tenant_id = 44 AND id = 764 OR tenant_id = 0 AND id = 765 OR tenant_id = 1 AND id = 766 OR tenant_id = 2 AND id = 767 OR tenant_id = 3 AND id = 768 OR tenant_id = 4 AND id = 769 OR tenant_id = 5 AND id = 770 OR tenant_id = 6 AND id = 771 OR tenant_id = 7 AND id = 772 OR tenant_id = 8 AND id = 773 OR tenant_id = 9 AND id = 774 OR tenant_id = 10 AND id = 775 OR tenant_id = 11 AND id = 776 OR tenant_id = 12 AND id = 777 OR tenant_id = 13 AND id = 778 OR tenant_id = 14 AND id = 779 OR tenant_id = 15 AND id = 780 OR tenant_id = 16 AND id = 781 OR tenant_id = 17 AND id = 782 OR tenant_id = 18 AND id = 783 OR tenant_id = 19 AND id = 784 OR tenant_id = 20 AND id = 785 OR tenant_id = 21 AND id = 786 OR tenant_id = 22 AND id = 787 OR tenant_id = 23 AND id = 788 OR tenant_id = 24 AND id = 789 OR tenant_id = 25 AND id = 790 OR tenant_id = 26 AND id = 791 OR tenant_id = 27 AND id = 792 OR tenant_id = 28 AND id = 793 OR tenant_id = 29 AND id = 794 OR tenant_id = 30 AND id = 795 OR tenant_id = 31 AND id = 796 OR tenant_id = 32 AND id = 797 OR tenant_id = 33 AND id = 798 OR tenant_id = 34 AND id = 799 OR tenant_id = 35 AND id = 800 OR tenant_id = 36 AND id = 801 OR tenant_id = 37 AND id = 802 OR tenant_id = 38 AND id = 803 OR tenant_id = 39 AND id = 804 OR tenant_id = 40 AND id = 805 OR tenant_id = 41 AND id = 806 OR tenant_id = 42 AND id = 807 OR tenant_id = 43 AND id = 808 OR tenant_id = 44 AND id = 809 OR tenant_id = 0 AND id = 810 OR tenant_id = 1 AND id = 811 OR tenant_id = 2 AND id = 812 OR tenant_id = 3 AND id = 813 OR tenant_id = 4 AND id = 814 OR tenant_id = 5 AND id = 815 OR tenant_id = 6 AND id = 816 OR tenant_id = 7 AND id = 817 OR tenant_id = 8 AND id = 818 OR tenant_id = 9 AND id = 819 OR tenant_id = 10 AND id = 820 OR tenant_id = 11 AND id = 821 OR tenant_id = 12 AND id = 822 OR tenant_id = 13 AND id = 823 OR tenant_id = 14 AND id = 824 OR tenant_id = 15 AND id = 825 OR tenant_id = 16 AND id = 826 OR tenant_id = 17 AND id = 827 OR tenant_id = 18 AND id = 828 OR tenant_id = 19 AND id = 829 OR tenant_id = 20 AND id = 830 OR tenant_id = 21 AND id = 831 OR tenant_id = 22 AND id = 832 OR tenant_id = 23 AND id = 833 OR tenant_id = 24 AND id = 834 OR tenant_id = 25 AND id = 835 OR tenant_id = 26 AND id = 836 OR tenant_id = 27 AND id = 837 OR tenant_id = 28 AND id = 838 OR tenant_id = 29 AND id = 839 OR tenant_id = 30 AND id = 840 OR tenant_id = 31 AND id = 841 OR tenant_id = 32 AND id = 842 OR tenant_id = 33 AND id = 843 OR tenant_id = 34 AND id = 844 OR tenant_id = 35 AND id = 845 OR tenant_id = 36 AND id = 846 OR tenant_id = 37 AND id = 847 OR tenant_id = 38 AND id = 848 OR tenant_id = 39 AND id = 849 OR tenant_id = 40 AND id = 850 OR tenant_id = 41 AND id = 851 OR tenant_id = 42 AND id = 852 OR tenant_id = 43 AND id = 853 OR tenant_id = 44 AND id = 854 OR tenant_id = 0 AND id = 855 OR tenant_id = 1 AND id = 856 OR tenant_id = 2 AND id = 857 OR tenant_id = 3 AND id = 858 OR tenant_id = 4 AND id = 859 OR tenant_id = 5 AND id = 860 OR tenant_id = 6 AND id = 861 OR tenant_id = 7 AND id = 862 OR tenant_id = 8 AND id = 863 OR tenant_id = 9 AND id = 864 OR tenant_id = 10 AND id = 865 OR tenant_id = 11 AND id = 866 OR tenant_id = 12 AND id = 867 OR tenant_id = 13 AND id = 868 OR tenant_id = 14 AND id = 869 OR tenant_id = 15 AND id = 870 OR tenant_id = 16 AND id = 871 OR tenant_id = 17 AND id = 872 OR tenant_id = 18 AND id = 873 OR tenant_id = 19 AND id = 874 OR tenant_id = 20 AND id = 875 OR tenant_id = 21 AND id = 876 OR tenant_id = 22 AND id = 877 OR tenant_id = 23 AND id = 878 OR tenant_id = 24 AND id = 879 OR tenant_id = 25 AND id = 880 OR tenant_id = 26 AND id = 881 OR tenant_id = 27 AND id = 882 OR tenant_id = 28 AND id = 883 OR tenant_id = 29 AND id = 884 OR tenant_id = 30 AND id = 885 OR tenant_id = 31 AND id = 886 OR tenant_id = 32 AND id = 887 OR tenant_id = 33 AND id = 888 OR tenant_id = 34 AND id = 889 OR tenant_id = 35 AND id = 890 OR tenant_id = 36 AND id = 891 OR tenant_id = 37 AND id = 892 OR tenant_id = 38 AND id = 893 OR tenant_id = 39 AND id = 894 OR tenant_id = 40 AND id = 895 OR tenant_id = 41 AND id = 896 OR tenant_id = 42 AND id = 897 OR tenant_id = 43 AND id = 898 OR tenant_id = 44 AND id = 899 OR tenant_id = 0 AND id = 900 OR tenant_id = 1 AND id = 901 OR tenant_id = 2 AND id = 902 OR tenant_id = 3 AND id = 903 OR tenant_id = 4 AND id = 904 OR tenant_id = 5 AND id = 905 OR tenant_id = 6 AND id = 906 OR tenant_id = 7 AND id = 907 OR tenant_id = 8 AND id = 908 OR tenant_id = 9 AND id = 909 OR tenant_id = 10 AND id = 910 OR tenant_id = 11 AND id = 911 OR tenant_id = 12 AND id = 912 OR tenant_id = 13 AND id = 913 OR tenant_id = 14 AND id = 914 OR tenant_id = 15 AND id = 915 OR tenant_id = 16 AND id = 916 OR tenant_id = 17 AND id = 917 OR tenant_id = 18 AND id = 918 OR tenant_id = 19 AND id = 919 OR tenant_id = 20 AND id = 920 OR tenant_id = 21 AND id = 921 OR tenant_id = 22 AND id = 922 OR tenant_id = 23 AND id = 923 OR tenant_id = 24 AND id = 924 OR tenant_id = 25 AND id = 925 OR tenant_id = 26 AND id = 926 OR tenant_id = 27 AND id = 927 OR tenant_id = 28 AND id = 928 OR tenant_id = 29 AND id = 929 OR tenant_id = 30 AND id = 930 OR tenant_id = 31 AND id = 931 OR tenant_id = 32 AND id = 932 OR tenant_id = 33 AND id = 933 OR tenant_id = 34 AND id = 934 OR tenant_id = 35 AND id = 935 OR tenant_id = 36 AND id = 936 OR tenant_id = 37 AND id = 937 OR tenant_id = 38 AND id = 938 OR tenant_id = 39 AND id = 939 OR tenant_id = 40 AND id = 940 OR tenant_id = 41 AND id = 941 OR tenant_id = 42 AND id = 942 OR tenant_id = 43 AND id = 943 OR tenant_id = 44 AND id = 944 OR tenant_id = 0 AND id = 945 OR tenant_id = 1 AND id = 946 OR tenant_id = 2 AND id = 947 OR tenant_id = 3 AND id = 948 OR tenant_id = 4 AND id = 949 OR tenant_id = 5 AND id = 950 OR tenant_id = 6 AND id = 951 OR tenant_id = 7 AND id = 952 OR tenant_id = 8 AND id = 953 OR tenant_id = 9 AND id = 954 OR tenant_id = 10 AND id = 955 OR tenant_id = 11 AND id = 956 OR tenant_id = 12 AND id = 957 OR tenant_id = 13 AND id = 958 OR tenant_id = 14 AND id = 959 OR tenant_id = 15 AND id = 960 OR tenant_id = 16 AND id = 961 OR tenant_id = 17 AND id = 962 OR tenant_id = 18 AND id = 963 OR tenant_id = 19 AND id = 964 OR tenant_id = 20 AND id = 965 OR tenant_id = 21 AND id = 966 OR tenant_id = 22 AND id = 967 OR tenant_id = 23 AND id = 968 OR tenant_id = 24 AND id = 969 OR tenant_id = 25 AND id = 970 OR tenant_id = 26 AND id = 971 OR tenant_id = 27 AND id = 972 OR tenant_id = 28 AND id = 973 OR tenant_id = 29 AND id = 974 OR tenant_id = 30 AND id = 975 OR tenant_id = 31 AND id = 976 OR tenant_id = 32 AND id = 977 OR tenant_id = 33 AND id = 978 OR tenant_id = 34 AND id = 979 OR tenant_id = 35 AND id = 980 OR tenant_id = 36 AND id = 981 OR tenant_id = 37 AND id = 982 OR tenant_id = 38 AND id = 983 OR tenant_id = 39 AND id = 984 OR tenant_id = 40 AND id = 985 OR tenant_id = 41 AND id = 986 OR tenant_id = 42 AND id = 987 OR tenant_id = 43 AND id = 988 OR tenant_id = 44 AND id = 989 OR tenant_id = 0 AND id = 990 OR tenant_id = 1 AND id = 991 OR tenant_id = 2 AND id = 992 OR tenant_id = 3 AND id = 993 OR tenant_id = 4 AND id = 994 OR tenant_id = 5 AND id = 995 OR tenant_id = 6 AND id = 996 OR tenant_id = 7 AND id = 997 OR tenant_id = 8 AND id = 998 OR tenant_id = 9 AND id = 999 OR tenant_id = 10 AND id = 1000 OR tenant_id = 11 AND id = 1001 OR tenant_id = 12 AND id = 1002 OR tenant_id = 13 AND id = 1003 OR tenant_id = 14 AND id = 1004 OR tenant_id = 15 AND id = 1005 OR tenant_id = 16 AND id = 1006 OR tenant_id = 17 AND id = 1007 OR tenant_id = 18 AND id = 1008 OR tenant_id = 19 AND id = 1009 OR tenant_id = 20 AND id = 1010 OR tenant_id = 21 AND id = 1011 OR tenant_id = 22 AND id = 1012 OR tenant_id = 23 AND id = 1013 OR tenant_id = 24 AND id = 1014 OR tenant_id = 25 AND id = 1015 OR tenant_id = 26 AND id = 1016 OR tenant_id = 27 AND id = 1017 OR tenant_id = 28 AND id = 1018 OR tenant_id = 29 AND id = 1019 OR tenant_id = 30 AND id = 1020 OR tenant_id = 31 AND id = 1021 OR tenant_id = 32 AND id = 1022 OR tenant_id = 33 AND id = 1023 OR tenant_id = 34 AND id = 1024 OR tenant_id = 35 AND id = 1025 OR tenant_id = 36 AND id = 1026 OR tenant_id = 37 AND id = 1027 OR tenant_id = 38 AND id = 1028 OR tenant_id = 39 AND id = 1029 OR tenant_id = 40 AND id = 1030 OR tenant_id = 41 AND id = 1031 OR tenant_id = 42 AND id = 1032 OR tenant_id = 43 AND id = 1033 OR tenant_id = 44 AND id = 1034 OR tenant_id = 0 AND id = 1035 OR tenant_id = 1 AND id = 1036 OR tenant_id = 2 AND id = 1037 OR tenant_id = 3 AND id = 1038 OR tenant_id = 4 AND id = 1039 OR tenant_id = 5 AND id = 1040 OR tenant_id = 6 AND id = 1041 OR tenant_id = 7 AND id = 1042 OR tenant_id = 8 AND id = 1043 OR tenant_id = 9 AND id = 1044 OR tenant_id = 10 AND id = 1045 OR tenant_id = 11 AND id = 1046 OR tenant_id = 12 AND id = 1047 OR tenant_id = 13 AND id = 1048 OR tenant_id = 14 AND id = 1049 OR tenant_id = 15 AND id = 1050 OR tenant_id = 16 AND id = 1051 OR tenant_id = 17 AND id = 1052 OR tenant_id = 18 AND id = 1053 OR tenant_id = 19 AND id = 1054 OR tenant_id = 20 AND id = 1055 OR tenant_id = 21 AND id = 1056 OR tenant_id = 22 AND id = 1057 OR tenant_id = 23 AND id = 1058 OR tenant_id = 24 AND id = 1059 OR tenant_id = 25 AND id = 1060 OR tenant_id = 26 AND id = 1061 OR tenant_id = 27 AND id = 1062 OR tenant_id = 28 AND id = 1063 OR tenant_id = 29 AND id = 1064 OR tenant_id = 30 AND id = 1065 OR tenant_id = 31 AND id = 1066 OR tenant_id = 32 AND id = 1067 OR tenant_id = 33 AND id = 1068 OR tenant_id = 34 AND id = 1069 OR tenant_id = 35 AND id = 1070 OR tenant_id = 36 AND id = 1071 OR tenant_id = 37 AND id = 1072 OR tenant_id = 38 AND id = 1073 OR tenant_id = 39 AND id = 1074 OR tenant_id = 40 AND id = 1075 OR tenant_id = 41 AND id = 1076 OR tenant_id = 42 AND id = 1077 OR tenant_id = 43 AND id = 1078 OR tenant_id = 44 AND id = 1079 OR tenant_id = 0 AND id = 1080 OR tenant_id = 1 AND id = 1081 OR tenant_id = 2 AND id = 1082 OR tenant_id = 3 AND id = 1083 OR tenant_id = 4 AND id = 1084 OR tenant_id = 5 AND id = 1085 OR tenant_id = 6 AND id = 1086 OR tenant_id = 7 AND id = 1087 OR tenant_id = 8 AND id = 1088 OR tenant_id = 9 AND id = 1089 OR tenant_id = 10 AND id = 1090 OR tenant_id = 11 AND id = 1091 OR tenant_id = 12 AND id = 1092 OR tenant_id = 13 AND id = 1093 OR tenant_id = 14 AND id = 1094 OR tenant_id = 15 AND id = 1095 OR tenant_id = 16 AND id = 1096 OR tenant_id = 17 AND id = 1097 OR tenant_id = 18 AND id = 1098 OR tenant_id = 19 AND id = 1099 OR tenant_id = 20 AND id = 1100 OR tenant_id = 21 AND id = 1101 OR tenant_id = 22 AND id = 1102 OR tenant_id = 23 AND id = 1103 OR tenant_id = 24 AND id = 1104 OR tenant_id = 25 AND id = 1105 OR tenant_id = 26 AND id = 1106 OR tenant_id = 27 AND id = 1107 OR tenant_id = 28 AND id = 1108 OR tenant_id = 29 AND id = 1109 OR tenant_id = 30 AND id = 1110 OR tenant_id = 31 AND id = 1111 OR tenant_id = 32 AND id = 1112 OR tenant_id = 33 AND id = 1113 OR tenant_id = 34 AND id = 1114 OR tenant_id = 35 AND id = 1115 OR tenant_id = 36 AND id = 1116 OR tenant_id = 37 AND id = 1117 OR tenant_id = 38 AND id = 1118 OR tenant_id = 39 AND id = 1119 OR tenant_id = 40 AND id = 1120 OR tenant_id = 41 AND id = 1121 OR tenant_id = 42 AND id = 1122 OR tenant_id = 43 AND id = 1123 OR tenant_id = 44 AND id = 1124 OR tenant_id = 0 AND id = 1125 OR tenant_id = 1 AND id = 1126 OR tenant_id = 2 AND id = 1127 OR tenant_id = 3 AND id = 1128 OR tenant_id = 4 AND id = 1129 OR tenant_id = 5 AND id = 1130 OR tenant_id = 6 AND id = 1131 OR tenant_id = 7 AND id = 1132 OR tenant_id = 8 AND id = 1133 OR tenant_id = 9 AND id = 1134 OR tenant_id = 10 AND id = 1135 OR tenant_id = 11 AND id = 1136 OR tenant_id = 12 AND id = 1137 OR tenant_id = 13 AND id = 1138 OR tenant_id = 14 AND id = 1139 OR tenant_id = 15 AND id = 1140 OR tenant_id = 16 AND id = 1141 OR tenant_id = 17 AND id = 1142 OR tenant_id = 18 AND id = 1143 OR tenant_id = 19 AND id = 1144 OR tenant_id = 20 AND id = 1145 OR tenant_id = 21 AND id = 1146 OR tenant_id = 22 AND id = 1147 OR tenant_id = 23 AND id = 1148 OR tenant_id = 24 AND id = 1149 OR tenant_id = 25 AND id = 1150 OR tenant_id = 26 AND id = 1151 OR tenant_id = 27 AND id = 1152 OR tenant_id = 28 AND id = 1153 OR tenant_id = 29 AND id = 1154 OR tenant_id = 30 AND id = 1155 OR tenant_id = 31 AND id = 1156 OR tenant_id = 32 AND id = 1157 OR tenant_id = 33 AND id = 1158 OR tenant_id = 34 AND id = 1159 OR tenant_id = 35 AND id = 1160 OR tenant_id = 36 AND id = 1161 OR tenant_id = 37 AND id = 1162 OR tenant_id = 38 AND id = 1163 OR tenant_id = 39 AND id = 1164 OR tenant_id = 40 AND id = 1165 OR tenant_id = 41 AND id = 1166 OR tenant_id = 42 AND id = 1167 OR tenant_id = 43 AND id = 1168 OR tenant_id = 44 AND id = 1169 OR tenant_id = 0 AND id = 1170 OR tenant_id = 1 AND id = 1171 OR tenant_id = 2 AND id = 1172 OR tenant_id = 3 AND id = 1173 OR tenant_id = 4 AND id = 1174 OR tenant_id = 5 AND id = 1175 OR tenant_id = 6 AND id = 1176 OR tenant_id = 7 AND id = 1177 OR tenant_id = 8 AND id = 1178 OR tenant_id = 9 AND id = 1179 OR tenant_id = 10 AND id = 1180 OR tenant_id = 11 AND id = 1181 OR tenant_id = 12 AND id = 1182 OR tenant_id = 13 AND id = 1183 OR tenant_id = 14 AND id = 1184 OR tenant_id = 15 AND id = 1185 OR tenant_id = 16 AND id = 1186 OR tenant_id = 17 AND id = 1187 OR tenant_id = 18 AND id = 1188 OR tenant_id = 19 AND id = 1189 OR tenant_id = 20 AND id = 1190 OR tenant_id = 21 AND id = 1191 OR tenant_id = 22 AND id = 1192 OR tenant_id = 23 AND id = 1193 OR tenant_id = 24 AND id = 1194 OR tenant_id = 25 AND id = 1195 OR tenant_id = 26 AND id = 1196 OR tenant_id = 27 AND id = 1197 OR tenant_id = 28 AND id = 1198 OR tenant_id = 29 AND id = 1199

SELECT count(*) FROM tenants WHERE id = 0 OR id = 1 OR id = 2 OR id = 3 OR id = 4 OR id = 5 OR id = 6 OR id = 7 OR id = 8 OR id = 9 OR id = 10 OR id = 11 OR id = 12 OR id = 13 OR id = 14 OR id = 15 OR id = 16 OR id = 17 OR id = 18 OR id = 19 OR id = 20 OR id = 21 OR id = 22 OR id = 23 OR id = 24 OR id = 25 OR id = 26 OR id = 27 OR id = 28 OR id = 29 OR id = 30 OR id = 31 OR id = 32 OR id = 33 OR id = 34 OR id = 35 OR id = 36 OR id = 37 OR id = 38 OR id = 39 OR id = 40 OR id = 41 OR id = 42 OR id = 43 OR id = 44 OR id = 45 OR id = 46 OR id = 47 OR id = 48 OR id = 49 OR id = 50 OR id = 51 OR id = 52 OR id = 53 OR id = 54 OR id = 55 OR id = 56 OR id = 57 OR id = 58 OR id = 59 OR id = 60 OR id = 61 OR id = 62 OR id = 63 OR id = 64 OR id = 65 OR id = 66 OR id = 67 OR id = 68 OR id = 69 OR id = 70 OR id = 71 OR id = 72 OR id = 73 OR id = 74 OR id = 75 OR id = 76 OR id = 77 OR id = 78 OR id = 79 OR id = 80 OR id = 81 OR id = 82 OR id = 83 OR id = 84 OR id = 85 OR id = 86 OR id = 87 OR id = 88 OR id = 89 OR id = 90 OR id = 91 OR id = 92 OR id = 93 OR id = 94 OR id = 95 OR id = 96 OR id = 97 OR id = 98 OR id = 99 OR id = 100 OR id = 101 OR id = 102 OR id = 103 OR id = 104 OR id = 105 OR id = 106 OR id = 107 OR id = 108 OR id = 109 OR id = 110 OR id = 111 OR id = 112 OR id = 113 OR id = 114 OR id = 115 OR id = 116 OR id = 117 OR id = 118 OR id = 119 OR id = 120 OR id = 121 OR id = 122 OR id = 123 OR id = 124 OR id = 125 OR id = 126 OR id = 127 OR id = 128 OR id = 129 OR id = 130 OR id = 131 OR id = 132 OR id = 133 OR id = 134 OR id = 135 OR id = 136 OR id = 137 OR id = 138 OR id = 139 OR id = 140 OR id = 141 OR id = 142 OR id = 143 OR id = 144 OR id = 145 OR id = 146 OR id = 147 OR id = 148 OR id = 149 OR id = 150 OR id = 151 OR id = 152 OR id = 153 OR id = 154 OR id = 155 OR id = 156 OR id = 157 OR id = 158 OR id = 159 OR id = 160 OR id = 161 OR id = 162 OR id = 163 OR id = 164 OR id = 165 OR id = 166 OR id = 167 OR id = 168 OR id = 169 OR id = 170 OR id = 171 OR id = 172 OR id = 173 OR id = 174 OR id = 175 OR id = 176 OR id = 177 OR id = 178 OR id = 179 OR id = 180 OR id = 181 OR id = 182 OR id = 183 OR id = 184 OR id = 185 OR id = 186 OR id = 187 OR id = 188 OR id = 189 OR id = 190 OR id = 191 OR id = 192 OR id = 193 OR id = 194 OR id = 195 OR id = 196 OR id = 197 OR id = 198 OR id = 199 OR id = 200 OR id = 201 OR id = 202 OR id = 203 OR id = 204 OR id = 205 OR id = 206 OR id = 207 OR id = 208 OR id = 209 OR id = 210 OR id = 211 OR id = 212 OR id = 213 OR id = 214 OR id = 215 OR id = 216 OR id = 217 OR id = 218 OR id = 219 OR id = 220 OR id = 221 OR id = 222 OR id = 223 OR id = 224 OR id = 225 OR id = 226 OR id = 227 OR id = 228 OR id = 229 OR id = 230 OR id = 231 OR id = 232 OR id = 233 OR id = 234 OR id = 235 OR id = 236 OR id = 237 OR id = 238 OR id = 239 OR id = 240 OR id = 241 OR id = 242 OR id = 243 OR id = 244 OR id = 245 OR id = 246 OR id = 247 OR id = 248 OR id = 249 OR id = 250 OR id = 251 OR id = 252 OR id = 253 OR id = 254 OR id = 255 OR id = 256 OR id = 257 OR id = 258 OR id = 259 OR id = 260 OR id = 261 OR id = 262 OR id = 263 OR id = 264 OR id = 265 OR id = 266 OR id = 267 OR id = 268 OR id = 269 OR id = 270 OR id = 271 OR id = 272 OR id = 273 OR id = 274 OR id = 275 OR id = 276 OR id = 277 OR id = 278 OR id = 279 OR id = 280 OR id = 281 OR id = 282 OR id = 283 OR id = 284 OR id = 285 OR id = 286 OR id = 287 OR id = 288 OR id = 289 OR id = 290 OR id = 291 OR id = 292 OR id = 293 OR id = 294 OR id = 295 OR id = 296 OR id = 297 OR id = 298 OR id = 299 OR id = 300 OR id = 301 OR id = 302 OR id = 303 OR id = 304 OR id = 305 OR id = 306 OR id = 307 OR id = 308 OR id = 309 OR id = 310 OR id = 311 OR id = 312 OR id = 313 OR id = 314 OR id = 315 OR id = 316 OR id = 317 OR id = 318 OR id = 319 OR id = 320 OR id = 321 OR id = 322 OR id = 323 OR id = 324 OR id = 325 OR id = 326 OR id = 327 OR id = 328 OR id = 329 OR id = 330 OR id = 331 OR id = 332 OR id = 333 OR id = 334 OR id = 335 OR id = 336 OR id = 337 OR id = 338 OR id = 339 OR id = 340 OR id = 341 OR id = 342 OR id = 343 OR id = 344 OR id = 345 OR id = 346 OR id = 347 OR id = 348 OR id = 349 OR id = 350 OR id = 351 OR id = 352 OR id = 353 OR id = 354 OR id = 355 OR id = 356 OR id = 357 OR id = 358 OR id = 359 OR id = 360 OR id = 361 OR id = 362 OR id = 363 OR id = 364 OR id = 365 OR id = 366 OR id = 367 OR id = 368 OR id = 369 OR id = 370 OR id = 371 OR id = 372 OR id = 373 OR id = 374 OR id = 375 OR id = 376 OR id = 377 OR id = 378 OR id = 379 OR id = 380 OR id = 381 OR id = 382 OR id = 383 OR id = 384 OR id = 385 OR id = 386 OR id = 387 OR id = 388 OR id = 389 OR id = 390 OR id = 391 OR id = 392 OR id = 393 OR id = 394 OR id = 395 OR id = 396 OR id = 397 OR id = 398 OR id = 399 OR id = 400 OR id = 401 OR id = 402 OR id = 403 OR id = 404 OR id = 405 OR id = 406 OR id = 407 OR id = 408 OR id = 409 OR id = 410 OR id = 411 OR id = 412 OR id = 413 OR id = 414 OR id = 415 OR id = 416 OR id = 417 OR id = 418 OR id = 419 OR id = 420 OR id = 421 OR id = 422 OR id = 423 OR id = 424 OR id = 425 OR id = 426 OR id = 427 OR id = 428 OR id = 429 OR id = 430 OR id = 431 OR id = 432 OR id = 433 OR id = 434 OR id = 435 OR id = 436 OR id = 437 OR id = 438 OR id = 439 OR id = 440 OR id = 441 OR id = 442 OR id = 443 OR id = 444 OR id = 445 OR id = 446 OR id = 447 OR id = 448 OR id = 449 OR id = 450 OR id = 451 OR id = 452 OR id = 453 OR id = 454 OR id = 455 OR id = 456 OR id = 457 OR id = 458 OR id = 459 OR id = 460 OR id = 461 OR id = 462 OR id = 463 OR id = 464 OR id = 465 OR id = 466 OR id = 467 OR id = 468 OR id = 469 OR id = 470 OR id = 471 OR id = 472 OR id = 473 OR id = 474 OR id = 475 OR id = 476 OR id = 477 OR id = 478 OR id = 479 OR id = 480 OR id = 481 OR id = 482 OR id = 483 OR id = 484 OR id = 485 OR id = 486 OR id = 487 OR id = 488 OR id = 489 OR id = 490 OR id = 491 OR id = 492 OR id = 493 OR id = 494 OR id = 495 OR id = 496 OR id = 497 OR id = 498 OR id = 499 OR id = 500 OR id = 501 OR id = 502 OR id = 503 OR id = 504 OR id = 505 OR id = 506 OR id = 507 OR id = 508 OR id = 509 OR id = 510 OR id = 511 OR id = 512 OR id = 513 OR id = 514 OR id = 515 OR id = 516 OR id = 517 OR id = 518 OR id = 519 OR id = 520 OR id = 521 OR id = 522 OR id = 523 OR id = 524 OR id = 525 OR id = 526 OR id = 527 OR id = 528 OR id = 529 OR id = 530 OR id = 531 OR id = 532 OR id = 533 OR id = 534 OR id = 535 OR id = 536 OR id = 537 OR id = 538 OR id = 539 OR id = 540 OR id = 541 OR id = 542 OR id = 543 OR id = 544 OR id = 545 OR id = 546 OR id = 547 OR id = 548 OR id = 549 OR id = 550 OR id = 551 OR id = 552 OR id = 553 OR id = 554 OR id = 555 OR id = 556 OR id = 557 OR id = 558 OR id = 559 OR id = 560 OR id = 561 OR id = 562 OR id = 563 OR id = 564 OR id = 565 OR id = 566 OR id = 567 OR id = 568 OR id = 569 OR id = 570 OR id = 571 OR id = 572 OR id = 573 OR id = 574 OR id = 575 OR id = 576 OR id = 577 OR id = 578 OR id = 579 OR id = 580 OR id = 581 OR id = 582 OR id = 583 OR id = 584 OR id = 585 OR id = 586 OR id = 587 OR id = 588 OR id = 589 OR id = 590 OR id = 591 OR id = 592 OR id = 593 OR id = 594 OR id = 595 OR id = 596 OR id = 597 OR id = 598 OR id = 599 OR id = 600 OR id = 601 OR id = 602 OR id = 603 OR id = 604 OR id = 605 OR id = 606 OR id = 607 OR id = 608 OR id = 609 OR id = 610 OR id = 611 OR id = 612 OR id = 613 OR id = 614 OR id = 615 OR id = 616 OR id = 617 OR id = 618 OR id = 619 OR id = 620 OR id = 621 OR id = 622 OR id = 623 OR id = 624 OR id = 625 OR id = 626 OR id = 627 OR id = 628 OR id = 629 OR id = 630 OR id = 631 OR id = 632 OR id = 633 OR id = 634 OR id = 635 OR id = 636 OR id = 637 OR id = 638 OR id = 639 OR id = 640 OR id = 641 OR id = 642 OR id = 643 OR id = 644 OR id = 645 OR id = 646 OR id = 647 OR id = 648 OR id = 649 OR id = 650 OR id = 651 OR id = 652 OR id = 653 OR id = 654 OR id = 655 OR id = 656 OR id = 657 OR id = 658 OR id = 659 OR id = 660 OR id = 661 OR id = 662 OR id = 663 OR id = 664 OR id = 665 OR id = 666 OR id = 667 OR id = 668 OR id = 669 OR id = 670 OR id = 671 OR id = 672 OR id = 673 OR id = 674 OR id = 675 OR id = 676 OR id = 677 OR id = 678 OR id = 679 OR id = 680 OR id = 681 OR id = 682 OR id = 683 OR id = 684 OR id = 685 OR id = 686 OR id = 687 OR id = 688 OR id = 689 OR id = 690 OR id = 691 OR id = 692 OR id = 693 OR id = 694 OR id = 695 OR id = 696 OR id = 697 OR id = 698 OR id = 699 OR id = 700 OR id = 701 OR id = 702 OR id = 703 OR id = 704 OR id = 705 OR id = 706 OR id = 707 OR id = 708 OR id = 709 OR id = 710 OR id = 711 OR id = 712 OR id = 713 OR id = 714 OR id = 715 OR id = 716 OR id = 717 OR id = 718 OR id = 719 OR id = 720 OR id = 721 OR id = 722 OR id = 723 OR id = 724 OR id = 725 OR id = 726 OR id = 727 OR id = 728 OR id = 729 OR id = 730 OR id = 731 OR id = 732 OR id = 733 OR id = 734 OR id = 735 OR id = 736 OR id = 737 OR id = 738 OR id = 739 OR id = 740 OR id = 741 OR id = 742 OR id = 743 OR id = 744 OR id = 745 OR id = 746 OR id = 747 OR id = 748 OR id = 749 OR id = 750 OR id = 751 OR id = 752 OR id = 753 OR id = 754 OR id = 755 OR id = 756 OR id = 757 OR id = 758 OR id = 759 OR id = 760 OR id = 761 OR id = 762 OR id = 763 OR id = 764 OR id = 765 OR id = 766 OR id = 767 OR id = 768 OR id = 769 OR id = 770 OR id = 771 OR id = 772 OR id = 773 OR id = 774 OR id = 775 OR id = 776 OR id = 777 OR id = 778 OR id = 779 OR id = 780 OR id = 781 OR id = 782 OR id = 783 OR id = 784 OR id = 785 OR id = 786 OR id = 787 OR id = 788 OR id = 789 OR id = 790 OR id = 791 OR id = 792 OR id = 793 OR id = 794 OR id = 795 OR id = 796 OR id = 797 OR id = 798 OR id = 799 OR id = 800 OR id = 801 OR id = 802 OR id = 803 OR id = 804 OR id = 805 OR id = 806 OR id = 807 OR id = 808 OR id = 809 OR id = 810 OR id = 811 OR id = 812 OR id = 813 OR id = 814 OR id = 815 OR id = 816 OR id = 817 OR id = 818 OR id = 819 OR id = 820 OR id = 821 OR id = 822 OR id = 823 OR id = 824 OR id = 825 OR id = 826 OR id = 827 OR id = 828 OR id = 829 OR id = 830 OR id = 831 OR id = 832 OR id = 833 OR id = 834 OR id = 835 OR id = 836 OR id = 837 OR id = 838 OR id = 839 OR id = 840 OR id = 841 OR id = 842 OR id = 843 OR id = 844 OR id = 845 OR id = 846 OR id = 847 OR id = 848 OR id = 849 OR id = 850 OR id = 851 OR id = 852 OR id = 853 OR id = 854 OR id = 855 OR id = 856 OR id = 857 OR id = 858 OR id = 859 OR id = 860 OR id = 861 OR id = 862 OR id = 863 OR id = 864 OR id = 865 OR id = 866 OR id = 867 OR id = 868 OR id = 869 OR id = 870 OR id = 871 OR id = 872 OR id = 873 OR id = 874 OR id = 875 OR id = 876 OR id = 877 OR id = 878 OR id = 879 OR id = 880 OR id = 881 OR id = 882 OR id = 883 OR id = 884 OR id = 885 OR id = 886 OR id = 887 OR id = 888 OR id = 889 OR id = 890 OR id = 891 OR id = 892 OR id = 893 OR id = 894 OR id = 895 OR id = 896 OR id = 897 OR id = 898 OR id = 899 OR id = 900 OR id = 901 OR id = 902 OR id = 903 OR id = 904 OR id = 905 OR id = 906 OR id = 907 OR id = 908 OR id = 909 OR id = 910 OR id = 911 OR id = 912 OR id = 913 OR id = 914 OR id = 915 OR id = 916 OR id = 917 OR id = 918 OR id = 919 OR id = 920 OR id = 921 OR id = 922 OR id = 923 OR id = 924 OR id = 925 OR id = 926 OR id = 927 OR id = 928 OR id = 929 OR id = 930 OR id = 931 OR id = 932 OR id = 933 OR id = 934 OR id = 935 OR id = 936 OR id = 937 OR id = 938 OR id = 939 OR id = 940 OR id = 941 OR id = 942 OR id = 943 OR id = 944 OR id = 945 OR id = 946 OR id = 947 OR id = 948 OR id = 949 OR id = 950 OR id = 951 OR id = 952 OR id = 953 OR id = 954 OR id = 955 OR id = 956 OR id = 957 OR id = 958 OR id = 959 OR id = 960 OR id = 961 OR id = 962 OR id = 963 OR id = 964 OR id = 965 OR id = 966 OR id = 967 OR id = 968 OR id = 969 OR id = 970 OR id = 971 OR id = 972 OR id = 973 OR id = 974 OR id = 975 OR id = 976 OR id = 977 OR id = 978 OR id = 979 OR id = 980 OR id = 981 OR id = 982 OR id = 983 OR id = 984 OR id = 985 OR id = 986 OR id = 987 OR id = 988 OR id = 989 OR id = 990 OR id = 991 OR id = 992 OR id = 993 OR id = 994 OR id = 995 OR id = 996 OR id = 997 OR id = 998 OR id = 999 OR id = 1000 OR id = 1001 OR id = 1002 OR id = 1003 OR id = 1004 OR id = 1005 OR id = 1006 OR id = 1007 OR id = 1008 OR id = 1009 OR id = 1010 OR id = 1011 OR id = 1012 OR id = 1013 OR id = 1014 OR id = 1015 OR id = 1016 OR id = 1017 OR id = 1018 OR id = 1019 OR id = 1020 OR id = 1021 OR id = 1022 OR id = 1023 OR id = 1024 OR id = 1025 OR id = 1026 OR id = 1027 OR id = 1028 OR id = 1029 OR id = 1030 OR id = 1031 OR id = 1032 OR id = 1033 OR id = 1034 OR id = 1035 OR id = 1036 OR id = 1037 OR id = 1038 OR id = 1039 OR id = 1040 OR id = 1041 OR id = 1042 OR id = 1043 OR id = 1044 OR id = 1045 OR id = 1046 OR id = 1047 OR id = 1048 OR id = 1049 OR id = 1050 OR id = 1051 OR id = 1052 OR id = 1053 OR id = 1054 OR id = 1055 OR id = 1056 OR id = 1057 OR id = 1058 OR id = 1059 OR id = 1060 OR id = 1061 OR id = 1062 OR id = 1063 OR id = 1064 OR id = 1065 OR id = 1066 OR id = 1067 OR id = 1068 OR id = 1069 OR id = 1070 OR id = 1071 OR id = 1072 OR id = 1073 OR id = 1074 OR id = 1075 OR id = 1076 OR id = 1077 OR id = 1078 OR id = 1079 OR id = 1080 OR id = 1081 OR id = 1082 OR id = 1083 OR id = 1084 OR id = 1085 OR id = 1086 OR id = 1087 OR id = 1088 OR id = 1089 OR id = 1090 OR id = 1091 OR id = 1092 OR id = 1093 OR id = 1094 OR id = 1095 OR id = 1096 OR id = 1097 OR id = 1098 OR id = 1099 OR id = 1100 OR id = 1101 OR id = 1102 OR id = 1103 OR id = 1104 OR id = 1105 OR id = 1106 OR id = 1107 OR id = 1108 OR id = 1109 OR id = 1110 OR id = 1111 OR id = 1112 OR id = 1113 OR id = 1114 OR id = 1115 OR id = 1116 OR id = 1117 OR id = 1118 OR id = 1119 OR id = 1120 OR id = 1121 OR id = 1122 OR id = 1123 OR id = 1124 OR id = 1125 OR id = 1126 OR id = 1127 OR id = 1128 OR id = 1129 OR id = 1130 OR id = 1131 OR id = 1132 OR id = 1133 OR id = 1134 OR id = 1135 OR id = 1136 OR id = 1137 OR id = 1138 OR id = 1139 OR id = 1140 OR id = 1141 OR id = 1142 OR id = 1143 OR id = 1144 OR id = 1145 OR id = 1146 OR id = 1147 OR id = 1148 OR id = 1149 OR id = 1150 OR id = 1151 OR id = 1152 OR id = 1153 OR id = 1154 OR id = 1155 OR id = 1156 OR id = 1157 OR id = 1158 OR id = 1159 OR id = 1160 OR id = 1161 OR id = 1162 OR id = 1163 OR id = 1164 OR id = 1165 OR id = 1166 OR id = 1167 OR id = 1168 OR id = 1169 OR id = 1170 OR id = 1171 OR id = 1172 OR id = 1173 OR id = 1174 OR id = 1175 OR id = 1176 OR id = 1177 OR id = 1178 OR id = 1179 OR id = 1180 OR id = 1181 OR id = 1182 OR id = 1183 OR id = 1184 OR id = 1185 OR id = 1186 OR id = 1187 OR id = 1188 OR id = 1189 OR id = 1190 OR id = 1191 OR id = 1192 OR id = 1193 OR id = 1194 OR id = 1195 OR id = 1196 OR id = 1197 OR id = 1198 OR id = 1199 OR id = 1200 OR id = 1201 OR id = 1202 OR id = 1203 OR id = 1204 OR id = 1205 OR id = 1206 OR id = 1207 OR id = 1208 OR id = 1209 OR id = 1210 OR id = 1211 OR id = 1212 OR id = 1213 OR id = 1214 OR id = 1215 OR id = 1216 OR id = 1217 OR id = 1218 OR id = 1219 OR id = 1220 OR id = 1221 OR id = 1222 OR id = 1223 OR id = 1224 OR id = 1225 OR id = 1226 OR id = 1227 OR id = 1228 OR id = 1229 OR id = 1230 OR id = 1231 OR id = 1232 OR id = 1233 OR id = 1234 OR id = 1235 OR id = 1236 OR id = 1237 OR id = 1238 OR id = 1239 OR id = 1240 OR id = 1241 OR id = 1242 OR id = 1243 OR id = 1244 OR id = 1245 OR id = 1246 OR id = 1247 OR id = 1248 OR id = 1249 OR id = 1250 OR id = 1251 OR id = 1252 OR id = 1253 OR id = 1254 OR id = 1255 OR id = 1256 OR id = 1257 OR id = 1258 OR id = 1259 OR id = 1260 OR id = 1261 OR id = 1262 OR id = 1263 OR id = 1264 OR id = 1265 OR id = 1266 OR id = 1267 OR id = 1268 OR id = 1269 OR id = 1270 OR id = 1271 OR id = 1272 OR id = 1273 OR id = 1274 OR id = 1275 OR id = 1276 OR id = 1277 OR id = 1278 OR id = 1279 OR id = 1280 OR id = 1281 OR id = 1282 OR id = 1283 OR id = 1284 OR id = 1285 OR id = 1286 OR id = 1287 OR id = 1288 OR id = 1289 OR id = 1290 OR id = 1291 OR id = 1292 OR id = 1293 OR id = 1294 OR id = 1295 OR id = 1296 OR id = 1297 OR id = 1298 OR id = 1299 OR id = 1300 OR id = 1301 OR id = 1302 OR id = 1303 OR id = 1304 OR id = 1305 OR id = 1306 OR id = 1307 OR id = 1308 OR id = 1309 OR id = 1310 OR id = 1311 OR id = 1312 OR id = 1313 OR id = 1314 OR id = 1315 OR id = 1316 OR id = 1317 OR id = 1318 OR id = 1319 OR id = 1320 OR id = 1321 OR id = 1322 OR id = 1323 OR id = 1324 OR id = 1325 OR id = 1326 OR id = 1327 OR id = 1328 OR id = 1329 OR id = 1330 OR id = 1331 OR id = 1332 OR id = 1333 OR id = 1334 OR id = 1335 OR id = 1336 OR id = 1337 OR id = 1338 OR id = 1339 OR id = 1340 OR id = 1341 OR id = 1342 OR id = 1343 OR id = 1344 OR id = 1345 OR id = 1346 OR id = 1347 OR id = 1348 OR id = 1349 OR id = 1350 OR id = 1351 OR id = 1352 OR id = 1353 OR id = 1354 OR id = 1355 OR id = 1356 OR id = 1357 OR id = 1358 OR id = 1359 OR id = 1360 OR id = 1361 OR id = 1362 OR id = 1363 OR id = 1364 OR id = 1365 OR id = 1366 OR id = 1367 OR id = 1368 OR id = 1369 OR id = 1370 OR id = 1371 OR id = 1372 OR id = 1373 OR id = 1374 OR id = 1375 OR id = 1376 OR id = 1377 OR id = 1378 OR id = 1379 OR id = 1380 OR id = 1381 OR id = 1382 OR id = 1383 OR id = 1384 OR id = 1385 OR id = 1386 OR id = 1387 OR id = 1388 OR id = 1389 OR id = 1390 OR id = 1391 OR id = 1392 OR id = 1393 OR id = 1394 OR id = 1395 OR id = 1396 OR id = 1397 OR id = 1398 OR id = 1399 OR id = 1400 OR id = 1401 OR id = 1402 OR id = 1403 OR id = 1404 OR id = 1405 OR id = 1406 OR id = 1407 OR id = 1408 OR id = 1409 OR id = 1410 OR id = 1411 OR id = 1412 OR id = 1413 OR id = 1414 OR id = 1415 OR id = 1416 OR id = 1417 OR id = 1418 OR id = 1419 OR id = 1420 OR id = 1421 OR id = 1422 OR id = 1423 OR id = 1424 OR id = 1425 OR id = 1426 OR id = 1427 OR id = 1428 OR id = 1429 OR id = 1430 OR id = 1431 OR id = 1432 OR id = 1433 OR id = 1434 OR id = 1435 OR id = 1436 OR id = 1437 OR id = 1438 OR id = 1439 OR id = 1440 OR id = 1441 OR id = 1442 OR id = 1443 OR id = 1444 OR id = 1445 OR id = 1446 OR id = 1447 OR id = 1448 OR id = 1449 OR id = 1450 OR id = 1451 OR id = 1452 OR id = 1453 OR id = 1454 OR id = 1455 OR id = 1456 OR id = 1457 OR id = 1458 OR id = 1459 OR id = 1460 OR id = 1461 OR id = 1462 OR id = 1463 OR id = 1464 OR id = 1465 OR id = 1466 OR id = 1467 OR id = 1468 OR id = 1469 OR id = 1470 OR id = 1471 OR id = 1472 OR id = 1473 OR id = 1474 OR id = 1475 OR id = 1476 OR id = 1477 OR id = 1478 OR id = 1479 OR id = 1480 OR id = 1481 OR id = 1482 OR id = 1483 OR id = 1484 OR id = 1485 OR id = 1486 OR id = 1487 OR id = 1488 OR id = 1489 OR id = 1490 OR id = 1491 OR id = 1492 OR id = 1493 OR id = 1494 OR id = 1495 OR id = 1496 OR id = 1497 OR id = 1498 OR id = 1499 OR id = 1500 OR id = 1501 OR id = 1502 OR id = 1503 OR id = 1504 OR id = 1505 OR id = 1506 OR id = 1507 OR id = 1508 OR id = 1509 OR id = 1510 OR id = 1511 OR id = 1512 OR id = 1513 OR id = 1514 OR id = 1515 OR id = 1516 OR id = 1517 OR id = 1518 OR id = 1519 OR id = 1520 OR id = 1521 OR id = 1522 OR id = 1523 OR id = 1524 OR id = 1525 OR id = 1526 OR id = 1527 OR id = 1528 OR id = 1529 OR id = 1530 OR id = 1531 OR id = 1532 OR id = 1533 OR id = 1534 OR id = 1535 OR id = 1536 OR id = 1537 OR id = 1538 OR id = 1539 OR id = 1540 OR id = 1541 OR id = 1542 OR id = 1543 OR id = 1544 OR id = 1545 OR id = 1546 OR id = 1547 OR id = 1548 OR id = 1549 OR id = 1550 OR id = 1551 OR id = 1552 OR id = 1553 OR id = 1554 OR id = 1555 OR id = 1556 OR id = 1557 OR id = 1558 OR id = 1559 OR id = 1560 OR id = 1561 OR id = 1562 OR id = 1563 OR id = 1564 OR id = 1565 OR id = 1566 OR id = 1567 OR id = 1568 OR id = 1569 OR id = 1570 OR id = 1571 OR id = 1572 OR id = 1573 OR id = 1574 OR id = 1575 OR id = 1576 OR id = 1577 OR id = 1578 OR id = 1579 OR id = 1580 OR id = 1581 OR id = 1582 OR id = 1583 OR id = 1584 OR id = 1585 OR id = 1586 OR id = 1587 OR id = 1588 OR id = 1589 OR id = 1590 OR id = 1591 OR id = 1592 OR id = 1593 OR id = 1594 OR id = 1595 OR id = 1596 OR id = 1597 OR id = 1598 OR id = 1599 OR id = 1600 OR id = 1601 OR id = 1602 OR id = 1603 OR id = 1604 OR id = 1605 OR id = 1606 OR id = 1607 OR id = 1608 OR id = 1609 OR id = 1610 OR id = 1611 OR id = 1612 OR id = 1613 OR id = 1614 OR id = 1615 OR id = 1616 OR id = 1617 OR id = 1618 OR id = 1619 OR id = 1620 OR id = 1621 OR id = 1622 OR id = 1623 OR id = 1624 OR id = 1625 OR id = 1626 OR id = 1627 OR id = 1628 OR id = 1629 OR id = 1630 OR id = 1631 OR id = 1632 OR id = 1633 OR id = 1634 OR id = 1635 OR id = 1636 OR id = 1637 OR id = 1638 OR id = 1639 OR id = 1640 OR id = 1641 OR id = 1642 OR id = 1643 OR id = 1644 OR id = 1645 OR id = 1646 OR id = 1647 OR id = 1648 OR id = 1649 OR id = 1650 OR id = 1651 OR id = 1652 OR id = 1653 OR id = 1654 OR id = 1655 OR id = 1656 OR id = 1657 OR id = 1658 OR id = 1659 OR id = 1660 OR id = 1661 OR id = 1662 OR id = 1663 OR id = 1664 OR id = 1665 OR id = 1666 OR id = 1667 OR id = 1668 OR id = 1669 OR id = 1670 OR id = 1671 OR id = 1672 OR id = 1673 OR id = 1674 OR id = 1675 OR id = 1676 OR id = 1677 OR id = 1678 OR id = 1679 OR id = 1680 OR id = 1681 OR id = 1682 OR id = 1683 OR id = 1684 OR id = 1685 OR id = 1686 OR id = 1687 OR id = 1688 OR id = 1689 OR id = 1690 OR id = 1691 OR id = 1692 OR id = 1693 OR id = 1694 OR id = 1695 OR id = 1696 OR id = 1697 OR id = 1698 OR id = 1699 OR id = 1700 OR id = 1701 OR id = 1702 OR id = 1703 OR id = 1704 OR id = 1705 OR id = 1706 OR id = 1707 OR id = 1708 OR id = 1709 OR id = 1710 OR id = 1711 OR id = 1712 OR id = 1713 OR id = 1714 OR id = 1715 OR id = 1716 OR id = 1717 OR id = 1718 OR id = 1719 OR id = 1720 OR id = 1721 OR id = 1722 OR id = 1723 OR id = 1724 OR id = 1725 OR id = 1726 OR id = 1727 OR id = 1728 OR id = 1729 OR id = 1730 OR id = 1731 OR id = 1732 OR id = 1733 OR id = 1734 OR id = 1735 OR id = 1736 OR id = 1737 OR id = 1738 OR id = 1739 OR id = 1740 OR id = 1741 OR id = 1742 OR id = 1743 OR id = 1744 OR id = 1745 OR id = 1746 OR id = 1747 OR id = 1748 OR id = 1749 OR id = 1750 OR id = 1751 OR id = 1752 OR id = 1753 OR id = 1754 OR id = 1755 OR id = 1756 OR id = 1757 OR id = 1758 OR id = 1759 OR id = 1760 OR id = 1761 OR id = 1762 OR id = 1763 OR id = 1764 OR id = 1765 OR id = 1766 OR id = 1767 OR id = 1768 OR id = 1769 OR id = 1770 OR id = 1771 OR id = 1772 OR id = 1773 OR id = 1774 OR id = 1775 OR id = 1776 OR id = 1777 OR id = 1778 OR id = 1779 OR id = 1780 OR id = 1781 OR id = 1782 OR id = 1783 OR id = 1784 OR id = 1785 OR id = 1786 OR id = 1787 OR id = 1788 OR id = 1789 OR id = 1790 OR id = 1791 OR id = 1792 OR id = 1793 OR id = 1794 OR id = 1795 OR id = 1796 OR id = 1797 OR id = 1798 OR id = 1799 OR id = 1800 OR id = 1801 OR id = 1802 OR id = 1803 OR id = 1804 OR id = 1805 OR id = 1806 OR id = 1807 OR id = 1808 OR id = 1809 OR id = 1810 OR id = 1811 OR id = 1812 OR id = 1813 OR id = 1814 OR id = 1815 OR id = 1816 OR id = 1817 OR id = 1818 OR id = 1819 OR id = 1820 OR id = 1821 OR id = 1822 OR id = 1823 OR id = 1824 OR id = 1825 OR id = 1826 OR id = 1827 OR id = 1828 OR id = 1829 OR id = 1830 OR id = 1831 OR id = 1832 OR id = 1833 OR id = 1834 OR id = 1835 OR id = 1836 OR id = 1837 OR id = 1838 OR id = 1839 OR id = 1840 OR id = 1841 OR id = 1842 OR id = 1843 OR id = 1844 OR id = 1845 OR id = 1846 OR id = 1847 OR id = 1848 OR id = 1849 OR id = 1850 OR id = 1851 OR id = 1852 OR id = 1853 OR id = 1854 OR id = 1855 OR id = 1856 OR id = 1857 OR id = 1858 OR id = 1859 OR id = 1860 OR id = 1861 OR id = 1862 OR id = 1863 OR id = 1864 OR id = 1865 OR id = 1866 OR id = 1867 OR id = 1868 OR id = 1869 OR id = 1870 OR id = 1871 OR id = 1872 OR id = 1873 OR id = 1874 OR id = 1875 OR id = 1876 OR id = 1877 OR id = 1878 OR id = 1879 OR id = 1880 OR id = 1881 OR id = 1882 OR id = 1883 OR id = 1884 OR id = 1885 OR id = 1886 OR id = 1887 OR id = 1888 OR id = 1889 OR id = 1890 OR id = 1891 OR id = 1892 OR id = 1893 OR id = 1894 OR id = 1895 OR id = 1896 OR id = 1897 OR id = 1898 OR id = 1899 OR id = 1900 OR id = 1901 OR id = 1902 OR id = 1903 OR id = 1904 OR id = 1905 OR id = 1906 OR id = 1907 OR id = 1908 OR id = 1909 OR id = 1910 OR id = 1911 OR id = 1912 OR id = 1913 OR id = 1914 OR id = 1915 OR id = 1916 OR id = 1917 OR id = 1918 OR id = 1919 OR id = 1920 OR id = 1921 OR id = 1922 OR id = 1923 OR id = 1924 OR id = 1925 OR id = 1926 OR id = 1927 OR id = 1928 OR id = 1929 OR id = 1930 OR id = 1931 OR id = 1932 OR id = 1933 OR id = 1934 OR id = 1935 OR id = 1936 OR id = 1937 OR id = 1938 OR id = 1939 OR id = 1940 OR id = 1941 OR id = 1942 OR id = 1943 OR id = 1944 OR id = 1945 OR id = 1946 OR id = 1947 OR id = 1948 OR id = 1949 OR id = 1950 OR id = 1951 OR id = 1952 OR id = 1953 OR id = 1954 OR id = 1955 OR id = 1956 OR id = 1957 OR id = 1958 OR id = 1959 OR id = 1960 OR id = 1961 OR id = 1962 OR id = 1963 OR id = 1964 OR id = 1965 OR id = 1966 OR id = 1967 OR id = 1968 OR id = 1969 OR id = 1970 OR id = 1971 OR id = 1972 OR id = 1973 OR id = 1974 OR id = 1975 OR id = 1976 OR id = 1977 OR id = 1978 OR id = 1979 OR id = 1980 OR id = 1981 OR id = 1982 OR id = 1983 OR id = 1984 OR id = 1985 OR id = 1986 OR id = 1987 OR id = 1988 OR id = 1989 OR id = 1990 OR id = 1991 OR id = 1992 OR id = 1993 OR id = 1994 OR id = 1995 OR id = 1996 OR id = 1997 OR id = 1998 OR id = 1999

-- Locks of joined rows
-- script
BEGIN;
SELECT a.id, t.id, t.* FROM accounts a JOIN transfers t ON t.tenant_id = a.tenant_id AND t.account_id = a.id ORDER BY a.tenant_id, a.id, t.id LIMIT 3 FOR UPDATE OF a;
SELECT *, a.amount + t.amount FROM accounts a JOIN transfers t ON t.tenant_id = a.tenant_id AND t.account_id = a.id WHERE a.hits > 0 ORDER BY a.tenant_id DESC, t.id, 1 LIMIT 4 OFFSET 1 FOR UPDATE;
SELECT a.id, t.amount FROM accounts a, transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id ORDER BY t.amount DESC, a.tenant_id, a.id, t.id LIMIT 3 FOR NO KEY UPDATE OF t SKIP LOCKED;
SELECT a.id, t.id AS other, tenant_id FROM accounts a JOIN transfers t USING (tenant_id) WHERE a.id < 3 ORDER BY tenant_id, a.id, other LIMIT 5 FOR SHARE;
SELECT a.id, t.name FROM accounts a JOIN tenants t ON t.id = a.tenant_id WHERE t.seats > 3 ORDER BY a.tenant_id, a.id LIMIT 5 FOR UPDATE OF a SKIP LOCKED;
SELECT a.id, b.id AS b, b.owner FROM accounts a JOIN accounts b ON a.tenant_id = b.tenant_id AND a.id < b.id ORDER BY 1, 2, a.tenant_id LIMIT 6 FOR UPDATE OF b;
COMMIT;

-- Spellings of Postgres's own regression SQL.
SELECT tenant_id, customer_id, count(*) FROM orders WHERE tenant_id < 6 GROUP BY GROUPING SETS ((), GROUPING SETS ((tenant_id), (tenant_id, customer_id))) ORDER BY 1, 2, 3

SELECT t.id FROM tenants* t WHERE t.id < 5 ORDER BY 1

SELECT id, sum(total) OVER (ORDER BY placed_at RANGE BETWEEN '1 day'::interval PRECEDING AND CURRENT ROW) FROM orders WHERE tenant_id IN (1, 2) ORDER BY 1
