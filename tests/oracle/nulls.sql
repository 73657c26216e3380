-- NULL, contradictions and empty results.

SELECT * FROM tenants WHERE id = NULL

SELECT * FROM tenants WHERE id IS NULL

SELECT count(*) FROM tenants WHERE id IS NOT NULL

SELECT * FROM tenants WHERE id <> NULL

SELECT * FROM tenants WHERE id IN (NULL)

SELECT * FROM tenants WHERE id NOT IN (1, NULL)

SELECT * FROM tenants WHERE id = 1 AND id = 2

SELECT count(*) FROM tenants WHERE id = 1 AND id = 2

SELECT sum(seats), count(*), max(name) FROM tenants WHERE id = 1 AND id = NULL

SELECT plan, count(*) FROM tenants WHERE id = 1 AND id = 2 GROUP BY plan

SELECT * FROM tenants WHERE FALSE

SELECT count(*) FROM tenants WHERE FALSE

SELECT * FROM tenants WHERE 1 = 2

SELECT * FROM tenants WHERE NULL

SELECT id FROM tenants WHERE TRUE ORDER BY id LIMIT 2

SELECT id FROM tenants WHERE id IN (1, 2) AND id IN (3, 4)

SELECT id FROM tenants WHERE id IN (1, 2) AND id IN (2, 3)

SELECT id FROM tenants WHERE id = 5 AND id > 7

SELECT id FROM tenants WHERE id = 5 AND id IS NULL

SELECT id FROM tenants WHERE id IS NULL OR id = 5

SELECT id FROM tenants WHERE seats IS NULL ORDER BY id

SELECT id FROM tenants WHERE seats IS DISTINCT FROM 9 AND id < 8 ORDER BY id

SELECT id, coalesce(seats, -1) FROM tenants WHERE plan IS NULL ORDER BY id

SELECT nullif(plan, 'free'), id FROM tenants ORDER BY id LIMIT 5

-- params: NULL, 5
SELECT id FROM tenants WHERE id = $1 OR id = $2

-- params: NULL
SELECT id FROM tenants WHERE id = coalesce($1, 5)

-- params: NULL
-- types: int4
SELECT count(*) FROM tenants WHERE $1 IS NULL

SELECT * FROM void

SELECT * FROM void WHERE tenant_id = 5

SELECT * FROM void WHERE tenant_id IN (5, 6) ORDER BY v, id LIMIT 1

SELECT max(id) FROM sparse WHERE tenant_id = 4

SELECT * FROM sparse WHERE tenant_id = 3 AND v IS NULL ORDER BY id

SELECT * FROM metrics WHERE day IS NULL

SELECT * FROM region_stats WHERE region IS NULL

-- A row beside a value that is one: members that are NULL are equal, and rows without a partner count.
SELECT count(*), count(o.id) FROM tenants t LEFT JOIN orders o ON t.id = 3 AND o.tenant_id = t.id WHERE ROW(o.quantity, 'sad'::mood) = ROW(NULL::int, 'sad')::pair

SELECT count(*), count(o.id) FROM tenants t LEFT JOIN orders o ON t.id = 3 AND o.tenant_id = t.id WHERE ROW(NULL::int, 'sad')::pair = ROW(o.quantity, 'sad'::mood)

SELECT count(*), count(o.id) FROM tenants t LEFT JOIN orders o ON t.id = 3 AND o.tenant_id = t.id WHERE ROW(o.quantity, 'sad'::mood) = ANY (ARRAY[ROW(NULL::int, 'sad')::pair, ROW(1, 'ok')::pair])

SELECT count(*), count(o.id) FROM tenants t LEFT JOIN orders o ON t.id = 3 AND o.tenant_id = t.id WHERE ROW(o.quantity, 'sad'::mood) IN (ROW(NULL::int, 'sad')::pair, ROW(1, 'ok')::pair)

SELECT count(*), count(o.id) FROM tenants t LEFT JOIN orders o ON t.id = 3 AND o.tenant_id = t.id WHERE ROW(ROW(o.quantity, 1), 2) = ROW(ROW(NULL::int, 1), 2)

SELECT count(*) FROM orders o JOIN order_items i ON ROW(ROW(o.quantity, 1), o.id) = ROW(ROW(i.quantity, 1), i.order_id)

SELECT o.tenant_id, i.tenant_id, o.id FROM orders o JOIN order_items i ON ROW(ROW(o.quantity), 1) = ROW(ROW(i.quantity), 1) WHERE o.note = 'gift' AND o.quantity IS NULL AND i.line = 1 ORDER BY 1, 2, 3
