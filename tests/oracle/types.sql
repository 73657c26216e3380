-- Every type, in text and binary, as it comes from the shards and as it goes in.

SELECT id, balance, score, rating, active, level FROM customers WHERE tenant_id = 8 ORDER BY id

SELECT id, born, created, updated, slot, gap FROM customers WHERE tenant_id = 8 ORDER BY id

SELECT id, guid, ip, tags, meta, raw FROM customers WHERE tenant_id = 8 ORDER BY id

SELECT id, name, nick, country FROM customers WHERE tenant_id = 8 ORDER BY id

SELECT id, balance, score, rating, active, level FROM customers ORDER BY id LIMIT 40

SELECT id, guid, ip, tags, meta, raw FROM customers ORDER BY id LIMIT 40

SELECT id, born, created, updated, slot, gap FROM customers ORDER BY id LIMIT 40

SELECT balance::text, score::numeric, rating::float8, active::int, level::char FROM customers WHERE tenant_id = 22 ORDER BY id

-- params: '12.50'
SELECT id FROM customers WHERE balance > $1 ORDER BY id LIMIT 10

-- params: '2023-11-05 12:00:00+02'
SELECT id FROM customers WHERE created < $1 ORDER BY id LIMIT 50

-- params: 't'
SELECT count(*) FROM customers WHERE active = $1

-- params: '{vip}'
SELECT count(*) FROM customers WHERE tags @> $1

-- params: '{"a": 1}'
SELECT count(*) FROM customers WHERE meta @> $1

-- params: '10.1.0.0/16'
SELECT count(*) FROM customers WHERE ip << $1

-- params: '\x00ff'
SELECT count(*) FROM customers WHERE raw > $1

-- params: '1 mon'
SELECT count(*) FROM customers WHERE gap > $1

-- forms: text, binary, portal
-- params: 1.5, 'x', '2024-02-29', 't'
-- types: numeric, text, date, bool
SELECT $1, $2, $3, $4, $1 + 1, $2 || 'y', $3 + 1, NOT $4

-- forms: text, binary, portal
-- params: 1.5
-- types: float8
SELECT $1 * 2, 'NaN'::float8, '-Infinity'::float8, 1e300 * $1

SELECT id, meta->>'n', meta->'deep'->'k' FROM customers WHERE meta ? 'n' ORDER BY id LIMIT 10

SELECT id, tags[2], array_length(tags, 1), cardinality(tags) FROM customers ORDER BY id LIMIT 12

SELECT id, created AT TIME ZONE 'Europe/Berlin' FROM customers ORDER BY id LIMIT 5

SELECT '1.10'::numeric(10,3), 1::int2, 'abc'::char(5), 'abc'::varchar(2), '{1,2}'::int[], B'101', '(1,2)'::point, '[1,5)'::int4range

SELECT NULL, NULL::int, 'text', 1, 1.5, true, current_date IS NOT NULL
