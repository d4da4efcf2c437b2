"""What was made from the images of the embedded store, in tables beside them.

A variant has no expiry of its own: it counts as long as an image with its source's bytes is current, whoever changes
the life of that image. Triggers (``sqlite_file``) delete it when the last such image goes; its content is abandoned
then, and reclaimed in portions.
"""

from __future__ import annotations

from lightfast.model import Meta, Rendition
from lightfast.stores.sqlite_file import Connection
from lightfast.stores.variants import MAX_VARIANTS, checked_rendition, log_broken

_GET = (
    "SELECT content, etag, media_type, size, width, height FROM variants LEFT JOIN variant_contents USING (number) "
    "WHERE source = ? AND spec = ? AND EXISTS "
    "(SELECT 1 FROM images WHERE images.etag = variants.source AND (expires IS NULL OR expires > ?))"
)
_IS_CURRENT = "SELECT 1 FROM images WHERE id = ? AND etag = ? AND (expires IS NULL OR expires > ?)"
_PUT = (
    "INSERT INTO variants (source, spec, etag, media_type, size, width, height) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "RETURNING number"
)
_COUNT = "SELECT count(*) FROM variants WHERE source = ?"
_DROP_OLDEST = (
    "DELETE FROM variants WHERE number IN (SELECT number FROM variants WHERE source = ? ORDER BY number LIMIT ?)"
)


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
        # One that is put again gets a new number, which is its age.
        connection.rows("DELETE FROM variants WHERE source = ? AND spec = ?", source.etag, spec)
        number = connection.rows(_PUT, source.etag, spec, *about)[0][0]
        connection.rows("INSERT INTO variant_contents VALUES (?, ?)", number, rendition.content)
        rows = connection.rows(_COUNT, source.etag)
        if rows[0][0] > MAX_VARIANTS:
            connection.rows(_DROP_OLDEST, source.etag, rows[0][0] - MAX_VARIANTS)


def drop(connection: Connection, source: str) -> None:
    with connection.lazy_transaction():
        connection.rows("DELETE FROM variants WHERE source = ?", source)


def reclaim(connection: Connection, count: int, size: int) -> int:
    """Free at most ``count`` abandoned contents, or ``size`` bytes of them; about how many bytes that was."""
    freed = 0
    for number, length in connection.rows("SELECT number, size FROM abandoned ORDER BY number LIMIT ?", count):
        connection.rows("DELETE FROM variant_contents WHERE number = ?", number)
        connection.rows("DELETE FROM abandoned WHERE number = ?", number)
        freed += length + 1
        if freed >= size:
            break
    return freed
