"""Text into the frozen space of items."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corkboard.artifacts import EmbeddingTable, Space, load_artifact, write_artifact
from corkboard.embeddings.config import SearchSageConfig
from corkboard.embeddings.query_pairs import QUERY_PAIR_SCHEMA
from corkboard.embeddings.searchsage import SearchSage
from corkboard.embeddings.searchsage_network import NGramEncoder, Pieces, load_text_encoder, start_of
from corkboard.embeddings.searchsage_training import SearchSageTraining, train_searchsage, triplet
from corkboard.errors import ArtifactError, ConfigError, NotFound, SpaceMismatch
from corkboard.learning.config import TextConfig, TrainingConfig
from corkboard.learning.hash_embedding import Bags
from corkboard.seeds import generator

SPACE = Space("multibisage", "v1")
COLOURS = ["red", "grey", "blue", "green", "black", "white", "violet", "orange"]
THINGS = ["vase", "lamp", "chair", "carpet", "kettle", "mirror", "pillow", "candle"]
PRODUCTS = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
SCRIPTS = ["röd vas", "赤い花瓶", "مزهرية حمراء", "красная ваза", "लाल फूलदान", "แจกันสีแดง", "빨간 꽃병", "κόκκινο βάζο"]


def small(steps: int = 4, **changes: object) -> SearchSageConfig:
    given = {
        "width": 16,
        "table_rows": 512,
        "batch": 32,
        "pool": 16,
        "text": TextConfig(min_count=1),
        "training": TrainingConfig(steps=steps, warmup_steps=1, learning_rate=0.01, validate_every=max(steps // 3, 1)),
    }
    return SearchSageConfig.model_validate({**given, **changes})


def items(n: int = len(PRODUCTS), dim: int = 12, seed: int = 0) -> EmbeddingTable:
    vectors = generator(seed, "tests", "items").standard_normal((n, dim)).astype(np.float32)
    return EmbeddingTable([f"i{k}" for k in range(n)], vectors / np.linalg.norm(vectors, axis=1, keepdims=True), SPACE)


def pairs_of(queries: list[str], rows: list[int], weights: list[float] | None = None) -> pl.DataFrame:
    n = len(queries)
    columns = {"query": queries, "item_id": [f"i{row}" for row in rows], "time_ms": [0] * n, "weight": weights or [1.0] * n}
    return pl.DataFrame({**columns, "user": ["ann"] * n}, schema=QUERY_PAIR_SCHEMA)


def titles_of(titles: list[str | None]) -> pl.DataFrame:
    schema = {"item_id": pl.String, "title": pl.String}
    return pl.DataFrame({"item_id": [f"i{k}" for k in range(len(titles))], "title": titles}, schema=schema)


EVERYTHING = pairs_of(PRODUCTS, list(range(len(PRODUCTS))))
NOTHING = pairs_of([], [])


@pytest.fixture(scope="module")
def trained() -> SearchSage:
    """A few steps on all products, and on texts of other scripts."""
    queries = [*PRODUCTS, *SCRIPTS]
    return train_searchsage(pairs_of(queries, [k % 64 for k in range(len(queries))]), items(), config=small(validation_share=0), seed=3)


# ----------------------------------------------------------------------------------------------------------------- encode


@pytest.mark.parametrize("encoder", ["words", "bag"])
def test_vectors_have_the_width_of_the_items_and_length_1(encoder):
    model = train_searchsage(EVERYTHING, items(), config=small(encoder=encoder))
    vectors = model.encode(PRODUCTS)
    assert (vectors.shape, vectors.dtype) == ((64, 12), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len(np.unique(vectors.round(5), axis=0)) == 64
    assert model.encode([]).shape == (0, 12)


WORDS = st.lists(st.sampled_from([*COLOURS, *THINGS, "nowhere", "gr", "ba"]), max_size=8).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=6), WORDS)
def test_neighbours_in_a_batch_and_padding_change_nothing(trained: SearchSage, texts: list[str], longest: str) -> None:
    together = trained.encode([*texts, f"{longest} red vase lamp chair carpet kettle mirror"])[:-1]
    assert np.allclose(together, np.concatenate([trained.encode([text]) for text in texts]), atol=1e-5)


def test_case_spaces_and_punctuation_change_nothing_and_the_order_of_words_does(trained):
    first, second, turned = trained.encode(["red vase lamp", "  RED,\tvase\n(Lamp)! ", "lamp vase red"])
    assert np.array_equal(first, second)
    bag = train_searchsage(EVERYTHING, items(), config=small(encoder="bag", text=TextConfig(max_bigrams_known=1, min_count=40)))
    assert np.allclose(*bag.encode(["red vase lamp", "lamp vase red"]), atol=1e-6)  # of a bag without bigrams
    assert not np.allclose(first, turned, atol=1e-3)


def test_what_says_nothing_has_the_zero_vector(trained):
    vectors = trained.encode(["", None, " \t", "👗🔥", "'; -- \" * ( )", "ΩΩ", "red vase"])
    assert not vectors[:6].any()
    assert np.isfinite(vectors).all()
    assert vectors[6].any()


def test_unknown_words_are_read_by_the_known_ones_beside_them_and_by_their_letters(trained):
    plain, beside, mistyped, other = trained.encode(["violet carpet", "qqq violet carpet", "violet carpets", "grey kettle"])
    assert plain @ beside > plain @ other
    assert plain @ mistyped > plain @ other
    assert trained.encode(["candl"]).any()  # the word is unknown, its trigrams are not


def test_every_script_is_read(trained):
    vectors = trained.encode(SCRIPTS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len(np.unique(vectors.round(4), axis=0)) == len(SCRIPTS)


def test_of_a_hundred_kilobytes_the_beginning_is_read(trained):
    beginning = "red vase " * 16
    many, one, markup = beginning + "lamp " * 20_000, "ω" * 100_000, "&amp;<b>" * 12_500
    found = trained.encode([many, one, markup, "赤" * 33_000, beginning])
    assert np.allclose(found[0], found[4], atol=1e-5)
    assert not found[1].any()
    assert np.isfinite(found).all()


def test_a_word_is_the_mean_of_its_known_ngrams():
    config = small()
    encoder = NGramEncoder(config, *start_of(["red vase"], config, 0)).eval()
    read = encoder.read(["red rex", "qqq", "vase"])
    assert read.known.tolist() == [True, False, True]
    assert np.diff(read.offsets).tolist() == [2, 0, 1]
    assert np.diff(read.bags.offsets).tolist() == [4, 1, 5]  # the word and three trigrams; the "re" that "rex" begins with; "vase"
    frozen = encoder.embedding.frozen()
    mean = np.array([frozen.vectors(read.bags.take(np.array([word])).ids).mean(axis=0) for word in range(3)])
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True) * np.sqrt(16)
    assert np.allclose(encoder._pieces(read.bags).detach().numpy(), expected, atol=1e-5)


def test_texts_are_taken_with_their_pieces():
    pieces = Pieces(Bags(np.arange(6), np.array([0, 1, 3, 6])), np.array([0, 2, 2, 3]))
    taken = pieces.take(np.array([2, 1, 0, 2]))
    assert taken.offsets.tolist() == [0, 1, 1, 3, 4]
    assert taken.bags.ids.tolist() == [3, 4, 5, 0, 1, 2, 3, 4, 5]
    assert taken.bags.offsets.tolist() == [0, 3, 4, 6, 9]
    assert taken.known.tolist() == [True, False, True, True]


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError):
        train_searchsage(EVERYTHING, items(), config=small(width=15))


# ----------------------------------------------------------------------------------------------------- spaces, artefacts


def kept(folder, model: SearchSage) -> SearchSage:
    written = write_artifact(
        folder, "searchsage", "a", tensors=model.tensors(), config=model.config, makes=[model.own_space], requires=[model.space]
    )
    return SearchSage.from_artifact(load_artifact(written.path))


@pytest.mark.parametrize("encoder", ["words", "bag"])
def test_a_kept_encoder_says_the_same(tmp_path, encoder):
    model = train_searchsage(EVERYTHING, items(), config=small(encoder=encoder))
    again = kept(tmp_path, model)
    assert np.array_equal(again.encode(PRODUCTS), model.encode(PRODUCTS))
    assert (again.space, again.own_space, again.settings) == (model.space, model.own_space, model.settings)


def test_an_artefact_of_something_else_is_refused(tmp_path):
    other = write_artifact(tmp_path, "content", "a", config={"kind": "content"})
    with pytest.raises(ArtifactError, match="encoder of queries"):
        SearchSage.from_artifact(other)


def test_vectors_are_in_the_space_of_the_items_and_in_no_other(trained):
    table = items()
    scores = trained.scores(["red vase"], table)
    assert scores.shape == (1, 64)
    assert np.allclose(scores, trained.encode(["red vase"]) @ table.vectors.T)
    assert trained.space == SPACE
    with pytest.raises(SpaceMismatch):
        trained.scores(["red vase"], EmbeddingTable(table.ids, table.vectors, Space("multibisage", "v2")))


def test_an_encoder_that_learned_again_answers_the_same_index_under_another_name():
    first, second = (train_searchsage(EVERYTHING, items(), config=small(), seed=seed) for seed in (0, 1))
    assert first.space == second.space == SPACE
    assert first.own_space.name == second.own_space.name == "searchsage"
    assert first.own_space != second.own_space
    assert second.scores(["red vase"], items()).shape == (1, 64)


def test_items_stand_still():
    table = items()
    before = table.vectors.copy()
    train_searchsage(EVERYTHING, table, titles_of(PRODUCTS), small())
    assert np.array_equal(table.vectors, before)


def test_importing_and_loading_needs_no_torch():
    code = "import sys; import corkboard.embeddings.searchsage, corkboard.embeddings.query_pairs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --------------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("encoder", ["words", "bag"])
def test_the_same_seed_gives_the_same_weights(encoder):
    config = small(encoder=encoder)
    first, second, other = (train_searchsage(EVERYTHING, items(), titles_of(PRODUCTS), config, seed) for seed in (1, 1, 2))
    assert first.weights.keys() == second.weights.keys()
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert first.own_space == second.own_space != other.own_space


def task() -> tuple[EmbeddingTable, list[int], list[int]]:
    """Items whose vectors are a direction of their colour plus one of their thing: which one is meant can only be told by both words."""
    draw = generator(0, "tests", "task")
    parts = draw.standard_normal((16, 24))
    vectors = np.array([parts[k // 8] + parts[8 + k % 8] for k in range(64)])
    order = draw.permutation(64)
    table = EmbeddingTable([f"i{k}" for k in range(64)], vectors / np.linalg.norm(vectors, axis=1, keepdims=True), SPACE)
    return table, order[:48].tolist(), order[48:].tolist()


@pytest.mark.parametrize("changes", [{}, {"encoder": "bag"}, {"loss": "triplet"}], ids=str)
def test_words_are_learned_and_put_together_in_ways_never_seen(changes):
    table, seen, unseen = task()
    config = small(steps=80, width=32, batch=64, pool=64, **changes)
    model = train_searchsage(pairs_of([PRODUCTS[k] for k in seen], seen), table, config=config, seed=1)
    first = model.scores([PRODUCTS[k] for k in unseen], table).argmax(axis=1)
    assert (first == unseen).mean() > 0.5  # chance: 1 / 64


def test_titles_teach_words_that_nobody_has_searched_for():
    table, seen, unseen = task()
    searched = [k for k in seen if k % 8 < 4]  # nobody ever looked for a kettle, mirror, pillow or candle
    pairs, wanted = pairs_of([PRODUCTS[k] for k in searched], searched), [k for k in unseen if k % 8 >= 4]
    titles = titles_of([f"the {PRODUCTS[k]}" if k in seen else None for k in range(64)])
    found = {}
    for share in (0.0, 0.4):
        model = train_searchsage(pairs, table, titles, small(steps=80, width=32, batch=64, pool=64, title_share=share), 1)
        found[share] = float((model.scores([PRODUCTS[k] for k in wanted], table).argmax(axis=1) == wanted).mean())
    assert found[0.4] > 0.6 > found[0.0]


def test_only_the_output_learns_where_the_encoder_is_frozen():
    config = small(trained="output")
    untrained = config.model_copy(update={"training": config.training.model_copy(update={"steps": 0})})
    start, end = (train_searchsage(EVERYTHING, items(), config=each) for each in (untrained, config))
    changed = {name for name in start.weights if not np.array_equal(start.weights[name], end.weights[name])}
    assert changed == {"output.weight", "output.bias"}


def test_what_a_text_has_elsewhere_is_no_negative():
    queries, rows = ["vase", "vase", "lamp", "red vase"], [0, 1, 2, 3]
    training = SearchSageTraining(pairs_of(queries, rows), items(5), titles_of(["x", "x", "x", "x", "Vase!"]), small(validation_share=0), 0)
    vase, lamp = training.texts.index("vase"), training.texts.index("lamp")
    owned = training._owned(np.array([vase, lamp, vase]), np.array([1, 2, 3, 4]))
    assert owned.tolist() == [[True, False, False, True], [False, True, False, False], [True, False, False, True]]


def test_held_out_queries_teach_nothing_not_even_their_words():
    training = SearchSageTraining(EVERYTHING, items(), None, small(validation_share=0.5), 0)
    trained, held_out = set(training.trained[:, 0].tolist()), set(training.validated[:, 0].tolist())
    assert trained
    assert held_out
    assert not trained & held_out
    words = [letter * 5 for letter in "abcdefghijklmnopqrst"]  # no two of which share a trigram
    training = SearchSageTraining(pairs_of(words, list(range(20))), items(), None, small(validation_share=0.5), 0)
    known = training.run().encode(words).any(axis=1)
    learned = {training.texts[row] for row in training.trained[:, 0]}
    assert 0 < len(learned) < 20
    assert [word for word, is_known in zip(words, known, strict=True) if is_known] == sorted(learned)


def test_pairs_are_drawn_by_weight_and_titles_have_their_share():
    pairs = pairs_of(["red", "blue", "grey"], [0, 1, 2], [3.0, 1.0, 0.0])
    training = SearchSageTraining(pairs, items(8), titles_of([None] * 4 + ["a b"] * 4), small(batch=1000, validation_share=0), 0)
    drawn = training._drawn(generator(0, "tests", "drawn"))
    counts = np.bincount(drawn[:, 1], minlength=8)
    assert counts[4:].sum() == 250
    assert counts[2] == counts[3] == 0
    assert 2.5 < counts[0] / counts[1] < 3.6


def test_items_that_are_unknown_or_of_which_nothing_is_known_are_left_out():
    table = items(4)
    table.vectors[1] = 0
    training = SearchSageTraining(pairs_of(["a b", "a b", "c d", ""], [0, 1, 99, 2]), table, titles_of(["t", "t", None, ""]), small(), 0)
    assert training.pairs[:, 1].tolist() == [0]
    assert training.titles[:, 1].tolist() == [0]
    assert training.corpus.tolist() == [0, 2, 3]


def test_without_any_text_everything_is_the_zero_vector(tmp_path):
    model = kept(tmp_path, train_searchsage(NOTHING, items(), config=small()))
    assert not model.encode(["red vase", ""]).any()
    only_titles = train_searchsage(NOTHING, items(), titles_of(PRODUCTS), small(title_share=0))
    assert only_titles.encode(["red vase"]).any()  # there is nothing else to learn from


def test_the_triplet_loss_by_hand():
    texts, candidates = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    targets, owned = torch.tensor([0, 2]), torch.zeros(2, 3, dtype=torch.bool)
    # row 0: margin - 1 + 0 and margin - 1 + 0.6; row 1: margin - 0.8 + 0 and margin - 0.8 + 1
    assert triplet(texts, candidates, targets, owned, 0.5).item() == pytest.approx((0 + 0.1 + 0 + 0.7) / 4)
    owned[1, 1] = True
    assert triplet(texts, candidates, targets, owned, 0.5).item() == pytest.approx((0 + 0.1 + 0) / 3)


# ------------------------------------------------------------------------------------------------- models of transformers

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *COLOURS, *THINGS]


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny BERT of random weights with a tokenizer of whole words, as a folder."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16}
    torch.manual_seed(0)
    folder = tmp_path / "bert"
    transformers.BertModel(transformers.BertConfig(vocab_size=len(VOCABULARY), **sizes)).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def pretrained(folder, steps: int = 2, **changes: object) -> SearchSageConfig:
    return small(steps, encoder="pretrained", checkpoint=str(folder), max_words=12, **changes)


def test_a_model_of_transformers_stands_behind_the_same_interface(checkpoint, tmp_path):
    model = train_searchsage(EVERYTHING, items(), config=pretrained(checkpoint))
    vectors = model.encode([*PRODUCTS, "red " * 1000, "", "👗"])
    assert np.allclose(np.linalg.norm(vectors[:-2], axis=1), 1, atol=1e-5)
    assert not vectors[-2:].any()
    assert np.allclose(vectors[:1], model.encode(["RED  vase"]), atol=1e-5)  # padding changes nothing
    (checkpoint / "model.safetensors").unlink()
    again = kept(tmp_path / "kept", model)  # needs no other file
    assert np.allclose(again.encode(PRODUCTS), vectors[:64], atol=1e-6)
    assert again.own_space == model.own_space


def test_a_frozen_model_of_transformers_keeps_its_weights(checkpoint):
    loaded = load_text_encoder(pretrained(checkpoint)).tensors()
    model = train_searchsage(EVERYTHING, items(), config=pretrained(checkpoint, trained="output"))
    assert all(np.array_equal(model.weights[f"encoder.{name}"], value) for name, value in loaded.items())


def test_what_is_no_text_encoder_is_refused(checkpoint, tmp_path):
    for nowhere in ("", str(tmp_path / "nowhere")):
        with pytest.raises(NotFound, match="no such folder"):
            load_text_encoder(small(encoder="pretrained", checkpoint=nowhere))
    (checkpoint / "config.json").write_text(json.dumps({}))
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_text_encoder(pretrained(checkpoint))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_text_encoder(pretrained(tmp_path / "empty"))
