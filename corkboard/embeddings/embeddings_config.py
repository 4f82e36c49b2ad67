"""The settings of the whole room, put together from those of its models. Imports nothing heavy."""

from __future__ import annotations

from corkboard.config import Section
from corkboard.embeddings.attribute_config import AttributeHeadConfig
from corkboard.embeddings.config import (
    ContentConfig,
    ItemSageConfig,
    MultiBiSageConfig,
    PinnerFormerConfig,
    PinSageConfig,
    SearchSageConfig,
    VisualConfig,
)
from corkboard.embeddings.omni_config import EnrichmentConfig, OmniSearchSageConfig


class EmbeddingsConfig(Section):
    """Settings of the embeddings."""

    content: ContentConfig = ContentConfig()
    """The text-and-attribute tower."""
    pinnerformer: PinnerFormerConfig = PinnerFormerConfig()
    """The user model and the item embeddings."""
    pinsage: PinSageConfig = PinSageConfig()
    """Item vectors from one graph."""
    multibisage: MultiBiSageConfig = MultiBiSageConfig()
    """Item vectors from several graphs."""
    visual: VisualConfig = VisualConfig()
    """The unified visual embedding."""
    itemsage: ItemSageConfig = ItemSageConfig()
    """The encoder of products."""
    searchsage: SearchSageConfig = SearchSageConfig()
    """The encoder of search queries."""
    attributes: AttributeHeadConfig = AttributeHeadConfig()
    """What is filled in that products do not say."""
    joint_search: bool = False
    """Whether OmniSearchSage learns queries, in SearchSage's place: against pins, products and queries together, and into the space of the
    items, so that the index stays the same. On simulated worlds it finds two to three points less in that space than SearchSage."""
    omnisearchsage: OmniSearchSageConfig = OmniSearchSageConfig()
    """The joint form of search."""
    enrichment: EnrichmentConfig = EnrichmentConfig()
    """What others call an item, as the joint form reads it."""
