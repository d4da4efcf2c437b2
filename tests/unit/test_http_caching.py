from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.http.caching import (
    CacheOutcome,
    CachePolicy,
    Forward,
    cache_control,
    cache_status,
    missing_cache_control,
    server_timing,
)
from lightfast.model import Meta

NOW = 1_790_000_000.25
ETAG = "0cc175b9c0f1b6a831c399e269772661"
NEVER_REPLACED = Meta(
    id="hero_abc123",
    etag=ETAG,
    media_type="image/png",
    size=1,
    width=1,
    height=1,
    created=NOW - 100,
    replaced=False,
    expires=None,
)
REPLACED = replace(NEVER_REPLACED, replaced=True)
DEFAULT = CachePolicy()
YEAR = "public, max-age=31536000, immutable"


def expiring(seconds: float) -> Meta:
    return replace(NEVER_REPLACED, expires=NOW + seconds)


@pytest.mark.parametrize(
    ("meta", "version", "policy", "expected"),
    [
        (NEVER_REPLACED, ETAG, DEFAULT, YEAR),
        (REPLACED, ETAG, DEFAULT, YEAR),
        (expiring(5), ETAG, DEFAULT, YEAR),
        (NEVER_REPLACED, ETAG, CachePolicy(browser_ttl=0, immutable=False), YEAR),
        (NEVER_REPLACED, "f" * 32, DEFAULT, "no-cache"),
        (NEVER_REPLACED, ETAG.upper(), DEFAULT, "no-cache"),
        (NEVER_REPLACED, "", DEFAULT, "no-cache"),
        (REPLACED, None, DEFAULT, "no-cache"),
        (NEVER_REPLACED, None, DEFAULT, "public, max-age=3600, immutable"),
        (NEVER_REPLACED, None, CachePolicy(immutable=False), "public, max-age=3600"),
        (NEVER_REPLACED, None, CachePolicy(browser_ttl=90.9), "public, max-age=90, immutable"),
        (NEVER_REPLACED, None, CachePolicy(browser_ttl=0.9), "no-cache"),
        (NEVER_REPLACED, None, CachePolicy(browser_ttl=0), "no-cache"),
        (expiring(7200), None, DEFAULT, "public, max-age=3600, immutable"),
        (expiring(3600), None, DEFAULT, "public, max-age=3600, immutable"),
        (expiring(3599.5), None, DEFAULT, "public, max-age=3599, immutable"),
        (expiring(1), None, DEFAULT, "public, max-age=1, immutable"),
        (expiring(0.5), None, DEFAULT, "no-cache"),
        (expiring(0), None, DEFAULT, "no-cache"),
        (expiring(-10), None, DEFAULT, "no-cache"),
    ],
)
def test_cache_control(meta: Meta, version: str | None, policy: CachePolicy, expected: str) -> None:
    assert cache_control(meta, version, policy, NOW) == expected


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_bare_url_is_never_kept_beyond_the_image(ttl: float, life: float) -> None:
    meta = expiring(life)
    value = cache_control(meta, None, CachePolicy(browser_ttl=ttl), NOW)
    if value == "no-cache":
        assert min(ttl, life) < 1.001
    else:
        seconds = int(value.removeprefix("public, max-age=").removesuffix(", immutable"))
        assert 1 <= seconds <= ttl
        assert meta.expires is not None
        assert NOW + seconds <= meta.expires


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [(1, "public, max-age=1"), (2.9, "public, max-age=2"), (0.9, "no-cache"), (0, "no-cache")],
)
def test_missing(ttl: float, expected: str) -> None:
    assert missing_cache_control(CachePolicy(missing_ttl=ttl)) == expected


@pytest.mark.parametrize("ttl", [-1, math.inf, math.nan])
def test_a_policy_is_finite_and_not_negative(ttl: float) -> None:
    with pytest.raises(ValueError, match="time to live"):
        CachePolicy(browser_ttl=ttl)
    with pytest.raises(ValueError, match="time to live"):
        CachePolicy(missing_ttl=ttl)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (CacheOutcome(hit=True), "lightfast; hit"),
        (CacheOutcome(hit=True, detail="stale-store-away"), "lightfast; hit; detail=stale-store-away"),
        (CacheOutcome(False, Forward.URI_MISS), "lightfast; fwd=uri-miss"),
        (CacheOutcome(False, Forward.URI_MISS, stored=True), "lightfast; fwd=uri-miss; stored"),
        (
            CacheOutcome(False, Forward.URI_MISS, stored=True, collapsed=True),
            "lightfast; fwd=uri-miss; stored; collapsed",
        ),
        (CacheOutcome(False, Forward.URI_MISS, collapsed=True), "lightfast; fwd=uri-miss; collapsed"),
        (CacheOutcome(False, Forward.STALE, stored=True), "lightfast; fwd=stale; stored"),
        (CacheOutcome(False, Forward.STALE, detail="x"), "lightfast; fwd=stale; detail=x"),
    ],
)
def test_cache_status(outcome: CacheOutcome, expected: str) -> None:
    assert cache_status(outcome) == expected


@pytest.mark.parametrize("detail", ["", "two words", "1st", "a;b", "a\r\nb", "ä"])
def test_a_detail_is_a_token(detail: str) -> None:
    with pytest.raises(ValueError, match="no token"):
        CacheOutcome(hit=True, detail=detail)


def test_an_outcome_does_not_contradict_itself() -> None:
    with pytest.raises(ValueError, match="either"):
        CacheOutcome(hit=False)
    with pytest.raises(ValueError, match="either"):
        CacheOutcome(hit=True, forward=Forward.STALE)
    with pytest.raises(ValueError, match="forwarded"):
        CacheOutcome(hit=True, stored=True)
    with pytest.raises(ValueError, match="forwarded"):
        CacheOutcome(hit=True, collapsed=True)


def test_server_timing_is_in_milliseconds() -> None:
    entries = [("store", 0.000412), ("decode", 0.000093), ("total", 0.0006554)]
    assert server_timing(entries) == "store;dur=0.412, decode;dur=0.093, total;dur=0.655"
    assert server_timing([("total", 12.5)]) == "total;dur=12500.000"
