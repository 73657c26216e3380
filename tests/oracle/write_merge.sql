-- MERGE.

-- One row, on the shard of its key.
-- script
MERGE INTO accounts a USING (VALUES (1, 12, 'merged')) AS v (t, i, n) ON a.tenant_id = v.t AND a.id = v.i WHEN MATCHED THEN UPDATE SET note = v.n WHEN NOT MATCHED THEN INSERT (tenant_id, id, note) VALUES (v.t, v.i, v.n);
MERGE INTO accounts a USING (VALUES (1, 9012, 'merged')) AS v (t, i, n) ON a.tenant_id = v.t AND a.id = v.i WHEN MATCHED THEN UPDATE SET note = v.n WHEN NOT MATCHED THEN INSERT (tenant_id, id, note) VALUES (v.t, v.i, v.n);
MERGE INTO accounts a USING (SELECT 1 AS t, 9012 AS i) AS v ON a.tenant_id = v.t AND a.id = v.i WHEN MATCHED THEN DELETE;
MERGE INTO words w USING (SELECT 'word5'::text AS word, 50 AS n) AS v ON w.word = v.word WHEN MATCHED AND w.n > 100 THEN DO NOTHING WHEN MATCHED THEN UPDATE SET n = w.n + v.n WHEN NOT MATCHED THEN INSERT VALUES (v.word, v.n);
MERGE INTO words w USING (SELECT 'word50'::text AS word, 50 AS n) AS v ON w.word = v.word WHEN MATCHED THEN UPDATE SET n = w.n + v.n WHEN NOT MATCHED THEN INSERT VALUES (v.word, v.n);
MERGE INTO readings USING (VALUES (date '2024-01-06', 1), ('2024-01-06', 2)) v (d, n) ON day = d AND readings.n = v.n WHEN MATCHED THEN UPDATE SET v = 1000 WHEN NOT MATCHED THEN INSERT VALUES (d, v.n, 2000);
SELECT tenant_id, id, note FROM accounts ORDER BY id;
SELECT word, n FROM words ORDER BY word;
SELECT day, n, v FROM readings ORDER BY n, day;

-- Many rows, each to its shard.
-- script
MERGE INTO words w USING (VALUES ('word1', 1), ('word2', 2), ('new1', 3), ('new2', 4), ('word19', NULL)) AS v (word, n) ON w.word = v.word WHEN MATCHED AND v.n IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET n = w.n * 100 + v.n WHEN NOT MATCHED THEN INSERT (n, word) VALUES (v.n, v.word);
MERGE INTO words w USING (SELECT name || id AS word, id FROM tenants WHERE id < 12) s ON s.word = w.word WHEN NOT MATCHED THEN INSERT VALUES (s.word, s.id);
MERGE INTO words w USING (SELECT name || id AS word, id FROM tenants WHERE id > 9) s ON s.word = w.word WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.id % 2 = 0 THEN INSERT VALUES (s.word, -s.id) WHEN NOT MATCHED THEN DO NOTHING;
SELECT word, n FROM words ORDER BY word;

-- Rows of the same distribution stay where they are.
-- script
MERGE INTO transfers x USING accounts a ON x.tenant_id = a.tenant_id AND x.account_id = a.id WHEN MATCHED AND a.hits = 3 THEN DELETE WHEN MATCHED THEN UPDATE SET amount = x.amount + a.amount WHEN NOT MATCHED THEN INSERT (tenant_id, id, account_id, amount) VALUES (a.tenant_id, 9000 + a.id, a.id, 1.5);
MERGE INTO transfers AS x USING (SELECT tenant_id, max(id) AS id, count(*) AS c FROM accounts GROUP BY tenant_id) AS a ON a.tenant_id = x.tenant_id AND x.account_id = a.id WHEN MATCHED THEN UPDATE SET amount = a.c, tenant_id = a.tenant_id;
MERGE INTO accounts a USING tenants t ON a.tenant_id = t.id WHEN MATCHED AND t.plan IS NULL THEN UPDATE SET note = t.name, hits = DEFAULT WHEN NOT MATCHED THEN INSERT (tenant_id, id, owner) VALUES (t.id, t.id + 5000, t.name);
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts ORDER BY id;

-- Off the key: only what matches is touched.
-- script
MERGE INTO accounts a USING tenants t ON a.id = t.id WHEN MATCHED AND t.seats > 60 THEN DELETE WHEN MATCHED THEN UPDATE SET note = t.name;
MERGE INTO accounts a USING (SELECT avg(seats) AS s FROM tenants) t ON a.id < t.s WHEN MATCHED THEN UPDATE SET amount = t.s;
MERGE INTO accounts a USING labels l ON l.code = 'L' || a.id WHEN MATCHED THEN UPDATE SET note = l.title;
MERGE INTO accounts a USING notes n ON n.id = a.id WHEN MATCHED THEN UPDATE SET note = n.body || a.note;
SELECT tenant_id, id, amount, note FROM accounts ORDER BY id;

