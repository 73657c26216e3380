-- Queries in RETURNING and ON CONFLICT of rows that go to several shards, and in RETURNING of rows that move.

-- Reference tables are on each shard.
-- script
INSERT INTO accounts (tenant_id, id, owner) SELECT id % 9 + 1, 6000 + id, 'tail ' || id FROM tenants ORDER BY id RETURNING tenant_id, id, (SELECT name FROM products p WHERE p.id = accounts.tenant_id);
INSERT INTO accounts (tenant_id, id) VALUES (1, 6100), (2, 6101), (3, 6102), (5, 6103) RETURNING id, (SELECT max(price) FROM products WHERE id < accounts.tenant_id), (SELECT count(*) FROM countries);
INSERT INTO accounts AS a (tenant_id, id) VALUES (1 + 1, 6110), (length('abcd'), 6111) RETURNING a.*, EXISTS (SELECT FROM products p WHERE p.id = a.id - 6100), a.id IN (SELECT id + 6100 FROM products);
INSERT INTO words SELECT 'word' || id, id FROM tenants ON CONFLICT (word) DO UPDATE SET n = (SELECT count(*) FROM products WHERE id < words.n) + excluded.n;
INSERT INTO words SELECT 'word' || id, id FROM tenants ON CONFLICT (word) DO UPDATE SET n = excluded.n WHERE words.n IN (SELECT id FROM products WHERE price > 20);
SELECT word, n FROM words ORDER BY word;

-- Rows of the same key.
-- script
INSERT INTO accounts (tenant_id, id, note) SELECT id % 9 + 1, 6200 + id, name FROM tenants ORDER BY id RETURNING id, (SELECT t.name FROM tenants t WHERE t.id = accounts.tenant_id), (SELECT count(*) FROM accounts o WHERE o.tenant_id = accounts.tenant_id AND o.id > 6200);
INSERT INTO accounts (tenant_id, id) VALUES (1, 6300), (2, 6301), (3, 6302) RETURNING id, (SELECT sum(o.total) FROM orders o WHERE o.tenant_id = accounts.tenant_id AND o.quantity > 3);
INSERT INTO accounts (tenant_id, id) VALUES (1, 6300), (2, 6301), (4, 6302) ON CONFLICT (tenant_id, id) DO UPDATE SET hits = (SELECT count(*) FROM customers c WHERE c.tenant_id = accounts.tenant_id), note = 'seen' RETURNING tenant_id, id, hits;
SELECT tenant_id, id, note, hits FROM accounts WHERE id > 6200 ORDER BY id, tenant_id;

-- Parameters.
-- params: 6400, 5
-- types: int4, int4
INSERT INTO accounts (tenant_id, id) SELECT id + 2, $1 + id FROM tenants WHERE id < 8 ORDER BY id RETURNING id, (SELECT name FROM products WHERE id = accounts.tenant_id AND id > $2)

-- Into reference tables, and tables of the home shard.
-- script
INSERT INTO labels SELECT 'T' || id, name, id FROM tenants WHERE id < 6 ORDER BY id RETURNING code, (SELECT count(*) FROM products WHERE id < labels.rank);
INSERT INTO notes SELECT id + 700, name FROM tenants WHERE id < 8 ORDER BY id RETURNING id, (SELECT name FROM products WHERE id = notes.id - 700), (SELECT count(*) FROM audit WHERE id < notes.id - 700);
INSERT INTO notes SELECT id, name FROM tenants WHERE id < 4 ORDER BY id ON CONFLICT (id) DO UPDATE SET body = (SELECT who FROM audit WHERE audit.id = notes.id) RETURNING id, body;
SELECT id, body FROM notes ORDER BY id;

-- Errors of them.
-- script
INSERT INTO accounts (tenant_id, id) SELECT id + 1, 6500 FROM tenants RETURNING (SELECT 1 / (p.id - 3) FROM products p WHERE p.id = accounts.tenant_id);
INSERT INTO accounts (tenant_id, id) SELECT id + 1, 6500 FROM tenants RETURNING (SELECT p.id FROM products p WHERE p.id > accounts.tenant_id);
INSERT INTO accounts (tenant_id, id) SELECT id + 1, 6500 FROM tenants RETURNING (SELECT nothing FROM products p);
SELECT count(*) FROM accounts WHERE id = 6500;

-- Rows of other shards, the row's own statement, another answer at each call: refused, or as in one Postgres.
INSERT INTO accounts (tenant_id, id) SELECT id + 1, 6600 FROM tenants RETURNING (SELECT count(*) FROM orders)

INSERT INTO accounts (tenant_id, id) SELECT id + 1, 6600 FROM tenants RETURNING (SELECT count(*) FROM orders o WHERE o.tenant_id = accounts.tenant_id + 1)

INSERT INTO accounts (tenant_id, id) SELECT id + 1, 6600 FROM tenants ON CONFLICT (tenant_id, id) DO UPDATE SET hits = (SELECT count(*) FROM words)

WITH w AS (SELECT 1 AS n) INSERT INTO accounts (tenant_id, id) SELECT id + 1, 6600 FROM tenants RETURNING (SELECT n FROM w)

INSERT INTO accounts (tenant_id, id) SELECT id + 1, 6600 FROM tenants RETURNING (SELECT count(*) FROM audit)

-- The same of a VALUES list, whose rows are sent as they are: one value for all rows, or one that is another on each shard.
INSERT INTO accounts (tenant_id, id) VALUES (1, 6700), (2, 6701), (3, 6702) RETURNING (SELECT random() < 2)

INSERT INTO accounts (tenant_id, id) VALUES (1, 6700), (2, 6701), (3, 6702) ON CONFLICT (tenant_id, id) DO UPDATE SET note = (SELECT name FROM products ORDER BY random() LIMIT 1)

INSERT INTO accounts (tenant_id, id) VALUES (1, 6700), (2, 6701), (3, 6702) RETURNING id, (SELECT name FROM products ORDER BY random() * 0, id LIMIT 1)

WITH w AS (SELECT random() AS r) INSERT INTO accounts (tenant_id, id) VALUES (1, 6700), (2, 6701), (3, 6702) RETURNING (SELECT r < 2 FROM w)

-- RETURNING of rows that move.
-- script
-- ties
UPDATE tickets SET tenant_id = tenant_id + 1 WHERE id IN (11, 13, 15) RETURNING id, tenant_id, (SELECT name FROM products p WHERE p.id = tickets.tenant_id);
UPDATE tickets AS a SET tenant_id = 20 + a.id WHERE id IN (11, 13) RETURNING a.id, (SELECT t.name FROM tenants t WHERE t.id = a.tenant_id), (SELECT count(*) FROM countries);
UPDATE words SET word = 'moved ' || word WHERE n < 5 RETURNING word, EXISTS (SELECT FROM products WHERE id = words.n);
SELECT tenant_id, id FROM tickets WHERE id IN (11, 13, 15) ORDER BY id;

UPDATE tickets SET tenant_id = tenant_id + 1 WHERE id IN (11, 13) RETURNING (SELECT count(*) FROM tickets o WHERE o.tenant_id = tickets.tenant_id)

UPDATE tickets SET tenant_id = tenant_id + 1 WHERE id IN (11, 13) RETURNING (SELECT count(*) FROM orders)
