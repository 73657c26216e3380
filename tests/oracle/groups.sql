-- GROUP BY and HAVING.

SELECT tenant_id, count(*) FROM orders GROUP BY tenant_id

SELECT tenant_id, count(*), sum(total), max(note) FROM orders GROUP BY tenant_id ORDER BY tenant_id

SELECT tenant_id, avg(total), stddev(total) FROM orders GROUP BY tenant_id ORDER BY tenant_id

SELECT tenant_id, count(DISTINCT status) FROM orders GROUP BY tenant_id ORDER BY tenant_id

SELECT tenant_id, string_agg(status, ',' ORDER BY id) FROM orders GROUP BY tenant_id ORDER BY tenant_id LIMIT 5

SELECT tenant_id, status, count(*) FROM orders GROUP BY tenant_id, status ORDER BY 1, 2

SELECT tenant_id, count(*) FROM orders GROUP BY tenant_id HAVING count(*) > 20 ORDER BY count(*) DESC, tenant_id

SELECT tenant_id, count(*) FROM orders GROUP BY tenant_id ORDER BY tenant_id LIMIT 3 OFFSET 2

SELECT tenant_id FROM orders GROUP BY tenant_id

SELECT status, count(*) FROM orders GROUP BY status

SELECT status, count(*) FROM orders GROUP BY status ORDER BY status

SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 2 DESC, 1

SELECT status, sum(total), min(id), max(id), count(total) FROM orders GROUP BY status ORDER BY status DESC

SELECT count(*), status FROM orders GROUP BY status ORDER BY status LIMIT 2

SELECT count(*), status FROM orders GROUP BY status ORDER BY count(*) DESC, status LIMIT 1

SELECT count(*) FROM orders GROUP BY status ORDER BY status

SELECT max(total) FROM orders GROUP BY status ORDER BY count(*), status

SELECT status FROM orders GROUP BY status HAVING sum(total) > 20000 ORDER BY status

SELECT status, count(*) FROM orders GROUP BY status HAVING count(*) BETWEEN 50 AND 140 AND status <> 'new' ORDER BY 1

SELECT status, count(*) FROM orders WHERE total < 100 GROUP BY status HAVING max(total) > 90 ORDER BY 1

SELECT status, sum(quantity) AS q FROM orders GROUP BY status ORDER BY q, status

SELECT quantity, count(*) FROM orders GROUP BY quantity ORDER BY quantity NULLS FIRST

SELECT quantity, count(*) FROM orders GROUP BY quantity ORDER BY quantity DESC NULLS LAST LIMIT 4

SELECT active, count(*) FROM customers GROUP BY active ORDER BY active

SELECT level, active, count(*), sum(balance) FROM customers GROUP BY level, active ORDER BY level, active

SELECT born IS NULL AS unknown, count(*) FROM customers GROUP BY 1 ORDER BY 1

SELECT country, count(*) FROM customers GROUP BY country ORDER BY count(*), country

SELECT name, count(*) FROM customers GROUP BY name ORDER BY name COLLATE "C"

SELECT nick, count(*) FROM customers GROUP BY nick ORDER BY nick

SELECT plan, count(*), min(name) FROM tenants GROUP BY plan ORDER BY plan NULLS FIRST

SELECT lower(plan) AS p, count(*) FROM tenants GROUP BY lower(plan) ORDER BY p

SELECT kind, count(*), sum(value), bit_or(flags) FROM events GROUP BY kind ORDER BY kind

SELECT device, count(*) FROM events GROUP BY device ORDER BY device LIMIT 5

SELECT value, count(*) FROM kv GROUP BY value ORDER BY count(*) DESC, value COLLATE "C" LIMIT 5

SELECT score, count(*) FROM customers GROUP BY score ORDER BY score LIMIT 10

SELECT discount, count(*) FROM orders GROUP BY discount ORDER BY discount

SELECT date_trunc('month', placed) AS m, count(*), sum(total) FROM orders GROUP BY 1 ORDER BY 1

SELECT extract(year FROM born) AS y, count(*) FROM customers GROUP BY y ORDER BY y LIMIT 10

SELECT year, sum(amount), count(*) FROM region_stats GROUP BY year ORDER BY year

SELECT region, sum(amount) FROM region_stats GROUP BY region ORDER BY region

SELECT series, min(value), max(value), sum(value) FROM metrics GROUP BY series ORDER BY series

SELECT raw, count(*) FROM customers GROUP BY raw ORDER BY raw LIMIT 5

SELECT tags, count(*) FROM customers GROUP BY tags ORDER BY count(*) DESC, tags LIMIT 3

SELECT id % 4 AS bucket, sum(quantity) FROM orders GROUP BY id % 4 ORDER BY bucket

SELECT status, sum(quantity) * 100 / sum(sum(quantity)) OVER () FROM orders GROUP BY status ORDER BY status

SELECT status, count(*) FROM orders GROUP BY GROUPING SETS ((status), ()) ORDER BY status NULLS LAST

SELECT status, quantity, count(*) FROM orders GROUP BY ROLLUP (status, quantity) ORDER BY 1 NULLS LAST, 2 NULLS LAST, 3

SELECT status, count(*) FROM orders GROUP BY CUBE (status) ORDER BY 1, 2

SELECT v, count(*) FROM void GROUP BY v

SELECT v, count(*) FROM sparse GROUP BY v ORDER BY v

SELECT t.plan, count(o.id), sum(o.total) FROM tenants t LEFT JOIN orders o ON o.tenant_id = t.id GROUP BY t.plan ORDER BY t.plan

SELECT t.id, t.name, count(c.id) FROM tenants t JOIN customers c ON c.tenant_id = t.id GROUP BY t.id ORDER BY t.id LIMIT 8

SELECT p.name, sum(i.price * i.quantity) FROM order_items i JOIN products p ON p.id = i.product_id GROUP BY p.name ORDER BY p.name LIMIT 6

-- params: 'shipped', 2
SELECT tenant_id, count(*) FROM orders WHERE status = $1 GROUP BY tenant_id HAVING count(*) >= $2 ORDER BY tenant_id

-- error: 42803
SELECT status, id FROM orders GROUP BY status

-- error: 42803
SELECT tenant_id, count(*) FROM orders

-- error: 42803
SELECT id FROM orders WHERE count(*) > 1

-- error: 42P10
SELECT status FROM orders GROUP BY 3

-- A cast of the key to its own type is the key.
SELECT plan, min(name), id::int FROM tenants GROUP BY id::int ORDER BY 3

SELECT name, CAST(id AS integer), count(*) FROM tenants GROUP BY CAST(id AS integer) ORDER BY 2

SELECT plan, percentile_disc(0.5) WITHIN GROUP (ORDER BY seats), id::int4 FROM tenants GROUP BY id::int4 ORDER BY 3

SELECT title, count(*) FROM labels GROUP BY code::text ORDER BY code

-- To another type it is not.
-- error: 42803
SELECT plan, id::bigint FROM tenants GROUP BY id::bigint
