-- Tables that are partitioned on each shard.

-- By range, with partitions that nobody names in the configuration: named directly they are sharded like their parent.
-- script
CREATE TABLE logs (id int, day date, note text, n int DEFAULT 7) PARTITION BY RANGE (day);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE logs_2 PARTITION OF logs (n DEFAULT 8) FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
INSERT INTO logs SELECT g, date '2024-01-01' + g, 'note ' || g FROM generate_series(1, 50) g;
INSERT INTO logs VALUES (61, '2024-01-09', 'x'), (62, '2024-02-09', 'y'), (63, '2024-01-10', 'z');
INSERT INTO logs VALUES (70, '2025-01-01');
INSERT INTO logs_1 VALUES (71, '2024-01-02', 'direct'), (72, '2024-01-03', 'direct'), (73, '2024-01-04', 'direct');
INSERT INTO logs_1 (day, id) SELECT day, id + 100 FROM logs_1 WHERE id < 4;
INSERT INTO logs_1 VALUES (74, '2024-02-02');
INSERT INTO logs_2 (id, day) VALUES (75, '2024-02-02'), (76, '2024-02-03') RETURNING id, n;
SELECT count(*), sum(n) FROM logs;
SELECT count(*), sum(n) FROM logs_1;
SELECT * FROM logs_1 WHERE id = 71;
SELECT * FROM logs_2 ORDER BY id DESC LIMIT 3;
SELECT a.id, b.note FROM logs_1 a JOIN logs_2 b ON b.day = a.day + 31 ORDER BY 1, 2;
SELECT a.id, count(*) FROM logs_1 a JOIN logs b USING (id) GROUP BY a.id ORDER BY 1;
SELECT tableoid::regclass, count(*) FROM logs WHERE id = 5 GROUP BY 1;
UPDATE logs_1 SET note = 'changed' WHERE id IN (71, 72);
UPDATE logs SET day = day + 31 WHERE id IN (1, 2, 3);
UPDATE logs_1 SET day = day + 31 WHERE id = 4;
UPDATE logs_1 SET note = note || '!' RETURNING id;
UPDATE logs SET id = id + 1000 WHERE id BETWEEN 10 AND 12;
DELETE FROM logs_1 WHERE id = 71;
DELETE FROM logs_2 WHERE n = 8 AND id > 30;
SELECT * FROM logs ORDER BY id, day;
CREATE TABLE logs_3 PARTITION OF logs DEFAULT;
INSERT INTO logs VALUES (80, '2030-01-01', 'late'), (81, '2031-01-01', 'later');
SELECT * FROM logs_3 ORDER BY id;
TRUNCATE logs_3;
SELECT count(*) FROM logs_3;
ALTER TABLE logs_3 RENAME TO logs_rest;
INSERT INTO logs_rest VALUES (82, '2030-01-01', 'again');
SELECT * FROM logs_rest;
DROP TABLE logs_rest;
DROP TABLE logs_1, logs_2;
SELECT count(*) FROM logs;
DROP TABLE logs;

-- Rows of a partition that the transaction has just made.
-- script
CREATE TABLE logs (id int, day date) PARTITION BY RANGE (day);
BEGIN;
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
INSERT INTO logs_1 VALUES (1, '2024-01-01'), (2, '2024-01-02'), (3, '2024-01-03'), (4, '2024-01-04');
INSERT INTO logs VALUES (5, '2024-01-05'), (6, '2024-01-06');
SELECT count(*) FROM logs_1;
COMMIT;
SELECT * FROM logs_1 ORDER BY id;
BEGIN;
DROP TABLE logs_1;
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
INSERT INTO logs_1 VALUES (7, '2024-02-01'), (8, '2024-02-02');
ROLLBACK;
SELECT * FROM logs_1 ORDER BY id;
DROP TABLE logs;

-- By hash of the key itself, by list, in several layers, in other schemas.
-- script
CREATE TABLE items (id int PRIMARY KEY, v int) PARTITION BY HASH (id);
CREATE TABLE items_0 PARTITION OF items FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE items_1 PARTITION OF items FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO items SELECT g, g FROM generate_series(1, 40) g;
INSERT INTO items VALUES (3, 0);
INSERT INTO items VALUES (3, 5) ON CONFLICT (id) DO UPDATE SET v = excluded.v + 100;
SELECT count(*) FROM items_0;
SELECT * FROM items WHERE id = 3;
SELECT sum(v) FROM items_1 WHERE v > 10;
DROP TABLE items;

