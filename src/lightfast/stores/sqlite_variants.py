"""What was made from the images of the embedded store, in a table beside them.

A variant has no expiry of its own: it counts as long as an image with its source's bytes is current, whoever changes
the life of that image. Triggers (``sqlite_file``) delete it when the last such image goes.
"""

from __future__ import annotations

from lightfast.model import Meta, Rendition
from lightfast.stores.sqlite_file import Connection
from lightfast.stores.variants import MAX_VARIANTS, checked_rendition, log_broken

_GET = (
    "SELECT content, etag, media_type, size, width, height FROM variants WHERE source = ? AND spec = ? AND EXISTS "
    "(SELECT 1 FROM images WHERE images.etag = variants.source AND (expires IS NULL OR expires > ?))"
)
_IS_CURRENT = "SELECT 1 FROM images WHERE id = ? AND etag = ? AND (expires IS NULL OR expires > ?)"
_PUT = (
    "INSERT OR REPLACE INTO variants (source, spec, etag, media_type, size, width, height, content) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_COUNT = "SELECT count(*) FROM variants WHERE source = ?"
# Numbers grow, and a replaced row gets a new one.
_DROP_OLDEST = (
    "DELETE FROM variants WHERE number IN (SELECT number FROM variants WHERE source = ? ORDER BY number LIMIT ?)"
)
_COST = "SELECT coalesce(sum(size), 0) + count(*) FROM variants WHERE source = ?"


def get(connection: Connection, source: str, spec: str, now: float) -> Rendition | None:
    row = connection.row(_GET, source, spec, now)
    if row is None:
        return None
    rendition = checked_rendition(*row)
    if rendition is None:
        log_broken(source, spec)
    return rendition


def put(connection: Connection, source: Meta, spec: str, rendition: Rendition, now: float) -> None:
    """In one small transaction, for images may be waiting behind it."""
    about = rendition.etag, rendition.media_type, len(rendition.content), rendition.width, rendition.height
    with connection.lazy_transaction():
        if connection.row(_IS_CURRENT, source.id, source.etag, now) is None:
            return
        connection.rows(_PUT, source.etag, spec, *about, rendition.content)
        rows = connection.rows(_COUNT, source.etag)
        if rows[0][0] > MAX_VARIANTS:
            connection.rows(_DROP_OLDEST, source.etag, rows[0][0] - MAX_VARIANTS)


def drop(connection: Connection, source: str) -> None:
    with connection.lazy_transaction():
        connection.rows("DELETE FROM variants WHERE source = ?", source)


def cost(connection: Connection, source: str) -> int:
    """About how many bytes a version's variants take: what goes when the last image with its bytes does."""
    return int(connection.rows(_COST, source)[0][0])
