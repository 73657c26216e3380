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
INSERT INTO orders (account, plan) VALUES (1, 'plan 0') RETURNING note, placed;
SELECT currval('orders_id_seq');
SELECT lastval();
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
