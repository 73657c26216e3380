"""Faults of routers: the first of two that clients know."""
import time

from clients import Reader, Transfer, Writer
from world import World, head, row, span

# What a client does about a router that says nothing is the client's.
LIMIT = 2.0


def killed(world):
    world.breaks(world.routers[0].kill)
    world.mended = world.broken


def frozen(world):
    world.breaks(world.routers[0].freeze)
    time.sleep(6)
    world.mends(world.routers[0].thaw)


def measure(lab, templates):
    head("router", "clients notice", "well again", "longest statement", "errors of all clients")
    for name, fault in [("killed; clients go to the other one", killed), ("frozen for 6 s; clients wait for 2 s, then go to the other one", frozen)]:
        world = World(lab, templates)
        ports = [world.router(router).port for router in ("first", "second")]
        kinds = [(Writer, "w1"), (Writer, "w2"), (Reader, "r1"), (Transfer, "t1"), (Transfer, "t2")]
        clients = [kind(client, ports, limit=LIMIT) for kind, client in kinds]
        found = world.measure(clients, fault)
        row(name, span(found.noticed), span(found.again), found.longest, found.errors)
        lab.stop()
