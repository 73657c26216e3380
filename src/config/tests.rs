//! Whole files in, settings or messages out.

use super::*;
use crate::config::limits::Limit;
use crate::ids::ShardId;
use crate::topology::TableRule;
use crate::types::canonical::KeyValue;

const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

const HEAD: &str = "[[users]]\nname = 'app'\npassword = 'x'\n[databases.shop]\n[[databases.shop.shards]]\nname = 's1'\nhost = 'a'\n[[databases.shop.shards]]\nname = 's2'\nhost = 'b'\n";

fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Settings, ConfigErrors> {
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Settings::parse("pgloom.toml", text, Path::new(""), environment)
}

#[track_caller]
fn good(text: &str) -> Settings {
    parse_with(text, &[]).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn messages(text: &str) -> Vec<String> {
    parse_with(text, &[]).unwrap_err().0.iter().map(ToString::to_string).collect()
}

/// The file has exactly the errors that begin so.
#[track_caller]
fn assert_errors(text: &str, starts: &[&str]) {
    let messages = messages(text);
    let fits = messages.len() == starts.len()
        && messages.iter().zip(starts).all(|(message, start)| message.starts_with(start));
    assert!(fits, "expected\n{}\nfound\n{}", starts.join("\n"), messages.join("\n"));
}

/// [`HEAD`] with `general` before and `rest` after it; errors of `rest` count lines from 1.
#[track_caller]
fn assert_rest_errors(rest: &str, starts: &[&str]) {
    let lines = HEAD.lines().count();
    let shift = |message: String| {
        let Some((line, text)) = message.strip_prefix("pgloom.toml:").and_then(|m| m.split_once(':')) else {
            return message;
        };
        line.parse::<usize>().map_or(message.clone(), |line| format!("{}:{text}", line.saturating_sub(lines)))
    };
    let found: Vec<String> = messages(&format!("{HEAD}{rest}")).into_iter().map(shift).collect();
    let fits =
        found.len() == starts.len() && found.iter().zip(starts).all(|(message, start)| message.starts_with(start));
    assert!(fits, "expected\n{}\nfound\n{}", starts.join("\n"), found.join("\n"));
}

#[test]
fn unique_columns_are_those_of_sharded_tables() {
    let tables = "[[databases.shop.distributions]]\nname = 'd'\nkey_types = ['int8']\n\
        [[databases.shop.tables]]\nname = 'users'\ndistribution = 'd'\ncolumns = ['id']\n\
        [[databases.shop.tables]]\nname = 'places'\nreference = true\n";
    let unique = |table: &str, more: &str| format!("[[databases.shop.uniques]]\ntable = '{table}'\n{more}\n");
    let text =
        format!("{HEAD}{tables}{}", unique("users", "columns = ['email', '\"Nick\"']\nunique_scope = 'cluster'"));
    let settings = good(&text);
    let rule = &settings.database("shop").unwrap().uniques[0];
    assert_eq!((&*rule.name, rule.scope()), ("users_email_Nick_key", "public.users (email, Nick)".to_owned()));
    let twice = unique("users", "columns = ['email']").repeat(2);
    let all = [&*twice, &unique("places", "columns = ['code']"), &unique("gone", "columns = []")].concat();
    let line = tables.lines().count();
    let at = |n: usize| format!("{}: ", line + n);
    assert_rest_errors(
        &format!("{tables}{all}"),
        &[
            &(at(4) + "public.users (email) is unique twice"),
            &(at(8) + "public.places is no sharded table"),
            &(at(11) + "public.gone is no sharded table"),
            &(at(12) + "write the names of the columns"),
        ],
    );
    let off = text.replacen("[databases.shop]\n", "[databases.shop]\ntwo_phase_commit = 'best_effort'\n", 1);
    assert!(messages(&off).iter().any(|message| message.contains("need two_phase_commit = \"on\"")));
}

#[test]
fn smallest_file_has_every_default() {
    let settings = good(HEAD);
    assert_eq!(settings.listen.addresses, ["127.0.0.1:6432".parse().unwrap()]);
    assert_eq!(settings.limits.max_message_size, 1 << 30);
    let limits = |settings: &Settings, limit| settings.timeouts.limits.get(limit);
    assert_eq!(limits(&settings, Limit::QueryWait), Some(Duration::from_secs(120)));
    assert_eq!(limits(&settings, Limit::Query), None);
    assert_eq!(settings.metrics.listen, Some("127.0.0.1:9930".parse().unwrap()));
    let shop = settings.database("shop").unwrap();
    assert_eq!(
        shop.pool,
        PoolSettings { mode: PoolMode::Transaction, size: NonZeroU32::new(20).unwrap(), min_size: 0 }
    );
    assert_eq!(shop.router.as_ref().unwrap().password, Some(Secret::new("x")));
    assert_eq!(shop.topology.home, ShardId(0));
    assert_eq!(&*shop.topology.shards[1].servers[0].dbname, "shop");
    assert_eq!(settings.warnings, []);
}

#[test]
fn every_shipped_file_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let examples = std::fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for path in examples.chain([root.join("pgloom.toml")]) {
        let text = std::fs::read_to_string(&path).unwrap();
        let settings = Settings::parse(&path.display().to_string(), &text, &root, HashMap::new());
        let settings = settings.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(settings.warnings, [], "{}", path.display());
        count += 1;
    }
    assert!(count >= 4);
}

