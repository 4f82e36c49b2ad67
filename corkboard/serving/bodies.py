"""Bodies that come in: bytes to typed requests, or a :class:`Problem` that says what was found and what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta, Struct

from corkboard.errors import InputError
from corkboard.feed.looks import COMPLETE_THE_LOOK, LOOKS, MAX_ITEMS
from corkboard.feed.reorder import SURFACES_RANKED, RankRequest
from corkboard.feed.visual import checked_crop, parse_crop
from corkboard.lake.schema import DEFAULT_TENANT, SESSION_KEY
from corkboard.lake.tables import TITLE
from corkboard.ranking.config import UtilityWeights
from corkboard.serving.multipart import Part
from corkboard.serving.problems import Problem, shown

MAX_ID_BYTES = 512
"""Longest id, as in the tables of the lake."""
MAX_QUERY_BYTES = TITLE.max_bytes
"""Longest query, as in the tables of the lake."""
MAX_WEIGHT = 1e6
"""Largest utility weight, by its absolute value."""
Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES)]

_EXPECTED = re.compile(r"^Expected (?P<expected>.+?)(?:, got `(?P<found>[^`]*)`)?(?: - at `\$\.?(?P<path>[^`]*)`)?$")
_MISSING = re.compile(r"missing required field `(?P<path>[^`]*)`")


class RecommendBody(Struct, forbid_unknown_fields=True):
    """The body of ``POST /v1/recommend``. ``user_id`` or ``session_id`` must be there."""

    surface: Annotated[
        str | None,
        Meta(
            description="Left out: complete_the_look with item_ids, visual with a picture, related with item_id, search with query, "
            "else home."
        ),
    ] = None
    user_id: Id | None = None
    session_id: Id | None = None
    tenant: Id = "default"
    item_id: Annotated[
        Id | None,
        Meta(description="The item that a page of related or shop is beside, whose picture a visual one looks like, or that is the look."),
    ] = None
    item_ids: Annotated[
        Annotated[list[Id], Meta(min_length=1, max_length=MAX_ITEMS)] | None,
        Meta(description="The products that a look is made of; of the surface complete_the_look alone, instead of item_id or a picture."),
    ] = None
    category: Annotated[
        Id | None, Meta(description="What a look shall be completed with; left out, whatever it lacks. Of complete_the_look alone.")
    ] = None
    query: Annotated[Annotated[str, Meta(max_length=1000)] | None, Meta(description="What a search is for; other pages only log it.")] = (
        None
    )
    crop: Annotated[
        tuple[float, float, float, float] | None,
        Meta(description="The part of the picture that counts: x0, y0, x1, y1 as shares of it, upright; of surfaces that take a picture."),
    ] = None
    k: Annotated[int, Meta(ge=1, le=1000, description="Items on the page; of a look for each object and each shelf.")] = 25
    cursor: Annotated[str, Meta(max_length=65_536)] | None = None
    filter: dict[str, Any] | None = None
    explain: bool = False
    """Add to each item what ``GET /v1/explain`` would say of it."""
    details: bool = False
    """Add to each item its catalogue entry."""


_decode_recommend = msgspec.json.Decoder(RecommendBody).decode


def parse_recommend(body: bytes, surfaces: Sequence[str], with_image: bool = False) -> RecommendBody:
    """The request in ``body``, its surface filled in; ``with_image`` says that a picture came beside it.

    Raises :class:`Problem` (400) with the nearest known name for an unknown key or surface, and where surface, item and picture do not go
    together: a page that left one of them out would look like an answer to it.
    """
    try:
        asked = _decode_recommend(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise explain_refusal(body, error, RecommendBody) from None
    if asked.surface is None:
        asked.surface = _surface_of(asked, with_image)
    if asked.surface not in surfaces:
        raise Problem(
            400,
            "unknown_surface",
            "This surface is not built",
            found=asked.surface,
            expected=list(surfaces),
            hint=_near(asked.surface, surfaces),
        )
    if asked.user_id is None and asked.session_id is None:
        raise Problem(
            400,
            "nobody",
            "A page is for somebody",
            expected="user_id or session_id",
            hint="For a visitor without a name send any session_id.",
        )
    _check_item(asked, with_image)
    for name in ("user_id", "session_id", "tenant", "item_id"):
        _check_id(name, getattr(asked, name))
    for item_id in asked.item_ids or ():
        _check_id("item_ids", item_id)
    _check_query("query", asked.query)
    return asked


def _surface_of(asked: RecommendBody, with_image: bool) -> str:
    """What is meant where no surface is named."""
    if asked.item_ids is not None:
        return COMPLETE_THE_LOOK
    if with_image:
        return "visual"
    if asked.item_id is not None:
        return "related"
    return "home" if asked.query is None else "search"


def _check_look(asked: RecommendBody, with_image: bool) -> None:
    """A look is a picture, the item that shows it, or a few products, and has no next page."""
    if asked.item_ids is not None and asked.surface != COMPLETE_THE_LOOK:
        found = len(asked.item_ids)
        raise Problem(400, "bad_input", f"The surface {asked.surface} takes one item", found=found, expected="item_id")
    if asked.category is not None and asked.surface != COMPLETE_THE_LOOK:
        expected, hint = f"the surface {COMPLETE_THE_LOOK}", "Items of one category are found with filter."
        raise Problem(
            400, "bad_input", f"The surface {asked.surface} takes no category", found=asked.category, expected=expected, hint=hint
        )
    if asked.surface not in LOOKS:
        return
    given = {"image": with_image, "item_id": asked.item_id is not None, "item_ids": asked.item_ids is not None}
    found = [name for name, there in given.items() if there]
    fit = ["image", "item_id"] if asked.surface != COMPLETE_THE_LOOK else list(given)
    if len(found) != 1:
        raise Problem(400, "bad_input", "A look is one thing", found=found, expected=f"one of {', '.join(fit)}")
    if asked.crop is not None and asked.item_ids is not None:
        raise Problem(400, "bad_input", "Products have no part", found="crop", expected="crop with image or item_id")
    if asked.cursor is not None:
        raise Problem(400, "bad_input", "A look has one page", found="cursor", expected="no cursor")
    _check_crop(asked)


def _check_item(asked: RecommendBody, with_image: bool) -> None:
    """A related page is beside an item, a visual one looks like a picture, which may be that of an item, a look is either or made of
    products, and no other page takes any of them."""
    _check_look(asked, with_image)
    if asked.surface in LOOKS:
        return
    if asked.surface == "visual":
        _check_picture(asked, with_image)
        return
    if with_image or asked.crop is not None:
        what = "a picture" if with_image else "a part of one"
        raise Problem(400, "bad_input", f"The surface {asked.surface} takes no picture", found=what, expected=_PICTURED)
    if asked.surface == "related" and asked.item_id is None:
        raise Problem(400, "bad_input", "A related page belongs to an item", expected="item_id")
    if asked.surface == "search" and asked.query is None:
        raise Problem(400, "bad_input", "A search is for something", expected="query")
    if asked.surface not in ("related", "shop") and asked.item_id is not None:
        raise Problem(
            400,
            "bad_input",
            f"The surface {asked.surface} takes no item",
            found=asked.item_id,
            expected="item_id with the surfaces related, shop, visual, shop_the_look and complete_the_look alone",
            hint="Leave surface out, or leave item_id out.",
        )


def _check_picture(asked: RecommendBody, with_image: bool) -> None:
    if not with_image and asked.item_id is None:
        hint = "Send the picture as the field image of multipart/form-data."
        raise Problem(400, "bad_input", "A visual page looks like a picture", expected="image, or the item_id of an item", hint=hint)
    _check_crop(asked)


def _check_crop(asked: RecommendBody) -> None:
    if asked.crop is not None:
        try:
            checked_crop(asked.crop)
        except InputError as error:
            raise Problem.of(error) from None


def form_body(parts: Mapping[str, Part]) -> bytes:
    """The fields of a form as the JSON object that says the same, for :func:`parse_recommend`; files are left out.

    ``k`` is a whole number, ``explain`` and ``details`` are true or false, ``filter`` is a JSON object, ``item_ids`` a JSON list and
    ``crop`` "x0,y0,x1,y1". What is not keeps its text, for the verdict on the object to name. Raises :class:`Problem` 400 for a file of any
    other name than ``image``.
    """
    value: dict[str, Any] = {}
    for name, part in parts.items():
        if name == IMAGE:
            continue
        if part.filename is not None:
            raise Problem(400, "unknown_key", "No file of this name is taken", found=name, expected=IMAGE, hint=_near(name, [IMAGE]))
        text = part.text()
        value[name] = _FIELDS[name](text) if name in _FIELDS else text
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # less deep than what can be read
        raise Problem(400, "bad_input", "The filter is nested too deeply", expected="an object as in JSON requests") from None


def _whole_number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text


def _truth(text: str) -> bool | str:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


def _object(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _shares(text: str) -> tuple[float, ...]:
    try:
        return parse_crop(text)
    except InputError as error:
        raise Problem.of(error) from None


IMAGE = "image"
"""The field of a form that holds the picture."""
_PICTURED = "the surface visual, shop_the_look or complete_the_look"
_FIELDS: Mapping[str, Callable[[str], Any]] = {
    "k": _whole_number,
    "explain": _truth,
    "details": _truth,
    "filter": _object,
    "item_ids": _object,
    "crop": _shares,
}


def _check_id(name: str, value: str | None) -> None:
    """The same verdict on an id that an event with it would get: otherwise its page could never reach the lake."""
    if value is not None and len(value.encode()) > MAX_ID_BYTES:
        raise Problem(400, "bad_input", f"{name} is too long", found=value, expected=f"at most {MAX_ID_BYTES} bytes")
    if name == "user_id" and value is not None and value.startswith(SESSION_KEY):
        hint = "For a visitor without a name send session_id."
        raise Problem(
            400,
            "bad_input",
            "A user id may not pass for a session",
            found=value,
            expected=f"not {SESSION_KEY!r} at its beginning",
            hint=hint,
        )


def _check_query(name: str, value: str | None) -> None:
    """As of an id: a page with a longer query could not be logged, nor any event that follows from it."""
    if value is not None and len(value.encode()) > MAX_QUERY_BYTES:
        raise Problem(400, "bad_input", f"{name} is too long", found=value, expected=f"at most {MAX_QUERY_BYTES} bytes")


def explain_refusal(body: bytes, error: Exception, kind: type[Struct]) -> Problem:
    """Why ``body`` is not a ``kind``: not JSON, not an object, an unknown key, or a wrong value."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as broken:
        return Problem(
            400, "not_json", f"The body is not JSON: {broken.msg} at byte {broken.pos}", found=_peek(body), expected="a JSON object"
        )
    if not isinstance(value, dict):
        return Problem(400, "bad_input", "The body is not an object", found=type(value).__name__, expected="a JSON object")
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    refuse_unknown_keys(value, known)
    message = str(error)
    missing = _MISSING.search(message)
    if missing:
        return Problem(400, "bad_input", f"{missing['path']} is missing", expected=missing["path"])
    match = _EXPECTED.match(message)
    if match is None:
        return Problem(400, "bad_input", message)
    path = match["path"] or ""
    found = value.get(path) if path in value else match["found"]
    return Problem(400, "bad_input", f"{path or 'The body'} has a wrong value", found=found, expected=match["expected"].replace("`", ""))


