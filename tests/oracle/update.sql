-- UPDATE, DELETE, MERGE, TRUNCATE.

UPDATE accounts SET note = 'one' WHERE tenant_id = 2 AND id = 1

UPDATE accounts SET amount = amount + 1.25, hits = hits + 1 WHERE tenant_id = 3 RETURNING id, amount, hits

-- params: 4, 'param note'
UPDATE accounts SET note = $2 WHERE tenant_id = $1

UPDATE accounts SET amount = amount * 2 WHERE hits = 3

UPDATE accounts SET note = 'many' WHERE tenant_id IN (1, 2, 3)

UPDATE accounts SET note = NULL

UPDATE accounts SET note = 'ret' WHERE hits = 2 RETURNING tenant_id, id

UPDATE accounts SET note = 'none' WHERE tenant_id = 999

UPDATE accounts SET note = 'none' WHERE tenant_id = 1 AND tenant_id = 2

UPDATE accounts a SET note = t.name FROM tenants t WHERE t.id = a.tenant_id AND a.tenant_id = 5

UPDATE accounts a SET note = t.plan FROM tenants t WHERE t.id = a.tenant_id

UPDATE accounts a SET note = l.title FROM labels l WHERE l.rank = a.hits AND l.code < 'L4'

UPDATE accounts SET note = (SELECT name FROM tenants WHERE id = 6) WHERE tenant_id = 6

UPDATE accounts SET hits = (SELECT count(*) FROM transfers x WHERE x.tenant_id = accounts.tenant_id)

UPDATE accounts SET hits = (SELECT count(*) FROM transfers)

UPDATE accounts SET (note, hits) = ('pair', 7) WHERE tenant_id = 7

UPDATE accounts SET note = DEFAULT WHERE tenant_id = 8

-- The key stays the same.
UPDATE accounts SET tenant_id = tenant_id WHERE tenant_id = 9

UPDATE accounts SET tenant_id = 9 WHERE tenant_id = 9

-- The key changes: the row moves.
UPDATE accounts SET tenant_id = 10 WHERE tenant_id = 9 AND id = 8
-- error: 23503

UPDATE transfers SET tenant_id = 12, account_id = NULL WHERE tenant_id = 2

UPDATE accounts SET tenant_id = tenant_id + 1 WHERE id = 9
-- error: 23503

UPDATE readings SET day = day + 30 WHERE n = 3

UPDATE words SET word = 'renamed' WHERE word = 'word7'

UPDATE sessions SET token = md5('other')::uuid WHERE token = md5('s7')::uuid

-- error: 23514
UPDATE accounts SET hits = -1 WHERE tenant_id = 1

-- error: 23514
UPDATE accounts SET hits = hits - 100000 WHERE hits IS NOT NULL

-- error: 22012
UPDATE accounts SET amount = amount / 0 WHERE tenant_id IN (1, 2, 3, 4)

UPDATE words SET n = n + 1 WHERE word LIKE 'word1%'

UPDATE words SET n = 0 WHERE word = 'word3' RETURNING *

UPDATE words SET word = 'word3' WHERE word = 'word3'

UPDATE sessions SET seen = NULL WHERE token = md5('s3')::uuid

UPDATE sessions SET who = upper(who) WHERE who = 'who1'

UPDATE readings SET v = v + 0.5 WHERE day BETWEEN '2024-02-01' AND '2024-03-15'

UPDATE readings SET v = 0 WHERE day = '2024-01-06' RETURNING day, v

UPDATE labels SET rank = rank + 1

UPDATE labels SET title = 'T' WHERE code = 'L2' RETURNING *

UPDATE notes SET body = body || '!' WHERE id < 4

UPDATE notes SET body = p.name FROM products p WHERE p.id = notes.id AND p.id = 5

DELETE FROM transfers WHERE tenant_id = 2 AND id = 44

DELETE FROM transfers WHERE tenant_id = 3 RETURNING *

DELETE FROM transfers WHERE amount > 100

DELETE FROM accounts WHERE tenant_id = 5 AND id = 4

-- params: 6, 5
DELETE FROM accounts WHERE tenant_id = $1 AND id = $2 RETURNING owner

DELETE FROM accounts WHERE id IN (10, 11, 12)

DELETE FROM accounts a USING tenants t WHERE t.id = a.tenant_id AND t.id = 7 AND a.hits = 6

DELETE FROM accounts WHERE tenant_id = 1 AND tenant_id IS NULL

DELETE FROM words WHERE n > 15

DELETE FROM words WHERE word IN ('word1', 'word2', 'word99')

DELETE FROM sessions WHERE token = md5('s5')::uuid RETURNING who

DELETE FROM readings WHERE day < '2024-01-20'

DELETE FROM labels WHERE code = 'L9'

DELETE FROM labels WHERE rank > 2 RETURNING code

DELETE FROM notes WHERE id = 9

WITH gone AS (DELETE FROM notes WHERE id = 8 RETURNING *) SELECT * FROM gone

WITH gone AS (DELETE FROM accounts WHERE tenant_id = 11 AND id = 10 RETURNING *) SELECT id, owner FROM gone

WITH up AS (UPDATE accounts SET hits = 1 WHERE tenant_id = 12 RETURNING id) SELECT count(*) FROM up

WITH up AS (UPDATE accounts SET hits = 1 RETURNING id) SELECT count(*) FROM up

MERGE INTO accounts a USING (VALUES (1, 12, 'merged')) AS v (t, i, n) ON a.tenant_id = v.t AND a.id = v.i AND a.tenant_id = 1 WHEN MATCHED THEN UPDATE SET note = v.n WHEN NOT MATCHED THEN INSERT (tenant_id, id, note) VALUES (v.t, v.i, v.n)

MERGE INTO notes n USING (VALUES (3, 'merged'), (300, 'fresh')) AS v (i, b) ON n.id = v.i WHEN MATCHED THEN UPDATE SET body = v.b WHEN NOT MATCHED THEN INSERT VALUES (v.i, v.b)

TRUNCATE words

TRUNCATE accounts, transfers

TRUNCATE notes

-- error: 0A000
TRUNCATE accounts

DELETE FROM accounts

DELETE FROM labels
