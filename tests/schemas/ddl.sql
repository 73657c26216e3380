-- forms: simple
CREATE SCHEMA tenant_20

-- forms: simple
-- error: 42P06
CREATE SCHEMA tenant_20

-- forms: simple
CREATE SCHEMA IF NOT EXISTS tenant_20

-- script
SET search_path TO tenant_20, public;
CREATE TABLE things (id serial PRIMARY KEY, name text, plan text REFERENCES plans);
INSERT INTO things (name, plan) VALUES ('a', 'plan 0'), ('b', NULL) RETURNING id;
CREATE INDEX things_name ON things (name);
ALTER TABLE things ADD COLUMN extra int DEFAULT 7;
SELECT * FROM things ORDER BY id;
CREATE VIEW named AS SELECT name FROM things WHERE name IS NOT NULL;
SELECT * FROM named ORDER BY name;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM things;
REFRESH MATERIALIZED VIEW counted;
SELECT n FROM counted;
CREATE TYPE color AS ENUM ('red', 'green');
ALTER TABLE things ADD COLUMN color color DEFAULT 'red';
SELECT name, color FROM things ORDER BY id;
ALTER TYPE color ADD VALUE 'blue';
UPDATE things SET color = 'blue' WHERE id = 1 RETURNING color;
CREATE SEQUENCE numbers START 5;
SELECT nextval('numbers');
CREATE DOMAIN small AS int CHECK (VALUE < 10);
SELECT 5::small;
COMMENT ON TABLE things IS 'of a tenant';
SELECT obj_description('things'::regclass, 'pg_class');
TRUNCATE things RESTART IDENTITY;
INSERT INTO things (name) VALUES ('first') RETURNING id;
ALTER TABLE things RENAME TO stuff;
SELECT count(*) FROM stuff;
SELECT count(*) FROM things;
DROP INDEX things_name;
DROP VIEW named;
CREATE TABLE copied AS SELECT name, extra FROM stuff;
SELECT * FROM copied;
SELECT name INTO selected FROM stuff;
SELECT * FROM selected;
GRANT SELECT ON stuff, copied TO app;
GRANT USAGE ON SCHEMA tenant_20 TO app;
VACUUM stuff;
ANALYZE copied;

-- A migration: all in one transaction.
-- script
BEGIN;
CREATE SCHEMA tenant_21;
SET LOCAL search_path TO tenant_21, public;
CREATE TABLE orders (id int PRIMARY KEY, note text);
CREATE INDEX ON orders (note);
INSERT INTO orders VALUES (1, 'in tenant_21');
SELECT * FROM orders;
SELECT current_schema();
CREATE TABLE versions (v int);
INSERT INTO versions VALUES (1);
SELECT * FROM versions;
COMMIT;
SELECT * FROM tenant_21.orders;
SELECT * FROM orders;

-- What is dropped in the transaction falls through, and comes back with the rollback.
-- script
SET search_path TO tenant_21, public;
BEGIN;
SAVEPOINT a;
DROP TABLE orders;
SELECT public_only FROM orders;
ROLLBACK TO a;
SELECT note FROM orders;
ALTER TABLE orders RENAME TO bestellungen;
SELECT public_only FROM orders;
SELECT note FROM bestellungen;
ROLLBACK;
SELECT note FROM orders;

-- script
BEGIN;
CREATE SCHEMA tenant_22;
CREATE TABLE tenant_22.a (id int);
ROLLBACK;
SELECT * FROM tenant_22.a;
SET search_path TO tenant_22, public;
SELECT public_only FROM orders;

-- Two tenants migrated together.
-- script
BEGIN;
ALTER TABLE tenant_1.accounts ADD COLUMN vip boolean DEFAULT false;
ALTER TABLE tenant_2.accounts ADD COLUMN vip boolean DEFAULT false;
COMMIT;
SELECT id, vip FROM tenant_1.accounts WHERE id = 1;
SELECT id, vip FROM tenant_2.accounts WHERE id = 1;
ALTER TABLE tenant_1.accounts DROP COLUMN vip;
ALTER TABLE tenant_2.accounts DROP COLUMN vip;
SELECT * FROM tenant_1.accounts WHERE id = 1;

-- script
CREATE SCHEMA tenant_23;
CREATE SCHEMA tenant_24 CREATE TABLE inside (id int) CREATE VIEW outside AS SELECT id FROM inside;
CREATE TABLE tenant_23.t (id int);
INSERT INTO tenant_24.inside VALUES (1);
SELECT * FROM tenant_24.outside;
TRUNCATE tenant_23.t, tenant_24.inside;
SELECT count(*) FROM tenant_24.inside;
DROP SCHEMA tenant_23, tenant_24;
DROP SCHEMA tenant_23, tenant_24 CASCADE;
SELECT * FROM tenant_23.t;
DROP SCHEMA IF EXISTS tenant_23, tenant_24 CASCADE;
SELECT count(*) FROM tenant_1.accounts;

-- script
CREATE FUNCTION tenant_3.answer() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 42';
SELECT tenant_3.answer();
SET search_path TO tenant_3;
SELECT answer(), id FROM accounts WHERE id = 1;
ALTER FUNCTION answer() RENAME TO reply;
SELECT reply();
DROP FUNCTION reply();
SELECT reply();

-- script
DO $$ BEGIN UPDATE tenant_3.accounts SET balance = 1 WHERE id = 1; END $$;
SELECT balance FROM tenant_3.accounts WHERE id = 1;
SET search_path TO tenant_2;
DO $$ BEGIN UPDATE accounts SET balance = 2 WHERE id = 1; END $$;
SELECT balance FROM accounts WHERE id = 1;

-- Temporary tables lie on the shard of what they are made of.
-- script
SET search_path TO tenant_2, public;
CREATE TEMP TABLE scratch AS SELECT id, owner FROM accounts;
SELECT s.owner, a.balance FROM scratch s JOIN accounts a USING (id) ORDER BY id;
SET search_path TO public;
SELECT count(*) FROM scratch;
DROP TABLE scratch;
SELECT count(*) FROM scratch;
