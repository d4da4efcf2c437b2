"""The command line."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Signature
from pathlib import Path
from typing import Annotated, Protocol, Self
from urllib.parse import urlsplit

import typer

from lightfast import __version__
from lightfast.console import Bar, as_fields, as_json, as_sighting, as_text, one_line, print_table, write
from lightfast.direct import StoreImages
from lightfast.errors import InvalidRequest, LightfastError, SettingsError
from lightfast.files import STANDARD_INPUT, read_bounded, size_of, write_whole
from lightfast.http.disposition import content_disposition
from lightfast.model import Info, Listing, Sighting, is_valid_id
from lightfast.options import default_of, describe, environment, setting_options
from lightfast.remote import RemoteImages, Watcher
from lightfast.server import serve as run_server
from lightfast.settings import load_settings
from lightfast.signing import Scheme, sign
from lightfast.spec import parse_query, parse_wish
from lightfast.units import parse_duration

FAILED, UNUSABLE = 1, 2
EXIT_CODES = (
    "Exit codes: 0 done; 1 it failed (missing, refused, out of reach); 2 an argument or a setting can't be used; "
    "130 interrupted."
)
ID_RULE = "1 to 128 of A-Z a-z 0-9 . _ -, no dot in front"
PAGE = 200

app = typer.Typer(
    name="lightfast",
    help="Store images and serve them fast and coherently.",
    epilog=EXIT_CODES,
    rich_markup_mode=None,  # its panels cut off the names of environment variables at 80 columns
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Images(Protocol):
    """What the commands need of wherever the images are. Methods raise ``LightfastError``."""

    max_bytes: int
    """The longest content that is worth reading."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *failure: object) -> None: ...

    def put(self, data: bytes, *, id: str | None, ttl: str | None, watcher: Watcher) -> Info: ...

    def get(self, id: str, watcher: Watcher) -> tuple[bytes, str]:
        """Content and media type."""

    def info(self, id: str) -> Info: ...

    def delete(self, id: str) -> None: ...

    def list(self, cursor: str | None, limit: int) -> Listing: ...


def connect(store: str | None, server: str | None, token: str | None) -> Images:
    """The images of a server or of a store, by default of the store in the settings. Raises ``SettingsError``."""
    if server is None:
        return StoreImages(store)
    if store is not None:
        raise SettingsError("--store and --server exclude each other")
    return RemoteImages(server, token)


def _check_id(id: str | None) -> str | None:
    if id is not None and not is_valid_id(id):
        raise typer.BadParameter(f"{id!r} can't be the id of an image; one is {ID_RULE}")
    return id


def _check_ids(ids: list[str]) -> list[str]:
    for id in ids:
        _check_id(id)
    return ids


def _check_ttl(ttl: str | None) -> str | None:
    if ttl is not None:
        try:
            parse_duration(ttl)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return ttl


Store = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help=f"{describe('store')} Without it, {environment('store')} counts.",
        show_default=default_of("store"),
    ),
]
Server = Annotated[str | None, typer.Option(metavar="URL", help="A running Lightfast server, instead of a store.")]
Token = Annotated[
    str | None,
    typer.Option(metavar="TEXT", envvar=environment("write_token"), help="Write token of the server, if it has one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one line for each image.")]
Id = Annotated[str, typer.Argument(metavar="ID", callback=_check_id)]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to store and the id that it gets; ``None``: one that nobody can guess."""

    name: str
    id: str | None


def plan_uploads(files: list[str], id: str | None) -> list[Upload]:
    """Give every file its id: ``id``, or else the file's name without its extension.

    Raises ``typer.BadParameter`` where one id would be given twice.
    """
    if id is not None:
        if len(files) > 1:
            raise typer.BadParameter("--id names one image, so it needs exactly one FILE")
        return [Upload(files[0], id)]
    uploads = [Upload(name, None if name == STANDARD_INPUT else Path(name).stem) for name in files]
    if len({upload.id for upload in uploads}) < len(uploads):
        raise typer.BadParameter("several of these files would get the same id; store them one by one with --id")
    return uploads


def _serve(**settings: object) -> None:
    """Serve images over HTTP until SIGINT or SIGTERM.

    Every option is a setting, too, that can be given in the environment; the option wins. Durations read like 2h or
    90 (seconds), sizes like 50MiB.
    """
    try:
        run_server(load_settings(**settings))
    except SystemExit as end:
        # uvicorn has codes of its own for a server that could not start, and has said why.
        raise typer.Exit(FAILED if end.code else 0) from end


# typer makes one option of each parameter, and asks inspect for them.
_serve.__signature__ = Signature(setting_options())  # type: ignore[attr-defined]  # mypy knows no function attributes
app.command(name="serve")(_serve)


@app.command()
def put(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Image files; - is standard input.")],
    id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            callback=_check_id,
            help=f"Id of the image: {ID_RULE}. By default the file's name without extension.",
        ),
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(metavar="DURATION", callback=_check_ttl, help="Time to live, such as 2h, 7d or 90; 0 = for ever."),
    ] = None,
    json: Json = False,
    store: Store = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Store images and print their URLs."""
    uploads = plan_uploads(files, id)
    failed = False
    with connect(store, server, token) as images, Bar(len(files)) as bar:
        bar.expect(sum(map(size_of, files)))
        for upload in uploads:
            bar.name(upload.name)
            try:
                info = _put(images, upload, ttl, bar)
            except (LightfastError, OSError) as error:
                failed = True
                reason = error.strerror if isinstance(error, OSError) else error
                bar.report(_failure(f"{upload.name}: {reason}"))
            else:
                bar.write(as_json(info) if json else one_line(info.url))
    if failed:
        raise typer.Exit(FAILED)


