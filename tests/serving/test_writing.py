"""Storing images over HTTP: every type and form, what the answer says, and preconditions."""

from __future__ import annotations

import base64
import re
import time
from datetime import datetime

import pytest
import pyvips
from tests.support import etag_of

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".gif": "image/gif",
}


def as_json(content, **fields):
    return {"base64_data": base64.b64encode(content).decode()} | fields


@pytest.mark.parametrize("suffix", TYPES)
def test_every_type_comes_back_as_it_was(client, fresh_id, picture, suffix):
    content = picture(71, 39, suffix=suffix)
    path = f"/images/{fresh_id}"
    before = time.time()
    answer = client.put(path, content=content)
    after = time.time()
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    etag = etag_of(content)
    assert answer.headers["etag"] == f'"{etag}"'
    assert answer.headers["location"] == f"{path}?v={etag}"
    info = answer.json()
    created, expires = (datetime.fromisoformat(info.pop(name)).timestamp() for name in ("created", "expires"))
    assert before - 1 <= created <= after + 1
    assert expires == pytest.approx(created + 7200, abs=1)
    assert info == {
        "id": fresh_id,
        "url": f"{path}?v={etag}",
        "etag": etag,
        "media_type": TYPES[suffix],
        "width": 71,
        "height": 39,
        "bytes": len(content),
        "replaced": False,
        "preview": info["preview"],  # in time or not
    }
    got = client.get(answer.headers["location"])
    assert got.content == content
    assert got.headers["content-type"] == TYPES[suffix]
    described = client.get(f"{path}/info").json()
    assert described["preview"]["width"] == 71
    assert described | {"preview": info["preview"]} == answer.json()


def test_an_animation_and_one_with_alpha(client, fresh_id):
    frames = pyvips.Image.arrayjoin([pyvips.Image.black(20, 10) + shade for shade in (0, 90, 200)], across=1)
    frames = frames.cast("uchar").copy(interpretation="b-w").colourspace("srgb")
    frames.set_type(pyvips.GValue.gint_type, "page-height", 10)
    for suffix in (".gif", ".webp"):
        content = frames.write_to_buffer(suffix)
        info = client.put(f"/images/{fresh_id}{suffix}", content=content).json()
        assert (info["width"], info["height"]) == (20, 10)
        assert client.get(f"/images/{fresh_id}{suffix}").content == content
    clear = frames.addalpha().write_to_buffer(".png")
    assert client.put(f"/images/{fresh_id}", content=clear).status_code == 201


@pytest.mark.parametrize(
    "declared",
    [
        None,
        "image/png",
        "IMAGE/PNG; charset=binary",
        "image/x-png",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ],
)
def test_a_declared_type_that_fits_or_claims_nothing(client, fresh_id, picture, declared):
    headers = {"Content-Type": declared} if declared else {}
    assert client.put(f"/images/{fresh_id}", content=picture(), headers=headers).status_code == 201
    assert client.post("/images", content=picture(), headers=headers).status_code == 201


def test_the_name_of_an_id_decides_nothing(client, fresh_id, picture):
    client.put(f"/images/{fresh_id}.png", content=picture(suffix=".jpg"))
    assert client.get(f"/images/{fresh_id}.png").headers["content-type"] == "image/jpeg"


def test_replacing_is_a_200_and_says_so(client, sample, picture):
    second = picture(seed=2)
    answer = client.put(sample.path, content=second)
    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert answer.headers["etag"] == f'"{etag_of(second)}"'
    assert answer.json()["replaced"] is True
    assert client.get(sample.path).content == second


def test_posted_ids_are_valid_distinct_and_not_to_be_guessed(client, picture):
    answers = [client.post("/images", content=picture()) for _ in range(20)]
    ids = {answer.json()["id"] for answer in answers}
    assert len(ids) == 20
    for answer in answers:
        assert answer.status_code == 201
        # 128 bits, and no two share a beginning as a counter or a clock would make them.
        assert re.fullmatch(r"[0-9a-f]{32}", answer.json()["id"])
        assert client.get(answer.headers["location"]).content == picture()
    assert len({id[:6] for id in ids}) == 20
    assert len({id[-6:] for id in ids}) == 20


