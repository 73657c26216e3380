-- Rows of all shards: concatenation, ORDER BY, LIMIT, OFFSET.

SELECT * FROM tenants

SELECT id, name, plan, seats, budget, joined FROM tenants ORDER BY id

SELECT * FROM customers ORDER BY tenant_id, id

SELECT id FROM tenants ORDER BY id DESC

SELECT id FROM tenants ORDER BY id LIMIT 5

SELECT id FROM tenants ORDER BY id LIMIT 5 OFFSET 5

SELECT id FROM tenants ORDER BY id OFFSET 35

SELECT id FROM tenants ORDER BY id LIMIT 0

SELECT id FROM tenants ORDER BY id LIMIT NULL OFFSET NULL

SELECT id FROM tenants ORDER BY id LIMIT ALL

SELECT id FROM tenants ORDER BY id LIMIT 1000

SELECT id FROM tenants ORDER BY id OFFSET 1000

SELECT id FROM tenants ORDER BY id LIMIT 2 + 3 OFFSET 2 * 2

SELECT id FROM tenants ORDER BY id LIMIT (SELECT 3)

SELECT id FROM tenants ORDER BY id LIMIT (SELECT count(*) FROM settings)

-- params: 4, 3
SELECT id FROM tenants ORDER BY id LIMIT $1 OFFSET $2

-- params: NULL
SELECT id FROM tenants ORDER BY id LIMIT $1

-- params: '2.5'
SELECT id FROM tenants ORDER BY id LIMIT $1::numeric

-- error: 2201W
SELECT id FROM tenants ORDER BY id LIMIT -1

-- error: 2201X
SELECT id FROM tenants ORDER BY id OFFSET -1

-- params: -1
-- error: 2201W
SELECT id FROM tenants ORDER BY id LIMIT $1

SELECT id FROM tenants ORDER BY id FETCH FIRST 3 ROWS ONLY

SELECT id FROM tenants ORDER BY id OFFSET 2 ROWS FETCH NEXT ROW ONLY

SELECT plan, id FROM tenants ORDER BY plan FETCH FIRST 3 ROWS WITH TIES
-- ties

-- subset-of: SELECT id FROM tenants
SELECT id FROM tenants LIMIT 7

-- subset-of: SELECT tenant_id, id FROM orders WHERE total > 500
SELECT tenant_id, id FROM orders WHERE total > 500 LIMIT 9 OFFSET 2

-- subset-of: SELECT id FROM tenants
SELECT id FROM tenants LIMIT 1000

SELECT seats, id FROM tenants ORDER BY seats, id

SELECT seats, id FROM tenants ORDER BY seats DESC, id

SELECT seats, id FROM tenants ORDER BY seats NULLS FIRST, id DESC

SELECT seats, id FROM tenants ORDER BY seats DESC NULLS LAST, id LIMIT 10

SELECT plan, id FROM tenants ORDER BY plan, id

SELECT plan, id FROM tenants ORDER BY plan DESC NULLS LAST, id

SELECT name, id FROM tenants ORDER BY name, id

SELECT name, id FROM tenants ORDER BY name COLLATE "C" DESC, id

SELECT budget, id FROM tenants ORDER BY budget, id

SELECT joined, id FROM tenants ORDER BY joined DESC LIMIT 9

SELECT id FROM customers ORDER BY email

SELECT nick, id FROM customers ORDER BY nick, id LIMIT 50

SELECT score, id FROM customers ORDER BY score, id LIMIT 50

SELECT rating, id FROM customers ORDER BY rating DESC NULLS LAST, id LIMIT 50

SELECT active, id FROM customers ORDER BY active, id LIMIT 100

SELECT level, id FROM customers ORDER BY level NULLS FIRST, id LIMIT 100

SELECT created, id FROM customers ORDER BY created DESC LIMIT 10

SELECT updated, id FROM customers ORDER BY updated, id LIMIT 310 OFFSET 290

SELECT slot, id FROM customers ORDER BY slot LIMIT 10

SELECT gap, id FROM customers ORDER BY gap, id LIMIT 30

SELECT guid, id FROM customers ORDER BY guid, id LIMIT 30

SELECT ip, id FROM customers ORDER BY ip, id LIMIT 30

SELECT tags, id FROM customers ORDER BY tags, id LIMIT 30

SELECT raw, id FROM customers ORDER BY raw, id LIMIT 30

