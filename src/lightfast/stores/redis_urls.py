"""What a URL of Redis or Valkey names: one server, a master that sentinels know, or a cluster.

``redis://[user:password@]host[:port][/db]``
    One server; port 6379 and database 0 where they are not given.
``redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db]``
    The hosts are sentinels (port 26379), ``service`` is the name by which they know the master. User and password
    are the master's; the sentinels' own are ``sentinel_username`` and ``sentinel_password`` in the query.
``redis+cluster://[user:password@]host[:port][,host[:port]…]``
    Some nodes of a cluster (port 6379); the others are found through them, and all have the same password.

``rediss://``, ``rediss+sentinel://`` and ``rediss+cluster://`` are the same over TLS, to sentinels too. The query may
hold options of redis-py's connections, as in ``?ssl_ca_certs=/etc/ca.pem``. An IPv6 address stands in brackets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio.connection import parse_url

from lightfast.errors import SettingsError

Address = tuple[str, int]
"""Host and port."""

SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
KINDS: dict[str, Literal["server", "sentinel", "cluster"]] = {
    "": "server",
    "sentinel": "sentinel",
    "cluster": "cluster",
}
PORTS = {"server": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL taken apart. ``options`` are the client's for a connection, without an address."""

    kind: Literal["server", "sentinel", "cluster"]
    addresses: tuple[Address, ...]
    options: dict[str, Any] = field(repr=False)  # of whatever type the client's options have
    service: str = ""
    sentinel_options: dict[str, Any] = field(default_factory=dict, repr=False)


def parse_redis_url(url: str) -> RedisUrl:
    """Raises ``SettingsError`` for a URL that can't be used, without repeating it: it may hold a password."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise SettingsError(f"A Redis URL begins with {':// or '.join(SCHEMES)}://.")
        base, _, kind_name = parts.scheme.partition("+")
        kind = KINDS[kind_name]
        credentials, at, hosts = parts.netloc.rpartition("@")
        service, database = _path(kind, parts.path)
        query = dict(parse_qsl(parts.query))
        own = {name: query.pop(name, None) for name in ("sentinel_username", "sentinel_password")}
        options = _options(f"{base}://{credentials}{at}localhost/{database}", query)
        addresses = tuple(_address(base, host, PORTS[kind]) for host in (hosts.split(",") if hosts else [""]))
        sentinel_options = _options(f"{base}://localhost/", query) if kind == "sentinel" else {}
        sentinel_options |= {name.removeprefix("sentinel_"): text for name, text in own.items() if text}
    except (ValueError, TypeError) as error:
        raise SettingsError("The Redis URL can't be used: its port, its database or an option is wrong.") from error
    if kind != "server" and ("host" in query or "port" in query or not all(hosts.split(","))):
        raise SettingsError("The Redis URL must name its hosts, as in redis+cluster://one:6379,two:6379.")
    if kind == "server" and len(addresses) > 1:
        raise SettingsError("Several hosts are for redis+cluster:// or redis+sentinel://.")
    return RedisUrl(kind, addresses, options, service, sentinel_options)


def _path(kind: str, path: str) -> tuple[str, str]:
    """The service and the database that ``path`` names."""
    steps = path.strip("/").split("/") if path.strip("/") else []
    service = ""
    if kind == "sentinel":
        if not steps:
            raise SettingsError(
                "A Sentinel URL names the service, as in redis+sentinel://one:26379,two:26379/mymaster/0."
            )
        service = unquote(steps.pop(0))
    database = "/".join(steps)
    if database and not (database.isascii() and database.isdigit()):
        raise SettingsError("The path of a Redis URL is the number of a database, as in redis://localhost/0.")
    if kind == "cluster" and int(database or 0):
        raise SettingsError("A cluster has no database but 0.")
    return service, database


def _options(url: str, query: dict[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_url(f"{url}?{urlencode(query)}" if query else url))
    for name in ("host", "port"):
        if name not in query:
            options.pop(name, None)
    return options


def _address(base: str, host: str, default_port: int) -> Address:
    parts = urlsplit(f"{base}://{host}")
    return unquote(parts.hostname or "localhost"), parts.port or default_port
