-- UPDATE and DELETE that read rows of other shards.

-- Joined by other columns than the keys.
-- script
UPDATE accounts a SET note = t.name FROM tenants t WHERE t.id = a.id;
UPDATE accounts a SET amount = a.amount + x.amount FROM transfers x WHERE x.id = a.id AND x.amount > 50;
UPDATE accounts a SET note = a.note || ' and ' || b.owner FROM accounts b WHERE b.id = a.id + 1 AND a.hits = b.hits - 1;
SELECT tenant_id, id, owner, amount, note, hits FROM accounts ORDER BY id;

-- script
DELETE FROM transfers x USING accounts a WHERE a.id = x.id AND a.hits > 3;
DELETE FROM transfers USING tenants t, labels l WHERE t.id = transfers.account_id AND l.rank = t.seats % 4 AND l.code < 'L4';
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id;

-- Queries that look at nothing around them.
-- script
UPDATE accounts SET hits = (SELECT count(*) FROM transfers);
UPDATE accounts SET amount = (SELECT avg(amount) FROM transfers) WHERE id < 20;
UPDATE accounts SET amount = (SELECT max(amount) FROM accounts), note = (SELECT min(name) FROM tenants WHERE seats > 20) WHERE id >= 40;
UPDATE accounts SET (note, hits) = (SELECT name, seats FROM tenants WHERE id = 5) WHERE id BETWEEN 20 AND 25;
UPDATE accounts SET note = (SELECT note FROM accounts WHERE id = 99999) WHERE id = 30;
SELECT tenant_id, id, amount, note, hits FROM accounts ORDER BY id;

-- script
DELETE FROM transfers WHERE account_id IN (SELECT id FROM tenants WHERE seats > 60);
DELETE FROM transfers WHERE id NOT IN (SELECT id * 2 FROM accounts WHERE hits < 5);
DELETE FROM transfers WHERE amount > ALL (SELECT balance FROM customers WHERE balance > 500);
DELETE FROM transfers WHERE amount < ANY (SELECT balance - 200 FROM customers WHERE balance > 0 AND balance < 230);
SELECT tenant_id, id, account_id, amount FROM transfers ORDER BY id;

-- NULLs among what NOT IN looks through.
-- script
DELETE FROM words WHERE n NOT IN (SELECT hits FROM accounts UNION ALL SELECT NULL);
DELETE FROM words WHERE n NOT IN (SELECT seats FROM tenants);
DELETE FROM words WHERE n NOT IN (SELECT hits FROM accounts);
SELECT word, n FROM words ORDER BY n;

-- Queries about the row around them.
-- script
UPDATE accounts a SET hits = (SELECT count(*) FROM transfers x WHERE x.id > a.id);
UPDATE accounts a SET note = 'has one' WHERE EXISTS (SELECT 1 FROM transfers x WHERE x.id = a.id AND x.amount > 20);
UPDATE accounts a SET note = 'is last' WHERE NOT EXISTS (SELECT FROM accounts b WHERE b.id > a.id AND b.hits >= a.hits);
UPDATE accounts a SET amount = (SELECT sum(b.amount) FROM accounts b WHERE b.id <= a.id) WHERE a.id < 15;
SELECT tenant_id, id, amount, note, hits FROM accounts ORDER BY id;

-- script
DELETE FROM accounts a WHERE NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = a.id AND t.plan IS NOT NULL);
DELETE FROM readings r WHERE r.n = (SELECT max(n) FROM readings b WHERE b.n % 3 = r.n % 3);
SELECT id FROM accounts ORDER BY id;
SELECT n FROM readings ORDER BY n;
SELECT count(*) FROM transfers;

-- The work of queues: a few rows of the table itself.
-- script
UPDATE words SET n = n + 100 WHERE word IN (SELECT word FROM words ORDER BY n LIMIT 3);
UPDATE words SET n = n + 100 WHERE word = (SELECT word FROM words WHERE n < 100 ORDER BY n DESC LIMIT 1);
DELETE FROM words WHERE word IN (SELECT word FROM words ORDER BY n DESC, word LIMIT 2 OFFSET 1);
DELETE FROM readings WHERE (day, n) IN (SELECT day, n FROM readings ORDER BY v DESC LIMIT 4);
DELETE FROM readings WHERE day < (SELECT max(day) FROM readings) - 100;
SELECT word, n FROM words ORDER BY n, word;
SELECT day, n FROM readings ORDER BY n;

