-- Several statements each: what stays of a transaction, of an upsert, of a write over several shards, and of one that fails.

-- A failure at each place of a block: nothing of it stays. The failing statement is on one shard, on several, on the first or the last one written.
-- script
BEGIN;
INSERT INTO accounts (tenant_id, id) VALUES (3, 2);
SELECT 1;
COMMIT;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
INSERT INTO accounts (tenant_id, id) VALUES (3, 2);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
SAVEPOINT a;
INSERT INTO accounts (tenant_id, id) VALUES (3, 2);
ROLLBACK TO a;
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
INSERT INTO accounts (tenant_id, id) VALUES (3, 2);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id) VALUES (1, 701), (2, 1), (4, 703);
SELECT 1;
COMMIT;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
INSERT INTO accounts (tenant_id, id) VALUES (1, 701), (2, 1), (4, 703);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
SAVEPOINT a;
INSERT INTO accounts (tenant_id, id) VALUES (1, 701), (2, 1), (4, 703);
ROLLBACK TO a;
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
INSERT INTO accounts (tenant_id, id) VALUES (1, 701), (2, 1), (4, 703);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
UPDATE accounts SET hits = hits - 6;
SELECT 1;
COMMIT;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
UPDATE accounts SET hits = hits - 6;
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
SAVEPOINT a;
UPDATE accounts SET hits = hits - 6;
ROLLBACK TO a;
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
UPDATE accounts SET hits = hits - 6;
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
INSERT INTO transfers VALUES (2, 900, 4711, 1);
SELECT 1;
COMMIT;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
INSERT INTO transfers VALUES (2, 900, 4711, 1);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
SAVEPOINT a;
INSERT INTO transfers VALUES (2, 900, 4711, 1);
ROLLBACK TO a;
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
INSERT INTO transfers VALUES (2, 900, 4711, 1);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, amount) VALUES (5, 705, NULL);
SELECT 1;
COMMIT;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
INSERT INTO accounts (tenant_id, id, amount) VALUES (5, 705, NULL);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
SAVEPOINT a;
INSERT INTO accounts (tenant_id, id, amount) VALUES (5, 705, NULL);
ROLLBACK TO a;
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
INSERT INTO accounts (tenant_id, id, amount) VALUES (5, 705, NULL);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
UPDATE accounts SET amount = amount / (hits - 6);
SELECT 1;
COMMIT;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
UPDATE accounts SET amount = amount / (hits - 6);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 801, 'w1'), (2, 802, 'w2'), (3, 803, 'w3'), (4, 804, 'w4');
SAVEPOINT a;
UPDATE accounts SET amount = amount / (hits - 6);
ROLLBACK TO a;
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
UPDATE accounts SET amount = amount / (hits - 6);
UPDATE accounts SET hits = 91 WHERE tenant_id = 7;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- Savepoints within savepoints, over shards that join at different depths.
-- script
BEGIN;
UPDATE accounts SET note = 'w0' WHERE tenant_id = 1;
SAVEPOINT a;
UPDATE accounts SET note = 'w1' WHERE tenant_id = 2;
SAVEPOINT b;
UPDATE accounts SET note = 'w2' WHERE tenant_id IN (3, 4, 5);
ROLLBACK TO a;
UPDATE accounts SET note = 'w3' WHERE tenant_id = 6;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
UPDATE accounts SET note = 'w0' WHERE tenant_id = 1;
SAVEPOINT b;
UPDATE accounts SET note = 'w1' WHERE tenant_id = 2;
SAVEPOINT b;
UPDATE accounts SET note = 'w2' WHERE tenant_id IN (3, 4, 5);
ROLLBACK TO b;
UPDATE accounts SET note = 'w3' WHERE tenant_id = 6;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
UPDATE accounts SET note = 'w0' WHERE tenant_id = 1;
SAVEPOINT a;
UPDATE accounts SET note = 'w1' WHERE tenant_id = 2;
SAVEPOINT a;
UPDATE accounts SET note = 'w2' WHERE tenant_id IN (3, 4, 5);
RELEASE a;
UPDATE accounts SET note = 'w3' WHERE tenant_id = 6;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
SAVEPOINT a;
DELETE FROM words;
SAVEPOINT b;
INSERT INTO words SELECT 'again' || g, g FROM generate_series(1, 9) g;
ROLLBACK TO a;
INSERT INTO words VALUES ('only', 1);
COMMIT;
SELECT count(*), sum(n) FROM words;

