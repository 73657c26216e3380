//! Statements over several shards that are transactions by themselves and fall victim to deadlocks: they are run again, and nobody is told.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Raw, Reply, Value, message as m};
use support::sharded::config;
use support::{Router, Sharded, eventually};

const SOON: &str = "deadlock_timeout = \"300ms\"";

/// How a statement is sent.
#[derive(Clone, Copy, Debug)]
enum Form {
    Simple,
    Extended,
    Execute,
}

const FORMS: [Form; 3] = [Form::Simple, Form::Extended, Form::Execute];

fn send(raw: &mut Raw, form: Form, sql: &str) {
    let bytes = match form {
        Form::Simple => m::query(sql),
        Form::Extended => {
            let portal = [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::describe(b'P', "")];
            [portal.concat(), m::execute("", 0), m::sync()].concat()
        }
        Form::Execute => {
            raw.must(&format!("PREPARE s AS {sql}"));
            m::query("EXECUTE s")
        }
    };
    raw.send(&bytes).unwrap();
}

/// What the client got: error, command tag and number of rows.
fn answer(raw: &mut Raw, form: Form) -> (String, String, usize) {
    let messages = raw.read_to_ready().unwrap();
    let code = messages.iter().find(|message| message.tag == b'E').map(|message| message.report().code().to_owned());
    let tag = messages.iter().rfind(|message| message.tag == b'C').map(|message| message.texts().next().unwrap());
    let rows = messages.iter().filter(|message| message.tag == b'D').count();
    assert_eq!(messages.last().unwrap().body[0], b'I');
    if let Form::Execute = form {
        raw.must("DEALLOCATE s");
    }
    (code.unwrap_or_default(), tag.unwrap_or_default(), rows)
}

fn is_locked(world: &Sharded, shard: usize, id: i32) -> bool {
    let sql = format!("SELECT id FROM items WHERE id = {id} FOR UPDATE SKIP LOCKED");
    world.db.shard(shard).values(&sql).is_empty()
}

fn retries(router: &Router) -> String {
    metric(router, "pgloom_retries_total{reason=\"deadlock\"}")
}

fn metric(router: &Router, name: &str) -> String {
    let (_, metrics) = router.http("/metrics");
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0").to_owned()
}

/// Two statements of which the first has row `a` on shard 0 and waits on shard 1 for one behind which is `b`, which the second has, who
/// waits for `a`. What they came to, and how often one was run again. `turn`: other rows each time. Through a router of its own, which does
/// not remember that the table has met a deadlock.
fn cross(
    world: &Sharded,
    turn: usize,
    form: Form,
    statement: impl Fn(&[i32]) -> String,
) -> ([(String, String, usize); 2], String) {
    let router = Router::start(&config(&world.db.name, &world.db.ports(), SOON, ""));
    let (a, c, b) = (world.id(0, turn), world.id(1, 2 * turn), world.id(1, 2 * turn + 1));
    let mut blocker = world.db.shard(1);
    blocker.must(&format!("BEGIN; SELECT id FROM items WHERE id = {c} FOR UPDATE"));
    let (mut first, mut second) = (router.connect(&world.db.name), router.connect(&world.db.name));
    send(&mut first, form, &statement(&[a, c, b]));
    eventually(10, "the first one has a row and waits", || is_locked(world, 0, a) && world.waiting(1) == 1);
    send(&mut second, form, &statement(&[a, b]));
    eventually(10, "the second one has a row and waits", || is_locked(world, 1, b) && world.waiting(0) == 1);
    blocker.must("COMMIT");
    let done = [answer(&mut first, form), answer(&mut second, form)];
    (done, retries(&router))
}

fn list(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

fn ok(tag: &str, rows: usize) -> (String, String, usize) {
    (String::new(), tag.to_owned(), rows)
}

#[test]
fn two_that_cross_are_both_carried_out() {
    let world = Sharded::create("cross", SOON);
    for (turn, form) in FORMS.into_iter().enumerate() {
        let done = cross(&world, turn, form, |ids| format!("UPDATE items SET n = n + 1 WHERE id IN ({})", list(ids)));
        assert_eq!(done, ([ok("UPDATE 3", 0), ok("UPDATE 2", 0)], "1".to_owned()), "{form:?}");
    }
    // 2 + 1 on shard 1, and 2 on shard 0, three times.
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["6", "9", "0", "0"]);
    assert_eq!(world.prepared(), Vec::<String>::new());
}

#[test]
fn rows_that_are_returned_are_those_of_the_last_run() {
    let world = Sharded::create("returning", SOON);
    for (turn, form) in FORMS.into_iter().enumerate() {
        let done = cross(&world, turn, form, |ids| {
            format!("UPDATE items SET n = n + 1 WHERE id IN ({}) RETURNING id, n", list(ids))
        });
        assert_eq!(done, ([ok("UPDATE 3", 3), ok("UPDATE 2", 2)], "1".to_owned()), "{form:?}");
    }
}

#[test]
fn upserts_and_deletes_that_cross() {
    let world = Sharded::create("upserts", SOON);
    for (turn, form) in FORMS.into_iter().enumerate() {
        let done = cross(&world, turn, form, |ids| {
            let rows: Vec<String> = ids.iter().map(|id| format!("({id}, 1)")).collect();
            format!(
                "INSERT INTO items (id, n) VALUES {} ON CONFLICT (id) DO UPDATE SET n = items.n + excluded.n RETURNING id",
                rows.join(", ")
            )
        });
        assert_eq!(done, ([ok("INSERT 0 3", 3), ok("INSERT 0 2", 2)], "1".to_owned()), "{form:?}");
    }
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["6", "9", "0", "0"]);
    // The one deletes what the other would.
    let done = cross(&world, 3, Form::Simple, |ids| format!("DELETE FROM items WHERE id IN ({})", list(ids)));
    assert_eq!(done, ([ok("DELETE 3", 0), ok("DELETE 0", 0)], "1".to_owned()));
}

