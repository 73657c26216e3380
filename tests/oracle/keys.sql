-- One key in all its spellings.

SELECT name FROM tenants WHERE id = '5'

SELECT name FROM tenants WHERE id = ' 05 '

SELECT name FROM tenants WHERE id = '5'::int

SELECT name FROM tenants WHERE id = '5'::text::int

SELECT name FROM tenants WHERE id = CAST('5' AS bigint)

SELECT name FROM tenants WHERE id = int4 '5'

SELECT name FROM tenants WHERE id = 5::smallint

SELECT name FROM tenants WHERE id = 5::bigint

SELECT name FROM tenants WHERE id = 5.0

SELECT name FROM tenants WHERE id = 5.5

SELECT name FROM tenants WHERE id = 5::numeric

SELECT name FROM tenants WHERE id = 5e0

SELECT name FROM tenants WHERE id = 5::float8

SELECT name FROM tenants WHERE id = +5

SELECT name FROM tenants WHERE id = - -5

SELECT name FROM tenants WHERE id = -5

SELECT name FROM tenants WHERE id = 2 + 3

SELECT name FROM tenants WHERE id = 11 / 2

SELECT name FROM tenants WHERE id = abs(-5)

SELECT name FROM tenants WHERE id = (5)

SELECT name FROM tenants WHERE id + 0 = 5

SELECT name FROM tenants WHERE id::text = '5'

SELECT name FROM tenants WHERE id::bigint = 5

SELECT name FROM tenants WHERE id = 5000000000

SELECT name FROM tenants WHERE id = 9999999999999999999999

-- error: 22003
SELECT name FROM tenants WHERE id = '5000000000'

-- error: 22P02
SELECT name FROM tenants WHERE id = 'five'

-- error: 22P02
SELECT name FROM tenants WHERE id = '5.0'

-- Beside a number beyond bigint a text is a numeric.
SELECT name FROM tenants WHERE id IN ('5.0', 9223372036854775808) ORDER BY 1

SELECT name FROM tenants WHERE id IN (5, -9223372036854775809, 9223372036854775807) ORDER BY 1

-- params: 5.00
SELECT name FROM tenants WHERE id IN ($1, 99999999999999999999) ORDER BY 1

-- error: 22P02
SELECT name FROM tenants WHERE id = ''

-- params: '5'
-- types: text
SELECT name FROM tenants WHERE id = $1::int

-- params: 5
-- types: numeric
SELECT name FROM tenants WHERE id = $1

-- params: 5
-- types: float8
SELECT name FROM tenants WHERE id = $1

-- params: 5
SELECT name FROM tenants WHERE id = $1 + 1

-- params: 5
SELECT name FROM tenants WHERE id = $1::bigint

-- params: 5, 6
SELECT name FROM tenants WHERE id = $2 AND $1::int = 5

-- params: NULL
SELECT name FROM tenants WHERE id = $1

SELECT version FROM kv WHERE key = 'key42'::varchar

SELECT version FROM kv WHERE key = 'key42 '::char(8)

SELECT version FROM kv WHERE key = 'key '

SELECT version FROM kv WHERE key = 'key '::char(4)

SELECT version FROM kv WHERE key = 'key42'::name

SELECT version FROM kv WHERE key = 'key' || '42'

SELECT version FROM kv WHERE key = concat('key', 42)

SELECT version FROM kv WHERE lower(key) = 'key' ORDER BY 1

SELECT version FROM kv WHERE key = upper('key')

SELECT version FROM kv WHERE key = E'e\u0301'

SELECT version FROM kv WHERE key = 'é'

SELECT version FROM kv WHERE key COLLATE "C" = 'key42'

SELECT version FROM kv WHERE key = 'key42' COLLATE "C"

SELECT version FROM kv WHERE key LIKE 'key42'

SELECT version FROM kv WHERE key LIKE 'key4%' ORDER BY key

SELECT version FROM kv WHERE key ILIKE 'KEY' ORDER BY version

