"""Which pictures in memory were made from which image, so that they go with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightfast.cache.entry import Entry


def key_of(id: str, spec: str) -> str:
    """The key in memory of what ``spec`` says was made from ``id``: a question mark is in no id."""
    return f"{id}?{spec}"


@dataclass(slots=True)
class Family:
    """What was made from one version of an image."""

    source: Entry
    """That version, without its content: it is known here, also where the image itself has left memory."""
    moves: bool | None = None
    """Whether it is an animation, where that has been looked up."""
    keys: set[str] = field(default_factory=set)


class Families:
    """One family for each id of which something is in memory. Told by the cache of what leaves it (``evicted``)."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def of(self, id: str) -> Family | None:
        return self._families.get(id)

    def join(self, key: str, source: Entry, moves: bool | None) -> None:
        """``key`` is in memory now. What was made from another version is not told of here: let it go before."""
        family = self._families.setdefault(source.meta.id, Family(source))
        if moves is not None:
            family.moves = moves
        family.keys.add(key)

    def evicted(self, key: str, entry: Entry) -> None:
        """``key`` has left memory. Of images nothing is known here."""
        family = self._families.get(entry.meta.id)
        if family is None or key == entry.meta.id:
            return
        family.keys.discard(key)
        if not family.keys:
            del self._families[entry.meta.id]

    def pop(self, id: str) -> set[str]:
        """Forget the family of ``id``; the keys of its members, which are to leave memory."""
        family = self._families.pop(id, None)
        return family.keys if family is not None else set()
