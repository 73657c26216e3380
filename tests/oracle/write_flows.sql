-- What applications do.

-- A queue: take some, do them, put them away.
-- script
UPDATE accounts SET note = 'taken' WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM accounts WHERE note IS NULL ORDER BY id LIMIT 5);
SELECT id FROM accounts WHERE note = 'taken' ORDER BY id;
INSERT INTO transfers (tenant_id, id, account_id, amount) SELECT tenant_id, 5000 + id, id, amount / 10 FROM accounts WHERE note = 'taken';
UPDATE accounts SET note = 'done', hits = hits + 1 WHERE note = 'taken';
UPDATE accounts SET note = 'taken' WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM accounts WHERE note IS NULL ORDER BY id LIMIT 5);
DELETE FROM accounts WHERE note = 'done' AND NOT EXISTS (SELECT 1 FROM transfers x WHERE x.tenant_id = accounts.tenant_id AND x.account_id = accounts.id AND x.amount > 10);
SELECT tenant_id, id, note, hits FROM accounts ORDER BY id;

-- A ledger: money goes from one to another, and the sum stays.
-- script
BEGIN;
UPDATE accounts SET amount = amount - 10 WHERE tenant_id = 2 AND id = 1;
UPDATE accounts SET amount = amount + 10 WHERE tenant_id = 3 AND id = 2;
INSERT INTO transfers VALUES (2, 901, 1, -10), (3, 902, 2, 10);
COMMIT;
BEGIN;
UPDATE accounts SET amount = amount - 1000 WHERE tenant_id = 2 AND id = 1 RETURNING amount;
UPDATE accounts SET amount = amount + 1000 WHERE tenant_id = 99 AND id = 2;
ROLLBACK;
UPDATE accounts SET amount = amount + CASE id WHEN 1 THEN -5 ELSE 5 END WHERE (tenant_id, id) IN ((2, 1), (4, 3));
SELECT sum(amount) FROM accounts;
SELECT id, amount FROM accounts WHERE id < 5 ORDER BY id;

-- Counters.
-- script
INSERT INTO words VALUES ('hits', 1) ON CONFLICT (word) DO UPDATE SET n = words.n + 1;
INSERT INTO words VALUES ('hits', 1) ON CONFLICT (word) DO UPDATE SET n = words.n + 1 RETURNING n;
INSERT INTO words SELECT 'by ' || coalesce(note, 'none'), count(*) FROM accounts GROUP BY note ON CONFLICT (word) DO UPDATE SET n = excluded.n;
UPDATE accounts SET note = 'note 1' WHERE note IS NULL;
INSERT INTO words SELECT 'by ' || coalesce(note, 'none'), count(*) FROM accounts GROUP BY note ON CONFLICT (word) DO UPDATE SET n = excluded.n;
SELECT word, n FROM words WHERE word LIKE 'by %' OR word = 'hits' ORDER BY word;

-- An archive.
-- script
WITH old AS (DELETE FROM transfers WHERE amount < 30 RETURNING *) INSERT INTO accounts (tenant_id, id, owner, amount) SELECT tenant_id, 10000 + id, 'archived ' || id, amount FROM old;
SELECT count(*), sum(amount) FROM accounts WHERE id > 10000;
INSERT INTO words SELECT owner, id FROM accounts WHERE id > 10000;
DELETE FROM accounts WHERE id > 10000 AND owner IN (SELECT word FROM words);
INSERT INTO transfers SELECT 1 + n % 12, n - 10000, NULL, n FROM words WHERE word LIKE 'archived%';
SELECT tenant_id, id, amount FROM transfers ORDER BY id;

-- Duplicates.
-- script
INSERT INTO accounts (tenant_id, id, note, hits) SELECT tenant_id, id + 2000, note, hits FROM accounts WHERE hits < 3;
DELETE FROM accounts a USING accounts b WHERE a.note = b.note AND a.hits = b.hits AND a.tenant_id = b.tenant_id AND a.id > b.id;
SELECT tenant_id, id, note, hits FROM accounts ORDER BY id;
DELETE FROM accounts WHERE (tenant_id, id) NOT IN (SELECT tenant_id, min(id) FROM accounts GROUP BY tenant_id);
SELECT tenant_id, id FROM accounts ORDER BY id;
DELETE FROM words a WHERE EXISTS (SELECT 1 FROM words b WHERE b.n % 4 = a.n % 4 AND b.n < a.n);
SELECT word FROM words ORDER BY n;

