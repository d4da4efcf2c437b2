"""Who may have which variant: what is listed is free, everything else needs a signature, and a signature is kept to."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from tests.serving.conftest import server_here
from tests.serving.renders import CHROME, animation, hot, put, renders, shape
from tests.support import wait_until

from lightfast import Forbidden, InvalidRequest, Lightfast
from lightfast.signing import Scheme, sign

Paint = Callable[..., bytes]
Start = Callable[..., Any]

OLD, NEW = "an-old-key-of-32-characters-long", "the-new-key-of-32-characters-too"
PRESETS = "thumb?w=50&h=50&fit=crop card?w=100&fm=webp&blur=3 chosen?w=44&auto=format"


server = server_here(signing_keys=f"{NEW},{OLD}", presets=PRESETS)
"""A server with two keys and three presets; it still makes what is not looked at without a signature: nothing."""


@pytest.fixture
def path(client: httpx2.Client, fresh_id: str, picture: Paint) -> str:
    put(client, fresh_id, picture(120, 80))
    return f"/images/{fresh_id}"


def code(client: httpx2.Client, url: str) -> int:
    return client.get(url).status_code


# Without a signature


@pytest.mark.parametrize(
    "query",
    ["w=64", "h=48", "w=64&h=64&fit=crop", "w=64&fm=avif", "w=64&fm=webp&q=75", "w=64&q=45", "w=64&dpr=2&q=50",
     "w=32&h=16&fit=min", "fm=jpg", "auto=format", "preset=thumb", "preset=thumb&dpr=2&fm=png", "preset=card"],
)  # fmt: skip
def test_what_is_listed_is_for_everyone(client: httpx2.Client, path: str, query: str) -> None:
    assert code(client, f"{path}?{query}") == 200


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("w=65", ("w=65", "16, 32, 48, 64")),
        ("h=0.5", ("h=0.5",)),
        ("w=64&h=64&fit=fill", ("fit=fill",)),
        ("w=64&dpr=4", ("dpr", "1, 2 or 3")),
        ("w=3840&dpr=2", ("dpr", "7680")),
        ("w=64&q=74", ("q=74",)),
        ("w=64&fm=gif", ("fm=gif",)),
        ("w=64&blur=5", ("blur",)),
        ("rot=90", ("rot",)),
        ("preset=thumb&blur=1", ("blur beside a preset",)),
        ("preset=thumb&w=64", ("w beside a preset",)),
    ],
)
def test_everything_else_is_refused_with_what_would_be_right(
    client: httpx2.Client, path: str, query: str, said: tuple[str, ...]
) -> None:
    before = renders(client)
    answer = client.get(f"{path}?{query}")
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    detail = answer.json()["detail"]
    assert [part for part in (*said, "needs a signature") if part not in detail] == []
    assert renders(client) == before


def test_a_preset_gives_what_it_stands_for(client: httpx2.Client, path: str) -> None:
    assert shape(client.get(f"{path}?preset=thumb")) == ("png", 50, 50)
    assert shape(client.get(f"{path}?preset=card")) == ("webp", 100, 67)
    assert shape(client.get(f"{path}?preset=thumb&fm=jpg&dpr=2")) == ("jpeg", 100, 100)
    assert shape(client.get(f"{path}?preset=chosen", headers={"Accept": "image/webp"})) == ("webp", 44, 29)


def test_whether_there_is_such_an_image_is_not_told_to_those_who_may_not_have_it(client: httpx2.Client) -> None:
    assert code(client, "/images/nothing?w=65") == 403


# With one


@pytest.mark.parametrize("key", [NEW, OLD])
def test_any_of_the_keys_is_good(client: httpx2.Client, path: str, key: str) -> None:
    assert shape(client.get(sign(f"{path}?w=33&h=44&fit=crop&blur=2", key))) == ("png", 33, 44)


def test_a_signature_is_for_this_url_only(client: httpx2.Client, path: str) -> None:
    url = sign(f"{path}?w=33&blur=2", NEW)
    signature = url.partition("s=")[2]
    assert code(client, url) == 200
    for wrong in (
        url.replace("w=33", "w=34"),
        url.replace("blur=2", "blur=20"),
        url + "&sharp=5",
        url.replace("&s=", "&sharp=5&s="),
        url + f"&s={signature}",
        url[:-1] + ("A" if url[-1] != "A" else "B"),
        url[:-2],
        url.replace(signature, ""),
        url.replace(signature, quote("é")),
        url.replace(path, f"{path}x"),
        sign(f"{path}?w=33&blur=2", "another-key-of-32-characters-xxx"),
    ):
        answer = client.get(wrong)
        assert answer.status_code == 403, wrong
        assert "signature (s) is not right" in answer.json()["detail"]


def test_parameters_may_be_put_in_another_order_and_written_otherwise(client: httpx2.Client, path: str) -> None:
    url = sign(f"{path}?w=33&h=22&rect=1,2,60,50&fit=crop", NEW)
    signature = url.partition("&s=")[2]
    expected = client.get(url)
    assert shape(expected) == ("png", 33, 22)
    for same in (
        f"{path}?s={signature}&fit=crop&h=22&rect=1,2,60,50&w=33",
        f"{path}?fit=crop&h=22&rect=1%2C2%2c60%2C50&w=%33%33&s={signature}",
    ):
        assert client.get(same).headers["etag"] == expected.headers["etag"]
    # Which of two counts is part of the wish.
    twice = sign(f"{path}?w=33&w=34", NEW)
    assert shape(client.get(twice))[1] == 34
    assert code(client, f"{path}?w=34&w=33&s={twice.partition('&s=')[2]}") == 403


def test_signatures_of_the_clients_of_imgix(start_here: Start, picture: Paint) -> None:
    server = start_here(signing_keys=NEW, signature="imgix")
    with server.client() as client:
        put(client, "a", picture(120, 80))
        query = "/images/a?w=33&fit=crop&h=22"
        signature = hashlib.md5(f"{NEW}{query}".encode(), usedforsecurity=False).hexdigest()
        assert shape(client.get(f"{query}&s={signature}")) == ("png", 33, 22)
        assert code(client, f"/images/a?fit=crop&h=22&w=33&s={signature}") == 403
        assert code(client, f"{query}&s={signature[::-1]}") == 403
        assert code(client, sign(query, NEW)) == 403
        assert code(client, sign(query, NEW, int(time.time()) + 60, Scheme.IMGIX)) == 200


def test_whatever_is_signed_is_held_to_its_word(client: httpx2.Client, path: str) -> None:
    for query in ("w=64", "", "preset=thumb"):
        url = f"{path}?{query}"
        assert code(client, sign(url, NEW)) == 200
        assert code(client, f"{url}&s=wrong") == 403
        assert code(client, sign(url, NEW, int(time.time()) - 1)) == 403


@pytest.mark.parametrize("query", ["w=33", "w=64", "v={etag}", "w=64&v={etag}"])
def test_nobody_is_told_to_keep_what_expires_for_longer(client: httpx2.Client, path: str, query: str) -> None:
    etag = client.head(path).headers["etag"].strip('"')
    url = sign(f"{path}?{query.format(etag=etag)}", NEW, int(time.time()) + 100)
    for answer in (client.get(url), client.get(url), client.get(url), client.get(url, headers={"If-None-Match": "*"})):
        age = int(answer.headers["cache-control"].removeprefix("public, max-age=").partition(",")[0])
        assert 90 <= age <= 100


@pytest.mark.parametrize("query", ["w=33", "w=64"])
def test_what_has_expired_is_refused_where_it_was_hot_before(client: httpx2.Client, path: str, query: str) -> None:
    expires = int(time.time()) + 2
    url = sign(f"{path}?{query}", NEW, expires)
    hot(client, url)
    while (answer := client.get(url)).status_code == 200:
        assert time.time() < expires + 1  # within the second that its end is in
    assert answer.status_code == 403
    assert time.time() >= expires
    assert "expired" in answer.json()["detail"]
    assert code(client, url) == 403
    with httpx2.Client(base_url=client.base_url) as another:
        assert another.get(url).status_code == 403


def test_an_end_that_is_no_time_is_a_bad_value(client: httpx2.Client, path: str) -> None:
    answer = client.get(sign(f"{path}?w=33&expires=soon", NEW))
    assert answer.status_code == 400
    assert "soon" in answer.json()["detail"]


def test_open_to_all(start_here: Start, picture: Paint) -> None:
    with start_here(variants="open").client() as client:
        put(client, "a", picture(120, 80))
        assert shape(client.get("/images/a?w=33&h=44&fit=fill&bg=fff&fm=webp&q=12")) == ("webp", 33, 44)
        assert code(client, "/images/a?w=33&s=anything") == 200
    with start_here(variants="open", signing_keys=NEW).client() as client:
        assert code(client, "/images/a?w=33") == 200
        assert code(client, sign("/images/a?w=33", NEW, int(time.time()) + 60)) == 200
        assert code(client, sign("/images/a?w=33", NEW, int(time.time()) - 1)) == 403


def test_without_a_key_nothing_can_be_signed(start_here: Start, picture: Paint) -> None:
    with start_here(sizes="40,80").client() as client:
        put(client, "a", picture(120, 80))
        assert code(client, "/images/a?w=40") == 200
        answer = client.get(sign("/images/a?w=64", NEW))
        assert answer.status_code == 403
        assert "40, 80" in answer.json()["detail"]
        assert "no signing key" in answer.json()["detail"]


# URLs that are made in Python


def test_behind_a_proxy_that_takes_a_path_off(start_here: Start, picture: Paint) -> None:
    with start_here(signing_keys=NEW, public_url="https://img.example.com/media").client() as client:
        put(client, "a", picture(120, 80))
        for prefix in ("", "https://img.example.com/media", "/media"):
            url = sign(f"{prefix}/images/a?w=33", NEW).removeprefix("https://img.example.com").removeprefix("/media")
            assert code(client, url) == 200
        missing = client.get("/images/a?w=33")
        assert "w=33 needs a signature; the sizes" in missing.json()["detail"]
        late = sign("/media/images/a?w=33", NEW, int(time.time()) - 9).removeprefix("/media")
        assert code(client, late) == 403


@pytest.mark.parametrize("scheme", ["hmac", "imgix"])
def test_urls_made_in_python_work(start_here: Start, tmp_path: Path, picture: Paint, scheme: str) -> None:
    store = f"sqlite:///{tmp_path}/images.db"
    with start_here(signing_keys=f"{NEW},{OLD}", signature=scheme, presets=PRESETS).client() as client:
        put(client, "a", picture(120, 80))
        images = Lightfast(store, signing_keys=f"{NEW},{OLD}", signature=scheme, presets=PRESETS)
        with images.sync as sync:
            url = sync.url("a", w=33, h=44, fit="crop", crop="top,left", fm="webp")
            assert "&s=" in url
            assert shape(client.get(url)) == ("webp", 33, 44)
            assert client.get(url).headers["cache-control"] == "public, max-age=31536000, immutable"
            assert shape(client.get(sync.url("a", fit="crop", w=60, max_h=20, lossless=True))) == ("png", 60, 20)
            assert shape(client.get(sync.url("a", preset="thumb"))) == ("png", 50, 50)
            listed = sync.url("a", w=64, fm=None)
            assert listed.startswith("/images/a?w=64&v=")
            assert "s=" not in listed
            assert shape(client.get(listed)) == ("png", 64, 43)
            assert code(client, sync.url("a")) == 200

            for ends in (sync.url("a", w=64, expires=60), sync.url("a", w=33, expires="1m"), sync.url("a", expires=60)):
                age = int(client.get(ends).headers["cache-control"].split("=")[1].split(",")[0])
                assert 50 <= age <= 60
            soon = sync.url("a", w=64, expires=1)
            wait_until(lambda: code(client, soon) == 403)

            for bad in ({"w": "wide"}, {"v": "x"}, {"s": "x"}, {"download": 1}, {"preset": "none"}):
                with pytest.raises(InvalidRequest):
                    sync.url("a", **bad)


async def test_a_url_that_needs_a_key_is_not_made_without_one(picture: Paint) -> None:
    async with Lightfast("memory://") as images:
        await images.put(picture(), id="a")
        assert (await images.url("a", w=64)).startswith("/images/a?w=64&v=")
        for parameters in ({"w": 65}, {"w": 64, "blur": 3}, {"w": 64, "expires": 60}, {"expires": 60}):
            with pytest.raises(Forbidden, match="No signing key"):
                await images.url("a", **parameters)
    async with Lightfast("memory://", variants="open") as images:
        await images.put(picture(), id="a")
        assert "s=" not in await images.url("a", w=65)


async def test_urls_name_a_format_where_accept_would_choose_it(picture: Paint) -> None:
    async with Lightfast("memory://", auto_format=True, presets=PRESETS) as images:
        kinds = {".png": "png", ".jpg": "jpg", ".webp": "webp", ".avif": "avif"}
        await asyncio.gather(*(images.put(picture(suffix=suffix), id=suffix[1:]) for suffix in kinds))
        for suffix, format in kinds.items():
            assert f"w=64&fm={format}&v=" in await images.url(suffix[1:], w=64)
        await images.put(animation(), id="moving")
        assert "w=64&fm=webp&v=" in await images.url("moving", w=64)
        assert "fm" not in await images.url("png", w=64, auto="format")
        assert "preset=card&v=" in await images.url("png", preset="card")
        assert (await images.url("png")).startswith("/images/png?v=")


def test_where_accept_chooses_by_default_made_urls_are_not_chosen_for(
    start_here: Start, tmp_path: Path, picture: Paint
) -> None:
    settings = {"auto_format": True, "signing_keys": NEW, "presets": PRESETS}
    with start_here(**settings).client() as client:
        put(client, "a", picture(120, 80))
        with Lightfast(f"sqlite:///{tmp_path}/images.db", **settings).sync as sync:
            urls = [sync.url("a"), sync.url("a", w=64), sync.url("a", w=33), sync.url("a", preset="card")]
            urls += [sync.url("a", expires=60), sync.url("a", w=64, expires=60)]
        for url in urls:
            with_accept = client.get(url, headers={"Accept": CHROME})
            assert with_accept.headers["vary"] == "Accept-Encoding"
            assert with_accept.headers["etag"] == client.get(url, headers={"Accept": "*/*"}).headers["etag"]
