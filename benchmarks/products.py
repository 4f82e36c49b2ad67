"""Do pictures and words together, and eight tasks together, find more products than any one of them?

    python benchmarks/products.py --json
    python benchmarks/products.py --seeds 1 --steps 50        smaller and quicker

Each seed is a world of its own. `recall10_mean` is ItemSage's recall@10 in the mean of eight cells (queries by an item or by words; click,
save, cart, checkout), with all products ranked; the others are the best model of one modality and of one task by the same mean, chosen
on these very figures. Intervals are Student's t over seeds (95 %); differences are paired, against the best single one of each seed.
What was measured is kept: a second call goes on. `corkboard experiment products` measures the rest.
"""

from __future__ import annotations

from harness import OUT, arguments, finish, say

from corkboard.experiments.products import BAR, run_products
from corkboard.experiments.products_config import ProductsConfig
from corkboard.experiments.products_report import summary
from corkboard.experiments.spine_config import laid_over


def main() -> None:
    options = arguments(__doc__, seeds=5, steps=-1, workers=2, minutes=60.0, quick=False)
    config = ProductsConfig.quick() if options.quick else ProductsConfig()
    if options.steps >= 0:
        changed = {"itemsage": {"training": {"steps": options.steps}}}
        config = ProductsConfig.model_validate(laid_over(config.model_dump(), changed))
    result = run_products(OUT / "products", config, options.seeds, options.minutes, say, options.workers, only=BAR)
    told = summary(result)
    finish(told | {"seeds": options.seeds, "made": result.finished.made, "seconds": result.finished.seconds}, options.json)


if __name__ == "__main__":
    main()
