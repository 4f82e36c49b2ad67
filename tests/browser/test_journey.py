"""A person's way through the page, in a real browser against a real server."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Look, Site
from tests.serving.builders import CATEGORIES, LABELS, release_ids

CARD = "#feed .card[data-item]"


def cards(page: Page) -> list[str]:
    """Item ids in the order of the feed, without cards that are on their way out."""
    return page.locator(f"{CARD}:not(.leaving)").evaluate_all("cards => cards.map(card => card.dataset.item)")


def open_page(page: Page, site: Site, user: str | None = "user-2") -> None:
    page.goto(f"{site.url}/?user={user}" if user else site.url)
    expect(page.locator(CARD).first).to_be_visible()
    expect(page.locator("#feed")).to_have_attribute("aria-busy", "false")


def category_of(item_id: str) -> str:
    return CATEGORIES[int(item_id.removeprefix("item-")) % len(CATEGORIES)]


def test_the_whole_way(page: Page, site: Site, look: Look) -> None:
    open_page(page, site, user=None)
    expect(page.locator("#live-label")).to_have_text(LABELS[0])
    expect(page.locator("#hint")).to_contain_text("You are new here")
    assert len(cards(page)) >= 25

    # a save is shown at once, known at once, and the feed below it changes
    page.get_by_role("button", name="What is known").click()
    expect(page.locator("#drawer")).to_contain_text("Nothing yet")
    wanted = page.locator(CARD).nth(3)
    item = wanted.get_attribute("data-item")
    before = cards(page)
    wanted.hover()
    wanted.locator(".save-button").click()
    expect(wanted.locator(".save-button")).to_have_text("Saved")
    expect(page.locator(f'#drawer li[data-action="save"][data-item="{item}"]')).to_be_visible()
    expect(wanted.locator(".flow-hint")).to_have_text("Updated after your save")
    after = cards(page)
    place = after.index(item)
    assert after[: place + 1] == before[: before.index(item) + 1]  # what was above stays
    assert after[place + 1 :] != before[before.index(item) + 1 :]
    share = [sum(category_of(one) == category_of(item) for one in ids[place + 1 : place + 21]) for ids in (before, after)]
    assert share[1] > share[0]

    # a hidden card goes, and comes back when that is undone
    hidden = page.locator(CARD).nth(1)
    hidden_id = hidden.get_attribute("data-item")
    hidden.locator(".hide-button").click()
    expect(page.locator(f'#drawer li[data-action="hide"][data-item="{hidden_id}"]')).to_be_visible()
    assert hidden_id not in cards(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f'{CARD}[data-item="{hidden_id}"]')).to_be_visible()
    expect(page.locator(f'#drawer li[data-action="hide"][data-item="{hidden_id}"]')).to_have_count(0)

    # scrolling brings more, and nothing twice
    for _ in range(6):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(150)
    expect(page.locator("#feed")).to_have_attribute("aria-busy", "false")
    everything = cards(page)
    assert len(everything) > len(before)
    assert len(everything) == len(set(everything))

    assert look.errors == []
    assert all(address.startswith(site.url) for address in look.asked)


def test_why_an_item_is_here(page: Page, site: Site) -> None:
    assert page.request.post(f"{site.url}/v1/releases/{release_ids(site.workspace)[2]}:promote").ok  # answers when it serves
    open_page(page, site)
    expect(page.locator("#live-label")).to_have_text(LABELS[2])
    card = page.locator(CARD).nth(2)
    card.locator(".why-button").click()
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", name="Why this is here")).to_be_visible()
    expect(drawer.locator(".reason")).not_to_be_empty()
    expect(drawer.locator(".chip").first).to_be_visible()
    expect(drawer.locator(".steps li")).to_have_count(3)
    expect(drawer.locator(".steps li").last).to_contain_text("3")
    expect(drawer.locator(".bars .number")).to_have_count(3)
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(card.locator(".why-button")).to_be_focused()


def test_a_new_release_is_announced(page: Page, site: Site) -> None:
    open_page(page, site)
    site.workspace.releases.promote(release_ids(site.workspace)[1])
    expect(page.locator(".toast")).to_contain_text(f"Now live: {LABELS[1]}")
    expect(page.locator("#live-label")).to_have_text(LABELS[1])
    expect(page.locator("#announce")).to_contain_text(f"It was {LABELS[0]}")
    with page.expect_response("**/v1/recommend") as answered:
        page.get_by_role("button", name="Show my new feed").click()
    assert answered.value.json()["release"] == release_ids(site.workspace)[1]


def test_everything_works_by_keyboard(page: Page, site: Site) -> None:
    open_page(page, site)
    card = page.locator(CARD).first
    item = card.get_attribute("data-item")
    card.locator(".tile").focus()
    page.keyboard.press("s")
    expect(card.locator(".save-button")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("f")
    expect(card.locator(".follow-button")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Enter")
    expect(page.locator(f'.item-page[data-item="{item}"] h1')).to_be_focused()
    page.keyboard.press("Escape")
    expect(card.locator(".tile")).to_be_focused()
    page.keyboard.press("h")
    expect(page.locator(f'{CARD}[data-item="{item}"]:not(.leaving)')).to_have_count(0)
    nameless = page.locator("button:visible").evaluate_all(
        "all => all.filter(b => !(b.getAttribute('aria-label') || b.textContent.trim())).length"
    )
    assert nameless == 0


def test_one_can_be_somebody_else(page: Page, site: Site) -> None:
    open_page(page, site, user=None)
    page.locator("#who-button").click()
    page.get_by_role("button", name="user-7 45 actions so far").click()
    expect(page.locator("#who-name")).to_have_text("user-7")
    expect(page.locator("#hint")).to_be_hidden()
    page.locator("#who-button").click()
    page.get_by_label("Any user id").fill("somebody-new")
    page.keyboard.press("Enter")
    expect(page.locator("#who-name")).to_have_text("somebody-new")
    expect(page.locator("#hint")).to_contain_text("Nobody of this name is known yet")


def test_trouble_is_told_kindly_and_nothing_is_pretended(page: Page, site: Site) -> None:
    open_page(page, site)
    page.route("**/v1/events", lambda route: route.abort())
    card = page.locator(CARD).nth(2)
    card.hover()
    card.locator(".save-button").click()
    expect(page.locator(".toast.bad")).to_contain_text("can't be reached")
    expect(card.locator(".save-button")).to_have_attribute("aria-pressed", "false")
    card.locator(".hide-button").click()
    expect(card).to_be_visible()
    page.unroute("**/v1/events")
    card.locator(".save-button").click()
    expect(card.locator(".save-button")).to_have_attribute("aria-pressed", "true")


def test_the_feed_waits_for_the_first_release(page: Page, site: Site) -> None:
    (site.workspace.folder / "releases" / "current").unlink()
    page.route("**/healthz", lambda route: route.fulfill(json={"status": "ok", "release": None, "store": "up", "troubles": []}))
    empty = {
        "request_id": None,
        "release": None,
        "release_label": None,
        "items": [],
        "next_cursor": None,
        "notes": [{"code": "no_release", "text": ""}],
    }
    page.route("**/v1/recommend", lambda route: route.fulfill(json=empty))
    page.goto(site.url)
    expect(page.locator("#empty")).to_contain_text("on its way")
    page.unroute("**/v1/recommend")
    page.unroute("**/healthz")
    expect(page.locator(CARD).first).to_be_visible()


@pytest.mark.parametrize("site", [['serving.api_keys=["open sesame"]']], indirect=True)
def test_a_server_with_keys_asks_for_one(page: Page, site: Site) -> None:
    page.goto(site.url)
    expect(page.locator("#empty")).to_contain_text("wants an API key")
    page.get_by_label("API key").fill("open sesame")
    page.get_by_role("button", name="Enter").click()
    expect(page.locator(CARD).first).to_be_visible()


def test_the_end_of_the_catalogue_is_said(page: Page, site: Site) -> None:
    open_page(page, site)
    for _ in range(30):
        page.mouse.wheel(0, 6000)
        page.wait_for_timeout(60)
        if page.locator("#end").is_visible():
            break
    expect(page.locator("#end")).to_be_visible()
    everything = cards(page)
    assert len(everything) == len(set(everything)) > 75


def test_light_and_dark_are_kept(page: Page, site: Site) -> None:
    page.emulate_media(color_scheme="dark")
    open_page(page, site)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("#theme-button").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