SELECT count(*) FROM events WHERE device = 'D0D7FDB6-97CF-3FCD-9EB2-3E9B6D3BCD0B'

SELECT count(*) FROM events WHERE device = ('{' || md5('device3') || '}')::uuid

SELECT count(*) FROM events WHERE device = (md5('device3'))::uuid

SELECT count(*) FROM events WHERE device::text = md5('device3')::uuid::text

SELECT count(*) FROM metrics WHERE day = '2024-1-5'

SELECT count(*) FROM metrics WHERE day = 'Jan 5, 2024'

SELECT count(*) FROM metrics WHERE day = '20240105'

SELECT count(*) FROM metrics WHERE day = timestamp '2024-01-05'

SELECT count(*) FROM metrics WHERE day = timestamp '2024-01-05 00:00:01'

SELECT count(*) FROM metrics WHERE day = timestamptz '2024-01-05 00:00+00'

SELECT count(*) FROM metrics WHERE day = date '2024-01-04' + 1

SELECT count(*) FROM metrics WHERE day = make_date(2024, 1, 5)

SELECT count(*) FROM metrics WHERE day = 'infinity'

-- error: 22008
SELECT count(*) FROM metrics WHERE day = '2024-02-30'

-- error: 22007
SELECT count(*) FROM metrics WHERE day = 'someday'

SELECT count(*) FROM region_stats WHERE region = 'EU'

SELECT count(*) FROM region_stats WHERE region = ''

-- error: 42883
SELECT count(*) FROM tenants WHERE id = '5'::text

-- error: 42883
SELECT count(*) FROM kv WHERE key = 5

SELECT name FROM tenants WHERE id IS NOT DISTINCT FROM 5

SELECT name FROM tenants WHERE id = 5 IS TRUE

SELECT name FROM tenants WHERE (id = 5) = true

SELECT name FROM tenants WHERE NOT id <> 5

SELECT name FROM tenants WHERE id OPERATOR(pg_catalog.=) 5

SELECT name FROM tenants WHERE twice(3) = id

-- Computed.

SELECT name FROM tenants WHERE id = 3 + 4

SELECT name FROM tenants WHERE id = 17 - 2 * 3

SELECT name FROM tenants WHERE id = -(-7)

SELECT name FROM tenants WHERE id = - -7

SELECT name FROM tenants WHERE id = 29 / 4

SELECT name FROM tenants WHERE id = -29 / 4

SELECT name FROM tenants WHERE id = 29 % 11

SELECT name FROM tenants WHERE id = -29 % 11 + 20

SELECT name FROM tenants WHERE id = (3 + 4)::smallint

SELECT name FROM tenants WHERE id = '3'::int + 4

SELECT name FROM tenants WHERE id = int8 '3' + 4

SELECT name FROM tenants WHERE id = 3 + NULL::int

SELECT name FROM tenants WHERE id = 99999999999999999999 - 99999999999999999990

SELECT name FROM tenants WHERE id = 2.5 * 2

SELECT name FROM tenants WHERE id = 7 / 2.0

-- error: 22012
SELECT name FROM tenants WHERE id = 7 / 0

-- error: 22003
SELECT name FROM tenants WHERE id = 2147483647 + 1

-- error: 22003
SELECT name FROM tenants WHERE id = 32767::int2 * 2::int2

-- error: 22003
SELECT name FROM tenants WHERE id = 9223372036854775807 + 1

SELECT id FROM tenants WHERE id IN (1 + 2, 2 * 4, '5', 9) ORDER BY id

SELECT id FROM tenants WHERE id BETWEEN 2 + 3 AND 16 / 2 ORDER BY id

SELECT count(*) FROM customers WHERE tenant_id = 1 + 2 AND id < 5 + 5

-- params: 3
-- types: int4
SELECT name FROM tenants WHERE id = $1 + 4

-- params: 3
-- types: int8
SELECT name FROM tenants WHERE id = 10 - $1

-- params: NULL
-- types: int4
SELECT name FROM tenants WHERE id = $1 + 4

