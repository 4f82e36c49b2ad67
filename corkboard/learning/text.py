"""Text to hashed tokens: word unigrams, word bigrams and character trigrams, for any script, with numpy alone.

A token is a 64-bit hash, so that no vocabulary of strings has to be kept; the three kinds have hashes of their own.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np

WORD, BIGRAM, TRIGRAM = 0, 1, 2
"""Kinds of token."""

_IGNORED = {0x00AD: None, 0x200C: None, 0x200D: None}  # soft hyphen and (non-)joiners sit inside of words
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Kana and Han: written without spaces, so each character is taken as a word and the bigrams find the real ones."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of n texts: ``hashes`` uint64 and ``kinds`` uint8, both ``(t,)``; text i owns ``offsets[i] : offsets[i + 1]``."""

    hashes: np.ndarray
    kinds: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1


def tokenize(texts: Sequence[str | None], max_words: int = 64) -> Tokens:
    """Tokens of every text, compatibility-normalised and case-folded; within a text words, then bigrams, then trigrams.

    None and empty texts have no tokens. Trigrams are taken inside of words with their borders marked.
    """
    words: list[int] = []
    trigrams: list[np.ndarray] = []
    word_counts = np.zeros(len(texts), np.int64)
    trigram_counts = np.zeros(len(texts), np.int64)
    for place, text in enumerate(texts):
        for word in split_words(text)[:max_words] if text else ():
            word_hash, parts = _word_hashes(word)
            words.append(word_hash)
            trigrams.append(parts)
            word_counts[place] += 1
            trigram_counts[place] += len(parts)
    owner = np.repeat(np.arange(len(texts)), word_counts)
    unigrams = np.array(words, np.uint64)
    paired = np.flatnonzero(owner[1:] == owner[:-1])
    bigrams = mix(unigrams[paired] * np.uint64(3) + mix(unigrams[paired + 1] + np.uint64(BIGRAM)))
    hashes = np.concatenate([unigrams, bigrams, *trigrams]).astype(np.uint64, copy=False)
    owners = np.concatenate([owner, owner[paired], np.repeat(np.arange(len(texts)), trigram_counts)])
    kinds = np.repeat(np.array([WORD, BIGRAM, TRIGRAM], np.uint8), [len(unigrams), len(bigrams), int(trigram_counts.sum())])
    order = np.argsort(owners, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(texts)))])
    return Tokens(hashes[order], kinds[order], offsets.astype(np.int64))


def split_words(text: str) -> list[str]:
    """Words of a text: runs of letters, digits and combining marks of one script or another; Han and kana by character."""
    return _word_pattern().findall(unicodedata.normalize("NFKC", text).casefold().translate(_IGNORED))


@lru_cache(maxsize=1 << 18)
def name_hash(name: str, value: str) -> int:
    """The token of an exact value, such as a brand: two values share nothing, however alike they look."""
    return int.from_bytes(hashlib.blake2b(f"{name}\x1f{value}".encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 over uint64: every input bit moves every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@lru_cache(maxsize=1 << 18)
def _word_hashes(word: str) -> tuple[int, np.ndarray]:
    letters = np.frombuffer(f"\x02{word}\x03".encode("utf-32-le", errors="surrogatepass"), np.uint32).astype(np.uint64)
    trigrams = mix((letters[:-2] << np.uint64(42)) ^ (letters[1:-1] << np.uint64(21)) ^ letters[2:] ^ np.uint64(TRIGRAM << 62))
    return name_hash("word", word), trigrams


@cache
def _word_pattern() -> re.Pattern[str]:
    """Python's \\w lacks combining marks, which would cut Devanagari, Thai or Arabic words at their vowel signs."""
    marks = [code for code in range(0x1F000) if unicodedata.category(chr(code)).startswith("M")]
    breaks = [0, *(i for i in range(1, len(marks)) if marks[i] != marks[i - 1] + 1), len(marks)]
    ranges = "".join(f"{re.escape(chr(marks[a]))}-{re.escape(chr(marks[b - 1]))}" for a, b in pairwise(breaks))
    return re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_]|[{ranges}])+")
