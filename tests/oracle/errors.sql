-- Errors: the SQLSTATE that one Postgres gives.

-- error: 42601
SELEC 1

-- error: 42601
SELECT FROM WHERE

-- error: 42601
SELECT id FROM tenants WHERE id = 5 AND

-- error: 42601
SELECT 'unterminated

-- error: 42601
SELECT (1

-- error: 42P01
SELECT * FROM nothing

-- error: 42P01
SELECT * FROM nothing WHERE tenant_id = 1

-- error: 42P01
SELECT * FROM tenants t JOIN nothing n ON n.id = t.id WHERE t.id = 5

-- error: 42P01
SELECT x.id FROM tenants t WHERE id = 5

-- error: 3F000
SELECT * FROM nowhere.tenants WHERE id = 5
-- error: 42P01

-- error: 42703
SELECT nothing FROM tenants

-- error: 42703
SELECT nothing FROM tenants WHERE id = 5

-- error: 42703
SELECT id FROM tenants WHERE nothing = 5

-- error: 42702
SELECT id FROM tenants t JOIN orders o ON o.tenant_id = t.id WHERE t.id = 5

-- error: 42883
SELECT nofunction(id) FROM tenants

-- error: 42883
SELECT id FROM tenants WHERE name + 1 = 2

-- error: 22012
SELECT 1 / 0

-- error: 22012
SELECT id / 0 FROM tenants WHERE id = 5

-- error: 22012
SELECT id / (id - 5) FROM tenants

-- error: 22012
SELECT sum(1 / (id - 20)) FROM tenants

-- error: 22003
SELECT 2147483647 + id FROM tenants

-- error: 22P02
SELECT name::int FROM tenants WHERE id = 8

-- error: 22P02
SELECT name::int FROM tenants ORDER BY 1

-- error: 42804
SELECT id FROM tenants WHERE name

-- error: 42804
SELECT CASE WHEN id THEN 1 END FROM tenants

-- error: 42712
SELECT 1 FROM tenants, tenants

-- error: 42P02|08P01
SELECT id FROM tenants WHERE id = $1

-- error: 08P01
-- forms: text
SELECT $1

-- error: 42704
SELECT id::notype FROM tenants

-- error: 42725
SELECT '2024-01-01' - '2023-01-01'

-- error: 22021|42601
-- forms: text
SELECT E'\xff'

-- error: 22023
SELECT * FROM generate_series(1, 10, 0)

-- error: 42846
SELECT id::uuid FROM tenants WHERE id = 5

-- error: 42P10
SELECT id FROM tenants ORDER BY 7

-- error: 42601
INSERT INTO tenants VALUES (1, 2

-- error: 42P01
INSERT INTO nothing VALUES (1)

-- error: 42P01
UPDATE nothing SET x = 1

-- error: 42P01
DELETE FROM nothing

-- error: 42809
DELETE FROM order_count
-- error: 42P01

-- error: 42601
COMMIT TRANSACTION NOW

-- error: 42704
SET no_such_parameter = 1

-- error: 42704
SHOW no_such_parameter

-- error: 22023
SET work_mem = 'lots'

-- error: 26000
-- forms: simple
EXECUTE nothing_prepared

-- error: 34000
-- forms: simple
FETCH 1 FROM no_cursor

-- error: 25P01
-- forms: simple
DECLARE c CURSOR FOR SELECT 1

-- forms: simple
DO $$ BEGIN RAISE NOTICE 'hello'; END $$

-- error: P0001
-- forms: simple
DO $$ BEGIN RAISE EXCEPTION 'no'; END $$

-- error: 54001|2BP01|42P01
DROP TABLE nothing

-- error: 42501|0LP01|42704
DROP ROLE nobody_here

-- error: 54000|22003
SELECT repeat('x', 2000000000)

-- error: 22008
SELECT n FROM readings WHERE day = '2023-02-29'

-- error: 22007
SELECT n FROM readings WHERE day = 'tomorrowish'

-- error: 22008
DELETE FROM readings WHERE day = '2023-13-01'

-- error: 22008
UPDATE readings SET v = 1 WHERE day IN ('2024-01-05', '2024-01-32')

-- error: 22008
INSERT INTO readings VALUES ('2023-02-29', 4, 4)

-- error: 22003
SELECT * FROM accounts WHERE tenant_id = '3000000000'

-- error: 22P02
SELECT * FROM accounts WHERE tenant_id = 'x'

-- error: 22P02
INSERT INTO sessions VALUES ('not-a-uuid', 'x')

-- error: 22003
INSERT INTO accounts (tenant_id, id) VALUES ('99999999999', 1)