-- params: 3
SELECT name FROM tenants WHERE id = $1 + 4

-- params: 3
SELECT name FROM tenants WHERE id = $1::int2 + 4

-- params: 7, 2
-- types: int4, int4
SELECT name FROM tenants WHERE id = $1 / $2 + $1

-- The same plan for other literals.
-- script
SELECT name FROM tenants WHERE id = 3 + 4;
SELECT name FROM tenants WHERE id = 3 + 5;
SELECT name FROM tenants WHERE id = 4 + 5;
SELECT name FROM tenants WHERE id = 4 + 5.5;
SELECT name FROM tenants WHERE id = 4 + '6';
SELECT name FROM tenants WHERE id = 4 + 99999999999;

-- Cast twice.

SELECT name FROM tenants WHERE id = 7::int8::int2

SELECT name FROM tenants WHERE id = '07'::text::int

SELECT name FROM tenants WHERE id = 7::text::int

SELECT name FROM tenants WHERE id = 7::numeric::int

SELECT name FROM tenants WHERE id = 6.5::numeric::int

SELECT name FROM tenants WHERE id = '7.4'::numeric::int

-- error: 22003
SELECT name FROM tenants WHERE id = 70000::int2::int4

SELECT version FROM kv WHERE key = 'k1'::varchar::text

SELECT version FROM kv WHERE key = 'k1x'::varchar(2)::text

SELECT version FROM kv WHERE key = 'k1  '::char(4)::text

SELECT count(*) FROM metrics WHERE day = '2024-02-01'::text::date

SELECT count(*) FROM metrics WHERE day = '2024-02-01 12:00'::timestamp::date

-- params: 7
SELECT name FROM tenants WHERE id = $1::text::int

-- params: 7
-- types: int8
SELECT name FROM tenants WHERE id = $1::int4::int8

-- In other words.

SELECT name FROM tenants WHERE id IS NOT DISTINCT FROM 7

SELECT name FROM tenants WHERE 3 + 4 IS NOT DISTINCT FROM id

SELECT count(*) FROM tenants WHERE id IS NOT DISTINCT FROM NULL

-- params: 7
-- types: int4
SELECT name FROM tenants WHERE id IS NOT DISTINCT FROM $1

-- params: NULL
-- types: int4
SELECT count(*) FROM tenants WHERE id IS NOT DISTINCT FROM $1

-- params: NULL
-- types: int4
SELECT count(*) FROM tenants WHERE id IS NOT DISTINCT FROM $1 + 1

SELECT count(*) FROM kv WHERE key IS NOT DISTINCT FROM 'k1'

SELECT c.id FROM tenants t LEFT JOIN customers c ON c.tenant_id = t.id AND t.id IS NOT DISTINCT FROM 7 WHERE t.id < 9 ORDER BY t.id, c.id LIMIT 12

SELECT name FROM tenants WHERE (id = 7) IS TRUE

SELECT name FROM tenants WHERE (id = 7 AND name <> '') IS TRUE

SELECT count(*) FROM tenants WHERE (id = 7) IS NOT TRUE

SELECT name FROM tenants WHERE NOT (id <> 7)

SELECT name FROM tenants WHERE NOT NOT (id = 7)

SELECT id FROM tenants WHERE NOT (id <> 7 AND id <> 9) ORDER BY id

SELECT id FROM tenants WHERE NOT (id <> 7 OR name = 'x') ORDER BY id

SELECT count(*) FROM tenants WHERE NOT (id <> 7 AND name = 'x')

SELECT id FROM tenants WHERE NOT (id < 7 OR id > 9) ORDER BY id

SELECT id FROM tenants WHERE NOT (id NOT IN (7, 9)) ORDER BY id

SELECT id FROM tenants WHERE NOT (id IS DISTINCT FROM 9) ORDER BY id

SELECT count(*) FROM tenants WHERE NOT (id = 7)

SELECT id FROM tenants WHERE id BETWEEN SYMMETRIC 9 AND 7 ORDER BY id

