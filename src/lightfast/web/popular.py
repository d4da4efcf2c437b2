"""Answers that are asked for again and again within a second, in files of memory.

What ``sendfile(2)`` sends from a file is not copied into the socket, and all connections share its pages: with dozens
of clients these stay in the processor's cache, where a copy for each would not (ADR 18). A file takes a descriptor and
holds its bytes a second time, so only the few answers get one that pay for it, and for no longer than their Date holds.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
from contextlib import suppress

from lightfast.model import Content

OFTEN = 10
"""How often an answer is sent before it gets a file. At 1 MB, 7 to 12 sent from it save what writing it costs."""

CROWD = 250
"""How often it is sent for one more file. Every send counts the users of each page, and so does every reader when it is
done: with one file for all, both processors wait for each other's count."""

PART = 1024 * 1024
"""Bytes of an answer that its file has at most: as much as a near client's socket takes at once."""

MOST_COPIES = 8
SPREAD = 512 * 1024
"""Bytes of all copies of one answer together, so that a processor's cache holds them."""

MOST_BYTES = 16 * 1024 * 1024
MOST_FILES = 64
"""Bounds of all files of a server together."""

SHARE = 16
"""One in so many descriptors that the process may have. Connections need the others."""

MAX_KNOWN = 1_000

Key = tuple[bytes, int]
"""The head of an answer, which has its Date and ETag, and the identity of its content."""


class MemoryFile:
    """The first ``PART`` bytes of an answer, in memory that no path leads to (memfd_create(2)). Raises ``OSError``."""

    __slots__ = ("_descriptor", "length")

    def __init__(self, head: bytes, content: Content) -> None:
        self._descriptor = os.memfd_create("lightfast")
        self.length = os.writev(self._descriptor, (head, memoryview(content)[: PART - len(head)]))

    def send(self, connection: int) -> int:
        """How many bytes of it the socket with this descriptor took. They stay as they are when the file goes."""
        return os.sendfile(connection, self._descriptor, 0, self.length)

    def __del__(self) -> None:
        with suppress(AttributeError):  # there was no descriptor left for it
            os.close(self._descriptor)


class Popularity:
    """How often the answer with ``head`` was sent in its second, and its files, which are all alike."""

    __slots__ = ("due", "files", "head", "sent")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.sent = 0
        self.due = OFTEN + 1
        """With which send it gets its next file."""
        self.files: list[MemoryFile] = []

    def end(self) -> None:
        """There are no files any more, whoever keeps this."""
        self.due = 0
        self.files.clear()


class PopularAnswers:
    """The files of one server's answers. They go when the second ends. On the event loop."""

    def __init__(self) -> None:
        self._known: dict[Key, Popularity] = {}
        self._files = 0
        self._bytes = 0
        self._second = 0
        self._most_files = min(MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE)

    def popularity(self, head: bytes, content: Content, now: float) -> Popularity:
        """That of an answer in the second of ``now`` (Unix seconds)."""
        if not self._second <= now < self._second + 1:
            self._clear()
            self._second = math.floor(now)
        key = (head, id(content))
        if key not in self._known and len(self._known) >= MAX_KNOWN:
            for other in [other for other, one in self._known.items() if not one.files]:
                self._known.pop(other).end()
        return self._known.setdefault(key, Popularity(head))

    def to_send(self, popularity: Popularity, content: Content, now: float, client: int) -> MemoryFile | None:
        """Count that the answer is sent at ``now``; the file to send if it has one.

        ``client``: a number that few others have, to tell which of several files.
        """
        popularity.sent += 1
        if popularity.sent == popularity.due:
            self._add_file(popularity, content, now)
        files = popularity.files
        return files[client % len(files)] if files else None

    def _end(self, second: int) -> None:
        """End it, if the next one has not begun."""
        if second == self._second:
            self._clear()

    def _clear(self) -> None:
        for one in self._known.values():
            one.end()
        self._known.clear()
        self._files = self._bytes = 0

    def _add_file(self, popularity: Popularity, content: Content, now: float) -> None:
        """Give it one more file, if there is room. If not, it does not try again."""
        length = min(len(popularity.head) + len(content), PART)
        copies = len(popularity.files)
        if not self._has_room(length, 2 if copies else 1):  # copies leave half of it to what has no file yet
            return
        try:
            file = MemoryFile(popularity.head, content)
        except OSError:
            return
        if not self._files:  # perhaps nobody asks for anything in the next second
            asyncio.get_running_loop().call_later(self._second + 1 - now, self._end, self._second)
        self._files += 1
        self._bytes += length
        popularity.files.append(file)
        if copies + 1 < min(MOST_COPIES, SPREAD // length):
            popularity.due += CROWD

    def _has_room(self, length: int, part: int) -> bool:
        """Whether one more file of ``length`` bytes is within the bounds divided by ``part``."""
        return (
            hasattr(os, "memfd_create")
            and self._files < self._most_files // part
            and self._bytes + length <= MOST_BYTES // part
        )
