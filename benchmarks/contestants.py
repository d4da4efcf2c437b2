"""Who is measured: each a server that has the same pictures at ``/images/{id}``."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import redis

from benchmarks import processes
from benchmarks.client import Client
from benchmarks.pictures import media_type
from benchmarks.processes import BASELINES, Process
from lightfast.web.cors import EXPOSED_HEADERS

CACHE_CONTROL = "public, max-age=3600, immutable"
FLOOR = Path(__file__).with_name("floor.c")
HOT = "lightfast.web.hot:HotProtocol"

Pictures = Mapping[str, bytes]
"""Contents by id."""

OUR_FIELDS = {
    "vary": "Accept-Encoding",
    "content-disposition": 'inline; filename="picture_46k.webp"',
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
    "cache-status": "lightfast; hit",
    "server-timing": "hot",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": EXPOSED_HEADERS,
    "timing-allow-origin": "*",
}
"""What Lightfast's answers say and those of a file server don't. The load generator reads it byte by byte."""


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    start: Callable[[Pictures, Path], AbstractContextManager[Mapping[str, Process]]]
    """Serves pictures; may use a directory. Gives the process that answers for each id."""
    programs: tuple[str, ...] = ()
    """What must be installed besides Python packages."""
    validates: bool = True
    """Whether it answers a revalidation with a 304 that can be compared."""


PACKAGES = {
    "nginx": "nginx",
    "varnishd": "varnish",
    "cc": "gcc libc6-dev",
    "wrk": "wrk",
    "chromium": "chromium",
    "node": "nodejs npm",
}


def find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def missing(programs: tuple[str, ...]) -> str | None:
    """The line that installs what is missing of ``programs``; ``None`` if nothing is."""
    packages = [PACKAGES[program] for program in programs if find(program) is None]
    return f"apt-get install {' '.join(packages)}" if packages else None


@contextmanager
def lightfast(pictures: Pictures, directory: Path) -> Iterator[Mapping[str, Process]]:
    with processes.serve(f"sqlite:///{directory}/images.db") as process:
        upload(process.port, pictures)
        yield dict.fromkeys(pictures, process)


def in_app(http: str) -> Callable[[Pictures, Path], AbstractContextManager[Mapping[str, Process]]]:
    @contextmanager
    def start(pictures: Pictures, directory: Path) -> Iterator[Mapping[str, Process]]:
        store = f"sqlite:///{directory}/images.db"
        with processes.uvicorn("user_app:app", BASELINES, http=http, LIGHTFAST_STORE=store) as process:
            upload(process.port, pictures)
            yield dict.fromkeys(pictures, process)

    return start


def handler(module: str) -> Callable[[Pictures, Path], AbstractContextManager[Mapping[str, Process]]]:
    """A handler of ``baselines/`` that reads JSON records from a Valkey of its own."""

    @contextmanager
    def start(pictures: Pictures, directory: Path) -> Iterator[Mapping[str, Process]]:
        with processes.valkey() as store:
            url = f"redis://127.0.0.1:{store}/0"
            with redis.Redis.from_url(url) as client:
                for id, content in pictures.items():
                    client.set(f"image:{id}", legacy_record(content))
            with processes.uvicorn(f"{module}:app", BASELINES, REDIS_URL=url) as process:
                yield dict.fromkeys(pictures, process)

    return start


@contextmanager
def static_files(pictures: Pictures, directory: Path) -> Iterator[Mapping[str, Process]]:
    files = write(pictures, directory)
    with processes.uvicorn("static_files:app", BASELINES, IMAGE_DIRECTORY=str(files)) as process:
        yield dict.fromkeys(pictures, process)


@contextmanager
def nginx(
    pictures: Pictures, directory: Path, fields: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Mapping[str, Process]]:
    """Answers with ``fields`` besides its own."""
    added = " ".join(f"add_header {name} '{value}';" for name, value in fields.items())
    write(pictures, directory)
    port = processes.free_port()
    configuration = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(f"""
{user} worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; etag on; server_tokens off;
    keepalive_timeout 600; keepalive_requests 1000000000;
    open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s; open_file_cache_min_uses 1;
    types {{ image/png png; image/webp webp; }}
    client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{
        listen 127.0.0.1:{port} backlog=1024; root {directory};
        location /images/ {{ add_header Cache-Control "{CACHE_CONTROL}"; {added} }}
    }}
}}
""")
    command = [str(find("nginx")), "-p", str(directory), "-c", str(configuration), "-e", "stderr"]
    with processes.running(command, port) as process:
        yield dict.fromkeys(pictures, process)


@contextmanager
def varnish(pictures: Pictures, directory: Path) -> Iterator[Mapping[str, Process]]:
    """In front of an nginx that it asks once for each picture."""
    directory.chmod(0o755)
    port = processes.free_port()
    (origin := directory / "origin").mkdir()
    with nginx(pictures, origin) as behind:
        source = next(iter(behind.values())).port
        vcl = directory / "default.vcl"
        vcl.write_text(f"""
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{source}"; }}
sub vcl_recv {{ unset req.http.Cookie; return (hash); }}
sub vcl_backend_response {{ set beresp.ttl = 1d; }}
""")
        vcl.chmod(0o644)
        pools = [
            word for one in ("thread_pools=1", "thread_pool_min=64", "thread_pool_max=256") for word in ("-p", one)
        ]
        command = [str(find("varnishd")), "-F", "-n", str(directory / "work"), "-a", f"127.0.0.1:{port}"]
        with processes.running([*command, "-f", str(vcl), "-s", "malloc,256m", *pools], port) as process:
            yield dict.fromkeys(pictures, process)


@contextmanager
def floor(pictures: Pictures, directory: Path) -> Iterator[Mapping[str, Process]]:
    """A port for each picture, since it parses nothing. Its head is as long as Lightfast's."""
    program = directory / "floor"
    subprocess.run(["cc", "-O2", "-Wall", "-o", str(program), str(FLOOR)], check=True)
    files = write(pictures, directory)
    ports: dict[str, int] = {}
    arguments: list[str] = []
    for id, content in pictures.items():
        head = directory / f"{id}.head"
        head.write_bytes(_floor_head(content))
        ports[id] = processes.free_port()
        arguments += [str(ports[id]), str(head), str(files / id)]
    with processes.running([str(program), *arguments], ports[next(iter(ports))]) as process:
        yield {id: Process(process.pid, port) for id, port in ports.items()}


