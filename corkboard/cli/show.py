"""`corkboard show THING`: a user, an item, a release, its graphs or the lake; `corkboard show page USER`: a page under other weights;

`corkboard show pictures`: a contact sheet of what items of the simulated world look like.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def show(
    thing: Annotated[
        str, typer.Argument(help="lake, calendar, releases, graphs, pictures, page, or the id of a user, an item or a release.")
    ],
    user: Annotated[str | None, typer.Argument(help="With page: whose. An unknown one gets a page, too.")] = None,
    utility: Annotated[
        list[str] | None, typer.Option("--utility", help="With page: the worth of an action, such as save=3; may be repeated.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="With page: items on it, 1 to 100.", min=1, max=100)] = 25,
    workspace: Folder = DEFAULT_FOLDER,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Show what is known of a thing, or what other utility weights would do to a page. Nothing is logged."""
    from corkboard.cli import printing
    from corkboard.errors import InputError
    from corkboard.pipeline.show import show_page

    if thing == "page" and user is None:
        raise InputError("A page is for somebody", expected="corkboard show page USER, with --utility save=3 to see it under other weights")
    here = open_workspace(workspace, config_file, overrides)
    if thing == "page" and user is not None:
        facts = show_page(here, user, utility or [], k)
        if not as_json:
            return _print_page(facts)
    elif user is not None or utility:
        raise InputError("Utility weights and a user belong to a page", found=thing, expected="corkboard show page USER --utility save=3")
    else:
        facts = here.show(thing)
    if as_json:
        return printing.print_json(facts)
    if thing == "graphs":
        return _print_graphs(facts)
    printing.table(thing, ["", ""], [[name, value] for name, value in facts.items()])


def _print_graphs(facts: dict[str, dict[str, Any]]) -> None:
    from corkboard.cli import printing

    rows = [
        [name, graph["left"], graph["linked"], graph["median_degree"], graph["right"], graph["edges"], "walked" if graph["walked"] else ""]
        for name, graph in facts.items()
    ]
    printing.table("Graphs of the live release", ["graph", "items", "with edges", "median", "of", "edges", ""], rows)


def _print_page(facts: dict[str, Any]) -> None:
    from corkboard.cli import printing

    changed = [
        f"{name} {worth['before']:g} -> {worth['after']:g}" for name, worth in facts["weights"].items() if len(set(worth.values())) > 1
    ]
    title = f"Home of {facts['user']}, release {facts['release']}: {', '.join(changed) or 'the weights as they are'}"
    rows = [
        [
            _place(item["after"]),
            _place(item["before"]),
            _moved(item),
            item["item_id"],
            item["title"],
            _worth(item["utility_before"]),
            _worth(item["utility_after"]),
        ]
        for item in facts["items"]
    ]
    printing.table(title, ["after", "before", "", "item", "title", "utility before", "after"], rows)
    for note in facts["notes"]:
        print(f"note: {note['text']} [{note['code']}]")


def _place(place: int | None) -> str:
    return "-" if place is None else str(place)


def _worth(utility: float | None) -> float | str:
    """A utility; blank where the item is not on that page. One of 0 is a utility."""
    return "" if utility is None else utility


def _moved(item: dict[str, Any]) -> str:
    """Places up or down; whether it came or went."""
    if item["before"] is None or item["after"] is None:
        return "new" if item["before"] is None else "gone"
    return f"{item['moved']:+d}" if item["moved"] else "="
