-- Settings that change what a literal means, or how a value is printed. Keys of type date, text and int.

-- The order of day and month decides which day a literal is, and so its shard.
-- script
SET DateStyle = 'ISO, DMY';
SELECT count(*), min(day) FROM metrics WHERE day = '01/02/2024';
SELECT count(*) FROM metrics WHERE day = '2024-02-01';
SET DateStyle = 'ISO, MDY';
SELECT count(*), min(day) FROM metrics WHERE day = '01/02/2024';
SELECT day, series FROM metrics WHERE day IN ('1/2/2024', '2/1/2024') ORDER BY day, series;
SET DateStyle = 'ISO, YMD';
SELECT count(*) FROM metrics WHERE day = '24/02/01';
SELECT count(*) FROM metrics WHERE day BETWEEN '24-01-30' AND '24-02-02';
SELECT count(*) FROM metrics WHERE day = date '24-02-01';

-- What is left out of it stays as it is.
-- script
SET DateStyle = 'DMY';
SELECT count(*), min(day) FROM metrics WHERE day = '01/02/2024';
SET DateStyle = 'ISO';
SELECT count(*), min(day) FROM metrics WHERE day = '01/02/2024';
SELECT set_config('datestyle', 'German, YMD', false);
SELECT set_config('datestyle', 'iso', false);
SELECT count(*), max(day) FROM metrics WHERE day = '24/02/01';
SET DateStyle = 'US';
SELECT count(*), min(day) FROM metrics WHERE day = '01/02/2024';

-- Texts that are in no order: the rows pass, but are not merged by them.
-- script
SET DateStyle = 'German';
SELECT count(*) FROM metrics WHERE day = '01.02.2024';
SELECT id, placed FROM orders WHERE tenant_id = 3 ORDER BY placed, id LIMIT 7;
SELECT count(DISTINCT day) FROM metrics;
SET DateStyle = 'ISO';
SELECT day, count(*) FROM metrics GROUP BY day ORDER BY day LIMIT 5;

-- script
SET DateStyle = 'German';
SELECT day, count(*) FROM metrics GROUP BY day ORDER BY day LIMIT 5;
SELECT DISTINCT day FROM metrics WHERE day < '10.01.2024' ORDER BY day;

-- script
SET DateStyle = 'German';
SELECT min(day), max(day) FROM metrics;

-- script
SET DateStyle = 'SQL, DMY';
SELECT max(created), min(updated) FROM customers WHERE tenant_id = 3;
SELECT count(*) FROM metrics WHERE day = '01/02/2024';

-- script
SET DateStyle = 'Postgres, MDY';
SELECT count(*) FROM metrics WHERE day = '02-01-2024';
SELECT count(*) FROM metrics WHERE day IN ('02-01-2024', 'Sat 03 Feb 2024');
SELECT updated FROM customers WHERE tenant_id = 3 ORDER BY updated, id LIMIT 4;

-- Within a transaction alone.
-- script
BEGIN;
SET LOCAL DateStyle = 'German';
SELECT count(*) FROM metrics WHERE day = '01.02.2024';
COMMIT;
SELECT day, count(*) FROM metrics GROUP BY day ORDER BY day LIMIT 3;

-- script
BEGIN;
SET LOCAL DateStyle = 'German';
SELECT min(placed) FROM orders;
COMMIT;

-- script
SET DateStyle = 'German';
BEGIN;
SELECT count(*) FROM metrics WHERE day = '01.02.2024';
SAVEPOINT a;
SET LOCAL DateStyle = 'ISO, MDY';
SELECT DISTINCT day FROM metrics ORDER BY day LIMIT 3;
SELECT count(*) FROM metrics WHERE day = '01/02/2024';
ROLLBACK TO a;
SELECT count(*) FROM metrics WHERE day = '01.02.2024';
SET DateStyle = 'ISO, YMD';
SELECT DISTINCT day FROM metrics ORDER BY day LIMIT 3;
ROLLBACK;
SELECT count(*) FROM metrics WHERE day = '01.02.2024';

-- script
BEGIN;
SAVEPOINT a;
SELECT set_config('DateStyle', 'German', true);
ROLLBACK TO a;
SELECT min(day) FROM metrics;
SELECT set_config('DateStyle', 'German', true);
SELECT count(*) FROM metrics WHERE day = '01.02.2024';
COMMIT;
SELECT max(day) FROM metrics;

