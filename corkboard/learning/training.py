"""The training loop: a step function, a schedule, early stopping, and checkpoints that continue as if nothing had happened.

A run is a function of its seed: every step has a generator of its own, so that a run that was interrupted draws the same
batches and the same dropout as one that was not. Checkpoints are safetensors; nothing is pickled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corkboard.artifacts import write_atomically
from corkboard.errors import ArtifactError, InputError
from corkboard.learning.allocator import keep_freed_memory
from corkboard.learning.config import TrainingConfig
from corkboard.seeds import derive, generator


@dataclass(frozen=True)
class Progress:
    """Where a run stands. ``rate`` is steps/s since it started or resumed; ``validation`` is the newest value, None before the first."""

    step: int
    steps: int
    loss: float
    rate: float
    seconds_left: float
    validation: float | None


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn otherwise than the rest: those whose names begin with ``prefix``, and that no group before this one has.

    Their learning rate is ``rate`` times that of the schedule, and 0 for the first ``after`` steps. ``weight_decay`` None is the run's.
    """

    prefix: str
    rate: float = 1.0
    weight_decay: float | None = None
    after: int = 0


@dataclass
class TrainingResult:
    """``losses`` by step, ``validations`` as (step, value), and the step whose parameters were kept."""

    best_step: int = 0
    losses: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


def train(
    model: nn.Module,
    loss_of: Callable[[np.random.Generator], Tensor],
    config: TrainingConfig,
    seed: int,
    *,
    validate: Callable[[], float] | None = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Path | None = None,
    extra: Mapping[str, np.ndarray] | None = None,
    groups: Sequence[ParameterGroup] = (),
) -> TrainingResult:
    """Minimise ``loss_of``, called once a step with that step's generator, over the parameters of ``model``.

    ``validate`` returns a value of which more is better; the parameters with the best one, and the buffers that belong to them (running
    means of a batch norm), are kept in the end. A run whose ``checkpoint`` file exists continues from it. ``extra`` are arrays outside of
    the model that steps change in place (the counts of a sketch); they are part of the checkpoint. Parameters of ``groups`` have rates of
    their own.
    """
    run = _Run(model, config, seed, extra or {}, groups)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    keep_freed_memory()
    with computing_threads(config.threads):
        _loop(run, loss_of, validate, progress, checkpoint)
    run.keep_best()
    model.eval()
    return run.result


