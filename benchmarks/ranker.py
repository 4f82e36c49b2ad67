"""How fast is TransAct for one user and many candidates, and what does the split form bring over the module as it is published?

    python benchmarks/ranker.py --json

*As published*: the rows [action; item; candidate] of all candidates through ``nn.TransformerEncoder`` with its padding mask, in eval
mode, PyTorch's fast path included. Each way has two processes of its own, one with the allocator as it is and one that keeps
freed memory (the allocator adapts to what a process did before); they take turns, and medians are compared. With one thread
times are seconds of the CPU, so that whatever else runs on the machine does not count; with more they are of the clock.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch
from harness import arguments, finish
from torch import Tensor, nn

from corkboard.learning.allocator import keep_freed_memory
from corkboard.learning.kernels import ONEDNN, linear
from corkboard.pipeline.ledger import machine
from corkboard.ranking import transact
from corkboard.ranking.config import TransActConfig
from corkboard.ranking.transact import HistoryBatch, TransAct

CODES, CANDIDATES_A_CHUNK, EXAMPLES_A_PAGE = 10, 25, 8
SERVING = ("published", "published_no_mask", "published_chunks", "split", "matrix_product", "blas_product")
TRAINING = ("published_training", "split_training")


def main() -> None:
    options = arguments(__doc__, threads=1, rounds=7, candidates=500, batch=1024, worker="")
    torch.set_num_threads(options.threads)
    if options.worker:
        _work(Setting(options.candidates, options.batch), options.worker == "kept", options.threads)
        return
    seconds = _taking_turns(SERVING, options.rounds, options) | _taking_turns(TRAINING, max(options.rounds // 3, 1), options)
    finish(_figures(seconds, options), options.json)


def _taking_turns(names: tuple[str, ...], rounds: int, options) -> dict[tuple[str, str], float]:
    """Median seconds of each way under each allocator, ``rounds`` turns each."""
    seconds: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        ways = {(name, how): stack.enter_context(_worker(how, options)) for name in names for how in ("default", "kept")}
        for turn in range(rounds):
            for (name, how), ask in ways.items():
                seconds.setdefault((name, how), []).append(ask(name))
            print(f"{', '.join(names)}: turn {turn + 1} of {rounds}", file=sys.stderr)
    return {key: median(values) for key, values in seconds.items()}


class Setting:
    """The module at its published size, random weights, a full history, and the plain module with the same weights."""

    def __init__(self, candidates: int, batch: int):
        torch.manual_seed(1)
        self.config = TransActConfig()
        self.split = TransAct(self.config, CODES).eval()
        config = self.config
        layer = nn.TransformerEncoderLayer(config.dim, config.heads, config.ffn, config.dropout, batch_first=True)
        self.plain = nn.TransformerEncoder(layer, config.depth).eval()
        for mine, theirs in zip(self.plain.layers, self.split.layers, strict=True):
            mine.load_state_dict(theirs.state_dict())
        self.history, self.vectors = self._histories(1), torch.randn(candidates, config.item_dim)
        self.request = torch.zeros(candidates, dtype=torch.int64)
        self.pages = self._histories(batch // EXAMPLES_A_PAGE)
        self.page_of = torch.arange(batch // EXAMPLES_A_PAGE).repeat_interleave(EXAMPLES_A_PAGE)
        self.examples = torch.randn(len(self.page_of), config.item_dim)

    def _histories(self, count: int) -> HistoryBatch:
        length = self.config.length
        actions, hours = torch.randint(1, CODES + 1, (count, length)), torch.rand(count, length).mul(500).sort(1).values
        return HistoryBatch(torch.randn(count, length, self.config.item_dim), actions, hours, torch.full((count,), length))

    def published(self, history: HistoryBatch, vectors: Tensor, request: Tensor, hidden: Tensor | None, mask: bool = True) -> Tensor:
        """``(n, out_dim)`` by the published module: rows concatenated, encoder, first rows and maximum."""
        tokens = torch.cat([self.split.action_embedding(history.actions), history.items], 2)[request]
        rows = torch.cat([tokens, vectors[:, None].expand(-1, tokens.shape[1], -1)], 2)
        start = torch.zeros(len(rows), dtype=torch.int64) if hidden is None else hidden
        unseen = torch.arange(tokens.shape[1]) < start[:, None]
        rows = self.plain(rows, src_key_padding_mask=unseen if mask else None)
        if hidden is None:
            first, largest = rows[:, : self.config.first_k], rows.amax(1)
        else:
            place = start[:, None] + torch.arange(self.config.first_k)
            there = (place < tokens.shape[1])[..., None]
            first = rows.gather(1, place.clamp(max=tokens.shape[1] - 1)[..., None].expand(-1, -1, rows.shape[2])) * there
            largest = rows.masked_fill(unseen[..., None], -torch.inf).amax(1)
        return torch.cat([first.flatten(1), self.split.pooled(largest)], 1)

    def served(self) -> Tensor:
        return self.split(self.split.encode(self.history), self.vectors, self.request)

    def usual(self, mask: bool = True, chunk: int | None = None) -> Tensor:
        parts = self.vectors.split(chunk or len(self.vectors))
        return torch.cat([self.published(self.history, part, torch.zeros(len(part), dtype=torch.int64), None, mask) for part in parts])

    def step(self, split: bool) -> None:
        """One training step's forward and backward pass, dropout and time window on."""
        self.split.train(), self.plain.train()
        hidden = self.split.draw_hidden(self.pages, self.page_of, np.random.default_rng(0))
        if split:
            made = self.split(self.split.encode(self.pages), self.examples, self.page_of, hidden)
        else:
            made = self.published(self.pages, self.examples, self.page_of, hidden)
        made.square().mean().backward()
        self.split.zero_grad(), self.plain.zero_grad()
        self.split.eval(), self.plain.eval()