-- script
CREATE TABLE logs (id int, kind text, day date) PARTITION BY LIST (kind);
CREATE SCHEMA app;
CREATE TABLE app.logs_a PARTITION OF logs FOR VALUES IN ('a') PARTITION BY RANGE (day);
CREATE TABLE app.logs_a_24 PARTITION OF app.logs_a FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE logs_b PARTITION OF logs FOR VALUES IN ('b', NULL);
INSERT INTO logs VALUES (1, 'a', '2024-05-01'), (2, 'a', '2024-06-01'), (3, 'b', NULL), (4, NULL, '2024-01-01'), (5, 'a', '2024-07-01');
INSERT INTO app.logs_a_24 VALUES (6, 'a', '2024-08-01'), (7, 'a', '2024-09-01');
INSERT INTO app.logs_a_24 VALUES (6, 'b', '2024-08-01');
SELECT count(*) FROM app.logs_a;
SELECT * FROM app.logs_a_24 ORDER BY id;
SELECT kind, count(*) FROM logs GROUP BY kind ORDER BY kind;
UPDATE logs SET kind = 'b' WHERE kind = 'a' AND id < 3;
SELECT * FROM logs_b ORDER BY id;
DROP TABLE app.logs_a;
DROP TABLE logs;
DROP SCHEMA app;

