"""The shop's shelf in a real browser: at home and beside an item, by keys and buttons, after an action, and where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Response, Route, expect

from tests.browser.conftest import Look, Site
from tests.browser.test_item_page import HERE, like, open_item, shown_until, told
from tests.browser.test_journey import CARD, cards, category_of, open_page

__all__ = ["told"]
HOME = "#shelf"
BESIDE = f"{HERE} .shop-shelf"
SIZE = 12


def asks_the_shop(request: Request) -> bool:
    return request.url.endswith("/v1/recommend") and request.post_data_json["surface"] == "shop"


def answers_of_the_shop(response: Response) -> bool:
    return asks_the_shop(response.request)


def on(page: Page, shelf: str) -> list[str]:
    """The items on a shelf, waited for."""
    expect(page.locator(f"{shelf} .shelf-row")).to_have_attribute("aria-busy", "false")
    return page.locator(f"{shelf} .card[data-item]").evaluate_all("cards => cards.map(card => card.dataset.item)")


def route_the_shop(page: Page, answer: Callable[[Route], None]) -> None:
    """Answer requests of the shop by ``answer``, all others by the server."""
    page.route("**/v1/recommend", lambda route: answer(route) if asks_the_shop(route.request) else route.continue_())


def nothing_to_buy(route: Route) -> None:
    notes = [{"code": "no_products", "text": ""}]
    route.fulfill(json={"request_id": "r", "release": None, "release_label": None, "items": [], "next_cursor": None, "notes": notes})


def top_of_the_feed(page: Page) -> float:
    return page.locator("#feed").bounding_box()["y"]


def test_a_shelf_at_home_comes_after_the_feed_and_tells_what_was_done(
    page: Page, site: Site, look: Look, told: list[dict[str, Any]]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data_json["surface"]) if request.url.endswith("/v1/recommend") else None)
    open_page(page, site)
    items = on(page, HOME)
    assert len(items) == len(set(items)) == SIZE
    assert asked[:2] == ["home", "shop"]
    expect(page.locator(f"{HOME} h2")).to_have_text("Shop for you")
    card = page.locator(f"{HOME} .card[data-item]").nth(1)
    expect(card.locator(".price")).to_have_text(f"€{(1000 + 50 * int(items[1][5:])) / 100:.2f}")
    expect(card.locator(".title")).not_to_be_empty()
    expect(card.locator(".because")).not_to_be_empty()

    # what can be seen of it is told, and not what would have to be scrolled to
    impression = shown_until(page, told, "impression", "shop")
    seen = [slot["item_id"] for slot in impression["slots"]]
    assert seen == items[: len(seen)]
    assert 3 <= len(seen) < SIZE

    # a save there: what is left of it stays, what comes after it follows, and nothing moves
    below, there = top_of_the_feed(page), cards(page)
    card.hover()
    with page.expect_response(answers_of_the_shop):
        card.locator(".save-button").click()
    saved = shown_until(page, told, "action", "shop")
    assert {name: saved[name] for name in ("action", "item_id", "request_id", "position", "user_id")} == {
        "action": "save",
        "item_id": items[1],
        "request_id": impression["request_id"],
        "position": 1,
        "user_id": "user-2",
    }
    expect(card.locator(".save-button")).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(200)
    after = on(page, HOME)
    assert after[:2] == items[:2]
    assert len(after) == len(set(after)) == SIZE
    assert top_of_the_feed(page) == below
    assert cards(page)[:4] == there[:4]  # the feed goes on below what is in view
    assert look.errors == []


def test_it_follows_what_is_done_in_the_feed_but_not_all_the_time(page: Page, site: Site, look: Look) -> None:
    open_page(page, site, user=None)
    before, below = on(page, HOME), top_of_the_feed(page)
    wanted = next(one for one in cards(page)[:12] if category_of(one) == "rugs")

    def save(item: str) -> None:
        card = page.locator(f'{CARD}[data-item="{item}"]')
        card.hover()
        with page.expect_response("**/v1/events"):
            card.locator(".save-button").click()

    with page.expect_response(answers_of_the_shop) as answered:
        save(wanted)
    shop = answered.value.request.post_data_json
    assert (shop["k"], "filter" in shop, "item_id" in shop) == (SIZE, False, False)
    expect(page.locator(f"{HOME} .card").first).not_to_have_attribute("data-item", before[0])
    after = on(page, HOME)
    share = [sum(category_of(item) == "rugs" for item in items) for items in (before, after)]
    assert share[1] > share[0]
    assert top_of_the_feed(page) == below

    # the next ones come together, after a pause
    asked = sum(address.endswith("/v1/recommend") for address in look.asked)
    for item in cards(page)[:2]:
        save(item)
    page.wait_for_timeout(500)
    assert sum(address.endswith("/v1/recommend") for address in look.asked) == asked + 2  # those of the feed
    page.wait_for_event("request", asks_the_shop, timeout=6_000)
    assert look.errors == []


def test_beside_an_item_it_stays_until_fresh_ones_are_asked_for(page: Page, site: Site, look: Look, told: list[dict[str, Any]]) -> None:
    open_page(page, site)
    item = open_item(page, page.locator(CARD).nth(2))
    items = on(page, BESIDE)
    assert len(items) == SIZE
    assert item not in items
    expect(page.locator(f"{BESIDE} h2")).to_have_text("To buy beside this")
    page.locator(BESIDE).scroll_into_view_if_needed()
    impression = shown_until(page, told, "impression", "shop")
    while "context_item_id" not in impression:  # those of the shelf at home
        told.remove(impression)
        impression = shown_until(page, told, "impression", "shop")
    assert impression["context_item_id"] == item
    card = page.locator(f"{BESIDE} .card[data-item]").first
    card.hover()
    with page.expect_response("**/v1/events"):
        card.locator(".save-button").click()
    saved = shown_until(page, told, "action", "shop")
    assert (saved["context_item_id"], saved["item_id"], saved["position"]) == (item, items[0], 0)
    page.wait_for_timeout(300)
    assert on(page, BESIDE) == items
    with page.expect_response(answers_of_the_shop):
        page.locator(f"{HERE} .fresh").click()
    assert len(on(page, BESIDE)) == SIZE

    # on to a product and back to the same place
    second = page.locator(f"{BESIDE} .card[data-item]").nth(1)
    product = second.get_attribute("data-item")
    second.locator(".tile").click()
    expect(page.locator(f'{HERE}[data-item="{product}"] h1')).to_be_visible()
    page.go_back()
    expect(page.locator(f'{HERE}[data-item="{item}"] .shop-shelf .card[data-item="{product}"] .tile')).to_be_focused()
    assert look.errors == []


def test_the_way_from_home_to_a_product_and_back(page: Page, site: Site) -> None:
    open_page(page, site)
    items = on(page, HOME)
    card = page.locator(f"{HOME} .card[data-item]").nth(1)
    card.locator(".tile").click()
    expect(page.locator(f'{HERE}[data-item="{items[1]}"] h1')).to_be_visible()
    with page.expect_response("**/v1/events"):
        page.locator(f"{HERE} .sheet").get_by_role("button", name="Save", exact=True).click()
    with page.expect_response(answers_of_the_shop):
        page.go_back()
    expect(card.locator(".tile")).to_be_focused()
    assert on(page, HOME)[:2] == items[:2]
    expect(card.locator(".save-button")).to_have_attribute("aria-pressed", "true")


def test_keys_and_buttons_go_along_it(page: Page, site: Site) -> None:
    open_page(page, site)
    items = on(page, HOME)
    tiles, row = page.locator(f"{HOME} .tile"), page.locator(f"{HOME} .shelf-row")
    further = page.get_by_role("button", name="More products")
    earlier = page.get_by_role("button", name="Earlier products")
    expect(earlier).to_have_attribute("aria-disabled", "true")
    further.click()
    expect(earlier).to_have_attribute("aria-disabled", "false")
    assert row.evaluate("row => row.scrollLeft") > 300
    for _ in range(3):
        further.click(force=True)  # at the end it does nothing
    expect(further).to_have_attribute("aria-disabled", "true")

    # one stop of the Tab key; the arrow keys bring each into view
    tiles.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(tiles.nth(SIZE - 1)).to_be_focused()
    last = tiles.nth(SIZE - 1).bounding_box()
    assert last["x"] + last["width"] <= 1280
    page.keyboard.press("Home")
    expect(tiles.first).to_be_focused()
    assert tiles.first.bounding_box()["x"] >= 0
    assert page.locator(f'{HOME} .tile[tabindex="0"]').count() == 1
    page.keyboard.press("s")
    expect(page.locator(f"{HOME} .save-button").first).to_have_attribute("aria-pressed", "true")
    expect(tiles.first).to_be_focused()
    page.keyboard.press("h")
    expect(page.locator(f'{HOME} .card[data-item="{items[0]}"]')).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f'{HOME} .card[data-item="{items[0]}"]')).to_have_count(1)
    page.locator(f"{HOME} .card").nth(2).hover()
    page.locator(f"{HOME} .why-button").nth(2).click()
    expect(page.locator("#drawer").get_by_role("heading", name="Why this is here")).to_be_visible()


def test_nothing_to_buy_no_shelf(page: Page, site: Site, look: Look) -> None:
    route_the_shop(page, nothing_to_buy)
    open_page(page, site)
    expect(page.locator(HOME)).to_be_hidden()
    open_item(page, page.locator(CARD).first)
    expect(page.locator(BESIDE)).to_have_count(1)
    expect(page.locator(BESIDE)).to_be_hidden()

    # no place is held for it the next time, so nothing moves
    waiting: list[Route] = []
    page.unroute("**/v1/recommend")
    route_the_shop(page, waiting.append)
    open_page(page, site)
    expect(page.locator(HOME)).to_be_hidden()
    assert waiting
    waiting[-1].continue_()  # and now there is something
    assert len(on(page, HOME)) == SIZE
    assert look.errors == []


@pytest.mark.parametrize("answer", [lambda route: route.abort(), lambda route: route.fulfill(status=500, json={})], ids=["dead", "broken"])
def test_a_shop_that_fails_is_not_there_and_says_nothing(page: Page, site: Site, answer: Callable[[Route], None]) -> None:
    route_the_shop(page, answer)
    open_page(page, site)
    expect(page.locator(HOME)).to_be_hidden()
    expect(page.locator(".toast")).to_have_count(0)
    page.unroute("**/v1/recommend")
    with page.expect_response(answers_of_the_shop):  # the next action asks again
        page.locator(f"{CARD} .save-button").first.click(force=True)
    assert len(on(page, HOME)) == SIZE


def test_a_server_that_is_gone_leaves_no_shelf(page: Page, site: Site) -> None:
    page.route("**/v1/recommend", lambda route: route.abort())
    page.goto(site.url)
    expect(page.locator("#empty")).to_contain_text("The feed could not be loaded")
    expect(page.locator(HOME)).to_be_hidden()


def test_the_feed_does_not_wait_for_it_and_nothing_jumps(page: Page, site: Site) -> None:
    waiting: list[Route] = []
    route_the_shop(page, waiting.append)
    open_page(page, site)
    before = top_of_the_feed(page)
    assert len(cards(page)) >= 25
    expect(page.locator(f"{HOME} .ghost").first).to_be_visible()
    waiting[0].continue_()
    assert len(on(page, HOME)) == SIZE
    assert top_of_the_feed(page) == before


def test_an_item_that_is_not_there_has_nothing_beside_it(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/?item=no/such item")
    expect(page.locator(f"{HERE} h1")).to_have_text("This item is not here")
    expect(page.locator(f"{HERE} .feed")).to_have_attribute("aria-busy", "false")
    assert like(page)
    expect(page.locator(BESIDE)).to_be_hidden()


def test_somebody_else_has_their_own(page: Page, site: Site) -> None:
    open_page(page, site)
    on(page, HOME)
    with page.expect_response(answers_of_the_shop) as answered:
        page.locator("#who-button").click()
        page.get_by_role("button", name="user-7 45 actions so far").click()
    assert answered.value.request.post_data_json["user_id"] == "user-7"
    assert on(page, HOME) == [item["item_id"] for item in answered.value.json()["items"]]


def test_it_fits_a_phone(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, site)
    on(page, HOME)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shelf = page.locator(HOME).bounding_box()
    assert shelf["height"] < 400
    assert top_of_the_feed(page) < 844 - 200  # the feed can be seen below it
    third = page.locator(f"{HOME} .card").nth(2).bounding_box()
    assert third["x"] < 390 < third["x"] + third["width"]  # one can see that there is more
    row = page.locator(f"{HOME} .shelf-row")
    row.hover()
    for _ in range(20):  # a busy browser may drop the event of a wheel, as it may of a finger: people turn again
        page.mouse.wheel(400, 0)
        page.wait_for_timeout(200)
        if row.evaluate("row => row.scrollLeft") > 8:
            break
    expect(page.get_by_role("button", name="Earlier products")).to_have_attribute("aria-disabled", "false")
    nameless = page.locator(f"{HOME} button:visible").evaluate_all(
        "all => all.filter(b => !(b.getAttribute('aria-label') || b.textContent.trim())).length"
    )
    assert nameless == 0
