"""Shards, routers and clients for one fault, and the watch that says when the router knows of it."""
import shutil
import threading
import time

from clients import Crowd
from processes import Router, Server, eventually
from wire import Failed, Session

RULES = """
[[databases.shop.distributions]]
name = "tenant"
key_types = ["int4"]
method = "range"
ranges = [{ to = 1000, shard = "s0" }, { from = 1000, shard = "s1" }]
[[databases.shop.tables]]
name = "t"
distribution = "tenant"
columns = ["k"]
"""
# Defaults but for these; without query_timeout a statement at a frozen server waits for it.
GENERAL = """[general]
port = PORT
metrics_listen = ""
auth_type = "trust"
query_timeout = "3s"
server_connect_timeout = "1s"
timelines_file = "NAME.timelines.json"
[[users]]
name = "postgres"
"""


def templates(lab):
    """A primary and a lone server with the table, at rest: each fault works on copies."""
    made = []
    for name in ("primary", "alone"):
        server = Server(lab, name)
        server.create()
        server.start("postgres")
        server.ask("CREATE DATABASE shop", "postgres")
        server.ask("CREATE TABLE t (k int, id int, PRIMARY KEY (k, id))")
        server.shut_down()
        made.append(server)
    lab.running.clear()
    return made


class World:
    """Shard s0 is `a` with the replicas `b` (synchronous) and `c`, shard s1 is `lone`."""

    def __init__(self, lab, templates):
        self.lab = lab
        for name in ("a", "b", "c", "lone"):
            shutil.rmtree(lab.place / name, ignore_errors=True)
        self.a, self.b, self.c, self.lone = (Server(lab, name) for name in ("a", "b", "c", "lone"))
        for server in (self.a, self.b, self.c):
            server.copy_of(templates[0])
        self.lone.copy_of(templates[1])
        for replica in (self.b, self.c):
            replica.follow(self.a)
        self.a.settings("synchronous_standby_names='b'")
        for server in (self.a, self.b, self.c, self.lone):
            server.start()
        eventually("the replicas follow", lambda: self.a.ask("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").strip() == "2")
        self.routers, self.broken, self.mended = [], None, None

    def placed(self):
        servers = ", ".join(f'{{ host = "127.0.0.1", port = {s.port} }}' for s in (self.a, self.b, self.c))
        return (f'home_shard = "s0"\n[[databases.shop.shards]]\nname = "s0"\nservers = [{servers}]\n'
                f'[[databases.shop.shards]]\nname = "s1"\nhost = "127.0.0.1"\nport = {self.lone.port}\n{RULES}')

    def router(self, name, config=None):
        router = Router(self.lab, name, config or f"{GENERAL}[databases.shop]\n{self.placed()}")
        router.start()
        self.routers.append(router)
        return router

    def breaks(self, *actions):
        self.broken = time.monotonic()
        for action in actions:
            action()

    def mends(self, *actions):
        for action in actions:
            action()
        self.mended = time.monotonic()

    def promote(self, replica, other):
        """As a manager of failovers does it: the other replica follows the new primary."""
        self.mends(replica.promote)
        other.ask(f"ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port={replica.port} user=postgres application_name=c'")
        other.ask("SELECT pg_reload_conf()")

    def measure(self, clients, fault, watched=None, after=4.0):
        for router in self.routers:
            router.ready()
        crowd = Crowd(clients)
        watch = Watch(self.routers[0], watched) if watched else None
        time.sleep(2)
        fault(self)
        time.sleep(after)
        if watch:
            watch.stop()
        crowd.stop()
        session = Session(self.routers[-1].port)
        # What a router that is gone has left is finished by another one.
        eventually("nothing is in doubt", lambda: not self.in_doubt(session), 90)
        lost, half = crowd.wrong(session)
        session.close()
        if lost or half:
            raise SystemExit(f"WRONG: lost {sorted(lost)[:5]}, half {sorted(half)[:5]}")
        return Figures(self, crowd, watch)

    def in_doubt(self, session):
        """Prepared parts on the primaries of now."""
        roles = {row[1]: row[2] for row in session.query("SHOW pgloom.servers")}
        primaries = [s for s in (self.a, self.b, self.c, self.lone) if roles[f"127.0.0.1:{s.port}"] == "primary"]
        return sum(int(server.ask("SELECT count(*) FROM pg_prepared_xacts")) for server in primaries)


class Watch(threading.Thread):
    """Asks a router what it thinks of a server until it thinks otherwise."""

    def __init__(self, router, server):
        super().__init__(daemon=True)
        self.session, self.address = Session(router.port), f"127.0.0.1:{server.port}"
        self.first, self.changes, self.stopping = None, [], False
        self.start()

    def run(self):
        while not self.stopping:
            try:
                rows = self.session.query("SHOW pgloom.servers")
            except (Failed, OSError):
                return
            now = next((row[2], row[3], row[8]) for row in rows if row[1] == self.address)
            if now != self.first:
                if self.first is not None:
                    self.changes.append(time.monotonic())
                self.first = now
            time.sleep(0.02)

    def stop(self):
        self.stopping = True
        self.join(10)

    def knew(self, broken):
        return next((at - broken for at in self.changes if at >= broken), None)


class Figures:
    def __init__(self, world, crowd, watch):
        broken, mended = world.broken, world.mended
        self.noticed = crowd.noticed(broken)
        self.knew = watch.knew(broken) if watch else None
        self.again = crowd.well_again(mended) if mended else None
        longest, word = crowd.longest(broken)
        self.longest = f"{span(longest)} ({word})"
        self.errors = ", ".join(f"{code} x {number}" for code, number in crowd.errors(broken).most_common()) or "none"


def head(*columns):
    print()
    row(*columns)
    row(*["---"] * len(columns))


def row(*columns):
    print("|", " | ".join(columns), "|", flush=True)


def span(seconds):
    return "–" if seconds is None else f"{seconds:.2f} s"
