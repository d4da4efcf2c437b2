"""Answers that are asked for again and again within a second, in files of memory.

What ``sendfile(2)`` sends from a file is not copied into the socket, and all connections share its pages: with dozens
of clients these stay in the processor's cache, where a copy for each would not (ADR 18). A file takes a descriptor and
holds its bytes a second time, so only the few answers get one that pay for it, and for no longer than their Date holds.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from functools import cache
from time import time

from lightfast.model import Content

OFTEN = 4
"""How often an answer is sent before it gets a file: about as many copies cost as much as writing it."""

PART = 1024 * 1024
"""Bytes of an answer that its file has at most: as much as a near client's socket takes at once."""

MOST_BYTES = 16 * 1024 * 1024
MOST_FILES = 64
"""Bounds of all files of a process together."""

MAX_COUNTED = 1_000


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
    """The files of one server's answers, by their heads: these have a Date and an ETag, so all of an answer is in them.

    The files go when the second ends.
    """

    def __init__(self) -> None:
        self._files: dict[bytes, MemoryFile] = {}
        self._sent: dict[bytes, int] = {}
        self._bytes = 0

    def file(self, head: bytes, content: Content) -> MemoryFile | None:
        """The file to send an answer from, if it has one. To be called each time it is sent, on the event loop."""
        file = self._files.get(head)
        if file is None and self._becomes_popular(head):
            file = self._write(head, content)
        return file

    def clear(self) -> None:
        self._files.clear()
        self._sent.clear()
        self._bytes = 0

    def _becomes_popular(self, head: bytes) -> bool:
        """Count. Said once for each answer, so that a file that can't be had is not tried again."""
        if len(self._sent) >= MAX_COUNTED:
            self._sent.clear()
        count = self._sent[head] = self._sent.get(head, 0) + 1
        return count == OFTEN + 1

    def _write(self, head: bytes, content: Content) -> MemoryFile | None:
        length = min(len(head) + len(content), PART)
        if len(self._files) >= MOST_FILES or self._bytes + length > MOST_BYTES or not _sends_files():
            return None
        with suppress(OSError):
            file = MemoryFile(head, content)
            if not self._files:
                asyncio.get_running_loop().call_later(1 - time() % 1, self.clear)
            self._files[head] = file
            self._bytes += file.length
            return file
        return None


@cache
def _sends_files() -> bool:
    """Whether this system has files of memory, lets this process make them, and sends from them."""
    if not hasattr(os, "memfd_create"):
        return False
    one, other = socket.socketpair()
    with one, other, suppress(OSError):
        return MemoryFile(b"head", b"body").send(one) == 8
    return False
