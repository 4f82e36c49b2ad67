"""Why an item is on a page, or why it is not: read from the served row, which was written when the page was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corkboard.feed.rules import EXPLANATIONS
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.ranker import Contributes, Ranker
from corkboard.ranking.utility import utility_terms, weight_vector

_CAPS = {"creator_cap": "the page already had its share of this creator", "category_cap": "the page already had its share of this category"}


def explain(served: Mapping[str, Any], item_id: str, ranker: Ranker | None = None, most_features: int = 8) -> dict[str, Any]:
    """Plain JSON values about one item of one request.

    Always ``request_id``, ``item_id``, ``on_page`` and ``why``; where known ``sources``, ``stages`` (rank from 1 and score after
    the candidate sources, the ranker and the page), ``heads`` (probabilities), ``utility`` (terms by head), ``features`` (those
    that count most, by what they do to the utility when set to their mean) and ``rules``.
    ``ranker`` must be the one the page was made with; without it the features are only listed.
    """
    trace = served.get("trace") or {}
    slot = next((slot for slot in served["slots"] if slot["item_id"] == item_id), None)
    answer: dict[str, Any] = {
        "request_id": served["request_id"],
        "release": served["release"],
        "item_id": item_id,
        "on_page": slot is not None,
    }
    standing = _standing(trace, item_id)
    if slot is not None:
        answer |= _on_page(served, slot, standing, trace, ranker, most_features)
    elif standing is not None:
        answer |= _candidate_only(trace, item_id, standing)
    else:
        answer |= _not_a_candidate(trace, item_id)
    return answer


def _standing(trace: Mapping[str, Any], item_id: str) -> dict[str, Any] | None:
    """Where the item stood among the candidates; None where it was not one, or nothing was traced."""
    candidates = trace.get("candidates", [])
    if item_id not in candidates:
        return None
    place = candidates.index(item_id)
    utilities = trace["utility"]
    return {
        "sources": [trace["source_names"][code] for code in trace["sources"][place]],
        "candidate_rank": place + 1,
        "candidate_score": trace["blend"][place],
        "ranker_rank": 1 + sum(value > utilities[place] for value in utilities),
        "score": utilities[place],
        "candidates": len(candidates),
        "fatigue": trace["fatigue"].get(item_id, 0.0),
    }


def _on_page(
    served: Mapping[str, Any],
    slot: Mapping[str, Any],
    standing: dict[str, Any] | None,
    trace: Mapping[str, Any],
    ranker: Ranker | None,
    most: int,
) -> dict[str, Any]:
    sources = (slot["source"] or "").split(",") if slot["source"] else []
    stages: dict[str, Any] = {"page": {"rank": slot["position"] + 1, "score": slot["score"]}}
    if standing is not None:
        stages = _stages(standing) | stages
    weights = UtilityWeights(**trace["weights"]) if trace.get("weights") else UtilityWeights()
    heads = _heads(slot, trace, ranker)
    answer: dict[str, Any] = {"why": f"Found by {_listed(sources)}.", "sources": sources, "stages": stages, "heads": heads}
    answer["utility"] = utility_terms(list(heads), list(heads.values()), weights)
    answer["features"] = _features(served, slot, ranker, weights, most)
    answer["rules"] = _tastes(standing)
    if slot["propensity"] is not None:
        answer["rules"].append(
            {"rule": "random_order", "effect": f"this page was in random order, with a chance of {slot['propensity']:.3g} for this place"}
        )
    return answer


def _stages(standing: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "candidates": {"rank": standing["candidate_rank"], "score": standing["candidate_score"], "of": standing["candidates"]},
        "ranker": {"rank": standing["ranker_rank"], "score": standing["score"], "of": standing["candidates"]},
    }


def _heads(slot: Mapping[str, Any], trace: Mapping[str, Any], ranker: Ranker | None) -> dict[str, float]:
    """P(action) by head; the names come from the trace, or from the ranker of a row that has none."""
    logged = slot["heads"]
    names = trace.get("heads") or (list(ranker.heads) if ranker is not None else [])
    if logged is None or len(names) != len(logged):
        return {}
    return {name: float(value) for name, value in zip(names, logged, strict=True)}


def _features(
    served: Mapping[str, Any], slot: Mapping[str, Any], ranker: Ranker | None, weights: UtilityWeights, most: int
) -> list[dict[str, Any]]:
    """The features that count most, or the largest ones where no ranker can tell."""
    if slot["features"] is None:
        return []
    values = np.asarray(slot["features"], np.float32)
    named = dict(zip(served["feature_names"], values.tolist(), strict=True))
    if isinstance(ranker, Contributes) and ranker is not None:
        effects = ranker.contributions(values, weight_vector(ranker.heads, weights))
        top = sorted(effects, key=lambda name: -abs(effects[name]))[:most]
        return [{"feature": name, "value": named[name], "effect": effects[name]} for name in top]
    top = sorted(named, key=lambda name: -abs(named[name]))[:most]
    return [{"feature": name, "value": named[name], "effect": None} for name in top]


def _tastes(standing: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if standing is None or not standing["fatigue"]:
        return []
    return [{"rule": "fatigue", "effect": f"shown before, which costs {standing['fatigue']:.2f} standard deviations of the scores"}]


def _candidate_only(trace: Mapping[str, Any], item_id: str, standing: Mapping[str, Any]) -> dict[str, Any]:
    """An item that was ranked and did not make the page."""
    cap = trace["capped"].get(item_id)
    rules = _tastes(standing)
    if cap:
        rules.append({"rule": cap, "effect": _CAPS[cap]})
        why = f"It was a candidate, but {_CAPS[cap]}."
    else:
        why = f"It was a candidate, ranked {standing['ranker_rank']} of {standing['candidates']}, and others were better or less alike."
    return {"why": why, "sources": standing["sources"], "stages": _stages(standing), "rules": rules}


def _not_a_candidate(trace: Mapping[str, Any], item_id: str) -> dict[str, Any]:
    rules = [name for name, ids in trace.get("dropped", {}).items() if item_id in ids]
    if rules:
        fired = [{"rule": name, "effect": EXPLANATIONS[name]} for name in rules]
        return {"why": f"It was left out: {_listed([EXPLANATIONS[name] for name in rules])}.", "sources": [], "stages": {}, "rules": fired}
    if not trace:
        return {"why": "It was not on the page, and the page kept no trace of its candidates.", "sources": [], "stages": {}, "rules": []}
    if trace.get("filter"):
        why = "No candidate source brought it; it may not pass the request's filter, or cannot be had."
    else:
        why = "No candidate source brought it, or it cannot be had now."
    return {"why": why, "sources": [], "stages": {}, "rules": []}


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return names[0] if names else "nothing in particular"
    return f"{', '.join(names[:-1])} and {names[-1]}"
