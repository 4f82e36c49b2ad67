"""Runs on disk: nothing is measured twice, what does not fit is not begun, a failure stops nothing else, two processes agree with one."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from corkboard.experiments import spine_runs
from corkboard.experiments.spine_runs import DURATIONS, Context, Durations, Job, Run, UserRunStore, code_hash, run_jobs
from corkboard.metrics.intervals import PerUser


def work(context: Context) -> None:
    """What a job does in these tests: a figure made of the seed and the variant; "bad" raises."""
    for run in context.todo():
        context.prepared(0.5)
        if run.variant == "bad":
            raise ValueError("this variant is bad")
        if run.variant == "killed":
            time.sleep(1)  # a process that dies in the very moment it begins may not have said what it was at
            os._exit(9)
        if run.variant == "endless":
            (context.folder / f"endless {os.getpid()}").touch()
            time.sleep(60)
        total = np.array([float(run.seed), len(run.variant)])
        context.finished(run, {"m": PerUser(total, np.ones(2), 7)}, {"pid": float(os.getpid())}, 2.0)


def job(seed, *variants, guess_s=1.0):
    runs = [Run("w", variant, seed, {"variant": variant}, guess_s) for variant in variants]
    return Job(f"seed {seed} {variants[0]}", f"{__name__}:work", runs, Run("w", "before", seed, {}, guess_s))


@pytest.fixture
def store(tmp_path):
    return UserRunStore(tmp_path / "runs", data="d", code="c")


def call(jobs, store, tmp_path, minutes=10.0, workers=0):
    said = []
    return run_jobs(jobs, store, tmp_path, minutes, said.append, workers), said


def test_figures_come_back_by_user_and_a_second_call_does_nothing(store, tmp_path):
    jobs = [job(1, "a", "bb"), job(2, "a")]
    finished, said = call(jobs, store, tmp_path)
    assert finished.failed == {}
    assert finished.skipped == []
    figures = store.by_user(jobs[0].runs[1])["m"]
    assert (figures.total.tolist(), figures.weight.tolist(), figures.positives) == ([1, 2], [1, 1], 7)
    assert store.get(jobs[0].runs[1].config, 1)["m"] == 1.5
    assert said[0].startswith("5 runs to go")
    assert "minutes to go" in said[-1]
    again, said = call(jobs, store, tmp_path)
    assert (again.made, said) == (0, [])


def test_an_interrupted_call_goes_on_where_it_stopped(store, tmp_path):
    first = job(1, "a", "bad", "c")
    finished, _ = call([first, job(2, "a")], store, tmp_path)
    assert list(finished.failed) == ["seed 1 a"]
    assert "this variant is bad" in finished.failed["seed 1 a"]
    assert [store.done(run) for run in first.runs] == [True, False, False]
    assert store.done(job(2, "a").runs[0])
    stamp = store.path(first.runs[0].config, 1).stat().st_mtime_ns
    finished, _ = call([job(1, "a", "c")], store, tmp_path)
    assert store.done(first.runs[2])
    assert store.path(first.runs[0].config, 1).stat().st_mtime_ns == stamp


def test_what_does_not_fit_is_not_begun(store, tmp_path):
    finished, _ = call([job(1, "long", guess_s=3600.0), job(2, "short", guess_s=1.0)], store, tmp_path, minutes=2)
    assert finished.skipped == ["w/long, seed 1"]
    assert store.done(job(2, "short").runs[0])
    assert not store.done(job(1, "long").runs[0])


def test_what_a_run_took_before_is_what_it_is_expected_to_take(store, tmp_path):
    call([job(1, "a")], store, tmp_path)
    durations = Durations(tmp_path / DURATIONS)
    assert durations.expected(Run("w", "a", 5, {}, 99.0)) == 2.0
    assert durations.expected(Run("w", "before", 5, {}, 99.0)) == 0.5
    assert durations.expected(Run("w", "other", 5, {}, 99.0)) == 99.0
    context = Context(job(3, "a", guess_s=99.0), tmp_path, store, time.time() + 4.0, lambda message: None)
    assert [run.variant for run in context.todo()] == ["a"]  # (2 + 0.5) * 1.25 seconds fit into 4


def test_processes_leave_what_one_process_leaves(store, tmp_path):
    jobs = [job(1, "a"), job(2, "a"), job(3, "a", "bad"), job(4, "a", "killed")]
    finished, _ = call(jobs, store, tmp_path, workers=2)
    assert finished.failed.keys() == {"seed 3 a", "seed 4 a"}
    assert finished.failed["seed 4 a"] == "its process was killed"
    assert not finished.interrupted
    for one in jobs:
        assert store.get(one.runs[0].config, one.runs[0].seed)["m"] == (one.runs[0].seed + 1) / 2
        assert store.get(one.runs[0].config, one.runs[0].seed)["pid"] != os.getpid()


def main(folder: str) -> None:
    """A process of its own that is at endless runs, with a short one before."""
    store = UserRunStore(Path(folder) / "runs", data="d", code="c")
    finished = run_jobs([job(1, "a", "endless"), job(2, "endless")], store, Path(folder), 10.0, lambda line: None, workers=2)
    print("interrupted", finished.interrupted, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_terminated_call_stops_its_workers_and_keeps_what_was_measured(store, tmp_path):
    command = [sys.executable, "-c", f"import sys; from {__name__} import main; main(sys.argv[1])", str(tmp_path)]
    workers: list[int] = []
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, env=paths, stdout=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 60
            while len(workers) < 2 and process.poll() is None and time.monotonic() < until:
                time.sleep(0.1)
                workers = [int(file.name.split()[1]) for file in tmp_path.glob("endless *")]
            process.terminate()
            said = process.communicate(timeout=30)[0]
            assert len(workers) == 2
            assert said.split() == ["interrupted", "True", "True"]
            assert not any(_is_alive(pid) for pid in workers)
            assert store.done(job(1, "a").runs[0])
        finally:
            process.kill()
            for pid in filter(_is_alive, workers):
                os.kill(pid, signal.SIGKILL)


def test_signals_are_left_alone_in_other_threads_and_set_back_in_the_main_one():
    def look() -> None:
        with spine_runs._terminated_like_interrupted():
            seen.append(signal.getsignal(signal.SIGTERM))

    before, seen = signal.getsignal(signal.SIGTERM), []
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    look()
    assert seen[0] == before
    assert seen[1] != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_code_that_changes_makes_other_runs(tmp_path, monkeypatch):
    package = tmp_path / "corkboard"
    (package / "room").mkdir(parents=True)
    (package / "room" / "a.py").write_text("1")
    (package / "alone.py").write_text("2")
    monkeypatch.setattr(spine_runs.corkboard, "__file__", str(package / "__init__.py"))
    code_hash.cache_clear()
    before = code_hash("room"), code_hash("alone.py"), code_hash("room", "alone.py")
    assert len(set(before)) == 3
    (package / "room" / "a.py").write_text("3")
    code_hash.cache_clear()
    after = code_hash("room"), code_hash("alone.py"), code_hash("room", "alone.py")
    code_hash.cache_clear()
    assert [one == two for one, two in zip(before, after, strict=True)] == [False, True, False]
