"""A served row as bytes: its slots by column, numbers as float32, because a page of 25 slots has a thousand features.

Numbers come back as float32 knows them; the lake stores them with the same width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from corkboard.errors import StoreError

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()
_PLAIN = ("item_id", "position", "score", "propensity", "source")
_NUMBERS = ("features", "heads")


def pack_served(row: Mapping[str, Any]) -> bytes:
    """The bytes of one served row. ``features`` and ``heads`` of a slot may be lists or arrays, None where there are none.

    Raises :class:`StoreError` where a value is of a kind that cannot be written down.
    """
    slots = row["slots"]
    columns: dict[str, Any] = {name: _plain(slots, name) for name in _PLAIN}
    columns |= {name: _pack_numbers([slot.get(name) for slot in slots]) for name in _NUMBERS}
    return encode_row({**row, "slots": columns})


def unpack_served(data: bytes) -> dict[str, Any]:
    """The row behind :func:`pack_served`."""
    row = decode_row(data)
    columns = row["slots"]
    columns |= {name: _unpack_numbers(columns[name], len(columns["item_id"])) for name in _NUMBERS}
    names = (*_PLAIN, *_NUMBERS)
    row["slots"] = [dict(zip(names, values, strict=True)) for values in zip(*(columns[name] for name in names), strict=True)]
    return row


def encode_row(row: Mapping[str, Any]) -> bytes:
    """The bytes of one row. Raises :class:`StoreError` for a value that is not plain data."""
    try:
        return _encoder.encode(row)
    except (TypeError, OverflowError, UnicodeEncodeError) as error:
        raise StoreError(
            f"A row cannot be written down: {error}", found=row.get("event_id"), expected="text, numbers, lists and nulls"
        ) from error


def decode_row(data: bytes) -> dict[str, Any]:
    return _decoder.decode(data)


def _plain(slots: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    values = [slot.get(name) for slot in slots]
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _pack_numbers(rows: list[Any]) -> tuple[int | list[int], bytes]:
    """float32 bytes of all rows behind each other, and the length of each (one number where all have the same, -1 for None)."""
    lengths = [-1 if row is None else len(row) for row in rows]
    if len(set(lengths)) == 1 and lengths[0] > 0:
        return lengths[0], np.asarray(rows, "<f4").tobytes()
    return lengths, b"".join(np.asarray(row, "<f4").tobytes() for row in rows if row is not None)


def _unpack_numbers(packed: tuple[int | list[int], bytes], n: int) -> Sequence[list[float] | None]:
    lengths, data = packed
    numbers = np.frombuffer(data, "<f4")
    if isinstance(lengths, int):
        return numbers.reshape(n, lengths).tolist()
    ends = np.cumsum([max(length, 0) for length in lengths])
    return [None if length < 0 else numbers[end - length : end].tolist() for length, end in zip(lengths, ends, strict=True)]