-- The source's rows go to the shards of another column than theirs.
-- script
MERGE INTO accounts a USING (SELECT id, count(*) OVER () AS c FROM tenants WHERE id < 20) t ON t.id = a.tenant_id AND a.id = t.c WHEN NOT MATCHED THEN INSERT (tenant_id, id, hits) VALUES (t.id, t.c, 3) WHEN MATCHED THEN UPDATE SET hits = 77;
MERGE INTO accounts a USING accounts b ON a.tenant_id = b.id AND a.id = b.tenant_id WHEN MATCHED THEN UPDATE SET note = 'swapped' WHEN NOT MATCHED AND b.id < 13 THEN INSERT (tenant_id, id, note) VALUES (b.id, b.tenant_id, 'swap') WHEN NOT MATCHED THEN DO NOTHING;
MERGE INTO transfers x USING notes n ON x.tenant_id = n.id AND x.id = 2 WHEN NOT MATCHED THEN INSERT (tenant_id, id) VALUES (n.id, 2) WHEN MATCHED THEN UPDATE SET amount = 2;
MERGE INTO transfers x USING labels l ON x.tenant_id = l.rank AND x.id = 3 WHEN NOT MATCHED AND l.code = 'L9' THEN INSERT (tenant_id, id) VALUES (l.rank, 3) WHEN MATCHED THEN UPDATE SET amount = 3;
SELECT tenant_id, id, note, hits FROM accounts ORDER BY tenant_id, id;
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY tenant_id, id;

-- Queries beside the source.
-- script
MERGE INTO words w USING (VALUES ('word1'), ('word8'), ('x')) v (word) ON v.word = w.word WHEN MATCHED AND w.n < (SELECT avg(n) - 5 FROM words) THEN DELETE WHEN MATCHED THEN UPDATE SET n = (SELECT max(id) FROM accounts) WHEN NOT MATCHED AND EXISTS (SELECT 1 FROM accounts WHERE note = 'none') THEN INSERT VALUES (v.word, (SELECT count(*) FROM tenants));
MERGE INTO accounts a USING transfers x ON a.tenant_id = x.tenant_id AND a.id = x.account_id WHEN MATCHED AND x.amount > (SELECT avg(amount) FROM transfers y WHERE y.tenant_id = x.tenant_id) THEN UPDATE SET hits = (SELECT count(*) FROM transfers) WHEN NOT MATCHED THEN DO NOTHING;
SELECT word, n FROM words ORDER BY word;
SELECT id, hits FROM accounts ORDER BY id;

-- WITH; the time.
-- script
WITH sums AS (SELECT tenant_id, sum(amount) AS s FROM transfers GROUP BY tenant_id) MERGE INTO accounts a USING sums ON sums.tenant_id = a.tenant_id WHEN MATCHED THEN UPDATE SET amount = sums.s;
WITH few AS (SELECT id FROM tenants WHERE id < 5) MERGE INTO accounts a USING (SELECT * FROM labels) l ON l.rank = a.id AND l.code < 'L4' WHEN MATCHED AND a.tenant_id IN (SELECT id FROM few) THEN UPDATE SET note = l.title;
INSERT INTO stamps SELECT word, '2024-01-01', '2024-01-01', n FROM words;
MERGE INTO stamps s USING (SELECT word || '!' AS word, n FROM words UNION ALL SELECT word, n FROM words WHERE n < 9) w ON w.word = s.word WHEN MATCHED THEN UPDATE SET made = now(), n = 100 WHEN NOT MATCHED THEN INSERT VALUES (w.word, now(), current_date, w.n);
SELECT count(*), count(DISTINCT made), count(*) FILTER (WHERE n = 100), sum(n) FROM stamps;
DELETE FROM stamps;
SELECT id, amount, note FROM accounts ORDER BY id;

