-- UPDATE that changes the sharding key: the row moves.

-- script
UPDATE words SET word = 'renamed' WHERE word = 'word7';
SELECT word, n FROM words WHERE n = 7;
UPDATE words SET word = 'renamed' WHERE word = 'word7';
UPDATE words SET word = 'renamed', n = n + 1 WHERE word = 'renamed';
SELECT word, n FROM words ORDER BY n, word;

-- script
UPDATE words SET word = word || '!' WHERE n < 10;
UPDATE words SET word = upper(word), n = n * 10 WHERE n > 15;
UPDATE words SET word = word;
SELECT word, n FROM words ORDER BY n, word;

-- script
UPDATE readings SET day = day + 30 WHERE n = 3;
UPDATE readings SET day = '2024-02-20', v = NULL WHERE day = '2024-01-06';
UPDATE readings SET day = day - 1, n = n + 100, v = v * 1.5 WHERE day >= '2024-03-01';
SELECT day, n, v FROM readings ORDER BY n, day;

-- script
UPDATE sessions SET token = md5('other')::uuid WHERE token = md5('s7')::uuid;
UPDATE sessions SET token = md5(who || token)::uuid, seen = seen + interval '1 day' WHERE who = 'who1';
SELECT token, who, seen FROM sessions ORDER BY seen, token;

-- script
-- ties
UPDATE words SET word = 'ret' || n WHERE n < 6 RETURNING word, n;
UPDATE words AS w SET word = w.word || w.n, n = -n WHERE w.n BETWEEN 6 AND 9 RETURNING w.*, w.n + 1 AS next, 'x';
UPDATE words SET word = 'never' WHERE n > 1000 RETURNING word;
UPDATE words SET word = 'one' WHERE word = 'word12' RETURNING n AS "N", upper(word);
SELECT word, n FROM words ORDER BY word;

-- script
UPDATE transfers SET tenant_id = 12, account_id = NULL WHERE tenant_id = 2;
UPDATE transfers SET tenant_id = tenant_id + 1, account_id = NULL WHERE amount > 100;
UPDATE transfers SET tenant_id = 3 WHERE tenant_id = 12 AND account_id IS NOT NULL;
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id;

-- What is joined comes along.
-- script
-- ties
UPDATE transfers t SET tenant_id = t.tenant_id + 5, account_id = NULL, amount = t.amount + a.amount, id = t.id + 1000 FROM accounts a WHERE a.tenant_id = t.tenant_id AND a.id = t.account_id AND a.hits < 3 RETURNING t.tenant_id, t.id, t.account_id, t.amount;
UPDATE words SET word = words.word || l.title, n = n + coalesce(l.rank, 0) FROM labels l WHERE l.code = 'L2' AND l.rank < words.n RETURNING words.word, n, upper(word);
UPDATE words w SET word = lower(code) || w.word FROM labels WHERE code = 'L3' AND w.n % 4 = 1 RETURNING w.*;
UPDATE words w SET word = l.title || w.n FROM labels l JOIN (SELECT code, max(title) AS s FROM labels GROUP BY code) x USING (code) WHERE l.code = 'L1' AND w.n > 8;
UPDATE words w SET word = 'seen ' || w.n FROM labels l JOIN (SELECT code, max(title) AS s FROM labels GROUP BY code) x USING (code) WHERE l.code = 'L1' AND x.s IS NOT NULL AND w.n % 2 = 0;
UPDATE words w SET word = v.word || '.' FROM words v WHERE v.word = w.word AND v.n < 5;
UPDATE words SET word = NULL FROM labels WHERE code = 'L2' AND n = 3;
UPDATE words w SET word = nothing FROM labels WHERE code = 'L2' AND n = 3;
SELECT word, n FROM words ORDER BY n, word;
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id, tenant_id;

