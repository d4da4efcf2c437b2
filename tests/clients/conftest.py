"""Servers that were never told of the clients, and what the clients make of a picture there."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import pyvips
from tests.serving.conftest import Server, _start

HERE = Path(__file__).parent
DOMAIN = "images.example.com"
TOKEN = "a-token-of-imgix-16"  # noqa: S105
WIDTH, HEIGHT = 8192, 128
"""As wide as the widest that the clients ask for, so that every width comes exactly, and quick to make."""


@dataclass(frozen=True)
class Came:
    """A picture as it came: what was said of it, and what it is."""

    media_type: str
    width: int
    height: int


@dataclass
class Site:
    """A server with one picture, ``strip``, reached by the URLs that are on the pages of a site."""

    server: Server
    client: httpx2.Client
    url: str
    """That the answer to the write had."""

    def get(self, url: str, accept: str = "image/webp,*/*") -> httpx2.Response:
        """Ask for path and query as they are, with the Host that a browser sends. TLS ends before this server."""
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc) == ("https", DOMAIN)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return self.client.get(target, headers={"Host": DOMAIN, "Accept": accept})

    def picture(self, url: str, accept: str = "image/webp,*/*") -> Came:
        """Fetch and decode what has to come."""
        answer = self.get(url, accept)
        assert answer.status_code == 200, (url, answer.text)
        image = pyvips.Image.new_from_buffer(answer.content, "")
        return Came(answer.headers["content-type"], image.width, image.height)


def _site(directory: Path, settings: dict[str, str]) -> Site:
    server = _start(directory, public_url=f"https://{DOMAIN}", **settings)
    client = server.client()
    stored = client.put("/images/strip", content=_strip())
    assert stored.status_code == 201, stored.text
    return Site(server, client, stored.json()["url"])


def _strip() -> bytes:
    ramp = pyvips.Image.identity().resize(WIDTH / 256, vscale=HEIGHT).cast("uchar")
    picture = ramp.bandjoin([ramp.fliphor(), ramp // 2]).copy(interpretation="srgb")
    return bytes(picture.write_to_buffer(".png"))


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """One that wants signatures for what is not listed, and one that is open to all. Begun together: it takes long."""
    directories = [tmp_path_factory.mktemp(name) for name in ("signed", "open")]
    with ThreadPoolExecutor() as pool:
        signed, open = pool.map(
            _site, directories, ({"signature": "imgix", "signing_keys": TOKEN}, {"variants": "open"})
        )
    yield signed, open
    for site in (signed, open):
        site.client.close()
        site.server.stop(signal.SIGKILL)


@pytest.fixture
def signed(sites: tuple[Site, Site]) -> Site:
    return sites[0]


@pytest.fixture
def open_to_all(sites: tuple[Site, Site]) -> Site:
    return sites[1]


@pytest.fixture(scope="session")
def node() -> Callable[..., Any]:  # Any: JSON
    """Runs a script of this directory; what it prints."""

    def run(script: str, *arguments: str | Path) -> Any:
        command = ["node", HERE / script, *arguments]
        return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)

    return run