-- Tables that every shard has, and those of the home shard.
-- script
MERGE INTO labels l USING (VALUES ('L1', 'one'), ('L20', 'twenty')) v (c, t) ON v.c = l.code WHEN MATCHED THEN UPDATE SET title = v.t WHEN NOT MATCHED THEN INSERT VALUES (v.c, v.t, 0);
MERGE INTO labels l USING (SELECT 'L' || hits AS code, count(*) AS c, min(owner) AS o FROM accounts GROUP BY hits) a ON a.code = l.code WHEN MATCHED AND a.c = 8 THEN DELETE WHEN MATCHED THEN UPDATE SET rank = a.c WHEN NOT MATCHED THEN INSERT (code, title) VALUES (a.code, a.o);
MERGE INTO labels l USING tenants t ON 'L' || t.id = l.code WHEN MATCHED THEN UPDATE SET title = t.name;
MERGE INTO labels l USING labels m ON m.rank = l.rank AND m.code = 'L7' WHEN MATCHED THEN DELETE;
SELECT code, title, rank FROM labels ORDER BY code;
MERGE INTO notes n USING accounts a ON a.id = n.id WHEN MATCHED AND a.hits > 3 THEN DELETE WHEN MATCHED THEN UPDATE SET body = a.owner WHEN NOT MATCHED AND a.id < 20 THEN INSERT VALUES (a.id, 'new ' || a.owner);
MERGE INTO notes n USING notes m ON m.id = n.id + 1 WHEN MATCHED THEN UPDATE SET body = m.body WHEN NOT MATCHED THEN INSERT VALUES (m.id + 100, m.body);
SELECT id, body FROM notes ORDER BY id;

-- Several rows for one: nothing of it is done.
-- script
MERGE INTO accounts a USING tenants t ON t.seats > a.hits WHEN MATCHED THEN UPDATE SET note = t.name;
MERGE INTO words w USING (VALUES ('word1', 1), ('new', 1), ('word1', 2)) v (word, n) ON v.word = w.word WHEN MATCHED THEN UPDATE SET n = v.n WHEN NOT MATCHED THEN INSERT VALUES (v.word, v.n);
MERGE INTO words w USING (VALUES ('word1', 1), ('new', 1), ('new', 2)) v (word, n) ON v.word = w.word WHEN MATCHED THEN UPDATE SET n = v.n WHEN NOT MATCHED THEN INSERT VALUES (v.word, v.n);
MERGE INTO accounts a USING transfers x ON x.tenant_id = a.tenant_id WHEN MATCHED THEN DELETE;
MERGE INTO labels l USING words w ON l.rank < w.n WHEN MATCHED THEN DELETE;
SELECT count(note), count(*) FROM accounts;
SELECT count(*), sum(n) FROM words;

-- Errors.
-- script
MERGE INTO accounts a USING (VALUES (1, 3)) v (t, i) ON a.tenant_id = v.t AND a.id = v.i WHEN NOT MATCHED THEN INSERT (tenant_id, id, hits) VALUES (v.t, v.i, -1);
MERGE INTO accounts a USING (VALUES (1, 3), (2, 3)) v (t, i) ON a.tenant_id = v.t AND a.id = v.i WHEN NOT MATCHED THEN INSERT (tenant_id, id, hits) VALUES (v.t, v.i, -1);
MERGE INTO accounts a USING (VALUES (NULL::int, 3)) v (t, i) ON a.tenant_id = v.t AND a.id = v.i WHEN NOT MATCHED THEN INSERT (tenant_id, id) VALUES (v.t, v.i);
MERGE INTO accounts a USING (SELECT NULLIF(id, 3) AS t FROM tenants) v ON a.tenant_id = v.t AND a.id = v.t WHEN NOT MATCHED THEN INSERT (tenant_id, id) VALUES (v.t, v.t);
MERGE INTO accounts a USING (SELECT id, 1 / (id - 5) AS z FROM tenants) v ON a.tenant_id = v.id AND a.id = v.z WHEN NOT MATCHED THEN INSERT (tenant_id, id) VALUES (v.id, v.z);
MERGE INTO accounts a USING nowhere n ON n.id = a.id WHEN MATCHED THEN DELETE;
MERGE INTO accounts a USING tenants t ON t.nothing = a.id WHEN MATCHED THEN DELETE;
MERGE INTO accounts a USING tenants t ON t.id = a.tenant_id WHEN MATCHED THEN UPDATE SET nothing = 1;
MERGE INTO accounts a USING tenants t ON t.id = a.tenant_id WHEN NOT MATCHED THEN INSERT (tenant_id, id, nothing) VALUES (t.id, 1, 1);
MERGE INTO accounts a USING (VALUES ('x', 3)) v (t, i) ON a.tenant_id = v.t AND a.id = v.i WHEN NOT MATCHED THEN INSERT (tenant_id, id) VALUES (v.t, v.i);
MERGE INTO accounts a USING tenants t ON t.id = a.tenant_id WHEN MATCHED THEN UPDATE SET hits = -1;
SELECT count(*), sum(hits) FROM accounts;

