INSERT INTO tenant_1.accounts VALUES (10, 'ten', 10, 'sad'), (11, 'eleven', 11, NULL) ON CONFLICT (id) DO UPDATE SET balance = accounts.balance + 1 RETURNING *

-- params: 12, 'twelve'
INSERT INTO tenant_2.accounts (id, owner) VALUES ($1, $2) ON CONFLICT DO NOTHING

UPDATE tenant_1.accounts SET balance = balance * 2 WHERE id = 10 RETURNING balance

DELETE FROM tenant_2.orders WHERE id > 11 RETURNING id, note

UPDATE tenant_3.orders o SET note = a.owner FROM tenant_3.accounts a WHERE a.id = o.account AND o.id < 3

WITH gone AS (DELETE FROM tenant_3.orders WHERE id = 12 RETURNING note) SELECT * FROM gone

WITH new AS (INSERT INTO tenant_3.orders (account, note) VALUES (1, 'cte') RETURNING note) SELECT note FROM new

MERGE INTO tenant_1.accounts a USING (VALUES (10, 'ten again'), (13, 'thirteen')) v (id, owner) ON v.id = a.id WHEN MATCHED THEN UPDATE SET owner = v.owner WHEN NOT MATCHED THEN INSERT (id, owner) VALUES (v.id, v.owner)

INSERT INTO tenant_2.orders (account, plan, note) SELECT account, plan, 'copy' FROM tenant_2.orders WHERE id < 3

INSERT INTO tenant_10.accounts (id, owner) SELECT 100 + g, 'made' FROM generate_series(1, 3) g ON CONFLICT DO NOTHING

-- stdin: 1\tcopied\n2\t\N\n
COPY tenant_1.orders (account, note) FROM STDIN

-- error: 23503
INSERT INTO tenant_1.orders (account) VALUES (999)

-- error: 23505
INSERT INTO tenant_2.accounts VALUES (1, 'again')

-- error: 22P02
INSERT INTO tenant_2.accounts (id, owner, mood) VALUES (500, 'x', 'angry')

-- Two tenants in one transaction: on both shards, or on none.
-- script
BEGIN;
UPDATE tenant_1.accounts SET balance = balance - 1 WHERE id = 1;
UPDATE tenant_2.accounts SET balance = balance + 1 WHERE id = 1;
SELECT a.balance + b.balance FROM tenant_1.accounts a, tenant_2.accounts b WHERE a.id = 1 AND b.id = 1;
COMMIT;
SELECT balance FROM tenant_1.accounts WHERE id = 1;
SELECT balance FROM tenant_2.accounts WHERE id = 1;

-- script
BEGIN;
UPDATE tenant_1.accounts SET balance = 0;
UPDATE tenant_3.accounts SET balance = 0;
INSERT INTO audit VALUES (100, 'gone');
ROLLBACK;
SELECT sum(balance) FROM tenant_1.accounts;
SELECT sum(balance) FROM tenant_3.accounts;
SELECT count(*) FROM audit WHERE id = 100;

-- script
BEGIN;
DELETE FROM tenant_1.orders WHERE id = 5;
SAVEPOINT a;
DELETE FROM tenant_2.orders WHERE id = 5;
DELETE FROM tenant_2.accounts WHERE id = 1;
SELECT 1;
ROLLBACK TO a;
SELECT count(*) FROM tenant_2.orders WHERE id = 5;
COMMIT;
SELECT count(*) FROM tenant_1.orders WHERE id = 5;

-- script
SET search_path TO tenant_2;
BEGIN;
LOCK TABLE accounts IN SHARE MODE;
SELECT owner FROM accounts WHERE id = 1 FOR UPDATE;
DECLARE c CURSOR FOR SELECT id, owner FROM accounts ORDER BY id;
FETCH 2 FROM c;
SET LOCAL search_path TO tenant_1;
FETCH 1 FROM c;
SELECT owner FROM accounts WHERE id = 3;
CLOSE c;
COMMIT;

-- A cursor over two tenants.
-- script
BEGIN;
DECLARE c CURSOR FOR SELECT a.owner, b.owner FROM tenant_1.accounts a JOIN tenant_2.accounts b USING (id) ORDER BY id;
FETCH 2 FROM c;
FETCH 2 FROM c;
ROLLBACK;

TRUNCATE tenant_3.orders

TRUNCATE tenant_1.orders, tenant_10.orders RESTART IDENTITY

INSERT INTO tenant_10.orders (account, note) VALUES (1, 'first again') RETURNING id
