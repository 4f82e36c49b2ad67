from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corkboard.artifacts import EmbeddingTable, write_artifact
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.pinnerformer import PinnerFormer, cadence_moments
from corkboard.embeddings.user_vectors import DailyUserVectors, UserVectors, batch_user_vectors
from corkboard.errors import ArtifactError, InputError, SpaceMismatch
from tests.embeddings.builders import DAY_MS, content, random_histories, trained

HOUR_MS = DAY_MS // 24


@pytest.fixture(scope="module")
def model() -> PinnerFormer:
    return trained()


@pytest.fixture(scope="module")
def made() -> Histories:
    return random_histories(longest=8)


class Counting(PinnerFormer):
    """Remembers who was computed."""

    def encode_users(self, histories: Histories, content: EmbeddingTable, users: np.ndarray, known_ms: np.ndarray) -> np.ndarray:
        self.asked = np.asarray(users).tolist()
        return super().encode_users(histories, content, users, known_ms)


def counting(model: PinnerFormer) -> Counting:
    return Counting(model.settings, model.items, model.user, model.content_space, model.clock_hours)


def test_a_batch_on_top_of_yesterdays_is_the_same_as_computing_all(model: PinnerFormer, made: Histories) -> None:
    counted = counting(model)
    table = batch_user_vectors(counted, made.until(3 * DAY_MS), content(), 3 * DAY_MS)
    for day in (4, 6, 7, 12):
        merged = batch_user_vectors(counted, made.until(day * DAY_MS), content(), day * DAY_MS, table)
        computed = counted.asked
        whole = batch_user_vectors(counted, made, content(), day * DAY_MS)
        assert merged.user_keys == whole.user_keys == sorted(whole.user_keys)
        assert merged.vectors == pytest.approx(whole.vectors, abs=1e-5)
        assert merged.newest_ms.tolist() == whole.newest_ms.tolist()
        active = [u for u in range(len(made)) if ((made.time_ms >= table.known_ms) & (made.time_ms < day * DAY_MS))[made.owners == u].any()]
        assert computed == active
        assert 0 < len(active) < len(merged)
        table = merged


def test_what_lies_exactly_at_the_border_is_computed_by_the_next_run(model: PinnerFormer, made: Histories) -> None:
    slot = int(np.argmax(made.time_ms > 5 * DAY_MS))
    known_ms = int(made.time_ms[slot])
    key = made.user_keys[made.owners[slot]]
    before = batch_user_vectors(model, made, content(), known_ms)
    after = batch_user_vectors(model, made, content(), known_ms + 1, before)
    assert after.lookup(key)[1] == known_ms > before.lookup(key)[1]


def test_lookup(model: PinnerFormer, made: Histories) -> None:
    table = batch_user_vectors(model, made, content(), 21 * DAY_MS)
    key = table.user_keys[3]
    vector, newest_ms = table.lookup(key)
    assert vector is not None
    user = made.user_rows[key]
    assert newest_ms == made.time_ms[made.offsets[user + 1] - 1]
    assert vector == pytest.approx(model.encode_users(made, content(), np.array([user]), np.array([21 * DAY_MS]))[0], abs=1e-5)
    assert table.lookup("nobody") == (None, 0)
    assert table.rows([key, "nobody"]).tolist() == [3, -1]


def test_late_actions_undone_ones_and_new_users_are_computed_at_the_same_moment(model: PinnerFormer, made: Histories) -> None:
    known_ms = 12 * DAY_MS
    counted = counting(model)
    less = np.flatnonzero(made.owners[made.time_ms < known_ms] >= 0)
    late, gone = made.owners[less[5]], made.owners[less[-5]]
    missing = (np.arange(len(made.items)) != np.flatnonzero(made.time_ms < known_ms)[5]) & (made.owners != gone)
    partly = made._where(missing, made.offsets)
    before = batch_user_vectors(counted, partly, content(), known_ms)
    after = batch_user_vectors(counted, made, content(), known_ms, before)
    assert counted.asked == sorted({late, gone})
    whole = batch_user_vectors(model, made, content(), known_ms)
    assert after.user_keys == whole.user_keys
    assert after.vectors == pytest.approx(whole.vectors, abs=1e-5)
    assert after.read.tolist() == whole.read.tolist()
    undone = batch_user_vectors(counted, partly, content(), known_ms, after)
    assert counted.asked == [late]
    assert undone.vectors == pytest.approx(before.vectors, abs=1e-5)