-- script
SELECT set_config('DateStyle', 'ISO, DMY', false);
SELECT count(*) FROM metrics WHERE day = '01/02/2024';
SELECT min(day), max(day), count(DISTINCT day) FROM metrics;

-- The zone decides which moment a literal is, which day a moment is, and how both are printed.
-- script
SET TimeZone = 'Asia/Tokyo';
SELECT placed, count(*) FROM orders GROUP BY placed ORDER BY placed LIMIT 5;
SELECT DISTINCT placed FROM orders ORDER BY placed DESC LIMIT 5;
SELECT placed::date AS d, count(*) FROM orders GROUP BY 1 ORDER BY 1 LIMIT 5;
SELECT min(placed), max(placed) FROM orders;
SELECT count(*) FROM orders WHERE placed < '2024-02-01 00:00';
SELECT count(*) FROM metrics WHERE day = '2024-02-01 23:00'::timestamptz;
SELECT count(*) FROM metrics WHERE day = timestamptz '2024-02-01 00:00+09';
SELECT count(*) FROM metrics WHERE day = timestamptz '2024-02-01 00:00+00';
SET TimeZone = 'America/Los_Angeles';
SELECT placed, count(*) FROM orders GROUP BY placed ORDER BY placed LIMIT 5;
SELECT count(*) FROM orders WHERE placed < '2024-02-01 00:00';
SELECT count(*) FROM metrics WHERE day = timestamptz '2024-02-01 00:00-08';
SELECT count(*) FROM metrics WHERE day BETWEEN timestamptz '2024-01-31 20:00' AND timestamptz '2024-02-01 20:00';
SET TIME ZONE INTERVAL '-03:30' HOUR TO MINUTE;
SELECT max(placed) FROM orders;

-- params: '2024-02-01 00:00+00'
-- types: timestamptz
SELECT count(*) FROM metrics WHERE day = $1

-- params: '2024-02-01'
-- types: timestamp
SELECT count(*) FROM metrics WHERE day = $1

-- params: '2024-02-01 12:00'
-- types: timestamp
SELECT count(*) FROM metrics WHERE day = $1

SELECT count(*) FROM metrics WHERE day = timestamp '2024-02-01 12:00'

SELECT count(*) FROM metrics WHERE day = timestamp '2024-02-01'

SELECT count(*) FROM metrics WHERE day >= timestamp '2024-02-01 12:00' AND day < timestamp '2024-02-02 12:00'

SELECT count(*) FROM metrics WHERE day = '2024-02-01 12:00'::date

-- Fewer digits than a float has: what prints alike is not equal.
-- script
SET extra_float_digits = 3;
SELECT max(score) FROM customers;
SET extra_float_digits = 0;
SELECT id, score FROM customers WHERE tenant_id = 3 ORDER BY score, id LIMIT 5;
RESET extra_float_digits;
SELECT max(score) FROM customers;

-- script
SET extra_float_digits = -3;
SELECT DISTINCT (tenant_id / 3.0)::float8 AS f FROM customers ORDER BY f;

-- script
SET extra_float_digits = 0;
BEGIN;
SET LOCAL extra_float_digits = 1;
SELECT DISTINCT CASE WHEN tenant_id % 2 = 0 THEN 0.3::float8 ELSE 0.1::float8 + 0.2 END AS f FROM customers ORDER BY f;
COMMIT;
RESET extra_float_digits;
SELECT DISTINCT CASE WHEN tenant_id % 2 = 0 THEN 0.3::float8 ELSE 0.1::float8 + 0.2 END AS f FROM customers ORDER BY f;

-- script
BEGIN;
SET LOCAL extra_float_digits = 0;
SELECT DISTINCT CASE WHEN tenant_id % 2 = 0 THEN 0.3::float8 ELSE 0.1::float8 + 0.2 END AS f FROM customers ORDER BY f;
COMMIT;

-- script
SELECT set_config('extra_float_digits', '0', false);
SELECT DISTINCT CASE WHEN tenant_id % 2 = 0 THEN 0.3::float8 ELSE 0.1::float8 + 0.2 END AS f FROM customers ORDER BY f;

