"""How people respond to what they see: the one piece of code behind the generator, ``respond`` and the oracle.

    utility -> probability of each action of an item that is looked at -> actions

An item that is looked at is first hidden or not; if not, it may be opened (close-up), and each of click, save and cart follows with a
probability of its own, higher once the item was opened. So the probability of every action is known in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from corkboard.world.boards import Boards, Projects
from corkboard.world.catalogue import Catalogue
from corkboard.world.config import DAY_MS, WorldConfig
from corkboard.world.looks import Looks, complementary
from corkboard.world.minds import FOCUS_FACETS, Mind, seen_before
from corkboard.world.people import People
from corkboard.world.vocabulary import PICTURE_FACETS

ACTIONS = ("close_up", "click", "long_click", "save", "add_to_cart", "checkout", "hide", "report")
"""Order of the first axis of probabilities and outcomes."""
POSITION_DECAY = 0.09
"""The item at place p is looked at with probability 1 / (1 + POSITION_DECAY p)."""


@dataclass
class Latents:
    """What the probabilities follow; each float32 (n, items)."""

    utility: np.ndarray
    aversion: np.ndarray
    """Dislikes of topic, style and creator, added up."""
    sated: np.ndarray
    """How far above the tolerated number of one topic, as a share of that number."""
    project: np.ndarray
    """How well it fits a project, 0 to 1."""
    purchase: np.ndarray
    """What carts follow beyond utility: price, brand, size, shopping."""


@dataclass(frozen=True)
class Behaviour:
    """The truth about how people act. Nothing here depends on who shows the page."""

    config: WorldConfig
    catalogue: Catalogue
    people: People
    boards: Boards
    projects: Projects
    looks: Looks

    def looked(self, places: int) -> np.ndarray:
        """float32 (places,): probability that each place of a page is looked at."""
        decay = 1 / (1 + POSITION_DECAY * np.arange(max(places, self.config.page_size), dtype=np.float32))
        if not self.config.mechanisms.position_bias:
            decay[:] = decay[: self.config.page_size].mean()
        return decay[:places]

    def latents(self, mind: Mind, items: np.ndarray, beside: np.ndarray | None = None) -> Latents:
        """Truth about ``items`` (n, k) of item rows for the n people of ``mind``.

        ``beside`` (n,) are the item rows that related pages belong to, -1 on other surfaces.
        """
        c, p, u = self.catalogue, self.people, mind.users
        weights, switches = self.config.utility, self.config.mechanisms
        rows = np.arange(len(u))[:, None]
        topic, style = c.topic[items], c.style[items]
        by_topic, mix = self._by_topic(mind), c.mix[items]
        utility = mix * by_topic[rows, topic] + (1 - mix) * by_topic[rows, c.second_topic[items]]
        utility += p.bias[u][:, None] + weights.quality * c.quality[items] + self._taste(u, items)
        utility -= weights.language * (c.language[items] != p.language[u][:, None])
        aversion = p.dislike_topic[u][rows, topic] + p.dislike_style[u][rows, style]
        aversion += (p.dislike_creator[u][:, None, :] == c.creator[items][:, :, None]).any(2)
        sated = self._sated(mind)[rows, topic]
        utility -= weights.aversion * aversion + weights.satiation * sated
        if switches.intent:
            utility += (weights.intent * weights.focus * mind.intent)[:, None] * self._focus(mind, items)
        if switches.ageing:
            age = np.maximum(mind.time_ms[:, None] - c.created_ms[items], 0) / (14 * DAY_MS)
            utility -= weights.age * np.log1p(age)
        if switches.boredom:
            utility -= weights.boredom * seen_before(mind, items, self.config.seen_slots, self.config.sessions.boredom_days)
        if beside is not None:
            utility += self._beside(items, beside)
        return Latents(utility.astype(np.float32), aversion, sated, self._project_fit(mind, topic, style), self._purchase(mind, items))

    def _taste(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float32 (n, k): lasting taste in what the picture shows, what the text tells, and what neither does."""
        c, p, weights, switches = self.catalogue, self.people, self.config.utility, self.config.mechanisms
        rows = np.arange(len(users))[:, None]
        taste = np.zeros(items.shape, np.float32)
        for weight, facets in (
            (weights.picture * switches.picture_facets, PICTURE_FACETS),
            (weights.text * switches.text_facets, ("material", "use", "size")),
        ):
            for name in facets if weight else ():
                taste += np.float32(weight) * p.taste[name][users][rows, getattr(c, name)[items]]
        if switches.text_facets:
            taste += np.float32(weights.brand) * (p.brands[users][:, None, :] == c.brand[items][:, :, None]).any(2)
        if switches.residue:
            taste += np.float32(weights.residue) * np.einsum("nkr,nr->nk", c.residue[items], p.residue[users])
        return taste

    def _by_topic(self, mind: Mind) -> np.ndarray:
        """float32 (n, TOPICS): the part of utility that an item's topic decides."""
        weights = self.config.utility
        part = weights.interest * self.people.interests.strength(mind.users, mind.time_ms, self.config) + self.people.topic_appeal
        if self.config.mechanisms.intent:
            part += mind.intent[:, None] * (weights.intent * mind.intent_topics + weights.intent_elsewhere * (1 - mind.intent_topics))
        return part

    def _sated(self, mind: Mind) -> np.ndarray:
        """float32 (n, TOPICS): 0 up to the tolerated number, 1 at twice it, at most 2."""
        if not self.config.mechanisms.satiation:
            return np.zeros_like(mind.satiation)
        return np.clip(mind.satiation / self.config.sessions.satiation_tolerance - 1, 0, 2)

    def _focus(self, mind: Mind, items: np.ndarray) -> np.ndarray:
        """float32 (n, k): share of the facets asked for that the item has, in a topic that serves the intent."""
        matched = np.zeros(items.shape, np.float32)
        asked = np.maximum((mind.focus_facet >= 0).sum(1), 1).astype(np.float32)
        for place in range(mind.focus_facet.shape[1]):
            for code, name in enumerate(FOCUS_FACETS):
                who = np.flatnonzero(mind.focus_facet[:, place] == code)
                if len(who):
                    matched[who] += getattr(self.catalogue, name)[items[who]] == mind.focus_value[who, place][:, None]
        serves = mind.intent_topics[np.arange(len(items))[:, None], self.catalogue.topic[items]]
        return matched / asked[:, None] * serves

    def _beside(self, items: np.ndarray, beside: np.ndarray) -> np.ndarray:
        """float32 (n, k): what standing beside another item adds."""
        weights, c = self.config.utility, self.catalogue
        extra = np.zeros(items.shape, np.float32)
        who = np.flatnonzero(beside >= 0)
        if len(who):
            item, shown = beside[who][:, None], items[who]
            extra[who] = weights.related * (c.topic[shown] == c.topic[item])
            if self.config.mechanisms.compatibility:
                extra[who] += weights.compatibility * np.maximum(self.looks.fit(c, item, shown), 0) * complementary(c, item, shown)
        return extra

    def _project_fit(self, mind: Mind, topic: np.ndarray, style: np.ndarray) -> np.ndarray:
        rows = np.arange(len(topic))[:, None]
        topics, styles = self.boards.wanted(self.projects, mind.users, mind.time_ms)
        return topics[rows, topic] * (0.6 + 0.4 * styles[rows, style])

    def _purchase(self, mind: Mind, items: np.ndarray) -> np.ndarray:
        c, p, u, a = self.catalogue, self.people, mind.users, self.config.actions
        drive = p.shopper[u][:, None] + 0.8 * (mind.shopping * mind.intent)[:, None]
        if not self.config.mechanisms.boards_carry_everything:
            away = (c.price_level[items] - p.price_level[u][:, None]) / 0.5
            drive = drive - a.cart_price * np.minimum(away * away, 4.0) / 2
            drive = drive + a.cart_brand * (p.brands[u][:, None, :] == c.brand[items][:, :, None]).any(2)
            size = p.size[u][:, None]
            drive = drive + a.cart_size * np.where(size < 0, 0.0, np.where(size == c.size[items], 1.0, -1.0))
        return drive.astype(np.float32)

    def chances(self, users: np.ndarray, items: np.ndarray, latents: Latents) -> Chances:
        """What may happen to ``items`` (n, k) that are looked at by ``users`` (n,)."""
        a, c, p = self.config.actions, self.catalogue, self.people
        v, product = latents.utility, c.product[items]
        opened = np.array([0, a.after_close_up], np.float32)[:, None, None]
        saver = (p.saver[users] + 1.2 * self.boards.collector[users])[:, None]
        less = 0.0 if self.config.mechanisms.boards_carry_everything else a.save_product * (c.kind[items] == 1)
        save = a.save + 0.9 * v + saver + a.save_project * latents.project + less
        hide = a.hide + p.hider[users][:, None] + a.hide_aversion * latents.aversion + a.hide_satiation * latents.sated
        return Chances(
            hide=a.at_most * sigmoid(hide),
            report=np.minimum(a.report_share * np.where(c.spam[items], 10, 1), 1.0).astype(np.float32),
            close_up=a.at_most * sigmoid(a.close_up + v),
            click=a.at_most * sigmoid(a.click + v + c.clickiness[items] + opened),
            long=sigmoid(a.long_click + 0.5 * v),
            save=a.at_most * sigmoid(save + opened),
            cart=a.at_most * sigmoid(a.cart + 0.7 * v + latents.purchase + opened) * product,
            checkout=sigmoid(a.checkout + 0.5 * latents.purchase),
        )


