-- Blocks: what several statements write together, and what is left of it.

-- script
BEGIN;
INSERT INTO accounts (tenant_id, id) VALUES (1, 901), (2, 902), (3, 903);
UPDATE accounts SET note = 'first' WHERE id > 900;
DELETE FROM accounts WHERE id = 902;
SELECT tenant_id, id, note FROM accounts WHERE id > 900 ORDER BY id;
COMMIT;
SELECT tenant_id, id, note FROM accounts WHERE id > 900 ORDER BY id;

-- script
BEGIN;
UPDATE accounts SET hits = 1;
UPDATE transfers SET amount = 0;
DELETE FROM words;
INSERT INTO notes VALUES (900, 'x');
INSERT INTO labels VALUES ('X', 'x', 0);
SELECT (SELECT sum(hits) FROM accounts), (SELECT sum(amount) FROM transfers), (SELECT count(*) FROM words);
ROLLBACK;
SELECT (SELECT sum(hits) FROM accounts), (SELECT sum(amount) FROM transfers), (SELECT count(*) FROM words);

-- An error fails the block on all shards.
-- script
BEGIN;
INSERT INTO accounts (tenant_id, id) VALUES (1, 911);
UPDATE accounts SET hits = -1 WHERE tenant_id = 3;
SELECT 1;
INSERT INTO accounts (tenant_id, id) VALUES (2, 912);
COMMIT;
SELECT count(*) FROM accounts WHERE id > 900;

-- script
BEGIN;
DELETE FROM transfers WHERE tenant_id = 2;
DELETE FROM nowhere;
ROLLBACK;
SELECT count(*) FROM transfers;
BEGIN;
DELETE FROM transfers WHERE tenant_id = 2;
INSERT INTO accounts (tenant_id, id) VALUES (3, 2);
COMMIT;
SELECT count(*) FROM transfers;

-- Savepoints.
-- script
BEGIN;
INSERT INTO words VALUES ('a', 1);
SAVEPOINT one;
INSERT INTO words VALUES ('b', 2), ('c', 3);
SAVEPOINT two;
UPDATE words SET n = n * 100;
SELECT sum(n) FROM words;
ROLLBACK TO two;
SELECT sum(n) FROM words;
ROLLBACK TO one;
SELECT sum(n) FROM words;
INSERT INTO words VALUES ('d', 4);
RELEASE one;
COMMIT;
SELECT word FROM words WHERE length(word) = 1 ORDER BY word;

-- script
BEGIN;
SAVEPOINT s;
INSERT INTO words VALUES ('word1', 1);
SELECT 1;
ROLLBACK TO s;
INSERT INTO words VALUES ('word1a', 1);
SAVEPOINT s;
INSERT INTO words VALUES ('word2', 1), ('word2a', 1);
ROLLBACK TO s;
INSERT INTO words VALUES ('word2a', 1), ('word2b', 2);
RELEASE s;
RELEASE s;
RELEASE s;
COMMIT;
SELECT count(*) FROM words;

-- script
BEGIN;
SAVEPOINT a;
UPDATE accounts SET note = 'a' WHERE tenant_id = 1;
SAVEPOINT b;
UPDATE accounts SET note = 'b' WHERE tenant_id = 2;
SAVEPOINT c;
UPDATE accounts SET note = 'c' WHERE tenant_id = 3;
ROLLBACK TO b;
UPDATE accounts SET note = 'd' WHERE tenant_id IN (3, 4);
RELEASE a;
ROLLBACK TO a;
ROLLBACK;
SELECT tenant_id, note FROM accounts WHERE length(note) = 1 ORDER BY id;
BEGIN;
SAVEPOINT a;
UPDATE accounts SET note = 'a' WHERE tenant_id = 1;
SAVEPOINT b;
UPDATE accounts SET note = 'd' WHERE tenant_id IN (3, 4);
RELEASE b;
COMMIT;
SELECT tenant_id, note FROM accounts WHERE length(note) = 1 ORDER BY id;

