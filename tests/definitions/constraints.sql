-- Constraints that span rows.

-- script
/* refused: a primary key on sharded table */ CREATE TABLE items (id int, v int PRIMARY KEY);
/* refused: a primary key on sharded table */ CREATE TABLE items (id int, v int, PRIMARY KEY (v) INCLUDE (id));
/* refused: a unique constraint on sharded table */ CREATE TABLE items (id int PRIMARY KEY, v int UNIQUE);
/* refused: a unique constraint on sharded table */ CREATE TABLE items (id int PRIMARY KEY, v int, UNIQUE NULLS NOT DISTINCT (v));
/* refused: an exclusion constraint on sharded table */ CREATE TABLE items (id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&));
/* refused: without its sharding-key column */ CREATE TABLE items (key int PRIMARY KEY);
/* refused: of type text */ CREATE TABLE items (id text PRIMARY KEY);
CREATE TABLE items (id int PRIMARY KEY, v int, r int4range, UNIQUE (v, id) DEFERRABLE INITIALLY DEFERRED, CHECK (v > 0), EXCLUDE USING btree (id WITH =, v WITH =));
INSERT INTO items VALUES (1, 1), (2, 1), (3, 2);
INSERT INTO items VALUES (1, 4);
INSERT INTO items VALUES (4, -4);
/* refused: a unique constraint */ ALTER TABLE items ADD UNIQUE (v);
/* refused: a unique constraint */ ALTER TABLE items ADD COLUMN w int, ADD CONSTRAINT w_once UNIQUE (w);
/* refused: a unique constraint */ ALTER TABLE items ADD COLUMN w int UNIQUE;
/* refused: a unique index */ CREATE UNIQUE INDEX ON items (v);
/* refused: a unique index */ CREATE UNIQUE INDEX CONCURRENTLY items_v ON items (v);
/* refused: a unique index */ CREATE UNIQUE INDEX ON items USING btree (lower(v::text), abs(id));
CREATE UNIQUE INDEX items_odd ON items (abs(v), id DESC NULLS LAST) WHERE v > 1;
CREATE UNIQUE INDEX items_v_id ON items (v, id int4_ops);
ALTER TABLE items ADD CONSTRAINT items_both UNIQUE USING INDEX items_v_id;
/* refused: an exclusion constraint */ ALTER TABLE items ADD EXCLUDE USING gist (r WITH &&);
/* refused: an exclusion constraint */ ALTER TABLE items ADD EXCLUDE USING btree (v WITH =, abs(id) WITH =);
CREATE TABLE ref (code text PRIMARY KEY, v int UNIQUE, r int4range, EXCLUDE USING gist (r WITH &&));
INSERT INTO ref VALUES ('a', 1, '[1,5)'), ('b', 2, '[5,6)');
INSERT INTO ref VALUES ('c', 2, '[7,8)');
INSERT INTO ref VALUES ('c', 3, '[5,6)');
CREATE UNIQUE INDEX ON ref (lower(code));
CREATE TABLE words (word text PRIMARY KEY, n int);
/* refused: a unique index */ CREATE UNIQUE INDEX ON words (word COLLATE "C");
DROP TABLE items, ref, words;

