"""The unified visual embedding (Zhai et al., KDD 2019): one network turns a picture into a vector and a binary code for every use.

    trunk features -> LayerNorm without learned factors -> linear -> z;   vector z / |z|,   code: the signs of z, one bit each

It replaces an encoder a product: browsing by a picture, finding the product in a photo, finding the very product of a crop in a catalogue
are tasks of one training (:mod:`corkboard.embeddings.visual_training`), and there is one index. Features are centred before the linear
layer, so a bit is about as often set as not; without that, features that are never negative make bits that hardly ever change.

Codes are scanned by Hamming distance, and what is nearest is scored again by vectors, which are kept as 8-bit numbers. The published code
is the signs of the vector; here it has an output of its own where it has other bits than the vector has numbers, with the same loss.
Serving is the trunk (torch) and two matrix products.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from corkboard.artifacts import Artifact, Space, content_hash
from corkboard.embeddings.config import VisualConfig
from corkboard.errors import ArtifactError, InputError
from corkboard.seeds import generator

if TYPE_CHECKING:
    from corkboard.vision.encoder import Trunk, TrunkEncoder

KIND = "visual"
CODE_FORMAT = 1
"""Order of bits in a code; part of the space, so that codes of two orders never meet."""
_VARIANCE_EPSILON = 1e-5
_EPSILON = 1e-12
_TRUNK = "trunk/"
"""What names of the trunk's arrays begin with in an artefact."""


@dataclass(frozen=True)
class VisualTask:
    """Labelled pictures of one use.

    ``images`` int64 ``(n,)`` are rows of one array of pictures, ``classes`` int64 ``(n,)`` any numbers, equal for what belongs together,
    ``domains`` int64 ``(n,)`` where a picture comes from (catalogue, web, camera). A picture may be in several tasks, each with its own
    kind of classes, and several times in one, with one class each: those are then no negatives of each other for it.
    """

    name: str
    images: np.ndarray
    classes: np.ndarray
    domains: np.ndarray

    def __post_init__(self) -> None:
        shapes = {np.shape(values) for values in (self.images, self.classes, self.domains)}
        if len(shapes) != 1 or len(shapes.pop()) != 1 or not len(self.images):
            raise InputError(
                f"The task {self.name} needs pictures with a class and a domain each",
                found=[np.shape(values) for values in (self.images, self.classes, self.domains)],
                expected="three arrays of one length, at least 1",
            )

    def __len__(self) -> int:
        return len(self.images)

    def of_domains(self, domains: Collection[int]) -> VisualTask:
        """The task on pictures of some domains alone."""
        kept = np.isin(self.domains, list(domains))
        return replace(self, images=self.images[kept], classes=self.classes[kept], domains=self.domains[kept])

    def shuffled(self, seed: int) -> VisualTask:
        """The control: the same pictures, with their classes dealt out anew. What is learned from it says nothing of other pictures."""
        return replace(self, classes=generator(seed, "visual", "shuffled", self.name).permutation(self.classes))


