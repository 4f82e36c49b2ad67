"""The page of judges as a file in a real browser: by mouse and by keys, undone, stopped and gone on, downloaded, and by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Page, expect

from corkboard.shopping.judging_page import ShownQuestion, judging_page
from tests.browser.conftest import Look

HOSTILE = "</script><img src=x onerror=alert(1)>"
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A page of four questions over three pictures."""
    images = [np.full((40, 60, 3), colour, np.uint8) for colour in COLOURS]
    questions = [ShownQuestion(f"q{n}", n % 3, (n + 1) % 3, HOSTILE if n == 1 else f"Hat {n}") for n in range(4)]
    (tmp_path / "judge.html").write_text(judging_page(questions, images))
    return (tmp_path / "judge.html").as_uri()


def begin(page: Page, file: str, name: str = "ann") -> None:
    page.goto(file)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Start").click()


def at(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", name=text)).to_be_visible()


def votes_of(page: Page, button: str) -> pl.DataFrame:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    assert re.fullmatch(r"votes-[A-Za-z0-9_-]+-[0-9a-f]+\.csv", waiting.value.suggested_filename)
    return pl.read_csv(waiting.value.path(), schema_overrides={"judge_id": pl.String})


def test_by_keys_from_the_first_to_the_last(page: Page, file: str, look: Look) -> None:
    page.goto(file)
    page.keyboard.press("3")  # before a judge has a name nothing is a vote
    page.keyboard.press("Tab")
    page.keyboard.type("ann 30")
    page.keyboard.press("Enter")
    at(page, "Question 1 of 4")
    for key in "0123":
        page.keyboard.press(key)
    at(page, "That was the last one")
    found = votes_of(page, "Download votes")
    assert found.rows() == [("q0", "ann 30", 0), ("q1", "ann 30", 1), ("q2", "ann 30", 2), ("q3", "ann 30", 3)]
    assert look.errors == []
    assert [address for address in look.asked if not address.startswith(("file:", "data:", "blob:"))] == []


def test_by_buttons_with_undo_and_no_answer(page: Page, file: str) -> None:
    begin(page, file)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.get_by_role("button", name="3 Extremely similar").click()
    page.get_by_role("button", name="0 Not similar").click()
    at(page, "Question 3 of 4")
    page.get_by_role("button", name="Undo").click()
    at(page, "Question 2 of 4")
    page.get_by_role("button", name="Cannot tell").click()
    page.keyboard.press("2")
    assert votes_of(page, "Download votes so far").rows() == [("q0", "ann", 3), ("q2", "ann", 2)]
    page.keyboard.press("1")
    at(page, "That was the last one")
    page.keyboard.press("Backspace")
    at(page, "Question 4 of 4")
    expect(page.get_by_role("heading", name="Question 4 of 4")).to_be_focused()
    page.keyboard.press("Control+1")  # a key of the browser's own
    at(page, "Question 4 of 4")


def test_it_goes_on_where_each_judge_stopped(page: Page, file: str) -> None:
    begin(page, file, "ann")
    for key in "32":
        page.keyboard.press(key)
    page.reload()
    expect(page.get_by_label("Your name")).to_have_value("ann")
    page.get_by_role("button", name="Start").click()
    at(page, "Question 3 of 4")
    begin(page, file, 'bob, "the second"')
    at(page, "Question 1 of 4")
    page.keyboard.press("1")
    assert votes_of(page, "Download votes so far").rows() == [("q0", 'bob, "the second"', 1)]
    page.evaluate("localStorage.setItem(Object.keys(localStorage).find((key) => key.endsWith('/ann')), '[7, \"x\"]')")
    begin(page, file, "ann")  # what is no list of votes is none
    at(page, "Question 1 of 4")


def test_what_one_hears_and_sees(page: Page, file: str, look: Look) -> None:
    begin(page, file)
    expect(page.get_by_role("heading", name="Question 1 of 4")).to_be_focused()
    expect(page.get_by_role("img", name="Part of a picture")).to_be_visible()
    expect(page.get_by_role("group", name="How alike they look").get_by_role("button")).to_have_count(4)
    bar = page.get_by_role("progressbar")
    assert bar.evaluate("bar => [bar.value, bar.max]") == [0, 4]
    page.keyboard.press("1")
    assert bar.evaluate("bar => [bar.value, bar.max]") == [1, 4]
    expect(page.get_by_role("status")).to_have_text(f"Question 2 of 4. Product: {HOSTILE}")
    expect(page.get_by_role("img", name=f"Product: {HOSTILE}")).to_be_visible()
    assert page.locator("img").count() == 2  # none came out of a title
    width = page.locator("#product").evaluate("async (img) => { await img.decode(); return img.naturalWidth; }")
    assert width == 60
    assert look.errors == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_browser_that_keeps_nothing_says_so(page: Page, file: str) -> None:
    page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    begin(page, file)
    expect(page.get_by_role("alert")).to_contain_text("download them before you close")
    page.keyboard.press("3")
    assert votes_of(page, "Download votes so far").rows() == [("q0", "ann", 3)]