-- Chains.
-- script
BEGIN;
INSERT INTO words VALUES ('chain', 1);
COMMIT AND CHAIN;
INSERT INTO words VALUES ('chain2', 2);
ROLLBACK AND CHAIN;
INSERT INTO words VALUES ('chain3', 3);
COMMIT;
SELECT word FROM words WHERE word LIKE 'chain%' ORDER BY word;

-- Isolation and modes.
-- script
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE accounts SET hits = hits + 1 WHERE tenant_id < 5;
INSERT INTO words SELECT 'h' || id, hits FROM accounts WHERE id < 6;
SELECT word, n FROM words WHERE word LIKE 'h%' ORDER BY word;
COMMIT;
BEGIN READ ONLY;
UPDATE accounts SET hits = 0;
ROLLBACK;
BEGIN READ ONLY;
INSERT INTO words SELECT 'x' || id, id FROM accounts;
ROLLBACK;
BEGIN READ ONLY;
MERGE INTO words w USING accounts a ON w.n = a.id WHEN MATCHED THEN DELETE;
ROLLBACK;
SET default_transaction_read_only = on;
DELETE FROM words;
DELETE FROM words WHERE n IN (SELECT id FROM accounts);
SET default_transaction_read_only = off;
SELECT count(*) FROM words;

-- Every way to write, one behind the other.
-- script
BEGIN;
INSERT INTO words SELECT 'acc' || id, id FROM accounts WHERE id < 5;
UPDATE words SET word = upper(word) WHERE word LIKE 'acc%';
UPDATE accounts SET note = w.word FROM words w WHERE w.n = accounts.id AND w.word LIKE 'ACC%';
DELETE FROM words WHERE n IN (SELECT id FROM accounts WHERE note LIKE 'ACC%') AND word LIKE 'word%';
MERGE INTO words w USING (SELECT note, id FROM accounts WHERE note LIKE 'ACC%') a ON a.note = w.word WHEN MATCHED THEN UPDATE SET n = a.id * 10;
WITH d AS (DELETE FROM transfers WHERE id < 10 RETURNING *) SELECT count(*), sum(amount) FROM d;
SELECT word, n FROM words ORDER BY word;
SAVEPOINT all_of_it;
TRUNCATE words;
ROLLBACK TO all_of_it;
COMMIT;
SELECT word, n FROM words ORDER BY word;
SELECT id, note FROM accounts WHERE id < 7 ORDER BY id;

-- script
BEGIN;
MERGE INTO words w USING accounts a ON w.word = a.owner WHEN NOT MATCHED THEN INSERT VALUES (a.owner, a.hits);
UPDATE words SET word = word || '?' WHERE n = 3;
INSERT INTO words SELECT word || word, n FROM words WHERE n = 3;
SAVEPOINT s;
INSERT INTO words SELECT owner, 0 FROM accounts;
ROLLBACK TO s;
DELETE FROM words WHERE n < (SELECT avg(n) FROM words);
SELECT count(*), sum(n) FROM words;
ROLLBACK;
SELECT count(*), sum(n) FROM words;

-- Errors in the middle of each way to write.
-- script
BEGIN;
SAVEPOINT s;
INSERT INTO words SELECT owner, 1 / (id - 7) FROM accounts;
ROLLBACK TO s;
UPDATE words SET word = 'one';
ROLLBACK TO s;
UPDATE accounts SET hits = -1 FROM tenants t WHERE t.id = accounts.id;
ROLLBACK TO s;
DELETE FROM accounts WHERE id IN (SELECT 1 / (id - 7) FROM tenants);
ROLLBACK TO s;
MERGE INTO words w USING (VALUES ('a', 1), ('a', 2)) v (word, n) ON w.word = v.word WHEN NOT MATCHED THEN INSERT VALUES (v.word, v.n);
ROLLBACK TO s;
WITH u AS (UPDATE accounts SET hits = hits - 3 RETURNING id) SELECT count(*) FROM u;
ROLLBACK TO s;
INSERT INTO words VALUES ('survives', 1);
COMMIT;
SELECT count(*), max(word) FROM words;

