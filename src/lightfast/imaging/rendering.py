"""Makes pictures for callers that must not wait on a thread: every job goes through one pool, and is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from lightfast.errors import Overloaded
from lightfast.imaging.codec import ANIMATED, encoder_version, output_format, render
from lightfast.imaging.geometry import Limits
from lightfast.imaging.placeholder import placeholder
from lightfast.imaging.pool import RenderPool
from lightfast.imaging.preview import preview
from lightfast.imaging.stop import Stop
from lightfast.model import Content, Picture, Preview
from lightfast.tally import Histogram
from lightfast.variant import MEDIA_TYPES, Placeholder, Variant

T = TypeVar("T")

MAX_SOURCES = 256 * 1024 * 1024
"""Bytes of different images that are made into something or wait for it. A queue full of large ones would take more."""

ANIMATED_TYPES = frozenset(MEDIA_TYPES[kept] for kept in ANIMATED)


class Rendering:
    """Implements ``ports.Renderer`` with libvips. ``keep_metadata``: whether variants keep what is not pixels."""

    def __init__(self, pool: RenderPool, limits: Limits, *, keep_metadata: bool = False) -> None:
        self._pool = pool
        self._limits = limits
        self._keep_metadata = keep_metadata
        # An animation that would be larger than ``pixels_out`` is its first frame.
        most = "" if limits.pixels_out == Limits().pixels_out else f"-{limits.pixels_out}"
        self.version = f"{encoder_version()}{'-metadata' if keep_metadata else ''}{most}"
        self._sources: dict[int, int] = {}
        """Jobs by the identity of their source: several may share the one that is in memory."""
        self._sources_bytes = 0
        self.jobs = 0
        """Everything that was begun."""
        self.renders = 0
        """Variants that were made."""
        self.seconds = Histogram()
        """What each took from the asking on, waiting for a thread included."""

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread."""
        return self._pool.waiting

    def media_type(self, source: str, variant: Variant) -> str:
        return output_format(source, variant)

    def may_move(self, media_type: str) -> bool:
        return media_type in ANIMATED_TYPES

    def moves(self, content: Content) -> bool:
        # RFC 9649 §2.7.1: the flags of an extended WebP. A GIF that does not move is rare enough to be taken for one.
        if bytes(content[:4]) != b"RIFF":
            return True
        return bytes(content[12:16]) == b"VP8X" and bool(content[20] & 0x02)

    async def render(self, content: Content, variant: Variant, *, idle: bool = False) -> Picture:
        started = time.perf_counter()
        job = partial(render, content, variant, self._limits, keep_metadata=self._keep_metadata)
        with self._held(content):
            made = await self._run(job, idle)
        self.renders += 1
        self.seconds.observe(time.perf_counter() - started)
        return made

    async def preview(self, content: Content, *, idle: bool = False) -> Preview:
        with self._held(content):
            return await self._run(partial(preview, content, self._limits), idle)

    async def placeholder(self, wanted: Placeholder) -> Picture:
        return await self._run(partial(_placeholder, wanted), idle=False)

    async def close(self) -> None:
        await self._pool.close()

    @contextmanager
    def _held(self, content: Content) -> Iterator[None]:
        """While ``content`` is held for a job. Raises ``Overloaded`` where too much is held already."""
        mark = id(content)
        if mark not in self._sources:
            if self._sources and self._sources_bytes + len(content) > MAX_SOURCES:
                raise Overloaded("Too many large images wait to be made into pictures; try again later.")
            self._sources_bytes += len(content)
        self._sources[mark] = self._sources.get(mark, 0) + 1
        try:
            yield
        finally:
            self._sources[mark] -= 1
            if not self._sources[mark]:
                del self._sources[mark]
                self._sources_bytes -= len(content)

    async def _run(self, job: Callable[[Stop], T], idle: bool) -> T:
        self.jobs += 1
        return await (self._pool.run_when_idle(job) if idle else self._pool.run(job))


def _placeholder(wanted: Placeholder, stop: Stop) -> Picture:
    return placeholder(
        wanted.width,
        wanted.height,
        text=wanted.text,
        background=wanted.background,
        foreground=wanted.foreground,
        seed=wanted.seed,
        format=wanted.format,
        stop=stop,
    )
