"""Derived random generators: seeds are derived from names, never shared, and there is no global random state.

``derive(7, "walks", user_id)`` gives the same stream whatever ran before it and however many workers run beside it.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on ``seed`` and every name, and on nothing else."""
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator seeded by :func:`derive`."""
    return np.random.Generator(np.random.PCG64(derive(seed, *names)))
