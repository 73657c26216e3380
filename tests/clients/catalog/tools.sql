-- What graphical tools, exporters and ORMs ask the catalog when they open a database. One statement each; OIDs are compared as such, not by number.

-- Opening: who, where, what.
SELECT current_schema(), session_user;
SELECT version();
SHOW search_path;
SELECT current_database() = current_catalog, current_user, pg_is_in_recovery();
SELECT setting FROM pg_settings WHERE name = 'server_version_num';
SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('DateStyle', 'TimeZone', 'max_identifier_length', 'standard_conforming_strings') ORDER BY 1;
SELECT current_setting('server_version_num')::int / 10000 AS major, current_setting('lc_collate');
SELECT db.datname, db.datallowconn, pg_encoding_to_char(db.encoding), has_database_privilege(db.oid, 'CREATE') FROM pg_database db WHERE db.datname = current_database() ORDER BY db.datname;
SELECT pg_catalog.pg_get_userbyid(datdba), datistemplate, datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database();
SELECT rolname, rolsuper, rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = 'app';
SELECT has_schema_privilege('public', 'USAGE'), has_schema_privilege('stock', 'CREATE'), has_table_privilege('orders', 'SELECT, INSERT');

-- Schemas.
SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass WHERE nspname IN ('public', 'stock') ORDER BY nspname;
SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN ('pgloom') AND schema_name NOT LIKE 'pg\_%' ORDER BY 1;

-- Tables, as DBeaver and pgAdmin list them.
SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relhasindex, c.relnatts, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr, pg_catalog.pg_get_partkeydef(c.oid) AS partition_key FROM pg_catalog.pg_class c INNER JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass WHERE n.nspname = 'public' AND c.relkind NOT IN ('i', 'I', 'c') ORDER BY c.relname;
SELECT table_schema, table_name, table_type, is_insertable_into FROM information_schema.tables WHERE table_schema IN ('public', 'stock') ORDER BY 1, 2;
SELECT schemaname, tablename, tableowner, hasindexes, hasrules, hastriggers FROM pg_catalog.pg_tables WHERE schemaname IN ('public', 'stock') ORDER BY 1, 2;
SELECT rel.oid, rel.relname AS name, (SELECT count(*) FROM pg_trigger WHERE tgrelid = rel.oid AND tgisinternal = FALSE) AS triggercount FROM pg_class rel WHERE rel.relkind IN ('r', 's', 't', 'p') AND rel.relnamespace = 'public'::regnamespace ORDER BY rel.relname;
SELECT viewname, definition FROM pg_views WHERE schemaname = 'public';
SELECT matviewname, ispopulated, definition FROM pg_matviews WHERE schemaname = 'stock';
SELECT inhrelid::regclass, inhparent::regclass, inhseqno FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind = 'r' ORDER BY 1::text;

-- Columns.
SELECT c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) AS def_value, dsc.description FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON a.attrelid = c.oid LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum LEFT OUTER JOIN pg_catalog.pg_description dsc ON c.oid = dsc.objoid AND a.attnum = dsc.objsubid WHERE NOT a.attisdropped AND c.oid = 'orders'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT column_name, ordinal_position, column_default, is_nullable, data_type, character_maximum_length, numeric_precision, numeric_scale, datetime_precision, udt_name, is_identity, identity_generation, is_generated, generation_expression FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position;
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'public.events'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT * FROM (SELECT n.nspname, c.relname, a.attname, a.atttypid, a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull, a.atttypmod, a.attlen, t.typtypmod, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') AS attidentity, pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc, t.typbasetype, t.typtype FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid JOIN pg_catalog.pg_type t ON a.atttypid = t.oid LEFT JOIN pg_catalog.pg_attrdef def ON a.attrelid = def.adrelid AND a.attnum = def.adnum WHERE c.relkind IN ('r', 'p', 'v', 'f', 'm') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname IN ('public', 'stock')) c ORDER BY nspname, c.relname, attnum;

-- Keys, constraints, indexes.
SELECT c.oid, c.conname, c.contype, c.conkey, c.confkey, t.relname AS tabrelname, rt.relname AS refnamespace, d.description, pg_catalog.pg_get_constraintdef(c.oid, true) AS definition FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_constraint'::regclass WHERE t.relnamespace = 'public'::regnamespace ORDER BY t.relname, c.conname;
SELECT tc.table_name, tc.constraint_name, tc.constraint_type, kcu.column_name, kcu.ordinal_position FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kcu USING (constraint_schema, constraint_name, table_name) WHERE tc.table_schema = 'public' ORDER BY 1, 2, 5;
SELECT rc.constraint_name, rc.update_rule, rc.delete_rule, ccu.table_name, ccu.column_name FROM information_schema.referential_constraints rc JOIN information_schema.constraint_column_usage ccu USING (constraint_schema, constraint_name) WHERE rc.constraint_schema = 'public' ORDER BY 1, 4, 5;
SELECT i.*, i.indkey AS keys, c.relname, am.amname, pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS pred_expr, pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) AS expr, tc.relname AS tabrelname FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid INNER JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid LEFT OUTER JOIN pg_catalog.pg_am am ON c.relam = am.oid WHERE tc.relnamespace = 'public'::regnamespace ORDER BY tc.relname, c.relname;
SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2;
SELECT i.relname, array_agg(a.attname ORDER BY array_position(ix.indkey, a.attnum)) FROM pg_class t, pg_class i, pg_index ix, pg_attribute a WHERE t.oid = ix.indrelid AND i.oid = ix.indexrelid AND a.attrelid = t.oid AND a.attnum = ANY(ix.indkey) AND t.relkind = 'r' AND t.relname = 'orders' GROUP BY i.relname ORDER BY i.relname;

