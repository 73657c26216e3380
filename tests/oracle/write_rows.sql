-- Rows inserted, changed and deleted: every kind of key, conflicts, RETURNING, defaults, constraints.

-- script
INSERT INTO accounts (tenant_id, id) VALUES (1, 901), (2, 902), (3, 903), (4, 904), (5, 905), (6, 906);
INSERT INTO accounts VALUES (7, 907, 'full', 1.005, NULL, 3), (8, 908, NULL, 2, DEFAULT, DEFAULT), (9, 909, 'o', DEFAULT, 'n', 0);
INSERT INTO accounts (id, tenant_id, note) VALUES (910, 10, 'a' || 'b'), (911, 11, upper('c')), (912, 12, NULL);
SELECT * FROM accounts WHERE id > 900 ORDER BY id;

-- script
-- ties
INSERT INTO accounts (tenant_id, id, owner) VALUES (1, 921, 'r1'), (2, 922, 'r2'), (3, 923, 'r3') RETURNING *;
INSERT INTO accounts (tenant_id, id, owner) VALUES (4, 924, 'r4'), (5, 925, 'r5') RETURNING id * 2 AS twice, note IS NULL, 'x' AS "X";
INSERT INTO words (word, n) VALUES ('alpha', 1), ('beta', 2), ('gamma', NULL) RETURNING word, n + 1;
INSERT INTO readings VALUES ('2024-02-20', 1, 1), ('2023-01-01', 2, 2), ('2025-12-31', 3, 3) RETURNING day, extract(year FROM day);
INSERT INTO sessions VALUES (md5('a')::uuid, 'a', '2024-01-01'), (md5('b')::uuid, 'b', NULL);
INSERT INTO sessions VALUES ('00000000-0000-0000-0000-000000000001', 'a', '2024-01-01'), ('{00000000-0000-0000-0000-000000000002}', 'b', NULL) RETURNING token, who;

-- Conflicts.
-- script
-- ties
INSERT INTO accounts (tenant_id, id, note) VALUES (2, 1, 'is there'), (3, 2, 'is there'), (1, 931, 'new') ON CONFLICT DO NOTHING;
INSERT INTO accounts (tenant_id, id, note) VALUES (2, 1, 'is there'), (3, 2, 'too'), (1, 932, 'new') ON CONFLICT (tenant_id, id) DO UPDATE SET note = excluded.note, hits = accounts.hits + 1;
INSERT INTO accounts AS a (tenant_id, id, note) VALUES (2, 1, 'x'), (3, 2, 'y'), (4, 933, 'z') ON CONFLICT (tenant_id, id) DO UPDATE SET note = a.note || excluded.note WHERE a.note <> 'is there' RETURNING a.id, a.note;
INSERT INTO accounts (tenant_id, id, owner) VALUES (2, 934, 'owner1'), (5, 935, 'owner4') ON CONFLICT (tenant_id, owner) DO UPDATE SET note = 'same owner' RETURNING tenant_id, id;
INSERT INTO words VALUES ('word1', 100), ('word2', 200), ('word99', 300) ON CONFLICT (word) DO UPDATE SET n = words.n + excluded.n RETURNING word, n;
INSERT INTO words VALUES ('word1', 11), ('word3', 31), ('word98', 5) ON CONFLICT (word) DO UPDATE SET word = excluded.word, n = excluded.n RETURNING word, n;
INSERT INTO words AS w VALUES ('word1', 12), ('word97', 5) ON CONFLICT (word) DO UPDATE SET (n, word) = ROW (excluded.n, w.word) RETURNING *;
INSERT INTO accounts (tenant_id, id, note) VALUES (2, 1, 'whole'), (3, 2, 'row') ON CONFLICT (id, tenant_id) DO UPDATE SET tenant_id = excluded.tenant_id, id = excluded.id, note = excluded.note RETURNING tenant_id, id, note;
INSERT INTO accounts (tenant_id, id, note) VALUES (2, 1, 'x'), (3, 2, 'y') ON CONFLICT (tenant_id, id) DO UPDATE SET hits = (SELECT count(*) FROM transfers t WHERE t.tenant_id = excluded.tenant_id) RETURNING id, hits;
INSERT INTO accounts (tenant_id, id, note) SELECT tenant_id, id, 'z' FROM accounts WHERE id < 4 ON CONFLICT (tenant_id, id) DO UPDATE SET tenant_id = excluded.tenant_id, note = accounts.note || excluded.note RETURNING tenant_id, id, note;
INSERT INTO words VALUES ('word1', 1), ('fresh', 1), ('fresh', 2) ON CONFLICT DO NOTHING;
INSERT INTO words VALUES ('twice', 1), ('other', 1), ('twice', 2) ON CONFLICT (word) DO UPDATE SET n = excluded.n;
SELECT word, n FROM words WHERE word NOT LIKE 'word1_' ORDER BY word;
SELECT tenant_id, id, note, hits FROM accounts ORDER BY id;

