//! Writes through views: whose rights count, below and above, and what is atomic.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::Raw;
use support::sharded::config;
use support::{Router, SHARDS, Sharded};

const VIEWS: &str = "CREATE VIEW few AS SELECT id, n AS count, name FROM items WHERE n < 100 WITH CHECK OPTION; \
     CREATE VIEW own WITH (security_invoker) AS SELECT id, n FROM items; \
     CREATE VIEW upper_few AS SELECT id, count FROM few; \
     CREATE VIEW titles AS SELECT code AS c, title FROM places WHERE code <> 'z' WITH CHECK OPTION";

#[test]
fn the_rights_on_the_view_are_those_that_count() {
    let world = Sharded::create("throughrights", "");
    let mut admin = world.connect();
    admin.must(VIEWS);
    let role = format!("{}_v", world.db.name);
    let make = format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, DELETE, UPDATE (count) ON few TO {role}; \
         GRANT SELECT, UPDATE ON own, upper_few TO {role}; GRANT INSERT, UPDATE (title), SELECT ON titles TO {role}; \
         GRANT INSERT ON pgloom.decision TO {role}"
    );
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&make)));
    let users = format!("[[users]]\nname = \"postgres\"\n[[users]]\nname = \"{role}\"\n");
    let text = config(&world.db.name, &world.db.ports(), "", &users);
    let head = format!("[databases.{}]\n", world.db.name);
    let router = Router::start(&text.replace(&head, &format!("{head}router_user = \"postgres\"\n")));
    let mut raw = Raw::connect(router.port, &role, &world.db.name).unwrap();
    let tag = |raw: &mut Raw, sql: &str| raw.must(sql).answers[0].tag.clone().unwrap();
    // The owner of the view has the rights below it.
    assert_eq!(tag(&mut raw, "UPDATE few SET count = 1"), "UPDATE 60");
    assert_eq!(tag(&mut raw, "UPDATE few SET count = 2 WHERE id = 7"), "UPDATE 1");
    assert_eq!(tag(&mut raw, "UPDATE upper_few SET count = 3 WHERE id IN (1, 2, 3)"), "UPDATE 3");
    assert_eq!(tag(&mut raw, "INSERT INTO few VALUES (1001, 1), (1002, 2), (1003, 3), (1004, 4)"), "INSERT 0 4");
    assert_eq!(tag(&mut raw, "DELETE FROM few WHERE id > 1000"), "DELETE 4");
    assert_eq!(tag(&mut raw, "INSERT INTO titles VALUES ('b', 'B')"), "INSERT 0 1");
    assert_eq!(tag(&mut raw, "UPDATE titles SET title = 'b' WHERE c = 'b'"), "UPDATE 1");
    for sql in [
        "UPDATE few SET name = 'x'",
        "UPDATE few SET name = 'x' WHERE id = 7",
        "UPDATE own SET n = 1",
        "UPDATE own SET n = 1 WHERE id = 7",
        "UPDATE items SET n = 1",
        "DELETE FROM upper_few",
        "INSERT INTO upper_few VALUES (1001, 1), (1002, 2), (1003, 3)",
        "UPDATE titles SET c = 'x'",
        "DELETE FROM titles",
        "UPDATE places SET title = 'x'",
    ] {
        assert_eq!(raw.simple(sql).code(), "42501", "{sql}");
    }
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&format!("GRANT SELECT, UPDATE ON items TO {role}"))));
    assert_eq!(tag(&mut raw, "UPDATE own SET n = 5"), "UPDATE 60");
    assert_eq!(world.on_each("SELECT string_agg(code || title, ' ' ORDER BY code) FROM places"), vec!["aA bb"; SHARDS]);
    drop((raw, router));
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))));
}