-- script
SET extra_float_digits TO '-0';
SELECT DISTINCT CASE WHEN tenant_id % 2 = 0 THEN 0.3::float8 ELSE 0.1::float8 + 0.2 END AS f FROM customers ORDER BY f;

-- script
SET bytea_output = 'escape';
SELECT max(length(raw)) FROM customers;
SELECT bin, key FROM kv ORDER BY key COLLATE "C" LIMIT 6;
SELECT raw FROM customers WHERE tenant_id = 3 ORDER BY raw, id;
SELECT key FROM kv WHERE key = 'k1';
RESET bytea_output;
SELECT DISTINCT bin FROM kv ORDER BY bin LIMIT 5;

-- script
BEGIN;
SET LOCAL bytea_output = 'escape';
SELECT DISTINCT bin FROM kv ORDER BY bin LIMIT 5;
ROLLBACK;

-- script
SET IntervalStyle = 'iso_8601';
SELECT gap, count(*) FROM customers GROUP BY gap ORDER BY gap LIMIT 5;
SELECT max(gap), min(gap) FROM customers;
SET IntervalStyle = 'sql_standard';
SELECT DISTINCT gap FROM customers ORDER BY gap LIMIT 5;
SELECT count(*) FROM customers WHERE gap > '-1 02:03:04';
SET IntervalStyle = 'postgres';
SELECT count(*) FROM customers WHERE gap > '-1 02:03:04';

-- Backslashes in plain strings.
-- script
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT version FROM kv WHERE key = 'k1';
SELECT version FROM kv WHERE key = E'k\061';
SELECT '\'' || name || '\'' FROM regions r (name) ORDER BY name COLLATE "C" LIMIT 1;
SELECT count(*) FROM kv;
SET standard_conforming_strings = 'on';
SELECT * FROM kv WHERE key = 'k\061';

-- script
BEGIN;
SET LOCAL standard_conforming_strings = 'fal';
SET LOCAL escape_string_warning = off;
SELECT version FROM kv WHERE key = E'k\061';
COMMIT;
SELECT version FROM kv WHERE key = 'k\061';

-- script
BEGIN;
SET LOCAL standard_conforming_strings = off;
SET LOCAL escape_string_warning = off;
SELECT version FROM kv WHERE key = 'k\061';
COMMIT;

-- script
SELECT set_config('standard_conforming_strings', 'off', false);
SET escape_string_warning = off;
SELECT version FROM kv WHERE key = 'k\061';

-- script
SET backslash_quote = off;
SELECT version FROM kv WHERE key = E'k\'1';
SELECT version FROM kv WHERE key = E'k1';
SET backslash_quote = on;
SELECT version FROM kv WHERE key = E'k\'1';

-- script
SET array_nulls = off;
SELECT count(*) FROM kv WHERE key = ANY ('{NULL,k1}');
SELECT count(*) FROM region_stats WHERE region = ANY ('{null,eu}');
SET array_nulls = on;
SELECT count(*) FROM kv WHERE key = ANY ('{NULL,k1}');

-- script
SET transform_null_equals = on;
SELECT count(*) FROM sparse WHERE v = NULL;
SELECT count(*) FROM tenants WHERE id = NULL;
SELECT count(*) FROM customers WHERE nick = NULL AND tenant_id = 3;
SELECT name FROM tenants WHERE id = CASE WHEN nullif(5, 5) = NULL THEN 7 ELSE 8 END;
SELECT name FROM tenants WHERE id = CASE WHEN (NULL) = nullif(5, 5) THEN 7 ELSE 8 END;
SELECT name FROM tenants WHERE id = CASE nullif(5, 5) WHEN NULL THEN 7 ELSE 8 END;
SELECT name FROM tenants WHERE id = CASE WHEN nullif(5, 5) <> NULL THEN 7 ELSE 8 END;
SELECT name FROM tenants WHERE id = CASE WHEN nullif(5, 5) = NULL::int THEN 7 ELSE 8 END;
SELECT count(*) FROM tenants t LEFT JOIN customers c ON c.tenant_id = t.id AND c.id = 1 WHERE c.nick = NULL;
SELECT count(*) FROM tenants t LEFT JOIN customers c ON c.tenant_id = t.id AND c.id < 0 WHERE c.tenant_id = NULL;
SELECT count(*) FROM tenants t FULL JOIN customers c ON c.id = t.id WHERE (NULL) = c.nick;
SELECT count(*) FROM tenants t LEFT JOIN customers c ON c.tenant_id = t.id AND c.id < 3 WHERE NOT (c.id = NULL);
SELECT t.id FROM tenants t LEFT JOIN customers c ON c.tenant_id = t.id AND c.id < 0 WHERE t.id = 5 AND c.nick = NULL;

