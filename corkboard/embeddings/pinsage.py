"""PinSage (Ying et al., KDD 2018): an item is its own features and, by convolution, those of the items that walks visit most.

    n_u = pool({ relu(Q h_v + q) : v in N(u) }, alpha)        alpha_v = visits of v / visits of all of N(u)
    h'_u = unit(relu(W [h_u; n_u] + w))                        once or twice
    z_u = unit(G2 relu(G1 h_u + g) + S x_u)                    x_u the features; S x_u is ours

It is inductive: a new item with edges has a vector, and one without has that of its features. Where we differ: ``S x_u``, beside which the
network starts small (setting ``residual``), so that training begins about at the features, which a few thousand items are too few to find
again; sampled softmax is the default loss, as in later versions of PinSage; and between layers an item has mean square 1 rather than length
1, a constant factor which the next weights take up, but with which they start at the right size: without it hardly anything was
learned within some hundred steps. The network is in :mod:`corkboard.embeddings.pinsage_network`,
training in :mod:`corkboard.embeddings.graph_training`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corkboard.embeddings.config import PinSageConfig
from corkboard.embeddings.graph_encoder import GraphEncoder

if TYPE_CHECKING:
    from corkboard.embeddings.pinsage_network import PinSageNetwork


class PinSage(GraphEncoder):
    """A trained PinSage; reads the one graph of its settings."""

    kind = "pinsage"
    settings_type = PinSageConfig
    settings: PinSageConfig

    def network(self) -> PinSageNetwork:
        """A network of this shape."""
        from corkboard.embeddings.pinsage_network import PinSageNetwork

        return PinSageNetwork(self.settings, self.widths)