#[test]
fn all_errors_of_a_file_are_reported_with_line_and_remedy() {
    assert_errors(
        "[general]\nport = 70000\npool_sise = 5\nquery_timeout = '5 parsecs'\nworkers = '4'\nlog_connections = 1\n\n[[users]]\npassword = 'x'\nnmae = 'app'\n\n[databases.shop]\nhots = 1\nshards = []\n[unversal]\nport = 1\n",
        &[
            "pgloom.toml:2: `port` in [general] has the wrong value `70000`: expected a whole number from 0 to 65535",
            "pgloom.toml:3: unknown key `pool_sise` in [general]; `pool_size` is called `default_pool_size` here",
            "pgloom.toml:4: `query_timeout` in [general] has the wrong value `5 parsecs`: expected a duration such as",
            "pgloom.toml:5: `workers` in [general] is a text; write a number without quotes",
            "pgloom.toml:6: `log_connections` in [general] is a whole number; write true or false",
            "pgloom.toml:8: `name` in [[users]] is missing; add name = text",
            "pgloom.toml:10: unknown key `nmae` in [[users]]; did you mean `name`?",
            "pgloom.toml:12: no shards; add at least one [[databases.NAME.shards]]",
            "pgloom.toml:13: unknown key `hots` in [databases.shop]",
            "pgloom.toml:15: unknown section or key `unversal` at the top of the file",
        ],
    );
}

#[test]
fn slips_and_foreign_names_are_answered_with_ours() {
    let unknown = |key: &str| messages(&format!("[general]\n{key} = 1\n{HEAD}")).remove(0);
    assert!(unknown("max_client_con").ends_with("did you mean `max_client_conn`?"));
    assert!(unknown("pool_size").ends_with("; `pool_size` is called `default_pool_size` here"));
    assert!(unknown("listen_port").ends_with("; `listen_port` is called `port` here"));
    assert!(unknown("zzz").ends_with("unknown key `zzz` in [general]"));
    assert_errors(
        &format!("port = 1\n{HEAD}"),
        &["pgloom.toml:1: unknown section or key `port` at the top of the file; it belongs under [general]"],
    );
}

#[test]
fn broken_toml_names_the_line() {
    let messages = messages("[general]\nport = \n");
    assert!(messages[0].starts_with("pgloom.toml:2: not TOML: "), "{messages:?}");
    let twice = self::messages(&format!("[general]\nport = 1\nport = 2\n{HEAD}"));
    assert!(twice[0].starts_with("pgloom.toml:3: not TOML: duplicate key"), "{twice:?}");
}

#[test]
fn empty_file_says_what_is_needed() {
    assert_errors("", &["pgloom.toml: no [[users]]; add", "pgloom.toml: no database; add [databases.NAME]"]);
}

#[test]
fn environment_goes_before_the_file() {
    let text = format!("[general]\nport = 1\n{HEAD}");
    let settings = parse_with(
        &text,
        &[("PGLOOM_PORT", "7000"), ("PGLOOM_HOST", "0.0.0.0, ::1"), ("PGLOOM_QUERY_TIMEOUT", "2min")],
    );
    let settings = settings.unwrap();
    assert_eq!(settings.listen.addresses, ["0.0.0.0:7000".parse().unwrap(), "[::1]:7000".parse().unwrap()]);
    assert_eq!(settings.timeouts.limits.get(Limit::Query), Some(Duration::from_secs(120)));
    let wrong = parse_with(&text, &[("PGLOOM_PORT", "many")]).unwrap_err().to_string();
    assert_eq!(wrong, "environment variable PGLOOM_PORT: wrong value `many`: expected a whole number from 0 to 65535");
    let said = |key: &str, value: &str| {
        let environment = [("PGLOOM_PORT".to_owned(), "7000".to_owned())].into();
        let draft = Draft::new("pgloom.toml", &text, Path::new(""), environment);
        draft.with_said([(&key.to_owned(), &value.to_owned())]).settings(None)
    };
    assert_eq!(said("port", "7001").unwrap().listen.addresses, ["127.0.0.1:7001".parse().unwrap()]);
    assert_eq!(
        said("default_pool_size", "-5").unwrap_err().to_string(),
        "SET default_pool_size: wrong value `-5`: expected a whole number from 0 to 4294967295"
    );
    let unknown = parse_with(&text, &[("PGLOOM_PROT", "1"), ("PGLOOM_CONFIG", "x")]).unwrap();
    let warnings: Vec<String> = unknown.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["environment variable PGLOOM_PROT: no setting of [general] has this name; did you mean `PGLOOM_PORT`?"]
    );
}

