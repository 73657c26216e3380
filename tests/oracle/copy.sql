-- COPY in both directions. Text has no line breaks inside of values.

COPY tenants TO STDOUT

COPY tenants (id, name) TO STDOUT

COPY tenants TO STDOUT (FORMAT csv)

COPY customers TO STDOUT (FORMAT binary)

COPY products TO STDOUT (FORMAT csv, HEADER)

COPY settings TO STDOUT (NULL 'nil', DELIMITER '|')

COPY void TO STDOUT

COPY (SELECT id, name FROM tenants WHERE id = 5) TO STDOUT

COPY (SELECT id, name FROM tenants ORDER BY id LIMIT 5) TO STDOUT

COPY (SELECT id, total FROM orders WHERE tenant_id = 8 ORDER BY id) TO STDOUT (FORMAT csv, HEADER)

COPY (SELECT count(*) FROM orders) TO STDOUT

COPY (SELECT 1, 'a') TO STDOUT (FORMAT binary)

-- stdin: 1\t8001\tc1\t1.5\tx\t1\n2\t8002\tc2\t2.5\t\N\t\N\n3\t8003\t\N\t3\t\t0\n
-- script
COPY accounts FROM STDIN;
SELECT * FROM accounts WHERE id > 8000 ORDER BY id;
DELETE FROM accounts WHERE id > 8000;

-- stdin: 8011,1,"note, with comma"\n8012,2,\n8013,3,"""quoted"""\n8014,4,\n
-- script
COPY accounts (id, tenant_id, note) FROM STDIN (FORMAT csv);
SELECT tenant_id, id, note FROM accounts WHERE id > 8000 ORDER BY id;
DELETE FROM accounts WHERE id > 8000;

-- stdin: id;tenant_id\n8021;1\n8022;2\n
-- script
COPY accounts (id, tenant_id) FROM STDIN WITH (FORMAT csv, HEADER true, DELIMITER ';');
SELECT tenant_id, id FROM accounts WHERE id > 8000 ORDER BY id;
DELETE FROM accounts WHERE id > 8000;

-- stdin: schlüssel\t1\ntab\\tin\t2\nback\\\\slash\t3\n\t4\n\\x41\t5\n
-- script
COPY words FROM STDIN;
SELECT * FROM words WHERE n < 6 ORDER BY n, word COLLATE "C";
SELECT word FROM words WHERE word = E'tab\tin';
SELECT n FROM words WHERE word = 'A';
DELETE FROM words WHERE word NOT LIKE 'word%';

-- stdin: 2024-01-02\t8031\t1\n2024-3-2\t8032\t2\n20240502\t8033\t3\n
-- script
COPY readings FROM STDIN;
SELECT * FROM readings WHERE n > 8000 ORDER BY n;
DELETE FROM readings WHERE n > 8000;

-- stdin: c1\tCopied\t1\nc2\tCopied\t2\n
-- script
COPY labels FROM STDIN;
SELECT * FROM labels WHERE title = 'Copied' ORDER BY code;
DELETE FROM labels WHERE title = 'Copied';

-- stdin: 8041\tcopied\n
-- script
COPY notes FROM STDIN;
DELETE FROM notes WHERE id = 8041;

-- stdin: 
-- script
COPY accounts FROM STDIN;

-- error: 23505
-- stdin: 2\t1\tdup\t1\t\N\t1\n
COPY accounts FROM STDIN

-- error: 23505
-- stdin: 7\t8051\ta\t1\t\N\t1\n2\t1\tdup\t1\t\N\t1\n8\t8052\tb\t1\t\N\t1\n
COPY accounts FROM STDIN

-- error: 22P02
-- stdin: one\t8061\ta\t1\t\N\t1\n
COPY accounts FROM STDIN

-- error: 22P02
-- stdin: 1\t8062\ta\tmuch\t\N\t1\n
COPY accounts FROM STDIN