-- A block sees its own rows, on both sides.
-- script
BEGIN;
INSERT INTO words VALUES ('mine', 300);
MERGE INTO words w USING (SELECT word || '2' AS word, n + 1 AS n FROM words WHERE n > 18) s ON s.word = w.word WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.word, s.n);
MERGE INTO words w USING (SELECT word || '2' AS word, n + 1 AS n FROM words WHERE n > 18 AND n < 100) s ON s.word = w.word WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.word, s.n);
SELECT word, n FROM words ORDER BY word;
SAVEPOINT s;
MERGE INTO words w USING words v ON v.word = w.word WHEN MATCHED THEN UPDATE SET n = 1 / (v.n - 19);
ROLLBACK TO s;
MERGE INTO words w USING words v ON v.word = w.word WHEN MATCHED THEN UPDATE SET n = v.n + 1;
COMMIT;
SELECT word, n FROM words ORDER BY word;

-- Types that each server has under its own numbers, arrays, lengths, names that need quotes.
-- script
MERGE INTO tickets t USING (SELECT id % 12 + 1 AS k, id + 900 AS id, state, tags, share, fee, code, label FROM tickets) s ON s.k = t.tenant_id AND s.id = t.id WHEN NOT MATCHED THEN INSERT (tenant_id, id, state, tags, share, fee, code, label) VALUES (s.k, s.id, s.state, s.tags, s.share, s.fee, s.code, s.label);
MERGE INTO tickets t USING tickets s ON s.id = t.id - 900 WHEN MATCHED THEN UPDATE SET state = s.state, tags = s.tags || 'x', code = s.label;
MERGE INTO tickets t USING (SELECT id % 12 + 1 AS k, id + 900 AS id, 101 AS share FROM tickets) s ON s.k = t.tenant_id AND s.id = t.id WHEN NOT MATCHED THEN INSERT (tenant_id, id, share) VALUES (s.k, s.id, s.share);
MERGE INTO tickets t USING (SELECT "Id" % 12 + 1 AS "K k", "Id" AS i, feel, "od""d name" AS "n""n" FROM odd) s ON s."K k" = t.tenant_id AND s.i = t.id WHEN MATCHED AND s.feel = 'ok' THEN UPDATE SET state = s.feel, note = s."n""n" WHEN NOT MATCHED THEN INSERT (id, tenant_id, label) VALUES (s.i, s."K k", s."n""n");
SELECT tenant_id, id, state::text, tags, share, fee, code, label, doubled, made, note FROM tickets ORDER BY id;

-- Nothing to do.
-- script
MERGE INTO words w USING (SELECT word, n FROM words WHERE n > 1000) s ON s.word = w.word WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.word, s.n);
MERGE INTO accounts a USING void v ON a.tenant_id = v.tenant_id AND a.id = v.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (tenant_id, id) VALUES (v.tenant_id, v.id);
MERGE INTO accounts a USING (SELECT t AS owner, v FROM void) v ON a.owner = v.owner WHEN MATCHED THEN DELETE;
MERGE INTO accounts a USING (SELECT id FROM tenants WHERE id < 0) v ON a.tenant_id = v.id WHEN NOT MATCHED THEN DO NOTHING;
SELECT count(*) FROM accounts;

-- params: 1, 12, 'by parameters'
MERGE INTO accounts a USING (SELECT $1::int AS t, $2::int AS i, $3::text AS n) AS v ON a.tenant_id = v.t AND a.id = v.i WHEN MATCHED THEN UPDATE SET note = v.n WHEN NOT MATCHED THEN INSERT (tenant_id, id, note) VALUES (v.t, v.i, v.n)

-- params: 3, 9001, 'by parameters', 50
MERGE INTO accounts a USING (VALUES ($1::int, $2::int, $3), (4, 9001, 'four')) AS v (t, i, n) ON a.tenant_id = v.t AND a.id = v.i WHEN MATCHED THEN UPDATE SET note = v.n WHEN NOT MATCHED AND v.i > $4 THEN INSERT (tenant_id, id, note) VALUES (v.t, v.i, v.n || $4)

-- params: 'x', 10
-- types: text, int4
MERGE INTO words w USING (SELECT word || $1 AS word, n FROM words WHERE n < $2) s ON s.word = w.word WHEN NOT MATCHED THEN INSERT VALUES (s.word, s.n)

-- A source along the key, beside tables that lie elsewhere.
-- script
MERGE INTO transfers x USING (SELECT a.tenant_id, a.id, n.body FROM accounts a JOIN notes n ON n.id = a.id) s ON x.tenant_id = s.tenant_id AND x.id = s.id WHEN MATCHED THEN UPDATE SET amount = length(s.body) WHEN NOT MATCHED THEN INSERT (tenant_id, id, amount) VALUES (s.tenant_id, s.id, 0.5);
MERGE INTO transfers x USING (SELECT a.tenant_id, a.id, t.name FROM accounts a JOIN tenants t ON t.id = a.id) s ON x.tenant_id = s.tenant_id AND x.id = s.id + 7000 WHEN NOT MATCHED THEN INSERT (tenant_id, id, amount) VALUES (s.tenant_id, s.id + 7000, length(s.name));
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id, tenant_id;
