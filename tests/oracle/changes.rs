//! Scripts of writes made from a seed: rows inserted, changed, deleted, merged and moved by conditions and queries of every kind, in blocks
//! and outside. What comes of them does not depend on the order in which a Postgres meets the rows.

use crate::corpus::{Case, Form};
use crate::support::Random;

/// A table that is written, with `@` for its name or alias.
struct Table {
    name: &'static str,
    conditions: &'static [&'static str],
    /// What SET may say.
    sets: &'static [&'static str],
    /// What RETURNING may say.
    columns: &'static str,
    /// Rows for VALUES: `#` is a number that is mostly new.
    rows: &'static [&'static str],
    /// The columns of `rows`, and those of queries.
    into: &'static str,
    queries: &'static [&'static str],
    conflicts: &'static [&'static str],
}

const TABLES: &[Table] = &[
    Table {
        name: "accounts",
        conditions: &[
            "@.tenant_id = 1",
            "@.tenant_id = 4",
            "@.tenant_id = ANY (ARRAY[2, 4, 77])",
            "@.tenant_id BETWEEN 3 AND 5",
            "@.tenant_id > 9",
            "(@.tenant_id, @.id) IN ((1, 12), (3, 14), (5, 16))",
            "@.note IS NULL",
            "@.note LIKE '%1'",
            "@.owner < 'owner3'",
            "@.hits IN (1, 2)",
            "@.hits IS DISTINCT FROM 3",
            "@.id % 4 = 1",
            "@.amount BETWEEN 100 AND 300",
            "CASE WHEN @.hits > 3 THEN @.note IS NULL ELSE @.id < 20 END",
            "EXISTS (SELECT 1 FROM transfers t WHERE t.tenant_id = @.tenant_id AND t.account_id = @.id)",
            "NOT EXISTS (SELECT 1 FROM transfers t WHERE t.account_id = @.id AND t.amount > 20)",
            "@.id IN (SELECT account_id FROM transfers WHERE amount > 50)",
            "@.id NOT IN (SELECT n FROM words WHERE n IS NOT NULL)",
            "@.hits = (SELECT max(rank) FROM labels)",
            "@.amount > (SELECT avg(amount) FROM accounts)",
            "@.tenant_id IN (SELECT id FROM notes WHERE id < 5)",
            "@.id IN (SELECT i FROM generate_series(1, 20, 3) i)",
            "@.amount = (SELECT max(b.amount) FROM accounts b WHERE b.tenant_id = @.tenant_id)",
            "@.id = (SELECT min(b.id) FROM accounts b WHERE b.hits = @.hits)",
            "@.tenant_id = 3 AND @.id > (SELECT count(*) FROM words)",
        ],
        sets: &[
            "hits = @.hits + 1",
            "hits = NULL",
            "hits = coalesce(@.hits, 0) - 2",
            "amount = @.amount * 1.1",
            "amount = (SELECT coalesce(sum(t.amount), 1) FROM transfers t WHERE t.tenant_id = @.tenant_id AND t.account_id = @.id)",
            "amount = (SELECT max(amount) FROM accounts) - @.id",
            "note = 'n' || @.id",
            "note = DEFAULT",
            "owner = @.owner || 'x'",
            "owner = 'same'",
            "(note, hits) = ('a', 4)",
            "(hits, note) = (SELECT max(l.rank), min(l.title) FROM labels l WHERE l.rank < @.hits)",
            "note = (SELECT max(w.word COLLATE \"C\") FROM words w WHERE w.n = @.id)",
            "amount = @.amount + (SELECT count(*) FROM notes), note = NULL",
            "tenant_id = @.tenant_id",
            "tenant_id = 9",
        ],
        columns: "@.tenant_id, @.id, @.owner, @.amount, @.note, @.hits",
        rows: &[
            "(1, #, 'new #', 5, 'v', 1)",
            "(2, #, NULL, 7.255, NULL, NULL)",
            "(3, #, 'owner2', DEFAULT, DEFAULT, 0)",
            "(4, #, 'p#', 1e3, 'it''s', # - 5)",
            "(1 + 4, #, 'q', 12, lower('UP'), 2)",
            "('6', #, 'r', '8.5', $$x$$, 3)",
            "(7, 18, 'taken', 1, 'taken', 1)",
        ],
        into: "tenant_id, id, owner, amount, note, hits",
        queries: &[
            "SELECT tenant_id, id + 1000, owner || 'c', amount, note, hits FROM accounts WHERE hits > 2",
            "SELECT tenant_id + 1, id + 1000, owner || 'd', amount, note, hits FROM accounts WHERE id < 30",
            "SELECT t.tenant_id, t.id + 500, NULL, t.amount, 'from transfer', 1 FROM transfers t",
            "SELECT n, n + 2000, word, n, NULL, 0 FROM words WHERE n <= 12",
            "SELECT rank, ascii(right(code, 1)), title, 1, 'l', rank FROM labels",
            "SELECT i % 12, i, 's' || i, i, NULL, NULL FROM generate_series(40, 75) i",
            "SELECT a.tenant_id, max(a.id) + 300, 'most', sum(a.amount), min(a.note), max(a.hits) FROM accounts a GROUP BY a.tenant_id",
            "SELECT tenant_id, id, owner, amount + 1, 'again', hits FROM accounts WHERE tenant_id < 6",
            "SELECT 4, n.id + 900, n.body, n.id, NULL, 1 FROM notes n WHERE EXISTS (SELECT FROM words w WHERE w.n = n.id)",
        ],
        conflicts: &[
            "ON CONFLICT DO NOTHING",
            "ON CONFLICT (tenant_id, id) DO NOTHING",
            "ON CONFLICT (tenant_id, owner) DO NOTHING",
            "ON CONFLICT (tenant_id, id) DO UPDATE SET hits = coalesce(@.hits, 0) + 1, note = excluded.note",
            "ON CONFLICT (tenant_id, id) DO UPDATE SET amount = excluded.amount + @.amount WHERE @.hits > 2",
            "ON CONFLICT ON CONSTRAINT accounts_pkey DO UPDATE SET note = (SELECT max(title) FROM labels)",
        ],
    },
    Table {
        name: "transfers",
        conditions: &[
            "@.tenant_id = 3",
            "@.tenant_id IN (5, 8)",
            "@.amount > 60",
            "@.account_id < 20",
            "@.id % 8 = 0",
            "@.account_id IS NULL",
            "EXISTS (SELECT FROM accounts a WHERE a.tenant_id = @.tenant_id AND a.id = @.account_id AND a.hits > 3)",
            "@.account_id IN (SELECT id FROM accounts WHERE note IS NULL)",
            "@.amount < (SELECT avg(b.amount) FROM transfers b WHERE b.tenant_id = @.tenant_id)",
        ],
        sets: &[
            "amount = @.amount + 1",
            "amount = NULL",
            "account_id = NULL",
            "account_id = @.account_id + 12",
            "id = @.id + 5000",
            "amount = (SELECT a.amount FROM accounts a WHERE a.tenant_id = @.tenant_id AND a.id = @.account_id)",
            "tenant_id = 2, account_id = NULL",
            "tenant_id = @.tenant_id % 5 + 1, account_id = NULL, id = @.id + 4000",
        ],
        columns: "@.tenant_id, @.id, @.account_id, @.amount",
        rows: &["(1, #, NULL, 3)", "(2, #, 1, 4.5)", "(3, #, 2, NULL)", "(9, 16, 8, 2)"],
        into: "tenant_id, id, account_id, amount",
        queries: &[
            "SELECT tenant_id, id + 3000, id, amount / 3 FROM accounts",
            "SELECT a.tenant_id, a.id + 3000, NULL, w.n FROM accounts a JOIN words w ON w.n = a.id",
            "SELECT tenant_id % 4 + 1, id + 3000, NULL, amount FROM transfers WHERE amount > 10",
        ],
        conflicts: &[
            "ON CONFLICT DO NOTHING",
            "ON CONFLICT (tenant_id, id) DO UPDATE SET amount = excluded.amount, account_id = NULL",
        ],
    },
    Table {
        name: "words",
        conditions: &[
            "@.word = 'word7'",
            "@.word IN ('word1', 'word2', 'none')",
            "@.n > 15",
            "@.n % 3 = 0",
            "@.n IN (SELECT id FROM accounts WHERE tenant_id = 2)",
            "@.word LIKE '%1%'",
            "EXISTS (SELECT FROM labels l WHERE l.rank = @.n)",
        ],
        sets: &[
            "n = @.n + 1",
            "n = NULL",
            "word = @.word || 'z'",
            "word = upper(@.word), n = -@.n",
            "n = (SELECT count(*) FROM accounts a WHERE a.id < @.n)",
        ],
        columns: "@.word, @.n",
        rows: &["('w#', #)", "('word3', #)", "('W' || #, NULL)", "('Zoë#', 0)"],
        into: "word, n",
        queries: &[
            "SELECT owner, id FROM accounts WHERE owner IS NOT NULL",
            "SELECT code, rank FROM labels",
            "SELECT word || '+', n + 1 FROM words",
            "SELECT body, id FROM notes",
        ],
        conflicts: &["ON CONFLICT DO NOTHING", "ON CONFLICT (word) DO UPDATE SET n = @.n + excluded.n"],
    },
    Table {
        name: "readings",
        conditions: &[
            "@.day < '2024-02-01'",
            "@.day = '2024-01-21'",
            "@.n IN (3, 30)",
            "@.v > 7",
            "@.n = (SELECT max(n) FROM readings)",
        ],
        sets: &[
            "v = @.v * 2",
            "v = NULL",
            "day = @.day + 100",
            "n = @.n + 50",
            "day = '2030-01-01'",
            "v = (SELECT avg(b.v) FROM readings b)",
        ],
        columns: "@.day, @.n, @.v",
        rows: &["('2024-01-03', #, 1)", "(date '2025-01-01' + 4, #, NULL)", "('2024-02-05', 7, 1.50)"],
        into: "day, n, v",
        queries: &[
            "SELECT day + 1, n, v FROM readings",
            "SELECT seen::date, 100, NULL FROM sessions GROUP BY 1",
            "SELECT date '2024-01-01' + n, n, n FROM words",
        ],
        conflicts: &["ON CONFLICT DO NOTHING", "ON CONFLICT (day, n) DO UPDATE SET v = excluded.v"],
    },
    Table {
        name: "labels",
        conditions: &[
            "@.code = 'L3'",
            "@.rank > 1",
            "@.rank IN (SELECT hits FROM accounts WHERE tenant_id = 4)",
            "@.title LIKE '%1%'",
            "NOT EXISTS (SELECT FROM accounts a WHERE a.hits = @.rank)",
        ],
        sets: &[
            "rank = @.rank + 1",
            "title = @.code",
            "rank = (SELECT count(*) FROM accounts a WHERE a.hits = @.rank)",
            "code = @.code || 'x'",
        ],
        columns: "@.code, @.title, @.rank",
        rows: &["('n#', 'New', #)", "('L2', 'Taken', 1)", "('m#', NULL, NULL)"],
        into: "code, title, rank",
        queries: &[
            "SELECT word, word, n FROM words",
            "SELECT 'a' || tenant_id || '.' || id, owner, hits FROM accounts WHERE tenant_id < 4",
            "SELECT code || '2', title, rank FROM labels",
        ],
        conflicts: &["ON CONFLICT DO NOTHING", "ON CONFLICT (code) DO UPDATE SET rank = excluded.rank"],
    },
    Table {
        name: "notes",
        conditions: &[
            "@.id = 3",
            "@.id > 6",
            "@.id IN (SELECT hits FROM accounts)",
            "@.body LIKE '%1%'",
            "EXISTS (SELECT FROM words w WHERE w.n = @.id AND w.word < 'word5')",
        ],
        sets: &[
            "body = @.body || '!'",
            "id = @.id + 100",
            "body = (SELECT max(owner) FROM accounts a WHERE a.tenant_id = @.id)",
        ],
        columns: "@.id, @.body",
        rows: &["(#, 'new')", "(4, 'taken')"],
        into: "id, body",
        queries: &[
            "SELECT id + 100, owner FROM accounts",
            "SELECT n, word FROM words WHERE n > 8",
            "SELECT id + 50, body FROM notes",
        ],
        conflicts: &["ON CONFLICT DO NOTHING", "ON CONFLICT (id) DO UPDATE SET body = excluded.body || @.body"],
    },
];