#[test]
fn values_that_make_no_sense_together_are_refused() {
    let general = |keys: &str, message: &str| assert_errors(&format!("[general]\n{keys}\n{HEAD}"), &[message]);
    general("port = 0", "pgloom.toml:2: wrong value `0`: clients need a port");
    general("host = []", "pgloom.toml:2: host is empty");
    general("host = ['::1', '::1']", "pgloom.toml:2: host names ::1 twice");
    general(
        "host = 'example.com'",
        "pgloom.toml:2: `host` in [general] has the wrong value `example.com`: expected an IP address",
    );
    general("default_pool_size = 0", "pgloom.toml:2: wrong value `0`: a pool needs at least one");
    general(
        "max_server_connections = 1",
        "pgloom.toml:2: wrong value `1`: a statement that is finished on the home shard",
    );
    general("min_pool_size = 21", "pgloom.toml:2: min_pool_size 21 is more than the pool's size 20");
    general("max_message_size = '2GiB'", "pgloom.toml:2: max_message_size is 2147483648 bytes; use 64KiB to 1GiB");
    general("client_login_timeout = 0", "pgloom.toml:2: client_login_timeout = 0 would wait for ever");
    general(
        "pool_mode = 'statement'",
        "pgloom.toml:2: `pool_mode` in [general] has the wrong value `statement`: statement pooling is not built yet",
    );
    general("metrics_listen = '127.0.0.1:6432'", "pgloom.toml:2: metrics_listen is also the address for clients");
    general(
        "client_tls_sslmode = 'require'",
        "pgloom.toml:2: client_tls_sslmode = \"require\" needs client_tls_cert_file",
    );
    let missing = messages(&format!("[general]\nserver_tls_cert_file = 'none.pem'\n{HEAD}"));
    assert!(
        missing[0].starts_with("pgloom.toml:2: server_tls_cert_file without server_tls_key_file; give both"),
        "{missing:?}"
    );
    assert!(missing[1].starts_with("pgloom.toml:2: server_tls_cert_file: cannot read none.pem: "), "{missing:?}");
}

#[test]
fn trust_beyond_this_machine_is_warned_of() {
    let settings = good(&format!("[general]\nauth_type = 'trust'\nhost = '0.0.0.0'\n{HEAD}"));
    let warning = settings.warnings[0].to_string();
    assert!(warning.starts_with("pgloom.toml:2: auth_type = \"trust\" asks nobody"), "{warning}");
    assert_eq!(good(&format!("[general]\nauth_type = 'trust'\n{HEAD}")).warnings, []);
}

