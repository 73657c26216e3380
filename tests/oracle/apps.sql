-- Reads as ORMs and reporting tools write them, over shards.

-- Django
SELECT (1) AS "a" FROM "customers" WHERE "customers"."level" > 3 LIMIT 1

SELECT COUNT(*) FROM (SELECT DISTINCT "orders"."status" AS "col1", "orders"."quantity" AS "col2" FROM "orders") subquery

SELECT "customers"."id", COUNT("orders"."id") AS "n" FROM "customers" LEFT OUTER JOIN "orders" ON ("customers"."tenant_id" = "orders"."tenant_id" AND "customers"."id" = "orders"."customer_id") GROUP BY "customers"."tenant_id", "customers"."id" HAVING COUNT("orders"."id") > 2 ORDER BY "customers"."id" ASC LIMIT 21

SELECT "tenants"."id", EXISTS(SELECT 1 AS "a" FROM "orders" U0 WHERE (U0."tenant_id" = ("tenants"."id") AND U0."total" > 1000) LIMIT 1) AS "big" FROM "tenants" WHERE NOT (EXISTS(SELECT 1 AS "a" FROM "sparse" V0 WHERE V0."tenant_id" = ("tenants"."id") LIMIT 1)) ORDER BY 1 LIMIT 10

SELECT "orders"."status", SUM(CASE WHEN "orders"."quantity" >= 5 THEN 1 ELSE NULL END) AS "many", AVG("orders"."total") FILTER (WHERE "orders"."quantity" IS NOT NULL) AS "mean" FROM "orders" GROUP BY "orders"."status" ORDER BY "many" DESC, "orders"."status" ASC

SELECT DISTINCT DATE_TRUNC('day', "orders"."placed" AT TIME ZONE 'UTC') AS "datefield" FROM "orders" WHERE "orders"."placed" IS NOT NULL ORDER BY 1 ASC LIMIT 5

SELECT "customers"."id", (SELECT U0."id" FROM "orders" U0 WHERE U0."customer_id" = ("customers"."id") ORDER BY U0."placed" DESC NULLS LAST, U0."id" LIMIT 1) AS "newest" FROM "customers" ORDER BY "customers"."id" LIMIT 8

-- Rails
SELECT 1 AS one FROM "orders" WHERE "orders"."status" = 'paid' LIMIT 1

SELECT COUNT(*) FROM (SELECT 1 AS one FROM "orders" LIMIT 10 OFFSET 5) subquery_for_count

SELECT DISTINCT "customers"."id", customers.created AS alias_0 FROM "customers" LEFT OUTER JOIN "orders" ON "orders"."tenant_id" = "customers"."tenant_id" AND "orders"."customer_id" = "customers"."id" WHERE (orders.total > 100) ORDER BY customers.created DESC, "customers"."id" LIMIT 5

SELECT "customers"."tenant_id" AS t0_r0, "customers"."id" AS t0_r1, "orders"."id" AS t1_r0, "orders"."status" AS t1_r1 FROM "customers" LEFT OUTER JOIN "orders" ON "orders"."tenant_id" = "customers"."tenant_id" AND "orders"."customer_id" = "customers"."id" WHERE "customers"."id" IN (3, 5, 8, 13) ORDER BY t0_r1, t1_r0

-- params: 100, 5
SELECT "orders".* FROM "orders" WHERE "orders"."id" > $1 ORDER BY "orders"."id" ASC LIMIT $2

SELECT MAX("orders"."placed") AS maximum_placed, "orders"."status" AS orders_status FROM "orders" GROUP BY "orders"."status" ORDER BY 2

SELECT SUM(x.sum) FROM (SELECT SUM("orders"."total") AS sum FROM "orders" GROUP BY "orders"."tenant_id" HAVING (COUNT(*) > 3)) x

-- Hibernate
-- params: 2, 5
select c1_0.id, c1_0.email, t1_0.id, t1_0.name from customers c1_0 join tenants t1_0 on t1_0.id=c1_0.tenant_id order by c1_0.id offset $1 rows fetch first $2 rows only

select o1_0.id, o1_0.total from orders o1_0 where (o1_0.tenant_id, o1_0.customer_id) in ((1, 3), (5, 41), (22, 103)) order by o1_0.id

select count(o1_0.id) from orders o1_0 where exists (select 1 from order_items i1_0 where o1_0.tenant_id=i1_0.tenant_id and o1_0.id=i1_0.order_id and i1_0.quantity>4)

select coalesce(sum(o1_0.total), 0), o1_0.status from orders o1_0 left join customers c1_0 on c1_0.tenant_id=o1_0.tenant_id and c1_0.id=o1_0.customer_id where c1_0.active is not false group by o1_0.status order by 2

-- Prisma
-- params: 1, 7, 0
SELECT "public"."tenants"."id", "public"."tenants"."name" FROM "public"."tenants" WHERE "public"."tenants"."id" IN ($1, $2) ORDER BY "public"."tenants"."id" ASC OFFSET $3

-- params: 0
SELECT COUNT(*) AS "_count$_all" FROM (SELECT "public"."orders"."id" FROM "public"."orders" WHERE 1=1 OFFSET $1) AS "sub"