-- Which rows move is told by rows that lie elsewhere.
-- script
UPDATE words SET word = word || '?' WHERE n IN (SELECT id FROM accounts WHERE tenant_id = 2);
UPDATE words SET word = word || '+' WHERE n > (SELECT avg(n) FROM words) AND n < 18;
UPDATE readings SET day = day + 1 WHERE n = (SELECT max(n) FROM readings);
UPDATE readings SET day = day + 400 WHERE v > (SELECT avg(v) FROM readings b) AND n % 2 = 0;
UPDATE transfers SET tenant_id = 11, account_id = NULL, id = id + 7000 WHERE account_id IN (SELECT id FROM accounts WHERE note IS NULL);
UPDATE words w SET word = lower(a.owner) || w.word FROM accounts a WHERE a.id = w.n AND a.tenant_id = 3;
UPDATE words w SET word = 'x' || w.word FROM notes o WHERE o.id = w.n AND o.id < 4;
UPDATE words SET word = word || '.' WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.id = words.n AND a.hits > 2) AND n > 9;
SELECT word, n FROM words ORDER BY n, word;
SELECT day, n, v FROM readings ORDER BY n, day;
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id, tenant_id;

-- script
-- ties
UPDATE words SET word = word || '=' WHERE n IN (SELECT id FROM notes WHERE id > 3) RETURNING word, n, upper(word);
UPDATE readings r SET day = r.day + 31, v = 0 WHERE r.n IN (SELECT n FROM words WHERE n < 9) RETURNING r.*;
UPDATE words SET word = 'none' WHERE n = (SELECT max(id) + 1000 FROM notes) RETURNING word;
SELECT word, n FROM words ORDER BY n, word;

-- Behind WITH.
-- script
-- ties
WITH a AS (SELECT id FROM accounts WHERE hits > 3) UPDATE words SET word = 'with ' || word WHERE n IN (SELECT id FROM a);
WITH x AS (SELECT 1) UPDATE words SET word = 'one' WHERE n = 8;
WITH x AS (SELECT 1 AS i) UPDATE words SET word = 'two' FROM x WHERE n = x.i;
WITH x AS (SELECT id AS m FROM accounts) UPDATE words w SET word = w.word || x.m FROM x WHERE x.m = w.n AND w.n > 4;
WITH RECURSIVE r (i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM r WHERE i < 6) UPDATE words SET word = 'r' || word WHERE n IN (SELECT i FROM r) RETURNING n;
WITH a AS (SELECT tenant_id, max(id) AS id FROM accounts GROUP BY tenant_id)
    UPDATE transfers t SET tenant_id = t.tenant_id + 20, account_id = NULL FROM a WHERE a.tenant_id = t.tenant_id AND t.id < a.id;
SELECT word, n FROM words ORDER BY n, word;
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id, tenant_id;

-- script
BEGIN;
INSERT INTO notes VALUES (901, 'x');
INSERT INTO words VALUES ('inserted', 901);
UPDATE words SET word = 'moved' WHERE n IN (SELECT id FROM notes WHERE id > 900);
SELECT word FROM words WHERE n = 901;
SAVEPOINT s;
UPDATE words SET word = 'same' WHERE n IN (SELECT id FROM notes);
ROLLBACK TO s;
UPDATE words SET word = 'many' WHERE n = (SELECT id FROM notes);
ROLLBACK TO s;
UPDATE words SET word = '?' || word || 1 / (n - 901) WHERE n IN (SELECT id FROM notes);
ROLLBACK TO s;
UPDATE words SET word = 'clock' || n WHERE n IN (SELECT id FROM notes) AND now() > '2020-01-01' AND statement_timestamp() >= now();
COMMIT;
SELECT word, n FROM words ORDER BY n, word;

-- params: 2, 'p'
-- types: int4, text
UPDATE words SET word = $2 || word WHERE n IN (SELECT id FROM accounts WHERE hits > $1) RETURNING word, n

-- params: 4, 'q'
UPDATE words SET word = word || $2 WHERE n < $1 AND n IN (SELECT id FROM notes WHERE id <= $1)

