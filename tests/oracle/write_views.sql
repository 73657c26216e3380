-- INSERT, UPDATE and DELETE through views that Postgres updates by itself.

UPDATE small_accounts SET note = 'seen' WHERE tenant = 5

UPDATE small_accounts SET note = 'seen' WHERE tenant IN (2, 3, 7) RETURNING id, note, "Who"

UPDATE small_accounts SET note = 'seen', amount = amount + 100

-- params: 4, 'by value'
UPDATE small_accounts SET note = $2 WHERE tenant = $1 RETURNING tenant, id

UPDATE small_accounts s SET "Who" = s."Who" || '!' WHERE s.id < 20 RETURNING s.*

UPDATE small_accounts SET note = DEFAULT WHERE id > 10

DELETE FROM small_accounts WHERE tenant = 4 AND id > 15

DELETE FROM small_accounts WHERE amount BETWEEN 50 AND 150 AND id % 2 = 1

INSERT INTO small_accounts (tenant, id, "Who") VALUES (5, 901, 'new')

INSERT INTO small_accounts (tenant, id, "Who", amount) VALUES (1, 901, 'a', 1), (2, 902, 'b', 2), (3, 903, 'c', 3000) RETURNING *

-- error: 42601
INSERT INTO small_accounts VALUES (1, 901, 'a', 1), (2, 902, 'b', DEFAULT, 'n'), (3, 903)

INSERT INTO small_accounts VALUES (1, 901, 'a', 1, DEFAULT), (2, 902, 'b', DEFAULT, 'n')

-- params: 6, 901
INSERT INTO small_accounts (id, tenant) VALUES ($2, $1) RETURNING tenant, note, amount

-- script
INSERT INTO small_accounts (tenant, id, "Who") VALUES (2, 1, 'is there'), (9, 904, 'new') ON CONFLICT DO NOTHING;
INSERT INTO small_accounts AS s (tenant, id, note) VALUES (2, 1, 'x'), (9, 905, 'y') ON CONFLICT (tenant, id) DO UPDATE SET note = s.note || excluded.note RETURNING tenant, id, note;
INSERT INTO small_accounts (tenant, id, note) VALUES (2, 1, 'x') ON CONFLICT (tenant, id) DO UPDATE SET note = excluded.note WHERE excluded.tenant = 2;
INSERT INTO small_accounts (tenant, id) VALUES (2, 1);
INSERT INTO small_accounts (tenant, id) VALUES (2, 906), (3, 2);
INSERT INTO small_accounts (tenant, id, hits) VALUES (2, 906, 1);
SELECT tenant_id, id, owner, note, hits FROM accounts WHERE id > 900 OR id = 1 ORDER BY id;

-- Checks of the view's condition, and rows that leave it.
-- script
UPDATE rich_accounts SET amount = amount - 50 WHERE tenant_id = 2;
UPDATE rich_accounts SET amount = amount + 50 WHERE tenant_id = 2;
UPDATE rich_accounts SET amount = 50 WHERE id = 30;
UPDATE rich_accounts SET amount = amount - 10;
UPDATE rich_accounts SET amount = amount + 10;
INSERT INTO rich_accounts (tenant_id, id, amount) VALUES (1, 901, 101), (2, 902, 102);
INSERT INTO rich_accounts (tenant_id, id, amount) VALUES (1, 903, 101), (2, 904, 99);
INSERT INTO rich_accounts (tenant_id, id) VALUES (1, 903);
UPDATE rich_accounts SET twice = 5 WHERE tenant_id = 1;
INSERT INTO rich_accounts (tenant_id, id, twice) VALUES (1, 903, 1);
UPDATE rich_accounts SET hits = -1 WHERE tenant_id = 3;
SELECT * FROM rich_accounts ORDER BY id;