SELECT "t1"."id", "t1"."name", "t1_orders"."__prisma_data__" AS "orders" FROM "public"."tenants" AS "t1" LEFT JOIN LATERAL (SELECT COALESCE(JSONB_AGG("__prisma_data__"), '[]') AS "__prisma_data__" FROM (SELECT "t4"."__prisma_data__" FROM (SELECT JSONB_BUILD_OBJECT('id', "t3"."id", 'status', "t3"."status") AS "__prisma_data__", "t3"."id" FROM (SELECT "t2".* FROM "public"."orders" AS "t2" WHERE "t1"."id" = "t2"."tenant_id" /* root select */) AS "t3" /* inner select */) AS "t4" ORDER BY "t4"."id" ASC LIMIT 2 /* middle select */) AS "t5" /* outer select */) AS "t1_orders" ON TRUE ORDER BY "t1"."id" LIMIT 4

SELECT "t0"."id", COALESCE("aggr"."_n", 0) AS "_n" FROM "public"."tenants" AS "t0" LEFT JOIN (SELECT "c"."tenant_id", COUNT(*) AS "_n" FROM "public"."customers" AS "c" WHERE 1=1 GROUP BY "c"."tenant_id") AS "aggr" ON ("t0"."id" = "aggr"."tenant_id") WHERE 1=1 ORDER BY COALESCE("aggr"."_n", 0) DESC, "t0"."id" LIMIT 5

-- Entity Framework
-- params: 3
SELECT t.id, t.name, s.id, s.total FROM (SELECT t0.id, t0.name FROM tenants AS t0 ORDER BY t0.id LIMIT $1) AS t LEFT JOIN LATERAL (SELECT o.id, o.total FROM orders AS o WHERE t.id = o.tenant_id ORDER BY o.total DESC NULLS LAST, o.id LIMIT 2) AS s ON TRUE ORDER BY t.id, s.total DESC NULLS LAST, s.id

SELECT count(*)::int FROM orders AS o WHERE o.status LIKE '%a%' AND NOT (o.quantity IS NULL)

-- params: '{3,5,8}'
-- types: int8[]
SELECT o.id, CASE WHEN o.total > 500 THEN 'high' WHEN o.total IS NULL THEN NULL ELSE 'low' END AS "Band" FROM orders AS o WHERE o.customer_id = ANY ($1) ORDER BY o.id

SELECT o.status AS "Key", count(*)::int AS "Count", COALESCE(sum(o.total), 0.0) AS "Sum", max(o.placed) AS "Last" FROM orders AS o GROUP BY o.status ORDER BY o.status

SELECT o0.tenant_id, o0.id FROM (SELECT o.tenant_id, o.id, ROW_NUMBER() OVER(PARTITION BY o.tenant_id ORDER BY o.placed DESC, o.id) AS row FROM orders AS o) AS o0 WHERE o0.row <= 2 ORDER BY 1, 2 LIMIT 12

-- Drizzle and Kysely
select "tenants"."id", "tenants_customers"."data" as "customers" from "tenants" left join lateral (select coalesce(json_agg(json_build_array("c"."id", "c"."email") order by "c"."id"), '[]'::json) as "data" from "customers" "c" where "c"."tenant_id" = "tenants"."id" and "c"."level" = 2) "tenants_customers" on true order by "tenants"."id" limit 4

select "id", (select coalesce(json_agg(agg), '[]') from (select "o"."id", "o"."total" from "orders" as "o" where "o"."tenant_id" = "tenants"."id" order by "o"."id" limit 2) as agg) as "orders" from "tenants" order by "id" limit 3

-- Ecto and Oban
-- params: '{1,2,3}'
-- types: int4[]
SELECT c0."tenant_id", count(c0."id") FROM "customers" AS c0 WHERE (c0."tenant_id" = ANY($1)) GROUP BY c0."tenant_id" ORDER BY 1

SELECT sc0."id" FROM (SELECT DISTINCT ON (sc0."status") sc0."id" AS "id", sc0."status" AS "status" FROM "orders" AS sc0 ORDER BY sc0."status", sc0."id" DESC) AS s0 INNER JOIN "orders" AS sc0 ON sc0."id" = s0."id" ORDER BY sc0."id"

-- Metabase, Superset, Grafana
SELECT "source"."month" AS "month", SUM("source"."total") AS "sum" FROM (SELECT CAST(DATE_TRUNC('month', CAST("public"."orders"."placed" AS timestamp)) AS date) AS "month", "public"."orders"."total" AS "total" FROM "public"."orders" LEFT JOIN "public"."customers" AS "C" ON "public"."orders"."customer_id" = "C"."id" WHERE "C"."active" = TRUE) AS "source" GROUP BY "source"."month" ORDER BY "source"."month" ASC LIMIT 2000

