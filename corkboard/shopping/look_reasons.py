"""Why a product goes with a look, in words: which colours, patterns and styles agree.

Said is only what was measured with confidence: a colour that covers a good part of both, a pattern or a style that the heads are sure of
on both sides. Where nothing of that holds there is no reason, and the caller says something that is true anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

from corkboard.shopping.complete_config import CompleteTheLookConfig
from corkboard.vision.appearance import HUES, NEUTRALS, Appearance

PLAIN = "plain"
"""The value of ``pattern`` that goes with all others."""
_MOST = 2
"""Agreements that one reason names."""
_HUES = [name for name, _ in HUES]


def reason_of(product: Appearance, look: Sequence[Appearance], names: Sequence[str], config: CompleteTheLookConfig) -> str:
    """Why ``product`` goes with ``look``, whose parts are called ``names``; "" where nothing could be told for sure."""
    parts = list(zip(look, names, strict=False))
    said = [_colour(product, parts, config), _pattern(product, parts, config), _style(product, parts, config)]
    text = "; ".join([part for part in said if part][:_MOST])
    return text[:1].upper() + text[1:]


def _colour(product: Appearance, parts: Sequence[tuple[Appearance, str]], config: CompleteTheLookConfig) -> str:
    """The same colour, a hue before a neutral; else the opposite hue."""
    mine = _colours(product, config)
    for name in sorted(mine, key=lambda name: name in NEUTRALS):
        for other, called in parts:
            if name in _colours(other, config):
                return f"{name}, as the {called}"
    for name in mine:
        for other, called in parts:
            for beside in _colours(other, config):
                if name in _HUES and beside in _HUES and (_HUES.index(name) - _HUES.index(beside)) % len(_HUES) == len(_HUES) // 2:
                    return f"{name}, the opposite of the {beside} {called}"
    return ""


def _pattern(product: Appearance, parts: Sequence[tuple[Appearance, str]], config: CompleteTheLookConfig) -> str:
    mine = _sure(product, "pattern", config)
    known = [(pattern, called) for other, called in parts if (pattern := _sure(other, "pattern", config))]
    for pattern, called in known if mine else []:
        if mine != PLAIN and pattern == mine:
            return f"{mine}, as the {called}"
    for pattern, called in known if mine else []:
        if (mine == PLAIN) != (pattern == PLAIN):
            return f"{mine} beside the {pattern} {called}"
    return ""


def _style(product: Appearance, parts: Sequence[tuple[Appearance, str]], config: CompleteTheLookConfig) -> str:
    mine = _sure(product, "style", config)
    for other, called in parts if mine else []:
        if _sure(other, "style", config) == mine:
            return f"{mine}, as the {called}"
    return ""


def _colours(appearance: Appearance, config: CompleteTheLookConfig) -> list[str]:
    return [colour.name for colour in appearance.colours if colour.share >= config.least_share]


def _sure(appearance: Appearance, name: str, config: CompleteTheLookConfig) -> str:
    """The value of a head that is sure of it, else ""."""
    guess = appearance.guesses.get(name)
    return guess.value if guess is not None and guess.confidence >= config.least_sure else ""
