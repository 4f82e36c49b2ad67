"""Runs that can be interrupted: figures on disk as soon as they are known, two workers, a deadline that is kept.

A *run* is one variant in one world; it leaves a JSON with its figures and, beside it, an NPZ with the same figures by user. A *job* is
a list of runs that share what is expensive (a world, a lake, rows), done by one process from the weightiest run on. A job asks before
each run whether it still fits into the time that is left, by what such a run took before; what does not fit is left out.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import corkboard
from corkboard.artifacts import content_hash, write_atomically
from corkboard.experiments.claims import RunStore
from corkboard.metrics.intervals import PerUser

MARGIN = 1.25
"""A run is only begun where this many times its expected duration is left."""
HEARTBEAT_S = 20.0
DURATIONS = "durations.json"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One variant in one world. ``config`` is everything its figures depend on, ``guess_s`` what it may cost before it was ever run."""

    world: str
    variant: str
    seed: int
    config: Mapping[str, Any]
    guess_s: float = 60.0

    @property
    def kind(self) -> str:
        """Runs of one kind take about the same time."""
        return f"{self.world}/{self.variant}"


@dataclass(frozen=True)
class Job:
    """Runs of one world that share what is expensive: ``work(context)`` measures them in their order."""

    name: str
    work: str
    runs: Sequence[Run]
    before: Run | None = None
    """What has to be made before the first of them; only its duration is kept."""
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def all_runs(self) -> list[Run]:
        """What has to be made before them, and the runs."""
        return [*([self.before] if self.before else []), *self.runs]


@dataclass(frozen=True)
class UserRunStore(RunStore):
    """A :class:`RunStore` that keeps the figures by user as well, so that intervals over users can be made later."""

    def put_by_user(self, run: Run, figures: Mapping[str, PerUser], facts: Mapping[str, float], seconds: float) -> None:
        """Write a finished run: the arrays first, because the JSON says that it is whole."""
        arrays = {}
        for number, one in enumerate(figures.values()):
            arrays |= {
                f"t{number}": one.total,
                f"w{number}": one.weight,
                f"p{number}": np.array(-1 if one.positives is None else one.positives),
            }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, names=np.array(list(figures)), **arrays)
        path = self.path(run.config, run.seed)
        write_atomically(path.with_suffix(".npz"), buffer.getvalue())
        self.put(run.config, run.seed, {**{name: one.value for name, one in figures.items()}, **facts}, seconds)

    def by_user(self, run: Run) -> dict[str, PerUser]:
        """The figures of a finished run by user; empty where it was not finished."""
        path = self.path(run.config, run.seed)
        if not path.exists():
            return {}
        with np.load(path.with_suffix(".npz")) as found:
            names = found["names"].tolist()
            positives = [int(found[f"p{k}"]) for k in range(len(names))]
            return {
                name: PerUser(found[f"t{k}"], found[f"w{k}"], None if positives[k] < 0 else positives[k]) for k, name in enumerate(names)
            }

    def done(self, run: Run) -> bool:
        """Whether the run is finished."""
        return self.path(run.config, run.seed).exists()


@dataclass(frozen=True)
class Durations:
    """How long a run of each kind took the last time, in one file beside the runs: what the deadline and the time to go rest on."""

    file: Path

    def expected(self, run: Run) -> float:
        """Seconds; the guess where no such run was ever made."""
        return float(self._read().get(run.kind, run.guess_s))

    def note(self, kind: str, seconds: float) -> None:
        """Keep what a run took. Only the process that hands out the jobs writes."""
        write_atomically(self.file, json.dumps({**self._read(), kind: round(seconds, 2)}, indent=1).encode())

    def _read(self) -> dict[str, float]:
        return json.loads(self.file.read_text()) if self.file.exists() else {}


Measure = Callable[[Run], tuple[Mapping[str, PerUser], Mapping[str, float]]]
"""What measures one run: its figures, and facts about it."""


