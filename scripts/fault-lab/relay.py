"""Stands between a process and another one that it is cut off from: what comes is held back until the cable is whole."""
import socket
import threading
import time


class Relay:
    def __init__(self, target):
        self.target, self.whole, self.without, self.delay = target, threading.Event(), None, 0
        self.whole.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def cut(self, without=None):
        """For all; or only for those whose first words have this in them."""
        self.without = without
        self.whole.clear()

    def slow(self, seconds):
        """Each piece comes so much later."""
        self.delay = seconds

    def mend(self):
        self.delay = 0
        self.whole.set()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            opening = []
            for source, sink, asks in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.pump, args=(source, sink, opening, asks), daemon=True).start()

    def pump(self, source, sink, opening, asks):
        try:
            while data := source.recv(65536):
                if asks and not opening:
                    opening.append(data)
                time.sleep(self.delay)
                if self.without is None or (opening and self.without in opening[0]):
                    self.whole.wait()
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()
