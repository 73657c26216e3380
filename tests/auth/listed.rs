//! Users of PgBouncer's userlist.txt.

use crate::support::sharded::config;
use crate::support::{Database, Router};
use crate::tls_files::TlsFiles;
use crate::{assert_says, psql};

#[test]
fn users_of_the_file_come_in_and_are_read_again() {
    let db = Database::create("listed");
    db.everywhere("CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE parts (id int); CREATE TABLE places (x int)");
    let files = TlsFiles::make();
    let list = files.write("userlist.txt", "; from PgBouncer\n\"app\" \"secret\"\n\"postgres\" \"root\"\n");
    let general = format!("auth_type = \"scram-sha-256\"\nautoreload = \"100ms\"\nauth_file = \"{}\"", list.display());
    let router = Router::start_with(&config(&db.name, &db.ports(), &general, ""), &[]);
    let log_in = |user: &str, password: &str| psql(router.port, user, &db.name, password, "SELECT current_user", "");
    assert_eq!(log_in("app", "secret").as_deref(), Ok("app"));
    // It has its other settings in the configuration, and its password here.
    assert_eq!(log_in("postgres", "root").as_deref(), Ok("postgres"));
    assert_says(&log_in("app", "root"), "password authentication failed");
    let change = |text: &str| {
        let before = router.reloads();
        files.write("userlist.txt", text);
        router.next_reload(&before)
    };
    assert_eq!(change("\"app\" \"changed\"\n\"postgres\" \"root\"\n"), "applied");
    assert_eq!(log_in("app", "changed").as_deref(), Ok("app"));
    assert_says(&log_in("app", "secret"), "password authentication failed");
    // One that is broken changes nothing, and its line is told without what is in it.
    assert_eq!(change("\"app\" \"never\"\n\"postgres\" never\n"), "rejected");
    assert_eq!(log_in("app", "changed").as_deref(), Ok("app"));
    let log = router.log_text();
    assert!(log.contains("line 2: expected") && !log.contains("never"), "{log}");
    assert_eq!(change("\"postgres\" \"root\"\n"), "applied");
    assert_says(&log_in("app", "changed"), "password authentication failed");
    assert_eq!(log_in("postgres", "root").as_deref(), Ok("postgres"));
}
