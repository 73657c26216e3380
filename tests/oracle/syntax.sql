-- Spellings of Postgres that few clients use: with the key given, and over shards.

-- LIKE and its kin with a list.
SELECT id FROM customers WHERE tenant_id = 5 AND email LIKE ANY (ARRAY['user1%', 'user2%']) ORDER BY id

SELECT id FROM customers WHERE email LIKE ANY (ARRAY['user1%', 'user2%']) ORDER BY id

SELECT id FROM customers WHERE tenant_id = 5 AND email ILIKE ANY ('{USER1%,USER2%}') ORDER BY id

SELECT tenant_id, count(*) FROM customers WHERE email ILIKE ALL ('{USER1%,%7%}') GROUP BY tenant_id ORDER BY 1

SELECT id FROM customers WHERE email NOT LIKE ALL (ARRAY['user1%', 'user2%']) AND tenant_id = 5 ORDER BY id

SELECT id FROM customers WHERE email NOT ILIKE ANY (ARRAY['USER1%', 'user2%']) ORDER BY id LIMIT 5

SELECT count(*) FROM kv WHERE key LIKE SOME (ARRAY['key1%', 'k%9'])

SELECT count(*) FROM kv WHERE key LIKE ANY (SELECT 'key' || id || '%' FROM notes)

-- params: 7, '{key1%,key2%}'
-- types: int4, text[]
SELECT count(*), $1::int FROM kv WHERE key LIKE ANY ($2) AND version < $1

SELECT value FROM kv WHERE key = 'key42' AND key LIKE ALL ('{k%,%2}')

-- Tests for NULL.
SELECT id FROM customers WHERE tenant_id = 5 AND name ISNULL ORDER BY id

SELECT id FROM customers WHERE name ISNULL ORDER BY id LIMIT 4

SELECT count(*) FROM customers WHERE nick NOTNULL AND balance ISNULL

SELECT tenant_id, count(*) FILTER (WHERE nick ISNULL) AS isnull FROM customers GROUP BY tenant_id ORDER BY count(*) DESC, 1 LIMIT 3

-- VARIADIC
SELECT concat_ws('-', VARIADIC ARRAY[name, nick]) FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT concat(VARIADIC tags) FROM customers WHERE id < 20 ORDER BY id

SELECT id, num_nulls(VARIADIC tags) FROM customers ORDER BY id LIMIT 7

SELECT format('%s %s', VARIADIC ARRAY[nick, name]) AS f, count(*) FROM customers GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3

-- Whole rows.
SELECT (customers).email FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT (c).email FROM customers c ORDER BY c.id LIMIT 3

SELECT c::text FROM customers c WHERE tenant_id = 5 AND id < 100 ORDER BY id

SELECT o.*::text FROM orders o WHERE tenant_id = 5 ORDER BY id LIMIT 3

SELECT o.*::text FROM orders o ORDER BY id LIMIT 3

SELECT count(k.*), count(k) FROM kv k

SELECT k.* IS NULL FROM kv k WHERE k.key = 'key42'

SELECT row_to_json(k.*) FROM kv k ORDER BY key LIMIT 2

SELECT count(*) FROM kv a JOIN kv b ON a.* = b.*

SELECT (two).* FROM odd WHERE "Id" = 4

SELECT (two).*, "Id" FROM odd ORDER BY "Id" LIMIT 4

SELECT (jsonb_each(meta)).* FROM customers WHERE tenant_id = 5 ORDER BY 1, 2

-- ties
SELECT (jsonb_each(meta)).* FROM customers ORDER BY key, value LIMIT 5

SELECT (jsonb_each_text(meta)).value FROM customers WHERE tenant_id = 5 ORDER BY 1

-- USING with a name of its own.
SELECT j.tenant_id, count(*) FROM customers JOIN orders USING (tenant_id) AS j GROUP BY j.tenant_id ORDER BY 1

SELECT j.tenant_id, c.id FROM customers c JOIN orders o USING (tenant_id) AS j WHERE c.tenant_id = 5 AND o.customer_id = c.id ORDER BY c.id, o.id LIMIT 4

SELECT j.id, o.total FROM customers c JOIN orders o USING (id) AS j ORDER BY j.id, o.total

