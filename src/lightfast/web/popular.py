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
import socket
from contextlib import suppress

from lightfast.model import Content

OFTEN = 10
"""How often an answer is sent before it gets a file. At 1 MB, 7 to 12 sent from it save what writing it costs."""

CROWD = 250
"""Sends for each further file. Every send counts the users of each page, and so does every reader when it is done: with
one file for all, both processors wait for each other's count."""

PART = 1024 * 1024
"""Bytes of an answer that its file has at most: as much as a near client's socket takes at once."""

MOST_FILES_OF_ONE = 4
MOST_BYTES_OF_ONE = 512 * 1024
"""Bounds of the files of one answer together: a processor's cache has to hold them."""

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

    def send(self, connection: socket.socket) -> int:
        """Send it; how many bytes ``connection`` took. They stay as they are when the file goes. Raises ``OSError``."""
        return os.sendfile(connection.fileno(), self._descriptor, 0, self.length)

    def __del__(self) -> None:
        with suppress(AttributeError):  # there was no descriptor left for it
            os.close(self._descriptor)


class Popularity:
    """How often the answer with ``head`` was sent in its second, and its files, which are all alike."""

    __slots__ = ("files", "head", "next_file_at", "sent")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.sent = 0
        self.next_file_at = OFTEN + 1
        """The number of the send with which it gets its next file."""
        self.files: list[MemoryFile] = []

    def end(self) -> None:
        """Let its files go. It gets no more, even if a shortcut keeps it beyond its second."""
        self.files.clear()
        self.next_file_at = 0  # no send has this number


class PopularAnswers:
    """The files of one server's answers. They go when the second ends. Used on the event loop only."""

    def __init__(self) -> None:
        self._known: dict[Key, Popularity] = {}
        self._file_count = 0
        self._bytes = 0
        self._second = 0
        share = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE
        self._most_files = min(MOST_FILES, share) if hasattr(os, "memfd_create") else 0

    def of(self, head: bytes, content: Content, now: float) -> Popularity:
        """How popular an answer is in the second of ``now`` (Unix seconds), which begins if it has not yet."""
        if not self._second <= now < self._second + 1:
            self._clear()
            self._second = math.floor(now)
        key = (head, id(content))
        if key not in self._known and len(self._known) >= MAX_KNOWN:
            self._forget_unpopular()
        return self._known.setdefault(key, Popularity(head))

    def to_send(self, popularity: Popularity, content: Content, now: float) -> MemoryFile | None:
        """Count that the answer is sent at ``now``; the file to send if it has one."""
        popularity.sent += 1
        if popularity.sent == popularity.next_file_at:
            self._add_file(popularity, content, now)
        files = popularity.files
        return files[popularity.sent % len(files)] if files else None

    def _add_file(self, popularity: Popularity, content: Content, now: float) -> None:
        """Give it one more file, if there is room. If not, it does not try again."""
        length = min(len(popularity.head) + len(content), PART)
        # Further files leave half of the room to answers that have none yet.
        divisor = 2 if popularity.files else 1
        if self._file_count >= self._most_files // divisor or self._bytes + length > MOST_BYTES // divisor:
            return
        try:
            file = MemoryFile(popularity.head, content)
        except OSError:
            return
        if not self._file_count:  # perhaps nobody asks for anything in the next second
            rest = min(1, self._second + 1 - now)  # more where the clock was set back
            asyncio.get_running_loop().call_later(rest, self._end_second, self._second)
        self._file_count += 1
        self._bytes += length
        popularity.files.append(file)
        if len(popularity.files) < min(MOST_FILES_OF_ONE, MOST_BYTES_OF_ONE // length):
            popularity.next_file_at += CROWD

    def _end_second(self, second: int) -> None:
        """Let the files of ``second`` go, unless another one has begun."""
        if second == self._second:
            self._clear()

    def _clear(self) -> None:
        for one in self._known.values():
            one.end()
        self._known.clear()
        self._file_count = self._bytes = 0

    def _forget_unpopular(self) -> None:
        for key in [key for key, one in self._known.items() if not one.files]:
            self._known.pop(key).end()  # a shortcut may keep it, and nobody would take its files away
