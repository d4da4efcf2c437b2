"""The ``<img>`` tag, read back by a parser of HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.html import img_tag

PREVIEW = "data:image/webp;base64,UklGRg=="
HOSTILE = '"><script>alert(1)</script>'


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.rest: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.rest.append(data)


def read(tag: str) -> dict[str, str | None]:
    """The attributes of ``tag``, which must be one ``<img>`` and nothing else."""
    reader = Reader()
    reader.feed(tag)
    reader.close()
    assert [name for name, _ in reader.tags] == ["img"]
    assert reader.rest == []
    pairs = reader.tags[0][1]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_it_is_complete() -> None:
    tag = img_tag(
        "/images/cat?v=1&w=640",
        alt="A cat",
        width=640,
        height=480,
        srcset=[("/images/cat?v=1&w=640", "640w"), ("/images/cat?v=1&w=1080", "1080w")],
        sizes="(min-width: 60em) 50vw, 100vw",
        background=PREVIEW,
        colour="#c0ffee",
        attributes={"class": "hero", "data-id": 7, "hidden": True, "title": None, "draggable": False},
    )
    assert tag == (
        '<img src="/images/cat?v=1&amp;w=640" '
        'srcset="/images/cat?v=1&amp;w=640 640w, /images/cat?v=1&amp;w=1080 1080w" '
        'sizes="(min-width: 60em) 50vw, 100vw" alt="A cat" width="640" height="480" loading="lazy" decoding="async" '
        'style="background:url(&quot;data:image/webp;base64,UklGRg==&quot;) center/cover no-repeat #c0ffee" '
        'class="hero" data-id="7" hidden>'
    )


def test_the_least() -> None:
    assert img_tag("/a.png") == '<img src="/a.png" alt="" loading="lazy" decoding="async">'
    assert img_tag("/a.png", loading="", decoding="") == '<img src="/a.png" alt="">'


@pytest.mark.parametrize("name", ["src", "alt", "sizes", "loading", "background", "data-x", "style"])
def test_nothing_breaks_out(name: str) -> None:
    extra = name in ("data-x", "style")
    tag = img_tag("/a", attributes={name: HOSTILE}) if extra else img_tag(**{"src": "/a", name: HOSTILE})
    assert "<script" not in tag
    assert set(read(tag)) <= {"src", "alt", "sizes", "loading", "decoding", "style", "data-x"}


def test_a_background_stays_one_string_of_css() -> None:
    style = read(img_tag("/a", background='x");color:red;y:url("\\22\n</style>'))["style"]
    assert style is not None
    inner = style.removeprefix('background:url("').removesuffix('") center/cover no-repeat')
    assert inner == r"x\22 );color:red;y:url(\22 \5c 22\a \3c /style\3e "


def test_own_style_comes_after_the_background() -> None:
    style = read(img_tag("/a", colour="#fff", attributes={"style": "max-width:100%"}))["style"]
    assert style == "background:#fff;max-width:100%"


@pytest.mark.parametrize(
    ("url", "written"),
    [("/a b", "/a%20b"), ("/a\n", "/a%0A"), (",/a,,", "%2C/a%2C%2C"), ("/a,b", "/a,b"), (",", "%2C")],
)
def test_a_url_stays_one_candidate_of_srcset(url: str, written: str) -> None:
    assert read(img_tag("/x", srcset=[(url, "2x"), ("/b", "640w")]))["srcset"] == f"{written} 2x, /b 640w"


@pytest.mark.parametrize("descriptor", ["", "0w", "2", "640w, /b", "w", "-1x", "1.x", "640W", "²w"])
def test_a_descriptor_is_one(descriptor: str) -> None:
    with pytest.raises(ValueError, match="no descriptor"):
        img_tag("/x", srcset=[("/a", descriptor)])


def test_a_candidate_has_a_url() -> None:
    with pytest.raises(ValueError, match="empty"):
        img_tag("/x", srcset=[("", "2x")])


@pytest.mark.parametrize("name", ["", "a b", 'a"', "a>", "a=b", "a/", "1a", "é", "on\n"])
def test_a_name_is_one(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        img_tag("/x", attributes={name: "1"})


@pytest.mark.parametrize("name", ["src", "SRC", "alt", "srcset", "Style"])
def test_no_attribute_twice(name: str) -> None:
    with pytest.raises(ValueError, match="already"):
        img_tag("/x", attributes={name: "1"})


@pytest.mark.parametrize("colour", ["red", "#12", "#fff;color:red", "#fff\n", "#ggg"])
def test_a_colour_is_one(colour: str) -> None:
    with pytest.raises(ValueError, match="no colour"):
        img_tag("/x", colour=colour)


# A parser takes these for others (HTML Living Standard §13.2.3.5, §13.2.5): not what escaping is about.
texts = st.text(st.characters(exclude_characters="\r\x00", exclude_categories=["Cs"]))


@given(texts, texts, texts, texts)
def test_every_value_is_read_as_it_was_given(alt: str, sizes: str, title: str, background: str) -> None:
    found = read(img_tag("/a", alt=alt, sizes=sizes, background=background, attributes={"title": title}))
    assert (found["alt"], found.get("sizes", ""), found["title"]) == (alt, sizes, title)