-- script
-- ties
UPDATE words SET n = n + 100 WHERE word IN (SELECT word FROM words ORDER BY n LIMIT 3) RETURNING word, n;
DELETE FROM readings WHERE day IN (SELECT day FROM readings ORDER BY v DESC LIMIT 4) RETURNING *;
UPDATE accounts a SET note = t.name FROM tenants t WHERE t.id = a.id RETURNING a.id, t.name, t.plan AS "Plan", a.note = t.name;
UPDATE accounts a SET hits = 0 FROM tenants t WHERE t.id = a.id AND t.seats > 80 RETURNING *;
DELETE FROM transfers x USING accounts a WHERE a.id = x.id AND a.hits > 3 RETURNING x.*, a.owner, a.amount * 2 AS twice;
DELETE FROM transfers x USING accounts a WHERE a.id = x.id AND a.hits > 3 RETURNING x.*, a.owner;
UPDATE words SET n = (SELECT count(*) FROM accounts) WHERE n < 6 RETURNING n, word || '!', (SELECT max(id) FROM tenants);

-- WITH.
-- script
WITH few AS (SELECT id FROM tenants WHERE seats > 60 AND id < 30) UPDATE accounts SET note = 'few' WHERE id IN (SELECT id FROM few);
WITH sums AS (SELECT account_id, sum(amount) AS s FROM transfers GROUP BY account_id) UPDATE accounts a SET amount = sums.s FROM sums WHERE sums.account_id = a.id + 1;
WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 7 FROM up WHERE n < 50) UPDATE accounts a SET hits = 9 FROM up, tenants t WHERE up.n = a.id AND t.id = a.id;
WITH doomed AS (SELECT x.id FROM transfers x JOIN tenants t ON t.id = x.id) DELETE FROM transfers WHERE id IN (SELECT id FROM doomed);
SELECT tenant_id, id, amount, note, hits FROM accounts ORDER BY id;
SELECT id FROM transfers ORDER BY id;

-- The time, the same on all shards.
-- script
INSERT INTO stamps (word, made, day) SELECT word, '2024-01-01', '2024-01-01' FROM words;
UPDATE stamps SET made = now(), day = CURRENT_DATE, n = extract(year FROM now()) - date_part('year', statement_timestamp());
SELECT count(*), count(DISTINCT made), min(made) < now(), max(day) <= CURRENT_DATE, sum(n) FROM stamps;
UPDATE stamps SET made = '2024-01-01' WHERE made < transaction_timestamp() AND word < 'word2';
DELETE FROM stamps WHERE made < now() - interval '1 day' AND day <= current_date;
SELECT count(*), count(DISTINCT made) FROM stamps;
UPDATE stamps SET n = 3 WHERE made <= CURRENT_TIMESTAMP AND day >= LOCALTIMESTAMP::date - 1 AND LOCALTIME <= '24:00' AND current_time IS NOT NULL;
UPDATE stamps SET made = CURRENT_TIMESTAMP(0), n = 4 WHERE made < LOCALTIMESTAMP AND CURRENT_TIMESTAMP ( 3 ) >= made - interval '1 second';
SELECT count(*), count(DISTINCT made), sum(n), bool_and(made = date_trunc('second', made)) FROM stamps;
UPDATE stamps SET n = 5 WHERE age(now(), made) > interval '1 day' RETURNING n;
DELETE FROM stamps;

-- script
-- ties
BEGIN;
UPDATE accounts SET note = (now() < '2024-01-01')::text WHERE id < 30 RETURNING note, CURRENT_DATE - current_date AS "0";
ROLLBACK;
BEGIN;
DELETE FROM readings WHERE day + 1000 > current_date RETURNING n;
COMMIT;
SELECT n, v FROM readings ORDER BY n;

-- script
INSERT INTO stamps SELECT word, '2024-01-01', '2024-01-01', n FROM words;
-- ties
UPDATE stamps SET made = now() WHERE n < 15 RETURNING made = now(), word;
SELECT count(DISTINCT made), count(*) FROM stamps;
DELETE FROM stamps WHERE made <= now();