@dataclass
class Context:
    """What a job's work is given: its runs that are still missing, where to put them, and how much time there is."""

    job: Job
    folder: Path
    store: UserRunStore
    deadline: float
    tell: Callable[[dict[str, Any]], None]
    skipped: list[Run] = field(default_factory=list)
    _prepared: bool = False

    def todo(self) -> Iterator[Run]:
        """Runs that are missing and fit; the time is looked at before each. Make what is shared after the first was yielded."""
        durations = Durations(self.folder / DURATIONS)
        for run in self.job.runs:
            if self.store.done(run):
                continue
            needed = durations.expected(run)
            if self.job.before and not self._prepared:
                needed += durations.expected(self.job.before)
            if time.time() + MARGIN * needed > self.deadline:
                self.skipped.append(run)
            else:
                yield run

    def each(self, measuring: Callable[[], Measure]) -> None:
        """Measure each run that is missing and fits. ``measuring`` makes what they share and returns what measures one; it is called when
        the first run is due."""
        measure: Measure | None = None
        for run in self.todo():
            if measure is None:
                began = time.perf_counter()
                measure = measuring()
                self.prepared(time.perf_counter() - began)
            began, cpu = time.perf_counter(), time.process_time()
            self.doing(run.variant)
            figures, facts = measure(run)
            self.finished(run, figures, {**facts, "cpu s": time.process_time() - cpu}, time.perf_counter() - began)

    def training(self, run: Run) -> Callable[[int, int], None]:
        """What tells how far the training of a run is."""
        return lambda at, of: self.doing(f"training {run.variant}", at, of)

    def prepared(self, seconds: float) -> None:
        """What is shared has been made."""
        self._prepared = True
        if self.job.before:
            self.tell({"job": self.job.name, "done": self.job.before.kind, "seed": self.job.before.seed, "seconds": seconds})

    def finished(self, run: Run, figures: Mapping[str, PerUser], facts: Mapping[str, float], seconds: float) -> None:
        """Keep a run's figures and say so."""
        self.store.put_by_user(run, figures, facts, seconds)
        self.tell({"job": self.job.name, "done": run.kind, "seed": run.seed, "seconds": seconds})

    def doing(self, what: str, done: int = 0, total: int = 0) -> None:
        """Say what goes on."""
        self.tell({"job": self.job.name, "doing": what, "at": done, "of": total})


@dataclass
class Finished:
    """How a call of :func:`run_jobs` went: runs begun by it, runs for which no time was left, and what failed, with the reason."""

    made: int = 0
    seconds: float = 0.0
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def run_jobs(jobs: Sequence[Job], store: UserRunStore, folder: Path, minutes: float, say: Say, workers: int = 2) -> Finished:
    """Do what is missing of ``jobs``, in their order, in ``workers`` processes of one thread each (0: in this one), within ``minutes``.

    A job that raises does not stop the others; its runs stay missing.
    """
    began = time.time()
    deadline = began + minutes * 60.0
    missing = [job for job in jobs if not all(store.done(run) for run in job.runs)]
    progress = _Progress(missing, store, Durations(folder / DURATIONS), say, max(workers, 1))
    result = Finished()
    if workers == 0:
        for job in missing:
            _settle(result, job.name, *_work(job, store, folder, deadline, progress.take))
    else:
        _in_processes(missing, store, folder, deadline, progress, workers, result)
    result.made, result.seconds = progress.made, time.time() - began
    return result


def _in_processes(
    jobs: Sequence[Job], store: UserRunStore, folder: Path, deadline: float, progress: _Progress, workers: int, result: Finished
) -> None:
    """Hand the jobs to processes of our own, and stop them when this one is interrupted or terminated: what they were at stays missing."""
    spawn = multiprocessing.get_context("spawn")
    waiting, messages = spawn.Queue(), spawn.Queue()
    workers = min(workers, len(jobs))
    for job in (*jobs, *[None] * workers):
        waiting.put(job)
    given = (waiting, messages, store, folder, deadline)
    processes = [spawn.Process(target=_worker, args=given, daemon=True) for _ in range(workers)]
    with _terminated_like_interrupted():
        try:
            with threads_of_children(1):
                for process in processes:
                    process.start()
            while any(process.is_alive() for process in processes):
                progress.listen(messages)
            progress.listen(messages)
            if any(process.exitcode for process in processes):
                result.failed |= dict.fromkeys(progress.begun, "its process was killed")
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            for process in processes:
                if process.pid:
                    process.terminate()
                    process.join()
            waiting.cancel_join_thread()
    for name, (skipped, error) in progress.outcomes.items():
        _settle(result, name, skipped, error)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM raises :class:`KeyboardInterrupt` inside, once; its default would end this process and leave its workers running.

    Signals can only be set in the main thread; in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would stop the stopping of the workers
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None: it was not set from Python, and cannot be set back


