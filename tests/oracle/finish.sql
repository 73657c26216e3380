-- Statements that a Postgres finishes on rows pulled from the shards.

-- A session of its own.
-- script
SELECT 1;

-- Settings.
-- script
SET search_path = pg_catalog, public;
SELECT stddev(total) FROM orders JOIN settings ON true;
SET TimeZone = 'Asia/Tokyo';
SELECT date_trunc('day', placed), stddev(total) FROM orders WHERE extract(hour FROM placed) < 3 GROUP BY 1 ORDER BY 1 LIMIT 5;
SET DateStyle = 'German';
SELECT shipped, count(DISTINCT status) FROM orders WHERE shipped < '01.02.2024' GROUP BY 1 ORDER BY 1;
SET extra_float_digits = 0;
SELECT a.score, b.score / 3 FROM customers a JOIN customers b ON a.id = b.id + 1 WHERE a.id < 20 ORDER BY a.id;
RESET ALL;

-- Aggregates that cannot be folded.
SELECT stddev(total), variance(quantity), stddev_pop(discount) FROM orders

SELECT corr(quantity, total::float8) IS NOT NULL, regr_count(quantity, total::float8), covar_pop(quantity::float8, 2.0) IS NOT NULL FROM orders

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total), percentile_disc(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY id) FROM orders WHERE quantity > 3

SELECT status, mode() WITHIN GROUP (ORDER BY quantity), rank(5) WITHIN GROUP (ORDER BY quantity) FROM orders GROUP BY status ORDER BY status

SELECT string_agg(status, ',' ORDER BY id DESC) FILTER (WHERE id % 7 = 0), array_agg(DISTINCT quantity ORDER BY quantity) FROM orders

SELECT json_agg(o ORDER BY o.id), jsonb_object_agg(o.id, o.status) FROM orders o WHERE o.tenant_id IN (3, 4) AND id % 5 = 0

SELECT country, count(DISTINCT level), count(DISTINCT (level, active)), avg(DISTINCT score) FROM customers GROUP BY country ORDER BY country COLLATE "C" NULLS FIRST

SELECT count(*) FILTER (WHERE total > (SELECT avg(total) FROM orders)) FROM orders

SELECT name, max(nick), min(created) FROM customers GROUP BY name HAVING max(nick) > 'm' ORDER BY name COLLATE "C" NULLS LAST

SELECT bool_or(active), every(score > 1), xmlagg(NULL) IS NULL FROM customers

SELECT any_rows.n FROM (SELECT count(*) AS n FROM customers GROUP BY name) any_rows ORDER BY n DESC LIMIT 3

-- Grouping sets.
SELECT country, level, count(*), grouping(country, level) FROM customers GROUP BY ROLLUP (country, level) ORDER BY 4, 1 NULLS FIRST, 2 NULLS FIRST

SELECT status, date_trunc('month', placed), sum(total) FROM orders GROUP BY CUBE (1, 2) ORDER BY 1 NULLS FIRST, 2 NULLS FIRST

SELECT tenant_id, status, count(*) FROM orders WHERE tenant_id < 6 GROUP BY GROUPING SETS ((tenant_id), (status), ()) ORDER BY 1 NULLS LAST, 2 NULLS LAST

SELECT DISTINCT grouping(status), count(*) > 10 FROM orders GROUP BY GROUPING SETS ((status), ())

-- Windows.
SELECT id, rank() OVER (ORDER BY total DESC NULLS LAST, id), lag(status, 2, 'none') OVER (ORDER BY id) FROM orders WHERE quantity = 4 ORDER BY id

SELECT id, sum(total) OVER w, avg(total) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), first_value(id) OVER w FROM orders WHERE id % 11 = 0 WINDOW w AS (PARTITION BY status ORDER BY id) ORDER BY id

SELECT id, count(*) OVER (ORDER BY quantity RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE TIES) FROM orders WHERE id < 400 ORDER BY id

SELECT status, sum(count(*)) OVER (ORDER BY status) FROM orders GROUP BY status ORDER BY status

SELECT DISTINCT ON (status) status, id, total FROM orders ORDER BY status, total DESC NULLS LAST, id

SELECT DISTINCT ON (country) country, max(id) OVER (PARTITION BY country) FROM customers ORDER BY country

-- ties
SELECT id, quantity FROM orders WHERE quantity IS NOT NULL ORDER BY quantity DESC, tenant_id FETCH FIRST 7 ROWS WITH TIES

SELECT ntile(3) OVER (ORDER BY id), name FROM customers ORDER BY name, id LIMIT 10 OFFSET 3

-- Orders of other collations.
SELECT name, id FROM customers ORDER BY name COLLATE "en-x-icu", id LIMIT 20

SELECT name, id FROM customers ORDER BY lower(name) DESC NULLS LAST, id OFFSET 5

SELECT DISTINCT name FROM customers ORDER BY name

SELECT id, meta FROM customers WHERE meta IS NOT NULL ORDER BY meta, id LIMIT 8

SELECT id, tags FROM customers ORDER BY tags DESC, id LIMIT 8

SELECT id FROM customers ORDER BY gap, ip, id LIMIT 9

-- Joins.
SELECT o.id, p.name FROM orders o JOIN order_items i ON i.order_id = o.id JOIN products p ON p.id = i.product_id WHERE o.quantity > 7 AND p.price > 30 ORDER BY 1, i.line LIMIT 30

SELECT a.id, b.id FROM customers a JOIN customers b ON a.nick = b.nick AND a.id < b.id ORDER BY 1, 2 LIMIT 25

SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.quantity > 8 AND c.level = 3 WHERE c.id < 60 ORDER BY 1, 2

SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.quantity > 8 WHERE o.id IS NULL AND c.id < 90 ORDER BY 1

