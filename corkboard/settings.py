"""The settings tree: each room's light section, put together, and the one dial ``scale``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from corkboard.config import Section, load
from corkboard.embeddings.embeddings_config import EmbeddingsConfig
from corkboard.experiments.config import EvaluationConfig
from corkboard.feed.config import FeedConfig
from corkboard.graph.config import GraphConfig
from corkboard.lake.config import LakeConfig
from corkboard.lake.importers.config import ImportConfig
from corkboard.ranking.config import RankingConfig
from corkboard.retrieval.config import RetrievalConfig
from corkboard.serving.config import ServingConfig
from corkboard.shopping.config import ShoppingConfig
from corkboard.state.config import StateConfig
from corkboard.vision.config import VisionConfig
from corkboard.world.config import WorldConfig

Scale = Literal["tiny", "small", "base", "large"]

_PUBLISHED: dict[str, Any] = {
    "multibisage": {
        "dim": 256,
        "width": 256,
        "heads": 8,
        "feedforward": 4,
        "training": {"steps": 20_000, "warmup_steps": 1_000, "validate_every": 500},
    },
    "pinsage": {"dim": 256, "hidden": 2_048, "training": {"steps": 20_000, "warmup_steps": 1_000, "validate_every": 500}},
    "pinnerformer": {
        "dim": 256,
        "encoder": {"window": 256, "width": 256, "heads": 8, "layers": 2},
        "training": {"steps": 20_000, "learning_rate": 1e-3, "warmup_steps": 2_000, "validate_every": 500, "patience": 6},
    },
}
"""Lengths and widths of the published encoders (vectors of 256 numbers, 256 actions); depth and steps as far as hours of a
workstation go."""
_PUBLISHED_WALKS: dict[str, Any] = {"walk": {"visits": 100_000}, "neighbours": {"count": 50, "visits": 5_000}}
"""Published walks and neighbours."""
_PUBLISHED_RANKER: dict[str, Any] = {
    "hybrid": {"transact": {"length": 100, "item_dim": 32, "action_dim": 32}, "epochs": 2, "cross_rank": 256}
}
"""Lengths and widths of the published TransAct."""
_SCALES: dict[str, dict[str, Any]] = {
    "tiny": {
        "world": {"items": 300, "users": 150, "days": 42, "page_size": 12, "pictures": 48, "sessions": {"gap_days": 1.5}},
        "lake": {"calendar": {"rank_days": 7}},
        "graph": {"neighbours": {"visits": 300}},
        "embeddings": {
            "content": {"training": {"steps": 60}},
            "multibisage": {"training": {"steps": 30}},
            "pinsage": {"training": {"steps": 30}},
            "pinnerformer": {"training": {"steps": 40, "validate_every": 20}},
            "visual": {"training": {"steps": 60}},
        },
        "ranking": {
            "rows": {"max_rows": 30_000},
            "pointwise": {"epochs": 3},
            "hybrid": {"epochs": 1},
            "light": {"moments": 80, "training": {"steps": 60}},
        },
    },
    "small": {},
    "base": {
        "ranking": {"rows": {"max_rows": 2_000_000}, **_PUBLISHED_RANKER},
        "graph": _PUBLISHED_WALKS,
        "embeddings": _PUBLISHED,
        "world": {"items": 20_000, "users": 10_000},
    },
    "large": {
        "ranking": {"rows": {"max_rows": 10_000_000}, **_PUBLISHED_RANKER},
        "graph": _PUBLISHED_WALKS,
        "embeddings": _PUBLISHED,
        "world": {"items": 200_000, "users": 100_000},
    },
}
"""What the dial sets; an explicit value wins over it. ``small`` is what the defaults are made for."""


class Settings(Section):
    """Everything that can be set."""

    scale: Scale = "small"
    """One dial for widths, lengths and budgets: tiny (tests), small (the demo), base (published sizes), large."""
    seed: int = 7
    """Every random choice of a build derives from it."""
    tenant: str = "default"
    """The tenant whose rows are ingested, built and served."""
    world: WorldConfig = WorldConfig()
    """The built-in world."""
    imports: ImportConfig = ImportConfig()
    """How outside data becomes ours."""
    lake: LakeConfig = LakeConfig()
    """The data at rest and its calendar."""
    state: StateConfig = StateConfig()
    """The online store."""
    graph: GraphConfig = GraphConfig()
    """Graphs, walks and the neighbours that encoders read."""
    vision: VisionConfig = VisionConfig()
    """What pictures are read by."""
    embeddings: EmbeddingsConfig = EmbeddingsConfig()
    """Vectors."""
    retrieval: RetrievalConfig = RetrievalConfig()
    """Baselines, indexes and candidate sources."""
    ranking: RankingConfig = RankingConfig()
    """The ranker, its training rows and what an action is worth."""
    shopping: ShoppingConfig = ShoppingConfig()
    """From pictures to products that look like what is in them, and to what goes with it."""
    feed: FeedConfig = FeedConfig()
    """Rules and diversity of a page."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How it is measured."""
    serving: ServingConfig = ServingConfig()
    """The server."""


class _Dial(Section):
    """Just enough of the tree to read the dial before everything else."""

    model_config = Section.model_config | {"extra": "ignore"}

    scale: Scale = "small"


def load_settings(
    folder: Path | None = None, file: Path | None = None, overrides: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings from defaults, the dial, ``file`` or else ``folder/corkboard.toml``, the environment and ``overrides``."""
    overrides = list(overrides)
    if file is None and folder is not None and (folder / "corkboard.toml").exists():
        file = folder / "corkboard.toml"
    scale = load(_Dial, file, overrides, environ).scale
    return load(Settings, file, overrides, environ, base=_SCALES[scale])
