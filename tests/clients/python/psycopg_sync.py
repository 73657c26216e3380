"""psycopg 3 as most use it: statements, transactions, prepared statements, binary, server-side cursors, pipelines, COPY."""

import datetime
import decimal
import uuid

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from told import end, refused, say

EVERY = "SELECT tenant_id, id, product, total, paid, placed, tags, note, token, raw FROM orders"

with psycopg.connect("") as conn:
    # One shard, all shards, the home shard, a reference table.
    say("one", conn.execute(EVERY + " WHERE tenant_id = %s AND id = %s", (7, 3)).fetchall())
    cur = conn.execute(EVERY + " ORDER BY tenant_id, id")
    say("all", cur.rowcount, cur.statusmessage, [(c.name, c.type_code, c.internal_size, c.precision, c.scale) for c in cur.description])
    for row in cur:
        say("row", row)
    say("home", conn.execute("SELECT id, body FROM notes ORDER BY id").fetchall())
    say("reference", conn.execute("SELECT * FROM products ORDER BY code").fetchall())
    say("joined", conn.execute(
        "SELECT c.name, count(*), sum(o.total), avg(o.total) FROM customers c JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id"
        " GROUP BY c.name ORDER BY sum(o.total) DESC, c.name LIMIT %s", (4,)).fetchall())
    say("any", conn.execute("SELECT count(*) FROM orders WHERE tenant_id = ANY(%s)", ([1, 5, 9],)).fetchone())
    say("none", conn.execute("SELECT id FROM orders WHERE tenant_id = 99").fetchone())
    conn.commit()

    # All types, both ways, as text and binary.
    values = (3, 100, 1, "ant", decimal.Decimal("12.50"), True, datetime.datetime(2026, 5, 6, 7, 8, 9, 123456, datetime.timezone.utc),
              ["a", None, 'b "c"'], Jsonb({"k": [1, None, "é"]}), uuid.UUID(int=5), b"\x00\x01\xff")
    insert = "INSERT INTO orders VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *"
    for binary in (False, True):
        say("insert", conn.execute(insert, values, binary=binary).fetchone())
        say("read", conn.execute(EVERY + " WHERE tenant_id = %b AND id = %b", (3, 100), binary=binary).fetchone())
        say("delete", conn.execute("DELETE FROM orders WHERE tenant_id = %s AND id = %s", (3, 100)).statusmessage)
    conn.commit()

    # Prepared after five times, and at once.
    for tenant in range(1, 13):
        say("prepared", conn.execute("SELECT sum(total) FROM orders WHERE tenant_id = %s", (tenant,)).fetchone())
        say("everywhere", conn.execute("SELECT count(*) FROM orders WHERE total > %s", (tenant * 20,), prepare=True).fetchone())
    conn.commit()

    # Errors, savepoints, blocks.
    refused("duplicate", psycopg.errors.UniqueViolation, lambda: conn.execute("INSERT INTO customers VALUES (1, 1, 'again')"))
    refused("aborted", psycopg.errors.InFailedSqlTransaction, lambda: conn.execute("SELECT 1"))
    conn.rollback()
    with conn.transaction():
        conn.execute("UPDATE customers SET name = 'renamed' WHERE tenant_id IN (1, 2)")
        try:
            with conn.transaction():
                conn.execute("INSERT INTO customers VALUES (4, 9, 'in a savepoint')")
                conn.execute("INSERT INTO orders (tenant_id, id, customer_id) VALUES (4, 99, 77)")
        except psycopg.errors.ForeignKeyViolation as error:
            say("foreign key", error.diag.constraint_name, error.diag.table_name, error.diag.message_detail)
    say("after", conn.execute("SELECT tenant_id, id, name FROM customers WHERE tenant_id IN (1, 2, 4) ORDER BY 1, 2").fetchall())
    refused("check", psycopg.errors.CheckViolation, lambda: conn.execute("INSERT INTO products VALUES ('dog', 'Dog', -1)"))
    conn.rollback()
    refused("syntax", psycopg.errors.SyntaxError, lambda: conn.execute("SELEC 1"))
    conn.rollback()
    refused("unknown", psycopg.errors.UndefinedColumn, lambda: conn.execute("SELECT nothing FROM orders"))
    conn.rollback()

    # executemany is a pipeline; returning gives a result for each.
    with conn.cursor() as cur:
        cur.executemany("INSERT INTO customers VALUES (%s, %s, %s) RETURNING tenant_id, name", [(t, 50, f"many {t}") for t in range(1, 9)], returning=True)
        while True:
            say("many", cur.fetchall())
            if not cur.nextset():
                break
    conn.rollback()

    # A pipeline by hand, with an error in its middle.
    with conn.pipeline():
        first = conn.execute("SELECT name FROM customers WHERE tenant_id = 5 AND id = 1")
        second = conn.execute("SELECT count(*) FROM customers")
        third = conn.execute("SELECT body FROM notes WHERE id = %s", (1,))
        say("pipeline", first.fetchone(), second.fetchone(), third.fetchone())
    conn.commit()
    try:
        with conn.pipeline() as pipe:
            conn.execute("INSERT INTO customers VALUES (6, 70, 'x')")
            bad = conn.execute("SELECT 1 / 0")
            behind = conn.execute("INSERT INTO customers VALUES (7, 70, 'y')")
            pipe.sync()
    except psycopg.Error as error:
        say("broken pipeline", type(error).__name__, error.sqlstate)
    conn.rollback()
    say("nothing of it", conn.execute("SELECT count(*) FROM customers WHERE id = 70").fetchone())

    # Server-side cursors: forward, scrolling, WITH HOLD.
    with conn.cursor(name="forward") as cur:
        cur.itersize = 7
        cur.execute("SELECT tenant_id, id, total FROM orders ORDER BY total DESC")
        say("cursor", cur.fetchone(), cur.fetchmany(3), len(cur.fetchall()))
    with conn.cursor(name="iterated") as cur:
        cur.itersize = 4
        say("iterated", [row[0] for row in cur.execute("SELECT id FROM customers WHERE tenant_id = 3 ORDER BY id")])
    with conn.cursor(name="binary", row_factory=dict_row) as cur:
        say("dicts", cur.execute("SELECT * FROM customers WHERE tenant_id = 9 ORDER BY id", binary=True).fetchall())
    conn.commit()

    # COPY, both ways, text and binary.
    with conn.cursor() as cur:
        with cur.copy("COPY customers (tenant_id, id, name, joined) FROM STDIN") as copy:
            for tenant in range(1, 13):
                copy.write_row((tenant, 60, f"copied\t{tenant}\\", datetime.date(2026, 3, tenant)))
        say("copied in", cur.rowcount, cur.statusmessage)
        with cur.copy("COPY customers (tenant_id, id, name, joined) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "int4", "varchar", "date"])
            for tenant in range(1, 13):
                copy.write_row((tenant, 61, "binär", datetime.date(2026, 3, tenant)))
        say("copied in", cur.rowcount)
        with cur.copy("COPY (SELECT tenant_id, id, name, joined FROM customers WHERE id >= 60 ORDER BY tenant_id, id) TO STDOUT") as copy:
            copy.set_types(["int4", "int4", "varchar", "date"])
            for row in copy.rows():
                say("copied out", row)
        with cur.copy("COPY customers TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "int4", "varchar", "date"])
            say("copied out", sorted(copy.rows()))

        def spoil():
            with cur.copy("COPY customers FROM STDIN") as copy:
                copy.write_row((1, 62, "good", "2026-01-01"))
                copy.write_row((2, "bad", "x", "2026-01-01"))

        refused("bad row", psycopg.errors.InvalidTextRepresentation, spoil)
    conn.rollback()

    def give_up():
        with conn.cursor() as cur, cur.copy("COPY customers FROM STDIN") as copy:
            copy.write_row((1, 63, "x", "2026-01-01"))
            raise ZeroDivisionError("given up")

    refused("given up", ZeroDivisionError, give_up)
    conn.rollback()
    say("undone", conn.execute("SELECT count(*) FROM customers WHERE id >= 60").fetchone())

    # Settings, notices, notifications, the state that the driver tracks.
    conn.add_notice_handler(lambda notice: say("notice", notice.severity, notice.sqlstate, notice.message_primary))
    conn.execute("DO $$ BEGIN RAISE NOTICE 'hello %', 1; END $$")
    conn.execute("SET TIME ZONE 'Asia/Tokyo'")
    say("time zone", conn.info.parameter_status("TimeZone"), conn.execute("SELECT placed FROM orders WHERE tenant_id = 2 AND id = 2").fetchone())
    conn.commit()
    say("info", conn.info.encoding, conn.info.parameter_status("standard_conforming_strings"), conn.info.transaction_status.name)
    say("version", conn.info.server_version)

with psycopg.connect("", autocommit=True) as conn:
    conn.execute("LISTEN word")
    conn.execute("NOTIFY word, 'spoken'")
    say("heard", [(n.channel, n.payload) for n in conn.notifies(timeout=20, stop_after=1)])
    conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    conn.read_only = True
    with conn.transaction():
        say("isolation", conn.execute("SHOW transaction_isolation").fetchone(), conn.execute("SHOW transaction_read_only").fetchone())
        say("one shard", conn.execute("SELECT count(*) FROM orders WHERE tenant_id = 4").fetchone())
    conn.execute("CREATE TABLE scratch (tenant_id int, note text)")
    conn.execute("DROP TABLE scratch")
    with conn.cursor(binary=True) as cur:
        say("client types", cur.execute("SELECT 1::int2, 2::int8, 1.5::float8, 'x'::\"char\", '1 day'::interval, '10.0.0.1'::inet, ARRAY[1,2], NULL").fetchone())
end()
