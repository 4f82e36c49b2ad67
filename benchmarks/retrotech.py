"""Search by words over 48,194 real product titles: how long does it take, and what do typing mistakes and filters cost?

    CORKBOARD_DATA=... python benchmarks/retrotech.py --json
    CORKBOARD_DATA=... python benchmarks/retrotech.py --descriptions

The folder ``search-retrotech`` has products without a query log of their own, so queries are drawn from titles by seed: one to four
different words of at least two letters, of an item drawn at random, in their order. *Found* is the share of queries that have their
item among the first ten; one frequent word does not say which item is meant, so those of one word are few. A typo is one letter
missing, added, changed or swapped with its neighbour, in one word of five letters or more; both shares of the pair are over queries
that have such a word. *Unknown* are those typos that no item holds, which are the ones that can be corrected: a mistake that makes
another word of the catalogue is searched as it stands. With a filter, a tenth of the items is allowed, the wanted one among them.
Times are of one thread, one query at a time, after 50 others.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from harness import arguments, finish, say

from corkboard.errors import NotFound
from corkboard.learning.query_text import folded_words
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import LexicalConfig
from corkboard.retrieval.lexical import LexicalAnswer, LexicalIndex, Spelling
from corkboard.seeds import generator

K, ALLOWED, VOCABULARY = 10, 0.1, 100_000
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


@dataclass(frozen=True)
class Asked:
    """A query of ``row``'s words, and the same with a typo, None where no word is long enough."""

    row: int
    words: tuple[str, ...]
    mistyped: tuple[str, ...] | None
    typo: str = ""


def main() -> None:
    options = arguments(__doc__, queries=300, seed=1, descriptions=False)
    items = products(options.descriptions)
    catalogue = Catalogue(items)
    begun, of_processor = time.perf_counter(), time.process_time()
    index = LexicalIndex.build(items, catalogue)
    result = {"items": len(index), "index_s": time.perf_counter() - begun, "index_processor_s": time.process_time() - of_processor}
    say(f"indexed in {result['index_s']:.1f} s")
    asked = {count: drawn(catalogue, count, options.queries, options.seed) for count in (1, 2, 3, 4)}
    for one in asked[2][:50]:
        index.search(" ".join(one.words), K)
    for count, queries in asked.items():
        result |= {f"{name}_{count}": value for name, value in figures(index, queries, options.seed).items()}
    every = [one for queries in asked.values() for one in queries]
    result |= {f"{name}_all": value for name, value in figures(index, every, options.seed).items()}
    result |= changes(index, len(catalogue)) | completions(index, every) | spelling(catalogue, options.seed)
    finish(result, options.json)


def products(descriptions: bool) -> pl.DataFrame:
    """Titles and brands, and descriptions where asked for; every row of the file is an item, for some share a code."""
    folder = Path(os.environ.get("CORKBOARD_DATA") or "no data here") / "search-retrotech"
    if not folder.exists():
        raise NotFound("There are no titles to search", found=str(folder), expected="CORKBOARD_DATA names the folder of search-retrotech")
    frame = pl.read_parquet(folder / "products.parquet").with_row_index("place")
    texts = {"title": "name", "brand_id": "manufacturer"} | ({"description": "long_description"} if descriptions else {})
    return frame.select(
        item_id=pl.format("{}", pl.col("place").cast(pl.String).str.zfill(6)), **{name: pl.col(of) for name, of in texts.items()}
    )


def drawn(catalogue: Catalogue, count: int, queries: int, seed: int) -> list[Asked]:
    """That many queries of ``count`` words each."""
    rng, found = generator(seed, "queries", count), []
    while len(found) < queries:
        row = int(rng.integers(len(catalogue)))
        words = [word for word in dict.fromkeys(folded_words(catalogue.value("title", row))) if len(word) > 1]
        if len(words) < count:
            continue
        taken = [words[place] for place in sorted(rng.choice(len(words), count, replace=False))]
        long = [place for place, word in enumerate(taken) if len(word) >= 5 and word.isalpha()]
        typo = mistyped(taken[place := int(rng.choice(long))], rng) if long else ""
        found.append(Asked(row, tuple(taken), (*taken[:place], typo, *taken[place + 1 :]) if long else None, typo))
    return found


def mistyped(word: str, rng: np.random.Generator) -> str:
    """``word`` with one edit that changes it."""
    while True:
        place, letter = int(rng.integers(len(word) - 1)), str(rng.choice(LETTERS))
        head, here, after, tail = word[:place], word[place], word[place + 1], word[place + 2 :]
        edits = (head + after + tail, head + letter + here + after + tail, head + letter + after + tail, head + after + here + tail)
        if (wrong := edits[int(rng.integers(4))]) != word:
            return wrong