SELECT "public"."orders"."status" AS "status", COUNT(*) AS "count", CAST(SUM(CASE WHEN "public"."orders"."total" > 100 THEN 1 ELSE 0.0 END) AS float) / NULLIF(COUNT(*), 0) AS "share" FROM "public"."orders" WHERE "public"."orders"."placed" >= timestamp with time zone '2024-01-05 00:00:00.000Z' AND "public"."orders"."placed" < timestamp with time zone '2024-06-05 00:00:00.000Z' GROUP BY "public"."orders"."status" ORDER BY "count" DESC, "status" ASC LIMIT 1048575

SELECT floor(extract(epoch from placed)/86400)*86400 AS "time", count(id) AS "orders", percentile_cont(0.95) within group (order by total) AS p95 FROM orders WHERE placed BETWEEN '2024-01-03T00:00:00Z' AND '2024-01-20T23:59:59Z' GROUP BY 1 ORDER BY 1

WITH daily AS (SELECT date_trunc('day', placed)::date AS d, sum(total) AS s FROM orders GROUP BY 1), filled AS (SELECT g::date AS d, coalesce(daily.s, 0) AS s FROM generate_series('2024-01-01'::date, '2024-01-14'::date, interval '1 day') g LEFT JOIN daily ON daily.d = g::date) SELECT d, s, avg(s) OVER (ORDER BY d ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) AS rolling, s - lag(s) OVER (ORDER BY d) AS change FROM filled ORDER BY d

SELECT c.country, count(DISTINCT c.id) AS customers, count(DISTINCT o.id) AS orders, sum(o.total) AS revenue, sum(o.total) / nullif(count(DISTINCT c.id), 0) AS per FROM customers c LEFT JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id GROUP BY c.country ORDER BY revenue DESC NULLS LAST, c.country LIMIT 5

WITH first_orders AS (SELECT tenant_id, customer_id, min(placed) AS first FROM orders WHERE customer_id IS NOT NULL GROUP BY 1, 2) SELECT date_trunc('month', f.first) AS cohort, extract(month FROM age(date_trunc('month', o.placed), date_trunc('month', f.first))) AS nth, count(DISTINCT o.customer_id) FROM first_orders f JOIN orders o USING (tenant_id, customer_id) GROUP BY 1, 2 ORDER BY 1, 2

SELECT status, count(*) AS n, round(100.0 * count(*) / sum(count(*)) OVER (), 2) AS percent, sum(count(*)) OVER (ORDER BY count(*) DESC, status) AS running FROM orders GROUP BY status ORDER BY n DESC, status

SELECT p.name, sum(i.quantity) AS sold, rank() OVER (ORDER BY sum(i.quantity) DESC) FROM order_items i JOIN products p ON p.id = i.product_id GROUP BY p.name ORDER BY 3, 1 LIMIT 10

SELECT t.name, o.* FROM tenants t JOIN LATERAL (SELECT status, count(*) AS n FROM orders WHERE tenant_id = t.id GROUP BY status ORDER BY n DESC, status LIMIT 1) o ON true ORDER BY t.id LIMIT 6

SELECT corr(total::float8, quantity) > -2 AS c, stddev_samp(total), var_pop(quantity), regr_slope(total::float8, quantity) IS NULL FROM orders WHERE quantity IS NOT NULL

SELECT a.tenant_id, a.id, b.id FROM orders a JOIN orders b ON a.tenant_id = b.tenant_id AND a.customer_id = b.customer_id AND a.id < b.id AND b.placed - a.placed < interval '1 day' ORDER BY 1, 2, 3 LIMIT 10

-- Jobs and queues
-- script
BEGIN;
SELECT id FROM accounts WHERE hits > 2 ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 2;
SELECT a.id FROM accounts AS a WHERE a.hits IS NOT NULL ORDER BY a.amount DESC, a.id LIMIT 3 FOR NO KEY UPDATE OF a SKIP LOCKED;
SELECT a.id, t.id FROM accounts a JOIN transfers t ON t.tenant_id = a.tenant_id AND t.account_id = a.id WHERE a.hits = 2 ORDER BY 1, 2 FOR UPDATE OF a;
COMMIT;

-- What tools ask before they page.
SELECT count(*) OVER () AS full_count, id, name FROM tenants WHERE seats > 10 ORDER BY id LIMIT 3 OFFSET 2

SELECT (SELECT count(*) FROM orders WHERE status = 'paid') AS paid, (SELECT count(*) FROM orders WHERE status = 'new') AS new, (SELECT max(placed) FROM orders) AS last

SELECT 'orders' AS what, min(placed) AS from, max(placed) AS to FROM orders UNION ALL SELECT 'customers', min(created), max(created) FROM customers

SELECT id FROM customers WHERE id NOT IN (SELECT customer_id FROM orders WHERE customer_id IS NOT NULL) AND (name IS NULL OR name <> '') ORDER BY id LIMIT 5

SELECT o.id, o.status, c.email, t.name, (SELECT count(*) FROM order_items i WHERE i.tenant_id = o.tenant_id AND i.order_id = o.id) AS lines FROM orders o LEFT JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id JOIN tenants t ON t.id = o.tenant_id WHERE o.status IN ('paid', 'shipped') AND (o.total BETWEEN 100 AND 500 OR o.total IS NULL) AND c.country = 'DE' ORDER BY o.placed DESC, o.id LIMIT 10 OFFSET 0
