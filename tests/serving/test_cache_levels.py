"""Cache-Status and Server-Timing: which level answered, and that no level ever answers with an old image."""

from __future__ import annotations

import re
import time

import pytest

pytestmark = pytest.mark.alone  # a change is heard of within 50 ms, if there is a core to hear it

MISS = "lightfast; fwd=uri-miss; stored"
GRACE = 0.1
"""Seconds that the news of a change in SQLite may take; what is promised begins after them."""

HIT = "lightfast; hit"


def status(client, path, **headers):
    return client.get(path, headers=headers).headers["cache-status"]


def test_a_miss_then_hits(client, sample):
    assert status(client, sample.path) == MISS
    assert status(client, sample.path) == HIT
    assert status(client, sample.path, Range="bytes=0-1") == HIT
    assert status(client, sample.path, If_None_Match=f'"{sample.etag}"') == HIT
    assert client.head(sample.path).headers["cache-status"] == HIT


def test_what_needs_no_bytes_loads_none(client, sample):
    unmodified = client.get(sample.path, headers={"If-None-Match": f'"{sample.etag}"'})
    assert unmodified.status_code == 304
    assert unmodified.headers["cache-status"] == "lightfast; fwd=uri-miss"
    assert client.head(sample.path).headers["cache-status"] == "lightfast; fwd=uri-miss"
    assert status(client, sample.path) == MISS


def test_a_write_leaves_no_old_copy(client, sample, picture):
    client.get(sample.path)
    for seed in range(2, 6):
        new = picture(seed=seed)
        client.put(sample.path, content=new)
        answer = client.get(sample.path)
        assert answer.content == new
        assert answer.headers["cache-status"] == MISS


def test_a_copy_that_another_process_replaced_is_served_no_longer_than_the_news_takes(start_lightfast, picture):
    one, other = start_lightfast(warm=False), start_lightfast(warm=False)
    first, second = picture(), picture(seed=2)
    with one.client() as here, other.client() as there:
        there.put("/images/a", content=first)
        assert here.get("/images/a").content == first
        assert here.get("/images/a").headers["cache-status"] == HIT
        there.put("/images/a", content=second)
        time.sleep(GRACE)
        answer = here.get("/images/a")
        assert answer.content == second
        assert answer.headers["cache-status"] == "lightfast; fwd=uri-miss; stored"
        assert answer.headers["cache-control"] == "no-cache"
        there.put("/images/a", content=first)
        time.sleep(GRACE)
        assert here.get("/images/a", headers={"If-None-Match": answer.headers["etag"]}).content == first
        there.delete("/images/a")
        time.sleep(GRACE)
        assert here.get("/images/a").status_code == 404


def test_an_image_too_large_for_the_cache_passes_through(start_lightfast, picture):
    server = start_lightfast(memory="64KiB")
    large, small = picture(150, 100), picture(32, 32)
    assert len(large) > 16 * 1024 > len(small) + 1024
    with server.client() as client:
        client.put("/images/large", content=large)
        client.put("/images/small", content=small)
        for _ in range(3):
            answer = client.get("/images/large")
            assert answer.content == large
            assert answer.headers["cache-status"] == "lightfast; fwd=uri-miss"
        assert status(client, "/images/small") == MISS
        assert status(client, "/images/small") == HIT


def test_the_cache_can_be_bounded_in_entries(start_lightfast, picture):
    server = start_lightfast(memory_entries="1")
    with server.client() as client:
        for id in ("a", "b"):
            client.put(f"/images/{id}", content=picture())
        assert [status(client, f"/images/{id}") for id in ("a", "a", "b", "b", "a")] == [MISS, HIT, MISS, HIT, MISS]


def test_a_missing_image_says_that_the_store_was_asked(client, fresh_id):
    assert status(client, f"/images/{fresh_id}") == "lightfast; fwd=uri-miss"


def test_server_timing_names_what_took_the_time(client, sample):
    number = r"\d+\.\d{3}"
    miss = client.get(sample.path).headers["server-timing"]
    assert re.fullmatch(rf"store;dur={number}, decode;dur={number}, total;dur={number}", miss)
    hit = client.get(sample.path).headers["server-timing"]
    assert re.fullmatch(rf"total;dur={number}", hit)