-- script
-- ties
UPDATE own_rich SET a = a + 1 RETURNING *;
UPDATE own_rich SET o = 'owner30' WHERE t = 8 AND n = 31;
UPDATE own_rich SET o = 'other', a = 1 WHERE n = 33;
UPDATE own_rich SET o = 'other' WHERE n = 33;
INSERT INTO own_rich VALUES (3, 901, 'me', 500), (4, 902, 'you', 600) RETURNING t, n, o;
INSERT INTO own_rich VALUES (3, 903, 'me', 50);
INSERT INTO own_rich VALUES (3, 903, 'owner30', 500), (4, 904, 'x', 500);
DELETE FROM own_rich WHERE a > 550;
UPDATE loose_rich SET hits = 6 WHERE tenant_id = 5;
UPDATE loose_rich SET amount = 10 WHERE id = 40;
DELETE FROM loose_rich WHERE hits = 3 RETURNING tenant_id, id;
SELECT tenant_id, id, owner, amount, hits FROM accounts ORDER BY id;

-- The view says which shard.
-- script
UPDATE first_tenant SET note = 'one';
UPDATE first_tenant SET note = 'none' WHERE tenant_id = 2;
INSERT INTO first_tenant (tenant_id, id) VALUES (1, 901);
INSERT INTO first_tenant (tenant_id, id) VALUES (2, 902);
INSERT INTO first_tenant (tenant_id, id) VALUES (1, 903), (2, 904);
DELETE FROM first_tenant WHERE id < 30 RETURNING id;
SELECT tenant_id, id, note FROM accounts ORDER BY id;

-- A view without the key, and with its name for something else.
UPDATE keyless_accounts SET note = 'none' WHERE id < 30 RETURNING id

DELETE FROM keyless_accounts WHERE id IN (3, 44)

-- error: 42703
UPDATE keyless_accounts SET note = 'x' WHERE tenant_id = 4

UPDATE swapped SET note = 'swapped' WHERE tenant_id = 7

UPDATE swapped SET note = 'swapped' WHERE id = 7 RETURNING tenant_id

-- error: 23503
UPDATE swapped SET tenant_id = tenant_id + 1000 WHERE id = 7

INSERT INTO swapped (tenant_id, id, note) VALUES (901, 2, 'a'), (902, 3, 'b'), (903, 4, 'c')

-- Conditions that read more.
UPDATE moved_accounts SET note = 'moved' WHERE tenant_id = 3

UPDATE moved_accounts SET note = 'moved' RETURNING id

DELETE FROM moved_accounts WHERE id < 10

-- Joins, other tables, and what lies elsewhere.
UPDATE small_accounts s SET note = t.id::text FROM transfers t WHERE t.tenant_id = s.tenant AND t.account_id = s.id

UPDATE small_accounts SET note = (SELECT max(name) FROM products) WHERE tenant < 6

UPDATE small_accounts SET note = (SELECT max(t.id)::text FROM transfers t)

UPDATE small_accounts s SET note = n.body FROM notes n WHERE n.id = s.id

DELETE FROM small_accounts s USING transfers t WHERE t.account_id = s.id AND t.amount > 20

UPDATE small_accounts SET note = 'most' WHERE id IN (SELECT id FROM small_accounts ORDER BY amount DESC LIMIT 3)

INSERT INTO small_accounts (tenant, id, note) SELECT tenant_id, id + 1000, 'copy' FROM transfers

INSERT INTO small_accounts (tenant, id, note) SELECT tenant, id + 1000, note FROM small_accounts WHERE tenant = 3 RETURNING id

WITH s AS (DELETE FROM small_accounts WHERE tenant = 6 RETURNING tenant, id) SELECT count(*), min(id) FROM s

WITH s AS (UPDATE small_accounts SET note = 'w' RETURNING tenant, id) SELECT t.id FROM s JOIN transfers t ON t.tenant_id = s.tenant AND t.account_id = s.id ORDER BY t.id

WITH s AS (INSERT INTO small_accounts (tenant, id) VALUES (5, 901) RETURNING *) SELECT tenant, id, note FROM s

-- error: 0A000 | 42809
MERGE INTO small_accounts s USING transfers t ON t.tenant_id = s.tenant AND t.account_id = s.id WHEN MATCHED THEN UPDATE SET note = 'm'

