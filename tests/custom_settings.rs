//! Custom settings (`app.tenant`): once named they exist for as long as their session lives, on every shard, and for nobody else.
//! The same statements on one Postgres and through the router must have the same answers.

#![allow(clippy::unwrap_used)]

mod support;

use support::Sharded;
use support::raw::{Raw, Reply};

/// Stands for one question to each shard, and those that a merge and a Postgres at the end answer.
const ALL: &str = "what every connection knows";

struct World {
    world: Sharded,
}

impl World {
    fn create(label: &str, pool: usize) -> Self {
        let world = Sharded::create(label, &format!("default_pool_size = {pool}"));
        let tables = "CREATE TABLE items (id int PRIMARY KEY, n int, name text); \
             CREATE TABLE plain (id int PRIMARY KEY, body text); \
             INSERT INTO items SELECT g, 0, 'item ' || g FROM generate_series(1, 60) g; INSERT INTO plain VALUES (1, 'one')";
        world.db.oracle().must(tables);
        Self { world }
    }

    fn statements(&self, statements: &[&str]) -> Vec<String> {
        let known = "current_setting('my.who', true), current_setting('my.other', true)";
        let looks = |ids: &Vec<i32>| format!("SELECT id, {known} FROM items WHERE id = {}", ids[0]);
        let mut all: Vec<String> = self.world.ids.iter().map(looks).collect();
        all.extend([
            format!("SELECT {known}"),
            "SHOW my.who".to_owned(),
            "SELECT current_setting('my.who')".to_owned(),
            "SELECT count(*), count(current_setting('my.who', true)) FROM items".to_owned(),
            format!("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY n), {known} FROM items"),
        ]);
        let each = |sql: &&str| if **sql == *ALL { all.clone() } else { vec![(*sql).to_owned()] };
        statements.iter().flat_map(each).collect()
    }

    /// Asks the same on both sides.
    #[track_caller]
    fn ask(&self, (oracle, through): &mut (Raw, Raw), statements: &[&str], extended: bool) {
        for sql in self.statements(statements) {
            let one = extended && !sql.contains(';');
            let ask = |raw: &mut Raw| if one { raw.extended(&sql, &[], &[], 0) } else { raw.simple(&sql) };
            let facts = |reply: Reply| {
                let finished: Vec<_> = reply.answers.iter().filter(|answer| answer.tag.is_some()).cloned().collect();
                (reply.code().to_owned(), finished, reply.status)
            };
            let (theirs, ours) = (facts(ask(oracle)), facts(ask(through)));
            assert_eq!(ours, theirs, "{sql} of {statements:#?}, extended {extended}");
        }
    }

    fn pair(&self) -> (Raw, Raw) {
        (self.world.db.oracle(), self.world.connect())
    }

    /// Plays the statements in both protocols, each time in a session of its own; then others see nothing of it.
    #[track_caller]
    fn same(&self, statements: &[&str]) {
        for extended in [false, true] {
            self.ask(&mut self.pair(), statements, extended);
            self.ask(&mut self.pair(), &[ALL], extended);
        }
    }
}

