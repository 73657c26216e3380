"""Faults of servers: of a primary with two replicas, of a replica, of a server that is alone."""
import time

from clients import Reader, Transfer, Writer
from world import World, head, row, span

UNTIL_PROMOTED = 1.5


def primary_killed(world):
    world.breaks(world.a.kill)
    time.sleep(UNTIL_PROMOTED)
    world.promote(world.b, world.c)


def primary_frozen(world):
    world.breaks(world.a.freeze)
    time.sleep(UNTIL_PROMOTED)
    world.promote(world.b, world.c)
    time.sleep(4)
    # It takes itself for the primary still.
    world.a.thaw()


def primary_frozen_and_thawed(world):
    world.breaks(world.a.freeze)
    time.sleep(5)
    world.mends(world.a.thaw)


def primary_restarted(world):
    world.breaks(world.a.shut_down)
    world.mends(world.a.start)


def promoted_beside(world):
    # Its commits wait for the replica that follows it no more: without that, those until the router sees the new one would be lost.
    world.breaks()
    world.promote(world.b, world.c)


def old_primary_back(world):
    world.breaks(world.a.start)
    world.mended = world.broken


def replica_killed(world):
    world.breaks(world.c.kill)
    time.sleep(3)
    world.mends(world.c.start)


def replica_frozen(world):
    world.breaks(world.c.freeze)
    time.sleep(5)
    world.mends(world.c.thaw)


def lone_killed(world):
    world.breaks(world.lone.kill)
    time.sleep(3)
    world.mends(world.lone.start)


def lone_frozen(world):
    world.breaks(world.lone.freeze)
    time.sleep(5)
    world.mends(world.lone.thaw)


def of_shard(port):
    return [Writer("w1", [port]), Writer("w2", [port]), Reader("r1", [port]), Transfer("t1", [port]), Transfer("t2", [port])]


def of_replicas(port):
    choice = "SET pgloom.read_preference = 'replica'"
    return [Reader(f"r{n}", [port], settings=choice) for n in range(4)]


def of_lone(port):
    return [Reader(f"r{n}", [port], key=1500) for n in range(3)] + [Transfer("t1", [port])]


FAULTS = [
    ("primary killed, a replica promoted 1.5 s later", primary_killed, "a", of_shard),
    ("primary frozen, a replica promoted 1.5 s later; the old one wakes after 4 s", primary_frozen, "a", of_shard),
    ("primary frozen for 5 s, nobody promoted", primary_frozen_and_thawed, "a", of_shard),
    ("primary restarted (fast)", primary_restarted, "a", of_shard),
    ("replica promoted beside the primary", promoted_beside, "a", of_shard),
    ("an old primary comes back as a second one", old_primary_back, "a", of_shard),
    ("replica killed, started again after 3 s; clients read from replicas", replica_killed, "c", of_replicas),
    ("replica frozen for 5 s; clients read from replicas", replica_frozen, "c", of_replicas),
    ("the only server of a shard killed, started again after 3 s", lone_killed, "lone", of_lone),
    ("the only server of a shard frozen for 5 s", lone_frozen, "lone", of_lone),
]


def measure(lab, templates):
    head("server", "router knows", "clients notice", "well again", "longest statement", "errors of all clients")
    for name, fault, watched, clients in FAULTS:
        world = World(lab, templates)
        if fault is old_primary_back:
            world.a.kill()
            world.promote(world.b, world.c)
        router = world.router("router")
        router.ready()
        found = world.measure(clients(router.port), fault, getattr(world, watched))
        row(name, span(found.knew), span(found.noticed), span(found.again), found.longest, found.errors)
        lab.stop()