def refuse_unknown_keys(value: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise :class:`Problem` for the first key that is not ``known``, with the nearest name that is."""
    for key in value:
        if key not in known:
            raise Problem(400, "unknown_key", "There is no such key here", found=key, expected=list(known), hint=_near(key, known))


def _near(name: str, known: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else None


def _peek(body: bytes) -> str:
    return body[:60].decode("utf-8", "replace")


def parse_weights(body: bytes) -> dict[str, float]:
    """The weights by head in ``body``. Raises :class:`Problem` 400 where it is not an object of numbers by known heads."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as broken:
        raise Problem(
            400, "not_json", f"The body is not JSON: {broken.msg} at byte {broken.pos}", found=_peek(body), expected='{"save": 3.0}'
        ) from None
    if not isinstance(value, dict):
        raise Problem(400, "bad_input", "The body is not an object", found=type(value).__name__, expected="weights by action")
    return _checked_weights(value)


def _checked_weights(value: Mapping[str, Any]) -> dict[str, float]:
    refuse_unknown_keys(value, list(UtilityWeights.model_fields))
    for name, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or abs(weight) > MAX_WEIGHT:
            raise Problem(
                400,
                "bad_input",
                f"The weight of {name} has a wrong value",
                found=shown(weight),
                expected=f"a number, at most {MAX_WEIGHT:g}",
            )
    return {name: float(weight) for name, weight in value.items()}


class RankItem(Struct, forbid_unknown_fields=True):
    """One item of somebody else's list."""

    item_id: Id
    score: Annotated[float | None, Meta(description="The caller's, higher is better; of every item, or of none.")] = None


class RankBody(Struct, forbid_unknown_fields=True):
    """The body of ``POST /v1/rank``. ``user_id`` or ``session_id`` must be there."""

    items: Annotated[list[RankItem], Meta(description="1 to 1,000 distinct items in the caller's order.")]
    user_id: Id | None = None
    session_id: Id | None = None
    tenant: Id = DEFAULT_TENANT
    surface: Annotated[str | None, Meta(description="Left out: related with item_id, search with query, else home.")] = None
    item_id: Annotated[Id | None, Meta(description="The item that the list is beside.")] = None
    query: Annotated[Annotated[str, Meta(max_length=1000)] | None, Meta(description="What the list answers.")] = None
    relevance_weight: Annotated[
        float | None,
        Meta(description="What the caller's score or place counts beside the person; 0: nothing. Left out: feed.search.relevance_weight."),
    ] = None
    weights: Annotated[dict[str, Any] | None, Meta(description="Utility weights by action, laid over those of the pages.")] = None
    apply_rules: Annotated[bool, Meta(description="Put last what a page would leave out: hidden, blocked, not available.")] = True
    k: Annotated[Annotated[int, Meta(ge=1, le=1000)] | None, Meta(description="How many to answer; they are what is logged.")] = None
    explain: bool = False
    """Add to each item what ``GET /v1/explain`` would say of it."""
    log: Annotated[bool, Meta(description="False leaves no trace in the served log.")] = True


_decode_rank = msgspec.json.Decoder(RankBody).decode


def parse_rank(body: bytes) -> RankRequest:
    """The list to rank in ``body``. Raises :class:`Problem` (400) as :func:`parse_recommend` does, and :class:`InputError` for an item that
    is there twice, too long a list, and what else does not go together."""
    try:
        asked = _decode_rank(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise explain_refusal(body, error, RankBody) from None
    surface = asked.surface
    if surface is not None and surface not in SURFACES_RANKED:
        expected, hint = list(SURFACES_RANKED), _near(surface, SURFACES_RANKED)
        raise Problem(400, "unknown_surface", "No list is ranked for this surface", found=surface, expected=expected, hint=hint)
    if asked.user_id is None and asked.session_id is None:
        hint = "For a visitor without a name send any session_id."
        raise Problem(400, "nobody", "A list is ranked for somebody", expected="user_id or session_id", hint=hint)
    for name in ("user_id", "session_id", "tenant", "item_id"):
        _check_id(name, getattr(asked, name))
    _check_query("query", asked.query)
    for item in asked.items:
        _check_id("item_id", item.item_id)
    scores = [item.score for item in asked.items if item.score is not None]
    if scores and len(scores) < len(asked.items):
        found = f"{len(scores)} scores for {len(asked.items)} items"
        hint = "Without scores the order of the list counts."
        raise Problem(400, "bad_input", "Some items have a score and some have none", found=found, expected="all or none", hint=hint)
    given = {name: getattr(asked, name) for name in asked.__struct_fields__ if name not in ("items", "weights")}
    weights = None if asked.weights is None else _checked_weights(asked.weights)
    return RankRequest([item.item_id for item in asked.items], scores=scores or None, weights=weights, **given)


@dataclass(frozen=True)
class SuggestQuery:
    """The parameters of ``GET /v1/suggest``."""

    q: str
    k: int
    user_key: str | None
    tenant: str


def parse_suggest(query: Mapping[str, str], most: int) -> SuggestQuery:
    """Raises :class:`Problem` 400 for an unknown parameter, an id or a text that no event may have, and a ``k`` that is not within 1 and
    ``most``."""
    refuse_unknown_keys(query, ["q", "user_id", "session_id", "tenant", "k"])
    k = _whole_number(query.get("k") or "8")
    if not isinstance(k, int) or not 1 <= k <= most:
        raise Problem(400, "bad_input", "k has a wrong value", found=k, expected=f"a whole number from 1 to {most}")
    user_id, session_id, tenant = (query.get(name) or None for name in ("user_id", "session_id", "tenant"))
    for name, value in (("user_id", user_id), ("session_id", session_id), ("tenant", tenant)):
        _check_id(name, value)
    typed = query.get("q", "")
    _check_query("q", typed)
    user_key = user_id or (None if session_id is None else f"{SESSION_KEY}{session_id}")
    return SuggestQuery(typed, k, user_key, tenant or DEFAULT_TENANT)


# --------------------------------------------------------------------------------------------------------------- events


class Refused(Struct):
    """One event that was not taken: its place in the body, and what is wrong with which field."""

    index: int
    field: str
    found: Any
    expected: Any


def parse_events(body: bytes, max_events: int) -> tuple[list[tuple[int, dict[str, Any]]], list[Refused]]:
    """(index, event) of every object in ``body``, and what is there besides objects.

    ``body`` is a JSON list of events, one event, ``{"events": [...]}`` or one JSON object a line. Raises :class:`Problem` 400
    where nothing is well-formed JSON and 413 for more than ``max_events``.
    """
    values, refused = _values(body)
    if len(values) + len(refused) > max_events:
        raise Problem(
            413,
            "too_many_events",
            "Too many events in one body",
            found=len(values) + len(refused),
            expected=f"at most {max_events}",
            hint="Send them in several requests.",
        )
    events = []
    for index, value in values:
        if isinstance(value, dict):
            events.append((index, value))
        else:
            refused.append(Refused(index, "", shown(value), "a JSON object"))
    return events, refused


def _values(body: bytes) -> tuple[list[tuple[int, Any]], list[Refused]]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _lines(body, error)
    if isinstance(value, dict) and "event" not in value and "events" in value:
        refuse_unknown_keys(value, ["events"])
        value = value["events"]
        if not isinstance(value, list):
            raise Problem(400, "bad_input", "events is not a list", found=type(value).__name__, expected="a list of events")
    return list(enumerate(value if isinstance(value, list) else [value])), []


def _lines(body: bytes, whole: orjson.JSONDecodeError) -> tuple[list[tuple[int, Any]], list[Refused]]:
    values: list[tuple[int, Any]] = []
    refused: list[Refused] = []
    index = 0
    for line in body.splitlines():
        if not line.strip():
            continue
        try:
            values.append((index, orjson.loads(line)))
        except orjson.JSONDecodeError:
            refused.append(Refused(index, "", _peek(line), "a JSON object on one line"))
        index += 1
    if not values:
        raise Problem(
            400,
            "not_json",
            f"The body is not JSON: {whole.msg} at byte {whole.pos}",
            found=_peek(body),
            expected='a list of events, {"events": [...]} or one JSON object a line',
        )
    return values, refused