-- Queries in SET: asked once, along the key, and of every form.
-- script
-- ties
UPDATE words SET word = (SELECT title FROM labels WHERE code = 'L2') || n WHERE n IN (1, 2);
UPDATE words SET word = word || (SELECT count(*) FROM accounts) WHERE n = 3;
UPDATE words SET word = (SELECT max(b.word) FROM words b WHERE b.word = words.word) || '+', n = (SELECT max(id) FROM notes) WHERE n BETWEEN 4 AND 7;
UPDATE words w SET word = 'q' || w.word, n = (SELECT id FROM notes o WHERE o.id = w.n) WHERE w.n > 5 AND w.n < 13 RETURNING w.word, w.n;
UPDATE words SET word = CASE WHEN EXISTS (SELECT 1 FROM labels WHERE rank > 2) THEN 'yes' ELSE 'no' END || n, n = n + 100 WHERE n = 14;
UPDATE words SET word = word || (n IN (SELECT rank FROM labels))::text WHERE n > 14;
UPDATE words SET word = word || (n = ANY (SELECT id FROM notes))::text || (n < ALL (SELECT id FROM accounts))::text WHERE n < 4;
UPDATE words SET word = (SELECT body FROM notes WHERE id > 1) WHERE n = 16;
UPDATE words SET word = (SELECT NULL::text), n = 0 WHERE n = 17;
UPDATE words SET word = (SELECT code, title FROM labels LIMIT 1) WHERE n = 17;
UPDATE words SET word = (SELECT nothing FROM labels LIMIT 1) WHERE n = 17;
UPDATE words SET word = 'L' || n, n = (SELECT max(n) + 1 FROM words) WHERE n IN (18, 19);
UPDATE words SET word = 'M' || n, n = (SELECT 3000000000 - 2999999999) WHERE n = 20;
SELECT word, n FROM words ORDER BY n, word;

-- script
BEGIN;
UPDATE words SET word = (SELECT md5(random()::text)) || n;
SELECT count(DISTINCT left(word, 32)), count(*) FROM words;
ROLLBACK;

-- script
UPDATE transfers t SET tenant_id = t.tenant_id + 30, account_id = NULL, amount = (SELECT sum(a.amount) FROM accounts a WHERE a.tenant_id = t.tenant_id) WHERE t.id % 3 = 0;
UPDATE transfers t SET tenant_id = t.tenant_id + 40, account_id = NULL, amount = (SELECT a.amount * 2 FROM accounts a WHERE a.tenant_id = t.tenant_id AND a.id = t.account_id AND a.hits > 1) WHERE t.id % 3 = 1;
UPDATE transfers SET tenant_id = (SELECT max(tenant_id) FROM accounts), account_id = NULL WHERE id = 4 RETURNING *;
UPDATE transfers SET tenant_id = (SELECT rank FROM labels WHERE code = 'L3'), account_id = NULL WHERE id = 8;
UPDATE readings r SET day = (SELECT max(day) + 7 FROM readings x WHERE x.day = r.day), v = 0 WHERE n % 5 = 0;
UPDATE readings r SET day = r.day + 2, v = (SELECT avg(v) FROM readings) WHERE n % 5 = 1;
UPDATE readings r SET day = r.day + (SELECT count(*)::int FROM labels), v = l.rank + (SELECT min(hits) FROM accounts WHERE id = l.rank) FROM labels l WHERE l.rank = r.n;
UPDATE sessions SET token = md5((SELECT string_agg(code, ',' ORDER BY code) FROM labels) || who || token)::uuid WHERE who = 'who2';
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id, tenant_id;
SELECT day, n, v FROM readings ORDER BY n, day;
SELECT token, who FROM sessions ORDER BY token;

