//! Two-phase commit under roles that are no superusers: who prepares is not always who may finish.

#![allow(clippy::unwrap_used)]

mod support;

use support::sharded::config;
use support::{Database, Router, SHARDS, eventually};

/// The router logs in as `app`, which may do little; clients are `plain_user`, which may take on the role `<database>_r`.
struct World {
    router: Router,
    db: Database,
    role: String,
}

impl World {
    fn create(label: &str) -> Self {
        let db = Database::create(label);
        let role = format!("{}_r", db.name);
        for shard in 0..SHARDS {
            let mut admin = db.shard(shard);
            admin.must("CREATE TABLE items (id int PRIMARY KEY, n int)");
            admin.must(&format!("CREATE ROLE {role}; GRANT {role} TO plain_user; GRANT ALL ON items TO {role}"));
            // As an administrator makes it for a router's user that may not create schemas.
            admin.must(pgloom::commit::decision::SCHEMA);
            admin.must("GRANT SELECT, DELETE ON pgloom.decision TO app");
        }
        let users = "[[users]]\nname = \"app\"\n[[users]]\nname = \"plain_user\"\nserver_password = \"secret\"\n";
        let text = config(&db.name, &db.ports(), "two_phase_grace = \"1s\"", users);
        Self { router: Router::start(&text), db, role }
    }

    fn prepared(&self) -> usize {
        let sql = format!("SELECT gid FROM pg_prepared_xacts WHERE database = '{}'", self.db.name);
        (0..SHARDS).map(|index| self.db.shard(index).values(&sql).len()).sum()
    }

    fn sum(&self) -> i64 {
        let on = |index| self.db.shard(index).value("SELECT coalesce(sum(n), 0) FROM items").parse::<i64>().unwrap();
        (0..SHARDS).map(on).sum()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for shard in 0..SHARDS {
            let _ = self.db.shard(shard).simple(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.role));
        }
    }
}

#[test]
fn what_a_local_role_has_prepared_is_finished_at_once() {
    let world = World::create("localrole");
    let mut raw = support::Raw::connect(world.router.port, "plain_user", &world.db.name).unwrap();
    raw.must("INSERT INTO items VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)");
    raw.must(&format!("BEGIN; SET LOCAL ROLE {}", world.role));
    raw.must("UPDATE items SET n = 1");
    raw.must("COMMIT");
    assert_eq!((world.prepared(), world.sum()), (0, 8), "before the client is answered");
    assert_eq!(raw.value("SELECT current_user"), "plain_user");
    // And undone, where one of the shards refuses.
    for shard in 0..SHARDS {
        world.db.shard(shard).must(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN IF NEW.n = 7 THEN RAISE EXCEPTION ''no seven''; END IF; RETURN NULL; END'; \
             CREATE CONSTRAINT TRIGGER seven AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             EXECUTE FUNCTION refuse()",
        );
    }
    for id in 1..=8 {
        raw.must(&format!("BEGIN; SET LOCAL ROLE {}", world.role));
        raw.must("UPDATE items SET n = 2");
        raw.must(&format!("UPDATE items SET n = 7 WHERE id = {id}"));
        assert_eq!(raw.simple("COMMIT").code(), "P0001");
        assert_eq!((world.prepared(), world.sum()), (0, 8));
    }
}

#[test]
fn what_others_have_prepared_is_finished_as_them() {
    let world = World::create("others");
    let gid = format!("pgloom:{}:lost-1:s0", world.db.name);
    let decide = format!("INSERT INTO pgloom.decision (gid, committed) VALUES ('{gid}', true)");
    world.db.shard(0).must(&decide);
    let server = |shard: usize| {
        let parameters = [("user", "plain_user"), ("database", world.db.name.as_str())];
        support::Raw::connect_with(world.db.ports()[shard], &parameters, Some("secret")).unwrap()
    };
    // By a user of the configuration, by a role that such a user can take on, and by a superuser, whom nobody can help.
    server(1).must(&format!("BEGIN; INSERT INTO items VALUES (1, 1); PREPARE TRANSACTION '{gid}:s1'"));
    let insert = "INSERT INTO items VALUES (1, 10)";
    server(2).must(&format!("BEGIN; SET LOCAL ROLE {}; {insert}; PREPARE TRANSACTION '{gid}:s2'", world.role));
    world.db.shard(3).must(&format!("BEGIN; INSERT INTO items VALUES (1, 100); PREPARE TRANSACTION '{gid}:s3'"));
    eventually(20, "two of three are finished", || world.prepared() == 1);
    assert_eq!(world.sum(), 11);
    eventually(20, "the log says why", || world.router.log_text().contains("no user of the configuration may finish"));
    world.db.shard(3).must(&format!("ROLLBACK PREPARED '{gid}:s3'"));
}
