"""The outfit model: queries by hand, what is missing, unknown categories, and that it stays itself as an artefact."""

import numpy as np
import pytest
import torch

from corkboard.artifacts import Space, load_artifact, write_artifact
from corkboard.errors import ArtifactError, InputError
from corkboard.shopping.outfit_config import OutfitModelConfig
from corkboard.shopping.outfit_model import OutfitModel
from corkboard.shopping.outfit_network import OutfitNetwork

RNG = np.random.default_rng(0)
VISUAL = RNG.normal(size=(12, 7)).astype(np.float32)
CHANCES = RNG.normal(size=(12, 3)).astype(np.float32)
BOTH = {"visual": VISUAL, "appearance": CHANCES}
NAMES = ["bag", "shoe", "hat"]
OF = [NAMES[k % 3] for k in range(12)]
SMALL = OutfitModelConfig(dim=6, hidden=(10, 5), category_dim=2, masks=3)


def network(config=SMALL, inputs=BOTH):
    torch.manual_seed(1)
    return OutfitNetwork(config, inputs, len(NAMES) + 1).eval()


def model(config=SMALL, inputs=BOTH):
    spaces = {name: Space(name, "1") for name in inputs}
    return OutfitModel(config, NAMES, spaces.get("visual"), spaces.get("appearance"), network(config, inputs).tensors())


def test_what_is_served_is_what_was_trained():
    one, trained = model(), network()
    chances = CHANCES.copy()
    chances[3:6] = 0
    rows = torch.from_numpy(one.category_rows(OF))
    with torch.no_grad():
        styles = trained.styles({"visual": torch.from_numpy(VISUAL), "appearance": torch.from_numpy(chances)}, rows)
        asked = trained.asked(styles, rows, torch.zeros_like(rows))
    found = one.encode(VISUAL, OF, chances)
    np.testing.assert_allclose(found, styles.numpy(), atol=1e-5)
    np.testing.assert_allclose(one.asked(found, rows.numpy(), np.zeros(12, np.int64)), asked.numpy(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_what_is_missing_is_not_zeros_and_nothing_known_is_nothing():
    one = model()
    one.weights["appearance.missing"] = np.ones(3, np.float32)
    without = one.encode(VISUAL, OF)
    assert np.abs(without - one.encode(VISUAL, OF, np.full_like(CHANCES, 1e-6))).max() > 1e-3
    assert not one.encode(np.zeros_like(VISUAL), OF).any()
    assert one.encode(np.zeros_like(VISUAL), OF, CHANCES).any(axis=1).all()


def test_a_category_it_does_not_know_has_its_own_row():
    one = model()
    assert one.category_rows(["hat", None, "spaceship", "bag"]).tolist() == [2, 3, 3, 0]
    np.testing.assert_array_equal(one.encode(VISUAL[:1], [None]), one.encode(VISUAL[:1], ["spaceship"]))


def test_a_query_is_the_mean_of_what_its_items_ask():
    one = model()
    styles = one.encode(VISUAL[:2], OF[:2], CHANCES[:2])
    shares = np.exp(one.weights["attention"])
    shares /= shares.sum(axis=2, keepdims=True)
    asked = []
    for item in range(2):
        read = styles[item] * (shares[item, 2] @ one.weights["masks"])
        asked.append(read / np.linalg.norm(read))
    query = one.query(styles, OF[:2], ["hat", "bag"])
    assert query.shape == (2, 6)
    np.testing.assert_allclose(query[0], np.mean(asked, axis=0), atol=1e-6)
    nobody = np.concatenate([styles, np.zeros((1, 6), np.float32)])
    np.testing.assert_allclose(one.query(nobody, [*OF[:2], None], ["hat"]), query[:1], atol=1e-6)


def test_without_conditions_all_ask_alike():
    one = model(SMALL.model_copy(update={"conditioned": False}))
    styles = one.encode(VISUAL, OF, CHANCES)
    query = one.query(styles, OF, NAMES)
    np.testing.assert_allclose(query, np.tile(styles.mean(axis=0), (3, 1)), atol=1e-6)


def test_candidates_are_style_vectors_of_one_category():
    one = model(inputs={"visual": VISUAL})
    np.testing.assert_array_equal(one.candidates(VISUAL, "hat"), one.encode(VISUAL, ["hat"] * 12))
    assert one.candidates(VISUAL[:0], "hat").shape == (0, 6)


def test_it_stays_itself_as_an_artefact(tmp_path):
    one = model()
    write_artifact(tmp_path, "outfit_model", "1", tensors=one.tensors(), config=one.config, makes=[one.space])
    again = OutfitModel.from_artifact(load_artifact(tmp_path / "outfit_model" / "default" / "1"))
    assert again.space == one.space
    np.testing.assert_array_equal(again.encode(VISUAL, OF, CHANCES), one.encode(VISUAL, OF, CHANCES))
    other = model()
    other.weights["masks"] = other.weights["masks"] + 1
    assert other.space != one.space
    write_artifact(tmp_path, "other", "1", config={"kind": "something"})
    with pytest.raises(ArtifactError, match="no outfit model"):
        OutfitModel.from_artifact(load_artifact(tmp_path / "other" / "default" / "1"))


def test_wrong_widths_are_told():
    with pytest.raises(InputError, match="visual inputs"):
        model().encode(VISUAL[:, :3], OF)
    with pytest.raises(InputError, match="appearance inputs"):
        model().encode(VISUAL, OF, CHANCES[:4])
    with pytest.raises(InputError, match="query"):
        model().query(np.zeros((0, 6)), [], ["hat"])


def test_chances_alone_are_enough_and_vectors_are_not_looked_at_then():
    one = model(inputs={"appearance": CHANCES})
    assert list(one.reads) == ["appearance"]
    found = one.encode(None, OF, CHANCES)
    np.testing.assert_array_equal(found, one.encode(VISUAL[:, :2], OF, CHANCES))
    assert not one.encode(VISUAL, OF).any()  # nothing that it reads is known
    with pytest.raises(InputError, match="neither"):
        OutfitModel(SMALL, NAMES, None, None, one.weights)
