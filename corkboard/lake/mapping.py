"""From the columns of an outside file to those of a table: which table it is, whose column is whose, what stands for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache

import polars as pl

from corkboard.errors import SchemaError
from corkboard.lake.tables import ACTIONS, EVENT_TABLE, TABLES, TIMELESS, Table
from corkboard.lake.times import TimeReader
from corkboard.lake.validate import CONTEXT

CONSTANT = "="
"""What a mapped name begins with where it is a constant: ``{"action": "=click"}``."""

EVENTS = "events"
"""Stands for a file with rows of several kinds, told apart by the column "event" as in live events."""

_SIGNS: tuple[tuple[str, tuple[set[str], ...]], ...] = (
    ("served", ({"slots", "feature_names"},)),
    ("impressions", ({"slots"},)),
    ("actions", ({"action"}, {"user_id", "item_id", "time_ms"}, {"session_id", "item_id", "time_ms"})),
    ("judgements", ({"grade", "judge_id"},)),
    ("objects", ({"box", "item_id"}, {"image_hash", "item_id"})),
    ("boards", ({"board_id"},)),
    ("items", ({"item_id"},)),
    ("users", ({"user_id"},)),
)
"""Columns that only this table has, the most telling first."""

_ONE_OF = {
    "actions": (("user_id", "session_id"), ("item_id", "creator_id", "undoes")),
    "impressions": (("user_id", "session_id"),),
}
"""Beside the required columns, one of each of these must be there."""


@dataclass
class Translation:
    """How the pieces of one file become rows of one table, and what was read as what."""

    table: Table
    columns: Mapping[str, str]
    """Our column -> theirs, or a constant."""
    tenant: str
    times: TimeReader = field(default_factory=TimeReader)
    words: Counter[tuple[str, str]] = field(default_factory=Counter)
    always: bool = False
    """There is no time: the rows are taken as known from the beginning."""

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The columns of the table, not validated yet."""
        columns = {}
        for ours, theirs in self.columns.items():
            if theirs.startswith(CONSTANT):
                columns[ours] = pl.repeat(theirs.removeprefix(CONSTANT), frame.height, dtype=pl.String, eager=True)
            elif theirs in frame.columns:
                columns[ours] = frame[theirs]
        if "tenant" not in columns:
            columns["tenant"] = pl.repeat(self.tenant, frame.height, dtype=pl.String, eager=True)
        elif columns["tenant"].dtype == pl.String:
            columns["tenant"] = columns["tenant"].fill_null(self.tenant)
        if "time_ms" in columns:
            columns["time_ms"] = self.times.read(columns["time_ms"])
        elif _timeless(self.table):
            columns["time_ms"] = pl.repeat(0, frame.height, dtype=pl.Int64, eager=True)
            self.always = True
        if "action" in columns:
            columns["action"] = self._translate(columns["action"])
        return pl.DataFrame([column.alias(ours) for ours, column in columns.items()])

    def _translate(self, words: pl.Series) -> pl.Series:
        if words.dtype != pl.String:
            return words
        counts = dict(words.drop_nulls().value_counts().iter_rows())
        foreign = {word: our_action(word) for word in counts if word not in ACTIONS and our_action(word) in ACTIONS}
        if not foreign:
            return words
        self.words.update({(word, ours): counts[word] for word, ours in foreign.items()})
        return words.replace(foreign)

    def notes(self) -> list[str]:
        """What was assumed, in sentences."""
        notes = [f"Times were read as {self.times.seen}." if self.times.seen else ""]
        notes += [f"The action {theirs!r} was read as {ours} ({count:,} rows)." for (theirs, ours), count in sorted(self.words.items())]
        if self.always:
            notes.append(f"The {self.table.name} have no time_ms: they are taken as known from the beginning (time_ms 0).")
        return [note for note in notes if note]


def translations(path: str, frame: pl.DataFrame, table: str | None, mapping: Mapping[str, str], tenant: str) -> dict[str, Translation]:
    """How a file whose first rows are ``frame`` becomes rows, by table: one table, or those of all kinds of event.

    Raises :class:`SchemaError` where the mapping names what is not there, no table fits, or a column is missing that the table needs.
    """
    _check_mapping(path, frame.columns, mapping)
    ours = {name: name for name in frame.columns if name not in mapping.values()} | dict(mapping)
    if table is None:
        table = EVENTS if _holds_events(frame, ours) else _guess(path, frame.columns, ours)
    if table == EVENTS:
        names = list(EVENT_TABLE.values())
    elif table in TABLES:
        _check_columns(path, TABLES[table], frame.columns, ours)
        names = [table]
    else:
        raise SchemaError("There is no such table", found=table, expected=", ".join(TABLES))
    taken = set(mapping.values())
    return {
        name: Translation(TABLES[name], {c: ours.get(c, c) for c in TABLES[name].names if c in ours or c not in taken}, tenant)
        for name in names
    }