-- Foreign keys.
-- script
CREATE TABLE items (id int PRIMARY KEY, v int, UNIQUE (id, v));
CREATE TABLE ref (code text PRIMARY KEY);
CREATE TABLE words (word text PRIMARY KEY);
CREATE TABLE plain (id int PRIMARY KEY, code text REFERENCES ref);
INSERT INTO items VALUES (1, 1), (2, 2), (3, 3);
INSERT INTO ref VALUES ('a'), ('b');
INSERT INTO plain VALUES (1, 'a');
CREATE TABLE parts (id int PRIMARY KEY REFERENCES items ON DELETE CASCADE, v int, code text REFERENCES ref (code) ON UPDATE CASCADE, FOREIGN KEY (id, v) REFERENCES items (id, v));
INSERT INTO parts VALUES (1, 1, 'a'), (2, 2, 'b');
INSERT INTO parts VALUES (9, 9, 'a');
INSERT INTO parts VALUES (3, 3, 'z');
DELETE FROM items WHERE id = 1;
SELECT * FROM parts ORDER BY id;
DELETE FROM ref WHERE code = 'b';
UPDATE ref SET code = 'c' WHERE code = 'b';
SELECT * FROM parts ORDER BY id;
/* refused: a foreign key from sharded table "parts" to table "plain" */ ALTER TABLE parts ADD FOREIGN KEY (v) REFERENCES plain;
/* refused: not co-located */ ALTER TABLE parts ADD COLUMN word text REFERENCES words;
/* refused: does not tie the sharding keys */ ALTER TABLE parts ADD FOREIGN KEY (v) REFERENCES items;
/* refused: does not tie the sharding keys */ ALTER TABLE parts ADD FOREIGN KEY (v, id) REFERENCES items (id, v);
/* refused: would set the sharding key */ ALTER TABLE parts ADD FOREIGN KEY (id) REFERENCES items ON DELETE SET NULL;
/* refused: would set the sharding key */ ALTER TABLE parts ADD FOREIGN KEY (id, v) REFERENCES items (id, v) ON DELETE SET DEFAULT;
ALTER TABLE parts ADD FOREIGN KEY (id, v) REFERENCES items (id, v) ON DELETE SET NULL (v) NOT VALID;
/* refused: a foreign key from reference table "ref" to table "items" */ ALTER TABLE ref ADD COLUMN item int REFERENCES items;
/* refused: a foreign key from reference table "ref" to table "plain" */ ALTER TABLE ref ADD COLUMN plain int REFERENCES plain;
/* refused: a foreign key from reference table "refs" to table "items" */ CREATE TABLE refs (id int PRIMARY KEY REFERENCES items);
CREATE TABLE refs (code text PRIMARY KEY REFERENCES ref, above text REFERENCES refs);
INSERT INTO refs VALUES ('a', 'a'), ('c', 'a');
INSERT INTO refs VALUES ('z', NULL);
/* refused: a foreign key to sharded table "items" */ CREATE TABLE other (id int REFERENCES items);
/* refused: a foreign key to sharded table "items" */ ALTER TABLE plain ADD FOREIGN KEY (id) REFERENCES items;
DELETE FROM ref WHERE code = 'a';
/* refused: would change the sharding key */ CREATE TABLE wordy (word text PRIMARY KEY REFERENCES ref ON UPDATE CASCADE);
CREATE TABLE wordy (word text PRIMARY KEY REFERENCES words ON UPDATE CASCADE, code text REFERENCES ref ON DELETE SET NULL);
INSERT INTO words VALUES ('one'), ('two');
INSERT INTO wordy VALUES ('one', 'c'), ('two', 'c');
DROP TABLE refs;
ALTER TABLE parts DROP CONSTRAINT parts_code_fkey;
DELETE FROM ref WHERE code = 'c';
SELECT * FROM wordy ORDER BY word;
DROP TABLE items, ref, words, plain, parts, wordy CASCADE;

-- A row above in the same table.
-- script
CREATE TABLE tenants (tenant_id int, id int, above int, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, above) REFERENCES tenants);
INSERT INTO tenants VALUES (1, 1, NULL), (1, 2, 1), (2, 1, NULL);
INSERT INTO tenants VALUES (2, 2, 7);
CREATE TABLE notes (tenant_id int, id int, note text, FOREIGN KEY (tenant_id, id) REFERENCES tenants, PRIMARY KEY (tenant_id, id));
INSERT INTO notes VALUES (1, 2, 'x');
INSERT INTO notes VALUES (7, 2, 'x');
ALTER TABLE notes ADD COLUMN above int, ADD CONSTRAINT n FOREIGN KEY (above, tenant_id) REFERENCES tenants (id, tenant_id) DEFERRABLE;
ALTER TABLE notes ALTER CONSTRAINT n INITIALLY DEFERRED;
INSERT INTO notes VALUES (2, 1, 'y', 9);
DROP TABLE notes, tenants;