SELECT c.id, o.id FROM orders o RIGHT JOIN customers c ON o.customer_id = c.id AND c.active AND o.status = 'paid' WHERE c.id < 70 ORDER BY 1, 2

SELECT c.id, o.id FROM customers c FULL JOIN orders o ON o.customer_id = c.id AND o.quantity = 2 AND c.level = 2 WHERE coalesce(c.id, o.id) < 200 ORDER BY 1, 2

SELECT c.id, o.id FROM customers c FULL JOIN orders o USING (id) WHERE id < 300 ORDER BY 1, 2

SELECT id, c.name, o.status FROM customers c JOIN orders o USING (id) ORDER BY id

SELECT * FROM tenants NATURAL JOIN countries

SELECT * FROM (SELECT id, name FROM tenants) a NATURAL LEFT JOIN (SELECT id, nick FROM customers) b ORDER BY id, nick NULLS FIRST

SELECT count(*) FROM tenants CROSS JOIN metrics

SELECT count(*), max(t.id) FROM tenants t, region_stats r WHERE t.seats > r.year - 1990

SELECT k.code, count(c.id) FROM countries k LEFT JOIN customers c ON c.country = k.code GROUP BY k.code ORDER BY k.code

SELECT k.code, o.id FROM countries k LEFT JOIN customers c ON c.country = k.code AND c.level = 9 LEFT JOIN orders o ON o.customer_id = c.id ORDER BY 1, 2

SELECT s.name, count(*) FROM settings s, tenants t WHERE t.plan = s.value OR t.id = 3 GROUP BY s.name ORDER BY s.name

SELECT c.id, x.id, x.total FROM customers c, LATERAL (SELECT o.id, o.total FROM orders o WHERE o.customer_id = c.id ORDER BY o.total DESC NULLS LAST, o.id LIMIT 2) x WHERE c.id < 40 ORDER BY 1, 2

SELECT c.id, x.n FROM customers c LEFT JOIN LATERAL (SELECT count(*) AS n FROM orders o WHERE o.customer_id = c.id AND o.quantity > c.level) x ON x.n > 1 WHERE c.id < 50 ORDER BY 1

SELECT t.id, g.n FROM tenants t JOIN customers c ON c.id = t.id, generate_series(1, t.id % 3) WITH ORDINALITY AS g(v, n) ORDER BY 1, 2

SELECT t.id, c.id, u FROM tenants t JOIN (customers c CROSS JOIN LATERAL unnest(c.tags) u) ON c.id = t.id ORDER BY 1, 2, 3 NULLS FIRST

SELECT a.id FROM customers a LEFT JOIN (customers b JOIN orders o ON o.customer_id = b.id AND b.level = 4 AND o.quantity > 5) ON b.id = a.id + 1 WHERE a.id < 100 AND (b.id IS NULL OR o.total > 100) ORDER BY 1

SELECT x.a, y.b FROM orders AS x (t, a) JOIN customers AS y (t, b) ON y.b = x.a ORDER BY 1

SELECT public.orders.id, customers.name FROM public.orders JOIN public.customers ON public.customers.id = public.orders.customer_id WHERE public.orders.quantity = 9 ORDER BY 1

SELECT orders.*, c.id AS c_id FROM orders JOIN customers c ON c.id = orders.customer_id WHERE c.level = 1 ORDER BY orders.tenant_id, orders.id LIMIT 6

SELECT public.tenants.*, 1 FROM public.tenants ORDER BY name, id LIMIT 4

SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.tenant_id = 1 AND c.tenant_id IN (2, 3, 4) ORDER BY 1

SELECT o.id, c.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.tenant_id = 8 AND c.tenant_id = 8 AND c.tenant_id = 9

-- Whole rows.
SELECT t FROM tenants t ORDER BY name, id LIMIT 3

SELECT row_to_json(t), count(t) OVER () FROM tenants t WHERE id < 4 ORDER BY t.id

SELECT count(t.*), count(DISTINCT t) FROM tenants t

SELECT (t).name, t IS NULL, t = t FROM tenants t ORDER BY (t).name, id LIMIT 3

SELECT to_jsonb(o) - 'total' FROM orders o WHERE id < 30 ORDER BY o

SELECT max(tenants.id), count(tenants) FROM tenants, kv

-- Subqueries.
SELECT id, (SELECT max(total) FROM orders o WHERE o.customer_id = c.id) FROM customers c WHERE c.id < 25 ORDER BY 1

SELECT id FROM customers c WHERE NOT EXISTS (SELECT * FROM orders o WHERE o.customer_id = c.id AND o.status = 'paid') ORDER BY id LIMIT 20

SELECT id FROM orders WHERE customer_id NOT IN (SELECT id FROM customers WHERE active) ORDER BY id LIMIT 20

SELECT id FROM orders WHERE customer_id NOT IN (SELECT o.customer_id FROM orders o WHERE o.quantity = 3) ORDER BY id LIMIT 20

SELECT id FROM orders WHERE total > ALL (SELECT total FROM orders WHERE status = 'new' AND total IS NOT NULL) ORDER BY 1

SELECT id FROM orders WHERE (customer_id, quantity) IN (SELECT id, level FROM customers) ORDER BY 1

SELECT ARRAY(SELECT name FROM tenants ORDER BY seats NULLS FIRST, id), 1

SELECT id FROM tenants WHERE seats = (SELECT max(seats) FROM tenants WHERE id < (SELECT avg(id) FROM tenants))

SELECT (SELECT count(*) FROM tenants), (SELECT count(*) FROM customers WHERE id > 3)

SELECT CASE WHEN EXISTS (SELECT 1 FROM orders WHERE total > 1000) THEN 'big' ELSE 'small' END FROM tenants WHERE id = 4