-- error: 22P04
-- stdin: 1\t8063\n
COPY accounts FROM STDIN

-- error: 22P04
-- stdin: 1\t8064\ta\t1\t\N\t1\tmore\n
COPY accounts FROM STDIN

-- error: 23502
-- stdin: \N\t8065\ta\t1\t\N\t1\n
COPY accounts FROM STDIN

-- error: 22P04
-- stdin: not a binary file
COPY accounts FROM STDIN (FORMAT binary)

-- error: 22P04
-- stdin: 8071,1,"open\n
COPY accounts (id, tenant_id, note) FROM STDIN (FORMAT csv)

-- error: 42P01
-- stdin: 1\n
COPY nothing FROM STDIN

-- error: 42703
-- stdin: 1\n
COPY accounts (nothing) FROM STDIN

-- error: 57014
COPY accounts FROM STDIN

-- script
-- stdin: 1\t8081\tc1\t1.5\tx\t1\n2\t8082\tc2\t2.5\tx\t1\n
BEGIN;
COPY accounts FROM STDIN;
SELECT count(*) FROM accounts WHERE id > 8000;
ROLLBACK;
SELECT count(*) FROM accounts WHERE id > 8000;

-- stdin: 1\t8091\ta\t1\t\N\t1\n\.\n
-- script
COPY accounts FROM STDIN;
DELETE FROM accounts WHERE id > 8000;

-- stdin: 1\t8092\ta\t1\t\N\t1
-- script
COPY accounts FROM STDIN;
DELETE FROM accounts WHERE id > 8000;

-- A row without a key goes to no shard: WHERE leaves it out, or a shard refuses it.
-- stdin: \N\t9001\tx\t1\tn\t1\n1\t9002\ty\t1\tn\t1\n2\t9003\tz\t1\tn\t5\n
-- script
COPY accounts FROM STDIN WHERE tenant_id IS NOT NULL AND hits < 3;
SELECT * FROM accounts WHERE id > 9000 ORDER BY id;
DELETE FROM accounts WHERE id > 9000;

-- stdin: 1\t9001\tx\t1\tn\t1\n\N\t9002\ty\t1\tn\t1\n
-- script
COPY accounts FROM STDIN;
SELECT count(*) FROM accounts WHERE id > 9000;

-- stdin: copied1\ncopied2\ncopied3\ncopied4\ncopied5\n
-- script
COPY stamps (word) FROM STDIN;
SELECT count(*), count(DISTINCT made), count(DISTINCT day), bool_and(made::date = day), min(n) FROM stamps;
TRUNCATE stamps;

-- stdin: n:word\n1:copied1\n2:copied2\n3:copied3\n4:copied4\n
-- script
COPY stamps (n, word) FROM STDIN (DELIMITER ':', HEADER MATCH);
SELECT count(*), count(DISTINCT made), count(DISTINCT day), sum(n) FROM stamps;
TRUNCATE stamps;

-- stdin: "copied1",1\ncopied2,2\ncopied3,3\ncopied4,4\n
-- script
BEGIN;
COPY stamps (word, n) FROM STDIN (FORMAT csv);
COMMIT;
SELECT count(*), count(DISTINCT made), count(DISTINCT day), sum(n) FROM stamps;
TRUNCATE stamps;

-- Rows that are too short, or too long.
-- stdin: copied1\n
-- script
COPY stamps (word, n) FROM STDIN;
SELECT count(*) FROM stamps;

-- stdin: copied1,1,2\n
-- script
COPY stamps (word, n) FROM STDIN (FORMAT csv);
SELECT count(*) FROM stamps;

-- The old spelling.
COPY BINARY customers TO STDOUT

COPY BINARY customers (id, name) TO STDOUT -- all of them

-- error: 42601
COPY BINARY customers TO STDOUT (FORMAT csv)

-- error: 42601|0A000
COPY BINARY customers TO STDOUT DELIMITER ';'

