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
SELECT count(*), max(id) FROM orders WHERE tenant_id = 0 AND id = 0 OR tenant_id = 1 AND id = 1 OR tenant_id = 2 AND id = 2 OR tenant_id = 3 AND id = 3 OR tenant_id = 4 AND id = 4 OR tenant_id = 5 AND id = 5 OR tenant_id = 6 AND id = 6 OR tenant_id = 7 AND id = 7 OR tenant_id = 8 AND id = 8 OR tenant_id = 9 AND id = 9 OR tenant_id = 10 AND id = 10 OR tenant_id = 11 AND id = 11 OR tenant_id = 12 AND id = 12 OR tenant_id = 13 AND id = 13 OR tenant_id = 14 AND id = 14 OR tenant_id = 15 AND id = 15 OR tenant_id = 16 AND id = 16 OR tenant_id = 17 AND id = 17 OR tenant_id = 18 AND id = 18 OR tenant_id = 19 AND id = 19 OR tenant_id = 20 AND id = 20 OR tenant_id = 21 AND id = 21 OR tenant_id = 22 AND id = 22 OR tenant_id = 23 AND id = 23 OR tenant_id = 24 AND id = 24 OR tenant_id = 25 AND id = 25 OR tenant_id = 26 AND id = 26 OR tenant_id = 27 AND id = 27 OR tenant_id = 28 AND id = 28 OR tenant_id = 29 AND id = 29

SELECT count(*) FROM tenants WHERE id = 0 OR id = 1 OR id = 2 OR id = 3 OR id = 4 OR id = 5 OR id = 6 OR id = 7 OR id = 8 OR id = 9 OR id = 10 OR id = 11 OR id = 12 OR id = 13 OR id = 14 OR id = 15 OR id = 16 OR id = 17 OR id = 18 OR id = 19 OR id = 20 OR id = 21 OR id = 22 OR id = 23 OR id = 24 OR id = 25 OR id = 26 OR id = 27 OR id = 28 OR id = 29

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

SELECT id, sum(total) OVER (ORDER BY placed RANGE BETWEEN '1 day'::interval PRECEDING AND CURRENT ROW) FROM orders WHERE tenant_id IN (1, 2) ORDER BY 1

-- What is negative: OFFSET is looked at before LIMIT.
-- error: 2201X
SELECT count(*) FROM (SELECT total FROM orders ORDER BY total LIMIT 4 OFFSET -5) q

-- error: 2201X
SELECT sum(total) FROM (SELECT total FROM orders ORDER BY total, id OFFSET -5 ROWS FETCH FIRST 4 ROWS WITH TIES) q

-- params: 4, -5
-- error: 2201X
SELECT total FROM orders UNION ALL SELECT budget FROM tenants ORDER BY 1 LIMIT $1 OFFSET $2

-- params: -4, -5
-- error: 2201X
SELECT count(*) FROM (SELECT total FROM orders ORDER BY total LIMIT $1 OFFSET $2) q

-- params: -4, 5
-- error: 2201W
SELECT count(*) FROM (SELECT total FROM orders ORDER BY total LIMIT $1 OFFSET $2) q

-- params: NULL, 5
SELECT count(*) FROM (SELECT total FROM orders ORDER BY total LIMIT $1 OFFSET $2) q

-- Locks of rows that are put together
-- script
BEGIN;
SELECT a.tenant_id, a.id, w.word FROM accounts a JOIN words w ON w.n = a.hits ORDER BY 1, 2, 3 FOR UPDATE;
SELECT a.tenant_id, a.id, b.id FROM accounts a JOIN accounts b ON b.hits = a.id WHERE a.tenant_id < 4 ORDER BY 1, 2, b.tenant_id, 3 LIMIT 5 OFFSET 1 FOR NO KEY UPDATE OF b SKIP LOCKED;
SELECT t.id, c.email, t.name FROM tenants t JOIN customers c ON c.id = t.id ORDER BY t.id, c.tenant_id LIMIT 4 FOR UPDATE OF c NOWAIT;
SELECT id FROM accounts a WHERE hits > (SELECT avg(hits) FROM accounts) ORDER BY tenant_id, id LIMIT 3 FOR SHARE;
SELECT a.id, x.n FROM accounts a JOIN (SELECT account_id, count(*) AS n FROM transfers GROUP BY account_id) x ON x.account_id = a.id ORDER BY a.tenant_id, a.id FOR KEY SHARE OF a;
COMMIT;

-- forms: simple, text, binary
SELECT a.tenant_id, a.id, w.word FROM accounts a JOIN words w ON w.n = a.hits ORDER BY a.amount DESC, 1, 2, 3 FOR UPDATE OF w

-- params: 2, 3
SELECT a.tenant_id, a.id, w.word FROM accounts a JOIN words w ON w.n = a.hits WHERE a.hits >= $1 ORDER BY 1, 2, 3 LIMIT $2 FOR UPDATE

SELECT a.id, w.word FROM accounts a JOIN words w ON w.n = a.hits FOR UPDATE OF nobody
-- error: 42P01

SELECT a.id, rank() OVER (ORDER BY w.n) FROM accounts a JOIN words w ON w.n = a.hits FOR UPDATE
-- error: 0A000

SELECT a.id FROM accounts a FULL JOIN words w ON w.n = a.hits FOR SHARE
-- error: 0A000
