-- The shop that the oracle and the shards hold. Run on every server; who holds which rows is the config's to say.
-- It has functions and aggregates that are called like Postgres's own.
CREATE EXTENSION citext;
CREATE TABLE tenants (
    id int PRIMARY KEY, name text NOT NULL, plan text COLLATE "C", seats smallint, budget numeric(12,2), joined date);
CREATE TABLE customers (
    tenant_id int NOT NULL REFERENCES tenants, id bigint NOT NULL, email text COLLATE "C" NOT NULL, name text,
    nick varchar(20) COLLATE "C", country char(2), balance numeric(12,2), score float8, rating real, active boolean,
    level smallint, born date, created timestamptz NOT NULL, updated timestamp, slot time, gap interval, guid uuid,
    ip inet, tags text[], meta jsonb, raw bytea,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, email));
CREATE TABLE orders (
    tenant_id int NOT NULL, id bigint NOT NULL, customer_id bigint, status text COLLATE "C" NOT NULL DEFAULT 'new',
    total numeric(14,2), discount numeric, quantity int, placed timestamptz, shipped date, note text,
    PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, customer_id) REFERENCES customers);
CREATE TABLE order_items (
    tenant_id int NOT NULL, order_id bigint NOT NULL, line smallint NOT NULL, product_id int, quantity int,
    price numeric(10,2), PRIMARY KEY (tenant_id, order_id, line));
CREATE TABLE products (id int PRIMARY KEY, sku text COLLATE "C" UNIQUE, name text, price numeric(10,2), weight float8);
CREATE TABLE countries (code char(2) PRIMARY KEY, name text NOT NULL);
CREATE TABLE events (
    device uuid NOT NULL, seq int NOT NULL, kind text COLLATE "C", at timestamptz, value numeric, flags bigint,
    payload jsonb, PRIMARY KEY (device, seq));
CREATE TABLE kv (key text PRIMARY KEY, value text, version int, bin bytea);
CREATE TABLE metrics (day date NOT NULL, series int NOT NULL, value bigint, ratio numeric, PRIMARY KEY (day, series));
CREATE TABLE region_stats (region text NOT NULL, year int NOT NULL, amount bigint, PRIMARY KEY (region, year));
-- Rows of one tenant only, and of none.
CREATE TABLE sparse (tenant_id int NOT NULL, id int NOT NULL, v int, t text COLLATE "C", PRIMARY KEY (tenant_id, id));
CREATE TABLE void (tenant_id int NOT NULL, id int NOT NULL, v numeric, t text COLLATE "C", f float8, b boolean);
CREATE TABLE settings (name text PRIMARY KEY, value text);
CREATE TABLE audit (id int PRIMARY KEY, who text, what text COLLATE "C", at timestamp);
-- Tables that the statements write to.
CREATE TABLE accounts (
    tenant_id int NOT NULL, id int NOT NULL, owner text COLLATE "C", amount numeric(12,2) NOT NULL DEFAULT 0,
    note text DEFAULT 'none', hits int CHECK (hits >= 0), PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, owner));
CREATE TABLE transfers (
    tenant_id int NOT NULL, id int NOT NULL, account_id int, amount numeric(12,2), PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts ON DELETE CASCADE);
