"""The world as others use it: tables of what can be seen, people who respond, and an oracle that knows the truth.

world = World(WorldConfig(seed=7))
world.tables()                                            what an outsider may know, ready for the lake
world.picture_bytes()                                     the pictures that its items carry
world.respond("u1", item_ids, time_ms)                    what this person does with that page, by the code that made the log
world.oracle("u1", item_ids, time_ms, action="save")      how likely that was
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from corkboard.errors import InputError, NotFound
from corkboard.world import looks as look
from corkboard.world import realism, tables
from corkboard.world.behaviour import ACTIONS, Behaviour
from corkboard.world.boards import Boards, Projects
from corkboard.world.catalogue import TOPICS, Catalogue
from corkboard.world.config import WorldConfig
from corkboard.world.live import Live, Shown
from corkboard.world.log import SURFACES
from corkboard.world.look_pictures import ShownLooks
from corkboard.world.looks import Looks
from corkboard.world.main_pictures import FurtherPictures, MainPictures
from corkboard.world.oracle import Oracle, expected_utility
from corkboard.world.people import INTERESTS, People
from corkboard.world.rendering import Products
from corkboard.world.requests import random_requests
from corkboard.world.simulate import Simulation
from corkboard.world.vocabulary import FACETS, PICTURE_FACETS
from corkboard.world.vocabulary import TOPICS as WORD_TOPICS

Rows = list[dict[str, Any]]


class World:
    """A seeded world. The same config gives the same tables, bit by bit.

    Making it is quick; the log of ``config.days`` is simulated when something first needs it. ``respond`` goes on from the end of the log.
    """

    def __init__(self, config: WorldConfig | None = None):
        self.config = config or WorldConfig()
        looks = Looks.make(self.config.seed)
        catalogue = Catalogue.make(self.config, looks)
        people = People.make(self.config, catalogue)
        projects = Projects.make(self.config)
        interests = np.zeros((len(people), TOPICS))
        np.add.at(interests, (np.arange(len(people))[:, None].repeat(INTERESTS, 1), people.interests.topic), people.interests.weight)
        boards = Boards.make(self.config, projects, interests, people.join_ms)
        self.behaviour = Behaviour(self.config, catalogue, people, boards, projects, looks)
        self.names = tables.Names(self.config, catalogue, people, boards)
        self._item_rows = {item_id: row for row, item_id in enumerate(catalogue.ids)}
        self._user_rows = {user_id: row for row, user_id in enumerate(people.ids)}

    # ------------------------------------------------------------------------------------------------- what can be seen

    @cached_property
    def simulation(self) -> Simulation:
        """The whole span of the config, simulated the first time it is needed."""
        simulation = Simulation.start(self.behaviour)
        simulation.run()
        return simulation

    def tables(self) -> dict[str, pl.DataFrame]:
        """The lake tables items, users, boards, impressions and actions, of all before ``config.end_ms``, whatever was responded since."""
        b, log, (pages, actions) = self.behaviour, self.simulation.log, self.simulation.made
        happened = np.flatnonzero(log.actions.whole()["time_ms"][:actions] < self.config.end_ms)
        return {
            "items": tables.items_table(self.config, b.catalogue, self.item_images()),
            "users": tables.users_table(self.config, b.people),
            "boards": tables.boards_table(self.config, b.people, b.boards),
            "impressions": tables.impressions_table(self.config, self.names, log, pages),
            "actions": tables.actions_table(self.names, b.catalogue, log, happened),
        }

    @cached_property
    def main_pictures(self) -> MainPictures:
        """The picture that each item carries into the lake; none where ``config.pictures`` is 0. Drawn the first time it is needed."""
        return MainPictures.make(self.config, self.behaviour.catalogue, self.shown_looks)

    @cached_property
    def shown_looks(self) -> ShownLooks:
        """Which main pictures are scenes and collages, and of what; none where ``config.pictures`` is 0."""
        return ShownLooks.make(self.config, self.behaviour.catalogue, self.behaviour.looks)

    @cached_property
    def further_pictures(self) -> FurtherPictures:
        """The further pictures of what can be bought, ``config.product_pictures`` - 1 of each."""
        return FurtherPictures.make(self.config, self.behaviour.catalogue)

    def item_images(self) -> list[list[str]]:
        """The column ``images`` of each item, in the order of ``item_ids``: the main picture, then further ones; empty without pictures."""
        main, further = self.main_pictures.images, self.further_pictures.images
        return [[*main[row : row + 1], *further.get(row, [])] for row in range(len(self.item_ids))]

    def picture_bytes(self) -> Iterator[tuple[str, bytes]]:
        """(item_id, JPEG bytes) of every picture, item by item and the main one first: what the hashes in the column ``images`` are of."""
        for row, (item_id, data) in enumerate(zip(self.item_ids, self.main_pictures.files, strict=False)):
            yield item_id, data
            for more in self.further_pictures.files.get(row, []):
                yield item_id, more

    def products(self) -> Products:
        """What is drawn of the items, row by row as ``item_ids``: for pictures in other domains and views, and for scenes."""
        return Products.of_world(self.behaviour.catalogue, self.config.seed)

    def realism(self) -> dict[str, float]:
        """Figures of this world that are held against public logs in docs/decisions/0002-world.md."""
        return realism.realism(self.tables())

    @property
    def item_ids(self) -> list[str]:
        """Every item that ever comes, in the order of the oracle's columns (a random one)."""
        return self.behaviour.catalogue.ids

    @property
    def user_ids(self) -> list[str]:
        """Everybody, in a random order."""
        return self.behaviour.people.ids

    def pictures(self) -> pl.DataFrame:
        """item_id, pattern, shade, style: the picture facets as they show (null: they do not), to draw pictures from.

        They occur in no column of the lake: only who looks at pictures may know them.
        """
        return pl.DataFrame(
            {"item_id": self.item_ids, **{name: _words(name, self.behaviour.catalogue.observed[name]) for name in PICTURE_FACETS}}
        )

    # -------------------------------------------------------------------------------------------------------- the loop

    @cached_property
    def live(self) -> Live:
        """The part that goes on after the log: who comes when, what is still to come of earlier sessions."""
        return Live(self.simulation, self.names)

    def respond(
        self,
        user_id: str,
        item_ids: Sequence[str],
        time_ms: int,
        surface: str = "home",
        session_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Rows:
        """What this person does with a page: rows of the actions table with ``event`` "action", in order of time, ready to be sent.

        It is drawn by the very code that made the log and changes the person: what they have had enough of, what they have seen, and, at
        the first page of a session (another ``session_id``, or half an hour since the last page), what they have in mind.
        ``context`` may hold ``item_id`` (the item a related page belongs to), ``query`` and ``request_id``, which the rows then carry.
        Carts and checkouts that happen days later come from :meth:`late`. Raises :class:`NotFound` for an unknown id and
        :class:`InputError` for a time before what the person has already done.
        """
        if surface not in SURFACES:
            raise InputError("People of the world do not know this surface", found=surface, expected=SURFACES)
        given = dict(context or {})
        beside = self._items([given["item_id"]])[0] if given.get("item_id") is not None else -1
        return self.live.respond(self._user(user_id), Shown(self._items(item_ids), surface, int(beside), given), time_ms, session_id)

    def arrive(self, user_id: str, time_ms: int, session_id: str | None = None) -> None:
        """The person comes, and has something in mind or not, before any page: so that the oracle can be asked what to show first.

        :meth:`respond` does this by itself where it was not done.
        """
        self.live.arrive(self._user(user_id), time_ms, session_id)

    def late(self, until_ms: int) -> Rows:
        """Action rows of earlier pages that only happen by ``until_ms``, each given once: late carts and checkouts at the merchant."""
        return self.live.late(until_ms)

    def visits(self, until_ms: int) -> list[tuple[str, int]]:
        """(user_id, time_ms) of everybody who comes, or turns to the next page, before ``until_ms``, in order of time.

        A person stays on this list until :meth:`respond` is called for them.
        """
        return [(self.user_ids[row], time_ms) for row, time_ms in self.live.due(until_ms)]

    def ask(self, user_id: str, time_ms: int) -> str:
        """What this person would type into a search box at ``time_ms``, for the intent they have."""
        return self.live.ask(self._user(user_id), time_ms)

    # ------------------------------------------------------------------------------------------------------- the truth

    @cached_property
    def _oracle(self) -> Oracle:
        return Oracle(self.behaviour, self.simulation.minds, self.simulation.log)

    def oracle(self, user_id: str, item_ids: Sequence[str], time_ms: int, action: str = "utility", beside: str | None = None) -> np.ndarray:
        """float32 (n,): what truly is expected of this person and these items at any moment, past or present, if they look at them.

        ``action`` is "utility" (expected sum of ``config.values``), "positive" (any positive action) or the name of an action on items,
        then the answer is its probability. ``beside`` is the item a related page belongs to. A new intent is drawn when
        a session begins (:meth:`arrive`); before that nobody knows it, the oracle neither.
        """
        rows = np.array([self._user(user_id)])
        near = None if beside is None else self._items([beside])
        return self._oracle.answer(rows, np.array([time_ms]), self._items(item_ids)[None, :], action, near)[0]

    def oracle_scores(self, user_ids: Sequence[str], time_ms: int, action: str = "utility") -> np.ndarray:
        """float32 (users, items), columns as ``item_ids``: :meth:`oracle` for the whole catalogue, -inf where an item is not there then.

        It is the best ranking of what to show. It is not a bound for retrieval measured on a log, where only what was shown can be found:
        that is :meth:`oracle_retrieval`.
        """
        return self._oracle.everything(self._users(user_ids), time_ms, action)

    def oracle_retrieval(self, user_ids: Sequence[str], at_ms: int, end_ms: int) -> np.ndarray:
        """float32 (users, items), columns as ``item_ids``: true probability that the person acts positively on the item in [at, end).

        Given the pages that were in fact shown in that time, which no system can know at ``at_ms``. So its top k holds more of the
        positives, in expectation, than any k items chosen without seeing the actions themselves: nobody may beat it, and nobody can
        reach it either. Items that came after ``at_ms`` are -inf, for nobody could have retrieved them then.
        """
        scores = self._oracle.exposed(self._users(user_ids), at_ms, end_ms)
        scores[:, self.behaviour.catalogue.created_ms >= at_ms] = -np.inf
        return scores

    def page_truth(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame:
        """The truth about every slot that was shown in [start, end): request_id, item_id, position, and float32 columns

        ``looked`` (probability that the place is looked at), ``utility``, ``positive`` and one an action: given a look.
        """
        pages = self.simulation.log.truth()
        low, high = (0 if start_ms is None else start_ms), (self.config.end_ms if end_ms is None else end_ms)
        chosen = np.flatnonzero((pages["time_ms"] >= low) & (pages["time_ms"] < high))
        page, place = np.nonzero(pages["items"][chosen] >= 0)
        chances = pages["truth"][chosen][page, place].T
        requests = self.names.of("q", self.simulation.log.pages.rows)
        return pl.DataFrame(
            {
                "request_id": [requests[k] for k in chosen[page].tolist()],
                "item_id": [self.item_ids[k] for k in pages["items"][chosen][page, place].tolist()],
                "position": place.astype(np.int32),
                "looked": self.behaviour.looked(pages["items"].shape[1])[place],
                "utility": expected_utility(self.behaviour, chances),
                "positive": pages["positive"][chosen][page, place],
                **dict(zip(ACTIONS, chances, strict=True)),
            }
        )

    def random_requests(self, start_ms: int, end_ms: int, count: int, seed: int = 0, times: int = 1) -> tuple[pl.DataFrame, pl.DataFrame]:
        """``count`` requests in random order, apart from the log: (slots, actions), in order of time.

        Each is asked at the moment of a logged home page of [start, end), ``times`` times in a row; pages are drawn without replacement
        and, where there are too few, round by round: that page's items in a fresh random order, and what the person then does, by the
        code that made the log. ``slots`` has one row an item shown: request_id, user_id, item_id, page_id (the logged request, so that
        a model needs to score a page only once, however often it was asked), time_ms, position and the truth about it, as in
        :meth:`page_truth`; ``actions`` one row an action: request_id, user_id, item_id, time_ms (of the request), position, action.

        Nothing in the world changes: no log, no memory. Raises :class:`InputError` where no home page was shown in that time.
        """
        return random_requests(self._oracle, self.names, self.simulation.made[0], (start_ms, end_ms), count, seed, times)

    def facets(self) -> pl.DataFrame:
        """item_id and the true topic (a word), second topic and facets of every item, whatever its views say of them."""
        c = self.behaviour.catalogue
        columns = {name: _words(name, getattr(c, name)) for name in FACETS}
        brands = [c.brand_names[k] for k in c.brand.tolist()]
        return pl.DataFrame(
            {
                "item_id": self.item_ids,
                "topic": _words("topic", c.topic),
                "second_topic": _words("topic", c.second_topic),
                "brand": brands,
                **columns,
            }
        )

    def objects(self) -> pl.DataFrame:
        """What shows in the main pictures of looks and of what is sold, one row an object, picture by picture from back to front.

        Columns: item_id (whose picture), image ("sha256:..."), left, top, right, bottom (float32, shares of the picture), product_id (the
        item that is sold, null where what shows is in no catalogue), category, visible (share that no other object hides), kind
        ("scene", "collage", or "product" for a picture of one thing that is sold). It is in no table: only who looks may know it.
        """
        return self.main_pictures.objects

    def shown_outfits(self) -> pl.DataFrame:
        """What lies together in collages: outfit_id (the item whose picture it is), item_id (null for its own thing, which nobody

        sells), category, noise (this place was filled at random).
        """
        return self.shown_looks.outfits(self.behaviour.catalogue)

    def outfits(self, count: int = 600) -> pl.DataFrame:
        """``count`` outfits: outfit_id, family, item_id, category, noise (this place was filled at random)."""
        return look.outfits(self.behaviour.catalogue, self.behaviour.looks, self.config.seed, count)

    def compatibility(self, left: Sequence[str], right: Sequence[str]) -> np.ndarray:
        """float32 (n,): how well items ``left[i]`` and ``right[i]`` go together by style, pattern, material and shade, about -1 to 1."""
        return self.behaviour.looks.fit(self.behaviour.catalogue, self._items(left), self._items(right))

    def intent(self, user_id: str, time_ms: int) -> dict[str, Any]:
        """What the person has in mind: strength (0 to 1), topics (word -> how well it serves it), facets, outside, shopping."""
        return self._oracle.intent(self._user(user_id), time_ms)

    # -------------------------------------------------------------------------------------------------------------- ids

    def _user(self, user_id: str) -> int:
        return int(self._users([user_id])[0])

    def _users(self, user_ids: Iterable[str]) -> np.ndarray:
        return _lookup(self._user_rows, user_ids, "person")

    def _items(self, item_ids: Iterable[str]) -> np.ndarray:
        return _lookup(self._item_rows, item_ids, "item")


def _lookup(rows: Mapping[str, int], ids: Iterable[str], what: str) -> np.ndarray:
    try:
        return np.array([rows[one] for one in ids], np.int64)
    except KeyError as error:
        raise NotFound(
            f"The world has no such {what}", found=error.args[0], hint="Ids depend on the seed and the size of the world."
        ) from None


def _words(facet: str, codes: np.ndarray) -> list[str | None]:
    """The English word of each code, None for -1."""
    words = [topic.words[0][0] for topic in WORD_TOPICS] if facet == "topic" else [word for word, _ in FACETS[facet]]
    return [words[code] if code >= 0 else None for code in codes.tolist()]
