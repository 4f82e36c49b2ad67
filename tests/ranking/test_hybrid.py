"""The hybrid ranker: what may not change a score, what may be missing, serving against evaluation, the artefact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from corkboard.artifacts import EmbeddingTable, Space, load_artifact, write_artifact
from corkboard.errors import ArtifactError, InputError, SpaceMismatch
from corkboard.lake.schema import ACTION_CODES
from corkboard.metrics.prediction import auc
from corkboard.ranking.config import HybridConfig
from corkboard.ranking.features import FEATURE_NAMES, MATCHES, POSITION_COLUMN, SIMILARITIES
from corkboard.ranking.history import RequestHistory
from corkboard.ranking.hybrid import HybridNetwork, HybridRanker
from corkboard.ranking.hybrid_inputs import HAND_MADE, InputScales, TableInputs, faded, principal_axes
from corkboard.ranking.item_side import ItemSide, aligned_vectors
from corkboard.ranking.ranker import Contributes, Ranker, RankerInput
from corkboard.ranking.table import TrainingRows
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import ExactIndex, OverlayIndex
from ranking.builders import items_frame, state_of
from ranking.hybrid_rows import HEADS, SMALL, SPACE, TOPICS, item_vectors, pages, without_histories, without_user_vectors

NOW_MS = 1_760_000_000_000


def untrained(config: HybridConfig = SMALL, rows: TrainingRows | None = None) -> HybridRanker:
    """A ranker whose weights are large enough that every input moves every score."""
    rows = pages(30) if rows is None else rows
    scales = InputScales.fit(rows, np.arange(len(rows)), item_vectors(), config)
    torch.manual_seed(1)
    network = HybridNetwork(config, len(scales.feature_names), scales.dim, len(HEADS))
    with torch.no_grad():
        network.heads.weight.mul_(4.0)
    return HybridRanker(HEADS, network, scales, np.array([1.0, 0.5, 2.0, 1.0]), np.array([0.0, -1.0, 0.5, -6.0]))


@pytest.fixture(scope="module", params=["transact", "v1.0", "mean", "none"])
def ranker(request) -> HybridRanker:
    sequence = "transact" if request.param == "v1.0" else request.param
    version = {"transact": SMALL.transact.model_copy(update={"version": "v1.0" if request.param == "v1.0" else "v1.1"})}
    return untrained(SMALL.model_copy(update={"sequence": sequence} | version))


def test_what_is_scored_beside_a_page_does_not_change_it(ranker):
    rows = pages(30)
    together = ranker.score_rows(rows, item_vectors())
    assert together.shape == (len(rows), len(HEADS))
    assert np.ptp(together[:, 0]) > 0.05
    for page in (0, 7, 29):
        alone = np.flatnonzero(rows.page == page)
        np.testing.assert_allclose(ranker.score_rows(rows.take(alone), item_vectors()), together[alone], rtol=1e-4, atol=1e-6)
        one = alone[:1]
        np.testing.assert_allclose(ranker.score_rows(rows.take(one), item_vectors()), together[one], rtol=1e-4, atol=1e-6)


def test_the_order_of_rows_and_the_chunks_do_not_matter(ranker, monkeypatch):
    rows = pages(30)
    whole = ranker.score_rows(rows, item_vectors())
    mixed = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_allclose(ranker.score_rows(rows.take(mixed), item_vectors()), whole[mixed], rtol=1e-4, atol=1e-6)
    monkeypatch.setattr("corkboard.ranking.hybrid.ROWS_AT_ONCE", 20)
    np.testing.assert_allclose(ranker.score_rows(rows, item_vectors()), whole, rtol=1e-4, atol=1e-6)


def test_no_rows_give_no_scores(ranker):
    assert ranker.score_rows(pages(3).take(np.empty(0, np.int64)), item_vectors()).shape == (0, len(HEADS))


def test_the_logged_position_changes_no_score(ranker):
    rows = pages(10)
    moved = rows.features.copy()
    moved[:, POSITION_COLUMN] = 3.0
    np.testing.assert_array_equal(ranker.score_rows(rows, item_vectors()), ranker.score_rows(replace(rows, features=moved), item_vectors()))
    inputs = TableInputs(replace(rows, features=moved), item_vectors(), ranker.scales, ranker.settings)
    every = np.arange(len(rows))
    assert np.abs(ranker.table_logits(inputs, every) - ranker.table_logits(inputs, every, on_top=True)).max() > 0.01  # training reads it


def test_actions_beyond_the_length_are_not_read():
    rows, ranker = pages(20), untrained()
    assert max(np.diff(rows.histories.offsets)) == 6
    shorter = untrained(SMALL.model_copy(update={"transact": SMALL.transact.model_copy(update={"length": 3})}))
    cut = replace(rows, histories=_newest(rows, 3))
    np.testing.assert_allclose(shorter.score_rows(rows, item_vectors()), shorter.score_rows(cut, item_vectors()), rtol=1e-4, atol=1e-6)
    assert np.abs(ranker.score_rows(rows, item_vectors()) - ranker.score_rows(cut, item_vectors())).max() > 1e-3


def _newest(rows: TrainingRows, count: int):
    past = rows.histories
    spans = zip(past.offsets[:-1], past.offsets[1:], strict=True)
    kept = [slice(start, min(start + count, end)) for start, end in spans]
    return type(past).of([RequestHistory(past.items[k].astype(np.int64), past.actions[k], past.hours[k]) for k in kept], past.ids)


# ------------------------------------------------------------------------------------------------------- what is missing


def test_every_input_may_be_missing(ranker):
    rows, known = pages(30), item_vectors()
    half = EmbeddingTable(known.ids[::2], known.vectors[::2], SPACE)
    features = rows.features.copy()
    features[::3, 4] = np.nan
    cases = {
        "no user vector": (without_user_vectors(rows), known),
        "no action": (without_histories(rows), known),
        "no embedding": (rows, half),
        "nothing": (without_histories(without_user_vectors(replace(rows, features=features))), half),
    }
    whole = ranker.score_rows(rows, known)
    for name, (thinned, table) in cases.items():
        scores = ranker.score_rows(thinned, table)
        assert np.isfinite(scores).all(), name
        assert ((scores > 0) & (scores < 1)).all(), name
        assert 0.2 < scores[:, 0].mean() / whole[:, 0].mean() < 5, name


def test_an_unknown_item_is_an_average_item_with_a_flag():
    rows, ranker = pages(4), untrained()
    inputs = TableInputs(replace(rows, item_ids=np.full(len(rows), "unheard of", object)), item_vectors(), ranker.scales, SMALL)
    batch = inputs.batch(np.arange(4), np.arange(len(rows)), rows.page.astype(np.int64))
    assert not batch.items.any()
    assert not batch.embeddings.any()
    assert not batch.items_known.any()
    plain = TableInputs(rows, item_vectors(), ranker.scales, SMALL).batch(np.arange(4), np.arange(len(rows)), rows.page.astype(np.int64))
    np.testing.assert_array_equal(ranker.logits(batch), ranker.logits(plain.without(items=torch.ones(len(rows), dtype=torch.bool))))


def test_leaving_out_is_what_a_request_without_looks_like():
    rows, ranker = pages(12), untrained()
    every = np.arange(len(rows))
    pages_there = torch.ones(12, dtype=torch.bool)

    def logits(table: TrainingRows, **left_out: torch.Tensor) -> np.ndarray:
        batch = TableInputs(table, item_vectors(), ranker.scales, SMALL).batch(np.arange(12), every, rows.page.astype(np.int64))
        return ranker.logits(batch.without(**left_out))

    np.testing.assert_allclose(logits(rows, histories=pages_there), logits(without_histories(rows)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits(rows, users=pages_there), logits(without_user_vectors(rows)), rtol=1e-5, atol=1e-5)
    some = torch.arange(12) == 3
    changed = np.flatnonzero(np.abs(logits(rows, users=some) - logits(rows)).max(axis=1) > 1e-4)
    assert set(rows.page[changed]) <= {3}


def test_inputs_that_the_settings_ask_for_must_be_there():
    rows, ranker = pages(5), untrained()
    with pytest.raises(InputError, match="histories"):
        ranker.score_rows(replace(rows, histories=None), item_vectors())
    with pytest.raises(InputError, match="user vectors"):
        ranker.score_rows(replace(rows, user_vectors=None), item_vectors())
    with pytest.raises(SpaceMismatch):
        ranker.score_rows(rows, EmbeddingTable(item_vectors().ids, item_vectors().vectors, Space("pinnerformer", "other")))
    alone = untrained(SMALL.model_copy(update={"sequence": "none", "user_vector": False}))
    bare = replace(rows, histories=None, user_vectors=None, user_vector_known=None, user_vector_hours=None)
    assert np.isfinite(alone.score_rows(bare, item_vectors())).all()


# -------------------------------------------------------------------------------------------------------------- features


def test_batch_features_leave_out_what_is_made_by_hand_from_the_last_actions():
    assert set(SIMILARITIES) | set(MATCHES) <= HAND_MADE
    assert set(FEATURE_NAMES) >= HAND_MADE
    assert not {"has_vector", "age", "popularity_7d", "activity", "log_position", "times_shown"} & HAND_MADE
    rows = pages(20)
    ranker = untrained(SMALL.model_copy(update={"features": "batch"}))
    assert set(ranker.scales.feature_names) == set(FEATURE_NAMES) - HAND_MADE
    changed = rows.features.copy()
    changed[:, [FEATURE_NAMES.index(name) for name in sorted(HAND_MADE)]] += 5.0
    np.testing.assert_array_equal(
        ranker.score_rows(rows, item_vectors()), ranker.score_rows(replace(rows, features=changed), item_vectors())
    )


def test_principal_axes_keep_distances_and_put_the_largest_first():
    draw = np.random.default_rng(0)
    vectors = (draw.normal(size=(500, 3)) * [0.1, 3.0, 1.0] + 7.0).astype(np.float32)
    mean, matrix = principal_axes(vectors, 3)
    reduced = (vectors - mean) @ matrix
    assert np.mean(reduced**2) == pytest.approx(1.0, rel=1e-4)
    spread = reduced.std(axis=0)
    assert spread[0] / spread[1] == pytest.approx(3.0, rel=0.1)
    ratio = np.linalg.norm(reduced[0] - reduced[1:], axis=1) / np.linalg.norm(vectors[0] - vectors[1:], axis=1)
    assert np.ptp(ratio) < 1e-3  # a rotation and one scale
    wide = principal_axes(vectors, 5)[1]
    assert wide.shape == (3, 5)
    assert not wide[:, 3:].any()


def test_items_of_old_actions_fade_and_dislikes_do_not_where_they_are_seen_as_such():
    items, hours = np.ones((1, 4, 2), np.float32), np.array([[0.0, 24.0, 48.0, 48.0]], np.float32)
    actions = np.array([[ACTION_CODES[name] for name in ("click", "save", "click", "hide")]])
    for config, hide in ((SMALL, 1.0), (blind(SMALL), np.exp(-2)), (SMALL.model_copy(update={"sequence": "mean"}), np.exp(-2))):
        kept = faded(items, actions, hours, config)
        assert kept[0, :, 0].tolist() == pytest.approx([1.0, np.exp(-1), np.exp(-2), hide], rel=1e-6)
    assert faded(items, actions, hours, SMALL.model_copy(update={"fade_hours": 0.0})) is items


def blind(config: HybridConfig) -> HybridConfig:
    """A ranker that must not know what was done with past items."""
    return config.model_copy(update={"transact": config.transact.model_copy(update={"use_actions": False})})


def test_without_action_types_a_hide_is_a_save():
    rows = pages(20)
    hide, save = (ACTION_CODES[name] for name in ("hide", "save"))
    past = rows.histories
    swapped = np.select([past.actions == hide, past.actions == save], [save, hide], past.actions).astype(past.actions.dtype)
    assert (swapped != past.actions).any()
    other = replace(rows, histories=replace(past, actions=swapped, hours=past.hours + 48.0))
    same = replace(rows, histories=replace(past, hours=past.hours + 48.0))
    seeing, unseeing = untrained(), untrained(blind(SMALL))
    assert np.abs(seeing.score_rows(other, item_vectors()) - seeing.score_rows(same, item_vectors())).max() > 1e-3
    np.testing.assert_array_equal(unseeing.score_rows(other, item_vectors()), unseeing.score_rows(same, item_vectors()))


def test_attention_starts_at_past_items_like_the_candidate():
    sequence = untrained().network.sequence
    config, attention = sequence.config, sequence.layers[0].self_attn
    past, candidate = torch.randn(5, config.item_dim), torch.randn(config.item_dim)
    action, width = torch.zeros(5, config.action_dim), config.dim // config.heads
    rows = torch.cat([action, past, torch.zeros(5, config.item_dim)], dim=1)
    asked = torch.cat([torch.zeros(config.action_dim + config.item_dim), candidate])
    query = attention.in_proj_weight[: config.dim] @ asked
    keys = rows @ attention.in_proj_weight[config.dim : 2 * config.dim].T
    for head in range(config.heads):
        part = slice(head * width, (head + 1) * width)
        torch.testing.assert_close(keys[:, part] @ query[part], past @ candidate, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sequence", ["mean", "transact"])
def test_a_candidate_like_the_last_actions_meets_them_from_the_first_step(sequence):
    """Before any training: the last actions as one vector, times the candidate, is larger for items of their own topic."""
    rows = pages(200)
    ranker = untrained(SMALL.model_copy(update={"sequence": sequence}), rows)
    network, inputs = ranker.network, TableInputs(rows, item_vectors(), ranker.scales, ranker.settings)
    batch = inputs.batch(np.arange(200), np.arange(len(rows)), rows.page.astype(np.int64))
    with torch.no_grad():
        z = network.sequence(network.sequence.encode(batch.history), batch.items, batch.request)
        met = (network.recent(z) * batch.items).mean(1).numpy()
    past, topic = rows.histories, np.array([int(name[1:]) % TOPICS for name in rows.item_ids])
    newest = np.array([past.items[past.offsets[p]] % TOPICS if past.offsets[p + 1] > past.offsets[p] else -1 for p in range(200)])
    alike, other = met[topic == newest[rows.page]], met[(topic != newest[rows.page]) & (newest[rows.page] >= 0)]
    assert auc(np.concatenate([alike, other]), np.arange(len(alike) + len(other)) < len(alike)) > 0.7


# --------------------------------------------------------------------------------------------------------------- serving


def items_of(table: EmbeddingTable, space: Space = SPACE) -> ItemSide:
    """An item side whose catalogue has the items of ``table`` and one more without an embedding."""
    catalogue = Catalogue(items_frame([{"item_id": name, "time_ms": NOW_MS - 10**9, "title": name} for name in [*table.ids, "new"]]))
    return ItemSide(catalogue, embedding=OverlayIndex(ExactIndex(aligned_vectors(table, catalogue), space)))


def request_of(rows: TrainingRows, page: int, items: ItemSide) -> RankerInput:
    """Page ``page`` of the table, as the feed would ask for it."""
    slots, past = np.flatnonzero(rows.page == page), rows.histories
    span = slice(past.offsets[page], past.offsets[page + 1])
    acted_on = items.catalogue.rows([past.ids[k] for k in past.items[span]])
    history = RequestHistory(acted_on, past.actions[span], past.hours[span])
    features = rows.features[slots].copy()
    features[:, POSITION_COLUMN] = 0.0
    vector = rows.user_vectors[page] if rows.user_vector_known[page] else None
    catalogue_rows = items.catalogue.rows(rows.item_ids[slots].tolist())
    return RankerInput(
        state_of(), NOW_MS, "home", catalogue_rows, items, None, features, history, vector, float(rows.user_vector_hours[page])
    )


def test_serving_a_page_is_what_evaluating_it_says(ranker):
    rows, items = pages(30), items_of(item_vectors())
    expected = ranker.score_rows(rows, item_vectors())
    assert isinstance(ranker, Ranker)
    unknown = np.flatnonzero(~rows.user_vector_known)
    for page in (0, 5, int(unknown[0])):
        found = ranker.score(request_of(rows, page, items))
        np.testing.assert_allclose(found, expected[rows.page == page], rtol=1e-4, atol=1e-6)


def test_a_request_of_a_stranger_for_an_item_without_embedding_has_a_score(ranker):
    items, rows = items_of(item_vectors()), pages(2)
    given = replace(
        request_of(rows, 0, items), rows=items.catalogue.rows(["new", "i0"]), features=rows.features[:2], history=None, user_vector=None
    )
    scores = ranker.score(given)
    assert np.isfinite(scores).all()
    assert scores.shape == (2, len(HEADS))


def test_items_of_another_space_are_refused(ranker):
    other = items_of(item_vectors(), Space("pinnerformer", "newer"))
    with pytest.raises(SpaceMismatch, match="ranker's space"):
        ranker.score(request_of(pages(2), 0, other))


# ------------------------------------------------------------------------------------------------------------ explaining


def test_a_contribution_is_the_utility_lost_without_the_input():
    rows, items, ranker = pages(6), items_of(item_vectors()), untrained()
    worth = np.array([1.0, 2.0, -3.0, 0.0], np.float32)
    page = next(p for p in range(6) if rows.user_vector_known[p] and rows.histories.offsets[p + 1] - rows.histories.offsets[p] > 2)
    whole = request_of(rows, page, items)
    given = replace(whole, rows=whole.rows[:1], features=whole.features[:1])
    effects = ranker.contributions(given.features[0], worth, given)
    assert isinstance(ranker, Contributes)
    assert set(effects) == {*FEATURE_NAMES, "recent actions", "user vector", "item embedding"}
    utility = float((ranker.score(given) @ worth)[0])

    def lost(**changes: object) -> float:
        return utility - float((ranker.score(replace(given, **changes)) @ worth)[0])

    assert effects["recent actions"] == pytest.approx(lost(history=None), abs=1e-5)
    assert effects["user vector"] == pytest.approx(lost(user_vector=None), abs=1e-5)
    assert effects["item embedding"] == pytest.approx(lost(rows=items.catalogue.rows(["new"])), abs=1e-5)
    changed = given.features.copy()
    changed[0, 3] = ranker.scales.mean[3]
    assert effects[FEATURE_NAMES[3]] == pytest.approx(lost(features=changed), abs=1e-5)
    assert abs(effects["recent actions"]) > 1e-4
    alone = ranker.contributions(given.features[0], worth)
    assert alone["recent actions"] == pytest.approx(0.0, abs=1e-6)


# -------------------------------------------------------------------------------------------------------------- artefact


def written(ranker: HybridRanker, folder: Path, **changes: object) -> HybridRanker:
    config = ranker.config() | changes
    write_artifact(folder, "ranker", "a", tensors=ranker.tensors(), config=config, requires=[ranker.space])
    artifact = load_artifact(folder / "ranker" / "default" / "a")
    assert artifact.requires == [SPACE]
    return HybridRanker.from_artifact(artifact)


def test_through_an_artefact_and_back(ranker, tmp_path):
    rows, loaded = pages(12), written(ranker, tmp_path)
    np.testing.assert_array_equal(loaded.score_rows(rows, item_vectors()), ranker.score_rows(rows, item_vectors()))
    assert loaded.heads == HEADS
    assert loaded.space == SPACE
    assert loaded.settings == ranker.settings
    assert ranker.config()["kind"] == "hybrid"


def test_an_artefact_of_another_version_is_refused(tmp_path):
    ranker = untrained()
    wider = SMALL.model_copy(update={"hidden": (48,)}).model_dump(mode="json")
    with pytest.raises(ArtifactError, match="another version"):
        written(ranker, tmp_path / "shape", network=wider)
    with pytest.raises(ArtifactError, match="another version"):
        written(ranker, tmp_path / "setting", network={**wider, "experts": 4})
    names = [*FEATURE_NAMES[:-1], "nonsense"]
    with pytest.raises(ArtifactError, match="does not compute"):
        written(ranker, tmp_path / "names", feature_names=names)
