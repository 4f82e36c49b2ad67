"""`corkboard feed USER`: the page a user would get now; with `--item`, the one beside an item."""

from __future__ import annotations

from typing import Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def feed(
    user: Annotated[str, typer.Argument(help="A user id; an unknown one gets a page, too.")],
    item: Annotated[str | None, typer.Option("--item", help="The page beside this item, of items like it, instead of home.")] = None,
    k: Annotated[int, typer.Option("-k", help="Items on the page, 1 to 100.", min=1, max=100)] = 25,
    workspace: Folder = DEFAULT_FOLDER,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Print the page that a user would get now, with the reason for each item. Nothing is logged."""
    from corkboard.cli import printing

    here = open_workspace(workspace, config_file, overrides)
    page = here.page(user, k=k) if item is None else here.page(user, k=k, surface="related", item_id=item)
    if as_json:
        printing.print_json(page.to_dict())
        return
    titles = here.titles([*page.items.item_ids, *([] if item is None else [item])])
    rows = [
        [n + 1, shown, titles[shown], float(score), reason]
        for n, (shown, score, reason) in enumerate(zip(page.items, page.items.scores, page.items.reasons, strict=True))
    ]
    what = "Home" if item is None else f"Like “{titles[item]}”, the page"
    printing.table(f"{what} of {user}, release {page.release}", ["#", "item", "title", "score", "why"], rows)
    for note in page.notes:
        print(f"note: {note}")
