"""The one normalisation of text that people search with, and the words that search matches; the same offline and online.

What an encoder reads is :func:`normalised`: it keeps accents, because the towers learned their tokens with them, and because in
many languages they tell words apart. What is *matched* letter by letter are :func:`folded_words`: there accents of Latin and
Greek letters are dropped on both sides, because people leave them out when they type. Marks of other scripts stay: without
its vowel signs a Hindi word is another word.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

from corkboard.learning.text import split_words

MAX_QUERY_CHARS = 512
"""A query is cut here, at the last space before it where there is one. Encoders and indexes read fewer words than that holds."""
MAX_WORD_CHARS = 64
"""A longer run of letters is matched by its beginning."""

_ROUNDS = 4
"""Text that was escaped twice ("&amp;amp;") needs two rounds; a last one sees that nothing changes any more."""
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
"""Only with its semicolon: browsers also take "&notebook" for "¬ebook", which no one who searches means."""
_SPACES = re.compile(r"[\s\u200b]+")
"""A zero-width space stands between words of scripts that show none."""
_CONTROLS = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u08e2\u180e\u200c-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Characters that nobody sees and that are no spaces: controls, joiners, marks of direction, halves of surrogate pairs."""
_ACCENTS = re.compile(r"([A-Za-z\u00c0-\u024f\u0370-\u03ff])[\u0300-\u036f]+")


def normalised(text: str | None, max_chars: int | None = MAX_QUERY_CHARS) -> str:
    """``text`` as people mean it: HTML entities undone, NFKC, case folded, invisible characters dropped, spaces collapsed.

    At most ``max_chars`` characters of it (None: all). None is the empty text. What comes out is not changed by a second call.
    Nothing is refused: a text that is too long is cut, and the lake refuses queries above 2 kB before they come here.
    """
    text = text or ""
    if max_chars is not None:
        text = text[: 4 * max_chars]  # entities shrink, so more is read than is kept; the bound holds whatever is sent
    for _ in range(_ROUNDS):
        before, text = text, _normalised_once(text)
        if text == before:
            break
    if max_chars is None or len(text) <= max_chars:
        return text
    end = text.rfind(" ", 0, max_chars + 1)
    return text[: end if end > 0 else max_chars]


def folded_words(text: str | None, max_chars: int | None = MAX_QUERY_CHARS) -> list[str]:
    """The words of ``text`` in their order, as search matches them: split as the towers do, without accents."""
    return [fold(word) for word in split_words(normalised(text, max_chars))]


@lru_cache(maxsize=1 << 18)
def fold(word: str) -> str:
    """A word without the accents of Latin and Greek letters, at most :data:`MAX_WORD_CHARS` long."""
    word = word[:MAX_WORD_CHARS]
    if word.isascii():
        return word
    bare = _ACCENTS.sub(r"\1", unicodedata.normalize("NFD", word))
    return unicodedata.normalize("NFC", bare)[:MAX_WORD_CHARS]


def _normalised_once(text: str) -> str:
    text = _SPACES.sub(" ", _CONTROLS.sub("", text))
    if text.isascii() and "&" not in text:  # most text: nothing else is left to do
        return text.lower().strip()
    text = _ENTITY.sub(lambda found: html.unescape(found[0]), unicodedata.normalize("NFKC", text))
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _SPACES.sub(" ", _CONTROLS.sub("", text)).strip()  # entities and NFKC bring spaces and controls