-- script
BEGIN;
SAVEPOINT a;
INSERT INTO words VALUES ('s1', 1), ('s2', 2), ('s3', 3);
RELEASE a;
SAVEPOINT a;
DELETE FROM words WHERE word LIKE 's_';
ROLLBACK TO a;
RELEASE a;
COMMIT;
SELECT word, n FROM words WHERE word LIKE 's_' ORDER BY word;

-- ON CONFLICT in every form that names the key.
-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (3, 2, 'x', 2), (4, 703, 'y', 3), (5, 704, 'owner4', 4) ON CONFLICT DO NOTHING;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (9, 708, 'z', 2) ON CONFLICT DO NOTHING RETURNING tenant_id, id, note;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (3, 2, 'x', 2), (4, 703, 'y', 3), (5, 704, 'owner4', 4) ON CONFLICT (tenant_id, id) DO NOTHING;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (9, 708, 'z', 2) ON CONFLICT (tenant_id, id) DO NOTHING RETURNING tenant_id, id, note;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (3, 2, 'x', 2), (4, 703, 'y', 3), (5, 704, 'owner4', 4) ON CONFLICT (tenant_id, id) DO UPDATE SET hits = accounts.hits + 90;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (9, 708, 'z', 2) ON CONFLICT (tenant_id, id) DO UPDATE SET hits = accounts.hits + 90 RETURNING tenant_id, id, note;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (3, 2, 'x', 2), (4, 703, 'y', 3), (5, 704, 'owner4', 4) ON CONFLICT (tenant_id, id) DO UPDATE SET note = 'w' || excluded.id, amount = excluded.amount + accounts.amount;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (9, 708, 'z', 2) ON CONFLICT (tenant_id, id) DO UPDATE SET note = 'w' || excluded.id, amount = excluded.amount + accounts.amount RETURNING tenant_id, id, note;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (3, 2, 'x', 2), (4, 703, 'y', 3), (5, 704, 'owner4', 4) ON CONFLICT (tenant_id, id) DO UPDATE SET hits = excluded.id WHERE accounts.id % 2 = 0;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (9, 708, 'z', 2) ON CONFLICT (tenant_id, id) DO UPDATE SET hits = excluded.id WHERE accounts.id % 2 = 0 RETURNING tenant_id, id, note;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (3, 2, 'x', 2), (4, 703, 'y', 3), (5, 704, 'owner4', 4) ON CONFLICT ON CONSTRAINT accounts_pkey DO UPDATE SET note = 'w named';
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (9, 708, 'z', 2) ON CONFLICT ON CONSTRAINT accounts_pkey DO UPDATE SET note = 'w named' RETURNING tenant_id, id, note;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (3, 2, 'x', 2), (4, 703, 'y', 3), (5, 704, 'owner4', 4) ON CONFLICT (tenant_id, owner) DO UPDATE SET hits = 99;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (2, 1, 'owner1', 1), (9, 708, 'z', 2) ON CONFLICT (tenant_id, owner) DO UPDATE SET hits = 99 RETURNING tenant_id, id, note;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- Writes that read: conditions by the key, subqueries beside it, other tables tied to it.
-- script
UPDATE accounts a SET note = 'w' || t.amount FROM transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
UPDATE accounts a SET note = 'w' || t.amount FROM transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
UPDATE accounts a SET hits = 95 WHERE EXISTS (SELECT FROM transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id AND t.amount > 50);
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
UPDATE accounts a SET hits = 95 WHERE EXISTS (SELECT FROM transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id AND t.amount > 50);
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
UPDATE accounts a SET amount = (SELECT coalesce(sum(t.amount), 0) FROM transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id);
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
UPDATE accounts a SET amount = (SELECT coalesce(sum(t.amount), 0) FROM transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id);
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
DELETE FROM transfers t USING accounts a WHERE a.tenant_id = t.tenant_id AND a.id = t.account_id AND a.hits > 3;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
DELETE FROM transfers t USING accounts a WHERE a.tenant_id = t.tenant_id AND a.id = t.account_id AND a.hits > 3;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
DELETE FROM accounts a WHERE NOT EXISTS (SELECT FROM transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id);
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
DELETE FROM accounts a WHERE NOT EXISTS (SELECT FROM transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id);
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
DELETE FROM transfers WHERE (tenant_id, account_id) IN (SELECT tenant_id, id FROM accounts WHERE note IS NULL);
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
DELETE FROM transfers WHERE (tenant_id, account_id) IN (SELECT tenant_id, id FROM accounts WHERE note IS NULL);
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
UPDATE accounts SET note = 'w ' || c.name FROM countries c WHERE c.code = 'DE' AND accounts.id < 9;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
UPDATE accounts SET note = 'w ' || c.name FROM countries c WHERE c.code = 'DE' AND accounts.id < 9;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
UPDATE accounts SET note = CASE WHEN id % 2 = 0 THEN 'w even' ELSE 'w odd' END, hits = hits + 90;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
UPDATE accounts SET note = CASE WHEN id % 2 = 0 THEN 'w even' ELSE 'w odd' END, hits = hits + 90;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
DELETE FROM accounts WHERE tenant_id BETWEEN 2 AND 5;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
DELETE FROM accounts WHERE tenant_id BETWEEN 2 AND 5;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
DELETE FROM accounts WHERE id % 3 = 1 AND tenant_id <> 1;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*), sum(amount) FROM transfers;

