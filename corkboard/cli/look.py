"""`corkboard look`: what is in a picture and where to buy it; with `--complete`, what goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def look(
    image: Annotated[Path | None, typer.Argument(help="A picture; left out, the look is that of --item.")] = None,
    item: Annotated[list[str] | None, typer.Option("--item", help="An item with a picture; to complete a look, one or more.")] = None,
    crop: Annotated[str | None, typer.Option("--crop", help="The part of the picture that counts: x0,y0,x1,y1 as shares of it.")] = None,
    complete: Annotated[bool, typer.Option("--complete", help="What goes with the look, instead of what is in it.")] = False,
    category: Annotated[str | None, typer.Option("--category", help="With --complete: what it lacks.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="For whom: what they hid or blocked is left out.")] = None,
    k: Annotated[int, typer.Option("-k", help="Products an object, or a shelf, at most.", min=1, max=50)] = 3,
    workspace: Folder = DEFAULT_FOLDER,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Print which products look like what is in a picture, or go with it, with the reason for each. Nothing is logged."""
    from corkboard.cli import printing

    here, asked = open_workspace(workspace, config_file, overrides), _asked(image, item or [], crop, complete, category)
    page = here.complete_the_look(user_id=user, k=k, **asked) if complete else here.shop_the_look(user_id=user, k=k, **asked)
    if as_json:
        printing.print_json(page.to_dict())
        return
    titles, said = here.titles(page.items.item_ids), dict(zip(page.items, page.items.reasons, strict=True))
    groups = [(shelf.category, "", shelf.item_ids) for shelf in page.shelves or ()]
    groups += [(found.category, " ".join(f"{share:.2f}" for share in found.box), found.item_ids) for found in page.objects or ()]
    rows = [[name, box, item_id, titles[item_id], said[item_id]] for name, box, item_ids in groups for item_id in item_ids]
    what = f"What goes with {_named(image, item)}" if complete else f"What is in {_named(image, item)}"
    printing.table(f"{what}, release {page.release}", ["category", "box", "item", "title", "why"], rows)
    for note in page.notes:
        print(f"note: {note}")


def _named(image: Path | None, items: list[str] | None) -> str:
    return str(image) if image is not None else ", ".join(items or [])


def _asked(image: Path | None, items: list[str], crop: str | None, complete: bool, category: str | None) -> dict[str, Any]:
    """What is asked with. Raises :class:`InputError` where it does not go together."""
    from corkboard.errors import InputError
    from corkboard.feed.visual import parse_crop

    if not complete and (len(items) > 1 or category is not None):
        raise InputError("A look is shopped by one picture", found="several items, or a category", expected="--complete with them")
    asked: dict[str, Any] = {"image": image} if crop is None else {"image": image, "crop": parse_crop(crop)}
    if complete:
        asked["category"] = category
    if len(items) > 1:
        return asked | {"item_ids": items}
    return asked | {"item_id": items[0] if items else None}
