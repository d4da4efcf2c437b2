"""How the server runs: in this process, or in workers under a supervisor. SIGHUP reloads either without a gap."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from lightfast.web.near import begin_unpaced

log = logging.getLogger("uvicorn.error")

START_TIMEOUT = 60.0
"""Seconds that a worker may take to start."""


def run(make_config: Callable[[], Config], *, announcement: str, can_reload: bool) -> None:
    """Serve until a signal ends it. ``make_config`` gives a configuration that can be handed to another process.

    Without ``can_reload`` what the process holds would be lost with it, so SIGHUP changes nothing.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until somebody listens to it
    config = make_config()
    log.info(announcement)
    if config.workers > 1:
        _supervise(config, [config.bind_socket()])
        return
    server = _Lone(config, make_config, can_reload)
    with suppress(KeyboardInterrupt):  # SIGINT is raised again once everything has ended
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
    if server.successor is not None:
        _supervise(make_config(), server.handed_over, [server.successor], server.missed)


def _supervise(
    config: Config, sockets: list[socket.socket], workers: Sequence[Process] = (), signals: Sequence[int] = ()
) -> None:
    for one in sockets:
        begin_unpaced(one)
    supervisor = _Supervisor(config, sockets, workers)
    supervisor.signal_queue += signals
    supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)


class _Supervisor(Multiprocess):
    """Uvicorn's, which restarts workers that died and replaces them one by one on SIGHUP; begins with ``workers``."""

    def __init__(self, config: Config, sockets: list[socket.socket], workers: Sequence[Process]) -> None:
        super().__init__(config, sockets)
        self.processes = [*workers]

    def init_processes(self) -> None:
        if not self.processes:
            super().init_processes()


class _Lone(Server):
    """The server in this process. On SIGHUP it starts a worker on the same sockets, and ends when that serves."""

    def __init__(self, config: Config, make_config: Callable[[], Config], can_reload: bool) -> None:
        super().__init__(config)
        self._make_config = make_config
        self._can_reload = can_reload
        self._reload: asyncio.Task[None] | None = None
        self.successor: Process | None = None
        self.handed_over: list[socket.socket] = []
        self.missed: list[int] = []
        """Signals for the one that supervises the successor."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in self._listening():
            begin_unpaced(one)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin_reload)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._reload is not None:
            await self._reload  # it ends at once, now that the server does
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, lambda number, _: self.missed.append(number))
        await super().shutdown(sockets)

    def _begin_reload(self) -> None:
        if not self._can_reload:
            log.warning("Received SIGHUP, but a new process would not have this one's images; nothing is done.")
        elif self._reload is None or self._reload.done():
            log.info("Received SIGHUP, starting a new process.")
            self._reload = asyncio.create_task(self._hand_over())
        else:
            self.missed.append(signal.SIGHUP)  # what it is for may have come after the new process began

    async def _hand_over(self) -> None:
        sockets = [socket.socket(fileno=socket.dup(one.fileno())) for one in self._listening()]
        worker = Process(self._make_config(), sockets)
        worker.start()
        deadline = self._now() + START_TIMEOUT
        while not self.should_exit and worker.process.is_alive() and self._now() < deadline:
            if await asyncio.to_thread(worker.is_ready, 1.0):
                self.successor, self.handed_over, self.should_exit = worker, sockets, True
                return
            await asyncio.sleep(0.05)
        worker.kill()
        await asyncio.to_thread(worker.join)
        log.error("The new process was not ready in time; this one serves on.")

    def _listening(self) -> list[socket.socket]:
        return [one for server in self.servers for one in server.sockets]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