-- Cursors see what the block has written before them.
-- script
BEGIN;
INSERT INTO words VALUES ('zz1', 1001), ('zz2', 1002);
DECLARE c CURSOR FOR SELECT word, n FROM words WHERE n > 15 ORDER BY n;
FETCH 3 FROM c;
DELETE FROM words WHERE n = 1002;
UPDATE words SET n = n + 1 WHERE n = 1001;
FETCH 2 FROM c;
FETCH ALL FROM c;
CLOSE c;
SELECT word, n FROM words WHERE n > 15 ORDER BY n;
COMMIT;

-- script
BEGIN;
DECLARE c CURSOR FOR SELECT word FROM words WHERE word = 'word7' FOR UPDATE;
FETCH c;
UPDATE words SET n = 700 WHERE CURRENT OF c;
FETCH c;
CLOSE c;
COMMIT;
SELECT n FROM words WHERE word = 'word7';

-- Deferred and immediate constraints, references over tables.
-- script
BEGIN;
DELETE FROM accounts WHERE tenant_id = 2;
INSERT INTO accounts (tenant_id, id, owner) VALUES (2, 1, 'anew'), (2, 13, 'anew too');
INSERT INTO transfers VALUES (2, 901, 1, 5), (2, 902, 13, 6);
SELECT count(*) FROM transfers WHERE tenant_id = 2;
SAVEPOINT s;
INSERT INTO transfers VALUES (2, 903, 25, 6);
ROLLBACK TO s;
COMMIT;
SELECT id, account_id FROM transfers WHERE tenant_id = 2 ORDER BY id;

-- Settings of the block.
-- script
BEGIN;
SET LOCAL DateStyle = 'SQL, DMY';
INSERT INTO readings VALUES ('2024-02-05', 901, 1);
SELECT day::text FROM readings WHERE n = 901;
UPDATE readings SET day = day + 1 WHERE n = 901;
SELECT day::text FROM readings WHERE n = 901;
COMMIT;
SELECT day FROM readings WHERE n = 901;

-- script
SET TimeZone = 'America/New_York';
UPDATE sessions SET seen = '2024-03-10 02:30' WHERE who = 'who1';
INSERT INTO sessions SELECT md5(word)::uuid, word, '2024-07-01 12:00' FROM words WHERE n < 4;
UPDATE sessions SET seen = seen + (SELECT count(*) * interval '1 day' FROM words);
DELETE FROM sessions WHERE seen < (SELECT '2024-01-21 00:00'::timestamptz FROM words LIMIT 1);
SELECT seen, who FROM sessions ORDER BY seen, who;
RESET TimeZone;
SELECT seen, who FROM sessions ORDER BY seen, who;

-- Outside of a block each statement is one.
-- script
INSERT INTO words VALUES ('o1', 1);
INSERT INTO words SELECT 'o2', 1 / (SELECT count(*) - 21 FROM words);
INSERT INTO words VALUES ('o3', 3);
COMMIT;
ROLLBACK;
SAVEPOINT x;
SELECT word FROM words WHERE word LIKE 'o_' ORDER BY word;

-- multi
BEGIN; INSERT INTO words VALUES ('m1', 1); INSERT INTO words SELECT 'm' || n, n FROM words WHERE n = 2; COMMIT; SELECT word FROM words WHERE word LIKE 'm%' ORDER BY word

-- multi
INSERT INTO words VALUES ('n1', 1); UPDATE words SET n = n + (SELECT count(*) FROM words) WHERE n < 3; DELETE FROM words WHERE n = 1 / 0; SELECT 1

-- multi
INSERT INTO words SELECT 'k' || id, id FROM accounts WHERE id < 3; UPDATE words SET word = word || 'k' WHERE n < 3; SELECT word, n FROM words WHERE n < 3 ORDER BY word

-- multi
MERGE INTO words w USING (VALUES ('word1', 5), ('q', 6)) v (word, n) ON v.word = w.word WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.word, v.n); WITH d AS (DELETE FROM words WHERE n = 6 RETURNING word) SELECT count(*) FROM d