class Chances(NamedTuple):
    """Probabilities of the stages of a response, given a look; each float32 (n, k), or (2, n, k): without and with a close-up before.

    ``report`` is a share of hides, ``long`` of clicks, ``checkout`` of carts.
    """

    hide: np.ndarray
    report: np.ndarray
    close_up: np.ndarray
    click: np.ndarray
    long: np.ndarray
    save: np.ndarray
    cart: np.ndarray
    checkout: np.ndarray

    def of_actions(self) -> np.ndarray:
        """float32 (actions, n, k): the probability of each action, in the order of ACTIONS."""
        stay = 1 - self.hide
        clicked, carted = stay * self._either(self.click), stay * self._either(self.cart)
        by_action = {
            "close_up": stay * self.close_up,
            "click": clicked * (1 - self.long),
            "long_click": clicked * self.long,
            "save": stay * self._either(self.save),
            "add_to_cart": carted,
            "checkout": carted * self.checkout,
            "hide": self.hide * (1 - self.report),
            "report": self.hide * self.report,
        }
        return np.stack([by_action[name] for name in ACTIONS]).astype(np.float32)

    def of_positive(self) -> np.ndarray:
        """float32 (n, k): the probability of at least one positive action."""
        nothing = (1 - self.close_up) * (1 - self.click[0]) * (1 - self.save[0]) * (1 - self.cart[0])
        return ((1 - self.hide) * (1 - nothing)).astype(np.float32)

    def draw(self, looked: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """bool (actions, n, k): what is done; ``looked`` (n, k) is the probability that each item is looked at."""
        draw = rng.random((8, *looked.shape), dtype=np.float32)
        seen = draw[0] < looked
        hidden = seen & (draw[1] < self.hide)
        there = seen & ~hidden
        close = there & (draw[2] < self.close_up)
        click, save, cart = (
            there & (number < np.where(close, stage[1], stage[0]))
            for number, stage in zip(draw[3:6], (self.click, self.save, self.cart), strict=True)
        )
        long = click & (draw[6] < self.long)
        # one number serves two draws where only one of them can matter: reports are hides, checkouts are carts
        bought, report = cart & (draw[7] < self.checkout), hidden & (draw[7] < self.report)
        return np.stack([close, click & ~long, long, save, cart, bought, hidden & ~report, report])

    def _either(self, stage: np.ndarray) -> np.ndarray:
        """Probability of an action that is likelier after a close-up, over both cases."""
        return self.close_up * stage[1] + (1 - self.close_up) * stage[0]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), for x above -80."""
    return 1 / (1 + np.exp(-x))