-- Rows that are put together first.
-- script
-- ties
INSERT INTO small_accounts (tenant, id, note) SELECT account_id % 12 + 1, id + 1000, 'far' FROM transfers;
INSERT INTO small_accounts (tenant, id, amount) SELECT id % 12 + 1, id + 2000, count(*) OVER () FROM words, generate_series(1, 3) id WHERE n < 4 AND word = 'word' || id;
INSERT INTO rich_accounts (tenant_id, id, amount) SELECT 1 + id % 12, id + 3000, 90 + id FROM transfers WHERE id > 20 RETURNING tenant_id, id, twice;
INSERT INTO rich_accounts (tenant_id, id, amount) SELECT 1 + id % 12, id + 4000, 90 + id FROM transfers;
INSERT INTO small_accounts AS s (tenant, id, note) SELECT t.id % 3 + 1, t.id % 40, 'again' FROM (SELECT DISTINCT id % 40 AS id FROM transfers) t ON CONFLICT (tenant, id) DO UPDATE SET note = s.note || excluded.note RETURNING s.tenant, s.id, s.note;
INSERT INTO low_labels (c, title, rank) SELECT 'T' || id, max(amount)::text, 2 FROM transfers WHERE id < 20 GROUP BY id;
INSERT INTO low_labels (c, title, rank) SELECT 'U' || id, max(amount)::text, 2 + count(*) FROM transfers WHERE id < 20 GROUP BY id;
INSERT INTO note_bodies SELECT id + 10, owner FROM accounts WHERE id < 5;
INSERT INTO note_bodies SELECT id + 90, owner FROM accounts;
UPDATE note_bodies n SET body = a.note FROM accounts a WHERE a.id = n.id;
DELETE FROM note_bodies WHERE id IN (SELECT id FROM transfers);
SELECT tenant_id, id, amount, note FROM accounts ORDER BY tenant_id, id;
SELECT * FROM labels ORDER BY code;

-- Reference tables.
-- script
-- ties
UPDATE low_labels SET title = title || '!' WHERE c < 'L5' RETURNING *;
UPDATE low_labels SET rank = rank + 1 WHERE c = 'L1';
UPDATE low_labels SET rank = 3 WHERE c = 'L4';
INSERT INTO low_labels VALUES ('N1', 'new', 1), ('N2', 'new', 2);
INSERT INTO low_labels (c, rank) VALUES ('N3', 5);
INSERT INTO low_labels (c, rank) VALUES ('L1', 1) ON CONFLICT (c) DO UPDATE SET title = 'again' RETURNING c, title;
INSERT INTO low_labels (c, title, rank) SELECT 'P' || id, name, 1 FROM products WHERE id < 4;
DELETE FROM low_labels WHERE rank = 0;
DELETE FROM low_labels WHERE c = 'L3' RETURNING c;
SELECT * FROM labels ORDER BY code;

-- Defaults of the view's own, and those of what it does not show.
-- script
-- ties
INSERT INTO word_counts (word) VALUES ('view1'), ('view2') RETURNING times;
INSERT INTO word_counts VALUES (DEFAULT, 'view3'), (1, 'view4');
UPDATE word_counts SET times = DEFAULT WHERE word = 'word1';
UPDATE word_counts SET times = DEFAULT WHERE times > 15;
SELECT * FROM words ORDER BY word;

-- script
INSERT INTO stamped (word, n) VALUES ('one', 1);
SELECT word, n, made <= now() FROM stamps;
INSERT INTO stamped (word) VALUES ('two');
DELETE FROM stamped;

-- On the home shard, and what Postgres does not update.
-- script
INSERT INTO note_bodies VALUES (11, 'eleven');
INSERT INTO note_bodies VALUES (111, 'too much');
UPDATE note_bodies SET body = 'x' WHERE id = 1;
SELECT * FROM notes ORDER BY id;

-- params: '0d107d09-f5bb-e40c-ade3-de5c71e9e9b7'
UPDATE recent_sessions SET who = 'nobody' WHERE token = $1

UPDATE twice_keyed SET note = 'x' WHERE tenant_id = 4

-- error: 55000
UPDATE account_sums SET amount = 1 WHERE tenant_id = 4

-- In blocks.
-- script
BEGIN;
UPDATE small_accounts SET amount = amount + 1;
SAVEPOINT s;
INSERT INTO rich_accounts (tenant_id, id, amount) VALUES (7, 901, 1);
ROLLBACK TO s;
INSERT INTO rich_accounts (tenant_id, id, amount) VALUES (7, 901, 1000), (8, 902, 1000);
COMMIT;
SELECT tenant_id, id, amount FROM accounts ORDER BY id;