-- script
BEGIN;
DELETE FROM accounts WHERE id % 3 = 1 AND tenant_id <> 1;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- RETURNING of rows of several shards, as many as the tag says.
-- script
DELETE FROM words WHERE n % 2 = 0 RETURNING word, n;
SELECT count(*), sum(n) FROM words;
SELECT count(*), sum(v) FROM readings;
SELECT count(*), min(who) FROM sessions;

-- script
UPDATE words SET n = n * 2 WHERE n > 5 RETURNING n, word, n / 2;
SELECT count(*), sum(n) FROM words;
SELECT count(*), sum(v) FROM readings;
SELECT count(*), min(who) FROM sessions;

-- script
INSERT INTO words VALUES ('ra', 1), ('rb', 2), ('rc', 3), ('rd', NULL) RETURNING *;
SELECT count(*), sum(n) FROM words;
SELECT count(*), sum(v) FROM readings;
SELECT count(*), min(who) FROM sessions;

-- script
DELETE FROM readings RETURNING day, v;
SELECT count(*), sum(n) FROM words;
SELECT count(*), sum(v) FROM readings;
SELECT count(*), min(who) FROM sessions;

-- script
UPDATE sessions SET who = upper(who) RETURNING who;
SELECT count(*), sum(n) FROM words;
SELECT count(*), sum(v) FROM readings;
SELECT count(*), min(who) FROM sessions;

-- Reference tables: on every shard, or on none.
-- script
INSERT INTO labels VALUES ('na', 'New A', 50), ('nb', NULL, 51);
SELECT code, title, rank FROM labels ORDER BY code;
INSERT INTO labels VALUES ('na', 'New A', 50), ('nb', NULL, 51);
SELECT count(*), sum(rank) FROM labels;

-- script
BEGIN;
INSERT INTO labels VALUES ('na', 'New A', 50), ('nb', NULL, 51);
SAVEPOINT s;
INSERT INTO labels VALUES ('na', 'New A', 50), ('nb', NULL, 51);
ROLLBACK TO s;
UPDATE words SET n = -1 WHERE word = 'word1';
COMMIT;
SELECT code, title, rank FROM labels ORDER BY code;
SELECT n FROM words WHERE word = 'word1';

-- script
BEGIN;
INSERT INTO labels VALUES ('na', 'New A', 50), ('nb', NULL, 51);
INSERT INTO notes VALUES (901, 'beside');
ROLLBACK;
SELECT count(*), sum(rank) FROM labels;
SELECT count(*) FROM notes;

-- script
UPDATE labels SET rank = rank + 100 WHERE title IS NOT NULL;
SELECT code, title, rank FROM labels ORDER BY code;
UPDATE labels SET rank = rank + 100 WHERE title IS NOT NULL;
SELECT count(*), sum(rank) FROM labels;