-- What is known twice.
-- script
UPDATE accounts a SET amount = s.total, hits = s.c FROM (SELECT tenant_id, account_id, sum(amount) AS total, count(*) AS c FROM transfers GROUP BY tenant_id, account_id) s WHERE s.tenant_id = a.tenant_id AND s.account_id = a.id;
UPDATE accounts a SET note = (SELECT string_agg(x.id::text, ',' ORDER BY x.id) FROM transfers x WHERE x.tenant_id = a.tenant_id);
UPDATE accounts a SET owner = t.name || ' ' || a.id FROM tenants t WHERE t.id = a.tenant_id AND t.plan IS NOT NULL;
UPDATE transfers x SET amount = a.amount * 2 FROM accounts a WHERE a.tenant_id = x.tenant_id AND a.id = x.account_id AND a.hits = 1;
UPDATE accounts SET hits = (SELECT max(hits) FROM accounts b WHERE b.tenant_id = accounts.tenant_id) WHERE id > 30;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts ORDER BY id;
SELECT id, amount FROM transfers ORDER BY id;

-- Backfills.
-- script
UPDATE tickets SET note = 'ticket ' || id, tags = ARRAY[label, code::text] WHERE tags IS NULL;
UPDATE tickets SET made = made + id * interval '1 day', fee = round(fee * 1.1, 2);
UPDATE tickets SET state = CASE WHEN id % 2 = 0 THEN 'happy'::mood ELSE state END;
UPDATE tickets SET share = share / 2, label = left(label || 'xxxxxx', 6) WHERE share > 10;
UPDATE tickets SET tags = tags || note, note = NULL WHERE array_length(tags, 1) = 2;
UPDATE tickets SET tags = array_prepend('first', tags) WHERE id < 5;
SELECT tenant_id, id, state::text, tags, share, fee, code, label, doubled, made, note FROM tickets ORDER BY id;

-- A new key for all of them.
-- script
UPDATE tickets SET tenant_id = 13 - tenant_id;
SELECT tenant_id, id, doubled FROM tickets ORDER BY id;
UPDATE tickets SET tenant_id = tenant_id % 3 + 1, id = id + 100 * tenant_id;
SELECT tenant_id, count(*), min(id), max(id) FROM tickets GROUP BY tenant_id ORDER BY tenant_id;
UPDATE tickets SET id = (id - 1) % 36 + 1 RETURNING false AS never;
SELECT count(*) FROM tickets;

-- Import by a table on the home shard.
-- script
DELETE FROM notes;
INSERT INTO notes SELECT id, owner FROM accounts WHERE id % 3 = 0;
INSERT INTO notes SELECT n + 500, word FROM words ON CONFLICT (id) DO UPDATE SET body = excluded.body;
MERGE INTO words w USING (SELECT body, id FROM notes WHERE id > 510) n ON w.word = n.body WHEN MATCHED THEN UPDATE SET n = w.n + n.id WHEN NOT MATCHED THEN INSERT VALUES (n.body, n.id);
UPDATE accounts SET note = n.body || '!' FROM notes n WHERE n.id = accounts.id;
DELETE FROM notes WHERE body IN (SELECT owner FROM accounts WHERE hits > 2);
SELECT id, body FROM notes ORDER BY id;
SELECT word, n FROM words ORDER BY word;
SELECT id, note FROM accounts WHERE note LIKE '%!' ORDER BY id;

-- Labels that every shard has, by what lies on shards.
-- script
INSERT INTO labels SELECT 'T' || tenant_id, count(*) || ' accounts', max(hits) FROM accounts GROUP BY tenant_id;
UPDATE labels SET rank = (SELECT count(*) FROM transfers WHERE tenant_id = 3) WHERE code = 'T3';
DELETE FROM labels WHERE code LIKE 'L%' AND rank NOT IN (SELECT hits FROM accounts WHERE tenant_id = 4);
UPDATE accounts a SET note = l.title FROM labels l WHERE l.code = 'T' || a.tenant_id;
INSERT INTO accounts (tenant_id, id, owner) SELECT rank + 1, 3000 + rank, title FROM labels WHERE code LIKE 'L%' ON CONFLICT DO NOTHING;
SELECT code, title, rank FROM labels ORDER BY code;
SELECT tenant_id, id, owner, note FROM accounts ORDER BY tenant_id, id;

