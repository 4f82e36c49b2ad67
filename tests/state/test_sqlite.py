"""What is particular to the embedded store: kills, several processes, traces after a purge, errors, durability."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from corkboard.errors import StoreError
from corkboard.state.config import StateConfig
from corkboard.state.sqlite import SqliteStore
from state.builders import T0, action, impression, random_rows, served, state_of, user

APPENDER = Path(__file__).parent / "appender.py"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "deep" / "store.sqlite"


@pytest.fixture
def open_store(file):
    opened = []

    def open_one(**settings):
        opened.append(SqliteStore(file, StateConfig(**settings)))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


# -------------------------------------------------------------------------------------------------- kills and processes


def kill_appenders(file, name, seed, acknowledged):
    """Start one appender after the other and kill each at a random moment after its first batch."""
    rng = random.Random(seed)
    with subprocess.Popen([sys.executable, APPENDER, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forking:
        for number in range(5):
            print(f"{name}{number}", file=forking.stdin, flush=True)
            victim = None
            for line in forking.stdout:
                if line.startswith("end"):
                    break
                if line.startswith("start"):
                    victim = int(line.split()[2])
                    continue
                acknowledged.append(line.strip())
                if victim is not None:
                    time.sleep(rng.uniform(0, 0.1))
                    os.kill(victim, signal.SIGKILL)
                    victim = None
        forking.stdin.close()


def test_nothing_acknowledged_is_lost_when_processes_are_killed(file, open_store):
    acknowledged = []  # two processes write to the file at a time; ten are killed
    threads = [threading.Thread(target=kill_appenders, args=(file, name, name, acknowledged)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = open_store()
    ids = [row["event_id"] for _, row in store.events_since(0, 10_000_000)]
    assert {name.split("-")[0] for name in acknowledged} == {f"{name}{number}" for name in "ab" for number in range(5)}
    assert len(ids) == len(set(ids))
    assert {f"{batch}-{n}" for batch in acknowledged for n in range(20)} <= set(ids)
    assert len(ids) % 20 == 0  # a batch is there as a whole or not at all
    assert {row["request_id"] for _, row in store.served_since(0, 10_000_000)} >= set(acknowledged)
    assert len(store.state("user-0").actions) == min(200, len(ids) // 20)


def test_other_processes_commits_are_visible_at_once(open_store):
    mine, theirs = open_store(), open_store()  # two stores on one file share no memory, as if in two processes
    assert mine.store_id == theirs.store_id
    assert mine.state("ann").actions == []
    theirs.append([action("e1", T0, "click", "a")])
    assert [a.event_id for a in mine.state("ann").actions] == ["e1"]
    assert mine.append([action("e1", T0, "click", "a")]) == [False]
    mine.log_served([served("r1", T0, ["a", "b"])])
    theirs.append([impression("r1", T0 + 1, ["b"])])
    assert mine.state("ann").shown.keys() == theirs.state("ann").shown.keys() == {"b"}
    assert mine.sequence() == theirs.sequence() == 3
    theirs.purge("ann")
    assert mine.state("ann").actions == []
    mine.append([action("e2", T0 + 2, "click", "c")])
    assert [a.event_id for a in theirs.state("ann").actions] == ["e2"]


def test_a_file_is_opened_by_many_at_the_same_moment(file):
    stores, failures = [], []

    def work():
        try:
            stores.append(SqliteStore(file))
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({store.store_id for store in stores}) == 1
    for store in stores:
        store.close()


def test_what_was_written_is_there_after_opening_again(file):
    rows = random_rows(4, 120)
    with_pages = SqliteStore(file)
    with_pages.log_served([r for r in rows if r["event"] == "served"])
    with_pages.append([r for r in rows if r["event"] != "served"])
    states = {who: with_pages.state(who) for who in ("ann", "bob", "cid")}
    with_pages.close()
    again = SqliteStore(file)
    assert {who: again.state(who) for who in states} == states
    assert states["ann"] == state_of([r for r in rows if r["user_id"] == "ann"])
    assert again.store_id == with_pages.store_id
    again.close()


# ------------------------------------------------------------------------------------------------------- purge, on disk


def bytes_of(folder: Path) -> bytes:
    return b"".join(part.read_bytes() for part in sorted(folder.iterdir()))


def test_after_a_purge_no_file_holds_a_trace_of_the_user(file, open_store):
    store, rng = open_store(), random.Random(7)
    users = [f"zyx{k:03d}qwv" for k in range(12)]
    written = 0

    def write(count):
        nonlocal written
        for _ in range(count):
            who = rng.choice(users)
            written += 1
            mark = f"{who}-{written}"
            store.append(
                [action(f"ev-{mark}", T0 + written, "click", f"item-{k}", user_id=who, query="q" * rng.randrange(900)) for k in range(1)]
            )
            if written % 5 == 0:
                store.append([user(f"us-{mark}", T0 + written, who, country=who), impression(f"im-{mark}", T0, ["a"] * 40, user_id=who)])
                store.log_served([served(f"se-{mark}", T0 + written, [f"item-{k}" for k in range(25)], user_id=who, width=60)])

    write(400)
    assert all(who.encode() in bytes_of(file.parent) for who in users)
    gone = []
    for who in users[:6]:
        store.purge(who) if len(gone) % 2 else store.append([user(f"del-{who}", T0 + written, who, deleted=True)])
        users.remove(who)
        gone.append(who)
        found = bytes_of(file.parent)
        assert [each for each in gone if each.encode() in found] == []
        write(40)
    assert all(who.encode() in bytes_of(file.parent) for who in users)
    for who in users:
        assert store.state(who).counts["click"] > 0
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_reader_elsewhere_delays_the_scrubbing_until_the_next_write(file, open_store):
    store = open_store(lock_wait_ms=30)
    store.append([action("e1", T0, "click", "a", user_id="zyxqwv")])
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchall()
    store.purge("zyxqwv")
    assert store.state("zyxqwv").actions == []
    assert b"zyxqwv" in bytes_of(file.parent)
    store.append([action("e2", T0, "click", "a")])
    reader.close()
    store.append([action("e3", T0, "click", "a")])
    assert b"zyxqwv" not in bytes_of(file.parent)


# --------------------------------------------------------------------------------------------------- commits, durability


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power", 2)])
def test_durability_sets_how_far_a_commit_goes(open_store, durability, synchronous):
    store = open_store(durability=durability)
    with store._writer.alone() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.append([action("e1", T0, "click", "a")]) == [True]


def queued(store, calls):
    """Run ``calls`` in threads while the writer is busy, let it go once all of them wait. Returns what each returned or raised."""
    outcomes = [None] * len(calls)

    def work(number):
        try:
            outcomes[number] = calls[number]()
        except StoreError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(calls))]
    with store._writer.alone() as connection:
        for thread in threads:
            thread.start()
        while len(store._writer._waiting) < len(calls):
            time.sleep(0.001)
        statements = []
        connection.set_trace_callback(statements.append)
    for thread in threads:
        thread.join()
    connection.set_trace_callback(None)
    return outcomes, statements


def test_appends_that_wait_for_each_other_share_one_commit(open_store):
    store = open_store()
    calls = [lambda n=n: store.append([action(f"e{n}", T0, "click", "a"), action("same", T0, "click", "b")]) for n in range(6)]
    outcomes, statements = queued(store, calls)
    assert statements.count("COMMIT") == 1
    assert [first for first, _ in outcomes] == [True] * 6
    assert sum(second for _, second in outcomes) == 1
    assert len(store.events_since(0)) == 7


def test_a_commit_that_fails_fails_for_all_who_shared_it_and_the_next_one_works(open_store):
    store = open_store()
    with store._writer.alone() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    big = [lambda n=n: store.append([action(f"e{n}", T0, "click", "a", query="q" * 30_000)]) for n in range(2)]
    outcomes, _ = queued(store, big)
    assert all(isinstance(outcome, StoreError) and "no room" in str(outcome) for outcome in outcomes)
    assert store.events_since(0) == []
    with store._writer.alone() as connection:
        connection.execute("PRAGMA max_page_count = 100000")
    assert [call() for call in big] == [[True], [True]]


# --------------------------------------------------------------------------------------------------------------- errors


def test_a_file_that_is_no_database_is_refused(file):
    file.parent.mkdir()
    file.write_bytes(b"this is not a database " * 200)
    with pytest.raises(StoreError, match="not a store, or it is damaged"):
        SqliteStore(file)


def test_another_programs_database_is_refused_and_left_alone(file):
    file.parent.mkdir()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="not a store of this version"):
        SqliteStore(file)
    assert sqlite3.connect(file).execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_a_damaged_file_is_named_as_such(file, open_store):
    store = open_store()
    for k in range(300):
        store.append([action(f"e{k}", T0, "click", "a", query="q" * 500)])
    store.close()
    data = bytearray(file.read_bytes())
    for start in range(4096 * 2, len(data), 4096):
        data[start : start + 64] = os.urandom(64)
    file.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        SqliteStore(file).events_since(0)


def test_a_store_that_another_process_keeps_locked_says_so_and_reading_goes_on(file, open_store):
    store = open_store(lock_wait_ms=30)
    store.append([action("e1", T0, "click", "a")])
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process"):
        store.append([action("e2", T0, "click", "b")])
    assert [a.event_id for a in store.state("ann").actions] == ["e1"]
    other.close()
    assert store.append([action("e2", T0, "click", "b")]) == [True]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "taken" / "store.sqlite")


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be"):
        SqliteStore(tmp_path / "store.sqlite")
    tmp_path.chmod(0o700)


def test_a_closed_store_says_so(open_store):
    store = open_store()
    store.close()
    store.close()
    for call in (
        lambda: store.append([action("e1", T0, "click", "a")]),
        lambda: store.state("ann"),
        store.sequence,
        lambda: store.purge("ann"),
    ):
        with pytest.raises(StoreError, match="closed"):
            call()
