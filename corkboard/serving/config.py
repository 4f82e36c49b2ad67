"""Settings of the server."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section


class ServingConfig(Section):
    """How the server listens, what it lets in, and how closely it follows the workspace."""

    host: str = "127.0.0.1"
    """Address to listen on. The default is reachable from this machine only; set `api_keys` before you open it to others."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port; 0 takes a free one and prints it."""
    workers: int = Field(default=1, ge=1, le=64)
    """Server processes. They share the store, so an event that one accepts shapes the next page of every other."""
    threads: int = Field(default=1, ge=1, le=64)
    """Threads a process that compute pages. They share one interpreter: with four clients at once, p99 doubles from 1 thread to 4.
    More pages a second come from more `workers`."""
    api_keys: tuple[str, ...] = ()
    """Keys that may use `/v1` (`Authorization: Bearer KEY` or `X-API-Key: KEY`). Empty lets everybody in."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call `/v1` from a browser. Empty allows none but our own page."""
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    """Largest request body that is read; a larger one is answered with 413."""
    max_events: int = Field(default=5_000, ge=1)
    """Most events in one `POST /v1/events`; more are answered with 413."""
    release_poll_s: float = Field(default=0.5, gt=0, le=60)
    """How often the live release is looked up, in seconds."""
    release_retry_s: float = Field(default=15.0, gt=0)
    """How long a release that failed to load is left alone before it is tried again, in seconds."""
    uploads: int = Field(default=8, ge=1)
    """Requests with a picture at the same time; more are answered with 503. Each is held in memory until its page is there: at most 8 MB,
    and its pixels, at most 75 MB."""
    upload_s: float = Field(default=30.0, gt=0)
    """How long one of them may take to come in, in seconds."""
    picture_cache_mb: int = Field(default=32, ge=0)
    """What is kept of smaller sizes of the lake's pictures, in megabytes a process."""
    page: bool = True
    """Serve the web page at `/`."""
    sample_users: int = Field(default=6, ge=0, le=50)
    """How many known users the page offers to look through; 0 lists none."""
    access_log: bool = False
    """Print a line for every request."""
