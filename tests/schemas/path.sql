-- script
SET search_path TO tenant_1, public;
SELECT * FROM accounts ORDER BY id;
SELECT o.note FROM orders o ORDER BY o.id LIMIT 3;
SELECT * FROM audit ORDER BY id;
SET search_path TO tenant_2, public;
SELECT * FROM accounts ORDER BY id;
SELECT code FROM plans ORDER BY code;
SELECT note FROM orders ORDER BY id LIMIT 3;
RESET search_path;
SELECT * FROM orders;
SELECT * FROM accounts;
SHOW search_path;

-- script
SET search_path = 'tenant_3';
SELECT current_schema(), current_schema;
SELECT owner FROM accounts WHERE id = 2;
SELECT * FROM audit;
SET SCHEMA 'tenant_2';
SELECT owner FROM accounts WHERE id = 2;
SET search_path TO "Tenant Odd", tenant_1;
SELECT owner FROM accounts WHERE id = 2;
SELECT set_config('search_path', 'tenant_1,public', false);
SELECT owner FROM accounts WHERE id = 2;
SELECT current_schemas(false);

-- script
BEGIN;
SET LOCAL search_path TO tenant_1;
SELECT owner FROM accounts WHERE id = 4;
SAVEPOINT a;
SET LOCAL search_path TO tenant_2;
SELECT owner FROM accounts WHERE id = 4;
ROLLBACK TO a;
SELECT owner FROM accounts WHERE id = 4;
COMMIT;
SELECT owner FROM accounts WHERE id = 4;
BEGIN;
SET search_path TO tenant_2;
SELECT owner FROM accounts WHERE id = 4;
ROLLBACK;
SELECT owner FROM accounts WHERE id = 4;
SELECT public_only FROM orders;

-- What is in the schema hides what is in public, and what is not there falls through.
-- script
SET search_path TO tenant_2, public;
SELECT count(*) FROM orders;
SELECT count(*) FROM audit;
SELECT count(*) FROM events;
SELECT tenant_id, count(*) FROM events GROUP BY tenant_id ORDER BY tenant_id;
SELECT what FROM events WHERE tenant_id = 3 AND n = 3;
SELECT a.owner, p.code FROM accounts a, plans p WHERE a.id = 1 ORDER BY p.code;
SELECT a.owner, x.what FROM accounts a JOIN audit x USING (id) ORDER BY id;
SET search_path TO public, tenant_2;
SELECT count(*) FROM orders;
SELECT count(*) FROM accounts;
SET search_path TO tenant_99, tenant_2;
SELECT count(*) FROM orders;

-- What the catalog shows is that of the schema's shard.
-- script
SET search_path TO tenant_2, public;
SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY table_name;
SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'orders' ORDER BY ordinal_position;
SELECT to_regclass('accounts') IS NOT NULL, to_regclass('nothing') IS NULL;
SELECT relname FROM pg_class WHERE oid = 'orders'::regclass;
SELECT indexname FROM pg_indexes WHERE schemaname = 'tenant_2' AND tablename = 'orders' ORDER BY 1;
SELECT conname, contype FROM pg_constraint WHERE conrelid = 'orders'::regclass ORDER BY conname;
SELECT pg_get_serial_sequence('orders', 'id');
SELECT 'ok'::mood, enum_range(NULL::mood)::text;
SELECT richest(), tenant_2.richest();
SELECT pg_table_is_visible('accounts'::regclass);

-- script
SET search_path TO tenant_1;
BEGIN;
INSERT INTO orders (account, plan) VALUES (1, 'plan 0') RETURNING note, placed;
SELECT currval('orders_id_seq');
SELECT lastval();
COMMIT;
SELECT nextval('orders_id_seq');
SET search_path TO tenant_2;
SELECT nextval('orders_id_seq');
SELECT nextval('tenant_3.orders_id_seq');

-- Several statements in one message.
-- multi
SET search_path TO tenant_1; SELECT owner FROM accounts WHERE id = 1; SET search_path TO tenant_2; SELECT owner FROM accounts WHERE id = 1; SELECT tenant_3.richest(); RESET search_path

-- multi
INSERT INTO tenant_1.accounts VALUES (60, 'm'); INSERT INTO tenant_2.accounts VALUES (60, 'm'); SELECT count(*) FROM tenant_3.accounts

-- The second fails, and takes the first with it.
-- error: 23505
-- multi
INSERT INTO tenant_1.accounts VALUES (61, 'm'); INSERT INTO tenant_2.accounts VALUES (60, 'm')

SELECT count(*) FROM tenant_1.accounts

-- What lies on the home shard is asked there, whatever the path.
-- script
SET search_path TO tenant_2, public;
SELECT nextval('public_numbers');
SELECT nextval('public.public_numbers'), currval('public_numbers');
SELECT to_regclass('audit') IS NOT NULL, to_regclass('public.audit')::text, to_regclass('plans') IS NULL;
SELECT attname FROM pg_attribute WHERE attrelid = 'audit'::regclass AND attnum > 0 ORDER BY attnum;
SELECT has_table_privilege('audit', 'SELECT');
SELECT pg_relation_size('audit') > 0;
SELECT pg_relation_size('accounts') > 0;

