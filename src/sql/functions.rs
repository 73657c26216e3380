//! What routing must know of functions: which give the same answer on every shard, which touch the session, which run SQL.

mod behind;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::catalog::effects::RUNS_SQL;
use crate::catalog::{Sets, UserFunction, Volatility};
use crate::sql::NameScope;
use crate::sql::analyze::PinReason;
use crate::sql::names::is_temporary_schema;
use crate::topology::TableRule;

/// What a function call depends on and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionClass {
    /// Its arguments and the session's settings: the same on every shard.
    Pure,
    /// The clock at the start of the statement or transaction: not the same on every shard.
    Clock,
    /// The state of the server that runs it: catalogs, statistics, its address.
    Server,
    /// Another value at each call, or effects.
    Volatile,
    /// Advisory locks, settings, notifications, large objects: what exists once, on the home shard.
    Home(Option<PinReason>),
    /// The same of a sequence, which lies where its schema lies.
    Sequence(Option<PinReason>),
    /// Runs SQL that it gets as text or reads tables that it gets by name.
    RunsSql,
    Aggregate,
    /// Only with OVER.
    Window,
    User(UserFunction),
    UserAggregate(UserFunction),
    Unknown,
}

// Names as of PostgreSQL 15 (pg_proc, without the functions behind operators, casts and index methods), and those that 16 to 18 add.
const PURE: &str = "abs acldefault acos acosd acosh area array_append array_cat array_dims array_fill array_length array_lower \
    array_ndims array_position array_positions array_prepend array_remove array_replace array_reverse array_sort \
    array_to_tsvector array_upper ascii asin asind asinh atan atan2 atan2d atand atanh bit bit_count bit_length bool box broadcast \
    btrim cardinality casefold cbrt ceil ceiling center char char_length character_length chr cidr circle coalesce cos cosd cosh \
    cot cotd crc32 crc32c date_bin datemultirange daterange decode degrees diagonal diameter div encode erf erfc exp factorial \
    family float4 float8 floor gamma gcd generate_subscripts get_bit get_byte greatest height host hostmask inet_merge \
    inet_same_family initcap int2 int4 int4multirange int4range int8 int8multirange int8range interval is_normalized isclosed \
    isempty isfinite ishorizontal isopen isparallel isperp isvertical json_array json_array_elements json_array_elements_text \
    json_array_length json_each json_each_text json_extract_path json_extract_path_text json_object json_object_keys \
    json_strip_nulls json_typeof jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_each jsonb_each_text \
    jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_keys jsonb_path_exists jsonb_path_match \
    jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls \
    jsonb_typeof justify_days justify_hours justify_interval lcm least left lgamma line ln log log10 lower lower_inc lower_inf \
    lpad lseg ltrim make_date make_interval make_time make_timestamp masklen md5 min_scale mod multirange netmask network \
    normalize npoints nullif num_nonnulls num_nulls nummultirange numnode numrange octet_length overlay parse_ident path pclose \
    pg_size_bytes pg_size_pretty pi point polygon popen position pow power querytree quote_ident radians radius range_merge \
    regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table \
    regexp_substr repeat replace reverse right round row rpad rtrim scale set_bit set_byte set_masklen setweight sha224 sha256 \
    sha384 sha512 sign sin sind sinh slope split_part sqrt starts_with string_to_array string_to_table strip strpos substr \
    substring tan tand tanh text to_ascii to_bin to_hex to_oct translate trim trim_array trim_scale trunc ts_delete ts_filter \
    ts_rank ts_rank_cd tsmultirange tsquery_phrase tsrange tstzmultirange tstzrange tsvector_to_array unicode_assigned unistr \
    unnest upper upper_inc upper_inf uuid_extract_timestamp uuid_extract_version varbit varchar width width_bucket xml_is_well_formed_content \
    xml_is_well_formed_document xmlattributes xmlcomment xmlconcat xmlexists xmlforest xmlroot xmlserialize xpath xpath_exists";

