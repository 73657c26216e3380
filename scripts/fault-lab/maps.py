"""Faults of etcd, of which three members hold the map of two routers; and how long a change of the map takes to ten."""
import json
import os
import threading
import time
from datetime import datetime

from clients import Reader, Transfer, Writer
from processes import Member, eventually
from relay import Relay
from wire import Session
from world import GENERAL, World, head, row, span

ROUTERS, CHANGES = int(os.environ.get("ROUTERS", 10)), 20
# Columns of SHOW pgloom.map.
PLACE, EPOCH, PROBLEM = 1, 2, 9


class Mapped(World):
    """The map is in etcd. Where it is to be cut off, the first router reaches it through relays."""

    def __init__(self, lab, templates, routers, relayed=False, parted=False):
        super().__init__(lab, templates)
        self.members = [Member(lab, f"m{n}") for n in range(3)]
        for member in self.members:
            if parted:
                member.parted()
        for member in self.members:
            member.start(self.members)
        self.relays = [Relay(member.port) for member in self.members]
        self.file = lab.place / "cli.toml"
        self.file.write_text(self.config(m.port for m in self.members).replace("PORT", "1"))
        whole = lab.place / "whole.toml"
        whole.write_text(f"{GENERAL.replace('PORT', '1')}[databases.shop]\n{self.placed()}")
        eventually("etcd takes the map", lambda: self.topology("init", "--from", whole))
        for n in range(routers):
            source = self.relays if relayed and n == 0 else self.members
            self.router(f"router{n}", self.config(s.port for s in source))

    def config(self, ports):
        endpoints = json.dumps([f"http://127.0.0.1:{port}" for port in ports])
        return GENERAL.replace("[[users]]", f'[topology]\nsource = "etcd"\nendpoints = {endpoints}\ncopy_file = "NAME.map.json"\n[[users]]') + "[databases.shop]\n"

    def topology(self, *arguments):
        return self.lab.run(self.lab.pgloom, "topology", arguments[0], "--config", self.file, *arguments[1:])

    def change(self, number):
        """A key of its own gets a place of its own."""
        document = json.loads(self.topology("get"))
        pins = document["databases"]["shop"]["distributions"][0].setdefault("pins", [])
        pins.append({"value": 100000 + number, "shard": "s0"})
        path = self.lab.place / "next.json"
        path.write_text(json.dumps(document))
        return document["epoch"] + 1, path

    def apply(self, path):
        self.topology("apply", path, "--allow-moves")


def shown(session):
    return session.query("SHOW pgloom.map")[0]


def served(session, epoch, limit=60):
    """When this router serves it."""
    end = time.monotonic() + limit
    while int(shown(session)[EPOCH]) < epoch:
        if time.monotonic() > end:
            raise RuntimeError(f"epoch {epoch} is not served: {shown(session)}")
        time.sleep(0.01)
    return time.monotonic()


