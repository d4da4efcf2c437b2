"""Settings: ``LIGHTFAST_*`` in the environment → one frozen, validated value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lightfast.errors import LightfastError, SettingsError
from lightfast.signing import Scheme, parse_keys
from lightfast.spec import LISTED, MAX_SIDE, Rules, Wish, negotiating, parse_query, parse_wish
from lightfast.units import parse_duration, parse_size


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _bytes(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _words(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _numbers(value: object) -> object:
    return tuple(int(word) for word in value.replace(",", " ").split()) if isinstance(value, str) else value


def _keys(value: object) -> object:
    return parse_keys(value) if isinstance(value, str) else value


def _presets(value: object) -> object:
    if not isinstance(value, str):
        return value
    presets = {}
    for word in value.split():
        name, mark, query = word.partition("?")
        if not (name and mark and query):
            raise ValueError(f"{word!r} is no preset; one is a name and a query, such as thumb?w=200&h=200&fit=crop")
        presets[name] = query
    return presets


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Numbers = Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_SIDE)], ...], NoDecode, BeforeValidator(_numbers)]
Keys = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_keys)]
Presets = Annotated[dict[str, str], NoDecode, BeforeValidator(_presets)]


class Settings(BaseSettings):
    """Everything that can be set. Durations read like ``2h`` or ``90`` (seconds), sizes like ``50MiB``."""

    model_config = SettingsConfigDict(env_prefix="LIGHTFAST_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on; any other than loopback needs a write token.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes; each has a memory cache of its own.")
    store: str = Field(
        "sqlite:///lightfast.db", description="Where images are kept: the URL of a sqlite, redis or memory store."
    )
    memory: Bytes = Field(50 * 1024 * 1024, description="Bound of the memory cache in bytes, per worker.")
    memory_entries: int | None = Field(None, ge=1, description="Bound of the memory cache in images.")
    ttl: Seconds = Field(7200.0, description="Time to live of an image that is stored without one; 0 = for ever.")
    missing_ttl: Seconds = Field(1.0, description="How long a missing id is remembered, here and by other caches.")
    warm: bool = Field(
        True,
        description="Whether to load before it is asked for what others store, and what is slow to read at the start.",
    )
    stale_if_error: Seconds = Field(300.0, description="How long a copy is served while the store does not answer.")
    sqlite_poll: Seconds = Field(0.02, gt=0, description="Time between two looks for other processes' changes.")
    browser_ttl: Seconds = Field(3600.0, description="How long browsers keep an image under its bare URL.")
    browser_immutable: bool = Field(True, description="Whether browsers skip revalidation on reload meanwhile.")
    max_upload: Bytes = Field(25 * 1024 * 1024, description="Largest image accepted, in bytes.")
    max_pixels: int = Field(50_000_000, gt=0, description="Largest image accepted, in pixels.")
    variants: Literal["listed", "open"] = Field(
        "listed", description="open: every variant for everyone. listed: unsigned, only listed sizes and presets."
    )
    sizes: Numbers = Field(LISTED, min_length=1, description="Widths and heights that need no signature, in pixels.")
    presets: Presets = Field(
        {}, description="Variants by name for ?preset=, such as 'thumb?w=200&h=200&fit=crop card?w=400'."
    )
    signing_keys: Keys = Field((), description="Keys for signed URLs: the first one signs, all are accepted.")
    signature: Scheme = Field(Scheme.HMAC, description="hmac: HMAC-SHA256; imgix: the MD5 that its clients make.")
    auto_format: bool = Field(False, description="Whether Accept chooses the format wherever a URL names none.")
    client_hints: bool = Field(False, description="Whether Sec-CH-DPR, Sec-CH-Width and Save-Data change variants.")
    keep_metadata: bool = Field(False, description="Whether variants keep EXIF and XMP, prompts and GPS among them.")
    previews: bool = Field(True, description="Whether each image gets a preview when it is stored.")
    prewarm: Words = Field((), description="Variants made when an image is stored: presets, w512, h300 or queries.")
    render_threads: int | None = Field(None, ge=1, le=64, description="Pictures made at once; by default cores + 1.")
    render_queue: int = Field(64, ge=0, description="Pictures that may wait to be made; one more is refused.")
    render_timeout: Seconds = Field(10.0, gt=0, description="How long making a picture may take, waiting included.")
    max_pixels_out: int = Field(32_000_000, gt=0, description="Largest variant, in pixels; of animations, all frames.")
    write_token: str | None = Field(None, min_length=1, description="Bearer token for writing and listing.")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$",
        description="Origin and path put before /images/… in URLs, such as https://img.example.com.",
    )
    cors_origins: Words = Field(("*",), description="Origins whose scripts may read images; * = all, empty = none.")
    redis_format: Literal["hash", "json"] = Field("hash", description="json: write the records existing apps read.")
    redis_prefix: str = Field("image:", min_length=1, description="What stands before the id in a Redis key.")
    log: Literal["off", "console", "json"] = Field("console", description="Access log on standard error.")
    log_hits: float = Field(1.0, ge=0, le=1, description="Share of the answers from memory that the log has lines for.")
    keep_alive: Seconds = Field(75.0, description="How long an idle connection is kept.")
    head_timeout: Seconds = Field(10.0, description="How long a client may take to send the head of a request.")
    send_timeout: Seconds = Field(60.0, description="How long a client may take to accept the next byte.")
    max_undelivered: Bytes = Field(
        256 * 1024 * 1024, description="How much may wait for slow clients, per worker; the slowest are cut off then."
    )
    max_requests: int = Field(1000, ge=1, description="Requests under way at the same time, per worker.")
    shutdown_grace: Seconds = Field(30.0, description="How long requests under way may take after SIGTERM.")

    @model_validator(mode="after")
    def _one_memory_store_per_process(self) -> Settings:
        if self.workers > 1 and self.store.startswith("memory:"):
            raise ValueError("memory:// can't be shared by several workers; use sqlite:// or redis://, or one worker")
        return self

    @model_validator(mode="after")
    def _variants_fit_together(self) -> Settings:
        try:
            self.prewarmed()
        except LightfastError as error:
            raise ValueError(str(error)) from error
        return self

    def rules(self) -> Rules:
        """Who may have which variants. Raises ``SettingsError``."""
        return Rules(self.presets, self.sizes)

    def prewarmed(self) -> tuple[Wish, ...]:
        """What ``prewarm`` names, in the formats that a request for it gets. Raises ``InvalidRequest`` and
        ``SettingsError``."""
        rules = self.rules()
        queries = [parse_query(_query(word, self.presets)) for word in self.prewarm]
        return tuple(parse_wish(negotiating(it, rules) if self.auto_format else it, rules) for it in queries)


def _query(word: str, presets: Mapping[str, str]) -> str:
    """``thumb`` → ``preset=thumb``, ``w512`` → ``w=512``; a query is one already."""
    if word in presets:
        return f"preset={word}"
    side = re.fullmatch(r"([wh])([0-9]+)", word)
    if side is not None:
        return f"{side[1]}={side[2]}"
    if "=" not in word:
        raise SettingsError(
            f"{word!r} is no variant; write the name of a preset, w512, h300 or a query like w=512&fm=webp"
        )
    return word


def load_settings(**overrides: object) -> Settings:
    """The environment's settings with ``overrides`` on top; ``None`` means not given.

    Raises ``SettingsError`` with one line for each setting that can't be used.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # validated by pydantic, whatever their type
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(item) for item in error.errors())) from None


def _explain(item: object) -> str:
    assert isinstance(item, dict)  # noqa: S101  # pydantic's ErrorDetails
    name = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"LIGHTFAST_{name.upper()}: {message}" if name else message
