"""How often is a thing in a scene found in the catalogue, first and end to end, and how long does an upload take?

    python benchmarks/shop_the_look.py --json
    python benchmarks/shop_the_look.py --seeds 1 --first-seed 101            a development seed
    python benchmarks/shop_the_look.py --quick                               everything runs, no figure means anything
    python benchmarks/shop_the_look.py --workspace workspace/demo            uploads through the feed of a built workspace

Each seed has 2,000 products that are sold and 400 scenes of two to four things, 70 % of them sold, before a background that nothing has
learned. The detector and the trunk come with the package; the outputs of the encoder learn 1,500 other products. `p1_crop` is end to end:
the product is first of what is shown, after the gate; a thing that was not detected is missed. `p1_whole_scene` asks with the scene itself,
among all products and without a gate; `p1_whole_scene_category` is told the category, `p1_whole_scene_any` takes any product of the scene
that is in the catalogue. `rejection_auc` tells things whose product is in the catalogue from those whose product is not, by the gate's
chance, among things that were detected; `..._judged` have a matcher that was fitted to judgements of simulated judges. `rate_...` are of
those that were right before, and `rate_product` is their product. `headroom_...` is what the truth in place of a stage would gain.
`category_...` compare indexes in the order of retrieval, of what was detected, at the detector's own share of right categories.

`scene_p95_ms` is a JPEG of 512 px, from its bytes to the shelves. With `--workspace` it is one request to the feed of that workspace, else
decoding, detection, crops, search, gate and order in this process, on the catalogue of the first seed: `scene_path` says which. Beside it
stand the detector alone and the encoder alone on the crops of one picture. Intervals are over scenes and seeds at once (bootstrap, 95 %).

What it costs: a seed takes some 70 s of one core for pictures and the encoder and 20 s for all questions; the time of an upload another
70 s for an encoder. Three seeds on two cores: 4 minutes. What was measured is kept, and a second call goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from harness import OUT, arguments, finish, say
from PIL import Image

from corkboard.experiments import looks_claims as name
from corkboard.experiments.looks import LooksResult, run_shop
from corkboard.experiments.looks_config import LooksConfig
from corkboard.experiments.looks_data import LookStage
from corkboard.experiments.measured import MAIN
from corkboard.experiments.seeded import resampled_over_seeds
from corkboard.metrics.intervals import percentile_interval
from corkboard.metrics.looks import STAGES
from corkboard.world.scenes import scenes

FIRST_SEED = 1000
UPLOAD_SIDE = 512
KEYS = {
    "p1_crop": (name.SERVED, name.P1),
    "r10_crop": (name.SERVED, name.R10),
    "p1_before_gate": (name.SERVED, name.RANKED),
    "p1_retrieved": (name.SERVED, name.RETRIEVED),
    "p1_of_detected": (name.SERVED, name.CROP),
    "p1_whole_scene": (name.WHOLE, name.P1),
    "r10_whole_scene": (name.WHOLE, name.R10),
    "p1_whole_scene_category": (name.WHOLE, f"{name.P1}, category known"),
    "p1_whole_scene_any": (name.WHOLE, f"{name.P1}, any of the scene"),
    "rejection_auc": (name.SERVED, name.REJECTION),
    "rejection_auc_cosine": (name.SERVED, name.REJECTION_COSINE),
    "rejection_auc_true_boxes": (name.TRUE_ALL, name.REJECTION),
    "shown_present": (name.SERVED, name.SHOWN),
    "shown_absent": (name.SERVED, name.ABSENT),
    "removed_absent": (name.SERVED, name.REMOVED),
    "p1_judged": (name.JUDGED, name.P1),
    "r10_judged": (name.JUDGED, name.R10),
    "rejection_auc_judged": (name.JUDGED, name.REJECTION),
    "shown_present_judged": (name.JUDGED, name.SHOWN),
    "shown_absent_judged": (name.JUDGED, name.ABSENT),
    "p1_true_boxes": (name.TRUE_BOXES, name.P1),
    "p1_true_categories": (name.TRUE_CATEGORIES, name.P1),
    "p1_true_boxes_and_categories": (name.TRUE_ALL, name.P1),
    "p1_exhaustive": (name.EVERYTHING, name.P1),
    "p1_seen_backgrounds": (name.ON_SEEN, name.P1),
    "p1_colour_histogram": (name.HISTOGRAM, name.P1),
    "r10_colour_histogram": (name.HISTOGRAM, name.R10),
    "p1_raw_pixels": (name.PIXELS, name.P1),
    "r10_raw_pixels": (name.PIXELS, name.R10),
    "category_own": (name.CATEGORY, name.OWN),
    "category_two_likeliest": (name.CATEGORY, name.FALLBACK),
    "category_one_index": (name.CATEGORY, name.ONE),
}
"""Key of the JSON -> variant and measure."""
ORACLES = ("true_boxes", "true_categories", "true_boxes_and_categories", "exhaustive")


def main() -> None:
    options = arguments(__doc__, seeds=3, first_seed=FIRST_SEED, minutes=20.0, workers=2, uploads=200, workspace="", quick=False)
    base = LooksConfig.quick() if options.quick else LooksConfig()
    config = base.model_copy(update={"first_seed": options.first_seed})
    begun = time.perf_counter()
    found = run_shop(OUT / "shop_the_look", config, options.seeds, options.minutes, say, options.workers)
    for job, error in found.finished.failed.items():
        say(f"{job} failed: {error}")
    result = figures(found)
    result |= uploads(config, min(options.uploads, config.shown.scenes), Path(options.workspace) if options.workspace else None)
    result |= {"seeds": options.seeds, "first_seed": options.first_seed, "catalogue": config.shown.catalogue}
    finish(result | {"seconds": time.perf_counter() - begun}, options.json)


def figures(found: LooksResult) -> dict[str, object]:
    """Every figure over seeds; where a seed is missing, "not measured"."""
    told: dict[str, object] = {}
    evaluation = found.config.evaluation
    for key, (variant, measure) in KEYS.items():
        seeds = [found.by_user(MAIN, variant, seed) for seed in found.seeds]
        if not all(measure in one for one in seeds):
            told[key] = "not measured"
            continue
        known = [one[measure] for one in seeds]
        bounds = percentile_interval(resampled_over_seeds(known, variant, evaluation), evaluation.level)
        told.update({key: mean(one.value for one in known), f"{key}_low": max(bounds.low, 0.0), f"{key}_high": min(bounds.high, 1.0)})
    facts = {f"rate_{stage}": (name.SERVED, name.rate(stage)) for stage in STAGES} | {"rate_product": (name.SERVED, "product of the rates")}
    facts |= {"ap50": (name.SERVED, name.AP50), "categories_right": (name.SERVED, name.CATEGORIES_RIGHT), "things": (name.SERVED, "things")}
    facts |= {"judges_kappa": (name.JUDGED, "kappa"), "judged_pairs": (name.JUDGED, "judged pairs")}
    for key, (variant, measure) in facts.items():
        values = [found.figures(MAIN, variant, seed).get(measure) for seed in found.seeds]
        told[key] = "not measured" if None in values else mean(values)  # type: ignore[type-var]
    for oracle in ORACLES:
        both = told["p1_crop"], told[f"p1_{oracle}"]
        told[f"headroom_{oracle}"] = both[1] - both[0] if all(isinstance(one, float) for one in both) else "not measured"  # type: ignore[operator]
    return told


# ----------------------------------------------------------------------------------------------------------------- time


def uploads(config: LooksConfig, count: int, workspace: Path | None) -> dict[str, object]:
    """How long an upload takes, one after the other, and the floor of it."""
    from corkboard.feed.visual import read_picture
    from corkboard.shopping.matcher import fit_matcher
    from corkboard.shopping.objects import objects_in
    from corkboard.shopping.shop_the_look import shop_the_look
    from corkboard.vision.detector import built_in_detector

    stage = LookStage(config, config.first_seed, built_in_detector())
    files = jpegs(stage, count, OUT / "shop_the_look" / "uploads")
    pictures = [read_picture(file) for file in files]
    objects = objects_in(pictures, stage.detector, stage.encoder, config.shop.objects)
    together = zip(pictures, objects, strict=True)
    crops = [stage.crops(picture[None], np.zeros(len(one), np.int64), one.boxes, stage.side) for picture, one in together if len(one)]
    told: dict[str, object] = percentiles("detector", [lambda p=picture: stage.detector.detect([p]) for picture in pictures])
    told |= percentiles("encoder", [lambda c=some: stage.encoder.features(c) for some in crops])
    told |= percentiles("decoding", [lambda f=file: read_picture(f) for file in files])
    told["objects_found"] = mean(len(one) for one in objects)
    if workspace is not None:
        return told | through_feed(workspace, files)
    index, matcher = stage.index, fit_matcher(stage.index, config=config.shop)

    def answer(file: Path) -> None:
        found = objects_in([read_picture(file)], stage.detector, stage.encoder, config.shop.objects)[0]
        shop_the_look(found, index, matcher, config=config.shop)

    return told | percentiles("scene", [lambda f=file: answer(f) for file in files]) | {"scene_path": "objects_in and shop_the_look"}


def through_feed(folder: Path, files: Sequence[Path]) -> dict[str, object]:
    """The whole answer of a built workspace, in one request to its feed: of an upload that it has not seen, and of one that it has."""
    from corkboard.workspace import open as open_workspace

    workspace = open_workspace(folder)
    told = percentiles("scene", [lambda f=file: workspace.shop_the_look(f) for file in files])
    told |= percentiles("scene_again", [lambda f=file: workspace.shop_the_look(f) for file in files])
    shown = [len(workspace.shop_the_look(file).objects) for file in files]
    return told | {"scene_path": f"feed of {folder.name}", "scene_objects": mean(shown)}


def jpegs(stage: LookStage, count: int, folder: Path) -> list[Path]:
    """Scenes of the seed as somebody would upload them, in files."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = scenes(stage.products, count, stage.seed, UPLOAD_SIDE, backgrounds="held_out", threads=1)
    files = [folder / f"{number}.jpg" for number in range(count)]
    for file, image in zip(files, shown.images, strict=True):
        Image.fromarray(image).save(file, quality=90)
    return files


def percentiles(key: str, calls: Sequence[Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of each call, in its turn and once; the first few only warm up."""
    warming = min(5, len(calls) // 2)
    for call in calls[:warming]:
        call()
    took = []
    for call in calls[warming:]:
        begun = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - begun))
    return {f"{key}_p50_ms": float(np.percentile(took, 50)), f"{key}_p95_ms": float(np.percentile(took, 95))}


if __name__ == "__main__":
    main()