#[test]
fn users_are_checked_against_auth_type_and_databases() {
    let database = HEAD.split_once("[databases.shop]").unwrap().1;
    let with = |general: &str, users: &str| format!("[general]\n{general}\n{users}[databases.shop]{database}");
    let md5 = "md50123456789abcdef0123456789abcdef";
    let user = |password: &str| format!("[[users]]\nname = 'u'\npassword = '{password}'\n");
    assert_errors(
        &with("", "[[users]]\nname = 'u'\n"),
        &["pgloom.toml:3: user `u` has no password; add password or password_file"],
    );
    assert_errors(&with("", &user(md5)), &["pgloom.toml:3: user `u` has an md5 password, which SCRAM cannot check"]);
    assert_errors(&with("", &user("")), &["pgloom.toml:5: password is empty"]);
    for broken in [
        "SCRAM-SHA-256$4096:x",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$0:x$y:z",
        "SCRAM-SHA-256$4096:x$y:",
        "SCRAM-SHA-256$4096:x$y z:z",
        // In base64, and keys of no hash.
        "SCRAM-SHA-256$4096:c2FsdA==$x:y",
        "SCRAM-SHA-256$4096:c2FsdA==$eHh4:eXl5",
    ] {
        for auth_type in ["trust", "md5", "scram-sha-256"] {
            let errors = ["pgloom.toml:3: the password of user `u` begins as a SCRAM verifier and is none"];
            assert_errors(&with(&format!("auth_type = '{auth_type}'"), &user(broken)), &errors);
        }
    }
    let clear = good(&with("auth_type = 'md5'", &user("md5x")));
    assert!(clear.warnings[0].message.contains("begins with md5 and is no hash"), "{:?}", clear.warnings);
    assert_errors(&with("", &(user("a") + &user("b"))), &["pgloom.toml:7: user `u` is named twice"]);
    let long = format!("[[users]]\nname = '{}'\npassword = 'x'\n", "u".repeat(64));
    let told = format!("pgloom.toml:4: user `{}` has a name of 64 bytes", "u".repeat(64));
    assert_errors(&with("", &long), &[&told]);
    assert_errors(
        &with("", &(user("a") + "databases = ['shpo']\n")),
        &["pgloom.toml:6: user `u` names the unknown database `shpo`; did you mean `shop`?"],
    );
    assert_errors(
        &with("", &(user("a") + "password_file = 'f'\n")),
        &["pgloom.toml:6: password and password_file are both given"],
    );
    let trusted = good(&with("auth_type = 'trust'", "[[users]]\nname = 'u'\n"));
    assert_eq!((trusted.users[0].password.clone(), trusted.auth.auth_type), (None, AuthType::Trust));
    let old = good(&with("auth_type = 'md5'", &user(md5)));
    assert_eq!(old.users[0].server.password, None);
    assert!(old.warnings[0].message.starts_with("user `u` has no server_password"), "{:?}", old.warnings);
    let apart = good(&with("", &(user(VERIFIER) + "server_user = 'v'\nserver_password = 'w'\n")));
    assert_eq!(apart.users[0].server, Login { user: "v".into(), password: Some(Secret::new("w")), verifier: None });
    assert_eq!(apart.database("shop").unwrap().router, Some(apart.users[0].server.clone()));
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = std::env::temp_dir().join(format!("pgloom-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("secret"), "hunter2\r\n").unwrap();
    let text = HEAD.replace("password = 'x'", "password_file = 'secret'\nserver_password = 'hunter3'");
    let settings = Settings::parse("pgloom.toml", &text, &dir, HashMap::new()).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(settings.users[0].password, Some(Secret::new("hunter2")));
    assert!(!format!("{settings:?}").contains("hunter"));
    let missing = parse_with(&text, &[]).unwrap_err().to_string();
    assert!(missing.starts_with("pgloom.toml:3: password_file: cannot read secret: "), "{missing}");
}

#[test]
fn topology_is_built_from_every_method() {
    let settings = good(&format!(
        "{HEAD}servers = [{{ host = 'c', weight = 3 }}]
        [[databases.shop.distributions]]
        name = 'h'
        key_types = ['int', 'text']
        shards = ['s2']
        pins = [{{ value = [7, 'x'], shard = 's1' }}]
        [[databases.shop.distributions]]
        name = 'r'
        method = 'range'
        key_types = 'date'
        ranges = [{{ to = 2026-01-01, shard = 's1' }}, {{ from = '2026-01-01', shard = 's2' }}]
        [[databases.shop.distributions]]
        name = 'l'
        method = 'list'
        key_types = ['bigint']
        values = [{{ values = [1, 2], shard = 's1' }}, {{ value = 3, shard = 's2' }}]
        [[databases.shop.distributions]]
        name = 's'
        method = 'schema'
        schemas = ['tenant_*', 'Odd']
        except = 'tenant_template'
        shards = ['s1']
        pins = [{{ value = 'tenant_big', shard = 's2' }}]
        [[databases.shop.tables]]
        name = 'Sales.orders'
        distribution = 'h'
        columns = ['A', '\"B\"']
        [[databases.shop.tables]]
        name = 't2'
        distribution = 'r'
        columns = 'day'
        [[databases.shop.tables]]
        name = 't3'
        distribution = 'l'
        columns = ['id']
        [[databases.shop.tables]]
        name = 'ref'
        reference = true\n"
    ));
    let topology = &settings.database("shop").unwrap().topology;
    assert_eq!(topology.shards[1].servers[1].weight, 3);
    let TableRule::Sharded { distribution, columns } = &topology.tables[&QualifiedName::new("sales", "orders")] else {
        panic!()
    };
    assert_eq!(columns[..], [Box::from("a"), Box::from("B")]);
    let h = topology.distribution(*distribution);
    assert_eq!(h.locate(&[KeyValue::Int(7), KeyValue::Text("x".into())]), Ok(ShardId(0)));
    assert_eq!(h.locate(&[KeyValue::Int(8), KeyValue::Text("x".into())]), Ok(ShardId(1)));
    assert_eq!(topology.distributions[1].locate(&[KeyValue::Date(9497)]), Ok(ShardId(1)));
    assert_eq!(topology.distributions[1].locate(&[KeyValue::Date(9496)]), Ok(ShardId(0)));
    let list = &topology.distributions[2];
    assert_eq!([1, 2, 3].map(|key| list.locate(&[KeyValue::Int(key)])), [0, 0, 1].map(|shard| Ok(ShardId(shard))));
    assert_eq!(topology.rule(&QualifiedName::new("public", "ref")), Some(&TableRule::Reference));
    let place = |schema: &str| topology.place_of_schema(schema).map(|(_, shard)| shard.0);
    assert_eq!(
        ["tenant_7", "tenant_big", "Odd", "odd", "tenant_template"].map(place),
        [Some(0), Some(1), Some(0), None, None]
    );
    assert_eq!(settings.warnings, []);
}

#[test]
fn explicit_tokens_take_the_whole_64_bits() {
    let settings = good(&format!(
        "{HEAD}[[databases.shop.distributions]]\nname = 'h'\nkey_types = ['int']\ntokens = [{{ to = 0xF000000000000000, shard = 's1' }}, {{ from = '0xf000000000000000', shard = 's2' }}]\n"
    ));
    let shares = settings.database("shop").unwrap().topology.distributions[0].shards();
    assert_eq!(shares.len(), 2);
    assert!(settings.warnings[0].to_string().contains("no table uses distribution `h`"));
}

#[test]
fn topology_errors_name_their_lines() {
    let distribution =
        |rest: &str| format!("[[databases.shop.distributions]]\nname = 'd'\nkey_types = ['int']\n{rest}\n");
    assert_rest_errors(
        "servers = 3\n",
        &["1: `servers` in [[databases.shop.shards]] is a whole number; write a table"],
    );
    assert_rest_errors(
        &distribution("pins = [\n{ value = 1, shard = 's3' },\n{ value = 'x', shard = 's1' },\n]"),
        &["5: unknown shard `s3`; there are `s1`, `s2`", "6: `x` is not a integer"],
    );
    assert_rest_errors(
        &distribution("weights = { s1 = 2, s9 = 1 }"),
        &["4: the weight of `s9` has no shard on the ring"],
    );
    assert_rest_errors(
        &distribution("ranges = []"),
        &["4: distribution `d` by hash does not use `ranges`, which goes with method = \"range\""],
    );
    assert_rest_errors(
        &distribution(
            "method = 'postgres_hash'\npartitions = [\n{ modulus = 2, remainder = 0, shard = 's1' },\n{ modulus = 2, remainder = 2, shard = 's2' }]",
        ),
        &["7: modulus 2 and remainder 2 are no partition"],
    );
    assert_rest_errors(
        &distribution("method = 'composite'\ngroups = [{ shards = ['s1'] }]"),
        &["1: distribution `d` is composite over one column"],
    );
    assert_rest_errors(
        &distribution("method = 'schema'\nschemas = 't_*'"),
        &["3: distribution `d` by schema does not use `key_types`, which goes with the keys of rows"],
    );
    let by_schema = |rest: &str| format!("[[databases.shop.distributions]]\nname = 'd'\nmethod = 'schema'\n{rest}\n");
    assert_rest_errors(&by_schema(""), &["1: distribution `d` by schema names no schemas"]);
    assert_rest_errors(
        &by_schema("schemas = ['t_*']\npins = [\n{ value = 'x', shard = 's1' }]"),
        &["6: the pin `x` of distribution `d` is none of its schemas"],
    );
    assert_rest_errors(
        &by_schema("schemas = ['t_*']\ndefault_shard = 's1'\nweights = { s1 = 2 }"),
        &["6: distribution `d` by schema does not use `weights`, which goes with"],
    );
    assert_rest_errors(
        &(by_schema("schemas = ['t_*']\ndefault_shard = 's9'")
            + "[[databases.shop.tables]]\nname = 't_1.x'\nreference = true\n"),
        &["5: unknown shard `s9`", "6: table t_1.x lies in a schema that distribution `d` places whole"],
    );
    assert_rest_errors("[[databases.shop.distributions]]\nname = 'd'\n", &["1: distribution `d` has no key_types"]);
    assert_rest_errors(
        "[[databases.shop.distributions]]\nname = 'd'\nkey_types = ['float8']\n",
        &["3: `key_types` in [[databases.shop.distributions]] has the wrong value `float8`: expected a type whose"],
    );
    assert_rest_errors(
        &(distribution("") + "[[databases.shop.tables]]\nname = 't'\ndistribution = 'e'\ncolumns = ['a']\n"),
        &["5: table public.t names the unknown distribution `e`; there are `d`"],
    );
    assert_rest_errors(
        "[[databases.shop.tables]]\nname = 't'\n[[databases.shop.tables]]\nname = 'u'\nreference = true\ncolumns = ['a']\n",
        &["1: table public.t has neither a distribution nor", "3: table public.u is a reference table"],
    );
    assert_rest_errors(
        "[databases.pgloom]\n[[databases.pgloom.shards]]\nname = 'x'\nhost = 'x:5432'\n",
        &["1: a database can't be called `pgloom`", "4: `x:5432` is no host"],
    );
}

const ETCD: &str = "[topology]\nsource = 'etcd'\nendpoints = ['http://127.0.0.1:2379']\n[[users]]\nname = 'app'\npassword = 'x'\n[databases.shop]\n";

fn map(databases: &str) -> String {
    format!("{{\n  \"format\": 1, \"epoch\": 7,\n  \"databases\": {databases}\n}}\n")
}

const SHOP: &str = r#"{"shop": {"shards": [{"name": "s1", "host": "a"}, {"name": "s2", "host": "b", "port": 6000}],
    "distributions": [{"name": "d", "key_types": ["int8"], "pins": [{"value": 42, "shard": "s2"}]}],
    "tables": [{"name": "orders", "distribution": "d", "columns": ["tenant_id"]}]}}"#;

