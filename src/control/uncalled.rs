//! Reads which functions of users run where nobody calls them: behind operators, casts and the checks of domains.

use std::collections::{HashMap, HashSet};

use crate::backend::Backend;
use crate::catalog::effects::{SET_CONFIG, Uncalled};
use crate::catalog::{Cast, Operator, Sets, UserFunction, Volatility, code};
use crate::control::catalog::{FIRST_NORMAL_OID, is_safe, number, text};
use crate::fault::Fault;
use crate::ids::QualifiedName;

/// What is made of a domain `c`, or of what is made of it: other domains, arrays, rows, ranges.
const MADE_OF: &str = "CROSS JOIN LATERAL ( \
         SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typbasetype = c.oid OR t.typelem = c.oid \
         UNION ALL SELECT r.reltype FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class r ON r.oid = a.attrelid \
           WHERE a.atttypid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND r.reltype <> 0 \
         UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngsubtype = c.oid) x (oid)";

/// The functions that the checks of domains call, by the domain, and by what is made of it.
fn checked() -> String {
    format!(
        "checked (oid, f) AS ( \
       SELECT k.contypid, CASE WHEN o.oid IS NULL THEN d.refobjid ELSE o.oprcode::pg_catalog.oid END \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_depend d \
           ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = k.oid \
           LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid \
         WHERE k.contypid <> 0 AND (o.oid IS NOT NULL OR d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass) \
       UNION SELECT x.oid, c.f FROM checked c {MADE_OF})"
    )
}

/// All of them, whatever they do, with what runs them.
pub(super) async fn read_uncalled(server: &mut Backend) -> Result<Uncalled, Fault> {
    let checked = checked();
    let sql = format!(
        "WITH RECURSIVE {checked}, used (kind, name, f) AS ( \
           SELECT 'o', o.oprname, o.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator o WHERE o.oid >= {FIRST_NORMAL_OID} \
           UNION SELECT 't', t.typname, c.castfunc FROM pg_catalog.pg_cast c \
             JOIN pg_catalog.pg_type k ON k.oid IN (c.castsource, c.casttarget) JOIN pg_catalog.pg_type t ON t.oid IN (k.oid, k.typarray) \
             WHERE c.oid >= {FIRST_NORMAL_OID} AND t.oid >= {FIRST_NORMAL_OID} \
           UNION SELECT 'e', '', c.castfunc FROM pg_catalog.pg_cast c \
             WHERE c.oid >= {FIRST_NORMAL_OID} AND c.castsource < {FIRST_NORMAL_OID} AND c.casttarget < {FIRST_NORMAL_OID} \
           UNION SELECT 't', t.typname, c.f FROM checked c JOIN pg_catalog.pg_type t ON t.oid = c.oid) \
         SELECT u.kind, u.name, n.nspname, p.proname FROM used u JOIN pg_catalog.pg_proc p ON p.oid = u.f \
           JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
         WHERE p.oid >= {FIRST_NORMAL_OID} AND l.lanname NOT IN ('c', 'internal') ORDER BY 1, 2, 3, 4"
    );
    let mut uncalled = Uncalled::default();
    for row in server.query(&sql).await? {
        let (name, function) = (text(&row, 1)?, QualifiedName::new(text(&row, 2)?, text(&row, 3)?));
        match text(&row, 0)? {
            "o" => uncalled.operators.entry(name.into()).or_default().push(function),
            "t" => uncalled.types.entry(name.into()).or_default().push(function),
            _ => uncalled.everywhere.push(function),
        }
    }
    Ok(uncalled)
}

/// The names of operators and types that run one of these functions.
pub(super) fn names_that_run(uncalled: &Uncalled, functions: &[Box<str>]) -> Vec<Box<str>> {
    let all = uncalled.operators.iter().chain(&uncalled.types);
    let runs = all.filter(|(_, of)| of.iter().any(|function| functions.contains(&function.name)));
    runs.map(|(name, _)| name.clone()).collect()
}

/// The functions in whose texts one of some names is, whatever calls it there. An aggregate calls what it is made of.
pub(super) const CALLERS: &str = "SELECT DISTINCT n.nspname, p.proname \
     FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
     WHERE (l.lanname NOT IN ('c', 'internal') OR p.prokind = 'a') AND pg_catalog.concat_ws(' ', \
       CASE WHEN p.prokind = 'a' THEN (SELECT pg_catalog.concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, \
           a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn) FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid = p.oid) \
         WHEN p.prosrc = '' AND l.lanname = 'sql' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END, \
       pg_catalog.pg_get_expr(p.proargdefaults, 0), \
       (SELECT pg_catalog.string_agg(t.typname, ' ') FROM pg_catalog.pg_type t WHERE t.oid >= 16384 \
          AND (t.oid = p.prorettype OR t.oid = ANY (p.proargtypes) OR t.oid = ANY (p.proallargtypes)))) ~* NAMES";

/// The regular expression that finds one of these names as a word.
pub(super) fn any_of(names: &[Box<str>]) -> String {
    // What is a letter beyond ASCII is said by the locale of the database: under C none is, and no word begins there.
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let one = |name: &Box<str>| match name.chars().all(word) {
        true => format!("\\m{name}\\M"),
        false => {
            name.chars().map(|c| if word(c) || !c.is_ascii() { c.to_string() } else { format!("\\{c}") }).collect()
        }
    };
    names.iter().map(one).collect::<Vec<_>>().join("|")
}

