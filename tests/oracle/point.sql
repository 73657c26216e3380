-- Reads of one key: one shard, the client's own text.

-- params: 7
SELECT * FROM tenants WHERE id = $1

-- params: 1, 30
SELECT * FROM customers WHERE tenant_id = $1 AND id = $2

-- params: 1, 31
SELECT id, email, name FROM customers WHERE id = $2 AND tenant_id = $1

SELECT id, name FROM customers WHERE tenant_id = 1 ORDER BY id LIMIT 5

SELECT c.id AS "Customer Id", c.name "näme" FROM customers AS c WHERE c.tenant_id = 8 ORDER BY 1

SELECT * FROM orders WHERE (tenant_id, id) = (1, 311)

SELECT count(*), sum(total), avg(total), max(note) FROM orders WHERE tenant_id = 1

SELECT status, count(*), avg(total)::text, stddev(quantity) FROM orders WHERE tenant_id = 1 GROUP BY status ORDER BY status

SELECT DISTINCT ON (status) status, id FROM orders WHERE tenant_id = 1 ORDER BY status, id DESC

SELECT id, rank() OVER (PARTITION BY status ORDER BY total NULLS FIRST, id) FROM orders WHERE tenant_id = 15 ORDER BY id

-- params: 'key42'
SELECT key, value, version, bin FROM kv WHERE key = $1

-- params: 'it''s'
SELECT * FROM kv WHERE key = $1

SELECT * FROM kv WHERE key = E'a\\b'

SELECT * FROM kv WHERE key = 'ключ'

SELECT value FROM kv WHERE key = ''

SELECT version FROM kv WHERE key = 'NULL'

SELECT version FROM kv WHERE key = U&'\043A\043B\044E\0447'

SELECT version FROM kv WHERE key = $$key77$$

SELECT version FROM kv WHERE key = $tag$key78$tag$

-- params: '2a2c2a7e-0b2f-4ef5-b0c5-5e9b7a4d6a11'
SELECT * FROM events WHERE device = $1 ORDER BY seq

SELECT seq, kind, value, flags FROM events WHERE device = md5('device3')::uuid ORDER BY seq

SELECT seq, at FROM events WHERE device = (SELECT md5('device4')::uuid) ORDER BY seq

-- params: '2024-01-05'
SELECT * FROM metrics WHERE day = $1 ORDER BY series

SELECT series, value FROM metrics WHERE day = DATE '2024-02-01' ORDER BY series

SELECT year, amount FROM region_stats WHERE region = 'eu' ORDER BY year

SELECT year, amount FROM region_stats WHERE region = 'nowhere' AND year > 2020 ORDER BY year

SELECT * FROM customers WHERE tenant_id = 999

SELECT * FROM tenants WHERE 5 = id

SELECT * FROM public.tenants WHERE tenants.id = 5

SELECT "tenants"."id" FROM "public"."tenants" WHERE "tenants"."id" = 5

SELECT /* a comment with ' and ; */ id FROM tenants -- until here
WHERE id = 5

TABLE settings

-- params: 1, 'user10@example.com'
SELECT id FROM customers WHERE tenant_id = $1 AND email = $2

-- params: 1
-- types: int8
SELECT count(*) FROM orders WHERE tenant_id = $1

-- params: 1
-- types: int2
SELECT count(*) FROM orders WHERE tenant_id = $1

-- params: '2024-01-05'
-- types: date
SELECT * FROM metrics WHERE day = $1 AND series = 0