SELECT j.* FROM customers c LEFT JOIN orders o USING (tenant_id) AS j WHERE c.id < 12 ORDER BY 1

-- ROWS FROM
SELECT c.id, r.* FROM customers c, ROWS FROM (generate_series(1, 2), unnest(c.tags)) AS r (n, tag) WHERE c.tenant_id = 5 ORDER BY c.id, r.n, r.tag

SELECT c.id, r.* FROM customers c, ROWS FROM (generate_series(1, 2), unnest(c.tags)) WITH ORDINALITY AS r (n, tag, place) WHERE c.id < 20 ORDER BY c.id, place

SELECT e.seq, a, b FROM events e CROSS JOIN LATERAL ROWS FROM (jsonb_to_record(e.payload) AS (i int), generate_series(1, 2)) AS x (a, b) WHERE e.device = md5('device3')::uuid ORDER BY e.seq, b

-- BETWEEN SYMMETRIC
SELECT id FROM tenants WHERE id BETWEEN SYMMETRIC 9 AND 5 ORDER BY id

SELECT id FROM customers WHERE tenant_id = 5 AND id NOT BETWEEN SYMMETRIC 300 AND 20 ORDER BY id

SELECT count(*) FROM metrics WHERE day BETWEEN SYMMETRIC '2024-02-01' AND '2024-01-10'

SELECT count(*), count(*) FILTER (WHERE value BETWEEN SYMMETRIC 9 AND -9) FROM metrics

-- SEARCH and CYCLE
WITH RECURSIVE r (id, n) AS (SELECT id, 1 FROM customers WHERE tenant_id = 5 UNION ALL SELECT r.id, n + 1 FROM r WHERE n < 3) SEARCH DEPTH FIRST BY id, n SET place SELECT id, n FROM r ORDER BY place

WITH RECURSIVE r (id, n) AS (SELECT id, 1 FROM tenants UNION ALL SELECT r.id, n + 1 FROM r WHERE n < 3) SEARCH BREADTH FIRST BY id SET place SELECT * FROM r ORDER BY place, id LIMIT 7

WITH RECURSIVE r (id, n) AS (SELECT id, 1 FROM tenants UNION ALL SELECT (r.id + 1) % 7, n FROM r) CYCLE id SET around USING path SELECT id, around, path FROM r ORDER BY id, path LIMIT 20

WITH RECURSIVE r (id, n) AS (SELECT id, 1 FROM tenants WHERE id = 3 UNION ALL SELECT (r.id + 1) % 5, n FROM r) CYCLE id SET around TO 'Y' DEFAULT 'N' USING path SELECT r.*, t.name FROM r JOIN tenants t ON t.id = r.id ORDER BY path

WITH RECURSIVE r (id, n) AS (SELECT id, 1 FROM tenants UNION ALL SELECT (r.id + 1) % 7, n FROM r) SEARCH DEPTH FIRST BY id SET place CYCLE id SET around USING path SELECT count(*), count(*) FILTER (WHERE around) FROM r

SELECT count(*) FROM tenants t WHERE EXISTS (WITH RECURSIVE r (a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM r WHERE a < 2) SEARCH DEPTH FIRST BY a SET id SELECT FROM r WHERE r.id IS NOT NULL AND r.a = t.id)

-- XML
SELECT xmlelement(name who, xmlattributes(id AS number, nick), name) FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT xmlelement(name "a b") FROM customers ORDER BY id LIMIT 1

SELECT xmlforest(id, nick AS called, balance + 1 AS more) FROM customers ORDER BY id LIMIT 3

SELECT xmlparse(content '<a>' || id || '</a>') FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT xmlparse(document '<a>' || id || '</a>')::text FROM customers ORDER BY id LIMIT 2

SELECT xmlserialize(content xmlforest(id, email) AS text), xmlroot(xmlforest(id), version '1.0', standalone yes) FROM customers ORDER BY id LIMIT 2

SELECT xmlpi(name php, 'echo ' || id), xmlconcat(xmlforest(id), xmlforest(email)) FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT xmlagg(xmlelement(name n, id) ORDER BY id) FROM customers WHERE id < 9