SELECT id FROM tenants ORDER BY (SELECT count(*) FROM orders o WHERE o.quantity = tenants.seats), id LIMIT 10

-- subset-of: SELECT id FROM tenants
SELECT id FROM tenants LIMIT (SELECT count(*) / 100 FROM customers)

SELECT t.id, (SELECT string_agg(c.name, '|' ORDER BY c.id) FROM customers c WHERE c.level = t.id) FROM tenants t WHERE t.id < 6 ORDER BY 1

SELECT name FROM customers WHERE id = ANY (ARRAY(SELECT customer_id FROM orders WHERE quantity = 1)) ORDER BY name, id LIMIT 5

-- error: 21000
SELECT (SELECT id FROM customers) FROM tenants

-- WITH.
WITH big AS (SELECT customer_id, sum(total) AS s FROM orders GROUP BY customer_id) SELECT c.id, big.s FROM customers c JOIN big ON big.customer_id = c.id WHERE big.s > 500 ORDER BY 1 LIMIT 20

WITH x AS MATERIALIZED (SELECT id, name FROM customers WHERE level = 2) SELECT a.id, b.id FROM x a JOIN x b ON a.name = b.name AND a.id < b.id ORDER BY 1, 2

WITH orders AS (SELECT * FROM orders WHERE quantity = 1), c AS (SELECT id FROM customers WHERE active) SELECT count(*), stddev(orders.total) FROM orders JOIN c ON c.id = orders.customer_id

WITH customers AS (SELECT 1 AS id, 'made' AS name) SELECT t.id, customers.name, stddev(t.seats) OVER () FROM tenants t JOIN customers ON customers.id = t.id

WITH RECURSIVE chain(id, depth) AS (SELECT id, 1 FROM tenants WHERE id = 1 UNION ALL SELECT t.id, depth + 1 FROM tenants t JOIN chain c ON t.id = c.id * 2) SELECT * FROM chain ORDER BY 1

WITH RECURSIVE r AS (SELECT id, customer_id FROM orders WHERE id = 10 UNION SELECT o.id, o.customer_id FROM orders o, r WHERE o.customer_id = r.customer_id) SELECT count(*) FROM r

WITH unused AS (SELECT * FROM orders), t AS (SELECT id FROM tenants) SELECT count(*), count(DISTINCT id % 3) FROM t

WITH a AS (SELECT id FROM tenants WHERE id < 10), b AS (SELECT id FROM a WHERE id > 3) (SELECT id FROM a EXCEPT SELECT id FROM b) UNION ALL SELECT count(*) FROM b ORDER BY 1

SELECT * FROM (WITH i AS (SELECT max(id) AS m FROM orders) SELECT m, (SELECT count(*) FROM tenants) FROM i) q

-- Set operations.
SELECT id FROM tenants UNION SELECT level FROM customers ORDER BY 1

SELECT name FROM tenants INTERSECT SELECT name FROM customers

SELECT id FROM tenants EXCEPT ALL SELECT customer_id FROM orders ORDER BY 1

(SELECT id, name FROM tenants ORDER BY seats DESC NULLS LAST, id LIMIT 3) UNION ALL (SELECT id, name FROM customers ORDER BY balance NULLS LAST, id LIMIT 2) ORDER BY 1, 2

SELECT id, 'a' AS kind FROM tenants WHERE id < 3 UNION ALL SELECT id, 'b' FROM products WHERE id < 3 UNION ALL VALUES (99, 'c') ORDER BY 1, 2

SELECT count(*) FROM (SELECT country FROM customers UNION SELECT code FROM countries) u

SELECT id, NULL FROM tenants WHERE id = 3 UNION SELECT seats, 5 FROM tenants WHERE id = 4 ORDER BY 1

-- Types with numbers of their own, and names that need quotes.
-- forms: simple, text, portal
SELECT "Id", feel, feels, two, span, cash, mask FROM odd ORDER BY feel DESC NULLS LAST, "Id" LIMIT 12

SELECT feel, count(*), array_agg("Id" ORDER BY "Id"), max(part) FROM odd GROUP BY feel ORDER BY feel

SELECT a."Id", a.feels, b.two FROM odd a JOIN odd b ON a.feel = b.feel AND a."Id" + 1 = b."Id" ORDER BY 1

SELECT a."Id", b."Id" FROM odd a JOIN odd b ON a.part = b.part + 40 AND (a.two).a = (b.two).a WHERE a.feel > 'sad' ORDER BY 1, 2

-- Which of two equal spellings stands for a group is up to Postgres: it is not shown.
SELECT lower(ci), n FROM (SELECT ci, count(*) AS n FROM (SELECT DISTINCT ci FROM odd WHERE ci < 'abd') d GROUP BY ci) g

SELECT lower(ci), count(*) FROM odd GROUP BY ci ORDER BY ci NULLS FIRST

SELECT "select", "od""d name", twice, string_agg(note, '/' ORDER BY "Id") FROM odd GROUP BY 1, 2, 3 ORDER BY twice LIMIT 9

SELECT o."Id", stddev(o.twice) OVER (), "X"."od""d name" FROM odd o JOIN odd AS "X" USING ("Id") WHERE "X".note <> '' ORDER BY 1

SELECT unnest(feels), feel, count(*) FROM odd GROUP BY 1, 2 ORDER BY 1 NULLS FIRST, 2 NULLS FIRST

-- forms: simple, text, portal
SELECT "Id", two FROM odd WHERE two = ROW(3, 'happy')::pair AND feel = ANY ('{sad,ok}'::mood[]) ORDER BY note, "Id"

-- forms: simple, text, portal
SELECT o FROM odd o WHERE "Id" < 5 ORDER BY o.cash, o

SELECT span, range_agg(span) OVER (ORDER BY "Id") FROM odd WHERE "Id" < 7 ORDER BY "Id"

