"""A variant is never of another version than its image, and goes where its image goes: in memory and in every store."""

from __future__ import annotations

import base64
import itertools
import json
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pyvips
from tests.serving.renders import CHROME, decoded, hot, number, put, renders
from tests.support import PATIENCE, wait_until

pytestmark = pytest.mark.alone  # a change is heard of within 50 ms, if there is a core to hear it

Start = Callable[..., Any]

WANTED = ("w=32", "w=16&h=16&fit=crop&fm=webp", "fm=jpg")
NEWS = 1.0
"""Seconds that the news of another process's change may take on a busy machine."""

colours = itertools.cycle(itertools.product((20, 120, 220), repeat=3))


@dataclass
class Flat:
    """A picture of one colour, so that what is made of it can be told from what is made of others."""

    width: int = 60
    height: int = 40
    colour: tuple[int, int, int] = field(default_factory=lambda: next(colours))

    @property
    def content(self) -> bytes:
        image = (pyvips.Image.black(self.width, self.height, bands=3) + list(self.colour)).cast("uchar")
        return bytes(image.copy(interpretation="srgb").write_to_buffer(".png"))

    def made(self, answer: httpx2.Response) -> bool:
        """Whether ``answer`` is of this picture."""
        means = [band.avg() for band in decoded(answer).bandsplit()[:3]]
        return all(abs(mean - wanted) < 12 for mean, wanted in zip(means, self.colour, strict=True))


@dataclass
class Kind:
    """A kind of store, empty, and how to look into it."""

    name: str
    settings: dict[str, Any]
    path: Path
    server: Any = None

    def kept(self) -> set[str]:
        """The versions of which the store has variants."""
        if self.name == "sqlite":
            with closing(sqlite3.connect(self.path / "images.db")) as connection:
                return {source for (source,) in connection.execute("SELECT source FROM variants")}
        return {key[1] for key in re.findall(r"variants?:(\{?)([0-9a-f]{32})", self._keys())}

    def _keys(self) -> str:
        return str(self.server.command("KEYS", "variant*").decode())

    def keeps(self, *etags: str) -> None:
        """Wait until the store has variants of these versions only; a store in memory can't be looked into."""
        if self.name != "memory":
            wait_until(lambda: self.kept() == set(etags), f"{self.kept()} instead of {etags}")