def _floor_head(content: bytes) -> bytes:
    lines = [
        "HTTP/1.1 200 OK",
        "date: Sun, 22 Nov 2026 12:00:00 GMT",
        f"content-type: {media_type(content)}",
        f"content-length: {len(content)}",
        'etag: "0123456789abcdef0123456789abcdef"',
        "last-modified: Sun, 22 Nov 2026 12:00:00 GMT",
        f"cache-control: {CACHE_CONTROL}",
        "accept-ranges: bytes",
        *(f"{name}: {value}" for name, value in OUR_FIELDS.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def legacy_record(content: bytes) -> bytes:
    """The JSON that existing apps keep."""
    record = {"base64_data": base64.b64encode(content).decode(), "mime_type": media_type(content)}
    return json.dumps(record).encode()


def write(pictures: Pictures, directory: Path) -> Path:
    """Publish ``pictures`` as files below ``images/``; that directory."""
    files = directory / "images"
    files.mkdir()
    for id, content in pictures.items():
        (files / id).write_bytes(content)
    return files


def upload(port: int, pictures: Pictures) -> None:
    for id, content in pictures.items():
        with Client(port) as client:
            head = f"PUT /images/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
            answer = client.ask(head.encode() + content)
        if answer.status not in (200, 201):
            raise RuntimeError(f"the picture was refused: {bytes(answer.body).decode()}")


ALL = (
    Contestant("lightfast", lightfast),
    Contestant("lightfast-in-app", in_app(HOT)),
    Contestant("app-without-hot-path", in_app("httptools")),
    Contestant("cached-handler", handler("cached_handler"), validates=False),
    Contestant("naive-handler", handler("naive_handler"), validates=False),
    Contestant("static-files", static_files),
    Contestant("nginx", nginx, ("nginx",)),
    Contestant("nginx-same-head", partial(nginx, fields=OUR_FIELDS), ("nginx",), validates=False),
    Contestant("varnish", varnish, ("varnishd", "nginx")),
    Contestant("floor", floor, ("cc",), validates=False),
)
