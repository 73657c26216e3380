-- UPDATE of reference tables by queries with one row for each of theirs.

-- script
UPDATE labels SET title = q.c::text FROM (SELECT tenant_id, count(*) AS c FROM accounts GROUP BY tenant_id) q WHERE q.tenant_id = labels.rank;
UPDATE labels AS l SET title = t, rank = l.rank + 1 FROM (SELECT id, string_agg(what, ',') AS t, min(id) AS first FROM audit GROUP BY 1) q WHERE q.id = l.rank AND q.first < 5;
UPDATE labels SET rank = rank + q.most FROM (SELECT max(n) AS most FROM words) q WHERE code < 'L4';
UPDATE labels SET title = title || q.level FROM (SELECT DISTINCT level FROM customers WHERE level IS NOT NULL) q WHERE q.level = labels.rank;
SELECT * FROM labels ORDER BY code;

-- script
UPDATE labels SET title = q.name FROM (SELECT p.id, max(p.name) AS name, sum(p.weight) AS w FROM products p GROUP BY p.id) AS q (n, name, w) WHERE q.n = labels.rank RETURNING labels.code, q.n, q.w;
UPDATE labels SET title = r.c || '' FROM (SELECT rank, count(*) AS c FROM labels GROUP BY rank) r WHERE r.rank = labels.rank;
UPDATE labels SET title = (SELECT string_agg(name, ',' ORDER BY id) FROM products WHERE id < 4), rank = q.c FROM (SELECT count(*) AS c FROM products HAVING count(*) > 5) q;
UPDATE labels SET title = q.name FROM (SELECT id, min(name) AS name FROM tenants GROUP BY id HAVING count(*) > 1) q WHERE q.id = labels.rank;
SELECT * FROM labels ORDER BY code;

-- params: 2, 'L5'
-- types: int4, text
UPDATE labels SET title = q.c || $2 FROM (SELECT tenant_id, sum(amount) AS c FROM accounts WHERE hits > $1 GROUP BY tenant_id) q WHERE q.tenant_id = labels.rank AND labels.code < $2

-- Several rows for one of theirs: refused.
UPDATE labels SET title = q.owner FROM (SELECT tenant_id, owner FROM accounts GROUP BY tenant_id, owner) q WHERE q.tenant_id = labels.rank

UPDATE labels SET title = q.c::text FROM (SELECT id, unnest(ARRAY[1, 2]) AS c FROM products GROUP BY id) q WHERE q.id = labels.rank

UPDATE labels SET title = q.c::text FROM (SELECT tenant_id, count(*) AS c FROM accounts GROUP BY tenant_id) q WHERE q.tenant_id < labels.rank
