"""psycopg 3 under asyncio: connections at one time, transactions, a pipeline, COPY, a server-side cursor, a cancelled statement."""

import asyncio

import psycopg
from told import end, say


async def tenant(number):
    async with await psycopg.AsyncConnection.connect("") as conn:
        async with conn.transaction():
            await conn.execute("UPDATE orders SET paid = true WHERE tenant_id = %s", (number,))
            await conn.execute("INSERT INTO customers VALUES (%s, 80, 'async')", (number,))
        cur = await conn.execute("SELECT count(*), bool_and(paid) FROM orders WHERE tenant_id = %s", (number,))
        return await cur.fetchone()


async def main():
    say("at one time", await asyncio.gather(*(tenant(number) for number in range(1, 9))))
    async with await psycopg.AsyncConnection.connect("") as conn:
        async with conn.pipeline():
            cursors = [await conn.execute("SELECT name FROM customers WHERE tenant_id = %s AND id = 80", (t,)) for t in range(1, 9)]
            say("pipeline", [await cur.fetchone() for cur in cursors])
        async with conn.cursor() as cur:
            await cur.executemany("DELETE FROM customers WHERE tenant_id = %s AND id = 80", [(t,) for t in range(1, 9)])
            say("many", cur.rowcount)
            async with cur.copy("COPY notes (body) FROM STDIN") as copy:
                for number in range(5):
                    await copy.write_row((f"async {number}",))
            say("copied", cur.rowcount)
        async with conn.cursor(name="c") as cur:
            await cur.execute("SELECT tenant_id, id FROM orders WHERE NOT paid ORDER BY tenant_id DESC, id")
            cur.itersize = 3
            say("cursor", [row async for row in cur])
        await conn.rollback()

        # A cancelled task cancels its statement; the connection goes on.
        try:
            await asyncio.wait_for(conn.execute("SELECT pg_sleep(60)"), 1)
        except asyncio.TimeoutError:
            say("cancelled", conn.info.transaction_status.name)
        await conn.rollback()
        say("goes on", await (await conn.execute("SELECT count(*) FROM orders")).fetchone())
    end()


asyncio.run(main())
