"""Replies in their place are those that the client would read, however the bytes arrive."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis._parsers.base import BaseParser
from redis.exceptions import MovedError

from lightfast.stores import redis_replies
from lightfast.stores.redis_replies import MAX_KEPT, Place, Places, Replies, Text

SMALL_LARGE = 40
"""What counts as large here, so that small examples have it."""

bulk = st.binary(max_size=120).map(lambda value: b"$%d\r\n%b\r\n" % (len(value), value))
simple = st.sampled_from(
    [
        *(b"+OK\r\n", b"+\r\n", b":0\r\n", b":-12\r\n", b"$-1\r\n", b"*-1\r\n", b"_\r\n"),
        *(b"-WRONGTYPE of value\r\n", b"-ERR\r\n", b"-MOVED 1 127.0.0.1:7000\r\n", b"-OOM no\r\n"),
    ]
)
reply = st.recursive(
    bulk | simple,
    lambda inner: st.lists(inner, max_size=5).map(lambda items: b"*%d\r\n%b" % (len(items), b"".join(items))),
)


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Exception):
        return type(value), str(value)
    return bytes(value) if isinstance(value, Text) else value


def read(whole, count, sizes=(), place=None):
    replies = Replies(count, place or Place(), BaseParser.parse_error)
    sizes, at, complete = list(sizes), 0, False
    while at < len(whole):
        assert not complete
        room = replies.room()
        assert room
        size = min(len(room), sizes.pop() if sizes else len(whole), len(whole) - at)
        room[:size] = whole[at : at + size]
        at += size
        complete = replies.arrived(size)
    assert complete
    assert replies.room()  # libuv asks for it before anybody says that nothing more is to come
    return replies.replies


@given(st.lists(reply, min_size=1, max_size=6), st.lists(st.integers(1, 50)))
def test_they_are_what_the_client_reads(parts, sizes):
    reader = hiredis.Reader(replyError=BaseParser.parse_error)
    reader.feed(b"".join(parts))
    expected = [reader.gets() for _ in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_replies, "LARGE", SMALL_LARGE)
        assert plain(read(b"".join(parts), len(parts), sizes)) == plain(expected)


def test_a_large_one_stays_where_it_arrived_and_the_place_is_used_again():
    places, value = Places(), bytes(range(256)) * 5000
    place = places.take()
    for _ in range(2):
        (found,) = read(b"$%d\r\n%b\r\n" % (len(value), value), 1, [10, 1000, 100_000], place)
        assert found.buffer is place.buffer
        assert bytes(found) == value
    places.give_back(place)
    assert places.take() is place
    place.buffer = bytearray(MAX_KEPT + 1)
    places.give_back(place)
    assert places.take() is not place


@pytest.mark.parametrize("size", [65536 - 10, 65536, 3_000_000, 5_000_000])
def test_there_is_room_however_large_they_are(size):
    (found,) = read(b"$%d\r\n%b\r\n" % (size, bytes(size)), 1)
    assert len(found) == size


@pytest.mark.parametrize("whole", [b"+OK\r\n+more\r\n", b"%1\r\n", b">2\r\n", b"nonsense\r\n", b"+" + bytes(70_000)])
def test_what_is_no_reply_ends_the_connection(whole):
    with pytest.raises(ValueError):
        read(whole, 1)


def test_errors_are_the_clients_own():
    (error,) = read(b"-MOVED 7 10.0.0.1:7001\r\n", 1)
    assert isinstance(error, MovedError)
    assert (error.slot_id, error.host, error.port) == (7, "10.0.0.1", 7001)