-- What needs a block, in a message of several statements: it has one of its own.
-- multi
SET LOCAL ROLE app; DELETE FROM words

-- multi
-- error: 25006
SET TRANSACTION READ ONLY; INSERT INTO words VALUES ('t1', 1)

-- multi
-- error: 42P01
SET LOCAL search_path = 'pg_catalog'; SELECT count(*) FROM accounts

-- multi
SET LOCAL work_mem = '123kB'; SHOW work_mem; SELECT count(*) FROM words; SHOW work_mem

-- multi
-- error: 25001
SELECT count(*) FROM words; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE

-- multi
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM words; SHOW transaction_isolation

-- multi
SELECT set_config('work_mem', '321kB', true); SHOW work_mem

-- multi
INSERT INTO words VALUES ('t2', 1); SAVEPOINT s; SELECT count(*) FROM words

-- multi
-- error: 25P01
SELECT 1; RELEASE s

-- multi
-- error: 25P01
SELECT 1; ROLLBACK TO s

-- multi
LOCK TABLE words; SELECT count(*) FROM words

-- multi
DECLARE c CURSOR FOR SELECT n FROM words ORDER BY n; FETCH 2 FROM c; SELECT 1

-- multi
-- error: 25001
SELECT 1; DISCARD ALL

-- multi
-- error: 25001
SELECT 1; VACUUM words

-- multi
-- error: 25001
VACUUM words; SELECT 1

-- multi
-- error: 25P01
SELECT 1; COMMIT AND CHAIN

-- multi
INSERT INTO words VALUES ('t3', 1); ROLLBACK; SELECT count(*) FROM words; COMMIT; SELECT 2

-- multi
SET LOCAL work_mem = '123kB'; COMMIT; SHOW work_mem

-- multi
SET CONSTRAINTS ALL IMMEDIATE; SELECT 1

-- multi
SET LOCAL work_mem = '123kB'; BEGIN; SHOW work_mem; COMMIT; SHOW work_mem

-- Alone they have none.
-- script
SET LOCAL work_mem = '123kB';
SHOW work_mem;
SET TRANSACTION READ ONLY;
INSERT INTO words VALUES ('t4', 1);
SET CONSTRAINTS ALL DEFERRED;
LOCK TABLE words;
LOCK TABLE labels;
LOCK TABLE notes;
DECLARE c CURSOR FOR SELECT n FROM words ORDER BY n;
FETCH c;
ROLLBACK TO s;
RELEASE s;
ROLLBACK AND CHAIN;
SELECT count(*) FROM words;

-- What was done behind a savepoint that is gone back to leaves nothing to commit.
-- script
BEGIN READ ONLY;
SAVEPOINT s;
UPDATE accounts SET hits = hits + 1;
ROLLBACK TO s;
SELECT count(*) FROM accounts;
COMMIT;
SELECT count(*), sum(hits) FROM accounts;

-- script
BEGIN;
SAVEPOINT s;
UPDATE accounts SET hits = hits + 1;
DELETE FROM labels;
ROLLBACK TO s;
SET TRANSACTION READ ONLY;
COMMIT;
SELECT count(*), sum(hits) FROM accounts;

-- script
BEGIN;
UPDATE accounts SET hits = 7 WHERE tenant_id = 1;
SAVEPOINT s;
UPDATE accounts SET hits = 8;
SAVEPOINT t;
UPDATE accounts SET hits = 9 WHERE tenant_id = 2;
RELEASE SAVEPOINT t;
ROLLBACK TO s;
UPDATE accounts SET hits = hits + 1 WHERE tenant_id IN (3, 4);
ROLLBACK TO s;
INSERT INTO words VALUES ('kept', 1);
COMMIT;
SELECT tenant_id, sum(hits) FROM accounts GROUP BY tenant_id ORDER BY tenant_id;

-- What writes no row may stand in a transaction that is read only.
-- script
BEGIN READ ONLY;
LOCK TABLE accounts IN ACCESS SHARE MODE;
LOCK TABLE labels IN ACCESS SHARE MODE;
SELECT count(*) FROM accounts;
COMMIT;
