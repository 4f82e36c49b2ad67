from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corkboard.artifacts import EmbeddingTable, Space, write_artifact
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.pinnerformer import PinnerFormer, cadence_moments
from corkboard.errors import ArtifactError, SpaceMismatch
from corkboard.lake.schema import SURFACE_CODES
from tests.embeddings.builders import DAY_MS, content, random_histories, trained


@pytest.fixture(scope="module")
def model() -> PinnerFormer:
    return trained()


@pytest.fixture(scope="module")
def made() -> Histories:
    return random_histories()


def every_moment(made: Histories) -> tuple[np.ndarray, np.ndarray]:
    """Each user just after each action."""
    return made.owners, made.time_ms + 1


def test_unit_vectors_and_zeros(model: PinnerFormer, made: Histories) -> None:
    moment = np.full(len(made), DAY_MS)
    found = model.encode_users(made, content(), np.arange(len(made)), moment)
    some = made.ends(np.arange(len(made)), moment) > made.offsets[:-1]
    assert 0 < some.sum() < len(made)
    assert np.linalg.norm(found, axis=1) == pytest.approx(some.astype(float), abs=1e-5)


def test_the_future_changes_no_earlier_vector(model: PinnerFormer, made: Histories) -> None:
    """Neither what is done later, nor to what, nor when, nor how often."""
    users, moments = every_moment(made)
    before = model.encode_users(made, content(), users, moments)
    cut_ms = 9 * DAY_MS
    later = made.time_ms >= cut_ms
    changed = replace(
        made,
        items=np.where(later, (made.items + 7) % 40, made.items).astype(np.int32),
        actions=np.where(later, 9 - made.actions, made.actions).astype(np.int8),
        surfaces=np.where(later, 9 - made.surfaces, made.surfaces).astype(np.int8),
        time_ms=np.where(later, cut_ms + (made.time_ms - cut_ms) // 3, made.time_ms),
        duration_ms=np.where(later, np.float32(5.0), made.duration_ms).astype(np.float32),
    )
    assert model.encode_users(changed, content(), users, moments)[~later] == pytest.approx(before[~later], abs=1e-5)
    assert model.encode_users(made.until(cut_ms), content(), users[~later], moments[~later]) == pytest.approx(before[~later], abs=1e-5)
    after = model.encode_users(changed, content(), users[later], changed.time_ms[later] + 1)
    assert not np.allclose(after, before[later], atol=1e-2)


def test_each_part_of_the_past_counts(model: PinnerFormer, made: Histories) -> None:
    """The other side of it: item, type and time of an earlier action each reach a later vector."""
    user = int(np.argmax(np.diff(made.offsets)))
    slot, asked, moment = int(made.offsets[user + 1]) - 2, np.array([user]), np.array([30 * DAY_MS])
    before = model.encode_users(made, content(), asked, moment)
    for name, value in (("items", (made.items[slot] + 5) % 40), ("actions", 9 - made.actions[slot]), ("time_ms", made.time_ms[slot - 1])):
        column = getattr(made, name).copy()
        column[slot] = value
        after = model.encode_users(replace(made, **{name: column}), content(), asked, moment)
        assert np.abs(after - before).max() > 1e-4, name


def test_a_surface_that_came_later_reads_as_other(model: PinnerFormer, made: Histories) -> None:
    """So that a model that was trained before it was named goes on."""
    users, moments = every_moment(made)
    other, later = (replace(made, surfaces=np.full_like(made.surfaces, SURFACE_CODES[name])) for name in ("other", "complete_the_look"))
    assert np.array_equal(model.encode_users(later, content(), users, moments), model.encode_users(other, content(), users, moments))


def test_a_vector_does_not_depend_on_what_else_is_asked(model: PinnerFormer, made: Histories) -> None:
    """Padding, batching and one pass for many moments change nothing."""
    users, moments = every_moment(made)
    together = model.encode_users(made, content(), users, moments)
    chosen = np.arange(0, len(users), 17)
    alone = [model.encode_users(made, content(), users[[i]], moments[[i]])[0] for i in chosen]
    assert together[chosen] == pytest.approx(np.stack(alone), abs=1e-5)
    one = made.take(np.array([users[chosen[3]]]))
    assert model.encode_users(one, content(), np.array([0]), moments[[chosen[3]]])[0] == pytest.approx(together[chosen[3]], abs=1e-5)


def test_only_the_window_is_read(made: Histories) -> None:
    """A window of 12 slides by 3: action number 14 is read from number 3 on, number 15 from 6 on."""
    model = trained(window=12)
    user = int(np.argmax(np.diff(made.offsets)))
    begin = int(made.offsets[user])
    assert model._first_read(np.arange(18)).tolist() == [0] * 12 + [3] * 3 + [6] * 3
    moments = np.array([made.time_ms[begin + 14] + 1])
    before = model.encode_users(made, content(), np.array([user]), moments)
    for place, counts in ((2, False), (3, True)):
        items = made.items.copy()
        items[begin + place] = (items[begin + place] + 3) % 40
        after = model.encode_users(replace(made, items=items), content(), np.array([user]), moments)
        assert np.allclose(after, before, atol=1e-6) != counts


def test_an_unknown_content_space_is_refused(model: PinnerFormer, made: Histories) -> None:
    other = EmbeddingTable(content().ids, content().vectors, Space("content", "other"))
    with pytest.raises(SpaceMismatch):
        model.encode_users(made, other, np.array([0]), np.array([30 * DAY_MS]))


def test_items_outside_of_the_content_table_still_work(model: PinnerFormer, made: Histories) -> None:
    part = EmbeddingTable(content().ids[:20], content().vectors[:20], content().space)
    found = model.encode_users(made, part, np.arange(5), np.full(5, 30 * DAY_MS))
    assert np.isfinite(found).all()


def test_artifact_round_trip(model: PinnerFormer, made: Histories, tmp_path: Path) -> None:
    artifact = write_artifact(
        tmp_path, "pinnerformer", "x", tensors=model.tensors(), tables=model.tables(), config=model.config, makes=[model.space]
    )
    again = PinnerFormer.from_artifact(artifact)
    users, moments = every_moment(made)
    assert again.space == model.space
    assert np.array_equal(again.encode_users(made, content(), users, moments), model.encode_users(made, content(), users, moments))
    assert np.array_equal(again.encode_items(content().ids, content().vectors), model.encode_items(content().ids, content().vectors))
    other = write_artifact(tmp_path, "pinnerformer", "y", tensors=model.tensors(), config={"kind": "content"})
    with pytest.raises(ArtifactError):
        PinnerFormer.from_artifact(other)


def test_cadences() -> None:
    times = np.array([10 * DAY_MS, 10 * DAY_MS + 5, 12 * DAY_MS - 1])
    assert cadence_moments("once", times, 7 * DAY_MS).tolist() == [7 * DAY_MS] * 3
    assert cadence_moments("daily", times, 7 * DAY_MS).tolist() == [9 * DAY_MS, 9 * DAY_MS, 10 * DAY_MS]
    assert cadence_moments("daily", times, 7 * DAY_MS, delay_days=0).tolist() == [10 * DAY_MS, 10 * DAY_MS, 11 * DAY_MS]
    assert cadence_moments("realtime", times, 7 * DAY_MS).tolist() == times.tolist()
