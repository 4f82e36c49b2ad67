"""How often does a camera picture find its product among 500 that were never trained on?

    python benchmarks/visual.py --json
    python benchmarks/visual.py --products 200 --start 100 --steps 100       smaller and quicker

Each seed has rendered products of its own and a training from random weights, in two processes of one thread. Trunk, outputs and proxies
learn from 2,000 products; a camera or web picture of each of 500 others then asks for that product's one catalogue picture. Figures are
means over seeds; intervals are over products and seeds at once (bootstrap, 95 %). The best baseline is the one that finds most of the test
products, of colour histograms (middle, whole picture), raw pixels and a trunk of random weights. `built_in_...` is the trunk that comes
with the package, with new outputs trained on the same products.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import mean

from harness import OUT, arguments, finish

from corkboard.artifacts import content_hash
from corkboard.errors import NotFound
from corkboard.experiments.seeded import resampled_over_seeds
from corkboard.experiments.spine_config import laid_over
from corkboard.experiments.spine_runs import code_hash, threads_of_children
from corkboard.experiments.vision_config import VisualRetrievalConfig
from corkboard.experiments.visual_retrieval import PICTURE_CODE, facts
from corkboard.metrics.intervals import PerUser, percentile_interval

FIRST_SEED = 2000
"""Seeds of products that nothing was chosen by."""
TEST, COMBINATIONS, BACKGROUNDS = "test", "held-out combinations", "held-out backgrounds"

Figures = dict[str, PerUser]


def main() -> None:
    options = arguments(__doc__, seeds=3, products=2000, start=-1, steps=-1, workers=2)
    config = settings(options)
    begun = time.perf_counter()
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    with threads_of_children(1), ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(partial(measure, config=config), seeds))
    result = summary(config, [one["figures"] for one in found])
    result |= facts(config.products) | {
        "seeds": options.seeds,
        "start_steps": config.start.training.steps,
        "steps": config.visual.training.steps,
        "picture_code": code_hash(*PICTURE_CODE),
        "split": content_hash([one["split"] for one in found]),
        "seconds": time.perf_counter() - begun,
    }
    finish(result, options.json)


def settings(options) -> VisualRetrievalConfig:
    """The default protocol, with what was asked for otherwise."""
    asked = {"products": {"training": options.products}}
    asked |= {"start": {"training": {"steps": options.start}}} if options.start >= 0 else {}
    asked |= {"visual": {"training": {"steps": options.steps}}} if options.steps >= 0 else {}
    return VisualRetrievalConfig.model_validate(laid_over(VisualRetrievalConfig().model_dump(), asked))


def measure(seed: int, config: VisualRetrievalConfig) -> dict:
    """Train and ask one seed; figures by row (part, baseline) and measure."""
    from corkboard.experiments.trunk import counted, measured, steps_told, train_trunk
    from corkboard.experiments.visual_retrieval import baselines, product_pictures

    def say(line: str) -> None:
        print(f"seed {seed}: {line}", file=sys.stderr, flush=True)

    pictures = product_pictures(config.products, seed, OUT / "visual", counted(say))
    batch = config.visual.batch_classes * config.visual.images_per_class
    encoder = train_trunk(pictures, config, seed, steps_told(say, batch))
    say("measuring")
    figures: dict[str, Figures] = dict(measured(encoder, pictures))
    figures |= {name: gallery.figures() for name, gallery in baselines(pictures, config, seed).items()}
    try:
        figures["built-in"] = built_in(pictures, config, seed)
    except NotFound as missing:
        say(str(missing).splitlines()[0])
    return {"figures": figures, "split": pictures.split}


def built_in(pictures, config: VisualRetrievalConfig, seed: int) -> Figures:
    """New outputs and proxies on the trunk that comes with the package."""
    from corkboard.experiments.trunk import with_new_heads
    from corkboard.experiments.visual_retrieval import Gallery
    from corkboard.vision.trunk import built_in_trunk

    encoder = with_new_heads(pictures, built_in_trunk(), config, seed)
    features = Gallery.of(encoder.features, pictures.test)
    return features.mapped(encoder.vectors_of).figures() | {"camera P@1, code": features.mapped(encoder.codes_of).figures()["camera P@1"]}


def summary(config: VisualRetrievalConfig, seeds: list[dict[str, Figures]]) -> dict[str, object]:
    """Every figure over seeds, by the names of the JSON."""
    bits = (config.visual.dim, config.visual.code_bits // 2, config.visual.code_bits)
    shares: dict[str, object] = {}

    def put(key: str, row: str, measure: str) -> None:
        known = [one[row][measure] for one in seeds if row in one]
        if len(known) < len(seeds):
            shares[key] = "not measured"
            return
        bounds = percentile_interval(resampled_over_seeds(known, row, config.evaluation), config.evaluation.level)
        shares.update({key: mean(one.value for one in known), f"{key}_low": bounds.low, f"{key}_high": bounds.high})

    put("camera_p1", TEST, "camera P@1")
    for count in bits:
        put(f"camera_p1_{count}bit", TEST, f"camera P@1, {count} bits")
    trivial = [row for row in seeds[0] if row not in (TEST, COMBINATIONS, BACKGROUNDS, "validation", "built-in")]
    best = max(trivial, key=lambda row: mean(one[row]["camera P@1"].value for one in seeds))
    put("camera_p1_best_baseline", best, "camera P@1")
    shares["best_baseline"] = best
    for measure, key in (("web P@1", "web_p1"), ("camera R@10", "camera_r10"), ("web R@10", "web_r10")):
        put(key, TEST, measure)
        for count in bits:
            put(f"{key}_{count}bit", TEST, f"{measure}, {count} bits")
    for measure in ("camera category P@1", "web category P@1", "browse", "lens"):
        put(measure.replace(" ", "_").replace("@", "").lower(), TEST, measure)
    for part in (COMBINATIONS, BACKGROUNDS):
        put(f"camera_p1_{part.split()[-1]}", part, "camera P@1")
    for row in trivial:
        for measure, key in (("camera P@1", "camera_p1"), ("camera R@10", "camera_r10"), ("web P@1", "web_p1"), ("web R@10", "web_r10")):
            put(f"{key}_{row.replace(' ', '_')}", row, measure)
    put("camera_p1_built_in", "built-in", "camera P@1")
    put("camera_p1_built_in_code", "built-in", "camera P@1, code")
    shares["above_best_baseline"] = shares["camera_p1"] - shares["camera_p1_best_baseline"]  # type: ignore[operator]
    shares["lost_by_codes"] = shares["camera_p1"] - shares[f"camera_p1_{bits[-1]}bit"]  # type: ignore[operator]
    return shares


if __name__ == "__main__":
    main()
