"""What PinSage and MultiBiSage have in common once they are trained: they turn features and neighbours into unit vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from corkboard.artifacts import Artifact, Space, content_hash
from corkboard.embeddings.config import GraphEncoderConfig
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.errors import ArtifactError, InputError
from corkboard.graph.neighbour_lists import NeighbourLists

if TYPE_CHECKING:
    from corkboard.embeddings.graph_network import GraphNetwork

_EPSILON = 1e-6


class GraphEncoder(ABC):
    """A finished encoder.

    ``weights`` are the arrays of its network by name, ``graphs`` the graphs it reads, ``widths`` and ``spaces`` the parts of the features
    it was trained with, ``positions`` how many neighbours it has a learned position for. It knows no item ids: whatever has features, or
    neighbours that have some, has a vector. Torch is loaded by :meth:`encode`.
    """

    kind: ClassVar[str]
    settings_type: ClassVar[type[GraphEncoderConfig]]

    def __init__(
        self,
        settings: GraphEncoderConfig,
        graphs: Sequence[str],
        widths: Sequence[int],
        spaces: Sequence[Space],
        positions: int,
        weights: Mapping[str, np.ndarray],
    ):
        self.settings = settings
        self.graphs = tuple(graphs)
        self.widths = tuple(widths)
        self.spaces = tuple(spaces)
        self.positions = positions
        self.weights = dict(weights)

    @abstractmethod
    def network(self) -> GraphNetwork:
        """A network of this shape, with weights that a caller sets."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.settings.dim

    @property
    def small_dim(self) -> int:
        """Width of the reduced vectors."""
        return self.settings.small_dim

    @cached_property
    def space(self) -> Space:
        """The space of the vectors, named after all weights and the spaces they read."""
        return Space(self.kind, self._version)

    @cached_property
    def small_space(self) -> Space:
        """The space of the reduced vectors."""
        return Space(f"{self.kind}_small", self._version)

    @cached_property
    def _version(self) -> str:
        parts = [(name, value.shape, content_hash(value.tobytes().hex())) for name, value in sorted(self.weights.items())]
        return content_hash(parts, self.graphs, list(map(str, self.spaces)), self.settings.model_dump(mode="json"))

    # -------------------------------------------------------------------------------------------------------------- encode

    def encode(self, features: NodeFeatures, lists: NeighbourLists | None, only: np.ndarray | None = None) -> np.ndarray:
        """float32 ``(items, dim)`` unit vectors of all items of ``features``, or of the rows ``only``.

        ``lists`` are over the same items; None: nobody has neighbours, which is how an item of a minute ago is read. A graph that the model
        knows and the lists lack counts as without edges, and one that the model does not know is not looked at. An item without features
        and without neighbours has the zero vector.
        """
        import torch

        self.check(features, lists)
        lists = no_neighbours(self.graphs, features.item_ids) if lists is None else only_graphs(lists, self.graphs)
        wanted = np.arange(len(features.item_ids)) if only is None else np.asarray(only, np.int64)
        distinct, place = np.unique(wanted, return_inverse=True)
        if not len(distinct):
            return np.zeros((0, self.dim), np.float32)
        with torch.inference_mode():
            return self._network(torch.from_numpy(np.asarray(features.values, np.float32)), lists, distinct).numpy()[place]

    def small(self, vectors: np.ndarray) -> np.ndarray:
        """float32 ``(n, small_dim)`` unit rows: the reduced form of ``vectors``, ``(n, dim)`` of :meth:`encode`."""
        reduced = np.asarray(vectors, np.float32) @ self.weights["small.weight"].T
        return reduced / np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), _EPSILON)

    def check(self, features: NodeFeatures, lists: NeighbourLists | None) -> None:
        """Raise unless the features are of the spaces that it reads and the lists are over the same items."""
        if len(features.spaces) != len(self.spaces):
            raise InputError("These are not the features that this encoder reads", found=features.spaces, expected=self.spaces)
        for known, given in zip(self.spaces, features.spaces, strict=True):
            known.require(given)
        if lists is not None and list(lists.item_ids) != list(features.item_ids):
            raise InputError(
                "Features and neighbour lists are not over the same items",
                found=(len(features.item_ids), len(lists.item_ids)),
                expected="the same ids in the same order",
                hint="NeighbourLists.in_order_of brings lists into the order of other ids.",
            )

    @cached_property
    def _network(self) -> GraphNetwork:
        import torch

        with torch.random.fork_rng(devices=[]):
            network = self.network()
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in self.weights.items()})
        return network.eval()

    # ----------------------------------------------------------------------------------------------------------- artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return dict(self.weights)

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {
            "kind": self.kind,
            "settings": self.settings.model_dump(mode="json"),
            "graphs": list(self.graphs),
            "widths": list(self.widths),
            "spaces": list(map(str, self.spaces)),
            "positions": self.positions,
        }

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """The encoder of an artefact written with :meth:`tensors` and :attr:`config`."""
        config = artifact.config
        if config.get("kind") != cls.kind:
            raise ArtifactError(f"This artefact holds no {cls.__name__}", found=config.get("kind"), expected=cls.kind)
        settings = cls.settings_type.model_validate(config["settings"])
        spaces = [Space.parse(text) for text in config["spaces"]]
        return cls(settings, config["graphs"], config["widths"], spaces, config["positions"], artifact.tensors)


def no_neighbours(graphs: Sequence[str], item_ids: Sequence[str]) -> NeighbourLists:
    """Lists in which nobody has a neighbour."""
    shape = (len(graphs), len(item_ids), 1)
    return NeighbourLists(tuple(graphs), item_ids, np.full(shape, -1, np.int32), np.zeros(shape, np.int32), np.zeros(shape[:2], np.int32))


def only_graphs(lists: NeighbourLists, graphs: Sequence[str]) -> NeighbourLists:
    """The lists of ``graphs`` alone, empty for those that are not there; also where ``lists`` has no graph at all."""
    if tuple(graphs) == lists.graphs:
        return lists
    return lists.only(graphs) if lists.graphs else no_neighbours(graphs, lists.item_ids)