/// One script; `number` names it.
pub fn script(random: &mut Random, number: usize) -> Case {
    let mut steps = Vec::new();
    let block = random.chance(60);
    if block {
        steps.push("BEGIN".to_owned());
    }
    let mut saved = false;
    for _ in 0..1 + random.below(4) {
        if block && !saved && random.chance(15) {
            steps.push("SAVEPOINT s".to_owned());
            saved = true;
        }
        steps.push(change(random));
        if saved && random.chance(30) {
            steps.push("ROLLBACK TO s".to_owned());
        }
        if random.chance(25) {
            steps.push(look(random));
        }
    }
    if block {
        steps.push(if random.chance(80) { "COMMIT" } else { "ROLLBACK" }.to_owned());
    }
    let mut case = Case::plain(format!("changes {number}"), String::new());
    case.statements = steps;
    case.script = true;
    case.resets = true;
    case.forms = vec![*random.pick(&[Form::Simple, Form::Text, Form::Binary])];
    case
}

fn change(random: &mut Random) -> String {
    let table = random.pick(TABLES);
    match random.below(20) {
        0..=3 => insert_rows(random, table),
        4..=6 => insert_query(random, table),
        7..=11 => update(random, table),
        12..=14 => delete(random, table),
        15..=16 => merge(random),
        17..=18 => with(random, table),
        _ => format!("TRUNCATE {}", random.pick(&["transfers", "words", "readings", "labels", "notes"])),
    }
}

