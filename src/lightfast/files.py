"""Reads and writes the files of whoever works at the command line: bounded, and never half."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
from pathlib import Path

from lightfast.errors import TooLarge

STANDARD_INPUT = "-"


def size_of(name: str) -> int:
    """Bytes in the file; ``0`` where that can't be known before reading it."""
    try:
        status = Path(name).stat()
    except (OSError, ValueError):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def read_bounded(name: str, limit: int) -> bytes:
    """The content of the file ``name``, of standard input for ``-``. Raises ``TooLarge`` and ``OSError``."""
    if name == STANDARD_INPUT:
        content = sys.stdin.buffer.read(limit + 1)
    else:
        with Path(name).open("rb") as file:
            content = file.read(limit + 1)
    if len(content) > limit:
        raise TooLarge(limit)
    return content


def write_whole(path: Path, content: bytes) -> None:
    """Make ``path`` hold ``content``: all of it or, when something fails, what it held before. Raises ``OSError``.

    A symbolic link stays one. What is no regular file (a device, a pipe) can't be exchanged and is written to.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    draft = path.with_name(f".lightfast-{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
