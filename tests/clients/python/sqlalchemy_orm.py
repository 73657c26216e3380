"""SQLAlchemy: the ORM over psycopg 3, psycopg2 and asyncpg, Core, reflection, bulk inserts, upserts, streaming, two phases of its own."""

import asyncio
import datetime
import decimal
import os

from sqlalchemy import ForeignKeyConstraint, Integer, MetaData, Numeric, String, Table, create_engine, delete, func, insert, inspect, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship, selectinload
from told import end, say

URL = os.environ["CLIENT_URL"]


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(40))
    joined: Mapped[datetime.date] = mapped_column(server_default=text("'2026-01-01'"))
    orders: Mapped[list["Order"]] = relationship(back_populates="customer", order_by="Order.id")


class Order(Base):
    __tablename__ = "orders"
    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    customer_id: Mapped[int]
    total: Mapped[decimal.Decimal] = mapped_column(Numeric(12, 2), server_default="0")
    paid: Mapped[bool] = mapped_column(server_default="false")
    tags: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    note: Mapped[dict | None] = mapped_column(JSONB)
    customer: Mapped[Customer] = relationship(back_populates="orders")
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "customer_id"], ["customers.tenant_id", "customers.id"]),)


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    body: Mapped[str | None]


def work(driver):
    engine = create_engine(URL.replace("postgresql:", f"postgresql+{driver}:"))
    with Session(engine) as session:
        say("get", session.get(Customer, (7, 1)).name)
        rows = session.scalars(select(Customer).where(Customer.tenant_id == 4).options(selectinload(Customer.orders)).order_by(Customer.id))
        say("selectin", [(c.name, [(o.id, o.total) for o in c.orders]) for c in rows])
        rows = session.scalars(select(Order).options(joinedload(Order.customer)).order_by(Order.total.desc(), Order.tenant_id, Order.id).limit(5))
        say("joined", [(o.tenant_id, o.id, o.customer.name, o.tags, o.note) for o in rows])
        say("groups", session.execute(select(Order.tenant_id, func.count(), func.avg(Order.total)).group_by(Order.tenant_id).having(func.sum(Order.total) > 500).order_by(Order.tenant_id)).all())
        say("exists", session.scalar(select(func.count()).where(select(Order).where(Order.total > 300).exists())))
        # A unit of work: rows of several shards, and of the home shard with its serial.
        for tenant in range(1, 5):
            session.add(Customer(tenant_id=tenant, id=40, name=f"orm {tenant}", orders=[Order(id=400, total=decimal.Decimal("1.5"), tags=["x"], note={"a": tenant})]))
        session.add_all([Note(body=f"{driver} {n}") for n in range(3)])
        session.commit()
        found = session.scalars(select(Customer).where(Customer.id == 40).order_by(Customer.tenant_id)).all()
        say("written", [(c.tenant_id, c.name, c.joined, c.orders[0].note) for c in found])
        say("serial", session.scalars(select(Note.body).where(Note.body.startswith(driver)).order_by(Note.id)).all())
        found[0].name = "changed"
        found[1].orders[0].paid = True
        session.flush()
        say("flushed", session.scalar(select(Customer.name).where(Customer.tenant_id == 1, Customer.id == 40)))
        session.rollback()
        say("rolled back", found[0].name)
        try:
            with session.begin_nested():
                session.add(Customer(tenant_id=2, id=1, name="again"))
        except IntegrityError as error:
            say("savepoint", type(error.orig).__name__)
        for customer in found:
            for order in customer.orders:
                session.delete(order)
            session.delete(customer)
        session.execute(delete(Note).where(Note.body.startswith(driver)))
        session.commit()
    with engine.begin() as conn:
        values = [{"tenant_id": t, "id": n, "name": f"bulk {t}.{n}"} for t in range(1, 13) for n in range(50, 60)]
        say("bulk", conn.execute(insert(Customer), values).rowcount)
        say("returned", sorted(conn.execute(insert(Customer).returning(Customer.tenant_id, Customer.joined), [{"tenant_id": t, "id": 60, "name": "r"} for t in (1, 2, 3)]).all()))
        upsert = pg_insert(Customer).values([{"tenant_id": t, "id": 50, "name": "upserted"} for t in range(1, 4)])
        conn.execute(upsert.on_conflict_do_update(index_elements=["tenant_id", "id"], set_={"name": upsert.excluded.name}))
        say("upserted", conn.execute(select(Customer.tenant_id, Customer.name).where(Customer.id == 50).order_by(Customer.tenant_id)).all())
        say("updated", conn.execute(update(Customer).where(Customer.id >= 50).values(name=Customer.name + "!")).rowcount)
        stream = conn.execute(select(Customer.tenant_id, Customer.id).where(Customer.id >= 50).order_by(Customer.tenant_id, Customer.id), execution_options={"yield_per": 10})
        say("streamed", sum(1 for _ in stream))
        say("deleted", conn.execute(delete(Customer).where(Customer.id >= 50)).rowcount)
    look = inspect(engine)
    say("tables", sorted(look.get_table_names()), look.get_view_names(), [n for n in look.get_schema_names() if n != "pgloom"])
    for table in ["customers", "orders", "products", "notes", "events"]:
        say(table, [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in look.get_columns(table)])
        say("keys", look.get_pk_constraint(table), look.get_foreign_keys(table), look.get_indexes(table), look.get_unique_constraints(table), look.get_check_constraints(table), look.get_table_comment(table))
    reflected = Table("orders", MetaData(), autoload_with=engine)
    say("reflected", sorted(c.name for c in reflected.columns), [str(f.target_fullname) for c in reflected.columns for f in c.foreign_keys])
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as conn:
        say("isolation", conn.execute(text("SHOW transaction_isolation")).scalar(), conn.execute(select(func.count()).select_from(Order).where(Order.tenant_id == 6)).scalar())
    engine.dispose()


async def work_async():
    engine = create_async_engine(URL.replace("postgresql:", "postgresql+asyncpg:"))
    session_of = async_sessionmaker(engine)

    async def rename(tenant):
        async with session_of() as session, session.begin():
            customer = await session.get(Customer, (tenant, 2))
            customer.name = f"async {tenant}"

    await asyncio.gather(*(rename(t) for t in range(1, 9)))
    async with session_of() as session:
        say("async", (await session.scalars(select(Customer.name).where(Customer.id == 2).order_by(Customer.tenant_id))).all())
        stream = await session.stream(select(Order.tenant_id, Order.id).order_by(Order.tenant_id, Order.id))
        say("streamed", len([row async for row in stream]))
    await engine.dispose()


for driver in ["psycopg", "psycopg2"]:
    work(driver)
asyncio.run(work_async())
end()