SELECT xmlexists('//b' PASSING BY VALUE xmlparse(content '<b/>')), id FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT c.id, x.* FROM customers c, xmltable('/a/b' PASSING xmlparse(document '<a><b n="1">x</b><b n="2"/></a>') COLUMNS n int PATH '@n' NOT NULL, place FOR ORDINALITY, t text PATH '.' DEFAULT 'none') AS x WHERE c.tenant_id = 5 ORDER BY c.id, x.n

-- A table with its children.
SELECT count(*) FROM parted *

SELECT count(*) FROM parted * WHERE tenant_id = 5

SELECT p.v FROM parted * AS p JOIN tenants * t ON t.id = p.tenant_id WHERE t.id = 5 ORDER BY 1

UPDATE accounts * SET hits = 1 WHERE tenant_id = 5

DELETE FROM transfers * WHERE tenant_id = 5 AND id < 20

-- TABLE
TABLE tenants ORDER BY id

TABLE tenants ORDER BY id LIMIT 3

(TABLE tenants ORDER BY id DESC LIMIT 2) UNION ALL TABLE tenants ORDER BY 1 LIMIT 5

WITH t AS (SELECT id FROM tenants WHERE id = 5) TABLE t

WITH t AS (TABLE tenants) SELECT count(*), min(id) FROM t

SELECT count(*) FROM (TABLE kv) AS k WHERE key = 'key42'

SELECT id FROM tenants WHERE id IN (TABLE notes) ORDER BY id
-- error: 42601

SELECT EXISTS (TABLE void), id FROM tenants WHERE id = 5

-- Strings by code points.
SELECT id, U&'d\0061t\+000061' FROM tenants WHERE id = 5

SELECT count(*) FROM kv WHERE key = U&'\043a\043b\044e\0447'

SELECT value FROM kv WHERE key = U&'k!0065y42' UESCAPE '!'

SELECT count(*) FROM kv WHERE key > U&'a\\b''c' AND key < U&'\D83D\DE00'

SELECT U&"n\0061me" FROM tenants WHERE id = 5

SELECT U&"n\0061me", count(*) FROM tenants GROUP BY U&"n!0061me" UESCAPE '!' ORDER BY 1 LIMIT 3

SELECT id, U&'\00' FROM tenants
-- error: 42601

-- COLLATION FOR
SELECT id, collation for (name), collation for (plan) FROM tenants WHERE id = 5

SELECT collation for (plan), count(*) FROM tenants GROUP BY 1

SELECT collation for (name || 'x'), id FROM tenants ORDER BY id LIMIT 2

-- GROUP BY DISTINCT
SELECT status, quantity, count(*) FROM orders WHERE tenant_id = 5 GROUP BY DISTINCT ROLLUP (status, quantity), ROLLUP (status) ORDER BY 1, 2, 3

SELECT status, quantity, count(*) FROM orders GROUP BY DISTINCT ROLLUP (status, quantity), ROLLUP (status) ORDER BY 1, 2, 3

SELECT status, count(*) FROM orders GROUP BY ALL CUBE (status), ROLLUP (status) ORDER BY 1, 2

SELECT status, count(*) FROM orders GROUP BY DISTINCT status ORDER BY 1

-- Operators by name.
SELECT id FROM tenants WHERE id OPERATOR(pg_catalog.=) 5

SELECT id FROM tenants WHERE id OPERATOR(pg_catalog.<) 5 ORDER BY id OPERATOR(pg_catalog.*) 2

SELECT id, name OPERATOR(pg_catalog.||) 'x', OPERATOR(pg_catalog.-) id FROM tenants WHERE id OPERATOR(pg_catalog.=) ANY ('{5,9}') ORDER BY id

SELECT id FROM tenants ORDER BY id USING OPERATOR(pg_catalog.>) LIMIT 3

SELECT id FROM tenants ORDER BY id USING > LIMIT 3

-- Comparisons
SELECT id FROM customers WHERE tenant_id = 5 AND (name, nick) IS DISTINCT FROM (nick, name) ORDER BY id

SELECT id FROM customers WHERE (tenant_id, id) IS NOT DISTINCT FROM (5, 41) ORDER BY id

SELECT count(*) FROM customers WHERE ROW(name, nick) IS NOT DISTINCT FROM ROW(nick, name)

