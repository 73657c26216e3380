-- INSERT: one row, many rows over shards, ON CONFLICT, RETURNING, SELECT.

INSERT INTO accounts (tenant_id, id, owner, amount) VALUES (1, 1001, 'new1', 5.5) ON CONFLICT DO NOTHING

INSERT INTO accounts VALUES (2, 1002 + (SELECT 0), 'new2', 1, 'n', 0) ON CONFLICT DO NOTHING

-- params: 3, 1003, 'new3', '7.25'
INSERT INTO accounts (tenant_id, id, owner, amount) VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id, id) DO UPDATE SET hits = coalesce(accounts.hits, 0) + 1, amount = EXCLUDED.amount

INSERT INTO accounts (tenant_id, id, owner) VALUES (1, 1101, 'multi1'), (2, 1102, 'multi2'), (3, 1103, 'multi3'), (4, 1104, NULL), (1, 1105, NULL) ON CONFLICT DO NOTHING

INSERT INTO accounts (id, amount, tenant_id) VALUES (1201, 1.5, 5), (1202, DEFAULT, 6), (1203, 2 + 3, 7) ON CONFLICT (tenant_id, id) DO UPDATE SET note = 'again' RETURNING tenant_id, id, amount, note

-- params: 8, 1301, 9, 1302
INSERT INTO accounts (tenant_id, id) VALUES ($1, $2), ($3, $4) ON CONFLICT (tenant_id, id) DO UPDATE SET amount = accounts.amount + 1 RETURNING *

-- params: 8, 1301, 'p1', 9, 1302, 'p2', 10, 1303, 'p3'
-- types: int4, int4, text, int4, int4, text, int4, int4, text
INSERT INTO accounts (tenant_id, id, note) VALUES ($1, $2, $3), ($4, $5, $6), ($7, $8, $9) ON CONFLICT (tenant_id, id) DO UPDATE SET note = EXCLUDED.note

-- params: 8, 1311, 'same'
INSERT INTO accounts (tenant_id, id, note) VALUES ($1, $2, $3), ($1 + 1, $2, $3) ON CONFLICT DO NOTHING

-- error: 23505
INSERT INTO accounts (tenant_id, id, owner) VALUES (2, 1, 'dup')

-- error: 23505
INSERT INTO accounts (tenant_id, id, owner) VALUES (7, 2001, 'x7'), (2, 1, 'dup'), (8, 2002, 'x8')

-- error: 23502
INSERT INTO accounts (tenant_id, id) VALUES (NULL, 2003)

-- error: 23502
INSERT INTO accounts (id) VALUES (2004)

-- error: 23514
INSERT INTO accounts (tenant_id, id, hits) VALUES (1, 2005, -1)

-- error: 23514
INSERT INTO accounts (tenant_id, id, hits) VALUES (1, 2006, 1), (2, 2007, -1), (3, 2008, 1)

-- error: 23503
INSERT INTO transfers VALUES (1, 2009, 999999, 1)

-- error: 22P02
INSERT INTO accounts (tenant_id, id) VALUES ('one', 2010)

-- error: 22003
INSERT INTO accounts (tenant_id, id) VALUES (3000000000, 2011)

-- error: 22001
INSERT INTO accounts (tenant_id, id, amount) VALUES (1, 2012, 1e20)
-- error: 22003

-- error: 42703
INSERT INTO accounts (tenant_id, id, nothing) VALUES (1, 2013, 1)

-- error: 42601
INSERT INTO accounts (tenant_id, id) VALUES (1, 2014, 3)

-- error: 42601
INSERT INTO accounts (tenant_id, id) VALUES (1, 2015), (2)

INSERT INTO accounts (tenant_id, id, owner) SELECT 4, 3001, 'from select' ON CONFLICT DO NOTHING

INSERT INTO accounts (tenant_id, id, note) SELECT tenant_id, id + 4000, note FROM accounts WHERE tenant_id = 4 AND id < 100 ON CONFLICT DO NOTHING

