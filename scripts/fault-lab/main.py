"""Usage: main.py POSTGRES_BIN PGLOOM [servers] [routers] [etcd] [propagation] [large] (scripts/measure-faults calls it)."""
import signal
import sys

import large
import maps
import routers
import servers
import world
from processes import Lab

PARTS = {"servers": servers.measure, "routers": routers.measure, "etcd": maps.measure, "propagation": maps.propagation, "large": large.measure}


def main(postgres, pgloom, *parts):
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    lab = Lab(postgres, pgloom)
    try:
        templates = world.templates(lab)
        for part in parts or PARTS:
            PARTS[part](lab, templates)
    finally:
        lab.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
