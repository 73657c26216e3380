//! Looks at the servers beside the shards that finish statements: whether what they make of a statement is what the home shard would.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::backend::combiners::{Fitness, INCARNATION};
use crate::backend::settings::quote_literal;
use crate::catalog::Catalog;
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;

/// The first major version that tells versions of a database's collation.
const TELLS_VERSION: u32 = 15;

/// Settings by which a server makes texts of values, or values of texts.
const SETTINGS: &str = "'DateStyle', 'IntervalStyle', 'TimeZone', 'array_nulls', 'backslash_quote', 'bytea_output', \
    'extra_float_digits', 'lc_monetary', 'lc_numeric', 'lc_time', 'max_identifier_length', 'quote_all_identifiers', \
    'standard_conforming_strings', 'timezone_abbreviations', 'transform_null_equals', 'xmlbinary', 'xmloption'";

/// Moments at which zones have changed their rules, and zones that have done so lately: releases of the time zone data differ there.
const ZONES: &str = "'Africa/Cairo', 'Africa/Casablanca', 'Africa/Juba', 'America/Caracas', 'America/Mexico_City', 'America/Sao_Paulo', \
    'Asia/Amman', 'Asia/Beirut', 'Asia/Gaza', 'Asia/Tehran', 'Europe/Istanbul', 'Europe/Moscow', 'Europe/Volgograd', 'Pacific/Apia', \
    'Pacific/Fiji'";

/// What a server says of itself; by name, as an operator would look for it.
type Facts = BTreeMap<String, String>;

/// Looks at every server whose fitness is not known, or at all of them, and notes what it finds. Returns whether all answered.
pub async fn look(database: &Database, all: bool) -> bool {
    let servers = &database.combine;
    let due: Vec<usize> =
        (0..servers.len()).filter(|at| all || matches!(servers.fitness(*at), Fitness::Unknown)).collect();
    if due.is_empty() {
        return true;
    }
    let catalog = std::sync::Arc::clone(&database.cluster.load().catalog);
    let looks = due.iter().map(|at| look_at(database, *at, &catalog));
    let mut answered = true;
    for (at, found) in due.iter().zip(futures::future::join_all(looks).await) {
        let (address, before) = (servers.address(*at), servers.fitness(*at));
        match found {
            Ok(fitness) => {
                match &fitness {
                    Fitness::Unfit(differences) if before != fitness => {
                        let differences = differences.join("; ");
                        tracing::warn!(database = %database.name, server = %address, differences, "combine server not used");
                    }
                    Fitness::Fit { .. } if !matches!(before, Fitness::Fit { .. }) => {
                        tracing::info!(database = %database.name, server = %address, "combine server is fit");
                    }
                    Fitness::Unfit(_) | Fitness::Fit { .. } | Fitness::Unknown => {}
                }
                servers.note(*at, fitness);
            }
            Err(fault) => {
                answered = false;
                if servers.may_warn(*at, Instant::now()) {
                    tracing::warn!(database = %database.name, server = %address, error = %fault, "combine server does not answer");
                }
                servers.doubt(*at);
                servers.skip(*at, Instant::now());
            }
        }
    }
    answered
}

/// One of the servers beside the home shard.
///
/// # Errors
/// One of the two cannot be reached, or refuses to be read.
pub async fn look_at(database: &Database, at: usize, catalog: &Catalog) -> Result<Fitness, Fault> {
    let Some(server) = database.combine.servers().nth(at) else { return Ok(Fitness::Unknown) };
    let home = database.cluster.load().topology.home;
    let (mut home, mut other) = futures::future::try_join(
        super::connect(database, home),
        super::connect_to(database, ShardId::combine(0), server, &database.own),
    )
    .await?;
    let mut names: Vec<&str> = catalog
        .tables
        .values()
        .flat_map(|table| &table.columns)
        .filter_map(|column| column.collation_name.as_deref())
        .filter(|name| !name.is_empty())
        .chain(["C", "POSIX", "default", "ucs_basic"])
        .collect();
    names.sort_unstable();
    names.dedup();
    // Before all else: what is seen later may be newer.
    let incarnation = one(&mut other, INCARNATION).await?;
    let mut differences = differences(&facts(&mut home).await?, &facts(&mut other).await?);
    differences.extend(obstacles(&mut other).await?);
    if !differences.is_empty() {
        return Ok(Fitness::Unfit(differences));
    }
    let (ours, theirs) = (collations(&mut home, &names).await?, collations(&mut other, &names).await?);
    let same = ours.into_iter().filter(|(name, made)| theirs.get(name) == Some(made));
    Ok(Fitness::Fit { collations: same.map(|(name, _)| name.into()).collect(), incarnation: incarnation.into() })
}

