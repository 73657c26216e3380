-- WITH that changes data.

-- On one shard.
-- script
WITH u AS (UPDATE accounts SET hits = 50 WHERE tenant_id = 3 RETURNING id, hits) SELECT count(*), sum(hits) FROM u;
WITH d AS (DELETE FROM transfers WHERE tenant_id = 3 RETURNING *) SELECT id, account_id, amount FROM d ORDER BY id;
WITH d AS (DELETE FROM transfers WHERE tenant_id = 5 RETURNING *) INSERT INTO transfers SELECT tenant_id, id + 1000, account_id, amount FROM d;
WITH i AS (INSERT INTO accounts (tenant_id, id, owner) VALUES (4, 901, 'with') RETURNING *) SELECT tenant_id, id, owner, amount, note FROM i;
WITH i AS (INSERT INTO accounts (tenant_id, id, owner) VALUES (4, 902, 'too') RETURNING tenant_id, id) INSERT INTO transfers (tenant_id, id, account_id) SELECT tenant_id, id + 1, id FROM i RETURNING *;
WITH u AS (UPDATE accounts SET note = 'there' WHERE tenant_id = 4 AND id = 901 RETURNING id) INSERT INTO accounts (tenant_id, id, note) SELECT 4, 901, 'new' WHERE NOT EXISTS (SELECT 1 FROM u);
WITH u AS (UPDATE accounts SET note = 'there' WHERE tenant_id = 4 AND id = 903 RETURNING id) INSERT INTO accounts (tenant_id, id, note) SELECT 4, 903, 'new' WHERE NOT EXISTS (SELECT 1 FROM u);
WITH d AS (DELETE FROM words WHERE word = 'word3' RETURNING n) INSERT INTO words SELECT 'word3', n * 100 FROM d RETURNING *;
SELECT tenant_id, id, owner, note, hits FROM accounts WHERE tenant_id IN (3, 4) ORDER BY id;
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id;
SELECT word, n FROM words ORDER BY n;

-- On all shards, each with its own rows.
-- script
WITH u AS (UPDATE accounts SET hits = 1 RETURNING id) SELECT count(*) FROM u;
WITH u AS (UPDATE accounts SET hits = hits + id RETURNING tenant_id, id, hits) SELECT tenant_id, count(*), sum(hits), avg(hits) FROM u GROUP BY tenant_id ORDER BY tenant_id;
WITH u AS (UPDATE accounts SET amount = amount + 0.25 RETURNING id % 5 AS m, amount) SELECT m, max(amount), min(amount) FROM u GROUP BY m ORDER BY m;
WITH d AS (DELETE FROM transfers WHERE amount > 50 RETURNING *) SELECT * FROM d ORDER BY id;
WITH d AS (DELETE FROM transfers WHERE amount > 40 RETURNING tenant_id, account_id) SELECT d.account_id, a.owner FROM d JOIN accounts a ON a.tenant_id = d.tenant_id AND a.id = d.account_id ORDER BY 1;
WITH d AS (DELETE FROM words WHERE n > 15 RETURNING n) SELECT DISTINCT n % 3 AS r FROM d ORDER BY r;
SELECT id, amount, hits FROM accounts ORDER BY id;
SELECT id FROM transfers ORDER BY id;
SELECT n FROM words ORDER BY n;

-- From one table into another of its distribution.
-- script
WITH d AS (DELETE FROM transfers WHERE amount < 60 RETURNING *) INSERT INTO accounts (tenant_id, id, owner, amount) SELECT tenant_id, 7000 + id, 'was ' || id, amount FROM d;
WITH d AS (DELETE FROM transfers RETURNING *) INSERT INTO accounts (tenant_id, id, owner, amount) SELECT tenant_id, 8000 + id, 'was ' || id, amount FROM d WHERE account_id % 4 = 0;
WITH i AS (INSERT INTO transfers SELECT tenant_id, id, id, amount FROM accounts WHERE id < 30 RETURNING tenant_id, id, amount) UPDATE accounts SET amount = accounts.amount - i.amount, note = 'moved' FROM i WHERE i.tenant_id = accounts.tenant_id AND i.id = accounts.id;
WITH u AS (UPDATE accounts SET hits = NULL WHERE hits = 4 RETURNING tenant_id, id), d AS (DELETE FROM transfers USING u WHERE u.tenant_id = transfers.tenant_id AND u.id = transfers.account_id RETURNING transfers.*) SELECT count(*), sum(amount) FROM d;
WITH d AS (DELETE FROM accounts WHERE id > 8000 RETURNING *) DELETE FROM accounts a USING d WHERE d.tenant_id = a.tenant_id AND a.id = d.id - 1000;
WITH d (t, i) AS (DELETE FROM accounts WHERE id < 10 RETURNING tenant_id, id) UPDATE accounts SET note = 'left' WHERE tenant_id IN (SELECT t FROM d);
SELECT tenant_id, id, owner, amount, note, hits FROM accounts ORDER BY id;
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id;