INSERT INTO transfers (tenant_id, id, account_id, amount) SELECT tenant_id, id * 1000 + 5, id, 1 FROM accounts WHERE id < 20 ON CONFLICT DO NOTHING

INSERT INTO accounts (tenant_id, id) SELECT id, 5001 FROM tenants WHERE id < 6 ON CONFLICT DO NOTHING

INSERT INTO accounts (tenant_id, id) SELECT g, 5002 FROM generate_series(1, 5) g ON CONFLICT DO NOTHING

INSERT INTO accounts (tenant_id, id) SELECT id + 1, 5003 FROM tenants WHERE id < 6 ON CONFLICT DO NOTHING

WITH v (t, i) AS (VALUES (1, 5004), (2, 5005)) INSERT INTO accounts (tenant_id, id) SELECT t, i FROM v ON CONFLICT DO NOTHING

INSERT INTO accounts AS a (tenant_id, id) VALUES (9, 5006) ON CONFLICT (tenant_id, id) DO UPDATE SET hits = a.hits + 1 WHERE a.hits < 100 RETURNING a.id AS "Id", hits

INSERT INTO words (word, n) VALUES ('ünïcode', 1), ('it''s', 2), (E'back\\slash', 3), ('', 4), ('  ', 5) ON CONFLICT (word) DO UPDATE SET n = words.n + 1

INSERT INTO words VALUES (lower('UPPER'), 1) ON CONFLICT DO NOTHING

INSERT INTO words VALUES (concat('a', 'b'), 1) ON CONFLICT DO NOTHING

-- error: 21000
INSERT INTO words VALUES ('twice', 1), ('twice', 2) ON CONFLICT (word) DO UPDATE SET n = EXCLUDED.n

INSERT INTO sessions VALUES ('{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}', 'u', '2024-01-01 00:00+00'), ('a0eebc999c0b4ef8bb6d6bb9bd380a12', 'v', NULL) ON CONFLICT (token) DO UPDATE SET who = 'seen' RETURNING token, who

INSERT INTO sessions (token, who) VALUES (md5('x')::uuid, 'cast') ON CONFLICT DO NOTHING RETURNING *

INSERT INTO readings VALUES ('2024-02-01', 901, 1), ('2024-05-01', 902, 2), ('20240301', 903, NULL) ON CONFLICT (day, n) DO UPDATE SET v = readings.v + 1 RETURNING day, n

INSERT INTO labels VALUES ('new', 'New', 1) ON CONFLICT (code) DO UPDATE SET rank = labels.rank + 1

INSERT INTO labels VALUES ('n1', 'One', 1), ('n2', 'Two', 2) ON CONFLICT (code) DO UPDATE SET rank = labels.rank + 1 RETURNING code, rank

-- error: 23505
INSERT INTO labels VALUES ('L1', 'again', 1)

INSERT INTO notes VALUES (100, 'hundred') ON CONFLICT DO NOTHING

INSERT INTO notes SELECT id + 1000, name FROM products WHERE id < 5 ON CONFLICT DO NOTHING

INSERT INTO notes (id) VALUES (101) ON CONFLICT (id) DO UPDATE SET body = 'conflict' RETURNING id, body

INSERT INTO accounts DEFAULT VALUES
-- error: 23502

INSERT INTO accounts (tenant_id, id, owner) VALUES (11, 6001, 'a'), (12, 6001, 'b') ON CONFLICT ON CONSTRAINT accounts_pkey DO NOTHING

INSERT INTO accounts (tenant_id, id, note) VALUES (1, 7001, 'line
break; -- not a comment'), (2, 7002, '/* nor this */') ON CONFLICT DO NOTHING

INSERT INTO accounts AS a (tenant_id, id, owner) SELECT 4, 3001, 'again' ON CONFLICT (tenant_id, id) DO UPDATE SET note = excluded.owner || a.id RETURNING *

-- params: 4, 3001
-- types: int4, int4
INSERT INTO accounts (tenant_id, id) SELECT $1, $2 ON CONFLICT DO NOTHING RETURNING id