def figures(index: LexicalIndex, queries: list[Asked], seed: int) -> dict[str, float]:
    """Times in milliseconds and shares of one set of queries."""
    answers, times = searched(index, [one.words for one in queries])
    found = np.array([one.row in answer.rows for one, answer in zip(queries, answers, strict=True)])
    typed = np.array([one.mistyped is not None for one in queries])
    wrong, wrong_times = searched(index, [one.mistyped for one in queries if one.mistyped])
    still = np.array([one.row in answer.rows for one, answer in zip((one for one in queries if one.mistyped), wrong, strict=True)])
    unknown = np.array([index.holding(one.typo) == 0 for one in queries if one.mistyped])
    rng, masks = generator(seed, "filter"), []
    for one in queries:
        allowed = rng.random(len(index)) < ALLOWED
        allowed[one.row] = True
        masks.append(allowed)
    inside, filter_times = searched(index, [one.words for one in queries], masks)
    kept = [one.row in answer.rows for one, answer in zip(queries, inside, strict=True)]
    leaked = sum(int((~allowed[answer.rows]).sum()) for allowed, answer in zip(masks, inside, strict=True))
    closed = searched(index, [one.words for one in queries[:50]], [np.zeros(len(index), bool)] * 50)[0]
    return {
        "p50_ms": float(np.percentile(times, 50)),
        "p95_ms": float(np.percentile(times, 95)),
        "found": float(found.mean()),
        "found_before_typo": float(found[typed].mean()),
        "found_with_typo": float(still.mean()),
        "typos_unknown": float(unknown.mean()),
        "found_with_unknown_typo": float(still[unknown].mean()),
        "typo_p95_ms": float(np.percentile(wrong_times, 95)),
        "found_with_filter": float(np.mean(kept)),
        "full_with_filter": float(np.mean([len(answer) == K for answer in inside])),
        "filter_p95_ms": float(np.percentile(filter_times, 95)),
        "let_through_by_mistake": leaked,
        "closed_filter_explained": float(np.mean([answer.reason == "filtered" and answer.hidden > 0 for answer in closed])),
    }


def searched(
    index: LexicalIndex, queries: list[tuple[str, ...]], masks: list[np.ndarray] | None = None
) -> tuple[list[LexicalAnswer], np.ndarray]:
    """The answers, and milliseconds of each."""
    answers, times = [], []
    for words, mask in zip(queries, masks or [None] * len(queries), strict=True):
        begun = time.perf_counter()
        answers.append(index.search(" ".join(words), K, mask))
        times.append(1e3 * (time.perf_counter() - begun))
    return answers, np.array(times)


def changes(index: LexicalIndex, first: int, count: int = 200) -> dict[str, float]:
    """Milliseconds to add an item and find it by a word of its own."""
    times = []
    for place in range(count):
        begun = time.perf_counter()
        index.put(first + place, {"title": f"a new thing named xqz{place}"})
        assert index.search(f"xqz{place}", 1).rows.tolist() == [first + place]
        times.append(1e3 * (time.perf_counter() - begun))
    for place in range(count):
        index.remove(first + place)
    return {"add_and_find_p50_ms": float(np.percentile(times, 50)), "add_and_find_p95_ms": float(np.percentile(times, 95))}


def completions(index: LexicalIndex, queries: list[Asked]) -> dict[str, float]:
    """Milliseconds for suggestions after each of the first letters of the queries."""
    times = []
    for one in queries[::4]:
        for letters in range(1, 7):
            begun = time.perf_counter()
            index.suggest(" ".join(one.words)[:letters])
            times.append(1e3 * (time.perf_counter() - begun))
    return {"suggest_p50_ms": float(np.percentile(times, 50)), "suggest_p95_ms": float(np.percentile(times, 95))}


def spelling(catalogue: Catalogue, seed: int, asked: int = 300) -> dict[str, float]:
    """Corrections by a vocabulary of 100,000 words: those of the titles, and the first half of one with the second of another."""
    rng, known = (
        generator(seed, "vocabulary"),
        dict.fromkeys(word for row in range(len(catalogue)) for word in folded_words(catalogue.value("title", row))),
    )
    words = [word for word in known if word.isalpha() and 4 <= len(word) <= Spelling.LONGEST]
    while len(known) < VOCABULARY:
        first, second = (words[int(place)] for place in rng.integers(len(words), size=2))
        known[first[: len(first) // 2] + second[len(second) // 2 :]] = None
    held, begun = dict.fromkeys(known, 1), time.perf_counter()
    speller = Spelling(LexicalConfig())
    speller.add(known)
    build_s, times = time.perf_counter() - begun, []
    for place in rng.integers(len(words), size=asked):
        wrong = mistyped(words[int(place)], rng)
        begun = time.perf_counter()
        speller.near(wrong, held)
        times.append(1e3 * (time.perf_counter() - begun))
    return {
        "vocabulary": len(known),
        "vocabulary_build_s": build_s,
        "correction_p50_ms": float(np.percentile(times, 50)),
        "correction_p95_ms": float(np.percentile(times, 95)),
    }


if __name__ == "__main__":
    main()
