"""Requests apart from the log: people are shown, in random order, what they once were shown, and act anew.

The log's own pages in random order are one home page in ten, too few for rare actions. Here the moments of logged home pages are lived
again: the head of that moment is rebuilt from the log, the page's items are put into a fresh random order, and the same behaviour that
made the log draws what is done. Nothing of it enters the log, and nobody remembers it, so any number of such requests can be asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.seeds import generator
from corkboard.world.behaviour import ACTIONS
from corkboard.world.draws import random_ids
from corkboard.world.oracle import Oracle, expected_utility
from corkboard.world.simulate import HOME
from corkboard.world.tables import Names

BLOCK = 2000
"""Requests that are answered at once."""


def random_requests(
    oracle: Oracle, names: Names, made: int, span: tuple[int, int], count: int, seed: int, times: int = 1
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """See :meth:`corkboard.world.world.World.random_requests`; ``made`` is how many pages of the log were simulated, not responded."""
    pages = oracle.log.pages.whole()
    time_ms = pages["time_ms"][:made]
    home = np.flatnonzero((pages["surface"][:made] == HOME) & (time_ms >= span[0]) & (time_ms < span[1]))
    if not len(home):
        raise InputError("The world showed no home page in this time", found=span, hint="Ask within the days of the world.")
    rng = generator(oracle.behaviour.config.seed, "world", "random requests", seed)
    distinct = -(-count // times)
    rounds = [rng.permutation(home) for _ in range(-(-distinct // len(home)))]
    drawn = np.repeat(np.concatenate(rounds)[:distinct], times)[:count]
    drawn = drawn[np.argsort(time_ms[drawn], kind="stable")]
    requests = random_ids(rng, "x", count)
    known = names.of("q", oracle.log.pages.rows)
    slots, actions = [], []
    for first, block in _blocks(drawn):
        one, done = _answered(oracle, pages, block, rng)
        one["page_id"] = [known[k] for k in one.pop("page").tolist()]
        own = np.array(requests[first : first + len(block)], object)
        slots.append(_named(oracle, own, one))
        actions.append(_named(oracle, own, done))
    return pl.concat(slots), pl.concat(actions)


def _blocks(drawn: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(0, len(drawn), BLOCK):
        yield first, drawn[first : first + BLOCK]


def _answered(oracle: Oracle, pages: dict[str, np.ndarray], rows: np.ndarray, rng: np.random.Generator) -> tuple[dict, dict]:
    """Columns of every slot, and of every action, of the log's pages ``rows`` in a fresh random order."""
    b, users, time_ms = oracle.behaviour, pages["user"][rows], pages["time_ms"][rows]
    items = _shuffled(pages["items"][rows], rng)
    there = items >= 0
    shown = np.maximum(items, 0)
    chances = b.chances(users, shown, b.latents(oracle.mind(users, time_ms), shown))
    looked = np.where(there, b.looked(items.shape[1])[None, :], np.float32(0))
    done = chances.draw(looked, rng)
    by_action = chances.of_actions()
    row, place = np.nonzero(there)
    slots = {
        "row": row,
        "user": users[row],
        "page": rows[row],
        "time_ms": time_ms[row],
        "item": items[row, place],
        "position": place.astype(np.int32),
        "looked": looked[row, place],
        "utility": expected_utility(b, by_action)[row, place],
        "positive": chances.of_positive()[row, place],
        **{name: by_action[number][row, place] for number, name in enumerate(ACTIONS)},
    }
    row, place, action = np.nonzero(np.moveaxis(done, 0, 2))
    acted = {"row": row, "user": users[row], "time_ms": time_ms[row], "item": items[row, place], "position": place.astype(np.int32)}
    return slots, {**acted, "action": [ACTIONS[k] for k in action.tolist()]}


def _shuffled(items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``items`` (n, slots; -1 for none) with each row in random order, its empty places last."""
    keys = np.where(items >= 0, rng.random(items.shape), 2.0)
    return np.take_along_axis(items, np.argsort(keys, axis=1, kind="stable"), axis=1)


def _named(oracle: Oracle, requests: np.ndarray, columns: dict) -> pl.DataFrame:
    """The columns as a frame, with outside ids in place of rows."""
    b = oracle.behaviour
    row, user, item = (columns.pop(name) for name in ("row", "user", "item"))
    ids = {
        "request_id": pl.Series(requests[row].tolist(), dtype=pl.String),
        "user_id": pl.Series([b.people.ids[k] for k in user.tolist()], dtype=pl.String),
        "item_id": pl.Series([b.catalogue.ids[k] for k in item.tolist()], dtype=pl.String),
    }
    rest = {name: pl.Series(values, dtype=pl.String) if isinstance(values, list) else values for name, values in columns.items()}
    return pl.DataFrame({**ids, **rest})
