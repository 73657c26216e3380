//! RETURNING of an INSERT over several shards: the rows that come back come in the order in which they were given, or the statement is refused.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::Raw;
use support::{SHARDS, Sharded};

/// New ids in turns between two shards: one of the first, one of the second, and so on.
fn in_turns(world: &Sharded, from: i32) -> Vec<i32> {
    (0..3).flat_map(|nth| world.free_ids(from + nth * 1_000)[..2].to_vec()).collect()
}

fn list(ids: &[i32]) -> String {
    ids.iter().map(|id| format!("({id}, 0)")).collect::<Vec<_>>().join(", ")
}

fn returned(raw: &mut Raw, sql: &str) -> Vec<i32> {
    raw.values(sql).iter().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn rows_that_are_left_out_do_not_change_the_order_of_the_others() {
    let world = Sharded::create("returning", "");
    let mut client = world.connect();
    let ids = in_turns(&world, 10_000);
    let insert =
        |ids: &[i32]| format!("INSERT INTO items (id, n) VALUES {} ON CONFLICT DO NOTHING RETURNING id", list(ids));
    // None is left out, all are, those of one shard are.
    assert_eq!(returned(&mut client, &insert(&ids)), ids);
    assert_eq!(returned(&mut client, &insert(&ids)), [0; 0]);
    client.must(&format!("DELETE FROM items WHERE id IN ({}, {}, {})", ids[1], ids[3], ids[5]));
    assert_eq!(returned(&mut client, &insert(&ids)), [ids[1], ids[3], ids[5]]);
    // Of one shard some, and none of another's between them.
    client.must(&format!("DELETE FROM items WHERE id IN ({}, {})", ids[4], ids[5]));
    let sorted = [ids[0], ids[2], ids[4], ids[5]];
    assert_eq!(returned(&mut client, &insert(&sorted)), [ids[4], ids[5]]);
    // Which of the first shard's rows comes back cannot be told, and so not whether it belongs before the second shard's.
    client.must(&format!("DELETE FROM items WHERE id IN ({}, {})", ids[4], ids[3]));
    let before = client.value("SELECT count(*) FROM items");
    let refused = client.simple(&insert(&ids));
    assert_eq!(refused.code(), "0A000", "{}", refused.text());
    assert_eq!(client.value("SELECT count(*) FROM items"), before, "nothing of it stays");
    let without = insert(&ids).replace(" RETURNING id", "");
    assert_eq!(client.must(&without).answers[0].tag.as_deref(), Some("INSERT 0 2"));
    // DO UPDATE with a condition.
    let update = format!(
        "INSERT INTO items (id, n) VALUES {} ON CONFLICT (id) DO UPDATE SET n = 5 WHERE items.n = 0 RETURNING id",
        list(&ids)
    );
    assert_eq!(returned(&mut client, &update), ids);
    client.must(&format!("UPDATE items SET n = 0 WHERE id IN ({}, {})", ids[0], ids[3]));
    assert_eq!(client.simple(&update).code(), "0A000");
}

#[test]
fn rows_of_a_query_come_back_in_its_order() {
    let world = Sharded::create("returningquery", "");
    let mut client = world.connect();
    client.must("UPDATE items SET n = (id * 7) % 60");
    let expected = returned(&mut client, "SELECT id FROM items WHERE n < 20 ORDER BY n DESC");
    let insert = "INSERT INTO parts (id, label) SELECT id, name FROM items WHERE n < 20 ORDER BY n DESC RETURNING id";
    assert_eq!(returned(&mut client, insert), expected);
}

/// One Postgres has changed all rows before it returns the first: what fails returns none, on whichever shard it does.
#[test]
fn what_fails_returns_nothing() {
    let world = Sharded::create("returningnone", "");
    let mut client = world.connect();
    let ids = world.free_ids(30_000);
    client.must(&format!("INSERT INTO items (id, n) VALUES {}", list(&ids)));
    client.must(&format!("INSERT INTO plain (id) VALUES {}", list(&ids).replace(", 0)", ")")));
    let all = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for id in &ids {
        for sql in [
            format!("UPDATE items SET n = 1 / abs(id - {id}) WHERE id IN ({all}) RETURNING id"),
            format!("UPDATE items SET n = 1 / abs(id - {id}) WHERE id IN (SELECT id FROM plain) RETURNING id"),
            format!("DELETE FROM items WHERE id IN ({all}) RETURNING 1 / abs(id - {id})"),
        ] {
            let failed = client.simple(&sql);
            assert_eq!(failed.code(), "22012", "{sql}: {}", failed.text());
            assert!(failed.answers.is_empty(), "{sql}: {}", failed.text());
        }
    }
    assert_eq!(client.value(&format!("SELECT count(*) FROM items WHERE id IN ({all})")), ids.len().to_string());
}

#[test]
fn a_trigger_that_leaves_rows_out_does_not_change_their_order() {
    let world = Sharded::create("returningtrigger", "");
    let trigger = "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.n = 13 THEN RETURN NULL; END IF; RETURN NEW; END$$; \
         CREATE TRIGGER skip BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION skip()";
    (0..SHARDS).for_each(|shard| drop(world.db.shard(shard).must(trigger)));
    let mut client = world.connect();
    let ids = in_turns(&world, 20_000);
    let values = |n: [i32; 6]| ids.iter().zip(n).map(|(id, n)| format!("({id}, {n})")).collect::<Vec<_>>().join(", ");
    let insert = |n| format!("INSERT INTO items (id, n) VALUES {} RETURNING id", values(n));
    for (n, back) in [([13, 0, 13, 0, 13, 0], &[1, 3, 5][..]), ([13; 6], &[]), ([0; 6], &[0, 1, 2, 3, 4, 5])] {
        let reply = client.simple(&insert(n));
        // Where the router does not trust the trigger, it says so.
        assert!(reply.code().is_empty() || reply.code() == "0A000", "{}", reply.text());
        if reply.code().is_empty() {
            let back = back.iter().map(|at| ids[*at].to_string()).collect::<Vec<_>>().join("\n");
            assert_eq!(reply.text(), back);
        }
        client.must("DELETE FROM items WHERE id >= 20000");
    }
    assert_eq!(client.simple(&insert([13, 0, 0, 0, 0, 0])).code(), "0A000");
}

#[test]
fn an_error_does_not_point_into_the_text_of_a_shard() {
    let world = Sharded::create("positions", "");
    let mut client = world.connect();
    let ids = world.free_ids(30_000);
    let sql = format!("INSERT INTO items (id, n) VALUES ({}, 1), ({}, 'abc')", ids[0], ids[1]);
    // One Postgres points at the literal; the shard's text has it elsewhere.
    let error = client.simple(&sql).error.unwrap();
    assert_eq!(error.code(), "22P02", "{error}");
    let right = (sql.find("'abc'").unwrap() + 1).to_string();
    assert!(error.0.get(&'P').is_none_or(|position| *position == right), "{error:?}");
    // Behind another statement of the message too.
    let both = format!("SELECT 'some text before it'; {sql}");
    let error = client.simple(&both).error.unwrap();
    let right = (both.find("'abc'").unwrap() + 1).to_string();
    assert!(error.0.get(&'P').is_none_or(|position| *position == right), "{error:?}");
    let scattered = "SELECT 1; SELECT count(*), nothing FROM items";
    let error = client.simple(scattered).error.unwrap();
    let right = (scattered.find("nothing").unwrap() + 1).to_string();
    assert!(error.0.get(&'P').is_none_or(|position| *position == right), "{error:?}");
}

#[test]
fn what_a_deferred_constraint_says_is_whole() {
    let world = Sharded::create("deferred", "");
    let mut client = world.connect();
    let ids = world.free_ids(40_000);
    let about = |client: &mut Raw, sql: &str| {
        let error = client.simple(sql).error.unwrap();
        assert_eq!(error.code(), "23503", "{error}");
        ['s', 't', 'n'].map(|field| error.0.get(&field).cloned().unwrap_or_default())
    };
    for rows in [&ids[..1], &ids[1..2], &ids[..3]] {
        let values = rows.iter().map(|id| format!("({id}, 'x')")).collect::<Vec<_>>().join(", ");
        let insert = format!("INSERT INTO parts VALUES {values}");
        client.must(&format!("BEGIN; {insert}"));
        assert_eq!(about(&mut client, "COMMIT"), ["public", "parts", "parts_id_fkey"], "{insert}");
        client.must(&format!("BEGIN; {insert}"));
        assert_eq!(
            about(&mut client, "SET CONSTRAINTS ALL IMMEDIATE"),
            ["public", "parts", "parts_id_fkey"],
            "{insert}"
        );
        client.must("ROLLBACK");
    }
}

#[test]
fn whole_rows_of_what_is_sent_along_are_refused_by_their_type() {
    let world = Sharded::create("wholerows", "");
    let mut client = world.connect();
    let delete = |what: &str| format!("DELETE FROM items i USING plain p WHERE p.id = i.id RETURNING {what}");
    for what in ["i.id, p", "coalesce(p, NULL)", "CASE WHEN true THEN p END"] {
        assert_eq!(client.simple(&delete(what)).code(), "0A000", "{what}");
    }
    assert_eq!(client.value("SELECT count(*) FROM items"), "60");
    assert_eq!(client.must(&delete("i.id, p.*, row_to_json(p)")).text(), "1|1|one|{\"id\":1,\"body\":\"one\"}");
}

/// One Postgres looks at foreign keys when all rows are written: whatever else is wrong with a row of another shard comes before.
#[test]
fn an_error_of_a_foreign_key_is_told_last() {
    let world = Sharded::create("returninglast", "");
    let mut client = world.connect();
    client.must("ALTER TABLE parts ADD FOREIGN KEY (label) REFERENCES places (code)");
    client.must("ALTER TABLE parts ALTER label SET NOT NULL, ADD CHECK (label <> 'no')");
    let mut told = Vec::new();
    for refers in 0..SHARDS {
        for wrong in (0..SHARDS).filter(|wrong| *wrong != refers) {
            let (refers, wrong) = (world.id(refers, 0), world.id(wrong, 0));
            let both = format!("({refers}, {wrong})");
            client.must(&format!("INSERT INTO parts VALUES ({refers}, 'a'), ({wrong}, 'a')"));
            let case = format!("CASE id WHEN {refers} THEN 'gone' ELSE 'no' END");
            for (sql, code) in [
                (format!("UPDATE parts SET label = {case} WHERE id IN {both}"), "23514"),
                (format!("UPDATE parts SET label = {case} WHERE id IN {both} RETURNING id"), "23514"),
                (format!("UPDATE parts SET label = 'gone' WHERE id IN {both}"), "23503"),
            ] {
                told.push((client.simple(&sql).code().to_owned(), code, sql));
            }
            client.must("DELETE FROM parts");
            for (sql, code) in [
                (format!("INSERT INTO parts VALUES ({refers}, 'gone'), ({wrong}, NULL)"), "23502"),
                (format!("INSERT INTO parts VALUES ({wrong}, 'no'), ({refers}, 'gone') RETURNING id"), "23514"),
                (format!("INSERT INTO parts SELECT id, {case} FROM items WHERE id IN {both} ORDER BY n"), "23514"),
                (format!("INSERT INTO parts VALUES ({refers}, 'gone'), ({wrong}, 'a')"), "23503"),
            ] {
                told.push((client.simple(&sql).code().to_owned(), code, sql));
            }
        }
    }
    let others: Vec<_> = told.iter().filter(|(said, code, _)| said != code).collect();
    assert!(others.is_empty(), "{} of {}: {others:?}", others.len(), told.len());
    assert_eq!(client.value("SELECT count(*) FROM parts"), "0");
}

/// The text that each shard gets begins as the client's does: what is wrong there has its place.
#[test]
fn a_table_that_is_not_there_is_shown_in_the_text() {
    let world = Sharded::create("returningplace", "");
    let mut client = world.connect();
    client.must("DROP TABLE parts");
    let mut direct = world.db.shard(0);
    let free = world.free_ids(10_000);
    let (one, other) = (free[0], free[1]);
    for sql in [
        format!("/* ä */ INSERT INTO parts VALUES ({one}, 'a'), ({other}, 'b')"),
        format!("INSERT INTO parts (id, label) VALUES ({one}, 'a'), ({other}, 'b') RETURNING id"),
        format!("INSERT INTO items (id, nope) VALUES ({one}, 1), ({other}, 2)"),
        "INSERT INTO nope SELECT id FROM items".to_owned(),
        "SELECT 1; INSERT INTO nope SELECT id FROM items WHERE n = 0".to_owned(),
        format!("SELECT 1; INSERT INTO items (id, nope) VALUES ({one}, 1), ({other}, 2)"),
        format!("INSERT INTO items VALUES ({one}, 1), ({other}, nope)"),
    ] {
        let [direct, routed] = [&mut direct, &mut client].map(|raw| raw.simple(&sql).error.unwrap().0);
        let shown =
            |error: &std::collections::BTreeMap<char, String>| ['C', 'M'].map(|field| error.get(&field).cloned());
        assert_eq!(shown(&routed), shown(&direct), "{sql}");
        let place = routed.get(&'P');
        assert!(place == direct.get(&'P') || place.is_none() && sql.ends_with("nope)"), "{sql}: {routed:?} {direct:?}");
    }
}
