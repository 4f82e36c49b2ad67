import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.errors import InputError, LeakError
from corkboard.vision.config import PhraseConfig, SourceWeights
from corkboard.vision.label_quality import LabelReport, LabelTruth, label_quality
from corkboard.vision.weak_labels import SOURCES, Bags, WeakLabels, bags_of_lake, coherence, coherent, phrase_labels, phrases_of
from tests.lake.rows import DAY, T0, action, item, lake_of

TITLE, DESCRIPTION, BOARD, QUERY = range(4)


def bags(*told: tuple[int, str, int], images: int | None = None, products: list[int] | None = None) -> Bags:
    count = images if images is not None else max(image for image, _, _ in told) + 1
    rows, texts, sources = zip(*told, strict=True) if told else ((), (), ())
    return Bags(np.array(rows, np.int64), list(texts), np.array(sources, np.int8), np.array(products or range(count), np.int64))


def labels(scores: list[list[float]], names: str = "abcdefgh") -> WeakLabels:
    matrix = sp.csr_array(np.array(scores, np.float32))
    counts = (np.array(scores) > 0).sum(axis=0)
    return WeakLabels(matrix, tuple({name: int(count)} for name, count in zip(names, counts, strict=False)))


# -------------------------------------------------------------------------------------------------------------------- phrases


def test_phrases_are_one_to_three_grams_without_stop_words_within_a_sentence():
    assert phrases_of("The Striped Shirts for you. New!") == ["striped", "striped shirt", "shirt", "new"]
    assert phrases_of("a T-Shirt", longest=2) == ["t shirt", "shirt"]
    assert phrases_of("猫", longest=2) == ["猫"]
    assert phrases_of("red red red") == ["red", "red red", "red red red"]
    assert phrases_of("one two three four", longest=1, max_words=2) == ["one", "two"]
    assert phrases_of(" – ") == []


@pytest.mark.parametrize(
    ("word", "singular"),
    [
        ("boots", "boot"),
        ("dresses", "dress"),
        ("dress", "dress"),
        ("boxes", "box"),
        ("berries", "berry"),
        ("cactus", "cactus"),
        ("gas", "gas"),
    ],
)
def test_plurals_become_singulars(word, singular):
    assert phrases_of(word) == [singular]


def test_a_phrase_needs_enough_products_and_views_of_one_count_once():
    told = [(image, "cat", TITLE) for image in range(4)] + [(image, "dog", TITLE) for image in range(2)]
    assert phrase_labels(bags(*told), PhraseConfig(min_products=3)).names == ["cat"]
    same = phrase_labels(bags(*told, products=[0, 0, 0, 1]), PhraseConfig(min_products=2))
    assert same.names == ["cat"]  # two products; the dog has one, though two views of it


def test_scores_are_weights_times_confidence_times_tellings_by_hand():
    told = [(0, "cat", TITLE), (0, "cat", QUERY), (0, "cat", QUERY), (1, "cat", TITLE)]
    weights = SourceWeights(title=1.0, query=2.0)
    plain = phrase_labels(bags(*told), PhraseConfig(min_products=1, weights=weights, agreement=False))
    # image 0: 1 * 1/2 * 1/2 from the title, 2 * 1/2 * 3/4 from two queries; image 1 the title alone
    assert plain.scores.toarray().ravel().tolist() == pytest.approx([0.25 + 0.75, 0.25])
    agreeing = phrase_labels(bags(*told), PhraseConfig(min_products=1, weights=weights))
    # of 2 titles 1 is said by queries too, and that is also their mean: (1 + 10/2) / 12; the one queried image agrees: (1 + 10) / 11
    assert agreeing.scores.toarray().ravel().tolist() == pytest.approx([0.5 * 0.75 + 2 * 0.75 * 1.0, 0.5 * 0.75])


def test_a_phrase_that_other_sources_say_too_is_believed_more():
    told = [(image, "cat lovely", TITLE) for image in range(30)] + [(image, "cat", QUERY) for image in range(30)]
    found = phrase_labels(bags(*told), PhraseConfig(min_products=1, weights=SourceWeights(query=0.0)))
    score = dict(zip(found.names, found.scores.toarray()[0].tolist(), strict=True))
    assert score["cat"] > score["cat lovely"]


def test_human_intent_weighs_more():
    told = [(0, "dog", TITLE), (0, "fox", DESCRIPTION), (0, "cat", QUERY), (0, "hen", BOARD)]
    found = phrase_labels(bags(*told), PhraseConfig(min_products=1))
    assert [found.names[column] for column in np.argsort(-found.scores.toarray()[0])] == ["cat", "hen", "dog", "fox"]


def test_a_part_that_is_never_said_alone_is_no_phrase_of_its_own():
    told = [(image, "floor lamp", TITLE) for image in range(9)] + [(image, "lamp", TITLE) for image in range(9, 20)]
    assert phrase_labels(bags(*told), PhraseConfig(min_products=1)).names == ["floor lamp", "lamp"]
    assert phrase_labels(bags(*told, (20, "lamp", TITLE), (20, "floor", TITLE)), PhraseConfig(min_products=10)).names == ["floor", "lamp"]
    told += [(image, "floor", QUERY) for image in range(9)]  # whoever searches says it alone
    assert phrase_labels(bags(*told), PhraseConfig(min_products=1)).names == ["floor", "floor lamp", "lamp"]