/// Stable, but only by the session's settings, which the router repeats on every shard.
const BY_SETTINGS: &str = "array_to_json array_to_string concat concat_ws convert convert_from convert_to current_role \
    current_schema current_schemas current_user date date_add date_part date_subtract date_trunc enum_first \
    enum_last enum_range extract format generate_series get_current_ts_config json_array_elements json_build_array \
    json_build_object json_populate_record json_populate_recordset json_to_record json_to_recordset json_to_tsvector \
    jsonb_build_array jsonb_build_object jsonb_path_exists_tz jsonb_path_match_tz jsonb_path_query_array_tz \
    jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record jsonb_populate_recordset jsonb_to_record \
    jsonb_to_recordset jsonb_to_tsvector length make_timestamptz money numeric overlaps pg_client_encoding pg_collation_for \
    pg_column_compression pg_column_size pg_typeof phraseto_tsquery plainto_tsquery quote_literal quote_nullable row_to_json session_user time timestamp timestamptz \
    timetz timezone to_char to_date to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector ts_headline user \
    websearch_to_tsquery xml xmlelement xmlparse xmlpi";

/// `age` counts from today when it has one argument.
const CLOCK: &str = "age current_date current_time current_timestamp localtime localtimestamp now statement_timestamp \
    transaction_timestamp";

const VOLATILE: &str = "array_sample array_shuffle clock_timestamp gen_random_bytes gen_random_uuid gen_salt pg_sleep \
    pg_sleep_for pg_sleep_until random random_normal timeofday uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 uuidv4 \
    uuidv7";

const SEQUENCE: &str = "nextval setval pg_get_serial_sequence";
const SEQUENCE_STATE: &str = "currval lastval";
const SESSION_LOCK: &str = "pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared";
/// They leave what is told to no other connection.
const OF_SESSION: &str = "pg_replication_origin_session_reset pg_replication_origin_session_setup pg_replication_origin_xact_reset \
    pg_replication_origin_xact_setup";
const HOME: &str = "pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared pg_advisory_xact_lock \
    pg_advisory_xact_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared pg_notify lo_close lo_creat lo_create \
    lo_export lo_from_bytea lo_get lo_import lo_lseek lo_lseek64 lo_open lo_put lo_tell lo_tell64 lo_truncate lo_truncate64 \
    lo_unlink loread lowrite pg_listening_channels";

const AGGREGATES: &str = "any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp \
    cume_dist dense_rank every json_agg json_agg_strict json_arrayagg json_object_agg json_object_agg_strict \
    json_object_agg_unique json_objectagg jsonb_agg jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict \
    jsonb_object_agg_unique max min mode percent_rank percentile_cont percentile_disc range_agg range_intersect_agg rank regr_avgx \
    regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp string_agg \
    sum var_pop var_samp variance xmlagg";

const WINDOWS: &str = "first_value lag last_value lead nth_value ntile row_number";

static BUILTIN: LazyLock<HashMap<&'static str, FunctionClass>> = LazyLock::new(|| {
    let lists = [
        (PURE, FunctionClass::Pure),
        (BY_SETTINGS, FunctionClass::Pure),
        (behind::IMMUTABLE, FunctionClass::Pure),
        (behind::BY_SETTINGS, FunctionClass::Pure),
        (CLOCK, FunctionClass::Clock),
        (VOLATILE, FunctionClass::Volatile),
        (SEQUENCE, FunctionClass::Sequence(None)),
        (SEQUENCE_STATE, FunctionClass::Sequence(Some(PinReason::SequenceState))),
        (SESSION_LOCK, FunctionClass::Home(Some(PinReason::AdvisoryLock))),
        (HOME, FunctionClass::Home(None)),
        ("set_config", FunctionClass::Home(Some(PinReason::Setting))),
        (OF_SESSION, FunctionClass::Home(Some(PinReason::Setting))),
        ("setseed", FunctionClass::Home(Some(PinReason::Seed))),
        (RUNS_SQL, FunctionClass::RunsSql),
        (AGGREGATES, FunctionClass::Aggregate),
        (WINDOWS, FunctionClass::Window),
    ];
    let words = |list: &'static str| list.split_ascii_whitespace();
    lists.into_iter().flat_map(|(list, class)| words(list).map(move |name| (name, class))).collect()
});

