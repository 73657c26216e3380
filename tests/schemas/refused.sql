INSERT INTO tenant_1.accounts (id, owner) SELECT id + 100, owner FROM tenant_2.accounts

UPDATE tenant_1.accounts a SET owner = b.owner FROM tenant_2.accounts b WHERE b.id = a.id

DELETE FROM tenant_1.accounts USING audit WHERE audit.id = accounts.id

-- forms: simple
SELECT a.id FROM tenant_1.accounts a, tenant_2.accounts b WHERE a.id = b.id FOR UPDATE

MERGE INTO tenant_1.accounts a USING tenant_2.accounts b ON b.id = a.id WHEN MATCHED THEN DELETE

INSERT INTO plans SELECT owner FROM tenant_1.accounts

ALTER SCHEMA tenant_1 RENAME TO tenant_2b

ALTER TABLE tenant_1.accounts SET SCHEMA public

CREATE TABLE tenant_1.bad (id int REFERENCES tenant_2.accounts)

CREATE TABLE tenant_1.bad AS SELECT * FROM tenant_2.accounts

CREATE VIEW tenant_1.bad AS SELECT * FROM tenant_2.accounts

CREATE VIEW tenant_1.bad AS SELECT * FROM events

CREATE VIEW public.bad AS SELECT * FROM tenant_1.accounts

CREATE TABLE public.bad (id int REFERENCES tenant_1.accounts)

SELECT a.id INTO tenant_1.bad FROM tenant_2.accounts a

DO $$ BEGIN DELETE FROM tenant_1.orders; DELETE FROM tenant_2.orders; END $$

SELECT nextval('tenant_1.orders_id_seq'), id FROM tenant_2.accounts

SELECT has_table_privilege('tenant_1.orders', 'SELECT'), has_schema_privilege('tenant_2', 'USAGE')

-- Types of one schema are not there where two are read together.
SELECT a.mood FROM tenant_1.accounts a JOIN tenant_2.accounts b USING (id)

-- params: 1
SELECT a.mood FROM tenant_1.accounts a JOIN tenant_2.accounts b USING (id) WHERE a.id = $1

SELECT a.id FROM tenant_1.accounts a JOIN tenant_2.nothing b USING (id)

PREPARE f AS SELECT a.id FROM tenant_1.accounts a JOIN tenant_2.accounts b USING (id)

SELECT a.id, b.mood FROM tenant_1.accounts a JOIN tenant_3.accounts b ON b.mood::text = a.owner