CREATE TABLE sessions (token uuid PRIMARY KEY, who text, seen timestamptz);
CREATE TABLE words (word text PRIMARY KEY, n int);
CREATE TABLE readings (day date NOT NULL, n int NOT NULL, v numeric, PRIMARY KEY (day, n));
CREATE TABLE labels (code text COLLATE "C" PRIMARY KEY, title text, rank int);
CREATE TABLE notes (id int PRIMARY KEY, body text);
CREATE VIEW big_orders AS SELECT tenant_id, id, total FROM orders WHERE total > 500;
CREATE VIEW product_names AS SELECT id, name FROM products;
CREATE FUNCTION order_count() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM orders';
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
-- What reads tables of other rows than those that it is given: never declared safe.
CREATE FUNCTION worth(customers) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT sum(total) FROM orders WHERE customer_id < $1.id';
CREATE FUNCTION rich(accounts) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM customers WHERE level > $1.hits';
-- Operators and aggregates of users: what their functions read, they read.
CREATE FUNCTION near(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1 - $2) < 3';
CREATE OPERATOR <~> (LEFTARG = int, RIGHTARG = int, FUNCTION = near);
CREATE FUNCTION next_has(int, int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT EXISTS (SELECT FROM orders WHERE tenant_id = $1 + 1 AND quantity = $2)';
CREATE OPERATOR <~~> (LEFTARG = int, RIGHTARG = int, FUNCTION = next_has);
CREATE AGGREGATE product_of(numeric) (SFUNC = numeric_mul, STYPE = numeric);
CREATE FUNCTION more_orders(bigint, int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT $1 + count(*) FROM orders WHERE tenant_id = $2 + 1';
CREATE AGGREGATE next_orders(int) (SFUNC = more_orders, STYPE = bigint, INITCOND = '0');
-- Types that each server has under its own numbers, names that need quotes, and columns that are not what they were.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE pair AS (a int, b mood);
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE odd (
    "Id" int NOT NULL, "select" text, gone int, feel mood, feels mood[], part percent, two pair, span int4range,
    twice int GENERATED ALWAYS AS ("Id" * 2) STORED, mask bit(3), cash money, ci text COLLATE loose,
    "od""d name" varchar(5), note text, PRIMARY KEY ("Id"));
ALTER TABLE odd DROP COLUMN gone;
CREATE TABLE parted (tenant_id int NOT NULL, day date NOT NULL, v numeric(6,2)) PARTITION BY RANGE (day);
CREATE TABLE parted_old PARTITION OF parted FOR VALUES FROM (MINVALUE) TO ('2024-02-01');
CREATE TABLE parted_new PARTITION OF parted FOR VALUES FROM ('2024-02-01') TO (MAXVALUE);
CREATE VIEW customer_sums (tenant_id, who, orders, worth) AS
    SELECT c.tenant_id, c.name, count(o.id), sum(o.total) FROM customers c LEFT JOIN orders o
    ON o.tenant_id = c.tenant_id AND o.customer_id = c.id WHERE c.active GROUP BY c.tenant_id, c.id;
CREATE VIEW top_customers AS SELECT who, worth FROM customer_sums WHERE worth > 1000 AND who <> 'Bob';
-- Columns of every kind for rows that are written by queries, and defaults that no two servers would make alike: what `stamps` and
-- `marks` get must be gone at the end of a case.
CREATE TABLE tickets (
    tenant_id int NOT NULL, id int NOT NULL, state mood, tags text[], share percent, fee numeric(8,2), code char(4),
    label varchar(6), doubled int GENERATED ALWAYS AS (id * 2) STORED, made timestamptz DEFAULT '2024-01-01 00:00+00',
    note text DEFAULT 'none', PRIMARY KEY (tenant_id, id));
CREATE TABLE stamps (
    word text PRIMARY KEY, made timestamptz NOT NULL DEFAULT now(), day date DEFAULT CURRENT_DATE, n int DEFAULT 7);
CREATE TABLE marks (code text PRIMARY KEY, made timestamptz DEFAULT now(), token uuid DEFAULT gen_random_uuid(), n int DEFAULT 0);
-- Views that are written through: columns left out, renamed and made, conditions with checks and without, views over views.
CREATE VIEW small_accounts AS SELECT a.tenant_id AS tenant, a.id, a.owner AS "Who", a.amount, a.note FROM accounts a WHERE a.amount < 300;
CREATE VIEW rich_accounts AS SELECT tenant_id, id, amount * 2 AS twice, owner, amount, hits FROM accounts WHERE amount > 100
    WITH LOCAL CHECK OPTION;
CREATE VIEW own_rich (t, n, o, a) WITH (security_barrier) AS SELECT tenant_id, id, owner, amount FROM rich_accounts WHERE owner <> 'owner30'
    WITH CASCADED CHECK OPTION;
CREATE VIEW loose_rich AS SELECT * FROM rich_accounts WHERE hits < 5;
CREATE VIEW first_tenant WITH (security_invoker) AS SELECT * FROM accounts WHERE tenant_id = 1 WITH CHECK OPTION;
CREATE VIEW keyless_accounts AS SELECT id, amount, note FROM accounts;
CREATE VIEW twice_keyed AS SELECT tenant_id, tenant_id AS again, id, note FROM accounts;
CREATE VIEW swapped AS SELECT id AS tenant_id, tenant_id AS id, note FROM accounts;
CREATE VIEW moved_accounts AS SELECT tenant_id, id, note FROM accounts a
    WHERE EXISTS (SELECT FROM transfers t WHERE t.tenant_id = a.tenant_id AND t.account_id = a.id);
CREATE VIEW low_labels WITH (security_barrier) AS SELECT code AS c, title, rank FROM labels WHERE rank < 3 WITH CHECK OPTION;
CREATE VIEW word_counts AS SELECT n AS times, word FROM words;
ALTER VIEW word_counts ALTER COLUMN times SET DEFAULT 42;
CREATE VIEW stamped AS SELECT word, n FROM stamps;
CREATE VIEW marked AS SELECT code, n FROM marks;
CREATE VIEW note_bodies AS SELECT id, body FROM notes WHERE id < 100 WITH CHECK OPTION;
CREATE VIEW recent_sessions AS SELECT * FROM sessions WHERE seen > now() - interval '100 years';
CREATE VIEW account_sums AS SELECT tenant_id, sum(amount) AS amount FROM accounts GROUP BY tenant_id;