def test_too_many_phrases_leave_those_of_the_most_products():
    told = [(image, word, TITLE) for word, count in (("ant", 2), ("bee", 4), ("cow", 3)) for image in range(count)]
    assert phrase_labels(bags(*told), PhraseConfig(min_products=1, max_phrases=2)).names == ["bee", "cow"]


def test_nothing_said_makes_no_labels():
    found = phrase_labels(bags(images=3), PhraseConfig())
    assert found.scores.shape == (3, 0)
    assert found.top(5).names == []
    assert not found.labelled.any()
    assert coherent(found, np.ones((3, 2), np.float32), np.arange(3), PhraseConfig()).names == []


def test_tellings_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="three equal lengths"):
        Bags(np.zeros(2, np.int64), ["a"], np.zeros(2, np.int8), np.arange(2))
    with pytest.raises(InputError, match="not there"):
        bags((5, "a", TITLE), images=2)
    with pytest.raises(InputError, match="unknown source"):
        bags((0, "a", 9))


def test_what_is_held_out_is_not_read():
    told = [(image, "cat", TITLE) for image in range(4)]
    assert bags(*told).without(np.array([1, 0, 0, 1], bool)).images.tolist() == [1, 2]
    with pytest.raises(LeakError, match="held out"):
        bags(*told, products=[7, 7, 8, 9]).without(np.array([1, 0, 0, 0], bool))


# ----------------------------------------------------------------------------------------------------------------- the best


def test_the_best_labels_of_an_image_and_ties_go_to_the_more_frequent():
    found = labels([[0.5, 0.9, 0.5], [0, 0, 0.4], [0, 0.05, 0]]).top(2, threshold=0.1)
    assert found.scores.toarray().tolist() == [pytest.approx([0, 0.9, 0.5]), pytest.approx([0, 0, 0.4]), [0, 0, 0]]
    assert found.labelled.tolist() == [True, True, False]
    assert found.counts.tolist() == [0, 1, 2]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([0.0, 0.3]))
def test_top_equals_a_plain_sort(seed, k, threshold):
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((6, 5)) < 0.6, rng.choice([0.1, 0.2, 0.4, 0.8], (6, 5)), 0)
    wanted = np.zeros_like(dense)
    counts = (dense > 0).sum(axis=0)
    for row in range(6):
        order = sorted(np.flatnonzero(dense[row]), key=lambda c: (-np.float32(dense[row, c]), -counts[c], c))
        for column in [c for c in order[:k] if dense[row, c] >= threshold]:
            wanted[row, column] = dense[row, column]
    assert np.allclose(labels(dense.tolist()).top(k, threshold).scores.toarray(), wanted)


# ---------------------------------------------------------------------------------------------------------------- coherence


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_coherence_equals_the_mean_over_all_pairs_of_different_products(seed):
    rng = np.random.default_rng(seed)
    vectors, products = rng.normal(size=(12, 3)).astype(np.float32), rng.integers(0, 5, 12)
    carried = labels((rng.random((12, 3)) < 0.5).astype(float).tolist())
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def mean(rows):
        cosines = [unit[a] @ unit[b] for a in rows for b in rows if products[a] != products[b]]
        return np.mean(cosines) if cosines else None

    everywhere = mean(np.flatnonzero(carried.labelled))
    for column, value in enumerate(coherence(carried, vectors, products)):
        own = mean(np.flatnonzero(carried.scores.toarray()[:, column]))
        assert value == pytest.approx(-1.0 if own is None else own - everywhere, abs=1e-5)


def test_views_of_one_product_do_not_make_a_phrase_coherent():
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 3]]
    carried = labels([[1, 1], [1, 1], [1, 1], [1, 1], [0, 1], [0, 1]])
    apart, together = coherence(carried, vectors, np.arange(6))[0], coherence(carried, vectors, np.array([0, 0, 1, 1, 2, 3]))[0]
    assert apart > 0.1
    assert together == pytest.approx(0)


def test_incoherent_phrases_are_dropped_and_coherent_ones_stay():
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(4), 30)
    vectors = (np.eye(8)[kind] + 0.2 * rng.normal(size=(120, 8))).astype(np.float32)
    words = [[f"animal{k}"] + [word for word in ("lovely", "2019", "acme") if rng.random() < 0.4] for k in kind]
    told = [(image, ". ".join(said), TITLE) for image, said in enumerate(words)]
    found = phrase_labels(bags(*told), PhraseConfig(min_products=5))
    assert set(found.names) == {"animal0", "animal1", "animal2", "animal3", "lovely", "2019", "acme"}
    kept = coherent(found, vectors, np.arange(120), PhraseConfig(dropped_share=0.0))
    assert kept.names == ["animal0", "animal1", "animal2", "animal3"]
    half = coherent(found, vectors, np.arange(120), PhraseConfig(dropped_share=0.5, least_coherence=-9.0))
    assert len(half.names) == 4  # of seven, the upper half and the median