-- Constraints, each on another row than the first.
-- script
INSERT INTO accounts (tenant_id, id) VALUES (1, 941), (2, 1);
INSERT INTO accounts (tenant_id, id, hits) VALUES (1, 941, 1), (2, 942, 2), (3, 943, -1);
INSERT INTO accounts (tenant_id, id, owner) VALUES (1, 941, 'fine'), (2, 942, 'owner1');
INSERT INTO transfers VALUES (1, 941, 12, 1), (2, 942, 999, 1);
INSERT INTO accounts (tenant_id, id, amount) VALUES (1, 941, 1), (2, 942, 99999999999);
INSERT INTO accounts (tenant_id, id, amount) VALUES (1, 941, NULL), (2, 942, 1);
INSERT INTO accounts (tenant_id, id, nothing) VALUES (1, 941, 1), (2, 942, 1);
INSERT INTO accounts (tenant_id, id) VALUES (1, 941, 3), (2, 942, 4);
INSERT INTO accounts (tenant_id, id) VALUES (1, 'x'), (2, 942);
INSERT INTO words VALUES ('fine', 1), ('word3', 2);
INSERT INTO tickets (tenant_id, id, share) VALUES (1, 941, 100), (2, 942, 101);
INSERT INTO tickets (tenant_id, id, label) VALUES (1, 941, 'fits'), (2, 942, 'does not');
INSERT INTO tickets (tenant_id, id, state) VALUES (1, 941, 'happy'), (2, 942, 'angry');
SELECT count(*) FROM accounts;
SELECT count(*) FROM words;
SELECT count(*) FROM tickets;

-- Generated columns, defaults, domains, user types.
-- script
INSERT INTO tickets (tenant_id, id, state, tags, share, fee, code, label) VALUES (1, 951, 'sad', '{a,b}', 0, 1.555, 'ab', 'sixsix'), (2, 952, NULL, ARRAY['x', NULL], 100, NULL, 'abcd', '');
INSERT INTO tickets (tenant_id, id, doubled) VALUES (3, 953, DEFAULT), (4, 954, DEFAULT);
INSERT INTO tickets (tenant_id, id, doubled) VALUES (3, 955, 1), (4, 956, 2);
INSERT INTO odd ("Id", feel, "od""d name", part) VALUES (901, 'ok', 'né', 50), (902, 'happy', E'a\tb', NULL);
INSERT INTO odd ("Id", two, span, mask, cash, ci) VALUES (903, ROW(1, 'sad'), '[1,5)', B'101', 12.5, 'ÄB'), (904, NULL, 'empty', B'000', '$1,000.50', 'äb');
SELECT tenant_id, id, state::text, tags, share, fee, code, label, doubled, made, note FROM tickets WHERE id > 900 ORDER BY id;
SELECT "Id", feel::text, "od""d name", part, (two).a, span::text, mask::text, cash::numeric, ci, twice FROM odd WHERE "Id" > 900 ORDER BY "Id";

