"""Settings of shopping from pictures. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.shopping.complete_config import CompleteTheLookConfig
from corkboard.shopping.outfit_config import OutfitModelConfig


class ObjectsConfig(Section):
    """What is cut out of a picture."""

    margin: float = Field(default=0.1, ge=0, le=1)
    """A crop is the box enlarged by this share of its width and height, as published: what stands around a thing helps to tell it."""
    most: int = Field(default=12, ge=1)
    """Objects of one picture at most, the surest; imported ones are all kept."""
    min_side: float = Field(default=0.02, ge=0, lt=1)
    """A box that is narrower or lower than this share of the picture shows too little to be matched."""


class GateConfig(Section):
    """Which similarity is similar enough."""

    precision: float = Field(default=0.5, gt=0, le=1)
    """With judgements: of what lies above the gate, at least this share was judged similar."""
    quantile: float = Field(default=0.4, ge=0, le=1)
    """Without judgements: a product passes where it is more alike than the nearest other product is for this share of the category."""
    shown: float = Field(default=0.4, ge=0, le=1)
    """Without judgements: the bound falls until this share of the things in the lake's own scenes has something to show, where crops of
    scenes look little like pictures of products, but not to what products of other categories reach; 0: the catalogue alone decides."""
    min_scene_objects: int = Field(default=30, ge=1)
    """With fewer things in scenes the catalogue alone decides."""
    shrinkage: float = Field(default=5.0, ge=0)
    """A category's own figures count as if there were so many more pairs (or products) with the figures of all categories together."""
    min_judged: int = Field(default=200, ge=2)
    """Judged pairs from which on judgements decide, if some are similar and some are not."""


class ShopTheLookConfig(Section):
    """From a scene to products that can be bought."""

    objects: ObjectsConfig = ObjectsConfig()
    """What is cut out of pictures."""
    gate: GateConfig = GateConfig()
    """Which similarity is similar enough."""
    unsure: float = Field(default=0.2, ge=0, le=1)
    """Where the likeliest category leads the second by less, both are searched."""
    candidates: int = Field(default=200, ge=1)
    """Products that are scored again for an object, the most alike."""
    ridge: float = Field(default=1.0, gt=0)
    """Penalty on the weights of the reranking, in judged pairs."""
    duplicate: float = Field(default=0.98, gt=0, le=1)
    """Two products that are more alike than this (cosine) are one: the better one is shown."""
    per_merchant: int = Field(default=3, ge=1)
    """Products of one merchant among the results of an object, unless nothing else is left."""
    results: int = Field(default=6, ge=1)
    """Results of an object, where the request does not say."""
    min_results: int = Field(default=1, ge=1)
    """An object with fewer results is not shown."""


class ShoppingConfig(Section):
    """Shopping from pictures."""

    shop_the_look: ShopTheLookConfig = ShopTheLookConfig()
    """From a scene to products that look like what is in it."""
    outfit_model: OutfitModelConfig = OutfitModelConfig()
    """What goes together, learned from outfits."""
    complete_the_look: CompleteTheLookConfig = CompleteTheLookConfig()
    """From a look to products that go with it."""
