-- Distinct values of a column that is not the sharding key: each shard sends its own, the router counts or adds them up.

SELECT count(DISTINCT quantity) FROM orders

SELECT count(DISTINCT quantity) AS n, count(*), sum(quantity), avg(total), min(shipped), max(status) FROM orders

SELECT status, count(DISTINCT quantity) FROM orders GROUP BY status

SELECT status, count(DISTINCT quantity), count(quantity), sum(total), avg(quantity) FROM orders GROUP BY status ORDER BY status

-- NULLs are no values, and a group of nothing else has none.
SELECT level, count(DISTINCT level), count(DISTINCT level) IS NULL FROM customers GROUP BY level ORDER BY level

SELECT level, count(DISTINCT level), count(*) FROM customers GROUP BY level ORDER BY level DESC NULLS FIRST

SELECT v, count(DISTINCT t), count(*) FROM sparse GROUP BY v ORDER BY v

SELECT t, count(DISTINCT v), sum(DISTINCT v), avg(DISTINCT v) FROM sparse GROUP BY t ORDER BY t

-- No rows at all.
SELECT count(DISTINCT v), sum(DISTINCT v), avg(DISTINCT v), count(*), max(t), bool_or(b) FROM void

SELECT t, count(DISTINCT v) FROM void GROUP BY t

SELECT 'constant', count(DISTINCT v) FROM void

SELECT count(DISTINCT quantity), NULL, 7 FROM orders WHERE total < 0

SELECT count(DISTINCT quantity) FROM orders WHERE status = 'none such' HAVING count(DISTINCT quantity) = 0

SELECT count(DISTINCT v) FROM void HAVING count(DISTINCT v) > 0

-- Every type that is compared, and some that are not.
SELECT count(DISTINCT active), count(*) FROM customers

SELECT count(DISTINCT level) FROM customers

SELECT count(DISTINCT id) FROM customers

SELECT count(DISTINCT balance) FROM customers

SELECT count(DISTINCT score) FROM customers

SELECT count(DISTINCT rating) FROM customers

SELECT count(DISTINCT born) FROM customers

SELECT count(DISTINCT created) FROM customers

SELECT count(DISTINCT updated) FROM customers

SELECT count(DISTINCT slot) FROM customers

SELECT count(DISTINCT gap) FROM customers

SELECT count(DISTINCT guid) FROM customers

SELECT count(DISTINCT ip) FROM customers

SELECT count(DISTINCT tags) FROM customers

SELECT count(DISTINCT meta) FROM customers

SELECT count(DISTINCT raw) FROM customers

SELECT count(DISTINCT flags) FROM events

SELECT count(DISTINCT payload) FROM events

-- Text: under C, under the database's collation, under one in which other bytes are equal, with blanks at its end.
SELECT count(DISTINCT email) FROM customers

SELECT count(DISTINCT name) FROM customers

SELECT country, count(DISTINCT name) FROM customers GROUP BY country ORDER BY country COLLATE "C" DESC

SELECT name, count(DISTINCT nick), count(*) FROM customers GROUP BY name

SELECT name, count(DISTINCT level) AS n FROM customers GROUP BY name ORDER BY n DESC, count(*), min(id)

SELECT count(DISTINCT nick) FROM customers

SELECT count(DISTINCT country) FROM customers

SELECT count(DISTINCT CASE WHEN id % 2 = 0 THEN country ELSE 'X '::bpchar END) FROM customers

SELECT count(DISTINCT lower(name)), count(DISTINCT upper(lower(name))) FROM customers

SELECT count(DISTINCT lower(name) COLLATE "C") FROM customers

SELECT count(DISTINCT ci) FROM odd

SELECT count(DISTINCT ci COLLATE "C") FROM odd

SELECT count(*), count(DISTINCT note) FROM odd GROUP BY ci

SELECT count(DISTINCT "select"), count(DISTINCT "od""d name") FROM odd

SELECT count(DISTINCT feel) FROM odd

SELECT count(DISTINCT part), sum(DISTINCT part) FROM odd

-- Values that are equal in other bytes, on one shard and on several.
SELECT count(DISTINCT CASE WHEN id % 2 = 0 THEN 1.0 WHEN id % 3 = 0 THEN 1.00 ELSE 1.000000000000000000000 END) FROM customers

SELECT count(DISTINCT CASE WHEN id % 2 = 0 THEN '0'::float8 WHEN id % 3 = 0 THEN '-0'::float8 ELSE score END) FROM customers

SELECT count(DISTINCT CASE id % 4 WHEN 0 THEN 'NaN'::float8 WHEN 1 THEN 'Infinity'::float8 WHEN 2 THEN '-Infinity'::float8 END) FROM customers

SELECT count(DISTINCT CASE id % 4 WHEN 0 THEN 'NaN'::numeric WHEN 1 THEN 12345678901234567890.50 WHEN 2 THEN 12345678901234567890.5 END) FROM customers

SELECT count(DISTINCT CASE WHEN tenant_id % 2 = 0 THEN '0'::float4 ELSE '-0'::float4 END), count(*) FROM customers

