from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from corkboard.lake.hashes import hash_texts

MASK = 2**64 - 1


def mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def plain(text: str, salt: int) -> int:
    """The same hash, byte by byte."""
    data = text.encode()
    state = mix((len(data) + salt) & MASK)
    for begin in range(0, max(len(data), 0), 8):
        state = mix(state ^ int.from_bytes(data[begin : begin + 8], "little"))
    return state


@given(st.lists(st.text(max_size=30), max_size=8), st.integers(0, 2**20))
def test_equals_the_plain_reference(texts: list[str], salt: int) -> None:
    assert hash_texts(pl.Series(texts, dtype=pl.String), salt).tolist() == [plain(text, salt) for text in texts]


def test_hashes_on_disk_stay_good() -> None:
    # written down once: a change would make every stored hash worthless
    assert hash_texts(pl.Series(["a", "event-000001"])).tolist() == [plain("a", 0), plain("event-000001", 0)]
    assert plain("a", 0) == 6774081908283191102


def test_slices_and_long_columns_hash_alike() -> None:
    texts = pl.Series([f"{k:x}" * (k % 5) for k in range(3000)])
    assert (hash_texts(texts)[1000:1010] == hash_texts(texts[1000:1010])).all()
    assert (hash_texts(pl.concat([texts[:7], texts[7:]], rechunk=False)) == hash_texts(texts)).all()


def test_hashes_spread() -> None:
    hashes = hash_texts(pl.Series([f"u{k}" for k in range(100_000)]))
    assert len(np.unique(hashes)) == 100_000
    # 16 bins of 6,250, standard deviation sqrt(100,000 / 16 * 15 / 16) = 77
    assert np.abs(np.bincount((hashes >> np.uint64(60)).astype(int), minlength=16) - 6_250).max() < 5 * 77
