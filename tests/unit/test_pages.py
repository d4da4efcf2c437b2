"""Contents in pages of their own: what they are, and that they go."""

from __future__ import annotations

import gc

import pytest

from lightfast.cache import pages
from lightfast.cache.pages import WORTHWHILE, in_own_pages


@pytest.fixture(autouse=True)
def held() -> int:
    gc.collect()
    return pages._Pages.count


def test_small_contents_stay_where_they_are():
    content = bytes(WORTHWHILE - 1)
    assert in_own_pages(content) is content


@pytest.mark.parametrize("size", [WORTHWHILE, 100_001, 5_000_000])
def test_a_large_content_is_the_same_and_nobody_can_change_it(size):
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    view = in_own_pages(content)
    assert isinstance(view, memoryview)
    assert view == content
    with pytest.raises(TypeError):
        view[0] = 1


def test_pages_go_with_the_last_view(held):
    view = in_own_pages(bytes(100_000))
    part = view[10:20]
    assert pages._Pages.count == held + 1
    del view
    assert pages._Pages.count == held + 1
    del part
    assert pages._Pages.count == held


def test_there_is_a_bound_to_their_number(held, monkeypatch):
    monkeypatch.setattr(pages, "MOST", held + 2)
    views = [in_own_pages(bytes(WORTHWHILE)) for _ in range(4)]
    assert [type(view) for view in views] == [memoryview, memoryview, bytes, bytes]