def _loop(
    run: _Run,
    loss_of: Callable[[np.random.Generator], Tensor],
    validate: Callable[[], float] | None,
    progress: Callable[[Progress], None] | None,
    checkpoint: Path | None,
) -> None:
    config, model = run.config, run.model
    started, first = time.perf_counter(), run.step
    while run.step < config.steps and not run.exhausted:
        loss = run.advance(loss_of)
        if validate is not None and (run.step % config.validate_every == 0 or run.step == config.steps):
            run.judge(_evaluated(model, validate))
        if progress is not None:
            rate = (run.step - first) / max(time.perf_counter() - started, 1e-9)
            value = run.result.validations[-1][1] if run.result.validations else None
            progress(Progress(run.step, config.steps, loss, rate, (config.steps - run.step) / rate, value))
        if checkpoint is not None and run.step % config.checkpoint_every == 0:
            run.save(checkpoint)
    run.result.seconds += time.perf_counter() - started


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The rate of ``step`` (0-based): linear warm-up, then half a cosine down to ``final_share`` of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(config.steps - 1 - config.warmup_steps, 1)
    return config.learning_rate * (config.final_share + (1 - config.final_share) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


@contextmanager
def computing_threads(count: int) -> Iterator[None]:
    """PyTorch computes with ``count`` threads inside, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[np.random.Generator]:
    """A derived generator, and torch's own CPU generator seeded alike inside and given back untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *names))
        yield generator(seed, *names)


def _evaluated(model: nn.Module, validate: Callable[[], float]) -> float:
    model.eval()
    with torch.no_grad():
        value = float(validate())
    model.train()
    return value


class _Run:
    """The state that a checkpoint holds: parameters and buffers, moments, step, the best so far."""

    def __init__(
        self, model: nn.Module, config: TrainingConfig, seed: int, extra: Mapping[str, np.ndarray], groups: Sequence[ParameterGroup]
    ):
        self.model, self.config, self.seed, self.extra = model, config, seed, extra
        self.parameters = dict(model.named_parameters())
        buffers = {name: value for name, value in model.state_dict(keep_vars=True).items() if not isinstance(value, nn.Parameter)}
        self.kept: dict[str, Tensor] = self.parameters | buffers
        self.optimizer = torch.optim.AdamW(
            _grouped(self.parameters, groups, config), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step, self.looks_since_best = 0, 0
        self.best: dict[str, Tensor] | None = None
        self.result = TrainingResult()

    @property
    def exhausted(self) -> bool:
        return self.looks_since_best >= self.config.patience

    def advance(self, loss_of: Callable[[np.random.Generator], Tensor]) -> float:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step) * group["rate"] if self.step >= group["after"] else 0.0
        with seeded(self.seed, "step", self.step) as draw:
            loss = loss_of(draw)
        if not torch.isfinite(loss):
            raise InputError("Training diverged: the loss is not finite", found=float(loss.detach()), hint="Use a smaller learning rate.")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.result.losses.append(float(loss.detach()))
        return self.result.losses[-1]

    def judge(self, value: float) -> None:
        better = self.best is None or value > max(v for _, v in self.result.validations)
        self.result.validations.append((self.step, value))
        self.looks_since_best = 0 if better else self.looks_since_best + 1
        if better:
            self.result.best_step = self.step
            self.best = {name: value.detach().clone() for name, value in self.kept.items()}

    def keep_best(self) -> None:
        if self.best is None:
            self.result.best_step = self.step
            return
        with torch.no_grad():
            for name, value in self.kept.items():
                value.copy_(self.best[name])

    def save(self, path: Path) -> None:
        from safetensors.numpy import save

        tensors = {f"model/{name}": value.detach().cpu().numpy() for name, value in self.kept.items()}
        tensors |= {f"best/{name}": value.cpu().numpy() for name, value in (self.best or {}).items()}
        tensors |= {f"extra/{name}": value for name, value in self.extra.items()}
        for name, parameter in self.parameters.items():
            state = self.optimizer.state.get(parameter, {})
            tensors |= {f"{key}/{name}": np.asarray(value.cpu().numpy()) for key, value in state.items()}
        tensors["run/steps"] = np.array([self.step, self.looks_since_best, self.result.best_step, self.seed], np.int64)
        tensors["run/losses"] = np.array(self.result.losses, np.float64)
        tensors["run/validations"] = np.array(self.result.validations, np.float64).reshape(-1, 2)
        write_atomically(path, save({key: np.ascontiguousarray(value) for key, value in tensors.items()}))

    def restore(self, path: Path) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(path)
        known = {key.partition("/")[2] for key in tensors if key.startswith("model/")}
        self.step, self.looks_since_best, self.result.best_step, seed = map(int, tensors["run/steps"])
        if known != set(self.kept) or seed != self.seed:
            raise ArtifactError(
                "This checkpoint is of another run",
                found=(sorted(known), seed),
                expected=(sorted(self.kept), self.seed),
                hint=f"Delete {path}.",
            )
        self.result.losses = tensors["run/losses"].tolist()
        self.result.validations = [(int(step), float(value)) for step, value in tensors["run/validations"]]
        if any(key.startswith("best/") for key in tensors):
            self.best = {name: _like(value, tensors[f"best/{name}"]) for name, value in self.kept.items()}
        for name, values in self.extra.items():
            values[...] = tensors[f"extra/{name}"]
        with torch.no_grad():
            for name, value in self.kept.items():
                value.copy_(_like(value, tensors[f"model/{name}"]))
            for name, parameter in self.parameters.items():
                if f"exp_avg/{name}" in tensors:
                    moments = {key: _like(parameter, tensors[f"{key}/{name}"]) for key in ("exp_avg", "exp_avg_sq")}
                    self.optimizer.state[parameter] = {"step": torch.tensor(float(tensors[f"step/{name}"][0])), **moments}


def _grouped(parameters: Mapping[str, Tensor], groups: Sequence[ParameterGroup], config: TrainingConfig) -> list[dict[str, Any]]:
    """The parameters as the optimizer takes them: a dict a group, and one for the rest."""
    taken: set[str] = set()
    found: list[dict[str, Any]] = []
    for group in (*groups, ParameterGroup("")):
        names = [name for name in parameters if name.startswith(group.prefix) and name not in taken]
        if not names and group.prefix:
            raise InputError("A group has no parameters", found=group.prefix, expected=sorted(parameters))
        taken.update(names)
        decay = config.weight_decay if group.weight_decay is None else group.weight_decay
        found.append({"params": [parameters[name] for name in names], "weight_decay": decay, "rate": group.rate, "after": group.after})
    return [group for group in found if group["params"]]


def _like(parameter: Tensor, values: np.ndarray) -> Tensor:
    """A copy of ``values`` in the shape of ``parameter``; scalars are written as arrays of one."""
    return torch.from_numpy(np.array(values)).reshape(parameter.shape)
