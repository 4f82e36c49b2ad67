"""MultiBiSage (Gurukar et al., PVLDB 16): an item is read in each of several graphs by a transformer, then across graphs by another.

    graph g:  tokens [CLS_g; the item itself; its neighbours in g, most visited first]  -> the output at CLS_g, m_g
    across:   tokens [CLS; the item itself; m_1 .. m_G]                                 -> the output at CLS, -> linear -> unit length

A neighbour's token is its projected features, multiplied elementwise by a linear function of log(1 + visits), plus a learned position; the
item's own token is its projected features plus its log-degree in that graph (the encoder of the released OmniSage code). A graph in which
an item has no neighbours is left out of the second stage for it. So an item without edges is read from its features by the same
network, and whole graphs are left out at random in training so that this is nothing new.

Where we differ: CLS of its own in the second stage, so that no graph is privileged; the item's own token in it, so that it is there when
all graphs are not; the projected features are added to the output (setting ``residual``). What else differs, and what it costs, is
said in :mod:`corkboard.embeddings.multibisage_network`. Training is in :mod:`corkboard.embeddings.graph_training`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corkboard.embeddings.config import MultiBiSageConfig
from corkboard.embeddings.graph_encoder import GraphEncoder

if TYPE_CHECKING:
    from corkboard.embeddings.multibisage_network import MultiBiSageNetwork


class MultiBiSage(GraphEncoder):
    """A trained MultiBiSage."""

    kind = "multibisage"
    settings_type = MultiBiSageConfig
    settings: MultiBiSageConfig

    def network(self) -> MultiBiSageNetwork:
        """A network of this shape."""
        from corkboard.embeddings.multibisage_network import MultiBiSageNetwork

        return MultiBiSageNetwork(self.settings, self.widths, len(self.graphs), self.positions)
