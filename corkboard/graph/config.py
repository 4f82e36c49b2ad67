"""Settings of graphs and walks. Imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section


class WalkConfig(Section):
    """A random walk with restart, and when it has seen enough."""

    visits: int = Field(default=20_000, ge=1, lt=1 << 26)
    """Visits of a request, shared out to its query items; published: 100,000 on a graph of billions."""
    restart: float = Field(default=0.5, gt=0, le=1)
    """Chance to begin anew at the query item after a visit; walks are 1 / restart visits long on average."""
    enough_items: int = Field(default=0, ge=0)
    """Stop early when so many items have ``enough_visits`` visits (published: 2,000); 0: never."""
    enough_visits: int = Field(default=4, ge=1)
    """What counts as seen often enough."""
    board_share: float = Field(default=0.1, gt=0, le=1)
    """Of the visits of a query item at most this share is counted through one board: a huge board must not be the whole answer."""
    bias: float = Field(default=0.9, ge=0, le=1)
    """How often a biased hop keeps to edges of the wanted label, where the node has any."""


class PruningConfig(Section):
    """What is left out when a graph is made."""

    max_entropy: float | None = Field(default=None, gt=0)
    """Boards whose newest items spread over topics with more entropy (nats) than this are left out; empty: none."""
    newest: int = Field(default=100, ge=1)
    """Newest items of a board that its topics are told from."""
    degree_exponent: float = Field(default=1.0, gt=0, le=1)
    """An item keeps its degree to this power of edges, to the boards most like it; published best 0.91; 1: all."""
    min_people: int = Field(default=2, ge=1)
    """Users that must stand behind an edge which only people's actions make; fewer would show one person's taste to others."""


class NeighbourConfig(Section):
    """The neighbours that encoders read, chosen by walks."""

    count: int = Field(default=12, ge=1)
    """Neighbours kept of each item in each graph; published: 50."""
    visits: int = Field(default=1_000, ge=1, lt=1 << 26)
    """Visits of the walks from each item in each graph."""
    min_visits: int = Field(default=2, ge=1)
    """An item visited less often is no neighbour."""


class GraphConfig(Section):
    """Graphs, walks and neighbours."""

    walk: WalkConfig = WalkConfig()
    """Walks of a request."""
    pruning: PruningConfig = PruningConfig()
    """What is left out."""
    neighbours: NeighbourConfig = NeighbourConfig()
    """What encoders read."""
