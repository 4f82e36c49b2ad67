"""Street photos: which labels make a class of garment, and how photos are split. Imports nothing heavy.

The 53 labels of Clothing Co-Parsing (Yang et al., CVPR 2014) are pixel labels: too fine for 500 photos, 20 of them with fewer than ten
boxes. They are grouped by what a box of that place and shape would be searched for; what is no garment is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, model_validator

from corkboard.config import Section


@dataclass(frozen=True)
class GarmentGroup:
    """Labels that are one class, and why."""

    name: str
    labels: tuple[str, ...]
    why: str


GARMENTS = (
    GarmentGroup("top", ("blouse", "shirt", "t-shirt", "top"), "worn on the skin above the waist; which of them it is hardly shows"),
    GarmentGroup("knitwear", ("sweater", "sweatshirt", "hoodie", "cardigan"), "thicker than a top, mostly worn over one"),
    GarmentGroup("outerwear", ("coat", "jacket", "blazer", "suit", "cape", "vest"), "worn open over something else"),
    GarmentGroup("dress", ("dress", "romper", "bodysuit"), "one piece from the shoulders to below the waist"),
    GarmentGroup("trousers", ("pants", "jeans", "leggings"), "two long legs"),
    GarmentGroup("skirt", ("skirt", "shorts"), "from the waist to above the knee; 30 shorts are too few to be a class"),
    GarmentGroup("legwear", ("stockings", "tights", "socks"), "on the legs, below a skirt or in shoes"),
    GarmentGroup(
        "shoes",
        ("shoes", "boots", "sandals", "heels", "pumps", "sneakers", "loafers", "flats", "wedges"),
        "both feet are one box; kinds have 1 to 32 boxes beside 389 that say but 'shoes'",
    ),
    GarmentGroup("bag", ("bag", "purse", "wallet"), "carried; the labels are used for one another"),
    GarmentGroup("glasses", ("sunglasses", "glasses"), "on the eyes"),
    GarmentGroup("belt", ("belt",), "a thin band about the waist"),
    GarmentGroup("hat", ("hat",), "on the head"),
)
"""The classes, in the order of their numbers."""

LEFT_OUT = {
    "no garment": ("skin", "hair", "label", "background", "null"),
    "of any shape and place, or a few px large at 128 px": ("accessories", "bracelet", "necklace", "watch", "ring", "gloves", "bra"),
    "fewer than 50 boxes, and like no other class": ("scarf", "tie"),
    "a pullover to some and a pinafore to others": ("jumper",),
}
"""Labels that are in no class, by reason."""


class StreetConfig(Section):
    """Which photos are asked about."""

    test_share: float = Field(default=0.25, gt=0, lt=1)
    """Of the photos, those that are asked about; by the hash of the file name."""
    valid_share: float = Field(default=0.1, ge=0, lt=1)
    """Of the photos, those that settings may be chosen on."""

    @model_validator(mode="after")
    def _some_left(self) -> StreetConfig:
        if self.test_share + self.valid_share >= 1:
            raise ValueError("no photos are left to learn from")
        return self
