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

PART = 1024 * 1024
"""Bytes of an answer that its file has at most: as much as a near client's socket takes at once."""

MOST_BYTES = 16 * 1024 * 1024
MOST_FILES = 64
"""Bounds of all files of a server together."""

SHARE = 16
"""One in so many descriptors that the process may have. Connections need the others."""

MAX_COUNTED = 1_000

Key = tuple[bytes, int]
"""The head of an answer, which has its Date and ETag, and the identity of its content."""


class MemoryFile:
    """The first ``PART`` bytes of an answer, in memory that no path leads to (memfd_create(2)). Raises ``OSError``."""

    __slots__ = ("_descriptor", "length")

    def __init__(self, head: bytes, content: Content) -> None:
        self._descriptor = os.memfd_create("lightfast")
        self.length = os.writev(self._descriptor, (head, memoryview(content)[: PART - len(head)]))

    def send(self, connection: socket.socket) -> int:
        """How many bytes of it ``connection`` took. What it took stays as it is when the file goes."""
        return os.sendfile(connection.fileno(), self._descriptor, 0, self.length)

    def __del__(self) -> None:
        with suppress(AttributeError):  # there was no descriptor left for it
            os.close(self._descriptor)


class PopularAnswers:
    """The files of one server's answers. They go when the second ends."""

    def __init__(self) -> None:
        self._files: dict[Key, MemoryFile] = {}
        self._sent: dict[Key, int] = {}
        self._bytes = 0
        self._second = 0
        self._most_files = min(MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE)

    def to_send(self, head: bytes, content: Content, now: float) -> MemoryFile | None:
        """Count that an answer is sent at ``now`` (Unix seconds); the file to send if it has one. On the event loop."""
        if not self._second <= now < self._second + 1:
            self.clear()
            self._second = math.floor(now)
        key = (head, id(content))
        file = self._files.get(key)
        if file is not None:
            return file
        if len(self._sent) >= MAX_COUNTED:
            self._sent.clear()
        count = self._sent[key] = self._sent.get(key, 0) + 1
        # Once: where there can be no file, no answer tries again with each request.
        return self._write(key, content, now) if count == OFTEN + 1 else None

    def clear(self) -> None:
        self._files.clear()
        self._sent.clear()
        self._bytes = 0

    def _write(self, key: Key, content: Content, now: float) -> MemoryFile | None:
        head, _ = key
        length = min(len(head) + len(content), PART)
        if len(self._files) >= self._most_files or self._bytes + length > MOST_BYTES or not hasattr(os, "memfd_create"):
            return None
        try:
            file = MemoryFile(head, content)
        except OSError:
            return None
        if not self._files:  # perhaps nobody asks for anything in the next second
            asyncio.get_running_loop().call_later(self._second + 1 - now, self.clear)
        self._files[key] = file
        self._bytes += file.length
        return file
