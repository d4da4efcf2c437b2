"""Every protocol, on one page. What a method promises stands beside it and is held by ``tests/contract``."""

from __future__ import annotations

from typing import NoReturn, Protocol

from lightfast.model import ALWAYS, Change, Draft, Image, Meta, Page, Precondition, Stored


class Store(Protocol):
    """Keeps images by id.

    Every method may raise ``StoreUnavailable`` when the store does not answer in time. No method blocks
    the event loop. Nobody ever sees half a write: a reader gets the version before or the version after,
    whatever happens to the writer. An expired image is missing from the moment in ``Meta.expires`` on,
    whether or not its space was reclaimed yet. Ids are valid (``model.is_valid_id``) when they get here.
    """

    async def open(self) -> None:
        """Get ready. Raises ``SettingsError`` where the URL names something that can't be a store."""

    async def close(self) -> None:
        """Give back every connection, thread and task. Closing twice, or a store never opened, is fine."""

    async def ping(self) -> None:
        """Return if the store answers, else raise ``StoreUnavailable``."""

    async def get(self, id: str) -> Image | None:
        """The current version with its bytes, in one round trip; ``None`` if there is none.

        Raises ``BrokenRecord`` where something is stored under the id that is no image record.
        """

    async def head(self, id: str) -> Meta | None:
        """The current version without its bytes; the same ``Meta`` that ``get`` would give."""

    async def put(self, draft: Draft, ttl: float, precondition: Precondition = ALWAYS) -> Stored:
        """Store ``draft`` for ``ttl`` seconds (``0`` = for ever), if ``precondition`` allows it.

        The precondition is decided against the current version in the same atomic step as the write: of
        any number of concurrent writers whose conditions exclude each other, exactly one wins. Returns
        only after the store has the image durably. ``model.next_version`` says what the new ``Meta`` is;
        a version deleted recently still counts as the previous one.

        Raises ``PreconditionFailed`` and ``StoreFull``; nothing has changed then. A broken record is
        overwritten, and counts as another version.
        """

    async def delete(self, id: str, precondition: Precondition = ALWAYS) -> bool:
        """Remove the image, atomically with ``precondition``; whether there was one.

        What it was is remembered (``model.Predecessor``) for as long as browsers may hold copies of it.
        Raises ``PreconditionFailed``; nothing has changed then. A broken record can be deleted too.
        """

    async def list(self, cursor: str | None, limit: int) -> Page:
        """At most ``limit`` images from ``cursor`` (``None`` = from the start) on.

        Following the cursors to the end names every image that was there all the time exactly once, unless
        it was replaced meanwhile, and no id that is no image. A page may hold fewer than ``limit`` images, even
        none, and still have a cursor. Raises ``InvalidRequest`` for a cursor that this store did not give.
        """


class FeedObserver(Protocol):
    """Is told of a store's changes. No method raises or blocks."""

    def linked(self) -> None:
        """From now on no change is missed; what happened before may have been."""

    def alive(self, lag: float | None = None) -> None:
        """The link has just been heard from. ``lag``: what a change takes at most to get here now, in seconds."""

    def changed(self, change: Change) -> None:
        """Something changed."""


class ChangeFeed(Protocol):
    """Tells of every change of what a store holds, whoever makes it."""

    async def follow(self, observer: FeedObserver) -> NoReturn:
        """Tell ``observer`` of every change until the link is lost; then raise ``StoreUnavailable``.

        Calls ``linked`` once, when the link is made; a change that is made after that is told of, in any case. It may
        be told of twice, or without having changed anything. A link that has gone silent is found and raised within
        two seconds, a link that can't be made likewise. Never returns. Cancelling ends it and gives everything back.
        """


class FollowedStore(Store, ChangeFeed, Protocol):
    """A store that tells of its changes. All of ours do."""