-- Partitions, ONLY.
SELECT day, stddev(v) OVER (ORDER BY day) FROM parted WHERE day > '2024-01-20' AND day < '2024-02-10' ORDER BY day

SELECT count(*), stddev(v) FROM ONLY parted

SELECT stddev(v), count(DISTINCT day) FROM parted_old

SELECT n.day, o.day FROM parted_new n JOIN parted_old o ON o.v = n.v - 50 ORDER BY 1, 2

SELECT p.tenant_id, t.name, sum(p.v) FROM parted p JOIN tenants t ON t.id = p.tenant_id + 1 GROUP BY p.tenant_id, t.id ORDER BY 1

-- GROUP BY that leans on the primary key.
SELECT c.tenant_id, c.id, c.name, c.meta, count(o.id) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.tenant_id, c.id ORDER BY c.id, c.tenant_id LIMIT 12

SELECT t.id, t.name, t.budget, count(*) FROM tenants t, customers c WHERE c.level = t.id GROUP BY t.id ORDER BY t.id

SELECT k.name, count(DISTINCT c.level) FROM countries k JOIN customers c ON c.country = k.code GROUP BY k.code ORDER BY 1

-- error: 42803
SELECT c.id, c.name, count(*) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.id

-- error: 42703
SELECT o.id, c.nothing FROM orders o JOIN customers c ON c.id = o.customer_id

-- error: 42702
SELECT id FROM orders JOIN customers ON customers.id = orders.customer_id

-- error: 22012
SELECT o.id / 0 FROM orders o JOIN customers c ON c.id = o.customer_id

-- error: 22P02
SELECT stddev(id) FROM orders WHERE quantity = 'x'

-- error: 22P02
SELECT stddev(total) FROM orders WHERE note::int = 5 OR status::int = 7

-- error: 42883
SELECT stddev(status) FROM orders

-- Views.
SELECT * FROM customer_sums ORDER BY tenant_id, worth DESC NULLS LAST, who LIMIT 10

SELECT * FROM top_customers ORDER BY worth DESC, who LIMIT 10

SELECT b.id, t.name, stddev(b.total) OVER (PARTITION BY t.plan) FROM big_orders b JOIN tenants t ON t.id = b.tenant_id ORDER BY b.id LIMIT 10

SELECT v.t, count(DISTINCT v.id) FROM big_orders v (t) GROUP BY v.t ORDER BY 1

SELECT public.big_orders.id FROM public.big_orders JOIN order_items i ON i.order_id = public.big_orders.id AND i.line = 1 ORDER BY 1 LIMIT 5

SELECT p.name, count(o.id) FROM product_names p LEFT JOIN orders o ON o.quantity = p.id GROUP BY p.name ORDER BY p.name

SELECT v FROM big_orders v ORDER BY v.total DESC, v.id LIMIT 3

-- Conditions in pulls.
SELECT stddev(total) FROM orders WHERE status IN ('new', 'paid') AND NOT quantity = 4 AND (total > 10 OR discount IS NULL) AND note LIKE '%e%'

SELECT stddev(total) FROM orders WHERE placed BETWEEN '2024-01-01' AND timestamptz '2024-06-01 12:00' AND extract(hour FROM placed) > 3 AND shipped - 3 > date '2024-01-10'

SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id AND c.tags @> ARRAY['vip'] AND c.meta ->> 'n' IS NOT NULL WHERE c.ip << '10.1.0.0/16' AND o.note ILIKE '%A%' ORDER BY 1

SELECT stddev(total) FROM orders WHERE quantity IS DISTINCT FROM 3 AND CASE WHEN status = 'new' THEN total ELSE id END > 50 AND coalesce(discount, 0) >= 0 AND lower(status) <> 'paid'

SELECT stddev(total) FROM orders WHERE placed < now() AND shipped < CURRENT_DATE AND placed > 'yesterday'::timestamptz - interval '100 years'

SELECT o.id FROM orders o JOIN customers c ON o.customer_id = c.id AND o.id < 100 WHERE (c.level, c.active) = (3, true) AND o.status COLLATE "C" >= 'o' ORDER BY o.id

SELECT stddev(quantity) FROM orders WHERE id = ANY ('{10,20,30}') AND tenant_id <> ALL (ARRAY[3, 4])

SELECT stddev(twice("quantity")) FROM orders WHERE twice(quantity) > 6

-- Parameters.
-- params: 5, 'paid', 100
SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.quantity > $1 AND o.status = $2 AND c.balance < $3 ORDER BY o.id

-- params: 3, 2
-- types: int4, int8
SELECT id FROM customers ORDER BY name, id LIMIT $1 OFFSET $2

-- params: 1, 8
SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.tenant_id = $1 AND c.tenant_id = $2

-- params: '{3,4}', 'x', 7
SELECT $2::text, stddev(total), $3::int + 1 FROM orders WHERE tenant_id = ANY ($1::int[])

-- params: 4, 4
SELECT stddev(total) FILTER (WHERE quantity = $1) FROM orders WHERE quantity = $1 OR id = $2

-- params: NULL, 'new'
SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.note = $1 AND o.status = $2

-- params: 'Zoë'
SELECT a.id, $1 || b.name FROM customers a JOIN customers b ON a.id = b.id + 1 WHERE a.name = $1 ORDER BY 1

-- params: 'now'
-- types: timestamptz
SELECT stddev(total) FROM orders WHERE placed < $1

-- COPY out.
-- forms: simple
COPY (SELECT status, stddev(total) FROM orders GROUP BY status ORDER BY status) TO STDOUT (FORMAT csv, HEADER, QUOTE '"')

-- forms: simple
COPY (SELECT id, name FROM tenants ORDER BY name, id) TO STDOUT (FORMAT binary)

