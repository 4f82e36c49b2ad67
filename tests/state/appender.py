"""Processes that append to a SQLite store until somebody kills them, and print what was acknowledged.

Usage: python appender.py FILE. For each name on its input it forks one appender (importing everything anew each time would
take most of the test) and prints "start NAME PID", the name of every acknowledged batch, and "end" once the appender is dead.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from corkboard.state.sqlite import SqliteStore
from state.builders import action, served


def say(line: str) -> None:
    """One write a line: two processes share the pipe, and what unbuffered printing writes in two pieces could be torn apart."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def append_forever(file: str, name: str, start_ms: int) -> None:
    store = SqliteStore(file)
    for batch in count():
        rows = [action(f"{name}-{batch}-{n}", start_ms + batch, "click", f"item-{n}", user_id=f"user-{n}") for n in range(20)]
        assert all(store.append(rows))
        store.log_served([served(f"{name}-{batch}", start_ms + batch, ["a", "b"], user_id="user-0")])
        say(f"{name}-{batch}")


def main(file: str) -> None:
    for number, line in enumerate(sys.stdin):
        name = line.strip()
        child = os.fork()
        if child == 0:
            append_forever(file, name, 1_700_000_000_000 + number * 1_000_000)
        say(f"start {name} {child}")
        os.waitpid(child, 0)
        say("end")


if __name__ == "__main__":
    main(sys.argv[1])
