"""How settings work: closed sections, nearest-name errors, and four sources of rising strength.

Strength: ``--set path=value`` over environment (``CORKBOARD__SERVING__PORT``) over ``corkboard.toml`` over defaults.
The tree itself is put together in :mod:`corkboard.settings`; each room adds a section from its own light ``config.py``.
"""

from __future__ import annotations

import copy
import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from corkboard.errors import ConfigError, NotFound

ENVIRONMENT_PREFIX = "CORKBOARD__"


class Section(BaseModel):
    """A frozen, closed group of settings. Every field has a default that works and a string below it that explains it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


Tree = TypeVar("Tree", bound=Section)


def load(
    tree: type[Tree],
    file: Path | None = None,
    overrides: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Tree:
    """Build ``tree`` from its defaults, ``base`` laid over them, ``file`` (TOML), the environment and ``overrides`` ("path.to.key=value").

    A value that is set changes itself alone: a section that one room fills with defaults of its own keeps the others of them.
    Raises :class:`ConfigError` for an unknown key, naming the nearest known one, and for a value of the wrong kind.
    """
    values: dict[str, Any] = tree().model_dump()
    _merge(values, copy.deepcopy(dict(base or {})))
    if file is not None:
        _merge(values, _read_toml(file))
    for path, value in _from_environment(os.environ if environ is None else environ):
        _put(values, path, value)
    for override in overrides:
        path, separator, value = override.partition("=")
        if not separator:
            raise ConfigError("A setting on the command line needs a value", found=override, expected="path.to.key=value")
        _put(values, path.strip().split("."), value.strip())
    try:
        return tree.model_validate(values)
    except ValidationError as error:
        raise _explain(tree, error) from None


def fields(tree: type[Section], prefix: str = "", defaults: Section | None = None) -> Iterator[tuple[str, Any, str]]:
    """(path, default, explanation) of every leaf of the tree, in order; the reference page is made from it."""
    defaults = defaults or tree()
    for name, field in tree.model_fields.items():
        value = getattr(defaults, name)
        if isinstance(value, Section):
            yield from fields(type(value), f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value, field.description or ""


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound("There is no settings file", found=str(file), expected="a TOML file") from None
    except UnicodeDecodeError as error:
        line, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        raise ConfigError(f"Line {line} of {file} is not UTF-8", found=f"byte 0x{byte:02x}", expected="TOML, which is UTF-8") from None
    except ValueError as error:  # not TOML, or a number of thousands of digits
        raise ConfigError(f"{file} is not valid TOML: {error}") from None


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
    for name, value in sorted(environ.items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            yield name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), value


def _parse(text: str) -> Any:
    """A value as TOML would read it; anything that is not TOML is a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(values: dict[str, Any], path: list[str], text: str) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError("A setting is used both as a section and as a value", found=".".join(path))
    values[path[-1]] = _parse(text)


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def _explain(tree: type[Section], error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    path = ".".join(map(str, first["loc"]))
    if first["type"] != "extra_forbidden":
        return ConfigError(f"The setting {path} has a wrong value: {first['msg']}", found=first["input"])
    known = [name for name, _, _ in fields(tree)]
    known += sorted({name.rpartition(".")[0] for name in known if "." in name})
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.4)
    return ConfigError(f"There is no setting {path}", hint=f"Did you mean {near[0]}?" if near else "`corkboard config` lists all of them.")
