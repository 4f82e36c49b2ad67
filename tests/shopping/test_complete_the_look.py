"""Complete The Look: which categories, which products, in which order, and why."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import Space
from corkboard.errors import InputError, SpaceMismatch
from corkboard.shopping.complete_config import CompleteTheLookConfig, SceneModelConfig
from corkboard.shopping.complete_the_look import CategoryPairs, CompleteTheLook, Look, diversified
from corkboard.shopping.look_index import LookIndex
from corkboard.shopping.look_reasons import reason_of
from corkboard.shopping.scene_model import SceneModel
from corkboard.vision.appearance import Appearance, Colour, Guess
from tests.shopping.look_builders import SPACE, at_angles, found, items

CONFIG = CompleteTheLookConfig(least_together=1, least_lift=0, hubness=False, mmr=1.0, same=0.993, scene_weight=0.5)


class SameWay:
    """An outfit model in which things go together that point the same way; what it was asked is noted."""

    def encode(self, vectors, categories, text=None):
        return np.asarray(vectors, np.float32)

    def query(self, styles, categories, targets):
        return np.repeat(np.mean(styles, axis=0, keepdims=True), len(targets), axis=0)


def outfits(*sets: str) -> pl.DataFrame:
    """Outfits of categories, in words."""
    rows = [(f"o{k}", name) for k, names in enumerate(sets) for name in names.split()]
    return pl.DataFrame(rows, schema={"outfit_id": pl.String, "category": pl.String}, orient="row")


PAIRS = CategoryPairs(outfits("hat bag", "hat bag shoe", "bag shoe", "hat hat", "lamp rug"), least=1, lift=0)
ROWS = [("a", "hat"), ("b", "hat"), ("c", "hat"), ("d", "bag"), ("e", "bag"), ("f", "shoe"), ("g", "lamp")]


def answers(config: CompleteTheLookConfig = CONFIG, pairs: CategoryPairs = PAIRS, **settings) -> CompleteTheLook:
    """Products a to g at these angles: hats at 0, 20 and 40, bags at 10 and 60, a shoe at 30, a lamp at 5 degrees."""
    objects = found(at_angles(0, 20, 40, 10, 60, 30, 5), [name for _, name in ROWS], ids=[item for item, _ in ROWS])
    index = LookIndex.build(objects, items(*((item, name, True) for item, name in ROWS)))
    return CompleteTheLook(index, settings.pop("model", SameWay()), pairs, config, **settings)


def look(degrees: float = 50.0, category: str = "bag", **settings) -> Look:
    return Look([category], at_angles(degrees).astype(np.float32), **settings)


# ----------------------------------------------------------------------------------------------------------------- categories


def test_pairs_are_counted_by_outfits_and_none_goes_with_itself():
    assert PAIRS.count("hat", "bag") == PAIRS.count("bag", "hat") == 2
    assert PAIRS.count("hat", "hat") == 0
    assert PAIRS.complementary(["hat"]) == ["bag", "shoe"]
    assert PAIRS.complementary(["hat", "shoe"]) == ["bag"]
    assert PAIRS.complementary(["nothing"]) == []
    assert CategoryPairs(outfits("hat bag", "hat bag", "hat shoe"), least=2, lift=0).complementary(["hat"]) == ["bag"]


def test_a_pair_that_is_rarer_than_chance_is_a_mistake():
    """30 outfits of each of two kinds, and one that mixes them: by chance 31 * 31 / 61, near 16, would."""
    many = outfits(*["hat bag"] * 30, *["lamp rug"] * 30, "hat lamp")
    assert CategoryPairs(many, least=1, lift=0.5).complementary(["hat"]) == ["bag"]
    assert CategoryPairs(many, least=1, lift=0.06).complementary(["hat"]) == ["bag", "lamp"]


def test_one_stranger_in_a_look_brings_no_shelf_of_its_own():
    pairs = CategoryPairs(outfits(*["hat bag shoe scarf"] * 9, *["lamp rug"] * 9), least=1)
    assert pairs.complementary(["hat", "bag", "shoe", "lamp"]) == ["scarf"]
    assert pairs.complementary(["hat", "lamp"]) == ["bag", "rug", "scarf", "shoe"]  # who could tell
    assert pairs.complementary(["hat", "bag", "nothing", "known"]) == ["scarf", "shoe"]


class SameShade(SameWay):
    """An outfit model in which things go together whose chances are alike; it reads no vectors."""

    def encode(self, vectors, categories, appearance=None):
        return np.zeros((len(categories), 2), np.float32) if appearance is None else appearance


def test_of_what_has_no_chances_a_model_that_reads_them_says_nothing():
    shown = {"a": Appearance((), chances=(1.0, 0.0)), "b": Appearance((), chances=(0.0, 1.0)), "f": Appearance(())}
    complete = answers(model=SameShade(), appearances=shown)
    red = look(appearances=[Appearance((), chances=(0.9, 0.1))])
    assert [shelf.item_ids for shelf in complete.shelves(red, 3)] == [["a", "b"]]  # neither the hat c nor the shoe f
    assert [shelf.item_ids for shelf in complete.outfit(red, ["shoe", "hat"])] == [["a"]]
    for nobody_looked in (look(), look(appearances=[Appearance(())])):
        assert complete.shelves(nobody_looked, 3) == []
        assert complete.outfit(nobody_looked, ["hat"]) == []


def test_every_complementary_category_has_a_shelf_or_the_one_that_is_wanted():
    complete = answers()
    assert [shelf.category for shelf in complete.shelves(look(), 3)] == ["hat", "shoe"]
    assert [shelf.category for shelf in complete.shelves(look(), 3, category="lamp")] == ["lamp"]
    assert complete.shelves(look(), 3, category="rug") == []  # nobody sells one
    assert complete.shelves(look(category="lamp"), 3) == []  # goes with rugs alone
    few = answers(CONFIG.model_copy(update={"most_shelves": 1}))
    assert [shelf.category for shelf in few.shelves(look(), 3)] == ["hat"]
    no_hats = np.array([category != "hat" for _, category in ROWS])
    assert [shelf.category for shelf in few.shelves(look(), 3, no_hats)] == ["shoe"]  # a filter does not cost a shelf


# ------------------------------------------------------------------------------------------------------------------- products


def test_what_goes_best_comes_first_and_only_what_is_allowed():
    complete = answers()
    shelf = complete.shelf(look(50), "hat", 2)
    assert shelf.item_ids == ["c", "b"]
    assert shelf.rows.tolist() == [2, 1]
    allowed = np.array([True, True, False, True, True, True, True])
    assert complete.shelf(look(50), "hat", 2, allowed).item_ids == ["b", "a"]
    assert complete.shelf(look(50), "hat", 9, allowed[:2]).item_ids == ["b", "a"]  # rows beyond the end are not allowed
    assert len(complete.shelf(look(50), "hat", 3, np.zeros(7, bool))) == 0


def test_what_is_in_the_look_is_no_answer():
    complete = answers()
    assert complete.shelf(look(50, item_ids=["c"]), "hat", 3).item_ids == ["b", "a"]
    assert complete.shelf(look(41), "hat", 3).item_ids == ["b", "a"]  # one degree beside c: the same thing


def test_without_models_or_without_anything_given_there_is_nothing_to_say():
    assert answers(model=None).shelves(look(), 3) == []
    nothing = Look([], np.zeros((0, 2), np.float32))
    assert answers().shelves(nothing, 3) == []
    assert answers().shelves(nothing, 3, category="hat") == []


def test_what_goes_with_everything_is_marked_down():
    """All bags and the shoe ask on average for 33 degrees; a bag at 50 asks for what lies on the other side of it."""
    hub = answers(CONFIG.model_copy(update={"hubness": True}))
    plain = answers()
    places = np.flatnonzero(plain.index.category == plain.index.number_of["hat"])
    asked = at_angles(20)[0] - hub.hubs["hat"]
    np.testing.assert_allclose(hub.hubs["hat"], at_angles(10, 60, 30).mean(axis=0), atol=5e-3)
    by_hand = at_angles(0, 20, 40) @ asked
    got = hub.scores(look(20, "shoe"), "hat", places)
    np.testing.assert_allclose(got, (by_hand - by_hand.mean()) / by_hand.std(), atol=0.1)
    assert plain.shelf(look(29, "shoe"), "hat", 1).item_ids == ["b"]
    assert hub.shelf(look(29, "shoe"), "hat", 1).item_ids == ["a"]


def scene_model(space: Space = SPACE) -> SceneModel:
    """A scene asks for what points the way of its map; its heads turn nothing."""
    from corkboard.shopping.scene_network import SceneNetwork

    settings = SceneModelConfig(dim=4, hidden=8, parts="global")
    network = SceneNetwork(settings, 1, np.random.default_rng(0).normal(size=(9, 4, 2)), at_angles(0, 20, 40, 60))
    return SceneModel(settings, ["hat"], space, "trunk", network.weights())


def test_a_scene_alone_asks_by_the_scene_model_and_together_both_are_blended():
    scenes, scene = scene_model(), np.random.default_rng(1).normal(size=(2, 2, 2)).astype(np.float16)
    complete = answers(scene_model=scenes)
    alone = Look([], np.zeros((0, 2), np.float32), scene=scene)
    near = -scenes.distances(scene[None], ["hat"], complete.index.products.vectors[complete.index.category == 1])[0]
    scores = complete.scores(alone, "hat", np.flatnonzero(complete.index.category == 1))
    np.testing.assert_allclose(scores, (near - near.mean()) / near.std(), atol=1e-3)
    assert len(complete.shelf(alone, "hat", 3)) == 3
    places = np.flatnonzero(complete.index.category == 1)
    both = complete.scores(look(50, scene=scene), "hat", places)
    expected = 0.5 * scores + 0.5 * answers().scores(look(50), "hat", places)
    np.testing.assert_allclose(both, expected, atol=1e-5)
    with pytest.raises(SpaceMismatch):
        answers(scene_model=scene_model(Space("visual", "other")))


def test_parts_of_a_look_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="do not fit"):
        Look(["bag"], np.zeros((2, 2), np.float32))
    with pytest.raises(InputError, match="do not fit"):
        look(item_ids=["a", "b"])


# -------------------------------------------------------------------------------------------------------------------- spreading


def test_maximal_marginal_relevance_by_hand():
    # relevance 1, .9, .5, 0; the second looks like the first (cosine .94), the third does not (.5)
    vectors, scores = at_angles(0, 20, 60, 80), np.array([2.0, 1.8, 1.0, 0.0])
    assert diversified(scores, vectors, 3, 1.0).tolist() == [0, 1, 2]
    # second choice at .5: .45 - .47 and .25 - .25 and 0 - .09
    assert diversified(scores, vectors, 2, 0.5).tolist() == [0, 2]
    assert diversified(scores[:0], vectors[:0], 3, 0.7).tolist() == []
    assert diversified(np.ones(2), vectors[:2], 9, 0.7).tolist() == [0, 1]


def test_caps_hold_and_give_way_where_nothing_else_is_left():
    vectors, scores = np.eye(5), np.arange(5, 0, -1).astype(float)
    codes = np.array([7, 7, 7, -1, -1])
    assert diversified(scores, vectors, 4, 1.0, [(codes, 2)]).tolist() == [0, 1, 3, 4]
    assert diversified(scores, vectors, 5, 1.0, [(codes, 2)]).tolist() == [0, 1, 3, 4, 2]
    assert diversified(scores, vectors, 3, 1.0, [(codes, 2), (np.array([1, 2, 3, 4, 4]), 1)]).tolist() == [0, 1, 3]


def test_a_merchant_and_a_colour_do_not_fill_a_shelf():
    blue = {item: Appearance((Colour("blue", 0.9),)) for item in "abc"}
    rows = [("a", "hat"), ("b", "hat"), ("c", "hat"), ("d", "hat")]
    index = LookIndex.build(
        found(at_angles(40, 30, 20, 0), ["hat"] * 4, ids=list("abcd")), items(*((item, name, True) for item, name in rows))
    )
    plain = CompleteTheLook(index, SameWay(), PAIRS, CONFIG)
    by_colour = CompleteTheLook(index, SameWay(), PAIRS, CONFIG, appearances=blue)
    by_merchant = CompleteTheLook(index, SameWay(), PAIRS, CONFIG, merchants=np.array([5, 5, 5, -1]))
    assert plain.shelf(look(70), "hat", 3).item_ids == ["a", "b", "c"]
    assert by_colour.shelf(look(70), "hat", 3).item_ids == ["a", "b", "d"]
    assert by_merchant.shelf(look(70), "hat", 3).item_ids == ["a", "b", "d"]


# ---------------------------------------------------------------------------------------------------------------- whole outfits


def test_a_whole_outfit_has_one_of_each_category_and_is_the_best_of_all():
    complete, given = answers(), look(21, "rug")
    chosen = complete.outfit(given, ["hat", "bag", "rug", "shoe"])
    assert [shelf.category for shelf in chosen] == ["hat", "bag", "shoe"]
    angle = dict(zip((item for item, _ in ROWS), (0, 20, 40, 10, 60, 30, 5), strict=True))

    def worth(hat: str, bag: str) -> float:
        all_of = [21, angle[hat], angle[bag], 30]
        return sum(np.cos(np.deg2rad(a - b)) for k, a in enumerate(all_of) for b in all_of[:k])

    best = max(((hat, bag) for hat in "abc" for bag in "de" if hat != "b"), key=lambda pair: worth(*pair))
    assert tuple(shelf.item_ids[0] for shelf in chosen)[:2] == best  # b is what is given: 1 degree beside it
    assert answers(model=None).outfit(given, ["hat"]) == []


# -------------------------------------------------------------------------------------------------------------------- reasons


def seen(colour: str = "", share: float = 0.8, **guesses: tuple[str, float]) -> Appearance:
    return Appearance((Colour(colour, share),) if colour else (), {name: Guess(*guess) for name, guess in guesses.items()})


@pytest.mark.parametrize(
    ("product", "other", "reason"),
    [
        (seen("blue"), seen("blue"), "Blue, as the bag"),
        (seen("blue"), seen("red"), ""),
        (seen("red"), seen("green"), ""),  # five places apart on the circle
        (seen("red"), seen("sky blue"), ""),  # seven
        (seen("coral"), seen("sky blue"), "Coral, the opposite of the sky blue bag"),
        (seen("blue", 0.1), seen("blue"), ""),  # hardly any of it is blue
        (seen(pattern=("plain", 0.9)), seen(pattern=("striped", 0.9)), "Plain beside the striped bag"),
        (seen(pattern=("dotted", 0.9)), seen(pattern=("dotted", 0.9)), "Dotted, as the bag"),
        (seen(pattern=("plain", 0.9)), seen(pattern=("plain", 0.9)), ""),
        (seen(pattern=("dotted", 0.9)), seen(pattern=("striped", 0.9)), ""),
        (seen(pattern=("plain", 0.5)), seen(pattern=("striped", 0.9)), ""),  # not sure enough
        (seen("blue", style=("boho", 0.9)), seen("blue", style=("boho", 0.9)), "Blue, as the bag; boho, as the bag"),
        (seen(), seen("blue"), ""),
    ],
)
def test_reasons_say_what_agrees_and_was_measured_with_confidence(product, other, reason):
    assert reason_of(product, [other], ["bag"], CONFIG) == reason


def test_a_hue_is_spoken_of_before_a_neutral_and_two_things_at_most():
    mine = Appearance((Colour("white", 0.5), Colour("red", 0.4)), {"pattern": Guess("plain", 0.9), "style": Guess("boho", 0.9)})
    parts = [seen("white", pattern=("striped", 0.9)), seen("red", style=("boho", 0.9))]
    assert reason_of(mine, parts, ["hat", "shoe"], CONFIG) == "Red, as the shoe; plain beside the striped hat"


def test_where_nothing_agrees_for_sure_the_reason_is_what_outfits_show():
    shelf = answers().shelf(look(50), "hat", 1)
    assert shelf.reasons == ["Together with bag in 2 outfits"]
    blue = {"c": seen("blue")}
    agreed = answers(appearances=blue).shelf(look(50, appearances=[seen("blue")], names=["bag you saved"]), "hat", 1)
    assert agreed.reasons == ["Blue, as the bag you saved"]
    scene = np.ones((2, 2, 2), np.float16)
    alone = answers(scene_model=scene_model()).shelf(Look([], np.zeros((0, 2), np.float32), scene=scene), "hat", 1)
    assert alone.reasons == ["Goes with the scene"]
    assert answers().shelf(look(50), "lamp", 1).reasons == ["Goes with the look"]  # there is no scene, and no outfit either