-- forms: simple
COPY (SELECT a.id FROM customers a JOIN customers b ON a.name = b.name WHERE a.id < 30 ORDER BY 1) TO STDOUT

-- In transactions.
-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (3, 901, 'in block', 7);
SELECT a.id, t.name, stddev(a.amount) OVER () FROM accounts a JOIN tenants t ON t.id = a.tenant_id + 1 WHERE a.id > 890 ORDER BY 1;
UPDATE notes SET body = 'changed' WHERE id = 1;
SELECT n.id, n.body, count(a.id) FROM notes n LEFT JOIN accounts a ON a.hits = n.id GROUP BY n.id ORDER BY 1 LIMIT 5;
ROLLBACK;
SELECT count(*), stddev(amount) FROM accounts WHERE id > 890;

-- script
BEGIN;
UPDATE labels SET title = 'new title' WHERE code = (SELECT min(code) FROM labels);
SELECT l.code, l.title, count(DISTINCT t.plan) FROM labels l, tenants t GROUP BY l.code ORDER BY 1 LIMIT 3;
SAVEPOINT a;
SELECT stddev(1 / (seats - seats)) FROM tenants;
ROLLBACK TO a;
SELECT stddev(seats) FROM tenants;
COMMIT;

-- script
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT stddev(total) FROM orders;
SELECT k.code, count(o.id) FROM countries k LEFT JOIN orders o ON o.quantity = length(k.name) GROUP BY 1 ORDER BY 1;
SELECT * FROM top_customers ORDER BY worth, who LIMIT 2;
COMMIT;

-- multi
SELECT stddev(total) FROM orders; SELECT a.id FROM tenants a JOIN tenants b ON a.id = b.seats ORDER BY 1; SELECT 1

-- Others.
SELECT generate_series(1, seats / 10), stddev(id) OVER () FROM tenants WHERE id < 12 ORDER BY 1, 2

SELECT name, "current_database" FROM (SELECT name, current_database() IS NOT NULL AS "current_database", count(*) OVER () FROM tenants) x ORDER BY name LIMIT 2

SELECT count(*) FROM tenants t JOIN pg_class c ON c.relname = 'tenants' AND t.id > 3

SELECT random() IS NOT NULL, stddev(id) FROM tenants GROUP BY 1

SELECT id IN (SELECT customer_id FROM orders), name FROM customers ORDER BY id LIMIT 5

SELECT (SELECT o.total FROM orders o WHERE o.id = c.id * 10 + 1), c.id FROM customers c WHERE c.tenant_id = 1 ORDER BY c.id LIMIT 5

SELECT x.*, y.* FROM (VALUES (1, 'a'), (2, 'b')) AS x (i, s) JOIN (SELECT id, name, row_number() OVER (ORDER BY id DESC) AS rn FROM tenants) y ON y.rn = x.i ORDER BY 1

SELECT t.id FROM tenants t WHERE t.id = (SELECT id FROM tenants u WHERE u.name = t.name ORDER BY id DESC LIMIT 1) ORDER BY 1

SELECT to_char(placed, 'YYYY-MM'), percentile_disc(0.5) WITHIN GROUP (ORDER BY total) FROM orders GROUP BY 1 HAVING count(*) > 5 ORDER BY 1

TABLE tenants ORDER BY name, id LIMIT 2

SELECT ALL stddev(id) FROM tenants WHERE true AND NOT false

SELECT count(*) AS "all", stddev(o.id) AS "select" FROM orders o WHERE o.id BETWEEN SYMMETRIC 500 AND 100

SELECT tenants.name FROM tenants, LATERAL (SELECT tenants.id + 1 AS n) l WHERE l.n IN (SELECT o.quantity FROM orders o) ORDER BY tenants.name, l.n

-- A table copied out in one piece.
-- forms: simple
COPY tenants TO STDOUT (FORMAT csv, HEADER, NULL 'none')

-- forms: simple
COPY odd ("Id", feel, "od""d name", span) TO STDOUT (FORMAT binary)

-- forms: simple
COPY odd TO STDOUT WITH CSV HEADER FORCE QUOTE note

-- WITH queries used twice, by keys of their own; EXISTS of everything.
WITH x AS (SELECT tenant_id, id, quantity FROM orders) SELECT a.id, b.id FROM x a JOIN x b ON a.quantity = b.quantity WHERE a.tenant_id = 8 AND b.tenant_id = 22 ORDER BY 1, 2

WITH x AS (SELECT tenant_id, quantity FROM orders) SELECT (SELECT count(*) FROM x), (SELECT max(quantity) FROM x WHERE tenant_id = 5), quantity FROM x WHERE tenant_id = 8 ORDER BY 3 NULLS FIRST

SELECT c.id FROM customers c WHERE EXISTS (SELECT * FROM orders o WHERE o.customer_id = c.id AND o.quantity = 8) AND NOT EXISTS (SELECT * FROM order_items NATURAL JOIN products WHERE order_id = c.id) ORDER BY 1

SELECT id FROM tenants t WHERE EXISTS (SELECT * FROM customers WHERE level = t.id ORDER BY 2) ORDER BY name, id

SELECT CASE WHEN quantity > 3 THEN 'z' ELSE status END, id FROM orders ORDER BY status, id LIMIT 12

SELECT coalesce(note, name), lower(name) FROM (SELECT note, status AS name FROM orders WHERE id < 300) x ORDER BY lower, coalesce

-- Conditions carried over equalities of joins: of inner ones, and of outer ones onto the side that they null-extend.
SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.customer_id = 17 ORDER BY 1, 2

SELECT o.id, o.customer_id, c.id, c.name FROM orders o LEFT JOIN customers c ON c.id = o.customer_id AND c.active WHERE o.customer_id IN (7, 8, 9) ORDER BY 1, 3

