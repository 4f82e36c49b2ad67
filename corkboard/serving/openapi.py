"""The routes, and the description of them that ``/openapi.json`` answers.

What events may hold is read from the tables of the lake, so that the description cannot differ from the verdict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from corkboard.feed.home import SURFACES_SERVED
from corkboard.feed.reorder import FLAGS, MAX_ITEMS, SURFACES_RANKED
from corkboard.lake.schema import ACTIONS, EVENT_TABLE, KINDS, SURFACES, TABLES, Column
from corkboard.ranking.config import UtilityWeights
from corkboard.serving.bodies import IMAGE, RankBody, RecommendBody
from corkboard.serving.images import SIDES
from corkboard.serving.multipart import MULTIPART
from corkboard.serving.suggest import CATEGORY, MAX_SUGGESTIONS, QUERY, TITLE

Schema = dict[str, Any]


@dataclass(frozen=True)
class Route:
    """One route: ``answer`` and ``body`` name schemas below ``components``, None is "no JSON body"."""

    method: str
    path: str
    summary: str
    answer: str | None
    body: str | None = None
    errors: tuple[int, ...] = ()
    tenant: bool = False
    query: Mapping[str, Schema] = field(default_factory=dict)
    form: str | None = None
    """The schema of the same request as a form with a file."""


ROUTES: dict[str, Route] = {
    "events": Route(
        "POST", "/v1/events", "Keep live events; answers when they are durable and shape every page.", "Taken", "Events", (400, 413, 503)
    ),
    "recommend": Route(
        "POST",
        "/v1/recommend",
        "A page for somebody, beside an item, or of items that look like a picture. Always a page: what could not be computed is named in "
        "notes.",
        "Page",
        "RecommendBody",
        (400, 408, 413, 415, 503),
        form="RecommendForm",
    ),
    "rank": Route(
        "POST",
        "/v1/rank",
        "Somebody else's list in the order for a person. Nothing is added or left out; what could not be computed is named in notes.",
        "RankedList",
        "RankBody",
        (400, 413, 503),
    ),
    "explain": Route(
        "GET", "/v1/explain/{request_id}/{item_id:path}", "Why an item is on a page, or why it is not.", "Explanation", errors=(404, 503)
    ),
    "items": Route("GET", "/v1/items/{item_id:path}", "The catalogue entry of an item, live ones included.", "Item", errors=(404,)),
    "images": Route(
        "GET",
        "/v1/images/{hash}",
        "A picture of the lake by its sha256, as an image that never changes.",
        None,
        errors=(400, 404),
        query={"side": {"type": "integer", "enum": list(SIDES), "description": "The longer side in px; left out, as it is kept."}},
    ),
    "suggest": Route(
        "GET",
        "/v1/suggest",
        "What completes a search as it is typed: queries of many people, categories, words of titles; for nothing typed what is popular.",
        "Suggestions",
        errors=(400,),
        tenant=True,
        query={
            "q": {
                "type": "string",
                "default": "",
                "description": "What was typed so far, at most 2,048 bytes; a space at its end: the last word is whole.",
            },
            "k": {"type": "integer", "minimum": 1, "maximum": MAX_SUGGESTIONS, "default": 8},
            "user_id": {"type": "string", "description": "Whose categories come first where nothing is typed; a visitor has session_id."},
            "session_id": {"type": "string"},
        },
    ),
    "users": Route("GET", "/v1/users", "A few known users with their number of actions, for the page to offer.", "Users"),
    "user_state": Route(
        "GET",
        "/v1/users/{user_id:path}/state",
        "What is known of a user; `session:ID` for a visitor.",
        "UserState",
        errors=(503,),
        tenant=True,
    ),
    "delete_user": Route(
        "DELETE",
        "/v1/users/{user_id:path}",
        "Forget a user in store, served log, lake and artefacts.",
        "Purged",
        errors=(503,),
        tenant=True,
    ),
    "releases": Route("GET", "/v1/releases", "Every release, oldest first, and which one is live.", "Releases"),
    "promote": Route(
        "POST",
        "/v1/releases/{release_id}:promote",
        "Make a release live while serving; rolling back is promoting an older one.",
        "Promoted",
        errors=(404, 503),
    ),
    "utility": Route("GET", "/v1/utility", "What an action is worth on the pages now, and in the settings.", "Utility"),
    "set_utility": Route(
        "PUT",
        "/v1/utility",
        "Lay weights over those of the settings while serving; an empty object goes back to the settings.",
        "Utility",
        "Weights",
        (400, 413),
    ),
    "health": Route("GET", "/healthz", "The process is alive; `troubles` says what is wrong.", "Health"),
    "ready": Route("GET", "/readyz", "A release is live and the store answers; 503 otherwise.", "Ready", errors=(503,)),
    "metrics": Route("GET", "/metrics", "Counters in the Prometheus text format.", None),
    "openapi": Route("GET", "/openapi.json", "This description.", None),
}

_SAID = {
    400: "The request is wrong.",
    401: "An API key is needed.",
    404: "It is not there.",
    408: "It took too long to come in.",
    413: "The body is too large.",
    415: "It is of a kind that is not read here.",
    503: "Something here does not work just now; try again.",
}
_BARE = {"metrics": "text/plain", "images": "image/*"}
"""What routes answer that do not answer JSON of a known form."""
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")


def api_description(version: str) -> Schema:
    """The OpenAPI 3.1 document."""
    paths: dict[str, Schema] = {}
    for name, route in ROUTES.items():
        paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(name, route)
    security = {"bearer": {"type": "http", "scheme": "bearer"}, "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Corkboard", "version": version, "description": "Feeds that react to the last tap."},
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": security},
    }


def _operation(name: str, route: Route) -> Schema:
    answer = _content(_ref(route.answer)) if route.answer else {_BARE.get(name, "application/json"): {}}
    errors = {*route.errors, *([401] if route.path.startswith("/v1/") else [])}
    operation: Schema = {
        "operationId": name,
        "summary": route.summary,
        "parameters": [_path_parameter(found) for found in _PARAMETER.findall(route.path)],
        "responses": {"200": {"description": "Fine.", "content": answer}},
    }
    for given, schema in route.query.items():
        operation["parameters"].append({"name": given, "in": "query", "schema": schema})
    if route.tenant:
        operation["parameters"].append({"name": "tenant", "in": "query", "schema": {"type": "string", "default": "default"}})
    for status in sorted(errors):
        operation["responses"][str(status)] = {"description": _SAID[status], "content": _content(_ref("Error"))}
    if route.body:
        form = {} if route.form is None else {MULTIPART: {"schema": _ref(route.form)}}
        operation["requestBody"] = {"required": True, "content": _content(_ref(route.body)) | form}
    return operation


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


# -------------------------------------------------------------------------------------------------------------- schemas

_TEXT: Schema = {"type": "string"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_WHOLE: Schema = {"type": "integer"}
_NUMBER: Schema = {"type": "number"}
_ANY: Schema = {}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _map(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _schemas() -> dict[str, Schema]:
    _, bodies = msgspec.json.schema_components([RecommendBody, RankBody], ref_template="#/components/schemas/{name}")
    body, rank = bodies["RecommendBody"]["properties"], bodies["RankBody"]["properties"]
    rank["items"] |= {"minItems": 1, "maxItems": MAX_ITEMS}
    rank["surface"] = {"enum": [*SURFACES_RANKED, None], "default": None, "description": rank["surface"]["description"]}
    rank["weights"] = {"oneOf": [_ref("Weights"), {"type": "null"}], "default": None, "description": rank["weights"]["description"]}
    shares = {"type": "string", "description": f"x0,y0,x1,y1. {body['crop'].get('description', '')}"}
    picture = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP or GIF, at most 8 MB."}
    objects = {"filter": {"type": "string", "description": "A JSON object."}}
    texts = {**objects, "item_ids": {"type": "string", "description": "A JSON list."}, "crop": shares, IMAGE: picture}
    form = {"type": "object", "properties": {**body, **texts}, "required": [IMAGE]}
    body["surface"] = {"enum": [*SURFACES_SERVED, None], "default": None, "description": body["surface"]["description"]}
    events = {_event_name(kind): _event(kind) for kind in EVENT_TABLE}
    event = {
        "oneOf": [_ref(name) for name in events],
        "discriminator": {"propertyName": "event", "mapping": {kind: _ref(_event_name(kind))["$ref"] for kind in EVENT_TABLE}},
    }
    several = {"oneOf": [_list(_ref("Event")), _ref("Event"), _object({"events": _list(_ref("Event"))})]}
    bodies["RecommendForm"] = form
    return {**bodies, **events, "Event": event, "Events": several, **_page_schemas(), **_user_schemas(), **_release_schemas()}


def _page_schemas() -> dict[str, Schema]:
    rejected = _object({"index": _WHOLE, "field": _TEXT, "found": _ANY, "expected": _ANY})
    note = _object({"code": _TEXT, "text": _TEXT})
    slot = _object(
        {"item_id": _TEXT, "score": _NUMBER, "source": _list(_TEXT), "reason": _TEXT},
        {"item": _ref("Item"), "explanation": _ref("Explanation"), "object": _place("objects"), "shelf": _place("shelves")},
    )
    page = {
        "request_id": _MAYBE_TEXT,
        "release": _MAYBE_TEXT,
        "release_label": _MAYBE_TEXT,
        "items": _list(slot),
        "next_cursor": _MAYBE_TEXT,
        "notes": _list(note),
    }
    looks = {
        "image_hash": {**_MAYBE_TEXT, "description": "Of a visual page and of a look: the sha256 of the picture that was asked with."},
        **_look_schemas(),
    }
    stage = _object({"rank": _WHOLE, "score": _NUMBER}, {"of": _WHOLE})
    why = {
        "request_id": _TEXT,
        "release": _MAYBE_TEXT,
        "item_id": _TEXT,
        "on_page": {"type": "boolean"},
        "why": _TEXT,
        "sources": _list(_TEXT),
        "stages": _map(stage),
    }
    more = {
        "heads": _map(_NUMBER),
        "utility": _map(_NUMBER),
        "inputs": _map(_ANY),
        "features": _list(_ANY),
        "rules": _list(_ANY),
        "time_ms": _WHOLE,
        "user_id": _MAYBE_TEXT,
        "beside": _TEXT,
        "looks_like": _object({"item_id": _MAYBE_TEXT, "image_hash": _MAYBE_TEXT}),
        "look": _list(_TEXT),
        "query": _MAYBE_TEXT,
    }
    names = ("title", "category", "creator_id", "brand_id", "merchant_id", "link", "image", "currency")
    guess = _object({"value": _TEXT, "confidence": {**_NUMBER, "minimum": 0, "maximum": 1}})
    guessed = {**_map(guess), "description": "What the item does not say itself, by attribute. Filters do not read it."}
    item = _object(
        {"item_id": _TEXT, "kind": {"enum": list(KINDS)}, "available": {"type": "boolean"}, "created_ms": _WHOLE},
        {
            **dict.fromkeys(names, _MAYBE_TEXT),
            **{name: {"type": ["integer", "null"]} for name in ("price_minor", "image_width", "image_height")},
            "guessed": guessed,
            "things": {"type": "integer", "minimum": 2, "description": "How many things its picture shows, where it is a look."},
        },
    )
    suggestion = _object({"text": _TEXT, "kind": {"enum": [QUERY, CATEGORY, TITLE]}})
    error = {"code": _TEXT, "message": _TEXT, "found": _ANY, "expected": _ANY, "hint": _MAYBE_TEXT, "request_id": _TEXT}
    return {
        "Error": _object({"error": _object(error)}),
        "Taken": _object({"accepted": _WHOLE, "duplicates": _WHOLE, "rejected": _list(rejected)}),
        "Page": _object(page, looks),
        "RankedList": _ranked_list(note),
        "Explanation": _object(why, more),
        "Item": item,
        "Suggestions": _object({"suggestions": _list(suggestion), "notes": _list(note)}),
    }


def _place(groups: str) -> Schema:
    return {**_WHOLE, "minimum": 0, "description": f"Which of {groups} it belongs to, the first where it belongs to several."}


def _look_schemas() -> dict[str, Schema]:
    """What pages of looks have beside their items."""
    share = {**_NUMBER, "minimum": 0, "maximum": 1}
    box = {**_list(share), "minItems": 4, "maxItems": 4, "description": "x0, y0, x1, y1 as shares of the whole picture, upright."}
    seen = {"box": box, "category": _TEXT, "second_category": _MAYBE_TEXT, "score": share, "item_ids": _list(_TEXT)}
    objects = {**_list(_object(seen)), "description": "Of shop_the_look: what is in the picture and can be bought here."}
    shelf = _object({"category": _TEXT, "item_ids": _list(_TEXT)})
    return {"objects": objects, "shelves": {**_list(shelf), "description": "Of complete_the_look: what goes with the look."}}


def _ranked_list(note: Schema) -> Schema:
    maybe_number: Schema = {"type": ["number", "null"]}
    item = _object(
        {
            "item_id": _TEXT,
            "rank": _WHOLE,
            "old_rank": _WHOLE,
            "utility": maybe_number,
            "worth": maybe_number,
            "relevance": maybe_number,
            "heads": _map(_NUMBER),
            "reason": _MAYBE_TEXT,
            "flags": _list({"enum": list(FLAGS)}),
        },
        {"explanation": {"oneOf": [_ref("Explanation"), {"type": "null"}]}},
    )
    named = dict.fromkeys(("request_id", "release", "release_label"), _MAYBE_TEXT)
    return _object({**named, "items": _list(item), "notes": _list(note)})


def _user_schemas() -> dict[str, Schema]:
    action = _object(
        {"time_ms": _WHOLE, "event_id": _TEXT, "action": {"enum": list(ACTIONS)}},
        dict.fromkeys(("item_id", "creator_id", "surface", "title", "category"), _MAYBE_TEXT),
    )
    lists = dict.fromkeys(("follows", "blocks", "hidden"), _list(_TEXT))
    state = {
        "user_id": _TEXT,
        "known": {"type": "boolean"},
        "actions": _list(action),
        "counts": _map(_WHOLE),
        **lists,
        "profile": _map(_ANY),
    }
    purged = _object({"store_rows": _WHOLE, "lake_rows": _map(_WHOLE), "artifact_rows": _map(_WHOLE)})
    return {
        "Users": _object({"users": _list(_object({"user_id": _TEXT, "actions": _WHOLE}))}),
        "UserState": _object(state, {"first_ms": _WHOLE, "last_ms": _WHOLE}),
        "Purged": _object({"user_id": _TEXT, "purged": purged}),
    }


def _release_schemas() -> dict[str, Schema]:
    release = _object(
        {
            "id": _TEXT,
            "label": _TEXT,
            "created_ms": _WHOLE,
            "live": {"type": "boolean"},
            "current": {"type": "boolean"},
            "artifacts": _map(_TEXT),
            "metrics": _map(_ANY),
        }
    )
    live = _object({"id": _TEXT, "label": _TEXT, "created_ms": _WHOLE})
    return {
        "Releases": _object({"live": _MAYBE_TEXT, "releases": _list(release)}),
        "Promoted": _object({"live": _TEXT, "label": _TEXT, "before": _MAYBE_TEXT}),
        "Weights": _object({}, dict.fromkeys(UtilityWeights.model_fields, _NUMBER)),
        "Utility": _object({"weights": _map(_NUMBER), "settings": _map(_NUMBER)}),
        "Health": _object(
            {
                "status": {"enum": ["ok", "degraded"]},
                "release": {"oneOf": [live, {"type": "null"}]},
                "store": {"enum": ["up", "down"]},
                "troubles": _list(_TEXT),
            }
        ),
        "Ready": _object({"status": _TEXT, "release": _TEXT}),
    }


def _event_name(kind: str) -> str:
    return f"{kind.capitalize()}Event"


def _event(kind: str) -> Schema:
    table = TABLES[EVENT_TABLE[kind]]
    columns = {column.name: _column(column) for column in table.columns}
    required = ["event", *(name for name in table.required if name != "event_id")]
    return {"type": "object", "properties": {"event": {"const": kind}, **columns}, "required": required}


def _column(column: Column) -> Schema:
    choices = {"action": ACTIONS, "surface": SURFACES, "kind": KINDS}.get(column.name)
    schema = {"enum": list(choices)} if choices else _of_dtype(column.dtype)
    return {**schema, "description": column.kind.expected}


def _of_dtype(dtype: pl.DataType) -> Schema:
    if isinstance(dtype, pl.List):
        return _list(_of_dtype(dtype.inner))  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return {"type": "object", "properties": {part.name: _of_dtype(part.dtype) for part in dtype.fields}}  # type: ignore[arg-type]
    if dtype == pl.Boolean:
        return {"type": "boolean"}
    return _WHOLE if dtype.is_integer() else _NUMBER if dtype.is_float() else _TEXT
