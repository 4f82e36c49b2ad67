"""Each mechanism does what it says, and is gone where its switch is off."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.world.boards import Projects
from corkboard.world.config import DAY_MS, Mechanisms, WorldConfig
from corkboard.world.minds import Minds
from corkboard.world.world import World

from .measures import HIDES, POSITIVE, Shown, rate_ratio


def last_topic_lift(world: World) -> float:
    """How much likelier an item of the last action's topic is acted on than items of that topic are by the same person otherwise."""
    shown = Shown(world)
    last = shown.last_topic()
    home = (last >= 0) & (shown.column("surface") == 0)
    use = shown.there & home[:, None]
    strata = shown.column("user")[:, None] * 1000 + shown.topics
    return rate_ratio(strata[use], (shown.topics == last[:, None])[use], shown.did(*POSITIVE)[use])


def after(world: World, cause: tuple[str, ...], effect: tuple[str, ...]) -> float:
    """How much likelier ``effect`` is in topics the person did ``cause`` in before than in their other topics."""
    shown = Shown(world)
    users = np.broadcast_to(shown.column("user")[:, None], shown.items.shape)
    return rate_ratio(users[shown.there], shown.topics_before(*cause)[shown.there], shown.did(*effect)[shown.there])


def hidden_against_saved(world: World, effect: tuple[str, ...]) -> float:
    """How much likelier ``effect`` is in topics that were hidden and never saved than in topics that were saved and never hidden."""
    shown = Shown(world)
    hidden, saved = shown.topics_before(*HIDES), shown.topics_before("save")
    use = shown.there & (hidden != saved)
    users = np.broadcast_to(shown.column("user")[:, None], use.shape)
    return rate_ratio(users[use], hidden[use], shown.did(*effect)[use])


def test_the_last_action_tells_what_one_is_after(everything_on, some_off):
    assert last_topic_lift(everything_on) > 1.25
    assert last_topic_lift(some_off) < 1.05  # the best items of the topic were just seen, so it is even a little below one


def test_half_of_the_intents_are_outside_the_long_term_interests(everything_on, some_off):
    log = everything_on.simulation.minds.log
    outside = np.concatenate([part["outside"] for part in log])
    hours = np.concatenate([part["end_ms"] - part["start_ms"] for part in log]) / 3_600_000
    sessions = everything_on.simulation.clock.sessions
    assert 0.45 < outside.mean() < 0.55
    assert hours.min() >= 0.16
    assert hours.max() <= 24.01
    assert 1.4 < np.median(hours) < 2.8
    assert len(outside) > 0.5 * sessions
    assert some_off.simulation.minds.log == []


def test_a_past_hide_predicts_a_hide_and_is_the_opposite_of_a_save(everything_on, others_off):
    assert after(everything_on, HIDES, HIDES) > 2.5
    assert after(everything_on, ("save",), HIDES) < 0.7
    assert after(everything_on, ("save",), ("save",)) > 2.5
    assert hidden_against_saved(everything_on, HIDES) > 3
    assert hidden_against_saved(everything_on, ("save",)) < 0.7
    assert after(others_off, HIDES, HIDES) < 1.2


def test_hides_come_from_dislikes_and_satiation(everything_on, others_off):
    rate = {name: Shown(world).did(*HIDES).mean() for name, world in (("on", everything_on), ("off", others_off))}
    assert rate["on"] > 0.01
    assert rate["off"] < 0.006


def test_lower_places_are_looked_at_less(everything_on, some_off):
    def top_over_bottom(world: World) -> float:
        shown = Shown(world)
        random = shown.column("random")
        positive = shown.did(*POSITIVE)[random]
        return positive[:, :5].mean() / positive[:, -8:].mean()

    # places 0 to 4 are looked at with mean 0.856, places 17 to 24 with mean 0.354: 2.4 times as often
    assert 1.8 < top_over_bottom(everything_on) < 3.2
    assert 0.75 < top_over_bottom(some_off) < 1.3


