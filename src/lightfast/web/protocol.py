"""Uvicorn's HTTP protocol with bounds on what it keeps for a client, and with answers like our own."""

from __future__ import annotations

import time
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lightfast.http.dates import format_http_date
from lightfast.web.errors import Problem

MAX_UNDELIVERED = 64 * 1024
"""Bytes of a request's head, or of its trailers, that may come in after the first read. The parser keeps them all."""

SLICE = 4096
"""Bytes that are parsed at a time. A parsed request takes a hundred times the room of its bytes."""


UPGRADE_FIELDS = frozenset({b"connection", b"upgrade", b"http2-settings"})
"""Connection names the others; but for them it only says whether to close."""

HALF_CLOSED = 5.0
"""Seconds that an answer may take to come after the client has ended its side."""


class Protocol(HttpToolsProtocol):
    """Answers 431 to a head without end (RFC 6585 §5), and problem bodies where uvicorn answers by itself.

    Requests that come while another is under way wait as bytes, but for a slice of them. What is under way is answered
    also where the client has ended its side (RFC 9293 §3.6.1), or sends what is no HTTP next.
    """

    _undelivered = 0
    """Bytes received since the parser last began a message or handed over a head, a piece of a body or an end."""
    _unread = b""
    """Bytes that wait for a request in front of them."""
    _head_is_over = False
    _again: bytes | None = None
    """The head of a request with a body, without the Upgrade that it asked for in vain."""
    _is_last = False
    """Whether the connection ends with the answers under way."""

    def data_received(self, data: bytes) -> None:
        if self._is_last:
            return
        if self._unread:
            self._unread += data
            self.flow.pause_reading()  # an application that looks for a disconnect resumes it
            return
        for start in range(0, len(data), SLICE):
            if self.pipeline:
                self._unread = data[start:]
                self.flow.pause_reading()
                return
            self._parse(data[start : start + SLICE])
            if self._is_last or self.transport.is_closing():
                return

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Whether to keep the connection for the answers under way. TLS can't be ended on one side."""
        keeps = self.scheme == "http" and self._end_after_answers()
        if keeps:
            self.loop.call_later(HALF_CLOSED, self._end_if_nothing_comes)
        return keeps

    def _end_if_nothing_comes(self) -> None:
        """A client that is gone for good looks like one that has only ended its side, and the application, which may be
        waiting for nothing but that, has to hear of it."""
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self.loop.call_later(HALF_CLOSED, self._end_if_nothing_comes)
        else:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._undelivered = 0
        self._head_is_over = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # RFC 9110 §6.5.1: a trailer must not be taken for a header, wherever the reads happen to end.
        if not self._head_is_over:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._undelivered = 0
        self._head_is_over = True
        if self.parser.should_upgrade() and not self._should_upgrade() and self._announces_body():
            self._again = self._head_without_upgrade()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._undelivered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._undelivered = 0
        if self._again is None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self.pipeline:
            self.flow.pause_reading()  # uvicorn reads on after each answer, however many requests wait
        elif self._unread:
            unread, self._unread = self._unread, b""
            self.data_received(unread)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is no valid HTTP request.")

    def _parse(self, data: bytes) -> None:
        self._undelivered += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")
        except HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._is_last = True  # what comes now is for the protocol that took over
                self.handle_websocket_upgrade()
                return
            # RFC 9110 §7.8: an Upgrade may be ignored. What stands behind the head is the body, which the parser has
            # passed over, or the next request.
            again, self._again = self._again or b"", None
            if again:
                self.parser = HttpRequestParser(self)  # this one may have heard "close"
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            if rest := again + data[upgrade.args[0] :]:
                self._parse(rest)
        if self._undelivered > MAX_UNDELIVERED and not self.transport.is_closing():
            self._refuse(431, f"The head of a request is at most {MAX_UNDELIVERED} bytes long.")

    def _should_upgrade(self) -> bool:
        # RFC 9110 §7.8: an Upgrade may be ignored. While an answer is under way it must be: that would come after the
        # other protocol's first words, in the middle of them.
        return super()._should_upgrade() and (self.cycle is None or self.cycle.response_complete)

    def _announces_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        )

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % field for field in self.headers if field[0] not in UPGRADE_FIELDS]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            lines.append(b"connection: close")
        return b"\r\n".join([*lines, b"", b""])

    def _refuse(self, status: int, detail: str) -> None:
        """Answer what can't be read, unless an answer is under way: there is no place in the middle of that."""
        if self._end_after_answers():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._send_problem(status, detail)
        self.transport.close()

    def _end_after_answers(self) -> bool:
        """Make the answers under way the last ones; ``False`` if there are none, or one needs more of its request."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self._is_last = True
        self.cycle.keep_alive = False
        return True

    def _send_problem(self, status: int, detail: str) -> None:
        problem = Problem(status, detail, [("date", format_http_date(time.time())), ("connection", "close")])
        lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
        lines += [b"%b: %b" % header for header in problem.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", b""]) + bytes(problem.body))