/// What shows the state in between, in the transaction that made it.
fn look(random: &mut Random) -> String {
    let table = random.pick(TABLES);
    match random.chance(50) {
        true => format!(
            "SELECT count(*), count(DISTINCT ({0})::text) FROM {1}",
            table.columns.replace('@', table.name),
            table.name
        ),
        false => {
            let condition = condition(random, table, table.name);
            format!(
                "SELECT {0} FROM {1} WHERE {condition} ORDER BY {0}",
                table.columns.replace('@', table.name),
                table.name
            )
        }
    }
}

fn condition(random: &mut Random, table: &Table, name: &str) -> String {
    let one = |random: &mut Random| random.pick(table.conditions).replace('@', name);
    let first = one(random);
    match random.below(10) {
        0..=5 => first,
        6..=7 => format!("{first} AND {}", one(random)),
        8 => format!("({first} OR {})", one(random)),
        _ => format!("NOT ({first})"),
    }
}

fn returning(random: &mut Random, table: &Table, name: &str) -> String {
    match random.below(10) {
        0..=4 => String::new(),
        5..=7 => format!(" RETURNING {}", table.columns.replace('@', name)),
        8 => " RETURNING *".to_owned(),
        _ => format!(" RETURNING ({})::text AS whole, 1 + 1", table.columns.replace('@', name)),
    }
}