-- What is asked of the returned rows does not say which rows are changed.
-- script
WITH d AS (DELETE FROM transfers RETURNING tenant_id, id) SELECT id FROM d WHERE tenant_id = 3 ORDER BY id;
SELECT count(*) FROM transfers;
WITH u AS (UPDATE accounts SET note = 'all' RETURNING tenant_id, id) SELECT u.id FROM u JOIN accounts a ON a.tenant_id = u.tenant_id AND a.id = u.id WHERE a.tenant_id = 4 AND a.note IS NULL ORDER BY 1;
SELECT count(*) FROM accounts WHERE note = 'all';
WITH d AS (DELETE FROM words RETURNING word) SELECT count(*) FROM d WHERE word = 'word1';
SELECT count(*) FROM words;
WITH d AS (DELETE FROM readings WHERE n > 20) SELECT count(*) FROM accounts WHERE tenant_id = 3;
WITH d AS (DELETE FROM readings WHERE day = '2024-01-06') UPDATE readings SET v = -1 WHERE day = '2024-01-06';
SELECT n, v FROM readings ORDER BY n;

-- Tables of the home shard.
-- script
WITH d AS (DELETE FROM notes WHERE id < 4 RETURNING *) SELECT * FROM d ORDER BY id;
WITH d AS (DELETE FROM notes WHERE id < 6 RETURNING *), i AS (INSERT INTO notes SELECT id + 100, body FROM d RETURNING id) SELECT sum(id) FROM i;
WITH i AS (INSERT INTO notes VALUES (500, 'x') ON CONFLICT (id) DO UPDATE SET body = 'y' RETURNING body) UPDATE notes SET body = i.body FROM i WHERE id = 7;
SELECT id, body FROM notes ORDER BY id;

-- All see the table as it was.
-- script
WITH d AS (DELETE FROM accounts WHERE id > 20 RETURNING id) SELECT count(*) FROM accounts;
WITH u AS (UPDATE accounts SET hits = 0 RETURNING tenant_id, id) SELECT a.id, a.hits FROM accounts a JOIN u ON u.tenant_id = a.tenant_id AND u.id = a.id ORDER BY a.id;
WITH u AS (UPDATE accounts SET hits = 7 WHERE id < 5) UPDATE accounts SET note = 'zero' WHERE hits = 0;
SELECT id, note, hits FROM accounts ORDER BY id;

-- Errors undo all of it, on all shards.
-- script
WITH u AS (UPDATE accounts SET hits = hits - 5 RETURNING id) SELECT count(*) FROM u;
WITH d AS (DELETE FROM transfers RETURNING *) INSERT INTO accounts (tenant_id, id) SELECT tenant_id, account_id FROM d;
WITH d AS (DELETE FROM transfers RETURNING *) SELECT sum(1 / (id - 20)) FROM d;
WITH i AS (INSERT INTO accounts (tenant_id, id) VALUES (2, 1) RETURNING id) INSERT INTO transfers (tenant_id, id, account_id) SELECT 2, 4000, id + 77 FROM i;
WITH d AS (DELETE FROM transfers RETURNING *) SELECT nothing FROM d;
WITH d AS (DELETE FROM transfers) SELECT * FROM d;
WITH d AS (DELETE FROM nowhere RETURNING *) SELECT * FROM d;
SELECT * FROM (WITH d AS (DELETE FROM transfers RETURNING *) SELECT * FROM d) s;
SELECT count(*), sum(hits) FROM accounts;
SELECT count(*) FROM transfers;

-- script
BEGIN;
WITH d AS (DELETE FROM transfers WHERE amount > 50 RETURNING *) INSERT INTO transfers SELECT tenant_id, id + 1000, account_id, amount FROM d;
SELECT count(*), max(id) FROM transfers;
SAVEPOINT s;
WITH u AS (UPDATE transfers SET amount = -amount RETURNING amount) SELECT sum(amount) FROM u;
ROLLBACK TO s;
WITH u AS (UPDATE transfers SET amount = amount + 1 WHERE tenant_id = 3 RETURNING amount) SELECT sum(amount) FROM u;
COMMIT;
SELECT id, amount FROM transfers ORDER BY id;