/// Whether such a function of Postgres's takes an advisory lock, and does nothing else.
pub fn takes_advisory_lock(name: &str) -> bool {
    name.strip_prefix("pg_").map(|name| name.strip_prefix("try_").unwrap_or(name)).is_some_and(|name| {
        let name = name.strip_suffix("_shared").unwrap_or(name);
        name == "advisory_lock" || name == "advisory_xact_lock"
    })
}

/// The class of a function by its (folded) name. `schema`: where the call names one.
pub fn classify(scope: &NameScope<'_>, schema: Option<&str>, name: &str) -> FunctionClass {
    // Ours, on every shard: it reads no table of the user's.
    if schema == Some("pgloom") && name == "unique_id" {
        return FunctionClass::Volatile;
    }
    let of_system = schema.is_some_and(|schema| schema == "pg_catalog" || schema == "information_schema");
    if !of_system {
        match users(scope, schema, name) {
            Some((function, true)) => return FunctionClass::UserAggregate(function),
            Some((function, false)) if schema.is_some() => return FunctionClass::User(function),
            Some((function, false)) => return either(function, builtin(name)),
            // No catalog has it.
            None if schema.is_some_and(is_temporary_schema) => {
                return FunctionClass::User(UserFunction {
                    volatility: Volatility::Volatile,
                    declared_safe: false,
                    sets: Sets::Lasting,
                    callable: true,
                });
            }
            None if schema.is_some() => return FunctionClass::Unknown,
            None => {}
        }
    }
    builtin(name)
}

/// The class of a function of Postgres, or of ours with `pgloom.` before its name.
pub fn builtin(name: &str) -> FunctionClass {
    match BUILTIN.get(name) {
        Some(class) => *class,
        None if name.starts_with("pgloom.") => FunctionClass::Volatile,
        None if reads_server(name) => FunctionClass::Server,
        None => FunctionClass::Unknown,
    }
}

/// A call of a name that Postgres has as well. Which of the two it means is said by the types of its arguments, which nobody knows here: it
/// counts as what is right for both.
fn either(function: UserFunction, builtin: FunctionClass) -> FunctionClass {
    let volatile = UserFunction { volatility: Volatility::Volatile, ..function };
    match builtin {
        // A Postgres that has all the rows finishes the statement, whichever is meant.
        FunctionClass::Aggregate | FunctionClass::Window => FunctionClass::UserAggregate(function),
        FunctionClass::Clock => FunctionClass::User(UserFunction { declared_safe: false, ..volatile }),
        FunctionClass::RunsSql => {
            FunctionClass::User(UserFunction { declared_safe: false, sets: Sets::Lasting, ..volatile })
        }
        FunctionClass::Volatile => FunctionClass::User(volatile),
        FunctionClass::Home(_) | FunctionClass::Sequence(_)
            if function.sets == Sets::Nothing
                && (function.declared_safe || function.volatility == Volatility::Immutable) =>
        {
            builtin
        }
        FunctionClass::Pure
        | FunctionClass::Server
        | FunctionClass::Home(_)
        | FunctionClass::Sequence(_)
        | FunctionClass::User(_)
        | FunctionClass::UserAggregate(_)
        | FunctionClass::Unknown => FunctionClass::User(function),
    }
}

/// What a call of this name does besides, if it means the function of Postgres: what exists once, on one shard, although users have made a
/// function of the name.
pub fn hidden(schema: Option<&str>, name: &str) -> Option<FunctionClass> {
    let class = builtin(name);
    (schema.is_none() && matches!(class, FunctionClass::Home(_) | FunctionClass::Sequence(_))).then_some(class)
}

/// Those that give numbers which `setseed` decides.
const RANDOM: [&str; 4] = ["random", "random_normal", "array_sample", "array_shuffle"];

pub fn is_random(name: &str) -> bool {
    RANDOM.contains(&name)
}

/// Whether a text has the name of one.
pub fn names_random(text: &str) -> bool {
    RANDOM.iter().any(|name| text.contains(name))
}

