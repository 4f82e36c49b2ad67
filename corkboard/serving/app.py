"""The HTTP interface over a :class:`~corkboard.serving.live.LiveEngine`.

Bodies are read by msgspec and written by orjson; no model stands between a page and its bytes. Everything that blocks
(store, feed, purging) runs in threads, so that health and metrics answer while pages are computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import orjson
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.responses import Response

from corkboard import __version__
from corkboard.errors import CorkboardError
from corkboard.lake.pictures.config import PictureLimits
from corkboard.serving.answers import Answers
from corkboard.serving.config import ServingConfig
from corkboard.serving.gate import Gate, Keys, on_http_exception, on_problem, read_body
from corkboard.serving.live import LiveEngine
from corkboard.serving.multipart import MULTIPART, media_type
from corkboard.serving.openapi import ROUTES, api_description
from corkboard.serving.problems import JSON, Problem
from corkboard.serving.static import PageFiles

PAINTERS = 2
"""Threads that decode pictures and make smaller ones: a picture of 25 million pixels takes 250 to 500 MB for a moment."""
FORM_BYTES = 256 * 1024
"""What a form may hold beside its picture, a cursor that carries many ids included."""
WRITERS = 8
"""Threads that wait for the store to keep events; the store joins their writes into one commit."""

Answer = TypeVar("Answer")


class Threads:
    """Where blocking work runs: pages in a few threads, because they compute; the rest in others, because it waits.

    Pictures are decoded in others again. Probes have a thread of their own, so that a store that keeps everybody waiting does not look
    like a dead process.
    """

    def __init__(self, config: ServingConfig):
        self._pages = ThreadPoolExecutor(config.threads, "pages")
        self._waiting = ThreadPoolExecutor(WRITERS, "store")
        self._probes = ThreadPoolExecutor(1, "probes")
        self._pictures = ThreadPoolExecutor(PAINTERS, "pictures")

    async def page(self, work: Callable[..., Answer], *given: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pages, work, *given)

    async def wait(self, work: Callable[..., Answer], *given: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._waiting, work, *given)

    async def probe(self, work: Callable[..., Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._probes, work)

    async def paint(self, work: Callable[..., Answer], *given: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pictures, work, *given)

    def close(self) -> None:
        for pool in (self._pages, self._waiting, self._probes, self._pictures):
            pool.shutdown()


def create_app(engine: LiveEngine, config: ServingConfig | None = None, limits: PictureLimits | None = None) -> FastAPI:
    """The app over ``engine``, which starts with it and is closed with it. ``limits`` bound the pictures that are sent to it."""
    config = config or engine.config
    threads, answers = Threads(config), Answers(engine, config, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await threads.wait(engine.start)
        yield
        threads.close()
        answers.close()
        engine.close()

    app = FastAPI(title="Corkboard", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    for kind in (Problem, CorkboardError):
        app.add_exception_handler(kind, on_problem)
    app.add_exception_handler(HTTPException, on_http_exception)
    if config.cors_origins:
        headers = ["authorization", "content-type", "x-api-key"]
        app.add_middleware(
            CORSMiddleware, allow_origins=list(config.cors_origins), allow_methods=["GET", "POST", "PUT", "DELETE"], allow_headers=headers
        )
    app.add_middleware(Gate, metrics=engine.metrics, keys=Keys(config.api_keys), origins=config.cors_origins)
    _add_api(app, answers, threads)
    _add_running(app, answers, threads)
    if config.page:
        _add_page(app)
    return app


class Uploads:
    """Lets in a few pictures at a time, each until it has been answered, so that nobody fills the memory with them."""

    def __init__(self, most: int, seconds: float, max_bytes: int):
        self._left, self._seconds, self._max_bytes = most, seconds, max_bytes

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body of ``request``. Raises :class:`Problem` 413, 503 where too many are on their way and 408 where it takes too long."""
        if not self._left:
            raise Problem(503, "busy", "Too many pictures come in at the same time", hint="Try again in a moment.")
        self._left -= 1
        try:
            try:
                body = await asyncio.wait_for(read_body(request, self._max_bytes), self._seconds)
            except TimeoutError:
                raise Problem(408, "too_slow", "The picture took too long to come in", expected=f"at most {self._seconds:g} s") from None
            yield body
        finally:
            self._left += 1