-- UPDATE over all and some.
-- script
UPDATE accounts SET hits = hits + 1;
UPDATE accounts SET note = coalesce(note, 'was null') || id WHERE tenant_id IN (1, 2, 3);
UPDATE accounts SET amount = CASE WHEN hits > 4 THEN amount * 2 ELSE amount / 2 END WHERE tenant_id > 6;
UPDATE accounts SET (note, hits) = (owner, tenant_id) WHERE tenant_id = 4 OR id = 7;
UPDATE accounts SET note = DEFAULT, amount = DEFAULT WHERE id % 10 = 3;
UPDATE accounts SET owner = owner || '+' WHERE tenant_id BETWEEN 5 AND 7 AND amount > 100;
UPDATE accounts SET note = NULL WHERE (tenant_id, id) IN ((2, 1), (3, 2), (9, 9));
SELECT * FROM accounts ORDER BY id;

-- script
-- ties
UPDATE accounts SET hits = 0 WHERE hits > 5 RETURNING tenant_id, id, hits;
UPDATE accounts AS a SET hits = a.hits + 10 WHERE a.note LIKE 'note 1' RETURNING a.*;
UPDATE words SET n = -n WHERE word IN ('word1', 'word5', 'word20', 'nothing') RETURNING word, n, n * n AS square;
UPDATE readings SET v = v + 1 WHERE day < '2024-02-01' RETURNING day, v;
UPDATE accounts SET hits = hits WHERE false RETURNING id;

-- script
UPDATE words SET n = 1 WHERE word = 'word1' AND word = 'word2';
UPDATE words SET n = 1 WHERE word IS NULL;
UPDATE words SET n = 1 WHERE word = NULL;
UPDATE words SET n = n + 1 WHERE word > 'word15';
UPDATE words SET n = n + 1 WHERE word LIKE 'word1%' OR n = 2;
UPDATE words SET n = NULL WHERE n BETWEEN 5 AND 7;
UPDATE words SET n = coalesce(n, 0) + length(word) WHERE word !~ '3';
SELECT word, n FROM words ORDER BY word;

-- DELETE.
-- script
-- ties
DELETE FROM accounts WHERE tenant_id = 3 RETURNING id, owner;
DELETE FROM accounts WHERE hits IN (1, 2) RETURNING *;
DELETE FROM transfers WHERE amount < 20 OR account_id IS NULL RETURNING id;
DELETE FROM readings WHERE day BETWEEN '2024-01-20' AND '2024-03-10' AND n % 2 = 0;
DELETE FROM sessions WHERE seen > '2024-01-01 00:10+00' AND who <> 'who1' RETURNING who;
DELETE FROM words;
DELETE FROM words RETURNING *;
SELECT count(*) FROM transfers;

-- Foreign keys: what follows goes too, and what is pointed to stays.
-- script
DELETE FROM accounts WHERE id IN (2, 4, 6, 8);
SELECT id FROM transfers ORDER BY id;
UPDATE accounts SET id = id + 1000 WHERE id % 2 = 1;
UPDATE accounts SET id = id + 1000 WHERE id = 10;
UPDATE transfers SET account_id = account_id + 1 WHERE id < 40;
UPDATE transfers SET account_id = NULL WHERE id < 40;
DELETE FROM accounts;
SELECT count(*) FROM transfers;
SELECT count(*) FROM accounts;

-- TRUNCATE.
-- script
TRUNCATE transfers;
SELECT count(*) FROM transfers;
TRUNCATE accounts;
TRUNCATE accounts CASCADE;
TRUNCATE words, readings, labels;
TRUNCATE notes;
SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM words), (SELECT count(*) FROM readings), (SELECT count(*) FROM labels), (SELECT count(*) FROM notes);
INSERT INTO words VALUES ('a', 1), ('b', 2);
SELECT * FROM words ORDER BY n;

-- Keys of dates, in ranges.
-- script
INSERT INTO metrics VALUES ('2023-12-14', 1, 1, 1), ('2024-06-01', 2, 2, 2.5), ('2030-01-01', 3, NULL, NULL);
UPDATE metrics SET value = value + 1000 WHERE day >= '2024-03-01';
UPDATE metrics SET ratio = 0 WHERE day < '2023-12-20' OR day = '2024-01-15';
DELETE FROM metrics WHERE day BETWEEN '2024-01-01' AND '2024-01-31' AND series = 1;
DELETE FROM metrics WHERE value IS NULL;
INSERT INTO metrics VALUES ('2024-02-01', 0, 5, 5) ON CONFLICT (day, series) DO UPDATE SET value = excluded.value * 2, ratio = NULL;
UPDATE metrics SET day = day + 400 WHERE series = 2 AND day > '2024-02-01';
SELECT day, series, value, ratio FROM metrics ORDER BY day, series;

