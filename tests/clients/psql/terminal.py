"""psql at a terminal: what it completes by its catalog queries when Tab is pressed, and \\password."""

import os
import pty
import select
import sys
import time

LIMIT = 60
# What is typed, and what the Tab behind it makes of it.
COMPLETED = [
    ("SELECT * FROM cust", "customers"),
    ("SELECT * FROM unp", "unpaid"),
    ("SELECT * FROM stock.pl", "stock.places"),
    ("UPDATE orders SET tot", "total"),
    ("INSERT INTO notes (bo", "body"),
    ("ALTER TABLE notes DROP CONSTRAINT notes_b", "notes_body_key"),
    ("DROP INDEX orders_pl", "orders_placed"),
    ("ALTER TYPE si", "size"),
    ("\\d events_j", "events_january"),
    ("\\df stock.sh", "stock.shout"),
    ("\\dn sto", "stock"),
    ("SHOW search_p", "search_path"),
    ("CREATE INDEX ON orders (plac", "placed"),
    ("TABLE prod", "products"),
]


class Terminal:
    def __init__(self):
        child, self.file = pty.fork()
        if child == 0:
            os.environ.update(TERM="dumb", COLUMNS="200", PAGER="cat")
            os.execvp("psql", ["psql", "-X", "-v", "PROMPT1=ready> "])
        self.seen = ""

    def type(self, text):
        self.seen = ""
        os.write(self.file, text.encode())

    def expect(self, what):
        end = time.monotonic() + LIMIT
        while what not in self.seen:
            if not select.select([self.file], [], [], max(0, end - time.monotonic()))[0]:
                sys.exit(f"no {what!r} in {self.seen!r}")
            try:
                # Without the bell of what is completed in part.
                self.seen += os.read(self.file, 4096).decode(errors="replace").replace("\a", "")
            except OSError:
                sys.exit(f"psql has ended: no {what!r} in {self.seen!r}")


terminal = Terminal()
terminal.expect("ready> ")
for typed, completed in COMPLETED:
    terminal.type(typed + "\t")
    terminal.expect(completed)
    print(typed, "->", completed)
    # Ctrl-U takes the line away.
    terminal.type("\x15\n")
    terminal.expect("ready> ")
terminal.type("\\password\n")
terminal.expect("Enter new password for user \"app\": ")
terminal.type("a new one\n")
terminal.expect("Enter it again: ")
terminal.type("a new one\n")
terminal.expect("ready> ")
print("password:", "ERROR" not in terminal.seen)
terminal.type("SELECT 'still ' || 'here';\n")
terminal.expect("still here")
terminal.type("\\q\n")
print("END")
