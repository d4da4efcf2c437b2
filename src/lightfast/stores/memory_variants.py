"""What was made from the images of the store in memory: kept as long as an image has those bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lightfast.model import Rendition
from lightfast.stores.variants import MAX_VARIANTS


@dataclass(slots=True)
class _Version:
    holders: set[str] = field(default_factory=set)
    """Ids whose image has these bytes, expired or not."""
    renditions: dict[str, Rendition] = field(default_factory=dict)
    """By spec; the one that was put longest ago comes first."""


class MemoryVariants:
    """Variants by version. Nothing is kept for a version that no image has. ``cost`` is what some bytes count as."""

    def __init__(self, cost: Callable[[int], int]) -> None:
        self._cost = cost
        self._versions: dict[str, _Version] = {}
        self.bytes = 0
        """What all of them count."""

    def hold(self, etag: str, id: str) -> None:
        """An image with these bytes is stored under ``id`` from now on."""
        self._versions.setdefault(etag, _Version()).holders.add(id)

    def release(self, etag: str, id: str) -> None:
        """It is no more; the last one takes the variants along."""
        version = self._versions.get(etag)
        if version is not None:
            version.holders.discard(id)
            if not version.holders:
                self.drop(etag)
                del self._versions[etag]

    def holders(self, etag: str) -> frozenset[str]:
        version = self._versions.get(etag)
        return frozenset(version.holders) if version is not None else frozenset()

    def get(self, etag: str, spec: str) -> Rendition | None:
        version = self._versions.get(etag)
        return version.renditions.get(spec) if version is not None else None

    def price(self, etag: str, spec: str, rendition: Rendition) -> int:
        """What ``put`` would add to ``bytes``, unless more than is bounded goes for it."""
        old = self.get(etag, spec)
        return self._cost(len(rendition.content)) - (self._cost(len(old.content)) if old is not None else 0)

    def put(self, etag: str, spec: str, rendition: Rendition) -> None:
        """``etag`` is held."""
        renditions = self._versions[etag].renditions
        self._take(renditions, spec)
        renditions[spec] = rendition
        self.bytes += self._cost(len(rendition.content))
        while len(renditions) > MAX_VARIANTS:
            self._take(renditions, next(iter(renditions)))

    def drop(self, etag: str) -> None:
        version = self._versions.get(etag)
        for spec in list(version.renditions) if version is not None else ():
            self._take(self._versions[etag].renditions, spec)

    def shrink(self, limit: int) -> None:
        """Drop whole versions, the one that is held for longest first, until ``bytes`` is ``limit`` at most."""
        for etag in self._versions if self.bytes > limit else ():
            self.drop(etag)
            if self.bytes <= limit:
                break

    def _take(self, renditions: dict[str, Rendition], spec: str) -> None:
        rendition = renditions.pop(spec, None)
        if rendition is not None:
            self.bytes -= self._cost(len(rendition.content))
