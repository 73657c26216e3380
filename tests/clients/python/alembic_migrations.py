"""Alembic: a new environment, migrations that it writes by itself from models, upgrades, downgrades, and offline SQL."""

import contextlib
import io
import os
import re
import sys

from alembic.config import main
from told import end, say

sys.path.insert(0, os.getcwd())

URL = os.environ["CLIENT_URL"].replace("postgresql:", "postgresql+psycopg:")
MODELS = """
from sqlalchemy import *
from sqlalchemy.orm import DeclarativeBase, mapped_column
class Base(DeclarativeBase):
    pass
class Account(Base):
    __tablename__ = "accounts"
    tenant_id = mapped_column(Integer, primary_key=True, autoincrement=False)
    id = mapped_column(BigInteger, Identity(), primary_key=True)
    name = mapped_column(String(50), nullable=False)
class Setting(Base):
    __tablename__ = "settings"
    key = mapped_column(String, primary_key=True)
    value = mapped_column(Text)
"""
LATER = """
class Entry(Base):
    __tablename__ = "entries"
    tenant_id = mapped_column(Integer, primary_key=True, autoincrement=False)
    id = mapped_column(Integer, primary_key=True, autoincrement=False)
    account_id = mapped_column(BigInteger, nullable=False)
    amount = mapped_column(Numeric(10, 2), server_default="0", nullable=False)
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "account_id"], ["accounts.tenant_id", "accounts.id"]), Index("entries_amount", "amount"))
Account.email = mapped_column("email", String(100))
Account.__table__.append_constraint(UniqueConstraint("tenant_id", "name", name="accounts_name"))
"""


def alembic(*arguments):
    """The command line's own entry, in this process: Python starts once."""
    sys.modules.pop("models", None)
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        main(prog="alembic", argv=list(arguments))
    # Names of revisions are random, and so are the places of their files.
    lines = [line for line in errors.getvalue().splitlines() if "alembic.runtime" in line or "alembic.autogenerate" in line]
    return out.getvalue(), [re.sub(r"\b[0-9a-f]{12}\b", "REVISION", line) for line in lines]


def models(text):
    with open("models.py", "w") as file:
        file.write(text)


models(MODELS)
alembic("init", "migrations")
with open("alembic.ini") as file:
    text = file.read()
with open("alembic.ini", "w") as file:
    file.write(re.sub(r"sqlalchemy.url = .*", "sqlalchemy.url = " + URL, text))
with open("migrations/env.py") as file:
    text = file.read()
with open("migrations/env.py", "w") as file:
    only = "lambda name, kind, parents: kind != 'table' or name in ('accounts', 'settings', 'entries')"
    text = text.replace("target_metadata = None", "from models import Base\ntarget_metadata = Base.metadata")
    file.write(text.replace("target_metadata=target_metadata", f"target_metadata=target_metadata, include_name={only}"))
say("first", alembic("revision", "--autogenerate", "-m", "first")[1])
say("upgrade", alembic("upgrade", "head")[1])
alembic("check")
models(MODELS + LATER)
say("second", alembic("revision", "--autogenerate", "-m", "second")[1])
say("upgrade", alembic("upgrade", "head")[1])
alembic("check")
say("downgrade", alembic("downgrade", "-1")[1])
say("upgrade", alembic("upgrade", "head")[1])

import psycopg

with psycopg.connect("") as conn:
    for tenant in range(1, 9):
        conn.execute("INSERT INTO accounts (tenant_id, name) VALUES (%s, 'a')", (tenant,))
    say("rows", conn.execute("SELECT tenant_id, name, email FROM accounts ORDER BY tenant_id").fetchall())
    say("ids", conn.execute("SELECT count(DISTINCT id) FROM accounts").fetchone())
conn.close()
say("base", alembic("downgrade", "base")[1])
end()
