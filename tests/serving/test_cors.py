"""Which scripts may read: all of them, those of some origins, or none (Fetch standard)."""

from __future__ import annotations

import pytest

ASKED = {
    "Origin": "https://a.example",
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "range",
}


def test_by_default_every_script_may_read(client, sample):
    for headers in ({}, ASKED, {"Origin": "null"}):
        answer = client.get(sample.path, headers=headers)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["timing-allow-origin"] == "*"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert "access-control-allow-credentials" not in answer.headers
    preflight = client.options(sample.path, headers=ASKED)
    assert preflight.status_code == 204
    assert "Range" in preflight.headers["access-control-allow-headers"].split(", ")
    assert set(preflight.headers["access-control-allow-methods"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert int(preflight.headers["access-control-max-age"]) > 0


@pytest.fixture
def chosen(start_lightfast):
    return start_lightfast(cors_origins="https://a.example https://b.example:8443")


def test_some_origins_may_read(chosen, picture):
    with chosen.client() as client:
        client.put("/images/x", content=picture())
        for path in ("/images/x", "/images/missing"):
            for origin in ("https://a.example", "https://b.example:8443"):
                answer = client.get(path, headers={"Origin": origin})
                assert answer.headers["access-control-allow-origin"] == origin
                assert "Origin" in answer.headers["vary"]
            for origin in ("https://c.example", "http://a.example", "https://a.example:1", "null", ""):
                answer = client.get(path, headers={"Origin": origin})
                assert "access-control-allow-origin" not in answer.headers
                assert "Origin" in answer.headers["vary"]
            # Without an Origin too: a cache must not give this answer to a script.
            assert "Origin" in client.get(path).headers["vary"]
        unmodified = client.get("/images/x", headers={"If-None-Match": "*", "Origin": "https://a.example"})
        assert unmodified.status_code == 304
        assert set(unmodified.headers["vary"].split(", ")) == {"Accept-Encoding", "Origin"}
        assert "access-control-allow-methods" in client.options("/images/x", headers=ASKED).headers
        refused = client.options("/images/x", headers=ASKED | {"Origin": "https://c.example"})
        assert not [name for name in refused.headers if name.startswith("access-control")]


def test_no_origin_may_read(start_lightfast, picture):
    with start_lightfast(cors_origins="").client() as client:
        client.put("/images/x", content=picture())
        for answer in (client.get("/images/x", headers=ASKED), client.options("/images/x", headers=ASKED)):
            assert not [name for name in answer.headers if name.startswith(("access-control", "timing-allow"))]
        assert client.get("/images/x").headers["vary"] == "Accept-Encoding"