def _add_api(app: FastAPI, answers: Answers, threads: Threads) -> None:
    """What is about people and items."""
    max_bytes = answers.config.max_body_bytes
    uploads = Uploads(answers.config.uploads, answers.config.upload_s, answers.limits.max_bytes + FORM_BYTES)

    async def recommend(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        kind = media_type(content_type)
        if kind == MULTIPART:
            async with uploads.body(request) as body:
                asked, upload = await threads.paint(answers.form, content_type, body)
                return _json(*await threads.page(answers.recommend_alike, asked, upload))  # still counted: it waits with its pixels
        if kind.startswith("image/"):
            raise Problem(415, "not_a_form", "A picture comes as a field of a form", found=kind, expected=f"{MULTIPART} with a field image")
        body = await read_body(request, max_bytes)
        return _json(*await threads.page(answers.recommend, body))

    async def rank(request: Request) -> Response:
        body = await read_body(request, max_bytes)
        return _json(*await threads.page(answers.rank, body))

    async def images(request: Request) -> Response:
        served = await threads.paint(answers.image, request.path_params["hash"], request.query_params.get("side"))
        reach = "private" if answers.config.api_keys else "public"
        headers = {"etag": served.tag, "cache-control": f"{reach}, max-age=31536000, immutable"}
        if request.headers.get("if-none-match") == served.tag:
            return Response(status_code=304, headers=headers)
        return Response(served.data, headers=headers, media_type=served.media_type)

    async def events(request: Request) -> Response:
        body = await read_body(request, max_bytes)
        return _json(await threads.wait(answers.events, body))

    async def explain(request: Request) -> Response:
        return _json(await threads.wait(answers.explain, request.path_params["request_id"], request.path_params["item_id"]))

    async def items(request: Request) -> Response:
        return _json(await threads.wait(answers.item, request.path_params["item_id"]))

    async def suggest(request: Request) -> Response:
        return _json(await threads.wait(answers.suggest, request.query_params), {"cache-control": "no-store"})

    async def users(request: Request) -> Response:
        return _json(answers.users())

    async def user_state(request: Request) -> Response:
        return _json(await threads.wait(answers.user_state, request.path_params["user_id"], request.query_params))

    async def delete_user(request: Request) -> Response:
        return _json(await threads.wait(answers.delete_user, request.path_params["user_id"], request.query_params))

    _add_routes(app, recommend, rank, events, explain, items, images, suggest, users, user_state, delete_user)


def _add_running(app: FastAPI, answers: Answers, threads: Threads) -> None:
    """What is about what serves."""
    engine, max_bytes = answers.engine, answers.config.max_body_bytes

    async def releases(request: Request) -> Response:
        return _json(await threads.wait(answers.releases))

    async def promote(request: Request) -> Response:
        return _json(await threads.wait(answers.promote, request.path_params["release_id"]))

    async def utility(request: Request) -> Response:
        return _json(await threads.wait(answers.utility))

    async def set_utility(request: Request) -> Response:
        body = await read_body(request, max_bytes)
        return _json(await threads.wait(answers.set_utility, body))

    async def health(request: Request) -> Response:
        return _json(await threads.probe(answers.health))

    async def ready(request: Request) -> Response:
        return _json(await threads.probe(answers.ready))

    async def metrics(request: Request) -> Response:
        return Response(await threads.probe(engine.metrics.text), media_type="text/plain; version=0.0.4; charset=utf-8")

    description: list[bytes] = []

    async def openapi(request: Request) -> Response:
        if not description:
            description.append(orjson.dumps(api_description(__version__)))
        return Response(description[0], media_type=JSON)

    _add_routes(app, releases, promote, utility, set_utility, health, ready, metrics, openapi)


def _add_routes(app: FastAPI, *handlers: Callable[[Request], Awaitable[Response]]) -> None:
    """The routes that :data:`ROUTES` has under the names of ``handlers``."""
    for handler in handlers:
        route = ROUTES[handler.__name__]
        app.add_api_route(route.path, handler, methods=[route.method], response_model=None, include_in_schema=False, name=handler.__name__)


def _add_page(app: FastAPI) -> None:
    page = PageFiles()

    async def index(request: Request) -> Response:
        return page.answer("index.html", request)

    async def file(request: Request) -> Response:
        return page.answer(request.path_params["path"], request)

    app.add_api_route("/", index, methods=["GET"], response_model=None, include_in_schema=False)
    app.add_api_route("/page/{path:path}", file, methods=["GET"], response_model=None, include_in_schema=False)


def _json(body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, headers=headers, media_type=JSON)
