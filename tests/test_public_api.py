import inspect

import pytest

import corkboard as cb
from corkboard.errors import NotFound


@pytest.mark.parametrize("name", [name for name in cb.__all__ if name != "__version__"])
def test_every_public_name_loads_and_says_what_it_is(name):
    assert inspect.getdoc(getattr(cb, name))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cb.nothing  # noqa: B018


def test_the_three_lines_of_the_readme(built):
    workspace = cb.open(built.folder, overrides=["scale=tiny"])
    user = workspace.lake().actions()["user_id"][0]
    frame = workspace.recommend(user, k=5).to_polars()
    assert frame.columns == ["item_id", "score", "sources", "reason"]
    assert frame.height == 5
    item = frame["item_id"][0]
    for somebody in (user, None):
        related = workspace.related(item, somebody, k=5)
        assert len(related) == 5
        assert item not in related.item_ids
    assert workspace.vectors("content").vectors.shape == (300, 64)
    whole, small = workspace.vectors("multibisage"), workspace.vectors("multibisage_small")
    assert (whole.vectors.shape, small.vectors.shape) == ((300, 64), (300, 32))
    assert small.ids == whole.ids
    assert small.space.name == "multibisage_small"
    with pytest.raises(NotFound, match="no such vectors"):
        workspace.vectors("nothing")