# ------------------------------------------------------------------------------------------------------------------ quality

TRUTH = LabelTruth(
    {"shirts": "topic:shirt", "tee": "topic:shirt", "flower vase": "topic:vase", "striped": "pattern:striped"},
    {
        "topic:shirt": np.array([1, 1, 0, 0], bool),
        "topic:vase": np.array([0, 0, 1, 0], bool),
        "pattern:striped": np.array([1, 0, 0, 0], bool),
    },
)


def test_what_a_phrase_means():
    assert TRUTH.of("shirt") == {"topic:shirt"}
    assert TRUTH.of("lovely striped shirt") == {"topic:shirt", "pattern:striped"}
    assert TRUTH.of("flower vase") == {"topic:vase"}
    assert TRUTH.of("flower") == frozenset()
    assert TRUTH.of_label({"shirt": 3, "tee": 2, "lovely": 4}) == {"topic:shirt"}
    assert TRUTH.of_label({"shirt": 3, "lovely": 4}) == frozenset()
    with pytest.raises(InputError, match="a mask in holds"):
        LabelTruth({"cat": "animal:cat"}, {})


def test_precision_and_recall_by_hand():
    found = labels([[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]], names=["tee", "striped shirt", "acme"])
    # tee is right of image 0 and wrong of 2; "striped shirt" is wrong of 1 (no stripes), but says that it is a shirt; acme is wrong twice
    quality = label_quality(found, TRUTH)
    assert quality.precision == pytest.approx(1 / 5)
    assert quality.recall == pytest.approx(2 / 4)
    few = label_quality(found, TRUTH, np.array([1, 0, 0, 0], bool))
    assert (few.precision, few.recall) == (pytest.approx(1 / 2), pytest.approx(1 / 2))


def test_no_labels_have_no_precision():
    quality = label_quality(labels([[0], [0], [0], [0]]), TRUTH)
    assert (quality.precision, quality.recall) == (None, 0.0)


def test_a_report_keeps_the_steps_in_order():
    report = LabelReport(TRUTH)
    report.add("phrases", labels([[1], [1], [1], [0]], names=["tee"]))
    report.add("refined", labels([[1], [1], [0], [0]], names=["tee"]))
    assert [(row["step"], row["labels"], row["images"], row["labels_per_image"]) for row in report.rows()] == [
        ("phrases", 1, 3, 1.0),
        ("refined", 1, 2, 1.0),
    ]
    assert [row["precision"] for row in report.rows()] == [pytest.approx(2 / 3), 1.0]
    blind = LabelReport()
    blind.add("phrases", labels([[1]]))
    assert blind.steps[0].precision is None


# ----------------------------------------------------------------------------------------------------------------- the lake


def test_a_lake_tells_of_its_items_what_is_public_and_what_several_people_asked(tmp_path):
    items = [item("e1", T0, "i1", title="A cat", description="Soft"), item("e2", T0, "i2", title="A dog")]
    boards = [
        {"event_id": f"b-{name}", "time_ms": T0, "board_id": name, "user_id": "ann", "title": f"{name} pets", "secret": name == "secret"}
        for name in ("open", "secret")
    ]
    actions = [
        action("s1", T0 + DAY, "save", "i1", "ann", board_id="open"),
        action("s2", T0 + DAY, "save", "i1", "ann", board_id="open"),
        action("s3", T0 + DAY, "save", "i2", "ann", board_id="secret", query="kitten"),
        action("s4", T0 + DAY, "save", "i2", "ann", board_id="nobody's"),
        action("q1", T0 + DAY, "click", "i1", "ann", query=" Kitten "),
        action("q2", T0 + DAY, "click", "i1", "bob", query="kitten"),
        action("q3", T0 + DAY, "click", "i1", "bob", query="kitten"),
        action("q4", T0 + DAY, "click", "i2", "bob", query="my own name"),
        action("q5", T0 + DAY, "hide", "i2", "bob", query="kitten"),
        action("q6", T0 + 3 * DAY, "click", "i2", "eve", query="kitten"),
    ]
    lake = lake_of(tmp_path, items=items, boards=boards, actions=actions)
    found = bags_of_lake(lake.until(T0 + 2 * DAY), ["i2", "i1", "gone", "i1"])
    told = sorted((image, SOURCES[source], text) for image, source, text in zip(found.images, found.sources, found.texts, strict=True))
    of_cat = [("board", "open pets"), ("description", "Soft"), ("query", "kitten"), ("query", "kitten"), ("title", "A cat")]
    assert told == [(0, "title", "A dog"), *((1, *said) for said in of_cat), *((3, *said) for said in of_cat)]
    assert found.products[1] == found.products[3] != found.products[0]
    everybody = bags_of_lake(lake, ["i2"], min_people=1)
    assert sorted(everybody.texts) == ["A dog", "kitten", "my own name"]


def test_a_lake_of_clicks_alone_says_nothing(tmp_path):
    found = bags_of_lake(lake_of(tmp_path, actions=[action("a", T0, "click", "i1", "ann")]), ["i1"])
    assert (len(found), list(found.texts)) == (1, [])
