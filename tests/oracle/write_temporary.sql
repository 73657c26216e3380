-- Temporary tables of the client beside rows of several shards.

-- Read with them.
-- script
CREATE TEMP TABLE picked (customer_id bigint, tenant_id int, label text COLLATE "C");
INSERT INTO picked SELECT id, tenant_id, 'n' || id FROM customers WHERE id % 7 = 0;
INSERT INTO picked VALUES (3, NULL, NULL), (NULL, 4, 'x');
SELECT o.id, p.label FROM picked p JOIN orders o USING (customer_id) ORDER BY o.id, p.label LIMIT 20;
SELECT count(*), sum(o.total), max(p.label) FROM picked p JOIN orders o USING (tenant_id, customer_id);
SELECT p.*, c.name FROM picked p LEFT JOIN customers c ON c.id = p.customer_id AND c.tenant_id = p.tenant_id ORDER BY 1, 2, 3 LIMIT 9;
SELECT id FROM orders WHERE customer_id IN (SELECT customer_id FROM picked WHERE tenant_id < 9) ORDER BY id;
SELECT count(*) FROM orders WHERE customer_id NOT IN (SELECT customer_id FROM picked WHERE customer_id IS NOT NULL);
SELECT tenant_id, EXISTS (SELECT FROM picked p WHERE p.tenant_id = t.tenant_id) FROM sparse t ORDER BY id, tenant_id;
SELECT label FROM picked UNION SELECT status FROM orders ORDER BY 1 LIMIT 5;
WITH p AS (SELECT * FROM picked WHERE tenant_id > 20) SELECT p.tenant_id, count(o.id) FROM p LEFT JOIN orders o ON o.tenant_id = p.tenant_id GROUP BY p.tenant_id ORDER BY 1;
SELECT s.name, count(*) FROM settings s, picked p, orders o WHERE o.customer_id = p.customer_id AND o.quantity < 3 GROUP BY s.name ORDER BY 1;
SELECT (SELECT count(*) FROM picked), count(*) FROM orders;
SELECT o.id FROM orders o, picked WHERE o.tenant_id = 5 AND o.customer_id = picked.customer_id ORDER BY 1;
SELECT q.label, pr.name FROM picked q JOIN products pr ON pr.id = q.tenant_id JOIN tenants t ON t.id = pr.id ORDER BY 1, 2 LIMIT 5;
CREATE TABLE kept AS SELECT p.label, o.id FROM picked p JOIN orders o USING (customer_id);
SELECT count(*), min(id), max(label) FROM kept;
DROP TABLE kept;
CREATE TEMP TABLE more AS SELECT o.id, p.label FROM orders o JOIN picked p USING (customer_id) WHERE o.quantity > 2;
SELECT count(*), min(label) FROM more;
INSERT INTO more SELECT o.id + 10000, 'again' FROM orders o WHERE o.customer_id IN (SELECT customer_id FROM picked) AND o.tenant_id > 30;
SELECT count(*), max(id) FROM more;
SELECT m.label, count(*) FROM more m JOIN orders o ON o.id = m.id GROUP BY m.label ORDER BY count(*) DESC, 1 LIMIT 4;
DROP TABLE picked;
SELECT o.id FROM picked p JOIN orders o USING (customer_id);
SELECT count(*) FROM more m JOIN orders o ON o.id = m.id;

