//! Reads the code that users have tied to tables (triggers, rules, policies, checks, defaults), and the functions that it calls.

use std::collections::{HashMap, HashSet};

use crate::backend::Backend;
use crate::backend::settings::quote_literal;
use crate::catalog::effects::{Attached, Body, Code, Effects, Hook, Uncalled, When};
use crate::catalog::source::{Mentions, Text, mentions};
use crate::catalog::{RelationKind, Table};
use crate::control::catalog::{is_safe, text};
use crate::fault::Fault;
use crate::ids::QualifiedName;

/// Triggers; the last column tells those that may change the row that is about to be written (`pg_trigger.h`). Postgres's own and the router's are left out.
const TRIGGERS: &str = "SELECT DISTINCT t.tgrelid, pn.nspname, p.proname, \
       CASE WHEN t.tgqual IS NOT NULL THEN pg_catalog.pg_get_triggerdef(t.oid) END, t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 \
     FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace \
     WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND pn.nspname NOT IN ('pgloom', 'pg_catalog') AND FILTER ORDER BY 1, 2, 3, 4, 5";

/// Conditions are evaluated wherever the planner likes: no expression may fail for rows that another condition leaves out.
///
/// Table, when it runs (`w`ritten, `r`ead, `d`efault, `D`efault of a type), what it is in words, of which name, and its text.
const EXPRESSIONS: &str = "WITH RECURSIVE made (attrelid, attnum, oid) AS ( \
       SELECT a.attrelid, a.attnum, a.atttypid FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384 AND c.relkind IN ('r', 'p', 'f') AND FILTER \
       UNION SELECT m.attrelid, m.attnum, x.oid FROM made m JOIN pg_catalog.pg_type t ON t.oid = m.oid CROSS JOIN LATERAL ( \
         SELECT t.typbasetype UNION ALL SELECT t.typelem \
         UNION ALL SELECT f.atttypid FROM pg_catalog.pg_attribute f WHERE f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped \
         UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid) x (oid) WHERE x.oid >= 16384), \
     code (relation, runs, label, name, text) AS ( \
       SELECT p.polrelid, 'r', 'policy', p.polname, pg_catalog.pg_get_expr(p.polqual, p.polrelid) FROM pg_catalog.pg_policy p \
         WHERE p.polcmd IN ('r', '*') \
       UNION ALL SELECT p.polrelid, 'w', 'policy', p.polname, pg_catalog.concat_ws(' ; ', pg_catalog.pg_get_expr(p.polqual, p.polrelid), \
           pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) FROM pg_catalog.pg_policy p \
       UNION ALL SELECT k.conrelid, 'w', 'check', k.conname, pg_catalog.pg_get_expr(k.conbin, k.conrelid) FROM pg_catalog.pg_constraint k \
         WHERE k.contype = 'c' AND k.conrelid <> 0 \
       UNION ALL SELECT d.adrelid, CASE WHEN a.attgenerated <> '' THEN 'w' ELSE 'd' END, \
           CASE WHEN a.attgenerated <> '' THEN 'generated column' ELSE 'default of column' END, a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid) \
         FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
       UNION ALL SELECT m.attrelid, 'w', 'column of type', t.typname, \
           CASE WHEN k.contypid <> 0 THEN pg_catalog.pg_get_expr(k.conbin, 0) END \
         FROM made m JOIN pg_catalog.pg_constraint k ON k.contypid = m.oid JOIN pg_catalog.pg_type t ON t.oid = m.oid WHERE k.contype = 'c' \
       UNION ALL SELECT m.attrelid, 'D', 'default of column', a.attname, pg_catalog.pg_get_expr(t.typdefaultbin, 0) \
         FROM made m JOIN pg_catalog.pg_attribute a ON a.attrelid = m.attrelid AND a.attnum = m.attnum \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.oid = m.oid WHERE NOT a.atthasdef AND t.typdefaultbin IS NOT NULL \
       UNION ALL SELECT i.indrelid, 'w', 'index', x.relname, pg_catalog.concat_ws(' ; ', pg_catalog.pg_get_expr(i.indexprs, i.indrelid), \
           pg_catalog.pg_get_expr(i.indpred, i.indrelid)) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
         WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL \
       UNION ALL SELECT r.ev_class, 'w', 'rule', r.rulename, pg_catalog.pg_get_ruledef(r.oid) FROM pg_catalog.pg_rewrite r \
         WHERE r.rulename <> '_RETURN' AND r.ev_enabled <> 'D') \
     SELECT DISTINCT k.relation, k.runs, k.label, k.name, k.text FROM code k JOIN pg_catalog.pg_class c ON c.oid = k.relation \
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE k.text IS NOT NULL AND (k.label <> 'policy' OR c.relrowsecurity) AND FILTER ORDER BY 1, 2, 3, 4, 5";

