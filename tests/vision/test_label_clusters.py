import numpy as np
import pytest
import scipy.sparse as sp

from corkboard.errors import InputError
from corkboard.vision.config import LabelClusterConfig
from corkboard.vision.label_clusters import classes_of, phrase_vectors, spherical_kmeans
from corkboard.vision.weak_labels import WeakLabels


def labels(carried: dict[str, list[int]], images: int, score: float = 0.5) -> WeakLabels:
    """Each phrase and the images that carry it."""
    dense = np.zeros((images, len(carried)), np.float32)
    for column, rows in enumerate(carried.values()):
        dense[rows, column] = score
    return WeakLabels(sp.csr_array(dense), tuple({phrase: len(rows)} for phrase, rows in carried.items()))


def two_kinds() -> tuple[WeakLabels, np.ndarray]:
    """Cats (images 0-19) and vases (20-39), each with two words in two languages that never meet, and a rare word of its own."""
    carried = {
        "cat": range(0, 10),
        "katze": range(10, 20),
        "kitten": [1, 12, 13],
        "vase": range(20, 30),
        "krug": range(30, 40),
        "jug": [22, 33],
    }
    rng = np.random.default_rng(0)
    vectors = np.eye(6)[np.repeat([0, 1], 20)] + 0.2 * rng.normal(size=(40, 6))
    return labels({phrase: list(rows) for phrase, rows in carried.items()}, 40), vectors.astype(np.float32)


def test_words_of_one_thing_become_one_class_even_where_they_never_meet():
    found = classes_of(*two_kinds(), LabelClusterConfig(clusters=2, min_images=5), seed=0)
    assert sorted(sorted(members) for members in found.members) == [["cat", "katze", "kitten"], ["jug", "krug", "vase"]]
    assert sorted(found.names) == ["katze", "krug"]  # the largest, of equals the longest, then by letters
    assert found.counts.tolist() == [20, 20]
    assert found.scores.toarray().max(axis=1).tolist() == [0.5] * 40


def test_the_tail_is_merged_until_every_class_has_enough_images():
    carried, vectors = two_kinds()
    found = classes_of(carried, vectors, LabelClusterConfig(clusters=6, min_images=4), seed=0)
    assert len(found.members) == 4  # the two rare words went to a word of their own kind
    assert found.counts.min() >= 4
    for members in found.members:
        assert members.keys() <= {"cat", "katze", "kitten"} or members.keys() <= {"vase", "krug", "jug"}
    assert sum(len(members) for members in found.members) == 6


def test_without_clusters_a_phrase_of_enough_images_is_a_class_and_the_tail_is_lost():
    carried, vectors = two_kinds()
    found = classes_of(carried, vectors, LabelClusterConfig(cluster=False, min_images=5), seed=0)
    assert found.names == ["cat", "katze", "vase", "krug"]


def test_the_score_of_a_class_is_the_best_of_its_phrases():
    carried = WeakLabels(sp.csr_array(np.array([[0.3, 0.8], [0.2, 0], [0, 0.4]], np.float32)), ({"cat": 2}, {"kitten": 2}))
    found = classes_of(carried, np.ones((3, 2), np.float32), LabelClusterConfig(clusters=1, min_images=1), seed=0)
    assert found.scores.toarray().ravel().tolist() == pytest.approx([0.8, 0.2, 0.4])
    assert found.members == ({"cat": 2, "kitten": 2},)


def test_a_class_that_is_too_large_keeps_its_highest_scores():
    scores = np.array([[0.1], [0.9], [0.5], [0.7]], np.float32)
    found = classes_of(
        WeakLabels(sp.csr_array(scores), ({"cat": 4},)),
        np.ones((4, 2), np.float32),
        LabelClusterConfig(cluster=False, min_images=1, max_images=2),
        seed=0,
    )
    assert found.scores.toarray().ravel().tolist() == pytest.approx([0, 0.9, 0, 0.7])


def test_equal_scores_are_cut_by_lot_and_the_same_way_twice():
    carried, config = labels({"cat": list(range(100))}, 100), LabelClusterConfig(cluster=False, min_images=1, max_images=50)
    vectors = np.ones((100, 2), np.float32)
    kept = [classes_of(carried, vectors, config, seed).labelled for seed in (0, 0, 1)]
    assert [mask.sum() for mask in kept] == [50, 50, 50]
    assert (kept[0] == kept[1]).all()
    assert (kept[0] != kept[2]).any()
    assert kept[0][:50].sum() not in (0, 50)  # not the first rows


def test_no_class_of_enough_images_is_refused():
    carried, vectors = two_kinds()
    with pytest.raises(InputError, match="enough images"):
        classes_of(carried, vectors, LabelClusterConfig(min_images=50), seed=0)
    with pytest.raises(InputError, match="enough images"):
        classes_of(labels({}, 40), vectors, LabelClusterConfig(), seed=0)


def test_phrases_are_near_where_texts_or_pictures_are():
    carried, vectors = two_kinds()
    by_looks = phrase_vectors(carried, vectors, LabelClusterConfig(), seed=0)
    assert np.linalg.norm(by_looks, axis=1) == pytest.approx(np.ones(6))
    assert by_looks[0] @ by_looks[1] > by_looks[0] @ by_looks[3] + 0.5
    blind = phrase_vectors(carried, vectors, LabelClusterConfig(image_weight=0.0), seed=0)
    assert blind[0] @ blind[1] < 0.9  # they never meet in a text
    # singular vectors of phrases x images, against a plain decomposition: all inner products agree
    dense = (carried.scores.toarray() > 0).T.astype(float)
    scaled = dense / np.sqrt(dense.sum(axis=1, keepdims=True)) / np.sqrt(np.maximum(dense.sum(axis=0), 1))
    left, values, _ = np.linalg.svd(scaled, full_matrices=False)
    plain = left[:, :5] * values[:5]
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    assert np.allclose(blind @ blind.T, plain @ plain.T, atol=1e-4)


def test_kmeans_finds_planted_clusters_and_is_a_function_of_its_seed():
    rng = np.random.default_rng(1)
    planted = rng.integers(0, 5, 200)
    vectors = np.eye(8)[planted] + 0.15 * rng.normal(size=(200, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = spherical_kmeans(vectors, 5, np.ones(200), seed=3)
    assert len({(a, b) for a, b in zip(planted.tolist(), found.tolist(), strict=True)}) == 5
    assert (found == spherical_kmeans(vectors, 5, np.ones(200), seed=3)).all()
    assert spherical_kmeans(vectors[:3], 9, np.ones(3), seed=0).tolist() == [0, 1, 2]
    assert len(set(spherical_kmeans(np.ones((4, 1)), 2, np.ones(4), seed=0).tolist())) == 1  # equal rows cannot be told apart