-- Filled, changed and made anew, and gone with what made them.
-- script
CREATE TEMP TABLE ids (id bigint PRIMARY KEY);
SELECT count(*) FROM ids JOIN orders USING (id);
INSERT INTO ids VALUES (1), (2), (7);
SELECT count(*) FROM ids JOIN orders USING (id);
ALTER TABLE ids ADD COLUMN word text DEFAULT 'w';
SELECT id, word, quantity FROM ids JOIN orders USING (id) ORDER BY 1, 3;
BEGIN;
INSERT INTO ids VALUES (9, 'nine');
UPDATE orders SET note = 'seen' WHERE id = 9;
SELECT id, word, note FROM ids JOIN orders USING (id) ORDER BY 1, 3;
DROP TABLE ids;
CREATE TEMP TABLE ids (id int, other date);
INSERT INTO ids VALUES (2, '2024-02-03');
SELECT id, other, quantity FROM ids JOIN orders USING (id) ORDER BY 1, 3;
ROLLBACK;
SELECT id, word, quantity FROM ids JOIN orders USING (id) ORDER BY 1, 3;
BEGIN;
CREATE TEMP TABLE short ON COMMIT DROP AS SELECT 3 AS id;
SELECT count(*) FROM short JOIN orders USING (id);
SAVEPOINT s;
CREATE TEMP TABLE shorter (id int);
SELECT count(*) FROM shorter JOIN orders USING (id);
ROLLBACK TO s;
SELECT count(*) FROM shorter JOIN orders USING (id);
ROLLBACK TO s;
SELECT count(*) FROM short JOIN orders USING (id);
COMMIT;
SELECT count(*) FROM short JOIN orders USING (id);
SELECT id, max(word) FROM ids JOIN orders USING (id) GROUP BY ids.id ORDER BY 1;
SELECT ids.id, word, count(*) FROM ids JOIN orders o ON o.quantity = ids.id GROUP BY ids.id ORDER BY 1;

-- Prepared over tables that come and go.
-- script
CREATE TEMP TABLE ids (id bigint, label text);
INSERT INTO ids SELECT id, name FROM tenants WHERE id < 6;
PREPARE q (int) AS SELECT o.id, i.label FROM orders o JOIN ids i ON i.id = o.tenant_id WHERE o.quantity > $1 ORDER BY 1, 2 LIMIT 5;
EXECUTE q (3);
INSERT INTO ids VALUES (30, 'thirty');
EXECUTE q (4);
TRUNCATE ids;
EXECUTE q (1);
DECLARE c CURSOR WITH HOLD FOR SELECT count(*) FROM orders o JOIN ids i ON i.id = o.tenant_id;
FETCH c;
CLOSE c;

-- Rows go from them.
-- script
CREATE TEMP TABLE batch (tenant_id int, id int, owner text, amount numeric(12,2), gone boolean);
INSERT INTO batch SELECT g % 11 + 1, 5000 + g, 'batch' || g, g * 1.5, g % 3 = 0 FROM generate_series(1, 40) g;
INSERT INTO accounts (tenant_id, id, owner, amount) SELECT tenant_id, id, owner, amount FROM batch;
SELECT count(*), sum(amount) FROM accounts WHERE id > 5000;
INSERT INTO accounts (tenant_id, id, owner, amount) SELECT tenant_id, id, owner, amount FROM batch ON CONFLICT (tenant_id, id) DO UPDATE SET amount = excluded.amount + 1;
SELECT count(*), sum(amount) FROM accounts WHERE id > 5000;
UPDATE accounts a SET amount = b.amount * 2, note = b.owner FROM batch b WHERE a.id = b.id AND a.tenant_id = b.tenant_id AND b.id % 2 = 0;
SELECT note, amount FROM accounts WHERE id > 5000 ORDER BY id;
DELETE FROM accounts a USING batch b WHERE a.id = b.id AND b.gone;
DELETE FROM accounts WHERE id IN (SELECT id FROM batch WHERE id > 5036);
SELECT count(*), sum(amount) FROM accounts WHERE id > 5000;
UPDATE batch SET owner = a.note FROM accounts a WHERE a.id = batch.id;
SELECT count(*), min(owner), max(owner) FROM batch;
DELETE FROM batch USING accounts a WHERE a.id = batch.id;
SELECT count(*) FROM batch;
UPDATE batch SET amount = (SELECT max(total) FROM orders WHERE tenant_id = batch.tenant_id);
SELECT count(*), sum(amount) FROM batch;
INSERT INTO notes SELECT b.id, t.name FROM batch b JOIN tenants t ON t.id = b.tenant_id;
SELECT count(*), max(body) FROM notes;
INSERT INTO labels SELECT 'b' || b.id, t.name, 1 FROM batch b JOIN tenants t ON t.id = b.tenant_id;
SELECT count(*), max(title) FROM labels;

