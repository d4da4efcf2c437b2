"""How the command line looks: for people on a terminal, for programs everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Self

import orjson
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lightfast.model import Info, Sighting
from lightfast.units import format_size

LARGE = 4 * 1024 * 1024
"""Bytes from which on a single transfer is worth a progress bar."""


def one_line(text: str) -> str:
    """``text`` on one line, with what could steer a terminal spelt out."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in " ".join(text.split())
    )


def as_json(info: Info | Sighting) -> str:
    """The form in which a server answers, too."""
    return orjson.dumps(info, option=orjson.OPT_UTC_Z).decode()


def as_fields(info: Info) -> str:
    """Tab-separated: id, media type, bytes, width, height, created, expires, URL; ``-`` for what is not known."""
    values = (
        info.id,
        info.media_type,
        str(info.bytes),
        str(info.width or "-"),
        str(info.height or "-"),
        _moment(info.created, "-"),
        _moment(info.expires, "-"),
        info.url,
    )
    return "\t".join(map(one_line, values))


def as_sighting(sighting: Sighting) -> str:
    """Tab-separated: when it arrived, id, what happened, ETag, lag; ``-`` for what is not known."""
    lag = "-" if sighting.lag is None else f"{sighting.lag * 1000:.1f} ms"
    arrived = sighting.at.isoformat(timespec="milliseconds")
    return "\t".join(map(one_line, (arrived, sighting.id or "-", sighting.what, sighting.etag or "-", lag)))


def as_text(info: Info) -> str:
    """Several lines for people."""
    facts = {
        "id": info.id,
        "URL": info.url,
        "type": info.media_type,
        "pixels": _pixels(info),
        "size": f"{format_size(info.bytes)} ({info.bytes} bytes)",
        "ETag": info.etag,
        "stored": _moment(info.created, "not known"),
        "replaced": "yes" if info.replaced else "no",
        "expires": _moment(info.expires, "never"),
    }
    return "\n".join(f"{name:<9} {one_line(value)}" for name, value in facts.items())


def print_table(images: Iterable[Info], *, header: bool) -> None:
    """Print one page on the terminal. Every page has the same widths, so that together they are one table."""
    console = Console(highlight=False)
    table = Table(box=None, show_header=header, padding=(0, 2, 0, 0), width=console.width)
    table.add_column("ID", ratio=1, overflow="fold")
    table.add_column("Type", width=5)
    table.add_column("Pixels", width=13)
    table.add_column("Size", width=10, justify="right")
    table.add_column("Expires", width=20)
    for info in images:
        kind = info.media_type.removeprefix("image/")
        cells = (info.id, kind, _pixels(info), format_size(info.bytes), _moment(info.expires, "never"))
        table.add_row(*(one_line(cell).replace("[", r"\[") for cell in cells))
    console.print(table)


def write(line: str) -> None:
    """Write one line to standard output."""
    sys.stdout.write(f"{line}\n")


class Bar:
    """Shows on standard error how far a transfer is, if that is a terminal and the transfer long enough to watch.

    Lines written meanwhile go through ``write`` and ``report``, which keep them out of the bar.
    """

    def __init__(self, files: int = 1) -> None:
        self._many = files > 1
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._task = self._progress.add_task("", total=None)
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._shown:
            self._progress.stop()

    def expect(self, size: int) -> None:
        """``size`` bytes will be moved."""
        if sys.stderr.isatty() and (self._many or size > LARGE):
            self._shown = True
            self._progress.update(self._task, total=size)
            self._progress.start()

    def name(self, what: str) -> None:
        """``what`` is moved from now on."""
        self._progress.update(self._task, description=one_line(what).replace("[", r"\["))

    def moved(self, size: int) -> None:
        """``size`` more bytes have been moved."""
        self._progress.advance(self._task, size)

    def write(self, line: str) -> None:
        """Write one line to standard output now."""
        if self._shown and sys.stdout.isatty():
            self._above(line)
        else:
            write(line)
            sys.stdout.flush()

    def report(self, line: str) -> None:
        """Write one line to standard error."""
        if self._shown:
            self._above(line)
        else:
            sys.stderr.write(f"{line}\n")

    def _above(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _pixels(info: Info) -> str:
    return f"{info.width} × {info.height}" if info.width and info.height else "not known"


def _moment(moment: datetime | None, unknown: str) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment is not None else unknown
