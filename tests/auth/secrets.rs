//! What nobody may read: passwords, verifiers and keys, in the log at its finest, the console, the metrics and errors.

use crate::psql;
use crate::support::sharded::config;
use crate::support::{Database, Router, eventually};
use crate::tls_files::TlsFiles;

const VERIFIER: &str = "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$";

#[test]
fn secrets_are_never_shown() {
    let db = Database::create("secrets");
    db.everywhere("CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE parts (id int); CREATE TABLE places (x int)");
    let files = TlsFiles::make();
    let stored = pgloom::wire::auth::ScramVerifier::generate(
        b"hunter-stored",
        b"0123456789abcdef",
        pgloom::wire::auth::scram::DEFAULT_ITERATIONS,
    );
    let stored = String::from_utf8(stored.to_text().reveal().to_vec()).unwrap();
    let keys = stored.strip_prefix(VERIFIER).unwrap();
    let md5 = pgloom::wire::auth::md5::hash(b"hunter-md5", "hashed");
    let md5 = String::from_utf8(md5.reveal().to_vec()).unwrap();
    let password_file = files.write("password", "hunter-file\n");
    let list = files.write("userlist.txt", "\"listed\" \"hunter-listed\"\n");
    let users = format!(
        "[[users]]\nname = \"postgres\"\npassword = \"hunter-clear\"\nserver_password = \"hunter-server\"\n\
         [[users]]\nname = \"kept\"\npassword = \"{stored}\"\nserver_user = \"app\"\n\
         [[users]]\nname = \"hashed\"\npassword = \"{md5}\"\nserver_user = \"app\"\n\
         [[users]]\nname = \"filed\"\npassword_file = \"{}\"\nserver_user = \"app\"\n",
        password_file.display()
    );
    let general = format!(
        "auth_type = \"md5\"\nlog_level = \"trace\"\nadmin_users = [\"postgres\"]\nauth_file = \"{}\"",
        list.display()
    );
    let router = Router::start_with(&config(&db.name, &db.ports(), &general, &users), &[]);
    let log_in =
        |user: &str, password: &str| psql(router.port, user, &db.name, password, "SELECT count(*) FROM items", "");
    let all =
        [("postgres", "hunter-clear"), ("kept", "hunter-stored"), ("hashed", "hunter-md5"), ("filed", "hunter-file")];
    let mut told = String::new();
    eventually(60, "the router serves", || log_in("postgres", "hunter-clear").is_ok());
    for (user, password) in all {
        assert_eq!(log_in(user, password).as_deref(), Ok("0"), "{user}");
        told += &log_in(user, "hunter-wrong").unwrap_err();
    }
    // There is no such role on the servers: what they say comes through.
    told += &log_in("listed", "hunter-listed").unwrap_err();
    let text = router.config_text();
    let other = text.replace("hunter-clear", "hunter-new").replace("hunter-server", "hunter-other");
    assert_eq!(router.reload(&other), "applied");
    assert_eq!(log_in("postgres", "hunter-new").as_deref(), Ok("0"));
    assert_eq!(router.reload(&other.replace("hunter-new", "SCRAM-SHA-256$hunter-broken")), "rejected");
    assert_eq!(router.reload(&other.replace("name = \"kept\"", "name = \"postgres\"")), "rejected");
    let console = |sql: &str| psql(router.port, "postgres", "pgloom", "hunter-new", sql, "");
    for what in ["CONFIG", "USERS", "DATABASES", "POOLS", "CLIENTS", "SERVERS", "SHARDS"] {
        told += &console(&format!("SHOW {what}")).unwrap_or_else(|error| error);
    }
    told += &router.http("/metrics").1;
    told += &router.http("/readyz").1;
    let log = router.log_text();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is at its finest");
    assert!(told.contains("auth_type") && told.contains("password authentication failed"), "{told}");
    for secret in
        ["hunter", &md5, &md5[3..], &stored, keys, keys.split(':').next().unwrap(), keys.split(':').nth(1).unwrap()]
    {
        for (place, text) in [("log", &log), ("answers", &told)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} in the {place}");
        }
    }
}
