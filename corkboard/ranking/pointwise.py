"""The pointwise ranker: one small network over request features, a head per action.

It stands where TransAct will stand, behind the same :class:`~corkboard.ranking.ranker.Ranker` seam, and stays as the fast
and explainable fallback. Trained by :func:`corkboard.ranking.training.train_pointwise` with PyTorch; this file serves it
with NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corkboard.artifacts import Artifact
from corkboard.errors import ArtifactError
from corkboard.ranking.calibration import sigmoid
from corkboard.ranking.features import FEATURE_NAMES
from corkboard.ranking.ranker import RankerInput
from corkboard.ranking.report import CLIP


class PointwiseRanker:
    """``p = sigmoid(slope * (W_out h + W_skip z) + offset)`` with ``z`` the standardised features and ``h`` shared hidden layers.

    ``tensors`` are float32: ``mean``, ``scale`` ``(F,)``; ``weight_k`` ``(in, out)`` and ``bias_k`` of hidden layer k;
    ``weight_out`` ``(hidden, heads)``, ``weight_skip`` ``(F, heads)``, ``bias_out``, ``slope``, ``offset`` ``(heads,)``.
    """

    def __init__(self, heads: Sequence[str], tensors: Mapping[str, np.ndarray], feature_names: Sequence[str] = FEATURE_NAMES):
        self._heads = tuple(heads)
        self.feature_names = tuple(feature_names)
        self._tensors = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
        layers = sum(name.startswith("weight_") and name[7:].isdigit() for name in self._tensors)
        self._layers = [(self._tensors[f"weight_{k}"], self._tensors[f"bias_{k}"]) for k in range(layers)]
        self._columns = feature_columns(self.feature_names)
        if self._tensors["weight_skip"].shape != (len(self.feature_names), len(self._heads)):
            raise ArtifactError(
                "The ranker's tensors do not fit its names",
                found=self._tensors["weight_skip"].shape,
                expected=(len(self.feature_names), len(self._heads)),
            )

    @property
    def heads(self) -> tuple[str, ...]:
        return self._heads

    def score(self, given: RankerInput) -> np.ndarray:
        return self.probabilities(given.features)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float32 ``(n, heads)``, for features ``(n, len(FEATURE_NAMES))``."""
        tensors = self._tensors
        return sigmoid(self.logits(features) * tensors["slope"] + tensors["offset"]).astype(np.float32)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Uncalibrated logits, float32 ``(n, heads)``."""
        tensors = self._tensors
        used = features if self._columns is None else features[:, self._columns]
        z = np.clip((used - tensors["mean"]) / tensors["scale"], -CLIP, CLIP)
        hidden = z
        for weight, bias in self._layers:
            hidden = np.maximum(hidden @ weight + bias, 0.0)
        return hidden @ tensors["weight_out"] + z @ tensors["weight_skip"] + tensors["bias_out"]

    def contributions(self, features: np.ndarray, head_weights: np.ndarray, given: RankerInput | None = None) -> dict[str, float]:
        """How much the utility of one item, features ``(F,)``, falls when one feature is set to its training mean."""
        used = features if self._columns is None else features[self._columns]
        ablated = np.tile(np.asarray(used, np.float32), (len(self.feature_names) + 1, 1))
        rows = np.arange(len(self.feature_names))
        ablated[rows + 1, rows] = self._tensors["mean"]
        plain = PointwiseRanker.__new__(PointwiseRanker)
        plain.__dict__.update(self.__dict__, _columns=None)
        worth = plain.probabilities(ablated) @ np.asarray(head_weights, np.float32)
        return {name: float(worth[0] - worth[k + 1]) for k, name in enumerate(self.feature_names)}

    def tensors(self) -> dict[str, np.ndarray]:
        """What :func:`corkboard.artifacts.write_artifact` keeps."""
        return dict(self._tensors)

    def config(self) -> dict[str, Any]:
        """What stands beside the tensors in an artefact."""
        return {"kind": "pointwise", "heads": list(self._heads), "feature_names": list(self.feature_names)}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> PointwiseRanker:
        """Raises :class:`ArtifactError` where the artefact needs a feature that this version does not compute."""
        return cls(artifact.config["heads"], artifact.tensors, artifact.config["feature_names"])


def feature_columns(feature_names: Sequence[str]) -> np.ndarray | None:
    """Where a ranker's features stand in FEATURE_NAMES; None when it reads all of them in order.

    Raises :class:`ArtifactError` for a feature that this version does not compute.
    """
    if tuple(feature_names) == FEATURE_NAMES:
        return None
    place = {name: column for column, name in enumerate(FEATURE_NAMES)}
    unknown = [name for name in feature_names if name not in place]
    if unknown:
        raise ArtifactError(
            "The ranker reads features that this version does not compute", found=unknown, hint="Train it again: `corkboard build`."
        )
    return np.array([place[name] for name in feature_names], np.int64)
