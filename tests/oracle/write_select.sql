-- INSERT ... SELECT whose rows belong on other shards than those that they come from.

-- script
INSERT INTO accounts (tenant_id, id) SELECT id + 1, 8000 + id FROM tenants WHERE id < 9;
SELECT tenant_id, id, amount, note FROM accounts WHERE id > 8000 ORDER BY id;

-- script
INSERT INTO accounts (tenant_id, id, owner, amount) SELECT a.id % 12 + 1, 8100 + a.id, 'copy of ' || a.owner, a.amount * 2 FROM accounts a WHERE a.id < 20;
SELECT count(*), sum(amount) FROM accounts WHERE id > 8100;
INSERT INTO accounts (tenant_id, id) SELECT a.id % 12 + 1, 8200 FROM accounts a WHERE a.id < 3;

-- What is read is read to its end before anything is written.
-- script
INSERT INTO words SELECT word || '!', n + 1 FROM words;
INSERT INTO words SELECT word || '?', n + 1 FROM words;
SELECT count(*), sum(n) FROM words;
INSERT INTO words SELECT word, n FROM words LIMIT 1;
SELECT count(*) FROM words;

-- script
BEGIN;
INSERT INTO words VALUES ('mine', 100);
INSERT INTO words SELECT word || ' again', n FROM words WHERE n = 100;
INSERT INTO words SELECT upper(word), n FROM words WHERE n = 100;
SELECT word FROM words WHERE n = 100 ORDER BY word;
ROLLBACK;
SELECT count(*) FROM words WHERE n = 100;

-- script
BEGIN;
INSERT INTO readings SELECT day + 90, n + 100, v FROM readings WHERE n < 6;
SAVEPOINT s;
INSERT INTO readings SELECT day + 90, n + 100, v FROM readings WHERE n < 3;
ROLLBACK TO s;
INSERT INTO readings SELECT day + 60, n + 200, v FROM readings WHERE n < 3;
COMMIT;
SELECT day, n, v FROM readings WHERE n > 100 ORDER BY n, day;

-- Windows, groups, set operations, DISTINCT ON, LIMIT, WITH: whatever a Postgres finishes.
-- script
INSERT INTO words SELECT name || id, row_number() OVER (ORDER BY name, id) FROM tenants;
INSERT INTO words SELECT 'sum ' || coalesce(plan, 'none'), sum(seats) FROM tenants GROUP BY plan;
INSERT INTO words SELECT 'u' || id, id FROM tenants UNION SELECT 'v' || id, id FROM accounts WHERE id < 5;
INSERT INTO words SELECT DISTINCT ON (tenant_id) 'd' || tenant_id, id FROM accounts ORDER BY tenant_id, id DESC;
INSERT INTO words SELECT 'top' || id, hits FROM accounts ORDER BY amount DESC LIMIT 4 OFFSET 2;
INSERT INTO words WITH best AS (SELECT tenant_id, max(amount) AS most FROM accounts GROUP BY tenant_id) SELECT 'best' || tenant_id, most FROM best;
WITH few AS (SELECT id, name FROM tenants WHERE id < 4) INSERT INTO words SELECT 'few' || f.id, a.id FROM few f JOIN accounts a ON a.id = f.id;
SELECT word, n FROM words ORDER BY word;

-- script
INSERT INTO transfers (tenant_id, id, amount) SELECT t.id, 9000 + a.id, a.amount FROM tenants t JOIN accounts a ON a.id = t.id WHERE t.id < 13;
SELECT tenant_id, id, account_id, amount FROM transfers WHERE id > 9000 ORDER BY id;
INSERT INTO transfers SELECT 1, 9500, 1, 1;
INSERT INTO transfers SELECT t.id, 9500, 999, 1 FROM tenants t JOIN accounts a ON a.id = t.id WHERE a.id = 2;

