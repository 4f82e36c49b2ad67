"""One space for queries, pins and products."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.artifacts import EmbeddingTable, Space, load_artifact, write_artifact
from corkboard.embeddings.enrichment import ENRICHMENT_SCHEMA
from corkboard.embeddings.omni_config import OmniSearchSageConfig
from corkboard.embeddings.omnisearchsage import OmniItems, OmniSearchSage, prefix_rows
from corkboard.embeddings.omnisearchsage_network import ReadItems, unit_prefix
from corkboard.embeddings.omnisearchsage_pairs import OMNI_PAIR_SCHEMA, following_queries, omni_pairs
from corkboard.embeddings.omnisearchsage_training import OmniTraining, owned, train_omnisearchsage
from corkboard.errors import ArtifactError, ConfigError, InputError, LeakError, NotFound, SpaceMismatch
from corkboard.learning.hash_embedding import Bags
from corkboard.seeds import generator
from tests.lake.rows import DAY, HOUR, T0, action, impression, item, lake_of, undo

GRAPH, VISUAL = Space("multibisage", "v1"), Space("visual", "v1")
COLOURS = ["red", "grey", "blue", "green"]
THINGS = ["vase", "lamp", "chair", "carpet"]
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
IDS = [f"i{k}" for k in range(len(TITLES))]
CUT = T0 + 2 * DAY


def small(steps: int = 3, **changes: object) -> OmniSearchSageConfig:
    given = {
        "dim": 12,
        "prefixes": (4,),
        "query": {"width": 16, "table_rows": 512, "text": {"min_count": 1}},
        "text": {"min_count": 1},
        "text_width": 16,
        "table_rows": 512,
        "hidden": 24,
        "batch": 40,
        "pool": 8,
        "softmax": {"sketch_width": 256},
        "training": {"steps": steps, "warmup_steps": 1, "learning_rate": 0.01, "validate_every": max(steps // 3, 1)},
    }
    return OmniSearchSageConfig.model_validate({**given, **changes})


def table(dim: int, space: Space, ids: list[str] = IDS) -> EmbeddingTable:
    vectors = generator(dim, "tests", str(space)).standard_normal((len(ids), dim)).astype(np.float32)
    return EmbeddingTable(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), space)


FROZEN = table(6, GRAPH)


def frame(n: int = len(IDS), **columns: list) -> pl.DataFrame:
    made = {"item_id": IDS[:n], "title": TITLES[:n], "kind": ["product" if k % 2 else "pin" for k in range(n)]}
    return pl.DataFrame({**made, **columns})


def texts_of(boards: dict[str, list[str]], queries: dict[str, list[str]]) -> pl.DataFrame:
    ids = sorted({*boards, *queries})
    columns = {"item_id": ids, "boards": [boards.get(i, []) for i in ids], "queries": [queries.get(i, []) for i in ids]}
    return pl.DataFrame(columns, schema=ENRICHMENT_SCHEMA)


def pairs_of(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    columns = {name: [row[k] for row in rows] for k, name in enumerate(("task", "query", "target"))}
    return pl.DataFrame({**columns, "time_ms": 0, "weight": 1.0, "user": "ann"}, schema=OMNI_PAIR_SCHEMA)


def everything() -> pl.DataFrame:
    """Every item by its title, every second one bought, and a thing after a colour."""
    rows = [("product" if k % 2 else "pin", title, IDS[k]) for k, title in enumerate(TITLES)]
    rows += [("offsite", title, IDS[k]) for k, title in enumerate(TITLES) if k % 2]
    return pairs_of(rows + [("query", colour, thing) for colour in COLOURS for thing in THINGS])


def items(config: OmniSearchSageConfig | None = None, enrichment: pl.DataFrame | None = None) -> OmniItems:
    return OmniItems.of(frame(), [FROZEN, table(5, VISUAL)], enrichment, config or small())


@pytest.fixture(scope="module")
def trained() -> OmniSearchSage:
    return train_omnisearchsage(everything(), items(), [FROZEN], small(), seed=3)


# -------------------------------------------------------------------------------------------------------------------- items


def test_texts_of_an_item_are_its_own_then_boards_then_queries():
    attributes = [{"name": "Material", "value": "Oak!"}, {"name": "complement", "value": "i7"}]
    given = frame(2, description=["For  the HALL", None], category=["home", None], attributes=[attributes, None])
    enrichment = texts_of({"i0": ["cosy corner"]}, {"i0": ["crimson jar"], "i1": ["old light"]})
    made = OmniItems.of(given, [FROZEN], enrichment)
    assert made.texts == ["red vase", "for the hall", "home", "oak", "cosy corner", "crimson jar", "red lamp", "old light"]
    assert made.offsets.tolist() == [0, 6, 8]
    assert made.asked.tolist() == [False] * 5 + [True, False, True]
    assert made.titles == ["red vase", "red lamp"]
    chosen = OmniItems.of(given, [FROZEN], enrichment, OmniSearchSageConfig(fields=("title", "boards")))
    assert chosen.texts == ["red vase", "cosy corner", "red lamp"]
    assert OmniItems.of(given.select("item_id"), [FROZEN]).texts == []


def test_items_are_taken_with_their_texts_and_without_some():
    read = ReadItems(Bags(np.arange(6), np.array([0, 1, 3, 4, 6])), np.array([0, 2, 2, 4]), np.array([[0.0], [1.0], [0.0]], np.float32))
    assert read.known.tolist() == [True, True, True]
    assert (read.tokens.ids.tolist(), read.tokens.offsets.tolist()) == ([0, 1, 2, 3, 4, 5], [0, 3, 3, 6])
    taken = read.take(np.array([2, 0, 1]), kept=np.array([True, False, False, True]))
    assert (taken.tokens.ids.tolist(), taken.tokens.offsets.tolist()) == ([4, 5, 0], [0, 2, 3, 3])
    assert taken.features.tolist() == [[0], [0], [1]]
    nothing = read.take(np.array([0, 1]), kept=np.zeros(4, bool))
    assert nothing.known.tolist() == [False, True]


# ------------------------------------------------------------------------------------------------------------------ vectors


def test_queries_and_items_are_unit_vectors_of_one_width(trained):
    for vectors in (trained.encode_queries(TITLES), trained.encode_items(items())):
        assert (vectors.shape, vectors.dtype) == ((16, 12), np.float32)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert len(np.unique(vectors.round(5), axis=0)) == 16
    assert trained.encode_queries([]).shape == (0, 12)
    assert trained.encode_items(OmniItems.of(frame(0), [FROZEN, table(5, VISUAL)])).shape == (0, 12)


def test_what_says_nothing_has_the_zero_vector_and_a_part_that_is_missing_is_no_harm(trained):
    bare = pl.DataFrame({"item_id": ["new", "i0", "other"], "title": [None, None, "red vase"], "kind": ["pin"] * 3})
    vectors = trained.encode_items(OmniItems.of(bare, [FROZEN, table(5, VISUAL)]))
    assert np.linalg.norm(vectors, axis=1).round(5).tolist() == [0, 1, 1]
    assert not trained.encode_queries(["", None, "👗"]).any()


def test_an_item_is_read_the_same_whatever_stands_beside_it(trained):
    enrichment = texts_of({"i1": ["cosy corner"]}, {"i2": ["lamps"]})
    together = trained.encode_items(items(enrichment=enrichment))
    backwards = trained.encode_items(OmniItems.of(frame()[::-1], [FROZEN, table(5, VISUAL)], enrichment))[::-1]
    assert np.allclose(together, backwards, atol=1e-5)
    plain = trained.encode_items(items())
    assert np.flatnonzero(np.abs(together - plain).max(axis=1) > 1e-5).tolist() == [2]  # of "cosy corner" no letters are known


def test_features_of_other_spaces_or_in_another_order_are_refused(trained):
    for tables in ([FROZEN], [table(5, VISUAL), FROZEN], [FROZEN, table(5, Space("visual", "v2"))]):
        with pytest.raises(SpaceMismatch):
            trained.encode_items(OmniItems.of(frame(), tables))


# ----------------------------------------------------------------------------------------------------------------- prefixes


@pytest.mark.parametrize("dim", [1, 4, 7, 12])
def test_a_prefix_is_the_first_numbers_at_length_1(trained, dim):
    short = trained.prefix(dim)
    assert short.dim == dim
    assert np.allclose(short.encode_queries(TITLES[:3]), prefix_rows(trained.encode_queries(TITLES[:3]), dim), atol=1e-5)
    whole = trained.table(items())
    assert np.allclose(short.encode_items(items()), trained.truncated(whole, dim).vectors, atol=1e-5)
    assert trained.truncated(whole, dim).space == short.space
    assert (short.space == trained.space) == (dim == 12)


def test_prefixes_by_hand_and_their_bounds(trained):
    rows = np.array([[3.0, 4.0, 12.0], [0.0, 0.0, 1.0]], np.float32)
    assert np.allclose(prefix_rows(rows, 2), [[0.6, 0.8], [0, 0]])
    assert np.allclose(unit_prefix(torch.from_numpy(rows), 2).numpy(), prefix_rows(rows, 2))
    for dim in (0, 13):
        with pytest.raises(InputError):
            trained.prefix(dim)
    with pytest.raises(SpaceMismatch):
        trained.truncated(FROZEN, 4)
    with pytest.raises(ConfigError, match="prefix"):
        train_omnisearchsage(everything(), items(), config=small(prefixes=(13,)))


# ------------------------------------------------------------------------------------------------------------- compatibility


def test_queries_are_written_into_a_frozen_space_by_the_interface_of_searchsage(trained):
    other = trained.compat(GRAPH)
    assert other.space == GRAPH
    assert other.own_space.name == "searchsage"
    assert other.scores(TITLES, FROZEN).shape == (16, 16)
    assert np.allclose(np.linalg.norm(other.encode(TITLES), axis=1), 1, atol=1e-5)
    with pytest.raises(SpaceMismatch):
        other.scores(["red vase"], table(6, Space("multibisage", "v2")))
    with pytest.raises(NotFound):
        trained.compat(VISUAL)


def test_by_identity_the_frozen_space_is_read_with_the_first_numbers():
    model = train_omnisearchsage(everything(), items(), [FROZEN], small(compat="identity"))
    assert np.allclose(model.compat(GRAPH).encode(TITLES), prefix_rows(model.encode_queries(TITLES), 6), atol=1e-5)
    assert np.allclose(model.prefix(6).compat(GRAPH).encode(TITLES), model.prefix(6).encode_queries(TITLES), atol=1e-5)
    assert model.prefix(5).frozen == ()
    with pytest.raises(ConfigError):
        train_omnisearchsage(everything(), items(), [table(13, GRAPH)], small(compat="identity"))


def test_frozen_spaces_that_lack_items_and_several_of_them():
    second = table(4, VISUAL, IDS[::2])
    nobody = table(4, Space("itemsage", "v1"), ["elsewhere"])
    model = train_omnisearchsage(everything(), items(), [FROZEN, second, nobody], small())
    assert [model.compat(space).dim for space in model.frozen] == [6, 4, 4]


def test_training_learns_both_spaces():
    config = small(60, validation_share=0, token_dropout=0, shares={"query": 0})
    model = train_omnisearchsage(everything(), items(config), [FROZEN], config)
    own = model.encode_queries(TITLES) @ model.encode_items(items(config)).T
    assert (own.argmax(axis=1) == np.arange(16)).mean() > 0.8
    assert (model.compat(GRAPH).scores(TITLES, FROZEN).argmax(axis=1) == np.arange(16)).mean() > 0.8


# ----------------------------------------------------------------------------------------------------------------- artefacts


@pytest.mark.parametrize("compat", ["linear", "identity"])
def test_a_kept_model_says_the_same(tmp_path, compat):
    model = train_omnisearchsage(everything(), items(), [FROZEN], small(2, compat=compat))
    makes, requires = [model.space], sorted({*model.requires, *model.frozen})
    written = write_artifact(tmp_path, "omni", "a", tensors=model.tensors(), config=model.config, makes=makes, requires=requires)
    again = OmniSearchSage.from_artifact(load_artifact(written.path))
    assert again.space == model.space
    assert np.array_equal(again.encode_queries(TITLES), model.encode_queries(TITLES))
    assert np.array_equal(again.encode_items(items()), model.encode_items(items()))
    assert again.compat(GRAPH).own_space == model.compat(GRAPH).own_space
    assert np.array_equal(again.compat(GRAPH).encode(TITLES), model.compat(GRAPH).encode(TITLES))
    assert again.prefix(4).space == model.prefix(4).space


def test_an_artefact_of_something_else_is_refused(tmp_path):
    other = write_artifact(tmp_path, "searchsage", "a", config={"kind": "searchsage"})
    with pytest.raises(ArtifactError, match="joint model"):
        OmniSearchSage.from_artifact(other)


def test_a_run_is_a_function_of_its_seed(trained):
    again = train_omnisearchsage(everything(), items(), [FROZEN], small(), seed=3)
    assert again.space == trained.space
    assert train_omnisearchsage(everything(), items(), [FROZEN], small(), seed=4).space != trained.space


def test_torch_is_not_loaded_by_the_import():
    code = "import sys; import corkboard.embeddings.omnisearchsage, corkboard.embeddings.enrichment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------------------------------------------------------ training


def test_a_batch_is_split_by_the_shares_of_the_tasks_that_there_are():
    training = OmniTraining(everything(), items(), [], small(validation_share=0), 0)
    assert training._counts() == {"pin": 16, "product": 8, "query": 4, "offsite": 4, "title": 8}
    fewer = OmniTraining(everything(), items(), [], small(validation_share=0, shares={"title": 0, "offsite": 0, "query": 0}), 0)
    assert fewer._counts() == {"pin": 27, "product": 13}
    only = OmniTraining(pairs_of([("pin", "red vase", "i0")]), items(), [], small(validation_share=0, shares={"title": 0}), 0)
    assert only._counts() == {"pin": 40}


def test_pairs_that_cannot_be_learned_from_are_left_out():
    bare = frame(4, title=["red vase", None, None, "blue lamp"])
    known = table(6, GRAPH, ["i1"])
    rows = [
        ("pin", "a b", "i0"),
        ("pin", "a b", "i1"),
        ("pin", "a b", "i2"),
        ("pin", "a b", "gone"),
        ("pin", "❤", "i0"),
        ("query", "a b", ""),
    ]
    training = OmniTraining(pairs_of(rows), OmniItems.of(bare, [known]), [], small(validation_share=0), 0)
    assert training.corpus.tolist() == [0, 1, 3]
    assert training.tasks["pin"].ends[:, 1].tolist() == [0, 1]
    assert training.tasks["title"].ends[:, 1].tolist() == [0, 3]
    assert "query" not in training.tasks


def test_no_positive_of_a_query_is_a_negative_of_it_whatever_the_task():
    rows = [("pin", "vase", "i0"), ("offsite", "vase", "i5"), ("pin", "lamp", "i1"), ("query", "vase", "lamp")]
    training = OmniTraining(pairs_of(rows), items(), [], small(validation_share=0, shares={"title": 0}), 0)
    vase, lamp = training.text_of["vase"], training.text_of["lamp"]
    pin, query = training.tasks["pin"], training.tasks["query"]
    assert owned(pin.own, np.array([vase, lamp]), np.array([0, 1, 2, 5])).tolist() == [
        [True, False, False, True],
        [False, True, False, False],
    ]
    # a query is as near to itself as can be, and must not be pushed away for it
    assert owned(query.own, np.array([vase, lamp]), np.array(sorted([vase, lamp]))).tolist() == [[True, True], [True, False]]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=12), st.sets(st.integers(0, 8), min_size=1))
def test_owned_is_what_a_plain_loop_finds(pairs: list[tuple[int, int]], distinct: set[int]) -> None:
    ends = np.unique(np.array(pairs), axis=0)
    own = Bags(ends[:, 1], np.searchsorted(ends[:, 0], np.arange(5)))
    columns = sorted(distinct)
    expected = [[(text, column) in pairs for column in columns] for text in (2, 0, 3, 2)]
    assert owned(own, np.array([2, 0, 3, 2]), np.array(columns)).tolist() == expected


def test_a_query_that_an_item_is_asked_by_does_not_stand_in_its_text_meanwhile():
    enrichment = texts_of({}, {"i0": ["vase", "jar"], "i1": ["vase"]})
    pairs = pairs_of([("pin", "vase", "i0"), ("pin", "jar", "i3"), ("pin", "bowl", "i5")])
    training = OmniTraining(pairs, items(enrichment=enrichment), [], small(validation_share=0, shares={"title": 0}), 0)
    said = [f"{IDS[owner]} {text}" for owner, text in zip(training.owner, training.items.texts, strict=True)]
    hidden = training._positive(training.tasks["pin"].ends)
    assert [text for text, hide in zip(said, hidden, strict=True) if hide] == ["i0 vase"]
    assert training.open.all()


def test_queries_of_the_validation_stand_in_no_text_of_training():
    queries = [f"query{k}" for k in range(40)]
    enrichment = texts_of({"i0": queries[:5]}, {"i0": queries})
    training = OmniTraining(pairs_of([("pin", q, "i0") for q in queries]), items(enrichment=enrichment), [], small(validation_share=0.5), 0)
    validated = {training.texts[row] for row in training.validated[:, 0]}
    assert 5 < len(validated) < 35
    shut = {text for text, kept in zip(training.items.texts, training.open, strict=True) if not kept}
    assert shut == validated
    assert training.open[training.items.texts.index("query0")]  # as the title of a board it stays
    learned = {training.texts[row] for row in training.tasks["pin"].ends[:, 0]}
    assert learned == set(queries) - validated


def test_prefixes_count_with_their_weight():
    training = OmniTraining(everything(), items(), [], small(0, validation_share=0, shares={"query": 0}), 0)
    training.run()

    def loss(**changes: object) -> float:
        training.config = small(0, validation_share=0, shares={"query": 0}, **changes)
        for softmax in training.losses.values():
            softmax.seen.counts[:] = 0
        with torch.no_grad():
            return float(training._loss(generator(0, "tests", "loss")))

    training.network.eval()
    alone, whole, short = loss(prefix_weight=0), loss(prefixes=(12,), prefix_weight=1), loss(prefixes=(4,), prefix_weight=0.5)
    assert whole == pytest.approx(alone, rel=1e-4)  # the prefix that is the whole vector counts once
    assert loss(prefixes=(4,), prefix_weight=1) - alone == pytest.approx(2 * (short - alone), rel=1e-3)


def test_without_pairs_or_texts_there_is_still_a_model():
    nothing = OmniItems.of(frame().select("item_id"), [FROZEN])
    model = train_omnisearchsage(pairs_of([]), nothing, [FROZEN], small())
    assert not model.encode_queries(["red vase"]).any()
    assert np.allclose(np.linalg.norm(model.encode_items(nothing), axis=1), 1, atol=1e-5)
    nobody = OmniItems.of(frame(0), [FROZEN])
    assert train_omnisearchsage(pairs_of([]), nobody, [], small()).encode_items(nobody).shape == (0, 12)


# --------------------------------------------------------------------------------------------------------------------- pairs


def seen(event_id: str, query: str, minutes: float, user_id: str | None = "ann", **more) -> dict:
    return impression(event_id, int(T0 + minutes * 60_000), ["p"], user_id=user_id, surface="search", query=query, **more)


def test_the_next_query_of_a_person_within_minutes_makes_a_pair(tmp_path):
    pages = [
        seen("1", "Vase", 0),
        seen("2", "vase!", 4),  # the same search again
        seen("3", "red vase", 5),
        seen("4", "lamp", 15.1),  # too late
        seen("5", "chair", 20),
        seen("6", "lamp", 3, "bob"),
        seen("7", "❤", 16),
        seen("8", "chair", 4, None, session_id="s"),
    ]
    clicks = [action("c", T0 + 21 * 60_000, "click", "p", "ann", surface="search", query="oak chair")]
    clicks += [action("d", T0 + 22 * 60_000, "click", "p", "ann", surface="home", query="home")]
    lake = lake_of(tmp_path, impressions=pages, actions=clicks)
    found = following_queries(lake, CUT, 10).select("query", "target", (pl.col("time_ms") - T0) // 60_000, "user").rows()
    assert found == [("vase", "red vase", 5, "ann"), ("lamp", "chair", 20, "ann"), ("chair", "oak chair", 21, "ann")]
    assert following_queries(lake, T0 + 20 * 60_000, 10)["target"].to_list() == ["red vase"]
    assert len(following_queries(lake_of(tmp_path / "b"), CUT, 10)) == 0


def found_by(event_id: str, kind: str, item_id: str, hours: float = 1, **more) -> dict:
    return action(event_id, int(T0 + hours * HOUR), kind, item_id, surface="search", query="Red vase", **more)


def test_pairs_of_every_task(tmp_path):
    catalogue = [item("e1", T0, "pin"), item("e2", T0, "product", kind="product")]
    rows = [
        found_by("1", "save", "pin"),
        found_by("2", "click", "product"),
        found_by("3", "checkout", "product", offsite=True),
        found_by("4", "add_to_cart", "product", 2),
        found_by("5", "add_to_cart", "pin"),
        found_by("6", "long_click", "product", 3),
        undo("7", T0 + 4 * HOUR, "6"),
        found_by("8", "save", "product", 48),
        action("9", T0 + 3 * HOUR, "click", "pin", surface="home"),
    ]
    lake = lake_of(tmp_path, items=catalogue, actions=rows, impressions=[seen("a", "jar", 0), seen("b", "pot", 1)])
    pairs = omni_pairs(lake, CUT)
    assert dict(pairs.schema) == OMNI_PAIR_SCHEMA
    told = pairs.select("task", "query", "target", pl.col("weight").cast(pl.Float64).round(2)).rows()
    assert told[:2] == [("pin", "red vase", "pin", 1.5), ("product", "red vase", "product", 0.6)]
    assert told[2:] == [("query", "jar", "pot", 1.0), *[("offsite", "red vase", "product", 1.5)] * 2]
    with pytest.raises(LeakError):
        omni_pairs(lake.until(CUT), CUT + 1)
    assert dict(omni_pairs(lake_of(tmp_path / "empty"), CUT).schema) == OMNI_PAIR_SCHEMA


def test_pins_and_products_have_caps_of_their_own(tmp_path):
    catalogue = [item("e1", T0, "pin"), item("e2", T0, "product", kind="product")]
    rows = [found_by(f"{k}{name}", "click", name, k / 2) for k in range(20) for name in ("pin", "product")]
    config = OmniSearchSageConfig(cap_per_pin=3, cap_per_product=7)
    pairs = omni_pairs(lake_of(tmp_path, items=catalogue, actions=rows), CUT, config, seed=1)
    assert sorted(pairs["task"].value_counts().rows()) == [("pin", 3), ("product", 7)]
