"""Small pages whose clicks follow what a hybrid ranker reads: the last actions, the user vector, one feature, the position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.lake.schema import ACTION_CODES
from corkboard.ranking.calibration import sigmoid
from corkboard.ranking.config import HybridConfig, LabelWeights, TransActConfig
from corkboard.ranking.features import FEATURE_NAMES, POSITION_COLUMN
from corkboard.ranking.history import PageHistories, RequestHistory
from corkboard.ranking.table import TrainingRows
from corkboard.seeds import generator

HEADS = ("click", "save", "hide", "report")
SPACE = Space("pinnerformer", "test")
DIM, ITEMS, TOPICS, SLOTS = 8, 60, 4, 8
FEATURE = FEATURE_NAMES.index("popularity_7d")
NOISY = 12
"""So many features are noise, that of the clicks among them; the others are zeros, so that one more changes nothing."""

SMALL = HybridConfig(
    transact=TransActConfig(length=6, item_dim=8, action_dim=4, ffn=16, layers=1, first_k=3, window_hours=2.0),
    user_dim=8,
    cross_layers=1,
    cross_rank=8,
    hidden=(32,),
    dropout=0.1,
    epochs=4,
    batch=16,
    learning_rate=6e-3,
    label_weights=LabelWeights(own=1.0, disliked=0.0, balance=0.5),
)
"""A network that learns these pages within a second or two."""


def item_vectors(seed: int = 0) -> EmbeddingTable:
    """Items ``i0 ..`` in clusters: item k is of topic k % ``TOPICS``; unit vectors."""
    draw = generator(seed, "hybrid items")
    centres = np.linalg.qr(draw.normal(size=(DIM, DIM)))[0][:TOPICS]
    vectors = centres[np.arange(ITEMS) % TOPICS] + 0.2 * draw.normal(size=(ITEMS, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return EmbeddingTable([f"i{k}" for k in range(ITEMS)], vectors.astype(np.float32), SPACE)


def pages(count: int = 600, users: int = 60, seed: int = 0, user_effect: float = 2.0, known_share: float = 0.9) -> TrainingRows:
    """Clicks: the topic of the newest actions, that of the user vector (by ``user_effect``), one feature; hides: topics hidden before.

    Saves are a fifth of the clicks, reports never happen but twice, clicks thin out towards the bottom of a page.
    """
    draw, table = generator(seed, "hybrid pages"), item_vectors()
    lasting, recent, hidden = (draw.integers(0, TOPICS, count) for _ in range(3))
    histories = [_history(draw, recent[p], hidden[p], draw.integers(0, 7)) for p in range(count)]
    items = np.argsort(draw.random((count, ITEMS)), axis=1)[:, :SLOTS].ravel()
    page, topic = np.repeat(np.arange(count), SLOTS), items % TOPICS
    position = np.tile(np.arange(SLOTS), count)
    features = np.zeros((len(page), len(FEATURE_NAMES)), np.float32)
    features[:, :NOISY] = generator(seed, "hybrid features").normal(size=(len(page), NOISY))
    features[:, POSITION_COLUMN] = np.log1p(position)
    length = np.array([len(history) for history in histories])
    wish = 2.0 * (topic == recent[page]) * (length[page] > 0) + user_effect * (topic == lasting[page]) + 0.7 * features[:, FEATURE]
    click = draw.random(len(page)) < sigmoid(wish - 3.0 - 0.7 * features[:, POSITION_COLUMN])
    hid = np.array([ACTION_CODES["hide"] in history.actions for history in histories])
    hide = draw.random(len(page)) < sigmoid(4.0 * ((topic == hidden[page]) & hid[page]) - 4.0)
    labels = np.zeros((len(page), len(HEADS)), np.float32)
    labels[:, 0], labels[:, 2] = click, hide
    labels[:, 1] = click & (draw.random(len(page)) < 0.2)
    labels[:2, 3] = 1.0
    known = draw.random(count) < known_share
    vectors = table.vectors[lasting] * known[:, None]
    user = draw.integers(0, users, count)
    return TrainingRows(
        features=features,
        labels=labels,
        weights=np.ones(len(page), np.float32),
        page=page.astype(np.int32),
        user=user[page].astype(np.int32),
        time_ms=page.astype(np.int64) * 1000,
        position=position.astype(np.int32),
        randomised=page % 10 == 0,
        item_ids=np.array([f"i{k}" for k in items], object),
        user_ids=[f"u{k}" for k in range(users)],
        pages=pl.DataFrame({"request_id": [f"r{p}" for p in range(count)]}),
        heads=HEADS,
        histories=PageHistories.of(histories, table.ids),
        user_vectors=vectors,
        user_vector_known=known,
        user_vector_hours=np.where(known, 30.0, 0.0).astype(np.float32),
    )


def _history(draw: np.random.Generator, recent: int, hidden: int, length: int) -> RequestHistory:
    """``length`` actions, the newest one on ``recent``, a hide among them on ``hidden``."""
    topics = np.where(draw.random(length) < 0.7, recent, draw.integers(0, TOPICS, length))
    actions = draw.choice([ACTION_CODES["click"], ACTION_CODES["save"]], length)
    if length > 2:
        actions[1], topics[1] = ACTION_CODES["hide"], hidden
    rows = topics + TOPICS * draw.integers(0, ITEMS // TOPICS, length)
    return RequestHistory(rows.astype(np.int64), actions.astype(np.int8), np.sort(draw.uniform(0.1, 20, length)).astype(np.float32))


def held_out(rows: TrainingRows) -> np.ndarray:
    return np.arange(len(rows.user_ids)) % 6 == 0


def without_user_vectors(rows: TrainingRows) -> TrainingRows:
    known = np.zeros(rows.pages.height, bool)
    return replace(rows, user_vector_known=known, user_vectors=np.zeros_like(rows.user_vectors), user_vector_hours=known.astype(np.float32))


def without_histories(rows: TrainingRows) -> TrainingRows:
    nothing = RequestHistory(np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.float32))
    return replace(rows, histories=PageHistories.of([nothing] * rows.pages.height, rows.histories.ids))
