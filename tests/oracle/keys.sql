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