/// In what a server differs from the home shard, one line each.
fn differences(home: &Facts, other: &Facts) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = home.keys().chain(other.keys()).collect();
    let told = |facts: &Facts, name: &str| facts.get(name).map_or("none".to_owned(), |value| format!("\"{value}\""));
    names
        .into_iter()
        .filter(|name| home.get(*name) != other.get(*name))
        .map(|name| format!("{name} is {}, on the home shard {}", told(other, name), told(home, name)))
        .collect()
}

async fn facts(server: &mut Backend) -> Result<Facts, Fault> {
    let version: u32 = one(server, "SELECT pg_catalog.current_setting('server_version_num')::int / 10000")
        .await?
        .parse()
        .map_err(|_| unreadable())?;
    let collation_version = match version >= TELLS_VERSION {
        true => "pg_catalog.pg_database_collation_actual_version(d.oid)",
        false => "NULL::text",
    };
    // The columns of these catalogs have other names in other versions.
    let rows = server
        .query(&format!(
            "SELECT 'major version', {version}::text \
             UNION ALL SELECT f.name, f.value FROM (SELECT pg_catalog.to_jsonb(d) AS d, {collation_version} AS version \
                 FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) d, \
               LATERAL (VALUES ('encoding', pg_catalog.getdatabaseencoding()::text), ('locale provider', d.d->>'datlocprovider'), \
                 ('LC_COLLATE', d.d->>'datcollate'), ('LC_CTYPE', d.d->>'datctype'), \
                 ('locale', coalesce(d.d->>'datlocale', d.d->>'daticulocale')), ('ICU rules', d.d->>'daticurules'), \
                 ('collation version', d.version)) f (name, value) \
             UNION ALL SELECT 'version of the C library''s collations', pg_catalog.max(pg_catalog.pg_collation_actual_version(c.oid)) \
               FROM pg_catalog.pg_collation c WHERE c.collprovider = 'c' \
             UNION ALL SELECT 'setting ' || s.name, s.reset_val FROM pg_catalog.pg_settings s WHERE s.name IN ({SETTINGS}) \
             UNION ALL SELECT 'setting ' || pg_catalog.split_part(c.config, '=', 1) || ' of role ' || r.rolname, \
                 pg_catalog.string_agg(c.config, ' ' ORDER BY s.setdatabase) FROM pg_catalog.pg_db_role_setting s \
               JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, pg_catalog.unnest(s.setconfig) c (config) \
               WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) \
                 AND pg_catalog.lower(pg_catalog.split_part(c.config, '=', 1)) IN \
                   (SELECT pg_catalog.lower(n) FROM pg_catalog.unnest(ARRAY[{SETTINGS}]) n) GROUP BY 1 \
             UNION ALL SELECT 'built-in functions that not everybody may call', \
                 pg_catalog.string_agg(p.oid::pg_catalog.regprocedure::text, ', ' ORDER BY p.oid) FROM pg_catalog.pg_proc p \
               WHERE p.oid < 16384 AND NOT pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE') \
             UNION ALL SELECT 'time zone data', pg_catalog.md5(pg_catalog.string_agg( \
                 (pg_catalog.make_timestamp(y, m, 15, 12, 0, 0) AT TIME ZONE z AT TIME ZONE 'UTC')::text, ',' ORDER BY z, y, m)) \
               FROM pg_catalog.unnest(ARRAY[{ZONES}]) z, pg_catalog.generate_series(2008, 2030) y, \
                 pg_catalog.generate_series(1, 12) m"
        ))
        .await?;
    let facts = rows.into_iter().filter_map(|row| {
        let mut row = row.into_iter().flatten();
        Some((row.next()?, row.next()?))
    });
    Ok(facts.collect())
}

