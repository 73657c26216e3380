"""Clients that go on whatever happens, and what they have seen of it."""
import itertools
import threading
import time
from collections import Counter, namedtuple

from wire import Failed, Session

Seen = namedtuple("Seen", "start end error")
SLOW = 0.2
# k below 1000 is on shard s0, the rest on s1.
WRITES, ACROSS, READS = 500, 600, 5


class Client(threading.Thread):
    """Asks without a pause worth naming; where its connection is lost, the next router of the list has its next statement."""

    def __init__(self, name, ports, limit=60.0, settings=""):
        super().__init__(daemon=True)
        self.name, self.limit, self.settings = name, limit, settings
        self.ports = itertools.cycle(ports)
        # Whole rounds, of which each is a statement or a transaction; and each statement by itself.
        self.seen, self.statements = [], []
        self.acknowledged, self.session, self.stopping = set(), None, False

    def run(self):
        for number in itertools.count():
            if self.stopping:
                return
            start, error = time.monotonic(), None
            try:
                if self.session is None:
                    self.session = Session(next(self.ports), self.limit)
                    if self.settings:
                        self.session.query(self.settings)
                self.work(number)
            except Failed as failed:
                error = failed.code
                self.recover()
            except TimeoutError:
                error = "no answer"
                self.lose()
            except OSError:
                error = "connection lost"
                self.lose()
            self.seen.append(Seen(start, time.monotonic(), error))
            time.sleep(0.01)

    def recover(self):
        try:
            self.session.query("ROLLBACK")
        except (Failed, OSError):
            self.lose()

    def lose(self):
        if self.session:
            self.session.close()
        self.session = None

    def ask(self, text):
        start = time.monotonic()
        try:
            self.session.query(text)
        finally:
            self.statements.append((start, time.monotonic(), text.split()[0]))

    def work(self, number):
        raise NotImplementedError


class Reader(Client):
    def __init__(self, name, ports, key=READS, **more):
        super().__init__(name, ports, **more)
        self.key = key

    def work(self, number):
        self.ask(f"SELECT count(*) FROM t WHERE k = {self.key}")


class Writer(Client):
    def work(self, number):
        key = WRITES + int(self.name[-1])
        self.ask(f"INSERT INTO t VALUES ({key}, {number})")
        self.acknowledged.add((key, number))


class Transfer(Client):
    """A row on each of two shards, in one transaction: both of them or none."""

    def work(self, number):
        key = ACROSS + int(self.name[-1])
        self.ask("BEGIN")
        self.ask(f"INSERT INTO t VALUES ({key}, {number})")
        self.ask(f"INSERT INTO t VALUES ({key + 1000}, {number})")
        self.ask("COMMIT")
        self.acknowledged |= {(key, number), (key + 1000, number)}


class Crowd:
    def __init__(self, clients):
        self.clients = clients
        for client in clients:
            client.start()

    def stop(self):
        for client in self.clients:
            client.stopping = True
        for client in self.clients:
            client.join(90)
            if client.is_alive():
                raise RuntimeError(f"{client.name} hangs")

    def noticed(self, broken):
        """The first error, or the first answer that took too long."""
        found = [s.end for c in self.clients for s in c.seen if s.end >= broken and (s.error or s.end - s.start > SLOW)]
        return min(found) - broken if found else None

    def well_again(self, mended):
        """Of the client that waited longest for its first answer after the mending."""
        return max(min(s.end for s in c.seen if s.end >= mended and not s.error) - mended for c in self.clients)

    def longest(self, broken):
        return max((end - start, word) for c in self.clients for start, end, word in c.statements if end >= broken)

    def errors(self, broken):
        return Counter(s.error for c in self.clients for s in c.seen if s.end >= broken and s.error)

    def wrong(self, session):
        """What was acknowledged and is not there, and transactions of which a half is."""
        there = {(int(k), int(n)) for k, n in session.query("SELECT k, id FROM t WHERE k >= 500 AND k < 2000")}
        lost = set().union(*(c.acknowledged for c in self.clients)) - there
        first = {row for row in there if ACROSS <= row[0] < ACROSS + 100}
        second = {(k - 1000, n) for k, n in there if k >= ACROSS + 1000}
        return lost, first ^ second
