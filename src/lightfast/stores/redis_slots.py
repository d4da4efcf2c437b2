"""Which primary of a cluster has which key, as its nodes tell ("Redis cluster specification"). No I/O, no client."""

from __future__ import annotations

from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from lightfast.stores.redis_urls import Address

SLOTS = 16384


def slot_of(key: str) -> int:
    """The slot of ``key``: of its hash tag, where it has one."""
    raw = key.encode()
    opening = raw.find(b"{")
    closing = raw.find(b"}", opening + 1) if opening >= 0 else -1
    return crc_hqx(raw[opening + 1 : closing] if closing > opening + 1 else raw, 0) % SLOTS


@dataclass(frozen=True, slots=True)
class Primary:
    """A node that takes writes. ``ranges`` are its slots, both ends included; none while it is being filled."""

    id: str
    address: Address
    ranges: tuple[tuple[int, int], ...]

    @property
    def lowest(self) -> int:
        return self.ranges[0][0] if self.ranges else SLOTS

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands in the order of a listing; another node that takes over its slots stands there too."""
        return self.lowest, "" if self.ranges else self.id


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Every primary, by ``Primary.place``, and so every slot's."""

    primaries: tuple[Primary, ...]
    _starts: tuple[tuple[int, int, Primary], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = sorted(
            ((*ends, primary) for primary in self.primaries for ends in primary.ranges), key=lambda it: it[0]
        )
        object.__setattr__(self, "_starts", tuple(starts))

    def owner(self, slot: int) -> Primary | None:
        at = bisect_right(self._starts, slot, key=lambda it: it[0]) - 1
        if at < 0 or slot > self._starts[at][1]:
            return None
        return self._starts[at][2]

    @property
    def shares(self) -> frozenset[tuple[str, tuple[tuple[int, int], ...]]]:
        """Who has what: the same whichever node is asked, while a node may call itself by another address."""
        return frozenset((primary.id, primary.ranges) for primary in self.primaries)

    @property
    def addresses(self) -> frozenset[Address]:
        return frozenset(primary.address for primary in self.primaries)


def parse_nodes(text: str, asked: Address, *, by_name: bool) -> SlotMap:
    """What the reply to CLUSTER NODES of the node at ``asked`` says.

    ``by_name``: nodes are called by the host name that they announce, where they do; certificates hold names.
    A primary without slots counts too: what migrates to it is written there before a slot is its own. One that is
    known to have failed counts while it has slots, for nobody else takes their writes.
    """
    primaries = []
    for line in text.splitlines():
        id, where, flag_text, *rest = line.split(" ")
        flags = set(flag_text.split(","))
        ranges = tuple(sorted(_ranges(rest[5:])))
        if "master" not in flags or flags & {"handshake", "noaddr"} or ("fail" in flags and not ranges):
            continue
        primaries.append(Primary(id, _address(where, asked, by_name), ranges))
    return SlotMap(tuple(sorted(primaries, key=lambda primary: primary.place)))


def _ranges(words: list[str]) -> Iterator[tuple[int, int]]:
    for word in words:
        if not word.startswith("["):  # a slot on its way, which the node still has, or has not yet
            first, _, last = word.partition("-")
            yield int(first), int(last or first)


def _address(where: str, asked: Address, by_name: bool) -> Address:
    """From ``ip:port@bus-port[,host name[,…]]``; a node may not know its own address."""
    location, *names = where.split(",")
    host, _, port = location.partition("@")[0].rpartition(":")
    name = names[0] if by_name and names and "=" not in names[0] else ""
    return name or host.strip("[]") or asked[0], int(port)