-- Unique constraints hold the key of the table and that of the partitions.
-- script
CREATE TABLE logs (id int, day date, v int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
INSERT INTO logs VALUES (1, '2024-01-01', 1), (2, '2024-01-01', 2), (3, '2024-01-01', 3);
INSERT INTO logs VALUES (2, '2024-01-01', 9);
INSERT INTO logs VALUES (2, '2024-01-01', 9), (5, '2024-01-05', 5) ON CONFLICT (id, day) DO UPDATE SET v = excluded.v;
INSERT INTO logs_1 VALUES (2, '2024-01-01', 10), (6, '2024-01-05', 5) ON CONFLICT DO NOTHING;
CREATE INDEX logs_day ON logs (day);
CREATE INDEX logs_1_v ON logs_1 (v);
CREATE UNIQUE INDEX logs_1_v_id ON logs_1 (v, id);
/* refused: unique index */ CREATE UNIQUE INDEX logs_1_v_day ON logs_1 (v, day);
/* refused: unique index */ CREATE UNIQUE INDEX ON logs (day);
/* refused: unique constraint */ ALTER TABLE logs ADD UNIQUE (day);
/* refused: a unique constraint */ CREATE TABLE logs_2 PARTITION OF logs (UNIQUE (v)) FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
ALTER TABLE logs ADD COLUMN w int DEFAULT 3;
SELECT * FROM logs_1 ORDER BY id;
ALTER TABLE logs DROP CONSTRAINT logs_pkey;
DROP INDEX logs_day;
CREATE INDEX logs_w ON ONLY logs (w);
CREATE INDEX logs_1_w ON logs_1 (w);
CREATE INDEX logs_2_w ON logs_2 (w);
ALTER INDEX logs_w ATTACH PARTITION logs_1_w;
ALTER INDEX logs_w ATTACH PARTITION logs_2_w;
DROP TABLE logs;

-- Partitions that come and go.
-- script
CREATE TABLE logs (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE logs_named (day date, id int NOT NULL);
INSERT INTO logs_named VALUES ('2024-01-01', 1), ('2024-01-02', 2), ('2024-01-03', 3), ('2024-01-04', 4);
ALTER TABLE logs ATTACH PARTITION logs_named FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
INSERT INTO logs VALUES (5, '2024-01-05'), (6, '2024-01-06');
INSERT INTO logs_named VALUES ('2024-01-07', 7);
SELECT * FROM logs ORDER BY id;
ALTER TABLE logs DETACH PARTITION logs_named;
SELECT count(*) FROM logs;
SELECT count(*) FROM logs_named;
ALTER TABLE logs ATTACH PARTITION logs_named FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
ALTER TABLE logs DETACH PARTITION logs_named CONCURRENTLY;
SELECT * FROM logs_named ORDER BY id;
ALTER TABLE logs DETACH PARTITION logs_named CONCURRENTLY;
ALTER TABLE logs DETACH PARTITION logs_named;
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
/* refused: detaching */ ALTER TABLE logs DETACH PARTITION logs_1;
/* refused: detaching */ ALTER TABLE logs DETACH PARTITION logs_1 CONCURRENTLY;
CREATE TABLE plain (id int, day date);
/* refused: attaching */ ALTER TABLE logs ATTACH PARTITION plain FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
CREATE TABLE tenants (tenant_id int, id int, day date);
/* refused: attaching */ ALTER TABLE logs ATTACH PARTITION tenants FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
ALTER TABLE logs ATTACH PARTITION nobody FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
CREATE TABLE plain_parted (id int, day date) PARTITION BY RANGE (day);
/* refused: attaching */ ALTER TABLE plain_parted ATTACH PARTITION logs_named FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
/* refused: as a partition */ CREATE TABLE items PARTITION OF plain_parted FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
/* refused: as a partition */ CREATE TABLE wordy PARTITION OF logs FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
/* refused: as a partition */ CREATE TABLE ref PARTITION OF logs FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
CREATE TABLE plain_1 PARTITION OF plain_parted FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
ALTER TABLE plain_parted DETACH PARTITION plain_1 CONCURRENTLY;
ALTER TABLE plain_parted ATTACH PARTITION plain_1 FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
DROP TABLE plain_parted;
DROP TABLE plain;
DROP TABLE logs, logs_named, tenants;

-- Partitioned reference tables.
-- script
CREATE TABLE refp (code text, day date, PRIMARY KEY (code, day)) PARTITION BY RANGE (day);
CREATE TABLE refp_1 PARTITION OF refp FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
INSERT INTO refp VALUES ('a', '2024-01-01'), ('b', '2024-01-02');
INSERT INTO refp_1 VALUES ('c', '2024-01-03');
UPDATE refp_1 SET code = 'd' WHERE code = 'c';
SELECT * FROM refp_1 ORDER BY 1;
CREATE TABLE items (id int, code text);
INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'd');
SELECT i.id, p.day FROM items i JOIN refp_1 p USING (code) ORDER BY 1;
CREATE UNIQUE INDEX ON refp_1 (day);
DELETE FROM refp_1 WHERE code = 'a';
DROP TABLE refp_1;
DROP TABLE refp, items;

-- Inheritance of the old kind.
-- script
CREATE TABLE items (id int PRIMARY KEY, v int);
CREATE TABLE items_more (w int) INHERITS (items);
INSERT INTO items VALUES (1, 1), (2, 2), (3, 3), (4, 4);
INSERT INTO items_more VALUES (1, 11, 1), (5, 5, 5), (6, 6, 6), (7, 7, 7), (8, 8, 8);
SELECT * FROM items ORDER BY id, v;
SELECT * FROM ONLY items ORDER BY id;
SELECT * FROM items_more WHERE id = 6;
SELECT sum(w) FROM items_more;
UPDATE items SET v = v + 1;
UPDATE ONLY items SET v = v + 1 WHERE v > 2;
DELETE FROM items_more WHERE w = 5;
SELECT id, count(*) FROM items GROUP BY id ORDER BY id;
CREATE TABLE plain (id int, v int);
/* refused: as a child */ CREATE TABLE parts (x int) INHERITS (plain);
/* refused: as a child */ CREATE TABLE both_of (x int) INHERITS (plain, items);
/* refused: as a child */ CREATE TABLE both_of (x int) INHERITS (items, plain);
/* refused: inheriting */ ALTER TABLE plain INHERIT items;
/* refused: inheriting */ ALTER TABLE items INHERIT plain;
/* refused: inheritance */ ALTER TABLE items_more NO INHERIT items;
CREATE TABLE parts (id int, v int, x int);
ALTER TABLE parts INHERIT items;
INSERT INTO parts VALUES (21, 1, 1), (22, 2, 2), (23, 3, 3), (24, 4, 4);
SELECT count(*) FROM items;
ALTER TABLE parts NO INHERIT items;
SELECT count(*) FROM items;
SELECT count(*) FROM parts;
DROP TABLE items CASCADE;
DROP TABLE parts, plain;

-- One transaction makes, fills, and takes apart.
-- script
BEGIN;
CREATE TABLE logs (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE logs_named (id int, day date);
INSERT INTO logs_named SELECT g, '2024-01-01' FROM generate_series(1, 9) g;
ALTER TABLE logs ATTACH PARTITION logs_named FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
SELECT count(*) FROM logs;
SAVEPOINT s;
DROP TABLE logs_named;
CREATE TABLE logs_named PARTITION OF logs DEFAULT;
INSERT INTO logs_named VALUES (1, '2024-01-01'), (2, '2024-01-01');
SELECT count(*) FROM logs;
ROLLBACK TO s;
SELECT count(*) FROM logs;
COMMIT;
SELECT count(*) FROM logs_named;
DROP TABLE logs;

-- Rows copied into a table and into its partition, whose columns stand in another order.
-- script
-- stdin: 2024-01-01\t1\n2024-01-02\t2\n2024-01-03\t3\n2024-01-04\t4\n2024-01-05\t5\n
CREATE TABLE logs (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE logs_named (day date, id int);
ALTER TABLE logs ATTACH PARTITION logs_named FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
COPY logs_named FROM STDIN;
COPY logs (day, id) FROM STDIN;
SELECT id, count(*) FROM logs_named GROUP BY id ORDER BY id;
SELECT * FROM logs_named WHERE id = 3;
COPY (SELECT * FROM logs_named ORDER BY id) TO STDOUT;
COPY logs_named TO STDOUT;
PREPARE one (int) AS SELECT count(*) FROM logs_named WHERE id = $1;
EXECUTE one(2);
ALTER TABLE logs DETACH PARTITION logs_named;
EXECUTE one(2);
DROP TABLE logs, logs_named;