-- Errors: of the query, of the types, of the tables; nothing is left of any of them.
-- script
INSERT INTO words SELECT word, n / (n - n) FROM words;
INSERT INTO words SELECT NULL, id FROM tenants;
INSERT INTO words SELECT 'w' || id FROM tenants WHERE nothing;
INSERT INTO words (word, nothing) SELECT 'w' || id, id FROM tenants;
INSERT INTO words SELECT name, name FROM tenants;
INSERT INTO words SELECT 'w' || id, 3000000000 FROM tenants;
INSERT INTO words SELECT 'same', id FROM tenants;
INSERT INTO words SELECT id, id, id FROM tenants;
INSERT INTO accounts (tenant_id, id, hits) SELECT id + 1, 8400, -1 FROM tenants;
INSERT INTO accounts (tenant_id, id, amount) SELECT id + 1, 8400, NULL FROM tenants;
INSERT INTO accounts (id, tenant_id) SELECT id, NULL FROM tenants;
INSERT INTO accounts (id) SELECT id + 5 FROM tenants;
INSERT INTO readings SELECT 'never', id, 1 FROM tenants;
SELECT count(*) FROM words;

-- script
BEGIN;
INSERT INTO words SELECT 'kept' || id, id FROM tenants WHERE id < 4;
SAVEPOINT a;
INSERT INTO words SELECT 'more' || id, 10 / (id - 2) FROM tenants;
ROLLBACK TO a;
INSERT INTO words SELECT 'word' || id, id FROM tenants WHERE id < 4;
ROLLBACK TO a;
SELECT word FROM words WHERE word LIKE 'kept%' ORDER BY word;
COMMIT;
SELECT count(*) FROM words WHERE word LIKE 'kept%';

-- script
BEGIN;
INSERT INTO words SELECT 'x' || id, 1 / (id - 2) FROM tenants;
SELECT 1;
COMMIT;

-- Literals without a type take that of the column.
-- script
INSERT INTO readings SELECT '2024-02-0' || n, n + 300, '5' FROM readings WHERE n < 3;
INSERT INTO readings SELECT '2024-02-03', n + 300, '5' FROM readings WHERE n < 3;
INSERT INTO readings SELECT '2024-02-03', n + 300, v FROM readings WHERE n IN (3, 4) UNION ALL SELECT '2024-04-01', 400, '7';
SELECT day, n, v FROM readings WHERE n > 300 ORDER BY n;
INSERT INTO sessions SELECT md5('new' || i)::uuid, i, '2024-05-05 12:00+02' FROM generate_series(1, 4) i;
INSERT INTO sessions SELECT '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', NULL, NULL FROM tenants WHERE id = 3;
SELECT token, who, seen FROM sessions WHERE seen > '2024-05-01' OR seen IS NULL ORDER BY token;

-- Types of users, arrays, domains, lengths and precisions.
-- script
-- forms: simple, text
INSERT INTO tickets (tenant_id, id, state, tags, share, fee, code, label) SELECT id % 12 + 1, id + 100, state, tags, share, fee, code, label FROM tickets WHERE id < 13;
INSERT INTO tickets (tenant_id, id, state, tags, fee, note) SELECT n % 12 + 1, n + 200, 'happy', ARRAY[word, 'b'], n * 1.005, word FROM words WHERE n < 6;
INSERT INTO tickets (tenant_id, id, code, label) SELECT n % 12 + 1, n + 300, 'é' || n, 'ab    ' FROM words WHERE n < 4;
SELECT tenant_id, id, state, tags, share, fee, code, label, doubled, made, note FROM tickets WHERE id > 100 ORDER BY id;
INSERT INTO tickets (tenant_id, id, share) SELECT n % 12 + 1, n + 400, n + 98 FROM words;
INSERT INTO tickets (tenant_id, id, label) SELECT n % 12 + 1, n + 400, 'too long' FROM words;
INSERT INTO tickets (tenant_id, id, code) SELECT n % 12 + 1, n + 400, 'wider' FROM words;
INSERT INTO tickets (tenant_id, id, fee) SELECT n % 12 + 1, n + 400, 1000000 FROM words;
INSERT INTO tickets (tenant_id, id, state) SELECT n % 12 + 1, n + 400, 'angry' FROM words;
INSERT INTO tickets (tenant_id, id, doubled) SELECT n % 12 + 1, n + 400, 5 FROM words;
SELECT count(*) FROM tickets;