-- Values that each row asks for.
-- script
-- ties
UPDATE accounts SET note = gen_random_uuid();
UPDATE accounts SET hits = CASE WHEN random() < 2 THEN 5 END, amount = floor(random()) WHERE clock_timestamp() > '2024-01-01';
SELECT count(*), count(DISTINCT note), sum(hits), sum(amount) FROM accounts;
UPDATE accounts SET note = id;
DELETE FROM transfers WHERE random() >= 0;
UPDATE words SET n = n + (SELECT floor(random()) + count(*) FROM accounts);
UPDATE words SET n = 100 WHERE n < (SELECT random() + 61 FROM tenants LIMIT 1) RETURNING word;
SELECT word, n FROM words ORDER BY word;

-- A block sees its own rows, on both sides.
-- script
BEGIN;
INSERT INTO words VALUES ('mine', 300), ('yours', 1000);
UPDATE accounts SET note = w.word FROM words w WHERE w.n = accounts.id;
DELETE FROM words WHERE n IN (SELECT id FROM accounts WHERE note LIKE 'word%');
SELECT word, n FROM words ORDER BY n;
SAVEPOINT s;
DELETE FROM words WHERE n > (SELECT count(*) FROM accounts);
UPDATE words SET n = 1 / (SELECT count(*) - 60 FROM accounts);
ROLLBACK TO s;
SELECT word, n FROM words ORDER BY n;
UPDATE words SET n = (SELECT count(*) FROM words);
COMMIT;
SELECT word, n FROM words ORDER BY word;
SELECT note FROM accounts WHERE id < 5 ORDER BY id;

-- script
BEGIN;
UPDATE words SET n = n + (SELECT max(id) FROM accounts);
ROLLBACK;
SELECT sum(n) FROM words;
BEGIN;
DELETE FROM words WHERE n < (SELECT min(id) + 4 FROM accounts);
DELETE FROM accounts WHERE id < 5;
DELETE FROM words WHERE n < (SELECT min(id) + 4 FROM accounts);
COMMIT;
SELECT n FROM words ORDER BY n;

-- Tables on the home shard, and reference tables.
-- script
-- ties
UPDATE notes SET body = (SELECT name FROM tenants WHERE id = 3) WHERE id = 1;
UPDATE notes n SET body = a.owner FROM accounts a WHERE a.id = n.id AND a.hits > 2;
DELETE FROM notes WHERE id IN (SELECT id FROM accounts WHERE hits = 4);
UPDATE notes SET body = body || (SELECT count(*) FROM words) WHERE EXISTS (SELECT 1 FROM accounts a WHERE a.id = notes.id + 1 AND a.hits > 3);
SELECT id, body FROM notes ORDER BY id;
UPDATE accounts a SET note = n.body FROM notes n WHERE n.id = a.id;
DELETE FROM transfers WHERE account_id IN (SELECT id FROM notes);
SELECT note FROM accounts WHERE id < 12 ORDER BY id;
SELECT id FROM transfers ORDER BY id;

-- script
UPDATE labels SET title = (SELECT name FROM tenants WHERE id = 3) WHERE code = 'L1';
UPDATE labels SET rank = (SELECT count(*) FROM accounts) WHERE rank IN (SELECT hits FROM accounts WHERE id < 3);
DELETE FROM labels WHERE code IN (SELECT 'L' || id FROM accounts WHERE hits = 5);
DELETE FROM labels l USING accounts a WHERE 'L' || a.id = l.code AND a.hits = 3;
UPDATE labels l SET title = title || '!' WHERE EXISTS (SELECT 1 FROM accounts a WHERE 'L' || a.id = l.code AND a.hits < 3);
UPDATE labels SET title = now()::date - CURRENT_DATE WHERE code = 'L7' RETURNING title;
UPDATE labels SET title = (SELECT min(body) FROM notes) WHERE code = 'L8' RETURNING *;
SELECT code, title, rank FROM labels ORDER BY code;

-- Outer joins, several tables, derived tables, functions.
-- script
UPDATE accounts a SET note = coalesce(l.title, 'nobody') FROM tenants t LEFT JOIN labels l ON l.rank = t.seats % 9 AND l.code > 'L5' WHERE t.id = a.id AND t.id < 20;
UPDATE accounts a SET note = s.who FROM (SELECT id, name AS who FROM tenants WHERE id > 20) s WHERE s.id = a.id;
UPDATE accounts a SET hits = q.c FROM (SELECT hits AS h, count(*) AS c FROM accounts GROUP BY hits) q WHERE q.h = a.hits;
UPDATE accounts a SET hits = g.i FROM generate_series(1, 9) AS g(i), tenants t WHERE g.i = a.id AND t.id = a.id + 1;
UPDATE accounts a SET note = b.note || y.id FROM accounts b JOIN transfers y ON y.account_id = b.id AND y.tenant_id = b.tenant_id WHERE b.id = a.id + 2;
SELECT tenant_id, id, amount, note, hits FROM accounts ORDER BY id;

