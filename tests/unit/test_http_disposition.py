from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.http.disposition import SPELLINGS, content_disposition
from lightfast.model import ID_PATTERN
from lightfast.sniff import EXTENSIONS


def test_inline_and_attachment() -> None:
    assert content_disposition("hero_abc123", "image/png", download=False) == 'inline; filename="hero_abc123.png"'
    assert content_disposition("hero_abc123", "image/png", download=True) == 'attachment; filename="hero_abc123.png"'


@pytest.mark.parametrize(
    ("id", "media_type", "name"),
    [
        ("hero", "image/png", "hero.png"),
        ("hero", "image/jpeg", "hero.jpg"),
        ("hero", "image/webp", "hero.webp"),
        ("hero", "image/avif", "hero.avif"),
        ("hero", "image/gif", "hero.gif"),
        ("hero.png", "image/png", "hero.png"),
        ("hero.PNG", "image/png", "hero.PNG"),
        ("hero.jpeg", "image/jpeg", "hero.jpeg"),
        ("hero.JPeG", "image/jpeg", "hero.JPeG"),
        ("photo.png", "image/webp", "photo.webp"),
        ("photo.PNG", "image/webp", "photo.webp"),
        ("photo.tiff", "image/jpeg", "photo.jpg"),
        ("photo.png.webp", "image/webp", "photo.png.webp"),
        ("report.v2", "image/png", "report.v2.png"),
        ("trailing.", "image/png", "trailing..png"),
        ("png", "image/png", "png.png"),
        ("-rf", "image/gif", "-rf.gif"),
        ("foreign.xyz", "image/x-unknown", "foreign.xyz"),
    ],
)
def test_file_names(id: str, media_type: str, name: str) -> None:
    assert content_disposition(id, media_type, download=False) == f'inline; filename="{name}"'


def test_every_type_that_is_stored_has_an_extension() -> None:
    assert {media_type: spellings[0] for media_type, spellings in SPELLINGS.items()} == dict(EXTENSIONS)


@given(st.from_regex(ID_PATTERN, fullmatch=True), st.sampled_from(sorted(SPELLINGS)), st.booleans())
def test_any_id_makes_one_quoted_name_of_the_right_type(id: str, media_type: str, download: bool) -> None:
    value = content_disposition(id, media_type, download)
    name = re.fullmatch(r'(?:inline|attachment); filename="([A-Za-z0-9_-][A-Za-z0-9._-]*)"', value)
    assert name is not None
    assert name[1].lower().endswith(SPELLINGS[media_type])
