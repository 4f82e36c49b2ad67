"""`corkboard feed USER`: the page a user would get now; with `--item`, the one beside an item, with `--image`, of what looks like it, with
`--query`, what a search finds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def feed(
    user: Annotated[str, typer.Argument(help="A user id; an unknown one gets a page, too.")],
    item: Annotated[str | None, typer.Option("--item", help="The page beside this item, of items like it, instead of home.")] = None,
    image: Annotated[Path | None, typer.Option("--image", help="The page of items that look like this picture, instead of home.")] = None,
    crop: Annotated[str | None, typer.Option("--crop", help="The part of it that counts: x0,y0,x1,y1 as shares of the picture.")] = None,
    query: Annotated[str | None, typer.Option("--query", help="What a search for these words finds, instead of home.")] = None,
    k: Annotated[int, typer.Option("-k", help="Items on the page, 1 to 100.", min=1, max=100)] = 25,
    workspace: Folder = DEFAULT_FOLDER,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Print the page that a user would get now, with the reason for each item. Nothing is logged."""
    from corkboard.cli import printing

    here = open_workspace(workspace, config_file, overrides)
    page = here.page(user, k=k, **_asked(item, image, crop, query))
    if as_json:
        printing.print_json(page.to_dict())
        return
    titles = here.titles([*page.items.item_ids, *([] if item is None else [item])])
    rows = [
        [n + 1, shown, titles[shown], float(score), reason]
        for n, (shown, score, reason) in enumerate(zip(page.items, page.items.scores, page.items.reasons, strict=True))
    ]
    if query is not None:
        what = f"Found for “{query}”, the page"
    elif image is not None:
        what = f"Like {image}, the page"
    else:
        what = "Home" if item is None else f"Like “{titles[item]}”, the page"
    printing.table(f"{what} of {user}, release {page.release}", ["#", "item", "title", "score", "why"], rows)
    for note in page.notes:
        print(f"note: {note}")


def _asked(item: str | None, image: Path | None, crop: str | None, query: str | None) -> dict[str, Any]:
    """What the page is asked for with besides the user. Raises :class:`InputError` for two things at once."""
    from corkboard.errors import InputError
    from corkboard.feed.visual import VISUAL, parse_crop, read_picture

    if query is not None and (item is not None or image is not None or crop is not None):
        raise InputError("A search takes no item and no picture", found="--query with --item, --image or --crop", expected="one of them")
    if query is not None:
        return {"surface": "search", "query": query}
    part = {} if crop is None else {"crop": parse_crop(crop)}
    if image is not None:
        return {"surface": VISUAL, "image": read_picture(image), "item_id": item, **part}
    return part if item is None else {"surface": "related", "item_id": item, **part}
