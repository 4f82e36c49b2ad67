"""Why an item is on a page, or why it is not: read from the served row, which was written when the page was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corkboard.feed.lists import FLAGS
from corkboard.feed.looks import COMPLETE_THE_LOOK, LOOKS, SHOP_THE_LOOK
from corkboard.feed.rules import EXPLANATIONS
from corkboard.feed.search import SEARCH
from corkboard.feed.served import CALLER, RANK
from corkboard.feed.visual import VISUAL
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.features import BESIDE_SURFACES, FEATURE_NAMES, SHOP
from corkboard.ranking.ranker import Contributes, Ranker, RankerInput
from corkboard.ranking.utility import logged_weights, utility_terms, weight_vector

_HOUR_MS = 3_600_000
_SHOWN_ACTIONS = 5
_STAGES = {"candidates": "the sources", "light": "the light ranker", "ranker": "the full ranker"}
"""Who ranked, by stage, in the order of the stages."""
_CAPS = {"creator_cap": "the page already had its share of this creator", "category_cap": "the page already had its share of this category"}


@dataclass(frozen=True)
class _Asked:
    """What an explanation may ask: the page's ranker, for how many features, and the request it ranked."""

    ranker: Ranker | None
    most: int
    given: RankerInput | None


def explain(
    served: Mapping[str, Any], item_id: str, ranker: Ranker | None = None, most_features: int = 8, given: RankerInput | None = None
) -> dict[str, Any]:
    """Plain JSON values about one item of one request.

    Always ``request_id``, ``item_id``, ``on_page`` and ``why``; beside an item ``beside``, that item; of a visual page and of a look
    ``looks_like``, the item or the hash of the picture that was asked with, or ``look``, the items that it is made of; on a search
    ``query``; where known ``sources``, ``stages`` (rank from 1 and score after the candidate sources, the light ranker, the full ranker
    and the page; a ranker that is missing or failed has none), ``heads`` (probabilities), ``utility`` (terms by head), ``inputs`` (what
    the rankers read of the user: newest actions, user vector), ``features`` (those that count most, by what they do to the utility when
    set to their mean) and
    ``rules``.
    ``ranker`` must be the one the page was made with; without it the features are only listed. ``given`` is the page's request
    with this item as its only candidate, for rankers that read more than features.
    """
    trace = served.get("trace") or {}
    slot = next((slot for slot in served["slots"] if slot["item_id"] == item_id), None)
    answer: dict[str, Any] = {
        "request_id": served["request_id"],
        "release": served["release"],
        "item_id": item_id,
        "on_page": slot is not None,
    }
    if served.get("surface") in BESIDE_SURFACES and served["context_item_id"] is not None:
        answer["beside"] = served["context_item_id"]
    if served.get("surface") in LOOKS and trace.get("look"):
        answer["look"] = list(trace["look"])
    elif served.get("surface") in (VISUAL, *LOOKS):
        answer["looks_like"] = {"item_id": served["context_item_id"], "image_hash": served["context_image_hash"]}
    if served.get("surface") == SEARCH:
        answer["query"] = served["query"]
    standing = _standing(served, item_id)
    if slot is not None:
        answer |= _on_page(served, slot, standing, trace, _Asked(ranker, most_features, given))
    elif standing is not None:
        answer |= _candidate_only(served, item_id, standing)
    else:
        answer |= _not_a_candidate(served, item_id)
    return answer


def _reordered(served: Mapping[str, Any]) -> bool:
    """Whether it is a list that the caller made, in a new order, and not a page."""
    return (served.get("policy") or "").startswith(f"{RANK}/")


def _belonging(served: Mapping[str, Any]) -> str:
    """What the relevance of an item is on this page."""
    if _reordered(served):
        return "the caller's own order"
    return "how well it matches the query" if served.get("surface") == SEARCH else "how it belongs to the item beside"


