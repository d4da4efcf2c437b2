"""What this process has seen ids change to, for records that don't say so themselves."""

from __future__ import annotations

from dataclasses import replace

from lightfast.model import Meta


class Replacements:
    """Remembers the last ETag seen of each id, for ``max_entries`` ids; the one seen least recently goes first.

    A foreign app overwrites its records without a trace. Once two versions of an id have been seen here, its
    bare URL must not be called immutable any more.
    """

    def __init__(self, max_entries: int = 10_000) -> None:
        self._max_entries = max_entries
        self._seen: dict[str, tuple[str, bool]] = {}

    def observe(self, meta: Meta) -> Meta:
        """Return ``meta``, marked as replaced if this id was seen with other bytes before."""
        etag, replaced = self._seen.pop(meta.id, (meta.etag, False))
        replaced = meta.replaced or replaced or etag != meta.etag
        self._seen[meta.id] = (meta.etag, replaced)
        if len(self._seen) > self._max_entries:
            del self._seen[next(iter(self._seen))]
        return meta if replaced == meta.replaced else replace(meta, replaced=replaced)
