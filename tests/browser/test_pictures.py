"""Pictures in a real browser: shown in the feed, asked with, and drawn where there is none."""

from __future__ import annotations

import base64
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, Response, Route, expect

from tests.browser.conftest import Look, Site
from tests.browser.test_item_page import HERE, LIKE, like, open_item, shown_until, told
from tests.browser.test_journey import CARD, cards, category_of, open_page
from tests.serving.builders import HUES, encode_by_colours, picture_of, png, promote_with_pictures
from tests.serving.test_visual import BLUES, REDS, hash_of

__all__ = ["told"]
RED, BLUE = (np.broadcast_to(np.array(HUES[n], np.uint8), (200, 150, 3)) for n in (0, 2))
BOTH = np.concatenate([RED, BLUE], axis=1)


@pytest.fixture
def pictured(site: Site, monkeypatch: pytest.MonkeyPatch, page: Page) -> Site:
    """A site whose live release has pictures."""
    encode_by_colours(monkeypatch)
    release = promote_with_pictures(site.workspace)
    assert page.request.post(f"{site.url}/v1/releases/{release.id}:promote").ok
    return site


def file_of(picture: np.ndarray, name: str = "picture.png") -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": png(picture)}


def number_of(item_id: str) -> int:
    return int(item_id.removeprefix("item-"))


def card_with_a_picture(page: Page) -> Locator:
    return page.locator(f"{CARD}:has(img.photo)").first


def expect_all_like(page: Page, category: str) -> None:
    """What is shown is of ``category`` as far as there is enough of it: 18 to 20 items of each have a picture."""
    expect(page.locator(f"{HERE} .feed")).to_have_attribute("aria-busy", "false")
    expect(page.locator(LIKE).first).to_be_visible()
    assert {category_of(item_id) for item_id in like(page)[:12]} == {category}


def bring(page: Page, picture: np.ndarray) -> None:
    page.locator("#look-file").set_input_files(file_of(picture))
    expect(page.locator(f"{HERE} h1")).to_have_text("Looks like your picture")
    expect(page.locator(f"{HERE} .feed")).to_have_attribute("aria-busy", "false")


def served(site: Site, answered: Response) -> dict[str, Any]:
    """What the server wrote down of a page that it answered."""
    with closing(site.workspace.store()) as store:
        return store.served(answered.json()["request_id"])


def crop_of(site: Site, answered: Response) -> str | None:
    """The part that counted on a page."""
    return next((flag.removeprefix("crop:") for flag in served(site, answered)["flags"] if flag.startswith("crop:")), None)


# ------------------------------------------------------------------------------------------------------------ in the feed


def test_cards_show_the_pictures_of_the_lake_in_their_own_shape(page: Page, pictured: Site, look: Look) -> None:
    open_page(page, pictured)
    card = card_with_a_picture(page)
    image = card.locator("img.photo")
    n = number_of(card.get_attribute("data-item"))
    expect(image).to_have_attribute("src", f"/v1/images/{hash_of(n)}")
    expect(image).to_have_attribute("loading", "lazy")
    expect(image).to_have_attribute("alt", card.locator(".title").text_content())
    assert "?side=" in image.get_attribute("srcset") or max(picture_of(n).shape) <= 160
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    for other in page.locator(f"{CARD}:has(img.photo) .tile").all()[:8]:
        box = other.bounding_box()
        height, width, _ = picture_of(number_of(other.locator("xpath=ancestor::article").get_attribute("data-item"))).shape
        assert box["height"] / box["width"] == pytest.approx(min(height / width, 2), abs=0.03)
    drawn = page.locator(f"{CARD}:has(.tile > svg)")
    assert {number_of(item_id) % 10 for item_id in drawn.evaluate_all("cards => cards.map(card => card.dataset.item)")} <= {0}
    assert drawn.locator(".look-button").count() == 0
    assert page.locator(f"{CARD} .because").count() == 0
    words = card.locator(".meta").evaluate("meta => [...meta.childNodes].filter(one => one.nodeType === Node.TEXT_NODE).length")
    assert words == 0  # all words are in an element of their own
    assert look.errors == []
    assert all(address.startswith(pictured.url) for address in look.asked)


def test_a_picture_that_does_not_come_is_drawn(page: Page, pictured: Site) -> None:
    page.route("**/v1/images/**", lambda route: route.abort())
    open_page(page, pictured)
    expect(page.locator(f"{CARD} .tile > svg").nth(5)).to_be_visible()
    first = page.locator(CARD).first
    box = first.locator(".tile").bounding_box()
    assert box["height"] > 60  # it keeps its place


