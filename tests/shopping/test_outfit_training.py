"""Training of the outfit model: pairs and masks by hand, and a rule of two categories that only a conditioned model can learn."""

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.errors import InputError
from corkboard.learning.config import TrainingConfig
from corkboard.metrics.outfits import FITB, Outfits, outfit_figures
from corkboard.shopping.outfit_config import OutfitModelConfig
from corkboard.shopping.outfit_training import OutfitTraining, model_scorer, ordered_pairs, train_outfits

KINDS = ("hat", "bag", "shoe")
SHORT = TrainingConfig(steps=60, learning_rate=1e-2, warmup_steps=5, validate_every=60)
SMALL = OutfitModelConfig(dim=16, hidden=(32,), category_dim=4, dropout=0.0, input_dropout=0.0, batch=64, training=SHORT)


def ruled(count=240, seed=0):
    """Items are points of a circle; hats go with what is there too, but shoes with bags on the other side."""
    rng = np.random.default_rng(seed)
    rows, vectors = [], []
    for outfit in range(count):
        angle = rng.random() * 2 * np.pi
        for kind, turn in (("hat", 0.0), ("bag", 0.0), ("shoe", np.pi)) if outfit % 2 else (("bag", 0.0), ("shoe", np.pi)):
            at = angle + turn + 0.1 * rng.normal()
            rows.append((f"o{outfit}", f"i{len(rows)}", kind))
            vectors.append([np.cos(at), np.sin(at)])
    frame = pl.DataFrame(rows, schema=["outfit_id", "item_id", "category"], orient="row")
    return frame, EmbeddingTable(frame["item_id"].to_list(), np.array(vectors, np.float32), Space("visual", "1"))


def test_pairs_go_both_ways_between_categories_and_large_outfits_are_capped():
    outfits = Outfits.of(list("aaaabb"), np.array([0, 1, 2, 3, 4, 5]))
    category = np.array([0, 1, 2, 0, 1, 2])
    pairs, chance = ordered_pairs(outfits, category, 5)
    assert {tuple(pair) for pair in pairs[:10].tolist()} == {
        *((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)),
    }
    assert pairs[10:].tolist() == [[4, 5], [5, 4]]
    assert chance.tolist() == [0.5] * 10 + [1.0, 1.0]


def a_run(**changes):
    rows = [("a", "h", "hat"), ("a", "b", "bag"), ("b", "h", "hat"), ("b", "c", "bag"), ("c", "g", "hat"), ("c", "d", "bag")]
    frame = pl.DataFrame(rows, schema=["outfit_id", "item_id", "category"], orient="row")
    table = EmbeddingTable(list("hbcgd"), np.eye(5, dtype=np.float32), Space("visual", "1"))
    return OutfitTraining(frame, table, None, SMALL.model_copy(update={"validation_share": 0.0, **changes}), 0)


def test_only_the_wanted_category_is_compared_and_no_known_companion():
    run = a_run()
    row = {name: number for number, name in enumerate(run.items.ids)}
    pairs = np.array([[row["h"], row["b"]], [row["g"], row["d"]], [row["b"], row["h"]], [row["h"], row["c"]]])
    compared = run.compared(pairs)
    assert compared[0].tolist() == [True, True, False, False]  # c stands beside h elsewhere, h is of another category
    assert compared[1].tolist() == [True, True, False, True]
    assert compared[2].tolist() == [False, False, True, False]
    assert a_run(negatives="any").compared(pairs)[1].tolist() == [True, True, True, True]


def test_negatives_of_a_triplet_are_of_the_category_and_never_a_companion():
    run = a_run(loss="triplet")
    row = {name: number for number, name in enumerate(run.items.ids)}
    negatives = run.drawn_negatives(np.array([[row["h"], row["b"]]] * 50), np.random.default_rng(0))
    assert set(negatives.ravel().tolist()) == {row["b"], row["d"]}
    anything = a_run(negatives="any").drawn_negatives(np.array([[row["h"], row["b"]]] * 50), np.random.default_rng(0))
    assert set(anything.ravel().tolist()) == {row["b"], row["d"], row["g"]}


def fitb_of(**changes):
    learned, table = ruled()
    model = train_outfits(learned, table, None, SMALL.model_copy(update=changes), 0)
    asked, others = ruled(120, seed=1)
    names = asked["category"].to_list()
    outfits = Outfits.of(asked["outfit_id"].to_list(), np.arange(len(asked)))
    score = model_scorer(model, {"visual": others.vectors}, names)
    return outfit_figures(score, outfits, model.category_rows(names), 0, pools=False)[FITB].value


def test_what_goes_with_what_is_learned_of_items_never_seen():
    assert fitb_of() > 0.8
    assert fitb_of(loss="triplet") > 0.7


def test_the_same_seed_gives_the_same_model():
    learned, table = ruled(60)
    quick = SMALL.model_copy(update={"training": SHORT.model_copy(update={"steps": 10})})
    assert train_outfits(learned, table, None, quick, 3).space == train_outfits(learned, table, None, quick, 3).space
    assert train_outfits(learned, table, None, quick, 3).space != train_outfits(learned, table, None, quick, 4).space


def test_items_of_either_table_are_learned_from_and_unknown_ones_left_out():
    learned, table = ruled(60)
    chances = EmbeddingTable(["i0", "elsewhere"], np.ones((2, 3), np.float32), Space("appearance", "1"))
    more = pl.concat([learned, pl.DataFrame({"outfit_id": ["o0", "o0"], "item_id": ["elsewhere", "nowhere"], "category": [None, "hat"]})])
    quick = SMALL.model_copy(update={"training": SHORT.model_copy(update={"steps": 5})})
    run = OutfitTraining(more, table, chances, quick, 0)
    model = run.run()
    assert run.items.ids[-1] == "elsewhere"
    assert len(run.items.ids) == len(table) + 1
    assert run.items.category[-1] == len(run.items.categories)
    assert model.reads == {"visual": table.space, "appearance": Space("appearance", "1")}


def test_nothing_to_learn_from_is_no_model():
    _, table = ruled(4)
    alone = pl.DataFrame({"outfit_id": ["a", "b"], "item_id": ["i0", "i1"], "category": ["hat", "bag"]})
    assert train_outfits(alone, table, None, SMALL) is None
    assert train_outfits(alone.clear(), table, None, SMALL) is None
    with pytest.raises(InputError, match="lack columns"):
        train_outfits(alone.drop("category"), table, None, SMALL)
    with pytest.raises(InputError, match="nothing to read"):
        train_outfits(alone, None, None, SMALL)
