"""`corkboard rank USER --items FILE`: the list in a file, in the order for a user."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def rank(
    user: Annotated[str, typer.Argument(help="A user id; for an unknown one the order is what most people like.")],
    items: Annotated[
        Path,
        typer.Option("--items", help="One item id a line, with a tab and a score or without; or JSON as of POST /v1/rank; - is stdin."),
    ],
    query: Annotated[str | None, typer.Option("--query", help="What the list answers.")] = None,
    item: Annotated[str | None, typer.Option("--item", help="The item that the list is beside.")] = None,
    relevance_weight: Annotated[
        float | None, typer.Option("--relevance-weight", help="What the list's own order counts: 0 nothing, 100 nearly everything.")
    ] = None,
    apply_rules: Annotated[bool, typer.Option("--rules/--no-rules", help="Put last what the user hid, blocked or cannot have.")] = True,
    k: Annotated[int | None, typer.Option("-k", help="Print the first so many.", min=1)] = None,
    workspace: Folder = DEFAULT_FOLDER,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Print somebody else's list in the order for a user, with where each item stood. Nothing is logged."""
    from corkboard.cli import printing

    here = open_workspace(workspace, config_file, overrides)
    given = {"query": query, "item_id": item, "relevance_weight": relevance_weight, "apply_rules": apply_rules, "k": k}
    ranked = here.rank(user, *read_list(items), **given)
    if as_json:
        printing.print_json(ranked.to_dict())
        return
    titles = here.titles(ranked.item_ids)
    rows = [
        [one.rank, one.old_rank, one.item_id, titles[one.item_id], "" if one.utility is None else f"{one.utility:.2f}", _why(one)]
        for one in ranked.items
    ]
    printing.table(f"The list in the order for {user}, release {ranked.release}", ["#", "was", "item", "title", "utility", "why"], rows)
    for note in ranked.notes:
        print(f"note: {note}")


def _why(item: Any) -> str:
    return ", ".join([*item.flags, *([item.reason] if item.reason else [])])


def read_list(path: Path) -> tuple[list[str], list[float] | None]:
    """The item ids of a file in their order, and their scores where it has some. Raises :class:`InputError` for what is neither lines nor
    JSON, and where only some items have a score."""
    from corkboard.errors import InputError

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("The list cannot be read", found=f"{path}: {error}", expected="a text file in UTF-8") from None
    rows = _from_json(text) if text.lstrip()[:1] in ("[", "{") else [line.split("\t") for line in text.splitlines() if line.strip()]
    ids = [str(row[0]).strip() for row in rows]
    scores = [row[1] for row in rows if len(row) > 1]
    if scores and len(scores) < len(rows):
        raise InputError("Some items have a score and some have none", found=f"{len(scores)} of {len(rows)}", expected="all or none")
    try:
        return ids, [float(score) for score in scores] or None
    except (TypeError, ValueError) as error:
        raise InputError("A score is not a number", found=str(error), expected="numbers") from None


def _from_json(text: str) -> list[list[Any]]:
    """(item id) or (item id, score) of a JSON list of ids or of objects, or of the ``items`` of an object."""
    from corkboard.errors import InputError

    expected = 'a list of ids, of {"item_id": …, "score": …}, or {"items": […]}'
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError("The list is not JSON", found=str(error), expected=expected) from None
    value = value.get("items") if isinstance(value, dict) else value
    rows = []
    for one in value if isinstance(value, list) else [None]:
        if isinstance(one, dict) and isinstance(one.get("item_id"), str):
            rows.append([one["item_id"]] if one.get("score") is None else [one["item_id"], one["score"]])
        elif isinstance(one, str):
            rows.append([one])
        else:
            raise InputError("The list has something that is no item", found=one, expected=expected)
    return rows
