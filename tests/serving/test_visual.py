"""Pictures over HTTP: those of the lake, and pages of what looks like a picture."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import httpx
import numpy as np
import polars as pl
import pytest
from PIL import Image
from starlette.testclient import TestClient

from corkboard.cli.feed import feed
from corkboard.errors import InputError, NotFound, PictureRefused
from corkboard.lake.pictures.reading import Pictures
from corkboard.serving.app import FORM_BYTES, create_app
from corkboard.serving.images import SIDES, Images
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import app_of, engine_of
from corkboard.settings import load_settings
from corkboard.workspace import Workspace
from tests.serving.builders import HUES, encode_by_colours, picture_of, png, promote_with_pictures
from tests.serving.test_app import category_of, codes, now_ms, page

RED, BLUE = (np.broadcast_to(np.array(HUES[n], np.uint8), (60, 80, 3)) for n in (0, 2))
REDS, BLUES = "ceramics", "rugs"
MAX = 8 << 20


@pytest.fixture
def shown(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose live release has pictures."""
    encode_by_colours(monkeypatch)
    promote_with_pictures(workspace)
    return workspace


@pytest.fixture
def pictures(shown: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(engine_of(shown)), raise_server_exceptions=False) as client:
        yield client


def show(client: TestClient, file: bytes, **fields: str) -> httpx.Response:
    return client.post("/v1/recommend", data={"user_id": "user-1", **fields}, files={"image": ("picture", file)})


