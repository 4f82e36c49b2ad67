"""Projects and the boards that follow them.

A project theme mixes topics of different categories and leans towards one or two styles: "first flat" is lamps, rugs and plants. People
have boards for some themes and, most of them, one board for everything. Items meet on boards because a project needs both of them, which
neither their text nor their picture tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corkboard.seeds import generator
from corkboard.world.catalogue import TOPICS, Catalogue
from corkboard.world.config import DAY_MS, WorldConfig
from corkboard.world.draws import random_ids
from corkboard.world.vocabulary import CATCH_ALL_TITLES, PROJECT_THEMES, STYLES, TOPIC_CATEGORY

BOARDS = 8
"""A person has at most so many boards."""
CATCH_ALL = -1
NO_BOARD = -2
VARIANTS = 3
"""Each theme comes in so many variants with topics of their own."""
SECRET = 0.15
COLLECTORS = 0.06
"""Share of people who save far more than others, to few boards."""


@dataclass(frozen=True)
class Projects:
    """Themes that everybody shares."""

    topics: np.ndarray
    """float32 (projects, TOPICS): how much a project needs each topic, 0 to 1."""
    styles: np.ndarray
    """float32 (projects, styles): how well each style suits it, 0 to 1."""

    @classmethod
    def make(cls, config: WorldConfig) -> Projects:
        """The themes of this world; where projects are off, they need nothing and suit nothing."""
        rng = generator(config.seed, "world", "projects")
        count = len(PROJECT_THEMES) * VARIANTS
        topics = np.zeros((count, TOPICS), np.float32)
        styles = np.zeros((count, len(STYLES)), np.float32)
        categories = np.array(TOPIC_CATEGORY)
        for row in range(count):
            chosen = rng.choice(categories.max() + 1, int(rng.integers(3, 6)), replace=False)
            for weight, category in zip((1.0, 0.85, 0.7, 0.6, 0.5), chosen, strict=False):
                topics[row, rng.choice(np.flatnonzero(categories == category))] = weight
            styles[row, rng.choice(len(STYLES), 2, replace=False)] = (1.0, 0.6)
        on = np.float32(config.mechanisms.projects)
        return cls(topics * on, styles * on)


@dataclass(frozen=True)
class Boards:
    """The boards of everybody; the first axis of every array is people, the second their boards."""

    ids: list[str]
    """Flat, row ``person * BOARDS + place``."""
    project: np.ndarray
    """int (users, BOARDS): row of the projects, CATCH_ALL, or NO_BOARD."""
    created_ms: np.ndarray
    secret: np.ndarray
    title: np.ndarray
    """int (users, BOARDS): which catch-all title."""
    collector: np.ndarray
    """bool (users,): saves far more than others."""
    deleted_ms: np.ndarray
    """int64 (users, BOARDS): when it was deleted, 0 where it was not."""

    @classmethod
    def make(cls, config: WorldConfig, projects: Projects, interests: np.ndarray, join_ms: np.ndarray) -> Boards:
        """``interests`` (users, TOPICS) are mean long-term weights: people take up projects that touch one of them."""
        rng = generator(config.seed, "world", "boards")
        users = len(join_ms)
        shape = (users, BOARDS)
        appeal = interests @ projects.topics.T + 0.15
        gumbel = rng.gumbel(size=appeal.shape)
        chosen = np.argsort(-(np.log(appeal) * 1.5 + gumbel), 1)[:, : BOARDS - 1]
        project = np.concatenate([np.full((users, 1), CATCH_ALL), chosen], 1)
        count = 1 + np.minimum(rng.geometric(0.4, users) - (rng.random(users) < 0.3), BOARDS - 1)
        project = np.where(np.arange(BOARDS)[None, :] < count[:, None], project, NO_BOARD)
        project[rng.random(users) < 0.25, 0] = NO_BOARD
        span = np.maximum(config.end_ms - join_ms, DAY_MS)
        created = join_ms[:, None] + (rng.random(shape) ** 1.7 * span[:, None] * 0.9).astype(np.int64)
        created[:, :2] = join_ms[:, None]
        gone = (rng.random(shape) < 0.02) & (project != NO_BOARD)
        deleted = np.where(gone, created + (rng.random(shape) * (config.end_ms - created)).astype(np.int64), 0)
        return cls(
            random_ids(rng, "b", users * BOARDS),
            project,
            created,
            rng.random(shape) < SECRET,
            rng.integers(len(CATCH_ALL_TITLES), size=shape),
            rng.random(users) < COLLECTORS,
            deleted,
        )

    def open(self, users: np.ndarray, time_ms: np.ndarray) -> np.ndarray:
        """bool (n, BOARDS): exists at that time."""
        deleted = self.deleted_ms[users]
        return (
            (self.project[users] != NO_BOARD)
            & (self.created_ms[users] <= time_ms[:, None])
            & ((deleted == 0) | (deleted > time_ms[:, None]))
        )

    def wanted(self, projects: Projects, users: np.ndarray, time_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the open projects of ``users`` need: float32 (n, TOPICS) and float32 (n, styles), the maximum over their boards."""
        project = np.where(self.open(users, time_ms), self.project[users], -1)
        known = (project >= 0)[:, :, None]
        return (projects.topics[project] * known).max(1), (projects.styles[project] * known).max(1)

    def place(
        self, projects: Projects, catalogue: Catalogue, users: np.ndarray, items: np.ndarray, time_ms: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """int (n,): the flat row of the board to which user i saves item i; -1 where the person has no open board."""
        project = self.project[users]
        rows = np.maximum(project, 0)
        fit = projects.topics[rows, catalogue.topic[items][:, None]] + 0.4 * projects.styles[rows, catalogue.style[items][:, None]]
        fit = np.where(project == CATCH_ALL, 0.45, fit) + 0.12 * rng.gumbel(size=fit.shape)
        fit = np.where(self.open(users, time_ms), fit, -np.inf)
        best = fit.argmax(1)
        return np.where(np.isfinite(fit.max(1)), users * BOARDS + best, -1)
