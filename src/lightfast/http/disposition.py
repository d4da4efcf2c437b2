"""The file name under which a browser saves an image (RFC 6266)."""

from __future__ import annotations

SPELLINGS = {
    "image/png": (".png", ".apng"),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/webp": (".webp",),
    "image/avif": (".avif", ".avifs"),
    "image/gif": (".gif",),
}
"""Media type → the extensions its files go by, the usual one first."""

_OTHER_FORMATS = (".bmp", ".heic", ".heif", ".ico", ".jxl", ".svg", ".tif", ".tiff")
_IMAGE_EXTENSIONS = frozenset(_OTHER_FORMATS).union(*SPELLINGS.values())


def content_disposition(id: str, media_type: str, download: bool) -> str:
    """Content-Disposition of the image ``id`` (a valid one, so nothing needs escaping or ``filename*``).

    The name is the id with the extension of ``media_type``: added, or put in the place of another image
    format's. A media type that is not known here leaves the id as it is.
    """
    kind = "attachment" if download else "inline"
    return f'{kind}; filename="{_file_name(id, media_type)}"'


def _file_name(id: str, media_type: str) -> str:
    spellings = SPELLINGS.get(media_type)
    if spellings is None:
        return id
    stem, dot, ending = id.rpartition(".")
    extension = f"{dot}{ending}".lower()
    if extension in spellings:
        return id
    return f"{stem if extension in _IMAGE_EXTENSIONS else id}{spellings[0]}"
