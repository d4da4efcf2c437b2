"""Who makes thumbnails: servers that read sources by id, started as they come. None keeps a result."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyvips

from benchmarks import contestants, processes
from benchmarks.contestants import Pictures
from benchmarks.processes import ALL_CORES, CORES, Process
from benchmarks.sources import WIDTH

PEERS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightfast-bench"
"""Where ``scripts/peers`` installs what is no package of Debian's."""
IPX = PEERS / "ipx" / "node_modules" / ".bin" / "ipx"
THUMBOR = PEERS / "thumbor" / "bin" / "thumbor"


@dataclass(frozen=True, slots=True)
class Resizer:
    name: str
    start: Callable[[Path], AbstractContextManager[Process]]
    """Serves what is in a directory."""
    publish: Callable[[Process, Path, Pictures], None]
    """Gives it more, or others under the same ids."""
    target: str
    """What a WebP of ``WIDTH`` pixels is asked for by: a template of ``id`` and ``q``."""
    programs: tuple[str, ...] = ()
    """What must be installed of Debian's packages."""
    installed: Path | None = None
    """What ``scripts/peers`` installs."""

    @property
    def missing(self) -> str | None:
        """The line that installs what is missing; ``None`` if nothing is."""
        lines = [contestants.missing(self.programs)]
        if self.installed is not None and not self.installed.exists():
            lines.append("scripts/peers")
        return " && ".join(line for line in lines if line) or None

    def request(self, id: str, quality: int) -> bytes:
        """On a connection of its own, so that the one of several processes that is free takes it."""
        target = self.target.format(id=id, q=quality)
        lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1:8000", "Accept: image/webp,*/*", "Connection: close"]
        return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def lightfast(directory: Path) -> Iterator[Process]:
    with open_to_all(f"sqlite:///{directory}/images.db", ALL_CORES) as process:
        yield process


def open_to_all(store: str, core: int | str) -> AbstractContextManager[Process]:
    """``lightfast serve`` that makes whatever variant it is asked for."""
    return processes.serve(store, core=core, environment={"LIGHTFAST_VARIANTS": "open"})


@contextmanager
def ipx(directory: Path) -> Iterator[Process]:
    """sharp as it comes: four pictures at once, in threads."""
    port = processes.free_port()
    command = [str(contestants.find("node")), str(IPX), "serve", "--dir", str(directory)]
    options = ["--port", str(port), "--host", "127.0.0.1"]
    environment = {"NODE_ENV": "production"}
    with processes.running([*command, *options], port, core=ALL_CORES, environment=environment) as process:
        yield process


@contextmanager
def thumbor(directory: Path, number: int = 1) -> Iterator[Process]:
    """``number`` processes; each makes one picture at a time."""
    port = processes.free_port()
    configuration = directory.with_suffix(".conf")
    configuration.write_text(f"""
LOADER = "thumbor.loaders.file_loader"
FILE_LOADER_ROOT_PATH = {str(directory)!r}
STORAGE = "thumbor.storages.no_storage"
RESULT_STORAGE = None
ALLOW_UNSAFE_URL = True
""")
    command = [str(THUMBOR), "--conf", str(configuration), "--ip", "127.0.0.1", "--port", str(port)]
    options = ["--processes", str(number), "--log-level", "error"]
    with processes.running([*command, *options], port, core=ALL_CORES) as process:
        yield process


def _upload(process: Process, _directory: Path, pictures: Pictures) -> None:
    contestants.upload(process.port, pictures)


def _write(_process: Process, directory: Path, pictures: Pictures) -> None:
    for id, content in pictures.items():
        (directory / id).write_bytes(content)


def versions(resizer: Resizer) -> str:
    """What it is made of, for people."""
    if resizer.name == "ipx":
        packages = IPX.parents[1]
        libvips = next(packages.glob("@img/sharp-libvips-linux*/versions.json"), None)
        below = f" (libvips {json.loads(libvips.read_text())['vips']})" if libvips else ""
        return f"IPX {_npm(packages / 'ipx')}, sharp {_npm(packages / 'sharp')}{below}"
    if resizer.installed == THUMBOR:
        asked = "from importlib.metadata import version as v; print('Thumbor', v('thumbor') + ', Pillow', v('Pillow'))"
        command = [str(THUMBOR.with_name("python")), "-c", asked]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return f"Lightfast, libvips {'.'.join(str(pyvips.version(part)) for part in range(3))}"


def _npm(package: Path) -> str:
    return str(json.loads((package / "package.json").read_text())["version"])


THUMBOR_TARGET = f"/unsafe/{WIDTH}x0/filters:format(webp):quality({{q}})/{{id}}"

ALL = (
    Resizer("lightfast", lightfast, _upload, f"/images/{{id}}?w={WIDTH}&fm=webp&q={{q}}"),
    Resizer("ipx", ipx, _write, f"/w_{WIDTH},f_webp,q_{{q}}/{{id}}", ("node",), IPX),
    Resizer("thumbor", thumbor, _write, THUMBOR_TARGET, (), THUMBOR),
    Resizer("thumbor-processes", partial(thumbor, number=len(CORES)), _write, THUMBOR_TARGET, (), THUMBOR),
)
"""The first is ours."""
