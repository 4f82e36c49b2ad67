"""Decoding in processes of their own: the same verdicts, and none that does not end."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from corkboard.errors import PictureRefused
from corkboard.lake.pictures.bounded import Decoders, decode_bounded
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import decode, kept_form

from .samples import encoded, jpeg

SLOW = encoded(np.zeros((5_000, 5_000, 3), np.uint8))
"""About a third of a second of CPU time."""


def test_the_same_picture_as_in_this_process() -> None:
    found = decode_bounded(jpeg())
    assert found.format == "JPEG"
    assert np.array_equal(found.rgb, decode(jpeg()).rgb)
    with pytest.raises(PictureRefused, match="not a picture") as refused:
        decode_bounded(b"a text")
    assert refused.value.found == "text"


def test_what_takes_too_long_is_ended_and_the_next_is_served() -> None:
    limits = PictureLimits(decode_seconds=0.03, processes=1)
    with Decoders(limits) as decoders:
        verdicts = dict(decoders.keep_all([("first", jpeg()), ("slow", SLOW), ("last", jpeg(1))]))
    assert isinstance(verdicts["slow"], PictureRefused)
    assert "too long" in str(verdicts["slow"])
    assert (verdicts["first"], verdicts["last"]) == (kept_form(jpeg()), kept_form(jpeg(1)))


def test_a_crash_costs_one_picture() -> None:
    with Decoders(PictureLimits(processes=1)) as decoders:
        decoders.keep(jpeg())
        worker = decoders._idle.get()
        decoders._idle.put(worker)
        ask = worker.ask

        def ended_over_it(what: bytes, data: bytes) -> tuple[dict, bytes]:
            os.kill(worker._process.pid, signal.SIGKILL)
            return ask(what, data)

        worker.ask = ended_over_it
        with pytest.raises(PictureRefused, match="crashes"):
            decoders.keep(jpeg(1))
        assert decoders.keep(jpeg(1)) == kept_form(jpeg(1))


def test_many_in_order_and_few_at_a_time() -> None:
    taken = []

    def pictures():
        for number in range(60):
            taken.append(number)
            yield number, (b"" if number == 7 else jpeg(number % 3))

    with Decoders() as decoders:
        keys = []
        for key, verdict in decoders.keep_all(pictures()):
            keys.append(key)
            assert isinstance(verdict, PictureRefused) == (key == 7)
            assert len(taken) - len(keys) < 16
    assert keys == list(range(60))
