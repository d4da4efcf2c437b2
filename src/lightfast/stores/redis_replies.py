"""Replies that are left where they arrive: a large one is not copied on its way through buffers. No I/O.

The client's own way takes each byte of a large reply through four buffers, and what is new of them each time costs a
fault for every page: more than to receive them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lightfast.stores.redis_keys import Reply

LARGE = 64 * 1024
"""Bytes from which on a bulk string is left in its place."""

PIECE = 256 * 1024
"""Bytes that are received at once, so that others get their turns."""

MAX_KEPT = 4 * 1024 * 1024
"""Bytes of a place that is kept for the next reply; what is in it stays mapped."""

MAX_LINE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Text:
    """A bulk string in its place: ``buffer[start:stop]``, until the place is used again."""

    buffer: bytearray
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __bytes__(self) -> bytes:
        return bytes(memoryview(self.buffer)[self.start : self.stop])


class Place:
    """Where one exchange at a time finds room for its replies."""

    def __init__(self) -> None:
        self.buffer = bytearray(LARGE)


class Places:
    """Keeps one place that is not in use, the largest."""

    def __init__(self) -> None:
        self._spare: Place | None = None

    def take(self) -> Place:
        place, self._spare = self._spare, None
        return place or Place()

    def give_back(self, place: Place) -> None:
        kept = 0 if self._spare is None else len(self._spare.buffer)
        if kept < len(place.buffer) <= MAX_KEPT:
            self._spare = place


class Replies:
    """Reads ``count`` replies (RESP, as far as reading commands use it) out of what arrives in ``place``.

    ``error`` makes the value that stands for an error from its message.
    """

    def __init__(self, count: int, place: Place, error: Callable[[str], Exception]) -> None:
        self._error = error
        self._place = place
        self._filled = self._at = 0
        self.replies: list[Reply] = []
        self._open: list[tuple[int, list[Reply]]] = [(count, self.replies)]
        """Lists that are not complete, with the number of their elements, the innermost last."""

    def room(self) -> memoryview:
        """Where the next bytes go; never empty: after a read that filled its room, libuv looks for more at once."""
        return memoryview(self._place.buffer)[self._filled : self._filled + PIECE]

    def arrived(self, size: int) -> bool:
        """``size`` bytes are in ``room``; whether all replies are complete. Raises ``ValueError``
        for what is none."""
        self._filled += size
        while self._open:
            count, items = self._open[-1]
            if len(items) == count:
                self._open.pop()
            elif not self._read(items):
                return False
        if self._at != self._filled:
            raise ValueError("more came than was asked for")
        self._grow(self._filled + 1)
        return True

    def _read(self, items: list[Reply]) -> bool:
        """Read one reply, if it is complete."""
        buffer = self._place.buffer
        end = buffer.find(b"\r\n", self._at, self._filled)
        if end < 0:
            if self._filled - self._at > MAX_LINE:
                raise ValueError("a line without end")
            self._grow(self._filled + 1)
            return False
        line, following = bytes(buffer[self._at : end]), end + 2
        kind, text = line[:1], line[1:]
        if kind == b"$" and text != b"-1":
            stop = following + int(text)
            if stop + 2 > self._filled:
                self._grow(stop + 3)  # what follows the last reply is nothing, but has to have room
                return False
            found = Text(buffer, following, stop)
            items.append(found if len(found) >= LARGE else bytes(found))
            following = stop + 2
        elif kind == b"*" and text != b"-1":
            inner: list[Reply] = []
            items.append(inner)
            self._open.append((int(text), inner))
        else:
            items.append(self._simple(kind, text))
        self._at = following
        return True

    def _grow(self, size: int) -> None:
        """Make room for ``size`` bytes from the beginning on."""
        place = self._place
        if size > len(place.buffer):
            larger = bytearray(size + LARGE)  # what follows a large reply is small
            larger[: self._filled] = memoryview(place.buffer)[: self._filled]
            place.buffer = larger

    def _simple(self, kind: bytes, text: bytes) -> Reply:
        match kind:
            case b"+":
                return text
            case b":":
                return int(text)
            case b"-":
                return self._error(text.decode("utf-8", "replace"))
            case b"_" | b"$" | b"*":
                return None
        raise ValueError("a reply of a kind that was not expected")