def test_a_user_without_any_action_left_has_no_row_any_more(model: PinnerFormer, made: Histories) -> None:
    table = batch_user_vectors(model, made, content(), 12 * DAY_MS)
    key = table.user_keys[3]
    user = made.user_rows[key]
    for rest in (made._where(made.owners != user, made.offsets), made.take(np.delete(np.arange(len(made)), user))):
        after = batch_user_vectors(model, rest, content(), 13 * DAY_MS, table)
        assert after.lookup(key) == (None, 0)
        assert set(table.user_keys) - set(after.user_keys) == {key}


def test_another_model_or_a_later_table_is_refused(model: PinnerFormer, made: Histories) -> None:
    table = batch_user_vectors(model, made, content(), 5 * DAY_MS)
    with pytest.raises(SpaceMismatch):
        batch_user_vectors(trained(steps=1), made, content(), 6 * DAY_MS, table)
    with pytest.raises(InputError):
        batch_user_vectors(model, made, content(), 4 * DAY_MS, table)


def test_artifact_round_trip(model: PinnerFormer, made: Histories, tmp_path: Path) -> None:
    table = batch_user_vectors(model, made, content(), 5 * DAY_MS)
    tables = table.tables()
    again = UserVectors.from_artifact(
        write_artifact(tmp_path, "user_vectors", "x", config=table.config, makes=[table.space], tables=tables)
    )
    assert (again.user_keys, again.known_ms, again.space) == (table.user_keys, table.known_ms, table.space)
    assert np.array_equal(again.vectors, table.vectors)
    with pytest.raises(ArtifactError):
        UserVectors.from_artifact(write_artifact(tmp_path, "user_vectors", "y", config={"kind": "other"}, tables=tables))


def test_a_day_gets_what_the_night_before_the_last_midnight_knew(model: PinnerFormer, made: Histories) -> None:
    daily = DailyUserVectors(model, made, content(), 4, 19)
    moments = np.arange(4 * DAY_MS, 20 * DAY_MS, 7 * HOUR_MS)
    keys = [made.user_keys[i % len(made)] for i in range(len(moments))]
    vectors, known, hours = daily.at([*keys, "nobody"], np.append(moments, 9 * DAY_MS))
    users = made.rows(keys)
    moment = cadence_moments("daily", moments, 0)
    assert vectors[:-1] == pytest.approx(model.encode_users(made, content(), users, moment), abs=1e-5)
    ends = made.ends(users, moment)
    assert known[:-1].tolist() == (ends > made.offsets[users]).tolist()
    assert not known[-1]
    assert not vectors[~known].any()
    some = int(np.flatnonzero(known)[0])
    assert hours[some] == pytest.approx((moments[some] - made.time_ms[ends[some] - 1]) / HOUR_MS, rel=1e-6)
    assert hours[known].min() >= 24


def test_today_knows_nothing_of_today_or_yesterday(model: PinnerFormer, made: Histories) -> None:
    """A page of day 10 is the same whatever was done on days 9 and 10."""
    whole = DailyUserVectors(model, made, content(), 10, 10).at(made.user_keys, np.full(len(made), 10 * DAY_MS + HOUR_MS))
    cut = DailyUserVectors(model, made.until(9 * DAY_MS), content(), 10, 10).at(made.user_keys, np.full(len(made), 10 * DAY_MS + HOUR_MS))
    for one, other in zip(whole, cut, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_other_days_are_refused(model: PinnerFormer, made: Histories) -> None:
    daily = DailyUserVectors(model, made, content(), 4, 6)
    for day in (3, 7):
        with pytest.raises(InputError):
            daily.at(made.user_keys[:1], np.array([day * DAY_MS]))
