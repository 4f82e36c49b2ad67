"""Settings of the simulated world: its size, the switch of each mechanism, and the parameters that are fixed for a world version.

Size and switches may be set freely. The parameters below them are argued for in ``docs/decisions/0002-world.md``; changing a default
there makes another world and needs a new :data:`WORLD_VERSION`.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from corkboard.config import Section

DAY_MS = 86_400_000
WORLD_VERSION = 3
"""Raised whenever the same settings would give other tables; numbers of two versions must not stand in one table.

Version 2: items carry pictures. Version 3: some of them are scenes and collages. Everything else of either, to the byte, is version 1, but
for the name of the policy's release."""


class Mechanisms(Section):
    """One switch a cause. Control experiments turn a cause off and look which effect disappears."""

    intent: bool = True
    """People come with something in mind, for minutes to a day, half of the time outside their long-term interests."""
    drift: bool = True
    """The weights of long-term interests change over weeks."""
    rhythms: bool = True
    """Interests follow the week and the season, and lie idle for days before they come back."""
    dislikes: bool = True
    """People dislike some topics, styles and creators, and hide what shows them."""
    satiation: bool = True
    """Many of one topic within hours make the next one less welcome, and in the end hidden."""
    boredom: bool = True
    """What was seen within the last days is less interesting than what is new."""
    position_bias: bool = True
    """Lower places of a page are looked at less. Off: every place is looked at equally often, as often as the mean place."""
    picture_facets: bool = True
    """What only the picture shows (pattern, shade, style) is part of taste."""
    text_facets: bool = True
    """What only the text tells (material, use, brand, size) is part of taste."""
    residue: bool = True
    """Part of taste is in neither view; only what people do tells of it."""
    facet_noise: bool = True
    """Observed facets are wrong or missing for 20 to 40 % of items. Off: they are the truth."""
    handwriting: bool = True
    """Creators have topics, styles and a residue of their own."""
    projects: bool = True
    """Boards and part of the intents follow projects that mix topics."""
    boards_carry_everything: bool = False
    """Control: products are saved as readily as pins, and carts follow nothing (no price, no brand) that boards do not know."""
    compatibility: bool = True
    """Beside a related item, what fits its style, pattern, material and shade is more welcome."""
    random_slice: bool = True
    """A slice of the home requests is shown in random order, with the propensity of each place."""
    return_when_satisfied: bool = True
    """A good session brings the next one sooner."""
    ageing: bool = True
    """Items lose some of their appeal as they grow old."""
    late_offsite: bool = True
    """Some carts and most checkouts happen at the merchant, hours to days later."""
    text_complete: bool = False
    """Control: titles and descriptions also tell pattern, shade and style, as the picture shows them; then it has nothing to add."""
    live_policy: bool = True
    """The logging policy reacts within a session; off: it only knows yesterday."""


class UtilityConfig(Section):
    """Weights of the utility, in logits at full strength of each term."""

    interest: float = 1.7
    """Of the strongest long-term interest."""
    intent: float = 2.8
    """Of an intent at full strength in its main topic."""
    intent_elsewhere: float = -0.8
    """Of an intent on everything that does not serve it."""
    focus: float = 0.8
    """Of a facet the intent asks for (a style, a material ...), as a share of the intent's weight for a full match."""
    picture: float = 0.6
    """Of one standard deviation of taste in pattern, shade and style together."""
    text: float = 0.5
    """Of one standard deviation of taste in material, use, brand and size together."""
    brand: float = 0.4
    """Of a brand the person likes."""
    residue: float = 0.5
    """Of one standard deviation of taste that is in neither view."""
    quality: float = 0.5
    """Of one standard deviation of what everybody finds good."""
    aversion: float = 2.2
    """Taken off for one full dislike."""
    satiation: float = 0.7
    """Taken off when twice the tolerated number of one topic was seen."""
    boredom: float = 1.1
    """Taken off where the item was seen in the last days."""
    age: float = 0.22
    """Taken off each time the age, in units of two weeks, grows by a factor of e."""
    language: float = 0.5
    """Taken off for a text in a language that is not the person's."""
    related: float = 0.9
    """Of a related item in the topic of the one it stands beside."""
    compatibility: float = 1.1
    """Of a related item that fits perfectly to the one it stands beside."""


