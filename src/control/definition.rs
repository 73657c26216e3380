//! A table's definition as statements that make it again on another server, read from the catalogs. Two tables are the same where
//! the same statements make them.

pub mod fits;

use crate::backend::Backend;
use crate::backend::settings::{quote_identifier, quote_literal};
use crate::fault::{Fault, SqlState};
use crate::ids::QualifiedName;

/// Everything that a table is, but its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// In the order in which they can be run where every name must be qualified.
    pub statements: Vec<String>,
    /// The names of the columns that are written, in their order: no generated ones.
    pub columns: Vec<Column>,
    /// Unique and exclusion constraints, and unique indexes.
    pub uniques: Vec<Unique>,
    pub foreign_keys: Vec<ForeignKey>,
    /// Tables whose foreign keys refer to it.
    pub referred_by: Vec<QualifiedName>,
    /// What cannot be made again, or must not be on several shards; each ends a sentence "the table ...".
    pub obstacles: Vec<String>,
    /// Rows by the planner's estimate.
    pub estimate: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    /// Built in: its binary form is the same on every server.
    pub portable: bool,
    /// Whether its equality is that of bytes.
    pub deterministic: bool,
    pub type_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    pub name: String,
    /// Without expressions.
    pub columns: Vec<String>,
    pub exclusion: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub target: QualifiedName,
    pub target_columns: Vec<String>,
}

type Row = Vec<Option<String>>;

/// The table as SQL names it.
pub fn quoted(table: &QualifiedName) -> String {
    format!("{}.{}", quote_identifier(&table.schema), quote_identifier(&table.name))
}

/// Whether there is such a relation.
///
/// # Errors
/// The server's refusal, or the loss of the connection.
pub async fn exists(server: &mut Backend, table: &QualifiedName) -> Result<bool, Fault> {
    let rows = server
        .query(&format!(
            "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relname = {}",
            quote_literal(&table.schema),
            quote_literal(&table.name)
        ))
        .await?;
    Ok(!rows.is_empty())
}

/// Reads a table that exists. The connection's search path must be empty, so that names are qualified.
///
/// # Errors
/// The server's refusal, or the loss of the connection.
pub async fn read(server: &mut Backend, table: &QualifiedName) -> Result<Definition, Fault> {
    let id = format!("{}::pg_catalog.regclass", quote_literal(&quoted(table)));
    let mut reader = Reader { server, id, table: quoted(table), definition: Definition::default() };
    reader.obstacles(table).await?;
    reader.relation().await?;
    reader.columns().await?;
    reader.constraints().await?;
    reader.rest().await?;
    Ok(reader.definition)
}

struct Reader<'a> {
    server: &'a mut Backend,
    /// Its OID, as SQL.
    id: String,
    table: String,
    definition: Definition,
}

/// An option that Postgres 15.20 and its like give every column by themselves: when it was made, as a position in the server's own log.
const STAMP: &str = "pg_attver=";

/// The options of a sequence `q` with the class `s`.
const SEQUENCE: &str = "pg_catalog.format('INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s %s', q.seqincrement, q.seqmin, \
    q.seqmax, q.seqstart, q.seqcache, CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)";

