-- What psql, drivers and ORMs ask. OIDs differ between servers, so these ask for names.

SELECT n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', '') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1, 2

SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = 'accounts'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum

SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name

SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = 'customers' ORDER BY ordinal_position

SELECT conname, contype, pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint WHERE conrelid = 'orders'::regclass ORDER BY conname

SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'customers' ORDER BY 1

SELECT typname, typlen, typtype FROM pg_type WHERE oid IN (16, 23, 25, 1700) ORDER BY oid

SELECT oid, typname FROM pg_catalog.pg_type WHERE typname = ANY(ARRAY['int4', 'text']) ORDER BY 1

-- params: 25
SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid INNER JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = $1

SELECT to_regclass('tenants') IS NOT NULL, to_regclass('nothing') IS NULL

SELECT 'tenants'::regclass::text

SELECT pg_catalog.pg_get_viewdef('big_orders'::regclass)

SELECT proname, provolatile FROM pg_proc WHERE proname IN ('order_count', 'twice') ORDER BY 1

SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg%' ORDER BY 1

SELECT has_table_privilege('tenants', 'SELECT')

SELECT pg_catalog.set_config('search_path', '', false)

-- script
SELECT pg_catalog.set_config('search_path', '', false);
SELECT count(*) FROM public.orders;
SELECT count(*) FROM orders;

SELECT count(*) FROM pg_stat_activity WHERE false

SELECT version() LIKE 'PostgreSQL %'

SELECT pg_is_in_recovery()

SELECT obj_description('tenants'::regclass), col_description('tenants'::regclass, 1)

SELECT t.id, c.relkind FROM tenants t JOIN pg_class c ON c.relname = 'tenants' WHERE t.id = 5