SELECT id, name IS NORMALIZED, name IS NOT NFD NORMALIZED, normalize(name, NFD) = name FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT count(*) FROM customers WHERE name IS NFC NORMALIZED AND name IS NOT NFKD NORMALIZED

SELECT count(*) FROM customers WHERE active IS UNKNOWN OR active IS NOT FALSE

-- Times
SELECT id, created AT TIME ZONE 'Europe/Berlin', updated AT TIME ZONE INTERVAL '2 hours' FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT date_trunc('month', created AT TIME ZONE 'UTC') AS m, count(*) FROM customers GROUP BY 1 ORDER BY 1

SELECT count(*) FROM customers WHERE (born, born + 700) OVERLAPS ('1970-01-01'::date, '1975-01-01'::date)

SELECT id, (updated, gap) OVERLAPS (updated, updated) FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT id, extract(epoch FROM updated), extract(dow FROM born), extract('year' FROM born), extract(timezone FROM created), extract(isodow FROM created) FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT extract(century FROM born) AS c, extract(julian FROM max(born)) FROM customers GROUP BY 1 ORDER BY 1

SELECT id, interval '1' day, interval '1-2' year to month, interval '3' hour, interval(2) '1.234 seconds', time(2) '10:00:00.123', timestamp(0) '2024-01-01 10:00:00.7' FROM tenants WHERE id = 5

SELECT id, interval '1.5' second(1), timestamp(0) with time zone '2024-01-01 10:00:00.7+00' FROM tenants ORDER BY id LIMIT 2

SELECT count(*), interval(0) '1.5 sec' FROM customers WHERE gap > interval(1) '1.25 sec'

-- Strings
SELECT id, substring(email from 2 for 3), substring(email for 3), substring(email from '[0-9]+'), substring(email from '%#"@#"%' for '#'), substring(email similar '%#"@#"%' escape '#') FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT substring(email similar 'user#"[0-9]#"%' escape '#') AS d, count(*) FROM customers GROUP BY 1 ORDER BY 1

SELECT count(*) FROM customers WHERE email SIMILAR TO 'user(1|2)%' AND email NOT SIMILAR TO 'x!%' ESCAPE '!'

SELECT id, overlay(email placing 'XX' from 2 for 1), overlay(email placing 'Y' from 3), position('@' in email), trim(both 'u' from email), trim(leading from name), trim(trailing 'm' from email), trim(email, 'u'), trim(from name) FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT trim(both 'u' from email) AS t FROM customers ORDER BY t LIMIT 3

SELECT id, email ^@ 'user1', email ~~ 'user1%', email !~~* 'USER%', email LIKE 'user!_%' ESCAPE '!' FROM customers WHERE tenant_id = 5 ORDER BY id

-- Frames
SELECT id, sum(total) OVER (PARTITION BY tenant_id ORDER BY id GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE TIES) FROM orders WHERE tenant_id = 5 ORDER BY id