-- Sums and averages of distinct values, as wide as Postgres makes them.
SELECT sum(DISTINCT level), avg(DISTINCT level), count(DISTINCT level) FROM customers

SELECT sum(DISTINCT quantity), avg(DISTINCT quantity), count(DISTINCT quantity), max(DISTINCT quantity) FROM orders

SELECT sum(DISTINCT id), avg(DISTINCT id) FROM orders

SELECT sum(DISTINCT total), avg(DISTINCT total) FROM orders

SELECT status, sum(DISTINCT total) AS s, avg(DISTINCT total) FROM orders GROUP BY status ORDER BY s DESC

SELECT sum(DISTINCT flags) FROM events

SELECT sum(DISTINCT score) FROM customers

SELECT sum(DISTINCT gap) FROM customers

SELECT kind, avg(DISTINCT flags) FROM events GROUP BY kind ORDER BY kind NULLS FIRST

SELECT sum(DISTINCT CASE WHEN id % 2 = 0 THEN 'NaN'::numeric ELSE total END), avg(DISTINCT 'Infinity'::numeric) FROM orders

SELECT sum(DISTINCT amount), avg(DISTINCT amount) FROM region_stats

-- Several in one query: of one column, of several, beside one of the sharding key.
SELECT count(DISTINCT status), count(DISTINCT quantity), count(DISTINCT total) FROM orders

SELECT status, count(DISTINCT quantity), count(DISTINCT shipped), sum(total) FROM orders GROUP BY status ORDER BY status

SELECT count(DISTINCT tenant_id), count(DISTINCT quantity) FROM orders

SELECT count(DISTINCT tenant_id), sum(DISTINCT tenant_id), avg(DISTINCT tenant_id), count(*) FROM orders

SELECT status, count(DISTINCT tenant_id), avg(DISTINCT tenant_id) FROM orders GROUP BY status ORDER BY status

SELECT count(DISTINCT quantity), count(DISTINCT o.quantity), sum(DISTINCT (quantity)) FROM orders o

SELECT count(DISTINCT quantity % 4), count(DISTINCT quantity % 3) FROM orders

SELECT count(DISTINCT quantity % 4), sum(DISTINCT quantity % 4) FROM orders

SELECT count(DISTINCT quantity % 4), sum(DISTINCT quantity % 3) FROM orders

SELECT count(DISTINCT quantity % 5), sum(DISTINCT quantity % 5) FROM orders

SELECT min(DISTINCT quantity), bool_and(DISTINCT quantity > 0), bit_or(DISTINCT quantity), every(quantity < 9), count(DISTINCT status) FROM orders

SELECT bit_xor(DISTINCT quantity), count(DISTINCT quantity) FROM orders

SELECT string_agg(DISTINCT status, ',' ORDER BY status), count(DISTINCT status) FROM orders

SELECT count(DISTINCT (status, quantity)), count(DISTINCT status) FROM orders

SELECT count(ALL quantity), count(DISTINCT 5), count(DISTINCT NULL), count(DISTINCT 'x') FROM orders

-- FILTER
SELECT count(DISTINCT quantity) FILTER (WHERE status = 'paid') FROM orders

SELECT count(DISTINCT quantity) FILTER (WHERE status = 'paid'), count(DISTINCT quantity) FILTER (WHERE status = 'new'), count(DISTINCT quantity) FROM orders

SELECT status, count(DISTINCT quantity) FILTER (WHERE total > 300 AND quantity > 2 OR shipped IS NULL), count(*) FILTER (WHERE total > 300) FROM orders GROUP BY status ORDER BY status

SELECT count(DISTINCT status) FILTER (WHERE quantity IS NULL AND NULL), sum(DISTINCT quantity) FILTER (WHERE false) FROM orders

SELECT tenant_id % 3, avg(DISTINCT quantity) FILTER (WHERE total / NULLIF(quantity, 0) > 50) FROM orders GROUP BY 1 ORDER BY 1

SELECT count(DISTINCT 100 / quantity) FILTER (WHERE quantity <> 0) FROM orders

-- params: 'paid', 2
SELECT count(DISTINCT quantity) FILTER (WHERE status = $1 AND quantity > $2::int), count(*) FROM orders

-- HAVING and ORDER BY
SELECT status, count(DISTINCT quantity) FROM orders GROUP BY status HAVING count(DISTINCT quantity) > 3 ORDER BY count(DISTINCT quantity) DESC, status

SELECT quantity FROM orders GROUP BY quantity HAVING count(DISTINCT status) >= 5 AND quantity > 1 ORDER BY quantity

SELECT shipped FROM orders GROUP BY shipped ORDER BY count(DISTINCT status) DESC, shipped LIMIT 5

SELECT shipped, count(DISTINCT customer_id) FROM orders GROUP BY shipped ORDER BY shipped DESC NULLS LAST LIMIT 4 OFFSET 2

SELECT status AS s, quantity % 3 AS q, count(DISTINCT customer_id) AS n FROM orders GROUP BY s, q HAVING sum(DISTINCT quantity) > 6 ORDER BY q DESC, s

