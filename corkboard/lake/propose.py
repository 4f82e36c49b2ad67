"""Which lake table an unknown frame could be, and which of its columns are ours: by name, and by what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import polars as pl

from corkboard.lake.importers.times import time_unit, to_ms
from corkboard.lake.importers.words import ACTION_BY_NAME, OURS_BY_NAME, folded
from corkboard.lake.schema import EVENT_TABLE, TABLES

PROBE_ROWS = 20_000
_ITEM_FACTS = {"title", "description", "images", "link", "brand_id", "creator_id", "merchant_id", "price_minor", "category"}
_USER_FACTS = {"country", "language", "interests"}
_OWNERS = ("user_id", "session_id")
_NATIVE_ORDER = ("impressions", "actions", "boards", "items", "users")


@dataclass(frozen=True)
class Match:
    """``theirs`` is our column ``ours``, with ``confidence`` in [0, 1], and why we think so."""

    ours: str
    theirs: str
    confidence: float
    why: str


@dataclass(frozen=True)
class Proposal:
    """What a frame seems to be.

    ``table`` is the lake table ("events" for rows of several kinds, None where it is none); ``native`` where its columns are already called
    like ours. ``rating`` is a column whose numbers stand for actions. ``time_unit`` is "s", "ms", "us", "ns" or "text".
    """

    table: str | None
    native: bool = False
    matches: tuple[Match, ...] = ()
    constants: dict[str, str] = field(default_factory=dict)
    rating: str | None = None
    time_unit: str | None = None
    problems: tuple[str, ...] = ()

    def theirs(self, ours: str) -> str | None:
        """The column that is ``ours``, None where there is none."""
        return next((match.theirs for match in self.matches if match.ours == ours), None)


def propose(frame: pl.DataFrame, has_header: bool = True) -> Proposal:
    """Look at names and values of ``frame``, a sample of a file."""
    if any(isinstance(kind, pl.List) for kind in frame.schema.values()) and not set(frame.columns) >= {"request_id", "slots"}:
        lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
        if frame.width <= 2:
            return Proposal(
                None, problems=(f"{', '.join(lists)} holds whole sequences: write one row for each action, with the order as time.",)
            )
    native = _native_table(frame)
    if native is not None:
        return _native(frame, native)
    if not has_header:
        return _headless(frame)
    return _tabulate(frame, _assign(_candidates(frame)))


# --------------------------------------------------------------------------------------------------------------- native


def _native_table(frame: pl.DataFrame) -> str | None:
    names = set(frame.columns)
    if "event" in names and frame.schema["event"] == pl.String and set(frame["event"].drop_nulls().unique()) <= set(EVENT_TABLE):
        return "events"
    for table in _NATIVE_ORDER:
        needed = {*TABLES[table].required, "time_ms"}
        if names >= needed and (table != "actions" or names & set(_OWNERS)):
            return table
    return None


def _native(frame: pl.DataFrame, table: str) -> Proposal:
    known = set(frame.columns) if table == "events" else set(TABLES[table].names) & set(frame.columns)
    matches = tuple(Match(name, name, 1.0, "same name") for name in frame.columns if name in known)
    unit = time_unit(frame["time_ms"].head(PROBE_ROWS)) if "time_ms" in frame.columns and frame.schema["time_ms"].is_numeric() else None
    return Proposal(table, True, matches, time_unit=unit)


# --------------------------------------------------------------------------------------------- candidates, one by one


def _candidates(frame: pl.DataFrame) -> list[Match]:
    """Every guess for every column, surest first."""
    found = []
    for name in frame.columns:
        values = frame[name].head(PROBE_ROWS).drop_nulls()
        ours, by_name = OURS_BY_NAME.get(folded(name), (None, 0.0))
        if ours is None:
            ours, by_name = OURS_BY_NAME.get(folded(name.partition(":")[0]), (None, 0.0))
        if ours is not None:
            check = _VALUE_CHECKS.get(ours)
            fits, why = check(values) if check else (1.0, "")
            if fits > 0:
                found.append(Match(ours, name, round(by_name * fits, 2), f"name{why}"))
        elif time_like(values) is not None and _narrow(values):
            found.append(Match("time_ms", name, 0.5, f"values look like times in {time_like(values)}"))
        elif _share_of_actions(values) >= 0.5:
            found.append(Match("action", name, 0.7, "values are names of actions"))
    return sorted(found, key=lambda match: -match.confidence)


def time_like(values: pl.Series) -> str | None:
    """The unit of a column of times: "s", "ms", "us", "ns" for numbers, "text" for dates in words or a date column, else None."""
    if values.dtype.is_temporal():
        return "text"
    if values.dtype.is_numeric():
        return time_unit(values)
    if values.dtype == pl.String and len(values):
        read = to_ms(values.head(500))
        return "text" if read.null_count() <= 0.05 * len(read) else None
    return None


def _narrow(values: pl.Series) -> bool:
    """Times of one log lie close together; ids that happen to be large do not, or start at one."""
    if not values.dtype.is_numeric():
        return True
    low, high = values.min(), values.max()
    return isinstance(low, int | float) and isinstance(high, int | float) and low > 0 and high / low < 1.5 and values.n_unique() > 10


def _share_of_actions(values: pl.Series) -> float:
    """Share of values, in [0, 1], that are a known name of an action; 0 unless there are few different ones."""
    if values.dtype != pl.String or not len(values):
        return 0.0
    counts = values.value_counts()
    if counts.height > 50:
        return 0.0
    known = sum(count for name, count in counts.iter_rows() if folded(name) in ACTION_BY_NAME)
    return known / len(values)


def _check_time(values: pl.Series) -> tuple[float, str]:
    unit = time_like(values)
    return (1.0, f", values are times in {unit}") if unit is not None else (0.0, "")


def _check_action(values: pl.Series) -> tuple[float, str]:
    share = _share_of_actions(values)
    if share > 0:
        return 1.0, f", {share:.0%} of the values are known actions"
    return (0.6, ", but no value is a known action") if values.n_unique() <= 50 else (0.0, "")


def _check_rating(values: pl.Series) -> tuple[float, str]:
    if not values.dtype.is_numeric() or values.n_unique() > 201:
        return 0.0, ""
    return 1.0, f", numbers from {values.min()} to {values.max()}"


def _check_text(values: pl.Series) -> tuple[float, str]:
    return (1.0, ", text") if values.dtype == pl.String else (0.0, "")


_VALUE_CHECKS: dict[str, Callable[[pl.Series], tuple[float, str]]] = {
    "time_ms": _check_time,
    "action": _check_action,
    "rating": _check_rating,
    "title": _check_text,
    "description": _check_text,
    "query": _check_text,
    "surface": _check_text,
}


def _assign(candidates: list[Match]) -> list[Match]:
    """One column for each of ours and the other way round, the surest first."""
    taken_ours: set[str] = set()
    taken_theirs: set[str] = set()
    chosen = []
    for match in candidates:
        if match.ours not in taken_ours and match.theirs not in taken_theirs:
            chosen.append(match)
            taken_ours.add(match.ours)
            taken_theirs.add(match.theirs)
    return chosen


# ---------------------------------------------------------------------------------------------------------- the table


def _tabulate(frame: pl.DataFrame, matches: list[Match]) -> Proposal:
    """Which table the matched columns make, without those that this table does not have."""
    matches = _sessions_that_are_items(frame, matches)
    by_ours = {match.ours: match for match in matches}
    rating = by_ours["rating"].theirs if "rating" in by_ours else None
    if by_ours.keys() & set(_OWNERS) and "item_id" in by_ours:
        return _actions(frame, matches, rating)
    if not by_ours.keys() & set(_OWNERS):
        if "item_id" not in by_ours and by_ours.keys() & _ITEM_FACTS:
            own = next((name for name in frame.columns if folded(name) == "id"), None)
            if own is not None:
                matches.append(Match("item_id", own, 0.6, "the only id beside what describes items"))
                by_ours["item_id"] = matches[-1]
        if "item_id" in by_ours and by_ours.keys() & _ITEM_FACTS:
            return _timeless("items", frame, matches)
        if "item_id" in by_ours and "query" in by_ours:
            return Proposal(
                None,
                matches=tuple(matches),
                problems=("Queries and items without users: these look like relevance judgements, which are no lake table.",),
            )
    elif "item_id" not in by_ours and (by_ours.keys() & _USER_FACTS or "user_id" in by_ours) and not by_ours.keys() & {"query", "action"}:
        described = by_ours.keys() & _USER_FACTS or any(folded(name) in ("age", "gender", "occupation") for name in frame.columns)
        if described:
            return _timeless("users", frame, matches)
    return Proposal(
        None,
        matches=tuple(matches),
        problems=("No table fits: actions need a user (or session) and an item, items an id and something about them.",),
    )


def _sessions_that_are_items(frame: pl.DataFrame, matches: list[Match]) -> list[Match]:
    """A "session" that many users share is none; where an item is missing it is the item."""
    by_ours = {match.ours: match for match in matches}
    if not {"user_id", "session_id"} <= by_ours.keys() or "item_id" in by_ours:
        return matches
    user, session = by_ours["user_id"].theirs, by_ours["session_id"].theirs
    pairs = frame.select(user, session).head(PROBE_ROWS).unique()
    if pairs.height <= 1.2 * pairs[session].n_unique():
        return matches
    item = Match("item_id", session, 0.5, "named like a session, but shared by many users")
    return [item if match.ours == "session_id" else match for match in matches]


def _actions(frame: pl.DataFrame, matches: list[Match], rating: str | None) -> Proposal:
    kept = [match for match in matches if match.ours in TABLES["actions"].names]
    by_ours = {match.ours: match for match in kept}
    constants, problems = {}, []
    unit = None
    if "time_ms" in by_ours:
        unit = time_like(frame[by_ours["time_ms"].theirs].head(PROBE_ROWS).drop_nulls())
    else:
        problems.append(
            "No column holds times, which every action needs. Where the order is known, write a sequence file: one user a line, "
            "`user item item ...`, oldest first."
        )
    if "action" not in by_ours:
        constants["action"] = "click"
    else:
        problems += _unknown_names(frame[by_ours["action"].theirs])
    return Proposal(
        "actions", False, _ordered("actions", kept), constants, rating if "action" not in by_ours else None, unit, tuple(problems)
    )


def _unknown_names(values: pl.Series) -> list[str]:
    """A sentence about the names of events that are no action."""
    if values.dtype != pl.String:
        return ["The column of actions holds numbers: replace them by names of actions."]
    counts = [
        (name, count) for name, count in values.drop_nulls().value_counts(sort=True).iter_rows() if folded(name) not in ACTION_BY_NAME
    ]
    if not counts:
        return []
    listed = ", ".join(f"{name} ({count:,})" for name, count in counts[:8])
    return [f"These are no actions, their rows will be refused: {listed}."]


def _timeless(table: str, frame: pl.DataFrame, matches: list[Match]) -> Proposal:
    """Items or users. Where no column says since when, they are taken as always known."""
    kept = [match for match in matches if match.ours in TABLES[table].names]
    time = next((match for match in kept if match.ours == "time_ms"), None)
    unit = time_like(frame[time.theirs].head(PROBE_ROWS).drop_nulls()) if time is not None else None
    return Proposal(table, False, _ordered(table, kept), time_unit=unit)


def _ordered(table: str, matches: list[Match]) -> tuple[Match, ...]:
    order = {name: place for place, name in enumerate(TABLES[table].names)}
    return tuple(sorted(matches, key=lambda match: order[match.ours]))


def _headless(frame: pl.DataFrame) -> Proposal:
    """Without names only values speak: the first two columns of ids, with enough different items, are taken for user and item."""
    matches = []
    ids = []
    for name in frame.columns:
        values = frame[name].head(PROBE_ROWS).drop_nulls()
        if values.dtype.is_numeric() and time_like(values) is not None and _narrow(values):
            matches.append(Match("time_ms", name, 0.5, "values look like times"))
        elif _share_of_actions(values) >= 0.5:
            matches.append(Match("action", name, 0.7, "values are names of actions"))
        elif values.dtype.is_integer() or (values.dtype == pl.String and values.str.contains(r"^[\w-]{1,64}$").all()):
            ids.append(name)
    headless = "There is no header line: add one that names the columns, then check again."
    if frame.width > 8 or len(ids) < 2 or frame[ids[1]].head(PROBE_ROWS).n_unique() < min(50, frame.height / 4):
        return Proposal(None, matches=tuple(matches), problems=(headless,))
    matches += [Match("user_id", ids[0], 0.3, "first column of ids"), Match("item_id", ids[1], 0.3, "second column of ids")]
    proposal = _actions(frame, matches, None)
    return replace(proposal, problems=(headless, *proposal.problems))