-- Partitioned tables.
-- script
INSERT INTO parted VALUES (1, '2024-01-31', 1.5), (2, '2024-02-01', 2.5), (3, '1999-01-01', NULL), (4, '2099-01-01', 9999.99);
INSERT INTO parted VALUES (1, '2024-01-31', 99999), (2, '2024-02-01', 2.5);
UPDATE parted SET v = v * 2 WHERE day < '2024-01-01';
UPDATE parted SET day = '2024-03-01' WHERE day = '2024-01-05';
UPDATE parted SET day = '2024-01-01', v = -1 WHERE tenant_id = 7;
DELETE FROM parted WHERE v IS NULL OR tenant_id IN (2, 3);
UPDATE parted SET v = (SELECT max(v) FROM parted) WHERE tenant_id = 9;
INSERT INTO parted SELECT tenant_id + 1, day + 1, v FROM parted WHERE tenant_id > 15;
UPDATE parted SET tenant_id = tenant_id + 1 WHERE tenant_id = 11;
SELECT tenant_id, day, v FROM parted ORDER BY day, tenant_id, v;
SELECT (SELECT count(*) FROM parted_old), (SELECT count(*) FROM parted_new);

-- Names that need quotes, columns that are not what they were.
-- script
UPDATE odd SET "select" = 'x' || "Id", feels = feels || 'happy'::mood WHERE "Id" % 7 = 0;
UPDATE odd SET "od""d name" = "od""d name" || '!' WHERE length("od""d name") < 5;
UPDATE odd SET ci = upper(ci) WHERE ci = 'ABC';
UPDATE odd SET two.a = 9, two.b = 'sad' WHERE "Id" IN (5, 6);
DELETE FROM odd WHERE feel = 'sad' AND part < 50;
UPDATE odd SET part = part + 50;
UPDATE odd SET "Id" = "Id" + 100 WHERE "Id" < 5;
SELECT "Id", "select", feel::text, feels::text[], part, (two).a, (two).b::text, ci, "od""d name", twice FROM odd ORDER BY "Id";

-- Tables that every shard has.
-- script
-- ties
INSERT INTO labels VALUES ('N1', 'new', 1), ('N2', 'newer', NULL) RETURNING *;
INSERT INTO labels VALUES ('L1', 'again', 9), ('N3', 'n', 3) ON CONFLICT (code) DO UPDATE SET title = excluded.title || labels.title RETURNING code, title;
INSERT INTO labels VALUES ('N4', 'x', 1), ('L2', 'dup', 1);
UPDATE labels SET rank = rank * 10 WHERE rank > 1 RETURNING code, rank;
UPDATE labels SET title = NULL WHERE code >= 'N';
DELETE FROM labels WHERE rank IS NULL OR code = 'L3' RETURNING code;
INSERT INTO labels SELECT code || 'c', title, rank FROM labels WHERE rank < 20;
SELECT code, title, rank FROM labels ORDER BY code;

-- script
INSERT INTO marks (code, n) VALUES ('a', 1), ('b', 2);
SELECT count(*), count(DISTINCT made), count(DISTINCT token) FROM marks;
UPDATE marks SET made = '2024-01-01', token = NULL, n = n + 1;
SELECT * FROM marks ORDER BY code;
INSERT INTO marks VALUES ('c', '2024-01-01', NULL, 3) ON CONFLICT (code) DO NOTHING;
INSERT INTO marks VALUES ('c', '2024-01-01', NULL, 4) ON CONFLICT (code) DO UPDATE SET n = marks.n + excluded.n RETURNING n;
SELECT * FROM marks ORDER BY code;