/// Foreign keys that carry a change on: the table that they point to, and the one that they are of.
const CASCADES: &str = "SELECT DISTINCT k.confrelid, k.conrelid FROM pg_catalog.pg_constraint k \
     JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')) AND FILTER";

/// Functions of some names. An aggregate is what it is made of; what has no text of its own is what Postgres prints.
const FUNCTIONS: &str = "SELECT n.nspname, p.proname, \
       CASE WHEN p.prokind = 'a' OR l.lanname IN ('sql', 'plpgsql') THEN 't' WHEN l.lanname = 'c' AND (RUNS_SQL) THEN 'r' WHEN l.lanname IN ('c', 'internal') THEN 'c' ELSE l.lanname END, \
       p.provolatile = 'i', CASE WHEN p.prokind = 'a' THEN (SELECT pg_catalog.concat_ws('() ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn, \
           a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn, (SELECT o.oprcode FROM pg_catalog.pg_operator o WHERE o.oid = a.aggsortop)) || '()' \
           FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid = p.oid) \
         WHEN p.prosrc = '' AND l.lanname = 'sql' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END, \
       COALESCE(pg_catalog.pg_get_expr(p.proargdefaults, 0), ''), \
       (SELECT pg_catalog.string_agg(t.typname, E'\\x01') FROM pg_catalog.pg_type t WHERE t.oid >= 16384 \
          AND (t.oid = p.prorettype OR t.oid = ANY (p.proargtypes) OR t.oid = ANY (p.proallargtypes))) \
     FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
     WHERE p.proname IN (NAMES) AND n.nspname <> 'pgloom' AND FILTER";

/// Of functions in C: they run SQL, or look at a table that they get by name.
pub(super) const RUNS_SQL: &str = "p.proname IN ('autoinc', 'check_primary_key', 'check_foreign_key', 'connectby', 'xpath_table', 'pgrowlocks') \
     OR p.proname LIKE 'crosstab%' OR p.proname LIKE 'dblink%' OR p.proname LIKE 'pgstat%' \
     OR 'pg_catalog.regclass'::pg_catalog.regtype = ANY (p.proargtypes)";

/// Functions in a language that is read, of which Postgres believes that they read no table. It says so of every aggregate.
const IMMUTABLE: &str = "SELECT n.nspname, p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
       JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
     WHERE p.provolatile = 'i' AND (p.prokind = 'f' AND l.lanname IN ('sql', 'plpgsql') OR p.prokind = 'a') AND n.nspname <> 'pgloom' AND FILTER";

/// What code of users does that nobody sees in a statement.
pub(super) struct Unasked {
    /// Of the tables and views whose rows set it off.
    pub effects: Vec<(QualifiedName, Effects)>,
    /// Functions that are declared immutable, and read these tables; `None`: others that nobody knows, or write.
    pub readers: Vec<(QualifiedName, Option<Vec<QualifiedName>>)>,
}

/// What is read of one shard. `tables` by their OID.
pub(super) struct Reading<'a> {
    pub server: &'a mut Backend,
    pub filter: &'a str,
    pub tables: &'a HashMap<String, Table>,
    pub placed: HashSet<Box<str>>,
    /// Whether users have made a function of this name.
    pub is_function: &'a (dyn Fn(&str) -> bool + Sync),
    pub safe: &'a [QualifiedName],
    pub uncalled: &'a Uncalled,
    /// Whether it changes settings for the rest of the session.
    pub sets: &'a (dyn Fn(&QualifiedName) -> bool + Sync),
}

