"""The one piece of code that decides what people do: closed form against drawing, and what raises or lowers what."""

from __future__ import annotations

import numpy as np
import pytest

from corkboard.world.behaviour import ACTIONS, Chances
from corkboard.world.minds import Minds
from corkboard.world.world import World


def chances(value: float = 0.3, **changes: float) -> Chances:
    """One person, one item; every stage has the probability ``value`` unless it is given."""
    one = {name: np.full((1, 1), changes.get(name, value), np.float32) for name in ("hide", "report", "close_up", "long", "checkout")}
    two = {name: np.full((2, 1, 1), changes.get(name, value), np.float32) for name in ("click", "save", "cart")}
    return Chances(**one, **two)


def test_probabilities_by_hand():
    given = chances(hide=0.2, report=0.1, close_up=0.5, click=0.4, long=0.25, save=0.1, cart=0.3, checkout=0.5)
    given.click[1] = given.save[1] = 0.8
    by_action = dict(zip(ACTIONS, given.of_actions()[:, 0, 0].tolist(), strict=True))
    # not hidden 0.8; clicked 0.8 * (0.5 * 0.8 + 0.5 * 0.4) = 0.48; saved 0.8 * (0.5 * 0.8 + 0.5 * 0.1) = 0.36; carted 0.8 * 0.3 = 0.24
    expected = {"close_up": 0.4, "click": 0.36, "long_click": 0.12, "save": 0.36, "add_to_cart": 0.24, "checkout": 0.12}
    expected |= {"hide": 0.18, "report": 0.02}
    assert by_action == pytest.approx(expected)
    # nothing positive: 0.8 * (no close-up 0.5) * 0.6 * 0.9 * 0.7 = 0.1512, so something: 0.8 - 0.1512
    assert given.of_positive()[0, 0] == pytest.approx(0.6488)


def test_drawing_agrees_with_the_closed_form():
    given = chances(hide=0.1, report=0.3, close_up=0.35, click=0.2, long=0.4, save=0.15, cart=0.25, checkout=0.6)
    for stage in (given.click, given.save, given.cart):
        stage[1] = 0.6
    n = 200_000
    many = Chances(*(np.repeat(part, n, -1) for part in given))
    done = many.draw(np.full((1, n), 0.7, np.float32), np.random.default_rng(0))
    assert done.mean((1, 2)) == pytest.approx(0.7 * given.of_actions()[:, 0, 0], abs=0.004)  # 4 standard errors
    assert done[:6].any(0).mean() == pytest.approx(0.7 * given.of_positive()[0, 0], abs=0.004)
    assert not (done[:6].any(0) & done[6:].any(0)).any()
    assert not (done[ACTIONS.index("checkout")] & ~done[ACTIONS.index("add_to_cart")]).any()


@pytest.fixture(scope="module")
def somebody(tiny: World):
    """(behaviour, head of person 5 without an intent, all items)."""
    mind = Minds.blank(tiny.config).at(np.array([5]), np.array([tiny.config.end_ms]))
    return tiny.behaviour, mind, np.arange(tiny.config.items)[None, :]


def test_a_dislike_takes_utility_and_brings_hides(somebody):
    behaviour, mind, items = somebody
    latents = behaviour.latents(mind, items)
    disliked = behaviour.people.dislike_topic[5][behaviour.catalogue.topic]
    assert disliked.max() > 0.5
    assert (latents.aversion[0] >= disliked).all()
    found = behaviour.chances(mind.users, items, latents)
    averse = latents.aversion[0] > 0
    assert averse.any()
    assert found.hide[0, averse].min() > 3 * found.hide[0, ~averse].max()
    assert found.close_up[0, averse].mean() < found.close_up[0, ~averse].mean()


def test_an_intent_raises_its_topic_and_lowers_the_others(somebody):
    behaviour, mind, items = somebody
    topic = behaviour.catalogue.topic
    without = behaviour.latents(mind, items).utility[0]
    wanting = Minds.blank(behaviour.config)
    weights = behaviour.config.utility
    columns = {
        "start_ms": mind.time_ms - 10, "end_ms": mind.time_ms + 10, "fade_ms": np.array([100]), "topics": np.array([[7, -1, -1, -1]]),
        "weights": np.array([[1.0, 0, 0, 0]], np.float32), "focus_facet": np.array([[0, -1]]), "focus_value": np.array([[3, -1]]),
        "outside": np.array([True]), "shopping": np.array([True]),
    }  # fmt: skip
    wanting.intend(mind.users, columns)
    gain = behaviour.latents(wanting.at(mind.users, mind.time_ms), items).utility[0] - without
    pure = behaviour.catalogue.mix == 1
    styled = behaviour.catalogue.style == 3
    assert gain[pure & (topic == 7) & ~styled] == pytest.approx(weights.intent, abs=1e-3)
    assert gain[pure & (topic == 7) & styled] == pytest.approx(weights.intent * (1 + weights.focus), abs=1e-3)
    assert gain[pure & (topic != 7)] == pytest.approx(weights.intent_elsewhere, abs=1e-3)
    # a fading time after its end 1/e of it is left
    faded = behaviour.latents(wanting.at(mind.users, mind.time_ms + 110), items).utility[0] - without
    assert faded[pure & (topic == 7) & ~styled] == pytest.approx(weights.intent / np.e, abs=2e-2)


def test_no_action_is_ever_sure(somebody):
    behaviour, mind, items = somebody
    latents = behaviour.latents(mind, items)
    latents.utility += 50
    most = behaviour.config.actions.at_most
    found = behaviour.chances(mind.users, items, latents)
    assert found.close_up.max() == pytest.approx(most)
    assert found.click.max() <= most + 1e-6
    assert (found.cart[:, 0, ~behaviour.catalogue.product] == 0).all()