-- Types that each server has under its own numbers, arrays, lengths.
-- script
UPDATE tickets t SET state = s.state, tags = s.tags, share = s.share, code = s.code, label = s.label FROM tickets s WHERE s.id = t.id % 36 + 1;
UPDATE tickets SET state = (SELECT max(state) FROM tickets), fee = (SELECT sum(fee) / 7 FROM tickets) WHERE id % 2 = 0;
UPDATE tickets SET tags = (SELECT array_agg(word ORDER BY word) FROM words WHERE n < 4) WHERE id % 3 = 0;
UPDATE tickets SET label = (SELECT 'much too long' || max(id) FROM accounts);
UPDATE tickets SET share = (SELECT 41 + max(id) FROM accounts);
UPDATE tickets t SET note = o.feel::text || (o.two).a || o.span || coalesce(o.feels[1]::text, '-') FROM odd o WHERE o."Id" = t.id AND o.ci = 'ABC';
UPDATE tickets t SET note = o."od""d name" FROM odd o WHERE o."Id" = t.id AND o."select" LIKE 'sel%';
SELECT tenant_id, id, state::text, tags, share, fee, code, label, doubled, made, note FROM tickets ORDER BY id;

-- script
UPDATE sessions SET seen = (SELECT max(at) FROM events), who = (SELECT kind FROM events WHERE seq = 5) WHERE token IN (SELECT token FROM sessions ORDER BY seen LIMIT 3);
DELETE FROM sessions WHERE who IN (SELECT 'who' || version FROM kv WHERE version < 2);
SELECT token, who, seen FROM sessions ORDER BY token;

-- Errors.
-- script
UPDATE accounts SET hits = (SELECT -count(*) FROM transfers);
UPDATE accounts SET hits = (SELECT id FROM transfers);
UPDATE accounts SET hits = (SELECT 1 / (count(*) - 30) FROM transfers);
UPDATE accounts SET note = t.name FROM tenants t WHERE t.id = accounts.nothing;
UPDATE accounts SET nothing = (SELECT count(*) FROM transfers);
UPDATE accounts SET hits = (SELECT name FROM tenants WHERE id = 1);
UPDATE accounts a SET owner = 'same' FROM tenants t WHERE t.id < a.id;
DELETE FROM accounts WHERE id IN (SELECT nothing FROM tenants);
DELETE FROM accounts WHERE id IN (SELECT id, name FROM tenants);
DELETE FROM tenants WHERE id IN (SELECT id FROM accounts);
SELECT sum(hits), count(note), count(*) FROM accounts;

-- Nothing to do.
-- script
DELETE FROM accounts WHERE id IN (SELECT id FROM tenants WHERE id > 1000);
UPDATE accounts a SET note = t.name FROM tenants t WHERE t.id = a.id AND a.tenant_id = 5 AND a.tenant_id = 6;
UPDATE accounts a SET note = v.t FROM void v WHERE v.id = a.id RETURNING a.id, v.v, v.b;
UPDATE accounts SET note = (SELECT t FROM void) WHERE id = 3 RETURNING note;
SELECT count(*), count(note) FROM accounts;

-- On one shard, rows of all.
-- script
UPDATE accounts SET hits = (SELECT count(*) FROM transfers) WHERE tenant_id = 3;
UPDATE accounts a SET note = t.name FROM tenants t WHERE t.id = a.id AND a.tenant_id = 3 AND a.id = 2;
DELETE FROM transfers WHERE tenant_id IN (3, 4) AND amount > (SELECT avg(amount) FROM transfers);
SELECT tenant_id, id, note, hits FROM accounts WHERE tenant_id = 3 ORDER BY id;
SELECT tenant_id, id, amount FROM transfers ORDER BY id;

-- Views, in a query of its own.
-- script
DELETE FROM transfers WHERE tenant_id IN (SELECT tenant_id FROM big_orders);
UPDATE accounts SET hits = (SELECT count(*) FROM top_customers) WHERE id < 10;
SELECT count(*) FROM transfers;
SELECT sum(hits) FROM accounts;

