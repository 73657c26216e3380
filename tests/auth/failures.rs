//! Who fails too often is refused for a while, and nobody else.

use crate::support::sharded::config;
use crate::support::{Database, Router};
use crate::{assert_says, psql};

const USERS: &str = "[[users]]\nname = \"postgres\"\npassword = \"secret\"\n[[users]]\nname = \"other\"\npassword = \"secret\"\nserver_user = \"postgres\"\n";

#[test]
fn failed_logins_of_a_user_are_bounded_and_others_come_in() {
    let db = Database::create("failures");
    db.everywhere("CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE parts (id int); CREATE TABLE places (x int)");
    let general = "auth_type = \"scram-sha-256\"\nauth_failure_limit = 2\nauth_failure_interval = \"1h\"";
    let router = Router::start_with(&config(&db.name, &db.ports(), general, USERS), &[]);
    let log_in = |user: &str, password: &str| psql(router.port, user, &db.name, password, "SELECT 1", "");
    let wrong = |user: &str| {
        assert_says(&log_in(user, "wrong"), &format!("password authentication failed for user \"{user}\""))
    };
    // A right one makes good what was wrong before.
    for _ in 0..3 {
        wrong("postgres");
        assert_eq!(log_in("postgres", "secret").as_deref(), Ok("1"));
    }
    // One who does not exist is treated as one who does.
    for user in ["postgres", "nobody"] {
        wrong(user);
        wrong(user);
        let refused = format!("too many failed logins of user \"{user}\" or from this address");
        assert_says(&log_in(user, "wrong"), &refused);
        assert_says(&log_in(user, "secret"), &refused);
    }
    assert_eq!(log_in("other", "secret").as_deref(), Ok("1"));
    let metrics = router.http("/metrics").1;
    assert!(metrics.contains("\npgloom_logins_throttled_total 4\n"), "{metrics}");
    let log = router.log_text();
    assert_eq!(log.matches("too many logins have failed").count(), 2, "told once for each");
    // What was counted stays in force under another configuration, and goes where there is no limit.
    let text = router.config_text();
    assert_eq!(
        router.reload(&text.replace("auth_failure_limit = 2", "auth_failure_limit = 2\nquery_timeout = \"1h\"")),
        "applied"
    );
    assert_says(&log_in("postgres", "secret"), "too many failed logins");
    assert_eq!(router.reload(&text.replace("auth_failure_limit = 2", "auth_failure_limit = 0")), "applied");
    assert_eq!(log_in("postgres", "secret").as_deref(), Ok("1"));
}