@pytest.fixture(params=["memory", "sqlite", "valkey"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    return kind_of(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "valkey"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    """A store that several processes can open."""
    return kind_of(request.param, request, tmp_path)


def kind_of(name: str, request: pytest.FixtureRequest, path: Path) -> Kind:
    if name == "memory":
        return Kind(name, {"store": "memory://"}, path)
    if name == "sqlite":
        return Kind(name, {}, path)
    server = request.getfixturevalue("valkey")
    return Kind(name, {"store": server.url}, path, server)


def show(client: httpx2.Client, picture: Flat, queries: tuple[str, ...] = WANTED) -> None:
    """Every variant is of ``picture``, each time it is asked for until it comes from the hot path."""
    for query in queries:
        url = f"/images/a?{query}"
        assert picture.made(client.get(url)), query
        assert picture.made(client.get(url))
        assert picture.made(hot(client, url))


# Through one process


def test_a_replaced_image_has_no_old_variants(start_here: Start, kind: Kind) -> None:
    with start_here(**kind.settings, previews=False).client() as client:
        for _ in range(2):
            picture = Flat()
            etag = put(client, "a", picture.content)
            show(client, picture)
            kind.keeps(etag)
        unchanged = client.get(
            "/images/a?w=32", headers={"If-None-Match": client.head("/images/a?w=32").headers["etag"]}
        )
        assert unchanged.status_code == 304
        later = Flat()
        put(client, "a", later.content)
        answer = client.get("/images/a?w=32", headers={"If-None-Match": unchanged.headers["etag"]})
        assert later.made(answer)
        assert later.made(client.get("/images/a?w=32&auto=format", headers={"Accept": CHROME}))


def test_a_deleted_image_has_none(start_here: Start, kind: Kind) -> None:
    with start_here(**kind.settings, previews=False).client() as client:
        picture = Flat()
        kind.keeps()
        etag = put(client, "a", picture.content)
        show(client, picture)
        kind.keeps(etag)
        assert client.delete("/images/a").status_code == 204
        for query in (*WANTED, f"w=32&v={etag}", "auto=format"):
            assert client.get(f"/images/a?{query}", headers={"Accept": CHROME}).status_code == 404
        assert client.get("/images/a/preview").status_code == 404
        kind.keeps()


def test_an_expired_image_has_none_from_that_second_on(start_here: Start, kind: Kind) -> None:
    with start_here(**kind.settings, previews=False).client() as client:
        picture = Flat()
        stored = client.put("/images/a?ttl=2s", content=picture.content).json()
        begun = time.monotonic()
        hot(client, f"/images/a?w=32&v={stored['etag']}")
        while client.get(f"/images/a?w=32&v={stored['etag']}").status_code == 200:
            assert time.monotonic() - begun < 3
        assert time.monotonic() - begun > 1
        assert client.get(f"/images/a?w=32&v={stored['etag']}").status_code == 404
        assert client.get("/images/a?w=16").status_code == 404


def test_storing_the_same_again_keeps_what_was_made_and_tells_the_new_expiry(start_here: Start, kind: Kind) -> None:
    with start_here(**kind.settings, previews=False).client() as client:
        picture = Flat()
        etag = put(client, "a", picture.content, "?ttl=2s")
        first = client.get("/images/a?w=32")
        assert first.headers["cache-control"] in ("public, max-age=1, immutable", "no-cache")
        kind.keeps(etag)
        hot(client, "/images/a?w=32")
        put(client, "a", picture.content, "?ttl=30m")
        again = client.get("/images/a?w=32")
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["cache-control"].startswith("public, max-age=17")
        assert renders(client) == 1
        put(client, "a", picture.content, "?ttl=0")
        assert hot(client, "/images/a?w=32").headers["cache-control"] == "public, max-age=3600, immutable"
        assert renders(client) == 1


def test_what_shares_its_bytes_is_not_taken_along(start_here: Start, kind: Kind) -> None:
    with start_here(**kind.settings, previews=False).client() as client:
        picture = Flat()
        put(client, "a", picture.content)
        put(client, "b", picture.content)
        for id in ("a", "b"):
            assert picture.made(hot(client, f"/images/{id}?w=32"))
        client.delete("/images/a")
        assert client.get("/images/a?w=32").status_code == 404
        assert picture.made(client.get("/images/b?w=32"))
        other = Flat()
        put(client, "a", other.content)
        assert other.made(client.get("/images/a?w=32"))
        assert picture.made(client.get("/images/b?w=32"))


SLOW = "/images/a?w=2500&h=2500&fit=crop&blur={blur}&fm=jpg"


def test_what_was_being_made_of_a_replaced_image_is_not_kept(start_here: Start, kind: Kind) -> None:
    server = start_here(**kind.settings, previews=False, variants="open", render_timeout=60)
    with server.client() as client, ThreadPoolExecutor(1) as thread:
        old, new = Flat(), Flat()
        put(client, "a", old.content)
        with server.client() as another:
            answer = thread.submit(another.get, SLOW.format(blur=300))
            wait_until(lambda: number(client, "lightfast_memory_entries") == 1)  # it has been read, to be made from
            etag = put(client, "a", new.content)
            assert renders(client) == 0
            found = answer.result()
        assert new.made(found)
        assert new.made(client.get(SLOW.format(blur=300)))
        assert found.headers["etag"] == client.head(SLOW.format(blur=300)).headers["etag"]
        kind.keeps(etag)


def test_what_was_being_made_of_a_deleted_image_is_nothing(start_here: Start, kind: Kind) -> None:
    server = start_here(**kind.settings, previews=False, variants="open", render_timeout=60)
    with server.client() as client, ThreadPoolExecutor(1) as thread:
        put(client, "a", Flat().content)
        with server.client() as another:
            answer = thread.submit(another.get, SLOW.format(blur=301))
            wait_until(lambda: number(client, "lightfast_memory_entries") == 1)
            client.delete("/images/a")
            assert renders(client) == 0
            assert answer.result().status_code == 404
        assert number(client, "lightfast_memory_entries") == 0
        kind.keeps()


# Through another one


def test_another_process_replaces_deletes_and_makes(start_here: Start, shared: Kind) -> None:
    ours, theirs = (start_here(**shared.settings, previews=False) for _ in range(2))
    with ours.client() as here, theirs.client() as there:
        before = None
        for _ in range(2):
            picture = Flat()
            etag = put(there, "a", picture.content)
            deadline = time.monotonic() + NEWS
            while not picture.made(answer := here.get("/images/a?w=32")):
                assert before is not None
                assert before.made(answer)
                assert time.monotonic() < deadline
            show(here, picture)
            shared.keeps(etag)
            before = picture
        there.delete("/images/a")
        wait_until(lambda: here.get("/images/a?w=32").status_code == 404)
        shared.keeps()


def test_another_process_need_not_make_it_again(start_lightfast: Start, start_here: Start, shared: Kind) -> None:
    with start_here(**shared.settings).client() as here:
        picture = Flat()
        etag = put(here, "a", picture.content)
        show(here, picture)
        preview = here.get("/images/a/preview")
        made = renders(here)
        assert made == len(WANTED)

        def count() -> int:
            if shared.server is not None:
                return int(shared.server.command("ZCARD", f"variants:{etag}")[1:-2])
            with closing(sqlite3.connect(shared.path / "images.db")) as connection:
                return int(connection.execute("SELECT count(*) FROM variants").fetchone()[0])

        wait_until(lambda: count() == made + 1)
        with start_lightfast(**shared.settings, log="off").client() as there:
            show(there, picture)
            assert there.get("/images/a/preview").content == preview.content
            for query in WANTED:
                ours, theirs = (client.get(f"/images/a?{query}") for client in (here, there))
                assert (ours.content, ours.headers["etag"]) == (theirs.content, theirs.headers["etag"])
            assert renders(there) == 0


def legacy(picture: Flat) -> str:
    """As an app writes it that knows nothing of Lightfast."""
    return json.dumps({"base64_data": base64.b64encode(picture.content).decode(), "mime_type": "image/png"})


def test_an_app_that_knows_nothing_of_variants(start_here: Start, valkey: Any, tmp_path: Path) -> None:
    kind = Kind("valkey", {"store": valkey.url}, tmp_path, valkey)
    with start_here(**kind.settings, previews=False, missing_ttl=0).client() as client:
        first = Flat()
        etag = put(client, "a", first.content)
        show(client, first)
        kind.keeps(etag)
        for _ in range(2):
            picture = Flat()
            valkey.command("SET", "image:a", legacy(picture))
            wait_until(lambda picture=picture: picture.made(client.get("/images/a?w=32")))
            show(client, picture)
            kind.keeps(client.get("/images/a").headers["etag"].strip('"'))
        valkey.command("DEL", "image:a")
        wait_until(lambda: client.get("/images/a?w=32").status_code == 404)
        kind.keeps()
        valkey.command("SET", "image:a", legacy(first))
        wait_until(lambda: client.get("/images/a?w=32").status_code == 200)
        show(client, first)
        valkey.command("FLUSHALL")
        wait_until(lambda: client.get("/images/a?w=32").status_code == 404)


# With the image out of memory


def counted(server: Any) -> dict[str, int]:
    """How often each command was called that may be about an image."""
    found = re.findall(r"cmdstat_([a-z|]+):calls=(\d+)", server.command("INFO", "commandstats").decode())
    own = ("ping", "info", "config", "client", "hello", "command")
    return {name: int(calls) for name, calls in found if not name.startswith(own)}


def test_a_variant_whose_image_has_left_memory_costs_the_store_nothing(start_here: Start, valkey: Any) -> None:
    with start_here(store=valkey.url, memory_entries=1, previews=False).client() as client:
        picture = Flat()
        put(client, "a", picture.content)
        tag = client.get("/images/a?w=32").headers["etag"]
        assert number(client, "lightfast_memory_entries") == 1
        wait_until(lambda: b"variant:" in valkey.command("KEYS", "variant:*"))
        wait_until(lambda: (before := counted(valkey)) and not time.sleep(0.05) and counted(valkey) == before)
        valkey.command("CONFIG", "RESETSTAT")
        for _ in range(10):
            assert picture.made(client.get("/images/a?w=32", headers={"Range": "items=0"}))
            assert client.get("/images/a?w=32", headers={"If-None-Match": tag}).status_code == 304
            assert client.head("/images/a?w=32").status_code == 200
            assert client.get("/images/a?w=32").headers["cache-status"] == "lightfast; hit"
        assert hot(client, "/images/a?w=32").content
        assert counted(valkey) == {}


def in_memory_alone(client: Any, picture: Flat) -> bool:
    return picture.made(client.get("/images/a?w=32")) and number(client, "lightfast_memory_entries") == 1


def test_a_variant_whose_image_has_left_memory_goes_with_it_all_the_same(start_here: Start, shared: Kind) -> None:
    ours, theirs = (start_here(**shared.settings, memory_entries=1, previews=False) for _ in range(2))
    with ours.client() as here, theirs.client() as there:
        for client in (here, there, here):
            picture = Flat()
            put(client, "a", picture.content)
            wait_until(lambda picture=picture: picture.made(here.get("/images/a?w=32")))
            show(here, picture, ("w=32",))
            # Where the machine stands still, the link goes, and what was in memory; the next request brings it back.
            wait_until(lambda picture=picture: in_memory_alone(here, picture))
        there.delete("/images/a")
        wait_until(lambda: here.get("/images/a?w=32").status_code == 404)
        assert number(here, "lightfast_memory_entries") == 0


# While the store is away


@pytest.fixture
def frozen(start_server: Callable[[str], Any]) -> Any:
    """A Valkey of this test's own, to be stopped."""
    return start_server("valkey")


def test_while_the_store_is_away(start_here: Start, frozen: Any) -> None:
    with start_here(store=frozen.url, previews=False).client() as client:
        first, second = Flat(), Flat()
        put(client, "a", first.content)
        put(client, "b", second.content)
        hot(client, "/images/a?w=32")
        assert number(client, "lightfast_memory_entries") == 2
        frozen.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: "age" in client.get("/images/a?w=32").headers)
            # What memory has is served, and says what it is.
            kept = client.get("/images/a?w=32")
            assert first.made(kept)
            assert kept.headers["cache-status"] == "lightfast; hit; detail=stale-store-away"
            assert kept.headers["cache-control"] == "no-cache"
            assert int(kept.headers["age"]) >= 0
            # So is what can be made of what memory has.
            for url, accept in (("/images/a?w=16", "*/*"), ("/images/a?w=48&auto=format", CHROME)):
                made = client.get(url, headers={"Accept": accept})
                assert first.made(made)
                assert made.headers["cache-status"] == "lightfast; fwd=uri-miss; stored; detail=stale-store-away"
                assert made.headers["cache-control"] == "no-cache"
                assert "age" in made.headers
            assert client.get("/images/a/preview").json()["width"] == 60
            # Of what it has not, nobody can say anything.
            gone = client.get("/images/b?w=32")
            assert gone.status_code == 503
            assert int(gone.headers["retry-after"]) >= 1
        finally:
            frozen.process.send_signal(signal.SIGCONT)
        again = hot(client, "/images/a?w=32")
        assert "age" not in again.headers
        assert first.made(client.get("/images/a?w=16"))
        assert second.made(client.get("/images/b?w=32"))


def test_what_changed_while_nobody_listened_is_found_out(start_here: Start, frozen: Any) -> None:
    with start_here(store=frozen.url, previews=False, memory_entries=1).client() as client:
        old, new = Flat(), Flat()
        put(client, "a", old.content)
        hot(client, "/images/a?w=32")
        frozen.command("CLIENT", "KILL", "TYPE", "normal")
        frozen.command("SET", "image:a", legacy(new))
        deadline = time.monotonic() + PATIENCE
        while (answer := client.get("/images/a?w=32")).status_code != 200 or not new.made(answer):
            assert time.monotonic() < deadline
        show(client, new, ("w=32",))
