"""Looks on an item's page in a real browser: dots on the picture that open shelves, and what goes with it; by mouse, keys and names."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Look, Site
from tests.browser.test_item_page import HERE, like, open_item, shown_until, told
from tests.browser.test_journey import open_page
from tests.browser.test_pictures import card_with_a_picture, pictured

__all__ = ["pictured", "told"]
DOT, PANEL, GOES = f"{HERE} .dot", f"{HERE} .look-shelf", f"{HERE} .goes-shelf"
BOXES = ([0.1, 0.2, 0.5, 0.6], [0.5, 0.5, 0.9, 1.0])
NAMES = ("shoes", "home_textiles")
PRODUCTS = (("item-005", "item-009"), ("item-013", "item-017", "item-021"))
MATCHES = {"bags": ("item-025", "item-029"), "jewellery": ("item-033",)}


def slot(page: Page, site: Site, item_id: str, **more: Any) -> dict[str, Any]:
    entry = page.request.get(f"{site.url}/v1/items/{item_id}").json()
    return {"item_id": item_id, "score": 0.5, "source": ["look"], "reason": "looks like it", "item": entry, **more}


def answer_looks(page: Page, site: Site, empty: bool = False) -> list[dict[str, Any]]:
    """Answer both surfaces by hand; returns what is asked of them."""
    asked: list[dict[str, Any]] = []
    first = {item: n for n, items in reversed(list(enumerate(PRODUCTS))) for item in reversed(items)}
    bought = [slot(page, site, item, object=n) for item, n in reversed(first.items())]  # once each
    goes = [slot(page, site, item, shelf=n) for n, items in enumerate(MATCHES.values()) for item in items]
    objects = [
        {"box": box, "category": name, "second_category": None, "score": 0.9, "item_ids": list(items)}
        for box, name, items in zip(BOXES, NAMES, PRODUCTS, strict=True)
    ]
    objects.append({"box": [0.0, 0.0, 0.1, 0.1], "category": "food", "second_category": None, "score": 0.4, "item_ids": []})

    def answer(route: Route) -> None:
        body = route.request.post_data_json
        if body["surface"] not in ("shop_the_look", "complete_the_look"):
            route.continue_()
            return
        asked.append(body)
        shops = body["surface"] == "shop_the_look"
        items = [] if empty else bought if shops else goes
        more = (
            {"objects": [] if empty else objects}
            if shops
            else {"shelves": [{"category": c, "item_ids": list(i)} for c, i in MATCHES.items()]}
        )
        whole = {
            "request_id": f"r-{body['surface']}",
            "release": "r",
            "release_label": None,
            "items": items,
            "next_cursor": None,
            "notes": [],
        }
        route.fulfill(json={**whole, **more})

    page.route("**/v1/recommend", answer)
    return asked


def on(page: Page, shelf: str) -> list[str]:
    return page.locator(f"{shelf} .card[data-item]").evaluate_all("cards => cards.map(card => card.dataset.item)")


def painted(page: Page) -> dict[str, float]:
    """Where the picture itself lies, without what its element has around it."""
    return page.locator(f"{HERE} .framed .photo").evaluate("""image => {
        const box = image.getBoundingClientRect(), scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
        const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
        return { x: box.x + (box.width - width) / 2, y: box.y + (box.height - height) / 2, width, height };
    }""")


@pytest.fixture
def opened(page: Page, pictured: Site) -> str:
    answer_looks(page, pictured)
    open_page(page, pictured)
    item = open_item(page, card_with_a_picture(page))
    expect(page.locator(DOT)).to_have_count(2)
    return item


def test_a_dot_lies_on_its_thing_and_opens_what_looks_like_it(page: Page, opened: str, look: Look, told: list[dict[str, Any]]) -> None:
    expect(page.locator(PANEL)).to_be_hidden()
    picture = page.locator(f"{HERE} .framed .photo").bounding_box()
    for n, (left, top, right, bottom) in enumerate(BOXES):
        dot = page.locator(DOT).nth(n).bounding_box()
        at = (
            (dot["x"] + dot["width"] / 2 - picture["x"]) / picture["width"],
            (dot["y"] + dot["height"] / 2 - picture["y"]) / picture["height"],
        )
        assert at == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.02)
        assert min(dot["width"], dot["height"]) >= 24  # a finger finds it
    page.get_by_role("button", name="Shop the shoes, 1 of 2").click()
    expect(page.locator(f"{PANEL} h2")).to_have_text("Looks like the shoes")
    assert on(page, PANEL) == list(PRODUCTS[0])
    expect(page.locator(DOT).first).to_have_attribute("aria-expanded", "true")

    # another one takes its place, and the same again closes it
    page.get_by_role("button", name="Shop the home textiles, 2 of 2").click()
    assert on(page, PANEL) == list(PRODUCTS[1])
    expect(page.locator(DOT).first).to_have_attribute("aria-expanded", "false")
    impression = shown_until(page, told, "impression", "shop_the_look")
    assert (impression["request_id"], impression["context_item_id"]) == ("r-shop_the_look", opened)
    page.locator(DOT).nth(1).click()
    expect(page.locator(PANEL)).to_be_hidden()
    assert look.errors == []


def test_things_that_share_a_product_have_a_dot_each(page: Page, pictured: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PRODUCTS", (("item-005", "item-009"), ("item-005",)))
    answer_looks(page, pictured)
    open_page(page, pictured)
    open_item(page, card_with_a_picture(page))
    expect(page.locator(DOT)).to_have_count(2)
    page.locator(DOT).nth(1).click()
    assert on(page, PANEL) == ["item-005"]

    # hiding the last one closes its shelf; the focus is not lost, and an empty shelf does not open
    page.locator(f"{PANEL} .hide-button").focus()
    page.keyboard.press("Enter")
    expect(page.locator(PANEL)).to_be_hidden()
    expect(page.locator(DOT).nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(PANEL)).to_be_hidden()
    page.locator(DOT).nth(0).click()
    assert on(page, PANEL) == ["item-009"]


def test_what_is_done_on_a_shelf_of_a_dot_is_told_with_its_place(page: Page, opened: str, told: list[dict[str, Any]]) -> None:
    page.locator(DOT).nth(1).click()
    card = page.locator(f"{PANEL} .card").nth(1)
    card.hover()
    with page.expect_response("**/v1/events"):
        card.locator(".save-button").click()
    saved = shown_until(page, told, "action", "shop_the_look")
    assert (saved["item_id"], saved["context_item_id"], saved["position"]) == (PRODUCTS[1][1], opened, 3)
    card.locator(".hide-button").click(force=True)
    expect(page.locator(f"{PANEL} .card")).to_have_count(2)
    page.locator(DOT).nth(0).click()
    page.locator(DOT).nth(1).click()
    assert PRODUCTS[1][1] not in on(page, PANEL)  # hidden is hidden

    # to a product and back
    page.locator(f"{PANEL} .card").first.locator(".tile").click()
    expect(page.locator(f'.item-page[data-item="{PRODUCTS[1][0]}"]:visible h1')).to_be_visible()
    page.go_back()
    expect(page.locator(PANEL)).to_be_visible()


def test_by_keys_alone(page: Page, opened: str) -> None:
    first, second = page.locator(DOT).nth(0), page.locator(DOT).nth(1)
    first.focus()
    page.keyboard.press("ArrowRight")
    expect(second).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(second).to_be_focused()  # it is the last
    page.keyboard.press("Home")
    expect(first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(PANEL)).to_be_visible()
    expect(page.locator("[aria-live]").filter(has_text="2 products look like the shoes.")).to_have_count(1)
    for _ in range(12):  # on to the shelf: past what else is on the sheet
        page.keyboard.press("Tab")
        if page.evaluate(f"document.querySelector('{PANEL.replace(':visible', ':not([hidden])')}').contains(document.activeElement)"):
            break
    else:
        raise AssertionError("the Tab key does not reach the shelf")
    page.keyboard.press("Escape")
    expect(page.locator(PANEL)).to_be_hidden()
    expect(first).to_be_focused()


def test_every_dot_and_shelf_has_a_name(page: Page, opened: str) -> None:
    group = page.get_by_role("group", name="Things in this picture that can be bought")
    expect(group.get_by_role("button")).to_have_count(2)
    page.locator(DOT).first.click()
    expect(page.get_by_role("region", name="Products that look like the shoes")).to_be_visible()
    expect(page.get_by_role("region", name="Goes with this")).to_be_visible()
    nameless = page.locator(f"{HERE} button:visible").evaluate_all(
        "all => all.filter(b => !(b.getAttribute('aria-label') || b.textContent.trim())).length"
    )
    assert nameless == 0


def test_what_goes_with_it_takes_turns_by_category(page: Page, opened: str, told: list[dict[str, Any]], look: Look) -> None:
    expect(page.locator(f"{GOES} h2")).to_have_text("Goes with this")
    expect(page.locator(f"{GOES} .shelf-row")).to_have_attribute("aria-busy", "false")
    assert on(page, GOES) == ["item-025", "item-033", "item-029"]
    expect(page.locator(f"{GOES} .because").first).to_have_text("looks like it")
    card = page.locator(f"{GOES} .card").nth(1)
    card.hover()
    with page.expect_response("**/v1/events"):
        card.locator(".save-button").click()
    saved = shown_until(page, told, "action", "complete_the_look")
    assert (saved["item_id"], saved["position"], saved["context_item_id"]) == ("item-033", 2, opened)
    page.wait_for_timeout(300)
    assert on(page, GOES) == ["item-025", "item-033", "item-029"]  # nothing moves
    assert look.errors == []


def test_a_picture_of_nothing_has_no_dots_and_nothing_goes_with_it(page: Page, pictured: Site, look: Look) -> None:
    asked = answer_looks(page, pictured, empty=True)
    open_page(page, pictured)
    item = open_item(page, card_with_a_picture(page))
    page.wait_for_timeout(300)
    assert {one["surface"] for one in asked} == {"shop_the_look", "complete_the_look"}
    assert {one["item_id"] for one in asked} == {item}
    expect(page.locator(DOT)).to_have_count(0)
    expect(page.locator(GOES)).to_be_hidden()
    expect(page.locator(PANEL)).to_be_hidden()
    assert like(page)
    assert look.errors == []


def test_looks_that_fail_leave_a_whole_page(page: Page, pictured: Site) -> None:
    def answer(route: Route) -> None:
        if route.request.post_data_json["surface"].endswith("the_look"):
            route.fulfill(status=500, json={})
        else:
            route.continue_()

    page.route("**/v1/recommend", answer)
    open_page(page, pictured)
    open_item(page, card_with_a_picture(page))
    expect(page.locator(GOES)).to_be_hidden()
    expect(page.locator(DOT)).to_have_count(0)
    expect(page.locator(".toast")).to_have_count(0)


def test_dots_and_shelves_fit_a_phone(page: Page, opened: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(DOT).first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture, dot = page.locator(f"{HERE} .framed").bounding_box(), page.locator(DOT).first.bounding_box()
    assert picture["x"] <= dot["x"]
    assert dot["x"] + dot["width"] <= picture["x"] + picture["width"]
