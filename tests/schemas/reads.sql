SELECT * FROM tenant_1.accounts ORDER BY id

SELECT id, owner, balance FROM tenant_2.accounts WHERE id = 3

-- params: 3
SELECT owner, mood FROM tenant_3.accounts WHERE id = $1

SELECT "Tenant Odd".accounts.owner FROM "Tenant Odd".accounts ORDER BY id DESC LIMIT 2

SELECT a.owner, p.price FROM tenant_1.accounts a JOIN tenant_1.orders o ON o.account = a.id JOIN plans p ON p.code = o.plan ORDER BY o.id

SELECT * FROM tenant_2.totals ORDER BY owner

SELECT count(*), sum(balance), avg(balance), max(mood) FROM tenant_10.accounts

-- A table of public, which lies on the home shard.
SELECT * FROM orders

SELECT what FROM events WHERE tenant_id = 3 ORDER BY n

SELECT tenant_1.richest()

SELECT owner, twice(id) FROM tenant_2.accounts WHERE owner = tenant_2.richest()

SELECT relname FROM pg_class WHERE oid = 'tenant_2.orders'::regclass

SELECT to_regclass('tenant_3.orders') IS NULL, to_regclass('tenant_3.nothing') IS NULL

SELECT attname FROM pg_attribute WHERE attrelid = 'tenant_1.accounts'::regclass AND attnum > 0 ORDER BY attnum

SELECT pg_get_serial_sequence('tenant_1.orders', 'id')

SELECT has_table_privilege('tenant_2.orders', 'SELECT'), has_schema_privilege('tenant_2', 'USAGE')

SELECT 'happy'::tenant_1.mood > 'sad'::tenant_1.mood

-- error: 22P02
SELECT 'angry'::tenant_1.mood

-- error: 42P01
SELECT * FROM tenant_1.nothing

-- error: 42703
SELECT nothing FROM tenant_2.accounts

-- error: 42P01
SELECT * FROM tenant_99.accounts

-- error: 3F000
SELECT nextval('tenant_99.numbers')

TABLE tenant_1.accounts

SELECT * FROM tenant_1.accounts TABLESAMPLE BERNOULLI (100) ORDER BY id

WITH RECURSIVE t (n) AS (SELECT min(id) FROM tenant_3.accounts UNION ALL SELECT n + 1 FROM t WHERE n < 4) SELECT * FROM t ORDER BY n

SELECT json_agg(a ORDER BY a.id) FROM tenant_2.accounts a

SELECT ctid FROM tenant_2.accounts WHERE id = 1

COPY tenant_2.accounts TO STDOUT

COPY (SELECT id, owner FROM tenant_3.accounts ORDER BY id) TO STDOUT (FORMAT csv, HEADER)

-- Tables of several shards are finished by a Postgres.
SELECT a.id, a.owner, b.owner FROM tenant_1.accounts a JOIN tenant_2.accounts b USING (id) ORDER BY a.id

SELECT 1 AS t, id, balance FROM tenant_1.accounts UNION ALL SELECT 2, id, balance FROM tenant_2.accounts UNION ALL SELECT 3, id, balance FROM tenant_3.accounts ORDER BY 1, 2

SELECT count(*) FROM (SELECT note FROM tenant_1.orders EXCEPT SELECT note FROM tenant_2.orders) d

SELECT a.what, t.owner FROM audit a JOIN tenant_1.accounts t ON t.id = a.id ORDER BY a.id

SELECT e.what, o.note FROM events e JOIN tenant_2.orders o ON o.id = e.n WHERE e.tenant_id < 4 ORDER BY e.n

SELECT owner FROM tenant_3.accounts WHERE id IN (SELECT account FROM tenant_1.orders WHERE note LIKE 'note 1%') ORDER BY id

SELECT note, placed FROM tenant_1.orders UNION SELECT note, placed FROM tenant_10.orders ORDER BY note DESC LIMIT 4

-- params: 2
SELECT b.owner FROM tenant_1.accounts a, tenant_3.accounts b WHERE a.id = $1 AND b.id = a.id

-- params: 'note 2 of 1'
-- types: text
SELECT a.owner FROM tenant_2.accounts a WHERE a.id = (SELECT account FROM tenant_1.orders WHERE note = $1)

