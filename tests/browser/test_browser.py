"""What a real browser does with our pictures: when it asks, what it shows, what its scripts may see."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error, Page

RED, BLUE = (200, 30, 60), (20, 40, 210)

SIZE = """async () => {
    const picture = document.querySelector('img');
    await picture.decode();
    return [picture.naturalWidth, picture.naturalHeight];
}"""

COLOUR = """() => {
    const picture = document.querySelector('img');
    const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
    const pen = canvas.getContext('2d');
    pen.drawImage(picture, 0, 0);
    return Array.from(pen.getImageData(0, 0, 1, 1).data.slice(0, 3));
}"""


def shown(page: Page) -> list[int]:
    """Width and height of the picture on the page, once it is loaded and decoded. Pixels."""
    return page.evaluate(SIZE)


def colour(page: Page) -> tuple[int, ...]:
    """Red, green and blue of the picture's first pixel, as scripts read it."""
    shown(page)
    return tuple(page.evaluate(COLOUR))


def img(url: str) -> str:
    return f'<img crossorigin src="{url}">'


@pytest.mark.parametrize("versioned", [False, True], ids=["bare", "versioned"])
def test_who_has_seen_it_does_not_ask_again(visitor, site, images, picture, id, versioned):
    stored = images.put(id, picture())
    url = stored if versioned else images.bare(id)
    here, there = site.page(f'<img src="{url}">'), site.page(f'Another page <img src="{url}">')

    tab = visitor.new_page()
    tab.goto(here)
    assert shown(tab) == [320, 200]
    assert images.asked(id) == [("GET", 200)]

    second = visitor.new_page()
    for view in (here, there):
        second.goto(view)
        assert shown(second) == [320, 200]
    tab.goto(there)
    assert shown(tab) == [320, 200]
    tab.reload()
    assert shown(tab) == [320, 200]
    assert images.asked(id) == [("GET", 200)], "only the first view asked"


def test_everybody_asks_for_themselves(browser, site, images, picture, id):
    images.put(id, picture())
    page = site.page(img(images.bare(id)))
    for visits in (1, 2):
        with browser.new_context() as somebody:
            tab = somebody.new_page()
            tab.goto(page)
            shown(tab)
        assert images.asked(id) == [("GET", 200)] * visits


def test_the_url_of_the_new_version_shows_the_new_picture(visitor, site, images, picture, id):
    tab = visitor.new_page()
    tab.goto(site.page(img(images.put(id, picture(RED)))))
    assert colour(tab) == RED
    tab.goto(site.page(img(images.put(id, picture(BLUE)))))
    assert colour(tab) == BLUE


def test_a_bare_url_that_was_replaced_is_asked_for_each_time(visitor, site, images, picture, id):
    images.put(id, picture(RED))
    images.put(id, picture(BLUE))
    page = site.page(img(images.bare(id)))
    for answers in ([200], [200, 304], [200, 304, 304]):
        tab = visitor.new_page()
        tab.goto(page)
        assert colour(tab) == BLUE
        assert images.asked(id) == [("GET", status) for status in answers]
    images.put(id, picture(RED))
    tab = visitor.new_page()
    tab.goto(page)
    assert colour(tab) == RED
    assert images.asked(id)[3:] == [("GET", 200)]


def test_a_bare_url_seen_before_the_first_replacement_is_kept(visitor, site, images, picture, id):
    page = site.page(img(images.bare(id)))
    images.put(id, picture(RED))
    visitor.new_page().goto(page)
    images.put(id, picture(BLUE))
    tab = visitor.new_page()
    tab.goto(page)
    assert colour(tab) == RED, "an hour is promised; whoever replaces hands out URLs with the version"
    assert images.asked(id) == [("GET", 200)]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".gif"])
def test_every_format_has_its_size(visitor, site, images, picture, id, suffix):
    tab = visitor.new_page()
    tab.goto(site.page(f'<img src="{images.put(id, picture(width=321, height=123, suffix=suffix))}">'))
    assert shown(tab) == [321, 123]


def test_scripts_of_another_origin_read_what_the_answer_says(visitor, site, images, picture, id):
    url = images.put(id, content := picture())
    tab = visitor.new_page()
    tab.goto(site.page("A page without a picture"))
    answer = tab.evaluate(
        """async url => {
            const whole = await fetch(url);
            const bytes = await whole.arrayBuffer();
            return {...Object.fromEntries(whole.headers), status: whole.status, bytes: bytes.byteLength};
        }""",
        url,
    )
    etag = url.partition("?v=")[2]
    assert (answer["status"], answer["bytes"], answer["etag"]) == (200, len(content), f'"{etag}"')
    assert answer["cache-status"].startswith("lightfast; ")
    assert "total;dur=" in answer["server-timing"]
    assert answer["cache-control"] == "public, max-age=31536000, immutable"


def test_scripts_of_another_origin_ask_for_parts_and_on_conditions(visitor, site, images, picture, id):
    etag = images.put(id, content := picture()).partition("?v=")[2]
    tab = visitor.new_page()
    tab.goto(site.page("A page without a picture"))
    fetched = """async ([url, headers]) => {
        const answer = await fetch(url, {headers, cache: 'no-store'});
        return [answer.status, answer.headers.get('content-range'), (await answer.arrayBuffer()).byteLength];
    }"""
    part = tab.evaluate(fetched, [images.bare(id), {"Range": "bytes=0-9, 20-29"}])
    assert (part[0], part[2] > 20) == (206, True)
    part = tab.evaluate(fetched, [images.bare(id), {"Range": "bytes=10-19", "If-Range": f'"{etag}"'}])
    assert part == [206, f"bytes 10-19/{len(content)}", 10]
    assert tab.evaluate(fetched, [images.bare(id), {"If-None-Match": f'"{etag}"'}]) == [304, None, 0]
    assert ("OPTIONS", 204) in images.asked(id), "the browser asked first whether it may"


def test_a_canvas_is_readable_only_with_crossorigin(visitor, site, images, picture, id):
    url = images.put(id, picture(BLUE))
    tab = visitor.new_page()
    tab.goto(site.page(img(url)))
    assert colour(tab) == BLUE
    tab.goto(site.page(f'<img src="{url}">'))
    with pytest.raises(Error, match="tainted"):
        colour(tab)


def test_a_download_has_a_good_file_name(visitor, site, images, picture, id):
    url = images.put(id, content := picture(suffix=".webp"))
    tab = visitor.new_page()
    tab.goto(site.page(f'<a href="{url}&download=1">Save</a>'))
    with tab.expect_download() as download:
        tab.get_by_text("Save").click()
    assert download.value.suggested_filename == f"{id}.webp"
    assert download.value.path().read_bytes() == content


def test_the_documentation_needs_no_other_host(visitor, images):
    tab = visitor.new_page()
    asked, complaints = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("requestfailed", lambda request: complaints.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(f"{images.url}/docs", wait_until="networkidle")
    operations = tab.locator(".swagger-ui .opblock-summary-path")
    operations.first.wait_for()
    paths = {text.replace("\u200b", "") for text in operations.all_inner_texts()}
    assert {"/images", "/images/{id}", "/images/{id}/info", "/healthz", "/readyz"} <= paths
    tab.locator(".opblock-put .opblock-summary").first.click()
    tab.get_by_text("Stored under an id that named nothing before").wait_for()
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {urlsplit(images.url).netloc}
    assert not complaints