def _standing(served: Mapping[str, Any], item_id: str) -> dict[str, Any] | None:
    """Where the item stood among the candidates; None where it was not one, or nothing was traced."""
    trace = served.get("trace") or {}
    candidates = trace.get("candidates", [])
    if item_id not in candidates:
        return None
    place, count = candidates.index(item_id), len(candidates)
    stages = {"candidates": {"rank": place + 1, "score": trace["blend"][place], "of": count}}
    light = trace.get("light")
    if light is not None:
        stages["light"] = _ranked(light, place)
    kept = trace.get("kept", range(count))
    if place in kept and trace.get("heads"):  # without heads no ranker stood there, and ``utility`` is the score of the stage before
        stages["ranker"] = _ranked(trace["utility"], kept.index(place))
    return {
        "sources": [trace["source_names"][code] for code in trace["sources"][place]],
        "stages": stages,
        "kept": len(kept),
        "went_on": place in kept,
        "fatigue": trace["fatigue"].get(item_id, 0.0),
        "relevance": trace.get("relevance", {}).get(item_id, 0.0),
        "belongs": _belonging(served),
        "stands_last": _rules_on(trace, item_id) if _reordered(served) else [],
    }


def _rules_on(trace: Mapping[str, Any], item_id: str) -> list[str]:
    """The rules about this user that named the item: a page leaves it out, a list of the caller's puts it last."""
    return [name for name, ids in trace.get("dropped", {}).items() if item_id in ids]


def _ranked(scores: Sequence[float], place: int) -> dict[str, Any]:
    """The rank from 1 that ``place`` has among ``scores``."""
    return {"rank": 1 + sum(score > scores[place] for score in scores), "score": scores[place], "of": len(scores)}


def _on_page(
    served: Mapping[str, Any],
    slot: Mapping[str, Any],
    standing: dict[str, Any] | None,
    trace: Mapping[str, Any],
    asked: _Asked,
) -> dict[str, Any]:
    sources = (slot["source"] or "").split(",") if slot["source"] else []
    stages: dict[str, Any] = {"page": {"rank": slot["position"] + 1, "score": slot["score"]}}
    if standing is not None:
        stages = standing["stages"] | stages
    weights = UtilityWeights(**trace["weights"]) if trace.get("weights") else logged_weights(served.get("flags") or ())
    heads = _heads(slot, trace, asked.ranker)
    answer: dict[str, Any] = {"why": _found_by(sources, slot["score"]), "sources": sources, "stages": stages, "heads": heads}
    answer["utility"] = utility_terms(list(heads), list(heads.values()), weights)
    answer["features"], effects = _features(served, slot, asked, weights)
    answer["inputs"] = _inputs(served) | {"effects": effects}
    answer["rules"] = _tastes(standing)
    if slot["propensity"] is not None:
        answer["rules"].append(
            {"rule": "random_order", "effect": f"this page was in random order, with a chance of {slot['propensity']:.3g} for this place"}
        )
    return answer


def _found_by(sources: Sequence[str], score: float) -> str:
    if sources == [VISUAL]:
        return f"Its picture is like the one that was asked with: {score:.2f}."
    if sources == [SHOP_THE_LOOK]:
        return f"It looks like something in the picture that was asked with: {score:.2f}."
    if sources == [COMPLETE_THE_LOOK]:
        return f"It goes with the look that was asked with: {score:.2f}."
    return "It is on the caller's list." if sources == [CALLER] else f"Found by {_listed(sources)}."


def _inputs(served: Mapping[str, Any]) -> dict[str, Any]:
    """What was read of the user beside features: the newest actions, and how fresh the nightly vector was (None: there was none)."""
    sequence, newest_ms = served.get("sequence") or [], served.get("user_vector_ms")
    recent = [
        {
            **{name: entry[name] for name in ("item_id", "action", "time_ms")},
            "hours": round((served["time_ms"] - entry["time_ms"]) / _HOUR_MS, 2),
        }
        for entry in sequence[:_SHOWN_ACTIONS]
    ]
    vector = None
    if newest_ms is not None:
        vector = {"space": served.get("user_vector_space"), "hours": round((served["time_ms"] - newest_ms) / _HOUR_MS, 2)}
    return {"actions": len(sequence), "recent_actions": recent, "user_vector": vector}


def _heads(slot: Mapping[str, Any], trace: Mapping[str, Any], ranker: Ranker | None) -> dict[str, float]:
    """P(action) by head; the names come from the trace, or from the ranker of a row that has none."""
    logged = slot["heads"]
    names = trace.get("heads") or (list(ranker.heads) if ranker is not None else [])
    if logged is None or len(names) != len(logged):
        return {}
    return {name: float(value) for name, value in zip(names, logged, strict=True)}