-- LIKE.
-- script
CREATE TABLE items (id int PRIMARY KEY, v int DEFAULT 5 CHECK (v > 1), t text COLLATE "C");
CREATE INDEX items_v ON items (v);
COMMENT ON COLUMN items.v IS 'the value';
CREATE TABLE parts (LIKE items INCLUDING ALL, more int);
INSERT INTO parts (id) VALUES (1), (2), (3);
INSERT INTO parts (id, v) VALUES (1, 2);
CREATE TABLE plain (LIKE items INCLUDING ALL);
INSERT INTO plain VALUES (1, 2);
CREATE TABLE plain_unique (id int, v int UNIQUE);
/* refused: LIKE table "plain_unique" */ CREATE TABLE logs (LIKE plain_unique);
CREATE TABLE ref (id int PRIMARY KEY, tenant_id int UNIQUE);
/* refused: INCLUDING INDEXES */ CREATE TABLE tenants (LIKE ref INCLUDING INDEXES);
CREATE TABLE tenants (LIKE ref INCLUDING ALL EXCLUDING INDEXES);
INSERT INTO tenants VALUES (1, 1), (2, 2);
CREATE TABLE refs (LIKE items INCLUDING ALL);
INSERT INTO refs VALUES (1, 3), (2, 4);
/* refused: without its sharding-key column */ CREATE TABLE notes (LIKE items);
CREATE TABLE notes (LIKE nonexist);
CREATE TABLE notes (LIKE public.nonexist INCLUDING ALL, more int);
BEGIN;
CREATE TABLE just_made (tenant_id int, v int);
/* refused: LIKE table "just_made" */ CREATE TABLE notes (LIKE just_made);
ROLLBACK;
DROP TABLE items, parts, plain, plain_unique, ref, tenants, refs;

-- Key types: equal values must have equal bytes.

-- script
/* refused: is of another type */ CREATE TABLE words (word char(4), v int);
/* refused: is of another type */ CREATE TABLE words (word character (4), v int);
/* refused: is of another type */ CREATE TABLE words (word nchar(4), v int);
/* refused: is of another type */ CREATE TABLE words (word "char", v int);
/* refused: is of another type */ CREATE TABLE words (word text[], v int);
/* refused: is of another type */ CREATE TABLE items (id int[], v int);
/* refused: is of another type */ CREATE TABLE items (id numeric(10, 2), v int);
CREATE EXTENSION citext;
CREATE DOMAIN short AS char(4);
CREATE DOMAIN amount AS numeric(10, 2);
CREATE DOMAIN small AS smallint CHECK (VALUE >= 0);
CREATE DOMAIN smaller AS small;
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN moody AS mood;
/* refused: is of another type */ CREATE TABLE words (word citext, v int);
/* refused: is of another type */ CREATE TABLE words (word short, v int);
/* refused: is of another type */ CREATE TABLE words (word smaller, v int);
/* refused: is of another type */ CREATE TABLE items (id amount, v int);
/* refused: is of another type */ CREATE TABLE items (id mood, v int);
CREATE TABLE words (word moody, v int);
INSERT INTO words VALUES ('sad', 1), ('glad', 2);
SELECT v FROM words WHERE word = 'glad';
DROP TABLE words;
CREATE TABLE words (word varchar(10) NOT NULL, v int);
CREATE TABLE items (id smaller, v int);
INSERT INTO items VALUES (1, 1), (2, 2), (3, 3);
SELECT v FROM items WHERE id = 2;
CREATE TABLE parts (LIKE items);
DROP TABLE parts;
DROP TABLE items, words;
CREATE TABLE items (id serial, v int);
DROP TABLE items;
DROP DOMAIN short, amount, smaller, small, moody;
DROP TYPE mood;
DROP EXTENSION citext;
