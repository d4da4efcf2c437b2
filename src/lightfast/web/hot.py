"""The hot path: a uvicorn protocol that answers memory hits from the bytes of the request.

It answers when the connection stands between two messages and what has arrived is exactly one plain GET or HEAD whose
image is in memory and trusted. Everything else goes to uvicorn with the bytes untouched. Use it in any server with
``uvicorn main:app --http lightfast.web.hot:HotProtocol``; middleware of the application does not see what is answered
here.

This is the one room where speed comes before plainness. Measured with wrk and the header set of a browser, against
the same application without it: 10 to 15 times the requests per second at 7 KB.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
import termios
from contextlib import suppress
from time import time
from typing import Any

from lightfast.cache.pages import WORTHWHILE
from lightfast.model import Content
from lightfast.web.answers import Shortcut, answers_of
from lightfast.web.hit_log import SHARE, HitLog, to_uvicorns_log
from lightfast.web.near import suit_client
from lightfast.web.popular import Popularity
from lightfast.web.protocol import Protocol
from lightfast.web.upkeep import ConnectionLimits

MAX_HEAD = 16 * 1024
"""Bytes of a request that is looked at here."""

GET, HEAD = b"GET ", b"HEAD "
VERSION = b" HTTP/1.1\r\n"
LINE_END = len(VERSION) - 2
"""Where the header block begins behind the target: with the end of the request line."""

QUIET = 0.5
"""Seconds without a request after which a connection of a server that ends is closed."""


class HotProtocol(Protocol):
    """``Protocol`` with a hot path in front."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # uvicorn's own, passed on
        super().__init__(*args, **kwargs)
        self._answers = answers_of(self.config)
        self._shortcuts = self._answers.shortcuts
        self._polling = self._answers.polling
        self._in_message = self._in_head = False
        self._is_free = True
        """Whether the connection stands between two messages and ``_is_idle``, since the last event that changes it."""
        self._held = b""
        """A request that waits until the news of changes has been heard, and what has come behind it."""
        self._socket: socket.socket | None = None
        self._is_near = False
        self._content: object = self
        """What waits in the transport: the identity of a content, or nobody else's."""
        self._hits = 0
        self._progress = (0, 0, 0, False)
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._since = self.loop.time()
        self._answers.upkeep.add(self, self.app_state)
        if self.access_log and self._answers.hit_log is None:
            self._answers.hit_log = HitLog(to_uvicorns_log(self.access_logger), self.app_state.get(SHARE, 1.0))
        if self.scheme == "http":
            # A descriptor of our own for the same socket: the transport's object does not let anybody send.
            raw = transport.get_extra_info("socket")
            with suppress(OSError):  # no descriptor is left: the transport serves, too
                self._socket = socket.socket(raw.family, raw.type, raw.proto, os.dup(raw.fileno()))
                self._socket.setblocking(False)
            self._is_near = suit_client(raw)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._leave()
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        self._in_message = self._in_head = True
        self._is_free = False
        self._content = self
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self.scope["lightfast.hot"] = self._answers  # type: ignore[typeddict-unknown-key]
        self.scope["lightfast.target"] = self.url  # type: ignore[typeddict-unknown-key]
        self.scope["lightfast.sending"] = self._sending  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        if self._answers.draining and self.cycle is not None:  # no cycle begins where an upgrade is asked for
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()
        self._is_free = not self._in_message and self._is_idle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # upkeep sees to it
        self._is_free = not self._in_message and self._is_idle()

    def pause_writing(self) -> None:
        self._is_free = False
        super().pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._is_free = not self._in_message and self._is_idle()

    def data_received(self, data: bytes) -> None:
        if self._is_free:
            now = time()
            shortcut = self._shortcuts.get(data)
            if (  # not shortcut.holds(now), without a call
                shortcut is None
                or now >= shortcut.until
                or shortcut.epoch != shortcut.link.trusted_epoch
                or shortcut.slot.value is None
            ):
                shortcut = self._find(data, now)
                if shortcut is not None:
                    self._answers.remember(data, shortcut)
            if shortcut is not None:
                if now <= shortcut.link.turning_until:
                    self._take(shortcut, now)
                else:
                    self._is_free = False
                    self._held = data
                    shortcut.link.after_catching_up(self._take_up)
                return
        elif self._held:
            self._held += data
            self.flow.pause_reading()
            return
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        self._release()
        return super().eof_received()

    def _take_up(self) -> None:
        """Answer what was held until the news of changes was heard."""
        if not self._held or self.transport.is_closing():
            return
        now = time()
        shortcut = self._find(self._held, now)
        if shortcut is None:
            self._release()
        else:
            self._held, self._is_free = b"", True
            self._take(shortcut, now)

    def _release(self) -> None:
        """Leave what was held, if anything was, to uvicorn."""
        if self._held:
            data, self._held = self._held, b""
            self._is_free = not self._in_message and self._is_idle()
            self.flow.resume_reading()
            super().data_received(data)

    def shutdown(self) -> None:
        """Uvicorn's word that the server ends. The next answer is the last one, and says so.

        A client may be sending its next request just now, and would find the connection reset if that was closed.
        """
        self._answers.drain()
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False
        self.loop.call_later(QUIET, self._close_if_quiet)

    def _close_if_quiet(self) -> None:
        if self.transport.is_closing():
            return
        if self._held or self._in_message or not self._is_idle() or self._in_kernel(termios.FIONREAD):
            self.loop.call_later(QUIET, self._close_if_quiet)
        else:
            self.transport.close()

    def look_after(self, now: float, limits: ConnectionLimits) -> None:
        """``upkeep.Kept``: what has not moved since the last look is timed, so that a hit costs one addition."""
        waiting = self.transport.get_write_buffer_size()
        progress = (self._hits, waiting, self._in_kernel(termios.TIOCOUTQ) if waiting else 0, self._in_head)
        if progress != self._progress:
            self._progress, self._since = progress, now
        elif waiting:
            if limits.send and now - self._since >= limits.send:
                self.transport.abort()
        elif not self._is_idle():
            self._since = now  # what is under way takes its own time
        elif self._in_head:
            if limits.head and now - self._since >= limits.head:
                self._refuse(408, "The head of the request did not arrive in time.")
        elif limits.keep_alive and now - self._since >= limits.keep_alive:
            self.transport.close()

    def undelivered(self) -> tuple[object, int]:
        return self._content, self.transport.get_write_buffer_size()

    def _sending(self, content: Content) -> None:
        """What comes next is ``content``, which others may be sent as well."""
        self._content = id(content)

    def cut_off(self) -> None:
        self.transport.abort()

    def _take(self, shortcut: Shortcut, now: float) -> None:
        """Send what is prepared. What can be looked up once is: a look-up costs a hundredth of the whole request."""
        shortcut.slot.visited = True
        reads = shortcut.reads
        entry = shortcut.slot.value
        if shortcut.has_body and entry is not None:
            content = entry.content
            sent = len(content)
            reads.bytes += sent
            if shortcut.popularity is None:
                self.transport.write(b"".join((shortcut.head, content)))
            else:
                self._send(shortcut.popularity, content, now)
        else:
            sent = 0
            self.transport.write(shortcut.head)
        if shortcut.status == 200:
            reads.whole_hits += 1
        else:
            reads.unchanged_hits += 1
        self.server_state.total_requests += 1
        self._hits += 1
        if not self._polling.is_polling:
            self._polling.after_answer(self.loop, self.server_state)
        if self._answers.hit_log is not None:
            self._answers.hit_log.add(now, shortcut.method, shortcut.target, shortcut.status, sent, self.client)

    def _find(self, data: bytes, now: float) -> Shortcut | None:
        """The answer to ``data``, if it is one plain request whose image is in memory and trusted."""
        answers = self._answers
        method = "GET" if data[:4] == GET else "HEAD"
        start = len(method) + 1
        end = data.find(VERSION, start)
        target = data[start:end]
        place = answers.places.get(target)
        if place is None or len(data) > MAX_HEAD or not (method == "GET" or data[:5] == HEAD):
            return None
        plain = answers.blocks.read(data[end + LINE_END :])
        if plain is None:
            return None
        line = data[:end]
        shortcut = answers.recall(line, plain, now)
        if shortcut is not None:
            return shortcut
        key = place.key if place.choices is None else place.choices.get(plain.choice)
        slot = place.memory.slot(key) if key is not None else None
        entry = slot.value if slot is not None else None
        if slot is None or entry is None or entry.epoch != place.link.trusted_epoch:
            return None
        prepared = entry.prepared.get(target)
        if prepared is None or now >= prepared.until or (plain.has_origin and prepared.names_origin):
            return None
        if not answers.second <= now < answers.next_second:
            answers.begin_second(now, self.server_state.default_headers)
        unchanged = plain.unless is not None and (prepared.etag in plain.unless or plain.unless_any)
        has_body = method == "GET" and not unchanged
        head = answers.not_modified + prepared.unchanged if unchanged else answers.ok + prepared.whole
        is_large = has_body and len(entry.content) >= WORTHWHILE
        shortcut = Shortcut(
            until=min(prepared.until, answers.next_second),
            slot=slot,
            link=place.link,
            epoch=entry.epoch,
            reads=place.reads,
            status=304 if unchanged else 200,
            has_body=has_body,
            head=head,
            method=method,
            target=target,
            popularity=answers.popular.of(head, entry.content, now) if is_large else None,
        )
        answers.remember_alike(line, plain, shortcut)
        return shortcut

    def _is_idle(self) -> bool:
        """Whether nothing is under way on this connection, and the client takes what it is sent."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.pipeline
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _leave(self) -> None:
        """Let go of the connection: it is lost, or another protocol's."""
        self._held = b""
        self._answers.upkeep.discard(self)
        if self._answers.hit_log is not None:
            self._answers.hit_log.flush()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _in_kernel(self, queue: int) -> int:
        """Bytes that the kernel has from the client (``FIONREAD``) or still keeps for it (``TIOCOUTQ``)."""
        if self._socket is None:
            return 0
        return int.from_bytes(fcntl.ioctl(self._socket, queue, bytes(4)), sys.byteorder)

    def _send(self, popularity: Popularity, content: Content, now: float) -> None:
        """Send the head of ``popularity`` and ``content`` past the transport, as much as the socket takes; the rest
        through it."""
        self._sending(content)
        head = popularity.head
        if self._socket is None or self.transport.get_write_buffer_size():
            # What is sent past the transport would overtake what waits in it.
            self.transport.writelines((head, content))
            return
        file = self._answers.popular.to_send(popularity, content, now) if self._is_near else None
        try:
            sent = self._socket.sendmsg((head, content)) if file is None else file.send(self._socket)
        except BlockingIOError:
            sent = 0
        except OSError:
            if file is None:
                self.transport.close()  # the client is gone
                return
            sent = 0  # or files can't be sent; the transport finds out
        if sent < len(head):
            self.transport.writelines((head[sent:], content))
        elif sent < len(head) + len(content):
            self.transport.write(memoryview(content)[sent - len(head) :])