-- Types, functions, triggers, sequences, extensions.
SELECT t.oid, t.*, c.relkind, format_type(nullif(t.typbasetype, 0), t.typtypmod) AS base_type_name FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_class c ON c.oid = t.typrelid WHERE t.typname IN ('size', '_size', 'amount', 'int4', 'jsonb') ORDER BY t.typname;
SELECT n.nspname AS schema, t.typname, array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_type t JOIN pg_enum e ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace GROUP BY 1, 2 ORDER BY 1, 2;
SELECT typname, typarray::regtype, typinput, typdelim, typrelid FROM pg_type WHERE typname IN ('hstore', 'size', 'text', 'bool') ORDER BY 1;
SELECT ns.nspname, typname, typelem, typtype FROM pg_type a JOIN pg_namespace ns ON ns.oid = a.typnamespace WHERE ns.nspname IN ('public', 'stock') AND a.typtype IN ('b', 'd', 'e', 'r') ORDER BY 1, 2;
SELECT p.oid, p.proname, pg_catalog.pg_get_function_result(p.oid), pg_catalog.pg_get_function_arguments(p.oid), l.lanname, p.provolatile, pg_catalog.pg_get_functiondef(p.oid) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.pronamespace IN ('public'::regnamespace, 'stock'::regnamespace) ORDER BY p.proname;
SELECT routine_schema, routine_name, data_type, routine_definition FROM information_schema.routines WHERE routine_schema IN ('public', 'stock') ORDER BY 1, 2;
SELECT t.tgname, t.tgenabled, pg_catalog.pg_get_triggerdef(t.oid, true) FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal ORDER BY t.tgname;
SELECT sequence_schema, sequence_name, data_type, start_value, increment FROM information_schema.sequences WHERE sequence_schema IN ('public', 'stock') ORDER BY 1, 2;
SELECT seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqcycle FROM pg_sequence WHERE seqrelid::regclass::text IN ('notes_id_seq', 'events_id_seq') ORDER BY 1::text;
SELECT pg_get_serial_sequence('notes', 'id'), pg_get_serial_sequence('events', 'id');
SELECT extname, extversion FROM pg_catalog.pg_extension ORDER BY 1;
SELECT refclassid::regclass, deptype, count(*) FROM pg_depend WHERE objid = 'unpaid'::regclass OR refobjid = 'unpaid'::regclass GROUP BY 1, 2 ORDER BY 1, 2;
SELECT grantee, privilege_type, is_grantable FROM information_schema.role_table_grants WHERE table_name = 'orders' ORDER BY 1, 2;
SELECT relname, relacl FROM pg_class WHERE relname = 'orders';
SELECT objsubid, description FROM pg_description WHERE objoid = 'orders'::regclass;
SELECT lanname FROM pg_language ORDER BY 1;
SELECT collname, collprovider FROM pg_collation WHERE collname IN ('C', 'POSIX', 'default') ORDER BY 1;
SELECT amname, amtype FROM pg_am ORDER BY 1;
SELECT spcname FROM pg_tablespace ORDER BY 1;
SELECT word, catcode FROM pg_get_keywords() ORDER BY 1 LIMIT 20;
SELECT to_regclass('orders')::text, to_regclass('nothing'), to_regtype('size')::text, 'orders'::regclass::text, quote_ident('Odd Name');
SELECT obj_description('orders'::regclass), col_description('orders'::regclass, 1), pg_table_is_visible('orders'::regclass), pg_get_viewdef('unpaid'::regclass);