-- Tables of public by the name alone, of which each shard makes its part; the home shard has no tenant_2.
-- script
SET search_path TO tenant_2, public;
SELECT tenant_id % 2 AS odd, count(DISTINCT what), avg(n) + 1 FROM events GROUP BY 1 HAVING count(*) > 1 ORDER BY 1;
SELECT DISTINCT ON (tenant_id) tenant_id, upper(what) FROM events ORDER BY tenant_id, n DESC;
SELECT a.owner, s.n FROM accounts a JOIN (SELECT tenant_id, sum(n) AS n FROM events GROUP BY tenant_id) s ON s.tenant_id = a.id ORDER BY a.id;
SELECT x.what, a.owner FROM audit x JOIN accounts a USING (id) WHERE x.id > 2 ORDER BY id;
SET search_path TO tenant_0, public;
SELECT a.owner, e.what FROM accounts a JOIN events e ON e.tenant_id = a.id WHERE a.id = 3 ORDER BY e.n;
SELECT a.owner, b.owner FROM accounts a JOIN tenant_2.accounts b USING (id) ORDER BY a.id;

-- Cursors, on one shard and over several, also beyond their transaction.
-- script
BEGIN;
DECLARE c CURSOR FOR SELECT a.owner, b.owner FROM tenant_1.accounts a JOIN tenant_2.accounts b USING (id) ORDER BY a.id;
FETCH 2 FROM c;
SET LOCAL search_path TO tenant_3;
DECLARE d CURSOR FOR SELECT owner FROM accounts ORDER BY id;
FETCH 2 FROM d;
FETCH ALL FROM c;
CLOSE c;
MOVE 1 FROM d;
FETCH 1 FROM d;
COMMIT;
FETCH 1 FROM d;

-- script
SET search_path TO tenant_2, public;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT a.owner, e.what FROM accounts a JOIN events e ON e.tenant_id = a.id ORDER BY a.id, e.n;
FETCH 2 FROM h;
INSERT INTO tenant_3.accounts VALUES (700, 'held');
COMMIT;
SET search_path TO tenant_1;
FETCH 2 FROM h;
SELECT owner FROM accounts WHERE id = 1;
CLOSE h;
DELETE FROM tenant_3.accounts WHERE id = 700;

-- script
SET search_path TO tenant_2;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM accounts WHERE id IN (2, 3) ORDER BY id FOR UPDATE;
FETCH 1 FROM c;
UPDATE accounts SET owner = owner || ' (current)' WHERE CURRENT OF c RETURNING owner;
FETCH 1 FROM c;
UPDATE tenant_2.accounts SET owner = owner || ' (current)' WHERE CURRENT OF c;
COMMIT;
SELECT owner FROM accounts ORDER BY id LIMIT 4;
UPDATE accounts SET owner = replace(owner, ' (current)', '');

-- PREPARE and EXECUTE by the path of each call, with arguments of its functions and types.
-- script
SET search_path TO tenant_1, public;
PREPARE p (int) AS SELECT owner FROM accounts WHERE id = $1;
PREPARE w (text) AS SELECT id, note FROM orders WHERE note = $1 OR account = (SELECT id FROM accounts WHERE owner = $1) ORDER BY id;
PREPARE i (int, text) AS INSERT INTO accounts (id, owner) VALUES ($1, $2) RETURNING owner;
PREPARE e (int) AS SELECT count(*), max(what) FROM events WHERE n > $1;
EXECUTE p (1 + 1);
EXECUTE w (richest());
EXECUTE w ('note 3 of 1');
EXECUTE i (800, 'by ' || 'name');
EXECUTE e (twice(3));
SET search_path TO tenant_3, public;
EXECUTE p (2);
EXECUTE w (richest());
EXECUTE w (tenant_1.richest());
EXECUTE i (800, 'by name');
EXECUTE e (30);
CREATE TABLE made AS EXECUTE w (richest());
SELECT count(*) FROM tenant_3.made;
DROP TABLE made;
SET search_path TO tenant_1, public;
EXECUTE p (800);
DELETE FROM tenant_1.accounts WHERE id = 800;
DELETE FROM tenant_3.accounts WHERE id = 800;
DEALLOCATE ALL;
EXECUTE p (1);

-- script
SET search_path TO tenant_2;
PREPARE m (mood) AS SELECT owner FROM accounts WHERE mood = $1 ORDER BY id;
EXECUTE m ('ok');
EXECUTE m ('happy'::mood);
EXECUTE m ('angry');

-- A view that reads nothing is where its schema is.
-- script
CREATE VIEW tenant_2.one AS SELECT 1 AS one;
SELECT * FROM tenant_2.one;
SELECT one, owner FROM tenant_2.one JOIN tenant_1.accounts ON id = one;
BEGIN;
SELECT owner FROM tenant_3.accounts WHERE id = 1;
SELECT * FROM tenant_2.one;
COMMIT;
DROP VIEW tenant_2.one;