def _features(
    served: Mapping[str, Any], slot: Mapping[str, Any], asked: _Asked, weights: UtilityWeights
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The features that count most, or the largest ones where no ranker can tell; and what inputs beside features did.

    A ranker that failed at this page did nothing to it, and might fail here again. A page of an older version may lack features that the
    ranker is asked by now; then nothing is said of effects.
    """
    if slot["features"] is None:
        return [], {}
    values, ranker = np.asarray(slot["features"], np.float32), asked.ranker if slot["heads"] is not None else None
    named = dict(zip(served["feature_names"], values.tolist(), strict=True))
    if isinstance(ranker, Contributes) and ranker is not None and set(FEATURE_NAMES) <= named.keys():
        values = np.array([named[name] for name in FEATURE_NAMES], np.float32)  # a page of another version has them in another order
        effects = dict(ranker.contributions(values, weight_vector(ranker.heads, weights), asked.given))
        others = {name: round(effects.pop(name), 6) for name in list(effects) if name not in named}
        top = sorted(effects, key=lambda name: -abs(effects[name]))[: asked.most]
        return [{"feature": name, "value": named[name], "effect": effects[name]} for name in top], others
    top = sorted(named, key=lambda name: -abs(named[name]))[: asked.most]
    return [{"feature": name, "value": named[name], "effect": None} for name in top], {}


def _tastes(standing: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if standing is None:
        return []
    rules = []
    if standing["relevance"]:
        effect = f"{standing['belongs']} adds {standing['relevance']:+.2f} standard deviations of the scores"
        rules.append({"rule": "relevance", "effect": effect})
    if standing["fatigue"]:
        effect = f"shown before, which costs {standing['fatigue']:.2f} standard deviations of the scores"
        rules.append({"rule": "fatigue", "effect": effect})
    return rules + [{"rule": name, "effect": f"{FLAGS[name]}, so it stands last"} for name in standing["stands_last"]]


def _candidate_only(served: Mapping[str, Any], item_id: str, standing: Mapping[str, Any]) -> dict[str, Any]:
    """An item that was ranked and did not make the page."""
    cap = served["trace"]["capped"].get(item_id)
    rules, last = _tastes(standing), next(stage for stage in reversed(_STAGES) if stage in standing["stages"])
    reached = standing["stages"][last]
    stood = f"ranked {reached['rank']} of {reached['of']} by {_STAGES[last]}"
    if cap:
        rules.append({"rule": cap, "effect": _CAPS[cap]})
        why = f"It was a candidate, but {_CAPS[cap]}."
    elif not standing["went_on"]:
        why = f"It was a candidate, {stood}; the {'best' if last == 'light' else 'first'} {standing['kept']} went on."
    elif _reordered(served):
        why = f"It is on the caller's list, {stood}, behind those that were answered."
    else:
        why = f"It was a candidate, {stood}, and others were better or less alike."
    return {"why": why, "sources": standing["sources"], "stages": standing["stages"], "rules": rules}


def _not_a_candidate(served: Mapping[str, Any], item_id: str) -> dict[str, Any]:
    trace = served.get("trace") or {}
    rules = [] if _reordered(served) else _rules_on(trace, item_id)
    fired = [{"rule": name, "effect": EXPLANATIONS[name]} for name in rules]
    if rules:
        why = f"It was left out: {_listed([EXPLANATIONS[name] for name in rules])}."
    elif not trace:
        why = "It was not on the page, and the page kept no trace of its candidates."
    elif _reordered(served):
        why = "It was not on the caller's list, or the catalogue did not know it."
    elif served["surface"] == SHOP_THE_LOOK:
        why = "It is not alike enough to anything in the picture; it may be nothing to buy, or may not pass the request's filter."
    elif served["surface"] == COMPLETE_THE_LOOK:
        why = "Others go better with the look; it may be of a category that the look has, nothing to buy, or not pass the request's filter."
    elif served["surface"] == SHOP:
        why = "No candidate source brought it; it may be nothing to buy, or may not pass the request's filter, or cannot be had."
    elif trace.get("filter"):
        why = "No candidate source brought it; it may not pass the request's filter, or cannot be had."
    else:
        why = "No candidate source brought it, or it cannot be had now."
    return {"why": why, "sources": [], "stages": {}, "rules": fired}


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return names[0] if names else "nothing in particular"
    return f"{', '.join(names[:-1])} and {names[-1]}"