#[test]
fn what_one_shard_refuses_no_shard_does() {
    let world = Sharded::create("throughchecks", "");
    let mut raw = world.connect();
    raw.must(VIEWS);
    raw.must(&format!("UPDATE items SET n = 99 WHERE id = {}", world.id(2, 1)));
    for sql in ["UPDATE few SET count = count + 1", "UPDATE upper_few SET count = count + 1 WHERE id > 0"] {
        assert_eq!(raw.simple(sql).code(), "44000", "{sql}");
    }
    let free = world.free_ids(2000);
    let rows: Vec<String> = free.iter().zip([1, 1, 100, 1]).map(|(id, n)| format!("({id}, {n}, 'x')")).collect();
    assert_eq!(raw.simple(&format!("INSERT INTO few VALUES {}", rows.join(", "))).code(), "44000");
    assert_eq!(raw.simple("INSERT INTO titles VALUES ('c', 'C'), ('z', 'Z')").code(), "44000");
    assert_eq!(raw.value("SELECT count(*) || ' ' || sum(n) FROM items"), "60 99");
    assert_eq!(world.on_each("SELECT count(*) FROM places"), vec!["1"; SHARDS]);
    // A view that was made another one meanwhile is written as it is now.
    raw.must("PREPARE change (int) AS UPDATE few SET count = 7 WHERE id = $1");
    raw.must("EXECUTE change(1)");
    raw.must("CREATE OR REPLACE VIEW few AS SELECT id + 0 AS id, n AS count, name FROM items WHERE n < 100");
    assert_eq!(raw.must("EXECUTE change(2)").answers[0].tag.as_deref(), Some("UPDATE 1"));
    raw.must("DROP VIEW upper_few; DROP VIEW few; CREATE VIEW few AS SELECT n AS id, id AS count FROM items");
    assert_eq!(raw.must("UPDATE few SET id = 8 WHERE count = 3").answers[0].tag.as_deref(), Some("UPDATE 1"));
    assert_eq!(raw.value("SELECT string_agg(n::text, ' ' ORDER BY id) FROM items WHERE id < 4"), "7 7 8");
    // An INSTEAD OF trigger, or a rule, is another way to write.
    let function = "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
    raw.must(&format!("{function}; CREATE TRIGGER t INSTEAD OF UPDATE ON few FOR EACH ROW EXECUTE FUNCTION nothing()"));
    let error = raw.simple("UPDATE few SET id = 9").error.unwrap();
    assert_eq!(error.code(), "0A000", "{error}");
}

#[test]
fn what_is_read_through_views_is_never_denied_below_them() {
    let world = Sharded::create("throughreads", "");
    let mut admin = world.connect();
    admin.must(VIEWS);
    admin.must("CREATE VIEW grouped AS SELECT n, count(*) AS c FROM items GROUP BY n");
    admin.must("CREATE VIEW joined AS SELECT a.id, b.name FROM items a JOIN items b USING (id)");
    let role = format!("{}_r", world.db.name);
    let make = format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON few, grouped, joined, titles TO {role}");
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&make)));
    let users = format!("[[users]]\nname = \"postgres\"\n[[users]]\nname = \"{role}\"\n");
    let text = config(&world.db.name, &world.db.ports(), "", &users);
    let head = format!("[databases.{}]\n", world.db.name);
    let router = Router::start(&text.replace(&head, &format!("{head}router_user = \"postgres\"\n")));
    let mut raw = Raw::connect(router.port, &role, &world.db.name).unwrap();
    let reads = [
        "SELECT count(*) FROM few",
        "SELECT stddev(count) FROM few",
        "SELECT a.id FROM few a JOIN few b ON a.id = b.count + 1 ORDER BY 1",
        "SELECT a.count, b.id FROM few a JOIN few b ON a.count = b.id ORDER BY 1, 2",
        "SELECT sum(c) FROM grouped",
        "SELECT n, c FROM grouped ORDER BY n",
        "SELECT g.c, j.name FROM grouped g JOIN joined j ON j.id = g.n ORDER BY 1, 2",
        "SELECT j.name, t.title FROM joined j JOIN titles t ON t.c = j.name",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM joined",
    ];
    let mut refused = Vec::new();
    for sql in reads {
        let (theirs, ours) = (admin.simple(sql), raw.simple(sql));
        match ours.code() {
            "0A000" => refused.push(sql),
            _ => assert_eq!(ours.text(), theirs.text(), "{sql}"),
        }
    }
    // What each shard has a part of is read by the view's name; groups over all shards are made of what the client may not read.
    assert!(refused.iter().all(|sql| sql.contains("grouped")), "{refused:?}");
    for sql in ["SELECT count(*) FROM items", "SELECT * FROM own WHERE id = 7", "SELECT name FROM items ORDER BY id"] {
        assert_eq!(raw.simple(sql).code(), "42501", "{sql}");
    }
    drop((raw, router));
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))));
}
