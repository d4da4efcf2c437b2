"""The console script: in processes of its own, on a SQLite file and against a server that it started itself.

What needs no process to be seen (a complaint and its exit code) calls what the script calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from tests.support import free_port, wait_until

from lightfast import Lightfast, __version__
from lightfast.cli import run
from lightfast.remote import RemoteImages

LIGHTFAST = str(Path(sys.executable).parent / "lightfast")
TOKEN = "open-sesame"  # noqa: S105  # of a server that this test starts
DEADLINE = 30
MAX_UPLOAD = 6 * 1024 * 1024
LARGE_SIDE = 1300
"""Pixels: uncompressed, such an image is longer than a progress bar needs, and shorter than MAX_UPLOAD."""


def png(seed: int, side: int = 4) -> bytes:
    """A whole PNG of one colour, uncompressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes((seed, 0, 0)) * side) * side
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def environment() -> dict[str, str]:
    """Without settings, and with the buffered output that people have."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LIGHTFAST_") and name != "PYTHONUNBUFFERED"
    }


@dataclass(frozen=True)
class CommandLine:
    """Runs ``lightfast`` in ``directory`` with ``where`` behind the arguments of each command."""

    directory: Path
    where: Sequence[str] = ()

    def __call__(self, *arguments: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
        command = [LIGHTFAST, *arguments, *self.where]
        return subprocess.run(
            command, cwd=self.directory, env=environment() | env, input=stdin, capture_output=True, timeout=DEADLINE
        )

    def text(self, *arguments: str, stdin: bytes = b"") -> str:
        """The standard output of a command that succeeds and has nothing to complain about."""
        done = self(*arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    def on_terminal(self, *arguments: str) -> tuple[int, str]:
        """Exit code and what a terminal of 100 columns shows."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        env = environment() | {"TERM": "xterm"}
        process = subprocess.Popen(
            [LIGHTFAST, *arguments, *self.where],
            cwd=self.directory,
            env=env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        return process.wait(DEADLINE), shown.decode()


class Complaint(Protocol):
    """Runs a command that ends with ``status`` and prints one line, which it gives, on standard error alone."""

    def __call__(self, *arguments: str, status: int) -> str: ...


@pytest.fixture
def complaint(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Complaint:
    monkeypatch.chdir(directory)

    def complain(*arguments: str, status: int) -> str:
        assert run(list(arguments)) == status
        stdout, stderr = capsysbinary.readouterr()
        assert stdout == b""
        return one_complaint(stderr)

    return complain


def one_complaint(stderr: bytes) -> str:
    text = stderr.decode()
    assert text.startswith("lightfast: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return connection.recv(65536).startswith(b"HTTP/1.1 200")
    return False


@contextlib.contextmanager
def serving(directory: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server process and its URL."""
    deadline = time.monotonic() + DEADLINE
    while True:
        # Somebody else may take the port in between: the process ends then, and another port is tried.
        port = free_port()
        command = [LIGHTFAST, "serve", "--port", str(port), *options]
        process = subprocess.Popen(command, cwd=directory, env=environment(), stderr=subprocess.PIPE)
        while process.poll() is None and not answers(port) and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() is None or time.monotonic() > deadline:
            break
        process.communicate()
    try:
        assert answers(port)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = (
        "--store",
        "sqlite:///served.db",
        "--write-token",
        TOKEN,
        "--max-upload",
        str(MAX_UPLOAD),
        "--log",
        "off",
    )
    with serving(tmp_path_factory.mktemp("server"), *options) as (url, _):
        yield url


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With the images a.png, b.png and large.png, and a text file."""
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "b.png").write_bytes(png(2))
    (tmp_path / "large.png").write_bytes(png(3, LARGE_SIDE))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


@pytest.fixture
def on_store(directory: Path) -> CommandLine:
    return CommandLine(directory, ("--store", "sqlite:///images.db"))


@pytest.fixture(params=["store", "server"])
def lightfast(request: pytest.FixtureRequest, directory: Path, server: str) -> CommandLine:
    """On either kind of place, both without an image."""
    if request.param == "store":
        return CommandLine(directory, ("--store", "sqlite:///images.db"))
    with RemoteImages(server, TOKEN) as images:
        for info in images.list(None, 100).images:
            images.delete(info.id)
    return CommandLine(directory, ("--server", server, "--token", TOKEN))


def test_life_of_an_image(lightfast: CommandLine) -> None:
    (lightfast.directory / "hero.v2.png").write_bytes(png(4))
    url = lightfast.text("put", "hero.v2.png", "--ttl", "0").strip()
    described = json.loads(lightfast.text("info", "hero.v2"))
    assert described["url"] == url
    assert url.endswith(f"/images/hero.v2?v={described['etag']}")
    assert (described["media_type"], described["width"], described["expires"]) == ("image/png", 4, None)

    (lightfast.directory / "hero.v2.png").unlink()
    assert lightfast.text("get", "hero.v2") == "hero.v2.png\n"
    assert (lightfast.directory / "hero.v2.png").read_bytes() == png(4)
    assert json.loads(lightfast.text("ls", "--json")) == described | {"preview": None}
    fields = lightfast.text("ls").rstrip("\n").split("\t")
    assert fields[:5] == ["hero.v2", "image/png", str(len(png(4))), "4", "4"]
    assert fields[6:] == ["-", url]


def test_many_files_of_which_some_fail(lightfast: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lightfast.directory)
    (lightfast.directory / "my cat.png").write_bytes(png(5))
    (lightfast.directory / "cut\n.png").write_bytes(png(6)[:-20])
    done = lightfast(
        "put", "a.png", "gone.png", "notes.txt", "my cat.png", "cut\n.png", "b.png", "--ttl", "1h", "--json"
    )
    assert done.returncode == 1
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["a", "b"]
    complaints = done.stderr.decode().splitlines()
    assert complaints[0] == "lightfast: gone.png: No such file or directory"
    assert [line.split(": ")[:2] for line in complaints[1:]] == [
        ["lightfast", name] for name in ("notes.txt", "my cat.png", "cut .png")
    ]
    assert "--id" in complaints[2]

    done = lightfast("rm", "a", "nothing", "b")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "nothing" in one_complaint(done.stderr)
    assert run(["info", "b", *lightfast.where]) == 1  # the one after the failure is gone, too


def test_standard_input_and_output(lightfast: CommandLine) -> None:
    assert "/images/piped?v=" in lightfast.text("put", "-", "--id", "piped", stdin=png(7))
    assert lightfast("get", "piped", "-o", "-").stdout == png(7)
    new = json.loads(lightfast.text("put", "-", "--json", stdin=png(8)))
    assert len(new["id"]) >= 22  # nobody guesses it


def test_large_image_shows_a_bar(directory: Path, server: str) -> None:
    lightfast = CommandLine(directory, ("--server", server, "--token", TOKEN))
    status, shown = lightfast.on_terminal("put", "large.png")
    assert status == 0
    assert "━" in shown
    status, shown = lightfast.on_terminal("get", "large", "-o", "copy.png")
    assert status == 0
    assert "━" in shown
    assert (directory / "copy.png").read_bytes() == png(3, LARGE_SIDE)


def test_missing(lightfast: CommandLine, complaint: Complaint) -> None:
    for command in ("get", "info", "rm"):
        assert "'nothing'" in complaint(command, "nothing", *lightfast.where, status=1)
    assert not (lightfast.directory / "nothing").exists()


def test_on_a_terminal(on_store: CommandLine) -> None:
    lightfast = on_store
    status, shown = lightfast.on_terminal("put", "a.png", "b.png")
    assert status == 0
    assert "━" in shown  # the bar
    assert "/images/a?v=" in shown

    status, shown = lightfast.on_terminal("ls")
    header, *rows = (line.split() for line in shown.splitlines())
    assert status == 0
    assert "ID" in "".join(header)
    assert [row[0] for row in rows] == ["a", "b"]
    assert "4 × 4" in shown

    status, shown = lightfast.on_terminal("info", "a")
    assert status == 0
    assert "image/png" in shown
    assert not shown.startswith("{")

    status, shown = lightfast.on_terminal("get", "a", "-o", "-")
    assert status == 2
    assert "IHDR" not in shown


async def fill(store: str, number: int) -> None:
    async with Lightfast(store) as images:
        for count in range(number):
            await images.put(png(count % 256), id=f"image-{count:03}")


def test_listing_follows_the_cursors_and_survives_a_closed_pipe(on_store: CommandLine) -> None:
    asyncio.run(fill(f"sqlite:///{on_store.directory}/images.db", 450))
    listed = [line.split("\t")[0] for line in on_store.text("ls").splitlines()]
    assert sorted(listed) == [f"image-{number:03}" for number in range(450)]

    script = f"'{LIGHTFAST}' ls {' '.join(on_store.where)} | head -n 1"
    done = subprocess.run(
        ["sh", "-c", script], cwd=on_store.directory, env=environment(), capture_output=True, check=True
    )
    assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")
    full = f"'{LIGHTFAST}' version > /dev/full"  # so short that only the last flush fails
    done = subprocess.run(["sh", "-c", full], cwd=on_store.directory, env=environment(), capture_output=True)
    assert done.returncode == 1
    assert "No space left" in one_complaint(done.stderr)


def test_interruption_is_silent(on_store: CommandLine) -> None:
    process = subprocess.Popen(
        [LIGHTFAST, "put", "-", *on_store.where],
        cwd=on_store.directory,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Where the tests run in the background, interruptions are ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_until((on_store.directory / "images.db").exists)  # it waits for its input next
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert (process.returncode, stdout, stderr) == (130, b"", b"")


def test_exit_code_of_what_can_not_be_used(directory: Path) -> None:
    done = CommandLine(directory)("serve", LIGHTFAST_MEMORY="plenty")
    assert (done.returncode, done.stdout) == (2, b"")
    assert "LIGHTFAST_MEMORY" in one_complaint(done.stderr)


def test_refused_by_the_server(directory: Path, server: str, complaint: Complaint) -> None:
    where = ("--server", server)
    assert "Authorization" in complaint("put", "a.png", *where, status=1)
    assert "Authorization" in complaint("ls", *where, "--token", "wrong", status=1)
    assert CommandLine(directory, where)("put", "a.png", LIGHTFAST_WRITE_TOKEN=TOKEN).returncode == 0
    (directory / "huge.png").write_bytes(png(3, 2 * LARGE_SIDE))
    assert str(MAX_UPLOAD) in complaint("put", "huge.png", *where, "--token", TOKEN, status=1)


def test_store_and_server_that_are_away(complaint: Complaint) -> None:
    nobody = free_port()
    assert "refused" in complaint("ls", "--server", f"http://127.0.0.1:{nobody}", status=1)
    complaint("put", "a.png", "--store", f"redis://127.0.0.1:{nobody}/0", status=1)


def test_server_whose_port_is_taken(on_store: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = on_store("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert b"address already in use" in done.stderr
    assert b"Traceback" not in done.stderr


def test_closed_output(directory: Path) -> None:
    script = f"'{LIGHTFAST}' version >&- 2>&-"
    assert subprocess.run(["sh", "-c", script], cwd=directory, env=environment()).returncode == 0


def test_server_takes_options_before_the_environment_and_stops_on_a_signal(directory: Path) -> None:
    with serving(directory, "--store", "memory://", "--public-url", "https://img.example", "--log", "off") as (
        url,
        process,
    ):
        lightfast = CommandLine(directory, ("--server", url))
        assert lightfast.text("put", "a.png").startswith("https://img.example/images/a?v=")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=DEADLINE)
        assert (process.returncode, stderr) == (0, b"")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Exit codes" in capsys.readouterr().out
    assert run(["serve", "--help"]) == 0
    assert "--no-browser-immutable" in capsys.readouterr().out


def test_version_and_completion(directory: Path) -> None:
    lightfast = CommandLine(directory)
    assert lightfast.text("version") == f"lightfast {__version__}\n"
    completed = lightfast(COMP_WORDS="lightfast ver", COMP_CWORD="1", _LIGHTFAST_COMPLETE="complete_bash")
    assert completed.stdout.split() == [b"version"]
