-- Spellings of Postgres that few clients use, in statements that write.

UPDATE tickets SET tags[1] = 'new' WHERE tenant_id = 5 RETURNING id, tags

UPDATE tickets SET tags[1] = 'new'

UPDATE tickets SET tags[2:3] = ARRAY['p', 'q'], note = 'x' WHERE tenant_id = 5

UPDATE odd SET two.a = 9 WHERE "Id" = 4 RETURNING "Id", (two).a

UPDATE odd SET two.a = "Id", two.b = 'sad' WHERE "Id" < 20

UPDATE accounts SET (amount, note) = ROW(5, 'row') WHERE tenant_id = 5

UPDATE accounts SET (amount, note) = ROW(amount + 1, DEFAULT) WHERE hits ISNULL

UPDATE accounts SET (amount, note) = (SELECT 7, 'seven') WHERE tenant_id = 5

UPDATE accounts SET note = 'x' WHERE owner LIKE ANY (ARRAY['owner1%', '%9']) AND tenant_id = 5

UPDATE accounts SET note = 'x' WHERE owner LIKE ANY (ARRAY['owner1%', '%9'])

DELETE FROM transfers WHERE id NOTNULL AND tenant_id = 5 RETURNING *

DELETE FROM transfers USING accounts a WHERE a.tenant_id = transfers.tenant_id AND a.id = account_id AND a.note ISNULL

UPDATE accounts * SET hits = 1

UPDATE accounts AS a SET hits = 2 WHERE a.* IS NOT NULL AND tenant_id = 5

INSERT INTO accounts (tenant_id, id, owner) OVERRIDING USER VALUE VALUES (5, 901, 'over')

INSERT INTO accounts (tenant_id, id, owner) OVERRIDING SYSTEM VALUE VALUES (5, 902, 'over'), (6, 903, 'over') RETURNING id

INSERT INTO words TABLE words
-- error: 23505

INSERT INTO words TABLE words ON CONFLICT DO NOTHING

INSERT INTO words (word, n) SELECT U&'w\00f6rt', 3

INSERT INTO words (word, n) VALUES (U&'w\00f6rt', 3)

INSERT INTO words (word, n) VALUES (U&'w!00f6rt' UESCAPE '!', 3), ('plain', 4)

INSERT INTO accounts (tenant_id, id, owner, note) VALUES (5, 904, 'x', concat(VARIADIC ARRAY['a', 'b'])), (6, 905, 'y', NULL ISNULL)

INSERT INTO tickets (tenant_id, id, tags[1], tags[2]) VALUES (5, 990, 'a', 'b') RETURNING tags

INSERT INTO odd ("Id", two.a, two.b) VALUES (990, 1, 'ok') RETURNING two

WITH gone AS (DELETE FROM transfers WHERE tenant_id = 5 RETURNING *) TABLE gone

-- script
BEGIN;
UPDATE tickets SET tags[1] = 'in' WHERE tenant_id = 5;
TABLE tenants ORDER BY id LIMIT 2;
SELECT count(*) FROM tickets WHERE tags[1] LIKE ANY ('{i%,x%}');
COMMIT;

INSERT INTO words (word, n) SELECT U&'n\0065w ' || id, 1 FROM tenants WHERE name NOTNULL

INSERT INTO words (word, n) SELECT 'new', 1 ON CONFLICT (word) DO UPDATE SET n = 2

INSERT INTO words (word, n) SELECT 'word' || id, 1 FROM notes ON CONFLICT (word) DO UPDATE SET n = words.n + 1 WHERE words.n NOTNULL RETURNING word, n

UPDATE accounts SET note = 'x' WHERE id IN (TABLE notes)
-- error: 42601

UPDATE accounts SET note = 'x' WHERE id IN (SELECT id FROM notes WHERE body LIKE ANY ('{%1%,%7}')) AND owner NOTNULL RETURNING id

UPDATE accounts SET hits = 9 WHERE amount > ALL (SELECT amount FROM transfers WHERE amount NOTNULL)

UPDATE words SET word = word || U&'!' WHERE n NOTNULL AND n < 4

DELETE FROM words WHERE word LIKE ANY (SELECT 'word' || id FROM notes) RETURNING word

WITH gone AS (DELETE FROM words WHERE n NOTNULL AND n < 5 RETURNING word) SELECT count(*), max(word COLLATE "C") FROM gone WHERE word LIKE ANY ('{w%}')

MERGE INTO accounts a USING (SELECT 5 AS t, U&'m\0065rged' AS n) s ON a.tenant_id = s.t WHEN MATCHED AND a.note NOTNULL THEN UPDATE SET note = s.n

-- Arbiters that are more than columns.
INSERT INTO accounts (tenant_id, id, hits) VALUES (1, 1, 5) ON CONFLICT (tenant_id, id) WHERE hits > 0 DO UPDATE SET hits = excluded.hits RETURNING id, hits

INSERT INTO accounts (tenant_id, id, hits) VALUES (1, 1, 5), (2, 901, 6), (3, 902, 7) ON CONFLICT (tenant_id, id int4_ops) DO UPDATE SET hits = excluded.hits WHERE accounts.hits < 100

INSERT INTO accounts (tenant_id, id, hits) VALUES (1, 1, 5), (2, 901, 6) ON CONFLICT (tenant_id, id) WHERE note = 'x' OR (hits > 3) DO NOTHING

INSERT INTO accounts (tenant_id, id, owner) VALUES (2, 901, 'owner1') ON CONFLICT (tenant_id, lower(owner)) DO NOTHING
-- error: 42P10

INSERT INTO labels VALUES ('L1', 'again', 9), ('L77', 'new', 9) ON CONFLICT (code COLLATE "C") DO UPDATE SET title = excluded.title RETURNING code, title

INSERT INTO labels VALUES ('L1', 'again', 9) ON CONFLICT (lower(code)) DO NOTHING
-- error: 42P10

MERGE INTO ONLY accounts a USING (VALUES (5, 1)) v (t, n) ON a.tenant_id = v.t AND a.tenant_id = 5 WHEN MATCHED THEN UPDATE SET hits = v.n