def alike(client: TestClient, file: bytes, **fields: str) -> dict[str, Any]:
    answer = show(client, file, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def categories(answer: dict[str, Any]) -> set[str]:
    return {category_of(item["item_id"]) for item in answer["items"]}


def error(answer: httpx.Response) -> dict[str, Any]:
    return {"status": answer.status_code, **answer.json()["error"]}


def hash_of(n: int) -> str:
    return hashlib.sha256(png(picture_of(n))).hexdigest()


# -------------------------------------------------------------------------------------------------------- pictures of the lake


def test_a_picture_of_the_lake_by_its_hash(pictures: TestClient) -> None:
    answer = pictures.get(f"/v1/images/{hash_of(1)}")
    assert answer.headers["content-type"] in ("image/png", "image/jpeg")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    with Image.open(io.BytesIO(answer.content)) as image:
        np.testing.assert_allclose(np.asarray(image.convert("RGB")).astype(int), picture_of(1), atol=6)
    again = pictures.get(f"/v1/images/{hash_of(1)}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_sizes_are_made_once_and_are_never_larger(pictures: TestClient) -> None:
    address = f"/v1/images/{hash_of(1)}"  # 160 x 120
    small = pictures.get(f"{address}?side=96")
    with Image.open(io.BytesIO(small.content)) as image:
        assert (image.format, image.size) == ("JPEG", (96, 72))
    assert small.headers["etag"] != pictures.get(address).headers["etag"]
    assert pictures.get(f"{address}?side=96").content == small.content
    for side in (160, 480):
        assert pictures.get(f"{address}?side={side}").content == pictures.get(address).content
    assert error(pictures.get(f"{address}?side=97")) | {"request_id": ""} == {
        "status": 400,
        "code": "bad_input",
        "message": "Pictures do not come in this size",
        "found": "97",
        "expected": [str(side) for side in SIDES],
        "hint": None,
        "request_id": "",
    }


@pytest.mark.parametrize(
    "name",
    ["0" * 64, "0" * 63, "x" * 64, hash_of(1).upper(), hash_of(1) + "0", "..%2F..%2Flake", "%2e%2e", "../../corkboard.toml", "%00" * 64],
)
def test_there_is_nothing_else_below_images(pictures: TestClient, name: str) -> None:
    answer = pictures.get(f"/v1/images/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert answer.json()["error"]["code"] in ("not_found", "no_such_path")
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_the_cache_of_sizes_is_bounded(shown: Workspace) -> None:
    images = Images(shown.folder / "lake", cache_bytes=2000)
    for n in (1, 2, 3, 5, 7, 9):
        images.picture(hash_of(n), "96")
    assert 0 < images._small_bytes <= 2000
    assert images._small_bytes == sum(len(one.data) for one in images._small.values())
    nothing = Images(shown.folder / "lake", cache_bytes=0)
    assert nothing.picture(hash_of(1), "96").media_type == "image/jpeg"
    assert not nothing._small


def test_entries_name_the_picture_by_its_address_here(pictures: TestClient) -> None:
    entry = pictures.get("/v1/items/item-001").json()
    assert (entry["image"], entry["image_width"], entry["image_height"]) == (f"/v1/images/{hash_of(1)}", 160, 120)
    assert pictures.get(entry["image"]).status_code == 200
    without = pictures.get("/v1/items/item-010").json()
    assert (without["image"], without["image_width"]) == (None, None)
    details = page(pictures, user_id="user-1", details=True)["items"]
    assert all(item["item"] == pictures.get(f"/v1/items/{item['item_id']}").json() for item in details)


def test_what_an_entry_may_name_that_is_not_a_picture_here(shown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(shown.folder / "lake")
    nothing = {"image": None, "image_width": None, "image_height": None}
    for image in ("", "sha256:", f"sha256:{'0' * 64}", "sha256:../../x", "/etc/passwd", "data:image/png;base64,AA"):
        assert images.shown([image]) == nothing
    assert images.shown([]) == nothing
    elsewhere = "https://example.com/a.png"
    assert images.shown([elsewhere]) == {**nothing, "image": elsewhere}
    (shown.folder / "lake" / "pictures" / "fetched").mkdir(exist_ok=True)
    monkeypatch.setattr("corkboard.lake.pictures.reading.Pictures.hashes", lambda self, found: [hash_of(1) for _ in found])
    assert images.shown([elsewhere])["image"] == f"/v1/images/{hash_of(1)}"  # as soon as it was fetched


def test_an_item_shows_the_first_of_its_images_that_has_a_picture(shown: Workspace) -> None:
    lake = shown.folder / "lake"
    listed = ["https://example.com/down.png", f"sha256:{'0' * 64}", f"sha256:{hash_of(1)}", f"sha256:{hash_of(2)}"]
    assert Images(lake).shown(listed)["image"] == f"/v1/images/{hash_of(1)}"
    main = Pictures(lake).main(pl.DataFrame({"item_id": ["a"], "images": [listed]}))
    assert main.rows() == [("a", hash_of(1))]  # what learning and the index take


def test_with_keys_pictures_need_one_and_are_private(shown: Workspace) -> None:
    settings = load_settings(shown.folder, overrides=['serving.api_keys=["sesame"]'], environ={})
    with TestClient(create_app(engine_of(Workspace(shown.folder, settings)))) as client:
        assert client.get(f"/v1/images/{hash_of(1)}").status_code == 401
        answer = client.get(f"/v1/images/{hash_of(1)}", headers={"x-api-key": "sesame"})
        assert answer.headers["cache-control"].startswith("private")


# ---------------------------------------------------------------------------------------------------- what looks like a picture


def test_a_picture_is_answered_with_what_looks_like_it(pictures: TestClient) -> None:
    answer = alike(pictures, png(RED), k="10", details="true")
    assert len(answer["items"]) == 10
    assert categories(answer) == {REDS}
    assert answer["items"][0]["reason"] == "Looks like your picture"
    assert answer["items"][0]["source"] == ["visual"]
    assert answer["items"][0]["item"]["image"].startswith("/v1/images/")
    assert answer["image_hash"] == hashlib.sha256(png(RED)).hexdigest()
    assert not codes(answer) & {"no_visual", "no_picture", "picture_failed", "few_pictures"}
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)


def test_a_part_of_a_picture_counts_alone(pictures: TestClient) -> None:
    both = png(np.concatenate([RED, BLUE], axis=1))
    assert categories(alike(pictures, both, k="8", crop="0,0,0.5,1")) == {REDS}
    assert categories(alike(pictures, both, k="8", crop="0.55,0.2,0.95,0.8")) == {BLUES}


def test_a_picture_is_taken_upright(pictures: TestClient) -> None:
    lying, file = np.concatenate([RED, BLUE], axis=0), io.BytesIO()  # red above blue, to be turned by a quarter
    exif = Image.Exif()
    exif[0x0112] = 6  # its top is the right side of what is seen
    Image.fromarray(lying).save(file, "JPEG", exif=exif, quality=95)
    assert categories(alike(pictures, file.getvalue(), k="8", crop="0.6,0,1,1")) == {REDS}


def test_pages_of_a_picture_go_on(pictures: TestClient) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        answer = alike(pictures, png(RED), k="5", **cursor)
        seen += [item["item_id"] for item in answer["items"]]
        cursor = {"cursor": answer["next_cursor"]}
    assert len(set(seen)) == 15


def test_fields_of_the_form_say_what_json_says(pictures: TestClient) -> None:
    answer = alike(pictures, png(RED), k="3", filter='{"category": "rugs"}', explain="1")
    assert categories(answer) == {"rugs"}
    assert answer["items"][0]["explanation"]["looks_like"]["image_hash"] == answer["image_hash"]
    assert "item" not in answer["items"][0]


def test_more_like_the_picture_of_an_item(pictures: TestClient) -> None:
    answer = page(pictures, surface="visual", item_id="item-006", user_id="user-1", k=10)
    assert categories(answer) == {REDS}
    assert "item-006" not in {item["item_id"] for item in answer["items"]}
    assert answer["items"][0]["reason"].startswith("Looks like “")
    assert answer["image_hash"] == hash_of(6)
    assert "no_picture" in codes(page(pictures, surface="visual", item_id="item-010", user_id="user-1"))


def test_a_part_of_the_picture_of_an_item(pictures: TestClient) -> None:
    answer = page(pictures, surface="visual", item_id="item-006", user_id="user-1", k=5, crop=[0.5, 0.5, 1, 1])
    assert categories(answer) == {REDS}
    refused = pictures.post("/v1/recommend", json={"surface": "visual", "item_id": "item-010", "user_id": "u", "crop": [0, 0, 1, 1]})
    assert (refused.status_code, "no picture" in refused.json()["error"]["message"]) == (400, True)


def test_a_visual_page_is_logged_and_what_is_done_there_too(pictures: TestClient, shown: Workspace) -> None:
    answer = alike(pictures, png(RED), k="5")
    first = answer["items"][0]["item_id"]
    told = pictures.get(f"/v1/explain/{answer['request_id']}/{first}").json()
    assert told["looks_like"] == {"item_id": None, "image_hash": answer["image_hash"]}
    slots = [{"item_id": first, "position": 0}]
    seen = {"event": "impression", "surface": "visual", "request_id": answer["request_id"], "slots": slots}
    saved = {"event": "action", "surface": "visual", "action": "save", "item_id": first}
    both = [{**event, "user_id": "user-1", "time_ms": now_ms(), "context": {"image_hash": answer["image_hash"]}} for event in (seen, saved)]
    assert pictures.post("/v1/events", json=both).json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    report = shown.ingest_store()
    assert report.refused == 0, report
    rows = shown.lake().served().filter(surface="visual")
    assert rows["context_image_hash"].to_list() == [answer["image_hash"]]


def post_raw(client: TestClient, receive: Callable[[], Awaitable[dict[str, Any]]]) -> int:
    """The status that a form gets whose body comes from ``receive``, as the server would call the app."""
    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    where = {"type": "http", "method": "POST", "path": "/v1/recommend", "raw_path": b"/v1/recommend", "query_string": b"", "root_path": ""}
    scope = {**where, "http_version": "1.1", "scheme": "http", "server": ("here", 80), "client": ("there", 1), "app": client.app}
    client.portal.call(client.app, {**scope, "headers": [(b"content-type", b"multipart/form-data; boundary=B")]}, receive, send)
    return statuses[0]


# ----------------------------------------------------------------------------------------------------------- what is refused


def jpeg(width: int = 300, height: int = 200) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, "JPEG")
    return file.getvalue()


def bomb() -> bytes:
    """A PNG whose header says 30,000 x 30,000."""
    small = bytearray(png(RED))
    small[16:24] = (30_000).to_bytes(4, "big") * 2
    return bytes(small)


@pytest.mark.parametrize(
    ("file", "status", "code"),
    [
        (b"", 400, "bad_picture"),
        (b"just words", 415, "not_a_picture"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "not_a_picture"),
        (jpeg()[:400], 400, "bad_picture"),
        (bomb(), 400, "bad_picture"),
        (png(RED[:1, :1]), 400, "bad_picture"),
        (png(RED) + bytes(MAX), 413, "too_large"),
    ],
    ids=["empty", "text", "svg", "truncated", "bomb", "one pixel", "large"],
)
def test_pictures_that_are_refused(pictures: TestClient, file: bytes, status: int, code: str) -> None:
    told = error(show(pictures, file))
    assert (told["status"], told["code"]) == (status, code)
    assert told["message"]
    assert code == "bad_picture" or told["found"]


def test_what_somebody_did_is_shown_with_pictures(pictures: TestClient) -> None:
    item = alike(pictures, png(RED), details="true")["items"][0]
    event = {
        "event": "action",
        "event_id": "seen",
        "time_ms": int(time.time() * 1000),
        "user_id": "looker",
        "action": "save",
        "surface": "visual",
    }
    assert pictures.post("/v1/events", json=[{**event, "item_id": item["item_id"]}]).json()["accepted"] == 1
    (done,) = pictures.get("/v1/users/looker/state").json()["actions"]
    assert (done["image"], done["image_width"]) == (item["item"]["image"], item["item"]["image_width"])
    assert done["image"].startswith("/v1/images/")


def test_the_limits_of_the_settings_hold_for_uploads(shown: Workspace) -> None:
    limits = shown.settings.lake.pictures.model_copy(update={"max_pixels": 100})
    lake = shown.settings.lake.model_copy(update={"pictures": limits})
    bounded = Workspace(shown.folder, shown.settings.model_copy(update={"lake": lake}))
    with TestClient(app_of(bounded), raise_server_exceptions=False) as client:
        assert error(show(client, png(RED)))["code"] == "bad_picture"
        assert alike(client, png(RED[:10, :10]))["items"]


def test_a_body_beyond_all_bounds_is_not_read(pictures: TestClient) -> None:
    answer = show(pictures, bytes(MAX + FORM_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")

    taken: list[int] = []

    async def endless() -> dict[str, Any]:
        taken.append(1 << 20)
        return {"type": "http.request", "body": bytes(1 << 20), "more_body": True}

    assert post_raw(pictures, endless) == 413
    assert sum(taken) == MAX + (1 << 20)  # it stops with the first piece beyond


@pytest.mark.parametrize(
    ("fields", "code", "found"),
    [
        ({"k": "ten"}, "bad_input", "ten"),
        ({"k": "0"}, "bad_input", 0),
        ({"details": "maybe"}, "bad_input", "maybe"),
        ({"filter": "{"}, "bad_input", "{"),
        ({"filter": '{"categry": "rugs"}'}, "bad_input", "categry"),
        ({"crop": "0,0,1"}, "bad_input", "0,0,1"),
        ({"crop": "0.4,0,0.3,1"}, "bad_input", "0.4,0,0.3,1"),
        ({"crop": "0,0,0.01,0.01"}, "bad_input", "1 x 1 px"),
        ({"usr": "ann"}, "unknown_key", "usr"),
        ({"surface": "home"}, "bad_input", "a picture"),
        ({"surface": "look"}, "unknown_surface", "look"),
    ],
)
def test_fields_that_are_refused(pictures: TestClient, fields: dict[str, str], code: str, found: object) -> None:
    told = error(show(pictures, png(RED), **fields))
    assert (told["status"], told["code"], told["found"]) == (400, code, found)


def test_forms_that_are_refused(pictures: TestClient) -> None:
    nothing = pictures.post("/v1/recommend", files={"photo": ("a.png", png(RED))}, data={"user_id": "ann"})
    assert (nothing.status_code, nothing.json()["error"]["code"], nothing.json()["error"]["found"]) == (
        400,
        "bad_form",
        ["photo", "user_id"],
    )
    two = pictures.post("/v1/recommend", files={"image": ("a.png", png(RED)), "imaeg": ("b.png", png(RED))}, data={"user_id": "ann"})
    assert (two.json()["error"]["code"], two.json()["error"]["hint"]) == ("unknown_key", "Did you mean image?")
    bare = pictures.post("/v1/recommend", content=png(RED), headers={"content-type": "image/png"})
    assert (bare.status_code, bare.json()["error"]["code"]) == (415, "not_a_form")
    nobody = pictures.post("/v1/recommend", files={"image": ("a.png", png(RED))})
    assert nobody.json()["error"]["code"] == "nobody"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"surface": "visual"}, "looks like a picture"),
        ({"surface": "home", "crop": [0, 0, 1, 1]}, "takes no picture"),
        ({"surface": "visual", "item_id": "item-001", "crop": [0, 0, 2, 1]}, "no part of a picture"),
        ({"surface": "visual", "item_id": "item-001", "crop": [0, 0, 1]}, "crop has a wrong value"),
        ({"surface": "visual", "item_id": "item-001", "image": "x"}, "no such key"),
    ],
)
def test_json_without_a_picture_that_is_refused(pictures: TestClient, body: dict[str, Any], says: str) -> None:
    answer = pictures.post("/v1/recommend", json={"user_id": "ann", **body})
    assert (answer.status_code, says in answer.json()["error"]["message"]) == (400, True), answer.text