-- script
BEGIN;
CREATE TEMP TABLE moves (tenant_id int, id int, delta int) ON COMMIT DROP;
INSERT INTO moves VALUES (1, 1, 5), (2, 1, 6), (3, 2, 7), (9, 9, 9);
UPDATE accounts a SET hits = hits + m.delta FROM moves m WHERE a.tenant_id = m.tenant_id AND a.id = m.id;
INSERT INTO moves SELECT tenant_id, id, hits FROM accounts WHERE hits > 6 AND id < 3;
MERGE INTO accounts a USING (SELECT tenant_id, id, max(delta) AS delta FROM moves GROUP BY tenant_id, id) m ON a.tenant_id = m.tenant_id AND a.id = m.id WHEN MATCHED THEN UPDATE SET note = 'm' || m.delta WHEN NOT MATCHED THEN INSERT (tenant_id, id, owner) VALUES (m.tenant_id, m.id, 'made');
SELECT tenant_id, id, note FROM accounts WHERE note LIKE 'm%' OR owner = 'made' ORDER BY 1, 2;
DELETE FROM accounts USING moves m WHERE accounts.id = m.delta AND m.delta = 5 RETURNING accounts.tenant_id, m.delta;
COMMIT;
SELECT count(*), sum(hits) FROM accounts;

-- Names of theirs that hide others, and types that are theirs alone.
-- script
CREATE TEMP TABLE notes (id int, body text);
INSERT INTO notes SELECT id, name FROM tenants WHERE id < 5;
SELECT n.body, count(o.id) FROM notes n JOIN orders o ON o.quantity = n.id GROUP BY n.body ORDER BY 1;
SELECT count(*) FROM public.notes n JOIN orders o ON o.quantity = n.id;
SET search_path = public, pg_temp;
SELECT count(*) FROM notes n JOIN orders o ON o.quantity = n.id;
SET search_path = pg_temp, public;
SELECT count(*) FROM notes n JOIN orders o ON o.quantity = n.id;
RESET search_path;
DROP TABLE notes;
SELECT count(*) FROM notes n JOIN orders o ON o.quantity = n.id;
CREATE TEMP TABLE felt (id int, m mood, ms mood[], p percent, at timestamptz, l text COLLATE loose);
INSERT INTO felt VALUES (1, 'sad', '{ok,happy}', 5, '2024-05-06 07:08+00', 'A'), (2, 'happy', NULL, NULL, NULL, 'a');
SELECT f.id, f.m, f.p, f.at, f.l, o.feel FROM felt f JOIN odd o ON o.feel >= f.m ORDER BY f.id, o."Id" LIMIT 5;
SELECT f.l, count(*) FROM felt f JOIN orders o ON o.quantity = f.id GROUP BY f.l;

-- script
CREATE TEMP TABLE c (x text COLLATE "C");
INSERT INTO c VALUES ('a'), ('B');
SELECT x, count(*) FROM c, sparse GROUP BY x ORDER BY x;
DROP TABLE c;
CREATE TEMP TABLE c (x text);
INSERT INTO c VALUES ('a'), ('B');
SELECT x, count(*) FROM c, sparse GROUP BY x ORDER BY x;

-- By the name of their schema.
-- script
CREATE TEMP TABLE picked (customer_id bigint, tenant_id int, label text COLLATE "C");
INSERT INTO pg_temp.picked SELECT id, tenant_id, 'n' || id FROM customers WHERE id % 7 = 0;
SELECT o.id, p.label FROM pg_temp.picked p JOIN orders o USING (customer_id) ORDER BY o.id, p.label LIMIT 20;
SELECT count(*), max(picked.label) FROM pg_temp.picked JOIN orders o USING (tenant_id, customer_id);
SELECT id FROM orders WHERE customer_id IN (SELECT customer_id FROM pg_temp.picked WHERE tenant_id < 9) ORDER BY id;
WITH p AS (SELECT * FROM pg_temp.picked) SELECT a.label, count(*) FROM p a JOIN p b USING (tenant_id) JOIN orders o ON o.tenant_id = a.tenant_id GROUP BY 1 ORDER BY 1;
SELECT a.label, b.label FROM pg_temp.picked a, picked b, orders o WHERE o.customer_id = a.customer_id AND b.customer_id = a.customer_id ORDER BY 1, 2 LIMIT 5;
DELETE FROM pg_temp.picked WHERE customer_id > 20;
SELECT count(*) FROM pg_temp.picked p JOIN customers c ON c.id = p.customer_id;