SELECT id, sum(quantity) OVER (ORDER BY id GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM orders ORDER BY id LIMIT 9

SELECT id, count(*) OVER w FROM orders WINDOW w AS (ORDER BY quantity RANGE BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE GROUP) ORDER BY id LIMIT 5

-- Typed strings
SELECT id, pg_lsn '16/B374D848', inet '10.0.0.1/8', macaddr '08:00:2b:01:02:03', uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', point '(1,2)' FROM tenants WHERE id = 5

SELECT count(*) FROM customers WHERE ip << inet '10.1.0.0/16'

SELECT device, count(*) FROM events WHERE device = uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' GROUP BY device

SELECT id, jsonb '{"a": 1}' ->> 'a', int4 '7', float8 '-0', numeric 'NaN', bool 't', json '[1]', varchar(2) 'abc', char(3) 'x' FROM tenants WHERE id = 5

SELECT id, int4 '7' AS seven, tsvector 'a b', int4range '[1,3)', bytea '\x00ff', bit(3) '101', bit varying '11' FROM tenants ORDER BY id LIMIT 2

SELECT name FROM tenants WHERE id = int4 '5'

SELECT feel, mood 'ok' FROM odd WHERE "Id" = 4

SELECT count(*) FROM odd WHERE feel = mood 'ok'

-- FETCH
SELECT id, quantity FROM orders WHERE tenant_id = 5 ORDER BY quantity FETCH FIRST 2 ROWS WITH TIES

-- ties
SELECT id, quantity FROM orders ORDER BY quantity FETCH FIRST 2 ROWS WITH TIES

SELECT id FROM tenants ORDER BY id OFFSET 2 ROWS FETCH NEXT ROW ONLY

SELECT id FROM tenants ORDER BY id FETCH FIRST (1 + 2) ROWS ONLY

SELECT id FROM tenants ORDER BY id OFFSET 1 FETCH FIRST 2 ROWS ONLY

SELECT id FROM tenants ORDER BY id LIMIT ALL OFFSET 38

SELECT id FROM tenants ORDER BY id LIMIT NULL OFFSET NULL

SELECT id FROM tenants ORDER BY id LIMIT 9223372036854775807 OFFSET 38

SELECT id FROM tenants ORDER BY id LIMIT 2 OFFSET 9223372036854775807

SELECT id FROM tenants LIMIT 9223372036854775808
-- error: 22003

-- Other expressions
SELECT id, tags[1], tags[1:2], tags[:1], tags[2:], (ARRAY[1,2,3])[2], (string_to_array(email, '@'))[1] FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT (string_to_array(email, '@'))[1] AS who FROM customers ORDER BY who LIMIT 3

SELECT id, CAST(tags AS varchar[]), ARRAY(SELECT id FROM tenants WHERE tenants.id = customers.tenant_id), ARRAY[[1,2],[3,4]] FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT id, X'1F', B'101', 1e3, .5, 5., 1e-3, 0.10, N'n', E'\x41\u0042' FROM tenants WHERE id = 5

SELECT id, x'1F'::int, b'101' FROM tenants ORDER BY id LIMIT 2

SELECT id, |/ id::float8, ||/ id::float8, @ (-id), id # 5, ~id, id & 6, id | 1, id << 2, id >> 1, 2 ^ id FROM tenants WHERE id = 5

SELECT ROW(id, name), (id, name), ROW(), ROW(tenants.*) FROM tenants WHERE id = 5

SELECT id, current_user, session_user, current_role, user, current_catalog, current_schema FROM tenants WHERE id = 5

SELECT id, current_user FROM tenants ORDER BY id LIMIT 2

SELECT GREATEST(id, 3), LEAST(seats, 4), NULLIF(plan, 'free'), COALESCE(plan, '-') FROM tenants ORDER BY id LIMIT 4

SELECT DISTINCT ON (plan) plan, id FROM tenants ORDER BY plan, id

SELECT mode() WITHIN GROUP (ORDER BY status), percentile_disc(0.5) WITHIN GROUP (ORDER BY total) FROM orders

SELECT grouping(status), status, count(*) FROM orders GROUP BY GROUPING SETS ((status), ()) ORDER BY 1, 2

SELECT id FROM tenants WHERE (id, name) < (5, 'x') ORDER BY id

SELECT id FROM tenants WHERE (id, name) IN (VALUES (5, 'x'), (6, 'Acme 6')) OR (id) = 7 ORDER BY id

SELECT ALL id FROM ONLY tenants WHERE id = 5

SELECT count(*) FROM ONLY (parted)

SELECT id AS "select", name AS value, plan AS "from" FROM tenants WHERE id = 5

SELECT id AS year, name "of" FROM tenants ORDER BY id LIMIT 2

SELECT t.id, u.id FROM tenants t (id, called) JOIN notes u (id) ON u.id = t.id ORDER BY 1

SELECT x.a FROM tenants AS x (a) WHERE x.a = 5

SELECT * FROM (VALUES (5), (6)) AS v (k) JOIN tenants ON id = k ORDER BY k

SELECT * FROM tenants NATURAL JOIN (SELECT 5 AS id) s

SELECT count(*) FROM (tenants t CROSS JOIN notes n) WHERE t.id = n.id

SELECT j.id FROM (tenants t JOIN notes n USING (id)) AS j WHERE j.id = 5

SELECT j.a FROM (tenants t JOIN notes n ON t.id = n.id) AS j (a, b) WHERE j.a = 5

SELECT id FROM tenants WHERE id = 5 FOR SHARE OF tenants NOWAIT

SELECT id FROM tenants WHERE name LIKE 'Acme%' COLLATE "C" ORDER BY name COLLATE "C" DESC NULLS LAST, id

SELECT json_build_object('id', id, 'n', name) FROM tenants WHERE id = 5

SELECT id FROM tenants WHERE NOT (id <> ALL (ARRAY[5, 6])) ORDER BY id

SELECT id, no_such_function(id) FROM tenants WHERE id = 5
-- error: 42883

SELECT no_such_function(id) FROM tenants
-- error: 42883

SELECT id FROM tenants WHERE no_such_function(name) ORDER BY id
-- error: 42883

SELECT count(*) FROM tenants t JOIN orders o ON o.quantity = t.id WHERE no_such_function(name) > 1
-- error: 42883

SELECT id FROM no_such_schema.no_such_table, tenants
-- error: 42P01

SELECT no_such_column FROM tenants ORDER BY id
-- error: 42703

SELECT id, pg_typeof(name), pg_column_size(id) FROM tenants WHERE id = 5

SELECT id, current_setting('work_mem') FROM tenants ORDER BY id LIMIT 2

SELECT id, current_setting('no.such', true) FROM tenants WHERE id = 5

SELECT count(*), current_setting('server_version_num') FROM tenants

SELECT id, version() = version() FROM tenants ORDER BY id LIMIT 2

-- EXCEPT and INTERSECT in turn.
SELECT id FROM tenants EXCEPT ALL SELECT id FROM notes INTERSECT SELECT id FROM products ORDER BY 1 LIMIT 3

-- Into files and tables.
COPY (SELECT id, name FROM tenants WHERE id = 5) TO STDOUT (FORMAT binary)

COPY (SELECT id, name FROM tenants ORDER BY id) TO STDOUT (FORMAT binary)

COPY (SELECT count(*) FROM customers WHERE name ISNULL) TO STDOUT

-- script
CREATE TEMP TABLE mine AS SELECT id, name FROM tenants WHERE id < 9;
SELECT * FROM mine ORDER BY id;
SELECT count(*) FROM mine;
DROP TABLE mine;

-- script
SELECT id, name INTO TEMP mine FROM tenants WHERE id = 5;
SELECT * FROM mine ORDER BY id;
DROP TABLE mine;

-- Of rows that lie on several shards.
-- script
CREATE TEMP TABLE mine AS SELECT id, name FROM tenants WHERE id < 20;
SELECT count(*), min(name), max(id) FROM mine;
INSERT INTO mine VALUES (1000, 'more');
SELECT * FROM mine WHERE id > 15 ORDER BY id;
DROP TABLE mine;
SELECT count(*) FROM mine;

-- script
BEGIN;
CREATE LOCAL TEMP TABLE mine (a, b) ON COMMIT DROP AS SELECT status, count(*) FROM orders GROUP BY status WITH DATA;
SELECT * FROM mine ORDER BY a;
SELECT count(*), max(id) FROM tenants;
COMMIT;
SELECT * FROM mine;

-- Several of them are on one connection.
-- script
CREATE TEMP TABLE mine AS SELECT id, name FROM tenants WHERE id < 20;
CREATE TEMP TABLE others AS SELECT id, max(name) AS name FROM tenants GROUP BY id;
SELECT count(*), max(status) AS status INTO TEMP third FROM orders;
SELECT count(*), min(m.name), max(o.id) FROM mine m JOIN others o USING (id);
SELECT * FROM third, mine WHERE mine.id = 7;
BEGIN;
CREATE TEMP TABLE fourth ON COMMIT DROP AS SELECT t.id, rank() OVER (ORDER BY name, id) FROM tenants t;
CREATE TEMP TABLE mine AS SELECT id FROM tenants;
ROLLBACK;
SELECT count(*) FROM fourth;
DROP TABLE mine, others, third;

-- script
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT id FROM tenants WHERE id = 5 AND name <> 'a\\b';
SELECT count(*) FROM kv WHERE key = 'a\\b';
SELECT count(*) FROM kv WHERE key = E'a\\b';
SELECT id FROM tenants WHERE id = 5 AND name <> 'x';
RESET standard_conforming_strings;

-- Sizes as they are stored.
SELECT id, pg_column_size(name) FROM customers WHERE tenant_id = 5 ORDER BY id

SELECT sum(pg_column_size(note)), max(pg_column_size(meta)) FROM orders JOIN customers USING (tenant_id) WHERE tenant_id = 5

SELECT id, pg_column_size(email) FROM customers ORDER BY id LIMIT 5

SELECT count(*) FROM (SELECT id FROM tenants ORDER BY name LIMIT 9223372036854775807 OFFSET 39) AS t

SELECT id FROM tenants ORDER BY name || 'x', id LIMIT 9223372036854775807 OFFSET 36

-- Names of system columns that a query gives.
SELECT x.ctid, xmin FROM (SELECT id AS ctid, name AS xmin FROM tenants) AS x ORDER BY 1 LIMIT 3

SELECT max(ctid) FROM (SELECT tenant_id + id AS ctid FROM customers) AS x

-- What is read as something else says nothing of a key.
SELECT id FROM tenants WHERE id::text LIKE ANY ('{5}')

SELECT id FROM tenants WHERE id OPERATOR(pg_catalog.=) ANY ('{5,6}') ORDER BY id

SELECT id FROM tenants WHERE id = OPERATOR(pg_catalog.@) (-5)

SELECT d.a, d.b FROM (WITH RECURSIVE r AS (SELECT tenant_id, id FROM orders WHERE id < 60 UNION SELECT tenant_id, id + 100 FROM r WHERE id < 60) SEARCH DEPTH FIRST BY id SET place SELECT r.*, t.id FROM r JOIN tenants t ON t.id = r.tenant_id) AS d (a, b, c, e) WHERE d.e = 1 ORDER BY 2

SELECT x.t, x.i FROM (SELECT (o).*, 1 AS one FROM orders o) AS x (t, i) WHERE x.t = 5 ORDER BY 2 LIMIT 3

SELECT count(*) FROM (SELECT (o).* FROM orders o) AS x WHERE x.tenant_id = 5

SELECT j.a FROM (tenants CROSS JOIN countries) AS j (a) WHERE j.a = 5

SELECT count(*) FROM (customers c JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id) AS j (tenant, id)

SELECT count(*) FROM tenants t JOIN (customers c LEFT JOIN orders o ON o.customer_id = c.id) AS j (tenant, id) ON j.tenant = t.id WHERE t.id = 5

-- Values by which the plan is made stand where they stood.
SELECT id FROM tenants WHERE name NOTNULL AND id IN (7, 5) AND 'a' ISNULL IS FALSE ORDER BY id LIMIT 1

SELECT U&'\0061', id FROM tenants WHERE id = 6 AND plan ISNULL

SELECT U&'\0061', id FROM tenants WHERE id = 7 AND plan ISNULL

SELECT date_trunc('year', joined) AS y, int4 '5', count(*) FROM tenants WHERE seats NOTNULL GROUP BY 1 HAVING count(*) > 0 ORDER BY 1

-- Columns by their place behind those of a row.
SELECT (two).*, "Id" FROM odd ORDER BY 3 LIMIT 4

SELECT (two).*, count(*) FROM odd GROUP BY 1, 2 ORDER BY 1, 2

SELECT (two).*, count(*) AS n FROM odd GROUP BY two ORDER BY n, a LIMIT 3

SELECT DISTINCT (two).* FROM odd ORDER BY a, b

SELECT DISTINCT ON (1) (two).*, "Id" FROM odd ORDER BY 1, 3

SELECT (two).*, 1 FROM odd WHERE "Id" < 9 UNION SELECT 1, 'ok', 2 ORDER BY 1, 2, 3

SELECT (t).*, sum(id) OVER (ORDER BY id) FROM tenants t ORDER BY 1 DESC, 7 LIMIT 3

-- script
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM customers WHERE name ISNULL ORDER BY id;
FETCH 3 FROM c;
DECLARE d CURSOR FOR SELECT id FROM customers WHERE tenant_id = 5 AND name NOTNULL ORDER BY id;
FETCH 2 FROM d;
DECLARE e SCROLL CURSOR FOR TABLE tenants;
CLOSE ALL;
COMMIT;

-- script
PREPARE p (int) AS SELECT id FROM customers WHERE tenant_id = $1 AND name NOTNULL AND email LIKE ANY ('{user1%}') ORDER BY id;
EXECUTE p (5);
EXECUTE p (6);
DEALLOCATE p;

-- script
BEGIN;
SELECT count(*) FROM customers c JOIN orders o USING (id) AS j WHERE j.id NOTNULL AND c.name ISNULL;
SELECT (c).id, xmlforest(o.id AS number) FROM customers c JOIN orders o ON o.customer_id = c.id AND o.quantity NOTNULL ORDER BY c.id, o.id LIMIT 3;
TABLE countries ORDER BY code FETCH FIRST (1 + 1) ROWS ONLY;
COMMIT;

COPY (TABLE tenants) TO STDOUT

-- COLLATE behind a cast.
SELECT id FROM customers ORDER BY name::text COLLATE "C" DESC, id LIMIT 7

SELECT id FROM customers ORDER BY name::text COLLATE "en-x-icu", id LIMIT 7

SELECT id, name::text COLLATE ucs_basic FROM customers WHERE nick::text COLLATE pg_catalog."C" > 'c' ORDER BY nick::text COLLATE pg_catalog."C" NULLS LAST, id LIMIT 7

SELECT (level::text || nick)::varchar(9) COLLATE "C", count(*) FROM customers GROUP BY 1 ORDER BY 1

SELECT max(lower(nick)::text COLLATE "C"), min('a' || id::int::text COLLATE "C") FROM customers

SELECT id FROM customers WHERE tenant_id = 3 AND name::text COLLATE "und-x-icu" < 'm' ORDER BY id

-- ORDER BY and LIMIT behind a SELECT in parentheses are its own, and name its columns.
(SELECT id, rank() OVER (ORDER BY id, tenant_id) FROM orders) ORDER BY total, tenant_id, id LIMIT 3

(SELECT rank() OVER (ORDER BY id, tenant_id) FROM orders) ORDER BY quantity + 0, id, tenant_id LIMIT 3

(((SELECT rank() OVER (ORDER BY id, tenant_id) AS note FROM orders))) ORDER BY note DESC, id LIMIT 3

SELECT c.tenant_id, c.id, (SELECT q.x FROM ((SELECT o.total AS x FROM orders o WHERE o.quantity = length(c.name)) ORDER BY id DESC, o.tenant_id LIMIT 1) q) FROM customers c ORDER BY 1, 2 LIMIT 12

SELECT tenant_id, id, ARRAY((SELECT o.total AS x FROM orders o WHERE o.quantity = length(c.name)) ORDER BY id DESC, o.tenant_id LIMIT 1) FROM customers c ORDER BY 1, 2 LIMIT 12

SELECT q.id FROM ((SELECT o.id FROM orders o JOIN products p ON p.id = o.quantity) ORDER BY total, o.tenant_id, o.id LIMIT 5) q ORDER BY 1

WITH q AS ((SELECT o.id FROM orders o JOIN products p ON p.id = o.quantity) ORDER BY total, o.tenant_id, o.id LIMIT 5) SELECT id FROM q ORDER BY 1

-- N'...' is a bpchar.
SELECT id, N'it''s', pg_typeof(N'a ')::text, N'a ' = 'a', N'a ' || 'b', length(N'a  ') FROM tenants ORDER BY 1 LIMIT 2

SELECT N'it''s' AS x, count(*), rank() OVER (ORDER BY count(*)) FROM orders WHERE status <> N'it''s' GROUP BY status ORDER BY 2, 3

SELECT * FROM kv WHERE key = N'a' OR key IN (N'b', N'k1 ') ORDER BY 1

SELECT max(N'a ' || status), min(N'x'), N'b ' FROM orders WHERE status LIKE N'n%'

-- ORDER BY behind VALUES and behind parentheses may say anything.
VALUES (1), (2), (3) ORDER BY (SELECT count(*) FROM orders o WHERE o.tenant_id = column1) DESC, column1 LIMIT 1

SELECT count(*) FROM ((SELECT id FROM customers WHERE tenant_id = 1) ORDER BY (SELECT count(*) FROM orders o WHERE o.customer_id = customers.id) DESC, id LIMIT 3) q

(SELECT id FROM customers WHERE tenant_id = 1) ORDER BY lower(name), id LIMIT 3

VALUES (2), (1), (3) ORDER BY abs(column1 - 3) LIMIT 2
