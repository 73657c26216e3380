-- Scripts on one connection: each step is a message of its own.

-- script
BEGIN;
SELECT name FROM tenants WHERE id = 5;
COMMIT;

-- script
BEGIN;
UPDATE accounts SET note = 'in txn' WHERE tenant_id = 1;
SELECT id, note FROM accounts WHERE tenant_id = 1 ORDER BY id;
ROLLBACK;
SELECT count(*) FROM accounts WHERE note = 'in txn';

-- script
BEGIN;
UPDATE accounts SET note = 'committed' WHERE tenant_id = 1;
COMMIT;
SELECT count(*) FROM accounts WHERE note = 'committed';

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id) VALUES (1, 9001);
INSERT INTO accounts (tenant_id, id) VALUES (2, 9002);
INSERT INTO accounts (tenant_id, id) VALUES (3, 9003), (4, 9004);
SELECT tenant_id, id FROM accounts WHERE id > 9000 ORDER BY id;
ROLLBACK;
SELECT count(*) FROM accounts WHERE id > 9000;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id) VALUES (1, 9011), (2, 9012), (3, 9013), (4, 9014);
UPDATE accounts SET note = 'both' WHERE id IN (9011, 9013);
COMMIT;
SELECT tenant_id, id, note FROM accounts WHERE id > 9000 ORDER BY id;
DELETE FROM accounts WHERE id > 9000;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id) VALUES (1, 9021);
INSERT INTO accounts (tenant_id, id) VALUES (2, 1);
SELECT 1;
COMMIT;
SELECT count(*) FROM accounts WHERE id = 9021;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id) VALUES (1, 9031);
SAVEPOINT a;
INSERT INTO accounts (tenant_id, id) VALUES (2, 9032);
ROLLBACK TO a;
INSERT INTO accounts (tenant_id, id) VALUES (3, 9033);
RELEASE a;
COMMIT;
SELECT tenant_id, id FROM accounts WHERE id > 9000 ORDER BY id;
DELETE FROM accounts WHERE id > 9000;

-- script
BEGIN;
SAVEPOINT s;
SELECT 1/0;
SELECT 1;
ROLLBACK TO SAVEPOINT s;
SELECT id FROM tenants WHERE id = 5;
COMMIT;

-- script
BEGIN;
SELECT id FROM tenants WHERE id = 5;
SAVEPOINT s;
UPDATE accounts SET hits = -5 WHERE tenant_id = 3;
ROLLBACK TO s;
SELECT count(*) FROM accounts WHERE tenant_id = 3;
ROLLBACK TO s;
RELEASE SAVEPOINT s;
ROLLBACK TO s;
ROLLBACK;

-- script
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
RELEASE a;
ROLLBACK TO b;
ROLLBACK;

-- script
BEGIN;
SELECT broken FROM tenants WHERE id = 1;
SELECT id FROM tenants WHERE id = 5;
COMMIT;
SELECT 1;

-- script
BEGIN;
SELEC 1;
SELECT 1;
ROLLBACK;

-- script
COMMIT;

-- script
ROLLBACK;

-- script
BEGIN;
BEGIN;
COMMIT;

-- script
SAVEPOINT outside;

-- script
ROLLBACK TO outside;

-- script
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SHOW transaction_isolation;
SHOW transaction_read_only;
SELECT count(*) FROM tenants WHERE id = 5;
UPDATE accounts SET note = 'x' WHERE tenant_id = 1;
ROLLBACK;

-- script
BEGIN;
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
SHOW transaction_isolation;
SELECT count(*) FROM orders WHERE tenant_id = 8;
END;
SHOW transaction_isolation;

-- script
START TRANSACTION;
SELECT 1;
ABORT;

-- script
BEGIN;
COMMIT AND CHAIN;
SELECT 1;
ROLLBACK;

-- script
BEGIN;
SET LOCAL timezone = 'Asia/Tokyo';
SHOW timezone;
COMMIT;
SHOW timezone;

-- script
BEGIN;
SET timezone = 'Asia/Tokyo';
SHOW timezone;
ROLLBACK;
SHOW timezone;

-- script
BEGIN;
SET timezone = 'Asia/Tokyo';
SAVEPOINT s;
SET timezone = 'Europe/Berlin';
ROLLBACK TO s;
SHOW timezone;
COMMIT;
SHOW timezone;

-- script
SET timezone = 'Asia/Tokyo';
SELECT created FROM customers WHERE tenant_id = 8 ORDER BY id LIMIT 2;
SELECT id, created FROM customers ORDER BY created LIMIT 3;
RESET timezone;
SELECT id, created FROM customers ORDER BY created LIMIT 3;

-- script
BEGIN;
LOCK TABLE notes IN EXCLUSIVE MODE;
UPDATE notes SET body = 'locked' WHERE id = 1;
ROLLBACK;

-- script
BEGIN;
DELETE FROM labels;
SELECT count(*) FROM labels;
ROLLBACK;
SELECT count(*) FROM labels;

-- script
BEGIN;
INSERT INTO labels VALUES ('t1', 'Txn', 1);
INSERT INTO accounts (tenant_id, id, note) VALUES (5, 9041, 't1');
INSERT INTO notes VALUES (9041, 't1');
SELECT l.title, a.id FROM labels l JOIN accounts a ON a.note = l.code WHERE a.tenant_id = 5;
COMMIT;
SELECT l.code, a.tenant_id FROM labels l JOIN accounts a ON a.note = l.code WHERE a.tenant_id = 5;
DELETE FROM accounts WHERE id = 9041;
DELETE FROM labels WHERE code = 't1';
DELETE FROM notes WHERE id = 9041;

-- script
BEGIN;
SELECT id FROM tenants WHERE id IN (1, 2, 3, 4) ORDER BY id FOR UPDATE;
SELECT id FROM tenants WHERE id = 1 FOR SHARE;
COMMIT;

-- multi
SELECT 1; SELECT 2 AS two; SELECT 'x' WHERE false;

-- multi
SELECT id FROM tenants WHERE id = 5; SELECT id FROM tenants WHERE id = 6; SELECT count(*) FROM orders;

-- multi
INSERT INTO accounts (tenant_id, id) VALUES (1, 9051); INSERT INTO accounts (tenant_id, id) VALUES (2, 9052); DELETE FROM accounts WHERE id IN (9051, 9052);

-- multi
INSERT INTO accounts (tenant_id, id) VALUES (1, 9061); INSERT INTO accounts (tenant_id, id) VALUES (2, 1); SELECT 1;

-- multi
SELECT 1; SELECT 1/0; SELECT 3;

-- multi
BEGIN; UPDATE accounts SET note = 'm' WHERE tenant_id = 1; UPDATE accounts SET note = 'm' WHERE tenant_id = 2; COMMIT; SELECT count(*) FROM accounts WHERE note = 'm';

-- multi
SELECT 1; SELEC 2;

-- multi
;;

-- multi
SELECT 1;; SELECT 2;

-- multi
BEGIN; SELECT 1; ROLLBACK; SELECT 2;

-- multi
SET timezone = 'Asia/Tokyo'; SHOW timezone; RESET timezone;