class VisualEncoder:
    """A finished encoder of pictures.

    ``trunk`` takes pictures to features ``(n, width)``; ``weights`` are the linear layers after it, ``output<i>`` float32
    ``(width, outputs)``: one for each of :func:`output_widths`, or one for all (``nested``); where one is missing, the features are its
    output. The trunk must not train while this encoder is in use. Torch is loaded by the first call that reads pictures.
    """

    def __init__(self, settings: VisualConfig, trunk: Trunk, weights: Mapping[str, np.ndarray]):
        self.settings = settings
        self.trunk = trunk
        self.weights = {name: np.asarray(value, np.float32) for name, value in weights.items()}

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.settings.dim

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return self.settings.code_bits

    @property
    def side(self) -> int:
        """Side in px of the pictures that the trunk reads; others are brought to it, on a white square."""
        return self.trunk.side

    @cached_property
    def space(self) -> Space:
        """The space of the vectors, named after all weights, the trunk's among them."""
        return Space(KIND, self._version)

    @cached_property
    def code_space(self) -> Space:
        """The space of the codes."""
        return Space(f"{KIND}_codes", self._version)

    @cached_property
    def _version(self) -> str:
        shaping = self.settings.model_dump(mode="json", include={"dim", "code_bits", "nested", "layer_norm", "layer_norm_after"})
        arrays = [(name, value.shape, blake2b(value.tobytes()).hexdigest()) for name, value in sorted(self.tensors().items())]
        return content_hash(arrays, self.config["trunk"], shaping, CODE_FORMAT)

    @cached_property
    def _reader(self) -> TrunkEncoder:
        from corkboard.vision.encoder import TrunkEncoder

        return TrunkEncoder(self.trunk, Space("trunk", self._version))

    # -------------------------------------------------------------------------------------------------------------- encode

    def encode(self, images: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors of pictures, uint8 ``(n, height, width, 3)``."""
        return self.vectors_of(self.features(images))

    def codes(self, images: np.ndarray) -> np.ndarray:
        """uint8 ``(n, bits / 8)`` codes of pictures, as :func:`pack_bits` packs them."""
        return self.codes_of(self.features(images))

    def features(self, images: np.ndarray) -> np.ndarray:
        """float32 ``(n, width)``: what the trunk says of pictures; vectors and codes are both made of it."""
        return self._reader.encode(images)

    def vectors_of(self, features: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors of features."""
        output = self.outputs(features)[output_widths(self.settings).index(self.dim)]
        return output / np.maximum(np.linalg.norm(output, axis=1, keepdims=True), _EPSILON)

    def codes_of(self, features: np.ndarray) -> np.ndarray:
        """uint8 ``(n, bits / 8)`` codes of features."""
        return pack_bits(self.outputs(features)[output_widths(self.settings).index(self.bits)])

    def outputs(self, features: np.ndarray) -> list[np.ndarray]:
        """float32 ``(n, width)`` for each of :func:`output_widths`: what has the vector's direction, and the code's signs."""
        values = np.asarray(features, np.float32)
        if self.settings.layer_norm:
            values = _layer_norm(values)
        widths = output_widths(self.settings)
        layers = [self.weights.get(f"output{place}") for place in range(1 if self.settings.nested else len(widths))]
        outputs = [values if layer is None else values @ layer for layer in layers]
        if self.settings.layer_norm_after:
            outputs = [_layer_norm(output) for output in outputs]
        return [outputs[0][:, :dim] for dim in widths] if self.settings.nested else outputs

    # ----------------------------------------------------------------------------------------------------------- artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact: linear layers and trunk, so that it needs no other file."""
        from corkboard.vision.trunk import trunk_tensors

        return self.weights | {f"{_TRUNK}{name}": value for name, value in trunk_tensors(self.trunk).items()}

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        from corkboard.vision.trunk import trunk_facts

        return {"kind": KIND, "settings": self.settings.model_dump(mode="json"), "trunk": trunk_facts(self.trunk)}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> VisualEncoder:
        """The encoder of an artefact written with :meth:`tensors` and :attr:`config`."""
        from corkboard.vision.trunk import restored

        config, tensors = artifact.config, artifact.tensors
        if config.get("kind") != KIND:
            raise ArtifactError("This artefact holds no visual encoder", found=config.get("kind"), expected=KIND)
        trunk = restored(config["trunk"], {name.removeprefix(_TRUNK): tensors[name] for name in tensors if name.startswith(_TRUNK)})
        weights = {name: value for name, value in tensors.items() if not name.startswith(_TRUNK)}
        return cls(VisualConfig.model_validate(config["settings"]), trunk, weights)


def output_widths(config: VisualConfig) -> tuple[int, ...]:
    """The widths that something is served at, rising: one where the code has as many bits as the vector has numbers."""
    return tuple(sorted({config.dim, config.code_bits}))


def pack_bits(values: np.ndarray) -> np.ndarray:
    """uint8 ``(n, width / 8)`` codes of ``values`` ``(n, width)``: bit i is set where number i is above 0.

    The first number is the highest bit of the first byte. Positive factors, such as scaling to length 1, change nothing. Raises
    :class:`InputError` where the width is no multiple of 8.
    """
    values = np.asarray(values)
    if values.shape[-1] % 8:
        raise InputError("A code has whole bytes", found=values.shape[-1], expected="a multiple of 8 numbers")
    return np.packbits(values > 0, axis=-1)


def int8_of(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 ``(n, dim)`` and scales float32 ``(n,)``: row i of ``vectors`` is about ``int8[i] * scale[i]``, each number within half a scale.

    A scale a row costs four bytes, and keeps the order among neighbours that one for all would blur.
    """
    vectors = np.asarray(vectors, np.float32)
    scale = np.abs(vectors).max(axis=1, initial=0.0) / np.float32(127)
    scale[scale == 0] = 1.0
    return np.rint(vectors / scale[:, None]).astype(np.int8), scale


def _layer_norm(values: np.ndarray) -> np.ndarray:
    """Rows at mean 0 and variance 1."""
    centred = values - values.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + _VARIANCE_EPSILON)
