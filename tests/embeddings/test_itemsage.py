"""Products into the frozen space of items and queries."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.artifacts import EmbeddingTable, Space, load_artifact, write_artifact
from corkboard.embeddings.config import ItemSageConfig
from corkboard.embeddings.itemsage import ItemSage, image_means
from corkboard.embeddings.itemsage_network import Attended, Averaged, SideBySide, main_images
from corkboard.embeddings.itemsage_training import ItemSageTraining, batch_counts, train_itemsage
from corkboard.embeddings.product_inputs import TEXT_FIELDS, ProductInputs
from corkboard.embeddings.product_pairs import TASKS
from corkboard.errors import ArtifactError, ConfigError, InputError, SpaceMismatch
from corkboard.seeds import generator
from tests.embeddings.product_builders import COLOURS, DIM, SPACE, everything, pairs_of, products, small, table, unit

PRODUCTS = products()
QUERIES = table(seed=6, prefix="q")
ENCODERS = ("transformer", "mlp_concat", "sum_mlp")


def model_of(steps: int = 3, seed: int = 0, inputs: ProductInputs = PRODUCTS, **changes: object) -> ItemSage:
    return train_itemsage(everything(), inputs, table(), QUERIES, small(steps, **changes), seed)


@pytest.fixture(scope="module", params=ENCODERS)
def model(request) -> ItemSage:
    made = model_of(encoder=request.param)
    made.encode(PRODUCTS)  # the network is built by the first call
    return made


# ----------------------------------------------------------------------------------------------------------------- encode


def test_vectors_have_the_width_of_the_space_and_length_1(model):
    vectors = model.encode(PRODUCTS)
    assert (vectors.shape, vectors.dtype) == ((64, DIM), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len(np.unique(vectors.round(4), axis=0)) == 64
    assert model.table(PRODUCTS).ids == PRODUCTS.item_ids
    assert model.table(PRODUCTS).space == model.space == SPACE
    assert model.encode(PRODUCTS.take(np.arange(0))).shape == (0, DIM)


@settings(deadline=None)
@given(st.lists(st.integers(0, 63), min_size=1, max_size=8), st.integers(0, 5))
def test_padding_and_neighbours_change_nothing(model: ItemSage, rows: list[int], more: int) -> None:
    taken = PRODUCTS.take(np.array(rows))
    noise = generator(more, "tests", "noise").standard_normal((len(rows), more, DIM)).astype(np.float32)
    images = np.concatenate([np.where(taken.there[:, :, None], taken.images, 7.0), noise], axis=1).astype(np.float32)
    padded = replace(taken, images=images, there=np.pad(taken.there, ((0, 0), (0, more))))
    alone = np.concatenate([model.encode(PRODUCTS.take(np.array([row]))) for row in rows])
    assert np.allclose(model.encode(padded), alone, atol=1e-5)


def test_the_order_of_further_pictures_changes_nothing_and_the_main_one_stands_out():
    inputs = replace(products(8, 3), there=np.ones((8, 3), bool), images=unit(8, 3, DIM))
    model = model_of()
    swapped, turned = (replace(inputs, images=inputs.images[:, order]) for order in ([0, 2, 1], [1, 0, 2]))
    assert np.allclose(model.encode(inputs), model.encode(swapped), atol=1e-5)
    assert not np.allclose(model.encode(inputs), model.encode(turned), atol=1e-2)


def without(inputs: ProductInputs, images: bool = False, fields: tuple[str, ...] = ()) -> ProductInputs:
    texts = inputs.texts.copy()
    texts[:, [TEXT_FIELDS.index(field) for field in fields]] = ""
    return replace(inputs, texts=texts, there=inputs.there & (not images))


def test_a_missing_modality_or_field_leaves_a_unit_vector_and_nothing_at_all_leaves_zeros(model):
    whole = model.encode(PRODUCTS)
    for inputs in (without(PRODUCTS, images=True), without(PRODUCTS, fields=TEXT_FIELDS), without(PRODUCTS, fields=("colour",))):
        vectors = model.encode(inputs)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert not np.allclose(vectors, whole, atol=1e-4)
    assert not model.encode(without(PRODUCTS, images=True, fields=TEXT_FIELDS)).any()
    unknown = without(PRODUCTS, images=True, fields=TEXT_FIELDS)
    unknown.texts[:, 0] = "ΩΩ"
    assert not model.encode(unknown).any()


def test_the_same_word_says_something_else_in_another_field():
    inputs = products(2)
    inputs.texts[:] = ""
    inputs.texts[0, TEXT_FIELDS.index("title")], inputs.texts[1, TEXT_FIELDS.index("category")] = "red", "red"
    first, second = model_of().encode(replace(inputs, there=np.zeros((2, 2), bool)))
    assert not np.allclose(first, second, atol=1e-2)


def test_only_so_many_pictures_are_read():
    model = model_of(images=1)
    other = PRODUCTS.images.copy()
    other[:, 1] = unit(64, DIM, seed=9)
    assert np.array_equal(model.encode(PRODUCTS), model.encode(replace(PRODUCTS, images=other)))
    assert not np.array_equal(model_of().encode(PRODUCTS), model_of().encode(replace(PRODUCTS, images=other)))


# ------------------------------------------------------------------------------------------------- what the switches do


def test_a_modality_that_is_off_is_not_read():
    of_images, of_text = model_of(modalities="image"), model_of(modalities="text")
    bare, blind = without(PRODUCTS, fields=TEXT_FIELDS), without(PRODUCTS, images=True)
    assert np.array_equal(of_images.encode(PRODUCTS), of_images.encode(bare))
    assert not of_images.encode(blind).any()
    assert np.array_equal(of_text.encode(PRODUCTS), of_text.encode(blind))
    assert not of_text.encode(bare).any()


def test_the_sum_is_the_mean_of_the_images_and_trains_nothing():
    model = model_of(encoder="sum")
    assert model.weights == {}
    vectors = model.encode(PRODUCTS)
    assert np.allclose(vectors[0], PRODUCTS.images[0, 0], atol=1e-6)  # its only picture
    mean = PRODUCTS.images[1].sum(axis=0)
    assert np.allclose(vectors[1], mean / np.linalg.norm(mean), atol=1e-5)
    assert not image_means(without(PRODUCTS, images=True), ItemSageConfig()).any()


def test_the_sum_of_nothing_but_text_is_refused():
    with pytest.raises(ConfigError, match="sum"):
        model_of(encoder="sum", modalities="text")


def test_a_residual_model_starts_near_the_main_images():
    near, far = (model_of(0, residual=residual).encode(PRODUCTS) for residual in (True, False))
    assert (near * PRODUCTS.images[:, 0]).sum(axis=1).min() > 0.8
    assert (far * PRODUCTS.images[:, 0]).sum(axis=1).mean() < 0.6


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="heads"):
        model_of(heads=3)


def test_attention_by_hand_against_a_whole_layer():
    """Keys and values of every token, as the paper has them."""
    torch.manual_seed(0)
    inner = Attended(small(heads=2, width=8, dropout=0)).eval()
    for parameter in inner.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens, there = torch.randn(3, 5, 8), torch.tensor([[True] * 5, [True, False, True, False, False], [False] * 5])
    found = inner(tokens, there)
    for row in range(3):
        read = torch.cat([inner.cls, torch.nn.functional.rms_norm(tokens[row, there[row]], (8,), eps=1e-6)])
        query = inner.query[0] @ inner.cls[0] + inner.query_bias[0]
        keys, values = read @ inner.key[0].T, read @ inner.value[0].T
        heads = []
        for part in (slice(0, 4), slice(4, 8)):
            shares = torch.softmax(keys[:, part] @ query[part] / 2, dim=0)
            heads.append(shares @ values[:, part])
        state = inner.cls[0] + torch.cat(heads) @ inner.mixed[0].T
        hidden = torch.relu(torch.nn.functional.rms_norm(state, (8,), eps=1e-6) @ inner.up[0] + inner.up_bias[0, 0])
        assert torch.allclose(found[row], state + hidden @ inner.down[0], atol=1e-5)


def test_an_average_and_a_layer_side_by_side_by_hand():
    tokens, there = torch.randn(2, 14, 16), torch.ones(2, 14, dtype=torch.bool)
    there[0, 1:], there[1] = False, False
    assert torch.allclose(Averaged()(tokens, there), torch.stack([tokens[0, 0], torch.zeros(16)]))
    inner = SideBySide(small(images=5))
    flat = torch.zeros(17 * 16)
    flat[:16] = torch.nn.functional.gelu(tokens[0, 0])
    expected = torch.nn.functional.gelu(inner.join(flat))
    assert torch.allclose(inner(tokens, there)[0], expected, atol=1e-5)  # two pictures given, room for five


def test_the_main_image_is_the_first_that_is_there():
    images = torch.arange(12.0).view(2, 3, 2)
    there = torch.tensor([[False, True, True], [False, False, False]])
    assert main_images(images, there).tolist() == [[2.0, 3.0], [0.0, 0.0]]


# ----------------------------------------------------------------------------------------------------- spaces, artefacts


@pytest.mark.parametrize("encoder", [*ENCODERS, "sum"])
def test_a_kept_encoder_says_the_same(tmp_path, encoder):
    model = model_of(encoder=encoder)
    facts = {"tensors": model.tensors(), "config": model.config, "makes": [model.own_space], "requires": [model.space]}
    again = ItemSage.from_artifact(load_artifact(write_artifact(tmp_path, "itemsage", "a", **facts).path))
    assert np.array_equal(again.encode(PRODUCTS), model.encode(PRODUCTS))
    assert (again.space, again.own_space, again.settings) == (model.space, model.own_space, model.settings)


def test_an_artefact_of_something_else_is_refused(tmp_path):
    other = write_artifact(tmp_path, "content", "a", config={"kind": "content"})
    with pytest.raises(ArtifactError, match="encoder of products"):
        ItemSage.from_artifact(other)


def test_spaces_must_be_one():
    elsewhere = Space("multibisage", "v2")
    with pytest.raises(SpaceMismatch):
        model_of().encode(replace(PRODUCTS, image_space=elsewhere))
    for items, queries in ((table(space=elsewhere), QUERIES), (table(), table(prefix="q", space=elsewhere))):
        with pytest.raises(SpaceMismatch):
            train_itemsage(everything(), PRODUCTS, items, queries, small())


def test_widths_must_be_one():
    narrow = EmbeddingTable(["q0"], unit(1, 4), SPACE)
    with pytest.raises(InputError, match="widths"):
        train_itemsage(everything(), PRODUCTS, table(), narrow, small())
    with pytest.raises(InputError, match="width"):
        model_of().encode(replace(PRODUCTS, images=PRODUCTS.images[:, :, :4]))


def test_an_encoder_that_learned_again_stays_in_the_space_under_another_name():
    first, second = model_of(seed=0), model_of(seed=1)
    assert first.space == second.space == SPACE
    assert first.own_space.name == second.own_space.name == "itemsage"
    assert first.own_space != second.own_space


def test_importing_needs_no_torch():
    code = "import sys; import corkboard.embeddings.itemsage, corkboard.embeddings.product_pairs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --------------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_same_seed_gives_the_same_weights(encoder):
    first, second, other = (model_of(seed=seed, encoder=encoder) for seed in (1, 1, 2))
    assert first.weights.keys() == second.weights.keys()
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert first.own_space == second.own_space != other.own_space


def test_items_and_queries_stand_still():
    items, queries = table(), table(seed=6, prefix="q")
    before = items.vectors.copy(), queries.vectors.copy()
    train_itemsage(everything(), PRODUCTS, items, queries, small())
    assert np.array_equal(items.vectors, before[0])
    assert np.array_equal(queries.vectors, before[1])


def by_halves(seed: int = 0) -> tuple[ProductInputs, EmbeddingTable]:
    """Products whose picture tells the thing and whose text tells the colour; a query is one direction for the thing plus one for the
    colour, so that one half of it is known to each modality alone."""
    parts = generator(seed, "tests", "halves").standard_normal((16, DIM)).astype(np.float32)
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    inputs = products(64, 1)
    things, colours = np.arange(64) % 8, np.arange(64) // 8
    inputs = replace(inputs, images=parts[things][:, None], there=np.ones((64, 1), bool))
    inputs.texts[:, 0] = [COLOURS[colour] for colour in colours]
    vectors = parts[things] + parts[8 + colours]
    return inputs, EmbeddingTable([f"q{k}" for k in range(64)], vectors / np.linalg.norm(vectors, axis=1, keepdims=True), SPACE)


def found_unseen(steps: int = 60, **changes: object) -> float:
    """Share of unseen queries whose product is the nearest of 64, after learning from the others."""
    inputs, queries = by_halves()
    order = generator(1, "tests", "order").permutation(64)
    seen, unseen = order[:52], order[52:]
    pairs = pairs_of(*[("text_click", f"q{k}", f"i{k}") for k in seen])
    nothing = EmbeddingTable([], np.zeros((0, DIM)), SPACE)
    model = train_itemsage(pairs, inputs, nothing, queries, small(steps, width=32, hidden=64, batch=64, pool=32, **changes), 1)
    return float(((queries.vectors[unseen] @ model.encode(inputs).T).argmax(axis=1) == unseen).mean())


def test_what_no_modality_tells_alone_is_learned_of_both():
    both, image, text = (found_unseen(modalities=modalities) for modalities in ("both", "image", "text"))
    assert both > 0.5  # chance: 1 / 64
    assert both > max(image, text) + 0.2


@pytest.mark.parametrize("changes", [{"encoder": "mlp_concat"}, {"residual": False}, {"loss": "mixed"}, {"loss": "random"}], ids=str)
def test_the_other_forms_learn_as_well(changes):
    assert found_unseen(**changes) > 0.3


def training_of(pairs, config: ItemSageConfig | None = None, inputs: ProductInputs = PRODUCTS) -> ItemSageTraining:
    return ItemSageTraining(pairs, inputs, table(), QUERIES, config or small(), 0)


def test_no_positive_of_a_query_in_any_task_is_its_negative_nor_what_looks_like_it_nor_itself():
    pairs = pairs_of(("text_click", "q0", "i1"), ("text_cart", "q0", "i2"), ("image_save", "i4", "i5"), ("text_click", "q9", "i6"))
    numbers = PRODUCTS.lookalikes.copy()
    numbers[7] = numbers[5]  # i7 is another offer of i5
    training = training_of(pairs, inputs=replace(PRODUCTS, lookalikes=numbers))
    text, image, other = 64 + 0, 4, 64 + 9
    owned = training.owned(np.array([text, image, other]), np.arange(8))
    assert np.flatnonzero(owned[0]).tolist() == [1, 2]
    assert np.flatnonzero(owned[1]).tolist() == [4, 5, 7]
    assert np.flatnonzero(owned[2]).tolist() == [6]


def test_positives_that_are_held_out_are_no_negatives_either():
    pairs = everything()
    training = training_of(pairs, small(validation_share=0.5))
    assert len(training.validated)
    assert not set(training.trained[:, 1].tolist()) & set(training.validated[:, 1].tolist())
    assert len(training.trained) + len(training.validated) == len(pairs)
    for _, query, product in training.validated[:10]:
        assert training.owned(np.array([query]), np.array([product])).all()


@pytest.mark.parametrize(("loss", "in_batch", "separate", "pool"), [
    ("both", True, True, 16), ("in_batch", True, True, 0), ("random", False, True, 16), ("mixed", True, False, 16)
])  # fmt: skip
def test_each_loss_has_the_pools_that_it_is_named_after(loss, in_batch, separate, pool):
    training = training_of(everything(), small(1, loss=loss))
    training.run()
    assert (training.loss.settings.in_batch, training.loss.settings.separate_pools) == (in_batch, separate)
    seen = []
    training.loss.forward = lambda queries, vectors, draw, owned: seen.append((queries, vectors, draw, owned))
    training.network.eval()
    training._loss(generator(0, "tests", "step"))
    queries, vectors, draw, owned = seen[0]
    assert len(draw.pool) == pool
    assert len(vectors) == len(draw.distinct) == len(set(draw.distinct.tolist())) == owned.shape[1]
    assert len(queries) == len(draw.positives) == 32
    assert owned[torch.arange(32), torch.from_numpy(draw.positives)].all()


def test_the_loss_against_both_pools_by_hand():
    training = training_of(everything(), small(1))
    training.run()
    training.network.eval()
    step = generator(3, "tests", "step")
    training.loss.seen.counts[:] = 0
    found = float(training._loss(step).detach())
    step = generator(3, "tests", "step")
    pairs = training.drawn(step)
    pool = np.unique(training.corpus[step.integers(0, 64, 16)])
    vectors = training.network(training.read).detach().numpy().astype(np.float64)
    queries = training.vectors.numpy().astype(np.float64)
    scale = float(training.loss.temperature().detach())
    counts = np.bincount(pairs[:, 2], minlength=64)  # all that was ever seen are these 32
    total = 0.0
    for _, query, product in pairs:
        scores = queries[query] @ vectors.T * scale
        own = set(np.flatnonzero(training.owned(np.array([query]), np.arange(64))[0]).tolist()) - {product}
        in_batch = [k for k in np.flatnonzero(counts) if k not in own]
        total -= (scores[product] - np.log(counts[product])) - np.log(sum(np.exp(scores[k] - np.log(counts[k])) for k in in_batch))
        drawn = [product, *(k for k in pool if k not in own and k != product)]
        total -= scores[product] - np.log(sum(np.exp(scores[k]) for k in drawn))
    assert found == pytest.approx(total / len(pairs), rel=1e-4)


def test_the_batch_is_the_union_of_so_many_pairs_of_each_task():
    config = small(batch=32)
    assert batch_counts(config, [5] * 8) == [6, 6, 2, 2, 6, 6, 2, 2]
    assert batch_counts(config, [5, 5, 0, 0, 5, 5, 0, 0]) == [8, 8, 0, 0, 8, 8, 0, 0]
    assert batch_counts(small(batch=32, tasks=("text_cart", "image_click")), [5, 5]) == [8, 24]
    assert batch_counts(small(batch=30), [1] * 8) == [6, 6, 2, 2, 6, 5, 2, 1] or sum(batch_counts(small(batch=30), [1] * 8)) == 30
    assert batch_counts(config, [0] * 8) == [0] * 8


def test_a_scarce_task_is_drawn_from_again_and_again_but_evenly():
    pairs = pairs_of(*[("text_click", f"q{k}", f"i{k}") for k in range(60)], *[("text_checkout", f"q{k}", f"i{k}") for k in range(3)])
    training = training_of(pairs, small(batch=40))
    drawn = training.drawn(generator(0, "tests", "drawn"))
    clicks, bought = drawn[drawn[:, 0] == TASKS.index("text_click")], drawn[drawn[:, 0] == TASKS.index("text_checkout")]
    assert (len(clicks), len(bought)) == (30, 10)
    assert len(set(clicks[:, 2].tolist())) == 30
    assert sorted(np.bincount(bought[:, 2]).tolist()) == [3, 3, 4]


def test_only_the_tasks_that_are_asked_for_are_learned_from():
    training = training_of(everything(TASKS, 8), small(tasks=("image_cart", "text_cart")))
    assert len(training.pairs) == 16
    assert set(training.pairs[:, 0].tolist()) == {0, 1}


def test_pairs_of_which_nothing_is_known_are_left_out():
    items, queries = table(), table(prefix="q")
    items.vectors[1], queries.vectors[2] = 0, 0
    inputs = without(PRODUCTS.take(np.arange(8)), fields=())
    inputs.texts[3], inputs.there[3] = "", False
    pairs = pairs_of(
        *(("image_click", "i0", "i0"), ("image_click", "i1", "i0"), ("image_click", "nobody", "i0"), ("image_click", "i0", "i9")),
        *(("text_click", "q2", "i0"), ("text_click", "unheard of", "i0"), ("text_click", "q3", "i3"), ("text_click", "q3", "i4")),
    )
    training = ItemSageTraining(pairs, inputs, items, queries, small(), 0)
    assert training.pairs[:, 1:].tolist() == [[0, 0], [64 + 3, 4]]


def test_early_stopping_asks_for_the_ten_nearest_of_all_and_ties_count_against():
    inputs = products(32, 1)
    inputs.texts[:] = ""
    images = np.repeat(unit(1, DIM, seed=3), 32, axis=0)
    pairs = pairs_of(("image_click", "i0", "i1"), ("text_cart", "q0", "i1"))
    config = small(0, validation_share=0.99, modalities="image")
    tied = ItemSageTraining(pairs, replace(inputs, images=images[:, None]), table(), QUERIES, config, 0)
    tied.network.eval()
    assert len(tied.validated) == 2
    with torch.no_grad():
        assert tied.recall() == 0
    items = table()
    apart = ItemSageTraining(pairs, replace(inputs, images=items.vectors[[9, 0, *range(2, 32)]][:, None]), items, QUERIES, config, 0)
    apart.network.eval()
    with torch.no_grad():
        recall = apart.recall()
        first, second = ((apart.network(apart.read) @ torch.from_numpy(vector)) for vector in (items.vectors[0], QUERIES.vectors[0]))
    found = [
        float(int((scores >= scores[1]).sum()) - int(left_out) <= 10) for scores, left_out in ((first, first[0] >= first[1]), (second, 0))
    ]
    assert recall == np.mean(found)


def test_without_any_pair_the_untrained_encoder_comes_back():
    model = train_itemsage(pairs_of(), PRODUCTS, table(), QUERIES, small())
    assert (model.encode(PRODUCTS) * PRODUCTS.images[:, 0]).sum(axis=1).min() > 0.8
    nothing = PRODUCTS.take(np.arange(0))
    assert train_itemsage(everything(), nothing, table(), QUERIES, small()).encode(nothing).shape == (0, DIM)