SELECT quantity, count(DISTINCT status) + 1, count(DISTINCT status) * 2.5 FROM orders GROUP BY quantity ORDER BY quantity

SELECT quantity, avg(DISTINCT total) FROM orders GROUP BY quantity HAVING avg(DISTINCT total) > 550.5 ORDER BY avg(DISTINCT total)

SELECT count(DISTINCT quantity) FROM orders ORDER BY 1

SELECT count(DISTINCT quantity) FROM orders LIMIT 0

SELECT count(DISTINCT quantity) FROM orders OFFSET 1

SELECT DISTINCT count(DISTINCT quantity) FROM orders GROUP BY status ORDER BY 1

-- params: 3
SELECT status, count(DISTINCT customer_id) FROM orders GROUP BY status ORDER BY 2 DESC, 1 LIMIT $1

-- Of groups themselves, of expressions, of joins.
SELECT quantity, count(DISTINCT quantity), sum(DISTINCT quantity) FROM orders GROUP BY quantity ORDER BY quantity NULLS FIRST

SELECT quantity % 2 AS odd, count(DISTINCT quantity) FROM orders GROUP BY quantity % 2 ORDER BY odd

SELECT date_trunc('month', placed) AS month, count(DISTINCT customer_id), sum(total) FROM orders GROUP BY 1 ORDER BY 1

SELECT o.status, count(DISTINCT i.product_id), sum(i.price) FROM orders o JOIN order_items i ON i.tenant_id = o.tenant_id AND i.order_id = o.id GROUP BY o.status ORDER BY 1

SELECT p.name, count(DISTINCT i.order_id) AS n FROM order_items i JOIN products p ON p.id = i.product_id GROUP BY p.name ORDER BY n DESC, p.name COLLATE "C"

SELECT k.name, count(DISTINCT c.level) FROM customers c LEFT JOIN countries k ON k.code = c.country GROUP BY k.name

SELECT count(DISTINCT o.quantity) FROM orders o WHERE EXISTS (SELECT FROM customers c WHERE c.tenant_id = o.tenant_id AND c.id = o.customer_id AND c.active)

SELECT count(DISTINCT total) FROM big_orders

SELECT n, count(*) FROM (SELECT status, count(DISTINCT quantity) AS n FROM orders GROUP BY status) s GROUP BY n ORDER BY n

SELECT sum(n) FROM (SELECT tenant_id, count(DISTINCT quantity) AS n FROM orders GROUP BY tenant_id) s

SELECT status, count(DISTINCT quantity) FROM orders WHERE tenant_id IN (2, 3, 5, 8) GROUP BY status ORDER BY status

SELECT status, rank() OVER (ORDER BY count(DISTINCT quantity) DESC, status) FROM orders GROUP BY status

SELECT status, quantity, count(DISTINCT customer_id) FROM orders GROUP BY ROLLUP (status, quantity) ORDER BY 1, 2, 3

-- error: 42803
SELECT status, count(DISTINCT quantity) FROM orders GROUP BY quantity

-- error: 42803
SELECT count(DISTINCT quantity) AS n FROM orders GROUP BY n

-- error: 42803
SELECT quantity, count(DISTINCT quantity) FROM orders

-- error: 42883
SELECT sum(DISTINCT status) FROM orders

-- error: 22012
SELECT count(DISTINCT 1 / (quantity - quantity)) FROM orders

-- As settings print values, so that the router does not compare them, a Postgres does.
-- script
SET DateStyle = 'German';
SELECT count(DISTINCT shipped) FROM orders;
SELECT shipped, count(DISTINCT status) FROM orders GROUP BY shipped ORDER BY shipped LIMIT 3;
SELECT quantity, count(DISTINCT status) FROM orders GROUP BY quantity ORDER BY 1;
SET extra_float_digits = 0;
SELECT count(DISTINCT score) FROM customers;
SELECT rating, count(*) FROM customers GROUP BY rating ORDER BY rating;
SET bytea_output = 'escape';
SELECT count(DISTINCT raw) FROM customers;
SELECT DISTINCT raw FROM customers ORDER BY raw LIMIT 3;
RESET ALL;
SELECT count(DISTINCT shipped) FROM orders;

-- Within a transaction that has written.
-- script
BEGIN;
UPDATE accounts SET hits = 99 WHERE tenant_id = 3;
SELECT count(DISTINCT hits), sum(DISTINCT hits) FROM accounts;
SET LOCAL DateStyle = 'German';
SELECT placed::date, count(DISTINCT status) FROM orders WHERE tenant_id < 9 GROUP BY 1 ORDER BY 1 LIMIT 3;
ROLLBACK;
SELECT count(DISTINCT hits), sum(DISTINCT hits) FROM accounts;

-- Prepared once, run under other literals and settings.
-- script
PREPARE counted (int) AS SELECT shipped, count(DISTINCT quantity) FROM orders WHERE quantity > $1 GROUP BY shipped ORDER BY shipped LIMIT 3;
EXECUTE counted (2);
SET DateStyle = 'German';
EXECUTE counted (2);
SET DateStyle = 'ISO';
EXECUTE counted (5);
DEALLOCATE counted;