def test_a_slice_is_in_random_order_with_its_propensity(everything_on, others_off):
    pages = everything_on.tables()["impressions"]
    share = pages.filter(surface="home")["policy"].eq("random").mean()
    assert 0.08 < share < 0.12
    slots = pages.select("policy", "slots").explode("slots").unnest("slots")
    assert slots.filter(policy="random")["propensity"].unique().to_list() == [pytest.approx(1 / 25)]
    assert slots.filter(pl.col("policy") != "random")["propensity"].null_count() == slots.filter(pl.col("policy") != "random").height
    score_by_place = slots.filter(policy="random").group_by("position").agg(pl.col("score").mean()).sort("position")["score"].to_numpy()
    logged = slots.filter(policy="popular-interest").group_by("position").agg(pl.col("score").mean()).sort("position")["score"].to_numpy()
    assert np.ptp(score_by_place) < 0.35 * np.ptp(logged)
    assert not Shown(others_off).column("random").any()


def test_people_return_sooner_when_satisfied(everything_on, some_off):
    def correlation(world: World) -> float:
        """Between the positive actions of a session and the log of the gap after it, both against the person's own mean."""
        tables = world.tables()
        good = tables["actions"].filter(pl.col("action").is_in(POSITIVE)).group_by("session_id").len("good")
        visits = tables["impressions"].group_by("user_id", "session_id").agg(pl.col("time_ms").min(), end=pl.col("time_ms").max())
        visits = (
            visits.join(good, on="session_id", how="left").with_columns(pl.col("good").fill_null(0).add(1).log()).sort("user_id", "time_ms")
        )
        visits = visits.with_columns(gap=(pl.col("time_ms").shift(-1).over("user_id") - pl.col("end")).log()).drop_nulls()
        centred = visits.select(pl.col("good", "gap") - pl.col("good", "gap").mean().over("user_id"))
        return float(np.corrcoef(centred["good"].to_numpy(), centred["gap"].to_numpy())[0, 1])

    assert correlation(everything_on) < -0.06
    assert abs(correlation(some_off)) < 0.05


def test_some_carts_and_checkouts_come_late_and_offsite(everything_on, some_off):
    tables = everything_on.tables()
    shown = tables["impressions"].select("request_id", shown_ms="time_ms")
    late = tables["actions"].filter(pl.col("offsite")).join(shown, on="request_id")
    assert set(late["action"].unique()) == {"add_to_cart", "checkout"}
    assert ((late["time_ms"] - late["shown_ms"]) / DAY_MS).median() > 0.4
    bought = tables["actions"].filter(pl.col("action").is_in(["add_to_cart", "checkout"]))
    assert 0.25 < bought.filter(action="add_to_cart")["offsite"].mean() < 0.45
    assert bought["value_minor"].null_count() == 0
    order = bought.group_by("request_id", "position").agg(
        cart=pl.col("time_ms").filter(action="add_to_cart").min(), checkout=pl.col("time_ms").filter(action="checkout").min()
    )
    assert (order.drop_nulls()["checkout"] > order.drop_nulls()["cart"]).all()
    assert not some_off.tables()["actions"]["offsite"].any()


def saves_and_carts(world: World) -> tuple[float, float]:
    """Saves of a product against saves of a pin, per close-up; and how much nearer to the usual price carts are than close-ups."""
    shown, catalogue = Shown(world), world.behaviour.catalogue
    product, pin = (shown.there & np.isin(catalogue.kind[shown.items], [kind]) for kind in (1, 0))
    save, close = shown.did("save"), shown.did("close_up")
    ratio = (save & product).sum() / (close & product).sum() / ((save & pin).sum() / (close & pin).sum())
    away = np.abs(catalogue.price_level[shown.items] - world.behaviour.people.price_level[shown.column("user")][:, None])
    return float(ratio), float(away[shown.did("add_to_cart")].mean() / away[close & product].mean())


