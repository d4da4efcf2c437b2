"""What stands for an image until it is there, what is made of it beforehand, and a whole tag for a page."""

from __future__ import annotations

import base64
import gc
import html.parser
import itertools
import re
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pyvips
from tests.serving.conftest import server_here
from tests.serving.renders import CHROME, decoded, put, renders, shape, transparent
from tests.support import etag_of, wait_until

from lightfast import InvalidImage, Lightfast, Missing
from lightfast.model import Draft
from lightfast.stores.sqlite import SqliteStore

Paint = Callable[..., bytes]
Start = Callable[..., Any]

FIELDS = {"thumbhash", "blurhash", "colour", "data_url", "width", "height"}

seeds = itertools.count(5000)


server = server_here()


@pytest.fixture
def path(client: httpx2.Client, fresh_id: str, picture: Paint) -> str:
    put(client, fresh_id, picture(90, 60, seed=next(seeds)))
    return f"/images/{fresh_id}"


def check(preview: Any, width: int, height: int) -> None:
    """That it says what it should of a picture of this size."""
    assert set(preview) == FIELDS
    assert (preview["width"], preview["height"]) == (width, height)
    assert 16 <= len(base64.b64decode(preview["thumbhash"])) <= 30
    assert re.fullmatch(r"#[0-9a-f]{6}", preview["colour"])
    assert len(preview["blurhash"]) == 28
    kind, _, data = preview["data_url"].partition(",")
    assert kind == "data:image/webp;base64"
    tiny = pyvips.Image.new_from_buffer(base64.b64decode(data, validate=True), "")
    assert max(tiny.width, tiny.height) <= 64


