//! The shared test clusters themselves: what other tests build on.

mod support;

use support::raw::{Value, message};
use support::{Database, SHARDS};

#[test]
fn a_database_exists_on_every_server_and_starts_empty() {
    let db = Database::create("support");
    db.everywhere("CREATE TABLE t (id int PRIMARY KEY, name text)");
    for index in 0..SHARDS {
        assert_eq!(db.shard(index).value("SELECT count(*) FROM t"), "0");
        assert_eq!(db.shard(index).value("SHOW max_prepared_transactions"), "64");
    }
    let mut oracle = db.oracle();
    let reply = oracle.copy_in("COPY t FROM STDIN", b"1\tone\n2\t\\N\n");
    assert_eq!(reply.answers[0].tag.as_deref(), Some("COPY 2"));
    let reply = oracle.extended("SELECT id, name FROM t WHERE id >= $1 ORDER BY id", &[23], &[Value::text("1")], 1);
    assert_eq!(reply.answers[0].rows[1], [Some(vec![0, 0, 0, 2]), None]);
    assert_eq!(reply.answers[0].tag.as_deref(), Some("SELECT 2"));
    assert_eq!(oracle.simple("SELECT 1/0").code(), "22012");
    oracle.send(&message::query("BEGIN")).unwrap();
    assert_eq!(oracle.read_to_ready().unwrap().last().unwrap().body, b"T");
}

#[test]
fn dropping_a_database_rolls_back_its_prepared_transactions() {
    let db = Database::create("prepared");
    db.shard(0).must("BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'left behind'");
    let name = db.name.clone();
    let cluster = db.cluster;
    drop(db);
    let mut shard = cluster.shards[0].connect("postgres");
    assert_eq!(shard.value(&format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")), "0");
}