def _put(images: Images, upload: Upload, ttl: str | None, bar: Bar) -> Info:
    data = read_bounded(upload.name, images.max_bytes)
    if upload.id is not None and not is_valid_id(upload.id):
        raise InvalidRequest(f"{upload.id!r} can't be the id of an image ({ID_RULE}); give one with --id")
    return images.put(data, id=upload.id, ttl=ttl, watcher=bar)


@app.command()
def get(
    id: Id,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to; - is standard output. Without it, the id with the right extension.",
        ),
    ] = None,
    store: Store = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Save an image to a file."""
    if output == "-" and sys.stdout.isatty():
        raise typer.BadParameter("an image is nothing for a terminal; name a file with -o FILE")
    with connect(store, server, token) as images, Bar() as bar:
        content, media_type = images.get(id, bar)
    if output == "-":
        sys.stdout.buffer.write(content)
    elif output is not None:
        write_whole(Path(output), content)
    else:
        # The name that browsers save it under. A valid id needs no quoting, so nothing else is between the quotes.
        _, name, _ = content_disposition(id, media_type, download=True).split('"')
        write_whole(Path(name), content)
        write(name)


@app.command()
def ls(json: Json = False, store: Store = None, server: Server = None, token: Token = None) -> None:
    """List all images.

    A table on a terminal. Elsewhere lines with tabs: id, media type, bytes, width, height, stored, expires, URL.
    """
    cursor, header = None, True
    with connect(store, server, token) as images:
        while header or cursor is not None:
            page = images.list(cursor, PAGE)
            _print_page(page, header, json)
            sys.stdout.flush()
            cursor, header = page.cursor, False


def _print_page(page: Listing, header: bool, json: bool) -> None:
    if sys.stdout.isatty() and not json:
        print_table(page.images, header=header)
    else:
        for info in page.images:
            write(as_json(info) if json else as_fields(info))


@app.command()
def rm(
    ids: Annotated[list[str], typer.Argument(metavar="ID", callback=_check_ids)],
    store: Store = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Remove images."""
    failed = False
    with connect(store, server, token) as images:
        for id in ids:
            try:
                images.delete(id)
            except LightfastError as error:
                failed = True
                sys.stderr.write(_failure(_reason(error)) + "\n")
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def info(id: Id, json: Json = False, store: Store = None, server: Server = None, token: Token = None) -> None:
    """Describe an image."""
    with connect(store, server, token) as images:
        found = images.info(id)
    write(as_text(found) if sys.stdout.isatty() and not json else as_json(found))


@app.command(name="sign")
def sign_url(
    url: Annotated[str, typer.Argument(metavar="URL", help="A whole URL, or path and query, of a variant.")],
    expires: Annotated[
        str | None,
        typer.Option(metavar="DURATION", callback=_check_ttl, help="How long it is good for, such as 2h; else always."),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="TEXT", envvar=environment("signing_keys"), help="The key; the first of several."
        ),
    ] = None,
    scheme: Annotated[Scheme | None, typer.Option(envvar=environment("signature"), help=describe("signature"))] = None,
) -> None:
    """Print the URL of a variant with a signature, as the server with the same key takes it."""
    settings = load_settings(signing_keys=keys, signature=scheme)
    if not settings.signing_keys:
        raise SettingsError(f"there is no signing key; give one with --key or {environment('signing_keys')}")
    parse_wish(parse_query(urlsplit(url).query), settings.rules())
    seconds = parse_duration(expires or "0")
    until = int(time.time() + seconds) if seconds else None
    write(sign(url, settings.signing_keys[0], until, settings.signature))


@app.command()
def watch(json: Json = False, store: Store = None) -> None:
    """Print the store's changes as they arrive: when, id, what happened, ETag, lag in milliseconds."""

    def show(sighting: Sighting) -> None:
        write(as_json(sighting) if json else as_sighting(sighting))
        sys.stdout.flush()

    with StoreImages(store) as images:
        images.watch(show)


@app.command()
def version() -> None:
    """Print the version."""
    write(f"lightfast {__version__}")


def main() -> None:
    """The console script."""
    # Closed by whoever started us, they are None: what would be written goes nowhere then.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  # open until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115  # open until the end
    # A command says itself what went wrong, in one line; what the rooms below log is for servers.
    logging.getLogger("lightfast").addHandler(logging.NullHandler())
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        # What could not be written is still in the buffer; the interpreter would try again, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Carry out one command; its exit code. What goes wrong is one line on standard error."""
    command: Callable[..., int | None] = typer.main.get_command(app).main
    try:
        # typer itself turns an interruption into 130 and a closed pipe into a silent 1.
        status = command(arguments or ["--help"], prog_name="lightfast", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f" Try '{context.command_path} --help'." if context is not None else ""
        return _fail(f"{error.format_message().rstrip('.')}.{hint}", UNUSABLE)
    except SettingsError as error:
        return _fail(str(error), UNUSABLE)
    except BrokenPipeError:
        return FAILED
    except (LightfastError, OSError) as error:
        return _fail(_reason(error), FAILED)
    return status or 0


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _failure(text: str) -> str:
    return f"lightfast: {one_line(text)}"


def _fail(text: str, status: int) -> int:
    sys.stderr.write(_failure(text) + "\n")
    return status
