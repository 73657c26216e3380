"""What a change of a map of many entries costs a router that serves: the map in etcd (three members), and in its file."""
import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

from clients import Crowd, Reader
from maps import Mapped, served, since_when
from processes import eventually
from wire import Session
from world import GENERAL, World, head, row

ENTRIES, CHANGES = int(os.environ.get("ENTRIES", 1_000_000)), 3
IN_FORCE = "the new configuration is in force"


def pins(number):
    """The last one is another one each time."""
    of = [{"value": 10_000_000 + n, "shard": f"s{n % 2}"} for n in range(ENTRIES - 1)]
    return [*of, {"value": 1_000_000 + number, "shard": "s1"}]


class Cost:
    """Of one process, from the making of this on: seconds of processors, and the most memory that it had."""

    def __init__(self, pid):
        self.place = Path(f"/proc/{pid}")
        (self.place / "clear_refs").write_text("5")
        self.before = self.worked()

    def worked(self):
        fields = (self.place / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu(self):
        return self.worked() - self.before

    def most(self):
        line = next(line for line in (self.place / "status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


def command(lab, *arguments):
    """A command of pgloom, however long it takes: seconds of processors, and seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    subprocess.run([str(part) for part in (lab.pgloom, *arguments)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.time() - start


def told(what, figures):
    """The middle of what was measured each time."""
    middle = [sorted(column)[len(column) // 2] for column in zip(*figures)]
    cli, took, until, cpu, most, longest = middle
    row(what, f"{cli:.1f} s" if cli else "–", f"{took:.1f} s" if took else "–", f"{until:.1f} s", f"{cpu:.1f} s", f"{most:.0f} MiB", f"{longest * 1000:.0f} ms")


def changed(router, change):
    """What one change costs; `change` ends when it is in force."""
    crowd = Crowd([Reader("r1", [router.port])])
    time.sleep(0.5)
    start, cost = time.monotonic(), Cost(router.child.pid)
    figures = change()
    # What is left of the map of before goes, and the copy is written.
    time.sleep(1)
    longest, _ = crowd.longest(start)
    crowd.stop()
    return (*figures, cost.cpu(), cost.most(), longest)


def in_etcd(lab, templates):
    world = Mapped(lab, templates, 1)
    router = world.routers[0]
    router.ready()
    session = Session(router.port)
    path = lab.place / "large.json"

    def write(number):
        document = json.loads(world.topology("get")) if number == 0 else write.last
        document["databases"]["shop"]["distributions"][0]["pins"] = pins(number)
        document.pop("epoch", None)
        path.write_text(json.dumps(document))
        write.last = document

    def change(epoch):
        cli, took = command(lab, "topology", "apply", "--config", world.file, path, "--allow-moves")
        done = time.time()
        served(session, epoch, 300)
        return cli, took, since_when(router, epoch) - done

    found = []
    for number in range(CHANGES + 1):
        write(number)
        of_one = changed(router, lambda: change(number + 2))
        # The first one brings them all.
        if number:
            found.append(of_one)
    told("etcd", found)
    size = path.stat().st_size
    lab.stop()
    return size


def in_file(lab, templates):
    world = World(lab, templates)
    text = f"{GENERAL}[topology]\nallow_moves = true\n[databases.shop]\n{world.placed()}"
    router = world.router("router0", text)
    router.ready()
    plain = router.config.read_text()
    times = lambda: router.log().read_text().count(IN_FORCE)

    def change():
        known, start = times(), time.monotonic()
        router.child.send_signal(signal.SIGHUP)
        eventually("the map is in force", lambda: times() > known, 300)
        return 0, 0, time.monotonic() - start

    found = []
    for number in range(CHANGES + 1):
        all_pins = ",\n".join(f'{{ value = {pin["value"]}, shard = "{pin["shard"]}" }}' for pin in pins(number))
        router.config.write_text(plain.replace('method = "range"\n', f'method = "range"\npins = [{all_pins}]\n'))
        of_one = changed(router, change)
        if number:
            found.append(of_one)
    told("the file", found)
    lab.stop()


def measure(lab, templates):
    head(f"{ENTRIES} pins, one of them changed; the map is in", "CPU of `topology apply`", "it takes", "then until the router serves it (file: from SIGHUP)",
         "CPU of the router", "its most memory", "longest statement of a client")
    size = in_etcd(lab, templates)
    in_file(lab, templates)
    print(f"\nThe document has {size / 1e6:.0f} MB.")