SELECT o.id, c.id FROM orders o LEFT JOIN customers c ON c.id = o.customer_id AND o.customer_id BETWEEN 20 AND 40 WHERE o.id < 200 ORDER BY 1, 2

SELECT o.id, c.id FROM orders o LEFT JOIN customers c ON c.id = o.customer_id AND c.id < 50 WHERE o.id < 200 ORDER BY 1, 2

SELECT o.id, c.id FROM orders o FULL JOIN customers c ON c.id = o.customer_id WHERE o.customer_id = 17 ORDER BY 1, 2

SELECT o.id, c.id FROM orders o RIGHT JOIN customers c ON c.id = o.customer_id WHERE c.id <= 12 ORDER BY 1, 2

SELECT o.id, c.id, p.id FROM orders o JOIN customers c ON c.id = o.customer_id JOIN orders p ON p.customer_id = c.id AND p.id <> o.id WHERE p.customer_id < 15 ORDER BY 1, 2, 3

SELECT count(*) FROM orders o JOIN customers c ON c.level = o.quantity WHERE o.quantity = 3

SELECT o.id, i.line FROM orders o, order_items i WHERE i.order_id = o.id AND i.quantity = o.quantity AND o.quantity >= 4 AND i.order_id < 120 AND o.tenant_id <> i.tenant_id + 1 ORDER BY 1, 2

SELECT a.t, b.t FROM sparse a JOIN sparse b ON b.t = a.t AND b.id <> a.id WHERE a.t IN ('a', 'b', 'x') ORDER BY 1, 2

SELECT c.id FROM customers c WHERE EXISTS (SELECT FROM orders o JOIN customers d ON d.id = o.customer_id WHERE o.customer_id = 30 AND d.level = c.level) ORDER BY 1

WITH x AS (SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.customer_id = 17) SELECT a.id, b.name FROM x a JOIN x b ON a.id < b.id ORDER BY 1, 2

-- Rows without a partner on their own shard stay there: inner joins, outer ones in both directions, chains, reference tables, the same
-- table twice, ONLY, conditions that hold for the NULLs of an outer join.
SELECT o.id, c.name FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id WHERE c.level = 3 AND o.quantity > 2 ORDER BY c.name, o.id

SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id AND c.level = 3 WHERE o.quantity > 5 ORDER BY c.name, o.id

SELECT o.id, c.name FROM orders o RIGHT JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id AND o.quantity > 5 WHERE c.level = 3 ORDER BY c.name, o.id, c.id, c.tenant_id

SELECT o.id, c.name FROM orders o FULL JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id WHERE c.level = 3 OR o.quantity > 7 ORDER BY c.name, o.id, c.id

SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id WHERE c.level = 3 OR c.level IS NULL ORDER BY c.name, o.id

SELECT o.id, c.name, i.line FROM tenants t JOIN orders o ON o.tenant_id = t.id LEFT JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id AND c.active LEFT JOIN order_items i ON i.tenant_id = c.tenant_id AND i.order_id = o.id AND i.quantity > 2 WHERE t.plan = 'free' ORDER BY c.name, o.id, i.line

SELECT count(*), count(DISTINCT c.name), stddev(i.quantity) FROM customers c, orders o, order_items i WHERE o.tenant_id = c.tenant_id AND o.customer_id = c.id AND i.tenant_id = o.tenant_id AND i.order_id = o.id AND c.level > 4 AND o.status <> 'new'

SELECT i.order_id, p.name, i.line FROM order_items i JOIN products p ON p.id = i.product_id JOIN orders o ON o.tenant_id = i.tenant_id AND o.id = i.order_id WHERE p.price > 50 AND o.quantity < 4 ORDER BY p.name, 1, 3

SELECT i.order_id, p.name, i.line FROM order_items i LEFT JOIN products p ON p.id = i.product_id AND p.price > 50 ORDER BY p.name, 1, 3 LIMIT 40

SELECT a.id, b.id FROM orders a JOIN orders b ON a.tenant_id = b.tenant_id AND a.customer_id = b.customer_id AND a.id < b.id JOIN tenants t ON t.id = b.tenant_id WHERE b.quantity = 3 AND a.status = 'paid' ORDER BY t.name, 1, 2

SELECT count(*) FROM customers JOIN orders USING (tenant_id) WHERE customers.level = 2 AND orders.quantity = 4 AND orders.note IS DISTINCT FROM customers.name

SELECT s.name, o.id FROM settings s LEFT JOIN (orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id AND c.level = 1) ON length(s.name) = o.quantity ORDER BY 1, 2

SELECT t.name, x.n FROM tenants t JOIN LATERAL (SELECT count(*) AS n FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id WHERE c.level = 5 AND o.quantity = t.seats) x ON true ORDER BY 1, 2

SELECT name FROM customers c WHERE EXISTS (SELECT FROM ONLY orders JOIN order_items i ON i.tenant_id = orders.tenant_id AND i.order_id = orders.id WHERE i.quantity = 3 AND orders.status = 'paid' AND orders.customer_id = c.id) ORDER BY name, id

WITH x AS (SELECT o.id, c.name FROM orders o JOIN customers c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id WHERE c.level = 2) SELECT a.name, count(*) FROM x a JOIN x b ON a.id <> b.id AND a.name = b.name GROUP BY 1 ORDER BY 1

-- params: 3, 'paid'
SELECT c.name, o.id FROM orders o, customers c, products p WHERE c.tenant_id = o.tenant_id AND c.id = o.customer_id AND c.level = $1 AND p.id = o.quantity AND o.status = $2 ORDER BY c.name, o.id