def test_products_get_carts_by_price_rather_than_saves(everything_on, some_off):
    ratio, price = saves_and_carts(everything_on)
    assert ratio < 0.6
    assert price < 0.85
    ratio, price = saves_and_carts(some_off)
    assert 0.75 < ratio < 1.3
    assert 0.85 < price < 1.15


def test_boards_mix_topics_by_project(everything_on, others_off):
    def needed(world: World) -> float:
        """Share of the saves to a project board whose topic the project needs, mean over boards."""
        b, themes = world.behaviour, Projects.make(everything_on.config)
        actions = world.simulation.log.actions.whole()
        saves = (actions["action"] == 3) & (actions["board"] >= 0)
        board, topic = actions["board"][saves], b.catalogue.topic[actions["item"][saves]]
        project = b.boards.project.ravel()[board]
        good = pl.DataFrame({"board": board, "good": themes.topics[project, topic] > 0, "project": project}).filter(pl.col("project") >= 0)
        return float(good.group_by("board").agg(pl.col("good").mean())["good"].to_numpy().mean())

    assert needed(everything_on) > 0.6
    assert needed(others_off) < 0.3
    boards = everything_on.tables()["actions"].filter(action="save").group_by("board_id").len().sort("len")["len"]
    assert boards[-1] > 8 * boards.median()
    titles = everything_on.tables()["boards"]
    assert 0.1 < titles["secret"].mean() < 0.2
    assert titles["deleted"].any()


def test_creators_have_a_handwriting(everything_on, others_off):
    def same_style(world: World) -> float:
        c = world.behaviour.catalogue
        table = np.zeros((len(c.creators.ids), c.style.max() + 1))
        np.add.at(table, (c.creator, c.style), 1)
        busy = table[table.sum(1) >= 10]
        return float((busy.max(1) / busy.sum(1)).mean())

    assert same_style(everything_on) > 0.6
    assert same_style(others_off) < 0.35


def test_observed_facets_are_wrong_or_missing_for_20_to_40_percent(everything_on, others_off):
    for name in ("pattern", "shade", "style", "material", "use", "brand", "size"):
        c = everything_on.behaviour.catalogue
        wrong = c.observed[name] != getattr(c, name)
        assert 0.15 < wrong.mean() < 0.45, name
        assert 0.4 < (c.observed[name] == -1).sum() / wrong.sum() < 0.7
        clean = others_off.behaviour.catalogue
        assert (clean.observed[name] == getattr(clean, name)).all()


def quiet(**switches: bool) -> World:
    return World(WorldConfig.tiny(days=14, mechanisms=Mechanisms(**switches)))


def scores(world: World, time_ms: int) -> np.ndarray:
    """Utilities of a fresh person for the whole catalogue, without what they have seen or want (people, items)."""
    users = np.arange(world.config.users)
    mind = Minds.blank(world.config).at(users, np.full(len(users), time_ms))
    items = np.broadcast_to(np.arange(world.config.items), (len(users), world.config.items))
    return world.behaviour.latents(mind, items).utility


SWITCHES = {"drift", "rhythms", "ageing"}


@pytest.mark.parametrize("switch", sorted(SWITCHES))
def test_lasting_taste_moves_by_this_alone(switch):
    """With all three off, utility is the same at any time; with one on, it is not."""
    still = quiet(**dict.fromkeys(SWITCHES, False))
    one = quiet(**{name: name == switch for name in SWITCHES})
    first, later = still.config.start_ms, still.config.start_ms + 60 * DAY_MS
    assert np.array_equal(scores(still, first), scores(still, later))
    assert np.abs(scores(one, first) - scores(one, later)).mean() > 0.02


