"""An item's page in a real browser: the item, what is like it, what is told of it, and the way back."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.conftest import Look, Site
from tests.browser.test_journey import CARD, cards, open_page

HERE = ".item-page:visible"
LIKE = f"{HERE} .feed .card[data-item]"


@pytest.fixture
def told(page: Page) -> list[dict[str, Any]]:
    """Every event that the page sends, as it sends it."""
    events: list[dict[str, Any]] = []
    page.on("request", lambda request: events.extend(request.post_data_json) if request.url.endswith("/v1/events") else None)
    return events


def item_in_address(page: Page) -> str | None:
    return parse_qs(urlparse(page.url).query).get("item", [None])[0]


def open_item(page: Page, card: Any) -> str:
    """Open the page of a card's item, wait until what is like it is there, and return the item's id."""
    item = card.get_attribute("data-item")
    with page.expect_response(lambda response: _asks_for(response.request, item)):
        card.locator(".tile").click()
    expect(page.locator(f"{HERE} h1")).to_be_visible()
    expect(page.locator(LIKE).first).to_be_visible()
    expect(page.locator(f"{HERE} .feed")).to_have_attribute("aria-busy", "false")
    return item


def _asks_for(request: Request, item: str) -> bool:
    """Whether it is for a page of what is like ``item``."""
    if not request.url.endswith("/v1/recommend"):
        return False
    asked = request.post_data_json
    return asked["surface"] in ("related", "visual") and asked.get("item_id") == item


def _asks_home(request: Request) -> bool:
    return request.url.endswith("/v1/recommend") and request.post_data_json["surface"] == "home"


def like(page: Page) -> list[str]:
    return page.locator(f"{LIKE}:not(.leaving)").evaluate_all("cards => cards.map(card => card.dataset.item)")


def shown_until(page: Page, events: list[dict[str, Any]], kind: str, surface: str) -> dict[str, Any]:
    """The first event of ``kind`` on ``surface``, waited for."""
    deadline = time.monotonic() + 8
    while True:
        for event in events:
            if event["event"] == kind and event["surface"] == surface:
                return event
        assert time.monotonic() < deadline, [(event["event"], event.get("surface")) for event in events]
        page.wait_for_timeout(50)


def test_open_an_item_act_on_one_like_it_and_go_back(page: Page, site: Site, look: Look, told: list[dict[str, Any]]) -> None:
    open_page(page, site)
    before = cards(page)
    page.mouse.wheel(0, 900)
    page.wait_for_timeout(100)
    place = page.evaluate("scrollY")
    assert place > 600
    card = page.locator(CARD).nth(9)
    item = open_item(page, card)
    assert item_in_address(page) == item
    assert page.evaluate("scrollY") == 0
    title = page.locator(f"{HERE} h1").text_content()
    assert page.title() == f"{title} · Corkboard"
    click = next(event for event in told if event["event"] == "action")
    assert (click["action"], click["surface"], click["item_id"]) == ("click", "home", item)
    assert "context_item_id" not in click

    # what is like it is there, with a reason each, and is told as shown beside this item
    shown = like(page)
    assert len(shown) >= 20
    assert item not in shown
    expect(page.locator(f"{LIKE} .because").first).not_to_be_empty()
    page.mouse.wheel(0, 500)
    impression = shown_until(page, told, "impression", "related")
    assert impression["context_item_id"] == item
    assert {slot["item_id"] for slot in impression["slots"]} <= set(shown)

    # a save is told as one beside this item; nothing moves until fresh ones are asked for
    second = page.locator(LIKE).nth(1)
    second_id = second.get_attribute("data-item")
    asked = len([address for address in look.asked if address.endswith("/v1/recommend")])
    second.hover()
    with page.expect_response("**/v1/events") as answered:
        second.locator(".save-button").click()
    assert answered.value.json()["accepted"] == 1
    saved = told[-1] if told[-1]["event"] == "action" else next(event for event in reversed(told) if event["event"] == "action")
    assert {name: saved[name] for name in ("action", "surface", "item_id", "context_item_id", "request_id", "position")} == {
        "action": "save",
        "surface": "related",
        "item_id": second_id,
        "context_item_id": item,
        "request_id": impression["request_id"],
        "position": 1,
    }
    fresh = page.locator(f"{HERE} .fresh")
    expect(fresh).to_be_visible()
    page.wait_for_timeout(300)
    assert like(page) == shown
    assert len([address for address in look.asked if address.endswith("/v1/recommend")]) == asked
    with page.expect_response(lambda response: _asks_for(response.request, item)):
        fresh.click()
    expect(fresh).to_be_hidden()
    expect(page.locator(f"{HERE} .feed")).to_have_attribute("aria-busy", "false")
    assert len(like(page)) >= 20

    # back: the feed stands where it was, and flows below the card that was opened
    page.go_back()
    expect(page.locator("#feed")).to_be_visible()
    assert item_in_address(page) is None
    assert page.evaluate("scrollY") == place
    expect(card.locator(".tile")).to_be_focused()
    expect(card.locator(".flow-hint")).to_have_text("Updated after your save")
    assert cards(page)[: before.index(item) + 1] == before[: before.index(item) + 1]
    assert page.title() == "Corkboard"
    assert look.errors == []


def test_from_item_to_item_and_back_again(page: Page, site: Site, look: Look) -> None:
    open_page(page, site)
    first = open_item(page, page.locator(CARD).nth(1))
    shown = like(page)
    card = page.locator(LIKE).nth(2)
    second = open_item(page, card)
    assert second == shown[2]
    assert item_in_address(page) == second
    asked = len(look.asked)
    page.keyboard.press("Escape")  # as the browser's back
    expect(page.locator(f'{HERE}[data-item="{first}"]')).to_be_visible()
    assert like(page) == shown
    expect(page.locator(f'{LIKE}[data-item="{second}"] .tile')).to_be_focused()
    page.go_forward()
    expect(page.locator(f'{HERE}[data-item="{second}"]')).to_be_visible()
    page.get_by_role("button", name="Back").click()
    expect(page.locator(f'{HERE}[data-item="{first}"]')).to_be_visible()
    assert not [address for address in look.asked[asked:] if address.endswith("/v1/recommend")]  # both stood as they were
    page.get_by_role("link", name="Corkboard, home").click()
    expect(page.locator("#feed")).to_be_visible()
    assert look.errors == []


def test_a_link_leads_to_an_item(page: Page, site: Site, told: list[dict[str, Any]]) -> None:
    page.goto(f"{site.url}/?user=user-2&item=item-014")
    expect(page.locator(f"{HERE} h1")).to_have_text("Striped woven rugs 14")
    expect(page.locator(LIKE).first).to_be_visible()
    expect(page.locator("#feed")).to_be_hidden()
    assert page.locator(f"{HERE} .sheet .pill").all_text_contents() == ["Save", "Follow maker-4"]  # on no page of ours: no why
    page.get_by_role("button", name="Save", exact=True).click()
    save = shown_until(page, told, "action", "other")
    assert (save["action"], save["item_id"], save["user_id"], "request_id" in save) == ("save", "item-014", "user-2", False)
    expect(page.locator(f"{HERE} .sheet").get_by_role("button", name="Saved")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Back").click()
    expect(page.locator(CARD).first).to_be_visible()
    assert item_in_address(page) is None
    page.go_back()
    expect(page.locator(f"{HERE} h1")).to_have_text("Striped woven rugs 14")


def test_an_item_that_is_not_there_is_said_kindly(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/?item=no/such item")
    expect(page.locator(f"{HERE} h1")).to_have_text("This item is not here")
    expect(page.locator(f"{HERE} .more-head")).to_have_text("Perhaps one of these")
    page.get_by_role("button", name="Back").click()
    expect(page.locator(CARD).first).to_be_visible()


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (["unknown_item"], "This item is not known here"),
        (["few_related"], "There is little like this yet"),
        (["store_unreachable", "unknown_user"], "can't be read at the moment"),
    ],
)
def test_what_was_missing_is_said_kindly(page: Page, site: Site, codes: list[str], words: str) -> None:
    _answer_related(page, items=[], notes=codes)
    page.goto(f"{site.url}/?item=item-001")
    expect(page.locator(f"{HERE} .hint")).to_contain_text(words)
    expect(page.locator(f"{HERE} .empty")).to_contain_text("Nothing is like this yet")


def test_an_item_page_waits_for_the_first_release(page: Page, site: Site) -> None:
    page.route("**/healthz", lambda route: route.fulfill(json={"status": "ok", "release": None, "store": "up", "troubles": []}))
    page.route("**/v1/items/*", lambda route: route.fulfill(status=404, json={"error": {"code": "not_found", "message": "No"}}))
    _answer_related(page, items=[], notes=["no_release"])
    page.goto(f"{site.url}/?item=item-001")
    expect(page.locator(f"{HERE} .empty")).to_contain_text("on its way")
    page.unroute("**/v1/recommend")
    page.unroute("**/v1/items/*")
    page.unroute("**/healthz")
    expect(page.locator(f"{HERE} h1")).not_to_have_text("This item is not here")
    expect(page.locator(LIKE).first).to_be_visible()


def test_a_long_look_is_told_when_one_leaves(page: Page, site: Site, told: list[dict[str, Any]]) -> None:
    page.clock.install()
    open_page(page, site)
    item = open_item(page, page.locator(CARD).nth(2))
    page.clock.fast_forward(12_000)
    page.go_back()
    expect(page.locator("#feed")).to_be_visible()
    look = next(event for event in told if event.get("action") == "long_click")
    assert (look["item_id"], look["surface"], look["position"]) == (item, "home", 2)
    assert 12_000 <= look["duration_ms"] < 60_000


def test_a_long_way_keeps_few_pages_and_leads_all_the_way_back(page: Page, site: Site, look: Look) -> None:
    open_page(page, site)
    first = open_item(page, page.locator(CARD).nth(0))
    for _ in range(11):
        open_item(page, page.locator(LIKE).nth(0))
    assert page.locator(".item-page").count() == 10
    with page.expect_response(lambda response: _asks_for(response.request, first)):
        page.evaluate("history.go(-11)")
    expect(page.locator(f'{HERE}[data-item="{first}"] h1')).to_be_visible()
    expect(page.locator(LIKE).first).to_be_visible()
    assert look.errors == []


def test_scrolling_brings_more_that_is_like_it_and_nothing_twice(page: Page, site: Site) -> None:
    open_page(page, site)
    item = open_item(page, page.locator(CARD).nth(2))
    before = len(like(page))
    for _ in range(6):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(150)
    expect(page.locator(f"{HERE} .feed")).to_have_attribute("aria-busy", "false")
    everything = like(page)
    assert len(everything) > before
    assert len(everything) == len(set(everything))
    assert item not in everything


def test_what_is_hidden_there_is_gone_at_home(page: Page, site: Site) -> None:
    open_page(page, site)
    there = set(cards(page))
    open_item(page, page.locator(CARD).nth(0))
    gone = next(item for item in like(page) if item in there)
    page.locator(f'{LIKE}[data-item="{gone}"] .hide-button').click()
    expect(page.locator(".toast")).to_contain_text("is hidden")
    assert gone not in like(page)
    page.go_back()
    expect(page.locator("#feed")).to_be_visible()
    expect(page.locator(f'{CARD}[data-item="{gone}"]:not(.leaving)')).to_have_count(0)


def test_somebody_else_sees_the_same_item_with_their_own_grid(page: Page, site: Site) -> None:
    open_page(page, site)
    item = open_item(page, page.locator(CARD).nth(1))
    with page.expect_response(lambda response: _asks_for(response.request, item)) as answered:
        page.locator("#who-button").click()
        page.get_by_role("button", name="user-7 45 actions so far").click()
    assert answered.value.request.post_data_json["user_id"] == "user-7"
    expect(page.locator(f'{HERE}[data-item="{item}"]')).to_have_count(1)
    with page.expect_response(lambda response: _asks_home(response.request)) as home:
        page.go_back()
    assert home.value.request.post_data_json["user_id"] == "user-7"
    assert parse_qs(urlparse(page.url).query)["user"] == ["user-7"]


@pytest.fixture
def phone(page: Page) -> Page:
    page.set_viewport_size({"width": 390, "height": 844})
    return page


def test_it_fits_a_phone(phone: Page, site: Site) -> None:
    open_page(phone, site)
    open_item(phone, phone.locator(CARD).nth(0))
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [phone.locator(f"{HERE} .sheet {part}").bounding_box() for part in (".picture", ".words")]
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"] + 1  # one above the other
    nameless = phone.locator("button:visible").evaluate_all(
        "all => all.filter(b => !(b.getAttribute('aria-label') || b.textContent.trim())).length"
    )
    assert nameless == 0


def _answer_related(page: Page, items: list[Any], notes: list[str]) -> None:
    """Answer every request for a related page with these."""
    answer = {"request_id": None, "release": None, "release_label": None, "items": items, "next_cursor": None}
    answer["notes"] = [{"code": code, "text": ""} for code in notes]
    page.route("**/v1/recommend", lambda route: route.fulfill(json=answer))