-- script
BEGIN;
UPDATE accounts SET hits = 7 WHERE tenant_id = 8;
SELECT a.owner, t.id FROM accounts a JOIN transfers t ON t.tenant_id = a.tenant_id AND t.account_id = a.id WHERE a.hits = 7 ORDER BY a.owner COLLATE "en_US", t.id;
SELECT a.owner, t.id, l.title FROM accounts a LEFT JOIN transfers t ON t.tenant_id = a.tenant_id AND t.account_id = a.id JOIN labels l ON l.rank = a.id WHERE t.amount > 5 OR t.id IS NULL ORDER BY l.title, a.tenant_id, t.id;
ROLLBACK;

-- Values of what was pulled first go with what is pulled later: every kind of join, keys of text, dates, numeric, uuid, NULLs among
-- them, none at all, chains of three, tables of the home shard, IN, EXISTS and NOT EXISTS, and more values than are sent.
SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.name = 'Ann' ORDER BY 1, 2, c.tenant_id

SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON c.id = o.quantity WHERE o.status = 'paid' ORDER BY 1, c.tenant_id

SELECT o.id, c.id FROM orders o RIGHT JOIN customers c ON c.id = o.customer_id AND o.status = 'paid' WHERE c.level = 2 ORDER BY 2, c.tenant_id, 1

SELECT o.id, c.id FROM orders o FULL JOIN customers c ON c.id = o.customer_id AND o.status = 'paid' WHERE c.level = 2 ORDER BY 2, c.tenant_id, 1

SELECT count(*), min(i.line) FROM customers c JOIN orders o ON o.customer_id = c.id JOIN order_items i ON i.order_id = o.id WHERE c.level = 1 AND c.tenant_id <> i.tenant_id

SELECT count(*) FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.email = 'nobody'

SELECT c.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.status = 'none' WHERE c.level = 3 ORDER BY 1, c.tenant_id

SELECT r.region, m.day, m.series FROM region_stats r JOIN metrics m ON m.series = r.year - 2020 WHERE r.region = 'eu' ORDER BY 1, 2, 3

SELECT m.day, r.v FROM metrics m JOIN readings r ON r.day = m.day WHERE m.series = 2 ORDER BY 1, 2

SELECT k.key, w.n FROM words w JOIN kv k ON k.key = w.word WHERE w.n < 8 ORDER BY k.key COLLATE "C"

SELECT k.key, t.id FROM kv k JOIN customers t ON t.nick = k.key WHERE k.version = 1 ORDER BY 1, 2, t.tenant_id

SELECT e.seq, s.who FROM sessions s JOIN events e ON e.device = s.token WHERE s.who IS NOT NULL ORDER BY 1, 2

SELECT v.v, o.total FROM void v RIGHT JOIN orders o ON o.total = v.v WHERE o.quantity = 2 ORDER BY 2, o.id, o.tenant_id

SELECT a.id, o.id FROM orders a JOIN orders o ON o.discount = a.discount AND o.id > a.id WHERE a.quantity = 2 ORDER BY 1, 2, a.tenant_id, o.tenant_id

SELECT s.name, k.version FROM settings s JOIN kv k ON k.key = s.name ORDER BY 1

SELECT s.name, k.version FROM settings s LEFT JOIN kv k ON k.key = s.value WHERE s.name > 'a' ORDER BY 1, 2

SELECT a.who, t.name FROM audit a JOIN tenants t ON t.id = a.id WHERE a.who LIKE '%a%' ORDER BY 1, 2

SELECT a.who, t.name FROM tenants t LEFT JOIN audit a ON t.id = a.id AND a.id < 7 ORDER BY t.id, 1

SELECT id FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE level = 4) AND status = 'new' ORDER BY id, tenant_id

SELECT id FROM orders WHERE customer_id NOT IN (SELECT id FROM customers WHERE level = 4) AND status = 'new' ORDER BY id, tenant_id

SELECT id FROM orders WHERE (customer_id, quantity) IN (SELECT id, level FROM customers WHERE active) ORDER BY id, tenant_id

SELECT c.name FROM customers c WHERE EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 3) AND c.level = 2 ORDER BY c.name, c.id, c.tenant_id

SELECT c.name FROM customers c WHERE NOT EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id) AND c.level = 2 ORDER BY c.name, c.id, c.tenant_id

SELECT c.name, (SELECT max(o.total) FROM orders o WHERE o.customer_id = c.id) FROM customers c WHERE c.level = 2 ORDER BY c.name, c.id, c.tenant_id

SELECT x.customer_id, x.n, c.name FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) x JOIN customers c ON c.id = x.customer_id WHERE c.level = 5 ORDER BY 1, 3, c.tenant_id

SELECT x.customer_id, x.n, c.name FROM (SELECT customer_id, row_number() OVER (ORDER BY id, tenant_id) AS n FROM orders) x JOIN customers c ON c.id = x.customer_id WHERE c.level = 5 ORDER BY 2, 3, c.tenant_id

SELECT x.id, c.name FROM (SELECT id, customer_id FROM orders ORDER BY id, tenant_id LIMIT 30) x JOIN customers c ON c.id = x.customer_id WHERE c.level < 5 ORDER BY 1, 2, c.tenant_id

SELECT x.customer_id, c.name FROM (SELECT DISTINCT ON (status) status, customer_id FROM orders ORDER BY status, id, tenant_id) x JOIN customers c ON c.id = x.customer_id WHERE c.level < 5 ORDER BY 1, 2, c.tenant_id

WITH x AS (SELECT id, customer_id FROM orders) SELECT a.id, c.name FROM x a JOIN customers c ON c.id = a.customer_id JOIN x b ON b.id = a.id WHERE c.level = 2 ORDER BY 1, 2, c.tenant_id

