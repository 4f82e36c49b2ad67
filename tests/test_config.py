import pytest

from corkboard.config import Section, fields, load
from corkboard.errors import ConfigError, NotFound


class Inner(Section):
    port: int = 8000
    """The port, 1 to 65535."""


class Tree(Section):
    serving: Inner = Inner()
    name: str = "demo"
    """A name."""


def test_later_sources_win(tmp_path):
    file = tmp_path / "corkboard.toml"
    file.write_text("name = 'file'\n[serving]\nport = 1\n")
    assert load(Tree, environ={}).serving.port == 8000
    assert load(Tree, file, environ={}).serving.port == 1
    assert load(Tree, file, environ={"CORKBOARD__SERVING__PORT": "2"}).serving.port == 2
    assert load(Tree, file, ["serving.port=3"], environ={"CORKBOARD__SERVING__PORT": "2"}).serving.port == 3
    assert load(Tree, file, environ={}).name == "file"


def test_an_unknown_key_names_the_nearest_known_one():
    with pytest.raises(ConfigError, match=r"no setting serving\.prot.*Did you mean serving\.port"):
        load(Tree, overrides=["serving.prot=3"], environ={})


def test_a_wrong_value_says_which_and_what_was_found():
    with pytest.raises(ConfigError, match=r"serving\.port.*'many'"):
        load(Tree, overrides=["serving.port=many"], environ={})


def test_a_setting_without_a_value_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="path.to.key=value"):
        load(Tree, overrides=["serving.port"], environ={})
    with pytest.raises(NotFound, match="no settings file"):
        load(Tree, tmp_path / "none.toml", environ={})
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(Tree, tmp_path / "bad.toml", environ={})


def test_a_file_in_another_encoding_says_where_and_what_was_found(tmp_path):
    file = tmp_path / "latin.toml"
    file.write_bytes("name = 'demo'\n# für alle\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"Line 2 of .*latin\.toml is not UTF-8, found 'byte 0xfc', expected TOML"):
        load(Tree, file, environ={})
    file.write_text("[serving]\nport = " + "9" * 5000)
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(Tree, file, environ={})


def test_a_value_cannot_be_used_as_a_section():
    with pytest.raises(ConfigError, match="both as a section and as a value"):
        load(Tree, overrides=["name=a", "name.b=1"], environ={})


def test_fields_lists_leaves_with_their_explanation():
    assert list(fields(Tree)) == [("serving.port", 8000, "The port, 1 to 65535."), ("name", "demo", "A name.")]


class Steps(Section):
    """A section."""

    steps: int = 150
    """Steps."""
    rate: float = 6.0
    """Rate."""


class Room(Section):
    """A room that fills a section with defaults of its own."""

    inner: Steps = Steps(rate=3.0)
    """The section."""


def test_setting_one_value_leaves_the_defaults_of_its_neighbours():
    assert load(Room, overrides=["inner.steps=7"]).inner == Steps(steps=7, rate=3.0)
    assert load(Room, base={"inner": {"steps": 8}}).inner == Steps(steps=8, rate=3.0)
    assert [(path, default) for path, default, _ in fields(Room)] == [("inner.steps", 150), ("inner.rate", 3.0)]