-- script
BEGIN;
UPDATE labels SET rank = rank + 100 WHERE title IS NOT NULL;
SAVEPOINT s;
UPDATE labels SET rank = rank + 100 WHERE title IS NOT NULL;
ROLLBACK TO s;
UPDATE words SET n = -1 WHERE word = 'word1';
COMMIT;
SELECT code, title, rank FROM labels ORDER BY code;
SELECT n FROM words WHERE word = 'word1';

-- script
BEGIN;
UPDATE labels SET rank = rank + 100 WHERE title IS NOT NULL;
INSERT INTO notes VALUES (901, 'beside');
ROLLBACK;
SELECT count(*), sum(rank) FROM labels;
SELECT count(*) FROM notes;

-- script
DELETE FROM labels WHERE rank > 2;
SELECT code, title, rank FROM labels ORDER BY code;
DELETE FROM labels WHERE rank > 2;
SELECT count(*), sum(rank) FROM labels;

-- script
BEGIN;
DELETE FROM labels WHERE rank > 2;
SAVEPOINT s;
DELETE FROM labels WHERE rank > 2;
ROLLBACK TO s;
UPDATE words SET n = -1 WHERE word = 'word1';
COMMIT;
SELECT code, title, rank FROM labels ORDER BY code;
SELECT n FROM words WHERE word = 'word1';

-- script
BEGIN;
DELETE FROM labels WHERE rank > 2;
INSERT INTO notes VALUES (901, 'beside');
ROLLBACK;
SELECT count(*), sum(rank) FROM labels;
SELECT count(*) FROM notes;

-- script
INSERT INTO labels VALUES ('na', 'x', 1) ON CONFLICT (code) DO UPDATE SET title = 'again';
SELECT code, title, rank FROM labels ORDER BY code;
INSERT INTO labels VALUES ('na', 'x', 1) ON CONFLICT (code) DO UPDATE SET title = 'again';
SELECT count(*), sum(rank) FROM labels;

-- script
BEGIN;
INSERT INTO labels VALUES ('na', 'x', 1) ON CONFLICT (code) DO UPDATE SET title = 'again';
SAVEPOINT s;
INSERT INTO labels VALUES ('na', 'x', 1) ON CONFLICT (code) DO UPDATE SET title = 'again';
ROLLBACK TO s;
UPDATE words SET n = -1 WHERE word = 'word1';
COMMIT;
SELECT code, title, rank FROM labels ORDER BY code;
SELECT n FROM words WHERE word = 'word1';

-- script
BEGIN;
INSERT INTO labels VALUES ('na', 'x', 1) ON CONFLICT (code) DO UPDATE SET title = 'again';
INSERT INTO notes VALUES (901, 'beside');
ROLLBACK;
SELECT count(*), sum(rank) FROM labels;
SELECT count(*) FROM notes;

-- One transaction over sharded, reference and unsharded tables.
-- script
BEGIN;
INSERT INTO notes VALUES (910, 'n');
INSERT INTO labels VALUES ('mix', 'Mix', 9);
INSERT INTO words VALUES ('mix', 9);
INSERT INTO readings VALUES ('2024-01-05', 910, 9);
INSERT INTO accounts (tenant_id, id) VALUES (11, 910);
COMMIT;
SELECT count(*) FROM accounts a JOIN words w ON w.word = 'mix' WHERE a.id = 910;
SELECT body FROM notes WHERE id = 910;

-- script
BEGIN;
DELETE FROM notes;
DELETE FROM words;
DELETE FROM readings;
DELETE FROM transfers;
DELETE FROM accounts;
SELECT count(*) FROM accounts;
ROLLBACK;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
SELECT count(*) FROM words;

-- script
BEGIN;
DELETE FROM accounts WHERE tenant_id = 3;
SELECT count(*) FROM transfers WHERE tenant_id = 3;
COMMIT;
SELECT count(*) FROM transfers;

-- script
BEGIN;
SELECT id FROM accounts WHERE tenant_id = 2 ORDER BY id FOR UPDATE;
UPDATE accounts SET hits = 92 WHERE tenant_id = 2;
SELECT id, hits FROM accounts WHERE tenant_id = 2 ORDER BY id FOR SHARE;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
TRUNCATE words;
SELECT count(*) FROM words;
INSERT INTO words VALUES ('after', 1);
SELECT * FROM words;