#[test]
fn what_the_client_was_told_is_not_taken_back() {
    let world = Sharded::create("told", SOON);
    for shard in 0..4 {
        world.db.shard(shard).must(
            "CREATE FUNCTION tells() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN RAISE NOTICE ''changed''; RETURN NEW; END'; \
             CREATE TRIGGER tells BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION tells()",
        );
    }
    // The second one has changed a row of shard 0 when it comes to the one that the first one has.
    let (done, retries) = cross(&world, 1, Form::Simple, |ids| {
        let more = if ids.len() == 2 { world.id(0, 0) } else { ids[0] };
        format!("UPDATE items SET n = n + 1 WHERE id IN ({}, {more})", list(ids))
    });
    assert_eq!(done[0], ok("UPDATE 3", 0));
    assert_eq!((&*done[1].0, &*retries), ("40P01", "0"));
}

#[test]
fn a_block_goes_before_a_statement_that_is_alone() {
    let world = Sharded::create("block", SOON);
    let (mut block, mut alone) = (world.connect(), world.connect());
    let set = |shard: usize| format!("UPDATE items SET n = 1 WHERE id = {}", world.id(shard, 0));
    block.must(&format!("BEGIN; {}", set(3)));
    send(&mut alone, Form::Simple, "UPDATE items SET n = n + 10");
    eventually(10, "it waits on shard 3", || world.waiting(3) == 1);
    block.must(&set(0));
    block.must("COMMIT");
    assert_eq!(answer(&mut alone, Form::Simple), ok("UPDATE 60", 0));
    assert_eq!(world.connect().value("SELECT sum(n) FROM items"), "602");
}

#[test]
fn the_bound_is_kept() {
    let world = Sharded::create("bound", &format!("{SOON}\ndeadlock_retries = 1"));
    let set = |shard: usize| format!("UPDATE items SET n = 1 WHERE id = {}", world.id(shard, 0));
    let (mut one, mut two, mut alone) = (world.connect(), world.connect(), world.connect());
    one.must(&format!("BEGIN; {}", set(3)));
    // It is the elder one, and not the victim.
    two.must(&format!("BEGIN; SELECT n FROM items WHERE id = {}", world.id(1, 0)));
    send(&mut alone, Form::Simple, "UPDATE items SET n = n + 10");
    eventually(10, "it waits on the last shard", || world.waiting(3) == 1);
    // It is run again, and waits on the first shard. Where it was faster there than who waited, both meet again, and it is told so now.
    one.must(&set(0));
    two.must(&set(1));
    one.must("COMMIT");
    let told = || metric(&world.router, "pgloom_deadlocks_total") == "2";
    eventually(10, "it waits on the next one", || world.waiting(1) == 1 || told());
    two.must(&set(0));
    assert_eq!(answer(&mut alone, Form::Simple).0, "40P01");
    two.must("COMMIT");
    assert_eq!(world.connect().value("SELECT sum(n) FROM items"), "3");
}

/// Each client runs each statement so many times.
fn hammer(world: &Sharded, clients: usize, rounds: usize, statement: impl Fn(usize, &mut Raw) -> Reply + Sync) {
    std::thread::scope(|scope| {
        for client in 0..clients {
            let statement = &statement;
            scope.spawn(move || {
                let mut raw = world.connect();
                for round in 0..rounds {
                    let reply = statement(client + round, &mut raw);
                    assert_eq!((reply.code(), reply.status), ("", b'I'), "{:?}", reply.error);
                }
            });
        }
    });
}

#[test]
fn many_clients_change_the_same_rows_on_all_shards() {
    let world = Sharded::create("hammer", SOON);
    let update = "UPDATE items SET n = n + 1";
    hammer(&world, 8, 6, |nth, raw| match nth % 3 {
        0 => raw.simple(update),
        1 => raw.extended("UPDATE items SET n = n + $1 RETURNING id", &[23], &[Value::text("1")], 0),
        _ => {
            raw.must("PREPARE u (int) AS UPDATE items SET n = n + $1");
            let reply = raw.simple("EXECUTE u (1)");
            raw.must("DEALLOCATE u");
            reply
        }
    });
    assert_eq!(world.connect().values("SELECT DISTINCT n FROM items"), ["48"]);
    let rows: Vec<String> = (1..=20).map(|id| format!("({id}, 1)")).collect();
    let upsert = format!(
        "INSERT INTO items (id, n) VALUES {} ON CONFLICT (id) DO UPDATE SET n = items.n + excluded.n",
        rows.join(", ")
    );
    hammer(&world, 8, 6, |_, raw| raw.simple(&upsert));
    assert_eq!(world.connect().values("SELECT DISTINCT n FROM items ORDER BY n"), ["48", "96"]);
    hammer(&world, 8, 2, |_, raw| raw.simple("DELETE FROM items WHERE n > 0"));
    assert_eq!(world.connect().value("SELECT count(*) FROM items"), "0");
    assert_eq!(world.prepared(), Vec::<String>::new());
}