fn document(databases: &str) -> Result<Document, ConfigErrors> {
    Document::parse("map.json", &map(databases))
}

fn found(errors: &ConfigErrors) -> Vec<String> {
    errors.0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_document_places_the_databases_of_the_file() {
    let document = document(SHOP).unwrap();
    assert_eq!(document.epoch, Some(7));
    let draft = Draft::new("pgloom.toml", ETCD, Path::new("/etc/pgloom"), HashMap::new());
    let MapSettings::Etcd(etcd) = draft.map_source().unwrap() else { panic!("no etcd") };
    assert_eq!((&*etcd.prefix, etcd.copy_file.as_path()), ("/pgloom", Path::new("/etc/pgloom/pgloom.map.json")));
    let settings = draft.settings(Some(&document)).unwrap();
    let shop = settings.database("shop").unwrap();
    assert_eq!((shop.topology.shards.len(), shop.topology.shards[1].servers[0].port), (2, 6000));
    assert_eq!(shop.topology.distributions[0].locate(&[KeyValue::Int(42)]), Ok(ShardId(1)));
    assert_eq!(settings.epoch, Some(7));

    // Nothing is placed without it, and what it does not place is an error of the file.
    assert_eq!(
        found(&draft.settings(None).unwrap_err()),
        ["pgloom.toml:7: the shards of this database stand in etcd, which was not read"]
    );
    let other = Document::parse("map.json", &map(&SHOP.replacen("shop", "shops", 1))).unwrap();
    assert_eq!(
        found(&draft.settings(Some(&other)).unwrap_err()),
        [
            "pgloom.toml:7: map.json places no database `shop`; did you mean `shops`?; add it there with pgloom topology apply, or remove it here"
        ]
    );
}

/// They come and go while the router runs: an error is what cannot be served, and names its line.
#[test]
fn users_in_etcd_are_beside_those_of_the_file() {
    let document = document(SHOP).unwrap();
    let text =
        ETCD.replacen("[topology]\n", "[general]\nadmin_users = ['ops']\n[topology]\nusers_file = 'shared'\n", 1);
    let with = |text: &str, users: &str| {
        let draft = Draft::new("pgloom.toml", text, Path::new("/etc/pgloom"), HashMap::new());
        draft.with_users(users).settings(Some(&document))
    };
    let ops = format!("\"ops\" \"{VERIFIER}\"\n");
    let both = with(&text, &ops).unwrap();
    assert_eq!(both.console.admins, ["ops".into()]);
    assert_eq!(both.warnings, []);
    // Who is taken out is out.
    // An entry that has its password there is out where that is missing, and nobody else is.
    let entry = text.replace("[databases", "[[users]]\nname = 'ops'\n[databases");
    let missing = with(&entry, "").unwrap();
    assert!(missing.user("ops").unwrap().password.is_none() && missing.user("app").unwrap().password.is_some());
    let told = |warning: &&ConfigError| warning.message.contains("`ops` has no password here");
    assert_eq!(missing.warnings.iter().filter(told).count(), 1, "{:?}", missing.warnings);
    assert!(with(&entry, &ops).unwrap().user("ops").unwrap().password.is_some());
    let without = with(&text, "").unwrap();
    assert!(without.console.admins.is_empty() && without.user("ops").is_none());
    let warned =
        without.warnings.iter().any(|warning| warning.message.starts_with("admin_users names `ops`, who is neither"));
    assert!(warned, "{:?}", without.warnings);

    for (users, told) in [
        (
            "\"eve\" \"SCRAM-SHA-256$4096:c2FsdA==$x:y\"",
            "the password of user `eve` begins as a SCRAM verifier and is none",
        ),
        ("\"eve\" \"secret\"", "user `eve` has no SCRAM verifier, and nothing else may stand there"),
        ("\"eve\" \"\"", "user `eve` has no SCRAM verifier, and nothing else may stand there"),
    ] {
        let errors = found(&with(&text, &format!("{ops}{users}\n")).unwrap_err());
        assert_eq!(errors, [format!("pgloom.toml: users in etcd, line 2: {told}")]);
    }
    for (key, taken) in
        [("auth_mock_key_file = 'shared'", "auth_mock_key_file"), ("timelines_file = './shared'", "timelines_file")]
    {
        let text = text.replacen("[general]\n", &format!("[general]\n{key}\n"), 1);
        let errors = found(&with(&text, &ops).unwrap_err());
        assert!(errors.iter().any(|error| error.contains(&format!("users_file is the file of {taken}"))), "{errors:?}");
    }
}

#[test]
fn what_is_wrong_with_a_document_is_told_with_its_lines() {
    let wrong = |databases: &str, starts: &[&str]| {
        let found = found(&document(databases).unwrap_err());
        let fits =
            found.len() == starts.len() && found.iter().zip(starts).all(|(found, start)| found.starts_with(start));
        assert!(fits, "expected\n{}\nfound\n{}", starts.join("\n"), found.join("\n"));
    };
    wrong("[]", &["map.json:3: `databases` at the top of the file is a list; write a table of names"]);
    wrong("{\"shop\": {}}", &["map.json:3: `shards` in [databases.shop] is missing"]);
    wrong(
        "{\"shop\": {\"shards\": [{\"name\": \"s1\",\n \"host\": \"a\", \"pasword\": \"x\"}]}}",
        &["map.json:4: unknown key `pasword` in [[databases.shop.shards]]"],
    );
    wrong(
        "{\"shop\": {\"shards\": [{\"name\": \"s1\", \"host\": \"a\", \n\"port\": \"1\"}]}, \n\"shop\": null}",
        &[
            "map.json:4: `port` in [[databases.shop.shards]] is a text; write a number without quotes",
            "map.json:5: `shop` in [databases] is given twice; keep one",
        ],
    );
    wrong(&SHOP.replacen("\"s2\"}]", "\n\"s3\"}]", 1), &["map.json:4: unknown shard `s3`"]);
    wrong(
        "{\"pgloom\": {\"shards\": [{\"name\": \"s1\", \"host\": \"a\"}]}}",
        &["map.json:3: a database can't be called `pgloom`"],
    );
    let later = Document::parse("map.json", "{\"format\": 2, \"anything\": 1}").unwrap_err();
    assert_eq!(
        found(&later),
        ["map.json:1: the map has format 2, and this pgloom reads format 1; use the version that wrote it"]
    );
    assert_eq!(
        found(&Document::parse("map.json", "").unwrap_err()),
        ["map.json:1: not JSON: EOF while parsing a value"]
    );
}

#[test]
fn a_stamped_document_has_its_databases_letter_by_letter() {
    let change = document::Change {
        epoch: 8,
        at: "2026-11-29T08:00:00Z".to_owned(),
        by: "ada \"x\"@ops".to_owned(),
        reason: "line\nbreak".to_owned(),
    };
    let stamped = document::stamped(&map(SHOP), &change).unwrap();
    assert!(stamped.contains(SHOP));
    let read = Document::parse("map.json", &stamped).unwrap();
    assert_eq!((read.epoch, &*read.changed_by, &*read.reason), (Some(8), "ada \"x\"@ops", "line\nbreak"));
    assert_eq!(document::stamped("{}", &change), None);
}

#[test]
fn etcd_is_reached_in_one_way() {
    let wrong = |keys: &str, starts: &[&str]| {
        let text = ETCD.replacen("endpoints = ['http://127.0.0.1:2379']", keys, 1);
        let errors = Draft::new("pgloom.toml", &text, Path::new(""), HashMap::new()).map_source().unwrap_err();
        let found = found(&errors);
        let fits =
            found.len() == starts.len() && found.iter().zip(starts).all(|(found, start)| found.starts_with(start));
        assert!(fits, "expected\n{}\nfound\n{}", starts.join("\n"), found.join("\n"));
    };
    wrong("", &["pgloom.toml:2: source = \"etcd\" needs endpoints"]);
    wrong("endpoints = ['127.0.0.1:2379']", &["pgloom.toml:3: `127.0.0.1:2379` is no endpoint"]);
    wrong("endpoints = ['http://a:2379', 'https://b:2379']", &["pgloom.toml:3: some endpoints are https"]);
    wrong("endpoints = ['http://a:1']\nuser = 'x'", &["pgloom.toml:4: etcd takes a user together with a password"]);
    wrong("endpoints = ['http://a:1']\nprefix = 'pgloom'", &["pgloom.toml:4: `pgloom` is no prefix"]);
    wrong("endpoints = ['http://a:1']\nrouter_ttl = '1s'", &["pgloom.toml:4: router_ttl is less than 2s"]);
    let both = format!("{ETCD}home_shard = 's1'\n[[databases.shop.shards]]\nname = 's1'\nhost = 'a'\n");
    assert_errors(
        &both,
        &[
            "pgloom.toml:7: the shards of this database stand in etcd, which was not read",
            "pgloom.toml:8: `home_shard` in [databases.shop] stands in etcd",
            "pgloom.toml:9: `shards` in [databases.shop] stands in etcd",
        ],
    );
}

#[test]
fn databases_and_users_say_how_long_things_may_take() {
    let settings = good(
        "[general]\nquery_timeout = '9s'\nclient_idle_timeout = '1h'\n[[users]]\nname = 'app'\npassword = 'x'\nclient_idle_timeout = 0\n\
         cancel_grace = '500ms'\nfailover_timeout = '3s'\n\
         [databases.shop]\nquery_timeout = '3s'\nscatter_timeout = '1s'\n[[databases.shop.shards]]\nname = 'a'\nhost = 'x'\n",
    );
    let database = settings.timeouts.limits.with(&settings.database("shop").unwrap().times);
    let user = database.with(&settings.user("app").unwrap().times);
    let text = |limits: &TimeLimits| Limit::ALL.map(|limit| limits.text(limit));
    assert_eq!(
        text(&settings.timeouts.limits),
        ["9s", "0", "0", "0", "60min", "2min", "0", "2s", "10s", "0", "5s", "0", "0"]
    );
    assert_eq!(text(&database), ["3s", "1s", "0", "0", "60min", "2min", "0", "2s", "10s", "0", "5s", "0", "0"]);
    assert_eq!(text(&user), ["3s", "1s", "0", "0", "0", "2min", "0", "500ms", "3s", "0", "5s", "0", "0"]);
}

#[test]
fn users_of_the_console_are_users() {
    let file = |general: &str| {
        format!(
            "[general]\n{general}\n[[users]]\nname = 'app'\npassword = 'x'\n[[users]]\nname = 'ops'\npassword = 'y'\ndatabases = []\n\
             [databases.shop]\n[[databases.shop.shards]]\nname = 'a'\nhost = 'x'\n"
        )
    };
    let settings = good(&file("admin_users = 'ops'\nstats_users = ['ops', 'app']"));
    assert_eq!(settings.console.admins, ["ops".into()]);
    assert_eq!(settings.console.stats, ["ops".into(), "app".into()]);
    let value = |key: &str| settings.shown.iter().find(|shown| shown.key == key).map(|shown| shown.value.clone());
    assert_eq!(value("stats_users").as_deref(), Some("ops, app"));
    let wrong = messages(&file("admin_users = 'op'"));
    assert!(
        wrong.iter().any(|message| message.contains("`op`, who is not in [[users]]; did you mean `ops`?")),
        "{wrong:?}"
    );
}

/// A directory with these files, removed with the value.
struct Files(std::path::PathBuf);

impl Files {
    fn of(label: &str, files: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("pgloom-config-{label}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        Self(dir)
    }

    fn parse(&self, text: &str) -> Result<Settings, ConfigErrors> {
        Settings::parse("pgloom.toml", text, &self.0, HashMap::new())
    }

    #[track_caller]
    fn errors(&self, general: &str) -> Vec<String> {
        let errors = self.parse(&format!("[general]\n{general}\n{HEAD}")).unwrap_err();
        errors.0.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn hba_files_are_checked_with_what_they_need() {
    let files = Files::of(
        "hba",
        &[
            ("good", "hostssl all all all scram-sha-256\nhost all all all trust\n"),
            ("bad", "host all all all nothing\n\nhost\n"),
            ("cert", "hostssl all all all cert map=people\n"),
            ("ident", "others a b\n"),
            ("broken", "m /x y\n"),
        ],
    );
    let one = |general: &str| files.errors(general).join("\n");
    assert_eq!(one("auth_type = 'hba'"), "pgloom.toml:2: auth_type = \"hba\" needs auth_hba_file");
    let bad = files.errors("auth_type = 'hba'\nauth_hba_file = 'bad'");
    assert!(bad[0].starts_with("pgloom.toml:3: auth_hba_file bad line 1: the method `nothing`"), "{bad:?}");
    assert!(bad[1].starts_with("pgloom.toml:3: auth_hba_file bad line 3: the line ends"), "{bad:?}");
    assert!(one("auth_hba_file = 'none'").contains("auth_hba_file: cannot read"));
    assert!(one("auth_ident_file = 'broken'").contains("auth_ident_file broken line 1: `/x`: regular expressions"));
    let cert = files.errors("auth_type = 'hba'\nauth_hba_file = 'cert'\nauth_ident_file = 'ident'");
    assert!(cert[0].contains("line 1: auth_ident_file has no map `people`"), "{cert:?}");
    assert!(cert[1].contains("client certificates need client_tls_sslmode"), "{cert:?}");
    assert!(one("auth_type = 'cert'").contains("client certificates need client_tls_sslmode"));
    assert!(one("auth_failure_interval = 0").contains("auth_failure_limit = 0"));

    let general = "[general]\nauth_type = 'hba'\nauth_hba_file = 'good'\nhost = '0.0.0.0'\n";
    let good = files.parse(&format!("{general}{HEAD}")).unwrap();
    let warnings: Vec<_> = good.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings[0].contains("line 2: trust asks nobody"), "{warnings:?}");
    assert!(warnings[1].contains("hostssl fit nobody"), "{warnings:?}");
    assert!(good.files.contains(&files.0.join("good")), "it is watched");
    assert_eq!(good.auth.hba.as_ref().unwrap().entries().len(), 2);
    let unused = files.parse(&format!("[general]\nauth_hba_file = 'good'\n{HEAD}")).unwrap();
    assert!(unused.warnings[0].message.starts_with("auth_hba_file is not used"), "{:?}", unused.warnings);
    let off = good_text("auth_failure_limit = 0");
    assert_eq!((off.auth.failures, good.auth.failures.unwrap().limit.get()), (None, 20));
}

fn good_text(general: &str) -> Settings {
    good(&format!("[general]\n{general}\n{HEAD}"))
}

#[test]
fn users_of_auth_file_are_beside_those_of_the_configuration() {
    let files = Files::of(
        "userlist",
        &[
            ("good", &format!("\"listed\" \"one\"\n\"half\" \"two\"\n\"stored\" \"{VERIFIER}\"\n")),
            ("twice", "\"app\" \"x\"\n"),
            ("bare", "\"listed\" \"\"\n"),
        ],
    );
    let text = format!("[general]\nauth_file = 'good'\n[[users]]\nname = 'half'\ndatabases = []\n{HEAD}");
    let settings = files.parse(&text).unwrap();
    let password = |name: &str| settings.user(name).unwrap().password.clone().unwrap();
    assert_eq!(
        (password("listed"), password("half"), password("app")),
        (Secret::new("one"), Secret::new("two"), Secret::new("x"))
    );
    assert!(
        settings.user("listed").unwrap().may_connect("shop") && !settings.user("half").unwrap().may_connect("shop")
    );
    let stored = &settings.user("stored").unwrap().server;
    assert_eq!((stored.password.clone(), stored.verifier.clone()), (None, Some(Secret::new(VERIFIER))));
    assert!(settings.files.contains(&files.0.join("good")));
    let twice = files.errors("auth_file = 'twice'");
    assert!(twice[0].contains("user `app` has a password here and in line 1 of auth_file"), "{twice:?}");
    assert!(files.errors("auth_file = 'bare'")[0].contains("user `listed` has no password"));
    let alone = HEAD.split_once("[databases.shop]").unwrap().1;
    let alone = files.parse(&format!("[general]\nauth_file = 'good'\n[databases.shop]{alone}")).unwrap();
    assert_eq!(alone.users.len(), 3);
}

#[test]
fn database_that_is_read_by_a_verifier_alone_is_warned_of() {
    let database = HEAD.split_once("[databases.shop]").unwrap().1;
    let user = format!("[[users]]\nname = 'u'\npassword = '{VERIFIER}'\n");
    let alone = good(&format!("{user}[databases.shop]{database}"));
    assert!(alone.warnings[0].message.contains("has no router_user"), "{:?}", alone.warnings);
    assert!(alone.database("shop").unwrap().router.as_ref().unwrap().verifier.is_some());
    let with = good(&format!("{user}[databases.shop]\nrouter_user = 'r'\nrouter_password = 'p'{database}"));
    assert_eq!(with.warnings, []);
}