-- Everything in one block, undone in parts.
-- script
BEGIN;
INSERT INTO accounts (tenant_id, id, owner, hits) SELECT id, 6000 + id, name, seats % 5 FROM tenants WHERE id <= 12;
SAVEPOINT imported;
UPDATE accounts SET hits = (SELECT max(hits) FROM accounts) WHERE id > 6000;
DELETE FROM accounts WHERE id > 6000 AND owner IN (SELECT name FROM customers);
ROLLBACK TO imported;
UPDATE accounts a SET note = o.status FROM orders o WHERE o.tenant_id = a.tenant_id AND o.id = (SELECT min(id) FROM orders p WHERE p.tenant_id = a.tenant_id);
SAVEPOINT noted;
MERGE INTO accounts a USING (SELECT tenant_id, count(*) AS c FROM orders GROUP BY tenant_id) o ON o.tenant_id = a.tenant_id AND a.id > 6000 WHEN MATCHED THEN UPDATE SET amount = o.c WHEN NOT MATCHED AND o.tenant_id <= 12 THEN INSERT (tenant_id, id) VALUES (o.tenant_id, 7000);
RELEASE imported;
COMMIT;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts ORDER BY tenant_id, id;

-- Orders and their lines.
-- script
BEGIN;
WITH o AS (INSERT INTO accounts (tenant_id, id, owner) VALUES (7, 700, 'order') RETURNING tenant_id, id) INSERT INTO transfers SELECT tenant_id, id + g, id, g * 1.5 FROM o, generate_series(1, 4) g;
UPDATE accounts SET amount = (SELECT sum(amount) FROM transfers WHERE tenant_id = 7 AND account_id = 700) WHERE tenant_id = 7 AND id = 700;
SELECT amount FROM accounts WHERE tenant_id = 7 AND id = 700;
DELETE FROM transfers WHERE tenant_id = 7 AND account_id = 700 AND amount > 4;
UPDATE accounts SET amount = (SELECT sum(amount) FROM transfers WHERE tenant_id = 7 AND account_id = 700) WHERE tenant_id = 7 AND id = 700;
COMMIT;
SELECT a.amount, count(*) FROM accounts a JOIN transfers x ON x.tenant_id = a.tenant_id AND x.account_id = a.id WHERE a.tenant_id = 7 AND a.id = 700 GROUP BY a.amount;
DELETE FROM accounts WHERE tenant_id = 7 AND id = 700;
SELECT count(*) FROM transfers WHERE tenant_id = 7;

-- Sessions that end.
-- script
DELETE FROM sessions WHERE seen < (SELECT max(seen) - interval '10 minutes' FROM sessions);
UPDATE sessions SET seen = seen + interval '1 hour' WHERE token = md5('s15')::uuid RETURNING who, seen;
INSERT INTO sessions SELECT md5(token::text || n)::uuid, who, seen FROM sessions, generate_series(1, 2) n ON CONFLICT DO NOTHING;
DELETE FROM sessions a USING sessions b WHERE a.who = b.who AND a.seen < b.seen;
SELECT who, seen, count(*) FROM sessions GROUP BY who, seen ORDER BY who, seen;

-- Values that come and go as text, numbers, nothing.
-- script
INSERT INTO words VALUES ('', 0), (' ', 1), ('  trailing  ', 2), (E'tab\t', 3), ('Ünïcode 漢字', 4), ('it''s', 5), (E'back\\slash', 6), ('"quoted"', 7), ('$1', 8), ('a;b', 9), ('--', 10);
UPDATE words SET word = word || '.' WHERE n < 11 AND length(word) < 3;
INSERT INTO words SELECT word || word, n FROM words WHERE word ~ '[^a-z0-9]';
DELETE FROM words WHERE word IN (SELECT word || word FROM words WHERE n = 5);
UPDATE accounts SET note = w.word FROM words w WHERE w.n = accounts.id AND w.word NOT LIKE 'word%' AND length(w.word) < 13 AND w.n IN (0, 2, 4, 7);
MERGE INTO words w USING (VALUES ('it''s', '{}'), ('', '""')) v (word, x) ON w.word = v.word WHEN MATCHED THEN UPDATE SET n = length(v.x) WHEN NOT MATCHED THEN INSERT VALUES (v.word, 99);
SELECT word, n FROM words ORDER BY word;
SELECT id, note FROM accounts WHERE id < 8 ORDER BY id;

-- Numbers at their edges.
-- script
INSERT INTO metrics VALUES ('2024-01-01', 2147483647, 9223372036854775807, 'NaN'), ('2024-05-05', -2147483648, -9223372036854775808, 1e100);
UPDATE metrics SET value = value + 1 WHERE day = '2024-01-01';
UPDATE metrics SET value = value - 1 WHERE series = 2147483647;
UPDATE metrics SET ratio = ratio / 3 WHERE series IN (2147483647, -2147483648, 1);
INSERT INTO metrics SELECT day + 1, series, value, ratio FROM metrics WHERE abs(series::bigint) > 1000;
UPDATE metrics SET day = day - 100, ratio = round(ratio, 3) WHERE ratio IS NOT NULL AND series < 0;
SELECT day, series, value, ratio FROM metrics WHERE abs(series::bigint) > 1000 OR series = 1 ORDER BY day, series;

