"""What is read of a product."""

from __future__ import annotations

import numpy as np
import pytest

from corkboard.embeddings.product_inputs import TEXT_FIELDS, ProductInputs, lookalikes, products_of
from corkboard.errors import InputError
from corkboard.learning.config import TextConfig
from corkboard.learning.text import TRIGRAM, tokenize
from tests.embeddings.product_builders import SPACE, images_of, items_frame, products, unit


def texts_of(**row: object) -> dict[str, str]:
    inputs = ProductInputs.of(items_frame({"item_id": "i0", **row}), images_of(unit(1, 1, 4)))
    return {field: text for field, text in zip(TEXT_FIELDS, inputs.texts[0], strict=True) if text}


def test_products_are_what_has_a_price_or_says_so():
    items = items_frame(
        {"item_id": "a", "kind": "pin", "price_minor": 0, "currency": "EUR"},
        {"item_id": "b", "kind": "product"},
        {"item_id": "c", "kind": "pin"},
        {"item_id": "d", "kind": "ad", "price_minor": 100, "currency": "EUR"},
    )
    assert products_of(items)["item_id"].to_list() == ["a", "b", "d"]


def test_the_fields_come_from_columns_and_attributes_by_the_names_that_people_use():
    attributes = [
        *({"name": name, "value": value} for name, value in (("baseColour", "Navy"), ("Fabric", "wool"), ("print", "checked"))),
        *(
            {"name": name, "value": value}
            for name, value in (("Size System", "EU"), ("sizes", "42"), ("sizes", "43"), ("season", "winter"))
        ),
        *({"name": name, "value": value} for name, value in (("product_type", "coat"), ("complement", "i9"), ("substitute", "i8"))),
    ]
    found = texts_of(
        title="A coat",
        description="Warm.",
        link="https://www.shop.example/de/warm-coats_2?ref=1",
        merchant_id="m1",
        category="Clothing",
        brand_id="Acme",
        attributes=attributes,
    )
    assert found == {
        "title": "A coat",
        "description": "Warm.",
        "merchant_domain": "shop.example m1",
        "link": "de warm coats 2",
        "category": "Clothing",
        "brand": "Acme",
        "colour": "Navy",
        "material": "wool",
        "pattern": "checked",
        "size": "42 43",
        "size_type": "EU",
        "product_type": "winter coat",
    }


def test_what_is_not_there_is_empty_and_a_broken_link_breaks_nothing():
    assert texts_of() == {}
    assert texts_of(title="", attributes=[]) == {}
    assert texts_of(link="http://[broken") == {}
    assert texts_of(link="just words/here") == {"link": "just words here"}


def test_images_are_found_by_id_and_zero_where_they_are_not_there():
    vectors = unit(3, 2, 4)
    images = images_of(vectors, np.array([[True, False], [True, True], [False, True]]))
    inputs = ProductInputs.of(items_frame({"item_id": "i2"}, {"item_id": "elsewhere"}, {"item_id": "i0"}), images)
    assert inputs.there.tolist() == [[False, True], [False, False], [True, False]]
    assert np.array_equal(inputs.images[0, 1], vectors[2, 1])
    assert np.array_equal(inputs.images[2, 0], vectors[0, 0])
    assert not inputs.images[~inputs.there].any()
    assert inputs.image_space == SPACE


def test_lookalikes_share_title_and_main_picture():
    rows = [
        {"item_id": "a", "title": "Red  Vase", "images": ["p1", "p2"]},
        {"item_id": "b", "title": "red vase", "images": ["p1"]},
        {"item_id": "c", "title": "red vase", "images": ["p2", "p1"]},
        {"item_id": "d", "title": "red vase", "images": []},
        {"item_id": "e", "title": "red vase", "images": None},
        {"item_id": "f", "title": None, "images": ["p1"]},
        {"item_id": "g", "title": "", "images": ["p1"]},
    ]
    inputs = ProductInputs.of(items_frame(*rows), images_of(unit(1, 1, 4)))
    assert inputs.lookalikes[0] == inputs.lookalikes[1]
    assert len(set(inputs.lookalikes.tolist())) == 6


def test_products_are_taken_in_any_order():
    inputs = products(6)
    taken = inputs.take(np.array([4, 1, 4]))
    assert taken.item_ids == ["i4", "i1", "i4"]
    assert np.array_equal(taken.images, inputs.images[[4, 1, 4]])
    assert taken.texts[1].tolist() == inputs.texts[1].tolist()
    assert taken.lookalikes.tolist() == inputs.lookalikes[[4, 1, 4]].tolist()


def test_tokens_are_those_of_the_fields_and_names_are_not_cut_into_letters():
    row = {"item_id": "i0", "title": "Red vase", "brand_id": "Acme Sons", "link": "https://shop.example/red"}
    inputs = ProductInputs.of(items_frame(row, {"item_id": "i1", "title": "lamp"}), images_of(unit(1, 1, 4)))
    tokens = inputs.tokens(TextConfig())
    assert len(tokens) == 24
    assert np.diff(tokens.offsets)[[0, 2, 3, 5, 12]].tolist() == [
        len(tokenize(["Red vase"]).hashes),
        3,
        1,
        3,
        len(tokenize(["lamp"]).hashes),
    ]
    title = tokens.hashes[: tokens.offsets[1]]
    assert set(title.tolist()) == set(tokenize(["red vase"]).hashes.tolist())
    assert (tokens.kinds[: tokens.offsets[1]] == TRIGRAM).any()
    assert not (tokens.kinds[tokens.offsets[2] : tokens.offsets[6]] == TRIGRAM).any()


def test_no_products_at_all():
    inputs = ProductInputs.of(items_frame(), images_of(unit(1, 1, 4)))
    assert (len(inputs), inputs.texts.shape, inputs.images.shape) == (0, (0, 12), (0, 1, 4))
    assert len(inputs.tokens(TextConfig())) == 0


def test_parts_that_do_not_fit_are_refused():
    inputs = products(4)
    with pytest.raises(InputError, match="do not fit"):
        ProductInputs(inputs.item_ids[:3], inputs.images, inputs.there, SPACE, inputs.texts, inputs.lookalikes)


def test_lookalikes_have_one_title_and_one_main_picture():
    rows = [
        ("A red vase", ["p1", "p2"]),
        ("a  red vase", ["p1"]),
        ("A red vase", ["p2"]),
        ("A red vase", []),
        (None, ["p1"]),
        (None, ["p1"]),
    ]
    items = items_frame(*({"item_id": f"i{k}", "title": title, "images": images} for k, (title, images) in enumerate(rows)))
    numbers = lookalikes(items)
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 5
    assert len(set(lookalikes(items.select("item_id")))) == 6
