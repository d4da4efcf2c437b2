"""Request heads as browsers and proxies send them for the pictures of a page."""

from __future__ import annotations

from collections.abc import Sequence

COOKIE = (
    "session=eyJ1c2VyIjo0ODE1LCJjc3JmIjoiYjY0ZjAifQ.Zr3v1Q.0cJm8p6hYxw2; theme=dark; "
    "_ga=GA1.1.1934017261.1763720041; _ga_5XK2PQ9M7L=GS2.1.s1763811960$o7$g1$t1763812044$j60$l0$h0"
)
REFERER = "http://127.0.0.1:3000/projects/atelier-42/concepts"

CHROME = (
    ("Connection", "keep-alive"),
    ("sec-ch-ua-platform", '"Windows"'),
    (
        "User-Agent",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 "
        "Safari/537.36",
    ),
    ("sec-ch-ua", '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"'),
    ("sec-ch-ua-mobile", "?0"),
    ("Accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-site"),
    ("Sec-Fetch-Mode", "no-cors"),
    ("Sec-Fetch-Dest", "image"),
    ("Referer", REFERER),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Cookie", COOKIE),
)
FIREFOX = (
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    ("Accept", "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Connection", "keep-alive"),
    ("Referer", REFERER),
    ("Cookie", COOKIE),
    ("Sec-Fetch-Dest", "image"),
    ("Sec-Fetch-Mode", "no-cors"),
    ("Sec-Fetch-Site", "same-site"),
    ("Priority", "u=4, i"),
)
SAFARI = (
    ("Sec-Fetch-Dest", "image"),
    (
        "User-Agent",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 "
        "Safari/605.1.15",
    ),
    ("Accept", "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/*;q=0.5"),
    ("Referer", REFERER),
    ("Sec-Fetch-Site", "same-site"),
    ("Sec-Fetch-Mode", "no-cors"),
    ("Accept-Language", "en-GB,en;q=0.9"),
    ("Priority", "u=5, i"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Cookie", COOKIE),
    ("Connection", "keep-alive"),
)
PROXIED = (
    ("X-Forwarded-For", "203.0.113.24, 198.51.100.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "img.example.com"),
    ("X-Real-IP", "203.0.113.24"),
    ("Via", "2.0 edge-fra-3 (CDN)"),
    *CHROME,
)
VISITORS = (CHROME, FIREFOX, SAFARI, PROXIED)


def request(id: str, headers: Sequence[tuple[str, str]] = CHROME, *, etag: str | None = None) -> bytes:
    """A GET for an image with ``headers``, and with If-None-Match where ``etag`` (in quotes) is given."""
    lines = [f"GET /images/{id} HTTP/1.1", "Host: 127.0.0.1:8000", *(f"{name}: {value}" for name, value in headers)]
    if etag is not None:
        lines.append(f"If-None-Match: {etag}")
    return "\r\n".join([*lines, "", ""]).encode()