-- Nothing, and all.
-- script
DELETE FROM accounts WHERE id IN (SELECT id FROM void);
UPDATE words SET n = n WHERE EXISTS (SELECT FROM void);
INSERT INTO words SELECT t, id FROM void;
INSERT INTO words SELECT t, id FROM void ON CONFLICT DO NOTHING RETURNING *;
DELETE FROM words WHERE NOT EXISTS (SELECT FROM void);
INSERT INTO words SELECT DISTINCT note, hits FROM accounts WHERE note IS NOT NULL AND hits = 1;
SELECT word, n FROM words ORDER BY word;
DELETE FROM transfers;
DELETE FROM accounts;
INSERT INTO accounts (tenant_id, id) SELECT 1 + n % 12, n FROM words, generate_series(1, 3) g WHERE n < 3 ON CONFLICT DO NOTHING;
SELECT tenant_id, id FROM accounts ORDER BY id;

-- Views beside what is written.
-- script
UPDATE accounts SET hits = (SELECT count(*) FROM big_orders b WHERE b.tenant_id = accounts.tenant_id);
INSERT INTO words SELECT who, max(worth) FROM top_customers GROUP BY who ON CONFLICT DO NOTHING;
DELETE FROM words WHERE word IN (SELECT name FROM product_names);
UPDATE labels SET rank = (SELECT count(*) FROM product_names) WHERE code = 'L1';
INSERT INTO accounts (tenant_id, id, amount) SELECT tenant_id, id + 50000, total FROM big_orders WHERE tenant_id < 4 AND total > 1100;
SELECT id, hits FROM accounts ORDER BY id;
SELECT count(*), sum(n) FROM words;
SELECT rank FROM labels WHERE code = 'L1';

-- Who asks for the old is answered with the new.
-- script
-- ties
UPDATE accounts SET amount = amount * 2, hits = hits + 1 WHERE hits < 2 RETURNING id, amount, hits, amount / 2 AS was;
UPDATE accounts a SET note = b.owner FROM accounts b WHERE b.tenant_id = a.tenant_id AND b.id = a.id + 12 RETURNING a.id, b.id, a.note, b.note;
UPDATE words SET word = word || n, n = n + 1 WHERE n < 4 RETURNING word, n;
DELETE FROM transfers x USING accounts a, tenants t WHERE a.tenant_id = x.tenant_id AND a.id = x.account_id AND t.id = a.tenant_id AND t.seats > 20 RETURNING x.id, a.owner, t.name;
INSERT INTO words SELECT owner, hits FROM accounts WHERE id < 4 RETURNING n, word;
UPDATE accounts SET note = NULL WHERE id < 3 RETURNING note, note IS NULL AS gone, (SELECT count(*) FROM words WHERE n > 100) AS others;

-- The same row by two ways; the second sees what the first did.
-- script
BEGIN;
UPDATE words SET n = n + 1 WHERE word = 'word1';
UPDATE words SET n = n * 10 WHERE n IN (SELECT n FROM words WHERE word = 'word1');
MERGE INTO words w USING (SELECT word, n + 1 AS n FROM words WHERE n > 19) s ON s.word = w.word WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT VALUES (s.word, s.n);
UPDATE words SET word = word || '!' WHERE n > 19;
WITH u AS (UPDATE words SET n = n + 1 WHERE word LIKE '%!' RETURNING word, n) SELECT count(*), sum(n) FROM u;
DELETE FROM words WHERE n > (SELECT avg(n) + 5 FROM words);
SELECT word, n FROM words ORDER BY n, word;
COMMIT;
SELECT word, n FROM words ORDER BY n, word;

-- Two tables of different keys, kept in step.
-- script
INSERT INTO words SELECT owner, id FROM accounts WHERE hits > 3;
UPDATE accounts a SET hits = 0 FROM words w WHERE w.word = a.owner;
DELETE FROM words WHERE word IN (SELECT owner FROM accounts WHERE tenant_id < 4);
INSERT INTO accounts (tenant_id, id, owner) SELECT 1 + n % 12, 20000 + n, 'from ' || word FROM words WHERE word LIKE 'owner%';
UPDATE words w SET n = a.id FROM accounts a WHERE a.owner = 'from ' || w.word RETURNING w.n - a.id AS zero;
MERGE INTO accounts a USING words w ON a.owner = 'from ' || w.word WHEN MATCHED AND w.n % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET note = w.word;
SELECT word, n FROM words ORDER BY n, word;
SELECT tenant_id, id, owner, note, hits FROM accounts ORDER BY tenant_id, id;