/// What users have made of this name, the worst of all that a call could mean; and whether one of it is an aggregate.
fn users(scope: &NameScope<'_>, schema: Option<&str>, name: &str) -> Option<(UserFunction, bool)> {
    let mut found: Option<(UserFunction, bool)> = None;
    let mut add = |function: Option<UserFunction>, aggregate: bool| {
        let function = function.filter(|function| function.callable);
        if function.is_none() && !aggregate {
            return;
        }
        // An aggregate's transition function can be anything, unless it is declared safe.
        let one = function.unwrap_or(UserFunction {
            volatility: Volatility::Volatile,
            declared_safe: false,
            sets: Sets::Nothing,
            callable: true,
        });
        found = Some(found.map_or((one, aggregate), |(before, was)| (before.worse(one), was || aggregate)));
    };
    if schema.is_none_or(|schema| scope.topology.place_of_schema(schema).is_none()) {
        let catalog = scope.catalog;
        let aggregate = catalog.aggregates.iter().any(|aggregate| **aggregate == *name);
        add(catalog.functions.get(name).copied(), aggregate);
    }
    for schema in placed_with(scope, schema, name) {
        let Some(schema) = scope.catalog.placed.get(schema) else { continue };
        let function = schema.functions.get(name).map(|function| trusted(scope, *function));
        add(function, schema.aggregates.contains(name));
    }
    found
}

/// The placed schemas in which there is a function of this name that the call can mean.
pub fn placed_with<'a>(scope: &'a NameScope<'_>, schema: Option<&'a str>, name: &str) -> Vec<&'a str> {
    if scope.catalog.placed.is_empty() {
        return Vec::new();
    }
    let has =
        |schema: &&str| scope.catalog.placed.get(*schema).is_some_and(|placed| placed.functions.contains_key(name));
    match schema {
        Some(schema) => Some(schema).into_iter().filter(has).collect(),
        None => scope.placed_path().filter(has).collect(),
    }
}

/// A function of a placed schema runs where all is that it can name of that schema. Beside sharded tables it could read a part of
/// them; it must not write one copy of a reference table.
pub(crate) fn trusted(scope: &NameScope<'_>, function: UserFunction) -> UserFunction {
    let tables = &scope.topology.tables;
    let all_there = tables.values().all(|rule| matches!(rule, TableRule::Reference));
    let all_there = all_there && scope.topology.closed.is_empty();
    let leaves_copies = tables.is_empty() || function.volatility != Volatility::Volatile;
    UserFunction { declared_safe: function.declared_safe || all_there && leaves_copies, ..function }
}

/// Whether a call of this name with a first argument of one of Postgres's own types means what it would if users had made nothing.
pub fn is_of_own_types(scope: &NameScope<'_>, name: &str) -> bool {
    let placed = |schema: &str| {
        let placed = scope.catalog.placed.get(schema);
        placed.is_some_and(|placed| placed.functions.contains_key(name) || placed.aggregates.contains(name))
    };
    scope.catalog.of_own_types.contains(name) && !scope.placed_path().any(placed)
}

/// Whether a function of this name could be one that users have made.
pub fn is_users(scope: &NameScope<'_>, name: &str) -> bool {
    users(scope, None, name).is_some()
}

/// Whether a function of this name can give several rows: of a group too, where it stands in the select list.
pub fn returns_sets(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        "generate_series",
        "generate_subscripts",
        "unnest",
        "regexp_matches",
        "regexp_split_to_table",
        "string_to_table",
        "jsonb_path_query",
        "jsonb_path_query_tz",
        "json_object_keys",
        "jsonb_object_keys",
        "json_populate_recordset",
        "jsonb_populate_recordset",
        "ts_parse",
    ];
    let json = name.strip_prefix("jsonb").or(name.strip_prefix("json"));
    NAMES.contains(&name)
        || json.is_some_and(|of| of.starts_with("_array_elements") || of.starts_with("_each") || of == "_to_recordset")
}

