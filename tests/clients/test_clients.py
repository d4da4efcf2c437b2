"""Clients of imgix, unchanged and in their pinned versions: every URL that they build is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imgix
import pytest
from tests.clients.conftest import DOMAIN, HEIGHT, TOKEN, WIDTH, Came, Site

LOADER = re.compile(r"```js\n(export default function .*?)```", re.DOTALL)
VARIANTS_PAGE = Path(__file__).parents[2] / "docs" / "variants.md"

Node = Callable[..., Any]


@pytest.fixture(params=["signed", "open_to_all"])
def site(request: pytest.FixtureRequest) -> Site:
    """Where every variant can be had: with a signature, or without."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def token(site: Site, signed: Site) -> list[str]:
    return [TOKEN] if site is signed else []


def pairs(srcset: str) -> list[tuple[str, str]]:
    """URLs with their descriptors."""
    return [(url, descriptor) for url, _, descriptor in (it.partition(" ") for it in srcset.split(",\n"))]


def check_widths(site: Site, srcset: str, count: int, media_type: str = "image/webp") -> None:
    """A ``srcset`` of widths: each comes as it says."""
    found = pairs(srcset)
    assert len(found) == count
    for url, descriptor in found:
        came = site.picture(url)
        assert (came.media_type, f"{came.width}w") == (media_type, descriptor), url


def check_densities(site: Site, srcset: str, width: int, count: int) -> None:
    """A ``srcset`` of densities: each is so many times ``width``."""
    found = pairs(srcset)
    assert [descriptor for _, descriptor in found] == [f"{ratio}x" for ratio in range(1, count + 1)]
    for ratio, (url, _) in enumerate(found, 1):
        assert site.picture(url).width == width * ratio, url


def test_js_core_builds_urls(site: Site, token: list[str], node: Node) -> None:
    urls = node("imgix.mjs", DOMAIN, *token)["urls"]
    assert all(("&s=" in url) is bool(token) for url in urls.values())
    assert site.picture(urls["original"]) == Came("image/png", WIDTH, HEIGHT)
    assert site.picture(urls["resized"]) == Came("image/webp", 512, 8)
    assert site.picture(urls["resized"], "image/avif,image/webp,*/*") == Came("image/avif", 512, 8)
    assert site.picture(urls["resized"], "*/*") == Came("image/png", 512, 8)
    assert site.picture(urls["cropped"]) == Came("image/jpeg", 300, 169)
    assert site.picture(urls["filled"]) == Came("image/webp", 300, 200)
    assert site.picture(urls["encoded"]) == Came("image/png", 200, 3)


def test_js_core_builds_srcsets(site: Site, token: list[str], node: Node) -> None:
    sets = node("imgix.mjs", DOMAIN, *token)["sets"]
    check_widths(site, sets["fluid"], count=31)
    check_densities(site, sets["fixed"], 256, count=5)
    check_densities(site, sets["portrait"], 85, count=5)


def test_python_builds_urls_and_srcsets(site: Site, token: list[str]) -> None:
    builder = imgix.UrlBuilder(DOMAIN, sign_key=token[0] if token else None)
    assert site.picture(builder.create_url("/images/strip")) == Came("image/png", WIDTH, HEIGHT)
    cropped = {"w": 300, "h": 100, "fit": "crop", "crop": "left", "fm": "avif", "monochrome": "ff8800"}
    assert site.picture(builder.create_url("/images/strip", cropped)) == Came("image/avif", 300, 100)
    check_widths(site, builder.create_srcset("/images/strip", {"fm": "jpg"}), count=31, media_type="image/jpeg")
    check_densities(site, builder.create_srcset("/images/strip", {"w": 100}), 100, count=5)


def test_a_url_that_was_changed_after_it_was_signed_is_refused(signed: Site, node: Node) -> None:
    urls = [url for url, _ in pairs(node("imgix.mjs", DOMAIN, TOKEN)["sets"]["fluid"])]
    assert signed.get(urls[0].replace("w=100", "w=101")).status_code == 403
    assert signed.get(urls[0].replace("&s=", "&s=0")).status_code == 403
    assert signed.get(urls[0].partition("&s=")[0]).status_code == 403
    other = node("imgix.mjs", DOMAIN, "a-token-of-somebody-else")["urls"]["cropped"]
    assert signed.get(other).status_code == 403


def test_clients_that_keep_to_the_list_need_no_signature(signed: Site, node: Node) -> None:
    sets = node("imgix.mjs", DOMAIN)["sets"]
    check_widths(signed, sets["listed"], count=4)
    check_densities(signed, sets["dense"], 256, count=3)
    assert all(signed.get(url).status_code == 403 for url, _ in pairs(sets["fluid"])[:3])
    builder = imgix.UrlBuilder(DOMAIN)
    check_widths(signed, builder.create_srcset("/images/strip", {"auto": "format"}, widths=[64, 2048]), count=2)


def test_unpic_transforms_urls_that_were_handed_out(signed: Site, open_to_all: Site, node: Node) -> None:
    made = node("unpic.mjs", signed.url)
    assert signed.picture(made["original"]) == Came("image/png", WIDTH, HEIGHT)
    assert signed.picture(made["wide"]) == Came("image/webp", 640, 10)
    assert signed.picture(made["again"]) == Came("image/webp", 750, 12)
    assert signed.picture(made["square"]) == Came("image/webp", 64, 64)
    assert signed.picture(made["webp"]) == Came("image/webp", 1080, 17)
    assert signed.get(made["wide"]).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert made["extracted"].items() >= {"width": 640, "quality": 75, "auto": "format"}.items()
    assert signed.get(made["odd"]).status_code == 403
    assert open_to_all.picture(node("unpic.mjs", open_to_all.url)["odd"]) == Came("image/webp", 641, 10)


@pytest.mark.parametrize("handed_out", ["path", "url"])
def test_the_loader_for_next_image_keeps_to_the_list(handed_out: str, signed: Site, node: Node, tmp_path: Path) -> None:
    (code,) = LOADER.findall(VARIANTS_PAGE.read_text())
    assert len(code.splitlines()) == 5
    loader = tmp_path / "loader.mjs"
    loader.write_text(code.replace("img.example.com", DOMAIN))
    src = signed.url if handed_out == "url" else signed.url.removeprefix(f"https://{DOMAIN}")
    built = node("next.mjs", loader, src)
    assert len(built) == 16
    for url, width in built:
        came = signed.picture(url)
        assert (came.media_type, came.width) == ("image/webp", width), url
        assert signed.get(url).headers["cache-control"] == "public, max-age=31536000, immutable"
