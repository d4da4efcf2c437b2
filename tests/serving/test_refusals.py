"""Writes that are refused: why, with which status, and that nothing has changed. And who may write at all."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".gif": "image/gif",
}


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"type", "title", "status", "detail"}
    assert body["status"] == status
    return body["detail"]


def refused(client, path, content, status, **headers):
    """What is said of a PUT and of a POST that are refused alike; ``path`` names nothing before and after."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    detail = problem(client.put(path, content=content, headers=named), status)
    assert problem(client.post("/images", content=content, headers=named), status) == detail
    assert client.get(path).status_code == 404
    return detail


@pytest.mark.parametrize("suffix", TYPES)
def test_a_declared_type_that_contradicts_the_bytes(client, fresh_id, picture, suffix):
    content = picture(suffix=suffix)
    for declared in {"image/png", "image/jpeg", "image/svg+xml", "text/html", "banana"} - {TYPES[suffix]}:
        detail = refused(client, f"/images/{fresh_id}", content, 415, Content_Type=declared)
        assert declared in detail
        assert TYPES[suffix] in detail
    files = {"file": ("name", content, "image/bmp")}
    assert "image/bmp" in problem(client.post("/images", files=files), 415)
    body = {"base64_data": base64.b64encode(content).decode(), "mime_type": "image/bmp"}
    assert "image/bmp" in problem(client.post("/images", json=body), 415)


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"\0" * 1000,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html><script>alert(1)</script>",
        b"%PDF-1.7",
        b"BM" + b"\0" * 60,
        b"II*\0" + b"\0" * 60,
        b"\x1f\x8b\x08" + b"\0" * 20,
        b"\x89PN",
        b"RIFF\x10\0\0\0WAVE",
        b"\0\0\0\x18ftypheic" + b"\0" * 20,
    ],
)
def test_bytes_of_no_supported_type(client, fresh_id, content):
    for declared in ({}, {"Content_Type": "image/png"}):
        detail = refused(client, f"/images/{fresh_id}", content, 415, **declared)
        assert all(kind in detail for kind in TYPES.values())


@pytest.mark.parametrize("declared", [{}, {"Content_Type": "image/png"}])
def test_nothing_is_no_image(client, fresh_id, declared):
    assert "0 bytes" in refused(client, f"/images/{fresh_id}", b"", 422, **declared)
    problem(client.post("/images", json={"base64_data": ""}), 422)
    problem(client.post("/images", files={"file": ("a.png", b"", "image/png")}), 422)


@pytest.mark.parametrize("suffix", TYPES)
def test_truncated_images(client, fresh_id, picture, suffix):
    content = picture(suffix=suffix)
    for length in (len(content) * 3 // 4, len(content) // 2, 40):
        refused(client, f"/images/{fresh_id}", content[:length], 422)


def png_header(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (2**31 - 1, 1), (0, 10), (10, 0), (2**32 - 1, 2**32 - 1)]
)
def test_absurd_sizes_are_refused_by_the_header_alone(client, fresh_id, width, height):
    detail = refused(client, f"/images/{fresh_id}", png_header(width, height), 422)
    assert f"{width} × {height}" in detail


def test_the_largest_size_is_a_setting(start_lightfast, picture):
    with start_lightfast(max_pixels="100").client() as client:
        assert client.put("/images/a", content=picture(10, 10)).status_code == 201
        problem(client.put("/images/a", content=picture(11, 10)), 422)
        assert client.get("/images/a").content == picture(10, 10)