-- script
BEGIN;
TRUNCATE readings, words;
INSERT INTO words VALUES ('kept', 1);
ROLLBACK;
SELECT count(*) FROM readings;
SELECT count(*) FROM words WHERE word = 'kept';

-- script
BEGIN;
TRUNCATE accounts;
ROLLBACK;
TRUNCATE transfers;
SELECT count(*) FROM transfers;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
BEGIN; INSERT INTO words VALUES ('m1', 1), ('m2', 2), ('m3', 3);
SELECT count(*) FROM words WHERE word LIKE 'm_';
COMMIT AND CHAIN;
DELETE FROM words WHERE word LIKE 'm_';
ROLLBACK AND CHAIN;
SELECT count(*) FROM words WHERE word LIKE 'm_';
COMMIT;

-- script
BEGIN READ ONLY;
INSERT INTO words VALUES ('no', 1);
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE words SET n = n + 1;
COMMIT;
SELECT sum(n) FROM words;

-- script
START TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SELECT sum(n) FROM words;
UPDATE words SET n = n + 1 WHERE n < 5;
SELECT sum(n) FROM words;
ABORT;
SELECT sum(n) FROM words;

-- script
SET default_transaction_read_only = on;
DELETE FROM words;
BEGIN READ WRITE;
DELETE FROM words WHERE n < 4;
COMMIT;
RESET default_transaction_read_only;
SELECT count(*) FROM words;

-- Prepared statements that write.
-- script
PREPARE put (int, int, text) AS INSERT INTO accounts (tenant_id, id, note) VALUES ($1, $2, $3) RETURNING tenant_id, id;
EXECUTE put(1, 920, 'w1');
EXECUTE put(2, 921, 'w2');
BEGIN;
EXECUTE put(3, 922, 'w3');
EXECUTE put(3, 922, 'again');
ROLLBACK;
EXECUTE put(4, 923, NULL);
DEALLOCATE put;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
PREPARE cut AS DELETE FROM words WHERE n > $1 RETURNING word;
EXECUTE cut(10);
EXECUTE cut(5 + 1);
EXECUTE cut(NULL);
SELECT count(*), max(n) FROM words;
DEALLOCATE ALL;

-- script
PREPARE raise AS UPDATE accounts SET amount = amount + $2 WHERE tenant_id = $1;
BEGIN;
EXECUTE raise(1, 5);
SAVEPOINT a;
EXECUTE raise(2, 5.5);
EXECUTE raise(3, 'x');
ROLLBACK TO a;
EXECUTE raise(4, 1);
COMMIT;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
DEALLOCATE raise;

-- script
PREPARE note AS INSERT INTO labels VALUES ($1, $2, $3) ON CONFLICT (code) DO UPDATE SET title = excluded.title;
EXECUTE note('p1', 'one', 1);
EXECUTE note('p1', 'two', 2);
SELECT code, title, rank FROM labels ORDER BY code;
DEALLOCATE note;

-- Rows that move to other shards, in transactions.
-- script
BEGIN;
UPDATE words SET word = 'moved ' || word WHERE n < 6;
SAVEPOINT a;
UPDATE words SET word = word || '!' WHERE n < 4;
ROLLBACK TO a;
DELETE FROM words WHERE word LIKE 'moved%' AND n = 2;
COMMIT;
SELECT word, n FROM words WHERE word LIKE 'moved%' ORDER BY word;

-- script
BEGIN;
UPDATE readings SET day = day + 40 WHERE n < 8;
SELECT count(*), min(day), max(day) FROM readings;
ROLLBACK;
SELECT count(*), min(day), max(day) FROM readings;

-- script
UPDATE words SET word = 'same';
SELECT count(DISTINCT word) FROM words;
UPDATE words SET word = 'word2' WHERE word = 'word1';
SELECT count(*) FROM words WHERE word = 'word1';

-- script
-- ties
UPDATE transfers SET tenant_id = 12 - tenant_id, account_id = NULL WHERE tenant_id < 6 RETURNING tenant_id, id;
SELECT tenant_id, count(*) FROM transfers GROUP BY tenant_id ORDER BY tenant_id;