# -------------------------------------------------------------------------------------------------------------- degraded


def test_without_visual_parts_there_is_a_page_and_a_note(client: TestClient) -> None:
    answer = alike(client, png(RED))
    assert len(answer["items"]) == 25
    assert "no_visual" in codes(answer)
    related = page(client, surface="visual", item_id="item-006", user_id="user-1")
    assert "no_visual" in codes(related)
    assert len(related["items"]) == 25


def test_without_a_release_there_is_an_empty_page(workspace: Workspace) -> None:
    (workspace.folder / "releases" / "current").unlink()
    with TestClient(create_app(engine_of(workspace))) as client:
        assert codes(alike(client, png(RED))) == {"no_release"}
        assert codes(page(client, surface="visual", item_id="item-006", user_id="ann", crop=[0, 0, 1, 0.5])) == {"no_release"}
        assert codes(page(client, surface="visual", item_id="item-006", user_id="ann")) == {"no_release"}
        assert client.get(f"/v1/images/{hash_of(1)}").status_code == 404


def test_more_pictures_than_are_let_in_are_asked_to_come_back(shown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(shown.folder, overrides=["serving.uploads=1"], environ={})
    begun, go_on = threading.Event(), threading.Event()
    real = "corkboard.serving.answers.read_upload"
    from corkboard.serving.images import read_upload

    def slow(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        return read_upload(*given)

    monkeypatch.setattr(real, slow)
    with TestClient(create_app(engine_of(Workspace(shown.folder, settings)))) as client:
        first: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: first.append(show(client, png(RED))))
        thread.start()
        assert begun.wait(10)
        busy = show(client, png(RED))
        assert (busy.status_code, busy.json()["error"]["code"], busy.headers["retry-after"]) == (503, "busy", "2")
        assert page(client, user_id="user-1")["items"]  # other pages do not wait
        go_on.set()
        thread.join()
        assert first[0].status_code == 200
        assert show(client, png(RED)).status_code == 200


def test_a_picture_counts_until_its_page_is_there(shown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(shown.folder, overrides=["serving.uploads=1"], environ={})
    engine = engine_of(Workspace(shown.folder, settings))
    begun, go_on, real = threading.Event(), threading.Event(), engine.recommend

    def slow(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        return real(*given)

    monkeypatch.setattr(engine, "recommend", slow)
    with TestClient(create_app(engine)) as client:
        first: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: first.append(show(client, png(RED))))
        thread.start()
        assert begun.wait(10)
        threading.Timer(2.0, go_on.set).start()  # a second one that were let in would else wait for the first for ever
        assert show(client, png(RED)).status_code == 503
        go_on.set()
        thread.join()
        assert (first[0].status_code, show(client, png(RED)).status_code) == (200, 200)


def test_a_picture_that_does_not_come_is_given_up(shown: Workspace) -> None:
    settings = load_settings(shown.folder, overrides=["serving.upload_s=0.05", "serving.uploads=1"], environ={})
    app = create_app(engine_of(Workspace(shown.folder, settings)))
    with TestClient(app) as client:

        async def nothing() -> dict[str, Any]:
            await anyio.sleep(5)
            return {"type": "http.disconnect"}

        assert post_raw(client, nothing) == 408
        assert show(client, png(RED)).status_code == 200  # its place is free again


def test_the_description_tells_of_pictures(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    content = described["paths"]["/v1/recommend"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    form = described["components"]["schemas"]["RecommendForm"]
    assert form["properties"]["image"]["format"] == "binary"
    assert {"crop", "k", "user_id"} <= set(form["properties"])
    image = described["paths"]["/v1/images/{hash}"]["get"]
    assert image["parameters"][1]["schema"]["enum"] == list(SIDES)
    assert "image/*" in image["responses"]["200"]["content"]


def test_the_policy_lets_in_pictures_from_here_and_previews_alone(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "img-src 'self' data: blob:;" in policy
    assert policy.count("blob:") == 1
    assert "http" not in policy


def test_an_engine_that_has_never_seen_a_picture_serves(engine: LiveEngine) -> None:
    engine.poll()
    assert engine.items(["item-001"])[0]["image"] is None


# ------------------------------------------------------------------------------------------------- from Python and the shell


def test_similar_items_from_python(shown: Workspace) -> None:
    file = shown.folder / "photo.png"
    file.write_bytes(png(np.concatenate([RED, BLUE], axis=1)))
    assert {category_of(item_id) for item_id in shown.similar(file, k=8, crop=(0, 0, 0.5, 1))} == {REDS}
    assert {category_of(item_id) for item_id in shown.similar(BLUE, k=8)} == {BLUES}
    assert {category_of(item_id) for item_id in shown.similar(item_id="item-006", user_id="user-1", k=8)} == {REDS}
    with pytest.raises(NotFound, match="no picture to read"):
        shown.similar(shown.folder / "gone.png")
    file.write_bytes(b"words")
    with pytest.raises(PictureRefused):
        shown.similar(str(file))


def test_similar_items_from_the_shell(shown: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    file = shown.folder / "photo.png"
    file.write_bytes(png(np.concatenate([RED, BLUE], axis=1)))
    feed("user-1", image=file, crop="0.5,0,1,1", k=6, workspace=shown.folder)
    printed = capsys.readouterr().out
    assert "Looks like your picture" in printed
    assert printed.count("rugs") == 6
    with pytest.raises(InputError, match="takes no picture"):
        feed("user-1", crop="0.5,0,1,1", workspace=shown.folder)