SELECT country, id FROM customers ORDER BY country, id LIMIT 60

SELECT meta, id FROM customers ORDER BY meta, id LIMIT 30

SELECT discount, id FROM orders ORDER BY discount, id LIMIT 30

SELECT flags, seq FROM events ORDER BY flags DESC NULLS LAST, seq LIMIT 30

SELECT seq FROM events ORDER BY device, seq LIMIT 25

SELECT key FROM kv ORDER BY key

SELECT key FROM kv ORDER BY key COLLATE "C" LIMIT 20

SELECT id AS x FROM tenants ORDER BY x LIMIT 3

SELECT id AS name, name AS id FROM tenants ORDER BY name LIMIT 5

SELECT id, name FROM tenants ORDER BY 1 DESC LIMIT 4

SELECT name, id FROM tenants ORDER BY 2

SELECT name FROM tenants ORDER BY id

SELECT name FROM tenants ORDER BY seats DESC NULLS LAST, id LIMIT 4

SELECT tenant_id, id FROM orders ORDER BY total * 2 DESC NULLS LAST, id LIMIT 12

SELECT id FROM tenants ORDER BY -id LIMIT 5

SELECT id FROM tenants ORDER BY id % 3, id LIMIT 15

SELECT id % 3 AS m, id FROM tenants ORDER BY m, id

SELECT upper(plan) AS u, id FROM tenants ORDER BY u, id

SELECT id FROM tenants ORDER BY length(name), id LIMIT 8

SELECT id FROM tenants ORDER BY CASE WHEN id > 20 THEN 0 ELSE 1 END, id LIMIT 8

SELECT id FROM tenants ORDER BY id USING >

SELECT t.*, t.id FROM tenants t ORDER BY t.id LIMIT 3

SELECT id, id FROM tenants ORDER BY id LIMIT 3

SELECT id + 1, name || '!' FROM tenants WHERE seats IS NOT NULL ORDER BY id LIMIT 10

SELECT 1 FROM tenants

SELECT FROM tenants

SELECT id, NULL, 'x', 1.50, now() IS NOT NULL FROM tenants ORDER BY id LIMIT 2

-- params: 'paid', 600
SELECT tenant_id, id, total FROM orders WHERE status = $1 AND total >= $2 ORDER BY total, id

SELECT * FROM void ORDER BY id

SELECT * FROM sparse ORDER BY id

SELECT * FROM sparse ORDER BY v, t LIMIT 5

SELECT t FROM tenants t ORDER BY id LIMIT 3

SELECT row(id, name) FROM tenants ORDER BY id LIMIT 3

SELECT to_jsonb(t) FROM tenants t ORDER BY id LIMIT 3

SELECT id, generate_series(1, 2) FROM tenants WHERE id < 4 ORDER BY 1, 2

SELECT id FROM tenants WHERE name = 'Acme' OR name LIKE '%ë%' ORDER BY id

SELECT id FROM ONLY tenants ORDER BY id LIMIT 2

-- forms: simple, text, binary
SELECT id FROM tenants ORDER BY id FOR UPDATE

SELECT id FROM tenants WHERE id = 5 FOR UPDATE NOWAIT

-- forms: simple, text, binary
SELECT id, name FROM tenants ORDER BY id DESC FOR NO KEY UPDATE

-- forms: simple, text, binary
SELECT tenant_id, id FROM orders ORDER BY tenant_id, id LIMIT 7 FOR UPDATE SKIP LOCKED

-- forms: simple, text, binary
SELECT o.*, o.id + 1 AS next FROM orders o WHERE o.id > 3 ORDER BY next DESC, tenant_id FOR SHARE OF o NOWAIT LIMIT 5 OFFSET 2

-- params: 4, 6
-- types: int4, int8
-- forms: simple, text, binary
SELECT id, name FROM tenants WHERE id > $1 ORDER BY name COLLATE "C" DESC, id LIMIT $2 FOR NO KEY UPDATE

-- forms: simple, text, binary
SELECT t.id, c.id FROM tenants t JOIN customers c ON c.tenant_id = t.id ORDER BY t.id, c.id FOR UPDATE OF t, c SKIP LOCKED

SELECT id FROM tenants ORDER BY id LIMIT 0 FOR UPDATE

SELECT id FROM tenants WHERE id < 0 ORDER BY id LIMIT 3 FOR UPDATE