-- INSERT ... SELECT in transactions, from what they have written.
-- script
BEGIN;
INSERT INTO words SELECT 'copy ' || word, n FROM words WHERE n < 9;
INSERT INTO words SELECT 'copy ' || word, n FROM words WHERE word LIKE 'copy%';
SELECT count(*) FROM words WHERE word LIKE 'copy%';
ROLLBACK;
SELECT count(*) FROM words WHERE word LIKE 'copy%';

-- script
BEGIN;
INSERT INTO notes SELECT 930 + id, owner FROM accounts WHERE id < 5;
INSERT INTO labels SELECT 'l' || id, body, id FROM notes WHERE id > 930;
INSERT INTO words SELECT code, rank FROM labels WHERE rank > 930;
COMMIT;
SELECT word, n FROM words WHERE n > 930 ORDER BY word;
SELECT count(*) FROM labels;

-- script
INSERT INTO accounts (tenant_id, id, owner) SELECT tenant_id + 1, id, 'o' || id FROM accounts WHERE tenant_id < 12 AND id > 50;
SELECT tenant_id, id, owner FROM accounts WHERE id > 50 ORDER BY id, tenant_id;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
-- ties
BEGIN;
DELETE FROM accounts WHERE id > 30;
INSERT INTO accounts (tenant_id, id, note) SELECT tenant_id, id + 1000, 'w' FROM accounts WHERE id > 25 ON CONFLICT DO NOTHING RETURNING id;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- Cursors that point at what is written.
-- script
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM accounts WHERE tenant_id = 1 ORDER BY id FOR UPDATE;
FETCH 2 FROM c;
UPDATE accounts SET note = 'w here' WHERE CURRENT OF c;
DELETE FROM transfers WHERE tenant_id = 1;
CLOSE c;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
DECLARE c CURSOR FOR SELECT word FROM words ORDER BY word;
FETCH 3 FROM c;
DELETE FROM words;
FETCH 2 FROM c;
ROLLBACK;
SELECT count(*) FROM words;

-- One shard writes, all others only read; nobody writes; everybody writes nothing.
-- script
BEGIN;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
UPDATE accounts SET hits = 96 WHERE tenant_id = 5;
SELECT count(*), sum(amount), sum(hits) FROM accounts;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts WHERE id > 60 OR hits > 90 OR note LIKE 'w%' ORDER BY tenant_id, id;

-- script
BEGIN;
UPDATE accounts SET hits = 97 WHERE id = -1;
DELETE FROM words WHERE n = -1;
INSERT INTO words SELECT word, n FROM words WHERE n = -1;
COMMIT;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- script
UPDATE accounts SET hits = 98 WHERE false;
DELETE FROM words WHERE word = 'a' AND word = 'b';
INSERT INTO words SELECT 'x', 1 WHERE false;
SELECT count(*), sum(amount), sum(hits) FROM accounts;

-- Values at the edges of their types.
-- script
INSERT INTO words VALUES ('', 2147483647), (' ', -2147483648), (E'tab\t', 0);
INSERT INTO words VALUES ('big', 2147483648);
UPDATE words SET n = n + 1 WHERE word = '';
SELECT word, n FROM words WHERE length(word) < 5 ORDER BY n;

-- script
INSERT INTO accounts (tenant_id, id, amount) VALUES (1, 940, 1234567890.994), (2, 941, 'NaN'), (3, 942, -0.005);
INSERT INTO accounts (tenant_id, id, amount) VALUES (1, 943, 12345678901.5);
SELECT id, amount FROM accounts WHERE id >= 940 ORDER BY id;

-- script
INSERT INTO readings VALUES ('infinity', 1, 1), ('-infinity', 2, 2), ('2024-02-29', 3, 3);
INSERT INTO readings VALUES ('2023-02-29', 4, 4);
SELECT day, n FROM readings WHERE n < 5 ORDER BY day, n;

-- A NaN among what is folded.
-- script
BEGIN;
UPDATE accounts SET amount = 'NaN' WHERE id = 2;
SELECT stddev(amount), stddev_pop(amount), variance(amount), sum(amount), avg(amount) FROM accounts;
SELECT tenant_id % 3 AS m, stddev(amount) FROM accounts GROUP BY 1 ORDER BY 1;
SELECT avg(s) FROM (SELECT tenant_id % 3, stddev(amount) AS s FROM accounts GROUP BY 1) q;
ROLLBACK;
