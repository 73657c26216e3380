-- Aggregates over all shards.

SELECT count(*) FROM customers

SELECT count(*) FROM void

SELECT count(*), count(name), count(balance), count(1), count(NULL) FROM customers

SELECT COUNT(*) AS "N" FROM orders WHERE total > 500

SELECT sum(id), sum(level), sum(tenant_id) FROM customers

SELECT sum(balance) FROM customers

SELECT sum(score), sum(rating) FROM customers

SELECT sum(discount) FROM orders

SELECT sum(v), min(v), max(v), count(v), count(*) FROM void

SELECT sum(v), min(t), max(f), bool_and(b) FROM void

SELECT sum(amount) FROM region_stats

SELECT sum(flags) FROM events

SELECT sum(gap) FROM customers

SELECT min(id), max(id), min(email), max(email), min(nick), max(nick) FROM customers

SELECT min(balance), max(balance), min(born), max(born), min(created), max(updated) FROM customers

SELECT min(score), max(score), min(rating), max(rating), min(level), max(slot) FROM customers

SELECT min(name), max(name) FROM customers

SELECT min(country), max(country) FROM customers

SELECT min(ip), max(ip), min(gap), max(gap) FROM customers

SELECT min(tags), max(tags) FROM customers

SELECT max(discount), min(discount) FROM orders

SELECT bool_and(active), bool_or(active), every(active) FROM customers

SELECT bit_and(flags), bit_or(flags), bit_xor(flags) FROM events

SELECT avg(total), avg(quantity), avg(discount) FROM orders

SELECT avg(score) FROM customers

SELECT avg(level), avg(id) FROM customers

SELECT avg(v) FROM void

SELECT stddev(quantity), variance(quantity), var_pop(quantity) FROM orders

SELECT count(DISTINCT status), count(DISTINCT total) FROM orders

SELECT count(DISTINCT tenant_id) FROM orders

SELECT sum(DISTINCT quantity), max(DISTINCT quantity) FROM orders

SELECT count(*) FILTER (WHERE total > 500), sum(quantity) FILTER (WHERE status = 'paid') FROM orders

SELECT count(*) + 1, max(id) - min(id), -sum(quantity) FROM orders

SELECT sum(quantity) * 2 AS double, count(*)::text || ' rows' AS t FROM orders

SELECT coalesce(sum(v), 0) FROM void

SELECT round(sum(total), 1), round(avg(total), 3) FROM orders

SELECT greatest(max(id), count(*)) FROM orders

SELECT sum(quantity) / count(*) FROM orders

SELECT sum(quantity + 1), sum(quantity) + sum(1), max(total * 2) FROM orders

SELECT string_agg(plan, ',' ORDER BY id) FROM tenants

SELECT array_agg(id ORDER BY id DESC) FROM tenants

SELECT json_agg(id ORDER BY id) FROM tenants

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM orders

SELECT mode() WITHIN GROUP (ORDER BY status) FROM orders

SELECT regr_slope(total, quantity) IS NOT NULL FROM orders

SELECT count(*) FROM orders WHERE false

SELECT max(id) FROM orders WHERE total > 100000

SELECT count(*) FROM orders LIMIT 1

SELECT count(*) FROM orders LIMIT 0

SELECT count(*) FROM orders OFFSET 1

SELECT count(*) FROM orders ORDER BY 1

SELECT count(*) FROM orders HAVING count(*) > 100

SELECT count(*) FROM orders HAVING count(*) > 100000

SELECT 1 FROM orders HAVING count(*) > 100

SELECT 'x', count(*), 5 FROM orders

-- params: 'paid'
SELECT count(*), sum(total) FROM orders WHERE status = $1

-- Adding to a bigint overflows in any order.
-- error: 22003
SELECT sum(id + 9223372036854775807) FROM tenants

-- error: 22003
SELECT sum(quantity)::smallint - 40000::smallint FROM orders

-- One shard alone does not overflow a bigint, all together may.
SELECT sum(seats * 100000000) FROM tenants WHERE seats < 20

SELECT sum(flags::numeric) FROM events

SELECT max(seq), min(seq) FROM events WHERE device = md5('device3')::uuid OR kind = 'open'

SELECT max(key), min(key) FROM kv

SELECT max(bin::text), min(version) FROM kv

SELECT count(*) FROM customers c, countries k WHERE k.code = c.country

SELECT max(row(id, seats)) FROM tenants
-- error: 42883

SELECT any_value_is_not_there(id) FROM tenants
-- error: 42883
