"""asyncpg: its statement cache, executemany, copy_records_to_table, cursors, a pool, listeners, type introspection."""

import asyncio
import datetime
import decimal
import io
import json
import os
import uuid

import asyncpg
from told import end, say


async def failing(label, error_class, act):
    try:
        await act
    except error_class as error:
        say(label, type(error).__name__, error.sqlstate, str(error), error.constraint_name)
    else:
        raise SystemExit(f"{label}: no error")


async def main():
    url = os.environ["CLIENT_URL"]
    conn = await asyncpg.connect(url)
    say("version", conn.get_server_version(), conn.get_settings().client_encoding, conn.get_settings().TimeZone)
    every = "SELECT tenant_id, id, product, total, paid, placed, tags, note, token, raw FROM orders"
    say("one", [tuple(r) for r in await conn.fetch(every + " WHERE tenant_id = $1 ORDER BY id", 7)])
    say("all", [tuple(r) for r in await conn.fetch(every + " WHERE total > $1 ORDER BY tenant_id, id", decimal.Decimal("100"))])
    say("value", await conn.fetchval("SELECT count(*) FROM orders WHERE tenant_id = ANY($1::int[])", [1, 2, 3]))
    say("types", tuple(await conn.fetchrow("SELECT $1::date, $2::timestamptz, $3::uuid, $4::jsonb, $5::numeric, $6::text[], $7::bytea, $8::interval, $9::inet",
        datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), uuid.UUID(int=3), json.dumps({"a": 1}),
        decimal.Decimal("1.50"), ["x", None], b"\x00", datetime.timedelta(days=1, seconds=1), "10.0.0.1/32")))
    # A type of its own is looked up in the catalog, and kept.
    say("enum", [tuple(r) for r in await conn.fetch("SELECT code, size FROM products ORDER BY code")])
    say("enum value", await conn.fetchval("SELECT count(*) FROM products WHERE size = $1", "large"))
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    say("codec", await conn.fetchval("SELECT note FROM orders WHERE tenant_id = 3 AND id = 3"))

    # The cache of statements, over changes of the table.
    statement = await conn.prepare("SELECT name FROM customers WHERE tenant_id = $1 AND id = $2")
    say("prepared", statement.get_parameters(), [(a.name, a.type.name) for a in statement.get_attributes()], await statement.fetchval(5, 2))
    for tenant in range(1, 13):
        say("cached", await conn.fetchrow("SELECT min(id), max(joined) FROM customers WHERE tenant_id = $1", tenant))
    await conn.execute("ALTER TABLE customers ADD COLUMN extra int DEFAULT 5")
    say("changed", await conn.fetchrow("SELECT * FROM customers WHERE tenant_id = $1 AND id = 1", 4))
    await conn.execute("ALTER TABLE customers DROP COLUMN extra")
    say("changed back", await conn.fetchrow("SELECT * FROM customers WHERE tenant_id = $1 AND id = 1", 4))

    # Many at one time: one transaction.
    await conn.executemany("INSERT INTO customers VALUES ($1, $2, $3)", [(t, 20, f"many {t}") for t in range(1, 13)])
    say("many", await conn.fetchval("SELECT count(*) FROM customers WHERE id = 20"))
    await failing("many failing", asyncpg.UniqueViolationError, conn.executemany("INSERT INTO customers VALUES ($1, $2, 'x')", [(1, 21), (2, 21), (3, 20), (4, 21)]))
    say("none of it", await conn.fetchval("SELECT count(*) FROM customers WHERE id = 21"))
    say("many returning", [tuple(r) for r in await conn.fetchmany("UPDATE customers SET name = upper(name) WHERE tenant_id = $1 AND id = 20 RETURNING name", [(1,), (2,), (3,)])])
    say("deleted", await conn.execute("DELETE FROM customers WHERE id = 20"))

    # COPY: binary records, from and to files, of a query.
    records = [(t, n, f"copied {t}.{n}", datetime.date(2026, 4, t)) for t in range(1, 13) for n in range(30, 33)]
    say("copied", await conn.copy_records_to_table("customers", records=records, columns=["tenant_id", "id", "name", "joined"]))
    out = io.BytesIO()
    say("out", await conn.copy_from_query("SELECT * FROM customers WHERE id >= $1 ORDER BY tenant_id, id", 30, output=out, format="csv", header=True))
    say("text", out.getvalue())
    out = io.BytesIO()
    say("table", await conn.copy_from_table("customers", columns=["tenant_id", "id"], output=out), sorted(out.getvalue().split(b"\n")))
    say("in", await conn.copy_to_table("notes", source=io.BytesIO(b"copied one\ncopied two\n"), columns=["body"]))
    await failing("bad", asyncpg.BadCopyFileFormatError, conn.copy_to_table("notes", source=io.BytesIO(b"1\t2\t3\n"), columns=["body"]))
    await conn.execute("DELETE FROM customers WHERE id >= 30")

    # Transactions and savepoints, cursors within.
    try:
        async with conn.transaction(isolation="repeatable_read"):
            await conn.execute("UPDATE orders SET paid = true")
            try:
                async with conn.transaction():
                    await conn.execute("INSERT INTO customers VALUES (1, 1, 'again')")
            except asyncpg.UniqueViolationError as error:
                say("savepoint", error.detail, error.table_name)
            say("within", await conn.fetchval("SELECT count(*) FROM orders WHERE paid"))
            raise KeyError("back")
    except KeyError:
        say("after", await conn.fetchval("SELECT count(*) FROM orders WHERE paid"), conn.is_in_transaction())
    async with conn.transaction(readonly=True):
        say("cursor", [r["id"] async for r in conn.cursor("SELECT id FROM orders WHERE tenant_id = $1 ORDER BY id", 3, prefetch=2)])
        say("cursor over shards", [tuple(r) async for r in conn.cursor("SELECT tenant_id, id FROM orders ORDER BY total, tenant_id, id", prefetch=7)])
        cursor = await conn.cursor("SELECT tenant_id FROM customers ORDER BY tenant_id, id")
        say("forward", await cursor.fetch(3), await cursor.forward(5), await cursor.fetchrow())
    await failing("division", asyncpg.DivisionByZeroError, conn.fetch("SELECT 1 / 0"))
    await failing("foreign key", asyncpg.ForeignKeyViolationError, conn.execute("INSERT INTO orders (tenant_id, id, customer_id) VALUES ($1, 900, 900)", 5))

    # A pool: reset between users.
    async with asyncpg.create_pool(url, min_size=2, max_size=4) as pool:
        async def work(tenant):
            async with pool.acquire() as c:
                await c.execute("SET application_name = 'worker'")
                async with c.transaction():
                    await c.execute("UPDATE customers SET name = $2 WHERE tenant_id = $1 AND id = 1", tenant, f"pooled {tenant}")
                return await c.fetchval("SELECT name FROM customers WHERE tenant_id = $1 AND id = 1", tenant)
        say("pool", await asyncio.gather(*(work(t) for t in range(1, 13))))
        async with pool.acquire() as c:
            say("reset", await c.fetchval("SHOW application_name") != "worker")

    # Notifications.
    heard = asyncio.Queue()
    await conn.add_listener("news", lambda _, __, channel, payload: heard.put_nowait((channel, payload)))
    await pool_notify(url)
    say("heard", await asyncio.wait_for(heard.get(), 60))
    # A time-out cancels the statement; the connection goes on.
    try:
        await conn.fetch("SELECT pg_sleep(60)", timeout=1)
    except asyncio.TimeoutError:
        say("timed out")
    say("goes on", await conn.fetchval("SELECT 5"))
    await conn.reset()
    await conn.close()
    end()


async def pool_notify(url):
    other = await asyncpg.connect(url, statement_cache_size=0)
    await other.execute("SELECT pg_notify('news', 'hello')")
    say("no cache", await other.fetchval("SELECT count(*) FROM orders WHERE tenant_id = $1", 1))
    await other.close()


asyncio.run(main())