-- Other encodings of the client.
-- script
SET client_encoding = 'SQL_ASCII';
SELECT count(*) FROM kv WHERE key = 'k1';
RESET client_encoding;
SELECT count(*) FROM words;

-- script
SET client_encoding = 'LATIN1';
SELECT count(*) FROM kv WHERE key = 'k1';

-- script
BEGIN;
SET LOCAL client_encoding = 'LATIN1';
SELECT word FROM words ORDER BY word COLLATE "C" DESC LIMIT 3;
COMMIT;

-- script
/* of */ SET work_mem TO DEFAULT;
SET TIME ZONE DEFAULT;
/* of */ SET SESSION AUTHORIZATION DEFAULT;
/* of */ RESET work_mem;

-- error: 22023
SET TimeZone = LOCAL

-- script
SET TIME ZONE LOCAL;
BEGIN;
SET LOCAL TimeZone TO local;
ROLLBACK;

-- script
SET work_mem = '5MB';
SET work_mem FROM CURRENT;
SHOW work_mem;
SET search_path FROM CURRENT;
SHOW search_path;
BEGIN;
SET LOCAL work_mem = '6MB';
SET LOCAL DateStyle = 'SQL, DMY';
SET work_mem FROM CURRENT;
SET SESSION DateStyle FROM CURRENT;
COMMIT;
SHOW work_mem;
SHOW DateStyle;
SELECT min(placed) FROM orders;
RESET work_mem;
RESET DateStyle;
SHOW work_mem;
BEGIN;
SET LOCAL IntervalStyle = 'sql_standard';
SAVEPOINT a;
SET IntervalStyle FROM CURRENT;
ROLLBACK TO a;
SHOW IntervalStyle;
COMMIT;
SHOW IntervalStyle;
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;
SET LOCAL work_mem FROM CURRENT;
SHOW work_mem;

-- error: 42704
SET no_such_setting FROM CURRENT

-- Read as strings with escapes: keys, joins, rows that are written, what a Postgres finishes.
-- script
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT version FROM kv WHERE key = 'k\061';
SELECT key FROM kv WHERE key IN ('k\061', 'k2', 'k\x33') ORDER BY key COLLATE "C";
SELECT count(*) FROM kv WHERE key <> 'it\'s' AND value IS DISTINCT FROM 'a\\b';
SELECT id, name || '\\' AS n FROM customers WHERE tenant_id = 8 ORDER BY id LIMIT 3;
SELECT tenant_id, count(*) FROM orders WHERE note IS DISTINCT FROM '\t' GROUP BY tenant_id ORDER BY 1 LIMIT 5;
SELECT note, avg(quantity) FROM orders WHERE note <> 'x\\y' GROUP BY note ORDER BY 2 DESC, 1 LIMIT 4;
SELECT c.id, rank() OVER (ORDER BY c.name || '\\', c.id) FROM customers c JOIN orders o ON o.id = c.id WHERE c.id < 4 ORDER BY 2, 1 LIMIT 6;
SELECT count(*) FROM products WHERE name <> 'a\nb';
SET standard_conforming_strings = on;
SELECT count(*) FROM kv WHERE key = 'k\061';

-- With the warning, which a server gives with the Parse: a text that its connection knows is not parsed again.
-- script
-- forms: simple
SET standard_conforming_strings = off;
SELECT version FROM kv WHERE key = 'k\061';
SELECT id FROM customers WHERE tenant_id = 8 AND name <> 'a\\b' AND id < 3 ORDER BY id;
SELECT nothing FROM kv WHERE key = 'k\061';