impl Reader<'_> {
    async fn rows(&mut self, sql: &str) -> Result<Vec<Row>, Fault> {
        self.server.query(sql).await
    }

    /// Rows of one column, each a statement or some such.
    async fn texts(&mut self, sql: &str) -> Result<Vec<String>, Fault> {
        Ok(self.rows(sql).await?.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    async fn add(&mut self, sql: &str) -> Result<(), Fault> {
        let texts = self.texts(sql).await?;
        self.definition.statements.extend(texts);
        Ok(())
    }

    async fn obstacles(&mut self, table: &QualifiedName) -> Result<(), Fault> {
        let id = self.id.clone();
        let mentions = quote_literal(&format!("\\m{}\\M", escape(&table.name)));
        let user = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgloom')";
        let sql = format!(
            "SELECT CASE c.relkind WHEN 'p' THEN 'is partitioned' WHEN 'f' THEN 'is a foreign table' ELSE 'is no table' END \
                 FROM pg_catalog.pg_class c WHERE c.oid = {id} AND c.relkind <> 'r' \
             UNION ALL SELECT 'is temporary' FROM pg_catalog.pg_class c WHERE c.oid = {id} AND c.relpersistence = 't' \
             UNION ALL SELECT 'is of a composite type' FROM pg_catalog.pg_class c WHERE c.oid = {id} AND c.reloftype <> 0 \
             UNION ALL SELECT 'has row security' FROM pg_catalog.pg_class c WHERE c.oid = {id} AND (c.relrowsecurity \
                 OR c.relforcerowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)) \
             UNION ALL SELECT 'is, or one of its indexes is, in a tablespace of its own' FROM pg_catalog.pg_class c \
                 WHERE (c.oid = {id} OR c.oid IN (SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = {id})) \
                   AND c.reltablespace <> 0 \
             UNION ALL SELECT 'takes part in inheritance' WHERE EXISTS (SELECT FROM pg_catalog.pg_inherits i \
                 WHERE i.inhrelid = {id} OR i.inhparent = {id}) \
             UNION ALL SELECT 'has trigger \"' || t.tgname || '\"' FROM pg_catalog.pg_trigger t \
                 WHERE t.tgrelid = {id} AND NOT t.tgisinternal \
             UNION ALL SELECT 'has rule \"' || r.rulename || '\"' FROM pg_catalog.pg_rewrite r WHERE r.ev_class = {id} \
             UNION ALL SELECT 'has an index that is not valid: \"' || c.relname || '\"' FROM pg_catalog.pg_index i \
                 JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = {id} AND NOT i.indisvalid \
             UNION ALL SELECT 'has a security label' WHERE EXISTS (SELECT FROM pg_catalog.pg_seclabel l \
                 WHERE l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND l.objoid = {id}) \
             UNION ALL SELECT 'is in publication \"' || p.pubname || '\"' FROM pg_catalog.pg_publication_rel r \
                 JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = {id} \
             UNION ALL SELECT DISTINCT 'is read by view \"' || v.relname || '\"' FROM pg_catalog.pg_depend d \
                 JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid JOIN pg_catalog.pg_class v ON v.oid = r.ev_class \
                 WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
                   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = {id} AND v.oid <> {id} \
             UNION ALL SELECT DISTINCT 'is named by function ' || p.proname || '() of trigger \"' || t.tgname || '\"' \
                 FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
                 WHERE {user} AND NOT t.tgisinternal AND t.tgrelid <> {id} AND p.prosrc ~* {mentions} \
             UNION ALL SELECT DISTINCT 'has a row type of which ' \
                 || pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) || ' is made' FROM pg_catalog.pg_depend d \
                 WHERE d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.deptype <> 'i' \
                   AND d.refobjid IN (SELECT r.oid FROM pg_catalog.pg_type r WHERE r.typrelid = {id} \
                     UNION ALL SELECT r.typarray FROM pg_catalog.pg_type r WHERE r.typrelid = {id}) \
             UNION ALL SELECT 'is named by procedure ' || p.proname || '()' FROM pg_catalog.pg_proc p \
                 JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
                 WHERE {user} AND p.prokind = 'p' AND (p.prosrc ~* {mentions} OR EXISTS (SELECT FROM pg_catalog.pg_depend d \
                   WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid \
                     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = {id}))"
        );
        self.definition.obstacles = self.texts(&sql).await?;
        Ok(())
    }

    /// CREATE TABLE, with its columns.
    async fn relation(&mut self) -> Result<(), Fault> {
        let id = self.id.clone();
        let rows = self
            .rows(&format!(
                "SELECT CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, coalesce(am.amname, 'heap'), \
                   pg_catalog.array_to_string(c.reloptions || (SELECT pg_catalog.array_agg('toast.' || o ORDER BY o) \
                     FROM pg_catalog.pg_class x, pg_catalog.unnest(x.reloptions) o WHERE x.oid = c.reltoastrelid), ', '), \
                   pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)), GREATEST(c.reltuples, 0)::bigint \
                 FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam WHERE c.oid = {id}"
            ))
            .await?;
        let row = rows.first().ok_or_else(unreadable)?;
        let (kind, method, options) =
            (text(row, 0)?.to_owned(), text(row, 1)?.to_owned(), row.get(2).cloned().flatten());
        let owner = text(row, 3)?.to_owned();
        self.definition.estimate = text(row, 4)?.parse().map_err(|_| unreadable())?;
        self.sequences(&owner).await?;
        let columns = self
            .texts(&format!(
                "SELECT pg_catalog.format('%I %s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)) \
                   || CASE WHEN a.attcollation <> t.typcollation THEN pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname) \
                        ELSE '' END \
                   || CASE a.attgenerated WHEN 's' THEN pg_catalog.format(' GENERATED ALWAYS AS (%s) STORED', \
                          pg_catalog.pg_get_expr(d.adbin, d.adrelid)) \
                        WHEN 'v' THEN pg_catalog.format(' GENERATED ALWAYS AS (%s) VIRTUAL', pg_catalog.pg_get_expr(d.adbin, d.adrelid)) \
                        ELSE '' END \
                   || CASE WHEN a.attidentity <> '' THEN (SELECT pg_catalog.format(' GENERATED %s AS IDENTITY (SEQUENCE NAME %I.%I %s)', \
                          CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, sn.nspname, s.relname, {SEQUENCE}) \
                        FROM pg_catalog.pg_depend p JOIN pg_catalog.pg_class s ON s.oid = p.objid AND s.relkind = 'S' \
                          JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace \
                          JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid \
                        WHERE p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.refclassid = p.classid \
                          AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype = 'i') ELSE '' END \
                   || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END \
                 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
                   LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                   LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation \
                   LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace \
                 WHERE a.attrelid = {id} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
            ))
            .await?;
        let with = options.filter(|options| !options.is_empty()).map(|options| format!(" WITH ({options})"));
        let table = self.table.clone();
        self.definition.statements.push(format!(
            "CREATE {kind}TABLE {table} ({}) USING {}{}",
            columns.join(", "),
            quote_identifier(&method),
            with.unwrap_or_default()
        ));
        self.definition.statements.push(format!("ALTER TABLE {table} OWNER TO {owner}"));
        Ok(())
    }

    /// Sequences that its defaults take values of.
    async fn sequences(&mut self, owner: &str) -> Result<(), Fault> {
        let id = self.id.clone();
        let rows = self
            .rows(&format!(
                "SELECT DISTINCT pg_catalog.format('%I.%I', sn.nspname, s.relname), pg_catalog.format_type(q.seqtypid, NULL), {SEQUENCE}, \
                   o.refobjid IS NOT NULL \
                 FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_depend p ON p.objid = d.oid \
                     AND p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass \
                     AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                   JOIN pg_catalog.pg_class s ON s.oid = p.refobjid AND s.relkind = 'S' \
                   JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace \
                   JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid \
                   LEFT JOIN pg_catalog.pg_depend o ON o.classid = p.refclassid AND o.objid = s.oid AND o.deptype = 'a' \
                     AND o.refclassid = p.refclassid AND o.refobjid = {id} \
                 WHERE d.adrelid = {id} ORDER BY 1"
            ))
            .await?;
        for row in &rows {
            let (name, kind, options) = (text(row, 0)?, text(row, 1)?, text(row, 2)?);
            self.definition.statements.push(format!("CREATE SEQUENCE IF NOT EXISTS {name} AS {kind} {options}"));
            if text(row, 3)? == "t" {
                self.definition.statements.push(format!("ALTER SEQUENCE {name} OWNER TO {owner}"));
            }
        }
        Ok(())
    }

    /// What is said of single columns, behind CREATE TABLE.
    async fn columns(&mut self) -> Result<(), Fault> {
        let (id, table) = (self.id.clone(), quote_literal(&self.table));
        let of = "pg_catalog.pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid =";
        self.add(&format!(
            "SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', {table}, a.attname, \
               pg_catalog.pg_get_expr(d.adbin, d.adrelid)) FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a \
               ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = {id} AND a.attgenerated = '' ORDER BY a.attnum"
        ))
        .await?;
        self.add(&format!(
            "SELECT pg_catalog.format('ALTER SEQUENCE %I.%I OWNED BY %s.%I', sn.nspname, s.relname, {table}, a.attname) \
             FROM pg_catalog.pg_depend o JOIN pg_catalog.pg_class s ON s.oid = o.objid AND s.relkind = 'S' \
               JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid \
             WHERE o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.refclassid = o.classid AND o.deptype = 'a' \
               AND o.refobjid = {id} ORDER BY 1"
        ))
        .await?;
        self.add(&format!(
            "SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE %s', {table}, a.attname, \
               CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END) \
             FROM {of} {id} AND a.attstorage <> (SELECT t.typstorage FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid) ORDER BY a.attnum"
        ))
        .await?;
        self.add(&format!(
            "SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET COMPRESSION %s', {table}, a.attname, \
               CASE pg_catalog.to_jsonb(a)->>'attcompression' WHEN 'p' THEN 'pglz' ELSE 'lz4' END) \
             FROM {of} {id} AND coalesce(pg_catalog.to_jsonb(a)->>'attcompression', '') <> '' ORDER BY a.attnum"
        ))
        .await?;
        self.add(&format!(
            "SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', {table}, a.attname, a.attstattarget) \
             FROM {of} {id} AND a.attstattarget >= 0 ORDER BY a.attnum"
        ))
        .await?;
        self.add(&format!(
            "SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', {table}, a.attname, a.said) FROM \
               (SELECT a.attname, a.attnum, (SELECT pg_catalog.string_agg(o, ', ') FROM pg_catalog.unnest(a.attoptions) o \
                 WHERE NOT pg_catalog.starts_with(o, '{STAMP}')) AS said FROM {of} {id}) a \
             WHERE a.said IS NOT NULL ORDER BY a.attnum"
        ))
        .await?;
        let rows = self
            .rows(&format!(
                "SELECT a.attname, a.atttypid, t.typtype = 'b' AND a.atttypid < 16384, coalesce(co.collisdeterministic, true), \
                   pg_catalog.format_type(a.atttypid, NULL) \
                 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
                   LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation \
                 WHERE a.attrelid = {id} AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"
            ))
            .await?;
        for row in &rows {
            self.definition.columns.push(Column {
                name: text(row, 0)?.to_owned(),
                type_oid: text(row, 1)?.parse().map_err(|_| unreadable())?,
                portable: text(row, 2)? == "t",
                deterministic: text(row, 3)? == "t",
                type_name: text(row, 4)?.to_owned(),
            });
        }
        Ok(())
    }

    async fn constraints(&mut self) -> Result<(), Fault> {
        let (id, table) = (self.id.clone(), quote_literal(&self.table));
        self.add(&format!(
            "SELECT pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', {table}, o.conname, pg_catalog.pg_get_constraintdef(o.oid)) \
             FROM pg_catalog.pg_constraint o WHERE o.conrelid = {id} AND o.contype IN ('c', 'p', 'u', 'x') \
             ORDER BY pg_catalog.array_position(ARRAY['c', 'p', 'u', 'x'], o.contype::text), o.conname"
        ))
        .await?;
        self.add(&format!(
            "SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i \
               JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = {id} \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o WHERE o.conindid = i.indexrelid AND o.conrelid = {id}) \
             ORDER BY c.relname"
        ))
        .await?;
        self.add(&format!(
            "SELECT pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', {table}, o.conname, pg_catalog.pg_get_constraintdef(o.oid)) \
             FROM pg_catalog.pg_constraint o WHERE o.conrelid = {id} AND o.contype = 'f' ORDER BY o.conname"
        ))
        .await?;
        let rows = self
            .rows(&format!(
                "SELECT c.relname, i.indisexclusion, (SELECT pg_catalog.string_agg(a.attname, E'\\x01' ORDER BY k.at) \
                   FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k(num, at) \
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = {id} AND a.attnum = k.num WHERE k.at <= i.indnkeyatts) \
                 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
                 WHERE i.indrelid = {id} AND (i.indisunique OR i.indisexclusion) ORDER BY 1"
            ))
            .await?;
        for row in &rows {
            self.definition.uniques.push(Unique {
                name: text(row, 0)?.to_owned(),
                exclusion: text(row, 1)? == "t",
                columns: list(row, 2),
            });
        }
        let names = |relation: &str, keys: &str| {
            format!(
                "(SELECT pg_catalog.string_agg(a.attname, E'\\x01' ORDER BY k.at) FROM pg_catalog.unnest({keys}) WITH ORDINALITY k(num, at) \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = {relation} AND a.attnum = k.num)"
            )
        };
        let rows = self
            .rows(&format!(
                "SELECT o.conname, {}, n.nspname, c.relname, {} FROM pg_catalog.pg_constraint o \
                   JOIN pg_catalog.pg_class c ON c.oid = o.confrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE o.conrelid = {id} AND o.contype = 'f' ORDER BY 1",
                names("o.conrelid", "o.conkey"),
                names("o.confrelid", "o.confkey")
            ))
            .await?;
        for row in &rows {
            self.definition.foreign_keys.push(ForeignKey {
                name: text(row, 0)?.to_owned(),
                columns: list(row, 1),
                target: QualifiedName::new(text(row, 2)?, text(row, 3)?),
                target_columns: list(row, 4),
            });
        }
        let rows = self
            .rows(&format!(
                "SELECT DISTINCT n.nspname, c.relname FROM pg_catalog.pg_constraint o \
                   JOIN pg_catalog.pg_class c ON c.oid = o.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE o.confrelid = {id} AND o.contype = 'f' AND o.conrelid <> {id} ORDER BY 1, 2"
            ))
            .await?;
        for row in &rows {
            self.definition.referred_by.push(QualifiedName::new(text(row, 0)?, text(row, 1)?));
        }
        Ok(())
    }

    /// Statistics, identity in replication, privileges and comments.
    async fn rest(&mut self) -> Result<(), Fault> {
        let (id, table) = (self.id.clone(), quote_literal(&self.table));
        self.add(&format!(
            "SELECT pg_catalog.pg_get_statisticsobjdef(s.oid) FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = {id} ORDER BY s.stxname"
        ))
        .await?;
        self.add(&format!(
            "SELECT pg_catalog.format('ALTER TABLE %s CLUSTER ON %I', {table}, c.relname) FROM pg_catalog.pg_index i \
               JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = {id} AND i.indisclustered \
             UNION ALL SELECT pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY ', {table}) || CASE c.relreplident WHEN 'f' THEN 'FULL' \
               WHEN 'n' THEN 'NOTHING' ELSE (SELECT pg_catalog.format('USING INDEX %I', x.relname) FROM pg_catalog.pg_index i \
                 JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = {id} AND i.indisreplident) END \
               FROM pg_catalog.pg_class c WHERE c.oid = {id} AND c.relreplident <> 'd'"
        ))
        .await?;
        // The owner has its own from the start, unless they were taken away.
        let granted = "CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END \
             || CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END";
        self.add(&format!(
            "SELECT DISTINCT pg_catalog.format('GRANT %s ON TABLE %s TO ', g.privilege_type, {table}) || {granted} \
               FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) g WHERE c.oid = {id} AND g.grantee <> c.relowner \
             UNION ALL SELECT DISTINCT pg_catalog.format('GRANT %s (%I) ON TABLE %s TO ', g.privilege_type, a.attname, {table}) || {granted} \
               FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid, pg_catalog.aclexplode(a.attacl) g \
               WHERE a.attrelid = {id} AND NOT a.attisdropped \
             UNION ALL SELECT pg_catalog.format('REVOKE %s ON TABLE %s FROM %I', d.privilege_type, {table}, \
                 pg_catalog.pg_get_userbyid(c.relowner)) \
               FROM pg_catalog.pg_class c, pg_catalog.aclexplode(pg_catalog.acldefault('r', c.relowner)) d \
               WHERE c.oid = {id} AND c.relacl IS NOT NULL AND d.grantee = c.relowner AND NOT EXISTS \
                 (SELECT FROM pg_catalog.aclexplode(c.relacl) g WHERE g.grantee = c.relowner AND g.privilege_type = d.privilege_type) \
             ORDER BY 1"
        ))
        .await?;
        self.add(&format!(
            "SELECT pg_catalog.format('COMMENT ON TABLE %s IS %L', {table}, d.description) FROM pg_catalog.pg_description d \
               WHERE d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objoid = {id} AND d.objsubid = 0 \
             UNION ALL SELECT pg_catalog.format('COMMENT ON COLUMN %s.%I IS %L', {table}, a.attname, d.description) \
               FROM pg_catalog.pg_description d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid \
               WHERE d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objoid = {id} \
             UNION ALL SELECT pg_catalog.format('COMMENT ON CONSTRAINT %I ON %s IS %L', o.conname, {table}, d.description) \
               FROM pg_catalog.pg_description d JOIN pg_catalog.pg_constraint o ON o.oid = d.objoid \
               WHERE d.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND o.conrelid = {id} \
             UNION ALL SELECT pg_catalog.format('COMMENT ON INDEX %I.%I IS %L', n.nspname, c.relname, d.description) \
               FROM pg_catalog.pg_description d JOIN pg_catalog.pg_index i ON i.indexrelid = d.objoid \
               JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.indrelid = {id} ORDER BY 1"
        ))
        .await
    }
}

fn text(row: &Row, at: usize) -> Result<&str, Fault> {
    row.get(at).and_then(Option::as_deref).ok_or_else(unreadable)
}

fn list(row: &Row, at: usize) -> Vec<String> {
    let text = row.get(at).and_then(Option::as_deref);
    text.map_or_else(Vec::new, |text| text.split('\u{1}').map(str::to_owned).collect())
}

fn unreadable() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "the shard's catalog answered in a form that is not understood")
}

/// A name in a regular expression.
fn escape(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_alphanumeric() || c == '_' { vec![c] } else { vec!['\\', c] }).collect()
}