-- Every option of the output.
COPY tenants TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)

COPY tenants (name, id) TO STDOUT (FORMAT csv, FORCE_QUOTE (name), DELIMITER ';', QUOTE '''', ESCAPE '\', NULL 'nil')

COPY words TO STDOUT (FORMAT csv, QUOTE 'w', ESCAPE 'o', DELIMITER 'r')

COPY words TO STDOUT (DELIMITER '|', NULL '')

COPY words TO STDOUT (ENCODING 'LATIN1')

COPY words TO STDOUT (FORMAT csv, HEADER, ENCODING 'SJIS')

COPY words TO STDOUT (FORMAT binary, ENCODING 'WIN1252')

COPY accounts TO STDOUT (HEADER, NULL 'n')

COPY accounts TO STDOUT (FORMAT csv, NULL 'x', FORCE_QUOTE (note, id))

COPY accounts TO STDOUT CSV HEADER QUOTE AS '|' FORCE QUOTE note

COPY accounts TO STDOUT WITH DELIMITER AS ',' NULL AS ''

COPY labels TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE (title))

COPY readings TO STDOUT (FORMAT csv, HEADER false)

COPY (SELECT name, id FROM tenants ORDER BY id) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *, DELIMITER '|')

COPY (SELECT count(*), min(name) FROM tenants) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE (min))

COPY (SELECT tenant_id % 3 AS g, count(*), sum(total) FROM orders GROUP BY 1 ORDER BY 1) TO STDOUT (FORMAT csv, HEADER, ENCODING 'LATIN1')

COPY (SELECT tenant_id % 3 AS g, avg(total) FROM orders GROUP BY 1 ORDER BY 1) TO STDOUT (FORMAT binary)

COPY (SELECT id, name, NULL FROM tenants ORDER BY name COLLATE "C" DESC LIMIT 7) TO STDOUT (NULL 'nil', DELIMITER ',')

COPY (SELECT t.name, o.total FROM tenants t JOIN orders o ON o.tenant_id = t.id WHERE o.total > 50 ORDER BY 1, 2) TO STDOUT (FORMAT csv)

COPY (SELECT word FROM words ORDER BY word COLLATE "C") TO STDOUT (ENCODING 'EUC_JP')

COPY (VALUES (1, 'a,b'), (2, NULL)) TO STDOUT (FORMAT csv, HEADER)

COPY (SELECT id FROM tenants WHERE id = -1) TO STDOUT (FORMAT csv, HEADER)

-- error: 0A000
COPY tenants TO STDOUT (FORMAT csv, HEADER MATCH)

-- error: 42601
COPY tenants TO STDOUT WHERE id = 1

-- error: 0A000
COPY tenants TO STDOUT (FORCE_QUOTE (name))

-- error: 0A000
COPY tenants TO STDOUT (FORMAT csv, FORCE_NULL (name))

-- error: 0A000
COPY tenants TO STDOUT (FORMAT csv, FORCE_NOT_NULL (name))

-- error: 42703
COPY tenants TO STDOUT (FORMAT csv, FORCE_QUOTE (nothing))

-- error: 0A000
COPY tenants TO STDOUT (DELIMITER 'ab')

-- error: 22023
COPY tenants TO STDOUT (FORMAT csv, DELIMITER '"')

-- error: 22023
COPY tenants TO STDOUT (DELIMITER 'a')

-- error: 0A000
COPY tenants TO STDOUT (QUOTE '"')

-- error: 22023
COPY tenants TO STDOUT (ENCODING 'nothing')

-- error: 42601
COPY tenants TO STDOUT (FORMAT csv, FORMAT csv)

-- stdin: caf\t1\n
-- script
COPY words FROM STDIN (ENCODING 'SJIS');
SELECT n FROM words WHERE word = 'caf';
DELETE FROM words WHERE word = 'caf';
