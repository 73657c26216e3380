-- Statements about the session.

SHOW server_version

SHOW timezone

SHOW TIME ZONE

SHOW search_path

SHOW transaction_isolation

SHOW standard_conforming_strings

SHOW client_encoding

-- script
SET statement_timeout = '5s';
SHOW statement_timeout;
SELECT current_setting('statement_timeout');
RESET statement_timeout;
SHOW statement_timeout;

-- script
SET SESSION work_mem TO '7MB';
SHOW work_mem;
SET work_mem = DEFAULT;
SHOW work_mem;

-- script
SET search_path = pg_catalog;
SELECT count(*) FROM public.tenants WHERE id = 5;
SELECT count(*) FROM tenants WHERE id = 5;
RESET search_path;
SELECT count(*) FROM tenants WHERE id = 5;

-- script
SET DateStyle = 'German, DMY';
SELECT joined FROM tenants WHERE id = 5;
SELECT id, joined FROM tenants ORDER BY joined LIMIT 3;
SELECT max(joined) FROM tenants;
SELECT count(*) FROM metrics WHERE day = '05.01.2024';
SELECT count(*) FROM metrics WHERE day = '2024-01-05';
RESET ALL;
SELECT id, joined FROM tenants ORDER BY joined LIMIT 3;

-- script
SET extra_float_digits = 0;
SELECT score, id FROM customers WHERE score IS NOT NULL ORDER BY id LIMIT 3;
SELECT 0.1::float8 + 0.2;
RESET extra_float_digits;
SELECT 0.1::float8 + 0.2;

-- script
SET IntervalStyle = 'iso_8601';
SELECT id, gap FROM customers ORDER BY id LIMIT 3;
SHOW IntervalStyle;

-- script
SET bytea_output = 'escape';
SELECT id, raw FROM customers ORDER BY id LIMIT 3;
SELECT max(raw::text) FROM customers WHERE tenant_id = 8;

-- script
SET application_name = 'oracle test';
SHOW application_name;
SELECT current_setting('application_name');

-- script
SET my.variable = 'mine';
SELECT current_setting('my.variable');
SELECT current_setting('my.variable', true);
RESET my.variable;
SELECT current_setting('my.variable');

-- script
SELECT set_config('my.other', 'x', false);
SELECT current_setting('my.other');

-- script
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT 'a\\b';
SELECT version FROM kv WHERE key = 'a\\b';
SET standard_conforming_strings = on;
SELECT version FROM kv WHERE key = 'a\b';

-- script
SET TIME ZONE 'America/New_York';
SELECT min(created), max(created) FROM customers;
SELECT date_trunc('day', created) AS d, count(*) FROM customers GROUP BY 1 ORDER BY 1 LIMIT 3;
SET TIME ZONE LOCAL;

-- script
PREPARE p (int) AS SELECT name FROM tenants WHERE id = $1;
EXECUTE p(5);
EXECUTE p(6);
DEALLOCATE p;
EXECUTE p(5);

-- script
PREPARE q AS SELECT count(*) FROM orders;
EXECUTE q;
DEALLOCATE ALL;

-- script
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM orders WHERE tenant_id = 1 ORDER BY id;
FETCH 3 FROM c;
FETCH NEXT FROM c;
MOVE 2 FROM c;
FETCH 1 FROM c;
CLOSE c;
COMMIT;

-- script
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id;
FETCH 3 FROM c;
ROLLBACK;

-- script
CREATE TEMPORARY TABLE scratch (id int, x text);
INSERT INTO scratch VALUES (1, 'a'), (2, 'b');
SELECT * FROM scratch ORDER BY id;
SELECT s.x, p.sku FROM scratch s JOIN products p USING (id) ORDER BY 1;
DROP TABLE scratch;
SELECT * FROM scratch;

-- script
SELECT pg_advisory_lock(42);
SELECT pg_advisory_unlock(42);
SELECT pg_advisory_unlock(42);

-- script
LISTEN channel;
NOTIFY channel, 'x';
UNLISTEN channel;

DISCARD ALL

RESET ALL

-- script
SET ROLE app;
SELECT current_user;
RESET ROLE;
SELECT current_user;

-- script
SET SESSION AUTHORIZATION app;
SELECT current_user, session_user;
RESET SESSION AUTHORIZATION;
SELECT current_user;

CHECKPOINT

VACUUM notes

ANALYZE tenants

SET client_min_messages = warning

SET NAMES 'UTF8'

-- script
SET client_encoding = 'LATIN1';
SELECT name FROM customers WHERE tenant_id = 1 AND id = 2;
SHOW client_encoding;
RESET client_encoding;

-- error: 22023
SET client_encoding = 'nothing'

EXPLAIN (COSTS OFF) SELECT 1

EXPLAIN (COSTS OFF, FORMAT json) SELECT 1
