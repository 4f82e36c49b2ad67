"""Decoding in processes of their own, which end when a picture takes longer than it may or crashes its decoder."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

import corkboard
from corkboard.errors import CorkboardError, PictureRefused
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import Picture
from corkboard.lake.pictures.worker import send

Key = TypeVar("Key")

_START_SECONDS = 120.0
_PATIENCE = 10.0
"""CPU time bounds a picture; a process that only waits is ended after so many times that much time on the clock."""


def decode_bounded(data: bytes, limits: PictureLimits | None = None) -> Picture:
    """:func:`corkboard.lake.pictures.decode.decode` in a process of its own, which is ended after ``decode_seconds`` of CPU time."""
    worker = _Worker(limits or PictureLimits())
    try:
        facts, content = worker.ask(b"d", data)
    finally:
        worker.close()
    return Picture(np.frombuffer(content, np.uint8).reshape(facts["shape"]).copy(), facts["format"])


class Decoders:
    """``processes`` that turn bytes into what is kept of a picture, for a ``with`` block; they start with the first pictures."""

    def __init__(self, limits: PictureLimits | None = None):
        self.limits = limits or PictureLimits()
        self._threads = ThreadPoolExecutor(self.limits.processes, "pictures")
        self._idle: SimpleQueue[_Worker | None] = SimpleQueue()
        for _ in range(self.limits.processes):
            self._idle.put(None)

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                worker.close()

    def keep(self, data: bytes) -> tuple[bytes, str]:
        """:func:`corkboard.lake.pictures.decode.kept_form` of ``data``, by a process that is idle. Raises :class:`PictureRefused`."""
        worker = self._idle.get()
        try:
            if worker is None or not worker.alive:
                worker = _Worker(self.limits)
            facts, content = worker.ask(b"k", data)
            return content, facts["kind"]
        finally:
            self._idle.put(worker)

    def keep_all(self, pictures: Iterable[tuple[Key, bytes]]) -> Iterator[tuple[Key, tuple[bytes, str] | PictureRefused]]:
        """What is kept of each picture, or why it is refused, in the order of ``pictures``, of which only a few are held at a time."""
        waiting: deque[tuple[Key, Future]] = deque()
        for key, data in pictures:
            waiting.append((key, self._threads.submit(self._verdict, data)))
            if len(waiting) >= 4 * self.limits.processes:
                first, verdict = waiting.popleft()
                yield first, verdict.result()
        for key, verdict in waiting:
            yield key, verdict.result()

    def _verdict(self, data: bytes) -> tuple[bytes, str] | PictureRefused:
        try:
            return self.keep(data)
        except PictureRefused as refused:
            return refused


class _Worker:
    """One process of :mod:`.worker`."""

    def __init__(self, limits: PictureLimits):
        self._limits = limits
        here = str(Path(corkboard.__file__).parent.parent)
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "corkboard.lake.pictures.worker", limits.model_dump_json()]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        if self._message(time.monotonic() + _START_SECONDS) != b"ready":
            self.close()
            raise CorkboardError("The process that decodes pictures does not start", hint=f"Try: {' '.join(command[:4])}")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, what: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        """The answer to one request. Raises :class:`PictureRefused` where it is a refusal, and where the process ends over it."""
        with suppress(BrokenPipeError):  # it has ended; reading tells
            send(self._process.stdin, what, data)  # type: ignore[arg-type]
        answer = self._message(time.monotonic() + _PATIENCE * self._limits.decode_seconds)
        if answer is None:
            self.close()
            seconds = self._limits.decode_seconds
            raise PictureRefused("The picture takes too long to decode, or crashes its decoder", expected=f"at most {seconds:g} s")
        line, _, content = answer.partition(b"\n")
        facts = json.loads(line)
        if "refused" in facts:
            raise PictureRefused(facts["refused"], found=facts["found"], expected=facts["expected"])
        return facts, content

    def _message(self, deadline: float) -> bytes | None:
        """One message, or None where the process ends or is silent until ``deadline``."""
        head = self._bytes(8, deadline)
        return None if head is None else self._bytes(int.from_bytes(head, "big"), deadline)

    def _bytes(self, count: int, deadline: float) -> bytes | None:
        stream, parts = self._process.stdout.fileno(), []  # type: ignore[union-attr]
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        while count:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            part = os.read(stream, min(count, 1 << 20))
            if not part:
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # what was not sent yet has nobody to read it
                stream.close()  # type: ignore[union-attr]