-- What is sent along stands behind the conditions, and differs from call to call.
-- script
UPDATE words SET word = word || (n IN (SELECT rank FROM labels WHERE rank > 0))::text WHERE n = 2 AND n IN (SELECT id FROM notes);
UPDATE words SET word = word || (n IN (SELECT rank FROM labels WHERE rank > 0))::text WHERE n = 3 AND n IN (SELECT id FROM notes);
UPDATE words SET word = word || (n IN (SELECT rank FROM labels WHERE rank > 2))::text WHERE n = 1 AND n IN (SELECT id FROM notes);
UPDATE words SET word = CASE WHEN EXISTS (SELECT FROM accounts WHERE hits > 5) THEN 'yes' ELSE 'no' END || n, n = n + 100 WHERE n = 14;
UPDATE words SET word = CASE WHEN EXISTS (SELECT FROM accounts WHERE hits > 5) THEN 'yes' ELSE 'no' END || n, n = n + 100 WHERE n = 15;
UPDATE words SET word = CASE WHEN EXISTS (SELECT FROM accounts WHERE hits > 50) THEN 'yes' ELSE 'no' END || n, n = n + 200 WHERE n = 16;
UPDATE words SET word = (SELECT max(title) FROM labels WHERE rank > 1) || (SELECT count(*) FROM accounts WHERE hits > 2) || n WHERE n = 8;
UPDATE words SET word = (SELECT max(title) FROM labels WHERE rank > 1) || (SELECT count(*) FROM accounts WHERE hits > 2) || n WHERE n = 9;
UPDATE words SET word = (SELECT max(title) FROM labels WHERE rank > 1) || (SELECT count(*) FROM accounts WHERE hits > 3) || n WHERE n = 10;
UPDATE readings r SET day = (SELECT max(day) + 7 FROM readings x WHERE x.day = r.day), v = (SELECT avg(v) FROM readings WHERE n > 3) WHERE n % 5 = 0;
SELECT word, n FROM words ORDER BY n, word;
SELECT day, n, v FROM readings ORDER BY n, day;

-- Values in the FROM.
-- script
-- ties
UPDATE words w SET word = v.b || w.word FROM (VALUES (3, 'three'), (4, 'four'), (900, 'none')) v (a, b) WHERE v.a = w.n RETURNING w.word, w.n;
UPDATE words w SET word = v.b || w.word FROM (VALUES (5, 'five'), (6, 'six')) v (a, b) WHERE v.a = w.n;
WITH v (a, b) AS (VALUES (7, 'seven'), (8, 'eight')) UPDATE words w SET word = v.b || w.word FROM v WHERE v.a = w.n;
SELECT word, n FROM words ORDER BY n, word;

-- params: 9, 'x'
-- types: int4, text
UPDATE words SET word = $2 || (SELECT count(*) FROM accounts WHERE id > $1), n = (SELECT max(id) FROM notes WHERE id < $1) WHERE n = $1 RETURNING word, n

-- Constraints hold where the row comes to lie.
-- script
UPDATE words SET word = 'word3' WHERE word = 'word4';
UPDATE words SET word = 'same' WHERE n IN (1, 2, 3);
UPDATE words SET word = NULL WHERE word = 'word5';
UPDATE readings SET day = NULL WHERE n = 5;
UPDATE readings SET day = 'soon' WHERE n = 5;
UPDATE words SET word = 5 WHERE word = 'word6';
UPDATE words SET word = 'x', nothing = 1 WHERE word = 'word6';
UPDATE words SET word = 'x', word = 'y' WHERE word = 'word6';
UPDATE words SET word = 'x' || 1 / (n - 6) WHERE word IN ('word6', 'word7');
UPDATE transfers SET tenant_id = 13, id = 5 WHERE tenant_id = 1;
SELECT count(*), sum(n) FROM words;

-- script
BEGIN;
UPDATE words SET word = 'a' || n WHERE n < 4;
SELECT word FROM words WHERE n < 4 ORDER BY n;
SAVEPOINT s;
UPDATE words SET word = 'word9' WHERE n = 3;
ROLLBACK TO s;
UPDATE words SET word = 'b' || word WHERE n < 4;
UPDATE words SET n = 50 WHERE word = 'ba2';
ROLLBACK TO s;
UPDATE words SET word = word || '.' WHERE n = 2;
COMMIT;
SELECT word, n FROM words WHERE n < 5 ORDER BY n;

-- script
BEGIN;
INSERT INTO words VALUES ('new', 77);
UPDATE words SET word = 'newer' WHERE word = 'new';
UPDATE words SET word = 'newest' WHERE n = 77;
DELETE FROM words WHERE word = 'newest';
ROLLBACK;
SELECT count(*) FROM words WHERE n = 77;

