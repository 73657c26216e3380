"""What is started and broken: Postgres servers, members of etcd, routers. Each is stopped by its own process id."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from relay import Relay
from wire import Failed, Session

AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what, true, limit=60):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            if true():
                return
        except (OSError, RuntimeError):
            pass
        time.sleep(0.02)
    raise RuntimeError(f"not within {limit} s: {what}")


def children(pid):
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = (place / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == pid:
            found.append(int(place.name))
    return found


class Lab:
    """A directory, the programs, and everything that runs."""

    def __init__(self, postgres, pgloom):
        self.postgres, self.pgloom = Path(postgres), Path(pgloom).resolve()
        self.place = Path(tempfile.mkdtemp(prefix="pgloom-faults-"))
        if AS_POSTGRES:
            shutil.chown(self.place, "postgres")
        self.running = []

    def run(self, *command, **more):
        try:
            done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, **more)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(str(error)) from error
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def stop(self):
        """Everything, so that the next fault finds nothing of the one before."""
        for one in reversed(self.running):
            one.end()
        self.running.clear()

    def close(self):
        self.stop()
        shutil.rmtree(self.place, ignore_errors=True)


class Process:
    def __init__(self, lab):
        self.lab, self.child = lab, None

    def spawn(self, command, log, **more):
        with open(log, "a") as out:
            self.child = subprocess.Popen([str(c) for c in command], stdout=out, stderr=out, **more)
        if self not in self.lab.running:
            self.lab.running.append(self)

    def kill(self):
        self.child.kill()
        self.child.wait()

    def freeze(self):
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.child.send_signal(signal.SIGCONT)

    def end(self):
        if self.child and self.child.poll() is None:
            self.kill()


class Server(Process):
    """A Postgres that does not wait for the disk; its processes are frozen and killed together."""

    def __init__(self, lab, name):
        super().__init__(lab)
        self.name, self.port, self.data = name, free_port(), lab.place / name

    def create(self):
        self.lab.run(*AS_POSTGRES, self.lab.postgres / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N", "--wal-segsize=1", "-E", "UTF8", "--locale=C")
        self.settings("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "autovacuum=off", "max_prepared_transactions=50", "wal_keep_size=64MB")

    def settings(self, *lines):
        with open(self.data / "postgresql.conf", "a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def copy_of(self, other):
        self.lab.run(*AS_POSTGRES, "cp", "-r", other.data, self.data)

    def follow(self, primary):
        """As a replica, of a copy that was taken while the primary was down."""
        (self.data / "standby.signal").touch()
        self.settings(f"primary_conninfo='host=127.0.0.1 port={primary.port} user=postgres application_name={self.name}'", "synchronous_standby_names=''", "wal_retrieve_retry_interval=200ms")

    def start(self, database="shop"):
        command = [*AS_POSTGRES, self.lab.postgres / "postgres", "-D", self.data, "-p", self.port, "-h", "127.0.0.1", "-k", self.lab.place]
        self.spawn(command, self.lab.place / f"{self.name}.log")
        eventually(f"{self.name} answers", lambda: self.ask("SELECT 1", database))

    def ask(self, text, database="shop"):
        return self.lab.run(self.lab.postgres / "psql", "-XqAt", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-d", database, "-c", text)

    def promote(self):
        self.ask("SELECT pg_promote()")

    def all_of_it(self):
        return [self.child.pid, *children(self.child.pid)]

    def send(self, number):
        for pid in self.all_of_it():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill(self):
        self.send(signal.SIGKILL)
        self.child.wait()

    def freeze(self):
        self.send(signal.SIGSTOP)

    def thaw(self):
        self.send(signal.SIGCONT)

    def shut_down(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait()


class Member(Process):
    """One of three of etcd."""

    def __init__(self, lab, name):
        super().__init__(lab)
        self.name, self.port, self.peer = name, free_port(), free_port()
        # On which the others come to it, where that is to be cut.
        self.way = None
        self.empty()

    def empty(self):
        shutil.rmtree(self.lab.place / self.name, ignore_errors=True)

    def parted(self):
        self.way = Relay(self.peer)

    def known(self):
        return f"http://127.0.0.1:{self.way.port if self.way else self.peer}"

    def ask(self, what, question):
        """By its gateway for JSON."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v3/{what}", json.dumps(question).encode())
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def start(self, all_members, token="t0"):
        own, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer}"
        cluster = ",".join(f"{m.name}={m.known()}" for m in all_members)
        self.spawn(
            ["etcd", "--name", self.name, "--data-dir", self.lab.place / self.name, "--listen-client-urls", own, "--advertise-client-urls", own,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", self.known(), "--initial-cluster", cluster, "--initial-cluster-token", token],
            self.lab.place / f"{self.name}.log")


class Router(Process):
    def __init__(self, lab, name, config):
        super().__init__(lab)
        self.name, self.port = name, free_port()
        self.config = lab.place / f"{name}.toml"
        # What the router of the fault before has learned is of other servers, which were copies of the same; and its log is of other times.
        self.log().unlink(missing_ok=True)
        for kept in ("timelines", "map"):
            (lab.place / f"{name}.{kept}.json").unlink(missing_ok=True)
        shutil.rmtree(lab.place / f"{name}.toml.maps", ignore_errors=True)
        self.config.write_text(config.replace("PORT", str(self.port)).replace("NAME", name))

    def start(self):
        self.spawn([self.lab.pgloom, "serve", "--config", self.config], self.log())

    def log(self):
        return self.lab.place / f"{self.name}.log"

    def ready(self):
        def answers():
            try:
                with contextlib.closing(Session(self.port, 5)) as session:
                    return session.query("SELECT count(*) FROM t")
            except Failed as error:
                raise RuntimeError(str(error)) from error

        eventually(f"{self.name} answers", answers)