-- script
INSERT INTO tickets SELECT n % 12 + 1, n + 500 FROM words WHERE n < 5;
INSERT INTO tickets SELECT n % 12 + 1, n + 600, 'ok', '{x,"y z"}', 5, 1, 'abcd', 'abcdef' FROM words WHERE n < 5;
SELECT id, state::text, tags, share, fee, code, label, doubled, made, note FROM tickets WHERE id > 500 ORDER BY id;

-- Defaults: one moment for all rows, whichever shard they go to.
-- script
INSERT INTO stamps (word) SELECT 'stamp' || id FROM tenants;
SELECT count(*), count(DISTINCT made), count(DISTINCT day), min(n) FROM stamps;
TRUNCATE stamps;

-- script
BEGIN;
INSERT INTO stamps (word, n) SELECT 'in ' || id, id FROM tenants;
SELECT count(DISTINCT made), count(DISTINCT day) FROM stamps;
ROLLBACK;
SELECT count(*) FROM stamps;

-- script
BEGIN;
SELECT count(*) FROM words WHERE n < 0;
INSERT INTO stamps (word, day) SELECT word || n, '2024-01-01' FROM words;
SELECT count(DISTINCT made), max(day) FROM stamps;
TRUNCATE stamps;
COMMIT;

-- Into a reference table, once evaluated and the same everywhere.
-- script
INSERT INTO labels SELECT 'T' || id, name, id FROM tenants WHERE id < 6;
INSERT INTO labels SELECT 'W' || word, NULL, n FROM words ORDER BY n DESC LIMIT 2;
INSERT INTO labels SELECT 'L1', 'again', id FROM tenants WHERE id = 3;
INSERT INTO labels SELECT code || 'x', title, rank FROM labels LIMIT 3;
SELECT count(*) FROM labels WHERE code NOT LIKE 'L%x';

-- script
INSERT INTO marks (code) SELECT word FROM words;
INSERT INTO marks (code, n) VALUES ('a', 1), ('b', 2);
INSERT INTO marks VALUES ('r', now(), gen_random_uuid(), 3);
SELECT count(*), count(DISTINCT token), sum(n) FROM marks;
SELECT bool_and(m.made = n.made) FROM marks m JOIN marks n USING (token);
TRUNCATE marks;

-- Into a table on the home shard, and from one.
-- script
INSERT INTO notes SELECT id + 500, name FROM tenants WHERE id < 8;
INSERT INTO notes SELECT n + 600, word FROM words WHERE n = 3;
INSERT INTO words SELECT body || id, id FROM notes WHERE id < 5;
INSERT INTO accounts (tenant_id, id, note) SELECT id % 5 + 1, 8600 + id, body FROM notes WHERE id < 8;
INSERT INTO notes SELECT 501, 'again' FROM tenants WHERE id = 3;
SELECT id, body FROM notes ORDER BY id;
SELECT tenant_id, id, note FROM accounts WHERE id > 8600 ORDER BY id;

-- script
INSERT INTO words SELECT 'p' || id, id FROM products WHERE id < 6;
INSERT INTO words SELECT 'g' || g, g FROM generate_series(1, 7) g;
INSERT INTO words SELECT 'lateral ' || t.id, l.n FROM tenants t CROSS JOIN LATERAL (SELECT count(*) AS n FROM accounts a WHERE a.id < t.id) l WHERE t.id < 5;
SELECT word, n FROM words ORDER BY n, word;

