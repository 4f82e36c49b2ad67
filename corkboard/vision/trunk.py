"""Trunks by their settings: building, keeping, and the one that comes with the package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corkboard.artifacts import write_atomically
from corkboard.errors import ArtifactError, ConfigError, InputError, NotFound
from corkboard.learning.training import ParameterGroup, seeded
from corkboard.vision.cnn import ConvTrunk
from corkboard.vision.config import TrunkConfig
from corkboard.vision.encoder import ConvBlock, Trunk
from corkboard.vision.vit import VitTrunk

BUILT_IN = "trunk.safetensors"
_COUNTER = "num_batches_tracked"
"""A counter of batch norm that nothing here reads; it is neither kept nor asked for."""


def build_trunk(config: TrunkConfig, seed: int) -> Trunk:
    """A trunk with random weights that depend on ``seed`` alone, or a pretrained one with those of its checkpoint."""
    if config.kind == "pretrained":
        from corkboard.vision.pretrained import load_pretrained

        return load_pretrained(config.checkpoint, config.checkpoint_side)
    with seeded(seed, "trunk", config.kind):
        return ConvTrunk(config) if config.kind == "cnn" else VitTrunk(config)


def built_in_file() -> Path:
    """Where the weights of the trunk lie that comes with the package. Raises :class:`NotFound` where this copy has none."""
    path = Path(__file__).parent / "weights" / BUILT_IN
    if not path.is_file():
        raise NotFound(
            "This copy of Corkboard comes without the weights of its trunk",
            expected=str(path),
            hint="docs/concepts/vision.md names the command that makes them.",
        )
    return path


def built_in_trunk() -> Trunk:
    """The trained trunk that comes with the package. Raises :class:`NotFound` where this copy of the package has no weights."""
    return load_trunk(built_in_file())


# --------------------------------------------------------------------------------------------------------------- keeping


def trunk_facts(trunk: Trunk) -> dict[str, Any]:
    """What :func:`restored` needs beside the tensors; JSON."""
    return trunk.facts()


def trunk_tensors(trunk: Trunk, half: bool = False) -> dict[str, np.ndarray]:
    """Parameters and running statistics by name, float32 or (``half``) float16; copies.

    Raises :class:`InputError` for values beyond what float16 holds, or not finite.
    """
    out = {}
    for name, values in trunk.state_dict().items():
        if name.endswith(_COUNTER):
            continue
        array = values.detach().cpu().numpy()
        if half and np.issubdtype(array.dtype, np.floating):
            if not np.isfinite(array).all() or np.abs(array).max(initial=0) > np.finfo(np.float16).max:
                raise InputError("Weights do not fit into float16", found=name, expected="finite values up to 65504")
            array = array.astype(np.float16)
        out[name] = np.array(array, order="C")
    return out


def restored(facts: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Trunk:
    """The trunk of :func:`trunk_facts` and :func:`trunk_tensors`, for evaluation. Raises :class:`ArtifactError` where they do not fit."""
    trunk = _unfilled(facts)
    wanted = {name: values for name, values in trunk.state_dict().items() if not name.endswith(_COUNTER)}
    unfit = sorted(set(wanted) ^ set(tensors)) or [n for n, values in wanted.items() if tuple(values.shape) != tensors[n].shape]
    if unfit:
        raise ArtifactError("These tensors are of another trunk", found=unfit[:5], expected=f"those of {type(trunk).__name__}")
    with torch.no_grad():
        for name, values in wanted.items():
            values.copy_(torch.from_numpy(np.array(tensors[name])))
    return trunk.eval()


def _unfilled(facts: Mapping[str, Any]) -> Trunk:
    try:
        settings = TrunkConfig.model_validate(facts["settings"])
        if settings.kind == "pretrained":
            from corkboard.vision.pretrained import PretrainedTrunk

            return PretrainedTrunk.of_facts(facts)
        return build_trunk(settings, 0)
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"The settings of a trunk cannot be read: {error}", found=dict(facts)) from None


def save_trunk(trunk: Trunk, file: Path, notes: Mapping[str, Any] | None = None) -> None:
    """Write ``trunk`` as safetensors in float16, atomically. The header has its settings and ``notes`` (JSON), say what it was made of.

    The same trunk and notes are the same bytes.
    """
    from safetensors.numpy import save

    if any(isinstance(module, ConvBlock) and module.is_folded for module in trunk.modules()):
        raise ConfigError("A trunk for serving cannot be kept: its batch norm is gone", hint="Keep the one it was made from.")
    # one entry: safetensors writes several in any order
    header = {"trunk": json.dumps({**trunk_facts(trunk), "notes": dict(notes or {})}, sort_keys=True)}
    write_atomically(Path(file), save(trunk_tensors(trunk, half=True), header))


def load_trunk(file: Path) -> Trunk:
    """The trunk of :func:`save_trunk` in float32 and evaluation mode.

    Raises :class:`NotFound` where there is no file and :class:`ArtifactError` where it is not one of those.
    """
    with _opened(file) as (facts, tensors):
        return restored(facts, {name: tensors.get_tensor(name) for name in tensors.keys()})  # noqa: SIM118 — no mapping


def trunk_notes(file: Path) -> dict[str, Any]:
    """The notes that :func:`save_trunk` was given, without reading the weights; raises as :func:`load_trunk` does."""
    with _opened(file) as (facts, _):
        return facts.get("notes", {})


@contextmanager
def _opened(file: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    from safetensors import SafetensorError, safe_open

    if not Path(file).is_file():
        raise NotFound("There are no weights of a trunk here", found=str(file), expected="a file that save_trunk has written")
    try:
        with safe_open(file, "numpy") as tensors:
            yield json.loads((tensors.metadata() or {})["trunk"]), tensors
    except (SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(f"{file} is not a trunk: {error!r}", expected="safetensors that save_trunk has written") from None


# ------------------------------------------------------------------------------------------------------------ fine-tuning


def parameter_groups(
    trunk: Trunk, prefix: str = "trunk.", *, rate: float = 0.1, layer_decay: float | None = None, after: int = 0
) -> list[ParameterGroup]:
    """Groups for :func:`~corkboard.learning.training.train` that fine-tune ``trunk`` gently below heads that are new.

    ``prefix`` is what the trunk is called in the trained model. It learns at ``rate`` times the rate of the heads, or with ``layer_decay``
    at ``layer_decay ** d``, where d is 1 for its last layer and grows towards the input (Clark et al., ICLR 2020; .75 is usual), and stands
    still for the first ``after`` steps. Biases, norms, positions and tokens have no weight decay.
    """
    if not 0 < rate <= 1 or not (layer_decay is None or 0 < layer_decay <= 1):
        raise ConfigError("Shares of the learning rate are out of range", found=(rate, layer_decay), expected="above 0, up to 1")
    groups = []
    for name, parameter in trunk.named_parameters():
        share = rate if layer_decay is None else layer_decay ** (trunk.depths - trunk.depth_of(name))
        decays = parameter.ndim > 1 and not any(word in name.split(".")[-1] for word in ("position", "token"))
        groups.append(ParameterGroup(prefix + name, share, None if decays else 0.0, after))
    return sorted(groups, key=lambda group: -len(group.prefix))  # a name may begin with another one