-- params: 3, 'param'
WITH u AS (UPDATE accounts SET note = $2 WHERE tenant_id = $1 RETURNING id) SELECT id FROM u ORDER BY id

-- params: 30, 'param'
WITH u AS (UPDATE accounts SET note = $2 WHERE id > $1 RETURNING id, note) SELECT count(*), sum(id) FROM u

-- params: 6, 9000
-- types: int4, int4
WITH i AS (INSERT INTO accounts (tenant_id, id) VALUES ($1, $2) RETURNING tenant_id, id) INSERT INTO transfers (tenant_id, id, account_id) SELECT tenant_id, id, id FROM i RETURNING *

-- script
-- ties
WITH u AS (UPDATE accounts SET hits = hits + 1 WHERE id % 3 = 0 RETURNING *) UPDATE transfers x SET amount = x.amount + u.hits FROM u WHERE u.tenant_id = x.tenant_id AND u.id = x.account_id RETURNING x.id, x.amount, u.hits;
WITH u AS (UPDATE accounts SET note = 'w' WHERE id < 20 RETURNING tenant_id, id), d AS (DELETE FROM transfers USING u WHERE u.tenant_id = transfers.tenant_id AND u.id = transfers.account_id RETURNING transfers.tenant_id, transfers.id AS t) SELECT u.id, d.t FROM u LEFT JOIN d ON d.tenant_id = u.tenant_id AND d.t = u.id * 2;
WITH l AS (SELECT code, rank FROM labels WHERE rank > 1), u AS (UPDATE accounts SET note = l.code FROM l WHERE l.rank = accounts.hits RETURNING tenant_id, id) SELECT tenant_id, count(*) FROM u GROUP BY tenant_id;
WITH i AS (INSERT INTO transfers SELECT tenant_id, id + 100, id, 1 FROM accounts WHERE id > 50 ON CONFLICT DO NOTHING RETURNING tenant_id, id) SELECT count(*), max(id) FROM i;
WITH i AS (INSERT INTO transfers SELECT tenant_id, id + 100, id, 2 FROM accounts WHERE id > 45 ON CONFLICT (tenant_id, id) DO UPDATE SET amount = transfers.amount + excluded.amount RETURNING *) SELECT count(*), sum(amount) FROM i;
SELECT id, note, hits FROM accounts ORDER BY id;
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id;

-- Keys of text and days.
-- script
WITH d AS (DELETE FROM words WHERE word IN ('word1', 'word2', 'word3') RETURNING word, n) INSERT INTO words SELECT word, n * 7 FROM d ON CONFLICT DO NOTHING;
SELECT word, n FROM words ORDER BY n, word;
WITH u AS (UPDATE readings SET v = v * 2 WHERE day < '2024-02-01' RETURNING day, v) SELECT sum(v), min(day), max(day), count(DISTINCT day) FROM u;
WITH u AS (UPDATE readings SET v = 0 WHERE day = '2024-01-06' RETURNING day, n) DELETE FROM readings USING u WHERE readings.day = u.day AND readings.n = u.n + 1;
WITH i AS (INSERT INTO readings VALUES ('2024-01-06', 500, 1), ('2024-01-06', 501, 2) RETURNING day, n) SELECT count(*), max(n) FROM i;
SELECT day, n, v FROM readings ORDER BY n, day;

-- Off the key: into another place, from every kind of table.
-- script
-- ties
WITH gone AS (DELETE FROM words WHERE n < 6 RETURNING word, n) INSERT INTO notes (id, body) SELECT n + 700, word FROM gone;
WITH gone AS (DELETE FROM notes WHERE id > 700 RETURNING *) INSERT INTO words (word, n) SELECT body, id FROM gone RETURNING word, n - 700;
WITH gone AS (DELETE FROM readings WHERE v > 7 RETURNING day, n, v) INSERT INTO labels (code, title, rank) SELECT 'r' || n, day::text, n FROM gone;
WITH gone AS (DELETE FROM transfers WHERE amount > 40 RETURNING *) INSERT INTO words SELECT 't' || id, account_id FROM gone WHERE id % 8 = 0 ON CONFLICT (word) DO UPDATE SET n = 0;
WITH gone AS (DELETE FROM words USING labels l WHERE l.rank = words.n RETURNING words.*, l.title) INSERT INTO accounts (tenant_id, id, owner) SELECT n % 5, n + 3000, title FROM gone RETURNING tenant_id, id;
WITH u AS (UPDATE notes SET body = body || '!' WHERE id IN (SELECT rank FROM labels) RETURNING id, body) INSERT INTO readings SELECT date '2025-01-01' + id, id, length(body) FROM u;
WITH i AS (INSERT INTO notes VALUES (4, 'taken'), (444, 'new') ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING *) INSERT INTO words SELECT body, id FROM i ON CONFLICT DO NOTHING;
SELECT word, n FROM words ORDER BY n, word COLLATE "C";
SELECT id, body FROM notes ORDER BY id;
SELECT code, title, rank FROM labels ORDER BY code;
SELECT day, n, v FROM readings ORDER BY day, n;
SELECT tenant_id, id, owner, amount FROM accounts ORDER BY tenant_id, id;
SELECT id, amount FROM transfers ORDER BY id;

