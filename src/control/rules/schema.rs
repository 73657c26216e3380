//! What keeps the rules that SQL has made: tables of our own, made on every shard when the first rule is.

/// Idempotent. On the home shard are the rules and their epoch; the other shards have the fence alone.
///
/// `settle_rule` has the rights of the router's user, who made it: it sees to it that its caller owns the table. The name of its mover is
/// no secret; who calls it without having moved anything has mislaid a table of his own.
pub fn made() -> String {
    // One after the other: nobody else makes the same in this moment.
    const TABLES: &str = "DO $do$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(1885826930, 3); \
        IF pg_catalog.to_regnamespace('pgloom') IS NULL THEN \
            CREATE SCHEMA pgloom; GRANT USAGE ON SCHEMA pgloom TO PUBLIC; \
        END IF; \
        IF pg_catalog.to_regclass('pgloom.table_rule') IS NULL THEN \
            CREATE TABLE pgloom.table_rule (\
                schema_name text, table_name text, PRIMARY KEY (schema_name, table_name), \
                kind text NOT NULL, distribution text, columns text[], mover text, since timestamptz); \
            GRANT SELECT ON pgloom.table_rule TO PUBLIC; \
        END IF; \
        IF pg_catalog.to_regclass('pgloom.fence') IS NULL THEN \
            CREATE TABLE pgloom.fence (single boolean PRIMARY KEY DEFAULT true CHECK (single), epoch bigint NOT NULL, \
                fence bigint NOT NULL, home boolean NOT NULL); \
            GRANT SELECT ON pgloom.fence TO PUBLIC; \
        END IF; \
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'pgloom.fence'::pg_catalog.regclass \
            AND a.attname = 'moved' AND NOT a.attisdropped) THEN \
            ALTER TABLE pgloom.fence ADD COLUMN moved bigint NOT NULL DEFAULT 0; \
        END IF; END $do$; ";
    const SETTLE: &str = "DO $do$ BEGIN IF pg_catalog.to_regproc('pgloom.settle_rule') IS NULL THEN \
        CREATE FUNCTION pgloom.settle_rule(in_schema text, of_table text, by_mover text, new_kind text, by_distribution text, \
            by_columns text[]) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $body$ \
        DECLARE caller name := CASE pg_catalog.current_setting('role') WHEN 'none' THEN session_user \
            ELSE pg_catalog.current_setting('role') END; owner oid; \
        BEGIN \
            PERFORM FROM pgloom.table_rule r WHERE r.schema_name = in_schema AND r.table_name = of_table \
                AND r.mover = by_mover FOR UPDATE; \
            IF NOT FOUND THEN \
                RAISE EXCEPTION 'table \"%\" is not closed for this session any more', of_table USING ERRCODE = '55000', \
                    HINT = 'Run the statement again.'; \
            END IF; \
            SELECT c.relowner INTO owner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                WHERE n.nspname = in_schema AND c.relname = of_table; \
            IF owner IS NOT NULL AND NOT pg_catalog.pg_has_role(caller, owner, 'USAGE') THEN \
                RAISE EXCEPTION 'must be owner of table %', of_table USING ERRCODE = '42501'; \
            END IF; \
            IF new_kind IS NULL THEN RETURN; END IF; \
            UPDATE pgloom.table_rule r SET kind = new_kind, distribution = by_distribution, columns = by_columns, \
                mover = 'done:' || by_mover, since = pg_catalog.now() WHERE r.schema_name = in_schema AND r.table_name = of_table; \
            UPDATE pgloom.fence f SET epoch = f.epoch + 1 WHERE f.home; \
        END $body$; \
        GRANT EXECUTE ON FUNCTION pgloom.settle_rule(text, text, text, text, text, text[]) TO PUBLIC; \
        END IF; END $do$";
    format!("{TABLES}{SETTLE}")
}