-- Tables of the home shard.
-- script
INSERT INTO notes VALUES (101, 'x'), (102, NULL) RETURNING *;
INSERT INTO notes VALUES (1, 'conflict'), (103, 'y') ON CONFLICT (id) DO UPDATE SET body = notes.body || excluded.body RETURNING id, body;
UPDATE notes SET body = body || '!' WHERE id > 100 RETURNING *;
DELETE FROM notes USING notes o WHERE o.id = notes.id + 1 AND o.body LIKE 'note%' RETURNING notes.id;
INSERT INTO notes SELECT id + 200, body FROM notes;
SELECT id, body FROM notes ORDER BY id;

-- COPY.
-- stdin: 1\t961\tcopy1\t1\t\\N\t1\n2\t962\tcopy2\t2\tx\t2\n12\t963\tcopy3\t3\ty\t3\n
-- script
COPY accounts FROM STDIN;
SELECT * FROM accounts WHERE id > 960 ORDER BY id;
COPY accounts FROM STDIN;
SELECT count(*) FROM accounts;

-- stdin: word,n\n"a ""quoted"" one",1\nplain,\n"two\nlines",3\n
-- script
COPY words FROM STDIN (FORMAT csv, HEADER);
SELECT word, n FROM words WHERE word NOT LIKE 'word%' ORDER BY word;
UPDATE words SET n = 0 WHERE word LIKE 'a %';
COPY (SELECT word, n FROM words WHERE n < 3 ORDER BY word) TO STDOUT;

-- stdin: 1\t971\n2\t972\n3\t973\n
-- script
BEGIN;
COPY accounts (tenant_id, id) FROM STDIN;
UPDATE accounts SET note = 'copied' WHERE id > 970;
SELECT tenant_id, id, note, amount FROM accounts WHERE id > 970 ORDER BY id;
ROLLBACK;
SELECT count(*) FROM accounts WHERE id > 970;

-- script
PREPARE ins (int, int, text) AS INSERT INTO accounts (tenant_id, id, note) VALUES ($1, $2, $3) RETURNING tenant_id, id;
EXECUTE ins(1, 981, 'p');
EXECUTE ins(2, 982, NULL);
PREPARE upd (int, text) AS UPDATE accounts SET note = $2 WHERE id >= $1 RETURNING note;
EXECUTE upd(981, 'prepared');
PREPARE del AS DELETE FROM accounts WHERE id > 980;
EXECUTE del;
EXECUTE del;
DEALLOCATE ALL;
SELECT count(*) FROM accounts;

-- script
PREPARE two (int, int) AS INSERT INTO accounts (tenant_id, id) VALUES ($1, 991), ($2, 992);
EXECUTE two(1, 2);
EXECUTE two(3, 3);
EXECUTE two(3, 3);
PREPARE moves (text) AS UPDATE words SET word = $1 || word WHERE n < 3;
EXECUTE moves('x');
EXECUTE moves('y');
PREPARE gone (int) AS DELETE FROM words WHERE n IN (SELECT id FROM accounts WHERE id < $1);
EXECUTE gone(4);
EXECUTE gone(7);
DEALLOCATE ALL;
SELECT word, n FROM words ORDER BY word;

-- params: 1, 2, 3
INSERT INTO accounts (tenant_id, id) VALUES ($1, 9001), ($2, 9002), ($3, 9003)

-- params: 5, 'p'
UPDATE accounts SET note = $2 WHERE hits < $1

-- params: 'word3', 'word5'
-- ties
DELETE FROM words WHERE word IN ($1, $2) RETURNING *

-- params: 'word3', 5
INSERT INTO words VALUES ($1, $2), ('else', $2) ON CONFLICT (word) DO UPDATE SET n = $2 + words.n RETURNING word, n

-- Lists of rows of different lengths.
-- error: 42601
INSERT INTO accounts (tenant_id, id, hits) VALUES (1, 5001, 1), (2, 5002)

-- error: 42601
INSERT INTO accounts (tenant_id, id, hits) VALUES (1, 5001), (2, 5002, DEFAULT)

-- error: 42601
INSERT INTO notes VALUES (1, 'x'), (2)

-- error: 42601
INSERT INTO labels VALUES (1), (2, 'x')

-- error: 42601
INSERT INTO words SELECT * FROM (VALUES ('a', 1), ('b')) v

