"""Writes on condition: of the current version, and of what arrives being what was sent."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

from tests.support import etag_of


def test_preconditions_of_a_put(client, fresh_id, picture):
    path, first, second = f"/images/{fresh_id}", picture(), picture(seed=2)

    def put(content, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.put(path, content=content, headers=named).status_code

    assert put(first, If_Match="*") == 412
    assert client.get(path).status_code == 404
    assert put(first, If_None_Match="*") == 201
    before = client.get(path + "/info").json()
    long_ago = "Sun, 06 Nov 1994 08:49:37 GMT"
    for condition in (
        {"If_None_Match": "*"},
        {"If_None_Match": f'"{etag_of(first)}"'},
        {"If_None_Match": f'W/"{etag_of(first)}"'},
        {"If_Match": f'"{etag_of(second)}"'},
        {"If_Match": f'W/"{etag_of(first)}"'},
        {"If_Match": '"*"'},
        {"If_Unmodified_Since": long_ago},
    ):
        assert put(second, **condition) == 412
        assert client.get(path).content == first
        assert client.get(path + "/info").json() == before
    for condition in ({"If_Match": etag_of(first)}, {"If_None_Match": ""}, {"If_Match": "nonsense"}):
        assert put(second, **condition) == 400
        assert client.get(path).content == first
    assert put(second, If_Match=f'"x", "{etag_of(first)}"', If_Unmodified_Since=long_ago) == 200
    assert client.get(path).content == second


def test_preconditions_of_a_delete_and_a_post(client, sample, picture):
    assert client.delete(sample.path, headers={"If-Match": '"other"'}).status_code == 412
    assert client.get(sample.path).content == sample.content
    assert client.delete(sample.path, headers={"If-Match": f'"{sample.etag}"'}).status_code == 204
    assert client.delete(sample.path, headers={"If-Match": "*"}).status_code == 412
    assert client.post("/images", content=picture(), headers={"If-None-Match": "*"}).status_code == 201
    assert client.post("/images", content=picture(), headers={"If-Match": "*"}).status_code == 412


def test_of_twenty_writers_with_one_condition_one_wins(server, fresh_id, picture):
    path = f"/images/{fresh_id}"
    pictures = [picture(16, 16, seed=seed) for seed in range(1, 21)]
    with server.client() as client, ThreadPoolExecutor(20) as pool:
        for expected, condition in (
            (201, lambda: {"If-None-Match": "*"}),
            (200, lambda: {"If-Match": client.head(path).headers["etag"]}),
        ):
            headers = condition()

            def put(content, headers=headers):
                return client.put(path, content=content, headers=headers).status_code

            codes = list(pool.map(put, pictures))
            assert sorted(codes) == [expected] + [412] * 19
            assert client.get(path).content == pictures[codes.index(expected)]
            pictures.reverse()


def digest_of(content, algorithm="sha-256"):
    digest = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"


def test_a_content_digest_is_checked(client, fresh_id, picture):
    path, content = f"/images/{fresh_id}", picture()
    wrong = digest_of(b"other")
    for digest in (wrong, f"{digest_of(content, 'sha-512')}, {wrong}", "sha-256", "sha-256=abc", "sha-256=:!:", "("):
        answer = client.put(path, content=content, headers={"Content-Digest": digest})
        assert answer.status_code == 400
        assert "Content-Digest" in answer.json()["detail"]
        assert client.get(path).status_code == 404
    for digest in (digest_of(content), f"{digest_of(content)}, {digest_of(content, 'sha-512')}", "md5=:AA==:"):
        assert client.put(path, content=content, headers={"Content-Digest": digest}).status_code in (200, 201)
    # RFC 9530 §2: of the content of the message, not of the picture in it.
    body = f'{{"base64_data": "{base64.b64encode(content).decode()}"}}'.encode()
    headers = {"Content-Type": "application/json"}
    for data, expected in ((body, 201), (content, 400)):
        given = headers | {"Content-Digest": digest_of(data)}
        assert client.post("/images", content=body, headers=given).status_code == expected