def damaged() -> bytes:
    """A PNG whose header is right and whose data are not."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 30, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"no pixels at all" * 9) + chunk(b"IEND", b"")


def test_every_way_to_learn_of_it_tells_the_same(client: httpx2.Client, fresh_id: str, picture: Paint) -> None:
    stored = client.put(f"/images/{fresh_id}", content=picture(90, 60, seed=next(seeds))).json()
    told = client.get(f"/images/{fresh_id}/info").json()["preview"]
    check(told, 90, 60)
    assert stored["preview"] in (None, told)  # it may not have been ready in time
    assert client.get(f"/images/{fresh_id}/preview").json() == told
    posted = client.post("/images", content=picture(20, 30, seed=next(seeds))).json()
    check(client.get(f"/images/{posted['id']}/info").json()["preview"], 20, 30)


def test_the_answer_to_a_write_waits_for_it_a_little(client: httpx2.Client, fresh_id: str, picture: Paint) -> None:
    def ready() -> Any:
        return client.put(f"/images/{fresh_id}", content=picture(8, 8, seed=next(seeds))).json()["preview"]

    check(wait_until(ready), 8, 8)


def test_it_is_a_resource_of_its_own(client: httpx2.Client, path: str) -> None:
    url = f"{path}/preview"
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["cache-control"] == client.get(path).headers["cache-control"]
    original = client.head(path).headers["etag"]
    assert answer.headers["etag"] != original
    assert client.get(f"{url}?v={original.strip(chr(34))}").headers["cache-control"].endswith("immutable")
    assert client.get(f"{url}?v=other").headers["cache-control"] == "no-cache"
    head = client.head(url)
    changing = {"date", "server-timing", "cache-status"}
    heads = [{name: text for name, text in it.headers.items() if name not in changing} for it in (answer, head)]
    assert heads[0] == heads[1]
    assert head.content == b""
    unchanged = client.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (unchanged.status_code, unchanged.headers["etag"]) == (304, answer.headers["etag"])
    assert client.get(url, headers={"If-Match": original}).status_code == 412
    assert client.get(url, headers={"Range": "bytes=0-3"}).content == answer.content[:4]
    assert client.get(url).headers["cache-status"] == "lightfast; hit"


def test_another_image_has_another(client: httpx2.Client, path: str) -> None:
    first = client.get(f"{path}/preview")
    red = pyvips.Image.black(30, 30, bands=3).linear(1, [200, 0, 0]).cast("uchar").copy(interpretation="srgb")
    put(client, path.removeprefix("/images/"), bytes(red.write_to_buffer(".png")))
    second = client.get(f"{path}/preview", headers={"If-None-Match": first.headers["etag"]})
    assert second.json()["colour"] == "#c80000"
    assert client.get(f"{path}/info").json()["preview"] == second.json()


def test_as_it_is_shown(client: httpx2.Client, fresh_id: str) -> None:
    lying = (pyvips.Image.black(40, 20, bands=3) + 90).cast("uchar").copy(interpretation="srgb").copy()
    lying.set_type(pyvips.GValue.gint_type, "orientation", 6)
    put(client, fresh_id, bytes(lying.write_to_buffer(".jpg")))
    check(client.get(f"/images/{fresh_id}/preview").json(), 20, 40)


def test_what_can_be_seen_through(client: httpx2.Client, fresh_id: str) -> None:
    put(client, fresh_id, transparent())
    preview = client.get(f"/images/{fresh_id}/preview").json()
    assert base64.b64decode(preview["thumbhash"])[2] & 0x80


def test_what_is_no_picture_after_all(client: httpx2.Client, fresh_id: str, caplog: pytest.LogCaptureFixture) -> None:
    stored = client.put(f"/images/{fresh_id}", content=damaged())
    assert (stored.status_code, stored.json()["preview"]) == (201, None)
    described = client.get(f"/images/{fresh_id}/info")
    assert (described.status_code, described.json()["preview"], described.json()["width"]) == (200, None, 40)
    for url in (f"/images/{fresh_id}/preview", f"/images/{fresh_id}?w=32"):
        refused = client.get(url)
        assert refused.status_code == 422
        assert "damaged" in refused.json()["detail"]
    assert client.get(f"/images/{fresh_id}").content == damaged()
    gc.collect()  # what a task raised and nobody heard of is logged then
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_an_image_that_was_there_before(start_here: Start, picture: Paint, tmp_path: Path) -> None:
    data = picture(90, 60)
    store = SqliteStore(tmp_path / "images.db")
    await store.open()
    etag = etag_of(data)
    await store.put(Draft("a", data, etag, "image/png", 90, 60), 0)
    await store.close()
    with start_here().client() as client:
        check(client.get("/images/a/info").json()["preview"], 90, 60)
        assert client.get("/images/a/preview").json() == client.get("/images/a/info").json()["preview"]
        assert client.get("/images").json()["images"][0]["preview"] is None


def test_without_previews_they_are_made_when_they_are_asked_for(start_here: Start, picture: Paint) -> None:
    with start_here(previews=False).client() as client:
        assert client.put("/images/a", content=picture(90, 60)).json()["preview"] is None
        assert client.get("/images/a/info").json()["preview"] is None
        check(client.get("/images/a/preview").json(), 90, 60)


# What is made beforehand


def test_variants_are_made_without_being_asked_for(start_here: Start, picture: Paint, tmp_path: Path) -> None:
    server = start_here(prewarm="thumb w32 h=16&fm=jpg", presets="thumb?w=40&h=40&fit=crop&auto=format")
    with server.client() as client:
        put(client, "a", picture(90, 60))
        with closing(sqlite3.connect(tmp_path / "images.db")) as connection:  # a preview, and the preset in two formats
            wait_until(lambda: connection.execute("SELECT count(*) FROM variants").fetchone() == (5,))
        for query, expected in (
            ("w=32", ("png", 32, 21)),
            ("h=16&fm=jpg", ("jpeg", 24, 16)),
            ("preset=thumb", ("avif", 40, 40)),
        ):
            assert shape(client.get(f"/images/a?{query}", headers={"Accept": CHROME})) == expected
        assert shape(client.get("/images/a?preset=thumb", headers={"Accept": "image/webp"})) == ("webp", 40, 40)
        assert renders(client) == 4


def test_what_can_not_be_made_beforehand_is_left(start_here: Start, picture: Paint) -> None:
    with start_here(prewarm="w32").client() as client:
        put(client, "a", damaged())
        put(client, "b", picture(90, 60))
        wait_until(lambda: renders(client) >= 1)
        assert shape(client.get("/images/b?w=32")) == ("png", 32, 21)


# In Python


async def test_previews_in_python(picture: Paint) -> None:
    async with Lightfast("memory://") as images:
        await images.put(picture(90, 60), id="a")
        preview = await images.preview("a")
        assert (preview.width, preview.height, preview.transparent) == (90, 60, False)
        assert (await images.info("a")).preview == preview  # type: ignore[union-attr]
        await images.put(transparent(), id="b")
        assert (await images.preview("b")).transparent
        await images.put(damaged(), id="c")
        assert (await images.info("c")).preview is None  # type: ignore[union-attr]
        with pytest.raises(InvalidImage):
            await images.preview("c")
        with pytest.raises(Missing):
            await images.preview("d")


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def image_of(text: str) -> dict[str, str]:
    """The attributes of the one tag in ``text``."""
    ((tag, attributes),) = Tags(text).found
    assert tag == "img"
    return {name: value or "" for name, value in attributes.items()}


def candidates(image: dict[str, str]) -> list[tuple[str, int]]:
    parts = [part.strip().rsplit(" ", 1) for part in image["srcset"].split(", ")]
    return [(url, int(width.removesuffix("w"))) for url, width in parts]


def test_a_tag_for_a_page(start_here: Start, picture: Paint, tmp_path: Path) -> None:
    with start_here(signing_keys="a-key-of-at-least-16-characters").client() as client:
        put(client, "wide", picture(300, 200, seed=3))
        put(client, "tiny", picture(60, 40, seed=4))
        put(client, "clear", transparent(200, 100))
        with Lightfast(f"sqlite:///{tmp_path}/images.db", signing_keys="a-key-of-at-least-16-characters").sync as sync:
            image = image_of(sync.html("wide", alt='Light & "fast" <b>', sizes="(min-width: 40em) 50vw, 100vw"))
            assert image["alt"] == 'Light & "fast" <b>'
            assert (image["width"], image["height"], image["loading"]) == ("300", "200", "lazy")
            assert image["sizes"] == "(min-width: 40em) 50vw, 100vw"
            assert "data:image/webp;base64," in image["style"]
            assert [width for _, width in candidates(image)] == [128, 256]
            for url, width in candidates(image):
                assert shape(client.get(url))[:2] == ("webp", width)
                assert client.get(url).headers["cache-control"] == "public, max-age=31536000, immutable"
            assert image["src"] == candidates(image)[-1][0]

            tiny = image_of(sync.html("tiny"))
            assert (tiny["alt"], tiny["width"], "srcset" in tiny) == ("", "60", False)
            assert decoded(client.get(tiny["src"])).width == 60
            assert "style" not in image_of(sync.html("clear"))

            # Nothing is enlarged, and what is cut keeps room in its own shape.
            far = image_of(sync.html("wide", widths=(2000, 100, 900)))
            assert [width for _, width in candidates(far)] == [100, 300]
            square = image_of(sync.html("wide", widths=(50, 250), fit="crop", ar="1:1", fm="jpg", blur=2))
            assert (square["width"], square["height"]) == ("300", "300")
            both = image_of(sync.html("wide", widths=(50, 250), rot=90))
            assert (both["width"], both["height"]) == ("300", "450")
            for shown in (far, square, both):
                for url, width in candidates(shown):
                    kind, wide, high = shape(client.get(url))
                    assert (kind, wide) == ("jpeg" if shown is square else "webp", width)
                    assert abs(wide / high - int(shown["width"]) / int(shown["height"])) < 0.02