impl Reading<'_> {
    /// What the code of each table does, and what functions do that are declared immutable.
    pub async fn unasked(self) -> Result<Unasked, Fault> {
        let Reading { server, filter, tables, placed, is_function, safe, uncalled, sets } = self;
        let mut attached = Attached { uncalled: uncalled.clone(), ..Attached::new(tables.values(), placed) };
        let name = |oid: &str| tables.get(oid).map(|table| table.name.clone());
        for row in server.query(&TRIGGERS.replace("FILTER", filter)).await? {
            let Some(table) = name(text(&row, 0)?) else { continue };
            let function = QualifiedName::new(text(&row, 1)?, text(&row, 2)?);
            let root: Box<str> = format!("trigger function {}()", function.name).into();
            let changes = text(&row, 4)? == "t";
            let hook = |code| Hook {
                when: When::Written,
                root: root.clone(),
                code,
                inherited: true,
                kept: true,
                calls_seen: false,
                changes,
            };
            let hooks = attached.hooks.entry(table).or_default();
            if let Some(condition) = row.get(3).and_then(Option::as_deref).and_then(condition) {
                hooks.push(hook(Code::Expression(mentions(condition, Text::Printed))));
            }
            hooks.push(hook(Code::Function(function)));
        }
        for row in server.query(&EXPRESSIONS.replace("FILTER", filter)).await? {
            let Some(table) = name(text(&row, 0)?) else { continue };
            let (runs, label, of) = (text(&row, 1)?, text(&row, 2)?, text(&row, 3)?);
            let when = match runs {
                "r" => When::Read,
                "d" | "D" => When::Left(of.into()),
                _ => When::Written,
            };
            let hook = Hook {
                when,
                root: format!("{label} \"{of}\"").into(),
                code: Code::Expression(mentions(text(&row, 4)?, Text::Printed)),
                inherited: label != "policy" && label != "rule",
                kept: runs == "D",
                calls_seen: runs == "d",
                changes: false,
            };
            attached.hooks.entry(table).or_default().push(hook);
        }
        let mut immutable = Vec::new();
        for row in server.query(&IMMUTABLE.replace("FILTER", filter)).await? {
            let function = QualifiedName::new(text(&row, 0)?, text(&row, 1)?);
            immutable.extend(Some(function).filter(|function| !is_safe(safe, &function.schema, &function.name)));
        }
        if attached.hooks.is_empty() && immutable.is_empty() {
            return Ok(Unasked { effects: Vec::new(), readers: Vec::new() });
        }
        for row in server.query(&CASCADES.replace("FILTER", filter)).await? {
            if let (Some(referenced), Some(table)) = (name(text(&row, 0)?), name(text(&row, 1)?)) {
                attached.cascades.entry(referenced).or_default().push(table);
            }
        }
        for view in tables.values().filter(|table| table.kind == RelationKind::View) {
            let named = view.definition.as_deref().map(|definition| mentions(definition, Text::Printed));
            attached.views.insert(view.name.clone(), named.unwrap_or_default());
        }
        let known = Known { is_function, safe, sets };
        read_functions(server, filter, &mut attached, known, &immutable).await?;
        let readers = immutable.into_iter().map(|function| (attached.reads(&function), function));
        let readers = readers.filter(|(reads, _)| reads.as_ref().is_none_or(|tables| !tables.is_empty()));
        let readers = readers.map(|(reads, function)| (function, reads)).collect();
        Ok(Unasked { effects: attached.effects(), readers })
    }
}

/// What is known of functions before their code is read.
struct Known<'a> {
    is_function: &'a (dyn Fn(&str) -> bool + Sync),
    safe: &'a [QualifiedName],
    sets: &'a (dyn Fn(&QualifiedName) -> bool + Sync),
}

