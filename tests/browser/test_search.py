"""Searching in a real browser: completions by keyboard, results, slips, filters, the way back, and kind words where there is nothing."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote, urlparse

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Look, Site
from tests.browser.test_item_page import shown_until, told  # noqa: F401
from tests.browser.test_journey import CARD, category_of, open_page
from tests.serving.test_suggest import with_queries

HERE = ".search-page:visible"
FOUND = f"{HERE} .card[data-item]:not(.leaving)"


@pytest.fixture
def worded(site: Site) -> Site:
    """A site that knows words and past queries."""
    with_queries(site.workspace)
    return site


def open_search(page: Page, site: Site, query: str = "", user: str = "user-2") -> None:
    live = site.workspace.releases.current().label
    page.goto(f"{site.url}/?user={user}{query}")
    expect(page.locator("#live-label")).to_have_text(live)


def box(page: Page) -> Any:
    return page.get_by_role("combobox", name="Search")


def found(page: Page) -> list[str]:
    expect(page.locator(f"{HERE} .feed")).to_have_attribute("aria-busy", "false")
    return page.locator(FOUND).evaluate_all("cards => cards.map(card => card.dataset.item)")


def asked_for(page: Page) -> dict[str, list[str]]:
    return {name: values for name, values in parse_qs(urlparse(page.url).query, keep_blank_values=True).items() if name != "user"}


def search(page: Page, text: str) -> None:
    box(page).fill(text)
    with page.expect_response("**/v1/recommend"):
        box(page).press("Enter")
    expect(page.locator(f"{HERE} .feed")).to_have_attribute("aria-busy", "false")


def test_a_suggestion_by_keyboard_results_an_item_and_back(page: Page, worded: Site, look: Look, told: list[dict[str, Any]]) -> None:  # noqa: F811
    open_search(page, worded)
    expect(page.locator(CARD).first).to_be_visible()
    page.keyboard.press("/")
    expect(box(page)).to_be_focused()
    options = page.get_by_role("option")
    expect(options.first).to_have_text("blue rugs")  # before anything is typed, what others search for
    box(page).press_sequentially("blu")
    expect(options.first.locator("b")).to_have_text("e rugs")
    expect(options.nth(1)).to_have_text("blue lamps")
    assert box(page).get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert box(page).get_attribute("aria-activedescendant") == options.nth(1).get_attribute("id")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    expect(box(page)).to_have_value("blue lamps")
    page.keyboard.press("Enter")
    expect(page.locator(f"{HERE} h1")).to_have_text("Results for “blue lamps”")
    expect(page.locator(f"{HERE} h1")).to_be_focused()
    assert asked_for(page) == {"q": ["blue lamps"]}
    assert page.title() == "blue lamps · Corkboard"
    items = found(page)
    assert category_of(items[0]) == "lamps"
    expect(page.locator(f"{FOUND} .because")).to_have_count(0)  # that they have the words can be seen

    # what is seen and done there is told with what was searched for
    seen = shown_until(page, told, "impression", "search")
    assert seen["query"] == "blue lamps"
    card = page.locator(FOUND).nth(1)
    card.hover()
    with page.expect_response("**/v1/events"):
        card.locator(".save-button").click()
    save = shown_until(page, told, "action", "search")
    assert {name: save[name] for name in ("action", "query", "item_id", "position", "request_id")} == {
        "action": "save",
        "query": "blue lamps",
        "item_id": items[1],
        "position": 1,
        "request_id": seen["request_id"],
    }

    # an item and back, and home again: each stands as it was
    card.locator(".tile").click()
    expect(page.locator(".item-page:visible h1")).to_be_visible()
    expect(box(page)).to_have_value("")
    page.go_back()
    assert found(page) == items
    expect(box(page)).to_have_value("blue lamps")
    expect(card.locator(".tile")).to_be_focused()
    page.go_back()
    expect(page.locator("#feed")).to_be_visible()
    assert asked_for(page) == {}
    expect(box(page)).to_have_value("")
    page.go_forward()
    assert found(page) == items
    assert look.errors == []


def test_escape_gives_back_what_was_typed(page: Page, worded: Site) -> None:
    open_search(page, worded, "&q=rugs")
    box(page).fill("blu")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(box(page)).to_have_value("blue rugs")
    page.keyboard.press("ArrowUp")
    expect(box(page)).to_have_value("blu")
    page.keyboard.press("ArrowUp")
    expect(box(page)).not_to_have_value("blu")  # round to the last one
    page.keyboard.press("Escape")
    expect(box(page)).to_have_value("blu")
    expect(page.locator(".search-panel")).to_be_hidden()
    assert box(page).get_attribute("aria-activedescendant") is None
    page.keyboard.press("Escape")
    expect(box(page)).not_to_be_focused()
    assert asked_for(page) == {"q": ["rugs"]}  # it did not go back


def test_an_answer_that_comes_late_is_dropped(page: Page, worded: Site) -> None:
    open_search(page, worded)
    waiting: list[Any] = []
    page.route("**/v1/suggest?q=r&**", lambda route: waiting.append(route))
    box(page).press_sequentially("r")
    page.wait_for_timeout(250)
    assert len(waiting) == 1
    box(page).press_sequentially("ug")
    expect(page.get_by_role("option").first).to_contain_text("rugs", ignore_case=True)
    shown = page.get_by_role("option").all_text_contents()
    waiting[0].fulfill(json={"suggestions": [{"text": "too late", "kind": "query"}], "notes": []})
    page.wait_for_timeout(150)
    assert page.get_by_role("option").all_text_contents() == shown


def test_a_slip_is_corrected_and_said(page: Page, worded: Site) -> None:
    open_search(page, worded)
    search(page, "blue baskest")
    expect(page.locator(f"{HERE} h1")).to_have_text("Showing results for “blue baskets”")
    expect(page.locator(f"{HERE} .search-note")).to_have_text("Nothing here is called “baskest”.")
    assert category_of(found(page)[0]) == "baskets"
    search(page, "baskets zzyzx")
    expect(page.locator(f"{HERE} h1")).to_have_text("Results for “baskets zzyzx”")
    expect(page.locator(f"{HERE} .search-note")).to_contain_text("Nothing here has “zzyzx”")


def test_nothing_found_is_explained_with_something_to_do(page: Page, worded: Site, look: Look) -> None:
    open_search(page, worded)
    search(page, "qqqqq <b>x</b>")
    empty = page.locator(f"{HERE} .empty")
    expect(empty.locator("h2")).to_have_text("Nothing here for “qqqqq <b>x</b>”")
    expect(empty).to_contain_text("Look at the spelling")
    expect(empty.get_by_role("button", name="Search by a picture")).to_be_visible()
    search(page, "\U0001f9f6")
    expect(empty.locator("h2")).to_have_text("There are no words in this")
    with page.expect_response("**/v1/recommend"):
        empty.get_by_role("button", name="blue rugs").click()
    assert category_of(found(page)[0]) == "rugs"
    page.go_back()
    expect(empty.locator("h2")).to_have_text("There are no words in this")
    page.goto(f"{worded.url}/?q=")
    expect(empty.locator("h2")).to_have_text("What are you looking for?")
    assert look.errors == []


def test_filters_are_in_the_address_and_can_be_taken_away(page: Page, worded: Site, look: Look) -> None:
    open_search(page, worded)
    search(page, "blue")
    assert len({category_of(item) for item in found(page)}) > 1
    head = page.locator(f"{HERE} .search-head")
    before = page.locator(f"{HERE} .feed").bounding_box()
    lamps = head.get_by_role("button", name="Lamps")
    with page.expect_response("**/v1/recommend"):
        lamps.click()
    expect(lamps).to_have_attribute("aria-pressed", "true")
    assert {category_of(item) for item in found(page)} == {"lamps"}
    assert asked_for(page) == {"q": ["blue"], "category": ["lamps"]}
    assert page.locator(f"{HERE} .feed").bounding_box()["y"] == before["y"]  # nothing jumps

    # a price, in the units that people write
    head.get_by_role("button", name="Price").click()
    panel = page.get_by_role("dialog", name="Price")
    expect(panel.get_by_label("From")).to_be_focused()
    panel.get_by_label("From").fill("20")
    panel.get_by_label("Up to").fill("45,50")
    with page.expect_response("**/v1/recommend"):
        page.keyboard.press("Enter")
    expect(panel).to_be_hidden()
    priced = found(page)
    assert priced
    assert all(2000 <= 1000 + 50 * int(item.removeprefix("item-")) <= 4550 for item in priced)
    expect(head.get_by_role("button", name="€20")).to_have_text("€20.00 – €45.50")

    # a reload, and a link, show the same
    shared = page.url
    page.reload()
    assert found(page) == priced
    page.goto("about:blank")
    page.goto(shared)
    assert found(page) == priced
    expect(head.get_by_role("button", name="Lamps")).to_have_attribute("aria-pressed", "true")

    # nothing left, and out of it again
    page.goto(f"{worded.url}/?user=user-2&q=blue&kind=product&price_max=1")
    empty = page.locator(f"{HERE} .empty")
    expect(empty.locator("h2")).to_have_text("Nothing is left with these filters")
    expect(empty).to_contain_text("things match “blue”; without the filters there may be something to show.")
    with page.expect_response("**/v1/recommend"):
        empty.get_by_role("button", name="Remove the filters").click()
    assert len({category_of(item) for item in found(page)}) > 1
    assert asked_for(page) == {"q": ["blue"]}
    assert look.errors == []


def test_a_filter_is_no_step_of_the_way_back(page: Page, worded: Site) -> None:
    open_page(page, worded)
    search(page, "blue")
    search(page, "woven")
    with page.expect_response("**/v1/recommend"):
        page.locator(f"{HERE} .search-head").get_by_role("button", name="Products only").click()
    assert asked_for(page) == {"q": ["woven"], "kind": ["product"]}
    page.go_back()
    expect(box(page)).to_have_value("blue")
    page.go_forward()
    expect(page.locator(f"{HERE} h1")).to_have_text("Results for “woven”")
    expect(page.locator(f"{HERE}").get_by_role("button", name="Products only")).to_have_attribute("aria-pressed", "true")


def test_without_words_it_is_said_kindly(page: Page, site: Site, look: Look) -> None:
    open_search(page, site, "&q=lamps")
    expect(page.locator(f"{HERE} .search-note")).to_contain_text("Search doesn't work at the moment")
    assert found(page)
    assert look.errors == []


KEPT_BACK = "(All 7 items that would be found may not be shown here: filtered out, hidden, shown before or not to be had.)"
ONE_KEPT_BACK = KEPT_BACK.replace("All 7 items", "The one item")


@pytest.mark.parametrize(
    ("detail", "said"), [(KEPT_BACK, "Each of the 7 things that match is hidden"), (ONE_KEPT_BACK, "The one thing that matches is hidden")]
)
def test_where_no_filter_is_none_is_blamed(page: Page, worded: Site, detail: str, said: str) -> None:
    def answer(route: Route) -> None:
        answered = route.fetch()
        notes = [{"code": "no_match", "text": f"A sentence. {detail}"}]
        route.fulfill(response=answered, json={**answered.json(), "items": [], "next_cursor": None, "notes": notes})

    open_search(page, worded)
    page.route("**/v1/recommend", answer)
    search(page, "blue")
    empty = page.locator(f"{HERE} .empty")
    expect(empty.locator("h2")).to_have_text("Nothing to show for “blue”")
    expect(empty).to_contain_text(f"{said}, was shown before or is not available.")
    expect(empty.get_by_role("button", name="Remove the filters")).to_have_count(0)


def test_a_query_from_an_address_is_cut_as_the_server_takes_it(page: Page, worded: Site) -> None:
    with page.expect_response("**/v1/recommend") as asked:
        open_search(page, worded, f"&q={quote('x' + chr(0x1F9F6) * 600)}")
    assert asked.value.status == 200
    assert asked.value.request.post_data_json["query"] == "x" + "\U0001f9f6" * 511


def test_who_is_somebody_else_gets_no_late_suggestions(page: Page, worded: Site) -> None:
    open_search(page, worded)
    expect(page.locator(CARD).first).to_be_visible()
    begun = page.evaluate("""async () => {
      const { SearchBox } = await import("/page/search.js");
      const form = document.querySelector("#search").cloneNode(true), real = window.fetch, asked = [];
      document.body.append(form);
      window.fetch = (url, options) => { asked.push(options.signal); return new Promise(() => {}); };
      const box = new SearchBox({ form, fields: () => ({}), search: () => {} });
      const later = (ms) => new Promise((done) => setTimeout(done, ms));
      box.typed = "blue";
      box.ask(0);
      await later(20);
      box.forget();
      box.ask(30);
      box.forget();
      await later(60);
      window.fetch = real;
      form.remove();
      return asked.map((signal) => signal.aborted);
    }""")
    assert begun == [True]  # what was asked is dropped, what was about to be is not asked


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({"no_words": "(Nothing has “cosy”.)", "by_meaning": ""}, "Nothing has these words; these were found by what they mean."),
        (
            {"no_words": KEPT_BACK},
            "What has these words is hidden, was shown before or is not available; these were found by what they mean.",
        ),
        ({"no_words_index": ""}, "Words can't be looked for at the moment"),
        ({"by_meaning": ""}, "Some were found by what they mean."),
        ({}, "The best matches first, in an order that fits you."),
    ],
    ids=["no words", "filtered", "no index", "some", "none"],
)
def test_what_was_found_by_its_meaning_is_said(page: Page, worded: Site, notes: dict[str, str], words: str) -> None:
    def answer(route: Route) -> None:
        answered = route.fetch()
        said = [{"code": code, "text": f"A sentence. {detail}"} for code, detail in notes.items()]
        route.fulfill(response=answered, json={**answered.json(), "notes": said})

    open_search(page, worded)
    page.route("**/v1/recommend", answer)
    search(page, "cosy lamps")
    expect(page.locator(f"{HERE} .search-note")).to_contain_text(words)
    assert page.locator(f"{HERE} .search-note").bounding_box()["height"] < 30


def test_only_a_reason_that_tells_something_is_shown(page: Page, worded: Site) -> None:
    def answer(route: Route, words: int) -> None:
        answered = route.fetch()
        page_of = answered.json()
        for slot in page_of["items"][words:]:
            slot.update(source=["searchsage"], reason="Matches the meaning of your search")
        route.fulfill(response=answered, json=page_of)

    open_search(page, worded)
    page.route("**/v1/recommend", lambda route: answer(route, 2))
    search(page, "lamps")
    expect(page.locator(f"{FOUND} .because").first).to_have_text("Matches the meaning of your search")
    assert [page.locator(FOUND).nth(n).locator(".because").count() for n in range(4)] == [0, 0, 1, 1]
    page.unroute("**/v1/recommend")
    page.route("**/v1/recommend", lambda route: answer(route, 0))
    search(page, "rugs")
    assert found(page)
    expect(page.locator(f"{FOUND} .because")).to_have_count(0)  # the same of all


def test_one_can_search_where_nothing_is_suggested(page: Page, worded: Site) -> None:
    open_search(page, worded)
    page.route("**/v1/suggest?**", lambda route: route.abort())
    search(page, "lamps")
    assert {category_of(item) for item in found(page)} == {"lamps"}


def test_a_narrow_screen_has_room_for_it(page: Page, worded: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_search(page, worded)
    box(page).click()
    expect(page.get_by_role("option").first).to_be_visible()
    for part in ("#search", ".search-panel", "#theme-button", "#who-button"):
        where = page.locator(part).bounding_box()
        assert where["x"] >= 0, part
        assert where["x"] + where["width"] <= 390, part
    page.get_by_role("option").first.click()
    assert found(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(f"{HERE} .search-head").get_by_role("button", name="Price").click()
    panel = page.get_by_role("dialog", name="Price").bounding_box()
    assert panel["x"] >= 0
    assert panel["x"] + panel["width"] <= 390