/// What is known of functions.
pub(super) struct Known<'a> {
    pub safe: &'a [QualifiedName],
    /// Those that only say that they are immutable.
    pub liars: &'a HashSet<QualifiedName>,
    /// By schema and name.
    pub sets: &'a (dyn Fn(&str, &str) -> Sets + Sync),
}

impl Known<'_> {
    /// A function, unless nothing can come of it. `volatility`: as it says.
    fn function(&self, schema: &str, name: &str, volatility: &str) -> Option<UserFunction> {
        let sets = (self.sets)(schema, name);
        let volatility = match volatility {
            _ if sets != Sets::Nothing => Volatility::Volatile,
            "i" if !self.liars.contains(&QualifiedName::new(schema, name)) => return None,
            "i" | "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        };
        Some(UserFunction { volatility, declared_safe: is_safe(self.safe, schema, name), sets, callable: true })
    }
}

/// What hides behind operators.
pub(super) async fn read_operators(
    server: &mut Backend,
    known: &Known<'_>,
) -> Result<HashMap<Box<str>, Operator>, Fault> {
    let rows = server
        .query(&format!(
            "SELECT o.oprname, n.nspname, p.proname, p.provolatile \
             FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode \
               JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
             WHERE o.oid >= {FIRST_NORMAL_OID} AND p.oid >= {FIRST_NORMAL_OID} AND l.lanname NOT IN ('c', 'internal') \
             ORDER BY 1, 2, 3"
        ))
        .await?;
    let mut operators: HashMap<Box<str>, Operator> = HashMap::new();
    for row in &rows {
        let (schema, name) = (text(row, 1)?, text(row, 2)?);
        let Some(function) = known.function(schema, name, text(row, 3)?) else { continue };
        let found = Operator { schema: schema.into(), name: name.into(), function };
        operators
            .entry(text(row, 0)?.into())
            .and_modify(|known| {
                let worse = known.function.worse(function);
                let unsafe_one = if known.function.declared_safe { found.clone() } else { known.clone() };
                *known = Operator { function: worse, ..unsafe_one };
            })
            .or_insert(found);
    }
    Ok(operators)
}

/// The same of casts, and of the checks of domains.
pub(super) async fn read_casts(server: &mut Backend, known: &Known<'_>) -> Result<Vec<Cast>, Fault> {
    let checked = checked();
    let sql = format!(
        "WITH RECURSIVE {checked}, used (f, s, t, checks) AS ( \
           SELECT c.castfunc, c.castsource, c.casttarget, false FROM pg_catalog.pg_cast c WHERE c.oid >= {FIRST_NORMAL_OID} \
           UNION SELECT c.f, c.oid, c.oid, true FROM checked c) \
         SELECT n.nspname, p.proname, p.provolatile, s.oid, s.typname, s.typarray, t.oid, t.typname, t.typarray, u.checks \
         FROM used u JOIN pg_catalog.pg_proc p ON p.oid = u.f \
           JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
           JOIN pg_catalog.pg_type s ON s.oid = u.s JOIN pg_catalog.pg_type t ON t.oid = u.t \
         WHERE p.oid >= {FIRST_NORMAL_OID} AND l.lanname NOT IN ('c', 'internal') ORDER BY 10, 4, 7, 1, 2"
    );
    let mut casts = Vec::new();
    for row in &server.query(&sql).await? {
        let (schema, name) = (text(row, 0)?, text(row, 1)?);
        let Some(function) = known.function(schema, name, text(row, 2)?) else { continue };
        let (mut types, mut names) = (Vec::new(), Vec::new());
        for at in [3, 6] {
            let of: u32 = number(row, at)?;
            if of >= FIRST_NORMAL_OID {
                types.extend([of, number(row, at + 2)?].into_iter().filter(|oid| *oid != 0));
                names.push(text(row, at + 1)?.into());
            }
        }
        let function = Operator { schema: schema.into(), name: name.into(), function };
        casts.push(Cast { types, names, checks: text(row, 9)? == "t", function });
    }
    casts.extend(read_own_checks(server).await?);
    Ok(casts)
}

/// The checks of domains that call functions of Postgres's own which leave something in the session: no dependency tells of those.
async fn read_own_checks(server: &mut Backend) -> Result<Vec<Cast>, Fault> {
    let sql = format!(
        "WITH RECURSIVE checked (oid, expression) AS ( \
           SELECT k.contypid, pg_catalog.pg_get_expr(k.conbin, 0) FROM pg_catalog.pg_constraint k \
             WHERE k.contypid >= {FIRST_NORMAL_OID} AND k.contype = 'c' \
           UNION SELECT x.oid, c.expression FROM checked c {MADE_OF}) \
         SELECT c.expression, t.oid, t.typname, t.typarray FROM checked c JOIN pg_catalog.pg_type t ON t.oid = c.oid ORDER BY 2, 1"
    );
    let mut casts = Vec::new();
    for row in &server.query(&sql).await? {
        let sets = code::leaves(text(row, 0)?);
        if sets == Sets::Nothing {
            continue;
        }
        let types = [number(row, 1)?, number(row, 3)?].into_iter().filter(|oid| *oid != 0).collect();
        let name = if sets == Sets::Locks { "pg_advisory_lock" } else { SET_CONFIG };
        let function = UserFunction { volatility: Volatility::Volatile, declared_safe: false, sets, callable: true };
        let function = Operator { schema: "pg_catalog".into(), name: name.into(), function };
        casts.push(Cast { types, names: vec![text(row, 2)?.into()], checks: true, function });
    }
    Ok(casts)
}