-- VALUES with keys that must be evaluated.
-- script
INSERT INTO accounts (tenant_id, id) VALUES (2 + 3, 8700), (length('abc'), 8701), ((SELECT max(id) FROM tenants WHERE id < 9), 8702);
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 8703, (SELECT max(word) FROM words)), (2, 8704, (SELECT min(word) FROM words));
INSERT INTO readings VALUES ('2024-01-01'::date + 40, 8705, 1), (date_trunc('month', timestamp '2024-04-20'), 8706, 2);
INSERT INTO words VALUES (lower('ABC'), 1), (concat('a', 'b', 1), 2);
INSERT INTO tickets (tenant_id, id, state, note, made) VALUES (1 + 1, 700, 'ok', DEFAULT, DEFAULT), (2 + 1, 701, DEFAULT, 'x', DEFAULT);
SELECT tenant_id, id, note FROM accounts WHERE id >= 8700 ORDER BY id;
SELECT tenant_id, id, state::text, note, made FROM tickets WHERE id >= 700 ORDER BY id;
INSERT INTO accounts (tenant_id, id) VALUES (NULL, 8710);
INSERT INTO accounts (tenant_id, id) VALUES (DEFAULT, 8710);
INSERT INTO accounts (id) VALUES (8710);
INSERT INTO accounts DEFAULT VALUES;

-- ON CONFLICT.
-- script
INSERT INTO words SELECT 'word' || id * 2, 50 FROM tenants ON CONFLICT DO NOTHING;
INSERT INTO words SELECT word, n FROM words ON CONFLICT (word) DO UPDATE SET n = words.n + EXCLUDED.n;
INSERT INTO words AS w SELECT 'word' || id, id FROM tenants ON CONFLICT (word) DO UPDATE SET n = EXCLUDED.n * 100 WHERE w.n < 20;
SELECT word, n FROM words ORDER BY word;
INSERT INTO words SELECT 'twice', id FROM tenants ON CONFLICT (word) DO UPDATE SET n = EXCLUDED.n;
INSERT INTO words SELECT 'once', 5 FROM tenants ON CONFLICT DO NOTHING;
SELECT n FROM words WHERE word IN ('once', 'twice');

-- script
INSERT INTO accounts (tenant_id, id, owner) SELECT a.id % 12 + 1, a.id + 1, 'up' || a.id FROM accounts a WHERE a.id < 30 ON CONFLICT (tenant_id, id) DO UPDATE SET note = EXCLUDED.owner, hits = coalesce(accounts.hits, 0) + 1;
SELECT tenant_id, id, owner, note, hits FROM accounts WHERE id < 32 ORDER BY id, tenant_id;
INSERT INTO accounts (tenant_id, id, owner) SELECT a.id % 12 + 1, a.id + 1, 'up' || a.id FROM accounts a WHERE a.id < 30 ON CONFLICT ON CONSTRAINT accounts_pkey DO NOTHING;
INSERT INTO labels SELECT 'L' || id, name, 9 FROM tenants WHERE id < 12 ON CONFLICT (code) DO UPDATE SET rank = EXCLUDED.rank + labels.rank;
SELECT code, title, rank FROM labels ORDER BY code;

-- RETURNING, in the order of the query where it has one.
-- script
-- ties
INSERT INTO words SELECT 'r' || id, id FROM tenants WHERE id < 9 ORDER BY id DESC RETURNING n, word;
INSERT INTO words SELECT 'q' || id, id FROM tenants WHERE id < 9 RETURNING *;
INSERT INTO words SELECT 'none', id FROM tenants WHERE id > 1000 RETURNING word;
INSERT INTO accounts AS a (tenant_id, id) SELECT id + 1, 8800 + id FROM tenants WHERE id < 9 RETURNING a.*, amount + 1 AS "More", note || '!';
INSERT INTO words SELECT 'r' || id, 1 FROM tenants WHERE id < 12 ON CONFLICT DO NOTHING RETURNING word;
INSERT INTO words SELECT 'r' || id, 2 FROM tenants WHERE id < 12 ON CONFLICT (word) DO UPDATE SET n = words.n + 1 RETURNING word, n;
INSERT INTO tickets (tenant_id, id, state, tags) SELECT id + 1, 800 + id, 'sad', ARRAY['q', NULL] FROM tenants WHERE id < 5 RETURNING id, state::text, tags, doubled, made;
INSERT INTO labels SELECT 'R' || id, name, id FROM tenants WHERE id < 4 RETURNING code, rank;
INSERT INTO notes SELECT id + 700, name FROM tenants WHERE id < 4 RETURNING id, body;
INSERT INTO words VALUES (lower('UP'), 5), (lower('Down'), 6) RETURNING n, word;