class ActionConfig(Section):
    """Base logits of the actions of one item that is looked at, and what else they follow."""

    close_up: float = -3.0
    """Logit of opening an item of utility 0."""
    click: float = -4.1
    """Logit of a click, long or not, without a close-up before."""
    save: float = -7.0
    """Logit of a save without a close-up before."""
    cart: float = -5.95
    """Logit of a cart, for what can be bought, without a close-up before."""
    hide: float = -5.2
    """Logit of a hide of what nobody minds."""
    at_most: float = 0.6
    """No close-up, click, save, cart or hide is likelier than this, however good or bad the item: people are lazy."""
    after_close_up: float = 2.1
    """Added to click, save and cart once the item was opened."""
    long_click: float = -2.0
    """Logit of a click lasting long, at utility 0 of the clicked item; utility adds to it."""
    checkout: float = -1.1
    """Logit of a checkout after a cart, at a fitting price."""
    save_product: float = -1.3
    """Added to saves of products, ads not counted: products get carts rather than saves."""
    cart_price: float = 1.3
    """Taken off a cart for a price one spread away from what the person pays in that category."""
    cart_brand: float = 1.4
    """Added to a cart for a brand the person likes."""
    cart_size: float = 0.7
    """Added to a cart for the person's size, taken off for another."""
    save_project: float = 1.5
    """Added to a save that fits one of the person's projects."""
    hide_aversion: float = 5.9
    """Added to a hide for one full dislike."""
    hide_satiation: float = 1.2
    """Added to a hide when twice the tolerated number of one topic was seen."""
    report_share: float = 0.02
    """Share of hides that are reports instead, ten times as high for spam."""
    block_share: float = 0.12
    """Share of hides for a disliked creator that block the creator."""
    follow_share: float = 0.05
    """Share of saves and long clicks that follow the creator."""
    undo_share: float = 0.02
    """Share of saves and hides that are taken back within a minute."""
    offsite_share: float = 0.35
    """Share of carts that happen at the merchant, later."""


class SessionConfig(Section):
    """When people come, how long they stay, and how long things last in their heads."""

    gap_days: float = 5.6
    """Median over people of the median time between two sessions."""
    gap_spread: float = 1.45
    """Standard deviation over people of the log of it: the long tail of activity."""
    gap_noise: float = 1.05
    """Standard deviation over sessions of the log of one person's gaps."""
    satisfaction: float = 0.35
    """How much shorter (in logs) the gap is after a session twice as good as usual."""
    stay: float = -0.1
    """Logit of asking for another page after one without any positive action."""
    stay_satisfied: float = 0.55
    """Added for each positive action on the page, at most three times."""
    intent_share: float = 0.8
    """Share of fresh sessions that have an intent."""
    intent_outside: float = 0.5
    """Share of intents outside the long-term interests."""
    intent_hours: float = 2.0
    """Median lasting of an intent; it is cut to 10 minutes to 24 hours."""
    intent_spread: float = 1.3
    """Standard deviation of the log of its lasting."""
    intent_fade: float = 0.35
    """Time in which a finished intent falls to 1/e, as a share of its lasting."""
    satiation_hours: float = 6.0
    """Time in which satiation falls to 1/e."""
    satiation_tolerance: float = 12.0
    """Looked-at items of one topic that are tolerated."""
    boredom_days: float = 14.0
    """How long a seen item counts as seen."""
    search_share: float = 0.13
    """Share of pages that are searches while an intent is at full strength."""
    related_share: float = 0.2
    """Share of pages, after one with an opened item, that are the related page of it."""
    pages_at_most: int = 12
    """No session is longer."""


class PolicyConfig(Section):
    """The logging policy: popularity and what it took for interest, with noise. It is not what Corkboard learns to be."""

    popular: int = 22
    """Candidates by recent popularity."""
    interest: int = 40
    """Candidates from topics it counted for the person until last night."""
    live: int = 16
    """Candidates from topics of the running session."""
    fresh: int = 12
    """Candidates among the newest items."""
    followed: int = 6
    """Candidates by followed creators."""
    uniform: int = 14
    """Candidates drawn evenly from the catalogue."""
    popularity_weight: float = 0.25
    """Of the log of recent popularity."""
    interest_weight: float = 1.1
    """Of the counted share of the topic."""
    live_weight: float = 0.8
    """Of the share of the topic in the running session."""
    noise: float = 0.8
    """Scale of the Gumbel noise on its scores."""
    half_life_days: float = 7.0
    """Of its popularity counts."""
    random_share: float = Field(default=0.1, ge=0, le=1)
    """Share of home requests shown in random order."""
    topic_accuracy: float = 0.8
    """Share of items whose topic it knows."""