fn conflict(random: &mut Random, table: &Table) -> String {
    match random.chance(50) {
        true => format!(" {}", random.pick(table.conflicts).replace('@', table.name)),
        false => String::new(),
    }
}

fn insert_rows(random: &mut Random, table: &Table) -> String {
    let rows: Vec<String> = (0..1 + random.below(4))
        .map(|_| {
            let number = if random.chance(80) { 700 + random.below(200) } else { random.below(60) };
            random.pick(table.rows).replace('#', &number.to_string())
        })
        .collect();
    let (conflict, returning) = (conflict(random, table), returning(random, table, table.name));
    format!("INSERT INTO {} ({}) VALUES {}{conflict}{returning}", table.name, table.into, rows.join(", "))
}

fn insert_query(random: &mut Random, table: &Table) -> String {
    let (query, conflict) = (random.pick(table.queries), conflict(random, table));
    let returning = returning(random, table, table.name);
    format!("INSERT INTO {} ({}) {query}{conflict}{returning}", table.name, table.into)
}

fn update(random: &mut Random, table: &Table) -> String {
    let alias = random.chance(30);
    let name = if alias { "u" } else { table.name };
    let set = random.pick(table.sets).replace('@', name);
    let condition = condition(random, table, name);
    let (from, join) = match (table.name, random.below(5)) {
        ("accounts", 0) => (
            " FROM (SELECT tenant_id, account_id, count(*) AS c FROM transfers GROUP BY 1, 2) f",
            format!("f.tenant_id = {name}.tenant_id AND f.account_id = {name}.id AND f.c > 0 AND "),
        ),
        ("accounts", 1) => (" FROM (SELECT DISTINCT n FROM words) f", format!("f.n = {name}.id AND ")),
        ("transfers", 0) => (
            " FROM accounts f",
            format!("f.tenant_id = {name}.tenant_id AND f.id = {name}.account_id AND f.hits < 5 AND "),
        ),
        ("words", 0) => (" FROM labels f", format!("f.code = 'L2' AND f.rank < {name}.n AND ")),
        _ => ("", String::new()),
    };
    let returning = returning(random, table, name);
    let returning = if from.is_empty() { returning } else { returning.replace(" RETURNING *", "") };
    let target = if alias { format!("{} AS u", table.name) } else { table.name.to_owned() };
    format!("UPDATE {target} SET {set}{from} WHERE {join}{condition}{returning}")
}