#[test]
fn a_custom_setting_exists_once_it_was_named() {
    let world = World::create("custom", 2);
    for statements in [
        &[ALL, "SET my.who = 'x'", ALL, "RESET my.who", ALL][..],
        &["SET my.who = 'x'", ALL, "RESET ALL", ALL],
        &["SET my.who = 'x'", ALL, "DISCARD ALL", ALL],
        &["RESET my.who", ALL],
        &["SET my.who TO DEFAULT", ALL],
        &["SET LOCAL my.who = 'x'", ALL],
        &["BEGIN", "SET my.who = 'x'", ALL, "ROLLBACK", ALL],
        &[
            "BEGIN",
            ALL,
            "ROLLBACK",
            "BEGIN",
            "SET LOCAL my.who = 'x'",
            "SELECT id FROM items WHERE id = 3",
            "COMMIT",
            ALL,
        ],
        &["BEGIN", "SAVEPOINT s", "SET my.who = 'x'", "ROLLBACK TO s", "SELECT count(*) FROM items", "COMMIT", ALL],
        &["BEGIN", "SET my.who = 'x'", "SAVEPOINT s", "SET my.other = 'x'", "ROLLBACK TO s", "COMMIT", ALL],
        &["BEGIN", "SET my.who = 'x'", "SELECT 1 / 0", "ROLLBACK", ALL],
        &["SELECT set_config('my.who', 'x', true)", ALL],
        &["SELECT set_config('my.who', NULL, false)", ALL],
        &["BEGIN", "SELECT set_config('my.who', 'x', true), set_config('my.other', 'y', false)", "COMMIT", ALL],
        &["SET my.who = 'x'; SET my.other = 'y'", ALL, "RESET my.other", ALL],
        &["BEGIN; SET LOCAL my.who = 'x'; SELECT count(*) FROM items; COMMIT", ALL],
        // Nothing was made by these.
        &["RESET my.1x", ALL],
        &["SET \"my user\".x = 'x'", "SELECT set_config('my who.x', 'y', false)", ALL],
        &["RESET nobody", "SET nobody TO DEFAULT", "RESET work_mem", ALL],
        &["BEGIN", "SELECT 1 / 0", "SET my.who = 'x'", "ROLLBACK", ALL],
        // The value is computed, the name is not.
        &["BEGIN", "SELECT set_config('my.who', 'x' || 'y', true)", "COMMIT", ALL],
        &["SELECT set_config('my.who', 'x' || 'y', true)", ALL],
    ] {
        world.same(statements);
    }
}

/// Sessions with and without custom settings share a pool, and take turns.
#[test]
fn nobody_sees_the_custom_settings_of_others() {
    let world = World::create("customs", 1);
    for extended in [false, true] {
        let mut sessions: Vec<(Raw, Raw)> = (0..4).map(|_| world.pair()).collect();
        for (at, names) in [(0, &["my.who"][..]), (1, &["my.other"]), (2, &["my.who", "my.other"]), (0, &[])] {
            for name in names {
                world.ask(&mut sessions[at], &[&format!("SET {name} = 'of {at}'")], extended);
            }
            for session in sessions.iter_mut().rev() {
                world.ask(session, &[ALL], extended);
            }
            for session in &mut sessions {
                world.ask(session, &["BEGIN", "SELECT count(*) FROM items", ALL, "ROLLBACK"], extended);
            }
        }
        world.ask(&mut sessions[1], &["RESET ALL", ALL], extended);
        for session in &mut sessions {
            world.ask(session, &[ALL], extended);
        }
    }
}

#[test]
fn code_that_computes_the_name_spoils_its_connection_alone() {
    let world = World::create("customname", 1);
    for _ in 0..2 {
        let mut raw = world.world.connect();
        raw.must("BEGIN; SELECT set_config('my.' || 'who', 'x', true)");
        raw.must("COMMIT");
        world.ask(&mut world.pair(), &[ALL], false);
    }
}

#[test]
fn definitions_make_the_settings_that_they_name() {
    let world = World::create("customdef", 1);
    for extended in [false, true] {
        let function = format!(
            "CREATE FUNCTION with_user_{extended}() RETURNS text LANGUAGE sql SET my.who = 'y' AS $$ SELECT 'SET my.other' $$"
        );
        world.ask(&mut world.pair(), &[&function, ALL], extended);
        world.ask(&mut world.pair(), &[ALL], extended);
    }
}

/// Connections go from hand to hand where custom settings are the same: nothing is made anew.
#[test]
fn sessions_with_the_same_custom_settings_share_connections() {
    let world = World::create("customshare", 1);
    let pids = |raw: &mut Raw| raw.value("SELECT pg_backend_pid()");
    let mut sessions: Vec<Raw> = (0..3).map(|_| world.world.connect()).collect();
    sessions.iter_mut().for_each(|raw| drop(raw.must("SET my.who = 'x'")));
    let first = pids(&mut sessions[0]);
    for raw in &mut sessions {
        raw.must("BEGIN; SET LOCAL my.who = 'y'; COMMIT");
        assert_eq!(pids(raw), first);
    }
    // One that comes anew and names it first finds it too.
    let mut late = world.world.connect();
    late.must("BEGIN; SET LOCAL my.who = 'z'; COMMIT");
    assert_eq!(pids(&mut late), first);
    let mut other = world.world.connect();
    assert_ne!(pids(&mut other), first);
}