def test_idle_interests_come_back():
    world = quiet()
    users = np.arange(world.config.users)
    days = np.arange(0, 84)
    interests = world.behaviour.people.interests
    strength = np.stack([interests.strength(users, np.full(len(users), world.config.start_ms + d * DAY_MS), world.config) for d in days])
    awake = strength > 0.1 * strength.max(0, keepdims=True)
    has = strength.max(0) > 0.1
    back = (~awake[:-1] & awake[1:]).sum(0)[has]
    assert ((~awake).any(0)[has]).mean() > 0.4
    assert (back > 0).mean() > 0.3
    counts = (interests.weight > 0).sum(1)
    assert counts.min() >= 3
    assert counts.max() <= 12


@pytest.mark.parametrize(
    ("switch", "columns"),
    [("picture_facets", ("style", "shade", "pattern")), ("text_facets", ("material", "use", "size", "brand")), ("residue", ("residue",))],
)
def test_taste_has_two_views_and_a_residue(switch, columns):
    """Giving every item the facets of another one changes utility only where the switch is on."""
    for on in (True, False):
        world = quiet(dislikes=False, **{switch: on})
        before = scores(world, world.config.start_ms)
        for name in columns:
            values = getattr(world.behaviour.catalogue, name)
            values[:] = np.roll(values, 1, axis=0)
        moved = np.abs(scores(world, world.config.start_ms) - before).mean()
        assert (moved > 0.1) == on
        assert on or moved == 0


def test_what_was_seen_bores_and_what_is_seen_often_sates():
    for on in (True, False):
        world = quiet(boredom=on, satiation=on)
        b, minds = world.behaviour, Minds.blank(world.config)
        topic = int(np.bincount(b.catalogue.topic).argmax())
        page = np.flatnonzero(b.catalogue.topic == topic)[:8][None, :]
        user, now = np.array([0]), np.array([world.config.end_ms])
        fresh = b.latents(minds.at(user, now), page)
        for _ in range(4):  # 4 times 8 items looked at: well above the 12 that are tolerated
            minds.look(minds.at(user, now), b.catalogue, page, np.ones(page.shape, np.float32))
        sated = b.latents(minds.at(user, now), page)
        later = b.latents(minds.at(user, now + 3 * DAY_MS), page)
        much_later = b.latents(minds.at(user, now + 30 * DAY_MS), page)
        weights = world.config.utility
        if on:
            # 32 looks are 32 / 12 - 1 = 1.67 times too many
            assert np.allclose(sated.sated, 32 / 12 - 1, atol=1e-4)
            assert np.allclose(fresh.utility - sated.utility, weights.satiation * (32 / 12 - 1) + weights.boredom, atol=1e-3)
            assert np.allclose(later.sated, 0)
            assert (later.utility < fresh.utility - 0.9 * weights.boredom).all()
            assert (much_later.utility > later.utility).all()
        else:
            assert np.allclose(fresh.utility, sated.utility)


def test_what_fits_the_item_beside_it_is_more_welcome():
    for on in (True, False):
        world = quiet(compatibility=on)
        b = world.behaviour
        shoe = int(np.flatnonzero(b.catalogue.category == 2)[0])
        bags = np.flatnonzero(b.catalogue.category == 3)[None, :]
        user = np.array([3])
        mind = Minds.blank(world.config).at(user, np.array([world.config.start_ms]))
        extra = (b.latents(mind, bags, np.array([shoe])).utility - b.latents(mind, bags).utility)[0]
        fit = b.looks.fit(b.catalogue, np.array([shoe]), bags[0])
        if on:
            assert np.allclose(extra, world.config.utility.compatibility * np.maximum(fit, 0), atol=1e-4)
            assert fit.max() > 0.2
        else:
            assert np.allclose(extra, 0, atol=1e-5)


def test_the_policy_reacts_within_a_session_only_where_it_may():
    for on in (True, False):
        world = World(WorldConfig.tiny(days=10, mechanisms=Mechanisms(live_policy=on)))
        shown = Shown(world)
        last = shown.last_topic()
        use = shown.there & ((last >= 0) & (shown.column("surface") == 0))[:, None]
        guess = world.behaviour.catalogue.observed["topic_guess"][shown.items]
        share = (guess == last[:, None])[use].mean()
        assert (share > 0.12) == on
