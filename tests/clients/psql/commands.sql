-- The commands of psql that send something of their own.
\set QUIET off
\pset pager off
\timing off
SELECT * FROM orders WHERE tenant_id = 3 ORDER BY id \gx
SELECT tenant_id, count(*) FROM orders GROUP BY 1 ORDER BY 1;
SELECT 'SELECT count(*) FROM orders WHERE tenant_id = ' || t FROM generate_series(1, 3) t \gexec
SELECT max(id) AS top, count(*) AS n FROM orders \gset
\echo :top :n
SELECT tenant_id, id, product FROM orders WHERE id < 3 ORDER BY 1, 2 \crosstabview tenant_id id product
SELECT tenant_id, id, total, size, tags FROM orders JOIN products ON code = product WHERE tenant_id = 1 \gdesc
-- \watch goes on until an error: this number gets too large.
UPDATE orders SET total = total * 1000 WHERE tenant_id = 5 AND id = 1 RETURNING total \watch 0.1
-- \copy: in, out, of a query, with errors.
\copy customers (tenant_id, id, name) FROM 'customers.csv' WITH (FORMAT csv, HEADER)
\copy (SELECT tenant_id, id, name FROM customers WHERE id >= 90 ORDER BY 1, 2) TO stdout WITH (FORMAT csv, HEADER, FORCE_QUOTE *)
\copy notes (body) FROM stdin
one line
another\tline
\.
COPY (SELECT tenant_id, sum(total) FROM orders GROUP BY tenant_id ORDER BY tenant_id) TO STDOUT;
\copy customers FROM stdin
1	91	fine	2026-01-01
1	x	not fine	2026-01-01
\.
SELECT count(*) FROM customers WHERE id = 91;
DELETE FROM customers WHERE id >= 90;
-- Errors as psql shows them.
\set VERBOSITY verbose
SELECT nothing FROM orders;
INSERT INTO customers VALUES (1, 1, 'again');
INSERT INTO orders (tenant_id, id, customer_id) VALUES (1, 500, 500);
\errverbose
\set VERBOSITY default
SELECT id FROM orders WHERE tenant_id = 1 AND
    idd = 5;
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO customers VALUES (2, 95, 'kept');
INSERT INTO customers VALUES (2, 1, 'again');
INSERT INTO customers VALUES (3, 95, 'kept');
SELECT tenant_id, name FROM customers WHERE id = 95 ORDER BY 1;
ROLLBACK;
\set ON_ERROR_ROLLBACK off
-- Fetching by a cursor in pieces, several statements in one line, single-row results, nulls, formats.
\set FETCH_COUNT 7
SELECT tenant_id, id, total FROM orders ORDER BY total LIMIT 20;
\set FETCH_COUNT 0
SELECT 1 AS a\; SELECT count(*) FROM orders\; SELECT body FROM notes WHERE id = 1;
\pset null '(none)'
\pset format unaligned
SELECT tenant_id, id, product FROM orders WHERE product IS NULL ORDER BY 1, 2 LIMIT 3;
\pset format html
SELECT code, title FROM products ORDER BY code;
\pset format aligned
\x on
SELECT * FROM customers WHERE tenant_id = 12 AND id = 1;
\x off
PREPARE p (int) AS SELECT sum(total) FROM orders WHERE tenant_id = $1;
EXECUTE p (4);
DEALLOCATE p;
\set AUTOCOMMIT off
UPDATE orders SET paid = true;
SELECT count(*) FROM orders WHERE paid;
ROLLBACK;
SELECT count(*) FROM orders WHERE paid;
COMMIT;
\set AUTOCOMMIT on
SHOW application_name;
SELECT current_user, session_user;
\echo :SERVER_VERSION_NUM :ENCODING
\if :{?top}
\echo set
\endif
\echo END