class ActionValues(Section):
    """What one action is worth in ``oracle(action="utility")``: the expected sum of these over what is done with an item."""

    close_up: float = 0.2
    """An item was opened."""
    click: float = 0.5
    """A short click."""
    long_click: float = 1.0
    """A click of half a minute or more."""
    save: float = 1.5
    """A save to a board."""
    add_to_cart: float = 1.5
    """An item in the cart."""
    checkout: float = 3.0
    """An item bought."""
    hide: float = -3.0
    """A hide."""
    report: float = -5.0
    """A report."""


class WorldConfig(Section):
    """The simulated world. Size and switches may be set freely; other parameters belong to the world version."""

    seed: int = 7
    """Everything random derives from it."""
    items: int = Field(default=3000, ge=50)
    """Items in the end, those arriving during the test counted."""
    users: int = Field(default=1500, ge=10)
    """People."""
    days: int = Field(default=84, ge=4)
    """Days that are simulated."""
    start_ms: int = Field(default=1_756_684_800_000, multiple_of=DAY_MS)
    """First midnight, a Monday (2025-09-01 UTC). Moved by whole weeks, nothing but dates changes."""
    page_size: int = Field(default=25, ge=2, le=200)
    """Items of one page."""
    test_days: int = Field(default=14, ge=1)
    """Days at the end in which ``test_arrivals`` of the items arrive."""
    test_arrivals: float = Field(default=0.2, ge=0, le=1)
    """Share of items arriving in the last ``test_days``."""
    pictures: int = Field(default=240, ge=0, le=1024)
    """Side in px of the picture each item shows, as wide as a card of the page; 0 for none. About 1.5 CPU-ms and 5 kB an item at 128."""
    product_pictures: int = Field(default=1, ge=1, le=20)
    """Pictures of each item that can be bought, the main one counted; each further one costs as much as a main one."""
    scene_share: float = Field(default=0.25, ge=0, le=1)
    """Share of the pins and ideas about fashion and home whose picture is a scene: their own thing and one to three products."""
    collage_share: float = Field(default=0.15, ge=0, le=1)
    """Share of them whose picture is a collage: three to five things side by side. With ``scene_share`` at most 1."""
    seen_slots: int = Field(default=256, ge=16)
    """Places of the hashed memory of seen items, a person; it is what limits memory with millions of people."""
    keep_truth: bool = True
    """Keep the probabilities behind every shown item: 36 bytes each, needed by ``page_truth`` and ``oracle_retrieval``."""
    chunk: int = Field(default=20_000, ge=100)
    """People simulated side by side; more are simulated chunk by chunk within each day, with random numbers of their own."""
    mechanisms: Mechanisms = Mechanisms()
    """The switch of each cause."""
    utility: UtilityConfig = UtilityConfig()
    """What people like."""
    actions: ActionConfig = ActionConfig()
    """What they do about it."""
    sessions: SessionConfig = SessionConfig()
    """When they come and how long they stay."""
    policy: PolicyConfig = PolicyConfig()
    """What they are shown while the log is made."""
    values: ActionValues = ActionValues()
    """What the oracle's utility counts."""

    @model_validator(mode="after")
    def _shares(self) -> WorldConfig:
        if self.scene_share + self.collage_share > 1:
            raise ValueError("scene_share and collage_share together must be at most 1")
        return self

    @classmethod
    def tiny(cls, **changes: object) -> WorldConfig:
        """A world for tests: 300 items with pictures of 48 px, 150 people, 30 days, made in about two seconds."""
        small = {"items": 300, "users": 150, "days": 30, "test_days": 7, "page_size": 12, "pictures": 48}
        small["sessions"] = SessionConfig(gap_days=1.5)
        return cls.model_validate({**small, **changes})

    @property
    def end_ms(self) -> int:
        """The midnight after the last simulated day."""
        return self.start_ms + self.days * DAY_MS

    @property
    def test_ms(self) -> int:
        """The midnight at which the last ``test_days`` begin."""
        return self.end_ms - min(self.test_days, self.days) * DAY_MS