fn delete(random: &mut Random, table: &Table) -> String {
    let condition = condition(random, table, table.name);
    let (using, join) = match (table.name, random.below(4)) {
        ("accounts", 0) => (" USING words f", "f.n = accounts.id AND ".to_owned()),
        ("accounts", 1) => (
            " USING transfers f JOIN labels l ON l.rank = 2",
            "f.tenant_id = accounts.tenant_id AND f.account_id = accounts.id AND ".to_owned(),
        ),
        ("transfers", 0) => {
            (" USING accounts f", "f.tenant_id = transfers.tenant_id AND f.id = transfers.account_id AND ".to_owned())
        }
        ("words", 0) => (" USING notes f", "f.id = words.n AND ".to_owned()),
        ("labels", 0) => (" USING accounts f", "f.hits = labels.rank AND f.tenant_id = 5 AND ".to_owned()),
        ("notes", 0) => (" USING accounts f", "f.id = notes.id AND f.hits = 3 AND ".to_owned()),
        _ => ("", String::new()),
    };
    let returning = returning(random, table, table.name);
    let returning = if using.is_empty() { returning } else { returning.replace(" RETURNING *", "") };
    format!("DELETE FROM {}{using} WHERE {join}{condition}{returning}", table.name)
}

fn merge(random: &mut Random) -> String {
    let source = *random.pick(&[
        "(VALUES (1, 12), (2, 13), (3, 888), (12, 11)) s (tenant_id, id)",
        "(SELECT DISTINCT tenant_id, account_id AS id FROM transfers) s",
        "(SELECT n % 12 AS tenant_id, n AS id FROM words) s",
        "(SELECT tenant_id, id + 2 AS id FROM accounts WHERE hits > 1) s",
        "(SELECT i % 12 + 1 AS tenant_id, i AS id FROM generate_series(50, 70) i) s",
        "(SELECT 4 AS tenant_id, id * 3 AS id FROM notes) s",
        "(SELECT rank AS tenant_id, max(ascii(right(code, 1))) AS id FROM labels WHERE rank IS NOT NULL GROUP BY rank) s",
    ]);
    let condition = *random.pick(&["", " AND a.hits > 2", " AND a.note IS NOT NULL", " AND s.id < 40"]);
    let matched = *random.pick(&[
        "UPDATE SET hits = coalesce(a.hits, 0) + 1",
        "UPDATE SET note = 'merged ' || s.id, amount = a.amount + s.id",
        "DELETE",
        "DO NOTHING",
    ]);
    let also = *random.pick(&["", " WHEN MATCHED THEN UPDATE SET note = 'else'", " WHEN MATCHED THEN DELETE"]);
    let missing = *random.pick(&[
        "",
        " WHEN NOT MATCHED THEN INSERT (tenant_id, id, note) VALUES (s.tenant_id, s.id, 'new')",
        " WHEN NOT MATCHED AND s.id > 20 THEN INSERT (tenant_id, id, owner, amount) VALUES (s.tenant_id, s.id, 'o' || s.id, 1)",
        " WHEN NOT MATCHED THEN DO NOTHING",
    ]);
    let on = *random.pick(&[
        "a.tenant_id = s.tenant_id AND a.id = s.id",
        "s.id = a.id AND s.tenant_id = a.tenant_id AND a.amount > 50",
    ]);
    format!("MERGE INTO accounts a USING {source} ON {on} WHEN MATCHED{condition} THEN {matched}{also}{missing}")
}

