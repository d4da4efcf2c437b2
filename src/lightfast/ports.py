"""Every protocol, on one page. What a method promises stands beside it and is held by ``tests/contract``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, Protocol, runtime_checkable

from lightfast.model import (
    ALWAYS,
    Change,
    Content,
    Draft,
    Image,
    Meta,
    Page,
    Picture,
    Precondition,
    Preview,
    Rendition,
    Stored,
)
from lightfast.variant import Placeholder, Variant


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

    async def head(self, id: str) -> Meta | Image | None:
        """The current version, with the same ``Meta`` that ``get`` would give; raises as ``get``.

        Without its bytes, unless they had to be read to know the rest of it: then whoever asks next need not read them
        again. ``model.meta_of`` is for who needs none.
        """

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


class VariantStore(Protocol):
    """Keeps what was made from images, so that another process need not make it again.

    ``source`` is the ETag of a version, ``spec`` says what was made of it: 1 to 512 printable ASCII characters without
    spaces. Ids whose images have the same bytes share what is made of them; where one of them is replaced or deleted,
    it may be gone for the others too. All of it can be made again, so a store may lose it at any time (a full or tidy
    server, a power failure), and nothing about an image depends on it: ``list`` and the feed don't know of it.

    When ``Store.put`` or ``Store.delete`` returns, what was made of the version that they took away is gone, unless the
    store failed just then. Storing the same bytes again keeps it, for as long as the image now lives. A version that
    another program takes away takes its variants along at once (SQLite), or when ``drop_variants`` is called by whoever
    notices, else when it would have expired (Redis). Every method may raise ``StoreUnavailable``; none blocks the loop.
    """

    async def get_variant(self, source: str, spec: str) -> Rendition | None:
        """What was put, whole, in one round trip; ``None`` if there is nothing (any more).

        A broken record counts as nothing, and is logged: it will be made again and put over it.
        """

    async def put_variant(self, source: Meta, spec: str, rendition: Rendition) -> None:
        """Keep ``rendition`` until the image ``source.id`` expires, in place of what was kept for ``spec`` before.

        Nothing is kept, and nothing raised, if the version ``source`` is not the current one of its id, or ceases to be
        meanwhile. A version has at most ``variants.MAX_VARIANTS``; one more, and the one that was put longest ago goes.
        Raises ``StoreFull``; images are not affected then.
        """

    async def drop_variants(self, source: str) -> None:
        """Let go of everything that was made of the version ``source``, if there is anything."""


class FeedObserver(Protocol):
    """Is told of a store's changes. No method raises or blocks."""

    def linked(self) -> None:
        """From now on no change is missed; what happened before may have been."""

    def alive(self, lag: float | None = None) -> None:
        """The link has just been heard from. ``lag``: what a change takes at most to get here now, in seconds."""

    def changed(self, change: Change) -> None:
        """Something changed."""


@runtime_checkable
class CostlyStore(Protocol):
    """A store with images whose first read costs much more than another: their bytes are to be decoded and hashed."""

    async def costly(self, position: str | None) -> tuple[Sequence[str], str | None]:
        """One step of a walk: ids that may name such images, and where the next step begins, ``None`` at the end.

        ``None`` is also where the walk begins. A step takes the store less than a millisecond, however much it holds,
        so most steps may find nothing. What is there all the time comes at least once. Raises ``StoreUnavailable``,
        and ``InvalidRequest`` where a walk can't go on.
        """


class ChangeFeed(Protocol):
    """Tells of every change of what a store holds, whoever makes it."""

    async def follow(self, observer: FeedObserver) -> NoReturn:
        """Tell ``observer`` of every change until the link is lost; then raise ``StoreUnavailable``.

        Calls ``linked`` once, when the link is made; a change that is made after that is told of, in any case. It may
        be told of twice, or without having changed anything. A link that has gone silent is found and raised within
        two seconds, a link that can't be made likewise. Never returns. Cancelling ends it and gives everything back.
        """


class FollowedStore(Store, VariantStore, ChangeFeed, Protocol):
    """A store that tells of its changes, and keeps what is made of its images. All of ours do."""


class Renderer(Protocol):
    """Makes pictures from pictures, without blocking the event loop.

    What is asked for at the same time is bounded: beyond it every method that makes something raises ``Overloaded``,
    and ``RenderTimeout`` where it takes too long. ``idle`` work waits until nobody waits for a picture.
    """

    @property
    def version(self) -> str:
        """Of what is made from the same source and wish: other versions may make other bytes."""

    def media_type(self, source: str, variant: Variant) -> str:
        """Of ``variant`` of a source of the media type ``source``, before it is made. Raises ``InvalidRequest``."""

    def may_move(self, media_type: str) -> bool:
        """Whether pictures of this type can be animations that stay animations in their own type."""

    def moves(self, content: Content) -> bool:
        """Whether ``content``, of a type that ``may_move``, is an animation."""

    async def render(self, content: Content, variant: Variant, *, idle: bool = False) -> Picture:
        """Raises ``InvalidImage``, ``UnsupportedMediaType``, ``TooLarge`` for the source, ``InvalidRequest`` for what
        would be too large."""

    async def preview(self, content: Content, *, idle: bool = False) -> Preview:
        """Raises as ``render``."""

    async def placeholder(self, wanted: Placeholder) -> Picture:
        """Raises ``InvalidRequest`` for a value out of its bounds."""