WITH RECURSIVE r AS (SELECT o.id, 1 AS depth FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.level = 2 AND o.tenant_id < 9 UNION SELECT o.id, depth + 1 FROM orders o JOIN r ON o.customer_id = r.id WHERE depth < 4) SELECT * FROM r ORDER BY 1, 2

SELECT o.id FROM orders o JOIN customers c USING (tenant_id) JOIN tenants t ON t.id = c.level WHERE t.plan = 'pro' AND o.quantity = 3 ORDER BY 1, c.id

SELECT count(*) FROM orders o JOIN order_items i ON i.order_id = o.id WHERE o.quantity > 0

SELECT g.n, o.id FROM generate_series(1, 3) g(n) JOIN orders o ON o.quantity = g.n JOIN customers c ON c.id = o.id WHERE c.level = 1 ORDER BY 1, 2, c.tenant_id, o.tenant_id

-- params: 'Ann', 2
SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id JOIN settings s ON s.name <> c.name WHERE c.name = $1 AND o.quantity > $2 ORDER BY o.id, c.tenant_id, s.name

-- params: 'a'
SELECT s.name, k.version FROM settings s JOIN kv k ON k.key = s.name WHERE s.name > $1 ORDER BY 1

-- script
BEGIN;
UPDATE accounts SET owner = 'moved' WHERE tenant_id = 8 AND id = 3;
SELECT a.id, c.id FROM accounts a JOIN customers c ON c.id = a.id WHERE a.owner = 'moved' ORDER BY 1, 2, c.tenant_id;
INSERT INTO notes VALUES (90, 'eu');
SELECT n.body, r.year FROM notes n JOIN region_stats r ON r.region = n.body WHERE n.id = 90 ORDER BY 2;
ROLLBACK;

-- script
SET default_transaction_isolation = 'serializable';
SELECT s.name, k.version FROM settings s JOIN kv k ON k.key = s.name WHERE s.name > 'a' ORDER BY 1;
RESET default_transaction_isolation;

-- COLLATE behind a cast.
SELECT id, level::text COLLATE "C" FROM customers WHERE tenant_id IN (2, 3) ORDER BY level::text COLLATE "C" NULLS FIRST, id LIMIT 20

SELECT max(level::text COLLATE "C"), count(DISTINCT nick::text COLLATE "POSIX") FROM customers

SELECT status::text COLLATE "C", count(*) FROM orders GROUP BY 1 ORDER BY 1

SELECT id, name FROM customers ORDER BY id USING < LIMIT 7

SELECT id, score FROM customers ORDER BY score USING > NULLS LAST, id USING < LIMIT 9 OFFSET 3

SELECT id, nick FROM customers ORDER BY nick USING <, id USING > LIMIT 12

SELECT id FROM customers ORDER BY id USING OPERATOR(pg_catalog.>) LIMIT 4

SELECT id, nick FROM customers ORDER BY nick USING ~<~, id LIMIT 5

-- A row of a view that groups.
-- forms: simple, text, portal
SELECT s FROM customer_sums s ORDER BY s.tenant_id, s.who, s.worth, s.orders

-- forms: simple, text, portal
SELECT t, t.who FROM top_customers t ORDER BY t.worth, t.who LIMIT 5

-- A subquery that is written twice is one expression.
SELECT EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2), count(*) FROM customers c GROUP BY EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2) ORDER BY 1

-- error: 42803
SELECT EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2), count(*) FROM customers c GROUP BY EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 3) ORDER BY 1

-- params: 2
SELECT EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = $1), count(*) FROM customers c GROUP BY EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = $1) ORDER BY 1

-- params: 2, 2
-- forms: text, binary, portal
-- error: 42803
SELECT EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = $1), count(*) FROM customers c GROUP BY EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = $2) ORDER BY 1

SELECT CASE WHEN (SELECT max(o.quantity) FROM orders o WHERE o.customer_id = c.id AND o.quantity < 3) > 1 THEN 'many' ELSE 'few' END, count(*) FROM customers c GROUP BY CASE WHEN (SELECT max(o.quantity) FROM orders o WHERE o.customer_id = c.id AND o.quantity < 3) > 1 THEN 'many' ELSE 'few' END ORDER BY 1

SELECT c.level IN (SELECT o.quantity FROM orders o WHERE o.tenant_id = 3), count(*) FROM customers c GROUP BY c.level IN (SELECT o.quantity FROM orders o WHERE o.tenant_id = 3) HAVING c.level IN (SELECT o.quantity FROM orders o WHERE o.tenant_id = 3) IS NOT NULL ORDER BY 1

SELECT DISTINCT EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2) FROM customers c ORDER BY EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2)

SELECT DISTINCT ON (EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2)) id, tenant_id FROM customers c ORDER BY EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2), id, tenant_id

SELECT EXISTS (SELECT FROM orders o JOIN order_items i ON i.tenant_id = o.tenant_id AND i.order_id = o.id WHERE o.customer_id = c.id AND o.quantity > 1), count(*) FROM customers c GROUP BY EXISTS (SELECT FROM orders o JOIN order_items i ON i.tenant_id = o.tenant_id AND i.order_id = o.id WHERE o.customer_id = c.id AND o.quantity > 1) ORDER BY 1

SELECT EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2), EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 3), count(*) FROM customers c GROUP BY EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2), EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 3) ORDER BY EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 3), EXISTS (SELECT FROM orders o WHERE o.customer_id = c.id AND o.quantity = 2)

SELECT n, q, numnode(q) FROM (SELECT CASE WHEN id % 2 = 0 THEN ts_rewrite('a'::tsquery, 'a'::tsquery, to_tsquery('english', 'the')) ELSE 'cat'::tsquery END AS q, row_number() OVER (ORDER BY id, tenant_id) AS n FROM customers) z WHERE n < 9 ORDER BY n