SELECT id FROM tenants WHERE NOT (id NOT BETWEEN 7 AND 9) ORDER BY id

SELECT count(*) FROM tenants WHERE NOT (id BETWEEN SYMMETRIC 9 AND 7)

SELECT region, count(*) FROM region_stats WHERE NOT (region < 'eu' OR region > 'eu') GROUP BY region ORDER BY region COLLATE "C"

SELECT t.id, c.id FROM tenants t LEFT JOIN customers c ON NOT (c.tenant_id <> t.id) WHERE NOT (t.id <> 3) ORDER BY 1, 2 LIMIT 9

-- Members of a query without tables.

SELECT id FROM tenants WHERE id IN (VALUES (3), (7), (11)) ORDER BY id

SELECT id FROM tenants WHERE id IN (VALUES (3), (7.0), (11.5)) ORDER BY id

SELECT id FROM tenants WHERE id IN (VALUES (3), ('7'), (NULL)) ORDER BY id

SELECT id FROM tenants WHERE id NOT IN (VALUES (3), (7)) AND id < 12 ORDER BY id

SELECT id FROM tenants WHERE id IN (VALUES (3), (7), (11) ORDER BY 1 DESC LIMIT 2) ORDER BY id

SELECT key FROM kv WHERE key IN (VALUES ('k1'), ('k2'), ('nothing')) ORDER BY key COLLATE "C"

SELECT tenant_id, id FROM customers WHERE (tenant_id, id) IN (VALUES (3, 1), (5, 2), (7, 99999)) ORDER BY 1, 2

SELECT tenant_id, id FROM customers WHERE (tenant_id, id) IN (VALUES (3, 1), (5.0, 2)) ORDER BY 1, 2

SELECT tenant_id, id FROM customers WHERE (id, tenant_id) IN ((1, 3), (2, 5)) ORDER BY 1, 2

-- params: 3, 7
-- types: int4, int4
SELECT id FROM tenants WHERE id IN (VALUES ($1), ($2)) ORDER BY id

-- error: 42883
SELECT id FROM tenants WHERE id IN (VALUES ('3'), ('7'))

SELECT id FROM tenants WHERE id IN (SELECT unnest(ARRAY[3, 7, 7])) ORDER BY id

SELECT id FROM tenants WHERE id IN (SELECT unnest('{3,7,NULL}'::int[])) ORDER BY id

SELECT id FROM tenants WHERE id IN (SELECT unnest('{{3,7},{9,11}}'::int[])) ORDER BY id

SELECT id FROM tenants WHERE id IN (SELECT DISTINCT unnest(ARRAY[3, 7]) LIMIT 1) AND id < 3

SELECT id FROM tenants WHERE id IN (SELECT x FROM unnest(ARRAY[3, 7, 11]) AS u(x) WHERE x > 5) ORDER BY id

SELECT id FROM tenants WHERE id = ANY (SELECT * FROM unnest('{3,7}'::int8[])) ORDER BY id

SELECT id FROM tenants WHERE id IN (SELECT unnest(ARRAY[3, 7]) + 1) ORDER BY id

-- params: '{3,7}'
SELECT id FROM tenants WHERE id IN (SELECT unnest($1::int[])) ORDER BY id

-- params: '{3,7}'
-- types: int4[]
-- forms: text, binary
SELECT id FROM tenants WHERE id IN (SELECT unnest($1)) ORDER BY id

-- params: NULL
-- types: int4[]
-- forms: text, binary
SELECT id FROM tenants WHERE id IN (SELECT unnest($1)) ORDER BY id

-- params: '{k1,k2}'
-- types: text[]
-- forms: text, binary
SELECT key FROM kv WHERE key IN (SELECT unnest($1)) ORDER BY key COLLATE "C"

UPDATE customers SET name = name || '!' WHERE tenant_id IN (VALUES (3), (5)) AND id = 1

DELETE FROM customers WHERE tenant_id = 2 + 1 AND id = 999999

UPDATE customers SET name = 'computed' WHERE NOT (tenant_id <> 4) AND id = 1