/// What a server's database has that could take the place of what is built in.
async fn obstacles(server: &mut Backend) -> Result<Vec<String>, Fault> {
    let of_users = |oid: &str, namespace: &str| {
        format!("{oid} >= 16384 AND {namespace}::pg_catalog.regnamespace::text NOT LIKE 'pg\\_t%'")
    };
    let rows = server
        .query(&format!(
            "SELECT 'it has table ' || c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c \
               WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND {} AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e \
                 WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e') \
             UNION ALL SELECT 'it has type ' || t.oid::pg_catalog.regtype::text FROM pg_catalog.pg_type t \
               WHERE t.typrelid = 0 AND t.typcategory <> 'A' AND {} \
             UNION ALL SELECT 'it has function ' || p.oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc p \
               WHERE {} AND EXISTS (SELECT FROM pg_catalog.pg_proc b WHERE b.oid < 16384 AND b.proname = p.proname) \
             UNION ALL SELECT 'it has operator ' || o.oid::pg_catalog.regoperator::text FROM pg_catalog.pg_operator o WHERE {} \
             UNION ALL SELECT 'it has a cast from ' || castsource::pg_catalog.regtype::text || ' to ' \
               || casttarget::pg_catalog.regtype::text FROM pg_catalog.pg_cast WHERE oid >= 16384 \
             UNION ALL SELECT 'it has conversion ' || conname FROM pg_catalog.pg_conversion WHERE oid >= 16384 \
             UNION ALL SELECT 'the router''s user may not make temporary tables there' \
               WHERE NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY') LIMIT 10",
            of_users("c.oid", "c.relnamespace"),
            of_users("t.oid", "t.typnamespace"),
            of_users("p.oid", "p.pronamespace"),
            of_users("o.oid", "o.oprnamespace"),
        ))
        .await?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

/// Those of these collations in pg_catalog that a server has, each with what it is.
async fn collations(server: &mut Backend, names: &[&str]) -> Result<BTreeMap<String, String>, Fault> {
    let names: Vec<String> = names.iter().map(|name| quote_literal(name)).collect();
    let rows = server
        .query(&format!(
            "SELECT c.collname, pg_catalog.string_agg((pg_catalog.to_jsonb(c) - 'oid' - 'collnamespace' - 'collowner' - 'collversion') \
               ::text || coalesce(pg_catalog.pg_collation_actual_version(c.oid), ''), ' ' ORDER BY c.collencoding) \
             FROM pg_catalog.pg_collation c WHERE c.collname IN ({}) AND c.oid < 16384 \
               AND c.collnamespace = 'pg_catalog'::pg_catalog.regnamespace \
               AND c.collencoding IN (-1, pg_catalog.pg_char_to_encoding(pg_catalog.getdatabaseencoding())) GROUP BY 1",
            names.join(", ")
        ))
        .await?;
    let pairs = rows.into_iter().filter_map(|row| {
        let mut row = row.into_iter().flatten();
        Some((row.next()?, row.next()?))
    });
    Ok(pairs.collect())
}

async fn one(server: &mut Backend, sql: &str) -> Result<String, Fault> {
    let rows = server.query(sql).await?;
    rows.into_iter().flatten().flatten().next().ok_or_else(unreadable)
}

fn unreadable() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "a server's catalog answered in a form that is not understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_or_is_on_one_side_alone_is_told() {
        let facts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Facts>()
        };
        let home = facts(&[("LC_COLLATE", "C.UTF-8"), ("encoding", "UTF8"), ("setting TimeZone of role app", "UTC")]);
        let other = facts(&[("LC_COLLATE", "C"), ("encoding", "UTF8"), ("locale", "de")]);
        assert_eq!(
            differences(&home, &other),
            [
                "LC_COLLATE is \"C\", on the home shard \"C.UTF-8\"",
                "locale is \"de\", on the home shard none",
                "setting TimeZone of role app is none, on the home shard \"UTC\"",
            ]
        );
        assert_eq!(differences(&home, &home), [] as [&str; 0]);
    }
}
