-- Parameters in every place; portals in pieces; the unnamed statement.

-- params: 5
SELECT id, name FROM tenants WHERE id = $1 OR id = $1 + 1 ORDER BY id

-- params: 5, 'free'
SELECT id, plan FROM tenants WHERE ($2 = 'free' AND id = $1) OR plan IS NULL ORDER BY id

-- params: 'paid', 3
SELECT status, count(*) FROM orders WHERE status >= $1 GROUP BY status HAVING count(*) > $2 ORDER BY status

-- params: 10, 5
SELECT id FROM orders WHERE id % $1 = $2 ORDER BY id

-- params: 2
SELECT id, id * $1 AS twice FROM tenants ORDER BY id LIMIT 7

-- params: 2
SELECT sum(quantity * $1), count(*) FROM orders

-- params: 'x'
SELECT $1 || name FROM tenants WHERE id < 4 ORDER BY id

-- params: 3
SELECT id % $1 AS m, count(*) FROM tenants GROUP BY 1 ORDER BY 1

-- params: 1, 20
SELECT id FROM orders WHERE tenant_id = $1 ORDER BY id LIMIT $2

-- params: 1, 20
-- types: -, int8
SELECT tenant_id, id FROM orders WHERE tenant_id >= $1 ORDER BY tenant_id, id OFFSET $2 LIMIT 10

-- params: '{1,8}', 'new'
SELECT tenant_id, count(*) FROM orders WHERE tenant_id = ANY($1::int[]) AND status <> $2 GROUP BY tenant_id ORDER BY 1

-- params: 8
SELECT t.name, o.id FROM tenants t JOIN orders o ON o.tenant_id = t.id WHERE t.id = $1 ORDER BY o.id

-- params: '2024-01-01 00:00:00+00', '2024-02-01 00:00:00+00'
SELECT count(*), sum(total) FROM orders WHERE placed >= $1 AND placed < $2

-- params: 100
-- types: int8
SELECT $1

-- params: 'abc'
-- types: varchar
SELECT version FROM kv WHERE key = $1

-- params: 'key42'
-- types: varchar
SELECT version FROM kv WHERE key = $1

-- params: 'key42  '
-- types: bpchar
SELECT version FROM kv WHERE key = $1

-- params: '2024-01-05'
-- types: timestamp
SELECT count(*) FROM metrics WHERE day = $1

-- params: '2024-01-05'
-- types: text
SELECT count(*) FROM metrics WHERE day = $1::date

-- params: '550e8400-e29b-41d4-a716-446655440000'
-- types: uuid
SELECT count(*) FROM events WHERE device = $1

-- params: '{550e8400-e29b-41d4-a716-446655440000}'
-- types: uuid[]
SELECT count(*) FROM events WHERE device = ANY($1)

-- params: 'not a number'
-- error: 22P02
SELECT name FROM tenants WHERE id = $1

-- params: '99999999999'
-- error: 22003
-- forms: text
SELECT name FROM tenants WHERE id = $1

-- params: 5, 6
-- error: 08P01
-- forms: text
SELECT name FROM tenants WHERE id = $1

-- params: 5
-- error: 08P01
-- forms: text
SELECT name FROM tenants WHERE id = $1 OR id = $2

-- params: 5
-- forms: text, binary, portal
SELECT name FROM tenants WHERE id = $1 AND $1 > 0

SELECT id FROM orders ORDER BY id LIMIT 20

SELECT id, note FROM orders WHERE tenant_id = 1 ORDER BY id LIMIT 20

-- forms: text, binary
SELECT 1; SELECT 2
-- error: 42601

-- forms: text, binary

 ;

-- Statements that are prepared in SQL.

-- script
PREPARE p (int) AS SELECT id, name FROM tenants WHERE id = $1;
PREPARE all_of (text) AS SELECT id, plan FROM tenants WHERE plan = $1 ORDER BY id;
PREPARE middle AS SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM orders WHERE total > $1;
PREPARE grouped AS SELECT status, count(*), sum(total) FROM orders WHERE quantity >= $1 GROUP BY status ORDER BY status;
EXECUTE p(5);
EXECUTE p('6');
EXECUTE p(NULL);
EXECUTE all_of('free');
EXECUTE middle(10.5);
EXECUTE middle(100);
EXECUTE grouped(2);
EXECUTE grouped(length('ab'));
EXECUTE all_of(5);
EXECUTE p(true);
EXECUTE p(1, 2);
PREPARE p AS SELECT 1;
DEALLOCATE p;
EXECUTE p(5);
DEALLOCATE ALL;
EXECUTE grouped(2);

-- script
PREPARE put (int, int, text) AS INSERT INTO accounts (tenant_id, id, note) VALUES ($1, $2, $3) RETURNING id;
PREPARE put_two (int, int) AS INSERT INTO accounts (tenant_id, id, note) VALUES ($1, 7001, 'x'), ($2, 7001, 'y');
PREPARE mark (text) AS UPDATE accounts SET note = $1 WHERE note IN ('x', 'y');
PREPARE wipe AS DELETE FROM accounts WHERE id > 7000;
BEGIN;
EXECUTE put(1, 7000, 'one');
EXECUTE put_two(1, 8);
EXECUTE mark('seen');
SELECT tenant_id, id, note FROM accounts WHERE id >= 7000 ORDER BY tenant_id, id;
SAVEPOINT s;
EXECUTE put(1, 7000, 'again');
ROLLBACK TO s;
EXECUTE wipe;
ROLLBACK;
SELECT count(*) FROM accounts WHERE id >= 7000;
BEGIN;
PREPARE later AS SELECT count(*) FROM orders;
ROLLBACK;
EXECUTE later;

-- script
PREPARE p (int) AS SELECT id FROM orders WHERE tenant_id = $1 ORDER BY id LIMIT 4;
BEGIN;
SELECT 1 / 0;
EXECUTE p(1);
DEALLOCATE p;
PREPARE q AS SELECT 1;
ROLLBACK;
EXECUTE p(8);
EXPLAIN EXECUTE nothing(1);
CREATE TABLE from_nothing AS EXECUTE nothing(1);
