"""Header blocks are read from memory, and mean what they meant without it."""

from __future__ import annotations

import pytest

from lightfast.web import plain
from lightfast.web.plain import HeaderBlocks, Plain

BROWSER = (
    b"\r\nHost: example.com\r\nUser-Agent: Mozilla/5.0\r\nConnection: keep-alive\r\n%b\r\nReferer: https://x/\r\n\r\n"
)


def block(line: bytes) -> bytes:
    return BROWSER % line


def said(blocks: HeaderBlocks, line: bytes) -> Plain | None:
    """What a block with ``line`` says, which is the same to somebody who has read nothing before."""
    known, fresh = blocks.read(block(line)), HeaderBlocks().read(block(line))
    assert (known is None) == (fresh is None)
    if known is not None and fresh is not None:
        assert [getattr(known, name) for name in Plain.__slots__] == [getattr(fresh, name) for name in Plain.__slots__]
    return known


@pytest.fixture
def blocks() -> HeaderBlocks:
    """One that has seen blocks that differ in an id."""
    blocks = HeaderBlocks()
    for number in range(3):
        assert said(blocks, b"X-Request-Id: %d" % number) is not None
    return blocks


def test_blocks_that_differ_in_an_id_say_the_same(blocks: HeaderBlocks) -> None:
    assert said(blocks, b"X-Request-Id: 8") is said(blocks, b"X-Request-Id: 9") is said(blocks, b"X-Request-Id:")
    assert said(blocks, b"X-Request-Id: 9") is said(blocks, b"Another: one")


@pytest.mark.parametrize(
    "line",
    [
        b"X-Request-Id: 1\r\nRange: bytes=0-0",
        b"X-Request-Id: 1\r\nHost: example.com",
        b"X-Request-Id: 1\r\n\r\nGET / HTTP/1.1",
        b"X-Request-Id: 1\r\n folded",
        b"X-Request-Id: 1\nRange: bytes=0-0",
        b"X-Request-Id: 1\rx",
        b"X-Request-Id: \0",
        b"X-Request-Id : 1",
        b"X-Request-Id",
        b"",
    ],
)
def test_what_follows_an_id_is_read(blocks: HeaderBlocks, line: bytes) -> None:
    assert said(blocks, line) is None
    assert said(blocks, b"X-Request-Id: 10") is not None


def test_a_field_that_means_something_with_some_values_is_read(blocks: HeaderBlocks) -> None:
    assert said(blocks, b"Connection: keep-alive") is not None
    assert said(blocks, b"Connection: Keep-Alive") is not None
    assert said(blocks, b"Connection: close") is None


def test_tags_are_told_apart(blocks: HeaderBlocks) -> None:
    for tag in ("a", "b", "a"):
        found = said(blocks, f'If-None-Match: "{tag}"'.encode())
        assert found is not None
        assert found.unless == {tag}


def test_what_is_forgotten_is_forgotten_between_two_blocks(
    blocks: HeaderBlocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "MAX_LINES", 3)
    for number in range(50):
        assert said(blocks, b"Range: bytes=%d-\r\nX-One: %d\r\nX-Two: %d\r\nAccept: %d" % ((number,) * 4)) is None
        found = said(blocks, b'If-None-Match: "%d"\r\nX-One: %d\r\nX-Two: %d\r\nAccept: %d' % ((number,) * 4))
        assert found is not None
        assert found.unless == {str(number)}


def test_a_long_line_that_says_nothing_does_no_harm(blocks: HeaderBlocks) -> None:
    cookie = b"Cookie: " + b"x" * 2 * plain.MAX_LINE
    assert said(blocks, cookie) is not None
    assert said(blocks, cookie + b"y") is not None


def test_what_clients_say_is_kept_up_to_a_length(blocks: HeaderBlocks) -> None:
    tags = [b'If-None-Match: "%d"' % (10**1000 + number) for number in range(3)]
    assert said(blocks, b"\r\n".join(tags[:1])) is not None
    assert said(blocks, b"\r\n".join(tags)) is None
    assert said(blocks, b'If-None-Match: "%d"' % (10**1100)) is None


def test_lines_are_kept_up_to_a_number() -> None:
    blocks = HeaderBlocks()
    for number in range(3 * plain.MAX_LINES):
        blocks.read(block(b"X-One: %d\r\nX-Two: %d\r\nAccept: %d" % ((number,) * 3)))
    assert len(blocks._silent) < plain.MAX_LINES + 10
    assert len(blocks._telling) < plain.MAX_LINES + 10
    assert len(blocks._plain) <= plain.MAX_BLOCKS
