"""What each route answers, from bytes to bytes; blocking, to be run in threads."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson

from corkboard.artifacts import Release
from corkboard.errors import NotFound, StoreError
from corkboard.feed.home import SURFACES_SERVED
from corkboard.feed.looks import COMPLETE_THE_LOOK, LOOKS, SHOP_THE_LOOK
from corkboard.feed.page import Page, RecommendRequest
from corkboard.feed.reorder import as_given, reorder
from corkboard.feed.visual import VISUAL
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.schema import DEFAULT_TENANT, Refusal, validate_event
from corkboard.pipeline.purge import purge_at_rest, purge_user
from corkboard.serving.bodies import (
    IMAGE,
    RecommendBody,
    Refused,
    form_body,
    parse_events,
    parse_rank,
    parse_recommend,
    parse_suggest,
    parse_weights,
)
from corkboard.serving.config import ServingConfig
from corkboard.serving.images import Served, Upload, read_upload
from corkboard.serving.live import Live, LiveEngine, describe
from corkboard.serving.multipart import read_form
from corkboard.serving.people import user_view
from corkboard.serving.problems import Problem
from corkboard.serving.suggest import MAX_SUGGESTIONS, Suggestions

log = logging.getLogger("corkboard.serving")

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
NOTES = {
    "no_release": "No release is live yet; the page fills as soon as the first one is built.",
    "release_load_failed": "A newer release could not be loaded; the one before it still serves.",
    "no_states": "The release has no user states; only what was done since the store was made is known.",
}
"""What the server adds to the notes of the feed."""


AHEAD_MS = 86_400_000
"""How far ahead of our clock a live event may be dated. A day covers time zones taken for UTC; beyond it lies a broken clock, and the
calendar of the lake ends with its last event."""


class Answers:
    """The routes of ``/v1`` and the probes over one engine."""

    def __init__(self, engine: LiveEngine, config: ServingConfig, limits: PictureLimits | None = None):
        self.engine, self.config, self.limits = engine, config, limits or PictureLimits()
        self.suggestions = Suggestions(engine)
        self._later = ThreadPoolExecutor(1, "purge")

    def close(self) -> None:
        """Finish what was put off."""
        self._later.shutdown()

    # ---------------------------------------------------------------------------------------------------------------- pages

    def recommend(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        """A page for the request in ``body``, and the header that says where its time went (Server-Timing, in ms)."""
        return self._recommend(parse_recommend(body, SURFACES_SERVED), None)

    def form(self, content_type: str, body: bytes) -> tuple[RecommendBody, Upload]:
        """The request and the picture of a form. Raises :class:`Problem` 400, 413 or 415."""
        parts = read_form(content_type, body)
        if IMAGE not in parts:
            raise Problem(400, "bad_form", "The form has no picture", found=sorted(parts), expected=f"a file in the field {IMAGE}")
        asked = parse_recommend(form_body(parts), SURFACES_SERVED, with_image=True)
        return asked, read_upload(parts[IMAGE].data, asked.crop, self.limits)

    def recommend_alike(self, asked: RecommendBody, upload: Upload) -> tuple[bytes, dict[str, str]]:
        """As :meth:`recommend`, for a picture that came with the request."""
        return self._recommend(asked, upload)

    def _recommend(self, asked: RecommendBody, upload: Upload | None) -> tuple[bytes, dict[str, str]]:
        image_hash = None if upload is None else upload.hash
        image = None if upload is None else upload.rgb
        if upload is None and asked.surface in (VISUAL, *LOOKS):
            image, image_hash = self._picture_of(asked)
        request = RecommendRequest(
            surface=asked.surface or "home",
            user_id=asked.user_id,
            session_id=asked.session_id,
            tenant=asked.tenant,
            k=asked.k,
            cursor=asked.cursor,
            filter=asked.filter,
            explain=asked.explain,
            item_id=asked.item_id,
            query=asked.query,
            image=image,
            image_hash=image_hash,
            crop=asked.crop,
            item_ids=tuple(asked.item_ids or ()),
            category=asked.category,
        )
        page, live = self.engine.recommend(request)
        answer = _empty_page(asked.surface) if page is None or live is None else self._page(page, live, asked)
        for note in answer["notes"]:
            self.engine.metrics.notes.add(note["code"])
        return orjson.dumps(answer, option=_OPTIONS), {"server-timing": _timing(page)}

    def _picture_of(self, asked: RecommendBody) -> tuple[np.ndarray | None, str | None]:
        """Of the item that is asked with: its picture where only a part of it counts, for the index knows the whole, and a look reads it
        itself; and its hash."""
        live = self.engine.live
        if live is None:
            return None, None
        row = -1 if asked.item_id is None else live.feed.catalogue.row(asked.item_id)
        found = None if row < 0 else self.engine.images.main(live.feed.catalogue.images(row))
        if asked.crop is None or asked.surface in LOOKS:
            return None, found
        try:
            return self.engine.images.rgb(found or ""), found
        except NotFound:
            raise Problem(400, "bad_input", "The item has no picture to take a part of", found=asked.item_id, expected="no crop") from None

    def _page(self, page: Page, live: Live, asked: RecommendBody) -> dict[str, Any]:
        answer = self._labelled(page.to_dict(), live)
        if asked.details:
            for item in answer["items"]:
                item["item"] = _with_findings(describe(live.feed.catalogue, item["item_id"], self.engine.images), live)
        if asked.surface in (VISUAL, *LOOKS):
            answer["image_hash"] = page.served["context_image_hash"]
        self.engine.metrics.pages.add(live.release.id)
        return answer

    def _labelled(self, answer: dict[str, Any], live: Live) -> dict[str, Any]:
        """The answer with the label of its release, and with what the server has to note."""
        answer["release_label"] = live.release.label
        codes = [*live.loaded.notes, *(["release_load_failed"] if self.engine.failure is not None else [])]
        answer["notes"] += [_note(code) for code in codes]
        return answer

    def rank(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        """The list in ``body`` in the order for its person, and the header that says where its time went."""
        asked, live = parse_rank(body), self.engine.live
        if live is None:
            empty = {name: value for name, value in _empty_page().items() if name != "next_cursor"}
            answer, stages = {**empty, "items": [item.to_dict() for item in as_given(asked)]}, {}
        else:
            try:
                live.catch_up()
            except StoreError as error:  # the answer says so itself
                self.engine.metrics.store_errors.add()
                log.warning("What arrived live could not be read: %s", error)
            ranked = reorder(live.feed, asked)
            answer, stages = self._labelled(ranked.to_dict(), live), ranked.timings_ms
        for note in answer["notes"]:
            self.engine.metrics.notes.add(note["code"])
        return orjson.dumps(answer, option=_OPTIONS), {"server-timing": _durations(stages)}

    def explain(self, request_id: str, item_id: str) -> bytes:
        """Why an item is on a page."""
        return orjson.dumps(self.engine.explain(request_id, item_id), option=_OPTIONS)

    def item(self, item_id: str) -> bytes:
        """The catalogue entry of an item, and what is guessed of it."""
        found = self.engine.items([item_id])
        if not found:
            raise NotFound("The live release knows no such item", found=item_id)
        return orjson.dumps(_with_findings(found[0], self.engine.live))

    def suggest(self, query: Mapping[str, str]) -> bytes:
        """What completes a search as it is typed."""
        asked = parse_suggest(query, MAX_SUGGESTIONS)
        answer = self.suggestions.answer(asked.q, asked.k, asked.user_key, asked.tenant)
        return orjson.dumps(answer)

    def image(self, wanted: str, side: str | None) -> Served:
        """A picture of the lake."""
        return self.engine.images.picture(wanted, side)

    # --------------------------------------------------------------------------------------------------------------- events

    def events(self, body: bytes) -> bytes:
        """Keep the events in ``body``; answers when they are durable."""
        count = self.engine.metrics.events
        events, rejected = parse_events(body, self.config.max_events)
        indices, rows = [], []
        for index, event in events:
            verdict = validate_event(event)
            if not isinstance(verdict, Refusal) and verdict["time_ms"] > time.time() * 1000 + AHEAD_MS:
                verdict = Refusal("time_ms", str(verdict["time_ms"]), "a time that is not in the future by more than a day")
            if isinstance(verdict, Refusal):
                rejected.append(Refused(index, verdict.field, verdict.found, verdict.expected))
            else:
                indices.append(index)
                rows.append(verdict)
        count.add("rejected", amount=len(rejected))
        try:
            new = self.engine.append(rows) if rows else []
        except StoreError:
            count.add("refused", amount=len(rows))
            raise
        accepted = sum(new)
        count.add("accepted", amount=accepted)
        count.add("duplicate", amount=len(new) - accepted)
        self._purge_deleted([row for row, is_new in zip(rows, new, strict=True) if is_new and row["event"] == "user" and row["deleted"]])
        rejected.sort(key=lambda refused: refused.index)
        listed = [{"index": one.index, "field": one.field, "found": one.found, "expected": one.expected} for one in rejected]
        return orjson.dumps({"accepted": accepted, "duplicates": len(new) - accepted, "rejected": listed})

    def _purge_deleted(self, rows: list[dict[str, Any]]) -> None:
        """The store has forgotten these users already; lake and artefacts follow without keeping the sender waiting."""
        for row in rows:
            self._later.submit(self._purge_at_rest, row["user_id"], row["tenant"])

    def _purge_at_rest(self, user_id: str, tenant: str) -> None:
        try:
            purge_at_rest(self.engine.workspace, user_id, tenant)
        except Exception:
            log.exception("A deleted user is out of the store, but not yet out of lake and artefacts; DELETE /v1/users/{id} tries again")

    # ---------------------------------------------------------------------------------------------------------------- users

    def users(self) -> bytes:
        """A few users to look through."""
        return orjson.dumps({"users": self.engine.sample_users()})

    def user_state(self, user_id: str, query: Mapping[str, str]) -> bytes:
        """What is known of a user."""
        live = self.engine.live
        state = self.engine.store.state(user_id, _tenant(query))
        return orjson.dumps(user_view(state, live.feed.catalogue if live else None, self.engine.images))

    def delete_user(self, user_id: str, query: Mapping[str, str]) -> bytes:
        """Forget a user everywhere; answers when it is done."""
        purged = purge_user(self.engine.workspace, self.engine.store, user_id, _tenant(query))
        self.engine.poll()
        return orjson.dumps(purged.to_dict())

    # ------------------------------------------------------------------------------------------------------------- releases

    def releases(self) -> bytes:
        """Every release, oldest first."""
        serving, named = self.engine.live, self.engine.releases.current_id()
        releases = [_release_view(release, serving, named) for release in self.engine.releases.list()]
        return orjson.dumps({"live": serving.release.id if serving else None, "releases": releases})

    def promote(self, release_id: str) -> bytes:
        """Make a release live; answers when this process serves it."""
        if not release_id.isalnum():
            raise NotFound("There is no such release", found=release_id, expected=[release.id for release in self.engine.releases.list()])
        before = self.engine.live
        release = self.engine.releases.choose(release_id)
        self.engine.poll()
        failure = self.engine.failure
        if failure is not None and failure.release_id == release_id:
            hint = "The release before it still serves. Promote another one, or mend this one: it is tried again by itself."
            raise Problem(503, "release_load_failed", f"The release could not be loaded: {failure.message}", found=release_id, hint=hint)
        return orjson.dumps({"live": release.id, "label": release.label, "before": before.release.id if before else None})

    def utility(self) -> bytes:
        """What an action is worth on the pages of this process, and in the settings."""
        now, settings = self.engine.weights_now(), self.engine.weights.settings
        return orjson.dumps({"weights": now.model_dump(), "settings": settings.model_dump()})

    def set_utility(self, body: bytes) -> bytes:
        """Lay other weights over those of the settings; answers when the pages of this process follow."""
        changes = parse_weights(body)
        self.engine.set_weights(changes)
        return self.utility()

    # --------------------------------------------------------------------------------------------------------------- probes

    def health(self) -> bytes:
        """Alive, and what is not as it should be."""
        live, failure = self.engine.live, self.engine.failure
        store = self.engine.store_works()
        troubles = [f"Release {failure.release_id} could not be loaded: {failure.message}"] if failure else []
        troubles += [] if store else ["The store cannot be reached."]
        wrong = self.engine.weights_failure
        troubles += [f"The utility weights of the workspace cannot be used: {wrong}"] if wrong else []
        release = {"id": live.release.id, "label": live.release.label, "created_ms": live.release.created_ms} if live else None
        return orjson.dumps(
            {"status": "degraded" if troubles else "ok", "release": release, "store": "up" if store else "down", "troubles": troubles}
        )

    def ready(self) -> bytes:
        """Whether pages can be served and events kept. Raises :class:`Problem` 503 where not."""
        if self.engine.live is None:
            raise Problem(503, "no_release", NOTES["no_release"], hint="Run `corkboard build`.")
        if not self.engine.store_works():
            raise Problem(
                503, "store_unreachable", "The store cannot be reached", hint="Pages are served all the same; events are refused."
            )
        return orjson.dumps({"status": "ready", "release": self.engine.live.release.id})


def _timing(page: Page | None) -> str:
    """The ``Server-Timing`` header: milliseconds by stage, and how many candidates went into each ranker."""
    if page is None:
        return ""
    return ", ".join([_durations(page.timings_ms), *(f'{name};desc="{count}"' for name, count in page.counts.items())])


def _durations(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{stage};dur={ms:.3f}" for stage, ms in stages.items())


def _empty_page(surface: str | None = None) -> dict[str, Any]:
    groups: dict[str, Any] = {SHOP_THE_LOOK: {"objects": []}, COMPLETE_THE_LOOK: {"shelves": []}}.get(surface or "", {})
    return groups | {
        "request_id": None,
        "release": None,
        "release_label": None,
        "items": [],
        "next_cursor": None,
        "notes": [_note("no_release")],
    }


def _with_findings(entry: dict[str, Any] | None, live: Live | None) -> dict[str, Any] | None:
    """A catalogue entry and, apart from what it says, what was found out: ``guessed`` where it leaves something unsaid that can be told,
    ``things`` where its picture shows several."""
    if entry is None or live is None:
        return entry
    parts = live.feed.parts
    guessed, things = parts.guesses.of(entry["item_id"]), parts.looks.things(parts.catalogue.row(entry["item_id"]))
    return {**entry, **({"guessed": guessed} if guessed else {}), **({"things": things} if things > 1 else {})}


def _note(code: str) -> dict[str, str]:
    return {"code": code, "text": NOTES[code]}


def _release_view(release: Release, serving: Live | None, named: str | None) -> dict[str, Any]:
    parts = {role: artifact.key for role, artifact in sorted(release.artifacts.items())}
    is_live = serving is not None and serving.release.id == release.id
    return {
        "id": release.id,
        "label": release.label,
        "created_ms": release.created_ms,
        "live": is_live,
        "current": release.id == named,
        "artifacts": parts,
        "metrics": dict(release.metrics),
    }


def _tenant(query: Mapping[str, str]) -> str:
    return query.get("tenant") or DEFAULT_TENANT
