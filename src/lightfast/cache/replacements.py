"""What this process has seen ids change to, for records that don't say so themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lightfast.model import Meta


class Replacements:
    """Remembers the last ETag seen of each id, for ``max_entries`` ids; the one seen least recently goes first.

    A foreign app overwrites its records without a trace. Once two versions of an id have been seen here, its
    bare URL must not be called immutable any more. ``on_gone(id, etag)`` is called when a version turns out to be gone.
    """

    def __init__(self, on_gone: Callable[[str, str], None], max_entries: int = 10_000) -> None:
        self._on_gone = on_gone
        self._max_entries = max_entries
        self._seen: dict[str, tuple[str, bool, bool]] = {}
        """ETag, whether it took another one's place, and whether it is there."""

    def observe(self, meta: Meta) -> Meta:
        """Return ``meta``, marked as replaced if this id was seen with other bytes before."""
        etag, replaced, there = self._seen.pop(meta.id, (meta.etag, False, True))
        replaced = meta.replaced or replaced or etag != meta.etag
        self._seen[meta.id] = (meta.etag, replaced, True)
        if len(self._seen) > self._max_entries:
            del self._seen[next(iter(self._seen))]
        if there and etag != meta.etag:
            self._on_gone(meta.id, etag)
        return meta if replaced == meta.replaced else replace(meta, replaced=replaced)

    def gone(self, id: str) -> None:
        """There is nothing under ``id`` now."""
        etag, replaced, there = self._seen.get(id, ("", False, False))
        if there:
            self._seen[id] = (etag, replaced, False)
            self._on_gone(id, etag)