-- What no shard makes of the rows, in any form.
-- script
-- ties
WITH x AS (UPDATE readings SET v = v * 2 RETURNING day, n, v) SELECT avg(v), stddev(n), percentile_disc(0.5) WITHIN GROUP (ORDER BY day) FROM x;
WITH x AS (UPDATE readings SET v = v + 1 RETURNING *) SELECT n, rank() OVER (ORDER BY v DESC, n) FROM x ORDER BY n LIMIT 7;
WITH x AS (DELETE FROM words WHERE n > 10 RETURNING word, n) SELECT * FROM x ORDER BY word;
WITH x AS (UPDATE accounts SET hits = hits + 1 RETURNING id, hits) SELECT n.id, x.hits FROM x JOIN notes n ON n.id = x.hits ORDER BY 1, 2;
WITH x AS (UPDATE accounts SET note = 'x' WHERE tenant_id IN (1, 3) RETURNING id, owner) SELECT owner FROM x UNION SELECT word FROM words ORDER BY 1;
WITH x AS (UPDATE accounts SET note = 'y' RETURNING id, owner), y AS (SELECT max(id) AS m FROM x) SELECT owner FROM x, y WHERE id = m;
WITH x AS (UPDATE transfers SET amount = 1 RETURNING id) SELECT 1;
WITH x AS (UPDATE transfers SET amount = amount + 1) SELECT (SELECT sum(amount) FROM transfers), count(*) FROM words;
WITH x AS (UPDATE transfers SET amount = amount + 1 RETURNING amount) SELECT (SELECT sum(amount) FROM transfers), (SELECT sum(amount) FROM x);
WITH x AS (UPDATE words SET n = n + 1 RETURNING n), y AS (DELETE FROM notes WHERE id < 4 RETURNING *), z AS (UPDATE readings SET v = 0 WHERE n < 9 RETURNING n) SELECT (SELECT count(*) FROM x), (SELECT string_agg(body, ',' ORDER BY id) FROM y), (SELECT count(*) FROM z);
WITH i AS (INSERT INTO notes VALUES (445, 'x'), (446, 'y') RETURNING id) SELECT w.word, i.id FROM words w JOIN i ON i.id - 440 = w.n ORDER BY 2, 1;
WITH RECURSIVE x AS (UPDATE words SET n = n - 1 WHERE n < 5 RETURNING n), r AS (SELECT min(n) AS i FROM x UNION ALL SELECT i + 1 FROM r WHERE i < 5) SELECT i FROM r ORDER BY i;
SELECT day, n, v FROM readings ORDER BY day, n;
SELECT word, n FROM words ORDER BY n, word COLLATE "C";
SELECT tenant_id, id, note, hits FROM accounts ORDER BY tenant_id, id;
SELECT id, amount FROM transfers ORDER BY id;
SELECT id, body FROM notes ORDER BY id;

-- Errors, and what is allowed nowhere.
-- script
WITH x AS (UPDATE words SET n = n + 1 RETURNING n) SELECT avg(1 / (n - 5)) FROM x;
WITH x AS (DELETE FROM words RETURNING word) INSERT INTO notes (id, body) SELECT 1, word FROM x;
WITH x AS (DELETE FROM words RETURNING word) INSERT INTO accounts (tenant_id, id) SELECT NULL, 5 FROM x;
WITH x AS (UPDATE accounts SET hits = hits - 3 RETURNING id) SELECT stddev(id) FROM x;
WITH x AS (DELETE FROM words) SELECT avg(n) FROM x;
WITH x AS (DELETE FROM words RETURNING nothing) SELECT avg(1) FROM x;
INSERT INTO notes (id, body) WITH x AS (DELETE FROM words RETURNING *) SELECT n, word FROM x;
SELECT word, n FROM words ORDER BY n;