def flatten_struct_context(frame: pl.DataFrame) -> pl.DataFrame:
    """``context`` as columns of their own where it is a struct (Parquet); a column that is there already wins."""
    if "context" not in frame.columns or not isinstance(frame.schema["context"], pl.Struct):
        return frame
    parts = frame["context"].struct.unnest()
    added = [parts[name].alias(ours) for name, ours in CONTEXT.items() if name in parts.columns and ours not in frame.columns]
    return frame.drop("context").with_columns(added)


def ignored_columns(frame: pl.DataFrame, used: Collection[Translation]) -> set[str]:
    """Columns of the file that no table takes."""
    taken = {theirs for translation in used for theirs in translation.columns.values()}
    return set(frame.columns) - taken - {"event", "context"}


def _holds_events(frame: pl.DataFrame, ours: Mapping[str, str]) -> bool:
    if ours.get("event") != "event":
        return False
    return any(type(kind) is str and kind in EVENT_TABLE for kind in frame["event"].to_list())


def _guess(path: str, found: Collection[str], ours: Mapping[str, str]) -> str:
    table = next((name for name, signs in _SIGNS if any(sign <= set(ours) for sign in signs)), None)
    if table is not None:
        return table
    likely = next((name for name, signs in _SIGNS if any(sign <= {*ours, *_free(found, ours).values()} for sign in signs)), None)
    if likely is not None:
        _check_columns(path, TABLES[likely], found, ours)
    raise SchemaError(
        f"The columns of {path} fit no table",
        found=sorted(found),
        expected="a table of items, users, boards, impressions, actions, objects or judgements",
        hint="Name it with --table and its columns with --map ours=theirs; `corkboard check FILE` proposes both.",
    )


def _check_mapping(path: str, found: Collection[str], mapping: Mapping[str, str]) -> None:
    known = {name for table in TABLES.values() for name in table.names}
    for ours, theirs in mapping.items():
        if ours not in known:
            raise SchemaError(
                "The mapping names a column that no table has",
                found=ours,
                expected="one of " + ", ".join(sorted(known)),
                hint="The form is ours=theirs.",
            )
        if theirs not in found and not theirs.startswith(CONSTANT):
            raise SchemaError(
                f"The mapping of {ours} names a column that {path} does not have",
                found=theirs,
                expected="one of " + ", ".join(sorted(found)),
            )


def _check_columns(path: str, table: Table, found: Collection[str], ours: Mapping[str, str]) -> None:
    """Raise :class:`SchemaError`, with a mapping to try, where ``table`` needs what is not there."""
    needed = [name for name in table.required if not (name == "time_ms" and _timeless(table))]
    missing = [name for name in needed if name not in ours]
    missing += [names[0] for names in _ONE_OF.get(table.name, ()) if not set(names) & set(ours)]
    if not missing:
        return
    free = _free(found, ours)
    tries = []
    for name in missing:
        theirs = next((column for column, proposed in free.items() if proposed == name), None)
        tries.append(f"--map {name}={theirs}" if theirs else "--map action==click" if name == "action" else f"--map {name}=…")
    raise SchemaError(
        f"{path} lacks columns of the table {table.name}: {', '.join(missing)}",
        found=sorted(found),
        expected="at least " + ", ".join(needed),
        hint=f"Try {' '.join(tries)}",
    )


def _timeless(table: Table) -> bool:
    return table.key is not None or table.name in TIMELESS


def _free(found: Collection[str], ours: Mapping[str, str]) -> dict[str, str]:
    """Their column -> ours, surest first, by what others usually call our columns; without those that are mapped or ours already."""
    _, columns = _dictionary()
    taken = {theirs for name, theirs in ours.items() if name != theirs or columns.get(_fold(name), ("",))[0] == name}
    matches = [(columns[_fold(name)], name) for name in found if _fold(name) in columns and name not in taken]
    return {name: ours for (ours, _), name in sorted(matches, key=lambda match: -match[0][1])}


def our_action(word: str) -> str:
    """Our action for an outside word ("view" is a close_up, "purchase" a checkout); a word nobody knows stays as it is."""
    actions, _ = _dictionary()
    return actions.get(_fold(word), word)


def _fold(name: str) -> str:
    from corkboard.lake.importers.words import folded

    return folded(name)


@cache
def _dictionary() -> tuple[Mapping[str, str], Mapping[str, tuple[str, float]]]:
    """What others call our actions and columns. It lies with the importers, who build on ingestion: hence no import at the top."""
    from corkboard.lake.importers.words import ACTION_BY_NAME, OURS_BY_NAME

    return ACTION_BY_NAME, OURS_BY_NAME