@pytest.mark.parametrize("suffix", TYPES)
def test_a_multipart_form(client, picture, suffix):
    content = picture(suffix=suffix)
    for kind in (TYPES[suffix], "application/octet-stream", None):
        files = {"file": ("../../etc/evil name", content, kind)}
        answer = client.post("/images", files=files, data={"other": "field"})
        assert answer.status_code == 201
        assert client.get(answer.headers["location"]).content == content
        assert answer.json()["media_type"] == TYPES[suffix]


@pytest.mark.parametrize("suffix", TYPES)
def test_the_json_of_existing_apps(client, picture, suffix):
    content, kind = picture(suffix=suffix), TYPES[suffix]
    text = base64.b64encode(content).decode()
    for body in (
        as_json(content),
        as_json(content, mime_type=kind),
        as_json(content, content_type=kind),
        as_json(content, format=kind.removeprefix("image/")),
        as_json(content, mime_type=kind, prompt="a cat", seed=7, nested={"base64_data": "no"}),
        {"base64_data": f"data:{kind};base64,{text}"},
        {"prompt": 'quote " and \\ slash', "base64_data": text},
    ):
        answer = client.post("/images", json=body)
        assert answer.status_code == 201, answer.text
        assert client.get(answer.headers["location"]).content == content


def test_a_body_of_unknown_length(server, client, fresh_id, picture):
    content = picture()
    chunks = (content[at : at + 7] for at in range(0, len(content), 7))
    assert client.put(f"/images/{fresh_id}", content=chunks).status_code == 201
    assert client.get(f"/images/{fresh_id}").content == content


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("1h30m", 5400),
        ("7200", 7200),
        ("7d", 604800),
        ("90s", 90),
        ("60500ms", 60.5),
        ("100.5", 100.5),
        ("0", None),
        ("0s", None),
    ],
)
def test_a_time_to_live(client, fresh_id, picture, ttl, seconds):
    for answer in (
        client.put(f"/images/{fresh_id}", params={"ttl": ttl}, content=picture()),
        client.post("/images", params={"ttl": ttl}, content=picture()),
    ):
        info = answer.json()
        if seconds is None:
            assert info["expires"] is None
            continue
        lifetime = datetime.fromisoformat(info["expires"]) - datetime.fromisoformat(info["created"])
        assert lifetime.total_seconds() == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("ttl", ["", "-1", "forever", "1y", "1e3", "inf", "nan", "2h ", "٣", "1" * 40, "40000d", "1_0"])
def test_what_is_no_time_to_live(client, fresh_id, picture, ttl):
    answer = client.put(f"/images/{fresh_id}", params={"ttl": ttl}, content=picture())
    assert answer.status_code == 400
    assert "ttl" in answer.json()["detail"]
    assert client.get(f"/images/{fresh_id}").status_code == 404


def test_the_default_time_to_live_is_a_setting_and_putting_again_renews_it(start_lightfast, picture):
    with start_lightfast(ttl="0").client() as client:
        assert client.put("/images/a", content=picture()).json()["expires"] is None
        assert client.put("/images/a?ttl=1h", content=picture()).json()["expires"] is not None
        assert client.get("/images/a/info").json()["expires"] is not None
        client.put("/images/a", content=picture())
        assert client.get("/images/a/info").json()["expires"] is None


def test_urls_carry_the_public_address(start_lightfast, picture):
    with start_lightfast(public_url="https://img.example.com/base/").client() as client:
        answer = client.put("/images/a", content=picture())
        assert answer.headers["location"] == f"https://img.example.com/base/images/a?v={etag_of(picture())}"
        assert answer.json()["url"] == answer.headers["location"]
