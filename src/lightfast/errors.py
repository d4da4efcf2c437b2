"""Facts that can go wrong. Standard library only.

``str(error)`` is safe to show to anyone: it says what was wrong and, where there is one, what would
be right. Causes that are not (addresses, driver messages) are chained with ``raise … from``.
"""

from __future__ import annotations


class LightfastError(Exception):
    """The base of every error that Lightfast raises on purpose."""


class SettingsError(LightfastError):
    """A setting, an option or a store URL can't be used as given."""


class InvalidRequest(LightfastError):
    """The request is not well formed: an id, a parameter, a header or a body that can't be read."""


class Unauthorized(LightfastError):
    """The request needs a write token and carries none, or a wrong one."""


class Forbidden(LightfastError):
    """The request asks for a variant that needs a signature, and carries none, a wrong one or one that has expired."""


class Missing(LightfastError):
    """No image has this id, or it has expired."""

    def __init__(self, id: str) -> None:
        super().__init__(f"No image has the id {id!r}.")
        self.id = id


class PreconditionFailed(LightfastError):
    """The current version is not the one that the request's conditions ask for."""

    def __init__(self, current: str | None) -> None:
        found = f"the current ETag is {current!r}" if current else "there is no current version"
        super().__init__(f"The precondition does not hold: {found}.")
        self.current = current


class RangeNotSatisfiable(LightfastError):
    """None of the ranges asked for lies within the representation."""

    def __init__(self, size: int) -> None:
        super().__init__(f"No requested range lies within the {size} bytes of this image.")
        self.size = size


class TooLarge(LightfastError):
    """The content is longer than the limit. ``limit`` in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The image is larger than the limit of {limit} bytes.")
        self.limit = limit


class TooSlow(LightfastError):
    """The sender of a body has stopped sending. ``patience`` in seconds."""

    def __init__(self, patience: float) -> None:
        super().__init__(f"Nothing more of the body has come for {patience:g} seconds.")


class UnsupportedMediaType(LightfastError):
    """The bytes are of no type that is stored here, or of another type than the request says."""


class InvalidImage(LightfastError):
    """The bytes are of a known type but are no usable image: empty, truncated or absurdly large."""


class BrokenRecord(LightfastError):
    """The store holds something under this id that is no image record."""

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(f"The stored record of {id!r} can't be read: {reason}.")
        self.id = id
        self.reason = reason


class Overloaded(LightfastError):
    """A bounded resource is used up for now. ``retry_after`` in seconds."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RenderTimeout(LightfastError):
    """A picture could not be made in time. ``limit`` in seconds."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"The picture could not be made within {limit:g} seconds.")
        self.limit = limit


class StoreUnavailable(LightfastError):
    """The store does not answer. ``retry_after`` in seconds. A write may or may not have happened."""

    def __init__(self, message: str = "The store does not answer.", retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreFull(LightfastError):
    """The store has no room for this image; nothing was changed."""

    def __init__(self, message: str = "The store has no room for this image.") -> None:
        super().__init__(message)