def _work(setting: Setting, kept: bool, threads: int) -> None:
    """Answer each name on a line of the input with the seconds it took, until the input ends; each name warms up once."""
    warnings.simplefilter("ignore")
    if kept:
        keep_freed_memory()
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    ways: dict[str, Callable[[], object]] = {
        "published": setting.usual,
        "published_no_mask": lambda: setting.usual(mask=False),
        "published_chunks": lambda: setting.usual(chunk=CANDIDATES_A_CHUNK),
        "split": setting.served,
        "matrix_product": lambda: linear(left, right),
        "blas_product": lambda: left @ right,
        "published_training": lambda: setting.step(split=False),
        "split_training": lambda: setting.step(split=True),
    }
    clock, known = time.process_time if threads == 1 else time.perf_counter, set[str]()
    for line in sys.stdin:
        name = line.strip()
        with torch.set_grad_enabled(name in TRAINING):
            if name not in known:
                ways[name]()
            known.add(name)
            began = clock()
            ways[name]()
            print(clock() - began, flush=True)


@contextlib.contextmanager
def _worker(allocator: str, options) -> Iterator[Callable[[str], float]]:
    """A process of its own with its own allocator; yields the function that asks it for a time."""
    command = [sys.executable, __file__, "--worker", allocator]
    command += [text for name in ("threads", "candidates", "batch") for text in (f"--{name}", str(getattr(options, name)))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(name: str) -> float:
        process.stdin.write(f"{name}\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    try:
        yield ask
    finally:
        process.stdin.close()
        process.wait(timeout=60)


def operations(config: TransActConfig, candidates: int, split: bool) -> float:
    """Floating point operations of the encoder: two for each multiplication of its matrix products; once-a-request parts left out."""
    tokens, dim = config.length, config.dim
    projections, attention = 2 * tokens * dim * 3 * dim, 2 * 2 * tokens * tokens * dim
    rest = 2 * tokens * dim * dim + 2 * 2 * tokens * dim * config.ffn
    layer = projections + attention + rest
    first = attention / 2 + rest if split else layer
    return candidates * (first + (config.depth - 1) * layer)


def counted(setting: Setting) -> dict[str, float | bool]:
    """Rows that the first layer's projections of the user's part and of the candidates took, counted while all candidates are scored."""
    rows, config, inner = {"user": 0, "candidate": 0}, setting.config, transact.linear

    def counting(x: Tensor, weight: Tensor, *more, **options) -> Tensor:
        owner = {config.dim - config.item_dim: "user", config.item_dim: "candidate"}.get(weight.shape[1])
        if weight.shape[0] == 3 * config.dim and owner:
            rows[owner] += x.numel() // x.shape[-1]
        return inner(x, weight, *more, **options)

    transact.linear = counting
    try:
        with torch.no_grad():
            gap = float((setting.served() - setting.usual()).abs().max())
    finally:
        transact.linear = inner
    once = rows == {"user": config.length, "candidate": len(setting.vectors)}
    return {"max_abs_difference": gap, "user_side_once": once, "user_rows_projected": rows["user"]}


def _figures(seconds: dict[tuple[str, str], float], options) -> dict:
    setting = Setting(options.candidates, options.batch)
    ms = {f"{name}_{allocator}_allocator_ms": 1000 * seconds[name, allocator] for name in SERVING[:-2] for allocator in ("default", "kept")}
    split, rate = seconds["split", "kept"], 2 * 1024**3 / seconds["matrix_product", "kept"]
    floor = operations(setting.config, options.candidates, split=True) / rate
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checked = counted(setting)
    per_second = {f"{name}_samples_per_s": options.batch / seconds[name, "kept"] for name in TRAINING}
    return {
        "exact_factor_500": seconds["published", "default"] / split,
        "factor_same_allocator": seconds["published", "kept"] / split,
        "factor_default_allocator_both": seconds["published", "default"] / seconds["split", "default"],
        "factor_no_mask": seconds["published_no_mask", "default"] / split,
        "factor_no_mask_same_allocator": seconds["published_no_mask", "kept"] / split,
        "factor_chunks": seconds["published_chunks", "default"] / split,
        "factor_chunks_same_allocator": seconds["published_chunks", "kept"] / split,
        **checked,
        **ms,
        "operations_published_gflop": operations(setting.config, options.candidates, split=False) / 1e9,
        "operations_split_gflop": operations(setting.config, options.candidates, split=True) / 1e9,
        "matrix_product_gflop_per_s": rate / 1e9,
        "blas_product_gflop_per_s": 2 * 1024**3 / seconds["blas_product", "kept"] / 1e9,
        "onednn": ONEDNN,
        "floor_ms": 1000 * floor,
        "share_above_floor": 1 - floor / split,
        "native_kernel_could_bring": split / floor,
        **per_second,
        "training_factor": seconds["published_training", "kept"] / seconds["split_training", "kept"],
        "training_factor_default_allocator": seconds["published_training", "default"] / seconds["split_training", "default"],
        "candidates": options.candidates,
        "threads": options.threads,
        "rounds": options.rounds,
        **machine(),
    }


if __name__ == "__main__":
    main()
