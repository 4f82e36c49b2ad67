"""The search for real products, on made ones: queries and measures by hand, nothing of the test is learned from, runs are kept."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from corkboard.errors import InputError, NotFound
from corkboard.experiments import fashion_search_models as models
from corkboard.experiments.fashion_search import (
    ANSWERS,
    ATTRIBUTES,
    BOTH,
    CHANCE,
    HISTOGRAM,
    HYBRID,
    HYBRID_BOTH,
    PAIRS,
    PHOTOS,
    PIXELS,
    QUERIES,
    TITLES,
    TRUNK,
    VISUAL,
    Bench,
    Plan,
    Space,
    beats_both,
    by_chance,
    expected_ndcg,
    gains_of,
    ndcg,
    pair_figures,
    run_fashion_search,
)
from corkboard.experiments.fashion_search_config import FashionSearchConfig, QueriesConfig
from corkboard.experiments.fashion_search_models import (
    Neighbours,
    Pairing,
    Products,
    Words,
    nearest,
    paired_by_attributes,
    with_titles,
    words_of,
)
from corkboard.experiments.fashion_search_queries import (
    NAMES,
    SYNONYMS,
    Attributes,
    Query,
    grades,
    pattern_of,
    practice_of,
    queries_of,
    query_of,
    with_slip,
)
from corkboard.experiments.photos_data import TEST, TRAIN, VALID
from corkboard.experiments.result import Cell, Measure, Row, Table
from corkboard.seeds import generator

DATA = Path(os.environ.get("CORKBOARD_DATA") or "no data here")
SIDE = 16
COLOURS = {"Red": (200, 30, 30), "Green": (30, 180, 40), "Navy Blue": (30, 40, 120)}
KNOWN = {"gender": "Men", "colour": "Navy Blue", "type": "Shirts", "usage": "Casual", "season": "Fall", "pattern": "check"}


def drawn(kind, colour, rng):
    """A shirt is a square, a belt a bar, a shoe a triangle; somewhere on white, with noise."""
    picture = np.full((SIDE, SIDE, 3), 255.0)
    top, left = rng.integers(1, 5, 2)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = {
        "Shirts": (rows - top < 10) & (rows >= top) & (columns >= left) & (columns - left < 10),
        "Belts": (rows - top < 3) & (rows >= top) & (columns >= left) & (columns - left < 11),
        "Shoes": (rows - top < 10) & (columns - left < rows - top) & (columns >= left),
    }[kind]
    picture[inside] = COLOURS[colour]
    return (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """120 products; number 5 is called what number 2 is called."""
    place = tmp_path_factory.mktemp("data") / "fashion-products"
    place.mkdir()
    rng = np.random.default_rng(0)
    rows = ["id,gender,articleType,subCategory,baseColour,season,usage,productDisplayName,file"]
    with tarfile.open(place / "images.tar", "w") as tar:
        for i in range(120):
            kind, colour = ("Shirts", "Belts", "Shoes")[i % 3], list(COLOURS)[i // 3 % 3]
            gender, usage = ("Men", "Women")[i // 9 % 2], ("Casual", "", "Formal")[i // 18 % 3]
            title = f"Brand{2 if i == 5 else i} {gender} {('Check ', '')[i // 36 % 2]}{colour if i != 5 else 'Red'} {kind}"
            rows.append(f"{i},{gender},{kind},Things,{colour},Fall,{usage},{title},{i}.jpg")
            buffer = io.BytesIO()
            Image.fromarray(drawn(kind, colour, rng)).save(buffer, "PNG")
            entry = tarfile.TarInfo(f"{i}.jpg")
            entry.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(entry, buffer)
    (place / "styles_with_image.csv").write_text("\n".join(rows))
    return place


def small(**more):
    base = FashionSearchConfig().model_dump()
    base["photos"] |= {"trunk": {"side": SIDE, "width": 0.5}, "test_share": 0.3, "valid_share": 0.2}
    base["photos"] |= {"duplicate_bits": 0, "duplicate_difference": 1.0}
    base["visual"] |= {"dim": 16, "code_bits": 16, "batch_classes": 8, "trunk_after": 1}
    base["visual"]["training"] |= {"steps": 3}
    base["searchsage"] |= {"width": 8, "batch": 16, "pool": 8}
    base["searchsage"]["training"] |= {"steps": 3}
    base |= {"word_titles": 5, "neighbours": (1, 2), "pixel_side": 8, "fusions": base["fusions"][:2], "title_shares": (0.0, 0.5)}
    base["evaluation"] |= {"replicates": 100}
    return FashionSearchConfig.model_validate(base | more)


@pytest.fixture(scope="module")
def products(folder, tmp_path_factory):
    return Products.read(folder, tmp_path_factory.mktemp("kept"), small())


@pytest.fixture(scope="module", autouse=True)
def _no_weights():
    """A trunk of random weights, at the small side."""

    def missing():
        raise NotFound("no weights")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("corkboard.vision.trunk.built_in_trunk", missing)
        yield


# --------------------------------------------------------------------------------------------------------------- queries


def test_a_plain_query_says_what_it_asks_for_in_the_words_of_the_table():
    for i in range(60):
        query = query_of(KNOWN, generator(i), QueriesConfig(), plain=True)
        assert 2 <= len(query.asked) <= 6
        assert query.asked.items() <= KNOWN.items()
        assert sorted(query.text.split()) == sorted(" ".join(query.asked.values()).lower().split())


def test_queries_have_synonyms_slips_and_several_orders():
    config = QueriesConfig(synonym=1.0, typo=0.0)
    asked = [query_of(KNOWN, generator(i), config) for i in range(200)]
    assert any("gents" in one.text for one in asked)
    assert not any("Men" in one.asked.values() and "men" in one.text.split() for one in asked)
    plain = [query_of(KNOWN, generator(i), config, plain=True) for i in range(200)]
    firsts = {one.text.split()[0] for one in plain if len(one.asked) > 2}
    assert {"men", "shirts", "navy"} <= firsts
    slipped = [query_of(KNOWN, generator(i), QueriesConfig(synonym=0.0, typo=1.0)).text for i in range(50)]
    known = set(" ".join(KNOWN.values()).lower().split())
    assert sum(bool(set(text.split()) - known) for text in slipped) > 30


def test_too_few_attributes_are_filled_up_with_what_is_asked_most():
    never = QueriesConfig.model_validate({"asked": dict.fromkeys(NAMES, 0.0) | {"colour": 0.001, "usage": 0.0005}, "least": 2})
    assert set(query_of(KNOWN, generator(0), never).asked) == {"colour", "usage"}
    assert query_of({"type": "Shirts"}, generator(0), never).asked == {"type": "Shirts"}


def test_a_slip_changes_the_inside_of_one_long_word():
    assert with_slip("men red tee", generator(0)) == "men red tee"
    for i in range(40):
        found = with_slip("men striped tee", generator(i)).split()
        assert (found[0], found[2]) == ("men", "tee")
        assert (found[1][0], found[1][-1]) == ("s", "d")
        assert abs(len(found[1]) - 7) <= 1
        assert sorted(found[1]) == sorted("striped") or len(found[1]) != 7


def test_synonyms_are_other_words_of_known_attributes():
    assert set(SYNONYMS) <= set(NAMES)
    for values in SYNONYMS.values():
        assert all(word == word.lower() and word != value.lower() for value, words in values.items() for word in words)


@pytest.mark.parametrize(
    ("title", "pattern"), [("Puma Men Checks Shirt", "check"), ("Solid Striped tie", "striped"), ("Imprinted", None), ("", None)]
)
def test_the_pattern_is_what_the_title_tells(title, pattern):
    assert pattern_of(title) == pattern


def test_grades_count_asked_attributes_and_what_is_unknown_is_not_had():
    values = {name: [None, None, None] for name in NAMES} | {"type": ["Shirts", "Shirts", None], "colour": ["Red", "Blue", "Red"]}
    asked = [Query("", {"type": "Shirts", "colour": "Red"}), Query("", {"usage": "Casual", "colour": "Blue"})]
    assert grades(asked, Attributes(values)).tolist() == [[2, 1, 1], [0, 1, 0]]


def test_queries_are_those_of_a_product_whatever_else_there_is(products):
    few = products.attributes.take(np.array([7, 3]))
    ids = [products.photos.ids[7], products.photos.ids[3]]
    assert queries_of(few, ids, QueriesConfig()) == [products.queries[7], products.queries[3]]
    practice = practice_of(few, ids, QueriesConfig(practice=3), 0)
    assert [name for _, name in practice] == [ids[0]] * 3 + [ids[1]] * 3
    assert practice != practice_of(few, ids, QueriesConfig(practice=3), 1)


# ------------------------------------------------------------------------------------------------------------------ data


def test_products_have_their_attributes_and_no_title_straddles(products):
    assert len(products) == 120
    row = products.photos.ids.index("18")
    assert products.attributes.of(row) == {"gender": "Men", "colour": "Red", "type": "Shirts", "season": "Fall", "pattern": "check"}
    assert products.attributes.words(row) == "Men Red Shirts Fall"
    parts = [set(products.part(part).titles) for part in (TRAIN, VALID, TEST)]
    assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts))
    assert min(map(len, parts)) > 10


def test_a_table_without_a_column_is_refused(folder, tmp_path):
    (tmp_path / "images.tar").write_bytes((folder / "images.tar").read_bytes())
    lines = (folder / "styles_with_image.csv").read_text().replace("usage", "use")
    (tmp_path / "styles_with_image.csv").write_text(lines)
    with pytest.raises(InputError, match="usage"):
        Products.read(tmp_path, tmp_path, small())


def test_nothing_of_the_test_reaches_what_learns(products, monkeypatch):
    seen = {}
    monkeypatch.setattr("corkboard.embeddings.visual_training.train_visual", lambda images, tasks, *rest: seen.update(tasks=tasks))
    with pytest.raises(AttributeError):  # there is no encoder
        models.visual_vectors(products, small(), 0, lambda *_: None)
    training = set(products.photos.rows(TRAIN).tolist())
    assert {task.name for task in seen["tasks"]} >= {"type", "colour", "gender", "usage", "words of titles"}
    assert all(set(task.images.tolist()) <= training for task in seen["tasks"])

    def kept(pairs, items, titles, *rest):
        seen.update(ids={*pairs["item_id"], *items.ids, *titles["item_id"]}, titles=set(titles["title"]))

    monkeypatch.setattr("corkboard.embeddings.searchsage_training.train_searchsage", kept)
    models.text_encoder(products, np.ones((120, 4), np.float32), small(), 0, lambda *_: None)
    assert seen["ids"] == {products.photos.ids[row] for row in training}
    assert seen["titles"] == {products.titles[row] for row in training}


def test_words_of_titles_are_frequent_ones_that_tell_something():
    rows, classes = words_of(["red belt men", "red shoe men", "blue shoe men", "blue shoe men", "blue men"], 2)
    # belt is too rare, men is in all; "blue" is in two different titles
    assert list(zip(rows.tolist(), classes.tolist(), strict=True)) == [(0, 1), (1, 1), (1, 2), (2, 0), (2, 2), (3, 0), (3, 2), (4, 0)]


# --------------------------------------------------------------------------------------------------------------- rankers


def test_places_by_words_fall_and_equal_ones_have_the_last():
    words = Words(["red shirt", "blue shirt", "red shirt", "green shoe", ""])
    rows, scores = words.ranking("red shirt", 10)
    assert rows.tolist() == [0, 2, 1]
    assert (np.diff(scores) <= 0).all()
    np.testing.assert_allclose(words.places(["red shirt", "hat"]), [[1 / 2, 1 / 3, 1 / 2, 0, 0], [0] * 5])
    words.close()


def test_neighbours_go_over_training_products(products):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(120, 6)).astype(np.float32)
    part, training = products.part(TEST), products.part(TRAIN)
    one = Neighbours(vectors, part, 2).pairing(1)
    assert (one.by_title.shape, one.by_photo.shape) == ((len(part.titles), len(part)), (len(part), len(part.titles)))
    read, own = Words(training.own_titles), Words(part.titles)
    near = read.ranking(part.titles[3], 1)[0][0]
    np.testing.assert_allclose(one.by_title[3], vectors[part.rows] @ vectors[training.rows[near]], rtol=1e-5)
    nearest_photo = int(np.argmax(vectors[training.rows] @ vectors[part.rows[4]]))
    np.testing.assert_allclose(one.by_photo[4], own.places([training.own_titles[nearest_photo]])[0], rtol=1e-6)
    assert not np.allclose(one.by_photo, Neighbours(vectors, part, 2).pairing(2).by_photo)
    read.close()
    own.close()


def test_columns_find_a_product_and_titles_its_columns(products):
    found = pair_figures(paired_by_attributes(products.part(TEST)), products.part(TEST))
    chance = by_chance(products.part(TEST))
    assert found["title to photo R@10"].value > 2 * chance["title to photo R@10"].value
    assert found["photo to title R@10"].value > 2 * chance["photo to title R@10"].value


def test_titles_count_by_their_share():
    photos, titles = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    np.testing.assert_allclose(with_titles(photos, titles, 0.0), [[1, 0]])
    np.testing.assert_allclose(with_titles(photos, titles, 0.5), [[0.5**0.5, 0.5**0.5]])
    np.testing.assert_array_equal(with_titles(photos, -photos, 0.5), [[0, 0]])


def test_nearest_is_best_first():
    (rows, scores), _ = nearest(np.array([[0.1, 0.9, 0.5], [0, 0, 0]], np.float32), 2)
    assert rows.tolist() == [1, 2]
    np.testing.assert_allclose(scores, [0.9, 0.5])


# -------------------------------------------------------------------------------------------------------------- measures


class _Part:
    """Three products; the first two have one title."""

    title_of, titles, groups = np.array([0, 0, 1]), ["a", "b"], np.array([0, 0, 1])

    def __len__(self):
        return 3


def test_ranks_by_hand():
    by_title = np.array([[0.5, 0.4, 0.4], [0.9, 0.1, 0.3]])
    by_photo = np.array([[0.2, 0.1], [0.3, 0.3], [0.1, 0.2]])
    found = pair_figures(Pairing(by_title, by_photo), _Part())
    # title of 0: its photo is first; of 1: photo 0 has the same title and is left out, photo 2 is as good: second; of 2: second
    assert found["title to photo R@1"].total.tolist() == [1, 0]
    assert found["title to photo R@1"].weight.tolist() == [2, 1]
    assert found["title to photo R@10"].value == 1
    # photo 0 finds its title, photo 1 has a tie, photo 2 finds its own
    assert found["photo to title R@1"].value == pytest.approx(2 / 3)
    chance = by_chance(_Part())
    assert chance["title to photo R@1"].value == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)
    assert chance["photo to title R@1"].value == pytest.approx(1 / 2)
    assert chance["photo to title R@10"].value == 1


def test_ndcg_by_hand_and_of_a_random_order():
    gains = gains_of(np.array([[2, 0, 1, 0]]))
    assert gains.tolist() == [[3, 0, 1, 0]]
    ideal = 3 + 1 / np.log2(3)
    rows = np.array([2, 1, 0])
    assert ndcg([(rows, rows)], gains, 2)[0] == pytest.approx(1 / ideal)
    assert ndcg([(rows, rows)], gains, 3)[0] == pytest.approx((1 + 3 / 2) / ideal)
    assert ndcg([(rows[:0], rows[:0])], gains, 3)[0] == 0
    draw = np.random.default_rng(0)
    orders = [draw.permutation(4) for _ in range(4000)]
    found = ndcg([(order, order) for order in orders], np.repeat(gains, 4000, axis=0), 3).mean()
    assert expected_ndcg(gains, 3)[0] == pytest.approx(found, abs=0.02)


def test_the_hybrid_is_the_fusion_that_validation_queries_like(products, monkeypatch):
    config = small(fusions=[{"vector_share": 0.0, "softening": 10.0}, {"vector_share": 1.0, "softening": 10.0}])
    bench = Bench(products, config)
    draw = np.random.default_rng(0)
    noise = draw.normal(size=(120, 4)).astype(np.float32)
    monkeypatch.setattr(bench, "space", lambda *_: Space(noise, noise, -noise))
    figures, facts = bench._asked(HYBRID, 0)
    assert facts["chosen fusion"] == 0  # vectors that know nothing
    words = bench._asked(TITLES, 0)[0]["NDCG@10"].value
    assert figures["NDCG@10"].value == pytest.approx(words, abs=0.12)  # and fill up where words find fewer than ten
    bench._grades = {part: -value + 6 for part, value in bench._grades.items()}  # now it is bad to have what is asked
    assert bench._asked(HYBRID, 0)[1]["chosen fusion"] == 1


@pytest.mark.parametrize(
    ("first", "second", "said"), [("better", "better", "yes"), ("better", "undecided", "no"), ("worse", "better", "no")]
)
def test_a_hybrid_must_beat_both_halves(first, second, said):
    def table(verdict, value=0.5):
        return Table("", "", "", [Measure("m", "")], [Row(HYBRID, {"m": Cell(value, 300, verdict=verdict)})], [])

    assert beats_both(HYBRID, table(first), table(second)) == said
    assert beats_both(HYBRID, table("not measured", None), table(second)) == "not measured"


# --------------------------------------------------------------------------------------------------------- the experiment


def test_all_rows_are_measured_once_and_kept(folder, tmp_path, monkeypatch):
    said = []
    found = run_fashion_search(folder.parent, tmp_path, said.append, minutes=10, seeds=2, workers=0, config=small())
    assert not found.warnings
    pairs, asked = found.table(PAIRS), found.table(QUERIES)
    assert [row.name for row in pairs.rows] == [PIXELS, HISTOGRAM, ATTRIBUTES, TRUNK, VISUAL, CHANCE]
    assert [row.name for row in asked.rows] == [TITLES, PHOTOS, HYBRID, BOTH, HYBRID_BOTH, ANSWERS, CHANCE]
    for table in (pairs, asked):
        assert all(0 <= cell.value <= 1 for row in table.rows for cell in row.cells.values())
    assert asked.cell(ANSWERS, "NDCG@10").value > asked.cell(CHANCE, "NDCG@10").value
    assert len(found.tables) == 4
    assert found.tables[2].cell(HYBRID, "NDCG@10").difference is not None
    assert len({path.stem for path in tmp_path.rglob("*.npz")} - {path.stem for path in (tmp_path / "photos").iterdir()}) == 7 + 2 * 6
    monkeypatch.setattr(Bench, "measured", None)  # nothing is left to do
    again = run_fashion_search(folder, tmp_path, said.append, minutes=10, seeds=2, workers=0, config=small())
    assert [table.rows for table in again.tables] == [table.rows for table in found.tables]


def test_without_time_nothing_is_measured(folder, tmp_path):
    found = run_fashion_search(folder, tmp_path, lambda _: None, minutes=0, seeds=1, workers=0, config=small())
    assert found.table(QUERIES).facts[f"{HYBRID} beats both halves"] == "not measured"
    assert found.table(PAIRS).warnings


def test_settings_change_the_runs_that_they_concern(folder, products):
    def hashes(config):
        return {(run.world, run.variant): repr(run.config) for job in Plan(folder, products, config, 1).jobs for run in job.runs}

    base = hashes(small())
    changed = {name for name, config in hashes(small(depth=7)).items() if config != base[name]}
    assert changed == {(QUERIES, row) for row in (PHOTOS, HYBRID, BOTH, HYBRID_BOTH)}
    changed = {name for name, config in hashes(small(word_titles=9)).items() if config != base[name]}
    assert changed == {(PAIRS, VISUAL), *((QUERIES, row) for row in (PHOTOS, HYBRID, BOTH, HYBRID_BOTH))}
    assert {(PAIRS, CHANCE), (PAIRS, HISTOGRAM)} <= set(base)


def test_the_command_says_what_is_missing(tmp_path):
    from corkboard.cli.app import app

    found = CliRunner().invoke(app, ["experiment", "fashion-search", "--data", str(tmp_path), "-w", str(tmp_path / "runs")])
    assert found.exit_code != 0
    assert isinstance(found.exception, NotFound) or "images.tar" in found.output


@pytest.mark.skipif(not (DATA / "fashion-products").is_dir(), reason="CORKBOARD_DATA names no folder with fashion-products")
def test_the_real_set_is_asked_sensibly(tmp_path):
    config = FashionSearchConfig()
    bench = Bench(Products.read(DATA / "fashion-products", tmp_path, config), config)
    titles, _ = bench._asked(TITLES, 0)
    chance, _ = bench._asked(CHANCE, 0)
    assert titles["NDCG@10"].value > 2 * chance["NDCG@10"].value
    assert json.dumps(bench.parts[TEST].queries[0].text)