-- script
-- ties
BEGIN;
UPDATE words SET n = n + 100 WHERE n > 15;
WITH gone AS (DELETE FROM words WHERE n > 100 RETURNING word, n) INSERT INTO notes (id, body) SELECT n, word FROM gone;
SAVEPOINT s;
WITH gone AS (DELETE FROM words RETURNING word, n) INSERT INTO notes (id, body) SELECT n + 9000, word FROM gone RETURNING id;
SELECT count(*) FROM notes;
ROLLBACK TO s;
SELECT count(*), max(id) FROM notes;
WITH x AS (UPDATE words SET n = 0 RETURNING word) SELECT word FROM x ORDER BY word;
COMMIT;
SELECT word, n FROM words ORDER BY word;
SELECT id, body FROM notes ORDER BY id;

-- params: 5, 700
-- ties
WITH gone AS (DELETE FROM words WHERE n > $1 RETURNING word, n) INSERT INTO notes (id, body) SELECT n + $2::int, word FROM gone RETURNING id - 1 AS i, body

-- params: 3, 'param'
WITH u AS (UPDATE accounts SET note = $2 WHERE id > $1 RETURNING id, note) SELECT id, note, ntile(3) OVER (ORDER BY id) FROM u ORDER BY id

-- Reference tables alone: every shard runs all of it.
-- script
-- ties
WITH d AS (DELETE FROM labels WHERE rank = 0 RETURNING code, title) SELECT count(*), max(code), min(title) FROM d;
WITH u AS (UPDATE labels SET rank = rank + 10 WHERE rank > 1 RETURNING *) SELECT u.code, u.rank, p.id FROM u LEFT JOIN products p ON p.id = u.rank;
WITH i AS (INSERT INTO labels VALUES ('W1', 'one', 1), ('W2', 'two', 2) RETURNING code, rank) SELECT sum(rank) FROM i;
WITH d AS (DELETE FROM labels WHERE code LIKE 'W%' RETURNING code, rank) INSERT INTO marks (code, made, token, n) SELECT code, '2024-01-01', NULL, rank FROM d RETURNING code, n;
WITH u AS (UPDATE labels SET title = 'seen' RETURNING code), m AS (UPDATE marks SET n = 7 RETURNING code) SELECT (SELECT count(*) FROM u), (SELECT count(*) FROM m);
WITH u AS (UPDATE labels SET title = 'max' RETURNING rank) UPDATE marks SET n = (SELECT max(rank) FROM u);
WITH i AS (INSERT INTO labels VALUES ('L2', 'again', 1) ON CONFLICT (code) DO UPDATE SET title = excluded.title RETURNING title) DELETE FROM marks WHERE code = 'W1' AND EXISTS (SELECT FROM i);
WITH i AS (INSERT INTO labels VALUES ('L2', 'twice', 1) RETURNING 1) SELECT * FROM i;
SELECT code, n, made, token FROM marks;
DELETE FROM marks;
SELECT * FROM labels ORDER BY code;

-- params: 3, 'x'
WITH u AS (UPDATE labels SET title = $2 WHERE rank < $1 RETURNING code, title) SELECT * FROM u ORDER BY code

-- Reference tables that change beside other tables: on every shard, and the rows that one of them returns count.
-- script
-- ties
WITH d AS (DELETE FROM labels WHERE rank > 2 RETURNING code, rank) SELECT d.code, count(a.id) FROM d LEFT JOIN accounts a ON a.hits = d.rank GROUP BY d.code;
WITH u AS (UPDATE labels SET rank = rank + 1 RETURNING *) SELECT u.code, n.body FROM u JOIN notes n ON n.id = u.rank;
WITH i AS (INSERT INTO labels VALUES ('N1', 'new', 5), ('N2', 'new', 6) RETURNING code, rank) INSERT INTO words SELECT code, rank FROM i RETURNING word, n;
WITH i AS (INSERT INTO labels VALUES ('N1', 'again', 9) ON CONFLICT (code) DO UPDATE SET title = excluded.title RETURNING code, title) INSERT INTO notes SELECT 900, code || title FROM i;
WITH d AS (DELETE FROM labels WHERE code = 'N2'), e AS (DELETE FROM transfers WHERE tenant_id = 2 RETURNING id) SELECT count(*) FROM e;
WITH d AS (DELETE FROM labels WHERE code LIKE 'N%' RETURNING code) SELECT (SELECT count(*) FROM d), (SELECT count(*) FROM accounts), (SELECT count(*) FROM labels);
WITH u AS (UPDATE labels SET title = 'same'), y AS (UPDATE notes SET body = body || 'w' WHERE id < 4 RETURNING id), z AS (UPDATE words SET n = n + 1 WHERE n < 3 RETURNING n) SELECT (SELECT sum(id) FROM y), (SELECT sum(n) FROM z), count(*) FROM readings;
WITH u AS (UPDATE labels SET title = 'never' WHERE rank > 1000 RETURNING code) SELECT a.id, u.code FROM accounts a LEFT JOIN u ON true WHERE a.id < 5;
WITH u AS (UPDATE labels SET title = 'one' WHERE code = 'L1' RETURNING rank) SELECT id FROM accounts WHERE tenant_id = 3 AND hits = (SELECT rank FROM u);
SELECT code, title, rank FROM labels ORDER BY code;
SELECT word, n FROM words ORDER BY n, word;
SELECT id, body FROM notes ORDER BY id;

