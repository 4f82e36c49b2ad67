"""How much there is in a log of actions, and what can be done with that much: figures and plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from corkboard.lake.calendar import DAY_MS
from corkboard.lake.importers.times import plausible
from corkboard.lake.schema import NEGATIVE

RETURN_DAYS = 14
FEW_ACTIONS = 10
ENOUGH_USERS = 200
"""Fewer test users than this are too few to tell methods apart."""
HARDLY_ANY = 0.2
"""Hardly any user returns where a smaller share than this does."""


@dataclass(frozen=True)
class Activity:
    """Figures of a log. ``few_share`` is the share of users, in [0, 1], with fewer than ten actions.

    ``recent_users`` act in the last 14 days, ``returning_users`` of them have acted before, too: only they can show whether
    history helps. Both are None where there are no times.
    """

    actions: int
    users: int
    items: int
    sessions: int
    by_action: dict[str, int]
    duplicates: int
    few_share: float
    first_ms: int | None
    last_ms: int | None
    recent_users: int | None
    returning_users: int | None
    whole_days: bool
    anonymous: bool
    """No row names a user: users are counted by session."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(actions: pl.DataFrame) -> Activity:
    """Figures of a frame with ``user_id`` or ``session_id`` (whose it is), ``item_id``, and where known ``time_ms`` (Int64) and ``action``.

    Where there are no users the sessions are counted instead. Rows with neither do not count.
    """
    actions = actions.with_columns(_owner(actions.columns).alias("owner"))
    if "time_ms" in actions.columns:
        actions = actions.with_columns(plausible(pl.col("time_ms")))
    actions = actions.filter(pl.col("owner").is_not_null())
    per_user = actions.group_by("owner").len()["len"]
    times = actions["time_ms"].drop_nulls() if "time_ms" in actions.columns else pl.Series("time_ms", [], pl.Int64)
    first, last = (int(times.min()), int(times.max())) if len(times) else (None, None)  # type: ignore[arg-type]
    kinds = actions["action"].fill_null("(none)").value_counts(sort=True) if "action" in actions.columns else pl.DataFrame()
    recent = returning = None
    if first is not None and last is not None:
        spans = actions.drop_nulls("time_ms").group_by("owner").agg(first=pl.col("time_ms").min(), last=pl.col("time_ms").max())
        cut = last - RETURN_DAYS * DAY_MS
        recent = int((spans["last"] > cut).sum())
        returning = int(((spans["last"] > cut) & (spans["first"] <= cut)).sum())
    same = [name for name in ("owner", "item_id", "time_ms", "action") if name in actions.columns]
    return Activity(
        actions=actions.height,
        users=len(per_user),
        items=actions["item_id"].n_unique() - int(actions["item_id"].has_nulls()),
        sessions=actions["session_id"].drop_nulls().n_unique() if "session_id" in actions.columns else 0,
        by_action=dict(kinds.iter_rows()) if kinds.width else {},
        duplicates=actions.height - actions.select(same).unique().height,
        few_share=int((per_user < FEW_ACTIONS).sum()) / max(1, len(per_user)),
        first_ms=first,
        last_ms=last,
        recent_users=recent,
        returning_users=returning,
        whole_days=bool(len(times)) and bool((times % DAY_MS == 0).all()),
        anonymous="user_id" not in actions.columns or actions["user_id"].null_count() == actions.height,
    )


def _owner(columns: Sequence[str]) -> pl.Expr:
    """Whose row it is: the user, or "session:" and the session where there is none."""
    session = pl.lit("session:") + pl.col("session_id") if "session_id" in columns else pl.lit(None, dtype=pl.String)
    return pl.coalesce(pl.col("user_id"), session) if "user_id" in columns else session


@dataclass(frozen=True)
class Around:
    """What stands beside the actions: None where that is not known, as of a single file."""

    impressions: bool | None = None
    text: bool | None = None
    attributes: bool | None = None
    synthetic_time: bool = False


def advise(activity: Activity, around: Around) -> list[str]:
    """What will work with such a log, what won't, and why; the gravest first."""
    return [*_about_time(activity, around), *_about_users(activity), *_about_surroundings(activity, around), *_about_actions(activity)]


def _about_time(activity: Activity, around: Around) -> list[str]:
    if around.synthetic_time or activity.first_ms is None:
        lacking = "Times are invented" if around.synthetic_time else "There are no times"
        return [f"{lacking}: a split by time, recency, fresh items and reaction mean nothing here; only the order within a user counts."]
    said = [] if activity.anonymous else [_about_returning(activity)]
    days = ((activity.last_ms or 0) - activity.first_ms) / DAY_MS
    if days < 2 * RETURN_DAYS:
        said.append(f"The log spans {days:.1f} days: shorten the spans of the calendar, which keeps {RETURN_DAYS} for the test.")
    if activity.whole_days:
        said.append("Times are whole days: the order within a day is not known, and nothing can react within one.")
    return said


def _about_returning(activity: Activity) -> str:
    recent, returning = activity.recent_users or 0, activity.returning_users or 0
    facts = (
        f"{returning:,} of {activity.users:,} users have an action in the last {RETURN_DAYS} days and before; "
        f"{recent:,} have one in the last {RETURN_DAYS} days at all"
    )
    too_few = f"under {ENOUGH_USERS} is too few to tell"
    if returning >= ENOUGH_USERS and returning >= HARDLY_ANY * recent:
        return f"A split by time works: {facts}."
    if returning < HARDLY_ANY * max(recent, activity.users):
        rest = f"Figures of personal methods rest on these few{f', and {too_few}' if returning < ENOUGH_USERS else ''}."
        return f"Hardly any user returns after a split by time: {facts}. {rest}"
    return f"Only {returning:,} {'user returns' if returning == 1 else 'users return'} after a split by time: {too_few}. {facts}."


def _about_users(activity: Activity) -> list[str]:
    said = []
    if activity.anonymous:
        said.append("Sessions but no users: every visit begins without a history, so that only what happens within it can be used.")
    if activity.few_share > 0.5:
        whose = f"{activity.few_share:.0%} of {'sessions' if activity.anonymous else 'users'} have fewer than {FEW_ACTIONS} actions"
        said.append(f"{whose}: popularity, content and item-to-item carry most pages.")
    if not activity.anonymous and activity.users and activity.actions / activity.users < 2:
        said.append("Most users act once: there is no history to learn from.")
    return said


def _about_surroundings(activity: Activity, around: Around) -> list[str]:
    said = []
    if not around.impressions:
        why = "nothing says what was shown and passed over"
        said.append(f"No impressions: {why}. Ranking trains on sampled negatives, and every table will say so.")
    if around.text is None:
        said.append("Items are only ids here: ingest a table of items as well (title, category), or the content tower has nothing to read.")
    elif not around.text:
        lean = "leans on attributes" if around.attributes else "has nothing to read and new items start blind"
        said.append(f"No text of items: the content tower {lean}; there is nothing to search in.")
    if not activity.sessions:
        said.append("No session ids: a visit ends where half an hour passes without an action, if anything asks for one.")
    return said


def _about_actions(activity: Activity) -> list[str]:
    said = []
    kinds = set(activity.by_action)
    if kinds and not kinds & set(NEGATIVE):
        said.append("No hides or reports: what a user dislikes cannot be learned.")
    if len(kinds) == 1:
        said.append(f"One kind of action ({next(iter(kinds))}): a ranker with several heads has only one to train.")
    if activity.duplicates:
        same = f"{activity.duplicates:,} rows repeat another one in user, item, time and action"
        said.append(f"{same}; without an event_id they count as separate events.")
    return said