SELECT t.owner, t.orders, a.what FROM tenant_2.totals t JOIN audit a ON a.id = t.orders ORDER BY t.owner

SELECT x.owner FROM tenant_1.accounts x, tenant_2.accounts x2, plans WHERE x.id = x2.id AND plans.code = 'plan 1' ORDER BY 1

-- What was pulled first says what else matters, on one shard and on several.
SELECT a.owner, e.what FROM tenant_1.accounts a JOIN events e ON e.tenant_id = a.id WHERE a.id IN (2, 3) ORDER BY e.n

SELECT a.owner, e.what FROM tenant_0.accounts a JOIN events e ON e.tenant_id = a.id WHERE a.owner LIKE 'owner 4%' ORDER BY e.n

SELECT a.owner, b.owner FROM tenant_0.accounts a JOIN tenant_1.accounts b USING (id) WHERE a.id < 3 ORDER BY id

-- params: 4
SELECT o.note, rank() OVER (ORDER BY o.note DESC) FROM tenant_3.accounts a JOIN tenant_2.orders o ON o.account = a.id WHERE a.id >= $1 ORDER BY 2

SELECT o.note, a.owner FROM tenant_2.orders o LEFT JOIN tenant_1.accounts a ON a.id = o.account AND a.id <> 3 ORDER BY o.id

SELECT owner FROM tenant_3.accounts a WHERE EXISTS (SELECT FROM events e WHERE e.tenant_id = a.id AND e.n > 36) ORDER BY id

SELECT owner FROM tenant_3.accounts a WHERE NOT EXISTS (SELECT FROM tenant_1.orders o WHERE o.account = a.id AND o.note LIKE 'note 1%') ORDER BY id

-- Parts that each shard makes, beside a table of one.
SELECT a.owner, s.events, s.last FROM tenant_2.accounts a JOIN (SELECT tenant_id, count(*) AS events, max(what) AS last FROM events GROUP BY tenant_id) s ON s.tenant_id = a.id ORDER BY a.id

-- params: 2
WITH busy AS (SELECT tenant_id, count(DISTINCT what) AS n FROM events WHERE n > $1 GROUP BY tenant_id) SELECT a.owner, busy.n, p.price FROM tenant_1.accounts a JOIN busy ON busy.tenant_id = a.id JOIN plans p ON p.code = 'plan ' || a.id ORDER BY 1

WITH t AS (SELECT account, count(*) AS n FROM tenant_1.orders GROUP BY account) SELECT e.what, t.n FROM events e JOIN t ON t.account = e.n WHERE e.tenant_id IN (1, 2) ORDER BY 1

SELECT DISTINCT ON (a.owner) a.owner, o.note FROM tenant_1.accounts a JOIN tenant_3.orders o ON o.account = a.id ORDER BY a.owner, o.note DESC LIMIT 3

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY b.balance), string_agg(a.owner, ',' ORDER BY a.id) FROM tenant_1.accounts a JOIN "Tenant Odd".accounts b USING (id)

-- Temporary tables of the home shard beside what lies elsewhere.
-- script
CREATE TEMP TABLE picked (id int, word text);
INSERT INTO picked VALUES (1, 'one'), (3, 'three'), (77, NULL);
SELECT p.word, a.owner FROM picked p JOIN tenant_1.accounts a USING (id) ORDER BY 1;
SELECT p.word, e.what FROM picked p JOIN events e ON e.n = p.id ORDER BY 1, 2;
SELECT p.word, a.what FROM picked p JOIN audit a USING (id) ORDER BY 1;
SELECT count(*) FROM events WHERE tenant_id IN (SELECT id FROM picked);
SELECT p.word, b.owner FROM tenant_2.accounts b LEFT JOIN picked p USING (id) ORDER BY b.id;
INSERT INTO picked SELECT n, what FROM events WHERE tenant_id <> 2;
SELECT count(*), max(word) FROM picked;
SET search_path TO tenant_1, public;
SELECT word FROM picked JOIN events e ON e.n = picked.id ORDER BY 1 LIMIT 3;
SELECT count(*) FROM picked p JOIN accounts USING (id);
DELETE FROM picked WHERE id IN (SELECT n FROM events WHERE tenant_id > 3);
SELECT count(*) FROM picked;
DROP TABLE picked;
SELECT count(*) FROM picked JOIN events e ON e.n = picked.id;