-- ties
SELECT name FROM tenants WHERE id = length('sevenyy')

SELECT count(*) FROM metrics WHERE day = date '2024-01-27' + 5

SELECT count(*) FROM metrics WHERE day = current_date

SELECT count(*) FROM kv WHERE key = lower('K1')

-- types: int4
-- params: 100000
-- forms: text
INSERT INTO tenants (id, name) VALUES ($1 + 1, 'made')

-- script
INSERT INTO tenants (id, name) VALUES (200000 - 1, 'made'), (200000 + 1, 'made');
SELECT id, name FROM tenants WHERE id > 99999 ORDER BY id;
UPDATE tenants SET id = 100000 + 99999, name = 'kept' WHERE id = 199999;
DELETE FROM tenants WHERE id IN (VALUES (199999), (200001));

DELETE FROM tenants WHERE id = 100000 + 1

-- Parameters of other types than the key: beside values that have one, and of a column that the key equals.
-- params: 3
SELECT count(*) FROM orders WHERE tenant_id = ANY (ARRAY[$1, 9999999999])

-- params: 3
SELECT count(*) FROM orders WHERE tenant_id IN (VALUES ($1), (9999999999))

-- params: 3
SELECT count(*) FROM orders WHERE tenant_id IN ($1, 9999999999)

-- params: 3
SELECT count(*), min(o.tenant_id) FROM orders o JOIN tenants t ON t.id = o.id WHERE o.id = $1

-- params: 3
SELECT count(*), min(o.tenant_id) FROM orders o JOIN tenants t ON t.id = o.id WHERE t.id = $1

-- params: 2.00
SELECT count(*) FROM tenants WHERE id = ANY (ARRAY[$1, 2.5])

-- What is made of constants.
SELECT * FROM kv WHERE key = lower('KEY1' || '9')

SELECT * FROM kv WHERE key = lower('KEY 19')

SELECT * FROM kv WHERE key = 'k' || 'ey' || '2' || '0' AND version = 0

SELECT key, version FROM kv WHERE key = lower('КЛЮЧ')

SELECT key FROM kv WHERE key = upper('key') || lower('') OR key = initcap('key')

SELECT key FROM kv WHERE key IN (lower('KEY'), upper('k') || 'ey', NULL || 'x', 'key' || ' ') ORDER BY key COLLATE "C"

SELECT key FROM kv WHERE key = coalesce(NULL, 'key33')

SELECT key FROM kv WHERE key = coalesce(NULL, nullif('key33', 'key33'), 'key34')

SELECT key FROM kv WHERE key = nullif('key33', 'x')

SELECT key FROM kv WHERE key = CASE 'b' WHEN 'a' THEN 'key1' WHEN 'b' THEN 'key44' ELSE 'key45' END

SELECT key FROM kv WHERE key = CASE WHEN 'a ' = 'a' THEN 'key55' ELSE 'key56' END

SELECT key FROM kv WHERE key = CASE WHEN 'a' = 'a'::varchar THEN 'key57'::varchar ELSE 'key56' END

SELECT key FROM kv WHERE key LIKE 'key%' AND key = 'key' || 58

-- error: 42883
SELECT key FROM kv WHERE version = '1' || '2'

-- error: 42883
SELECT name FROM tenants WHERE id = 'a' || 'b'

-- error: 22P02
SELECT name FROM tenants WHERE id = ('a' || 'b')::int

SELECT name FROM tenants WHERE id = ('1' || '2')::int

SELECT name FROM tenants WHERE id = lower('12')::smallint

SELECT name FROM tenants WHERE id = (' 1' || '2 ')::text::int

SELECT name FROM tenants WHERE id = coalesce(NULL, 7)

SELECT name FROM tenants WHERE id = coalesce(7, 1 / 0)

-- error: 22012
SELECT name FROM tenants WHERE id = coalesce(NULL, 1 / 0, 3)

-- error: 22P02
SELECT name FROM tenants WHERE id = coalesce(7, 'x')