class Trouble(threading.Thread):
    """Since when the first router says that something is in the way, or has another member answer it."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.session, self.since, self.moved, self.stopping = Session(port), None, None, False
        self.place = shown(self.session)[PLACE]
        self.start()

    def run(self):
        while not self.stopping:
            now = shown(self.session)
            if now[PROBLEM] and self.since is None:
                self.since = time.monotonic()
            if now[PLACE] != self.place and self.moved is None:
                self.moved = time.monotonic()
            time.sleep(0.02)


def followed(world):
    """The number of the member that the first router follows."""
    place = shown(Session(world.routers[0].port))[PLACE]
    return next(n for n, member in enumerate(world.members) if str(member.port) in place)


def member_killed(world):
    at = followed(world)
    epoch, path = world.change(0)
    world.breaks(world.members[at].kill)
    world.mended = world.broken
    return epoch, path


def quorum_lost(world):
    epoch, path = world.change(0)
    world.breaks(world.members[0].freeze, world.members[1].freeze)
    time.sleep(12)
    world.mends(world.members[0].thaw, world.members[1].thaw)
    return epoch, path


def all_frozen(world):
    epoch, path = world.change(0)
    world.breaks(*(m.freeze for m in world.members))
    time.sleep(12)
    world.mends(*(m.thaw for m in world.members))
    return epoch, path


def cut_off(world):
    """The map is changed while the first router does not hear of it."""
    epoch, path = world.change(0)
    world.breaks(*(r.cut for r in world.relays))
    world.apply(path)
    served(Session(world.routers[1].port), epoch)
    time.sleep(12)
    world.mends(*(r.mend for r in world.relays))
    return epoch, None


def compacted(world):
    """The same, and what has changed meanwhile is not kept."""
    epoch, path = world.change(0)
    world.breaks(*(r.cut for r in world.relays))
    world.apply(path)
    for number in (1, 2):
        epoch, path = world.change(number)
        world.apply(path)
    served(Session(world.routers[1].port), epoch)
    member = world.members[0]
    revision = member.ask("kv/range", {"key": "AA=="})["header"]["revision"]
    member.ask("kv/compaction", {"revision": revision, "physical": True})
    time.sleep(12)
    world.mends(*(r.mend for r in world.relays))
    return epoch, None


def slow(world):
    """What the first router and etcd say to each other."""
    epoch, path = world.change(0)
    world.breaks(*(lambda r=r: r.slow(0.3) for r in world.relays))
    world.mended = world.broken
    return epoch, path


def parted(world):
    """The one that the first router follows hears nothing of the others, nor they of it."""
    at = followed(world)
    named = world.members[at].ask("cluster/member/list", {})["members"]
    number = int(next(m["ID"] for m in named if m["name"] == world.members[at].name))
    sign = f"X-Server-From: {number:x}\r\n".encode()
    epoch, path = world.change(0)
    others = [m.way for n, m in enumerate(world.members) if n != at]
    world.breaks(world.members[at].way.cut, *(lambda way=way: way.cut(sign) for way in others))
    world.mended = world.broken
    return epoch, path


def emptied(world):
    """All of it is gone; somebody makes the map anew of the copy that the second router keeps."""
    copy = world.lab.place / "router1.map.json"
    eventually("the copy is written", copy.exists)
    world.breaks(*(m.kill for m in world.members))
    for member in world.members:
        member.empty()
    for member in world.members:
        member.start(world.members, "t1")
    time.sleep(8)
    world.mends()
    epoch = int(shown(Session(world.routers[0].port))[EPOCH]) + 1
    eventually("etcd takes the map", lambda: "is in force" in world.topology("init", "--from", copy))
    world.mended = time.monotonic()
    return epoch, None


FAULTS = [
    ("the member killed that a router follows; the map is changed at once", member_killed),
    ("two of three members frozen for 12 s", quorum_lost),
    ("all three frozen for 12 s", all_frozen),
    ("one router cut off from all three for 12 s, while the map is changed", cut_off),
    ("the same, three changes, and etcd is compacted behind them", compacted),
    ("one router and etcd hear each other 0.3 s late; the map is changed", slow),
    ("the member that a router follows parted from the others; the map is changed at once", parted),
    ("all three killed, emptied and started; after 8 s the map is made of a router's copy", emptied),
]


def measure(lab, templates):
    head("etcd", "router says so", "mended until etcd takes a change", "then until all routers serve it", "longest statement", "errors of all clients")
    for name, fault in FAULTS:
        world = Mapped(lab, templates, 2, relayed=fault in (cut_off, compacted, slow), parted=fault is parted)
        for router in world.routers:
            router.ready()
        again, troubles = [], []

        def broken(world):
            troubles.append(Trouble(world.routers[0].port))
            epoch, path = fault(world)
            taken = world.mended
            if path:
                # Three members need a leader first, which is their own business.
                eventually("etcd takes the change", lambda: world.apply(path) is None)
                taken = time.monotonic()
                again.append(taken - world.mended)
            else:
                again.append(None)
            again.append(max(served(Session(router.port), epoch) for router in world.routers) - taken)

        ports = [router.port for router in world.routers]
        clients = [Writer("w1", ports[:1]), Reader("r1", ports[:1]), Transfer("t1", ports[:1]), Transfer("t2", ports[1:])]
        found = world.measure(clients, broken, after=1)
        troubles[0].stopping = True
        told = troubles[0].since or troubles[0].moved
        row(name, span(told and told - world.broken), span(again[0]), span(again[1]), found.longest, found.errors)
        lab.stop()


def since_when(router, epoch):
    """As its log has it: ten routers that are asked all the time would be slower for it."""
    line = next(line for line in router.log().read_text().splitlines() if f"serving a new map epoch={epoch} " in line)
    return datetime.fromisoformat(line.split()[0].replace("Z", "+00:00")).timestamp()


def propagation(lab, templates):
    world = Mapped(lab, templates, ROUTERS)
    for router in world.routers:
        router.ready()
    sessions = [Session(router.port) for router in world.routers]
    times, applied, late = [], [], []
    for number in range(CHANGES):
        epoch, path = world.change(number)
        start = time.time()
        world.apply(path)
        done = time.time()
        time.sleep(0.5)
        for session in sessions:
            served(session, epoch)
        of_change = sorted(since_when(router, epoch) for router in world.routers)
        applied.append(done - start)
        times.append([at - start for at in of_change])
        late.append(of_change[-1] - done)
    head(f"{CHANGES} changes, {ROUTERS} routers", "median", "worst")
    found = {
        "`pgloom topology apply` itself": applied,
        "from its start until the first router serves the change": [of_change[0] for of_change in times],
        "until a router does, of all of them": sum(times, []),
        "until the last one does": [of_change[-1] for of_change in times],
        "from its end until the last one does": late,
    }
    for what, values in found.items():
        row(what, part(values, 0.5), part(values, 1))
    lab.stop()


def part(values, share):
    values = sorted(values)
    return f"{values[min(int(len(values) * share), len(values) - 1)] * 1000:.0f} ms"