def multipart(content, disposition=b'form-data; name="file"; filename="a"', end=b"\r\n--b--\r\n"):
    return b"--b\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + content + end


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", multipart(b"x")),
        ("multipart/form-data; boundary=", multipart(b"x")),
        ("multipart/form-data; boundary=other", multipart(b"x")),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b"\0\xff nonsense"),
        ("multipart/form-data; boundary=b", multipart(b"x", end=b"")),
        ("multipart/form-data; boundary=b", multipart(b"x", b'form-data; name="picture"; filename="a"')),
        ("multipart/form-data; boundary=b", multipart(b"x", b'form-data; name="file"')),
        ("multipart/form-data; boundary=b", multipart(b"x", b"form-data")),
        ("multipart/form-data; boundary=b", multipart(b"x", end=b"\r\n") + multipart(b"y")),
        ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n"),
        (f"multipart/form-data; boundary={'b' * 5000}", b"x"),
        (
            "multipart/form-data; boundary=b; charset=undefined",
            multipart(b"x", 'form-data; name="file"; filename="ü"'.encode()),
        ),
        ("application/json", b""),
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b"null"),
        ("application/json", b'"base64_data"'),
        ("application/json", b"{}"),
        ("application/json", b'{"base64_data": null}'),
        ("application/json", b'{"base64_data": 5}'),
        ("application/json", b'{"base64_data": ["iVBOR"]}'),
        ("application/json", b'{"base64_data": "not base64!"}'),
        ("application/json", b'{"base64_data": "iVBO\xff"}'),
        ("application/json", b'{"base64_data": "data:image/png;base64"}'),
        ("application/json", b'{"base64_data": "iVBORw0KG'),
        ("application/json", b"[" * 100_000),
        ("application/json", b"\xef\xbb\xbf\0\0"),
    ],
)
def test_forms_that_cannot_be_read(server, client, kind, body):
    logged = len(server.log.read_bytes())
    problem(client.post("/images", content=body, headers={"Content-Type": kind}), 400)
    assert b"Traceback" not in server.log.read_bytes()[logged:]


def test_part_of_an_image_is_no_image(client, fresh_id, picture):
    # RFC 9110 §14.5: whoever does not understand Content-Range in a PUT must not take the part for the whole.
    detail = refused(client, f"/images/{fresh_id}", picture(), 400, Content_Range="bytes 0-99/1000")
    assert "Content-Range" in detail


def test_a_coded_body_is_not_taken_for_an_image(client, fresh_id, picture):
    refused(client, f"/images/{fresh_id}", zlib.compress(picture()), 415, Content_Encoding="deflate")


@pytest.fixture
def guarded(start_lightfast):
    return start_lightfast(write_token="s3cret-tokén")


def test_writing_and_listing_need_the_token(guarded, picture):
    with guarded.client() as client:
        right = {"Authorization": "Bearer s3cret-tokén".encode()}
        assert client.put("/images/a", content=picture(), headers=right).status_code == 201
        for wrong in (
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer s3cret"},
            {"Authorization": "Bearer s3cret-tokénn".encode()},
            {"Authorization": "Basic s3cret-tokén".encode()},
            {"Authorization": "s3cret-tokén".encode()},
            {"Authorization": b"Bearer \xff\xfe"},
        ):
            for method, path in (
                ("PUT", "/images/a"),
                ("PUT", "/images/b"),
                ("POST", "/images"),
                ("DELETE", "/images/a"),
                ("GET", "/images"),
            ):
                answer = client.request(method, path, headers=wrong, content=picture(seed=2))
                assert "token" in problem(answer, 401)
                assert answer.headers["www-authenticate"].startswith("Bearer")
            assert client.head("/images", headers=wrong).status_code == 401
        for path in ("/images/a", "/images/a/info", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200
        assert client.get("/images/a").content == picture()
        assert client.get("/images/b").status_code == 404
        assert [image["id"] for image in client.get("/images", headers=right).json()["images"]] == ["a"]
        assert client.post("/images", content=picture(), headers=right).status_code == 201
        right["Authorization"] = "bearer s3cret-tokén".encode()
        assert client.delete("/images/a", headers=right).status_code == 204
    assert "s3cret" not in guarded.log.read_text()


FULL = """
import sys
import lightfast.assembly
from lightfast.server import serve
from lightfast.settings import load_settings
lightfast.assembly.MEMORY_STORE_BYTES = 40_000
serve(load_settings(store="memory://", port=int(sys.argv[1])))
"""


def test_a_full_store_is_a_507_and_keeps_what_it_has(start_script, picture):
    first, large = picture(), picture(120, 100)
    with start_script(FULL).client() as client:
        for path in ("/images/a", "/images/c"):
            assert client.put(path, content=first).status_code == 201
        for path in ("/images/a", "/images/b"):
            problem(client.put(path, content=large), 507)
        assert client.get("/images/a").content == first
        assert client.get("/images/b").status_code == 404
        for path in ("/images/a", "/images/c"):
            assert client.delete(path).status_code == 204
        assert client.put("/images/b", content=large).status_code == 201
