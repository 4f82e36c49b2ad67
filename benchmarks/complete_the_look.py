"""How often is the missing piece of an outfit told from three others of its kind?

    python benchmarks/complete_the_look.py --json
    python benchmarks/complete_the_look.py --seeds 1 --first-seed 101 --items 4000 --learned 800 --asked 200       smaller and quicker

Each seed is a world with outfits of its own; the model learns from 3,000 of them and is asked about others in which none of its items
occurs. Answers are shuffled and of one category, wrong ones are as often in outfits as right ones: a constant scorer gets a quarter.
`fitb_oracle` is the world's own compatibility, with the items that were put there at random; `fitb_shown` and `fitb_true` are the model
where it is told facets, as they show and as they are, and reads no pictures; `fitb_embedded` and `fitb_both` where it reads the visual
embedding instead of, or beside, how likely each pattern, shade and style is. Figures are means over seeds, intervals over outfits and
seeds at once (bootstrap, 95 %). What was measured is kept, and a second call goes on. `real_...` are outfits of the data set
pinterest-look below CORKBOARD_DATA, of which there are labels and boxes alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from statistics import mean

from harness import OUT, arguments, finish, say

from corkboard.experiments import outfits as name
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.measured import MAIN
from corkboard.experiments.outfits_config import OutfitsConfig
from corkboard.experiments.seeded import resampled_over_seeds
from corkboard.metrics.intervals import PerUser, percentile_interval
from corkboard.metrics.outfits import AUC, FITB, RECALL_AT, TRIPLETS

FIRST_SEED = 1000
LABELS = Path("pinterest-look") / "complete_the_look_raw_test.tsv.gz"
ROWS = {
    "": name.MODEL,
    "_oracle": name.ORACLE,
    "_shown": name.SEEN,
    "_true": name.TRUE,
    "_embedded": name.EMBEDDED,
    "_both": name.BOTH,
    "_unconditioned": name.UNCONDITIONED,
    "_any_category": name.ANY,
    **{f"_{row.replace(' ', '_')}": row for row in name.BASELINES},
}
"""Ending of the key -> variant."""


def main() -> None:
    sizes = OutfitsConfig()
    options = arguments(
        __doc__,
        seeds=5,
        first_seed=FIRST_SEED,
        minutes=20.0,
        items=sizes.world.items,
        learned=sizes.learned,
        asked=sizes.asked,
        workers=2,
    )
    world = sizes.world.model_copy(update={"items": options.items})
    config = sizes.model_copy(update={"first_seed": options.first_seed, "world": world, "learned": options.learned, "asked": options.asked})
    found = name.run_outfits(OUT / "complete_the_look", config, options.seeds, options.minutes, say, options.workers, list(ROWS.values()))
    for job, error in found.finished.failed.items():
        say(f"{job} failed: {error}")
    result = world_figures(found) | claims(found) | real_outfits(config.evaluation)
    result |= {"seeds": options.seeds, "first_seed": options.first_seed, "items": options.items, "seconds": found.finished.seconds}
    finish(result, options.json)


def world_figures(found: name.OutfitsResult) -> dict[str, object]:
    """Every figure over seeds, by the names of the JSON; where a seed is missing, "not measured"."""
    result: dict[str, object] = {}
    for split in found.config.splits:
        ending = "" if split == "item" else f"_by_{split}"
        for row, variant in ROWS.items():
            measures = [FITB, TRIPLETS, AUC, *(f"recall@{k}" for k in RECALL_AT), *((name.SWAPPED,) if not row else ())]
            for measure in measures:
                key = measure.replace("@", "").replace(",", "").replace(" ", "_") + row + ending
                result |= over_seeds(found, variant, name.by(measure, split), key)
        known = {one: result.get(f"fitb_{one.replace(' ', '_')}{ending}") for one in name.BASELINES}
        if all(isinstance(value, float) for value in known.values()):
            best = max(known, key=lambda one: known[one])
            result |= {f"fitb_best_baseline{ending}": known[best], f"best_baseline{ending}": best}
    return result


def over_seeds(found: name.OutfitsResult, variant: str, measure: str, key: str) -> dict[str, object]:
    """A figure, its mean over seeds and its bounds."""
    known = [found.by_user(MAIN, variant, seed) for seed in found.seeds]
    if not all(measure in one for one in known):
        return {key: "not measured"}
    return told(key, [one[measure] for one in known], found.config.evaluation)


def claims(found: name.OutfitsResult) -> dict[str, object]:
    """What the claims come to over seeds."""
    judged = {claim.name: found.claim(claim) for claim in name.CLAIMS}
    return {f"claim: {one}": f"{of.verdict} ({of.mean:+.3f})" for one, of in judged.items() if of.mean is not None}


def real_outfits(config: EvaluationConfig) -> dict[str, object]:
    """What labels and boxes alone tell of outfits of people."""
    file = Path(os.environ.get("CORKBOARD_DATA") or "no data here") / LABELS
    if not file.exists():
        return {"real_fitb": f"not measured: set CORKBOARD_DATA to the folder that holds {LABELS}"}
    figures = name.labels_alone(name.read_labels(file), config.seed)
    result: dict[str, object] = {}
    for measure, figure in figures.items():
        result |= told("real_" + measure.replace(",", "").replace(" ", "_"), [figure], config)
    return result


def told(key: str, figures: list[PerUser], config: EvaluationConfig) -> dict[str, object]:
    """The mean of a figure over seeds and its bounds."""
    bounds = percentile_interval(resampled_over_seeds(figures, key, config), config.level)
    return {key: mean(one.value for one in figures), f"{key}_low": bounds.low, f"{key}_high": bounds.high}


if __name__ == "__main__":
    main()