-- The warning of a text, once, however many servers read it; notices of rows from all of them.
-- script
-- forms: simple
SET standard_conforming_strings = off;
SELECT count(*) FROM kv WHERE key <> 'k\061';
SELECT tenant_id, count(*) FROM orders WHERE note IS DISTINCT FROM 'a\tb' GROUP BY tenant_id ORDER BY 1 LIMIT 3;
UPDATE words SET n = n WHERE word <> 'no\\word';
SELECT count(*) FROM kv WHERE key <> 'k\061' OR value = 'a\\';
RESET standard_conforming_strings;

-- What is prepared, with the warnings of then.
-- script
-- forms: simple
SET standard_conforming_strings = off;
SET escape_string_warning = on;
PREPARE read_then AS SELECT version FROM kv WHERE key = 'k\145y1\061' AND version >= $1;
PREPARE all_then (int) AS SELECT count(*) FROM kv WHERE key <> 'k\145y1\061' AND version >= $1;
EXECUTE read_then (0);
EXECUTE all_then (0);
SET standard_conforming_strings = on;
PREPARE read_now AS SELECT version FROM kv WHERE key = 'k\145y1\061';
EXECUTE read_now;
DEALLOCATE ALL;

-- Settings of the session in what is asked of all shards.
-- script
SET TimeZone = 'Asia/Kathmandu';
SELECT id, current_setting('TimeZone') FROM tenants ORDER BY id LIMIT 2;
SELECT count(*), current_setting('timezone'), current_setting('search_path'), current_setting('DateStyle', true), current_setting('intervalstyle') FROM kv;
SET search_path = public, pg_catalog;
SET DateStyle = 'SQL, DMY';
BEGIN;
SET LOCAL TimeZone = 'Europe/Oslo';
SELECT DISTINCT current_setting('search_path'), current_setting('TimeZone'), current_setting('DateStyle') FROM orders;
ROLLBACK;
SELECT max(id), current_setting('TimeZone') FROM orders GROUP BY 2;
RESET ALL;
SELECT count(*), current_setting('TimeZone') FROM orders;

-- What the client alone has set, in conditions on keys.
-- script
SET app.org = '3';
SELECT count(*) FROM orders WHERE tenant_id = current_setting('app.org')::int;
SELECT count(*), max(id) FROM customers WHERE tenant_id = current_setting('app.org', true)::int AND active;
SELECT c.tenant_id, count(*), avg(o.quantity) FROM customers c JOIN orders o ON o.tenant_id = c.tenant_id WHERE c.tenant_id = current_setting('app.org')::int GROUP BY 1;
SELECT id, rank() OVER (ORDER BY total, id) FROM orders WHERE tenant_id::text = current_setting('app.org') ORDER BY id LIMIT 3;
SELECT count(DISTINCT o.status) FROM orders o JOIN products p ON p.id = o.quantity WHERE o.tenant_id = current_setting('app.org')::int;
SELECT count(*), current_setting('app.org') FROM orders;
SELECT DISTINCT current_setting('app.org') || status FROM orders ORDER BY 1;
BEGIN;
SET LOCAL app.org = '4';
SELECT count(*) FROM orders WHERE tenant_id = current_setting('app.org')::int;
SAVEPOINT a;
SET LOCAL app.org = '5';
SELECT count(*) FROM orders WHERE tenant_id = current_setting('app.org')::int;
ROLLBACK TO a;
SELECT count(*) FROM orders WHERE tenant_id = current_setting('app.org')::int;
UPDATE accounts SET note = current_setting('app.org') WHERE hits = current_setting('app.org')::int;
SELECT tenant_id, id, note FROM accounts WHERE note = current_setting('app.org') ORDER BY 1, 2;
ROLLBACK;
SELECT count(*) FROM orders WHERE tenant_id = current_setting('app.org')::int;
SELECT set_config('app.org', '6', false);
SELECT count(*) FROM orders WHERE tenant_id = current_setting('app.org')::int;
RESET app.org;
SELECT count(*) FROM orders WHERE status = current_setting('app.org', true);
SELECT count(*) FROM orders WHERE tenant_id = current_setting('app.org')::int;
SELECT count(*) FROM orders WHERE current_setting('no.such.org', true) IS NULL;
SELECT count(*) FROM orders WHERE status = current_setting('no.such.org');
SELECT count(*) FROM void WHERE t = current_setting('no.such.org');