-- error: 42601
SELECT count(*) FROM accounts WHERE id IN (SELECT 1 UNION ALL VALUES (1, 2), (3))

-- error: 42601
WITH unused AS (VALUES (1), (2, 3)) DELETE FROM accounts

-- RETURNING where rows are left out: in the order of the list, or refused.
-- script
INSERT INTO accounts (tenant_id, id) VALUES (1, 1), (2, 9902), (3, 9903), (4, 9904) ON CONFLICT DO NOTHING RETURNING tenant_id, id;
INSERT INTO accounts (tenant_id, id) VALUES (4, 9914), (1, 9911), (2, 9912) ON CONFLICT DO NOTHING RETURNING tenant_id, id;
INSERT INTO accounts (tenant_id, id) VALUES (4, 9914), (1, 9911), (2, 9912) ON CONFLICT DO NOTHING RETURNING tenant_id, id;
INSERT INTO accounts (tenant_id, id, hits) VALUES (3, 9903, 1), (1, 9911, 2) ON CONFLICT (tenant_id, id) DO UPDATE SET hits = 7 WHERE accounts.hits IS NULL RETURNING id, hits;

-- script
INSERT INTO accounts (tenant_id, id, owner) SELECT tenant_id, id + 9000, 'new ' || id FROM accounts ORDER BY id DESC, tenant_id RETURNING tenant_id, id, owner;

-- error: 42P10
INSERT INTO accounts (tenant_id, id) VALUES (1, 1) ON CONFLICT (id) DO NOTHING

-- error: 42703
INSERT INTO accounts (tenant_id, id) VALUES (1, 1) ON CONFLICT (nothing) DO NOTHING

-- A text like 'now' is a text where the column is one.
-- script
UPDATE accounts SET note = 'now' WHERE id < 30;
UPDATE accounts SET note = COALESCE(note, 'today'), owner = CASE WHEN id > 50 THEN owner ELSE 'now' || id END;
UPDATE accounts SET note = NULLIF(note, 'now') WHERE id < 20;
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 901, 'now'), (2, 902, 'tomorrow');
INSERT INTO accounts (tenant_id, id, note) VALUES (1, 901, 'x'), (2, 902, 'y') ON CONFLICT (tenant_id, id) DO UPDATE SET note = 'yesterday';
SELECT id, owner, note FROM accounts ORDER BY id;

-- The time of the transaction in ON CONFLICT and RETURNING, alike in all copies.
-- script
INSERT INTO labels VALUES ('L1', 'again', 9), ('L88', 'new', 9) ON CONFLICT (code) DO UPDATE SET title = to_char(now(), 'YYYY'), rank = extract(year FROM CURRENT_TIMESTAMP) WHERE labels.rank < 100 RETURNING code, title = to_char(CURRENT_DATE, 'YYYY');
INSERT INTO labels (code, rank) SELECT 'L' || id, seats FROM tenants WHERE id < 5 ON CONFLICT (code) DO UPDATE SET title = (now() - interval '1 day' < transaction_timestamp())::text;
BEGIN;
INSERT INTO labels (code, rank, title) VALUES ('L2', 3, now()::text) ON CONFLICT (code) DO UPDATE SET title = (excluded.title::timestamptz = now())::text RETURNING code, title;
COMMIT;
SELECT code, title, rank FROM labels ORDER BY code;

-- script
INSERT INTO accounts (tenant_id, id, owner) VALUES (-17.0 / -2, 900, 'half');
INSERT INTO accounts (tenant_id, id, owner) VALUES (abs(-8), 901, 'abs'), (greatest(3, 2), 902, 'greatest'), (coalesce(nullif(4, 4), 5), 903, 'coalesce');
INSERT INTO readings (day, n, v) VALUES (DATE '2024-01-30' + 3, 900, 1), ('2024-02-28 13:00'::timestamp::date, 901, 2);
SELECT tenant_id, id, owner FROM accounts WHERE id >= 900 ORDER BY id;
SELECT day, n FROM readings WHERE n >= 900 ORDER BY n;
UPDATE accounts SET note = 'found' WHERE tenant_id = 9 AND id = 900;
SELECT id, note FROM accounts WHERE tenant_id IN (8, 9) AND id >= 900 ORDER BY id;