-- script
WITH i AS (INSERT INTO labels VALUES ('L2', 'twice', 1) RETURNING 1) SELECT count(*) FROM accounts, i;
WITH u AS (UPDATE labels SET rank = 1 / (rank - rank) RETURNING 1) SELECT count(*) FROM accounts, u;
WITH d AS (DELETE FROM labels RETURNING rank) SELECT sum(1 / (a.id - a.id)) FROM d, accounts a;
WITH d AS (DELETE FROM labels RETURNING nothing) SELECT count(*) FROM d, accounts a;
SELECT count(*), max(title) FROM labels;
BEGIN;
INSERT INTO labels VALUES ('own', 'own', 70);
WITH d AS (DELETE FROM labels WHERE rank = 70 RETURNING rank) SELECT count(*), max(rank) FROM d, accounts;
SAVEPOINT s;
WITH d AS (DELETE FROM labels RETURNING rank) SELECT count(*) FROM d, accounts;
ROLLBACK TO s;
WITH d AS (DELETE FROM labels WHERE code = 'L1' RETURNING rank) SELECT count(*) FROM d, accounts;
COMMIT;
SELECT code, title, rank FROM labels ORDER BY code;

-- params: 2, 'x'
-- types: int4, text
WITH u AS (UPDATE labels SET title = $2 WHERE rank >= $1 RETURNING code, title) SELECT count(*), max(u.title) FROM u, accounts a WHERE a.hits = $1

-- UPDATE and DELETE off the key of rows that WITH changes elsewhere.
-- script
-- ties
WITH d AS (DELETE FROM words WHERE n < 6 RETURNING word, n) UPDATE accounts SET note = d.word FROM d WHERE d.n = accounts.hits;
WITH u AS (UPDATE notes SET body = body || '~' WHERE id < 5 RETURNING id) DELETE FROM readings WHERE n IN (SELECT id FROM u) RETURNING day, n;
WITH d AS (DELETE FROM transfers WHERE amount > 60 RETURNING amount) UPDATE readings SET v = v + (SELECT sum(amount) FROM d) WHERE n % 2 = 0;
WITH i AS (INSERT INTO notes VALUES (950, 'i') RETURNING id) UPDATE words SET n = n + i.id FROM i WHERE n > 15 RETURNING words.word, words.n;
WITH d AS (DELETE FROM labels WHERE rank = 1 RETURNING code) UPDATE accounts SET note = 'l' WHERE hits IN (SELECT length(code) FROM d);
WITH d AS (DELETE FROM readings WHERE v > 20 RETURNING n) UPDATE labels SET title = 'r' WHERE rank IN (SELECT n % 4 FROM d);
WITH d AS (DELETE FROM readings WHERE n < 9 RETURNING n) UPDATE notes SET body = 'r' WHERE id IN (SELECT n FROM d) RETURNING id;
WITH d AS (DELETE FROM readings WHERE n < 9 RETURNING n), e AS (SELECT max(n) AS m FROM words) DELETE FROM transfers USING e WHERE id > e.m AND NOT EXISTS (SELECT FROM d);
WITH d AS (DELETE FROM words RETURNING n) UPDATE accounts SET hits = 1 / (d.n - d.n) FROM d WHERE d.n = accounts.hits;
WITH d AS (UPDATE words SET n = n + 1 RETURNING n) UPDATE accounts SET hits = -1 WHERE hits IN (SELECT n FROM d);
WITH d AS (DELETE FROM words) UPDATE accounts SET note = (SELECT max(word) FROM words) WHERE id = 3;
SELECT tenant_id, id, note, hits FROM accounts ORDER BY tenant_id, id;
SELECT word, n FROM words ORDER BY n, word;
SELECT day, n, v FROM readings ORDER BY n, day;
SELECT id, body FROM notes ORDER BY id;
SELECT code, title, rank FROM labels ORDER BY code;
SELECT count(*), sum(id) FROM transfers;

