"""A client of the PostgreSQL protocol that can do as much as is measured with: simple queries, as a user who is trusted."""
import socket
import struct


class Failed(Exception):
    """An ErrorResponse, by its SQLSTATE."""

    def __init__(self, code, message):
        super().__init__(f"{code} {message}")
        self.code = code


class Session:
    def __init__(self, port, limit=60.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        try:
            body = struct.pack("!i", 196608) + b"user\0postgres\0database\0shop\0\0"
            self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
            self.answer()
        except BaseException:
            self.socket.close()
            raise

    def query(self, text):
        """The rows, as text; of several statements those of all."""
        body = text.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)
        return self.answer()

    def answer(self):
        rows, failed = [], None
        while True:
            tag, body = self.message()
            if tag == b"D":
                rows.append(values(body))
            elif tag == b"E":
                fields = {part[:1]: part[1:].decode() for part in body.split(b"\0") if part}
                failed = Failed(fields[b"C"], fields[b"M"])
                # After it nothing comes, not even ReadyForQuery.
                if fields.get(b"S") in ("FATAL", "PANIC"):
                    raise failed
            elif tag == b"Z":
                if failed:
                    raise failed
                return rows

    def message(self):
        head = self.exactly(5)
        return head[:1], self.exactly(struct.unpack("!i", head[1:])[0] - 4)

    def exactly(self, number):
        while len(self.buffer) < number:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("closed")
            self.buffer += more
        taken, self.buffer = self.buffer[:number], self.buffer[number:]
        return taken

    def close(self):
        self.socket.close()


def values(body):
    number, at, found = struct.unpack("!h", body[:2])[0], 2, []
    for _ in range(number):
        length = struct.unpack("!i", body[at : at + 4])[0]
        at += 4
        found.append(None if length < 0 else body[at : at + length].decode())
        at += max(length, 0)
    return found