-- script
SET standard_conforming_strings = off;
SET escape_string_warning = off;
INSERT INTO words (word, n) VALUES ('back\\slash', 1);
INSERT INTO words (word, n) VALUES ('it\'s', 2);
UPDATE words SET n = n + 1 WHERE word = 'back\x5cslash';
DELETE FROM words WHERE word = 'it''s' RETURNING n;
UPDATE accounts SET note = 'a\\b' WHERE tenant_id = 8 AND id < 3;
UPDATE accounts SET note = 'a\tb' WHERE id = 4;
SELECT tenant_id, id, note FROM accounts WHERE note LIKE 'a%' ORDER BY 1, 2;
SET standard_conforming_strings = on;
SELECT word, n FROM words WHERE word LIKE 'back%';

-- Keys that are made of constants.
-- script
INSERT INTO words (word, n) VALUES (lower('MADE1'), 1), ('ma' || 'de2', 2), (lower('MADI3'), 3), (CASE WHEN true THEN 'made4' ELSE 'x' END, 4), (coalesce(NULL, 'made5'), 5), (upper('mä'), 6), (nullif('made7', 'x') || '', 7);
INSERT INTO words (word, n) VALUES (lower('MADI8'), 8);
INSERT INTO words SELECT lower('MSEL'), 1;
INSERT INTO words SELECT lower('MSELI'), 2;
INSERT INTO words VALUES (nullif('a', 'a'), 1);
UPDATE words SET n = 90 WHERE word IN (lower('MADI3'), 'made1');
UPDATE words SET n = n + 100 WHERE word IN (lower('MADE1'), 'ma' || 'de2');
UPDATE words SET word = upper('made2') WHERE word = 'ma' || 'de2';
UPDATE words SET word = upper('madi') WHERE word = 'made4';
DELETE FROM words WHERE word IS NOT DISTINCT FROM lower('MSELI');
DELETE FROM words WHERE word = CASE WHEN 1 > 2 THEN 'made1' ELSE 'made5' END;
SELECT word, n FROM words WHERE word ILIKE 'm%' ORDER BY word COLLATE "C";
INSERT INTO readings VALUES (make_date(2024, 2, 20), 91, 1), (to_date('2023-01-01', 'YYYY-MM-DD'), 92, 2), (to_date('31.12.2025', 'DD.MM.YYYY'), 93, 3);
INSERT INTO readings VALUES (make_date(2024, 2, 31), 94, 1);
SELECT day, n FROM readings WHERE n > 90 ORDER BY n;
INSERT INTO accounts (tenant_id, id) VALUES (CASE 1 WHEN 1 THEN 3 END, 941), (coalesce(NULL, 4), 942), (greatest(NULL, 5), 943);
MERGE INTO words w USING (SELECT lower('MERGI') AS word) s ON w.word = s.word WHEN NOT MATCHED THEN INSERT VALUES (s.word, 1);
MERGE INTO words w USING (SELECT lower('MERGE') AS word) s ON w.word = s.word WHEN NOT MATCHED THEN INSERT VALUES (s.word, 1);
SELECT word FROM words WHERE word LIKE 'merg%' ORDER BY word COLLATE "C";
SELECT tenant_id, id FROM accounts WHERE id > 940 ORDER BY id;

-- A number beyond bigint makes numerics of all.
-- script
INSERT INTO accounts (tenant_id, id, owner) VALUES (CASE WHEN true THEN 7 ELSE 99999999999999999999 END / 2, 951, 'half');
INSERT INTO accounts (tenant_id, id, owner) VALUES (coalesce(7, 99999999999999999999) / 2, 952, 'half');
SELECT tenant_id, id FROM accounts WHERE tenant_id IN (3, 4) AND id > 950 ORDER BY id;
SELECT tenant_id, id FROM accounts WHERE tenant_id = 4 AND id = 951;
SELECT tenant_id, id FROM accounts WHERE tenant_id = CASE WHEN true THEN 7 ELSE 99999999999999999999 END / 2
