"""The light ranker: its arithmetic by hand, the item side it keeps, the lists it learns from, and that distilling finds an order."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from corkboard.artifacts import EmbeddingTable, Space, load_artifact, write_artifact
from corkboard.errors import ArtifactError, InputError, SpaceMismatch
from corkboard.lake.lake import Lake
from corkboard.learning.config import TrainingConfig
from corkboard.ranking.config import LightConfig, UtilityWeights
from corkboard.ranking.features import FEATURE_NAMES
from corkboard.ranking.item_days import ItemDays
from corkboard.ranking.item_side import STAT_NAMES, ItemSide
from corkboard.ranking.light import BLOCKS, ITEM_FACTS, USER_FACTS, WINDOWS, Categories, LightItems, LightRanker, LightUser, item_facts
from corkboard.ranking.light_lists import TeacherLists, teacher_lists
from corkboard.ranking.light_training import teacher_recall, train_light
from corkboard.ranking.ranker import RankerInput
from corkboard.ranking.request import RequestSide, UserVector
from corkboard.retrieval.index import ExactIndex, OverlayIndex
from corkboard.seeds import generator
from ranking.builders import DAY_MS, HOUR_MS, NOW_MS, SPACE, action, item, lake_of, page, state_of, world

EMBEDDING_SPACE = Space("pinnerformer", "test")
WEIGHTS = UtilityWeights()
ROUNDING = 1e-5
"""A product of matrices may round a row differently with the number of rows beside it, and differently on every machine."""
MIDNIGHT_MS = NOW_MS // DAY_MS * DAY_MS


def embedded(n: int = 12, dim: int = 4) -> ItemSide:
    """The world of the builders with item embeddings that are its content vectors turned round, of another width."""
    items = world(n, neighbours=False)
    turn = generator(3, "turn").normal(size=(8, dim)).astype(np.float32)
    vectors = items.vectors(np.arange(n))[0] @ turn
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ItemSide(items.catalogue, items.index, items.stats, None, OverlayIndex(ExactIndex(vectors, EMBEDDING_SPACE)))


def drawn(heads: int = 2, dim: int = 4, content: int = 8, categories: int = 6, channels: int = 3, seed: int = 1) -> LightRanker:
    """A light ranker with every weight drawn at random."""
    draw, tensors = generator(seed, "light weights"), {}
    for block, width in zip(BLOCKS, (dim, content, categories), strict=True):
        windows = len(WINDOWS) + (block != "contents")
        tensors[f"{block}_gates"] = draw.normal(size=(len(USER_FACTS) + 1, heads * channels * windows))
        tensors[f"{block}_maps"] = draw.normal(size=(channels, width, width))
    total, free, hidden = dim + content + categories, 3, 5
    shapes = {
        "item_mean": (len(ITEM_FACTS),),
        "user_mean": (len(USER_FACTS),),
        "item_in": (total + len(ITEM_FACTS), hidden),
        "item_in_bias": (hidden,),
        "item_out": (hidden, free + heads),
        "item_skip": (len(ITEM_FACTS), free + heads),
        "item_bias": (heads,),
        "user_in": (total + dim + len(USER_FACTS), hidden),
        "user_in_bias": (hidden,),
        "user_out": (hidden, heads * free),
    }
    tensors |= {name: draw.normal(size=shape) * 0.3 for name, shape in shapes.items()}
    tensors |= {"item_scale": np.full(len(ITEM_FACTS), 2.0), "user_scale": np.full(len(USER_FACTS), 2.0)}
    names = [f"t{k}" for k in range(categories)]
    return LightRanker([f"head{h}" for h in range(heads)], tensors, names, EMBEDDING_SPACE, SPACE)


def asked(items: ItemSide, vector: bool = True) -> RequestSide:
    state = state_of(action("save", "i001", 1), action("click", "i004", 30), action("hide", "i002", 5), page(["i003", "i009"], 2))
    values = np.arange(1.0, 5.0, dtype=np.float32)
    return RequestSide.of(state, NOW_MS, "home", items, UserVector(values, NOW_MS - 24 * HOUR_MS) if vector else None)


# ------------------------------------------------------------------------------------------------------------ what it computes


def test_facts_of_an_item_by_hand():
    items = embedded()
    items.catalogue.add(item("new", time_ms=MIDNIGHT_MS + HOUR_MS, kind="product", price_minor=99))
    facts = item_facts(items, np.array([1, 12]), MIDNIGHT_MS // DAY_MS)
    old, new = (dict(zip(ITEM_FACTS, row, strict=True)) for row in facts)
    assert old["age"] == pytest.approx(np.log1p((MIDNIGHT_MS - (NOW_MS - 10 * DAY_MS)) / HOUR_MS), rel=1e-5)
    assert (old["is_product"], old["has_price"]) == (1.0, 1.0)
    assert old["log_price"] == pytest.approx(np.log1p(200), rel=1e-6)
    np.testing.assert_array_equal(facts[0, : len(STAT_NAMES)], items.stats[1])
    assert (new["age"], new["has_stats"], new["popularity_7d"]) == (0.0, 0.0, 0.0)  # it came after midnight, without counters


def test_the_user_side_by_hand():
    items = embedded()
    user = LightUser.of(asked(items), Categories(items.catalogue, ["t1", "t3"]))
    saved, clicked, hidden = items.embeddings(np.array([1, 4, 2]))[0]

    def damped(v: np.ndarray) -> np.ndarray:
        return v * np.log1p(np.linalg.norm(v)) / np.linalg.norm(v)

    windows = dict(zip(WINDOWS, user.embeddings, strict=False))
    np.testing.assert_allclose(windows["fading_hours"], damped(saved * np.exp(-1 / 3) + clicked * np.exp(-30 / 3)), rtol=1e-5)
    np.testing.assert_allclose(windows["last"], damped(saved * np.exp(-1 / 24)), rtol=1e-5)
    np.testing.assert_allclose(windows["hides_fading"], damped(hidden * np.exp(-5 / 48)), rtol=1e-5)
    np.testing.assert_allclose(user.embeddings[-1], damped(np.arange(1.0, 5.0)), rtol=1e-5)
    assert user.contents.shape == (len(WINDOWS), 8)
    hours = np.exp(-1 / 3)  # i001 is of t1, i004 of t4, which is not told apart
    np.testing.assert_allclose(user.categories[WINDOWS.index("fading_hours")], [np.log1p(hours), 0.0], rtol=1e-4)
    np.testing.assert_allclose(user.categories[-1], [0.0, np.log1p(2 * np.exp(-0.2))], rtol=1e-5)  # two of t3 shown two hours ago
    facts = dict(zip(USER_FACTS, user.facts, strict=True))
    assert (facts["has_user_vector"], facts["has_history"]) == (1.0, 1.0)
    assert facts["user_vector_age"] == pytest.approx(np.log1p(24.0))


def test_without_vector_and_history_everything_is_zero_and_flagged():
    items = embedded()
    request = RequestSide.of(state_of(), NOW_MS, "home", items)
    user = LightUser.of(request, Categories(items.catalogue, ["t1"]))
    assert not user.embeddings.any()
    assert not user.contents.any()
    assert not user.categories.any()
    assert user.facts[:2].tolist() == [0.0, 0.0]
    assert np.isfinite(LightItems(drawn(), items).scores(request, np.arange(12), WEIGHTS)).all()


def test_one_dot_product_is_the_sum_of_the_terms():
    ranker, items = drawn(), embedded()
    request, rows = asked(items), np.array([0, 5, 7])
    categories = Categories(items.catalogue, ranker.categories)
    user, t = LightUser.of(request, categories), ranker.tensors()
    vectors = dict(zip(BLOCKS, (items.embeddings(rows)[0], items.vectors(rows)[0], categories.of(rows)), strict=True))
    z_user = np.clip((user.facts - t["user_mean"]) / t["user_scale"], -5, 5)
    z_item = np.clip((item_facts(items, rows, NOW_MS // DAY_MS) - t["item_mean"]) / t["item_scale"], -5, 5)
    expected = np.zeros((3, 2))
    for block in BLOCKS:
        pooled = getattr(user, block)
        gates = (np.append(z_user, 1.0) @ t[f"{block}_gates"]).reshape(2, 3, len(pooled))
        for head in range(2):
            for k in range(3):
                expected[:, head] += vectors[block] @ (gates[head, k] @ pooled @ t[f"{block}_maps"][k])
    seen = np.concatenate([user.embeddings[-1], *(getattr(user, block)[WINDOWS.index("100")] for block in BLOCKS), z_user])
    mine = (np.maximum(seen @ t["user_in"] + t["user_in_bias"], 0) @ t["user_out"]).reshape(2, 3)
    hidden = np.maximum(np.concatenate([*vectors.values(), z_item], axis=1) @ t["item_in"] + t["item_in_bias"], 0)
    theirs = hidden @ t["item_out"] + z_item @ t["item_skip"]
    expected += theirs[:, :3] @ mine.T + theirs[:, 3:] + t["item_bias"]
    found = LightItems(ranker, items).ranker.probabilities(LightItems(ranker, items).vectors(rows, NOW_MS), user)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-expected)), rtol=1e-3, atol=1e-5)


def test_utility_weights_change_the_order_at_once():
    items, ranker = embedded(), drawn()
    renamed = LightRanker(["save", "hide"], ranker.tensors(), ranker.categories, EMBEDDING_SPACE, SPACE)
    light, request, rows = LightItems(renamed, items), asked(items), np.arange(12)
    probabilities = renamed.probabilities(light.vectors(rows, NOW_MS), LightUser.of(request, light.categories))
    np.testing.assert_allclose(light.scores(request, rows, UtilityWeights(save=2, hide=0)), 2 * probabilities[:, 0], rtol=1e-5)
    np.testing.assert_allclose(light.scores(request, rows, UtilityWeights(save=0, hide=-1)), -probabilities[:, 1], rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------------ item side


class Counting(LightRanker):
    """A light ranker that counts the items whose vectors it computes."""

    computed = 0

    def item_vectors(self, blocks, facts):
        self.computed += len(blocks)
        return super().item_vectors(blocks, facts)


def counting() -> Counting:
    plain = drawn()
    return Counting(plain.heads, plain.tensors(), plain.categories, EMBEDDING_SPACE, SPACE)


def test_the_item_side_is_computed_once_a_day_and_extended_for_live_items():
    ranker, items = counting(), embedded()
    light, request = LightItems(ranker, items), asked(items)
    for _ in range(3):
        light.scores(request, np.arange(12), WEIGHTS)
    assert ranker.computed == 12
    row = items.catalogue.add(item("live", category="t1"))
    before = light.vectors(np.array([row]), NOW_MS)
    assert ranker.computed == 13
    items.embedding.add(row, np.array([1.0, 0, 0, 0]), EMBEDDING_SPACE)
    light.refresh(np.array([row]))
    assert ranker.computed == 14
    after = light.vectors(np.array([row]), NOW_MS)
    assert (before[0, :4].tolist(), after[0, :4].tolist()) == ([0, 0, 0, 0], [1, 0, 0, 0])
    light.scores(replace(request, now_ms=NOW_MS + DAY_MS), np.arange(12), WEIGHTS)
    assert ranker.computed == 14 + 13  # another day, other ages


def test_kept_vectors_are_those_computed_afresh_whatever_the_order_of_threads():
    items = embedded()
    light = LightItems(drawn(), items)
    failures: list[str] = []

    def read() -> None:
        for _ in range(40):
            rows = np.arange(len(items.catalogue))
            if not np.allclose(light.vectors(rows, NOW_MS)[:12], fresh, rtol=0, atol=ROUNDING):
                failures.append("another vector")

    fresh = LightItems(drawn(), items).vectors(np.arange(12), NOW_MS)
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(100):
        row = items.catalogue.add(item(f"live{n}"))
        light.refresh(np.array([row]))
    for thread in threads:
        thread.join()
    assert failures == []
    afresh = LightItems(drawn(), items).vectors(np.arange(112), NOW_MS)
    np.testing.assert_allclose(light.vectors(np.arange(112), NOW_MS), afresh, rtol=0, atol=ROUNDING)


def test_other_spaces_are_refused():
    items = embedded()
    other = OverlayIndex(ExactIndex(items.embeddings(np.arange(12))[0], Space("pinnerformer", "another")))
    for wrong in (
        ItemSide(items.catalogue, items.index, items.stats, None, other),
        ItemSide(items.catalogue, items.index, items.stats),
        ItemSide(items.catalogue, None, items.stats, None, items.embedding),
    ):
        with pytest.raises(SpaceMismatch):
            LightItems(drawn(), wrong)


def test_it_reads_back_as_it_was_written(tmp_path):
    ranker, items = drawn(), embedded()
    artifact = write_artifact(tmp_path, "light_ranker", "a", tensors=ranker.tensors(), config=ranker.config(), requires=ranker.requires)
    again = LightRanker.from_artifact(load_artifact(artifact.path))
    request, rows = asked(items), np.arange(12)
    scores = [LightItems(one, items).scores(request, rows, WEIGHTS) for one in (ranker, again)]
    np.testing.assert_array_equal(*scores)
    assert artifact.requires == [EMBEDDING_SPACE, SPACE]
    old = write_artifact(tmp_path, "light_ranker", "b", tensors=ranker.tensors(), config={**ranker.config(), "windows": ["another"]})
    with pytest.raises(ArtifactError, match="another version"):
        LightRanker.from_artifact(old)


def test_item_days_carry_embeddings_of_items_that_come_later(tmp_path):
    lake = lake_of(tmp_path, [item("a"), item("b", time_ms=NOW_MS - DAY_MS), item("c", time_ms=NOW_MS)])
    table = EmbeddingTable(["a", "b"], np.eye(2, dtype=np.float32), EMBEDDING_SPACE)
    days = ItemDays(lake, NOW_MS - 2 * DAY_MS, NOW_MS + DAY_MS, embeddings=table)
    first = days.at(NOW_MS // DAY_MS - 1)
    assert first.ids == ["a", "b"]
    np.testing.assert_array_equal(first.embeddings(np.array([0, 1]))[0], np.eye(2))
    later = days.at(NOW_MS // DAY_MS)
    vectors, known = later.embeddings(np.array([1, 2]))
    assert known.tolist() == [True, False]
    assert not vectors[1].any()
    assert later.vectors(np.array([0]))[1].tolist() == [False]
    assert later.with_stats(later.stats).embedding is later.embedding


# -------------------------------------------------------------------------------------------------------------------- learning


class ByLikeness:
    """A teacher with one head that wants something else than the last days' saves, by the embedding: the sources' order upside down."""

    heads = ("save",)

    def __init__(self) -> None:
        self.asked: list[RankerInput] = []

    def score(self, given: RankerInput) -> np.ndarray:
        self.asked.append(given)
        liked, _ = given.items.embeddings(given.user.positives.rows)
        profile = given.user.positive_windows[:, 4:5].T @ liked
        likeness = (given.items.embeddings(given.rows)[0] @ profile.T)[:, 0] if len(liked) else np.zeros(len(given.rows))
        return (1 / (1 + np.exp(2 * likeness)))[:, None].astype(np.float32)


def lived(folder, users: int = 40, items: int = 240) -> tuple[Lake, EmbeddingTable, EmbeddingTable]:
    """A lake of ``users`` who each save items of one topic over four days, a page a day; the last two days are the span."""
    draw = generator(2, "lived")
    rows = [item(f"i{n:03d}", category=f"t{n % 6}", price_minor=100 + n, currency="EUR") for n in range(items)]
    for user in range(users):
        for day in range(4):
            time_ms = MIDNIGHT_MS - (4 - day) * DAY_MS + int(draw.integers(1, 20)) * HOUR_MS
            shown = [f"i{n:03d}" for n in draw.permutation(items)[:8]]
            hours = (NOW_MS - time_ms) / HOUR_MS
            rows.append(page(shown, hours, f"u{user}"))
            rows += [action("save", one, hours - 0.01, f"u{user}") for one in shown if int(one[1:]) % 6 == user % 6]
    centres = draw.normal(size=(6, 8))
    vectors = centres[np.arange(items) % 6] + 0.3 * draw.normal(size=(items, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    ids = [f"i{n:03d}" for n in range(items)]
    return lake_of(folder, rows), EmbeddingTable(ids, vectors, SPACE), EmbeddingTable(ids, vectors[:, ::-1].copy(), EMBEDDING_SPACE)


def unshown(folder, users: int = 30, items: int = 120) -> Lake:
    """A lake without impressions: each user saves two new items a day, the first of the first day again in the end."""
    draw, rows = generator(4, "unshown"), [item(f"i{n:03d}", category=f"t{n % 6}") for n in range(items)]
    for user in range(users):
        saved = [f"i{n:03d}" for n in draw.permutation(items)[:8]]
        for n, one in enumerate([*saved, saved[0]]):
            rows.append(action("save", one, (NOW_MS - MIDNIGHT_MS) / HOUR_MS + (8 - n) * 12 + 1 - n / 100, f"u{user}"))
    return lake_of(folder, rows)


class AlwaysHalf:
    """A teacher that knows nothing."""

    heads = ("save",)

    def score(self, given: RankerInput) -> np.ndarray:
        return np.full((len(given.rows), 1), 0.5, np.float32)


class AlwaysAVector:
    """A user vector for even users, a day old."""

    def at(self, user_keys, time_ms):
        known = np.array([int(key[1:]) % 2 == 0 for key in user_keys])
        return np.ones((len(user_keys), 8), np.float32) * known[:, None], known, np.full(len(user_keys), 24.0, np.float32) * known


@pytest.fixture(scope="module")
def lists(tmp_path_factory) -> tuple[TeacherLists, ByLikeness]:
    lake, contents, embeddings = lived(tmp_path_factory.mktemp("lists"))
    span = MIDNIGHT_MS - 2 * DAY_MS, MIDNIGHT_MS
    days, teacher = ItemDays(lake.until(span[1]), *span, contents, embeddings=embeddings), ByLikeness()
    config = LightConfig(moments=60, candidates=120, random_items=20)
    return teacher_lists(lake, span, days, teacher, UtilityWeights(), config, 1, user_vectors=AlwaysAVector()), teacher


def test_lists_hold_candidates_random_items_and_what_was_shown(lists):
    found, teacher = lists
    assert len(found) == len(teacher.asked) == 60
    assert found.weights.tolist() == [1.5]
    for one, given in enumerate(teacher.asked):
        span = found.span(one)
        np.testing.assert_array_equal(found.rows[span], given.rows)
        assert len(np.unique(given.rows)) == len(given.rows)
        assert (~np.isnan(found.labels[span])).sum() == 8  # the page
        place = found.place[span]
        brought = place >= 0
        np.testing.assert_array_equal(place[brought], np.arange(brought.sum()))  # in the order of the sources
        assert given.features.shape == (len(given.rows), len(FEATURE_NAMES))
        acted = {action.item_id for action in given.state.actions}
        assert not acted & set(given.items.catalogue.ids_of(given.rows[brought]))
        assert (given.user_vector is not None) == (int(given.state.user_id[1:]) % 2 == 0)
        assert (found.users.facts[one, 0] == 1.0) == (given.user_vector is not None)
        assert given.history is not None
        assert len(given.history) == len(given.state.sequence())
    topic = int(found.user_keys[0][1:]) % 6
    span = found.span(0)
    for row, label in zip(found.rows[span], found.labels[span, 0], strict=True):
        assert np.isnan(label) or label == float(row % 6 == topic)


@pytest.fixture(scope="module")
def unshown_lists(tmp_path_factory) -> tuple[TeacherLists, ByLikeness]:
    lake = unshown(tmp_path_factory.mktemp("unshown"))
    span, ids = (MIDNIGHT_MS - 2 * DAY_MS, MIDNIGHT_MS), [f"i{n:03d}" for n in range(120)]
    vectors = generator(5, "unshown vectors").normal(size=(120, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    days = ItemDays(lake, *span, EmbeddingTable(ids, vectors, SPACE), embeddings=EmbeddingTable(ids, vectors, EMBEDDING_SPACE))
    teacher, config = ByLikeness(), LightConfig(moments=80, candidates=30, random_items=40)
    return teacher_lists(lake, span, days, teacher, UtilityWeights(), config, 1), teacher


def test_where_nothing_was_shown_the_random_items_are_what_was_passed_over(unshown_lists):
    found, teacher = unshown_lists
    positives, zeros, again = 0, 0, 0
    for one, given in enumerate(teacher.asked):
        span, liked = found.span(one), {action.item_id for action in given.state.positives()}
        labels, ids = found.labels[span, 0], np.array(given.items.catalogue.ids_of(found.rows[span]))
        assert np.isnan(labels[np.isin(ids, list(liked))]).all()  # on neither side, or "saved before" would give the answer away
        assert (labels == 1).sum() <= 1
        assert 40 - len(liked) - 2 <= (labels == 0).sum() <= 40
        assert np.isnan(labels[found.place[span] >= 0]).any()  # what the sources bring was not passed over
        positives, zeros, again = positives + (labels == 1).sum(), zeros + (labels == 0).sum(), again + (not (labels == 1).any())
    assert positives + again == len(found)
    assert again > 0
    assert zeros > 20 * positives


def test_what_else_was_acted_on_that_day_was_not_passed_over(unshown_lists):
    found, teacher = unshown_lists
    saved: dict[tuple[str, int], set[str]] = {}
    for one, given in enumerate(teacher.asked):
        ids = np.array(given.items.catalogue.ids_of(found.rows[found.span(one)]))
        saved.setdefault((found.user_keys[one], given.now_ms // DAY_MS), set()).update(ids[found.labels[found.span(one), 0] == 1])
    both = 0
    for one, given in enumerate(teacher.asked):
        ids = np.array(given.items.catalogue.ids_of(found.rows[found.span(one)]))
        labels = found.labels[found.span(one), 0]
        that_day = np.isin(ids, list(saved[found.user_keys[one], given.now_ms // DAY_MS]))
        assert not (labels[that_day] == 0).any()
        both += (that_day & np.isnan(labels)).sum()
    assert both > 0


def test_lists_without_a_negative_have_no_labels(tmp_path):
    lake, (start, end) = unshown(tmp_path), (MIDNIGHT_MS - 2 * DAY_MS, MIDNIGHT_MS)
    days, config = ItemDays(lake, start, end), LightConfig(moments=20, candidates=30, random_items=0)
    found = teacher_lists(lake, (start, end), days, AlwaysHalf(), UtilityWeights(), config, 1)
    assert len(found) == 20
    assert np.isnan(found.labels).all()


def test_the_level_is_not_one_where_nothing_was_shown(unshown_lists):
    """Of positives alone a head would learn to say yes to everything."""
    found, _ = unshown_lists
    held_out = np.array([int(key[1:]) % 5 == 0 for key in found.user_keys])
    config = LightConfig(hidden=8, free=4, gamma=0.0, training=TrainingConfig(steps=100, learning_rate=1e-2, validate_every=50))
    ranker = train_light(found, held_out, EMBEDDING_SPACE, SPACE, config, 1).ranker
    user = LightUser(*(getattr(found.users, name)[0] for name in (*BLOCKS, "facts")))
    span = found.span(0)
    assert ranker.probabilities(ranker.item_vectors(found.blocks[found.rows[span]], found.facts[span]), user).mean() < 0.3


def test_without_a_long_list_teacher_recall_is_not_known_and_training_goes_by_the_loss(lists):
    found, _ = lists
    held_out = np.array([int(key[1:]) % 5 == 0 for key in found.user_keys])
    training = TrainingConfig(steps=60, learning_rate=1e-2, validate_every=10, patience=2)
    trained = train_light(found, held_out, EMBEDDING_SPACE, SPACE, LightConfig(kept=500, hidden=8, free=4, training=training), 1)
    report = trained.report
    assert np.isnan([report.recall, report.blend, report.random]).all()
    assert report.card().count("too few candidates") == 3
    assert report.candidates > 0
    values = [value for _, value in report.result.validations]
    assert report.result.best_step > 10
    assert values[0] < max(values) < 0


def test_distilling_finds_the_teachers_order(lists):
    found, _ = lists
    held_out = np.array([int(key[1:]) % 5 == 0 for key in found.user_keys])
    config = LightConfig(top=10, kept=25, hidden=8, free=4, training=TrainingConfig(steps=100, learning_rate=1e-2, validate_every=50))
    trained = train_light(found, held_out, EMBEDDING_SPACE, SPACE, config, 1)
    report = trained.report
    assert report.recall > 0.7
    assert report.blend < report.random < 0.3
    assert f"{report.recall:.3f}" in report.card()
    assert report.metrics()["teacher_recall"] == report.recall
    again = train_light(found, held_out, EMBEDDING_SPACE, SPACE, config, 1)
    for name, values in trained.ranker.tensors().items():
        np.testing.assert_array_equal(values, again.ranker.tensors()[name])


def test_the_towers_that_train_are_those_that_serve(lists):
    import torch

    from corkboard.ranking.light_training import _Lessons, _scored, _Towers

    found, _ = lists
    fit = np.arange(len(found))
    config = LightConfig(hidden=8, free=4)
    torch.manual_seed(0)
    model = _Towers(found, fit, config)
    with torch.no_grad():
        for parameter in model.weights.values():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    served = _scored(found, np.array([7]), model.frozen(EMBEDDING_SPACE, SPACE))[found.span(7)]
    lessons, span = _Lessons(found, fit, config), found.span(7)
    with torch.no_grad():
        probabilities = lessons.logits(model, np.array([7]), np.arange(span.start, span.stop), [span.stop - span.start]).sigmoid().numpy()
    np.testing.assert_allclose(served, probabilities @ found.weights, rtol=1e-4, atol=1e-6)


def test_teacher_recall_by_hand():
    probabilities = np.array([0.9, 0.8, 0.1, 0.2, 0.7], np.float32)[:, None]
    empty = np.zeros((1, 1, 1), np.float32)
    lists = TeacherLists(
        offsets=np.array([0, 5]),
        rows=np.arange(5, dtype=np.int32),
        facts=np.zeros((5, len(ITEM_FACTS)), np.float32),
        heads=("save",),
        probabilities=probabilities,
        weights=np.ones(1, np.float32),
        place=np.array([2, 0, 1, 3, -1], np.int32),
        labels=np.full((5, 1), np.nan, np.float32),
        users=LightUser(empty, empty, empty, np.zeros((1, len(USER_FACTS)), np.float32)),
        user_keys=["u"],
        blocks=np.zeros((5, 3), np.float32),
        categories=("t",),
    )
    config, only = LightConfig(top=2, kept=2), np.array([0])
    assert teacher_recall(lists, only, np.array([5, 4, 3, 2, 9.0]), config) == 1.0  # the fifth was brought by no source
    assert teacher_recall(lists, only, np.array([1, 4, 3, 5, 0.0]), config) == 0.5
    assert teacher_recall(lists, only, -lists.place.astype(float), config) == 0.5  # by the sources: items 1 and 2, of 0 and 1


def test_too_few_lists_teach_nothing(lists):
    found, _ = lists
    few = replace(found, offsets=found.offsets[:4])
    with pytest.raises(InputError, match="Too few lists"):
        train_light(few, np.zeros(3, bool), None, None, LightConfig(), 1)


def test_it_is_distilled_from_home_pages_alone(tmp_path):
    """It ranks home pages; whatever the full ranker learns from besides is not its business."""
    lake, contents, embeddings = lived(tmp_path / "lake")
    span = MIDNIGHT_MS - 2 * DAY_MS, MIDNIGHT_MS
    related = [
        {
            "event": "impression",
            "event_id": f"beside-{n}",
            "request_id": f"beside-{n}",
            "time_ms": span[0] + n * HOUR_MS,
            "user_id": f"only related {n}",
            "surface": "related",
            "context_item_id": "i001",
            "slots": [{"item_id": "i002", "position": 0}],
        }
        for n in range(10)
    ]
    lake = lake_of(tmp_path / "lake", related)
    days = ItemDays(lake.until(span[1]), *span, contents, embeddings=embeddings)
    found = teacher_lists(lake, span, days, ByLikeness(), UtilityWeights(), LightConfig(moments=1000, candidates=10), 1)
    assert len(found) > 20
    assert not any(user.startswith("only related") for user in found.user_keys)
