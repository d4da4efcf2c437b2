"""What the tests of variants have in common: looking at what came, at the numbers, and waiting."""

from __future__ import annotations

import re
from urllib.parse import quote

import httpx2
import pyvips
from tests.support import wait_until

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
SAFARI = (
    "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/*;q=0.5,*/*;q=0.1"
)
OLD_CHROME = "image/webp,image/apng,image/*,*/*;q=0.8"
CURL = "*/*"


def number(client: httpx2.Client, name: str, labels: str = "") -> int:
    """A number of ``/metrics``; the sum where there are several of that name. ``labels`` as they are written there."""
    found = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", client.get("/metrics").text, re.M)
    values = [float(value) for given, value in found if labels in given]
    assert values or labels, name
    return int(sum(values))


def renders(client: httpx2.Client) -> int:
    return number(client, "lightfast_renders_total")


def decoded(answer: httpx2.Response, *, frames: int = 1) -> pyvips.Image:
    """The picture in ``answer``; all of its frames below each other with ``frames=-1``."""
    assert answer.status_code == 200, answer.text
    more = {} if frames == 1 else {"n": frames}
    return pyvips.Image.new_from_buffer(answer.content, "", **more)


LOADERS = {"png": "png", "jpeg": "jpeg", "webp": "webp", "avif": "heif", "gif": "gif"}


def shape(answer: httpx2.Response) -> tuple[str, int, int]:
    """Media type, width and height of the picture in ``answer``, whose bytes are what the head says."""
    image = decoded(answer)
    kind = answer.headers["content-type"].removeprefix("image/")
    assert str(image.get("vips-loader")).startswith(LOADERS[kind])
    return kind, image.width, image.height


def hot(client: httpx2.Client, url: str, **headers: str) -> httpx2.Response:
    """The first answer from the hot path."""

    def answer() -> httpx2.Response | None:
        found = client.get(url, headers=headers)
        return found if found.headers.get("server-timing") == "hot" else None

    return wait_until(answer, url)  # type: ignore[no-any-return]  # it is that


def settled(client: httpx2.Client, url: str, **headers: str) -> httpx2.Response:
    """The answer as soon as it is one to stay: not an AVIF that was made in a hurry."""

    def answer() -> httpx2.Response | None:
        found = client.get(url, headers=headers)
        assert found.status_code == 200
        return found if found.headers["cache-control"] != "no-cache" else None

    return wait_until(answer, url)  # type: ignore[no-any-return]  # it is that


def put(client: httpx2.Client, id: str, content: bytes, query: str = "") -> str:
    """Store an image; its ETag without quotes."""
    answer = client.put(f"/images/{quote(id)}{query}", content=content)
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["etag"])


def animation(side: int = 16, frames: int = 3, suffix: str = ".gif") -> bytes:
    """A picture that moves."""
    pages = [(pyvips.Image.black(side, side, bands=3) + 60 * frame).cast("uchar") for frame in range(1, frames + 1)]
    whole = pyvips.Image.arrayjoin(pages, across=1).copy(interpretation="srgb")
    whole.set_type(pyvips.GValue.gint_type, "page-height", side)
    whole.set_type(pyvips.GValue.array_int_type, "delay", [100] * frames)
    return bytes(whole.write_to_buffer(suffix))


def transparent(width: int = 40, height: int = 30) -> bytes:
    clear = pyvips.Image.black(width, height, bands=4).copy(interpretation="srgb")
    return bytes(clear.draw_rect([200, 30, 30, 255], 5, 5, 10, 10, fill=True).write_to_buffer(".png"))