@contextmanager
def threads_of_children(count: int) -> Iterator[None]:
    """The environment for a process of ``count`` threads: a spawned one reads it before it loads a library."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _worker(waiting: Any, messages: Any, store: UserRunStore, folder: Path, deadline: float) -> None:
    """One process: jobs, one after another, until there are none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it decides when it stops
    while (job := waiting.get()) is not None:
        messages.put({"begun": job.name})
        skipped, error = _work(job, store, folder, deadline, messages.put)
        messages.put({"ended": job.name, "skipped": skipped, "error": error})


def _work(
    job: Job, store: UserRunStore, folder: Path, deadline: float, tell: Callable[[dict[str, Any]], None]
) -> tuple[list[str], str | None]:
    """Do one job; returns the runs that did not fit, and what went wrong."""
    module, _, name = job.work.partition(":")
    context = Context(job, folder, store, deadline, tell)
    error = None
    try:
        getattr(import_module(module), name)(context)
    except Exception:
        error = traceback.format_exc(limit=-6)
    return [f"{run.kind}, seed {run.seed}" for run in context.skipped], error


def _settle(result: Finished, name: str, skipped: Sequence[str], error: str | None) -> None:
    result.skipped += skipped
    if error:
        result.failed[name] = error


class _Progress:
    """Counts runs and says, after each and now and then between, how fast it goes and how long it will take."""

    def __init__(self, jobs: Sequence[Job], store: UserRunStore, durations: Durations, say: Say, workers: int):
        runs = [(job, run) for job in jobs for run in job.all_runs]
        self._left = {(job.name, run.kind): durations.expected(run) for job, run in runs if not store.done(run)}
        self._durations = durations
        self._total, self._guessed, self._spent = len(self._left), 0.0, 0.0
        self._say, self._workers = say, workers
        self._began = self._said = time.monotonic()
        self._doing: dict[str, str] = {}
        self.begun: set[str] = set()
        """Jobs that a process is at."""
        self.outcomes: dict[str, tuple[list[str], str | None]] = {}
        """By job: the runs that did not fit, and what went wrong."""
        self.made = 0
        if self._total:
            say(f"{self._total} runs to go, about {sum(self._left.values()) / workers / 60:.0f} minutes")

    def take(self, message: dict[str, Any]) -> None:
        """Take in one message of a worker."""
        if "begun" in message:
            self.begun.add(message["begun"])
            return
        if "ended" in message:
            self.begun.discard(message["ended"])
            self._doing.pop(message["ended"], None)
            self.outcomes[message["ended"]] = message["skipped"], message["error"]
            return
        if "done" in message:
            self.made += 1
            self._guessed += self._left.pop((message["job"], message["done"]), 0.0)
            self._spent += message["seconds"]
            self._durations.note(message["done"], message["seconds"])
            self._line(f"seed {message['seed']} {message['done']}: {message['seconds']:.0f} s")
            return
        counted = f" {message['at']:,}/{message['of']:,}" if message.get("of") else ""
        self._doing[message["job"]] = f"{message['job']}: {message['doing']}{counted}"
        if time.monotonic() - self._said > HEARTBEAT_S:
            self._line("; ".join(self._doing.values()))

    def listen(self, messages: Any, wait_s: float = 0.5) -> None:
        """Take in what the workers have said, waiting at most ``wait_s`` for a first word."""
        try:
            self.take(messages.get(timeout=wait_s))
            while True:
                self.take(messages.get_nowait())
        except queue.Empty:
            return

    def _line(self, text: str) -> None:
        minutes = (time.monotonic() - self._began) / 60
        pace = self._spent / self._guessed if self._guessed else 1.0
        to_go = sum(self._left.values()) * pace / self._workers / 60
        rate = self.made / max(minutes, 1e-9)
        self._say(f"{text}   [{self.made}/{self._total} runs, {rate:.1f} a minute, {to_go:.0f} minutes to go]")
        self._said = time.monotonic()


@cache
def code_hash(*rooms: str) -> str:
    """Hash of the sources below each of ``rooms`` (folders or files of the package)."""
    package = Path(corkboard.__file__).parent
    files: list[Path] = []
    for room in rooms:
        files += sorted((package / room).rglob("*.py")) if (package / room).is_dir() else [package / room]
    return content_hash([(str(file.relative_to(package)), file.read_text()) for file in files])