-- params: 3, 'param', 50.5
UPDATE accounts a SET note = $2 || t.name FROM tenants t WHERE t.id = a.id + $1 AND a.amount > $3

-- params: 40, 2
-- types: int4, int4
UPDATE accounts SET hits = (SELECT count(*) FROM tenants WHERE id < $1) + $2 WHERE id IN (SELECT id + $2 FROM transfers WHERE amount > $1) RETURNING tenant_id, id, hits

-- params: 2
-- types: int8
DELETE FROM words WHERE word IN (SELECT word FROM words ORDER BY n LIMIT $1) RETURNING *

-- Values of every type come along as they are.
-- script
UPDATE accounts a SET note = concat_ws('|', c.meta, c.raw, c.ip, c.gap, c.slot, c.tags, c.score, c.rating, c.balance, c.born, c.created, c.updated, c.guid, c.active, c.level, c.country) FROM customers c WHERE c.id = a.id;
UPDATE accounts a SET note = note || e.payload::text || e.value || e.flags || e.at FROM events e WHERE e.seq = a.id AND e.kind = 'open';
UPDATE accounts a SET hits = (c.meta->'deep'->>'k')::int, amount = c.balance::float8 * c.score FROM customers c WHERE c.id = a.id AND c.score > 0 AND c.balance > 0;
UPDATE accounts a SET note = (SELECT sum(length(c.meta::text)) FROM customers c WHERE c.id < a.id) WHERE a.id < 6;
UPDATE accounts SET note = (SELECT array_agg(raw ORDER BY id)::text FROM customers WHERE id < 4) WHERE id BETWEEN 6 AND 8;
UPDATE accounts SET note = (SELECT (created, gap, tags)::text FROM customers WHERE id = 17) WHERE id = 9;
SELECT id, hits, amount, note FROM accounts ORDER BY id;

-- Texts are compared by the collations of their columns.
-- script
UPDATE tickets SET note = 'loose' WHERE label IN (SELECT 'L' || substr(ci, 3) FROM odd) OR code IN (SELECT ci FROM odd);
UPDATE tickets t SET note = o.ci FROM odd o WHERE o.ci = t.note;
UPDATE words SET n = 0 WHERE word < ALL (SELECT owner FROM accounts);
UPDATE words SET n = -1 WHERE word > ANY (SELECT code FROM tickets);
UPDATE words w SET n = (SELECT count(*) FROM accounts a WHERE a.owner < w.word);
UPDATE words w SET n = (SELECT count(*) FROM kv WHERE kv.key < w.word AND kv.key > 'K');
UPDATE words SET n = 5 WHERE word IN (SELECT nick FROM customers UNION SELECT name FROM tenants);
UPDATE tickets SET note = NULL WHERE code = ANY (SELECT 'c' || n FROM words);
SELECT id, note FROM tickets ORDER BY id;
SELECT word, n FROM words ORDER BY word;

-- Rows of rows, and rows of nothing.
-- script
UPDATE words SET n = (SELECT count(*) FROM (SELECT DISTINCT ON (tenant_id) * FROM accounts ORDER BY tenant_id, id) s WHERE s.hits > 3);
UPDATE words w SET n = s.rn FROM (SELECT owner, row_number() OVER (ORDER BY id) AS rn FROM accounts) s WHERE 'word' || s.rn = w.word;
UPDATE words SET n = x.n FROM (VALUES ('word1', 11), ('word2', 22)) AS x (w, n), tenants t WHERE x.w = word AND t.id = 1;
DELETE FROM words WHERE (n, word) IN (SELECT id, 'word' || id FROM accounts WHERE id > 15);
DELETE FROM words WHERE n = ALL (SELECT id FROM accounts WHERE id < 0) AND word = 'word1';
DELETE FROM words WHERE n <> ALL (SELECT id FROM accounts) IS NULL;
DELETE FROM words WHERE ROW (n, 1) < ROW ((SELECT min(id) + 3 FROM accounts), 2);
DELETE FROM words WHERE CASE WHEN n > 10 THEN EXISTS (SELECT FROM accounts WHERE id = n) ELSE false END;
SELECT word, n FROM words ORDER BY word;