@pytest.mark.parametrize("site", [['serving.api_keys=["open sesame"]']], indirect=True)
def test_with_a_key_pictures_are_shown_too(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    encode_by_colours(monkeypatch)
    promote_with_pictures(site.workspace)
    page.goto(site.url)
    page.get_by_label("API key").fill("open sesame")
    page.get_by_role("button", name="Enter").click()
    image = card_with_a_picture(page).locator("img.photo")
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    assert image.get_attribute("src").startswith("blob:")


# ------------------------------------------------------------------------------------------------------ more like this picture


def test_more_like_the_picture_of_a_card(page: Page, pictured: Site, look: Look, told: list[dict[str, Any]]) -> None:
    open_page(page, pictured)
    before, card = cards(page), card_with_a_picture(page)
    item = card.get_attribute("data-item")
    card.hover()
    card.get_by_role("button", name="More like the picture of").click()
    expect(page.locator(f"{HERE} h1")).to_have_text(f"Looks like “{card.locator('.title').text_content()}”")
    assert f"like={item}" in page.url
    expect_all_like(page, category_of(item))
    assert item not in like(page)
    expect(page.locator(f"{LIKE} .because").first).to_have_text(f"Looks like “{card.locator('.title').text_content()}”")
    impression = shown_until(page, told, "impression", "visual")
    assert (impression["context_item_id"], impression["context_image_hash"]) == (item, hash_of(number_of(item)))
    page.go_back()
    expect(page.locator("#feed")).to_be_visible()
    assert cards(page) == before
    expect(card.locator(".tile")).to_be_focused()
    page.go_forward()
    expect_all_like(page, category_of(item))
    page.reload()
    expect_all_like(page, category_of(item))
    assert look.errors == []


def test_the_page_of_an_item_shows_its_picture_and_leads_on(page: Page, pictured: Site) -> None:
    open_page(page, pictured)
    item = open_item(page, card_with_a_picture(page))
    expect(page.locator(f"{HERE} .sheet img.photo")).to_be_visible()
    page.get_by_role("button", name="More like this picture").click()
    expect_all_like(page, category_of(item))


# ------------------------------------------------------------------------------------------------------ a picture of one's own


def test_a_picture_of_ones_own_finds_what_looks_like_it(page: Page, pictured: Site, look: Look, told: list[dict[str, Any]]) -> None:
    open_page(page, pictured)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Find things by a picture").click()
    with page.expect_response("**/v1/recommend") as answered:
        chooser.value.set_files(file_of(RED))
    assert answered.value.request.headers["content-type"].startswith("multipart/form-data; boundary=")
    expect(page.get_by_alt_text("Your picture")).to_be_visible()
    assert page.get_by_alt_text("Your picture").get_attribute("src").startswith("blob:")
    expect_all_like(page, REDS)
    expect(page.locator(f"{LIKE} .because").first).to_have_text("Looks like your picture")

    # what is done there is told with the picture's hash, and nothing moves
    shown, second = like(page), page.locator(LIKE).nth(1)
    second.hover()
    second.locator(".save-button").click()
    expect(second.locator(".save-button")).to_have_attribute("aria-pressed", "true")
    saved = shown_until(page, told, "action", "visual")
    assert (saved["action"], saved["context_image_hash"]) == ("save", answered.value.json()["image_hash"])
    assert like(page) == shown

    # scrolling brings the rest, once each
    for _ in range(8):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(80)
    expect(page.locator(f"{HERE} .end")).to_be_visible()
    assert len(like(page)) == len(set(like(page))) == 108
    page.go_back()
    expect(page.locator("#feed")).to_be_visible()
    assert look.errors == []


def test_a_part_is_drawn_with_the_pointer(page: Page, pictured: Site) -> None:
    open_page(page, pictured)
    bring(page, BOTH)
    frame = page.locator(".cropper").bounding_box()
    with page.expect_response("**/v1/recommend"):
        page.mouse.move(frame["x"] + 0.55 * frame["width"], frame["y"] + 0.1 * frame["height"])
        page.mouse.down()
        page.mouse.move(frame["x"] + 0.95 * frame["width"], frame["y"] + 0.9 * frame["height"], steps=4)
        page.mouse.up()
    expect_all_like(page, BLUES)

    # the part is moved by what lies inside of it, and pulled by a corner
    box = page.locator(".part").bounding_box()
    with page.expect_response("**/v1/recommend"):
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(frame["x"] + 0.22 * frame["width"], box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
    moved = page.locator(".part").bounding_box()
    assert moved["width"] == pytest.approx(box["width"], abs=1)
    expect_all_like(page, REDS)
    corner = page.get_by_role("button", name="Bottom right corner").bounding_box()
    with page.expect_response("**/v1/recommend"):
        page.mouse.move(corner["x"] + 13, corner["y"] + 13)
        page.mouse.down()
        page.mouse.move(corner["x"] - 27, corner["y"] - 37, steps=4)
        page.mouse.up()
    assert page.locator(".part").bounding_box()["width"] == pytest.approx(moved["width"] - 40, abs=2)

    with page.expect_response("**/v1/recommend") as answered:
        page.get_by_role("button", name="The whole picture").click()
    assert crop_of(pictured, answered.value) is None


def test_a_part_is_chosen_by_keys(page: Page, pictured: Site) -> None:
    open_page(page, pictured)
    bring(page, BOTH)
    corner = page.get_by_role("button", name="Top left corner")
    corner.focus()
    with page.expect_response("**/v1/recommend") as answered:
        for _ in range(26):
            page.keyboard.press("ArrowRight")
    assert crop_of(pictured, answered.value) == "0.52,0,1,1"
    expect_all_like(page, BLUES)
    expect(page.locator("#announce")).to_contain_text("things look like it")
    page.locator(".part").focus()
    with page.expect_response("**/v1/recommend") as answered:
        for _ in range(30):
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("Shift+ArrowUp")
    assert crop_of(pictured, answered.value) == "0,0,0.48,0.98"
    expect_all_like(page, REDS)
    expect(page.locator(".item-page:visible .part")).to_be_focused()


DROP = """([name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  const as = { bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer };
  if (name === "pasted.png") document.body.dispatchEvent(new ClipboardEvent("paste", as));
  else for (const kind of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(kind, as));
}"""


@pytest.mark.parametrize("name", ["dropped.png", "pasted.png"])
def test_a_picture_can_be_dropped_and_pasted(page: Page, pictured: Site, name: str) -> None:
    open_page(page, pictured)
    page.evaluate(DROP, [name, "image/png", base64.b64encode(png(BLUE)).decode()])
    expect(page.locator(f"{HERE} h1")).to_have_text("Looks like your picture")
    expect_all_like(page, BLUES)
    expect(page.locator("#drop")).to_be_hidden()


def test_what_is_no_picture_is_said(page: Page, pictured: Site, tmp_path: Path) -> None:
    open_page(page, pictured)
    page.evaluate(DROP, ["words.txt", "text/plain", base64.b64encode(b"words").decode()])
    expect(page.locator(".toast.bad")).to_contain_text("not a picture that can be read")
    page.locator("#look-file").set_input_files({"name": "words.png", "mimeType": "image/png", "buffer": b"only words"})
    expect(page.locator(f"{HERE} .empty")).to_contain_text("not a picture")
    page.get_by_role("button", name="Back").click()
    expect(page.locator("#feed")).to_be_visible()


def test_a_picture_that_is_too_large_is_made_smaller(page: Page, pictured: Site) -> None:
    open_page(page, pictured)
    large = file_of(RED)
    large["buffer"] += bytes(8 << 20)  # what follows the picture is not looked at
    with page.expect_response("**/v1/recommend", timeout=30_000) as answered:
        page.locator("#look-file").set_input_files(large)
    assert answered.value.ok
    expect_all_like(page, REDS)


def test_what_is_clear_in_a_picture_that_is_made_smaller_turns_white(page: Page, site: Site) -> None:
    open_page(page, site)
    shade = page.evaluate(
        """async () => {
          const { fitting } = await import("/page/look.js"), clear = document.createElement("canvas");
          const png = await new Promise((done) => clear.toBlob(done));
          const sent = await fitting(new File([png, new Uint8Array(8 * 1024 * 1024)], "clear.png", { type: "image/png" }));
          const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
          context.drawImage(await createImageBitmap(sent), 0, 0);
          return [sent.type, ...context.getImageData(5, 5, 1, 1).data];
        }"""
    )
    assert shade == ["image/jpeg", 255, 255, 255, 255]


def test_a_link_to_a_picture_that_is_gone_asks_for_one(page: Page, pictured: Site) -> None:
    page.goto(f"{pictured.url}/?user=user-2&look=")
    expect(page.locator(f"{HERE} h1")).to_have_text("Find things by a picture")
    page.locator("#look-file").set_input_files(file_of(RED))
    expect_all_like(page, REDS)
    page.get_by_role("link", name="Corkboard, home").click()
    expect(page.locator(CARD).first).to_be_visible()


def test_without_visual_parts_it_is_said_kindly(page: Page, site: Site) -> None:
    open_page(page, site)
    bring(page, RED)
    expect(page.locator(f"{HERE} .hint")).to_contain_text("can't be compared at the moment")
    assert len(like(page)) >= 20


def test_somebody_else_sees_the_same_picture_with_their_own_answers(page: Page, pictured: Site) -> None:
    open_page(page, pictured)
    bring(page, RED)
    with page.expect_response("**/v1/recommend") as answered:
        page.locator("#who-button").click()
        page.get_by_role("button", name="user-7 45 actions so far").click()
    assert served(pictured, answered.value)["user_id"] == "user-7"
    expect_all_like(page, REDS)


def test_a_server_that_is_busy_is_waited_for(page: Page, pictured: Site) -> None:
    open_page(page, pictured)
    problem = {"error": {"code": "busy", "message": "Too many", "hint": None}}

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json=problem)

    page.route("**/v1/recommend", refuse)
    page.locator("#look-file").set_input_files(file_of(RED))
    expect(page.locator(f"{HERE} .empty")).to_contain_text("Many pictures are looked at just now")
    page.unroute("**/v1/recommend")
    page.get_by_role("button", name="Try again").click()
    expect_all_like(page, REDS)


def test_it_fits_a_phone(page: Page, pictured: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, pictured)
    bring(page, BOTH)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    nameless = page.locator("button:visible").evaluate_all(
        "all => all.filter(b => !(b.getAttribute('aria-label') || b.textContent.trim())).length"
    )
    assert nameless == 0