fn with(random: &mut Random, table: &Table) -> String {
    let inner = condition(random, table, table.name);
    let set = random.pick(table.sets).replace('@', table.name);
    let columns = table.columns.replace('@', table.name);
    let bare = table.columns.replace("@.", "");
    match random.below(14) {
        0 => format!(
            "WITH x AS (UPDATE {} SET {set} WHERE {inner} RETURNING {columns}) SELECT * FROM x ORDER BY {bare}",
            table.name
        ),
        1 => format!("WITH x AS (DELETE FROM {} WHERE {inner} RETURNING {columns}) SELECT count(*) FROM x", table.name),
        2 => format!(
            "WITH x AS (DELETE FROM transfers WHERE amount > 40 RETURNING tenant_id, account_id, amount), \
             y AS (SELECT tenant_id, account_id, sum(amount) AS s FROM x GROUP BY 1, 2) \
             UPDATE accounts a SET amount = a.amount + y.s FROM y WHERE a.tenant_id = y.tenant_id AND a.id = y.account_id{}",
            random.pick(&["", " RETURNING a.tenant_id, a.id, a.amount"])
        ),
        3 => format!(
            "WITH x AS (INSERT INTO accounts (tenant_id, id, owner) VALUES ({t}, {n}, 'with') RETURNING tenant_id, id) \
             INSERT INTO transfers (tenant_id, id, account_id) SELECT tenant_id, 9000 + id, id FROM x",
            t = 1 + random.below(12),
            n = 300 + random.below(50)
        ),
        4 => format!(
            "WITH old AS (SELECT {columns} FROM {0} WHERE {inner}) DELETE FROM {0} WHERE {key} IN (SELECT {key} FROM old)",
            table.name,
            key = first_column(table)
        ),
        5..=9 => finished(random, table),
        _ if random.chance(70) => archived(random, table),
        _ => {
            let words = "WITH gone AS (DELETE FROM words WHERE n < 6 RETURNING word, n) ";
            format!("{words}INSERT INTO notes (id, body) SELECT n + 700, word FROM gone")
        }
    }
}

/// What no shard makes of the rows that its own changes return.
fn finished(random: &mut Random, table: &Table) -> String {
    let inner = condition(random, table, table.name);
    let set = random.pick(table.sets).replace('@', table.name);
    let columns = table.columns.replace('@', table.name);
    let bare = table.columns.replace("@.", "");
    let name = table.name;
    let returned = match random.chance(50) {
        true => format!("x AS (UPDATE {name} SET {set} WHERE {inner} RETURNING {columns})"),
        false => format!("x AS (DELETE FROM {name} WHERE {inner} RETURNING *)"),
    };
    match random.below(8) {
        0 => format!("WITH {returned} SELECT {bare}, row_number() OVER (ORDER BY {bare}) FROM x ORDER BY {bare}"),
        1 => format!("WITH {returned} SELECT {bare} FROM x ORDER BY {bare} LIMIT 2"),
        2 => format!("WITH {returned} SELECT (SELECT count(*) FROM {name}), (SELECT count(*) FROM x)"),
        3 => format!("WITH {returned} SELECT count(*), count(DISTINCT l.code) FROM x, labels l WHERE l.rank > 1"),
        4 => format!("WITH {returned} SELECT 'one' WHERE EXISTS (SELECT FROM x)"),
        5 => format!(
            "WITH {returned}, y AS (UPDATE notes SET body = body || 'w' WHERE id < 4 RETURNING id) \
             SELECT count(*), (SELECT max(id) FROM y) FROM x"
        ),
        6 => format!(
            "WITH {returned} SELECT w.word, (SELECT count(*) FROM x) FROM words w WHERE w.n > 9 UNION ALL \
             SELECT 'all', count(*) FROM x ORDER BY 1, 2"
        ),
        _ => format!(
            "WITH {returned} SELECT a.id FROM accounts a WHERE a.hits > 2 AND NOT EXISTS (SELECT FROM x) ORDER BY 1"
        ),
    }
}

/// Rows that leave one table and come into another.
fn archived(random: &mut Random, table: &Table) -> String {
    let inner = condition(random, table, table.name);
    let columns = table.columns.replace('@', table.name);
    let gone = format!("x AS (DELETE FROM {} WHERE {inner} RETURNING {columns})", table.name);
    let numbered = "(SELECT row_number() OVER () AS i FROM x) n";
    let into = *random.pick(&[
        "notes (id, body) SELECT i + 5000, 'archived' FROM",
        "words (word, n) SELECT 'archived ' || i, i FROM",
        "readings (day, n, v) SELECT date '2026-01-01' + i::int, i, NULL FROM",
        "labels (code, title, rank) SELECT 'archived ' || i, 'Old', i FROM",
        "accounts (tenant_id, id) SELECT i % 12, i + 5000 FROM",
        "transfers (tenant_id, id) SELECT i % 12, i + 5000 FROM",
    ]);
    let returning = random.pick(&["", " ON CONFLICT DO NOTHING", " RETURNING 1 AS one"]);
    format!("WITH {gone} INSERT INTO {into} {numbered}{returning}")
}

fn first_column(table: &Table) -> &'static str {
    table.into.split(", ").next().unwrap_or_default()
}