-- params: 12, 'p'
-- types: int4, text
WITH d AS (DELETE FROM words WHERE n > $1 RETURNING n) UPDATE accounts SET note = $2 || d.n FROM d WHERE d.n = accounts.id RETURNING accounts.id, note

-- What WITH changes by conditions that read elsewhere.
-- script
-- ties
WITH d AS (DELETE FROM words WHERE n IN (SELECT id FROM accounts WHERE tenant_id = 2) RETURNING word, n) SELECT count(*), max(n) FROM d;
WITH u AS (UPDATE accounts SET note = (SELECT max(word COLLATE "C") FROM words WHERE n < accounts.id) WHERE id NOT IN (SELECT n FROM words WHERE n IS NOT NULL) RETURNING *) SELECT u.id, u.note, l.code FROM u LEFT JOIN labels l ON l.rank = u.hits;
WITH u AS (UPDATE notes SET body = (SELECT max(owner) FROM accounts a WHERE a.tenant_id = notes.id) WHERE id IN (SELECT hits FROM accounts) RETURNING id, body) SELECT * FROM u ORDER BY id;
WITH u AS (UPDATE labels SET rank = (SELECT count(*) FROM accounts a WHERE a.hits = labels.rank) RETURNING code, rank) SELECT rank, count(*) FROM u GROUP BY rank;
WITH d AS (DELETE FROM readings WHERE n = (SELECT max(n) FROM readings) RETURNING day, n) INSERT INTO words (word, n) SELECT 'gone ' || n, n FROM d RETURNING word;
WITH d AS (DELETE FROM words USING notes o WHERE o.id = words.n AND o.id > 5 RETURNING words.word, o.body), e AS (UPDATE readings SET v = v + 1 WHERE n > (SELECT avg(n) FROM readings) RETURNING n) SELECT (SELECT count(*) FROM d), (SELECT count(*) FROM e), (SELECT count(*) FROM transfers);
WITH d AS (DELETE FROM words WHERE n > (SELECT avg(hits) FROM accounts) RETURNING n) UPDATE accounts SET note = 'w' WHERE id IN (SELECT n FROM d);
WITH d AS (DELETE FROM transfers WHERE amount < (SELECT avg(amount) FROM transfers) AND now() > '2020-01-01' RETURNING id) SELECT count(*) FROM d;
WITH d AS (DELETE FROM labels WHERE rank IN (SELECT hits FROM accounts WHERE tenant_id = 4)) SELECT count(*) FROM labels;
WITH d AS (DELETE FROM words WHERE n = (SELECT id FROM accounts) RETURNING n) SELECT count(*) FROM d;
WITH u AS (UPDATE words SET n = 1 / (SELECT count(*) - count(*) FROM accounts) RETURNING n) SELECT * FROM u;
SELECT word, n FROM words ORDER BY n, word;
SELECT tenant_id, id, note, hits FROM accounts ORDER BY tenant_id, id;
SELECT id, body FROM notes ORDER BY id;
SELECT code, title, rank FROM labels ORDER BY code;
SELECT day, n, v FROM readings ORDER BY n, day;
SELECT count(*), sum(id) FROM transfers;

-- script
BEGIN;
INSERT INTO notes VALUES (960, 'own');
INSERT INTO words VALUES ('own', 960);
WITH d AS (DELETE FROM words WHERE n IN (SELECT id FROM notes WHERE id > 900) RETURNING word) SELECT * FROM d;
SAVEPOINT s;
WITH d AS (DELETE FROM words WHERE n IN (SELECT id FROM notes) RETURNING n) SELECT count(*) FROM d, accounts;
ROLLBACK TO s;
COMMIT;
SELECT word, n FROM words ORDER BY n, word;

-- params: 4, 'p'
-- types: int4, text
WITH u AS (UPDATE words SET n = n + $1 WHERE n IN (SELECT id FROM accounts WHERE hits > $1 AND owner <> $2) RETURNING word, n) SELECT * FROM u ORDER BY n, word

