"""Settings of pictures: how much of a stranger's file is looked at, and what is kept of it."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section


class PictureLimits(Section):
    """Bounds on every picture that comes in. What is beyond one of them is refused with a reason; its item stays without that picture."""

    max_bytes: int = Field(default=8 << 20, ge=1)
    """Bytes of a file, also of one that is fetched."""

    max_pixels: int = Field(default=25_000_000, ge=1)
    """Width times height that a header may name: 25 million is 5,000 x 5,000."""

    min_side: int = Field(default=4, ge=1)
    """The shorter side has at least this many pixels. A picture of 1 x 1 shows nothing: it counts who opens a page."""

    max_frames: int = Field(default=500, ge=1)
    """Frames of an animation, of which the first is kept."""

    decode_seconds: float = Field(default=5.0, gt=0)
    """CPU time for one picture at ingestion; the process that decodes it is ended then. (A busy machine refuses no good picture.)"""

    processes: int = Field(default=2, ge=1)
    """Processes that decode at ingestion."""

    kept_side: int = Field(default=512, ge=8)
    """The longer side of what is kept has at most this many pixels."""

    fetch: bool = True
    """`corkboard ingest` fetches pictures that items name by an http(s) address."""

    fetch_seconds: float = Field(default=20.0, gt=0)
    """Time to fetch one picture, from looking up its host to its last byte, redirects included."""

    max_redirects: int = Field(default=5, ge=0)
    """Redirects that are followed for one picture."""

    connections: int = Field(default=8, ge=1)
    """Pictures that are fetched at the same time."""

    host_failures: int = Field(default=5, ge=1)
    """Failures to reach a host, one after another, after which the rest of its pictures waits for the next call."""
