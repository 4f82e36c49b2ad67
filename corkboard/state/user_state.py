"""What was known of a user at a moment. Replay over a lake, every store and every page read it through this one class.

A state is a function of the *set* of rows it was given: rows that arrive late, twice, or after the row that takes them
back end in the same state. Where more is known than the limits hold, lifetime ``counts`` miss an action that arrives after
``max_actions`` and more newer ones, because it cannot be told from a repetition; and a page that has rows on both sides of
a deletion may keep what came before it. Everything else holds without bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from corkboard.errors import StoreError
from corkboard.lake.schema import NEGATIVE, POSITIVE
from corkboard.state.bounded import Action, Key, NewestLog, Page, PageLog, Shown
from corkboard.state.config import LimitsConfig

FORMAT = 1
LIMITS = LimitsConfig()
_POSITIVE = frozenset(POSITIVE)
_HIDING = frozenset(NEGATIVE)
_CREATOR = frozenset(("follow", "block"))


class Profile(NamedTuple):
    """What a user told us; the newest row counts as a whole."""

    time_ms: int
    event_id: str
    country: str | None = None
    language: str | None = None
    interests: tuple[str, ...] = ()


class _Stored(msgspec.Struct, array_like=True):
    """A state as it is written down. Floors are what :mod:`corkboard.state.bounded` says."""

    format: int
    user_id: str
    first_ms: int | None
    last_ms: int | None
    deleted_ms: int
    profile: Profile | None
    actions: list[Action]
    hides: list[Action]
    creators: list[Action]
    pages: list[Page]
    floors: tuple[Key | None, Key | None, Key | None, Key | None]
    undone: dict[str, int]
    forgotten: dict[str, int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


class UserState:
    """Recent actions, what was shown, hidden, followed and blocked, lifetime counts and profile of one user key.

    ``user_id`` is the user key ("ann", "session:4f2"). ``first_ms`` and ``last_ms`` (UTC) span the actions and pages that
    ever counted, None before the first. A state that a store hands out is frozen, because others read it too: ``copy()`` it
    before you ``apply`` to it. What the properties return belongs to the state: read it, do not change it.
    """

    __slots__ = (
        "_actions", "_creators", "_forgotten", "_frozen", "_hides", "_pages", "_profile", "_undone", "_view",
        "deleted_ms", "first_ms", "last_ms", "limits", "user_id",
    )  # fmt: skip

    def __init__(self, user_id: str, limits: LimitsConfig = LIMITS):
        self.user_id = user_id
        self.limits = limits
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.deleted_ms = -1
        """Everything at or before this time was deleted; -1 where nothing was."""
        self._profile: Profile | None = None
        self._actions: NewestLog[Action] = NewestLog(limits.max_actions)
        self._hides: NewestLog[Action] = NewestLog(limits.max_hidden)
        self._creators: NewestLog[Action] = NewestLog(limits.max_creators)
        self._pages = PageLog(limits.max_shown)
        self._undone: dict[str, int] = {}
        self._forgotten: dict[str, int] = {}
        self._view: dict[str, Any] = {}
        self._frozen = False

    # ---------------------------------------------------------------------------------------------------------- growing

    def apply(self, row: Mapping[str, Any]) -> None:
        """Take one row (``event`` names its kind) of this user; kinds that say nothing about a user change nothing."""
        kind = row["event"]
        if kind == "action":
            if row["action"] == "undo":
                self.take_back(row["time_ms"], row["undoes"])
            else:
                about = row.get("item_id"), row.get("creator_id"), row.get("surface"), row.get("duration_ms")
                self.act(Action(row["time_ms"], row["event_id"], row["action"], *about))
        elif kind in ("impression", "served"):
            self.show(row["time_ms"], row["request_id"], [slot["item_id"] for slot in row["slots"]], seen=kind == "impression")
        elif kind == "user" and row.get("deleted"):
            self.forget(row["time_ms"])
        elif kind == "user":
            told = (row["time_ms"], row["event_id"], row.get("country"), row.get("language"), tuple(row.get("interests") or ()))
            self.tell(Profile(*told))

    def act(self, action: Action) -> None:
        """Take one action other than undo."""
        if not self._takes(action.time_ms):
            return
        new, oldest = self._actions.add(action)
        if oldest is not None and oldest.event_id not in self._undone:
            self._forgotten[oldest.action] = self._forgotten.get(oldest.action, 0) + 1
        if action.action in _HIDING:
            new |= self._hides.add(action)[0]
        elif action.action in _CREATOR:
            new |= self._creators.add(action)[0]
        self._touch(action.time_ms)
        if new:
            self._view = {}

    def take_back(self, time_ms: int, event_id: str) -> None:
        """Undo the action ``event_id``, which may be still to come. An undo cannot itself be undone."""
        if not self._takes(time_ms):
            return
        self._undone[event_id] = max(time_ms, self._undone.get(event_id, time_ms))
        if len(self._undone) > self.limits.max_undone:
            del self._undone[min(self._undone, key=lambda target: (self._undone[target], target))]
        self._view = {}

    def show(self, time_ms: int, request_id: str, item_ids: Iterable[str], seen: bool) -> None:
        """Take one page: what was served, or what a client saw of it (``seen``), which replaces the former."""
        if self._takes(time_ms):
            self._pages.add(time_ms, request_id, item_ids, seen)
            self._touch(time_ms)

    def tell(self, profile: Profile) -> None:
        """Take what the user told us, unless something newer is known."""
        if self._takes(profile.time_ms) and (self._profile is None or profile[:2] > self._profile[:2]):
            self._profile = profile

    def forget(self, until_ms: int) -> None:
        """Drop everything at or before ``until_ms`` and take nothing of that time any more."""
        if not self._takes(until_ms):
            return
        self.deleted_ms = until_ms
        for log in (self._actions, self._hides, self._creators, self._pages):
            log.forget(until_ms)
        if self._profile is not None and self._profile.time_ms <= until_ms:
            self._profile = None
        self._undone = {target: time_ms for target, time_ms in self._undone.items() if time_ms > until_ms}
        self._forgotten = {}
        self._view = {}
        times = [
            entry[0]
            for entries in (self._actions.entries, self._hides.entries, self._creators.entries, self._pages.pages)
            for entry in entries
        ]
        self.first_ms, self.last_ms = (min(times), max(times)) if times else (None, None)

    def _takes(self, time_ms: int) -> bool:
        if self._frozen:
            raise StoreError(
                "This user state is shared with others and cannot be changed", found=self.user_id, hint="Change a copy() of it."
            )
        return time_ms > self.deleted_ms

    def _touch(self, time_ms: int) -> None:
        self.first_ms = time_ms if self.first_ms is None else min(self.first_ms, time_ms)
        self.last_ms = time_ms if self.last_ms is None else max(self.last_ms, time_ms)

    # ---------------------------------------------------------------------------------------------------------- reading

    @property
    def actions(self) -> list[Action]:
        """Newest first, without those taken back; hides and reports are among them, for they carry meaning too."""
        view = self._view.get("actions")
        if view is None:
            view = self._view["actions"] = self._standing(self._actions)[::-1]
        return view

    def sequence(self, n: int = 100) -> list[Action]:
        """The newest ``n`` actions on items, newest first: the input of a sequence model."""
        return list(islice((action for action in self.actions if action.item_id is not None), n))

    def positives(self, n: int | None = None) -> list[Action]:
        """The newest ``n`` positive actions (None: all), newest first. An item hidden now is not positive, whatever was done before."""
        view = self._view.get("positives")
        if view is not None:
            return view if n is None else view[:n]
        hidden = self.hidden
        found = (action for action in self.actions if action.action in _POSITIVE and action.item_id not in hidden)
        if n is not None:
            return list(islice(found, n))
        view = self._view["positives"] = list(found)
        return view

    @property
    def shown(self) -> dict[str, Shown]:
        """By item id, when it was last shown and on how many of the pages remembered."""
        return self._pages.shown

    @property
    def hidden(self) -> frozenset[str]:
        """Items that were hidden or reported, unless that was taken back."""
        view = self._view.get("hidden")
        if view is None:
            items = (action.item_id for action in self._standing(self._hides))
            view = self._view["hidden"] = frozenset(item_id for item_id in items if item_id is not None)
        return view

    @property
    def follows(self) -> frozenset[str]:
        """Creators followed; of follow and block the newer one counts."""
        return self._creators_now("follow")

    @property
    def blocks(self) -> frozenset[str]:
        """Creators blocked; of follow and block the newer one counts."""
        return self._creators_now("block")

    @property
    def counts(self) -> dict[str, int]:
        """Actions of the user's whole life by kind, without those taken back; a kind never done is absent."""
        view = self._view.get("counts")
        if view is None:
            view = self._view["counts"] = self._forgotten.copy()
            for action in self.actions:
                view[action.action] = view.get(action.action, 0) + 1
        return view

    @property
    def country(self) -> str | None:
        return self._profile.country if self._profile else None

    @property
    def language(self) -> str | None:
        return self._profile.language if self._profile else None

    @property
    def interests(self) -> tuple[str, ...]:
        return self._profile.interests if self._profile else ()

    def _standing(self, log: NewestLog[Action]) -> list[Action]:
        """Entries that were not taken back, oldest first."""
        undone = self._undone
        if not undone or undone.keys().isdisjoint(log.ids):
            return log.entries
        return [action for action in log.entries if action.event_id not in undone]

    def _creators_now(self, what: str) -> frozenset[str]:
        view = self._view.get(what)
        if view is None:
            newest = {action.creator_id: action.action for action in self._standing(self._creators)}
            view = self._view[what] = frozenset(creator for creator, action in newest.items() if action == what and creator is not None)
        return view

    # ------------------------------------------------------------------------------------------- copying, writing, comparing

    @property
    def frozen(self) -> bool:
        return self._frozen

    def freeze(self) -> UserState:
        """From now on this state is shared: changing it raises :class:`StoreError`. Returns itself."""
        self._frozen = True
        return self

    def copy(self) -> UserState:
        """A state of its own, free to change. Some ten microseconds."""
        other = UserState.__new__(UserState)
        other.user_id, other.limits, other.first_ms, other.last_ms = self.user_id, self.limits, self.first_ms, self.last_ms
        other.deleted_ms, other._profile = self.deleted_ms, self._profile
        other._actions, other._hides, other._creators = self._actions.copy(), self._hides.copy(), self._creators.copy()
        other._pages, other._undone, other._forgotten = self._pages.copy(), self._undone.copy(), self._forgotten.copy()
        other._view = self._view.copy()  # what is in it is replaced, never changed
        other._frozen = False
        return other

    def to_bytes(self) -> bytes:
        """MessagePack; equal states give equal bytes only where their rows came in the same order."""
        return _encode(self._stored())

    @classmethod
    def from_bytes(cls, data: bytes, limits: LimitsConfig = LIMITS) -> UserState:
        """The state behind ``to_bytes``, cut to ``limits`` where those are narrower. Raises :class:`StoreError` for other bytes."""
        try:
            stored = _decode(data)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise StoreError(
                f"These bytes are not a user state: {error}", hint="Build the user states again: `corkboard build`."
            ) from error
        if stored.format != FORMAT:
            raise StoreError(
                "A user state has an unknown format",
                found=stored.format,
                expected=FORMAT,
                hint="Build the user states again: `corkboard build`.",
            )
        state = cls(stored.user_id, limits)
        state.first_ms, state.last_ms, state.deleted_ms, state._profile = stored.first_ms, stored.last_ms, stored.deleted_ms, stored.profile
        state._undone, state._forgotten = stored.undone, stored.forgotten
        for action in stored.actions[: -limits.max_actions]:
            if action.event_id not in stored.undone:
                state._forgotten[action.action] = state._forgotten.get(action.action, 0) + 1
        actions, hides, creators, pages = stored.floors
        state._actions = NewestLog(limits.max_actions, stored.actions, actions)
        state._hides = NewestLog(limits.max_hidden, stored.hides, hides)
        state._creators = NewestLog(limits.max_creators, stored.creators, creators)
        state._pages = PageLog(limits.max_shown, stored.pages, pages)
        return state

    def _stored(self) -> _Stored:
        return _Stored(
            format=FORMAT,
            user_id=self.user_id,
            first_ms=self.first_ms,
            last_ms=self.last_ms,
            deleted_ms=self.deleted_ms,
            profile=self._profile,
            actions=self._actions.entries,
            hides=self._hides.entries,
            creators=self._creators.entries,
            pages=self._pages.pages,
            floors=(self._actions.floor, self._hides.floor, self._creators.floor, self._pages.floor),
            undone=self._undone,
            forgotten=self._forgotten,
        )

    def __eq__(self, other: object) -> bool:
        return self._stored() == other._stored() if isinstance(other, UserState) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        known = f"{len(self.actions)} actions, {len(self.shown)} items shown, {len(self.hidden)} hidden, {len(self.follows)} followed"
        return f"UserState({self.user_id!r}: {known})"