/// The functions that the code calls, the immutable ones, and those that they call.
async fn read_functions(
    server: &mut Backend,
    filter: &str,
    attached: &mut Attached<'_>,
    known: Known<'_>,
    immutable: &[QualifiedName],
) -> Result<(), Fault> {
    let Known { is_function, safe, sets } = known;
    let uncalled = attached.uncalled.clone();
    let called = |mentions: &Mentions| -> HashSet<Box<str>> {
        let called = mentions.names.iter().filter(|mention| mention.called && is_function(&mention.name));
        let unseen = uncalled.of(mentions).map(|function| &function.name);
        called.map(|mention| &mention.name).chain(unseen).cloned().collect()
    };
    let mut wanted: HashSet<Box<str>> = HashSet::new();
    for hook in attached.hooks.values().flatten() {
        match &hook.code {
            Code::Function(function) => drop(wanted.insert(function.name.clone())),
            Code::Expression(mentions) => wanted.extend(called(mentions)),
        }
    }
    wanted.extend(attached.views.values().flat_map(called));
    wanted.extend(immutable.iter().map(|function| function.name.clone()));
    // Each round finds what the functions of the one before call.
    while !wanted.is_empty() {
        let mut names: Vec<String> = wanted.iter().map(|name| quote_literal(name)).collect();
        names.sort_unstable();
        let sql = FUNCTIONS.replace("RUNS_SQL", RUNS_SQL).replace("FILTER", filter).replace("NAMES", &names.join(", "));
        let mut next = HashSet::new();
        for row in server.query(&sql).await? {
            let name = QualifiedName::new(text(&row, 0)?, text(&row, 1)?);
            let (language, immutable, source) = (text(&row, 2)?, text(&row, 3)? == "t", text(&row, 4)?);
            let body = match language {
                _ if is_safe(safe, &name.schema, &name.name) && sets(&name) => Body::Sets,
                _ if is_safe(safe, &name.schema, &name.name) => Body::Harmless,
                "t" => {
                    let mut found = mentions(body_of(source), Text::Body);
                    let defaults = mentions(text(&row, 5)?, Text::Printed);
                    found.names.extend(defaults.names);
                    found.operators.extend(defaults.operators);
                    found.types.extend(defaults.types);
                    let types = row.get(6).and_then(Option::as_deref).into_iter().flat_map(|all| all.split('\u{1}'));
                    found.types.extend(types.map(Into::into));
                    Body::Text(found)
                }
                "r" => Body::Unread("code in C that runs SQL".into()),
                "c" if immutable => Body::Harmless,
                "c" => Body::Varies,
                _ if immutable => Body::Harmless,
                language => Body::Unread(format!("code in {language}").into()),
            };
            if let Body::Text(mentions) = &body {
                next.extend(called(mentions));
            }
            attached.functions.entry(name.name.clone()).or_default().push((name, body));
        }
        wanted = next.into_iter().filter(|name| !attached.functions.contains_key(name)).collect();
    }
    Ok(())
}

/// The condition of a trigger as Postgres prints it.
fn condition(definition: &str) -> Option<&str> {
    let (_, behind) = definition.split_once(" WHEN (")?;
    behind.rsplit_once(" EXECUTE ").map(|(condition, _)| condition)
}

/// Of a function with a body in SQL as Postgres prints it: what is behind its declaration.
fn body_of(source: &str) -> &str {
    if !source.starts_with("CREATE OR REPLACE ") {
        return source;
    }
    let begins = ["\nBEGIN ATOMIC", "\nRETURN "].iter().filter_map(|begin| source.find(begin)).min();
    begins.and_then(|at| source.get(at..)).unwrap_or(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_cut_out_of_what_postgres_prints() {
        let trigger = "CREATE TRIGGER a BEFORE INSERT ON public.t FOR EACH ROW WHEN ((public.f() > 3)) EXECUTE FUNCTION public.g('x')";
        assert_eq!(condition(trigger), Some("(public.f() > 3))"));
        let function = "CREATE OR REPLACE FUNCTION public.f()\n RETURNS bigint\n LANGUAGE sql\nRETURN ( SELECT 1)\n";
        assert_eq!(body_of(function), "\nRETURN ( SELECT 1)\n");
        assert_eq!(body_of("SELECT 1"), "SELECT 1");
    }
}
