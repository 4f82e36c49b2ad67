"""What every request passes: a request id, the API key, security headers, time and status counted, errors turned into the one body."""

from __future__ import annotations

import hmac
import logging
import time
import uuid
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from corkboard.errors import CorkboardError
from corkboard.serving.metrics import Metrics
from corkboard.serving.problems import Problem

log = logging.getLogger("corkboard.serving")

CLIENT_GONE = 499
"""Counted, never sent: the client hung up before it had said everything."""

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
"""The page is made of its own files and talks to its own server; nothing else runs, loads or frames it. ``blob:`` is for pictures that a
person chose and that the page shows before they are sent."""
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
]


class Keys:
    """The API keys. Comparing takes as long for a wrong key as for a right one, whatever they have in common."""

    def __init__(self, keys: Sequence[str]):
        self._keys = [key.encode() for key in keys]

    def let_in(self, scope: Scope) -> bool:
        """Whether a request may use ``/v1``: there are no keys, or it brings one of them."""
        if not self._keys:
            return True
        given = _given_key(scope)
        matches = [hmac.compare_digest(key, given) for key in self._keys]
        return any(matches)


def _given_key(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return value
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
    return b""


class Gate:
    """ASGI middleware around the whole app. Pages of ``origins`` may write from a browser, those of other sites may not."""

    def __init__(self, app: ASGIApp, metrics: Metrics, keys: Keys, origins: Sequence[str] = ()):
        self.app, self.metrics, self.keys, self.origins = app, metrics, keys, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = scope.setdefault("state", {})["http_request_id"] = uuid.uuid4().hex
        extra = [*_SECURITY, (b"x-request-id", request_id.encode())]
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        try:
            problem = self._refusal(scope)
            if problem is not None:
                await problem.response(request_id)(scope, receive, send_with_headers)
            else:
                await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception as error:
            if status:
                raise  # the answer has begun, nothing better can be said any more
            log.exception("%s %s failed, request %s", scope["method"], scope["path"], request_id)
            problem = Problem(
                500, "internal", f"This is a bug: {type(error).__name__}", hint="The server's log has the details under this request id."
            )
            await problem.response(request_id)(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self.metrics.requests.add(route, str(status))
            self.metrics.seconds.observe(time.perf_counter() - started, route)

    def _refusal(self, scope: Scope) -> Problem | None:
        if not scope["path"].startswith("/v1/") or scope["method"] == "OPTIONS":
            return None
        if scope["method"] != "GET" and self._comes_from_elsewhere(scope):
            hint = "Name its origin in serving.cors_origins."
            return Problem(403, "cross_origin", "A page of another site may not do this", found=_header(scope, b"origin"), hint=hint)
        if not self.keys.let_in(scope):
            hint = "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`."
            return Problem(401, "unauthorized", "This needs an API key", hint=hint)
        return None

    def _comes_from_elsewhere(self, scope: Scope) -> bool:
        """Whether a browser says that another site's page is asking. A plain form can post to an address that answers no such page."""
        site = _header(scope, b"sec-fetch-site")
        return site not in ("", "same-origin", "none") and _header(scope, b"origin") not in self.origins


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


async def on_problem(request: Request, error: Exception) -> Response:
    """Exception handler: an error that was raised on purpose, as the one error body."""
    problem = (
        error
        if isinstance(error, Problem)
        else Problem.of(error)
        if isinstance(error, CorkboardError)
        else Problem(500, "internal", "This is a bug")
    )
    return problem.response(request.state.http_request_id)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Exception handler: what the framework itself refuses (no such path, wrong method), as the one error body."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        problem = Problem(
            404, "no_such_path", "There is nothing at this path", found=request.url.path, hint="GET /openapi.json lists what there is."
        )
    elif status == 405:
        allowed = (error.headers or {}).get("Allow") if isinstance(error, HTTPException) else None
        problem = Problem(405, "wrong_method", "This path does not take this method", found=request.method, expected=allowed)
    else:
        problem = Problem(status, "http_error", getattr(error, "detail", None) or "The request could not be read")
    return problem.response(request.state.http_request_id)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body, never holding more than ``max_bytes`` of it. Raises :class:`Problem` 413 beyond, 415 where it is compressed."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Problem(415, "encoding", "Compressed bodies are not read here", found=encoding, expected="identity")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(int(declared), max_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        parts.append(part)
    return b"".join(parts)


def _too_large(found: int, max_bytes: int) -> Problem:
    return Problem(
        413,
        "too_large",
        "The body is too large",
        found=found,
        expected=f"at most {max_bytes} bytes",
        hint="Send it in several requests, or ingest a file.",
    )
