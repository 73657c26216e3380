"""psycopg2: blocks, server-side cursors, copy_expert, execute_values, adapters, types, errors."""

import datetime
import io
import uuid

import psycopg2
import psycopg2.extras
from psycopg2 import errors, sql
from told import end, refused, say

psycopg2.extras.register_uuid()
conn = psycopg2.connect("")
say("status", conn.server_version, conn.encoding, conn.get_parameter_status("DateStyle"), conn.get_transaction_status())

with conn, conn.cursor() as cur:
    cur.execute("SELECT * FROM orders WHERE tenant_id = %s ORDER BY id", (6,))
    say("columns", [(c.name, c.type_code, c.display_size, c.internal_size, c.precision, c.scale) for c in cur.description])
    say("rows", cur.rowcount, cur.statusmessage, cur.fetchall())
    cur.execute("SELECT tenant_id, count(*), max(placed), array_agg(id ORDER BY id) FROM orders GROUP BY tenant_id ORDER BY tenant_id")
    say("groups", cur.fetchall())
    psycopg2.extras.execute_values(
        cur, "INSERT INTO customers (tenant_id, id, name) VALUES %s RETURNING id", [(t, 30 + n, f"v {t}") for t in range(1, 7) for n in range(3)], page_size=6)
    say("values", cur.rowcount)
    psycopg2.extras.execute_batch(cur, "UPDATE customers SET name = %s WHERE tenant_id = %s AND id = 30", [(f"b {t}", t) for t in range(1, 7)])
    cur.execute("SELECT tenant_id, id, name FROM customers WHERE id >= 30 ORDER BY tenant_id, id")
    say("written", cur.fetchall())
    cur.execute("DELETE FROM customers WHERE id >= 30")
    say("deleted", cur.rowcount)
    cur.execute("INSERT INTO notes (body) VALUES (%s) RETURNING id", ("returned",))
    say("serial", cur.fetchone())
    cur.execute("SELECT %s, %s, %s, %s", (uuid.UUID(int=1), datetime.date(2026, 1, 2), [1, 2], psycopg2.extras.Json({"a": 1})))
    say("adapted", cur.fetchone())
    cur.execute(sql.SQL("SELECT {} FROM {} WHERE tenant_id = {} ORDER BY 1").format(sql.Identifier("name"), sql.Identifier("customers"), sql.Literal(2)))
    say("composed", cur.fetchall())
    say("mogrified", cur.mogrify("SELECT %s, %s", ("it's", b"\x00")))

# A block that fails rolls back.
try:
    with conn, conn.cursor() as cur:
        cur.execute("INSERT INTO customers VALUES (1, 40, 'x'), (2, 40, 'y'), (3, 1, 'there already')")
except errors.UniqueViolation as error:
    say("unique", error.pgcode, error.diag.constraint_name, error.diag.message_detail, error.diag.schema_name)
with conn, conn.cursor() as cur:
    cur.execute("SELECT count(*) FROM customers WHERE id = 40")
    say("rolled back", cur.fetchone())

# Server-side cursors.
with conn:
    with conn.cursor(name="big") as cur:
        cur.itersize = 10
        cur.execute("SELECT tenant_id, id FROM orders ORDER BY tenant_id, id")
        say("named", [row for row in cur])
    with conn.cursor("scrolls", scrollable=True) as cur:
        cur.execute("SELECT id FROM orders WHERE tenant_id = 8 ORDER BY id")
        cur.scroll(3)
        say("scrolled", cur.fetchone())
        cur.scroll(-2)
        say("back", cur.fetchone())
held = conn.cursor("held", withhold=True)
held.execute("SELECT id FROM notes ORDER BY id")
conn.commit()
say("held", held.fetchmany(2), held.fetchall())
held.close()
conn.commit()

# COPY.
with conn, conn.cursor() as cur:
    cur.copy_expert("COPY customers (tenant_id, id, name) FROM STDIN WITH (FORMAT csv, HEADER)", io.StringIO('tenant_id,id,name\n1,41,"a ""b"", c"\n2,41,d\n11,41,e\n'))
    say("copied in", cur.rowcount)
    out = io.StringIO()
    cur.copy_expert("COPY (SELECT * FROM customers WHERE id = 41 ORDER BY 1) TO STDOUT WITH CSV HEADER", out)
    say("copied out", out.getvalue())
    cur.copy_from(io.StringIO("5\t42\tcopy_from\n6\t42\t\\N\n".replace("\\N", "none")), "customers", columns=("tenant_id", "id", "name"))
    out = io.StringIO()
    cur.copy_to(out, "customers", columns=("tenant_id", "id"))
    say("copied to", sorted(out.getvalue().splitlines()))
    cur.execute("DELETE FROM customers WHERE id > 40")
    say("away", cur.rowcount)

# Rows as dictionaries and tuples, autocommit, isolation, errors outside of a block, notices.
conn.autocommit = True
with conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cur:
    cur.execute("SELECT id, name FROM customers WHERE tenant_id = 10 ORDER BY id")
    say("dicts", cur.fetchall())
with conn.cursor(cursor_factory=psycopg2.extras.NamedTupleCursor) as cur:
    cur.execute("SELECT count(*) AS n, min(joined) AS first FROM customers")
    say("tuples", cur.fetchone())
    refused("division", errors.DivisionByZero, lambda: cur.execute("SELECT 1 / 0"))
    cur.execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$")
    say("notices", conn.notices)
    cur.execute("SELECT 1; SELECT 2 AS second")
    say("last of two", cur.fetchall())
    cur.callproc("vat", (100,))
    say("function", cur.fetchone())
conn.set_session(isolation_level="REPEATABLE READ", readonly=True, autocommit=False)
with conn, conn.cursor() as cur:
    cur.execute("SHOW transaction_isolation")
    say("isolation", cur.fetchone())
    refused("read only", errors.ReadOnlySqlTransaction, lambda: cur.execute("DELETE FROM notes"))
conn.rollback()
conn.set_session(isolation_level="DEFAULT", readonly=False)

conn.close()
end()