-- Parameters everywhere.
-- params: 3, 'p', 12, 5000
INSERT INTO accounts (tenant_id, id, note, amount) SELECT id + 1, $4 + id, $2 || id, $1 FROM tenants WHERE id < $3 ON CONFLICT (tenant_id, id) DO UPDATE SET amount = accounts.amount + $1, note = $2 RETURNING tenant_id, id, note, amount

-- params: 'q', 7
-- types: text, int4
INSERT INTO words SELECT $1 || id, $2 FROM tenants WHERE id <> $2 ON CONFLICT DO NOTHING

-- params: 5, 8900
INSERT INTO accounts (tenant_id, id) VALUES ($1 + 1, $2), ($1 + 2, $2) ON CONFLICT DO NOTHING

-- params: '2024-02-10', 8901, '1.5'
INSERT INTO readings SELECT $1, n + $2, $3 FROM readings WHERE n < 4 ON CONFLICT DO NOTHING

-- Co-located: each shard for itself, the key is the shard's own.
-- script
INSERT INTO transfers (tenant_id, id, account_id) SELECT a.tenant_id, a.id * 100 + 1, a.id FROM accounts a JOIN tenants t ON t.id = a.tenant_id WHERE a.hits > 3;
INSERT INTO accounts (id, tenant_id, note) SELECT 9900 + o.n, o.tenant_id, o.s FROM (SELECT tenant_id, count(*) AS n, max(status) AS s FROM orders GROUP BY tenant_id) o;
INSERT INTO accounts (tenant_id, id) SELECT DISTINCT tenant_id, 9990 FROM orders WHERE tenant_id < 13;
SELECT tenant_id, id, note FROM accounts WHERE id > 9900 ORDER BY 1, 2;
SELECT count(*) FROM transfers;

-- params: '{801,802,803,804}', '{a,b,NULL,d}'
INSERT INTO accounts (tenant_id, id, note) SELECT 1 + i % 7, i, n FROM unnest($1::int[], $2::text[]) AS u (i, n) RETURNING id, note

-- params: '{811,812,813}', '{1,2,3}'
INSERT INTO accounts (id, tenant_id) SELECT * FROM unnest($1::int[], $2::int[]) RETURNING tenant_id, id

-- script
INSERT INTO accounts (id, tenant_id) SELECT * FROM unnest('{811,812,813}'::int[], ARRAY[1,2,3]::int4[]);
INSERT INTO accounts (tenant_id, id, note) SELECT 8, * FROM unnest('{821,822}'::int[], '{x,y}'::text[]) RETURNING id, note;
SELECT tenant_id, id, note FROM accounts WHERE id > 810 ORDER BY id;

-- Rows that each shard has already, with a default that reads the clock: one moment for all.
-- script
INSERT INTO stamps (word) SELECT word FROM words;
SELECT count(*), count(DISTINCT made), count(DISTINCT day) FROM stamps;
INSERT INTO stamps (word) SELECT word || '!' FROM words WHERE word = 'word1' UNION ALL SELECT word || '?' FROM words;
SELECT count(*), count(DISTINCT made) FROM stamps;
DELETE FROM stamps;