/// Prefixes of the functions that look into the server's catalogs and state.
pub(crate) fn reads_server(name: &str) -> bool {
    const PREFIXES: [&str; 9] = ["pg_", "has_", "inet_", "txid_", "to_reg", "col_", "obj_", "shobj_", "format_type"];
    const NAMES: [&str; 9] = [
        // Of what set_config(.., true) set: that is known to one shard.
        "current_setting",
        "current_database",
        "current_catalog",
        "version",
        "getdatabaseencoding",
        "getpgusername",
        "row_security_active",
        "aclexplode",
        "current_query",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

/// Aggregates whose answer depends on the order of their input.
pub fn is_order_sensitive(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "any_value",
        "array_agg",
        "string_agg",
        "xmlagg",
        "mode",
        "json_agg",
        "jsonb_agg",
        "json_arrayagg",
        "percentile_disc",
    ];
    NAMES.contains(&name) || name.contains("_object") || name.ends_with("_strict")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::topology::{Topology, TopologySpec};

    fn class(catalog: &Catalog, schema: Option<&str>, name: &str) -> FunctionClass {
        let topology = Topology {
            epoch: TopologySpec::default().epoch,
            fence: Default::default(),
            shards: Vec::new(),
            home: crate::ids::ShardId(0),
            distributions: Vec::new(),
            tables: HashMap::new(),
            from_sql: std::collections::HashSet::new(),
            closed: HashMap::new(),
            uniques: Vec::new(),
        };
        let scope = NameScope {
            catalog,
            topology: &topology,
            search_path: &[],
            standard_strings: true,
            changes: &[],
            defines: false,
            temporary: None,
            temporaries: None,
            own: None,
            fingerprint: 0,
            unknown: None,
        };
        classify(&scope, schema, name)
    }

    #[test]
    fn a_user_function_hides_the_builtin_of_its_name() {
        let mut catalog = Catalog::default();
        assert_eq!(class(&catalog, None, "lower"), FunctionClass::Pure);
        let function = UserFunction {
            volatility: Volatility::Volatile,
            declared_safe: false,
            sets: Sets::Nothing,
            callable: true,
        };
        catalog.functions.insert("lower".into(), function);
        assert_eq!(class(&catalog, None, "lower"), FunctionClass::User(function));
        assert_eq!(class(&catalog, Some("pg_catalog"), "lower"), FunctionClass::Pure);
    }

    #[test]
    fn a_name_that_postgres_has_too_counts_as_both() {
        let function = UserFunction {
            volatility: Volatility::Immutable,
            declared_safe: true,
            sets: Sets::Nothing,
            callable: true,
        };
        let mut catalog = Catalog::default();
        for name in ["max", "rank", "now", "random", "nextval", "pg_notify", "abs"] {
            catalog.functions.insert(name.into(), function);
        }
        for aggregate in ["max", "rank"] {
            assert_eq!(class(&catalog, None, aggregate), FunctionClass::UserAggregate(function), "{aggregate}");
            assert_eq!(class(&catalog, Some("public"), aggregate), FunctionClass::User(function), "{aggregate}");
        }
        let volatile = UserFunction { volatility: Volatility::Volatile, ..function };
        assert_eq!(class(&catalog, None, "random"), FunctionClass::User(volatile));
        assert_eq!(
            class(&catalog, None, "now"),
            FunctionClass::User(UserFunction { declared_safe: false, ..volatile })
        );
        assert_eq!(class(&catalog, None, "nextval"), FunctionClass::Sequence(None));
        assert_eq!(class(&catalog, None, "pg_notify"), FunctionClass::Home(None));
        assert_eq!(class(&catalog, None, "abs"), FunctionClass::User(function));
        // What no expression can call hides nothing.
        catalog.functions.insert("max".into(), UserFunction { callable: false, ..function });
        assert_eq!(class(&catalog, None, "max"), FunctionClass::Aggregate);
    }

    #[test]
    fn what_is_not_in_the_lists_is_unknown() {
        let catalog = Catalog::default();
        assert_eq!(class(&catalog, None, "pg_backend_pid"), FunctionClass::Server);
        assert_eq!(class(&catalog, None, "no_such_function"), FunctionClass::Unknown);
        assert_eq!(class(&catalog, Some("app"), "lower"), FunctionClass::Unknown);
    }
}
