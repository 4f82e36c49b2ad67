"""The page of judges as a file: what is in it, what is not, and that no text of strangers gets out of its place."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from corkboard.shopping.judging import GRADES
from corkboard.shopping.judging_page import SIDE, ShownQuestion, judging_page

HOSTILE = "</script><!--<img src=x onerror=alert(1)>&\"'\u2028"


def asked(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="asked">(.*?)</script>', page, re.DOTALL)[1])


def picture(uri: str) -> np.ndarray:
    kind, data = uri.split(",", 1)
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_questions_and_pictures_are_in_it_in_order() -> None:
    images = [np.full((10, 20, 3), colour, np.uint8) for colour in (30, 200)]
    found = asked(judging_page([ShownQuestion("q2", 0, 1, "A hat"), ShownQuestion("q1", 1, 1)], images))
    assert found["questions"] == [["q2", 0, 1, "A hat"], ["q1", 1, 1, ""]]
    assert [round(float(picture(uri).mean())) for uri in found["images"]] == pytest.approx([30, 200], abs=2)
    assert tuple(found["grades"]) == GRADES


def test_large_pictures_are_made_smaller_and_keep_their_form() -> None:
    found = asked(judging_page([ShownQuestion("q", 0, 1)], [np.zeros((2 * SIDE, SIDE, 3), np.uint8), np.zeros((5, 7, 3), np.uint8)]))
    assert [picture(uri).shape for uri in found["images"]] == [(SIDE, SIDE // 2, 3), (5, 7, 3)]


def test_what_strangers_wrote_stays_text() -> None:
    question = ShownQuestion(HOSTILE, 0, 0, HOSTILE)
    page = judging_page([question], [np.zeros((4, 4, 3), np.uint8)])
    assert asked(page)["questions"][0] == [HOSTILE, 0, 0, HOSTILE]
    assert "<img src=x" not in page
    assert page.count("</script>") == 2
    assert page.count("<!--") == 0
    assert "innerHTML" not in page


def test_nothing_is_fetched() -> None:
    page = judging_page([ShownQuestion("q", 0, 0)], [np.zeros((4, 4, 3), np.uint8)])
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|url\(|@import|<link", page)


def test_other_questions_are_another_set() -> None:
    image = [np.zeros((4, 4, 3), np.uint8)]
    names = {asked(judging_page([ShownQuestion(name, 0, 0)], image))["id"] for name in ("a", "b")}
    assert len(names) == 2
    assert asked(judging_page([ShownQuestion("a", 0, 0)], image))["id"] in names