-- Rows of several keys.
-- script
-- ties
WITH i AS (INSERT INTO words VALUES ('wa', 501), ('wb', 502), ('wc', 503), ('wd', 504) RETURNING word, n) SELECT word, n FROM i;
WITH i AS (INSERT INTO words VALUES ('we', 505), ('wf', 506), ('wg', 507) RETURNING n) SELECT sum(n), count(*) FROM i;
WITH i AS (INSERT INTO words VALUES ('wh', 508), ('wi', 509)) SELECT count(*) FROM labels;
WITH i AS (INSERT INTO words (n, word) VALUES (510, 'wj'), (511, 'wk') RETURNING *) SELECT l.code, i.word FROM i JOIN labels l ON l.rank = i.n - 509 ORDER BY 1, 2;
WITH i AS (INSERT INTO accounts (tenant_id, id, owner) VALUES (1, 800, 'a'), (2, 801, 'b'), (3, 802, 'c') RETURNING tenant_id, id, amount, note) SELECT * FROM i ORDER BY id DESC;
WITH i AS (INSERT INTO accounts AS x (tenant_id, id, owner) VALUES (1, 800, 'd'), (2, 811, 'e') ON CONFLICT (tenant_id, id) DO UPDATE SET note = 'again' RETURNING x.id, note) SELECT id, note FROM i ORDER BY id;
WITH i AS (INSERT INTO accounts (tenant_id, id) VALUES (1, 800), (2, 821), (4, 822) ON CONFLICT DO NOTHING RETURNING id) SELECT count(*), min(id) FROM i;
WITH i AS (INSERT INTO accounts (tenant_id, id) VALUES (1, 830), (2, 831) RETURNING tenant_id, id) INSERT INTO notes (id, body) SELECT id, tenant_id::text FROM i RETURNING id, body;
WITH i AS (INSERT INTO words VALUES ('wl', 512), ('wm', 513) RETURNING word, n) UPDATE notes SET body = i.word FROM i WHERE notes.id = i.n - 510;
WITH i AS (INSERT INTO words VALUES ('wn', 514), ('wo', 515) RETURNING n) DELETE FROM readings USING i WHERE readings.n = i.n - 510;
WITH i AS (INSERT INTO words VALUES ('wp', 516), ('word3', 517) RETURNING n) SELECT n FROM i;
WITH i AS (INSERT INTO words VALUES ('wr', 520), ('ws', 1 / 0) RETURNING n) SELECT n FROM i;
WITH i AS (INSERT INTO words VALUES ('wt', 521), ('wu', 522) RETURNING n), d AS (DELETE FROM readings WHERE n < 4 RETURNING n) SELECT (SELECT sum(n) FROM i) + (SELECT sum(n) FROM d);
SELECT word, n FROM words ORDER BY n, word;
SELECT tenant_id, id, owner, note FROM accounts WHERE id > 799 ORDER BY id;
SELECT id, body FROM notes ORDER BY id;
SELECT day, n FROM readings ORDER BY n;

-- script
BEGIN;
WITH i AS (INSERT INTO words VALUES ('xa', 601), ('xb', 602) RETURNING word, n) SELECT word FROM i ORDER BY n;
SELECT count(*) FROM words WHERE n > 600;
SAVEPOINT s;
WITH i AS (INSERT INTO words VALUES ('xa', 603), ('xc', 604) RETURNING word, n) SELECT word FROM i ORDER BY n;
ROLLBACK TO s;
WITH i AS (INSERT INTO words VALUES ('xd', 605), ('xe', 606) RETURNING word, n) SELECT word FROM i ORDER BY n;
COMMIT;
SELECT word, n FROM words WHERE n > 600 ORDER BY n;

-- params: 'p1', 701, 'p2', 702
-- types: text, int4, text, int4
WITH i AS (INSERT INTO words VALUES ($1, $2), ($3, $4), ('p3', 703) RETURNING word, n) SELECT word, n FROM i ORDER BY n

-- Rows of several keys that are there already come back in the order of VALUES.
-- script
INSERT INTO accounts (tenant_id, id, owner) VALUES (1, 9001, 'one'), (2, 9002, 'two');
WITH i AS (INSERT INTO accounts (tenant_id, id, owner) VALUES (1, 9001, 'a'), (2, 9002, 'b'), (3, 9003, 'c'), (4, 9004, 'd'), (1, 9005, 'e') ON CONFLICT (tenant_id, id) DO UPDATE SET owner = excluded.owner RETURNING id, owner) SELECT * FROM i;
SELECT id, owner FROM accounts WHERE id > 9000 ORDER BY id
