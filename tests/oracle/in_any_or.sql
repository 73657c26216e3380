-- Lists and alternatives of keys: every member counts.

SELECT id, name FROM tenants WHERE id IN (1, 2, 3, 17, 40) ORDER BY id

SELECT id, name FROM tenants WHERE id IN (5)

SELECT id, name FROM tenants WHERE id IN (5, 5, 5)

SELECT id, name FROM tenants WHERE id IN (5, NULL)

SELECT id, name FROM tenants WHERE id IN ('5', '6') ORDER BY id

SELECT id, name FROM tenants WHERE id IN (5, 6.0, 7.5) ORDER BY id

SELECT id, name FROM tenants WHERE id IN (SELECT 5)

SELECT id FROM tenants WHERE id IN (SELECT id FROM products WHERE id < 4) ORDER BY id

-- params: 3, 33
SELECT id, name FROM tenants WHERE id IN ($1, $2) ORDER BY id

-- params: 3, 33
SELECT id, name FROM tenants WHERE id IN ($1, 12, $2 + 1) ORDER BY id

-- params: '{1,2,39}'
SELECT id, name FROM tenants WHERE id = ANY($1) ORDER BY id

-- params: '{1,2,NULL}'
SELECT id, name FROM tenants WHERE id = ANY($1) ORDER BY id

-- params: '{}'
SELECT id, name FROM tenants WHERE id = ANY($1)

-- params: NULL
SELECT id, name FROM tenants WHERE id = ANY($1)

-- params: '{1,2,39}'
-- types: int8[]
SELECT id, name FROM tenants WHERE id = ANY($1) ORDER BY id

SELECT id, name FROM tenants WHERE id = ANY('{1, 2, 39}') ORDER BY id

SELECT id, name FROM tenants WHERE id = ANY(ARRAY[1, 2, 39]) ORDER BY id

SELECT id, name FROM tenants WHERE id = ANY(ARRAY[1, 2] || 39) ORDER BY id

SELECT id, name FROM tenants WHERE id = ANY('{{1,2},{3,4}}'::int[]) ORDER BY id

SELECT id, name FROM tenants WHERE id = ALL(ARRAY[5])

SELECT id, name FROM tenants WHERE id <> ALL(ARRAY[1,2,3,4,5,6,7,8,9,10]) ORDER BY id

SELECT id, name FROM tenants WHERE id = SOME(ARRAY[4, 5]) ORDER BY id

-- params: '{"key20","key 21","key22"}'
SELECT key, version FROM kv WHERE key = ANY($1) ORDER BY version

-- params: '{"a\\b","it''s",NULL}'
SELECT key, version FROM kv WHERE key = ANY($1::text[]) ORDER BY version

SELECT id FROM tenants WHERE id = 5 OR id = 6 ORDER BY id

SELECT id FROM tenants WHERE id = 5 OR id = 6 OR id IN (7, 8) ORDER BY id

SELECT id FROM tenants WHERE id = 5 OR name = 'Acme' ORDER BY id

SELECT id FROM tenants WHERE (id = 5 AND seats > 0) OR (id = 6 AND seats > 1000) ORDER BY id

SELECT id FROM tenants WHERE id = 5 OR FALSE

SELECT id FROM tenants WHERE id = 5 OR TRUE ORDER BY id

SELECT id FROM tenants WHERE id = 5 OR NULL

SELECT id FROM tenants WHERE id = 5 AND (plan = 'Pro' OR name <> '') ORDER BY id

SELECT id FROM tenants WHERE (id = 5 OR id = 6) AND (id = 6 OR id = 7)

SELECT id FROM tenants WHERE NOT (id <> 5)

SELECT id FROM tenants WHERE NOT (id = 5 OR id > 6) ORDER BY id

SELECT id FROM tenants WHERE id NOT IN (1, 2, 3) AND id < 8 ORDER BY id

SELECT tenant_id, id FROM orders WHERE (tenant_id, id) IN ((1, 311), (1, 312), (15, 21)) ORDER BY 1, 2

SELECT tenant_id, id FROM orders WHERE (tenant_id, id) IN (VALUES (1, 311), (15, 21)) ORDER BY 1, 2

SELECT count(*) FROM customers WHERE tenant_id IN (1, 2, 3)

SELECT sum(total) FROM orders WHERE tenant_id IN (1, 8) AND status = 'paid'

SELECT region, year FROM region_stats WHERE region IN ('eu', 'us') AND year = 2020 ORDER BY region COLLATE "C"

SELECT day, series, value FROM metrics WHERE day IN ('2023-12-20', '2024-01-20', '2024-03-01') ORDER BY day, series

SELECT id FROM tenants WHERE id IN (1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40,41,42) ORDER BY id DESC LIMIT 7 OFFSET 3