SELECT name FROM tenants WHERE id = coalesce(7, '9')

SELECT name FROM tenants WHERE id = coalesce(7, 2.5)

SELECT name FROM tenants WHERE id = greatest(NULL, 7, 3) OR id = least(NULL, 9, 11)

SELECT name FROM tenants WHERE id = CASE WHEN true THEN 7 ELSE 1 / 0 END

-- error: 22012
SELECT name FROM tenants WHERE id = CASE WHEN 1 / 0 = 1 OR true THEN 7 ELSE 8 END

SELECT name FROM tenants WHERE id = CASE WHEN true OR 1 / 0 = 1 THEN 7 ELSE 8 END

SELECT name FROM tenants WHERE id = CASE WHEN NULL OR NULL THEN 1 / 0 WHEN NOT (1 > 2 AND 1 / 0 = 1) THEN 8 END

-- error: 22P02
SELECT name FROM tenants WHERE id = CASE WHEN true THEN 7 ELSE 'x' END

SELECT name FROM tenants WHERE id = CASE WHEN NULL THEN 7 END

SELECT name FROM tenants WHERE id = CASE 3 - 1 WHEN 1 THEN 7 WHEN 2 THEN 9 WHEN 3 THEN 1 / 0 END

-- error: 22003
SELECT name FROM tenants WHERE id = CASE WHEN 2147483647 + 1 > 0 THEN 5 ELSE 6 END

SELECT name FROM tenants WHERE id = length('abc' || 'd')

SELECT count(*), sum(value) FROM metrics WHERE day = make_date(2024, 1, 3)

SELECT count(*), sum(value) FROM metrics WHERE day BETWEEN make_date(2023, 12, 30) AND to_date('2024-01-02', 'YYYY-MM-DD') + 1

SELECT count(*), sum(value) FROM metrics WHERE day = to_date('2024-1-3', 'YYYY-MM-DD') OR day = to_date('03/01/2024', 'DD/MM/YYYY')

SELECT count(*), sum(value) FROM metrics WHERE day = to_date('2024-01-03', 'yyyy-mm-DD')

-- error: 22008
SELECT count(*) FROM metrics WHERE day = make_date(2024, 2, 30)

-- error: 22008
SELECT count(*) FROM metrics WHERE day = to_date('2024-02-30', 'YYYY-MM-DD')

SELECT count(*) FROM metrics WHERE day > make_date(NULL, 2, 30)

SELECT count(*) FROM events WHERE device = md5('device' || '3')::uuid

SELECT count(*) FROM events WHERE device = lower('9E8DA63C1C8FD0E1B7C6EEA7E6CCF9EF')::uuid

SELECT name FROM tenants WHERE id = 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1

-- params: 7, 'KEY'
SELECT t.name, k.key FROM tenants t, kv k WHERE t.id = CASE WHEN $2 = 'KEY' THEN $1 ELSE 3 END AND k.key = 'key'

-- params: 7
SELECT name FROM tenants WHERE id = CASE WHEN true THEN $1 ELSE 3 END

-- params: 7
-- types: float8
SELECT name FROM tenants WHERE id = CASE WHEN false THEN $1 ELSE 3 END

-- params: 'KEY', '19'
SELECT key FROM kv WHERE key = lower($1) || $2

-- params: '7'
SELECT key FROM kv WHERE version = $1::int AND key = 'key' || $1

-- params: NULL, 'key33'
SELECT key FROM kv WHERE key = coalesce($1, $2)

-- What USING puts together has the type that both have in common.
SELECT id FROM customers JOIN (SELECT id::numeric AS id FROM orders) r USING (id) WHERE id = '5.0'

SELECT count(*), sum(tenant_id) FROM customers JOIN (SELECT tenant_id::numeric AS tenant_id FROM orders) r USING (tenant_id) WHERE tenant_id = '3.0'

SELECT count(*), sum(tenant_id) FROM customers JOIN (SELECT tenant_id::bigint AS tenant_id FROM orders) r USING (tenant_id) WHERE tenant_id = 3
