"""URLs of Redis, and the map of a cluster."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from lightfast.errors import SettingsError
from lightfast.stores.redis_slots import Primary, SlotMap, parse_nodes, slot_of
from lightfast.stores.redis_urls import parse_redis_url


@pytest.mark.parametrize(
    ("url", "kind", "addresses", "service"),
    [
        ("redis://", "server", [("localhost", 6379)], ""),
        ("redis://h/3", "server", [("h", 6379)], ""),
        ("rediss://u:p@[::1]:7000", "server", [("::1", 7000)], ""),
        ("redis+cluster://a,b:7001", "cluster", [("a", 6379), ("b", 7001)], ""),
        ("redis+cluster://u:p%40@a:1,[2001:db8::1]:2/0", "cluster", [("a", 1), ("2001:db8::1", 2)], ""),
        ("redis+sentinel://a,b:2/my%20master", "sentinel", [("a", 26379), ("b", 2)], "my master"),
        ("rediss+sentinel://:p@a/m/4", "sentinel", [("a", 26379)], "m"),
    ],
)
def test_a_url_names_servers(url, kind, addresses, service):
    parsed = parse_redis_url(url)
    assert (parsed.kind, list(parsed.addresses), parsed.service) == (kind, addresses, service)
    assert ("connection_class" in parsed.options) == url.startswith("rediss")
    assert not parsed.options.keys() & {"host", "port"}


def test_credentials_and_options_go_where_they_belong():
    url = "rediss+sentinel://u:p%40:@a/m/4?sentinel_username=s&sentinel_password=t&client_name=c&ssl_cert_reqs=none"
    parsed = parse_redis_url(url)
    options = parsed.options
    assert (options["username"], options["password"], options["db"], options["client_name"]) == ("u", "p@:", 4, "c")
    sentinel = parsed.sentinel_options
    assert (sentinel["username"], sentinel["password"], sentinel["ssl_cert_reqs"]) == ("s", "t", "none")
    assert "db" not in sentinel
    assert "p@" not in repr(parsed)


@pytest.mark.parametrize(
    "url",
    [
        "http://a",
        "redis+x://a",
        "redis://a,b",
        "redis://a:x",
        "redis://a:99999",
        "redis://a/x",
        "redis+cluster://",
        "redis+cluster://a/1",
        "redis+cluster://a,b:secret",
        "redis+cluster://a,",
        "redis+sentinel://a",
        "redis+sentinel://a/",
        "redis+sentinel:///m",
        "redis+sentinel://a/m/secret",
        "redis+sentinel://a/m/0/1",
        "redis+sentinel://u:secret@a/m?socket_timeout=x",
    ],
)
def test_a_url_that_can_not_be_used_is_refused_without_being_repeated(url):
    with pytest.raises(SettingsError) as refusal:
        parse_redis_url(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("key", ["", "a", "{", "{}", "{}a", "{a}b", "x{a}y{b}", "a}{b}", "é{ü}", "image:{a"])
def test_slots_are_those_of_the_server(key):
    assert slot_of(key) == key_slot(key.encode())


NODES = """\
aa 10.0.0.1:7001@17001 master - 0 1 2 connected 10923-16383
bb :7000@17000,one.example myself,master - 0 0 1 connected 0-99 101 [93->-cc] [77-<-aa]
cc 10.0.0.3:7003@17003,,shard-id=1 master - 0 1 3 connected
dd 10.0.0.4:7004@17004 slave aa 0 1 2 connected
ee 10.0.0.5:7005@17005 master,fail - 0 1 2 disconnected 200-300
ff 10.0.0.6:7006@17006 master,fail - 0 1 2 disconnected
gg :0@0 master,noaddr - 0 1 2 disconnected
hh 10.0.0.8:7008@17008 handshake - 0 1 2 disconnected
ii 2001:db8::1:7009@17009,two.example master - 0 1 9 connected 400
"""


def test_nodes_are_primaries_in_the_order_of_their_slots():
    found = parse_nodes(NODES, ("asked", 1), by_name=False)
    assert [(it.id, it.address, it.ranges) for it in found.primaries] == [
        ("bb", ("asked", 7000), ((0, 99), (101, 101))),
        ("ee", ("10.0.0.5", 7005), ((200, 300),)),
        ("ii", ("2001:db8::1", 7009), ((400, 400),)),
        ("aa", ("10.0.0.1", 7001), ((10923, 16383),)),
        ("cc", ("10.0.0.3", 7003), ()),
    ]
    named = {it.id: it.address[0] for it in parse_nodes(NODES, ("asked", 1), by_name=True).primaries}
    assert (named["bb"], named["ii"], named["cc"]) == ("one.example", "two.example", "10.0.0.3")


@pytest.mark.parametrize(
    ("slot", "id"),
    [(0, "bb"), (99, "bb"), (100, None), (101, "bb"), (102, None), (300, "ee"), (400, "ii"), (16383, "aa")],
)
def test_a_slot_has_an_owner_or_none(slot, id):
    owner = parse_nodes(NODES, ("asked", 1), by_name=False).owner(slot)
    assert (owner and owner.id) == id


def test_a_map_is_another_when_a_slot_moves_but_not_for_another_name_of_a_node():
    one, two = SlotMap((Primary("a", ("h", 1), ((0, 9),)),)), SlotMap((Primary("a", ("h", 1), ((0, 8),)),))
    assert one.shares == SlotMap((Primary("a", ("localhost", 1), ((0, 9),)),)).shares
    assert one.shares != two.shares
    assert SlotMap(()).owner(0) is None
