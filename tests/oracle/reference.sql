-- Reference tables, unsharded tables, and statements without any table.

SELECT * FROM products ORDER BY id

SELECT name, count(*) FROM products GROUP BY name ORDER BY name

SELECT * FROM countries WHERE code = 'X'

SELECT * FROM countries ORDER BY name LIMIT 3

-- params: 'SKU-0042'
SELECT * FROM products WHERE sku = $1

SELECT avg(price), stddev(weight), percentile_disc(0.5) WITHIN GROUP (ORDER BY price) FROM products

SELECT p.name, c.name FROM products p JOIN countries c ON length(c.name) = p.id ORDER BY 1, 2

SELECT * FROM settings ORDER BY name

SELECT s.name, a.id FROM settings s JOIN audit a ON a.id::text = s.value ORDER BY 1

SELECT who, count(*), max(at) FROM audit GROUP BY who ORDER BY who NULLS FIRST

WITH RECURSIVE r AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM r WHERE id < 5) SELECT r.id, n.body FROM r JOIN notes n USING (id) ORDER BY 1

SELECT n.id, p.sku FROM notes n JOIN products p USING (id) ORDER BY 1

SELECT 1

SELECT 1 AS one, 'x' AS "Two", NULL

SELECT 1; 

SELECT

SELECT * FROM generate_series(1, 5) AS g (n) ORDER BY n DESC

SELECT count(*) FROM generate_series(1, 100000)

SELECT md5('x'), length('äöü'), upper('ß'), 7 / 2, 7 % -2, 2 ^ 0.5

SELECT current_user, current_schema, session_user

SELECT current_setting('server_version_num')::int > 0

SELECT pg_typeof(1), pg_typeof('x'::text)

SELECT coalesce(NULL, 'a'), greatest(1, 2), CASE WHEN 1 > 2 THEN 'x' END

SELECT 'a' 'b'
-- error: 42601

SELECT ''

-- params: 20, 22
SELECT $1::int + $2::int AS sum

SELECT repeat('x', 100000)

SELECT interval '1 day' * 3, date '2024-02-28' + 2, timestamp '2024-01-01' - timestamp '2023-12-31 12:00'
