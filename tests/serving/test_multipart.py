"""Forms with files: what clients send is read to the byte, and nothing else is."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.serving.multipart import MAX_PARTS, media_type, read_form
from corkboard.serving.problems import Problem

TYPE = "multipart/form-data; boundary=B"
GOOD = b'--B\r\nContent-Disposition: form-data; name="k"\r\n\r\n12\r\n--B--\r\n'


def refusal(body: bytes, content_type: str = TYPE) -> Problem:
    with pytest.raises(Problem) as caught:
        read_form(content_type, body)
    return caught.value


def test_fields_and_files_are_told_apart() -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="k"\r\n\r\n12\r\n'
        b'--B\r\nContent-Disposition: form-data; name="image"; filename="a \\"b\\".png"\r\nContent-Type: image/png\r\n\r\n'
        b"\x89\r\n--\x00\r\n--B--\r\n"
    )
    parts = read_form(TYPE, body)
    assert (parts["k"].text(), parts["k"].filename) == ("12", None)
    assert (bytes(parts["image"].data), parts["image"].filename) == (b"\x89\r\n--\x00", 'a "b".png')


def test_an_empty_field_and_a_form_without_a_last_line_end() -> None:
    assert read_form(TYPE, GOOD[:-2])["k"].text() == "12"
    assert read_form(TYPE, b'--B\r\nContent-Disposition: form-data; name="k"\r\n\r\n\r\n--B--')["k"].text() == ""
    assert read_form(TYPE, b"--B--\r\n") == {}


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20).filter(lambda name: '"' not in name)


@given(
    st.dictionaries(names, st.text(st.characters(codec="utf-8"), max_size=30), max_size=4),
    st.binary(max_size=200) | st.just(b"\r\n--B\r\n\r\n--B--"),
)
def test_what_a_client_writes_is_read_to_the_byte(fields: dict[str, str], file: bytes) -> None:
    fields.pop("image", None)
    request = httpx.Request("POST", "http://x", data=fields, files={"image": ("x.png", file, "image/png")})
    parts = read_form(request.headers["content-type"], request.read())
    assert bytes(parts.pop("image").data) == file
    written = {name: part.text() for name, part in parts.items()}
    assert written == {name.replace("\\", ""): value for name, value in fields.items()} or written == fields


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([b"--B", b"\r\n", b"--", b'Content-Disposition: form-data; name="a"', b"x"]), max_size=12).map(b"".join)
)
@settings(max_examples=300)
def test_whatever_comes_is_a_form_or_refused(body: bytes) -> None:
    with suppress(Problem):  # and no other error
        assert all(read_form(TYPE, body))


@given(st.integers(0, len(GOOD) - 5))
def test_a_form_that_ends_early_is_refused(length: int) -> None:
    refusal(GOOD[:length])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "begin with the boundary"),
        (b"before\r\n" + GOOD, "begin with the boundary"),
        (GOOD + b"after", "follows a boundary"),
        (GOOD.replace(b"--B--", b"--B"), "ends within"),
        (GOOD.replace(b"--B--", b"--B-"), "follows a boundary"),
        (GOOD.replace(b"--B--", b"--Bx"), "follows a boundary"),
        (GOOD.replace(b"\r\n\r\n12", b"12"), "no headers"),
        (GOOD.replace(b"form-data", b"attachment"), "which field"),
        (GOOD.replace(b'name="k"', b'name=""'), "which field"),
        (GOOD.replace(b'name="k"', b'name="k'), "parameters"),
        (GOOD.replace(b'name="k"', b'name="k"; name="l"'), "parameters"),
        (GOOD.replace(b"12", b"12\r\n" + GOOD[:-9]), "twice"),
        (GOOD.replace(b"\r\n\r\n12", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n12"), "encoded"),
        (GOOD.replace(b"\r\n\r\n12", b"\r\nno colon\r\n\r\n12"), "header"),
        (GOOD.replace(b"\r\n\r\n12", b"\r\nX: " + b"x" * 5000 + b"\r\n\r\n12"), "too long"),
    ],
)
def test_what_is_not_a_form_to_the_letter_is_refused(body: bytes, says: str) -> None:
    problem = refusal(body)
    assert (problem.status, problem.code) == (400, "bad_form")
    assert says in problem.message


@pytest.mark.parametrize(
    "given",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="B ',
        f"{TYPE}{'x' * 70}",
        "multipart/form-data; boundary=ä",
    ],
)
def test_a_form_without_a_boundary_is_refused(given: str) -> None:
    assert refusal(GOOD, given).code == "bad_form"


def test_a_quoted_boundary_is_read() -> None:
    assert read_form('Multipart/Form-Data; charset=utf-8; boundary="B"', GOOD)["k"].text() == "12"


def test_too_many_parts_are_refused() -> None:
    part = '--B\r\nContent-Disposition: form-data; name="f{}"\r\n\r\n\r\n'
    assert len(read_form(TYPE, ("".join(map(part.format, range(MAX_PARTS))) + "--B--").encode())) == MAX_PARTS
    assert "more than" in refusal(("".join(map(part.format, range(MAX_PARTS + 1))) + "--B--").encode()).message


def test_a_field_that_is_not_text_says_so() -> None:
    with pytest.raises(Problem) as caught:
        read_form(TYPE, GOOD.replace(b"12", b"\xff\xfe"))["k"].text()
    assert "not UTF-8" in caught.value.message


def test_media_types_are_read_without_their_parameters() -> None:
    assert media_type(" Multipart/Form-Data ; boundary=x") == "multipart/form-data"
    assert media_type("") == ""
