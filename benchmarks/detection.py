"""How well are things found in pictures: of products and in front of backgrounds that were never learned, and in real street photos?

    python benchmarks/detection.py --json --data FOLDER         FOLDER holds clothing-coparsing and coco128; default: $CORKBOARD_DATA
    python benchmarks/detection.py --quick                      everything runs, no figure means anything

`rendered_ap50` and `street_ap50` are the AP50 of the default detector (one stage over the trunk that comes with the package), each trained
on pictures of its own; `..._baseline` are boxes of the mean size of each class at its prior, which look at no picture. Intervals are over
pictures and seeds at once (95 %). `coco128_...` says that it runs and nothing else. Other detectors have their name at the end of a key.

What it costs, in seconds of one core: a step of 16 pictures of 128 px takes .17 (CNN, one stage), .22 (CNN, two stages), .19 (ViT, patches
of 16 px) and .43 (ViT, 8 px) where both cores are busy. The default detector over three seeds: 3 x (1500 + 1000) x .17 = 1,275. The seven
others over one seed: 2500 x (.17 + 2 x .22 + 2 x .19 + 2 x .43) = 4,625. Pre-training of the two transformers, 300 steps of 96 pictures of
64 px: 340 + 90. Rendering, reading and measuring: some 15 a run, 350. Together 6,680, which two cores do in 56 minutes; what is left of the
hour goes to further seeds of the others. What was measured is kept: a second call goes on.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness import OUT, arguments, finish, say

from corkboard.experiments.detection import run_detection, summary
from corkboard.experiments.detection_config import DetectionConfig


def main() -> None:
    data = os.environ.get("CORKBOARD_DATA", "")
    options = arguments(__doc__, seeds=3, minutes=60.0, workers=2, data=data, quick=False)
    config = DetectionConfig.quick() if options.quick else DetectionConfig()
    folder = Path(options.data) if options.data else None
    result = run_detection(folder, OUT / "detection", config, options.seeds, options.minutes, say, options.workers)
    finished = result.finished
    told = summary(result) | {"seeds": options.seeds, "steps_rendered": config.steps.rendered, "steps_street": config.steps.street}
    finish(told | {"made": finished.made, "failed": len(finished.failed), "seconds": finished.seconds}, options.json)
    for name, reason in finished.failed.items():
        say(f"{name} failed: {reason}")


if __name__ == "__main__":
    main()
