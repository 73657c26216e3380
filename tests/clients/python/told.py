"""What the programs here share: they print what they get, in an order that is always the same."""

import sys


def plain(value):
    """A memoryview prints its address; what it shows is meant."""
    if isinstance(value, memoryview):
        return bytes(value)
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    return value


def say(label, *values):
    """One line of what is compared: values with their types, which tell a driver's casts."""
    print(label + ":", *(f"{plain(value)!r}" for value in values), flush=True)


def refused(label, error_class, act):
    """Runs what must fail, and prints the SQLSTATE and the message."""
    try:
        act()
    except error_class as error:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        say(label, type(error).__name__, state, str(error).splitlines()[0])
    else:
        sys.exit(f"{label}: no error")


def end():
    """The last line: without it the program did not come to its end."""
    print("END")
