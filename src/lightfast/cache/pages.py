"""Contents in pages of their own.

What a large picture leaves behind in the heap is a hole that the next one does not fit into, so a process that turns
its cache over grows. A mapping for each content goes back to the system as a whole, as soon as nobody needs it.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import Self

from lightfast.model import Content

WORTHWHILE = 16 * 1024
"""Bytes from which on a content has pages of its own. The part of the last page that it leaves is small then."""

MOST = 20_000
"""Contents in pages of their own at the same time. A process may have 65,530 mappings (vm.max_map_count)."""


class _Pages(mmap.mmap):
    """A private mapping with a copy of ``content``. Goes when the last view of it does, a slow reader's among them."""

    count = 0

    def __new__(cls, content: Content) -> Self:
        self = super().__new__(cls, -1, len(content), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.write(content)
        _Pages.count += 1
        return self

    def __del__(self) -> None:
        _Pages.count -= 1


def in_own_pages(content: Content) -> Content:
    """A read-only view of a copy of ``content``, or ``content`` itself where pages are not worth it or used up."""
    if len(content) >= WORTHWHILE and _Pages.count < MOST:
        with contextlib.suppress(OSError):
            return memoryview(_Pages(content)).toreadonly()
    return content