-- Rows of every type come through as they were.
-- script
UPDATE tickets SET tenant_id = tenant_id % 12 + 1;
SELECT tenant_id, id, state::text, tags, share, fee, code, label, doubled, made, note FROM tickets ORDER BY id;
UPDATE tickets SET tenant_id = 5, id = id + 100, state = 'happy', tags = tags || 'more', made = DEFAULT, note = DEFAULT, fee = fee / 3 WHERE id < 10;
UPDATE tickets SET tenant_id = tenant_id + 1, id = doubled WHERE id = 20;
SELECT tenant_id, id, state::text, tags, share, fee, code, label, doubled, made, note FROM tickets ORDER BY id, tenant_id;
UPDATE tickets SET tenant_id = tenant_id + 1, share = 101 WHERE id = 30;
UPDATE tickets SET tenant_id = tenant_id + 1, label = 'too long a text' WHERE id = 30;
UPDATE tickets SET tenant_id = tenant_id + 1, doubled = 5 WHERE id = 30;

-- script
-- ties
UPDATE tickets SET tenant_id = tenant_id + 1, tags = NULL WHERE id IN (3, 4) RETURNING id, state::text, tags, doubled, code, made;
UPDATE tickets t SET (tenant_id, note, fee) = (t.tenant_id + 2, 'pair', t.fee + 1) WHERE t.id = 7 RETURNING t.tenant_id, note, fee;
SELECT tenant_id, id, note FROM tickets WHERE id < 9 ORDER BY id;

-- The key stays on its shard, or stays what it is.
-- script
UPDATE words SET word = 'word3', n = 33 WHERE word = 'word3';
UPDATE words SET word = word, n = 44 WHERE word = 'word4' RETURNING word, n;
UPDATE readings SET day = '2024-01-07' WHERE day = '2024-01-06';
UPDATE readings SET day = '2024-01-08' WHERE day = '2024-01-07' RETURNING day, n;
SELECT day, n FROM readings ORDER BY day LIMIT 3;

-- What is referenced by others, or reads others, is refused.
-- script
UPDATE accounts SET tenant_id = 9 WHERE tenant_id = 9;
UPDATE accounts SET tenant_id = tenant_id WHERE tenant_id IN (3, 4);
SELECT count(*) FROM accounts WHERE tenant_id = 9;

-- params: 'word8', 'w8'
UPDATE words SET word = $2 WHERE word = $1

-- params: 'w', 12, 5
-- types: text, int4, int4
UPDATE words SET word = $1 || word, n = n + $3 WHERE n > $2 RETURNING word, n

-- params: '2024-01-11', '2024-04-01', '7.5'
UPDATE readings SET day = $2, v = $3 WHERE day = $1 RETURNING *

-- params: 2, 40
UPDATE transfers SET tenant_id = $1 + 1, account_id = NULL WHERE tenant_id = $1 AND id <> $2

-- One moment for all rows that move.
-- script
INSERT INTO stamps (word, made, day) SELECT word, '2024-01-01', '2024-01-01' FROM words;
UPDATE stamps SET word = word || '!', made = now(), day = DEFAULT;
SELECT count(*), count(DISTINCT made), count(DISTINCT day), bool_and(made::date = day) FROM stamps;
BEGIN;
UPDATE stamps SET word = word || '?', made = DEFAULT, n = extract(year FROM current_timestamp) WHERE word LIKE 'word1%';
SELECT count(*), count(DISTINCT made) FROM stamps;
COMMIT;
TRUNCATE stamps;

-- There and back, through everything.
-- script
UPDATE words SET word = reverse(word);
INSERT INTO words VALUES ('word1', 100) ON CONFLICT DO NOTHING;
UPDATE words SET word = reverse(word) WHERE n < 100 AND word <> '1drow';
UPDATE words SET word = 'word' || (n + 40) WHERE n BETWEEN 2 AND 20;
SELECT word, n FROM words ORDER BY n, word;

-- script
UPDATE metrics SET day = day + 1000, series = series + 1 WHERE value IS NULL RETURNING day, series, ratio;
UPDATE metrics SET day = (day + interval '1 month')::date WHERE series = 0;
UPDATE metrics SET day = '2024-01-01' WHERE series = 2;
UPDATE metrics SET day = day - 2000 WHERE day > '2024-03-01';
SELECT count(*), sum(value), min(day), max(day) FROM metrics;