-- What a query locks first is what is changed.
-- script
UPDATE accounts SET hits = hits + 1 WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM accounts ORDER BY id DESC, tenant_id LIMIT 5 OFFSET 2 FOR UPDATE SKIP LOCKED);
SELECT tenant_id, id, hits FROM accounts ORDER BY id DESC, tenant_id LIMIT 9;
BEGIN;
UPDATE accounts SET note = 'taken' WHERE id = (SELECT id FROM accounts WHERE amount > 5 ORDER BY amount, id, tenant_id FOR NO KEY UPDATE LIMIT 1) RETURNING id;
DELETE FROM words WHERE word IN (SELECT w.word FROM words w WHERE w.n > 2 ORDER BY w.n, w.word COLLATE "C" LIMIT 3 FOR UPDATE OF w NOWAIT);
SELECT count(*) FROM words;
COMMIT;

-- RETURNING gives all columns of what is sent along.
UPDATE accounts a SET hits = n.id FROM notes n WHERE n.id = a.tenant_id RETURNING a.*, n.*

UPDATE accounts a SET hits = 1 FROM transfers b WHERE b.id = a.id AND b.tenant_id = 1 RETURNING b.*

UPDATE accounts a SET hits = 1 FROM transfers b WHERE b.id = a.id AND b.tenant_id = 1 RETURNING *

DELETE FROM transfers x USING accounts a WHERE a.id = x.account_id + 1 RETURNING x.*, a.*

DELETE FROM transfers x USING words b WHERE b.n = x.id RETURNING x.id, b.*

DELETE FROM transfers x USING words b WHERE b.n = x.id RETURNING x.id, row_to_json(b), row(b.*), b::text

UPDATE notes n SET body = 'new' FROM accounts a WHERE a.id = n.id RETURNING n.*, a.*

UPDATE labels l SET rank = a.hits FROM accounts a WHERE a.id = l.rank AND a.tenant_id = 1 RETURNING l.*, a.*

-- Functions that give another value at each call, in reference tables.
-- script
-- ties
UPDATE labels SET rank = floor(random())::int + rank WHERE random() < 2;
UPDATE labels l SET title = left(gen_random_uuid()::text, 0) || l.title, rank = rank + 1 WHERE l.rank > 1 RETURNING *;
DELETE FROM labels WHERE random() > 2;
DELETE FROM labels WHERE rank = 0 AND random() >= 0 RETURNING code, "rank" AS r;
INSERT INTO marks (code, n) VALUES ('a', 1), ('b', 2);
UPDATE marks SET token = gen_random_uuid(), n = n + (random() * 0)::int;
SELECT count(DISTINCT token), sum(n) FROM marks;
DELETE FROM marks;
BEGIN;
INSERT INTO labels VALUES ('in', 'block', 1);
UPDATE labels SET rank = 5 + floor(random())::int, title = DEFAULT WHERE code = 'in';
SELECT * FROM labels WHERE code = 'in';
COMMIT;
UPDATE labels SET rank = 1 / floor(random())::int;
SELECT * FROM labels ORDER BY code;

-- params: 7, 'L3'
UPDATE labels SET rank = $1 + floor(random())::int WHERE code = $2 RETURNING code, rank

-- Defaults that read the clock: one time on all shards.
-- script
INSERT INTO stamps (word, made, day) VALUES ('a', '2020-01-01', '2020-01-01'), ('b', '2020-01-02', '2020-01-01'), ('c', '2020-01-03', '2020-01-01'), ('d', '2020-01-04', NULL), ('e', '2020-01-05', NULL);
UPDATE stamps SET made = DEFAULT, n = n + 1;
SELECT count(*), count(DISTINCT made), bool_and(made > now() - interval '1 hour'), sum(n) FROM stamps;
UPDATE stamps SET (day, made) = (DEFAULT, DEFAULT), n = 4 WHERE word > 'b';
SELECT word, day = current_date, made > now() - interval '1 hour', n FROM stamps WHERE word > 'b' ORDER BY word;
UPDATE stamps s SET made = DEFAULT, n = t.seats FROM tenants t WHERE t.id = s.n RETURNING s.made = now();
BEGIN;
SELECT count(*) FROM orders WHERE placed < now();
UPDATE stamps SET made = DEFAULT, day = DEFAULT, n = 5 WHERE word IN ('a', 'b', 'c', 'd');
SELECT count(DISTINCT made), bool_and(made = now()), bool_and(day = current_date), max(n) FROM stamps WHERE n = 5;
ROLLBACK;
SELECT count(*), sum(n) FROM stamps;
UPDATE stamps SET made = '2022-01-01', day = NULL;
